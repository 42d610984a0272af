//! Connections of a listener, whatever is spoken on them: a place for each, its handshake, an end in good order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::limits::{count, duration};
use super::request::PeerCertificate;
use crate::identity::certificate;

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Whole,
    /// Some connections were cut off when `drain_ms` was over.
    Cut,
}

/// Why serving does not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plain text is for the machine itself only.
    #[error("{0} is not a loopback address: TLS is needed there")]
    PlainOffLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener has no address: {0}")]
    NoAddress(std::io::Error),
}

/// What a listener keeps to.
pub(super) struct Terms {
    /// What a connection is called in the log.
    pub(super) what: &'static str,
    /// Whether there is TLS; without it only a loopback address is served.
    pub(super) is_tls: bool,
    /// Connections at once.
    pub(super) connections_max: u64,
    /// Time that connections have to finish, once told to stop, milliseconds.
    pub(super) drain_ms: u64,
}

/// Runs `converse` for each connection until `stop` resolves; then its channel says so, and what has not ended after
/// `drain_ms` is cut off.
///
/// Errors: [`ServeError`], before anything is accepted.
pub(super) async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    terms: Terms,
    stop: impl Future<Output = ()> + Send,
    converse: impl Fn(TcpStream, SocketAddr, watch::Receiver<bool>) -> F,
) -> Result<Drained, ServeError> {
    let address = listener.local_addr().map_err(ServeError::NoAddress)?;
    if !terms.is_tls && !address.ip().is_loopback() {
        return Err(ServeError::PlainOffLoopback(address));
    }
    let places = Arc::new(Semaphore::new(count(terms.connections_max).min(Semaphore::MAX_PERMITS)));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            // Taken off the list as they end; how each ended it has logged itself.
            Some(_) = connections.join_next() => continue,
            next = next(&listener, &places, terms.what) => next,
        };
        let Some((stream, address)) = accepted else { continue };
        // Small answers leave at once; an error means the stream is dead and the first read says so.
        let _ = stream.set_nodelay(true);
        let connection = converse(stream, address, stopped.clone());
        connections.spawn(async move {
            connection.await;
            drop(place);
        });
    }
    drop(listener);
    // Fails only when no connection is left to tell.
    let _ = stopping.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    let whole = tokio::time::timeout(duration(terms.drain_ms), all).await.is_ok();
    // Dropping the list ends what is left.
    Ok(if whole { Drained::Whole } else { Drained::Cut })
}

type Accepted = (Option<tokio::sync::OwnedSemaphorePermit>, Option<(TcpStream, SocketAddr)>);

/// The next connection, once there is a place for it.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>, what: &str) -> Accepted {
    // The semaphore is never closed; without a place there is no accept either way.
    let place = places.clone().acquire_owned().await.ok();
    match listener.accept().await {
        Ok(accepted) => (place, Some(accepted)),
        Err(error) => {
            // Out of file descriptors, or a connection that ended while it waited: neither is a reason to stop.
            tracing::warn!(cause = %error, "{what} could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            (None, None)
        }
    }
}

/// Makes the handshake within `handshake_ms`; the stream, and the certificate its peer showed. `None`: it failed, and the log says so.
pub(super) async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    address: SocketAddr,
    handshake_ms: u64,
) -> Option<(TlsStream<TcpStream>, Option<Arc<PeerCertificate>>)> {
    match tokio::time::timeout(duration(handshake_ms), tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let certificate = leaf.map(|leaf| Arc::new(certificate::read(leaf)));
            Some((stream, certificate))
        }
        Ok(Err(error)) => {
            tracing::debug!(address = %address.ip(), cause = %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(address = %address.ip(), "TLS handshake took too long");
            None
        }
    }
}
