//! `$everything` of one Patient (`Patient/[id]/$everything`) or of all (`Patient/$everything`; FHIR R4
//! patient-operation-everything.html): the compartments, and what their resources refer to outside of them, page by page.
//!
//! It is a search of the compartment's types under the permit of a search: nothing comes that a search would not show. A
//! Patient herself has to be visible, or there is nothing to ask everything of.

use sluis_conformance::definitions::{SearchKind, r4};
use sluis_conformance::path::FhirDateTime;

use super::several;
use super::write::kinds;
use super::{Outcome, Scene, compartment};
use crate::connection::request::{Format, Parameters};
use crate::decision::{self, Action, Need, Permit};
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Condition, Criterion, Include};
use crate::search::parameter::parameter_of;
use crate::store::{Reader, StoreError};

/// What is asked of one Patient or of all, ready to run.
pub struct Prepared<'i> {
    id: Option<&'i ResourceId>,
    of: several::Prepared,
}

/// Parameters of the operation.
const KNOWN: [&str; 5] = ["start", "end", "_since", "_type", "_count"];

/// Where a type's day of care is searched, when that is not `date` (FHIR R4 searchparameter-registry.html).
const CARE_DATES: [(&str, &str); 19] = [
    ("ChargeItem", "occurrence"),
    ("Claim", "created"),
    ("Communication", "sent"),
    ("Condition", "onset-date"),
    ("DeviceRequest", "event-date"),
    ("ExplanationOfBenefit", "created"),
    ("Goal", "start-date"),
    ("ImagingStudy", "started"),
    ("Media", "created"),
    ("MedicationAdministration", "effective-time"),
    ("MedicationDispense", "whenhandedover"),
    ("MedicationRequest", "authoredon"),
    ("MedicationStatement", "effective"),
    ("NutritionOrder", "datetime"),
    ("QuestionnaireResponse", "authored"),
    ("RequestGroup", "authored"),
    ("ServiceRequest", "occurrence"),
    ("Specimen", "collected"),
    ("VisionPrescription", "datewritten"),
];

/// Reads the parameters: `start` and `end` (days of care; what has none is always there), `_since`, `_type`, `_count`.
/// A `_cursor` stands alone.
///
/// Errors: `ParameterUnknown`, `ParameterInvalid`, `Forbidden` as of a search of several types.
pub fn prepare<'i>(
    scene: &Scene<'_>,
    permit: &Permit,
    id: Option<&'i ResourceId>,
    parameters: &Parameters,
) -> Result<Prepared<'i>, Refusal> {
    let path = address(id);
    let (pairs, place) = several::opened(scene, &path, parameters)?;
    let mut search: Vec<(String, String)> = Vec::new();
    let (mut start, mut end) = (None, None);
    for (at, (name, value)) in pairs.iter().enumerate() {
        if !KNOWN.contains(&name.as_str()) {
            let text = "It takes start, end, _since, _type and _count.";
            return Err(Refusal::new(Reason::ParameterUnknown, text).at(name.clone()));
        }
        if pairs.iter().take(at).any(|(earlier, _)| earlier == name) {
            return Err(Refusal::new(Reason::ParameterInvalid, "It stands once.").at(name.clone()));
        }
        let moment = || match FhirDateTime::read(value, Some(0)) {
            Ok(_) => Ok(value.as_str()),
            Err(_) => {
                Err(Refusal::new(Reason::ParameterInvalid, "It is a date or a moment.").at(name.clone()))
            }
        };
        match name.as_str() {
            "start" => start = Some(moment()?),
            "end" => end = Some(moment()?),
            "_since" => search.push(("_lastUpdated".to_owned(), format!("ge{}", moment()?))),
            "_count" => search.push((name.clone(), value.clone())),
            _ => {}
        }
    }
    let owner = kinds().patient;
    let named = several::types_of(&pairs)?;
    let every = named.is_none();
    let types = several::searched(scene, permit, Some(owner), named)?;
    let criteria = |kind| {
        let mut all: Vec<Criterion> = match id {
            Some(id) => vec![compartment::criterion(owner, id, kind)?],
            None => compartment::of_any(owner, kind)?.into_iter().collect(),
        };
        for (prefix, day) in [("ge", start), ("le", end)] {
            all.extend(day.and_then(|day| cared(scene, kind, prefix, day)).transpose()?);
        }
        Ok(all)
    };
    let mut of = several::understood(scene, path, &types, &search, place, &criteria)?;
    of.applied.clone_from(&pairs);
    if every {
        // What was asked for by type is those types and no other.
        of.includes = beyond(scene, &types);
    }
    Ok(Prepared { id, of })
}

/// Address below the base.
pub fn address(id: Option<&ResourceId>) -> String {
    match id {
        Some(id) => format!("Patient/{id}/$everything"),
        None => "Patient/$everything".to_owned(),
    }
}

/// That a resource is of care from or to a day, as far as its type has a day of care.
fn cared(
    scene: &Scene<'_>,
    kind: ResourceType,
    prefix: &str,
    day: &str,
) -> Option<Result<Criterion, Refusal>> {
    let name = r4().type_name(kind);
    let code = CARE_DATES.iter().find(|(known, _)| *known == name).map_or("date", |(_, code)| code);
    let definition = r4().search_parameter(kind, code).filter(|found| found.kind == SearchKind::Date)?;
    let pairs = [(code.to_owned(), format!("{prefix}{day}"))];
    let undated = Criterion::Index(parameter_of(kind, definition), Condition::Missing(true));
    let request = super::search::understand(scene, kind, &pairs);
    Some(request.map(|mut request| {
        request.criteria.push(undated);
        Criterion::AnyOf(request.criteria)
    }))
}

/// References of the compartment's resources to what is outside it, as far as the token's scopes cover that.
fn beyond(scene: &Scene<'_>, types: &[ResourceType]) -> Vec<Include> {
    let covered = |kind: &ResourceType| {
        scene.actor.is_none_or(|actor| decision::in_scope(actor, &Need::new(Action::Search, *kind)).is_ok())
    };
    let inside: Vec<ResourceType> = compartment::types(kinds().patient).collect();
    let outside = |kind: &ResourceType| *kind != kinds().audit_event && !inside.contains(kind);
    let reach: Vec<ResourceType> = r4().resource_types().filter(outside).filter(covered).collect();
    if reach.is_empty() {
        return Vec::new();
    }
    let of = |kind: &ResourceType| Include {
        reverse: false,
        iterate: false,
        source: Some(*kind),
        parameter: None,
        target: None,
        reach: reach.clone(),
    };
    types.iter().map(of).collect()
}

impl Prepared<'_> {
    /// Runs it in a snapshot and writes its page.
    ///
    /// Errors: `NotFound` when the Patient was never stored or is not visible, not told apart; `Gone` when deleted.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let refused = |refusal| StoreError::Refused(Box::new(refusal));
        let Some(id) = self.id else { return self.of.run(reader, permit, scene, format) };
        let patient = reader.current(kinds().patient, id)?;
        let patient = patient.ok_or_else(|| refused(Refusal::not_found()))?;
        if patient.deleted {
            return Err(refused(Refusal::new(Reason::Gone, "")));
        }
        let mut outcome = self.of.run(reader, permit, scene, format)?;
        outcome.facts.patients.extend(patient.derived.patient);
        outcome.facts.settle();
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn every_day_of_care_is_a_date_parameter_of_a_type_of_the_compartment() {
        let inside: Vec<ResourceType> = compartment::types(kinds().patient).collect();
        for (name, code) in CARE_DATES {
            let kind = r4().resource_type(name).unwrap();
            assert!(inside.contains(&kind), "{name}");
            assert_eq!(r4().search_parameter(kind, code).map(|p| p.kind), Some(SearchKind::Date), "{name}");
        }
    }
}
