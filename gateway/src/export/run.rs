//! The runner: takes jobs that are not finished off the store and carries each on, a block at a time.
//!
//! The store is the queue: what a stopped process left unfinished is found at the next start, at the position of its
//! last committed block, or by another gateway on the database once it has stood still. Two processes on one job do no
//! harm: progress is compared inside the transaction that moves it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::block::{self, Block, Desk};
use super::finish;
use super::job::{self, Job, JobState, Member, Position, Who};
use super::pseudonym::{self, KeyedPseudonyms};
use super::{Act, Context, Disclosure, refusal};
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, StoreError, Writer};

/// Runs jobs until `shutdown` turns true; ends at the next block boundary then.
///
/// Spawn it once per process. What cannot be done now (store busy) is tried again; a job that fails is marked so and
/// told to its client.
pub async fn run(context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    let mut tasks: JoinSet<(PartyKey, String)> = JoinSet::new();
    let mut running: HashSet<String> = HashSet::new();
    let (mut mine, mut others) = (HashSet::new(), Others::default());
    let pause = Duration::from_secs(context.settings.takeover_seconds.max(1));
    while !*shutdown.borrow() {
        // Before the list is read: a job is in it by the time it is named here.
        mine.extend(context.started());
        match due(&context) {
            Ok(due) => {
                mine.retain(|id| due.jobs.iter().any(|job| job.id == *id));
                others.look(&due.jobs);
                for Waiting { owner, id, position } in due.jobs {
                    let room = running.len() < context.settings.jobs_concurrent_max.max(1) as usize;
                    let free = mine.contains(&id) || others.is_free(&id, &position, pause);
                    if room && free && running.insert(id.clone()) {
                        let (context, shutdown) = (Arc::clone(&context), shutdown.clone());
                        tasks.spawn(async move {
                            carry(&context, owner, &id, &shutdown).await;
                            (owner, id)
                        });
                    }
                }
                for (owner, id, whole) in due.to_clear {
                    if let Err(error) = clear(&context, owner, &id, whole).await {
                        tracing::warn!(job = %id, %error, "export files could not be cleared away; tried again later");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "export jobs could not be listed; tried again later"),
        }
        tokio::select! {
            _ = shutdown.changed() => {}
            () = context.state.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                match done {
                    Ok((_, id)) => { running.remove(&id); }
                    // A job whose task panicked stays unfinished; forgetting the set lets it be taken up again.
                    Err(error) => { tracing::error!(%error, "an export task ended"); running.clear(); }
                }
            }
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Rings the runner and says how many jobs are unfinished: for the start of a process.
///
/// Errors: the store's.
pub fn resume_all(context: &Context) -> Result<usize, StoreError> {
    let due = due(context)?;
    context.state.wake.notify_one();
    Ok(due.jobs.len())
}

/// Jobs that another gateway may be at work on: where each stood, and since when.
#[derive(Default)]
struct Others {
    seen: HashMap<String, (Position, Instant)>,
    looked: bool,
}

impl Others {
    /// Forgets jobs that are over. What the first look finds is free: a process before this one left it.
    fn look(&mut self, jobs: &[Waiting]) {
        self.seen.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        if !self.looked {
            self.looked = true;
            let Some(long_ago) = Instant::now().checked_sub(Duration::from_secs(86_400)) else { return };
            self.seen.extend(jobs.iter().map(|job| (job.id.clone(), (job.position.clone(), long_ago))));
        }
    }

    /// Whether a job has stood still for `pause`, so that nobody is at work on it.
    fn is_free(&mut self, id: &str, position: &Position, pause: Duration) -> bool {
        let now = Instant::now();
        let (stood, since) = self.seen.entry(id.to_owned()).or_insert_with(|| (position.clone(), now));
        if stood != position {
            (*stood, *since) = (position.clone(), now);
        }
        now.duration_since(*since) >= pause
    }
}

/// A job that is not finished.
struct Waiting {
    owner: PartyKey,
    id: String,
    position: Position,
}

/// What there is to do.
struct Due {
    jobs: Vec<Waiting>,
    /// Jobs whose files go; `true`: the job goes too.
    to_clear: Vec<(PartyKey, String, bool)>,
}

fn due(context: &Context) -> Result<Due, StoreError> {
    let mut due = Due { jobs: Vec::new(), to_clear: Vec::new() };
    let now = context.clock.now();
    let permit = context.permits.system("export-queue");
    context.store.read(&permit, &mut |reader| {
        due.jobs.clear();
        due.to_clear.clear();
        let mut after = String::new();
        loop {
            let rows = reader.shelf_list(Shelf::ExportJob, None, &after, 200)?;
            let Some((_, last, _)) = rows.last() else { return Ok(()) };
            after.clone_from(last);
            for (owner, id, document) in rows {
                let job: Job = job::decode(&document)?;
                match job.state {
                    JobState::Running => due.jobs.push(Waiting { owner, id, position: job.position }),
                    JobState::Ended => due.to_clear.push((owner, id, true)),
                    _ if job.is_expired(now) => due.to_clear.push((owner, id, true)),
                    JobState::Stale | JobState::Refused | JobState::Failed => {
                        due.to_clear.push((owner, id, false))
                    }
                    JobState::Done => {}
                }
            }
        }
    })?;
    Ok(due)
}

/// Carries one job on until it is finished, fails or the process stops.
async fn carry(context: &Arc<Context>, owner: PartyKey, id: &str, shutdown: &watch::Receiver<bool>) {
    let mut failures = 0u32;
    while !*shutdown.borrow() {
        match step(context, owner, id).await {
            Ok(Step::More) => failures = 0,
            Ok(Step::Over) => return,
            Err(cause) => {
                let passing =
                    matches!(cause.reason, Reason::Busy | Reason::Timeout | Reason::StoreUnavailable);
                failures += 1;
                tracing::warn!(job = %id, reason = ?cause.reason, cause = cause.cause.as_deref(), failures, "export block failed");
                if passing && failures < FAILURES_MAX {
                    tokio::time::sleep(Duration::from_millis(100 << failures.min(6))).await;
                    continue;
                }
                let state =
                    if cause.reason == Reason::Forbidden { JobState::Refused } else { JobState::Failed };
                if let Err(error) = end(context, owner, id, state).await {
                    tracing::error!(job = %id, %error, "a failed export could not be marked; it is tried again");
                }
                return;
            }
        }
    }
}

/// Times a block is tried before its job fails.
const FAILURES_MAX: u32 = 8;

/// Whether a job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There is more to do.
    More,
    /// Finished, ended, or gone.
    Over,
}

/// Reads one block and stores it with the progress; behind the last one, finishes the job.
pub(super) async fn step(context: &Arc<Context>, owner: PartyKey, id: &str) -> Result<Step, Refusal> {
    let Some((job, members, half)) = load(context, owner, id).map_err(refusal)? else {
        return Ok(Step::Over);
    };
    let pseudonyms = pseudonyms(context, owner, &job.actor.purpose, job.epoch).await.map_err(refusal)?;
    if job.is_read() {
        return finish::finish(context, owner, job, pseudonyms).await;
    }
    let block = {
        let (context, job) = (Arc::clone(context), job.clone());
        tokio::task::spawn_blocking(move || {
            let desk =
                Desk { context: &context, job: &job, members: &Arc::new(members), pseudonyms: &pseudonyms };
            block::read(&desk, half)
        })
        .await
        .map_err(|e| Refusal::new(Reason::Internal, "").because(format!("an export block ended: {e}")))??
    };
    keep(context, owner, job, block).await.map_err(refusal)?;
    Ok(Step::More)
}

/// The job, its cohort, and what became so far of the member it stands in.
type Loaded = (Job, Vec<Member>, Option<Who>);

fn load(context: &Context, owner: PartyKey, id: &str) -> Result<Option<Loaded>, StoreError> {
    let permit = context.permits.system("export-block");
    let mut loaded = None;
    context.store.read(&permit, &mut |reader| {
        let Some(job) = Job::load(reader, owner, id)?.filter(|job| job.state == JobState::Running) else {
            return Ok(());
        };
        let members = reader
            .shelf_get(Shelf::ExportFile, owner, &job::members_key(id))?
            .ok_or_else(|| StoreError::Database("an export job has lost its cohort".to_owned()))?;
        let half = reader
            .shelf_get(Shelf::ExportFile, owner, &job::who_key(id, job.position.member))?
            .map(|document| job::decode(&document))
            .transpose()?;
        loaded = Some((job, job::decode(&members)?, half));
        Ok(())
    })?;
    Ok(loaded)
}

/// Stores a block: lines, what became of members, progress and audit record, all or nothing.
async fn keep(context: &Context, owner: PartyKey, job: Job, block: Block) -> Result<(), StoreError> {
    let record = (!block.patients.is_empty()).then(|| {
        let actor = block.permit.actor();
        actor.map(|actor| {
            let disclosure = Disclosure {
                act: Act::BlockRead,
                at: block.permit.filter().now,
                asked: None,
                actor,
                organisation: owner,
                basis: block.permit.basis(),
                job: &job.id,
                file: None,
                kind: None,
                patients: &block.patients,
                resources: block.resources,
                consents: &block.consents,
            };
            context.audit.record(&disclosure)
        })
    });
    let record = record.flatten();
    let Block { next, lines, who, taken_back, .. } = block;
    context
        .commit("export-block", move |writer| {
            let Some(mut current) = Job::load(writer, owner, &job.id)? else { return Ok(()) };
            // Ended meanwhile, or carried on by another process: this block was read in vain.
            if current.state != JobState::Running || current.position != job.position {
                return Ok(());
            }
            for member in taken_back {
                take_back(writer, owner, &current, member)?;
            }
            for (key, text) in &lines {
                writer.shelf_put(Shelf::ExportFile, owner, key, text.as_bytes())?;
            }
            for (member, who) in &who {
                writer.shelf_put(
                    Shelf::ExportFile,
                    owner,
                    &job::who_key(&current.id, *member),
                    &job::encode(who)?,
                )?;
            }
            current.position = next;
            current.save(writer, owner)?;
            if let Some(record) = &record {
                writer.append_audit(record)?;
            }
            Ok(())
        })
        .await
}

/// Removes all lines of a member.
pub(super) fn take_back(
    writer: &mut dyn Writer,
    owner: PartyKey,
    job: &Job,
    member: u32,
) -> Result<(), StoreError> {
    let kept = writer.shelf_get(Shelf::ExportFile, owner, &job::who_key(&job.id, member))?;
    let Some(who) = kept.map(|document| job::decode::<Who>(&document)).transpose()? else { return Ok(()) };
    for (kind, amount) in &who.kinds {
        for part in &amount.parts {
            writer.shelf_remove(Shelf::ExportFile, owner, &job::line_key(&job.id, kind, member, *part))?;
        }
    }
    Ok(())
}

/// Pseudonyms of a recipient and purpose; the key is drawn on first use.
pub(super) async fn pseudonyms(
    context: &Context,
    owner: PartyKey,
    purpose: &str,
    epoch: u32,
) -> Result<KeyedPseudonyms, StoreError> {
    let clock = Arc::clone(&context.clock);
    let purpose = purpose.to_owned();
    let key = context
        .commit("export-pseudonym-key", move |writer| {
            pseudonym::key(writer, clock.as_ref(), owner, &purpose, epoch)
        })
        .await?;
    Ok(KeyedPseudonyms::new(&key))
}

/// Puts a job into its last state.
pub(super) async fn end(
    context: &Context,
    owner: PartyKey,
    id: &str,
    state: JobState,
) -> Result<(), StoreError> {
    let key = id.to_owned();
    let expires = expiry(context);
    context
        .commit("export-end", move |writer| {
            let Some(mut job) = Job::load(writer, owner, &key)? else { return Ok(()) };
            (job.state, job.expires) = (state, expires.0);
            job.save(writer, owner)
        })
        .await?;
    context.forget_polls(id);
    context.state.wake.notify_one();
    Ok(())
}

/// When what ends now is cleared away.
pub(super) fn expiry(context: &Context) -> Timestamp {
    context.clock.now().plus_seconds(context.settings.kept_seconds)
}

/// Clears a job's files away, in small transactions; then, if `whole`, the job.
async fn clear(context: &Context, owner: PartyKey, id: &str, whole: bool) -> Result<(), StoreError> {
    loop {
        let prefix = format!("{id}/");
        let removed =
            context.commit("export-clear", move |writer| job::remove(writer, owner, &prefix, 100)).await?;
        if removed == 0 {
            break;
        }
    }
    if whole {
        let key = id.to_owned();
        context
            .commit("export-clear", move |writer| writer.shelf_remove(Shelf::ExportJob, owner, &key))
            .await?;
        context.forget_polls(id);
    }
    Ok(())
}
