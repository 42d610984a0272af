//! Definitions that the operator loads from a folder of FHIR packages, read at the start: value sets, code systems, search
//! parameters.
//!
//! They hold for every caller and come before stored ones of the same address. Stored resources stay with the store.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluis_conformance::definitions::{OwnParameter, SearchKind};
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
    parameters: Vec<OwnParameter>,
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
    /// Reads every `*.json` in a folder and below it; what is no ValueSet, CodeSystem or SearchParameter is passed over.
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
            library.add(doc).map_err(unreadable)?;
        }
        Ok(library)
    }

    /// Adds a definition, unless it is of another type or has no address.
    ///
    /// Errors: what a SearchParameter lacks.
    pub fn add(&mut self, doc: Doc) -> Result<(), String> {
        let (kind, url) = (text(doc.root(), "resourceType"), text(doc.root(), "url"));
        let shelf = match kind.as_deref() {
            Some("SearchParameter") => {
                self.parameters.extend(parameter(doc.root())?);
                return Ok(());
            }
            Some("ValueSet") => &mut self.value_sets,
            Some("CodeSystem") => &mut self.code_systems,
            _ => return Ok(()),
        };
        if let Some(url) = url {
            shelf.entry(url).or_default().push(Arc::new(doc));
        }
        Ok(())
    }

    /// Search parameters to add to those of R4.
    pub fn parameters(&self) -> &[OwnParameter] {
        &self.parameters
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

/// A SearchParameter resource (FHIR R4 searchparameter.html); `None` for one that is retired or one of FHIR's own, which
/// are there.
fn parameter(root: Node<'_>) -> Result<Option<OwnParameter>, String> {
    let url = text(root, "url").ok_or("a SearchParameter without url")?;
    let retired = text(root, "status").as_deref() == Some("retired");
    if retired || url.starts_with("http://hl7.org/fhir/SearchParameter/") {
        return Ok(None);
    }
    let due = |name: &str| text(root, name).ok_or(format!("{url} has no {name}"));
    let texts = |name: &str| {
        let items = root.get(name).into_iter().flat_map(Node::items);
        items.filter_map(|item| item.as_str().map(|text| text.into_owned())).collect::<Vec<_>>()
    };
    let kind =
        SearchKind::from_code(&due("type")?).ok_or(format!("{url} has a type that R4 does not know"))?;
    let components = root.get("component").into_iter().flat_map(Node::items).map(|component| {
        let part = |name: &str| text(component, name).ok_or(format!("{url} has a component without {name}"));
        Ok((part("definition")?, part("expression")?))
    });
    Ok(Some(OwnParameter {
        code: due("code")?,
        kind,
        bases: texts("base"),
        targets: texts("target"),
        expression: due("expression")?,
        components: components.collect::<Result<_, String>>()?,
        url,
    }))
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
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

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
    fn search_parameters_are_read_or_named() {
        let read = |text: &str| {
            let mut library = Library::default();
            let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
            library.add(doc).map(|()| library.parameters().to_vec())
        };
        let whole = r#"{"resourceType":"SearchParameter","url":"urn:p","status":"active","code":"own","base":["Condition","Procedure"],
            "type":"reference","expression":"Condition.asserter","target":["Patient"]}"#;
        let read_one = read(whole).unwrap();
        let [one] = read_one.as_slice() else { panic!("{read_one:?}") };
        assert_eq!(
            (&*one.code, one.kind, one.bases.len(), one.targets.len()),
            ("own", SearchKind::Reference, 2, 1)
        );
        assert!(read(&whole.replace("active", "retired")).unwrap().is_empty());
        assert!(read(&whole.replace("urn:p", "http://hl7.org/fhir/SearchParameter/x")).unwrap().is_empty());
        for missing in ["code", "type", "expression"] {
            let said = read(&whole.replace(&format!("\"{missing}\""), "\"x\"")).unwrap_err();
            assert!(said.contains(missing), "{said}");
        }
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
