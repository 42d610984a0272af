//! Token and certificate -> Actor. Knows who asks, not what they may.
//!
//! A client shows a signed assertion at the token endpoint (`oauth`), which names the organisation, the professional and
//! the purpose it vouches for; what its registration allows goes into a short-lived access token. Every later request
//! shows that token, and `token` makes the [`Actor`] of it.

pub mod client;

pub mod certificate;

pub mod signing;

pub mod scope;

pub mod context;

pub mod oauth;

pub mod token;

pub mod bound;

pub mod actor;

mod jwt;

use std::future::Future;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::connection::limits::Limits;
use crate::connection::request::{Credentials, PeerCertificate};
use crate::response::refusal::Refusal;
use crate::store::StoreError;
use actor::Actor;
use client::Clients;
use oauth::{AssertionId, Grant, TokenEndpoint, TokenError};
use signing::SigningKey;
use token::AccessTokens;

/// Everything that has to do with who asks. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    parts: Arc<Parts>,
}

struct Parts {
    clients: Arc<Clients>,
    tokens: AccessTokens,
    endpoint: TokenEndpoint,
    smart_configuration: String,
    jwks: String,
}

impl Identity {
    /// `base`: public base URL without trailing slash. It is issuer and audience of the access tokens, and the token
    /// endpoint stands below it; `certificates`: client certificates are asked for.
    pub fn new(
        base: &str,
        key: SigningKey,
        clients: Arc<Clients>,
        limits: &Limits,
        certificates: bool,
    ) -> Identity {
        let key = Arc::new(key);
        let endpoint = TokenEndpoint::new(base, key.clone(), clients.clone(), limits);
        let smart_configuration = oauth::discovery::smart_configuration(base, certificates);
        let jwks = oauth::discovery::jwks(&key);
        let tokens = AccessTokens::new(base, key, clients.clone());
        Identity { parts: Arc::new(Parts { clients, tokens, endpoint, smart_configuration, jwks }) }
    }

    /// Who shows these credentials.
    ///
    /// Errors: `Unauthenticated` or `TokenExpired`, with `WWW-Authenticate`.
    pub fn actor(&self, credentials: &Credentials, now: Timestamp) -> Result<Arc<Actor>, Refusal> {
        self.parts.tokens.actor(credentials, now)
    }

    /// Answers the token endpoint. `claim` takes an assertion's id for single use (`Writer::claim_jti`).
    ///
    /// Errors: [`TokenError`], which knows its status and JSON.
    pub async fn token<C, F>(
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
        self.parts.endpoint.issue(form, certificate, clock, claim).await
    }

    /// `[base]/.well-known/smart-configuration`, JSON.
    pub fn smart_configuration(&self) -> &str {
        &self.parts.smart_configuration
    }

    /// `[base]/oauth/jwks`, JSON: public keys of the access tokens.
    pub fn jwks(&self) -> &str {
        &self.parts.jwks
    }

    /// Address of the token endpoint: the audience of client assertions.
    pub fn token_url(&self) -> &str {
        self.parts.endpoint.url()
    }

    /// Registered clients.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.parts.clients
    }
}
