//! What codes a value set holds, and what stands above and below a code: for `:in`, `:not-in`, `:above` and `:below`.
//!
//! Between the criteria and their plan: a criterion that names a value set or a place in a hierarchy becomes one that
//! lists codes. Definitions come from a [`Catalogue`]; nothing here knows a store. What a definition says and this module
//! cannot follow is refused, never guessed (a hierarchy that is not loaded, a filter that is not known).
//! Sources: FHIR R4 valueset.html#compose, codesystem.html, search.html#token

mod code_system;
mod value_set;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sluis_conformance::json::Doc;

use crate::response::refusal::{Reason, Refusal};
use crate::store::StoreError;

pub use code_system::Hierarchy;

/// Codes of all systems that a value set may hold, and codes above or below one.
pub const CODES_MAX: usize = 10_000;
/// Concepts of a code system that is walked.
pub const CONCEPTS_MAX: usize = 200_000;
/// Value sets and code systems that one search opens.
pub const OPENED_MAX: usize = 64;
/// Value sets inside one another.
const DEPTH_MAX: usize = 16;

/// Where definitions come from, seen by one caller: what she may not see is not there.
pub trait Catalogue {
    /// A ValueSet by its canonical address (with `|version` when that matters) or as `ValueSet/[id]`.
    fn value_set(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError>;

    /// A CodeSystem by its canonical address, with `|version` when that matters.
    fn code_system(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError>;
}

/// Codes by their system.
pub type Codes = BTreeMap<String, Of>;

/// Which codes of a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// Every one; they are not listed anywhere here.
    All,
    /// These.
    These(BTreeSet<String>),
}

/// Codes of a value set.
///
/// Errors: `TerminologyMissing` names what is not loaded or cannot be followed, `TooCostly` the limit passed; the
/// catalogue's own.
pub fn expand(catalogue: &mut dyn Catalogue, address: &str) -> Result<Codes, StoreError> {
    let mut expansion = Expansion { catalogue, path: Vec::new(), opened: 0 };
    let codes = expansion.value_set(address)?;
    within(count(&codes))?;
    Ok(codes)
}

/// A code and every code below it (`:below`: subsumed by it), or above it (`:above`).
///
/// Errors: those of [`expand`]; `ParameterInvalid` when the system has no such code.
pub fn kin(
    catalogue: &mut dyn Catalogue,
    system: &str,
    code: &str,
    below: bool,
) -> Result<BTreeSet<String>, StoreError> {
    let mut expansion = Expansion { catalogue, path: Vec::new(), opened: 0 };
    let hierarchy = expansion.hierarchy(system, None)?;
    if !hierarchy.has(code) {
        let text = "The code system that is loaded has no such code.";
        return Err(refused(Refusal::new(Reason::ParameterInvalid, text)));
    }
    if let Some(fault) = hierarchy.flat() {
        return Err(missing(format!("The code system {system} {fault}")));
    }
    let mut codes = if below { hierarchy.below(code) } else { hierarchy.above(code) };
    codes.insert(code.to_owned());
    within(codes.len())?;
    Ok(codes)
}

/// One expansion under way.
struct Expansion<'l> {
    catalogue: &'l mut dyn Catalogue,
    /// Value sets from the one asked for to the one being read.
    path: Vec<String>,
    /// Definitions opened so far.
    opened: usize,
}

impl Expansion<'_> {
    /// The hierarchy of a code system that is loaded whole.
    fn hierarchy(&mut self, system: &str, version: Option<&str>) -> Result<Hierarchy, StoreError> {
        self.open()?;
        let address = match version {
            Some(version) => format!("{system}|{version}"),
            None => system.to_owned(),
        };
        let Some(doc) = self.catalogue.code_system(&address)? else {
            return Err(missing(format!(
                "The code system {address} is not loaded here, so neither its codes nor their hierarchy are known."
            )));
        };
        Hierarchy::read(doc.root()).map_err(|fault| missing(format!("The code system {address} {fault}")))
    }

    /// Counts a definition.
    fn open(&mut self) -> Result<(), StoreError> {
        self.opened += 1;
        if self.opened > OPENED_MAX {
            let text = format!("At most {OPENED_MAX} value sets and code systems are opened for one search.");
            return Err(refused(Refusal::new(Reason::TooCostly, text)));
        }
        Ok(())
    }
}

/// Codes to compare with.
fn count(codes: &Codes) -> usize {
    let of = |of: &Of| match of {
        Of::All => 1,
        Of::These(codes) => codes.len(),
    };
    codes.values().map(of).sum()
}

/// Refuses more codes than are compared with.
fn within(codes: usize) -> Result<(), StoreError> {
    if codes > CODES_MAX {
        let text = format!("It holds more than {CODES_MAX} codes.");
        return Err(refused(Refusal::new(Reason::TooCostly, text)));
    }
    Ok(())
}

fn missing(text: String) -> StoreError {
    refused(Refusal::new(Reason::TerminologyMissing, text))
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

#[cfg(test)]
mod tests;
