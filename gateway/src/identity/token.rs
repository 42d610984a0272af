//! Access token -> Actor, on every request.
//!
//! Only that a token's signature and claims hold is remembered, and for a minute; that it has not ended, that its client
//! is not switched off and that it comes over its own certificate is judged each time. No permission is cached here.
//! Source: RFC 6750, RFC 9068 section 4, RFC 8705 section 3

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, header};
use moka::sync::Cache;

use super::actor::{Actor, Scope};
use super::client::Clients;
use super::context::Context;
use super::jwt::{self, JwtError};
use super::oauth::{ACCESS_TOKEN_TYPE, AccessClaims};
use super::signing::SigningKey;
use crate::clock::Timestamp;
use crate::connection::request::Credentials;
use crate::response::refusal::{Reason, Refusal};

/// Tokens remembered at one time.
const CACHE_ENTRIES_MAX: u64 = 10_000;
/// How long. The cache counts machine time, not the gateway's clock; it bounds memory and the life of a removed key,
/// while the end of a token is judged on every request.
const CACHE_SECONDS: u64 = 60;
/// How far the clocks of two gateways that share a key may differ.
const SKEW_SECONDS: i64 = 5;

/// Verifier of access tokens.
pub struct AccessTokens {
    base: Box<str>,
    key: Arc<SigningKey>,
    clients: Arc<Clients>,
    /// SHA-256 of a token -> what it says.
    verified: Cache<[u8; 32], Arc<Verified>>,
}

struct Verified {
    actor: Arc<Actor>,
    not_before: i64,
    thumbprint: Option<Box<str>>,
}

impl AccessTokens {
    /// Of tokens `key` signed for `base`, the issuer and audience at once.
    pub fn new(base: &str, key: Arc<SigningKey>, clients: Arc<Clients>) -> AccessTokens {
        let verified = Cache::builder()
            .max_capacity(CACHE_ENTRIES_MAX)
            .time_to_live(Duration::from_secs(CACHE_SECONDS))
            .build();
        AccessTokens { base: base.into(), key, clients, verified }
    }

    /// Who shows these credentials at `now`.
    ///
    /// Errors: `TokenExpired`, else `Unauthenticated`; the cause is for the log alone.
    pub fn actor(&self, credentials: &Credentials, now: Timestamp) -> Result<Arc<Actor>, Refusal> {
        let Some(token) = credentials.bearer.as_deref() else {
            let text =
                if credentials.other_scheme { "The Authorization header holds no bearer token." } else { "" };
            return Err(Refusal::new(Reason::Unauthenticated, text)
                .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sluis\"")));
        };
        let verified = self.verified(token)?;
        let actor = &verified.actor;
        if actor.token_expires <= now {
            return Err(refuse(Reason::TokenExpired, "expired"));
        }
        if verified.not_before > now.seconds() + SKEW_SECONDS {
            return Err(invalid("not valid yet"));
        }
        let client =
            self.clients.find(&actor.client).ok_or_else(|| invalid("the client is not registered"))?;
        if !client.serves(&actor.organisation) {
            return Err(invalid("the client no longer acts for the organisation"));
        }
        let certificate = credentials.certificate.as_deref();
        if let Some(bound) = &verified.thumbprint
            && certificate.is_none_or(|shown| shown.thumbprint != *bound)
        {
            return Err(invalid("bound to another certificate"));
        }
        if certificate.and_then(|shown| shown.ura.as_ref()).is_some_and(|ura| *ura != actor.organisation) {
            return Err(invalid("the certificate is that of another organisation"));
        }
        Ok(verified.actor.clone())
    }

    /// A token's claims, verified now or within the last minute.
    fn verified(&self, token: &str) -> Result<Arc<Verified>, Refusal> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        // SHA-256 has 32 bytes; a shorter digest would only miss the cache.
        let key: Option<[u8; 32]> = digest.as_ref().try_into().ok();
        if let Some(found) = key.and_then(|key| self.verified.get(&key)) {
            return Ok(found);
        }
        let fresh = Arc::new(self.verify(token)?);
        if let Some(key) = key {
            self.verified.insert(key, fresh.clone());
        }
        Ok(fresh)
    }

    fn verify(&self, token: &str) -> Result<Verified, Refusal> {
        let types = [ACCESS_TOKEN_TYPE, "application/at+jwt"];
        let claims: AccessClaims = jwt::verify(token, &types, self.key.decoding(), self.key.algorithm())
            .map_err(|cause: JwtError| {
                refuse(Reason::Unauthenticated, "invalid").because(cause.to_string())
            })?;
        if claims.iss != *self.base || claims.aud != *self.base {
            return Err(invalid("of another issuer or for another audience"));
        }
        if claims.sub != claims.client_id {
            return Err(invalid("sub is not the client"));
        }
        let context = Context::read(&claims.extensions.ihe_iua)
            .map_err(|cause| invalid("its claims").because(cause))?;
        let scopes = claims.scope.split(' ').filter_map(Scope::parse).collect();
        let actor = Actor {
            client: claims.client_id.into(),
            organisation: context.organisation,
            user: context.user,
            patient: context.patient,
            purpose: context.purpose,
            scopes,
            token_id: claims.jti.into(),
            token_expires: Timestamp(0).plus_seconds(claims.exp),
        };
        let thumbprint = claims.cnf.map(|cnf| cnf.thumbprint.into());
        Ok(Verified { actor: Arc::new(actor), not_before: claims.nbf, thumbprint })
    }
}

fn invalid(cause: &'static str) -> Refusal {
    refuse(Reason::Unauthenticated, "invalid").because(cause)
}

/// RFC 6750 section 3.1: `invalid_token` covers a token that is expired, revoked, malformed or otherwise of no use.
fn refuse(reason: Reason, what: &str) -> Refusal {
    let value = format!(
        "Bearer realm=\"sluis\", error=\"invalid_token\", error_description=\"the access token is {what}\""
    );
    let refusal = Refusal::new(reason, "");
    match HeaderValue::from_str(&value) {
        Ok(value) => refusal.with_header(header::WWW_AUTHENTICATE, value),
        Err(_) => refusal,
    }
}

#[cfg(test)]
mod tests;
