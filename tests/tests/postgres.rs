//! A gateway on PostgreSQL: TLS to the database, several gateways on one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sluis::clock::System;
use sluis::config;
use sluis::demo::Context;
use sluis::store::Store;
use sluis::store::postgres::{PostgresStore, Settings, SslMode};
use sluis_tests::database::{self, Database};
use sluis_tests::relay::Relay;
use sluis_tests::world::World;
use tokio_rustls::TlsAcceptor;

/// An authority's PEM file, and a server certificate of it for `localhost`.
fn authority(folder: &Path, name: &str) -> Result<(PathBuf, TlsAcceptor)> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate()?;
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, authority.self_signed(&key)?.pem())?;
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate()?;
    let server =
        rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&server_key, &issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)?;
    Ok((path, TlsAcceptor::from(Arc::new(config))))
}

fn folder(name: &str) -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("sluis-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// What each `sslmode` proves: of a server with a certificate for `localhost`, and of one without TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_to_the_database_is_as_sslmode_says() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let folder = folder("database-tls")?;
    let (own, acceptor) = authority(&folder, "own")?;
    let (other, _) = authority(&folder, "other")?;
    let sealed = Relay::start(Some(acceptor)).await?;
    let plain = Relay::start(None).await?;
    use SslMode::{Disable, Prefer, Require, VerifyFull};
    let (own, other) = (Some(own), Some(other));
    // Relay, mode, authorities, host, whether inside TLS; or what the refusal says.
    type Row<'r> = (&'r Relay, Option<SslMode>, &'r Option<PathBuf>, &'r str, Result<bool, &'r str>);
    let table: [Row<'_>; 14] = [
        (&sealed, Some(VerifyFull), &own, "localhost", Ok(true)),
        (&sealed, Some(VerifyFull), &own, "127.0.0.1", Err("not valid for name")),
        (&sealed, Some(VerifyFull), &other, "localhost", Err("UnknownIssuer")),
        (&sealed, None, &own, "localhost", Ok(true)),
        (&sealed, None, &other, "localhost", Err("UnknownIssuer")),
        (&sealed, Some(Require), &own, "127.0.0.1", Ok(true)),
        (&sealed, Some(Require), &other, "localhost", Err("UnknownIssuer")),
        (&sealed, Some(Require), &None, "127.0.0.1", Ok(true)),
        (&sealed, Some(Prefer), &None, "localhost", Ok(true)),
        (&sealed, Some(Disable), &None, "localhost", Ok(false)),
        (&plain, Some(Prefer), &None, "localhost", Ok(false)),
        (&plain, None, &None, "127.0.0.1", Ok(false)),
        (&plain, Some(Require), &None, "localhost", Err("does not support TLS")),
        (&plain, Some(VerifyFull), &own, "localhost", Err("does not support TLS")),
    ];
    for (at, (relay, sslmode, authorities, host, due)) in table.into_iter().enumerate() {
        let before = relay.sealed();
        let connection = database.connection_by(host, relay.address.port())?;
        let settings = Settings {
            sslmode,
            authorities: authorities.clone(),
            readers: 1,
            ..Settings::at(connection, "https://sluis.example/fhir")
        };
        let opened = PostgresStore::open(settings).and_then(|store| store.check());
        match (opened, due) {
            (Ok(()), Ok(inside)) => {
                ensure!((relay.sealed() > before) == inside, "{at}: TLS, where it was not due")
            }
            (Err(error), Err(said)) => ensure!(error.to_string().contains(said), "{at}: {error}"),
            (opened, due) => anyhow::bail!("{at}: {opened:?} where {due:?} is due"),
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The whole gateway, its database behind TLS that proves the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_from_a_database_behind_tls() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let folder = folder("gateway-tls")?;
    let (own, acceptor) = authority(&folder, "own")?;
    let relay = Relay::start(Some(acceptor)).await?;
    let mut store = database::store(&database.connection_by("localhost", relay.address.port())?)?;
    if let config::Store::Postgres(settings) = &mut store {
        settings.authorities = Some(own);
    }
    let world = World::start_on(Some((database, store)), Arc::new(System)).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    ensure!(gesp.ok("Patient?_summary=count").await?["total"].as_u64().is_some_and(|total| total > 0));
    ensure!(relay.sealed() > 0);
    let report = sluis::run::verify_audit(world.settings())?;
    ensure!(report.faults.is_empty() && report.records > 0, "{report:?}");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
