//! Parameters that look past a reference: chains and `_has`, nested in one another.
//!
//! Source: FHIR R4 search.html#chaining, search.html#has

use std::cell::Cell;

use sluis_conformance::definitions::{self, SearchKind, SearchParameter};

use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Criterion, Link};

use super::{SearchContext, SearchLimits, find, invalid, kind_named, parameter_of, too_costly};

/// Types a reference may lead to without a client having to name one. `focus` and its like may lead to all.
pub(super) const TYPES_MAX: usize = 32;

/// One parameter as written, and what it may cost.
#[derive(Clone, Copy)]
pub(super) struct Asked<'p> {
    /// The whole name, for refusals.
    pub(super) name: &'p str,
    /// Its value.
    pub(super) text: &'p str,
    pub(super) limits: &'p SearchLimits,
    pub(super) context: &'p SearchContext<'p>,
    /// References followed so far, by all parameters of the search.
    pub(super) links: &'p Cell<usize>,
}

impl Asked<'_> {
    /// Reads the criterion that `rest` of the name asks of resources of a type, `depth` references away.
    ///
    /// Errors: those of [`super::parse`].
    pub(super) fn criterion(
        &self,
        kind: ResourceType,
        rest: &str,
        depth: usize,
    ) -> Result<Criterion, Refusal> {
        if let Some(rest) = rest.strip_prefix("_has:") {
            return self.has(kind, rest, depth);
        }
        match rest.split_once('.') {
            None if rest == "_has" => Err(self.no_has()),
            None => super::criterion(kind, rest, self),
            Some((reference, rest)) => self.chain(kind, reference, rest, depth),
        }
    }

    /// `reference.rest` or `reference:Type.rest`. Without a type: to each type the reference may lead to that knows what
    /// the rest asks.
    fn chain(
        &self,
        kind: ResourceType,
        reference: &str,
        rest: &str,
        depth: usize,
    ) -> Result<Criterion, Refusal> {
        let (code, named) = match reference.split_once(':') {
            Some((code, named)) => (code, Some(kind_named(self.name, named)?)),
            None => (reference, None),
        };
        let definition = self.reference(kind, code)?;
        let targets = targets(definition);
        let kinds = match named {
            Some(named) => {
                if !targets.is_empty() && !targets.contains(&named) {
                    return Err(invalid(self.name, format!("{code} does not refer to that type.")));
                }
                vec![named]
            }
            None if targets.is_empty() || targets.len() > TYPES_MAX => {
                let text = format!("{code} may refer to any type: name one, as in {code}:Patient.{rest}.");
                return Err(invalid(self.name, text));
            }
            None => targets,
        };
        let (mut links, mut refused) = (Vec::new(), None);
        for target in kinds {
            self.follow(depth)?;
            match self.criterion(target, rest, depth + 1) {
                Ok(criterion) => links.push(Link { kind: target, criterion: Box::new(criterion) }),
                // Another type of target may know the parameter; a wrong value or too much is so for each of them.
                Err(refusal)
                    if matches!(refusal.reason, Reason::ParameterUnknown | Reason::ModifierUnknown) =>
                {
                    refused.get_or_insert(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        match refused {
            Some(refusal) if links.is_empty() => Err(refusal),
            _ => Ok(Criterion::Chain(parameter_of(kind, definition), links)),
        }
    }

    /// `Type:reference:rest`, the `_has:` before it taken away.
    fn has(&self, kind: ResourceType, rest: &str, depth: usize) -> Result<Criterion, Refusal> {
        let mut parts = rest.splitn(3, ':');
        let (Some(from), Some(code), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(self.no_has());
        };
        let from = kind_named(self.name, from)?;
        let definition = self.reference(from, code)?;
        let targets = targets(definition);
        if !targets.is_empty() && !targets.contains(&kind) {
            let text = format!("{code} does not refer to {}.", definitions::r4().type_name(kind));
            return Err(invalid(self.name, text));
        }
        self.follow(depth)?;
        let criterion = Box::new(self.criterion(from, rest, depth + 1)?);
        Ok(Criterion::Has(parameter_of(from, definition), Link { kind: from, criterion }))
    }

    /// Counts a reference.
    pub(super) fn follow(&self, depth: usize) -> Result<(), Refusal> {
        let SearchLimits { chain_max, links_max, .. } = *self.limits;
        if depth >= chain_max {
            let text = format!("At most {chain_max} references are followed in a row.");
            return Err(too_costly(self.name, text));
        }
        self.links.set(self.links.get() + 1);
        if self.links.get() > links_max {
            let text = format!(
                "At most {links_max} references are followed, each possible type of a target counted; name the type, \
                 as in subject:Patient.name."
            );
            return Err(too_costly(self.name, text));
        }
        Ok(())
    }

    pub(super) fn reference(
        &self,
        kind: ResourceType,
        code: &str,
    ) -> Result<&'static SearchParameter, Refusal> {
        let definition = find(kind, code, self.name)?;
        if definition.kind != SearchKind::Reference {
            let text =
                format!("{code} is no reference parameter, so nothing can be asked of what it refers to.");
            return Err(invalid(self.name, text));
        }
        Ok(definition)
    }

    fn no_has(&self) -> Refusal {
        invalid(self.name, "It has the form `_has:Type:reference:parameter`.".to_owned())
    }
}

/// Types a reference parameter may lead to; empty: any. `patient` leads to patients, whatever the element allows.
pub(super) fn targets(definition: &SearchParameter) -> Vec<ResourceType> {
    match definitions::r4().resource_type("Patient") {
        Some(patient) if definition.code == "patient" => vec![patient],
        _ => definition.targets.clone(),
    }
}
