//! All folders of a gateway, and which one a document is for.

use std::fmt;

use super::{Diagnostic, Folder};
use crate::source::{Facts, Format, xml};

/// The folders in use. At most one matches any document: two that could both match are refused together.
#[derive(Debug, Clone, Default)]
pub struct Library {
    folders: Vec<Folder>,
}

/// No folder is for this document. Says why, without saying whom it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoMatch {
    /// Notation of the document.
    pub format: Format,
    /// Message type, resource type or columns, as the document says.
    pub what: String,
    /// Per folder that reads this notation for this sender: its id and what does not fit.
    pub near: Vec<(String, String)>,
}

impl fmt::Display for NoMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no mapping for {} {} from this sender", self.format.as_str(), self.what)?;
        for (id, why) in &self.near {
            write!(f, "; {id}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for NoMatch {}

impl Library {
    /// A library of folders. Errors: two of one id, two that could match the same document.
    pub fn new(mut folders: Vec<Folder>) -> Result<Library, Vec<Diagnostic>> {
        folders.sort_by(|a, b| a.manifest.id.cmp(&b.manifest.id));
        let mut errors = Vec::new();
        for (i, one) in folders.iter().enumerate() {
            for other in folders.iter().skip(i + 1) {
                let message = if one.manifest.id == other.manifest.id {
                    format!("two folders have the id `{}`", one.manifest.id)
                } else if overlap(one, other) {
                    format!("`{}` and `{}` could match the same document", one.manifest.id, other.manifest.id)
                } else {
                    continue;
                };
                errors.push(Diagnostic::new(
                    format!("{}/mapping.toml", other.manifest.id),
                    0,
                    message,
                    "make [match] of one of them narrower",
                ));
            }
        }
        if errors.is_empty() { Ok(Library { folders }) } else { Err(errors) }
    }

    /// Every folder, by id.
    pub fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// The folder for a document. `sender_ura` is the organisation as authenticated, never what the document claims. A
    /// folder that names the sender goes before one for any sender.
    pub fn select(&self, sender_ura: &str, format: Format, facts: &Facts) -> Result<&Folder, NoMatch> {
        let mut near = Vec::new();
        for level in [sender_ura, "*"] {
            let for_sender = self.folders.iter().filter(|folder| {
                reads(folder, format, facts) && folder.manifest.matches.senders.iter().any(|s| s == level)
            });
            for folder in for_sender {
                match misfit(folder, facts) {
                    None => return Ok(folder),
                    Some(why) => near.push((folder.manifest.id.clone(), why)),
                }
            }
        }
        let what = match format {
            Format::Csv => format!("with columns {}", facts.columns.join(", ")),
            Format::Hl7v2 | Format::Edifact | Format::Json | Format::Xml => {
                facts.message_type.clone().unwrap_or_else(|| "without a type".to_owned())
            }
        };
        Err(NoMatch { format, what, near })
    }
}

/// Whether a folder's map is written for the model a document is in. FHIR in XML is the model of FHIR in JSON, and no other
/// XML is.
fn reads(folder: &Folder, format: Format, facts: &Facts) -> bool {
    let fhir = format == Format::Xml && facts.namespace.as_deref() == Some(xml::FHIR);
    folder.manifest.format == if fhir { Format::Json } else { format }
}

/// Why a folder is not for a document; `None` when it is.
fn misfit(folder: &Folder, facts: &Facts) -> Option<String> {
    let rule = &folder.manifest.matches;
    let types = rule.message_types.iter().chain(&rule.resource_types).collect::<Vec<_>>();
    if !types.is_empty() && !types.iter().any(|t| Some(t.as_str()) == facts.message_type.as_deref()) {
        return Some(format!("reads {}", types.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(", ")));
    }
    if rule.columns.is_empty() {
        return None;
    }
    let canonical = |header: &String| match &folder.manifest.csv {
        Some(options) => options.canonical(header).to_owned(),
        None => header.clone(),
    };
    let columns: Vec<String> = facts.columns.iter().map(canonical).collect();
    let missing = rule.columns.iter().find(|c| !columns.contains(c));
    let extra = columns.iter().find(|c| !rule.columns.contains(c));
    match (missing, extra) {
        (Some(column), _) => Some(format!("column `{column}` is missing")),
        (None, Some(column)) => Some(format!("column `{column}` is not agreed on")),
        (None, None) => None,
    }
}

/// Whether two folders could match one document at the same precedence.
fn overlap(one: &Folder, other: &Folder) -> bool {
    let (a, b) = (&one.manifest.matches, &other.manifest.matches);
    let meet = |x: &[String], y: &[String]| x.is_empty() || y.is_empty() || x.iter().any(|v| y.contains(v));
    // Whatever headers a column may have: two that share one could stand for the same file.
    let headers = |folder: &Folder, column: &String| -> Vec<String> {
        let others = folder.manifest.csv.as_ref().and_then(|options| options.aliases.get(column));
        std::iter::once(column).chain(others.into_iter().flatten()).map(|h| h.to_lowercase()).collect()
    };
    let covered = |these: &Folder, those: &Folder| {
        these.manifest.matches.columns.iter().all(|column| {
            let mine = headers(these, column);
            those.manifest.matches.columns.iter().any(|c| headers(those, c).iter().any(|h| mine.contains(h)))
        })
    };
    let columns =
        a.columns.is_empty() || b.columns.is_empty() || (covered(one, other) && covered(other, one));
    one.manifest.format == other.manifest.format
        && a.senders.iter().any(|s| b.senders.contains(s))
        && meet(&a.message_types, &b.message_types)
        && meet(&a.resource_types, &b.resource_types)
        && columns
}
