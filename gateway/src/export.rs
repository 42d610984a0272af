//! Bulk export for a cohort: jobs, NDJSON, pseudonyms, manifest.
//!
//! `Group/[id]/$export` makes a job ([`start`]); the runner ([`crate::jobs`]) reads the cohort block by block, each block on its own
//! snapshot under a permit judged anew, so that a consent withdrawn while a job runs hides the rest; [`status`] gives
//! the manifest, [`file`] a file, [`cancel`] ends it. Jobs and their lines are kept in the store, lines and progress in
//! one transaction: a restart neither loses nor doubles a line.
//!
//! Who may export is for `decision`; which rows a consent opens is for the filter inside the store. Nothing here grants.
//! Source: Bulk Data Access IG v2, export.html (HL7 FHIR, STU 2).

mod block;
mod finish;
mod job;
mod kickoff;
mod manifest;
mod ndjson;
pub mod profile;
pub mod pseudonym;
mod run;
mod standing;

use std::sync::Arc;

pub use kickoff::{Kickoff, start};
pub use manifest::{cancel, status};
pub use ndjson::file;

use crate::audit::entry::AuditRecord;
use crate::clock::{Clock, Timestamp};
use crate::decision::Permit;
use crate::identity::actor::Actor;
use crate::ids::{PartyKey, PatientKey};
use crate::interaction::write::refusal;
use crate::jobs::{self, Bell};
use crate::response::refusal::Refusal;
use crate::store::{Store, StoreError, Writer};
use profile::Profile;

/// What export needs of the gateway. One for the life of the process, shared by the handlers and the runner.
pub struct Context {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Leave, judged anew for every block.
    pub permits: Arc<dyn Permits>,
    /// Makes audit records of disclosures.
    pub audit: Arc<dyn AuditSink>,
    /// What may leave.
    pub profile: Arc<Profile>,
    /// Public base URL, without trailing slash.
    pub base: Arc<str>,
    /// Limits.
    pub settings: Settings,
    bell: Bell,
}

impl Context {
    /// A context; nothing runs until [`run`] is spawned.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        permits: Arc<dyn Permits>,
        audit: Arc<dyn AuditSink>,
        profile: Arc<Profile>,
        base: Arc<str>,
        settings: Settings,
    ) -> Context {
        Context { store, clock, permits, audit, profile, base, settings, bell: Bell::default() }
    }

    /// Runs `work` in the writer as the gateway's own and gives back its result once it is durable.
    async fn commit<T: Send + 'static>(
        &self,
        reason: &'static str,
        work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        crate::store::commit(&*self.store, self.permits.system(reason), work).await
    }
}

/// Leave to act, judged at the moment it is asked for: a job outlives the request that started it.
pub trait Permits: Send + Sync {
    /// A permit of `Action::Export` for this actor now.
    ///
    /// Errors: as `decide`: scope, role or purpose no longer allow it, or the client is disabled.
    fn export(&self, actor: &Arc<Actor>) -> Result<Permit, Refusal>;

    /// The gateway's own permit, with the reason that goes into its basis.
    fn system(&self, reason: &'static str) -> Permit;
}

/// Turns the facts of a disclosure into an audit record; the record is appended in the transaction of the act.
pub trait AuditSink: Send + Sync {
    /// The record of one disclosure.
    fn record(&self, disclosure: &Disclosure<'_>) -> AuditRecord;
}

/// What an export did with patients' data (IHE BALP `PrivacyDisclosure.Source` when delivered).
#[derive(Debug)]
pub struct Disclosure<'d> {
    /// Whether data was read for a job, or handed over.
    pub act: Act,
    /// When.
    pub at: Timestamp,
    /// The request it answers; `None` for a block the runner reads.
    pub asked: Option<Asked<'d>>,
    /// For whom.
    pub actor: &'d Actor,
    /// Key of the actor's organisation.
    pub organisation: PartyKey,
    /// Rule that allowed it: [`Permit::basis`].
    pub basis: &'d str,
    /// The job.
    pub job: &'d str,
    /// The file handed over.
    pub file: Option<&'d str>,
    /// Type of the resources, when it is one.
    pub kind: Option<&'d str>,
    /// Whose data.
    pub patients: &'d [PatientKey],
    /// How many resources.
    pub resources: u64,
    /// Consents relied on: `Consent/[id]/_history/[version]`, without repetition.
    pub consents: &'d [Box<str>],
}

/// What a record says of the request that asked for a file.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// `X-Request-Id`
    pub id: &'r str,
    /// Peer address.
    pub address: std::net::IpAddr,
}

/// The two acts of an export that touch patients' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A block was read into the job's files.
    BlockRead,
    /// A file was handed over.
    FileDelivered,
}

/// Limits of export: name, unit, default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Smallest cohort, for the purposes the profile names. Members of the Group; default 10.
    pub cohort_min: u32,
    /// Largest cohort, members; default 20,000: all of them are looked at once on one snapshot. More: 413.
    pub cohort_members_max: u32,
    /// Resources read under one snapshot, 1 to 1,000; default 1,000.
    pub block_resources_max: u32,
    /// Patients looked at under one snapshot; default 200.
    pub block_patients_max: u32,
    /// Bytes after which a file is closed; default 8 MiB. A file is at least one patient's lines.
    pub file_bytes_max: u64,
    /// Jobs.
    pub jobs: jobs::Settings,
    /// Seconds `transactionTime` lies before the start of the job, so that a write on its way then is in the next
    /// `_since` export; at least the time a request may take. Default 60.
    pub settle_seconds: i64,
    /// Pseudonym epoch. Another epoch is another set of pseudonyms: never change it silently. Default 1.
    pub pseudonym_epoch: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            cohort_min: 10,
            cohort_members_max: 20_000,
            block_resources_max: 1_000,
            block_patients_max: 200,
            file_bytes_max: 8 << 20,
            jobs: jobs::Settings::default(),
            settle_seconds: 60,
            pseudonym_epoch: 1,
        }
    }
}

#[cfg(test)]
mod tests;
