//! FHIRPath Patch (FHIR R4 fhirpatch.html): a Parameters resource that says which elements to add, insert, delete, replace
//! or move. Each operation finds its place in what the one before it made.
//!
//! An element is what FHIR calls one: a primitive goes with its id and extensions. Whatever holds nothing any more goes, too.

mod list;
mod value;

use std::borrow::Cow;

use sluis_conformance::definitions::{Element, Structure, StructureKind, r4};
use sluis_conformance::fhirpath::{Compiled, Context, FhirPathError, Item, Place, Step, Value};
use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::Bounds;
use super::tree::Tree;
use crate::response::refusal::{Reason, Refusal};
use list::List;
use value::Given;

/// One operation, its form checked.
#[derive(Debug)]
pub(super) struct Operation<'p> {
    /// `Parameters.parameter[0]`
    place: String,
    /// The expression as sent.
    text: String,
    path: Compiled,
    what: What<'p>,
}

#[derive(Debug)]
enum What<'p> {
    Add(String, Given<'p>),
    Insert(usize, Given<'p>),
    Delete,
    Replace(Given<'p>),
    Move(usize, usize),
}

/// Characters of one expression.
const PATH_CHARS_MAX: usize = 4_096;

/// Reads the operations.
///
/// Errors: `Malformed`, `TooCostly`. Source: FHIR R4 fhirpatch.html
pub(super) fn operations(doc: &Doc, operations_max: u64) -> Result<Vec<Operation<'_>>, Refusal> {
    let root = doc.root();
    let named = root.get("resourceType").and_then(Node::as_str);
    if named.as_deref() != Some("Parameters") {
        let text = "A FHIRPath Patch is a Parameters resource.";
        return Err(Refusal::new(Reason::Malformed, text).at("resourceType"));
    }
    let Some(list) = root.get("parameter") else { return Ok(Vec::new()) };
    if list.len() as u64 > operations_max {
        let text = format!("{} operations; at most {operations_max} are taken.", list.len());
        return Err(Refusal::new(Reason::TooCostly, text).at("Parameters.parameter"));
    }
    list.items().enumerate().map(|(at, node)| operation(at, node)).collect()
}

fn operation(at: usize, node: Node<'_>) -> Result<Operation<'_>, Refusal> {
    let place = format!("Parameters.parameter[{at}]");
    let malformed =
        |text: &str| Refusal::new(Reason::Malformed, format!("Operation {at}: {text}")).at(place.clone());
    if node.get("name").and_then(Node::as_str).as_deref() != Some("operation") {
        return Err(malformed("its name is `operation`."));
    }
    let mut parts: [(&str, Option<Node<'_>>); 7] = [
        ("type", None),
        ("path", None),
        ("name", None),
        ("value", None),
        ("index", None),
        ("source", None),
        ("destination", None),
    ];
    for part in node.get("part").into_iter().flat_map(Node::items) {
        let name = part.get("name").and_then(Node::as_str).unwrap_or_default();
        let slot = parts.iter_mut().find(|(known, _)| *known == name);
        let (_, slot) = slot.ok_or_else(|| {
            malformed("its parts are type, path, name, value, index, source and destination.")
        })?;
        if slot.replace(part).is_some() {
            return Err(malformed(&format!("{name} stands twice.")));
        }
    }
    let part = |name: &str| parts.iter().find(|(known, _)| *known == name).and_then(|(_, part)| *part);
    let text = |name: &str| {
        let value = part(name).and_then(|part| part.get("valueString").or_else(|| part.get("valueCode")));
        value.and_then(Node::as_str).ok_or_else(|| malformed(&format!("it has no {name}.")))
    };
    let number = |name: &str| {
        let value = part(name).and_then(|part| part.get("valueInteger")).and_then(Node::number);
        let value = value.and_then(|digits| digits.parse().ok());
        value.ok_or_else(|| malformed(&format!("{name} is a whole number from 0.")))
    };
    let value = || {
        let part = part("value").ok_or_else(|| malformed("it has no value."))?;
        Given::of(part).ok_or_else(|| malformed("its value is none of FHIR's types, and has no parts."))
    };
    let kind = text("type")?;
    let what = match &*kind {
        "add" => What::Add(text("name")?.into_owned(), value()?),
        "insert" => What::Insert(number("index")?, value()?),
        "delete" => What::Delete,
        "replace" => What::Replace(value()?),
        "move" => What::Move(number("source")?, number("destination")?),
        _ => return Err(malformed("type is add, insert, delete, replace or move.")),
    };
    let path = text("path")?.into_owned();
    if path.len() > PATH_CHARS_MAX {
        return Err(malformed(&format!("a path has at most {PATH_CHARS_MAX} characters.")));
    }
    let compiled = Compiled::new(&path).map_err(|error| malformed(&format!("its path: {error}.")))?;
    Ok(Operation { place, text: path, path: compiled, what })
}

/// The text of the patched resource.
///
/// Errors: those of [`operations`]; `PatchFailed` names the operation; `TooCostly` when the patch takes more steps or
/// makes more of the resource than its bounds say.
pub(super) fn apply(stored: &Doc, patch: &Doc, bounds: &Bounds) -> Result<String, Refusal> {
    let mut text = stored.text().to_owned();
    let mut work = bounds.steps_max;
    for operation in operations(patch, bounds.operations_max)? {
        // Reading a text again costs about one step for every four bytes.
        work = work.checked_sub(text.len() as u64 / 4 + 16).ok_or_else(|| operation.too_costly())?;
        let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).map_err(|error| {
            Refusal::new(Reason::TooCostly, error.to_string()).at(operation.place.clone())
        })?;
        text = operation.run(&doc, &mut work, bounds)?;
    }
    Ok(text)
}

impl Operation<'_> {
    fn failed(&self, text: &str) -> Refusal {
        Refusal::new(Reason::PatchFailed, format!("{}: {text}", self.text)).at(self.place.clone())
    }

    fn too_costly(&self) -> Refusal {
        let text = "Finding the places of this patch takes more work than it may.";
        Refusal::new(Reason::TooCostly, text).at(self.place.clone())
    }

    fn run(&self, doc: &Doc, work: &mut u64, bounds: &Bounds) -> Result<String, Refusal> {
        let root = Item::resource(r4(), doc.root()).ok_or_else(|| self.failed("it is no resource."))?;
        let mut tree = Tree::Kept(doc.root());
        match &self.what {
            What::Add(name, given) => {
                let [item] = &*self.elements(&self.path, root, work)? else {
                    return Err(self.failed("one element is due to add to."));
                };
                let parent = Place::children(r4(), doc.root(), item).ok_or_else(|| self.elsewhere())?;
                let structure = if item.structure().kind == StructureKind::Primitive {
                    r4().structure("Element").unwrap_or(item.structure())
                } else {
                    item.structure()
                };
                let element = self.element(structure, name)?;
                let (json_name, pair) = self.value(element, given)?;
                let object = tree.object(&parent).ok_or_else(|| self.elsewhere())?;
                if !element.is_list() && element.types.iter().any(|t| has(object, &element.json_name(t))) {
                    return Err(self.failed(&format!("{name} is there already; replace it.")));
                }
                let mut list = List::take(object, &json_name, element.is_list());
                list.items.push(pair);
                list.put(object);
            }
            What::Insert(index, given) => {
                let (place, count) = self.list(doc, root, work)?;
                if *index > count {
                    return Err(self.failed(&format!("index {index}; the list has {count}.")));
                }
                let element = self.element(place.structure, &place.name)?;
                let (_, pair) = self.value(element, given)?;
                let object = tree.object(&place.parent).ok_or_else(|| self.elsewhere())?;
                let mut list = List::take(object, &place.name, true);
                list.items.insert((*index).min(list.items.len()), pair);
                list.put(object);
            }
            What::Move(source, destination) => {
                let (place, count) = self.list(doc, root, work)?;
                if *source >= count || *destination >= count {
                    return Err(
                        self.failed(&format!("from {source} to {destination}; the list has {count}."))
                    );
                }
                let object = tree.object(&place.parent).ok_or_else(|| self.elsewhere())?;
                let mut list = List::take(object, &place.name, true);
                let item = list.items.remove(*source);
                list.items.insert(*destination, item);
                list.put(object);
            }
            What::Delete => {
                let item = match &*self.elements(&self.path, root, work)? {
                    // "the element to delete (if found)"
                    [] => return Ok(doc.text().to_owned()),
                    [item] => *item,
                    _ => return Err(self.failed("only a single element is deleted.")),
                };
                let place = Place::of(r4(), doc.root(), &item).ok_or_else(|| self.elsewhere())?;
                let object = tree.object(&place.parent).ok_or_else(|| self.elsewhere())?;
                let mut list = List::take(object, &place.name, place.index.is_some());
                list.items.remove(place.index.unwrap_or(0));
                list.put(object);
                tree.prune(&place.parent);
            }
            What::Replace(given) => {
                let [item] = &*self.elements(&self.path, root, work)? else {
                    return Err(self.failed("one element is due to replace."));
                };
                let place = Place::of(r4(), doc.root(), item).ok_or_else(|| self.elsewhere())?;
                let element = self.element(place.structure, &place.name)?;
                let (json_name, pair) = self.value(element, given)?;
                let object = tree.object(&place.parent).ok_or_else(|| self.elsewhere())?;
                let mut list = List::take(object, &place.name, element.is_list());
                if let Some(slot) = list.items.get_mut(place.index.unwrap_or(0)) {
                    *slot = pair;
                }
                // Of a choice another type may come, under another name.
                list.name = Cow::Owned(json_name);
                list.put(object);
            }
        }
        if tree.weight() as u64 > bounds.nodes_max {
            return Err(Refusal::new(Reason::TooCostly, "The patched resource grows too large.")
                .at(self.place.clone()));
        }
        let mut out = String::with_capacity(doc.text().len() + 256);
        tree.write(&mut out);
        Ok(out)
    }

    /// What the path leads to, elements of this resource alone.
    fn elements<'d>(
        &self,
        path: &Compiled,
        root: Item<'d>,
        work: &mut u64,
    ) -> Result<Vec<Item<'d>>, Refusal> {
        let context = Context { definitions: r4(), resource: root, root };
        let found = path.evaluate_within(&context, root, work).map_err(|error| match error {
            FhirPathError::TooCostly => self.too_costly(),
            error => self.failed(&format!("{error}.")),
        })?;
        let element = |value| match value {
            Value::Element(item) => Ok(item),
            _ => Err(self.failed("it leads to a value that is no element of the resource.")),
        };
        found.into_iter().map(element).collect()
    }

    /// The whole list the path leads to, and how many there are. One that is empty has its place by the path alone.
    fn list<'d>(&self, doc: &'d Doc, root: Item<'d>, work: &mut u64) -> Result<(Place<'d>, usize), Refusal> {
        let items = self.elements(&self.path, root, work)?;
        let not_whole = || self.failed("one whole list is due.");
        let Some(first) = items.first() else {
            let (parent, name) = self.path.last_child().ok_or_else(not_whole)?;
            let [parent] = &*self.elements(&parent, root, work)? else { return Err(not_whole()) };
            if !self.element(parent.structure(), name)?.is_list() {
                return Err(not_whole());
            }
            let steps = Place::children(r4(), doc.root(), parent).ok_or_else(|| self.elsewhere())?;
            let place =
                Place { parent: steps, structure: parent.structure(), name: name.to_owned(), index: None };
            return Ok((place, 0));
        };
        let place = Place::of(r4(), doc.root(), first).ok_or_else(|| self.elsewhere())?;
        if !self.element(place.structure, &place.name)?.is_list() {
            return Err(not_whole());
        }
        for (at, item) in items.iter().enumerate() {
            let other = Place::of(r4(), doc.root(), item).ok_or_else(|| self.elsewhere())?;
            if other.parent != place.parent || other.name != place.name || other.index != Some(at) {
                return Err(not_whole());
            }
        }
        let mut tree = Tree::Kept(doc.root());
        let object = tree.object(&place.parent).ok_or_else(|| self.elsewhere())?;
        if List::take(object, &place.name, true).items.len() != items.len() {
            return Err(not_whole());
        }
        Ok((place, items.len()))
    }

    /// A child element by its name in the definition, or by the name JSON gives it.
    fn element<'d>(&self, structure: &'d Structure, name: &str) -> Result<&'d Element, Refusal> {
        let found = structure.element_named(name).or_else(|| structure.element(name).map(|f| f.element));
        found.ok_or_else(|| self.failed(&format!("{} has no element {}.", structure.path, shown(name))))
    }

    fn value<'p>(
        &'p self,
        element: &Element,
        given: &Given<'p>,
    ) -> Result<(String, list::Pair<'p>), Refusal> {
        given.fit(element).map_err(|text| self.failed(&text))
    }

    fn elsewhere(&self) -> Refusal {
        self.failed("it does not lead to an element inside the resource.")
    }
}

/// A name as an error repeats it.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

fn has(object: &mut Tree<'_>, name: &str) -> bool {
    let Tree::Object(members) = object else { return false };
    members.iter().any(|(member, _)| member.strip_prefix('_').unwrap_or(member) == name)
}

impl<'d> Tree<'d> {
    /// The object at a place, opened; made where an object beside a primitive is not there yet.
    fn object(&mut self, steps: &[Step]) -> Option<&mut Tree<'d>> {
        let mut at = self;
        for (depth, step) in steps.iter().enumerate() {
            let rest = steps.get(depth + 1..).unwrap_or_default();
            at = match (at.open(), step) {
                (Tree::Object(members), Step::Member(name)) => {
                    let there = members.iter().position(|(member, _)| member == name);
                    let there = match there {
                        Some(there) => there,
                        None if name.starts_with('_') => {
                            let new = if matches!(rest, [Step::Index(_), ..]) {
                                Tree::Array(Vec::new())
                            } else {
                                Tree::Object(Vec::new())
                            };
                            members.push((Cow::Owned(name.clone()), new));
                            members.len() - 1
                        }
                        None => return None,
                    };
                    &mut members.get_mut(there)?.1
                }
                (Tree::Array(items), Step::Index(index)) => {
                    while items.len() <= *index {
                        items.push(Tree::Null);
                    }
                    items.get_mut(*index)?
                }
                _ => return None,
            };
            if at.is_null() {
                *at = Tree::Object(Vec::new());
            }
        }
        matches!(at.open(), Tree::Object(_)).then_some(at)
    }

    /// Takes out what holds nothing along a way: FHIR has no empty object and no empty list (json.html).
    fn prune(&mut self, steps: &[Step]) {
        let Some((first, rest)) = steps.split_first() else { return };
        match (self.open(), first) {
            (Tree::Object(members), Step::Member(name)) => {
                let Some(at) = members.iter().position(|(member, _)| member == name) else { return };
                if let Some((_, value)) = members.get_mut(at) {
                    value.prune(rest);
                    if value.holds_nothing() {
                        members.remove(at);
                    }
                }
            }
            (Tree::Array(items), Step::Index(index)) => {
                let Some(item) = items.get_mut(*index) else { return };
                item.prune(rest);
                if item.holds_nothing() {
                    items.remove(*index);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
