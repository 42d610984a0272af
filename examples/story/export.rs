//! Step 7: FHIR Bulk Data Access by raw requests, its lines read as typed resources.
//! Source: Bulk Data Access 2.0 export.html

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fhir_sdk::client::SearchParameters;
use fhir_sdk::r4b::resources::{Group, Resource};
use fhir_sdk::{Response, StatusCode};
use serde_json::Value;

use crate::access::Fhir;
use crate::{PATIENT_BSN, care, tell};

/// Pulls the cohort, reads every line, lets the patient withdraw and pulls again.
pub(crate) async fn cohort(acn: &Fhir, me: &Fhir, patient: &str) -> Result<()> {
    let groups = acn.search::<Group>(SearchParameters::empty()).await?;
    let group = groups.matches().next().and_then(|group| group.id.clone()).context("no cohort")?;
    let manifest = pull(acn, &group).await?;
    ensure!(manifest["requiresAccessToken"] == true, "{manifest}");
    let mut patients = 0;
    for file in manifest["output"].as_array().context("no output")? {
        let kind = file["type"].as_str().context("type")?;
        let url = file["url"].as_str().context("url")?.to_owned();
        let text = get(acn, &url).await?.error_for_status()?.text().await?;
        for secret in [PATIENT_BSN, "Proefpersoon", "Zoë", patient] {
            ensure!(!text.contains(secret), "{kind}: {secret} left the house");
        }
        let mut lines = 0;
        for line in text.lines() {
            let resource: Resource = serde_json::from_str(line).with_context(|| format!("{kind}: {line}"))?;
            ensure!(resource.resource_type().as_str() == kind, "{kind}: {line}");
            lines += 1;
        }
        ensure!(file["count"] == lines, "{kind}: {lines} lines, {} counted", file["count"]);
        tell(&format!("{kind}: {lines}, pseudonymised, each a valid resource"));
        if kind == "Patient" {
            patients = lines;
        }
    }
    care::withdraw_research(me, patient).await?;
    let second = pull(acn, &group).await?;
    let counted = second["output"].as_array().into_iter().flatten().find(|file| file["type"] == "Patient");
    ensure!(counted.is_some_and(|file| file["count"] == patients - 1), "{second}");
    ensure!(second["deleted"].as_array().is_some_and(|deleted| !deleted.is_empty()), "{second}");
    tell(&format!("she withdraws: {} patients in the next export, which says what to delete", patients - 1));
    Ok(())
}

/// Starts an export and waits for its manifest.
async fn pull(acn: &Fhir, group: &str) -> Result<Value> {
    let url = acn.base_url().join(&format!("Group/{group}/$export"))?;
    let started = acn.send_custom_request(|http| http.get(url).header("prefer", "respond-async")).await?;
    ensure!(started.status() == StatusCode::ACCEPTED, "{}", started.text().await?);
    let job = started.headers().get("content-location").context("no Content-Location")?.to_str()?.to_owned();
    for _ in 0..120 {
        let answer = get(acn, &job).await?;
        match answer.status() {
            StatusCode::OK => return Ok(answer.json().await?),
            StatusCode::ACCEPTED | StatusCode::TOO_MANY_REQUESTS => {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            status => bail!("the export ended with {status}: {}", answer.text().await?),
        }
    }
    bail!("the export did not end")
}

async fn get(acn: &Fhir, url: &str) -> Result<Response> {
    Ok(acn.send_custom_request(|http| http.get(url)).await?)
}
