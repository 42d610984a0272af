//! Functions of one simple value: conversions, arithmetic, encodings.
//!
//! Source: FHIRPath 2.0.0, 5.5 to 5.7; `escape`, `encode` and the like 3.0.0-ballot, additional string functions.

use sluis_conformance::fhirpath::text as shared;

use crate::plan::code::{Conversion, Function};
use crate::plan::decimal::{self, Cut};
use crate::plan::execute::Machine;
use crate::plan::item::{Item, Items};
use crate::plan::moment;
use crate::plan::problem::Problem;

impl<'t> Machine<'t> {
    /// A function of `text` and of its first argument, empty where there is none.
    pub(super) fn value(
        &mut self,
        function: Function,
        text: &'t str,
        given: &str,
    ) -> Result<Items<'t>, Problem> {
        let (escapes, forms) = ("html, json", "hex, base64, urlbase64");
        match function {
            Function::ToText => Ok(Items::text(text)),
            Function::ToInteger => self.converted(text, Conversion::Integer),
            Function::ToDecimal => self.converted(text, Conversion::Decimal),
            Function::ToBoolean => self.converted(text, Conversion::Boolean),
            Function::ToDate => self.converted(text, Conversion::Date),
            Function::ToDateTime => self.converted(text, Conversion::DateTime),
            Function::ToTime => self.converted(text, Conversion::Time),
            Function::Converts(conversion) => {
                Ok(Items::boolean(!self.converted(text, conversion)?.is_empty()))
            }
            Function::Escape => self.known(shared::escape(text, given), "a way to escape", escapes),
            Function::Unescape => self.known(shared::unescape(text, given), "escaped in that way", escapes),
            Function::Encode => self.known(shared::encode(text, given), "a form to encode in", forms),
            Function::Decode => self.known(shared::decode(text, given), "encoded in that form", forms),
            Function::ToChars => Ok(letters(text).map(Item::Text).collect()),
            Function::LastIndexOf => {
                let at =
                    text.rfind(given).map_or(-1, |at| text.get(..at).unwrap_or("").chars().count() as i64);
                self.number(&at.to_string())
            }
            Function::Absolute => self.reckoned(decimal::normal(text.trim_start().trim_start_matches('-'))),
            Function::Cut(how) => {
                let digits = if given.is_empty() || how != Cut::Round { Some(0) } else { given.parse().ok() };
                let of = decimal::normal(text).unwrap_or_default();
                self.reckoned(digits.and_then(|digits| decimal::cut(&of, how, digits)))
            }
            Function::Power => self.reckoned(decimal::power(text, given)),
            _ => Ok(Items::Empty),
        }
    }

    fn known(&mut self, made: Option<String>, what: &str, known: &str) -> Result<Items<'t>, Problem> {
        match made {
            Some(made) => self.made(&made),
            None => Err(Problem::new("value-invalid", format!("not {what}"), format!("known: {known}"))),
        }
    }

    fn reckoned(&mut self, number: Option<String>) -> Result<Items<'t>, Problem> {
        let remedy = "send numbers, of at most 36 digits";
        match number {
            Some(number) => self.number(&number),
            None => Err(Problem::new("number-invalid", "not numbers one can reckon with", remedy)),
        }
    }

    /// Nothing where the text is no such value.
    fn converted(&mut self, text: &'t str, to: Conversion) -> Result<Items<'t>, Problem> {
        let number = match to {
            Conversion::Text => return Ok(Items::text(text)),
            Conversion::Integer => {
                let whole = text.strip_prefix('+').unwrap_or(text).parse::<i32>().ok();
                whole.map(|whole| whole.to_string())
            }
            Conversion::Decimal => decimal::normal(text),
            Conversion::Boolean => {
                return Ok(match text.to_ascii_lowercase().as_str() {
                    "true" | "t" | "yes" | "y" | "1" | "1.0" => Items::boolean(true),
                    "false" | "f" | "no" | "n" | "0" | "0.0" => Items::boolean(false),
                    _ => Items::Empty,
                });
            }
            Conversion::Date => {
                return Ok(moment::date_of(text).map_or(Items::Empty, Items::text));
            }
            Conversion::DateTime => {
                return Ok(if moment::is_date_time(text) { Items::text(text) } else { Items::Empty });
            }
            Conversion::Time => {
                return Ok(if moment::is_time(text) { Items::text(text) } else { Items::Empty });
            }
        };
        number.map_or(Ok(Items::Empty), |number| self.number(&number))
    }
}

/// Each character as a text of its own.
fn letters(text: &str) -> impl Iterator<Item = &str> {
    text.char_indices().map(|(at, letter)| text.get(at..at + letter.len_utf8()).unwrap_or_default())
}
