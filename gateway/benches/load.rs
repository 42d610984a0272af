//! What a request costs, with security on and off, beside bare hyper in the same run.
//!
//! `cargo bench -p sluis` prints a table; `docs/performance.md` explains it. Everything is on loopback, plain HTTP, 16
//! keep-alive connections, client and server sharing the machine; so the ratios are what to read, not the numbers.
//! CPU is that of the whole process, the load generator included.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use sluis::clock::System;
use sluis::demo::{self, Context, Options};
use sluis::run::{self, Running};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 16;

/// One prepared request.
#[derive(Clone)]
struct Shot {
    method: Method,
    path: String,
    media: &'static str,
    body: Bytes,
}

/// What a workload did in its time.
struct Measured {
    per_second: f64,
    cpu_us: f64,
    p50_us: u64,
    p99_us: u64,
}

fn main() -> Result<()> {
    let seconds: f64 = std::env::var("SLUIS_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(all(Duration::from_secs_f64(seconds)))
}

async fn all(time: Duration) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("sluis-bench-{}", std::process::id()));
    let (on, token) = gateway(&folder.join("on"), false).await?;
    let (off, _) = gateway(&folder.join("off"), true).await?;
    let hyper = bare_hyper().await?;

    let mut rows = Vec::new();
    for workload in ["read by id", "patient search", "transaction of 10", "HL7v2 ingest"] {
        let on_shot = shots(workload, on.address(), Some(&token)).await?;
        let off_shot = shots(workload, off.address(), None).await?;
        // The floor answers with as many bytes as the gateway does, and reads what the gateway reads.
        let floor = run_load(hyper, None, Arc::clone(&off_shot), time).await?;
        let without = run_load(off.address(), None, off_shot, time).await?;
        let with = run_load(on.address(), Some(&token), on_shot, time).await?;
        rows.push((workload, floor, without, with));
    }
    report(&rows);
    on.stop().await;
    off.stop().await;
    std::fs::remove_dir_all(&folder).context("remove the bench's folder")
}

async fn gateway(folder: &Path, without_security: bool) -> Result<(Running, String)> {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let clock = Arc::new(System);
    demo::prepare_with(folder, &Options { port, tls: false, without_security })?;
    let running = run::start(&folder.join("sluis.toml"), clock.clone()).await?;
    demo::seed(running.gateway(), folder, &mut |_, _| {}).await?;
    let assertion = demo::assertion(folder, "gesp-midden-epd", &Context::role("01.042"), &*clock)?;
    let token = demo::token(running.gateway(), &assertion).await?;
    Ok((running, token))
}

/// A server that does nothing but HTTP: reads the body, answers 1.3 kB.
async fn bare_hyper() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let answer = Bytes::from(vec![b'x'; 1300]);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let answer = answer.clone();
                    async move {
                        let _ = request.into_body().collect().await;
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(answer)))
                    }
                });
                // A connection the client drops is the end of a load, not a fault.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}

/// The requests of a workload against one gateway; ids are looked up first.
async fn shots(workload: &str, address: SocketAddr, token: Option<&str>) -> Result<Arc<Vec<Shot>>> {
    let get = |path: String| Shot { method: Method::GET, path, media: "", body: Bytes::new() };
    let mut connection = connect(address).await?;
    let found = send(&mut connection, &get("/fhir/Patient?_count=40&_elements=id".into()), token, 0).await?;
    let found: serde_json::Value = serde_json::from_slice(&found.1)?;
    let ids: Vec<String> = found["entry"]
        .as_array()
        .context("patients")?
        .iter()
        .filter_map(|e| e["resource"]["id"].as_str().map(str::to_owned))
        .collect();
    ensure!(!ids.is_empty(), "no patients to ask for");
    let shots = match workload {
        "read by id" => ids.iter().map(|id| get(format!("/fhir/Patient/{id}"))).collect(),
        "patient search" => ids
            .iter()
            .map(|id| {
                get(format!(
                    "/fhir/Observation?patient={id}&code=http://loinc.org|19868-9&_sort=-date&_count=20"
                ))
            })
            .collect(),
        "transaction of 10" => {
            vec![Shot {
                method: Method::POST,
                path: "/fhir".into(),
                media: "application/fhir+json",
                body: transaction().into(),
            }]
        }
        _ => vec![Shot {
            method: Method::POST,
            path: "/fhir/$ingest".into(),
            media: "x-application/hl7-v2+er7",
            body: include_bytes!("../../examples/documents/oru-longfunctie.hl7").as_slice().into(),
        }],
    };
    Ok(Arc::new(shots))
}

fn transaction() -> String {
    let entries: Vec<String> = (0..10)
        .map(|at| {
            format!(
                r#"{{"resource":{{"resourceType":"Observation","status":"final","subject":{{"identifier":{{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"{}"}}}},"code":{{"coding":[{{"system":"http://loinc.org","code":"29463-7"}}]}},"effectiveDateTime":"2026-0{}-11","valueQuantity":{{"value":7{at}.5,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}}},"request":{{"method":"POST","url":"Observation"}}}}"#,
                demo::people::BSNS[0],
                1 + at % 9,
            )
        })
        .collect();
    format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","))
}

type Connection = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

async fn connect(address: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    connection: &mut Connection,
    shot: &Shot,
    token: Option<&str>,
    number: u64,
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
            Bytes::from(replace(&shot.body, b"@RUN@", number.to_string().as_bytes()))
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

async fn run_load(
    address: SocketAddr,
    token: Option<&str>,
    shots: Arc<Vec<Shot>>,
    time: Duration,
) -> Result<Measured> {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(connect(address).await?);
    }
    let cpu = cpu_us()?;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for (offset, mut connection) in connections.into_iter().enumerate() {
        let (shots, token) = (Arc::clone(&shots), token.map(str::to_owned));
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            let mut at = offset;
            while started.elapsed() < time {
                let shot = &shots[at % shots.len()];
                at += 1;
                let begun = Instant::now();
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let (status, body) = send(&mut connection, shot, token.as_deref(), number).await?;
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

/// CPU time of this process, microseconds (Linux: clock ticks of 10 ms).
fn cpu_us() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let tail = stat.rsplit(')').next().context("stat")?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks * 10_000.0)
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn report(rows: &[(&str, Measured, Measured, Measured)]) {
    println!("| workload | | requests/s | of bare hyper | CPU us/request | p50 us | p99 us |");
    println!("|---|---|---:|---:|---:|---:|---:|");
    for (workload, floor, without, with) in rows {
        for (name, m) in [("bare hyper", floor), ("security off", without), ("security on", with)] {
            println!(
                "| {workload} | {name} | {:.0} | {:.2} | {:.0} | {} | {} |",
                m.per_second,
                m.per_second / floor.per_second,
                m.cpu_us,
                m.p50_us,
                m.p99_us
            );
        }
    }
}
