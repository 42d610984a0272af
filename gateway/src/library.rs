//! Definitions that the operator loads from a folder of FHIR packages: value sets and code systems, read at the start.
//!
//! They hold for every caller and come before stored ones of the same address. Stored resources stay with the store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluis_conformance::json::{Doc, JsonLimits, Node};

/// Files of a folder, sub-folders included.
const FILES_MAX: usize = 50_000;
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Folders inside one another.
const DEPTH_MAX: usize = 8;

/// The loaded definitions by address.
#[derive(Debug, Default)]
pub struct Library {
    value_sets: HashMap<String, Vec<Arc<Doc>>>,
    code_systems: HashMap<String, Vec<Arc<Doc>>>,
}

/// Why a folder is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It or a file in it cannot be read.
    #[error("{path}: {cause}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system, or the reader of JSON, says.
        cause: String,
    },
    /// There is more than is loaded.
    #[error("{path}: {what}")]
    TooMuch {
        /// The file or folder.
        path: PathBuf,
        /// The limit.
        what: String,
    },
}

impl Library {
    /// Reads every `*.json` in a folder and below it; what is neither ValueSet nor CodeSystem is passed over.
    ///
    /// Errors: [`LibraryError`], at the first file that does not read.
    pub fn read(folder: &Path) -> Result<Library, LibraryError> {
        let mut library = Library::default();
        let mut files = Vec::new();
        list(folder, 0, &mut files)?;
        files.sort();
        for path in files {
            let unreadable = |cause: String| LibraryError::Unreadable { path: path.clone(), cause };
            let size = std::fs::metadata(&path).map_err(|error| unreadable(error.to_string()))?.len();
            if size > FILE_BYTES_MAX {
                let what = format!("a file has at most {FILE_BYTES_MAX} bytes");
                return Err(LibraryError::TooMuch { path, what });
            }
            let bytes = std::fs::read(&path).map_err(|error| unreadable(error.to_string()))?;
            let doc =
                Doc::parse(bytes, JsonLimits::default()).map_err(|error| unreadable(error.to_string()))?;
            library.add(doc);
        }
        Ok(library)
    }

    /// Adds a definition, unless it is of another type or has no address.
    pub fn add(&mut self, doc: Doc) {
        let (kind, url) = (text(doc.root(), "resourceType"), text(doc.root(), "url"));
        let shelf = match kind.as_deref() {
            Some("ValueSet") => &mut self.value_sets,
            Some("CodeSystem") => &mut self.code_systems,
            _ => return,
        };
        if let Some(url) = url {
            shelf.entry(url).or_default().push(Arc::new(doc));
        }
    }

    /// Numbers of value sets and code systems.
    pub fn counts(&self) -> (usize, usize) {
        (self.value_sets.values().map(Vec::len).sum(), self.code_systems.values().map(Vec::len).sum())
    }

    /// A value set by its address, the version after `|` when that matters: the first file's.
    pub fn value_set(&self, address: &str) -> Option<Arc<Doc>> {
        find(&self.value_sets, address)
    }

    /// As [`Self::value_set`], of code systems.
    pub fn code_system(&self, address: &str) -> Option<Arc<Doc>> {
        find(&self.code_systems, address)
    }

    /// Whether a value set of this address is loaded, or part of R4's own definitions.
    pub fn holds_value_set(&self, address: &str) -> bool {
        let built_in = sluis_conformance::definitions::r4().value_set(address).is_some();
        built_in || find(&self.value_sets, address).is_some()
    }

    /// Whether a code system of this address is loaded.
    pub fn holds_code_system(&self, address: &str) -> bool {
        find(&self.code_systems, address).is_some()
    }
}

fn find(shelf: &HashMap<String, Vec<Arc<Doc>>>, address: &str) -> Option<Arc<Doc>> {
    let (url, version) = match address.split_once('|') {
        Some((url, version)) => (url, Some(version)),
        None => (address, None),
    };
    let versions = shelf.get(url)?;
    let wanted = |doc: &&Arc<Doc>| version.is_none() || text(doc.root(), "version").as_deref() == version;
    versions.iter().find(wanted).map(Arc::clone)
}

fn text(node: Node<'_>, name: &str) -> Option<String> {
    node.get(name).and_then(Node::as_str).map(|text| text.into_owned())
}

fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), LibraryError> {
    let unreadable = |error: std::io::Error| LibraryError::Unreadable {
        path: folder.to_owned(),
        cause: error.to_string(),
    };
    if depth > DEPTH_MAX {
        let what = format!("folders stand at most {DEPTH_MAX} deep in one another");
        return Err(LibraryError::TooMuch { path: folder.to_owned(), what });
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            list(&path, depth + 1, files)?;
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            let what = format!("at most {FILES_MAX} files are read");
            return Err(LibraryError::TooMuch { path: folder.to_owned(), what });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn folder(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("sluis-library-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("package/more")).unwrap();
        Folder(folder)
    }

    #[test]
    fn definitions_are_found_by_address_and_version() {
        let folder = folder("found");
        let write = |name: &str, text: &str| std::fs::write(folder.0.join(name), text).unwrap();
        write("package/package.json", r#"{"name":"x"}"#);
        write("package/a.json", r#"{"resourceType":"ValueSet","url":"http://x/vs","version":"1"}"#);
        write("package/b.json", r#"{"resourceType":"ValueSet","url":"http://x/vs","version":"2"}"#);
        write("package/more/c.json", r#"{"resourceType":"CodeSystem","url":"http://x/cs"}"#);
        write("package/d.txt", "no definition");
        let library = Library::read(&folder.0).unwrap();
        assert_eq!(library.counts(), (2, 1));
        let version =
            |address: &str| library.value_set(address).map(|doc| text(doc.root(), "version").unwrap());
        assert_eq!(version("http://x/vs").as_deref(), Some("1"));
        assert_eq!(version("http://x/vs|2").as_deref(), Some("2"));
        assert_eq!(version("http://x/vs|3"), None);
        assert!(library.holds_code_system("http://x/cs") && !library.holds_code_system("http://x/vs"));
        assert!(library.holds_value_set("http://hl7.org/fhir/ValueSet/administrative-gender"));
    }

    #[test]
    fn a_file_that_does_not_read_is_named() {
        let folder = folder("bad");
        std::fs::write(folder.0.join("package/bad.json"), "{").unwrap();
        let error = Library::read(&folder.0).unwrap_err().to_string();
        assert!(error.contains("bad.json"), "{error}");
        assert!(Library::read(&folder.0.join("absent")).is_err());
    }
}
