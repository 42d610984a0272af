//! read and search of AuditEvent: the log of every look, for the patient herself and for an organisation's privacy
//! officer. AuditEvents are not stored as resources; `audit::event` makes them from the records.
//!
//! Search parameters: `patient`, `date` (with `ge`, `gt`, `le`, `lt`), `_count`; newest first.

use http::StatusCode;
use sluis_conformance::definitions;
use sluis_conformance::path::FhirDateTime;

use super::cursor::{self, Cursor};
use super::perform::{Aside, append, record};
use super::reference::{self, Target};
use super::search::QUERY;
use super::write::{self, kinds};
use super::{Facts, Scene, found_body};
use crate::audit::event::{self, LogScope, View};
use crate::clock::Timestamp;
use crate::connection::request::{Interaction, Parameters};
use crate::decision::Permit;
use crate::gateway::Gateway;
use crate::ids::{PatientKey, ResourceId};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, SearchMode};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{AuditQuery, Reader, StoreError};

/// Search parameters the log is searched by, for the CapabilityStatement; all others are refused.
pub const SEARCHABLE: [&str; 2] = ["date", "patient"];

/// One event, if its reader may see it.
pub async fn read(
    gateway: &Gateway,
    permit: &Permit,
    id: &ResourceId,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let scope = event::scope(&gateway.parts().policy, permit)?;
    let view = view(gateway, scope);
    let mut found = None;
    gateway
        .parts()
        .store
        .read(permit, &mut |reader| {
            found = one(reader, &view, id)?;
            Ok(())
        })
        .map_err(write::refusal)?;
    let body = found.ok_or_else(Refusal::not_found)?;
    let facts = facts(scope);
    let interaction = Interaction::Read(kinds().audit_event, id.clone());
    append(gateway, permit, record(aside, permit, &interaction, &facts)).await?;
    Ok(Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format)))
}

fn one(reader: &mut dyn Reader, view: &View<'_>, id: &ResourceId) -> Result<Option<String>, StoreError> {
    let Some((sequence, _)) = event::parse_id(id) else { return Ok(None) };
    let rows = reader.audit(&AuditQuery {
        patient: match view.scope {
            LogScope::Patient(key) => Some(key),
            LogScope::Organisation(_) => None,
        },
        organisation: match view.scope {
            LogScope::Patient(_) => None,
            LogScope::Organisation(party) => Some(party),
        },
        before: Some(sequence.saturating_add(1)),
        limit: 1,
        ..AuditQuery::default()
    })?;
    let Some(row) = rows.0.into_iter().find(|row| row.sequence == sequence) else { return Ok(None) };
    let events = event::events(&row, view, &mut |key| reader.patient_id(key))?;
    let wanted = |event: &serde_json::Value| event["id"].as_str() == Some(id.as_str());
    Ok(events.into_iter().find(wanted).map(|event| event.to_string()))
}

/// One page of the log.
pub async fn search(
    gateway: &Gateway,
    permit: &Permit,
    parameters: &Parameters,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let scope = event::scope(&gateway.parts().policy, permit)?;
    let scene = gateway.scene(permit, aside.now);
    let asked = Asked::parse(&scene, parameters)?;
    let store = &gateway.parts().store;
    let patient = match &asked.patient {
        None => None,
        Some(id) => {
            // Another patient's log and nobody's are alike: an empty page.
            let key = store.patient_key(id).map_err(write::refusal)?;
            Some(key.unwrap_or(PatientKey(0)))
        }
    };
    let view = view(gateway, scope);
    let (mut rows, mut total, mut entries) = (Vec::new(), 0, Vec::new());
    match event::query(scope, patient, asked.from, asked.to, asked.before, asked.count) {
        Err(refusal) if refusal.reason == Reason::NotFound => {}
        Err(refusal) => return Err(refusal),
        Ok(query) => store
            .read(permit, &mut |reader| {
                (rows, total) = reader.audit(&query)?;
                entries = event::event_page(&rows, &view, &mut |key| reader.patient_id(key))?;
                Ok(())
            })
            .map_err(write::refusal)?,
    }
    let body = page(&scene, &asked, &rows, &entries, total);
    let interaction = Interaction::Search(kinds().audit_event, parameters.clone());
    append(gateway, permit, record(aside, permit, &interaction, &facts(scope))).await?;
    Ok(Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format)))
}

fn page(
    scene: &Scene<'_>,
    asked: &Asked,
    rows: &[crate::store::AuditRow],
    entries: &[serde_json::Value],
    total: u64,
) -> String {
    let query: Vec<String> = asked
        .pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encoding::utf8_percent_encode(value, QUERY)))
        .collect();
    let mut links = vec![("self", format!("{}/AuditEvent?{}", scene.base, query.join("&")))];
    if let (Some(last), Some(actor)) = (rows.last(), scene.actor)
        && rows.len() as u64 == u64::from(asked.count)
        && last.sequence > 1
    {
        let cursor = Cursor {
            pairs: asked.pairs.clone(),
            position: last.sequence.to_be_bytes().to_vec(),
            expires: scene.now.plus_seconds(cursor::LIFE_SECONDS),
        };
        if let Some(text) = scene.seal.seal(&cursor, actor, scene.clock) {
            links.push(("next", format!("{}/AuditEvent?_cursor={text}", scene.base)));
        }
    }
    let updated = scene.now.to_instant();
    let mut bundle = BundleWriter::new(&scene.bundle_id(), "searchset", &updated, Some(total), &links);
    for entry in entries {
        let url = entry["fullUrl"].as_str().unwrap_or_default();
        bundle.search_entry(url, &entry["resource"].to_string(), SearchMode::Match);
    }
    bundle.finish()
}

fn view(gateway: &Gateway, scope: LogScope) -> View<'_> {
    let parts = gateway.parts();
    View {
        base: &parts.base,
        observer: &parts.base,
        policy: &parts.policy,
        organisations: &parts.organisations,
        scope,
    }
}

fn facts(scope: LogScope) -> Facts {
    let patients = match scope {
        LogScope::Patient(key) => vec![key],
        LogScope::Organisation(_) => Vec::new(),
    };
    Facts { patients, ..Facts::default() }
}

#[derive(Debug, Default)]
struct Asked {
    pairs: Vec<(String, String)>,
    patient: Option<ResourceId>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    before: Option<u64>,
    count: u32,
}

impl Asked {
    fn parse(scene: &Scene<'_>, parameters: &Parameters) -> Result<Asked, Refusal> {
        let invalid = |name: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
        let mut asked = Asked { count: 50.min(scene.count_max), ..Asked::default() };
        asked.pairs = parameters.pairs.to_vec();
        if let [(name, text)] = asked.pairs.as_slice()
            && name == "_cursor"
        {
            let actor = scene.actor.ok_or_else(Refusal::not_found)?;
            let cursor = scene.seal.open(text, actor, scene.now)?;
            let position: [u8; 8] =
                cursor.position.try_into().map_err(|_| invalid("_cursor", "Start the search again."))?;
            asked.before = Some(u64::from_be_bytes(position));
            asked.pairs = cursor.pairs;
        }
        for (name, value) in asked.pairs.clone() {
            match name.as_str() {
                "patient" => {
                    let text = if value.contains('/') { value } else { format!("Patient/{value}") };
                    let patient = match reference::parse(&text, scene.base) {
                        Target::Local(kind, id, None) if kind == kinds().patient => id,
                        _ => return Err(invalid(&name, "A Patient id is needed.")),
                    };
                    asked.patient = Some(patient);
                }
                "date" => asked.date(&value).ok_or_else(|| {
                    invalid(
                        &name,
                        "A date with prefix ge, gt, le or lt is needed, or a whole day, month or year.",
                    )
                })?,
                "_count" => {
                    let count: u32 = value
                        .parse()
                        .ok()
                        .filter(|count| *count > 0)
                        .ok_or_else(|| invalid(&name, "A whole number above 0 is needed."))?;
                    asked.count = count.min(scene.count_max);
                }
                "_sort" if value == "-date" => {}
                _ => {
                    let text = "The log knows patient, date and _count.";
                    let known = definitions::r4().type_name(kinds().audit_event);
                    return Err(Refusal::new(Reason::ParameterUnknown, format!("{known}: {text}")).at(name));
                }
            }
        }
        Ok(asked)
    }

    /// Narrows the stretch of time (FHIR R4 search.html#date).
    fn date(&mut self, value: &str) -> Option<()> {
        let (prefix, text) = match value.get(..2) {
            Some(prefix @ ("ge" | "gt" | "le" | "lt" | "eq")) => (prefix, value.get(2..)?),
            _ => ("eq", value),
        };
        let range = FhirDateTime::parse(text).ok()?;
        let (low, high) = (Timestamp(range.low_us), Timestamp(range.high_us));
        let (from, to) = match prefix {
            "ge" => (Some(low), None),
            "gt" => (Some(high), None),
            "le" => (None, Some(high)),
            "lt" => (None, Some(low)),
            _ => (Some(low), Some(high)),
        };
        self.from = self.from.max(from);
        self.to = match (self.to, to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Some(())
    }
}
