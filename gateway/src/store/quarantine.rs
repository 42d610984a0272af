//! What waits for mending, as a store keeps it: units by document in order of arrival and by cause, and those that were set
//! aside for good. What is in an entry is for `ingest` to say.

use bytes::Bytes;

use super::StoreError;
use crate::clock::Timestamp;
use crate::ids::PartyKey;

/// One unit of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Content address of the original, 64 hexadecimal digits.
    pub sha256: String,
    /// Which part of it, a text of bounded length; empty for the whole document.
    pub label: String,
    /// Which of the units of this label, from 0.
    pub ordinal: u32,
    /// What groups it with others, likewise and never empty.
    pub cause: String,
    /// `id|version` of the map that was tried last; empty when there was none.
    pub map: String,
    /// When its document was first kept: one moment for all units of a document.
    pub first_try: Timestamp,
    /// Last try.
    pub last_try: Timestamp,
    /// Bytes of the original.
    pub size: u64,
    /// The entry.
    pub document: Bytes,
    /// That it was set aside, by whom and why; `None` while it waits.
    pub discard: Option<String>,
}

/// Which units are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineQuery<'q> {
    /// Owner.
    pub sender: PartyKey,
    /// Those set aside instead of those that wait.
    pub discarded: bool,
    /// Of this cause only.
    pub cause: Option<&'q str>,
}

/// A document of which units are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineDocument {
    /// When it was first kept.
    pub first_try: Timestamp,
    /// Content address.
    pub sha256: String,
    /// Its units among those asked for.
    pub units: u64,
}

/// Units of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineCause {
    /// The cause.
    pub cause: String,
    /// Units.
    pub units: u64,
    /// Documents they are of.
    pub documents: u64,
    /// First try of the oldest.
    pub first_try: Timestamp,
    /// Last try of any.
    pub last_try: Timestamp,
}

/// How much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantineDepth {
    /// Units.
    pub units: u64,
    /// Causes.
    pub causes: u64,
    /// First try of the one that waits longest; `None` when nothing waits.
    pub oldest: Option<Timestamp>,
}

/// Reading what waits. Every list is bounded by its limit or by one document.
pub trait QuarantineReader {
    /// All units of a document, waiting and set aside, in order of label.
    fn quarantine_units(&mut self, sender: PartyKey, sha256: &str) -> Result<Vec<QuarantineRow>, StoreError>;

    /// The first unit of a cause in order of arrival.
    fn quarantine_example(&mut self, query: QuarantineQuery<'_>)
    -> Result<Option<QuarantineRow>, StoreError>;

    /// Documents in order of arrival, from `after` (exclusive: first try and content address), at most `limit`; and how many
    /// there are after these.
    fn quarantine_documents(
        &mut self,
        query: QuarantineQuery<'_>,
        after: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<(Vec<QuarantineDocument>, u64), StoreError>;

    /// Causes, the most frequent first, from `after` (exclusive: units and cause), at most `limit`.
    fn quarantine_causes(
        &mut self,
        query: QuarantineQuery<'_>,
        after: Option<(u64, &str)>,
        limit: u32,
    ) -> Result<Vec<QuarantineCause>, StoreError>;

    /// Maps that were tried on a cause last, at most `limit`.
    fn quarantine_maps(&mut self, query: QuarantineQuery<'_>, limit: u32) -> Result<Vec<String>, StoreError>;

    /// How much there is.
    fn quarantine_depth(&mut self, query: QuarantineQuery<'_>) -> Result<QuarantineDepth, StoreError>;

    /// Bytes of the originals, each once.
    fn quarantine_bytes(&mut self, query: QuarantineQuery<'_>) -> Result<u64, StoreError>;
}

/// Changing what waits, in the one transaction of a `work`.
pub trait QuarantineWriter: QuarantineReader {
    /// Keeps a unit that waits; replaces the one of the same place, unless that was set aside.
    fn quarantine_put(&mut self, sender: PartyKey, row: &QuarantineRow) -> Result<(), StoreError>;

    /// Takes a waiting unit away; whether there was one.
    fn quarantine_remove(
        &mut self,
        sender: PartyKey,
        sha256: &str,
        label: &str,
        ordinal: u32,
    ) -> Result<bool, StoreError>;

    /// Sets the waiting units of a document aside (`discard` says by whom and why), or lets those set aside wait again
    /// (`None`): of one cause, or of one label, where they are named. How many.
    fn quarantine_discard(
        &mut self,
        sender: PartyKey,
        sha256: &str,
        cause: Option<&str>,
        label: Option<&str>,
        discard: Option<&str>,
    ) -> Result<u64, StoreError>;
}
