//! `$ingest`, `$quarantine`, `$replay`, `$discard`, `$unmapped`, `$shadow` and `$trace`: documents in local formats. The stages are those of `ingest`; here they get
//! their permit's desk and their audit record.

use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};

use super::found_body;
use super::perform::{self, Aside, Caller, append, entry};
use crate::audit::entry::AuditRecord;
use crate::connection::request::{Document, Interaction, Parameters};
use crate::decision::{Action, Need, Permit};
use crate::gateway::Gateway;
use crate::ids::{ResourceId, ResourceType};
use crate::ingest::pages::Pages;
use crate::ingest::{Audit, IngestFacts};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};

/// Takes a document in.
pub async fn ingest(
    gateway: &Gateway,
    permit: &Permit,
    document: &Document,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let desk = gateway.desk(permit, aside.now);
    let audit = audit(permit, interaction, aside);
    let done = parts.intake.ingest(&*parts.store, &desk, document, audit).await?;
    Ok(Answer::fhir(done.status, found_body(done.body.into(), aside.format)))
}

/// What waits for mending, of the own organisation.
pub async fn waiting(
    gateway: &Gateway,
    permit: &Permit,
    parameters: &Parameters,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let pages = pages(gateway, permit, aside);
    let body = parts.intake.quarantine(&*parts.store, permit, &pages, parameters)?;
    append(gateway, permit, record(permit, interaction, aside, &IngestFacts::default())).await?;
    Ok(Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format)))
}

/// Applies what waits, by cause. What a dry run tells of stored resources it tells by the caller's leave to read.
pub async fn replay(
    gateway: &Gateway,
    caller: &Caller,
    permit: &Permit,
    parameters: &Parameters,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let desk = gateway.desk(permit, aside.now);
    let audit = audit(permit, interaction, aside);
    let look = gateway.leave(caller, &Need { action: Action::Read, kind: None }, aside.now).ok();
    let pages = pages(gateway, permit, aside);
    let done = parts.intake.replay(&*parts.store, &desk, look, &pages, parameters, audit).await?;
    Ok(Answer::fhir(done.status, found_body(done.body.into(), aside.format)))
}

/// Sets units aside that are never to be applied, or takes them back.
pub async fn discard(
    gateway: &Gateway,
    permit: &Permit,
    parameters: &Parameters,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let desk = gateway.desk(permit, aside.now);
    let audit = audit(permit, interaction, aside);
    let done = parts.intake.discard(&*parts.store, &desk, parameters, audit).await?;
    Ok(Answer::fhir(done.status, found_body(done.body.into(), aside.format)))
}

/// Codes of the own organisation that no table has a row for, or those of one table as rows to fill in.
pub async fn unmapped(
    gateway: &Gateway,
    permit: &Permit,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let answer = match interaction {
        Interaction::UnmappedFile(file) => {
            let rows = parts.intake.unmapped_file(&*parts.store, permit, file)?;
            // RFC 4180; the name is of letters, digits, `-`, `_` and `.` only.
            let media = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
            Answer::typed(StatusCode::OK, media, rows.into())
                .with(header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{file}\""))
        }
        Interaction::Unmapped(parameters) => {
            let pages = pages(gateway, permit, aside);
            let body = parts.intake.unmapped(&*parts.store, permit, &pages, parameters)?;
            Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format))
        }
        _ => return Err(Refusal::new(Reason::Internal, "").because("not an interaction of $unmapped")),
    };
    append(gateway, permit, record(permit, interaction, aside, &IngestFacts::default())).await?;
    Ok(answer)
}

/// What shadow mappings make otherwise of the own organisation's documents.
pub async fn shadow(
    gateway: &Gateway,
    permit: &Permit,
    parameters: &Parameters,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let body = gateway.parts().intake.shadow(permit, parameters)?;
    append(gateway, permit, record(permit, interaction, aside, &IngestFacts::default())).await?;
    Ok(Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format)))
}

/// Where each value of an own resource comes from.
pub async fn trace(
    gateway: &Gateway,
    permit: &Permit,
    kind: ResourceType,
    id: &ResourceId,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let parts = gateway.parts();
    let (status, body, facts) = parts.intake.trace(&*parts.store, permit, kind, id).await?;
    append(gateway, permit, perform::record(aside, permit, interaction, &facts)).await?;
    Ok(Answer::fhir(status, found_body(body.into(), aside.format)))
}

fn pages<'g>(gateway: &'g Gateway, permit: &'g Permit, aside: &Aside) -> Pages<'g> {
    let scene = gateway.scene(permit, aside.now);
    Pages { seal: scene.seal, actor: scene.actor, clock: scene.clock, now: scene.now }
}

fn audit(permit: &Permit, interaction: &Interaction, aside: &Aside) -> Audit {
    let (permit, interaction, aside) = (permit.clone(), interaction.clone(), aside.clone());
    Arc::new(move |facts| record(&permit, &interaction, &aside, facts))
}

fn record(permit: &Permit, interaction: &Interaction, aside: &Aside, facts: &IngestFacts) -> AuditRecord {
    let mut entry = entry(aside, interaction).under(permit);
    entry.patients = facts.patients.iter().map(|patient| patient.0).collect();
    entry.count = Some(facts.resources.len() as u64);
    entry.categories = facts.categories;
    if !facts.sha256.is_empty() {
        entry.notes.push(format!("document sha256:{}", facts.sha256));
    }
    if !facts.map.is_empty() {
        entry.notes.push(format!("map {}", facts.map));
    }
    entry.notes.extend(facts.notes.iter().cloned());
    if facts.repeated {
        entry.notes.push("repeated".to_owned());
    }
    if facts.dry_run {
        entry.notes.push("dry-run".to_owned());
    }
    if facts.status >= 400 {
        entry = entry.refused(Reason::Quarantined);
    }
    entry.record(permit.filter().organisation)
}
