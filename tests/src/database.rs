//! What a test does with a world's tables past its gateway, and PostgreSQL databases of a test's own on the server that
//! `SLUIS_TEST_POSTGRES` names (`./test` starts one).

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, anyhow};
use rusqlite::Connection;
use sluis::config::{self, Secret};
use tokio_postgres::{Client, NoTls};

/// The tables of a world.
#[derive(Clone)]
pub enum Tables {
    /// Of the embedded store.
    File(PathBuf),
    /// Of a PostgreSQL database.
    Server(Arc<Database>),
}

impl Tables {
    /// Runs statements.
    pub fn change(&self, text: &str) -> Result<()> {
        match self {
            Tables::File(path) => Ok(Connection::open(path)?.execute_batch(text)?),
            Tables::Server(database) => database.batch(text),
        }
    }

    /// The first column of a query's rows, as numbers.
    pub fn numbers(&self, text: &str) -> Result<Vec<i64>> {
        match self {
            Tables::File(path) => file_rows(path, text, |row| row.get(0)),
            Tables::Server(database) => database.rows(text, |row| row.try_get(0)),
        }
    }

    /// The first column of the first row, as a number.
    pub fn number(&self, text: &str) -> Result<i64> {
        self.numbers(text)?.first().copied().with_context(|| format!("no row: {text}"))
    }

    /// The first two columns of a query's rows: a number and a text.
    pub fn named(&self, text: &str) -> Result<Vec<(i64, String)>> {
        match self {
            Tables::File(path) => file_rows(path, text, |row| Ok((row.get(0)?, row.get(1)?))),
            Tables::Server(database) => database.rows(text, |row| Ok((row.try_get(0)?, row.try_get(1)?))),
        }
    }

    /// The first column of a query's rows, as bytes.
    pub fn bytes(&self, text: &str) -> Result<Vec<Vec<u8>>> {
        match self {
            Tables::File(path) => file_rows(path, text, |row| row.get(0)),
            Tables::Server(database) => database.rows(text, |row| row.try_get(0)),
        }
    }

    /// Bytes as a statement spells them.
    pub fn literal(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Tables::File(_) => format!("x'{digits}'"),
            Tables::Server(_) => format!("'\\x{digits}'::bytea"),
        }
    }
}

fn file_rows<T>(
    path: &PathBuf,
    text: &str,
    make: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let connection = Connection::open(path)?;
    let mut statement = connection.prepare(text)?;
    let rows = statement.query_map([], make)?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// A database, dropped at the end.
pub struct Database {
    server: String,
    name: String,
}

impl Database {
    /// A new one; `None`, said aloud, when no server is named.
    pub fn new() -> Result<Option<Database>> {
        let Ok(server) = std::env::var("SLUIS_TEST_POSTGRES") else {
            // Not by `eprintln!`, which the test runner keeps to itself when a test passes.
            let text =
                "SKIPPED: SLUIS_TEST_POSTGRES names no server, so PostgreSQL was NOT tested; run ./test\n";
            std::io::stderr().write_all(text.as_bytes())?;
            return Ok(None);
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluis_world_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let database = Database { server, name };
        database.on_server(&format!("CREATE DATABASE {}", database.name))?;
        Ok(Some(database))
    }

    /// A copy of this one as it is now. Whoever is connected to this one is cut off.
    pub fn copy(&self) -> Result<Database> {
        let copy = Database { server: self.server.clone(), name: format!("{}_copy", self.name) };
        self.cut()?;
        copy.on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", copy.name))?;
        copy.on_server(&format!("CREATE DATABASE {} TEMPLATE {}", copy.name, self.name))?;
        Ok(copy)
    }

    /// How it is reached.
    pub fn connection(&self) -> String {
        format!("{} dbname={}", self.server, self.name)
    }

    /// How it is reached through a relay on a port of this machine.
    pub fn connection_by(&self, host: &str, port: u16) -> Result<String> {
        let server: tokio_postgres::Config = self.server.parse()?;
        let user = server.get_user().context("SLUIS_TEST_POSTGRES names no user")?;
        Ok(format!("host={host} port={port} user={user} dbname={}", self.name))
    }

    /// Settings of a gateway on it.
    pub fn store(&self) -> Result<config::Store> {
        store(&self.connection())
    }

    /// Runs statements on it, as its owner.
    pub fn batch(&self, text: &str) -> Result<()> {
        self.with(&self.connection(), async move |client| Ok(client.batch_execute(text).await?))
    }

    fn rows<T: Send>(
        &self,
        text: &str,
        make: impl Fn(&tokio_postgres::Row) -> Result<T, tokio_postgres::Error> + Send,
    ) -> Result<Vec<T>> {
        self.with(&self.connection(), async move |client| {
            client.query(text, &[]).await?.iter().map(|row| Ok(make(row)?)).collect()
        })
    }

    /// Ends all connections to it from the server's side.
    pub fn cut(&self) -> Result<()> {
        let name = &self.name;
        self.on_server(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ))
    }

    fn on_server(&self, text: &str) -> Result<()> {
        let connection = format!("{} dbname=postgres", self.server);
        self.with(&connection, async move |client| Ok(client.batch_execute(text).await?))
    }

    /// On a thread of its own: tests ask inside a runtime and outside one, and at the end.
    fn with<T: Send>(
        &self,
        connection: &str,
        work: impl AsyncFnOnce(&Client) -> Result<T> + Send,
    ) -> Result<T> {
        let run = move || -> Result<T> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (client, line) = tokio_postgres::connect(connection, NoTls).await?;
                let line = tokio::spawn(line);
                let done = work(&client).await;
                drop(client);
                line.await??;
                done
            })
        };
        std::thread::scope(|scope| scope.spawn(run).join().map_err(|_| anyhow!("a test's query panicked"))?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // What cannot be dropped stays on a server of tests; a test does not fail for it.
        let _ = self.on_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// Settings of a gateway on a PostgreSQL server.
pub fn store(connection: &str) -> Result<config::Store> {
    let settings: config::Postgres = toml::from_str("connections = 4")?;
    Ok(config::Store::Postgres(config::Postgres {
        connection: Some(Secret::from(connection.to_owned())),
        ..settings
    }))
}
