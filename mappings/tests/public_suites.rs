//! The public suites of the mapping language, where they are at hand: every map is loaded, every case run, and a table says how
//! many pass and why the others do not. None of their files is part of the project.
//!
//! `SLUIS_SUITES` names a folder that holds `fhir-test-cases` (FHIR/fhir-test-cases), `mapping-language-ig`
//! (HL7/mapping-language-ig), `matchbox` (ahdis/matchbox) and `fhir-cross-version` (HL7/fhir-cross-version). What passed once
//! never fails again unnoticed: `public_suites.floor.toml` holds the numbers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod suites;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use suites::{Check, Suite};

/// Numbers that may only rise, by suite and stage.
const FLOOR: &str = include_str!("public_suites.floor.toml");

#[test]
fn public_suites_pass_at_least_as_often_as_before() {
    let Some(root) = std::env::var_os("SLUIS_SUITES").map(PathBuf::from).filter(|root| root.is_dir()) else {
        // Past the harness, which swallows the output of tests that pass.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: SLUIS_SUITES names no folder of public suites\n");
        return;
    };
    let floor: BTreeMap<String, usize> = toml::from_str(FLOOR).unwrap();
    let mut said = String::new();
    let mut fallen = Vec::new();
    for suite in Suite::ALL {
        let checks = suite.checks(&root);
        assert!(!checks.is_empty(), "{}: no files under {}", suite.name(), root.display());
        said += &table(suite, &checks);
        for (stage, passed) in passed(&checks) {
            let key = format!("{}-{stage}", suite.name());
            let least = floor.get(&key).copied().unwrap_or_else(|| panic!("no floor for {key}"));
            if passed < least {
                fallen.push(format!("{key}: {passed}, was {least}"));
            } else if passed > least {
                said += &format!("  raise the floor: {key} = {passed}\n");
            }
        }
    }
    let _ = writeln!(std::io::stderr(), "\n{said}");
    assert!(fallen.is_empty(), "fewer pass than before: {fallen:#?}");
}

/// How many checks of each stage pass.
fn passed(checks: &[Check]) -> BTreeMap<&'static str, usize> {
    let mut passed = BTreeMap::new();
    for check in checks {
        *passed.entry(check.stage).or_default() += usize::from(check.outcome.is_ok());
    }
    passed
}

/// A line per stage, and below it each reason with how often it occurs and where first.
fn table(suite: Suite, checks: &[Check]) -> String {
    let mut text = String::new();
    for (stage, passed) in passed(checks) {
        let all: Vec<&Check> = checks.iter().filter(|check| check.stage == stage).collect();
        text += &format!("{:<22}{stage:<8}{passed:>5} of {:>4}\n", suite.name(), all.len());
        let mut reasons: BTreeMap<&str, Vec<&Check>> = BTreeMap::new();
        for check in all {
            if let Err(failure) = &check.outcome {
                reasons.entry(&failure.reason).or_default().push(check);
            }
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, checks)| std::cmp::Reverse(checks.len()));
        for (reason, checks) in reasons {
            text += &format!("    {:>4} {reason}\n", checks.len());
            let most = std::env::var("SLUIS_SUITES_SHOW").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
            for check in checks.iter().take(most) {
                let detail = check.outcome.as_ref().err().map_or("", |failure| failure.detail.as_str());
                text += &format!("         {}: {detail}\n", check.name);
            }
        }
    }
    text
}
