//! The region under load: its folder, its rules, its patients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sluis::clock::System;
use sluis::config::Config;
use sluis::demo::{self, Context, SCOPES};
use sluis::identity::oauth::assertion;

use crate::care::{self, HIDDEN_OF_TEN};
use crate::client::{Line, Target, Who};
use crate::serve::{Kind, Served};

/// The policy built into the gateway.
const POLICY: &[(&str, &str)] = &[
    ("policy.toml", include_str!("../../../gateway/policy/policy.toml")),
    ("purposes.toml", include_str!("../../../gateway/policy/purposes.toml")),
    ("categories.toml", include_str!("../../../gateway/policy/categories.toml")),
    ("labels.toml", include_str!("../../../gateway/policy/labels.toml")),
    ("roles.toml", include_str!("../../../gateway/policy/roles.toml")),
    ("obligations.toml", include_str!("../../../gateway/policy/obligations.toml")),
];
/// Connections that fill the region.
const SENDERS: usize = 8;

/// A filled region.
pub(crate) struct Region {
    /// Its folder, with the database, for the gateway as it is.
    pub(crate) folder: PathBuf,
    /// Ids of the patients whom the reading team may see.
    pub(crate) ids: Vec<String>,
}

impl Region {
    /// Makes and fills a region, or takes the one that is there.
    pub(crate) async fn make(folder: &Path, patients: usize, seed: u64) -> Result<Region> {
        let list = folder.join("ids");
        if !list.exists() {
            prepare(folder)?;
            let served = Served::start(Kind::On, folder)?;
            let target = Arc::new(target(&served, folder).await?);
            let ids = fill(&target, patients, seed).await?;
            served.stop()?;
            std::fs::write(&list, ids.join("\n"))?;
        }
        let ids: Vec<String> = std::fs::read_to_string(&list)?.lines().map(str::to_owned).collect();
        let shared = ids.iter().enumerate().filter(|(at, _)| is_shared(*at));
        let ids: Vec<String> = shared.map(|(_, id)| id.clone()).collect();
        ensure!(!ids.is_empty(), "a region without patients");
        Ok(Region { folder: folder.to_owned(), ids })
    }

    /// A copy of the region as it is, beside it, listening elsewhere.
    pub(crate) fn copy(&self, name: &str) -> Result<PathBuf> {
        let to = self.folder.with_extension(name);
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        copy_folder(&self.folder, &to)?;
        let file = to.join("sluis.toml");
        // The base stays what it is: it names the server in references and tokens.
        let text = std::fs::read_to_string(&file)?;
        let mut settings: toml::Table = text.parse()?;
        settings.insert("listen".into(), format!("127.0.0.1:{}", free_port()?).into());
        std::fs::write(&file, toml::to_string(&settings)?)?;
        Ok(to)
    }
}

/// Whether the patient at this place consents to the reading team's looking.
pub(crate) fn is_shared(at: usize) -> bool {
    at % 10 < 10 - HIDDEN_OF_TEN
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        match path.is_dir() {
            true => copy_folder(&path, &to.join(name))?,
            false => std::fs::copy(&path, to.join(name)).map(|_| ())?,
        }
    }
    Ok(())
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The demo's organisations and clients, under a policy that lets the teams write and delete every type: the built-in one
/// lets nobody delete, and the published workloads do.
fn prepare(folder: &Path) -> Result<()> {
    demo::prepare_with(folder, &demo::Options { tls: false, ..demo::Options::at(free_port()?) })?;
    let policy = folder.join("policy");
    std::fs::create_dir_all(&policy)?;
    for (name, text) in POLICY {
        let text = match *name {
            "roles.toml" => allowing(text),
            _ => (*text).to_owned(),
        };
        std::fs::write(policy.join(name), text)?;
    }
    let file = folder.join("sluis.toml");
    let config = Config { policy: Some("policy".into()), ..read_raw(&file)? };
    std::fs::write(&file, toml::to_string(&config)?)?;
    Ok(())
}

/// The settings as they stand in the file, their paths relative.
fn read_raw(file: &Path) -> Result<Config> {
    Ok(toml::from_str(&std::fs::read_to_string(file)?)?)
}

/// The built-in roles, with every cell but the log's and the cohort's open to the coordinator of a team.
fn allowing(roles: &str) -> String {
    let mut out = String::new();
    let mut name = "";
    for line in roles.lines() {
        if let Some(named) = line.strip_prefix("name = ") {
            name = named.trim_matches('"');
        }
        let cell = line.split_once(" = ").filter(|(key, value)| {
            let grants = value.trim_matches('"').chars().all(|letter| "-crudsx".contains(letter));
            grants && value.starts_with('"') && !matches!(*key, "audit" | "cohort" | "research")
        });
        match cell {
            Some((key, _)) if name == "gesp-coordinator" => out.push_str(&format!("{key} = \"cruds\"\n")),
            _ => out.push_str(&format!("{line}\n")),
        }
    }
    out
}

/// A server of a region with tokens for it.
pub(crate) async fn target(served: &Served, folder: &Path) -> Result<Target> {
    let mut tokens = Vec::new();
    for (client, context) in [
        ("gesp-midden-epd", Context::role("01.042")),
        ("gesp-noord-epd", Context::role("01.042")),
        ("umc-epd", Context::system()),
    ] {
        let assertion = demo::assertion(folder, client, &context, &System)?;
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form: Vec<String> = assertion::form(&assertion, SCOPES)
            .iter()
            .map(|(name, value)| format!("{name}={}", escape(value)))
            .collect();
        let open = Arc::new(open_target(served.address));
        let mut line = Line::open(&open, 0).await?;
        let media = "application/x-www-form-urlencoded";
        let reply =
            line.ask(Who::Reader, Method::POST, "/fhir/oauth/token", media, form.join("&").into()).await?;
        let token = reply.json()?["access_token"].as_str().map(str::to_owned);
        tokens.push(format!("Bearer {}", token.context("the token endpoint gives no token")?));
    }
    let tokens = tokens.try_into().map_err(|_| anyhow::anyhow!("three tokens"))?;
    Ok(Target { address: served.address, tokens, floor: None })
}

/// A server that asks for no token.
pub(crate) fn open_target(address: SocketAddr) -> Target {
    Target { address, tokens: Default::default(), floor: None }
}

/// Sends the staff and then every patient; their ids, in order.
async fn fill(target: &Arc<Target>, patients: usize, seed: u64) -> Result<Vec<String>> {
    let mut line = Line::open(target, 0).await?;
    line.expect(200, Who::Author, Method::POST, "/fhir", care::staff().to_string()).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..SENDERS {
        let (target, next) = (Arc::clone(target), Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            let mut line = Line::open(&target, number).await?;
            let mut ids = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= patients {
                    return anyhow::Ok(ids);
                }
                let body = care::patient(seed, at, is_shared(at)).to_string();
                let reply = line.expect(200, Who::Author, Method::POST, "/fhir", body).await?;
                let answer = reply.json()?;
                let location = answer["entry"][0]["response"]["location"].as_str().context("location")?;
                let id = location.split("Patient/").nth(1).and_then(|rest| rest.split('/').next());
                ids.push((at, id.context("id")?.to_owned()));
                if at % 500 == 499 {
                    progress(at + 1, patients);
                }
            }
        }));
    }
    let mut ids = Vec::new();
    for task in tasks {
        ids.extend(task.await??);
    }
    ids.sort_unstable();
    Ok(ids.into_iter().map(|(_, id)| id).collect())
}

#[expect(clippy::print_stderr, reason = "filling takes minutes")]
fn progress(done: usize, of: usize) {
    eprintln!("{done} of {of} patients");
}
