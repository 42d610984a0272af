//! Dates, moved by whole days: the distance between any two of a patient's dates stays what it was.

use jiff::civil::Date;

use crate::clock::Timestamp;

/// A FHIR date, dateTime or instant moved by `days`; time of day and offset stay as written.
///
/// `2026` stays `2026`: a year is as coarse as a birth year and has no day to move. `2026-03` moves as its middle day.
/// `None` for a text that is no date (FHIR R4 datatypes.html#dateTime).
pub(crate) fn shift(text: &str, days: i32) -> Option<String> {
    match text.len() {
        4 => year(text).map(|year| format!("{year:04}")),
        7 => {
            let moved = moved(&format!("{text}-15"), days)?;
            Some(format!("{:04}-{:02}", moved.year(), moved.month()))
        }
        _ => {
            let (day, rest) = text.split_at_checked(10)?;
            let moved = moved(day, days)?;
            let plain = rest.is_empty() || is_time(rest);
            plain.then(|| format!("{}{rest}", iso(moved)))
        }
    }
}

/// As [`shift`], cut to the day: an instant becomes midnight UTC, everything else its date.
pub(crate) fn shift_to_day(text: &str, days: i32, is_instant: bool) -> Option<String> {
    let mut shifted = shift(text, days)?;
    if shifted.len() > 10 {
        shifted.truncate(10);
    }
    if is_instant && shifted.len() == 10 {
        shifted.push_str("T00:00:00Z");
    }
    Some(shifted)
}

/// `meta.lastUpdated` as it leaves: shifted, midnight.
pub(crate) fn updated(at: Timestamp, days: i32) -> String {
    shift_to_day(&at.to_instant(), days, true).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// Year of birth, capped so that nobody is seen to be older than `age_years_max` at `then` (today, or the day of
/// death). A birth date without day counts as the first day it can be: older rather than younger.
pub(crate) fn birth_year(text: &str, then: &str, age_years_max: i16) -> Option<String> {
    let born = full(text)?;
    let then = full(then)?;
    let had_birthday = (then.month(), then.day()) >= (born.month(), born.day());
    let age = then.year() - born.year() - i16::from(!had_birthday);
    let year = if age >= age_years_max { then.year() - age_years_max } else { born.year() };
    Some(format!("{year:04}"))
}

/// The day of a moment, `2026-11-23`.
pub(crate) fn day_of(at: Timestamp) -> String {
    at.to_instant().get(..10).unwrap_or_default().to_owned()
}

fn full(text: &str) -> Option<Date> {
    let day = text.get(..10).or(match text.len() {
        4 | 7 => Some(text),
        _ => None,
    })?;
    match day.len() {
        4 => Date::new(year(day)?, 1, 1).ok(),
        7 => date(&format!("{day}-01")),
        _ => date(day),
    }
}

fn moved(day: &str, days: i32) -> Option<Date> {
    date(day)?.checked_add(jiff::Span::new().try_days(i64::from(days)).ok()?).ok()
}

fn iso(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

fn year(text: &str) -> Option<i16> {
    (text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `YYYY-MM-DD` of the calendar.
fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let (y, m, d) = (parts.next()?, parts.next()?, parts.next()?);
    let two = |part: &str| {
        (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    Date::new(year(y)?, two(m)?, two(d)?).ok().filter(|_| parts.next().is_none())
}

/// `Thh:mm:ss[.f]` with `Z` or offset. Only the form is looked at: no letter but `T` and `Z` can pass.
fn is_time(text: &str) -> bool {
    let Some(time) = text.strip_prefix('T') else { return false };
    let (clock, zone) = match time.find(['Z', '+', '-']) {
        Some(at) => time.split_at(at),
        None => return false,
    };
    let zone_fits = zone == "Z"
        || zone.len() == 6
            && zone.bytes().enumerate().all(|(at, b)| match at {
                0 => b == b'+' || b == b'-',
                3 => b == b':',
                _ => b.is_ascii_digit(),
            });
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    zone_fits
        && whole.len() == 8
        && whole
            .bytes()
            .enumerate()
            .all(|(at, b)| if at == 2 || at == 5 { b == b':' } else { b.is_ascii_digit() })
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_moves_days_and_keeps_the_time_of_day() {
        assert_eq!(shift("2026-03-01", -1).unwrap(), "2026-02-28");
        assert_eq!(shift("2024-02-28T23:59:30.5+01:00", 1).unwrap(), "2024-02-29T23:59:30.5+01:00");
        assert_eq!(shift("2026-01", 20).unwrap(), "2026-02");
        assert_eq!(shift("2026", 182).unwrap(), "2026");
        assert_eq!(shift_to_day("2026-03-01T10:00:00Z", 2, true).unwrap(), "2026-03-03T00:00:00Z");
        assert_eq!(shift_to_day("2026-03-01T10:00:00Z", 2, false).unwrap(), "2026-03-03");
    }

    #[test]
    fn what_is_no_date_does_not_pass() {
        for text in
            ["", "Jan", "2026-02-30", "2026-03-01Jansen", "2026-03-01T10:00:00", "2026-03-01T10:00:00Zx", "é"]
        {
            assert_eq!(shift(text, 1), None, "{text}");
        }
    }

    #[test]
    fn the_oldest_are_ninety() {
        assert_eq!(birth_year("1961-02-03", "2026-11-23", 90).unwrap(), "1961");
        assert_eq!(birth_year("1936-11-24", "2026-11-23", 90).unwrap(), "1936");
        assert_eq!(birth_year("1930-01-01", "2026-11-23", 90).unwrap(), "1936");
        assert_eq!(birth_year("1930-01-01", "2000-01-01", 90).unwrap(), "1930");
        assert_eq!(birth_year("1934", "2026-11-23", 90).unwrap(), "1936");
    }
}
