//! References of a resource on its way in: every one must lead somewhere the sender may see.
//!
//! Spellings are made one (`Type/id`) at write, so that a search by reference is an equality and no spelling slips past
//! a filter. A reference to what is hidden and one to what never was are refused alike.

mod address;

use std::collections::HashMap;
use std::sync::LazyLock;

use sluis_conformance::definitions;
use sluis_conformance::json::{self, Kind, Node};

use super::splice::Edits;
use crate::ids::{ResourceId, ResourceType, SYSTEM_BSN};
use crate::response::refusal::{Reason, Refusal};

/// One reference in a resource.
#[derive(Debug)]
pub struct Found<'d> {
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
    let mut stack = vec![(root, true)];
    while let Some((node, is_root)) = stack.pop() {
        match node.kind() {
            Kind::Object => {
                let literal = node.get("reference").filter(|n| n.kind() == Kind::String);
                if let Some(text) = literal {
                    let says = text.as_str().unwrap_or_default().into_owned();
                    found.push(Found { object: node, says: Says::Literal(text, says) });
                } else if let Some(bsn) = bsn_of(node).filter(|_| !is_root) {
                    found.push(Found { object: node, says: Says::Bsn(bsn) });
                }
                let below = stack.len();
                stack.extend(node.members().map(|(_, value)| (value, false)));
                stack.get_mut(below..).unwrap_or_default().reverse();
            }
            Kind::Array => {
                let below = stack.len();
                stack.extend(node.items().map(|item| (item, false)));
                stack.get_mut(below..).unwrap_or_default().reverse();
            }
            _ => {}
        }
    }
    found
}

/// FHIRPath of a node below `root`, e.g. `Observation.subject`. Made for refusals alone: most references lead somewhere.
fn expression(root: Node<'_>, of: Node<'_>) -> String {
    let mut path = root.get("resourceType").and_then(|n| n.as_str()).unwrap_or_default().into_owned();
    let (mut at, wanted) = (root, of.span());
    let around = |node: &Node<'_>| node.span().start <= wanted.start && wanted.end <= node.span().end;
    while at.span() != wanted {
        let member = at.members().find(|(_, value)| around(value));
        let item = at.items().enumerate().find(|(_, item)| around(item));
        at = match (member, item) {
            (Some((name, value)), _) => {
                path.push_str(&format!(".{name}"));
                value
            }
            (None, Some((number, item))) => {
                path.push_str(&format!("[{number}]"));
                item
            }
            (None, None) => break,
        };
    }
    path
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

/// Where references lead that name what the same transaction or document stores.
#[derive(Debug, Clone, Copy)]
pub struct Links<'l> {
    made: &'l HashMap<String, String>,
    versions: Option<&'l HashMap<String, u32>>,
    base: Option<&'l str>,
}

impl<'l> Links<'l> {
    /// None.
    pub fn none() -> Links<'static> {
        static NONE: LazyLock<HashMap<String, String>> = LazyLock::new(HashMap::new);
        Links { made: &NONE, versions: None, base: None }
    }

    /// Spellings (`fullUrl`s, criteria) and the `Type/id` each leads to.
    pub fn of(made: &'l HashMap<String, String>) -> Links<'l> {
        Links { made, versions: None, base: None }
    }

    /// As [`Links::of`], with the version each `Type/id` will have, for references of one version.
    pub fn versioned(made: &'l HashMap<String, String>, versions: &'l HashMap<String, u32>) -> Links<'l> {
        Links { made, versions: Some(versions), base: None }
    }

    /// The same for an entry with this `fullUrl`: its relative references are relative to that server
    /// (FHIR R4 bundle.html#references).
    #[must_use]
    pub fn seen_from(self, full_url: Option<&'l str>) -> Links<'l> {
        let base = full_url.filter(|url| url.contains("://")).and_then(|url| {
            let (rest, _) = url.rsplit_once('/')?;
            rest.rsplit_once('/').map(|(base, _)| base)
        });
        Links { base, ..self }
    }

    /// `Type/id`, or `Type/id/_history/n`, that a text leads to.
    fn target(&self, text: &str) -> Option<String> {
        let (plain, version) = match text.split_once("/_history/") {
            Some((plain, version)) => (plain, Some(version)),
            None => (text, None),
        };
        let found = self.made.get(plain).or_else(|| {
            let base = self.base.filter(|_| !plain.contains(':'))?;
            self.made.get(&format!("{base}/{plain}"))
        })?;
        Some(match version {
            None => found.clone(),
            // What was version n over there is the version this transaction stores here (FHIR R4 http.html#trules:
            // version-specific references remain so).
            Some(sent) => match self.versions.and_then(|versions| versions.get(found)) {
                Some(stored) => format!("{found}/_history/{stored}"),
                None => format!("{found}/_history/{sent}"),
            },
        })
    }

    /// Whether this transaction stores it, in this version when one is named.
    fn stores(&self, plain: &str, version: Option<u32>) -> bool {
        match (self.versions, version) {
            (Some(versions), None) => versions.contains_key(plain),
            (Some(versions), Some(version)) => versions.get(plain) == Some(&version),
            (None, _) => self.made.values().any(|made| made == plain),
        }
    }
}

/// Texts of the conditional references of a resource, each once: `Practitioner?identifier=urn:x|1`.
/// Source: FHIR R4 http.html#trules (conditional references)
pub fn conditional(root: Node<'_>) -> Vec<String> {
    // Most resources have none, and a look at the bytes says so.
    if !root.raw().contains('?') {
        return Vec::new();
    }
    let mut texts: Vec<String> = collect(root)
        .into_iter()
        .filter_map(|found| match found.says {
            Says::Literal(_, text) => criteria(&text).map(|_| text.clone()),
            Says::Bsn(_) => None,
        })
        .collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// Type and query of a conditional reference.
pub fn criteria(text: &str) -> Option<(ResourceType, &str)> {
    let (name, query) = text.split_once('?')?;
    Some((definitions::r4().resource_type(name)?, query))
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

/// Edits that make every reference of `root` one spelling. Addresses elsewhere in it (elements of type uri, url, oid and
/// uuid, links of the narrative) that name an entry of the same transaction follow; canonicals do not (http.html#trules).
///
/// Errors: `Refused` with every reference that leads nowhere, each named by its FHIRPath.
pub fn resolve(
    kind: ResourceType,
    root: Node<'_>,
    base: &str,
    links: &Links<'_>,
    lookup: &mut dyn Lookup,
) -> Result<Edits, crate::store::StoreError> {
    let mut edits = Edits::default();
    let mut lost: Vec<String> = Vec::new();
    let mut followed = 0;
    for found in collect(root) {
        match &found.says {
            Says::Literal(node, text) => {
                if let Some(entry) = links.target(text) {
                    edits.replace(*node, quoted(&entry));
                    followed += 1;
                    continue;
                }
                match parse(text, base) {
                    Target::Local(kind, id, version) => {
                        // What this same transaction stores is there by the time it commits.
                        let plain = format!("{}/{id}", definitions::r4().type_name(kind));
                        if !links.stores(&plain, version) && !lookup.visible(kind, &id, version)? {
                            lost.push(expression(root, found.object));
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
                    Target::Entry(_) | Target::Malformed => lost.push(expression(root, found.object)),
                }
            }
            Says::Bsn(bsn) => {
                let id = lookup.patient_by_bsn(bsn)?;
                edits.add_member(found.object, "reference", &quoted(&format!("Patient/{id}")));
            }
        }
    }
    if lost.is_empty() {
        if links.versions.is_some() && address::may_follow(root.raw(), followed, links) {
            address::follow(kind, root, links, &mut edits);
        }
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
