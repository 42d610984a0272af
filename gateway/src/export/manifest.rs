//! Polling a job, and ending it: the status answers and the manifest (Bulk Data Access IG v2
//! export.html#bulk-data-status-request and #bulk-data-delete-request).

use std::collections::BTreeMap;

use http::{HeaderName, StatusCode, header};
use serde_json::json;

use super::job::{File, Job, JobState, Outcome, Section};
use super::{Context, refusal, run};
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::identity::actor::Actor;
use crate::ids::ResourceId;
use crate::response::refusal::{Reason, Refusal};
use crate::response::{Answer, http_date};

/// How far a job is: 202 with `X-Progress`, or 200 with the manifest.
///
/// Errors: 404 for a job that is not this client's, organisation's and purpose's, or is over; 429 when polled too fast;
/// 410 when its files no longer hold; 500 when it failed.
pub async fn status(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    job: &ResourceId,
) -> Result<Answer, Refusal> {
    let job = find(context, permit, actor, job)?;
    match (job.state, &job.result) {
        (JobState::Running, _) => {
            if context.bell.polls_too_fast(
                &job.id,
                context.clock.now(),
                context.settings.jobs.poll_seconds_min,
            ) {
                return Err(Refusal::new(Reason::Throttled, "This job is polled too often."));
            }
            let progress = format!("{} of {} members read", job.position.member, job.members);
            Ok(Answer::empty(StatusCode::ACCEPTED)
                .with(HeaderName::from_static("x-progress"), &progress)
                .with(header::RETRY_AFTER, &retry_seconds(context, &job).to_string()))
        }
        (JobState::Done, Some(result)) => Ok(complete(context, &job, result)),
        (JobState::Stale, _) => Err(Refusal::new(Reason::ExportStale, "")),
        (JobState::Refused, _) => {
            Err(Refusal::new(Reason::ExportStale, "The leave to export was withdrawn while the job ran."))
        }
        (JobState::Done | JobState::Failed | JobState::Ended, _) => {
            Err(Refusal::new(Reason::Internal, "The export failed; no files were kept."))
        }
    }
}

/// Ends a job and gives its files up: 202; from then on it is not there.
///
/// Errors: as [`status`], 404.
pub async fn cancel(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    job: &ResourceId,
) -> Result<Answer, Refusal> {
    let job = find(context, permit, actor, job)?;
    let owner = permit.filter().organisation;
    run::end(context, owner, &job.id, JobState::Ended).await.map_err(refusal)?;
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// The job, if it is this actor's; else `NotFound`, with the bytes of every hidden thing.
pub(super) fn find(
    context: &Context,
    permit: &Permit,
    actor: &Actor,
    id: &ResourceId,
) -> Result<Job, Refusal> {
    let owner = permit.filter().organisation;
    let now = context.clock.now();
    let mut found = None;
    context
        .store
        .read(permit, &mut |reader| {
            found = Job::find(reader, owner, id, actor, now)?;
            Ok(())
        })
        .map_err(refusal)?;
    found.ok_or_else(Refusal::not_found)
}

/// Seconds until a poll is worth while: a guess from what is left, 1 to 30.
fn retry_seconds(context: &Context, job: &Job) -> i64 {
    let left = i64::from(job.members.saturating_sub(job.position.member));
    (left / 200).clamp(context.settings.jobs.poll_seconds_min.max(1), 30)
}

fn complete(context: &Context, job: &Job, result: &Outcome) -> Answer {
    let list = |section: Section| {
        result
            .files
            .iter()
            .filter(|file| file.section == section)
            .map(|file| {
                json!({
                    "type": file.kind,
                    "url": format!("{}/export/{}/{}", context.base, job.id, file.name),
                    "count": file.count,
                })
            })
            .collect::<Vec<_>>()
    };
    let manifest = json!({
        "transactionTime": Timestamp(job.transaction_time).to_instant(),
        "request": job.request,
        "requiresAccessToken": true,
        "output": list(Section::Output),
        "deleted": list(Section::Deleted),
        "error": list(Section::Error),
        "extension": { COUNTS: counts(job, result) },
    });
    Answer::json(StatusCode::OK, manifest.to_string())
        .with(header::EXPIRES, &http_date(Timestamp(job.expires)))
        .with(header::CACHE_CONTROL, "no-store")
}

/// Name of the manifest's extension with the counts.
const COUNTS: &str = "https://sluis.care/fhir/export-counts";

/// Counts that add up: `cohort` = `exported` + `withheld`, and `withheld` is the sum of its reasons.
fn counts(job: &Job, result: &Outcome) -> serde_json::Value {
    let by: serde_json::Map<String, serde_json::Value> =
        result.withheld.iter().map(|(reason, count)| (reason.code().to_owned(), (*count).into())).collect();
    let mut resources: BTreeMap<&str, u64> = BTreeMap::new();
    for File { kind, count, .. } in result.files.iter().filter(|file| file.section == Section::Output) {
        *resources.entry(kind).or_default() += count;
    }
    json!({
        "cohort": job.members,
        "exported": result.exported,
        "withheld": result.withheld.values().sum::<u32>(),
        "withheldBy": by,
        "withdrawalsReported": result.withdrawals,
        "resources": resources,
        "resourcesNotPseudonymisable": result.unfit,
        "purpose": job.actor.purpose,
        "profileVersion": result.profile,
        "pseudonymEpoch": job.epoch,
    })
}
