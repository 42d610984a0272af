//! What waits for mending: units (or whole documents) that could not be applied, with the reason, by sender.
//!
//! An entry refers to the original by content address; nothing of the patient's is in it. It goes when a replay or a resend
//! has applied it (the Provenance then tells where the resource came from), or is set aside by who may ([`super::discard`]).

pub mod list;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::digest::sha256_hex;
use super::note::Note;
use super::source::Notation;
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::response::refusal::{Reason, Refusal};
use crate::store::quarantine::{QuarantineQuery, QuarantineRow};
use crate::store::{StoreError, Writer};

/// Cause of a withdrawal whose original has not arrived.
pub const CORRECTION: &str = "correction-without-original";
/// Characters of a cause; a longer one is cut.
const CAUSE_CHARS_MAX: usize = 300;
/// Characters of a label as it is kept beside an entry; a longer one is cut and told apart by its hash.
const LABEL_CHARS_MAX: usize = 200;

/// What of one sender may wait at once. Past it nothing more is taken: what a sender does not mend would otherwise fill the
/// disk of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingLimits {
    /// Units.
    pub units: u64,
    /// Bytes of the originals they are of.
    pub bytes: u64,
}

impl Default for WaitingLimits {
    fn default() -> WaitingLimits {
        WaitingLimits { units: 100_000, bytes: 4 << 30 }
    }
}

/// One waiting unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Content address of the original.
    pub sha256: String,
    /// Notation of the original.
    pub notation: String,
    /// `OBX[4]`, `row[7]`; empty for the whole document.
    pub label: String,
    /// Which of the units of this label, from 0.
    pub ordinal: usize,
    /// What groups it with others.
    pub cause: String,
    /// Findings, with their places.
    pub notes: Vec<Note>,
    /// `id|version` of the map that was tried last; empty when there was none.
    pub map: String,
    /// First try of its document, microseconds since 1970.
    pub first_try: i64,
    /// Last try, microseconds since 1970.
    pub last_try: i64,
    /// Number of tries.
    pub tries: u32,
}

impl Entry {
    /// A new entry.
    pub fn new(
        sha256: &str,
        notation: Notation,
        label: &str,
        ordinal: usize,
        notes: Vec<Note>,
        map: &str,
        now: Timestamp,
    ) -> Entry {
        let cause = notes.iter().find(|note| note.is_error()).map_or("unknown", Note::cause);
        // A cause may repeat a code of the source, which may be anything.
        let plain = cause.chars().map(|c| if c.is_control() { ' ' } else { c });
        Entry {
            sha256: sha256.to_owned(),
            notation: notation.as_str().to_owned(),
            label: label.to_owned(),
            ordinal,
            cause: plain.take(CAUSE_CHARS_MAX).collect(),
            notes,
            map: map.to_owned(),
            first_try: now.0,
            last_try: now.0,
            tries: 1,
        }
    }

    /// The entry of a row. Errors: `Database` when it does not parse.
    pub fn of(row: &QuarantineRow) -> Result<Entry, StoreError> {
        serde_json::from_slice(&row.document)
            .map_err(|error| StoreError::Database(format!("a quarantine entry does not parse: {error}")))
    }

    fn row(&self, size: u64) -> Result<QuarantineRow, StoreError> {
        let document = serde_json::to_vec(self).map_err(|error| {
            StoreError::Database(format!("a quarantine entry does not serialise: {error}"))
        })?;
        Ok(QuarantineRow {
            sha256: self.sha256.clone(),
            label: label_key(&self.label),
            ordinal: ordinal_key(self.ordinal),
            cause: self.cause.clone(),
            map: self.map.clone(),
            first_try: Timestamp(self.first_try),
            last_try: Timestamp(self.last_try),
            size,
            document: document.into(),
            discard: None,
        })
    }
}

/// A label as it is kept: of a bounded length, without what a database refuses in a text.
pub(super) fn label_key(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARS_MAX && !label.contains(char::is_control) {
        return label.to_owned();
    }
    let head = label.chars().filter(|c| !c.is_control()).take(LABEL_CHARS_MAX / 2);
    format!("{}#{}", head.collect::<String>(), sha256_hex(label.as_bytes()))
}

fn ordinal_key(ordinal: usize) -> u32 {
    // A document has a bounded number of units.
    u32::try_from(ordinal).unwrap_or(u32::MAX)
}

/// What is kept of one document, as a turn of the writer finds it: looked up once.
#[derive(Debug, Default)]
pub(super) struct Held {
    rows: HashMap<(String, u32), QuarantineRow>,
}

impl Held {
    /// Of a document.
    pub(super) fn of(writer: &mut dyn Writer, sender: PartyKey, sha256: &str) -> Result<Held, StoreError> {
        let rows = writer.quarantine_units(sender, sha256)?;
        Ok(Held { rows: rows.into_iter().map(|row| ((row.label.clone(), row.ordinal), row)).collect() })
    }

    /// Whether anything of it was set aside.
    pub(super) fn any_discarded(&self) -> bool {
        self.rows.values().any(|row| row.discard.is_some())
    }

    /// That a unit was set aside, alone or with its whole document; the document itself for an empty label.
    pub(super) fn discarded(&self, label: &str, ordinal: usize) -> Option<Discard> {
        let of = |label: &str, ordinal| {
            let row = self.rows.get(&(label_key(label), ordinal_key(ordinal)))?;
            Discard::of(row)
        };
        of("", 0).or_else(|| of(label, ordinal))
    }

    fn waiting(&self, label: &str, ordinal: usize) -> Option<&QuarantineRow> {
        let row = self.rows.get(&(label_key(label), ordinal_key(ordinal)))?;
        Some(row).filter(|row| row.discard.is_none())
    }

    /// Keeps entries of the document, whose original has `size` bytes; of one tried before, the first try stays. `limits`:
    /// none for a replay, which is no new load.
    ///
    /// Errors: the store's own, and `QuarantineFull`.
    pub(super) fn keep(
        &self,
        writer: &mut dyn Writer,
        sender: PartyKey,
        entries: Vec<Entry>,
        size: u64,
        limits: Option<WaitingLimits>,
    ) -> Result<(), StoreError> {
        let new = entries.iter().filter(|entry| self.waiting(&entry.label, entry.ordinal).is_none()).count();
        if let Some(limits) = limits.filter(|_| new > 0) {
            let query = QuarantineQuery { sender, discarded: false, cause: None };
            let units = writer.quarantine_depth(query)?.units.saturating_add(new as u64);
            if units > limits.units {
                let limit = limits.units;
                return Err(full(format!(
                    "With it {units} of its units would wait for mending; {limit} may."
                )));
            }
            let known = self.rows.values().any(|row| row.discard.is_none());
            let bytes = if known { 0 } else { writer.quarantine_bytes(query)?.saturating_add(size) };
            if bytes > limits.bytes {
                let limit = limits.bytes;
                return Err(full(format!(
                    "With it {bytes} bytes of documents would wait for mending; {limit} may."
                )));
            }
        }
        let first_try = self.rows.values().map(|row| row.first_try).min();
        for mut entry in entries {
            if let Some(earlier) = self.waiting(&entry.label, entry.ordinal) {
                entry.tries = Entry::of(earlier)?.tries.saturating_add(1);
            }
            entry.first_try = first_try.map_or(entry.first_try, |first| first.0);
            writer.quarantine_put(sender, &entry.row(size)?)?;
        }
        Ok(())
    }

    /// Takes the waiting entry of an applied unit away.
    pub(super) fn release(
        &self,
        writer: &mut dyn Writer,
        sender: PartyKey,
        label: &str,
        ordinal: usize,
    ) -> Result<(), StoreError> {
        if let Some(row) = self.waiting(label, ordinal) {
            writer.quarantine_remove(sender, &row.sha256, &row.label, row.ordinal)?;
        }
        Ok(())
    }
}

fn full(text: String) -> StoreError {
    StoreError::Refused(Box::new(Refusal::new(Reason::QuarantineFull, text)))
}

/// That a unit was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discard {
    /// When, microseconds since 1970.
    pub at: i64,
    /// The client.
    pub client: String,
    /// The role of the policy.
    pub role: String,
    /// Why, as given.
    pub reason: String,
}

impl Discard {
    /// As kept beside the unit.
    pub fn text(&self) -> String {
        // Texts and a number: nothing here fails to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Of a unit that was set aside; one that does not parse is set aside all the same.
    pub fn of(row: &QuarantineRow) -> Option<Discard> {
        let unknown = || Discard { at: 0, client: String::new(), role: String::new(), reason: String::new() };
        row.discard.as_deref().map(|text| serde_json::from_str(text).unwrap_or_else(|_| unknown()))
    }

    /// What a sender is told who sends it again.
    pub(super) fn note(&self) -> Note {
        let day = Timestamp(self.at).to_instant();
        let day = day.get(..10).unwrap_or_default();
        Note::new(
            "error",
            "discarded",
            format!("This was set aside on {day} and is not applied: {}", self.reason),
            "Have it taken back ([base]/$discard with undo=true), then replay, where it is to be applied after all; \
             or send what is right as another document.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_strange_label_is_kept_short_and_apart() {
        assert_eq!(label_key("OBX[4]"), "OBX[4]");
        let (one, two) = (label_key(&"x".repeat(5_000)), label_key(&"x".repeat(5_001)));
        assert!(one != two && one.len() < 200, "{one}");
        assert!(label_key("a\u{0}b") != label_key("ab") && !label_key("a\u{0}b").contains('\u{0}'));
    }

    #[test]
    fn a_cause_is_bounded_and_plain() {
        let mut note = Note::new("error", "code-unmapped", "x", "y");
        note.cause = Some(format!("code-unmapped:a\u{0}b{}", "c".repeat(1_000)));
        let entry = Entry::new(&"a".repeat(64), Notation::R4, "row[1]", 0, vec![note], "", Timestamp(0));
        assert_eq!(entry.cause.chars().count(), CAUSE_CHARS_MAX);
        assert!(entry.cause.starts_with("code-unmapped:a b"));
    }
}
