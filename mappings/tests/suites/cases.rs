//! Maps with a source and the result it must give.

use std::path::Path;

use sluis_mappings::codes::CodeTables;
use sluis_mappings::model::Models;
use sluis_mappings::plan::{Limits, Plan};

use super::compare::{made, same, same_xml, tree};
use super::{Check, Failure, files, loaded, models, name, text};

/// FHIR/fhir-test-cases: every map, and the cases its manifests list.
pub(crate) fn test_cases(folder: &Path) -> Vec<Check> {
    let models = models(&files(&folder.join("validator/cda"), &["xml"]));
    let mut checks = Vec::new();
    for version in ["r4b", "r5"] {
        let folder = folder.join(version).join("structure-mapping");
        checks.extend(files(&folder, &["map"]).iter().map(|path| loaded(&folder, path, &models).0));
        for (source, map, output) in manifest(&text(&folder.join("manifest.xml"))) {
            let name = format!("{version}/{map} on {source}");
            let outcome = match loaded(&folder, &folder.join(&map), &models) {
                (check, None) => check.outcome.and(Err(Failure::new("refused", ""))),
                (_, Some(plan)) => run(&plan, &folder.join(source), &folder.join(output)),
            };
            checks.push(Check { stage: "run", name, outcome });
        }
    }
    checks
}

/// ahdis/matchbox: every map with the models beside it, and the tutorial's sources and results.
pub(crate) fn matchbox(folder: &Path) -> Vec<Check> {
    let mut checks = Vec::new();
    for path in files(folder, &["map"]) {
        let step = path.parent().and_then(Path::parent).unwrap().to_owned();
        let models = match files(&step.join("logical"), &["json"]).as_slice() {
            [] => Models::default(),
            found => models(found),
        };
        let (check, plan) = loaded(folder, &path, &models);
        checks.push(check);
        let map = path.file_stem().unwrap().to_string_lossy().into_owned();
        for source in files(&step.join("source"), &["json", "xml"]) {
            let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
            let expected = step.join("result").join(format!("{map}.{stem}.json"));
            if !expected.exists() {
                continue;
            }
            let outcome = match &plan {
                Some(plan) => run(plan, &source, &expected),
                None => Err(Failure::new("refused", "")),
            };
            checks.push(Check { stage: "run", name: format!("{map} on {}", name(&step, &source)), outcome });
        }
    }
    checks
}

fn run(plan: &Plan, source: &Path, expected: &Path) -> Result<(), Failure> {
    let tree = tree(&std::fs::read(source).unwrap());
    let output = plan.run(&tree, &CodeTables::new(), Limits::default());
    let expected = text(expected);
    // A result that is no resource says that the reference engine refused the source: so must this one.
    if expected.contains("\"OperationOutcome\"") || expected.trim().is_empty() {
        return match made(&output) {
            Err(_) => Ok(()),
            Ok(made) => Err(Failure::new("not refused", made.to_string())),
        };
    }
    if expected.trim_start().starts_with('<') {
        same_xml(&output, &expected)
    } else {
        same(&output, &expected)
    }
}

/// `source`, `map`, `output` of each test of a manifest.
fn manifest(text: &str) -> Vec<(String, String, String)> {
    let attribute = |test: &str, name: &str| {
        let after = test.split(&format!(" {name}=\"")).nth(1).unwrap();
        after.split('"').next().unwrap().to_owned()
    };
    let tests = text.split("<test ").skip(1);
    tests.map(|test| (attribute(test, "source"), attribute(test, "map"), attribute(test, "output"))).collect()
}
