//! Mapping folders as files on disk, loaded and compiled; what is wrong with them, shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sluis_mappings::case::excerpt;
use sluis_mappings::folder::Folder;
use sluis_mappings::run::CompiledFolder;

use crate::complain;

/// Files of a folder by path inside it.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The folder itself, or those below it that hold a `mapping.toml`.
pub(super) fn folders(root: &Path) -> Result<Vec<PathBuf>> {
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
        bail!(
            "{}: no folder with a mapping.toml in it; make one with `sluis map new --from sample.csv <folder>`",
            root.display()
        );
    }
    Ok(found)
}

/// Every file below a folder.
pub(super) fn files(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    collect(root, root, &mut files)?;
    Ok(files)
}

/// A folder, compiled. Errors: how many; each is shown with its line on the way.
pub(super) fn compile(path: &Path) -> Result<CompiledFolder> {
    let files = files(path)?;
    let root = path.display().to_string();
    let folder = Folder::load(&files).map_err(|found| {
        for diagnostic in &found {
            complain(&format!("{}\n", excerpt::of_diagnostic(diagnostic, &files, &root)));
        }
        anyhow::anyhow!("{root}: {} error(s) in the folder", found.len())
    })?;
    CompiledFolder::new(folder).map_err(|errors| {
        for error in &errors {
            complain(&format!("{error}\n"));
        }
        anyhow::anyhow!("{root}: {} error(s) in the map", errors.len())
    })
}

fn collect(root: &Path, at: &Path, files: &mut Files) -> Result<()> {
    for entry in std::fs::read_dir(at).with_context(|| at.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        files.insert(name, std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    Ok(())
}
