#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use crate::{
    finding::{Finding, Severity},
    output::{Subject, Unit},
};

const MANIFEST: &str = "id = \"a\"\nversion = \"1.0.0\"\ntitle = \"A\"\nformat = \"csv\"\n[match]\nsenders = [\"*\"]\n\
    [identity]\nnamespace = \"urn:oid:2.999.1\"\n";

fn folder(out: Option<&str>, findings: Option<&str>) -> Folder {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut file = |path: &str, text: &str| files.insert(path.to_owned(), text.as_bytes().to_vec());
    file("mapping.toml", MANIFEST);
    file("map.fml", "map");
    file("cases/one/in.csv", "1.10");
    out.and_then(|out| file("cases/one/out.json", out));
    findings.and_then(|findings| file("cases/one/findings.json", findings));
    Folder::load(&files).unwrap()
}

/// Puts the input where a value goes, as an engine would.
fn runner(_: &Folder, bytes: &[u8]) -> Output {
    let value = String::from_utf8_lossy(bytes);
    let unit = Unit {
        label: "row[1]".to_owned(),
        resource: Some(format!("{{\"resourceType\":\"Observation\",\"value\":{value},\"list\":[1,2]}}")),
        identity: Some(("urn:oid:2.999.1".to_owned(), "1-a".to_owned())),
        subject: Some(Subject { reference: Some("Patient/1".to_owned()), ..Subject::default() }),
        ..Unit::default()
    };
    let finding = Finding::new(Severity::Warning, "leaf-dropped", "Text.", "Remedy.");
    Output { units: vec![unit], findings: vec![finding], ..Output::default() }
}

fn run(out: Option<&str>, findings: Option<&str>) -> CaseResult {
    run_cases(&folder(out, findings), &runner).pop().unwrap()
}

#[test]
fn a_blessed_case_passes_whatever_the_order_of_members() {
    let first = run(None, None);
    assert_eq!(first.differences.len(), 2);
    assert!(run(Some(&first.out), Some(&first.findings)).passed());
    let reordered = first.out.replace("\"label\": \"row[1]\",", "").replacen(
        "\"state\": \"ready\"",
        "\"state\": \"ready\", \"label\": \"row[1]\"",
        1,
    );
    assert_ne!(reordered, first.out);
    assert!(run(Some(&reordered), Some(&first.findings)).passed());
}

#[test]
fn a_difference_names_its_element_and_both_sides() {
    let first = run(None, None);
    let found = |from: &str, to: &str| {
        assert!(first.out.contains(from), "{}", first.out);
        let result = run(Some(&first.out.replace(from, to)), Some(&first.findings));
        result.differences.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(found("1.10", "1.1"), ["out.json units[0].resource.value: expected 1.1, found 1.10"]);
    assert_eq!(
        found("\"value\": 1.10,", ""),
        ["out.json units[0].resource.value: expected nothing, found 1.10"]
    );
    assert_eq!(
        found("ready", "quarantined"),
        ["out.json units[0].state: expected \"quarantined\", found \"ready\""]
    );
    assert_eq!(found("2\n", "2, 3\n"), ["out.json units[0].resource.list[2]: expected 3, found nothing"]);
    assert_eq!(compare("out.json", "[1,2]", "[2,1]").len(), 2);
}

#[test]
fn a_finding_nobody_expected_fails_the_case() {
    let first = run(None, None);
    let result = run(Some(&first.out), None);
    assert!(!result.passed());
    assert_eq!(result.differences[0].file, "findings.json");
}

#[test]
fn an_expectation_that_is_no_json_is_a_difference() {
    assert!(!run(Some("{"), Some("[]")).passed());
}
