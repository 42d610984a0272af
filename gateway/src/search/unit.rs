//! Units of UCUM brought to one canonical unit, so that 2.1 L is found as 2100 mL and 16 kPa as 120 mm[Hg].
//!
//! Both sides pass through [`Canonical`]: the index keeps the canonical value beside the given one, a search by unit
//! looks there. Source: FHIR R4 search.html#quantity (a server may search by canonical units), UCUM 2.1.

use octofhir_ucum::{Number, get_canonical_units};

/// The code system of UCUM (FHIR R4 terminologies-systems.html).
pub const UCUM: &str = "http://unitsofmeasure.org";

/// Bytes of a unit that is read; the longest in use are of some thirty.
const CODE_BYTES_MAX: usize = 200;

/// How values in a unit become values in its canonical one.
#[derive(Debug, Clone)]
pub struct Canonical {
    /// The canonical unit: base units and arbitrary ones, such as `g.m-3` or `[iU]`.
    pub unit: String,
    factor: Number,
    offset: Number,
}

impl Canonical {
    /// The way from a unit to its canonical one.
    ///
    /// `None`, and such a unit is compared as given: no UCUM; not known; on a scale that is not linear (`[pH]`, `dB`); or
    /// without dimension, where what was counted stands in the braces that UCUM disregards (`{score}`, `{beats}`) and
    /// percent may be of anything.
    pub fn of(system: Option<&str>, code: &str) -> Option<Canonical> {
        if system != Some(UCUM) || code.is_empty() || code.len() > CODE_BYTES_MAX {
            return None;
        }
        let found = get_canonical_units(code).ok().filter(|found| found.unit != "1")?;
        Some(Canonical { unit: found.unit, factor: found.factor, offset: found.offset })
    }

    /// A value in the canonical unit, rounded once: `0.0054` g and `5.4` mg give one double. What is open stays open.
    ///
    /// `None`: beyond what a double holds.
    pub fn convert(&self, value: f64) -> Option<f64> {
        if value.is_infinite() {
            // No factor is negative.
            return Some(value);
        }
        let converted = Number::from_f64(value)?.checked_mul(self.factor)?.checked_add(self.offset)?.to_f64();
        converted.is_finite().then_some(converted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use super::*;

    fn converted(value: f64, code: &str) -> (f64, String) {
        let canonical = Canonical::of(Some(UCUM), code).unwrap();
        (canonical.convert(value).unwrap(), canonical.unit)
    }

    /// Units of care that say the same, pair by pair, to the last digit.
    #[test]
    fn the_same_in_two_units_is_one_number() {
        for (a, in_a, b, in_b) in [
            (5.4, "mg", 0.0054, "g"),
            (72.5, "kg", 72500.0, "g"),
            (2.1, "L", 2100.0, "mL"),
            (2.1, "L", 21.0, "dL"),
            (37.0, "Cel", 98.6, "[degF]"),
            (38.5, "Cel", 311.65, "K"),
            (1.0, "kPa", 1000.0, "Pa"),
            (13.3322, "kPa", 100.0, "mm[Hg]"),
            (15.0, "cm[H2O]", 0.15, "m[H2O]"),
            (180.0, "L/min", 3.0, "L/s"),
            (270.0, "L/min", 270.0, "l/min"),
            (5.6, "mmol/L", 0.0056, "mol/L"),
            (7.1, "10*9/L", 7.1, "10*3/uL"),
            (140.0, "g/L", 14.0, "g/dL"),
            (60.0, "/min", 1.0, "/s"),
            (60.0, "{beats}/min", 60.0, "/min"),
            (24.5, "kg/m2", 0.00245, "kg/cm2"),
            (1.8, "m", 180.0, "cm"),
            (2.0, "h", 120.0, "min"),
            (100.0, "[iU]/L", 0.1, "[iU]/mL"),
            (1800.0, "kcal", 7531.2, "kJ"),
        ] {
            assert_eq!(converted(a, in_a), converted(b, in_b), "{a} {in_a} and {b} {in_b}");
        }
    }

    #[test]
    fn other_dimensions_have_other_units() {
        assert_ne!(converted(1.0, "mg/dL").1, converted(1.0, "mmol/L").1);
        assert_ne!(converted(1.0, "[iU]/L").1, converted(1.0, "g/L").1);
    }

    #[test]
    fn what_has_no_linear_canonical_unit_is_compared_as_given() {
        for code in
            ["[pH]", "dB", "litre", "mmHg", "%", "1", "{score}", "10*3", "", "m999999999", "(((", "m//"]
        {
            assert!(Canonical::of(Some(UCUM), code).is_none(), "{code}");
        }
        assert!(Canonical::of(Some(UCUM), &"m.".repeat(2000)).is_none());
        assert!(Canonical::of(Some("urn:other"), "mg").is_none());
        assert!(Canonical::of(None, "mg").is_none());
    }

    #[test]
    fn open_sides_stay_open_and_what_is_too_large_is_none() {
        let canonical = Canonical::of(Some(UCUM), "kg").unwrap();
        assert_eq!(canonical.convert(f64::INFINITY), Some(f64::INFINITY));
        assert_eq!(canonical.convert(f64::NEG_INFINITY), Some(f64::NEG_INFINITY));
        assert_eq!(canonical.convert(f64::MAX), None);
        assert_eq!(canonical.convert(f64::NAN), None);
    }
}
