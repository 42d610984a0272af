//! Connections: how each is set up, and the readers' pool.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::Settings;
use crate::store::StoreError;
use crate::store::session::names::NameTable;

/// A connection with its limit.
pub(super) struct Line {
    /// The connection.
    pub(super) connection: Connection,
    alarm: Alarm,
}

impl Line {
    /// Opens a connection; a reading one cannot write, whatever it is asked.
    pub(super) fn open(settings: &Settings, writes: bool) -> Result<Line, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&settings.path, flags)?;
        connection.busy_timeout(Duration::from_millis(settings.busy_ms_max))?;
        connection.set_prepared_statement_cache_capacity(512);
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = if settings.synchronous_full { "FULL" } else { "NORMAL" };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -settings.cache_kib)?;
        connection.pragma_update(None, "mmap_size", settings.mmap_bytes)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // Checkpoints run on a thread of their own, or outside (Litestream), never inside a commit.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "query_only", !writes)?;
        // One plan per statement, whatever is bound: else each new value has the statement planned again, which costs
        // three times what running it does, and a plan could differ from the one that was reviewed.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let alarm = Alarm::new();
        let rings = alarm.clone();
        connection.progress_handler(20_000, Some(move || rings.rings()))?;
        Ok(Line { connection, alarm })
    }

    /// Numbers of names, new ones given in a transaction that no other program shares.
    pub(super) fn names(&mut self) -> Result<NameTable, StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let names = NameTable::open(&*transaction)?;
        transaction.commit()?;
        Ok(names)
    }

    /// Lets statements run for `ms` milliseconds from now.
    pub(super) fn start(&self, ms: u64) {
        self.alarm.set(ms);
    }

    /// Lets statements run as long as they take (opening and closing transactions).
    pub(super) fn stop(&self) {
        self.alarm.clear();
    }
}

/// A moment after which a connection's statement is interrupted. Elapsed time only; it decides nothing else.
#[derive(Clone)]
struct Alarm {
    epoch: Instant,
    at_ms: Arc<AtomicI64>,
}

impl Alarm {
    fn new() -> Alarm {
        Alarm { epoch: Instant::now(), at_ms: Arc::new(AtomicI64::new(i64::MAX)) }
    }

    fn elapsed_ms(&self) -> i64 {
        i64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn set(&self, ms: u64) {
        let at = self.elapsed_ms().saturating_add(i64::try_from(ms).unwrap_or(i64::MAX));
        self.at_ms.store(at, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.at_ms.store(i64::MAX, Ordering::Relaxed);
    }

    fn rings(&self) -> bool {
        self.elapsed_ms() > self.at_ms.load(Ordering::Relaxed)
    }
}

/// Reading connections, each used by one thread at a time.
pub(super) struct Pool {
    idle: Mutex<Idle>,
    returned: Condvar,
    wait: Duration,
}

struct Idle {
    lines: Vec<Line>,
    /// Threads that wait for one: waking nobody is a call of the kernel all the same.
    waiting: usize,
}

impl Pool {
    /// Opens all connections.
    pub(super) fn open(settings: &Settings) -> Result<Pool, StoreError> {
        let lines =
            (0..settings.readers.max(1)).map(|_| Line::open(settings, false)).collect::<Result<_, _>>()?;
        Ok(Pool {
            idle: Mutex::new(Idle { lines, waiting: 0 }),
            returned: Condvar::new(),
            wait: Duration::from_millis(settings.query_ms_max),
        })
    }

    /// Lends a connection to `work`, waiting for one as long as a query may take.
    ///
    /// Errors: `Busy` when none comes back in time; those of `work`.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Line) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let lent = Lent { line: Some(self.take()?), pool: self };
        match &lent.line {
            Some(line) => work(line),
            // `lent` holds the line until it is dropped.
            None => Err(StoreError::Busy),
        }
    }

    fn take(&self) -> Result<Line, StoreError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = idle.lines.pop() {
            return Ok(line);
        }
        idle.waiting += 1;
        let (mut idle, _) = self
            .returned
            .wait_timeout_while(idle, self.wait, |idle| idle.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        idle.waiting -= 1;
        idle.lines.pop().ok_or(StoreError::Busy)
    }
}

/// Gives the connection back even when the work panics, its transaction ended.
struct Lent<'p> {
    line: Option<Line>,
    pool: &'p Pool,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        line.stop();
        if !line.connection.is_autocommit() {
            // A snapshot left open would hold the log back; a connection that cannot end it is not used again.
            if line.connection.execute_batch("ROLLBACK").is_err() {
                tracing::error!("a reading connection was given up: it could not end its snapshot");
                return;
            }
        }
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.lines.push(line);
        let is_awaited = idle.waiting > 0;
        drop(idle);
        if is_awaited {
            self.pool.returned.notify_one();
        }
    }
}
