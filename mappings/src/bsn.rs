//! The citizen service number (BSN) and its eleven-test. Whose number it is, is the gateway's question.

use std::fmt;

/// Identifier system of a BSN (`nl-core-Patient.identifier`, NamingSystem bsn).
pub const SYSTEM: &str = "http://fhir.nl/fhir/NamingSystem/bsn";

/// Nine digits that pass the eleven-test. Prints redacted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Bsn([u8; 9]);

/// Why a text is no BSN. Never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BsnError {
    /// Empty, too long, or other than digits.
    #[error("a BSN is one to nine digits")]
    Shape,
    /// Nine zeros.
    #[error("a BSN is not all zeros")]
    Zero,
    /// The weighted sum is not divisible by eleven.
    #[error("the number fails the eleven-test")]
    ElevenTest,
}

impl Bsn {
    /// Reads a BSN; fewer than nine digits are padded with zeros on the left (spreadsheets drop those).
    ///
    /// Errors: [`BsnError`]. Source: the eleven-test of the BSN, 9a+8b+7c+6d+5e+4f+3g+2h-1i divisible by 11, and not
    /// all zero.
    pub fn parse(text: &str) -> Result<Bsn, BsnError> {
        let text = text.as_bytes();
        if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
            return Err(BsnError::Shape);
        }
        let mut digits = [b'0'; 9];
        for (slot, digit) in digits.iter_mut().rev().zip(text.iter().rev()) {
            *slot = *digit;
        }
        if digits == [b'0'; 9] {
            return Err(BsnError::Zero);
        }
        let weights = [9, 8, 7, 6, 5, 4, 3, 2, -1];
        let sum: i32 = digits.iter().zip(weights).map(|(&d, w)| i32::from(d - b'0') * w).sum();
        if sum % 11 == 0 { Ok(Bsn(digits)) } else { Err(BsnError::ElevenTest) }
    }

    /// The nine digits.
    pub fn as_str(&self) -> &str {
        // The constructor admits ASCII digits only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Bsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bsn(redacted)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;

    #[test]
    fn the_published_test_numbers_pass() {
        for bsn in ["999911120", "999911132", "111222333", "123456782", "900073962", "999990019"] {
            assert_eq!(Bsn::parse(bsn).unwrap().as_str(), bsn);
        }
    }

    #[test]
    fn numbers_misprinted_in_official_documents_fail() {
        for bsn in ["999940003", "123456789", "111111111"] {
            assert_eq!(Bsn::parse(bsn), Err(BsnError::ElevenTest));
        }
    }

    #[test]
    fn a_dropped_leading_zero_is_put_back() {
        assert_eq!(Bsn::parse("4881").unwrap().as_str(), "000004881");
    }

    #[test]
    fn what_is_no_number_at_all_is_told_apart() {
        assert_eq!(Bsn::parse("000000000"), Err(BsnError::Zero));
        for text in ["", "12345678a", "1234567890", " 999911120", "\u{0661}11222333"] {
            assert_eq!(Bsn::parse(text), Err(BsnError::Shape));
        }
    }

    #[test]
    fn it_prints_redacted() {
        assert_eq!(format!("{:?}", Bsn::parse("999911120").unwrap()), "Bsn(redacted)");
    }
}
