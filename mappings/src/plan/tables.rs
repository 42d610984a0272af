//! Code tables written inside a map (`conceptmap "#name" { ... }`).

use std::collections::HashMap;

use crate::codes::{Lookup, Relationship, Row};
use crate::fml::ConceptMap;

/// A contained concept map, ready for lookups.
#[derive(Debug, Clone, Default)]
pub(crate) struct InlineTable {
    rows: HashMap<(String, String), Row>,
}

impl InlineTable {
    /// Errors: the relation that is not supported.
    pub(crate) fn new(map: &ConceptMap) -> Result<InlineTable, String> {
        let mut table = InlineTable::default();
        for row in &map.rows {
            let relationship = match row.relation.as_str() {
                "-" | "==" => Relationship::Equivalent,
                "=" => Relationship::Equal,
                "<=" => Relationship::Wider,
                "!=" => Relationship::NoMap,
                other => return Err(other.to_owned()),
            };
            let (target_system, target_code) = row.target.clone().unwrap_or_default();
            let made = Row {
                system: row.source.0.clone(),
                code: row.source.1.clone(),
                display: String::new(),
                target_system,
                target_code,
                target_display: String::new(),
                relationship,
                comment: String::new(),
                line: map.place.line,
            };
            table.rows.insert(row.source.clone(), made);
        }
        Ok(table)
    }

    /// Every row, in no order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// A row for the code; a source without system matches a row of any one system.
    pub(crate) fn lookup(&self, system: &str, code: &str) -> Lookup<'_> {
        let exact = self.rows.get(&(system.to_owned(), code.to_owned()));
        let mut any = self.rows.iter().filter(|((_, c), _)| c == code).map(|(_, row)| row);
        let row = exact.or_else(|| match (system.is_empty(), any.next(), any.next()) {
            (true, Some(row), None) => Some(row),
            _ => None,
        });
        match row {
            Some(row) if row.relationship == Relationship::NoMap => Lookup::NoMap,
            Some(row) => Lookup::Mapped(row),
            None => Lookup::Unmapped,
        }
    }
}
