//! The store for several gateways on one database: PostgreSQL 14 or later.
//!
//! A read blocks the calling thread in a snapshot of its own (`REPEATABLE READ READ ONLY`); connections are driven by a
//! runtime that belongs to the store. Each gateway has one writer with group commit, and the row `counter.commit` is
//! locked for the length of a commit, so that the writers of all gateways take turns: works have one order, the audit
//! chain no gap, an assertion one winner, and no update is lost. A read that starts after an answered write sees it on
//! every gateway, since nothing of a permission is kept outside the database.
//!
//! What is read and written, and by which rules, is [`session`](crate::store::session)'s, as for the embedded store.

pub(crate) mod archive;
mod base;
mod failure;
mod migrate;
mod pen;
mod pool;
mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::entry::AuditRecord;
use crate::decision::Permit;
use crate::decision::filter::Filter;
use crate::ids::{PartyKey, PatientKey, ResourceId};
use crate::store::session::names::NameTable;
use crate::store::session::parties::Parties;
use crate::store::session::{self, Bounds, Session};
use crate::store::writer::{Task, WriterThread};
use crate::store::{Reader, Store, StoreError, WriteReceipt, WriteWork};

use pool::Lines;

pub use tls::{ClientIdentity, SslMode};

/// How the store on PostgreSQL is set up.
#[derive(Clone)]
pub struct Settings {
    /// Where the database is, and who asks: `host=... dbname=... user=... password=...`. Printed by nothing.
    pub connection: String,
    /// Its password, when `connection` does not say it. Printed by nothing.
    pub password: Option<String>,
    /// TLS to the server. `None`: `VerifyFull`, and `Prefer` for a server on this machine.
    pub sslmode: Option<SslMode>,
    /// PEM file of the authorities that the server's certificate must come from.
    pub authorities: Option<PathBuf>,
    /// What this gateway proves itself with, where the server asks for a certificate (`clientcert`, `cert` in
    /// pg_hba.conf).
    pub identity: Option<ClientIdentity>,
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
    /// Milliseconds a new connection may take.
    pub connect_ms_max: u64,
    /// Milliseconds a read, or one work of a write, may take, and for which a connection or another gateway's commit is
    /// waited for.
    pub query_ms_max: u64,
    /// Included resources on a page at most.
    pub includes_max: u32,
    /// Words of texts are indexed, for `_text` and `_content`.
    pub content: bool,
    /// Records at the end of the audit log that may wait for their index entries: so many a search of the log walks.
    pub audit_tail_max: u64,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The connection holds a password.
        f.debug_struct("Settings")
            .field("base", &self.base)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Settings for a database, everything else as documented for production.
    pub fn at(connection: impl Into<String>, base: impl Into<String>) -> Settings {
        Settings {
            connection: connection.into(),
            password: None,
            sslmode: None,
            authorities: None,
            identity: None,
            base: base.into(),
            readers: 8,
            queue_max: 1024,
            group_max: 256,
            group_ms_max: 10,
            connect_ms_max: 5_000,
            query_ms_max: 5_000,
            includes_max: 1_000,
            content: true,
            audit_tail_max: 4_096,
        }
    }

    fn bounds(&self) -> Bounds<'_> {
        Bounds { address: &self.base, includes_max: self.includes_max, content: self.content }
    }
}

/// The store on PostgreSQL.
pub struct PostgresStore {
    // Dropped first: what waits is written while the rest stands.
    writer: WriterThread,
    lines: Arc<Lines>,
    names: Arc<NameTable>,
    settings: Arc<Settings>,
    /// Parties never change their key, so they may be remembered; this is no permission.
    parties: Parties,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects, making or upgrading the tables; gateways that start at once take turns.
    ///
    /// Errors: `Database` when the server cannot be reached or belongs to a later program.
    pub fn open(settings: Settings) -> Result<PostgresStore, StoreError> {
        let settings = Arc::new(settings);
        let lines = Arc::new(Lines::new(&settings)?);
        let names = Arc::new(migrate::prepare(&lines)?);
        let writer = pen::start(Arc::clone(&lines), Arc::clone(&names), Arc::clone(&settings))?;
        Ok(PostgresStore { writer, lines, names, settings, parties: Parties::default() })
    }

    /// Runs `work` on one snapshot under `filter`.
    fn snapshot<T>(
        &self,
        filter: &Filter,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let read = |line: &base::Line<'_>| {
            work(&mut Session::new(line, &self.names, self.settings.bounds(), filter, None))
        };
        waiting(|| self.lines.read(read)).map_err(|error| error.within(self.settings.query_ms_max))
    }
}

impl Store for PostgresStore {
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
        self.writer.queue(permit.filter().clone(), Task::Record(record))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn party(&self, name: &str) -> Result<PartyKey, StoreError> {
        let find = || self.snapshot(&Filter::own_work(), |session| session::find_party(session.base(), name));
        let interned = name.to_owned();
        self.parties
            .key(name, find, || waiting(|| self.writer.write_now(move |writer| writer.party(&interned))))
    }

    fn patient_key(&self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError> {
        self.snapshot(&Filter::own_work(), |session| session.patient_key(id))
    }

    fn check(&self) -> Result<(), StoreError> {
        waiting(|| self.writer.write_now(|writer| writer.probe()))
    }
}

/// Waits for the server, letting the runtime's other tasks move to another thread meanwhile: a slow database is not to
/// stop what needs none.
fn waiting<T>(work: impl FnOnce() -> T) -> T {
    let threads = tokio::runtime::Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if threads { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests;
