//! HL7 version 2 messages over MLLP: accepts connections, reads frames, writes answers, within the limits.
//!
//! A frame is `<VT> message <FS><CR>`. One message of a connection is in work at a time, so a sender that does not wait for
//! its answers waits in its own buffers. A frame that is broken is answered once and ends the connection, because where the
//! next begins cannot be told. Knows no HL7: what a frame says and what is answered is the handler's.
//!
//! Source: HL7 Transport Specification MLLP, release 1 (block format, and no acknowledgement before the content is safe).

mod frame;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use self::frame::Frames;
pub use self::frame::{Broken, framed};
use super::Peer;
use super::accept::{Drained, ServeError, Terms, accept, shake_hands};
use super::limits::{Limits, duration};

/// What answers frames. Cloned for each connection.
pub trait Receiver: Clone + Send + Sync + 'static {
    /// Answers one message, after it is safe; `None`: no answer can be given and the connection ends.
    fn receive(&self, message: Bytes, peer: Arc<Peer>) -> impl Future<Output = Option<Bytes>> + Send;

    /// Answers a frame that cannot be read, before the connection ends.
    fn broken(&self, why: Broken, peer: Arc<Peer>) -> impl Future<Output = Bytes> + Send;
}

/// Serves `listener` until `stop` resolves; then no new message is begun, and those in work are answered within `drain_ms`.
///
/// `tls` `None` is plain TCP, allowed on loopback addresses alone.
/// Errors: [`ServeError`], before anything is accepted.
pub async fn serve<R: Receiver>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    receiver: R,
    stop: impl Future<Output = ()> + Send,
) -> Result<Drained, ServeError> {
    let terms = Terms {
        what: "an MLLP connection",
        is_tls: tls.is_some(),
        connections_max: limits.mllp_connections_max,
        drain_ms: limits.drain_ms,
    };
    accept(listener, terms, stop, |stream, address, stopped| {
        run(stream, address, tls.clone(), limits.clone(), receiver.clone(), stopped)
    })
    .await
}

async fn run<R: Receiver>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    receiver: R,
    stopped: watch::Receiver<bool>,
) {
    let Some(tls) = tls else {
        let peer = Arc::new(Peer { address, certificate: None });
        return converse(stream, peer, &limits, receiver, stopped).await;
    };
    if let Some((stream, certificate)) = shake_hands(&tls, stream, address, limits.handshake_ms).await {
        converse(stream, Arc::new(Peer { address, certificate }), &limits, receiver, stopped).await;
    }
}

/// One connection: frame, answer, frame, answer.
async fn converse<R: Receiver>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Arc<Peer>,
    limits: &Limits,
    receiver: R,
    mut stopped: watch::Receiver<bool>,
) {
    let mut frames = Frames::new(stream, limits);
    loop {
        // Between two messages the connection may be quiet, and may be ended.
        let begun = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => false,
            begun = frames.begin() => begun,
        };
        if !begun {
            return frames.end().await;
        }
        let message = match frames.read().await {
            Ok(Some(message)) => message,
            // The sender went away in the middle: nothing of it was kept and nothing acknowledged, so it sends again.
            Ok(None) => {
                tracing::warn!(address = %peer.address.ip(), "an MLLP frame was cut off by its sender");
                return;
            }
            Err(why) => {
                tracing::warn!(address = %peer.address.ip(), ?why, "an MLLP frame is broken");
                let answer = receiver.broken(why, peer).await;
                frames.answer(&answer).await;
                return frames.end().await;
            }
        };
        let work = receiver.receive(message, peer.clone());
        // What takes longer may still be committed: without an answer the sender sends again, which is recognised.
        let Ok(Some(answer)) = tokio::time::timeout(duration(limits.handler_ms), work).await else {
            tracing::warn!(address = %peer.address.ip(), "an MLLP message has no answer");
            return;
        };
        if !frames.answer(&answer).await {
            tracing::warn!(address = %peer.address.ip(), "an MLLP answer was not taken");
            return;
        }
    }
}
