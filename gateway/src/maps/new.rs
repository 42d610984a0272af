//! `sluis map new`: a folder made of a sample, on disk. Never overwrites.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use sluis_mappings::case;

use super::files::compile;
use crate::say;

pub(super) fn new(sample: &Path, folder: &Path, sender: &str) -> Result<ExitCode> {
    if folder.exists() {
        bail!("{} is there already; nothing was written", folder.display());
    }
    let bytes = std::fs::read(sample).with_context(|| sample.display().to_string())?;
    let id = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = sample.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let files = case::scaffold(&id, sender, &extension, &bytes).map_err(|why| anyhow::anyhow!(why))?;
    for (name, bytes) in &files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        say(&format!("  {}", path.display()));
    }
    // What was written runs; where it does not, its maker says so here and not the first time it is needed.
    let compiled = compile(folder)?;
    let units: usize = compiled.folder().cases.iter().map(|case| compiled.run(&case.input).units.len()).sum();
    let shown = folder.display();
    say(&format!(
        "the first case makes {units} resource(s). Next: read {shown}/map.fml, decide each line marked TODO, then\n  \
         sluis map trace {shown} first      # what each value came from\n  \
         sluis map test {shown} --bless     # keep the output, once it is right"
    ));
    Ok(ExitCode::SUCCESS)
}
