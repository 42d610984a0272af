//! The actor of a connection that shows no token: the client and organisation its listener binds it to.
//!
//! The operator wrote the binding; the registry is asked for every message all the same, so that a client switched off, or
//! one that no longer acts for the organisation, is refused from the next message on.

use std::sync::Arc;

use super::Identity;
use super::actor::Actor;
use super::context::Context;
use crate::clock::Timestamp;
use crate::connection::request::PeerCertificate;
use crate::ids::Ura;
use crate::response::refusal::{Reason, Refusal};

/// Who a connection speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Registered client.
    pub client: String,
    /// Organisation it acts for.
    pub organisation: Ura,
    /// Purpose of use: v3-PurposeOfUse code.
    pub purpose: String,
}

impl Identity {
    /// The actor of a bound connection. Its scopes are the widest its registration allows.
    ///
    /// Errors: `Unauthenticated` when the registry does not know the client (any more) or its certificate is not one of the
    /// client's; `Forbidden` for an organisation or purpose that is not the client's.
    pub fn bound(
        &self,
        binding: &Binding,
        certificate: Option<&PeerCertificate>,
    ) -> Result<Arc<Actor>, Refusal> {
        let unknown =
            || Refusal::new(Reason::Unauthenticated, "The client of this connection is not registered.");
        let client = self.parts.clients.find(&binding.client).ok_or_else(unknown)?;
        if !client.accepts(certificate) {
            return Err(Refusal::new(Reason::Unauthenticated, "The certificate is not one of this client."));
        }
        let context = Context {
            organisation: binding.organisation.clone(),
            user: None,
            patient: None,
            purpose: binding.purpose.as_str().into(),
        };
        client.may_vouch(&context).map_err(|why| Refusal::new(Reason::Forbidden, why))?;
        Ok(Arc::new(Actor {
            client: client.id().into(),
            organisation: context.organisation,
            user: None,
            patient: None,
            purpose: context.purpose,
            scopes: client.scopes_max().to_vec(),
            token_id: "mllp".into(),
            token_expires: Timestamp::MAX,
        }))
    }
}
