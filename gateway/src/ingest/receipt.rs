//! Recognises a document that was here before, so that resending is harmless.
//!
//! A receipt holds the answer as it was given. It is written in the transaction that stores the resources: either both
//! are there or neither.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::digest::sha256_hex;
use super::source::Notation;
use crate::ids::PartyKey;
use crate::store::{Reader, Shelf, StoreError, Writer, document};

/// Earlier documents of one key looked at.
const EARLIER_MAX: u32 = 100;

/// What names a document of one sender: its own control number, or the key the client chose, or its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageKey {
    /// Sender, from the credential.
    pub sender: PartyKey,
    /// Shelf key of everything under the same control number, ending in `/`.
    name: String,
    /// Content address.
    pub sha256: String,
}

/// An earlier answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    status: u16,
    body: String,
    /// Content hash of the mapping that was used; empty for R4.
    pub mapping: String,
    /// Units were kept in quarantine.
    pub waiting: bool,
}

/// What the receipts say about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Never here.
    New,
    /// The same bytes under the same key: the answer given then.
    Same(Receipt),
    /// Other bytes under the same key: the content addresses of the documents that came before.
    Changed(Vec<String>),
}

impl MessageKey {
    /// The key of a document: MSH-10 and its like, else `Idempotency-Key`, else its content.
    ///
    /// Control numbers are stored as hashes: some senders make them from patient numbers.
    pub fn new(
        sender: PartyKey,
        notation: Notation,
        control_id: Option<&str>,
        idempotency_key: Option<&str>,
        sha256: String,
    ) -> MessageKey {
        let (kind, text) = match (control_id.filter(|id| !id.is_empty()), idempotency_key) {
            (Some(id), _) => ("control", id),
            (None, Some(key)) => ("key", key),
            (None, None) => ("content", sha256.as_str()),
        };
        let name = format!("{}/{kind}/{}/", notation.as_str(), sha256_hex(text.as_bytes()));
        MessageKey { sender, name, sha256 }
    }

    fn shelf_key(&self) -> String {
        format!("{}{}", self.name, self.sha256)
    }

    /// Whether this document was here before.
    ///
    /// A document of which units still wait is new again once its mapping has changed: sending it anew then does what
    /// the sender hopes for.
    pub fn seen(&self, reader: &mut dyn Reader, mapping: &str) -> Result<Seen, StoreError> {
        let kept: Option<Receipt> = document::get(reader, Shelf::Receipt, self.sender, &self.shelf_key())?;
        if let Some(receipt) = kept {
            let mended = receipt.waiting && receipt.mapping != mapping;
            return Ok(if mended { Seen::New } else { Seen::Same(receipt) });
        }
        let next = reader.shelf_list(Shelf::Receipt, Some(self.sender), &self.name, EARLIER_MAX)?;
        let others: Vec<String> =
            next.iter().filter_map(|(_, key, _)| key.strip_prefix(&self.name)).map(str::to_owned).collect();
        Ok(if others.is_empty() { Seen::New } else { Seen::Changed(others) })
    }

    /// Keeps the answer.
    pub fn keep(&self, writer: &mut dyn Writer, receipt: &Receipt) -> Result<(), StoreError> {
        document::put(writer, Shelf::Receipt, self.sender, &self.shelf_key(), receipt)
    }
}

impl Receipt {
    /// A receipt of this answer.
    pub fn new(status: StatusCode, body: String, mapping: &str, waiting: bool) -> Receipt {
        Receipt { status: status.as_u16(), body, mapping: mapping.to_owned(), waiting }
    }

    /// The answer, byte for byte.
    pub fn answer(self) -> (StatusCode, String) {
        (StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK), self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_senders_own_number_goes_before_the_clients_key_and_the_content() {
        let key = |control, idempotency, sha: &str| {
            MessageKey::new(PartyKey(1), Notation::R4, control, idempotency, sha.to_owned()).name
        };
        assert_eq!(key(Some("A1"), Some("k"), "1"), key(Some("A1"), None, "2"));
        assert_eq!(key(Some(""), Some("k"), "1"), key(None, Some("k"), "2"));
        assert_ne!(key(None, Some("A1"), "1"), key(Some("A1"), None, "1"));
        assert_ne!(key(None, None, "1"), key(None, None, "2"));
    }
}
