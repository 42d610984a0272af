//! Jobs that outlive the request that asked for them: exports, and requests answered later.
//!
//! The store is the queue: what a stopped process left unfinished is found at the next start, at the place of its last
//! committed step, or by another gateway on the database once it has stood still. Two processes on one job do no harm:
//! each kind of job compares its place inside the transaction that moves it.
//!
//! Here stands who carries which job on, and when; what a step does, and under which permit, is each kind's own.

pub mod actor;
pub mod shelf;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::ids::PartyKey;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, Store, StoreError, Writer};

/// A kind of job.
pub trait Jobs: Send + Sync + 'static {
    /// How far a job is; one that stays the same stands still.
    type Position: Clone + PartialEq + Send + Sync;

    /// What the kind is called in the log.
    const NAME: &'static str;
    /// Where its jobs are kept, by owner and id.
    const JOBS: Shelf;
    /// Where what they have made is kept, under keys that begin with the job's id and a slash.
    const FILES: Shelf;

    /// Where everything is.
    fn store(&self) -> &dyn Store;
    /// The gateway's own permit.
    fn system(&self, reason: &'static str) -> Permit;
    /// Wakes the runner.
    fn bell(&self) -> &Bell;
    /// The limits.
    fn settings(&self) -> Settings;

    /// What is to be done with a job.
    ///
    /// Errors: the document is none of a job.
    fn standing(&self, document: &[u8]) -> Result<Standing<Self::Position>, StoreError>;

    /// Does the next piece of a job and keeps it with the place reached, in one transaction.
    ///
    /// Errors: what stopped it; the piece was not kept.
    fn step(
        self: &Arc<Self>,
        owner: PartyKey,
        id: &str,
    ) -> impl Future<Output = Result<Step, Refusal>> + Send;

    /// Puts a job that cannot go on into its last state.
    fn fail(
        &self,
        owner: PartyKey,
        id: &str,
        cause: &Refusal,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Limits of one kind of job: unit, default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Jobs of one client that may run at once; default 2. More: 429.
    pub running_max: u32,
    /// Jobs of one client that are kept, finished ones included; default 20. More: 429.
    pub kept_max: u32,
    /// Jobs run side by side by one process, at least 1; default 2.
    pub concurrent_max: u32,
    /// Milliseconds a job may stand still before another gateway on the database carries it on; default 30,000.
    pub takeover_ms: u64,
    /// Seconds between two polls of one job; default 1. Sooner: 429.
    pub poll_seconds_min: i64,
    /// Seconds a finished job and what it made are kept; default 86,400.
    pub kept_seconds: i64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            running_max: 2,
            kept_max: 20,
            concurrent_max: 2,
            takeover_ms: 30_000,
            poll_seconds_min: 1,
            kept_seconds: 86_400,
        }
    }
}

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// Finished, ended, or gone.
    Over,
}

/// What is to be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing<P> {
    /// To be carried on from here.
    Unfinished(P),
    /// Finished, and fetched from.
    Kept,
    /// Its files go, it stays to tell why.
    Emptied,
    /// It goes, with its files.
    Over,
}

/// What lives in memory only: who polled when, which jobs were asked for at this gateway, and the runner's bell.
#[derive(Debug, Default)]
pub struct Bell {
    polls: Mutex<HashMap<String, Timestamp>>,
    started: Mutex<HashSet<String>>,
    wake: tokio::sync::Notify,
}

impl Bell {
    /// Whether a poll comes less than `seconds` after the last one; remembers it.
    pub fn polls_too_fast(&self, job: &str, now: Timestamp, seconds: i64) -> bool {
        // A poisoned lock means a panic while holding plain times: they are still usable.
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.get(job).is_some_and(|last| now < last.plus_seconds(seconds)) {
            return true;
        }
        polls.insert(job.to_owned(), now);
        false
    }

    /// Forgets a job's polls.
    pub fn forget(&self, job: &str) {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner).remove(job);
    }

    /// Rings the runner for a job that was asked for at this gateway.
    pub fn start_here(&self, job: &str) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(job.to_owned());
        self.ring();
    }

    /// Rings the runner.
    pub fn ring(&self) {
        self.wake.notify_one();
    }

    /// Jobs asked for at this gateway since the last call.
    fn started(&self) -> HashSet<String> {
        std::mem::take(&mut *self.started.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs jobs until `shutdown` turns true; ends between two steps then.
///
/// Spawn it once per process and kind. What cannot be done now (store busy) is tried again; a job that fails is marked
/// so and told to its client.
pub async fn run<J: Jobs>(jobs: Arc<J>, mut shutdown: watch::Receiver<bool>) {
    let mut tasks: JoinSet<String> = JoinSet::new();
    let mut running: HashSet<String> = HashSet::new();
    let (mut mine, mut others) = (HashSet::new(), Others::default());
    let Settings { concurrent_max, takeover_ms, .. } = jobs.settings();
    let takeover = Duration::from_millis(takeover_ms);
    while !*shutdown.borrow() {
        // Before the list is read: a job is in it by the time it is named here.
        mine.extend(jobs.bell().started());
        match due(&*jobs) {
            Ok(due) => {
                mine.retain(|id| due.jobs.iter().any(|job| job.id == *id));
                others.look(&due.jobs);
                for Waiting { owner, id, position } in due.jobs {
                    let room = running.len() < concurrent_max.max(1) as usize;
                    let free = mine.contains(&id) || others.is_free(&id, &position, takeover);
                    if room && free && running.insert(id.clone()) {
                        let (jobs, shutdown) = (Arc::clone(&jobs), shutdown.clone());
                        tasks.spawn(async move {
                            carry(&jobs, owner, &id, &shutdown).await;
                            id
                        });
                    }
                }
                for (owner, id, whole) in due.to_clear {
                    if let Err(error) = clear(&*jobs, owner, &id, whole).await {
                        tracing::warn!(kind = J::NAME, job = %id, %error, "files could not be cleared away; tried again later");
                    }
                }
            }
            Err(error) => {
                tracing::warn!(kind = J::NAME, %error, "jobs could not be listed; tried again later")
            }
        }
        tokio::select! {
            _ = shutdown.changed() => {}
            () = jobs.bell().wake.notified() => {}
            () = tokio::time::sleep(takeover) => {}
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                match done {
                    Ok(id) => { running.remove(&id); }
                    // A job whose task panicked stays unfinished; forgetting the set lets it be taken up again.
                    Err(error) => { tracing::error!(kind = J::NAME, %error, "the task of a job ended"); running.clear(); }
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Rings the runner and says how many jobs are unfinished: for the start of a process.
///
/// Errors: the store's.
pub fn resume_all<J: Jobs>(jobs: &J) -> Result<usize, StoreError> {
    let due = due(jobs)?;
    jobs.bell().ring();
    Ok(due.jobs.len())
}

/// Jobs that another gateway may be at work on: where each stood, and since when.
struct Others<P> {
    seen: HashMap<String, (P, Instant)>,
    looked: bool,
}

impl<P> Default for Others<P> {
    fn default() -> Others<P> {
        Others { seen: HashMap::new(), looked: false }
    }
}

impl<P: Clone + PartialEq> Others<P> {
    /// Forgets jobs that are over. What the first look finds is free: a process before this one left it.
    fn look(&mut self, jobs: &[Waiting<P>]) {
        self.seen.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        if !self.looked {
            self.looked = true;
            let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(86_400)) else { return };
            self.seen.extend(jobs.iter().map(|job| (job.id.clone(), (job.position.clone(), long_ago))));
        }
    }

    /// Whether a job has stood still for `pause`, so that nobody is at work on it.
    fn is_free(&mut self, id: &str, position: &P, pause: Duration) -> bool {
        let now = Instant::now();
        let (stood, since) = self.seen.entry(id.to_owned()).or_insert_with(|| (position.clone(), now));
        if stood != position {
            (*stood, *since) = (position.clone(), now);
        }
        now.duration_since(*since) >= pause
    }
}

/// A job that is not finished.
struct Waiting<P> {
    owner: PartyKey,
    id: String,
    position: P,
}

/// What there is to do.
struct Due<P> {
    jobs: Vec<Waiting<P>>,
    /// Jobs whose files go; `true`: the job goes too.
    to_clear: Vec<(PartyKey, String, bool)>,
}

fn due<J: Jobs>(jobs: &J) -> Result<Due<J::Position>, StoreError> {
    let mut due = Due { jobs: Vec::new(), to_clear: Vec::new() };
    jobs.store().read(&jobs.system("job-queue"), &mut |reader| {
        due.jobs.clear();
        due.to_clear.clear();
        let mut after = String::new();
        loop {
            let rows = reader.shelf_list(J::JOBS, None, &after, 200)?;
            let Some((_, last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (owner, id, document) in rows {
                match jobs.standing(&document)? {
                    Standing::Unfinished(position) => due.jobs.push(Waiting { owner, id, position }),
                    Standing::Over => due.to_clear.push((owner, id, true)),
                    Standing::Emptied => due.to_clear.push((owner, id, false)),
                    Standing::Kept => {}
                }
            }
        }
    })?;
    Ok(due)
}

/// Carries one job on until it is finished, fails or the process stops.
async fn carry<J: Jobs>(jobs: &Arc<J>, owner: PartyKey, id: &str, shutdown: &watch::Receiver<bool>) {
    let mut failures = 0u32;
    while !*shutdown.borrow() {
        match jobs.step(owner, id).await {
            Ok(Step::More) => failures = 0,
            Ok(Step::Over) => return,
            Err(cause) => {
                let passing =
                    matches!(cause.reason, Reason::Busy | Reason::Timeout | Reason::StoreUnavailable);
                failures += 1;
                tracing::warn!(kind = J::NAME, job = %id, reason = ?cause.reason, cause = cause.cause.as_deref(), failures, "a step of a job failed");
                if passing && failures < FAILURES_MAX {
                    tokio::time::sleep(Duration::from_millis(100 << failures.min(6))).await;
                    continue;
                }
                if let Err(error) = jobs.fail(owner, id, &cause).await {
                    tracing::error!(kind = J::NAME, job = %id, %error, "a failed job could not be marked; it is tried again");
                }
                return;
            }
        }
    }
}

/// Times a step is tried before its job fails.
const FAILURES_MAX: u32 = 8;

/// Clears a job's files away, in small transactions; then, if `whole`, the job.
async fn clear<J: Jobs>(jobs: &J, owner: PartyKey, id: &str, whole: bool) -> Result<(), StoreError> {
    let prefix = format!("{id}/");
    loop {
        let mut left = false;
        jobs.store().read(&jobs.system("job-clear"), &mut |reader| {
            left = !shelf::list(reader, J::FILES, owner, &prefix, &prefix, 1)?.is_empty();
            Ok(())
        })?;
        if !left {
            break;
        }
        let prefix = prefix.clone();
        commit(jobs, move |writer| shelf::remove(writer, J::FILES, owner, &prefix, 100)).await?;
    }
    if whole {
        let key = id.to_owned();
        commit(jobs, move |writer| writer.shelf_remove(J::JOBS, owner, &key)).await?;
        jobs.bell().forget(id);
    }
    Ok(())
}

async fn commit<J: Jobs, T: Send + 'static>(
    jobs: &J,
    work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    crate::store::commit(jobs.store(), jobs.system("job-clear"), work).await
}
