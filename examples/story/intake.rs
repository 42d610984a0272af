//! Steps 1 to 3: documents in the senders' own formats, by raw requests; what became of them, typed.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use fhir_sdk::client::SearchParameters;
use fhir_sdk::r4b::codes::ObservationStatus;
use fhir_sdk::r4b::resources::{
    Observation, OperationOutcome, Parameters, ParametersParameterValue, Provenance,
};

use crate::access::{Fhir, Region, since_epoch};
use crate::tell;

const HL7: &str = "x-application/hl7-v2+er7";
const STU3: &str = "application/fhir+json; fhirVersion=3.0";

/// Where the demo's GeSp team's codes are explained, below the demo's folder.
const TABLE: &str = "mappings/gesp-export/codes/tests.csv";
const ROW: &str = "urn:oid:2.999.90000201.5,SNIF,SNIP,https://sluis.care/fhir/CodeSystem/als-observation,snip,\
                   Sniff nasal inspiratory pressure,equivalent,typed so on the ward\n";

/// Step 1.
pub(crate) async fn hospital(region: &Region, umc: &Fhir) -> Result<()> {
    // Message and order numbers of this run.
    let run = since_epoch()?.as_millis().to_string();
    let oru = replaced(&document("oru-longfunctie.hl7")?, b"@RUN@", run.as_bytes());
    let first = ingest(region, umc, HL7, oru.clone()).await?;
    ensure!(first == ingest(region, umc, HL7, oru).await?, "resending gave another answer");
    tell(&format!("{}; sent again: the same answer", summary(&first)?));
    let id = made(&first, "Observation/").context("no Observation")?;

    let provenances =
        umc.search::<Provenance>(SearchParameters::empty().and_raw("target", format!("Observation/{id}")));
    let provenances = provenances.await?;
    let provenance = provenances.matches().next().context("no Provenance")?;
    let places = serde_json::to_string(provenance)?;
    ensure!(places.contains("OBX["), "the Provenance does not say where in the message");
    tell(&format!("Observation/{id} has a Provenance that names its OBX segment"));

    let correction = replaced(&document("oru-correctie.hl7")?, b"@RUN@", run.as_bytes());
    ingest(region, umc, HL7, correction).await?;
    let corrected: Observation = umc.read(&id).await?.context("it is gone")?;
    ensure!(corrected.status == ObservationStatus::Corrected, "{:?}", corrected.status);
    let earlier: Observation = umc.read_version(&id, "1").await?.context("version 1 is gone")?;
    ensure!(earlier.status == ObservationStatus::Final, "{:?}", earlier.status);
    ensure!(umc.history::<Observation>(Some(&id)).await?.total() == Some(2), "two versions are due");
    tell("corrected: the same Observation, version 2; version 1 is kept");
    Ok(())
}

/// Step 2.
pub(crate) async fn team(region: &Region, feed: &Fhir) -> Result<()> {
    let answer = ingest(region, feed, "text/csv", document("gesp-export.csv")?).await?;
    tell(&summary(&answer)?);
    let table = region.folder().join(TABLE);
    let rows = std::fs::read_to_string(&table).with_context(|| table.display().to_string())?;
    if rows.contains(",SNIF,") {
        tell("an earlier run taught the gateway SNIF: its row went through with the others");
    } else {
        ensure!(waiting(region, feed).await?.iter().any(|cause| cause.ends_with("|SNIF")));
        std::fs::write(&table, rows + ROW)?;
        let pid = std::fs::read_to_string(region.folder().join("sluis.pid"))?;
        let hung_up = std::process::Command::new("kill").args(["-HUP", pid.trim()]).status()?;
        ensure!(hung_up.success(), "no demo runs as process {pid}");
        read_again(region, feed).await?;
        ensure!(replayed(region, feed, "$replay").await? == 1, "one row waited for its code");
        tell("SNIF got its row in the code table; replayed: 1 created");
    }
    ensure!(replayed(region, feed, "$replay").await? == 0, "a second replay applied something");
    ensure!(waiting(region, feed).await?.iter().all(|cause| !cause.ends_with("|SNIF")));
    tell("replayed again: nothing new");
    Ok(())
}

/// Step 3.
pub(crate) async fn practice(region: &Region, his: &Fhir) -> Result<()> {
    for (file, kind) in [("stu3-condition.json", "Condition/"), ("stu3-treatment-directive.json", "Consent/")]
    {
        let answer = ingest(region, his, STU3, document(file)?).await?;
        let id = made(&answer, kind).with_context(|| format!("{file} made no {kind}"))?;
        tell(&format!("{file}: {kind}{id}"));
    }
    Ok(())
}

/// Waits until the gateway has read its mappings again.
async fn read_again(region: &Region, feed: &Fhir) -> Result<()> {
    for _ in 0..20 {
        if replayed(region, feed, "$replay?dryrun=true").await? == 1 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    bail!("the gateway did not read the code table")
}

async fn ingest(region: &Region, client: &Fhir, media: &str, document: Vec<u8>) -> Result<OperationOutcome> {
    let url = region.url("$ingest");
    let request = |http: &reqwest::Client| http.post(url).header("content-type", media).body(document);
    let answer = client.send_custom_request(request).await?;
    let status = answer.status();
    let outcome: OperationOutcome = answer.json().await?;
    ensure!(status.is_success(), "$ingest: {status} {outcome:?}");
    Ok(outcome)
}

/// Units a replay creates, or would.
async fn replayed(region: &Region, client: &Fhir, operation: &str) -> Result<i32> {
    let url = region.url(operation);
    let answer = client.send_custom_request(|http| http.post(url)).await?;
    let parameters: Parameters = answer.error_for_status()?.json().await?;
    let created = parameters.parameter.iter().flatten().find(|parameter| parameter.name == "created");
    match created.and_then(|parameter| parameter.value.as_ref()) {
        Some(ParametersParameterValue::Integer(count)) => Ok(*count),
        other => bail!("created is {other:?}"),
    }
}

/// Causes of what waits.
async fn waiting(region: &Region, client: &Fhir) -> Result<Vec<String>> {
    let url = region.url("$quarantine");
    let answer = client.send_custom_request(|http| http.get(url)).await?;
    let parameters: Parameters = answer.error_for_status()?.json().await?;
    let groups = parameters.parameter.iter().flatten().filter(|parameter| parameter.name == "group");
    let causes = groups.flat_map(|group| group.part.iter().flatten()).filter(|part| part.name == "cause");
    Ok(causes
        .filter_map(|cause| match &cause.value {
            Some(ParametersParameterValue::String(text)) => Some(text.clone()),
            _ => None,
        })
        .collect())
}

fn diagnostics(outcome: &OperationOutcome) -> impl Iterator<Item = &str> {
    outcome.issue.iter().flatten().filter_map(|issue| issue.diagnostics.as_deref())
}

/// What the answer says of the whole document.
fn summary(outcome: &OperationOutcome) -> Result<String> {
    let text = diagnostics(outcome).next().context("an answer without a word")?;
    Ok(text.split('.').next().unwrap_or(text).to_owned())
}

/// Id of the first resource of a kind (`Observation/`) the answer names.
fn made(outcome: &OperationOutcome, kind: &str) -> Option<String> {
    let rest = diagnostics(outcome).find_map(|text| text.split_once(kind))?.1;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
}

fn document(name: &str) -> Result<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("documents").join(name);
    std::fs::read(&path).with_context(|| path.display().to_string())
}

/// Bytes with every `mark` replaced: a document need not be UTF-8.
fn replaced(bytes: &[u8], mark: &[u8], by: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(mark) {
            out.extend_from_slice(by);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
