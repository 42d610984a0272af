//! What each public suite holds, and how one file or case of it is tried.

mod cases;
mod compare;
mod versions;

use std::path::{Path, PathBuf};

use sluis_mappings::fml::{MapError, Profile};
use sluis_mappings::model::Models;
use sluis_mappings::plan::{Options, Plan};

/// A public suite.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Suite {
    TestCases,
    Guide,
    Matchbox,
    Versions,
}

/// One thing tried.
#[derive(Debug)]
pub(crate) struct Check {
    /// `load`, `run`...
    pub stage: &'static str,
    /// File or case.
    pub name: String,
    pub outcome: Result<(), Failure>,
}

/// Why a check fails: a reason others share, and what is particular.
#[derive(Debug)]
pub(crate) struct Failure {
    pub reason: String,
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(reason: &str, detail: impl Into<String>) -> Failure {
        Failure { reason: reason.to_owned(), detail: detail.into() }
    }
}

/// Maps that are refused for what they say, with the error they are refused for.
const REFUSED: [(&str, &str); 14] = [
    // Output is a function of the input: no random number.
    ("transform-uuid.fml", "function-impure"),
    ("bundleobs.map", "function-impure"),
    // Elements that no version of FHIR has.
    ("syntax-backticks.fml", "element-unknown"),
    ("transform-evaluate.fml", "element-unknown"),
    ("syntax.map", "element-unknown"),
    // `"firstName"` is no rule id; the suite itself says that this file is wrong.
    ("target-list-modes.fml", "map-syntax"),
    // Imports and extends what the suite does not hold.
    ("imports.fml", "import-unknown"),
    ("ActivityDefinition.map", "group-unknown"),
    // No function of FHIRPath, as the map itself says.
    ("step4b.map", "function-unsupported"),
    // Its condition is a text that does not end: `'a21.isInteger()`.
    ("step4b.xml", "map-syntax"),
    // Resolving a reference and asking a terminology server are I/O.
    ("bundle-resolve.map", "statement-unknown"),
    ("memberof.map", "function-unsupported"),
    // Named after its error.
    ("map-with-error.map", "statement-unknown"),
    // Changes a resource after copying it whole, of whatever type it is.
    ("copyaliasingbug.map", "resource-type"),
];

/// Code tables the suites refer to and do not hold.
const TABLES: [&str; 1] = ["http://example.org/ConceptMap/gender-map"];

impl Suite {
    pub(crate) const ALL: [Suite; 4] = [Suite::TestCases, Suite::Guide, Suite::Matchbox, Suite::Versions];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Suite::TestCases => "fhir-test-cases",
            Suite::Guide => "mapping-language-ig",
            Suite::Matchbox => "matchbox",
            Suite::Versions => "r3-to-r4",
        }
    }

    /// Every check of the suite below `root`, in file order.
    pub(crate) fn checks(self, root: &Path) -> Vec<Check> {
        let folder = root.join(self.name());
        match self {
            Suite::TestCases => cases::test_cases(&folder),
            Suite::Guide => files(&folder, &["fml", "map"])
                .iter()
                .map(|path| loaded(&folder, path, &Models::default()).0)
                .collect(),
            Suite::Matchbox => cases::matchbox(&folder),
            Suite::Versions => versions::checks(root),
        }
    }
}

/// Loads one map on its own.
pub(crate) fn loaded(folder: &Path, path: &Path, models: &Models) -> (Check, Option<Plan>) {
    let tables = TABLES.iter().map(|table| (*table).to_owned()).collect();
    let options = Options { models: models.clone(), profile: Profile::Open, tables, ..Options::default() };
    let name = name(folder, path);
    let loaded = Plan::load(&name, &text(path), &[], &options);
    let refused_for = REFUSED.iter().find(|(file, _)| name.ends_with(file)).map(|(_, code)| *code);
    let (outcome, plan) = match (loaded, refused_for) {
        (Ok(plan), None) => (Ok(()), Some(plan)),
        (Ok(_), Some(code)) => (Err(Failure::new("not refused", format!("{code} was expected"))), None),
        (Err(errors), Some(code)) if errors[0].code == code && errors[0].line > 0 => (Ok(()), None),
        (Err(errors), _) => (Err(refused(&errors)), None),
    };
    (Check { stage: "load", name, outcome }, plan)
}

pub(crate) fn refused(errors: &[MapError]) -> Failure {
    let first = errors.first().unwrap();
    let detail = format!("{}:{}:{}: {} ({})", first.file, first.line, first.column, first.text, first.help);
    Failure::new(first.code, detail)
}

/// Files with one of the extensions below `folder`, sorted.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|wanted| e == *wanted)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The StructureDefinitions among some files.
pub(crate) fn models(paths: &[PathBuf]) -> Models {
    let files: Vec<(String, Vec<u8>)> =
        paths.iter().map(|path| (path.display().to_string(), std::fs::read(path).unwrap())).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    Models::read(&files).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

pub(crate) fn name(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
}

pub(crate) fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).trim_start_matches('\u{feff}').to_owned()
}
