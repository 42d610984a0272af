//! `sluis map build`: a folder's map and what it imports as StructureMap resources, for other engines and for publishing.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow};

use super::files::compile;
use crate::say;

/// Writes a file per map into `out`, named after the last part of its canonical. Errors: nothing was written of a map that R4 has no
/// room for; what was written before stays.
pub(super) fn build(folder: &Path, out: &Path) -> Result<ExitCode> {
    let compiled = compile(folder)?;
    let built = compiled.structure_maps().map_err(|errors| {
        let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("{}", shown.join("\n"))
    })?;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    for (url, resource) in &built {
        let name = url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("map");
        let path = out.join(format!("{name}.json"));
        std::fs::write(&path, resource).with_context(|| path.display().to_string())?;
        say(&path.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}
