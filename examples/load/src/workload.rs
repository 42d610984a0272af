//! The workloads: what one iteration asks, and what its answers must be.

mod bgz;
mod search;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::ValueEnum;
use http::Method;
use serde_json::{Value, json};

use crate::care;
use crate::client::{FHIR, Line, Reply, Who};
use crate::draw::{Rng, Spread};
use crate::nine;

pub(crate) use search::{Known, one, parameters};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Workload {
    /// A Patient by id.
    Read,
    /// Of one patient, twenty Observations of many, newest first, with the exact total.
    Page,
    /// One search by each parameter of every kind, values at random.
    Search,
    /// One Observation.
    Create,
    /// Nine types made, read, changed and deleted: 36 requests.
    Crud,
    /// A transaction of Patient, Encounter and two Observations.
    Transaction,
    /// A patient's whole record as one transaction; its unit is the resource.
    Import,
    /// `Patient/[id]/$everything`
    Everything,
    /// The searches of the basic dataset (BgZ) for one patient.
    Bgz,
    /// Reads, searches and creates, and consents withdrawn and given again; every look after a withdrawal must find nothing.
    Mixed,
    /// One HL7v2 message with lung function.
    Ingest,
}

/// What all iterations know.
pub(crate) struct Scene {
    pub(crate) seed: u64,
    /// Patients the reader may see.
    pub(crate) ids: Vec<String>,
    pub(crate) spread: Spread,
    /// Bodies of the import workload, made before the clock starts.
    pub(crate) records: Vec<Bytes>,
    /// Ids of other types, for searches by reference.
    pub(crate) known: Known,
    /// Consents of the patients that [`Workload::Mixed`] withdraws: patient, consent, its resource.
    pub(crate) consents: Vec<(String, String, Value)>,
    /// Searches of the basic dataset that the server answers.
    pub(crate) bgz: Vec<&'static str>,
    /// Numbers that no two messages share.
    pub(crate) number: AtomicU64,
}

impl Scene {
    /// One that nothing is asked of.
    pub(crate) fn empty() -> Scene {
        Scene {
            seed: 0,
            ids: Vec::new(),
            spread: Spread::Uniform(0),
            records: Vec::new(),
            known: Known::default(),
            consents: Vec::new(),
            bgz: Vec::new(),
            number: AtomicU64::new(0),
        }
    }
}

/// What cannot be measured, and why.
pub(crate) struct Missing(pub(crate) String);

impl Workload {
    /// As in the table.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// One iteration; its units of work.
    pub(crate) async fn iterate(self, line: &mut Line, scene: &Scene, rng: &mut Rng) -> Result<u64> {
        let patient = &scene.ids[scene.spread.draw(rng)];
        match self {
            Workload::Read => read(line, patient).await,
            Workload::Page => page(line, patient).await,
            Workload::Search => search::each(line, scene, rng).await,
            Workload::Create => create(line, patient, scene, rng).await,
            Workload::Crud => crud(line, scene).await,
            Workload::Transaction => transaction(line, rng).await,
            Workload::Import => import(line, scene, rng).await,
            Workload::Everything => everything(line, patient).await,
            Workload::Bgz => bgz::set(line, patient, &scene.bgz).await,
            Workload::Mixed => mixed(line, patient, scene, rng).await,
            Workload::Ingest => ingest(line, scene).await,
        }
    }

    /// Looks, before anything is timed, whether the server does the work at all.
    pub(crate) async fn prove(self, line: &mut Line, scene: &mut Scene) -> Result<Option<Missing>> {
        match self {
            Workload::Search => search::prove(line).await?,
            Workload::Bgz => return bgz::prove(line, scene).await,
            Workload::Everything => {
                let path = format!("/fhir/Patient/{}/$everything", scene.ids[0]);
                let reply = line.ask(Who::Reader, Method::GET, &path, FHIR, Bytes::new()).await?;
                if reply.status != 200 {
                    return Ok(Some(Missing(format!("$everything: {}", reply.status))));
                }
                let entries = reply.json()?["entry"].as_array().map_or(0, Vec::len);
                ensure!(entries > 20, "$everything of a patient has {entries} entries");
            }
            Workload::Ingest if !line.is_guarded() && !line.is_floor() => {
                // It is the sender, known by its token, who chooses the mapping.
                return Ok(Some(Missing("without a sender there is no mapping".to_owned())));
            }
            Workload::Mixed => scene.consents = consents(line, &scene.ids).await?,
            _ => {}
        }
        let mut rng = Rng::new(scene.seed, 99);
        let units = self.iterate(line, scene, &mut rng).await?;
        ensure!(units > 0, "{}: nothing was done", self.name());
        Ok(None)
    }
}

async fn read(line: &mut Line, patient: &str) -> Result<u64> {
    let reply = line.get(Who::Reader, &format!("/fhir/Patient/{patient}")).await?;
    ensure!(line.is_floor() || reply.body.starts_with(b"{\"resourceType\":\"Patient\""), "not a Patient");
    Ok(1)
}

async fn page(line: &mut Line, patient: &str) -> Result<u64> {
    let path = format!("/fhir/Observation?patient={patient}&_sort=-date&_count=20&_total=accurate");
    let reply = line.get(Who::Reader, &path).await?;
    // Looking into the answer costs the generator, so a look at its end has to do: a last entry, by kind of match.
    ensure!(
        line.is_floor() || reply.body.ends_with(b"\"search\":{\"mode\":\"match\"}}]}"),
        "not a page of matches"
    );
    Ok(1)
}

/// An Observation as a client sends one.
pub(crate) fn observation(patient: &str, rng: &mut Rng) -> Value {
    let (code, unit, category, base, spread) = care::MEASURES[rng.below(care::MEASURES.len())];
    json!({
        "resourceType": "Observation", "status": "final",
        "category": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category }] }],
        "code": { "coding": [{ "system": "http://loinc.org", "code": code }] },
        "subject": { "reference": format!("Patient/{patient}") },
        "effectiveDateTime": format!("2025-{:02}-{:02}T10:00:00+01:00", 1 + rng.below(12), 1 + rng.below(28)),
        "valueQuantity": { "value": base as usize + rng.below(spread as usize), "unit": unit, "system": "http://unitsofmeasure.org", "code": unit },
    })
}

async fn create(line: &mut Line, patient: &str, scene: &Scene, rng: &mut Rng) -> Result<u64> {
    // The number makes no two bodies alike.
    let mut body = observation(patient, rng);
    let number = scene.number.fetch_add(1, Ordering::Relaxed);
    body["identifier"] = json!([{ "system": care::NUMBERS, "value": format!("o-{number}") }]);
    line.expect(201, Who::Author, Method::POST, "/fhir/Observation", body.to_string()).await?;
    Ok(1)
}

async fn crud(line: &mut Line, scene: &Scene) -> Result<u64> {
    let number = scene.number.fetch_add(1, Ordering::Relaxed);
    let mut made: Vec<String> = Vec::with_capacity(nine::TYPES);
    let mut sent = Vec::with_capacity(nine::TYPES);
    for (at, name) in nine::NAMES.iter().enumerate() {
        let resource = nine::resource(at, &made, number);
        let path = format!("/fhir/{name}");
        let reply = line.expect(201, Who::Author, Method::POST, &path, resource.to_string()).await?;
        made.push(reply.made.unwrap_or_else(|| format!("{name}/none")));
        sent.push(resource);
    }
    for name in &made {
        line.get(Who::Author, &format!("/fhir/{name}")).await?;
    }
    for (at, resource) in sent.into_iter().enumerate() {
        let mut resource = nine::changed(at, resource);
        resource["id"] = made[at].rsplit('/').next().into();
        let path = format!("/fhir/{}", made[at]);
        line.expect(200, Who::Author, Method::PUT, &path, resource.to_string()).await?;
    }
    for name in made.iter().rev() {
        let path = format!("/fhir/{name}");
        let reply = line.ask(Who::Author, Method::DELETE, &path, FHIR, Bytes::new()).await?;
        // FHIR R4 http.html#delete allows both.
        ensure!(line.is_floor() || matches!(reply.status, 200 | 204), "DELETE {name}: {}", told(&reply));
    }
    Ok(4 * nine::TYPES as u64)
}

async fn transaction(line: &mut Line, rng: &mut Rng) -> Result<u64> {
    let url = |at: usize| format!("urn:uuid:00000000-0000-4000-8000-00000000000{at}");
    let subject = json!({ "reference": url(0) });
    let measured = |code: &str, value: usize| {
        json!({ "resourceType": "Observation", "status": "final", "subject": subject, "encounter": { "reference": url(1) },
            "code": { "coding": [{ "system": "http://loinc.org", "code": code }] }, "effectiveDateTime": "2025-05-06",
            "valueQuantity": { "value": value, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min" } })
    };
    let resources = [
        json!({ "resourceType": "Patient", "name": [{ "family": "Proefpersoon" }], "gender": "male", "birthDate": "1950-01-02" }),
        json!({ "resourceType": "Encounter", "status": "finished", "subject": subject,
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB" } }),
        measured("8867-4", 60 + rng.below(60)),
        measured("9279-1", 10 + rng.below(20)),
    ];
    let entries: Vec<Value> = resources
        .into_iter()
        .enumerate()
        .map(|(at, resource)| {
            let request = json!({ "method": "POST", "url": resource["resourceType"] });
            json!({ "fullUrl": url(at), "resource": resource, "request": request })
        })
        .collect();
    let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    line.expect(200, Who::Author, Method::POST, "/fhir", bundle.to_string()).await?;
    Ok(1)
}

async fn import(line: &mut Line, scene: &Scene, rng: &mut Rng) -> Result<u64> {
    let body = scene.records[rng.below(scene.records.len())].clone();
    let reply = line.expect(200, Who::Author, Method::POST, "/fhir", body).await?;
    if line.is_floor() {
        return Ok(1);
    }
    let made = reply.body.windows(11).filter(|bytes| bytes == b"201 Created").count();
    ensure!(made > 20, "a record of {made} resources");
    Ok(made as u64)
}

async fn everything(line: &mut Line, patient: &str) -> Result<u64> {
    line.get(Who::Reader, &format!("/fhir/Patient/{patient}/$everything?_count=1000")).await?;
    Ok(1)
}

async fn mixed(line: &mut Line, patient: &str, scene: &Scene, rng: &mut Rng) -> Result<u64> {
    match rng.below(100) {
        0..60 => return look(line, patient).await,
        60..85 => return page_or_nothing(line, patient).await,
        85..95 => return create(line, patient, scene, rng).await,
        _ => {}
    }
    if line.is_floor() {
        return look(line, patient).await;
    }
    // Each connection has a patient of its own whose consent comes and goes.
    let (patient, consent, resource) = &scene.consents[line.number % scene.consents.len()];
    let path = format!("/fhir/Consent/{consent}");
    let with = |status: &str| {
        let mut resource = resource.clone();
        resource["status"] = status.into();
        resource.to_string()
    };
    let other = line.number >= scene.consents.len();
    line.expect(200, Who::Author, Method::PUT, &path, with("inactive")).await?;
    let hidden =
        line.ask(Who::Reader, Method::GET, &format!("/fhir/Patient/{patient}"), FHIR, Bytes::new()).await?;
    let late = line.is_guarded() && !other && hidden.status != 404;
    ensure!(!late, "a look after the withdrawal of {consent} was answered {}", hidden.status);
    line.expect(200, Who::Author, Method::PUT, &path, with("active")).await?;
    Ok(3)
}

/// A read of a patient whose consent may just be withdrawn.
async fn look(line: &mut Line, patient: &str) -> Result<u64> {
    let path = format!("/fhir/Patient/{patient}");
    let reply = line.ask(Who::Reader, Method::GET, &path, FHIR, Bytes::new()).await?;
    ensure!(line.is_floor() || matches!(reply.status, 200 | 404), "{path}: {}", told(&reply));
    Ok(1)
}

async fn page_or_nothing(line: &mut Line, patient: &str) -> Result<u64> {
    let path = format!("/fhir/Observation?patient={patient}&_sort=-date&_count=20&_total=accurate");
    line.get(Who::Reader, &path).await?;
    Ok(1)
}

async fn consents(line: &mut Line, ids: &[String]) -> Result<Vec<(String, String, Value)>> {
    let mut consents = Vec::new();
    let mut seen = HashSet::new();
    for at in 0..16 {
        let patient = &ids[at * 10 % ids.len()];
        if !seen.insert(patient) {
            continue;
        }
        let reply = line.get(Who::Author, &format!("/fhir/Consent?patient={patient}")).await?.json()?;
        let consent = reply["entry"][0]["resource"].clone();
        let id = consent["id"].as_str().context("a patient without consent")?.to_owned();
        consents.push((patient.clone(), id, consent));
    }
    Ok(consents)
}

async fn ingest(line: &mut Line, scene: &Scene) -> Result<u64> {
    // The place of the control id holds the message's number, so that no two are the same document.
    let number = scene.number.fetch_add(1, Ordering::Relaxed).to_string();
    let text = replaced(include_bytes!("../../documents/oru-longfunctie.hl7"), b"@RUN@", number.as_bytes());
    let reply = line
        .ask(Who::Hospital, Method::POST, "/fhir/$ingest", "x-application/hl7-v2+er7", text.into())
        .await?;
    if reply.status != 200 && !line.is_floor() {
        bail!("$ingest: {}", told(&reply));
    }
    Ok(1)
}

fn told(reply: &Reply) -> String {
    format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body).chars().take(800).collect::<String>())
}

/// `text` with `with` wherever `what` stands; a message need not be UTF-8.
fn replaced(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(what.len()).position(|window| window == what) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with);
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}
