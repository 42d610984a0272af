//! Code tables against what they stand for: units against UCUM, statuses against the HL7v2 table of their field.

use super::{Said, Walk, is_ucum};
use crate::folder::{Diagnostic, Folder};
use crate::run::CompiledFolder;
use crate::source::Format;

const UCUM: &str = "http://unitsofmeasure.org";

/// Fields of HL7v2 with a closed table: field, number of the table, its values (HL7v2 chapter 2C, as in v2.8.2).
const V2_TABLES: [(&str, &str, &str); 7] = [
    ("OBX_11", "0085", "A B C D F I N O P R S U V W X"),
    ("OBR_25", "0123", "A C F I M N O P R S X Y Z"),
    ("PID_8", "0001", "A F M N O U"),
    ("PV1_2", "0004", "B C E I N O P R U"),
    (
        "ORC_1",
        "0119",
        "AF CA CH CN CR DC DE DF DR FU HD HR LI NA NW OC OD OE OF OH OK OP OR PA PR PY RE RF RL RO RP RQ RR RU SC SN SR SS UA UC UD UF UH UM UN UR UX XO XR XX",
    ),
    ("AL1_2", "0127", "AA DA EA FA LA MA MC PA"),
    ("AL1_4", "0128", "MI MO SV U"),
];

/// Values of the table of a field that the code table it is translated with has no row for.
pub(super) fn v2_values(compiled: &CompiledFolder, read: &Walk<'_>, said: &mut Said<'_>) {
    let folder = compiled.folder();
    if folder.format() != Format::Hl7v2 {
        return;
    }
    for statement in &read.statements {
        let Some((source, table)) = &statement.translates else { continue };
        let Some(rows) = folder.codes.get(table) else { continue };
        let steps: Vec<&str> = source.split('.').collect();
        let field = V2_TABLES.iter().find(|(field, ..)| steps.contains(field));
        let Some((field, number, values)) = field else { continue };
        let missing: Vec<&str> =
            values.split(' ').filter(|value| !rows.rows().iter().any(|row| row.code == *value)).collect();
        if !missing.is_empty() {
            let text = format!(
                "table `{table}` has no row for {} of HL7 table {number} ({field})",
                missing.join(", ")
            );
            let help = "add the rows, or `noMap` for those the sender never uses".to_owned();
            said.say("warning", "v2-values-unmapped", statement.place, text, help);
        }
    }
}

/// Rows that translate to UCUM with a code UCUM does not have.
pub(super) fn units(folder: &Folder) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (name, table) in &folder.codes {
        let file = folder.manifest.codes.get(name).map_or(name.as_str(), |entry| entry.file.as_str());
        for row in table.rows().iter().filter(|row| row.target_system == UCUM && !is_ucum(&row.target_code)) {
            let message = format!("`{}` is no UCUM unit", row.target_code);
            let remedy =
                "write the code as UCUM has it, case and brackets included (mm[Hg], cm[H2O], 10*9/L)";
            found.push(Diagnostic::new(file, row.line, message, remedy));
        }
    }
    found
}
