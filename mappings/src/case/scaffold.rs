//! A first mapping folder made of one sample document: it loads, its case runs, and every field has a line of its own to
//! decide on. What cannot be known from a sample is marked TODO in the map.

mod cda;
mod interchange;
mod result;
mod rows;
mod tree;

use std::collections::BTreeMap;

use super::personal::suspicious_lines;
use crate::finding::Severity;
use crate::fml;
use crate::source::{Parsed, charset::Charset};

/// Files of a folder by path inside it.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The files of a new folder: `mapping.toml`, `map.fml`, `codes/*.csv`, `cases/first/in.*`. `id` is the folder's name,
/// `sender` a URA or `*`, `extension` that of the sample.
///
/// Errors: why none can be made, with what to do; an id that is none, a sample that cannot be read or is empty, one that
/// holds a number that could be somebody's BSN.
pub fn scaffold(id: &str, sender: &str, extension: &str, sample: &[u8]) -> Result<Files, String> {
    legal(id)?;
    if let Some(line) = suspicious_lines(sample).first() {
        return Err(format!(
            "line {line} of the sample holds a number that passes the eleven-test and is no published test number: a case \
             never holds a real person; replace it by 999911120 or another test number and try again"
        ));
    }
    match extension.to_ascii_lowercase().as_str() {
        "csv" | "txt" | "tsv" => rows::folder(id, sender, sample),
        "hl7" | "er7" => tree::folder(id, sender, sample, crate::source::Format::Hl7v2),
        "json" => tree::folder(id, sender, sample, crate::source::Format::Json),
        "xml" | "cda" => tree::folder(id, sender, sample, crate::source::Format::Xml),
        "edi" | "edifact" => interchange::folder(id, sender, sample),
        other => {
            let help = fml::nearest(other, ["csv", "hl7", "json", "xml", "edi"]);
            Err(format!("no map can be begun from a `.{other}` sample; {help}")
                .replace("; known here", ": known here"))
        }
    }
}

/// `mapping.toml` up to and with `[identity]`; `charset` is a line of its own, or nothing.
fn manifest(id: &str, sender: &str, format: &str, charset: &str, rule: &str) -> String {
    format!(
        "id = \"{id}\"\nversion = \"0.1.0\"\ntitle = \"{id}\" # TODO: for people\nformat = \"{format}\"\n{charset}\n\
         [match]\nsenders = [\"{sender}\"]\n{rule}\n\
         [identity]\n# TODO: a namespace of the sender's own, an OID or a URL it controls\n\
         namespace = \"https://sluis.care/fhir/NamingSystem/{id}\"\n\
         patient = \"https://sluis.care/fhir/NamingSystem/{id}-patient\"\n"
    )
}

/// The manifest of a folder made as a copy of another: under its own id, for its own sender, everything else as it is.
///
/// Errors: an id that is none, with what to do.
pub fn rename(id: &str, sender: &str, manifest: &str) -> Result<String, String> {
    legal(id)?;
    let line = |line: &str| match line.split('=').next().map(str::trim) {
        Some("id") => format!("id = \"{id}\""),
        Some("version") => "version = \"0.1.0\"".to_owned(),
        Some("senders") => format!("senders = [\"{sender}\"]"),
        _ => line.to_owned(),
    };
    Ok(manifest.lines().map(line).collect::<Vec<_>>().join("\n") + "\n")
}

fn legal(id: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match id.is_empty() || !id.chars().all(legal) {
        true => Err(format!("`{id}` is no id: name the folder with lower case letters, digits and dashes")),
        false => Ok(()),
    }
}

/// Reads a sample whose character set its notation may leave open: as it says itself, else as ISO 8859-1, which is then agreed on in
/// `mapping.toml` (the second half of the answer).
///
/// Errors: why it cannot be read.
fn read(parse: impl Fn(Option<Charset>) -> Parsed) -> Result<(Parsed, &'static str), String> {
    let fault = |parsed: &Parsed| {
        let fault = parsed.findings.iter().find(|finding| finding.severity >= Severity::Error)?;
        Some((
            fault.code,
            format!("the sample cannot be read: line {}: {} {}", fault.line, fault.text, fault.remedy),
        ))
    };
    let parsed = parse(None);
    let Some((code, why)) = fault(&parsed) else { return Ok((parsed, "")) };
    let agreed = parse(Some(Charset::Latin1));
    if code == "charset-contradicted" && fault(&agreed).is_none() {
        return Ok((
            agreed,
            "charset = \"iso-8859-1\" # TODO: ask the sender; the sample does not say it rightly\n",
        ));
    }
    Err(why)
}

/// The lines a map begins with.
fn head(id: &str, model: &str, targets: &[&str]) -> String {
    let name: String = id.split('-').map(capital).collect();
    let mut text = format!(
        "/// TODO: one sentence on what these documents are and what becomes of them.\n\
         map \"https://sluis.care/fhir/StructureMap/{id}\" = \"{name}\"\n\n\
         uses \"https://sluis.care/fhir/StructureDefinition/{id}\" alias {model} as source\n"
    );
    for target in targets {
        text +=
            &format!("uses \"http://hl7.org/fhir/StructureDefinition/{target}\" alias {target} as target\n");
    }
    text + "\n"
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// First line of a code table.
fn codes_header() -> String {
    crate::codes::HEADER.join(",") + "\n"
}

/// A cell of a code table.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// A name as a step of a path: in backticks where it is no plain identifier.
fn step(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { name.to_owned() } else { format!("`{name}`") }
}

/// A text as an FML literal.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
