//! The demo's patients: made up from a counter, so that every run makes the same ones. Names say that they are tests;
//! citizen service numbers come from the published test range only.

use serde_json::{Value, json};

use crate::ids::{SYSTEM_BSN, SYSTEM_URA};
use crate::interaction::splice::CANONICAL;

use super::region::{ACN, CTB, GESP_MIDDEN, GESP_NOORD, GP_BRUG, GP_ELDERS, Party};

/// Test numbers that pass the eleven-test. The first is the patient of the story.
pub const BSNS: &[&str] = &[
    "999911120",
    "999911132",
    "111222333",
    "123456782",
    "900073962",
    "999990019",
    "900186021",
    "900200078",
    "900214181",
    "900232936",
    "999900018",
    "999900031",
    "999900043",
    "999900055",
    "999900067",
    "999900079",
    "999900080",
    "999900092",
    "999900419",
    "999900420",
    "999900468",
    "999900481",
    "999900493",
    "999900511",
    "999900523",
    "999900535",
    "999900560",
    "999900596",
    "999900602",
    "999900614",
    "999900638",
    "999900651",
    "999900663",
    "999900675",
    "999900687",
    "999900699",
    "999900742",
    "999900778",
    "999900791",
    "999900808",
];

/// One demo patient.
#[derive(Debug, Clone, Copy)]
pub struct Person {
    /// From 0.
    pub at: usize,
    /// Test BSN.
    pub bsn: &'static str,
}

/// All of them.
pub fn all() -> impl Iterator<Item = Person> {
    BSNS.iter().enumerate().map(|(at, bsn)| Person { at, bsn })
}

impl Person {
    /// A small repeatable number for `what`, below `below`.
    fn pick(self, what: u32, below: u32) -> u32 {
        let mixed = (self.at as u32 + 1).wrapping_mul(2_654_435_761).wrapping_add(what.wrapping_mul(40_503));
        (mixed ^ (mixed >> 15)) % below.max(1)
    }

    /// The team that coordinates: two thirds are of the first region.
    pub fn gesp(self) -> &'static Party {
        if self.at % 3 == 2 { &GESP_NOORD } else { &GESP_MIDDEN }
    }

    /// The family doctor; the story's patient and her region belong to De Brug.
    pub fn gp(self) -> &'static Party {
        if self.at % 3 == 2 { &GP_ELDERS } else { &GP_BRUG }
    }

    /// Whether she consents to research: all but every fourth.
    pub fn consents_to_research(self) -> bool {
        self.at % 4 != 3
    }

    /// Whether she shares with the home-ventilation centre: all but every fifth.
    pub fn shares_with_ctb(self) -> bool {
        self.at % 5 != 4
    }

    /// Everything her GeSp team sends about her, as one transaction.
    pub fn transaction(self) -> Value {
        let patient =
            format!("urn:uuid:{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, self.bsn.as_bytes()));
        let mut entries = vec![entry(&patient, self.patient())];
        let subject = json!({ "reference": patient });
        let mut add = |resource: Value| {
            let name = format!("{}-{}", self.bsn, entries.len());
            let url = format!("urn:uuid:{}", uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, name.as_bytes()));
            entries.push(entry(&url, resource));
        };
        add(self.care_team(&subject));
        add(self.condition(&subject));
        for visit in 0..4 {
            add(self.alsfrs(&subject, visit));
            add(self.vital_capacity(&subject, visit));
            add(self.weight(&subject, visit));
        }
        add(self.psychosocial(&subject));
        add(self.care_plan(&subject));
        json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
    }

    fn patient(self) -> Value {
        json!({
            "resourceType": "Patient",
            "identifier": [{ "system": SYSTEM_BSN, "value": self.bsn }],
            "name": [{ "use": "official", "family": format!("Proefpersoon-{:02}", self.at + 1), "given": ["Test"] }],
            "gender": if self.pick(1, 2) == 0 { "female" } else { "male" },
            "birthDate": format!("{}-{:02}-{:02}", 1940 + self.pick(2, 40), 1 + self.pick(3, 12), 1 + self.pick(4, 28)),
            "address": [{ "city": "Teststad", "postalCode": format!("{}AB", 1000 + self.pick(5, 8999)), "country": "NL" }],
        })
    }

    fn care_team(self, subject: &Value) -> Value {
        // Participant roles of nl-core-CareTeam: RESP hoofdbehandelaar, PRF uitvoerder, SPRF medebehandelaar.
        let member = |party: &Party, role: &str| {
            json!({
                "role": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": role }] }],
                "member": { "type": "Organization", "identifier": { "system": SYSTEM_URA, "value": party.ura }, "display": party.name },
            })
        };
        json!({
            "resourceType": "CareTeam", "status": "active", "subject": subject,
            "period": { "start": "2025-01-01" },
            "participant": [member(self.gesp(), "RESP"), member(self.gp(), "PRF"), member(&CTB, "SPRF"), member(&ACN, "CON")],
        })
    }

    fn condition(self, subject: &Value) -> Value {
        json!({
            "resourceType": "Condition", "subject": subject,
            "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active" }] },
            "verificationStatus": { "coding": [
                { "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed" },
                { "system": "http://snomed.info/sct", "code": "410605003", "display": "bevestigd" },
            ] },
            "code": { "coding": [{ "system": "http://snomed.info/sct", "code": "86044005", "display": "amyotrofische laterale sclerose" }] },
            "onsetDateTime": format!("{}-{:02}", 2022 + self.pick(6, 3), 1 + self.pick(7, 12)),
            "recordedDate": "2025-02-03",
        })
    }

    fn visit_date(self, visit: u32) -> String {
        format!("2026-{:02}-{:02}", 1 + visit * 3, 1 + self.pick(8, 27))
    }

    fn alsfrs(self, subject: &Value, visit: u32) -> Value {
        let total = 44u32.saturating_sub(self.pick(9, 8)).saturating_sub(visit * (1 + self.pick(10, 3)));
        json!({
            "resourceType": "Observation", "status": "final", "subject": subject,
            "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey" }] }],
            "code": { "coding": [{ "system": format!("{CANONICAL}/CodeSystem/als-observation"), "code": "alsfrs-r-total", "display": "ALSFRS-R totaal" }] },
            "effectiveDateTime": self.visit_date(visit),
            "valueQuantity": { "value": total, "unit": "score", "system": "http://unitsofmeasure.org", "code": "{score}" },
        })
    }

    fn vital_capacity(self, subject: &Value, visit: u32) -> Value {
        let centilitres =
            420u32.saturating_sub(self.pick(11, 120)).saturating_sub(visit * (10 + self.pick(12, 30)));
        let value: Value = serde_json::from_str(&format!("{}.{:02}", centilitres / 100, centilitres % 100))
            .unwrap_or(Value::Null);
        json!({
            "resourceType": "Observation", "status": "final", "subject": subject,
            "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }], "text": "FVC zittend" },
            "effectiveDateTime": self.visit_date(visit),
            "valueQuantity": { "value": value, "unit": "L", "system": "http://unitsofmeasure.org", "code": "L" },
        })
    }

    fn weight(self, subject: &Value, visit: u32) -> Value {
        json!({
            "resourceType": "Observation", "status": "final", "subject": subject,
            "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs" }] }],
            "code": { "coding": [{ "system": "http://loinc.org", "code": "29463-7" }] },
            "effectiveDateTime": self.visit_date(visit),
            "valueQuantity": { "value": 82u32.saturating_sub(self.pick(13, 25)).saturating_sub(visit), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg" },
        })
    }

    fn psychosocial(self, subject: &Value) -> Value {
        json!({
            "resourceType": "Observation", "status": "final", "subject": subject,
            // nl-core-FunctionalOrMentalStatus, mental: what the policy calls psych.
            "category": [{ "coding": [{ "system": "http://snomed.info/sct", "code": "384821006" }] }],
            "code": { "coding": [{ "system": format!("{CANONICAL}/CodeSystem/als-observation"), "code": "psychosocial", "display": "Psychosociale draagkracht" }] },
            "effectiveDateTime": self.visit_date(1),
            "valueString": "Draagkracht besproken; partner betrokken.",
        })
    }

    fn care_plan(self, subject: &Value) -> Value {
        json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": subject,
            "title": "Verdeling van zorgtaken",
            "period": { "start": "2026-01-01" },
            "activity": [{ "detail": {
                "status": "in-progress",
                "code": { "text": "Controle ademhaling" },
                "performer": [{ "type": "Organization", "identifier": { "system": SYSTEM_URA, "value": CTB.ura }, "display": CTB.name }],
            } }],
        })
    }

    /// The consents she gives, as herself: one for each of her care lines, and one for research if she wants.
    pub fn consents(self, patient_id: &str) -> Vec<Value> {
        let mut given =
            vec![treatment(patient_id, self.gesp(), None), treatment(patient_id, self.gp(), None)];
        if self.shares_with_ctb() {
            given.push(treatment(patient_id, &CTB, None));
        }
        if self.consents_to_research() {
            given.push(research(patient_id, &ACN));
        }
        given
    }
}

fn entry(full_url: &str, resource: Value) -> Value {
    let kind = resource.get("resourceType").cloned().unwrap_or(Value::Null);
    json!({ "fullUrl": full_url, "resource": resource, "request": { "method": "POST", "url": kind } })
}

/// A patient's consent to share with one organisation for treatment; `categories` `None` for all the role may see.
pub fn treatment(patient_id: &str, recipient: &Party, categories: Option<&[&str]>) -> Value {
    consent(patient_id, recipient, "INFA", "TREAT", categories)
}

/// A patient's consent to pseudonymised use for research.
pub fn research(patient_id: &str, recipient: &Party) -> Value {
    consent(patient_id, recipient, "RESEARCH", "HRESCH", None)
}

fn consent(
    patient_id: &str,
    recipient: &Party,
    category: &str,
    purpose: &str,
    categories: Option<&[&str]>,
) -> Value {
    let patient = json!({ "reference": format!("Patient/{patient_id}") });
    let mut provision = json!({
        "type": "permit",
        "period": { "start": "2025-01-01" },
        "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": purpose }],
        "actor": [{
            "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP" }] },
            "reference": { "type": "Organization", "identifier": { "system": SYSTEM_URA, "value": recipient.ura }, "display": recipient.name },
        }],
    });
    if let Some(categories) = categories {
        provision["securityLabel"] = categories
            .iter()
            .map(|code| json!({ "system": format!("{CANONICAL}/CodeSystem/data-category"), "code": code }))
            .collect();
    }
    json!({
        "resourceType": "Consent", "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": if purpose == "HRESCH" { "research" } else { "patient-privacy" } }] },
        "category": [
            { "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] },
            { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": category }] },
        ],
        "patient": patient, "performer": [patient], "dateTime": "2026-01-05T10:00:00+01:00",
        "organization": super::region::HOLDERS.iter().map(|holder| json!({ "type": "Organization", "identifier": { "system": SYSTEM_URA, "value": holder.ura } })).collect::<Vec<_>>(),
        "sourceReference": { "display": "Toestemmingsformulier, getekend bij het GeSp-team" },
        "policy": [{ "uri": "https://sluis.care/policy/consent/1" }],
        "provision": provision,
    })
}
