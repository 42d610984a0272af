//! Bytes of an XML document -> text, with the way back from a place in the text to the bytes received.
//!
//! The set is what the byte order mark or the declaration says, else UTF-8 (XML 1.0 4.3.3); nothing is guessed.

use std::borrow::Cow;
use std::ops::Range;

use roxmltree::TextPos;

use crate::finding::{Finding, Severity};
use crate::source::{Span, charset::Charset};

/// A document as text.
pub(super) struct Text<'b> {
    pub text: Cow<'b, str>,
    pub charset: Charset,
    /// Bytes of a byte order mark before the text.
    shift: usize,
    /// Characters of a single-byte set that are longer in UTF-8: offset after them in the text, bytes gained so far.
    gained: Vec<(usize, usize)>,
}

/// Errors: a set that is not supported, or bytes that contradict it.
pub(super) fn decode(bytes: &[u8]) -> Result<Text<'_>, Box<Finding>> {
    let fatal = |code, said: String, remedy: &str, at: usize| {
        let span = Span { start: at as u32, end: (at + 1).min(bytes.len()) as u32 };
        let (line, column) =
            crate::source::locate::Lines::new(crate::source::Format::Xml, bytes).locate(span);
        Box::new(Finding::new(Severity::Fatal, code, said, remedy).at("", span, line, column))
    };
    if bytes.starts_with(b"\xFE\xFF") || bytes.starts_with(b"\xFF\xFE") {
        let said = "The document is in UTF-16.".to_owned();
        return Err(fatal("charset-unsupported", said, "Send it in UTF-8.", 0));
    }
    let shift = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let body = bytes.get(shift..).unwrap_or_default();
    let declared = declared(body);
    let charset = match declared {
        None => Charset::Utf8,
        Some(label) => match std::str::from_utf8(label).ok().and_then(Charset::from_label) {
            Some(charset) => charset,
            None => {
                let said = "The encoding the document declares is not supported.".to_owned();
                return Err(fatal("charset-unsupported", said, "Send it in UTF-8.", 0));
            }
        },
    };
    if shift > 0 && !matches!(charset, Charset::Utf8 | Charset::Ascii) {
        let said = format!("The document declares {} and opens with the mark of UTF-8.", charset.label());
        return Err(fatal("charset-contradicted", said, "Declare the encoding it is in.", 0));
    }
    if let Err(contradiction) = charset.check(body) {
        let said = format!("The document is not in {}: {}.", charset.label(), contradiction.why);
        return Err(fatal(
            "charset-contradicted",
            said,
            "Declare the encoding it is in.",
            contradiction.at + shift,
        ));
    }
    let text = charset.decode(body);
    let mut gained = Vec::new();
    if charset != Charset::Utf8 {
        let mut sum = 0;
        for (at, letter) in text.char_indices().filter(|(_, letter)| !letter.is_ascii()) {
            sum += letter.len_utf8() - 1;
            gained.push((at + letter.len_utf8(), sum));
        }
    }
    Ok(Text { text, charset, shift, gained })
}

/// The encoding of `<?xml version="1.0" encoding="..."?>`.
fn declared(body: &[u8]) -> Option<&[u8]> {
    let declaration = body.strip_prefix(b"<?xml")?;
    let end = declaration.windows(2).position(|pair| pair == b"?>")?;
    let declaration = declaration.get(..end)?;
    let at = declaration.windows(8).position(|word| word == b"encoding")?;
    let rest = declaration.get(at + 8..)?;
    let quote = rest.iter().position(|byte| matches!(byte, b'"' | b'\''))?;
    let value = rest.get(quote + 1..)?;
    let end = value.iter().position(|byte| Some(byte) == rest.get(quote))?;
    value.get(..end)
}

impl Text<'_> {
    /// Bytes as received of a range of the text.
    pub(super) fn span(&self, range: Range<usize>) -> Span {
        Span { start: self.source(range.start), end: self.source(range.end) }
    }

    fn source(&self, at: usize) -> u32 {
        let before = self.gained.partition_point(|(after, _)| *after <= at);
        let gained = before.checked_sub(1).and_then(|i| self.gained.get(i)).map_or(0, |(_, sum)| *sum);
        // Bounded by the length of the document, which fits a Span.
        (at - gained + self.shift) as u32
    }

    /// The place of a line and column, one byte long or empty at the end.
    pub(super) fn span_at(&self, at: TextPos) -> Span {
        let line: usize =
            self.text.split_inclusive('\n').take(at.row.saturating_sub(1) as usize).map(str::len).sum();
        let column: usize = self
            .text
            .get(line..)
            .unwrap_or_default()
            .chars()
            .take(at.col.saturating_sub(1) as usize)
            .map(char::len_utf8)
            .sum();
        let start = (line + column).min(self.text.len());
        let next = self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        self.span(start..start + next)
    }

    /// Where the text ends.
    pub(super) fn end(&self) -> TextPos {
        let row = 1 + self.text.bytes().filter(|byte| *byte == b'\n').count();
        let last = self.text.rsplit('\n').next().unwrap_or_default().chars().count();
        TextPos::new(row as u32, last as u32 + 1)
    }
}
