//! Accepts connections and hands their requests on, within the limits, until told to stop.
//!
//! One task a connection; a panic of a handler is an answer 500 and ends nothing else. It does not know what a request
//! asks: that is the handler's.

mod connection;
mod handler;

use std::future::Future;
use std::sync::Arc;

use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Peer;
pub use super::accept::{Drained, ServeError};
use super::accept::{Terms, accept};
use super::body::Body;
use super::limits::Limits;
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
    let terms = Terms {
        what: "a connection",
        is_tls: tls.is_some(),
        connections_max: limits.connections_max,
        drain_ms: limits.drain_ms,
    };
    let shared = connection::Shared { limits, clock, service };
    accept(listener, terms, stop, |stream, address, stopped| {
        connection::run(stream, address, tls.clone(), shared.clone(), stopped)
    })
    .await
}

#[cfg(test)]
mod tests;
