//! FHIR dates and times as ranges of UTC. Source: FHIR R4 datatypes.html#dateTime, search.html#date

use thiserror::Error;

/// A half-open stretch of time in microseconds since 1970-01-01T00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateRange {
    /// First instant.
    pub low_us: i64,
    /// First instant after it.
    pub high_us: i64,
}

impl DateRange {
    /// All of time: where a Period has no start or no end.
    pub const OPEN: Self = Self { low_us: i64::MIN, high_us: i64::MAX };
}

/// Why a text is no date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DateError {
    /// Not of the form.
    #[error("not a date; write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz")]
    Form,
    /// The form is right, the calendar has no such day.
    #[error("no such day in the calendar")]
    Day,
    /// No such time of day or zone (hours 00-23, minutes 00-59, seconds 00-60, zones up to 14:00).
    #[error("no such time of day or time zone")]
    Time,
    /// A time without a zone (datatypes.html#dateTime: with hours and minutes a time zone SHALL be populated).
    #[error("a time needs a time zone; add Z or an offset such as +01:00")]
    Zone,
}

/// A partial date or a date with a time, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FhirDateTime {
    /// How much is written.
    pub precision: Precision,
    /// The time it stands for; a date without time is taken as UTC.
    pub range: DateRange,
}

/// How much of a date is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Precision {
    Year,
    Month,
    Day,
    Minute,
    Second,
    Fraction,
}

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const DAY_US: i64 = 24 * 60 * MINUTE_US;

impl FhirDateTime {
    /// The time a `date`, `dateTime` or `instant` of a resource stands for: a year is a year long, a second a second.
    ///
    /// Times have seconds and a zone. Fractions past the microsecond are cut off. A leap second is the second after.
    pub fn parse(text: &str) -> Result<DateRange, DateError> {
        let read = Self::read(text, None)?;
        if read.precision == Precision::Minute { Err(DateError::Form) } else { Ok(read.range) }
    }

    /// As [`Self::parse`], for the value of a search parameter: seconds may be absent, and without a zone the time is
    /// `offset_minutes` east of UTC, as are dates (search.html#date leaves the zone to the server).
    pub fn parse_query(text: &str, offset_minutes: i32) -> Result<Self, DateError> {
        Self::read(text, Some(offset_minutes))
    }

    /// Reads either; `offset_minutes` stands in for an absent zone.
    pub fn read(text: &str, offset_minutes: Option<i32>) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let (date, time) = match bytes.iter().position(|&b| b == b'T') {
            Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
            None => (bytes, None),
        };
        let (low, high, mut precision) = days(date)?;
        let mut range = DateRange { low_us: low * DAY_US, high_us: high * DAY_US };
        let mut offset_us = i64::from(offset_minutes.unwrap_or(0)) * MINUTE_US;
        if let Some(time) = time {
            if precision != Precision::Day {
                return Err(DateError::Form);
            }
            let at = time.iter().position(|&b| matches!(b, b'Z' | b'+' | b'-')).unwrap_or(time.len());
            let (clock, zone) = time.split_at(at);
            let (start_us, length_us, written) = clock_us(clock)?;
            match (zone_us(zone)?, offset_minutes) {
                (Some(us), _) => offset_us = us,
                (None, Some(_)) => {}
                (None, None) => return Err(DateError::Zone),
            }
            precision = written;
            range.low_us += start_us;
            range.high_us = range.low_us + length_us;
        }
        range.low_us -= offset_us;
        range.high_us -= offset_us;
        Ok(Self { precision, range })
    }
}

/// First day and first day after, counted from 1970-01-01.
fn days(date: &[u8]) -> Result<(i64, i64, Precision), DateError> {
    let year = digits(date.get(..4), 4)?;
    if year == 0 {
        return Err(DateError::Day);
    }
    let part = |at: usize| match date.get(at) {
        Some(b'-') => digits(date.get(at + 1..at + 3), 2).map(Some),
        Some(_) => Err(DateError::Form),
        None => Ok(None),
    };
    let Some(month) = part(4)? else {
        return Ok((day_number(year, 1, 1), day_number(year + 1, 1, 1), Precision::Year));
    };
    if !(1..=12).contains(&month) {
        return Err(DateError::Day);
    }
    let next_month = if month == 12 { day_number(year + 1, 1, 1) } else { day_number(year, month + 1, 1) };
    let first = day_number(year, month, 1);
    let Some(day) = part(7)? else { return Ok((first, next_month, Precision::Month)) };
    if date.len() != 10 {
        return Err(DateError::Form);
    }
    if day < 1 || first + day > next_month {
        return Err(DateError::Day);
    }
    Ok((first + day - 1, first + day, Precision::Day))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; the year begins in March so that leap days come last.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Start within the day and length of `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff`.
fn clock_us(clock: &[u8]) -> Result<(i64, i64, Precision), DateError> {
    let (hour, minute) = (digits(clock.get(..2), 2)?, digits(clock.get(3..5), 2)?);
    if clock.get(2) != Some(&b':') {
        return Err(DateError::Form);
    }
    if hour > 23 || minute > 59 {
        return Err(DateError::Time);
    }
    let start = (hour * 60 + minute) * MINUTE_US;
    if clock.len() == 5 {
        return Ok((start, MINUTE_US, Precision::Minute));
    }
    let second = digits(clock.get(6..8), 2)?;
    if clock.get(5) != Some(&b':') {
        return Err(DateError::Form);
    }
    if second > 60 {
        return Err(DateError::Time);
    }
    let start = start + second * SECOND_US;
    let fraction = match clock.get(8) {
        None => return Ok((start, SECOND_US, Precision::Second)),
        Some(b'.') => clock.get(9..).unwrap_or_default(),
        Some(_) => return Err(DateError::Form),
    };
    digits(Some(fraction.get(..fraction.len().min(6)).unwrap_or_default()), fraction.len().min(6))?;
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return Err(DateError::Form);
    }
    let (mut us, mut unit) = (0, SECOND_US);
    for digit in fraction.iter().take(6) {
        unit /= 10;
        us += i64::from(digit - b'0') * unit;
    }
    Ok((start + us, unit, Precision::Fraction))
}

/// Offset of `Z` or `+hh:mm`; `None` when there is no zone.
fn zone_us(zone: &[u8]) -> Result<Option<i64>, DateError> {
    let sign = match zone {
        [] => return Ok(None),
        b"Z" => return Ok(Some(0)),
        [b'-', ..] => -1,
        _ => 1,
    };
    if zone.len() != 6 || zone.get(3) != Some(&b':') {
        return Err(DateError::Form);
    }
    let (hours, minutes) = (digits(zone.get(1..3), 2)?, digits(zone.get(4..6), 2)?);
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return Err(DateError::Time);
    }
    Ok(Some(sign * (hours * 60 + minutes) * MINUTE_US))
}

fn digits(bytes: Option<&[u8]>, count: usize) -> Result<i64, DateError> {
    let bytes = bytes.filter(|bytes| bytes.len() == count && bytes.iter().all(u8::is_ascii_digit));
    Ok(bytes.ok_or(DateError::Form)?.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn seconds(text: &str) -> (i64, i64) {
        let range = FhirDateTime::parse(text).unwrap();
        (range.low_us / SECOND_US, range.high_us / SECOND_US)
    }

    #[test]
    fn partial_dates_are_as_long_as_they_say() {
        assert_eq!(seconds("1970"), (0, 31_536_000));
        assert_eq!(seconds("2024-02"), (1_706_745_600, 1_709_251_200));
        assert_eq!(seconds("2000-02-29"), (951_782_400, 951_868_800));
        assert_eq!(seconds("2016-12-31T23:59:60Z"), (1_483_228_800, 1_483_228_801));
        assert_eq!(seconds("2021-06-01T02:00:00+02:00"), (1_622_505_600, 1_622_505_601));
        let range = FhirDateTime::parse("1970-01-01T00:00:00.1234567Z").unwrap();
        assert_eq!((range.low_us, range.high_us), (123_456, 123_457));
        let range = FhirDateTime::parse("1970-01-01T00:00:00.5Z").unwrap();
        assert_eq!((range.low_us, range.high_us), (500_000, 600_000));
        assert_eq!(FhirDateTime::parse("0001-01-01").unwrap().low_us, -719_162 * DAY_US);
        assert!(FhirDateTime::parse("9999-12-31T23:59:59.999-14:00").is_ok());
    }

    #[test]
    fn days_that_are_not_in_the_calendar_are_refused() {
        use DateError::{Day, Form, Time, Zone};
        for (text, error) in [
            ("2021-13-01", Day),
            ("1980-02-30", Day),
            ("1900-02-29", Day),
            ("2021-00", Day),
            ("2021-01-00", Day),
            ("0000", Day),
            ("", Form),
            ("21", Form),
            ("20210101", Form),
            ("2021-1-1", Form),
            ("2021-01-01T", Form),
            ("2021-01T10:00:00Z", Form),
            ("2021-01-01T10:00Z", Form),
            ("2021-01-01T10:00:00", Zone),
            ("2021-01-01T24:00:00Z", Time),
            ("2021-01-01T10:60:00Z", Time),
            ("2021-01-01T10:00:61Z", Time),
            ("2021-01-01T10:00:00+14:01", Time),
            ("2021-01-01T10:00:00+1", Form),
            ("2021-01-01T10:00:00.Z", Form),
            ("2021-01-01T10:00:00z", Form),
            ("２０２１", Form),
        ] {
            assert_eq!(FhirDateTime::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn queries_may_leave_out_seconds_and_zone() {
        let read = FhirDateTime::parse_query("1970-01-01T01:00", 60).unwrap();
        assert_eq!(
            (read.precision, read.range.low_us, read.range.high_us),
            (Precision::Minute, 0, MINUTE_US)
        );
        let read = FhirDateTime::parse_query("1970-01-01", 60).unwrap();
        assert_eq!(read.range.low_us, -60 * MINUTE_US);
    }
}
