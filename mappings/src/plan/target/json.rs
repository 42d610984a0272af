//! The arena written out as FHIR JSON, in the order of the R4 definitions.

use sluis_conformance::json::write_string;

use super::{Arena, Children, Leaf, Origin, TargetId};

/// One element written: its path in the resource and who wrote it.
pub(crate) type Written = (String, Origin);

impl Arena<'_> {
    /// JSON text of a root resource; into `written`, where given, path and origin of each primitive. Elements without any content are
    /// left out (FHIR R4 json.html: no empty objects or arrays). `None`: longer than `bytes_max`.
    pub(crate) fn json(
        &self,
        root: TargetId,
        bytes_max: usize,
        written: Option<&mut Vec<Written>>,
    ) -> Option<String> {
        let mut out = String::with_capacity(1024);
        let mut written = written;
        let type_name = self.type_name(root);
        let typed = self.get(root).is_some_and(|node| self.shapes.is_typed_root(node.type_id));
        out.push('{');
        if typed {
            out.push_str("\"resourceType\":");
            write_string(type_name, &mut out);
        }
        self.members(root, typed, type_name, bytes_max, &mut out, &mut written)?;
        out.push('}');
        Some(out)
    }

    /// Members of a complex element, or the `id` and `extension` of a primitive.
    fn members(
        &self,
        id: TargetId,
        mut comma: bool,
        path: &str,
        bytes_max: usize,
        out: &mut String,
        written: &mut Option<&mut Vec<Written>>,
    ) -> Option<()> {
        if out.len() > bytes_max {
            return None;
        }
        let mut children: Children =
            self.get(id)?.children.iter().copied().filter(|&child| self.has_content(child)).collect();
        let order = |child: &TargetId| {
            self.get(*child).map_or((0, 0), |n| (n.field.map_or(0, |f| self.shapes.field(f).order), n.rank))
        };
        if !children.is_sorted_by_key(order) {
            children.sort_by_key(order);
        }
        let mut rest = children.as_slice();
        while let Some(&first) = rest.first() {
            let field = self.get(first)?.field;
            let same = rest.iter().take_while(|c| self.get(**c).is_some_and(|n| n.field == field)).count();
            let (group, after) = rest.split_at(same);
            rest = after;
            let shape = self.shapes.field(field?);
            let wanted = written.is_some();
            let here = |at: usize| {
                if !wanted {
                    String::new()
                } else if shape.many {
                    format!("{path}.{}[{at}]", shape.name)
                } else {
                    format!("{path}.{}", shape.name)
                }
            };
            if self.is_primitive(first) {
                if group.iter().any(|c| self.get(*c).is_some_and(|n| n.value.is_some())) {
                    name(&shape.name, "", &mut comma, out);
                    self.list(shape.many, group, out, |this, at, child, out| {
                        match this.get(child).and_then(|n| n.value.as_ref().map(|v| (v, n.origin))) {
                            Some((value, origin)) => {
                                leaf(value, out);
                                if let Some(written) = written.as_deref_mut() {
                                    written.push((here(at), origin));
                                }
                            }
                            None => out.push_str("null"),
                        }
                        Some(())
                    })?;
                }
                if group.iter().any(|c| self.any_child(*c)) {
                    name(&shape.name, "_", &mut comma, out);
                    self.list(shape.many, group, out, |this, at, child, out| {
                        if !this.any_child(child) {
                            out.push_str("null");
                            return Some(());
                        }
                        out.push('{');
                        this.members(child, false, &here(at), bytes_max, out, written)?;
                        out.push('}');
                        Some(())
                    })?;
                }
            } else {
                name(&shape.name, "", &mut comma, out);
                self.list(shape.many, group, out, |this, at, child, out| {
                    out.push('{');
                    let type_name = this.type_name(child);
                    let resource = this.shapes.is_resource(this.get(child)?.type_id);
                    if resource {
                        out.push_str("\"resourceType\":");
                        write_string(type_name, out);
                    }
                    this.members(child, resource, &here(at), bytes_max, out, written)?;
                    out.push('}');
                    Some(())
                })?;
            }
        }
        Some(())
    }

    fn list(
        &self,
        many: bool,
        group: &[TargetId],
        out: &mut String,
        mut one: impl FnMut(&Arena<'_>, usize, TargetId, &mut String) -> Option<()>,
    ) -> Option<()> {
        if many {
            out.push('[');
        }
        for (at, &child) in group.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            one(self, at, child, out)?;
        }
        if many {
            out.push(']');
        }
        Some(())
    }

    fn is_primitive(&self, id: TargetId) -> bool {
        self.get(id).is_some_and(|node| self.shapes.is_primitive(node.type_id))
    }

    fn has_content(&self, id: TargetId) -> bool {
        self.get(id).is_some_and(|node| node.value.is_some() || self.shapes.is_resource(node.type_id))
            || self.any_child(id)
    }

    fn any_child(&self, id: TargetId) -> bool {
        self.get(id).is_some_and(|node| node.children.iter().any(|&child| self.has_content(child)))
    }
}

fn name(element: &str, prefix: &str, comma: &mut bool, out: &mut String) {
    if std::mem::replace(comma, true) {
        out.push(',');
    }
    out.push('"');
    out.push_str(prefix);
    out.push_str(element);
    out.push_str("\":");
}

fn leaf(value: &Leaf<'_>, out: &mut String) {
    match value {
        Leaf::Text(text) => write_string(text, out),
        Leaf::Number(number) => out.push_str(number),
        Leaf::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
    }
}
