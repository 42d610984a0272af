//! Bodies: what comes in, read within its limits; what goes out, in one piece or as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::header as name;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Frame, SizeHint};
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonErrorKind, Kind, Node};
use sluis_conformance::xml::{self, XmlErrorKind};

use super::limits::{Limits, duration};
use super::query::Pairs;
use super::request::{Document, Patch, Syntax};
use super::route::{self, BodyKind};
use super::{content_length, header};
use crate::response::refusal::{Reason, Refusal};

/// Why a streamed body broke off: the client sees the connection end, the log sees this.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Stream(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body {
    /// Nothing.
    pub fn empty() -> Body {
        Body(Inner::Full(None))
    }

    /// All in one piece; its length is known to the client.
    pub fn full(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body(Inner::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// A stream of unknown length, such as an export file.
    pub fn stream<B>(body: B) -> Body
    where
        B: hyper::body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Body(Inner::Stream(body.map_err(Into::into).boxed_unsync()))
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Stream(stream) => Pin::new(stream).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Stream(stream) => stream.size_hint(),
        }
    }
}

/// Judges what the headers say of the body, before any of it is read.
///
/// Errors: `TooLarge` by `Content-Length`; `MediaType` for a type or a coding that is not taken; `Malformed` for a body
/// where there is none. A compressed body is refused: nothing here can be made to unpack a bomb.
pub(super) fn check_headers(headers: &HeaderMap, kind: BodyKind, limits: &Limits) -> Result<(), Refusal> {
    let length = content_length(headers);
    if kind == BodyKind::None {
        if length.unwrap_or(0) > 0 || headers.contains_key(name::TRANSFER_ENCODING) {
            return Err(Refusal::new(Reason::Malformed, "A request of this method has no body here."));
        }
        return Ok(());
    }
    let max = bytes_max(kind, limits);
    if length.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    for coding in headers.get_all(name::CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(Refusal::new(Reason::MediaType, "A compressed body is not taken: send it plain."));
        }
    }
    let Some(text) = header::single(headers, &name::CONTENT_TYPE)? else {
        let may_be_absent = matches!(kind, BodyKind::SearchForm | BodyKind::Parameters);
        if may_be_absent && length.unwrap_or(0) == 0 {
            return Ok(());
        }
        return Err(Refusal::new(Reason::MediaType, "The request has no Content-Type."));
    };
    let (media, parameters) = header::media_type(text);
    let resource = || header::is_json(&media) || header::is_xml(&media);
    let form = || media == FORM;
    let taken = match kind {
        BodyKind::None | BodyKind::Document => true,
        BodyKind::Resource => resource(),
        BodyKind::Patch => resource() || media == route::JSON_PATCH,
        BodyKind::Parameters => resource() || form(),
        BodyKind::SearchForm | BodyKind::Form => form(),
    };
    if !taken {
        return Err(media_refusal(kind));
    }
    if kind == BodyKind::Document {
        return Ok(());
    }
    for (name, value) in &parameters {
        // FHIR R4 http.html#mime-type: FHIR is always UTF-8; http.html#version-parameter.
        let fits = match name.as_str() {
            "charset" => value.eq_ignore_ascii_case("utf-8"),
            "fhirversion" => header::is_r4(value),
            _ => true,
        };
        if !fits {
            let text = "FHIR 4.0 in UTF-8 is taken here; $ingest takes other versions.";
            return Err(Refusal::new(Reason::MediaType, text));
        }
    }
    Ok(())
}

const FORM: &str = "application/x-www-form-urlencoded";

fn media_refusal(kind: BodyKind) -> Refusal {
    let text = match kind {
        BodyKind::SearchForm | BodyKind::Form => "A form is needed: application/x-www-form-urlencoded.",
        BodyKind::Patch => "A patch is application/json-patch+json, or Parameters as application/fhir+json.",
        _ => "",
    };
    Refusal::new(Reason::MediaType, text)
}

fn bytes_max(kind: BodyKind, limits: &Limits) -> u64 {
    match kind {
        BodyKind::None => 0,
        BodyKind::SearchForm | BodyKind::Form => limits.form_bytes_max.min(limits.body_bytes_max),
        BodyKind::Resource | BodyKind::Patch | BodyKind::Parameters | BodyKind::Document => {
            limits.body_bytes_max
        }
    }
}

pub(super) fn too_large(max: u64) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("At most {max} bytes are taken."))
}

/// Reads a body to its end.
///
/// Errors: `TooLarge` as soon as the limit is passed, whatever `Content-Length` said; `SlowBody` when it takes longer
/// than `body_read_ms` as a whole; `Malformed` when the connection breaks off.
pub(super) async fn read<B>(body: B, kind: BodyKind, limits: &Limits) -> Result<Vec<u8>, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let max = bytes_max(kind, limits);
    match tokio::time::timeout(duration(limits.body_read_ms), read_all(body, max)).await {
        Ok(result) => result,
        Err(_) => {
            Err(Refusal::new(Reason::SlowBody, format!("It has {} ms to arrive.", limits.body_read_ms)))
        }
    }
}

async fn read_all<B>(mut body: B, max: u64) -> Result<Vec<u8>, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    // A promised length reserves at most this much: memory is taken by bytes that came, not by bytes announced.
    const RESERVED_BYTES_MAX: u64 = 256 * 1024;
    let mut bytes =
        Vec::with_capacity(super::limits::count(body.size_hint().lower().min(RESERVED_BYTES_MAX)));
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::new(Reason::Malformed, "The body broke off."));
        };
        // A frame that is no data is trailers; nothing here reads those.
        if let Ok(data) = frame.into_data() {
            if (bytes.len() + data.len()) as u64 > max {
                return Err(too_large(max));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// A JSON body as a tree.
///
/// Errors: `TooCostly` past the limits of depth and size, else `Malformed` with line and column.
pub(super) fn json(body: Vec<u8>, limits: &Limits) -> Result<Doc, Refusal> {
    Doc::parse(body, limits.json()).map_err(|error| {
        let reason = match error.kind {
            JsonErrorKind::TooDeep { .. } | JsonErrorKind::TooManyNodes { .. } => Reason::TooCostly,
            _ => Reason::Malformed,
        };
        Refusal::new(reason, error.to_string())
    })
}

/// A resource in either notation as a tree.
///
/// Errors: those of [`json`]; for XML `TooCostly` and `Malformed` in the same way, and `Invalid` where the markup is sound
/// and is not FHIR's, with line, column and element.
/// Source: FHIR R4 xml.html
pub(super) fn resource(headers: &HeaderMap, body: Vec<u8>, limits: &Limits) -> Result<Doc, Refusal> {
    if header::body_syntax(headers) == Syntax::Json {
        return json(body, limits);
    }
    xml::read(r4(), &body, limits.json()).map_err(|error| {
        let reason = match error.kind {
            XmlErrorKind::TooDeep { .. } | XmlErrorKind::TooManyNodes { .. } => Reason::TooCostly,
            ref kind if kind.is_content() => Reason::Invalid,
            _ => Reason::Malformed,
        };
        let refusal = Refusal::new(reason, error.to_string());
        if error.path.is_empty() { refusal } else { refusal.at(error.path) }
    })
}

/// A patch, by its media type (FHIR R4 http.html#patch).
///
/// Errors: those of [`resource`].
pub(super) fn patch(headers: &HeaderMap, body: Vec<u8>, limits: &Limits) -> Result<Patch, Refusal> {
    let media = header::single(headers, &name::CONTENT_TYPE)?.map(|text| header::media_type(text).0);
    Ok(match media.as_deref() {
        Some(route::JSON_PATCH) => Patch::Json(json(body, limits)?),
        _ => Patch::Path(resource(headers, body, limits)?),
    })
}

/// A form body as text; empty without one.
///
/// Errors: `Malformed` when it is not UTF-8.
pub(super) fn form<'b>(headers: &HeaderMap, body: &'b [u8]) -> Result<&'b str, Refusal> {
    if !body.is_empty() && !headers.contains_key(name::CONTENT_TYPE) {
        return Err(Refusal::new(Reason::MediaType, "The request has no Content-Type."));
    }
    std::str::from_utf8(body).map_err(|_| Refusal::new(Reason::Malformed, "The form is not UTF-8."))
}

/// Parameters of an operation: a form, or a Parameters resource whose parts are primitives.
///
/// Errors: `Malformed`; `ParameterUnknown` for a part that is not a primitive.
/// Source: FHIR R4 operations.html#request
pub(super) fn parameters(
    headers: &HeaderMap,
    body: Vec<u8>,
    limits: &Limits,
    pairs: &mut Pairs,
) -> Result<(), Refusal> {
    if body.is_empty() {
        return Ok(());
    }
    let media = header::single(headers, &name::CONTENT_TYPE)?.map(|text| header::media_type(text).0);
    if media.as_deref() == Some(FORM) {
        return pairs.add(form(headers, &body)?);
    }
    if media.is_none() {
        return Err(Refusal::new(Reason::MediaType, "The request has no Content-Type."));
    }
    let doc = resource(headers, body, limits)?;
    if doc.root().get("resourceType").and_then(|node| node.as_str()).as_deref() != Some("Parameters") {
        let text = "An operation takes a Parameters resource.";
        return Err(Refusal::new(Reason::Malformed, text).at("resourceType"));
    }
    for (at, part) in doc.root().get("parameter").into_iter().flat_map(|list| list.items()).enumerate() {
        let place = format!("Parameters.parameter[{at}]");
        let Some(name) = part.get("name").and_then(|node| node.as_str()) else {
            return Err(Refusal::new(Reason::Malformed, "A parameter has no name.").at(place));
        };
        let Some(value) =
            part.members().find(|(name, _)| name.starts_with("value")).and_then(|(_, v)| primitive(v))
        else {
            let text = "A parameter of this operation has one primitive value.";
            return Err(Refusal::new(Reason::ParameterUnknown, text).at(place));
        };
        pairs.push(name.into_owned(), value);
    }
    Ok(())
}

fn primitive(node: Node<'_>) -> Option<String> {
    match node.kind() {
        Kind::String => node.as_str().map(|text| text.into_owned()),
        Kind::Number | Kind::Bool => Some(node.raw().to_owned()),
        _ => None,
    }
}

/// A document in a local format, with its media type.
///
/// Errors: `Malformed` for an empty body.
pub(super) fn document(
    headers: &HeaderMap,
    body: Vec<u8>,
    idempotency_key: Option<Box<str>>,
) -> Result<Document, Refusal> {
    if body.is_empty() {
        return Err(Refusal::new(Reason::Malformed, "The document is empty."));
    }
    let text = header::single(headers, &name::CONTENT_TYPE)?.unwrap_or_default();
    let (media, parameters) = header::media_type(text);
    Ok(Document {
        media: media.into(),
        media_parameters: parameters.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
        bytes: body.into(),
        idempotency_key,
    })
}
