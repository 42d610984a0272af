//! A StructureDefinition, in JSON or XML -> [`Definition`].

use std::sync::Arc;

use super::{Absent, Definition, Element, Form, Xml, XmlName};
use crate::folder::Diagnostic;
use crate::plan::shape::{FHIR, Kind};
use crate::source::{self, NodeId, Tree, json, xml};

/// Elements of one definition; the largest of FHIR has some 700.
const ELEMENTS_MAX: usize = 10_000;

/// The definitions in a file; profiles give none.
pub(super) fn definitions(name: &str, bytes: &[u8]) -> Result<Vec<Definition>, Diagnostic> {
    let limits = source::Limits::default();
    let parsed =
        if xml::looks_like_xml(bytes) { xml::parse(bytes, limits) } else { json::parse(bytes, limits) };
    if let Some(fatal) =
        parsed.findings.iter().find(|finding| finding.severity >= crate::finding::Severity::Error)
    {
        return Err(Diagnostic::new(name, fatal.line, fatal.text.clone(), fatal.remedy.clone()));
    }
    let tree = &parsed.tree;
    let root = tree.root();
    let of_type = |node: NodeId| match text(tree, node, "resourceType") {
        Some(of_type) => of_type.to_owned(),
        None => tree.name(node).to_owned(),
    };
    let found: Vec<NodeId> = match of_type(root).as_str() {
        "StructureDefinition" => vec![root],
        "Bundle" => tree
            .named(root, "entry")
            .filter_map(|entry| tree.named(entry, "resource").next())
            .filter(|resource| of_type(*resource) == "StructureDefinition")
            .collect(),
        other => {
            let message = format!("{other} is no StructureDefinition");
            return Err(Diagnostic::new(name, 1, message, "give definitions, or Bundles of them"));
        }
    };
    found.into_iter().filter_map(|node| definition(name, tree, node).transpose()).collect()
}

fn definition(name: &str, tree: &Tree, node: NodeId) -> Result<Option<Definition>, Diagnostic> {
    let wrong = |message: &str, remedy: &str| Diagnostic::new(name, 1, message, remedy);
    let Some(url) = text(tree, node, "url") else {
        return Err(wrong("the definition has no url", "give it its canonical"));
    };
    let kind = match text(tree, node, "kind") {
        Some("resource") => Kind::Resource,
        Some("complex-type") => Kind::Complex,
        Some("primitive-type") => Kind::Primitive,
        Some("logical") => Kind::Logical,
        _ => {
            return Err(wrong(
                "`kind` is missing or unknown",
                "say resource, complex-type, primitive-type or logical",
            ));
        }
    };
    // A logical model that narrows another is a type of its own (`ST` of CDA is an `ED`).
    if text(tree, node, "derivation") == Some("constraint") && kind != Kind::Logical {
        return Ok(None);
    }
    let version = match (kind, url.strip_prefix(FHIR), text(tree, node, "fhirVersion")) {
        (Kind::Logical, ..) | (_, None, _) | (_, _, None) => None,
        (_, Some(_), Some(version)) => version.rsplit_once('.').map(|(minor, _)| minor.to_owned()),
    };
    let versioned = |url: &str| match (&version, url.strip_prefix(FHIR)) {
        (Some(version), Some(rest)) => format!("{FHIR}{version}/{rest}"),
        _ => url.to_owned(),
    };
    let (list, complete) = match tree.named(node, "snapshot").next() {
        Some(snapshot) => (snapshot, true),
        None => match tree.named(node, "differential").next() {
            Some(differential) => (differential, false),
            None => return Err(wrong("neither snapshot nor differential", "give one of them")),
        },
    };
    let rows: Vec<NodeId> = tree.named(list, "element").collect();
    if rows.len() > ELEMENTS_MAX {
        return Err(wrong("too many elements", "split the model"));
    }
    let root = rows.first().and_then(|row| text(tree, *row, "path")).unwrap_or_default();
    let type_name = if root.is_empty() { text(tree, node, "type").unwrap_or_default() } else { root };
    let mut elements: Vec<Element> = Vec::new();
    for row in rows {
        let Some(path) = text(tree, row, "path") else { continue };
        // Slices (R3 `sliceName`, R4 also `:` in the id) constrain an element that is there already.
        if !path.contains('.') || tree.named(row, "sliceName").next().is_some() {
            continue;
        }
        if (kind == Kind::Primitive && path.ends_with(".value")) || text(tree, row, "max") == Some("0") {
            continue;
        }
        elements.push(element(tree, row, path, &versioned));
    }
    let is_abstract = text(tree, node, "abstract") == Some("true");
    let any = kind == Kind::Resource && is_abstract;
    Ok(Some(Definition {
        url: versioned(url),
        name: type_name.to_owned(),
        kind: if any { Kind::AnyResource } else { kind },
        base: text(tree, node, "baseDefinition").map(versioned),
        complete,
        namespace: extension(tree, node, "xml-namespace").or_else(|| extension(tree, node, "namespace")),
        elements,
    }))
}

fn element(tree: &Tree, row: NodeId, path: &str, versioned: &dyn Fn(&str) -> String) -> Element {
    let mut types: Vec<String> = Vec::new();
    for type_ in tree.named(row, "type") {
        // R4 names the system type of `id` and the like; the FHIR type stands in an extension, or is the same word in lower case.
        let Some(code) = text(tree, type_, "code") else { continue };
        let code = match code.strip_prefix("http://hl7.org/fhirpath/System.") {
            Some(system) => system.to_lowercase(),
            None => code.to_owned(),
        };
        let profile = text(tree, type_, "profile").filter(|_| !code.contains(':') && !is_fhir_type(&code));
        let named = match profile {
            Some(profile) => profile.to_owned(),
            None if code.contains(':') => code,
            None => versioned(&format!("{FHIR}StructureDefinition/{code}")),
        };
        if !types.contains(&named) {
            types.push(named);
        }
    }
    Element {
        path: path.trim_end_matches("[x]").to_owned(),
        many: !matches!(text(tree, row, "max"), Some("0" | "1")),
        choice: path.ends_with("[x]"),
        required: text(tree, row, "min").is_some_and(|min| min != "0"),
        default: absent(tree, row),
        xml: xml(tree, row),
        types,
        same_as: text(tree, row, "contentReference")
            .and_then(|reference| reference.split('#').nth(1))
            .map(str::to_owned),
    }
}

fn xml(tree: &Tree, row: NodeId) -> Xml {
    let has = |code: &str| tree.named(row, "representation").any(|node| tree.text(node) == Some(code));
    let form = match () {
        () if has("xmlAttr") => Form::Attribute,
        () if has("xmlText") => Form::Text,
        () => Form::Element,
    };
    let namespace = extension(tree, row, "xml-namespace").or_else(|| extension(tree, row, "namespace"));
    Xml { form, typed: has("typeAttr"), name: XmlName { name: extension(tree, row, "xml-name"), namespace } }
}

/// The value of an extension that says something of XML: the tools' of that name, or the older one of elements.
fn extension(tree: &Tree, node: NodeId, name: &str) -> Option<Arc<str>> {
    let urls = [
        format!("{FHIR}tools/StructureDefinition/{name}"),
        format!("{FHIR}StructureDefinition/elementdefinition-{name}"),
    ];
    let found = tree.named(node, "extension").find(|extension| {
        text(tree, *extension, "url").is_some_and(|url| urls.iter().any(|known| known == url))
    })?;
    let value = tree.children(found).find(|child| tree.name(*child).starts_with("value"))?;
    tree.text(value).map(Arc::from)
}

/// `defaultValue[x]` of a simple type; a default of several parts no expression could compare.
fn absent(tree: &Tree, row: NodeId) -> Option<Absent> {
    let node = tree.children(row).find(|child| tree.name(*child).starts_with("defaultValue"))?;
    let value = tree.text(node)?;
    Some(match tree.name(node).trim_start_matches("defaultValue") {
        "Boolean" => Absent::Boolean(value == "true"),
        "Integer" | "Decimal" | "PositiveInt" | "UnsignedInt" => Absent::Number(value.into()),
        _ => Absent::Text(value.into()),
    })
}

/// A type that a profile narrows, rather than a name that only the profile's canonical tells apart.
fn is_fhir_type(code: &str) -> bool {
    crate::plan::shape::shapes().type_id(code).is_some()
}

fn text<'t>(tree: &'t Tree, node: NodeId, name: &str) -> Option<&'t str> {
    tree.named(node, name).next().and_then(|child| tree.text(child))
}
