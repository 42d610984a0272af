//! A gateway on PostgreSQL: TLS to the database, several gateways on one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use sluis::clock::System;
use sluis::config;
use sluis::demo::{self, Context};
use sluis::ids::SYSTEM_URA;
use sluis::store::Store;
use sluis::store::postgres::{ClientIdentity, PostgresStore, Settings, SslMode};
use sluis_tests::client::Answer;
use sluis_tests::database::{self, Database};
use sluis_tests::relay::Relay;
use sluis_tests::world::{World, link, matches, observation};
use tokio_rustls::TlsAcceptor;

type Issuer = rcgen::Issuer<'static, rcgen::KeyPair>;

/// An authority and its PEM file.
fn authority(folder: &Path, name: &str) -> Result<(PathBuf, Issuer)> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate()?;
    let path = folder.join(format!("{name}.pem"));
    std::fs::write(&path, authority.self_signed(&key)?.pem())?;
    Ok((path, rcgen::Issuer::new(authority, key)))
}

/// A server of TLS whose certificate is for `localhost`. With `clients` it asks for a certificate of these authorities.
fn acceptor(issuer: &Issuer, clients: Option<&Path>) -> Result<TlsAcceptor> {
    let key = rcgen::KeyPair::generate()?;
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(path)?)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            config.with_client_cert_verifier(verifier)
        }
    };
    Ok(TlsAcceptor::from(Arc::new(config.with_single_cert(vec![server.der().clone()], key)?)))
}

/// A client certificate and its key.
fn client(folder: &Path, name: &str, issuer: &Issuer) -> Result<ClientIdentity> {
    let key = rcgen::KeyPair::generate()?;
    let made = rcgen::CertificateParams::new(vec!["sluis".to_owned()])?.signed_by(&key, issuer)?;
    let identity = ClientIdentity {
        certificate: folder.join(format!("{name}-client.pem")),
        key: folder.join(format!("{name}-client-key.pem")),
    };
    std::fs::write(&identity.certificate, made.pem())?;
    std::fs::write(&identity.key, key.serialize_pem())?;
    Ok(identity)
}

/// Two gateways of one region on one database; `None` without a server.
async fn two() -> Result<Option<(World, World)>> {
    let Some(database) = Database::new()? else { return Ok(None) };
    let store = database.store()?;
    let one = World::start_on(Some((database, store)), Arc::new(System)).await?;
    let two = one.another().await?;
    Ok(Some((one, two)))
}

/// How many answers have each status.
fn tally(answers: &[Answer]) -> Vec<(u16, usize)> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    statuses.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
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
    let (own, issuer) = authority(&folder, "own")?;
    let (other, _) = authority(&folder, "other")?;
    let sealed = Relay::start(Some(acceptor(&issuer, None)?)).await?;
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

/// A server that asks for a certificate gets the gateway's, and what is wrong with it is said by the file's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_shows_its_own_certificate_to_the_database() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let folder = folder("database-clients")?;
    let (own, issuer) = authority(&folder, "own")?;
    let (_, strange) = authority(&folder, "strange")?;
    let relay = Relay::start(Some(acceptor(&issuer, Some(&own))?)).await?;
    let known = client(&folder, "known", &issuer)?;
    let unknown = client(&folder, "unknown", &strange)?;
    let mixed = ClientIdentity { key: unknown.key.clone(), ..known.clone() };
    let gone = ClientIdentity { key: folder.join("gone.pem"), ..known.clone() };
    let table = [
        (Some(known), None),
        (None, Some("CertificateRequired")),
        (Some(unknown), Some("UnknownCA")),
        (Some(mixed), Some("known-client.pem")),
        (Some(gone), Some("gone.pem")),
    ];
    for (at, (identity, due)) in table.into_iter().enumerate() {
        let connection = database.connection_by("localhost", relay.address.port())?;
        let settings = Settings {
            authorities: Some(own.clone()),
            identity,
            readers: 1,
            ..Settings::at(connection, "https://sluis.example/fhir")
        };
        let opened = PostgresStore::open(settings).and_then(|store| store.check());
        match (opened, due) {
            (Ok(()), None) => {}
            (Err(error), Some(said)) => ensure!(error.to_string().contains(said), "{at}: {error}"),
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
    let (own, issuer) = authority(&folder, "own")?;
    let relay = Relay::start(Some(acceptor(&issuer, None)?)).await?;
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

/// A withdrawal that one gateway has answered holds at the other for its next request, tokens and page links that it
/// knows already included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_at_one_gateway_holds_at_the_other_at_once() -> Result<()> {
    let Some((one, two)) = two().await? else { return Ok(()) };
    let gesp = one.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let ctb_one = one.caller("ctb-epd", Context::role("01.023")).await?;
    let ctb = ctb_one.at(&two);
    let id = gesp.first_patient().await?;
    let herself = one.caller("portaal", Context::patient(&id)).await?;
    let query =
        format!("Consent?patient={id}&status=active&purpose=TREAT&actor:identifier={SYSTEM_URA}|90000401");
    let found = herself.ok(&query).await?;
    let mut consent = (*matches(&found).first().context("no consent")?).clone();
    let path = format!("Consent/{}", consent["id"].as_str().context("id")?);
    let all = format!("Observation?patient={id}&_summary=count");
    // A page of one gateway goes on at the other.
    let first = ctb_one.ok(&format!("Observation?patient={id}&_count=1")).await?;
    let next = link(&first, "next").context("one page only")?.to_owned();
    let second = ctb.ok(&next).await?;
    ensure!(matches(&second).len() == 1 && matches(&second) != matches(&first), "{second}");
    for turn in 0..15 {
        // The withdrawal alternates between the gateways; the other is asked.
        let (herself, asked) =
            if turn % 2 == 0 { (herself.clone(), &ctb) } else { (herself.at(&two), &ctb_one) };
        ensure!(asked.ok(&all).await?["total"].as_u64() > Some(1));
        consent["status"] = json!("inactive");
        let withdrawn = herself.put(&path, &consent).await?;
        ensure!(withdrawn.status == 200, "{}", withdrawn.text());
        ensure!(asked.ok(&all).await?["total"] == 0, "turn {turn}: seen after the withdrawal");
        ensure!(asked.get(&format!("Patient/{id}")).await?.status == 404, "turn {turn}");
        ensure!(matches(&asked.ok(&next).await?).is_empty(), "turn {turn}: a page after the withdrawal");
        consent["status"] = json!("active");
        let given = herself.put(&path, &consent).await?;
        ensure!(given.status == 200, "{}", given.text());
    }
    let report = sluis::run::verify_audit(one.settings())?;
    ensure!(report.faults.is_empty(), "{report:?}");
    Ok(())
}

/// One winner of a conditional create, of an update from one version, and of a client assertion.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_at_two_gateways_one_wins() -> Result<()> {
    let Some((one, two)) = two().await? else { return Ok(()) };
    let here = one.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let there = here.at(&two);
    let id = here.first_patient().await?;
    for round in 0..5 {
        let (number, at) = (format!("once-{round}"), &|n: usize| if n < 4 { &here } else { &there });
        let condition = format!("identifier=urn:test:number|{number}");
        let headers = [("content-type", "application/fhir+json"), ("if-none-exist", condition.as_str())];
        let body = observation(&id, &number).to_string();
        let creates = (0..8).map(|n| at(n).send(Method::POST, "Observation", &headers, body.clone()));
        let answers = futures_util::future::try_join_all(creates).await?;
        ensure!(tally(&answers) == [(200, 7), (201, 1)], "{:?}", tally(&answers));
        let made = answers[0].json();
        ensure!(answers.iter().all(|answer| answer.json()["id"] == made["id"]), "two resources");

        let path = format!("Observation/{}", made["id"].as_str().context("id")?);
        let headers = [("content-type", "application/fhir+json"), ("if-match", "W/\"1\"")];
        let update = |n: usize| {
            let mut changed = made.clone();
            changed["note"] = json!([{ "text": format!("writer {n}") }]);
            at(n).send(Method::PUT, &path, &headers, changed.to_string())
        };
        let answers = futures_util::future::try_join_all((0..8).map(update)).await?;
        ensure!(tally(&answers) == [(200, 1), (412, 7)], "{:?}", tally(&answers));
        let won = answers.iter().find(|answer| answer.status == 200).context("nobody")?.json();
        ensure!(there.ok(&path).await? == won && here.ok(&path).await? == won, "an update was lost");

        let assertion = demo::assertion(one.folder(), "umc-epd", &Context::system(), &System)?;
        let claims = (0..6).map(|n| if n < 3 { &one } else { &two }.token(&assertion, demo::SCOPES));
        let answers = futures_util::future::try_join_all(claims).await?;
        ensure!(tally(&answers) == [(200, 1), (401, 5)], "{:?}", tally(&answers));
    }
    let report = sluis::run::verify_audit(two.settings())?;
    ensure!(report.faults.is_empty(), "{report:?}");
    Ok(())
}

/// An export asked for at one gateway is told of and handed out by the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_the_same_at_both_gateways() -> Result<()> {
    let Some((one, two)) = two().await? else { return Ok(()) };
    let acn = one.caller("acn-data", Context::purpose("HRESCH")).await?;
    let groups = acn.ok("Group").await?;
    let group = matches(&groups).first().context("no group")?["id"].as_str().context("id")?.to_owned();
    let prefer = [("prefer", "respond-async")];
    let start = acn.send(Method::GET, &format!("Group/{group}/$export"), &prefer, "").await?;
    ensure!(start.status == 202, "{}", start.text());
    let job = start.header("content-location").to_owned();
    let there = acn.at(&two);
    for _ in 0..300 {
        let answer = there.get(&job).await?;
        match answer.status.as_u16() {
            202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            200 => {
                let manifest = answer.json();
                let outputs = manifest["output"].as_array().context("output")?;
                ensure!(!outputs.is_empty(), "{manifest}");
                for output in outputs {
                    let url = output["url"].as_str().context("url")?;
                    let file = there.get(url).await?;
                    ensure!(file.status == 200 && file.text() == acn.get(url).await?.text(), "{url}");
                    ensure!(output["count"] == file.text().lines().count(), "{output}");
                }
                return Ok(());
            }
            other => anyhow::bail!("{other} {}", answer.text()),
        }
    }
    anyhow::bail!("the export did not end")
}
