//! What a request costs, with security on and off, beside bare hyper in the same run.
//!
//! `cargo bench -p sluis` prints tables; `docs/performance.md` explains them. Everything is on loopback, plain HTTP,
//! keep-alive, client and server sharing the machine; so the ratios are what to read, not the numbers. CPU is that of
//! the whole process, the load generator included. `SLUIS_BENCH_SECONDS` is the time of each row, `SLUIS_BENCH_ONLY`
//! a part of a workload's name.

mod client;
mod floor;
mod process;
mod workload;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use client::{Measured, run_load};
use sluis::clock::System;
use sluis::demo::{self, Context, Options};
use sluis::run::{self, Running};
use workload::{Workload, patients, prove, shots};

/// Workloads with the number of connections.
const LOADS: &[(Workload, usize)] = &[
    (Workload::Metadata, 16),
    (Workload::Read, 16),
    (Workload::Read, 1),
    (Workload::Search, 16),
    (Workload::Transaction, 16),
    (Workload::Transaction, 1),
    (Workload::Ingest, 16),
    (Workload::Ingest, 1),
];

fn main() -> Result<()> {
    let seconds: f64 = std::env::var("SLUIS_BENCH_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let only = std::env::var("SLUIS_BENCH_ONLY").unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = std::env::temp_dir().join(format!("sluis-bench-{}", std::process::id()));
    let result = runtime.block_on(all(&folder, Duration::from_secs_f64(seconds), &only));
    std::fs::remove_dir_all(&folder)?;
    result
}

/// One line of the table.
struct Row {
    workload: Workload,
    connections: usize,
    what: &'static str,
    measured: Measured,
    floor: f64,
}

async fn all(folder: &Path, time: Duration, only: &str) -> Result<()> {
    let on = Served::start(&folder.join("on"), false).await?;
    let off = Served::start(&folder.join("off"), true).await?;
    let bytes = Arc::new(AtomicUsize::new(0));
    let hyper = floor::bare_hyper(Arc::clone(&bytes)).await?;

    let gesp = on.token("gesp-midden-epd", &Context::role("01.042")).await?;
    // A document is read by its sender's mapping; this one is the hospital's.
    let umc = on.token("umc-epd", &Context::system()).await?;
    let seen = patients(on.address(), Some(&gesp)).await?;
    let there = patients(off.address(), None).await?;
    let ids_on: Vec<&str> = seen.iter().map(|(_, id)| id.as_str()).collect();
    let ids_off: Vec<&str> = there
        .iter()
        .filter(|(bsn, _)| seen.iter().any(|(visible, _)| visible == bsn))
        .map(|(_, id)| id.as_str())
        .collect();
    ensure!(ids_on.len() == ids_off.len(), "the two gateways hold other people");

    let mut rows = Vec::new();
    for &(workload, connections) in LOADS.iter().filter(|(workload, _)| workload.name().contains(only)) {
        let token = match workload {
            Workload::Metadata => None,
            Workload::Ingest => Some(umc.as_str()),
            _ => Some(gesp.as_str()),
        };
        let with_shots = shots(workload, &ids_on);
        let (answer_bytes, units) = prove(workload, on.address(), token, &with_shots).await?;
        // The floor reads the same requests and answers with as many bytes.
        bytes.store(answer_bytes, Ordering::Relaxed);
        let bare = run_load(hyper, None, &with_shots, connections, time).await?;
        let floor = bare.per_second;
        let mut row = |what, measured| rows.push(Row { workload, connections, what, measured, floor });
        row("bare hyper", bare);
        // Without security there is no sender, and it is the sender who chooses the mapping: `$ingest` has no such row.
        if workload != Workload::Ingest {
            let off_shots = shots(workload, &ids_off);
            let (_, same) = prove(workload, off.address(), None, &off_shots).await?;
            ensure!(units == same, "{}: {units} units with security, {same} without", workload.name());
            row("security off", run_load(off.address(), None, &off_shots, connections, time).await?);
        }
        row("security on", run_load(on.address(), token, &with_shots, connections, time).await?);
    }
    report(&rows);

    let message = shots(Workload::Ingest, &[]);
    let alone = [
        ("disk: 4 KiB appended and durable, median us", floor::disk_us(folder)? as f64),
        ("store: read by id, us", floor::store_read_us(on.running.gateway(), &ids_on, time)?),
        ("mapping: one HL7v2 message, us", floor::map_us(&message[0].body, time)?),
    ];
    let (served, address) = (on.folder.clone(), on.address());
    on.running.stop().await;
    off.running.stop().await;
    let started = process::start(&served, address).await?;
    report_alone(&alone, &started);
    Ok(())
}

/// A demo region being served.
struct Served {
    running: Running,
    folder: std::path::PathBuf,
}

impl Served {
    async fn start(folder: &Path, without_security: bool) -> Result<Served> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        demo::prepare_with(folder, &Options { port, tls: false, without_security })?;
        let running = run::start(&folder.join("sluis.toml"), Arc::new(System)).await?;
        demo::seed(running.gateway(), folder, &mut |_, _| {}).await?;
        Ok(Served { running, folder: folder.to_owned() })
    }

    fn address(&self) -> SocketAddr {
        self.running.address()
    }

    async fn token(&self, client: &str, context: &Context) -> Result<String> {
        let assertion = demo::assertion(&self.folder, client, context, &System)?;
        demo::token(self.running.gateway(), &assertion).await
    }
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn report(rows: &[Row]) {
    println!("| workload | connections | | requests/s | of bare hyper | CPU us/request | p50 us | p99 us |");
    println!("|---|---:|---|---:|---:|---:|---:|---:|");
    for Row { workload, connections, what, measured, floor } in rows {
        println!(
            "| {} | {connections} | {what} | {:.0} | {:.3} | {:.0} | {} | {} |",
            workload.name(),
            measured.per_second,
            measured.per_second / floor,
            measured.cpu_us,
            measured.p50_us,
            measured.p99_us
        );
    }
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn report_alone(alone: &[(&str, f64)], started: &process::Started) {
    println!("\n| alone | |\n|---|---:|");
    for (what, number) in alone {
        println!("| {what} | {number:.1} |");
    }
    println!("| start on an existing store until ready, ms | {:.0} |", started.ready_ms);
    println!("| resident when idle, MiB | {:.1} |", started.resident_kib as f64 / 1024.0);
    println!("| of it not pages of files, MiB | {:.1} |", started.anonymous_kib as f64 / 1024.0);
}
