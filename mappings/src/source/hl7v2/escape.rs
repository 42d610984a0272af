//! Escape sequences inside a value.

#![expect(clippy::result_large_err, reason = "escapes are rare and faulty ones rarer")]

use super::{Charset, Delimiters};
use crate::finding::{Finding, Severity};

/// Text of a raw value with its escapes resolved, and the first thing wrong about it with its offset.
///
/// `\F\ \S\ \T\ \R\ \E\ \P\` give the delimiter; `\Xdd..\` gives bytes in the message's character set; `\.br\` and
/// `\.sp\` give line breaks; `\Cxxyy\` switches to another single-byte character set up to the end of the value.
/// Highlighting (`\H\ \N\`) and other formatting commands are layout and leave no trace. What
/// is not understood stays as sent. Source: HL7 v2.5.1 2.7.
pub(super) fn unescape(
    raw: &[u8],
    delimiters: &Delimiters,
    charset: Charset,
) -> (String, Option<(usize, Finding)>) {
    let mut text = String::with_capacity(raw.len());
    let mut finding = None;
    let mut charset = charset;
    let escape = delimiters.escape;
    let mut at = 0;
    while at < raw.len() {
        let rest = raw.get(at..).unwrap_or_default();
        let Some(open) = rest.iter().position(|&b| Some(b) == escape) else {
            text.push_str(&charset.decode(rest));
            break;
        };
        text.push_str(&charset.decode(rest.get(..open).unwrap_or_default()));
        let inside = rest.get(open + 1..).unwrap_or_default();
        let Some(close) = inside.iter().position(|&b| Some(b) == escape) else {
            finding.get_or_insert((at + open, unclosed()));
            text.push_str(&charset.decode(rest.get(open..).unwrap_or_default()));
            break;
        };
        let sequence = inside.get(..close).unwrap_or_default();
        match resolve(sequence, delimiters, charset) {
            Ok(Resolved::Text(resolved)) => text.push_str(&resolved),
            Ok(Resolved::Switch(to)) => charset = to,
            Err(what) => {
                finding.get_or_insert((at + open, what));
                text.push_str(&charset.decode(rest.get(open..open + close + 2).unwrap_or_default()));
            }
        }
        at += open + close + 2;
    }
    (text, finding)
}

/// What an escape sequence stands for.
enum Resolved {
    Text(String),
    /// What follows in this value is in another character set.
    Switch(Charset),
}

fn resolve(sequence: &[u8], delimiters: &Delimiters, charset: Charset) -> Result<Resolved, Finding> {
    if let [b'C', digits @ ..] = sequence
        && let Some(to) = single_byte_set(digits)
    {
        return Ok(Resolved::Switch(to));
    }
    literal(sequence, delimiters, charset).map(Resolved::Text)
}

/// The set that an ISO 2022 sequence of HL7 v2.5.1 2.7.3 designates: ASCII (ISO IR 6), 8859/1 (IR 100), 8859/15 (IR 203). In
/// all of them the lower half is ASCII, so designating the upper half leaves the rest as it is.
fn single_byte_set(digits: &[u8]) -> Option<Charset> {
    match digits.to_ascii_uppercase().as_slice() {
        b"2842" => Some(Charset::Ascii),
        b"2D41" => Some(Charset::Latin1),
        b"2D62" => Some(Charset::Latin9),
        _ => None,
    }
}

fn literal(sequence: &[u8], delimiters: &Delimiters, charset: Charset) -> Result<String, Finding> {
    let one = |b: Option<u8>| Ok(b.map(char::from).map(String::from).unwrap_or_default());
    match sequence {
        b"F" => one(Some(delimiters.field)),
        b"S" => one(Some(delimiters.component)),
        b"R" => one(Some(delimiters.repetition)),
        b"E" => one(delimiters.escape),
        b"T" => one(delimiters.subcomponent),
        b"P" => Ok("#".to_owned()),
        b"H" | b"N" => Ok(String::new()),
        [b'X', digits @ ..] => hexadecimal(digits, charset),
        [b'.', command @ ..] => formatting(command),
        [b'C' | b'M', ..] => Err(Finding::new(
            Severity::Error,
            "escape-charset-switch",
            "The value switches to a character set that is not supported.",
            "Switch to ASCII (\\C2842\\), 8859/1 (\\C2D41\\) or 8859/15 (\\C2D62\\), or send the message in UTF-8.",
        )),
        _ => Err(unknown()),
    }
}

fn hexadecimal(digits: &[u8], charset: Charset) -> Result<String, Finding> {
    let nibble = |b: &u8| char::from(*b).to_digit(16);
    let bytes: Option<Vec<u8>> = digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((nibble(high)? * 16 + nibble(low)?) as u8),
            _ => None,
        })
        .collect();
    match bytes {
        Some(bytes) if !bytes.is_empty() && readable(&bytes, charset) => {
            Ok(charset.decode(&bytes).into_owned())
        }
        _ => Err(Finding::new(
            Severity::Error,
            "escape-undecodable",
            "A hexadecimal escape sequence is no text in the message's character set.",
            "Send pairs of hexadecimal digits that stand for characters of the set in MSH-18.",
        )),
    }
}

/// A few escaped bytes may look like UTF-8 in an 8859 message without contradicting it, so only impossible ones count.
fn readable(bytes: &[u8], charset: Charset) -> bool {
    match charset {
        Charset::Ascii => bytes.is_ascii(),
        Charset::Utf8 => std::str::from_utf8(bytes).is_ok(),
        Charset::Latin1 | Charset::Latin9 | Charset::Windows1252 => true,
    }
}

fn formatting(command: &[u8]) -> Result<String, Finding> {
    let (name, argument) = command.split_at_checked(2).unwrap_or((command, &[]));
    let count = || std::str::from_utf8(argument).ok()?.trim_start_matches('+').parse::<usize>().ok();
    match name {
        b"br" | b"ce" => Ok("\n".to_owned()),
        // A blank-line count beyond a page is layout gone wrong; the text stays readable.
        b"sp" => Ok("\n".repeat(count().unwrap_or(1).clamp(1, 60))),
        b"sk" => Ok(" ".repeat(count().unwrap_or(1).clamp(1, 120))),
        b"in" | b"ti" | b"fi" | b"nf" => Ok(String::new()),
        _ => Err(unknown()),
    }
}

fn unknown() -> Finding {
    Finding::new(
        Severity::Warning,
        "escape-unknown",
        "An escape sequence is not one of the standard; it is kept as text.",
        "Send a literal escape character as \\E\\.",
    )
}

fn unclosed() -> Finding {
    Finding::new(
        Severity::Warning,
        "escape-unclosed",
        "An escape sequence is not closed; it is kept as text.",
        "Send a literal escape character as \\E\\.",
    )
}
