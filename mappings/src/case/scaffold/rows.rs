//! From a CSV sample: an Observation per column that holds something measured or said, identity from the columns that say
//! who and when.

use std::collections::BTreeSet;

use super::{Files, head, literal, manifest, step};
use crate::bsn::Bsn;
use crate::case::excerpt::decode;
use crate::source::{Limits, csv};

/// Distinct words a column may hold and still be a list of codes.
const CODES_MAX: usize = 12;

/// What a column seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Role {
    /// A BSN: whose row it is.
    Bsn,
    /// The sender's own patient number.
    Patient,
    /// A day, in this form.
    Day(&'static str),
    /// A number, in this unit (text, UCUM).
    Number(Option<(&'static str, &'static str)>),
    /// One of few words.
    Code(BTreeSet<String>),
    /// Who somebody is: not taken over.
    Person,
    /// Free text.
    Text,
    /// Empty in the sample.
    Unknown,
}

/// Endings of column names that tell a unit: ending, text, UCUM.
const UNITS: [(&str, &str, &str); 16] = [
    ("_kg", "kg", "kg"),
    ("_g", "g", "g"),
    ("_cm", "cm", "cm"),
    ("_l", "L", "L"),
    ("_liter", "L", "L"),
    ("_ml", "mL", "mL"),
    ("_lmin", "L/min", "L/min"),
    ("_l_min", "L/min", "L/min"),
    ("_cmh2o", "cmH2O", "cm[H2O]"),
    ("_kpa", "kPa", "kPa"),
    ("_mmhg", "mmHg", "mm[Hg]"),
    ("_pct", "%", "%"),
    ("_procent", "%", "%"),
    ("_mmol", "mmol/L", "mmol/L"),
    ("_uur", "h", "h"),
    ("_min", "/min", "/min"),
];

/// Words in column names of people's particulars.
const PERSON: [&str; 9] =
    ["naam", "adres", "straat", "postcode", "woonplaats", "telefoon", "mail", "geboorte", "geslacht"];

pub(super) fn folder(id: &str, sender: &str, sample: &[u8]) -> Result<Files, String> {
    let encoding = if std::str::from_utf8(sample).is_ok() { "utf-8" } else { "windows-1252" };
    let text = decode(sample.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(sample));
    let header = text.lines().next().unwrap_or_default();
    let count = |separator: &char| header.matches(*separator).count();
    let separator = [';', ',', '\t', '|'].into_iter().max_by_key(count).unwrap_or(';');
    let plain = csv::Options { separator, encoding: encoding.to_owned(), ..csv::Options::default() };
    let parsed = csv::parse(sample, &plain, Limits::default());
    if let Some(fatal) =
        parsed.findings.iter().find(|finding| finding.severity >= crate::finding::Severity::Error)
    {
        return Err(format!(
            "the sample cannot be read: line {}: {} {}",
            fatal.line, fatal.text, fatal.remedy
        ));
    }
    let columns = &parsed.facts.columns;
    let tree = &parsed.tree;
    let rows: Vec<_> = tree.children(tree.root()).collect();
    if rows.is_empty() {
        return Err("the sample has a header and no row: a first case needs one".to_owned());
    }
    let values = |column: &str| -> Vec<&str> {
        rows.iter().flat_map(|row| tree.named(*row, column).filter_map(|cell| tree.text(cell))).collect()
    };
    let roles: Vec<(&String, Role)> =
        columns.iter().map(|column| (column, role(column, &values(column)))).collect();
    let comma = roles.iter().any(|(column, role)| {
        matches!(role, Role::Number(_)) && values(column).iter().any(|value| value.contains(','))
    });
    let mut files = Files::new();
    let quoted: Vec<String> = columns.iter().map(|column| toml_text(column)).collect();
    let numbers: Vec<String> = roles
        .iter()
        .filter(|(_, role)| matches!(role, Role::Number(_)))
        .map(|(column, _)| toml_text(column))
        .collect();
    let mut toml = manifest(id, sender, "csv", &format!("columns = [{}]\n", quoted.join(", ")));
    toml += &format!(
        "\n[csv]\nseparator = {}\nencoding = \"{encoding}\"\ndecimal = \"{}\"\nnumbers = [{}]\n",
        toml_text(&separator.to_string()),
        if comma { ',' } else { '.' },
        numbers.join(", ")
    );
    for (column, role) in &roles {
        if let Role::Code(words) = role {
            let table = table(column);
            toml += &format!("\n[codes.{table}]\nfile = \"codes/{table}.csv\"\n");
            files.insert(format!("codes/{table}.csv"), codes(words).into_bytes());
        }
    }
    files.insert("mapping.toml".to_owned(), toml.into_bytes());
    files.insert("map.fml".to_owned(), map(id, &roles).into_bytes());
    files.insert("cases/first/in.csv".to_owned(), sample.to_vec());
    Ok(files)
}

fn role(column: &str, values: &[&str]) -> Role {
    let name = column.to_lowercase();
    let all =
        |test: &dyn Fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| test(value.trim()));
    if all(&|value| value.len() == 9 && Bsn::parse(value).is_ok())
        || (name.contains("bsn") && !values.is_empty())
    {
        return Role::Bsn;
    }
    if ["patient", "client", "dossier"].iter().any(|word| name.contains(word)) && !name.contains("naam") {
        return Role::Patient;
    }
    if PERSON.iter().any(|word| name.contains(word)) {
        return Role::Person;
    }
    for form in ["dd-MM-yyyy", "yyyy-MM-dd", "dd/MM/yyyy", "d-M-yyyy", "yyyyMMdd"] {
        if all(&|value| crate::plan::is_date(value, form)) {
            return Role::Day(form);
        }
    }
    if all(&is_number) {
        let unit =
            UNITS.iter().find(|(ending, ..)| name.ends_with(ending)).map(|(_, text, ucum)| (*text, *ucum));
        return Role::Number(unit);
    }
    if values.is_empty() {
        return Role::Unknown;
    }
    let distinct: BTreeSet<String> = values.iter().map(|value| value.trim().to_owned()).collect();
    let short = distinct
        .iter()
        .all(|value| value.chars().count() <= 30 && !value.contains(". ") && !value.ends_with('.'));
    if short && distinct.len() <= CODES_MAX { Role::Code(distinct) } else { Role::Text }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.')
        && digits.matches([',', '.']).count() <= 1
}

fn map(id: &str, roles: &[(&String, Role)]) -> String {
    let mut map = head(id, "File", &["Observation"]);
    map += "group File(source file : File) {\n  file.row as row then Row(row) \"row\";\n}\n\n";
    map += "/// A line per column: what is in it becomes a resource, or is looked at and left.\ngroup Row(source row : Row) {\n";
    let day = roles.iter().find_map(|(column, role)| match role {
        Role::Day(form) => Some((*column, *form)),
        _ => None,
    });
    let who = roles
        .iter()
        .find(|(_, role)| *role == Role::Bsn)
        .or_else(|| roles.iter().find(|(_, role)| *role == Role::Patient))
        .map(|(column, role)| (*column, role.clone()))
        .or_else(|| roles.first().map(|(column, _)| (*column, Role::Patient)));
    let (who, kind) = who.unwrap_or_else(|| (roles[0].0, Role::Patient));
    for (column, role) in roles {
        let (source, name) = (step(column), literal(column));
        let rule = format!("\"{}\"", column.replace('"', "'"));
        let value = match role {
            _ if *column == who => {
                map += &format!("  // `{column}` says whose the row is: see Common.\n");
                continue;
            }
            Role::Day(_) if Some(*column) == day.map(|(column, _)| column) => {
                map += &format!("  // `{column}` says when: see Common.\n");
                continue;
            }
            Role::Person => {
                map += &format!(
                    "  row.{source} as value -> use(value) {rule}; // who the patient is follows from the number\n"
                );
                continue;
            }
            Role::Unknown | Role::Bsn | Role::Patient => {
                map += &format!("  row.{source} as value -> use(value) {rule}; // TODO: what is this for?\n");
                continue;
            }
            Role::Number(Some((unit, ucum))) => format!(
                "o.value = qty(value, {}, 'http://unitsofmeasure.org', {})",
                literal(unit),
                literal(ucum)
            ),
            Role::Number(None) => "o.value = qty(value)".to_owned(),
            Role::Day(form) => format!("o.valueDateTime = nlDate(value, '{form}')"),
            Role::Code(_) => {
                format!("o.value = translate(value, '{}', 'CodeableConcept', 'keep')", table(column))
            }
            Role::Text => "o.valueString = value".to_owned(),
        };
        let todo = if *role == Role::Number(None) { "which code and unit?" } else { "which code?" };
        map += &format!(
            "  row.{source} as value -> create('Observation') as o then {{ // TODO: {todo}\n    row then Common(row, {name}, o) \
             \"common\";\n    value -> {value} \"value\";\n  }} {rule};\n"
        );
    }
    map += "}\n\n/// What every Observation of a row has in common. `name` is the column: its code, and part of its identity.\n";
    map += "group Common(source row : Row, source name : string, target o : Observation) {\n";
    let column = step(who);
    let part = match kind {
        Role::Bsn => {
            map += &format!("  row -> subjectBsn(row.{column}) \"whose\";\n");
            format!("bsn(row.{column})")
        }
        _ => {
            map += &format!("  row -> subjectLocal(%patient, row.{column}) \"whose\";\n");
            format!("row.{column}")
        }
    };
    let (bind, key) = match day {
        Some((column, form)) => {
            (format!("(nlDate(row.{}, '{form}')) as day, ", step(column)), format!("{part}, day, name"))
        }
        None => (String::new(), format!("{part}, name")),
    };
    map += &format!(
        "  row -> {bind}(stable(%namespace, {key})) as key, identity(%namespace, key), o.identifier = id(%namespace, key) \
         \"identity\";\n"
    );
    match day {
        Some((column, form)) => {
            map += &format!(
                "  row -> (nlDate(row.{0}, '{form}')) as day, o.effective = cast(day, 'dateTime'), sourceTime(day) \"when\";\n",
                step(column)
            );
        }
        None => {
            map += "  // TODO: no column says when: a second value of a patient would replace the first\n"
        }
    }
    map += "  row -> o.status = 'final' \"status\"; // TODO: does the sender export results that are not final?\n";
    map +=
        "  name -> o.code = cc(name) \"code\"; // TODO: a code of LOINC, SNOMED or a list of your own\n}\n";
    map
}

/// A code table that keeps every word as it is, for somebody to fill in.
fn codes(words: &BTreeSet<String>) -> String {
    let mut text = crate::codes::HEADER.join(",") + "\n";
    for word in words {
        let quoted = if word.contains([',', '"']) {
            format!("\"{}\"", word.replace('"', "\"\""))
        } else {
            word.clone()
        };
        text += &format!(",{quoted},{quoted},,,,noMap,TODO: find its code or leave it\n");
    }
    text
}

/// A column's name as that of a table and file.
fn table(column: &str) -> String {
    let name: String = column
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "column".to_owned() } else { name.to_owned() }
}

fn toml_text(text: &str) -> String {
    let escape = |c: char| match c {
        '\t' => "\\t".to_owned(),
        '"' | '\\' => format!("\\{c}"),
        c => c.to_string(),
    };
    let escaped: String = text.chars().map(escape).collect();
    format!("\"{escaped}\"")
}
