//! A folder as it stands: does it load, compile, pass, and what is suspicious in it.

use std::path::Path;
use std::time::{Instant, SystemTime};

use serde_json::json;
use sluis_mappings::case::{self, excerpt};
use sluis_mappings::folder::Folder;
use sluis_mappings::run::CompiledFolder;

use crate::maps::files::{self, Files};

/// What the page shows of one state of the files.
pub(super) struct State {
    /// Counts the states; the page asks for the next one.
    pub number: u64,
    /// One line for the terminal.
    pub summary: String,
    /// `{folder, problems, lints, cases: [{name, passed, differences}]}`, JSON text.
    pub told: String,
    /// The folder, where it compiles: documents are mapped when the page asks for them.
    pub compiled: Option<CompiledFolder>,
}

/// Size and time of every file below a folder, by path. What cannot be read is left out; reading it tells why.
pub(super) fn stamp(folder: &Path) -> Vec<(std::path::PathBuf, u64, Option<SystemTime>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => found.push((entry.path(), data.len(), data.modified().ok())),
                Err(_) => {}
            }
        }
    }
    found.sort();
    found
}

/// Loads, compiles, lints and tests. Total: what is wrong is part of the state.
pub(super) fn look(folder: &Path) -> State {
    let begun = Instant::now();
    let root = folder.display().to_string();
    let bad = |problems: Vec<String>| State {
        number: 0,
        summary: format!("{root}: {} problem(s)\n\n{}", problems.len(), problems.join("\n\n")),
        told: json!({ "folder": root, "problems": problems, "lints": [], "cases": [] }).to_string(),
        compiled: None,
    };
    let files = match files::files(folder) {
        Ok(files) => files,
        Err(error) => return bad(vec![format!("{error:#}")]),
    };
    let compiled = match compiled(&files, &root) {
        Ok(compiled) => compiled,
        Err(problems) => return bad(problems),
    };
    let proofs = case::prove(&compiled);
    let lints: Vec<String> = case::lint(&compiled, &files, &root).iter().map(ToString::to_string).collect();
    let failed = proofs.iter().filter(|proof| !proof.passed()).count();
    let cases: Vec<_> = proofs
        .iter()
        .map(|proof| {
            let differences: Vec<String> = proof.differences.iter().map(ToString::to_string).collect();
            json!({ "name": proof.name, "passed": proof.passed(), "differences": differences })
        })
        .collect();
    State {
        number: 0,
        summary: format!(
            "{root}: {} passed, {failed} failed, {} remark(s) in {} ms",
            proofs.len() - failed,
            lints.len(),
            begun.elapsed().as_millis()
        ),
        told: json!({ "folder": root, "problems": [], "lints": lints, "cases": cases }).to_string(),
        compiled: Some(compiled),
    }
}

fn compiled(files: &Files, root: &str) -> Result<CompiledFolder, Vec<String>> {
    let folder = Folder::load(files).map_err(|found| {
        found.iter().map(|found| excerpt::of_diagnostic(found, files, root).to_string()).collect::<Vec<_>>()
    })?;
    CompiledFolder::new(folder).map_err(|found| found.iter().map(ToString::to_string).collect())
}
