//! The token endpoint: client assertion -> short-lived access token.
//!
//! SMART Backend Services with `private_key_jwt`; no other grant and no refresh token. It holds no session: what it
//! remembers is which assertion ids were used, and the store keeps that.
//! Source: SMART App Launch 2.2 backend-services.html, RFC 6749 section 4.4, RFC 7523, RFC 9068, RFC 8705

pub mod assertion;

pub mod discovery;

mod error;

use std::future::Future;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::client::{Client, Clients};
use super::context::{Context, Extensions};
use super::scope;
use super::signing::SigningKey;
use crate::clock::{Clock, Timestamp};
use crate::connection::limits::{Limits, count};
use crate::connection::request::PeerCertificate;
use crate::identity::actor::{Scope, ScopeLevel};
use crate::store::StoreError;

pub use error::TokenError;

/// Life of an access token (backend-services.html: SHOULD NOT exceed 300 seconds).
pub const TOKEN_SECONDS: i64 = 300;

/// Header `typ` of access tokens (RFC 9068 section 2.1).
pub(super) const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// Path of the endpoint below the base.
const PATH: &str = "/oauth/token";

/// An assertion's id, to be taken for single use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionId {
    /// `client_id`.
    pub issuer: Box<str>,
    /// `jti`.
    pub jti: Box<str>,
    /// When the assertion ends, so that its id can be forgotten.
    pub expires: Timestamp,
}

/// An access token given out.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// `client_id`, for log and audit.
    pub client: Box<str>,
    /// For whom, for log and audit.
    pub context: Context,
    /// `jti` of the access token, for the audit record.
    pub token_id: Box<str>,
    /// Scopes granted.
    pub scopes: Vec<Scope>,
    token: String,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("client", &self.client)
            .field("token_id", &self.token_id)
            .finish_non_exhaustive()
    }
}

impl Grant {
    /// The answer's JSON (RFC 6749 section 5.1). It goes out with `Cache-Control: no-store`.
    pub fn to_json(&self) -> String {
        let mut answer = serde_json::json!({
            "access_token": self.token,
            "token_type": "Bearer",
            "expires_in": TOKEN_SECONDS,
            "scope": scope::text(&self.scopes),
        });
        if let Some(patient) = &self.context.patient {
            // SMART App Launch scopes-and-launch-context.html#launch-context-arrives-with-your-access_token
            answer["patient"] = patient.as_str().into();
        }
        answer.to_string()
    }
}

/// Claims of an access token (RFC 9068 section 2.2), and what an Actor is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AccessClaims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) client_id: String,
    pub(super) aud: String,
    pub(super) iat: i64,
    pub(super) nbf: i64,
    pub(super) exp: i64,
    pub(super) jti: String,
    pub(super) scope: String,
    pub(super) extensions: Extensions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cnf: Option<Confirmation>,
}

/// The certificate a token is bound to (RFC 8705 section 3.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confirmation {
    #[serde(rename = "x5t#S256")]
    pub(super) thumbprint: String,
}

/// The endpoint.
pub struct TokenEndpoint {
    base: Box<str>,
    url: Box<str>,
    key: Arc<SigningKey>,
    clients: Arc<Clients>,
    token_bytes_max: usize,
    scopes_max: usize,
}

impl TokenEndpoint {
    /// Below `base`, signing with `key`.
    pub fn new(base: &str, key: Arc<SigningKey>, clients: Arc<Clients>, limits: &Limits) -> TokenEndpoint {
        TokenEndpoint {
            base: base.into(),
            url: url(base).into(),
            key,
            clients,
            token_bytes_max: count(limits.token_bytes_max),
            scopes_max: count(limits.scopes_max),
        }
    }

    /// Its address: the audience of client assertions.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers one token request.
    ///
    /// The client is authenticated first and its assertion used up, then its wishes are judged: a refused wish costs
    /// an assertion too. Errors: [`TokenError`].
    pub async fn issue<C, F>(
        &self,
        form: &[(String, String)],
        certificate: Option<&PeerCertificate>,
        clock: &dyn Clock,
        claim: C,
    ) -> Result<Grant, TokenError>
    where
        C: FnOnce(AssertionId) -> F + Send,
        F: Future<Output = Result<bool, StoreError>> + Send,
    {
        let wish = Wish::read(form, self.token_bytes_max)?;
        let now = clock.now();
        let verified = assertion::verify(wish.assertion, &self.url, &self.clients, now)?;
        let client = verified.client.clone();
        if wish.client_id.is_some_and(|id| id != client.id()) {
            return Err(TokenError::client("client_id is not that of the assertion"));
        }
        if !client.accepts(certificate) {
            return Err(TokenError::client("this client uses another client certificate"));
        }
        let id = AssertionId {
            issuer: client.id().into(),
            jti: verified.claims.jti.as_str().into(),
            expires: Timestamp(0).plus_seconds(verified.claims.exp),
        };
        match claim(id).await {
            Ok(true) => {}
            Ok(false) => return Err(TokenError::client("the jti of the assertion was used before")),
            Err(error) => return Err(TokenError::Unavailable(error.to_string())),
        }
        self.grant(&client, &verified.claims, wish.scope, certificate, clock)
    }

    fn grant(
        &self,
        client: &Client,
        claims: &assertion::Claims,
        wish: &str,
        certificate: Option<&PeerCertificate>,
        clock: &dyn Clock,
    ) -> Result<Grant, TokenError> {
        let Some(extensions) = &claims.extensions else {
            return Err(TokenError::request("the assertion has no extensions.ihe_iua"));
        };
        let context = Context::read(&extensions.ihe_iua).map_err(TokenError::request)?;
        client.may_vouch(&context).map_err(TokenError::request)?;
        if certificate.and_then(|c| c.ura.as_ref()).is_some_and(|ura| *ura != context.organisation) {
            return Err(TokenError::client("the certificate is that of another organisation"));
        }
        let scopes = self.scopes(client, &context, wish)?;
        let now = clock.now().seconds();
        let token_id = clock.uuid().hyphenated().to_string();
        let access = AccessClaims {
            iss: self.base.to_string(),
            sub: client.id().to_owned(),
            client_id: client.id().to_owned(),
            aud: self.base.to_string(),
            iat: now,
            nbf: now,
            exp: now + TOKEN_SECONDS,
            jti: token_id.clone(),
            scope: scope::text(&scopes),
            extensions: Extensions { ihe_iua: context.claims() },
            cnf: certificate.map(|c| Confirmation { thumbprint: c.thumbprint.to_string() }),
        };
        let token = self
            .key
            .sign(ACCESS_TOKEN_TYPE, &access)
            .map_err(|cause| TokenError::Unavailable(cause.to_string()))?;
        Ok(Grant { client: client.id().into(), context, token_id: token_id.into(), scopes, token })
    }

    /// Scopes that request, registration and context have in common: `patient/` needs a patient, `user/` a professional.
    fn scopes(&self, client: &Client, context: &Context, wish: &str) -> Result<Vec<Scope>, TokenError> {
        if wish.split(' ').count() > self.scopes_max {
            return Err(TokenError::Scope("too many scopes"));
        }
        let mut scopes = scope::grant(wish, client.scopes_max());
        scopes.retain(|scope| match scope.level {
            ScopeLevel::Patient => context.patient.is_some(),
            ScopeLevel::User => context.user.is_some(),
            // A patient's token reaches her own data and nothing by another name.
            ScopeLevel::System => context.patient.is_none(),
        });
        if scopes.is_empty() {
            return Err(TokenError::Scope("none of these scopes can be granted to this client"));
        }
        Ok(scopes)
    }
}

/// Address of the token endpoint of a base.
pub fn url(base: &str) -> String {
    format!("{base}{PATH}")
}

/// A token request, read.
struct Wish<'f> {
    assertion: &'f str,
    scope: &'f str,
    client_id: Option<&'f str>,
}

impl<'f> Wish<'f> {
    /// Errors: `invalid_request`, `unsupported_grant_type`, or `invalid_client` without an assertion.
    fn read(form: &'f [(String, String)], token_bytes_max: usize) -> Result<Wish<'f>, TokenError> {
        let one = |name: &str| {
            let mut values = form.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                // RFC 6749 section 3.2: no parameter more than once; one without a value is treated as left out.
                (_, Some(_)) => Err(TokenError::request("a parameter stands more than once")),
                (value, None) => Ok(value.filter(|text| !text.is_empty())),
            }
        };
        match one("grant_type")? {
            Some("client_credentials") => {}
            Some(_) => return Err(TokenError::GrantType),
            None => return Err(TokenError::request("grant_type is missing")),
        }
        let assertion_type = one("client_assertion_type")?;
        let (assertion, scope, client_id) = (one("client_assertion")?, one("scope")?, one("client_id")?);
        if one("client_secret")?.is_some() {
            return Err(TokenError::client("shared secrets are not used here: send a client_assertion"));
        }
        let Some(assertion) = assertion else {
            return Err(TokenError::client("client_assertion is missing"));
        };
        if assertion_type != Some(assertion::TYPE) {
            return Err(TokenError::request("client_assertion_type is not that of a JWT"));
        }
        if assertion.len() > token_bytes_max {
            return Err(TokenError::request("client_assertion is too long"));
        }
        let scope = scope.ok_or(TokenError::Scope("scope is missing"))?;
        Ok(Wish { assertion, scope, client_id })
    }
}

#[cfg(test)]
mod tests;
