//! Filling a target element: plain values, copies of whole elements, and the composites transforms make.

use smallvec::SmallVec;

use crate::source::{NodeId, Value};

use super::code::{Code, Fill, Pick};
use super::execute::Machine;
use super::item::{Item, Items};
use super::problem::Problem;
use super::shape::{FieldId, TypeId};
use super::target::{Origin, TargetId, WriteError};

/// Code system of `Identifier.type` (FHIR R4 valueset-identifier-type.html).
const IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";

impl<'t> Machine<'t> {
    /// Runs one write; gives the elements written, for the rule's variable.
    pub(crate) fn write(
        &mut self,
        parent: TargetId,
        steps: &[FieldId],
        field: FieldId,
        type_id: TypeId,
        fill: &'t Fill,
        pick: Pick,
    ) -> Result<Items<'t>, Problem> {
        let origin = self.origin();
        let mut parent = parent;
        // The elements on the way are made only when there is something to put in them.
        let values = match fill {
            Fill::Copy(code, _) | Fill::CopyAny(code, _) => Some(self.evaluate(code, None)?),
            _ => None,
        };
        if values.as_ref().is_some_and(Items::is_empty) {
            return Ok(Items::Empty);
        }
        for step in steps {
            parent = self.open(parent, *step, self.shapes.field(*step).type_id, origin)?;
        }
        if let Some(there) = self.picked(parent, field, pick)? {
            return Ok(one(there));
        }
        let written = match (fill, values) {
            (Fill::Copy(_, whole), Some(values)) => {
                let mut written = Items::Empty;
                for &item in values.as_slice() {
                    if let Some(target) = self.copy(parent, field, type_id, item, *whole)? {
                        written.push(Item::Target(target));
                    }
                }
                written
            }
            (Fill::CopyAny(_, fields), Some(values)) => {
                let mut written = Items::Empty;
                for &item in values.as_slice() {
                    let field = self.field_for(item, fields)?;
                    let type_id = self.shapes.field(field).type_id;
                    if let Some(target) = self.copy(parent, field, type_id, item, true)? {
                        written.push(Item::Target(target));
                    }
                }
                written
            }
            (Fill::Open, _) => one(self.open(parent, field, type_id, origin)?),
            (Fill::Create, _) => one(self.target.add(parent, field, type_id, origin)?),
            (Fill::Fixed(fixed), _) => one(self.target.add_fixed(parent, field, (type_id, origin), fixed)?),
            (fill, _) => match self.composite(parent, field, type_id, fill) {
                Err(problem) if problem.node.is_none() => return Err(self.placed(problem, fill)),
                made => made?,
            },
        };
        let rank = match pick {
            Pick::First => -1,
            Pick::Last => 1,
            Pick::New | Pick::Share(_) | Pick::Single => 0,
        };
        if rank != 0 {
            for item in written.as_slice() {
                if let Item::Target(target) = item {
                    self.target.rank(parent, *target, rank)?;
                }
            }
        }
        if let (Pick::Share(share), Some(Item::Target(target))) = (pick, written.first()) {
            self.shares.insert((parent, share), target);
        }
        Ok(written)
    }

    /// An element to write into. What was fixed is so no more.
    fn open(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        origin: Origin,
    ) -> Result<TargetId, Problem> {
        let opened = self.target.open(parent, field, type_id, origin)?;
        if let Some((fixed, by)) = self.target.loosen(opened) {
            let outer = (self.rule, self.anchor);
            (self.rule, self.anchor) = (by.rule, by.node);
            let filled = self.fill_in(opened, &fixed.fill, &fixed.texts());
            (self.rule, self.anchor) = outer;
            filled?;
        }
        Ok(opened)
    }

    /// A unit that became part of another: what went wrong with it is the other's.
    fn absorb(&mut self, root: TargetId) {
        let Some(at) = self.units.iter().position(|unit| unit.root == root) else { return };
        let part = self.units.remove(at);
        self.unit = Some(0).filter(|_| !self.units.is_empty());
        match self.units.first_mut() {
            Some(unit) => unit.findings.extend(part.findings),
            None => self.findings.extend(part.findings),
        }
    }

    /// The element of a list a target shares, where it is there already. Errors: a second one of `single`.
    fn picked(&self, parent: TargetId, field: FieldId, pick: Pick) -> Result<Option<TargetId>, Problem> {
        Ok(match pick {
            Pick::New | Pick::First | Pick::Last => None,
            Pick::Share(share) => self.shares.get(&(parent, share)).copied(),
            Pick::Single => match self.target.there(parent, field).next() {
                None => None,
                Some(_) => return Err(WriteError::Second(self.shapes.field(field).name.clone()).into()),
            },
        })
    }

    /// The type of a choice an item has: that of a made value, or what the name of its element ends in.
    fn field_for(&mut self, item: Item<'t>, fields: &[FieldId]) -> Result<FieldId, Problem> {
        let shapes = self.shapes;
        let fits = |name: &str| {
            let ends = fields.iter().filter(|field| {
                let field = shapes.field(**field);
                field.name.strip_prefix(&*field.element).is_some_and(|type_name| name.ends_with(type_name))
            });
            ends.max_by_key(|field| shapes.field(**field).name.len()).copied()
        };
        let name = match item {
            Item::Node(node) => self.tree.name(node),
            Item::Text(_) => "String",
            Item::Number(number) if number.contains('.') => "Decimal",
            Item::Number(_) => "Integer",
            Item::Boolean(_) => "Boolean",
            Item::Target(target) => self.target.type_name(target),
        };
        let of_value = |this: &mut Self| match item {
            Item::Node(node) => match this.tree.node(node).value {
                Value::Boolean(_) => fits("Boolean"),
                Value::Number(_) => fits("Decimal").or_else(|| fits("Integer")),
                Value::Text(_) => fits("String"),
                _ => None,
            },
            _ => None,
        };
        fits(name).or_else(|| of_value(self)).ok_or_else(|| {
            let element = fields.first().map_or("", |field| &*shapes.field(*field).element);
            let text = format!("`{name}` is of no type that `{element}[x]` may have");
            Problem::new("value-type", text, "map it to another element").on(item)
        })
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
        item: Item<'t>,
        whole: bool,
    ) -> Result<Option<TargetId>, Problem> {
        let origin = match item {
            Item::Node(node) => Origin { node, ..self.origin() },
            _ => self.origin(),
        };
        if self.shapes.is_primitive(type_id) {
            let beside = match item {
                Item::Node(node) if whole => self.beside(node),
                _ => None,
            };
            let Some(text) = self.text(item) else {
                if let Some(beside) = beside {
                    // `id` and `extension` alone, as a reason for absence.
                    let target = self.target.add(parent, field, type_id, origin)?;
                    self.copy_members(beside, target, 0)?;
                    return Ok(Some(target));
                }
                if matches!(item, Item::Node(node) if self.tree.node(node).value == Value::None) {
                    let text = format!("`{}` takes a simple value", self.shapes.field(field).name);
                    return Err(Problem::new("value-composite", text, "map its parts one by one").on(item));
                }
                return Ok(None);
            };
            // FHIR has no empty strings (R4 datatypes.html#string); spaces alone say nothing.
            if text.trim().is_empty() {
                return Ok(None);
            }
            let target = self.target.add(parent, field, type_id, origin)?;
            self.set(target, text).map_err(|problem| problem.on(item))?;
            if let Some(beside) = beside {
                self.copy_members(beside, target, 0)?;
            }
            return Ok(Some(target));
        }
        match item {
            Item::Node(node) if self.tree.node(node).value == Value::None => {
                let target = self.target.add(parent, field, type_id, origin)?;
                self.copy_members(node, target, 0)?;
                Ok(Some(target))
            }
            Item::Target(root)
                if self.target.get(root).is_some_and(|node| self.shapes.is_resource(node.type_id)) =>
            {
                self.target.attach(parent, field, root).map_err(|error| Problem::from(error).on(item))?;
                self.absorb(root);
                Ok(Some(root))
            }
            Item::Target(_) => {
                Err(Problem::new("value-target", "a target element cannot be copied", "write it anew"))
            }
            _ => {
                let text = format!(
                    "`{}` is a {}, not a simple value",
                    self.shapes.field(field).name,
                    self.shapes.type_name(type_id)
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
            if name == "modifierExtension" || (name == "resourceType" && self.shapes.is_resource(type_id)) {
                continue;
            }
            let (element, extended) = match name.strip_prefix('_') {
                Some(element) => (element, true),
                None => (name, false),
            };
            let item = Item::Node(child);
            let Some(field) = self.shapes.find(type_id, element) else {
                let text = format!("`{name}` is no element of {} in R4", self.shapes.type_name(type_id));
                let remedy = "map the elements of this part one by one, naming what this becomes";
                return Err(Problem::new("element-unknown", text, remedy).on(item).because(name.to_owned()));
            };
            let data = tree.node(child);
            let field_type = self.shapes.field(field).type_id;
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
            } else if self.shapes.is_primitive(field_type) {
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
                    .on(item));
                }
                made.push((field, data.ordinal, of));
                if let Some(text) = self.text(item) {
                    self.set(of, text).map_err(|problem| problem.on(item))?;
                }
            } else if data.value == Value::None {
                let of = self.target.add(target, field, field_type, origin)?;
                self.copy_members(child, of, depth + 1)?;
            } else {
                return Err(
                    Problem::new("value-simple", format!("`{name}` is not a simple value"), "").on(item)
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
    ) -> Result<Items<'t>, Problem> {
        let made = match fill {
            Fill::Ucum { value, unit, table } => {
                let Some(value) = self.code_text(value)? else { return Ok(Items::Empty) };
                let items = self.evaluate(unit, None)?;
                let unit = self.single_text(&items)?.filter(|text| !text.trim().is_empty());
                let unit = unit.map(|text| (text, items.first()));
                let quantity = self.target.add(parent, field, type_id, self.origin())?;
                self.put(quantity, "value", Some(value))?;
                self.unit(quantity, unit, table)?;
                quantity
            }
            Fill::Translate { value, table, quarantine, system } => {
                let system = match system {
                    Some(system) => self.code_text(system)?,
                    None => None,
                };
                let value = self.evaluate(value, None)?;
                let mut written = Items::Empty;
                for &item in value.as_slice() {
                    if let Some(target) =
                        self.translate(parent, (field, type_id), item, table, *quarantine, system)?
                    {
                        written.push(Item::Target(target));
                    }
                }
                return Ok(written);
            }
            fill => {
                let codes = fill.parts();
                let mut texts: SmallVec<[Option<&'t str>; 4]> = SmallVec::new();
                for code in codes {
                    texts.push(self.code_text(code)?);
                }
                if !fill.is_made_of(&texts) {
                    return Ok(Items::Empty);
                }
                let made = self.target.add(parent, field, type_id, self.origin())?;
                self.fill_in(made, fill, &texts)?;
                made
            }
        };
        Ok(one(made))
    }

    /// Puts the parts of a composite into the element made for it.
    pub(super) fn fill_in(
        &mut self,
        made: TargetId,
        fill: &'t Fill,
        texts: &[Option<&'t str>],
    ) -> Result<(), Problem> {
        let part = |at: usize| texts.get(at).copied().flatten();
        match fill {
            Fill::Concept(_) if texts.len() == 1 => self.put(made, "text", part(0)),
            Fill::Concept(_) => {
                let coding = self.child(made, "coding")?;
                self.put_all(coding, &["system", "code", "display"], texts)
            }
            Fill::Coding(_) => self.put_all(made, &["system", "code", "display"], texts),
            Fill::Quantity(_) => {
                let [Some(text)] = texts else {
                    return self.put_all(made, &["value", "unit", "system", "code"], texts);
                };
                // As people write it: `[comparator]value[space]unit` (mapping-language-ig transforms.html#qty).
                let (comparator, rest) = comparator(text.trim());
                let end =
                    rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
                let (value, unit) = rest.split_at(end);
                self.put(made, "value", Some(value))?;
                self.put(made, "comparator", comparator)?;
                self.put(made, "unit", Some(unit.trim()))
            }
            Fill::Identifier(_) => {
                self.put_all(made, &["system", "value"], texts)?;
                let Some(code) = part(2) else { return Ok(()) };
                let kind = self.child(made, "type")?;
                let coding = self.child(kind, "coding")?;
                self.put_all(coding, &["system", "code"], &[Some(IDENTIFIER_TYPE), Some(code)])
            }
            // `cp(value)`, `cp(system, value)` (mapping-language-ig transforms.html#cp).
            Fill::Contact(_) => match texts {
                [value] => {
                    self.put_all(made, &["system", "value"], &[value.and_then(contact_system), *value])
                }
                _ => self.put_all(made, &["system", "value"], texts),
            },
            Fill::Reference(_) if texts.len() == 1 => self.put(made, "reference", part(0)),
            Fill::Reference(_) => {
                // A logical reference: the writer resolves it (FHIR R4 references.html#logical).
                self.put(made, "type", part(0))?;
                let identifier = self.child(made, "identifier")?;
                self.put_all(identifier, &["system", "value"], &[part(1), part(2)])
            }
            _ => Ok(()),
        }
    }

    fn put_all(
        &mut self,
        parent: TargetId,
        names: &[&str],
        texts: &[Option<&'t str>],
    ) -> Result<(), Problem> {
        names.iter().zip(texts).try_for_each(|(name, text)| self.put(parent, name, *text))
    }

    /// A problem of a composite, placed on the first part of it that came from the document.
    fn placed(&mut self, problem: Problem, fill: &'t Fill) -> Problem {
        let parts: Vec<&'t Code> = match fill {
            Fill::Ucum { value, unit, .. } => vec![value, unit],
            fill => fill.parts().iter().collect(),
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

    fn code_text(&mut self, code: &'t Code) -> Result<Option<&'t str>, Problem> {
        let items = self.evaluate(code, None)?;
        Ok(self.single_text(&items)?.filter(|text| !text.trim().is_empty()))
    }

    /// A new child of `parent` by its JSON name.
    pub(crate) fn child(&mut self, parent: TargetId, name: &str) -> Result<TargetId, Problem> {
        let type_id = self.target.get(parent).map_or(TypeId::default(), |node| node.type_id);
        let Some(field) = self.shapes.find(type_id, name) else {
            let text = format!("`{name}` is no element of {}", self.shapes.type_name(type_id));
            return Err(Problem::new("element-unknown", text, "give the element another type in the map"));
        };
        Ok(self.target.add(parent, field, self.shapes.field(field).type_id, self.origin())?)
    }

    /// A primitive child, when there is a value.
    pub(crate) fn put(&mut self, parent: TargetId, name: &str, text: Option<&'t str>) -> Result<(), Problem> {
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            let child = self.child(parent, name)?;
            self.set(child, text)?;
        }
        Ok(())
    }
}

/// `<`, `<=`, `>=`, `>` in front of a value (FHIR R4 valueset-quantity-comparator.html).
fn comparator(text: &str) -> (Option<&'static str>, &str) {
    for sign in ["<=", ">=", "<", ">"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return (Some(sign), rest.trim_start());
        }
    }
    (None, text)
}

/// What a contact's form tells of its system; `None` where it tells nothing.
fn contact_system(value: &str) -> Option<&'static str> {
    let value = value.trim();
    let is_phone = |c: char| c.is_ascii_digit() || "+-() ./".contains(c);
    match value {
        _ if value.starts_with("mailto:") => Some("email"),
        _ if value.starts_with("tel:") => Some("phone"),
        _ if value.contains("://") => Some("url"),
        _ if value.contains('@') && !value.contains(' ') => Some("email"),
        _ if !value.is_empty() && value.chars().all(is_phone) => Some("phone"),
        _ => None,
    }
}

fn one<'t>(target: TargetId) -> Items<'t> {
    Items::One(Item::Target(target))
}
