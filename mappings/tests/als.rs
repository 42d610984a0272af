//! ALS content: every code of our own that a map can write is published, and no code is written that nobody verified.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::{definitions, validate};
use sluis_mappings::output::UnitState;
use sluis_mappings::run::{CompiledFolder, LIBRARY};

mod common;
use common::folder;

const OWN: &str = "https://sluis.care/fhir/CodeSystem/";
/// Folders that write codes of our own.
const FOLDERS: [&str; 5] = ["als-visit", "als-plan", "ctb-settings", "gesp-export", "umc-lab"];
/// LOINC codes whose meaning was read at a source that publishes it (spirometry: core data set of the Medizininformatik-Initiative; weight: nl-core;
/// arterial pCO2: several public code lists that agree). Another code in a map is a code somebody guessed.
const LOINC: [&str; 8] =
    ["19868-9", "19869-7", "19872-1", "19866-3", "19865-5", "98088-8", "29463-7", "2019-8"];

fn code_systems() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance/codesystems");
    let mut systems = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let doc = Doc::parse(bytes.clone(), JsonLimits::default()).unwrap();
        let issues = validate::validate(definitions::r4(), doc.root());
        assert!(issues.is_empty(), "{issues:?}");
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let codes: Vec<String> = json["concept"]
            .as_array()
            .unwrap()
            .iter()
            .map(|concept| concept["code"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(json["count"].as_u64(), Some(codes.len() as u64), "{}", json["url"]);
        let set: BTreeSet<String> = codes.iter().cloned().collect();
        assert_eq!(set.len(), codes.len(), "a code twice in {}", json["url"]);
        systems.insert(json["url"].as_str().unwrap().to_owned(), set);
    }
    systems
}

/// Every coding in a resource, with its display.
fn codings(value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            if let (Some(Value::String(system)), Some(Value::String(code))) =
                (members.get("system"), members.get("code"))
            {
                into.push((system.clone(), code.clone()));
            }
            members.values().for_each(|value| codings(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| codings(value, into)),
        _ => {}
    }
}

#[test]
fn every_own_code_that_is_written_is_published_and_no_loinc_code_is_guessed() {
    let systems = code_systems();
    let mut seen = BTreeSet::new();
    for name in FOLDERS {
        let folder = CompiledFolder::new(folder(name)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        for case in &folder.folder().cases {
            let output = folder.run(&case.input);
            for unit in output.units.iter().filter(|unit| unit.state == UnitState::Ready) {
                let json: Value = serde_json::from_str(unit.resource.as_ref().unwrap()).unwrap();
                let mut found = Vec::new();
                codings(&json, &mut found);
                for (system, code) in found {
                    if let Some(codes) = systems.get(&system) {
                        assert!(codes.contains(&code), "{name}/{}: {system}|{code}", case.name);
                    } else {
                        assert!(!system.starts_with(OWN), "{name}/{}: {system} is not published", case.name);
                    }
                    assert!(
                        system != "http://loinc.org" || LOINC.contains(&code.as_str()),
                        "{name}/{}: LOINC {code}",
                        case.name
                    );
                    seen.insert((system, code));
                }
            }
        }
    }
    // The cases of the folders write most of what is published, so that this test looks at it.
    let own = seen.iter().filter(|(system, _)| system.starts_with(OWN)).count();
    assert!(own > 45, "{own}");
}

#[test]
fn codes_written_into_the_library_and_the_tables_are_known() {
    let systems = code_systems();
    let mut named = 0;
    let mut check = |place: &str, system: &str, code: &str| {
        named += 1;
        match systems.get(system) {
            Some(codes) => assert!(codes.contains(code), "{place}: {system}|{code}"),
            None => assert!(!system.starts_with(OWN), "{place}: {system} is not published"),
        }
        assert!(system != "http://loinc.org" || LOINC.contains(&code), "{place}: LOINC {code}");
    };
    for (file, text) in LIBRARY.iter().filter(|(file, _)| file.starts_with("lib/als/")) {
        for literal in text.split("c('").skip(1) {
            let mut parts = literal.split('\'');
            let (system, between, code) = (parts.next(), parts.next(), parts.next());
            if let (Some(system), Some(", "), Some(code)) = (system, between, code) {
                check(file, system, code);
            }
        }
    }
    for name in FOLDERS {
        for table in folder(name).codes.values() {
            for row in table.rows().iter().filter(|row| row.target_system.starts_with(OWN)) {
                check(name, &row.target_system, &row.target_code);
            }
        }
    }
    assert!(named > 60, "{named}");
}
