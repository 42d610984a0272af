//! Who is in an export, who is not, and what her lines say.

use super::super::{Kickoff, start};
use super::world::{ACN, NOW, World, actor, id, kind, researcher, wait};
use crate::clock::{Clock, Timestamp};
use crate::connection::request::Parameters;
use crate::decision::filter::Arm;
use crate::response::refusal::Reason;
use crate::store::{Method, Record};

fn five() -> World {
    let world = World::new();
    world.patient("pat-consents", &["HRESCH", "HQUALIMP"]);
    world.patient("pat-second", &["HRESCH"]);
    world.patient("pat-quality-only", &["HQUALIMP"]);
    world.patient("pat-silent", &[]);
    let expired = world.patient("pat-expired", &["HRESCH"]);
    let arms: Vec<Arm> =
        world.arms_of(expired).into_iter().map(|arm| Arm { valid_to: Timestamp(NOW.0 - 1), ..arm }).collect();
    world.arms(expired, arms);
    world.group(
        "cohort",
        &["pat-consents", "pat-second", "pat-quality-only", "pat-silent", "pat-expired", "pat-unknown"],
    );
    world
}

#[test]
fn counts_add_up_and_tell_reasons_but_nobody() {
    let world = five();
    let (job, lines) = world.export(&researcher(), "cohort", &[]);
    let counts = world.counts(&researcher(), &job);
    assert_eq!(counts["cohort"], 6);
    assert_eq!(counts["exported"], 2);
    assert_eq!(counts["withheld"], 4);
    assert_eq!(counts["withheldBy"], serde_json::json!({"no-consent": 2, "expired": 1, "no-data": 1}));
    assert_eq!(counts["resources"], serde_json::json!({"Observation": 4, "Patient": 2}));
    assert_eq!((lines["Patient"].len(), lines["Observation"].len()), (2, 4));
    let outcome = &lines["OperationOutcome"][0];
    assert!(outcome.contains("2 members of the cohort") && !outcome.contains("pat-"));
    assert!(world.manifest(&researcher(), &job).to_string().contains("\"requiresAccessToken\":true"));
}

#[test]
fn intervals_are_exact_dates_are_not_and_nobody_is_named() {
    let world = five();
    let (_, lines) = world.export(&researcher(), "cohort", &[]);
    for line in lines.values().flatten() {
        for secret in
            ["999911120", "pat-", "Achternaam", "Voornaam", "Hoogmade", "1012", "Totaal", "punten", "1961-02"]
        {
            assert!(!line.contains(secret), "{secret} in {line}");
        }
    }
    let first: Vec<&String> = lines["Observation"].iter().take(2).collect();
    let day = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = value["effectiveDateTime"].as_str().unwrap().to_owned();
        (text.parse::<jiff::Timestamp>().unwrap(), text)
    };
    let (one, other) = (day(first[0]), day(first[1]));
    let apart = other.0.as_second() - one.0.as_second();
    let real = "2026-04-20T14:00:00+02:00".parse::<jiff::Timestamp>().unwrap().as_second()
        - "2026-01-10T09:30:00+01:00".parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(apart, real);
    assert_ne!(one.1, "2026-01-10T09:30:00+01:00");
    // The digits of the value are those that came in; the reference is the pseudonym of the Patient's line.
    assert!(first[0].contains("\"value\":41.0") && first[0].contains("{score}"));
    let patient: serde_json::Value = serde_json::from_str(&lines["Patient"][0]).unwrap();
    assert!(first[0].contains(&format!("Patient/{}", patient["id"].as_str().unwrap())));
    assert_eq!(patient["birthDate"], "1961");
    assert_eq!(patient["address"][0]["postalCode"], "10");
}

#[test]
fn the_same_export_twice_has_the_same_lines_and_other_purposes_other_names() {
    let world = five();
    let (_, one) = world.export(&researcher(), "cohort", &[]);
    let (_, two) = world.export(&researcher(), "cohort", &[]);
    assert_eq!(one["Patient"], two["Patient"]);
    assert_eq!(one["Observation"], two["Observation"]);
    let (_, quality) = world.export(&actor("acn-platform", "HQUALIMP"), "cohort", &[("_type", "Patient")]);
    let ids = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(ids(&one["Patient"]).iter().all(|pseudonym| !ids(&quality["Patient"]).contains(pseudonym)));
}

#[test]
fn a_withdrawal_leaves_her_out_of_the_next_export_and_is_reported() {
    let world = five();
    let (_, before) = world.export(&researcher(), "cohort", &[]);
    let leaver = world.context.store.patient_key(&id("pat-second")).unwrap().unwrap();
    world.consent(leaver, &[]);
    let (job, after) = world.export(&researcher(), "cohort", &[]);
    let counts = world.counts(&researcher(), &job);
    assert_eq!((counts["exported"].as_u64(), counts["withheld"].as_u64()), (Some(1), Some(5)));
    assert_eq!(counts["withheldBy"]["withdrawn"], 1);
    assert_eq!(counts["withdrawalsReported"], 1);
    let gone: Vec<&String> =
        before["Patient"].iter().filter(|line| !after["Patient"].contains(line)).collect();
    let gone: serde_json::Value = serde_json::from_str(gone[0]).unwrap();
    let bundle: serde_json::Value = serde_json::from_str(&after["Bundle"][0]).unwrap();
    assert_eq!(bundle["type"], "transaction");
    assert_eq!(bundle["entry"][0]["request"]["method"], "DELETE");
    assert_eq!(bundle["entry"][0]["request"]["url"], format!("Patient/{}", gone["id"].as_str().unwrap()));
    // Who left the cohort, too, is reported as long as the recipient may still have her data.
    world.group("cohort", &["pat-consents", "pat-silent", "pat-expired"]);
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    assert_eq!(world.counts(&researcher(), &job)["withdrawalsReported"], 1);
    // Consent given again: she is back under her old name and no deletion is asked.
    world.consent(leaver, &["HRESCH"]);
    world.group("cohort", &["pat-consents", "pat-second", "pat-expired"]);
    let (job, back) = world.export(&researcher(), "cohort", &[]);
    assert_eq!(world.counts(&researcher(), &job)["withdrawalsReported"], 0);
    assert_eq!(back["Patient"], before["Patient"]);
}

#[test]
fn a_deleted_patient_is_withheld_and_her_delivery_withdrawn() {
    let world = five();
    world.export(&researcher(), "cohort", &[]);
    let key = world.context.store.patient_key(&id("pat-second")).unwrap().unwrap();
    let derived = crate::decision::filter::Derived {
        patient: Some(key),
        category: world.policy.category("core").unwrap(),
        labels: 0,
        confidentiality: 3,
        day: NOW.day(),
        author: world.party("00000020"),
    };
    world.write(move |writer| {
        writer.put(&Record {
            kind: kind("Patient"),
            id: &id("pat-second"),
            version: 2,
            updated: NOW,
            method: Method::Delete,
            derived,
            body: &[],
            entries: &[],
            root: None,
        })
    });
    let (job, lines) = world.export(&researcher(), "cohort", &[]);
    let counts = world.counts(&researcher(), &job);
    assert_eq!((counts["exported"].as_u64(), counts["withdrawalsReported"].as_u64()), (Some(1), Some(1)));
    assert!(lines.contains_key("Bundle"));
}

#[test]
fn since_takes_what_changed_on_the_real_clock() {
    let world = five();
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    let since = world.manifest(&researcher(), &job)["transactionTime"].as_str().unwrap().to_owned();
    world.clock.advance_seconds(60);
    let key = world.context.store.patient_key(&id("pat-second")).unwrap().unwrap();
    world.score("pat-second", key, 3, "2026-11-01T10:00:00+01:00");
    let (job, lines) = world.export(&researcher(), "cohort", &[("_since", &since)]);
    assert_eq!(lines["Observation"].len(), 1);
    assert!(!lines.contains_key("Patient"));
    let counts = world.counts(&researcher(), &job);
    assert_eq!((counts["exported"].as_u64(), counts["withheldBy"]["unchanged"].as_u64()), (Some(1), Some(1)));
}

#[test]
fn consent_for_a_category_opens_that_category_only() {
    let world = five();
    let key = world.context.store.patient_key(&id("pat-second")).unwrap().unwrap();
    let core = world.policy.category("core").unwrap();
    let arms = world.arms_of(key).into_iter().map(|arm| Arm { categories: core, ..arm }).collect();
    world.arms(key, arms);
    let (_, lines) = world.export(&researcher(), "cohort", &[]);
    assert_eq!((lines["Patient"].len(), lines["Observation"].len()), (2, 2));
}

#[test]
fn own_data_of_the_recipient_is_no_ground() {
    let world = five();
    let key = world.context.store.patient_key(&id("pat-silent")).unwrap().unwrap();
    let centre = world.party(ACN);
    assert!(world.arms_of(key).is_empty() && centre.0 > 0);
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    assert_eq!(world.counts(&researcher(), &job)["withheldBy"]["no-consent"], 2);
}

#[test]
fn what_is_asked_wrongly_is_refused_by_name() {
    let world = five();
    let refused = |query: &[(&str, &str)]| world.start(&researcher(), "cohort", query).unwrap_err();
    for (name, value) in [("patient", "Patient/x"), ("_typeFilter", "x"), ("_elements", "id"), ("_id", "x")] {
        let refusal = refused(&[(name, value)]);
        assert_eq!(refusal.reason, Reason::ParameterUnknown);
        assert_eq!(refusal.expression, [name]);
    }
    for (name, value) in
        [("_type", "Observation,Consent"), ("_since", "yesterday"), ("_outputFormat", "text/csv")]
    {
        assert_eq!(refused(&[(name, value)]).reason, Reason::ParameterInvalid);
    }
    let permit = world.context.permits.export(&std::sync::Arc::new(researcher())).unwrap();
    let (group, parameters) = (id("cohort"), Parameters::default());
    let kickoff = Kickoff { group: &group, parameters: &parameters, respond_async: false };
    assert_eq!(
        wait(start(&world.context, &permit, &researcher(), &kickoff)).unwrap_err().reason,
        Reason::Malformed
    );
    let mut reader_only = researcher();
    reader_only.scopes[0].permissions.search = false;
    assert_eq!(world.start(&reader_only, "cohort", &[]).unwrap_err().reason, Reason::Forbidden);
    assert_eq!(
        world.start(&actor("acn-platform", "TREAT"), "cohort", &[]).unwrap_err().reason,
        Reason::Forbidden
    );
    assert_eq!(world.start(&researcher(), "elsewhere", &[]).unwrap_err().reason, Reason::NotFound);
    assert!(
        world.start(&researcher(), "cohort", &[("_outputFormat", "ndjson"), ("_type", "Patient")]).is_ok()
    );
}

#[test]
fn a_small_or_crooked_cohort_is_refused() {
    let world = five();
    world.group("two", &["pat-consents", "pat-second", "pat-second"]);
    let refusal = world.start(&researcher(), "two", &[]).unwrap_err();
    assert_eq!(refusal.reason, Reason::BusinessRule);
    // The rule is research's; quality registration has another ground.
    assert!(world.start(&actor("acn-platform", "HQUALIMP"), "two", &[]).is_ok());
    world.put(
        "cohort",
        None,
        r#"{"resourceType":"Group","id":"nested","type":"person","actual":true,"member":[{"entity":{"reference":"Group/cohort"}}]}"#,
    );
    let refusal = world.start(&researcher(), "nested", &[]).unwrap_err();
    assert_eq!((refusal.reason, refusal.expression.len()), (Reason::BusinessRule, 1));
    world.put("cohort", None, r#"{"resourceType":"Group","id":"none","type":"person","actual":true}"#);
    assert_eq!(world.start(&researcher(), "none", &[]).unwrap_err().reason, Reason::BusinessRule);
    assert!(world.clock.now() == NOW);
}
