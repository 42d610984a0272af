//! The program as an operator starts it: time until it is ready on a store that exists, and memory when idle.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use http::Method;

use crate::client::{Shot, connect, send};

/// A start of the program.
pub(crate) struct Started {
    /// Milliseconds from starting the process until it says it is ready.
    pub(crate) ready_ms: f64,
    /// Resident memory half a second later, KiB.
    pub(crate) resident_kib: u64,
    /// Of it, memory of its own rather than pages of files, KiB.
    pub(crate) anonymous_kib: u64,
}

/// Starts `sluis serve` on a folder nobody else serves, and ends it.
pub(crate) async fn start(folder: &Path, address: SocketAddr) -> Result<Started> {
    let begun = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_sluis"))
        .arg("serve")
        .arg("--config")
        .arg(folder.join("sluis.toml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let child = Ended(child);
    let shot =
        Shot { method: Method::GET, path: "/health/ready".into(), media: "", body: bytes::Bytes::new() };
    loop {
        if let Ok(mut connection) = connect(address).await
            && let Ok((200, _)) = send(&mut connection, &shot, None).await
        {
            break;
        }
        if begun.elapsed() > Duration::from_secs(30) {
            bail!("the program does not become ready");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let ready_ms = begun.elapsed().as_secs_f64() * 1e3;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id()))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find(|line| line.starts_with(name)).context("status")?;
        Ok(line.split_whitespace().nth(1).context("status")?.parse()?)
    };
    Ok(Started { ready_ms, resident_kib: kib("VmRSS:")?, anonymous_kib: kib("RssAnon:")? })
}

/// A process that does not outlive its measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It has ended already when this fails.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
