//! Refusals of the token endpoint: RFC 6749 section 5.2, JSON of its own and no OperationOutcome.

use http::StatusCode;

/// Why no token was given.
///
/// What a client's developer reads holds no value of the request; the log has no more than that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenError {
    /// `invalid_request`
    Request(&'static str),
    /// `invalid_client`: the assertion does not hold, or not over this connection.
    Client(&'static str),
    /// `unsupported_grant_type`
    GrantType,
    /// `invalid_scope`
    Scope(&'static str),
    /// The gateway cannot keep what it must (503): the cause, for the log.
    Unavailable(String),
}

impl TokenError {
    pub(super) fn request(text: &'static str) -> TokenError {
        TokenError::Request(text)
    }

    pub(super) fn client(text: &'static str) -> TokenError {
        TokenError::Client(text)
    }

    /// Status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            TokenError::Request(_) | TokenError::GrantType | TokenError::Scope(_) => StatusCode::BAD_REQUEST,
            TokenError::Client(_) => StatusCode::UNAUTHORIZED,
            TokenError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `error`
    pub fn code(&self) -> &'static str {
        match self {
            TokenError::Request(_) => "invalid_request",
            TokenError::Client(_) => "invalid_client",
            TokenError::GrantType => "unsupported_grant_type",
            TokenError::Scope(_) => "invalid_scope",
            TokenError::Unavailable(_) => "temporarily_unavailable",
        }
    }

    /// `error_description`
    pub fn description(&self) -> &'static str {
        match self {
            TokenError::Request(text) | TokenError::Client(text) | TokenError::Scope(text) => text,
            TokenError::GrantType => "only client_credentials is offered",
            TokenError::Unavailable(_) => "try again later",
        }
    }

    /// The answer's JSON. It goes out with `Cache-Control: no-store`.
    pub fn to_json(&self) -> String {
        serde_json::json!({ "error": self.code(), "error_description": self.description() }).to_string()
    }
}
