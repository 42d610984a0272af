//! A place in the tree, and the flat cells it walks.

use std::borrow::Cow;
use std::ops::Range;

use super::text::{line_column, unescape};

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, kept as its digits.
    Number,
    /// A string.
    String,
    /// A list of values.
    Array,
    /// Named values.
    Object,
}

/// One value or property name. Cells stand in reading order: an object is followed by name, value, name, value ...
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Index of the first cell after this value and everything inside it.
    pub(super) next: u32,
    /// Kind in the low 3 bits, "has escapes" in bit 3, children above.
    tag: u32,
}

const ESCAPED: u32 = 1 << 3;
const COUNT_SHIFT: u32 = 4;
/// Children a cell can count, so also the cells a document can have.
pub(super) const COUNT_MAX: u32 = u32::MAX >> COUNT_SHIFT;

impl Cell {
    pub(super) fn new(kind: Kind, start: u32, end: u32, next: u32) -> Self {
        Self { start, end, next, tag: kind as u32 }
    }

    pub(super) fn string(start: u32, end: u32, next: u32, escaped: bool) -> Self {
        Self { start, end, next, tag: Kind::String as u32 | if escaped { ESCAPED } else { 0 } }
    }

    pub(super) fn close(&mut self, end: u32, next: u32, count: u32) {
        self.end = end;
        self.next = next;
        self.tag |= count << COUNT_SHIFT;
    }

    fn kind(self) -> Kind {
        match self.tag & 7 {
            0 => Kind::Null,
            1 => Kind::Bool,
            2 => Kind::Number,
            3 => Kind::String,
            4 => Kind::Array,
            _ => Kind::Object,
        }
    }

    pub(super) fn is_escaped(self) -> bool {
        self.tag & ESCAPED != 0
    }
}

/// A value in its document; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Node<'d> {
    text: &'d str,
    cells: &'d [Cell],
    at: u32,
    cell: Cell,
}

impl<'d> Node<'d> {
    pub(super) fn root(text: &'d str, cells: &'d [Cell]) -> Self {
        // A parsed document has at least one cell; the fallback is a null at the start of the text.
        let cell = cells.first().copied().unwrap_or(Cell::new(Kind::Null, 0, 0, 0));
        Self { text, cells, at: 0, cell }
    }

    fn at(self, at: u32) -> Option<Self> {
        let cell = *self.cells.get(at as usize)?;
        Some(Self { text: self.text, cells: self.cells, at, cell })
    }

    /// What the value is.
    #[inline]
    pub fn kind(self) -> Kind {
        self.cell.kind()
    }

    /// The exact source of the value: quotes, escapes, digits and inner white space as sent.
    #[inline]
    pub fn raw(self) -> &'d str {
        self.text.get(self.span()).unwrap_or_default()
    }

    /// Byte range of the value in the text.
    #[inline]
    pub fn span(self) -> Range<usize> {
        self.cell.start as usize..self.cell.end as usize
    }

    /// Line and column (in characters) where the value begins, both from 1. Costs a walk over the text before it.
    pub fn line_column(self) -> (u32, u32) {
        line_column(self.text, self.cell.start as usize)
    }

    /// The string with its escapes resolved; `None` when the value is no string.
    #[inline]
    pub fn as_str(self) -> Option<Cow<'d, str>> {
        (self.kind() == Kind::String).then(|| string_of(self.text, self.cell))
    }

    /// `true` or `false`; `None` when the value is neither.
    pub fn as_bool(self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == "true")
    }

    /// The number as it is written; `None` when the value is no number.
    pub fn number(self) -> Option<&'d str> {
        (self.kind() == Kind::Number).then(|| self.raw())
    }

    /// The value of a property; `None` when this is no object or has no such property.
    #[inline]
    pub fn get(self, name: &str) -> Option<Node<'d>> {
        let mut members = self.members();
        while let Some((key, value)) = members.step() {
            let inner = self.text.as_bytes().get(key.start as usize + 1..key.end as usize - 1);
            let same = if key.is_escaped() {
                string_of(self.text, key) == name
            } else {
                inner == Some(name.as_bytes())
            };
            if same {
                return self.at(value);
            }
        }
        None
    }

    /// Properties in source order; none when this is no object.
    #[inline]
    pub fn members(self) -> Members<'d> {
        let end = if self.kind() == Kind::Object { self.cell.next } else { 0 };
        Members { of: self, at: self.at + 1, end }
    }

    /// Items in source order; none when this is no array.
    #[inline]
    pub fn items(self) -> Items<'d> {
        let end = if self.kind() == Kind::Array { self.cell.next } else { 0 };
        Items { of: self, at: self.at + 1, end }
    }

    /// Number of items or properties; 0 for other values.
    #[inline]
    pub fn len(self) -> usize {
        (self.cell.tag >> COUNT_SHIFT) as usize
    }

    /// Whether there is no item and no property.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

fn string_of(text: &str, cell: Cell) -> Cow<'_, str> {
    let inner = text.get(cell.start as usize + 1..cell.end as usize - 1).unwrap_or_default();
    if cell.is_escaped() { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) }
}

/// The properties of an object; see [`Node::members`].
#[derive(Debug, Clone)]
pub struct Members<'d> {
    of: Node<'d>,
    at: u32,
    end: u32,
}

impl Members<'_> {
    #[inline]
    fn step(&mut self) -> Option<(Cell, u32)> {
        if self.at >= self.end {
            return None;
        }
        let key = *self.of.cells.get(self.at as usize)?;
        let value = self.at + 1;
        self.at = self.of.cells.get(value as usize)?.next;
        Some((key, value))
    }
}

impl<'d> Iterator for Members<'d> {
    type Item = (Cow<'d, str>, Node<'d>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = self.step()?;
        Some((string_of(self.of.text, key), self.of.at(value)?))
    }
}

/// The items of an array; see [`Node::items`].
#[derive(Debug, Clone)]
pub struct Items<'d> {
    of: Node<'d>,
    at: u32,
    end: u32,
}

impl<'d> Iterator for Items<'d> {
    type Item = Node<'d>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let item = self.of.at(self.at)?;
        self.at = item.cell.next;
        Some(item)
    }
}
