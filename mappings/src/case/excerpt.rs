//! Problems shown the way rustc shows its errors: what, where, the line itself with carets, what would be right.
//!
//! For files of a mapping folder and for documents alike. Text only; colours and terminals are the caller's.

use std::collections::BTreeMap;
use std::fmt;

use crate::finding::Finding;
use crate::folder::Diagnostic;
use crate::source::{Format, Span, locate::Lines};

/// Characters of a line shown at most; a longer one is cut around the caret.
const LINE_MAX: usize = 110;

/// A problem with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// `error`, `warning`, `fatal` or `information`.
    pub level: &'static str,
    /// Stable code; may be empty.
    pub code: String,
    /// What is wrong.
    pub text: String,
    /// File as its reader knows it.
    pub file: String,
    /// 1-based; 0 for the file as a whole.
    pub line: u32,
    /// 1-based, in characters; 0 for the whole line.
    pub column: u32,
    /// Characters concerned, at least 1.
    pub width: u32,
    /// The line; `None` where it cannot be shown.
    pub excerpt: Option<String>,
    /// Further facts, each as `name: text`.
    pub notes: Vec<(&'static str, String)>,
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.as_str() {
            "" => writeln!(f, "{}: {}", self.level, self.text)?,
            code => writeln!(f, "{}[{code}]: {}", self.level, self.text)?,
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        match (self.line, self.column) {
            (0, _) => write!(f, "{gutter}--> {}", self.file)?,
            (line, 0) => write!(f, "{gutter}--> {}:{line}", self.file)?,
            (line, column) => write!(f, "{gutter}--> {}:{line}:{column}", self.file)?,
        }
        if let (Some(excerpt), 1..) = (&self.excerpt, self.line) {
            let (shown, before, width) = window(excerpt, self.column, self.width);
            write!(
                f,
                "\n{gutter} |\n{number} | {shown}\n{gutter} | {}{}",
                " ".repeat(before),
                "^".repeat(width)
            )?;
        }
        for (name, text) in self.notes.iter().filter(|(_, text)| !text.is_empty()) {
            write!(f, "\n{gutter} = {name}: {text}")?;
        }
        Ok(())
    }
}

/// The part of a line to show, the blanks before the caret, and the carets.
fn window(line: &str, column: u32, width: u32) -> (String, usize, usize) {
    let characters: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if column == 0 {
        let shown: String = characters.iter().take(LINE_MAX).collect();
        let long = characters.len() > LINE_MAX;
        let width = shown.trim_end().chars().count().max(1);
        return (if long { shown + "…" } else { shown }, 0, width);
    }
    let at = (column as usize - 1).min(characters.len());
    let width = (width as usize).clamp(1, (characters.len() - at).max(1)).min(LINE_MAX);
    let from =
        if characters.len() > LINE_MAX { (at + width).saturating_sub(LINE_MAX * 2 / 3).min(at) } else { 0 };
    let shown: String = characters.iter().skip(from).take(LINE_MAX).collect();
    let cut = characters.len() > from + LINE_MAX;
    let head = if from > 0 { "…" } else { "" };
    let before = at - from + usize::from(from > 0);
    (format!("{head}{shown}{}", if cut { "…" } else { "" }), before, width)
}

/// A diagnostic of a folder with the line it is about, from the folder's files.
pub fn of_diagnostic(diagnostic: &Diagnostic, files: &BTreeMap<String, Vec<u8>>, root: &str) -> Excerpt {
    let line = files.get(&diagnostic.file).map(|bytes| String::from_utf8_lossy(bytes)).and_then(|text| {
        let line = text.lines().nth((diagnostic.line as usize).checked_sub(1)?)?;
        Some(line.to_owned())
    });
    Excerpt {
        level: "error",
        code: String::new(),
        text: diagnostic.message.clone(),
        file: join(root, &diagnostic.file),
        line: diagnostic.line,
        column: diagnostic.column,
        width: diagnostic.width,
        excerpt: line,
        notes: vec![("help", diagnostic.remedy.clone())],
    }
}

/// A finding with the line of the document it is about, and the rule that raised it.
pub fn of_finding(finding: &Finding, document: &str, format: Format, bytes: &[u8]) -> Excerpt {
    let mut notes = Vec::new();
    if !finding.path.is_empty() {
        let Span { start, end } = finding.span;
        notes.push(("source", format!("{} (bytes {start}-{end})", finding.path)));
    }
    if let Some(rule) = &finding.rule {
        notes.push(("rule", rule.clone()));
    }
    notes.push(("help", finding.remedy.clone()));
    let spot = (finding.line > 0).then(|| line_at(format, bytes, finding.span)).flatten();
    Excerpt {
        level: finding.severity.as_str(),
        code: finding.code.to_owned(),
        text: finding.text.clone(),
        file: document.to_owned(),
        line: finding.line,
        column: finding.column,
        width: spot.as_ref().map_or(1, |(_, width)| *width),
        excerpt: spot.map(|(line, _)| line),
        notes,
    }
}

/// The line a span starts on, as text, and how many characters of it the span covers.
pub fn line_at(format: Format, bytes: &[u8], span: Span) -> Option<(String, u32)> {
    let (_, column) = Lines::new(format, bytes).locate(span);
    let start = span.start as usize;
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let from = bytes.get(..start)?.iter().rposition(is_end).map_or(0, |at| at + 1);
    let to = bytes.get(start..)?.iter().position(is_end).map_or(bytes.len(), |at| start + at);
    let line = decode(bytes.get(from..to)?);
    let inside = decode(bytes.get(start..(span.end as usize).clamp(start, to))?);
    let rest = line.chars().count().saturating_sub(column as usize - 1).max(1);
    Some((line, inside.chars().count().clamp(1, rest) as u32))
}

/// UTF-8, else a character per byte: enough to recognise a line by.
pub fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

fn join(root: &str, file: &str) -> String {
    if root.is_empty() { file.to_owned() } else { format!("{}/{file}", root.trim_end_matches('/')) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    #[test]
    fn a_finding_shows_its_line_its_rule_and_the_remedy() {
        let bytes = b"MSH|^~\\&|x\rOBX|1|NM|FVC||2,1|liter\r";
        let finding = Finding {
            rule: Some("map.fml:7:3".to_owned()),
            ..Finding::new(Severity::Error, "number-invalid", "Not a number.", "Write 2.1.").at(
                "OBX[1].OBX_5",
                Span { start: 25, end: 28 },
                2,
                15,
            )
        };
        assert_eq!(
            of_finding(&finding, "in.hl7", Format::Hl7v2, bytes).to_string(),
            "error[number-invalid]: Not a number.\n --> in.hl7:2:15\n  |\n2 | OBX|1|NM|FVC||2,1|liter\n  |               ^^^\n  \
             = source: OBX[1].OBX_5 (bytes 25-28)\n  = rule: map.fml:7:3\n  = help: Write 2.1."
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}X{}", "a".repeat(400), "b".repeat(400));
        let (shown, before, width) = window(&line, 401, 1);
        assert_eq!(shown.chars().nth(before), Some('X'));
        assert!(width == 1 && shown.chars().count() <= LINE_MAX + 2);
    }

    #[test]
    fn a_place_outside_the_document_shows_no_line() {
        assert!(line_at(Format::Json, b"{}", Span { start: 9, end: 12 }).is_none());
        assert!(line_at(Format::Json, b"", Span::default()).is_some());
    }
}
