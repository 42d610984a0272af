//! HL7/fhir-cross-version: the maps from STU3 to R4, and the official STU3 examples through them.
//!
//! Definitions and examples are those of the package hl7.fhir.r3.core, where it lies beside the suites.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate;
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

pub(crate) fn checks(root: &Path) -> Vec<Check> {
    let folder = root.join("fhir-cross-version/input/R3toR4");
    let package = root.join("hl7.fhir.r3.core");
    let maps: Vec<(String, String)> =
        files(&folder, &["fml"]).iter().map(|path| (name(&folder, path), text(path))).collect();
    let given: Vec<(&str, &str)> = maps.iter().map(|(name, text)| (&**name, &**text)).collect();
    let tables = tables(&root.join("fhir-cross-version/input"));
    let options = Options {
        models: stu3(&package),
        profile: Profile::Open,
        tables: tables.keys().cloned().collect(),
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
fn tables(input: &Path) -> CodeTables {
    let mut tables = CodeTables::new();
    let mut add = |url: &str, path: &Path, text: &str| {
        let table = CodeTable::from_concept_map(url, &name(input, path), text.as_bytes(), &[]);
        tables.insert(url.to_owned(), table.unwrap_or_else(|errors| panic!("{errors:#?}")));
    };
    let types = input.join("resources/ConceptMap-resources-3to4.json");
    add("http://hl7.org/fhir/uv/xver/ConceptMap/resources-3to4", &types, &text(&types));
    for path in files(&input.join("codes"), &["json"]) {
        let file = name(&input.join("codes"), &path);
        if !file.starts_with("ConceptMap-R3-") || !file.contains("-R4-") {
            continue;
        }
        let text = text(&path);
        let known_as = text.split('"').filter(|part| part.starts_with("http") && part.ends_with("3to4"));
        let known_as: BTreeSet<&str> = known_as.collect();
        known_as.into_iter().for_each(|url| add(url, &path, &text));
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
        let type_name = type_name.to_owned();
        let outcome = match entries.contains(&*type_name) {
            true => valid(plan, &type_name, &tree, tables),
            false => Err(Failure::new("no map for this type", type_name.as_str())),
        };
        if entries.contains(&*type_name) {
            checks.extend(mutated(&file, &text(&path), plan, &type_name, tables));
        }
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

/// Ways an example is spoilt, each by another seed.
const SPOILT: u64 = 3;

/// What no rule foresaw: an example with elements gone, doubled or of another type. Whatever becomes of it, what is ready is valid R4.
fn mutated(file: &str, text: &str, plan: &Plan, type_name: &str, tables: &CodeTables) -> Vec<Check> {
    let seeds = (0..SPOILT).map(|seed| seed * 7919 + text.len() as u64);
    let spoilt = seeds.filter_map(|seed| {
        let mut document: Value = serde_json::from_str(text).ok()?;
        spoil(&mut document, &mut Dice(seed));
        document.as_object_mut()?.insert("resourceType".to_owned(), type_name.into());
        Some((seed, document.to_string()))
    });
    spoilt
        .map(|(seed, document)| {
            let output = plan.run_group(type_name, &tree(document.as_bytes()), tables, Limits::default());
            let units = output.into_iter().flat_map(|output| output.units);
            let issues = units.filter(|unit| unit.state == UnitState::Ready).flat_map(|unit| {
                let text = unit.resource.unwrap_or_default();
                let doc = Doc::parse(text.clone().into_bytes(), JsonLimits::default()).unwrap();
                let issues = validate::validate(definitions::r4(), doc.root());
                let errors = issues.into_iter().filter(|issue| issue.severity == validate::Severity::Error);
                errors
                    .map(|issue| format!("{}: {} in {text}", issue.expression, issue.text))
                    .collect::<Vec<_>>()
            });
            let outcome =
                issues.into_iter().next().map_or(Ok(()), |issue| Err(Failure::new("not valid R4", issue)));
            Check { stage: "spoilt", name: format!("{file} {seed}"), outcome }
        })
        .collect()
}

/// The same numbers for the same seed (a linear congruential generator: Knuth, The Art of Computer Programming 2, 3.3.4).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn spoil(value: &mut Value, dice: &mut Dice) {
    match value {
        Value::Object(members) => {
            let names: Vec<String> = members.keys().cloned().collect();
            for name in names {
                match dice.throw(24) {
                    0 => drop(members.remove(&name)),
                    1 => drop(members.insert(name, odd(dice))),
                    _ => members.get_mut(&name).into_iter().for_each(|member| spoil(member, dice)),
                }
            }
        }
        Value::Array(items) => {
            if let (1, Some(first)) = (dice.throw(8), items.first().cloned()) {
                items.push(first);
            }
            items.iter_mut().for_each(|item| spoil(item, dice));
        }
        leaf => {
            if dice.throw(24) == 0 {
                *leaf = odd(dice);
            }
        }
    }
}

/// A value that is no good nearly everywhere.
fn odd(dice: &mut Dice) -> Value {
    let odd = [
        json!(""),
        json!("  "),
        json!("x y"),
        json!("2024-02-30"),
        json!(-1),
        json!(1.50),
        json!(true),
        json!({}),
        json!([]),
        json!(null),
        json!({"value": "x"}),
        json!(["a", {"b": 1}, null]),
        json!("urn:oid:x"),
        json!(99_999_999_999_u64),
    ];
    odd.get(dice.throw(odd.len() as u64) as usize).cloned().unwrap_or_default()
}
