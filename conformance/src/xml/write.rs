//! The tree to XML, element by element in the order of the definition.

use std::borrow::Cow;

use super::error::{XmlWriteError, XmlWriteErrorKind as K};
use super::{DEPTH_MAX, FHIR, is_attribute, is_xml, narrative};
use crate::definitions::{Definitions, Found, Structure, StructureKind};
use crate::json::{Kind, Node};

pub(super) fn write(
    definitions: &Definitions,
    root: Node<'_>,
    pretty: bool,
) -> Result<String, XmlWriteError> {
    let out = String::with_capacity(root.span().len() + root.span().len() / 4);
    let mut writing = Writing { definitions, out, path: Vec::new(), depth: 0, pretty };
    writing.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    match writing.resource(root) {
        Ok(()) => {
            if pretty {
                writing.out.push('\n');
            }
            Ok(writing.out)
        }
        Err(kind) => Err(XmlWriteError { kind, path: writing.path.join(".") }),
    }
}

struct Writing<'d> {
    definitions: &'d Definitions,
    out: String,
    path: Vec<String>,
    depth: usize,
    pretty: bool,
}

/// A property and the one with `_` in front, which are one element.
struct Part<'d, 'n> {
    found: Found<'d>,
    name: Cow<'n, str>,
    value: Option<Node<'n>>,
    beside: Option<Node<'n>>,
}

impl<'d> Writing<'d> {
    fn resource(&mut self, node: Node<'_>) -> Result<(), K> {
        let name = node.get("resourceType").and_then(Node::as_str).ok_or(K::Structure)?;
        let type_ = self.definitions.resource_type(&name).ok_or(K::Structure)?;
        let at_root = self.path.is_empty();
        if at_root {
            self.path.push(name.clone().into_owned());
        }
        self.line();
        self.out.push('<');
        self.out.push_str(&name);
        if at_root {
            self.out.push_str(" xmlns=\"");
            self.out.push_str(FHIR);
            self.out.push('"');
        }
        self.content(self.definitions.resource_structure(type_), node, &name)
    }

    /// The rest of a tag that is begun, the children, and the end tag.
    fn content(&mut self, structure: &'d Structure, node: Node<'_>, name: &str) -> Result<(), K> {
        let parts = self.parts(structure, node)?;
        let (attributes, elements): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| is_attribute(structure, part.found.element));
        for part in attributes {
            let text = part.value.filter(|_| part.beside.is_none()).and_then(Node::as_str);
            self.attribute(&part.name, &text.ok_or(K::Structure)?)?;
        }
        if elements.is_empty() {
            self.out.push_str("/>");
            return Ok(());
        }
        self.out.push('>');
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(K::TooDeep);
        }
        for part in elements {
            self.part(&part)?;
        }
        self.depth -= 1;
        self.line();
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        Ok(())
    }

    /// The properties of an object, in the order of the definition.
    fn parts<'n>(&self, structure: &'d Structure, node: Node<'n>) -> Result<Vec<Part<'d, 'n>>, K> {
        if node.kind() != Kind::Object {
            return Err(K::Structure);
        }
        let mut parts: Vec<Part<'d, 'n>> = Vec::with_capacity(node.len());
        for (name, value) in node.members() {
            if name == "resourceType" && structure.kind == StructureKind::Resource {
                continue;
            }
            let (plain, is_beside) = match name.strip_prefix('_') {
                Some(plain) => (Cow::Owned(plain.to_owned()), true),
                None => (name, false),
            };
            let found = structure.element(&plain).ok_or(K::Structure)?;
            let same = parts.iter_mut().find(|part| part.found.index == found.index);
            match same {
                // Two types of one choice cannot both be written.
                Some(part) if part.name != plain => return Err(K::Structure),
                Some(part) if is_beside => part.beside = Some(value),
                Some(part) => part.value = Some(value),
                None if is_beside => {
                    parts.push(Part { found, name: plain, value: None, beside: Some(value) })
                }
                None => parts.push(Part { found, name: plain, value: Some(value), beside: None }),
            }
        }
        parts.sort_by_key(|part| part.found.index);
        Ok(parts)
    }

    fn part(&mut self, part: &Part<'d, '_>) -> Result<(), K> {
        if !part.found.element.is_list() {
            return self.element(part, part.name.clone().into_owned(), part.value, part.beside);
        }
        let items =
            |list: Option<Node<'_>>| list.is_none_or(|list| list.kind() == Kind::Array && !list.is_empty());
        if !items(part.value) || !items(part.beside) {
            return Err(K::Structure);
        }
        let (mut values, mut besides) = (part.value.map(Node::items), part.beside.map(Node::items));
        let count = [part.value, part.beside].into_iter().flatten().map(Node::len).max().unwrap_or(0);
        for nth in 0..count {
            let something = |node: &Node<'_>| node.kind() != Kind::Null;
            let value = values.as_mut().and_then(Iterator::next).filter(something);
            let beside = besides.as_mut().and_then(Iterator::next).filter(something);
            self.element(part, format!("{}[{nth}]", part.name), value, beside)?;
        }
        Ok(())
    }

    /// One occurrence of an element.
    fn element(
        &mut self,
        part: &Part<'d, '_>,
        label: String,
        value: Option<Node<'_>>,
        beside: Option<Node<'_>>,
    ) -> Result<(), K> {
        self.path.push(label);
        let definitions = self.definitions;
        let structure = definitions.structure_at(part.found.type_.structure);
        match structure.kind {
            StructureKind::Primitive => self.primitive(part.found.type_.code, &part.name, value, beside)?,
            StructureKind::AbstractResource => {
                let node = value.filter(|_| beside.is_none()).ok_or(K::Structure)?;
                self.line();
                self.open(&part.name);
                self.out.push('>');
                self.depth += 1;
                self.resource(node)?;
                self.depth -= 1;
                self.line();
                self.out.push_str("</");
                self.out.push_str(&part.name);
                self.out.push('>');
            }
            _ => {
                let node = value.filter(|_| beside.is_none()).ok_or(K::Structure)?;
                self.line();
                self.open(&part.name);
                self.content(structure, node, &part.name)?;
            }
        }
        self.path.pop();
        Ok(())
    }

    fn primitive(
        &mut self,
        type_: &str,
        name: &str,
        value: Option<Node<'_>>,
        beside: Option<Node<'_>>,
    ) -> Result<(), K> {
        let text = match value {
            None => None,
            Some(node) => {
                let expected = match type_ {
                    "boolean" => Kind::Bool,
                    "integer" | "unsignedInt" | "positiveInt" | "decimal" => Kind::Number,
                    _ => Kind::String,
                };
                if node.kind() != expected {
                    return Err(K::Structure);
                }
                Some(node.as_str().unwrap_or(Cow::Borrowed(node.raw())))
            }
        };
        self.line();
        if type_ == "xhtml" {
            let div = text.filter(|_| beside.is_none()).ok_or(K::Structure)?;
            if !div.chars().all(is_xml) {
                return Err(K::Character);
            }
            narrative::check(div.trim(), DEPTH_MAX).map_err(|_| K::Narrative)?;
            // Markup's line ends are line feeds, however they are written (XML 1.0 section 2.11).
            self.out.push_str(&div.trim().replace("\r\n", "\n").replace('\r', "\n"));
            return Ok(());
        }
        self.open(name);
        if let Some(id) = beside.and_then(|beside| beside.get("id")) {
            self.attribute("id", &id.as_str().ok_or(K::Structure)?)?;
        }
        if let Some(text) = &text {
            self.attribute("value", text)?;
        }
        match (beside.filter(|beside| beside.len() > usize::from(beside.get("id").is_some())), text) {
            (Some(beside), _) => {
                let element = self.definitions.structure("Element").ok_or(K::Structure)?;
                let parts = self.parts(element, beside)?;
                self.out.push('>');
                self.depth += 1;
                for part in parts.iter().filter(|part| !is_attribute(element, part.found.element)) {
                    self.part(part)?;
                }
                self.depth -= 1;
                self.line();
                self.out.push_str("</");
                self.out.push_str(name);
                self.out.push('>');
            }
            (None, None) if beside.is_none() => return Err(K::Structure),
            (None, _) => self.out.push_str("/>"),
        }
        Ok(())
    }

    fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
    }

    fn attribute(&mut self, name: &str, value: &str) -> Result<(), K> {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        for c in value.chars() {
            match c {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                // As they are, these would be read as spaces (XML 1.0 section 3.3.3).
                '\t' => self.out.push_str("&#9;"),
                '\n' => self.out.push_str("&#10;"),
                '\r' => self.out.push_str("&#13;"),
                c if is_xml(c) => self.out.push(c),
                _ => return Err(K::Character),
            }
        }
        self.out.push('"');
        Ok(())
    }

    fn line(&mut self) {
        if self.pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.depth));
        }
    }
}
