//! The mapping folders in use, compiled once; and the stage that runs one on a document. CPU only: no store, no clock.

use std::collections::BTreeMap;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use sluis_mappings::finding::Severity;
use sluis_mappings::folder::{self, Folder, Library};
use sluis_mappings::output::Output;
use sluis_mappings::run::{CompiledFolder, LIBRARY};
use sluis_mappings::source::{Format, Limits, hl7v2, json, xml};

use super::digest::hex;
use super::note::Note;
use crate::ids::Ura;

mod files;

use files::is_proof;
pub use files::{Files, write_shipped};

/// All mappings of a gateway. Never half a set: one folder that does not load refuses all.
#[derive(Debug)]
pub struct Maps {
    library: Library,
    compiled: BTreeMap<String, Compiled>,
}

#[derive(Debug)]
struct Compiled {
    folder: CompiledFolder,
    hash: String,
}

/// A document mapped.
#[derive(Debug)]
pub struct Mapped {
    /// Units and findings.
    pub output: Output,
    /// `id|version` of the map; empty when none fits.
    pub map: String,
    /// Content hash of the mapping; empty likewise.
    pub mapping: String,
    /// MSH-10 and its like.
    pub control_id: Option<String>,
    /// Findings about the whole.
    pub notes: Vec<Note>,
}

impl Maps {
    /// Compiles folders, given as files by folder name.
    ///
    /// Errors: everything found wrong, one line each, with folder, file and line.
    pub fn new(folders: BTreeMap<String, Files>) -> Result<Maps, Vec<String>> {
        let mut errors = Vec::new();
        let mut loaded = Vec::new();
        let mut compiled = BTreeMap::new();
        for (name, files) in &folders {
            let folder = match Folder::load(files) {
                Ok(folder) => folder,
                Err(found) => {
                    errors.extend(found.iter().map(|diagnostic| format!("{name}/{diagnostic}")));
                    continue;
                }
            };
            match CompiledFolder::new(folder.clone()) {
                Ok(one) => {
                    let one = Compiled { folder: one, hash: content_hash(files) };
                    compiled.insert(folder.manifest.id.clone(), one);
                }
                Err(found) => errors.extend(found.iter().map(ToString::to_string)),
            }
            loaded.push(folder);
        }
        match Library::new(loaded) {
            Ok(library) if errors.is_empty() => Ok(Maps { library, compiled }),
            Ok(_) => Err(errors),
            Err(found) => {
                errors.extend(found.iter().map(ToString::to_string));
                Err(errors)
            }
        }
    }

    /// The mappings built into this binary.
    pub fn shipped() -> Result<Maps, Vec<String>> {
        Maps::new(files::shipped())
    }

    /// The mappings of a directory: one folder for each sender, known by its `mapping.toml`.
    pub fn read(root: &Path) -> Result<Maps, Vec<String>> {
        Maps::new(files::read_folders(root).map_err(|error| vec![format!("{}: {error}", root.display())])?)
    }

    /// Number of mappings and their ids, for readiness and logs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.compiled.keys().map(String::as_str)
    }

    /// Maps a document of a sender. Total: whatever the bytes are, units and findings come out.
    pub fn map(&self, sender: &Ura, format: Format, bytes: &[u8]) -> Mapped {
        let facts = folder::facts(format, bytes);
        let control_id = facts.control_id.clone();
        let chosen = self.library.select(sender.as_str(), format, &facts);
        let compiled = chosen.as_ref().ok().and_then(|folder| self.compiled.get(&folder.manifest.id));
        let Some(compiled) = compiled else {
            let why = chosen.err().map(|no_match| no_match.to_string()).unwrap_or_default();
            let mut note = Note::new(
                "fatal",
                "mapping-missing",
                format!("This document is of a kind the gateway has no mapping for: {why}."),
                "Have a mapping added (mappings/README.md), then replay.",
            );
            note.cause = Some(format!(
                "mapping-missing:{}{}",
                format.as_str(),
                facts.message_type.map(|kind| format!(":{kind}")).unwrap_or_default()
            ));
            let mut notes = unreadable(format, bytes);
            notes.push(note);
            return Mapped {
                output: Output::default(),
                map: String::new(),
                mapping: String::new(),
                control_id,
                notes,
            };
        };
        let output = compiled.folder.run(bytes);
        let manifest = &compiled.folder.folder().manifest;
        let mut notes: Vec<Note> = output.findings.iter().map(Note::from).collect();
        let fatal = output.findings.iter().any(|finding| finding.severity == Severity::Fatal);
        if output.units.is_empty() && !fatal {
            let mut note = Note::new(
                "fatal",
                "nothing-mapped",
                "The document holds nothing its mapping makes a resource of.",
                "Check that it is complete; have the mapping extended if it should be read, then replay.",
            );
            note.cause = Some(format!("nothing-mapped:{}", manifest.id));
            notes.push(note);
        }
        Mapped {
            output,
            map: format!("{}|{}", manifest.id, manifest.version),
            mapping: compiled.hash.clone(),
            control_id,
            notes,
        }
    }
}

/// Why a document of no known mapping cannot be read either: where it is cut off or broken says more to its sender than
/// that nobody expects it. CSV has no form of its own to break.
fn unreadable(format: Format, bytes: &[u8]) -> Vec<Note> {
    let parsed = match format {
        Format::Hl7v2 => hl7v2::parse(bytes, None, Limits::default()),
        Format::Json => json::parse(bytes, Limits::default()),
        Format::Xml => xml::parse(bytes, Limits::default()),
        Format::Csv => return Vec::new(),
    };
    parsed.findings.iter().filter(|finding| finding.severity == Severity::Fatal).map(Note::from).collect()
}

/// Hash over everything that makes a mapping's output: its own files and the common library; its cases only prove it.
fn content_hash(files: &Files) -> String {
    let mut context = Context::new(&SHA256);
    let own = files
        .iter()
        .filter(|(path, _)| !is_proof(path))
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    for (path, bytes) in own.chain(LIBRARY.iter().map(|(path, text)| (*path, text.as_bytes()))) {
        for part in [path.as_bytes(), bytes] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    hex(context.finish().as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_mappings_compile_and_equal_their_folder() {
        let shipped = Maps::shipped().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings");
        let read = Maps::read(&root).unwrap();
        assert!(shipped.ids().count() > 0);
        let hashes = |maps: &Maps| maps.compiled.values().map(|c| c.hash.clone()).collect::<Vec<_>>();
        assert_eq!(hashes(&shipped), hashes(&read));
    }

    #[test]
    fn a_folder_of_the_shipped_mappings_reads_back_as_they_are() {
        let root = std::env::temp_dir().join(format!("sluis-shipped-{}", std::process::id()));
        write_shipped(&root).unwrap();
        let read = Maps::read(&root);
        std::fs::remove_dir_all(&root).unwrap();
        let hashes = |maps: &Maps| maps.compiled.values().map(|c| c.hash.clone()).collect::<Vec<_>>();
        assert_eq!(hashes(&Maps::shipped().unwrap()), hashes(&read.unwrap()));
    }

    #[test]
    fn a_document_without_a_mapping_says_what_is_missing() {
        let mapped = Maps::new(BTreeMap::new()).unwrap().map(
            &Ura::parse("12345678").unwrap(),
            Format::Json,
            br#"{"resourceType":"Foo"}"#,
        );
        assert_eq!(mapped.notes.first().unwrap().cause(), "mapping-missing:json:Foo");
        assert!(mapped.map.is_empty() && mapped.output.units.is_empty());
    }

    #[test]
    fn one_bad_folder_refuses_the_set() {
        let files = Files::from([("mapping.toml".to_owned(), b"id = 1".to_vec())]);
        let errors = Maps::new(BTreeMap::from([("x".to_owned(), files)])).unwrap_err();
        assert!(errors.first().unwrap().starts_with("x/mapping.toml"), "{errors:?}");
    }
}
