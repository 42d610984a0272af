//! `sluis map watch`: a folder under an author's hands. After each save it is compiled, checked and tested anew; a page on loopback
//! shows a document beside what becomes of it, and follows.
//!
//! `look` (files -> state) runs whenever a file's size or time changed, seen by asking every 100 ms: that works on every file system and
//! container mount, and a mapping folder has few files. `serve` answers the page: only to loopback, only under a loopback name, with
//! nothing loaded from elsewhere. What is shown holds the documents of the cases, so it goes nowhere else.

mod look;
mod serve;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::sync::watch::channel;

use crate::say;
use look::{State, look, stamp};

/// How often files are asked whether they changed.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn watch(folder: &Path, port: u16) -> Result<ExitCode> {
    if !folder.join("mapping.toml").is_file() {
        bail!("{}: no mapping.toml in it; make a folder with `sluis map new`", folder.display());
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(follow(folder, port))?;
    Ok(ExitCode::SUCCESS)
}

/// Until it is interrupted.
async fn follow(folder: &Path, port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.with_context(|| format!("port {port}"))?;
    let address = listener.local_addr()?;
    let mut seen = stamp(folder);
    let first = State { number: 1, ..look(folder) };
    say(&first.summary);
    say(&format!("http://{address}/ follows each save; end with ctrl-c"));
    let (sender, receiver) = channel(Arc::new(first));
    let page = tokio::spawn(serve::serve(listener, receiver));
    let mut number = 1;
    let interrupted = tokio::signal::ctrl_c();
    let mut interrupted = std::pin::pin!(interrupted);
    loop {
        tokio::select! {
            _ = &mut interrupted => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = stamp(folder);
        if now == seen {
            continue;
        }
        seen = now;
        number += 1;
        let place = folder.to_owned();
        let state = tokio::task::spawn_blocking(move || State { number, ..look(&place) }).await?;
        say(&state.summary);
        sender.send_replace(Arc::new(state));
    }
    page.abort();
    Ok(())
}

#[cfg(test)]
mod tests;
