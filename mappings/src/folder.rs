//! A mapping folder: all the gateway needs to read one sender's documents.
//!
//! `mapping.toml` says what the folder is for, `map.fml` how, `codes/*.csv` what codes mean, `cases/` proves it. Files
//! come in as bytes by path, so that loading is the same from disk, from a test and from an archive; nothing here reads
//! a file. Compiling the map is the plan's.

mod library;
mod manifest;
mod models;

use std::{collections::BTreeMap, fmt};

pub use library::{Library, NoMatch};
pub use manifest::{CodesEntry, Identity, Ignore, Manifest, Match, Unmapped};

use crate::{
    case::Case,
    codes::{CodeTable, CodeTables},
    model::Models,
    source::{Facts, Format},
};

/// One sender's mapping, loaded and checked apart from the map itself.
#[derive(Debug, Clone)]
pub struct Folder {
    /// `mapping.toml`.
    pub manifest: Manifest,
    /// Path of the map inside the folder (`map.fml`), for error positions.
    pub map_file: String,
    /// Text of the map.
    pub map: String,
    /// Further maps it may import: path inside the folder, text.
    pub maps: Vec<(String, String)>,
    /// What the maps know of the types they name.
    pub models: Models,
    /// Code tables by name.
    pub codes: CodeTables,
    /// Case pairs, by name.
    pub cases: Vec<Case>,
}

/// What is wrong with a file of a folder, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Path inside the folder.
    pub file: String,
    /// 1-based; 0 for the file as a whole.
    pub line: u32,
    /// 1-based, in characters; 0 for the line as a whole.
    pub column: u32,
    /// Characters concerned.
    pub width: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Diagnostic {
    /// A diagnostic about a line of a file.
    pub fn new(
        file: impl Into<String>,
        line: u32,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            file: file.into(),
            line,
            column: 0,
            width: 0,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// The same diagnostic about `width` characters from `column` of its line.
    #[must_use]
    pub fn at(mut self, column: u32, width: u32) -> Diagnostic {
        self.column = column;
        self.width = width.max(1);
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}: {} ({})", self.file, self.message, self.remedy),
            (line, 0) => write!(f, "{}:{line}: {} ({})", self.file, self.message, self.remedy),
            (line, column) => write!(f, "{}:{line}:{column}: {} ({})", self.file, self.message, self.remedy),
        }
    }
}

impl Folder {
    /// Loads a folder from its files, keyed by path inside it (`mapping.toml`, `codes/loinc.csv`, `cases/fvc/in.hl7`).
    ///
    /// Errors: everything found wrong, not the first only. Files nobody refers to are errors too: a code table that is
    /// not used is a table somebody believes in.
    pub fn load(files: &BTreeMap<String, Vec<u8>>) -> Result<Folder, Vec<Diagnostic>> {
        let text = text(files, "mapping.toml").map_err(|e| vec![e])?;
        let manifest = Manifest::parse("mapping.toml", text)?;
        let mut errors = Vec::new();
        let map = text_or(files, &manifest.map, &mut errors).to_owned();
        let mut codes = CodeTables::new();
        for (name, entry) in &manifest.codes {
            match files.get(&entry.file) {
                None => {
                    let tables = files.keys().filter(|f| f.starts_with("codes/")).map(String::as_str);
                    let near = crate::fml::nearest(&entry.file, tables);
                    let message = format!("code table `{name}` refers to {}, which is not there", entry.file);
                    let remedy = format!("add the file or take the entry out; {near}");
                    let remedy = remedy.trim_end_matches("; ");
                    errors.push(manifest::placed("mapping.toml", text, &entry.file, message, remedy));
                }
                Some(bytes) => match CodeTable::load(name, &entry.file, bytes, &entry.allow) {
                    Ok(table) => {
                        codes.insert(name.clone(), table);
                    }
                    Err(found) => errors.extend(found),
                },
            }
        }
        for file in files.keys().filter(|f| f.starts_with("codes/")) {
            if !manifest.codes.values().any(|entry| entry.file == *file) {
                errors.push(Diagnostic::new(
                    file.as_str(),
                    0,
                    "no entry of [codes] refers to this table",
                    "add it to mapping.toml or remove the file",
                ));
            }
        }
        let maps =
            manifest.maps.iter().map(|file| (file.clone(), text_or(files, file, &mut errors).to_owned()));
        let maps = maps.collect();
        let models = models::read(files, &manifest.models).unwrap_or_else(|found| {
            errors.extend(found);
            Models::default()
        });
        for file in files.keys().filter(|file| file.starts_with("maps/") && !manifest.maps.contains(file)) {
            let message = "`maps` does not name this map";
            errors.push(Diagnostic::new(
                file.as_str(),
                0,
                message,
                "add it to mapping.toml or remove the file",
            ));
        }
        let cases = Case::load_all(files, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Folder { map_file: manifest.map.clone(), manifest, map, maps, models, codes, cases })
    }

    /// What its map may import: its own maps, then a library (name, text).
    pub fn importable<'f>(&'f self, library: &[(&'f str, &'f str)]) -> Vec<(&'f str, &'f str)> {
        let own = self.maps.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        own.chain(library.iter().copied()).collect()
    }

    /// Notation of the documents this folder reads.
    pub fn format(&self) -> Format {
        self.manifest.format
    }

    /// Reads a document the way this sender writes it.
    pub fn parse(&self, bytes: &[u8], limits: crate::source::Limits) -> crate::source::Parsed {
        use crate::source::{charset::Charset, csv, edifact, hl7v2, xml};
        let charset = self.manifest.charset.as_deref().and_then(Charset::from_label);
        match self.manifest.format {
            Format::Hl7v2 => hl7v2::parse(bytes, charset, limits),
            Format::Edifact => edifact::parse(bytes, charset, limits),
            Format::Csv => csv::parse(bytes, &self.manifest.csv.clone().unwrap_or_default(), limits),
            // FHIR is one model in two notations (FHIR R4 formats.html): one folder reads both.
            Format::Json if xml::looks_like_xml(bytes) => xml::parse(bytes, limits),
            Format::Json => crate::source::json::parse(bytes, limits),
            Format::Xml => xml::parse(bytes, limits),
        }
    }
}

/// What a document says about itself, before any folder was chosen.
pub fn facts(format: Format, bytes: &[u8]) -> Facts {
    match format {
        Format::Hl7v2 => crate::source::hl7v2::facts(bytes),
        Format::Csv => crate::source::csv::facts(bytes),
        Format::Edifact => crate::source::edifact::facts(bytes),
        Format::Json => crate::source::json::facts(bytes),
        Format::Xml => crate::source::xml::facts(bytes),
    }
}

fn text<'f>(files: &'f BTreeMap<String, Vec<u8>>, file: &str) -> Result<&'f str, Diagnostic> {
    let bytes = files
        .get(file)
        .ok_or_else(|| Diagnostic::new(file, 0, "the file is not there", "add it to the folder"))?;
    std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes.iter().take(e.valid_up_to()).filter(|&&b| b == b'\n').count();
        Diagnostic::new(file, line as u32, "the file is not UTF-8", "save it as UTF-8")
    })
}

fn text_or<'f>(files: &'f BTreeMap<String, Vec<u8>>, file: &str, errors: &mut Vec<Diagnostic>) -> &'f str {
    text(files, file).unwrap_or_else(|error| {
        errors.push(error);
        ""
    })
}

#[cfg(test)]
mod tests;
