//! `sluis backup`, `restore` and `move`: records out of a store and into one.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::open;
use crate::audit::trail::VerifyReport;
use crate::clock::{Clock as _, System};
use crate::config::{self, Config};
use crate::store::archive::{self, ArchiveError, Copied, FileSink, Loader, Progress};
use crate::store::session::Bounds;
use crate::store::session::base::Base;
use crate::store::{postgres, sqlite};

/// Copies the store of these settings into a new file, whether a gateway serves from it or not: one moment, whole.
///
/// Errors: a file that is there already; the store's, the disk's. No file is left.
pub fn backup(settings: &Path, file: &Path, progress: &mut Progress<'_>) -> Result<Vec<Copied>> {
    let config = Config::read(settings)?;
    let about = archive::About {
        base: config.base.clone(),
        at: System.now().0,
        program: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut sink = FileSink::create(file, &about)?;
    match source(&config, false, |base| archive::dump(base, &mut sink, progress)) {
        Ok(copied) => {
            sink.finish()?;
            Ok(copied)
        }
        Err(error) => {
            sink.abandon();
            Err(error)
        }
    }
}

/// Fills the empty store of these settings from a backup, reads it back, and walks the audit log.
///
/// Errors: a store that is not empty, a backup that is damaged or of another gateway; the target is as before.
pub fn restore(
    settings: &Path,
    file: &Path,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Copied>, VerifyReport)> {
    let config = Config::read(settings)?;
    let copied = target(&config, |base, bounds| {
        let mut loader = Loader::new(base)?;
        let fits = |about: &archive::About| match about.base == config.base {
            true => Ok(()),
            false => Err(ArchiveError::Damaged {
                path: file.to_owned(),
                what: format!(
                    "it is of {}, and these settings have base = {}: references and the audit log are of the address",
                    about.base, config.base
                ),
            }),
        };
        archive::read(file, fits, &mut Told { sink: &mut loader, progress })?;
        loader.finish(bounds, progress)
    })
    .with_context(|| format!("restore of {}", file.display()))?;
    Ok((copied, super::verify_audit(settings)?))
}

/// Moves the records of one store to the empty one of other settings; nobody writes to the first meanwhile, and it stays
/// as it is. Interrupted, nothing of it is in the second: it is begun again.
///
/// Errors: as [`restore`].
pub fn transfer(from: &Path, to: &Path, progress: &mut Progress<'_>) -> Result<(Vec<Copied>, VerifyReport)> {
    let (here, there) = (Config::read(from)?, Config::read(to)?);
    anyhow::ensure!(
        here.base == there.base,
        "base = {} there and {} here: references and the audit log are of the address",
        there.base,
        here.base
    );
    // Brings its tables up to date and what waits beside it into it.
    drop(open::store(&here)?);
    let copied = source(&here, true, |source| {
        target(&there, |base, bounds| {
            let mut loader = Loader::new(base)?;
            archive::dump(source, &mut loader, progress)?;
            loader.finish(bounds, progress)
        })
        .map_err(|error| match error.downcast::<ArchiveError>() {
            Ok(error) => error,
            Err(error) => ArchiveError::Store(crate::store::StoreError::Database(format!("{error:#}"))),
        })
    })
    .context("move")?;
    Ok((copied, super::verify_audit(to)?))
}

fn source<T>(
    config: &Config,
    hold: bool,
    work: impl FnOnce(&dyn Base) -> Result<T, ArchiveError>,
) -> Result<T> {
    Ok(match &config.store {
        config::Store::Sqlite(settings) => {
            sqlite::archive::source(&open::sqlite(config, settings), hold, work)?
        }
        config::Store::Postgres(settings) => {
            postgres::archive::source(&open::postgres(config, settings)?, hold, work)?
        }
    })
}

fn target(
    config: &Config,
    work: impl FnOnce(&dyn Base, Bounds<'_>) -> Result<Vec<Copied>, ArchiveError>,
) -> Result<Vec<Copied>> {
    Ok(match &config.store {
        config::Store::Sqlite(settings) => sqlite::archive::target(&open::sqlite(config, settings), work)?,
        config::Store::Postgres(settings) => {
            postgres::archive::target(&open::postgres(config, settings)?, work)?
        }
    })
}

/// A sink that says how far it is.
struct Told<'t, 'b, 'p> {
    sink: &'t mut Loader<'b>,
    progress: &'t mut Progress<'p>,
}

impl archive::Sink for Told<'_, '_, '_> {
    fn table(&mut self, name: &str, columns: &[String]) -> Result<(), ArchiveError> {
        (self.progress)(name, 0, 0);
        self.sink.table(name, columns)
    }

    fn row(&mut self, row: &[u8]) -> Result<(), ArchiveError> {
        self.sink.row(row)
    }

    fn end(&mut self) -> Result<Copied, ArchiveError> {
        self.sink.end()
    }
}
