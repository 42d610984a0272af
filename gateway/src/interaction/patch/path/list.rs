//! An element's occurrences: its values, and for primitives what stands beside them, taken out of their object and put back.

use std::borrow::Cow;

use super::super::tree::Tree;

/// One occurrence: its value, and the id and extensions of a primitive.
pub(super) type Pair<'d> = (Option<Tree<'d>>, Option<Tree<'d>>);

/// Every occurrence of one element.
#[derive(Debug)]
pub(super) struct List<'d> {
    /// JSON property to put them back under.
    pub(super) name: Cow<'d, str>,
    /// In order.
    pub(super) items: Vec<Pair<'d>>,
    is_list: bool,
    /// Where the property stood, for the order of the rest to stay.
    at: Option<usize>,
}

impl<'d> List<'d> {
    /// Takes the property and the one with `_` in front out of an opened object.
    pub(super) fn take(object: &mut Tree<'d>, name: &str, is_list: bool) -> List<'d> {
        let mut list = List { name: Cow::Owned(name.to_owned()), items: Vec::new(), is_list, at: None };
        let Tree::Object(members) = object else { return list };
        let beside = format!("_{name}");
        let is_own = |member: &str| member == name || member == beside;
        list.at = members.iter().position(|(member, _)| is_own(member));
        let mut own = |wanted: &str| {
            let at = members.iter().position(|(member, _)| member == wanted)?;
            Some(members.remove(at).1)
        };
        let (values, besides) = (own(name), own(&beside));
        if !is_list {
            if values.is_some() || besides.is_some() {
                list.items.push((values, besides));
            }
            return list;
        }
        let items = |list: Option<Tree<'d>>| match list {
            Some(mut list) => match list.open() {
                Tree::Array(items) => std::mem::take(items),
                _ => vec![list],
            },
            None => Vec::new(),
        };
        let (mut values, mut besides) = (items(values).into_iter(), items(besides).into_iter());
        loop {
            match (values.next(), besides.next()) {
                (None, None) => return list,
                (value, beside) => {
                    let something = |tree: &Tree<'d>| !tree.is_null();
                    list.items.push((value.filter(something), beside.filter(something)));
                }
            }
        }
    }

    /// Puts the occurrences back; an element without any has no property.
    pub(super) fn put(self, object: &mut Tree<'d>) {
        let Tree::Object(members) = object else { return };
        let at = self.at.unwrap_or(members.len()).min(members.len());
        let (values, besides): (Vec<_>, Vec<_>) = self.items.into_iter().unzip();
        let beside = Cow::Owned(format!("_{}", self.name));
        for (name, all) in [(beside, besides), (self.name, values)] {
            if all.iter().all(Option::is_none) {
                continue;
            }
            let mut all: Vec<Tree<'d>> = all.into_iter().map(|one| one.unwrap_or(Tree::Null)).collect();
            let tree = if self.is_list { Tree::Array(all) } else { all.pop().unwrap_or(Tree::Null) };
            members.insert(at, (name, tree));
        }
    }
}
