//! Brings the database to the tables this program knows, by the rules of [`migrate`](crate::store::migrate), and reads
//! the numbers of names. Gateways that start at once take turns by a lock.

use super::pool::{Lent, Lines};
use crate::store::StoreError;
use crate::store::migrate::{POSTGRES, checksum_of, compare};
use crate::store::session::base::{Base, values};
use crate::store::session::names::NameTable;

/// Number of the lock; held until the transaction ends.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7358194)";

/// Errors: as [`compare`]; the server's. The database is as before.
pub(super) fn prepare(lines: &Lines) -> Result<NameTable, StoreError> {
    let mut lent = Lent(Some(lines.take()?));
    // Tables of a large database take longer to change than a query may.
    let line = lent.line(600_000)?;
    line.batch("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")?;
    line.batch(LOCK)?;
    line.batch(
        "CREATE TABLE IF NOT EXISTS migration (
            number   BIGINT PRIMARY KEY,
            name     TEXT NOT NULL,
            checksum BYTEA NOT NULL
        )",
    )?;
    let base: &dyn Base = &line;
    let applied = base.all("SELECT number, checksum FROM migration ORDER BY number", &[], |row| {
        Ok((row.integer(0)?, row.blob(1)?))
    })?;
    for migration in compare(&applied, POSTGRES)? {
        line.batch(migration.sql)?;
        base.execute(
            "INSERT INTO migration (number, name, checksum) VALUES ($1, $2, $3)",
            values![migration.number, migration.name, &*checksum_of(migration)],
        )?;
    }
    let names = NameTable::open(base)?;
    line.batch("COMMIT")?;
    lent.keep();
    Ok(names)
}
