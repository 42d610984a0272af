//! Lossless JSON: the bytes of a resource as a tree that owns its text and keeps every digit, escape and key order.
//!
//! Stands directly behind the connection: a body is parsed once, into a [`Doc`], and extraction, validation and mapping
//! walk that same tree. Numbers and strings stay slices of the source, so `1.10` leaves as `1.10` (FHIR R4
//! datatypes.html#decimal: the precision of the decimal value has significance). Duplicate property names are refused
//! (json.html: property names SHALL be unique), as is everything RFC 8259 does not allow.
//!
//! It does not know FHIR: what `null` or an empty object means is for `validate`. It never recurses, so the depth of the
//! input costs memory within the limit and no stack.

mod error;
mod node;
mod parse;
mod scan;
mod text;

pub use error::{JsonError, JsonErrorKind};
pub use node::{Items, Kind, Members, Node};
pub(crate) use text::line_column;
pub use text::write_string;

use node::Cell;

/// Bounds on what one document may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Arrays and objects inside each other; the root counts as one.
    pub depth_max: u32,
    /// Values plus property names; each takes 16 bytes.
    pub nodes_max: u32,
}

impl Default for JsonLimits {
    fn default() -> Self {
        Self { depth_max: 64, nodes_max: 1_000_000 }
    }
}

/// A parsed document: the text it came in and the tree over it.
#[derive(Debug, Clone)]
pub struct Doc {
    text: String,
    cells: Vec<Cell>,
    is_converted: bool,
}

impl Doc {
    /// Reads a whole document.
    ///
    /// Errors: [`JsonError`] with the first fault in reading order; a text past `u32::MAX` bytes is `TooLong`.
    /// Source: RFC 8259, FHIR R4 json.html.
    pub fn parse(text: Vec<u8>, limits: JsonLimits) -> Result<Self, JsonError> {
        parse::parse(text, limits)
    }

    /// The value the document is.
    pub fn root(&self) -> Node<'_> {
        Node::root(&self.text, &self.cells)
    }

    /// The source text, byte for byte.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the text was made of another notation, so that places in it say nothing to its sender.
    pub fn is_converted(&self) -> bool {
        self.is_converted
    }

    /// The same document, marked as made of another notation.
    #[must_use]
    pub fn converted(mut self) -> Self {
        self.is_converted = true;
        self
    }

    /// Gives the source text back, byte for byte.
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A document goes from thread to thread: the one that reads is not the one that stores.
const _: fn() = || {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Doc>();
};
