//! Criteria that name a value set or a place in a hierarchy -> criteria that list codes or references: in the snapshot of
//! the search and under its permit, so that what the caller may not see is not there.
//!
//! Source: FHIR R4 search.html#token (`:in`, `:not-in`, `:above`, `:below`), search.html#reference (`:above`, `:below`)

use std::collections::BTreeSet;
use std::sync::Arc;

use sluis_conformance::definitions::{self, ParamId};
use sluis_conformance::json::{Doc, JsonLimits, Node};
use sluis_conformance::path::{self, IndexValue, ReferenceTarget};

use super::Scene;
use crate::decision::{self, Action, Need, Permit};
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{SearchRequest, SystemTest, Terms, Test, TokenTest};
use crate::search::parameter::{self, SearchContext, SearchLimits};
use crate::search::plan;
use crate::search::terms::{self, Catalogue, Of};
use crate::store::{Reader, StoreError, Stored};

/// Resources of a hierarchy that `:above` or `:below` of a reference may take in.
const PLACES_MAX: usize = 1_000;
/// Versions of one definition looked at.
const VERSIONS_MAX: &str = "20";

/// Asks leave, by scope, to look at what the criteria need besides the searched type. What the operator loaded is no data
/// of anyone's and needs none.
///
/// Errors: `Forbidden`, from the request alone.
pub fn in_scope(scene: &Scene<'_>, request: &SearchRequest) -> Result<(), Refusal> {
    let Some(actor) = scene.actor else { return Ok(()) };
    for terms in request.terms() {
        let kind = match terms {
            Terms::In { address, .. } if scene.library.holds_value_set(address) => continue,
            Terms::Kin { system, .. } if scene.library.holds_code_system(system) => continue,
            Terms::In { .. } => named("ValueSet"),
            Terms::Kin { .. } => named("CodeSystem"),
            Terms::Places { kind, .. } => Some(*kind),
        };
        if let Some(kind) = kind {
            decision::in_scope(actor, &Need::new(Action::Search, kind))?;
        }
    }
    Ok(())
}

/// Puts what a search's criteria stand for in their place; nothing to do for most.
///
/// Errors: `TerminologyMissing`, `TooCostly`, `ParameterInvalid`, at the parameter; the store's.
pub fn settle(
    reader: &mut dyn Reader,
    permit: &Permit,
    scene: &Scene<'_>,
    request: &mut SearchRequest,
) -> Result<(), StoreError> {
    request.each_tests(&mut |tests| {
        if !tests.iter().any(|test| matches!(test, Test::Terms(_))) {
            return Ok(());
        }
        let mut settled = Vec::with_capacity(tests.len());
        for test in std::mem::take(tests) {
            match test {
                Test::Terms(terms) => {
                    let mut shelves = Shelves { reader, permit, scene };
                    settled.extend(shelves.stand_for(&terms).map_err(|error| at(error, terms.name()))?);
                }
                test => settled.push(test),
            }
        }
        *tests = settled;
        Ok(())
    })
}

/// The loaded definitions, then the stored ones as far as the permit's holder sees them.
struct Shelves<'a> {
    reader: &'a mut dyn Reader,
    permit: &'a Permit,
    scene: &'a Scene<'a>,
}

impl Shelves<'_> {
    /// Tests of which at least one passes exactly where the terms hold.
    fn stand_for(&mut self, terms: &Terms) -> Result<Vec<Test>, StoreError> {
        let mut tests = Vec::new();
        match terms {
            Terms::In { address, .. } => {
                for (system, of) in terms::expand(self, address)? {
                    tests.push(match of {
                        Of::All => Test::Token(TokenTest { system: SystemTest::Is(system), code: None }),
                        Of::These(codes) => listed(system, codes),
                    });
                }
            }
            Terms::Kin { system, code, below, .. } => {
                tests.push(listed(system.clone(), terms::kin(self, system, code, *below)?));
            }
            Terms::Places { kind, id, below, .. } => {
                let ids = self.places(*kind, id, *below)?;
                tests.extend(ids.into_iter().map(|id| Test::Reference(Some(*kind), id)));
            }
        }
        if tests.is_empty() {
            tests.push(listed(String::new(), BTreeSet::new()));
        }
        Ok(tests)
    }

    /// A resource and those below or above it by the reference to the whole it is part of.
    fn places(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        below: bool,
    ) -> Result<Vec<ResourceId>, StoreError> {
        let mut found = vec![id.clone()];
        let mut fresh = vec![id.clone()];
        while !fresh.is_empty() {
            let next = if below { self.parts_of(kind, &fresh)? } else { self.wholes_of(kind, &fresh)? };
            fresh = Vec::new();
            for id in next {
                // A circle ends where it closes.
                if !found.contains(&id) {
                    found.push(id.clone());
                    fresh.push(id);
                }
            }
            if found.len() > PLACES_MAX {
                let text = format!("It takes in more than {PLACES_MAX} resources.");
                return Err(StoreError::Refused(Box::new(Refusal::new(Reason::TooCostly, text))));
            }
        }
        Ok(found)
    }

    fn parts_of(&mut self, kind: ResourceType, wholes: &[ResourceId]) -> Result<Vec<ResourceId>, StoreError> {
        let Some(parameter) = parameter::part_of(kind) else { return Ok(Vec::new()) };
        let mut parts = Vec::new();
        for wholes in wholes.chunks(SearchLimits::default().values_max) {
            let name = self.scene.type_name(kind);
            let list: Vec<String> = wholes.iter().map(|id| format!("{name}/{id}")).collect();
            let pairs = [(parameter.code, list.join(",")), ("_count", (PLACES_MAX + 1).to_string())];
            parts.extend(self.search(kind, &pairs)?.into_iter().map(|stored| stored.id));
        }
        Ok(parts)
    }

    fn wholes_of(&mut self, kind: ResourceType, parts: &[ResourceId]) -> Result<Vec<ResourceId>, StoreError> {
        let Some(parameter) = parameter::part_of(kind) else { return Ok(Vec::new()) };
        let mut wholes = Vec::new();
        for part in parts {
            let Some(stored) = self.reader.current(kind, part)?.filter(|stored| !stored.deleted) else {
                continue;
            };
            let doc = read(&stored)?;
            wholes.extend(self.referred(kind, parameter.id, doc.root()));
        }
        Ok(wholes)
    }

    /// Ids of this gateway's resources that the parameter of a resource refers to.
    fn referred(&self, kind: ResourceType, parameter: ParamId, root: Node<'_>) -> Vec<ResourceId> {
        let base = self.scene.base;
        let entries = path::extract(definitions::r4(), kind, root);
        let here = |entry: path::Entry<'_>| match entry.value {
            _ if entry.parameter != parameter => None,
            IndexValue::Reference(ReferenceTarget::Relative { id, .. }) => ResourceId::parse(&id),
            IndexValue::Reference(ReferenceTarget::Absolute { url, tail: Some((_, id, _)) })
                if url.strip_prefix(base).is_some_and(|rest| rest.starts_with('/')) =>
            {
                ResourceId::parse(&id)
            }
            _ => None,
        };
        entries.into_iter().filter_map(here).collect()
    }

    /// A stored definition: by id, or by address the active one, the last changed first.
    fn stored(&mut self, name: &str, address: &str) -> Result<Option<Arc<Doc>>, StoreError> {
        let Some(kind) = named(name) else { return Ok(None) };
        let may = |actor| decision::in_scope(actor, &Need::new(Action::Search, kind)).is_ok();
        if self.scene.actor.is_some_and(|actor| !may(actor)) {
            return Ok(None);
        }
        if let Some(id) = address.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')) {
            let Some(id) = ResourceId::parse(id) else { return Ok(None) };
            let stored = self.reader.current(kind, &id)?.filter(|stored| !stored.deleted);
            return stored.map(|stored| read(&stored)).transpose();
        }
        let (url, version) = match address.split_once('|') {
            Some((url, version)) => (url, Some(version)),
            None => (address, None),
        };
        let mut pairs = vec![
            ("url", parameter::escape(url)),
            ("_sort", "-_lastUpdated".to_owned()),
            ("_count", VERSIONS_MAX.to_owned()),
        ];
        pairs.extend(version.map(|version| ("version", parameter::escape(version))));
        let mut last = None;
        for stored in self.search(kind, &pairs)? {
            let doc = read(&stored)?;
            if doc.root().get("status").and_then(Node::as_str).as_deref() == Some("active") {
                return Ok(Some(doc));
            }
            last.get_or_insert(doc);
        }
        Ok(last)
    }

    /// Visible matches of a search of the gateway's own.
    fn search(&mut self, kind: ResourceType, pairs: &[(&str, String)]) -> Result<Vec<Stored>, StoreError> {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let context = SearchContext { base: self.scene.base, now: self.scene.now, lenient: false };
        let limits = SearchLimits {
            count_max: 2 * PLACES_MAX as u32,
            text_bytes_max: usize::MAX,
            ..SearchLimits::default()
        };
        let request = parameter::parse(kind, &pairs, &limits, &context)
            .map_err(|refusal| StoreError::Refused(Box::new(refusal)))?;
        let mut plan = plan::plan(&request, self.permit.filter());
        plan.total = false;
        Ok(self.reader.search(&plan)?.matches)
    }
}

impl Catalogue for Shelves<'_> {
    fn value_set(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError> {
        match self.scene.library.value_set(address) {
            Some(doc) => Ok(Some(doc)),
            None => self.stored("ValueSet", address),
        }
    }

    fn code_system(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError> {
        match self.scene.library.code_system(address) {
            Some(doc) => Ok(Some(doc)),
            None => self.stored("CodeSystem", address),
        }
    }
}

fn named(name: &str) -> Option<ResourceType> {
    definitions::r4().resource_type(name)
}

fn listed(system: String, codes: BTreeSet<String>) -> Test {
    Test::Codes { system, codes: codes.into_iter().collect() }
}

fn read(stored: &Stored) -> Result<Arc<Doc>, StoreError> {
    let doc = Doc::parse(stored.body.to_vec(), JsonLimits::default());
    doc.map(Arc::new)
        .map_err(|error| StoreError::Database(format!("a stored definition does not read: {error}")))
}

/// The refusal at the parameter that asked.
fn at(error: StoreError, name: &str) -> StoreError {
    match error {
        StoreError::Refused(refusal) => {
            StoreError::Refused(Box::new(Refusal { expression: vec![name.to_owned()], ..*refusal }))
        }
        other => other,
    }
}
