//! The load generator: keep-alive connections that each send the next request when the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One prepared request.
#[derive(Clone)]
pub(crate) struct Shot {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) media: &'static str,
    pub(crate) body: Bytes,
}

/// What a workload did in its time.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

/// Number of the next message, so that no two are the same document.
static NUMBER: AtomicU64 = AtomicU64::new(1);

pub(crate) async fn run_load(
    address: SocketAddr,
    token: Option<&str>,
    shots: &Arc<Vec<Shot>>,
    parallel: usize,
    time: Duration,
) -> Result<Measured> {
    let mut connections = Vec::new();
    for _ in 0..parallel {
        connections.push(connect(address).await?);
    }
    let cpu = cpu_us()?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (offset, mut connection) in connections.into_iter().enumerate() {
        let (shots, token) = (Arc::clone(shots), token.map(str::to_owned));
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            let mut at = offset;
            while started.elapsed() < time {
                let shot = &shots[at % shots.len()];
                at += 1;
                let begun = Instant::now();
                let (status, body) = send(&mut connection, shot, token.as_deref()).await?;
                ensure!(
                    status == 200,
                    "{} {}: {status} {}",
                    shot.method,
                    shot.path,
                    String::from_utf8_lossy(&body)
                );
                took.push(begun.elapsed().as_micros() as u64);
            }
            Ok(took)
        }));
    }
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await??);
    }
    let (elapsed, cpu) = (started.elapsed(), cpu_us()? - cpu);
    took.sort_unstable();
    let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len() - 1)).copied();
    Ok(Measured {
        per_second: took.len() as f64 / elapsed.as_secs_f64(),
        cpu_us: cpu / took.len() as f64,
        p50_us: at(0.50).unwrap_or_default(),
        p99_us: at(0.99).unwrap_or_default(),
    })
}

pub(crate) type Connection = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(crate) async fn send(
    connection: &mut Connection,
    shot: &Shot,
    token: Option<&str>,
) -> Result<(u16, Bytes)> {
    let mut request =
        Request::builder().method(shot.method.clone()).uri(&shot.path).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !shot.media.is_empty() {
        request = request.header("content-type", shot.media);
    }
    // Every message is a new one: the place of the control id holds the request's number.
    let body = match shot.media {
        "x-application/hl7-v2+er7" => {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
            Bytes::from(replace(&shot.body, b"@RUN@", number.as_bytes()))
        }
        _ => shot.body.clone(),
    };
    connection.ready().await?;
    let response = connection.send_request(request.body(Full::new(body))?).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn replace(bytes: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(what.len()).position(|w| w == what) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}

/// CPU time of this process, microseconds (Linux: clock ticks of 10 ms).
fn cpu_us() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let tail = stat.rsplit(')').next().context("stat")?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks * 10_000.0)
}
