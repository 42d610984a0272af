//! Line and column of a byte.

use super::{Format, Span};

/// Where lines begin in one document. Built once, then a lookup is a binary search.
#[derive(Debug, Clone)]
pub struct Lines<'b> {
    bytes: &'b [u8],
    starts: Vec<u32>,
}

impl<'b> Lines<'b> {
    /// Lines as people count them: physical ones, for HL7v2 segments (empty lines do not count).
    pub fn new(format: Format, bytes: &'b [u8]) -> Lines<'b> {
        let mut starts = Vec::new();
        let mut at_start = true;
        for (i, &byte) in bytes.iter().enumerate() {
            let after_cr = i > 0 && bytes.get(i - 1) == Some(&b'\r');
            match byte {
                // The second half of CR LF belongs to the line end just passed.
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    if at_start && format != Format::Hl7v2 {
                        starts.push(i as u32);
                    }
                    at_start = true;
                }
                0x0B | 0x1C if format == Format::Hl7v2 => at_start = true,
                _ => {
                    if at_start {
                        starts.push(i as u32);
                    }
                    at_start = false;
                }
            }
        }
        Lines { bytes, starts }
    }

    /// 1-based line and column, in characters, where a span starts.
    pub fn locate(&self, span: Span) -> (u32, u32) {
        let line = self.starts.partition_point(|&s| s <= span.start);
        let start = line.checked_sub(1).and_then(|i| self.starts.get(i)).copied().unwrap_or(0);
        let before = self.bytes.get(start as usize..span.start as usize).unwrap_or_default();
        // Single-byte sets have a character per byte.
        let characters = std::str::from_utf8(before).map_or(before.len(), |t| t.chars().count());
        (line.max(1) as u32, characters as u32 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: Format, text: &str, byte: u32) -> (u32, u32) {
        Lines::new(format, text.as_bytes()).locate(Span { start: byte, end: byte + 1 })
    }

    #[test]
    fn lines_count_as_the_format_counts_them() {
        assert_eq!(at(Format::Csv, "a;b\r\n\r\nc;d", 9), (3, 3));
        assert_eq!(at(Format::Hl7v2, "\x0bMSH|\r\r\nPID|x\r\x1c\r", 12), (2, 5));
        assert_eq!(at(Format::Json, "{\n \"é\": 1}", 8), (2, 6));
    }

    #[test]
    fn a_place_outside_the_text_is_no_panic() {
        assert_eq!(at(Format::Json, "", 7), (1, 1));
    }
}
