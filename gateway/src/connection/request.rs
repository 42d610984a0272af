//! A request, parsed once. Decision, execution and audit use this value; nothing later looks at a path, query string
//! or header again.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use sluis_conformance::json::Doc;

use crate::clock::Timestamp;
use crate::ids::{ResourceId, ResourceType, Ura};
use crate::response::refusal::{Reason, Refusal};

/// Everything the gateway keeps of one HTTP request.
#[derive(Debug)]
pub struct Request {
    /// `X-Request-Id` of the caller (checked form), or one made here; goes into the answer and the audit record.
    pub id: Box<str>,
    /// What is asked.
    pub interaction: Interaction,
    /// Under which conditions.
    pub preconditions: Preconditions,
    /// How the answer shall look.
    pub format: Format,
    /// How much of a resource that is read shall be in it; of a search or history its parameters say that.
    pub shape: Shape,
    /// `Prefer: return=`.
    pub prefer_return: ReturnPreference,
    /// `Prefer: respond-async` was given.
    pub respond_async: bool,
    /// `Idempotency-Key`: a write with it is done once.
    pub idempotency_key: Option<Box<str>>,
    /// `Prefer: handling=lenient` was given: a search leaves out what it does not know, and says so.
    pub lenient: bool,
    /// Who says they ask.
    pub credentials: Credentials,
    /// From where, for the audit record.
    pub origin: Origin,
    /// When it arrived.
    pub received: Timestamp,
}

/// One FHIR interaction, operation or gateway service. A closed list: what is not here is 404 or 405.
#[derive(Debug, Clone)]
pub enum Interaction {
    /// `GET [base]/metadata`
    Capabilities,
    /// `GET [base]/.well-known/smart-configuration`
    SmartConfiguration,
    /// `POST [base]/oauth/token` with its form
    Token(Arc<[(String, String)]>),
    /// `GET [base]/oauth/jwks`
    Jwks,
    /// `GET /health/live` (`false`) and `/health/ready` (`true`)
    Health {
        /// Whether readiness (store, policy, maps) is asked, not mere life.
        ready: bool,
    },
    /// `GET /metrics` (loopback only)
    Metrics,
    /// `GET [type]/[id]`
    Read(ResourceType, ResourceId),
    /// `GET [type]/[id]/_history/[vid]`; a `vid` that is no number names no version
    Vread(ResourceType, ResourceId, Option<u32>),
    /// `GET [type]/[id]/_history`
    History(ResourceType, ResourceId, Parameters),
    /// `GET [type]/_history`
    HistoryType(ResourceType, Parameters),
    /// `GET [base]/_history`
    HistorySystem(Parameters),
    /// `POST [type]`
    Create(ResourceType, Arc<Doc>),
    /// `PUT [type]/[id]`
    Update(ResourceType, ResourceId, Arc<Doc>),
    /// `PUT [type]?…`
    UpdateWhere(ResourceType, Parameters, Arc<Doc>),
    /// `PATCH [type]/[id]`
    Patch(ResourceType, ResourceId, Arc<Patch>),
    /// `PATCH [type]?…`
    PatchWhere(ResourceType, Parameters, Arc<Patch>),
    /// `DELETE [type]/[id]`
    Delete(ResourceType, ResourceId),
    /// `DELETE [type]?…`
    DeleteWhere(ResourceType, Parameters),
    /// `GET [type]?…` and `POST [type]/_search`
    Search(ResourceType, Parameters),
    /// `GET [base]?…` and `POST [base]/_search`: several types, those of `_type` or all
    SearchSystem(Parameters),
    /// `GET [compartment]/[id]/[type]?…`, and `*` for every type of the compartment (`None`)
    SearchCompartment(ResourceType, ResourceId, Option<ResourceType>, Parameters),
    /// `GET|POST Patient/[id]/$everything`; without an id of all patients
    Everything(Option<ResourceId>, Parameters),
    /// `GET|POST Observation/$lastn`
    LastN(Parameters),
    /// `POST Patient/$match` with its Parameters
    Match(Arc<Doc>),
    /// `POST StructureMap/$transform` with its Parameters
    Transform(Arc<Doc>),
    /// `GET [base]/$versions`
    Versions,
    /// `GET [base]/$outcome?key=`: what became of the write with this key
    Outcome(Parameters),
    /// `POST [type]/$validate`, `POST [type]/[id]/$validate`
    Validate(ResourceType, Option<ResourceId>, Arc<Validation>),
    /// `GET [type]/[id]/$meta`
    Meta(ResourceType, ResourceId),
    /// `GET [type]/$meta`, `GET [base]/$meta`: of all there is
    MetaOf(Option<ResourceType>),
    /// `POST [type]/[id]/$meta-add` (`true`), `POST [type]/[id]/$meta-delete`, with its Parameters
    MetaChange(ResourceType, ResourceId, bool, Arc<Doc>),
    /// `POST [base]` with a Bundle of type batch or transaction
    Bundle(Arc<Doc>),
    /// `POST [base]/$ingest`: a document in a local format
    Ingest(Document),
    /// `GET [base]/$quarantine`: what waits for mending, grouped by cause, own organisation
    Quarantine(Parameters),
    /// `POST [base]/$replay`: applies waiting units again, by cause; `dryrun` prints only
    Replay(Parameters),
    /// `POST [base]/$discard`: sets waiting units aside with a reason, or takes them back
    Discard(Parameters),
    /// `GET [base]/$unmapped`: codes no table has a row for
    Unmapped(Parameters),
    /// `GET [base]/$unmapped/[map].[table].csv`: those of one table, to be filled in
    UnmappedFile(Box<str>),
    /// `GET [base]/$shadow`: what shadow mappings make otherwise
    Shadow(Parameters),
    /// `GET [type]/[id]/$trace`: where each value of an own resource comes from
    Trace(ResourceType, ResourceId),
    /// `GET|POST Group/[id]/$export`
    ExportStart(ResourceId, Parameters),
    /// `GET [base]/export/[job]`
    ExportStatus(ResourceId),
    /// `GET [base]/export/[job]/[file]`
    ExportFile(ResourceId, Box<str>),
    /// `DELETE [base]/export/[job]`
    ExportCancel(ResourceId),
    /// `GET [base]/async/[job]`
    AsyncStatus(ResourceId),
    /// `GET [base]/async/[job]/[file]`
    AsyncFile(ResourceId, Box<str>),
    /// `DELETE [base]/async/[job]`
    AsyncCancel(ResourceId),
}

impl Interaction {
    /// Its name in logs, metrics and documentation; FHIR's own where FHIR has one (FHIR R4
    /// valueset-type-restful-interaction.html).
    pub fn name(&self) -> &'static str {
        match self {
            Interaction::Capabilities => "capabilities",
            Interaction::SmartConfiguration => "smart-configuration",
            Interaction::Token(_) => "token",
            Interaction::Jwks => "jwks",
            Interaction::Health { ready: false } => "health-live",
            Interaction::Health { ready: true } => "health-ready",
            Interaction::Metrics => "metrics",
            Interaction::Read(..) => "read",
            Interaction::Vread(..) => "vread",
            Interaction::History(..) => "history-instance",
            Interaction::HistoryType(..) => "history-type",
            Interaction::HistorySystem(_) => "history-system",
            Interaction::Create(..) => "create",
            Interaction::Update(..) | Interaction::UpdateWhere(..) => "update",
            Interaction::Patch(..) | Interaction::PatchWhere(..) => "patch",
            Interaction::Delete(..) | Interaction::DeleteWhere(..) => "delete",
            Interaction::Search(..) => "search-type",
            Interaction::SearchSystem(_) => "search-system",
            Interaction::Everything(..) => "everything",
            Interaction::LastN(_) => "lastn",
            Interaction::Match(_) => "match",
            Interaction::Transform(_) => "transform",
            Interaction::Versions => "versions",
            Interaction::Outcome(_) => "outcome",
            Interaction::Validate(..) => "validate",
            Interaction::Meta(..) | Interaction::MetaOf(_) => "meta",
            Interaction::MetaChange(_, _, true, _) => "meta-add",
            Interaction::MetaChange(..) => "meta-delete",
            Interaction::SearchCompartment(..) => "search-compartment",
            Interaction::Bundle(_) => "batch-or-transaction",
            Interaction::Ingest(_) => "ingest",
            Interaction::Quarantine(_) => "quarantine",
            Interaction::Replay(_) => "replay",
            Interaction::Discard(_) => "discard",
            Interaction::Unmapped(_) => "unmapped",
            Interaction::UnmappedFile(_) => "unmapped-file",
            Interaction::Shadow(_) => "shadow",
            Interaction::Trace(..) => "trace",
            Interaction::ExportStart(..) => "export",
            Interaction::ExportStatus(_) => "export-status",
            Interaction::ExportFile(..) => "export-file",
            Interaction::ExportCancel(_) => "export-cancel",
            Interaction::AsyncStatus(_) => "async-status",
            Interaction::AsyncFile(..) => "async-file",
            Interaction::AsyncCancel(_) => "async-cancel",
        }
    }
}

/// What is to be validated (FHIR R4 resource-operation-validate.html).
#[derive(Debug, Clone, Default)]
pub struct Validation {
    /// The resource, of the type of the address.
    pub resource: Option<Arc<Doc>>,
    /// What would be done with it.
    pub mode: Option<Box<str>>,
    /// Canonical address of a profile.
    pub profile: Option<Box<str>>,
}

/// How a resource is to be changed in part (FHIR R4 http.html#patch).
#[derive(Debug, Clone)]
pub enum Patch {
    /// JSON Patch (RFC 6902): a list of operations.
    Json(Doc),
    /// FHIRPath Patch: a Parameters resource (FHIR R4 fhirpatch.html).
    Path(Doc),
}

/// Name and value pairs of a query string and form, in order, decoded; `raw` is kept for the audit record.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    /// Decoded pairs, in order of appearance (URL first, then form).
    pub pairs: Arc<[(String, String)]>,
    /// Undecoded query and form, joined by `&` (IHE BALP `entity.query`).
    pub raw: Arc<str>,
}

/// A document in a local format.
#[derive(Debug, Clone)]
pub struct Document {
    /// Media type without parameters, lower case, e.g. `x-application/hl7-v2+er7`, `text/csv`, `application/fhir+json`.
    pub media: Box<str>,
    /// `fhirVersion` parameter of a FHIR media type, `charset` else.
    pub media_parameters: Vec<(Box<str>, Box<str>)>,
    /// The bytes as received.
    pub bytes: Bytes,
    /// `Idempotency-Key`, when given.
    pub idempotency_key: Option<Box<str>>,
}

/// Conditions of FHIR R4 http.html#concurrency and #cread.
#[derive(Debug, Clone, Default)]
pub struct Preconditions {
    /// `If-Match: W/"3"`
    pub if_match: Option<u32>,
    /// `If-None-Match: W/"3"` (version) or `*` (`None` inside)
    pub if_none_match: Option<Option<u32>>,
    /// `If-Modified-Since`, on reads
    pub if_modified_since: Option<Timestamp>,
    /// `If-None-Exist`: criteria of a conditional create
    pub if_none_exist: Option<Parameters>,
}

/// How the answer shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    /// JSON or XML.
    pub syntax: Syntax,
    /// `_pretty=true`
    pub pretty: bool,
}

/// How much of each resource is wanted (FHIR R4 search.html#summary, #elements).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Shape {
    /// All of it.
    #[default]
    Whole,
    /// `_summary=true`: what the definitions mark as summary.
    Summary,
    /// `_summary=text`: the narrative, and what must be there.
    Text,
    /// `_summary=data`: all but the narrative.
    Data,
    /// `_summary=count`: no resource, the number alone.
    Count,
    /// `_elements`: these top-level elements, and what must be there.
    Elements(Vec<String>),
}

impl Shape {
    /// Takes `_summary` or `_elements` in; `false` when the parameter is another.
    ///
    /// Errors: `ParameterInvalid` for a value that is none, and for two wishes that contradict each other.
    pub fn read(&mut self, name: &str, value: &str) -> Result<bool, Refusal> {
        let invalid = |text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
        let wanted = match (name, value) {
            ("_summary", "true") => Shape::Summary,
            ("_summary", "text") => Shape::Text,
            ("_summary", "data") => Shape::Data,
            ("_summary", "count") => Shape::Count,
            ("_summary", "false") => return Ok(true),
            ("_summary", _) => return Err(invalid("It is true, text, data, count or false.")),
            ("_elements", list) => {
                let form = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
                let names: Vec<&str> = list.split(',').collect();
                if names.len() > ELEMENTS_MAX || !names.iter().all(form) {
                    return Err(invalid("It lists top-level elements, separated by commas."));
                }
                Shape::Elements(names.into_iter().map(str::to_owned).collect())
            }
            _ => return Ok(false),
        };
        if *self != Shape::Whole {
            return Err(invalid("One of _summary and _elements says how much is wanted, once."));
        }
        *self = wanted;
        Ok(true)
    }
}

impl Shape {
    /// How much of what is included is wanted: "the list of elements does not apply to included resources" (FHIR R4
    /// search.html#elements).
    pub fn of_included(&self) -> &Shape {
        match self {
            Shape::Elements(_) => &Shape::Whole,
            shape => shape,
        }
    }
}

/// Names in `_elements`; no type of R4 has as many elements.
const ELEMENTS_MAX: usize = 200;

/// The notations of FHIR R4 that are spoken here (http.html#mime-type). Resources are kept in JSON; XML is made of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    /// `application/fhir+json`
    #[default]
    Json,
    /// `application/fhir+xml`
    Xml,
}

/// `Prefer: return=…` (FHIR R4 http.html#ops).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReturnPreference {
    /// The whole resource: the default here.
    #[default]
    Representation,
    /// Headers only.
    Minimal,
    /// What was done, as an OperationOutcome.
    OperationOutcome,
}

/// What the caller shows.
#[derive(Default)]
pub struct Credentials {
    /// Bearer token, unverified.
    pub bearer: Option<Box<str>>,
    /// An `Authorization` header was there but is no bearer token.
    pub other_scheme: bool,
    /// Verified client certificate of this connection.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("bearer", &self.bearer.is_some())
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A client certificate that TLS has verified.
#[derive(Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of the DER, for sender-constrained tokens (RFC 8705 `x5t#S256`), base64url without padding.
    pub thumbprint: Box<str>,
    /// URA from the SAN otherName of a UZI server certificate, if it carries one.
    pub ura: Option<Ura>,
}

/// From where a request came.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Peer address.
    pub address: IpAddr,
}
