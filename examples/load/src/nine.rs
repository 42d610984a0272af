//! The nine types of the CRUD workload, in the order they are made, with the sizes the published suites use.

use serde_json::{Value, json};

use crate::care::NUMBERS;

/// How many types.
pub(crate) const TYPES: usize = 9;

/// Their names.
pub(crate) const NAMES: [&str; TYPES] = [
    "Patient",
    "Location",
    "Organization",
    "Practitioner",
    "Encounter",
    "Observation",
    "MedicationRequest",
    "Claim",
    "ExplanationOfBenefit",
];

/// The `at`-th of an iteration, referring to those made before it (`Type/id` in `made`).
pub(crate) fn resource(at: usize, made: &[String], number: u64) -> Value {
    let to = |name: usize| json!({ "reference": made.get(name).map_or("Patient/none", String::as_str) });
    let identifier = json!([{ "system": NUMBERS, "value": format!("c-{number}-{at}") }]);
    let note = |length: usize| "Aantekening bij een proefgegeven, zonder betekenis. ".repeat(length / 52);
    match at {
        0 => json!({
            "resourceType": "Patient", "active": true, "identifier": identifier, "gender": "female", "birthDate": "1961-04-30",
            "name": [{ "family": "Proefpersoon", "given": ["Cato", "Emma"] }],
            "extension": (0..20).map(|n| json!({ "url": format!("https://sluis.care/load/extension/{n}"), "valueString": note(104) })).collect::<Vec<_>>(),
            "address": [{ "line": ["Proefstraat 1"], "city": "Teststad", "postalCode": "1000 AB", "country": "NL",
                "extension": [{ "url": "http://hl7.org/fhir/StructureDefinition/geolocation", "extension": [
                    { "url": "latitude", "valueDecimal": 52.1 }, { "url": "longitude", "valueDecimal": 5.1 }] }] }],
        }),
        1 => {
            json!({ "resourceType": "Location", "status": "active", "identifier": identifier, "name": "Poli", "description": note(416) })
        }
        2 => {
            json!({ "resourceType": "Organization", "active": true, "identifier": identifier, "name": "Zorggroep", "alias": [note(416)] })
        }
        3 => {
            json!({ "resourceType": "Practitioner", "active": true, "identifier": identifier, "gender": "male",
            "name": [{ "family": "Testarts", "given": ["Dirk"] }], "qualification": [{ "code": { "text": note(416) } }] })
        }
        4 => json!({
            "resourceType": "Encounter", "status": "in-progress", "identifier": identifier, "subject": to(0),
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" },
            "type": [{ "text": note(1040) }], "period": { "start": "2025-03-04T09:00:00+01:00" },
            "location": [{ "location": to(1) }], "participant": [{ "individual": to(3) }], "serviceProvider": to(2),
        }),
        5 => json!({
            "resourceType": "Observation", "status": "final", "identifier": identifier, "subject": to(0), "encounter": to(4),
            "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey" }] }],
            "code": { "coding": [{ "system": "http://loinc.org", "code": "72514-3" }] },
            "effectiveDateTime": "2025-03-04T09:10:00+01:00", "issued": "2025-03-04T09:11:00.000+01:00",
            "valueQuantity": { "value": 3, "unit": "{score}", "system": "http://unitsofmeasure.org", "code": "{score}" },
            "note": [{ "text": note(312) }],
        }),
        6 => json!({
            "resourceType": "MedicationRequest", "status": "active", "intent": "order", "identifier": identifier, "subject": to(0),
            "encounter": to(4), "requester": to(3), "authoredOn": "2025-03-04",
            "medicationCodeableConcept": { "coding": [{ "system": "http://www.whocc.no/atc", "code": "N07XX02" }] },
            "dosageInstruction": [{ "text": note(208) }],
        }),
        7 => json!({
            "resourceType": "Claim", "status": "active", "use": "claim", "identifier": identifier, "patient": to(0), "provider": to(2),
            "type": { "text": "institutional" }, "created": "2025-03-04", "priority": { "text": "normal" }, "prescription": to(6),
            "insurance": [{ "sequence": 1, "focal": true, "coverage": { "display": "zorgverzekering" } }],
            "item": [{ "sequence": 1, "productOrService": { "text": note(416) }, "encounter": [to(4)] }],
        }),
        _ => json!({
            "resourceType": "ExplanationOfBenefit", "status": "active", "use": "claim", "identifier": identifier,
            "patient": to(0), "provider": to(2), "insurer": to(2), "claim": to(7), "outcome": "complete",
            "type": { "text": "institutional" }, "created": "2025-03-04",
            "insurance": [{ "focal": true, "coverage": { "display": "zorgverzekering" } }],
            "item": (1..=12).map(|n| json!({ "sequence": n, "productOrService": { "text": note(416) }, "encounter": [to(4)] })).collect::<Vec<_>>(),
        }),
    }
}

/// The same with one field changed.
pub(crate) fn changed(at: usize, mut resource: Value) -> Value {
    let (field, value) = match at {
        0 | 3 => ("gender", json!("other")),
        1 | 2 => ("name", json!("Andere naam")),
        4 => ("status", json!("finished")),
        5 => ("issued", json!("2025-03-05T09:11:00.000+01:00")),
        6 => ("status", json!("completed")),
        _ => ("created", json!("2025-03-05")),
    };
    resource[field] = value;
    resource
}
