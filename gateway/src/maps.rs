//! `sluis map`: mapping folders on the author's own machine. Reads files; runs what the gateway runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use sluis_mappings::case::{CaseResult, run_cases};
use sluis_mappings::folder::Folder;
use sluis_mappings::run::CompiledFolder;

use crate::{complain, say};

#[derive(Debug, Subcommand)]
pub(crate) enum Map {
    /// Run every case of a mapping folder (or of all folders below a directory) and show what differs.
    Test {
        /// Mapping folder, or a directory of them.
        #[arg(default_value = "mappings")]
        folder: PathBuf,
        /// Write what came out as the expected output of every case that differs, after showing it.
        #[arg(long)]
        bless: bool,
    },
    /// Show, for each element a document becomes, the rule and the source it came from.
    Trace {
        /// Mapping folder.
        folder: PathBuf,
        /// Document.
        document: PathBuf,
    },
}

pub(crate) fn perform(map: Map) -> Result<ExitCode> {
    match map {
        Map::Test { folder, bless } => test(&folder, bless),
        Map::Trace { folder, document } => trace(&folder, &document),
    }
}

fn test(root: &Path, bless: bool) -> Result<ExitCode> {
    let folders = folders(root)?;
    let (mut passed, mut failed) = (0, 0);
    for path in &folders {
        let compiled = compile(path)?;
        for result in run_cases(compiled.folder(), &|_, bytes| compiled.run(bytes)) {
            if result.passed() {
                passed += 1;
                continue;
            }
            failed += 1;
            let shown: Vec<String> = result.differences.iter().map(ToString::to_string).collect();
            say(&format!("{} {}:\n  {}", path.display(), result.name, shown.join("\n  ")));
            if bless {
                write(path, &result)?;
            }
        }
    }
    say(&format!("{passed} passed, {failed} failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(folder: &Path, result: &CaseResult) -> Result<()> {
    let case = folder.join("cases").join(&result.name);
    for (name, text) in [("out.json", &result.out), ("findings.json", &result.findings)] {
        let path = case.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Renders a trace: element, rule, and the place in the source it came from.
fn trace(folder: &Path, document: &Path) -> Result<ExitCode> {
    let compiled = compile(folder)?;
    let bytes = std::fs::read(document).with_context(|| document.display().to_string())?;
    let tree = compiled.folder().parse(&bytes, sluis_mappings::source::Limits::default()).tree;
    let (output, trace) = compiled.run_traced(&bytes);
    for (at, unit) in output.units.iter().enumerate() {
        say(&format!("{} {:?}", unit.label, unit.state));
        for value in trace.values.iter().filter(|value| value.unit == at) {
            let span = tree.node(value.source).span;
            let source = tree.path(value.source);
            say(&format!(
                "  {:<52} {:<18} {source} (bytes {}-{})",
                value.path, value.rule, span.start, span.end
            ));
        }
        for finding in &unit.findings {
            say(&format!("  {:?} {}: {} {}", finding.severity, finding.code, finding.text, finding.remedy));
        }
    }
    for finding in &output.findings {
        say(&format!("{:?} {}: {} {}", finding.severity, finding.code, finding.text, finding.remedy));
    }
    Ok(ExitCode::SUCCESS)
}

/// The folder itself, or those below it that hold a `mapping.toml`.
fn folders(root: &Path) -> Result<Vec<PathBuf>> {
    if root.join("mapping.toml").exists() {
        return Ok(vec![root.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).with_context(|| root.display().to_string())? {
        let path = entry?.path();
        if path.join("mapping.toml").exists() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        bail!("{}: no folder with a mapping.toml in it", root.display());
    }
    Ok(found)
}

fn compile(path: &Path) -> Result<CompiledFolder> {
    let mut files = BTreeMap::new();
    collect(path, path, &mut files)?;
    let folder = Folder::load(&files).map_err(|found| {
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{}:\n{}", path.display(), lines.join("\n"))
    })?;
    CompiledFolder::new(folder).map_err(|errors| {
        for error in &errors {
            complain(&error.to_string());
        }
        anyhow::anyhow!("{}: {} error(s) in the map", path.display(), errors.len())
    })
}

fn collect(root: &Path, at: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(at).with_context(|| at.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        files.insert(name, std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    Ok(())
}
