//! Structures and their elements, in the order of the definition.

use super::TypeId;

/// A structure within its definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StructureId(pub(super) u16);

impl StructureId {
    /// Position among the structures, from 0 without gaps.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What a structure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StructureKind {
    /// A concrete resource type.
    Resource,
    /// `Resource` or `DomainResource`: the element holds any resource.
    AbstractResource,
    /// A data type with child elements.
    Complex,
    /// A data type that is one JSON value.
    Primitive,
    /// An element with children of its own inside a type, such as `Observation.component`.
    Backbone,
}

/// A type or nested element.
#[derive(Debug)]
pub struct Structure {
    /// Itself, as its children name it.
    pub id: StructureId,
    /// `Observation`, `Observation.component`, `Quantity`, `code`.
    pub path: &'static str,
    /// What it is.
    pub kind: StructureKind,
    /// The type it specialises; for a nested element `BackboneElement` or `Element`.
    pub base: Option<StructureId>,
    /// Child elements in the order of the definition, inherited ones first.
    pub elements: Vec<Element>,
    /// JSON property name, element, type; sorted by name.
    pub(super) names: Vec<(Box<str>, u16, u16)>,
}

impl Structure {
    /// The child element a JSON property is, with its type when it is a choice; `None` for an unknown name.
    pub fn element(&self, name: &str) -> Option<Found<'_>> {
        let at = self.names.binary_search_by(|(known, ..)| known.as_ref().cmp(name)).ok()?;
        let &(_, index, type_) = self.names.get(at)?;
        let index = usize::from(index);
        let element = self.elements.get(index)?;
        Some(Found { index, element, type_: element.types.get(usize::from(type_))? })
    }

    /// The child element of a definition's name: `value` for `value[x]`.
    pub fn element_named(&self, name: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.name == name)
    }

    /// Every JSON property name the structure may have, sorted; choices in all their types.
    pub fn property_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, ..)| name.as_ref())
    }
}

/// A child element.
#[derive(Debug, Clone)]
pub struct Element {
    /// Where it is declared: `Observation.component.value[x]`, `Element.extension`.
    pub path: &'static str,
    /// Last part of the path, without `[x]`.
    pub name: &'static str,
    /// Whether the JSON name carries the type: `value[x]`.
    pub is_choice: bool,
    /// Fewest times it stands.
    pub min: u32,
    /// Most times it stands; `None` is `*`.
    pub max: Option<u32>,
    /// Types it may have, in the order of the definition; at least one.
    pub types: Vec<ElementType>,
    /// Value set of a coded element.
    pub binding: Option<Binding>,
    /// Whether it is part of the summary (`_summary=true`).
    pub is_summary: bool,
    /// Whether it changes the meaning of what it is in.
    pub is_modifier: bool,
}

impl Element {
    /// Whether JSON writes it as an array (json.html: repeating elements are arrays, even with one item).
    pub fn is_list(&self) -> bool {
        self.max.is_none_or(|max| max > 1)
    }

    /// Its JSON property name in one of its types: `valueQuantity` for a choice, else the name.
    pub fn json_name(&self, type_: &ElementType) -> String {
        if !self.is_choice {
            return self.name.to_owned();
        }
        let mut letters = type_.code.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        self.name.chars().chain(first).chain(letters).collect()
    }
}

/// One type an element may have.
#[derive(Debug, Clone)]
pub struct ElementType {
    /// `Quantity`, `code`, `Reference`, `BackboneElement`, `Resource`.
    pub code: &'static str,
    /// The structure of that type; for a nested element its own, for a content reference the one it repeats.
    pub structure: StructureId,
    /// Resource types a Reference or canonical may point to, sorted; empty means any.
    pub targets: Vec<TypeId>,
}

/// A coded element's value set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// How far the set binds.
    pub strength: Strength,
    /// The value set, as [`super::Definitions::value_set`] takes it.
    pub value_set: &'static str,
}

/// How far a binding binds. Source: FHIR R4 terminologies.html#strength
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// A code of the set and no other.
    Required,
    /// A code of the set if one of them fits.
    Extensible,
    /// A code of the set is encouraged.
    Preferred,
    /// Only shows what could stand there.
    Example,
}

/// A JSON property's element, and which of its types the name says.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// Its place among the structure's elements.
    pub index: usize,
    /// The element.
    pub element: &'a Element,
    /// The type; the only one unless the element is a choice.
    pub type_: &'a ElementType,
}
