//! Resources while they are built: an arena that refuses what R4 does not allow, at the rule that tries.
//!
//! Cardinality and choice are checked on every write; element order and the form of primitive extensions are made when
//! the resource is written out. Lexical rules and bindings are the validator's business, afterwards.
//! Source: FHIR R4 json.html (property order is free, ours is the definition's, so that output is deterministic).

mod json;
mod sure;
mod xml;

pub(crate) use json::Written;
pub(crate) use xml::XmlError;

use smallvec::SmallVec;

use crate::source::NodeId;

use super::item::Text;
use super::shape::{FieldId, Shapes, TypeId};

/// A node of the target arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TargetId(pub u32);

/// Own value of a primitive element.
#[derive(Debug, Clone)]
pub(crate) enum Leaf<'t> {
    Text(Text<'t>),
    /// A JSON number lexeme, kept as sent.
    Number(Text<'t>),
    Boolean(bool),
}

impl Leaf<'_> {
    /// Its text: a string without quotes, a number's lexeme, `true` or `false`.
    pub(crate) fn text(&self) -> &str {
        match self {
            Leaf::Text(text) | Leaf::Number(text) => text,
            Leaf::Boolean(value) => {
                if *value {
                    "true"
                } else {
                    "false"
                }
            }
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

/// Elements of an element: few, so that they need no allocation of their own.
pub(crate) type Children = SmallVec<[TargetId; 5]>;

#[derive(Debug, Clone)]
pub(crate) struct TargetNode<'t> {
    pub type_id: TypeId,
    /// `None` for a root resource.
    pub field: Option<FieldId>,
    pub value: Option<Leaf<'t>>,
    pub children: Children,
    /// Before (-1) or after (1) the others of its list, whenever they are made.
    pub rank: i8,
    pub origin: Origin,
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
    pub(crate) fn new(shapes: &'t Shapes, nodes_max: usize) -> Arena<'t> {
        Arena { nodes: Vec::new(), nodes_max, shapes }
    }

    /// Number of elements made so far: the next one's id.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    /// Lets the values a rule wrote since `from` lead to the node that holds each: where of the nodes it read there is one of
    /// that text; what was made of a text leads to the one node the rule read. A constant of the map stays with the rule's own node. `text` gives the
    /// text of a node, `within` says that a node is part of another.
    pub(crate) fn refine(
        &mut self,
        from: u32,
        rule: u32,
        reads: &[NodeId],
        text: impl Fn(NodeId) -> Option<&'t str>,
        within: impl Fn(NodeId, NodeId) -> bool,
    ) {
        for node in self.nodes.iter_mut().skip(from as usize).filter(|node| node.origin.rule == rule) {
            let Some(value) = &node.value else { continue };
            let anchor = node.origin.node;
            let mut near: Vec<NodeId> = reads.iter().copied().filter(|read| within(*read, anchor)).collect();
            near.sort_unstable();
            near.dedup();
            let same: Vec<NodeId> = near
                .iter()
                .copied()
                .filter(|read| text(*read).is_some_and(|t| t.trim() == value.text()))
                .collect();
            let is_made = matches!(value, Leaf::Text(Text::Made(_)) | Leaf::Number(Text::Made(_)));
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
        self.push(TargetNode {
            type_id,
            field: None,
            value: None,
            children: Children::new(),
            rank: 0,
            origin,
        })
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
        for &child in self.get(parent).map_or(&[][..], |node| &node.children) {
            let Some(other) = self.get(child).and_then(|node| node.field) else { continue };
            if other == field && !shape.many {
                return Err(WriteError::Second(shape.name.clone()));
            }
            let other = self.shapes.field(other);
            if shape.choice && other.element == shape.element && other.name != shape.name {
                return Err(WriteError::Choice(shape.name.clone(), other.name.clone()));
            }
        }
        let id = self.push(TargetNode {
            type_id,
            field: Some(field),
            value: None,
            children: Children::new(),
            rank: 0,
            origin,
        })?;
        if let Some(parent) = self.nodes.get_mut(parent.0 as usize) {
            parent.children.push(id);
        }
        Ok(id)
    }

    /// The element `field` of `parent` when it can be there once only and is, else a new one.
    pub(crate) fn open(
        &mut self,
        parent: TargetId,
        field: FieldId,
        type_id: TypeId,
        origin: Origin,
    ) -> Result<TargetId, WriteError> {
        if !self.shapes.field(field).many {
            let children = self.get(parent).map_or(&[][..], |node| &node.children);
            let there =
                children.iter().find(|&&child| self.get(child).is_some_and(|n| n.field == Some(field)));
            if let Some(&there) = there {
                return Ok(there);
            }
        }
        self.add(parent, field, type_id, origin)
    }

    /// The elements `field` of `parent`, in the order they were made.
    pub(crate) fn there(&self, parent: TargetId, field: FieldId) -> Vec<TargetId> {
        let children = self.get(parent).map_or(&[][..], |node| &node.children);
        children
            .iter()
            .copied()
            .filter(|child| self.get(*child).is_some_and(|n| n.field == Some(field)))
            .collect()
    }

    /// Puts an element before or after the others of its list. Errors: another rule claimed that place.
    pub(crate) fn rank(&mut self, parent: TargetId, id: TargetId, rank: i8) -> Result<(), WriteError> {
        let Some((field, rule)) = self.get(id).and_then(|node| Some((node.field?, node.origin.rule))) else {
            return Ok(());
        };
        for other in self.there(parent, field) {
            if self.get(other).is_some_and(|node| node.rank == rank && node.origin.rule != rule) {
                return Err(WriteError::Place(self.shapes.field(field).name.clone()));
            }
        }
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.rank = rank;
        }
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
        if !shape.many && !self.there(parent, field).is_empty() {
            return Err(WriteError::Second(shape.name.clone()));
        }
        let mut inside = vec![root];
        while let Some(at) = inside.pop() {
            if at == parent {
                return Err(WriteError::Attached);
            }
            inside.extend(self.get(at).into_iter().flat_map(|node| &node.children));
        }
        match self.nodes.get_mut(root.0 as usize) {
            Some(node) if node.field.is_none() => node.field = Some(field),
            _ => return Err(WriteError::Attached),
        }
        if let Some(parent) = self.nodes.get_mut(parent.0 as usize) {
            parent.children.push(root);
        }
        Ok(())
    }

    /// Gives a primitive its value, as the JSON kind its type asks for.
    pub(crate) fn set(&mut self, id: TargetId, text: Text<'t>) -> Result<(), WriteError> {
        let Some(node) = self.nodes.get_mut(id.0 as usize) else { return Ok(()) };
        let type_name = self.shapes.type_name(node.type_id);
        let leaf = match type_name {
            "boolean" => match &*text {
                "true" => Leaf::Boolean(true),
                "false" => Leaf::Boolean(false),
                _ => return Err(WriteError::Value("true or false", type_name.to_owned())),
            },
            "decimal" | "integer" | "positiveInt" | "unsignedInt" => {
                // The lexeme as sent wherever JSON takes it: 1.10 stays 1.10 (FHIR R4 datatypes.html#decimal).
                if super::decimal::is_json_number(&text) {
                    Leaf::Number(text)
                } else {
                    let number = super::decimal::normal(&text);
                    let refused = || WriteError::Value("a number", type_name.to_owned());
                    Leaf::Number(number.ok_or_else(refused)?.into())
                }
            }
            _ => Leaf::Text(text),
        };
        node.value = Some(leaf);
        Ok(())
    }

    pub(crate) fn type_name(&self, id: TargetId) -> &'t str {
        self.get(id).map_or("", |node| self.shapes.type_name(node.type_id))
    }

    pub(crate) fn children_named(&self, id: TargetId, name: &str) -> Vec<TargetId> {
        let Some(node) = self.get(id) else { return Vec::new() };
        let is_named = |child: &&TargetId| {
            let field = self.get(**child).and_then(|n| n.field).map(|f| self.shapes.field(f));
            field.is_some_and(|f| f.name == name || &*f.element == name)
        };
        node.children.iter().filter(is_named).copied().collect()
    }

    pub(crate) fn text(&self, id: TargetId) -> Option<Text<'t>> {
        match self.get(id)?.value.as_ref()? {
            Leaf::Text(text) | Leaf::Number(text) => Some(text.clone()),
            Leaf::Boolean(value) => Some(Text::Source(if *value { "true" } else { "false" })),
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
                if fields.iter().all(|field| self.there(id, *field).is_empty()) {
                    missing.push((id, path.clone(), element));
                }
            }
            for &child in &node.children {
                // What is R4's, a resource in a Bundle of another model, is not judged here.
                if let Some((child_node, field)) = self.get(child).and_then(|n| Some((n, n.field?)))
                    && !shapes.is_r4(child_node.type_id)
                {
                    queue.push((child, format!("{path}.{}", shapes.field(field).name)));
                }
            }
        }
        missing
    }

    fn push(&mut self, node: TargetNode<'t>) -> Result<TargetId, WriteError> {
        if self.nodes.len() >= self.nodes_max {
            return Err(WriteError::Nodes);
        }
        self.nodes.push(node);
        Ok(TargetId(self.nodes.len() as u32 - 1))
    }
}
