//! `mapping.toml`: what a folder is for and the choices its map relies on.

use std::{collections::BTreeMap, ops::Range};

use serde::Deserialize;

use super::Diagnostic;
use crate::fml::nearest;
use crate::{
    codes::Relationship,
    source::{Format, charset::Charset, csv},
};

/// `mapping.toml`. Unknown keys are errors: a misspelt policy is a policy not applied.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the mapping, also of its folder: lower case, digits and dashes.
    pub id: String,
    /// Semantic version; goes into Provenance, so it changes with every change of output.
    pub version: String,
    /// For people.
    pub title: String,
    /// Notation of the documents.
    pub format: Format,
    /// It runs beside the mapping in force for the same documents, to be compared, and makes nothing.
    #[serde(default)]
    pub shadow: bool,
    /// Path of the map; `map.fml`.
    #[serde(default = "default_map")]
    pub map: String,
    /// Further maps in the folder, which the map imports: text, or StructureMap resources of others.
    #[serde(default)]
    pub maps: Vec<String>,
    /// StructureDefinitions of what is read or made besides R4: files in the folder, `model/*` for all below, or a package (`.tgz`).
    #[serde(default)]
    pub models: Vec<String>,
    /// IANA name of the character set agreed on for HL7v2 messages with an empty MSH-18, and for EDIFACT.
    pub charset: Option<String>,
    /// Which documents this folder is for.
    #[serde(rename = "match")]
    pub matches: Match,
    /// How CSV files are written; only with `format = "csv"`.
    pub csv: Option<csv::Options>,
    /// Namespaces of the identifiers the map makes.
    pub identity: Identity,
    /// Per target element (`Observation.status`), what becomes of a code no table translates. See [`Manifest::unmapped`].
    #[serde(default)]
    pub policies: BTreeMap<String, Unmapped>,
    /// Code tables by the name `translate` uses.
    #[serde(default)]
    pub codes: BTreeMap<String, CodesEntry>,
    /// Source fields left out on purpose.
    #[serde(default)]
    pub ignore: Vec<Ignore>,
    /// Parts of the source of which no field may be left unread (paths as in [`Ignore::path`]): an unread one keeps its unit,
    /// because half of what stands there is another statement. For directives above all.
    #[serde(default)]
    pub complete: Vec<String>,
}

/// Which documents a folder is for. Lists that are empty do not restrict, apart from `senders`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// URA numbers of the sending organisations as authenticated, or `*` for any. A folder that names the sender goes
    /// before one with `*`.
    pub senders: Vec<String>,
    /// HL7v2 MSH-9, e.g. `ORU^R01`; EDIFACT UNH-2, e.g. `MEDLAB:1`.
    #[serde(default)]
    pub message_types: Vec<String>,
    /// JSON `resourceType`; XML: local name of the root element (`ClinicalDocument`).
    #[serde(default)]
    pub resource_types: Vec<String>,
    /// CSV: exactly these columns, in any order.
    #[serde(default)]
    pub columns: Vec<String>,
}

/// Namespaces of the identifiers the map makes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `Identifier.system` (an absolute URI) of business identifiers formed from the source's own numbers.
    pub namespace: String,
    /// `Identifier.system` of patient numbers without an assigning authority of their own.
    pub patient: Option<String>,
}

/// What becomes of a code no table translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unmapped {
    /// The original coding alone, with its text, and a warning.
    Keep,
    /// The unit is kept in quarantine.
    Quarantine,
}

/// A code table of the folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodesEntry {
    /// Path inside the folder.
    pub file: String,
    /// Relationships that translate here besides the safe ones: `narrower`, `inexact`.
    #[serde(default)]
    pub allow: Vec<Relationship>,
}

/// Source fields left out on purpose.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Steps without ordinals, `*` inside a step for any text: `PV1`, `PID.PID_5`, `OBX.OBX_1*`, `row.opmerking`. Covers
    /// everything below.
    pub path: String,
    /// Why leaving it out is right.
    pub reason: String,
}

fn default_map() -> String {
    "map.fml".to_owned()
}

/// Target elements whose meaning changes with the code: R4 modifier elements and required bindings without a true
/// "unknown" (FHIR R4 conformance-rules.html#isModifier).
const MEANING_CHANGES: [&str; 7] = [
    "Observation.status",
    "Condition.clinicalStatus",
    "Condition.verificationStatus",
    "Consent.status",
    "Consent.provision.type",
    "CarePlan.status",
    "CarePlan.activity.detail.status",
];

impl Manifest {
    /// Reads `mapping.toml`. Errors: what TOML or the keys are wrong about, with the line.
    pub fn parse(file: &str, text: &str) -> Result<Manifest, Vec<Diagnostic>> {
        let manifest: Manifest = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(Range { start: 0, end: 0 });
            let (line, column) = position(text, span.start);
            let width =
                text.get(span.clone()).map_or(1, |text| text.lines().next().unwrap_or("").chars().count());
            let mut remedy = "see the keys of a mapping.toml in mappings/README.md".to_owned();
            // `unknown field `x`, expected one of `a`, `b``: the nearest of them is what was meant.
            let mut words = error.message().split('`').skip(1).step_by(2);
            if let Some(near) =
                words.next().map(|wrong| nearest(wrong, words)).filter(|near| !near.is_empty())
            {
                remedy = format!("{near} {remedy}");
            }
            let diagnostic = Diagnostic::new(file, line, error.message().to_owned(), remedy);
            vec![diagnostic.at(column, width as u32)]
        })?;
        let errors = manifest.check(file, text);
        if errors.is_empty() { Ok(manifest) } else { Err(errors) }
    }

    /// What becomes of an unmapped code in a target element: the folder's own policy, else quarantine where the code
    /// changes what the resource means, else keep.
    pub fn unmapped(&self, element: &str) -> Unmapped {
        match self.policies.get(element) {
            Some(policy) => *policy,
            None if MEANING_CHANGES.contains(&element) => Unmapped::Quarantine,
            None => Unmapped::Keep,
        }
    }

    fn check(&self, file: &str, text: &str) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, message: String, remedy: &str| {
            errors.push(placed(file, text, key, message, remedy));
        };
        let legal_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || !self.id.chars().all(legal_id) {
            wrong("id", format!("`{}` is no id", self.id), "use lower case letters, digits and dashes");
        }
        if !is_semver(&self.version) {
            wrong(
                "version",
                format!("`{}` is no version", self.version),
                "write major.minor.patch, e.g. 1.0.0",
            );
        }
        if self.matches.senders.is_empty() {
            wrong("senders", "no sender is named".to_owned(), "name URA numbers, or [\"*\"] for any sender");
        }
        for sender in self.matches.senders.iter().filter(|s| *s != "*") {
            if sender.len() != 8 || !sender.bytes().all(|b| b.is_ascii_digit()) {
                wrong("senders", format!("`{sender}` is no URA number"), "write eight digits, or *");
            }
        }
        for (key, given, format) in [
            ("message_types", !self.matches.message_types.is_empty(), Format::Hl7v2),
            ("charset", self.charset.is_some(), Format::Hl7v2),
            ("resource_types", !self.matches.resource_types.is_empty(), Format::Json),
            ("columns", !self.matches.columns.is_empty(), Format::Csv),
            ("[csv]", self.csv.is_some(), Format::Csv),
        ] {
            let also = match self.format {
                Format::Xml => key == "resource_types",
                Format::Edifact => matches!(key, "message_types" | "charset"),
                _ => false,
            };
            if given && self.format != format && !also {
                wrong(
                    key,
                    format!(
                        "`{key}` belongs to format {}, this folder reads {}",
                        format.as_str(),
                        self.format.as_str()
                    ),
                    "take the key out",
                );
            }
        }
        if let Some(charset) = self.charset.as_deref().filter(|c| Charset::from_label(c).is_none()) {
            wrong("charset", format!("`{charset}` is no supported character set"), "write e.g. iso-8859-1");
        }
        if let Some(csv) = &self.csv {
            if Charset::from_label(&csv.encoding).is_none() {
                wrong(
                    "encoding",
                    format!("`{}` is no supported encoding", csv.encoding),
                    "write e.g. windows-1252",
                );
            }
            if !csv.separator.is_ascii() || csv.separator == '"' || !matches!(csv.decimal, ',' | '.') {
                wrong(
                    "separator",
                    "separator or decimal sign is not usable".to_owned(),
                    "write e.g. \";\" and \",\"",
                );
            }
            let mut headers: Vec<String> = self.matches.columns.iter().map(|c| c.to_lowercase()).collect();
            for alias in csv.aliases.values().flatten() {
                if headers.contains(&alias.to_lowercase()) {
                    wrong(
                        alias,
                        format!("the header `{alias}` would mean two columns"),
                        "take one of them out",
                    );
                }
                headers.push(alias.to_lowercase());
            }
            for column in csv.numbers.iter().chain(&csv.group_by).chain(csv.aliases.keys()) {
                if !self.matches.columns.is_empty() && !self.matches.columns.contains(column) {
                    wrong("[csv]", format!("`{column}` is none of the columns"), "correct the name");
                }
            }
        }
        for namespace in std::iter::once(&self.identity.namespace).chain(&self.identity.patient) {
            let absolute = namespace.split_once(':').is_some_and(|(scheme, rest)| {
                !rest.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) && !scheme.is_empty()
            });
            if !absolute || namespace.contains(char::is_whitespace) {
                wrong("namespace", format!("`{namespace}` is no absolute URI"), "write e.g. urn:oid:2.999.1");
            }
        }
        for ignore in &self.ignore {
            if ignore.reason.trim().is_empty() || ignore.path.trim().is_empty() {
                wrong("[[ignore]]", format!("`{}` is ignored without a reason", ignore.path), "say why");
            }
        }
        errors
    }
}

fn is_semver(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3
        && parts.iter().all(|p| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()) && (*p == "0" || !p.starts_with('0'))
        })
}

/// A diagnostic about the first line that begins with `key`, or else holds it, with the place of its value.
pub(super) fn placed(file: &str, text: &str, key: &str, message: String, remedy: &str) -> Diagnostic {
    let begins = text.lines().position(|line| line.trim_start().starts_with(key));
    let Some(at) = begins.or_else(|| text.lines().position(|line| line.contains(key))) else {
        return Diagnostic::new(file, 0, message, remedy);
    };
    let line = text.lines().nth(at).unwrap_or("");
    // What is wrong is between the quotes of the message where it stands in the line, else the key.
    let wrong =
        message.split('`').nth(1).filter(|wrong| !wrong.is_empty() && line.contains(wrong)).unwrap_or(key);
    let before = line.find(wrong).and_then(|byte| line.get(..byte)).unwrap_or("").chars().count() as u32;
    Diagnostic::new(file, at as u32 + 1, message.clone(), remedy).at(before + 1, wrong.chars().count() as u32)
}

/// 1-based line and column, in characters, of a byte.
fn position(text: &str, at: usize) -> (u32, u32) {
    let before = text.get(..at).unwrap_or("");
    let line = before.rsplit('\n').next().unwrap_or("");
    (1 + before.matches('\n').count() as u32, 1 + line.chars().count() as u32)
}
