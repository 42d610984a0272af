//! Addresses outside of references that name an entry of the same transaction.
//!
//! Source: FHIR R4 http.html#trules ("elements of type uri, url, oid, uuid, and <a href=...> & <img src=...> in the
//! narrative. Elements of type canonical are not replaced")

use sluis_conformance::definitions::{self, Structure};
use sluis_conformance::json::{Kind, Node};

use super::{Edits, Links, quoted};
use crate::ids::ResourceType;

/// Whether the bytes may hold such an address beyond the `followed` references: spares most resources the walk.
pub(super) fn may_follow(raw: &str, followed: usize, links: &Links<'_>) -> bool {
    let named = raw.matches("urn:uuid:").count() + raw.matches("urn:oid:").count();
    named > followed || (links.base.is_some() && raw.matches("://").count() > followed)
}

/// Adds the edits that make them lead to what is stored.
pub(super) fn follow(kind: ResourceType, root: Node<'_>, links: &Links<'_>, edits: &mut Edits) {
    let r4 = definitions::r4();
    let mut stack = vec![(root, r4.resource_structure(kind))];
    while let Some((node, structure)) = stack.pop() {
        for (name, value) in node.members() {
            let Some(found) = structure.element(&name) else { continue };
            let values = if value.kind() == Kind::Array { value.items().collect() } else { vec![value] };
            for value in values {
                one(
                    value,
                    found.type_.code,
                    r4.structure_at(found.type_.structure),
                    links,
                    edits,
                    &mut stack,
                );
            }
        }
    }
}

fn one<'d>(
    value: Node<'d>,
    code: &str,
    structure: &'static Structure,
    links: &Links<'_>,
    edits: &mut Edits,
    stack: &mut Vec<(Node<'d>, &'static Structure)>,
) {
    match (code, value.kind()) {
        ("uri" | "url" | "oid" | "uuid", Kind::String) => {
            if let Some(target) = value.as_str().and_then(|text| links.target(&text)) {
                edits.replace(value, quoted(&target));
            }
        }
        ("xhtml", Kind::String) => {
            let text = value.as_str().unwrap_or_default();
            let linked = narrative(&text, links);
            if linked != text {
                edits.replace(value, quoted(&linked));
            }
        }
        // A contained resource says itself what it is.
        ("Resource", Kind::Object) => {
            let kind = value.get("resourceType").and_then(|node| node.as_str());
            if let Some(kind) = kind.and_then(|name| definitions::r4().resource_type(&name)) {
                stack.push((value, definitions::r4().resource_structure(kind)));
            }
        }
        (_, Kind::Object) => stack.push((value, structure)),
        _ => {}
    }
}

/// The narrative with the addresses of its `href` and `src` attributes followed.
fn narrative(text: &str, links: &Links<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["href=", "src="].iter().filter_map(|name| Some(rest.find(name)? + name.len())).min()
    {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        rest = tail;
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
        let Some(end) = rest.get(1..).and_then(|inside| inside.find(quote)) else { continue };
        let inside = rest.get(1..=end).unwrap_or_default();
        out.push(quote);
        out.push_str(&links.target(inside).unwrap_or_else(|| inside.to_owned()));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use std::collections::HashMap;

    use super::*;
    use sluis_conformance::json::{Doc, JsonLimits};

    #[test]
    fn addresses_follow_by_their_type_and_canonicals_do_not() {
        let text = r#"{"resourceType":"Observation","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"urn:uuid:a\">x</a></div>"},"instantiatesUri":"urn:uuid:a","identifier":[{"value":"urn:uuid:a"}],"meta":{"profile":["urn:uuid:a"]},"extension":[{"url":"urn:x","valueUri":"urn:uuid:a/_history/9"}],"contained":[{"resourceType":"Basic","extension":[{"url":"urn:x","valueUuid":"urn:uuid:a"}]}]}"#;
        let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let made = HashMap::from([("urn:uuid:a".to_owned(), "Patient/p".to_owned())]);
        let versions = HashMap::from([("Patient/p".to_owned(), 3)]);
        let links = Links::versioned(&made, &versions);
        let mut edits = Edits::default();
        let kind = definitions::r4().resource_type("Observation").unwrap();
        assert!(may_follow(text, 0, &links));
        follow(kind, doc.root(), &links, &mut edits);
        let out = edits.apply(&doc, doc.root().span());
        assert!(out.contains(r#"<a href=\"Patient/p\">"#), "{out}");
        assert!(
            out.contains(r#""valueUri":"Patient/p/_history/3""#)
                && out.contains(r#""valueUuid":"Patient/p""#),
            "{out}"
        );
        assert!(
            out.contains(r#""value":"urn:uuid:a""#) && out.contains(r#""profile":["urn:uuid:a"]"#),
            "{out}"
        );
    }
}
