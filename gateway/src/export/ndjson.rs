//! Handing over a file: consents behind it looked at in the snapshot it is read from, record and delivery durable, then
//! the bytes.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::job::{self, Delivered, File, Job, JobState, Section, Who};
use super::{Act, Asked, AuditSink, Context, Disclosure, manifest, refusal, run, standing};
use crate::decision::Permit;
use crate::identity::actor::Actor;
use crate::ids::{PartyKey, PatientKey, ResourceId};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, Shelf, StoreError, document};

/// A file of a finished job: 200, `application/fhir+ndjson`.
///
/// Every patient in it must have the consent her lines were written under; one who has not makes the whole job stale.
/// The audit record (`Act::FileDelivered`) and the note of who was delivered are durable when this returns: the caller
/// appends no record of its own for the data.
/// Errors: 404 as for a job, and for a name that is none of its files; 410 when a consent changed; the store's.
/// Source: Bulk Data Access IG v2 export.html#bulk-data-output-file-request
pub async fn file(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    job: &ResourceId,
    name: &str,
    asked: Option<Asked<'_>>,
) -> Result<Answer, Refusal> {
    let job = manifest::find(context, permit, actor, job)?;
    match job.state {
        JobState::Done => {}
        JobState::Stale | JobState::Refused => return Err(Refusal::new(Reason::ExportStale, "")),
        JobState::Running | JobState::Failed | JobState::Ended => return Err(Refusal::not_found()),
    }
    // A name is compared with the names made, never taken apart: `..` is none of them.
    let file = job.result.as_ref().and_then(|result| result.files.iter().find(|file| file.name == name));
    let file = file.ok_or_else(Refusal::not_found)?;
    let owner = permit.filter().organisation;
    let Some(content) = read(context, permit, owner, &job, file).map_err(refusal)? else {
        run::end(context, owner, &job.id, JobState::Stale).await.map_err(refusal)?;
        return Err(Refusal::new(Reason::ExportStale, ""));
    };
    deliver(context, permit, actor, &job, file, &content, asked).await.map_err(refusal)?;
    let mut answer = Answer::empty(StatusCode::OK).with(header::CACHE_CONTROL, "no-store");
    answer.headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/fhir+ndjson")));
    answer.body = content.body;
    Ok(answer)
}

/// A file's bytes and whose they are.
#[derive(Default)]
struct Content {
    body: Bytes,
    patients: Vec<(PatientKey, String)>,
    consents: Vec<Box<str>>,
}

/// Reads a file on one snapshot; `None` when a consent behind it no longer covers it.
fn read(
    context: &Context,
    permit: &Permit,
    owner: PartyKey,
    job: &Job,
    file: &File,
) -> Result<Option<Content>, StoreError> {
    let mut content = None;
    context.store.read(permit, &mut |reader| {
        content = match file.section {
            Section::Output => output(reader, permit, owner, job, file)?,
            Section::Deleted => Some(deleted(reader, owner, job)?),
            Section::Error => {
                let body = reader.shelf_get(Shelf::ExportFile, owner, &job::error_key(&job.id))?;
                Some(Content { body: body.unwrap_or_default(), ..Content::default() })
            }
        };
        Ok(())
    })?;
    Ok(content)
}

fn output(
    reader: &mut dyn Reader,
    permit: &Permit,
    owner: PartyKey,
    job: &Job,
    file: &File,
) -> Result<Option<Content>, StoreError> {
    let mut content = Content::default();
    let mut body = Vec::new();
    let mut lines = 0;
    for member in file.members.0..=file.members.1 {
        let key = job::who_key(&job.id, member);
        let Some(who) = document::get::<Who>(reader, Shelf::ExportFile, owner, &key)? else { continue };
        let (Some(amount), Some(key)) = (who.kinds.get(&file.kind), who.key.map(PatientKey)) else {
            continue;
        };
        if !standing::still_holds(&who.opened, permit.filter(), &reader.arms(key)?) {
            return Ok(None);
        }
        for part in &amount.parts {
            let text = reader.shelf_get(
                Shelf::ExportFile,
                owner,
                &job::line_key(&job.id, &file.kind, member, *part),
            )?;
            body.extend_from_slice(&text.unwrap_or_default());
        }
        lines += amount.lines;
        content.consents.extend(who.opened.into_iter().map(|opened| opened.consent));
        content.patients.push((key, who.id));
    }
    let found = body.iter().filter(|&&byte| byte == b'\n').count() as u64;
    if lines != file.count || found != file.count {
        // Less than the manifest said is no file: a client would take it for all there is.
        return Err(StoreError::Database("an export file has lost lines".to_owned()));
    }
    content.consents.sort();
    content.consents.dedup();
    content.body = body.into();
    Ok(Some(content))
}

fn deleted(reader: &mut dyn Reader, owner: PartyKey, job: &Job) -> Result<Content, StoreError> {
    let prefix = format!("{}/deleted/", job.id);
    let mut body = Vec::new();
    let mut after = prefix.clone();
    loop {
        let parts = job::list(reader, Shelf::ExportFile, owner, &prefix, &after, 20)?;
        let Some((last, _)) = parts.last() else { break };
        after.clone_from(last);
        parts.iter().for_each(|(_, text)| body.extend_from_slice(text));
    }
    let key = job::deleted_who_key(&job.id);
    let keys: Vec<i64> = document::get(reader, Shelf::ExportFile, owner, &key)?.unwrap_or_default();
    let patients = keys.into_iter().map(|key| (PatientKey(key), String::new())).collect();
    Ok(Content { body: body.into(), patients, consents: Vec::new() })
}

/// Record and delivery note, in one transaction: no log, no data.
async fn deliver(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    job: &Job,
    file: &File,
    content: &Content,
    asked: Option<Asked<'_>>,
) -> Result<(), StoreError> {
    let owner = permit.filter().organisation;
    let at = context.clock.now();
    let patients: Vec<PatientKey> = content.patients.iter().map(|(key, _)| *key).collect();
    let sink: &dyn AuditSink = context.audit.as_ref();
    let disclosure = Disclosure {
        act: Act::FileDelivered,
        at,
        asked,
        actor,
        organisation: owner,
        basis: permit.basis(),
        job: &job.id,
        file: Some(&file.name),
        kind: Some(&file.kind),
        patients: &patients,
        resources: file.count,
        consents: &content.consents,
    };
    let record = sink.record(&disclosure);
    let delivered = match file.section {
        Section::Output => content.patients.clone(),
        Section::Deleted | Section::Error => Vec::new(),
    };
    let (purpose, epoch) = (job.actor.purpose.clone(), job.epoch);
    context
        .commit("export-delivered", move |writer| {
            for (key, id) in delivered {
                let name = job::delivered_key(&purpose, key.0);
                if writer.shelf_get(Shelf::Delivered, owner, &name)?.is_none() {
                    let note = Delivered { id, epoch, first: at.0 };
                    document::put(writer, Shelf::Delivered, owner, &name, &note)?;
                }
            }
            writer.append_audit(&record).map(|_| ())
        })
        .await
}
