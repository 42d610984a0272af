//! Connections over loopback: TLS with and without client certificate, HTTP/1.1 and HTTP/2, limits, panics, drain.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set up fails")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsConnector;

use super::*;
use crate::clock::System;
use crate::connection::{Head, request_id, tls};

const UZI: &str = "2.16.528.1.1007.99.2110-1-900025039-S-90000382-00.000-00000000";

fn run<A: Future>(work: A) -> A::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), work).await.unwrap() })
}

/// A certificate authority.
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        }
    }

    fn client(&self) -> Identity {
        self.sign(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.subject_alt_names.push(SanType::OtherName((vec![2, 5, 5, 5], UZI.into())));
        })
    }
}

/// A gateway that answers what it sees of its peer, on a loopback port.
struct Host {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<Result<Drained, ServeError>>,
}

impl Host {
    async fn start<S: Service>(tls: Option<TlsAcceptor>, limits: Limits, service: S) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            let _ = stopped.await;
        };
        let ended = tokio::spawn(serve(listener, tls, Arc::new(limits), Arc::new(System), service, stopped));
        Host { address, stop, ended }
    }

    async fn plain(limits: Limits) -> Host {
        Host::start(None, limits, answer).await
    }

    async fn stream(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.stream().await;
        // A host that has refused may close before all is written.
        let _ = stream.write_all(request.as_bytes()).await;
        read(&mut stream).await
    }
}

async fn read<I: AsyncRead + Unpin>(stream: &mut I) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the request as the gateway does and answers with what was found.
async fn answer(request: Request<Incoming>, peer: Arc<Peer>) -> Response<Body> {
    let limits = Limits { body_bytes_max: 2048, body_read_ms: 300, ..Limits::default() };
    let (parts, body) = request.into_parts();
    assert_ne!(parts.uri.path(), "/panic", "asked to panic");
    let version = format!("{:?}", parts.version);
    let id = request_id(&parts.headers, &System);
    let received = match Head::read(parts, id, &peer, &limits, &System) {
        Ok(head) => head.receive(body, &limits).await,
        Err(refusal) => Err(refusal),
    };
    match received {
        Ok(request) => {
            let ura = peer.certificate.as_ref().map(|c| c.ura.as_ref().map_or("none", |ura| ura.as_str()));
            let text = format!("{version} {} ura={ura:?}", request.interaction.name());
            Response::new(Body::full(text))
        }
        Err(refusal) => {
            let mut response = Response::new(Body::full(refusal.to_outcome()));
            *response.status_mut() = refusal.reason.row().status;
            response
        }
    }
}

const GET: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn plain_http_answers_on_loopback_with_a_request_id() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let answer = host.exchange(GET).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(answer.contains("x-request-id: "), "{answer}");
        assert!(answer.ends_with("HTTP/1.1 health-live ura=None"), "{answer}");
    });
}

#[test]
fn plain_http_off_loopback_is_not_served() {
    run(async {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let limits = Arc::new(Limits::default());
        let result = serve(listener, None, limits, Arc::new(System), answer, std::future::pending()).await;
        assert!(matches!(result, Err(ServeError::PlainOffLoopback(_))));
    });
}

#[test]
fn head_has_the_length_of_the_body_and_no_body() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let answer = host.exchange(&GET.replace("GET", "HEAD")).await;
        assert!(answer.contains("content-length: 29\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    });
}

#[test]
fn panic_of_a_handler_is_an_answer_and_the_connection_goes_on() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let two = format!("GET /panic HTTP/1.1\r\nHost: x\r\nX-Request-Id: r-1\r\n\r\n{GET}");
        let answer = host.exchange(&two).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
        assert!(answer.contains("OperationOutcome") && answer.contains("x-request-id: r-1"), "{answer}");
        assert!(!answer.contains("asked to panic"), "{answer}");
        assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    });
}

#[test]
fn handler_that_takes_too_long_is_answered_503() {
    run(async {
        let limits = Limits { handler_ms: 100, body_read_ms: 100, ..Limits::default() };
        let stuck = |_: Request<Incoming>, _: Arc<Peer>| std::future::pending::<Response<Body>>();
        let host = Host::start(None, limits, stuck).await;
        let answer = host.exchange(GET).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"timeout\""), "{answer}");
    });
}

#[test]
fn body_over_the_limit_is_413_announced_or_not() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let head = "POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n";
        let announced = host.exchange(&format!("{head}Content-Length: 2049\r\n\r\n")).await;
        assert!(announced.starts_with("HTTP/1.1 413 "), "{announced}");
        let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
        let chunked =
            host.exchange(&format!("{head}Transfer-Encoding: chunked\r\n\r\n{}", chunk.repeat(3))).await;
        assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    });
}

#[test]
fn slow_body_is_408() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let mut stream = host.stream().await;
        let head = "POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    });
}

#[test]
fn slow_header_ends_the_connection() {
    run(async {
        let limits = Limits { header_read_ms: 150, ..Limits::default() };
        let host = Host::plain(limits).await;
        let mut stream = host.stream().await;
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost").await.unwrap();
        let answer = read(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    });
}

#[test]
fn ten_thousand_headers_are_431() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let head = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let headers: String = (0..10_000).map(|at| format!("x-{at}: y\r\n")).collect();
        let answer = host.exchange(&format!("{head}{headers}\r\n")).await;
        // What was not read may reset the connection before the answer is.
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        let answer = host.exchange(&format!("{head}x: {}\r\n\r\n", "y".repeat(100_000))).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(host.exchange(GET).await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn garbage_ends_a_connection_and_nothing_else() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        for garbage in
            ["\0\0\0\0", "GET\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
        {
            let answer = host.exchange(&format!("{garbage}\r\n\r\n")).await;
            assert!(!answer.contains("200 OK"), "{garbage:?}: {answer}");
        }
        assert!(host.exchange(GET).await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn two_content_lengths_are_refused() {
    run(async {
        let host = Host::plain(Limits::default()).await;
        let request =
            "POST /fhir/Patient HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}   ";
        assert!(host.exchange(request).await.starts_with("HTTP/1.1 400 "));
    });
}

#[test]
fn connection_past_the_limit_waits_for_a_place() {
    run(async {
        let host = Host::plain(Limits { connections_max: 1, ..Limits::default() }).await;
        let first = host.stream().await;
        let second = host.exchange(GET);
        tokio::pin!(second);
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut second).await.is_err());
        drop(first);
        assert!(second.await.starts_with("HTTP/1.1 200 OK"));
    });
}

#[test]
fn idle_connection_is_closed_and_a_busy_one_is_not() {
    run(async {
        let limits = Limits { idle_ms: 200, handler_ms: 5_000, ..Limits::default() };
        let slow = |_: Request<Incoming>, _: Arc<Peer>| async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            Response::new(Body::full("late"))
        };
        let host = Host::start(None, limits, slow).await;
        let mut idle = host.stream().await;
        assert_eq!(read(&mut idle).await, "");
        assert!(host.exchange(GET).await.ends_with("late"));
    });
}

#[test]
fn stopping_lets_requests_in_work_finish() {
    run(async {
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (saw, wait) = (begun.clone(), go.clone());
        let service = move |_: Request<Incoming>, _: Arc<Peer>| {
            let (saw, wait) = (saw.clone(), wait.clone());
            async move {
                saw.notify_one();
                wait.notified().await;
                Response::new(Body::full("done"))
            }
        };
        let host = Host::start(None, Limits::default(), service).await;
        let mut idle = host.stream().await;
        let mut busy = host.stream().await;
        busy.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        begun.notified().await;
        host.stop.send(()).unwrap();
        assert_eq!(read(&mut idle).await, "");
        assert!(TcpStream::connect(host.address).await.is_err());
        go.notify_one();
        assert!(read(&mut busy).await.ends_with("done"));
        assert_eq!(host.ended.await.unwrap().unwrap(), Drained::Whole);
    });
}

#[test]
fn stopping_cuts_off_what_does_not_finish() {
    run(async {
        let stuck = |_: Request<Incoming>, _: Arc<Peer>| std::future::pending::<Response<Body>>();
        let host = Host::start(None, Limits { drain_ms: 200, ..Limits::default() }, stuck).await;
        let mut stream = host.stream().await;
        stream.write_all(GET.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        host.stop.send(()).unwrap();
        assert_eq!(host.ended.await.unwrap().unwrap(), Drained::Cut);
    });
}

// TLS

async fn secure(authority: &Authority, limits: Limits) -> Host {
    let server =
        authority.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let authorities = Some(vec![authority.certificate.clone()]);
    let acceptor = tls::acceptor_from(server.chain, server.key, authorities, Arc::new(System)).unwrap();
    Host::start(Some(acceptor), limits, answer).await
}

fn connector(authority: &Authority, client: Option<Identity>, alpn: &[u8], tls12: bool) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate.clone()).unwrap();
    let versions: &[&rustls::SupportedProtocolVersion] =
        if tls12 { &[&rustls::version::TLS12] } else { &[&rustls::version::TLS13] };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let builder = builder.with_root_certificates(roots);
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => builder.with_client_auth_cert(client.chain, client.key).unwrap(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Asks over HTTP/1.1; an error of handshake or reading is the answer's text.
async fn over_tls(host: &Host, connector: &TlsConnector) -> Result<String, String> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = host.stream().await;
    let mut stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    stream.write_all(GET.as_bytes()).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // In TLS 1.3 the client learns only now that its certificate was refused.
    stream.read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn tls_answers_without_and_with_a_client_certificate() {
    run(async {
        let authority = Authority::new();
        let host = secure(&authority, Limits::default()).await;
        let without = over_tls(&host, &connector(&authority, None, b"http/1.1", false)).await.unwrap();
        assert!(without.ends_with("HTTP/1.1 health-live ura=None"), "{without}");
        let with = connector(&authority, Some(authority.client()), b"http/1.1", false);
        let with = over_tls(&host, &with).await.unwrap();
        assert!(with.ends_with("HTTP/1.1 health-live ura=Some(\"90000382\")"), "{with}");
    });
}

// Attack case 52.
#[test]
fn client_certificate_that_does_not_verify_gets_no_connection() {
    run(async {
        let authority = Authority::new();
        let host = secure(&authority, Limits::default()).await;
        let wrong_use =
            authority.sign(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        let expired = authority.sign(|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        });
        for (name, client) in
            [("wrong use", wrong_use), ("expired", expired), ("stranger", Authority::new().client())]
        {
            let connector = connector(&authority, Some(client), b"http/1.1", false);
            assert!(over_tls(&host, &connector).await.is_err(), "{name}");
        }
    });
}

#[test]
fn tls_1_2_is_refused() {
    run(async {
        let authority = Authority::new();
        let host = secure(&authority, Limits::default()).await;
        assert!(over_tls(&host, &connector(&authority, None, b"http/1.1", true)).await.is_err());
    });
}

#[test]
fn handshake_that_does_not_come_ends() {
    run(async {
        let host = secure(&Authority::new(), Limits { handshake_ms: 150, ..Limits::default() }).await;
        let mut silent = host.stream().await;
        assert_eq!(read(&mut silent).await, "");
        assert_eq!(host.exchange(GET).await.find("200 OK"), None);
    });
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Header block of `GET` with this path (RFC 7541: indexed `:method GET` and `:scheme https`, literal path and authority).
fn get(path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend([0x01, 9]);
    block.extend_from_slice(b"localhost");
    block
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 5;

/// The next frame: kind, stream and payload; `None` at the end.
async fn next_frame<I: AsyncRead + Unpin>(stream: &mut I) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

async fn http2(host: &Host, connector: &TlsConnector) -> impl AsyncRead + AsyncWrite + Unpin + use<> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, host.stream().await).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

#[test]
fn http_2_answers_and_sees_the_certificate() {
    run(async {
        let authority = Authority::new();
        let host = secure(&authority, Limits::default()).await;
        let connector = connector(&authority, Some(authority.client()), b"h2", false);
        let mut stream = http2(&host, &connector).await;
        stream.write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, 1, &get("/health/live"))).await.unwrap();
        let mut status = None;
        let body = loop {
            match next_frame(&mut stream).await.unwrap() {
                (HEADERS, 1, block) => status = block.first().copied(),
                (DATA, 1, payload) => break payload,
                _ => {}
            }
        };
        assert_eq!(status, Some(0x88)); // indexed `:status 200`
        assert_eq!(String::from_utf8(body).unwrap(), "HTTP/2.0 health-live ura=Some(\"90000382\")");
    });
}

// Attack case 62: rapid reset.
#[test]
fn rapid_reset_ends_the_connection() {
    run(async {
        let authority = Authority::new();
        let host = secure(&authority, Limits::default()).await;
        let connector = connector(&authority, None, b"h2", false);
        let mut stream = http2(&host, &connector).await;
        let mut flood = Vec::new();
        for at in 0..2_000 {
            let id = 2 * at + 1;
            flood.extend(frame(HEADERS, END_STREAM_AND_HEADERS, id, &get("/health/live")));
            flood.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
        }
        let _ = stream.write_all(&flood).await;
        let mut said_goodbye = false;
        while let Some((kind, _, _)) = next_frame(&mut stream).await {
            said_goodbye |= kind == GOAWAY;
        }
        assert!(said_goodbye);
        // The next connection is served as before.
        let mut again = http2(&host, &connector).await;
        again.write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, 1, &get("/health/live"))).await.unwrap();
        while next_frame(&mut again).await.unwrap().0 != DATA {}
    });
}

#[test]
fn http_2_that_says_nothing_is_closed() {
    run(async {
        let authority = Authority::new();
        let limits = Limits { idle_ms: 200, header_read_ms: 200, ..Limits::default() };
        let host = secure(&authority, limits).await;
        let name = ServerName::try_from("localhost").unwrap();
        let connector = connector(&authority, None, b"h2", false);
        let mut stream = connector.connect(name, host.stream().await).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        let mut stream = http2(&host, &connector).await;
        while next_frame(&mut stream).await.is_some() {}
    });
}

#[test]
fn streamed_body_arrives_whole() {
    run(async {
        static LEFT: AtomicUsize = AtomicUsize::new(50);
        struct Lines;
        impl hyper::body::Body for Lines {
            type Data = bytes::Bytes;
            type Error = std::convert::Infallible;
            fn poll_frame(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
                let left = LEFT.load(Ordering::SeqCst);
                LEFT.store(left.saturating_sub(1), Ordering::SeqCst);
                let line = bytes::Bytes::from_static(b"line\n");
                std::task::Poll::Ready((left > 0).then_some(Ok(hyper::body::Frame::data(line))))
            }
        }
        let service = |_: Request<Incoming>, _: Arc<Peer>| async { Response::new(Body::stream(Lines)) };
        let host = Host::start(None, Limits::default(), service).await;
        assert_eq!(host.exchange(GET).await.matches("line\n").count(), 50);
    });
}
