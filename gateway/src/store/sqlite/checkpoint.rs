//! Moves committed pages from the log into the database file, off the commit path, and keeps the planner's statistics.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Settings;
use super::pool::Line;
use crate::store::StoreError;

/// Pages of log past which readers are waited for, so that it cannot grow without end (64 MiB).
const LOG_PAGES_MAX: i64 = 16_384;
/// Commits after which pages are moved even though commits keep coming.
const COMMITS_MAX: u32 = 1_000;
/// A pause between commits in which pages are moved.
const PAUSE: Duration = Duration::from_millis(500);
/// Rounds between looks at the statistics.
const OPTIMIZE_ROUNDS: u32 = 100;

/// Starts the thread; it ends when `commits` does.
pub(super) fn start(settings: Arc<Settings>, commits: Receiver<()>) -> Result<JoinHandle<()>, StoreError> {
    let line = Line::open(&settings, true)?;
    std::thread::Builder::new()
        .name("sluis-checkpoint".to_owned())
        .spawn(move || run(&line, &commits))
        .map_err(|error| StoreError::Database(format!("the checkpoint's thread did not start: {error}")))
}

fn run(line: &Line, commits: &Receiver<()>) {
    let (mut waiting, mut rounds) = (0u32, 0u32);
    loop {
        // Without commits there is nothing to move, so nothing to wake for.
        let event = match waiting {
            0 => commits.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => commits.recv_timeout(PAUSE),
        };
        match event {
            Ok(()) => waiting += 1,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if event.is_ok() && waiting < COMMITS_MAX {
            continue;
        }
        waiting = 0;
        rounds += 1;
        if let Err(error) = checkpoint(line) {
            tracing::warn!(error = %error, "a checkpoint failed; the log keeps what it holds");
        }
        if rounds.is_multiple_of(OPTIMIZE_ROUNDS) {
            // Statements pin their indexes, so statistics only help the small choices left. Limited to a sample.
            if let Err(error) = line.connection.execute_batch("PRAGMA analysis_limit = 1000; PRAGMA optimize")
            {
                tracing::warn!(error = %error, "statistics were not refreshed");
            }
        }
    }
}

fn checkpoint(line: &Line) -> Result<(), StoreError> {
    let pages = |mode: &str| {
        line.connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(1))
    };
    if pages("PASSIVE")? > LOG_PAGES_MAX {
        pages("RESTART")?;
    }
    Ok(())
}
