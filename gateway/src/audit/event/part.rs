//! The parts of an AuditEvent: agents, entities, extensions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Family, LogScope, View, organisation_name};
use crate::audit::entry::{ActorFacts, Done, Entry};
use crate::decision::policy::{SYSTEM_ACT_REASON, SYSTEM_CATEGORY};
use crate::ids::{PatientKey, ResourceId, SYSTEM_URA, SYSTEM_UZI_ROLE};

const EXTENSION: &str = "https://sluis.care/fhir/StructureDefinition/audit";
const SYSTEM_ROLE: &str = "https://sluis.care/fhir/CodeSystem/role";
const SYSTEM_CLIENT: &str = "https://sluis.care/fhir/NamingSystem/client";
const SYSTEM_PATIENT_KEY: &str = "https://sluis.care/fhir/NamingSystem/patient-key";

/// A DICOM coding.
pub(super) fn dicom(code: &str, display: &str) -> Value {
    json!({ "system": "http://dicom.nema.org/resources/ontology/DCM", "code": code, "display": display })
}

pub(super) fn purpose(code: &str) -> Value {
    json!({ "coding": [{ "system": SYSTEM_ACT_REASON, "code": code }] })
}

/// The restful-interaction code, or our own word for what is none.
pub(super) fn subtype(done: Done) -> Value {
    let code = match done {
        Done::Read => "read",
        Done::Vread => "vread",
        Done::HistoryInstance => "history-instance",
        Done::HistoryType => "history-type",
        Done::HistorySystem => "history-system",
        Done::SearchType => "search-type",
        Done::SearchSystem => "search-system",
        Done::Create => "create",
        Done::Update => "update",
        Done::Patch => "patch",
        Done::Delete => "delete",
        Done::Batch => "batch",
        Done::Transaction => "transaction",
        Done::Ingest | Done::Quarantine | Done::Trace | Done::Operation | Done::Export => "operation",
        Done::Token => return dicom("110122", "Login"),
        Done::System => return json!({ "system": SYSTEM_ROLE, "code": "system" }),
    };
    json!({ "system": "http://hl7.org/fhir/restful-interaction", "code": code })
}

/// NEN 7513 facts R4 has no element for: the emergency procedure (said also when it was not used, ch. 9), the
/// categories of data, and for officers how much.
pub(super) fn extensions(entry: &Entry, view: &View<'_>) -> Value {
    let mut list =
        vec![json!({ "url": format!("{EXTENSION}-break-glass"), "valueBoolean": entry.break_glass })];
    for code in view.policy.category_codes(entry.categories) {
        let coding = json!({ "system": SYSTEM_CATEGORY, "code": code });
        list.push(json!({ "url": format!("{EXTENSION}-data-category"), "valueCoding": coding }));
    }
    if let (LogScope::Organisation(_), Some(count)) = (view.scope, entry.count) {
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(2_147_483_647);
        list.push(json!({ "url": format!("{EXTENSION}-count"), "valueUnsignedInt": count }));
    }
    list.into()
}

pub(super) fn agents(entry: &Entry, family: Family, purpose: Option<&Value>, view: &View<'_>) -> Value {
    let (source, destination) = (dicom("110153", "Source Role ID"), dicom("110152", "Destination Role ID"));
    let (client, server) = match family {
        Family::Read => (destination, source),
        // IHE BALP Delete is alone in calling them application and custodian.
        Family::Delete => (
            dicom("110150", "Application"),
            json!({ "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                    "code": "custodian", "display": "Custodian" }),
        ),
        _ => (source, destination),
    };
    let person = entry.actor.as_ref().filter(|actor| actor.user.is_some() || actor.patient.is_some());
    let who = match &entry.actor {
        Some(actor) => json!({ "identifier": { "system": SYSTEM_CLIENT, "value": actor.client } }),
        None => json!({ "display": "unidentified" }),
    };
    let mut agents = vec![
        json!({ "type": { "coding": [client] }, "who": who, "requestor": person.is_none(),
                "network": { "address": entry.address, "type": "2" } }),
        json!({ "type": { "coding": [server] }, "who": { "identifier": { "value": view.observer } },
                "requestor": false, "network": { "address": view.base, "type": "5" } }),
    ];
    if let Some(actor) = person {
        agents.push(user(actor, family, purpose, view));
    }
    agents.extend(entry.actor.as_ref().map(|actor| organisation(entry, actor, purpose, view)));
    agents.into()
}

/// The person at the keys. A patient sees her carers by role and organisation (NEN 7513 ch. 9).
fn user(actor: &ActorFacts, family: Family, purpose: Option<&Value>, view: &View<'_>) -> Value {
    let code =
        if matches!(family, Family::Create | Family::Update | Family::Delete) { "AUT" } else { "IRCP" };
    let kind = json!({ "coding": [
        { "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": code },
    ] });
    let who = match (&actor.patient, view.scope) {
        (Some(id), _) => json!({ "reference": format!("Patient/{id}") }),
        (None, LogScope::Patient(_)) => {
            let name = organisation_name(view, &actor.organisation).unwrap_or(&actor.organisation);
            json!({ "display": format!("medewerker van {name}") })
        }
        (None, LogScope::Organisation(_)) => {
            json!({ "identifier": { "system": actor.user_system, "value": actor.user } })
        }
    };
    let mut agent = json!({ "type": kind, "who": who, "requestor": true });
    let mut roles = Vec::new();
    if let Some(code) = &actor.role_code {
        roles.push(json!({ "coding": [{ "system": SYSTEM_UZI_ROLE, "code": code }] }));
    }
    if let Some(role) = &actor.role {
        roles.push(json!({ "coding": [{ "system": SYSTEM_ROLE, "code": role }] }));
    }
    if !roles.is_empty() {
        agent["role"] = roles.into();
    }
    if let Some(purpose) = purpose {
        agent["purposeOfUse"] = json!([purpose]);
    }
    agent
}

/// The responsible organisation, with the rule that decided (NEN 7513 autorisatieprotocol) and the token used.
fn organisation(entry: &Entry, actor: &ActorFacts, purpose: Option<&Value>, view: &View<'_>) -> Value {
    let mut who = json!({ "identifier": { "system": SYSTEM_URA, "value": actor.organisation } });
    if let Some(name) = organisation_name(view, &actor.organisation) {
        who["display"] = name.into();
    }
    let mut policies: Vec<String> = entry.basis.iter().cloned().collect();
    policies.push(format!("urn:ietf:params:oauth:jti:{}", actor.token));
    let mut agent = json!({
        "type": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleClass", "code": "PROV",
                               "display": "healthcare provider" }] },
        "who": who, "requestor": false, "policy": policies,
    });
    if let Some(purpose) = purpose {
        agent["purposeOfUse"] = json!([purpose]);
    }
    agent
}

pub(super) fn entities(
    entry: &Entry,
    family: Family,
    patient: Option<(PatientKey, Option<ResourceId>)>,
    view: &View<'_>,
) -> Value {
    let object = |code: &str, display: &str| json!({ "system": "http://terminology.hl7.org/CodeSystem/audit-entity-type", "code": code, "display": display });
    let role = |code: &str, display: &str| json!({ "system": "http://terminology.hl7.org/CodeSystem/object-role", "code": code, "display": display });
    let mut list = Vec::new();
    if let Some((key, id)) = patient {
        let what = match id {
            Some(id) => json!({ "reference": format!("Patient/{id}") }),
            // Erased: the record stands, the person behind the key is gone.
            None => json!({ "type": "Patient",
                            "identifier": { "system": SYSTEM_PATIENT_KEY, "value": key.0.to_string() } }),
        };
        list.push(json!({ "what": what, "type": object("1", "Person"), "role": role("1", "Patient") }));
    }
    if family == Family::Query {
        let query = STANDARD.encode(asked(entry, view));
        list.push(
            json!({ "type": object("2", "System Object"), "role": role("24", "Query"), "query": query }),
        );
    } else if let Some(what) = entry.resource.as_ref().or(entry.kind.as_ref()) {
        let what = match &entry.resource {
            Some(_) => json!({ "reference": what }),
            None => json!({ "display": what }),
        };
        list.push(
            json!({ "what": what, "type": object("2", "System Object"), "role": role("4", "Domain Resource") }),
        );
    }
    for consent in &entry.consents {
        list.push(json!({
            "what": { "reference": consent },
            "type": { "system": "http://hl7.org/fhir/resource-types", "code": "Consent", "display": "Consent" },
        }));
    }
    list.push(json!({
        "what": { "identifier": { "value": entry.request } },
        "type": { "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType",
                  "code": "XrequestId" },
    }));
    list.into()
}

/// The question. A patient sees which parameters were used, not their values: they may name others.
fn asked(entry: &Entry, view: &View<'_>) -> String {
    let path = entry.resource.as_ref().or(entry.kind.as_ref()).map_or("", String::as_str);
    let query = entry.query.as_deref().unwrap_or_default();
    let query = match view.scope {
        LogScope::Organisation(_) => query.to_owned(),
        LogScope::Patient(_) => {
            let names = query.split('&').filter(|pair| !pair.is_empty());
            let names: Vec<_> = names.map(|pair| pair.split('=').next().unwrap_or_default()).collect();
            names.join("&")
        }
    };
    format!("{path}?{query}")
}

/// A row this version cannot read: said, with its number, never left out.
pub(super) fn unreadable(sequence: u64, view: &View<'_>) -> Value {
    json!({
        "resourceType": "AuditEvent",
        "id": sequence.to_string(),
        "type": dicom("110100", "Application Activity"),
        "recorded": "1970-01-01T00:00:00.000Z",
        "outcome": "8",
        "outcomeDesc": "This record is not of a form this version reads; see `sluis audit verify`.",
        "agent": [{ "who": { "identifier": { "value": view.observer } }, "requestor": false }],
        "source": { "observer": { "identifier": { "value": view.observer } } },
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing index is a failing test")]
    use sluis_conformance::definitions::r4;
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::super::{events, parse_id, query, scope};
    use super::*;
    use crate::audit::entry::Outcome;
    use crate::clock::Timestamp;
    use crate::decision::organisation::Organisations;
    use crate::decision::policy::Policy;
    use crate::ids::PartyKey;
    use crate::response::refusal::Reason;
    use crate::store::AuditRow;

    fn entry(done: Done) -> Entry {
        let mut entry = Entry::new(done, Timestamp(0), "r-1", std::net::Ipv4Addr::LOCALHOST.into());
        entry.actor = Some(ActorFacts {
            client: "epd".into(),
            organisation: "00000001".into(),
            role: Some("gesp-clinician".into()),
            role_code: Some("04.000".into()),
            user: Some("012345678".into()),
            user_system: Some("http://fhir.nl/fhir/NamingSystem/uzi-nr-pers".into()),
            patient: None,
            purpose: "TREAT".into(),
            token: "t-1".into(),
        });
        entry.basis = Some("urn:sluis:policy:2026.1#gesp-clinician/TREAT".into());
        entry.kind = Some("Observation".into());
        entry.consents = vec!["Consent/c/_history/1".into()];
        entry.patients = vec![3, 9];
        entry.query = Some("patient=a,b&code=x".into());
        entry
    }

    fn shown(entry: &Entry, of: LogScope) -> Vec<Value> {
        let policy = Policy::included().unwrap();
        let text = "[[organisation]]\nura = \"00000001\"\nname = \"GeSp Noord\"\nkind = \"gesp\"\n";
        let organisations = Organisations::parse(&policy, "orgs.toml", text).unwrap();
        let view = View {
            base: "https://gateway.test/fhir",
            observer: "gateway.test",
            policy: &policy,
            organisations: &organisations,
            scope: of,
        };
        let body = entry.clone().record(PartyKey(1)).body;
        let row = AuditRow { sequence: 17, body: body.into(), hash: [0; 32] };
        let found = events(&row, &view, &mut |key| Ok(ResourceId::parse(&format!("p{}", key.0)))).unwrap();
        for event in &found {
            valid(event);
        }
        found
    }

    /// Every event these tests make is valid R4.
    fn valid(event: &Value) {
        let doc = Doc::parse(event.to_string().into_bytes(), JsonLimits::default()).unwrap();
        let issues = sluis_conformance::validate::validate(r4(), doc.root());
        assert!(issues.is_empty(), "{issues:#?}\n{event:#}");
    }

    fn agent<'e>(event: &'e Value, code: &str) -> Option<&'e Value> {
        let agents = event["agent"].as_array().unwrap();
        agents.iter().find(|agent| agent["type"]["coding"][0]["code"] == code)
    }

    #[test]
    fn a_search_over_two_patients_is_two_events_with_the_client_as_source() {
        let found = shown(&entry(Done::SearchType), LogScope::Organisation(PartyKey(1)));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0]["id"], "17-0");
        assert_eq!(parse_id(&ResourceId::parse("17-0").unwrap()), Some((17, Some(0))));
        assert!(found[0]["meta"]["profile"][0].as_str().unwrap().ends_with("BasicAudit.PatientQuery"));
        assert_eq!(agent(&found[0], "110153").unwrap()["who"]["identifier"]["value"], "epd");
        assert_eq!(agent(&found[0], "110152").unwrap()["who"]["identifier"]["value"], "gateway.test");
        let entities = found[1]["entity"].as_array().unwrap();
        assert_eq!(entities[0]["what"]["reference"], "Patient/p9");
        let query = STANDARD.decode(entities[1]["query"].as_str().unwrap()).unwrap();
        assert_eq!(query, b"Observation?patient=a,b&code=x");
        assert_eq!(entities[2]["what"]["reference"], "Consent/c/_history/1");
        let policies = &agent(&found[0], "PROV").unwrap()["policy"];
        assert_eq!(policies[0], "urn:sluis:policy:2026.1#gesp-clinician/TREAT");
        assert_eq!(policies[1], "urn:ietf:params:oauth:jti:t-1");
    }

    #[test]
    fn in_a_read_the_client_is_the_destination_and_in_a_delete_the_application() {
        let mut read = entry(Done::Read);
        read.resource = Some("Observation/o".into());
        let found = shown(&read, LogScope::Organisation(PartyKey(1)));
        assert_eq!(agent(&found[0], "110152").unwrap()["who"]["identifier"]["value"], "epd");
        assert_eq!(found[0]["action"], "R");
        assert!(
            found[0]["entity"].as_array().unwrap().iter().any(|e| e["what"]["reference"] == "Observation/o")
        );
        let found = shown(&entry(Done::Delete), LogScope::Organisation(PartyKey(1)));
        assert_eq!(agent(&found[0], "110150").unwrap()["who"]["identifier"]["value"], "epd");
        assert!(agent(&found[0], "custodian").is_some());
        assert_eq!(agent(&found[0], "AUT").unwrap()["requestor"], true);
    }

    #[test]
    fn the_patient_sees_her_own_event_with_role_and_organisation_and_no_one_elses_data() {
        let found = shown(&entry(Done::SearchType), LogScope::Patient(PatientKey(9)));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["id"], "17-1");
        let text = found[0].to_string();
        assert!(!text.contains("012345678") && !text.contains("p3"), "{text}");
        let user = agent(&found[0], "IRCP").unwrap();
        assert_eq!(user["who"]["display"], "medewerker van GeSp Noord");
        assert_eq!(user["role"][0]["coding"][0]["code"], "04.000");
        let entities = found[0]["entity"].as_array().unwrap();
        assert_eq!(
            STANDARD.decode(entities[1]["query"].as_str().unwrap()).unwrap(),
            b"Observation?patient&code"
        );
        assert_eq!(found[0]["extension"][0]["valueBoolean"], false);
        assert!(shown(&entry(Done::SearchType), LogScope::Patient(PatientKey(4))).is_empty());
    }

    #[test]
    fn a_record_of_another_form_is_said_and_not_left_out() {
        let policy = Policy::included().unwrap();
        let organisations = Organisations::default();
        let of = LogScope::Patient(PatientKey(9));
        let view = View {
            base: "https://gateway.test/fhir",
            observer: "gateway.test",
            policy: &policy,
            organisations: &organisations,
            scope: of,
        };
        let row = AuditRow { sequence: 3, body: b"{}".as_slice().into(), hash: [0; 32] };
        let page = super::super::event_page(&[row], &view, &mut |_| Ok(None)).unwrap();
        assert_eq!(page[0]["fullUrl"], "https://gateway.test/fhir/AuditEvent/3");
        assert_eq!(page[0]["resource"]["outcome"], "8");
        valid(&page[0]["resource"]);
    }

    #[test]
    fn a_failure_claims_no_profile_and_says_why() {
        let refused = entry(Done::Update).refused(Reason::VersionConflict);
        let found = shown(&refused, LogScope::Organisation(PartyKey(1)));
        assert_eq!(found[0]["outcome"], "4");
        assert_eq!(found[0]["outcomeDesc"], "VersionConflict");
        assert!(found[0].get("meta").is_none());
        let mut none = entry(Done::Token);
        (none.patients, none.actor, none.outcome) = (Vec::new(), None, Outcome::MinorFailure);
        let found = shown(&none, LogScope::Organisation(PartyKey(1)));
        assert_eq!(found[0]["id"], "17");
        assert!(shown(&none, LogScope::Patient(PatientKey(9))).is_empty());
    }

    #[test]
    fn an_officer_asks_within_bounds_and_a_patient_about_herself() {
        let officer = LogScope::Organisation(PartyKey(1));
        assert!(query(officer, None, None, None, None, 10).is_err());
        let day = 86_400_000_000;
        let (from, to) = (Some(Timestamp(0)), Some(Timestamp(day * 366)));
        assert_eq!(query(officer, None, from, to, None, 10).unwrap().organisation, Some(PartyKey(1)));
        assert!(query(officer, None, from, Some(Timestamp(day * 367)), None, 10).is_err());
        let own = LogScope::Patient(PatientKey(9));
        assert_eq!(query(own, None, None, None, None, 10).unwrap().patient, Some(PatientKey(9)));
        let other = query(own, Some(PatientKey(3)), None, None, None, 10).unwrap_err();
        assert_eq!(other.reason, Reason::NotFound);
        let policy = Policy::included().unwrap();
        let none = crate::decision::system(&policy, Timestamp(0), "test");
        assert_eq!(scope(&policy, &none).unwrap_err().reason, Reason::Forbidden);
    }
}
