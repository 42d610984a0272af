//! HL7/fhir-cross-version: the maps from STU3 to R4, and the official STU3 examples through them.
//!
//! Definitions and examples are those of the package hl7.fhir.r3.core, where it lies beside the suites.

use std::collections::BTreeSet;
use std::path::Path;

use sluis_mappings::codes::{CodeTable, CodeTables};
use sluis_mappings::finding::Severity;
use sluis_mappings::fml::Profile;
use sluis_mappings::model::Models;
use sluis_mappings::output::UnitState;
use sluis_mappings::plan::{Limits, Options, Plan};

use super::compare::tree;
use super::{Check, Failure, files, models, name, refused, text};

/// Definitions rather than examples, thousands of each.
const LEFT_OUT: [&str; 5] =
    ["DataElement", "SearchParameter", "ValueSet", "CodeSystem", "StructureDefinition"];

/// A table the suite refers to and does not hold.
const MISSING: &str = "http://hl7.org/fhir/uv/xver/ConceptMap/resources-3to4";

pub(crate) fn checks(root: &Path) -> Vec<Check> {
    let folder = root.join("fhir-cross-version/input/R3toR4");
    let package = root.join("hl7.fhir.r3.core");
    let maps: Vec<(String, String)> =
        files(&folder, &["fml"]).iter().map(|path| (name(&folder, path), text(path))).collect();
    let given: Vec<(&str, &str)> = maps.iter().map(|(name, text)| (&**name, &**text)).collect();
    let tables = tables(&root.join("fhir-cross-version/input/codes"));
    let options = Options {
        models: stu3(&package),
        profile: Profile::Open,
        // `resources-3to4` the suite refers to and does not hold: what it would translate is reported as unmapped.
        tables: tables.keys().cloned().chain([MISSING.to_owned()]).collect(),
        ..Options::default()
    };
    let loaded = Plan::library(&given, &options);
    let errors = loaded.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let check = |(name, _): &(String, String)| {
        let own: Vec<_> = errors.iter().filter(|error| error.file == *name).cloned().collect();
        let outcome = if own.is_empty() { Ok(()) } else { Err(refused(&own)) };
        Check { stage: "load", name: name.clone(), outcome }
    };
    let mut checks: Vec<Check> = maps.iter().map(check).collect();
    // Examples go through the maps that load.
    let refused = |name: &str| errors.iter().any(|error| error.file == name);
    let good: Vec<(&str, &str)> = given.iter().copied().filter(|(name, _)| !refused(name)).collect();
    match Plan::library(&good, &options) {
        Ok(plan) => checks.extend(examples(&package, &plan, &tables)),
        Err(errors) => {
            let outcome = Err(super::refused(&errors));
            checks.push(Check { stage: "convert", name: "the maps that load".to_owned(), outcome });
        }
    }
    checks
}

fn stu3(package: &Path) -> Models {
    let mut definitions = files(package, &["json"]);
    definitions.retain(|path| {
        let is_definition =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("StructureDefinition-"));
        is_definition && !text(path).contains("\"derivation\":\"constraint\"")
    });
    models(&definitions)
}

/// The ConceptMaps from STU3 to R4, under the addresses the maps know them by.
fn tables(folder: &Path) -> CodeTables {
    let mut tables = CodeTables::new();
    for path in files(folder, &["json"]) {
        let file = name(folder, &path);
        if !file.starts_with("ConceptMap-R3-") || !file.contains("-R4-") {
            continue;
        }
        let text = text(&path);
        let known_as = text.split('"').filter(|part| part.starts_with("http") && part.ends_with("3to4"));
        let known_as: BTreeSet<&str> = known_as.collect();
        for url in known_as {
            let table = CodeTable::from_concept_map(url, &file, text.as_bytes(), &[]);
            tables.insert(url.to_owned(), table.unwrap_or_else(|errors| panic!("{errors:#?}")));
        }
    }
    tables
}

fn examples(package: &Path, plan: &Plan, tables: &CodeTables) -> Vec<Check> {
    let entries: BTreeSet<&str> = plan.entries().collect();
    let mut checks = Vec::new();
    for path in files(package, &["json"]) {
        let file = name(package, &path);
        if LEFT_OUT.iter().any(|kind| file.starts_with(&format!("{kind}-"))) {
            continue;
        }
        let tree = tree(text(&path).as_bytes());
        let type_name = tree.named(tree.root(), "resourceType").next().and_then(|node| tree.text(node));
        let Some(type_name) = type_name.filter(|name| !LEFT_OUT.contains(name)) else { continue };
        let outcome = match entries.contains(type_name) {
            true => valid(plan, type_name, &tree, tables),
            false => Err(Failure::new("no map for this type", type_name)),
        };
        checks.push(Check { stage: "convert", name: file, outcome });
    }
    checks
}

fn valid(
    plan: &Plan,
    type_name: &str,
    tree: &sluis_mappings::source::Tree,
    tables: &CodeTables,
) -> Result<(), Failure> {
    let output = plan.run_group(type_name, tree, tables, Limits::default()).unwrap();
    let findings = output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings));
    if let Some(finding) = findings.into_iter().find(|finding| finding.severity >= Severity::Error) {
        let cause = finding.cause.clone().unwrap_or_default();
        let detail =
            format!("{} at {} ({})", finding.text, finding.path, finding.rule.as_deref().unwrap_or("-"));
        return Err(Failure::new(&format!("{} {cause}", finding.code), detail));
    }
    match output.units.as_slice() {
        [unit] if unit.state == UnitState::Ready => Ok(()),
        _ => Err(Failure::new("units", "")),
    }
}
