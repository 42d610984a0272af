//! Code tables: what a sender's code is in the codes the gateway shares.
//!
//! `codes/<name>.csv` with the header [`HEADER`], edited in a spreadsheet, or a ConceptMap (`.json`, `.xml`), becomes a [`CodeTable`] with constant-time
//! lookup. A table says what translates; what happens to a code that does not is the policy of the folder and the map.

mod concept_map;
pub mod fill;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Deserialize;

use crate::folder::Diagnostic;

/// The columns of a code table, in this order.
pub const HEADER: [&str; 8] = [
    "system",
    "code",
    "display",
    "target_system",
    "target_code",
    "target_display",
    "relationship",
    "comment",
];

/// How the target relates to the source code. R4 `ConceptMap` words, seen from the source: `wider` means the target is
/// the wider one. Source: FHIR R4 valueset-concept-map-equivalence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relationship {
    /// The very same code.
    Equal,
    /// Another code of the same meaning.
    Equivalent,
    /// The target says less than the source: true, though less precise.
    Wider,
    /// The target says more than the source did: only where the table allows it.
    Narrower,
    /// They overlap: only where the table allows it.
    Inexact,
    /// Somebody looked: there is no equivalent.
    #[serde(rename = "noMap")]
    NoMap,
}

impl Relationship {
    fn parse(text: &str) -> Option<Relationship> {
        Some(match text {
            "equal" => Relationship::Equal,
            "equivalent" => Relationship::Equivalent,
            "wider" => Relationship::Wider,
            "narrower" => Relationship::Narrower,
            "inexact" => Relationship::Inexact,
            "noMap" => Relationship::NoMap,
            _ => return None,
        })
    }

    /// As a code table spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Relationship::Equal => "equal",
            Relationship::Equivalent => "equivalent",
            Relationship::Wider => "wider",
            Relationship::Narrower => "narrower",
            Relationship::Inexact => "inexact",
            Relationship::NoMap => "noMap",
        }
    }

    /// Whether it translates without being asked to: nothing is added to what the source said.
    pub fn is_safe(self) -> bool {
        matches!(self, Relationship::Equal | Relationship::Equivalent | Relationship::Wider)
    }
}

/// One line of a code table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Code system as the source names it (`99ALS`, `L`, a column's own); empty where it names none.
    pub system: String,
    /// Code as the source sends it.
    pub code: String,
    /// What the source calls it.
    pub display: String,
    /// Canonical of the target's code system; empty for targets of type `code`.
    pub target_system: String,
    /// Target code; empty for `noMap`.
    pub target_code: String,
    /// Target's display.
    pub target_display: String,
    /// How they relate.
    pub relationship: Relationship,
    /// For whoever signs the table off.
    pub comment: String,
    /// Physical line in the file.
    pub line: u32,
}

/// What a table says about a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'t> {
    /// It translates.
    Mapped(&'t Row),
    /// Explicitly no equivalent: keep the original, nothing to report.
    NoMap,
    /// Not in the table, or only by a relationship the table may not use.
    Unmapped,
}

/// A code table, ready for lookups. Its rows are shared by all copies of it.
#[derive(Debug, Clone, Default)]
pub struct CodeTable {
    /// Name in `mapping.toml`, as used by `translate`.
    pub name: String,
    rows: Arc<Vec<Row>>,
    allowed: Vec<Relationship>,
    /// Whether a code without a system is looked for in every system, as `$translate` of a ConceptMap does.
    any_system: bool,
    by_code: Arc<ByCode>,
}

/// Places of rows, by system and code.
type ByCode = HashMap<String, HashMap<String, usize, RandomState>, RandomState>;

/// All tables of a folder, by name.
pub type CodeTables = BTreeMap<String, CodeTable>;

impl CodeTable {
    /// Reads `file` (path as in `mapping.toml`, for messages). `allowed` adds `narrower` or `inexact` to what translates.
    ///
    /// Errors: every line that is wrong: encoding, columns, relationship, a source code twice, a target missing or
    /// superfluous.
    pub fn load(
        name: &str,
        file: &str,
        bytes: &[u8],
        allowed: &[Relationship],
    ) -> Result<CodeTable, Vec<Diagnostic>> {
        if file.ends_with(".json") || file.ends_with(".xml") {
            return CodeTable::from_concept_map(name, file, bytes, allowed);
        }
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(true)
            .from_reader(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes));
        let mut errors = Vec::new();
        let mut table =
            CodeTable { name: name.to_owned(), allowed: allowed.to_vec(), ..CodeTable::default() };
        match reader.headers() {
            Ok(header) if header.iter().eq(HEADER) => {}
            Ok(_) => {
                return Err(vec![Diagnostic::new(
                    file,
                    1,
                    "the header is not that of a code table",
                    format!("write `{}`", HEADER.join(",")),
                )]);
            }
            Err(error) => return Err(vec![unreadable(file, &error)]),
        }
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    errors.push(unreadable(file, &error));
                    continue;
                }
            };
            let line = record.position().map_or(0, |p| u32::try_from(p.line()).unwrap_or(u32::MAX));
            match row(&record, line) {
                Ok(row) => table.add(row, file, &mut errors),
                Err((cell, message, remedy)) => {
                    let (column, width) = cell_at(bytes, line, cell);
                    errors.push(Diagnostic::new(file, line, message, remedy).at(column, width));
                }
            }
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    fn add(&mut self, row: Row, file: &str, errors: &mut Vec<Diagnostic>) {
        let codes = Arc::make_mut(&mut self.by_code).entry(row.system.clone()).or_default();
        if let Some(earlier) = codes.get(&row.code).and_then(|&at| self.rows.get(at)) {
            errors.push(Diagnostic::new(
                file,
                row.line,
                format!(
                    "code `{}` of system `{}` stands in line {} already",
                    row.code, row.system, earlier.line
                ),
                "keep one of the two",
            ));
            return;
        }
        codes.insert(row.code.clone(), self.rows.len());
        Arc::make_mut(&mut self.rows).push(row);
    }

    /// What the table says about a code; `system` as the source names it, empty when it names none.
    pub fn lookup(&self, system: &str, code: &str) -> Lookup<'_> {
        let at = self.by_code.get(system).and_then(|codes| codes.get(code)).copied();
        let found = at.or_else(|| self.in_any_system(system, code)).and_then(|at| self.rows.get(at));
        match found {
            Some(row) if row.relationship == Relationship::NoMap => Lookup::NoMap,
            Some(row) if row.relationship.is_safe() || self.allowed.contains(&row.relationship) => {
                Lookup::Mapped(row)
            }
            _ => Lookup::Unmapped,
        }
    }

    /// The row for a code that came without a system, where only one system has it.
    fn in_any_system(&self, system: &str, code: &str) -> Option<usize> {
        if !self.any_system || !system.is_empty() {
            return None;
        }
        let mut found = self.by_code.values().filter_map(|codes| codes.get(code));
        let only = found.next().copied();
        only.filter(|_| found.next().is_none())
    }

    /// Takes in the rows of another table for codes this one says nothing of.
    pub(crate) fn extend(&mut self, other: &CodeTable) {
        let (rows, by_code) = (Arc::make_mut(&mut self.rows), Arc::make_mut(&mut self.by_code));
        for row in other.rows() {
            let codes = by_code.entry(row.system.clone()).or_default();
            if !codes.contains_key(&row.code) {
                codes.insert(row.code.clone(), rows.len());
                rows.push(row.clone());
            }
        }
    }

    /// Every row, in file order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// Errors: the cell concerned, what is wrong with it, what to do.
fn row(record: &csv::StringRecord, line: u32) -> Result<Row, (usize, String, String)> {
    let cell = |i: usize| record.get(i).unwrap_or_default().trim().to_owned();
    let word = cell(6);
    let relationship = Relationship::parse(&word).ok_or_else(|| {
        let words = ["equal", "equivalent", "wider", "narrower", "inexact", "noMap"];
        let near = crate::fml::nearest(&word, words);
        (
            6,
            format!("`{word}` is no relationship"),
            format!("{near} (equal, equivalent, wider, narrower, inexact or noMap)").trim_start().to_owned(),
        )
    })?;
    let row = Row {
        system: cell(0),
        code: cell(1),
        display: cell(2),
        target_system: cell(3),
        target_code: cell(4),
        target_display: cell(5),
        relationship,
        comment: cell(7),
        line,
    };
    if row.code.is_empty() && row.relationship != Relationship::NoMap {
        return Err((1, "the row has no source code".to_owned(), "fill the column `code`".to_owned()));
    }
    if row.target_code.is_empty() != (relationship == Relationship::NoMap) {
        return Err((
            4,
            format!("`{word}` with{} target code", if row.target_code.is_empty() { "out" } else { "" }),
            "give a target code, or `noMap` and none".to_owned(),
        ));
    }
    Ok(row)
}

/// Column and width, in characters, of a cell of a line; quotes respected.
fn cell_at(bytes: &[u8], line: u32, cell: usize) -> (u32, u32) {
    let text = bytes.split(|&b| b == b'\n').nth((line as usize).saturating_sub(1)).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let (mut at, mut quoted, mut begin, mut width) = (0, false, 0, 0);
    for (place, character) in text.trim_end_matches('\r').chars().enumerate() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                at += 1;
                begin = if at == cell { place as u32 + 1 } else { begin };
                continue;
            }
            _ => {}
        }
        width += u32::from(at == cell);
    }
    (begin + 1, width.max(1))
}

fn unreadable(file: &str, error: &csv::Error) -> Diagnostic {
    let line = error.position().map_or(0, |p| u32::try_from(p.line()).unwrap_or(u32::MAX));
    let message = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the line is not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { len, .. } => format!("the line has {len} cells, the header 8"),
        _ => "the line cannot be read".to_owned(),
    };
    Diagnostic::new(
        file,
        line,
        message,
        "save the table as CSV, UTF-8, with commas, and quote cells that hold commas",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    const TABLE: &str = "system,code,display,target_system,target_code,target_display,relationship,comment\n\
        99ALS,FVC,FVC liggend,http://loinc.org,19868-9,Forced vital capacity,wider,position is lost\n\
        99ALS,FVC_L,\"FVC, liter\",http://loinc.org,19868-9,Forced vital capacity,equivalent,\n\
        99ALS,TEKST,,,,,noMap,free text\n\
        99ALS,VC,,http://loinc.org,19868-9,,narrower,\n";

    fn load(text: &str, allowed: &[Relationship]) -> Result<CodeTable, Vec<Diagnostic>> {
        CodeTable::load("loinc", "codes/loinc.csv", text.as_bytes(), allowed)
    }

    #[test]
    fn safe_relationships_translate_and_others_only_when_allowed() {
        let table = load(TABLE, &[]).unwrap();
        assert!(matches!(table.lookup("99ALS", "FVC"), Lookup::Mapped(r) if r.target_code == "19868-9"));
        assert!(matches!(table.lookup("99ALS", "FVC_L"), Lookup::Mapped(r) if r.display == "FVC, liter"));
        assert_eq!(table.lookup("99ALS", "TEKST"), Lookup::NoMap);
        assert_eq!(table.lookup("99ALS", "VC"), Lookup::Unmapped);
        assert_eq!(table.lookup("L", "FVC"), Lookup::Unmapped);
        let table = load(TABLE, &[Relationship::Narrower]).unwrap();
        assert!(matches!(table.lookup("99ALS", "VC"), Lookup::Mapped(_)));
    }

    #[test]
    fn a_source_code_twice_is_refused_with_both_lines() {
        let errors = load(&format!("{TABLE}99ALS,FVC,,s,other,,equal,\n"), &[]).unwrap_err();
        assert_eq!(errors.len(), 1);
        let error = errors.first().unwrap();
        assert_eq!((error.line, error.file.as_str()), (6, "codes/loinc.csv"));
        assert!(error.message.contains("line 2"), "{error}");
    }

    #[test]
    fn every_faulty_line_is_named() {
        let text = format!("{}\na,b,,s,c,,same,\na,d,,,,,equal,\na,e,,s,x,,noMap,\na,f\n", HEADER.join(","));
        let lines: Vec<u32> = load(&text, &[]).unwrap_err().iter().map(|e| e.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
    }

    #[test]
    fn another_header_is_refused() {
        assert_eq!(load("code,display\na,b\n", &[]).unwrap_err().len(), 1);
        assert!(load("", &[]).is_err());
    }
}
