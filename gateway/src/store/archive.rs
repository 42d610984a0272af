//! Records copied from a store to a file or to another store, and back: `sluis backup`, `restore` and `move`.
//!
//! [`dump`] reads one snapshot, so a gateway may serve meanwhile. What is copied are the tables that hold something of
//! their own, row by row and whole: resources with all versions, grants, the audit log with its chain, shelves, secrets.
//! The search index is made anew from the bodies by the same code that writes it, so a copy fits either database. A
//! [`Loader`] fills an empty store inside one transaction of its caller, and reads every table back: as many rows with
//! the same sum, or nothing stays.

mod file;
mod row;
mod tables;

use std::path::PathBuf;

pub(crate) use file::{About, FileSink, read};
use row::{Tally, decode};
use tables::{Column, Index, Table};

use crate::decision::filter::Filter;
use crate::ids::PartyKey;
use crate::store::session::base::{Base, Value};
use crate::store::session::names::NameTable;
use crate::store::session::{Bounds, Hand, Pen, Session};
use crate::store::{INDEX_STATE, Shelf, StoreError, Writer as _};

/// Bytes of rows handed to the database at once.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Resources indexed between two words of progress.
const INDEX_BATCH: i64 = 500;

/// Why a copy was not made. Nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Cause.
        cause: std::io::Error,
    },
    /// A file that is there would be overwritten.
    #[error("{}: it is there already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// No backup, or one that is cut off or changed.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        what: String,
    },
    /// The target holds records.
    #[error(
        "the target is not empty: its table {0} has rows. Name a new database, or a file that is not there"
    )]
    NotEmpty(String),
    /// The target has no place for what is copied.
    #[error("the copy has {0}, which this program has no table for; use the program it was made by")]
    Unknown(String),
    /// The copy of a table is not what was read.
    #[error("table {table} was copied wrongly: {read} rows were read, {found} are there or some differ")]
    Differs {
        /// Table.
        table: String,
        /// Rows read.
        read: u64,
        /// Rows found.
        found: u64,
    },
}

/// What was copied of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Table.
    pub table: String,
    /// Rows.
    pub rows: u64,
    /// Sum over their SHA-256, hexadecimal.
    pub sum: String,
}

/// Told as a copy goes on: what is done, how many rows of how many.
pub type Progress<'p> = dyn FnMut(&str, u64, u64) + 'p;

/// Takes tables, row by row.
pub(crate) trait Sink {
    /// A table begins.
    fn table(&mut self, name: &str, columns: &[String]) -> Result<(), ArchiveError>;

    /// A row of it, encoded.
    fn row(&mut self, row: &[u8]) -> Result<(), ArchiveError>;

    /// The table ends; what of it there was.
    fn end(&mut self) -> Result<Copied, ArchiveError>;
}

/// Copies every table of a snapshot into `sink`.
pub(crate) fn dump(
    base: &dyn Base,
    sink: &mut dyn Sink,
    progress: &mut Progress<'_>,
) -> Result<Vec<Copied>, ArchiveError> {
    let mut copied = Vec::new();
    for table in tables::of(base)? {
        let of = u64::try_from(table.count(base)?).unwrap_or(0);
        let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
        sink.table(&table.name, &names)?;
        let (mut bytes, mut done) = (Vec::new(), 0u64);
        // The reader of rows knows the store's errors alone.
        let mut failed = None;
        let scanned = table.scan(base, &mut |row| {
            bytes.clear();
            row::encode(row, table.columns.len(), &mut bytes)?;
            done += 1;
            if done.is_multiple_of(1_000) {
                progress(&table.name, done, of);
            }
            sink.row(&bytes).map_err(|error| {
                failed = Some(error);
                StoreError::Database("the copy was stopped".to_owned())
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        scanned?;
        copied.push(sink.end()?);
    }
    Ok(copied)
}

/// Fills an empty store.
pub(crate) struct Loader<'b> {
    base: &'b dyn Base,
    tables: Vec<Table>,
    indexes: Vec<Index>,
    loading: Option<Loading>,
    loaded: Vec<(Table, Tally)>,
}

/// A table that is being filled, its columns in the copy's order.
struct Loading {
    table: Table,
    rows: Vec<Vec<u8>>,
    bytes: usize,
    tally: Tally,
}

impl<'b> Loader<'b> {
    /// Takes out what a new store begins with, inside the caller's transaction.
    ///
    /// Errors: `NotEmpty`.
    pub(crate) fn new(base: &'b dyn Base) -> Result<Loader<'b>, ArchiveError> {
        let tables = tables::of(base)?;
        for table in tables.iter().filter(|table| !table.seeded()) {
            if table.count(base)? > 0 {
                return Err(ArchiveError::NotEmpty(table.name.clone()));
            }
        }
        for table in tables.iter().filter(|table| table.seeded()) {
            table.clear(base)?;
        }
        // An index is made in a fraction of the time once its rows are there.
        let indexes = tables::drop_indexes(base)?;
        Ok(Loader { base, tables, indexes, loading: None, loaded: Vec::new() })
    }

    /// Reads everything back, makes the search index, and leaves the store as a gateway would have filled it.
    ///
    /// Errors: `Differs`. The caller undoes its transaction.
    pub(crate) fn finish(
        self,
        bounds: Bounds<'_>,
        progress: &mut Progress<'_>,
    ) -> Result<Vec<Copied>, ArchiveError> {
        let mut copied = Vec::new();
        for (table, read) in self.loaded {
            let mut found = Tally::default();
            let mut bytes = Vec::new();
            progress(&format!("{}, read back", table.name), 0, read.rows);
            table.scan(self.base, &mut |row| {
                bytes.clear();
                row::encode(row, table.columns.len(), &mut bytes)?;
                found.add(&bytes);
                Ok(())
            })?;
            if found != read {
                return Err(ArchiveError::Differs { table: table.name, read: read.rows, found: found.rows });
            }
            table.count_on(self.base)?;
            copied.push(found.of(&table.name));
        }
        index(self.base, bounds, progress)?;
        for (at, made) in self.indexes.iter().enumerate() {
            progress("indexes", at as u64, self.indexes.len() as u64);
            self.base.execute(&made.definition, &[])?;
        }
        Ok(copied)
    }

    fn flush(&mut self) -> Result<(), ArchiveError> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        // What a table does not keep is put together when it is read, and read back all the same.
        let kept: Vec<bool> = loading.table.columns.iter().map(|column| !column.made).collect();
        let mut rows: Vec<Vec<Value<'_>>> = Vec::with_capacity(loading.rows.len());
        for row in &loading.rows {
            let values = decode(row).map_err(StoreError::Database)?;
            if values.len() != kept.len() {
                return Err(StoreError::Database("a row of other columns than its table".to_owned()).into());
            }
            rows.push(
                values.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(value, _)| value).collect(),
            );
        }
        let columns: Vec<(&str, &str)> =
            loading.table.columns.iter().filter(|column| !column.made).map(Column::spelt).collect();
        self.base.fill(&loading.table.name, &columns, &rows)?;
        loading.rows.clear();
        loading.bytes = 0;
        Ok(())
    }
}

impl Sink for Loader<'_> {
    fn table(&mut self, name: &str, columns: &[String]) -> Result<(), ArchiveError> {
        let unknown = |what: &str| ArchiveError::Unknown(what.to_owned());
        let target = self.tables.iter().find(|table| table.name == name).ok_or_else(|| unknown(name))?;
        let mut kept = Vec::new();
        for column in columns {
            let known = target.columns.iter().find(|known| known.name == *column);
            kept.push(known.ok_or_else(|| unknown(&format!("{name}.{column}")))?.clone());
        }
        let table = Table { name: name.to_owned(), columns: kept };
        self.loading = Some(Loading { table, rows: Vec::new(), bytes: 0, tally: Tally::default() });
        Ok(())
    }

    fn row(&mut self, row: &[u8]) -> Result<(), ArchiveError> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        loading.tally.add(row);
        loading.bytes += row.len();
        loading.rows.push(row.to_owned());
        if loading.bytes >= BATCH_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<Copied, ArchiveError> {
        self.flush()?;
        let Some(loading) = self.loading.take() else { return Ok(Tally::default().of("")) };
        let copied = loading.tally.of(&loading.table.name);
        self.loaded.push((loading.table, loading.tally));
        Ok(copied)
    }
}

/// Makes the search index of all live resources.
fn index(base: &dyn Base, bounds: Bounds<'_>, progress: &mut Progress<'_>) -> Result<(), StoreError> {
    let names = NameTable::open(base)?;
    let filter = Filter::own_work();
    let mut hand = Hand::default();
    let of = u64::try_from(base.number("SELECT count(*) FROM resource WHERE deleted = 0", &[])?).unwrap_or(0);
    let (mut after, mut done) = (0, 0);
    loop {
        let pen = Pen { sequence: 0, hand: &mut hand };
        let mut session = Session::new(base, &names, bounds, &filter, Some(pen));
        let Some((last, rows)) = session.index_anew(after, INDEX_BATCH)? else {
            // A program without the operator's search parameters may have made it: the next start looks for itself.
            session.shelf_remove(Shelf::Secret, PartyKey(0), INDEX_STATE)?;
            return Ok(());
        };
        (after, done) = (last, done + rows);
        progress("search index", done, of);
    }
}
