//! Requests answered later (`Prefer: respond-async`): searches, `$everything`, histories, batches and transactions.
//!
//! The kick-off keeps what was asked as a job ([`start`]) and answers 202; [`run`] does it, a page or some entries at a
//! step, each under a permit judged then; [`fetch`] tells how far it is and hands the answer out, once every version in
//! it is still visible to who asked. A job keeps who asked and what, never a permission.
//!
//! Source: FHIR R4 async.html. The status tells of Bundles to fetch, each what a synchronous answer would have been.

mod asked;
mod bundle;
mod fetch;
mod job;
mod run;
mod start;

pub use asked::Asked;
pub use fetch::answer;
pub use run::Runner;
pub use start::start;

use crate::jobs::{self, Bell};

/// What lives in memory of the jobs, and their limits.
#[derive(Debug, Default)]
pub struct Later {
    /// Limits.
    pub settings: Settings,
    /// Who polled when; the runner's bell.
    pub(crate) bell: Bell,
}

impl Later {
    /// With these limits.
    pub fn new(settings: Settings) -> Later {
        Later { settings, bell: Bell::default() }
    }
}

/// Limits of requests answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Jobs.
    pub jobs: jobs::Settings,
    /// Resources in one answer, on all its pages. More: the job ends with `too-costly`.
    pub resources_max: u64,
    /// Bytes of one answer, all its pages. More: the job ends with `too-costly`.
    pub bytes_max: u64,
    /// Entries of a batch done at one step.
    pub step_entries_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            jobs: jobs::Settings { running_max: 4, kept_seconds: 3_600, ..jobs::Settings::default() },
            resources_max: 20_000,
            bytes_max: 64 << 20,
            step_entries_max: 50,
        }
    }
}
