//! A batch of HL7v2 messages (FHS/BHS ... BTS/FTS, or one after another): each message is a document of its own, with its own
//! transaction, receipt and outcome. The envelope is checked and not kept.
//!
//! Source: HL7 v2.5.1 2.10.3; the answer is a Bundle as for any batch (FHIR R4 http.html#batch).

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use sluis_mappings::source::{Format, hl7v2};

use super::answer::Report;
use super::note::Note;
use super::source::Notation;
use super::{Audit, IngestFacts, Ingested, Intake};
use crate::interaction::write::Desk;
use crate::response::refusal::{Reason, Refusal};
use crate::store::Store;

/// Messages of one batch: what fits well within the time of one request.
pub const MESSAGES_MAX: usize = 500;

/// The messages of a document that holds several, or one in an envelope.
pub(super) struct Batch {
    messages: Vec<Bytes>,
    notes: Vec<Note>,
}

impl Batch {
    /// `None`: one message, as most are.
    ///
    /// Errors: `TooCostly` past [`MESSAGES_MAX`].
    pub(super) fn of(notation: Notation, bytes: &Bytes) -> Result<Option<Batch>, Refusal> {
        if notation != Notation::Mapped(Format::Hl7v2) {
            return Ok(None);
        }
        let split = hl7v2::split(bytes);
        let whole = |span: &sluis_mappings::source::Span| span.start == 0 && span.end as usize == bytes.len();
        if matches!(split.messages.as_slice(), [one] if whole(one)) || split.messages.is_empty() {
            return Ok(None);
        }
        if split.messages.len() > MESSAGES_MAX {
            let text = format!("A batch of {} messages; {MESSAGES_MAX} are taken.", split.messages.len());
            return Err(Refusal::new(Reason::TooCostly, text));
        }
        let message =
            |span: &sluis_mappings::source::Span| bytes.slice(span.start as usize..span.end as usize);
        Ok(Some(Batch {
            messages: split.messages.iter().map(message).collect(),
            notes: split.findings.iter().map(Note::from).collect(),
        }))
    }
}

impl Intake {
    /// Takes the messages of a batch in, one after the other.
    ///
    /// Errors: the store's failures; messages before stay stored, and sending the batch again gives their answers again.
    pub(super) async fn batch(
        &self,
        store: &dyn Store,
        desk: &Desk,
        notation: Notation,
        batch: Batch,
        audit: &Audit,
    ) -> Result<Ingested, Refusal> {
        let mut entries = Vec::with_capacity(batch.messages.len() + 1);
        let mut facts = IngestFacts::default();
        let mut status = StatusCode::UNPROCESSABLE_ENTITY;
        for message in batch.messages {
            let done = self.one(store, desk, notation, message, None, audit).await?;
            if done.status == StatusCode::OK {
                status = StatusCode::OK;
            }
            super::replay::merge(&mut facts, &done.facts);
            entries.push(entry(done.status, &done.body));
        }
        if !batch.notes.is_empty() {
            // About the envelope: no message bears it.
            let sha256 = String::new();
            let report = Report {
                sha256,
                map: String::new(),
                units: Vec::new(),
                notes: batch.notes,
                discarded: false,
            };
            entries.push(entry(StatusCode::UNPROCESSABLE_ENTITY, &report.to_findings()));
        }
        facts.status = status.as_u16();
        let body =
            json!({ "resourceType": "Bundle", "type": "batch-response", "entry": entries }).to_string();
        Ok(Ingested { status, body, facts })
    }
}

fn entry(status: StatusCode, outcome: &str) -> Value {
    let outcome: Value = serde_json::from_str(outcome).unwrap_or_default();
    json!({ "response": { "status": status.as_u16().to_string(), "outcome": outcome } })
}
