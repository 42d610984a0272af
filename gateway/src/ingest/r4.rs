//! FHIR R4, JSON or XML, as a document: a Bundle or a single resource becomes units without a map.
//!
//! Identity is the resource's first business identifier, else its id in the sender's own system. Patients named within the
//! document or by earlier documents are found by the spelling the sender uses.

use std::sync::Arc;

use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Node};
use sluis_conformance::xml;
use sluis_mappings::output::Subject;

use super::note::Note;
use super::prepare::{self, Namespace, Prepared, Ready, subject_element};
use super::source::Notation;
use crate::ids::{SYSTEM_BSN, Ura};
use crate::interaction::write;

/// Units of an R4 document; `Err` when it cannot be read at all.
pub fn prepared(notation: Notation, bytes: &[u8], sender: &Ura) -> Result<Vec<Prepared>, Box<Note>> {
    let limits = JsonLimits::default();
    let doc = if notation == Notation::R4Xml {
        xml::read(r4(), bytes, limits).map_err(|error| {
            unread("xml-malformed", error.to_string(), error.line, error.column, error.offset)
        })?
    } else {
        Doc::parse(bytes.to_vec(), limits).map_err(|error| {
            unread("json-malformed", error.to_string(), error.line, error.column, error.offset)
        })?
    };
    let root = doc.root();
    let space = Namespace::of(sender);
    if root.get("resourceType").and_then(|n| n.as_str()).as_deref() != Some("Bundle") {
        let name = root.get("resourceType").and_then(|n| n.as_str()).unwrap_or_default().into_owned();
        return Ok(vec![unit(&doc, root, name, None, &space)]);
    }
    check_bundle(root)?;
    let mut units = Vec::new();
    for (at, entry) in root.get("entry").into_iter().flat_map(|n| n.items()).enumerate() {
        let Some(resource) = entry.get("resource") else { continue };
        let full_url = entry.get("fullUrl").and_then(|n| n.as_str()).map(|s| s.into_owned());
        units.push(unit(&doc, resource, format!("Bundle.entry[{at}].resource"), full_url, &space));
    }
    if units.is_empty() {
        let text = "The Bundle holds no resource.";
        return Err(Box::new(Note::new("fatal", "nothing-mapped", text, "Send it with its entries.")));
    }
    prepare::keep_doubles(&mut units);
    Ok(units)
}

fn unread(rule: &str, text: String, line: u32, column: u32, offset: usize) -> Box<Note> {
    let mut note = Note::new("fatal", rule, text, "Correct the place named.");
    (note.line, note.column) = (line, column);
    note.start = u32::try_from(offset).unwrap_or(u32::MAX);
    note.end = note.start.saturating_add(1);
    note.cause = Some(rule.to_owned());
    Box::new(note)
}

/// A Bundle that asks for actions (batch, transaction) goes to `[base]`, where its verbs count: taken here they would
/// be disregarded silently.
fn check_bundle(root: Node<'_>) -> Result<(), Box<Note>> {
    let kind = root.get("type").and_then(|n| n.as_str()).unwrap_or_default();
    if matches!(kind.as_ref(), "collection" | "document" | "message" | "searchset") {
        return Ok(());
    }
    let mut note = Note::new(
        "fatal",
        "bundle-type",
        "$ingest takes Bundles of type collection, document, message or searchset.",
        "Send a batch or transaction to [base] itself.",
    );
    note.path = "Bundle.type".to_owned();
    Err(Box::new(note))
}

fn unit(doc: &Doc, root: Node<'_>, label: String, full_url: Option<String>, space: &Namespace) -> Prepared {
    let span = root.span();
    let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    // Places in a tree made of XML are not places in the document that is kept.
    let spans =
        if doc.is_converted() { Vec::new() } else { vec![(position(span.start), position(span.end))] };
    match ready(root, doc.is_converted(), full_url, space) {
        Ok(ready) => Prepared { label, ordinal: 0, spans, ready: Some(ready), notes: Vec::new() },
        Err(notes) => {
            let notes = notes.into_iter().map(|n| n.of_unit(&label, spans.first().copied())).collect();
            Prepared { label, ordinal: 0, spans, ready: None, notes }
        }
    }
}

fn ready(
    root: Node<'_>,
    is_converted: bool,
    full_url: Option<String>,
    space: &Namespace,
) -> Result<Ready, Vec<Note>> {
    let doc = prepare::parse(root.raw().as_bytes())?;
    let doc = if is_converted { doc.converted() } else { doc };
    let (kind, name) = prepare::kind_of(root)?;
    write::check(&doc).map_err(|refusal| Note::of_refusal(&refusal))?;
    let text = |node: Option<Node<'_>>| node.and_then(|n| n.as_str()).map(|s| s.into_owned());
    let own_id = text(root.get("id"));
    let identifiers: Vec<(String, String)> = identifiers(root)
        .into_iter()
        .filter_map(|n| Some((text(n.get("system"))?, text(n.get("value"))?)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let patient = kind == write::kinds().patient;
    let spellings: Vec<String> =
        full_url.into_iter().chain(own_id.as_ref().map(|id| format!("{name}/{id}"))).collect();
    let identity = identifiers.first().cloned().or_else(|| Some(("urn:sluis:source-id".to_owned(), own_id?)));
    let Some((system, value)) = identity else { return Err(vec![prepare::identity_missing()]) };
    let subject = if patient {
        let bsn = identifiers.iter().find(|(system, _)| system == SYSTEM_BSN).map(|(_, value)| value.clone());
        let local = identifiers.iter().filter(|(system, _)| system != SYSTEM_BSN).cloned().collect();
        Some(Subject { bsn, local, reference: spellings.last().cloned() })
    } else {
        let reference = subject_element(name).and_then(|element| text(root.get(element)?.get("reference")));
        reference.map(|reference| Subject { bsn: None, local: Vec::new(), reference: Some(reference) })
    };
    Ok(Ready {
        kind,
        id: (!patient).then(|| space.id(name, &system, &value)),
        withdrawn: prepare::is_withdrawn(root),
        source_time: text(root.get("meta").and_then(|meta| meta.get("lastUpdated"))),
        doc: Arc::new(doc),
        subject,
        subject_at: Vec::new(),
        spellings,
        left: Vec::new(),
        replaced_by: None,
    })
}

/// Business identifiers: `identifier` is a list in most types, a single value in some (FHIR R4 datatypes.html#Identifier).
fn identifiers(root: Node<'_>) -> Vec<Node<'_>> {
    match root.get("identifier") {
        None => Vec::new(),
        Some(node) if node.get("value").is_some() => vec![node],
        Some(node) => node.items().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Result<Vec<Prepared>, Box<Note>> {
        prepared(
            if text.starts_with('<') { Notation::R4Xml } else { Notation::R4 },
            text.as_bytes(),
            &Ura::parse("12345678").unwrap(),
        )
    }

    const WEIGHT: &str = r#"{"resourceType":"Observation","id":"w","identifier":[{"system":"urn:x","value":"1"}],"status":"final","code":{"text":"w"},"subject":{"reference":"Patient/40bb"}}"#;

    #[test]
    fn a_single_resource_is_one_unit() {
        let units = units(WEIGHT).unwrap();
        let ready = units[0].ready.as_ref().unwrap();
        assert_eq!(ready.spellings, ["Observation/w"]);
        assert_eq!(ready.subject.as_ref().unwrap().reference.as_deref(), Some("Patient/40bb"));
    }

    #[test]
    fn xml_gives_the_unit_its_json_gives() {
        let read = |text: &str| Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let in_xml = xml::write(r4(), read(WEIGHT).root(), true).unwrap();
        let (from_xml, from_json) = (units(&in_xml).unwrap(), units(WEIGHT).unwrap());
        let (a, b) = (from_xml[0].ready.as_ref().unwrap(), from_json[0].ready.as_ref().unwrap());
        assert_eq!((&a.spellings, &a.id), (&b.spellings, &b.id));
        assert_eq!(a.doc.root().raw().replace(' ', ""), b.doc.root().raw().replace(' ', ""));
        assert!(from_xml[0].spans.is_empty());
        let note = units("<Observation xmlns=\"http://hl7.org/fhir\">\n<x/></Observation>").unwrap_err();
        assert_eq!((note.code.as_str(), note.line, note.column), ("xml-malformed", 2, 1));
    }

    #[test]
    fn entries_know_their_place_and_doubles_are_kept() {
        let other = WEIGHT.replace("final", "amended");
        let text = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{WEIGHT}}},{{"resource":{other}}},{{"resource":{{"resourceType":"Observation"}}}}]}}"#
        );
        let units = units(&text).unwrap();
        assert_eq!(units.iter().filter(|u| u.ready.is_some()).count(), 0);
        assert!(units[0].notes.iter().any(|n| n.code == "identity-doubled"));
        assert!(units[2].notes.iter().any(|n| n.code == "invalid" && n.path == "Bundle.entry[2].resource"));
        let (start, end) = units[1].spans[0];
        assert_eq!(&text[start as usize..end as usize], other);
    }

    #[test]
    fn a_transaction_belongs_elsewhere_and_broken_json_says_where() {
        assert_eq!(
            units(r#"{"resourceType":"Bundle","type":"transaction"}"#).unwrap_err().code,
            "bundle-type"
        );
        assert_eq!(
            units(r#"{"resourceType":"Bundle","type":"collection"}"#).unwrap_err().code,
            "nothing-mapped"
        );
        let note = units("{\n\"a\":}").unwrap_err();
        assert_eq!((note.severity.as_str(), note.line, note.column), ("fatal", 2, 5));
    }
}
