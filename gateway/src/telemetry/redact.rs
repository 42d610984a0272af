//! The one place where citizen service numbers are taken out of text that leaves: log lines and diagnostics.

use std::borrow::Cow;

use sluis_mappings::bsn::Bsn;

/// What stands in a number's place.
const REMOVED: &str = "[number removed]";

/// `text` without numbers that could be a BSN: 8 or 9 digits, not part of a longer number or word, that pass the
/// eleven-test. A number behind `ura:` is an organisation's and stays.
///
/// About one in eleven other numbers of that length goes too; that is the price.
/// Source: eleven-test of the BSN, Besluit burgerservicenummer (weights 9 to 2 and -1)
pub fn redact(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut clean = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(start) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|offset| at + offset) {
        let length = bytes.iter().skip(start).take_while(|byte| byte.is_ascii_digit()).count();
        let end = start + length;
        at = end;
        let inside_word = start > 0 && bytes.get(start - 1).is_some_and(u8::is_ascii_alphabetic);
        let organisation = text.get(..start).is_some_and(|before| before.ends_with("ura:"));
        let digits = text.get(start..end).unwrap_or_default();
        if !inside_word && !organisation && passes_eleven_test(digits) {
            // Both ends stand next to ASCII digits, so they are character boundaries.
            clean.push_str(text.get(kept..start).unwrap_or_default());
            clean.push_str(REMOVED);
            kept = end;
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(clean)
}

/// A citizen service number, with the leading zero that spreadsheets drop or without.
fn passes_eleven_test(digits: &str) -> bool {
    matches!(digits.len(), 8 | 9) && Bsn::parse(digits).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_numbers_go_and_other_text_stays() {
        for bsn in ["999911120", "999911132", "111222333", "123456782", "900073962", "999990019"] {
            assert_eq!(redact(&format!("bsn|{bsn} is unknown")), "bsn|[number removed] is unknown");
            assert_eq!(redact(bsn), REMOVED);
            assert_eq!(redact(&format!("{bsn},{bsn}")), format!("{REMOVED},{REMOVED}"));
        }
        for text in [
            "",
            "no number",
            "123456789",
            "9999111200",
            "2026-11-23T21:45:00.000Z",
            "é1é",
            "ura:90000382",
            "00000000",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn number_without_its_leading_zero_goes() {
        // 012345672: 8 + 14 + 18 + 20 + 20 + 18 + 14 - 2 = 110, ten times eleven.
        assert_eq!(redact("12345672"), REMOVED);
    }

    #[test]
    fn digits_of_a_uuid_stay() {
        let id = "019377e1-b2c3-7d4e-8f90-a999911120bc";
        assert_eq!(redact(id), id);
    }
}
