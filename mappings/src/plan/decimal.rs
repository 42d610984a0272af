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
    let scaled = |(negative, digits, own): &Parts| -> Option<i128> {
        let zeros = usize::try_from(own - power).ok().filter(|zeros| digits.len() + zeros <= 36)?;
        let value: i128 = format!("0{digits}{}", "0".repeat(zeros)).parse().ok()?;
        Some(if *negative { -value } else { value })
    };
    let sum = scaled(&a)?.checked_add(scaled(&b)?)?;
    let fraction = usize::try_from(-power).ok()?;
    let digits = format!("{:0>width$}", sum.unsigned_abs(), width = fraction + 1);
    let (whole, rest) = digits.split_at_checked(digits.len() - fraction)?;
    let sign = if sum < 0 { "-" } else { "" };
    Some(if rest.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{rest}") })
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
