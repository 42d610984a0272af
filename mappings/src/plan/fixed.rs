//! Composites of literals, written out once when a map is compiled: the category of a result, the system of a status.
//!
//! They are made as a run makes them, and stand in a resource as one element. Where a later rule writes into such an element, it is made
//! anew part by part. A map that reads what it has written has none, since it would not find the parts; nor has one of other models than R4.

use std::sync::Arc;

use bumpalo::Bump;

use crate::codes::CodeTables;
use crate::source::Tree;

use super::code::{Code, Fill, Pick, RulePlan, TargetPlan};
use super::execute::Machine;
use super::item::{Item, Items};
use super::shape::{FieldId, TypeId};
use super::target::Origin;
use super::{Limits, Plan};

/// A composite that is the same in every resource.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// What makes it.
    pub fill: Fill,
    pub json: Box<str>,
    /// Whether it is valid beyond doubt in the element it is for.
    pub is_sure: bool,
    /// Paths of its primitives from the element on: `.coding[0].code`.
    pub paths: Vec<Box<str>>,
}

impl Fixed {
    /// The literals it is made of; without those that say nothing.
    pub(crate) fn texts(&self) -> Vec<Option<&str>> {
        self.fill.parts().iter().map(text).collect()
    }

    /// Text of an element of its own, where it is a Coding.
    pub(crate) fn text_of(&self, name: &str) -> Option<&str> {
        let at = match (&self.fill, name) {
            (Fill::Coding(_), "system") => 0,
            (Fill::Coding(_), "code") => 1,
            _ => return None,
        };
        self.fill.parts().get(at).and_then(text)
    }
}

fn text(code: &Code) -> Option<&str> {
    match code {
        Code::Literal(literal) => Some(literal.text()).filter(|text| !text.trim().is_empty()),
        _ => None,
    }
}

impl Plan {
    /// Writes out what is the same in every resource.
    pub(super) fn fix(&mut self) {
        let mut fixed = Vec::new();
        for rule in self.groups.iter().flat_map(|group| &group.rules) {
            self.fixed_in(rule, &mut fixed);
        }
        let mut fixed = fixed.into_iter();
        self.groups.iter_mut().flat_map(|group| &mut group.rules).for_each(|rule| put(rule, &mut fixed));
    }

    /// For each write of a rule and those inside it: what it writes, where that is fixed.
    fn fixed_in(&self, rule: &RulePlan, to: &mut Vec<Option<Fixed>>) {
        for (_, target) in &rule.targets {
            to.push(match target {
                TargetPlan::Write { field, type_id, fill, pick: Pick::New, slot: None, .. } => {
                    self.fixed(*field, *type_id, fill)
                }
                _ => None,
            });
        }
        rule.rules.iter().for_each(|rule| self.fixed_in(rule, to));
    }

    fn fixed(&self, field: FieldId, type_id: TypeId, fill: &Fill) -> Option<Fixed> {
        let codes = fill.parts();
        if codes.is_empty() || !codes.iter().all(|code| matches!(code, Code::Literal(_) | Code::Empty)) {
            return None;
        }
        let (tree, codes, texts) = (Tree::new("", 0), CodeTables::new(), Bump::new());
        let mut machine = Machine::new(self, &tree, &codes, Limits::default(), &texts);
        let origin = Origin { rule: 0, node: tree.root() };
        let root = machine.target.root(field.owner(), origin).ok()?;
        let made = machine.write(root, &[], field, type_id, fill, Pick::New).ok()?;
        let Items::One(Item::Target(made)) = made else { return None };
        let (json, written) = machine.target.part(made)?;
        let paths = written.into_iter().map(|(path, _)| path.into()).collect();
        Some(Fixed { fill: fill.clone(), json: json.text.into(), is_sure: json.is_sure, paths })
    }
}

fn put(rule: &mut RulePlan, fixed: &mut impl Iterator<Item = Option<Fixed>>) {
    for (_, target) in &mut rule.targets {
        if let (Some(fixed), TargetPlan::Write { fill, .. }) = (fixed.next().flatten(), target) {
            *fill = Fill::Fixed(Arc::new(fixed));
        }
    }
    rule.rules.iter_mut().for_each(|rule| put(rule, fixed));
}
