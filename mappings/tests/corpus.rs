//! What holds whatever a sender sends: a document is applied, or refused with its place, and no value of it disappears unsaid.
//!
//! Every folder runs over its own cases, over the documents in the shared data folder where that is present, and over both with
//! damage done to them: cut off, bytes changed, parts left out, doubled and put elsewhere. The damage is the same in every run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::HashSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate::{Severity as Issue, validate};
use sluis_mappings::case::account;
use sluis_mappings::finding::{Finding, Severity};
use sluis_mappings::output::{Output, UnitState};
use sluis_mappings::run::CompiledFolder;
use sluis_mappings::source::Format;

mod common;
use common::folder;

/// Documents of that form that are not the project's: the shared data folder, `SLUIS_SHARED` or `../shared/data`.
fn shared(format: Format) -> Vec<(String, Vec<u8>)> {
    let root = std::env::var_os("SLUIS_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let (folders, extension): (&[&str], _) = match format {
        Format::Hl7v2 => (&["hl7v2-messages", "dutch/hl7v2-edifact"], "hl7"),
        Format::Json => (&["dutch/zorgviewer/examples"], "json"),
        Format::Csv => (&["dutch/testdata"], "csv"),
        _ => (&[], ""),
    };
    let mut found = Vec::new();
    for sub in folders {
        let mut queue = vec![root.join(sub)];
        if !root.join(sub).is_dir() {
            // Past the harness, which swallows the output of tests that pass.
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: no {sub} in the shared data folder; set SLUIS_SHARED\n"
            );
        }
        while let Some(at) = queue.pop() {
            for entry in std::fs::read_dir(&at).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    queue.push(path);
                } else if path.extension().is_some_and(|e| e == extension) {
                    found.push((path.to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
                }
            }
        }
    }
    found.retain(|(_, bytes)| bytes.len() < 40_000);
    found.sort();
    found
}

/// Numbers that look arbitrary and are always the same (xorshift).
struct Damage(u64);

impl Damage {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % bound.max(1)
    }

    fn part(&mut self, bytes: &[u8], longest: usize) -> std::ops::Range<usize> {
        let at = self.below(bytes.len());
        at..bytes.len().min(at + 1 + self.below(longest))
    }

    fn done_to(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(3) {
            if bytes.is_empty() {
                break;
            }
            let part = self.part(&bytes, 40);
            match self.below(6) {
                0 => bytes.truncate(part.start),
                1 => bytes[part.start] = b"|^~\\&\r\n\"X0;,{}[]:.\xEB\x00"[self.below(20)],
                2 => drop(bytes.drain(part)),
                3 => {
                    let (copy, to) = (bytes[part].to_vec(), self.below(bytes.len()));
                    drop(bytes.splice(to..to, copy));
                }
                4 => drop(bytes.splice(part.start..part.start, b"|\"\"|".iter().copied())),
                _ => {
                    let mut lines: Vec<Vec<u8>> =
                        bytes.split_inclusive(|b| matches!(b, b'\r' | b'\n')).map(<[u8]>::to_vec).collect();
                    let (a, b) = (self.below(lines.len()), self.below(lines.len()));
                    lines.swap(a, b);
                    bytes = lines.concat();
                }
            }
        }
        bytes
    }
}

/// How many documents were refused as a whole, and how many units were ready.
#[derive(Default)]
struct Seen {
    documents: usize,
    refused: usize,
    ready: usize,
}

fn check(folder: &CompiledFolder, bytes: &[u8], name: &str, seen: &mut Seen) {
    let output = folder.run(bytes);
    seen.documents += 1;
    let findings = || output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings));
    for finding in findings().filter(|finding| finding.severity >= Severity::Error) {
        let is_placed = finding.line > 0 || bytes.is_empty();
        assert!(is_placed && !finding.remedy.is_empty(), "{name}: {finding:?}");
    }
    for unit in output.units.iter().filter(|unit| unit.state == UnitState::Ready) {
        seen.ready += 1;
        let text = unit.resource.clone().unwrap_or_else(|| panic!("{name}: ready without a resource"));
        let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).unwrap();
        let issues = validate(definitions::r4(), doc.root());
        assert!(!issues.iter().any(|issue| issue.severity == Issue::Error), "{name}: {issues:?}");
        assert!(unit.identity.is_some(), "{name}: {} has no identity", unit.label);
    }
    if output.findings.iter().any(|finding| finding.severity == Severity::Fatal) {
        assert!(output.units.is_empty(), "{name}: refused, and yet it made something");
        seen.refused += 1;
        return;
    }
    nothing_silent(folder, bytes, &output, findings().collect(), name);
}

/// Every leaf was read, is left out with a reason, or is in a finding.
fn nothing_silent(
    folder: &CompiledFolder,
    bytes: &[u8],
    output: &Output,
    findings: Vec<&Finding>,
    name: &str,
) {
    let parsed = folder.parse(bytes);
    let told: HashSet<(u32, u32)> = findings.iter().map(|f| (f.span.start, f.span.end)).collect();
    let account = account(&parsed.tree, &output.coverage, &folder.folder().manifest.ignore);
    for leaf in &account.dropped {
        let span = parsed.tree.node(*leaf).span;
        assert!(told.contains(&(span.start, span.end)), "{name}: {} disappeared", parsed.tree.path(*leaf));
    }
    let leaves = parsed.tree.leaves().count();
    assert_eq!(account.read + account.ignored.len() + account.dropped.len(), leaves, "{name}");
}

/// Runs a folder over its cases, each as it is and damaged `times` times; below ten times over the shared documents as well.
fn holds(name: &str, times: usize) {
    let folder = folder(name);
    let format = folder.format();
    let mut documents: Vec<(String, Vec<u8>)> =
        folder.cases.iter().map(|case| (case.name.clone(), case.input.clone())).collect();
    if times < 10 {
        documents.extend(shared(format));
    }
    let folder = CompiledFolder::new(folder).unwrap();
    let (mut seen, mut damage) = (Seen::default(), Damage(0x9E37_79B9_7F4A_7C15));
    for (document, bytes) in &documents {
        check(&folder, bytes, &format!("{name}: {document}"), &mut seen);
        for nth in 0..times {
            let damaged = damage.done_to(bytes);
            check(&folder, &damaged, &format!("{name}: {document}, damage {nth}"), &mut seen);
        }
    }
    assert!(seen.ready > 0 && seen.refused < seen.documents, "{name}: nothing was applied");
}

#[test]
fn results_are_applied_or_refused_with_their_place() {
    holds("umc-lab", 4);
}

#[test]
fn problems_are_applied_or_refused_with_their_place() {
    holds("umc-problems", 4);
}

#[test]
fn admissions_are_applied_or_refused_with_their_place() {
    holds("umc-adt", 4);
}

#[test]
fn csv_rows_are_applied_or_refused_with_their_place() {
    holds("gesp-export", 40);
}

#[test]
fn stu3_resources_are_applied_or_refused_with_their_place() {
    holds("gp-stu3", 3);
}

#[test]
fn every_other_folder_applies_or_refuses_with_its_place() {
    for (name, times) in [
        ("umc-documents", 20),
        ("umc-orders", 20),
        ("als-visit", 20),
        ("als-plan", 20),
        ("ctb-settings", 20),
        ("regio-lab", 20),
        ("streeklab-medlab", 20),
    ] {
        holds(name, times);
    }
}
