//! Forms of codes: a code system's name is no proof of its code, so a code leaves only when it has the system's form.
//! A name, a free text or a citizen service number in the place of a code does not.

use sluis_mappings::bsn::Bsn;
use std::collections::BTreeSet;

use serde::Deserialize;

/// Which codes of a system may leave.
#[derive(Debug)]
pub(super) enum System {
    Form(Form),
    Codes(BTreeSet<Box<str>>),
    Prefixes(Vec<Box<str>>),
}

/// Form of a large code system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    /// Digits, hyphen, check digit modulo 10 (LOINC Users' Guide, "LOINC codes").
    Loinc,
    /// 6 to 18 digits: item, partition of concepts, Verhoeff check digit (SNOMED CT Identifier, TIG section 6).
    Snomed,
    /// Anatomical Therapeutic Chemical classification, level 1 to 5.
    Atc,
    /// Letter, two digits, optional decimals.
    Icd10,
    /// Letter, two digits, optional two decimals.
    Icpc,
    /// Up to 8 digits that cannot be a citizen service number.
    Number,
}

impl System {
    pub(super) fn admits(&self, code: &str) -> bool {
        match self {
            System::Form(form) => form.admits(code),
            System::Codes(codes) => codes.contains(code),
            System::Prefixes(prefixes) => {
                code.len() <= 40
                    && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                    && prefixes.iter().any(|prefix| code.starts_with(prefix.as_ref()))
                    && !has_bsn(code)
            }
        }
    }
}

impl Form {
    fn admits(self, code: &str) -> bool {
        match self {
            Form::Loinc => code.split_once('-').is_some_and(|(number, check)| {
                (3..=7).contains(&number.len()) && check.len() == 1 && luhn(&[number, check].concat())
            }),
            Form::Snomed => {
                let concept = code.len().checked_sub(3).and_then(|at| code.get(at..)).is_some_and(|tail| {
                    // Partition 00: international concept, 10: concept of an extension (the Dutch edition).
                    tail.starts_with("00") || tail.starts_with("10")
                });
                (6..=18).contains(&code.len()) && concept && !code.starts_with('0') && verhoeff(code)
            }
            Form::Atc => {
                matches!(code.len(), 1 | 3 | 4 | 5 | 7)
                    && code.bytes().enumerate().all(|(at, b)| match at {
                        0 | 3 | 4 => b.is_ascii_uppercase(),
                        _ => b.is_ascii_digit(),
                    })
            }
            Form::Icd10 => decimal_class(code, 2),
            Form::Icpc => decimal_class(code, 2),
            Form::Number => digits(code) && code.len() <= 8 && !has_bsn(code),
        }
    }
}

/// Letter, two digits, then at most `decimals` behind a point.
fn decimal_class(code: &str, decimals: usize) -> bool {
    let (class, rest) = code.split_once('.').unwrap_or((code, "0"));
    class.len() == 3
        && class.starts_with(|c: char| c.is_ascii_uppercase())
        && class.get(1..).is_some_and(digits)
        && digits(rest)
        && rest.len() <= decimals
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The check of ISO/IEC 7812: doubling every second digit from the right, the sum ends in 0.
fn luhn(text: &str) -> bool {
    digits(text)
        && text
            .bytes()
            .rev()
            .enumerate()
            .map(|(at, b)| {
                let digit = u32::from(b - b'0');
                let doubled = if at % 2 == 1 { digit * 2 } else { digit };
                doubled / 10 + doubled % 10
            })
            .sum::<u32>()
            .is_multiple_of(10)
}

/// Verhoeff's check over the dihedral group of order 10.
fn verhoeff(text: &str) -> bool {
    if !digits(text) {
        return false;
    }
    let check = text.bytes().rev().enumerate().fold(0u8, |check, (at, b)| {
        // The permutation applied `at` times; its order is 8.
        let moved = (0..at % 8).fold(b - b'0', |digit, _| match digit {
            0 => 1,
            1 => 5,
            2 => 7,
            3 => 6,
            4 => 2,
            5 => 8,
            6 => 3,
            7 => 0,
            8 => 9,
            _ => 4,
        });
        dihedral(check, moved)
    });
    check == 0
}

/// Product in the dihedral group: 0 to 4 are rotations, 5 to 9 reflections.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a - 5 + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Whether a run of 8 or 9 digits in the text passes the eleven-test of the BSN (9a+8b+...+2h-1i divisible by 11).
pub(crate) fn has_bsn(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_digit()).any(|run| matches!(run.len(), 8 | 9) && Bsn::parse(run).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_the_systems_have_their_form_and_names_and_numbers_do_not() {
        for code in ["2951-2", "19868-9", "59408-5", "9279-1", "29463-7", "8302-2", "39156-5", "33452-4"] {
            assert!(Form::Loinc.admits(code), "{code}");
        }
        for code in ["86044005", "81211007", "88923002", "37340000", "230258005", "428311008", "50834005"] {
            assert!(Form::Snomed.admits(code), "{code}");
        }
        assert!(Form::Atc.admits("N07XX02") && Form::Icd10.admits("G12.2") && Form::Icpc.admits("N99"));
        for name in ["Jansen", "de Vries", "999911120", "999911132", "29463-8", "", "é"] {
            for form in [Form::Loinc, Form::Snomed, Form::Atc, Form::Icd10, Form::Icpc, Form::Number] {
                assert!(!form.admits(name), "{form:?} {name}");
            }
        }
    }

    #[test]
    fn a_wrong_check_digit_is_seen() {
        assert!(!Form::Snomed.admits("86044006") && !Form::Loinc.admits("19868-8"));
    }

    #[test]
    fn a_bsn_is_found_in_any_run_of_digits() {
        assert!(has_bsn("999911120") && has_bsn("x12999911132.0") == has_bsn("12999911132"));
        assert!(has_bsn("a-111222333"));
        assert!(!has_bsn("111222334") && !has_bsn("2.10"));
    }
}
