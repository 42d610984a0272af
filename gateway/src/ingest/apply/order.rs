//! Orders by the numbers their placer and their filler gave them, of one sender: what ends an order may name it by either, may
//! leave out what was asked for, and may come first.
//!
//! Source: HL7 v2.5.1 chapter 4.5.1 (ORC-1, 2, 3); of the numbers FHIR R4 servicerequest.html, identifier types PLAC and FILL.

use serde::{Deserialize, Serialize};
use sluis_conformance::json::Node;

use crate::ids::{PartyKey, ResourceId};
use crate::ingest::digest::sha256_hex;
use crate::ingest::note::Note;
use crate::ingest::quarantine;
use crate::store::{Reader, Shelf, StoreError, Writer, document};

/// Orders one number may mean before it means none.
const IDS_MAX: usize = 10;

/// What a number means.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Meaning {
    /// Ids of the orders.
    ids: Vec<String>,
    /// Documents that end an order of this number, which has not arrived: their content addresses.
    waiting: Vec<String>,
}

/// Whether a resource says of an order that it ended and not what it was: nothing was asked for in it, or it has no number of
/// the placer, by which the order is kept.
pub(super) fn ends_only(root: Node<'_>) -> bool {
    let is =
        |name: &str, text: &str| root.get(name).and_then(|node| node.as_str()).is_some_and(|s| s == text);
    let placed = numbers(root).first().is_some_and(|(kind, _)| *kind == "PLAC");
    is("resourceType", "ServiceRequest") && is("status", "revoked") && (root.get("code").is_none() || !placed)
}

/// The order a resource ends; `Ok(None)`: not received yet.
pub(super) fn find(
    reader: &mut dyn Reader,
    sender: PartyKey,
    root: Node<'_>,
) -> Result<Result<Option<ResourceId>, Note>, StoreError> {
    for (_, key) in numbers(root) {
        match meaning(reader, sender, &key)?.ids.as_slice() {
            [] => {}
            [one] => return Ok(Ok(ResourceId::parse(one))),
            _ => return Ok(Err(ambiguous())),
        }
    }
    Ok(Ok(None))
}

/// Remembers that a document ends an order of these numbers, which has not arrived.
pub(super) fn wait(
    writer: &mut dyn Writer,
    sender: PartyKey,
    root: Node<'_>,
    sha256: &str,
) -> Result<(), StoreError> {
    for (_, key) in numbers(root) {
        let mut meaning = meaning(writer, sender, &key)?;
        if !meaning.waiting.iter().any(|waits| waits == sha256) {
            meaning.waiting.push(sha256.to_owned());
            document::put(writer, Shelf::Order, sender, &key, &meaning)?;
        }
    }
    Ok(())
}

/// Remembers by which numbers an order is found; gives the documents that waited for it.
pub(super) fn remember(
    writer: &mut dyn Writer,
    sender: PartyKey,
    root: Node<'_>,
    id: &ResourceId,
) -> Result<Vec<String>, StoreError> {
    let mut unblocked = Vec::new();
    for (_, key) in numbers(root) {
        let mut meaning = meaning(writer, sender, &key)?;
        let known = meaning.ids.iter().any(|known| known == id.as_str());
        if known && meaning.waiting.is_empty() {
            continue;
        }
        if !known && meaning.ids.len() < IDS_MAX {
            meaning.ids.push(id.as_str().to_owned());
        }
        unblocked.append(&mut meaning.waiting);
        document::put(writer, Shelf::Order, sender, &key, &meaning)?;
    }
    Ok(unblocked)
}

/// Numbers of an order with their shelf keys, the placer's first. Hashes: some senders make them from patient numbers.
fn numbers(root: Node<'_>) -> Vec<(&'static str, String)> {
    let text = |node: Node<'_>, name: &str| {
        node.get(name).and_then(|value| value.as_str()).map(|text| text.into_owned()).unwrap_or_default()
    };
    let mut found = Vec::new();
    for identifier in root.get("identifier").into_iter().flat_map(|list| list.items()) {
        let codings = identifier.get("type").and_then(|kind| kind.get("coding"));
        let codes: Vec<String> =
            codings.into_iter().flat_map(|list| list.items()).map(|coding| text(coding, "code")).collect();
        for kind in ["PLAC", "FILL"] {
            let value = text(identifier, "value");
            if codes.iter().any(|code| code == kind) && !value.is_empty() {
                let name = format!("{kind}|{}|{value}", text(identifier, "system"));
                found.push((kind, sha256_hex(name.as_bytes())));
            }
        }
    }
    found.sort_by_key(|(kind, _)| *kind != "PLAC");
    found
}

fn meaning(reader: &mut dyn Reader, sender: PartyKey, key: &str) -> Result<Meaning, StoreError> {
    Ok(document::get(reader, Shelf::Order, sender, key)?.unwrap_or_default())
}

pub(super) fn not_received() -> Note {
    Note::new(
        "error",
        quarantine::CORRECTION,
        "The document ends an order that was never received.",
        "Nothing to do when the order is on its way: it is ended when it arrives.",
    )
}

pub(super) fn of_another() -> Note {
    Note::new(
        "error",
        "order-of-another",
        "The order of this number is another patient's.",
        "Correct the order number or the patient, and send it again.",
    )
}

fn ambiguous() -> Note {
    Note::new(
        "error",
        "order-ambiguous",
        "The order number was given to more than one order.",
        "Send the placer order number in ORC-2.",
    )
}
