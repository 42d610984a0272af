//! Compartments (FHIR R4 compartmentdefinition.html): which resources belong to one Patient, Practitioner, RelatedPerson,
//! Encounter or Device, as a criterion of a search.
//!
//! The criterion only chooses: what is seen of a compartment is what its searcher may see, as in any search. Nothing is
//! looked up about its owner, so one that is hidden and one that was never stored have the same, perhaps empty, compartment.

use sluis_conformance::definitions::r4;

use super::write::kinds;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Condition, Criterion, DateTest, Link, Parameter, Prefix, Test};
use crate::search::parameter::parameter_of;

/// Types with resources in a compartment, in alphabetical order.
pub fn types(owner: ResourceType) -> impl Iterator<Item = ResourceType> {
    r4().resource_types().filter(move |kind| members(owner, *kind).is_some())
}

/// What holds of the resources of a type in one compartment.
///
/// Errors: `ParameterInvalid` when the type has none there; the log is no stored resource, and its compartment is
/// `AuditEvent?patient=`.
pub fn criterion(owner: ResourceType, id: &ResourceId, kind: ResourceType) -> Result<Criterion, Refusal> {
    let Some(members) = members(owner, kind) else { return Err(outside(owner, kind)) };
    let itself = (kind == owner).then(|| Criterion::Id(vec![id.clone()]));
    let by = parameters(kind, members).map(|parameter| {
        let tests = vec![Test::Reference(Some(owner), id.clone())];
        Criterion::Index(parameter, Condition::Any(tests))
    });
    Ok(any(itself.into_iter().chain(by).collect()))
}

/// What holds of the resources of a type in some compartment whose owner the searcher may see; `None`: of every resource,
/// as each is in its own.
///
/// Errors: as of [`criterion`].
pub fn of_any(owner: ResourceType, kind: ResourceType) -> Result<Option<Criterion>, Refusal> {
    if kind == owner {
        return Ok(None);
    }
    let Some(members) = members(owner, kind) else { return Err(outside(owner, kind)) };
    // Whenever it was changed: that it is there and visible is all that is asked of the owner.
    let ever = DateTest { prefix: Prefix::Ge, low: 0, high: 0 };
    let by = parameters(kind, members).map(|parameter| {
        let there = Link { kind: owner, criterion: Box::new(Criterion::Updated(vec![ever])) };
        Criterion::Chain(parameter, vec![there])
    });
    Ok(Some(any(by.collect())))
}

fn parameters(kind: ResourceType, members: &'static [&'static str]) -> impl Iterator<Item = Parameter> {
    let definition = move |code: &&str| r4().search_parameter(kind, code);
    members.iter().filter_map(definition).map(move |definition| parameter_of(kind, definition))
}

fn any(mut all: Vec<Criterion>) -> Criterion {
    match (all.pop(), all.is_empty()) {
        (Some(one), true) => one,
        (last, _) => {
            all.extend(last);
            Criterion::AnyOf(all)
        }
    }
}

fn outside(owner: ResourceType, kind: ResourceType) -> Refusal {
    let (inner, outer) = (r4().type_name(kind), r4().type_name(owner));
    let text = format!("{inner} is not searched in the compartment of a {outer}; search [base]/{inner}?...");
    Refusal::new(Reason::ParameterInvalid, text).at(inner)
}

/// Parameters by which a type refers to the owner of a compartment; `None` when it has no place there.
fn members(owner: ResourceType, kind: ResourceType) -> Option<&'static [&'static str]> {
    let members = r4().compartment(r4().type_name(owner), kind);
    (!members.is_empty() && kind != kinds().audit_event).then_some(members)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn kind(name: &str) -> ResourceType {
        r4().resource_type(name).unwrap()
    }

    #[test]
    fn compartments_are_those_of_the_definitions() {
        let names = |owner: &str| types(kind(owner)).map(|k| r4().type_name(k)).collect::<Vec<_>>();
        assert_eq!(names("Patient").len(), 65);
        assert!(names("Encounter").contains(&"Encounter") && !names("Device").contains(&"AuditEvent"));
        let id = ResourceId::parse("1").unwrap();
        let of = |owner: &str, inner: &str| criterion(kind(owner), &id, kind(inner));
        let Ok(Criterion::AnyOf(each)) = of("Patient", "Observation") else { unreachable!() };
        assert_eq!(each.len(), 2);
        assert!(matches!(of("Encounter", "Encounter"), Ok(Criterion::Id(_))));
        assert!(matches!(of("Patient", "Patient"), Ok(Criterion::AnyOf(each)) if each.len() == 2));
        assert!(matches!(of("Device", "DeviceUseStatement"), Ok(Criterion::Index(..))));
        for inner in ["Organization", "AuditEvent"] {
            assert_eq!(of("Patient", inner).unwrap_err().reason, Reason::ParameterInvalid);
        }
        // Every parameter the definitions name is one of its type, or the type itself.
        for owner in crate::connection::route::COMPARTMENTS {
            for inner in types(kind(owner)) {
                for code in members(kind(owner), inner).unwrap() {
                    let known = *code == "{def}" || r4().search_parameter(inner, code).is_some();
                    assert!(known, "{owner} {} {code}", r4().type_name(inner));
                }
            }
        }
    }
}
