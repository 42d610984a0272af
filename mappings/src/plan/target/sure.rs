//! Whether a resource is valid beyond doubt, asked while it is written out.
//!
//! Types, choices and repetition were checked on building; here it is presence, the form of values, and codes. What is not certain (a
//! contained resource, narrative, an extension of a primitive, an invariant over values) is left to the validator, which knows
//! the words. Source: as `sluis_conformance::validate`.

use sluis_conformance::validate::SureStructure;

use super::{Arena, Leaf, TargetNode};
use crate::plan::shape::{Field, Shapes, TypeId};

/// Objects inside each other that are looked at; deeper is for the validator.
const DEPTH_MAX: usize = 24;

/// One object on its way out.
pub(super) struct Certain {
    /// What is known of its type; `None` where nothing is certain.
    known: Option<&'static SureStructure>,
    present: u128,
    is_sure: bool,
}

impl Certain {
    pub(super) fn of(shapes: &Shapes, type_id: TypeId, depth: usize) -> Certain {
        let known = shapes.sure(type_id).filter(|_| depth < DEPTH_MAX);
        Certain { known, present: 0, is_sure: known.is_some() }
    }

    /// Notes that the element at a place is there so many times.
    pub(super) fn stands(&mut self, order: u16, count: usize) {
        let bit = super::bit(order);
        self.present |= bit;
        let is_counted = |known: &SureStructure| count > 1 || known.counted() & bit != 0;
        if bit == 0 {
            self.is_sure = false;
        } else if let Some(known) = self.known.filter(|known| is_counted(known)) {
            self.is_sure &= u32::try_from(count).is_ok_and(|count| known.count(usize::from(order), count));
        }
    }

    /// The elements present, a bit each by place, and whether the object is valid with those, as far as its type asks. Without any it
    /// is no content, and nothing is asked.
    pub(super) fn judge(self) -> (u128, bool) {
        let holds = || self.known.is_some_and(|known| known.object(self.present));
        (self.present, self.is_sure && (self.present == 0 || holds()))
    }
}

/// Whether a value is valid in its element.
pub(super) fn is_value(arena: &Arena<'_>, field: &Field, type_id: TypeId, text: &str) -> bool {
    arena.shapes.sure_in(field, type_id).is_some_and(|element| element.primitive(text))
}

/// Whether an object with these elements is valid in its element.
pub(super) fn holds(arena: &Arena<'_>, field: &Field, node: &TargetNode<'_>, present: u128) -> bool {
    let Some(element) = arena.shapes.sure_in(field, node.type_id) else { return false };
    let is_bound = element.bound().is_none_or(|set| {
        let in_set = |coding: &TargetNode<'_>| {
            let text = |name| text_of(arena, coding, name);
            text("code").is_some_and(|code| set.contains(Some(text("system").unwrap_or("")), code))
        };
        let is_coding = |child: &&TargetNode<'_>| {
            child.field.is_some_and(|field| arena.shapes.field(field).name == "coding")
        };
        in_set(node) || arena.siblings(node.first).filter(is_coding).any(in_set)
    });
    let refers = || text_of(arena, node, "reference").is_none_or(|text| element.reference(text));
    is_bound && (!element.is_reference() || refers()) && element.object(present)
}

fn text_of<'a>(arena: &Arena<'a>, node: &TargetNode<'a>, name: &str) -> Option<&'a str> {
    if let Some(fixed) = node.fixed {
        return fixed.text_of(name);
    }
    let is_named =
        |child: &&TargetNode<'a>| child.field.is_some_and(|field| arena.shapes.field(field).name == name);
    arena.siblings(node.first).find(is_named)?.value.map(Leaf::text)
}
