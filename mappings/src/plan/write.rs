//! Filling a target element: plain values, copies of whole elements, and the composites transforms make.

use crate::source::{NodeId, Value};

use super::code::{Code, Fill};
use super::execute::Machine;
use super::item::{Item, Items};
use super::problem::Problem;
use super::shape::{FieldId, TypeId, shapes};
use super::target::{Origin, TargetId};

impl<'t> Machine<'t> {
    /// Runs one write; gives the elements written, for the rule's variable.
    pub(crate) fn write(
        &mut self,
        parent: TargetId,
        steps: &[FieldId],
        field: FieldId,
        type_id: TypeId,
        fill: &'t Fill,
        share: Option<u16>,
    ) -> Result<Items, Problem> {
        let origin = self.origin();
        let mut parent = parent;
        // The elements on the way are made only when there is something to put in them.
        let values = match fill {
            Fill::Copy(code) => Some(self.evaluate(code, None)?),
            _ => None,
        };
        if values.as_ref().is_some_and(Items::is_empty) {
            return Ok(Items::Empty);
        }
        for step in steps {
            parent = self.target.open(parent, *step, shapes().field(*step).type_id, origin)?;
        }
        if let Some(share) = share
            && let Some(&shared) = self.shares.get(&(parent, share))
        {
            return Ok(Items::One(Item::Target(shared)));
        }
        let written = match (fill, values) {
            (Fill::Copy(_), Some(values)) => {
                let mut written = Items::Empty;
                for item in values.as_slice() {
                    if let Some(target) = self.copy(parent, field, type_id, item)? {
                        written.push(Item::Target(target));
                    }
                }
                written
            }
            (Fill::Open, _) => one(self.target.open(parent, field, type_id, origin)?),
            (Fill::Create, _) => one(self.target.add(parent, field, type_id, origin)?),
            (fill, _) => match self.composite(parent, field, type_id, fill) {
                Err(problem) if problem.node.is_none() => return Err(self.placed(problem, fill)),
                made => made?,
            },
        };
        if let (Some(share), Some(Item::Target(target))) = (share, written.first()) {
            self.shares.insert((parent, share), *target);
        }
        Ok(written)
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { rule: self.rule, node: self.anchor }
    }

    /// One value into one new element.
    fn copy(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        item: &Item,
    ) -> Result<Option<TargetId>, Problem> {
        let origin = match item {
            Item::Node(node) => Origin { node: *node, ..self.origin() },
            _ => self.origin(),
        };
        if shapes().is_primitive(type_id) {
            let Some(text) = self.text(item) else {
                if matches!(item, Item::Node(node) if self.tree.node(*node).value == Value::None) {
                    let text = format!("`{}` takes a simple value", shapes().field(field).name);
                    return Err(Problem::new("value-composite", text, "map its parts one by one").on(item));
                }
                return Ok(None);
            };
            // FHIR has no empty strings (R4 datatypes.html#string); spaces alone say nothing.
            if text.trim().is_empty() {
                return Ok(None);
            }
            let target = self.target.add(parent, field, type_id, origin)?;
            self.target.set(target, &text).map_err(|error| Problem::from(error).on(item))?;
            return Ok(Some(target));
        }
        match item {
            Item::Node(node) if self.tree.node(*node).value == Value::None => {
                let target = self.target.add(parent, field, type_id, origin)?;
                self.copy_members(*node, target, 0)?;
                Ok(Some(target))
            }
            Item::Target(_) => {
                Err(Problem::new("value-target", "a target element cannot be copied", "write it anew"))
            }
            _ => {
                let text = format!(
                    "`{}` is a {}, not a simple value",
                    shapes().field(field).name,
                    shapes().type_name(type_id)
                );
                Err(Problem::new("value-simple", text, "use cc(), qty(), translate() or create()").on(item))
            }
        }
    }

    /// FHIR JSON source -> same-named R4 elements, primitive extensions included. What R4 does not know is an error;
    /// a modifierExtension is left for the rule that understands it (FHIR R4 extensibility.html#modifierExtension).
    fn copy_members(&mut self, node: NodeId, target: TargetId, depth: u32) -> Result<(), Problem> {
        if depth > self.limits.depth_max {
            return Err(Problem::new("limit-depth", "an element nests too deep", "flatten the document"));
        }
        let tree = self.tree;
        let type_id = self.target.get(target).map_or(TypeId::default(), |n| n.type_id);
        let mut made: Vec<(FieldId, u32, TargetId)> = Vec::new();
        for child in tree.children(node) {
            let name = tree.name(child);
            if name == "modifierExtension" || (name == "resourceType" && shapes().is_resource(type_id)) {
                continue;
            }
            let (element, extended) = match name.strip_prefix('_') {
                Some(element) => (element, true),
                None => (name, false),
            };
            let item = Item::Node(child);
            let Some(field) = shapes().find(type_id, element) else {
                let text = format!("`{name}` is no element of {} in R4", shapes().type_name(type_id));
                let remedy = "map the elements of this part one by one, naming what this becomes";
                return Err(Problem::new("element-unknown", text, remedy).on(&item).because(name.to_owned()));
            };
            let data = tree.node(child);
            let field_type = shapes().field(field).type_id;
            let origin = Origin { node: child, ..self.origin() };
            if extended {
                let there = made.iter().find(|(f, ordinal, _)| *f == field && *ordinal == data.ordinal);
                if data.value != Value::None {
                    self.mark(child);
                    continue;
                }
                let of = match there {
                    Some((_, _, of)) => *of,
                    None => self.target.add(target, field, field_type, origin)?,
                };
                made.push((field, data.ordinal, of));
                self.copy_members(child, of, depth + 1)?;
            } else if shapes().is_primitive(field_type) {
                let there = made.iter().find(|(f, ordinal, _)| *f == field && *ordinal == data.ordinal);
                let of = match there {
                    Some((_, _, of)) => *of,
                    None => self.target.add(target, field, field_type, origin)?,
                };
                if data.value == Value::None {
                    return Err(Problem::new(
                        "value-composite",
                        format!("`{name}` takes a simple value"),
                        "",
                    )
                    .on(&item));
                }
                made.push((field, data.ordinal, of));
                if let Some(text) = self.text(&item) {
                    self.target.set(of, &text).map_err(|error| Problem::from(error).on(&item))?;
                }
            } else if data.value == Value::None {
                let of = self.target.add(target, field, field_type, origin)?;
                self.copy_members(child, of, depth + 1)?;
            } else {
                return Err(
                    Problem::new("value-simple", format!("`{name}` is not a simple value"), "").on(&item)
                );
            }
        }
        Ok(())
    }

    fn composite(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        fill: &'t Fill,
    ) -> Result<Items, Problem> {
        let texts = |this: &mut Self, codes: &[Code]| -> Result<Vec<Option<String>>, Problem> {
            codes.iter().map(|code| this.code_text(code)).collect()
        };
        let part = |parts: &[Option<String>], at: usize| parts.get(at).cloned().flatten();
        let made = match fill {
            Fill::Concept(codes) => {
                let parts = texts(self, codes)?;
                if parts.iter().all(Option::is_none) {
                    return Ok(Items::Empty);
                }
                let concept = self.target.add(parent, field, type_id, self.origin())?;
                if parts.len() == 1 {
                    self.put(concept, "text", part(&parts, 0))?;
                } else {
                    let coding = self.child(concept, "coding")?;
                    self.put(coding, "system", part(&parts, 0))?;
                    self.put(coding, "code", part(&parts, 1))?;
                    self.put(coding, "display", part(&parts, 2))?;
                }
                concept
            }
            Fill::Coding(codes) => {
                let parts = texts(self, codes)?;
                if part(&parts, 1).is_none() {
                    return Ok(Items::Empty);
                }
                let coding = self.target.add(parent, field, type_id, self.origin())?;
                self.put(coding, "system", part(&parts, 0))?;
                self.put(coding, "code", part(&parts, 1))?;
                self.put(coding, "display", part(&parts, 2))?;
                coding
            }
            Fill::Quantity(codes) => {
                let parts = texts(self, codes)?;
                if part(&parts, 0).is_none() {
                    return Ok(Items::Empty);
                }
                let quantity = self.target.add(parent, field, type_id, self.origin())?;
                for (at, name) in ["value", "unit", "system", "code"].into_iter().enumerate() {
                    self.put(quantity, name, part(&parts, at))?;
                }
                quantity
            }
            Fill::Ucum { value, unit, table } => {
                let Some(value) = self.code_text(value)? else { return Ok(Items::Empty) };
                let items = self.evaluate(unit, None)?;
                let unit = self.code_text(unit)?.map(|text| (text, items.first().cloned()));
                let quantity = self.target.add(parent, field, type_id, self.origin())?;
                self.put(quantity, "value", Some(value))?;
                self.unit(quantity, unit, table)?;
                quantity
            }
            Fill::Identifier(codes) => {
                let parts = texts(self, codes)?;
                if part(&parts, 1).is_none() {
                    return Ok(Items::Empty);
                }
                let identifier = self.target.add(parent, field, type_id, self.origin())?;
                self.put(identifier, "system", part(&parts, 0))?;
                self.put(identifier, "value", part(&parts, 1))?;
                identifier
            }
            Fill::Contact(codes) => {
                let parts = texts(self, codes)?;
                if part(&parts, 0).is_none() {
                    return Ok(Items::Empty);
                }
                let contact = self.target.add(parent, field, type_id, self.origin())?;
                self.put(contact, "value", part(&parts, 0))?;
                self.put(contact, "system", part(&parts, 1))?;
                contact
            }
            Fill::Reference(codes) => {
                let parts = texts(self, codes)?;
                let literal = parts.len() == 1;
                if part(&parts, if literal { 0 } else { 2 }).is_none() {
                    return Ok(Items::Empty);
                }
                let reference = self.target.add(parent, field, type_id, self.origin())?;
                if literal {
                    self.put(reference, "reference", part(&parts, 0))?;
                } else {
                    // A logical reference: the writer resolves it (FHIR R4 references.html#logical).
                    self.put(reference, "type", part(&parts, 0))?;
                    let identifier = self.child(reference, "identifier")?;
                    self.put(identifier, "system", part(&parts, 1))?;
                    self.put(identifier, "value", part(&parts, 2))?;
                }
                reference
            }
            Fill::Translate { value, table, quarantine, system } => {
                let system = match system {
                    Some(system) => self.code_text(system)?,
                    None => None,
                };
                let value = self.evaluate(value, None)?;
                let mut written = Items::Empty;
                for item in value.as_slice() {
                    if let Some(target) =
                        self.translate(parent, (field, type_id), item, table, *quarantine, system.as_deref())?
                    {
                        written.push(Item::Target(target));
                    }
                }
                return Ok(written);
            }
            Fill::Open | Fill::Create | Fill::Copy(_) => return Ok(Items::Empty),
        };
        Ok(one(made))
    }

    /// A problem of a composite, placed on the first part of it that came from the document.
    fn placed(&mut self, problem: Problem, fill: &Fill) -> Problem {
        let parts: Vec<&Code> = match fill {
            Fill::Ucum { value, unit, .. } => vec![value, unit],
            Fill::Concept(codes) | Fill::Coding(codes) | Fill::Quantity(codes) | Fill::Identifier(codes) => {
                codes.iter().collect()
            }
            Fill::Contact(codes) | Fill::Reference(codes) => codes.iter().collect(),
            _ => Vec::new(),
        };
        for part in parts {
            if let Ok(items) = self.evaluate(part, None)
                && let Some(item @ Item::Node(_)) = items.first()
            {
                return problem.on(item);
            }
        }
        problem
    }

    fn code_text(&mut self, code: &Code) -> Result<Option<String>, Problem> {
        let items = self.evaluate(code, None)?;
        Ok(self.single_text(&items)?.map(|text| text.to_string()).filter(|text| !text.trim().is_empty()))
    }

    /// A new child of `parent` by its JSON name.
    pub(crate) fn child(&mut self, parent: TargetId, name: &str) -> Result<TargetId, Problem> {
        let type_id = self.target.get(parent).map_or(TypeId::default(), |node| node.type_id);
        let Some(field) = shapes().find(type_id, name) else {
            let text = format!("`{name}` is no element of {}", shapes().type_name(type_id));
            return Err(Problem::new("element-unknown", text, "give the element another type in the map"));
        };
        Ok(self.target.add(parent, field, shapes().field(field).type_id, self.origin())?)
    }

    /// A primitive child, when there is a value.
    pub(crate) fn put(&mut self, parent: TargetId, name: &str, text: Option<String>) -> Result<(), Problem> {
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            let child = self.child(parent, name)?;
            self.target.set(child, &text)?;
        }
        Ok(())
    }
}

fn one(target: TargetId) -> Items {
    Items::One(Item::Target(target))
}
