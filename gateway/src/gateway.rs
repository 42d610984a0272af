//! The gateway: its parts, and one request from bytes to answer.
//!
//! This file joins the stages and holds no rule of any of them.

pub mod mllp;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header, request};
use sluis_conformance::definitions::SearchKind;

use crate::clock::{Clock, Timestamp};
use crate::connection::body::Body;
use crate::connection::capability::Statement;
use crate::connection::limits::Limits;
use crate::connection::request::{Format, Interaction, Request};
use crate::connection::{self, Head, Peer};
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{self, Parties};
use crate::export;
use crate::identity::Identity;
use crate::identity::actor::Actor;
use crate::identity::oauth::AssertionId;
use crate::ingest::Intake;
use crate::interaction::asynchronous::Later;
use crate::interaction::audit_event;
use crate::interaction::cursor::CursorSeal;
use crate::interaction::idempotency::InWork;
use crate::interaction::perform::{Aside, Caller, perform};
use crate::interaction::write::{self, commit, kinds};
use crate::library::Library;
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::search::indexing::Indexing;
use crate::search::parameter::SearchLimits;
use crate::store::{Store, StoreError};
use crate::telemetry::{RequestFacts, Telemetry};

/// Everything a request meets. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    parts: Arc<Parts>,
}

/// The parts.
pub struct Parts {
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
    /// Public base URL, without trailing slash.
    pub base: Arc<str>,
    /// The table of limits.
    pub limits: Arc<Limits>,
    /// Limits of searches.
    pub search_limits: SearchLimits,
    /// Definitions the operator loaded.
    pub library: Library,
    /// How far the index of the rows has come.
    pub indexing: Arc<Indexing>,
    /// Keys, versions, indexes.
    pub store: Arc<dyn Store>,
    /// Roles, categories, labels.
    pub policy: Arc<Policy>,
    /// Who is who.
    pub organisations: Arc<Organisations>,
    /// Tokens and clients.
    pub identity: Identity,
    /// Seals page cursors.
    pub seal: CursorSeal,
    /// Keys of writes in work.
    pub in_work: InWork,
    /// Documents in local formats.
    pub intake: Intake,
    /// Requests answered later.
    pub later: Later,
    /// Bulk export.
    pub exporter: Arc<export::Context>,
    /// Logs and counters.
    pub telemetry: Telemetry,
    /// The CapabilityStatement, made once.
    pub capabilities: Bytes,
}

impl Gateway {
    /// A gateway of these parts.
    pub fn new(parts: Parts) -> Gateway {
        Gateway { parts: Arc::new(parts) }
    }

    /// Its parts.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// One HTTP request to one response: the only way in. A caller without a valid token is refused before the body is
    /// read.
    pub async fn call<B>(&self, parts: request::Parts, body: B, peer: &Peer) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let clock = &*self.parts.clock;
        let began = clock.now();
        let request_id = connection::request_id(&parts.headers, clock);
        let head_only = parts.method == Method::HEAD;
        let by_form = parts.method == Method::POST && parts.uri.path().ends_with("/_search");
        let is_safe = parts.method.is_safe() || by_form;
        let format = connection::wanted(&parts);
        let mut seen = Seen { interaction: "none", client: None, organisation: None, format };
        let result = self.whole(parts, request_id.clone(), body, peer, &mut seen).await;
        let (answer, cause) = match result {
            Ok(answer) => (answer, None),
            Err(refusal) => {
                let cause = refusal.cause.clone().unwrap_or_default();
                (Answer::refused(&refusal), Some(format!("{:?} {cause}", refusal.reason)))
            }
        };
        let answer = answer.in_format(seen.format, is_safe);
        let micros = clock.now().0.saturating_sub(began.0);
        self.parts.telemetry.request(&RequestFacts {
            request_id: &request_id,
            interaction: seen.interaction,
            status: answer.status,
            duration: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
            client: seen.client.as_deref(),
            organisation: seen.organisation.as_deref(),
            cause: cause.as_deref(),
        });
        answer.with(connection::REQUEST_ID, &request_id).into_response(head_only)
    }

    async fn whole<B>(
        &self,
        parts: request::Parts,
        id: Box<str>,
        body: B,
        peer: &Peer,
        seen: &mut Seen,
    ) -> Result<Answer, Refusal>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let head = Head::read(parts, id, peer, &self.parts.limits, &*self.parts.clock)?;
        seen.format = head.format();
        let caller = if head.needs_token() {
            let caller = self.caller(&head)?;
            if let Some(actor) = &caller.actor {
                seen.client = Some(actor.client.to_string());
                seen.organisation = Some(actor.organisation.to_string());
            }
            Some(caller)
        } else {
            None
        };
        let request = head.receive(body, &self.parts.limits).await?;
        seen.interaction = request.interaction.name();
        seen.format = request.format;
        match caller {
            None => Box::pin(self.open(&request)).await,
            Some(caller) => self.perform_recorded(&caller, &request).await,
        }
    }

    /// Performs what needs a token; a refusal is recorded before it is told.
    async fn perform_recorded(&self, caller: &Caller, request: &Request) -> Result<Answer, Refusal> {
        let aside = Aside::of(request);
        match perform(self, caller, &request.interaction, &aside).await {
            Ok(answer) => Ok(answer),
            Err(refusal) => {
                Box::pin(self.record_refusal(caller, &request.interaction, &aside, &refusal)).await?;
                Err(refusal)
            }
        }
    }

    fn caller(&self, head: &Head) -> Result<Caller, Refusal> {
        let actor = self.parts.identity.actor(&head.credentials, head.received)?;
        self.caller_of(actor)
    }

    /// A caller with the keys the store knows them by.
    pub fn caller_of(&self, actor: Arc<Actor>) -> Result<Caller, Refusal> {
        let parties =
            Parties::of(&*self.parts.store, &self.parts.organisations, &actor).map_err(write::refusal)?;
        Ok(Caller { actor: Some(actor), parties: Some(parties) })
    }

    /// What needs no token.
    async fn open(&self, request: &Request) -> Result<Answer, Refusal> {
        let parts = &self.parts;
        match &request.interaction {
            Interaction::Capabilities => Ok(Answer::fhir(
                StatusCode::OK,
                crate::interaction::found_body(parts.capabilities.clone(), request.format),
            )),
            Interaction::Versions => {
                let body = Bytes::from_static(VERSIONS.as_bytes());
                Ok(Answer::fhir(StatusCode::OK, crate::interaction::found_body(body, request.format)))
            }
            Interaction::SmartConfiguration => {
                Ok(Answer::json(StatusCode::OK, parts.identity.smart_configuration().to_owned()))
            }
            Interaction::Jwks => Ok(Answer::json(StatusCode::OK, parts.identity.jwks().to_owned())),
            Interaction::Token(form) => Ok(self.token(form, request).await),
            Interaction::Health { ready: false } => Ok(Answer::json(StatusCode::OK, r#"{"status":"live"}"#)),
            Interaction::Health { ready: true } => match parts.store.check() {
                // It serves; somebody should look at the mappings that were refused.
                Ok(()) if !parts.intake.outdated().is_empty() => {
                    let folders = parts.intake.outdated();
                    let body = serde_json::json!({ "status": "degraded", "mappings": folders });
                    Ok(Answer::json(StatusCode::OK, body.to_string()))
                }
                Ok(()) if !parts.indexing.is_whole() => {
                    let body = serde_json::json!({ "status": "ready", "indexing": parts.indexing.percent() });
                    Ok(Answer::json(StatusCode::OK, body.to_string()))
                }
                Ok(()) => Ok(Answer::json(StatusCode::OK, r#"{"status":"ready"}"#)),
                Err(error) => Err(write::refusal(error)),
            },
            Interaction::Metrics => {
                let mut text = parts.telemetry.metrics().exposition();
                text.push_str(&parts.intake.shadow_exposition());
                match self.waiting(request.received) {
                    Ok(waiting) => text.push_str(&waiting),
                    // A scraper wants the rest all the more when the database does not answer.
                    Err(error) => tracing::warn!(%error, "what waits for mending is not known"),
                }
                Ok(Answer::text(StatusCode::OK, text))
            }
            _ => Err(Refusal::new(Reason::Internal, "").because("an interaction without its token")),
        }
    }

    /// The token endpoint (SMART App Launch 2.2, backend-services.html).
    async fn token(&self, form: &[(String, String)], request: &Request) -> Answer {
        let parts = &self.parts;
        let permit = decision::system(&parts.policy, request.received, "claim-jti");
        let store = Arc::clone(&parts.store);
        let claim = move |id: AssertionId| async move {
            commit(&*store, &permit, move |writer| writer.claim_jti(&id.issuer, &id.jti, id.expires))
                .await
                .map_err(|refusal| StoreError::Refused(Box::new(refusal)))
        };
        let certificate = request.credentials.certificate.as_deref();
        let granted = parts.identity.token(form, certificate, &*parts.clock, claim).await;
        let answer = match granted {
            Ok(grant) => Answer::json(StatusCode::OK, grant.to_json()),
            Err(error) => Answer::json(error.status(), error.to_json()),
        };
        // RFC 6749 section 5.1: a token is kept by nobody on the way.
        answer.with(header::CACHE_CONTROL, "no-store").with(header::PRAGMA, "no-cache")
    }
}

/// Versions of FHIR that are spoken (FHIR R4 capabilitystatement-operation-versions.html).
const VERSIONS: &str = r#"{"resourceType":"Parameters","parameter":[{"name":"version","valueCode":"4.0"},{"name":"default","valueCode":"4.0"}]}"#;

/// The CapabilityStatement of this version.
/// `content`: whether words of texts are searched by.
pub fn capabilities(base: &str, started: Timestamp, content: bool) -> Bytes {
    let statement = Statement {
        base,
        version: env!("CARGO_PKG_VERSION"),
        date: &started.to_instant(),
        guides: &["http://hl7.org/fhir/smart-app-launch/ImplementationGuide/hl7.fhir.uv.smart-app-launch"],
        content,
        searchable: &|kind, parameter| {
            if kind == kinds().audit_event {
                audit_event::SEARCHABLE.contains(&parameter.code)
            } else {
                parameter.kind != SearchKind::Special
            }
        },
    };
    statement.to_json().into()
}

/// What the log line of a request knows by its end.
struct Seen {
    interaction: &'static str,
    client: Option<String>,
    organisation: Option<String>,
    format: Format,
}
