//! `$quarantine`: what waits (or was set aside), by cause, then by document, then unit by unit; each list in pages.

use serde_json::{Value, json};

use super::{Discard, Entry};
use crate::clock::Timestamp;
use crate::connection::request::Parameters;
use crate::ids::PartyKey;
use crate::ingest::note::Note;
use crate::ingest::pages::{self, Pages, Place};
use crate::response::refusal::{Reason, Refusal};
use crate::store::quarantine::{QuarantineCause, QuarantineDocument, QuarantineQuery, QuarantineRow};
use crate::store::{Reader, StoreError};

/// Causes or documents on one page, and without `_count`.
const PAGE: u32 = 200;
/// Units told of one document.
const UNITS_MAX: usize = 1_000;
/// Maps named of one cause.
const MAPS_MAX: u32 = 20;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Of this cause: its documents.
    pub cause: Option<String>,
    /// Of this document: its units.
    pub document: Option<String>,
    /// What was set aside instead of what waits.
    pub discarded: bool,
    /// Rows of a page.
    pub count: u32,
    /// A link an earlier page gave.
    pub after: Option<String>,
}

impl Asked {
    /// Reads the parameters. Errors: `ParameterUnknown`, `ParameterInvalid`.
    pub fn parse(parameters: &Parameters) -> Result<Asked, Refusal> {
        let invalid = |name: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
        let mut asked = Asked { cause: None, document: None, discarded: false, count: PAGE, after: None };
        for (name, value) in parameters.pairs.iter() {
            match name.as_str() {
                "cause" => asked.cause = Some(value.clone()),
                "document" => asked.document = Some(content_address(value)?),
                "state" => {
                    asked.discarded = match value.as_str() {
                        "waiting" => false,
                        "discarded" => true,
                        _ => return Err(invalid("state", "state is waiting or discarded.")),
                    }
                }
                "_count" => asked.count = pages::count(value, PAGE, "rows of a page")?,
                "after" => asked.after = Some(value.clone()),
                "_format" | "_pretty" => {}
                other => {
                    let text = "Known here: cause, document, state, _count, after.";
                    return Err(Refusal::new(Reason::ParameterUnknown, text).at(other));
                }
            }
        }
        if asked.document.is_some() && (asked.cause.is_some() || asked.after.is_some()) {
            return Err(invalid("document", "A document is asked for alone; its units come in one answer."));
        }
        Ok(asked)
    }

    /// What a page link of this question is bound to.
    fn question(&self) -> [(&str, &str); 2] {
        let state = if self.discarded { "discarded" } else { "waiting" };
        [("$quarantine", state), ("cause", self.cause.as_deref().unwrap_or_default())]
    }
}

/// The content address in `urn:sha256:...`, or bare. Errors: `ParameterInvalid`.
pub(in crate::ingest) fn content_address(text: &str) -> Result<String, Refusal> {
    let hex = text.strip_prefix("urn:sha256:").unwrap_or(text).to_ascii_lowercase();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex);
    }
    let text =
        "document is a content address as $quarantine names it: urn:sha256: and 64 hexadecimal digits.";
    Err(Refusal::new(Reason::ParameterInvalid, text).at("document"))
}

/// The answer as a Parameters resource, JSON text.
///
/// Errors: the store's own; `ParameterInvalid` in them for a link that does not hold.
pub(in crate::ingest) fn answer(
    reader: &mut dyn Reader,
    sender: PartyKey,
    asked: &Asked,
    pages: &Pages<'_>,
) -> Result<String, StoreError> {
    let query = QuarantineQuery { sender, discarded: asked.discarded, cause: asked.cause.as_deref() };
    let depth = reader.quarantine_depth(query)?;
    let total = if asked.discarded { "discarded" } else { "waiting" };
    let mut told = vec![
        json!({ "name": total, "valueInteger": depth.units }),
        json!({ "name": "causes", "valueInteger": depth.causes }),
    ];
    if let Some(sha256) = &asked.document {
        told.extend(units(reader, query, sha256)?);
    } else {
        let question = asked.question();
        let place = match &asked.after {
            Some(text) => {
                Some(pages.open(text, &question).map_err(|refusal| StoreError::Refused(Box::new(refusal)))?)
            }
            None => None,
        };
        let next = match asked.cause {
            None => causes(reader, query, asked.count, place, &mut told)?,
            Some(_) => documents(reader, query, asked.count, place, &mut told)?,
        };
        let link = next.and_then(|place| pages.after(&question, &place));
        told.extend(link.map(|link| json!({ "name": "next", "valueString": link })));
    }
    Ok(json!({ "resourceType": "Parameters", "parameter": told }).to_string())
}

fn causes(
    reader: &mut dyn Reader,
    query: QuarantineQuery<'_>,
    count: u32,
    after: Option<Place>,
    told: &mut Vec<Value>,
) -> Result<Option<Place>, StoreError> {
    let after = after.as_ref().map(|place| (place.0.unsigned_abs(), place.1.as_str()));
    let found = reader.quarantine_causes(query, after, count)?;
    for cause in &found {
        told.push(group(reader, query, cause)?);
    }
    let full = found.len() as u64 >= u64::from(count);
    let last = found.last().filter(|_| full);
    Ok(last.map(|cause| Place(i64::try_from(cause.units).unwrap_or(i64::MAX), cause.cause.clone())))
}

fn documents(
    reader: &mut dyn Reader,
    query: QuarantineQuery<'_>,
    count: u32,
    after: Option<Place>,
    told: &mut Vec<Value>,
) -> Result<Option<Place>, StoreError> {
    if after.is_none() {
        for cause in reader.quarantine_causes(query, None, 1)? {
            told.push(group(reader, query, &cause)?);
        }
    }
    let after = after.as_ref().map(|place| (Timestamp(place.0), place.1.as_str()));
    let (found, left) = reader.quarantine_documents(query, after, count)?;
    told.extend(found.iter().map(document));
    if left == 0 {
        return Ok(None);
    }
    told.push(json!({ "name": "documentsLeft", "valueInteger": left }));
    Ok(found.last().map(|last| Place(last.first_try.0, last.sha256.clone())))
}

fn document(document: &QuarantineDocument) -> Value {
    let part = [
        json!({ "name": "document", "valueUri": format!("urn:sha256:{}", document.sha256) }),
        json!({ "name": "units", "valueInteger": document.units }),
        json!({ "name": "firstTry", "valueInstant": document.first_try.to_instant() }),
    ];
    json!({ "name": "document", "part": part })
}

fn group(
    reader: &mut dyn Reader,
    query: QuarantineQuery<'_>,
    cause: &QuarantineCause,
) -> Result<Value, StoreError> {
    let of_cause = QuarantineQuery { cause: Some(&cause.cause), ..query };
    let mut part = vec![
        json!({ "name": "cause", "valueString": cause.cause }),
        json!({ "name": "units", "valueInteger": cause.units }),
        json!({ "name": "documents", "valueInteger": cause.documents }),
        json!({ "name": "firstTry", "valueInstant": cause.first_try.to_instant() }),
        json!({ "name": "lastTry", "valueInstant": cause.last_try.to_instant() }),
    ];
    let maps = reader.quarantine_maps(of_cause, MAPS_MAX)?;
    part.extend(maps.into_iter().map(|map| json!({ "name": "map", "valueString": map })));
    if let Some(row) = reader.quarantine_example(of_cause)? {
        let entry = Entry::of(&row)?;
        let mut example =
            vec![json!({ "name": "document", "valueUri": format!("urn:sha256:{}", entry.sha256) })];
        example.extend(remark(&entry));
        part.push(json!({ "name": "example", "part": example }));
    }
    Ok(json!({ "name": "group", "part": part }))
}

fn units(
    reader: &mut dyn Reader,
    query: QuarantineQuery<'_>,
    sha256: &str,
) -> Result<Vec<Value>, StoreError> {
    let mut rows = reader.quarantine_units(query.sender, sha256)?;
    rows.retain(|row| row.discard.is_some() == query.discarded);
    let mut told = rows.iter().take(UNITS_MAX).map(unit).collect::<Result<Vec<_>, _>>()?;
    if rows.len() > UNITS_MAX {
        told.push(json!({ "name": "notShown", "valueInteger": rows.len() - UNITS_MAX }));
    }
    Ok(told)
}

fn unit(row: &QuarantineRow) -> Result<Value, StoreError> {
    let entry = Entry::of(row)?;
    let mut part = vec![json!({ "name": "cause", "valueString": row.cause })];
    if !entry.label.is_empty() {
        part.push(json!({ "name": "part", "valueString": row.label }));
    }
    part.extend(remark(&entry));
    part.push(json!({ "name": "tries", "valueInteger": entry.tries }));
    part.push(json!({ "name": "firstTry", "valueInstant": row.first_try.to_instant() }));
    part.push(json!({ "name": "lastTry", "valueInstant": row.last_try.to_instant() }));
    if !row.map.is_empty() {
        part.push(json!({ "name": "map", "valueString": row.map }));
    }
    if let Some(discard) = Discard::of(row) {
        let said = [
            json!({ "name": "at", "valueInstant": Timestamp(discard.at).to_instant() }),
            json!({ "name": "client", "valueString": discard.client }),
            json!({ "name": "role", "valueString": discard.role }),
            json!({ "name": "reason", "valueString": discard.reason }),
        ];
        part.push(json!({ "name": "discarded", "part": said }));
    }
    Ok(json!({ "name": "unit", "part": part }))
}

/// The finding that keeps an entry, with its place.
fn remark(entry: &Entry) -> Vec<Value> {
    let Some(note) = entry.notes.iter().find(|note: &&Note| note.is_error()) else { return Vec::new() };
    let place = if note.path.is_empty() { &entry.label } else { &note.path };
    let said = [("text", &note.text), ("remedy", &note.remedy), ("place", place)];
    let said = said.into_iter().filter(|(_, text)| !text.is_empty());
    said.map(|(name, text)| json!({ "name": name, "valueString": text })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(pairs: &[(&str, &str)]) -> Option<Reason> {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let parameters = Parameters { pairs: pairs.into(), raw: "".into() };
        Asked::parse(&parameters).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn unknown_and_bad_parameters_are_refused() {
        let address = format!("urn:sha256:{}", "a1".repeat(32));
        assert_eq!(reason(&[("cause", "x"), ("state", "discarded"), ("_count", "200")]), None);
        assert_eq!(reason(&[("document", &address)]), None);
        for pairs in [
            &[("state", "gone")][..],
            &[("_count", "0")],
            &[("_count", "201")],
            &[("document", "x")],
            &[("document", &address), ("cause", "x")],
        ] {
            assert_eq!(reason(pairs), Some(Reason::ParameterInvalid), "{pairs:?}");
        }
        assert_eq!(reason(&[("cuase", "x")]), Some(Reason::ParameterUnknown));
    }
}
