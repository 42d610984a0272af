//! A document in a local format, from bytes to stored resources, receipt and provenance.
//!
//! `source` (which notation) -> `map` (units, off the writer's thread) -> `prepare` (ids, structure) -> `link` (whose) ->
//! `apply` (one transaction: versions, Provenance, quarantine, receipt, audit) -> `answer`. Nothing of a document
//! disappears: it is stored, or named in a finding, or kept in the quarantine with the original. This stage decides no
//! access; it writes through the sender's permit like every other write.

pub mod source;

pub mod batch;

pub mod receipt;

pub mod map;

pub mod r4;

pub mod prepare;

pub mod link;

pub mod statement;

pub mod apply;

pub mod provenance;

pub mod kept;

pub mod pages;

pub mod quarantine;

pub mod discard;

pub mod unmapped;

mod shadow;

pub mod replay;

pub mod trace;

pub mod difference;

pub mod answer;

pub mod acknowledge;

pub mod note;

pub mod digest;

use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::StatusCode;

use crate::audit::entry::AuditRecord;
use crate::connection::request::{Document, Parameters};
use crate::decision::Permit;
use crate::decision::filter::Derived;
use crate::ids::{PatientKey, Ura};
use crate::interaction::write::{self, Desk};
use crate::response::refusal::{Reason, Refusal};
use crate::store::Store;
use answer::{Did, Report};
use apply::Job;
use batch::Batch;
use map::{Bad, Maps};
use pages::Pages;
use prepare::Prepared;
use quarantine::WaitingLimits;
use receipt::MessageKey;
use source::Notation;

/// The way in for documents: the mappings in force, exchanged as a whole.
#[derive(Debug)]
pub struct Intake {
    maps: RwLock<Arc<Maps>>,
    outdated: RwLock<Vec<String>>,
    limits: IntakeLimits,
    shadows: shadow::Shadows,
}

/// What one document and one sender may bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeLimits {
    /// Units of one document, which is kept as a whole past it: what one transaction does well within its time.
    pub units: usize,
    /// What of one sender may wait for mending.
    pub waiting: WaitingLimits,
}

impl Default for IntakeLimits {
    fn default() -> IntakeLimits {
        IntakeLimits { units: 10_000, waiting: WaitingLimits::default() }
    }
}

/// Makes the audit record of what was done. Called inside the transaction it is stored with, once for each turn of it.
pub type Audit = Arc<dyn Fn(&IngestFacts) -> AuditRecord + Send + Sync>;

/// An answer, with what its caller records.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// HTTP status: 200 when something of the document is in the store, 422 when it is kept as a whole.
    pub status: StatusCode,
    /// OperationOutcome (`$ingest`; of a batch a Bundle of them) or Parameters (`$replay`), JSON text.
    pub body: String,
    /// What was touched; already in the audit log.
    pub facts: IngestFacts,
}

/// What a document touched, for the audit record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestFacts {
    /// Patients, by row key, each once.
    pub patients: Vec<PatientKey>,
    /// Versions written: `Type/id/_history/version`.
    pub resources: Vec<String>,
    /// Data categories touched, as mask.
    pub categories: u64,
    /// Content address of the document (SHA-256, hexadecimal); empty when several or none were concerned.
    pub sha256: String,
    /// `id|version` of the map; empty for R4.
    pub map: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Units created, updated, unchanged, stale, kept: in this order.
    pub counts: [usize; 5],
    /// A resend: an earlier answer was given again.
    pub repeated: bool,
    /// Nothing was written; it was asked what would be.
    pub dry_run: bool,
    /// What else the record says.
    pub notes: Vec<String>,
}

impl Intake {
    /// An intake with these mappings.
    pub fn new(maps: Maps) -> Intake {
        Intake {
            maps: RwLock::new(Arc::new(maps)),
            outdated: RwLock::default(),
            limits: IntakeLimits::default(),
            shadows: shadow::Shadows::default(),
        }
    }

    /// The same intake with other limits.
    #[must_use]
    pub fn limited(self, limits: IntakeLimits) -> Intake {
        Intake { limits, ..self }
    }

    /// Puts other mappings in force; documents under way finish on theirs.
    pub fn exchange(&self, maps: Maps) {
        *self.maps.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(maps);
    }

    /// Puts what was just read in force, as [`Intake::exchange`], and notes the folders that kept an earlier version. A set
    /// there cannot be leaves the mappings in force as they are.
    ///
    /// Errors: why there is no such set, as [`Maps::renewed`] says it; [`Intake::outdated`] names it `*` until one loads.
    pub fn renew(&self, read: Result<(Maps, Vec<Bad>), Vec<String>>) -> Result<Vec<Bad>, Vec<String>> {
        let mut outdated = self.outdated.write().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok((maps, bad)) => {
                *outdated = bad.iter().map(|bad| bad.folder.clone()).collect();
                self.exchange(maps);
                Ok(bad)
            }
            Err(errors) => {
                *outdated = vec!["*".to_owned()];
                Err(errors)
            }
        }
    }

    /// Folders whose last version was refused: what is in force of them is older than what their author wrote, or nothing.
    pub fn outdated(&self) -> Vec<String> {
        self.outdated.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mappings in force.
    pub fn maps(&self) -> Arc<Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `$ingest`: takes a document in. The permit of the desk is the sender's.
    ///
    /// Errors: `MediaType` and `Malformed` for what is no document at all (nothing is kept), and the store's failures
    /// (nothing is kept, sending again is harmless). A document that cannot be applied is no error: it is kept, and the
    /// answer is 422 with the findings.
    pub async fn ingest(
        &self,
        store: &dyn Store,
        desk: &Desk,
        document: &Document,
        audit: Audit,
    ) -> Result<Ingested, Refusal> {
        let notation = Notation::of(document)?;
        if let Some(batch) = Batch::of(notation, &document.bytes)? {
            return self.batch(store, desk, notation, batch, &audit).await;
        }
        let key = document.idempotency_key.as_deref();
        self.one(store, desk, notation, document.bytes.clone(), key, &audit).await
    }

    /// One document, or one message of a batch.
    async fn one(
        &self,
        store: &dyn Store,
        desk: &Desk,
        notation: Notation,
        bytes: Bytes,
        idempotency_key: Option<&str>,
        audit: &Audit,
    ) -> Result<Ingested, Refusal> {
        let sender = sender(&desk.permit)?;
        let maps = self.maps();
        let read = self.read(sender.clone(), notation, bytes.clone()).await?;
        let key = MessageKey::new(
            desk.permit.filter().organisation,
            notation,
            read.control_id.as_deref(),
            idempotency_key,
            read.sha256.clone(),
        );
        let job = Job {
            desk: desk.clone(),
            sender: sender.clone(),
            notation,
            original: bytes.clone(),
            sha256: read.sha256,
            map: read.map,
            mapping: read.mapping,
            package: read.package,
            units: read.units,
            notes: read.notes,
            key: Some(key),
            only: None,
            dry_run: None,
            limits: self.limits.waiting,
            audit: audit.clone(),
        };
        let done = apply::apply(store, Arc::new(job)).await?;
        if let Notation::Mapped(format) = notation {
            self.shadows.look(maps, &sender, format, &bytes, desk.now);
        }
        // A failure here leaves the withdrawal waiting; the document itself is stored and answered.
        if let Err(refusal) = replay::withdrawals(self, store, desk, done.unblocked, audit).await {
            tracing::warn!(reason = ?refusal.reason, "a waiting withdrawal was not applied");
        }
        Ok(Ingested { status: done.status, body: done.body, facts: done.facts })
    }

    /// `$quarantine`: what of the own organisation waits for mending (or was set aside), by cause, document and unit.
    /// Parameters, JSON text.
    ///
    /// Errors: `ParameterUnknown`, `ParameterInvalid`; the store's failures.
    pub fn quarantine(
        &self,
        store: &dyn Store,
        permit: &Permit,
        pages: &Pages<'_>,
        parameters: &Parameters,
    ) -> Result<String, Refusal> {
        let asked = quarantine::list::Asked::parse(parameters)?;
        let mut body = String::new();
        store
            .read(permit, &mut |reader| {
                body = quarantine::list::answer(reader, permit.filter().organisation, &asked, pages)?;
                Ok(())
            })
            .map_err(write::refusal)?;
        Ok(body)
    }

    /// `$shadow`: what mappings that run beside those in force make otherwise of the own organisation's documents. Parameters,
    /// JSON text.
    ///
    /// Errors: `ParameterUnknown`.
    pub fn shadow(&self, permit: &Permit, parameters: &Parameters) -> Result<String, Refusal> {
        let known = |name: &str| matches!(name, "_format" | "_pretty");
        if let Some((name, _)) = parameters.pairs.iter().find(|(name, _)| !known(name)) {
            return Err(Refusal::new(Reason::ParameterUnknown, "None is known here.").at(name));
        }
        Ok(self.shadows.report(&self.maps(), &sender(permit)?))
    }

    /// Counts of shadow mappings, for a scraper.
    pub fn shadow_exposition(&self) -> String {
        self.shadows.exposition()
    }

    /// `$replay`: applies waiting units with the mappings in force now; `cause` narrows it, `dryrun=true` only tells what
    /// would happen, element by element where `look` gives leave to read. Applying twice applies nothing the second time.
    ///
    /// Errors: `ParameterUnknown`, `ParameterInvalid`; the store's failures (documents done before stay done).
    pub async fn replay(
        &self,
        store: &dyn Store,
        desk: &Desk,
        look: Option<Permit>,
        pages: &Pages<'_>,
        parameters: &Parameters,
        audit: Audit,
    ) -> Result<Ingested, Refusal> {
        let asked = replay::Asked::parse(parameters)?;
        replay::replay(self, store, desk, look, pages, &asked, &audit).await
    }
}

impl Intake {
    /// Reads and maps a document on a thread where it may take its time.
    async fn read(&self, sender: Ura, notation: Notation, bytes: Bytes) -> Result<Read, Refusal> {
        let (maps, units_max) = (self.maps(), self.limits.units);
        let work = move || {
            let sha256 = digest::sha256_hex(&bytes);
            let mut read = match notation {
                Notation::Mapped(format) => {
                    let mapped = maps.map(&sender, format, &bytes);
                    Read {
                        sha256,
                        map: mapped.map,
                        mapping: mapped.mapping,
                        package: mapped.package,
                        control_id: mapped.control_id,
                        units: prepare::mapped(mapped.output, &sender),
                        notes: mapped.notes,
                    }
                }
                Notation::R4 | Notation::R4Xml => {
                    let (units, notes) = match r4::prepared(notation, &bytes, &sender) {
                        Ok(units) => (units, Vec::new()),
                        Err(note) => (Vec::new(), vec![*note]),
                    };
                    Read {
                        sha256,
                        map: String::new(),
                        mapping: String::new(),
                        package: None,
                        control_id: None,
                        units,
                        notes,
                    }
                }
            };
            if read.units.len() > units_max {
                read.units.clear();
                read.notes.push(too_large(units_max));
            }
            read
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| {
            Refusal::new(Reason::Internal, "").because(format!("reading a document failed: {error}"))
        })
    }
}

fn too_large(units_max: usize) -> note::Note {
    note::Note::new(
        "fatal",
        "document-too-large",
        format!("The document makes more than {units_max} resources."),
        "Send it in smaller parts.",
    )
}

/// A document read and mapped.
struct Read {
    sha256: String,
    map: String,
    mapping: String,
    package: Option<Arc<[u8]>>,
    control_id: Option<String>,
    units: Vec<Prepared>,
    notes: Vec<note::Note>,
}

/// The sending organisation, from the credential; never what a document claims.
fn sender(permit: &Permit) -> Result<Ura, Refusal> {
    permit
        .actor()
        .map(|actor| actor.organisation.clone())
        .ok_or_else(|| Refusal::new(Reason::Forbidden, "A document is sent by an organisation."))
}

impl IngestFacts {
    fn touch(&mut self, derived: Derived, written: Option<&str>) {
        self.patients.extend(derived.patient);
        self.categories |= derived.category;
        self.resources.extend(written.map(str::to_owned));
    }

    fn settle(&mut self, job: &Job, report: &Report) {
        self.patients.sort_unstable();
        self.patients.dedup();
        self.sha256.clone_from(&job.sha256);
        self.map.clone_from(&job.map);
        self.status = report.status().as_u16();
        self.counts =
            [Did::Created, Did::Updated, Did::Unchanged, Did::Stale, Did::Kept].map(|did| report.count(did));
        self.dry_run = job.dry_run.is_some();
    }
}

#[cfg(test)]
mod tests;
