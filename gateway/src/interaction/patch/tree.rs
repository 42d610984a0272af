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

    /// Values inside, itself included; kept ones by their bytes, which are at least as many.
    pub(super) fn weight(&self) -> usize {
        match self {
            Tree::Kept(node) => 1 + node.raw().len() / 8,
            Tree::Object(members) => 1 + members.iter().map(|(_, value)| value.weight()).sum::<usize>(),
            Tree::Array(items) => 1 + items.iter().map(Tree::weight).sum::<usize>(),
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
        }
    }
}
