//! One connection from handshake to end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::{Service, handler};
use crate::clock::Clock;
use crate::connection::Peer;
use crate::connection::accept::shake_hands;
use crate::connection::body::{Body, BodyError};
use crate::connection::limits::{Limits, count, duration};

/// What all connections share.
#[derive(Clone)]
pub(super) struct Shared<S> {
    pub(super) limits: Arc<Limits>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) service: S,
}

/// Serves one accepted stream to its end.
pub(super) async fn run<S: Service>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Shared<S>,
    stopped: watch::Receiver<bool>,
) {
    let Some(tls) = tls else {
        let peer = Peer { address, certificate: None };
        return converse(stream, Protocol::Http1, peer, shared, stopped).await;
    };
    let secured = shake_hands(&tls, stream, address, shared.limits.handshake_ms).await;
    let Some((stream, certificate)) = secured else { return };
    // ALPN has decided, so nothing waits for a first byte to guess by.
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    converse(stream, protocol, Peer { address, certificate }, shared, stopped).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

async fn converse<S, I>(
    stream: I,
    protocol: Protocol,
    peer: Peer,
    shared: Shared<S>,
    mut stopped: watch::Receiver<bool>,
) where
    S: Service,
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = shared.limits.clone();
    let activity = Arc::new(Activity::new());
    let (peer, seen) = (Arc::new(peer), activity.clone());
    let service = hyper::service::service_fn(move |request| {
        let (shared, peer, work) = (shared.clone(), peer.clone(), seen.begin());
        async move {
            let response = handler::answer(&shared, request, peer).await;
            Ok::<_, std::convert::Infallible>(response.map(|body| Watched { body, work }))
        }
    });
    let builder = builder(protocol, &limits);
    let mut conversation = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let idle = duration(limits.idle_ms);
    // A handler at work touches nothing until it answers; only what is quiet for longer has a client that stopped reading.
    let stalled = idle + duration(limits.body_read_ms) + duration(limits.handler_ms);
    let (mut ending, mut drained) = (false, false);
    let mut alarm = std::pin::pin!(tokio::time::sleep(idle));
    loop {
        tokio::select! {
            end = conversation.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(cause = %error, "a connection ended early");
                }
                return;
            }
            _ = stopped.wait_for(|stop| *stop), if !ending => {
                // How long is left is for `serve` to say, once for all connections.
                ending = true;
                drained = true;
                conversation.as_mut().graceful_shutdown();
            }
            () = alarm.as_mut(), if !drained => {
                if ending {
                    return; // asked to end for being quiet, and still here: cut off
                }
                let (since, in_work) = activity.quiet_since();
                let quiet_max = if in_work { stalled } else { idle };
                if since.elapsed() >= quiet_max {
                    ending = true;
                    conversation.as_mut().graceful_shutdown();
                    alarm.as_mut().reset(Instant::now() + duration(limits.header_read_ms));
                } else {
                    alarm.as_mut().reset((since + quiet_max).max(Instant::now() + duration(50)));
                }
            }
        }
    }
}

fn builder(protocol: Protocol, limits: &Limits) -> Builder<TokioExecutor> {
    let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Without a timer the header timeout silently does nothing, and a set one panics.
        .timer(TokioTimer::new())
        .header_read_timeout(duration(limits.header_read_ms))
        .max_headers(count(limits.headers_max))
        .max_buf_size(count(limits.header_bytes_max))
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(small(limits.h2_streams_max))
        .max_header_list_size(small(limits.header_bytes_max))
        .max_pending_accept_reset_streams(count(limits.h2_resets_max))
        .keep_alive_interval(duration(limits.idle_ms / 2))
        .keep_alive_timeout(duration(limits.header_read_ms));
    match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    }
}

/// How many requests of a connection are in work, and when something last happened to one.
struct Activity {
    start: Instant,
    in_work: AtomicU64,
    /// Milliseconds after `start`.
    touched_ms: AtomicU64,
}

impl Activity {
    fn new() -> Activity {
        Activity { start: Instant::now(), in_work: AtomicU64::new(0), touched_ms: AtomicU64::new(0) }
    }

    fn begin(self: &Arc<Activity>) -> Work {
        self.in_work.fetch_add(1, Ordering::SeqCst);
        self.touch();
        Work(self.clone())
    }

    fn touch(&self) {
        let ms = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.touched_ms.store(ms, Ordering::SeqCst);
    }

    /// Since when nothing happened, and whether a request is in work.
    fn quiet_since(&self) -> (Instant, bool) {
        let since = self.start + duration(self.touched_ms.load(Ordering::SeqCst));
        (since, self.in_work.load(Ordering::SeqCst) > 0)
    }
}

/// One request in work; counted out when dropped, however it ends.
struct Work(Arc<Activity>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_work.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body that keeps its request in work until it is written or dropped.
struct Watched {
    body: Body,
    work: Work,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.work.0.touch();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
