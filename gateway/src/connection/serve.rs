//! Accepts connections and hands their requests on, within the limits, until told to stop.
//!
//! One task a connection; a panic of a handler is an answer 500 and ends nothing else. It does not know what a request
//! asks: that is the handler's.

mod connection;
mod handler;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Peer;
use super::body::Body;
use super::limits::{Limits, count, duration};
use crate::clock::Clock;

/// What answers requests. Cloned for each connection.
pub trait Service: Clone + Send + Sync + 'static {
    /// Answers one request.
    fn call(
        &self,
        request: http::Request<Incoming>,
        peer: Arc<Peer>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

impl<F, A> Service for F
where
    F: Fn(http::Request<Incoming>, Arc<Peer>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = http::Response<Body>> + Send,
{
    fn call(
        &self,
        request: http::Request<Incoming>,
        peer: Arc<Peer>,
    ) -> impl Future<Output = http::Response<Body>> + Send {
        self(request, peer)
    }
}

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
    /// Plain HTTP is for the machine itself only.
    #[error("{0} is not a loopback address: TLS is needed there")]
    PlainOffLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener has no address: {0}")]
    NoAddress(std::io::Error),
}

/// Serves `listener` until `stop` resolves, then lets requests in work finish for at most `drain_ms`.
///
/// `tls` `None` is plain HTTP/1.1, allowed on loopback addresses alone.
/// Errors: [`ServeError`], before anything is accepted.
pub async fn serve<S: Service>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    clock: Arc<dyn Clock>,
    service: S,
    stop: impl Future<Output = ()> + Send,
) -> Result<Drained, ServeError> {
    let address = listener.local_addr().map_err(ServeError::NoAddress)?;
    if tls.is_none() && !address.ip().is_loopback() {
        return Err(ServeError::PlainOffLoopback(address));
    }
    let places = Arc::new(Semaphore::new(count(limits.connections_max).min(Semaphore::MAX_PERMITS)));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            // Taken off the list as they end; how each ended it has logged itself.
            Some(_) = connections.join_next() => continue,
            next = next(&listener, &places) => next,
        };
        let Some((stream, address)) = accepted else { continue };
        let shared =
            connection::Shared { limits: limits.clone(), clock: clock.clone(), service: service.clone() };
        let (tls, stopped) = (tls.clone(), stopped.clone());
        connections.spawn(async move {
            connection::run(stream, address, tls, shared, stopped).await;
            drop(place);
        });
    }
    drop(listener);
    // Fails only when no connection is left to tell.
    let _ = stopping.send(true);
    let all = async { while connections.join_next().await.is_some() {} };
    let whole = tokio::time::timeout(duration(limits.drain_ms), all).await.is_ok();
    // Dropping the list ends what is left.
    Ok(if whole { Drained::Whole } else { Drained::Cut })
}

type Accepted = (Option<tokio::sync::OwnedSemaphorePermit>, Option<(tokio::net::TcpStream, SocketAddr)>);

/// The next connection, once there is a place for it.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> Accepted {
    // The semaphore is never closed; without a place there is no accept either way.
    let place = places.clone().acquire_owned().await.ok();
    match listener.accept().await {
        Ok(accepted) => (place, Some(accepted)),
        Err(error) => {
            // Out of file descriptors, or a connection that ended while it waited: neither is a reason to stop.
            tracing::warn!(cause = %error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(50)).await;
            (None, None)
        }
    }
}

#[cfg(test)]
mod tests;
