//! Numbers with what their digits leave open. Source: FHIR R4 search.html#number, datatypes.html#decimal

/// A number, its digits, and the implicit range they stand for: `100` is 99.5 up to 100.5, `100.00` 99.995 up to 100.005.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Precise<'d> {
    /// Nearest double.
    pub value: f64,
    /// Least value it may stand for, inclusive.
    pub low: f64,
    /// First value it does not stand for any more.
    pub high: f64,
    /// The digits as written.
    pub lexeme: &'d str,
}

impl<'d> Precise<'d> {
    /// Reads a JSON number or the number of a query. `None` when it is none, or is beyond a double.
    ///
    /// Half a unit of the last digit lies to either side. `1e2` is 95 up to 105, as search.html#number has it, though one
    /// digit would leave 50 on either side: without a point, an exponent counts one digit more.
    pub fn parse(lexeme: &'d str) -> Option<Self> {
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        if !lexeme.ends_with(|c: char| c.is_ascii_digit()) || !lexeme.chars().all(is_number) {
            return None;
        }
        let value: f64 = lexeme.parse().ok().filter(|value: &f64| value.is_finite())?;
        let (mantissa, exponent) = match lexeme.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent.parse::<i32>().ok()?)),
            None => (lexeme, None),
        };
        let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        // The number is its digits times ten to this power.
        let power = exponent.unwrap_or(0).saturating_sub(i32::try_from(decimals).unwrap_or(i32::MAX));
        let unit = if decimals == 0 && exponent.is_some() { power.saturating_sub(1) } else { power };
        let (low, high) = bounds(mantissa, power, unit).unwrap_or_else(|| {
            let half = 0.5 * 10f64.powi(unit);
            (value - half, value + half)
        });
        Some(Self { value, low, high, lexeme })
    }
}

/// Half a unit to either side, worked out in whole numbers and divided once, so that 5.4 gives the double 5.35 reads as and
/// equal bounds compare equal. `None` where a double cannot hold the digits or the power exactly.
fn bounds(mantissa: &str, power: i32, unit: i32) -> Option<(f64, f64)> {
    let mut digits: i64 = 0;
    for digit in mantissa.bytes().filter(u8::is_ascii_digit) {
        digits = digits.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
    }
    let tenths = digits.checked_mul(if power == unit { 10 } else { 100 })?;
    let tenths = if mantissa.starts_with('-') { -tenths } else { tenths };
    let scale = unit.checked_sub(1)?;
    let ten = POWERS.get(usize::try_from(scale.unsigned_abs()).ok()?)?;
    let exact = |tenths: i64| {
        // Up to 2^53 every whole number is a double.
        let value = (tenths.unsigned_abs() < 1 << 53).then_some(tenths as f64)?;
        Some(if scale < 0 { value / ten } else { value * ten })
    };
    Some((exact(tenths - 5)?, exact(tenths + 5)?))
}

/// The powers of ten that are doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn digits_say_how_much_is_left_open() {
        for (lexeme, low, high) in [
            ("100", 99.5, 100.5),
            ("100.00", 99.995, 100.005),
            ("1e2", 95.0, 105.0),
            ("5.4", 5.35, 5.45),
            ("5.40e-3", 0.005395, 0.005405),
            ("-1.10", -1.105, -1.095),
            ("0", -0.5, 0.5),
            ("0.1", 0.05, 0.15),
            ("1.0E3", 950.0, 1050.0),
            ("12e0", 11.95, 12.05),
            ("1e30", 9.5e29, 1.05e30),
        ] {
            let number = Precise::parse(lexeme).unwrap();
            assert_eq!((number.low, number.high, number.lexeme), (low, high, lexeme));
        }
        for text in ["", "a", "1e", "1.", "NaN", "inf", "1e999", "--1", "1e2147483648"] {
            assert_eq!(Precise::parse(text), None, "{text}");
        }
        assert!(Precise::parse("1e-400").is_some_and(|tiny| tiny.value == 0.0));
    }
}
