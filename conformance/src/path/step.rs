//! The steps of a path and how they run: names, filters, positions; no types, no text left to read.

use std::fmt;

use crate::definitions::{Definitions, ParamId, SearchKind, TypeId};
use crate::json::{Kind, Node};

use super::compile::{Path, PathError, compile, compile_at};
use super::reference::parse_reference;
use super::value::{IndexValue, index};
use super::{Entry, ReferenceTarget};

/// Index values one composite parameter may have at one element: codings times values can be sent in any number.
const COMPOSITE_VALUES_MAX: usize = 256;

/// One step along a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a property; an array gives each of its items.
    Name(String),
    /// Keeps the nth of what the steps before give within one parent.
    Index(u32),
    /// Keeps objects in which a property is this string.
    WhereEquals { name: String, value: String },
    /// Keeps references whose text names this type.
    WhereRefersTo { type_: String },
    /// Keeps objects that carry an extension of this address.
    WhereExtension { url: String },
    /// Ends the path in a boolean: something other than `false` is there.
    Exists,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "[{index}]"),
            Self::WhereEquals { name, value } => write!(f, "where({name}='{value}')"),
            Self::WhereRefersTo { type_ } => write!(f, "where(resolve() is {type_})"),
            Self::WhereExtension { url } => write!(f, "where(hasExtension('{url}'))"),
            Self::Exists => f.write_str("exists()"),
        }
    }
}

/// Calls `found` with every node the steps lead to. Recursion is as deep as the path is long, whatever the document.
pub(super) fn follow<'d>(
    definitions: &Definitions,
    node: Node<'d>,
    steps: &[Step],
    found: &mut dyn FnMut(Node<'d>),
) {
    let Some((step, rest)) = steps.split_first() else { return found(node) };
    match step {
        Step::Name(name) => {
            if let Some(child) = node.get(name) {
                enter(definitions, child, rest, found);
            }
        }
        Step::WhereEquals { name, value } => {
            if node.get(name).and_then(Node::as_str).is_some_and(|text| text == value.as_str()) {
                follow(definitions, node, rest, found);
            }
        }
        Step::WhereRefersTo { type_ } => {
            if refers_to(definitions, node, type_) {
                follow(definitions, node, rest, found);
            }
        }
        Step::WhereExtension { url } => {
            let mut extensions = node.get("extension").into_iter().flat_map(Node::items);
            let is_this =
                |e: Node<'_>| e.get("url").and_then(Node::as_str).is_some_and(|text| text == url.as_str());
            if extensions.any(is_this) {
                follow(definitions, node, rest, found);
            }
        }
        // Both stand for what `enter` and `run` do with them.
        Step::Index(_) | Step::Exists => follow(definitions, node, rest, found),
    }
}

/// Goes on with a property's value: with each item of an array, or with the one an index asks for.
fn enter<'d>(definitions: &Definitions, value: Node<'d>, rest: &[Step], found: &mut dyn FnMut(Node<'d>)) {
    if value.kind() != Kind::Array {
        return match rest.split_first() {
            Some((Step::Index(1..), _)) => {}
            _ => follow(definitions, value, rest, found),
        };
    }
    match rest.split_first() {
        Some((Step::Index(index), rest)) => {
            if let Some(item) = value.items().nth(*index as usize) {
                follow(definitions, item, rest, found);
            }
        }
        _ => value.items().for_each(|item| follow(definitions, item, rest, found)),
    }
}

/// Whether a reference is to that type: by its text, else by `Reference.type` (references.html#Reference).
fn refers_to(definitions: &Definitions, reference: Node<'_>, type_: &str) -> bool {
    let text = reference.get("reference").and_then(Node::as_str);
    let by_text = match text.and_then(|text| parse_reference(definitions, text)) {
        Some(
            ReferenceTarget::Relative { type_, .. }
            | ReferenceTarget::Absolute { tail: Some((type_, ..)), .. },
        ) => Some(type_),
        _ => None,
    };
    match by_text {
        Some(known) => definitions.type_name(known) == type_,
        None => reference.get("type").and_then(Node::as_str).is_some_and(|text| text == type_),
    }
}

/// The compiled search parameters of every resource type.
#[derive(Debug)]
pub struct Plans {
    /// By type.
    types: Vec<TypePlan>,
    failed: Vec<(ParamId, PathError)>,
}

/// The paths of one type, by the property they begin with.
#[derive(Debug, Default)]
struct TypePlan {
    /// Sorted by name; the paths' first step is left out.
    by_name: Vec<(String, Vec<Plan>)>,
    /// Paths that begin at the resource itself.
    at_root: Vec<Plan>,
    /// Paths that ask whether something is there; true when one of them finds it.
    asking: Vec<(ParamId, Vec<Path>)>,
}

#[derive(Debug)]
struct Plan {
    parameter: ParamId,
    kind: SearchKind,
    path: Path,
    /// Of a composite: kind and paths of each part.
    components: Vec<(SearchKind, Vec<Path>)>,
}

impl Plans {
    pub(super) fn compile(definitions: &Definitions) -> Self {
        let mut failed = Vec::new();
        let types =
            definitions.resource_types().map(|type_| type_plan(definitions, type_, &mut failed)).collect();
        failed.dedup();
        Self { types, failed }
    }

    pub(super) fn failed(&self) -> &[(ParamId, PathError)] {
        &self.failed
    }

    pub(super) fn run<'d>(
        &self,
        definitions: &Definitions,
        type_: TypeId,
        root: Node<'d>,
        entries: &mut Vec<Entry<'d>>,
    ) {
        let Some(plans) = self.types.get(type_.index()) else { return };
        for (parameter, paths) in &plans.asking {
            let mut is_true = false;
            let mut seen =
                |node: Node<'_>| is_true |= node.as_bool() != Some(false) && node.kind() != Kind::Null;
            paths.iter().for_each(|path| follow(definitions, root, &path.steps, &mut seen));
            entries.push(Entry { parameter: *parameter, value: IndexValue::boolean(is_true) });
        }
        for plan in &plans.at_root {
            let out = &mut |node| plan.index(definitions, root, node, entries);
            follow(definitions, root, &plan.path.steps, out);
        }
        for (name, value) in root.members() {
            if let Ok(at) = plans.by_name.binary_search_by(|(known, _)| known.as_str().cmp(&name))
                && let Some((_, group)) = plans.by_name.get(at)
            {
                for plan in group {
                    enter(definitions, value, &plan.path.steps, &mut |node| {
                        plan.index(definitions, root, node, entries)
                    });
                }
            }
        }
    }
}

impl Plan {
    fn index<'d>(
        &self,
        definitions: &Definitions,
        root: Node<'d>,
        node: Node<'d>,
        entries: &mut Vec<Entry<'d>>,
    ) {
        let parameter = self.parameter;
        if self.components.is_empty() {
            let out = &mut |value| entries.push(Entry { parameter, value });
            return index(definitions, self.kind, &self.path, node, out);
        }
        let mut parts: Vec<Vec<IndexValue<'d>>> = Vec::with_capacity(self.components.len());
        // The last part is the value, absent more often than the code in front of it: one part without values ends it.
        for (kind, paths) in self.components.iter().rev() {
            let mut values = Vec::new();
            for path in paths {
                let from = if path.from_resource { root } else { node };
                let out = &mut |node| index(definitions, *kind, path, node, &mut |value| values.push(value));
                follow(definitions, from, &path.steps, out);
            }
            if values.is_empty() {
                return;
            }
            parts.push(values);
        }
        let mut tuples: Vec<Vec<IndexValue<'d>>> = vec![Vec::new()];
        for values in parts.iter().rev() {
            let longer = tuples.iter().flat_map(|tuple| {
                values.iter().map(|value| tuple.iter().chain([value]).cloned().collect::<Vec<_>>())
            });
            tuples = longer.take(COMPOSITE_VALUES_MAX).collect();
        }
        entries
            .extend(tuples.into_iter().map(|parts| Entry { parameter, value: IndexValue::Composite(parts) }));
    }
}

fn type_plan(definitions: &Definitions, type_: TypeId, failed: &mut Vec<(ParamId, PathError)>) -> TypePlan {
    let mut plans = TypePlan::default();
    for parameter in definitions.search_parameters(type_) {
        let compiled = compile(definitions, type_, parameter.expression).and_then(|paths| {
            paths
                .into_iter()
                .map(|path| {
                    let start = definitions.structure(path.type_);
                    let part = |component: &crate::definitions::Component| {
                        let paths = start.map(|start| compile_at(definitions, start, component.expression));
                        Ok((component.kind, paths.transpose()?.unwrap_or_default()))
                    };
                    let components =
                        parameter.components.iter().map(part).collect::<Result<Vec<_>, PathError>>()?;
                    Ok(Plan { parameter: parameter.id, kind: parameter.kind, path, components })
                })
                .collect::<Result<Vec<_>, PathError>>()
        });
        match compiled {
            Ok(paths) => paths.into_iter().for_each(|plan| plans.add(plan)),
            Err(error) => failed.push((parameter.id, error)),
        }
    }
    plans.by_name.sort_by(|a, b| a.0.cmp(&b.0));
    plans
}

impl TypePlan {
    fn add(&mut self, mut plan: Plan) {
        let name = match plan.path.steps.split_first() {
            Some(_) if plan.path.steps.last() == Some(&Step::Exists) => {
                return match self.asking.iter_mut().find(|(parameter, _)| *parameter == plan.parameter) {
                    Some((_, paths)) => paths.push(plan.path),
                    None => self.asking.push((plan.parameter, vec![plan.path])),
                };
            }
            Some((Step::Name(name), _)) => name.clone(),
            _ => return self.at_root.push(plan),
        };
        plan.path.steps.remove(0);
        match self.by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(plan),
            None => self.by_name.push((name, vec![plan])),
        }
    }
}
