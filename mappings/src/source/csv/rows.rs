//! Data rows -> nodes: shape checked, numbers read, rows of one key put together.

use std::collections::HashMap;

use super::{
    Options,
    cells::{Cell, Record},
};
use crate::{
    finding::{Finding, Severity},
    source::{NodeId, Symbol, Tree, Value, charset::Charset},
};

/// What reading the data rows needs to remember.
pub(super) struct Rows<'b> {
    bytes: &'b [u8],
    charset: Charset,
    decimal: char,
    columns: Vec<(Symbol, String, bool)>,
    group_by: Vec<usize>,
    groups: HashMap<Vec<String>, (NodeId, u32)>,
    /// The group of the row before: only adjacent rows stretch a group's bytes.
    last_group: Option<NodeId>,
    row: Symbol,
    group: Symbol,
    /// Data rows seen.
    pub(super) number: u32,
}

impl<'b> Rows<'b> {
    pub(super) fn new(
        bytes: &'b [u8],
        options: &Options,
        charset: Charset,
        columns: &[String],
        tree: &mut Tree,
    ) -> Self {
        Rows {
            bytes,
            charset,
            decimal: options.decimal,
            columns: columns
                .iter()
                .map(|name| (tree.intern(name), name.clone(), options.numbers.contains(name)))
                .collect(),
            group_by: columns
                .iter()
                .enumerate()
                .filter(|(_, name)| options.group_by.contains(name))
                .map(|(i, _)| i)
                .collect(),
            groups: HashMap::new(),
            last_group: None,
            row: tree.intern("row"),
            group: tree.intern("group"),
            number: 0,
        }
    }

    /// Adds one row. A returned `Fatal` ends the file; lesser findings were added to `findings`.
    pub(super) fn row(
        &mut self,
        tree: &mut Tree,
        findings: &mut Vec<Finding>,
        record: &Record,
    ) -> Option<Finding> {
        let path = format!("row[{}]", self.number);
        if let Some(fault) = &record.fault {
            let severity = if fault.ends_file { Severity::Fatal } else { Severity::Error };
            let finding = Finding::new(severity, fault.code, fault.text, fault.remedy);
            let finding = finding.at(path, record.span, record.line, 0);
            if fault.ends_file {
                return Some(finding);
            }
            findings.push(finding);
            return None;
        }
        if record.cells.len() != self.columns.len() {
            findings.push(
                Finding::new(
                    Severity::Error,
                    "row-ragged",
                    format!(
                        "The row has {} cells, the header {} columns.",
                        record.cells.len(),
                        self.columns.len()
                    ),
                    "Put a cell that holds the separator or a line break between double quotes.",
                )
                .at(path, record.span, record.line, 0),
            );
            return None;
        }
        // Spreadsheets end an export with lines of separators.
        if record.cells.iter().all(|c| c.text(self.bytes, self.charset).trim().is_empty()) {
            return None;
        }
        let (parent, ordinal) = self.parent(tree, record);
        let row = tree.push_ordinal(parent, self.row, Value::None, record.span, ordinal);
        tree.set_anchor(row, "row", self.number);
        for (cell, (symbol, name, is_number)) in record.cells.iter().zip(&self.columns) {
            let text = cell.text(self.bytes, self.charset);
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let value = match is_number.then(|| number(text, self.decimal)) {
                None => Value::Text(tree.keep(text)),
                Some(Ok(number)) => Value::Number(tree.keep(&number)),
                Some(Err((what, remedy))) => {
                    findings.push(
                        Finding::new(
                            Severity::Error,
                            "number-invalid",
                            format!("Column `{name}`: {what}."),
                            remedy,
                        )
                        .at(format!("{path}.{name}"), cell.span, record.line, 0)
                        .because(name),
                    );
                    Value::Text(tree.keep(text))
                }
            };
            tree.push_ordinal(row, *symbol, value, cell.span, 1);
        }
        None
    }

    fn parent(&mut self, tree: &mut Tree, record: &Record) -> (NodeId, u32) {
        if self.group_by.is_empty() {
            return (tree.root(), self.number);
        }
        let key: Vec<String> = self
            .group_by
            .iter()
            .filter_map(|&i| record.cells.get(i))
            .map(|cell: &Cell| cell.text(self.bytes, self.charset).trim().to_owned())
            .collect();
        let groups = self.groups.len() as u32;
        let root = tree.root();
        let symbol = self.group;
        let (group, rows) = self
            .groups
            .entry(key)
            .or_insert_with(|| (tree.push_ordinal(root, symbol, Value::None, record.span, groups + 1), 0));
        *rows += 1;
        if self.last_group == Some(*group) {
            tree.set_end(*group, record.span.end);
        }
        self.last_group = Some(*group);
        (*group, *rows)
    }
}

/// A decimal with a point. Only the agreed decimal sign is taken: `1.234` in a file with decimal commas may be a
/// thousand or a mistake, and which one it is decides over a treatment.
fn number(text: &str, decimal: char) -> Result<String, (&'static str, &'static str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !fraction.is_none_or(all_digits) {
        return Err(if text.contains(['.', ',']) {
            (
                "the value is no number with the agreed decimal sign",
                "Send decimals as agreed, without thousands separators.",
            )
        } else {
            ("the value is no number", "Send digits only; put remarks in a column of their own.")
        });
    }
    // FHIR decimals have no leading zeros (FHIR R4 datatypes.html#decimal).
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    Ok(match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    })
}
