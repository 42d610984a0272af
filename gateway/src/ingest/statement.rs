//! What a sender last said about a resource: when, and with which content. Guards the order of documents, which arrive in
//! any order and more than once.

use serde::{Deserialize, Serialize};
use sluis_conformance::path::FhirDateTime;

use crate::ids::PartyKey;
use crate::store::{Reader, Shelf, StoreError, Writer, document};

/// The row kept beside a resource of the sender.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statement {
    /// FHIR `dateTime` the source gave its latest statement, as sent.
    pub source_time: Option<String>,
    /// Hash of the content last said; `None` while only corrections of it are here.
    pub content: Option<String>,
    /// Documents with a withdrawal of this resource, which has not arrived yet: their content addresses.
    #[serde(default)]
    pub waiting: Vec<String>,
    /// What the current version was made of.
    #[serde(default)]
    pub made: Option<Made>,
}

/// Document, part and mapping a version was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The version.
    pub version: u32,
    /// Content address of the document.
    pub sha256: String,
    /// Its notation.
    pub notation: String,
    /// Part of the document: `OBX[4]`.
    pub label: String,
    /// Which of the units of this label, from 0.
    pub ordinal: usize,
    /// `id|version` of the map; empty for R4.
    pub map: String,
    /// Content hash of the mapping; empty for R4.
    pub mapping: String,
}

/// What to do with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// It says something new.
    Apply,
    /// It says what is stored; `true` when its time is later, which is then remembered.
    Unchanged(bool),
    /// The sender said something later already.
    Stale,
}

impl Statement {
    /// The row of a resource; empty when there is none.
    pub fn get(reader: &mut dyn Reader, sender: PartyKey, resource: &str) -> Result<Statement, StoreError> {
        Ok(document::get(reader, Shelf::Statement, sender, resource)?.unwrap_or_default())
    }

    /// Keeps the row.
    pub fn put(&self, writer: &mut dyn Writer, sender: PartyKey, resource: &str) -> Result<(), StoreError> {
        document::put(writer, Shelf::Statement, sender, resource, self)
    }

    /// Whether a statement with this time and content follows this one.
    ///
    /// Without a time on both sides the order of arrival counts; at equal times, too (a correction within the second).
    pub fn order(&self, source_time: Option<&str>, content: &str) -> Order {
        let (old, new) = (moment(self.source_time.as_deref()), moment(source_time));
        let later = new > old;
        if self.content.as_deref() == Some(content) {
            return Order::Unchanged(later);
        }
        match (old, new) {
            (Some(old), Some(new)) if new < old => Order::Stale,
            _ => Order::Apply,
        }
    }
}

/// Start of a FHIR `dateTime`, microseconds UTC.
pub(super) fn moment(text: Option<&str>) -> Option<i64> {
    FhirDateTime::parse(text?).ok().map(|range| range.low_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_statement_never_follows_a_newer() {
        let stored = Statement {
            source_time: Some("2026-05-01T10:00:00+02:00".to_owned()),
            content: Some("a".to_owned()),
            waiting: Vec::new(),
            made: None,
        };
        assert_eq!(stored.order(Some("2026-05-01T07:59:59Z"), "b"), Order::Stale);
        assert_eq!(stored.order(Some("2026-05-01T08:00:00Z"), "b"), Order::Apply);
        assert_eq!(stored.order(Some("2026-05-01T08:00:01Z"), "a"), Order::Unchanged(true));
        assert_eq!(stored.order(Some("2026-04-01"), "a"), Order::Unchanged(false));
        assert_eq!(stored.order(None, "b"), Order::Apply);
        assert_eq!(Statement::default().order(Some("2020"), "b"), Order::Apply);
    }
}
