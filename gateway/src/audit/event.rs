//! A stored record -> FHIR AuditEvents, one for each patient it touched, when someone who may read the log asks.
//!
//! Profiles: IHE BALP 1.1 `[Patient]Read|Query|Create|Update|Delete` on success, with the NEN 7513 fields beside. Mind
//! the roles: in a Query the client is the *source* (of the question, DCM 110153), in a Read the *destination* (of the
//! data, DCM 110152). Records are never AuditEvents at rest: 2,000 patients in one search are one record.
//!
//! Who may see which events is decided by [`LogScope`]; the store's query is bound to it.

mod part;

use serde_json::{Value, json};

use super::entry::{Done, Entry, Outcome};
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::ids::{PatientKey, ResourceId, Ura};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{AuditQuery, AuditRow, StoreError};

/// Longest stretch of the log an organisation's officer asks for at once, in days.
pub const LOG_DAYS_MAX: i64 = 366;

/// Whose events a permit's holder may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogScope {
    /// The patient: events about herself (Wabvpz art. 15e), employees shown by role and organisation.
    Patient(PatientKey),
    /// The privacy officer: events of the own organisation, in full.
    Organisation(crate::ids::PartyKey),
}

/// What an AuditEvent is written with.
#[derive(Debug, Clone, Copy)]
pub struct View<'v> {
    /// Base address, e.g. `https://gateway.example/fhir`.
    pub base: &'v str,
    /// Name of this gateway as event source, e.g. its domain.
    pub observer: &'v str,
    /// Names of categories.
    pub policy: &'v Policy,
    /// Names of organisations.
    pub organisations: &'v Organisations,
    /// For whom.
    pub scope: LogScope,
}

/// Looks the id of a patient up; `None`: erased.
pub type PatientId<'p> = &'p mut dyn FnMut(PatientKey) -> Result<Option<ResourceId>, StoreError>;

/// The part of the log a permit opens. Errors: `NotFound` for a patient the store does not know, `Forbidden` for a
/// permit that is neither a patient's nor given by the log's cell.
pub fn scope(policy: &Policy, permit: &Permit) -> Result<LogScope, Refusal> {
    let filter = permit.filter();
    let cell = policy.category("audit").unwrap_or(0);
    let may = permit.role().is_some_and(|role| (role.cells.read | role.cells.search) & cell != 0);
    let patient = permit.actor().is_some_and(|actor| actor.patient.is_some());
    match (may, patient, filter.self_patient) {
        (true, true, Some(key)) => Ok(LogScope::Patient(key)),
        (true, true, None) => Err(Refusal::not_found()),
        (true, false, _) => Ok(LogScope::Organisation(filter.organisation)),
        (false, ..) => Err(Refusal::new(Reason::Forbidden, "The role does not read the access log.")),
    }
}

/// The store's query for a scope: `patient` (already resolved; required of nobody who is the patient) and the moments
/// asked for. Errors: `ParameterInvalid` when an officer gives neither a patient nor a stretch of at most
/// [`LOG_DAYS_MAX`] days.
pub fn query(
    scope: LogScope,
    patient: Option<PatientKey>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    before: Option<u64>,
    limit: u32,
) -> Result<AuditQuery, Refusal> {
    let (patient, organisation) = match scope {
        // Another patient's log is not there for her, whatever she asks.
        LogScope::Patient(own) if patient.is_none_or(|asked| asked == own) => (Some(own), None),
        LogScope::Patient(_) => return Err(Refusal::not_found()),
        LogScope::Organisation(party) => (patient, Some(party)),
    };
    let width = to.zip(from).map(|(to, from)| to.0.saturating_sub(from.0));
    let bounded = width.is_some_and(|width| width <= LOG_DAYS_MAX * 86_400_000_000);
    if patient.is_none() && !bounded {
        return Err(Refusal::new(
            Reason::ParameterInvalid,
            format!("A search of the log needs `patient`, or `date` from and to within {LOG_DAYS_MAX} days."),
        )
        .at("date"));
    }
    Ok(AuditQuery { patient, organisation, from, to, before, limit })
}

/// Searchset entries of a page of rows, in the rows' order: `{fullUrl, resource, search}`. A row that is not of this
/// version's form becomes an event that says so, never a gap. Errors: those of `patient_id`.
pub fn event_page(
    rows: &[AuditRow],
    view: &View<'_>,
    patient_id: PatientId<'_>,
) -> Result<Vec<Value>, StoreError> {
    let mut entries = Vec::new();
    for row in rows {
        for event in events(row, view, patient_id)? {
            let id = event.get("id").and_then(Value::as_str).unwrap_or_default();
            entries.push(json!({
                "fullUrl": format!("{}/AuditEvent/{id}", view.base),
                "resource": event,
                "search": { "mode": "match" },
            }));
        }
    }
    Ok(entries)
}

/// The AuditEvents of one row the view's holder may see.
pub fn events(row: &AuditRow, view: &View<'_>, patient_id: PatientId<'_>) -> Result<Vec<Value>, StoreError> {
    let Some(entry) = Entry::parse(&row.body) else {
        return Ok(vec![part::unreadable(row.sequence, view)]);
    };
    let mut found = Vec::new();
    if entry.patients.is_empty() {
        if let LogScope::Organisation(_) = view.scope {
            found.push(event(row.sequence.to_string(), &entry, None, view));
        }
        return Ok(found);
    }
    for (index, key) in entry.patients.iter().copied().map(PatientKey).enumerate() {
        if matches!(view.scope, LogScope::Patient(own) if own != key) {
            continue;
        }
        let patient = patient_id(key)?;
        found.push(event(format!("{}-{index}", row.sequence), &entry, Some((key, patient)), view));
    }
    Ok(found)
}

/// Sequence number and place of an event's id: `17`, or `17-0` for the first patient of record 17.
pub fn parse_id(id: &ResourceId) -> Option<(u64, Option<usize>)> {
    match id.as_str().split_once('-') {
        Some((sequence, index)) => Some((sequence.parse().ok()?, Some(index.parse().ok()?))),
        None => Some((id.as_str().parse().ok()?, None)),
    }
}

fn event(
    id: String,
    entry: &Entry,
    patient: Option<(PatientKey, Option<ResourceId>)>,
    view: &View<'_>,
) -> Value {
    let family = Family::of(entry);
    let mut event = json!({ "resourceType": "AuditEvent", "id": id });
    if entry.outcome == Outcome::Success
        && let Some(name) = family.profile()
    {
        let patient = if patient.is_some() { "Patient" } else { "" };
        event["meta"] = json!({ "profile": [
            format!("https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit.{patient}{name}"),
        ] });
    }
    event["extension"] = part::extensions(entry, view);
    event["type"] = family.kind();
    event["subtype"] = json!([part::subtype(entry.interaction)]);
    event["action"] = family.action().into();
    event["recorded"] = Timestamp(entry.at_us).to_instant().into();
    event["outcome"] = match entry.outcome {
        Outcome::Success => "0",
        Outcome::MinorFailure => "4",
        Outcome::SeriousFailure => "8",
        Outcome::MajorFailure => "12",
    }
    .into();
    if let Some(reason) = &entry.reason {
        event["outcomeDesc"] = reason.as_str().into();
    }
    let purpose = entry.actor.as_ref().map(|actor| part::purpose(&actor.purpose));
    if let Some(purpose) = &purpose {
        event["purposeOfEvent"] = json!([purpose]);
    }
    event["agent"] = part::agents(entry, family, purpose.as_ref(), view);
    event["source"] = json!({
        "site": view.observer,
        "observer": { "identifier": { "value": view.observer } },
        "type": [{ "system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4",
                   "display": "Application Server" }],
    });
    event["entity"] = part::entities(entry, family, patient, view);
    event
}

/// Which BALP pattern an interaction follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Read,
    Query,
    Create,
    Update,
    Delete,
    /// No pattern of BALP's: operations, bundles, tokens, own work.
    Other(Done),
}

impl Family {
    fn of(entry: &Entry) -> Family {
        match entry.interaction {
            Done::Read | Done::Vread => Family::Read,
            // access.md 7.1: history is a query, its answer is a Bundle.
            Done::SearchType
            | Done::SearchSystem
            | Done::HistoryInstance
            | Done::HistoryType
            | Done::HistorySystem => Family::Query,
            Done::Create => Family::Create,
            Done::Update | Done::Patch => Family::Update,
            Done::Delete => Family::Delete,
            other => Family::Other(other),
        }
    }

    fn profile(self) -> Option<&'static str> {
        match self {
            Family::Read => Some("Read"),
            Family::Query => Some("Query"),
            Family::Create => Some("Create"),
            Family::Update => Some("Update"),
            Family::Delete => Some("Delete"),
            Family::Other(_) => None,
        }
    }

    fn action(self) -> &'static str {
        match self {
            Family::Read => "R",
            Family::Create => "C",
            Family::Update => "U",
            Family::Delete => "D",
            Family::Query | Family::Other(_) => "E",
        }
    }

    fn kind(self) -> Value {
        match self {
            Family::Other(Done::Token) => part::dicom("110114", "User Authentication"),
            Family::Other(Done::System) => part::dicom("110100", "Application Activity"),
            _ => json!({ "system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest",
                         "display": "Restful Operation" }),
        }
    }
}

/// Name of an organisation by its number, for a person to read.
fn organisation_name<'v>(view: &View<'v>, ura: &str) -> Option<&'v str> {
    Ura::parse(ura).and_then(|ura| view.organisations.name(&ura))
}
