//! What each public suite holds, and how one file or case of it is tried.

use std::path::{Path, PathBuf};

use sluis_mappings::fml::MapError;
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
    /// `load`, `run`.
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
        let folder = match self {
            Suite::TestCases | Suite::Guide | Suite::Matchbox => root.join(self.name()),
            Suite::Versions => root.join("fhir-cross-version/input/R3toR4"),
        };
        let maps = files(&folder, &["map", "fml"]);
        let library: Vec<(String, String)> = match self {
            Suite::Versions => maps.iter().map(|path| (name(&folder, path), text(path))).collect(),
            _ => Vec::new(),
        };
        let library: Vec<(&str, &str)> = library.iter().map(|(name, text)| (&**name, &**text)).collect();
        let load = |path: &PathBuf| Check {
            stage: "load",
            name: name(&folder, path),
            outcome: load(&name(&folder, path), &text(path), &library),
        };
        maps.iter().map(load).collect()
    }
}

fn load(name: &str, text: &str, library: &[(&str, &str)]) -> Result<(), Failure> {
    Plan::load(name, text, library, &Options::default()).map(|_| ()).map_err(|errors| refused(&errors))
}

fn refused(errors: &[MapError]) -> Failure {
    let first = errors.first().unwrap();
    Failure {
        reason: first.code.to_owned(),
        detail: format!("{}:{}:{}: {} ({})", first.file, first.line, first.column, first.text, first.help),
    }
}

/// Files with one of the extensions below `folder`, sorted.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
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

fn name(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).to_string_lossy().into_owned()
}

fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).trim_start_matches('\u{feff}').to_owned()
}
