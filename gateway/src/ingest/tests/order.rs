//! Whatever the order documents arrive in, and however often: the same store.

use proptest::prelude::*;
use sluis_conformance::json::{Doc, JsonLimits};

use super::scene::{GESP, GP, Scene, UMC, oru};
use crate::ingest::digest::content_hash;
use crate::store::Shelf;

/// Documents of three senders: results with a correction and a withdrawal, a result of another order, problems, a
/// spreadsheet, and FHIR with a time.
fn documents() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let snip = |value: &str, status: &str| {
        format!("OBX|1|NM|SNIP^SNIP^99ALS||{value}|cmH2O|||||{status}|||20260310094500")
    };
    let fvc = |value: &str, status: &str| {
        format!("OBX|2|NM|FVC^FVC^99ALS||{value}|L|||||{status}|||20260310094500")
    };
    let case =
        |path: &str| std::fs::read(format!("{}/../mappings/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let weight = r#"{"resourceType":"Observation","meta":{"lastUpdated":"2026-03-11T10:00:00Z"},"identifier":[{"system":"urn:x","value":"w1"}],"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"effectiveDateTime":"2026-03-10","subject":{"identifier":{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911120"}},"valueQuantity":{"value":70.0,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}"#;
    let later = weight.replace("11T10", "12T10").replace("70.0", "69.5");
    vec![
        (UMC, "application/hl7-v2", oru(1001, &[&snip("45", "F"), &fvc("2.1", "P")])),
        (UMC, "application/hl7-v2", oru(1002, &[&snip("54", "C")])),
        (UMC, "application/hl7-v2", oru(1003, &[&fvc("2.1", "F")])),
        (UMC, "application/hl7-v2", oru(1004, &[&fvc("2.1", "W")])),
        (UMC, "application/hl7-v2", case("umc-problems/cases/problem-with-goal-and-pathway/in.hl7")),
        (GESP, "text/csv", case("gesp-export/cases/visit/in.csv")),
        (GP, "application/fhir+json", weight.as_bytes().to_vec()),
        (GP, "application/fhir+json", later.into_bytes()),
    ]
}

/// What is stored, apart from the ids of Patients, who are made by whoever names them first: each resource by the identifier
/// its sender gave it and what it says; what waits; which statements count.
fn state(scene: &Scene) -> Vec<String> {
    let mut all = Vec::new();
    let anna = scene.patient(UMC, "999911120").unwrap();
    for ura in [UMC, GESP, GP] {
        let party = scene.permit(ura).filter().organisation;
        let shelf = |shelf| scene.read(ura, |reader| reader.shelf_list(shelf, Some(party), "", 10_000));
        all.extend(shelf(Shelf::Original).into_iter().map(|(_, key, _)| format!("{ura} original {key}")));
        let kept = scene.kept(ura).into_iter();
        all.extend(kept.map(|row| format!("{ura} waits {}/{}#{}", row.sha256, row.label, row.ordinal)));
        for (_, key, bytes) in shelf(Shelf::Statement) {
            let Some((kind, id)) = key.split_once('/').filter(|(kind, _)| *kind != "Patient") else {
                continue;
            };
            let statement: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let stored = scene.current(ura, kind, id).unwrap();
            let text = String::from_utf8(stored.body.to_vec()).unwrap();
            let text = text.replace(&format!("Patient/{anna}"), "Patient/anna");
            let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).unwrap();
            all.push(format!("{ura} {key} {} {}", statement["source_time"], content_hash(doc.root())));
        }
    }
    all.sort_unstable();
    all
}

/// Sends documents in this order; what is stored then.
fn after(order: &[usize]) -> Vec<String> {
    let (scene, documents) = (Scene::new(), documents());
    for at in order {
        let (ura, media, bytes) = &documents[*at];
        scene.ingest(ura, media, bytes);
    }
    state(&scene)
}

/// Three of each, shuffled.
fn any_order() -> impl Strategy<Value = Vec<usize>> {
    let count = documents().len();
    Just((0..count).chain(0..count).chain(0..count).collect::<Vec<_>>()).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 20, ..ProptestConfig::default() })]
    #[test]
    fn three_of_each_in_any_order_leave_the_same_store(order in any_order()) {
        thread_local!(static ONCE: Vec<String> = after(&(0..documents().len()).collect::<Vec<_>>()));
        ONCE.with(|once| {
            let now = after(&order);
            let differ: Vec<_> = now.iter().filter(|row| !once.contains(row)).chain(once.iter().filter(|row| !now.contains(row))).collect();
            assert!(differ.is_empty(), "after {order:?}: {differ:#?}");
        });
    }
}
