//! Every case pair of every mapping folder comes out as its files say.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at the first surprise"
)]

use sluis_mappings::case::run_cases;
use sluis_mappings::run::{self, CompiledFolder};

mod common;
use common::{folder, path};

/// Runs a folder's cases and prints what differs. With `SLUIS_BLESS` set, what came out is written as expected, after
/// being shown; the test then fails once, so that nobody blesses unseen.
fn prove(name: &str, cases_min: usize) {
    let folder = folder(name);
    assert!(folder.cases.len() >= cases_min, "cases of {name} went missing");
    let compiled = CompiledFolder::new(folder.clone());
    if let Err(errors) = &compiled {
        panic!("{}", errors.iter().map(|error| format!("{error}\n\n")).collect::<String>());
    }
    let mut failed = Vec::new();
    for result in run_cases(&folder, &run::run) {
        if result.passed() {
            continue;
        }
        let shown: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
        eprintln!("{}:\n  {}", result.name, shown.join("\n  "));
        if std::env::var_os("SLUIS_BLESS").is_some() {
            let case = path(name).join("cases").join(&result.name);
            std::fs::write(case.join("out.json"), &result.out).unwrap();
            std::fs::write(case.join("findings.json"), &result.findings).unwrap();
        }
        failed.push(result.name);
    }
    assert!(failed.is_empty(), "{name}: {failed:?}");
}

#[test]
fn gp_stu3() {
    prove("gp-stu3", 54);
}

#[test]
fn umc_lab() {
    prove("umc-lab", 10);
}

#[test]
fn gesp_export() {
    prove("gesp-export", 3);
}

#[test]
fn als_visit() {
    prove("als-visit", 4);
}

#[test]
fn als_plan() {
    prove("als-plan", 3);
}

#[test]
fn ctb_settings() {
    prove("ctb-settings", 2);
}

/// STU3 as each vendor sends it: a small map on the shared library, with the quirks seen in its documents.
#[test]
fn vendors() {
    for (name, cases_min) in [
        ("cgm-stu3", 8),
        ("chipsoft-stu3", 10),
        ("epic-stu3", 4),
        ("nexus-stu3", 4),
        ("sanday-stu3", 2),
        ("nedap-stu3", 2),
        ("topicus-stu3", 1),
    ] {
        prove(&format!("vendors/{name}"), cases_min);
    }
}

#[test]
fn umc_problems() {
    prove("umc-problems", 4);
}

#[test]
fn umc_adt() {
    prove("umc-adt", 11);
}

#[test]
fn umc_orders() {
    prove("umc-orders", 9);
}

#[test]
fn umc_documents() {
    prove("umc-documents", 5);
}

#[test]
fn streeklab_medlab() {
    prove("streeklab-medlab", 6);
}

#[test]
fn regio_lab() {
    prove("regio-lab", 4);
}
