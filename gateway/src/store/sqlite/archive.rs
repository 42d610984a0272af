//! The embedded store as the source and the target of a copy.

use std::fs::File;
use std::path::Path;

use super::Settings;
use super::pool::Line;
use crate::store::StoreError;
use crate::store::archive::{ArchiveError, Copied};
use crate::store::migrate::{self, current};
use crate::store::session::Bounds;
use crate::store::session::base::Base;

/// Runs `work` on one snapshot of a database that a gateway may be serving. `hold`: nobody writes meanwhile.
///
/// Errors: `File` when it is not there, `Store` when it is of another program; those of `work`.
pub(crate) fn source<T>(
    settings: &Settings,
    hold: bool,
    work: impl FnOnce(&dyn Base) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    if let Err(cause) = File::open(&settings.path) {
        return Err(ArchiveError::File { path: settings.path.clone(), cause });
    }
    super::settle_left_over(settings)?;
    let line = Line::open(settings, hold)?;
    let connection = &line.connection;
    let base: &dyn Base = connection;
    let begin = if hold { "BEGIN IMMEDIATE" } else { "BEGIN" };
    connection.execute_batch(begin).map_err(StoreError::from)?;
    let applied = base.all("SELECT number, checksum FROM migration ORDER BY number", &[], |row| {
        Ok((row.integer(0)?, row.blob(1)?))
    })?;
    current(&applied, migrate::SQLITE)?;
    let done = work(base)?;
    connection.execute_batch("ROLLBACK").map_err(StoreError::from)?;
    Ok(done)
}

/// Makes a database beside its place, lets `work` fill it in one transaction, and puts it there whole.
///
/// Errors: `Exists`; `File`, `Store`; those of `work`. No file is left.
pub(crate) fn target(
    settings: &Settings,
    work: impl FnOnce(&dyn Base, Bounds<'_>) -> Result<Vec<Copied>, ArchiveError>,
) -> Result<Vec<Copied>, ArchiveError> {
    let path = &settings.path;
    if path.exists() {
        return Err(ArchiveError::Exists(path.clone()));
    }
    let mut part = path.clone();
    part.as_mut_os_string().push(".part");
    let remove = || {
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut beside = part.clone();
            beside.as_mut_os_string().push(end);
            // What an earlier attempt left, or this one; mostly there is nothing.
            let _ = std::fs::remove_file(beside);
        }
    };
    remove();
    let filled = fill(settings, &part, work).and_then(|copied| {
        place(&part, path).map_err(|cause| ArchiveError::File { path: path.clone(), cause })?;
        Ok(copied)
    });
    remove();
    filled
}

fn fill(
    settings: &Settings,
    part: &Path,
    work: impl FnOnce(&dyn Base, Bounds<'_>) -> Result<Vec<Copied>, ArchiveError>,
) -> Result<Vec<Copied>, ArchiveError> {
    // The file counts only once it is whole, so nothing on the way waits for the disk.
    let beside = Settings { path: part.to_owned(), synchronous_full: false, ..settings.clone() };
    let mut line = Line::open(&beside, true)?;
    migrate::migrate(&mut line.connection, migrate::SQLITE)?;
    let connection = &line.connection;
    let mode = |mode: &str| connection.pragma_update(None, "journal_mode", mode).map_err(StoreError::from);
    // A log would hold every page once more.
    mode("DELETE")?;
    connection.pragma_update(None, "synchronous", "OFF").map_err(StoreError::from)?;
    connection.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::from)?;
    let copied = work(connection, settings.bounds())?;
    connection.execute_batch("COMMIT; PRAGMA analysis_limit = 1000; ANALYZE").map_err(StoreError::from)?;
    mode("WAL")?;
    Ok(copied)
}

fn place(part: &Path, path: &Path) -> std::io::Result<()> {
    File::open(part)?.sync_all()?;
    // Unlike a renaming, this overwrites nothing.
    std::fs::hard_link(part, path)?;
    File::open(path.parent().filter(|folder| folder.as_os_str() != "").unwrap_or(Path::new(".")))?.sync_all()
}
