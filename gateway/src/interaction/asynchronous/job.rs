//! A job as it is kept in the store: who asked what, and how far it is. What it has made stands beside it on
//! `Shelf::AsyncFile`, under keys that begin with the job's id.
//!
//! | key | holds |
//! |---|---|
//! | `[job]/asked` | the Bundle that was sent |
//! | `[job]/part/[n]` | a page; of a Bundle some entries of its answer, a JSON list of texts |
//! | `[job]/shows/[n]` | versions on the page, `Type/id/_history/version`, a JSON list |

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use crate::clock::Timestamp;
use crate::connection::request::ReturnPreference;
use crate::identity::actor::Actor;
use crate::ids::{PartyKey, ResourceId};
use crate::jobs::actor::KeptActor;
use crate::store::{Reader, Shelf, StoreError, Writer, document};

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) id: String,
    pub(super) actor: KeptActor,
    pub(super) asked: Asked,
    /// `X-Request-Id` and peer address of the kick-off, for the records of what is done.
    pub(super) request: String,
    pub(super) address: std::net::IpAddr,
    /// `Prefer: handling=lenient` of the kick-off.
    pub(super) lenient: bool,
    /// `Prefer: return=` of the kick-off.
    pub(super) prefer: Prefer,
    /// `Idempotency-Key` of the kick-off.
    pub(super) key: Option<String>,
    /// Microseconds.
    pub(super) started: i64,
    /// When job and answer go, microseconds.
    pub(super) expires: i64,
    pub(super) state: JobState,
    pub(super) place: Place,
    /// Link to the page to come.
    pub(super) next: Option<String>,
    /// Entries of the Bundle.
    pub(super) entries: Option<u32>,
    /// Resources and bytes on the pages so far.
    pub(super) resources: u64,
    pub(super) bytes: u64,
    /// Matches on the pages so far, and how many the first page said there are.
    pub(super) matches: u64,
    pub(super) total: Option<u64>,
    /// Why nothing was done, as an OperationOutcome.
    pub(super) outcome: Option<String>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Times it has begun.
    pub(super) turn: u32,
    /// Pages or entries done.
    pub(super) done: u32,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum JobState {
    /// To be run, or running.
    Running,
    /// Its answer, or why there is none, can be fetched.
    Done,
    /// Was done; something in its answer may no longer be seen, so it is gone.
    Stale,
    /// The gateway failed.
    Failed,
    /// Ended by the client or by time: nobody sees it any more, the runner clears it away.
    Ended,
}

/// `Prefer: return=`, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Prefer {
    Representation,
    Minimal,
    OperationOutcome,
}

impl From<ReturnPreference> for Prefer {
    fn from(prefer: ReturnPreference) -> Prefer {
        match prefer {
            ReturnPreference::Representation => Prefer::Representation,
            ReturnPreference::Minimal => Prefer::Minimal,
            ReturnPreference::OperationOutcome => Prefer::OperationOutcome,
        }
    }
}

impl From<Prefer> for ReturnPreference {
    fn from(prefer: Prefer) -> ReturnPreference {
        match prefer {
            Prefer::Representation => ReturnPreference::Representation,
            Prefer::Minimal => ReturnPreference::Minimal,
            Prefer::OperationOutcome => ReturnPreference::OperationOutcome,
        }
    }
}

impl Job {
    /// The job of that id, for who asked for it; everyone else: not there.
    pub(super) fn find(
        reader: &mut dyn Reader,
        owner: PartyKey,
        id: &ResourceId,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<Option<Job>, StoreError> {
        let job = Job::load(reader, owner, id.as_str())?;
        let there = |job: &Job| job.state != JobState::Ended && !job.is_expired(now) && job.actor.is(actor);
        Ok(job.filter(there))
    }

    pub(super) fn load(
        reader: &mut dyn Reader,
        owner: PartyKey,
        id: &str,
    ) -> Result<Option<Job>, StoreError> {
        document::get(reader, Shelf::AsyncJob, owner, id)
    }

    /// The job, if it still runs and stands where `self` does: nobody else has carried it on.
    pub(super) fn unmoved(
        &self,
        reader: &mut dyn Reader,
        owner: PartyKey,
    ) -> Result<Option<Job>, StoreError> {
        let job = Job::load(reader, owner, &self.id)?;
        Ok(job.filter(|job| job.state == JobState::Running && job.place == self.place))
    }

    pub(super) fn save(&self, writer: &mut dyn Writer, owner: PartyKey) -> Result<(), StoreError> {
        document::put(writer, Shelf::AsyncJob, owner, &self.id, self)
    }

    /// Whether its time is over; a running job's is not.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.state != JobState::Running && self.expires <= now.0
    }
}

pub(super) fn asked_key(job: &str) -> String {
    format!("{job}/asked")
}

pub(super) fn part_key(job: &str, part: u32) -> String {
    format!("{job}/part/{part:06}")
}

pub(super) fn shows_key(job: &str, part: u32) -> String {
    format!("{job}/shows/{part:06}")
}
