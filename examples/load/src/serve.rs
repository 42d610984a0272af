//! The servers under load, each a process of its own, so that its CPU time is its own: the gateway as it is, the gateway
//! without security, and bare hyper.
//!
//! "Without security" is a server of this program alone: the gateway's own stages from head to answer, with a caller
//! that is nobody (`unguarded`). No token is looked at, no decision made, no filter stands in a query and no record is
//! written. The program `sluis` has no such server in it.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use clap::ValueEnum;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sluis::clock::System;
use sluis::config::Config;
use sluis::connection::body::Body;
use sluis::connection::serve::serve;
use sluis::connection::{self, Head, Peer};
use sluis::gateway::Gateway;
use sluis::interaction::perform::{Aside, Caller, perform};
use sluis::response::Answer;
use sluis::response::refusal::Refusal;
use sluis::run;
use sluis::telemetry::{self, RequestFacts};
use tokio::net::TcpListener;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Nothing but HTTP.
    Hyper,
    /// The gateway's stages without security.
    Off,
    /// The gateway.
    On,
}

/// Serves until standard input ends, having said where on standard output.
pub(crate) fn run(kind: Kind, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (ended, end) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            let _ = ended.send(());
        });
        let end = async move {
            let _ = end.await;
        };
        match kind {
            Kind::Hyper => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                say(listener.local_addr()?);
                tokio::spawn(bare(listener));
                end.await;
            }
            Kind::Off => {
                // A line for each request, as the gateway writes them.
                telemetry::start_log("")?;
                let config = Config::read(&folder.join("sluis.toml"))?;
                let gateway = run::assemble(&config, Arc::new(System)).await?;
                let listener = TcpListener::bind(config.listen).await?;
                say(listener.local_addr()?);
                let limits = Arc::clone(&gateway.parts().limits);
                let service = move |request: Request<Incoming>, peer: Arc<Peer>| {
                    let gateway = gateway.clone();
                    async move { unguarded(&gateway, request, &peer).await }
                };
                serve(listener, None, limits, Arc::new(System), service, end).await?;
            }
            Kind::On => {
                telemetry::start_log("")?;
                let running = run::start(&folder.join("sluis.toml"), Arc::new(System)).await?;
                say(running.address());
                end.await;
                running.stop().await;
            }
        }
        Ok(())
    })
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say(address: SocketAddr) {
    println!("{address}");
}

async fn bare(listener: TcpListener) {
    let whole = Bytes::from(vec![b'x'; 1 << 22]);
    while let Ok((stream, _)) = listener.accept().await {
        // As the gateway does; else the floor would wait for delayed acknowledgements.
        let _ = stream.set_nodelay(true);
        let whole = whole.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let asked = request.headers().get("x-answer-bytes").and_then(|value| value.to_str().ok());
                let bytes = asked.and_then(|text| text.parse().ok()).unwrap_or(0);
                let answer = whole.slice(..whole.len().min(bytes));
                async move {
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(answer)))
                }
            });
            // A connection the client drops is the end of a load, not a fault.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// `Gateway::call` without token, decision and record.
async fn unguarded(gateway: &Gateway, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
    let clock = &*gateway.parts().clock;
    let began = clock.now();
    let (parts, body) = request.into_parts();
    let request_id = connection::request_id(&parts.headers, clock);
    let is_safe = parts.method.is_safe();
    let mut interaction = "none";
    let answer = match answer(gateway, parts, request_id.clone(), body, peer, is_safe, &mut interaction).await
    {
        Ok(answer) => answer,
        Err(refusal) => Answer::refused(&refusal),
    };
    let micros = clock.now().0.saturating_sub(began.0);
    gateway.parts().telemetry.request(&RequestFacts {
        request_id: &request_id,
        interaction,
        status: answer.status,
        duration: Duration::from_micros(u64::try_from(micros).unwrap_or(0)),
        client: None,
        organisation: None,
        cause: None,
    });
    answer.with(connection::REQUEST_ID, &request_id).into_response(false)
}

async fn answer(
    gateway: &Gateway,
    parts: http::request::Parts,
    id: Box<str>,
    body: Incoming,
    peer: &Peer,
    is_safe: bool,
    interaction: &mut &'static str,
) -> Result<Answer, Refusal> {
    let limits = &gateway.parts().limits;
    let head = Head::read(parts, id, peer, limits, &*gateway.parts().clock)?;
    let request = head.receive(body, limits).await?;
    *interaction = request.interaction.name();
    let caller = Caller { actor: None, parties: None };
    let answer = perform(gateway, &caller, &request.interaction, &Aside::of(&request)).await?;
    Ok(answer.in_format(request.format, is_safe))
}

/// A server's process. It ends when this is dropped.
pub(crate) struct Served {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Milliseconds from the start of the process until it listened.
    pub(crate) ready_ms: f64,
}

impl Served {
    /// Starts this program again as a server.
    pub(crate) fn start(kind: Kind, folder: &Path) -> Result<Served> {
        let begun = Instant::now();
        let name = kind.to_possible_value().context("a kind without a name")?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", name.get_name()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join(format!("{}.log", name.get_name())))?)
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("standard output")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| {
            anyhow!(
                "the server does not start; see {}",
                folder.join(format!("{}.log", name.get_name())).display()
            )
        })?;
        Ok(Served { child, address, ready_ms: begun.elapsed().as_secs_f64() * 1e3 })
    }

    /// CPU time of the process so far, seconds (Linux, in ticks of 10 ms).
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let tail = stat.rsplit(')').next().context("stat")?;
        let field = |at: usize| tail.split_whitespace().nth(at).and_then(|text| text.parse::<f64>().ok());
        Ok((field(11).context("utime")? + field(12).context("stime")?) / 100.0)
    }

    /// Resident memory, MiB: all of it, and what is not pages of files.
    pub(crate) fn resident_mib(&self) -> Result<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let mib = |name: &str| -> Result<f64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("status")?;
            Ok(line.split_whitespace().nth(1).context("status")?.parse::<f64>()? / 1024.0)
        };
        Ok((mib("VmRSS:")?, mib("RssAnon:")?))
    }

    /// Lets it end in order.
    pub(crate) fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It has ended already after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
