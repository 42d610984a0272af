//! What waits, and its replay.

use super::scene::{GESP, GP, Scene, UMC, oru};
use crate::ingest::IntakeLimits;
use crate::ingest::quarantine::WaitingLimits;
use crate::response::refusal::Reason;
use serde_json::Value;

const HEADER: &str = "bsn;bezoekdatum;soort;code;omschrijving;waarde;eenheid;taak;categorie;eigenaar_ura;uitvoerder_ura;status";

pub(super) fn csv(rows: &[&str]) -> Vec<u8> {
    let mut text = HEADER.to_owned();
    for row in rows {
        text.push_str("\r\n");
        text.push_str(row);
    }
    text.into_bytes()
}

/// Adds the code `SNIF` to the team's list, as a copy of the row for `SNIP`.
pub(super) fn with_snif(table: String) -> String {
    let row = table.lines().find(|line| line.contains(",SNIP,")).unwrap().replace(",SNIP,", ",SNIF,");
    format!("{}\n{row}\n", table.trim_end())
}

#[test]
fn bad_rows_wait_and_a_mended_table_applies_them_once() {
    let scene = Scene::new();
    let bytes = csv(&[
        "999911132;10-03-2026;meting;SNIP;SNIP;45;cmH2O;;;;;definitief",
        "999911132;11-03-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief",
        "999940003;10-03-2026;meting;SNIP;SNIP;44;cmH2O;;;;;definitief",
    ]);
    let answer = scene.ingest(GESP, "text/csv", &bytes);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert!(
        answer.body.contains("1 created, 0 updated, 0 unchanged, 0 stale, 2 quarantined"),
        "{}",
        answer.body
    );
    let outcome: Value = serde_json::from_str(&answer.body).unwrap();
    let unmapped = outcome["issue"]
        .as_array()
        .unwrap()
        .iter()
        .find(|issue| issue["details"]["coding"][0]["code"] == "code-unmapped")
        .unwrap();
    assert_eq!(unmapped["expression"][0], "row[2].code");
    assert!(unmapped["diagnostics"].as_str().unwrap().contains("line 3"), "{unmapped}");
    assert!(!answer.body.contains("999940003"), "no number of a person in an answer");

    let list = scene.waiting(GESP);
    assert!(list.contains(r#""name":"waiting","valueInteger":2"#) && list.contains("SNIF"), "{list}");
    assert!(
        scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":0"#),
        "of the own organisation only"
    );

    let idle = scene.replay(GESP, &[]);
    assert!(idle.facts.resources.is_empty(), "nothing was mended: {}", idle.body);

    scene.mend("gesp-export", "codes/tests.csv", with_snif);
    let before = scene.state();
    let dry = scene.replay(GESP, &[("dryrun", "true")]);
    assert!(dry.body.contains(r#""name":"created","valueInteger":1"#), "{}", dry.body);
    assert_eq!(scene.state(), before, "a dry run writes nothing");

    let wet = scene.replay(GESP, &[]);
    assert!(wet.body.contains(r#""name":"created","valueInteger":1"#), "{}", wet.body);
    assert!(scene.one(GESP, &wet, "Observation/").contains(r#""value":46"#));
    let again = scene.replay(GESP, &[]);
    assert!(again.facts.resources.is_empty(), "a second replay applies nothing: {}", again.body);
    assert!(scene.waiting(GESP).contains(r#""name":"waiting","valueInteger":1"#));

    // The receipt of the day no longer answers for the mended mapping.
    let resent = scene.ingest(GESP, "text/csv", &bytes);
    assert!(!resent.facts.repeated && resent.body.contains("2 unchanged"), "{}", resent.body);
}

#[test]
fn a_replay_by_cause_leaves_the_others() {
    let scene = Scene::new();
    scene.ingest(
        GESP,
        "text/csv",
        &csv(&[
            "999911132;11-03-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief",
            "999911132;12-03-2026;meting;SNOF;SNIP;47;cmH2O;;;;;definitief",
        ]),
    );
    scene.mend("gesp-export", "codes/tests.csv", |table| {
        with_snif(table.clone())
            + &with_snif(table).lines().last().unwrap().replace(",SNIF,", ",SNOF,")
            + "\n"
    });
    let list: Value = serde_json::from_str(&scene.waiting(GESP)).unwrap();
    let causes: Vec<&str> = list["parameter"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| p["name"] == "group")
        .map(|p| p["part"][0]["valueString"].as_str().unwrap())
        .collect();
    let snof = causes.iter().find(|cause| cause.contains("SNOF")).unwrap();
    let replayed = scene.replay(GESP, &[("cause", snof)]);
    assert!(scene.one(GESP, &replayed, "Observation/").contains(r#""value":47"#));
    assert!(scene.waiting(GESP).contains("SNIF"));
}

#[test]
fn a_truncated_message_is_kept_whole_and_says_where() {
    let scene = Scene::new();
    let whole = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
    let mut bytes = vec![0x0b];
    bytes.extend(&whole[..whole.len() - 30]);
    let answer = scene.ingest(UMC, "application/hl7-v2", &bytes);
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    assert!(
        answer.body.contains(r#""code":"quarantined""#) && answer.body.contains("message-truncated"),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("(line 5"), "{}", answer.body);
    assert_eq!(scene.original(UMC, &answer.facts.sha256), bytes);
    assert!(answer.facts.resources.is_empty());
    assert!(scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":1"#));
    let again = scene.ingest(UMC, "application/hl7-v2", &bytes);
    assert_eq!((again.status, again.body), (answer.status, answer.body));

    // Sent whole under the same control number, it takes the place of the truncated one.
    let mended = scene.ingest(UMC, "application/hl7-v2", &whole);
    assert!(
        mended.body.contains("1 created") && mended.body.contains("message-key-reused"),
        "{}",
        mended.body
    );
    assert!(scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":0"#));
}

#[test]
fn a_document_without_mapping_is_applied_once_there_is_one() {
    let scene = Scene::new();
    let bytes = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
    let answer = scene.ingest(GP, "application/hl7-v2", &bytes);
    assert_eq!(answer.status.as_u16(), 422);
    scene.mend("umc-lab", "mapping.toml", |text| text.replace("\"90000101\"", "\"90000101\", \"90000301\""));
    let replayed = scene.replay(GP, &[]);
    assert!(scene.one(GP, &replayed, "Observation/").contains(r#""value":45"#), "{}", replayed.body);
    assert!(scene.waiting(GP).contains(r#""name":"waiting","valueInteger":0"#));
}

#[test]
fn a_replay_in_parts_takes_every_document_once() {
    let scene = Scene::new();
    for day in 10..15 {
        let row = format!("999911132;{day}-03-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief");
        scene.ingest(GESP, "text/csv", &csv(&[&row]));
    }
    scene.mend("gesp-export", "codes/tests.csv", with_snif);
    let (mut created, mut dry, mut after) = (0, 0, String::new());
    for left in [Some(3), Some(1), None] {
        let mut asked = vec![("_count", "2")];
        if !after.is_empty() {
            asked.push(("after", &after));
        }
        let told: Value =
            serde_json::from_str(&scene.replay(GESP, &[&asked[..], &[("dryrun", "true")]].concat()).body)
                .unwrap();
        dry += number(&told, "created").unwrap();
        let told: Value = serde_json::from_str(&scene.replay(GESP, &asked).body).unwrap();
        created += number(&told, "created").unwrap();
        assert_eq!(number(&told, "documentsLeft"), left, "{told}");
        after =
            parameter(&told, "next").map_or(String::new(), |p| p["valueString"].as_str().unwrap().to_owned());
    }
    assert_eq!((created, dry), (5, 5));
    assert!(scene.waiting(GESP).contains(r#""name":"waiting","valueInteger":0"#));
}

#[test]
fn a_dry_run_tells_element_by_element_what_would_change() {
    let scene = Scene::new();
    let row = |value: &str, status: &str| {
        csv(&[&format!("999911132;10-03-2026;meting;SNIP;SNIP;{value};cmH2O;;;;;{status}")])
    };
    let first = scene.ingest(GESP, "text/csv", &row("45", "definitief"));
    scene.ingest(GESP, "text/csv", &row("46,0", "herzien"));
    scene.ingest(GESP, "text/csv", &csv(&["999911132;11-03-2026;meting;SNIP;SNIP;47;cmH2O;;;;;herzien"]));
    scene.mend("gesp-export", "codes/status.csv", |table| {
        format!(
            "{}\n,herzien,,http://hl7.org/fhir/observation-status,corrected,,equivalent,\n",
            table.trim_end()
        )
    });
    let before = (scene.state(), scene.one(GESP, &first, "Observation/"));
    let told: Value = serde_json::from_str(&scene.replay(GESP, &[("dryrun", "true")]).body).unwrap();
    assert_eq!((scene.state(), scene.one(GESP, &first, "Observation/")), before, "a dry run writes nothing");
    assert_eq!((number(&told, "created"), number(&told, "updated")), (Some(1), Some(1)), "{told}");
    let units: Vec<&Value> =
        told["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "unit").collect();
    let elements = |unit: &Value| -> Vec<(String, String, String)> {
        let elements = unit["part"].as_array().unwrap().iter().filter(|p| p["name"] == "element");
        let of = |element: &Value, name: &str| {
            let part = element["part"].as_array().unwrap().iter().find(|p| p["name"] == name);
            part.map_or(String::new(), |part| part["valueString"].as_str().unwrap().to_owned())
        };
        elements.map(|e| (of(e, "path"), of(e, "before"), of(e, "after"))).collect()
    };
    let changed = elements(units[0]);
    let line = |path: &str, before: &str, after: &str| (path.to_owned(), before.to_owned(), after.to_owned());
    assert!(changed.contains(&line("Observation.status", "final", "corrected")), "{changed:?}");
    assert!(changed.contains(&line("Observation.valueQuantity.value", "45", "46.0")), "{changed:?}");
    assert!(!changed.iter().any(|(path, ..)| path == "Observation.code.text"), "{changed:?}");
    let made = elements(units[1]);
    assert!(made.contains(&line("Observation.valueQuantity.value", "", "47")), "{made:?}");

    // Without leave to read, what is stored is not told, and the outcome is.
    let told = scene.replay_looking(GESP, &[("dryrun", "true")], None).body;
    assert!(told.contains(r#""name":"updated","valueInteger":1"#) && !told.contains("element"), "{told}");

    // What is done afterwards is what was told.
    let done = scene.replay(GESP, &[]);
    assert!(!done.body.contains("\"element\""), "{}", done.body);
    let now = scene.one(GESP, &first, "Observation/");
    assert!(now.contains("corrected") && now.contains(r#""value":46.0"#), "{now}");
}

#[test]
fn past_its_limit_a_sender_is_told_and_nothing_is_kept() {
    let mut scene = Scene::new();
    let waiting = WaitingLimits { units: 1, ..WaitingLimits::default() };
    scene.limit(IntakeLimits { waiting, ..IntakeLimits::default() });
    let bad = |day: u8, code: &str| {
        csv(&[&format!("999911132;{day}-03-2026;meting;{code};SNIP;46;cmH2O;;;;;definitief")])
    };
    scene.ingest(GESP, "text/csv", &bad(10, "SNIF"));
    let before = scene.state();
    let refusal = scene.refused(GESP, "text/csv", &bad(11, "SNIF"));
    assert_eq!(refusal.reason, Reason::QuarantineFull, "{refusal:?}");
    assert!(refusal.details.contains("1 may"), "{}", refusal.details);
    assert_eq!(scene.state(), before, "nothing of it is kept");

    // What can be applied is, and what waits already may come again; another sender has room of its own.
    let good = scene.ingest(GESP, "text/csv", &bad(12, "SNIP"));
    assert!(good.body.contains("1 created"), "{}", good.body);
    scene.ingest(GESP, "text/csv", &bad(10, "SNIF"));
    scene.ingest(GP, "application/hl7-v2", &oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F"]));

    // One set aside makes room for one.
    let cause = scene.kept(GESP)[0].cause.clone();
    scene.discard(GESP, &[("cause", &cause), ("reason", "Testbericht")]);
    scene.ingest(GESP, "text/csv", &bad(13, "SNOF"));
    assert_eq!(scene.refused(GESP, "text/csv", &bad(14, "SNOF")).reason, Reason::QuarantineFull);
}

#[test]
fn originals_that_wait_may_take_so_many_bytes() {
    let mut scene = Scene::new();
    let row = |day: u8| csv(&[&format!("999911132;{day}-03-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief")]);
    let waiting = WaitingLimits { bytes: 2 * row(10).len() as u64, ..WaitingLimits::default() };
    scene.limit(IntakeLimits { waiting, ..IntakeLimits::default() });
    scene.ingest(GESP, "text/csv", &row(10));
    scene.ingest(GESP, "text/csv", &row(11));
    let refusal = scene.refused(GESP, "text/csv", &row(12));
    assert!(refusal.reason == Reason::QuarantineFull && refusal.details.contains("bytes"), "{refusal:?}");
}

#[test]
fn lists_come_in_pages_by_cause_document_and_unit() {
    let scene = Scene::new();
    for (day, code) in [(10, "SNIF"), (11, "SNIF"), (12, "SNOF"), (13, "SNEF")] {
        let row = format!("999911132;{day}-03-2026;meting;{code};SNIP;46;cmH2O;;;;;definitief");
        scene.ingest(GESP, "text/csv", &csv(&[&row]));
    }
    let ask = |pairs: &[(&str, &str)]| -> Value {
        serde_json::from_str(&scene.listed(GESP, pairs).unwrap()).unwrap()
    };
    let link = |page: &Value| parameter(page, "next").map(|p| p["valueString"].as_str().unwrap().to_owned());
    let causes = |page: &Value| -> Vec<String> {
        let groups = page["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "group");
        groups.map(|group| group["part"][0]["valueString"].as_str().unwrap().to_owned()).collect()
    };
    let first = ask(&[("_count", "2")]);
    assert_eq!((number(&first, "waiting"), number(&first, "causes")), (Some(4), Some(3)));
    let second = ask(&[("_count", "2"), ("after", &link(&first).unwrap())]);
    let all = [causes(&first), causes(&second)].concat();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains("SNIF") && all[1].contains("SNEF") && all[2].contains("SNOF"), "{all:?}");
    assert_eq!(link(&second), None);

    // Of a cause its documents, and of a document its units.
    let of_cause = ask(&[("cause", &all[0]), ("_count", "1")]);
    assert_eq!(number(&of_cause, "documentsLeft"), Some(1), "{of_cause}");
    let rest = ask(&[("cause", &all[0]), ("_count", "1"), ("after", &link(&of_cause).unwrap())]);
    let document = parameter(&rest, "document").unwrap()["part"][0]["valueUri"].as_str().unwrap().to_owned();
    let units = ask(&[("document", &document)]);
    assert!(units.to_string().contains("row[1].code"), "{units}");

    // A link is for its question and its asker alone.
    for (ura, pairs) in [
        (GESP, &[("cause", all[0].as_str()), ("after", &link(&first).unwrap())][..]),
        (UMC, &[("after", &link(&first).unwrap())]),
        (GESP, &[("after", "AAAA")]),
    ] {
        assert_eq!(scene.listed(ura, pairs).unwrap_err().reason, Reason::ParameterInvalid);
    }
}

#[test]
fn what_is_set_aside_is_not_applied_says_so_when_it_comes_again_and_can_be_taken_back() {
    let scene = Scene::new();
    let bytes = csv(&[
        "999911132;10-03-2026;meting;SNIP;SNIP;45;cmH2O;;;;;definitief",
        "999911132;11-03-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief",
    ]);
    let first = scene.ingest(GESP, "text/csv", &bytes);
    let document = format!("urn:sha256:{}", first.facts.sha256);
    let audited = scene.audited();
    let told = scene.discard(GESP, &[("document", &document), ("part", "row[2]"), ("reason", "Testregel")]);
    assert!(told.contains(r#""name":"units","valueInteger":1"#), "{told}");
    assert_eq!(scene.audited(), audited + 1);
    assert!(scene.waiting(GESP).contains(r#""name":"waiting","valueInteger":0"#));
    let list = scene.listed(GESP, &[("state", "discarded"), ("document", &document)]).unwrap();
    assert!(list.contains("Testregel") && list.contains("epd-90000201"), "{list}");
    assert_eq!(scene.original(GESP, &first.facts.sha256), bytes, "the original stays");

    // Mended since: it is not applied by a replay, nor silently by sending it again.
    scene.mend("gesp-export", "codes/tests.csv", with_snif);
    assert!(scene.replay(GESP, &[]).facts.resources.is_empty());
    for _ in 0..2 {
        let again = scene.ingest(GESP, "text/csv", &bytes);
        assert_eq!(again.status.as_u16(), 200);
        assert!(again.body.contains("1 unchanged, 0 stale, 0 quarantined, 1 discarded"), "{}", again.body);
        assert!(again.body.contains("Testregel"), "{}", again.body);
    }

    let back = scene.discard(GESP, &[("document", &document), ("undo", "true")]);
    assert!(back.contains(r#""name":"units","valueInteger":1"#), "{back}");
    assert!(scene.replay(GESP, &[]).body.contains(r#""name":"created","valueInteger":1"#));
    assert!(scene.kept(GESP).is_empty());
}

#[test]
fn a_document_that_could_not_be_read_is_set_aside_as_a_whole() {
    let scene = Scene::new();
    let bytes = b"MSH|^~\\&|LONGFUNCTIE|UMCTEST";
    let first = scene.ingest(UMC, "application/hl7-v2", bytes);
    assert_eq!(first.status.as_u16(), 422);
    let cause = scene.kept(UMC)[0].cause.clone();
    scene.discard(UMC, &[("cause", &cause), ("reason", "Testbericht")]);
    let again = scene.ingest(UMC, "application/hl7-v2", bytes);
    assert_eq!(again.status.as_u16(), 422);
    assert!(
        again.body.contains(r#""code":"discarded""#) && again.body.contains("Testbericht"),
        "{}",
        again.body
    );
    assert!(scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":0"#));
    // Taken back, it is as it was, to its sender too.
    scene.discard(UMC, &[("cause", &cause), ("undo", "true")]);
    assert_eq!(scene.ingest(UMC, "application/hl7-v2", bytes).body, first.body);
    assert!(scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":1"#));
}

fn parameter<'p>(parameters: &'p Value, name: &str) -> Option<&'p Value> {
    parameters["parameter"].as_array().unwrap().iter().find(|parameter| parameter["name"] == name)
}

fn number(parameters: &Value, name: &str) -> Option<i64> {
    parameter(parameters, name).map(|parameter| parameter["valueInteger"].as_i64().unwrap())
}
