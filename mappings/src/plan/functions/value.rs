//! Functions of one simple value: conversions, arithmetic, encodings.
//!
//! Source: FHIRPath 2.0.0, 5.5 to 5.7; `escape`, `encode` and the like 3.0.0-ballot, additional string functions.

use sluis_conformance::fhirpath::text as shared;

use super::bounded;
use crate::plan::code::{Conversion, Function};
use crate::plan::decimal::{self, Cut};
use crate::plan::item::{Item, Items};
use crate::plan::moment;
use crate::plan::problem::Problem;

/// A function of `text` and of its first argument, empty where there is none.
pub(super) fn of(function: Function, text: &str, given: &str) -> Result<Items, Problem> {
    let known = |made: Option<String>, what: &str, known: &str| match made {
        Some(made) => bounded(made),
        None => Err(Problem::new("value-invalid", format!("not {what}"), format!("known: {known}"))),
    };
    let (escapes, forms) = ("html, json", "hex, base64, urlbase64");
    Ok(match function {
        Function::ToText => Items::text(text),
        Function::ToInteger => converted(text, Conversion::Integer),
        Function::ToDecimal => converted(text, Conversion::Decimal),
        Function::ToBoolean => converted(text, Conversion::Boolean),
        Function::ToDate => converted(text, Conversion::Date),
        Function::ToDateTime => converted(text, Conversion::DateTime),
        Function::ToTime => converted(text, Conversion::Time),
        Function::Converts(conversion) => Items::boolean(!converted(text, conversion).is_empty()),
        Function::Escape => known(shared::escape(text, given), "a way to escape", escapes)?,
        Function::Unescape => known(shared::unescape(text, given), "escaped in that way", escapes)?,
        Function::Encode => known(shared::encode(text, given), "a form to encode in", forms)?,
        Function::Decode => known(shared::decode(text, given), "encoded in that form", forms)?,
        Function::ToChars => text.chars().map(|letter| Item::Text(letter.to_string().into())).collect(),
        Function::LastIndexOf => {
            let at = text.rfind(given).map_or(-1, |at| text.get(..at).unwrap_or("").chars().count() as i64);
            Items::One(Item::Number(at.to_string().into()))
        }
        Function::Absolute => number(decimal::normal(text.trim_start().trim_start_matches('-')))?,
        Function::Cut(how) => {
            let digits = if given.is_empty() || how != Cut::Round { Some(0) } else { given.parse().ok() };
            let of = decimal::normal(text).unwrap_or_default();
            number(digits.and_then(|digits| decimal::cut(&of, how, digits)))?
        }
        Function::Power => number(decimal::power(text, given))?,
        _ => Items::Empty,
    })
}

fn number(number: Option<String>) -> Result<Items, Problem> {
    let remedy = "send numbers, of at most 36 digits";
    match number {
        Some(number) => Ok(Items::One(Item::Number(number.into()))),
        None => Err(Problem::new("number-invalid", "not numbers one can reckon with", remedy)),
    }
}

/// Nothing where the text is no such value.
fn converted(text: &str, to: Conversion) -> Items {
    let number = |number: String| Items::One(Item::Number(number.into()));
    let made = match to {
        Conversion::Text => Some(Items::text(text)),
        Conversion::Integer => {
            let whole = text.strip_prefix('+').unwrap_or(text).parse::<i32>().ok();
            whole.map(|whole| number(whole.to_string()))
        }
        Conversion::Decimal => decimal::normal(text).map(number),
        Conversion::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => Some(Items::boolean(true)),
            "false" | "f" | "no" | "n" | "0" | "0.0" => Some(Items::boolean(false)),
            _ => None,
        },
        Conversion::Date => moment::date_of(text).map(Items::text),
        Conversion::DateTime => moment::is_date_time(text).then(|| Items::text(text)),
        Conversion::Time => moment::is_time(text).then(|| Items::text(text)),
    };
    made.unwrap_or_default()
}
