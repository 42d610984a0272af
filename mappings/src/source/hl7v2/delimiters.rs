//! The characters a message is cut with: MSH-1 and MSH-2.

#![expect(clippy::result_large_err, reason = "made once per document, on the way to its refusal")]

use super::Line;
use crate::finding::{Finding, Severity};

/// Delimiters of one message. HL7 v2.5.1 2.5.4: the recommended set is `|^~\&`; a message may choose others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delimiters {
    pub(super) field: u8,
    pub(super) component: u8,
    pub(super) repetition: u8,
    /// Absent when MSH-2 has two characters only: the message then has no escapes and no subcomponents.
    pub(super) escape: Option<u8>,
    pub(super) subcomponent: Option<u8>,
}

impl Delimiters {
    /// From the MSH segment. Errors: MSH-2 shorter than two characters, delimiters alphanumeric or not distinct.
    pub(super) fn read(bytes: &[u8], header: &Line) -> Result<Delimiters, Finding> {
        let line = bytes.get(header.start + 3..header.end).unwrap_or_default();
        let Some((&field, rest)) = line.split_first() else {
            return Err(unusable("MSH ends after its name"));
        };
        let end = rest.iter().position(|&b| b == field).unwrap_or(rest.len());
        let mut encoding = rest.get(..end).unwrap_or_default().iter().copied();
        let (Some(component), Some(repetition)) = (encoding.next(), encoding.next()) else {
            return Err(unusable("MSH-2 has fewer than two characters"));
        };
        let delimiters = Delimiters {
            field,
            component,
            repetition,
            escape: encoding.next(),
            subcomponent: encoding.next(),
        };
        // Since 2.7 a fifth character marks truncated values; it cuts nothing. A sixth has no meaning.
        let truncation = encoding.next();
        if encoding.next().is_some() {
            return Err(unusable("MSH-2 has more than five characters"));
        }
        let all: Vec<u8> = [
            Some(field),
            Some(component),
            Some(repetition),
            delimiters.escape,
            delimiters.subcomponent,
            truncation,
        ]
        .into_iter()
        .flatten()
        .collect();
        if !all.iter().all(u8::is_ascii_punctuation) {
            return Err(unusable("a delimiter is a letter, digit, space or control character"));
        }
        if all.iter().enumerate().any(|(i, b)| all.iter().skip(i + 1).any(|other| other == b)) {
            return Err(unusable("two delimiters are the same character"));
        }
        Ok(delimiters)
    }
}

fn unusable(why: &str) -> Finding {
    Finding::new(
        Severity::Fatal,
        "delimiters-unusable",
        format!("MSH-1 and MSH-2 do not give usable delimiters: {why}."),
        "Start the message with MSH|^~\\& (one backslash).",
    )
}
