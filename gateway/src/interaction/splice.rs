//! Edits on the bytes of a resource: everything not edited stays byte for byte as it was received.
//!
//! Decimals keep their digits and members their order because nothing is parsed and written again (invariant 9).

use std::ops::Range;

use sluis_conformance::json::{self, Doc, Kind, Node};

use super::measurement;
use crate::clock::Timestamp;
use crate::ids::ResourceId;

/// Canonical base of Sluis' own definitions.
pub const CANONICAL: &str = "https://sluis.care/fhir";

/// Replacements on one document, in any order, not overlapping.
#[derive(Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Replaces the bytes of a node.
    pub fn replace(&mut self, node: Node<'_>, text: String) {
        self.0.push((node.span(), text));
    }

    /// Adds a member at the head of an object.
    pub fn add_member(&mut self, object: Node<'_>, name: &str, value: &str) {
        let at = object.span().start + 1;
        let mut text = String::new();
        json::write_string(name, &mut text);
        text.push(':');
        text.push_str(value);
        if !object.is_empty() {
            text.push(',');
        }
        self.0.push((at..at, text));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of `within` (a node of `doc`) with the edits inside it applied.
    pub fn apply(&self, doc: &Doc, within: Range<usize>) -> String {
        let mut edits: Vec<_> =
            self.0.iter().filter(|(span, _)| span.start >= within.start && span.end <= within.end).collect();
        edits.sort_by_key(|(span, _)| (span.start, span.end));
        let text = doc.text();
        let mut out = String::with_capacity(within.len() + 64);
        let mut at = within.start;
        for (span, replacement) in edits {
            if span.start < at {
                continue;
            }
            out.push_str(text.get(at..span.start).unwrap_or_default());
            out.push_str(replacement);
            at = span.end;
        }
        out.push_str(text.get(at..within.end).unwrap_or_default());
        out
    }
}

/// What the gateway writes into `meta`, over what the client sent.
#[derive(Debug, Clone, Copy)]
pub struct Meta<'m> {
    /// `meta.versionId`
    pub version: u32,
    /// `meta.lastUpdated`
    pub updated: Timestamp,
    /// `meta.source`: the authoring organisation, so that every value tells who said it.
    pub source: &'m str,
    /// Mark of the measurement an Observation holds (`meta.tag`).
    pub measurement: Option<&'m str>,
}

/// The stored bytes of a resource: `resourceType`, `id` and the gateway's `meta` first, everything else as received
/// (with `edits` applied).
///
/// A `meta.source` the client sent differently stays as extension `original-source`; security labels of our own
/// data-category system and marks of measurements are left out, for only the gateway gives those.
pub fn canonical(doc: &Doc, root: Node<'_>, id: &ResourceId, meta: Meta<'_>, edits: &Edits) -> String {
    let mut out = String::with_capacity(root.span().len() + 200);
    out.push_str("{\"resourceType\":");
    out.push_str(root.get("resourceType").map_or("null", |n| n.raw()));
    out.push_str(",\"id\":");
    json::write_string(id.as_str(), &mut out);
    out.push_str(",\"meta\":");
    write_meta(&mut out, root.get("meta"), meta);
    for (name, value) in root.members() {
        if matches!(name.as_ref(), "resourceType" | "id" | "meta") {
            continue;
        }
        out.push(',');
        json::write_string(&name, &mut out);
        out.push(':');
        out.push_str(&edits.apply(doc, value.span()));
    }
    out.push('}');
    out
}

fn write_meta(out: &mut String, sent: Option<Node<'_>>, meta: Meta<'_>) {
    out.push_str("{\"versionId\":\"");
    out.push_str(&meta.version.to_string());
    out.push_str("\",\"lastUpdated\":\"");
    out.push_str(&meta.updated.to_instant());
    out.push_str("\",\"source\":");
    json::write_string(meta.source, out);
    let mark = meta
        .measurement
        .map(|code| format!("{{\"system\":\"{}\",\"code\":\"{code}\"}}", measurement::SYSTEM));
    let Some(sent) = sent.filter(|n| n.kind() == Kind::Object) else {
        write_array(out, "tag", mark.as_slice());
        out.push('}');
        return;
    };
    let original = sent.get("source").and_then(|n| n.as_str()).filter(|s| s != meta.source);
    let mut extensions: Vec<String> = sent
        .get("extension")
        .into_iter()
        .flat_map(|n| n.items().collect::<Vec<_>>())
        .map(|n| n.raw().to_owned())
        .collect();
    if let Some(original) = original {
        let url = format!("{CANONICAL}/StructureDefinition/original-source");
        if !extensions.iter().any(|e| e.contains(&url)) {
            let mut text = format!("{{\"url\":\"{url}\",\"valueUri\":");
            json::write_string(&original, &mut text);
            text.push('}');
            extensions.push(text);
        }
    }
    write_array(out, "extension", &extensions);
    let own = format!("{CANONICAL}/CodeSystem/data-category");
    let mut tags = None;
    for (name, value) in sent.members() {
        match name.as_ref() {
            "versionId" | "lastUpdated" | "source" | "extension" | "_versionId" | "_lastUpdated"
            | "_source" => {}
            "security" => {
                let kept: Vec<String> = value
                    .items()
                    .filter(|n| n.get("system").and_then(|s| s.as_str()).is_none_or(|s| s != own.as_str()))
                    .map(|n| n.raw().to_owned())
                    .collect();
                write_array(out, "security", &kept);
            }
            "tag" => tags = Some(value),
            _ => {
                out.push(',');
                json::write_string(&name, out);
                out.push(':');
                out.push_str(value.raw());
            }
        }
    }
    let is_ours =
        |tag: &Node<'_>| tag.get("system").and_then(|s| s.as_str()).is_some_and(|s| s == measurement::SYSTEM);
    let sent = tags.into_iter().flat_map(|tags| tags.items()).filter(|tag| !is_ours(tag));
    let tags: Vec<String> = sent.map(|tag| tag.raw().to_owned()).chain(mark).collect();
    write_array(out, "tag", &tags);
    out.push('}');
}

fn write_array(out: &mut String, name: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":[");
    out.push_str(&items.join(","));
    out.push(']');
}

/// The resource without these members, tagged `SUBSETTED`.
pub fn without(doc: &Doc, hidden: &[&str]) -> String {
    let mut out = String::from("{");
    for (name, value) in doc.root().members().filter(|(name, _)| !hidden.contains(&name.as_ref())) {
        if out.len() > 1 {
            out.push(',');
        }
        json::write_string(&name, &mut out);
        out.push(':');
        match name.as_ref() {
            "meta" => out.push_str(&subsetted(doc, value)),
            _ => out.push_str(value.raw()),
        }
    }
    out.push('}');
    out
}

/// Whether a tag says that the resource is a part of one.
pub fn is_subsetted(tag: Node<'_>) -> bool {
    let is = |name: &str, text: &str| tag.get(name).and_then(|n| n.as_str()).is_some_and(|t| t == text);
    is("system", OBSERVATION_VALUE) && is("code", "SUBSETTED")
}

const OBSERVATION_VALUE: &str = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";

/// A `meta` that says that the resource is a part of one.
pub fn subsetted(doc: &Doc, meta: Node<'_>) -> String {
    let tag = format!(r#"{{"system":"{OBSERVATION_VALUE}","code":"SUBSETTED"}}"#);
    let mut edits = Edits::default();
    match meta.get("tag").filter(|t| !t.is_empty()) {
        Some(tags) if tags.items().any(is_subsetted) => {}
        Some(tags) => {
            let at = tags.span().start + 1;
            edits.0.push((at..at, format!("{tag},")));
        }
        None => {
            let at = meta.span().end - 1;
            let comma = if !meta.is_empty() { "," } else { "" };
            edits.0.push((at..at, format!("{comma}\"tag\":[{tag}]")));
        }
    }
    edits.apply(doc, meta.span())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluis_conformance::json::JsonLimits;

    fn doc(text: &str) -> Doc {
        Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
    }

    #[test]
    fn decimals_and_order_survive_and_meta_is_the_gateways() {
        let sent = doc(
            r#"{"status":"final","resourceType":"Observation","valueQuantity":{"value":1.10,"unit":"L"},"meta":{"profile":["p"],"versionId":"9","source":"urn:x"},"id":"z"}"#,
        );
        let id = ResourceId::parse("a").unwrap();
        let meta = Meta { version: 2, updated: Timestamp(0), source: "urn:org", measurement: None };
        let text = canonical(&sent, sent.root(), &id, meta, &Edits::default());
        assert_eq!(
            text,
            r#"{"resourceType":"Observation","id":"a","meta":{"versionId":"2","lastUpdated":"1970-01-01T00:00:00.000Z","source":"urn:org","extension":[{"url":"https://sluis.care/fhir/StructureDefinition/original-source","valueUri":"urn:x"}],"profile":["p"]},"status":"final","valueQuantity":{"value":1.10,"unit":"L"}}"#
        );
    }

    #[test]
    fn an_edit_changes_its_place_only() {
        let sent = doc(r#"{"subject":{"identifier":{"value":"1"}}, "x" : 1.0}"#);
        let mut edits = Edits::default();
        edits.add_member(sent.root().get("subject").unwrap(), "reference", "\"Patient/p\"");
        let text = edits.apply(&sent, sent.root().span());
        assert_eq!(text, r#"{"subject":{"reference":"Patient/p","identifier":{"value":"1"}}, "x" : 1.0}"#);
    }

    #[test]
    fn what_is_left_out_is_said_once() {
        let sent =
            doc(r#"{"resourceType":"Group","id":"a","meta":{"versionId":"1"},"member":[{}],"name":"n"}"#);
        let text = without(&sent, &["member", "_member"]);
        assert!(text.contains("\"name\":\"n\"") && !text.contains("member"));
        assert_eq!(without(&doc(&text), &[]).matches("SUBSETTED").count(), 1);
    }
}
