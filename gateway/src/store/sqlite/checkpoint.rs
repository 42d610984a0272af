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
/// Commits, or pages of log (16 MiB), after which pages are moved even though commits keep coming: a log that begins anew
/// writes over what it has, and need not have the file system make room.
const COMMITS_MAX: u32 = 1_000;
const PAGES_MAX: i64 = 4_096;
/// A pause between commits in which pages are moved.
const PAUSE: Duration = Duration::from_millis(500);
/// Rounds between looks at the statistics.
const OPTIMIZE_ROUNDS: u32 = 100;

/// Starts the thread; it ends when `commits` does, each of which tells the pages of log there are then.
pub(super) fn start(settings: Arc<Settings>, commits: Receiver<i64>) -> Result<JoinHandle<()>, StoreError> {
    let line = Line::open(&settings, true)?;
    std::thread::Builder::new()
        .name("sluis-checkpoint".to_owned())
        .spawn(move || run(&line, &commits))
        .map_err(|error| StoreError::Database(format!("the checkpoint's thread did not start: {error}")))
}

fn run(line: &Line, commits: &Receiver<i64>) {
    let (mut waiting, mut rounds) = (0u32, 0u32);
    // Pages of log at the last round, and now.
    let (mut before, mut pages) = (0i64, 0i64);
    loop {
        // Without commits there is nothing to move, so nothing to wake for.
        let event = match waiting {
            0 => commits.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => commits.recv_timeout(PAUSE),
        };
        match event {
            Ok(there) => {
                waiting += 1;
                // It began anew.
                before = if there < pages { 0 } else { before };
                pages = there;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if event.is_ok() && waiting < COMMITS_MAX && pages - before < PAGES_MAX {
            continue;
        }
        (waiting, before) = (0, pages);
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
