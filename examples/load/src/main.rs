//! What requests cost: the gateway with security and without, beside bare hyper and the bare store, in one run.
//!
//! `sluis-load run` makes a region of patients from a seed, starts the servers as processes of their own, and puts each
//! workload to all of them in turn, several times over, so that what the machine does meanwhile falls on all alike.

mod care;
mod client;
mod draw;
mod nine;
mod raw;
mod region;
mod report;
mod serve;
mod workload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use clap::{Args, Parser, Subcommand, ValueEnum as _};

use client::{Line, Measured, Model, Target, load};
use draw::{Rng, Spread};
use raw::Raw;
use region::{Region, open_target, target};
use report::Row;
use serve::{Kind, Served};
use workload::{Missing, Scene, Workload};

/// The gateway's own, for all servers alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator of Sluis.
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measures workloads and prints a table.
    Run(Settings),
    /// Does every workload once in a small region, and measures nothing worth reading: that they run at all.
    Smoke,
    /// Serves a region (what `run` starts).
    #[command(hide = true)]
    Serve { kind: Kind, folder: PathBuf },
}

#[derive(Args, Clone)]
struct Settings {
    /// Patients in the region, about 50 resources each: 1000, 4000, 16000, 64000.
    #[arg(long, default_value_t = 1000)]
    patients: usize,
    /// Seed of data and draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of each slice.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Slices of each server, taken in turn.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Open model: iterations a second, whether or not the server keeps up; without it the closed one.
    #[arg(long)]
    rate: Option<f64>,
    /// Ids by Zipf's law instead of all alike.
    #[arg(long)]
    zipf: bool,
    /// Workloads; without it all.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Workload>,
    /// Also each search parameter on its own.
    #[arg(long)]
    each_search: bool,
    /// Keeps the filled region in this folder, and takes it from there when it is filled already.
    #[arg(long)]
    folder: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Command::parse().what {
        What::Serve { kind, folder } => serve::run(kind, &folder),
        What::Run(settings) => measure(&settings),
        What::Smoke => measure(&Settings {
            patients: 30,
            seed: 1,
            seconds: 0.1,
            rounds: 1,
            connections: 2,
            rate: None,
            zipf: true,
            only: Vec::new(),
            each_search: false,
            folder: None,
        }),
    }
}

fn measure(settings: &Settings) -> Result<()> {
    ensure!(settings.connections > 0 && settings.patients > 0, "at least one connection and one patient");
    let scratch = std::env::temp_dir().join(format!("sluis-load-{}", std::process::id()));
    let folder = settings.folder.clone().unwrap_or_else(|| scratch.join("region"));
    std::fs::create_dir_all(folder.parent().unwrap_or(Path::new(".")))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(all(settings, &folder));
    for name in ["on", "off", "raw"] {
        // What was never made need not be removed.
        let _ = std::fs::remove_dir_all(folder.with_extension(name));
    }
    if settings.folder.is_none() {
        std::fs::remove_dir_all(&scratch)?;
    }
    result
}

/// The servers of a run.
struct Servers {
    hyper: Served,
    off: Served,
    on: Served,
    /// Tokens for `on`; the floor is sent the same.
    on_target: Target,
    raw: Raw,
}

async fn all(settings: &Settings, folder: &Path) -> Result<()> {
    let region = Region::make(folder, settings.patients, settings.seed).await?;
    let (on, off) = (region.copy("on")?, region.copy("off")?);
    let raw = Raw::open(&region.copy("raw")?)?;
    let served = Served::start(Kind::On, &on)?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = report::Started { ready_ms: served.ready_ms, resident_mib: served.resident_mib()? };
    let mut servers = Servers {
        hyper: Served::start(Kind::Hyper, &region.folder)?,
        off: Served::start(Kind::Off, &off)?,
        on_target: target(&served, &on).await?,
        on: served,
        raw,
    };
    report::head(settings.patients, region.ids.len(), &started);
    let model = match settings.rate {
        None => Model::Closed(settings.connections),
        Some(rate) => Model::Open(rate, settings.connections),
    };
    let workloads = if settings.only.is_empty() { Workload::value_variants() } else { &settings.only };
    let mut missing = Vec::new();
    for &workload in workloads {
        let mut scene = scene(settings, &region, &servers).await?;
        match compare(settings, workload, &mut servers, &mut scene, model).await? {
            Ok(rows) => rows.iter().for_each(report::row),
            Err(Missing(why)) => missing.push(format!("{}: {why}", workload.name())),
        }
    }
    report::missing(&missing);
    if settings.each_search {
        each_search(settings, &region, &servers).await?;
    }
    report::after(&servers.on.resident_mib()?);
    servers.on.stop()?;
    servers.off.stop()?;
    servers.hyper.stop()
}

async fn scene(settings: &Settings, region: &Region, servers: &Servers) -> Result<Scene> {
    let mut line = Line::open(&Arc::new(servers.on_target.clone()), 0).await?;
    Ok(Scene {
        seed: settings.seed,
        ids: region.ids.clone(),
        spread: Spread::new(settings.zipf, region.ids.len()),
        records: (0..64)
            .map(|at| Bytes::from(care::patient(settings.seed + 1_000, at, true).to_string()))
            .collect(),
        known: workload::Known::of(&mut line).await?,
        consents: Vec::new(),
        bgz: Vec::new(),
        number: AtomicU64::new(u64::from(std::process::id()) << 32),
    })
}

/// One workload on every server, in turn.
async fn compare(
    settings: &Settings,
    workload: Workload,
    servers: &mut Servers,
    scene: &mut Scene,
    model: Model,
) -> Result<Result<Vec<Row>, Missing>> {
    let on = Arc::new(servers.on_target.clone());
    let off = Arc::new(open_target(servers.off.address));
    let mut line = Line::open(&on, 0).await?;
    if let Some(missing) = workload.prove(&mut line, scene).await? {
        return Ok(Err(missing));
    }
    let floor = Target {
        floor: Some(line.mean_bytes()),
        address: servers.hyper.address,
        ..servers.on_target.clone()
    };
    let has_off = workload.prove(&mut Line::open(&off, 0).await?, scene).await?.is_none();
    let scene = Arc::new(std::mem::replace(scene, Scene::empty()));
    let mut rows = vec![
        Row::new(workload, "bare hyper"),
        Row::new(workload, "security off"),
        Row::new(workload, "security on"),
    ];
    let mut store = Row::new(workload, "raw store");
    let time = Duration::from_secs_f64(settings.seconds);
    let floor = Arc::new(floor);
    for slice in 0..settings.rounds {
        for (row, server, target) in
            [(0, &servers.hyper, &floor), (1, &servers.off, &off), (2, &servers.on, &on)]
        {
            if row == 1 && !has_off {
                continue;
            }
            let cpu = server.cpu_seconds()?;
            let measured = load(target, workload, &scene, model, time, slice).await?;
            rows[row].add(measured, (server.cpu_seconds()? - cpu) * 1e6);
        }
        let group = settings.connections;
        let raw = &mut servers.raw;
        // The database's calls block, and nothing else has to run meanwhile.
        let floor = tokio::task::block_in_place(|| raw.run(workload, &scene.ids, group, time))?;
        if let Some((measured, cpu)) = floor {
            let cpu = cpu * measured.units as f64;
            store.add(measured, cpu);
        }
    }
    rows.retain(Row::is_filled);
    if store.is_filled() {
        rows.insert(1, store);
    }
    Row::relate(&mut rows);
    Ok(Ok(rows))
}

/// Each search parameter on its own, with security.
async fn each_search(settings: &Settings, region: &Region, servers: &Servers) -> Result<()> {
    let target = Arc::new(servers.on_target.clone());
    let scene = scene(settings, region, servers).await?;
    report::each_head();
    for (at, name) in workload::parameters().enumerate() {
        let mut line = Line::open(&target, 0).await?;
        let (mut rng, began) = (Rng::new(settings.seed, at as u64), std::time::Instant::now());
        let (cpu, mut asked) = (servers.on.cpu_seconds()?, 0u64);
        while began.elapsed().as_secs_f64() < settings.seconds {
            workload::one(&mut line, at, &scene, &mut rng).await?;
            asked += 1;
        }
        let measured =
            Measured { seconds: began.elapsed().as_secs_f64(), units: asked, ..Measured::default() };
        report::each(&name, measured.unit_rate(), (servers.on.cpu_seconds()? - cpu) * 1e6 / asked as f64);
    }
    Ok(())
}
