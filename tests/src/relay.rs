//! A line between gateway and PostgreSQL server that a test can bend: TLS on the gateway's side, slow, silent, gone, or
//! cut after a counted number of messages.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_postgres::config::Host;
use tokio_rustls::TlsAcceptor;

/// A client that wants TLS says so first (PostgreSQL, "Message Formats": SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// They pass.
    Open,
    /// Each piece waits this long, both ways.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Silent,
    /// Connections end, and new ones too.
    Gone,
}

/// The line, for as long as it is held.
pub struct Relay {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    listening: tokio::task::JoinHandle<()>,
}

struct State {
    mode: watch::Sender<Mode>,
    /// How often all connections were ended.
    cuts: watch::Sender<u64>,
    /// Pieces from the gateway until all connections are cut; below zero: never.
    until_cut: AtomicI64,
    pieces: AtomicU64,
    sealed: AtomicU64,
    acceptor: Option<TlsAcceptor>,
    server: tokio_postgres::Config,
}

impl Relay {
    /// To the server that `SLUIS_TEST_POSTGRES` names; with TLS towards the gateway if `acceptor` is there.
    pub async fn start(acceptor: Option<TlsAcceptor>) -> Result<Relay> {
        let server = std::env::var("SLUIS_TEST_POSTGRES").context("SLUIS_TEST_POSTGRES")?.parse()?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            mode: watch::Sender::new(Mode::Open),
            cuts: watch::Sender::new(0),
            until_cut: AtomicI64::new(-1),
            pieces: AtomicU64::new(0),
            sealed: AtomicU64::new(0),
            acceptor,
            server,
        });
        let shared = Arc::clone(&state);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                // A line that ends badly is what it is for.
                tokio::spawn(async move { drop(serve(client, &state).await) });
            }
        });
        Ok(Relay { address, state, listening })
    }

    /// From now on; `Gone` also ends the connections there are.
    pub fn set(&self, mode: Mode) {
        self.state.mode.send_replace(mode);
        if mode == Mode::Gone {
            self.cut();
        }
    }

    /// Ends all connections; new ones pass.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Ends all connections when the gateway has sent `pieces` more.
    pub fn cut_after(&self, pieces: i64) {
        self.state.until_cut.store(pieces, Ordering::SeqCst);
    }

    /// Whether a cut that was asked for is still to come.
    pub fn cut_waits(&self) -> bool {
        self.state.until_cut.load(Ordering::SeqCst) >= 0
    }

    /// Pieces the gateway has sent.
    pub fn pieces(&self) -> u64 {
        self.state.pieces.load(Ordering::SeqCst)
    }

    /// Connections that were inside TLS.
    pub fn sealed(&self) -> u64 {
        self.state.sealed.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.set(Mode::Gone);
        self.listening.abort();
    }
}

async fn serve(mut client: TcpStream, state: &State) -> Result<()> {
    client.set_nodelay(true)?;
    if *state.mode.borrow() == Mode::Gone {
        return Ok(());
    }
    let host = state.server.get_hosts().first().context("no host")?;
    let port = state.server.get_ports().first().copied().unwrap_or(5432);
    let mut first = [0; 8];
    client.read_exact(&mut first).await?;
    let acceptor = state.acceptor.as_ref().filter(|_| first == SSL_REQUEST);
    match (host, acceptor) {
        (Host::Tcp(name), None) => {
            let server = TcpStream::connect((name.as_str(), port)).await?;
            join(client, server, Some(first), state).await
        }
        (Host::Unix(path), None) => {
            let server = UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await?;
            join(client, server, Some(first), state).await
        }
        (host, Some(acceptor)) => {
            client.write_all(b"S").await?;
            let client = acceptor.accept(client).await?;
            state.sealed.fetch_add(1, Ordering::SeqCst);
            match host {
                Host::Tcp(name) => {
                    join(client, TcpStream::connect((name.as_str(), port)).await?, None, state).await
                }
                Host::Unix(path) => {
                    let server = UnixStream::connect(path.join(format!(".s.PGSQL.{port}"))).await?;
                    join(client, server, None, state).await
                }
            }
        }
    }
}

async fn join(
    client: impl AsyncRead + AsyncWrite,
    mut server: impl AsyncRead + AsyncWrite + Unpin,
    first: Option<[u8; 8]>,
    state: &State,
) -> Result<()> {
    if let Some(first) = first {
        server.write_all(&first).await?;
    }
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = tokio::io::split(server);
    let mut cuts = state.cuts.subscribe();
    tokio::select! {
        done = pipe(from_client, to_server, state, true) => done,
        done = pipe(from_server, to_client, state, false) => done,
        _ = cuts.changed() => Ok(()),
    }
}

async fn pipe(from: impl AsyncRead, to: impl AsyncWrite, state: &State, counted: bool) -> Result<()> {
    let (mut from, mut to) = (std::pin::pin!(from), std::pin::pin!(to));
    let mut mode = state.mode.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let now = *mode.borrow_and_update();
        match now {
            Mode::Slow(wait) => tokio::time::sleep(wait).await,
            Mode::Silent => {
                mode.wait_for(|mode| *mode != Mode::Silent).await?;
            }
            Mode::Open | Mode::Gone => {}
        }
        if counted {
            state.pieces.fetch_add(1, Ordering::SeqCst);
            if state.until_cut.load(Ordering::SeqCst) >= 0
                && state.until_cut.fetch_sub(1, Ordering::SeqCst) == 0
            {
                state.cuts.send_modify(|cuts| *cuts += 1);
                return Ok(());
            }
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
    }
}
