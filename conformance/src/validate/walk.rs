//! The walk: an object against its structure, property by property.

use crate::definitions::{Definitions, Element, ElementType, Found, Strength, Structure, StructureKind};
use crate::json::{Kind, Node};
use crate::path::{ReferenceTarget, has_scheme, parse_reference};

use crate::fhirpath::Item;

use super::local::Container;
use super::{ISSUES_MAX, Issue, Severity};
use super::{binding, invariant, near, primitive};

/// Objects inside each other that are judged. The reader's default limit is lower; this one keeps a document read with a
/// higher limit from exhausting the stack.
const DEPTH_MAX: usize = 128;

pub(super) fn resource(definitions: &Definitions, root: Node<'_>) -> Vec<Issue> {
    let mut walk = Walk {
        definitions,
        issues: Vec::new(),
        path: String::new(),
        containers: Vec::new(),
        resources: Vec::new(),
        depth: 0,
    };
    walk.resource(root, false);
    walk.issues
}

pub(super) struct Walk<'d> {
    pub(super) definitions: &'d Definitions,
    pub(super) issues: Vec<Issue>,
    /// FHIRPath of the element being judged.
    pub(super) path: String,
    /// Resources being judged that may contain others, innermost last.
    pub(super) containers: Vec<Container<'d>>,
    /// Resources being judged, innermost last, each with the one that contains it (or itself).
    pub(super) resources: Vec<(Item<'d>, Item<'d>)>,
    depth: usize,
}

impl<'d> Walk<'d> {
    /// Notes a fault at the current path.
    pub(super) fn issue(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: Node<'_>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        if self.issues.len() > ISSUES_MAX {
            return;
        }
        let (line, column) = at.line_column();
        let issue = if self.issues.len() == ISSUES_MAX {
            let text = format!("more than {ISSUES_MAX} issues; the rest is not told");
            let remedy = "mend these and send the resource again".to_owned();
            let expression = self.path.clone();
            Issue {
                severity: Severity::Information,
                code: "incomplete",
                expression,
                text,
                remedy,
                line,
                column,
            }
        } else {
            let (text, remedy) = (text.into(), remedy.into());
            Issue { severity, code, expression: self.path.clone(), text, remedy, line, column }
        };
        self.issues.push(issue);
    }

    pub(super) fn error(
        &mut self,
        code: &'static str,
        at: Node<'_>,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.issue(Severity::Error, code, at, text, remedy);
    }

    fn is_full(&self) -> bool {
        self.issues.len() > ISSUES_MAX
    }

    /// Runs `judge` with `part` added to the path.
    pub(super) fn within(&mut self, part: &str, judge: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !part.starts_with('[') && !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(part);
        judge(self);
        self.path.truncate(length);
    }

    /// A whole resource: at the root, in a Bundle or Parameters, or contained. Source: FHIR R4 json.html#resources
    fn resource(&mut self, node: Node<'d>, is_contained: bool) {
        let type_ = node.get("resourceType");
        let name = type_.and_then(Node::as_str).unwrap_or_default();
        let known = self.definitions.resource_type(&name);
        let (at_root, before) = (self.path.is_empty(), self.path.len());
        if at_root {
            self.path.push_str(known.map_or("Resource", |known| self.definitions.type_name(known)));
        }
        match (node.kind(), known) {
            (Kind::Object, Some(known)) => {
                let structure = self.definitions.resource_structure(known);
                if !is_contained {
                    self.containers.push(Container::new(node));
                }
                let item = Item::object(structure, node);
                let root = self.resources.last().filter(|_| is_contained).map_or(item, |(_, root)| *root);
                self.resources.push((item, root));
                self.object(structure, node);
                self.resources.pop();
                if is_contained {
                    self.contained(node);
                } else if let Some(container) = self.containers.pop() {
                    container.judge(self);
                }
            }
            (Kind::Object, None) if type_.is_none() => {
                self.error(
                    "structure",
                    node,
                    "no resourceType",
                    "add resourceType with the name of an R4 resource",
                );
            }
            (Kind::Object, None) => {
                let definitions = self.definitions;
                let names = definitions.resource_types().map(|type_| definitions.type_name(type_));
                let remedy = near::remedy(&name, names, "use the name of an R4 resource");
                let at = type_.unwrap_or(node);
                self.error("structure", at, "resourceType names no resource of R4", remedy);
            }
            _ => self.error("structure", node, "a resource is an object", "send {\"resourceType\": ...}"),
        }
        self.path.truncate(before);
    }

    /// Judges an object's properties, what is missing, and its invariants.
    fn object(&mut self, structure: &'d Structure, node: Node<'d>) {
        if node.kind() != Kind::Object {
            return self.error("structure", node, "expected an object", "write the element as { ... }");
        }
        if node.is_empty() {
            // json.html: objects are never empty.
            return self.error("structure", node, "an empty object", "leave the element out");
        }
        if self.depth >= DEPTH_MAX {
            let text = format!("nested deeper than {DEPTH_MAX} elements");
            return self.error("too-long", node, text, "flatten the resource");
        }
        self.depth += 1;
        let is_resource = structure.kind == StructureKind::Resource;
        // Most objects have no property with _ in front; those need no second look for each primitive.
        let has_siblings = node.members().any(|(name, _)| name.starts_with('_'));
        let mut present: u128 = 0;
        // Choices seen: element and type, to find a second type of the same element.
        let mut choices: Vec<(usize, &'static str)> = Vec::new();
        for (name, value) in node.members() {
            if self.is_full() {
                break;
            }
            if is_resource && name == "resourceType" {
                continue;
            }
            let (plain, is_sibling) = match name.strip_prefix('_') {
                Some(plain) => (plain, true),
                None => (name.as_ref(), false),
            };
            let Some(found) = structure.element(plain) else {
                self.unknown(structure, plain, value);
                continue;
            };
            present |= 1 << found.index;
            if found.element.is_choice {
                let other =
                    choices.iter().any(|(index, type_)| *index == found.index && *type_ != found.type_.code);
                choices.push((found.index, found.type_.code));
                if other {
                    let text = format!("{}[x] stands in more than one type", found.element.name);
                    self.within(&name, |walk| walk.error("structure", value, text, "keep one of them"));
                    continue;
                }
            }
            let is_primitive =
                self.definitions.structure_at(found.type_.structure).kind == StructureKind::Primitive;
            if is_sibling && !is_primitive {
                let text = "only a primitive element has a property with _ in front";
                self.within(&name, |walk| {
                    walk.error("structure", value, text, "put id and extension into the object")
                });
            } else if is_sibling && node.get(plain).is_none() {
                self.property(found, plain, None, Some(value));
            } else if !is_sibling {
                let sibling =
                    (is_primitive && has_siblings).then(|| node.get(&format!("_{plain}"))).flatten();
                self.property(found, plain, Some(value), sibling);
            }
        }
        self.missing(structure, node, present);
        invariant::judge(self, structure, node);
        self.depth -= 1;
    }

    fn unknown(&mut self, structure: &Structure, name: &str, value: Node<'_>) {
        // A name is repeated only when it looks like one: anything could be sent as a property name.
        let looks_like_one =
            name.len() <= 64 && !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        let shown = if looks_like_one { name } else { "?" };
        // A choice without its type, or with a type it cannot have.
        let choice = structure.elements.iter().find(|e| e.is_choice && name.starts_with(e.name));
        let (text, remedy) = match choice {
            Some(element) => {
                let names: Vec<String> =
                    element.types.iter().take(12).map(|t| element.json_name(t)).collect();
                (format!("{}[x] has no such type", element.name), format!("use one of {}", names.join(", ")))
            }
            None => {
                let remedy =
                    near::remedy(name, structure.property_names(), "leave it out or send it as an extension");
                (format!("{} has no such element", structure.path), remedy)
            }
        };
        self.within(shown, |walk| walk.error("structure", value, text, remedy));
    }

    fn missing(&mut self, structure: &Structure, node: Node<'_>, present: u128) {
        for (index, element) in structure.elements.iter().enumerate() {
            if element.min > 0 && present & (1 << index) == 0 {
                let name =
                    if element.is_choice { format!("{}[x]", element.name) } else { element.name.to_owned() };
                let (text, remedy) = (format!("{name} is required"), format!("add {name}"));
                self.within(element.name, |walk| walk.error("required", node, text, remedy));
            }
        }
    }

    /// One property, with the `_` property beside it when the element is primitive. Source: FHIR R4 json.html#primitive
    fn property(&mut self, found: Found<'d>, name: &str, value: Option<Node<'d>>, sibling: Option<Node<'d>>) {
        let Some(at) = value.or(sibling) else { return };
        self.within(name, |walk| {
            if !found.element.is_list() {
                return walk.single(found, value, sibling);
            }
            for list in [value, sibling].into_iter().flatten() {
                if list.kind() != Kind::Array {
                    let text = "the element repeats, so it is an array";
                    return walk.error("structure", list, text, "write [ ... ], also for one value");
                }
                if list.is_empty() {
                    return walk.error("structure", list, "an empty array", "leave the element out");
                }
            }
            let lengths = [value, sibling].map(|list| list.map(Node::len));
            let count = lengths.into_iter().flatten().max().unwrap_or(0);
            if let [Some(values), Some(siblings)] = lengths
                && values != siblings
            {
                let text = "the array and the one with _ in front differ in length";
                walk.error("structure", at, text, "fill both with null so that they stand side by side");
            }
            walk.counted(found.element, at, count);
            let mut values = value.map(Node::items);
            let mut siblings = sibling.map(Node::items);
            for nth in 0..count {
                let item = values.as_mut().and_then(Iterator::next);
                let beside = siblings.as_mut().and_then(Iterator::next);
                walk.within(&format!("[{nth}]"), |walk| walk.item(found, item, beside, at));
                if walk.is_full() {
                    break;
                }
            }
        });
    }

    fn counted(&mut self, element: &Element, at: Node<'_>, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count < element.min {
            let text = format!("stands {count} times, at least {} are required", element.min);
            self.error("required", at, text, "add the missing ones");
        }
        if let Some(max) = element.max.filter(|max| count > *max) {
            let text = format!("stands {count} times, at most {max} are allowed");
            self.error("structure", at, text, "leave some out");
        }
    }

    /// An element that stands once.
    fn single(&mut self, found: Found<'d>, value: Option<Node<'d>>, sibling: Option<Node<'d>>) {
        if let Some(list) = [value, sibling].into_iter().flatten().find(|node| node.kind() == Kind::Array) {
            let text = "the element does not repeat, so it is no array";
            return self.error("structure", list, text, "write the value without [ ]");
        }
        if let Some(null) = value.filter(|value| value.kind() == Kind::Null) {
            // json.html: null stands only in arrays, to keep them side by side.
            return self.error("structure", null, "null is no value", "leave the element out");
        }
        if let Some(value) = value {
            self.value(found.element, found.type_, value);
        }
        if let Some(sibling) = sibling {
            self.beside(sibling, value.is_some());
        }
    }

    /// One place in a pair of arrays; `at` is where a place that is missing is told.
    fn item(&mut self, found: Found<'d>, item: Option<Node<'d>>, beside: Option<Node<'d>>, at: Node<'d>) {
        let something = |node: &Node<'_>| node.kind() != Kind::Null;
        match (item.filter(something), beside.filter(something)) {
            (None, None) => {
                let at = item.or(beside).unwrap_or(at);
                let text = "null stands only where the array beside it has something";
                self.error("structure", at, text, "leave the place out");
            }
            (item, beside) => {
                if let Some(item) = item {
                    self.value(found.element, found.type_, item);
                }
                if let Some(beside) = beside {
                    self.beside(beside, item.is_some());
                }
            }
        }
    }

    /// What stands in a property with `_` in front: id and extensions of a primitive.
    fn beside(&mut self, sibling: Node<'d>, has_value: bool) {
        if let Some(structure) = self.definitions.structure("Element") {
            self.object(structure, sibling);
        }
        if !has_value && sibling.len() == 1 && sibling.get("id").is_some() {
            self.broken("ele-1", sibling, "add the value or an extension, or leave it out");
        }
    }

    /// A value against one type.
    fn value(&mut self, element: &'d Element, type_: &'d ElementType, value: Node<'d>) {
        let structure = self.definitions.structure_at(type_.structure);
        match structure.kind {
            StructureKind::AbstractResource => return self.resource(value, element.name == "contained"),
            StructureKind::Primitive => primitive::judge(self, type_.code, value),
            _ => {
                self.object(structure, value);
                if value.len() == 1 && value.get("id").is_some() {
                    self.broken("ele-1", value, "add what the element is for, or leave it out");
                }
            }
        }
        // Rules of a nested element are its structure's; the others stand at the element itself.
        if structure.path != element.path {
            self.judge_at(element.path, Item::value(self.definitions, type_, Some(value), None));
        }
        if let Some(bound) = element.binding.filter(|binding| binding.strength == Strength::Required) {
            binding::judge(self, bound.value_set, type_.code, value);
        }
        if type_.code == "Reference" {
            self.reference(type_, value);
        }
    }

    /// Source: FHIR R4 references.html#Reference; the types are those of the element's definition.
    fn reference(&mut self, type_: &ElementType, value: Node<'d>) {
        let Some(at) = value.get("reference") else { return };
        let Some(text) = at.as_str() else { return };
        if let Some(id) = text.strip_prefix('#') {
            let path = format!("{}.reference", self.path);
            if let Some(container) = self.containers.last_mut() {
                container.refer(id, path, at);
            }
            return;
        }
        let definitions = self.definitions;
        let is_query = text.contains('?');
        let fits = |found| type_.targets.is_empty() || type_.targets.binary_search(&found).is_ok();
        match parse_reference(definitions, text.clone()) {
            Some(ReferenceTarget::Relative { type_: found, .. }) if !fits(found) => {
                let names: Vec<_> = type_.targets.iter().map(|type_| definitions.type_name(*type_)).collect();
                let remedy = format!("refer to {}", names.join(", "));
                let text = format!("a {} cannot stand here", definitions.type_name(found));
                self.within("reference", |walk| walk.error("value", at, text, remedy));
            }
            // http.html#trules: in a transaction a reference may be a search (Patient?identifier=...).
            None if !is_query && !text.is_empty() && !has_scheme(&text) => {
                let text = "neither [type]/[id] of an R4 resource, an address, nor #[id]";
                let remedy = "write it as Patient/123, https://... or urn:uuid:...";
                self.within("reference", |walk| walk.issue(Severity::Warning, "value", at, text, remedy));
            }
            _ => {}
        }
    }
}
