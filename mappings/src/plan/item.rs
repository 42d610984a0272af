//! What expressions yield: items of the source, of the target, or made by the map.
//!
//! A text is where it lies: in the document, the map, a code table, or among the [`Texts`] this run made. So items are copied, never
//! counted or freed one by one.

use bumpalo::Bump;
use smallvec::SmallVec;

use crate::source::NodeId;

use super::problem::Problem;
use super::target::TargetId;

/// Without white space around it; `None` when nothing is left.
pub(crate) fn trimmed(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// Texts made while a map runs, kept until it has run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Texts<'t>(&'t Bump);

impl<'t> Texts<'t> {
    /// Room for at most `bytes_max` bytes in `bump`, which is empty.
    pub(crate) fn new(bump: &'t Bump, bytes_max: usize) -> Texts<'t> {
        bump.set_allocation_limit(Some(bytes_max));
        Texts(bump)
    }

    /// Keeps a text. Errors: there is no room left for it.
    pub(crate) fn keep(self, text: &str) -> Result<&'t str, Problem> {
        match self.0.try_alloc_str(text) {
            Ok(kept) => Ok(kept),
            Err(_) => Err(Problem::new(
                "limit-made",
                "the map makes too much text of this document",
                "split the document",
            )),
        }
    }
}

/// One value of a FHIRPath collection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Item<'t> {
    /// An element of the source document.
    Node(NodeId),
    /// An element of a resource being built.
    Target(TargetId),
    /// Text made by the map.
    Text(&'t str),
    /// A number, lexically.
    Number(&'t str),
    /// A truth value.
    Boolean(bool),
}

/// A collection; nearly always empty or one item, which then needs no allocation.
#[derive(Debug, Clone, Default)]
pub(crate) enum Items<'t> {
    /// `{}`.
    #[default]
    Empty,
    /// One item.
    One(Item<'t>),
    /// Two or more.
    Many(Vec<Item<'t>>),
}

/// Values of arguments: few, so that they need no allocation either.
pub(crate) type Values<'t> = SmallVec<[Items<'t>; 4]>;

impl<'t> Items<'t> {
    pub(crate) fn text(text: &'t str) -> Items<'t> {
        Items::One(Item::Text(text))
    }

    pub(crate) fn boolean(value: bool) -> Items<'t> {
        Items::One(Item::Boolean(value))
    }

    pub(crate) fn push(&mut self, item: Item<'t>) {
        *self = match std::mem::take(self) {
            Items::Empty => Items::One(item),
            Items::One(first) => Items::Many(vec![first, item]),
            Items::Many(mut items) => {
                items.push(item);
                Items::Many(items)
            }
        };
    }

    pub(crate) fn extend(&mut self, items: Items<'t>) {
        match items {
            Items::Empty => {}
            Items::One(item) => self.push(item),
            Items::Many(items) => items.into_iter().for_each(|item| self.push(item)),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Item<'t>] {
        match self {
            Items::Empty => &[],
            Items::One(item) => std::slice::from_ref(item),
            Items::Many(items) => items,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    pub(crate) fn first(&self) -> Option<Item<'t>> {
        self.as_slice().first().copied()
    }
}

impl<'t> From<Option<Item<'t>>> for Items<'t> {
    fn from(item: Option<Item<'t>>) -> Items<'t> {
        item.map_or(Items::Empty, Items::One)
    }
}

impl<'t> FromIterator<Item<'t>> for Items<'t> {
    fn from_iter<I: IntoIterator<Item = Item<'t>>>(items: I) -> Items<'t> {
        let mut collected = Items::Empty;
        items.into_iter().for_each(|item| collected.push(item));
        collected
    }
}
