//! One MLLP message to one acknowledgement: who the peer is bound to, the same `$ingest` as over HTTP, then the ACK.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use sluis_mappings::source::hl7v2;

use super::Gateway;
use crate::connection::Peer;
use crate::connection::mllp::{Broken, Receiver};
use crate::connection::request::{Document, Format, Interaction, Preconditions, ReturnPreference, Shape};
use crate::identity::bound::Binding;
use crate::ingest::acknowledge::{acknowledge, reject};
use crate::interaction::perform::{Aside, perform};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};

/// By what a peer is known, and for whom it speaks. What is given must all fit.
#[derive(Debug, Clone)]
pub struct BoundPeer {
    /// Thumbprint of its client certificate (SHA-256 of the DER, base64url).
    pub certificate: Option<String>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// For whom it speaks.
    pub binding: Binding,
}

/// The receiver of one listener.
#[derive(Clone)]
pub struct Inbox {
    gateway: Gateway,
    peers: Arc<[BoundPeer]>,
}

impl Inbox {
    /// Of a listener with these peers.
    pub fn new(gateway: Gateway, peers: Vec<BoundPeer>) -> Inbox {
        Inbox { gateway, peers: peers.into() }
    }

    /// Counts a frame by the status its message would have over HTTP; `broken` is one that held no message.
    fn count(&self, status: &'static str) {
        let help = "Frames received over MLLP, by the status their message would have over HTTP.";
        self.gateway
            .parts()
            .telemetry
            .metrics()
            .counter("sluis_mllp_frames_total", help, &[("status", status)])
            .add(1);
    }

    fn binding(&self, peer: &Peer) -> Option<&Binding> {
        let shown = peer.certificate.as_ref().map(|certificate| &*certificate.thumbprint);
        let fits = |bound: &&BoundPeer| {
            (bound.certificate.is_some() || bound.address.is_some())
                && bound.certificate.as_deref().is_none_or(|wanted| shown == Some(wanted))
                && bound.address.is_none_or(|wanted| wanted == peer.address.ip())
        };
        self.peers.iter().find(fits).map(|bound| &bound.binding)
    }

    async fn ingest(&self, message: Bytes, peer: &Peer) -> Result<Answer, Refusal> {
        let parts = self.gateway.parts();
        let unknown = || Refusal::new(Reason::Unauthenticated, "This listener knows no such sender.");
        let binding = self.binding(peer).ok_or_else(unknown)?;
        let actor = parts.identity.bound(binding, peer.certificate.as_deref())?;
        let caller = self.gateway.caller_of(actor)?;
        let aside = Aside {
            id: parts.clock.uuid().to_string().into(),
            address: peer.address.ip(),
            now: parts.clock.now(),
            preconditions: Preconditions::default(),
            format: Format::default(),
            shape: Shape::Whole,
            prefer: ReturnPreference::default(),
            respond_async: false,
            idempotency_key: None,
            lenient: false,
            in_job: false,
        };
        let interaction = Interaction::Ingest(Document {
            media: "x-application/hl7-v2+er7".into(),
            media_parameters: Vec::new(),
            bytes: message,
            idempotency_key: None,
        });
        match perform(&self.gateway, &caller, &interaction, &aside).await {
            Ok(answer) => Ok(answer),
            Err(refusal) => {
                self.gateway.record_refusal(&caller, &interaction, &aside, &refusal).await?;
                Err(refusal)
            }
        }
    }
}

impl Receiver for Inbox {
    async fn receive(&self, message: Bytes, peer: Arc<Peer>) -> Option<Bytes> {
        let parts = self.gateway.parts();
        let (id, began) = (parts.clock.uuid().to_string(), parts.clock.now());
        let split = hl7v2::split(&message);
        let whole = matches!(split.messages.as_slice(), [one] if one.end as usize - one.start as usize == message.len());
        if !whole && !split.messages.is_empty() {
            let why = "A frame holds one message. Send each message of a batch in a frame of its own, or the batch to $ingest.";
            self.count("4xx");
            return Some(reject(&message, "batch-unsplit", why, &id, began).into());
        }
        let answer = match self.ingest(message.clone(), &peer).await {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::info!(reason = ?refusal.reason, address = %peer.address.ip(), "an MLLP message was refused");
                Answer::refused(&refusal)
            }
        };
        self.count(match answer.status.as_u16() / 100 {
            2 => "2xx",
            4 => "4xx",
            _ => "5xx",
        });
        Some(acknowledge(&message, answer.status, &answer.body, &id, parts.clock.now()).into())
    }

    async fn broken(&self, why: Broken, _peer: Arc<Peer>) -> Bytes {
        let parts = self.gateway.parts();
        self.count("broken");
        let text = match why {
            Broken::Outside => {
                "Bytes stand before the start of a frame (0B). Send each message as 0B message 1C 0D."
            }
            Broken::Unclosed => {
                "A frame begins inside another: its end (1C 0D) was lost. Send the message again."
            }
            Broken::EndBare => "The end of the frame (1C) is not followed by 0D. Send the message again.",
            Broken::TooLong => "The message is longer than the limit. Send it in parts.",
            Broken::TooSlow => "The frame did not arrive whole in time. Send it again.",
        };
        reject(b"", "frame-broken", text, &parts.clock.uuid().to_string(), parts.clock.now()).into()
    }
}
