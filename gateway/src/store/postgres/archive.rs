//! A PostgreSQL database as the source and the target of a copy.

use super::Settings;
use super::base::Line;
use super::migrate::prepare;
use super::pool::{Lent, Lines};
use crate::store::archive::{ArchiveError, Copied};
use crate::store::migrate::{POSTGRES, current};
use crate::store::session::Bounds;
use crate::store::session::base::Base;

/// A copy takes as long as it takes: a week, in milliseconds.
const COPY_MS_MAX: u64 = 7 * 86_400_000;

/// Limits that are for requests.
const UNLIMITED: &str = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                         SET LOCAL idle_in_transaction_session_timeout = 0";

/// Runs `work` on one snapshot of a database that gateways may be serving. `hold`: nobody writes meanwhile.
///
/// Errors: `Store` when it is not there or of another program; those of `work`.
pub(crate) fn source<T>(
    settings: &Settings,
    hold: bool,
    work: impl FnOnce(&dyn Base) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    let lines = Lines::new(&Settings { readers: 1, ..settings.clone() })?;
    let lent = Lent(Some(lines.take()?));
    let line = lent.line(COPY_MS_MAX)?;
    line.batch("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
    line.batch(UNLIMITED)?;
    let base: &dyn Base = &line;
    if hold {
        // Every writer locks this row for its commit.
        base.number("SELECT value FROM counter WHERE name = 'commit' FOR UPDATE", &[])?;
    } else {
        line.batch("SET TRANSACTION READ ONLY")?;
    }
    let applied = base.all("SELECT number, checksum FROM migration ORDER BY number", &[], |row| {
        Ok((row.integer(0)?, row.blob(1)?))
    })?;
    current(&applied, POSTGRES)?;
    let done = work(base)?;
    line.batch("ROLLBACK")?;
    Ok(done)
}

/// Lets `work` fill an empty database in one transaction.
///
/// Errors: `Store`; those of `work`. The database is as before, its tables made.
pub(crate) fn target(
    settings: &Settings,
    work: impl FnOnce(&dyn Base, Bounds<'_>) -> Result<Vec<Copied>, ArchiveError>,
) -> Result<Vec<Copied>, ArchiveError> {
    let lines = Lines::new(&Settings { readers: 1, ..settings.clone() })?;
    prepare(&lines)?;
    let lent = Lent(Some(lines.take()?));
    let line: Line<'_> = lent.line(COPY_MS_MAX)?;
    line.batch("BEGIN")?;
    line.batch(UNLIMITED)?;
    // No gateway begins to serve from it meanwhile.
    let base: &dyn Base = &line;
    base.number("SELECT value FROM counter WHERE name = 'commit' FOR UPDATE", &[])?;
    let copied = work(&line, settings.bounds())?;
    line.flush()?;
    line.batch("COMMIT")?;
    line.batch("ANALYZE")?;
    Ok(copied)
}
