//! The load: connections that ask, in the closed model (the next request when the last is answered) or the open one
//! (requests come when they come, and waiting for a free connection counts).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::draw::Rng;
use crate::workload::{Scene, Workload};

/// Media type of what is sent, unless it says otherwise.
pub(crate) const FHIR: &str = "application/fhir+json";

/// A server under load.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whose token a request bears, by [`Who`]; empty without security.
    pub(crate) tokens: [String; 3],
    /// The floor: whatever is asked, so many bytes are the answer.
    pub(crate) floor: Option<usize>,
}

/// In whose name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// The team that looks, by the patients' consent.
    Reader = 0,
    /// The team that wrote.
    Author = 1,
    /// The hospital's system.
    Hospital = 2,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// `Type/id` of what was made.
    pub(crate) made: Option<String>,
    pub(crate) body: Bytes,
}

impl Reply {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// One connection, kept open.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    target: Arc<Target>,
    /// Number of the connection among those of the load.
    pub(crate) number: usize,
    /// Microseconds each answer took.
    took_us: Vec<u64>,
    /// Bytes of all answers.
    bytes: u64,
    /// In the open model: when the next request was due.
    due: Option<Instant>,
}

impl Line {
    pub(crate) async fn open(target: &Arc<Target>, number: usize) -> Result<Line> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Line { sender, target: Arc::clone(target), number, took_us: Vec::new(), bytes: 0, due: None })
    }

    /// Whether answers mean nothing.
    pub(crate) fn is_floor(&self) -> bool {
        self.target.floor.is_some()
    }

    /// Whether the server asks who asks.
    pub(crate) fn is_guarded(&self) -> bool {
        self.target.tokens.iter().any(|token| !token.is_empty())
    }

    /// Mean bytes of the answers so far.
    pub(crate) fn mean_bytes(&self) -> usize {
        (self.bytes / self.took_us.len().max(1) as u64) as usize
    }

    /// Sends one request and reads its answer to the end.
    pub(crate) async fn ask(
        &mut self,
        who: Who,
        method: Method,
        path: &str,
        media: &str,
        body: Bytes,
    ) -> Result<Reply> {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        let token = &self.target.tokens[who as usize];
        if !token.is_empty() {
            request = request.header("authorization", token);
        }
        if !body.is_empty() {
            request = request.header("content-type", media);
        }
        if let Some(bytes) = self.target.floor {
            request = request.header("x-answer-bytes", bytes);
        }
        let begun = self.due.take().unwrap_or_else(Instant::now);
        self.sender.ready().await?;
        let response = self.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        let made = response.headers().get("location").and_then(|value| value.to_str().ok()).and_then(made);
        let body = response.into_body().collect().await?.to_bytes();
        self.took_us.push(begun.elapsed().as_micros() as u64);
        self.bytes += body.len() as u64;
        Ok(Reply { status, made, body })
    }

    /// As [`Line::ask`]; an answer of another status than `wanted` is an error with its body. Anything will do of the floor.
    pub(crate) async fn expect(
        &mut self,
        wanted: u16,
        who: Who,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply> {
        let told = method.clone();
        let reply = self.ask(who, method, path, FHIR, body.into()).await?;
        if reply.status != wanted && !self.is_floor() {
            let text = String::from_utf8_lossy(&reply.body).chars().take(800).collect::<String>();
            bail!("{told} {path}: {} instead of {wanted}: {text}", reply.status);
        }
        Ok(reply)
    }

    pub(crate) async fn get(&mut self, who: Who, path: &str) -> Result<Reply> {
        self.expect(200, who, Method::GET, path, Bytes::new()).await
    }
}

/// `Type/id` of an address of a version.
fn made(location: &str) -> Option<String> {
    let mut parts = location.split("/_history").next()?.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    Some(format!("{kind}/{id}"))
}

/// How requests come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Model {
    /// This many connections, each asking again as soon as it is answered.
    Closed(usize),
    /// This many iterations a second, at random moments, over at most so many connections.
    Open(f64, usize),
}

/// What a load did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    pub(crate) took_us: Vec<u64>,
    /// Units of work: resources of an import, otherwise requests.
    pub(crate) units: u64,
    /// Arrivals that had found no connection by the end.
    pub(crate) dropped: usize,
}

impl Measured {
    /// Adds another slice of the same load.
    pub(crate) fn add(&mut self, other: Measured) {
        self.seconds += other.seconds;
        self.took_us.extend(other.took_us);
        self.units += other.units;
        self.dropped += other.dropped;
    }

    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.took_us.len() as f64 / self.seconds
    }

    /// Units a second.
    pub(crate) fn unit_rate(&self) -> f64 {
        self.units as f64 / self.seconds
    }

    /// Microseconds within which this share of answers came.
    pub(crate) fn within_us(&self, share: f64) -> u64 {
        let mut took = self.took_us.clone();
        let at = ((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1));
        match took.is_empty() {
            true => 0,
            false => *took.select_nth_unstable(at).1,
        }
    }
}

/// Runs a workload against a server for some time. Errors: the first wrong answer.
pub(crate) async fn load(
    target: &Arc<Target>,
    workload: Workload,
    scene: &Arc<Scene>,
    model: Model,
    time: Duration,
    slice: u64,
) -> Result<Measured> {
    let (connections, schedule) = match model {
        Model::Closed(connections) => (connections, None),
        Model::Open(rate, connections) => {
            let (mut rng, mut at, mut due) = (Rng::new(scene.seed, slice), 0.0, Vec::new());
            while at < time.as_secs_f64() {
                at += rng.pause(rate);
                due.push(Duration::from_secs_f64(at));
            }
            (connections, Some(Arc::new(due)))
        }
    };
    let next = Arc::new(AtomicUsize::new(0));
    let mut lines = Vec::new();
    for number in 0..connections {
        lines.push(Line::open(target, number).await?);
    }
    let started = Instant::now();
    let mut tasks = Vec::new();
    for mut line in lines {
        let (scene, next, schedule) = (Arc::clone(scene), Arc::clone(&next), schedule.clone());
        let mut rng = Rng::new(scene.seed ^ slice.rotate_left(32), line.number as u64 + 1_000);
        tasks.push(tokio::spawn(async move {
            let mut units = 0;
            while started.elapsed() < time {
                if let Some(schedule) = &schedule {
                    let Some(due) = schedule.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let due = started + *due;
                    tokio::time::sleep_until(due.into()).await;
                    line.due = Some(due);
                }
                units += workload.iterate(&mut line, &scene, &mut rng).await?;
            }
            anyhow::Ok((line, units))
        }));
    }
    let mut measured = Measured::default();
    for task in tasks {
        let (line, units) = task.await.context("a connection's task")??;
        measured.took_us.extend(line.took_us);
        measured.units += units;
    }
    measured.seconds = started.elapsed().as_secs_f64();
    measured.dropped = schedule.map_or(0, |due| due.len().saturating_sub(next.load(Ordering::Relaxed)));
    Ok(measured)
}
