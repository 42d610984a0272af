//! The models a `mapping.toml` names: StructureDefinitions of the folder and of packages that lie in it.
//!
//! A package is a `.tgz` of files (FHIR NPM packages, <https://confluence.hl7.org/display/FHIR/NPM+Package+Specification>); it is
//! unpacked in memory, within limits, and what is no StructureDefinition in it is passed over. Nothing is fetched.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::Diagnostic;
use crate::fml::nearest;
use crate::model::Models;

/// Bytes of all definitions of a folder, unpacked.
const BYTES_MAX: u64 = 256 << 20;
/// Files of a package.
const FILES_MAX: usize = 50_000;

/// The models `named` in a manifest. Errors: files that are not there or are no definitions, files below `model/` that nothing names.
pub(super) fn read(files: &BTreeMap<String, Vec<u8>>, named: &[String]) -> Result<Models, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut found: Vec<(String, Vec<u8>)> = Vec::new();
    for name in named {
        match (name.strip_suffix('*'), files.get(name)) {
            (Some(below), _) => {
                let below = files.iter().filter(|(path, bytes)| path.starts_with(below) && defines(bytes));
                let before = found.len();
                found.extend(below.map(|(path, bytes)| (path.clone(), bytes.clone())));
                if found.len() == before {
                    let message = format!("no StructureDefinition below `{name}`");
                    errors.push(Diagnostic::new(
                        "mapping.toml",
                        0,
                        message,
                        "add one, or take the entry out",
                    ));
                }
            }
            (None, Some(bytes)) if name.ends_with(".tgz") => match unpacked(name, bytes) {
                Ok(definitions) => found.extend(definitions),
                Err(error) => errors.push(error),
            },
            (None, Some(bytes)) => found.push((name.clone(), bytes.clone())),
            (None, None) => {
                let near = nearest(name, files.keys().map(String::as_str));
                let message = format!("`models` names {name}, which is not there");
                errors.push(Diagnostic::new("mapping.toml", 0, message, format!("add the file; {near}")));
            }
        }
    }
    let covers = |path: &str| {
        named.iter().any(|name| name == path || name.strip_suffix('*').is_some_and(|p| path.starts_with(p)))
    };
    for path in files.keys().filter(|path| path.starts_with("model/") && !covers(path)) {
        let message = "`models` does not name this file";
        errors.push(Diagnostic::new(path.as_str(), 0, message, "add it to mapping.toml or remove the file"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let found: Vec<(&str, &[u8])> =
        found.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    if found.is_empty() { Ok(Models::default()) } else { Models::read(&found) }
}

/// The StructureDefinitions of a package. Errors: it does not unpack, or to more than is allowed.
fn unpacked(name: &str, bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Diagnostic> {
    let broken =
        |_| Diagnostic::new(name, 0, "the package does not unpack", "give the .tgz as it was published");
    let large = || {
        let message = format!("the package has more than {FILES_MAX} files or {BYTES_MAX} bytes");
        Diagnostic::new(name, 0, message, "give the definitions the maps use as files")
    };
    // One byte past the limit tells that it was passed.
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes).take(BYTES_MAX + 1));
    let (mut found, mut total) = (Vec::new(), 0_u64);
    for (at, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        total = total.saturating_add(entry.size());
        if at >= FILES_MAX || total > BYTES_MAX {
            return Err(large());
        }
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if !path.ends_with(".json") || path.ends_with("package.json") {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        if defines(&bytes) {
            found.push((format!("{name}/{path}"), bytes));
        }
    }
    Ok(found)
}

/// Whether a file is a StructureDefinition, or may be a Bundle of them: what it is exactly the reader says.
fn defines(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(4096)).unwrap_or_default());
    let squeezed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    squeezed.contains(r#""resourceType":"StructureDefinition""#)
        || squeezed.contains("<StructureDefinitionxmlns")
}
