//! Whose data it is.

use super::scene::{GESP, GP, Scene, UMC, oru};

const SNIP: &str = "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500";
const BSN: &str = "http://fhir.nl/fhir/NamingSystem/bsn";

fn patient(id: &str, bsn: &str) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"{BSN}","value":"{bsn}"}},{{"system":"urn:oid:2.999.1","value":"n-{id}"}}],"name":[{{"family":"Proef"}}]}}"#
    )
}

fn weight(value: &str, patient: &str, n: u32) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"w{n}","identifier":[{{"system":"urn:x","value":"w{n}"}}],"status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"29463-7"}}]}},"subject":{{"reference":"{patient}"}},"valueQuantity":{{"value":{value},"system":"http://unitsofmeasure.org","code":"kg"}}}}"#
    )
}

fn bundle(entries: &[&str]) -> String {
    let entries: Vec<String> = entries.iter().map(|e| format!("{{\"resource\":{e}}}")).collect();
    format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
}

#[test]
fn two_senders_of_one_number_meet_at_one_patient() {
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let known = scene.patient(UMC, "999911120").unwrap();
    let text = bundle(&[&patient("p1", "999911120"), &weight("70.0", "Patient/p1", 1)]);
    let answer = scene.ingest(GESP, "application/fhir+json", text.as_bytes());
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert!(answer.body.contains("patient-known"), "{}", answer.body);
    let observation = scene.one(GESP, &answer, "Observation/");
    assert!(
        observation.contains(&format!("Patient/{known}")) && observation.contains("70.0"),
        "{observation}"
    );
    let provenance = scene.one(GESP, &answer, "Provenance/");
    assert!(provenance.contains(&format!("Patient/{known}")), "it lies in the same dossier: {provenance}");
    let theirs = scene.current(UMC, "Patient", known.as_str()).unwrap();
    assert!(
        !String::from_utf8(theirs.body.to_vec()).unwrap().contains("Proef"),
        "others' data is not overwritten"
    );
}

#[test]
fn a_mapped_document_reaches_a_patient_its_sender_may_not_see() {
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let known = scene.patient(UMC, "999911120").unwrap();
    assert!(scene.current(GESP, "Patient", known.as_str()).is_none(), "no consent, no sight");
    let text = "bsn;bezoekdatum;soort;code;omschrijving;waarde;eenheid;taak;categorie;eigenaar_ura;uitvoerder_ura;status\r\n999911120;10-03-2026;meting;SNIP;SNIP;45;cmH2O;;;;;definitief";
    let answer = scene.ingest(GESP, "text/csv", text.as_bytes());
    assert!(answer.body.contains("1 created"), "{}", answer.body);
    assert!(scene.one(GESP, &answer, "Observation/").contains(&format!("Patient/{known}")));
    assert!(scene.one(GESP, &answer, "Provenance/").contains(&format!("Patient/{known}")));
}

#[test]
fn a_local_number_means_whom_it_was_sent_with() {
    let scene = Scene::new();
    let local_only =
        String::from_utf8(oru(1001, &[SNIP])).unwrap().replace("~999911120^^^NLMINBIZA^NNNLD", "");
    let unknown = scene.ingest(UMC, "application/hl7-v2", local_only.as_bytes());
    assert_eq!(unknown.status.as_u16(), 422, "{}", unknown.body);
    assert!(unknown.body.contains("patient-unknown"));
    scene.ingest(
        UMC,
        "application/hl7-v2",
        &oru(1002, &["OBX|2|NM|FVC_ZIT^FVC zittend^99ALS||2.1|L|||||F|||20260310093000"]),
    );
    let replayed = scene.replay(UMC, &[]);
    let id = scene.patient(UMC, "999911120").unwrap();
    let text = scene.one(UMC, &replayed, "Observation/");
    assert!(text.contains(&format!("Patient/{id}")) && text.contains(r#""value":45"#), "{}", replayed.body);
}

#[test]
fn a_local_number_said_of_two_patients_means_none() {
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let other = String::from_utf8(oru(1002, &[&SNIP.replace("094500", "094600")])).unwrap();
    scene.ingest(
        UMC,
        "application/hl7-v2",
        other.replace("999911120", "111222333").replace("F-2026", "G-2026").as_bytes(),
    );
    let third = String::from_utf8(oru(1003, &[&SNIP.replace("094500", "094700")])).unwrap();
    let third = third.replace("~999911120^^^NLMINBIZA^NNNLD", "").replace("F-2026", "H-2026");
    let answer = scene.ingest(UMC, "application/hl7-v2", third.as_bytes());
    assert!(answer.body.contains("patient-ambiguous"), "{}", answer.body);
}

#[test]
fn a_directive_of_a_known_patient_says_no_and_keeps_its_bytes() {
    let scene = Scene::new();
    scene.ingest(GP, "application/fhir+json", patient("p-als-1", "999911120").as_bytes());
    let case =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings/gp-stu3/cases/cgm-nee/in.json");
    let bytes = std::fs::read(case).unwrap();
    let answer = scene.ingest(GP, "application/fhir+json;fhirVersion=3.0", &bytes);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let consent = scene.one(GP, &answer, "Consent/");
    let id = scene.patient(GP, "999911120").unwrap();
    assert!(consent.contains(r#""type":"deny""#) && consent.contains(&format!("Patient/{id}")), "{consent}");
    assert!(!consent.contains("Patient/p-als-1"));
}

#[test]
fn an_r4_directive_that_says_two_things_is_refused() {
    let scene = Scene::new();
    scene.ingest(GP, "application/fhir+json", patient("p-als-1", "999911120").as_bytes());
    let consent = r#"{"resourceType":"Consent","meta":{"profile":["http://nictiz.nl/fhir/StructureDefinition/nl-core-TreatmentDirective2"]},"identifier":[{"system":"urn:x","value":"d1"}],"modifierExtension":[{"url":"http://nictiz.nl/fhir/StructureDefinition/ext-TreatmentDirective2.SpecificationOther","valueString":"alleen overdag"}],"status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"treatment"}]},"category":[{"coding":[{"system":"http://snomed.info/sct","code":"129125009"}]}],"patient":{"reference":"Patient/p-als-1"},"policy":[{"uri":"https://wetten.overheid.nl/"}],"provision":{"type":"permit","code":[{"coding":[{"system":"http://snomed.info/sct","code":"40617009"}]}]}}"#;
    let answer = scene.ingest(GP, "application/fhir+json", consent.as_bytes());
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    assert!(answer.body.contains("business-rule"), "{}", answer.body);
}

#[test]
fn a_number_that_fails_its_test_links_to_nobody() {
    let scene = Scene::new();
    let text = bundle(&[&patient("p1", "999940003"), &weight("70.0", "Patient/p1", 1)]);
    let answer = scene.ingest(GESP, "application/fhir+json", text.as_bytes());
    assert_eq!(answer.status.as_u16(), 422, "{}", answer.body);
    assert!(
        answer.body.contains("bsn-invalid") && answer.body.contains("reference-unresolved"),
        "{}",
        answer.body
    );
    assert!(!answer.body.contains("999940003"));
}
