//! Connections: how each is set up, and the runtime that drives them.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use tokio::runtime::Runtime;
use tokio_postgres::Config;
use tokio_postgres::config::{self, Host};

use super::base::{Line, wait};
use super::tls::{Connector, SslMode};
use super::{Settings, failure};
use crate::store::StoreError;

/// Milliseconds after which a transaction that asks nothing (its gateway hangs or was cut off) is ended by the server,
/// so that the other gateways can write.
const IDLE_MS_MAX: u64 = 60_000;

/// All connections of one gateway, and the runtime that drives them.
pub(super) struct Lines {
    runtime: Option<Runtime>,
    pool: Pool,
    connections: usize,
    ms_max: u64,
}

impl Lines {
    pub(super) fn new(settings: &Settings) -> Result<Lines, StoreError> {
        let (config, connector) = reach(settings)?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config, connector, recycling);
        // One more than the readers: the writer's.
        let connections = settings.readers.max(1) + 1;
        let pool = Pool::builder(manager)
            .max_size(connections)
            .build()
            .map_err(|error| StoreError::Database(format!("the pool: {error}")))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("sluis-postgres")
            .enable_all()
            .build()
            .map_err(|error| {
                StoreError::Database(format!("the connections' thread did not start: {error}"))
            })?;
        Ok(Lines { runtime: Some(runtime), pool, connections, ms_max: settings.query_ms_max })
    }

    /// Milliseconds a work may take.
    pub(super) fn ms_max(&self) -> u64 {
        self.ms_max
    }

    /// A connection, made anew when those at hand have closed.
    ///
    /// Errors: `Busy` when all are in use for too long, `Database` when the server is not there.
    pub(super) fn take(&self) -> Result<Object, StoreError> {
        // Connections belong to the store's runtime, whoever asks for one.
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        let until = Instant::now() + Duration::from_millis(self.ms_max);
        match wait(self.pool.get(), until) {
            None => Err(StoreError::Busy),
            Some(Ok(object)) => Ok(object),
            Some(Err(PoolError::Backend(error))) => Err(failure::store_error(&error)),
            Some(Err(error)) => Err(StoreError::Database(format!("the pool: {error}"))),
        }
    }

    /// A connection, and what `open` gave on it. One that the server has closed since is not a database that is gone, and all
    /// in the pool may be such: then it is made anew.
    ///
    /// Errors: those of [`Lines::take`] and of `open`.
    pub(super) fn opened<T>(
        &self,
        open: impl Fn(&Line<'_>) -> Result<T, StoreError>,
    ) -> Result<(Lent, T), StoreError> {
        let mut left = self.connections;
        loop {
            let lent = Lent(Some(self.take()?));
            match lent.line(self.ms_max).and_then(|line| open(&line)) {
                Err(StoreError::Database(_)) if left > 0 => left -= 1,
                opened => return opened.map(|made| (lent, made)),
            }
        }
    }

    /// Runs `work` on one snapshot. A connection whose transaction cannot be ended is given up.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Line<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let begin = |line: &Line<'_>| line.batch(BEGIN);
        let (mut lent, ()) = match self.opened(begin) {
            // A line may have died without a word.
            Err(StoreError::Timeout(_)) => self.opened(begin)?,
            opened => opened?,
        };
        let line = lent.line(self.ms_max)?;
        let result = work(&line);
        if !line.broken() && line.batch("ROLLBACK").is_ok() {
            lent.keep();
        }
        result
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The store may be dropped by a task, where waiting for a runtime's end is not allowed.
            runtime.shutdown_background();
        }
    }
}

/// A connection out of the pool. Unless it is kept, it is closed: also when the work panics.
pub(super) struct Lent(pub(super) Option<Object>);

impl Lent {
    pub(super) fn line(&self, ms: u64) -> Result<Line<'_>, StoreError> {
        match &self.0 {
            Some(object) => Ok(Line::new(object, ms)),
            None => Err(StoreError::Busy),
        }
    }

    pub(super) fn keep(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// How the server is reached.
///
/// Errors: `Database`, naming what of the settings does not hold.
fn reach(settings: &Settings) -> Result<(Config, Connector), StoreError> {
    let unfit = |text: &str| StoreError::Database(text.to_owned());
    if settings.connection.contains("sslmode") {
        return Err(unfit("sslmode is a setting of its own: take it out of the connection's text"));
    }
    // The error of a setting that does not parse may quote it, and it holds a password.
    let unreadable = |_| {
        unfit(
            "the connection's text cannot be read: it is `host=... dbname=... user=...` or \
             `postgresql://user@host/database`",
        )
    };
    let mut config = Config::from_str(&settings.connection).map_err(unreadable)?;
    if config.get_hosts().is_empty() {
        return Err(unfit("the connection's text names no host"));
    }
    let local = config.get_hosts().iter().all(local);
    let sockets = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
    let mode = match settings.sslmode {
        // PostgreSQL has no TLS on its socket.
        _ if sockets => SslMode::Disable,
        None if local && settings.authorities.is_none() => SslMode::Prefer,
        None => SslMode::VerifyFull,
        Some(mode) => mode,
    };
    if !local && matches!(mode, SslMode::Disable | SslMode::Prefer) {
        tracing::warn!(sslmode = ?mode, "records may cross the network to the database in the clear; sslmode = \"verify-full\" prevents it");
    }
    let connector = Connector::new(mode, settings.authorities.as_deref(), settings.identity.as_ref())
        .map_err(StoreError::Database)?;
    if let Some(password) = &settings.password {
        config.password(password);
    }
    let limit = settings.query_ms_max;
    config
        .ssl_mode(match mode {
            SslMode::Disable => config::SslMode::Disable,
            SslMode::Prefer => config::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyFull => config::SslMode::Require,
        })
        .application_name("sluis")
        .connect_timeout(Duration::from_millis(settings.connect_ms_max))
        // Joins run in the order they are written.
        .options(format!(
            "-c statement_timeout={limit} -c lock_timeout={limit} -c join_collapse_limit=1 -c jit=off \
             -c idle_in_transaction_session_timeout={IDLE_MS_MAX} -c client_min_messages=error"
        ));
    Ok((config, connector))
}

/// Whether no network lies between.
fn local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}
