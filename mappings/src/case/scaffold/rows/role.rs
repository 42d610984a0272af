//! What a column of a sheet is, by its heading and what is in it.

use std::collections::BTreeSet;

use crate::bsn::Bsn;

/// Distinct words a column may hold and still be a list of codes.
const CODES_MAX: usize = 12;

/// What a column seems to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A BSN: whose row it is.
    Bsn,
    /// The sender's own patient number.
    Patient,
    /// A day, in this form.
    Day(&'static str),
    /// A number, in this unit (text, UCUM).
    Number(Option<(&'static str, &'static str)>),
    /// The unit of the column of this name.
    UnitOf(String),
    /// A time of day, `HH:mm`.
    Time,
    /// Who did or ordered it.
    Professional,
    /// One of few words.
    Code(BTreeSet<String>),
    /// Who somebody is: not taken over.
    Person,
    /// Free text.
    Text,
    /// Empty in the sample.
    Unknown,
}

/// Endings of column names that tell a unit: ending, text, UCUM. Names are plain: `FVC zittend (L)` is `fvc_zittend_l`.
const UNITS: [(&str, &str, &str); 20] = [
    ("_%", "%", "%"),
    ("_l/min", "L/min", "L/min"),
    ("_mmol/l", "mmol/L", "mmol/L"),
    ("_kg/m2", "kg/m2", "kg/m2"),
    ("_kg", "kg", "kg"),
    ("_g", "g", "g"),
    ("_cm", "cm", "cm"),
    ("_l", "L", "L"),
    ("_liter", "L", "L"),
    ("_ml", "mL", "mL"),
    ("_lmin", "L/min", "L/min"),
    ("_l_min", "L/min", "L/min"),
    ("_cmh2o", "cmH2O", "cm[H2O]"),
    ("_kpa", "kPa", "kPa"),
    ("_mmhg", "mmHg", "mm[Hg]"),
    ("_pct", "%", "%"),
    ("_procent", "%", "%"),
    ("_mmol", "mmol/L", "mmol/L"),
    ("_uur", "h", "h"),
    ("_min", "/min", "/min"),
];

/// Words in column names of who did or ordered something.
const PROFESSIONAL: [&str; 7] =
    ["behandelaar", "zorgverlener", "arts", "agb", "uzi", "aanvrager", "uitvoerder"];

/// Words in column names of people's particulars.
const PERSON: [&str; 9] =
    ["naam", "adres", "straat", "postcode", "woonplaats", "telefoon", "mail", "geboorte", "geslacht"];

/// A name without case, accents, brackets and blanks: `SNIP [cmH2O]` is `snip_cmh2o`.
pub(super) fn plain(column: &str) -> String {
    let fold = |c: char| match c {
        'á' | 'à' | 'ä' | 'â' => 'a',
        'é' | 'è' | 'ë' | 'ê' => 'e',
        'í' | 'ì' | 'ï' | 'î' => 'i',
        'ó' | 'ò' | 'ö' | 'ô' => 'o',
        'ú' | 'ù' | 'ü' | 'û' => 'u',
        c if c.is_alphanumeric() || ['%', '/'].contains(&c) => c,
        _ => '_',
    };
    let name: String = column.to_lowercase().chars().map(fold).collect();
    name.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// Columns that hold the unit of another: `pCO2 eenheid` beside `pCO2`.
pub(super) fn units(roles: &mut [(&String, Role)]) {
    let numbers: Vec<(String, String)> = roles
        .iter()
        .filter(|(_, role)| matches!(role, Role::Number(_)))
        .map(|(column, _)| (plain(column), (*column).clone()))
        .collect();
    for (column, role) in roles.iter_mut().filter(|(_, role)| matches!(role, Role::Code(_) | Role::Unknown)) {
        let name = plain(column);
        let of = ["_eenheid", "_unit"]
            .iter()
            .find_map(|ending| name.strip_suffix(ending))
            .or_else(|| name.strip_prefix("eenheid_"));
        if let Some((_, number)) = of.and_then(|of| numbers.iter().find(|(name, _)| name == of)) {
            *role = Role::UnitOf(number.clone());
        }
    }
}

pub(super) fn role(column: &str, values: &[&str]) -> Role {
    let name = plain(column);
    let all =
        |test: &dyn Fn(&str) -> bool| !values.is_empty() && values.iter().all(|value| test(value.trim()));
    if all(&|value| value.len() == 9 && Bsn::parse(value).is_ok())
        || (name.contains("bsn") && !values.is_empty())
    {
        return Role::Bsn;
    }
    if ["patient", "client", "dossier"].iter().any(|word| name.contains(word)) && !name.contains("naam") {
        return Role::Patient;
    }
    if PERSON.iter().any(|word| name.contains(word)) {
        return Role::Person;
    }
    for form in ["dd-MM-yyyy", "yyyy-MM-dd", "dd/MM/yyyy", "d-M-yyyy", "yyyyMMdd"] {
        if all(&|value| crate::plan::is_date(value, form)) {
            return Role::Day(form);
        }
    }
    if PROFESSIONAL.iter().any(|word| name.split('_').any(|part| part == *word)) {
        return Role::Professional;
    }
    if all(&|value| crate::plan::is_date(&format!("2026-01-01 {value}"), "yyyy-MM-dd HH:mm")) {
        return Role::Time;
    }
    if all(&is_number) {
        // `FVC % voorspeld` has its unit inside.
        let inside = |ending: &str| ending == "_%" && name.contains("_%_");
        let unit = UNITS.iter().find(|(ending, ..)| name.ends_with(ending) || inside(ending));
        return Role::Number(unit.map(|(_, text, ucum)| (*text, *ucum)));
    }
    if values.is_empty() {
        return Role::Unknown;
    }
    let distinct: BTreeSet<String> = values.iter().map(|value| value.trim().to_owned()).collect();
    let short = distinct
        .iter()
        .all(|value| value.chars().count() <= 30 && !value.contains(". ") && !value.ends_with('.'));
    if short && distinct.len() <= CODES_MAX { Role::Code(distinct) } else { Role::Text }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().any(|b| b.is_ascii_digit())
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'.')
        && digits.matches([',', '.']).count() <= 1
}
