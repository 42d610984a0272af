//! How far a job is, its answer, and its end (FHIR R4 async.html: status request, output request, delete request).

use std::sync::Arc;

use http::{HeaderName, StatusCode, header};
use serde_json::json;
use sluis_conformance::json::Doc;

use super::super::bundle::Mode;
use super::super::perform::{self, Aside, Caller, Prepared, append, entry};
use super::super::reference::{self, Target};
use super::super::search::self_link;
use super::super::{Facts, Scene, found_body, transaction, write};
use super::bundle;
use super::job::{self, Job, JobState};
use crate::clock::Timestamp;
use crate::connection::request::Interaction;
use crate::decision::{self, Permit};
use crate::gateway::Gateway;
use crate::identity::actor::Actor;
use crate::ids::{PartyKey, ResourceId};
use crate::jobs::shelf::list;
use crate::response::bundle::BundleWriter;
use crate::response::refusal::{Reason, Refusal};
use crate::response::{Answer, http_date};
use crate::store::{Shelf, StoreError, document};

/// Answers a request about a job: only to who asked for it, with the scopes of then; to everyone else it is not there.
///
/// Errors: `NotFound`; `Throttled` when polled too fast; `ExportStale` when something in the answer may no longer be seen;
/// `Forbidden` when the request itself is no longer allowed; `Internal` when the gateway could not do it.
pub async fn answer(
    gateway: &Gateway,
    caller: &Caller,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let (Some(actor), Some(parties)) = (&caller.actor, &caller.parties) else {
        return Err(Refusal::not_found());
    };
    let desk = Desk { gateway, caller, actor, owner: parties.organisation, aside };
    match interaction {
        Interaction::AsyncStatus(id) => desk.status(&desk.find(id)?),
        Interaction::AsyncFile(id, name) => desk.file(&desk.find(id)?, name).await,
        Interaction::AsyncCancel(id) => desk.cancel(&desk.find(id)?, interaction).await,
        _ => Err(Refusal::new(Reason::BusinessRule, "This interaction cannot stand here.")),
    }
}

/// Who asks about a job.
struct Desk<'d> {
    gateway: &'d Gateway,
    caller: &'d Caller,
    actor: &'d Actor,
    owner: PartyKey,
    aside: &'d Aside,
}

/// Name of the file that says why there is no answer.
const ERROR: &str = "error";
/// Name of the answer to a batch or transaction.
const WHOLE: &str = "response";
/// What the name of a page begins with.
const PAGE: &str = "page-";

impl Desk<'_> {
    fn system(&self, reason: &'static str) -> Permit {
        decision::system(&self.gateway.parts().policy, self.aside.now, reason)
    }

    fn find(&self, id: &ResourceId) -> Result<Job, Refusal> {
        let mut found = None;
        let read = self.gateway.parts().store.read(&self.system("async-find"), &mut |reader| {
            found = Job::find(reader, self.owner, id, self.actor, self.aside.now)?;
            Ok(())
        });
        read.map_err(write::refusal)?;
        found.ok_or_else(Refusal::not_found)
    }

    /// 202 with `X-Progress` and `Retry-After`, or 200 with what there is to fetch.
    fn status(&self, job: &Job) -> Result<Answer, Refusal> {
        let later = &self.gateway.parts().later;
        match job.state {
            JobState::Running => {
                let seconds = later.settings.jobs.poll_seconds_min;
                if later.bell.polls_too_fast(&job.id, self.aside.now, seconds) {
                    return Err(Refusal::new(Reason::Throttled, "This job is polled too often."));
                }
                let progress = match job.entries {
                    Some(of) => format!("{} of {of} entries done", job.place.done),
                    None => format!("{} pages done", job.place.done),
                };
                Ok(Answer::empty(StatusCode::ACCEPTED)
                    .with(HeaderName::from_static("x-progress"), &progress)
                    .with(header::RETRY_AFTER, &seconds.max(1).to_string()))
            }
            JobState::Done => Ok(self.complete(job)),
            JobState::Stale => Err(Refusal::new(Reason::ExportStale, "")),
            JobState::Failed | JobState::Ended => {
                Err(Refusal::new(Reason::Internal, "The request failed; nothing of its answer was kept."))
            }
        }
    }

    fn complete(&self, job: &Job) -> Answer {
        let file = |kind: &str, name: &str| json!({ "type": kind, "url": format!("{}/async/{}/{name}", self.gateway.parts().base, job.id) });
        let output: Vec<_> = match (&job.outcome, job.entries) {
            (Some(_), _) => Vec::new(),
            (None, Some(_)) => vec![file("Bundle", WHOLE)],
            (None, None) => {
                (1..=job.place.done).map(|page| file("Bundle", &format!("{PAGE}{page}"))).collect()
            }
        };
        let error: Vec<_> = job.outcome.iter().map(|_| file("OperationOutcome", ERROR)).collect();
        let permit = self.system("async-status");
        let scene = self.gateway.scene(&permit, self.aside.now);
        let (path, pairs) = job.asked.address();
        let manifest = json!({
            "transactionTime": Timestamp(job.started).to_instant(),
            "request": self_link(&scene, &path, pairs),
            "requiresAccessToken": true,
            "output": output,
            "error": error,
        });
        Answer::json(StatusCode::OK, manifest.to_string())
            .with(header::EXPIRES, &http_date(Timestamp(job.expires)))
            .with(header::CACHE_CONTROL, "no-store")
    }

    /// A piece of the answer, if everything in it may be seen now; its record is durable before.
    async fn file(&self, job: &Job, name: &str) -> Result<Answer, Refusal> {
        match job.state {
            JobState::Done => {}
            JobState::Stale => return Err(Refusal::new(Reason::ExportStale, "")),
            JobState::Running | JobState::Failed | JobState::Ended => return Err(Refusal::not_found()),
        }
        let page = name.strip_prefix(PAGE).and_then(|number| number.parse::<u32>().ok());
        // A name is compared with the names there are, never taken apart further.
        let page = page.filter(|page| (1..=job.place.done).contains(page) && name == format!("{PAGE}{page}"));
        match (&job.outcome, job.entries, page) {
            (Some(outcome), ..) if name == ERROR => {
                let body = found_body(outcome.clone().into(), self.aside.format);
                Ok(Answer::fhir(StatusCode::OK, body))
            }
            (None, Some(_), _) if name == WHOLE => self.whole(job).await,
            (None, None, Some(page)) => self.page(job, page - 1).await,
            _ => Err(Refusal::not_found()),
        }
    }

    async fn page(&self, job: &Job, page: u32) -> Result<Answer, Refusal> {
        let internal = || Refusal::new(Reason::Internal, "").because("a job without its question");
        let interaction = job.asked.page(None).ok_or_else(internal)?;
        let permit = self.gateway.permit(self.caller, &interaction, self.aside.now)?;
        let scene = Scene { lenient: job.lenient, ..self.gateway.scene(&permit, self.aside.now) };
        Prepared::of(&scene, &permit, &interaction)?;
        // A page that tells of a total tells of every page.
        let pages = if job.total.is_some() { 0..job.place.done } else { page..page + 1 };
        let mut found = None;
        let read = self.gateway.parts().store.read(&permit, &mut |reader| {
            let mut facts = Facts::default();
            for at in pages.clone() {
                let key = job::shows_key(&job.id, at);
                let shows: Option<Vec<String>> = document::get(reader, Shelf::AsyncFile, self.owner, &key)?;
                for text in shows.ok_or_else(lost)? {
                    let Target::Local(kind, id, Some(version)) = reference::parse(&text, scene.base) else {
                        return Err(lost());
                    };
                    match reader.version(kind, &id, version)? {
                        Some(stored) if at == page => facts.add(std::slice::from_ref(&stored)),
                        Some(_) => {}
                        None => return Ok(()),
                    }
                }
            }
            facts.settle();
            let body = reader.shelf_get(Shelf::AsyncFile, self.owner, &job::part_key(&job.id, page))?;
            found = Some((body.ok_or_else(lost)?, facts));
            Ok(())
        });
        read.map_err(write::refusal)?;
        let Some((body, facts)) = found else {
            let ended = end(self.gateway, self.owner, &job.id, JobState::Stale, None).await;
            ended.map_err(write::refusal)?;
            return Err(Refusal::new(Reason::ExportStale, ""));
        };
        let mut done = perform::done(self.aside, &permit, &interaction, &facts);
        done.notes.push(format!("page {} of job {} fetched", page + 1, job.id));
        append(self.gateway, &permit, done.record(self.owner)).await?;
        Ok(Answer::fhir(StatusCode::OK, found_body(body, self.aside.format)))
    }

    /// The response to a batch or transaction.
    async fn whole(&self, job: &Job) -> Result<Answer, Refusal> {
        let system = self.system("async-answer");
        let (mut asked, mut kept) = (None, Vec::new());
        let read = self.gateway.parts().store.read(&system, &mut |reader| {
            asked = reader.shelf_get(Shelf::AsyncFile, self.owner, &job::asked_key(&job.id))?;
            kept.clear();
            let prefix = format!("{}/part/", job.id);
            let mut after = prefix.clone();
            loop {
                let parts = list(reader, Shelf::AsyncFile, self.owner, &prefix, &after, 20)?;
                let Some((last, _)) = parts.last() else { return Ok(()) };
                after.clone_from(last);
                for (_, part) in &parts {
                    kept.append(&mut document::decode::<Vec<String>>(Shelf::AsyncFile, part)?);
                }
            }
        });
        read.map_err(write::refusal)?;
        let asked = asked.ok_or_else(lost).map_err(write::refusal)?;
        let doc = Doc::parse(asked.to_vec(), self.gateway.parts().limits.json())
            .map_err(|error| Refusal::new(Reason::Internal, "").because(error.to_string()))?;
        let doc = Arc::new(doc);
        let bundle = transaction::parsed(self.gateway, &doc, self.aside)?;
        let mode = bundle.mode;
        let (texts, facts) = bundle::settled(self.gateway, self.caller, &bundle, kept, self.aside).await?;
        let kind = match mode {
            Mode::Batch => "batch-response",
            Mode::Transaction => "transaction-response",
        };
        let id = self.gateway.parts().clock.uuid().to_string();
        let mut out = BundleWriter::new(&id, kind, &self.aside.now.to_instant(), None, &[]);
        for text in &texts {
            out.whole_entry(text);
        }
        let mut done = entry(self.aside, &Interaction::Bundle(doc)).by(self.actor);
        done.patients = facts.patients.iter().map(|patient| patient.0).collect();
        done.consents = facts.consents.iter().map(|consent| consent.to_string()).collect();
        done.categories = facts.categories;
        done.count = Some(facts.resources.len() as u64);
        done.notes.push(format!("answer of job {} fetched", job.id));
        append(self.gateway, &system, done.record(self.owner)).await?;
        Ok(Answer::fhir(StatusCode::OK, found_body(out.finish().into(), self.aside.format)))
    }

    async fn cancel(&self, job: &Job, interaction: &Interaction) -> Result<Answer, Refusal> {
        let ended = end(self.gateway, self.owner, &job.id, JobState::Ended, None).await;
        ended.map_err(write::refusal)?;
        let mut done = entry(self.aside, interaction).by(self.actor);
        done.notes.push(format!("job {} ended", job.id));
        append(self.gateway, &self.system("async-end"), done.record(self.owner)).await?;
        Ok(Answer::empty(StatusCode::ACCEPTED))
    }
}

/// Puts a job into its last state, unless it has come to another by itself.
pub(super) async fn end(
    gateway: &Gateway,
    owner: PartyKey,
    id: &str,
    state: JobState,
    outcome: Option<String>,
) -> Result<(), StoreError> {
    let parts = gateway.parts();
    let (now, key) = (parts.clock.now(), id.to_owned());
    let expires = now.plus_seconds(parts.later.settings.jobs.kept_seconds).0;
    let permit = decision::system(&parts.policy, now, "async-end");
    crate::store::commit(&*parts.store, permit, move |writer| {
        let Some(mut job) = Job::load(writer, owner, &key)? else { return Ok(()) };
        let runs = matches!(state, JobState::Done | JobState::Failed);
        if runs && job.state != JobState::Running {
            return Ok(());
        }
        (job.state, job.expires, job.outcome) = (state, expires, outcome);
        job.save(writer, owner)
    })
    .await?;
    parts.later.bell.forget(id);
    parts.later.bell.ring();
    Ok(())
}

fn lost() -> StoreError {
    StoreError::Database("a job has lost a part of its answer".to_owned())
}
