//! Care-shaped data from a seed: who works in the region, and what one patient's record holds, about fifty resources.
//!
//! Nothing is anybody's: no citizen service number, names that say they are tests. Values differ by patient and visit, so
//! that a search by one finds a few of many.

use serde_json::{Value, json};
use sluis::demo::people;
use sluis::demo::region::{CTB, GESP_MIDDEN, GESP_NOORD};
use uuid::Uuid;

use crate::draw::Rng;

/// Naming system of what the generator numbers.
pub(crate) const NUMBERS: &str = "https://sluis.care/fhir/NamingSystem/load";
/// Doctors, wards and organisations of the region.
pub(crate) const STAFF: usize = 20;
/// Of every ten patients, how many do not share with the team that reads.
pub(crate) const HIDDEN_OF_TEN: usize = 1;

const LOINC: &str = "http://loinc.org";
const SNOMED: &str = "http://snomed.info/sct";
const UCUM: &str = "http://unitsofmeasure.org";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";

/// Family names, given names and towns that searches ask for.
pub(crate) const FAMILIES: &[&str] = &[
    "Proefpersoon",
    "Toetsman",
    "Voorbeeld",
    "Testerink",
    "Van der Proef",
    "Steekproef",
    "Modelaar",
    "Schijn",
];
/// Given names.
pub(crate) const GIVEN: &[&str] =
    &["Anna", "Bram", "Cato", "Dirk", "Emma", "Floor", "Gijs", "Hanna", "Imke", "Joost", "Kees", "Lotte"];
/// Towns.
pub(crate) const TOWNS: &[&str] =
    &["Teststad", "Proefdorp", "Nieuw Voorbeeld", "Oud Voorbeeld", "Schijnveen", "Modeldam"];

/// LOINC codes measured at every visit, with unit, base value and its spread.
pub(crate) const MEASURES: &[(&str, &str, &str, u32, u32)] = &[
    ("29463-7", "kg", "vital-signs", 60, 40),
    ("8867-4", "/min", "vital-signs", 55, 60),
    ("9279-1", "/min", "vital-signs", 12, 14),
    ("2708-6", "%", "vital-signs", 88, 12),
    ("19868-9", "L", "procedure", 1, 4),
    ("72514-3", "{score}", "survey", 0, 10),
];
/// Conditions.
pub(crate) const CONDITIONS: &[&str] = &["86044005", "49049000", "38341003", "195967001", "73211009"];
/// Medication.
pub(crate) const MEDICATION: &[&str] = &["N07XX02", "A02BC01", "M03BX01", "N05BA06", "R03AC02"];

/// Organisations, places and doctors, as one transaction: sent once, before the patients.
pub(crate) fn staff() -> Value {
    let mut entries = Vec::new();
    for at in 0..STAFF {
        let identifier = json!([{ "system": NUMBERS, "value": format!("s-{at}") }]);
        entries.push(json!({
            "resourceType": "Organization", "active": true, "identifier": identifier,
            "name": format!("Zorggroep {}, locatie {} & partners", TOWNS[at % TOWNS.len()], at + 1),
            "address": [{ "city": TOWNS[at % TOWNS.len()], "country": "NL" }],
        }));
        entries.push(json!({
            "resourceType": "Location", "status": "active", "identifier": identifier,
            "name": format!("Polikliniek {}", at + 1), "mode": "instance",
        }));
        entries.push(json!({
            "resourceType": "Practitioner", "active": true, "identifier": identifier,
            "name": [{ "family": format!("Testarts-{:02}", at + 1), "given": [GIVEN[at % GIVEN.len()]] }],
            "gender": "unknown",
        }));
    }
    bundle(entries.into_iter().map(|resource| (None, resource)).collect())
}

/// Everything of one patient, as one transaction. Who works in the region is referred to by criteria, as systems do that
/// do not know the server's ids.
///
/// `shared`: whether she consents to the reading team's looking.
pub(crate) fn patient(seed: u64, at: usize, shared: bool) -> Value {
    let mut record = Record { rng: Rng::new(seed, at as u64 + 1), seed, at, entries: Vec::new() };
    record.fill(shared);
    bundle(record.entries)
}

fn bundle(entries: Vec<(Option<String>, Value)>) -> Value {
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(url, resource)| {
            let request = json!({ "method": "POST", "url": resource["resourceType"] });
            match url {
                Some(url) => json!({ "fullUrl": url, "resource": resource, "request": request }),
                None => json!({ "resource": resource, "request": request }),
            }
        })
        .collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

struct Record {
    rng: Rng,
    seed: u64,
    at: usize,
    entries: Vec<(Option<String>, Value)>,
}

impl Record {
    fn add(&mut self, resource: Value) -> Value {
        let name = format!("{}/{}/{}", self.seed, self.at, self.entries.len());
        let url = format!("urn:uuid:{}", Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()));
        self.entries.push((Some(url.clone()), resource));
        json!({ "reference": url })
    }

    fn staff(&mut self, kind: &str) -> Value {
        json!({ "reference": format!("{kind}?identifier={NUMBERS}|s-{}", self.rng.below(STAFF)) })
    }

    fn date(&mut self, visit: usize) -> String {
        format!("{}-{:02}-{:02}", 2021 + visit, 1 + self.rng.below(12), 1 + self.rng.below(28))
    }

    fn fill(&mut self, shared: bool) {
        let practitioner = self.staff("Practitioner");
        let (family, given) = (self.rng.of(FAMILIES).to_owned(), self.rng.of(GIVEN).to_owned());
        let (year, month, day) = (1935 + self.rng.below(60), 1 + self.rng.below(12), 1 + self.rng.below(28));
        let town = self.rng.of(TOWNS);
        let gender = ["female", "male"][self.rng.below(2)];
        let patient = json!({
            "resourceType": "Patient", "active": true,
            "meta": { "profile": ["http://nictiz.nl/fhir/StructureDefinition/nl-core-Patient"] },
            "identifier": [{ "system": NUMBERS, "value": format!("p-{}-{}", self.seed, self.at) }],
            "name": [{ "use": "official", "text": format!("{given} {family}"), "family": family, "given": [given] }],
            "telecom": [{ "system": "phone", "value": format!("088-{:07}", self.at), "use": "home" }],
            "gender": gender, "birthDate": format!("{year}-{month:02}-{day:02}"),
            "address": [{ "use": "home", "line": [format!("Proefstraat {}", 1 + self.rng.below(300))], "city": town,
                "postalCode": format!("{} AB", 1000 + self.rng.below(8999)), "country": "NL" }],
            "generalPractitioner": [practitioner],
        });
        let subject = self.add(patient);
        self.around(&subject, shared);
        for visit in 0..4 {
            self.visit(&subject, visit);
        }
        self.besides(&subject);
    }

    /// Who may see it, and who cares.
    fn around(&mut self, subject: &Value, shared: bool) {
        let member = |party: &sluis::demo::region::Party, role: &str| {
            json!({
                "role": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": role }] }],
                "member": { "type": "Organization", "identifier": { "system": sluis::ids::SYSTEM_URA, "value": party.ura } },
            })
        };
        self.add(json!({
            "resourceType": "CareTeam", "status": "active", "subject": subject, "period": { "start": "2021-01-01" },
            "participant": [member(&GESP_NOORD, "RESP"), member(&GESP_MIDDEN, "PRF"), member(&CTB, "SPRF")],
        }));
        let recipient = if shared { &GESP_MIDDEN } else { &CTB };
        let mut consent = people::treatment("x", recipient, None);
        consent["patient"] = subject.clone();
        consent["performer"] = json!([subject]);
        self.add(consent);
    }

    /// An encounter with what was measured there: nine resources.
    fn visit(&mut self, subject: &Value, visit: usize) {
        let date = self.date(visit);
        let (doctor, place, organisation) =
            (self.staff("Practitioner"), self.staff("Location"), self.staff("Organization"));
        let class = self.rng.of(&["AMB", "HH", "IMP"]);
        let status = self.rng.of(&["finished", "in-progress", "planned"]);
        let encounter = self.add(json!({
            "resourceType": "Encounter", "status": status,
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class },
            "subject": subject, "participant": [{ "individual": doctor }],
            "period": { "start": format!("{date}T09:00:00+01:00"), "end": format!("{date}T09:45:00+01:00") },
            "location": [{ "location": place }], "serviceProvider": organisation,
        }));
        for &(code, unit, category, base, spread) in MEASURES {
            let value = base * 10 + self.rng.below(spread as usize * 10) as u32;
            let value = digits(value);
            let moment = format!("{date}T09:{:02}:00+01:00", self.rng.below(45));
            self.add(json!({
                "resourceType": "Observation", "status": "final",
                "category": [{ "coding": [{ "system": CATEGORY, "code": category }] }],
                "code": { "coding": [{ "system": LOINC, "code": code }] },
                "subject": subject, "encounter": encounter, "performer": [doctor],
                "effectiveDateTime": moment,
                "valueQuantity": { "value": value, "unit": unit, "system": UCUM, "code": unit },
            }));
        }
        let pressure = |code: &str, value: usize| {
            json!({ "code": { "coding": [{ "system": LOINC, "code": code }] },
                "valueQuantity": { "value": value, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]" } })
        };
        let (systolic, diastolic) = (100 + self.rng.below(80), 55 + self.rng.below(50));
        self.add(json!({
            "resourceType": "Observation", "status": "final",
            "category": [{ "coding": [{ "system": CATEGORY, "code": "vital-signs" }] }],
            "code": { "coding": [{ "system": LOINC, "code": "85354-9" }] },
            "subject": subject, "encounter": encounter, "performer": [doctor],
            "effectiveDateTime": format!("{date}T09:50:00+01:00"),
            "component": [pressure("8480-6", systolic), pressure("8462-4", diastolic)],
        }));
        let drug = self.rng.of(MEDICATION);
        self.add(json!({
            "resourceType": "MedicationRequest", "status": "active", "intent": "order",
            "medicationCodeableConcept": { "coding": [{ "system": "http://www.whocc.no/atc", "code": drug }] },
            "subject": subject, "encounter": encounter, "authoredOn": date, "requester": doctor,
            "dosageInstruction": [{ "text": "1 maal per dag 1 tablet" }],
        }));
    }

    /// What stands for longer than a visit: eleven resources.
    fn besides(&mut self, subject: &Value) {
        let doctor = self.staff("Practitioner");
        for _ in 0..4 {
            let code = self.rng.of(CONDITIONS);
            let onset = self.date(0);
            self.add(json!({
                "resourceType": "Condition", "subject": subject, "recorder": doctor,
                "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active" }] },
                "code": { "coding": [{ "system": SNOMED, "code": code }] }, "onsetDateTime": onset,
            }));
        }
        let pathway = format!("https://sluis.care/load/pathway/{}", self.rng.below(5));
        self.add(json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": subject, "title": "Verdeling van zorgtaken",
            "instantiatesUri": [pathway],
            "period": { "start": "2024-01-01" },
            "activity": [{ "detail": { "status": "in-progress", "code": { "text": "Controle ademhaling" } } }],
        }));
        let probability = digits(self.rng.below(10) as u32);
        self.add(json!({
            "resourceType": "RiskAssessment", "status": "final", "subject": subject,
            "prediction": [{ "outcome": { "text": "val" }, "probabilityDecimal": probability }],
        }));
        self.add(json!({
            "resourceType": "AllergyIntolerance", "patient": subject,
            "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active" }] },
            "code": { "text": "penicilline" }, "criticality": "high",
        }));
        let date = self.date(1);
        self.add(json!({
            "resourceType": "Procedure", "status": "completed", "subject": subject, "performedDateTime": date,
            "code": { "coding": [{ "system": SNOMED, "code": "23426006" }], "text": "longfunctieonderzoek" },
        }));
        self.add(json!({
            "resourceType": "Goal", "lifecycleStatus": "active", "subject": subject, "description": { "text": "Thuis blijven wonen" },
        }));
        self.add(json!({
            "resourceType": "Flag", "status": "active", "subject": subject, "code": { "text": "valgevaar" },
        }));
        self.add(json!({
            "resourceType": "NutritionOrder", "status": "active", "intent": "order", "patient": subject, "dateTime": "2025-02-03",
            "oralDiet": { "instruction": "gemalen voeding" },
        }));
    }
}

/// Tenths as a decimal with its digit.
fn digits(tenths: u32) -> Value {
    serde_json::from_str(&format!("{}.{}", tenths / 10, tenths % 10)).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_about_fifty_resources_and_is_the_same_each_time() {
        let record = patient(1, 5, true);
        let entries = record["entry"].as_array().map_or(0, Vec::len);
        assert!((45..=55).contains(&entries), "{entries}");
        assert_eq!(record, patient(1, 5, true));
        assert_ne!(record, patient(1, 6, true));
        assert_ne!(record, patient(2, 5, true));
    }
}
