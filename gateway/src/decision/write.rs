//! May this version be written? Judged on the old and the new state, inside the writer's transaction.
//!
//! The caller has already looked for the old version through the permit: what is not visible is not found, so these
//! refusals are about things the caller may know of.

use sluis_conformance::definitions::r4;

use super::consent::{ConsentFact, Scope};
use super::filter::Derived;
use super::policy::{Role, known_kind};
use super::{Action, Permit};
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};

/// Whether the permit's holder may turn `old` (`None`: nothing) into `new`. For a deletion, `new` is `old`.
///
/// An update keeps the author of the first version: the caller derives `new` with `old.author`.
///
/// Errors: `Forbidden` for what no content could make right (type, another's row), `BusinessRule` for content
/// (category, subject). Nothing depends on rows other than these two.
pub fn may_write(
    permit: &Permit,
    kind: ResourceType,
    old: Option<&Derived>,
    new: &Derived,
) -> Result<(), Refusal> {
    if kind == known_kind("AuditEvent") {
        return Err(Refusal::new(Reason::Forbidden, "The access log is written by the gateway alone."));
    }
    if permit.action() == Action::System {
        return Ok(());
    }
    let Some(role) = permit.role() else {
        return Err(Refusal::new(Reason::Forbidden, "The permit is not for writing."));
    };
    let letter = match (permit.action(), old) {
        // SMART App Launch 2.2: the scope `u` includes update as create; the role's cell is asked all the same.
        (Action::Create | Action::Update, None) => role.cells.create,
        // Ingest sends what it knows; whether that is new is the store's knowledge.
        (Action::Create | Action::Update, Some(_)) => role.cells.update,
        (Action::Delete, Some(_)) => role.cells.delete,
        _ => return Err(Refusal::new(Reason::Forbidden, "The permit is not for writing this.")),
    };
    if role.kinds_written.as_ref().is_some_and(|kinds| !kinds.contains(&kind)) {
        let name = r4().type_name(kind);
        return Err(Refusal::new(Reason::Forbidden, format!("Role {} does not write {name}.", role.name)));
    }
    authored(permit, role, kind, old, new)?;
    subject(permit, kind, old, new)?;
    for state in old.into_iter().chain([new]) {
        if state.category & letter == 0 {
            return Err(Refusal::new(
                Reason::BusinessRule,
                format!(
                    "What this resource is about (its data category, derived from type and codes) is not for role {} \
                     to write.",
                    role.name
                ),
            ));
        }
    }
    Ok(())
}

/// Whether the permit's holder may choose this id for a resource that is not there: one of its own namespace,
/// `[URA].[rest]`, and only with a role that sees all its organisation has written, so that nothing hidden can stand in
/// the way (docs/decisions/0011).
pub fn may_name(permit: &Permit, id: &ResourceId) -> bool {
    if permit.action() == Action::System {
        return true;
    }
    let (Some(role), Some(actor)) = (permit.role(), permit.actor()) else { return false };
    let rest = id.as_str().strip_prefix(actor.organisation.as_str()).and_then(|rest| rest.strip_prefix('.'));
    role.own && rest.is_some_and(|rest| !rest.is_empty())
}

/// Only the own organisation's rows, before and after (access.md 8.2 row 28). One exception: a patient may end or
/// change a Consent about herself that her care team recorded; its author stays.
fn authored(
    permit: &Permit,
    role: &Role,
    kind: ResourceType,
    old: Option<&Derived>,
    new: &Derived,
) -> Result<(), Refusal> {
    let own = permit.filter().organisation;
    let kept = old.is_none_or(|old| old.author == new.author);
    let hers = |state: &Derived| {
        role.records_consent
            && kind == known_kind("Consent")
            && state.patient.is_some()
            && state.patient == permit.filter().self_patient
    };
    let allowed = old.map_or(new.author == own, |old| old.author == own || hers(old));
    match kept && allowed {
        true => Ok(()),
        false => Err(Refusal::new(
            Reason::Forbidden,
            "Another organisation's data is changed by that organisation only; send a resource of your own.",
        )),
    }
}

fn subject(permit: &Permit, kind: ResourceType, old: Option<&Derived>, new: &Derived) -> Result<(), Refusal> {
    if old.is_some_and(|old| old.patient != new.patient) && kind != known_kind("Patient") {
        return Err(Refusal::new(
            Reason::BusinessRule,
            "A resource stays with its patient; delete it there and create it here.",
        ));
    }
    let patient = permit.actor().is_some_and(|actor| actor.patient.is_some());
    if patient && (new.patient.is_none() || new.patient != permit.filter().self_patient) {
        return Err(Refusal::new(Reason::BusinessRule, "A patient writes in her own record only."));
    }
    Ok(())
}

/// Whether the permit's holder may write this Consent: access Consents only by a role that records them, given by the
/// patient herself when she is the one writing (access.md 8.2 row 34).
///
/// Errors: `Forbidden` by role, `BusinessRule` for a performer who is not the writing patient.
pub fn may_record(permit: &Permit, fact: &ConsentFact) -> Result<(), Refusal> {
    if permit.action() == Action::System || fact.scope == Scope::Directive {
        return Ok(());
    }
    if !permit.role().is_some_and(|role| role.records_consent) {
        return Err(Refusal::new(
            Reason::Forbidden,
            "Consents about access are recorded by the patient or by the coordinator of her care team.",
        ));
    }
    let Some(patient) = permit.actor().and_then(|actor| actor.patient.as_ref()) else { return Ok(()) };
    let herself = format!("Patient/{patient}");
    match fact.performers.iter().all(|performer| **performer == *herself) {
        true => Ok(()),
        false => Err(Refusal::new(Reason::BusinessRule, "A patient consents for herself only.")
            .at("Consent.performer")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::policy::Policy;
    use crate::identity::actor::Actor;
    use crate::ids::{ResourceId, Ura};

    fn permit(role: &str, patient: Option<&str>) -> Permit {
        let policy = Policy::included().unwrap();
        let actor = Actor {
            client: "c".into(),
            organisation: Ura::parse("00000001").unwrap(),
            user: None,
            patient: patient.and_then(ResourceId::parse),
            purpose: "TREAT".into(),
            scopes: Vec::new(),
            token_id: "t".into(),
            token_expires: Timestamp::MAX,
        };
        let filter = crate::decision::system(&policy, Timestamp(0), "test").filter().clone();
        let mut permit = Permit::for_test(filter, Some(Arc::new(actor)), Action::Create);
        permit.role = policy.roles.iter().find(|r| r.name == role).cloned();
        permit
    }

    fn fact(scope: Scope, performer: &str) -> ConsentFact {
        ConsentFact { reference: "".into(), scope, performers: vec![performer.into()], rules: Vec::new() }
    }

    #[test]
    fn a_consent_is_recorded_by_the_patient_for_herself_or_by_her_coordinator() {
        let herself = permit("patient", Some("a"));
        assert!(may_record(&herself, &fact(Scope::Access, "Patient/a")).is_ok());
        for performer in ["Patient/b", "RelatedPerson/a", "https://x.test/Patient/a"] {
            let refusal = may_record(&herself, &fact(Scope::Access, performer)).unwrap_err();
            assert_eq!(refusal.reason, Reason::BusinessRule);
        }
        let coordinator = permit("gesp-coordinator", None);
        assert!(may_record(&coordinator, &fact(Scope::Access, "RelatedPerson/r")).is_ok());
        let clinician = permit("gesp-clinician", None);
        let refusal = may_record(&clinician, &fact(Scope::Access, "Patient/a")).unwrap_err();
        assert_eq!(refusal.reason, Reason::Forbidden);
        assert!(may_record(&clinician, &fact(Scope::Directive, "")).is_ok());
    }
}
