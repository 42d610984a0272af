//! Outcome or refusal -> HTTP response: status, headers, body. Knows no store and no rule.

pub mod refusal;

pub mod bundle;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use jiff::fmt::rfc2822::DateTimePrinter;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::xml;

use crate::clock::Timestamp;
use crate::connection::body::Body;
use crate::connection::request::{Format, Syntax};
use refusal::{Reason, Refusal};

/// A whole answer, before its bytes leave.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers besides `X-Request-Id` and `Content-Length`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body; empty for none.
    pub body: Bytes,
    /// `Last-Modified`, exact: entries of a Bundle tell it as an instant.
    pub modified: Option<Timestamp>,
}

/// Media type of FHIR XML (FHIR R4 http.html#mime-type).
pub const FHIR_XML: &str = "application/fhir+xml; charset=utf-8; fhirVersion=4.0";

/// Media type of FHIR JSON (FHIR R4 http.html#mime-type).
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8; fhirVersion=4.0";

impl Answer {
    /// An answer without body.
    pub fn empty(status: StatusCode) -> Answer {
        Answer { status, headers: Vec::new(), body: Bytes::new(), modified: None }
    }

    /// A FHIR JSON body.
    pub fn fhir(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::typed(status, HeaderValue::from_static(FHIR_JSON), body.into())
    }

    /// A plain JSON body.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::typed(status, HeaderValue::from_static("application/json"), body.into())
    }

    /// A text body.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
        Answer::typed(status, HeaderValue::from_static("text/plain; charset=utf-8"), body.into())
    }

    /// A body of any media type.
    pub fn typed(status: StatusCode, media: HeaderValue, body: Bytes) -> Answer {
        let headers = vec![(header::CONTENT_TYPE, media)];
        Answer { headers, body, ..Answer::empty(status) }
    }

    /// A header's text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.to_str().ok())
    }

    /// The answer in the format asked for: FHIR JSON becomes XML where that is wanted, anything else stays.
    ///
    /// What XML cannot carry (a control character in a text) is 406 to a safe request. A write has happened by now: its
    /// answer stays JSON and says so, as RFC 9110 section 15.5.7 allows, rather than hide what became of it.
    #[must_use]
    pub fn in_format(self, format: Format, is_safe: bool) -> Answer {
        let is_fhir = self.header(&header::CONTENT_TYPE) == Some(FHIR_JSON);
        if format.syntax == Syntax::Json || !is_fhir || self.body.is_empty() {
            return self;
        }
        match to_xml(&self.body, format.pretty) {
            Ok(body) => {
                let mut answer = Answer { body, ..self };
                for (name, value) in &mut answer.headers {
                    if *name == header::CONTENT_TYPE {
                        *value = HeaderValue::from_static(FHIR_XML);
                    }
                }
                answer
            }
            Err(cause) => {
                tracing::warn!(cause = %cause, "an answer cannot be written as XML");
                if !is_safe {
                    return self;
                }
                let text = "The content holds something XML cannot carry: ask for application/fhir+json.";
                let refused = Answer::refused(&Refusal::new(Reason::NotAcceptable, text));
                match to_xml(&refused.body, format.pretty) {
                    Ok(body) => Answer::typed(refused.status, HeaderValue::from_static(FHIR_XML), body),
                    Err(_) => refused,
                }
            }
        }
    }

    /// The HTTP response; to a `HEAD` without its body (RFC 9110 section 9.3.2).
    pub fn into_response(self, head: bool) -> Response<Body> {
        let length = self.body.len();
        let body = if head { Body::empty() } else { Body::full(self.body) };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        // Those below, and `Date` and `Content-Length`, besides its own: the map is made once, not grown twice.
        response.headers_mut().reserve(self.headers.len() + 6);
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        if head && length > 0 {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        // Nothing a browser shows is ever interpreted, framed or kept by a cache on the way.
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        if !response.headers().contains_key(header::CACHE_CONTROL) {
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        }
        response
    }

    /// Adds a header; a value that is no legal header value is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Answer {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// `ETag` and `Last-Modified` of a version (FHIR R4 http.html#versioning).
    #[must_use]
    pub fn versioned(mut self, version: u32, updated: Timestamp) -> Answer {
        self.modified = Some(updated);
        self.with(header::ETAG, &format!("W/\"{version}\"")).with(header::LAST_MODIFIED, &http_date(updated))
    }

    /// A refusal as its OperationOutcome, with the headers its status asks for.
    pub fn refused(refusal: &Refusal) -> Answer {
        let row = refusal.reason.row();
        let mut answer = Answer::fhir(row.status, refusal.to_outcome());
        answer.headers.extend(refusal.headers.iter().cloned());
        match refusal.reason {
            Reason::Busy | Reason::StoreUnavailable | Reason::Timeout | Reason::Throttled
                if answer.header(&header::RETRY_AFTER).is_none() =>
            {
                answer.with(header::RETRY_AFTER, "1")
            }
            _ => answer,
        }
    }
}

/// Stored or made bytes as XML. The limits are those of what can be stored and of a page of it, so nothing is refused here.
fn to_xml(body: &Bytes, pretty: bool) -> Result<Bytes, String> {
    let limits = JsonLimits { depth_max: 1_100, nodes_max: u32::MAX };
    let doc = Doc::parse(body.to_vec(), limits).map_err(|error| error.to_string())?;
    xml::write(r4(), doc.root(), pretty).map(Bytes::from).map_err(|error| error.to_string())
}

/// HTTP date of RFC 9110 section 5.6.7.
pub fn http_date(at: Timestamp) -> String {
    let timestamp = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp);
    // Only a year before 1 cannot be written, and no version is of one.
    printed.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_made_of_fhir_alone_and_what_it_cannot_carry_is_told() {
        let xml = Format { syntax: Syntax::Xml, pretty: false };
        let patient = |text: &str| {
            Answer::fhir(
                StatusCode::OK,
                format!(r#"{{"resourceType":"Patient","name":[{{"text":"{text}"}}]}}"#),
            )
        };
        let good = patient("x").versioned(3, Timestamp(0)).in_format(xml, true);
        assert_eq!(good.header(&header::CONTENT_TYPE), Some(FHIR_XML));
        assert!(good.body.ends_with(b"<name><text value=\"x\"/></name></Patient>"));
        assert_eq!(good.header(&header::ETAG), Some("W/\"3\""));
        let bad = patient("\\u0001").in_format(xml, true);
        assert_eq!(
            (bad.status, bad.header(&header::CONTENT_TYPE)),
            (StatusCode::NOT_ACCEPTABLE, Some(FHIR_XML))
        );
        assert_eq!(patient("\\u0001").in_format(xml, false).header(&header::CONTENT_TYPE), Some(FHIR_JSON));
        assert_eq!(Answer::json(StatusCode::OK, "{}").in_format(xml, true).body, "{}");
        assert_eq!(patient("x").in_format(Format::default(), true).body, patient("x").body);
        for reason in Reason::ALL {
            let answer = Answer::refused(&Refusal::new(*reason, "x")).in_format(xml, true);
            assert_eq!(answer.header(&header::CONTENT_TYPE), Some(FHIR_XML), "{reason:?}");
        }
    }

    #[test]
    fn every_refusal_has_an_outcome_and_hidden_things_have_one_body() {
        for reason in Reason::ALL {
            let answer = Answer::refused(&Refusal::new(*reason, "x"));
            assert!(answer.status.is_client_error() || answer.status.is_server_error());
            assert!(answer.body.starts_with(b"{\"resourceType\":\"OperationOutcome\""));
        }
        assert_eq!(Answer::refused(&Refusal::not_found()).body, Answer::refused(&Refusal::not_found()).body);
    }

    #[test]
    fn http_dates_have_their_form() {
        assert_eq!(http_date(Timestamp(784_111_777_000_000)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
