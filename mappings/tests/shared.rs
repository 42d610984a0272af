//! The parsers over the documents in the shared data folder, where it is present: nothing panics, and what is refused
//! says where and what to do. The documents are not part of the project.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use sluis_mappings::{
    case::account,
    finding::Severity,
    output::UnitState,
    run::CompiledFolder,
    source::{Limits, Parsed, charset::Charset, hl7v2, json},
};

mod common;

/// The shared data folder: `SLUIS_SHARED`, else `../shared/data` beside the workspace.
fn shared(sub: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SLUIS_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let found = root.join(sub);
    if found.is_dir() {
        return Some(found);
    }
    // Past the harness, which swallows the output of tests that pass.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED: no {sub} in the shared data folder; set SLUIS_SHARED\n");
    None
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What holds for any document: spans inside, refusals positioned and with a remedy.
fn check(parsed: &Parsed, bytes: &[u8], name: &str) {
    for leaf in parsed.tree.leaves() {
        let span = parsed.tree.node(leaf).span;
        assert!(span.start <= span.end && span.end as usize <= bytes.len(), "{name}");
    }
    for finding in parsed.findings.iter().filter(|f| f.severity >= Severity::Error) {
        assert!(finding.line > 0, "{name}: {} has no place", finding.code);
        assert!(!finding.remedy.is_empty() && finding.text.ends_with('.'), "{name}: {finding:?}");
    }
}

fn parse_all(bytes: &[u8], name: &str) -> Vec<Parsed> {
    let split = hl7v2::split(bytes);
    assert!(!split.messages.is_empty() || !split.findings.is_empty() || bytes.is_empty(), "{name}");
    split
        .messages
        .iter()
        .map(|m| {
            let message = &bytes[m.start as usize..m.end as usize];
            let parsed = hl7v2::parse(message, None, Limits::default());
            check(&parsed, message, name);
            parsed
        })
        .collect()
}

#[test]
fn every_hl7v2_message_reads_or_says_why_not() {
    let Some(folder) = shared("hl7v2-messages") else { return };
    let files = files(&folder, "hl7");
    assert!(files.len() > 100);
    let (mut read, mut refused) = (0, Vec::new());
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for parsed in parse_all(&std::fs::read(file).unwrap(), &name) {
            match parsed.findings.iter().find(|f| f.severity == Severity::Fatal) {
                Some(fatal) => refused.push((name.clone(), fatal.code)),
                None => read += 1,
            }
        }
    }
    // Refused are the samples whose MSH-2 was written as a string literal, with its backslash doubled.
    assert!(refused.iter().all(|(_, code)| *code == "delimiters-unusable"), "{refused:?}");
    assert!(read > 100, "{read} read, {} refused", refused.len());
}

#[test]
fn dutch_messages_read_once_they_are_in_their_declared_character_set() {
    let Some(folder) = shared("dutch/hl7v2-edifact") else { return };
    let files = files(&folder, "hl7");
    assert!(!files.is_empty());
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let stored = std::fs::read(file).unwrap();
        // They are stored as UTF-8 whatever MSH-18 says: as they stand, those with letters above ASCII contradict it.
        for parsed in parse_all(&stored, &name) {
            let contradicted = parsed.findings.iter().any(|f| f.code == "charset-contradicted");
            let declared = parsed.facts.charset.as_deref();
            assert_eq!(contradicted, !stored.is_ascii() && declared != Some("utf-8"), "{name}");
        }
        let text = String::from_utf8(stored).unwrap();
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        for parsed in parse_all(&latin, &name) {
            let fatal: Vec<_> = parsed.findings.iter().filter(|f| f.severity == Severity::Fatal).collect();
            let silent = parsed.facts.charset.as_deref() == Some(Charset::Ascii.label());
            assert!(fatal.is_empty() || silent, "{name}: {fatal:?}");
            let kind = parsed.facts.message_type.as_deref().unwrap_or_default();
            assert!(matches!(kind, "ORM^O01" | "OML^O21"), "{name}: {kind}");
        }
    }
}

/// A message with the number of a Dutch patient in PID-3, which other countries' messages do not have.
fn of_a_dutch_patient(message: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = message.split(|&b| b == b'\r' || b == b'\n').map(<[u8]>::to_vec).collect();
    for line in lines.iter_mut().filter(|line| line.starts_with(b"PID|")) {
        let mut fields: Vec<&[u8]> = line.split(|&b| b == b'|').collect();
        fields.resize(fields.len().max(4), b"");
        fields[3] = b"999911120^^^NLMINBIZA^NNNLD";
        *line = fields.join(&b'|');
    }
    lines.join(&b'\r')
}

/// The library over messages of other systems: whatever they hold, a unit is built or refused with a place, and what no
/// rule reads is named.
#[test]
fn the_library_of_hl7v2_accounts_for_every_field_of_other_peoples_messages() {
    let Some(folder) = shared("hl7v2-messages") else { return };
    let folders = ["umc-adt", "umc-orders", "umc-documents", "umc-problems", "regio-lab"]
        .map(|name| CompiledFolder::new(common::folder(name)).unwrap_or_else(|errors| panic!("{errors:#?}")));
    let (mut messages, mut ready, mut kept) = (0, 0, 0);
    for file in &files(&folder, "hl7") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(file).unwrap();
        for message in hl7v2::split(&bytes).messages {
            let message = of_a_dutch_patient(&bytes[message.start as usize..message.end as usize]);
            let message = message.as_slice();
            let kind = hl7v2::facts(message).message_type.unwrap_or_default();
            let Some(folder) =
                folders.iter().find(|f| f.folder().manifest.matches.message_types.contains(&kind))
            else {
                continue;
            };
            let output = folder.run(message);
            let fatal = output.findings.iter().any(|finding| finding.severity == Severity::Fatal);
            if fatal {
                continue;
            }
            messages += 1;
            let parsed = folder.parse(message);
            let account = account(&parsed.tree, &output.coverage, &folder.folder().manifest.ignore);
            let all = output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings));
            let named: String =
                all.clone().filter(|f| f.code == "leaf-dropped").map(|f| f.text.clone() + "\n").collect();
            for leaf in account.dropped {
                let shape = parsed.tree.shape(leaf);
                assert!(named.contains(&format!(" {shape};")), "{name}: {shape} is named nowhere\n{named}");
            }
            for unit in &output.units {
                let errors = unit.findings.iter().filter(|f| f.severity == Severity::Error);
                assert!(
                    errors.clone().all(|f| f.line > 0 && !f.remedy.is_empty()),
                    "{name}: {:?}",
                    unit.findings
                );
                match unit.state {
                    UnitState::Ready => ready += 1,
                    UnitState::Quarantined => kept += 1,
                }
                assert_eq!(unit.state == UnitState::Quarantined, errors.count() > 0, "{name}");
            }
        }
    }
    assert!(messages > 60 && ready > 60, "{messages} messages, {ready} ready, {kept} kept");
}

#[test]
fn every_vendor_json_example_reads() {
    let Some(folder) = shared("dutch/zorgviewer") else { return };
    let files = files(&folder, "json");
    assert!(files.len() > 50);
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(file).unwrap();
        let parsed = json::parse(&bytes, Limits::default());
        check(&parsed, &bytes, &name);
        assert!(!parsed.is_fatal(), "{name}: {:?}", parsed.findings);
        assert!(parsed.facts.message_type.is_some(), "{name}");
    }
}
