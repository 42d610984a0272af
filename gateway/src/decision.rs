//! May this actor do this, and what may they see? The only code able to make a [`Permit`].
//!
//! `decide` looks at the actor, the interaction and the policy, never at stored data: its refusals (401, 403) depend on
//! the request alone. What consent opens or hides is in the permit's filter, judged inside the store's snapshot.

pub mod policy;

pub mod organisation;

pub mod need;

pub mod decide;

pub mod write;

pub mod label;

pub mod consent;

pub mod careteam;

pub mod grant;

pub mod filter;

pub mod explain;

#[cfg(test)]
mod examples;

use std::sync::Arc;

use crate::identity::actor::Actor;
use filter::Filter;
use policy::Role;

pub use decide::{Context, Parties, decide, in_scope, system};
pub use need::Need;
pub use write::{may_name, may_record, may_write};

/// Leave to read or write, as far as its filter goes. Holding one is the proof that `decide` was asked; reading or
/// writing the store needs one.
///
/// Its fields are private and only this module builds it:
///
/// ```compile_fail
/// let permit = sluis::decision::Permit { filter: todo!(), actor: None, action: todo!(), basis: todo!(), role: None };
/// ```
#[derive(Debug, Clone)]
pub struct Permit {
    filter: Filter,
    actor: Option<Arc<Actor>>,
    action: Action,
    basis: Arc<str>,
    role: Option<Arc<Role>>,
}

/// What a permit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// read, vread, instance history
    Read,
    /// search
    Search,
    /// create (and ingest)
    Create,
    /// update
    Update,
    /// delete
    Delete,
    /// bulk export
    Export,
    /// setting aside what waits for mending
    Discard,
    /// the gateway's own work
    System,
}

impl Permit {
    /// A permit for tests of what stands below `decision`. Not part of any build that serves.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(filter: Filter, actor: Option<Arc<Actor>>, action: Action) -> Permit {
        Permit { filter, actor, action, basis: Arc::from("urn:sluis:test"), role: None }
    }

    /// The filter that goes into every query.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Who holds it; `None` for the gateway's own work.
    pub fn actor(&self) -> Option<&Actor> {
        self.actor.as_deref()
    }

    /// What it is for.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Rule that gave it, for the audit record: policy version and role cell, e.g.
    /// `urn:sluis:policy:2026.1#gesp-clinician/TREAT` (NEN 7513 autorisatieprotocol).
    pub fn basis(&self) -> &str {
        &self.basis
    }

    /// Role it was given for; `None` for the gateway's own work.
    pub fn role(&self) -> Option<&Role> {
        self.role.as_deref()
    }

    /// The same permit judged at another moment: a long export asks anew for each block.
    #[must_use]
    pub fn at(&self, now: crate::clock::Timestamp) -> Permit {
        let mut permit = self.clone();
        permit.filter.now = now;
        permit
    }
}
