//! FHIR in XML -> the tree its JSON form gives, so that one map reads both.
//!
//! Differences of the two forms are undone here: a primitive's `value` attribute becomes the element's value, its `id` and
//! extensions move to `_name`, `<contained><Patient>` becomes `resourceType`, the narrative becomes one text.
//! Where the XML alone does not say what an element is (a primitive with an extension only), the R4 definitions do; most
//! STU3 elements have the same names and types. Sources: FHIR R4 xml.html, json.html#primitive.

use roxmltree::Node;
use sluis_conformance::definitions::{self, Structure, StructureKind};

use super::{Counts, FHIR, Filled, Filler};
use crate::source::{NodeId, Value};

const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// Fills the node made for a document's root resource.
pub(super) fn resource(filler: &mut Filler<'_>, element: Node<'_, '_>, node: NodeId) -> Filled {
    typed(filler, element, node, 0)?;
    let read = filler.tree.named(node, "resourceType").next();
    if let Some(read) = read {
        filler.coverage.mark(read);
    }
    Ok(())
}

/// A resource: its type as a member, then its elements.
fn typed(filler: &mut Filler<'_>, element: Node<'_, '_>, node: NodeId, depth: u32) -> Filled {
    let type_name = element.tag_name().name();
    let start = element.range().start + 1;
    let prefix = filler.text.text.get(start..).map_or(0, |rest| {
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '>')).unwrap_or(0);
        rest.get(..end).and_then(|name| name.find(':')).map_or(0, |colon| colon + 1)
    });
    let range = start + prefix..start + prefix + type_name.len();
    let value = filler.text_value(type_name);
    filler.leaf(node, "resourceType", value, range, &mut Counts::default());
    members(filler, element, node, definitions::r4().structure(type_name), depth)
}

/// Attributes and child elements of a complex element.
fn members(
    filler: &mut Filler<'_>,
    element: Node<'_, '_>,
    node: NodeId,
    structure: Option<&Structure>,
    depth: u32,
) -> Filled {
    filler.check(element, depth)?;
    let r4 = definitions::r4();
    let mut counts = Counts::default();
    for attribute in element.attributes() {
        // `value` is the primitive's own, taken by the caller.
        if attribute.namespace().is_none() && attribute.name() == "value" {
            continue;
        }
        let name = super::name(Some(FHIR), attribute.namespace(), attribute.name(), true);
        let value = filler.text_value(attribute.value());
        let leaf = filler.leaf(node, &name, value, attribute.range_value(), &mut counts);
        if name == "xsi_schemaLocation" {
            filler.coverage.mark(leaf);
        }
    }
    for child in element.children() {
        if let Some(text) = child.text().filter(|text| child.is_text() && !text.trim().is_empty()) {
            // No FHIR element has text of its own; what is there is told, not lost.
            let value = filler.text_value(text);
            filler.leaf(node, "xmlText", value, child.range(), &mut counts);
        }
        if !child.is_element() {
            continue;
        }
        let tag = child.tag_name();
        if tag.namespace() == Some(XHTML) {
            let raw = filler.text.text.get(child.range()).unwrap_or_default();
            let value = filler.text_value(raw);
            filler.leaf(node, tag.name(), value, child.range(), &mut counts);
            continue;
        }
        let name = super::name(Some(FHIR), tag.namespace(), tag.name(), false);
        let found = structure.and_then(|structure| structure.element(&name));
        let kind = found.as_ref().map(|found| r4.structure_at(found.type_.structure));
        if let Some(inner) = contained(child, kind) {
            let below = filler.leaf(node, &name, Value::None, child.range(), &mut counts);
            typed(filler, inner, below, depth + 1)?;
        } else if child.has_attribute("value") || kind.is_some_and(|k| k.kind == StructureKind::Primitive) {
            primitive(filler, child, (node, &name), kind, depth, &mut counts)?;
        } else {
            let below = filler.leaf(node, &name, Value::None, child.range(), &mut counts);
            members(filler, child, below, kind, depth + 1)?;
        }
    }
    Ok(())
}

/// The resource in an element that holds one.
fn contained<'a, 'i>(element: Node<'a, 'i>, kind: Option<&Structure>) -> Option<Node<'a, 'i>> {
    let inner = element.first_element_child()?;
    let resource = inner.tag_name().name().starts_with(|first: char| first.is_ascii_uppercase());
    let holder = kind.is_none_or(|kind| kind.kind == StructureKind::AbstractResource);
    (resource && holder).then_some(inner)
}

/// `<status value="final" id="a"><extension/></status>` -> `status` and `_status`, of one ordinal.
fn primitive(
    filler: &mut Filler<'_>,
    element: Node<'_, '_>,
    (parent, name): (NodeId, &str),
    kind: Option<&Structure>,
    depth: u32,
    counts: &mut Counts,
) -> Filled {
    let symbol = filler.tree.intern(name);
    let ordinal = counts.next(symbol);
    if let Some(attribute) = element.attribute_node("value") {
        let value = typed_value(filler, attribute.value(), kind.map(|kind| kind.path));
        let span = filler.text.span(attribute.range_value());
        filler.tree.push_ordinal(parent, symbol, value, span, ordinal);
    }
    let more = element.attributes().any(|attribute| attribute.name() != "value");
    let said = |node: Node<'_, '_>| {
        node.is_element() || node.is_text() && node.text().is_some_and(|text| !text.trim().is_empty())
    };
    if more || element.children().any(said) {
        let symbol = filler.tree.intern(&format!("_{name}"));
        let span = filler.text.span(element.range());
        let below = filler.tree.push_ordinal(parent, symbol, Value::None, span, ordinal);
        members(filler, element, below, definitions::r4().structure("Element"), depth + 1)?;
    }
    Ok(())
}

/// The JSON kind of a primitive; of an unknown type, only the two words for truth are told apart (their text is the same).
fn typed_value(filler: &mut Filler<'_>, text: &str, type_name: Option<&str>) -> Value {
    match (type_name, text) {
        (None | Some("boolean"), "true") => Value::Boolean(true),
        (None | Some("boolean"), "false") => Value::Boolean(false),
        (Some("decimal" | "integer" | "positiveInt" | "unsignedInt"), text)
            if crate::plan::is_json_number(text) =>
        {
            Value::Number(filler.tree.keep(text))
        }
        _ => filler.text_value(text),
    }
}
