//! Dates and times of local formats -> FHIR `date`/`dateTime` text, keeping the precision that was sent.
//!
//! Source: HL7 v2.5.1 chapter 2.A.21 (DT), 2.A.22 (DTM); FHIR R4 datatypes.html#dateTime (a time needs a zone).

use std::cell::RefCell;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// `YYYY[MM[DD[HH[MM[SS[.S+]]]]]][+/-ZZZZ]` as FHIR dateTime; times without a zone are local to `zone`.
///
/// An hour without minutes is cut to the day, since FHIR has no such precision and minutes are not invented.
/// Errors: what is wrong, without the value (a birth date may stand there).
pub(crate) fn hl7(text: &str, zone: &str) -> Result<String, String> {
    let text = text.trim();
    if let Some(known) = Hour::known(text, zone) {
        return Ok(known);
    }
    let (local, offset) = match text.find(['+', '-']) {
        Some(at) => (text.get(..at).unwrap_or(""), text.get(at..)),
        None => (text, None),
    };
    let (digits, fraction) = match local.split_once('.') {
        Some((digits, fraction)) => (digits, Some(fraction)),
        None => (local, None),
    };
    let only_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !only_digits(digits) || !fraction.is_none_or(|f| !f.is_empty() && f.len() <= 9 && only_digits(f)) {
        return Err("not an HL7 time: digits YYYYMMDDHHMMSS are expected".to_owned());
    }
    let part = |from: usize, to: usize| digits.get(from..to);
    let number = |from: usize, to: usize| part(from, to).and_then(|p| p.parse::<i8>().ok());
    let year = part(0, 4).ok_or("an HL7 time starts with four digits of the year")?;
    let date = |month: i8, day: i8| {
        Date::new(year.parse().unwrap_or(0), month, day).map_err(|_| "no such day in the calendar".to_owned())
    };
    match digits.len() {
        4 => Ok(year.to_owned()),
        6 => date(number(4, 6).unwrap_or(0), 1).map(|d| d.strftime("%Y-%m").to_string()),
        8 | 10 => date(number(4, 6).unwrap_or(0), number(6, 8).unwrap_or(0)).map(|d| d.to_string()),
        12 | 14 => {
            let day = date(number(4, 6).unwrap_or(0), number(6, 8).unwrap_or(0))?;
            let (hour, minute) = (number(8, 10).unwrap_or(-1), number(10, 12).unwrap_or(-1));
            let second = if digits.len() == 14 { number(12, 14).unwrap_or(-1) } else { 0 };
            let time = jiff::civil::Time::new(hour, minute, second, 0)
                .map_err(|_| "no such time of day".to_owned())?;
            let offset = match offset {
                Some(text) => hl7_offset(text)?,
                None => {
                    Hour::remember(day, hour, zone);
                    local_offset(day.to_datetime(time), zone)?
                }
            };
            let fraction = fraction.map(|f| format!(".{f}")).unwrap_or_default();
            Ok(format!("{day}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}"))
        }
        _ => Err("an HL7 time has 4, 6, 8, 10, 12 or 14 digits".to_owned()),
    }
}

/// The last local hour a thread met that lies wholly in one offset: what is measured together is sent together.
struct Hour {
    zone: String,
    /// `YYYYMMDDHH`
    digits: [u8; 10],
    /// `+01:00`
    offset: String,
}

thread_local! {
    static LAST: RefCell<Option<Hour>> = const { RefCell::new(None) };
}

impl Hour {
    /// The dateTime of `YYYYMMDDHHMM[SS]` in that hour.
    fn known(text: &str, zone: &str) -> Option<String> {
        let (hour, rest) = text.as_bytes().split_first_chunk::<10>()?;
        let sixty = |tens: u8, ones: u8| (b'0'..b'6').contains(&tens) && ones.is_ascii_digit();
        let seconds = match rest {
            [a, b] if sixty(*a, *b) => "00",
            [a, b, c, d] if sixty(*a, *b) && sixty(*c, *d) => text.get(12..14)?,
            _ => return None,
        };
        LAST.with_borrow(|last| {
            let last = last.as_ref().filter(|last| last.digits == *hour && last.zone == zone)?;
            let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
            let mut out = String::with_capacity(25);
            let parts = [
                part(0, 4),
                "-",
                part(4, 6),
                "-",
                part(6, 8),
                "T",
                part(8, 10),
                ":",
                part(10, 12),
                ":",
                seconds,
            ];
            parts.into_iter().chain([last.offset.as_str()]).for_each(|part| out.push_str(part));
            Some(out)
        })
    }

    /// Remembers an hour, when its first and its last second have the same offset: no clock changes twice within an hour.
    fn remember(day: Date, hour: i8, zone: &str) {
        let at = |minute: i8, second: i8| {
            let time = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
            let zone = TimeZone::get(zone).ok()?;
            match zone.to_ambiguous_timestamp(day.to_datetime(time)).offset() {
                AmbiguousOffset::Unambiguous { offset } => Some(offset),
                AmbiguousOffset::Fold { .. } | AmbiguousOffset::Gap { .. } => None,
            }
        };
        let (Some(first), Some(last)) = (at(0, 0), at(59, 59)) else { return };
        let written = format!("{:04}{:02}{:02}{hour:02}", day.year(), day.month(), day.day());
        if let (true, Ok(digits)) = (first == last, written.as_bytes().try_into()) {
            let hour = Hour { zone: zone.to_owned(), digits, offset: shown(first) };
            LAST.with_borrow_mut(|last| *last = Some(hour));
        }
    }
}

/// `dd-MM-yyyy`, `yyyy-MM-dd HH:mm` and the like -> FHIR dateTime; letters `d M y H m s`, others literally.
pub(crate) fn dutch(text: &str, format: &str, zone: &str) -> Result<String, String> {
    let mut rest = text.trim();
    let mut fields = [None::<i64>; 6];
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(field) = "yMdHms".find(letter) else {
            rest = rest.strip_prefix(letter).ok_or_else(|| format!("does not have the form {format}"))?;
            continue;
        };
        let mut width = 1;
        while letters.next_if_eq(&letter).is_some() {
            width += 1;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(width.max(2));
        let enough = if width == 1 { digits >= 1 } else { digits == width };
        let value = rest.get(..digits).and_then(|d| d.parse().ok()).filter(|_| enough);
        if let Some(slot) = fields.get_mut(field) {
            *slot = Some(value.ok_or_else(|| format!("does not have the form {format}"))?);
        }
        rest = rest.get(digits..).unwrap_or("");
    }
    if !rest.is_empty() {
        return Err(format!("does not have the form {format}"));
    }
    let [year, month, day, hour, minute, second] = fields;
    let year = year.ok_or("the form names no year")?;
    let small = |value: Option<i64>, absent: i8| value.map_or(absent, |v| i8::try_from(v).unwrap_or(-1));
    let date = Date::new(i16::try_from(year).unwrap_or(-1), small(month, 1), small(day, 1))
        .map_err(|_| "no such day in the calendar".to_owned())?;
    if day.is_none() {
        return Ok(date.strftime(if month.is_some() { "%Y-%m" } else { "%Y" }).to_string());
    }
    if hour.is_none() || minute.is_none() {
        return Ok(date.to_string());
    }
    let time = jiff::civil::Time::new(small(hour, -1), small(minute, -1), small(second, 0), 0)
        .map_err(|_| "no such time of day".to_owned())?;
    let offset = local_offset(date.to_datetime(time), zone)?;
    Ok(format!("{date}T{}{offset}", time.strftime("%H:%M:%S")))
}

/// A whole number of calendar or clock units, forward or back (FHIRPath 2.0.0, 6.7 date/time arithmetic).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shift {
    span: jiff::Span,
    of_day: bool,
}

impl Shift {
    /// `None` for a unit that is no duration, or more than the calendar has.
    pub(crate) fn new(count: i64, unit: &str) -> Option<Shift> {
        let span = jiff::Span::new();
        let of_day = matches!(unit.trim_end_matches('s'), "hour" | "minute" | "second");
        let span = match unit.trim_end_matches('s') {
            "year" => span.try_years(count),
            "month" => span.try_months(count),
            "week" => span.try_weeks(count),
            "day" => span.try_days(count),
            "hour" => span.try_hours(count),
            "minute" => span.try_minutes(count),
            "second" => span.try_seconds(count),
            _ => return None,
        };
        span.ok().map(|span| Shift { span, of_day })
    }

    /// A FHIR date or dateTime moved; precision and zone stay. Errors: what is wrong, without the value.
    pub(crate) fn apply(self, text: &str) -> Result<String, String> {
        let far = |_| "the calendar ends before that".to_owned();
        let text = text.trim();
        let Some((day, rest)) = text.split_once('T') else {
            if self.of_day {
                return Err("hours are added to a date that has none".to_owned());
            }
            let date: Date = text.parse().map_err(|_| "no full date to add to".to_owned())?;
            return Ok(date.checked_add(self.span).map_err(far)?.to_string());
        };
        let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
        let (time, zone) = rest.split_at(zone);
        let at: DateTime = format!("{day}T{time}").parse().map_err(|_| "no dateTime to add to".to_owned())?;
        let moved = at.checked_add(self.span).map_err(far)?;
        Ok(format!("{moved}{zone}"))
    }
}

/// The date of a FHIR date or dateTime, with the precision written; `None` when the text is neither.
pub(crate) fn date_of(text: &str) -> Option<&str> {
    let date = text.split('T').next()?;
    (is_date_time(text) && date.len() >= 4).then_some(date)
}

/// Whether a text is a FHIR date or dateTime (FHIR R4 datatypes.html#dateTime).
pub(crate) fn is_date_time(text: &str) -> bool {
    sluis_conformance::path::FhirDateTime::parse(text).is_ok()
}

/// Whether a text is a time of day, to the hour or more precise (FHIRPath 2.0.0, 2.1.6).
pub(crate) fn is_time(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(3, ':').collect();
    let sized = parts.iter().take(2).all(|part| part.len() == 2);
    let seconds =
        parts.get(2).is_none_or(|part| part.split('.').next().is_some_and(|whole| whole.len() == 2));
    let padded = match parts.len() {
        1 => format!("{text}:00:00"),
        2 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    sized && seconds && !text.contains('-') && padded.parse::<jiff::civil::Time>().is_ok()
}

/// Whether `zone` is in the time zone database.
pub(crate) fn is_zone(zone: &str) -> bool {
    TimeZone::get(zone).is_ok()
}

/// The offset of a wall-clock time. In the repeated autumn hour the first (summer time) is taken; an hour that the
/// spring change skips does not exist and is refused.
fn local_offset(time: DateTime, zone: &str) -> Result<String, String> {
    let zone = TimeZone::get(zone).map_err(|_| format!("`{zone}` is no time zone"))?;
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            Ok(shown(offset))
        }
        AmbiguousOffset::Gap { .. } => Err("this local time does not exist (clock change)".to_owned()),
    }
}

fn shown(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

fn hl7_offset(text: &str) -> Result<String, String> {
    let wrong = || "a zone has the form +0100".to_owned();
    let (sign, digits) = text.split_at_checked(1).ok_or_else(wrong)?;
    let hours = digits.get(0..2).and_then(|d| d.parse::<u8>().ok()).filter(|h| *h <= 14).ok_or_else(wrong)?;
    let minutes =
        digits.get(2..4).and_then(|d| d.parse::<u8>().ok()).filter(|m| *m < 60).ok_or_else(wrong)?;
    if digits.len() == 4 { Ok(format!("{sign}{hours:02}:{minutes:02}")) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "the values of a test convert")]
    use super::*;

    #[test]
    fn hl7_times_keep_precision_and_get_the_local_zone() {
        for (text, expected) in [
            ("2026", "2026"),
            ("202603", "2026-03"),
            ("20260314", "2026-03-14"),
            ("2026031409", "2026-03-14"),
            ("202603140915", "2026-03-14T09:15:00+01:00"),
            ("20260714091530", "2026-07-14T09:15:30+02:00"),
            ("20260714091530.120", "2026-07-14T09:15:30.120+02:00"),
            ("20260714091530+0000", "2026-07-14T09:15:30+00:00"),
            ("202610250230", "2026-10-25T02:30:00+02:00"),
        ] {
            assert_eq!(hl7(text, "Europe/Amsterdam").unwrap(), expected, "{text}");
        }
        for text in
            ["", "26", "20260230", "202613", "20260314 0915", "202603290230", "202603140915+1", "2026é"]
        {
            assert!(hl7(text, "Europe/Amsterdam").is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_in_an_hour_met_before_is_the_same_as_met_alone() {
        // The hours before, in and after both changes of the clock, quarters by quarter, in two zones by turns.
        let alone = |text: &str, zone: &str| {
            let (text, zone) = (text.to_owned(), zone.to_owned());
            std::thread::spawn(move || hl7(&text, &zone)).join().unwrap()
        };
        for day in ["20260329", "20261025"] {
            for hour in 0..5 {
                for minute in ["00", "15", "59", "60", "0a"] {
                    for zone in ["Europe/Amsterdam", "UTC"] {
                        for second in ["", "07", "60", "7"] {
                            let text = format!("{day}{hour:02}{minute}{second}");
                            assert_eq!(hl7(&text, zone), alone(&text, zone), "{text} {zone}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn dutch_dates_follow_their_form() {
        let zone = "Europe/Amsterdam";
        assert_eq!(dutch("3-4-2026", "d-M-yyyy", zone).unwrap(), "2026-04-03");
        assert_eq!(dutch("03-04-2026", "dd-MM-yyyy", zone).unwrap(), "2026-04-03");
        assert_eq!(dutch("03-04-2026 14:05", "dd-MM-yyyy HH:mm", zone).unwrap(), "2026-04-03T14:05:00+02:00");
        assert_eq!(dutch("2026", "yyyy", zone).unwrap(), "2026");
        for (text, form) in
            [("31-02-2026", "dd-MM-yyyy"), ("3-4-26", "d-M-yyyy"), ("2026-04-03", "dd-MM-yyyy")]
        {
            assert!(dutch(text, form, zone).is_err(), "{text}");
        }
    }
}
