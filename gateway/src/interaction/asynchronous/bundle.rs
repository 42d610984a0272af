//! The answer to a batch or transaction, handed out later: each entry as it was answered, as far as what it shows may
//! still be seen.
//!
//! An entry that looked at something, and shows what may no longer be seen or counts more than it shows, is looked at
//! anew; an entry that changed something keeps its status and loses the resource, as with an `Idempotency-Key`.

use std::sync::Arc;

use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::super::bundle::{Entry, Parsed};
use super::super::perform::{Aside, Caller};
use super::super::{Facts, transaction, write};
use crate::decision::{self, Permit};
use crate::gateway::Gateway;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, StoreError};

/// Versions a text shows.
type Versions = Vec<(ResourceType, ResourceId, u32)>;

/// The entries of a response Bundle, each as its own text.
///
/// Errors: `Internal` for what is no Bundle.
pub(super) fn texts(body: &[u8]) -> Result<Vec<String>, Refusal> {
    let doc = parsed(body)?;
    Ok(doc.root().get("entry").into_iter().flat_map(Node::items).map(|node| node.raw().to_owned()).collect())
}

/// `Bundle.total`, and how many matches (or versions of a history) there are.
pub(super) fn counted(bundle: Node<'_>) -> (Option<u64>, u64) {
    let total = bundle.get("total").and_then(|node| node.raw().parse().ok());
    let is_match = |entry: &Node<'_>| match entry.get("search").and_then(|search| search.get("mode")) {
        Some(mode) => mode.as_str().is_some_and(|mode| mode == "match"),
        None => true,
    };
    let matches = bundle.get("entry").into_iter().flat_map(Node::items).filter(is_match).count();
    (total, matches as u64)
}

/// The entries as they may be told now, with what they show.
///
/// Errors: the store's; those of looking anew that fail the whole.
pub(super) async fn settled(
    gateway: &Gateway,
    caller: &Caller,
    bundle: &Parsed,
    kept: Vec<String>,
    aside: &Aside,
) -> Result<(Vec<String>, Facts), Refusal> {
    let mut judged: Vec<Judged> = Vec::with_capacity(kept.len());
    for (at, text) in kept.into_iter().enumerate() {
        judged.push(Judged::of(gateway, caller, bundle.entries.get(at), text, aside)?);
    }
    let mut facts = Facts::default();
    let system = decision::system(&gateway.parts().policy, aside.now, "async-answer");
    let read = gateway.parts().store.read(&system, &mut |reader| {
        facts = Facts::default();
        for one in &mut judged {
            one.look(reader, &mut facts)?;
        }
        Ok(())
    });
    read.map_err(write::refusal)?;
    facts.settle();
    let mut out = Vec::with_capacity(judged.len());
    for (at, one) in judged.into_iter().enumerate() {
        let text = match (one.stands, bundle.entries.get(at)) {
            (true, _) => one.text,
            (false, Some(Ok(entry))) if transaction::looks(&entry.interaction) => {
                let result = transaction::one(gateway, caller, Ok(again(entry)), aside, None).await?;
                let answer = transaction::respond(gateway, "batch-response", &[result], aside);
                texts(&answer.body)?.pop().unwrap_or_default()
            }
            (false, _) => bare(&one.text)?,
        };
        out.push(text);
    }
    Ok((out, facts))
}

/// A kept entry, and whether it may be told as it is.
struct Judged {
    text: String,
    /// What it shows, and under which permit that is looked for.
    shows: Option<(Permit, Versions)>,
    stands: bool,
}

impl Judged {
    fn of(
        gateway: &Gateway,
        caller: &Caller,
        entry: Option<&Result<Entry, Refusal>>,
        text: String,
        aside: &Aside,
    ) -> Result<Judged, Refusal> {
        let doc = parsed(text.as_bytes())?;
        let Some(resource) = doc.root().get("resource") else {
            return Ok(Judged { text, shows: None, stands: true });
        };
        let permit = match entry {
            Some(Ok(entry)) => gateway.permit(caller, &entry.interaction, aside.now).ok(),
            _ => None,
        };
        let shows = permit.zip(shown(resource));
        Ok(Judged { text, stands: false, shows })
    }

    /// Looks whether everything it shows may be seen in this snapshot.
    fn look(&mut self, reader: &mut dyn Reader, facts: &mut Facts) -> Result<(), StoreError> {
        let Some((permit, versions)) = &self.shows else { return Ok(()) };
        let mut seen = Vec::with_capacity(versions.len());
        reader.under(permit, &mut |reader| {
            seen.clear();
            for (kind, id, version) in versions {
                let Some(stored) = reader.version(*kind, id, *version)? else { return Ok(()) };
                seen.push(stored);
            }
            Ok(())
        })?;
        self.stands = seen.len() == versions.len();
        if self.stands {
            facts.add(&seen);
        }
        Ok(())
    }
}

/// The versions a resource of an answer shows; `None` when it counts more than it shows, or does not say what it is.
fn shown(resource: Node<'_>) -> Option<Versions> {
    let kind = resource.get("resourceType").and_then(Node::as_str)?;
    match &*kind {
        "OperationOutcome" if resource.get("id").is_none() => Some(Vec::new()),
        "Bundle"
            if resource
                .get("type")
                .and_then(Node::as_str)
                .is_some_and(|t| t != "searchset" && t != "history") =>
        {
            Some(vec![version(resource)?])
        }
        "Bundle" => {
            let (total, matches) = counted(resource);
            if total.is_some_and(|total| total != matches) {
                return None;
            }
            let entries = resource.get("entry").into_iter().flat_map(Node::items);
            let outcome = |entry: &Node<'_>| {
                entry.get("search").and_then(|search| search.get("mode")).and_then(Node::as_str).as_deref()
                    == Some("outcome")
            };
            entries.filter(|entry| !outcome(entry)).map(of_entry).collect()
        }
        _ => Some(vec![version(resource)?]),
    }
}

/// Of an entry of a page; a deletion in a history is known by its address and tag.
fn of_entry(entry: Node<'_>) -> Option<(ResourceType, ResourceId, u32)> {
    if let Some(resource) = entry.get("resource") {
        return version(resource);
    }
    let url = entry.get("fullUrl").and_then(Node::as_str)?;
    let (rest, id) = url.rsplit_once('/')?;
    let kind = r4().resource_type(rest.rsplit_once('/')?.1)?;
    let tag = entry.get("response").and_then(|response| response.get("etag")).and_then(Node::as_str)?;
    Some((kind, ResourceId::parse(id)?, crate::connection::route::etag(&tag)?))
}

fn version(resource: Node<'_>) -> Option<(ResourceType, ResourceId, u32)> {
    let kind = r4().resource_type(&resource.get("resourceType")?.as_str()?)?;
    let id = ResourceId::parse(&resource.get("id")?.as_str()?)?;
    let version = resource.get("meta")?.get("versionId")?.as_str()?.parse().ok()?;
    Some((kind, id, version))
}

/// An entry's answer without its resource.
fn bare(text: &str) -> Result<String, Refusal> {
    let doc = parsed(text.as_bytes())?;
    let response = doc.root().get("response").map_or("{}", |node| node.raw());
    Ok(format!("{{\"response\":{response}}}"))
}

fn again(entry: &Entry) -> Entry {
    Entry {
        at: entry.at,
        interaction: entry.interaction.clone(),
        preconditions: entry.preconditions.clone(),
        shape: entry.shape.clone(),
        full_url: None,
        new_id: None,
    }
}

fn parsed(text: &[u8]) -> Result<Arc<Doc>, Refusal> {
    // What the gateway has written itself is as deep and large as what is stored, and a page of it.
    let limits = JsonLimits { depth_max: 1_100, nodes_max: u32::MAX };
    Doc::parse(text.to_vec(), limits).map(Arc::new).map_err(|error| {
        Refusal::new(Reason::Internal, "").because(format!("a kept answer cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn of(text: &str) -> Option<Vec<String>> {
        let doc = parsed(text.as_bytes()).unwrap();
        let name = |(kind, id, version): (ResourceType, ResourceId, u32)| {
            format!("{}/{id}/{version}", r4().type_name(kind))
        };
        shown(doc.root()).map(|all| all.into_iter().map(name).collect())
    }

    #[test]
    fn an_answer_shows_its_resources_and_a_count_shows_nothing_it_can_be_judged_by() {
        let patient = r#"{"resourceType":"Patient","id":"p","meta":{"versionId":"2"}}"#;
        assert_eq!(of(patient).unwrap(), ["Patient/p/2"]);
        let page = |total: u8, mode: &str| {
            format!(
                r#"{{"resourceType":"Bundle","type":"searchset","total":{total},"entry":[{{"resource":{patient},"search":{{"mode":"match"}}}},{{"resource":{{"resourceType":"OperationOutcome"}},"search":{{"mode":"{mode}"}}}}]}}"#
            )
        };
        assert_eq!(of(&page(1, "outcome")).unwrap(), ["Patient/p/2"]);
        assert_eq!(of(&page(2, "outcome")), None);
        assert_eq!(of(r#"{"resourceType":"Bundle","type":"searchset","total":0}"#).unwrap(), [""; 0]);
        assert_eq!(of(r#"{"resourceType":"Bundle","type":"searchset","total":7}"#), None);
        let history = r#"{"resourceType":"Bundle","type":"history","total":1,"entry":[{"fullUrl":"https://x/fhir/Patient/p","response":{"etag":"W/\"3\""}}]}"#;
        assert_eq!(of(history).unwrap(), ["Patient/p/3"]);
        assert_eq!(of(r#"{"resourceType":"OperationOutcome","issue":[]}"#).unwrap(), [""; 0]);
        assert_eq!(of(r#"{"resourceType":"Patient"}"#), None);
    }

    #[test]
    fn an_entry_without_its_resource_keeps_what_became_of_it() {
        let text = r#"{"resource":{"resourceType":"Patient"},"response":{"status":"201 Created"}}"#;
        assert_eq!(bare(text).unwrap(), r#"{"response":{"status":"201 Created"}}"#);
    }
}
