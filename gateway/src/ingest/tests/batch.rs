//! Batches of HL7v2 messages.

use super::scene::{Scene, UMC, oru};
use crate::ingest::batch::MESSAGES_MAX;
use crate::response::refusal::Reason;

const SNIP: &str = "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500";

#[test]
fn each_message_of_a_batch_has_its_own_outcome_and_resending_the_batch_is_harmless() {
    let scene = Scene::new();
    let bad = oru(2002, &[&SNIP.replace("|||||F", "|||||")]);
    let batch = [
        b"FHS|^~\\&\rBHS|^~\\&\r".to_vec(),
        oru(2001, &[SNIP]),
        bad,
        oru(2003, &[&SNIP.replace("SNIP", "PCF")]),
        b"BTS|4\rFTS|1\r".to_vec(),
    ]
    .concat();
    let first = scene.ingest(UMC, "application/hl7-v2", &batch);
    let body: serde_json::Value = serde_json::from_str(&first.body).unwrap();
    let statuses: Vec<_> =
        body["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].as_str().unwrap()).collect();
    // The last is of the envelope: BTS-1 counts four.
    assert_eq!(statuses, ["200", "422", "200", "422"], "{body}");
    assert!(body["entry"][3].to_string().contains("batch-count"));
    let state = scene.state();
    assert_eq!(scene.ingest(UMC, "application/hl7-v2", &batch).body, first.body);
    assert_eq!(scene.state(), state);
}

#[test]
fn a_batch_of_too_many_messages_is_refused_as_a_whole() {
    let scene = Scene::new();
    let batch: Vec<u8> = (0..=MESSAGES_MAX as u32).flat_map(|n| oru(n, &[])).collect();
    let refused = scene.refused(UMC, "application/hl7-v2", &batch);
    assert_eq!(refused.reason, Reason::TooCostly);
}
