//! A value set's composition, evaluated.
//!
//! Source: FHIR R4 valueset.html#compositions: within an include everything must hold, includes are united, what is
//! excluded is taken from the union.

use std::collections::BTreeSet;

use sluis_conformance::definitions;
use sluis_conformance::json::Node;

use super::code_system::{Hierarchy, text};
use super::{Codes, DEPTH_MAX, Expansion, Of, count, missing, refused, within};
use crate::response::refusal::{Reason, Refusal};
use crate::store::StoreError;

impl Expansion<'_> {
    /// Codes of a value set.
    pub(super) fn value_set(&mut self, address: &str) -> Result<Codes, StoreError> {
        self.open()?;
        if self.path.iter().any(|open| open == address) {
            return Err(missing(format!("The value set {address} is made of itself.")));
        }
        if self.path.len() >= DEPTH_MAX {
            let text = format!("Value sets stand at most {DEPTH_MAX} deep in one another.");
            return Err(refused(Refusal::new(Reason::TooCostly, text)));
        }
        let Some(doc) = self.catalogue.value_set(address)? else {
            // Sets that R4 itself binds elements to are part of the definitions.
            return definitions::r4().value_set(address).map(of_r4).ok_or_else(|| {
                missing(format!("The value set {address} is not there, or not for you to see."))
            });
        };
        self.path.push(address.to_owned());
        let root = doc.root();
        let codes = match whole_expansion(root)? {
            Some(codes) => codes,
            None => self.composed(address, root)?,
        };
        self.path.pop();
        Ok(codes)
    }

    fn composed(&mut self, address: &str, root: Node<'_>) -> Result<Codes, StoreError> {
        let Some(compose) = root.get("compose") else {
            return Err(missing(format!(
                "The value set {address} says neither what it is made of nor what it holds."
            )));
        };
        let mut codes = Codes::new();
        for include in compose.get("include").into_iter().flat_map(Node::items) {
            unite(&mut codes, self.part(include)?);
            within(count(&codes))?;
        }
        for exclude in compose.get("exclude").into_iter().flat_map(Node::items) {
            let out = self.part(exclude)?;
            self.subtract(&mut codes, &out)?;
        }
        Ok(codes)
    }

    /// An include or exclude: what is in its system part and in every value set it names.
    fn part(&mut self, part: Node<'_>) -> Result<Codes, StoreError> {
        let mut codes = match text(part, "system") {
            Some(system) => Some(Codes::from([(system.clone(), self.of_system(&system, part)?)])),
            None => None,
        };
        for set in part.get("valueSet").into_iter().flat_map(Node::items) {
            let Some(address) = set.as_str() else { continue };
            let other = self.value_set(&address)?;
            codes = Some(match codes {
                None => other,
                Some(codes) => intersect(codes, &other),
            });
        }
        Ok(codes.unwrap_or_default())
    }

    /// The concepts a part lists of its system, those its filters leave, or all.
    fn of_system(&mut self, system: &str, part: Node<'_>) -> Result<Of, StoreError> {
        let version = text(part, "version");
        let mut listed = part.get("concept").into_iter().flat_map(Node::items).peekable();
        if listed.peek().is_some() {
            let codes: BTreeSet<String> = listed.filter_map(|concept| text(concept, "code")).collect();
            within(codes.len())?;
            return Ok(Of::These(codes));
        }
        let filters: Vec<Node<'_>> = part.get("filter").into_iter().flat_map(Node::items).collect();
        if filters.is_empty() {
            return Ok(Of::All);
        }
        let hierarchy = self.hierarchy(system, version.as_deref())?;
        let mut codes: Option<BTreeSet<String>> = None;
        for filter in filters {
            let passing = passing(&hierarchy, filter).map_err(|what| {
                missing(format!("A value set filters {system} by {what}, which is not followed here."))
            })?;
            codes = Some(match codes {
                None => passing,
                Some(codes) => codes.intersection(&passing).cloned().collect(),
            });
        }
        let codes = codes.unwrap_or_default();
        within(codes.len())?;
        Ok(Of::These(codes))
    }

    /// Takes codes out. Of a system that is in as a whole, its codes have to be known for that.
    fn subtract(&mut self, codes: &mut Codes, out: &Codes) -> Result<(), StoreError> {
        for (system, out) in out {
            let Some(of) = codes.get_mut(system) else { continue };
            match (&mut *of, out) {
                (_, Of::All) => {
                    codes.remove(system);
                }
                (Of::These(these), Of::These(out)) => these.retain(|code| !out.contains(code)),
                (Of::All, Of::These(out)) => {
                    let hierarchy = self.hierarchy(system, None)?;
                    let rest: BTreeSet<String> =
                        hierarchy.codes().filter(|code| !out.contains(*code)).map(str::to_owned).collect();
                    within(rest.len())?;
                    *of = Of::These(rest);
                }
            }
        }
        Ok(())
    }
}

/// Codes that pass one filter. Errors: what is not followed.
fn passing(hierarchy: &Hierarchy, filter: Node<'_>) -> Result<BTreeSet<String>, String> {
    let of = |name| text(filter, name).unwrap_or_default();
    let (property, op, value) = (of("property"), of("op"), of("value"));
    let on_code = matches!(property.as_str(), "concept" | "code");
    let is_a = || match hierarchy.flat() {
        None => Ok(()),
        Some(fault) => Err(format!("{op}, and {fault}")),
    };
    let here = |code: &str| hierarchy.has(code).then(|| code.to_owned());
    let all = || hierarchy.codes().map(str::to_owned);
    Ok(match (on_code, op.as_str()) {
        (true, "is-a") => {
            is_a()?;
            hierarchy.below(&value).into_iter().chain(here(&value)).collect()
        }
        (true, "descendent-of") => {
            is_a()?;
            hierarchy.below(&value)
        }
        (true, "is-not-a") => {
            is_a()?;
            let out = hierarchy.below(&value);
            all().filter(|code| *code != value && !out.contains(code)).collect()
        }
        (true, "generalizes") => {
            is_a()?;
            hierarchy.above(&value).into_iter().chain(here(&value)).collect()
        }
        (true, "=") => here(&value).into_iter().collect(),
        (true, "in") => value.split(',').filter_map(|code| here(code.trim())).collect(),
        (true, "not-in") => all().filter(|code| !value.split(',').any(|out| out.trim() == code)).collect(),
        (false, "=") => hierarchy.with(&property, &value),
        (false, "in") => value.split(',').flat_map(|value| hierarchy.with(&property, value.trim())).collect(),
        _ => return Err(format!("{op:?} on {property:?}")),
    })
}

/// The expansion a value set brings, if it is all of it (FHIR R4 valueset.html#expansion).
fn whole_expansion(root: Node<'_>) -> Result<Option<Codes>, StoreError> {
    let Some(expansion) = root.get("expansion") else { return Ok(None) };
    let mut codes = Codes::new();
    let mut entries = 0usize;
    let mut open: Vec<Node<'_>> = expansion.get("contains").into_iter().flat_map(Node::items).collect();
    while let Some(entry) = open.pop() {
        entries += 1;
        within(entries)?;
        open.extend(entry.get("contains").into_iter().flat_map(Node::items));
        // An abstract entry groups others and is itself never used.
        if entry.get("abstract").and_then(Node::as_bool) == Some(true) {
            continue;
        }
        if let (Some(system), Some(code)) = (text(entry, "system"), text(entry, "code")) {
            unite(&mut codes, Codes::from([(system, Of::These(BTreeSet::from([code])))]));
        }
    }
    let number = |name| expansion.get(name).and_then(Node::number).and_then(|n| n.parse::<usize>().ok());
    // A page of a larger one, or one cut short, is not the set.
    if number("offset").is_some_and(|offset| offset > 0)
        || number("total").is_some_and(|total| total > entries)
    {
        return Ok(None);
    }
    Ok(Some(codes))
}

fn of_r4(set: &definitions::ValueSet) -> Codes {
    let codes = |codes: &Vec<&str>| Of::These(codes.iter().map(|code| (*code).to_owned()).collect());
    set.systems.iter().map(|(system, of)| ((*system).to_owned(), codes(of))).collect()
}

fn unite(codes: &mut Codes, more: Codes) {
    for (system, more) in more {
        match (codes.get_mut(&system), more) {
            (Some(Of::These(these)), Of::These(more)) => these.extend(more),
            (Some(Of::All), _) => {}
            (Some(of), Of::All) => *of = Of::All,
            (None, more) => {
                codes.insert(system, more);
            }
        }
    }
}

fn intersect(codes: Codes, with: &Codes) -> Codes {
    let both = |(system, of): (String, Of)| {
        let of = match (of, with.get(&system)?) {
            (of, Of::All) => of,
            (Of::All, Of::These(these)) => Of::These(these.clone()),
            (Of::These(these), Of::These(others)) => Of::These(these.intersection(others).cloned().collect()),
        };
        Some((system, of))
    };
    codes.into_iter().filter_map(both).collect()
}
