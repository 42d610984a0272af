//! References of a mapped resource: the places of its patient are marked, and what leads into the sender's own system is
//! kept as a logical reference.

use std::ops::Range;

use sluis_conformance::definitions;
use sluis_conformance::json::{self, Doc, Kind, Node};
use sluis_mappings::output::Subject;

use super::super::note::Note;
use crate::interaction::reference::{self, Says, Target};
use crate::interaction::splice::{CANONICAL, Edits};
use crate::interaction::write;

/// Stands where the patient is written in once known. No client can send it to any effect: a mapped resource is the
/// mapper's, and a nil UUID is no id the gateway gives.
const PLACEHOLDER: &str = "\"Patient/00000000-0000-0000-0000-000000000000\"";

/// The element of a type that says whose data it is, when it is a single Reference to a Patient.
pub(in crate::ingest) fn subject_element(kind: &str) -> Option<&'static str> {
    let patient = write::kinds().patient;
    ["subject", "patient", "for", "beneficiary", "individual"].into_iter().find(|name| {
        definitions::r4().element(kind, name).is_some_and(|found| {
            found.element.max == Some(1)
                && (found.type_.targets.is_empty() || found.type_.targets.contains(&patient))
                && found.type_.code == "Reference"
        })
    })
}

/// The resource with its patient's places marked.
///
/// What the source said of its patient (number, name) stays in the original; a copy of it in every resource would be one
/// more thing to protect. Another literal reference leads to nothing here: it becomes an identifier of the sender's
/// own (FHIR R4 references.html#logical).
pub(super) fn marked(doc: Doc, kind: &str, subject: Option<&Subject>) -> Result<Doc, Vec<Note>> {
    let root = doc.root();
    let place = format!("{{\"reference\":{PLACEHOLDER}}}");
    let element = subject.and_then(|_| subject_element(kind));
    let own = element.and_then(|element| root.get(element));
    let mut edits = Edits::default();
    match (element, own) {
        (Some(_), Some(node)) => edits.replace(node, place.clone()),
        (Some(element), None) => edits.add_member(root, element, &place),
        (None, _) => {}
    }
    for found in reference::collect(root) {
        if own.is_some_and(|own| own.span() == found.object.span()) {
            continue;
        }
        let same = |text: &str, of: Option<&String>| of.is_some_and(|of| of == text);
        match &found.says {
            Says::Bsn(bsn) if same(bsn, subject.and_then(|s| s.bsn.as_ref())) => {
                edits.replace(found.object, place.clone());
            }
            Says::Literal(_, text) if same(text, subject.and_then(|s| s.reference.as_ref())) => {
                edits.replace(found.object, place.clone());
            }
            Says::Literal(_, text)
                if !matches!(reference::parse(text, ""), Target::Contained | Target::Elsewhere) =>
            {
                edits.replace(found.object, logical(found.object, text));
            }
            _ => {}
        }
    }
    if edits.is_empty() {
        return Ok(doc);
    }
    let text = edits.apply(&doc, root.span());
    localised(super::parse(text.as_bytes())?)
}

/// The resource without literals to the sender's own resources inside other references (an extension of a Reference may
/// hold one): each turn reaches one level deeper.
fn localised(doc: Doc) -> Result<Doc, Vec<Note>> {
    let root = doc.root();
    let mut edits = Edits::default();
    for found in reference::collect(root) {
        if let Says::Literal(node, text) = &found.says
            && node.raw() != PLACEHOLDER
            && !matches!(reference::parse(text, ""), Target::Contained | Target::Elsewhere)
        {
            edits.replace(found.object, logical(found.object, text));
        }
    }
    if edits.is_empty() {
        return Ok(doc);
    }
    localised(super::parse(edits.apply(&doc, root.span()).as_bytes())?)
}

/// The Reference without its literal, which is kept as an identifier unless it bears one already.
fn logical(object: Node<'_>, literal: &str) -> String {
    let mut members: Vec<String> = object
        .members()
        .filter(|(name, _)| name != "reference" && name != "_reference")
        .map(|(name, value)| format!("{}:{}", quoted(&name), value.raw()))
        .collect();
    if object.get("identifier").is_none() {
        members.push(format!(
            "\"identifier\":{{\"system\":\"{CANONICAL}/NamingSystem/source-reference\",\"value\":{}}}",
            quoted(literal)
        ));
    }
    format!("{{{}}}", members.join(","))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    json::write_string(text, &mut out);
    out
}

/// Where the placeholder stands, in order.
pub(super) fn places(root: Node<'_>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = reference::collect(root)
        .into_iter()
        .filter_map(|found| match found.says {
            Says::Literal(node, _) if node.kind() == Kind::String && node.raw() == PLACEHOLDER => {
                Some(node.span())
            }
            _ => None,
        })
        .collect();
    found.sort_by_key(|place| place.start);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_element_comes_from_the_definitions() {
        assert_eq!(subject_element("Observation"), Some("subject"));
        assert_eq!(subject_element("Consent"), Some("patient"));
        assert_eq!(subject_element("Organization"), None);
    }

    #[test]
    fn every_mention_of_the_patient_is_marked_and_other_references_become_logical() {
        let text = r##"{"resourceType":"Consent","patient":{"reference":"Patient/p","display":"X"},"performer":[{"reference":"Practitioner/7","display":"Y"}],"provision":{"actor":[{"reference":{"reference":"Patient/p"}}]},"sourceReference":{"reference":"#c"}}"##;
        let subject = Subject { reference: Some("Patient/p".to_owned()), ..Subject::default() };
        let doc = marked(super::super::parse(text.as_bytes()).unwrap(), "Consent", Some(&subject)).unwrap();
        assert_eq!(places(doc.root()).len(), 2);
        let text = doc.text();
        assert!(!text.contains("Patient/p\"") && !text.contains("display\":\"X"), "{text}");
        assert!(
            text.contains(r#"source-reference","value":"Practitioner/7""#) && text.contains("\"Y\""),
            "{text}"
        );
        assert!(text.contains("\"#c\""));
    }
}
