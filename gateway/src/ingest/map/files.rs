//! Files of the mapping folders: those built into this binary, and those of a directory. Reads and writes files; compiles
//! nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// Files of one folder by path inside it.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The folders built into this binary, by name.
pub(super) fn shipped() -> BTreeMap<String, Files> {
    let mut folders: BTreeMap<String, Files> = BTreeMap::new();
    for (folder, path, bytes) in SHIPPED {
        folders.entry((*folder).to_owned()).or_default().insert((*path).to_owned(), bytes.to_vec());
    }
    folders
}

/// Writes the mappings built into this binary below `root`, for their user to edit. Without their cases, which prove a
/// mapping and are not part of it.
///
/// Errors: what cannot be written; files before it are there then.
pub fn write_shipped(root: &Path) -> io::Result<()> {
    for (folder, path, bytes) in SHIPPED {
        let path = root.join(folder).join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// Names of the folders a new one can begin as: of vendors, and those in force.
pub fn templates() -> Vec<&'static str> {
    let mut names: Vec<&str> = VENDORS.iter().chain(SHIPPED).map(|(folder, ..)| *folder).collect();
    names.dedup();
    names
}

/// Files of such a folder; empty for a name that is none.
pub fn template(name: &str) -> Files {
    let files = VENDORS.iter().chain(SHIPPED).filter(|(folder, ..)| *folder == name);
    files.map(|(_, path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

/// Every folder below `root` that has a `mapping.toml`, by name, its cases included.
pub(super) fn read_folders(root: &Path) -> io::Result<BTreeMap<String, Files>> {
    let mut folders = BTreeMap::new();
    for entry in std::fs::read_dir(root)? {
        let path = entry?.path();
        if !path.join("mapping.toml").is_file() {
            continue;
        }
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let mut files = Files::new();
        read_files(&path, "", &mut files)?;
        folders.insert(name, files);
    }
    Ok(folders)
}

fn read_files(folder: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_files(&entry.path(), &format!("{name}/"), files)?;
        } else if !name.ends_with(".md") {
            files.insert(name, std::fs::read(entry.path())?);
        }
    }
    Ok(())
}

/// Whether a file shows what a mapping does instead of being part of it.
pub(super) fn is_proof(path: &str) -> bool {
    path.starts_with("cases/") || path.ends_with(".md")
}
