//! What a parser, a map or a check has to say about a document: where, what, and what to do about it.

use crate::source::Span;

/// How bad a finding is for the unit it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth counting, nothing to do (a field ignored on purpose).
    Information,
    /// The unit goes through; somebody should look (a code kept without translation).
    Warning,
    /// The unit is kept in quarantine until mended; the rest of the document goes on.
    Error,
    /// The whole document is refused and kept.
    Fatal,
}

/// One remark, with its place in the source and the remedy.
///
/// Text never repeats a person's data (BSN, name, birth date); codes and units may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Stable machine code, kebab-case, e.g. `code-unmapped`, `bsn-invalid`, `leaf-dropped`, `segment-truncated`.
    pub code: &'static str,
    /// What is wrong, for a person, in one sentence.
    pub text: String,
    /// What the sender or operator can do about it.
    pub remedy: String,
    /// Path in the source document (`OBX[4].OBX_3`, `row[7].code`); empty for the whole document.
    pub path: String,
    /// Bytes concerned.
    pub span: Span,
    /// 1-based line (text formats) or segment number (HL7v2).
    pub line: u32,
    /// 1-based column in characters of that line; 0 when it concerns the whole line.
    pub column: u32,
    /// Place in the map (`map.fml:31:5`), when a rule raised it.
    pub rule: Option<String>,
    /// What groups equal causes in the quarantine, e.g. `code-unmapped:99ALS|FVC_LIG`; never personal data.
    pub cause: Option<String>,
}
