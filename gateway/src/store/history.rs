//! What a history asks of a store (FHIR R4 http.html#history): which versions, and from where its page goes on.

use crate::clock::Timestamp;
use crate::ids::ResourceType;

/// Which versions, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Of what.
    pub of: HistoryOf,
    /// Made at or after (`_since`).
    pub since: Option<Timestamp>,
    /// Current at some moment of `[low, high)` (`_at`).
    pub at: Option<(Timestamp, Timestamp)>,
    /// Made at or before: the moment of the first page, so that what others write meanwhile shifts no later page.
    pub until: Timestamp,
    /// Goes on after this one, in the order asked.
    pub after: Option<HistoryPlace>,
    /// Oldest first; else newest first.
    pub oldest_first: bool,
    /// At most.
    pub limit: u32,
}

/// Whose versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryOf {
    /// Of the resource with this row key.
    Row(i64),
    /// Of a type.
    Kind(ResourceType),
    /// Of these types; `None`: of every type.
    Kinds(Option<Vec<ResourceType>>),
}

/// Place of a version in the order of a history. A version keeps it when it is superseded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryPlace {
    /// When it was made.
    pub updated: Timestamp,
    /// Row key.
    pub key: i64,
    /// Version number.
    pub version: u32,
}
