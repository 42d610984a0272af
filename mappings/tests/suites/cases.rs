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
        for resource in [path.with_extension("json"), path.with_extension("xml")] {
            if resource.exists() {
                checks.push(Check { stage: "resource", ..loaded(folder, &resource, &models).0 });
            }
        }
        let map = path.file_stem().unwrap().to_string_lossy().into_owned();
        for source in files(&step.join("source"), &["json", "xml"]) {
            let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
            let expected = step.join("result").join(format!("{map}.{stem}.json"));
            if !expected.exists() {
                continue;
            }
            // What a map that is refused would make is no question.
            let Some(plan) = &plan else { continue };
            let name = format!("{map} on {}", name(&step, &source));
            let outcome = run(plan, &source, &expected);
            let outcome = match DIFFERENT.iter().find(|(case, _)| name.starts_with(case)) {
                None => outcome,
                Some((_, code)) if outcome.as_ref().is_err_and(|failure| failure.reason == *code) => Ok(()),
                Some((_, code)) => Err(Failure::new("not refused", format!("{code} was expected"))),
            };
            checks.push(Check { stage: "run", name, outcome });
        }
    }
    checks
}

/// Cases where the reference engine loses or lets through what the language does not allow, with our finding.
const DIFFERENT: [(&str, &str); 2] = [
    // Two values for an element that may be there once: the reference engine keeps the last and says nothing.
    ("step6a on source/source6b", "target-second"),
    // `only_one` of two values.
    ("step6b on source/source6b", "source-many"),
];

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
