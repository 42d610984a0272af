//! Who is meant: recipients of a provision, holders and authors of data. By identifier only: a literal reference would
//! have to be resolved, and could be changed under the Consent.

use sluis_conformance::json::Node;

use super::{cannot, only};
use crate::decision::consent::Recipient;
use crate::decision::consent::limits::{ACTORS_MAX, HOLDERS_MAX};
use crate::decision::label::text;
use crate::decision::policy::{Policy, SYSTEM_ORGANISATION_KIND};
use crate::ids::{SYSTEM_URA, Ura};
use crate::response::refusal::Refusal;

pub(super) const SYSTEM_PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// Recipients of a provision, without repetition; empty: anyone.
pub(super) fn actors(policy: &Policy, node: Node<'_>, at: &str) -> Result<Vec<Recipient>, Refusal> {
    let nodes: Vec<_> = node.get("actor").into_iter().flat_map(|actor| actor.items()).collect();
    if nodes.len() > ACTORS_MAX {
        return Err(cannot(format!("{at}.actor"), format!("more than {ACTORS_MAX}")));
    }
    let mut actors = Vec::new();
    for (index, actor) in nodes.into_iter().enumerate() {
        let at = format!("{at}.actor[{index}]");
        only(actor, &["id", "extension", "role", "reference"], &at)?;
        let role = actor.get("role").and_then(|role| role.get("coding"));
        let recipient = role.into_iter().flat_map(|coding| coding.items()).any(|coding| {
            text(coding, "system").as_deref() == Some(SYSTEM_PARTICIPATION)
                && text(coding, "code").as_deref() == Some("IRCP")
        });
        if !recipient {
            return Err(cannot(format!("{at}.role"), "only information recipients (IRCP) can be meant"));
        }
        let at = format!("{at}.reference");
        let identifier = actor.get("reference").and_then(|reference| reference.get("identifier"));
        let system = identifier.and_then(|identifier| text(identifier, "system"));
        let value = identifier.and_then(|identifier| text(identifier, "value")).unwrap_or_default();
        actors.push(match system.as_deref() {
            Some(SYSTEM_URA) => Recipient::Organisation(
                Ura::parse(&value).ok_or_else(|| cannot(&at, "the URA is not 8 digits"))?,
            ),
            Some(SYSTEM_ORGANISATION_KIND) if policy.knows_kind(&value) => Recipient::Kind((*value).into()),
            Some(SYSTEM_ORGANISATION_KIND) => {
                return Err(cannot(at, "the kind of organisation is not known here"));
            }
            _ => {
                return Err(cannot(
                    at,
                    "name the organisation by its URA, or a kind of organisation, in reference.identifier; \
                     other recipients cannot be told apart in a grant",
                ));
            }
        });
    }
    actors.sort();
    actors.dedup();
    Ok(actors)
}

/// Data holders: `None` when the element is missing, empty when it names the kind `any`.
pub(super) fn organizations(nodes: Option<Node<'_>>, at: &str) -> Result<Option<Vec<Ura>>, Refusal> {
    let nodes: Vec<_> = nodes.into_iter().flat_map(|nodes| nodes.items()).collect();
    if nodes.len() > HOLDERS_MAX {
        return Err(cannot(at, format!("more than {HOLDERS_MAX}")));
    }
    if nodes.is_empty() {
        return Ok(None);
    }
    let mut holders = Vec::new();
    let alone = nodes.len() == 1;
    for (index, node) in nodes.into_iter().enumerate() {
        match organization(Some(node), &format!("{at}[{index}]"))? {
            Some(ura) => holders.push(ura),
            None if alone => return Ok(Some(Vec::new())),
            None => return Err(cannot(at, "the kind `any` stands alone")),
        }
    }
    holders.sort();
    holders.dedup();
    Ok(Some(holders))
}

/// An organisation by URA; `None`: the kind `any`.
pub(super) fn organization(node: Option<Node<'_>>, at: &str) -> Result<Option<Ura>, Refusal> {
    let identifier = node.and_then(|node| node.get("identifier"));
    let system = identifier.and_then(|identifier| text(identifier, "system"));
    let value = identifier.and_then(|identifier| text(identifier, "value")).unwrap_or_default();
    match system.as_deref() {
        Some(SYSTEM_URA) => Ura::parse(&value).map(Some).ok_or_else(|| cannot(at, "the URA is not 8 digits")),
        Some(SYSTEM_ORGANISATION_KIND) if value == "any" => Ok(None),
        _ => Err(cannot(at, "name the organisation by its URA in identifier")),
    }
}
