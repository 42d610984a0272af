//! An export job as it is kept in the store, and the keys of what it has written.
//!
//! One small document per job on `Shelf::ExportJob` (owner: the originating organisation); everything large is beside
//! it on `Shelf::ExportFile`, under keys that begin with the job's id:
//!
//! | key | holds |
//! |---|---|
//! | `[job]/members` | the cohort at kick-off, in order |
//! | `[job]/who/[member]` | what became of a member |
//! | `[job]/line/[type]/[member]/[part]` | her lines of a type, NDJSON |
//! | `[job]/deleted/[part]`, `[job]/deleted-who` | withdrawals to report, NDJSON; whose |
//! | `[job]/error` | counts as OperationOutcome, NDJSON |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::standing::Opened;
use crate::clock::Timestamp;
use crate::identity::actor::{Actor, Permissions, ScopeLevel};
use crate::ids::{PartyKey, ResourceId};
use crate::store::{Reader, Shelf, StoreError, Writer, document};

pub(super) use crate::jobs::actor::KeptActor;
pub(super) use crate::jobs::shelf::{list, remove};

/// A job: who asked for what, how far it is, what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) actor: KeptActor,
    pub(super) group: String,
    /// Types to export, in alphabetical order.
    pub(super) kinds: Vec<String>,
    /// `_since`, microseconds.
    pub(super) since: Option<i64>,
    /// URL of the kick-off.
    pub(super) request: String,
    pub(super) started: i64,
    pub(super) transaction_time: i64,
    /// When job and files go, microseconds.
    pub(super) expires: i64,
    pub(super) epoch: u32,
    pub(super) state: JobState,
    pub(super) members: u32,
    pub(super) position: Position,
    /// Set when done.
    pub(super) result: Option<Outcome>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum JobState {
    /// To be run, or running.
    Running,
    /// Files can be fetched.
    Done,
    /// Was done; a consent behind its files changed since, so they are gone.
    Stale,
    /// Leave was withdrawn while it ran.
    Refused,
    /// The gateway failed.
    Failed,
    /// Ended by the client or by time: nobody sees it any more, the runner clears it away.
    Ended,
}

/// How far the runner is: the next thing to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Index among the members; their number: all read.
    pub(super) member: u32,
    /// Index among the job's types.
    pub(super) kind: u32,
    /// Number of the next part of this member.
    pub(super) part: u32,
    /// Where the store's next page of that type starts.
    pub(super) after: Option<Vec<u8>>,
}

/// A member of the cohort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) id: String,
    /// Row key; `None`: the Group names a patient who is not here.
    pub(super) key: Option<i64>,
}

/// What became of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Who {
    pub(super) id: String,
    pub(super) key: Option<i64>,
    /// Why nothing of hers is in the files.
    pub(super) withheld: Option<WithheldBy>,
    /// What her consent opened when her lines were written.
    pub(super) opened: Vec<Opened>,
    /// Resources and bytes of her lines, by type.
    pub(super) kinds: BTreeMap<String, Amount>,
    /// Resources read, pseudonymisable or not.
    pub(super) seen: u64,
    /// Resources that could not be made pseudonymous.
    pub(super) unfit: u64,
}

/// Lines, their bytes, and the parts they are kept in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Amount {
    pub(super) lines: u64,
    pub(super) bytes: u64,
    pub(super) parts: Vec<u32>,
}

/// Why nothing of a member is in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WithheldBy {
    /// No grant for this recipient and purpose, and none was used before.
    NoConsent,
    /// Delivered before, or opened when this job came by; not any more.
    Withdrawn,
    /// The grant ran out of time.
    Expired,
    /// A grant, but nothing it opens.
    NoData,
    /// A grant, but nothing changed after `_since`.
    Unchanged,
    /// Everything that is open failed to be made pseudonymous.
    NotPseudonymisable,
}

impl WithheldBy {
    /// The code in the manifest.
    pub(super) fn code(self) -> &'static str {
        match self {
            WithheldBy::NoConsent => "no-consent",
            WithheldBy::Withdrawn => "withdrawn",
            WithheldBy::Expired => "expired",
            WithheldBy::NoData => "no-data",
            WithheldBy::Unchanged => "unchanged",
            WithheldBy::NotPseudonymisable => "not-pseudonymisable",
        }
    }
}

/// What a finished job gives: files and counts that add up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) files: Vec<File>,
    /// Members with lines.
    pub(super) exported: u32,
    /// Members without, by reason. `exported` and these add up to the cohort.
    pub(super) withheld: BTreeMap<WithheldBy, u32>,
    /// Patients delivered before whose consent no longer stands, in this cohort or not.
    pub(super) withdrawals: u32,
    /// Resources that could not be made pseudonymous.
    pub(super) unfit: u64,
    pub(super) profile: String,
}

/// One file of a finished job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) section: Section,
    pub(super) kind: String,
    pub(super) count: u64,
    /// First and last member whose lines are in it.
    pub(super) members: (u32, u32),
}

/// Which list of the manifest a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Section {
    Output,
    Deleted,
    Error,
}

impl Job {
    /// The job of that id, for whoever may see it: the originating client, organisation and purpose, with scopes that
    /// cover it (IG v2 export.html#privacy-and-security-considerations). Everyone else: not there.
    pub(super) fn find(
        reader: &mut dyn Reader,
        owner: PartyKey,
        id: &ResourceId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        let job = Job::load(reader, owner, id.as_str())?;
        Ok(job.filter(|job| {
            job.state != JobState::Ended
                && !job.is_expired(now)
                && job.actor.client.as_str() == actor.client.as_ref()
                && job.actor.organisation.as_str() == actor.organisation.as_str()
                && job.actor.purpose.as_str() == actor.purpose.as_ref()
                && job.kinds.iter().all(|kind| covers(actor, kind))
        }))
    }

    pub(super) fn load(
        reader: &mut dyn Reader,
        owner: PartyKey,
        id: &str,
    ) -> Result<Option<Job>, StoreError> {
        document::get(reader, Shelf::ExportJob, owner, id)
    }

    pub(super) fn save(&self, writer: &mut dyn Writer, owner: PartyKey) -> Result<(), StoreError> {
        document::put(writer, Shelf::ExportJob, owner, &self.id, self)
    }

    /// Whether its time is over; a running job's is not.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.state != JobState::Running && self.expires <= now.0
    }

    /// Whether all members are read.
    pub(super) fn is_read(&self) -> bool {
        self.position.member >= self.members
    }
}

/// Whether the actor's scopes let a resource of this type be read and searched in bulk: `system/[type].rs` without
/// constraint (SMART App Launch 2.2 scopes-and-launch-context.html; HFS #1261: reading alone is not enough).
pub(super) fn covers(actor: &Actor, kind: &str) -> bool {
    has_scope(actor, kind, |permissions| permissions.read && permissions.search)
}

/// Whether the actor's scopes let a resource of this type be read: `system/[type].r`.
pub(super) fn may_read(actor: &Actor, kind: &str) -> bool {
    has_scope(actor, kind, |permissions| permissions.read)
}

fn has_scope(actor: &Actor, kind: &str, lets: impl Fn(Permissions) -> bool) -> bool {
    actor.scopes.iter().any(|scope| {
        scope.level == ScopeLevel::System
            && scope.kind.as_deref().is_none_or(|of| of == kind)
            && lets(scope.permissions)
    })
}

pub(super) fn members_key(job: &str) -> String {
    format!("{job}/members")
}

pub(super) fn who_key(job: &str, member: u32) -> String {
    format!("{job}/who/{member:06}")
}

pub(super) fn line_key(job: &str, kind: &str, member: u32, part: u32) -> String {
    format!("{job}/line/{kind}/{member:06}/{part:06}")
}

pub(super) fn deleted_key(job: &str, part: u32) -> String {
    format!("{job}/deleted/{part:06}")
}

pub(super) fn deleted_who_key(job: &str) -> String {
    format!("{job}/deleted-who")
}

pub(super) fn error_key(job: &str) -> String {
    format!("{job}/error")
}

/// Key on `Shelf::Delivered`: what this recipient has had of a patient for a purpose.
pub(super) fn delivered_key(purpose: &str, patient: i64) -> String {
    format!("{purpose}/{patient:020}")
}

/// What a recipient has had of a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivered {
    /// Logical id, for the pseudonym she was delivered under.
    pub(super) id: String,
    pub(super) epoch: u32,
    /// First delivery, microseconds.
    pub(super) first: i64,
}
