//! A whole gateway on loopback: TLS, tokens, database, the demo region's people.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use sluis::clock::{Clock, System};
use sluis::config;
use sluis::demo::{self, Context, Options, people};
use sluis::ids::SYSTEM_BSN;
use sluis::run::Running;

use crate::client::{Answer, Client};
use crate::database::{Database, Tables};

/// A running gateway with its demo region in a folder of its own, removed at the end.
pub struct World {
    folder: PathBuf,
    settings: PathBuf,
    client: Client,
    running: Option<Running>,
    clock: Arc<dyn Clock>,
    database: Option<Arc<Database>>,
}

impl World {
    /// A region with its people and their data.
    pub async fn start() -> Result<World> {
        World::start_with(Arc::new(System)).await
    }

    /// As [`World::start`], with a clock handed in.
    pub async fn start_with(clock: Arc<dyn Clock>) -> Result<World> {
        World::start_on(World::database()?, clock).await
    }

    /// As [`World::start`], with these files in the folder of packages besides. Search parameters among them hold for the
    /// whole process.
    pub async fn start_with_packages(packages: &[(&str, &str)]) -> Result<World> {
        World::make(&std::env::temp_dir(), World::database()?, Arc::new(System), packages).await
    }

    /// The database that SLUIS_TEST_STORE asks for; `None`: a file.
    fn database() -> Result<Option<(Database, config::Store)>> {
        match std::env::var("SLUIS_TEST_STORE").as_deref() {
            Ok("postgres") => {
                let database = Database::new()?.context("SLUIS_TEST_STORE=postgres without a server")?;
                let store = database.store()?;
                Ok(Some((database, store)))
            }
            Err(_) | Ok("sqlite") => Ok(None),
            Ok(other) => anyhow::bail!("SLUIS_TEST_STORE={other}: sqlite or postgres"),
        }
    }

    /// On a PostgreSQL database, reached as these settings say; `None`: on a file.
    pub async fn start_on(
        database: Option<(Database, config::Store)>,
        clock: Arc<dyn Clock>,
    ) -> Result<World> {
        World::start_in(&std::env::temp_dir(), database, clock).await
    }

    /// In a folder of its own below `parent`.
    pub async fn start_in(
        parent: &Path,
        database: Option<(Database, config::Store)>,
        clock: Arc<dyn Clock>,
    ) -> Result<World> {
        World::make(parent, database, clock, &[]).await
    }

    async fn make(
        parent: &Path,
        database: Option<(Database, config::Store)>,
        clock: Arc<dyn Clock>,
        packages: &[(&str, &str)],
    ) -> Result<World> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluis-world-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let folder = parent.join(name);
        // The port is part of the audience of tokens, so it is chosen before the region is made.
        let mut options = Options { content: true, ..Options::at(free_port()?) };
        let database = database.map(|(database, store)| {
            options.store = store;
            Arc::new(database)
        });
        demo::prepare_with(&folder, &options).context("prepare the region")?;
        for (name, text) in packages {
            std::fs::write(folder.join("packages").join(name), text)?;
        }
        let mut world = World {
            client: Client::new(0, &std::fs::read(folder.join("authority.pem"))?, None)?,
            settings: folder.join("sluis.toml"),
            folder,
            running: None,
            clock,
            database,
        };
        world.open().await?;
        demo::seed(world.running()?.gateway(), &world.folder, &mut |_, _| {})
            .await
            .context("seed the region")?;
        Ok(world)
    }

    /// A further gateway of the same region, on the same database, behind the same base address: for PostgreSQL.
    pub async fn another(&self) -> Result<World> {
        self.another_with(&|_| {}).await
    }

    /// As [`World::another`], with other settings.
    pub async fn another_with(&self, change: &dyn Fn(&mut config::Config)) -> Result<World> {
        let path = self.settings_on(config::Config::read(&self.settings)?.store)?;
        let mut settings = config::Config::read(&path)?;
        change(&mut settings);
        std::fs::write(&path, toml::to_string(&settings)?)?;
        self.open_with(path, self.database.clone()).await
    }

    /// Settings of the same region on another store and port, as a file.
    pub fn settings_on(&self, store: config::Store) -> Result<PathBuf> {
        let mut settings = config::Config::read(&self.settings)?;
        let port = free_port()?;
        settings.listen.set_port(port);
        settings.store = store;
        let path = self.folder.join(format!("sluis-{port}.toml"));
        std::fs::write(&path, toml::to_string(&settings)?)?;
        Ok(path)
    }

    /// A gateway of the same region with other settings.
    pub async fn open_with(&self, settings: PathBuf, database: Option<Arc<Database>>) -> Result<World> {
        let mut world = World {
            client: self.client.clone(),
            settings,
            folder: self.folder.clone(),
            running: None,
            clock: Arc::clone(&self.clock),
            database,
        };
        world.open().await?;
        Ok(world)
    }

    /// Its tables, past the gateway.
    pub fn tables(&self) -> Tables {
        match &self.database {
            Some(database) => Tables::Server(Arc::clone(database)),
            None => Tables::File(self.folder.join("sluis.db")),
        }
    }

    /// Its settings file.
    pub fn settings(&self) -> &Path {
        &self.settings
    }

    /// Stops the gateway in good order.
    pub async fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    async fn open(&mut self) -> Result<()> {
        let running = sluis::run::start(&self.settings, Arc::clone(&self.clock)).await?;
        self.client = self.client.at(running.address().port());
        self.running = Some(running);
        Ok(())
    }

    /// Stops the gateway in good order and starts it anew on the same folder.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        self.open().await
    }

    /// The running gateway.
    pub fn running(&self) -> Result<&Running> {
        self.running.as_ref().context("the gateway is stopped")
    }

    /// The region's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The plain client, for requests without token.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Status of `/health/live` or `/health/ready`.
    pub async fn health(&self, of: &str) -> Result<u16> {
        Ok(self.client.send(Method::GET, &format!("/health/{of}"), &[], Bytes::new()).await?.status.as_u16())
    }

    /// A caller with a token of `client` in `context`.
    pub async fn caller(&self, client: &str, context: Context) -> Result<Caller> {
        let assertion = demo::assertion(&self.folder, client, &context, &*self.clock)?;
        let answer = self.token(&assertion, demo::SCOPES).await?;
        ensure!(answer.status == 200, "token for {client}: {} {}", answer.status, answer.text());
        let token = answer.json()["access_token"].as_str().context("no access_token")?.to_owned();
        Ok(Caller { client: self.client.clone(), token })
    }

    /// Asks the token endpoint with an assertion.
    pub async fn token(&self, assertion: &str, scope: &str) -> Result<Answer> {
        let form = format!(
            "grant_type=client_credentials&scope={}&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}",
            scope.replace('/', "%2F").replace('*', "%2A").replace(' ', "+")
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.client.send(Method::POST, "/fhir/oauth/token", &headers, form).await
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Drop for World {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary folder; a test does not fail for it.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Somebody with a token.
#[derive(Clone)]
pub struct Caller {
    client: Client,
    token: String,
}

impl Caller {
    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The same token at another gateway of the region.
    #[must_use]
    pub fn at(&self, world: &World) -> Caller {
        Caller { client: world.client.clone(), token: self.token.clone() }
    }

    /// Id of the demo's first patient, found by BSN.
    pub async fn first_patient(&self) -> Result<String> {
        let bsn = format!("{SYSTEM_BSN}|{}", people::BSNS[0]);
        let found = self.search("Patient", &[("identifier", &bsn)]).await?;
        let id = entries(&found).first().context("no patient")?["resource"]["id"].as_str();
        Ok(id.context("id")?.to_owned())
    }

    /// `GET [base]/path`; an absolute URL of the gateway is taken as it is.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// As [`Caller::get`], where 200 and JSON are due.
    pub async fn ok(&self, path: &str) -> Result<Value> {
        let answer = self.get(path).await?;
        ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.text());
        Ok(answer.json())
    }

    /// `POST [base]/path` of a FHIR resource.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, &[("content-type", "application/fhir+json")], body.to_string()).await
    }

    /// `PUT [base]/path` of a FHIR resource.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, &[("content-type", "application/fhir+json")], body.to_string()).await
    }

    /// `DELETE [base]/path`
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// `POST [base]/$ingest` of a document.
    pub async fn ingest(&self, media: &str, document: impl Into<Bytes>) -> Result<Answer> {
        self.send(Method::POST, "$ingest", &[("content-type", media)], document).await
    }

    /// `POST [base]/Type/_search` with a form.
    pub async fn search(&self, kind: &str, form: &[(&str, &str)]) -> Result<Value> {
        let escape =
            |text: &str| -> String {
                text.bytes()
                    .map(|b| {
                        if b.is_ascii_alphanumeric() {
                            char::from(b).to_string()
                        } else {
                            format!("%{b:02X}")
                        }
                    })
                    .collect()
            };
        let body: Vec<String> = form.iter().map(|(n, v)| format!("{}={}", escape(n), escape(v))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.send(Method::POST, &format!("{kind}/_search"), &headers, body.join("&")).await?;
        ensure!(answer.status == 200, "{kind}/_search: {} {}", answer.status, answer.text());
        Ok(answer.json())
    }

    /// Any request with the token.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        let path = match path.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..])) {
            Some(absolute) => absolute.to_owned(),
            None => format!("/fhir/{path}"),
        };
        let authorization = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        self.client.send(method, &path, &all, body).await
    }
}

/// An Observation of a patient (by id) with a number of `urn:test:number`.
pub fn observation(patient: &str, number: &str) -> Value {
    json!({
        "resourceType": "Observation", "status": "final", "effectiveDateTime": "2026-10-01",
        "identifier": [{ "system": "urn:test:number", "value": number }],
        "subject": { "reference": format!("Patient/{patient}") },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }] },
    })
}

/// Errors: the answer has another status than the one due.
pub fn due(what: &str, answer: &Answer, status: u16) -> Result<()> {
    ensure!(
        answer.status.as_u16() == status,
        "{what}: {} where {status} is due: {}",
        answer.status,
        answer.text()
    );
    Ok(())
}

/// Resources of a Bundle's entries that are matches.
pub fn matches(bundle: &Value) -> Vec<&Value> {
    entries(bundle).iter().filter(|e| e["search"]["mode"] == "match").map(|e| &e["resource"]).collect()
}

/// A Bundle's entries.
pub fn entries(bundle: &Value) -> &[Value] {
    bundle["entry"].as_array().map_or(&[], |entries| entries.as_slice())
}

/// URL of a Bundle's link.
pub fn link<'b>(bundle: &'b Value, relation: &str) -> Option<&'b str> {
    bundle["link"].as_array()?.iter().find(|l| l["relation"] == relation)?["url"].as_str()
}
