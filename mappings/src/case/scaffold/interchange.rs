//! From an EDIFACT sample: a unit per message that is held back until somebody says what it is, with a line per field. Of the Dutch
//! medical messages no specification is public, so nothing of their meaning is guessed, except that a component `BSN` and nine digits in
//! PID is the patient's number.

use super::{Files, head, literal, manifest, read, tree};
use crate::source::{Limits, edifact};

pub(super) fn folder(id: &str, sender: &str, sample: &[u8]) -> Result<Files, String> {
    let (parsed, charset) = read(|agreed| edifact::parse(sample, agreed, Limits::default()))?;
    let kind = parsed.facts.message_type.clone().ok_or("the message names no type (UNH-2): put it in")?;
    let rule = format!("message_types = [\"{kind}\"]\n");
    let toml = manifest(id, sender, "edifact", charset, &rule);
    let paths = tree::paths(&parsed.tree, "\u{0}");
    let inside: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix("message.")).collect();
    let numbered = parsed.tree.leaves().find_map(|leaf| {
        let bsn = parsed.tree.text(leaf)?.strip_prefix("BSN")?;
        let path = parsed.tree.path(leaf);
        (bsn.len() == 9 && path.contains("PID_")).then_some(path)
    });
    // `PID[1].PID_5`, as paths of the map: `PID.PID_5`.
    let number = numbered.map(|path| {
        path.split('.').map(|step| step.split('[').next().unwrap_or(step)).collect::<Vec<_>>().join(".")
    });
    let (whose, part) = match &number {
        Some(path) => (
            format!(
                "    msg.{path} as number where startsWith('BSN') -> subjectBsn(number.substring(3)) \"whose\";\n"
            ),
            format!("msg.{path}"),
        ),
        None => (
            "    msg -> subjectNone() \"whose\"; // TODO: which element says whose this is?\n".to_owned(),
            "'TODO: a patient-bound field'".to_owned(),
        ),
    };
    let mut map = head(id, "Interchange", &["Basic"]);
    map += "group Interchange(source file : Interchange) {\n  // TODO: Basic stands in for what a message is about; streeklab-medlab makes an \
            Observation of each BEP\n  file.message as msg -> create('Basic') as b then {\n";
    map += &format!(
        "    msg -> refuse({}, 'finish the map') \"unfinished\";\n",
        literal("the map does not say yet what this message is")
    );
    map += &whose;
    map +=
        &format!("    msg -> identity(%namespace, {part}, msg.UNH.UNH_1), b.code = cc('TODO') \"head\";\n");
    for path in &inside {
        map += &format!("    msg.{path} as v -> use(v) \"{path}\"; // TODO\n");
    }
    map += "  } \"message\";\n";
    for path in paths.iter().filter(|path| !path.starts_with("message.")) {
        map += &format!("  file.{path} as v -> use(v) \"{path}\";\n");
    }
    map += "}\n";
    Ok(Files::from([
        ("mapping.toml".to_owned(), toml.into_bytes()),
        ("map.fml".to_owned(), map.into_bytes()),
        ("cases/first/in.edi".to_owned(), sample.to_vec()),
    ]))
}
