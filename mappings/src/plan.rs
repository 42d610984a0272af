//! A map compiled once, run on many documents: slots for names, R4 fields for paths, one unit per root resource.
//!
//! Output is a function of tree, tables and plan: no clock, no randomness, no I/O. A problem becomes a finding with
//! its place in the source and in the map; only a limit stops a run. Which document goes to which plan, parsing and
//! storing are not done here.

mod code;
mod compile;
mod condition;
mod decimal;
mod effect;
mod evaluate;
mod execute;
mod finish;
mod fixed;
mod functions;
mod item;
mod moment;
mod pattern;
mod problem;
mod record;
pub(crate) mod shape;
mod tables;
mod target;
mod translate;
mod write;

pub(crate) use decimal::is_json_number;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bumpalo::Bump;

use crate::codes::CodeTables;
use crate::fml::{self, Files, MapError, Place, Profile};
use crate::folder::Manifest;
use crate::model::Models;
use crate::output::Output;
use crate::source::{self, NodeId, Tree};

pub use record::{EVENTS_MAX, Event, Moment, Reading, Record};

/// What a map may refer to besides its own text.
#[derive(Debug, Clone, Default)]
pub struct Options<'m> {
    /// Values of `%name`, e.g. `namespace`.
    pub constants: BTreeMap<String, String>,
    /// Names of the code tables that will be there at run time.
    pub tables: BTreeSet<String>,
    /// Policies for unmapped codes.
    pub manifest: Option<&'m Manifest>,
    /// Models besides R4.
    pub models: Models,
    /// What the map is held to.
    pub profile: Profile,
}

/// How much one run may do. Beyond a limit the document is refused with a `Fatal` finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rules fired, per document.
    pub rules_max: u32,
    /// Target elements made, per document.
    pub nodes_max: u32,
    /// Expressions evaluated and source items looked at, per document.
    pub steps_max: u64,
    /// Rules inside rules and groups, and depth of copied elements.
    pub depth_max: u32,
    /// Bytes of text that expressions make, per document.
    pub made_bytes_max: u32,
    /// Bytes of JSON, per unit.
    pub output_bytes_max: u32,
    /// Findings kept, per unit.
    pub findings_max: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rules_max: 1_000_000,
            nodes_max: 1_000_000,
            steps_max: 50_000_000,
            depth_max: 100,
            made_bytes_max: 256 << 20,
            output_bytes_max: 8 << 20,
            findings_max: 200,
        }
    }
}

/// A compiled map.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    groups: Vec<code::GroupPlan>,
    /// By group name; the first is what [`Plan::run`] starts with.
    entries: Vec<(String, Entry)>,
    shapes: Arc<shape::Shapes>,
    /// Made in the open profile: units need no identity and no subject.
    open: bool,
    names: Vec<Box<str>>,
    symbols: source::KnownSymbols,
    places: Vec<Place>,
    files: Files,
    tables: HashMap<String, tables::InlineTable>,
}

/// A group a run may start with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    group: usize,
    /// What its target is; `None` for a group without one.
    type_id: Option<shape::TypeId>,
    /// Whether the target is a unit, or a Bundle whose entries are.
    is_unit: bool,
    rule: u32,
}

/// Which rule made each value of a unit, and of which source node: what `sluis map trace` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Values in output order.
    pub values: Vec<TraceValue>,
    /// What `log` clauses said: rule (`map.fml:31:5`) and text. May hold personal data; for a local terminal only.
    pub logs: Vec<(String, String)>,
}

/// One value of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceValue {
    /// Index into [`Output::units`].
    pub unit: usize,
    /// FHIRPath of the value: `Observation.code.coding[0].code`.
    pub path: String,
    /// Rule: `map.fml:31:5`.
    pub rule: String,
    /// The source node the rule stood on.
    pub source: NodeId,
}

/// Whether a text is a date of that form, as `nlDate` reads it.
pub(crate) fn is_date(text: &str, form: &str) -> bool {
    moment::dutch(text, form, "Europe/Amsterdam").is_ok()
}

impl Plan {
    /// Reads and compiles a map; `name` is its file name in errors, `library` what it may import (name, text).
    ///
    /// Errors: everything wrong with it, each with file, line and column.
    pub fn load(
        name: &str,
        text: &str,
        library: &[(&str, &str)],
        options: &Options<'_>,
    ) -> Result<Plan, Vec<MapError>> {
        Plan::load_from(name, text, &fml::Library::new(library), options)
    }

    /// As [`Plan::load`], from a library whose maps are read once for all that import them.
    ///
    /// Errors: as there.
    pub fn load_from(
        name: &str,
        text: &str,
        library: &fml::Library,
        options: &Options<'_>,
    ) -> Result<Plan, Vec<MapError>> {
        compile::compile(&fml::load_from(options.profile, name, text, library)?, options)
    }

    /// Compiles the default groups of the maps (name, text) and the first of each, where they take one typed source and one typed
    /// target; each may start a run.
    ///
    /// Errors: as [`Plan::load`].
    pub fn library(maps: &[(&str, &str)], options: &Options<'_>) -> Result<Plan, Vec<MapError>> {
        compile::library(&fml::load_all(options.profile, maps)?, options)
    }

    /// Names of the groups a run may start with, the map's first group before others.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// As [`Plan::run`], starting with the group of that name; `None` when there is no such entry.
    pub fn run_group(&self, group: &str, tree: &Tree, codes: &CodeTables, limits: Limits) -> Option<Output> {
        let (_, entry) = self.entries.iter().find(|(name, _)| name == group)?;
        let texts = Bump::new();
        let mut machine = execute::Machine::new(self, tree, codes, limits, &texts);
        machine.run(entry);
        Some(machine.finish(false).0)
    }

    fn first(&self) -> &Entry {
        static NONE: Entry = Entry { group: usize::MAX, type_id: None, is_unit: false, rule: 0 };
        self.entries.first().map_or(&NONE, |(_, entry)| entry)
    }

    /// Maps one document. Units come in the order the map makes them.
    pub fn run(&self, tree: &Tree, codes: &CodeTables, limits: Limits) -> Output {
        let texts = Bump::new();
        let mut machine = execute::Machine::new(self, tree, codes, limits, &texts);
        machine.run(self.first());
        machine.finish(false).0
    }

    /// As [`Plan::run`], with the rule behind every value.
    pub fn run_traced(&self, tree: &Tree, codes: &CodeTables, limits: Limits) -> (Output, Trace) {
        let texts = Bump::new();
        let mut machine = execute::Machine::new(self, tree, codes, limits, &texts);
        machine.run(self.first());
        machine.finish(true)
    }

    /// As [`Plan::run_traced`], with every rule that fired and how each source value was used. Slower; for authors.
    pub fn run_recorded(&self, tree: &Tree, codes: &CodeTables, limits: Limits) -> (Output, Trace, Record) {
        let texts = Bump::new();
        let mut machine = execute::Machine::new(self, tree, codes, limits, &texts);
        machine.record = Some(Box::new(Record::new(tree.len())));
        machine.run(self.first());
        let record = machine.record.take().map(|record| *record).unwrap_or_default();
        let (output, trace) = machine.finish(true);
        (output, trace, record)
    }

    /// Every rule of the map and of what it imports, by place, each once, with its name.
    pub fn rules(&self) -> Vec<(Place, Option<&str>)> {
        let mut found = Vec::new();
        let mut queue: Vec<&code::RulePlan> = self.groups.iter().flat_map(|group| &group.rules).collect();
        while let Some(rule) = queue.pop() {
            found.extend(self.places.get(rule.place as usize).map(|place| (*place, rule.name.as_deref())));
            queue.extend(&rule.rules);
        }
        found.sort_by_key(|(place, _)| (place.file, place.start));
        found.dedup();
        found
    }

    /// The texts the map was read from, for places.
    pub fn files(&self) -> &Files {
        &self.files
    }
}
