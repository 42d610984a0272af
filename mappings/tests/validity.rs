//! Nothing invalid leaves: whatever is sent to a shipped folder, a unit that is ready is valid R4, and one that is not says why and
//! where. Inputs are the folders' own cases, damaged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::sync::LazyLock;

use proptest::prelude::*;
use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate::{Severity as Judgement, validate};
use sluis_mappings::finding::Severity;
use sluis_mappings::output::UnitState;
use sluis_mappings::run::CompiledFolder;

mod common;
use common::folder;

const FOLDERS: [&str; 6] = ["umc-lab", "umc-problems", "regio-lab", "gesp-export", "gp-stu3", "als-visit"];

/// Each folder compiled, with the documents of its cases.
static FEEDS: LazyLock<Vec<(CompiledFolder, Vec<Vec<u8>>)>> = LazyLock::new(|| {
    let feed = |name: &&str| {
        let folder = folder(name);
        let inputs = folder.cases.iter().map(|case| case.input.clone()).collect();
        (CompiledFolder::new(folder).unwrap(), inputs)
    };
    FOLDERS.iter().map(feed).collect()
});

/// What happens to a document on its way.
#[derive(Debug, Clone)]
enum Damage {
    Replace(usize, u8),
    Remove(usize, usize),
    Repeat(usize, usize),
    Swap(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = 0_usize..8192;
    // Bytes that mean something in one of the notations, and any.
    let byte = prop_oneof![proptest::sample::select(b"|^~&\\\r\n\";,.:{}[]-0129AZ<> ".to_vec()), any::<u8>()];
    prop_oneof![
        (at.clone(), byte).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (at.clone(), 1_usize..40).prop_map(|(at, length)| Damage::Remove(at, length)),
        (at.clone(), 1_usize..200).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (at.clone(), at).prop_map(|(a, b)| Damage::Swap(a, b)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len().max(1);
        match *damage {
            Damage::Replace(at, byte) => {
                if let Some(there) = bytes.get_mut(at % length) {
                    *there = byte;
                }
            }
            Damage::Remove(at, count) => {
                let at = at % length;
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Damage::Repeat(at, count) => {
                let at = (at % length).min(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Damage::Swap(a, b) => {
                if !bytes.is_empty() {
                    bytes.swap(a % length, b % length);
                }
            }
        }
    }
    bytes
}

/// What must hold of the output for any bytes.
fn check(folder: &CompiledFolder, bytes: &[u8]) {
    let output = folder.run(bytes);
    for unit in &output.units {
        let errors: Vec<_> =
            unit.findings.iter().filter(|finding| finding.severity >= Severity::Error).collect();
        match unit.state {
            UnitState::Ready => {
                let resource = unit.resource.as_deref().expect("a unit that is ready has its resource");
                let doc = Doc::parse(resource.as_bytes().to_vec(), JsonLimits::default()).unwrap();
                let wrong = validate(definitions::r4(), doc.root());
                let wrong: Vec<_> = wrong.iter().filter(|issue| issue.severity == Judgement::Error).collect();
                assert!(wrong.is_empty() && errors.is_empty(), "{resource}\n{wrong:#?}\n{errors:#?}");
                assert!(unit.identity.is_some(), "{resource}");
            }
            _ => assert!(!errors.is_empty(), "kept without a reason: {unit:?}"),
        }
    }
    let fatal = output.findings.iter().any(|finding| finding.severity == Severity::Fatal);
    assert!(!fatal || output.units.is_empty());
    for finding in output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings)) {
        if finding.severity >= Severity::Error {
            assert!(!finding.text.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
            assert!(finding.line > 0 || bytes.is_empty(), "no place: {finding:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn what_is_ready_is_valid_and_what_is_not_says_why(
        feed in 0..FOLDERS.len(),
        case in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let (folder, inputs) = &FEEDS[feed];
        check(folder, &damaged(case.get(inputs).clone(), &damages));
    }
}

#[test]
fn undamaged_cases_hold_too() {
    for (folder, inputs) in FEEDS.iter() {
        inputs.iter().for_each(|input| check(folder, input));
    }
}
