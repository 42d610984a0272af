//! The arena written out as FHIR JSON, in the order of the R4 definitions; and, on the same walk, whether that is valid beyond doubt.

use sluis_conformance::json::write_string;

use super::sure::{self, Certain};
use super::{Arena, Leaf, Origin, TargetId, TargetNode};
use crate::plan::fixed::Fixed;

/// One element written: its path in the resource and who wrote it.
pub(crate) type Written = (String, Origin);

/// A resource written out.
#[derive(Debug)]
pub(crate) struct Json {
    pub text: String,
    /// Whether the validator would find nothing; `false` says only that it is not certain.
    pub is_sure: bool,
}

impl<'t> Arena<'t> {
    /// JSON of a root resource; into `written`, where given, path and origin of each primitive. Elements without any content are
    /// left out (FHIR R4 json.html: no empty objects or arrays). `None`: longer than `bytes_max`.
    pub(crate) fn json(
        &self,
        root: TargetId,
        bytes_max: usize,
        written: Option<&mut Vec<Written>>,
    ) -> Option<Json> {
        let node = self.get(root)?;
        let type_name = self.type_name(root);
        let mut writer = Writer {
            arena: self,
            out: String::with_capacity(1024),
            bytes_max,
            is_sure: true,
            path: written.is_some().then(|| type_name.to_owned()),
            written,
        };
        let typed = self.shapes.is_typed_root(node.type_id);
        writer.out.push('{');
        if typed {
            writer.resource_type(type_name);
        }
        let members = writer.members(node, typed, 0)?;
        writer.out.push('}');
        Some(Json { is_sure: writer.is_sure && members.any, text: writer.out })
    }

    /// An element as it is written out, with what is below it; `None` when that is nothing.
    pub(crate) fn part(&self, id: TargetId) -> Option<(Json, Vec<Written>)> {
        let node = self.get(id)?;
        let mut written = Vec::new();
        let mut writer = Writer {
            arena: self,
            out: String::new(),
            bytes_max: usize::MAX,
            is_sure: true,
            path: Some(String::new()),
            written: Some(&mut written),
        };
        writer.out.push('{');
        let members = writer.members(node, false, 1)?;
        writer.out.push('}');
        let field = self.shapes.field(node.field?);
        let is_sure = writer.is_sure && sure::holds(self, field, node, members.present);
        let json = Json { is_sure, text: writer.out };
        members.any.then_some((json, written))
    }

    fn has_content(&self, node: &TargetNode<'_>) -> bool {
        node.value.is_some()
            || node.fixed.is_some()
            || self.shapes.is_resource(node.type_id)
            || self.any_child(node)
    }

    fn any_child(&self, node: &TargetNode<'_>) -> bool {
        self.siblings(node.first).any(|child| self.has_content(child))
    }

    /// A child and those behind it.
    pub(super) fn siblings(&self, first: Option<TargetId>) -> impl Iterator<Item = &TargetNode<'t>> {
        let mut next = first;
        std::iter::from_fn(move || {
            let node = self.get(next?)?;
            next = node.next;
            Some(node)
        })
    }
}

/// What came out of an object.
struct Members {
    any: bool,
    /// The elements that are there, a bit each by place.
    present: u128,
}

struct Writer<'a, 't> {
    arena: &'a Arena<'t>,
    out: String,
    bytes_max: usize,
    is_sure: bool,
    /// Where the walk is, when it is wanted.
    path: Option<String>,
    written: Option<&'a mut Vec<Written>>,
}

impl<'t> Writer<'_, 't> {
    /// Members of a complex element, or the `id` and `extension` of a primitive; `comma`: whether something stands before them.
    /// `None`: too long.
    fn members(&mut self, node: &TargetNode<'t>, mut comma: bool, depth: usize) -> Option<Members> {
        if self.out.len() > self.bytes_max {
            return None;
        }
        let mut certain = Certain::of(self.arena.shapes, node.type_id, depth);
        let mut any = false;
        let mut next = node.first;
        while let Some(first) = next.and_then(|first| self.arena.get(first)) {
            let field = first.field;
            let count = self.arena.siblings(next).take_while(|node| node.field == field).count();
            let written = match self.arena.shapes.is_primitive(first.type_id) {
                true => self.primitives(next, count, &mut comma)?,
                false => self.objects(next, count, &mut comma, depth)?,
            };
            if written > 0 {
                any = true;
                certain.stands(first.order, written);
            }
            next = self.arena.siblings(next).nth(count - 1)?.next;
        }
        let (present, is_sure) = certain.judge();
        self.is_sure &= is_sure;
        Some(Members { any, present })
    }

    /// The objects of one element, `count` of them from `first` on; gives how many have content.
    fn objects(
        &mut self,
        first: Option<TargetId>,
        count: usize,
        comma: &mut bool,
        depth: usize,
    ) -> Option<usize> {
        let (arena, begun) = (self.arena, self.out.len());
        let field = arena.shapes.field(arena.get(first?)?.field?);
        self.key(&field.key, *comma);
        self.open(field.many);
        let mut written = 0;
        for child in arena.siblings(first).take(count) {
            let before = self.out.len();
            if written > 0 {
                self.out.push(',');
            }
            if let Some(fixed) = child.fixed {
                self.fixed(fixed, &field.name, field.many.then_some(written), child.origin);
                written += 1;
                continue;
            }
            self.out.push('{');
            let outer = self.enter(&field.name, field.many.then_some(written));
            let resource = arena.shapes.is_resource(child.type_id);
            if resource {
                self.resource_type(arena.shapes.type_name(child.type_id));
            }
            let members = self.members(child, resource, depth + 1)?;
            self.leave(outer);
            if !members.any && !resource {
                self.out.truncate(before);
                continue;
            }
            self.out.push('}');
            written += 1;
            if self.is_sure && !sure::holds(arena, field, child, members.present) {
                self.is_sure = false;
            }
        }
        self.close(field.many, written, begun, comma);
        Some(written)
    }

    /// The values of one element, and their `id` and `extension` beside them; gives how many have content.
    fn primitives(&mut self, first: Option<TargetId>, count: usize, comma: &mut bool) -> Option<usize> {
        let (arena, begun) = (self.arena, self.out.len());
        let field = arena.shapes.field(arena.get(first?)?.field?);
        let all = || arena.siblings(first).take(count);
        if all().any(|child| child.first.is_some()) {
            self.is_sure = false;
            return self.extended(first, count, comma);
        }
        self.key(&field.key, *comma);
        self.open(field.many);
        let mut written = 0;
        for child in all() {
            let Some(value) = child.value else { continue };
            if written > 0 {
                self.out.push(',');
            }
            self.leaf(value);
            self.note(&field.name, field.many.then_some(written), child.origin);
            written += 1;
            if self.is_sure && !sure::is_value(arena, field, child.type_id, value.text()) {
                self.is_sure = false;
            }
        }
        self.close(field.many, written, begun, comma);
        Some(written)
    }

    /// As [`Writer::primitives`], where one of them has `id` or `extension`: two lists of the same length
    /// (FHIR R4 json.html#primitive).
    fn extended(&mut self, first: Option<TargetId>, count: usize, comma: &mut bool) -> Option<usize> {
        let arena = self.arena;
        let field = arena.shapes.field(arena.get(first?)?.field?);
        let all = arena.siblings(first).take(count).filter(|child| arena.has_content(child));
        let all: Vec<&TargetNode<'t>> = all.collect();
        if all.iter().any(|child| child.value.is_some()) {
            self.key(&field.key, std::mem::replace(comma, true));
            self.open(field.many);
            for (at, child) in all.iter().enumerate() {
                self.out.push_str(if at > 0 { "," } else { "" });
                match child.value {
                    Some(value) => {
                        self.leaf(value);
                        self.note(&field.name, field.many.then_some(at), child.origin);
                    }
                    None => self.out.push_str("null"),
                }
            }
            self.out.push_str(if field.many { "]" } else { "" });
        }
        if all.iter().any(|child| arena.any_child(child)) {
            self.key("\"_", std::mem::replace(comma, true));
            self.out.push_str(field.key.get(1..).unwrap_or_default());
            self.open(field.many);
            for (at, child) in all.iter().enumerate() {
                self.out.push_str(if at > 0 { "," } else { "" });
                if !arena.any_child(child) {
                    self.out.push_str("null");
                    continue;
                }
                self.out.push('{');
                let outer = self.enter(&field.name, field.many.then_some(at));
                self.members(child, false, 0)?;
                self.leave(outer);
                self.out.push('}');
            }
            self.out.push_str(if field.many { "]" } else { "" });
        }
        Some(all.len())
    }

    /// An element whose content was written out before.
    fn fixed(&mut self, fixed: &Fixed, name: &str, at: Option<usize>, origin: Origin) {
        self.out.push_str(&fixed.json);
        self.is_sure &= fixed.is_sure;
        if self.written.is_none() {
            return;
        }
        let outer = self.enter(name, at);
        for below in &fixed.paths {
            if let (Some(path), Some(written)) = (&self.path, &mut self.written) {
                written.push((format!("{path}{below}"), origin));
            }
        }
        self.leave(outer);
    }

    fn resource_type(&mut self, name: &str) {
        self.out.push_str("\"resourceType\":");
        write_string(name, &mut self.out);
    }

    fn key(&mut self, key: &str, comma: bool) {
        if comma {
            self.out.push(',');
        }
        self.out.push_str(key);
    }

    fn open(&mut self, many: bool) {
        if many {
            self.out.push('[');
        }
    }

    /// Closes the list begun at `begun`, or takes all of it back when nothing came into it.
    fn close(&mut self, many: bool, written: usize, begun: usize, comma: &mut bool) {
        if written == 0 {
            self.out.truncate(begun);
            return;
        }
        *comma = true;
        if many {
            self.out.push(']');
        }
    }

    fn leaf(&mut self, value: Leaf<'_>) {
        match value {
            Leaf::Text(text) => write_string(text, &mut self.out),
            Leaf::Number(number) => self.out.push_str(number),
            Leaf::Boolean(value) => self.out.push_str(if value { "true" } else { "false" }),
        }
    }

    /// Goes down to an element, where paths are wanted; gives the length to go back to.
    fn enter(&mut self, name: &str, at: Option<usize>) -> usize {
        let Some(path) = &mut self.path else { return 0 };
        let outer = path.len();
        path.push('.');
        path.push_str(name);
        if let Some(at) = at {
            path.push_str(&format!("[{at}]"));
        }
        outer
    }

    fn leave(&mut self, outer: usize) {
        if let Some(path) = &mut self.path {
            path.truncate(outer);
        }
    }

    fn note(&mut self, name: &str, at: Option<usize>, origin: Origin) {
        let outer = self.enter(name, at);
        if let (Some(path), Some(written)) = (&self.path, &mut self.written) {
            written.push((path.clone(), origin));
        }
        self.leave(outer);
    }
}
