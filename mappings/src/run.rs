//! One document through one folder: parse, map, account for every field.
//!
//! Where the parts meet: `folder` reads the document as its sender writes it, `plan` maps it, `case` says what was
//! left out. Choosing the folder, storing and receipts are the gateway's.

mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::case::{Patterns, coverage_findings};
use crate::codes::{CodeTables, Lookup};
use crate::finding::{Finding, Severity};
use crate::fml::{self, MapError};
use crate::folder::Folder;
use crate::output::{Coverage, Output};
use crate::plan::{Limits, Options, Plan, Record, Trace};
use crate::source;

pub use tables::{LIBRARY_TABLES, library_tables};

/// Maps every sender's map may import: (file name, text). Found by the url they declare.
pub const LIBRARY: [(&str, &str); 24] = [
    ("lib/als/care.fml", include_str!("../lib/als/care.fml")),
    ("lib/als/function.fml", include_str!("../lib/als/function.fml")),
    ("lib/als/respiration.fml", include_str!("../lib/als/respiration.fml")),
    ("lib/v2/clinical.fml", include_str!("../lib/v2/clinical.fml")),
    ("lib/v2/datatypes.fml", include_str!("../lib/v2/datatypes.fml")),
    ("lib/v2/document.fml", include_str!("../lib/v2/document.fml")),
    ("lib/v2/encounter.fml", include_str!("../lib/v2/encounter.fml")),
    ("lib/v2/order.fml", include_str!("../lib/v2/order.fml")),
    ("lib/v2/patient.fml", include_str!("../lib/v2/patient.fml")),
    ("lib/v2/problem.fml", include_str!("../lib/v2/problem.fml")),
    ("lib/v2/result.fml", include_str!("../lib/v2/result.fml")),
    ("lib/stu3/advance-directive.fml", include_str!("../lib/stu3/advance-directive.fml")),
    ("lib/stu3/care.fml", include_str!("../lib/stu3/care.fml")),
    ("lib/stu3/clinical.fml", include_str!("../lib/stu3/clinical.fml")),
    ("lib/stu3/common.fml", include_str!("../lib/stu3/common.fml")),
    ("lib/stu3/datatypes.fml", include_str!("../lib/stu3/datatypes.fml")),
    ("lib/stu3/dialect/nexus.fml", include_str!("../lib/stu3/dialect/nexus.fml")),
    ("lib/stu3/dialect/nhg.fml", include_str!("../lib/stu3/dialect/nhg.fml")),
    ("lib/stu3/document.fml", include_str!("../lib/stu3/document.fml")),
    ("lib/stu3/medication.fml", include_str!("../lib/stu3/medication.fml")),
    ("lib/stu3/observation.fml", include_str!("../lib/stu3/observation.fml")),
    ("lib/stu3/people.fml", include_str!("../lib/stu3/people.fml")),
    ("lib/stu3/problem.fml", include_str!("../lib/stu3/problem.fml")),
    ("lib/stu3/treatment-directive.fml", include_str!("../lib/stu3/treatment-directive.fml")),
];

/// The maps of [`LIBRARY`], read once for all folders.
static BUILT_IN: LazyLock<fml::Library> = LazyLock::new(|| fml::Library::new(&LIBRARY));

/// A folder with its map compiled: made once, run for every document.
#[derive(Debug, Clone)]
pub struct CompiledFolder {
    folder: Folder,
    plan: Plan,
    ignored: Patterns,
    limits: Limits,
    source_limits: source::Limits,
}

impl CompiledFolder {
    /// Compiles a folder's map. `%namespace` and `%patient` of the map are the folder's identity namespaces; beside the
    /// folder's own code tables it has those of the library ([`LIBRARY_TABLES`]).
    ///
    /// Errors: everything wrong with the map, each with file, line and column.
    pub fn new(folder: Folder) -> Result<CompiledFolder, Vec<MapError>> {
        CompiledFolder::from_library(folder, &BUILT_IN, tables::library())
    }

    /// As [`CompiledFolder::new`], with other maps (file name, text or StructureMap resource) to import from.
    ///
    /// Errors: as there.
    pub fn with_library(folder: Folder, library: &[(&str, &str)]) -> Result<CompiledFolder, Vec<MapError>> {
        CompiledFolder::with_library_and_tables(folder, library, tables::library())
    }

    /// As [`CompiledFolder::with_library`], with other code tables behind those of the folder: the library of another time.
    ///
    /// Errors: as there.
    pub fn with_library_and_tables(
        folder: Folder,
        library: &[(&str, &str)],
        tables: &CodeTables,
    ) -> Result<CompiledFolder, Vec<MapError>> {
        CompiledFolder::from_library(folder, &fml::Library::new(library), tables)
    }

    fn from_library(
        mut folder: Folder,
        library: &fml::Library,
        tables: &CodeTables,
    ) -> Result<CompiledFolder, Vec<MapError>> {
        tables::complete(&mut folder.codes, tables);
        let manifest = &folder.manifest;
        let mut constants = BTreeMap::from([("namespace".to_owned(), manifest.identity.namespace.clone())]);
        if let Some(patient) = &manifest.identity.patient {
            constants.insert("patient".to_owned(), patient.clone());
        }
        let tables: BTreeSet<String> = folder.codes.keys().cloned().collect();
        let models = folder.models.clone();
        let options = Options { constants, tables, manifest: Some(manifest), models, ..Options::default() };
        let name = format!("{}/{}", manifest.id, folder.map_file);
        let own = folder.maps.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let plan = Plan::load_from(&name, &folder.map, &library.beside(own), &options)?;
        Ok(CompiledFolder {
            ignored: Patterns::new(&folder.manifest.ignore),
            folder,
            plan,
            limits: Limits::default(),
            source_limits: source::Limits::default(),
        })
    }

    /// The folder as loaded.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The same folder with other limits.
    #[must_use]
    pub fn with_limits(mut self, source_limits: source::Limits, limits: Limits) -> CompiledFolder {
        self.source_limits = source_limits;
        self.limits = limits;
        self
    }

    /// Maps one document. Total: whatever the bytes are, the answer is units and findings.
    pub fn run(&self, bytes: &[u8]) -> Output {
        let parsed = self.parse(bytes);
        self.run_parsed(bytes, &parsed, |plan, codes| {
            (plan.run(&parsed.tree, codes, self.limits), Trace::default(), Record::default())
        })
        .0
    }

    /// As [`CompiledFolder::run`], with the rule behind every value.
    pub fn run_traced(&self, bytes: &[u8]) -> (Output, Trace) {
        let parsed = self.parse(bytes);
        let (output, trace, _) = self.run_parsed(bytes, &parsed, |plan, codes| {
            let (output, trace) = plan.run_traced(&parsed.tree, codes, self.limits);
            (output, trace, Record::default())
        });
        (output, trace)
    }

    /// Reads a document as this folder's sender writes it.
    pub fn parse(&self, bytes: &[u8]) -> source::Parsed {
        self.folder.parse(bytes, self.source_limits)
    }

    /// As [`CompiledFolder::run_traced`] on a document read by [`CompiledFolder::parse`], with every rule that fired and
    /// how each source value was used. For authors.
    pub fn run_recorded(&self, bytes: &[u8], parsed: &source::Parsed) -> (Output, Trace, Record) {
        self.run_parsed(bytes, parsed, |plan, codes| plan.run_recorded(&parsed.tree, codes, self.limits))
    }

    /// The same folder without its cases, which are not needed to run it.
    #[must_use]
    pub fn without_cases(mut self) -> CompiledFolder {
        self.folder.cases = Vec::new();
        self
    }

    /// The folder's map and every library map it imports as StructureMap resources of R4: (canonical, JSON), its own first.
    ///
    /// Errors: what R4 has no room for, each with file, line and column.
    pub fn structure_maps(&self) -> Result<Vec<(String, String)>, Vec<MapError>> {
        let name = format!("{}/{}", self.folder.manifest.id, self.folder.map_file);
        let own = self.folder.maps.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let library = BUILT_IN.beside(own);
        let program = fml::load_from(fml::Profile::Strict, &name, &self.folder.map, &library)?;
        let (mut built, mut errors) = (Vec::new(), Vec::new());
        for map in &program.maps {
            match fml::structure_map(&program.files, map) {
                Ok(resource) => built.push((map.url.clone(), resource)),
                Err(found) => errors.extend(found),
            }
        }
        if errors.is_empty() { Ok(built) } else { Err(errors) }
    }

    /// Whether a table has an answer for a code, its own or the library's: a translation, or that there is none.
    pub fn answers(&self, table: &str, system: &str, code: &str) -> bool {
        let table = self.folder.codes.get(table);
        table.is_some_and(|table| !matches!(table.lookup(system, code), Lookup::Unmapped))
    }

    /// Canonical of the folder's map; empty when it declares none.
    pub fn url(&self) -> &str {
        fml::declared_url(&self.folder.map)
    }

    /// The compiled map.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn run_parsed(
        &self,
        bytes: &[u8],
        parsed: &source::Parsed,
        map: impl FnOnce(&Plan, &CodeTables) -> (Output, Trace, Record),
    ) -> (Output, Trace, Record) {
        let format = self.folder.format();
        if parsed.is_fatal() {
            let mut output = Output::refused(parsed.clone());
            output.locate(format, bytes);
            return (output, Trace::default(), Record::default());
        }
        let (mut output, trace, record) = map(&self.plan, &self.folder.codes);
        let mut found = parsed.findings.clone();
        // An error outside every unit becomes a quarantined unit, so that it can be mended and replayed.
        let (errors, rest) = output.findings.drain(..).partition(|f: &Finding| f.severity == Severity::Error);
        output.findings = rest;
        found.extend::<Vec<Finding>>(errors);
        output.absorb(found, &parsed.coverage);
        if !output.findings.iter().any(|finding| finding.severity == Severity::Fatal) {
            let complete = &self.folder.manifest.complete;
            let dropped = coverage_findings(&parsed.tree, &output.coverage, &self.ignored, complete);
            output.absorb(dropped, &Coverage::default());
        }
        output.locate(format, bytes);
        (output, trace, record)
    }
}

/// Compiles and runs at once: for cases and the command line. A map that does not compile refuses the document.
pub fn run(folder: &Folder, bytes: &[u8]) -> Output {
    match CompiledFolder::new(folder.clone()) {
        Ok(folder) => folder.run(bytes),
        Err(errors) => Output {
            findings: errors
                .iter()
                .map(|error| Finding {
                    rule: Some(format!("{}:{}:{}", error.file, error.line, error.column)),
                    ..Finding::new(Severity::Fatal, error.code, error.text.clone(), error.help.clone())
                })
                .collect(),
            ..Output::default()
        },
    }
}
