//! Findings as they are kept in the quarantine and told to the sender: owned, serialisable, without personal data.

use serde::{Deserialize, Serialize};
use sluis_mappings::finding::{Finding, Untranslated};

use crate::response::refusal::Refusal;

/// One remark about a document or a unit, with its place in the source and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// `information`, `warning`, `error` or `fatal`.
    pub severity: String,
    /// Stable machine code, kebab-case.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
    /// Path in the source; empty for the whole document.
    #[serde(default)]
    pub path: String,
    /// First byte concerned.
    #[serde(default)]
    pub start: u32,
    /// One past the last byte concerned.
    #[serde(default)]
    pub end: u32,
    /// 1-based line or segment; 0 when it has none.
    #[serde(default)]
    pub line: u32,
    /// 1-based column; 0 for the whole line.
    #[serde(default)]
    pub column: u32,
    /// Place in the map.
    #[serde(default)]
    pub rule: Option<String>,
    /// What groups equal causes.
    #[serde(default)]
    pub cause: Option<String>,
    /// The code or unit a table has no row for; counted when the document is taken, and not kept here.
    #[serde(skip)]
    pub untranslated: Option<Box<Untranslated>>,
}

impl Note {
    /// A remark without a place.
    pub fn new(severity: &str, code: &str, text: impl Into<String>, remedy: impl Into<String>) -> Note {
        Note {
            severity: severity.to_owned(),
            code: code.to_owned(),
            text: text.into(),
            remedy: remedy.into(),
            path: String::new(),
            start: 0,
            end: 0,
            line: 0,
            column: 0,
            rule: None,
            cause: None,
            untranslated: None,
        }
    }

    /// The same remark about the unit of this label and these bytes.
    #[must_use]
    pub fn of_unit(mut self, label: &str, span: Option<(u32, u32)>) -> Note {
        if self.path.is_empty() {
            label.clone_into(&mut self.path);
            (self.start, self.end) = span.unwrap_or_default();
        }
        self
    }

    /// Why the writer would not take a unit, as remarks about it. One for each issue of the refusal.
    pub fn of_refusal(refusal: &Refusal) -> Vec<Note> {
        let row = refusal.reason.row();
        let code = kebab(&format!("{:?}", refusal.reason));
        if refusal.issues.is_empty() {
            let text = [row.text, &refusal.details].join(" ").trim_end().to_owned();
            let mut note = Note::new("error", &code, text, row.remedy);
            note.cause = Some(match refusal.expression.first() {
                Some(expression) => format!("{code}:{}", without_indexes(expression)),
                None => code,
            });
            return vec![note];
        }
        refusal
            .issues
            .iter()
            .map(|issue| {
                let place = issue.expression.first().map_or("", |e| e);
                let text = format!("{place}: {}", issue.diagnostics);
                let mut note = Note::new(issue.severity, &code, text, row.remedy);
                note.cause = Some(format!("{code}:{}", without_indexes(place)));
                note
            })
            .collect()
    }

    /// Whether it keeps a unit out of the store.
    pub fn is_error(&self) -> bool {
        matches!(self.severity.as_str(), "error" | "fatal")
    }

    /// What groups this remark with others of the same cause.
    pub fn cause(&self) -> &str {
        self.cause.as_deref().unwrap_or(&self.code)
    }
}

impl From<&Finding> for Note {
    fn from(finding: &Finding) -> Note {
        Note {
            severity: finding.severity.as_str().to_owned(),
            code: finding.code.to_owned(),
            text: finding.text.clone(),
            remedy: finding.remedy.clone(),
            path: finding.path.clone(),
            start: finding.span.start,
            end: finding.span.end,
            line: finding.line,
            column: finding.column,
            rule: finding.rule.clone(),
            cause: finding.cause.clone(),
            untranslated: finding.untranslated.clone(),
        }
    }
}

/// `VersionConflict` -> `version-conflict`.
fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// `Observation.component[1].code` -> `Observation.component.code`, so that a fault of every row is one cause.
pub(super) fn without_indexes(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len());
    let mut inside = false;
    for c in expression.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => {}
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::response::refusal::{Issue, Reason};

    #[test]
    fn equal_faults_of_two_rows_have_one_cause() {
        let refusal = |row: usize| {
            Refusal::new(Reason::Invalid, "1 problem(s) found.").with_issues(vec![Issue {
                severity: "error",
                code: "required",
                diagnostics: "The element is missing.".to_owned(),
                expression: vec![format!("Observation.component[{row}].code")],
            }])
        };
        let [one, two] = [1, 2].map(|row| Note::of_refusal(&refusal(row)));
        assert_eq!(one.first().map(Note::cause), Some("invalid:Observation.component.code"));
        assert_eq!(one.first().map(Note::cause), two.first().map(Note::cause));
    }

    #[test]
    fn a_plain_refusal_keeps_text_and_remedy() {
        let notes = Note::of_refusal(&Refusal::new(Reason::ReferenceUnresolved, "Found at: x.").at("x"));
        let note = notes.first();
        assert!(note.is_some_and(|n| n.code == "reference-unresolved" && n.text.ends_with("Found at: x.")));
        assert!(note.is_some_and(|n| n.is_error() && !n.remedy.is_empty()));
    }
}
