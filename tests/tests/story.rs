//! The story: one patient, four care lines, over HTTPS. Each step is what the README tells and what the issue promised.

use anyhow::{Context as _, Result, ensure};
use http::Method;
use serde_json::{Value, json};
use sluis::demo::Context;
use sluis_tests::world::{Caller, World, entries, link, matches};

const BSN: &str = "http://fhir.nl/fhir/NamingSystem/bsn";
const STORY_BSN: &str = "999911120";
const HL7: &str = "x-application/hl7-v2+er7";
const STU3: &str = "application/fhir+json; fhirVersion=3.0";
const SNIP: &str = "https://sluis.care/fhir/CodeSystem/als-observation|snip";
const FVC: &str = "http://loinc.org|19868-9";

fn document(name: &str) -> Result<Vec<u8>> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/documents").join(name);
    std::fs::read(&path).with_context(|| name.to_owned())
}

fn oru(name: &str) -> Result<Vec<u8>> {
    let bytes = document(name)?;
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.as_slice();
    while let Some(at) = rest.windows(5).position(|w| w == b"@RUN@") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(b"1");
        rest = &rest[at + 5..];
    }
    out.extend_from_slice(rest);
    Ok(out)
}

async fn story_patient(caller: &Caller) -> Result<String> {
    let found = caller.search("Patient", &[("identifier", &format!("{BSN}|{STORY_BSN}"))]).await?;
    ensure!(found["total"] == 1, "{found}");
    ensure!(!found.to_string().contains("_search?identifier"), "a BSN is never echoed");
    Ok(found["entry"][0]["resource"]["id"].as_str().context("id")?.to_owned())
}

async fn count(caller: &Caller, query: &str) -> Result<i64> {
    caller.ok(query).await?["total"].as_i64().context("total")
}

async fn withdraw(patient: &Caller, id: &str, recipient: &str, purpose: &str) -> Result<()> {
    let query = format!(
        "Consent?patient={id}&status=active&purpose={purpose}&actor:identifier=http://fhir.nl/fhir/NamingSystem/ura|{recipient}"
    );
    let found = patient.ok(&query).await?;
    let consents = matches(&found);
    ensure!(consents.len() == 1, "{found}");
    let mut consent = consents[0].clone();
    consent["status"] = json!("inactive");
    let path = format!("Consent/{}", consent["id"].as_str().context("id")?);
    let answer = patient.put(&path, &consent).await?;
    ensure!(answer.status == 200, "{}", answer.text());
    Ok(())
}

async fn export(acn: &Caller) -> Result<Value> {
    let groups = acn.ok("Group").await?;
    let group = matches(&groups).first().context("no cohort")?["id"].as_str().context("id")?.to_owned();
    let path = format!("Group/{group}/$export");
    let start = acn.send(Method::GET, &path, &[("prefer", "respond-async")], "").await?;
    ensure!(start.status == 202, "{} {}", start.status, start.text());
    let job = start.header("content-location").to_owned();
    for _ in 0..100 {
        let answer = acn.get(&job).await?;
        match answer.status.as_u16() {
            200 => return Ok(answer.json()),
            202 | 429 => tokio::time::sleep(std::time::Duration::from_millis(300)).await,
            _ => anyhow::bail!("{} {}", answer.status, answer.text()),
        }
    }
    anyhow::bail!("the export did not end")
}

/// The code nobody knew gets its row; the running gateway reads it, and the row that waited goes through, once.
async fn mend(world: &World, feed: &Caller, patient: &str) -> Result<()> {
    let snip = format!("Observation?patient={patient}&code={SNIP}&date=2026-03-10&_summary=count");
    let before = count(feed, &snip).await?;
    let table = world.folder().join("mappings/gesp-export/codes/tests.csv");
    let mut rows = std::fs::read_to_string(&table)?;
    rows.push_str("urn:oid:2.999.90000201.5,SNIF,SNIP,https://sluis.care/fhir/CodeSystem/als-observation,snip,Sniff nasal inspiratory pressure,equivalent,typed so\n");
    std::fs::write(&table, &rows)?;
    world.running()?.reload_mappings().await?;
    let replayed = feed.post("$replay", &json!({ "resourceType": "Parameters" })).await?;
    ensure!(replayed.status == 200, "{} {}", replayed.status, replayed.text());
    ensure!(count(feed, &snip).await? == before + 1, "{}", replayed.text());
    let waiting = feed.ok("$quarantine").await?.to_string();
    ensure!(waiting.contains("row[") && !waiting.contains("SNIF"), "{waiting}");
    feed.post("$replay", &json!({ "resourceType": "Parameters" })).await?;
    ensure!(count(feed, &snip).await? == before + 1, "a second replay applies nothing");

    // A folder that does not load keeps its last good version, and readiness names it until one loads.
    std::fs::write(&table, "no table")?;
    ensure!(world.running()?.reload_mappings().await.is_err());
    ensure!(ready(world).await? == "degraded");
    let said = world.client().send(Method::GET, "/health/ready", &[], "").await?.json();
    ensure!(said["mappings"] == json!(["gesp-export"]), "{said}");
    let csv = feed.ingest("text/csv", document("gesp-export.csv")?).await?;
    ensure!(csv.status == 200, "{} {}", csv.status, csv.text());
    std::fs::write(&table, &rows)?;
    world.running()?.reload_mappings().await?;
    ensure!(ready(world).await? == "ready");
    Ok(())
}

async fn ready(world: &World) -> Result<String> {
    let answer = world.client().send(Method::GET, "/health/ready", &[], "").await?;
    Ok(answer.json()["status"].as_str().context("status")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_patient_four_care_lines_end_to_end() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = story_patient(&gesp).await?;

    // 1. HL7v2 from the hospital: units, dates, source, provenance; resent; corrected.
    let umc = world.caller("umc-epd", Context::system()).await?;
    let first = umc.ingest(HL7, oru("oru-longfunctie.hl7")?).await?;
    ensure!(first.status == 200, "{} {}", first.status, first.text());
    let again = umc.ingest(HL7, oru("oru-longfunctie.hl7")?).await?;
    ensure!(first.body == again.body, "resending gives the same answer\n{}\n{}", first.text(), again.text());
    let all = umc.ok(&format!("Observation?patient={patient}&_count=100")).await?;
    let before = matches(&all).len();
    ensure!(before >= 3, "{all}");
    let fvc = umc.ok(&format!("Observation?patient={patient}&code={FVC}")).await?;
    let fvc = matches(&fvc).first().copied().cloned().context("no FVC")?;
    ensure!(fvc["valueQuantity"]["code"] == "L" && fvc["effectiveDateTime"].is_string(), "{fvc}");
    ensure!(fvc["meta"]["source"].as_str().is_some_and(|s| s.ends_with("90000101")), "{fvc}");
    let id = fvc["id"].as_str().context("id")?;
    let provenance = umc.ok(&format!("Provenance?target=Observation/{id}")).await?;
    ensure!(provenance.to_string().contains("OBX["), "{provenance}");
    let corrected = umc.ingest(HL7, oru("oru-correctie.hl7")?).await?;
    ensure!(corrected.status == 200, "{}", corrected.text());
    let history = umc.ok(&format!("Observation/{id}/_history")).await?;
    ensure!(history["total"] == 2, "{history}");
    ensure!(history["entry"][0]["resource"]["status"] == "corrected", "{history}");
    ensure!(count(&umc, &format!("Observation?patient={patient}&_summary=count")).await? == before as i64);

    // 2. The GeSp team's CSV export: two bad rows wait, the rest goes through.
    let feed = world.caller("gesp-midden-epd", Context::system()).await?;
    let csv = feed.ingest("text/csv", document("gesp-export.csv")?).await?;
    ensure!(csv.status == 200, "{} {}", csv.status, csv.text());
    let text = csv.text();
    ensure!(text.contains("code-unmapped") || text.contains("code"), "{text}");
    ensure!(!text.contains("999940003"), "no BSN in an answer, not even a wrong one");
    let waiting = feed.ok("$quarantine").await?;
    ensure!(waiting.to_string().contains("row["), "{waiting}");
    let scraped = world.client().send(Method::GET, "/metrics", &[], "").await?.text();
    let units = waiting["parameter"][0]["valueInteger"].as_u64().unwrap_or_default();
    let line = format!("sluis_quarantine_units{{organisation=\"90000201\"}} {units}");
    ensure!(units > 0 && scraped.lines().any(|found| found == line), "{line} in {scraped}");
    mend(&world, &feed, &patient).await?;
    let plans = gesp.ok(&format!("CarePlan?patient={patient}")).await?;
    ensure!(matches(&plans).iter().any(|p| p["activity"].as_array().is_some_and(|a| a.len() > 1)), "{plans}");

    // 3. STU3 as vendors send it.
    let his = world.caller("gp-brug-his", Context::system()).await?;
    for name in ["stu3-condition.json", "stu3-treatment-directive.json"] {
        let answer = his.ingest(STU3, document(name)?).await?;
        ensure!(answer.status == 200, "{name}: {} {}", answer.status, answer.text());
    }

    // 4. The clinician's view, page by page.
    let query =
        format!("Observation?patient={patient}&code={FVC}&_sort=-date&_count=2&_include=Observation:subject");
    let mut page = gesp.ok(&query).await?;
    let total = page["total"].as_i64().context("total")?;
    ensure!(entries(&page).iter().any(|e| e["search"]["mode"] == "include"), "{page}");
    let (mut seen, mut dates) = (Vec::new(), Vec::new());
    loop {
        for one in matches(&page) {
            seen.push(one["id"].as_str().context("id")?.to_owned());
            dates.push(one["effectiveDateTime"].as_str().context("date")?.to_owned());
            ensure!(one["meta"]["source"].is_string(), "every value has its source: {one}");
        }
        let Some(next) = link(&page, "next") else { break };
        page = gesp.ok(next).await?;
    }
    ensure!(seen.len() as i64 == total, "{} of {total}", seen.len());
    ensure!(dates.windows(2).all(|w| w[0].get(..10) >= w[1].get(..10)), "{dates:?}");
    for kind in ["Condition", "CarePlan", "Consent"] {
        ensure!(count(&gesp, &format!("{kind}?patient={patient}&_total=accurate")).await? > 0, "{kind}");
    }
    let directives = gesp.ok(&format!("Consent?patient={patient}&scope=treatment")).await?;
    ensure!(directives.to_string().contains("40617009"), "{directives}");

    // 5. CTB sees what its role and the consent open; a GP elsewhere sees nothing at all.
    let ctb = world.caller("ctb-epd", Context::role("01.023")).await?;
    let seen = ctb.ok(&format!("Observation?patient={patient}&_count=100")).await?;
    ensure!(seen.to_string().contains("19868-9") && !seen.to_string().contains("psychosocial"), "{seen}");
    ensure!(count(&ctb, &format!("Condition?patient={patient}&_summary=count")).await? > 0);
    let elders = world.caller("gp-elders-his", Context::role("01.015")).await?;
    ensure!(count(&elders, &format!("Observation?patient={patient}&_summary=count")).await? == 0);
    let hidden = elders.get(&format!("Patient/{patient}")).await?;
    let never = elders.get("Patient/00000000-0000-4000-8000-000000000000").await?;
    ensure!(hidden.status == 404 && hidden.status == never.status && hidden.body == never.body);

    // 6. Consent withdrawn: the next request, the next page and the next count show nothing.
    let open = ctb.ok(&format!("Observation?patient={patient}&_count=1")).await?;
    let next = link(&open, "next").context("more than one page")?.to_owned();
    let unnoticed = count(&gesp, &format!("Observation?patient={patient}&_summary=count")).await?;
    let me = world.caller("portaal", Context::patient(&patient)).await?;
    withdraw(&me, &patient, "90000401", "TREAT").await?;
    ensure!(count(&ctb, &format!("Observation?patient={patient}")).await? == 0);
    ensure!(count(&ctb, &format!("Observation?patient={patient}&_summary=count")).await? == 0);
    ensure!(entries(&ctb.ok(&next).await?).is_empty());
    ensure!(ctb.get(&format!("Patient/{patient}")).await?.body == never.body);
    ensure!(count(&gesp, &format!("Observation?patient={patient}&_summary=count")).await? == unnoticed);

    // 7. The cohort: consented, pseudonymised, counted; a withdrawal is reported.
    let acn = world.caller("acn-data", Context::purpose("HRESCH")).await?;
    let manifest = export(&acn).await?;
    let outputs = manifest["output"].as_array().context("output")?.clone();
    ensure!(outputs.len() >= 3, "{manifest}");
    let mut patients = 0;
    for output in &outputs {
        let file = acn.get(output["url"].as_str().context("url")?).await?;
        ensure!(file.status == 200, "{}", file.text());
        let text = file.text();
        ensure!(output["count"].as_u64() == Some(text.lines().count() as u64), "{output}");
        for secret in [STORY_BSN, "Proefpersoon", patient.as_str()] {
            ensure!(!text.contains(secret), "{secret} left the house");
        }
        if output["type"] == "Patient" {
            patients = text.lines().count();
        }
    }
    ensure!(patients == 30, "three of four consent: {patients}");
    withdraw(&me, &patient, "90000501", "HRESCH").await?;
    let second = export(&acn).await?;
    ensure!(!second["deleted"].as_array().context("deleted")?.is_empty(), "{second}");
    let fewer = second["output"]
        .as_array()
        .and_then(|o| o.iter().find(|o| o["type"] == "Patient"))
        .and_then(|o| o["count"].as_u64());
    ensure!(fewer == Some(29), "{second}");

    // 8. Who looked, and by which consent; the log is unbroken.
    let log = me.ok(&format!("AuditEvent?patient={patient}&_count=50")).await?;
    let text = log.to_string();
    for part in ["AuditEvent", "90000401", "01.042", "TREAT", "Consent/"] {
        ensure!(text.contains(part), "the log lacks {part}: {log}");
    }
    let report = sluis::run::verify_audit(&world.folder().join("sluis.toml"))?;
    ensure!(report.faults.is_empty() && report.records > 100, "{report:?}");
    Ok(())
}
