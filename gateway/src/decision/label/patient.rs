//! Whose dossier a resource is in: every reference to a Patient anywhere in it, contained resources included.
//!
//! Wider than the Patient compartment of R4 on purpose: a List, Basic or Binary that speaks of a patient is that
//! patient's, whatever element says so, and nothing may hide one patient's data in another's dossier.

use sluis_conformance::json::Node;

use super::text;
use crate::decision::policy::known_kind;
use crate::ids::{PatientKey, ResourceId, ResourceType, SYSTEM_BSN};
use crate::response::refusal::{Reason, Refusal};

/// One spelling of a patient. Two spellings may mean one patient; the caller resolves them to row keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatientReference {
    /// `Patient/[id]`, with or without a version.
    Local(ResourceId),
    /// Logical reference by identifier, e.g. the BSN.
    Identifier {
        /// System of the identifier; empty when it states none.
        system: String,
        /// Value.
        value: String,
    },
    /// Another spelling: an absolute URL, `urn:uuid:`, a conditional reference. Never shown: it may hold a BSN.
    Other(String),
    /// A whole Patient inside this resource.
    Inside,
}

/// Every patient a resource speaks of, without repetition, sorted. Empty for a Patient (it is its own dossier; its
/// `link` opens nothing) and for a Group (a cohort is in nobody's dossier).
pub fn patient_references(kind: ResourceType, root: Node<'_>) -> Vec<PatientReference> {
    let mut found = Vec::new();
    if kind == known_kind("Group") || kind == known_kind("AuditEvent") {
        return found;
    }
    for (name, member) in root.members() {
        if !(kind == known_kind("Patient") && name == "link") {
            walk(&name, member, &mut found);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The one patient of a resource, given the row key of each reference.
///
/// Errors: `BusinessRule` when they are two patients (attack: data of one hidden in the dossier of another).
pub fn one_patient(keys: &[PatientKey]) -> Result<Option<PatientKey>, Refusal> {
    let Some(first) = keys.first() else { return Ok(None) };
    match keys.iter().all(|key| key == first) {
        true => Ok(Some(*first)),
        false => Err(Refusal::new(
            Reason::BusinessRule,
            "The resource speaks of more than one patient; send one resource for each.",
        )),
    }
}

fn walk(name: &str, node: Node<'_>, found: &mut Vec<PatientReference>) {
    for item in node.items() {
        walk(name, item, found);
    }
    if text(node, "resourceType").as_deref() == Some("Patient") {
        found.push(PatientReference::Inside);
    }
    found.extend(literal(node));
    found.extend(logical(name, node));
    for (name, member) in node.members() {
        walk(&name, member, found);
    }
}

fn literal(node: Node<'_>) -> Option<PatientReference> {
    let literal = text(node, "reference")?;
    if let Some(rest) = literal.strip_prefix("Patient/") {
        let id = rest.split('/').next().unwrap_or(rest);
        let local = ResourceId::parse(id).map(PatientReference::Local);
        return Some(local.unwrap_or_else(|| PatientReference::Other(literal.clone().into_owned())));
    }
    let typed = text(node, "type").as_deref() == Some("Patient") && !literal.starts_with('#');
    let elsewhere = literal.contains("/Patient/") || literal.starts_with("Patient?");
    (elsewhere || typed).then(|| PatientReference::Other(literal.into_owned()))
}

/// A reference by identifier, also beside a literal one: the two may name different patients.
fn logical(name: &str, node: Node<'_>) -> Option<PatientReference> {
    // An object with an `identifier` object is a Reference; a resource's own identifiers are lists.
    let identifier = node.get("identifier")?;
    let system = text(identifier, "system").unwrap_or_default();
    let value = text(identifier, "value")?;
    let patient =
        text(node, "type").as_deref() == Some("Patient") || system == SYSTEM_BSN || name == "patient";
    patient.then(|| PatientReference::Identifier { system: system.into_owned(), value: value.into_owned() })
}
