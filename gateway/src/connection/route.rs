//! THE route table: method and path shape -> interaction. The answers 404, 405 and 501, the `Allow` header and the
//! CapabilityStatement are made from it, so that they cannot disagree.
//!
//! A path is looked at here and nowhere else. What a query means is for `search`; what a body holds beyond its type and
//! id is for `interaction`.

mod path;
mod table;

use std::sync::Arc;

use base64::Engine as _;
use http::{HeaderValue, Method, header};
use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::query;
use super::request::{self, Interaction, Parameters};
use crate::clock::Timestamp;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};

pub use super::header::etag;
pub(crate) use super::query::criteria;
pub use path::Captures;
pub use table::{BASE, EXCEPTIONS, Exception, TABLE, offer};

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    /// Method. A row for `GET` also answers `HEAD`.
    pub method: Method,
    /// Path, segment by segment.
    pub shape: &'static [Segment],
    /// What a request of this row asks.
    pub kind: Kind,
    /// Whether it is offered.
    pub offer: Offer,
}

/// One segment of a path shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// This very text.
    Text(&'static str),
    /// Name of a resource type.
    Type,
    /// Logical id.
    Id,
    /// Version id.
    Version,
    /// Name of an export file.
    File,
}

/// Whether a row is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Yes.
    Yes,
    /// A place of FHIR that is not part of this version: 501.
    Later,
    /// Deliberately not, with the reason: 405.
    Never(&'static str),
}

/// What a row asks: [`Interaction`] without its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the Interaction of the same name")]
pub enum Kind {
    Capabilities,
    SmartConfiguration,
    Token,
    Jwks,
    Live,
    Ready,
    Metrics,
    Read,
    Vread,
    History,
    HistoryType,
    HistorySystem,
    Create,
    Update,
    UpdateWhere,
    Patch,
    PatchWhere,
    Delete,
    DeleteWhere,
    Search,
    SearchByForm,
    SearchSystem,
    SearchSystemByForm,
    SearchCompartment,
    Everything,
    EverythingByBody,
    LastN,
    LastNByBody,
    Match,
    Transform,
    Versions,
    Outcome,
    Validate,
    Meta,
    MetaOf,
    MetaAdd,
    MetaDelete,
    Bundle,
    Ingest,
    Quarantine,
    Replay,
    Discard,
    Unmapped,
    UnmappedFile,
    Shadow,
    Trace,
    ExportStart,
    ExportStatus,
    ExportFile,
    ExportCancel,
    AsyncStatus,
    AsyncFile,
    AsyncCancel,
    /// A row that is not offered; its name as FHIR has it.
    Absent(&'static str),
}

/// What a caller must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// An access token.
    Token,
    /// Nothing, but only from the machine itself.
    Loopback,
}

/// What body a row takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// None.
    None,
    /// A resource, as FHIR JSON or XML.
    Resource,
    /// A JSON Patch, or a Parameters resource that says what to change.
    Patch,
    /// A Parameters resource, a form, or nothing.
    Parameters,
    /// A form, or nothing.
    SearchForm,
    /// A form.
    Form,
    /// Bytes of any media type.
    Document,
}

/// What a row produces, for negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Produces {
    /// FHIR JSON or XML.
    Fhir,
    /// `application/fhir+ndjson`.
    Ndjson,
    /// One format whatever `Accept` says (SMART App Launch conformance.html: `application/json` regardless of Accept).
    Fixed,
}

impl Kind {
    /// What a caller must show.
    pub fn access(self) -> Access {
        use Kind::*;
        match self {
            Capabilities | Versions | SmartConfiguration | Token | Jwks | Live | Ready => Access::Open,
            Metrics => Access::Loopback,
            _ => Access::Token,
        }
    }

    /// What body it takes.
    pub fn body(self) -> BodyKind {
        use Kind::*;
        match self {
            Create | Update | UpdateWhere | Bundle | Match | Transform | Validate | MetaAdd | MetaDelete => {
                BodyKind::Resource
            }
            Patch | PatchWhere => BodyKind::Patch,
            SearchByForm | SearchSystemByForm => BodyKind::SearchForm,
            Token => BodyKind::Form,
            Ingest => BodyKind::Document,
            Replay | Discard | ExportStart | EverythingByBody | LastNByBody => BodyKind::Parameters,
            _ => BodyKind::None,
        }
    }

    /// Whether a query string means something to it, beyond `_format` and `_pretty`.
    pub fn takes_query(self) -> bool {
        use Kind::*;
        matches!(
            self,
            History
                | HistoryType
                | HistorySystem
                | Search
                | SearchByForm
                | SearchSystem
                | SearchSystemByForm
                | SearchCompartment
                | Everything
                | EverythingByBody
                | LastN
                | LastNByBody
                | Validate
                | Outcome
                | UpdateWhere
                | PatchWhere
                | DeleteWhere
                | Quarantine
                | Replay
                | Discard
                | Unmapped
                | Shadow
                | ExportStart
        )
    }

    /// Whether `_summary` and `_elements` of its address say how much of its one resource is wanted.
    pub fn is_shaped(self) -> bool {
        matches!(self, Kind::Read | Kind::Vread)
    }

    /// What it answers with.
    pub fn produces(self) -> Produces {
        use Kind::*;
        match self {
            SmartConfiguration | Token | Jwks | Live | Ready | Metrics | ExportStatus | UnmappedFile
            | AsyncStatus => Produces::Fixed,
            ExportFile => Produces::Ndjson,
            _ => Produces::Fhir,
        }
    }
}

/// The row of a method and path, with what the path says.
///
/// Errors: `Malformed` (the path cannot be read), `UnknownPath`, `UnknownType`, `MethodNotAllowed` with its `Allow`
/// header, `NotImplemented`.
/// Source: FHIR R4 http.html#summary
pub fn find(method: &Method, path: &str) -> Result<(&'static Route, Captures), Refusal> {
    let segments = path::segments(path)?;
    let mut allowed: Vec<&Method> = Vec::new();
    let mut never = None;
    let mut known = false;
    for route in TABLE {
        let Some(captures) = path::matches(route.shape, &segments)? else { continue };
        known = true;
        let offer = match captures.kind {
            Some(kind) => offer(route, kind),
            None => route.offer,
        };
        if serves(route, method) {
            match offer {
                Offer::Yes => return Ok((route, captures)),
                Offer::Later => return Err(Refusal::new(Reason::NotImplemented, absent(route))),
                Offer::Never(why) => never = never.or(Some(why)),
            }
        } else if offer == Offer::Yes && !allowed.contains(&&route.method) {
            allowed.push(&route.method);
        }
    }
    if !known {
        return Err(Refusal::new(Reason::UnknownPath, ""));
    }
    let refusal = Refusal::new(Reason::MethodNotAllowed, never.unwrap_or_default());
    Err(refusal.with_header(header::ALLOW, allow(&allowed)))
}

fn serves(route: &Route, method: &Method) -> bool {
    route.method == *method || (route.method == Method::GET && *method == Method::HEAD)
}

fn absent(route: &Route) -> String {
    match route.kind {
        Kind::Absent(name) => format!("This is {name}."),
        _ => String::new(),
    }
}

/// `Allow` of an answer 405 (RFC 9110 section 15.5.6). An empty one says that nothing is offered here.
fn allow(methods: &[&Method]) -> HeaderValue {
    let mut names: Vec<&str> = Vec::new();
    for method in methods {
        names.push(method.as_str());
        if **method == Method::GET {
            names.push("HEAD");
        }
    }
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What one entry of a batch or transaction asks: `request.method`, `request.url` and its resource.
///
/// A URL is relative to the base: `Patient/1`, `Observation?code=x`. Only the interactions FHIR has for resources may
/// stand in an entry; a batch within a batch is refused.
/// Errors: as [`find`]; `Malformed` for a URL or resource that does not fit; `BusinessRule` for anything else the table
/// offers outside a Bundle.
/// Source: FHIR R4 http.html#transaction
pub fn entry(method: &str, url: &str, resource: Option<Doc>) -> Result<Interaction, Refusal> {
    let malformed = |text: &str| Refusal::new(Reason::Malformed, text);
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| malformed("The method is none of HTTP's."))?;
    if url.contains("://") || url.starts_with('/') {
        return Err(malformed("request.url is relative to the base, such as Patient/1."));
    }
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let (route, captures) = find(&method, &format!("{BASE}/{path}"))?;
    let mut parameters = query::Pairs::default();
    parameters.add(query)?;
    parameters.take_general(Produces::Fhir)?;
    if route.kind.is_shaped() {
        parameters.take_shape()?;
    }
    if !route.kind.takes_query() {
        parameters.refuse_any()?;
    }
    use Kind::*;
    match route.kind {
        Create | Update | UpdateWhere => {
            let resource = resource.ok_or_else(|| malformed("This entry needs a resource."))?;
            build_resource(route.kind, captures, parameters.finish(), resource)
        }
        Patch | PatchWhere => {
            let resource = resource.ok_or_else(|| malformed("This entry needs a resource."))?;
            build_patch(route.kind, captures, parameters.finish(), entry_patch(resource)?)
        }
        Read | Vread | History | HistoryType | HistorySystem | Delete | DeleteWhere | Search
        | SearchSystem | SearchCompartment
            if resource.is_some() =>
        {
            Err(malformed("An entry of this method has no resource."))
        }
        Read | Vread | History | HistoryType | HistorySystem | Delete | DeleteWhere | Search
        | SearchSystem | SearchCompartment => build(route.kind, captures, parameters.finish()),
        _ => {
            Err(Refusal::new(Reason::BusinessRule, "Only interactions with resources may stand in an entry."))
        }
    }
}

/// How much of its one resource an entry's `request.url` wants.
///
/// Errors: `Malformed`, `ParameterInvalid`. Source: FHIR R4 search.html#summary
pub fn entry_shape(url: &str) -> Result<request::Shape, Refusal> {
    let mut parameters = query::Pairs::default();
    parameters.add(url.split_once('?').map_or("", |(_, query)| query))?;
    parameters.take_shape()
}

/// Conditions of an entry: `ifMatch`, `ifNoneMatch`, `ifModifiedSince` (an instant), `ifNoneExist`.
///
/// Errors: `PreconditionInvalid`, `Malformed`. Source: FHIR R4 bundle-definitions.html#Bundle.entry.request
pub fn entry_preconditions(texts: [Option<&str>; 4]) -> Result<request::Preconditions, Refusal> {
    let [if_match, if_none_match, modified, exist] = texts;
    let invalid =
        |name: &str| Refusal::new(Reason::PreconditionInvalid, format!("{name} is not understood."));
    let tag = |text: &str, name: &str| etag(text).ok_or_else(|| invalid(name));
    Ok(request::Preconditions {
        if_match: if_match.map(|text| tag(text, "ifMatch")).transpose()?,
        if_none_match: match if_none_match {
            None => None,
            Some("*") => Some(None),
            Some(text) => Some(Some(tag(text, "ifNoneMatch")?)),
        },
        if_modified_since: match modified {
            None => None,
            Some(text) => {
                let moment: Result<jiff::Timestamp, _> = text.parse();
                Some(Timestamp(moment.map_err(|_| invalid("ifModifiedSince"))?.as_microsecond()))
            }
        },
        if_none_exist: exist.map(query::criteria).transpose()?,
    })
}

/// Types that have a compartment (FHIR R4 compartmentdefinition.html).
pub const COMPARTMENTS: [&str; 5] = ["Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"];

/// The interaction of a row without a body.
///
/// Errors: `NotFound` for an id that no resource can have.
pub(super) fn build(kind: Kind, captures: Captures, parameters: Parameters) -> Result<Interaction, Refusal> {
    use Kind::*;
    needs_criteria(kind, &parameters)?;
    let interaction = match kind {
        Capabilities => Interaction::Capabilities,
        Versions => Interaction::Versions,
        Outcome => Interaction::Outcome(parameters),
        Meta => Interaction::Meta(captures.resource_type()?, captures.id()?),
        Everything | EverythingByBody => {
            let id = if captures.has_id() { Some(captures.id()?) } else { None };
            Interaction::Everything(id, parameters)
        }
        MetaOf => Interaction::MetaOf(captures.kind),
        LastN | LastNByBody => Interaction::LastN(parameters),
        SmartConfiguration => Interaction::SmartConfiguration,
        Jwks => Interaction::Jwks,
        Live => Interaction::Health { ready: false },
        Ready => Interaction::Health { ready: true },
        Metrics => Interaction::Metrics,
        Read => Interaction::Read(captures.resource_type()?, captures.id()?),
        Vread => Interaction::Vread(captures.resource_type()?, captures.id()?, captures.version()),
        History => Interaction::History(captures.resource_type()?, captures.id()?, parameters),
        HistoryType => Interaction::HistoryType(captures.resource_type()?, parameters),
        HistorySystem => Interaction::HistorySystem(parameters),
        Delete => Interaction::Delete(captures.resource_type()?, captures.id()?),
        DeleteWhere => Interaction::DeleteWhere(captures.resource_type()?, parameters),
        Search | SearchByForm => Interaction::Search(captures.resource_type()?, parameters),
        SearchSystem | SearchSystemByForm => Interaction::SearchSystem(parameters),
        SearchCompartment => {
            let owner = captures.resource_type()?;
            let name = definitions::r4().type_name(owner);
            if !COMPARTMENTS.contains(&name) {
                let text =
                    format!("{name} has no compartment; those that have are {}.", COMPARTMENTS.join(", "));
                return Err(Refusal::new(Reason::UnknownPath, text));
            }
            Interaction::SearchCompartment(owner, captures.id()?, captures.inner, parameters)
        }
        Quarantine => Interaction::Quarantine(parameters),
        Replay => Interaction::Replay(parameters),
        Discard => Interaction::Discard(parameters),
        Unmapped => Interaction::Unmapped(parameters),
        Shadow => Interaction::Shadow(parameters),
        UnmappedFile => Interaction::UnmappedFile(captures.file()?),
        Trace => Interaction::Trace(captures.resource_type()?, captures.id()?),
        ExportStart => Interaction::ExportStart(captures.id()?, parameters),
        ExportStatus => Interaction::ExportStatus(captures.id()?),
        ExportFile => Interaction::ExportFile(captures.id()?, captures.file()?),
        ExportCancel => Interaction::ExportCancel(captures.id()?),
        AsyncStatus => Interaction::AsyncStatus(captures.id()?),
        AsyncFile => Interaction::AsyncFile(captures.id()?, captures.file()?),
        AsyncCancel => Interaction::AsyncCancel(captures.id()?),
        Create | Update | UpdateWhere | Patch | PatchWhere | Bundle | Match | Transform | Validate
        | MetaAdd | MetaDelete | Token | Ingest | Absent(_) => {
            // These are built from their body, or refused by `find`; arriving here is a fault of this file.
            return Err(Refusal::new(Reason::Internal, "").because("a row with a body was built without it"));
        }
    };
    Ok(interaction)
}

/// The interaction of a row whose body is a resource: checks the type, and for an update the id.
///
/// Errors: `Malformed` when they do not agree with the path, `Invalid` for a Bundle of another type.
/// Source: FHIR R4 http.html#create, http.html#update ("if no id element is provided, or the id disagrees with the id in
/// the URL, the server SHALL respond with an HTTP 400 error code")
pub(super) fn build_resource(
    kind: Kind,
    captures: Captures,
    parameters: Parameters,
    doc: Doc,
) -> Result<Interaction, Refusal> {
    needs_criteria(kind, &parameters)?;
    let malformed = |text: String, at: &str| Err(Refusal::new(Reason::Malformed, text).at(at));
    let named = doc.root().get("resourceType").and_then(|node| node.as_str());
    let Some(named) = named else {
        return malformed("The body has no resourceType.".into(), "resourceType");
    };
    let expected = match captures.kind {
        _ if matches!(kind, Kind::Match | Kind::Transform | Kind::MetaAdd | Kind::MetaDelete) => "Parameters",
        // It may come as one of several parameters.
        Some(_) if kind == Kind::Validate && named == "Parameters" => "Parameters",
        Some(resource_type) => definitions::r4().type_name(resource_type),
        None => "Bundle",
    };
    if named != expected {
        return malformed(
            format!("The address takes a {expected}, the body is something else."),
            "resourceType",
        );
    }
    match kind {
        Kind::Match => Ok(Interaction::Match(Arc::new(doc))),
        Kind::Transform => Ok(Interaction::Transform(Arc::new(doc))),
        Kind::Validate => {
            let kind = captures.resource_type()?;
            let asked = validation(kind, &parameters, doc)?;
            let id = if captures.has_id() { Some(captures.id()?) } else { None };
            Ok(Interaction::Validate(kind, id, Arc::new(asked)))
        }
        Kind::MetaAdd | Kind::MetaDelete => {
            let adds = kind == Kind::MetaAdd;
            Ok(Interaction::MetaChange(captures.resource_type()?, captures.id()?, adds, Arc::new(doc)))
        }
        Kind::Create => Ok(Interaction::Create(captures.resource_type()?, Arc::new(doc))),
        Kind::UpdateWhere => {
            Ok(Interaction::UpdateWhere(captures.resource_type()?, parameters, Arc::new(doc)))
        }
        Kind::Update => {
            let Some(id) = captures.id_if_valid() else {
                return malformed("An id is 1 to 64 of A-Z a-z 0-9 - and . (not only points).".into(), "id");
            };
            match doc.root().get("id").and_then(|node| node.as_str()) {
                Some(text) if text == id.as_str() => {}
                Some(_) => return malformed("The id of the body is not the id of the address.".into(), "id"),
                None => return malformed("The body has no id; it must be that of the address.".into(), "id"),
            }
            Ok(Interaction::Update(captures.resource_type()?, id, Arc::new(doc)))
        }
        _ => {
            let bundle_type = doc.root().get("type").and_then(|node| node.as_str());
            if !matches!(bundle_type.as_deref(), Some("batch" | "transaction")) {
                let text = "The base takes a Bundle of type batch or transaction.";
                return Err(Refusal::new(Reason::Invalid, text).at("Bundle.type"));
            }
            Ok(Interaction::Bundle(Arc::new(doc)))
        }
    }
}

/// What `$validate` is asked: by the resource itself with `mode` and `profile` in the address, or by Parameters.
///
/// Errors: `ParameterUnknown`; `ParameterInvalid` for one that stands twice; `Malformed` for a resource of another type.
fn validation(kind: ResourceType, parameters: &Parameters, doc: Doc) -> Result<request::Validation, Refusal> {
    let mut asked = request::Validation::default();
    let unknown = |name: &str| {
        let shown: String = name.chars().take(64).collect();
        Refusal::new(Reason::ParameterUnknown, "It takes resource, mode and profile.").at(shown)
    };
    let put = |slot: &mut Option<Box<str>>, name: &str, value: &str| match slot.replace(value.into()) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(Reason::ParameterInvalid, "It stands once.").at(name)),
    };
    for (name, value) in &*parameters.pairs {
        match name.as_str() {
            "mode" => put(&mut asked.mode, name, value)?,
            "profile" => put(&mut asked.profile, name, value)?,
            other => return Err(unknown(other)),
        }
    }
    let text = |node: Option<Node<'_>>| node.and_then(Node::as_str).unwrap_or_default().into_owned();
    if text(doc.root().get("resourceType")) != "Parameters" {
        asked.resource = Some(Arc::new(doc));
        return Ok(asked);
    }
    for part in doc.root().get("parameter").into_iter().flat_map(Node::items) {
        let name = text(part.get("name"));
        let value =
            || text(part.members().find(|(name, _)| name.starts_with("value")).map(|(_, value)| value));
        match name.as_str() {
            "mode" => put(&mut asked.mode, &name, &value())?,
            "profile" => put(&mut asked.profile, &name, &value())?,
            "resource" => {
                let node = part.get("resource");
                if node.is_none()
                    || text(node.and_then(|n| n.get("resourceType"))) != definitions::r4().type_name(kind)
                {
                    let text = "The resource is not of the type of the address.";
                    return Err(Refusal::new(Reason::Malformed, text).at("resource"));
                }
                let bytes = node.map(|node| node.raw().as_bytes().to_vec()).unwrap_or_default();
                let parsed = Doc::parse(bytes, JsonLimits::default());
                let parsed = parsed
                    .map_err(|error| Refusal::new(Reason::Malformed, error.to_string()).at("resource"))?;
                if asked.resource.replace(Arc::new(parsed)).is_some() {
                    return Err(Refusal::new(Reason::ParameterInvalid, "It stands once.").at(name));
                }
            }
            other => return Err(unknown(other)),
        }
    }
    Ok(asked)
}

/// The interaction of a row whose body is a patch.
pub(super) fn build_patch(
    kind: Kind,
    captures: Captures,
    parameters: Parameters,
    patch: request::Patch,
) -> Result<Interaction, Refusal> {
    needs_criteria(kind, &parameters)?;
    let patch = Arc::new(patch);
    match kind {
        Kind::PatchWhere => Ok(Interaction::PatchWhere(captures.resource_type()?, parameters, patch)),
        _ => Ok(Interaction::Patch(captures.resource_type()?, captures.id()?, patch)),
    }
}

/// A change of a type without an id says by criteria which one is meant.
fn needs_criteria(kind: Kind, parameters: &Parameters) -> Result<(), Refusal> {
    if matches!(kind, Kind::UpdateWhere | Kind::PatchWhere | Kind::DeleteWhere) && parameters.pairs.is_empty()
    {
        let text = "Without an id, criteria say which resource is meant: [type]?identifier=...";
        return Err(Refusal::new(Reason::ParameterInvalid, text));
    }
    Ok(())
}

/// The patch an entry carries: a Parameters resource, or a JSON Patch inside a Binary, for a Bundle holds resources only.
///
/// Errors: `Malformed`. Source: FHIR R4 http.html#jsonpatch ("in batch/transaction ... a Binary resource")
fn entry_patch(resource: Doc) -> Result<request::Patch, Refusal> {
    let malformed = |text: String| Refusal::new(Reason::Malformed, text);
    let text = |name: &str| resource.root().get(name).and_then(|node| node.as_str()).unwrap_or_default();
    match &*text("resourceType") {
        "Parameters" => Ok(request::Patch::Path(resource)),
        "Binary" if text("contentType").split(';').next() == Some(JSON_PATCH) => {
            let plain: String = text("data").chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(plain)
                .map_err(|_| malformed("Binary.data is not base64.".to_owned()))?;
            let doc =
                Doc::parse(bytes, JsonLimits::default()).map_err(|error| malformed(error.to_string()))?;
            Ok(request::Patch::Json(doc))
        }
        _ => Err(malformed(format!("A patch is a Parameters resource, or a Binary of {JSON_PATCH}."))),
    }
}

/// Media type of RFC 6902.
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// Resource type of a name in a path.
///
/// Errors: `UnknownType`, with the right spelling when only the case is wrong.
fn resource_type(name: &str) -> Result<ResourceType, Refusal> {
    let r4 = definitions::r4();
    r4.resource_type(name).ok_or_else(|| {
        let meant = r4.resource_types().map(|t| r4.type_name(t)).find(|n| n.eq_ignore_ascii_case(name));
        let text = meant.map(|n| format!("The type is written {n}.")).unwrap_or_default();
        Refusal::new(Reason::UnknownType, text)
    })
}

fn id(text: &str) -> Result<ResourceId, Refusal> {
    ResourceId::parse(text).ok_or_else(Refusal::not_found)
}

#[cfg(test)]
mod tests;
