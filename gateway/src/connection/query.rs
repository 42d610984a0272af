//! Query strings and forms -> name and value pairs, decoded once.
//!
//! What a pair means is for `search` and the operations; only `_format` and `_pretty`, which every row has, end here
//! (FHIR R4 http.html#parameters).

use percent_encoding::percent_decode;

use super::header;
use super::request::{Format, Parameters, Shape, Syntax};
use super::route::Produces;
use crate::response::refusal::{Reason, Refusal};

/// Pairs in order of appearance, URL first.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(String, String)>,
    raw: String,
}

impl Pairs {
    /// Adds the pairs of one query string or form body.
    ///
    /// Errors: `Malformed` for broken percent-encoding, for text that is not UTF-8, and for control characters other
    /// than tab and line ends.
    /// Source: <https://url.spec.whatwg.org/#urlencoded-parsing>
    pub(crate) fn add(&mut self, text: &str) -> Result<(), Refusal> {
        if text.is_empty() {
            return Ok(());
        }
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.pairs.push((decode(name)?, decode(value)?));
        }
        if !self.raw.is_empty() {
            self.raw.push('&');
        }
        self.raw.push_str(text);
        Ok(())
    }

    /// Adds one decoded pair (from a Parameters resource); its encoded form goes into `raw`.
    pub(crate) fn push(&mut self, name: String, value: String) {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        if !self.raw.is_empty() {
            self.raw.push('&');
        }
        for part in [utf8_percent_encode(&name, NON_ALPHANUMERIC).to_string(), "=".to_owned()] {
            self.raw.push_str(&part);
        }
        self.raw.push_str(&utf8_percent_encode(&value, NON_ALPHANUMERIC).to_string());
        self.pairs.push((name, value));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Takes `_format` and `_pretty` out of the pairs. `None`: there was no `_format`, so `Accept` decides.
    ///
    /// Errors: `NotAcceptable` for a format that is not offered, `ParameterInvalid` for a `_pretty` that is no boolean.
    /// Source: FHIR R4 http.html#mime-type
    pub(crate) fn take_general(&mut self, produces: Produces) -> Result<(Option<Syntax>, Format), Refusal> {
        let mut format = Format::default();
        let mut named = None;
        let mut refusal = None;
        self.pairs.retain(|(name, value)| match name.as_str() {
            "_format" => {
                match header::format(value, produces) {
                    Ok(syntax) => {
                        named = Some(syntax);
                        format.syntax = syntax;
                    }
                    Err(error) => refusal = refusal.take().or(Some(error)),
                }
                false
            }
            "_pretty" => {
                match value.as_str() {
                    "true" => format.pretty = true,
                    "false" => format.pretty = false,
                    _ => {
                        let error = Refusal::new(Reason::ParameterInvalid, "true or false.").at("_pretty");
                        refusal = refusal.take().or(Some(error));
                    }
                }
                false
            }
            _ => true,
        });
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok((named, format)),
        }
    }

    /// Takes `_summary` and `_elements` out of the pairs, for rows that answer with one resource.
    ///
    /// Errors: `ParameterInvalid`. Source: FHIR R4 http.html#parameters
    pub(crate) fn take_shape(&mut self) -> Result<Shape, Refusal> {
        let mut shape = Shape::Whole;
        let mut left = Vec::with_capacity(self.pairs.len());
        for (name, value) in std::mem::take(&mut self.pairs) {
            if !shape.read(&name, &value)? {
                left.push((name, value));
            }
        }
        self.pairs = left;
        if shape == Shape::Count {
            let text = "One resource is not counted; _summary=count is for searches and histories.";
            return Err(Refusal::new(Reason::ParameterInvalid, text).at("_summary"));
        }
        Ok(shape)
    }

    /// Refuses whatever is left: this row takes no parameters. Absence of a meaning is refusal, never a silent pass.
    pub(crate) fn refuse_any(&self) -> Result<(), Refusal> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => {
                let text = "This request takes no such parameter.";
                // The name alone: a value may hold personal data.
                let shown: String = name.chars().take(64).collect();
                Err(Refusal::new(Reason::ParameterUnknown, text).at(shown))
            }
        }
    }

    /// The pairs, as requests keep them.
    pub(crate) fn finish(self) -> Parameters {
        Parameters { pairs: self.pairs.into(), raw: self.raw.into() }
    }

    /// The pairs alone.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }
}

/// Criteria as a header or an entry of a Bundle gives them: `identifier=urn:x|1`, perhaps behind `?` or `[type]?`
/// (FHIR R4 http.html#ccreate).
///
/// Errors: `Malformed`.
pub(crate) fn criteria(text: &str) -> Result<Parameters, Refusal> {
    let mut pairs = Pairs::default();
    pairs.add(text.split_once('?').map_or(text, |(_, query)| query))?;
    Ok(pairs.finish())
}

/// Whether every `%` begins a byte.
pub(crate) fn is_percent_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
            && bytes.get(at + 2).is_some_and(u8::is_ascii_hexdigit)
    })
}

fn decode(text: &str) -> Result<String, Refusal> {
    let malformed = |what: &str| Refusal::new(Reason::Malformed, what);
    if !is_percent_encoded(text) {
        return Err(malformed("The percent-encoding of a parameter is broken."));
    }
    let spaced: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    let text = String::from_utf8(decoded).map_err(|_| malformed("A parameter is not UTF-8."))?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\r' | '\n')) {
        return Err(malformed("A parameter holds a control character."));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String)>, Refusal> {
        let mut pairs = Pairs::default();
        pairs.add(text)?;
        Ok(pairs.into_pairs())
    }

    #[test]
    fn pairs_keep_order_and_repetition() {
        let found = pairs("code=a%7Cb&date=ge2020&code=c&empty=&bare").unwrap();
        let expected = [("code", "a|b"), ("date", "ge2020"), ("code", "c"), ("empty", ""), ("bare", "")];
        assert_eq!(found, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn plus_is_a_space_and_encoded_plus_a_plus() {
        assert_eq!(pairs("name=van+den%2BBerg").unwrap(), [("name".to_owned(), "van den+Berg".to_owned())]);
    }

    #[test]
    fn broken_encoding_nul_and_foreign_bytes_are_refused() {
        for text in ["a=%", "a=%4", "a=%zz", "%=1", "a=%00", "a=%ff%fe", "a=%c3%28"] {
            assert_eq!(pairs(text).unwrap_err().reason, Reason::Malformed, "{text}");
        }
    }

    #[test]
    fn raw_text_of_url_and_form_stays_for_the_audit_record() {
        let mut both = Pairs::default();
        both.add("a=%31").unwrap();
        both.add("b=2").unwrap();
        both.push("c".into(), "ö&".into());
        assert_eq!(&*both.finish().raw, "a=%31&b=2&c=%C3%B6%26");
    }

    #[test]
    fn format_and_pretty_end_here() {
        let mut both = Pairs::default();
        both.add("_format=application/fhir+json&_pretty=true&code=x").unwrap();
        let (named, format) = both.take_general(Produces::Fhir).unwrap();
        assert!(named.is_some() && format.pretty);
        assert_eq!(both.into_pairs(), [("code".to_owned(), "x".to_owned())]);
    }
}
