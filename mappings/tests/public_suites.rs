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

use serde::Deserialize;
use suites::{Check, Suite};

/// Numbers that may only rise, by suite and stage, and why what does not pass does not.
const FLOOR: &str = include_str!("public_suites.floor.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Floor {
    passed: BTreeMap<String, usize>,
    kept: Vec<Kept>,
}

/// Examples that no valid R4 is made of, for one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    reason: String,
    examples: usize,
    why: String,
}

#[test]
fn public_suites_pass_at_least_as_often_as_before() {
    let Some(root) = std::env::var_os("SLUIS_SUITES").map(PathBuf::from).filter(|root| root.is_dir()) else {
        // Past the harness, which swallows the output of tests that pass.
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: SLUIS_SUITES names no folder of public suites\n");
        return;
    };
    let floor: Floor = toml::from_str(FLOOR).unwrap();
    let mut said = String::new();
    let mut fallen = Vec::new();
    for suite in Suite::ALL {
        let checks = suite.checks(&root);
        assert!(!checks.is_empty(), "{}: no files under {}", suite.name(), root.display());
        said += &table(suite, &checks);
        fallen.extend(unexplained(&checks, &floor.kept));
        for (stage, passed) in passed(&checks) {
            let key = format!("{}-{stage}", suite.name());
            let least = floor.passed.get(&key).copied().unwrap_or_else(|| panic!("no floor for {key}"));
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

/// Examples that are kept for a reason the floor does not give, or not as often.
fn unexplained(checks: &[Check], kept: &[Kept]) -> Vec<String> {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for check in checks.iter().filter(|check| check.stage == "convert") {
        if let Err(failure) = &check.outcome {
            *found.entry(failure.reason.as_str()).or_default() += 1;
        }
    }
    if found.is_empty() {
        return Vec::new();
    }
    let known: BTreeMap<&str, usize> =
        kept.iter().map(|kept| (kept.reason.as_str(), kept.examples)).collect();
    assert!(kept.iter().all(|kept| !kept.why.is_empty()), "a reason without its why");
    let reasons = found.keys().chain(known.keys()).collect::<std::collections::BTreeSet<_>>();
    let told = |reason: &&&str| {
        found.get(**reason).copied().unwrap_or(0) != known.get(**reason).copied().unwrap_or(0)
    };
    let differ = reasons.into_iter().filter(told);
    differ
        .map(|reason| {
            let count = |of: &BTreeMap<&str, usize>| of.get(reason).copied().unwrap_or(0);
            format!("{reason}: {} kept, {} explained", count(&found), count(&known))
        })
        .collect()
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
