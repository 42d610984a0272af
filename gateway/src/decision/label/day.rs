//! Dates as written -> the Dutch calendar day consent windows are counted in.

use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use sluis_conformance::json::Node;

use super::text;
use crate::clock::Timestamp;
use crate::decision::policy::Policy;

static AMSTERDAM: LazyLock<TimeZone> =
    LazyLock::new(|| TimeZone::get("Europe/Amsterdam").unwrap_or(TimeZone::UTC));

/// The Dutch time zone: consent periods and clinical days are Dutch days.
pub(in crate::decision) fn dutch_zone() -> TimeZone {
    AMSTERDAM.clone()
}

/// Day of a moment in Dutch time, days since 1970-01-01.
pub fn amsterdam(moment: Timestamp) -> i32 {
    let instant = jiff::Timestamp::from_microsecond(moment.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    day_number(AMSTERDAM.to_datetime(instant).date())
}

/// Day of a FHIR date, dateTime or instant; the first day of a partial one (`2021` -> 2021-01-01). `None`: no date.
/// Source: FHIR R4 datatypes.html#dateTime
pub fn day_of(written: &str) -> Option<i32> {
    if written.len() > 10 {
        let instant: jiff::Timestamp = written.parse().ok()?;
        return Some(day_number(AMSTERDAM.to_datetime(instant).date()));
    }
    first_day(written).map(day_number)
}

/// First civil day of `2021`, `2021-05` or `2021-05-17`.
pub(in crate::decision) fn first_day(written: &str) -> Option<Date> {
    let mut parts = written.split('-');
    let number = |part: &str, digits: usize| {
        (part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))
            .then(|| part.parse::<i16>().ok())?
    };
    let year = number(parts.next()?, 4)?;
    let month = parts.next().map_or(Some(1), |part| number(part, 2))?;
    let day = parts.next().map_or(Some(1), |part| number(part, 2))?;
    if parts.next().is_some() {
        return None;
    }
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// Days since 1970-01-01.
pub(in crate::decision) fn day_number(date: Date) -> i32 {
    let epoch = Date::constant(1970, 1, 1);
    // Dates span years -9999 to 9999, some seven million days: both ends fit.
    epoch.until(date).map_or(0, |span| span.get_days())
}

/// The first of the policy's day elements that is there and is a date.
pub(super) fn of_resource(policy: &Policy, root: Node<'_>) -> Option<i32> {
    policy.day_elements.iter().find_map(|path| {
        let (last, parents) = path.split_last()?;
        let parent = parents.iter().try_fold(root, |node, name| node.get(name))?;
        day_of(&text(parent, last)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_late_in_the_evening_is_the_next_day_in_utc_but_not_here() {
        assert_eq!(day_of("1970-01-02"), Some(1));
        assert_eq!(day_of("1970"), Some(0));
        assert_eq!(day_of("1970-02"), Some(31));
        // 23:30 UTC in winter is 00:30 the next day in the Netherlands.
        assert_eq!(day_of("1970-01-01T23:30:00Z"), Some(1));
        assert_eq!(day_of("2026-06-30T22:30:00Z"), day_of("2026-07-01"));
        assert_eq!(day_of("2026-02-30"), None);
        assert_eq!(day_of("26-02-03"), None);
        assert_eq!(day_of("2026-01-01T10:00:00"), None);
    }
}
