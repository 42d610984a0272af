//! What a job does at each step: a block read under a permit judged anew, and kept with the progress.

use std::sync::Arc;

use super::block::{self, Block, Desk};
use super::finish;
use super::job::{self, Job, JobState, Member, Position, Who};
use super::pseudonym::{self, KeyedPseudonyms};
use super::{Act, Context, Disclosure, refusal};
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::ids::PartyKey;
use crate::jobs::{self, Bell, Jobs, Standing, Step};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, Store, StoreError, Writer, document};

impl Jobs for Context {
    type Position = Position;

    const NAME: &'static str = "export";
    const JOBS: Shelf = Shelf::ExportJob;
    const FILES: Shelf = Shelf::ExportFile;

    fn store(&self) -> &dyn Store {
        &*self.store
    }

    fn system(&self, reason: &'static str) -> Permit {
        self.permits.system(reason)
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    fn settings(&self) -> jobs::Settings {
        self.settings.jobs
    }

    fn standing(&self, document: &[u8]) -> Result<Standing<Position>, StoreError> {
        let job: Job = document::decode(Shelf::ExportJob, document)?;
        Ok(match job.state {
            JobState::Running => Standing::Unfinished(job.position),
            JobState::Ended => Standing::Over,
            _ if job.is_expired(self.clock.now()) => Standing::Over,
            JobState::Stale | JobState::Refused | JobState::Failed => Standing::Emptied,
            JobState::Done => Standing::Kept,
        })
    }

    async fn step(self: &Arc<Self>, owner: PartyKey, id: &str) -> Result<Step, Refusal> {
        step(self, owner, id).await
    }

    async fn fail(&self, owner: PartyKey, id: &str, cause: &Refusal) -> Result<(), StoreError> {
        let state = if cause.reason == Reason::Forbidden { JobState::Refused } else { JobState::Failed };
        end(self, owner, id, state).await
    }
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
        let members = document::get(reader, Shelf::ExportFile, owner, &job::members_key(id))?
            .ok_or_else(|| StoreError::Database("an export job has lost its cohort".to_owned()))?;
        let key = job::who_key(id, job.position.member);
        let half = document::get(reader, Shelf::ExportFile, owner, &key)?;
        loaded = Some((job, members, half));
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
                document::put(writer, Shelf::ExportFile, owner, &job::who_key(&current.id, *member), who)?;
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
    let key = job::who_key(&job.id, member);
    let Some(who) = document::get::<Who>(writer, Shelf::ExportFile, owner, &key)? else { return Ok(()) };
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
    context.bell.forget(id);
    context.bell.ring();
    Ok(())
}

/// When what ends now is cleared away.
pub(super) fn expiry(context: &Context) -> Timestamp {
    context.clock.now().plus_seconds(context.settings.jobs.kept_seconds)
}
