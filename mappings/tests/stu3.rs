//! STU3 zib2017 treatment directives and problems: the six traps, and the vendors' real shapes where they are at hand.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_mappings::case::render_findings;
use sluis_mappings::directive;
use sluis_mappings::finding::Severity;
use sluis_mappings::output::{Output, UnitState};
use sluis_mappings::run::CompiledFolder;

mod common;
use common::folder;

fn compiled() -> CompiledFolder {
    CompiledFolder::new(folder("gp-stu3"))
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(|e| format!("{e}\n\n")).collect::<String>()))
}

#[test]
fn map_compiles() {
    compiled();
}

fn shared() -> Option<PathBuf> {
    let root = match std::env::var_os("SLUIS_SHARED") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    };
    let examples = root.join("dutch/zorgviewer/examples");
    if examples.is_dir() {
        return Some(examples);
    }
    eprintln!("SKIPPED: no shared data; set SLUIS_SHARED to try the Zorgviewer examples");
    None
}

/// What a directive says: permit, deny, the words of "anders", or nothing at all.
fn decision(output: &Output) -> Vec<String> {
    let of = |text: &String| -> String {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let other: Vec<&str> = json["modifierExtension"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|extension| extension["url"] == directive::SPECIFICATION_OTHER)
            .map(|extension| extension["valueString"].as_str().unwrap_or("?"))
            .collect();
        format!("{}{}", json["provision"]["type"].as_str().unwrap_or("-"), other.join("+"))
    };
    let ready = output.units.iter().filter(|unit| unit.state == UnitState::Ready);
    ready.filter_map(|unit| unit.resource.as_ref()).map(of).collect()
}

#[test]
fn vendors_directives_keep_their_decision() {
    let Some(examples) = shared() else { return };
    let map = compiled();
    for (vendor, expected) in
        [("CGM", "deny"), ("Chipsoft", "-Toelichting: Eerst overleg met echtgenote"), ("Topicus", "permit")]
    {
        let bytes = std::fs::read(examples.join(format!("TreatmentDirective-{vendor}.json"))).unwrap();
        let output = map.run(&bytes);
        assert_eq!(decision(&output), [expected], "{vendor}: {:#?}", output);
    }
}

#[test]
fn vendors_problems_come_through() {
    let Some(examples) = shared() else { return };
    let map = compiled();
    for vendor in ["CGM", "Chipsoft", "Epic"] {
        let output = map.run(&std::fs::read(examples.join(format!("Condition-{vendor}.json"))).unwrap());
        let states: Vec<UnitState> = output.units.iter().map(|unit| unit.state).collect();
        assert_eq!(states, [UnitState::Ready], "{vendor}: {:#?}", output);
    }
}

/// What no reading of a directive may do, it may do in no vendor's dialect: every trap of `gp-stu3` comes out as it does there.
#[test]
fn the_traps_of_a_directive_hold_in_every_dialect() {
    let plain = compiled();
    let traps: Vec<_> = plain.folder().cases.iter().filter(|case| case.name.starts_with("trap")).collect();
    assert!(traps.len() >= 11, "{}", traps.len());
    for vendor in ["cgm", "chipsoft", "epic", "nexus", "sanday", "nedap", "topicus"] {
        let map = CompiledFolder::new(folder(&format!("vendors/{vendor}-stu3"))).unwrap();
        for trap in &traps {
            let (expected, found) = (plain.run(&trap.input), map.run(&trap.input));
            assert_eq!(decision(&found), decision(&expected), "{vendor} {}: {found:#?}", trap.name);
            let states = |output: &Output| output.units.iter().map(|unit| unit.state).collect::<Vec<_>>();
            assert_eq!(states(&found), states(&expected), "{vendor} {}", trap.name);
        }
    }
}

/// Every clinical document of a vendor that is at hand comes through its dialect, or says why not; nothing of it is silent.
#[test]
fn vendors_documents_come_through_their_dialect_or_say_why_not() {
    let Some(examples) = shared() else { return };
    // What a document lacks that nobody may make up.
    let kept = [
        ("DocumentReference-Chipsoft.json", "source-cardinality"),
        ("Specimen-Nexus.json", "source-cardinality"),
    ];
    let mut seen = 0;
    for (vendor, ending) in [
        ("cgm", "CGM"),
        ("chipsoft", "Chipsoft"),
        ("epic", "Epic"),
        ("nexus", "Nexus"),
        ("sanday", "Sanday"),
        ("nedap", "Nedap"),
        ("topicus", "Topicus"),
    ] {
        let map = CompiledFolder::new(folder(&format!("vendors/{vendor}-stu3"))).unwrap();
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&examples).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if !name.ends_with(&format!("-{ending}.json")) {
                continue;
            }
            seen += 1;
            let output = map.run(&std::fs::read(&file).unwrap());
            let reason = kept.iter().find(|(kept, _)| *kept == name).map(|(_, code)| *code);
            let errors: Vec<&str> = output
                .units
                .iter()
                .flat_map(|unit| &unit.findings)
                .chain(&output.findings)
                .filter(|finding| finding.severity >= Severity::Error)
                .map(|finding| finding.code)
                .collect();
            assert_eq!(errors, reason.into_iter().collect::<Vec<_>>(), "{name}: {output:#?}");
            let dropped = output.units.iter().flat_map(|unit| &unit.findings).chain(&output.findings);
            let dropped: Vec<&str> =
                dropped.filter(|f| f.code == "leaf-dropped").map(|f| f.path.as_str()).collect();
            assert!(dropped.is_empty(), "{name}: {dropped:?}");
        }
    }
    assert!(seen > 45, "{seen}");
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    let map = compiled();
    for case in &map.folder().cases {
        let (first, second) = (map.run(&case.input), map.run(&case.input));
        let text = |output: &Output| {
            let units: Vec<_> = output.units.iter().map(|unit| unit.resource.clone()).collect();
            (units, render_findings(output))
        };
        assert_eq!(text(&first), text(&second), "{}", case.name);
    }
}

/// JSON with the names the map looks for, in every wrong shape.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let words = prop::sample::select(vec![
        "JA",
        "NEE",
        "JA_MAAR",
        "",
        "2026-03-02",
        "Consent",
        "Condition",
        "Bundle",
        "confirmed",
        "Patient/1",
        "http://nictiz.nl/fhir/StructureDefinition/zib-TreatmentDirective-TreatmentPermitted",
        "http://nictiz.nl/fhir/StructureDefinition/zib-TreatmentDirective-Treatment",
        "urn:oid:2.16.840.1.113883.2.4.3.11.60.40.4",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i32>().prop_map(Into::into),
        words.prop_map(Into::into),
    ];
    let names = prop::sample::select(vec![
        "resourceType",
        "extension",
        "modifierExtension",
        "url",
        "valueCodeableConcept",
        "coding",
        "system",
        "code",
        "text",
        "except",
        "type",
        "period",
        "start",
        "patient",
        "reference",
        "id",
        "identifier",
        "value",
        "status",
        "clinicalStatus",
        "_clinicalStatus",
        "entry",
        "resource",
        "meta",
        "other",
        "note",
        "onsetPeriod",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(
                |members| serde_json::Value::Object(
                    members.into_iter().map(|(n, v)| (n.into(), v)).collect()
                )
            ),
        ]
    })
}

#[test]
fn no_json_makes_the_map_panic_or_a_directive_up() {
    let map = compiled();
    let mut runner = proptest::test_runner::TestRunner::default();
    let result = runner.run(&json(), |value| {
        let output = map.run(value.to_string().as_bytes());
        // A Consent that is ready always carries a decision the document spelt out.
        for said in decision(&output) {
            prop_assert!(value.to_string().contains("TreatmentPermitted"), "{said}");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

fn pointers(value: &serde_json::Value, at: String, into: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            members.iter().for_each(|(name, member)| pointers(member, format!("{at}/{name}"), into));
        }
        serde_json::Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| pointers(item, format!("{at}/{i}"), into));
        }
        _ => {}
    }
    into.push(at);
}

proptest! {
    /// A true directive with one part replaced by anything: never a panic, never another decision.
    #[test]
    fn a_damaged_refusal_of_treatment_never_becomes_a_permit(at in any::<prop::sample::Index>(), other in json()) {
        let map = compiled();
        let case = map.folder().cases.iter().find(|case| case.name == "cgm-nee").unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&case.input).unwrap();
        let mut places = Vec::new();
        pointers(&value, String::new(), &mut places);
        *value.pointer_mut(&places[at.index(places.len())]).unwrap() = other;
        if !value.to_string().contains("\"JA\"") && !value.to_string().contains("JA_MAAR") {
            for said in decision(&map.run(value.to_string().as_bytes())) {
                prop_assert!(said == "deny" || said == "-", "{said} from {value}");
            }
        }
    }
}

/// Whatever the vendors send is applied, or refused with a place and a reason; no leaf goes by unnoticed, and nothing but a
/// treatment directive is ever read as a decision about treatment.
#[test]
fn every_vendor_document_is_applied_or_refused_with_its_place() {
    let Some(examples) = shared() else { return };
    let map = compiled();
    let (mut tried, mut applied, mut refused) = (0, 0, Vec::new());
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".json") {
            continue;
        }
        tried += 1;
        let bytes = std::fs::read(&path).unwrap();
        let parsed = map.parse(&bytes);
        let (output, ..) = map.run_recorded(&bytes, &parsed);
        let findings: Vec<_> =
            output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings)).collect();
        // Each leaf: read, ignored by name, or in a finding.
        let ignore = &map.folder().manifest.ignore;
        for leaf in sluis_mappings::case::account(&parsed.tree, &output.coverage, ignore).dropped {
            let place = parsed.tree.path(leaf);
            assert!(
                findings.iter().any(|finding| finding.path == place),
                "{name}: {place} is dropped in silence"
            );
        }
        if !name.starts_with("TreatmentDirective") {
            assert!(decision(&output).iter().all(|said| said == "-"), "{name}: {output:#?}");
        }
        let held = output.units.iter().filter(|unit| unit.state == UnitState::Quarantined);
        for unit in held {
            let why = unit.findings.iter().find(|finding| finding.severity >= Severity::Error).unwrap();
            assert!(!why.remedy.is_empty() && (why.line > 0 || !why.path.is_empty()), "{name}: {why:?}");
            refused.push(format!("{name}: {} {}: {}", why.path, why.code, why.text));
        }
        applied += output.units.iter().filter(|unit| unit.state == UnitState::Ready).count();
    }
    eprintln!(
        "{tried} documents, {applied} resources applied, {} refused:\n  {}",
        refused.len(),
        refused.join("\n  ")
    );
    assert!(tried > 40 && applied > 40, "{tried} documents, {applied} applied");
}

/// The official R4 examples, one of them ended and one "anders", are clear; the trap of both at once is not.
#[test]
fn official_r4_directives_pass_the_check_and_a_contradiction_does_not() {
    let Some(examples) = shared() else { return };
    let examples = examples.join("../../nl-core/examples");
    for number in ["01", "02"] {
        let bytes =
            std::fs::read(examples.join(format!("nl-core-TreatmentDirective2-{number}.json"))).unwrap();
        let doc = Doc::parse(bytes.clone(), JsonLimits::default()).unwrap();
        assert!(directive::is_directive(doc.root()));
        assert!(directive::check(doc.root()).is_empty(), "{number}");
        let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        value["provision"]["type"] = "permit".into();
        value["modifierExtension"] =
            serde_json::json!([{ "url": directive::SPECIFICATION_OTHER, "valueString": "eerst overleg" }]);
        let doc = Doc::parse(value.to_string().into_bytes(), JsonLimits::default()).unwrap();
        let codes: Vec<&str> = directive::check(doc.root()).into_iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["directive-contradiction"], "{number}");
    }
}
