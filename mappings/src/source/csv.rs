//! Spreadsheet exports: one header line, one row per line.
//!
//! Bytes -> [`Tree`]: root `file`, one `row` per data row (ordinal and path by data row number: `row[7].code`), one leaf
//! per filled column, named as in the header. With `group_by`, rows that agree in those columns stand together under
//! `group`. Findings carry the physical line. A row whose shape is wrong is an `Error` and not in the tree; the rest
//! goes on.
//!
//! Does not know what columns mean, apart from which hold numbers. Source: RFC 4180, with the separators and encodings
//! Dutch spreadsheets write.

#![expect(clippy::result_large_err, reason = "made once per document, on the way to its refusal")]

mod cells;
mod rows;

use std::collections::BTreeMap;

use serde::Deserialize;

use self::{
    cells::{Record, Records},
    rows::Rows,
};
use super::{Facts, Format, Limits, Parsed, Span, Tree, charset::Charset, locate::Lines};
use crate::{
    finding::{Finding, Severity},
    output::Coverage,
};

/// How one sender writes its files: `[csv]` in `mapping.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Between cells; one ASCII character, `;` by default.
    pub separator: char,
    /// IANA name: `utf-8` (with or without BOM), `windows-1252`, `iso-8859-15`, `iso-8859-1`, `us-ascii`.
    pub encoding: String,
    /// Before decimals: `,` by default.
    pub decimal: char,
    /// Columns that hold numbers; they reach the map with a decimal point.
    pub numbers: Vec<String>,
    /// Columns whose values make rows one `group`; empty for no groups.
    pub group_by: Vec<String>,
    /// Other headers of a column, by its name: exports differ in them and mean the same. Upper and lower case do not count.
    pub aliases: BTreeMap<String, Vec<String>>,
}

impl Options {
    /// The name of a column whose header is this: its own, or the one it is an alias of.
    pub fn canonical<'n>(&'n self, header: &'n str) -> &'n str {
        let same = |other: &String| other.to_lowercase() == header.to_lowercase();
        self.aliases.iter().find(|(_, others)| others.iter().any(same)).map_or(header, |(name, _)| name)
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            separator: ';',
            encoding: "utf-8".to_owned(),
            decimal: ',',
            numbers: Vec::new(),
            group_by: Vec::new(),
            aliases: BTreeMap::new(),
        }
    }
}

/// Reads one file.
///
/// Total: any bytes give a tree. `Fatal`: encoding unknown or contradicted, no header, a column twice or without a
/// name, a configured column absent, a quoted cell never closed, limits. `Error`, for that row: number of cells, NUL
/// bytes, text after a closing quote, a number that is none.
pub fn parse(bytes: &[u8], options: &Options, limits: Limits) -> Parsed {
    let mut parsed = Parsed {
        tree: Tree::new("file", bytes.len()),
        findings: Vec::new(),
        facts: Facts::new(Format::Csv),
        coverage: Coverage::default(),
    };
    let refusal = match limits.refuse_length(bytes) {
        Some(refusal) => Some(refusal),
        None => read(bytes, options, limits, &mut parsed).err(),
    };
    parsed.findings.extend(refusal);
    // A finding about one cell gets the place of the cell: a quoted cell before it may hold line breaks.
    let lines = Lines::new(Format::Csv, bytes);
    for finding in parsed.findings.iter_mut().filter(|f| f.path.contains('.')) {
        (finding.line, finding.column) = lines.locate(finding.span);
    }
    parsed
}

/// Column names of a file whose options are not known yet: the separator is the one its first line has most of. Enough
/// to choose a mapping folder.
pub fn facts(bytes: &[u8]) -> Facts {
    let charset = if std::str::from_utf8(bytes).is_ok() { Charset::Utf8 } else { Charset::Windows1252 };
    let line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let separator = [b';', b',', b'\t', b'|']
        .into_iter()
        .max_by_key(|s| (line.iter().filter(|b| *b == s).count(), std::cmp::Reverse(*s)))
        .unwrap_or(b';');
    let header = Records::new(bytes, separator).next();
    let cells = header.map(|h| h.cells).unwrap_or_default();
    let columns = cells.iter().map(|c| c.text(bytes, charset).trim().to_owned()).collect();
    Facts { columns, charset: Some(charset.label().to_owned()), ..Facts::new(Format::Csv) }
}

fn read(bytes: &[u8], options: &Options, limits: Limits, parsed: &mut Parsed) -> Result<(), Finding> {
    let charset = charset(bytes, options)?;
    parsed.facts.charset = Some(charset.label().to_owned());
    let separator = u8::try_from(options.separator).ok().filter(u8::is_ascii).ok_or_else(|| {
        fatal(
            "csv-options",
            "The separator is no ASCII character.",
            "Correct [csv] separator in mapping.toml.",
        )
    })?;
    let mut records = Records::new(bytes, separator);
    let header = records.next().ok_or_else(|| {
        fatal("header-missing", "The file is empty.", "Send the file with its header line.").at(
            "",
            Span::default(),
            1,
            1,
        )
    })?;
    let columns = columns(bytes, &header, charset, options)?;
    parsed.facts.columns = columns.clone();
    for wanted in options.numbers.iter().chain(&options.group_by) {
        if !columns.contains(wanted) {
            return Err(fatal(
                "column-missing",
                format!("Column `{wanted}` is not in the header."),
                "Send the columns agreed on, or correct [csv] in mapping.toml.",
            )
            .at("", header.span, header.line, 0)
            .because(wanted));
        }
    }
    let mut rows = Rows::new(bytes, options, charset, &columns, &mut parsed.tree);
    for record in records {
        rows.number += 1;
        if let Some(finding) = rows.row(&mut parsed.tree, &mut parsed.findings, &record)
            && finding.severity == Severity::Fatal
        {
            return Err(finding);
        }
        if parsed.tree.len() > limits.nodes_max as usize {
            return Err(limits.refuse_nodes());
        }
    }
    Ok(())
}

fn charset(bytes: &[u8], options: &Options) -> Result<Charset, Finding> {
    let charset = Charset::from_label(&options.encoding).ok_or_else(|| {
        fatal(
            "charset-unknown",
            "The encoding in mapping.toml is not supported.",
            "Write utf-8, windows-1252, iso-8859-15, iso-8859-1 or us-ascii in [csv] encoding.",
        )
    })?;
    charset.check(bytes).map_err(|contradiction| {
        let line = 1 + bytes.iter().take(contradiction.at).filter(|&&b| b == b'\n').count() as u32;
        fatal(
            "charset-contradicted",
            format!(
                "Byte {} contradicts the encoding {}: {}.",
                contradiction.at,
                charset.label(),
                contradiction.why
            ),
            "Export the file in the agreed encoding, or agree on another in [csv] encoding.",
        )
        .at("", Span { start: contradiction.at as u32, end: contradiction.at as u32 + 1 }, line, 0)
    })?;
    Ok(charset)
}

fn columns(
    bytes: &[u8],
    header: &Record,
    charset: Charset,
    options: &Options,
) -> Result<Vec<String>, Finding> {
    if let Some(fault) = &header.fault {
        return Err(fatal(fault.code, fault.text, "Send the header line as plain names.").at(
            "",
            header.span,
            header.line,
            0,
        ));
    }
    let name = |header: &str| options.canonical(header.trim()).to_owned();
    let names: Vec<String> = header.cells.iter().map(|c| name(&c.text(bytes, charset))).collect();
    for (i, (name, cell)) in names.iter().zip(&header.cells).enumerate() {
        let at = |finding: Finding| {
            let (line, column) = Lines::new(Format::Csv, bytes).locate(cell.span);
            finding.at(name.clone(), cell.span, line, column)
        };
        if name.is_empty() {
            return Err(at(fatal(
                "column-unnamed",
                format!("Column {} has no name.", i + 1),
                "Name every column in the header line.",
            )));
        }
        if names.iter().take(i).any(|earlier| earlier == name) {
            return Err(at(fatal(
                "column-duplicate",
                format!("Column `{name}` stands in the header twice."),
                "Give each column its own name; an alias in mapping.toml may be why two are one.",
            )
            .because(name)));
        }
    }
    Ok(names)
}

fn fatal(code: &'static str, text: impl Into<String>, remedy: &str) -> Finding {
    Finding::new(Severity::Fatal, code, text, remedy)
}

#[cfg(test)]
mod tests;
