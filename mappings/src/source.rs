//! What an EPD sent, as one flat tree with the place of every value.
//!
//! Each format (`hl7v2`, `csv`, `json`) parses bytes into the same [`Tree`]; the plan walks trees and knows no format.
//! Parsing is total: a flawed document gives a tree *and* findings, never a panic. Nothing here knows FHIR, maps,
//! clocks or files.

use std::collections::HashMap;

/// Bytes `start..end` of the document as received (before any character set conversion).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte, from 0.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A node of a [`Tree`]: index into its arena, root is `NodeId(0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

/// An interned element name of one [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(pub u32);

/// What a node carries itself, apart from its children.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value of its own: an object, a segment, a composite.
    None,
    /// Text, unescaped and decoded to UTF-8.
    Text(Box<str>),
    /// A number, lexically as sent: `1.10` stays `1.10`.
    Number(Box<str>),
    /// `true` or `false` (JSON sources only).
    Boolean(bool),
    /// Explicitly empty: HL7v2 `""`, JSON `null`. Not the same as absent.
    Null,
}

/// One node: name, place, value and links.
#[derive(Debug, Clone)]
pub struct NodeData {
    /// Element name, e.g. `OBX_5`, `row`, `valueQuantity`.
    pub name: Symbol,
    /// Own value; a composite HL7v2 field also answers with its first component through [`Tree::text`].
    pub value: Value,
    /// Where it stands in the received bytes.
    pub span: Span,
    /// 1-based repetition among siblings of the same name.
    pub ordinal: u32,
    /// The node above; `None` for the root.
    pub parent: Option<NodeId>,
    /// First child in document order.
    pub first_child: Option<NodeId>,
    /// Next sibling in document order.
    pub next_sibling: Option<NodeId>,
}

/// A parsed document: an arena of nodes in document order, names interned.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    nodes: Vec<NodeData>,
    names: Vec<Box<str>>,
    symbols: HashMap<Box<str>, Symbol>,
    last_child: Vec<Option<NodeId>>,
}

impl Tree {
    /// A tree with only its root, named `name`, spanning the whole document of `bytes_len` bytes.
    pub fn new(name: &str, bytes_len: usize) -> Tree {
        let mut tree = Tree::default();
        let name = tree.intern(name);
        tree.nodes.push(NodeData {
            name,
            value: Value::None,
            span: Span { start: 0, end: u32::try_from(bytes_len).unwrap_or(u32::MAX) },
            ordinal: 1,
            parent: None,
            first_child: None,
            next_sibling: None,
        });
        tree.last_child.push(None);
        tree
    }

    /// The root node.
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    /// Appends a child under `parent`; `ordinal` counts same-named siblings.
    pub fn push(&mut self, parent: NodeId, name: &str, value: Value, span: Span) -> NodeId {
        let name = self.intern(name);
        let ordinal = 1 + self.children(parent).filter(|&c| self.node(c).name == name).count() as u32;
        self.push_ordinal(parent, name, value, span, ordinal)
    }

    /// As [`Tree::push`], where the caller knows the repetition (parsers that count themselves stay linear).
    pub fn push_ordinal(
        &mut self,
        parent: NodeId,
        name: Symbol,
        value: Value,
        span: Span,
        ordinal: u32,
    ) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(NodeData {
            name,
            value,
            span,
            ordinal,
            parent: Some(parent),
            first_child: None,
            next_sibling: None,
        });
        self.last_child.push(None);
        let parent_at = parent.0 as usize;
        match self.last_child.get(parent_at).copied().flatten() {
            Some(last) => {
                if let Some(last) = self.nodes.get_mut(last.0 as usize) {
                    last.next_sibling = Some(id);
                }
            }
            None => {
                if let Some(parent) = self.nodes.get_mut(parent_at) {
                    parent.first_child = Some(id);
                }
            }
        }
        if let Some(last) = self.last_child.get_mut(parent_at) {
            *last = Some(id);
        }
        id
    }

    /// The node's data. Ids come from this tree, so the lookup cannot miss; a foreign id reads as the root.
    pub fn node(&self, id: NodeId) -> &NodeData {
        self.nodes.get(id.0 as usize).unwrap_or_else(|| &self.nodes[0])
    }

    /// Sets the value of a node (parsers that learn it after its children).
    pub fn set_value(&mut self, id: NodeId, value: Value) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.value = value;
        }
    }

    /// Sets the end of a node's span (parsers that learn it after its children).
    pub fn set_end(&mut self, id: NodeId, end: u32) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.span.end = end;
        }
    }

    /// Children in document order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut next = self.node(id).first_child;
        std::iter::from_fn(move || {
            let at = next?;
            next = self.node(at).next_sibling;
            Some(at)
        })
    }

    /// Children named `name`, in document order.
    pub fn named<'t>(&'t self, id: NodeId, name: &str) -> impl Iterator<Item = NodeId> + 't {
        let symbol = self.symbol(name);
        self.children(id).filter(move |&c| Some(self.node(c).name) == symbol)
    }

    /// The node's text: its own value, or that of its first component where it is a composite
    /// (HL7v2 2.x: a simple value where a composite is expected is its first component, and the other way round).
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).value {
            Value::Text(t) | Value::Number(t) => Some(t),
            Value::Boolean(true) => Some("true"),
            Value::Boolean(false) => Some("false"),
            Value::Null | Value::None => None,
        }
    }

    /// A node's element name.
    pub fn name(&self, id: NodeId) -> &str {
        self.names.get(self.node(id).name.0 as usize).map_or("", |n| n)
    }

    /// Human path of a node, e.g. `OBX[4].OBX_5`, `row[7].gewicht_kg`, `modifierExtension[1].url`; ordinals are
    /// shown where a name repeats or for a segment or row; the root itself is not named.
    pub fn path(&self, id: NodeId) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        while let Some(parent) = self.node(at).parent {
            let node = self.node(at);
            let repeats = self.children(parent).filter(|&c| self.node(c).name == node.name).nth(1).is_some();
            steps.push(if repeats || self.node(parent).parent.is_none() {
                format!("{}[{}]", self.name(at), node.ordinal)
            } else {
                self.name(at).to_owned()
            });
            at = parent;
        }
        steps.reverse();
        steps.join(".")
    }

    /// The symbol of a name, if any node carries it.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// Interns a name.
    pub fn intern(&mut self, name: &str) -> Symbol {
        if let Some(&symbol) = self.symbols.get(name) {
            return symbol;
        }
        let symbol = Symbol(self.names.len() as u32);
        self.names.push(name.into());
        self.symbols.insert(name.into(), symbol);
        symbol
    }
}
