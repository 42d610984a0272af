//! A care region to try: organisations, clients with generated keys, patients with test numbers, consents.
//!
//! Everything is sent through the gateway's own door, with tokens of the demo's clients: what the demo holds is what the
//! product accepts. Only the cohort's Group is written by the gateway itself, as its operator would.

pub mod people;

pub mod region;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::{self, Config, Synchronous, Tls};
use crate::connection::Peer;
use crate::connection::limits::Limits;
use crate::decision;
use crate::gateway::Gateway;
use crate::identity::actor::User;
use crate::identity::client::{ClientSettings, ClientsFile};
use crate::identity::context;
use crate::identity::oauth::{self, assertion};
use crate::identity::signing::{self, SignatureAlgorithm, SigningKey};
use crate::ids::{ResourceId, Ura};
use crate::ingest::map;
use crate::interaction::write::{Draft, Expect, commit, kinds, put_draft};
use region::{ACN, CLIENTS, PARTIES, Software};

/// How the region is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port on loopback; part of the base URL and so of every token.
    pub port: u16,
    /// TLS with a made-up authority; without it plain HTTP on loopback (benchmarks).
    pub tls: bool,
    /// Where its records are kept.
    pub store: config::Store,
    /// Words of texts are indexed.
    pub content: bool,
}

impl Options {
    /// TLS, access control, and a file beside the settings; of the settings that cost something, none.
    pub fn at(port: u16) -> Options {
        let file = config::Sqlite { file: "sluis.db".into(), synchronous: Synchronous::Full };
        Options { port, tls: true, store: config::Store::Sqlite(file), content: false }
    }
}

/// In what capacity a client asks: the claims of its assertion.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// UZI role code of the professional at the keys.
    pub role: Option<String>,
    /// Patient a portal vouches for.
    pub patient: Option<String>,
    /// Purpose of use; the client's first when not given.
    pub purpose: Option<String>,
    /// No person at the keys, though the client usually has one.
    pub system: bool,
}

impl Context {
    /// A professional with this UZI role code.
    pub fn role(code: &str) -> Context {
        Context { role: Some(code.to_owned()), ..Context::default() }
    }

    /// No person: the system itself.
    pub fn system() -> Context {
        Context { system: true, ..Context::default() }
    }

    /// The patient, through a portal.
    pub fn patient(id: &str) -> Context {
        Context { patient: Some(id.to_owned()), ..Context::default() }
    }

    /// The system itself, for this purpose of use.
    pub fn purpose(code: &str) -> Context {
        Context { purpose: Some(code.to_owned()), system: true, ..Context::default() }
    }
}

/// Makes a region's files: keys, certificates, registries, settings. Existing files are not touched: a folder that holds
/// settings already is taken as it is. With words of texts indexed, and search parameters of an operator among
/// the definitions, which hold for the whole process.
pub fn prepare(folder: &Path, port: u16) -> Result<()> {
    let new = !folder.join("sluis.toml").exists();
    prepare_with(folder, &Options { content: true, ..Options::at(port) })?;
    if new {
        write_packages(folder, &PARAMETERS)?;
    }
    Ok(())
}

/// As [`prepare`], with options.
pub fn prepare_with(folder: &Path, options: &Options) -> Result<()> {
    // Keys and records are nobody else's to read.
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder.join("clients"))
        .with_context(|| folder.display().to_string())?;
    if folder.join("sluis.toml").exists() {
        return Ok(());
    }
    let scheme = if options.tls { "https" } else { "http" };
    if options.tls {
        certificates(folder)?;
    }
    write_private(&folder.join("token-key.pem"), &signing::generate(SignatureAlgorithm::Es256)?.pem)?;
    write_private(&folder.join("audit-key.pem"), &signing::generate(SignatureAlgorithm::EdDsa)?.pem)?;
    std::fs::write(folder.join("organisations.toml"), organisations())?;
    std::fs::write(folder.join("clients.toml"), clients(folder)?)?;
    // Its user edits a code table and sends SIGHUP.
    map::write_shipped(&folder.join("mappings"))?;
    std::fs::create_dir_all(folder.join("packages"))?;
    write_packages(folder, &PACKAGES)?;
    let config = Config {
        base: format!("{scheme}://localhost:{}/fhir", options.port),
        listen: ([127, 0, 0, 1], options.port).into(),
        store: options.store.clone(),
        tls: options.tls.then(|| Tls {
            certificate: "server.pem".into(),
            key: "server-key.pem".into(),
            client_authorities: Some("authority.pem".into()),
        }),
        token_key: "token-key.pem".into(),
        audit_key: "audit-key.pem".into(),
        organisations: "organisations.toml".into(),
        clients: "clients.toml".into(),
        policy: None,
        mappings: Some("mappings".into()),
        packages: Some("packages".into()),
        search: config::Search { content: options.content },
        mllp: Vec::new(),
        limits: Limits::default(),
        cohort_min: 10,
    };
    std::fs::write(folder.join("sluis.toml"), toml::to_string(&config)?)?;
    Ok(())
}

/// Definitions the demo is started with, beside those R4 brings.
const PACKAGES: [(&str, &str); 2] = [
    ("codesystem-demo-device.json", include_str!("demo/packages/codesystem-demo-device.json")),
    ("valueset-demo-respiratory.json", include_str!("demo/packages/valueset-demo-respiratory.json")),
];

/// What an operator adds so that the query set of the BgZ runs as it is published, and what STU3 clients ask besides.
const PARAMETERS: [(&str, &str); 2] = [
    (
        "searchparameter-medicationdispense-category.json",
        include_str!("demo/packages/searchparameter-medicationdispense-category.json"),
    ),
    (
        "searchparameter-observation-related-target.json",
        include_str!("demo/packages/searchparameter-observation-related-target.json"),
    ),
];

fn write_packages(folder: &Path, packages: &[(&str, &str)]) -> Result<()> {
    for (name, text) in packages {
        std::fs::write(folder.join("packages").join(name), text)?;
    }
    Ok(())
}

/// A made-up authority and a server certificate for `localhost`.
fn certificates(folder: &Path) -> Result<()> {
    let mut authority = rcgen::CertificateParams::new(Vec::new())?;
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Sluis demo authority");
    authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let authority_key = rcgen::KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let mut server = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(rcgen::DnType::CommonName, "localhost");
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = rcgen::KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &issuer)?;
    std::fs::write(folder.join("authority.pem"), authority_certificate.pem())?;
    std::fs::write(folder.join("server.pem"), certificate.pem())?;
    write_private(&folder.join("server-key.pem"), &server_key.serialize_pem())
}

/// Scopes the demo's clients ask for: a portal is given the patient's, the others the system's.
pub const SCOPES: &str = "system/*.cruds patient/*.cruds";

/// Writes a secret so that only its owner reads it.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

fn organisations() -> String {
    let mut out = String::from("# The demo region. Numbers and names are made up.\n");
    for party in PARTIES {
        out.push_str(&format!(
            "\n[[organisation]]\nura = \"{}\"\nname = \"{}\"\nkind = \"{}\"\n",
            party.ura, party.name, party.kind
        ));
    }
    out
}

/// Registers the clients with fresh keys; the private halves go to `clients/[id].pem`.
fn clients(folder: &Path) -> Result<String> {
    let mut file = ClientsFile::default();
    for software in CLIENTS {
        let key = signing::generate(SignatureAlgorithm::Es384)?;
        write_private(&folder.join("clients").join(format!("{}.pem", software.id)), &key.pem)?;
        file.clients.push(ClientSettings {
            id: software.id.to_owned(),
            name: software.name.to_owned(),
            organisations: vec![software.party.ura.to_owned()],
            scopes: vec![if software.portal { "patient/*.cruds" } else { "system/*.cruds" }.to_owned()],
            purposes: software.purposes.iter().map(|p| (*p).to_owned()).collect(),
            role_codes: software.role_codes.iter().map(|r| (*r).to_owned()).collect(),
            portal: software.portal,
            certificate_required: false,
            certificate_thumbprints: Vec::new(),
            disabled: false,
            keys: vec![key.public],
        });
    }
    Ok(toml::to_string(&file)?)
}

/// An assertion of a demo client, as its system would sign it: good for one token request within a minute.
pub fn assertion(folder: &Path, client: &str, context: &Context, clock: &dyn Clock) -> Result<String> {
    let config = Config::read(&folder.join("sluis.toml"))?;
    let software = CLIENTS.iter().find(|c| c.id == client).with_context(|| {
        let known: Vec<_> = CLIENTS.iter().map(|c| c.id).collect();
        format!("no demo client {client}; there are: {}", known.join(", "))
    })?;
    let key =
        SigningKey::from_pem(&config::read_text(&folder.join("clients").join(format!("{client}.pem")))?)?;
    let jti = clock.uuid().to_string();
    let token_url = oauth::url(&config.base);
    Ok(assertion::make(&key, client, &token_url, &claims(software, context)?, clock.now(), &jti)?)
}

fn claims(software: &Software, asked: &Context) -> Result<context::Context> {
    let organisation = Ura::parse(software.party.ura).context("URA of the demo")?;
    let role = match (&asked.role, asked.system) {
        (Some(role), _) => Some(role.as_str()),
        (None, true) => None,
        (None, false) => software.default_role,
    };
    let user = role.map(|role| User {
        identifier: format!("9{}01", role.replace('.', "")).into(),
        system: "http://fhir.nl/fhir/NamingSystem/uzi-nr-pers".into(),
        role_code: role.into(),
    });
    let patient = match &asked.patient {
        Some(id) => Some(ResourceId::parse(id).context("not a FHIR id")?),
        None => None,
    };
    let purpose = asked.purpose.as_deref().or(software.purposes.first().copied()).context("purpose")?;
    Ok(context::Context { organisation, user, patient, purpose: purpose.into() })
}

/// Gets a token from a gateway in this process.
pub async fn token(gateway: &Gateway, assertion: &str) -> Result<String> {
    let form: Vec<String> = assertion::form(assertion, SCOPES)
        .iter()
        .map(|(name, value)| {
            let escaped = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            format!("{name}={escaped}")
        })
        .collect();
    let (status, answer) = send(
        gateway,
        Method::POST,
        "/fhir/oauth/token",
        None,
        "application/x-www-form-urlencoded",
        form.join("&").into(),
    )
    .await?;
    ensure!(status == StatusCode::OK, "token: {status} {answer}");
    Ok(answer["access_token"].as_str().context("access_token")?.to_owned())
}

async fn send(
    gateway: &Gateway,
    method: Method,
    path: &str,
    token: Option<&str>,
    media: &str,
    body: Bytes,
) -> Result<(StatusCode, Value)> {
    let mut request = Request::builder().method(method).uri(path).header("content-type", media);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (parts, body) = request.body(Full::new(body))?.into_parts();
    let peer = Peer { address: ([127, 0, 0, 1], 0).into(), certificate: None };
    let response = gateway.call(parts, body, &peer).await;
    let status = response.status();
    let Ok(body) = response.into_body().collect().await else { bail!("the answer broke off") };
    Ok((status, serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null)))
}

/// Fills the region with its patients, through the gateway. Does nothing when they are all there already.
/// Errors: a region that was left half made, or anything the gateway refuses.
///
/// `progress` hears how many of how many are done.
pub async fn seed(gateway: &Gateway, folder: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
    match filled(gateway)? {
        Filled::Whole => return Ok(()),
        Filled::Partly => bail!(
            "the region in {} was only half made (was it stopped?); remove that folder and start again",
            folder.display()
        ),
        Filled::Not => {}
    }
    let clock = &*gateway.parts().clock;
    let people: Vec<_> = people::all().collect();
    let mut ids = Vec::with_capacity(people.len());
    for (at, person) in people.iter().enumerate() {
        let feed =
            if person.gesp().ura == region::GESP_NOORD.ura { "gesp-noord-epd" } else { "gesp-midden-epd" };
        let feed = signed_in(gateway, folder, feed, &Context::system(), clock).await?;
        let id = patient(gateway, &feed, *person).await?;
        let herself = signed_in(gateway, folder, "portaal", &Context::patient(&id), clock).await?;
        for consent in person.consents(&id) {
            let body = consent.to_string().into();
            let (status, answer) =
                send(gateway, Method::POST, "/fhir/Consent", Some(&herself), "application/fhir+json", body)
                    .await?;
            ensure!(status == StatusCode::CREATED, "consent of patient {}: {status} {answer}", at + 1);
        }
        ids.push(id);
        progress(at + 1, people.len());
    }
    cohort(gateway, &ids).await
}

async fn signed_in(
    gateway: &Gateway,
    folder: &Path,
    client: &str,
    context: &Context,
    clock: &dyn Clock,
) -> Result<String> {
    token(gateway, &assertion(folder, client, context, clock)?).await
}

async fn patient(gateway: &Gateway, token: &str, person: people::Person) -> Result<String> {
    let body = person.transaction().to_string().into();
    let (status, answer) =
        send(gateway, Method::POST, "/fhir", Some(token), "application/fhir+json", body).await?;
    ensure!(status == StatusCode::OK, "patient {}: {status} {answer}", person.at + 1);
    let location = answer["entry"][0]["response"]["location"].as_str().context("location")?;
    let id = location.rsplit("Patient/").next().and_then(|rest| rest.split('/').next()).context("id")?;
    Ok(id.to_owned())
}

/// How far the region is filled.
enum Filled {
    Not,
    Partly,
    Whole,
}

/// The cohort is written last: with it, everything is there.
fn filled(gateway: &Gateway) -> Result<Filled> {
    let parts = gateway.parts();
    let permit = decision::system(&parts.policy, parts.clock.now(), "demo");
    let mut filled = Filled::Not;
    parts.store.read(&permit, &mut |reader| {
        if reader.own_by_identifier(kinds().group, COHORT.0, COHORT.1)?.is_some() {
            filled = Filled::Whole;
        } else if reader.patient_by_identifier(crate::ids::SYSTEM_BSN, people::BSNS[0])?.is_some() {
            filled = Filled::Partly;
        }
        Ok(())
    })?;
    Ok(filled)
}

/// Identifier of the cohort's Group.
const COHORT: (&str, &str) = ("https://sluis.care/fhir/NamingSystem/cohort", "demo");

/// The cohort of the ALS centre: all patients of the region. Who is really exported is decided by their consents.
async fn cohort(gateway: &Gateway, ids: &[String]) -> Result<()> {
    let members: Vec<Value> =
        ids.iter().map(|id| json!({ "entity": { "reference": format!("Patient/{id}") } })).collect();
    let group = json!({
        "resourceType": "Group",
        "identifier": [{ "system": COHORT.0, "value": COHORT.1 }], "active": true, "type": "person", "actual": true,
        "name": format!("Cohort {}", ACN.name), "quantity": ids.len(), "member": members,
    });
    let parts = gateway.parts();
    let now = parts.clock.now();
    let permit = decision::system(&parts.policy, now, "demo-cohort");
    let desk = gateway.desk(&permit, now);
    let doc = sluis_conformance::json::Doc::parse(group.to_string().into_bytes(), Default::default())?;
    let draft = Draft { kind: kinds().group, id: None, doc: doc.into() };
    let done = commit(&*parts.store, &permit, move |writer| {
        put_draft(writer, &desk, &draft, Expect::New, &crate::interaction::reference::Links::none())
    })
    .await;
    match done {
        Ok(_) => Ok(()),
        Err(refusal) => bail!("cohort: {:?} {}", refusal.reason, refusal.details),
    }
}
