//! Proof of a mapping: input and expected output side by side, and an account of every source field.
//!
//! `cases/<name>/in.*` goes in, `out.json` and `findings.json` are what must come out. Runs whatever it is given as a
//! runner, so that this module knows no engine; reads and writes no file.

mod compare;
mod coverage;
pub mod excerpt;
mod junit;
mod lint;
mod page;
mod personal;
mod prove;
mod proved;
mod render;
mod report;
mod scaffold;
mod show;
mod trace;
mod walk;

use std::collections::BTreeMap;

pub use compare::{Difference, compare};
pub use coverage::{Account, account};
pub(crate) use coverage::{Patterns, coverage_findings};
pub use junit::junit;
pub use lint::{Lint, is_ucum, lint};
pub use page::{PAGE_ITEMS_MAX, page};
pub use personal::{TEST_NUMBERS, personal_data};
pub use prove::{Explained, Proof, Spot, prove};
pub use proved::{PROVED, proved};
pub use render::{pretty, render_findings, render_units};
pub use report::{Field, Report, report};
pub use scaffold::{rename, scaffold};
pub use show::{Language, SheetForm, show};
pub use trace::{lab_parameters, render_trace, trace_parameters};

use crate::{
    folder::{Diagnostic, Folder},
    output::Output,
};

/// One case of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Name of its folder under `cases/`.
    pub name: String,
    /// Path of the input inside the mapping folder (`cases/fvc/in.hl7`).
    pub input_file: String,
    /// The document as received.
    pub input: Vec<u8>,
    /// Text of `out.json`; `None` until blessed.
    pub out: Option<String>,
    /// Text of `findings.json`; `None` means no finding is expected.
    pub findings: Option<String>,
}

impl Case {
    /// Where what is expected and what a run gave differ; a case never blessed differs as a whole.
    fn differences(&self, out: &str, findings: &str) -> Vec<Difference> {
        let mut differences = match &self.out {
            Some(expected) => compare("out.json", expected, out),
            None => vec![Difference {
                file: "out.json",
                path: String::new(),
                expected: None,
                found: Some("output".to_owned()),
            }],
        };
        let expected = self.findings.as_deref().unwrap_or("[]");
        differences.extend(compare("findings.json", expected, findings));
        differences
    }
}

/// What became of a case.
#[derive(Debug, Clone)]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// Where expected and found differ; empty when the case passes.
    pub differences: Vec<Difference>,
    /// What `out.json` would hold after blessing.
    pub out: String,
    /// What `findings.json` would hold after blessing.
    pub findings: String,
}

impl CaseResult {
    /// Whether expected and found agree.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Case {
    /// The cases among a folder's files; a case without input, or with a file nobody reads, is an error.
    pub(crate) fn load_all(files: &BTreeMap<String, Vec<u8>>, errors: &mut Vec<Diagnostic>) -> Vec<Case> {
        let mut cases: BTreeMap<&str, Case> = BTreeMap::new();
        for (path, bytes) in files {
            let Some((name, file)) = path.strip_prefix("cases/").and_then(|rest| rest.split_once('/')) else {
                continue;
            };
            let case = cases.entry(name).or_insert_with(|| Case {
                name: name.to_owned(),
                input_file: String::new(),
                input: Vec::new(),
                out: None,
                findings: None,
            });
            let text = || String::from_utf8_lossy(bytes).into_owned();
            match file {
                "out.json" => case.out = Some(text()),
                "findings.json" => case.findings = Some(text()),
                _ if file.starts_with("in.") && case.input_file.is_empty() => {
                    case.input_file = path.clone();
                    case.input = bytes.clone();
                }
                _ => errors.push(Diagnostic::new(
                    path.as_str(),
                    0,
                    "the file is no part of a case",
                    "a case has one in.*, an out.json and a findings.json",
                )),
            }
        }
        for case in cases.values().filter(|c| c.input_file.is_empty()) {
            let file = format!("cases/{}", case.name);
            errors.push(Diagnostic::new(
                file,
                0,
                "the case has no input",
                "add in.hl7, in.csv, in.json or in.xml",
            ));
        }
        cases.into_values().filter(|c| !c.input_file.is_empty()).collect()
    }
}

/// Whether a file of a corpus is a document: in a case folder, its `in.*` only.
pub fn is_input(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    !matches!(file, "out.json" | "findings.json" | PROVED) && !file.starts_with('.') && !file.ends_with(".md")
}

/// Where the outputs of two runs on one document differ: units, then findings.
pub fn compare_outputs(one: &Output, other: &Output) -> Vec<Difference> {
    let mut differences = compare("out.json", &render_units(one), &render_units(other));
    differences.extend(compare("findings.json", &render_findings(one), &render_findings(other)));
    differences
}

/// Runs every case of a folder, in name order. Objects compare without regard to member order, arrays with it, numbers
/// by their digits (`1.10` is not `1.1`).
pub fn run_cases(folder: &Folder, runner: &dyn Fn(&Folder, &[u8]) -> Output) -> Vec<CaseResult> {
    folder
        .cases
        .iter()
        .map(|case| {
            let output = runner(folder, &case.input);
            let out = render_units(&output);
            let findings = render_findings(&output);
            let differences = case.differences(&out, &findings);
            CaseResult { name: case.name.clone(), differences, out, findings }
        })
        .collect()
}

#[cfg(test)]
mod tests;
