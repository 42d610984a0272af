//! Resources while they are built: an arena that refuses what R4 does not allow, at the rule that tries.
//!
//! Cardinality and choice are checked on every write: each element knows by a bit what stands in it. Children are kept in the order of
//! the definition, so that writing a resource out is one walk. The form of primitive extensions is made there too. Lexical rules
//! and bindings are the validator's business, afterwards.
//! Source: FHIR R4 json.html (property order is free, ours is the definition's, so that output is deterministic).

mod json;
mod sure;
mod xml;

pub(crate) use json::{Json, Written};
pub(crate) use xml::XmlError;

use crate::source::NodeId;

use super::fixed::Fixed;
use super::shape::{Field, FieldId, Form, Shapes, TypeId};

/// A node of the target arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetId(pub u32);

/// Own value of a primitive element.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leaf<'t> {
    Text(&'t str),
    /// A JSON number lexeme, kept as sent.
    Number(&'t str),
    Boolean(bool),
}

impl<'t> Leaf<'t> {
    /// Its text: a string without quotes, a number's lexeme, `true` or `false`.
    pub(crate) fn text(self) -> &'t str {
        match self {
            Leaf::Text(text) | Leaf::Number(text) => text,
            Leaf::Boolean(true) => "true",
            Leaf::Boolean(false) => "false",
        }
    }
}

/// Which rule wrote an element, and from which source node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Index into the plan's places.
    pub rule: u32,
    /// The source node the rule stood on.
    pub node: NodeId,
}

#[derive(Debug, Clone)]
pub(crate) struct TargetNode<'t> {
    pub type_id: TypeId,
    /// Before (-1) or after (1) the others of its list, whenever they are made.
    pub rank: i8,
    /// `None` for a root resource.
    pub field: Option<FieldId>,
    /// Place of its field among those of the parent.
    order: u16,
    pub value: Option<Leaf<'t>>,
    /// All of its content, where that is the same in every resource.
    fixed: Option<&'t Fixed>,
    pub origin: Origin,
    /// Children by place, then rank, then as they were made.
    first: Option<TargetId>,
    last: Option<TargetId>,
    next: Option<TargetId>,
    /// Elements that have a child, a bit each by place; places past the last bit have none.
    standing: u128,
}

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// `0..1` and already there.
    Second(String),
    /// Another type of this choice is already there.
    Choice(String, String),
    /// The value does not fit the primitive type.
    Value(&'static str, String),
    /// Two rules say that theirs is the first, or the last, of this list.
    Place(String),
    /// The resource is part of another, or of itself.
    Attached,
    /// More nodes than allowed.
    Nodes,
}

#[derive(Debug)]
pub(crate) struct Arena<'t> {
    nodes: Vec<TargetNode<'t>>,
    pub nodes_max: usize,
    shapes: &'t Shapes,
}

impl<'t> Arena<'t> {
    /// `nodes`: about how many there will be.
    pub(crate) fn new(shapes: &'t Shapes, nodes_max: usize, nodes: usize) -> Arena<'t> {
        Arena { nodes: Vec::with_capacity(nodes.min(nodes_max).min(1 << 14)), nodes_max, shapes }
    }

    /// Number of elements made so far: the next one's id.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// Lets the values a rule wrote since `from` lead to the node that holds each: where of the nodes it read there is one of
    /// that text; what was made of a text leads to the one node the rule read. A constant of the map stays with the rule's own node. `text` gives the
    /// text of a node, `within` says that a node is part of another, `is_made` that a text is none of the document's or a table's.
    pub(crate) fn refine(
        &mut self,
        from: u32,
        rule: u32,
        reads: &[NodeId],
        text: impl Fn(NodeId) -> Option<&'t str>,
        within: impl Fn(NodeId, NodeId) -> bool,
        is_made: impl Fn(&str) -> bool,
    ) {
        for node in self.nodes.iter_mut().skip(from as usize).filter(|node| node.origin.rule == rule) {
            let Some(value) = node.value else { continue };
            let anchor = node.origin.node;
            let mut near: Vec<NodeId> = reads.iter().copied().filter(|read| within(*read, anchor)).collect();
            near.sort_unstable();
            near.dedup();
            let same: Vec<NodeId> = near
                .iter()
                .copied()
                .filter(|read| text(*read).is_some_and(|t| t.trim() == value.text()))
                .collect();
            let is_made = !matches!(value, Leaf::Boolean(_)) && is_made(value.text());
            match (same.as_slice(), near.as_slice()) {
                ([one], _) => node.origin.node = *one,
                ([], [one]) if is_made => node.origin.node = *one,
                _ => {}
            }
        }
    }

    pub(crate) fn get(&self, id: TargetId) -> Option<&TargetNode<'t>> {
        self.nodes.get(id.0 as usize)
    }

    /// A new root resource.
    pub(crate) fn root(&mut self, type_id: TypeId, origin: Origin) -> Result<TargetId, WriteError> {
        self.push(type_id, None, 0, origin)
    }

    /// A new element of `parent`. Errors: it may not be there twice, or the choice is taken.
    pub(crate) fn add(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        origin: Origin,
    ) -> Result<TargetId, WriteError> {
        let shape = self.shapes.field(field);
        self.check_room(parent, field, shape)?;
        let id = self.push(type_id, Some(field), shape.order, origin)?;
        self.link(parent, id);
        Ok(id)
    }

    /// As [`Arena::add`], with all of its content.
    pub(crate) fn add_fixed(
        &mut self,
        parent: TargetId,
        field: FieldId,
        (type_id, origin): (TypeId, Origin),
        fixed: &'t Fixed,
    ) -> Result<TargetId, WriteError> {
        let id = self.add(parent, field, type_id, origin)?;
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.fixed = Some(fixed);
        }
        Ok(id)
    }

    /// Takes the fixed content out of an element, to be made anew part by part; and who put it there.
    pub(crate) fn loosen(&mut self, id: TargetId) -> Option<(&'t Fixed, Origin)> {
        let node = self.nodes.get_mut(id.0 as usize)?;
        Some((node.fixed.take()?, node.origin))
    }

    /// Errors: the element may not be there twice, or another type of its choice is there.
    fn check_room(&self, parent: TargetId, field: FieldId, shape: &Field) -> Result<(), WriteError> {
        if (shape.many && !shape.choice) || !self.may_stand(parent, shape.order) {
            return Ok(());
        }
        for (_, child) in self.children(parent) {
            let Some(other) = child.field else { continue };
            if other == field && !shape.many {
                return Err(WriteError::Second(shape.name.clone()));
            }
            let other = self.shapes.field(other);
            if shape.choice && other.element == shape.element && other.name != shape.name {
                return Err(WriteError::Choice(shape.name.clone(), other.name.clone()));
            }
        }
        Ok(())
    }

    /// Whether an element at that place may be there; `false` is certain.
    fn may_stand(&self, parent: TargetId, order: u16) -> bool {
        let bit = bit(order);
        bit == 0 || self.get(parent).is_some_and(|node| node.standing & bit != 0)
    }

    /// The element `field` of `parent` when it can be there once only and is, else a new one.
    pub(crate) fn open(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        origin: Origin,
    ) -> Result<TargetId, WriteError> {
        if !self.shapes.field(field).many
            && let Some(there) = self.there(parent, field).next()
        {
            return Ok(there);
        }
        self.add(parent, field, type_id, origin)
    }

    /// The elements `field` of `parent`, in the order they stand.
    pub(crate) fn there(&self, parent: TargetId, field: FieldId) -> impl Iterator<Item = TargetId> {
        let may = self.may_stand(parent, self.shapes.field(field).order);
        let children = may.then(|| self.children(parent)).into_iter().flatten();
        children.filter(move |(_, child)| child.field == Some(field)).map(|(id, _)| id)
    }

    /// Puts an element before or after the others of its list. Errors: another rule claimed that place.
    pub(crate) fn rank(&mut self, parent: TargetId, id: TargetId, rank: i8) -> Result<(), WriteError> {
        let Some((field, rule)) = self.get(id).and_then(|node| Some((node.field?, node.origin.rule))) else {
            return Ok(());
        };
        let claimed = |node: &TargetNode<'t>| node.rank == rank && node.origin.rule != rule;
        if self.there(parent, field).any(|other| self.get(other).is_some_and(claimed)) {
            return Err(WriteError::Place(self.shapes.field(field).name.clone()));
        }
        self.unlink(parent, id);
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.rank = rank;
        }
        self.link(parent, id);
        Ok(())
    }

    /// Puts a resource made on its own into an element of another. Errors: the element may not be there twice; the resource is
    /// in another already, or holds this one.
    pub(crate) fn attach(
        &mut self,
        parent: TargetId,
        field: FieldId,
        root: TargetId,
    ) -> Result<(), WriteError> {
        let shape = self.shapes.field(field);
        if !shape.many && self.there(parent, field).next().is_some() {
            return Err(WriteError::Second(shape.name.clone()));
        }
        let mut inside = vec![root];
        while let Some(at) = inside.pop() {
            if at == parent {
                return Err(WriteError::Attached);
            }
            inside.extend(self.children(at).map(|(id, _)| id));
        }
        match self.nodes.get_mut(root.0 as usize) {
            Some(node) if node.field.is_none() => (node.field, node.order) = (Some(field), shape.order),
            _ => return Err(WriteError::Attached),
        }
        self.link(parent, root);
        Ok(())
    }

    /// Gives a primitive its value, as the JSON kind its type asks for. `keep` keeps a number that had to be written anew.
    pub(crate) fn set<E: From<WriteError>>(
        &mut self,
        id: TargetId,
        text: &'t str,
        keep: impl FnOnce(&str) -> Result<&'t str, E>,
    ) -> Result<(), E> {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return Ok(()) };
        let refused = |wanted| WriteError::Value(wanted, self.shapes.type_name(node.type_id).to_owned());
        let leaf = match self.shapes.form(node.type_id) {
            Form::Boolean => match text {
                "true" => Leaf::Boolean(true),
                "false" => Leaf::Boolean(false),
                _ => return Err(refused("true or false").into()),
            },
            // The lexeme as sent wherever JSON takes it: 1.10 stays 1.10 (FHIR R4 datatypes.html#decimal).
            Form::Number if super::decimal::is_json_number(text) => Leaf::Number(text),
            Form::Number => {
                let number = super::decimal::normal(text).ok_or_else(|| refused("a number"))?;
                Leaf::Number(keep(&number)?)
            }
            Form::Text => Leaf::Text(text),
        };
        node.value = Some(leaf);
        Ok(())
    }

    pub(crate) fn type_name(&self, id: TargetId) -> &'t str {
        self.get(id).map_or("", |node| self.shapes.type_name(node.type_id))
    }

    pub(crate) fn children_named(&self, id: TargetId, name: &str) -> Vec<TargetId> {
        let is_named = |child: &TargetNode<'t>| {
            let field = child.field.map(|field| self.shapes.field(field));
            field.is_some_and(|field| field.name == name || &*field.element == name)
        };
        self.children(id).filter(|(_, child)| is_named(child)).map(|(id, _)| id).collect()
    }

    pub(crate) fn text(&self, id: TargetId) -> Option<&'t str> {
        self.get(id)?.value.map(Leaf::text)
    }

    /// Children of an element in the order they are written out.
    fn children(&self, id: TargetId) -> impl Iterator<Item = (TargetId, &TargetNode<'t>)> {
        let mut next = self.get(id).and_then(|node| node.first);
        std::iter::from_fn(move || {
            let at = next?;
            let node = self.get(at)?;
            next = node.next;
            Some((at, node))
        })
    }

    /// Puts a child at its place: behind those that go before it or were there.
    fn link(&mut self, parent: TargetId, id: TargetId) {
        let key = |node: &TargetNode<'t>| (node.order, node.rank);
        let Some((order, rank)) = self.get(id).map(key) else { return };
        let last = self.get(parent).and_then(|node| node.last);
        let is_behind = last.and_then(|last| self.get(last)).is_none_or(|last| key(last) <= (order, rank));
        let before = match is_behind {
            true => last,
            false => {
                let ahead = self.children(parent).take_while(|(_, node)| key(node) <= (order, rank));
                ahead.last().map(|(id, _)| id)
            }
        };
        let next = match before {
            Some(before) => self.nodes.get_mut(before.0 as usize).and_then(|node| node.next.replace(id)),
            None => self.nodes.get_mut(parent.0 as usize).and_then(|node| node.first.replace(id)),
        };
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.next = next;
        }
        if let Some(parent) = self.nodes.get_mut(parent.0 as usize) {
            parent.standing |= bit(order);
            if next.is_none() {
                parent.last = Some(id);
            }
        }
    }

    /// Elements that a model requires and nobody wrote, below a root of another model than R4: the element they are missing in, its path, and
    /// their names.
    pub(crate) fn missing(&self, root: TargetId) -> Vec<(TargetId, String, &'t str)> {
        let shapes = self.shapes;
        let mut missing = Vec::new();
        let mut queue = vec![(root, self.type_name(root).to_owned())];
        while let Some((id, path)) = queue.pop() {
            let Some(node) = self.get(id) else { continue };
            for (element, fields) in shapes.required(node.type_id) {
                if fields.iter().all(|field| self.there(id, *field).next().is_none()) {
                    missing.push((id, path.clone(), element));
                }
            }
            for (child, node) in self.children(id) {
                // What is R4's, a resource in a Bundle of another model, is not judged here.
                if let Some(field) = node.field.filter(|_| !shapes.is_r4(node.type_id)) {
                    queue.push((child, format!("{path}.{}", shapes.field(field).name)));
                }
            }
        }
        missing
    }

    /// Takes a child from its place. Its element may then be empty; a bit too many is only looked into in vain.
    fn unlink(&mut self, parent: TargetId, id: TargetId) {
        let before = self.children(parent).take_while(|(child, _)| *child != id).last().map(|(id, _)| id);
        let next = self.nodes.get_mut(id.0 as usize).and_then(|node| node.next.take());
        match before {
            Some(before) => {
                if let Some(before) = self.nodes.get_mut(before.0 as usize) {
                    before.next = next;
                }
            }
            None => {
                if let Some(parent) = self.nodes.get_mut(parent.0 as usize) {
                    parent.first = next;
                }
            }
        }
        if let Some(parent) = self.nodes.get_mut(parent.0 as usize)
            && parent.last == Some(id)
        {
            parent.last = before;
        }
    }

    fn push(
        &mut self,
        type_id: TypeId,
        field: Option<FieldId>,
        order: u16,
        origin: Origin,
    ) -> Result<TargetId, WriteError> {
        if self.nodes.len() >= self.nodes_max {
            return Err(WriteError::Nodes);
        }
        let (first, last, next) = (None, None, None);
        let (value, standing) = (None, 0);
        self.nodes.push(TargetNode {
            type_id,
            rank: 0,
            field,
            order,
            value,
            fixed: None,
            origin,
            first,
            last,
            next,
            standing,
        });
        Ok(TargetId(self.nodes.len() as u32 - 1))
    }
}

/// The bit of a place; none past the last.
fn bit(order: u16) -> u128 {
    1_u128.checked_shl(u32::from(order)).unwrap_or(0)
}
