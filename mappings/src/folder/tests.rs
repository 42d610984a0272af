#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;

const MANIFEST: &str = r#"id = "umc-lab"
version = "1.0.0"
title = "Results"
format = "hl7v2"

[match]
senders = ["00000001"]
message_types = ["ORU^R01"]

[identity]
namespace = "urn:oid:2.999.1"

[policies]
"Observation.code" = "quarantine"

[codes.status]
file = "codes/status.csv"

[[ignore]]
path = "PV1"
reason = "no visit is kept"
"#;

const TABLE: &str = "system,code,display,target_system,target_code,target_display,relationship,comment\n,F,,,final,,equivalent,\n";

fn files(manifest: &str) -> BTreeMap<String, Vec<u8>> {
    [("mapping.toml", manifest), ("map.fml", "map"), ("codes/status.csv", TABLE)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .collect()
}

fn folder(edit: &[(&str, &str)]) -> Folder {
    let manifest = edit.iter().fold(MANIFEST.to_owned(), |text, (from, to)| text.replace(from, to));
    Folder::load(&files(&manifest)).unwrap()
}

fn errors(from: &str, to: &str) -> Vec<(u32, String)> {
    assert!(MANIFEST.contains(from));
    let found = Folder::load(&files(&MANIFEST.replace(from, to))).unwrap_err();
    found.into_iter().map(|e| (e.line, e.message)).collect()
}

#[test]
fn a_folder_loads_with_its_tables() {
    let folder = folder(&[]);
    assert_eq!(folder.manifest.unmapped("Observation.code"), Unmapped::Quarantine);
    assert_eq!(folder.manifest.unmapped("Observation.status"), Unmapped::Quarantine);
    assert_eq!(folder.manifest.unmapped("Observation.bodySite"), Unmapped::Keep);
    assert!(folder.codes.contains_key("status"));
    assert_eq!((folder.map_file.as_str(), folder.map.as_str()), ("map.fml", "map"));
}

#[test]
fn what_is_wrong_in_a_manifest_is_said_with_its_line() {
    for (from, to, line) in [
        ("title =", "titel =", 3),
        ("\"umc-lab\"", "\"UMC lab\"", 1),
        ("1.0.0", "1.0", 2),
        ("\"00000001\"", "\"123\"", 7),
        ("[\"00000001\"]", "[]", 7),
        ("urn:oid:2.999.1", "no uri", 11),
        ("= \"quarantine\"", "= \"drop\"", 14),
        ("no visit is kept", "", 19),
    ] {
        let found = errors(from, to);
        assert_eq!(found.first().map(|e| e.0), Some(line), "{to}: {found:?}");
    }
    assert!(
        errors("format = \"hl7v2\"", "format = \"json\"")
            .iter()
            .any(|e| e.1.contains("belongs to format hl7v2"))
    );
}

#[test]
fn files_that_are_missing_or_that_nobody_uses_are_errors() {
    let mut files = files(MANIFEST);
    files.remove("map.fml");
    files.insert("codes/old.csv".to_owned(), TABLE.into());
    files.insert("cases/a/out.json".to_owned(), b"{}".to_vec());
    files.insert("cases/b/in.hl7".to_owned(), b"MSH".to_vec());
    files.insert("cases/b/notes.txt".to_owned(), Vec::new());
    let found: Vec<String> = Folder::load(&files).unwrap_err().into_iter().map(|e| e.file).collect();
    assert_eq!(found, ["map.fml", "codes/old.csv", "cases/b/notes.txt", "cases/a"]);
}

fn message(kind: &str) -> Facts {
    Facts { message_type: Some(kind.to_owned()), ..Facts::new(Format::Hl7v2) }
}

#[test]
fn a_folder_that_names_the_sender_goes_before_one_for_any() {
    let any = folder(&[("umc-lab", "any-lab"), ("00000001", "*")]);
    let library = Library::new(vec![any, folder(&[])]).unwrap();
    let chosen = |sender: &str, kind: &str| {
        library.select(sender, Format::Hl7v2, &message(kind)).map(|f| f.manifest.id.clone())
    };
    assert_eq!(chosen("00000001", "ORU^R01").unwrap(), "umc-lab");
    assert_eq!(chosen("00000002", "ORU^R01").unwrap(), "any-lab");
    let refused = chosen("00000001", "ADT^A08").unwrap_err();
    assert_eq!(refused.near.len(), 2);
    assert!(refused.to_string().contains("umc-lab: reads ORU^R01"), "{refused}");
    assert!(library.select("00000001", Format::Json, &message("Consent")).unwrap_err().near.is_empty());
}

#[test]
fn folders_that_could_match_one_document_are_refused_together() {
    let twin = folder(&[("umc-lab", "umc-two"), ("\"ORU^R01\"", "\"ORU^R01\", \"ORM^O01\"")]);
    assert!(Library::new(vec![twin, folder(&[])]).unwrap_err()[0].message.contains("same document"));
    assert!(Library::new(vec![folder(&[]), folder(&[])]).unwrap_err()[0].message.contains("id"));
    let other = folder(&[("umc-lab", "umc-two"), ("ORU^R01", "ORM^O01")]);
    assert!(Library::new(vec![other, folder(&[])]).is_ok());
}

#[test]
fn csv_columns_must_be_those_agreed_on() {
    let csv = folder(&[("hl7v2", "csv"), ("message_types = [\"ORU^R01\"]", "columns = [\"bsn\", \"code\"]")]);
    let library = Library::new(vec![csv]).unwrap();
    let chosen = |text: &str| {
        library
            .select("00000001", Format::Csv, &facts(Format::Csv, text.as_bytes()))
            .map_err(|e| e.to_string())
    };
    assert!(chosen("code;bsn\n").is_ok());
    assert!(chosen("bsn\n").unwrap_err().contains("column `code` is missing"));
    assert!(chosen("bsn;code;naam\n").unwrap_err().contains("column `naam` is not agreed on"));
}
