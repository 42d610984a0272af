//! From a node of a known type to the values a parameter of one kind compares. Source: FHIR R4 search.html#ptypes

use std::borrow::Cow;

use crate::definitions::{Definitions, SearchKind};
use crate::json::{Kind, Node};

use super::compile::Path;
use super::date::{DateRange, FhirDateTime};
use super::number::Precise;
use super::reference::{ReferenceTarget, parse_reference};

/// A value as the parameter's kind compares it; text is unescaped, borrowed where it can be.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexValue<'d> {
    /// One text: a name part, an address line.
    String(Cow<'d, str>),
    /// A coded value or identifier. Without `code` it is the text of a concept alone.
    Token {
        /// Code system, or the identifier's namespace.
        system: Option<Cow<'d, str>>,
        /// Code, or the identifier's value.
        code: Option<Cow<'d, str>>,
        /// Display of the coding, text of the concept or of the identifier's type: what `:text` searches.
        text: Option<Cow<'d, str>>,
    },
    /// An identifier with a coding of its type: what `:of-type` searches.
    Typed {
        /// Code system of the type.
        system: Option<Cow<'d, str>>,
        /// Code of the type.
        code: Cow<'d, str>,
        /// The identifier's value.
        value: Cow<'d, str>,
    },
    /// Half open, in microseconds since 1970-01-01T00:00Z.
    Date {
        /// First instant of the value.
        low_us: i64,
        /// First instant after it.
        high_us: i64,
    },
    /// A number with what its digits leave open.
    Number(Precise<'d>),
    /// An amount; `low` and `high` take a comparator and the ends of a Range into account.
    Quantity {
        /// The number. For a Range its low end if there is one, else its high end.
        value: Precise<'d>,
        /// Code system of the unit.
        system: Option<Cow<'d, str>>,
        /// Coded unit.
        code: Option<Cow<'d, str>>,
        /// Unit as people read it.
        unit: Option<Cow<'d, str>>,
    },
    /// What a Reference points to.
    Reference(ReferenceTarget<'d>),
    /// An address, a canonical one with its `|version`.
    Uri(Cow<'d, str>),
    /// One value for each part of a composite, in the order of its definition.
    Composite(Vec<IndexValue<'d>>),
}

impl IndexValue<'_> {
    pub(super) fn boolean(value: bool) -> Self {
        Self::token(None, Some(Cow::Borrowed(if value { "true" } else { "false" })), None)
    }
}

impl<'d> IndexValue<'d> {
    fn token(system: Text<'d>, code: Text<'d>, text: Text<'d>) -> Self {
        Self::Token { system, code, text }
    }
}

type Text<'d> = Option<Cow<'d, str>>;
type Out<'o, 'd> = &'o mut dyn FnMut(IndexValue<'d>);

/// Hands `out` each value of a node at the end of `path`.
pub(super) fn index<'d>(
    definitions: &Definitions,
    kind: SearchKind,
    path: &Path,
    node: Node<'d>,
    out: Out<'_, 'd>,
) {
    typed(definitions, kind, path.type_, path.system, node, out);
}

fn typed<'d>(
    definitions: &Definitions,
    kind: SearchKind,
    type_: &str,
    system: Option<&'static str>,
    node: Node<'d>,
    out: Out<'_, 'd>,
) {
    if type_ == "Extension" {
        // A parameter over an extension compares its value, whatever type that has.
        let structure = definitions.structure("Extension");
        for (name, value) in node.members().filter(|(name, _)| name.starts_with("value")) {
            if let Some(found) = structure.and_then(|structure| structure.element(&name)) {
                typed(definitions, kind, found.type_.code, None, value, out);
            }
        }
        return;
    }
    match kind {
        SearchKind::String => string(type_, node, out),
        SearchKind::Token => token(type_, system, node, out),
        SearchKind::Date => {
            if let Some(DateRange { low_us, high_us }) = date(type_, node) {
                out(IndexValue::Date { low_us, high_us });
            }
        }
        SearchKind::Number => {
            let number = if type_ == "Range" { range(node).map(|(value, _)| value) } else { number(node) };
            number.map(IndexValue::Number).into_iter().for_each(out);
        }
        SearchKind::Quantity => quantity(type_, node).into_iter().for_each(out),
        SearchKind::Reference => reference(definitions, type_, node, out),
        SearchKind::Uri => text_of(node).map(IndexValue::Uri).into_iter().for_each(out),
        SearchKind::Composite | SearchKind::Special => {}
    }
}

fn text_of<'d>(node: Node<'d>) -> Text<'d> {
    node.as_str().filter(|text| !text.is_empty())
}

fn child<'d>(node: Node<'d>, name: &str) -> Text<'d> {
    node.get(name).and_then(text_of)
}

/// search.html#string: for HumanName and Address any of the string parts.
fn string<'d>(type_: &str, node: Node<'d>, out: Out<'_, 'd>) {
    let parts: &[&str] = match type_ {
        "HumanName" => &["text", "family", "given", "prefix", "suffix"],
        "Address" => &["text", "line", "city", "district", "state", "postalCode", "country"],
        "CodeableConcept" => &["text"],
        "Annotation" => &["text"],
        _ => return text_of(node).map(IndexValue::String).into_iter().for_each(out),
    };
    for part in parts.iter().filter_map(|part| node.get(part)) {
        let texts = if part.kind() == Kind::Array { None } else { text_of(part) };
        texts.into_iter().chain(part.items().filter_map(text_of)).map(IndexValue::String).for_each(&mut *out);
    }
}

/// search.html#token. A `code` element has the system its value set implies.
fn token<'d>(type_: &str, system: Option<&'static str>, node: Node<'d>, out: Out<'_, 'd>) {
    match type_ {
        "Coding" => coding(node, out),
        "CodeableConcept" => {
            node.get("coding").into_iter().flat_map(Node::items).for_each(|item| coding(item, out));
            if let Some(text) = child(node, "text") {
                out(IndexValue::token(None, None, Some(text)));
            }
        }
        "Identifier" => {
            let (system, value) = (child(node, "system"), child(node, "value"));
            let text = node.get("type").and_then(|type_| child(type_, "text"));
            let codings = node.get("type").and_then(|type_| type_.get("coding"));
            for coding in codings.into_iter().flat_map(Node::items) {
                if let (Some(code), Some(value)) = (child(coding, "code"), value.clone()) {
                    out(IndexValue::Typed { system: child(coding, "system"), code, value });
                }
            }
            if system.is_some() || value.is_some() || text.is_some() {
                out(IndexValue::token(system, value, text));
            }
        }
        "ContactPoint" => {
            if let Some(value) = child(node, "value") {
                out(IndexValue::token(None, Some(value), None));
            }
        }
        "boolean" => node.as_bool().map(IndexValue::boolean).into_iter().for_each(out),
        _ => {
            let code = text_of(node).or_else(|| node.number().map(Cow::Borrowed));
            if let Some(code) = code {
                out(IndexValue::token(system.map(Cow::Borrowed), Some(code), None));
            }
        }
    }
}

fn coding<'d>(node: Node<'d>, out: Out<'_, 'd>) {
    let (system, code, text) = (child(node, "system"), child(node, "code"), child(node, "display"));
    if system.is_some() || code.is_some() || text.is_some() {
        out(IndexValue::token(system, code, text));
    }
}

fn date(type_: &str, node: Node<'_>) -> Option<DateRange> {
    let read = |node: Node<'_>| FhirDateTime::parse(&node.as_str()?).ok();
    match type_ {
        "Period" => {
            let (start, end) = (node.get("start").and_then(read), node.get("end").and_then(read));
            (start.is_some() || end.is_some()).then(|| DateRange {
                low_us: start.map_or(DateRange::OPEN.low_us, |range| range.low_us),
                high_us: end.map_or(DateRange::OPEN.high_us, |range| range.high_us),
            })
        }
        // search.html#date: the outer bounds of the schedule; other details (frequency, when) are not regarded.
        "Timing" => {
            let events = node.get("event").into_iter().flat_map(Node::items);
            let bounds = node.get("repeat").and_then(|repeat| repeat.get("boundsPeriod"));
            let bounds = bounds.and_then(|period| date("Period", period));
            events.filter_map(read).chain(bounds).reduce(|a, b| DateRange {
                low_us: a.low_us.min(b.low_us),
                high_us: a.high_us.max(b.high_us),
            })
        }
        _ => read(node),
    }
}

fn number(node: Node<'_>) -> Option<Precise<'_>> {
    Precise::parse(node.number()?)
}

/// A Range as one number with the outer bounds of its ends, and the end that names the unit.
fn range(node: Node<'_>) -> Option<(Precise<'_>, Node<'_>)> {
    let end = |name| node.get(name).and_then(|end| Some((number(end.get("value")?)?, end)));
    let (low, high) = (end("low"), end("high"));
    let (value, unit) = low.or(high)?;
    let low = low.map_or(f64::NEG_INFINITY, |(low, _)| low.low);
    let high = high.map_or(f64::INFINITY, |(high, _)| high.high);
    Some((Precise { low, high, ..value }, unit))
}

fn quantity<'d>(type_: &str, node: Node<'d>) -> Option<IndexValue<'d>> {
    let (mut value, of) = match type_ {
        "Range" => range(node)?,
        _ => (number(node.get("value")?)?, node),
    };
    if type_ == "Money" {
        let code = child(node, "currency");
        let system = code.is_some().then_some(Cow::Borrowed("urn:iso:std:iso:4217"));
        return Some(IndexValue::Quantity { value, system, code, unit: None });
    }
    // datatypes.html#Quantity: "<5" stands for some value below 5, so the side is open.
    match child(of, "comparator").as_deref() {
        Some("<") => (value.low, value.high) = (f64::NEG_INFINITY, value.value),
        Some("<=") => value.low = f64::NEG_INFINITY,
        Some(">") => (value.low, value.high) = (value.value, f64::INFINITY),
        Some(">=") => value.high = f64::INFINITY,
        _ => {}
    }
    let (system, code, unit) = (child(of, "system"), child(of, "code"), child(of, "unit"));
    Some(IndexValue::Quantity { value, system, code, unit })
}

fn reference<'d>(definitions: &Definitions, type_: &str, node: Node<'d>, out: Out<'_, 'd>) {
    match type_ {
        "Reference" => {
            let target = child(node, "reference").and_then(|text| parse_reference(definitions, text));
            target.map(IndexValue::Reference).into_iter().for_each(&mut *out);
            if let Some(identifier) = node.get("identifier")
                && let Some(value) = child(identifier, "value")
            {
                let system = child(identifier, "system");
                out(IndexValue::Reference(ReferenceTarget::Identifier { system, value }));
            }
        }
        // A Bundle's first entry: the resource itself stands there.
        "Resource" => {
            let type_ = child(node, "resourceType").and_then(|name| definitions.resource_type(&name));
            if let (Some(type_), Some(id)) = (type_, child(node, "id")) {
                out(IndexValue::Reference(ReferenceTarget::Relative { type_, id, version: None }));
            }
        }
        _ => text_of(node).map(IndexValue::Uri).into_iter().for_each(out),
    }
}
