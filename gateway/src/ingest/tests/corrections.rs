//! Corrections, withdrawals, and documents in another order.

use super::scene::{Scene, UMC, kind_of, oru};
use crate::ids::ResourceId;

fn snip(value: &str, status: &str) -> String {
    format!("OBX|1|NM|SNIP^SNIP^99ALS||{value}|cmH2O|||||{status}|||20260310094500")
}

fn id_of(answer: &crate::ingest::Ingested) -> String {
    let reference = answer.facts.resources.iter().find(|r| r.starts_with("Observation/")).unwrap();
    reference.split('/').nth(1).unwrap().to_owned()
}

#[test]
fn a_correction_is_a_new_version_and_the_old_value_stays_in_history() {
    let scene = Scene::new();
    let first = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("45", "F")]));
    let second = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("54", "C")]));
    assert!(second.body.contains("1 updated"), "{}", second.body);
    let id = id_of(&first);
    let now = scene.current(UMC, "Observation", &id).unwrap();
    let text = String::from_utf8(now.body.to_vec()).unwrap();
    assert!(now.version == 2 && text.contains(r#""status":"corrected""#) && text.contains(r#""value":54"#));
    let id = ResourceId::parse(&id).unwrap();
    let old = scene.read(UMC, |reader| reader.version(kind_of("Observation"), &id, 1)).unwrap();
    assert!(String::from_utf8(old.body.to_vec()).unwrap().contains(r#""value":45"#));
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let messages =
        [oru(1001, &[&snip("45", "F")]), oru(1002, &[&snip("54", "C")]), oru(1003, &[&snip("55", "C")])];
    let mut seen = Vec::new();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1], [0, 2, 1], [1, 2, 0]] {
        let scene = Scene::new();
        let mut id = String::new();
        for at in order {
            let answer = scene.ingest(UMC, "application/hl7-v2", &messages[at]);
            if answer.body.contains("1 created") {
                id = id_of(&answer);
            }
        }
        let stored = scene.current(UMC, "Observation", &id).unwrap();
        let text = String::from_utf8(stored.body.to_vec()).unwrap();
        let value = text.split("\"valueQuantity\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
        seen.push((id, value, text.contains("corrected")));
    }
    assert!(seen.iter().all(|one| one == &seen[0] && one.1 == r#"{"value":55"#), "{seen:?}");
}

#[test]
fn a_stale_message_is_named_and_does_not_overwrite() {
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("54", "C")]));
    let late = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("45", "F")]));
    assert_eq!(late.status.as_u16(), 200);
    assert!(late.body.contains("1 stale") && late.body.contains(r#""code":"stale""#), "{}", late.body);
}

#[test]
fn a_withdrawal_marks_the_result_entered_in_error() {
    let scene = Scene::new();
    let first = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("45", "F")]));
    let second = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("45", "W")]));
    assert!(second.body.contains("1 updated"), "{}", second.body);
    let now = scene.one(UMC, &first, "Observation/");
    assert!(now.contains("entered-in-error") && !now.contains("value\":45"), "the value is history: {now}");
    let id = ResourceId::parse(&id_of(&first)).unwrap();
    let old = scene.read(UMC, |reader| reader.version(kind_of("Observation"), &id, 1)).unwrap();
    assert!(String::from_utf8(old.body.to_vec()).unwrap().contains("value\":45"));
}

#[test]
fn a_withdrawal_before_its_original_waits_and_is_applied_when_that_arrives() {
    let scene = Scene::new();
    let early = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&snip("45", "W")]));
    assert_eq!(early.status.as_u16(), 422, "{}", early.body);
    assert!(early.body.contains("correction-without-original"));
    assert_eq!(scene.patient(UMC, "999911120"), None, "a withdrawal makes nobody known");
    assert!(scene.waiting(UMC).contains("correction-without-original"));

    let first = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&snip("45", "F")]));
    assert!(first.body.contains("1 created"), "{}", first.body);
    let stored = scene.current(UMC, "Observation", &id_of(&first)).unwrap();
    assert_eq!(stored.version, 2);
    assert!(String::from_utf8(stored.body.to_vec()).unwrap().contains("entered-in-error"));
    assert!(scene.waiting(UMC).contains(r#""name":"waiting","valueInteger":0"#), "{}", scene.waiting(UMC));
}
