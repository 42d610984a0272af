//! Bytes -> Request: TLS, limits, one route table.
//!
//! `serve` accepts connections and hands each request on; [`Head::read`] judges path and headers, the caller may refuse
//! there (a token that does not hold is refused before 64 MiB are read for it), [`Head::receive`] reads the body and
//! makes the [`Request`]. It knows no permission and opens no store.

pub mod limits;

mod accept;

pub mod tls;

pub mod serve;

pub mod mllp;

pub mod route;

pub(crate) mod header;

mod query;

pub mod body;

pub mod request;

pub mod capability;

use std::net::SocketAddr;
use std::sync::Arc;

use http::header as name;
use http::{HeaderMap, Method, request::Parts};

use crate::clock::{Clock, Timestamp};
use crate::response::refusal::{Reason, Refusal};
use limits::{Limits, count};
use query::Pairs;
use request::{Credentials, Format, Interaction, Origin, PeerCertificate, Request, Shape, Syntax};
use route::{Access, BodyKind, Captures, Produces, Route};

pub use header::REQUEST_ID;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Its client certificate, verified by TLS. No header can stand in for it.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// The request id an answer bears: the caller's, when it has the form of one, or a fresh one.
///
/// Settled once for each request, so that answer, record and log have the same. `serve` puts it into the request's headers,
/// where the service finds it: a fresh one is therefore held to the same form, for digits of a UUID in a row can look like a
/// BSN.
pub fn request_id(headers: &HeaderMap, clock: &dyn Clock) -> Box<str> {
    header::request_id(headers).unwrap_or_else(|| {
        loop {
            let drawn = clock.uuid().hyphenated().to_string();
            if header::is_request_id(&drawn) {
                return drawn.into();
            }
        }
    })
}

/// A request whose path and headers are judged and whose body is not read yet.
#[derive(Debug)]
pub struct Head {
    /// Request id.
    pub id: Box<str>,
    /// Row of the table.
    pub route: &'static Route,
    /// What the caller shows.
    pub credentials: Credentials,
    /// From where.
    pub origin: Origin,
    /// When.
    pub received: Timestamp,
    captures: Captures,
    pairs: Pairs,
    format: Format,
    shape: Shape,
    /// What `Accept` could not have; `_format` in a form overrides it.
    unacceptable: Option<Box<Refusal>>,
    headers: HeaderMap,
}

impl Head {
    /// Judges path, query and headers of the request of that [id](request_id).
    ///
    /// Errors: any of the table's 400, 404, 405, 406, 413, 414, 415, 431, 501; nothing of the body was read.
    pub fn read(
        parts: Parts,
        id: Box<str>,
        peer: &Peer,
        limits: &Limits,
        clock: &dyn Clock,
    ) -> Result<Head, Refusal> {
        let uri_bytes = parts.uri.path_and_query().map_or(0, |text| text.as_str().len()) as u64;
        if uri_bytes > limits.uri_bytes_max {
            let text = format!("{uri_bytes} bytes; at most {} are taken.", limits.uri_bytes_max);
            return Err(Refusal::new(Reason::UriTooLong, text));
        }
        let header_bytes: usize = parts.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
        if header_bytes as u64 > limits.header_bytes_max || parts.headers.len() as u64 > limits.headers_max {
            return Err(Refusal::new(Reason::HeadersTooLarge, ""));
        }
        let (route, captures) = route::find(&parts.method, parts.uri.path())?;
        let kind = route.kind;
        let address = peer.address.ip().to_canonical();
        if kind.access() == Access::Loopback && !address.is_loopback() {
            return Err(Refusal::new(Reason::UnknownPath, ""));
        }
        let mut pairs = Pairs::default();
        pairs.add(parts.uri.query().unwrap_or_default())?;
        if pairs.len() as u64 > limits.search_parameters_max {
            return Err(too_many(limits.search_parameters_max));
        }
        let (named, mut format) = pairs.take_general(kind.produces())?;
        let mut unacceptable = None;
        if named.is_none() {
            // A document is in its sender's notation, which says nothing of the answer's.
            let preferred = match kind.body() {
                BodyKind::Document => Syntax::Json,
                _ => header::body_syntax(&parts.headers),
            };
            let has_form = matches!(kind.body(), BodyKind::SearchForm | BodyKind::Parameters);
            match header::accept(&parts.headers, kind.produces(), preferred) {
                Ok(syntax) => format.syntax = syntax,
                Err(refusal) if has_form => unacceptable = Some(Box::new(refusal)),
                Err(refusal) => return Err(refusal),
            }
        }
        let shape = if kind.is_shaped() { pairs.take_shape()? } else { Shape::Whole };
        if !kind.takes_query() {
            pairs.refuse_any()?;
        }
        body::check_headers(&parts.headers, kind.body(), limits)?;
        let (bearer, other_scheme) = header::bearer(&parts.headers, limits.token_bytes_max)?;
        Ok(Head {
            id,
            route,
            credentials: Credentials { bearer, other_scheme, certificate: peer.certificate.clone() },
            origin: Origin { address },
            received: clock.now(),
            captures,
            pairs,
            format,
            shape,
            unacceptable,
            headers: parts.headers,
        })
    }

    /// How the answer shall look, as far as path and headers say.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether a token is needed to go on.
    pub fn needs_token(&self) -> bool {
        self.route.kind.access() == Access::Token
    }

    /// Reads the body within its limits of bytes and time, and makes the request.
    ///
    /// Errors: 400, 408, 413, 415 and 422 of the table. Dropping the body closes what the client still sends.
    pub async fn receive<B>(self, body: B, limits: &Limits) -> Result<Request, Refusal>
    where
        B: hyper::body::Body<Data = bytes::Bytes> + Unpin,
    {
        let bytes = match self.route.kind.body() {
            BodyKind::None => Vec::new(),
            // Boxed, so that a request without a body does not carry the state of reading one.
            kind => Box::pin(body::read(body, kind, limits)).await?,
        };
        self.finish(bytes, limits)
    }

    /// Makes the request of a body that is already here.
    ///
    /// Errors: 400, 413, 415 and 422 of the table.
    pub fn finish(self, body: Vec<u8>, limits: &Limits) -> Result<Request, Refusal> {
        let Head {
            id,
            route,
            credentials,
            origin,
            received,
            captures,
            mut pairs,
            mut format,
            shape,
            mut unacceptable,
            headers,
        } = self;
        let preconditions = header::preconditions(&headers)?;
        let header::Preferences { prefer_return, respond_async, lenient } = header::preferences(&headers);
        let idempotency_key = header::idempotency_key(&headers)?;
        let interaction = match route.kind.body() {
            BodyKind::None => route::build(route.kind, captures, pairs.finish())?,
            BodyKind::Resource => {
                let doc = body::resource(&headers, body, limits)?;
                let interaction = route::build_resource(route.kind, captures, pairs.finish(), doc)?;
                check_entries(&interaction, limits)?;
                interaction
            }
            BodyKind::Patch => {
                let patch = body::patch(&headers, body, limits)?;
                route::build_patch(route.kind, captures, pairs.finish(), patch)?
            }
            BodyKind::SearchForm => {
                pairs.add(body::form(&headers, &body)?)?;
                general(&mut pairs, route.kind.produces(), &mut format, &mut unacceptable)?;
                if pairs.len() as u64 > limits.search_parameters_max {
                    return Err(too_many(limits.search_parameters_max));
                }
                route::build(route.kind, captures, pairs.finish())?
            }
            BodyKind::Parameters => {
                body::parameters(&headers, body, limits, &mut pairs)?;
                general(&mut pairs, route.kind.produces(), &mut format, &mut unacceptable)?;
                if pairs.len() as u64 > limits.search_parameters_max {
                    return Err(too_many(limits.search_parameters_max));
                }
                route::build(route.kind, captures, pairs.finish())?
            }
            BodyKind::Form => {
                let mut form = Pairs::default();
                form.add(body::form(&headers, &body)?)?;
                if form.len() > count(limits.form_pairs_max) {
                    return Err(too_many(limits.form_pairs_max));
                }
                Interaction::Token(form.into_pairs().into())
            }
            BodyKind::Document => {
                Interaction::Ingest(body::document(&headers, body, idempotency_key.clone())?)
            }
        };
        if let Some(refusal) = unacceptable {
            return Err(*refusal);
        }
        Ok(Request {
            id,
            interaction,
            preconditions,
            format,
            shape,
            prefer_return,
            respond_async,
            idempotency_key,
            lenient,
            credentials,
            origin,
            received,
        })
    }
}

/// Head and body of a request in one step, for callers that have both.
///
/// Errors: those of [`Head::read`] and [`Head::finish`].
pub fn parse(
    parts: Parts,
    body: Vec<u8>,
    peer: &Peer,
    limits: &Limits,
    clock: &dyn Clock,
) -> Result<Request, Refusal> {
    if body.len() as u64 > limits.body_bytes_max {
        return Err(body::too_large(limits.body_bytes_max));
    }
    let id = request_id(&parts.headers, clock);
    Head::read(parts, id, peer, limits, clock)?.finish(body, limits)
}

/// `_format` and `_pretty` of a form: there `_format` overrides `Accept` as in the URL (FHIR R4 http.html#mime-type).
fn general(
    pairs: &mut Pairs,
    produces: Produces,
    format: &mut Format,
    unacceptable: &mut Option<Box<Refusal>>,
) -> Result<(), Refusal> {
    let (named, in_form) = pairs.take_general(produces)?;
    format.pretty |= in_form.pretty;
    if let Some(syntax) = named {
        format.syntax = syntax;
        *unacceptable = None;
    }
    Ok(())
}

/// How a refusal shall look when the request itself cannot be read: what `_format` and `Accept` say, as far as they do.
pub(crate) fn wanted(parts: &Parts) -> Format {
    let query = parts.uri.query().unwrap_or_default();
    let says = |name: &name::HeaderName| {
        parts.headers.get(name).is_some_and(|v| v.as_bytes().windows(3).any(|w| w == b"xml"))
    };
    // Nearly every request leaves it at JSON: nothing is parsed twice for those.
    if !query.contains("_format") && !says(&name::ACCEPT) && !says(&name::CONTENT_TYPE) {
        return Format::default();
    }
    let mut pairs = Pairs::default();
    let named = pairs.add(query).and_then(|()| pairs.take_general(Produces::Fhir)).unwrap_or_default();
    let preferred = header::body_syntax(&parts.headers);
    let accepted = || header::accept(&parts.headers, Produces::Fhir, preferred).unwrap_or_default();
    Format { syntax: named.0.unwrap_or_else(accepted), ..named.1 }
}

/// Whether an answer to this method has a body (RFC 9110 section 9.3.2).
pub(crate) fn has_answer_body(method: &Method) -> bool {
    *method != Method::HEAD
}

fn too_many(max: u64) -> Refusal {
    Refusal::new(Reason::TooCostly, format!("At most {max} parameters are taken."))
}

/// Entries of a batch or transaction, counted before anything looks into them.
fn check_entries(interaction: &Interaction, limits: &Limits) -> Result<(), Refusal> {
    let Interaction::Bundle(doc) = interaction else { return Ok(()) };
    let entries = doc.root().get("entry").map_or(0, |node| node.len()) as u64;
    if entries > limits.bundle_entries_max {
        let text = format!("{entries} entries; at most {} are taken.", limits.bundle_entries_max);
        return Err(Refusal::new(Reason::TooCostly, text).at("Bundle.entry"));
    }
    Ok(())
}

/// `Content-Length`, when there is one that can be read.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(name::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
