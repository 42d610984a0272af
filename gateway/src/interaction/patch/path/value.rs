//! What an operation puts in place: a value of one of FHIR's types, a resource, or parts that make up an object.
//!
//! Source: FHIR R4 fhirpatch.html ("The type of the value must be correct for the place at which it will be added")

use std::borrow::Cow;

use sluis_conformance::definitions::{Element, ElementType, Structure, StructureKind, r4};
use sluis_conformance::json::Node;

use super::super::tree::Tree;
use super::list::{List, Pair};

/// The value of an operation, or of a part of one.
#[derive(Debug)]
pub(super) enum Given<'p> {
    /// Its type, its value, and what stands beside a primitive.
    Typed(&'static str, Option<Node<'p>>, Option<Node<'p>>),
    /// A resource.
    Resource(Node<'p>),
    /// An object of a type that has no name: each part is an element, by its name.
    Parts(Vec<(Cow<'p, str>, Given<'p>)>),
}

impl<'p> Given<'p> {
    /// Of one part of a Parameters resource whose structure is checked.
    pub(super) fn of(part: Node<'p>) -> Option<Given<'p>> {
        if let Some(resource) = part.get("resource") {
            return Some(Given::Resource(resource));
        }
        let structure = r4().structure("Parameters.parameter")?;
        let (mut code, mut value, mut beside) = (None, None, None);
        for (name, node) in part.members() {
            let plain = name.strip_prefix('_');
            if let Some(found) = structure.element(plain.unwrap_or(&name)).filter(|f| f.element.is_choice) {
                code = Some(found.type_.code);
                *if plain.is_some() { &mut beside } else { &mut value } = Some(node);
            }
        }
        if let Some(code) = code {
            return Some(Given::Typed(code, value, beside));
        }
        let parts = part.get("part")?.items().map(|part| {
            let name = part.get("name").and_then(Node::as_str)?;
            Some((name, Given::of(part)?))
        });
        parts.collect::<Option<Vec<_>>>().map(Given::Parts)
    }

    /// The value as an occurrence of an element, with the property it goes under.
    ///
    /// Errors: a sentence, when its type is none of the element's.
    pub(super) fn fit(&self, element: &Element) -> Result<(String, Pair<'p>), String> {
        let due = || {
            let types: Vec<&str> = element.types.iter().map(|type_| type_.code).collect();
            format!("{} is of type {}.", element.path, types.join(", "))
        };
        let kind = |type_: &ElementType| r4().structure_at(type_.structure).kind;
        match self {
            Given::Typed(code, value, beside) => {
                // A narrative has no value[x] of its own and comes as a string.
                let fits = |type_: &&ElementType| {
                    type_.code == *code || (type_.code == "xhtml" && *code == "string")
                };
                let type_ = element.types.iter().find(fits).ok_or_else(due)?;
                Ok((element.json_name(type_), (value.map(Tree::Kept), beside.map(Tree::Kept))))
            }
            Given::Resource(node) => {
                let is_resource = |type_: &&ElementType| kind(type_) == StructureKind::AbstractResource;
                let type_ = element.types.iter().find(is_resource).ok_or_else(due)?;
                Ok((element.json_name(type_), (Some(Tree::Kept(*node)), None)))
            }
            Given::Parts(parts) => {
                let [type_] = element.types.as_slice() else { return Err(due()) };
                if !matches!(kind(type_), StructureKind::Complex | StructureKind::Backbone) {
                    return Err(due());
                }
                let object = object(r4().structure_at(type_.structure), parts)?;
                Ok((element.json_name(type_), (Some(object), None)))
            }
        }
    }
}

fn object<'p>(structure: &Structure, parts: &[(Cow<'p, str>, Given<'p>)]) -> Result<Tree<'p>, String> {
    let mut object = Tree::Object(Vec::new());
    for (name, given) in parts {
        let found = structure.element_named(name).or_else(|| structure.element(name).map(|f| f.element));
        let element =
            found.ok_or_else(|| format!("{} has no element {}.", structure.path, super::shown(name)))?;
        let (json_name, pair) = given.fit(element)?;
        let mut list = List::take(&mut object, &json_name, element.is_list());
        if !element.is_list() && !list.items.is_empty() {
            return Err(format!("{} stands once.", element.path));
        }
        list.items.push(pair);
        list.put(&mut object);
    }
    Ok(object)
}
