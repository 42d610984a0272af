//! Permit -> outcome: one file per FHIR interaction. FHIR's own rules (versions, preconditions, gone) stand here, once,
//! above every store.

pub mod splice;

pub mod shape;

pub mod measurement;

pub mod reference;

pub mod cursor;

pub mod write;

pub mod read;

pub mod history;

pub mod terms;

pub mod search;

pub mod compartment;

pub mod several;

pub mod everything;

pub mod lastn;

pub mod patient_match;

pub mod validate;

pub mod transform;

pub mod meta;

pub mod idempotency;

pub mod criteria;

pub mod create;

pub mod update;

pub mod patch;

pub mod delete;

pub mod change;

pub mod bundle;

pub mod transaction;

pub mod obligation;

pub mod audit_event;

pub mod ingest;

pub mod export;

pub mod asynchronous;

pub mod perform;

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::{Clock, Timestamp};
use crate::connection::request::{Format, Syntax};
use crate::identity::actor::Actor;
use crate::ids::{PatientKey, ResourceType};
use crate::library::Library;
use crate::response::Answer;
use crate::search::indexing::Indexing;
use crate::search::parameter::SearchLimits;
use crate::store::Stored;
use sluis_conformance::definitions;

/// What was done: the answer, and the facts its audit record tells.
#[derive(Debug)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// What was touched.
    pub facts: Facts,
}

/// What an interaction touched, for the audit record.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Patients, by row key, each once.
    pub patients: Vec<PatientKey>,
    /// Consents relied on: `Consent/[id]/_history/[version]`, each once.
    pub consents: Vec<Arc<str>>,
    /// Resources: `Type/id/_history/version`. Bounded: a page, a transaction.
    pub resources: Vec<String>,
    /// Data categories, as mask.
    pub categories: u64,
    /// A sender's labels were not followed.
    pub claim_ignored: bool,
}

impl Facts {
    /// Facts of these versions.
    pub fn of(stored: &[Stored]) -> Facts {
        let mut facts = Facts::default();
        facts.add(stored);
        facts.settle();
        facts
    }

    /// Facts of what was written.
    pub fn written(written: &write::Written) -> Facts {
        let kind = definitions::r4().type_name(written.kind);
        Facts {
            patients: written.derived.patient.into_iter().collect(),
            consents: Vec::new(),
            resources: vec![format!("{kind}/{}/_history/{}", written.id, written.version)],
            categories: written.derived.category,
            claim_ignored: written.claim_ignored,
        }
    }

    /// Adds versions; call [`Facts::settle`] after the last.
    pub fn add(&mut self, stored: &[Stored]) {
        for one in stored {
            self.patients.extend(one.derived.patient);
            self.consents.extend(one.consent.clone());
            let kind = definitions::r4().type_name(one.kind);
            self.resources.push(format!("{kind}/{}/_history/{}", one.id, one.version));
            self.categories |= one.derived.category;
        }
    }

    /// Each patient and consent once, in a stable order.
    pub fn settle(&mut self) {
        self.patients.sort_unstable();
        self.patients.dedup();
        self.consents.sort_unstable();
        self.consents.dedup();
    }
}

/// What interactions need to know of the gateway and the request, without its stages.
pub struct Scene<'s> {
    /// Public base URL.
    pub base: &'s str,
    /// The moment of the request.
    pub now: Timestamp,
    /// Who asks.
    pub actor: Option<&'s Actor>,
    /// Seals page cursors.
    pub seal: &'s cursor::CursorSeal,
    /// Randomness for cursors and ids of Bundles.
    pub clock: &'s dyn Clock,
    /// Limits of searches.
    pub search_limits: &'s SearchLimits,
    /// Keys of writes in work.
    pub in_work: &'s idempotency::InWork,
    /// Highest `_count`.
    pub count_max: u32,
    /// Observations `$lastn` looks at for one answer.
    pub lastn_max: u32,
    /// Definitions the operator loaded.
    pub library: &'s Library,
    /// Whether every row is indexed.
    pub indexing: &'s Indexing,
    /// Whether a search leaves out what it does not know (`Prefer: handling=lenient`). Never for criteria of a change.
    pub lenient: bool,
}

impl Scene<'_> {
    /// A `Bundle.id` for an answer.
    pub fn bundle_id(&self) -> String {
        self.clock.uuid().to_string()
    }

    /// Name of a type.
    pub fn type_name(&self, kind: ResourceType) -> &'static str {
        definitions::r4().type_name(kind)
    }
}

/// Stored or spliced bytes as they leave: as they are, or indented for `_pretty=true`. XML is made of them at the very end
/// (`Answer::in_format`).
pub fn found_body(body: Bytes, format: Format) -> Bytes {
    if format.pretty && format.syntax == Syntax::Json { Bytes::from(pretty(&body)) } else { body }
}

/// Indents JSON without touching a value: only white space between tokens is added.
fn pretty(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() * 2);
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    for byte in body.iter().copied() {
        if in_string {
            out.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => {}
            b'"' => {
                in_string = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                depth += 1;
                out.push(byte);
                line(&mut out, depth);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
    }
    out.push(b'\n');
    out
}
