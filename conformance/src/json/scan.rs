//! Numbers and strings: where they end and whether they are written as JSON writes them.

use super::error::JsonErrorKind as K;
use super::parse::{Fault, Parser};
use super::text::hex4;

impl Parser<'_> {
    pub(super) fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let whole = self.at;
        let mut good = self.digits() > 0 && (self.at - whole == 1 || self.bytes.get(whole) != Some(&b'0'));
        if good && self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            good = self.digits() > 0;
        }
        if good && matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            good = self.digits() > 0;
        }
        // A letter straight after the digits (0x10, 1_000) is a bad number rather than a missing comma.
        let ends =
            !matches!(self.bytes.get(self.at), Some(b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'.' | b'+' | b'-'));
        if good && ends {
            return Ok(());
        }
        if self.at == self.bytes.len() && !good && self.at - whole == 0 {
            return Err(self.fault(K::Truncated));
        }
        Err(Fault { kind: K::BadNumber, offset: start })
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    /// Reads a string from its opening quote to past its closing one; true when it holds escapes.
    pub(super) fn string(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_len(self.bytes.get(self.at..).unwrap_or_default());
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(&byte) => return Err(self.fault(K::ControlCharacter(byte))),
                None => return Err(self.fault(K::Truncated)),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let high = hex4(self.bytes, self.at + 2).ok_or_else(|| self.fault(K::BadEscape))?;
                let mut used = 6;
                if (0xD800..0xE000).contains(&high) {
                    let low = match self.bytes.get(self.at + 6..self.at + 8) {
                        Some(b"\\u") => hex4(self.bytes, self.at + 8),
                        _ => None,
                    };
                    if high >= 0xDC00 || !low.is_some_and(|low| (0xDC00..0xE000).contains(&low)) {
                        return Err(self.fault(K::LoneSurrogate));
                    }
                    used = 12;
                }
                self.at += used;
                Ok(())
            }
            Some(_) => Err(self.fault(K::BadEscape)),
            None => Err(self.fault(K::Truncated)),
        }
    }
}

/// Length of the run of bytes that are no quote, backslash or control character; eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let zero = |w: u64| w.wrapping_sub(ONES) & !w & HIGH;
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let stop = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control;
        if stop != 0 {
            // The lowest marked byte is exact; borrows only disturb bytes above it.
            return at + stop.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_runs_end_at_the_first_special_byte() {
        for special in [b'"', b'\\', 0x00, 0x1F, b'\n'] {
            for at in 0..20 {
                let mut bytes = vec![0xC3; 24];
                bytes[at] = special;
                assert_eq!(plain_len(&bytes), at);
            }
        }
        assert_eq!(plain_len("é!#[]\u{7f}\u{80} 12345678".as_bytes()), 18);
    }
}
