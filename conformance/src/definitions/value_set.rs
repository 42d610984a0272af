//! Listed value sets and invariants.

/// Where FHIR's own value sets live; the tables leave it out.
pub(super) const FHIR_VALUE_SET: &str = "http://hl7.org/fhir/ValueSet/";

/// A value set that can be listed.
#[derive(Debug)]
pub struct ValueSet {
    /// `observation-status` for FHIR's own, else the whole address.
    pub name: &'static str,
    /// Code systems and, for each, its codes in byte order.
    pub systems: Vec<(&'static str, Vec<&'static str>)>,
}

impl ValueSet {
    /// Whether a code is in the set; without a system (an element of type `code`) in any of its systems.
    pub fn contains(&self, system: Option<&str>, code: &str) -> bool {
        let of = |known: &&(&str, Vec<&str>)| system.is_none_or(|system| system == known.0);
        self.systems.iter().filter(of).any(|(_, codes)| codes.binary_search(&code).is_ok())
    }

    /// Every code, system by system.
    pub fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.systems.iter().flat_map(|(_, codes)| codes.iter().copied())
    }
}

/// A rule on a structure or element.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Where it is declared: `Patient.contact`.
    pub path: &'static str,
    /// Its key: `pat-1`.
    pub key: &'static str,
    /// `error` or `warning`.
    pub severity: &'static str,
    /// The rule in words.
    pub human: &'static str,
    /// The rule in FHIRPath.
    pub expression: &'static str,
}
