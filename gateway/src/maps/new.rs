//! `sluis map new`: a folder made of a sample, or of one built in, on disk. Never overwrites.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use sluis::ingest::map;
use sluis_mappings::case;

use super::files::{Files, compile};
use crate::say;

pub(super) fn new(sample: &Path, folder: &Path, sender: &str) -> Result<ExitCode> {
    refuse_existing(folder)?;
    let bytes = std::fs::read(sample).with_context(|| sample.display().to_string())?;
    let extension = sample.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let files =
        case::scaffold(&id_of(folder), sender, &extension, &bytes).map_err(|why| anyhow::anyhow!(why))?;
    write(folder, &files)?;
    // What was written runs; where it does not, its maker says so here and not the first time it is needed.
    let compiled = compile(folder)?;
    let units: usize = compiled.folder().cases.iter().map(|case| compiled.run(&case.input).units.len()).sum();
    let shown = folder.display();
    say(&format!(
        "the first case makes {units} resource(s). Next: read {shown}/map.fml, decide each line marked TODO, then\n  \
         sluis map watch {shown}            # document and resources side by side, after each save\n  \
         sluis map trace {shown} first      # what each value came from\n  \
         sluis map test {shown} --bless     # keep the output, once it is right"
    ));
    Ok(ExitCode::SUCCESS)
}

/// A copy of a folder built in, under its own id and for its own sender.
pub(super) fn like(name: &str, folder: &Path, sender: &str) -> Result<ExitCode> {
    refuse_existing(folder)?;
    let mut files = map::template(name);
    if files.is_empty() {
        bail!("no folder `{name}` is built in; these are: {}", map::templates().join(", "));
    }
    let manifest = files.get("mapping.toml").cloned().unwrap_or_default();
    let manifest = case::rename(&id_of(folder), sender, &String::from_utf8_lossy(&manifest))
        .map_err(|why| anyhow::anyhow!(why))?;
    files.insert("mapping.toml".to_owned(), manifest.into_bytes());
    // What it proved, it proved under another name.
    files.remove(&format!("cases/{}", case::PROVED));
    write(folder, &files)?;
    let compiled = compile(folder)?;
    let shown = folder.display();
    say(&format!(
        "a copy of {name} with {} case(s). Next: put a document of your own in {shown}/cases/<name>/in.json, then\n  \
         sluis map watch {shown}            # document and resources side by side, after each save\n  \
         sluis map test {shown} --bless     # keep the output, once it is right",
        compiled.folder().cases.len()
    ));
    Ok(ExitCode::SUCCESS)
}

fn id_of(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn refuse_existing(folder: &Path) -> Result<()> {
    if folder.exists() {
        bail!("{} is there already; nothing was written", folder.display());
    }
    Ok(())
}

fn write(folder: &Path, files: &Files) -> Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        say(&format!("  {}", path.display()));
    }
    Ok(())
}
