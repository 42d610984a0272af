//! batch and transaction (FHIR R4 http.html#transaction): the entries of a Bundle as interactions.
//!
//! This file takes a Bundle apart and orders it; every entry is then decided and performed like a request of its own.

use std::collections::HashSet;

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};

use crate::connection::request::{Interaction, Preconditions, Shape};
use crate::connection::route;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};

/// Bundle.type of the two the gateway performs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Entries stand alone.
    Batch,
    /// All or nothing.
    Transaction,
}

/// One entry, as an interaction with its preconditions.
#[derive(Debug)]
pub struct Entry {
    /// Place in the Bundle, from 0.
    pub at: usize,
    /// What it asks.
    pub interaction: Interaction,
    /// `request.ifMatch`, `ifNoneMatch`, `ifModifiedSince`, `ifNoneExist`
    pub preconditions: Preconditions,
    /// `_summary` and `_elements` of a read
    pub shape: Shape,
    /// `fullUrl`, when a new resource may be referred to by it.
    pub full_url: Option<String>,
    /// Id a create will get.
    pub new_id: Option<ResourceId>,
}

/// A Bundle taken apart. An entry that is wrong in itself is a refusal of that entry (batch) or of all (transaction).
#[derive(Debug)]
pub struct Parsed {
    /// Batch or transaction.
    pub mode: Mode,
    /// Entries in Bundle order.
    pub entries: Vec<Result<Entry, Refusal>>,
}

/// Takes a Bundle apart.
///
/// Errors: `Invalid` for a Bundle that is neither batch nor transaction, `TooCostly` over `entries_max`.
pub fn parse(doc: &Doc, entries_max: u64, fresh: &mut dyn FnMut() -> ResourceId) -> Result<Parsed, Refusal> {
    let root = doc.root();
    let mode = match root.get("type").and_then(|n| n.as_str()).as_deref() {
        Some("batch") => Mode::Batch,
        Some("transaction") => Mode::Transaction,
        _ => {
            let text = "POST on the base takes a Bundle of type batch or transaction.";
            return Err(Refusal::new(Reason::Invalid, text).at("Bundle.type"));
        }
    };
    let Some(list) = root.get("entry") else { return Ok(Parsed { mode, entries: Vec::new() }) };
    if list.len() as u64 > entries_max {
        let text = format!("{} entries; at most {entries_max} are taken.", list.len());
        return Err(Refusal::new(Reason::TooCostly, text).at("Bundle.entry"));
    }
    let mut entries: Vec<_> = list.items().enumerate().map(|(at, node)| entry(at, node, fresh)).collect();
    if mode == Mode::Transaction {
        check_overlap(&mut entries);
    }
    Ok(Parsed { mode, entries })
}

fn entry(at: usize, node: Node<'_>, fresh: &mut dyn FnMut() -> ResourceId) -> Result<Entry, Refusal> {
    let place = |tail: &str| format!("Bundle.entry[{at}]{tail}");
    let text = |name: &str| {
        node.get("request").and_then(|r| r.get(name)).and_then(|n| n.as_str()).map(|s| s.into_owned())
    };
    // bdl-3: entry.request mandatory for batch and transaction.
    let (Some(method), Some(url)) = (text("method"), text("url")) else {
        return Err(Refusal::new(Reason::Invalid, "Every entry needs request.method and request.url.")
            .at(place(".request")));
    };
    let preconditions = route::entry_preconditions([
        text("ifMatch").as_deref(),
        text("ifNoneMatch").as_deref(),
        text("ifModifiedSince").as_deref(),
        text("ifNoneExist").as_deref(),
    ])
    .map_err(|refusal| locate(refusal, &place(".request")))?;
    let resource = node.get("resource").filter(|n| n.kind() == Kind::Object);
    let body = match resource {
        Some(resource) => Some(
            Doc::parse(resource.raw().as_bytes().to_vec(), JsonLimits::default())
                .map_err(|error| Refusal::new(Reason::Malformed, error.to_string()).at(place(".resource")))?,
        ),
        None => None,
    };
    let interaction =
        route::entry(&method, &url, body).map_err(|refusal| locate(refusal, &place(".request.url")))?;
    let shape = match interaction {
        Interaction::Read(..) | Interaction::Vread(..) => route::entry_shape(&url)?,
        _ => Shape::Whole,
    };
    let full_url = node.get("fullUrl").and_then(|n| n.as_str()).map(|s| s.into_owned());
    let makes = matches!(interaction, Interaction::Create(..) | Interaction::UpdateWhere(..));
    let new_id = makes.then(fresh);
    Ok(Entry { at, interaction, preconditions, shape, full_url, new_id })
}

fn locate(mut refusal: Refusal, place: &str) -> Refusal {
    if refusal.expression.is_empty() {
        refusal.expression.push(place.to_owned());
    }
    refusal
}

/// No resource twice, no `fullUrl` twice (FHIR R4 http.html#trules, bdl-7).
fn check_overlap(entries: &mut [Result<Entry, Refusal>]) {
    let mut urls = HashSet::new();
    let mut targets: HashSet<(ResourceType, ResourceId)> = HashSet::new();
    for slot in entries.iter_mut() {
        let Ok(entry) = slot else { continue };
        let target = match &entry.interaction {
            Interaction::Update(kind, id, _)
            | Interaction::Patch(kind, id, _)
            | Interaction::Delete(kind, id) => Some((*kind, id.clone())),
            _ => None,
        };
        let twice_target = target.is_some_and(|t| !targets.insert(t));
        let twice_url = entry.full_url.as_ref().is_some_and(|url| !urls.insert(url.clone()));
        if twice_target || twice_url {
            let what = if twice_url { "fullUrl" } else { "resource" };
            let text = format!("The same {what} stands in two entries of one transaction.");
            *slot = Err(Refusal::new(Reason::Invalid, text).at(format!("Bundle.entry[{}]", entry.at)));
        }
    }
}

impl Parsed {
    /// Order of a transaction: DELETE, POST, PUT and PATCH, GET (FHIR R4 http.html#trules); among what is stored Patients
    /// first, so that the others find their compartment. Indexes into `entries`.
    pub fn order(&self) -> Vec<usize> {
        let patient = definitions::r4().resource_type("Patient");
        let rank = |slot: &Result<Entry, Refusal>| match slot.as_ref().map(|e| &e.interaction) {
            Ok(Interaction::Delete(..) | Interaction::DeleteWhere(..)) => 0,
            Ok(
                Interaction::Create(kind, ..)
                | Interaction::Update(kind, ..)
                | Interaction::UpdateWhere(kind, ..)
                | Interaction::Patch(kind, ..)
                | Interaction::PatchWhere(kind, ..),
            ) if Some(*kind) == patient => 1,
            Ok(Interaction::Create(..)) => 2,
            Ok(
                Interaction::Update(..)
                | Interaction::UpdateWhere(..)
                | Interaction::Patch(..)
                | Interaction::PatchWhere(..),
            ) => 3,
            _ => 4,
        };
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&at| self.entries.get(at).map_or(4, rank));
        order
    }
}
