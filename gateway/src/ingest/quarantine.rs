//! What waits for mending: units (or whole documents) that could not be applied, with the reason, by sender.
//!
//! An entry refers to the original by content address; nothing of the patient's is in it. It leaves the shelf when a replay
//! or a resend has applied it; the Provenance then tells where the resource came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::note::Note;
use super::source::Notation;
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, Shelf, StoreError, Writer};

/// Entries read from the shelf at once.
const PAGE: u32 = 500;
/// Groups shown in one list.
const CAUSES_MAX: usize = 200;
/// Units of one sender that may wait at once. Past it nothing more is taken: what a sender does not mend would otherwise
/// fill the disk of all.
pub const WAITING_MAX: u64 = 100_000;
/// Key of the number of entries of a sender; a listing begins after it.
const COUNT: &str = "";
/// Cause of a withdrawal whose original has not arrived.
pub const CORRECTION: &str = "correction-without-original";

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
    /// First try, microseconds since 1970.
    pub first_try: i64,
    /// Last try, microseconds since 1970.
    pub last_try: i64,
    /// Number of tries.
    pub tries: u32,
    /// Where it stands: always `waiting` on the shelf.
    pub state: String,
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
        let cause = notes.iter().find(|note| note.is_error()).map_or("unknown", Note::cause).to_owned();
        Entry {
            sha256: sha256.to_owned(),
            notation: notation.as_str().to_owned(),
            label: label.to_owned(),
            ordinal,
            cause,
            notes,
            map: map.to_owned(),
            first_try: now.0,
            last_try: now.0,
            tries: 1,
            state: "waiting".to_owned(),
        }
    }

    fn key(&self) -> String {
        key(&self.sha256, &self.label, self.ordinal)
    }

    /// Keeps it; of an entry tried before, the first try stays. `more` says whether it may be one more past the limit.
    ///
    /// Errors: the store's own, and `QuarantineFull`.
    pub fn keep(mut self, writer: &mut dyn Writer, sender: PartyKey, more: bool) -> Result<(), StoreError> {
        if let Some(bytes) = writer.shelf_get(Shelf::Quarantine, sender, &self.key())? {
            let earlier = read(&bytes)?;
            self.first_try = earlier.first_try;
            self.tries = earlier.tries.saturating_add(1);
        } else {
            let waiting = count(writer, sender)?;
            if waiting >= WAITING_MAX && !more {
                let text = format!("{waiting} of its units wait for mending, and {WAITING_MAX} may.");
                return Err(StoreError::Refused(Box::new(Refusal::new(Reason::QuarantineFull, text))));
            }
            put_count(writer, sender, waiting.saturating_add(1))?;
        }
        let bytes = serde_json::to_vec(&self).map_err(|error| {
            StoreError::Database(format!("a quarantine entry does not serialise: {error}"))
        })?;
        writer.shelf_put(Shelf::Quarantine, sender, &self.key(), &bytes)
    }
}

fn key(sha256: &str, label: &str, ordinal: usize) -> String {
    format!("{sha256}/{label}#{ordinal}")
}

/// Takes the entry of an applied unit off the shelf; whether there was one.
pub fn release(
    writer: &mut dyn Writer,
    sender: PartyKey,
    sha256: &str,
    label: &str,
    ordinal: usize,
) -> Result<bool, StoreError> {
    let released = writer.shelf_remove(Shelf::Quarantine, sender, &key(sha256, label, ordinal))?;
    if released {
        // The number without the removed one: when there is none yet, the entries are counted, and it is among them no more.
        let waiting = match kept_count(writer, sender)? {
            Some(waiting) => waiting.saturating_sub(1),
            None => count(writer, sender)?,
        };
        put_count(writer, sender, waiting)?;
    }
    Ok(released)
}

/// How many units of a sender wait.
fn count(reader: &mut dyn Writer, sender: PartyKey) -> Result<u64, StoreError> {
    if let Some(waiting) = kept_count(reader, sender)? {
        return Ok(waiting);
    }
    // Entries from before there was a number.
    let mut waiting = 0_u64;
    each(reader, sender, |_| {
        waiting = waiting.saturating_add(1);
        Ok(())
    })?;
    Ok(waiting)
}

/// Hands over every entry of a sender, in order of document and label.
fn each<R: Reader + ?Sized>(
    reader: &mut R,
    sender: PartyKey,
    mut take: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = COUNT.to_owned();
    loop {
        let page = reader.shelf_list(Shelf::Quarantine, Some(sender), &after, PAGE)?;
        let Some((_, last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        page.iter().try_for_each(|(_, _, bytes)| take(bytes))?;
    }
}

fn kept_count(reader: &mut dyn Writer, sender: PartyKey) -> Result<Option<u64>, StoreError> {
    let Some(bytes) = reader.shelf_get(Shelf::Quarantine, sender, COUNT)? else { return Ok(None) };
    let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    number
        .map(Some)
        .ok_or_else(|| StoreError::Database("the number of waiting units does not parse".to_owned()))
}

fn put_count(writer: &mut dyn Writer, sender: PartyKey, waiting: u64) -> Result<(), StoreError> {
    writer.shelf_put(Shelf::Quarantine, sender, COUNT, waiting.to_string().as_bytes())
}

/// Every entry of a sender, in order of document and label; of one cause when it is named.
pub fn entries(
    reader: &mut dyn Reader,
    sender: PartyKey,
    cause: Option<&str>,
) -> Result<Vec<Entry>, StoreError> {
    let mut found = Vec::new();
    each(reader, sender, |bytes| {
        let entry = read(bytes)?;
        if cause.is_none_or(|cause| cause == entry.cause) {
            found.push(entry);
        }
        Ok(())
    })?;
    Ok(found)
}

/// How much of a sender's waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Units.
    pub units: u64,
    /// First try of the one that waits longest; `None` when nothing waits.
    pub oldest: Option<Timestamp>,
}

/// How much of a sender's waits; `None` when nothing of it ever did. Walks its entries, at most [`WAITING_MAX`] and what a
/// document brought past that.
///
/// Errors: the store's own.
pub fn depth(reader: &mut dyn Reader, sender: PartyKey) -> Result<Option<Depth>, StoreError> {
    #[derive(Deserialize)]
    struct Tried {
        first_try: i64,
    }
    let known = reader.shelf_get(Shelf::Quarantine, sender, COUNT)?.is_some();
    let mut depth = Depth { units: 0, oldest: None };
    each(reader, sender, |bytes| {
        let tried: Tried = serde_json::from_slice(bytes).map_err(unparsed)?;
        depth.units += 1;
        let first = Timestamp(tried.first_try);
        depth.oldest = Some(depth.oldest.map_or(first, |oldest| oldest.min(first)));
        Ok(())
    })?;
    Ok((known || depth.units > 0).then_some(depth))
}

fn unparsed(error: serde_json::Error) -> StoreError {
    StoreError::Database(format!("a quarantine entry does not parse: {error}"))
}

fn read(bytes: &[u8]) -> Result<Entry, StoreError> {
    serde_json::from_slice(bytes).map_err(unparsed)
}

/// The list as a Parameters resource: one parameter for each cause, the most frequent first.
pub fn to_parameters(entries: &[Entry]) -> String {
    let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(&entry.cause).or_default().push(entry);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(cause, group)| (std::cmp::Reverse(group.len()), *cause));
    let causes = groups.len();
    let mut parameters = vec![
        json!({ "name": "waiting", "valueInteger": entries.len() }),
        json!({ "name": "causes", "valueInteger": causes }),
    ];
    parameters
        .extend(groups.into_iter().take(CAUSES_MAX).map(|(cause, group)| group_parameter(cause, &group)));
    json!({ "resourceType": "Parameters", "parameter": parameters }).to_string()
}

fn group_parameter(cause: &str, group: &[&Entry]) -> Value {
    let mut documents: Vec<&str> = group.iter().map(|entry| entry.sha256.as_str()).collect();
    documents.sort_unstable();
    documents.dedup();
    let first = group.iter().map(|entry| entry.first_try).min().unwrap_or_default();
    let last = group.iter().map(|entry| entry.last_try).max().unwrap_or_default();
    let mut maps: Vec<&str> = group.iter().map(|e| e.map.as_str()).filter(|map| !map.is_empty()).collect();
    maps.sort_unstable();
    maps.dedup();
    let mut part = vec![
        json!({ "name": "cause", "valueString": cause }),
        json!({ "name": "units", "valueInteger": group.len() }),
        json!({ "name": "documents", "valueInteger": documents.len() }),
        json!({ "name": "firstTry", "valueInstant": Timestamp(first).to_instant() }),
        json!({ "name": "lastTry", "valueInstant": Timestamp(last).to_instant() }),
    ];
    part.extend(maps.into_iter().map(|map| json!({ "name": "map", "valueString": map })));
    if let Some((entry, note)) =
        group.iter().find_map(|entry| Some((entry, entry.notes.iter().find(|n| n.is_error())?)))
    {
        let label = if note.path.is_empty() { &entry.label } else { &note.path };
        let mut example = vec![
            json!({ "name": "document", "valueUri": format!("urn:sha256:{}", entry.sha256) }),
            json!({ "name": "text", "valueString": note.text }),
            json!({ "name": "remedy", "valueString": note.remedy }),
        ];
        if !label.is_empty() {
            example.push(json!({ "name": "place", "valueString": label }));
        }
        part.push(json!({ "name": "example", "part": example }));
    }
    json!({ "name": "group", "part": part })
}

#[cfg(test)]
mod tests {
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::*;
    use crate::interaction::write;

    fn entry(label: &str, cause: &str) -> Entry {
        let mut note = Note::new("error", "code-unmapped", "No translation.", "Add a row.");
        note.cause = Some(cause.to_owned());
        Entry::new(&"a".repeat(64), Notation::R4, label, 0, vec![note], "lab|1.0.0", Timestamp(0))
    }

    #[test]
    fn causes_are_counted_and_the_list_is_valid_fhir() {
        let list = [entry("row[1]", "a"), entry("row[2]", "b"), entry("row[3]", "b")];
        let text = to_parameters(&list);
        let doc = Doc::parse(text.clone().into_bytes(), JsonLimits::default()).unwrap();
        assert_eq!(write::check(&doc), Ok(()));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["parameter"][2]["part"][0]["valueString"], "b");
        assert_eq!(value["parameter"][2]["part"][1]["valueInteger"], 2);
        assert_eq!(value["parameter"][2]["part"][2]["valueInteger"], 1);
    }
}
