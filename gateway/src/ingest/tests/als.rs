//! ALS content of three senders, from their documents to the store: the worked folders `als-visit`, `als-plan` and `ctb-settings`.

use std::path::Path;

use super::scene::{CTB, GESP_NOORD, Scene};
use crate::decision::policy::Policy;

/// The document of a case of a shipped folder.
fn document(folder: &str, case: &str, file: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings");
    std::fs::read(root.join(folder).join("cases").join(case).join(file)).unwrap()
}

fn categories(mask: u64) -> Vec<String> {
    Policy::included().unwrap().category_codes(mask).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_visit_is_stored_measure_by_measure_and_each_in_its_category() {
    let scene = Scene::new();
    let answer = scene.ingest(GESP_NOORD, "text/csv", &document("als-visit", "visit", "in.csv"));
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    let [created, updated, unchanged, stale, kept] = answer.facts.counts;
    assert_eq!((created, updated, unchanged, stale, kept), (37, 0, 0, 0, 0), "{}", answer.body);
    assert_eq!(categories(answer.facts.categories), ["resp", "alsfrs", "nutrition"]);
    // The result corrected the next day is the same one, in a second version; the other is taken back.
    let answer = scene.ingest(GESP_NOORD, "text/csv", &document("als-visit", "correction", "in.csv"));
    assert_eq!(answer.facts.counts, [0, 2, 0, 0, 0], "{}", answer.body);
    assert!(answer.facts.resources.iter().any(|r| r.ends_with("/_history/2")));
}

#[test]
fn a_plan_is_stored_with_its_team_its_tasks_and_what_was_agreed() {
    let scene = Scene::new();
    let bytes = document("als-plan", "plan", "in.json");
    let answer = scene.ingest(GESP_NOORD, "application/json", &bytes);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert_eq!(answer.facts.counts, [9, 0, 0, 0, 0], "{}", answer.body);
    let count = |kind: &str| answer.facts.resources.iter().filter(|r| r.starts_with(kind)).count();
    let found = ["EpisodeOfCare/", "CareTeam/", "CarePlan/", "Procedure/", "Consent/"].map(count);
    assert_eq!(found, [2, 1, 1, 1, 4]);
    let held = categories(answer.facts.categories);
    assert_eq!(held, ["core", "careteam", "careplan", "directive"]);
    // Of the directives nobody could be sure of, none is in the store.
    let answer = scene.ingest(GESP_NOORD, "application/json", &document("als-plan", "directives", "in.json"));
    assert_eq!(answer.facts.counts, [0, 0, 0, 0, 10], "{}", answer.body);
}

#[test]
fn settings_and_blood_gases_of_a_ventilation_centre_are_about_breathing() {
    let scene = Scene::new();
    let answer = scene.ingest(CTB, "application/json", &document("ctb-settings", "settings", "in.json"));
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert_eq!(answer.facts.counts, [7, 0, 0, 0, 0], "{}", answer.body);
    assert_eq!(categories(answer.facts.categories), ["resp"]);
}
