//! Header fields -> conditions, preferences and what formats are spoken.

use http::header::{self, HeaderMap, HeaderName};

use super::query;
use super::request::{Preconditions, ReturnPreference, Syntax};
use super::route::Produces;
use crate::clock::Timestamp;
use crate::response::refusal::{Reason, Refusal};

/// `X-Request-Id` (FHIR R4 http.html#custom).
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IF_NONE_EXIST: HeaderName = HeaderName::from_static("if-none-exist");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A field's text. `None`: absent.
///
/// Errors: `Malformed` when it stands more than once or is not printable ASCII, because two readers of such a request
/// may take it for two different ones.
pub(super) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let malformed = |text: String| Err(Refusal::new(Reason::Malformed, text));
    if values.next().is_some() {
        return malformed(format!("The header {name} stands more than once."));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text.trim())),
        Err(_) => malformed(format!("The header {name} is not plain text.")),
    }
}

/// The syntax an `Accept` asks for, of those the row produces: the highest quality, and `preferred` where JSON and XML are
/// equally welcome. No header means anything goes.
///
/// Errors: `NotAcceptable`. Source: RFC 9110 section 12.5.1, FHIR R4 http.html#mime-type
pub(super) fn accept(headers: &HeaderMap, produces: Produces, preferred: Syntax) -> Result<Syntax, Refusal> {
    if produces == Produces::Fixed {
        return Ok(Syntax::Json);
    }
    let mut wanted = Vec::new();
    for value in headers.get_all(header::ACCEPT) {
        let text =
            value.to_str().map_err(|_| Refusal::new(Reason::NotAcceptable, "Accept is not plain text."))?;
        wanted.extend(text.split(',').map(str::trim).filter(|range| !range.is_empty()));
    }
    if wanted.is_empty() {
        return Ok(if produces == Produces::Fhir { preferred } else { Syntax::Json });
    }
    choose(&wanted, produces, preferred).ok_or_else(|| Refusal::new(Reason::NotAcceptable, ""))
}

/// The syntax of a `_format` value: a short name or a media type. An unescaped `+` has arrived as a space.
///
/// Errors: `NotAcceptable`.
pub(super) fn format(value: &str, produces: Produces) -> Result<Syntax, Refusal> {
    let value = value.replace(' ', "+");
    match (value.as_str(), produces) {
        (_, Produces::Fixed) | ("json", Produces::Fhir) | ("ndjson", Produces::Ndjson) => Ok(Syntax::Json),
        ("xml", Produces::Fhir) => Ok(Syntax::Xml),
        (media, _) => choose(&[media], produces, Syntax::Json)
            .ok_or_else(|| Refusal::new(Reason::NotAcceptable, "").at("_format")),
    }
}

/// Media types of each syntax (FHIR R4 http.html#mime-type: the general ones mean FHIR's).
const JSON: &[&str] = &["application/fhir+json", "application/json", "text/json"];
const XML: &[&str] = &["application/fhir+xml", "application/xml", "text/xml"];
const NDJSON: &[&str] = &["application/fhir+ndjson", "application/ndjson", "application/x-ndjson"];

/// The syntax a request's body is in.
pub(super) fn body_syntax(headers: &HeaderMap) -> Syntax {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(media_type);
    if media.is_some_and(|(media, _)| is_xml(&media)) { Syntax::Xml } else { Syntax::Json }
}

pub(super) fn is_json(media: &str) -> bool {
    JSON.contains(&media)
}

pub(super) fn is_xml(media: &str) -> bool {
    XML.contains(&media)
}

fn choose(ranges: &[&str], produces: Produces, preferred: Syntax) -> Option<Syntax> {
    let (json, xml) = match produces {
        Produces::Fixed => return Some(Syntax::Json),
        Produces::Ndjson => (quality(ranges, NDJSON), 0.0),
        Produces::Fhir => (quality(ranges, JSON), quality(ranges, XML)),
    };
    if json <= 0.0 && xml <= 0.0 {
        return None;
    }
    if json == xml {
        return Some(preferred);
    }
    Some(if xml > json { Syntax::Xml } else { Syntax::Json })
}

/// How welcome the best of these media types is, 0 to 1: the most specific range decides (RFC 9110 section 12.5.1).
fn quality(ranges: &[&str], names: &[&str]) -> f32 {
    let judged = ranges.iter().filter_map(|range| {
        let (media, parameters) = media_type(range);
        let specificity = match media.as_str() {
            media if names.contains(&media) => 2,
            "application/*" | "text/*" => 1,
            "*/*" => 0,
            _ => return None,
        };
        if parameters.iter().any(|(name, value)| name == "fhirversion" && !is_r4(value)) {
            return None;
        }
        let given = parameters.iter().find(|(name, _)| name == "q");
        let given = given.and_then(|(_, value)| value.parse::<f32>().ok());
        Some((specificity, given.filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0)))
    });
    let best = judged.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    best.map_or(0.0, |(_, quality)| quality)
}

/// Whether a `fhirVersion` is one this gateway reads and answers with. R4B is: every resource served here is the same in
/// both, answers say 4.0, and what only R4B knows is refused as no R4 (FHIR R4 http.html#version-parameter;
/// hl7.org/fhir/r4b-explanation.html).
pub(crate) fn is_r4(version: &str) -> bool {
    matches!(version, "4.0" | "4.0.1" | "4.3" | "4.3.0")
}

/// Media type in lower case, and its parameters with lower-case names, without quotes.
pub(super) fn media_type(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let parameters = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    (media, parameters)
}

/// `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-None-Exist`.
///
/// Errors: `Malformed` for criteria that cannot be read; `PreconditionInvalid` for an entity tag not of the form `W/"3"`. A tag of that form whose inside is no
/// version of this gateway is version 0, which nothing has: `If-Match` fails on it, `If-None-Match` never matches.
/// Source: FHIR R4 http.html#concurrency, #cread, #ccreate
pub(super) fn preconditions(headers: &HeaderMap) -> Result<Preconditions, Refusal> {
    let invalid =
        |name: &str| Refusal::new(Reason::PreconditionInvalid, format!("{name} is not understood."));
    let if_match = match single(headers, &header::IF_MATCH)? {
        None => None,
        Some(tag) => Some(etag(tag).ok_or_else(|| invalid("If-Match"))?),
    };
    let if_none_match = match single(headers, &header::IF_NONE_MATCH)? {
        None => None,
        Some("*") => Some(None),
        Some(tag) => Some(Some(etag(tag).ok_or_else(|| invalid("If-None-Match"))?)),
    };
    // RFC 9110 section 13.1.3: ignored when it is no valid date, and when If-None-Match is there.
    let if_modified_since = match (if_none_match, single(headers, &header::IF_MODIFIED_SINCE)?) {
        (None, Some(text)) => http_date(text),
        _ => None,
    };
    let if_none_exist = match single(headers, &IF_NONE_EXIST)? {
        None => None,
        Some(text) => Some(query::criteria(text)?),
    };
    Ok(Preconditions { if_match, if_none_match, if_modified_since, if_none_exist })
}

/// Version of an entity tag `W/"3"` or `"3"`; `None` when the text is no entity tag, 0 when it names no version. A bare
/// `3` is taken too: clients that copy `meta.versionId` into the header send it (fhirpy does), and it can mean one thing.
pub fn etag(text: &str) -> Option<u32> {
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    let inside = match quoted.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => text,
        None => return None,
    };
    if inside.contains('"') {
        return None;
    }
    Some(inside.parse().ok().filter(|version: &u32| version.to_string() == inside).unwrap_or(0))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(zoned.timestamp().as_microsecond()))
}

/// What a `Prefer` asks for.
#[derive(Debug, Default)]
pub(super) struct Preferences {
    /// `return=`
    pub(super) prefer_return: ReturnPreference,
    /// `respond-async`
    pub(super) respond_async: bool,
    /// `handling=lenient`
    pub(super) lenient: bool,
}

/// `Prefer: return=`, `respond-async`, `handling=` (RFC 7240, FHIR R4 http.html#ops, search.html#errors). A preference not
/// known is no error; of one given twice the first counts (RFC 7240 section 2).
pub(super) fn preferences(headers: &HeaderMap) -> Preferences {
    let (mut answer, mut handling) = (None, None);
    let mut respond_async = false;
    for value in headers.get_all("prefer") {
        let Ok(text) = value.to_str() else { continue };
        for preference in text.split([',', ';']).map(str::trim) {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            match (name.trim_end(), value.trim_start().trim_matches('"')) {
                ("return", "minimal") => _ = answer.get_or_insert(ReturnPreference::Minimal),
                ("return", "representation") => _ = answer.get_or_insert(ReturnPreference::Representation),
                ("return", "OperationOutcome") => {
                    _ = answer.get_or_insert(ReturnPreference::OperationOutcome)
                }
                ("respond-async", _) => respond_async = true,
                ("handling", "lenient") => _ = handling.get_or_insert(true),
                ("handling", "strict") => _ = handling.get_or_insert(false),
                _ => {}
            }
        }
    }
    Preferences {
        prefer_return: answer.unwrap_or_default(),
        respond_async,
        lenient: handling.unwrap_or_default(),
    }
}

/// Bearer token, and whether an `Authorization` header was there that holds none.
///
/// Errors: `HeadersTooLarge` for a token over the limit.
/// Source: RFC 6750 section 2.1 (the header only: no token in a URL or form, where logs would keep it)
pub(super) fn bearer(headers: &HeaderMap, token_bytes_max: u64) -> Result<(Option<Box<str>>, bool), Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok((None, false)) };
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, token)| {
        let token = token.trim();
        // All of it, whatever is found: a loop without a way out is done many bytes at a time.
        let other = token.bytes().fold(false, |other, byte| other | !is_token_byte(byte));
        let form = !token.is_empty() && !other;
        (scheme.eq_ignore_ascii_case("bearer") && form).then_some(token)
    });
    match token {
        Some(_) if values.next().is_some() => Ok((None, true)),
        Some(token) if token.len() as u64 > token_bytes_max => Err(Refusal::new(
            Reason::HeadersTooLarge,
            format!("A token has at most {token_bytes_max} bytes."),
        )),
        Some(token) => Ok((Some(token.into()), false)),
        None => Ok((None, true)),
    }
}

/// A byte of a bearer token (RFC 6750 section 2.1, `b64token`).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// `Idempotency-Key`, 1 to 128 printable characters, as a structured string (`"8e03978e"`) or bare
/// (draft-ietf-httpapi-idempotency-key-header section 2.1).
///
/// Errors: `Malformed`.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<Box<str>>, Refusal> {
    let text = single(headers, &IDEMPOTENCY_KEY)?;
    let bare = |text| str::strip_prefix(text, '"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    match text.map(bare) {
        None => Ok(None),
        Some(key) if (1..=128).contains(&key.len()) => Ok(Some(key.into())),
        Some(_) => Err(Refusal::new(Reason::Malformed, "An Idempotency-Key has 1 to 128 characters.")),
    }
}

/// A caller's request id, if it is fit to stand in logs and headers.
pub(super) fn request_id(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    is_request_id(text).then(|| text.into())
}

/// Whether a request id is fit to stand in logs and headers: 1 to 64 of `A-Z a-z 0-9 . _ -`, and not what looks like a
/// BSN.
pub(super) fn is_request_id(text: &str) -> bool {
    let form = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    form && crate::telemetry::redact(text) == text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    #[test]
    fn accept_chooses_by_quality_or_is_refused() {
        let of = |text: &str| {
            accept(&headers(&[("accept", text)]), Produces::Fhir, Syntax::Json)
                .map_err(|refusal| refusal.reason)
        };
        for (text, syntax) in [
            ("*/*", Syntax::Json),
            ("application/*", Syntax::Json),
            ("application/fhir+json", Syntax::Json),
            ("application/json;q=0.5", Syntax::Json),
            ("image/png, */*;q=0.1", Syntax::Json),
            ("application/fhir+json; fhirVersion=4.0", Syntax::Json),
            ("application/fhir+json; fhirVersion=4.3", Syntax::Json),
            ("application/fhir+xml;q=0.9, application/fhir+json", Syntax::Json),
            ("", Syntax::Json),
            ("application/fhir+xml", Syntax::Xml),
            ("text/xml", Syntax::Xml),
            ("application/fhir+xml, application/fhir+json;q=0.1", Syntax::Xml),
            ("application/fhir+xml, */*;q=0.8", Syntax::Xml),
            ("application/fhir+json;q=0, */*", Syntax::Xml),
            (
                "application/fhir+json; fhirVersion=5.0, application/fhir+xml; fhirVersion=4.0;q=0.1",
                Syntax::Xml,
            ),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Syntax::Xml),
            ("application/fhir+xml;q=banana", Syntax::Xml),
        ] {
            assert_eq!(of(text), Ok(syntax), "{text}");
        }
        for text in [
            "image/png",
            "text/html",
            "application/fhir+json;q=0",
            "application/fhir+xml;q=0.0",
            "application/fhir+json; fhirVersion=5.0",
            "banana",
        ] {
            assert_eq!(of(text), Err(Reason::NotAcceptable), "{text}");
        }
        let any = |produces| accept(&headers(&[("accept", "image/png")]), produces, Syntax::Json);
        assert_eq!(any(Produces::Fixed), Ok(Syntax::Json));
        assert!(any(Produces::Ndjson).is_err());
        let xml = headers(&[("accept", "*/*"), ("content-type", "application/fhir+xml; charset=utf-8")]);
        assert_eq!(accept(&xml, Produces::Fhir, body_syntax(&xml)), Ok(Syntax::Xml));
        assert_eq!(accept(&xml, Produces::Ndjson, body_syntax(&xml)), Ok(Syntax::Json));
    }

    #[test]
    fn format_takes_short_names_and_media_types() {
        for (text, syntax) in [
            ("json", Syntax::Json),
            ("application/fhir json", Syntax::Json),
            ("xml", Syntax::Xml),
            ("text/xml", Syntax::Xml),
            ("application/xml", Syntax::Xml),
            ("application/fhir+xml", Syntax::Xml),
        ] {
            assert_eq!(format(text, Produces::Fhir).ok(), Some(syntax), "{text}");
        }
        for text in ["ttl", "html", "ndjson", "application/fhir+turtle", ""] {
            assert_eq!(format(text, Produces::Fhir).unwrap_err().reason, Reason::NotAcceptable, "{text}");
        }
    }

    #[test]
    fn entity_tag_is_read_or_refused() {
        let cases = [
            ("W/\"3\"", Some(3)),
            ("\"3\"", Some(3)),
            ("W/\"abc\"", Some(0)),
            ("W/\"03\"", Some(0)),
            ("3", Some(3)),
            ("03", Some(0)),
            ("W/3", None),
            ("banana", None),
            ("W/\"1\", W/\"2\"", None),
            ("", None),
            ("\"", None),
        ];
        for (text, version) in cases {
            assert_eq!(etag(text), version, "{text}");
        }
        let found = preconditions(&headers(&[("if-match", "banana")])).unwrap_err();
        assert_eq!(found.reason, Reason::PreconditionInvalid);
    }

    #[test]
    fn none_match_star_and_conditional_create_are_seen() {
        let found =
            preconditions(&headers(&[("if-none-match", "*"), ("if-none-exist", "identifier=x")])).unwrap();
        assert_eq!(found.if_none_match, Some(None));
        assert_eq!(*found.if_none_exist.unwrap().pairs, [("identifier".to_owned(), "x".to_owned())]);
    }

    #[test]
    fn modified_since_is_a_date_or_nothing() {
        let at = |text| preconditions(&headers(&[("if-modified-since", text)])).unwrap().if_modified_since;
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Timestamp(784_111_777_000_000)));
        assert_eq!(at("yesterday"), None);
    }

    #[test]
    fn only_one_bearer_token_is_a_bearer_token() {
        let read = |pairs: &[(&str, &str)]| bearer(&headers(pairs), 40).unwrap();
        assert_eq!(read(&[]), (None, false));
        assert_eq!(read(&[("authorization", "Bearer abc.def")]), (Some("abc.def".into()), false));
        assert_eq!(read(&[("authorization", "bearer abc")]), (Some("abc".into()), false));
        for other in ["Basic dTpw", "Bearer", "Bearer ", "Bearer a b", "abc"] {
            assert_eq!(read(&[("authorization", other)]), (None, true), "{other}");
        }
        let long = "x".repeat(41);
        let refusal = bearer(&headers(&[("authorization", &format!("Bearer {long}"))]), 40).unwrap_err();
        assert_eq!(refusal.reason, Reason::HeadersTooLarge);
        let mut twice = headers(&[("authorization", "Bearer a")]);
        twice.append("authorization", HeaderValue::from_static("Bearer b"));
        assert_eq!(bearer(&twice, 40).unwrap(), (None, true));
    }

    #[test]
    fn request_id_of_another_form_is_not_taken_over() {
        assert_eq!(request_id(&headers(&[("x-request-id", "a.B-3_")])), Some("a.B-3_".into()));
        for bad in ["", "a b", "<x>", &"x".repeat(65), "999911120"] {
            assert_eq!(request_id(&headers(&[("x-request-id", bad)])), None, "{bad}");
        }
    }
}
