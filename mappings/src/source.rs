//! What an EPD sent, as one flat tree with the place of every value.
//!
//! Each format (`hl7v2`, `csv`, `edifact`, `json`, `xml`) parses bytes into the same [`Tree`]; the plan walks trees and knows no format.
//! Parsing is total: a flawed document gives a tree *and* findings, never a panic. Nothing here knows FHIR, maps,
//! clocks or files.

pub mod charset;
pub mod csv;
pub mod edifact;
pub mod hl7v2;
pub mod json;
pub mod locate;
mod names;
pub mod xml;

use std::sync::OnceLock;

use serde::Deserialize;

use self::names::Names;
use crate::{finding::Finding, output::Coverage};

/// The notation a document came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// HL7 version 2, ER7 encoding (bars and hats).
    Hl7v2,
    /// One header line, one row per line.
    Csv,
    /// EDIFACT, Dutch messages in its syntax included.
    Edifact,
    /// FHIR STU3 or R4 JSON, or a vendor's own.
    Json,
    /// CDA or a vendor's own; FHIR in XML is read by the folder for its JSON form.
    Xml,
}

impl Format {
    /// As written in `mapping.toml` and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Hl7v2 => "hl7v2",
            Format::Csv => "csv",
            Format::Edifact => "edifact",
            Format::Json => "json",
            Format::Xml => "xml",
        }
    }
}

/// What a document says about itself: enough to choose a mapping folder and to recognise a resend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Notation.
    pub format: Format,
    /// HL7v2 MSH-9 as `ORU^R01`; EDIFACT UNH-2 as `MEDLAB:1`; JSON `resourceType`; XML local name of the root; `None` for CSV.
    pub message_type: Option<String>,
    /// HL7v2 MSH-10; EDIFACT UNB-5 and UNH-1; CDA `id` as `root^extension`; `None` where the format has none.
    pub control_id: Option<String>,
    /// HL7v2 MSH-12.1.
    pub version: Option<String>,
    /// HL7v2 MSH-7 and CDA `effectiveTime` as sent; FHIR `meta.lastUpdated`.
    pub source_time: Option<String>,
    /// Character set the text was read in, e.g. `8859/1`.
    pub charset: Option<String>,
    /// CSV column names in header order; empty for other formats.
    pub columns: Vec<String>,
    /// XML namespace of the root.
    pub namespace: Option<String>,
}

impl Facts {
    /// Nothing known yet but the notation.
    pub fn new(format: Format) -> Facts {
        Facts {
            format,
            message_type: None,
            control_id: None,
            version: None,
            source_time: None,
            charset: None,
            columns: Vec::new(),
            namespace: None,
        }
    }
}

/// What a parser will hold at most; past it the document is refused (`document-too-large`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of a document, bytes; never more than a [`Span`] can say.
    pub bytes_max: u32,
    /// Nodes of one tree.
    pub nodes_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes_max: 64 << 20, nodes_max: 2_000_000 }
    }
}

impl Limits {
    /// `Some` finding when the document is longer than allowed.
    pub(crate) fn refuse_length(&self, bytes: &[u8]) -> Option<Finding> {
        (bytes.len() > self.bytes_max as usize).then(|| self.too_large("bytes", self.bytes_max))
    }

    /// The finding for a tree that outgrows [`Limits::nodes_max`].
    pub(crate) fn refuse_nodes(&self) -> Finding {
        self.too_large("values", self.nodes_max)
    }

    fn too_large(&self, what: &str, most: u32) -> Finding {
        Finding::new(
            crate::finding::Severity::Fatal,
            "document-too-large",
            format!("The document holds more than {most} {what}."),
            "Send it in smaller parts.",
        )
    }
}

/// A document read: always a tree, with what was wrong about it beside it.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The document; only its root when nothing could be read.
    pub tree: Tree,
    /// What the parser has to say. One `Fatal` means: use nothing of the tree. An `Error` concerns the units whose bytes
    /// overlap its span ([`crate::output::Output::absorb`]).
    pub findings: Vec<Finding>,
    /// What the document says about itself.
    pub facts: Facts,
    /// Leaves the parser itself made use of (delimiters, character set, facts): they are read, not dropped.
    pub coverage: Coverage,
}

impl Parsed {
    /// Whether the document as a whole is refused.
    pub fn is_fatal(&self) -> bool {
        self.findings.iter().any(|f| f.severity == crate::finding::Severity::Fatal)
    }
}

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

/// A text one [`Tree`] keeps: [`Tree::keep`] makes it, [`Tree::text`] reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    start: u32,
    end: u32,
}

/// Symbols of a list of names, as far as they are the same in every document that knows them: looked up once.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownSymbols(OnceLock<Vec<Option<Symbol>>>);

impl KnownSymbols {
    /// The symbols of `names`, always the same list, in a document.
    pub(crate) fn of(&self, names: &[Box<str>], tree: &Tree) -> Vec<Option<Symbol>> {
        let Some(known) = tree.known else { return names.iter().map(|name| tree.symbol(name)).collect() };
        let known = self.0.get_or_init(|| names.iter().map(|name| known.get(name).map(Symbol)).collect());
        if tree.names.len() == 0 {
            return known.clone();
        }
        known.iter().zip(names).map(|(symbol, name)| symbol.or_else(|| tree.symbol(name))).collect()
    }
}

/// What a node carries itself, apart from its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// No value of its own: an object, a segment, a composite.
    None,
    /// Text, unescaped and decoded to UTF-8.
    Text(Kept),
    /// A number, lexically as sent: `1.10` stays `1.10`.
    Number(Kept),
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
    /// Names with a number before any document: their symbols come first.
    known: Option<&'static Names>,
    /// Names of this document besides.
    names: Names,
    /// Texts of all values, one behind the other: a value costs no allocation of its own.
    kept: String,
    last_child: Vec<Option<NodeId>>,
    /// Ascending by node: document-wide number of a segment or row, where paths begin.
    anchors: Vec<(NodeId, Symbol, u32)>,
    /// Names of first components and subcomponents, where those answer for their parents.
    components: Option<[Symbol; 2]>,
    texts: bool,
}

impl Tree {
    /// A tree with only its root, named `name`, spanning the whole document of `bytes_len` bytes.
    pub fn new(name: &str, bytes_len: usize) -> Tree {
        Tree::with_names(None, name, bytes_len)
    }

    /// As [`Tree::new`], with names whose symbols are the same in every document.
    fn with_names(known: Option<&'static Names>, name: &str, bytes_len: usize) -> Tree {
        let mut tree = Tree { known, ..Tree::default() };
        // A value takes some eight bytes of a document: room for most documents at once, little for a hostile length.
        let room = (bytes_len / 8).min(1 << 16);
        tree.nodes.reserve(room);
        tree.last_child.reserve(room);
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

    /// Sets the span of a node (parsers that learn it after its name).
    pub fn set_span(&mut self, id: NodeId, span: Span) {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.span = span;
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

    /// Whether a node with a value is itself the child of that name: in HL7v2 a simple value is its own `C1` and `S1`, in
    /// XML the text of an element its `xmlText`.
    pub fn is_own(&self, id: NodeId, name: &str) -> bool {
        match (name, &self.node(id).value) {
            (_, Value::None) => false,
            ("C1" | "S1", _) => self.components.is_some(),
            ("xmlText", Value::Null) => false,
            ("xmlText", _) => self.texts,
            _ => false,
        }
    }

    /// Children named `name`, in document order, and the node itself where [`Tree::is_own`].
    pub fn named<'t>(&'t self, id: NodeId, name: &str) -> impl Iterator<Item = NodeId> + 't {
        let symbol = self.symbol(name);
        self.is_own(id, name)
            .then_some(id)
            .into_iter()
            .chain(self.children(id).filter(move |&c| Some(self.node(c).name) == symbol))
    }

    /// The node's text: its own value, or that of its first component where it is an HL7v2 composite
    /// (2.x: a simple value where a composite is expected is its first component, and the other way round).
    pub fn text(&self, id: NodeId) -> Option<&str> {
        self.own_text(self.text_node(id))
    }

    /// Text of the node's own value.
    pub(crate) fn own_text(&self, id: NodeId) -> Option<&str> {
        match self.node(id).value {
            Value::Text(kept) | Value::Number(kept) => self.kept.get(kept.start as usize..kept.end as usize),
            Value::Boolean(true) => Some("true"),
            Value::Boolean(false) => Some("false"),
            Value::Null | Value::None => None,
        }
    }

    /// Whether a text lies among those of this tree.
    pub(crate) fn holds(&self, text: &str) -> bool {
        self.kept.as_bytes().as_ptr_range().contains(&text.as_ptr())
    }

    /// Keeps a text for a value of this tree.
    pub fn keep(&mut self, text: &str) -> Kept {
        let start = self.kept.len() as u32;
        self.kept.push_str(text);
        Kept { start, end: self.kept.len() as u32 }
    }

    /// Keeps a whole document that is text as it stands, so that a value of it is its place ([`Tree::kept_at`]).
    /// Only before anything else is kept.
    fn keep_document(&mut self, text: &str) {
        self.kept.reserve(text.len() + text.len() / 8);
        self.kept.push_str(text);
    }

    /// The value at a place of the document that was kept whole.
    fn kept_at(span: Span) -> Kept {
        Kept { start: span.start, end: span.end }
    }

    /// The leaf whose value answers for `id` in [`Tree::text`]: the first (sub)component of an HL7v2 composite, else
    /// `id` itself. Coverage marks this one.
    pub fn text_node(&self, id: NodeId) -> NodeId {
        let mut at = id;
        let Some(first_parts) = self.components else { return at };
        loop {
            let node = self.node(at);
            match node.first_child.filter(|_| node.value == Value::None) {
                Some(child) if first_parts.contains(&self.node(child).name) => at = child,
                _ => break,
            }
        }
        at
    }

    /// Declares that `C1`/`S1` children answer for their parents (HL7v2 trees).
    pub fn set_components(&mut self) {
        self.components = Some([self.intern("C1"), self.intern("S1")]);
    }

    /// Declares that the value of a node is its `xmlText` (XML trees).
    pub fn set_texts(&mut self) {
        self.texts = true;
    }

    /// Gives a segment or row its document-wide number: paths begin there (`OBX[4]`, `row[7]`), whatever group it
    /// stands in. A group may carry the anchor of its leading segment.
    pub fn set_anchor(&mut self, id: NodeId, name: &str, number: u32) {
        let name = self.intern(name);
        let at = self.anchors.partition_point(|&(n, _, _)| n < id);
        match self.anchors.get_mut(at) {
            Some(anchor) if anchor.0 == id => *anchor = (id, name, number),
            _ => self.anchors.insert(at, (id, name, number)),
        }
    }

    fn anchor(&self, id: NodeId) -> Option<(&str, u32)> {
        let at = self.anchors.binary_search_by_key(&id, |&(n, _, _)| n).ok()?;
        let &(_, name, number) = self.anchors.get(at)?;
        Some((self.name_of(name), number))
    }

    /// Name of the segment or row that paths through this node begin with, where they begin at it.
    pub(crate) fn anchor_name(&self, id: NodeId) -> Option<&str> {
        self.anchor(id).map(|(name, _)| name)
    }

    /// Every node with a value of its own, in arena order. In XML one may have attributes below it.
    pub fn leaves(&self) -> impl Iterator<Item = NodeId> + '_ {
        (0..self.nodes.len() as u32).map(NodeId).filter(|&id| self.node(id).value != Value::None)
    }

    /// A node's element name.
    pub fn name(&self, id: NodeId) -> &str {
        self.name_of(self.node(id).name)
    }

    /// The name behind a symbol of this tree.
    pub fn name_of(&self, symbol: Symbol) -> &str {
        let known = self.known.map_or(0, Names::len);
        match (self.known, symbol.0.checked_sub(known)) {
            (Some(names), None) => names.name(symbol.0),
            (_, at) => self.names.name(at.unwrap_or_default()),
        }
    }

    /// Human path of a node, e.g. `OBX[4].OBX_5`, `row[7].gewicht_kg`, `modifierExtension[1].url`: from the nearest
    /// anchored segment or row down, else from below the root. Ordinals are shown where a name repeats.
    pub fn path(&self, id: NodeId) -> String {
        self.steps(id, true)
    }

    /// As [`Tree::path`] without any ordinal, e.g. `OBX.OBX_5.C1`: what `ignore` patterns are matched with.
    pub fn shape(&self, id: NodeId) -> String {
        self.steps(id, false)
    }

    fn steps(&self, id: NodeId, ordinals: bool) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        loop {
            if let Some((name, number)) = self.anchor(at) {
                steps.push(if ordinals { format!("{name}[{number}]") } else { name.to_owned() });
                break;
            }
            let Some(parent) = self.node(at).parent else { break };
            let node = self.node(at);
            let repeats = || {
                node.ordinal > 1
                    || self.children(parent).filter(|&c| self.node(c).name == node.name).nth(1).is_some()
            };
            // JSON may name a property with nothing at all; its place has a name all the same.
            let name = if self.name(at).is_empty() { "''" } else { self.name(at) };
            steps.push(if ordinals && repeats() {
                format!("{name}[{}]", node.ordinal)
            } else {
                name.to_owned()
            });
            at = parent;
        }
        steps.reverse();
        steps.join(".")
    }

    /// The symbol of a name, where it has one; then nodes may carry it.
    pub fn symbol(&self, name: &str) -> Option<Symbol> {
        if let Some(at) = self.known.and_then(|known| known.get(name)) {
            return Some(Symbol(at));
        }
        let known = self.known.map_or(0, Names::len);
        self.names.get(name).map(|at| Symbol(known + at))
    }

    /// Interns a name.
    pub fn intern(&mut self, name: &str) -> Symbol {
        if let Some(at) = self.known.and_then(|known| known.get(name)) {
            return Symbol(at);
        }
        Symbol(self.known.map_or(0, Names::len) + self.names.intern(name))
    }
}
