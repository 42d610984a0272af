//! The real program, killed at random moments while it writes, on both stores, and stopped at each sync with only what
//! was synced left: what was acknowledged is there, and the log is unbroken.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sluis::clock::{Clock as _, System};
use sluis::config;
use sluis::demo::{self, Context};

const FORM: &str = "application/x-www-form-urlencoded";

/// The program, killed when dropped.
struct Served(Child);

impl Served {
    fn start(folder: &Path) -> Result<Served> {
        Served::try_start(folder, &[])?.context("it does not serve")
    }

    /// `None`: it ended before it served.
    fn try_start(folder: &Path, environment: &[(&str, &std::ffi::OsStr)]) -> Result<Option<Served>> {
        let child = Command::new(env!("CARGO_BIN_EXE_sluis"))
            .args(["serve", "--config"])
            .arg(folder.join("sluis.toml"))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut served = Served(child);
        // It says so once it listens.
        let mut line = String::new();
        BufReader::new(served.0.stdout.take().context("stdout")?).read_line(&mut line)?;
        ensure!(line.starts_with("Sluis serves") || line.is_empty(), "{line:?}");
        Ok((!line.is_empty()).then_some(served))
    }

    /// SIGKILL: nothing is flushed, nothing said goodbye to.
    fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A test that failed leaves no program behind; one that is dead already is no fault.
        let _ = self.kill();
    }
}

async fn send(
    port: u16,
    method: Method,
    path: &str,
    token: &str,
    media: &str,
    body: String,
) -> Result<(u16, Value)> {
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", format!("localhost:{port}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", media).body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    // An answer cut off in its body was not received.
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}

async fn token(folder: &Path, port: u16) -> Result<String> {
    let assertion = demo::assertion(folder, "gesp-midden-epd", &Context::role("01.042"), &System)?;
    let form = format!(
        "grant_type=client_credentials&scope=system%2F%2A.cruds&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
    );
    let (status, answer) = send(port, Method::POST, "/fhir/oauth/token", "", FORM, form).await?;
    ensure!(status == 200, "{status} {answer}");
    Ok(answer["access_token"].as_str().context("access_token")?.to_owned())
}

/// A pause between 30 and 400 ms.
fn pause() -> Duration {
    let mut byte = [0; 1];
    System.random(&mut byte);
    Duration::from_millis(30 + u64::from(byte[0]) * 370 / 255)
}

/// Nothing but what these tests put there is in it.
fn fresh_folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sluis-{name}-{}", std::process::id()))
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Writes a person; her id once it is acknowledged, `None` when the line broke.
async fn write(port: u16, token: &str, name: &str) -> Result<Option<String>> {
    let body = json!({ "resourceType": "Patient", "name": [{ "family": name }] }).to_string();
    match send(port, Method::POST, "/fhir/Patient", token, "application/fhir+json", body).await {
        Ok((201, made)) => Ok(Some(made["id"].as_str().context("id")?.to_owned())),
        Ok((status, answer)) => anyhow::bail!("{status} {answer}"),
        // Whether this one was written is not known.
        Err(_) => Ok(None),
    }
}

/// Starts the program again and looks for everything that was acknowledged.
async fn all_there(folder: &Path, port: u16, acknowledged: &[(String, String)]) -> Result<()> {
    let mut served = Served::start(folder)?;
    let token = token(folder, port).await?;
    for (id, name) in acknowledged {
        let path = format!("/fhir/Patient/{id}");
        let (status, found) = send(port, Method::GET, &path, &token, FORM, String::new()).await?;
        ensure!(
            status == 200 && found["name"][0]["family"] == **name,
            "{name} was acknowledged: {status} {found}"
        );
    }
    served.kill()?;
    let report = sluis::run::verify_audit(&folder.join("sluis.toml"))?;
    ensure!(report.faults.is_empty(), "{report:?}");
    ensure!(report.records >= 2 * acknowledged.len() as u64, "a write without its record: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill_and_the_log_is_unbroken() -> Result<()> {
    killed(&fresh_folder("crash"), 21, |options| options).await
}

/// As on a file. A database of the test's own, dropped at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill_on_a_server() -> Result<()> {
    let Ok(server) = std::env::var("SLUIS_TEST_POSTGRES") else {
        let text = "SKIPPED: SLUIS_TEST_POSTGRES names no server, so PostgreSQL was NOT tested; run ./test\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
        return Ok(());
    };
    let name = format!("sluis_crash_{}", std::process::id());
    let ask = |text: String| {
        let connection = format!("{server} dbname=postgres");
        async move {
            let (client, line) = tokio_postgres::connect(&connection, tokio_postgres::NoTls).await?;
            let line = tokio::spawn(line);
            client.batch_execute(&text).await?;
            drop(client);
            line.await??;
            Ok::<_, anyhow::Error>(())
        }
    };
    ask(format!("CREATE DATABASE {name}")).await?;
    let store: config::Postgres = toml::from_str(&format!("connection = \"{server} dbname={name}\""))?;
    let done = killed(&fresh_folder("crash-server"), 6, |options| demo::Options {
        store: config::Store::Postgres(store),
        ..options
    })
    .await;
    ask(format!("DROP DATABASE {name} WITH (FORCE)")).await?;
    done
}

/// Six lives of four writers each, cut short.
async fn killed(folder: &Path, least: usize, on: impl FnOnce(demo::Options) -> demo::Options) -> Result<()> {
    let port = free_port()?;
    demo::prepare_with(folder, &on(demo::Options { tls: false, ..demo::Options::at(port) }))?;
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    let mut cut = 0;
    for life in 0..6 {
        let mut served = Served::start(folder)?;
        let token: Arc<str> = token(folder, port).await?.into();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let token = Arc::clone(&token);
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    for number in 0.. {
                        let name = format!("Proefpersoon-{life}-{writer}-{number}");
                        match write(port, &token, &name).await? {
                            Some(id) => received.push((id, name)),
                            None => break,
                        }
                    }
                    Ok::<_, anyhow::Error>(received)
                })
            })
            .collect();
        tokio::time::sleep(pause()).await;
        served.kill()?;
        for writer in writers {
            acknowledged.extend(writer.await??);
            cut += 1;
        }
    }
    ensure!(acknowledged.len() >= least && cut == 24, "{} writes, {cut} cut", acknowledged.len());
    all_there(folder, port, &acknowledged).await?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Loss of power at a sync, in the worst case: what no sync was answered for is lost. At each of the first syncs of a life
/// and at later ones, before the sync and after it.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_was_synced() -> Result<()> {
    let folder = fresh_folder("sync");
    std::fs::create_dir_all(&folder)?;
    let library = folder.join("sync.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/sync.c");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status()
        .context("a C compiler, as the build needs it")?;
    ensure!(made.success(), "sync.c does not compile");
    let (mut before_serving, mut written) = (0, 0);
    for stop in [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 34, 45] {
        for done in [false, true] {
            let life = folder.join(format!("{stop}-{done}"));
            let durable = folder.join(format!("{stop}-{done}-durable"));
            std::fs::create_dir_all(&durable)?;
            let port = free_port()?;
            demo::prepare_with(&life, &demo::Options { tls: false, ..demo::Options::at(port) })?;
            let prepared = files(&life)?;
            let number = stop.to_string();
            let mut environment = vec![
                ("LD_PRELOAD", library.as_os_str()),
                ("SLUIS_SYNC_FOLDER", life.as_os_str()),
                ("SLUIS_SYNC_DURABLE", durable.as_os_str()),
                ("SLUIS_SYNC_STOP", number.as_ref()),
            ];
            if done {
                environment.push(("SLUIS_SYNC_DONE", "1".as_ref()));
            }
            let mut acknowledged = Vec::new();
            match Served::try_start(&life, &environment)? {
                None => before_serving += 1,
                Some(_served) => {
                    if let Ok(token) = token(&life, port).await {
                        for number in 0..200 {
                            let name = format!("Proefpersoon-{number}");
                            let Some(id) = write(port, &token, &name).await? else { break };
                            acknowledged.push((id, name));
                        }
                    }
                    ensure!(acknowledged.len() < 200, "it was not stopped at sync {stop}");
                }
            }
            // The power is back.
            for path in files(&life)?.into_iter().filter(|path| !prepared.contains(path)) {
                std::fs::remove_file(path)?;
            }
            for path in files(&durable)?.into_iter().filter(|path| path.extension() != Some("part".as_ref()))
            {
                std::fs::copy(&path, life.join(path.file_name().context("name")?))?;
            }
            all_there(&life, port, &acknowledged)
                .await
                .with_context(|| format!("stopped at sync {stop}, done: {done}"))?;
            written += acknowledged.len();
        }
    }
    ensure!(before_serving > 0 && written > 50, "{before_serving} before it served, {written} writes");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
