//! A consent withdrawn is withdrawn: no request that starts after the answer to the withdrawal sees a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::demo::Context;
use sluis::ids::SYSTEM_URA;
use sluis_tests::world::{Caller, World, entries, link, matches};

async fn consent(herself: &Caller, patient: &str, recipient: &str, purpose: &str) -> Result<Value> {
    let query = format!(
        "Consent?patient={patient}&status=active&purpose={purpose}&actor:identifier={SYSTEM_URA}|{recipient}"
    );
    let found = herself.ok(&query).await?;
    matches(&found).first().map(|one| (*one).clone()).context("no consent")
}

async fn say(herself: &Caller, consent: &mut Value, status: &str) -> Result<()> {
    consent["status"] = json!(status);
    let answer = herself.put(&format!("Consent/{}", consent["id"].as_str().context("id")?), consent).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}

/// Odd: withdrawn (the answer has come). Even: open, or on its way.
#[derive(Default)]
struct Era(AtomicU64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_starts_after_a_withdrawal_sees_a_row() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    let id = gesp.first_patient().await?;
    let herself = world.caller("portaal", Context::patient(&id)).await?;
    let mut consent = consent(&herself, &id, "90000401", "TREAT").await?;
    let first = ctb.ok(&format!("Observation?patient={id}&_count=1")).await?;
    let cursor = link(&first, "next").context("one page only")?.to_owned();
    let observation = matches(&first).first().context("no row")?["id"].as_str().context("id")?.to_owned();
    let paths = [
        format!("Observation?patient={id}"),
        format!("Observation?patient={id}&_summary=count"),
        format!("Patient/{id}"),
        format!("Observation/{observation}/_history"),
        cursor,
    ];
    let (era, stop) = (Arc::new(Era::default()), Arc::new(AtomicBool::new(false)));
    let mut readers = Vec::new();
    for path in paths {
        let (ctb, era, stop) = (ctb.clone(), Arc::clone(&era), Arc::clone(&stop));
        readers.push(tokio::spawn(async move {
            let (mut closed, mut open) = (0u64, 0u64);
            while !stop.load(Ordering::SeqCst) {
                let before = era.0.load(Ordering::SeqCst);
                let answer = ctb.get(&path).await?;
                let after = era.0.load(Ordering::SeqCst);
                let body = answer.json();
                let sees = answer.status == 200
                    && (body["total"].as_u64().unwrap_or(0) > 0
                        || !entries(&body).is_empty()
                        || body["resourceType"] == "Patient");
                ensure!(
                    answer.status == 200 || answer.status == 404,
                    "{path}: {} {}",
                    answer.status,
                    answer.text()
                );
                // The whole request lay inside one withdrawal.
                if before % 2 == 1 && before == after {
                    ensure!(!sees, "{path} saw a row after the withdrawal was answered: {}", answer.text());
                    closed += 1;
                }
                open += u64::from(sees);
            }
            Ok::<_, anyhow::Error>((closed, open))
        }));
    }
    for _ in 0..25 {
        say(&herself, &mut consent, "inactive").await?;
        era.0.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(std::time::Duration::from_millis(80)).await;
        era.0.fetch_add(1, Ordering::SeqCst);
        say(&herself, &mut consent, "active").await?;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        let (closed, open) = reader.await??;
        // A reader that met only one of both shows nothing.
        ensure!(closed > 3 && open > 3, "closed {closed}, open {open}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_hands_out_nothing_of_a_patient_who_withdrew_while_it_ran() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    let id = gesp.first_patient().await?;
    let herself = world.caller("portaal", Context::patient(&id)).await?;
    let mut consent = consent(&herself, &id, "90000501", "HRESCH").await?;
    let groups = acn.ok("Group").await?;
    let group = matches(&groups).first().context("no cohort")?["id"].as_str().context("id")?.to_owned();
    let prefer = [("prefer", "respond-async")];
    let start = acn.send(Method::GET, &format!("Group/{group}/$export"), &prefer, "").await?;
    ensure!(start.status == 202, "{}", start.text());
    say(&herself, &mut consent, "inactive").await?;
    let job = start.header("content-location").to_owned();
    for _ in 0..200 {
        let answer = acn.get(&job).await?;
        match answer.status.as_u16() {
            202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            // The job was stopped as permissions changed beneath it.
            410 => return Ok(()),
            200 => {
                let manifest = answer.json();
                let outputs = manifest["output"].as_array().context("output")?;
                for output in outputs {
                    let file = acn.get(output["url"].as_str().context("url")?).await?;
                    ensure!(file.status == 200 || file.status == 410, "{}", file.status);
                    if file.status == 200 && output["type"] == "Patient" {
                        ensure!(
                            file.text().lines().count() <= 29,
                            "{} patients left the house",
                            file.text().lines().count()
                        );
                    }
                }
                return Ok(());
            }
            other => anyhow::bail!("{other} {}", answer.text()),
        }
    }
    anyhow::bail!("the export did not end")
}
