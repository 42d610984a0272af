//! The decision: scope, role and purpose, from the request alone. What a patient's consent opens is not known here; the
//! permit's filter lets the store judge it in the snapshot that yields the rows.

use std::sync::Arc;

use sluis_conformance::definitions::r4;

use super::filter::Filter;
use super::need::Need;
use super::organisation::{Organisations, PARTY_ANY, party_of, party_of_kind};
use super::policy::{Policy, Role, known_kind};
use super::{Action, Permit};
use crate::clock::Timestamp;
use crate::identity::actor::{Actor, Scope, ScopeLevel};
use crate::ids::{PartyKey, PatientKey};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError};

/// What decisions are made by.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// The policy in force.
    pub policy: &'c Policy,
    /// Who takes part.
    pub organisations: &'c Organisations,
    /// The moment permissions are judged at.
    pub now: Timestamp,
}

/// The actor's keys in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// Own organisation.
    pub organisation: PartyKey,
    /// Its kind; `None`: it does not take part.
    pub kind: Option<PartyKey>,
    /// Everyone.
    pub any: PartyKey,
    /// The patient's own row, for a patient's token. `None`: no patient's token, or no such patient.
    pub self_patient: Option<PatientKey>,
}

impl Parties {
    /// Looks the actor's keys up. Errors: the store's; nothing is decided by it.
    pub fn of(
        store: &dyn Store,
        organisations: &Organisations,
        actor: &Actor,
    ) -> Result<Parties, StoreError> {
        let kind = organisations.kind(&actor.organisation);
        Ok(Parties {
            organisation: store.party(&party_of(&actor.organisation))?,
            kind: kind.map(|kind| store.party(&party_of_kind(kind))).transpose()?,
            any: store.party(PARTY_ANY)?,
            self_patient: match &actor.patient {
                Some(id) => store.patient_key(id)?,
                None => None,
            },
        })
    }
}

/// Leave for `actor` to do what is needed, or `Forbidden` with what to do about it.
///
/// The answer depends on token and request alone, never on stored data: a 403 tells nothing about what exists.
pub fn decide(
    context: &Context<'_>,
    actor: &Arc<Actor>,
    need: &Need,
    parties: &Parties,
) -> Result<Permit, Refusal> {
    let role = role(context, actor)?;
    in_scope(actor, need)?;
    in_cells(context.policy, role, need)?;
    let cells = &role.cells;
    let categories = match need.action {
        Action::Search => cells.search,
        Action::Export => cells.export,
        _ => cells.read,
    };
    let open = context.policy.categories_open();
    // `role` has refused an unknown purpose; one without a key could match no grant anyway.
    let purpose = context.policy.purpose(&actor.purpose).unwrap_or(u8::MAX);
    let patient = actor.patient.is_some();
    let filter = Filter {
        now: context.now,
        purpose,
        organisation: parties.organisation,
        own: role.own,
        // A patient sees her own record as herself, never through a grant to her portal's organisation.
        recipients: match patient {
            true => Vec::new(),
            false => {
                [Some(parties.organisation), parties.kind, Some(parties.any)].into_iter().flatten().collect()
            }
        },
        care_relation: role.care_relation,
        self_patient: if patient { parties.self_patient } else { None },
        categories: categories & !open,
        open_categories: match need.action {
            // An export leads from the Group, which it reads like a read does.
            Action::Export => (categories | cells.read) & open,
            _ => categories & open,
        },
        deny_labels: role.labels_denied,
        confidentiality_max: role.confidentiality_max,
        system: false,
    };
    let basis = format!("{}#{}/{}", context.policy.basis(), role.name, actor.purpose);
    Ok(Permit {
        filter,
        actor: Some(Arc::clone(actor)),
        action: need.action,
        basis: basis.into(),
        role: Some(Arc::clone(role)),
    })
}

/// Leave for the gateway's own work: it sees everything, so every use states its reason, which goes into the record.
pub fn system(policy: &Policy, now: Timestamp, reason: &'static str) -> Permit {
    let filter = Filter {
        now,
        purpose: u8::MAX,
        organisation: PartyKey(0),
        own: false,
        recipients: Vec::new(),
        care_relation: false,
        self_patient: None,
        categories: 0,
        open_categories: 0,
        deny_labels: 0,
        confidentiality_max: u8::MAX,
        system: true,
    };
    let basis = format!("{}#system/{reason}", policy.basis());
    Permit { filter, actor: None, action: Action::System, basis: basis.into(), role: None }
}

/// The actor's role. Errors: `Forbidden` saying which of organisation, purpose and role code is not known.
fn role<'c>(context: &Context<'c>, actor: &Actor) -> Result<&'c Arc<Role>, Refusal> {
    let Some(kind) = context.organisations.kind(&actor.organisation) else {
        return Err(forbidden(
            "The organisation of the token is not in this region's registry; ask the operator to register it.",
        ));
    };
    if context.policy.purpose(&actor.purpose).is_none() {
        let known: Vec<&str> = context.policy.purposes.iter().map(|purpose| &*purpose.code).collect();
        return Err(forbidden(format!("The purpose of use is not known here; known: {}.", known.join(", "))));
    }
    let code = actor.user.as_ref().map(|user| &*user.role_code);
    context.policy.role(kind, code, actor.patient.is_some(), &actor.purpose).ok_or_else(|| {
        let who = match (code, actor.patient.is_some()) {
            (Some(_), true) => "a token of both a professional and a patient",
            (Some(code), false) => &format!("a professional with role code {code}"),
            (None, true) => "a patient",
            (None, false) => "a system without a user",
        };
        forbidden(format!(
            "The policy has no role for {who} at an organisation of kind {kind} with purpose {}; \
             ask for a token with another purpose or user.",
            actor.purpose
        ))
    })
}

/// Whether the token's scopes cover a need; `Forbidden` with the scope that would.
///
/// Source: SMART App Launch 2.2, scopes-and-launch-context.html#scopes-for-requesting-fhir-resources.
pub fn in_scope(actor: &Actor, need: &Need) -> Result<(), Refusal> {
    let every = need.kind.is_none();
    let kind = need.kind.map(|kind| r4().type_name(kind));
    let usable = |scope: &&Scope| match scope.level {
        ScopeLevel::Patient => actor.patient.is_some(),
        ScopeLevel::User => actor.patient.is_some() || actor.user.is_some(),
        ScopeLevel::System => true,
    };
    let has = |kind: Option<&str>, letter: fn(&Scope) -> bool| {
        let named = |scope: &&Scope| match &scope.kind {
            None => true,
            Some(of) => kind == Some(of),
        };
        actor.scopes.iter().filter(usable).filter(named).any(letter)
    };
    let (granted, letters) = match need.action {
        Action::Read => (has(kind, |s| s.permissions.read), "r"),
        Action::Search => (has(kind, |s| s.permissions.search), "s"),
        Action::Create if every => {
            (has(None, |s| s.permissions.create) && has(None, |s| s.permissions.update), "cu")
        }
        Action::Create => (has(kind, |s| s.permissions.create), "c"),
        Action::Update => (has(kind, |s| s.permissions.update), "u"),
        Action::Delete => (has(kind, |s| s.permissions.delete), "d"),
        // Everything an export can hold has to be in scope (Bulk Data, scopes), and the Group it starts from.
        Action::Export => (
            has(None, |s| s.permissions.read && s.permissions.search) && has(kind, |s| s.permissions.read),
            "rs",
        ),
        // What would have been written is given up.
        Action::Discard => (has(None, |s| s.permissions.create && s.permissions.update), "cu"),
        Action::System => (false, "-"),
    };
    if granted {
        return Ok(());
    }
    let kind = if need.action == Action::Export { "*" } else { kind.unwrap_or("*") };
    Err(forbidden(format!("The token's scopes do not cover this; it needs e.g. system/{kind}.{letters}.")))
}

/// Whether some cell of the role can let this through for this type.
fn in_cells(policy: &Policy, role: &Role, need: &Need) -> Result<(), Refusal> {
    let possible = need.kind.map_or(policy.categories_all(), |kind| policy.categories_possible(kind));
    // The log is no row with an author; only a role with the cell reads it.
    let own = role.own && need.kind != Some(known_kind("AuditEvent"));
    let cells = &role.cells;
    let written = |mask: u64| {
        let kind = match (&role.kinds_written, need.kind) {
            (None, _) => true,
            (Some(kinds), Some(kind)) => kinds.contains(&kind),
            (Some(_), None) => false,
        };
        kind && mask & possible != 0 && need.kind != Some(known_kind("AuditEvent"))
    };
    let allowed = match need.action {
        // What waits for mending is the sender's own.
        Action::Read if need.kind.is_none() => role.own && cells.create != 0,
        Action::Read => own || cells.read & possible != 0,
        Action::Search => own || cells.search & possible != 0,
        Action::Create => written(cells.create),
        Action::Update => written(cells.update),
        Action::Delete => written(cells.delete),
        Action::Export => cells.export != 0,
        Action::Discard => role.own && role.discards,
        Action::System => false,
    };
    match allowed {
        true => Ok(()),
        false => Err(forbidden(format!(
            "Role {} may not do this with this type, whatever the data (docs/access-matrix.txt).",
            role.name
        ))),
    }
}

fn forbidden(details: impl Into<String>) -> Refusal {
    Refusal::new(Reason::Forbidden, details)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use super::*;
    use crate::connection::request::{Interaction, Parameters};
    use crate::decision::need::Needs;
    use crate::decision::{explain::explain, filter::Derived, may_write};
    use crate::identity::actor::{Permissions, User};
    use crate::ids::{ResourceId, ResourceType, Ura};

    fn kind(name: &str) -> ResourceType {
        r4().resource_type(name).unwrap()
    }

    fn registry(policy: &Policy) -> Organisations {
        let rows = "[[organisation]]\nura = \"00000001\"\nname = \"a\"\nkind = \"gesp\"\n\
                    [[organisation]]\nura = \"00000002\"\nname = \"b\"\nkind = \"portal\"\n";
        Organisations::parse(policy, "orgs.toml", rows).unwrap()
    }

    fn actor() -> Actor {
        let all = Permissions { create: true, read: true, update: true, delete: true, search: true };
        Actor {
            client: "c".into(),
            organisation: Ura::parse("00000001").unwrap(),
            user: Some(User { identifier: "1".into(), system: "urn:x".into(), role_code: "01.042".into() }),
            patient: None,
            purpose: "TREAT".into(),
            scopes: vec![Scope { level: ScopeLevel::System, kind: None, permissions: all }],
            token_id: "t".into(),
            token_expires: Timestamp::MAX,
        }
    }

    const PARTIES: Parties =
        Parties { organisation: PartyKey(1), kind: Some(PartyKey(2)), any: PartyKey(3), self_patient: None };

    fn asks(actor: Actor, action: Action, of: &str, parties: &Parties) -> Result<Permit, Refusal> {
        let policy = Policy::included().unwrap();
        let organisations = registry(&policy);
        let context = Context { policy: &policy, organisations: &organisations, now: Timestamp(5) };
        decide(&context, &Arc::new(actor), &Need::new(action, kind(of)), parties)
    }

    #[test]
    fn a_permit_carries_the_rule_and_the_role_s_masks() {
        let permit = asks(actor(), Action::Search, "Observation", &PARTIES).unwrap();
        assert_eq!(permit.basis(), "urn:sluis:policy:2026.1#gesp-coordinator/TREAT");
        let filter = permit.filter();
        assert_eq!(
            (filter.now, filter.purpose, filter.own, filter.care_relation),
            (Timestamp(5), 0, true, true)
        );
        assert_eq!(filter.recipients, [PartyKey(1), PartyKey(2), PartyKey(3)]);
        assert_eq!(filter.categories & filter.open_categories, 0);
        assert_eq!(permit.at(Timestamp(9)).filter().now, Timestamp(9));
    }

    #[test]
    fn a_patient_is_meant_by_no_grant_and_an_unknown_one_sees_nothing() {
        let herself = || Actor {
            user: None,
            patient: ResourceId::parse("p"),
            organisation: Ura::parse("00000002").unwrap(),
            purpose: "PATRQT".into(),
            ..actor()
        };
        let known = Parties { self_patient: Some(PatientKey(7)), ..PARTIES };
        let permit = asks(herself(), Action::Read, "Observation", &known).unwrap();
        assert_eq!(permit.filter().self_patient, Some(PatientKey(7)));
        assert!(permit.filter().recipients.is_empty() && !permit.filter().own);
        // The same answer, 200 and nothing, for a patient the store has never heard of.
        let permit = asks(herself(), Action::Read, "Observation", &PARTIES).unwrap();
        assert_eq!(permit.filter().self_patient, None);
        // A key without a patient's token names nobody.
        let permit = asks(actor(), Action::Read, "Observation", &known).unwrap();
        assert_eq!(permit.filter().self_patient, None);
    }

    #[test]
    fn a_token_of_both_a_professional_and_a_patient_has_no_role() {
        let both = Actor { patient: ResourceId::parse("p"), ..actor() };
        let refusal = asks(both, Action::Read, "Observation", &PARTIES).unwrap_err();
        assert_eq!(refusal.reason, Reason::Forbidden);
    }

    #[test]
    fn what_a_request_needs_is_told_by_its_interaction() {
        let id = || ResourceId::parse("x").unwrap();
        let one = |interaction: Interaction| match Need::of(&interaction) {
            Needs::One(need) => (need.action, need.kind),
            other => (Action::System, matches!(other, Needs::Open).then(|| kind("Basic"))),
        };
        assert_eq!(one(Interaction::Capabilities), (Action::System, Some(kind("Basic"))));
        assert_eq!(
            one(Interaction::Vread(kind("Patient"), id(), None)),
            (Action::Read, Some(kind("Patient")))
        );
        let history = Interaction::History(kind("Patient"), id(), Parameters::default());
        assert_eq!(one(history), (Action::Read, Some(kind("Patient"))));
        let search = Interaction::Search(kind("Patient"), Parameters::default());
        assert_eq!(one(search), (Action::Search, Some(kind("Patient"))));
        let file = Interaction::ExportFile(id(), "f".into());
        assert_eq!(one(file), (Action::Export, Some(kind("Group"))));
        assert_eq!(one(Interaction::Quarantine(Parameters::default())), (Action::Read, None));
    }

    #[test]
    fn the_gateway_s_own_work_states_its_reason_and_asks_no_role() {
        let policy = Policy::included().unwrap();
        let permit = system(&policy, Timestamp(0), "recompile");
        assert_eq!(permit.basis(), "urn:sluis:policy:2026.1#system/recompile");
        assert!(permit.filter().system && permit.actor().is_none());
        let row = Derived {
            patient: None,
            category: 1,
            labels: 0,
            confidentiality: 3,
            day: 0,
            author: PartyKey(1),
        };
        assert!(may_write(&permit, kind("Observation"), None, &row).is_ok());
        assert!(may_write(&permit, kind("AuditEvent"), None, &row).is_err());
        let reader = asks(actor(), Action::Read, "Observation", &PARTIES).unwrap();
        assert!(may_write(&reader, kind("Observation"), None, &row).is_err());
        let text = explain(&policy, &reader, &Derived { author: PartyKey(8), ..row }, &[], &[]);
        assert!(text.contains("hidden: it belongs to no patient"), "{text}");
    }
}
