//! From settings to a serving gateway, and back down in good order.

pub mod archive;

pub mod explain;

mod follow;

mod open;

mod regrant;

mod reindex;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use hyper::body::Incoming;
use rustls::pki_types::pem::PemObject;
use sluis_conformance::definitions;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::audit::checkpoint::CheckpointKey;
use crate::audit::trail::{self, VerifyReport};
use crate::clock::{Clock, System};
use crate::config::{self, Config};
use crate::connection::limits::Limits;
use crate::connection::tls::{self, TlsFiles};
use crate::connection::{Peer, mllp, serve};
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{self, Permit};
use crate::export;
use crate::export::profile::Profile;
use crate::gateway::mllp::{BoundPeer, Inbox};
use crate::gateway::{Gateway, Parts, capabilities};
use crate::identity::Identity;
use crate::identity::bound::Binding;
use crate::identity::client::Clients;
use crate::identity::signing::SigningKey;
use crate::ids::{PartyKey, Ura};
use crate::interaction::asynchronous::{self, Later};
use crate::interaction::cursor::CursorSeal;
use crate::interaction::export::Rules;
use crate::interaction::idempotency::InWork;
use crate::interaction::write::commit;
use crate::jobs;
use crate::library::Library;
use crate::search::indexing::Indexing;
use crate::search::parameter::SearchLimits;
use crate::store::{Shelf, Store};
use crate::telemetry::Telemetry;

/// Seconds between signed checkpoints of the audit log.
const CHECKPOINT_SECONDS: u64 = 60;

/// A gateway that serves.
pub struct Running {
    gateway: Gateway,
    address: SocketAddr,
    mappings: follow::Reader,
    following: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    end: watch::Sender<bool>,
    serving: JoinHandle<()>,
    mailboxes: Vec<(SocketAddr, JoinHandle<()>)>,
    closing: watch::Sender<bool>,
    background: [JoinHandle<()>; 4],
    checkpoints: Arc<CheckpointKey>,
}

impl Running {
    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it takes messages over MLLP, in the order of the settings.
    pub fn mllp_addresses(&self) -> Vec<SocketAddr> {
        self.mailboxes.iter().map(|(address, _)| *address).collect()
    }

    /// Reads the mapping folders again, runs their cases and puts them in force as a whole; documents under way finish on
    /// those before. Settings that name no folder have nothing to read: the mappings built in stay.
    ///
    /// Errors: what of which folder does not load or prove its cases, one line each. A bad folder keeps its last good
    /// version while the others move on, and readiness says `degraded` and names it.
    pub async fn reload_mappings(&self) -> Result<()> {
        self.mappings.read().await
    }

    /// Stops accepting, lets requests in work finish, signs the log's head.
    pub async fn stop(mut self) {
        self.following.abort();
        // Nobody listens when there are no listeners for messages.
        let _ = self.closing.send(true);
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only when serving has ended already.
            let _ = stop.send(());
        }
        if let Err(error) = self.serving.await {
            tracing::error!(cause = %error, "serving ended badly");
        }
        for (_, mailbox) in self.mailboxes {
            if let Err(error) = mailbox.await {
                tracing::error!(cause = %error, "a listener for messages ended badly");
            }
        }
        // Jobs stop between two blocks and go on at the next start. Nobody listens when there are none.
        let _ = self.end.send(true);
        let [checkpointing, exporting, answering, indexing] = self.background;
        checkpointing.abort();
        if let Err(error) = indexing.await {
            tracing::error!(cause = %error, "the indexing of rows ended badly");
        }
        if let Err(error) = exporting.await {
            tracing::error!(cause = %error, "the export runner ended badly");
        }
        if let Err(error) = answering.await {
            tracing::error!(cause = %error, "the runner of requests answered later ended badly");
        }
        if let Err(error) = checkpoint(&self.gateway, &self.checkpoints).await {
            tracing::error!(cause = %error, "the audit log's head could not be signed");
        }
    }
}

/// Reads settings, opens the store, and serves.
///
/// Errors: whatever is wrong with settings, files, store or address, naming it; nothing serves then.
pub async fn start(settings: &Path, clock: Arc<dyn Clock>) -> Result<Running> {
    let config = Config::read(settings)?;
    let checkpoints = Arc::new(checkpoint_key(&config)?);
    let gateway = assemble(&config, Arc::clone(&clock)).await?;
    let acceptor = match &config.tls {
        None => None,
        Some(tls) => {
            let files = TlsFiles {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
                client_authorities: tls.client_authorities.clone(),
            };
            Some(tls::acceptor(&files, Arc::clone(&clock))?)
        }
    };
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("listen on {}", config.listen))?;
    let address = listener.local_addr()?;
    let (closing, closed) = watch::channel(false);
    let mailboxes = mailboxes(&config, &gateway, acceptor.as_ref(), &closed).await?;
    let (stop, stopped) = oneshot::channel();
    let limits = Arc::clone(&gateway.parts().limits);
    let service = {
        let gateway = gateway.clone();
        move |request: http::Request<Incoming>, peer: Arc<Peer>| {
            let gateway = gateway.clone();
            async move {
                let (parts, body) = request.into_parts();
                gateway.call(parts, body, &peer).await
            }
        }
    };
    let serving = tokio::spawn(async move {
        let until = async {
            // A dropped sender stops as well.
            let _ = stopped.await;
        };
        match serve::serve(listener, acceptor, limits, clock, service, until).await {
            Ok(serve::Drained::Whole) => tracing::info!("stopped; every request was answered"),
            Ok(serve::Drained::Cut) => tracing::warn!("stopped; some requests were cut off"),
            Err(error) => tracing::error!(cause = %error, "serving did not begin"),
        }
    });
    let (end, ending) = watch::channel(false);
    let background = [
        checkpointing(gateway.clone(), Arc::clone(&checkpoints)),
        exporting(gateway.clone(), ending.clone()),
        answering(gateway.clone(), ending.clone()),
        indexing(&gateway, ending),
    ];
    let mappings = follow::Reader::new(gateway.clone(), config.mappings);
    Ok(Running {
        gateway,
        address,
        following: mappings.follow(),
        mappings,
        stop: Some(stop),
        end,
        serving,
        mailboxes,
        closing,
        background,
        checkpoints,
    })
}

/// Listens for messages over MLLP on every address of the settings.
async fn mailboxes(
    config: &Config,
    gateway: &Gateway,
    acceptor: Option<&tokio_rustls::TlsAcceptor>,
    closed: &watch::Receiver<bool>,
) -> Result<Vec<(SocketAddr, JoinHandle<()>)>> {
    let mut mailboxes = Vec::new();
    for settings in &config.mllp {
        let listener = TcpListener::bind(settings.listen)
            .await
            .with_context(|| format!("listen on {}", settings.listen))?;
        let address = listener.local_addr()?;
        let bound = |peer: &config::MllpPeer| {
            let organisation = Ura::parse(&peer.organisation).context("mllp.peer: organisation")?;
            let binding =
                Binding { client: peer.client.clone(), organisation, purpose: peer.purpose.clone() };
            Ok(BoundPeer { certificate: peer.certificate.clone(), address: peer.address, binding })
        };
        let peers = settings.peers.iter().map(bound).collect::<Result<Vec<_>>>()?;
        let inbox = Inbox::new(gateway.clone(), peers);
        let tls = acceptor.filter(|_| settings.tls).cloned();
        let limits = Arc::clone(&gateway.parts().limits);
        let mut closed = closed.clone();
        let serving = tokio::spawn(async move {
            let until = async {
                // A dropped sender stops as well.
                let _ = closed.wait_for(|closed| *closed).await;
            };
            match mllp::serve(listener, tls, limits, inbox, until).await {
                Ok(serve::Drained::Whole) => tracing::info!("stopped; every message was answered"),
                Ok(serve::Drained::Cut) => tracing::warn!("stopped; some messages were cut off"),
                Err(error) => tracing::error!(cause = %error, "serving MLLP did not begin"),
            }
        });
        mailboxes.push((address, serving));
    }
    Ok(mailboxes)
}

/// The gateway of these settings, not yet serving.
pub async fn assemble(config: &Config, clock: Arc<dyn Clock>) -> Result<Gateway> {
    // Before anything uses the definitions.
    let library = library(config)?;
    definitions::extend(library.parameters().to_vec()).context("packages")?;
    let policy = Arc::new(policy(config)?);
    let text = config::read_text(&config.organisations)?;
    let organisations =
        Arc::new(Organisations::parse(&policy, &config.organisations.display().to_string(), &text)?);
    let clients = Arc::new(Clients::from_toml(&config::read_text(&config.clients)?)?);
    let key = SigningKey::from_pem(&config::read_text(&config.token_key)?)?;
    let limits = Arc::new(config.limits.clone());
    let certificates = config.tls.as_ref().is_some_and(|tls| tls.client_authorities.is_some());
    let identity = Identity::new(&config.base, key, clients, &limits, certificates);
    let store = open::store(config)?;
    let system = decision::system(&policy, clock.now(), "start");
    let seal = CursorSeal::new(&secret(&*store, &system, "cursor", &*clock).await?)
        .context("the cursor key is not of 32 bytes")?;
    let base: Arc<str> = config.base.as_str().into();
    let anew = regrant::regrant(&store, &policy, &organisations, &text, &base, clock.now()).await?;
    if anew > 0 {
        tracing::info!(patients = anew, "policy or registry changed: all grants were compiled anew");
    }
    let indexing = Arc::new(Indexing::of(config.search.content));
    reindex::begin(&store, &decision::system(&policy, clock.now(), "reindex"), &indexing).await?;
    let rules = Arc::new(Rules {
        policy: Arc::clone(&policy),
        organisations: Arc::clone(&organisations),
        identity: identity.clone(),
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
    });
    let exporter = Arc::new(export::Context::new(
        Arc::clone(&store),
        Arc::clone(&clock),
        Arc::<Rules>::clone(&rules),
        rules,
        Arc::new(Profile::built_in()?),
        Arc::clone(&base),
        export::Settings {
            cohort_min: config.cohort_min,
            jobs: jobs::Settings { takeover_ms: limits.takeover_ms, ..export::Settings::default().jobs },
            ..export::Settings::default()
        },
    ));
    Ok(Gateway::new(Parts {
        capabilities: capabilities(&base, clock.now(), config.search.content),
        search_limits: search_limits(&limits, config.search.content),
        intake: follow::intake(config.mappings.as_deref())?,
        library,
        indexing,
        later: Later::new(asynchronous::Settings {
            jobs: jobs::Settings {
                takeover_ms: limits.takeover_ms,
                ..asynchronous::Settings::default().jobs
            },
            ..asynchronous::Settings::default()
        }),
        exporter,
        telemetry: Telemetry::default(),
        in_work: InWork::new(&*clock),
        clock,
        base,
        limits,
        store,
        policy,
        organisations,
        identity,
        seal,
    }))
}

/// Definitions of the packages folder, if the settings name one.
fn library(config: &Config) -> Result<Library> {
    let Some(folder) = &config.packages else { return Ok(Library::default()) };
    let library = Library::read(folder).context("packages")?;
    let (value_sets, code_systems) = library.counts();
    let parameters = library.parameters().len();
    tracing::info!(value_sets, code_systems, parameters, "definitions loaded");
    Ok(library)
}

/// Limits of searches, from the one table of limits.
fn search_limits(limits: &Limits, content: bool) -> SearchLimits {
    let default = SearchLimits::default();
    let count_max = u32::try_from(limits.count_max).unwrap_or(u32::MAX);
    SearchLimits {
        parameters_max: usize::try_from(limits.search_parameters_max).unwrap_or(usize::MAX),
        count_max,
        content,
        count_default: default.count_default.min(count_max),
        ..default
    }
}

/// Runs export jobs, those that a stop interrupted first, until the gateway stops.
fn exporting(gateway: Gateway, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let context = Arc::clone(&gateway.parts().exporter);
    if let Err(error) = jobs::resume_all(&*context) {
        tracing::error!(cause = %error, "waiting exports could not be looked up");
    }
    tokio::spawn(jobs::run(context, stopped))
}

/// Does what is to be answered later, until the gateway stops.
fn answering(gateway: Gateway, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let runner = Arc::new(asynchronous::Runner(gateway));
    if let Err(error) = jobs::resume_all(&*runner) {
        tracing::error!(cause = %error, "waiting requests could not be looked up");
    }
    tokio::spawn(jobs::run(runner, stopped))
}

/// Indexes rows anew, if there are any to be.
fn indexing(gateway: &Gateway, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    let parts = gateway.parts();
    let permit = decision::system(&parts.policy, parts.clock.now(), "reindex");
    tokio::spawn(reindex::run(Arc::clone(&parts.store), permit, Arc::clone(&parts.indexing), stopped))
}

/// The policy of these settings: the operator's folder, or the one built in.
pub fn policy(config: &Config) -> Result<Policy> {
    Ok(match &config.policy {
        None => Policy::included()?,
        Some(folder) => Policy::from_folder(folder)?,
    })
}

/// A secret of 32 bytes, made on first use and kept in the store, so that restarts and nodes share it.
async fn secret(store: &dyn Store, permit: &Permit, name: &'static str, clock: &dyn Clock) -> Result<Bytes> {
    let mut fresh = [0; 32];
    clock.random(&mut fresh);
    let owner = PartyKey(0);
    commit(store, permit, move |writer| {
        if let Some(kept) = writer.shelf_get(Shelf::Secret, owner, name)? {
            return Ok(kept);
        }
        writer.shelf_put(Shelf::Secret, owner, name, &fresh)?;
        Ok(Bytes::copy_from_slice(&fresh))
    })
    .await
    .map_err(|refusal| anyhow!("secret {name}: {:?} {:?}", refusal.reason, refusal.cause))
}

fn checkpoint_key(config: &Config) -> Result<CheckpointKey> {
    let pem = config::read_text(&config.audit_key)?;
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
        .with_context(|| format!("{}: no PKCS#8 key", config.audit_key.display()))?;
    Ok(CheckpointKey::from_pkcs8(&origin(config), der.secret_pkcs8_der())?)
}

/// Name of this gateway's log: host and port of its base.
fn origin(config: &Config) -> String {
    let host = config.base.split("://").nth(1).unwrap_or(&config.base);
    format!("{host}/audit")
}

/// Signs the log's head now and then, so that a later rewriting shows.
fn checkpointing(gateway: Gateway, key: Arc<CheckpointKey>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(CHECKPOINT_SECONDS));
        loop {
            tick.tick().await;
            if let Err(error) = checkpoint(&gateway, &key).await {
                tracing::error!(cause = %error, "the audit log's head could not be signed");
            }
        }
    })
}

async fn checkpoint(gateway: &Gateway, key: &Arc<CheckpointKey>) -> Result<()> {
    let parts = gateway.parts();
    let permit = decision::system(&parts.policy, parts.clock.now(), "checkpoint");
    let key = Arc::clone(key);
    commit(&*parts.store, &permit, move |writer| {
        let (sequence, hash) = writer.audit_head()?;
        let signed = writer.checkpoints()?.last().map_or(0, |last| last.sequence);
        if sequence > signed {
            writer.append_checkpoint(&key.sign(sequence, &hash))?;
        }
        Ok(())
    })
    .await
    .map_err(|refusal| anyhow!("{:?} {:?}", refusal.reason, refusal.cause))
}

/// `sluis audit verify`: walks the whole log of these settings.
pub fn verify_audit(settings: &Path) -> Result<VerifyReport> {
    let config = Config::read(settings)?;
    let key = checkpoint_key(&config)?;
    let policy = policy(&config)?;
    let store = open::store(&config)?;
    let permit = decision::system(&policy, System.now(), "audit-verify");
    let mut report = None;
    store.read(&permit, &mut |reader| {
        report = Some(trail::verify(reader, key.origin(), key.public_key())?);
        Ok(())
    })?;
    report.context("the log could not be read")
}
