//! From a CSV sample: an Observation per column that holds something measured or said, identity from the columns that say
//! who and when.

mod role;

use std::collections::BTreeSet;

use super::{Files, codes_header, head, literal, manifest, quoted, step};
use crate::case::excerpt::decode;
use crate::source::{Limits, csv};
use role::{Role, plain, role, units};

/// What a column is, by a word in its name, and the group of the library that knows its code and unit.
const KNOWN: [(&str, &str); 12] = [
    ("alsfrs", "lib/als has AlsfrsItem, AlsfrsSubscore and AlsfrsTotal"),
    ("fvc", "lib/als has LungFunction(value, 'fvc', o) and BodyPosition"),
    ("snip", "lib/als has LungFunction(value, 'snip', o)"),
    ("mip", "lib/als has LungFunction(value, 'mip', o)"),
    ("mep", "lib/als has LungFunction(value, 'mep', o)"),
    ("pcf", "lib/als has LungFunction(value, 'pcf', o)"),
    ("pco2", "lib/als has BloodGas(value, unit, 'pco2', sample, o)"),
    ("po2", "lib/als has BloodGas(value, unit, 'po2', sample, o)"),
    ("bicarb", "lib/als has BloodGas(value, unit, 'bicarbonate', sample, o)"),
    ("gewicht", "lib/als has BodyWeight(value, unit, o)"),
    ("stadium", "lib/als has AlsStage"),
    ("niv", "lib/als has NivSettings"),
];

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
    let mut roles: Vec<(&String, Role)> =
        columns.iter().map(|column| (column, role(column, &values(column)))).collect();
    units(&mut roles);
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
    let mut toml = manifest(id, sender, "csv", "", &format!("columns = [{}]\n", quoted.join(", ")));
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
    let unit_of = |column: &str| {
        roles
            .iter()
            .find(|(_, role)| matches!(role, Role::UnitOf(number) if number == column))
            .map(|(unit, _)| unit.as_str())
    };
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
            Role::UnitOf(number) => {
                map += &format!(
                    "  row.{source} as value -> use(value) {rule}; // the unit of `{number}`: see there\n"
                );
                continue;
            }
            Role::Time => {
                map += &format!(
                    "  row.{source} as value -> use(value) {rule}; // TODO: the time of day belongs to the date in Common\n"
                );
                continue;
            }
            Role::Professional => {
                map += &format!(
                    "  row.{source} as value -> use(value) {rule}; // TODO: the performer of which results? (ref('Practitioner', ...))\n"
                );
                continue;
            }
            Role::Number(_) if unit_of(column).is_some() => {
                let unit = unit_of(column).map(step).unwrap_or_default();
                format!("o.value = qty(value, (row.{unit}))")
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
        let todo = if *role == Role::Number(None) && unit_of(column).is_none() {
            "which code and unit?"
        } else {
            "which code?"
        };
        let name_of = plain(column);
        let known = KNOWN.iter().find(|(word, _)| name_of.split('_').any(|part| part.starts_with(word)));
        let todo = known.map_or(todo.to_owned(), |(_, group)| format!("{todo} {group}"));
        map += &format!(
            "  row.{source} as value -> create('Observation') as o then {{ // TODO: {todo}\n    row then Common(row, {name}, o) \
             \"common\";\n    value -> o.code = cc({name}), {value} \"value\";\n  }} {rule};\n"
        );
    }
    map += "}\n\n/// What every Observation of a row has in common. `name` is the column: part of its identity.\n";
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
    map += "  row -> o.status = 'final' \"status\"; // TODO: does the sender export results that are not final?\n}\n";
    map
}

/// A code table that keeps every word as it is, for somebody to fill in.
fn codes(words: &BTreeSet<String>) -> String {
    let mut text = codes_header();
    for word in words {
        let word = quoted(word);
        text += &format!(",{word},{word},,,,noMap,TODO: find its code or leave it\n");
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
