//! A JSON value that can be changed: what is not changed stays the bytes it came in.

use std::borrow::Cow;

use sluis_conformance::json::{Kind, Node, write_string};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Tree<'d> {
    /// As it stands in its document.
    Kept(Node<'d>),
    /// An object some member of which was changed.
    Object(Vec<(Cow<'d, str>, Tree<'d>)>),
    /// A list some item of which was changed.
    Array(Vec<Tree<'d>>),
    /// `null`: the place of an item in one of the two lists of a primitive.
    Null,
}

impl<'d> Tree<'d> {
    /// Opens a kept object or list one level, so that it can be changed; a plain value stays.
    pub(super) fn open(&mut self) -> &mut Tree<'d> {
        if let Tree::Kept(node) = *self {
            match node.kind() {
                Kind::Object => {
                    *self =
                        Tree::Object(node.members().map(|(name, node)| (name, Tree::Kept(node))).collect());
                }
                Kind::Array => *self = Tree::Array(node.items().map(Tree::Kept).collect()),
                _ => {}
            }
        }
        self
    }

    /// Whether it is `null`, kept or made.
    pub(super) fn is_null(&self) -> bool {
        match self {
            Tree::Kept(node) => node.kind() == Kind::Null,
            Tree::Null => true,
            _ => false,
        }
    }

    /// Whether it is `null`, or an object or list of nothing else.
    pub(super) fn holds_nothing(&self) -> bool {
        match self {
            Tree::Kept(node) => match node.kind() {
                Kind::Object | Kind::Array => node.is_empty(),
                kind => kind == Kind::Null,
            },
            Tree::Object(members) => members.is_empty(),
            Tree::Array(items) => items.iter().all(Tree::is_null),
            Tree::Null => true,
        }
    }

    /// Values inside, itself included; kept ones by their bytes, which are at least as many.
    pub(super) fn weight(&self) -> usize {
        match self {
            Tree::Kept(node) => 1 + node.raw().len() / 8,
            Tree::Object(members) => 1 + members.iter().map(|(_, value)| value.weight()).sum::<usize>(),
            Tree::Array(items) => 1 + items.iter().map(Tree::weight).sum::<usize>(),
            Tree::Null => 1,
        }
    }

    /// Writes the value.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Tree::Kept(node) => out.push_str(node.raw()),
            Tree::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    write_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Tree::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Tree::Null => out.push_str("null"),
        }
    }
}
