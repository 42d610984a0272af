//! What expressions yield: items of the source, of the target, or made by the map.

use std::ops::Deref;
use std::sync::Arc;

use crate::model::Absent;
use crate::source::NodeId;

use super::target::TargetId;

/// Text of an item: of the document, a table or the map, or made.
#[derive(Debug, Clone)]
pub(crate) enum Text<'t> {
    Source(&'t str),
    Made(Arc<str>),
}

impl Text<'_> {
    /// Without white space around it; `None` when nothing is left.
    pub(crate) fn trimmed(self) -> Option<Self> {
        let (all, trimmed) = (self.len(), self.trim().len());
        match self {
            _ if trimmed == 0 => None,
            text if trimmed == all => Some(text),
            Text::Source(text) => Some(Text::Source(text.trim())),
            Text::Made(text) => Some(Text::Made(text.trim().into())),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Text::Source(text) => text,
            Text::Made(text) => text,
        }
    }
}

impl<'t> From<&'t str> for Text<'t> {
    fn from(text: &'t str) -> Text<'t> {
        Text::Source(text)
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Made(text.into())
    }
}

/// One value of a FHIRPath collection.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An element of the source document.
    Node(NodeId),
    /// An element of a resource being built.
    Target(TargetId),
    /// Text made by the map.
    Text(Arc<str>),
    /// A number, lexically.
    Number(Arc<str>),
    /// A truth value.
    Boolean(bool),
}

impl From<&Absent> for Item {
    fn from(absent: &Absent) -> Item {
        match absent {
            Absent::Text(text) => Item::Text(Arc::clone(text)),
            Absent::Number(number) => Item::Number(Arc::clone(number)),
            Absent::Boolean(value) => Item::Boolean(*value),
        }
    }
}

/// A collection; nearly always empty or one item, which then needs no allocation.
#[derive(Debug, Clone, Default)]
pub(crate) enum Items {
    /// `{}`.
    #[default]
    Empty,
    /// One item.
    One(Item),
    /// Two or more.
    Many(Vec<Item>),
}

impl Items {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Items {
        Items::One(Item::Text(text.into()))
    }

    pub(crate) fn boolean(value: bool) -> Items {
        Items::One(Item::Boolean(value))
    }

    pub(crate) fn push(&mut self, item: Item) {
        *self = match std::mem::take(self) {
            Items::Empty => Items::One(item),
            Items::One(first) => Items::Many(vec![first, item]),
            Items::Many(mut items) => {
                items.push(item);
                Items::Many(items)
            }
        };
    }

    pub(crate) fn extend(&mut self, items: Items) {
        match items {
            Items::Empty => {}
            Items::One(item) => self.push(item),
            Items::Many(items) => items.into_iter().for_each(|item| self.push(item)),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Item] {
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

    pub(crate) fn first(&self) -> Option<&Item> {
        self.as_slice().first()
    }
}

impl FromIterator<Item> for Items {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Items {
        let mut collected = Items::Empty;
        items.into_iter().for_each(|item| collected.push(item));
        collected
    }
}
