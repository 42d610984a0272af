//! The official and Dutch example resources: valid but for a named few, and every one gives something to index.
//!
//! They are found at `SLUIS_SHARED` or `../shared/data` beside the workspace; without them the tests say so and end.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::path::extract;
use sluis_conformance::validate::validate;

/// Examples that break R4 themselves: the file, and every fault as expression, or its beginning.
const FAULTY: &[(&str, &[&str])] = &[
    ("DeviceMetric-example", &["DeviceMetric.parent.reference [value] a DeviceDefinition"]),
    ("Observation-clinical-gender", &["Observation.performer[0].reference [value] a Encounter"]),
    ("Questionnaire-qs1", &["Questionnaire.item[0].item["]),
    // Numbers in quotes.
    ("nl-core-BodyHeight-01", &["Observation.valueQuantity.value [structure] not a JSON number"]),
    ("nl-core-BodyWeight-01", &["Observation.valueQuantity.value [structure] not a JSON number"]),
    ("nl-core-O2Saturation-01", &["Observation.valueQuantity.value [structure] not a JSON number"]),
    ("nl-core-LaboratoryTestResult-02", LABORATORY),
    ("nl-core-LaboratoryTestResult-LaboratoryTest-05", LABORATORY),
    ("nl-core-LaboratoryTestResult-LaboratoryTest-06", LABORATORY),
    // `"_status": {}` and the like.
    ("nl-core-Encounter-01", &["Encounter.status [structure] an empty object"]),
    ("nl-core-NameInformation-firstNames", &["Patient.id [structure]", "Patient.name[0].text [structure]"]),
    ("nl-core-NameInformation-firstNamesAndInitials", &["Patient.id [structure] an empty object"]),
    ("nl-core-NameInformation-initials", &["Patient.id [structure]", "Patient.name[0].text [structure]"]),
];

const LABORATORY: &[&str] = &[
    "Observation.valueQuantity.value [structure] not a JSON number",
    "Observation.referenceRange[0].low.value [structure] not a JSON number",
    "Observation.referenceRange[0].high.value [structure] not a JSON number",
];

fn shared(folder: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("SLUIS_SHARED").map_or(beside, PathBuf::from);
    let folder = root.join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no example resources at SLUIS_SHARED or ../shared/data");
    None
}

fn documents(folder: &Path) -> BTreeMap<String, Doc> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let json = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    json.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let doc = Doc::parse(std::fs::read(&path).unwrap(), JsonLimits::default());
        (name.clone(), doc.map_err(|error| format!("{name}: {error}")).unwrap())
    })
    .collect()
}

fn faults(doc: &Doc) -> Vec<String> {
    let issues = validate(r4(), doc.root());
    let errors = issues.into_iter().filter(|issue| issue.is_error());
    errors.map(|issue| format!("{} [{}] {}", issue.expression, issue.code, issue.text)).collect()
}

/// Documents whose errors are other than `FAULTY` says: one that should be valid, or a fault that was not found.
fn unexpected(folder: &Path) -> String {
    let mut wrong = String::new();
    for (name, doc) in &documents(folder) {
        let faults = faults(doc);
        let known = FAULTY.iter().find(|(faulty, _)| faulty == name).map_or(&[][..], |(_, known)| known);
        let all_known = faults.iter().all(|fault| known.iter().any(|known| fault.starts_with(known)));
        let all_found = known.iter().all(|known| faults.iter().any(|fault| fault.starts_with(known)));
        if !all_known || !all_found {
            wrong.push_str(&format!("{name}:\n  {}\n", faults.join("\n  ")));
        }
    }
    wrong
}

#[test]
fn official_and_dutch_examples_are_valid_but_for_the_named() {
    for (folder, at_least) in [("r4-examples", 300), ("dutch/nl-core/examples", 100)] {
        let Some(folder) = shared(folder) else { return };
        assert!(documents(&folder).len() >= at_least);
        let wrong = unexpected(&folder);
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn every_example_gives_something_to_index() {
    for folder in ["r4-examples", "dutch/nl-core/examples"] {
        let Some(folder) = shared(folder) else { return };
        for (name, doc) in documents(&folder) {
            let type_ = doc.root().get("resourceType").unwrap().as_str().unwrap();
            let type_ = r4().resource_type(&type_).unwrap();
            let entries = extract(r4(), type_, doc.root());
            assert!(!entries.is_empty(), "{name}");
            let has_id = doc.root().get("id").is_some();
            let id = r4().search_parameter(type_, "_id").unwrap().id;
            assert_eq!(entries.iter().any(|entry| entry.parameter == id), has_id, "{name}");
        }
    }
}
