//! Text in and out of JSON strings, and where an offset stands.

/// Appends `value` as a JSON string, quotes included. Escapes what JSON must have escaped and nothing else.
///
/// Source: RFC 8259 section 7.
pub fn write_string(value: &str, out: &mut String) {
    out.reserve(value.len() + 2);
    out.push('"');
    if is_plain(value.as_bytes()) {
        out.push_str(value);
        out.push('"');
        return;
    }
    let mut plain_from = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0C => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        // Every escaped byte is ASCII, so both ends are character boundaries.
        out.push_str(value.get(plain_from..at).unwrap_or_default());
        if escape.is_empty() {
            out.push_str("\\u00");
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        } else {
            out.push_str(escape);
        }
        plain_from = at + 1;
    }
    out.push_str(value.get(plain_from..).unwrap_or_default());
    out.push('"');
}

/// Whether nothing in a text needs an escape: eight bytes at a time, by the bits a byte below 0x20, a quote or a backslash leaves behind.
fn is_plain(bytes: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte that is zero, or lies above the first that is: enough to tell whether any is.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let escaped = |word: u64| {
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        control | zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')))
    };
    let (words, rest) = bytes.as_chunks::<8>();
    words.iter().all(|word| escaped(u64::from_le_bytes(*word)) == 0)
        && rest.iter().all(|byte| !matches!(byte, 0..0x20 | b'"' | b'\\'))
}

/// Resolves the escapes of a string body the parser has accepted.
pub(super) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let mut used = at + 2;
        match escape {
            b'b' => out.push('\u{8}'),
            b'f' => out.push('\u{C}'),
            b'n' => out.push('\n'),
            b'r' => out.push('\r'),
            b't' => out.push('\t'),
            b'u' => {
                let high = hex4(rest.as_bytes(), at + 2).unwrap_or(0xFFFD);
                used = at + 6;
                let code = match high {
                    0xD800..0xDC00 => {
                        used = at + 12;
                        let low = hex4(rest.as_bytes(), at + 8).unwrap_or(0xDC00);
                        0x10000 + ((high - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                    }
                    other => other,
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(char::from(other)),
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Four hex digits at `at`.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..at + 4)?
        .iter()
        .try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
}

/// Line and column (in characters) of a byte offset, both from 1.
pub(crate) fn line_column(text: &str, offset: usize) -> (u32, u32) {
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    let lines = before.iter().filter(|&&b| b == b'\n').count();
    let columns = before[line_start..].iter().filter(|&&b| b & 0xC0 != 0x80).count();
    (u32::try_from(lines + 1).unwrap_or(u32::MAX), u32::try_from(columns + 1).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_strings_read_back() {
        for value in ["", "plain", "a\"b\\c\n\r\t\u{8}\u{c}\u{1}\u{1f}", "Zoë 🧠 /"] {
            let mut out = String::new();
            write_string(value, &mut out);
            assert_eq!(serde_json::from_str::<String>(&out).ok().as_deref(), Some(value), "{out}");
        }
    }

    #[test]
    fn what_must_be_escaped_is_found_at_every_place() {
        for byte in (0..=0x7F_u8).chain([0x80, 0xFF]) {
            for at in 0..17 {
                let mut bytes = [b'~'; 17];
                bytes[at] = byte;
                let plain = !matches!(byte, 0..0x20 | b'"' | b'\\');
                assert_eq!(is_plain(&bytes), plain, "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn lines_and_columns_count_characters() {
        assert_eq!(line_column("a\né{", 0), (1, 1));
        assert_eq!(line_column("a\né{", 4), (2, 2));
        assert_eq!(line_column("a", 99), (1, 2));
    }
}
