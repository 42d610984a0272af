//! Groups and rules of a program -> plan: names to slots, target paths to R4 fields, groups once per target types.
//!
//! Everything that can be known before a document arrives is refused here, with its place: unknown elements, types,
//! variables, functions and tables, and root resources that never say whose they are.

mod expression;
mod lint;
mod target;

use std::collections::HashMap;

use crate::fml::{Expression, Files, Group, Map, MapError, Place, Program, Rule, Source, nearest};

use super::code::{Code, GroupPlan, NameId, RulePlan, Slot, SourcePlan};
use super::shape::{TypeId, shapes};
use super::tables::InlineTable;
use super::{Options, Plan};

/// Name of the source item of a rule like `src.a -> tgt.b;`, which names none. Not writable in FML.
const UNNAMED: &str = "$value";

/// What a variable holds, as far as known when compiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holds {
    /// Part of the source document.
    Source,
    /// A value made by the map.
    Value,
    /// A target element of this type; `None`: a Bundle whose entries are units of their own.
    Target(TypeId),
}

#[derive(Debug, Clone)]
struct Variable {
    name: String,
    slot: Slot,
    holds: Holds,
}

pub(super) struct Compiler<'p> {
    program: &'p Program,
    options: &'p Options<'p>,
    plan: Plan,
    names: HashMap<String, NameId>,
    shares: HashMap<String, u16>,
    places: HashMap<Place, u32>,
    /// Groups compiled or being compiled, by place and target types.
    done: HashMap<(Place, Vec<Holds>), usize>,
    scope: Vec<Variable>,
    slots: usize,
    errors: Vec<MapError>,
}

/// Compiles the program's first group as entry. Errors: all that were found.
pub(super) fn compile(program: &Program, options: &Options<'_>) -> Result<Plan, Vec<MapError>> {
    let mut compiler = Compiler {
        program,
        options,
        plan: Plan { files: program.files.clone(), ..Plan::default() },
        names: HashMap::new(),
        shares: HashMap::new(),
        places: HashMap::new(),
        done: HashMap::new(),
        scope: Vec::new(),
        slots: 0,
        errors: Vec::new(),
    };
    compiler.tables();
    compiler.entry();
    if compiler.errors.is_empty() {
        Ok(compiler.plan)
    } else {
        compiler.errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        compiler.errors.dedup();
        Err(compiler.errors)
    }
}

impl<'p> Compiler<'p> {
    fn files(&self) -> &'p Files {
        &self.program.files
    }

    fn error(&mut self, code: &'static str, place: Place, text: impl Into<String>, help: impl Into<String>) {
        self.errors.push(MapError::new(self.files(), code, place, text.into(), help.into()));
    }

    fn tables(&mut self) {
        for map in self.program.maps.iter().flat_map(|map| &map.concept_maps) {
            match InlineTable::new(map) {
                Ok(table) => {
                    self.plan.tables.insert(map.url.clone(), table);
                }
                Err(relation) => {
                    let help = "use `-`, `==` or `<=` to translate, `!=` for no equivalent";
                    self.error("relation-unsupported", map.place, format!("relation `{relation}`"), help);
                }
            }
        }
    }

    fn entry(&mut self) {
        let Some(group) = self.program.maps.first().and_then(|map| map.groups.first()) else {
            let place = self.files().place(0, 0, 0);
            return self.error(
                "group-missing",
                place,
                "the map has no group",
                "the first group is the entry",
            );
        };
        let (sources, targets): (Vec<_>, Vec<_>) = group.parameters.iter().partition(|p| !p.target);
        if sources.len() != 1 || targets.len() > 1 || group.parameters.first().is_some_and(|p| p.target) {
            let help = "the entry group takes `source x : Model` and at most one `target y : Type`";
            return self.error("entry-parameters", group.place, "not an entry group", help);
        }
        let rule = self.place(group.place);
        self.plan.entry_rule = rule;
        let mut holds = vec![Holds::Source];
        if let Some(target) = targets.first() {
            let Some(type_id) = self.resource(&target.type_name, target.place) else { return };
            self.plan.entry_type = Some(type_id);
            self.plan.entry_is_unit = shapes().type_name(type_id) != "Bundle";
            if self.plan.entry_is_unit {
                self.lint_root(group.rules.iter(), std::slice::from_ref(group), group.place, type_id);
            }
            holds.push(Holds::Target(type_id));
        }
        self.plan.entry = self.group(group, &holds);
    }

    /// A resource type, declared by `uses ... as target`.
    pub(super) fn resource(&mut self, name: &str, place: Place) -> Option<TypeId> {
        let uses = self.program.maps.iter().flat_map(|map| &map.uses).filter(|uses| uses.target);
        let declared: Vec<&str> = uses.clone().map(|uses| uses.name.as_str()).collect();
        let Some(used) = uses.clone().find(|uses| uses.name == name) else {
            let help = format!(
                "add `uses \"http://hl7.org/fhir/StructureDefinition/{name}\" alias {name} as target`; {}",
                nearest(name, declared)
            );
            self.error("type-undeclared", place, format!("`{name}` is not declared as a target model"), help);
            return None;
        };
        let type_name = used.url.rsplit('/').next().unwrap_or(name);
        let found = shapes().type_id(type_name).filter(|id| shapes().is_resource(*id));
        if found.is_none() {
            let help = nearest(type_name, shapes().resource_names());
            self.error("type-unknown", place, format!("`{type_name}` is no R4 resource"), help);
        }
        found
    }

    /// The plan of a group for these argument kinds, compiled once.
    fn group(&mut self, group: &'p Group, holds: &[Holds]) -> usize {
        let key = (group.place, holds.to_vec());
        if let Some(&index) = self.done.get(&key) {
            return index;
        }
        let index = self.plan.groups.len();
        self.done.insert(key, index);
        self.plan.groups.push(GroupPlan::default());
        let outer = (std::mem::take(&mut self.scope), std::mem::replace(&mut self.slots, 0));
        for (parameter, holds) in group.parameters.iter().zip(holds) {
            self.declare(&parameter.name, *holds);
        }
        let mut rules = Vec::new();
        let mut chain = vec![group];
        let mut below = group;
        while let Some((name, place)) = &below.extends {
            match self.program.inherited(name, below) {
                Some(base) if base.parameters.len() != group.parameters.len() => {
                    self.error("extends-parameters", *place, format!("`{name}` takes other parameters"), "");
                    break;
                }
                Some(base) if chain.iter().any(|seen| seen.place == base.place) => {
                    self.error("extends-circle", *place, format!("`{name}` extends itself"), "");
                    break;
                }
                Some(base) => {
                    chain.push(base);
                    below = base;
                }
                None => {
                    let help = nearest(name, self.group_names());
                    self.error("group-unknown", *place, format!("no group `{name}`"), help);
                    break;
                }
            }
        }
        // What is extended runs first (FML: "extends").
        for part in chain.iter().rev() {
            for (variable, parameter) in self.scope.iter_mut().zip(&part.parameters) {
                variable.name.clone_from(&parameter.name);
            }
            rules.extend(part.rules.iter().map(|rule| self.rule(rule)));
        }
        let compiled = GroupPlan { parameters: group.parameters.len(), slots: self.slots, rules };
        if let Some(place) = self.plan.groups.get_mut(index) {
            *place = compiled;
        }
        (self.scope, self.slots) = outer;
        index
    }

    fn group_names(&self) -> Vec<&'p str> {
        self.program.maps.iter().flat_map(|map: &Map| &map.groups).map(|group| group.name.as_str()).collect()
    }

    fn rule(&mut self, rule: &'p Rule) -> RulePlan {
        let depth = self.scope.len();
        let place = self.place(rule.place);
        let simple = match rule.targets.as_slice() {
            [target] => {
                target.transform.is_none()
                    && target.variable.is_none()
                    && rule.calls.is_empty()
                    && rule.rules.is_empty()
                    && rule.batch.is_empty()
            }
            _ => false,
        };
        let sources: Vec<SourcePlan> =
            rule.sources.iter().filter_map(|source| self.source(source, simple)).collect();
        let targets = self.targets(rule);
        let mut calls = Vec::new();
        for call in &rule.calls {
            calls.extend(self.invoke(call));
        }
        let rules = rule.rules.iter().map(|rule| self.rule(rule)).collect();
        self.scope.truncate(depth);
        RulePlan { place, name: rule.name.clone(), sources, targets, calls, rules }
    }

    fn invoke(&mut self, call: &'p crate::fml::Call) -> Option<(usize, Vec<Code>)> {
        let Some(group) = self.program.group(&call.name) else {
            let help = nearest(&call.name, self.group_names());
            self.error("group-unknown", call.place, format!("no group `{}`", call.name), help);
            return None;
        };
        if group.parameters.len() != call.arguments.len() {
            let text = format!("`{}` takes {} arguments", call.name, group.parameters.len());
            self.error("group-arguments", call.place, text, "");
            return None;
        }
        let mut holds = Vec::new();
        let mut arguments = Vec::new();
        for (argument, parameter) in call.arguments.iter().zip(&group.parameters) {
            let held = self.holds(argument);
            match (parameter.target, held) {
                (true, Holds::Target(type_id)) => {
                    let wanted = parameter.type_name.as_str();
                    if !shapes().is_a(type_id, wanted) {
                        let text =
                            format!("`{wanted}` is expected, this is a {}", shapes().type_name(type_id));
                        self.error("group-argument", argument.place, text, "");
                    }
                }
                (true, _) => {
                    let text = format!("parameter `{}` takes a target element", parameter.name);
                    self.error(
                        "group-argument",
                        argument.place,
                        text,
                        "pass a variable made on the right of `->`",
                    );
                }
                (false, _) => {}
            }
            holds.push(held);
            arguments.push(self.expression(argument, false));
        }
        Some((self.group(group, &holds), arguments))
    }

    fn source(&mut self, source: &'p Source, simple: bool) -> Option<SourcePlan> {
        let (first, steps) = source.path.split_first()?;
        let Some(variable) = self.variable(first) else {
            let names: Vec<String> = self.scope.iter().map(|v| v.name.clone()).collect();
            let help = nearest(first, names.iter().map(String::as_str));
            self.error("variable-unknown", source.place, format!("no variable `{first}`"), help);
            return None;
        };
        let mut path: Vec<NameId> = Vec::new();
        for (at, step) in steps.iter().enumerate() {
            // `src.onset : Period` is the JSON element `onsetPeriod` (FHIR json.html, choice of types).
            let typed =
                source.type_name.as_deref().filter(|_| at + 1 == steps.len()).filter(|t| is_data_type(t));
            let name = match typed {
                Some(type_name) => format!("{step}{}", capital(type_name)),
                None => step.clone(),
            };
            path.push(self.name(&name));
        }
        let slot = match &source.variable {
            Some(name) => Some(self.declare(name, Holds::Source)),
            None => simple.then(|| self.declare(UNNAMED, Holds::Source)),
        };
        let mut compiled = |expression: &'p Option<Expression>, focus: bool| {
            expression.as_ref().map(|expression| self.expression(expression, focus))
        };
        let condition = compiled(&source.condition, true);
        let check = compiled(&source.check, true);
        let log = compiled(&source.log, true);
        let default = compiled(&source.default, false);
        Some(SourcePlan {
            slot_from: variable.slot,
            steps: path,
            default,
            list_mode: source.list_mode,
            cardinality: source.cardinality,
            slot,
            condition,
            check,
            log,
        })
    }

    fn variable(&self, name: &str) -> Option<Variable> {
        self.scope.iter().rev().find(|variable| variable.name == name).cloned()
    }

    fn declare(&mut self, name: &str, holds: Holds) -> Slot {
        let slot = self.slots as Slot;
        self.slots += 1;
        self.scope.push(Variable { name: name.to_owned(), slot, holds });
        slot
    }

    fn name(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.names.get(name) {
            return id;
        }
        let id = self.plan.names.len() as NameId;
        self.plan.names.push(name.into());
        self.names.insert(name.to_owned(), id);
        id
    }

    fn place(&mut self, place: Place) -> u32 {
        let places = &mut self.plan.places;
        *self.places.entry(place).or_insert_with(|| {
            places.push(place);
            places.len() as u32 - 1
        })
    }
}

/// Data types a choice may take; names of local models are not looked at here.
fn is_data_type(name: &str) -> bool {
    shapes().type_id(name).is_some_and(|id| !shapes().is_resource(id)) && !name.contains('.')
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
