//! What a sender said before and does not say again: elements a document leaves out, and links to the patient that takes
//! another's place.
//!
//! In HL7v2 a field left out changes nothing (v2.5.1 chapter 2.5.3). Its map cannot know what was there: it names the
//! elements ([`Ready::left`](crate::ingest::prepare::Ready)), and here they come from the version that is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluis_conformance::json::{Doc, JsonLimits, Node, write_string};

use crate::ids::ResourceId;
use crate::store::{StoreError, Stored};

/// Members of a resource by name, as text.
type Members = Vec<(String, String)>;

/// The resource with the elements it leaves out as they are stored; the same where it leaves nothing.
///
/// Errors: `Database` when what is stored does not parse.
pub(super) fn with_left(
    doc: &Arc<Doc>,
    before: Option<&Stored>,
    left: &[String],
) -> Result<Arc<Doc>, StoreError> {
    let Some(before) = before.filter(|before| !left.is_empty() && !before.deleted) else {
        return Ok(doc.clone());
    };
    let before = parse(before.body.to_vec())?;
    let mut members = members(doc.root());
    let mut below: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in left {
        match name.split_once('.') {
            None => take(&mut members, before.root(), name),
            Some((head, tail)) => below.entry(head).or_default().push(tail),
        }
    }
    for (head, tails) in below {
        let Some(there) = before.root().get(head) else { continue };
        let said = doc.root().get(head);
        let mut parts = said.map(self::members).unwrap_or_default();
        let count = parts.len();
        tails.iter().for_each(|tail| take(&mut parts, there, tail));
        if parts.len() == count {
            continue;
        }
        let text = object(&parts);
        match members.iter_mut().find(|(name, _)| name == head) {
            Some((_, value)) => *value = text,
            None => members.push((head.to_owned(), text)),
        }
    }
    parse(object(&members).into_bytes()).map(Arc::new)
}

/// The Patient as stored, no longer in use and replaced by another; `None` when it says so already.
/// Source: FHIR R4 patient.html#links.
///
/// Errors: `Database` when what is stored does not parse.
pub(super) fn replaced(before: &Stored, by: &ResourceId) -> Result<Option<Arc<Doc>>, StoreError> {
    let before = parse(before.body.to_vec())?;
    let reference = format!("Patient/{by}");
    let links: Vec<Node<'_>> =
        before.root().get("link").into_iter().flat_map(|links| links.items()).collect();
    if links.iter().any(|link| leads_to(*link) == Some(reference.clone())) {
        return Ok(None);
    }
    let mut texts: Vec<String> = links.iter().map(|link| link.raw().to_owned()).collect();
    texts.push(format!(r#"{{"other":{{"reference":"{reference}"}},"type":"replaced-by"}}"#));
    let mut members = members(before.root());
    members.retain(|(name, _)| !matches!(name.as_str(), "link" | "active" | "_active"));
    members.push(("active".to_owned(), "false".to_owned()));
    members.push(("link".to_owned(), format!("[{}]", texts.join(","))));
    parse(object(&members).into_bytes()).map(|doc| Some(Arc::new(doc)))
}

/// An order as stored, ended: with the status, the reason and the numbers of what ends it. What was asked for stays.
///
/// Errors: `Database` when what is stored does not parse.
pub(super) fn ended(before: &Stored, by: &Doc) -> Result<Arc<Doc>, StoreError> {
    let before = parse(before.body.to_vec())?;
    let mut members = members(before.root());
    for name in ["status", "extension", "identifier"] {
        let Some(said) = by.root().get(name) else { continue };
        let text = match name {
            "status" => said.raw().to_owned(),
            _ => joined(before.root().get(name), said),
        };
        match members.iter_mut().find(|(member, _)| member == name) {
            Some((_, value)) => *value = text,
            None => members.push((name.to_owned(), text)),
        }
    }
    parse(object(&members).into_bytes()).map(Arc::new)
}

/// A list, and behind it what another has besides; of identifiers those with a type alone, for the others name the message's
/// own resource.
fn joined(list: Option<Node<'_>>, more: Node<'_>) -> String {
    let mut texts: Vec<&str> =
        list.into_iter().flat_map(|list| list.items()).map(|item| item.raw()).collect();
    for item in more.items() {
        let counts = item.get("url").is_some() || item.get("type").is_some();
        if counts && !texts.contains(&item.raw()) {
            texts.push(item.raw());
        }
    }
    format!("[{}]", texts.join(","))
}

/// Where a `replaced-by` link of a Patient leads: `Patient/id`.
pub(in crate::ingest) fn leads_to(link: Node<'_>) -> Option<String> {
    let is_replaced =
        link.get("type").and_then(|kind| kind.as_str()).is_some_and(|kind| kind == "replaced-by");
    let other = link.get("other").filter(|_| is_replaced)?;
    Some(other.get("reference")?.as_str()?.into_owned())
}

/// Adds an element of `from`, with its id and extensions, unless one of the two is said.
fn take(members: &mut Members, from: Node<'_>, name: &str) {
    let extended = format!("_{name}");
    if members.iter().any(|(said, _)| *said == name || *said == extended) {
        return;
    }
    for name in [name.to_owned(), extended] {
        if let Some(value) = from.get(&name) {
            members.push((name, value.raw().to_owned()));
        }
    }
}

fn members(node: Node<'_>) -> Members {
    node.members().map(|(name, value)| (name.into_owned(), value.raw().to_owned())).collect()
}

fn object(members: &Members) -> String {
    let mut out = String::from("{");
    for (name, value) in members {
        if out.len() > 1 {
            out.push(',');
        }
        write_string(name, &mut out);
        out.push(':');
        out.push_str(value);
    }
    out.push('}');
    out
}

fn parse(bytes: Vec<u8>) -> Result<Doc, StoreError> {
    Doc::parse(bytes, JsonLimits::default())
        .map_err(|error| StoreError::Database(format!("a stored resource does not parse: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::filter::Derived;
    use crate::ids::PartyKey;

    fn stored(text: &str) -> Stored {
        Stored {
            kind: crate::interaction::write::kinds().patient,
            method: crate::store::Method::Post,
            key: 1,
            consent: None,
            id: ResourceId::parse("p").unwrap(),
            version: 1,
            updated: Timestamp(0),
            deleted: false,
            derived: Derived {
                patient: None,
                category: 1,
                labels: 0,
                confidentiality: 1,
                day: 0,
                author: PartyKey(1),
            },
            body: text.as_bytes().to_vec().into(),
        }
    }

    fn left(said: &str, before: &str, left: &[&str]) -> String {
        let doc = Arc::new(parse(said.as_bytes().to_vec()).unwrap());
        let left: Vec<String> = left.iter().map(|name| (*name).to_owned()).collect();
        with_left(&doc, Some(&stored(before)), &left).unwrap().text().to_owned()
    }

    #[test]
    fn what_is_left_out_stays_and_what_is_said_counts() {
        let before = r#"{"id":"p","telecom":[{"value":"1.10"}],"birthDate":"1961","_birthDate":{"id":"x"},"gender":"female","period":{"start":"a","end":"b"}}"#;
        assert_eq!(
            left(r#"{"gender":"male"}"#, before, &["birthDate", "gender", "telecom", "photo"]),
            r#"{"gender":"male","birthDate":"1961","_birthDate":{"id":"x"},"telecom":[{"value":"1.10"}]}"#
        );
        // Not left out and not there: taken away.
        assert_eq!(left(r#"{"gender":"male"}"#, before, &["gender"]), r#"{"gender":"male"}"#);
        assert_eq!(
            left(r#"{"period":{"end":"c"}}"#, before, &["period.start"]),
            r#"{"period":{"end":"c","start":"a"}}"#
        );
        assert_eq!(left("{}", before, &["period.start", "stay.x"]), r#"{"period":{"start":"a"}}"#);
    }

    #[test]
    fn a_patient_is_linked_once_and_keeps_everything_else() {
        let by = ResourceId::parse("q").unwrap();
        let before = r#"{"resourceType":"Patient","name":[{"text":"A"}],"active":true,"link":[{"other":{"reference":"Patient/z"},"type":"seealso"}]}"#;
        let doc = replaced(&stored(before), &by).unwrap().unwrap();
        assert_eq!(
            doc.text(),
            r#"{"resourceType":"Patient","name":[{"text":"A"}],"active":false,"link":[{"other":{"reference":"Patient/z"},"type":"seealso"},{"other":{"reference":"Patient/q"},"type":"replaced-by"}]}"#
        );
        assert!(replaced(&stored(doc.text()), &by).unwrap().is_none());
    }
}
