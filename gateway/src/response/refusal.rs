//! THE table of refusals: reason -> status, OperationOutcome code and what to do.
//!
//! The caller learns what to do next; the log learns the cause. "Not yours" and "not there" are one row, so they
//! cannot be told apart.

use http::StatusCode;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Row of the table.
    pub reason: Reason,
    /// What exactly is wrong, for the caller: no personal data, nothing the caller may not see.
    pub details: String,
    /// FHIRPath or parameter names concerned.
    pub expression: Vec<String>,
    /// More issues of the same answer (a validator finds several).
    pub issues: Vec<Issue>,
    /// What the log may know besides; never sent.
    pub cause: Option<String>,
    /// Headers the answer carries besides, such as `Allow` and `WWW-Authenticate`. A slice, not a list: every
    /// `Result` carries its room.
    pub headers: Box<[(http::HeaderName, http::HeaderValue)]>,
}

/// One further issue of an OperationOutcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// `fatal`, `error`, `warning` or `information`.
    pub severity: &'static str,
    /// FHIR issue-type code.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub diagnostics: String,
    /// Where.
    pub expression: Vec<String>,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// HTTP status.
    pub status: StatusCode,
    /// FHIR issue-type code (FHIR R4 valueset-issue-type.html).
    pub code: &'static str,
    /// What is wrong, in general.
    pub text: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $status:ident, $code:literal, $text:literal, $remedy:literal;)*) => {
        /// Rows of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every row, in order: for the documentation and the tests.
            pub const ALL: &[Reason] = &[$(Reason::$name,)*];

            /// The row.
            pub const fn row(self) -> Row {
                match self {
                    $(Reason::$name => Row {
                        status: StatusCode::$status, code: $code, text: $text, remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

reasons! {
    /// Not well-formed: JSON, HL7v2 framing, a query string.
    Malformed => BAD_REQUEST, "structure", "The request is not well-formed.", "Correct it at the place named and send it again.";
    /// A parameter that is not known or not offered.
    ParameterUnknown => BAD_REQUEST, "not-supported", "A search or operation parameter is not known here.", "Use a parameter of the CapabilityStatement ([base]/metadata).";
    /// A search parameter is known, its modifier is not offered for it. Never ignored, whatever `Prefer` says (FHIR R4
    /// search.html#modifiers: a server SHALL reject it).
    ModifierUnknown => BAD_REQUEST, "not-supported", "A modifier of a search parameter is not offered here.", "Use a modifier named here, or none.";
    /// A parameter is known, its value is not valid.
    ParameterInvalid => BAD_REQUEST, "invalid", "A parameter has an invalid value.", "Correct the value.";
    /// A value set or code system that a search names is not loaded, not whole, or not to be followed.
    TerminologyMissing => BAD_REQUEST, "not-supported", "What the search names of a terminology is not known here.", "Name one that is loaded or stored, or ask the operator to load it.";
    /// The resource breaks the structure of its type.
    Invalid => UNPROCESSABLE_ENTITY, "invalid", "The resource is not valid FHIR R4.", "Correct the elements named and send it again.";
    /// A rule of the domain or of the gateway is broken.
    BusinessRule => UNPROCESSABLE_ENTITY, "business-rule", "The content breaks a rule.", "Correct it as said and send it again.";
    /// A reference points to nothing the caller may see.
    ReferenceUnresolved => UNPROCESSABLE_ENTITY, "not-found", "A reference does not lead to a resource.", "Send the target first, or refer by identifier.";
    /// A document could not be read or mapped; it is kept for mending.
    Quarantined => UNPROCESSABLE_ENTITY, "processing", "The document was not applied; it is kept for mending and replay.", "Correct the source or have the mapping mended, then send it again or replay it.";
    /// No token, or one that does not hold.
    Unauthenticated => UNAUTHORIZED, "login", "A valid access token is needed.", "Get a token at the token endpoint of .well-known/smart-configuration.";
    /// The token ended.
    TokenExpired => UNAUTHORIZED, "expired", "The access token has expired.", "Get a new token.";
    /// Scope, role or purpose do not allow this kind of request, whatever the data.
    Forbidden => FORBIDDEN, "forbidden", "Scope, role or purpose of use do not allow this request.", "Ask for the scope, or ask the operator which role may do this.";
    /// Never stored, or not visible.
    NotFound => NOT_FOUND, "not-found", "Not found.", "Check type and id.";
    /// The path is none of this gateway's.
    UnknownPath => NOT_FOUND, "not-supported", "There is nothing at this address.", "See [base]/metadata for what there is.";
    /// The path names a type that is not an R4 resource.
    UnknownType => NOT_FOUND, "not-supported", "This is not a FHIR R4 resource type.", "Check the spelling of the type.";
    /// The path exists, the method does not.
    MethodNotAllowed => METHOD_NOT_ALLOWED, "not-supported", "This method is not offered here.", "See [base]/metadata for the interactions of this type.";
    /// Deleted, and the caller may know.
    Gone => GONE, "deleted", "The resource was deleted.", "Its history can still be read.";
    /// Files of a job that no longer hold: a consent changed.
    ExportStale => GONE, "expired", "These files were withdrawn because permissions changed.", "Ask anew.";
    /// `Accept` or `_format` asks for what is not offered.
    NotAcceptable => NOT_ACCEPTABLE, "not-supported", "This format is not offered.", "Ask for application/fhir+json or application/fhir+xml.";
    /// The body's media type is not offered.
    MediaType => UNSUPPORTED_MEDIA_TYPE, "not-supported", "This content type is not accepted here.", "Send application/fhir+json or application/fhir+xml (or, to $ingest, a format of its documentation).";
    /// `If-Match` names another version.
    VersionConflict => PRECONDITION_FAILED, "conflict", "The resource has changed since that version.", "Read it again and repeat the change on the current version.";
    /// Criteria of a conditional request match more than one resource.
    SeveralMatch => PRECONDITION_FAILED, "multiple-matches", "The criteria match more than one resource.", "Add criteria until one is meant, or use its id.";
    /// A patch operation does not apply to the resource, or its test does not hold.
    PatchFailed => UNPROCESSABLE_ENTITY, "processing", "The patch does not fit the resource; nothing was changed.", "Read the resource again and correct the operation named.";
    /// A precondition header that cannot be evaluated.
    PreconditionInvalid => BAD_REQUEST, "invalid", "A precondition header is not understood.", "Send an ETag of the form W/\"3\".";
    /// The same thing in another state, or twice in one transaction.
    Conflict => CONFLICT, "conflict", "The request conflicts with the present state.", "Resolve the conflict named and send it again.";
    /// The body is over the limit.
    TooLarge => PAYLOAD_TOO_LARGE, "too-long", "The body is larger than the limit.", "Send it in parts.";
    /// The URL is over the limit.
    UriTooLong => URI_TOO_LONG, "too-long", "The address is longer than the limit.", "Use POST [type]/_search.";
    /// Headers over the limit.
    HeadersTooLarge => REQUEST_HEADER_FIELDS_TOO_LARGE, "too-long", "The headers are larger than the limit.", "Send fewer or shorter headers.";
    /// A count limit was passed: entries, parameters, depth.
    TooCostly => PAYLOAD_TOO_LARGE, "too-costly", "The request is larger than a limit.", "Send it in smaller parts.";
    /// The body did not arrive in time.
    SlowBody => REQUEST_TIMEOUT, "timeout", "The request did not arrive in time.", "Send it again.";
    /// The query took too long.
    Timeout => SERVICE_UNAVAILABLE, "timeout", "The request took longer than its limit.", "Narrow the search and try again.";
    /// An operator's search parameter is searched by before every row is indexed.
    Indexing => SERVICE_UNAVAILABLE, "transient", "The index of a search parameter is being made.", "Try again later; /health/ready tells how far it is.";
    /// Too many requests for this client.
    Throttled => TOO_MANY_REQUESTS, "throttled", "Too many requests.", "Wait as Retry-After says.";
    /// The writer's queue is full, or the gateway is draining.
    Busy => SERVICE_UNAVAILABLE, "transient", "The gateway is busy.", "Try again as Retry-After says.";
    /// The store takes no writes: no audit record, no data.
    StoreUnavailable => SERVICE_UNAVAILABLE, "transient", "The store cannot record this request, so nothing was done.", "Try again later; the operator has been told.";
    /// Too much of the sender's waits for mending.
    QuarantineFull => SERVICE_UNAVAILABLE, "transient", "Too much of this organisation waits for mending, so nothing of this document was kept.", "Mend and replay what waits ([base]/$quarantine shows it), then send this again.";
    /// A place whose feature is not part of this version.
    NotImplemented => NOT_IMPLEMENTED, "not-supported", "This is not part of this version.", "See docs/changelog.md.";
    /// A fault of the gateway.
    Internal => INTERNAL_SERVER_ERROR, "exception", "The gateway failed to do this.", "Report the request id to the operator.";
}

impl Refusal {
    /// A refusal with what exactly is wrong.
    pub fn new(reason: Reason, details: impl Into<String>) -> Refusal {
        Refusal {
            reason,
            details: details.into(),
            expression: Vec::new(),
            issues: Vec::new(),
            cause: None,
            headers: Box::default(),
        }
    }

    /// Names the element or parameter concerned.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Refusal {
        self.expression.push(expression.into());
        self
    }

    /// Adds further issues.
    #[must_use]
    pub fn with_issues(mut self, issues: Vec<Issue>) -> Refusal {
        self.issues = issues;
        self
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Refusal {
        self.cause = Some(cause.into());
        self
    }

    /// Adds a header of the answer.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: http::HeaderValue) -> Refusal {
        let mut headers = self.headers.into_vec();
        headers.push((name, value));
        self.headers = headers.into();
        self
    }

    /// What does not exist for this caller: no details, so that the bytes are the same for every hidden thing.
    pub fn not_found() -> Refusal {
        Refusal::new(Reason::NotFound, "")
    }

    /// The refusal as an OperationOutcome, JSON text (FHIR R4 operationoutcome.html).
    pub fn to_outcome(&self) -> String {
        let row = self.reason.row();
        let mut diagnostics = String::from(row.text);
        if !self.details.is_empty() {
            diagnostics.push(' ');
            diagnostics.push_str(&self.details);
        }
        diagnostics.push(' ');
        diagnostics.push_str(row.remedy);
        let first =
            Issue { severity: "error", code: row.code, diagnostics, expression: self.expression.clone() };
        outcome(std::iter::once(&first).chain(&self.issues))
    }
}

/// An OperationOutcome of these issues, JSON text. What looks like a BSN in a diagnostic does not leave: the sender of a
/// flawed document may quote one, and error texts end up in logs that are not ours.
pub fn outcome<'i>(issues: impl Iterator<Item = &'i Issue>) -> String {
    let issues: Vec<serde_json::Value> = issues
        .map(|issue| {
            let mut value = serde_json::json!({
                "severity": issue.severity, "code": issue.code, "diagnostics": crate::telemetry::redact(&issue.diagnostics),
            });
            if !issue.expression.is_empty() {
                value["expression"] = issue.expression.clone().into();
            }
            value
        })
        .collect();
    serde_json::json!({ "resourceType": "OperationOutcome", "issue": issues }).to_string()
}
