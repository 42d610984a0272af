//! The requests of each workload, and the proof that an answer is the work it is counted as.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::Value;
use sluis::demo::people::BSNS;

use crate::client::{Shot, connect, send};

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// `GET /fhir/metadata`, which needs no token.
    Metadata,
    /// `GET /fhir/Patient/[id]`
    Read,
    /// Vital capacity of one patient, newest first.
    Search,
    /// A transaction of ten new Observations.
    Transaction,
    /// One HL7v2 message with lung function and ALSFRS-R.
    Ingest,
}

impl Workload {
    /// As in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Metadata => "metadata",
            Workload::Read => "read by id",
            Workload::Search => "patient search",
            Workload::Transaction => "transaction of 10",
            Workload::Ingest => "HL7v2 ingest",
        }
    }
}

/// Ids of the patients that the token's holder sees, by BSN: the same people in both gateways, whose ids differ.
pub(crate) async fn patients(
    address: SocketAddr,
    token: Option<&str>,
) -> Result<Vec<(&'static str, String)>> {
    let mut connection = connect(address).await?;
    let mut found = Vec::new();
    for bsn in BSNS {
        let shot = get(format!("/fhir/Patient?identifier=http://fhir.nl/fhir/NamingSystem/bsn|{bsn}"));
        let (status, body) = send(&mut connection, &shot, token).await?;
        ensure!(status == 200, "patients: {status} {}", String::from_utf8_lossy(&body));
        let bundle: Value = serde_json::from_slice(&body)?;
        if let Some(id) = bundle["entry"][0]["resource"]["id"].as_str() {
            found.push((*bsn, id.to_owned()));
        }
    }
    ensure!(!found.is_empty(), "no patient is visible");
    Ok(found)
}

/// The requests of a workload about these patients.
pub(crate) fn shots(workload: Workload, ids: &[&str]) -> Arc<Vec<Shot>> {
    let post = |path: &str, media, body| Shot { method: Method::POST, path: path.into(), media, body };
    Arc::new(match workload {
        Workload::Metadata => vec![get("/fhir/metadata".into())],
        Workload::Read => ids.iter().map(|id| get(format!("/fhir/Patient/{id}"))).collect(),
        Workload::Search => ids
            .iter()
            .map(|id| {
                let code = "http://loinc.org|19868-9";
                get(format!("/fhir/Observation?patient={id}&code={code}&_sort=-date&_count=20"))
            })
            .collect(),
        Workload::Transaction => vec![post("/fhir", "application/fhir+json", transaction().into())],
        Workload::Ingest => vec![post(
            "/fhir/$ingest",
            "x-application/hl7-v2+er7",
            Bytes::from_static(include_bytes!("../../../examples/documents/oru-longfunctie.hl7")),
        )],
    })
}

/// Sends every request once. Returns the answers' mean size in bytes, and the units of work they hold in all.
///
/// Errors: an answer that is not the work it would be counted as.
pub(crate) async fn prove(
    workload: Workload,
    address: SocketAddr,
    token: Option<&str>,
    shots: &[Shot],
) -> Result<(usize, usize)> {
    let mut connection = connect(address).await?;
    let (mut bytes, mut units) = (0, 0);
    for shot in shots {
        let (status, body) = send(&mut connection, shot, token).await?;
        ensure!(status == 200, "{} {}: {status} {}", shot.method, shot.path, String::from_utf8_lossy(&body));
        bytes += body.len();
        units += done(workload, &serde_json::from_slice(&body)?)?;
    }
    Ok((bytes / shots.len().max(1), units))
}

/// Units of work in an answer: resources read, found, made.
fn done(workload: Workload, answer: &Value) -> Result<usize> {
    let kind = answer["resourceType"].as_str().unwrap_or_default();
    let entries = answer["entry"].as_array().map_or(0, Vec::len);
    match workload {
        Workload::Metadata if kind == "CapabilityStatement" => Ok(1),
        Workload::Read if kind == "Patient" => Ok(1),
        Workload::Search
            if entries > 0 && answer["entry"][0]["resource"]["resourceType"] == "Observation" =>
        {
            Ok(entries)
        }
        Workload::Transaction if entries == 10 => {
            let made = answer["entry"].as_array().context("entry")?.iter().all(|entry| {
                entry["response"]["status"].as_str().is_some_and(|status| status.starts_with("201"))
            });
            ensure!(made, "not every entry was created: {answer}");
            Ok(entries)
        }
        Workload::Ingest => {
            let text = answer["issue"][0]["diagnostics"].as_str().unwrap_or_default();
            let created = text.split(", ").find_map(|part| part.strip_suffix(" created")).unwrap_or(text);
            let created = created.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            ensure!(created > 0, "a message that made nothing: {text}");
            Ok(created)
        }
        _ => bail!("{}: {answer}", workload.name()),
    }
}

fn get(path: String) -> Shot {
    Shot { method: Method::GET, path, media: "", body: Bytes::new() }
}

fn transaction() -> String {
    let entries: Vec<Value> = (0..10)
        .map(|at| {
            serde_json::json!({
                "resource": {
                    "resourceType": "Observation", "status": "final",
                    "subject": { "identifier": { "system": "http://fhir.nl/fhir/NamingSystem/bsn", "value": BSNS[0] } },
                    "code": { "coding": [{ "system": "http://loinc.org", "code": "29463-7" }] },
                    "effectiveDateTime": format!("2026-0{}-11", 1 + at % 9),
                    "valueQuantity": { "value": 70.5 + f64::from(at), "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg" },
                },
                "request": { "method": "POST", "url": "Observation" },
            })
        })
        .collect();
    serde_json::json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries }).to_string()
}
