//! References of a resource on its way in: every one must lead somewhere the sender may see.
//!
//! Spellings are made one (`Type/id`) at write, so that a search by reference is an equality and no spelling slips past
//! a filter. A reference to what is hidden and one to what never was are refused alike.

use std::collections::{HashMap, HashSet};

use sluis_conformance::definitions;
use sluis_conformance::json::{self, Kind, Node};

use super::splice::Edits;
use crate::ids::{ResourceId, ResourceType, SYSTEM_BSN};
use crate::response::refusal::{Reason, Refusal};

/// One reference in a resource.
#[derive(Debug)]
pub struct Found<'d> {
    /// FHIRPath of the Reference, e.g. `Observation.subject`.
    pub expression: String,
    /// The Reference object.
    pub object: Node<'d>,
    /// What it says.
    pub says: Says<'d>,
}

/// The two forms the gateway resolves. Others (a display alone, an identifier of another system) stay as they are.
#[derive(Debug)]
pub enum Says<'d> {
    /// `Reference.reference`, with the node of its text.
    Literal(Node<'d>, String),
    /// A patient by citizen service number (FHIR R4 references.html#logical).
    Bsn(String),
}

/// A literal reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource of this gateway, perhaps of one version.
    Local(ResourceType, ResourceId, Option<u32>),
    /// `#id`: inside the same resource.
    Contained,
    /// `urn:uuid:` or `urn:oid:`: another entry of the same transaction.
    Entry(String),
    /// Somewhere else.
    Elsewhere,
    /// Not a reference by any rule.
    Malformed,
}

/// All references below `root`, with contained resources, in document order.
pub fn collect<'d>(root: Node<'d>) -> Vec<Found<'d>> {
    let mut found = Vec::new();
    let kind = root.get("resourceType").and_then(|n| n.as_str()).unwrap_or_default().into_owned();
    let mut stack = vec![(root, kind, true)];
    while let Some((node, path, is_root)) = stack.pop() {
        match node.kind() {
            Kind::Object => {
                let literal = node.get("reference").filter(|n| n.kind() == Kind::String);
                if let Some(text) = literal {
                    let says = text.as_str().unwrap_or_default().into_owned();
                    found.push(Found {
                        expression: path.clone(),
                        object: node,
                        says: Says::Literal(text, says),
                    });
                } else if let Some(bsn) = bsn_of(node).filter(|_| !is_root) {
                    found.push(Found { expression: path.clone(), object: node, says: Says::Bsn(bsn) });
                }
                let members: Vec<_> = node.members().collect();
                for (name, value) in members.into_iter().rev() {
                    stack.push((value, format!("{path}.{name}"), false));
                }
            }
            Kind::Array => {
                let items: Vec<_> = node.items().collect();
                for (at, item) in items.into_iter().enumerate().rev() {
                    stack.push((item, format!("{path}[{at}]"), false));
                }
            }
            _ => {}
        }
    }
    found
}

/// The BSN of a logical reference: an object whose single `identifier` is of the BSN system.
fn bsn_of(node: Node<'_>) -> Option<String> {
    let identifier = node.get("identifier").filter(|n| n.kind() == Kind::Object)?;
    let system = identifier.get("system")?.as_str()?;
    (system == SYSTEM_BSN)
        .then(|| identifier.get("value").and_then(|n| n.as_str()).map(|v| v.into_owned()))?
}

/// Takes a literal reference apart; `base` is the gateway's own base URL.
/// Source: FHIR R4 references.html#literal.
pub fn parse(text: &str, base: &str) -> Target {
    if text.starts_with('#') {
        return Target::Contained;
    }
    if text.starts_with("urn:uuid:") || text.starts_with("urn:oid:") {
        return Target::Entry(text.to_owned());
    }
    let own = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    if own.is_none() && text.contains("://") {
        return Target::Elsewhere;
    }
    if own.is_none() && text.starts_with("urn:") {
        return Target::Elsewhere;
    }
    let mut parts = own.unwrap_or(text).split('/');
    let (Some(kind), Some(id)) = (parts.next(), parts.next()) else { return Target::Malformed };
    let (Some(kind), Some(id)) = (definitions::r4().resource_type(kind), ResourceId::parse(id)) else {
        return Target::Malformed;
    };
    match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => Target::Local(kind, id, None),
        (Some("_history"), Some(version), None) => match version.parse() {
            Ok(version) => Target::Local(kind, id, Some(version)),
            Err(_) => Target::Malformed,
        },
        _ => Target::Malformed,
    }
}

/// What a reference is to become: lookups are the caller's (inside the write), the rules are here.
pub trait Lookup {
    /// Whether a live resource (and version, when named) is there for the sender to see.
    fn visible(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        version: Option<u32>,
    ) -> Result<bool, crate::store::StoreError>;

    /// The patient with this citizen service number, made known if need be.
    fn patient_by_bsn(&mut self, bsn: &str) -> Result<ResourceId, crate::store::StoreError>;
}

/// Edits that make every reference of `root` one spelling; `entries` maps `fullUrl`s of a transaction to `Type/id`.
///
/// Errors: `Refused` with every reference that leads nowhere, each named by its FHIRPath.
pub fn resolve(
    root: Node<'_>,
    base: &str,
    entries: &HashMap<String, String>,
    lookup: &mut dyn Lookup,
) -> Result<Edits, crate::store::StoreError> {
    let mut edits = Edits::default();
    let mut lost: Vec<String> = Vec::new();
    let made: HashSet<&str> = entries.values().map(String::as_str).collect();
    for found in collect(root) {
        match &found.says {
            Says::Literal(node, text) => {
                if let Some(entry) = entries.get(text.as_str()) {
                    edits.replace(*node, quoted(entry));
                    continue;
                }
                match parse(text, base) {
                    Target::Local(kind, id, version) => {
                        // What this same transaction stores is there by the time it commits.
                        let plain = format!("{}/{id}", definitions::r4().type_name(kind));
                        if !made.contains(plain.as_str()) && !lookup.visible(kind, &id, version)? {
                            lost.push(found.expression.clone());
                        }
                        let canonical = match version {
                            Some(version) => format!("{plain}/_history/{version}"),
                            None => plain,
                        };
                        if canonical != *text {
                            edits.replace(*node, quoted(&canonical));
                        }
                    }
                    Target::Contained | Target::Elsewhere => {}
                    Target::Entry(_) | Target::Malformed => lost.push(found.expression.clone()),
                }
            }
            Says::Bsn(bsn) => {
                let id = lookup.patient_by_bsn(bsn)?;
                edits.add_member(found.object, "reference", &quoted(&format!("Patient/{id}")));
            }
        }
    }
    if lost.is_empty() {
        return Ok(edits);
    }
    let mut refusal = Refusal::new(Reason::ReferenceUnresolved, format!("Found at: {}.", lost.join(", ")));
    refusal.expression = lost;
    Err(crate::store::StoreError::Refused(Box::new(refusal)))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    json::write_string(text, &mut out);
    out
}
