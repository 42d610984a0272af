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
    /// The code or unit a table has no row for.
    pub untranslated: Option<Box<Untranslated>>,
}

/// A code or unit as the source has it, that a table of the folder has no row for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untranslated {
    /// The table, by the name the map calls it.
    pub table: String,
    /// Code system as the source names it; empty for none.
    pub system: String,
    /// Code, or text of the unit.
    pub code: String,
    /// What the source calls it; empty for nothing.
    pub display: String,
}

impl Severity {
    /// Lower case word, also the FHIR `IssueSeverity` code (FHIR R4 valueset-issue-severity).
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Information => "information",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Fatal => "fatal",
        }
    }
}

impl Finding {
    /// A finding without a place yet; concerns the whole document until [`Finding::at`] says otherwise.
    pub fn new(
        severity: Severity,
        code: &'static str,
        text: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            severity,
            code,
            text: text.into(),
            remedy: remedy.into(),
            path: String::new(),
            span: Span::default(),
            line: 0,
            column: 0,
            rule: None,
            cause: None,
            untranslated: None,
        }
    }

    /// The same finding with its place in the source.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>, span: Span, line: u32, column: u32) -> Finding {
        self.path = path.into();
        self.span = span;
        self.line = line;
        self.column = column;
        self
    }

    /// The same finding with what groups it in the quarantine: `code:detail`. `detail` holds no personal data.
    #[must_use]
    pub fn because(mut self, detail: impl AsRef<str>) -> Finding {
        self.cause = Some(format!("{}:{}", self.code, detail.as_ref()));
        self
    }
}
