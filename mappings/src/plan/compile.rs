//! Groups and rules of a program -> plan: names to slots, paths to elements, groups once per types of their arguments.
//!
//! Everything that can be known before a document arrives is refused here, with its place: unknown elements, types,
//! variables, functions and tables, and (for a sender's map) root resources that never say whose they are.

mod default;
mod expression;
mod lint;
mod source;
mod target;
mod typing;

use std::collections::{HashMap, VecDeque};

use crate::fml::{
    self, DefaultFor, Files, Group, MapError, Parameter, Place, Profile, Program, Rule, nearest,
};

use super::code::{Code, Fill, GroupPlan, NameId, RulePlan, Slot, SourcePlan, TargetPlan};
use super::shape::{FHIR, Shapes, TypeId};
use super::tables::InlineTable;
use super::{Entry, Options, Plan};

/// Name of the source item of a rule like `src.a -> tgt.b;`, which names none. Not writable in FML.
const UNNAMED: &str = "$value";
/// Kinds of arguments groups may be compiled for; a map that needs more calls itself with ever new types.
const GROUPS_MAX: usize = 20_000;

/// What a variable holds, as far as known when compiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Holds {
    /// Part of the source document; its type where the model is at hand.
    Source(Option<TypeId>),
    /// A value made by the map.
    Value,
    /// A target element of this type.
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
    shapes: &'p Shapes,
    plan: Plan,
    names: HashMap<String, NameId>,
    shares: HashMap<String, u16>,
    places: HashMap<Place, u32>,
    /// Groups compiled or waiting, by place and argument kinds.
    done: HashMap<(Place, Vec<Holds>), usize>,
    waiting: VecDeque<(usize, &'p Group, Vec<Holds>)>,
    defaults: Option<default::Defaults<'p>>,
    scope: Vec<Variable>,
    /// Element and item of the source whose conditions are compiled.
    selected: Option<(String, Holds)>,
    /// Parameters of an extended group that the extending one has not.
    unbound: Vec<&'p str>,
    slots: usize,
    /// Calls of `aggregate()` around what is compiled.
    aggregates: usize,
    /// Whether the source is FHIR, or of a model at hand, so that a choice's name ends in its type.
    fhir: bool,
    /// Whether what is compiled stands in a sender's own map: what it imports may use the whole language.
    own: bool,
    /// Whether the rules compiled come from a group that is extended, and so were written for a more general type.
    inherited: bool,
    /// Whether something written is read again, so that nothing may be written as a whole.
    reads_targets: bool,
    errors: Vec<MapError>,
}

/// Compiles the program's first group as entry. Errors: all that were found.
pub(super) fn compile(program: &Program, options: &Options<'_>) -> Result<Plan, Vec<MapError>> {
    let mut compiler = Compiler::new(program, options);
    match program.maps.first().and_then(|map| map.groups.first()) {
        Some(group) => compiler.entry(group),
        None => {
            let place = program.files.place(0, 0, 0);
            compiler.error("group-missing", place, "the map has no group", "the first group is the entry");
        }
    }
    compiler.finish()
}

/// Compiles the first group of the program and every default group: one typed source, one typed target.
pub(super) fn library(program: &Program, options: &Options<'_>) -> Result<Plan, Vec<MapError>> {
    let mut compiler = Compiler::new(program, options);
    let first = program.maps.first().and_then(|map| map.groups.first());
    let defaults = program.maps.iter().flat_map(|map| &map.groups);
    let defaults = defaults.filter(|group| group.default_for != DefaultFor::Nothing);
    let first = first.filter(|group| group.default_for == DefaultFor::Nothing);
    for group in first.into_iter().chain(defaults) {
        let typed = group.parameters.iter().all(|parameter| !parameter.type_name.is_empty());
        if let ([source, target], true) = (group.parameters.as_slice(), typed)
            && (source.target, target.target) == (false, true)
        {
            compiler.entry(group);
        }
    }
    compiler.finish()
}

impl<'p> Compiler<'p> {
    fn new(program: &'p Program, options: &'p Options<'p>) -> Compiler<'p> {
        let shapes = options.models.shapes.clone();
        let plan = Plan {
            files: program.files.clone(),
            shapes,
            open: options.profile == Profile::Open,
            ..Plan::default()
        };
        let mut compiler = Compiler {
            program,
            options,
            shapes: &options.models.shapes,
            plan,
            names: HashMap::new(),
            shares: HashMap::new(),
            places: HashMap::new(),
            done: HashMap::new(),
            waiting: VecDeque::new(),
            defaults: None,
            scope: Vec::new(),
            selected: None,
            unbound: Vec::new(),
            slots: 0,
            aggregates: 0,
            fhir: false,
            own: true,
            inherited: false,
            reads_targets: false,
            errors: Vec::new(),
        };
        compiler.tables();
        compiler
    }

    fn finish(mut self) -> Result<Plan, Vec<MapError>> {
        // Groups wait in line rather than nest: a library may call through hundreds of them.
        while let Some((index, group, holds)) = self.waiting.pop_front() {
            let compiled = self.body(group, &holds);
            if let Some(place) = self.plan.groups.get_mut(index) {
                *place = compiled;
            }
        }
        if self.errors.is_empty() {
            if !self.reads_targets && self.shapes.are_r4() {
                self.plan.fix();
            }
            return Ok(self.plan);
        }
        self.errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.errors.dedup();
        Err(self.errors)
    }

    fn files(&self) -> &'p Files {
        &self.program.files
    }

    /// Whether units must say whose they are.
    fn is_strict(&self) -> bool {
        self.options.profile == Profile::Strict
    }

    /// Whether the language is narrowed too: in a sender's own map.
    fn is_narrow(&self) -> bool {
        self.is_strict() && self.own
    }

    fn error(&mut self, code: &'static str, place: Place, text: impl Into<String>, help: impl Into<String>) {
        self.errors.push(MapError::new(self.files(), code, place, text.into(), help.into()));
    }

    fn tables(&mut self) {
        for map in self.program.maps.iter().flat_map(|map| &map.concept_maps) {
            match InlineTable::new(map) {
                Ok(table) => {
                    // `conceptmap "name"` and `"#name"` are both called `#name` (mapping-language-ig fml.html).
                    let name = map.url.trim_start_matches('#');
                    let name = if name.contains(':') { name.to_owned() } else { format!("#{name}") };
                    self.plan.tables.insert(name, table);
                }
                Err(relation) => {
                    let help = "use `-`, `==` or `<=` to translate, `!=` for no equivalent";
                    self.error("relation-unsupported", map.place, format!("relation `{relation}`"), help);
                }
            }
        }
    }

    fn entry(&mut self, group: &'p Group) {
        let (sources, targets): (Vec<_>, Vec<_>) = group.parameters.iter().partition(|p| !p.target);
        if sources.len() != 1 || targets.len() > 1 || group.parameters.first().is_some_and(|p| p.target) {
            let help = "the entry group takes `source x : Model` and at most one `target y : Type`";
            return self.error("entry-parameters", group.place, "not an entry group", help);
        }
        let mut entry = Entry { rule: self.place(group.place), ..Entry::default() };
        let source = sources.first().map_or("", |parameter| &*parameter.type_name);
        let typed = self.type_named(source, group.place, false);
        self.fhir = typed.is_some()
            || self.url_of(source, group.place, false).is_none_or(|url| url.starts_with(FHIR));
        let mut holds = vec![Holds::Source(typed)];
        if let Some(target) = targets.first() {
            let type_id = match self.is_strict() {
                true => self.resource(&target.type_name, target.place),
                false => self.written(&target.type_name, target.place),
            };
            let Some(type_id) = type_id else { return };
            entry.type_id = Some(type_id);
            entry.is_unit = !self.is_strict() || self.shapes.type_name(type_id) != "Bundle";
            if entry.is_unit {
                self.lint_root(group.rules.iter(), std::slice::from_ref(group), group.place, type_id);
            }
            holds.push(Holds::Target(type_id));
        }
        entry.group = self.group(group, &holds);
        self.plan.entries.push((group.name.clone(), entry));
    }

    /// A resource type, declared by `uses ... as target`.
    pub(super) fn resource(&mut self, name: &str, place: Place) -> Option<TypeId> {
        if !self.is_strict() {
            return self.written(name, place);
        }
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
        let found = self.shapes.type_id(type_name).filter(|id| self.shapes.is_resource(*id));
        if found.is_none() {
            let help = nearest(type_name, self.shapes.resource_names());
            self.error("type-unknown", place, format!("`{type_name}` is no R4 resource"), help);
        }
        found
    }

    /// Any type of the models at hand.
    fn written(&mut self, name: &str, place: Place) -> Option<TypeId> {
        let found = self.type_named(name, place, true);
        if found.is_none() {
            let url = self.url_of(name, place, true).unwrap_or_else(|| name.to_owned());
            let help = format!("give its StructureDefinition; {}", nearest(&url, self.shapes.urls()));
            self.error("type-unknown", place, format!("`{url}` is defined nowhere here"), help);
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
        if index >= GROUPS_MAX {
            let help = "give the parameters types, so that one body serves every call";
            self.error(
                "groups-many",
                group.place,
                format!("more than {GROUPS_MAX} variants of groups"),
                help,
            );
            return 0;
        }
        self.done.insert(key, index);
        self.plan.groups.push(GroupPlan::default());
        self.waiting.push_back((index, group, holds.to_vec()));
        index
    }

    fn body(&mut self, group: &'p Group, holds: &[Holds]) -> GroupPlan {
        (self.scope, self.slots) = (Vec::new(), 0);
        for (parameter, holds) in group.parameters.iter().zip(holds) {
            self.declare(&parameter.name, *holds);
        }
        let mut rules = Vec::new();
        let mut chain = vec![group];
        let mut below = group;
        while let Some((name, place)) = &below.extends {
            match self.program.inherited(name, below) {
                Some(base) if !takes(base, group, self.is_strict() && group.place.file == 0) => {
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
            // By place where it takes as many, else by name.
            let same = part.parameters.len() == group.parameters.len();
            let names = if same { &part.parameters } else { &group.parameters };
            for (variable, parameter) in self.scope.iter_mut().zip(names) {
                variable.name.clone_from(&parameter.name);
            }
            self.unbound = match same {
                true => Vec::new(),
                false => missing(part, group).map(|parameter| parameter.name.as_str()).collect(),
            };
            self.inherited = part.place != group.place;
            self.own = part.place.file == 0;
            rules.extend(part.rules.iter().map(|rule| self.rule(rule)));
        }
        (self.inherited, self.own) = (false, true);
        self.unbound.clear();
        GroupPlan { parameters: group.parameters.len(), slots: self.slots, rules }
    }

    fn group_names(&self) -> Vec<&'p str> {
        self.program.maps.iter().flat_map(|map| &map.groups).map(|group| group.name.as_str()).collect()
    }

    fn rule(&mut self, rule: &'p Rule) -> RulePlan {
        let depth = self.scope.len();
        let place = self.place(rule.place);
        let simple = fml::is_simple(rule);
        let mut sources: Vec<SourcePlan> =
            rule.sources.iter().filter_map(|source| self.source(source, simple)).collect();
        let mut calls = Vec::new();
        let targets: Vec<(u32, TargetPlan)> = self.targets(rule, &mut calls);
        if let [source] = sources.as_mut_slice() {
            self.absent(source, &targets);
        }
        for call in &rule.calls {
            calls.extend(self.invoke(call));
        }
        let rules = rule.rules.iter().map(|rule| self.rule(rule)).collect();
        self.scope.truncate(depth);
        RulePlan { place, name: rule.name.clone(), sources, targets, calls, rules }
    }

    /// What is required of the target, and what the model of the source says by leaving an element out, is written all the same:
    /// it "can never be unknown" (FHIR STU3 elementdefinition-definitions.html#ElementDefinition.defaultValue_x_). An element that
    /// may be absent stays so.
    fn absent(&self, source: &mut SourcePlan, targets: &[(u32, TargetPlan)]) {
        let required = |(_, target): &(u32, TargetPlan)| match target {
            TargetPlan::Write { field, fill: Fill::Copy(..) | Fill::Create, .. } => {
                self.shapes.field(*field).required
            }
            _ => false,
        };
        let plain = source.condition.is_none() && source.default.is_none() && source.type_name.is_none();
        if plain && !targets.is_empty() && targets.iter().all(required) {
            source.default = source.absent.as_ref().map(|absent| Code::Literal(absent.clone()));
            source.is_plain &= source.default.is_none();
        }
    }

    fn invoke(&mut self, call: &'p crate::fml::Call) -> Option<(usize, Vec<Code>)> {
        let Some(group) = self.program.group(&call.name, call.place.file) else {
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
            let declared = self.type_named(&parameter.type_name, group.place, parameter.target);
            let mut held = self.holds(argument);
            match (parameter.target, held, declared) {
                (true, Holds::Target(type_id), Some(wanted)) => {
                    let wanted = self.shapes.type_name(wanted);
                    // The body is checked for what it is called with; a sender's map must also be called as it declares.
                    if self.is_narrow() && !self.shapes.is_a(type_id, wanted) {
                        let is = self.shapes.type_name(type_id);
                        let text = format!("`{wanted}` is expected, this is a {is}");
                        self.error("group-argument", argument.place, text, "");
                    }
                }
                (true, Holds::Target(_), None) => {}
                (true, ..) => {
                    let text = format!("parameter `{}` takes a target element", parameter.name);
                    let help = "pass a variable made on the right of `->`";
                    self.error("group-argument", argument.place, text, help);
                }
                (false, Holds::Source(None), Some(_)) => held = Holds::Source(declared),
                (false, ..) => {}
            }
            holds.push(held);
            arguments.push(self.expression(argument, None));
        }
        Some((self.group(group, &holds), arguments))
    }

    fn variable(&self, name: &str) -> Option<Variable> {
        self.scope.iter().rev().find(|variable| variable.name == name).cloned()
    }

    fn variable_unknown(&mut self, name: &str, place: Place) {
        let names: Vec<String> = self.scope.iter().map(|variable| variable.name.clone()).collect();
        let help = nearest(name, names.iter().map(String::as_str));
        self.error("variable-unknown", place, format!("no variable `{name}`"), help);
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

/// Whether `group` can pass its arguments on to `base`. In the open profile it may lack what `base` writes to: only a rule that
/// then has something to write is at fault.
fn takes(base: &Group, group: &Group, strict: bool) -> bool {
    base.parameters.len() == group.parameters.len() || missing(base, group).all(|p| !strict && p.target)
}

/// The parameters of `base` that `group` has none of the name for.
fn missing<'p>(base: &'p Group, group: &'p Group) -> impl Iterator<Item = &'p Parameter> {
    let has = |of: &Parameter| group.parameters.iter().any(|p| p.name == of.name && p.target == of.target);
    base.parameters.iter().filter(move |parameter| !has(parameter))
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
