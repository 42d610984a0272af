//! The kick-off: what can be refused without looking at anything stored is refused here; then the job is laid down.

use http::{HeaderName, StatusCode, header};

use super::super::perform::{Aside, Caller, Prepared, entry};
use super::super::{Scene, transaction, write};
use super::asked::Asked;
use super::job::{self, Job, JobState, Place};
use crate::connection::request::Interaction;
use crate::gateway::Gateway;
use crate::jobs::actor::KeptActor;
use crate::jobs::shelf::fresh_id;
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Shelf, document};

/// Lays down a job: 202 with `Content-Location: [base]/async/[job]`. Its record is in the transaction that keeps it.
///
/// Errors: those of the request itself, from it alone; `Throttled` when the client has too many jobs. Nothing was kept.
/// Source: FHIR R4 async.html (kick-off request)
pub async fn start(
    gateway: &Gateway,
    caller: &Caller,
    interaction: &Interaction,
    asked: Asked,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let (Some(actor), Some(parties)) = (&caller.actor, &caller.parties) else {
        return Err(Refusal::new(Reason::Forbidden, "Who is answered later is known by a token."));
    };
    let owner = parties.organisation;
    let mut done = entry(aside, interaction).by(actor);
    let (mut document, mut entries) = (None, None);
    if let Interaction::Bundle(doc) = interaction {
        let parsed = transaction::parsed(gateway, doc, aside)?;
        entries = Some(u32::try_from(parsed.entries.len()).unwrap_or(u32::MAX));
        document = Some(doc.text().as_bytes().to_vec());
    } else {
        let permit = gateway.permit(caller, interaction, aside.now)?;
        let scene = Scene { lenient: aside.lenient, ..gateway.scene(&permit, aside.now) };
        Prepared::of(&scene, &permit, interaction)?;
        done = done.under(&permit);
    }
    let parts = gateway.parts();
    let settings = parts.later.settings.jobs;
    let id = fresh_id(&*parts.clock);
    done.notes.push(format!("asked to be answered later, job {id}"));
    let record = done.record(owner);
    let job = Job {
        id: id.clone(),
        actor: KeptActor::of(actor),
        asked,
        request: aside.id.to_string(),
        address: aside.address,
        lenient: aside.lenient,
        prefer: aside.prefer.into(),
        key: aside.idempotency_key.as_deref().map(str::to_owned),
        started: aside.now.0,
        expires: aside.now.plus_seconds(settings.kept_seconds).0,
        state: JobState::Running,
        place: Place::default(),
        next: None,
        entries,
        resources: 0,
        bytes: 0,
        matches: 0,
        total: None,
        outcome: None,
    };
    let permit = crate::decision::system(&parts.policy, aside.now, "async-start");
    crate::store::commit(&*parts.store, permit, move |writer| {
        let counts = |document: &[u8]| {
            let other: Job = document::decode(Shelf::AsyncJob, document)?;
            let is_kept = other.actor.client == job.actor.client && other.state != JobState::Ended;
            Ok((is_kept, other.state == JobState::Running))
        };
        settings.check_room(writer, Shelf::AsyncJob, owner, &counts)?;
        if let Some(document) = &document {
            writer.shelf_put(Shelf::AsyncFile, owner, &job::asked_key(&job.id), document)?;
        }
        job.save(writer, owner)?;
        writer.append_audit(&record).map(|_| ())
    })
    .await
    .map_err(write::refusal)?;
    parts.later.bell.start_here(&id);
    Ok(Answer::empty(StatusCode::ACCEPTED)
        .with(header::CONTENT_LOCATION, &format!("{}/async/{id}", parts.base))
        // RFC 7240 section 3.
        .with(HeaderName::from_static("preference-applied"), "respond-async"))
}
