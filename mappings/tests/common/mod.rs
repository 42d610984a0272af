//! Mapping folders of this crate, read from disk for the tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sluis_mappings::folder::Folder;

/// Where a folder's files are.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn files(folder: &Path, at: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(folder, &path, into);
        } else {
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
            into.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

/// A folder as the gateway loads it.
pub(crate) fn folder(name: &str) -> Folder {
    let path = path(name);
    let mut all = BTreeMap::new();
    files(&path, &path, &mut all);
    Folder::load(&all).unwrap_or_else(|errors| panic!("{errors:#?}"))
}
