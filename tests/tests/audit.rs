//! The log of every look: nothing is shown or refused without its record, and a log that was touched shows it.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluis::audit::trail::{Fault, VerifyReport};
use sluis::demo::{Context, people};
use sluis_tests::database::Tables;
use sluis_tests::world::World;

fn verify(world: &World) -> Result<VerifyReport> {
    sluis::run::verify_audit(world.settings())
}

/// Whether the record of a request stands on the disk now: in the log, or in the journal of looks before it.
fn is_kept(world: &World, request: &str) -> Result<bool> {
    if let Tables::File(_) = world.tables() {
        let journal = std::fs::read(world.folder().join("sluis.db-audit"))?;
        if journal.windows(request.len()).any(|window| window == request.as_bytes()) {
            return Ok(true);
        }
    }
    let bodies = world.tables().bytes("SELECT body FROM audit")?;
    Ok(bodies.iter().any(|body| String::from_utf8_lossy(body).contains(request)))
}

/// Has the journal's records moved into the log, as everybody does who asks for the log.
fn settle(world: &World) -> Result<()> {
    let parts = world.running()?.gateway().parts();
    let permit = sluis::decision::system(&parts.policy, parts.clock.now(), "test");
    Ok(parts.store.read(&permit, &mut |reader| reader.audit_head().map(|_| ()))?)
}

/// Records after `from`, as JSON, oldest first.
fn records(world: &World, from: i64) -> Result<Vec<Value>> {
    settle(world)?;
    let text = format!("SELECT body FROM audit WHERE sequence > {from} ORDER BY sequence");
    world.tables().bytes(&text)?.iter().map(|body| Ok(serde_json::from_slice(body)?)).collect()
}

fn head(world: &World) -> Result<i64> {
    settle(world)?;
    world.tables().number("SELECT max(sequence) FROM audit")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_and_every_refusal_has_its_record_before_it_leaves() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let acn = world.caller("acn-data", Context::purpose("HQUALIMP")).await?;
    let id = gesp.first_patient().await?;
    let weight = json!({
        "resourceType": "Observation", "status": "final", "subject": { "reference": format!("Patient/{id}") },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "29463-7" }] }, "effectiveDateTime": "2026-11-01",
    });
    let made = gesp.post("Observation", &weight).await?;
    ensure!(made.status == 201, "{}", made.text());
    let observation = made.json()["id"].as_str().context("id")?.to_owned();
    let mut changed = made.json();
    changed["status"] = "amended".into();
    let looks = [
        (format!("Patient/{id}"), "read"),
        (format!("Observation/{observation}/_history/1"), "vread"),
        (format!("Observation/{observation}/_history"), "history-instance"),
        (format!("Observation?patient={id}"), "search-type"),
        (format!("Observation?patient={id}&_summary=count"), "search-type"),
    ];
    for (path, interaction) in &looks {
        let before = head(&world)?;
        let answer = gesp.get(path).await?;
        ensure!(answer.status == 200, "{path}: {}", answer.text());
        ensure!(is_kept(&world, answer.header("x-request-id"))?, "{path}: answered before its record");
        let since = records(&world, before)?;
        let [record] = since.as_slice() else { anyhow::bail!("{path}: {since:?}") };
        ensure!(record["interaction"] == *interaction && !record["outcome"].is_null(), "{path}: {record}");
        ensure!(record["request"] == answer.header("x-request-id"), "{path}: {record}");
        ensure!(!record.to_string().contains(people::BSNS[0]), "a BSN in the log");
    }
    let before = head(&world)?;
    let put = gesp.put(&format!("Observation/{observation}"), &changed).await?;
    ensure!(put.status == 200, "{}", put.text());
    ensure!(
        records(&world, before)?
            .iter()
            .any(|r| r["interaction"] == "update" && r["request"] == put.header("x-request-id"))
    );
    // Refusals: of the role, of what is not there, of content.
    let nowhere = json!({ "resourceType": "Condition", "subject": { "reference": "Patient/nobody" } });
    for (answer, status) in [
        (acn.get(&format!("Observation?patient={id}")).await?, 403),
        (gesp.get("Patient/nobody").await?, 404),
        (gesp.post("Condition", &nowhere).await?, 422),
    ] {
        ensure!(answer.status == status, "{} {}", answer.status, answer.text());
        let request = answer.header("x-request-id").to_owned();
        let all = records(&world, before)?;
        let record = all
            .iter()
            .find(|r| r["request"] == request)
            .with_context(|| format!("{status} is not recorded"))?;
        ensure!(record["reason"].is_string(), "{record}");
    }
    ensure!(verify(&world)?.faults.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_and_a_cut_tail_are_both_found() -> Result<()> {
    let mut world = World::start().await?;
    // Stopping signs the head.
    world.restart().await?;
    let whole = verify(&world)?;
    ensure!(whole.faults.is_empty() && whole.pinned == whole.records && whole.records > 100, "{whole:?}");

    let log = world.tables();
    let sequence = 57;
    let bodies = log.bytes(&format!("SELECT body FROM audit WHERE sequence = {sequence}"))?;
    let body = bodies.first().context("no such record")?;
    let set = |body: &[u8]| {
        log.change(&format!("UPDATE audit SET body = {} WHERE sequence = {sequence}", log.literal(body)))
    };
    let mut flipped = body.clone();
    *flipped.get_mut(20).context("a short record")? ^= 1;
    set(&flipped)?;
    ensure!(verify(&world)?.faults.contains(&Fault::Link { sequence: 57 }), "{:?}", verify(&world)?);
    set(body)?;
    ensure!(verify(&world)?.faults.is_empty());

    // The last records dropped, with everything that counts them: only the signature knows.
    let signed = whole.pinned;
    log.change(&format!("DELETE FROM audit WHERE sequence > {}", signed - 3))?;
    let cut = verify(&world)?;
    ensure!(cut.faults.contains(&Fault::Rewritten { sequence: signed }), "{cut:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_record_cannot_be_written_gives_no_data() -> Result<()> {
    let world = World::start().await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    ensure!(gesp.get("Patient?_count=1").await?.status == 200);
    // The log takes no record, while everything else of the database works.
    let tables = world.tables();
    let (refuse, allow) = match tables {
        Tables::File(_) => (
            "CREATE TRIGGER no_record BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no record'); END",
            "DROP TRIGGER no_record",
        ),
        Tables::Server(_) => (
            "ALTER TABLE audit ADD CONSTRAINT no_record CHECK (false) NOT VALID",
            "ALTER TABLE audit DROP CONSTRAINT no_record",
        ),
    };
    let embedded = matches!(tables, Tables::File(_));
    tables.change(refuse)?;
    // In the embedded store a look whose record is in the journal is answered; who asks for the log finds out that it
    // takes none, and so does the gateway within half a second.
    let mut looked = None;
    if embedded {
        let answer = gesp.get("Patient?_count=1").await?;
        ensure!(answer.status == 200 && is_kept(&world, answer.header("x-request-id"))?);
        ensure!(settle(&world).is_err(), "a log with a gap is shown");
        looked = Some(answer.header("x-request-id").to_owned());
    }
    for path in ["Patient?_count=1", "Observation?_summary=count", "Patient/nowhere"] {
        let refused = gesp.get(path).await?;
        ensure!(refused.status == 503, "{path}: {}", refused.status);
        ensure!(!refused.text().contains("Proefpersoon") && !refused.text().contains("no record"), "{path}");
    }
    tables.change(allow)?;
    ensure!(gesp.get("Patient?_count=1").await?.status == 200);
    let kept = records(&world, 0)?;
    if let Some(request) = looked {
        let times = kept.iter().filter(|record| record["request"] == request.as_str()).count();
        ensure!(times == 1, "a look with {times} records");
    }
    Ok(())
}
