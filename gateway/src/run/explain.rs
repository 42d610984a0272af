//! `sluis policy explain`: why somebody may or may not see a resource, from the same decision and grants that serve.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use sluis_conformance::definitions;

use super::{open, policy};
use crate::clock::{Clock, System, Timestamp};
use crate::config::{self, Config};
use crate::decision::organisation::Organisations;
use crate::decision::{self, Action, Need, Parties, explain, grant};
use crate::identity::actor::{Actor, Scope, User};
use crate::ids::{PatientKey, ResourceId, ResourceType, Ura};
use crate::interaction::write::kinds;
use crate::store::Stored;

/// Who would look at what.
#[derive(Debug, Clone)]
pub struct Question {
    /// URA of the organisation.
    pub organisation: String,
    /// UZI role code; `None`: a system, or the patient.
    pub role: Option<String>,
    /// FHIR id of the patient who asks herself.
    pub patient: Option<String>,
    /// Purpose of use.
    pub purpose: String,
    /// `Type/id`
    pub resource: String,
}

/// The answer, for a person: cell of the policy, care relation, grant and Consent, or what is missing. Reads only.
///
/// Errors: a question that cannot be read, a resource that is not stored, the store's.
pub fn explanation(settings: &Path, question: &Question) -> Result<String> {
    let config = Config::read(settings)?;
    let policy = policy(&config)?;
    let registry = config::read_text(&config.organisations)?;
    let organisations =
        Organisations::parse(&policy, &config.organisations.display().to_string(), &registry)?;
    let store = open::store(&config)?;
    let now = System.now();
    let (kind, id) = resource(&question.resource)?;
    let system = decision::system(&policy, now, "policy-explain");
    let mut found: Option<Stored> = None;
    let mut rows: Vec<Stored> = Vec::new();
    store.read(&system, &mut |reader| {
        found = reader.current(kind, &id)?;
        if let Some(patient) = found.as_ref().and_then(|row| row.derived.patient) {
            rows = reader.compartment(patient, kinds().consent)?;
            rows.extend(reader.compartment(patient, kinds().care_team)?);
        }
        Ok(())
    })?;
    let row = found.with_context(|| format!("{} is not stored", question.resource))?;
    let patient = row.derived.patient.unwrap_or(PatientKey(0));
    let grants = grant::grants(&policy, &organisations, patient, &rows, &mut |name| store.party(name))?;

    let actor = Arc::new(actor(question)?);
    let parties = Parties::of(&*store, &organisations, &actor)?;
    let context = decision::Context { policy: &policy, organisations: &organisations, now };
    match decision::decide(&context, &actor, &Need::new(Action::Read, kind), &parties) {
        Err(refusal) => Ok(format!("refused before any data is looked at: {}", refusal.details)),
        Ok(permit) => Ok(explain::explain(&policy, &permit, &row.derived, &grants.arms, &grants.relations)),
    }
}

fn resource(text: &str) -> Result<(ResourceType, ResourceId)> {
    let (kind, id) = text.split_once('/').context("a resource is Type/id")?;
    let Some(kind) = definitions::r4().resource_type(kind) else { bail!("{kind} is no R4 type") };
    Ok((kind, ResourceId::parse(id).context("not a FHIR id")?))
}

fn actor(question: &Question) -> Result<Actor> {
    let level = if question.patient.is_some() { "patient/*.cruds" } else { "system/*.cruds" };
    let user = question.role.as_deref().map(|role| User {
        identifier: "0".into(),
        system: "urn:sluis:explain".into(),
        role_code: role.into(),
    });
    Ok(Actor {
        client: "explain".into(),
        organisation: Ura::parse(&question.organisation)
            .ok_or_else(|| anyhow!("{} is no URA (8 digits)", question.organisation))?,
        user,
        patient: question.patient.as_deref().and_then(ResourceId::parse),
        purpose: question.purpose.as_str().into(),
        scopes: Scope::parse(level).into_iter().collect(),
        token_id: "explain".into(),
        token_expires: Timestamp::MAX,
    })
}
