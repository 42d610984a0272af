//! What a job does at each step: the next page of an answer, or the next entries of a batch, under permits judged then, kept
//! with the progress and the audit record in one transaction.
//!
//! Entries that change something carry a key of the job's own (`Idempotency-Key`), so that what a stop made uncertain is
//! done once: asked again, the same entry gets the answer it was given.

use std::sync::Arc;

use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::super::bundle::{Mode, Parsed};
use super::super::perform::{self, Aside, Caller};
use super::super::{idempotency, transaction};
use super::bundle;
use super::job::{self, Job, JobState, Place};
use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::connection::request::{Format, Preconditions, Shape};
use crate::decision::{self, Permit};
use crate::gateway::Gateway;
use crate::ids::PartyKey;
use crate::interaction::write;
use crate::jobs::{self, Bell, Jobs, Standing, Step};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, Store, StoreError, document};

/// Times an answer is begun whose pages and total do not agree, because what it is of changes meanwhile.
const TURNS_MAX: u32 = 3;

/// Does the jobs of a gateway.
pub struct Runner(pub Gateway);

impl Jobs for Runner {
    type Position = Place;

    const NAME: &'static str = "async";
    const JOBS: Shelf = Shelf::AsyncJob;
    const FILES: Shelf = Shelf::AsyncFile;

    fn store(&self) -> &dyn Store {
        &*self.0.parts().store
    }

    fn system(&self, reason: &'static str) -> Permit {
        decision::system(&self.0.parts().policy, self.now(), reason)
    }

    fn bell(&self) -> &Bell {
        &self.0.parts().later.bell
    }

    fn settings(&self) -> jobs::Settings {
        self.0.parts().later.settings.jobs
    }

    fn standing(&self, document: &[u8]) -> Result<Standing<Place>, StoreError> {
        let job: Job = document::decode(Shelf::AsyncJob, document)?;
        Ok(match job.state {
            JobState::Running => Standing::Unfinished(job.place),
            JobState::Ended => Standing::Over,
            _ if job.is_expired(self.now()) => Standing::Over,
            JobState::Stale | JobState::Failed => Standing::Emptied,
            JobState::Done if job.outcome.is_some() => Standing::Emptied,
            JobState::Done => Standing::Kept,
        })
    }

    async fn step(self: &Arc<Self>, owner: PartyKey, id: &str) -> Result<Step, Refusal> {
        let Some((job, document)) = self.load(owner, id)? else { return Ok(Step::Over) };
        let actor = job.actor.actor().ok_or_else(|| internal("an actor that is none"))?;
        // A client that was switched off takes nothing more, though its job began before.
        if self.0.parts().identity.clients().find(&actor.client).is_none() {
            return Err(Refusal::new(Reason::Forbidden, "The client is not registered (any more)."));
        }
        let caller = self.0.caller_of(Arc::new(actor))?;
        let aside = self.aside(&job);
        match document {
            Some(document) => self.entries(owner, job, &document, &caller, aside).await,
            None => self.page(owner, job, &caller, aside).await,
        }
    }

    async fn fail(&self, owner: PartyKey, id: &str, cause: &Refusal) -> Result<(), StoreError> {
        // What the asker can mend is the answer; what the gateway could not do is no answer.
        let told = cause.reason.row().status.is_client_error().then(|| cause.to_outcome());
        let state = if told.is_some() { JobState::Done } else { JobState::Failed };
        super::fetch::end(&self.0, owner, id, state, told).await
    }
}

impl Runner {
    fn now(&self) -> Timestamp {
        self.0.parts().clock.now()
    }

    /// A job that runs, and the Bundle it is of.
    fn load(&self, owner: PartyKey, id: &str) -> Result<Option<(Job, Option<bytes::Bytes>)>, Refusal> {
        let mut loaded = None;
        let read = self.store().read(&self.system("async-step"), &mut |reader| {
            let Some(job) = Job::load(reader, owner, id)?.filter(|job| job.state == JobState::Running) else {
                return Ok(());
            };
            let document = match job.entries {
                None => None,
                Some(_) => Some(
                    reader
                        .shelf_get(Shelf::AsyncFile, owner, &job::asked_key(id))?
                        .ok_or_else(|| StoreError::Database("a job has lost its Bundle".to_owned()))?,
                ),
            };
            loaded = Some((job, document));
            Ok(())
        });
        read.map_err(write::refusal)?;
        Ok(loaded)
    }

    fn aside(&self, job: &Job) -> Aside {
        Aside {
            id: job.request.as_str().into(),
            address: job.address,
            now: self.now(),
            preconditions: Preconditions::default(),
            format: Format::default(),
            shape: Shape::Whole,
            prefer: job.prefer.into(),
            respond_async: false,
            idempotency_key: None,
            lenient: job.lenient,
            in_job: true,
        }
    }

    /// The next page.
    async fn page(&self, owner: PartyKey, job: Job, caller: &Caller, aside: Aside) -> Result<Step, Refusal> {
        let interaction = job.asked.page(job.next.as_deref()).ok_or_else(|| internal("no question"))?;
        let permit = self.0.permit(caller, &interaction, aside.now)?;
        let outcome = perform::seen(&self.0, &permit, &interaction, &aside)?;
        let body = outcome.answer.body;
        let page = Page::of(&body)?;
        let mut done = perform::done(&aside, &permit, &interaction, &outcome.facts);
        done.notes.push(format!("page {} of job {}", job.place.done + 1, job.id));
        let record = done.record(owner);

        let mut next = job.clone();
        next.place.done += 1;
        next.next = page.next;
        next.resources += outcome.facts.resources.len() as u64;
        next.bytes += body.len() as u64;
        next.matches += page.matches;
        next.total = next.total.or(page.total);
        self.within(&next)?;
        if next.next.is_none() {
            if next.total.is_none_or(|total| total == next.matches) {
                self.finished(&mut next);
            } else if next.place.turn + 1 < TURNS_MAX {
                // A number that the pages do not show tells of what may no longer be seen.
                next = anew(&job);
            } else {
                let text = "What was found changed while it was read. Ask again.";
                return Err(Refusal::new(Reason::Conflict, text));
            }
        }
        let shows = document::encode(Shelf::AsyncFile, &outcome.facts.resources).map_err(write::refusal)?;
        self.keep(owner, job, next, (body.to_vec(), Some(shows)), Some(record)).await
    }

    /// The next entries of a batch, or a transaction as a whole.
    async fn entries(
        &self,
        owner: PartyKey,
        job: Job,
        document: &[u8],
        caller: &Caller,
        mut aside: Aside,
    ) -> Result<Step, Refusal> {
        let limits = self.0.parts().limits.json();
        let doc = Doc::parse(document.to_vec(), limits).map_err(|error| internal(&error.to_string()))?;
        let doc = Arc::new(doc);
        let Parsed { mode, entries } = transaction::parsed(&self.0, &doc, &aside)?;
        let of = entries.len();
        let from = job.place.done;
        let (answer, done) = match mode {
            Mode::Batch => {
                let step_max = self.0.parts().later.settings.step_entries_max;
                let mut results = Vec::new();
                for (at, slot) in entries.into_iter().enumerate().skip(from as usize).take(step_max) {
                    let key = format!("async/{}/{at}", job.id);
                    let result = transaction::one(&self.0, caller, slot, &aside, Some(&key)).await?;
                    if let Err(refusal) = &result
                        && (refusal.reason == Reason::Busy || idempotency::is_in_work(refusal))
                    {
                        // No answer of the entry's: the same entries again, later.
                        return Err(Refusal::new(Reason::Busy, ""));
                    }
                    results.push(result);
                }
                let done = results.len();
                (transaction::respond(&self.0, "batch-response", &results, &aside), done)
            }
            Mode::Transaction => {
                let key = job.key.clone().unwrap_or_else(|| format!("async/{}", job.id));
                aside.idempotency_key = Some(key.into());
                let parsed = Parsed { mode, entries };
                (transaction::transaction(&self.0, caller, &doc, parsed, &aside).await?, of)
            }
        };
        let texts = bundle::texts(&answer.body)?;
        let part = document::encode(Shelf::AsyncFile, &texts).map_err(write::refusal)?;
        let mut next = job.clone();
        next.place.done += u32::try_from(done).unwrap_or(u32::MAX);
        next.bytes += part.len() as u64;
        // What was done is told, however much it is: entries are bounded, and so is each of their answers.
        if next.place.done as usize >= of {
            self.finished(&mut next);
        }
        self.keep(owner, job, next, (part, None), None).await
    }

    /// Errors: `TooCostly` past the limits of an answer.
    fn within(&self, job: &Job) -> Result<(), Refusal> {
        let settings = self.0.parts().later.settings;
        if job.resources <= settings.resources_max && job.bytes <= settings.bytes_max {
            return Ok(());
        }
        let text = format!(
            "An answer given later has at most {} resources and {} bytes. Ask for less, or page by page.",
            settings.resources_max, settings.bytes_max
        );
        Err(Refusal::new(Reason::TooCostly, text))
    }

    fn finished(&self, job: &mut Job) {
        job.state = JobState::Done;
        job.expires = self.now().plus_seconds(self.0.parts().later.settings.jobs.kept_seconds).0;
    }

    /// Keeps a piece with the place reached, if nobody else has moved the job meanwhile.
    async fn keep(
        &self,
        owner: PartyKey,
        job: Job,
        next: Job,
        (part, shows): (Vec<u8>, Option<Vec<u8>>),
        record: Option<AuditRecord>,
    ) -> Result<Step, Refusal> {
        let step = if next.state == JobState::Running { Step::More } else { Step::Over };
        crate::store::commit(self.store(), self.system("async-step"), move |writer| {
            if job.unmoved(writer, owner)?.is_none() {
                // This piece was read in vain.
                return Ok(());
            }
            let at = job.place.done;
            writer.shelf_put(Shelf::AsyncFile, owner, &job::part_key(&job.id, at), &part)?;
            if let Some(shows) = &shows {
                writer.shelf_put(Shelf::AsyncFile, owner, &job::shows_key(&job.id, at), shows)?;
            }
            next.save(writer, owner)?;
            match &record {
                Some(record) => writer.append_audit(record).map(|_| ()),
                None => Ok(()),
            }
        })
        .await
        .map_err(write::refusal)?;
        Ok(step)
    }
}

/// The job at its beginning, once more.
fn anew(job: &Job) -> Job {
    Job {
        place: Place { turn: job.place.turn + 1, done: 0 },
        next: None,
        resources: 0,
        bytes: 0,
        matches: 0,
        total: None,
        ..job.clone()
    }
}

/// What a page says of itself and of the one behind it.
struct Page {
    next: Option<String>,
    total: Option<u64>,
    matches: u64,
}

impl Page {
    fn of(body: &[u8]) -> Result<Page, Refusal> {
        let limits = JsonLimits { depth_max: 1_100, nodes_max: u32::MAX };
        let doc = Doc::parse(body.to_vec(), limits).map_err(|error| internal(&error.to_string()))?;
        let root = doc.root();
        let link = root.get("link").into_iter().flat_map(Node::items).find_map(|link| {
            let relation = link.get("relation").and_then(Node::as_str)?;
            let url = link.get("url").and_then(Node::as_str)?;
            (relation == "next").then(|| url.into_owned())
        });
        let (total, matches) = bundle::counted(root);
        let next = link.and_then(|url| Some(url.split_once("_cursor=")?.1.to_owned()));
        Ok(Page { next, total, matches })
    }
}

fn internal(cause: &str) -> Refusal {
    Refusal::new(Reason::Internal, "").because(format!("a job cannot be read: {cause}"))
}
