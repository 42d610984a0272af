//! Periods of a Consent: dates are Dutch days, ends are inclusive (FHIR R4 datatypes.html#Period).

use jiff::ToSpan;
use jiff::civil::Date;

use crate::clock::Timestamp;
use crate::decision::label::{day_number, dutch_zone, first_day};

/// Start of a date or dateTime: the first microsecond it can mean.
pub(in crate::decision) fn starts(written: &str) -> Option<Timestamp> {
    match written.len() > 10 {
        true => Some(Timestamp(written.parse::<jiff::Timestamp>().ok()?.as_microsecond())),
        false => midnight(first_day(written)?),
    }
}

/// Exclusive end of a date or dateTime: the first microsecond after it.
pub(in crate::decision) fn ends(written: &str) -> Option<Timestamp> {
    if written.len() > 10 {
        let instant = written.parse::<jiff::Timestamp>().ok()?.as_microsecond();
        // A moment written in whole seconds means the whole second.
        let width = if written.contains('.') { 1 } else { 1_000_000 };
        return Some(Timestamp(instant.saturating_add(width)));
    }
    midnight(day_after(written)?)
}

/// First day of a date; `None` for anything with a time: rows are kept by day.
pub(super) fn first(written: &str) -> Option<i32> {
    first_day(written).map(day_number)
}

/// Last day of a date, `2026` meaning until 31 December.
pub(super) fn last(written: &str) -> Option<i32> {
    day_after(written).map(|date| day_number(date).saturating_sub(1))
}

fn day_after(written: &str) -> Option<Date> {
    let first = first_day(written)?;
    let width = match written.len() {
        4 => 1.year(),
        7 => 1.month(),
        _ => 1.day(),
    };
    first.checked_add(width).ok()
}

fn midnight(date: Date) -> Option<Timestamp> {
    let zoned = date.to_zoned(dutch_zone()).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_date_lasts_until_dutch_midnight() {
        let ends_at = |text| ends(text).map(Timestamp::to_instant);
        assert_eq!(ends_at("2026-06-30").as_deref(), Some("2026-06-30T22:00:00.000Z"));
        assert_eq!(ends_at("2026").as_deref(), Some("2026-12-31T23:00:00.000Z"));
        assert_eq!(ends_at("2026-01-01T10:00:00Z").as_deref(), Some("2026-01-01T10:00:01.000Z"));
        assert_eq!(starts("2026-02").map(Timestamp::to_instant).as_deref(), Some("2026-01-31T23:00:00.000Z"));
        assert_eq!(starts("2026-02-30"), None);
        assert_eq!(last("1970-02"), Some(58));
    }
}
