//! The mapping folders in use, compiled once; and the stage that runs one on a document. CPU only: no store, no clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use sluis_mappings::case::prove;
use sluis_mappings::finding::Severity;
use sluis_mappings::folder::{self, Folder, Library};
use sluis_mappings::output::Output;
use sluis_mappings::run::{CompiledFolder, LIBRARY, LIBRARY_TABLES};
use sluis_mappings::source::{Format, Limits, edifact, hl7v2, json, xml};

use super::digest::hex;
use super::kept;
use super::note::Note;
use crate::ids::Ura;

mod files;

use files::is_proof;
pub use files::{Files, template, templates, write_shipped};

/// All mappings of a gateway.
#[derive(Debug, Default)]
pub struct Maps {
    library: Library,
    compiled: BTreeMap<String, Arc<Compiled>>,
    /// Those that run beside one in force (`shadow = true`), likewise.
    shadow_library: Library,
    shadows: BTreeMap<String, Arc<Compiled>>,
}

#[derive(Debug)]
pub(super) struct Compiled {
    /// Name of its folder.
    name: String,
    pub(super) folder: CompiledFolder,
    pub(super) hash: String,
    /// Hash of the cases it has proved itself by.
    proof: String,
    package: Option<Arc<[u8]>>,
}

/// A folder that does not load, compile or prove its cases; its last good version stays in force, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Name of the folder.
    pub folder: String,
    /// What is wrong with it, one line each, with file and line.
    pub errors: Vec<String>,
}

/// Why a map was not run on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTransformed {
    /// No map in force has this canonical, or not of this version.
    Unknown,
    /// It reads another notation than JSON.
    Format(&'static str),
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
    /// The mapping as it is kept with what it made; `None` past its limit, or when none fits.
    pub package: Option<Arc<[u8]>>,
    /// MSH-10 and its like.
    pub control_id: Option<String>,
    /// Findings about the whole.
    pub notes: Vec<Note>,
}

impl Maps {
    /// Compiles folders, given as files by folder name, and runs their cases.
    ///
    /// Errors: everything found wrong, one line each, with folder, file and line. Never half a set.
    pub fn new(folders: BTreeMap<String, Files>) -> Result<Maps, Vec<String>> {
        let none = Maps::default();
        let (maps, bad) = none.renewed(&folders)?;
        if bad.is_empty() { Ok(maps) } else { Err(bad.into_iter().flat_map(|bad| bad.errors).collect()) }
    }

    /// The set that follows this one when these are the folders: what is unchanged, its cases too, is taken over as it is, what is
    /// new is compiled and must prove its cases, and what is bad keeps the version it has here. A folder that is gone is gone.
    ///
    /// Errors: two folders that could match one document: there is no such set.
    pub fn renewed(&self, folders: &BTreeMap<String, Files>) -> Result<(Maps, Vec<Bad>), Vec<String>> {
        let mut bad = Vec::new();
        let (mut compiled, mut shadows) = (BTreeMap::new(), BTreeMap::new());
        for (name, files) in folders {
            let mut earlier = self.compiled.values().chain(self.shadows.values());
            let before = earlier.find(|compiled| compiled.name == *name);
            let (hash, proof) = (content_hash(files), proof_hash(files));
            let now = match before.filter(|before| (&before.hash, &before.proof) == (&hash, &proof)) {
                Some(same) => Some(Arc::clone(same)),
                None => match compile(name, files, (hash, proof)) {
                    Ok(compiled) => Some(Arc::new(compiled)),
                    Err(errors) => {
                        bad.push(Bad { folder: name.clone(), errors });
                        before.cloned()
                    }
                },
            };
            if let Some(now) = now {
                let manifest = &now.folder.folder().manifest;
                let set = if manifest.shadow { &mut shadows } else { &mut compiled };
                set.insert(manifest.id.clone(), now);
            }
        }
        let library = |set: &BTreeMap<String, Arc<Compiled>>| {
            Library::new(set.values().map(|compiled| compiled.folder.folder().clone()).collect())
        };
        match (library(&compiled), library(&shadows)) {
            (Ok(library), Ok(shadow_library)) => {
                Ok((Maps { library, compiled, shadow_library, shadows }, bad))
            }
            (one, other) => {
                let mut errors: Vec<String> = bad.into_iter().flat_map(|bad| bad.errors).collect();
                let found = [one.err(), other.err()].into_iter().flatten().flatten();
                errors.extend(found.map(|diagnostic| diagnostic.to_string()));
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

    /// As [`Maps::renewed`], from a directory; without one, from what is built in.
    pub fn reread(&self, root: Option<&Path>) -> Result<(Maps, Vec<Bad>), Vec<String>> {
        let folders = match root {
            None => files::shipped(),
            Some(root) => {
                files::read_folders(root).map_err(|error| vec![format!("{}: {error}", root.display())])?
            }
        };
        self.renewed(&folders)
    }

    /// Number of mappings and their ids, for readiness and logs.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.compiled.keys().map(String::as_str)
    }

    /// Whether a mapping's table has an answer for a code; not for a mapping that is not in force.
    pub fn answers(&self, id: &str, table: &str, system: &str, code: &str) -> bool {
        self.compiled.get(id).is_some_and(|compiled| compiled.folder.answers(table, system, code))
    }

    /// Whether any mapping runs beside another.
    pub(super) fn has_shadows(&self) -> bool {
        !self.shadows.is_empty()
    }

    /// Whether this version of a mapping is a shadow in force.
    pub(super) fn is_shadow(&self, id: &str, hash: &str) -> bool {
        self.shadows.get(id).is_some_and(|compiled| compiled.hash == hash)
    }

    /// The mapping in force for a document, and the one that runs beside it; `None` where there are not both.
    pub(super) fn shadowed(
        &self,
        sender: &Ura,
        format: Format,
        bytes: &[u8],
    ) -> Option<(&Compiled, &Compiled)> {
        let facts = folder::facts(format, bytes);
        let of = |library: &Library| -> Option<String> {
            Some(library.select(sender.as_str(), format, &facts).ok()?.manifest.id.clone())
        };
        let (active, shadow) = (of(&self.library)?, of(&self.shadow_library)?);
        Some((self.compiled.get(&active)?, self.shadows.get(&shadow)?))
    }

    /// Runs the map with this canonical (`url` or `url|version`) on a resource, JSON. Stores nothing.
    pub fn transform(&self, source: &str, bytes: &[u8]) -> Result<Output, NotTransformed> {
        let (url, version) =
            source.split_once('|').map_or((source, None), |(url, version)| (url, Some(version)));
        let compiled = self.compiled.values().find(|compiled| {
            let manifest = &compiled.folder.folder().manifest;
            compiled.folder.url() == url && version.is_none_or(|version| version == manifest.version)
        });
        let compiled = compiled.ok_or(NotTransformed::Unknown)?;
        match compiled.folder.folder().format() {
            Format::Json => Ok(compiled.folder.run(bytes)),
            other => Err(NotTransformed::Format(other.as_str())),
        }
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
                package: None,
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
            package: compiled.package.clone(),
            control_id,
            notes,
        }
    }
}

/// Loads, compiles and proves one folder. Errors: one line each.
fn compile(name: &str, files: &Files, (hash, proof): (String, String)) -> Result<Compiled, Vec<String>> {
    let folder = Folder::load(files)
        .map_err(|found| found.iter().map(|diagnostic| format!("{name}/{diagnostic}")).collect::<Vec<_>>())?;
    let folder = CompiledFolder::new(folder)
        .map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    let failed: Vec<String> = prove(&folder)
        .iter()
        .filter(|proof| !proof.passed())
        .map(|proof| {
            let first = proof.differences.first().map(ToString::to_string).unwrap_or_default();
            format!("{name}/cases/{}: the case fails: {first}", proof.name)
        })
        .collect();
    // The cases have done their work: a serving gateway holds no documents of them.
    let folder = folder.without_cases();
    let package = kept::package(files).map(Arc::from);
    if failed.is_empty() {
        Ok(Compiled { name: name.to_owned(), folder, hash, proof, package })
    } else {
        Err(failed)
    }
}

/// Why a document of no known mapping cannot be read either: where it is cut off or broken says more to its sender than
/// that nobody expects it. CSV has no form of its own to break.
fn unreadable(format: Format, bytes: &[u8]) -> Vec<Note> {
    let parsed = match format {
        Format::Hl7v2 => hl7v2::parse(bytes, None, Limits::default()),
        Format::Edifact => edifact::parse(bytes, None, Limits::default()),
        Format::Json => json::parse(bytes, Limits::default()),
        Format::Xml => xml::parse(bytes, Limits::default()),
        Format::Csv => return Vec::new(),
    };
    parsed.findings.iter().filter(|finding| finding.severity == Severity::Fatal).map(Note::from).collect()
}

/// Hash over everything that makes a mapping's output: its own files and the common library; its cases only prove it.
fn content_hash(files: &Files) -> String {
    let library = LIBRARY.iter().chain(&LIBRARY_TABLES).map(|(path, text)| (*path, text.as_bytes()));
    hash(those(files, |path| !is_proof(path)).chain(library))
}

/// Hash over what proves a mapping.
fn proof_hash(files: &Files) -> String {
    hash(those(files, is_proof))
}

fn those(files: &Files, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &[u8])> {
    let files = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
    files.filter(move |(path, _)| wanted(path))
}

fn hash<'f>(files: impl Iterator<Item = (&'f str, &'f [u8])>) -> String {
    let mut context = Context::new(&SHA256);
    for (path, bytes) in files {
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
    fn a_map_in_force_is_found_by_its_canonical_and_version() {
        let maps = Maps::shipped().unwrap();
        let url = "https://sluis.care/fhir/StructureMap/gp-stu3";
        let version = maps.compiled["gp-stu3"].folder.folder().manifest.version.clone();
        let content = br#"{"resourceType":"AllergyIntolerance","id":"a1","clinicalStatus":"active","verificationStatus":"confirmed","code":{"text":"x"},"patient":{"reference":"Patient/1"}}"#;
        for source in [url.to_owned(), format!("{url}|{version}")] {
            let output = maps.transform(&source, content).unwrap();
            let resource = output.units[0].resource.as_deref().unwrap();
            assert!(resource.starts_with(r#"{"resourceType":"AllergyIntolerance""#), "{resource}");
        }
        for unknown in ["", "https://sluis.care/fhir/StructureMap/none", &format!("{url}|0.0.0")] {
            assert_eq!(maps.transform(unknown, content).unwrap_err(), NotTransformed::Unknown);
        }
        let lab = maps.transform("https://sluis.care/fhir/StructureMap/umc-lab", content);
        assert_eq!(lab.unwrap_err(), NotTransformed::Format("hl7v2"));
    }

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
    fn a_bad_folder_keeps_its_last_good_version_and_the_others_move_on() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappings");
        let mut folders = files::read_folders(&root).unwrap();
        let first = Maps::new(folders.clone()).unwrap();
        let hash = |maps: &Maps, id: &str| maps.compiled[id].hash.clone();
        let edit = |folders: &mut BTreeMap<String, Files>, folder: &str, file: &str, from: &str, to: &str| {
            let files = folders.get_mut(folder).unwrap();
            let text = String::from_utf8(files[file].clone()).unwrap();
            assert!(text.contains(from), "{folder}/{file}");
            files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
        };
        // One does not compile, one fails a case, one is well.
        edit(&mut folders, "umc-lab", "map.fml", "'Europe/Amsterdam'", "'Europe/Amsterdm'");
        edit(&mut folders, "gp-stu3", "cases/cgm-nee/out.json", "deny", "permit");
        edit(&mut folders, "gesp-export", "mapping.toml", "title = \"", "title = \"Nieuw ");
        let (second, bad) = first.renewed(&folders).unwrap();
        let names: Vec<&str> = bad.iter().map(|bad| bad.folder.as_str()).collect();
        assert_eq!(names, ["gp-stu3", "umc-lab"]);
        assert!(
            bad[0].errors[0].contains("gp-stu3/cases/cgm-nee") && bad[1].errors[0].contains("Amsterdm"),
            "{bad:?}"
        );
        assert_eq!(hash(&first, "umc-lab"), hash(&second, "umc-lab"));
        assert_eq!(hash(&first, "gp-stu3"), hash(&second, "gp-stu3"));
        assert_ne!(hash(&first, "gesp-export"), hash(&second, "gesp-export"));
        let is_same = |maps: &Maps, id: &str| Arc::ptr_eq(&first.compiled[id], &maps.compiled[id]);
        assert!(is_same(&second, "als-visit") && !is_same(&second, "gesp-export"));
        // Other cases alone: the folder is proved anew, and what it is called by stays.
        edit(&mut folders, "als-plan", "cases/plan/out.json", "{", " {");
        let (again, _) = first.renewed(&folders).unwrap();
        assert!(!is_same(&again, "als-plan") && hash(&again, "als-plan") == hash(&first, "als-plan"));
        assert!(second.compiled.values().all(|compiled| compiled.folder.folder().cases.is_empty()));
        // What is gone is gone; what is bad and new is not there.
        folders.remove("gesp-export");
        folders.insert("nieuw".to_owned(), Files::from([("mapping.toml".to_owned(), b"id = 1".to_vec())]));
        let (third, bad) = second.renewed(&folders).unwrap();
        assert!(!third.compiled.contains_key("gesp-export") && bad.iter().any(|bad| bad.folder == "nieuw"));
    }

    #[test]
    fn one_bad_folder_refuses_the_set() {
        let files = Files::from([("mapping.toml".to_owned(), b"id = 1".to_vec())]);
        let errors = Maps::new(BTreeMap::from([("x".to_owned(), files)])).unwrap_err();
        assert!(errors.first().unwrap().starts_with("x/mapping.toml"), "{errors:?}");
    }
}
