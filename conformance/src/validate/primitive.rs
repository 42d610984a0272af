//! The form of each primitive type. Source: FHIR R4 datatypes.html#primitive, json.html#primitive

use std::borrow::Cow;

use crate::json::{Kind, Node};
use crate::path::{DateError, FhirDateTime, Precision, is_id};

use super::walk::Walk;
use super::{Severity, narrative};

/// Longest string, in characters. Source: FHIR R4 datatypes.html#string ("SHALL NOT exceed 1MB")
const STRING_CHARS_MAX: usize = 1024 * 1024;

/// Judges one value; `null` and arrays have been dealt with.
pub(super) fn judge<'d>(walk: &mut Walk<'d>, type_: &str, value: Node<'d>) {
    let expected = match type_ {
        "boolean" => Kind::Bool,
        "integer" | "unsignedInt" | "positiveInt" | "decimal" => Kind::Number,
        _ => Kind::String,
    };
    if value.kind() != expected {
        let remedy = match expected {
            Kind::Bool => "write true or false without quotes",
            Kind::Number => "write the number without quotes",
            _ => "write the value in double quotes",
        };
        return walk.error(
            "structure",
            value,
            format!("not a JSON {} as {type_} needs", word(expected)),
            remedy,
        );
    }
    let fault = match expected {
        Kind::Number => number(type_, value.raw()),
        Kind::String => match value.as_str() {
            Some(text) => string(walk, type_, text, value),
            None => None,
        },
        _ => None,
    };
    if let Some((text, remedy)) = fault {
        walk.error("value", value, text, remedy);
    }
}

/// What is wrong and what to do.
pub(super) type Fault = (&'static str, &'static str);

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Number => "number",
        _ => "string",
    }
}

fn number(type_: &str, lexeme: &str) -> Option<Fault> {
    let least = match type_ {
        "integer" => i64::from(i32::MIN),
        "unsignedInt" => 0,
        "positiveInt" => 1,
        // Any JSON number; its digits are kept as they are.
        _ => return None,
    };
    let whole = lexeme.parse::<i64>().ok().filter(|_| lexeme != "-0");
    match whole {
        Some(value) if (least..=i64::from(i32::MAX)).contains(&value) => None,
        Some(_) => {
            Some(("out of the range of its type", "integers lie within 32 bits, positiveInt begins at 1"))
        }
        None => Some(("not a whole number", "write digits without point or exponent")),
    }
}

fn string<'d>(walk: &mut Walk<'d>, type_: &str, text: Cow<'d, str>, value: Node<'d>) -> Option<Fault> {
    if text.is_empty() {
        return Some(("an empty string", "leave the element out"));
    }
    // XML cannot carry U+0000 in any form, and not every store can.
    if text.contains('\0') {
        return Some(("holds the character U+0000", "leave it out"));
    }
    match type_ {
        "string" | "markdown" => {
            if text.len() > STRING_CHARS_MAX && text.chars().count() > STRING_CHARS_MAX {
                return Some(("longer than 1,048,576 characters", "send the content as an attachment"));
            }
            if text.bytes().any(|b| b < 32 && !matches!(b, b'\t' | b'\n' | b'\r')) {
                // datatypes.html#string: SHOULD not contain code points below 32 except these three.
                let (text, remedy) = ("holds a control character", "leave it out");
                walk.issue(Severity::Warning, "value", value, text, remedy);
            }
            None
        }
        "code" => (!is_code(&text)).then_some(("not a code", "no space in front, behind, or twice in a row")),
        "id" => (!is_id(&text)).then_some(("not an id", "use 1 to 64 letters, digits, - and .")),
        "uri" | "url" | "canonical" => uri(walk, &text),
        "oid" => (!is_oid(&text)).then_some(("not an OID", "write it as urn:oid:1.2.3")),
        "uuid" => {
            (!is_uuid(&text)).then_some(("not a UUID", "write it as urn:uuid: and 32 small hex digits"))
        }
        "base64Binary" => {
            (!is_base64(&text)).then_some(("not base64", "use A-Z a-z 0-9 + / and = at the end"))
        }
        "date" => date(&text, &[Precision::Year, Precision::Month, Precision::Day]),
        "dateTime" => date(
            &text,
            &[Precision::Year, Precision::Month, Precision::Day, Precision::Second, Precision::Fraction],
        ),
        "instant" => date(&text, &[Precision::Second, Precision::Fraction]),
        "time" => (!is_time(&text)).then_some(("not a time of day", "write it as hh:mm:ss without a zone")),
        "xhtml" => {
            if let Some(fault) = narrative::fault(&text) {
                walk.error("invariant", value, format!("{}: {}", fault.key, fault.text), fault.remedy);
            }
            None
        }
        _ => None,
    }
}

/// The forms of primitives, told apart once for each element rather than by name for each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Any,
    Integer,
    UnsignedInt,
    PositiveInt,
    String,
    Code,
    Id,
    Uri,
    Oid,
    Uuid,
    Base64Binary,
    Date,
    DateTime,
    Instant,
    Time,
    /// Narrative, and what is no type of R4.
    Unknown,
}

impl Form {
    pub(super) fn of(type_: &str) -> Form {
        match type_ {
            "boolean" | "decimal" => Form::Any,
            "integer" => Form::Integer,
            "unsignedInt" => Form::UnsignedInt,
            "positiveInt" => Form::PositiveInt,
            "string" | "markdown" => Form::String,
            "code" => Form::Code,
            "id" => Form::Id,
            "uri" | "url" | "canonical" => Form::Uri,
            "oid" => Form::Oid,
            "uuid" => Form::Uuid,
            "base64Binary" => Form::Base64Binary,
            "date" => Form::Date,
            "dateTime" => Form::DateTime,
            "instant" => Form::Instant,
            "time" => Form::Time,
            _ => Form::Unknown,
        }
    }

    /// Whether a value is valid beyond doubt. `text` is its string, number lexeme or truth value, of the JSON kind its type has.
    pub(super) fn is_sure(self, text: &str) -> bool {
        const DAYS: &[Precision] = &[Precision::Year, Precision::Month, Precision::Day];
        const INSTANTS: &[Precision] = &[Precision::Second, Precision::Fraction];
        let is_plain = || {
            (1..=STRING_CHARS_MAX).contains(&text.len())
                && text.bytes().all(|b| b >= 32 || matches!(b, b'\t' | b'\n' | b'\r'))
        };
        match self {
            Form::Any => true,
            Form::Integer => number("integer", text).is_none(),
            Form::UnsignedInt => number("unsignedInt", text).is_none(),
            Form::PositiveInt => number("positiveInt", text).is_none(),
            _ if !is_plain() => false,
            Form::String => true,
            Form::Code => !has_space(text) || is_code(text),
            Form::Id => is_id(text),
            Form::Uri => !has_space(text),
            Form::Oid => is_oid(text),
            Form::Uuid => is_uuid(text),
            Form::Base64Binary => is_base64(text),
            Form::Date => date(text, DAYS).is_none(),
            Form::DateTime => {
                FhirDateTime::read(text, None).is_ok_and(|read| read.precision != Precision::Minute)
            }
            Form::Instant => date(text, INSTANTS).is_none(),
            Form::Time => is_time(text),
            Form::Unknown => false,
        }
    }
}

/// White space anywhere; in ASCII without reading characters.
fn has_space(text: &str) -> bool {
    match text.is_ascii() {
        true => text.bytes().any(|b| matches!(b, b' ' | 9..=13)),
        false => text.contains(char::is_whitespace),
    }
}

/// `\S*`; whether an address leads anywhere is not asked.
fn uri(walk: &mut Walk<'_>, text: &str) -> Option<Fault> {
    if text.contains(char::is_whitespace) {
        return Some(("white space in an address", "encode it as %20 or leave it out"));
    }
    // dom-3: an address may be what refers to a contained resource.
    if let Some(id) = text.strip_prefix('#')
        && let Some(container) = walk.containers.last_mut()
    {
        container.mention(id);
    }
    None
}

/// `[^\s]+(\s[^\s]+)*`: only single spaces, and none at the ends.
fn is_code(text: &str) -> bool {
    text.split(char::is_whitespace).all(|word| !word.is_empty())
}

fn is_oid(text: &str) -> bool {
    let arc = |arc: &str| arc.bytes().all(|b| b.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'));
    text.strip_prefix("urn:oid:").is_some_and(|arcs| {
        let mut arcs = arcs.split('.');
        matches!(arcs.next(), Some("0" | "1" | "2")) && {
            let rest: Vec<&str> = arcs.collect();
            !rest.is_empty() && rest.iter().all(|part| !part.is_empty() && arc(part))
        }
    })
}

fn is_uuid(text: &str) -> bool {
    text.strip_prefix("urn:uuid:").is_some_and(|digits| {
        let groups: Vec<&str> = digits.split('-').collect();
        let hex = |group: &&str| group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
    })
}

/// Whole groups of four; white space between them is allowed, as the type's expression has it.
fn is_base64(text: &str) -> bool {
    let (mut count, mut padding) = (0_usize, 0_usize);
    for byte in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        match byte {
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {}
            _ => return false,
        }
        count += 1;
    }
    count > 0 && count.is_multiple_of(4) && padding <= 2
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    // The clock of a dateTime on any day, with a zone this type does not have.
    let has_zone = bytes.iter().any(|b| matches!(b, b'Z' | b'+' | b'-'));
    !has_zone && FhirDateTime::parse(&format!("2000-01-01T{text}Z")).is_ok()
}

fn date(text: &str, allowed: &[Precision]) -> Option<Fault> {
    match FhirDateTime::read(text, None) {
        Ok(read) if allowed.contains(&read.precision) => None,
        Ok(read) if read.precision >= Precision::Minute && !allowed.contains(&Precision::Second) => {
            Some(("a date has no time", "write YYYY, YYYY-MM or YYYY-MM-DD"))
        }
        Ok(_) | Err(DateError::Form) if !allowed.contains(&Precision::Day) => {
            Some(("not an instant", "write YYYY-MM-DDThh:mm:ss with Z or an offset"))
        }
        Ok(_) | Err(DateError::Form) => {
            Some(("not a date", "write YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz"))
        }
        Err(DateError::Day) => Some(("no such day in the calendar", "correct the date")),
        Err(DateError::Time) => Some(("no such time of day or time zone", "correct the time")),
        Err(DateError::Zone) => Some(("a time needs a time zone", "add Z or an offset such as +01:00")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_text() {
        assert!(is_code("a b") && is_code("<=") && !is_code(" a") && !is_code("a  b") && !is_code("a "));
        assert!(
            is_oid("urn:oid:2.16.840.1")
                && !is_oid("urn:oid:3.1")
                && !is_oid("urn:oid:1")
                && !is_oid("urn:oid:1.02")
        );
        assert!(!is_oid("urn:oid:1..2") && !is_oid("1.2.3"));
        assert!(is_uuid("urn:uuid:c757873d-ec9a-4326-a141-556f43239520"));
        assert!(!is_uuid("urn:uuid:C757873D-ec9a-4326-a141-556f43239520") && !is_uuid("urn:uuid:c757873d"));
        assert!(
            is_base64("AAAA") && is_base64("AA==\nAAA=".get(..4).unwrap_or_default()) && is_base64("AA\nA=")
        );
        assert!(
            !is_base64("AAA")
                && !is_base64("A===")
                && !is_base64("=AAA")
                && !is_base64("AA=A")
                && !is_base64(" ")
        );
        assert!(is_time("23:59:59.5") && !is_time("24:00:00") && !is_time("10:00") && !is_time("10:00:00Z"));
        assert!(!is_time("10:00:00+01:00"));
    }

    #[test]
    fn forms_of_number_and_date() {
        assert!(number("integer", "-2147483648").is_none() && number("integer", "2147483648").is_some());
        assert!(number("unsignedInt", "0").is_none() && number("unsignedInt", "-1").is_some());
        assert!(number("positiveInt", "0").is_some() && number("integer", "1.0").is_some());
        assert!(number("integer", "1e2").is_some() && number("decimal", "1e2").is_none());
        let day = [Precision::Year, Precision::Month, Precision::Day];
        assert!(date("2021-02", &day).is_none() && date("2021-13-01", &day).is_some());
        assert!(date("2021-01-01T10:00:00Z", &day).is_some());
        let instant = [Precision::Second, Precision::Fraction];
        assert!(date("2021-01-01T10:00:00.1Z", &instant).is_none() && date("2021-01-01", &instant).is_some());
        assert!(date("2021-01-01T10:00:00", &instant).is_some());
    }
}
