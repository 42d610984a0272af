//! What an expression works on: elements of the tree with their types, and plain values.

use std::borrow::Cow;

use crate::definitions::{Definitions, Element, ElementType, Structure, StructureKind};
use crate::json::{Kind, Node};
use crate::path::{DateRange, FhirDateTime};

/// An element of a resource: its value, and for a primitive the id and extensions beside it.
#[derive(Debug, Clone, Copy)]
pub struct Item<'d> {
    pub(super) node: Option<Node<'d>>,
    pub(super) beside: Option<Node<'d>>,
    pub(super) structure: &'d Structure,
    /// Code of its type: `Quantity`, `code`, `BackboneElement`, or the name of a resource.
    pub(super) code: &'d str,
}

/// One item of a collection.
#[derive(Debug, Clone)]
pub enum Value<'d> {
    /// An element.
    Element(Item<'d>),
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number, as the nearest double.
    Decimal(f64),
    /// A text.
    Text(Cow<'d, str>),
}

/// A value as operators compare it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plain<'d> {
    Bool(bool),
    Integer(i64),
    Decimal(f64),
    Text(Cow<'d, str>),
}

impl<'d> Item<'d> {
    /// A whole resource; `None` when the node names no resource of R4.
    pub fn resource(definitions: &'d Definitions, node: Node<'d>) -> Option<Self> {
        let type_ = definitions.resource_type(&node.get("resourceType")?.as_str()?)?;
        let structure = definitions.resource_structure(type_);
        Some(Self { node: Some(node), beside: None, structure, code: structure.path })
    }

    /// An object of a structure that is known.
    pub fn object(structure: &'d Structure, node: Node<'d>) -> Self {
        Self { node: Some(node), beside: None, structure, code: structure.path }
    }

    /// A value of an element of one type, with what stands beside a primitive.
    pub fn value(
        definitions: &'d Definitions,
        type_: &'d ElementType,
        node: Option<Node<'d>>,
        beside: Option<Node<'d>>,
    ) -> Option<Self> {
        let structure = definitions.structure_at(type_.structure);
        match (structure.kind, node) {
            (StructureKind::AbstractResource, Some(node)) => Self::resource(definitions, node),
            _ => Some(Self { node, beside, structure, code: type_.code }),
        }
    }

    /// Its place in the tree; `None` for a primitive of which only extensions stand there.
    pub fn node(&self) -> Option<Node<'d>> {
        self.node
    }

    /// What its children are: its type, or the nested element itself.
    pub fn structure(&self) -> &'d Structure {
        self.structure
    }

    /// Code of its type: `Quantity`, `code`, `BackboneElement`, or the name of a resource.
    pub fn type_code(&self) -> &'d str {
        self.code
    }

    /// Whether it is, or specialises, the type of that name.
    pub(super) fn is(&self, definitions: &Definitions, name: &str) -> bool {
        let mut letters = name.chars();
        let lower: String =
            letters.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(letters).collect();
        // `Boolean` and `String` are FHIRPath's own types, which FHIR's primitives stand for (fhirpath.html#types).
        self.code == name
            || (self.is_primitive() && self.code == lower)
            || definitions.is_a(self.structure, name)
    }

    pub(super) fn is_primitive(&self) -> bool {
        self.structure.kind == StructureKind::Primitive
    }

    /// The children of that name, or all; in the order of the definition.
    pub(super) fn children(
        &self,
        definitions: &'d Definitions,
        name: Option<&str>,
        out: &mut Vec<Value<'d>>,
    ) {
        let element = definitions.structure("Element");
        let (structure, node) = match (self.is_primitive(), element) {
            (true, Some(element)) => (element, self.beside),
            (true, None) => return,
            (false, _) => (self.structure, self.node),
        };
        let Some(node) = node.filter(|node| node.kind() == Kind::Object) else { return };
        for child in structure.elements.iter().filter(|child| name.is_none_or(|name| child.name == name)) {
            for type_ in &child.types {
                push(definitions, child, type_, node, out);
            }
        }
    }

    /// The value of a primitive.
    pub(super) fn plain(&self) -> Option<Plain<'d>> {
        let node = self.node.filter(|_| self.is_primitive())?;
        match node.kind() {
            Kind::Bool => node.as_bool().map(Plain::Bool),
            Kind::String => node.as_str().map(Plain::Text),
            Kind::Number => match node.raw().parse::<i64>() {
                Ok(whole) => Some(Plain::Integer(whole)),
                Err(_) => node.raw().parse().ok().map(Plain::Decimal),
            },
            _ => None,
        }
    }

    /// The span of time a date stands for.
    pub(super) fn time(&self) -> Option<DateRange> {
        matches!(self.code, "date" | "dateTime" | "instant").then_some(())?;
        FhirDateTime::parse(&self.node?.as_str()?).ok()
    }

    /// Value and unit of a Quantity or what specialises it.
    pub(super) fn quantity(&self, definitions: &Definitions) -> Option<(f64, [Option<Cow<'d, str>>; 2])> {
        let node = self.node.filter(|_| definitions.is_a(self.structure, "Quantity"))?;
        let text = |name| node.get(name).and_then(Node::as_str);
        let value = node.get("value")?.number()?.parse().ok()?;
        Some((value, [text("system"), text("code").or_else(|| text("unit"))]))
    }
}

fn push<'d>(
    definitions: &'d Definitions,
    element: &'d Element,
    type_: &'d ElementType,
    node: Node<'d>,
    out: &mut Vec<Value<'d>>,
) {
    let json = element.json_name(type_);
    let value = node.get(&json);
    let is_primitive = definitions.structure_at(type_.structure).kind == StructureKind::Primitive;
    let beside = if is_primitive { node.get(&format!("_{json}")) } else { None };
    let something = |node: &Node<'_>| node.kind() != Kind::Null;
    let mut add = |value: Option<Node<'d>>, beside: Option<Node<'d>>| {
        let (value, beside) = (value.filter(something), beside.filter(something));
        if value.is_some() || beside.is_some() {
            out.extend(Item::value(definitions, type_, value, beside).map(Value::Element));
        }
    };
    if ![value, beside].into_iter().flatten().any(|list| list.kind() == Kind::Array) {
        return add(value, beside);
    }
    let (mut values, mut besides) = (value.map(Node::items), beside.map(Node::items));
    let count = [value, beside].into_iter().flatten().map(Node::len).max().unwrap_or(0);
    for _ in 0..count {
        add(values.as_mut().and_then(Iterator::next), besides.as_mut().and_then(Iterator::next));
    }
}

impl<'d> Value<'d> {
    pub(super) fn plain(&self) -> Option<Plain<'d>> {
        match self {
            Self::Element(item) => item.plain(),
            Self::Bool(value) => Some(Plain::Bool(*value)),
            Self::Integer(value) => Some(Plain::Integer(*value)),
            Self::Decimal(value) => Some(Plain::Decimal(*value)),
            Self::Text(value) => Some(Plain::Text(value.clone())),
        }
    }

    /// Whether two items are equal: primitives by value, others by their whole content. Source: FHIRPath 6.1.1
    pub(super) fn equals(&self, other: &Value<'d>) -> bool {
        match (self.plain(), other.plain()) {
            (Some(Plain::Integer(a)), Some(Plain::Decimal(b)))
            | (Some(Plain::Decimal(b)), Some(Plain::Integer(a))) => a as f64 == b,
            (Some(a), Some(b)) => a == b,
            (None, None) => match (self, other) {
                (Self::Element(a), Self::Element(b)) => match (a.node, b.node) {
                    (Some(a), Some(b)) => same(a, b),
                    _ => false,
                },
                _ => false,
            },
            _ => false,
        }
    }
}

/// Whether two trees say the same: names in any order, texts unescaped, numbers by value.
fn same(a: Node<'_>, b: Node<'_>) -> bool {
    if a.kind() != b.kind() || a.len() != b.len() {
        return false;
    }
    match a.kind() {
        Kind::Object => a.members().all(|(name, value)| b.get(&name).is_some_and(|other| same(value, other))),
        Kind::Array => a.items().zip(b.items()).all(|(a, b)| same(a, b)),
        Kind::String => a.as_str() == b.as_str(),
        Kind::Number => a.raw().parse::<f64>().ok() == b.raw().parse::<f64>().ok(),
        _ => a.raw() == b.raw(),
    }
}
