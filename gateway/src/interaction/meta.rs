//! `$meta`, `$meta-add` and `$meta-delete` of a resource (FHIR R4 resource-operation-meta.html, -meta-add.html,
//! -meta-delete.html): profiles, tags and security labels.
//!
//! Of a type or of the system the meta is what its visible resources use. A change is a new version, judged like an update. Labels only raise (docs/decisions/0003): they are added, and none is
//! taken away.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};

use super::change::Guard;
use super::perform::Aside;
use super::reference::Links;
use super::write::{self, Desk, Draft, Expect};
use super::{Facts, Outcome, found_body, obligation};
use crate::connection::request::Format;
use crate::decision::Permit;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::search::parameter::parameter_of;
use crate::store::{Reader, StoreError, Stored, Writer};

/// Entries of a `meta` after a change; a sender's list is no place to keep data in.
pub const ENTRIES_MAX: usize = 1_000;

/// What is to be added or taken away, its form checked.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Canonical addresses, as JSON texts.
    profiles: Vec<String>,
    /// `system`, `code` and the whole coding as JSON text.
    tags: Vec<(String, String, String)>,
    security: Vec<(String, String, String)>,
    adds: bool,
}

/// Reads the Parameters: one `meta` with profile, tag and security.
///
/// Errors: `Malformed` without a meta; `Invalid` when it is none of R4; `BusinessRule` for labels to be taken away.
pub fn wanted(doc: &Doc, adds: bool) -> Result<Wanted, Refusal> {
    write::check(doc)?;
    let malformed = |text: &str| Refusal::new(Reason::Malformed, text).at("meta");
    let mut meta = None;
    for part in doc.root().get("parameter").into_iter().flat_map(Node::items) {
        let is_meta = part.get("name").and_then(Node::as_str).is_some_and(|name| name == "meta");
        if !is_meta || meta.replace(part.get("valueMeta")).is_some() {
            return Err(malformed("It takes one parameter: meta."));
        }
    }
    let meta = meta.flatten().ok_or_else(|| malformed("A parameter `meta` with a valueMeta is due."))?;
    if meta.members().any(|(name, _)| !matches!(name.as_ref(), "profile" | "tag" | "security")) {
        return Err(malformed(
            "Of a meta, profile, tag and security are changed; the rest is the gateway's.",
        ));
    }
    let codings = |name: &str| {
        let text = |node: Node<'_>, name: &str| {
            node.get(name).and_then(Node::as_str).unwrap_or_default().into_owned()
        };
        let of = |node: Node<'_>| (text(node, "system"), text(node, "code"), node.raw().to_owned());
        meta.get(name).into_iter().flat_map(Node::items).map(of).collect::<Vec<_>>()
    };
    let security = codings("security");
    if !adds && !security.is_empty() {
        let text = "Security labels only raise: none is taken away here.";
        return Err(Refusal::new(Reason::BusinessRule, text).at("meta.security"));
    }
    let profiles = meta.get("profile").into_iter().flat_map(Node::items).map(|node| node.raw().to_owned());
    Ok(Wanted { profiles: profiles.collect(), tags: codings("tag"), security, adds })
}

/// The meta of a resource.
///
/// Errors: `NotFound`, `Gone`.
pub fn read(
    reader: &mut dyn Reader,
    permit: &Permit,
    kind: ResourceType,
    id: &ResourceId,
    format: Format,
) -> Result<Outcome, StoreError> {
    let mut stored = there(reader, kind, id)?;
    obligation::apply(permit, &mut stored)?;
    let facts = Facts::of(std::slice::from_ref(&stored));
    let answer = told(&stored.body, format)?.versioned(stored.version, stored.updated);
    Ok(Outcome { answer, facts })
}

/// Every profile, tag and label in use among the resources of these types that the permit's holder may see, each once.
///
/// Errors: `TooCostly` past [`ENTRIES_MAX`]. Source: FHIR R4 resource-operation-meta.html (of a type, of the system)
pub fn of(reader: &mut dyn Reader, kinds: &[ResourceType], format: Format) -> Result<Outcome, StoreError> {
    let mut used = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for kind in reader.stored_kinds(kinds)? {
        for (set, code) in used.iter_mut().zip(["_profile", "_security", "_tag"]) {
            let Some(definition) = r4().search_parameter(kind, code) else { continue };
            set.extend(reader.used(&parameter_of(kind, definition), kind, ENTRIES_MAX + 1)?);
            if set.len() > ENTRIES_MAX {
                let text = format!("More than {ENTRIES_MAX} are in use. Ask for one type.");
                return Err(refused(Refusal::new(Reason::TooCostly, text).at(code)));
            }
        }
    }
    let [profiles, labels, tags] = used;
    let coding = |(system, code): (String, String)| {
        let mut coding = serde_json::Map::new();
        for (name, value) in [("system", system), ("code", code)] {
            if !value.is_empty() {
                coding.insert(name.to_owned(), value.into());
            }
        }
        serde_json::Value::Object(coding)
    };
    let mut meta = serde_json::Map::new();
    let lists: [(&str, Vec<serde_json::Value>); 3] = [
        ("profile", profiles.into_iter().map(|(_, address)| address.into()).collect()),
        ("security", labels.into_iter().map(coding).collect()),
        ("tag", tags.into_iter().map(coding).collect()),
    ];
    for (name, list) in lists {
        // FHIR arrays are never empty.
        if !list.is_empty() {
            meta.insert(name.to_owned(), list.into());
        }
    }
    let answer = parameters(&serde_json::Value::Object(meta).to_string(), format);
    Ok(Outcome { answer, facts: Facts::default() })
}

/// Adds or takes away, as a new version.
///
/// Errors (nothing is stored): `NotFound`, `Gone`, `VersionConflict`, `Forbidden`; `TooCostly` past [`ENTRIES_MAX`].
pub fn change(
    writer: &mut dyn Writer,
    desk: &Desk,
    (kind, id): (ResourceType, &ResourceId),
    wanted: &Wanted,
    guard: Guard,
    aside: &Aside,
) -> Result<Outcome, StoreError> {
    let old = there(writer, kind, id)?;
    write::match_version(&old, guard.if_match)?;
    let stored = parsed(&old.body)?;
    let text = changed(&stored, wanted).map_err(refused)?;
    let doc = parsed(text.as_bytes())?;
    write::check(&doc).map_err(refused)?;
    let draft = Draft { kind, id: Some(id.clone()), doc: Arc::new(doc) };
    let written = write::put_draft(writer, desk, &draft, Expect::Existing(guard.if_match), &Links::none())?;
    let answer = told(&written.body, aside.format)?.versioned(written.version, written.updated);
    Ok(Outcome { answer, facts: Facts::written(&written) })
}

fn there(
    reader: &mut (impl Reader + ?Sized),
    kind: ResourceType,
    id: &ResourceId,
) -> Result<Stored, StoreError> {
    let stored = reader.current(kind, id)?.ok_or_else(|| refused(Refusal::not_found()))?;
    if stored.deleted { Err(refused(Refusal::new(Reason::Gone, ""))) } else { Ok(stored) }
}

/// The resource's text with the wanted meta; everything else byte for byte.
fn changed(stored: &Doc, wanted: &Wanted) -> Result<String, Refusal> {
    let root = stored.root();
    let meta = root.get("meta").filter(|node| node.kind() == Kind::Object);
    let mut out = String::from("{");
    let member = |out: &mut String, name: &str, text: &str| {
        if out.len() > 1 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        out.push_str(text);
    };
    for (name, value) in meta.into_iter().flat_map(Node::members) {
        if !matches!(name.as_ref(), "profile" | "tag" | "security") {
            member(&mut out, &name, value.raw());
        }
    }
    let mut count = 0;
    for (name, list) in [
        ("profile", profiles(meta, wanted)),
        ("security", codings(meta, "security", &wanted.security, wanted.adds)),
        ("tag", codings(meta, "tag", &wanted.tags, wanted.adds)),
    ] {
        count += list.len();
        if !list.is_empty() {
            member(&mut out, name, &format!("[{}]", list.join(",")));
        }
    }
    if count > ENTRIES_MAX {
        let text = format!("A meta holds at most {ENTRIES_MAX} profiles, tags and labels.");
        return Err(Refusal::new(Reason::TooCostly, text).at("meta"));
    }
    out.push('}');
    let text = stored.text();
    let Some(meta) = meta else {
        return Err(Refusal::new(Reason::Internal, "").because("a stored resource without meta"));
    };
    let (before, after) = (text.get(..meta.span().start), text.get(meta.span().end..));
    Ok([before.unwrap_or_default(), &out, after.unwrap_or_default()].concat())
}

fn profiles(meta: Option<Node<'_>>, wanted: &Wanted) -> Vec<String> {
    let there = meta.and_then(|meta| meta.get("profile")).into_iter().flat_map(Node::items);
    let mut all: Vec<String> = there.map(|node| node.raw().to_owned()).collect();
    for profile in &wanted.profiles {
        match (wanted.adds, all.contains(profile)) {
            (true, false) => all.push(profile.clone()),
            (false, true) => all.retain(|known| known != profile),
            _ => {}
        }
    }
    all
}

/// Codings are one when system and code are (resource-operation-meta-add.html).
fn codings(
    meta: Option<Node<'_>>,
    name: &str,
    wanted: &[(String, String, String)],
    adds: bool,
) -> Vec<String> {
    let there = meta.and_then(|meta| meta.get(name)).into_iter().flat_map(Node::items);
    let text =
        |node: Node<'_>, name: &str| node.get(name).and_then(Node::as_str).unwrap_or_default().into_owned();
    let mut all: Vec<(String, String, String)> =
        there.map(|node| (text(node, "system"), text(node, "code"), node.raw().to_owned())).collect();
    let same = |a: &(String, String, String), b: &(String, String, String)| (&a.0, &a.1) == (&b.0, &b.1);
    for one in wanted {
        if !adds {
            all.retain(|known| !same(known, one));
        } else if !all.iter().any(|known| same(known, one)) {
            all.push(one.clone());
        }
    }
    all.into_iter().map(|(.., text)| text).collect()
}

/// Parameters with the meta of a resource.
fn told(body: &[u8], format: Format) -> Result<Answer, StoreError> {
    let doc = parsed(body)?;
    Ok(parameters(doc.root().get("meta").map_or("{}", |meta| meta.raw()), format))
}

fn parameters(meta: &str, format: Format) -> Answer {
    let text = match meta {
        // No element is empty, and no parameter without a value (FHIR R4 element.html ele-1, parameters.html inv-1).
        "{}" => r#"{"resourceType":"Parameters"}"#.to_owned(),
        meta => {
            format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"return","valueMeta":{meta}}}]}}"#)
        }
    };
    Answer::fhir(StatusCode::OK, found_body(text.into(), format))
}

fn parsed(body: &[u8]) -> Result<Doc, StoreError> {
    Doc::parse(body.to_vec(), JsonLimits::default()).map_err(|error| {
        refused(Refusal::new(Reason::Internal, "").because(format!("stored resource: {error}")))
    })
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn doc(text: &str) -> Doc {
        Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
    }

    fn asked(meta: &str, adds: bool) -> Result<Wanted, Refusal> {
        let text =
            format!(r#"{{"resourceType":"Parameters","parameter":[{{"name":"meta","valueMeta":{meta}}}]}}"#);
        wanted(&doc(&text), adds)
    }

    #[test]
    fn each_entry_stands_once_and_the_rest_stays_as_it_was() {
        let stored = doc(
            r#"{"resourceType":"Basic","meta":{"versionId":"1","profile":["p"],"tag":[{"code":"a"}]}, "x" : 1.10}"#,
        );
        let more = r#"{"profile":["p","q"],"tag":[{"code":"a","display":"A"},{"system":"s","code":"a"}],"security":[{"code":"R"}]}"#;
        let text = changed(&stored, &asked(more, true).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"resourceType":"Basic","meta":{"versionId":"1","profile":["p","q"],"security":[{"code":"R"}],"tag":[{"code":"a"},{"system":"s","code":"a"}]}, "x" : 1.10}"#
        );
        let less = asked(r#"{"profile":["p"],"tag":[{"code":"a"}]}"#, false).unwrap();
        assert_eq!(
            changed(&stored, &less).unwrap(),
            r#"{"resourceType":"Basic","meta":{"versionId":"1"}, "x" : 1.10}"#
        );
    }

    #[test]
    fn labels_are_not_taken_away_and_the_gateways_own_is_not_changed() {
        assert_eq!(asked(r#"{"security":[{"code":"R"}]}"#, false).unwrap_err().reason, Reason::BusinessRule);
        assert_eq!(asked(r#"{"versionId":"2"}"#, true).unwrap_err().reason, Reason::Malformed);
        assert_eq!(
            wanted(&doc(r#"{"resourceType":"Parameters"}"#), true).unwrap_err().reason,
            Reason::Malformed
        );
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|at| format!(r#"{{"code":"c{at}"}}"#)).collect();
        let many = asked(&format!(r#"{{"tag":[{}]}}"#, many.join(",")), true).unwrap();
        let stored = doc(r#"{"resourceType":"Basic","meta":{}}"#);
        assert_eq!(changed(&stored, &many).unwrap_err().reason, Reason::TooCostly);
    }
}
