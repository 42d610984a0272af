//! The twin world: a gateway answers exactly like one that holds nothing but what the caller may see.
//!
//! Random patients, consents, care teams and questions. What a caller may see is judged here a second time, slowly and
//! row by row, from the consents' own words (docs/access.md); the rows of the database that he may not see are then
//! physically removed from a copy, and both gateways are asked the same.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use sluis::Gateway;
use sluis::clock::{Fixed, Timestamp};
use sluis::config::{Config, Sqlite, Store, Synchronous};
use sluis::connection::Peer;
use sluis::demo::region::{CTB, GESP_MIDDEN, GESP_NOORD, GP_BRUG, GP_ELDERS, Party, UMC};
use sluis::demo::{self, Context, people};
use sluis::interaction::asynchronous::Runner;
use sluis::jobs::{Jobs as _, Step};
use sluis_tests::database::{Database, Tables};

/// Monday 2 November 2026, 12:00 UTC.
const NOON: i64 = 1_793_620_800_000_000;
const TODAY: &str = "2026-11-02";

/// Who asks: client, role, organisation, and the categories the role reads (access.md 3.4).
struct Asker {
    client: &'static str,
    role: &'static str,
    party: &'static Party,
    reads: &'static [&'static str],
}

const GESP: &[&str] =
    &["core", "careteam", "careplan", "vitals", "resp", "alsfrs", "nutrition", "psych", "consent-admin"];
const GP: &[&str] = &["core", "careteam", "careplan", "vitals", "resp", "nutrition"];
const VENTILATION: &[&str] = &["core", "careteam", "careplan", "vitals", "resp"];

const ASKERS: &[Asker] = &[
    Asker { client: "gesp-midden-epd", role: "01.042", party: &GESP_MIDDEN, reads: GESP },
    Asker { client: "gesp-noord-epd", role: "01.042", party: &GESP_NOORD, reads: GESP },
    Asker { client: "gp-brug-his", role: "01.015", party: &GP_BRUG, reads: GP },
    Asker { client: "gp-elders-his", role: "01.015", party: &GP_ELDERS, reads: GP },
    Asker { client: "ctb-epd", role: "01.023", party: &CTB, reads: VENTILATION },
];

/// Categories a consent may name, and codes of Observations that are of them.
const CATEGORIES: &[&str] = &["core", "careteam", "careplan", "vitals", "resp", "alsfrs", "nutrition"];
const CODES: &[(&str, &str, &str)] = &[
    ("http://loinc.org", "19868-9", "resp"),
    ("http://loinc.org", "29463-7", "nutrition"),
    ("https://sluis.care/fhir/CodeSystem/als-observation", "alsfrs-r-total", "alsfrs"),
    ("http://loinc.org", "8867-4", "vitals"),
    ("http://loinc.org", "72133-2", "unclassified"),
];

/// One resource to be written.
#[derive(Debug, Clone)]
struct Fact {
    patient: usize,
    /// Index in [`CODES`]; past it a Condition, then a CarePlan.
    what: usize,
    month: u8,
    by_hospital: bool,
    psy: bool,
    /// A second version, of another month, bearing PSY or not.
    then: Option<(u8, bool)>,
    deleted: bool,
}

/// One provision: whom it names is the Consent's.
#[derive(Debug, Clone)]
struct Words {
    permit: bool,
    categories: Vec<usize>,
    months: Option<(u8, u8)>,
}

#[derive(Debug, Clone)]
struct Said {
    patient: usize,
    /// Askers named; none: anyone.
    recipient: Option<usize>,
    /// Data holders: both authors, the hospital alone, the team alone.
    holders: usize,
    root: Words,
    except: Option<Vec<usize>>,
}

#[derive(Debug, Clone)]
struct Case {
    facts: Vec<Fact>,
    said: Vec<Said>,
    /// Per patient: who is in the team, and whether its period has ended.
    teams: Vec<(Vec<bool>, bool)>,
    asker: usize,
    questions: Vec<(usize, usize, usize, usize, usize)>,
}

const PATIENTS: usize = 3;

fn case() -> impl Strategy<Value = Case> {
    let fact = (
        0..PATIENTS,
        0..CODES.len() + 2,
        1u8..11,
        any::<bool>(),
        prop::bool::weighted(0.15),
        prop::option::weighted(0.3, (1u8..11, any::<bool>())),
        prop::bool::weighted(0.15),
    )
        .prop_map(|(patient, what, month, by_hospital, psy, then, deleted)| Fact {
            patient,
            what,
            month,
            by_hospital,
            psy,
            then,
            // Only the hospital's system may delete what it sent.
            deleted: deleted && by_hospital,
        });
    let months = prop::option::weighted(0.35, (1u8..8).prop_flat_map(|from| (Just(from), from..11)));
    let categories = prop_oneof![
        1 => Just(Vec::new()),
        1 => prop::sample::subsequence((0..CATEGORIES.len()).collect::<Vec<_>>(), 1..CATEGORIES.len()),
    ];
    let root = (prop::bool::weighted(0.85), categories, months)
        .prop_map(|(permit, categories, months)| Words { permit, categories, months });
    let except = prop::option::weighted(
        0.4,
        prop::sample::subsequence((0..CATEGORIES.len()).collect::<Vec<_>>(), 1..4),
    );
    let said = (
        0..PATIENTS,
        prop::option::weighted(0.6, 0..ASKERS.len()),
        prop_oneof![3 => Just(0usize), 1 => 1usize..3],
        root,
        except,
    )
        .prop_map(|(patient, recipient, holders, root, except)| {
            // An exception repeats no category of its root: that is refused as saying nothing.
            let except = except.filter(|_| root.categories.is_empty());
            Said { patient, recipient, holders, root, except }
        });
    let team = (prop::collection::vec(prop::bool::weighted(0.8), ASKERS.len()), prop::bool::weighted(0.1));
    let question = (0..QUESTIONS, 0..PATIENTS + 1, 0usize..8, 0usize..8, 0usize..12);
    (
        prop::collection::vec(fact, 8..18),
        prop::collection::vec(said, 6..14),
        prop::collection::vec(team, PATIENTS),
        0..ASKERS.len(),
        prop::collection::vec(question, 80),
    )
        .prop_map(|(facts, said, teams, asker, questions)| Case { facts, said, teams, asker, questions })
}

// What was written, as the oracle knows it.

#[derive(Debug, Clone)]
struct State {
    category: &'static str,
    day: String,
    psy: bool,
}

#[derive(Debug, Clone)]
struct Row {
    patient: usize,
    author: &'static str,
    versions: Vec<State>,
}

#[derive(Default)]
struct Written {
    patients: Vec<String>,
    rows: BTreeMap<String, Row>,
}

/// The direct reading of the consents: no masks, no rectangles.
fn admits(case: &Case, asker: &Asker, at: usize, row: &Row, state: &State) -> bool {
    if row.author == asker.party.ura {
        return true;
    }
    let (members, ended) = &case.teams[row.patient];
    // Labels such as PSY are opened only by a permit that names them, and none here does.
    if !members[at] || *ended || state.psy || !asker.reads.contains(&state.category) {
        return false;
    }
    let mut best: Option<([u8; 3], bool)> = None;
    for said in case.said.iter().filter(|said| said.patient == row.patient) {
        let named = said.recipient.is_some();
        if said.recipient.is_some_and(|one| one != at) || !holders(said.holders).contains(&row.author) {
            continue;
        }
        let within = |months: Option<(u8, u8)>| {
            months.is_none_or(|(from, to)| (first_day(from)..=last_day(to)).contains(&state.day))
        };
        let lists = |named: &[usize]| named.iter().any(|one| CATEGORIES[*one] == state.category);
        let root = &said.root;
        let mut rules = Vec::new();
        if root.categories.is_empty() || lists(&root.categories) {
            rules.push((!root.categories.is_empty(), root.permit));
        }
        if said.except.as_ref().is_some_and(|except| lists(except)) {
            rules.push((true, !root.permit));
        }
        for (by_category, permit) in rules.into_iter().filter(|_| within(root.months)) {
            let data = if by_category { 2 } else { u8::from(root.months.is_some()) };
            let rank = [data, u8::from(named), 1];
            best = match best {
                // Equal: deny wins.
                Some((found, held)) if found == rank => Some((found, held && permit)),
                Some((found, held)) if found > rank => Some((found, held)),
                _ => Some((rank, permit)),
            };
        }
    }
    best.is_some_and(|(_, permit)| permit)
}

fn first_day(month: u8) -> String {
    format!("2026-{month:02}-01")
}

fn last_day(month: u8) -> String {
    format!("2026-{month:02}-28")
}

fn holders(which: usize) -> &'static [&'static str] {
    match which {
        0 => &["90000201", "90000101"],
        1 => &["90000101"],
        _ => &["90000201"],
    }
}

// The world.

struct World {
    gateway: Gateway,
    clock: Arc<Fixed>,
    folder: PathBuf,
}

impl World {
    async fn open(folder: &Path, tables: &Tables, clock: &Arc<Fixed>) -> Result<World> {
        let mut config = Config::read(&folder.join("sluis.toml"))?;
        config.store = match tables {
            Tables::File(file) => {
                Store::Sqlite(Sqlite { file: file.clone(), synchronous: Synchronous::Normal })
            }
            Tables::Server(database) => database.store()?,
        };
        let gateway = sluis::run::assemble(&config, Arc::<Fixed>::clone(clock)).await?;
        Ok(World { gateway, clock: Arc::clone(clock), folder: folder.to_owned() })
    }

    async fn token(&self, client: &str, context: &Context) -> Result<String> {
        let assertion = demo::assertion(&self.folder, client, context, &*self.clock)?;
        demo::token(&self.gateway, &assertion).await
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Result<Reply> {
        self.ask_preferring(None, method, path, token, body).await
    }

    async fn ask_preferring(
        &self,
        prefer: Option<&str>,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/fhir+json");
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        let bytes = body.map_or_else(Bytes::new, |body| body.to_string().into());
        let (parts, body) = request.body(Full::new(bytes))?.into_parts();
        let peer = Peer { address: ([127, 0, 0, 1], 0).into(), certificate: None };
        let (head, body) = self.gateway.call(parts, body, &peer).await.into_parts();
        let Ok(body) = body.collect().await else { anyhow::bail!("the answer broke off") };
        let headers = head
            .headers
            .iter()
            .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        Ok(Reply { status: head.status.as_u16(), headers, body })
    }

    /// A question as it is asked: of what is answered later the answers of its files.
    async fn question(&self, path: &str, token: &str, asker: &Asker) -> Result<Vec<Reply>> {
        if let Some(bsn) = path.strip_prefix("/fhir/Patient/$match?bsn=") {
            let patient = json!({ "resourceType": "Patient", "identifier": [{ "system": sluis::ids::SYSTEM_BSN, "value": bsn }] });
            let body = json!({ "resourceType": "Parameters", "parameter": [{ "name": "resource", "resource": patient }] });
            return Ok(vec![self.ask(Method::POST, "/fhir/Patient/$match", token, Some(&body)).await?]);
        }
        let Some(asked) = path.strip_prefix("/fhir/later:") else {
            return Ok(vec![self.ask(Method::GET, path, token, None).await?]);
        };
        let prefer = Some("respond-async");
        let first = match asked.strip_prefix("batch:") {
            None => self.ask_preferring(prefer, Method::GET, &format!("/fhir/{asked}"), token, None).await?,
            Some(urls) => {
                let entry = |url: &str| json!({ "request": { "method": "GET", "url": url } });
                let entries: Vec<Value> = urls.split(' ').map(entry).collect();
                let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
                self.ask_preferring(prefer, Method::POST, "/fhir", token, Some(&batch)).await?
            }
        };
        let location = first.headers.iter().find(|(name, _)| name == "content-location");
        let Some((_, location)) = location.filter(|_| first.status == 202) else { return Ok(vec![first]) };
        let local = |url: &str| url.find("/fhir/").map(|at| url[at..].to_owned()).unwrap_or_default();
        let status = local(location);
        let runner = Arc::new(Runner(self.gateway.clone()));
        let owner = runner.store().party(&format!("ura:{}", asker.party.ura))?;
        let id = status.rsplit('/').next().context("id")?;
        loop {
            match runner.step(owner, id).await {
                Ok(Step::More) => {}
                Ok(Step::Over) => break,
                Err(cause) => {
                    runner.fail(owner, id, &cause).await?;
                    break;
                }
            }
        }
        let manifest = self.ask(Method::GET, &status, token, None).await?;
        ensure!(manifest.status == 200, "{path}: {}", manifest.body);
        let mut replies = Vec::new();
        for list in ["output", "error"] {
            for file in manifest.body[list].as_array().context("list")? {
                let url = local(file["url"].as_str().context("url")?);
                replies.push(self.ask(Method::GET, &url, token, None).await?);
            }
        }
        ensure!(self.ask(Method::DELETE, &status, token, None).await?.status == 202);
        Ok(replies)
    }

    /// Writes, one second after what was written before.
    async fn write(&self, method: Method, path: &str, token: &str, body: Option<&Value>) -> Result<Value> {
        self.clock.advance_seconds(1);
        let said = body.map(Value::to_string).unwrap_or_default();
        let reply = self.ask(method, &format!("/fhir/{path}"), token, body).await?;
        ensure!((200..300).contains(&reply.status), "{path}: {} {}\n{said}", reply.status, reply.body);
        Ok(reply.body)
    }
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Reply {
    /// What two worlds must have in common: all but random ids and the sealed text of page links.
    fn comparable(mut self) -> (u16, Vec<(String, String)>, Value) {
        // The length follows from a body that is compared itself, with sealed cursors of random look inside.
        self.headers.retain(|(name, _)| name != "content-length");
        // In an entry of a batch there may be another.
        for entry in self.body["entry"].as_array_mut().into_iter().flatten() {
            if entry["resource"]["resourceType"] == "Bundle" {
                let inner = Reply { status: 0, headers: Vec::new(), body: entry["resource"].take() };
                entry["resource"] = inner.comparable().2;
            }
        }
        if self.body["resourceType"] == "Bundle" {
            self.body["id"] = Value::Null;
            for link in self.body["link"].as_array_mut().into_iter().flatten() {
                if let Some(url) = link["url"].as_str()
                    && let Some(at) = url.find("_cursor=")
                {
                    link["url"] = url[..at].into();
                }
            }
        }
        (self.status, self.headers, self.body)
    }

    fn next(&self) -> Option<String> {
        let links = self.body["link"].as_array()?;
        let url = links.iter().find(|link| link["relation"] == "next")?["url"].as_str()?;
        url.find("/fhir/").map(|at| url[at..].to_owned())
    }
}

fn resource(fact: &Fact, month: u8, psy: bool, subject: &Value) -> Value {
    let date = format!("2026-{month:02}-14");
    let mut resource = if let Some((system, code, category)) = CODES.get(fact.what) {
        let mut observation = json!({
            "resourceType": "Observation", "status": "final", "subject": subject, "effectiveDateTime": date,
            "code": { "coding": [{ "system": system, "code": code }] },
            "valueQuantity": { "value": month, "system": "http://unitsofmeasure.org", "code": "L" },
        });
        if *category == "vitals" {
            observation["category"] = json!([{ "coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs",
            }] }]);
        }
        observation
    } else if fact.what == CODES.len() {
        json!({
            "resourceType": "Condition", "subject": subject, "recordedDate": date,
            "code": { "coding": [{ "system": "http://snomed.info/sct", "code": "86044005" }] },
        })
    } else {
        json!({
            "resourceType": "CarePlan", "status": "active", "intent": "plan", "subject": subject,
            "period": { "start": date },
        })
    };
    let written = format!("in maand{month}{}", if psy { " besloten" } else { "" });
    resource["note"] = json!([{ "text": written }]);
    resource["text"] = json!({
        "status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{written}</div>"),
    });
    if psy {
        resource["meta"] = json!({ "security": [{
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY",
        }] });
    }
    resource
}

fn category(fact: &Fact) -> &'static str {
    match CODES.get(fact.what) {
        Some((_, _, category)) => category,
        None if fact.what == CODES.len() => "core",
        None => "careplan",
    }
}

fn consent(patient: &str, said: &Said) -> Value {
    let mut consent = people::treatment(patient, &UMC, None);
    let organisation = |ura: &str| json!({ "type": "Organization", "identifier": { "system": sluis::ids::SYSTEM_URA, "value": ura } });
    let labels = |named: &[usize]| -> Value {
        named
            .iter()
            .map(|at| json!({ "system": "https://sluis.care/fhir/CodeSystem/data-category", "code": CATEGORIES[*at] }))
            .collect()
    };
    consent["organization"] = holders(said.holders).iter().map(|ura| organisation(ura)).collect();
    let provision = &mut consent["provision"];
    provision["type"] = if said.root.permit { "permit" } else { "deny" }.into();
    match said.recipient {
        Some(at) => provision["actor"][0]["reference"] = organisation(ASKERS[at].party.ura),
        None => {
            if let Some(provision) = provision.as_object_mut() {
                provision.remove("actor");
            }
        }
    }
    if !said.root.categories.is_empty() {
        provision["securityLabel"] = labels(&said.root.categories);
    }
    if let Some((from, to)) = said.root.months {
        provision["dataPeriod"] = json!({ "start": first_day(from), "end": last_day(to) });
    }
    if let Some(except) = &said.except {
        provision["provision"] = json!([{
            "type": if said.root.permit { "deny" } else { "permit" },
            "securityLabel": labels(except),
        }]);
    }
    consent
}

/// Writes a case through the gateway's door, and keeps book.
async fn fill(world: &World, case: &Case) -> Result<Written> {
    let mut written = Written::default();
    let note = |written: &mut Written, body: &Value, row: Row| -> Result<String> {
        let kind = body["resourceType"].as_str().context("type")?;
        let id = format!("{kind}/{}", body["id"].as_str().context("id")?);
        written.rows.insert(id.clone(), row);
        Ok(id)
    };
    let state = |category, day: &str, psy| State { category, day: day.to_owned(), psy };
    let team = world.token("gesp-midden-epd", &Context::role("01.042")).await?;
    let hospital = world.token("umc-epd", &Context::system()).await?;
    for at in 0..PATIENTS {
        let gender = if at == 1 { "male" } else { "female" };
        let patient = json!({
            "resourceType": "Patient", "gender": gender, "birthDate": format!("195{at}-02-03"),
            "identifier": [{ "system": sluis::ids::SYSTEM_BSN, "value": people::BSNS[at] }],
            "name": [{ "family": format!("Proefpersoon-{at}") }],
        });
        let body = world.write(Method::POST, "Patient", &team, Some(&patient)).await?;
        let row = Row { patient: at, author: GESP_MIDDEN.ura, versions: vec![state("core", TODAY, false)] };
        note(&mut written, &body, row)?;
        let id = body["id"].as_str().context("id")?.to_owned();
        let (members, ended) = &case.teams[at];
        let participant: Vec<Value> = members
            .iter()
            .zip(ASKERS)
            .filter(|(member, _)| **member)
            .map(|(_, asker)| {
                json!({ "member": { "type": "Organization", "identifier": { "system": sluis::ids::SYSTEM_URA, "value": asker.party.ura } } })
            })
            .collect();
        let mut care_team = json!({
            "resourceType": "CareTeam", "status": "active", "period": { "start": "2026-01-01" },
            "subject": { "reference": format!("Patient/{id}") },
        });
        if !participant.is_empty() {
            care_team["participant"] = participant.into();
        }
        if *ended {
            care_team["period"]["end"] = "2026-10-01".into();
        }
        let body = world.write(Method::POST, "CareTeam", &team, Some(&care_team)).await?;
        let row = Row {
            patient: at,
            author: GESP_MIDDEN.ura,
            versions: vec![state("careteam", "2026-01-01", false)],
        };
        note(&mut written, &body, row)?;
        written.patients.push(id.clone());
        let herself = world.token("portaal", &Context::patient(&id)).await?;
        for said in case.said.iter().filter(|said| said.patient == at) {
            let body = world.write(Method::POST, "Consent", &herself, Some(&consent(&id, said))).await?;
            let row = Row {
                patient: at,
                author: "90000601",
                versions: vec![state("consent-admin", "2026-01-05", false)],
            };
            note(&mut written, &body, row)?;
        }
    }
    for fact in &case.facts {
        let (token, author) = if fact.by_hospital { (&hospital, UMC.ura) } else { (&team, GESP_MIDDEN.ura) };
        // The hospital knows the patient by number only.
        let subject = if fact.by_hospital {
            json!({ "identifier": { "system": sluis::ids::SYSTEM_BSN, "value": people::BSNS[fact.patient] } })
        } else {
            json!({ "reference": format!("Patient/{}", written.patients[fact.patient]) })
        };
        let day = |month: u8| format!("2026-{month:02}-14");
        let first = resource(fact, fact.month, fact.psy, &subject);
        let kind = first["resourceType"].as_str().context("type")?.to_owned();
        let body = world.write(Method::POST, &kind, token, Some(&first)).await?;
        let mut versions = vec![state(category(fact), &day(fact.month), fact.psy)];
        let path = format!("{kind}/{}", body["id"].as_str().context("id")?);
        if let Some((month, psy)) = fact.then {
            let mut second = resource(fact, month, psy, &subject);
            second["id"] = body["id"].clone();
            world.write(Method::PUT, &path, token, Some(&second)).await?;
            versions.push(state(category(fact), &day(month), psy));
        }
        if fact.deleted {
            world.write(Method::DELETE, &path, token, None).await?;
            versions.extend(versions.last().cloned());
        }
        note(&mut written, &body, Row { patient: fact.patient, author, versions })?;
    }
    Ok(written)
}

/// Empty tables on the store that is tested, or a copy of `real`.
fn tables(folder: &Path, name: &str, real: Option<&Tables>) -> Result<Tables> {
    let file = folder.join(format!("{name}.db"));
    Ok(match real {
        Some(Tables::File(real)) => {
            let connection = rusqlite::Connection::open(real)?;
            connection.execute("VACUUM INTO ?1", [file.to_str().context("path")?])?;
            Tables::File(file)
        }
        Some(Tables::Server(real)) => Tables::Server(Arc::new(real.copy()?)),
        None if std::env::var("SLUIS_TEST_STORE").is_ok_and(|store| store == "postgres") => {
            Tables::Server(Arc::new(Database::new()?.context("no server")?))
        }
        None => Tables::File(file),
    })
}

/// Removes the rows the asker may not see. Gives how many stayed and how many went.
fn remove_hidden(twin: &Tables, case: &Case, written: &Written) -> Result<(usize, usize)> {
    let asker = &ASKERS[case.asker];
    let mut removals = String::new();
    let rows =
        twin.named("SELECT r.key, k.name || '/' || r.id FROM resource r JOIN kind k ON k.key = r.kind")?;
    ensure!(rows.len() == written.rows.len(), "{} rows, {} written", rows.len(), written.rows.len());
    let mut hidden = 0;
    for (key, name) in &rows {
        let row = written.rows.get(name).with_context(|| format!("{name} was not written here"))?;
        let seen = |state: &State| admits(case, asker, case.asker, row, state);
        if row.versions.last().is_some_and(seen) {
            for (version, state) in (1i64..).zip(&row.versions) {
                if !seen(state) {
                    removals
                        .push_str(&format!("DELETE FROM version WHERE key = {key} AND version = {version};"));
                }
            }
            continue;
        }
        hidden += 1;
        let words = match twin {
            Tables::File(_) => "rowid",
            Tables::Server(_) => "row",
        };
        for (table, column) in [
            ("index_text", words),
            ("resource", "key"),
            ("body", "key"),
            ("version", "key"),
            ("index_token", "row"),
            ("index_string", "row"),
            ("index_date", "row"),
            ("index_number", "row"),
            ("index_quantity", "row"),
            ("index_reference", "row"),
            ("index_uri", "row"),
        ] {
            removals.push_str(&format!("DELETE FROM {table} WHERE {column} = {key};"));
        }
    }
    twin.change(&removals)?;
    Ok((rows.len() - hidden, hidden))
}

const QUESTIONS: usize = 37;

/// A question from the grammar: what it is about, then how it is sorted, cut and joined.
fn question(written: &Written, (which, whom, a, b, row): (usize, usize, usize, usize, usize)) -> String {
    // One past the patients is nobody.
    let patient = written.patients.get(whom).map_or("nobody", String::as_str);
    let (system, code, _) = CODES[a % CODES.len()];
    let sort = ["date", "-date", "_lastUpdated", "-_lastUpdated", "_id", "-_id", "code", "-code,date"][a];
    let shape = [
        "",
        "&_summary=count",
        "&_count=1",
        "&_count=2&_total=accurate",
        "&_include=Observation:subject",
        "&_count=3&_include=Observation:patient",
        "&_total=accurate",
        ["&_elements=id,status", "&_summary=true", "&_summary=text", "&_summary=data"][row % 4],
    ][b];
    let kind = ["Observation", "Condition", "CarePlan", "CareTeam", "Consent", "Patient"][a % 6];
    let rows: Vec<&String> = written.rows.keys().collect();
    let one = rows[(row * 7 + a * 3 + b + whom) % rows.len()];
    match which {
        0 => format!("Observation?patient={patient}&_sort={sort}{shape}"),
        1 => format!("Observation?code={system}|{code}&_sort={sort}{shape}"),
        2 => format!("Observation?subject=Patient/{patient}&date=ge2026-{:02}-01{shape}", b + 1),
        3 if a % 2 == 0 => format!("Observation?value-quantity=gt{row}{shape}"),
        3 => format!("Observation?value-quantity=gt{row}000|http://unitsofmeasure.org|mL{shape}"),
        4 => format!("Observation?subject:Patient.birthdate=195{a}-02-03{shape}"),
        5 => format!("Observation?patient.gender=female&_sort={sort}{shape}"),
        6 => format!("Patient?_has:Observation:patient:code={code}&_sort=birthdate"),
        7 => "Patient?_has:Condition:patient:code=86044005&_summary=count".to_owned(),
        8 => format!(
            "Patient?_id={patient}{}",
            [
                "&_revinclude=Observation:patient&_revinclude=Condition:patient",
                "&_revinclude=*",
                "&_revinclude=CareTeam:*&_include=*",
                "&_revinclude=Consent:patient&_include:iterate=*",
            ][a % 4]
        ),
        9 => format!("{kind}?_count={}&_total=accurate", 1 + b % 3),
        10 => format!("{kind}?_lastUpdated=ge2026-11-02&_sort=-_lastUpdated&_count=2"),
        11 => format!("Observation?_security=http://terminology.hl7.org/CodeSystem/v3-ActCode|PSY{shape}"),
        12 => format!("Observation?patient={patient},{}&code={code}{shape}", written.patients[0]),
        13 => format!(
            "CarePlan?patient={patient}&_include=CarePlan:subject&_revinclude:iterate={}:subject&_count=1",
            ["Observation", "CarePlan", "Condition"][a % 3]
        ),
        14 => format!(
            "Observation?patient.identifier={}|{}&_sort={sort}{shape}",
            sluis::ids::SYSTEM_BSN,
            people::BSNS[whom % PATIENTS]
        ),
        15 => format!("Patient?_has:Observation:subject:value-quantity=gt{row}&_total=accurate"),
        16 => format!(
            "Patient?_has:{}:patient:_lastUpdated=ge2026&_sort=-birthdate&_count=1",
            ["Condition", "CarePlan", "CareTeam", "Consent"][a % 4]
        ),
        17 => format!("Observation?patient._has:Condition:patient:code=86044005&_sort={sort}{shape}"),
        18 => format!(
            "{}?subject:Patient._has:Observation:patient:code:not={code}{shape}",
            ["CarePlan", "Condition"][a % 2]
        ),
        19 => format!("Condition?patient={patient}&patient.family=proef&patient._id={patient}{shape}"),
        20 => format!("{one}{}", ["", "?_summary=text", "?_elements=id", "/$meta"][a % 4]),
        21 => format!("{one}/_history{}", if b % 2 == 0 { "" } else { "?_count=1" }),
        22 => format!("{one}/_history/{}{}", [1, 1, 2, 3][b % 4], ["", "?_summary=true"][row % 2]),
        23 => format!(
            "{kind}/_history?_count={}{}",
            1 + b % 3,
            [
                "",
                "&_since=2026-11-02",
                "&_at=2026-11",
                "&_sort=_lastUpdated",
                "&_summary=count",
                "&_elements=id"
            ][row % 6]
        ),
        25 => format!(
            "Observation?{}&_sort={sort}{shape}",
            [
                "status:in=http://hl7.org/fhir/ValueSet/observation-status",
                "status:not-in=http://hl7.org/fhir/ValueSet/observation-status",
                "category:not-in=http://hl7.org/fhir/ValueSet/observation-status",
                "patient.gender:in=http://hl7.org/fhir/ValueSet/administrative-gender",
            ][row % 4]
        ),
        31 => format!(
            "{}&_total=accurate",
            [
                format!("Observation?_filter=code eq {code} or value-quantity gt {row}"),
                format!("Observation?_filter=not (code eq {code}) and patient.gender eq female"),
                format!("Patient?_filter=birthdate lt 197{b} or not (gender eq female)"),
                format!("CarePlan?_filter=subject._id eq {patient}"),
            ][row % 4]
        )
        .replace(' ', "%20"),
        33 => format!("Patient/$match?bsn={}", people::BSNS[whom % PATIENTS]),
        34 => format!("later:Observation?patient={patient}&_sort={sort}{shape}"),
        35 => [
            format!("later:Patient/{patient}/$everything?_count={}", 1 + b),
            format!("later:_history?_count={}", 2 + b),
            format!("later:?_count={}&_sort=-_lastUpdated&_include=*", 3 + b),
            format!("later:batch:Observation?patient={patient}{shape} {one} {kind}?_summary=count"),
        ][row % 4]
            .clone(),
        32 => ["$meta", "Observation/$meta", "Patient/$meta", "CarePlan/$meta"][row % 4].to_owned(),
        24 => format!("_history?_count={}{}", 1 + b, ["", "&_since=2026-11-02"][row % 2]),
        26 => format!(
            "?_count={}&_sort={}{}",
            1 + b,
            ["_lastUpdated", "-_lastUpdated", "_id", "-_id"][a % 4],
            [
                "",
                "&_type=Observation,Condition",
                "&_total=accurate",
                "&_type=Patient,Observation&_summary=count",
                "&_type=Observation,Condition&_include=Observation:subject&_include:iterate=Patient:*",
                "&_type=Patient,CareTeam&_revinclude=Observation:subject&_revinclude:iterate=Provenance:target"
            ][row % 6]
        ),
        27 => format!(
            "Patient/{patient}/*?_count={}{}",
            1 + b,
            [
                "",
                "&_sort=-_lastUpdated",
                "&_total=accurate",
                "&_type=Observation,CarePlan&_summary=true",
                "&_include=*&_revinclude=*"
            ][row % 5]
        ),
        29 => format!(
            "{}/$everything?_count={}{}",
            [format!("Patient/{patient}"), "Patient".to_owned()][a % 2],
            1 + b,
            ["", "&_type=Observation,CarePlan", "&start=2026-03-01", "&_since=2026-11-02"][row % 4]
        ),
        30 => format!(
            "Observation/$lastn?patient={patient}&code={code},{}&max={}{}",
            CODES[b % CODES.len()].1,
            1 + row % 3,
            ["", "&_include=*", "&_revinclude=Provenance:target&_include=Observation:subject"][row % 3]
        ),
        36 => format!(
            "{}&_total=accurate&_sort={sort}",
            [
                format!("Observation?_content=maand{} or {code}", 1 + b),
                format!("Observation?_content=not \"in maand{}\"&patient={patient}", 1 + b),
                format!("Observation?_text=maand* not maand{}&_count=2", 1 + b),
                format!("Observation?patient._has:Condition:patient:_content=maand{}", 1 + a),
                "Observation?_content=besloten&_summary=count".to_owned(),
                "Observation?subject:Patient._has:Observation:subject:_text=besloten".to_owned(),
            ][row % 6]
        )
        .replace(' ', "%20")
        .replace('"', "%22"),
        28 => format!(
            "Patient/{patient}/{kind}?_count={}{}",
            1 + b % 3,
            ["", "&_total=accurate", "&_sort=-_lastUpdated"][row % 3]
        ),
        _ => format!(
            "Patient?birthdate=lt1990-01-01&_sort={}birthdate&_count=1",
            if b % 2 == 0 { "" } else { "-" }
        ),
    }
}

/// Answers compared, by status; rows that stayed and that went.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<u16, usize>,
    questions: HashMap<usize, usize>,
    kept: usize,
    hidden: usize,
}

async fn compare(folder: &Path, number: usize, case: &Case, tally: &mut Tally) -> Result<()> {
    let clock = Arc::new(Fixed::at(Timestamp(NOON)));
    let here = tables(folder, &format!("real-{number}"), None)?;
    let real = World::open(folder, &here, &clock).await?;
    let written = fill(&real, case).await?;
    let there = tables(folder, &format!("twin-{number}"), Some(&here))?;
    let (kept, hidden) = remove_hidden(&there, case, &written)?;
    tally.kept += kept;
    tally.hidden += hidden;
    let twin = World::open(folder, &there, &clock).await?;
    let asker = &ASKERS[case.asker];
    // One token for both: what a request is refused for depends on the request alone.
    let token = real.token(asker.client, &Context::role(asker.role)).await?;
    // The twin shows no row that is hidden by mistake, as it judges too; the plain reading of the consents does.
    for (name, row) in &written.rows {
        let due = row.versions.last().is_some_and(|state| admits(case, asker, case.asker, row, state));
        let status = real.ask(Method::GET, &format!("/fhir/{name}"), &token, None).await?.status;
        ensure!((status != 404) == due, "{}: {name} {status}, by the consents {due}: {row:?}", asker.client);
    }
    for asked in &case.questions {
        let path = format!("/fhir/{}", question(&written, *asked).replace('|', "%7C"));
        let (mut left, mut right) = (path.clone(), path.clone());
        for page in 0.. {
            ensure!(page < 60, "{path} has no end");
            let one = real.question(&left, &token, asker).await?;
            let other = twin.question(&right, &token, asker).await?;
            // What is answered later has no page behind its last.
            let next = |replies: &[Reply]| replies.last().and_then(Reply::next);
            let nexts = (next(&one), next(&other));
            let first = one.first().context("no answer")?.status;
            *tally.statuses.entry(first).or_default() += 1;
            if first == 200 {
                *tally.questions.entry(asked.0).or_default() += 1;
            }
            let all = |replies: Vec<Reply>| replies.into_iter().map(Reply::comparable).collect::<Vec<_>>();
            let (one, other) = (all(one), all(other));
            ensure!(
                one == other,
                "{} asks {path}, page {page}:\n real {one:?}\n twin {other:?}",
                asker.client
            );
            match nexts {
                (Some(one), Some(other)) => (left, right) = (one, other),
                (None, None) => break,
                _ => anyhow::bail!("{path}: one world has a next page, the other has not"),
            }
        }
    }
    Ok(())
}

#[test]
fn a_caller_cannot_tell_hidden_data_from_data_that_never_was() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("sluis-twin-{}", std::process::id()));
    demo::prepare_with(&folder, &demo::Options { tls: false, content: true, ..demo::Options::at(8443) })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let settings = Cases { cases: 16, max_shrink_iters: 8, failure_persistence: None, ..Cases::default() };
    let mut runner = TestRunner::new_with_rng(settings, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tally = std::cell::RefCell::new((0usize, Tally::default()));
    let result = runner.run(&case(), |case| {
        let mut tally = tally.borrow_mut();
        tally.0 += 1;
        let number = tally.0;
        runtime
            .block_on(compare(&folder, number, &case, &mut tally.1))
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    let removed = std::fs::remove_dir_all(&folder);
    result.map_err(|error| anyhow::anyhow!("{error}"))?;
    removed?;
    let (_, tally) = tally.into_inner();
    // A comparison of two empty worlds, or of refusals alone, would show nothing.
    ensure!(tally.kept > 50 && tally.hidden > 50, "{tally:?}");
    let answered = (0..QUESTIONS).filter(|which| tally.questions.contains_key(which)).count();
    ensure!(answered == QUESTIONS, "{tally:?}");
    for status in [200, 404] {
        ensure!(tally.statuses.get(&status).is_some_and(|seen| *seen > 20), "{tally:?}");
    }
    Ok(())
}
