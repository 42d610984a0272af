//! A client's assertion: made by clients (the demo and tests use the same code), verified here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TokenError;
use crate::clock::Timestamp;
use crate::identity::client::{Client, Clients};
use crate::identity::context::{Context, Extensions};
use crate::identity::jwt;
use crate::identity::signing::{KeyError, SigningKey};

/// `client_assertion_type` (RFC 7523 section 2.2).
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion may still last when it comes in (SMART App Launch 2.2: no more than five minutes).
const SECONDS_MAX: i64 = 300;

/// How far a client's clock may differ from ours.
const SKEW_SECONDS: i64 = 30;

/// Claims of an assertion. `aud` is one text: a list could name us among others, and the others could use it here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: String,
    pub(super) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) iat: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
    pub(super) jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) extensions: Option<Extensions>,
}

/// An assertion that holds, and whose it is.
pub(super) struct Verified {
    pub(super) client: Arc<Client>,
    pub(super) claims: Claims,
}

/// Verifies an assertion against the key its client has registered under the `kid` of its header.
///
/// Errors: `invalid_client`. One text for an unknown client, an unknown key and a wrong signature: who is registered is
/// nobody's business.
pub(super) fn verify(
    token: &str,
    audience: &str,
    clients: &Clients,
    now: Timestamp,
) -> Result<Verified, TokenError> {
    let unknown = || TokenError::client("the assertion is not signed by a registered key of its client");
    let header = jwt::header(token).map_err(|_| TokenError::client("the assertion is no JWT"))?;
    // The claims are read before the signature is verified only to find whose key to verify with.
    let hint: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| TokenError::client("the assertion lacks a claim, or has one of a wrong type"))?;
    let client = clients.find(&hint.iss).ok_or_else(unknown)?;
    let key = header.kid.as_deref().and_then(|kid| client.key(kid)).ok_or_else(unknown)?;
    let claims: Claims = jwt::verify(token, &["JWT"], &key.key, key.algorithm).map_err(|_| unknown())?;
    check(&claims, client.id(), audience, now.seconds())?;
    Ok(Verified { client, claims })
}

/// Names and times. RFC 7523 section 3; SMART App Launch 2.2 client-confidential-asymmetric.html.
fn check(claims: &Claims, client: &str, audience: &str, now: i64) -> Result<(), TokenError> {
    let refuse = |text| Err(TokenError::client(text));
    if claims.iss != client || claims.sub != client {
        return refuse("iss and sub of the assertion are the client_id");
    }
    if claims.aud != audience {
        return refuse("aud of the assertion is the address of the token endpoint");
    }
    if claims.exp <= now {
        return refuse("the assertion has expired");
    }
    if claims.exp > now + SECONDS_MAX + SKEW_SECONDS {
        return refuse("exp of the assertion is more than five minutes ahead");
    }
    if claims.iat.is_some_and(|iat| iat > now + SKEW_SECONDS || iat < now - SECONDS_MAX - SKEW_SECONDS) {
        return refuse("iat of the assertion is not of the last five minutes");
    }
    if claims.nbf.is_some_and(|nbf| nbf > now + SKEW_SECONDS) {
        return refuse("the assertion does not hold yet");
    }
    if !(1..=128).contains(&claims.jti.len()) {
        return refuse("jti of the assertion has 1 to 128 bytes");
    }
    Ok(())
}

/// Makes an assertion as a client does: for `context`, valid for a minute, with `jti` for single use.
pub fn make(
    key: &SigningKey,
    client: &str,
    token_url: &str,
    context: &Context,
    now: Timestamp,
    jti: &str,
) -> Result<String, KeyError> {
    let claims = Claims {
        iss: client.to_owned(),
        sub: client.to_owned(),
        aud: token_url.to_owned(),
        exp: now.seconds() + 60,
        iat: Some(now.seconds()),
        nbf: None,
        jti: jti.to_owned(),
        extensions: Some(Extensions { ihe_iua: context.claims() }),
    };
    key.sign("JWT", &claims)
}

/// The form a client posts with an assertion.
pub fn form(assertion: &str, scope: &str) -> Vec<(String, String)> {
    [
        ("grant_type", "client_credentials"),
        ("scope", scope),
        ("client_assertion_type", TYPE),
        ("client_assertion", assertion),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
