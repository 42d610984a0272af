//! The real program, killed at random moments while it writes: what was acknowledged is there, and the log is unbroken.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
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
use sluis::demo::{self, Context};

const FORM: &str = "application/x-www-form-urlencoded";

/// The program, killed when dropped.
struct Served(Child);

impl Served {
    fn start(folder: &Path) -> Result<Served> {
        let child = Command::new(env!("CARGO_BIN_EXE_sluis"))
            .args(["serve", "--config"])
            .arg(folder.join("sluis.toml"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut served = Served(child);
        // It says so once it listens.
        let mut line = String::new();
        BufReader::new(served.0.stdout.take().context("stdout")?).read_line(&mut line)?;
        ensure!(line.starts_with("Sluis serves"), "{line:?}");
        Ok(served)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_a_kill_and_the_log_is_unbroken() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("sluis-crash-{}", std::process::id()));
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    demo::prepare_with(&folder, &demo::Options { tls: false, ..demo::Options::at(port) })?;
    let mut acknowledged: Vec<(String, String)> = Vec::new();
    let mut cut = 0;
    for life in 0..6 {
        let mut served = Served::start(&folder)?;
        let token: Arc<str> = token(&folder, port).await?.into();
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let token = Arc::clone(&token);
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    for number in 0.. {
                        let name = format!("Proefpersoon-{life}-{writer}-{number}");
                        let body =
                            json!({ "resourceType": "Patient", "name": [{ "family": name }] }).to_string();
                        let media = "application/fhir+json";
                        match send(port, Method::POST, "/fhir/Patient", &token, media, body).await {
                            Ok((201, made)) => {
                                received.push((made["id"].as_str().unwrap_or_default().to_owned(), name));
                            }
                            Ok((status, answer)) => anyhow::bail!("{status} {answer}"),
                            // The line broke: whether this one was written is not known.
                            Err(_) => break,
                        }
                    }
                    Ok(received)
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
    ensure!(acknowledged.len() > 20 && cut == 24, "{} writes, {cut} cut", acknowledged.len());
    let mut served = Served::start(&folder)?;
    let token = token(&folder, port).await?;
    for (id, name) in &acknowledged {
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
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
