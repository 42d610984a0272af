//! The same measurement from two systems, and two that disagree.

use super::scene::{GP, Scene, UMC, oru};
use crate::interaction::measurement::SYSTEM;

fn mark(text: &str) -> Option<String> {
    let at = text.find(SYSTEM)?;
    text.get(at..)?.split('"').nth(4).map(str::to_owned)
}

fn by_gp(scene: &Scene, value: &str, unit: &str) -> String {
    let text = format!(
        r#"{{"resourceType":"Observation","meta":{{"tag":[{{"system":"{SYSTEM}","code":"claimed"}},{{"system":"urn:x","code":"kept"}}]}},"identifier":[{{"system":"urn:x","value":"f{value}"}}],"status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"19868-9"}}]}},"effectiveDateTime":"2026-03-10T08:30:00Z","subject":{{"identifier":{{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911120"}}}},"valueQuantity":{{"value":{value},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}}}}"#
    );
    let answer = scene.ingest(GP, "application/fhir+json", text.as_bytes());
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    scene.one(GP, &answer, "Observation/")
}

#[test]
fn the_same_measurement_of_two_systems_is_kept_twice_and_marked_alike() {
    let scene = Scene::new();
    let fvc = "OBX|1|NM|FVC^FVC^99ALS||2.10|L|||||F|||20260310093000";
    let answer = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[fvc]));
    let ours = scene.one(UMC, &answer, "Observation/");
    let theirs = by_gp(&scene, "2100", "mL");
    assert!(mark(&ours).is_some(), "{ours}");
    assert_eq!(mark(&ours), mark(&theirs), "{ours} {theirs}");
    assert!(theirs.contains("kept") && !theirs.contains("claimed"), "only the gateway marks: {theirs}");
    // Two that disagree stand side by side, each as it was sent.
    let other = by_gp(&scene, "2.60", "L");
    assert_ne!(mark(&other), mark(&ours));
    assert_eq!(scene.one(UMC, &answer, "Observation/"), ours);
    // A correction of the status alone is the same measurement; one of the value is not.
    let again = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&fvc.replace("|F|", "|C|")]));
    assert_eq!(mark(&scene.one(UMC, &again, "Observation/")), mark(&ours));
    let changed = scene.ingest(UMC, "application/hl7-v2", &oru(1003, &[&fvc.replace("2.10", "2.20")]));
    assert_ne!(mark(&scene.one(UMC, &changed, "Observation/")), mark(&ours));
}

#[test]
fn a_result_of_the_wrong_patient_leaves_a_flag_where_it_stood() {
    let scene = Scene::new();
    let snip = |status: &str| format!("OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||{status}|||20260310094500");
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("F")]));
    let taken = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("W")]));
    let flag = scene.one(UMC, &taken, "Flag/");
    let anna = scene.patient(UMC, "999911120").unwrap();
    assert!(flag.contains(&format!("Patient/{anna}")) && flag.contains("safety"), "{flag}");
    assert!(!scene.one(UMC, &taken, "Observation/").contains("value\":45"));
    // Deleted is not of another patient.
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("F")]));
    let deleted = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("D")]));
    assert!(!deleted.facts.resources.iter().any(|r| r.starts_with("Flag/")));
}
