//! Whether a text is a UCUM unit: its grammar, and the units that occur in care. A unit outside the list is reported, for a
//! person to add here; nothing at run time depends on it.
//! Source: The Unified Code for Units of Measure, section 2 (grammar) and tables 1 to 27, case sensitive codes.

/// Prefixes (UCUM table 1).
const PREFIXES: [&str; 24] = [
    "da", "Ki", "Mi", "Gi", "Ti", "Y", "Z", "E", "P", "T", "G", "M", "k", "h", "d", "c", "m", "u", "n", "p",
    "f", "a", "z", "y",
];

/// Units that take a prefix.
const METRIC: [&str; 44] = [
    "m", "s", "g", "rad", "K", "C", "cd", "mol", "sr", "Hz", "N", "Pa", "J", "W", "A", "V", "F", "Ohm", "S",
    "Wb", "Cel", "T", "H", "lm", "lx", "Bq", "Gy", "Sv", "l", "L", "ar", "t", "bar", "u", "eV", "kat", "U",
    "eq", "osm", "cal", "B", "[iU]", "[IU]", "Np",
];

/// Units that do not.
const PLAIN: [&str; 66] = [
    "10*",
    "10^",
    "[pi]",
    "%",
    "[ppth]",
    "[ppm]",
    "[ppb]",
    "deg",
    "'",
    "''",
    "min",
    "h",
    "d",
    "a",
    "a_t",
    "a_j",
    "wk",
    "mo",
    "mo_j",
    "mo_s",
    "atm",
    "[in_i]",
    "[ft_i]",
    "[yd_i]",
    "[mi_i]",
    "[lb_av]",
    "[oz_av]",
    "[st]",
    "[gal_us]",
    "[foz_us]",
    "[degF]",
    "m[Hg]",
    "m[H2O]",
    "mm[Hg]",
    "cm[H2O]",
    "[in_i'Hg]",
    "[in_i'H2O]",
    "[diop]",
    "[Ch]",
    "[drp]",
    "[hnsf'U]",
    "[MET]",
    "[pH]",
    "[CFU]",
    "[PFU]",
    "[arb'U]",
    "[USP'U]",
    "[GPL'U]",
    "[MPL'U]",
    "[APL'U]",
    "[beth'U]",
    "[anti'Xa'U]",
    "[todd'U]",
    "[dye'U]",
    "[smgy'U]",
    "[bdsk'U]",
    "[ka'U]",
    "[knk'U]",
    "[mclg'U]",
    "[tb'U]",
    "[CCID_50]",
    "[TCID_50]",
    "[EID_50]",
    "[Cal]",
    "[LN]",
    "[S]",
];

/// Whether UCUM has the unit.
pub fn is_ucum(text: &str) -> bool {
    let mut rest = text;
    !text.is_empty() && text.is_ascii() && !text.contains(' ') && main_term(&mut rest, 0) && rest.is_empty()
}

/// `[/] component {(. | /) component}`
fn main_term(rest: &mut &str, depth: u32) -> bool {
    if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
    }
    loop {
        if depth > 16 || !component(rest, depth) {
            return false;
        }
        match rest.strip_prefix(['.', '/']) {
            Some(after) => *rest = after,
            None => return true,
        }
    }
}

fn component(rest: &mut &str, depth: u32) -> bool {
    if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let inner = main_term(rest, depth + 1);
        let Some(after) = rest.strip_prefix(')') else { return false };
        *rest = after;
        return inner;
    }
    if rest.starts_with('{') {
        return annotation(rest);
    }
    if !unit(rest) {
        return false;
    }
    !rest.starts_with('{') || annotation(rest)
}

fn annotation(rest: &mut &str) -> bool {
    let Some((inside, after)) = rest.strip_prefix('{').and_then(|text| text.split_once('}')) else {
        return false;
    };
    *rest = after;
    !inside.contains('{')
}

/// A number, or a unit with its exponent.
fn unit(rest: &mut &str) -> bool {
    // Brackets and the dots inside them belong to the unit.
    let mut depth = 0;
    let end = rest.find(|c: char| {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(c, '.' | '/' | '(' | ')' | '{' | '}')
    });
    let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    if known(text) {
        return true;
    }
    let base = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let base = if base.len() < text.len() { base.strip_suffix(['+', '-']).unwrap_or(base) } else { base };
    base.len() < text.len() && known(base)
}

fn known(text: &str) -> bool {
    let metric = |text: &str| METRIC.contains(&text);
    metric(text)
        || PLAIN.contains(&text)
        || PREFIXES.iter().any(|prefix| {
            text.strip_prefix(prefix).is_some_and(|rest| metric(rest) || matches!(rest, "m[Hg]" | "m[H2O]"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_care_are_known_and_lookalikes_are_not() {
        for unit in [
            "kg",
            "g",
            "L",
            "l",
            "L/min",
            "L/s",
            "kPa",
            "mm[Hg]",
            "cm[H2O]",
            "%",
            "{score}",
            "mmol/L",
            "10*9/L",
            "/min",
            "kg/m2",
            "m2",
            "Cel",
            "mL/min/{1.73_m2}",
            "h/d",
            "h",
            "[iU]/L",
            "ug/(kg.min)",
            "{breaths}/min",
            "1",
            "mo",
        ] {
            assert!(is_ucum(unit), "{unit}");
        }
        for text in
            ["mmHg", "cmH2O", "liter", "KG", "", "kg/", "mm Hg", "score", "{score", "punten", "hPaa", "m2m"]
        {
            assert!(!is_ucum(text), "{text}");
        }
    }
}
