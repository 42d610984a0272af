//! The embedded store: SQLite in write-ahead mode, one writer with group commit, a pool of reading connections.
//!
//! A read runs on the caller's thread in a snapshot of its own and never waits for a write. A write is answered once
//! its commit is on disk (`synchronous=FULL`), and every read that starts after the answer sees it. Survives `kill -9` at
//! any moment: a commit is wholly in the log or not at all. On a full or read-only disk writes answer `DiskFull` and
//! reads go on.
//!
//! Knows tables and predicates; what may be seen it takes from the permit, what is asked from the plan.

pub(crate) mod archive;
mod bind;
mod checkpoint;
mod failure;
mod journal;
mod pen;
mod pool;

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::TransactionState;

use crate::audit::entry::AuditRecord;
use crate::decision::Permit;
use crate::decision::filter::Filter;
use crate::ids::{PartyKey, PatientKey, ResourceId};
use crate::store::session::names::NameTable;
use crate::store::session::parties::Parties;
use crate::store::session::{self, Bounds, Session};
use crate::store::writer::{Task, WriterThread};
use crate::store::{Reader, Store, StoreError, WriteReceipt, WriteWork, migrate};

use journal::{Journal, JournalFile};
use pool::{Line, Pool};

/// How the embedded store is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The database file; its directory holds the log files too.
    pub path: PathBuf,
    /// Base address of this gateway without a slash at its end: references under it are its own.
    pub base: String,
    /// Reading connections, at least 1: as many reads run at once.
    pub readers: usize,
    /// Writes that may wait; more are answered `Busy`.
    pub queue_max: usize,
    /// Works in one commit.
    pub group_max: usize,
    /// Milliseconds for which one commit gathers works that wait.
    pub group_ms_max: u64,
    /// Milliseconds a read, or one work of a write, may take, and for which a read waits for a connection.
    pub query_ms_max: u64,
    /// Milliseconds to wait for another process's lock on the file (a backup).
    pub busy_ms_max: u64,
    /// Whether a commit waits for the disk. `false` loses the last commits, though never the file's soundness, when the
    /// machine loses power: a choice for a laboratory.
    pub synchronous_full: bool,
    /// Page cache of each connection, KiB.
    pub cache_kib: i64,
    /// Bytes of the file read through memory mapping; 0 for none. A commit makes every other connection give its map up
    /// and fault it in anew at its next snapshot, and each read commits its record, so a map costs more than it spares.
    pub mmap_bytes: i64,
    /// Checkpoints are made by another program (Litestream).
    pub checkpoint_external: bool,
    /// Included resources on a page at most.
    pub includes_max: u32,
    /// Words of texts are indexed, for `_text` and `_content`.
    pub content: bool,
    /// Records at the end of the audit log that may wait for their index entries: so many a search of the log walks.
    pub audit_tail_max: u64,
    /// Size of the journal of looks, bytes: records that may wait for the log. 0: none, each look has a commit of its own.
    pub journal_bytes: usize,
}

impl Settings {
    /// Settings for a file, everything else as documented for production.
    pub fn at(path: impl Into<PathBuf>, base: impl Into<String>) -> Settings {
        Settings {
            path: path.into(),
            base: base.into(),
            readers: 4,
            queue_max: 1024,
            group_max: 256,
            group_ms_max: 50,
            query_ms_max: 5_000,
            busy_ms_max: 5_000,
            synchronous_full: true,
            cache_kib: 16 * 1024,
            mmap_bytes: 0,
            checkpoint_external: false,
            includes_max: 1_000,
            content: true,
            audit_tail_max: 4_096,
            journal_bytes: 8 << 20,
        }
    }
}

impl Settings {
    fn bounds(&self) -> Bounds<'_> {
        Bounds { address: &self.base, includes_max: self.includes_max, content: self.content }
    }
}

/// The embedded store.
pub struct SqliteStore {
    // Dropped first: what waits is moved into the log and written while the rest stands.
    journal: Option<Journal>,
    writer: Arc<WriterThread>,
    readers: Pool,
    names: Arc<NameTable>,
    settings: Arc<Settings>,
    /// Parties never change their key, so they may be remembered; this is no permission.
    parties: Parties,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database, making or upgrading its tables.
    ///
    /// Errors: `Database` for a file that is no database or belongs to a later program, `DiskFull` when it cannot be
    /// written.
    pub fn open(settings: Settings) -> Result<SqliteStore, StoreError> {
        let settings = Arc::new(settings);
        let mut line = Line::open(&settings, true)?;
        migrate::migrate(&mut line.connection, migrate::SQLITE)?;
        let names = Arc::new(line.names()?);
        sync_folder(&settings.path)?;
        let readers = Pool::open(&settings)?;
        let (file, shared) = open_journal(&line, &settings)?.unzip();
        let writer = Arc::new(pen::start(line, Arc::clone(&names), Arc::clone(&settings), shared.clone())?);
        let journal = match (file, shared) {
            (Some(file), Some(shared)) => Some(Journal::start(file, shared, Arc::clone(&writer))?),
            _ => None,
        };
        let store = SqliteStore { journal, writer, readers, names, settings, parties: Parties::default() };
        // What an earlier run left waiting is in the log before anything is served.
        store.settle()?;
        Ok(store)
    }

    /// Moves what the journal holds into the log.
    fn settle(&self) -> Result<(), StoreError> {
        self.journal.as_ref().map_or(Ok(()), Journal::settle)
    }

    /// Runs `work` on one snapshot under `filter`.
    fn snapshot<T>(
        &self,
        filter: &Filter,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let limit = self.settings.query_ms_max;
        let run = |line: &Line| {
            line.start(limit);
            line.connection.prepare_cached("BEGIN")?.execute([])?;
            // A snapshot begins with its first statement: if that asks for the log, what waits can still be moved into it.
            let settle = || match line.connection.transaction_state(None::<&str>)? {
                TransactionState::None => self.settle(),
                _ => Ok(()),
            };
            let mut session =
                Session::new(&line.connection, &self.names, self.settings.bounds(), filter, None);
            session.settle = Some(&settle);
            let result = work(&mut session);
            // The lender ends the snapshot if this does not.
            line.stop();
            line.connection.prepare_cached("ROLLBACK")?.execute([])?;
            result
        };
        self.readers.with(run).map_err(|error| error.within(limit))
    }
}

/// Waits until the disk knows which files there are. The journal of a new file's first page is removed without waiting;
/// were it to come back after a loss of power, it would undo that page, and all with it.
fn sync_folder(path: &std::path::Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| folder.as_os_str() != "").unwrap_or(std::path::Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| StoreError::DiskFull(format!("the folder of the database: {error}")))
}

impl Store for SqliteStore {
    fn read(
        &self,
        permit: &Permit,
        work: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.snapshot(permit.filter(), |session| work(session))
    }

    fn write(&self, permit: Permit, work: WriteWork) -> WriteReceipt {
        self.writer.queue(permit.filter().clone(), Task::Work(work))
    }

    fn append(&self, permit: &Permit, record: AuditRecord) -> WriteReceipt {
        let record = match &self.journal {
            Some(journal) => match journal.append(record) {
                Ok(receipt) => return receipt,
                Err(record) => record,
            },
            None => record,
        };
        self.writer.queue(permit.filter().clone(), Task::Record(record))
    }

    fn party(&self, name: &str) -> Result<PartyKey, StoreError> {
        let find = || self.snapshot(&Filter::own_work(), |session| session::find_party(session.base(), name));
        let interned = name.to_owned();
        self.parties.key(name, find, || self.writer.write_now(move |writer| writer.party(&interned)))
    }

    fn patient_key(&self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError> {
        self.snapshot(&Filter::own_work(), |session| session.patient_key(id))
    }

    fn check(&self) -> Result<(), StoreError> {
        self.snapshot(&Filter::own_work(), |session| session.mark())?;
        self.writer.write_now(|writer| writer.probe())
    }
}

/// Moves into the log what the journal of a gateway that was killed still holds: for programs that copy a database and do
/// not serve it. A running gateway's journal is left to it.
///
/// Errors: `Database` when records wait and cannot be moved.
fn settle_left_over(settings: &Settings) -> Result<(), StoreError> {
    if !journal::beside(&settings.path).exists() {
        return Ok(());
    }
    let line = Line::open(settings, true)?;
    let waits = open_journal(&line, settings)?.is_some_and(|(_, shared)| shared.holds());
    drop(line);
    // Opening moves it.
    if waits { SqliteStore::open(settings.clone()).map(drop) } else { Ok(()) }
}

/// The journal of a database and what it holds. `None`: none is wanted, another program has it, or it cannot be made;
/// then each record has a commit of its own.
fn open_journal(
    line: &Line,
    settings: &Settings,
) -> Result<Option<(JournalFile, Arc<journal::Shared>)>, StoreError> {
    // A program that makes the checkpoints copies the database alone.
    if settings.journal_bytes == 0 || settings.checkpoint_external {
        return Ok(None);
    }
    let number = |name: &str| -> Result<u64, StoreError> {
        let mut statement = line.connection.prepare_cached("SELECT value FROM counter WHERE name = ?")?;
        Ok(statement.query_row([name], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    let (database, folded) = (number("journal_id")?, number("journal")?);
    let path = journal::beside(&settings.path);
    match JournalFile::open(&path, database, folded, settings.journal_bytes) {
        Ok(None) => Ok(None),
        Ok(Some((file, contents))) => {
            let shared = journal::Shared::new(contents, settings.queue_max);
            Ok(Some((file, Arc::new(shared))))
        }
        Err(error) => {
            tracing::warn!(error = %error, "no journal of looks: each look waits for a commit of its own");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests;
