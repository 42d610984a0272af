//! Whether a resource is valid beyond doubt, asked of the arena before there is a text of it.
//!
//! Types, choices and repetition were checked on writing; here it is presence, the form of values, and codes. What is not certain (a
//! contained resource, narrative, an extension of a primitive, an invariant over values) is left to the validator, which knows
//! the words. Source: as `sluis_conformance::validate`.

use sluis_conformance::validate::{SureType, sure};

use super::{Arena, Leaf, TargetId, TargetNode};
use crate::plan::shape::Field;

/// Objects inside each other that are looked at; deeper is for the validator.
const DEPTH_MAX: usize = 24;

impl<'t> Arena<'t> {
    /// Whether the validator would find nothing; `false` says only that it is not certain.
    pub(crate) fn is_surely_valid(&self, root: TargetId) -> bool {
        self.get(root).and_then(|root| self.present(root, 0)).is_some_and(|present| present != 0)
    }

    /// The elements present in an object that is valid beyond doubt, a bit each by place; 0 when it has no content.
    fn present(&self, node: &TargetNode<'t>, depth: usize) -> Option<u128> {
        if depth >= DEPTH_MAX {
            return None;
        }
        let known = sure().structure(self.shapes.structure(node.type_id)?)?;
        let (mut present, mut repeated) = (0_u128, 0_u128);
        for &child in &node.children {
            let child = self.get(child)?;
            let field = self.shapes.field(child.field?);
            let element = known.element(usize::from(field.order), self.shapes.structure(child.type_id)?)?;
            let has_content = match (&child.value, self.shapes.is_primitive(child.type_id)) {
                // `id` or `extension` of a primitive.
                (_, true) if !child.children.is_empty() => return None,
                (Some(value), _) => element.primitive(value.text()).then_some(true)?,
                (None, true) => false,
                (None, false) => self.has_valid_content(child, element, depth)?,
            };
            if has_content {
                let bit = 1_u128.checked_shl(u32::from(field.order))?;
                repeated |= present & bit;
                present |= bit;
            }
        }
        let mut counted = repeated | (present & known.counted());
        while counted != 0 {
            let place = counted.trailing_zeros();
            counted &= counted - 1;
            // Those without content are counted too: then it may not be certain, which does no harm.
            let count = self.children_of(node).filter(|(field, _)| u32::from(field.order) == place).count();
            known.count(place as usize, u32::try_from(count).ok()?).then_some(())?;
        }
        (present == 0 || known.object(present)).then_some(present)
    }

    /// Whether an object has content; `None` when it is not certain that it is valid in its element.
    fn has_valid_content(&self, node: &TargetNode<'t>, element: &SureType, depth: usize) -> Option<bool> {
        let present = self.present(node, depth + 1)?;
        if present == 0 {
            return Some(false);
        }
        let is_bound = element.bound().is_none_or(|set| {
            let in_set = |coding: &TargetNode<'t>| {
                let text = |name| self.text_of(coding, name);
                text("code").is_some_and(|code| set.contains(Some(text("system").unwrap_or("")), code))
            };
            in_set(node)
                || self.children_of(node).any(|(field, child)| field.name == "coding" && in_set(child))
        });
        let is_reference = self.shapes.type_name(node.type_id) == "Reference";
        let refers =
            !is_reference || self.text_of(node, "reference").is_none_or(|text| element.reference(text));
        (is_bound && refers && element.object(present)).then_some(true)
    }

    fn children_of<'a>(
        &'a self,
        node: &'a TargetNode<'t>,
    ) -> impl Iterator<Item = (&'t Field, &'a TargetNode<'t>)> {
        node.children.iter().filter_map(|child| {
            let child = self.get(*child)?;
            Some((self.shapes.field(child.field?), child))
        })
    }

    fn text_of<'a>(&'a self, node: &'a TargetNode<'t>, name: &str) -> Option<&'a str> {
        let found = self.children_of(node).find(|(field, _)| field.name == name)?;
        found.1.value.as_ref().map(Leaf::text)
    }
}
