//! Keys, versions, indexes, transactions. Knows no HTTP and no FHIR rule: versions, preconditions and conditional
//! logic stand above, in `interaction`, once for every store.
//!
//! A [`Reader`] or [`Writer`] is opened with a `Permit` and judges every row by its filter inside the same snapshot
//! that yields the row. Everything a writer does in one `work` is one transaction: with its audit record, or not at all.
//!
//! The trait is synchronous: SQLite is, and a client for a database server can block the calling thread, which the
//! interaction layer has made fit for that.

pub mod archive;
pub(crate) mod document;

#[cfg(any(test, feature = "testing"))]
pub mod contract;

pub mod history;

pub mod migrate;

pub mod postgres;

pub mod quarantine;

pub mod sqlite;

pub(crate) mod session;

pub mod visible;

mod writer;

use std::sync::Arc;

use bytes::Bytes;

use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::decision::filter::{Arm, CareRelation, Derived};
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType};
use crate::search::criterion::{Include, Parameter};
use crate::search::plan::{Found, Plan};
use quarantine::{QuarantineReader, QuarantineWriter};

/// A database of versioned resources behind permits.
pub trait Store: Send + Sync + 'static {
    /// Runs `work` on one snapshot, on the calling thread.
    ///
    /// Errors: those of `work`; [`StoreError`] when no snapshot can be had. Nothing is written either way.
    fn read(
        &self,
        permit: &Permit,
        work: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Queues `work` for the single writer and answers once it is durable.
    ///
    /// Works of several callers may share one commit (group commit), each inside its own savepoint: an error of one
    /// undoes that one alone. The future resolves after the commit is on disk, or with the error and nothing written.
    fn write(&self, permit: Permit, work: WriteWork) -> WriteReceipt;

    /// Queues one record for the audit log and answers once it is durable. Records of several callers, and works, share
    /// a commit; a record that cannot be written is refused alone, and nothing of it is there.
    fn append(&self, permit: &Permit, record: AuditRecord) -> WriteReceipt {
        self.write(permit.clone(), Box::new(move |writer| writer.append_audit(&record).map(|_| ())))
    }

    /// Whether other gateways may be at work on the same database.
    fn is_shared(&self) -> bool {
        false
    }

    /// Key of an organisation, organisation kind or `ANY`, interned on first use, for which it waits for a commit: inside
    /// a work, use [`Writer::party`].
    fn party(&self, name: &str) -> Result<PartyKey, StoreError>;

    /// Row key of the Patient with this id, whatever its visibility: for building filters, never for answers.
    fn patient_key(&self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError>;

    /// Checks that the store answers and its disk takes writes (readiness).
    fn check(&self) -> Result<(), StoreError>;
}

/// Work for the writer. It may run on another thread.
pub type WriteWork = Box<dyn FnOnce(&mut dyn Writer) -> Result<(), StoreError> + Send>;

/// Resolves once a write is durable or undone.
pub type WriteReceipt = std::pin::Pin<Box<dyn std::future::Future<Output = Result<(), StoreError>> + Send>>;

/// Runs `work` in the writer and gives back its result once it is durable.
///
/// Errors: those of `work` (nothing of it is stored), or the store's own.
pub async fn commit<T: Send + 'static>(
    store: &dyn Store,
    permit: Permit,
    work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let receipt = store.write(
        permit,
        Box::new(move |writer| {
            let value = work(writer)?;
            // The receiver waits below; were it gone, nobody wants the value.
            let _ = sender.send(value);
            Ok(())
        }),
    );
    receipt.await?;
    receiver.try_recv().map_err(|_| StoreError::Database("a committed write gave no result".to_owned()))
}

/// What a permit's holder may read, in one snapshot.
pub trait Reader: QuarantineReader {
    /// Current version, or its deletion mark, if visible. `None`: never stored or not visible, not told apart.
    fn current(&mut self, kind: ResourceType, id: &ResourceId) -> Result<Option<Stored>, StoreError>;

    /// A given version, if both it and the current one are visible (a label added later hides the past too).
    fn version(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        version: u32,
    ) -> Result<Option<Stored>, StoreError>;

    /// Versions of a resource, a type or the system by the moment they were made: one page, and the total of all that
    /// are asked for. A version is there if both it and the current one of its resource are visible.
    fn changes(&mut self, query: &history::HistoryQuery) -> Result<(Vec<Stored>, u64), StoreError>;

    /// Runs a search plan: one page of matches, their includes, and the exact total when asked.
    fn search(&mut self, plan: &Plan) -> Result<Found, StoreError>;

    /// What includes bring to the matches of a page, of whatever types they are: none twice, none that is a match.
    ///
    /// Errors: `TooCostly` past the limits, since a list cut short looks like one whose rest is hidden.
    fn included(&mut self, includes: &[Include], matches: &[&Stored]) -> Result<Vec<Stored>, StoreError>;

    /// What the visible resources of a type have for a token or uri parameter, each value once: system (empty for none) and
    /// code, of a uri the whole as code. At most `limit`.
    fn used(
        &mut self,
        parameter: &Parameter,
        kind: ResourceType,
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError>;

    /// Those of these types of which anything is stored, whoever may see it: only to pass over searches that find nothing.
    fn stored_kinds(&mut self, kinds: &[ResourceType]) -> Result<Vec<ResourceType>, StoreError>;

    /// The state of the store this snapshot shows: the sequence of the last work in it.
    fn mark(&mut self) -> Result<i64, StoreError>;

    /// Reads under another permit in the same snapshot, or in the same transaction with the changes made in it so far:
    /// each entry of a transaction has a permit of its own, and so have the criteria of a conditional request.
    fn under(
        &mut self,
        permit: &Permit,
        work: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Row key of a visible or, for `link`, any Patient bearing this identifier. More than one: `Ambiguous`.
    ///
    /// Used by `ingest::link` and logical references only: who sends a BSN knows the patient.
    fn patient_by_identifier(
        &mut self,
        system: &str,
        value: &str,
    ) -> Result<Option<(PatientKey, ResourceId)>, StoreError>;

    /// A live resource of `kind` bearing this identifier and authored by the permit's organisation.
    fn own_by_identifier(
        &mut self,
        kind: ResourceType,
        system: &str,
        value: &str,
    ) -> Result<Option<Stored>, StoreError>;

    /// Grants of one patient, for explanation and tests.
    fn arms(&mut self, patient: PatientKey) -> Result<Vec<Arm>, StoreError>;

    /// All live resources of `kind` in one patient's compartment, regardless of the filter. System permits only.
    fn compartment(&mut self, patient: PatientKey, kind: ResourceType) -> Result<Vec<Stored>, StoreError>;

    /// Id of a patient by row key.
    fn patient_id(&mut self, patient: PatientKey) -> Result<Option<ResourceId>, StoreError>;

    /// One page of the audit log, newest first: of one patient, and/or of one organisation, between two moments.
    fn audit(&mut self, query: &AuditQuery) -> Result<(Vec<AuditRow>, u64), StoreError>;

    /// Audit rows in order of sequence, for verification: from `from` (inclusive), at most `limit`.
    fn audit_chain(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError>;

    /// Latest audit sequence number and chain hash; `(0, zeroes)` for an empty log.
    fn audit_head(&mut self) -> Result<(u64, [u8; 32]), StoreError>;

    /// Signed checkpoints of the audit log, oldest first.
    fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError>;

    /// A small document kept under (`shelf`, `key`), e.g. receipts, jobs, originals.
    fn shelf_get(&mut self, shelf: Shelf, owner: PartyKey, key: &str) -> Result<Option<Bytes>, StoreError>;

    /// All documents of an owner's shelf in order of key, from `after` (exclusive), at most `limit`.
    /// `owner` `None`: of every owner (system permits only).
    fn shelf_list(
        &mut self,
        shelf: Shelf,
        owner: Option<PartyKey>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(PartyKey, String, Bytes)>, StoreError>;
}

/// Changes, in the one transaction of a `work`. Sees its own changes.
pub trait Writer: Reader + QuarantineWriter {
    /// Stores a new version of a resource (the first, or one more) with its index rows; the caller has judged
    /// preconditions and visibility through the same writer. Returns the row key.
    fn put(&mut self, record: &Record<'_>) -> Result<i64, StoreError>;

    /// All live resources of `kind` in one patient's compartment, whatever the permit's filter: for the compiler of
    /// grants, which must see every Consent of a patient in the transaction that changes one.
    fn whole_compartment(
        &mut self,
        patient: PatientKey,
        kind: ResourceType,
    ) -> Result<Vec<Stored>, StoreError>;

    /// Row key of the Patient with this id, whatever its visibility: for compartments, never for answers.
    fn patient_key(&mut self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError>;

    /// Replaces all grants of one patient.
    fn replace_arms(&mut self, patient: PatientKey, arms: &[Arm]) -> Result<(), StoreError>;

    /// Replaces all care relations of one patient.
    fn replace_relations(
        &mut self,
        patient: PatientKey,
        relations: &[CareRelation],
    ) -> Result<(), StoreError>;

    /// Appends to the audit log, chained to its predecessor. Returns the sequence number.
    fn append_audit(&mut self, record: &AuditRecord) -> Result<u64, StoreError>;

    /// Keeps a signed checkpoint.
    fn append_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Puts a small document on a shelf, replacing what was there.
    fn shelf_put(
        &mut self,
        shelf: Shelf,
        owner: PartyKey,
        key: &str,
        document: &[u8],
    ) -> Result<(), StoreError>;

    /// Takes a document off a shelf; whether it was there.
    fn shelf_remove(&mut self, shelf: Shelf, owner: PartyKey, key: &str) -> Result<bool, StoreError>;

    /// Takes an assertion id for single use: `false` when it was taken before and has not expired
    /// (RFC 7523 section 3 `jti`; one winner even between nodes).
    fn claim_jti(&mut self, issuer: &str, jti: &str, expires: Timestamp) -> Result<bool, StoreError>;

    /// Interns a party inside this transaction.
    fn party(&mut self, name: &str) -> Result<PartyKey, StoreError>;

    /// Writes the index entries of the next live rows anew, from their bodies: those after a key, at most `limit`, in order
    /// of their keys. System permits only.
    fn reindex(&mut self, after: i64, limit: u32) -> Result<Reindexed, StoreError>;

    /// Writes a number that means nothing, so that its commit shows whether the disk takes writes (readiness).
    fn probe(&mut self) -> Result<(), StoreError>;
}

/// Where, among the gateway's own settings, stands how far the index of the rows has come.
pub const INDEX_STATE: &str = "index";

/// What a batch of a reindex did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reindexed {
    /// Key of the last row; `None`: there are no more.
    pub last: Option<i64>,
    /// Rows that have another number of entries than before.
    pub changed: u32,
    /// Highest key there is.
    pub of: i64,
}

/// One stored version.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Type.
    pub kind: ResourceType,
    /// Logical id.
    pub id: ResourceId,
    /// Version number, from 1.
    pub version: u32,
    /// `meta.lastUpdated`.
    pub updated: Timestamp,
    /// A deletion mark: `body` is empty.
    pub deleted: bool,
    /// Which interaction made it: `POST`, `PUT` or `DELETE` (history entries).
    pub method: Method,
    /// Server-derived columns.
    pub derived: Derived,
    /// The response bytes: canonical `meta`, the rest as received.
    pub body: Bytes,
    /// Row key (stable for the life of the resource).
    pub key: i64,
    /// The grant that opened it to the permit's holder: `Consent/[id]/_history/[version]`; `None` without one.
    pub consent: Option<Arc<str>>,
}

/// HTTP verb that made a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// create
    Post,
    /// update
    Put,
    /// delete
    Delete,
}

/// A version to be stored.
#[derive(Debug)]
pub struct Record<'r> {
    /// Type.
    pub kind: ResourceType,
    /// Logical id.
    pub id: &'r ResourceId,
    /// Version number: previous + 1.
    pub version: u32,
    /// `meta.lastUpdated`.
    pub updated: Timestamp,
    /// Which interaction.
    pub method: Method,
    /// Server-derived columns. For a Patient, `derived.patient` is `None` on first write and the store fills in its
    /// own row key (a Patient is in its own compartment).
    pub derived: Derived,
    /// Response bytes; empty for a deletion.
    pub body: &'r [u8],
    /// Index entries of the new content; empty for a deletion.
    pub entries: &'r [sluis_conformance::path::Entry<'r>],
    /// The new content, read: its texts are indexed by their words. `None` for a deletion.
    pub root: Option<sluis_conformance::json::Node<'r>>,
}

/// Shelves of small documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shelf {
    /// Ingest receipts by message key (sender, format, control id).
    Receipt,
    /// Original bytes of accepted or quarantined documents, by content address.
    Original,
    /// Export jobs.
    ExportJob,
    /// Export files' lines, by job, file and block.
    ExportFile,
    /// What a recipient has received of a patient (for withdrawals).
    Delivered,
    /// Settings and secrets the gateway made for itself (cursor key, pseudonym keys, audit key).
    Secret,
    /// What a sender last said of a resource of its own (time, content), by `Type/id`.
    Statement,
    /// What a sender's own patient numbers mean, by their hash.
    PatientLink,
    /// Answers of writes by the key their client chose, and when they are forgotten.
    Idempotency,
    /// Codes of a sender that no table has a row for, with counts, by mapping and table.
    Unmapped,
    /// Which orders a sender's numbers of placer and filler mean, by their hash.
    Order,
    /// Requests to be answered later.
    AsyncJob,
    /// What they are of, and their answers, by job and part.
    AsyncFile,
}

/// Which audit rows.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Events about this patient.
    pub patient: Option<PatientKey>,
    /// Events of this organisation.
    pub organisation: Option<PartyKey>,
    /// From (inclusive).
    pub from: Option<Timestamp>,
    /// To (exclusive).
    pub to: Option<Timestamp>,
    /// Older than this sequence number.
    pub before: Option<u64>,
    /// At most.
    pub limit: u32,
}

/// One audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Sequence number, from 1 without gaps.
    pub sequence: u64,
    /// Canonical record bytes, as hashed.
    pub body: Bytes,
    /// Chain hash up to and including this row.
    pub hash: [u8; 32],
}

/// Signed head of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Sequence number it covers.
    pub sequence: u64,
    /// C2SP note text with its signature lines.
    pub note: String,
}

/// Why the store could not. Nothing was written unless said.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or its disk failed.
    #[error("the database failed: {0}")]
    Database(String),
    /// The disk is full or read-only: reads go on.
    #[error("the disk takes no writes: {0}")]
    DiskFull(String),
    /// The writer's queue is full; try again.
    #[error("too many writes are waiting")]
    Busy,
    /// Two patients bear one identifier.
    #[error("more than one patient bears this identifier")]
    Ambiguous,
    /// The work took longer than its limit.
    #[error("the query took longer than {0} ms")]
    Timeout(u64),
    /// The caller's own refusal, carried through a transaction that is undone.
    #[error("refused")]
    Refused(Box<crate::response::refusal::Refusal>),
}

impl StoreError {
    /// Puts the limit into a timeout that the database reported without one.
    pub(crate) fn within(self, limit_ms: u64) -> StoreError {
        match self {
            StoreError::Timeout(0) => StoreError::Timeout(limit_ms),
            other => other,
        }
    }

    /// The same error for another work of the same failed commit.
    pub(crate) fn again(&self) -> StoreError {
        match self {
            StoreError::Database(text) => StoreError::Database(text.clone()),
            StoreError::DiskFull(text) => StoreError::DiskFull(text.clone()),
            StoreError::Busy => StoreError::Busy,
            StoreError::Ambiguous => StoreError::Ambiguous,
            StoreError::Timeout(limit_ms) => StoreError::Timeout(*limit_ms),
            StoreError::Refused(refusal) => StoreError::Refused(refusal.clone()),
        }
    }
}
