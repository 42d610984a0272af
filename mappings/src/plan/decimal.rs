//! Decimal lexemes: checked, compared and made from Dutch notation without ever becoming a float.

use std::cmp::Ordering;

/// Sign, digits without leading zeros, and the power of ten of the last digit.
type Parts = (bool, String, i64);

fn parts(lexeme: &str) -> Option<Parts> {
    let (negative, rest) = match lexeme.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, lexeme),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok().filter(|e| e.abs() < 10_000)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(split) => split,
        None => (mantissa, ""),
    };
    if whole.is_empty() || whole.len() + fraction.len() > 64 {
        return None;
    }
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}").trim_start_matches('0').to_owned();
    Some((negative && !digits.is_empty(), digits, exponent - fraction.len() as i64))
}

/// Whether this is a JSON number (FHIR R4 datatypes.html#decimal): no leading zeros, no `+`, no bare `.5`.
pub(crate) fn is_json_number(lexeme: &str) -> bool {
    let unsigned = lexeme.strip_prefix('-').unwrap_or(lexeme);
    if is_plain(unsigned.as_bytes()) {
        return true;
    }
    let whole = unsigned.split(['.', 'e', 'E']).next().unwrap_or("");
    parts(lexeme).is_some() && (whole == "0" || !whole.starts_with('0'))
}

/// Digits, and digits behind a point, of ordinary length: what nearly every number looks like.
fn is_plain(unsigned: &[u8]) -> bool {
    let whole = unsigned.iter().take_while(|b| b.is_ascii_digit()).count();
    let fits = whole > 0 && unsigned.len() <= 32 && (whole == 1 || unsigned.first() != Some(&b'0'));
    fits && match unsigned.get(whole..) {
        Some([]) => true,
        Some([b'.', fraction @ ..]) => !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A number as people and HL7v2 write it (`+1`, `007`, `.5`, `5.`) as a JSON lexeme; digits after the point stay.
pub(crate) fn normal(text: &str) -> Option<String> {
    let text = text.trim();
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let lexeme =
        if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
    is_json_number(&lexeme).then_some(lexeme)
}

/// Exact difference, as [`add`].
pub(crate) fn subtract(a: &str, b: &str) -> Option<String> {
    match b.strip_prefix('-') {
        Some(positive) => add(a, positive),
        None => add(a, &format!("-{b}")),
    }
}

/// Exact product; digits after the point add up.
pub(crate) fn multiply(a: &str, b: &str) -> Option<String> {
    let (a, b) = (parts(a)?, parts(b)?);
    let scale = u32::try_from(-(a.2 + b.2)).ok().filter(|scale| *scale <= 36)?;
    let whole = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let product = whole(&a.1)?.checked_mul(whole(&b.1)?)?;
    Some(lexeme(if a.0 == b.0 { product } else { -product }, scale))
}

/// Digits of a quotient that does not come out even (FHIRPath 2.0.0, 4.1.4 asks for 18 at least).
const QUOTIENT_DIGITS: usize = 28;

/// Quotient: exact where it comes out even, else 28 digits, the last rounded half up; without zeros at the end. `None` when either
/// is no number, or has more than 36 digits; `Some(None)` by zero, where there is none.
pub(crate) fn divide(a: &str, b: &str) -> Option<Option<String>> {
    let (a, b) = (parts(a)?, parts(b)?);
    let (left, right) = (unsigned(&a)?, unsigned(&b)?);
    if right == 0 {
        return Some(None);
    }
    let (mut quotient, mut rest, mut scale) = (left / right, left % right, 0_i64);
    while rest != 0 && quotient < 10_u128.pow(QUOTIENT_DIGITS as u32 - 1) {
        rest = rest.checked_mul(10)?;
        quotient = quotient * 10 + rest / right;
        rest %= right;
        scale += 1;
    }
    if rest >= right - rest {
        quotient += 1;
    }
    let mut power = a.2 - b.2 - scale;
    while power < 0 && quotient.is_multiple_of(10) {
        quotient /= 10;
        power += 1;
    }
    let zeros = u32::try_from(power.max(0)).ok()?;
    let whole = i128::try_from(quotient).ok()?.checked_mul(10_i128.checked_pow(zeros)?)?;
    let scale = u32::try_from((-power).max(0)).ok().filter(|scale| *scale <= 36)?;
    Some(Some(lexeme(if a.0 == b.0 { whole } else { -whole }, scale)))
}

/// `div` and `mod`: the whole quotient towards zero, and what is left over, with the sign of the dividend (FHIRPath 2.0.0, 6.6.5).
/// `None` and `Some(None)` as [`divide`].
pub(crate) fn divide_whole(a: &str, b: &str) -> Option<Option<(String, String)>> {
    let (a, b) = (parts(a)?, parts(b)?);
    let power = a.2.min(b.2).min(0);
    let (left, right) = (scaled(&a, power)?, scaled(&b, power)?);
    if right == 0 {
        return Some(None);
    }
    let scale = u32::try_from(-power).ok()?;
    Some(Some((lexeme(left / right, 0), lexeme(left % right, scale))))
}

/// Which whole number, or number of so many digits after the point, stands for a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Towards zero.
    Truncate,
    Floor,
    Ceiling,
    /// To the nearest, halves away from zero.
    Round,
}

/// A number with at most `digits` after the point. `None`: no number, or of more than 36 digits.
pub(crate) fn cut(a: &str, how: Cut, digits: u32) -> Option<String> {
    let a = parts(a)?;
    let (power, digits) = (a.2.min(0), digits.min(36));
    let value = scaled(&a, power)?;
    let over = u32::try_from(-power).ok()?.saturating_sub(digits);
    let unit = 10_i128.checked_pow(over)?;
    let (whole, rest) = (value / unit, value % unit);
    let step = match how {
        Cut::Truncate => 0,
        Cut::Floor => -i128::from(rest < 0),
        Cut::Ceiling => i128::from(rest > 0),
        Cut::Round if rest.unsigned_abs().saturating_mul(2) >= unit.unsigned_abs() && rest != 0 => {
            rest.signum()
        }
        Cut::Round => 0,
    };
    Some(lexeme(whole + step, u32::try_from(-power).ok()?.min(digits)))
}

/// A whole power, exact. `None`: no number, a power that is not whole or below 0, or more than 36 digits.
pub(crate) fn power(a: &str, times: &str) -> Option<String> {
    let times: u32 = times.parse().ok().filter(|times| *times <= 128)?;
    (0..times).try_fold("1".to_owned(), |product, _| multiply(&product, a))
}

fn unsigned(parts: &Parts) -> Option<u128> {
    if parts.1.is_empty() { Some(0) } else { parts.1.parse().ok().filter(|_| parts.1.len() <= 36) }
}

/// The number in units of ten to that power, which is no more than its own.
fn scaled((negative, digits, own): &Parts, power: i64) -> Option<i128> {
    let zeros = usize::try_from(own - power).ok().filter(|zeros| digits.len() + zeros <= 36)?;
    let value: i128 = format!("0{digits}{}", "0".repeat(zeros)).parse().ok()?;
    Some(if *negative { -value } else { value })
}

/// An integer with `scale` digits after the point.
fn lexeme(value: i128, scale: u32) -> String {
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    let sign = if value < 0 { "-" } else { "" };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// Dutch notation: decimal comma, points only as thousands separators in groups of three.
pub(crate) fn from_comma(text: &str) -> Option<String> {
    let text = text.trim();
    let (whole, fraction) = text.split_once(',').unwrap_or((text, ""));
    let mut groups = whole.split('.');
    let first = groups.next().unwrap_or("");
    let rest: Vec<&str> = groups.collect();
    let unsigned = first.trim_start_matches(['-', '+']);
    if !rest.is_empty() && (unsigned.len() > 3 || unsigned.is_empty() || rest.iter().any(|g| g.len() != 3)) {
        return None;
    }
    if text.ends_with(',') || fraction.contains('.') {
        return None;
    }
    let whole = format!("{first}{}", rest.concat());
    normal(&if fraction.is_empty() { whole } else { format!("{whole}.{fraction}") })
}

/// Order by value: `1.0` equals `1`. `None` when either is no number.
pub(crate) fn compare(a: &str, b: &str) -> Option<Ordering> {
    let (a_negative, a_digits, a_power) = parts(a)?;
    let (b_negative, b_digits, b_power) = parts(b)?;
    if a_negative != b_negative {
        return Some(if a_negative { Ordering::Less } else { Ordering::Greater });
    }
    let magnitude = match (a_digits.is_empty(), b_digits.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => {
            let tops = (a_digits.len() as i64 + a_power).cmp(&(b_digits.len() as i64 + b_power));
            let a_tail = a_digits.trim_end_matches('0');
            let b_tail = b_digits.trim_end_matches('0');
            tops.then_with(|| a_tail.cmp(b_tail))
        }
    };
    Some(if a_negative { magnitude.reverse() } else { magnitude })
}

/// Exact sum of two decimals, with the digits after the point of the longer one. `None` when either is no number, or the sum
/// needs more than 36 digits.
pub(crate) fn add(a: &str, b: &str) -> Option<String> {
    let (a, b) = (parts(a)?, parts(b)?);
    let power = a.2.min(b.2).min(0);
    let sum = scaled(&a, power)?.checked_add(scaled(&b, power)?)?;
    Some(lexeme(sum, u32::try_from(-power).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparison_is_by_value() {
        for (a, b, expected) in [
            ("1.0", "1", Ordering::Equal),
            ("9", "10", Ordering::Less),
            ("-9", "-10", Ordering::Greater),
            ("0.10", "0.1", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("0", "-0.0", Ordering::Equal),
            ("2.5", "2.49", Ordering::Greater),
        ] {
            assert_eq!(compare(a, b), Some(expected), "{a} {b}");
        }
        assert_eq!(compare("x", "1"), None);
    }

    #[test]
    fn sums_are_exact_and_keep_the_digits_after_the_point() {
        for (a, b, expected) in [
            ("3", "4", Some("7")),
            ("0.1", "0.20", Some("0.30")),
            ("-1.5", "1", Some("-0.5")),
            ("1e2", "0.5", Some("100.5")),
            ("0", "-0.0", Some("0.0")),
            ("9007199254740993", "0.01", Some("9007199254740993.01")),
            ("1e40", "1", None),
            ("x", "1", None),
        ] {
            assert_eq!(add(a, b).as_deref(), expected, "{a} + {b}");
        }
    }

    #[test]
    fn quotients_are_exact_where_they_come_out_even() {
        for (a, b, expected) in [
            ("6", "3", Some("2")),
            ("1", "8", Some("0.125")),
            ("-7.5", "2.5", Some("-3")),
            ("1", "3", Some("0.3333333333333333333333333333")),
            ("2", "3", Some("0.6666666666666666666666666667")),
            ("1e3", "0.01", Some("100000")),
            ("0", "5", Some("0")),
            ("5", "0.0", None),
        ] {
            assert_eq!(divide(a, b), Some(expected.map(str::to_owned)), "{a} / {b}");
        }
        assert_eq!((divide("x", "1"), divide(&"9".repeat(40), "7")), (None, None));
        let whole = |a, b| divide_whole(a, b).flatten();
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(whole("7", "2"), pair("3", "1"));
        assert_eq!(whole("-7", "2"), pair("-3", "-1"));
        assert_eq!(whole("5.5", "0.7"), pair("7", "0.6"));
        assert_eq!(divide_whole("1", "0"), Some(None));
    }

    #[test]
    fn numbers_are_cut_as_asked() {
        for (number, how, digits, expected) in [
            ("1.5", Cut::Round, 0, "2"),
            ("-1.5", Cut::Round, 0, "-2"),
            ("3.14159", Cut::Round, 3, "3.142"),
            ("2", Cut::Round, 3, "2"),
            ("1.9", Cut::Truncate, 0, "1"),
            ("-1.1", Cut::Floor, 0, "-2"),
            ("-1.9", Cut::Ceiling, 0, "-1"),
            ("1.01", Cut::Ceiling, 0, "2"),
            ("1e2", Cut::Floor, 0, "100"),
        ] {
            assert_eq!(cut(number, how, digits).as_deref(), Some(expected), "{number} {how:?} {digits}");
        }
        assert_eq!(power("1.1", "2").as_deref(), Some("1.21"));
        assert_eq!((power("2", "0.5"), power("10", "99")), (None, None));
    }

    #[test]
    fn dutch_numbers_keep_their_digits() {
        for (text, expected) in [
            ("2,10", Some("2.10")),
            ("1.234,5", Some("1234.5")),
            ("12", Some("12")),
            ("-0,5", Some("-0.5")),
            (",5", Some("0.5")),
            ("1.5", None),
            ("1,2,3", None),
            ("2,", None),
            ("", None),
            ("abc", None),
        ] {
            assert_eq!(from_comma(text).as_deref(), expected, "{text}");
        }
        assert_eq!(normal("007.10").as_deref(), Some("7.10"));
        assert_eq!(normal("5.").as_deref(), Some("5"));
    }
}
