//! Values with a prefix and a precision: dates and numbers (FHIR R4 search.html#prefix, #date, #number).

use sluis_conformance::path::{FhirDateTime, Precise};

use crate::clock::Timestamp;
use crate::response::refusal::Refusal;
use crate::search::criterion::{DateTest, NumberTest, Prefix};
use crate::search::unit::Canonical;

use super::invalid;

/// Reads `[prefix]date`: a year, month, day, minute or finer, the latter two with their zone.
///
/// A time without a zone is refused: read as UTC it would be up to two hours beside what a Dutch client means, and near
/// midnight on another day.
pub(super) fn date(name: &str, text: &str, now: Timestamp) -> Result<DateTest, Refusal> {
    let (prefix, rest) = Prefix::split(text);
    if rest.contains(' ') {
        return Err(invalid(
            name,
            "A date has no space; a `+` in a zone is written %2B in an address.".to_owned(),
        ));
    }
    let wrong = || {
        let text = "A date is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm[:ss] with Z or an offset, after an \
                    optional prefix eq, ne, gt, lt, ge, le, sa, eb or ap.";
        invalid(name, text.to_owned())
    };
    // A search may leave the seconds out, an element may not (FHIR R4 search.html#date).
    let range = FhirDateTime::read(rest, None).map_err(|_| wrong())?.range;
    let (low, high) = (range.low_us, range.high_us);
    Ok(match prefix {
        Prefix::Ap => {
            // "for a date, 10% of the gap between now and the date" (search.html#prefix).
            let gap = now.0.saturating_sub(low).unsigned_abs() / 10;
            let gap = i64::try_from(gap).unwrap_or(i64::MAX);
            DateTest { prefix, low: low.saturating_sub(gap), high: high.saturating_add(gap) }
        }
        _ => DateTest { prefix, low, high },
    })
}

/// Reads `[prefix]number` with the range its digits imply.
pub(super) fn number(name: &str, text: &str) -> Result<NumberTest, Refusal> {
    let (prefix, lexeme) = Prefix::split(text);
    let wrong = || {
        let text = "A number is decimal, such as 5.40 or 1e-3, after an optional prefix eq, ne, gt, lt, ge, le, sa, \
                    eb or ap.";
        invalid(name, text.to_owned())
    };
    let number =
        Precise::parse(lexeme).filter(|n| n.low.is_finite() && n.high.is_finite()).ok_or_else(wrong)?;
    let Precise { value, mut low, mut high, .. } = number;
    if prefix == Prefix::Ap {
        // "10% of the stated value" (search.html#prefix), and never less than equality.
        let tenth = value.abs() / 10.0;
        (low, high) = (low.min(value - tenth), high.max(value + tenth));
    }
    Ok(NumberTest { prefix, value, low, high })
}

/// A number in another unit: the precision is that of the digits in the unit they were written in.
///
/// `None`: beyond what a double holds.
pub(super) fn canonical(number: &NumberTest, unit: &Canonical) -> Option<NumberTest> {
    Some(NumberTest {
        prefix: number.prefix,
        value: unit.convert(number.value)?,
        low: unit.convert(number.low)?,
        high: unit.convert(number.high)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn span(text: &str) -> (f64, f64) {
        let test = number("value", text).unwrap();
        (test.low, test.high)
    }

    #[test]
    fn digits_imply_a_range() {
        assert_eq!(span("100"), (99.5, 100.5));
        assert_eq!(span("100.00"), (99.995, 100.005));
        assert_eq!(span("1e2"), (95.0, 105.0));
        assert_eq!(span("-5.4"), (-5.45, -5.35));
        assert_eq!(span("ap50"), (45.0, 55.0));
        assert_eq!(number("value", "gt5.40").unwrap().prefix, Prefix::Gt);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in
            ["", "abc", "1,5", "NaN", "inf", "0x10", "1e", "1e999", "--1", "1.", "1 ", "xx5", "1e99999999999"]
        {
            assert!(number("value", text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_have_the_width_of_their_precision() {
        let width = |text: &str| date("date", text, NOW).map(|d| d.high - d.low);
        assert_eq!(width("2024-02").unwrap(), 29 * 86_400_000_000);
        assert_eq!(width("ge2024-02-03").unwrap(), 86_400_000_000);
        assert_eq!(width("2024-02-03T10:15Z").unwrap(), 60_000_000);
        assert_eq!(width("2024-02-03T10:15+01:00").unwrap(), 60_000_000);
        assert_eq!(width("2024-02-03T10:15:20Z").unwrap(), 1_000_000);
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "2024-13", "2024-02-30", "2024-02-03T10:15", "2024-02-03T10:15:00 01:00", "zz2024", "gt"]
        {
            assert!(date("date", text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn approximately_widens_by_a_tenth_of_the_gap_to_now() {
        let exact = date("date", "2020", NOW).unwrap();
        let near = date("date", "ap2020", NOW).unwrap();
        assert_eq!(exact.low - near.low, (NOW.0 - exact.low) / 10);
        assert_eq!(near.high - exact.high, (NOW.0 - exact.low) / 10);
    }
}
