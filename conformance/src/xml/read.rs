//! XML to the tree: one pass over the tokens, one frame for each open element, no recursion.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, XmlVersion};

use super::error::{XmlError, XmlErrorKind as K};
use super::{DEPTH_MAX, FHIR, XHTML, is_attribute, is_xml, narrative};
use crate::definitions::{Definitions, Element, ElementType, Structure, StructureKind};
use crate::json::{Doc, JsonErrorKind, JsonLimits, line_column, write_string};
use crate::validate::nearest;

const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

pub(super) fn read(definitions: &Definitions, text: &[u8], limits: JsonLimits) -> Result<Doc, XmlError> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        fault(std::str::from_utf8(before).unwrap_or_default(), error.valid_up_to(), K::NotUtf8, String::new())
    })?;
    if let Some((at, _)) = text.char_indices().find(|(_, c)| !is_xml(*c)) {
        return Err(fault(text, at, K::Character, String::new()));
    }
    let depth_max = DEPTH_MAX.min(limits.depth_max as usize);
    let mut reading =
        Reading { definitions, frames: Vec::new(), outs: vec![String::with_capacity(text.len())], depth_max };
    let mut at = 0;
    let done = reading.document(text, limits.nodes_max, &mut at);
    done.map_err(|kind| fault(text, at, kind, reading.path()))?;
    let json = reading.outs.pop().unwrap_or_default();
    // Each list is one more level in JSON; the limit holds for the tree, whichever notation it came in.
    let at_end = text.len();
    Doc::parse(json.into_bytes(), limits).map(Doc::converted).map_err(|error| {
        let kind = match error.kind {
            JsonErrorKind::TooManyNodes { nodes_max } => K::TooManyNodes { nodes_max },
            JsonErrorKind::TooDeep { depth_max } => K::TooDeep { depth_max: depth_max as usize },
            other => K::Syntax(format!("{other:?}")),
        };
        fault(text, at_end, kind, error.path)
    })
}

fn fault(text: &str, offset: usize, kind: K, path: String) -> XmlError {
    let (line, column) = line_column(text, offset);
    XmlError { kind, offset, line, column, path }
}

/// What an open element holds.
enum Holds<'d> {
    /// Elements of this structure, written as properties.
    Elements(&'d Structure),
    /// Exactly one resource.
    Resource,
}

/// An element that is not closed yet.
struct Frame<'d> {
    label: String,
    holds: Holds<'d>,
    is_empty: bool,
    /// The child element read last, not yet closed as a property.
    group: Option<Group<'d>>,
    /// Of a primitive: its value.
    primitive: Option<Option<String>>,
}

/// The occurrences of one child element, which make one property.
struct Group<'d> {
    index: usize,
    element: &'d Element,
    name: String,
    count: usize,
    /// Values of a primitive and, beside each, its id and extensions.
    primitives: Vec<(Option<String>, Option<String>)>,
    is_primitive: bool,
}

struct Reading<'d> {
    definitions: &'d Definitions,
    frames: Vec<Frame<'d>>,
    /// Where properties are written; one more for each open primitive, whose extensions are known before its place is.
    outs: Vec<String>,
    depth_max: usize,
}

/// Attributes an element can have here.
#[derive(Default)]
struct Attributes {
    id: Option<String>,
    url: Option<String>,
    value: Option<String>,
}

impl<'d> Reading<'d> {
    /// `at` is left where the fault is.
    fn document(&mut self, text: &str, nodes_max: u32, at: &mut usize) -> Result<(), K> {
        let mut reader = NsReader::from_str(text);
        reader.config_mut().check_comments = true;
        let mut nodes = 0_u32;
        let mut has_root = false;
        loop {
            *at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let event = reader.read_event().map_err(|error| {
                *at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                K::Syntax(error.to_string())
            })?;
            match event {
                Event::Start(tag) | Event::Empty(tag) if has_root && self.frames.is_empty() => {
                    let _ = tag;
                    return Err(K::Syntax("more than one root element".to_owned()));
                }
                Event::Start(tag) => {
                    has_root = true;
                    nodes = count(&tag, nodes, nodes_max)?;
                    if self.is_narrative(&tag) {
                        let end = reader.read_to_end(tag.name()).map_err(|e| K::Syntax(e.to_string()))?.end;
                        let end = usize::try_from(end).unwrap_or(usize::MAX);
                        // The span ends where the end tag begins.
                        let close = text.get(end..).and_then(|rest| rest.find('>')).unwrap_or_default();
                        self.narrative(&reader, &tag, text.get(*at..=end + close).unwrap_or_default())?;
                    } else {
                        self.open(&reader, &tag)?;
                    }
                }
                Event::Empty(tag) => {
                    has_root = true;
                    nodes = count(&tag, nodes, nodes_max)?;
                    if self.is_narrative(&tag) {
                        let end = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
                        self.narrative(&reader, &tag, text.get(*at..end).unwrap_or_default())?;
                    } else {
                        self.open(&reader, &tag)?;
                        self.close()?;
                    }
                }
                Event::End(_) => self.close()?,
                Event::Text(text) if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() => {}
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if self.frames.is_empty() => {
                    return Err(K::Syntax("text outside the root element".to_owned()));
                }
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => return Err(K::Text),
                Event::Comment(_) | Event::PI(_) => {}
                Event::DocType(_) => return Err(K::DocType),
                Event::Decl(declaration) => {
                    if declaration.version().is_ok_and(|version| version != "1.0") {
                        return Err(K::Syntax("XML 1.0 is read".to_owned()));
                    }
                    match declaration.encoding() {
                        Some(Ok(name)) if name.eq_ignore_ascii_case("utf-8") => {}
                        None => {}
                        _ => return Err(K::NotUtf8),
                    }
                }
                Event::Eof => break,
            }
        }
        if has_root && self.frames.is_empty() {
            Ok(())
        } else {
            Err(K::Syntax("the text ends inside an element".to_owned()))
        }
    }

    fn is_narrative(&self, tag: &BytesStart<'_>) -> bool {
        let Some(Frame { holds: Holds::Elements(structure), .. }) = self.frames.last() else { return false };
        structure.path == "Narrative" && tag.local_name().as_ref() == "div"
    }

    fn narrative(&mut self, reader: &NsReader<&[u8]>, tag: &BytesStart<'_>, raw: &str) -> Result<(), K> {
        // XML 1.0 section 2.11: line ends are read as one line feed.
        let mut div = raw.replace("\r\n", "\n").replace('\r', "\n");
        let declares = tag.attributes().flatten().any(|attribute| attribute.key.0 == "xmlns");
        let in_xhtml =
            matches!(reader.resolver().resolve_element(tag.name()).0, ResolveResult::Bound(Namespace(XHTML)));
        if !declares && in_xhtml && tag.name().prefix().is_none() {
            div.insert_str("<div".len(), &format!(" xmlns=\"{XHTML}\""));
        }
        narrative::check(&div, self.depth_max.saturating_sub(self.frames.len())).map_err(K::Narrative)?;
        let mut json = String::new();
        write_string(&div, &mut json);
        self.child("div")?;
        self.keep(Some(json), None);
        Ok(())
    }

    fn open(&mut self, reader: &NsReader<&[u8]>, tag: &BytesStart<'_>) -> Result<(), K> {
        if self.frames.len() >= self.depth_max {
            return Err(K::TooDeep { depth_max: self.depth_max });
        }
        let (space, local) = reader.resolver().resolve_element(tag.name());
        if !matches!(space, ResolveResult::Bound(Namespace(FHIR))) {
            return Err(K::Namespace);
        }
        let name = local.as_ref();
        let attributes = attributes(reader, tag)?;
        let Some(frame) = self.frames.last_mut() else { return self.resource(name, &attributes) };
        if matches!(frame.holds, Holds::Resource) {
            if !std::mem::replace(&mut frame.is_empty, false) {
                return Err(K::OneResource);
            }
            return self.resource(name, &attributes);
        }
        let (type_, label) = self.child(name)?;
        let structure = self.definitions.structure_at(type_.structure);
        if structure.kind == StructureKind::Primitive {
            return self.primitive(type_, label, attributes);
        }
        if attributes.value.is_some() {
            return Err(K::Attribute);
        }
        self.place();
        if structure.kind == StructureKind::AbstractResource {
            refuse(&attributes)?;
            self.push(label, Holds::Resource, None);
            return Ok(());
        }
        self.out().push('{');
        self.push(label, Holds::Elements(structure), None);
        self.attributes(structure, attributes)
    }

    fn resource(&mut self, name: &str, attributes: &Attributes) -> Result<(), K> {
        refuse(attributes)?;
        let type_ = self.definitions.resource_type(name).ok_or(K::Resource)?;
        let label = if self.frames.is_empty() { name.to_owned() } else { String::new() };
        self.out().push_str("{\"resourceType\":");
        write_string(name, self.out());
        self.push(label, Holds::Elements(self.definitions.resource_structure(type_)), None);
        if let Some(frame) = self.frames.last_mut() {
            frame.is_empty = false;
        }
        Ok(())
    }

    /// A primitive: its value waits until its extensions are read.
    fn primitive(&mut self, type_: &ElementType, label: String, attributes: Attributes) -> Result<(), K> {
        let value = attributes.value.as_deref().map(|value| literal(type_.code, value)).transpose()?;
        let element = self.definitions.structure("Element").ok_or(K::Attribute)?;
        self.outs.push(String::new());
        self.push(label, Holds::Elements(element), Some(value));
        self.attributes(element, Attributes { value: None, ..attributes })
    }

    fn push(&mut self, label: String, holds: Holds<'d>, primitive: Option<Option<String>>) {
        self.frames.push(Frame { label, holds, is_empty: true, group: None, primitive });
    }

    fn attributes(&mut self, structure: &Structure, attributes: Attributes) -> Result<(), K> {
        for (name, value) in [("id", attributes.id), ("url", attributes.url)] {
            let Some(value) = value else { continue };
            if !structure.element(name).is_some_and(|found| is_attribute(structure, found.element)) {
                return Err(K::Attribute);
            }
            self.member(name);
            write_string(&value, self.out());
        }
        Ok(())
    }

    /// Notes the next child element of the innermost open one; gives its type and its label in paths.
    fn child(&mut self, name: &str) -> Result<(&'d ElementType, String), K> {
        let Some(Frame { holds: Holds::Elements(structure), group, .. }) = self.frames.last() else {
            return Err(K::OneResource);
        };
        let structure: &'d Structure = structure;
        let Some(found) = structure.element(name) else {
            let remedy = nearest(name, structure.property_names(), "leave it out or send it as an extension");
            return Err(K::Unknown { remedy });
        };
        if is_attribute(structure, found.element) {
            return Err(K::IsAttribute);
        }
        let is_next = match group {
            Some(group) if group.index == found.index => {
                if group.name != name || !found.element.is_list() {
                    return Err(K::Repeated);
                }
                false
            }
            Some(group) if group.index > found.index => return Err(K::Order),
            _ => true,
        };
        if is_next {
            self.close_group();
        }
        let is_primitive =
            self.definitions.structure_at(found.type_.structure).kind == StructureKind::Primitive;
        let Some(frame) = self.frames.last_mut() else { return Err(K::OneResource) };
        let group = frame.group.get_or_insert_with(|| Group {
            index: found.index,
            element: found.element,
            name: name.to_owned(),
            count: 0,
            primitives: Vec::new(),
            is_primitive,
        });
        group.count += 1;
        let label =
            if found.element.is_list() { format!("{name}[{}]", group.count - 1) } else { name.to_owned() };
        Ok((found.type_, label))
    }

    /// Writes what stands before an object that is a child: property name and bracket, or a comma.
    fn place(&mut self) {
        let Some(group) = self.frames.last().and_then(|frame| frame.group.as_ref()) else { return };
        let (name, is_list, count) = (group.name.clone(), group.element.is_list(), group.count);
        if count > 1 {
            self.out().push(',');
            return;
        }
        self.member(&name);
        if is_list {
            self.out().push('[');
        }
    }

    fn keep(&mut self, value: Option<String>, beside: Option<String>) {
        if let Some(group) = self.frames.last_mut().and_then(|frame| frame.group.as_mut()) {
            group.primitives.push((value, beside));
        }
    }

    fn close(&mut self) -> Result<(), K> {
        self.close_group();
        let Some(frame) = self.frames.last() else { return Err(K::Syntax("an end tag too many".to_owned())) };
        let is_empty = frame.is_empty;
        if is_empty && matches!(frame.holds, Holds::Resource) {
            return Err(K::OneResource);
        }
        if is_empty && frame.primitive.as_ref().is_none_or(Option::is_none) {
            return Err(K::Empty);
        }
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        match (frame.holds, frame.primitive) {
            (Holds::Resource, _) => {}
            (Holds::Elements(_), None) => self.out().push('}'),
            (Holds::Elements(_), Some(value)) => {
                let beside = self.outs.pop().unwrap_or_default();
                self.keep(value, (!is_empty).then(|| format!("{{{beside}}}")));
            }
        }
        Ok(())
    }

    /// Ends the property of the child element read last.
    fn close_group(&mut self) {
        let Some(group) = self.frames.last_mut().and_then(|frame| frame.group.take()) else { return };
        let is_list = group.element.is_list();
        if !group.is_primitive {
            if is_list {
                self.out().push(']');
            }
            return;
        }
        let (values, beside): (Vec<_>, Vec<_>) = group.primitives.into_iter().unzip();
        for (name, items) in [(group.name.clone(), values), (format!("_{}", group.name), beside)] {
            if items.iter().all(Option::is_none) {
                continue;
            }
            self.member(&name);
            let items: Vec<String> =
                items.into_iter().map(|item| item.unwrap_or_else(|| "null".to_owned())).collect();
            let text = items.join(",");
            self.out().push_str(&if is_list { format!("[{text}]") } else { text });
        }
    }

    fn member(&mut self, name: &str) {
        let is_first =
            self.frames.last_mut().is_none_or(|frame| std::mem::replace(&mut frame.is_empty, false));
        if !is_first {
            self.out().push(',');
        }
        write_string(name, self.out());
        self.out().push(':');
    }

    fn out(&mut self) -> &mut String {
        if self.outs.is_empty() {
            self.outs.push(String::new());
        }
        let last = self.outs.len() - 1;
        &mut self.outs[last]
    }

    fn path(&self) -> String {
        let labels = self.frames.iter().map(|frame| frame.label.as_str()).filter(|label| !label.is_empty());
        labels.collect::<Vec<_>>().join(".")
    }
}

fn count(tag: &BytesStart<'_>, nodes: u32, nodes_max: u32) -> Result<u32, K> {
    let attributes = u32::try_from(tag.attributes().with_checks(false).count()).unwrap_or(u32::MAX);
    let nodes = nodes.saturating_add(1).saturating_add(attributes);
    if nodes > nodes_max { Err(K::TooManyNodes { nodes_max }) } else { Ok(nodes) }
}

fn attributes(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>) -> Result<Attributes, K> {
    let mut found = Attributes::default();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| K::Syntax(error.to_string()))?;
        let key = attribute.key;
        if key.as_namespace_binding().is_some() {
            continue;
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| K::Entity)?;
        if attribute.value.contains('<') {
            return Err(K::Syntax("'<' in an attribute".to_owned()));
        }
        if !value.chars().all(is_xml) {
            return Err(K::Character);
        }
        match key.0 {
            "id" => found.id = Some(value.into_owned()),
            "url" => found.url = Some(value.into_owned()),
            "value" => found.value = Some(value.into_owned()),
            _ => match reader.resolver().resolve_attribute(key) {
                (ResolveResult::Bound(Namespace(XSI)), name) if name.as_ref() == "schemaLocation" => {}
                _ => return Err(K::Attribute),
            },
        }
    }
    Ok(found)
}

fn refuse(attributes: &Attributes) -> Result<(), K> {
    let none = attributes.id.is_none() && attributes.url.is_none() && attributes.value.is_none();
    if none { Ok(()) } else { Err(K::Attribute) }
}

/// A value as JSON has it. Source: FHIR R4 json.html#primitive
fn literal(type_: &str, value: &str) -> Result<String, K> {
    match type_ {
        "boolean" if matches!(value, "true" | "false") => Ok(value.to_owned()),
        "boolean" => Err(K::Value("true or false")),
        "integer" | "unsignedInt" | "positiveInt" | "decimal" if is_number(value) => Ok(value.to_owned()),
        "integer" | "unsignedInt" | "positiveInt" | "decimal" => Err(K::Value("a number such as 1 or -1.10")),
        _ => {
            let mut out = String::with_capacity(value.len() + 2);
            write_string(value, &mut out);
            Ok(out)
        }
    }
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`, the form of FHIR R4 datatypes.html#decimal and of JSON.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}
