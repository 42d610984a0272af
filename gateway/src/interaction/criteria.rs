//! Criteria of a conditional request (FHIR R4 http.html#ccreate, #cond-update, #3.1.0.7.1): which one resource is meant.
//!
//! They are a search, under a search's permit, in the transaction of the change: what the caller may not see does not
//! match (docs/decisions/0012), and between finding and changing nobody else writes.

use sluis_conformance::definitions;

use super::perform::Caller;
use super::{Scene, obligation, search};
use crate::clock::Timestamp;
use crate::connection::request::Parameters;
use crate::decision::{Action, Need, Permit};
use crate::gateway::Gateway;
use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::search::plan::{self, Plan};
use crate::store::{Reader, StoreError, Stored};

/// Criteria, understood, with leave to search by them.
#[derive(Debug)]
pub struct Criteria {
    permit: Permit,
    plan: Plan,
}

impl Criteria {
    /// Reads criteria and asks leave to search by them: an answer tells whether something matches.
    ///
    /// Errors: `Forbidden`; `ParameterInvalid` when there are none, or when a parameter shapes an answer instead of
    /// choosing; those of a search.
    pub fn of(
        gateway: &Gateway,
        caller: &Caller,
        kind: ResourceType,
        parameters: &Parameters,
        now: Timestamp,
    ) -> Result<Criteria, Refusal> {
        let permit = gateway.leave(caller, &Need::new(Action::Search, kind), now)?;
        let scene: Scene<'_> = gateway.scene(&permit, now);
        obligation::check_search(&permit, parameters)?;
        let mut request = search::understand(&scene, kind, &parameters.pairs)?;
        if request.criteria.is_empty() {
            let name = definitions::r4().type_name(kind);
            let text = format!("A conditional request names which {name} is meant: at least one criterion.");
            return Err(Refusal::new(Reason::ParameterInvalid, text));
        }
        if request.criteria.len() < request.applied.len() {
            let text =
                "Criteria choose a resource; parameters that shape an answer have no place among them.";
            return Err(Refusal::new(Reason::ParameterInvalid, text));
        }
        if let Some(terms) = request.terms().first() {
            let text = "Criteria of a change name codes, not value sets or places in a hierarchy.";
            return Err(Refusal::new(Reason::ParameterInvalid, text).at(terms.name()));
        }
        // Two are enough to know that it is not one.
        request.count = 2;
        let mut plan = plan::plan(&request, permit.filter());
        plan.total = false;
        Ok(Criteria { permit, plan })
    }

    /// The one match, if there is one.
    ///
    /// Errors: `SeveralMatch`.
    pub fn find(&self, reader: &mut dyn Reader) -> Result<Option<Stored>, StoreError> {
        let mut matches = Vec::new();
        reader.under(&self.permit, &mut |reader| {
            matches = reader.search(&self.plan)?.matches;
            Ok(())
        })?;
        if matches.len() > 1 {
            return Err(StoreError::Refused(Box::new(Refusal::new(Reason::SeveralMatch, ""))));
        }
        let mut found = matches.pop();
        if let Some(stored) = &mut found {
            obligation::apply(&self.permit, stored)?;
        }
        Ok(found)
    }
}
