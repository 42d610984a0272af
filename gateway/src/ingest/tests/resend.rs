//! The same document again.

use super::scene::{GESP, Scene, UMC, oru};

const SNIP: &str = "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500";

#[test]
fn a_resend_gets_the_same_answer_and_changes_nothing_but_the_log() {
    let scene = Scene::new();
    let bytes = oru(1001, &[SNIP]);
    let first = scene.ingest(UMC, "application/hl7-v2", &bytes);
    let state = scene.state();
    for turn in 2..=3 {
        let again = scene.ingest(UMC, "application/hl7-v2", &bytes);
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert!(again.facts.repeated && again.facts.resources.is_empty());
        assert_eq!(scene.state(), state);
        assert_eq!(scene.audited(), turn);
    }
}

#[test]
fn of_three_at_once_one_is_applied() {
    let scene = Scene::new();
    let answers = scene.ingest_at_once(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    assert_eq!(answers.iter().filter(|answer| !answer.facts.repeated).count(), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    assert_eq!(scene.audited(), 3);
}

#[test]
fn the_same_content_in_another_message_makes_no_version() {
    let scene = Scene::new();
    let first = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let second = scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[SNIP]));
    assert!(second.body.contains("0 created, 0 updated, 1 unchanged"), "{}", second.body);
    assert!(second.facts.resources.is_empty(), "no Provenance of nothing: {:?}", second.facts.resources);
    let observation = scene.one(UMC, &first, "Observation/");
    assert!(observation.contains(r#""versionId":"1""#));
}

#[test]
fn other_bytes_under_the_same_number_are_a_correction_with_a_finding() {
    let scene = Scene::new();
    let first = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let other = oru(1001, &[&SNIP.replace("|45|", "|47|")]);
    let second = scene.ingest(UMC, "application/hl7-v2", &other);
    assert!(
        second.body.contains("message-key-reused") && second.body.contains("0 created, 1 updated"),
        "{}",
        second.body
    );
    assert!(scene.one(UMC, &first, "Observation/").contains(r#""value":47"#));
    // Each of the two is known by now.
    assert!(scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP])).facts.repeated);
    assert!(scene.ingest(UMC, "application/hl7-v2", &other).facts.repeated);
}

#[test]
fn a_number_of_another_sender_is_another_document() {
    let scene = Scene::new();
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    let other = scene.ingest(GESP, "application/hl7-v2", &oru(1001, &[SNIP]));
    assert!(!other.facts.repeated);
    assert_eq!(other.status.as_u16(), 422, "no mapping for this sender: {}", other.body);
    assert!(other.body.contains("mapping-missing"));
}
