//! Records out of a store and into one: backup while the gateway serves, restore, and the move to PostgreSQL.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluis::clock::System;
use sluis::config::{self, Sqlite, Store, Synchronous};
use sluis::demo::Context;
use sluis::run::archive;
use sluis::store::archive::Copied;
use sluis::store::postgres::{PostgresStore, Settings};
use sluis_tests::database::Database;
use sluis_tests::world::{Caller, World, link, matches};

/// A store that holds nothing yet.
struct Empty {
    store: Store,
    database: Option<Arc<Database>>,
}

fn file(world: &World, name: &str) -> Store {
    Store::Sqlite(Sqlite { file: world.folder().join(name), synchronous: Synchronous::Full })
}

fn empty(world: &World, name: &str, server: bool) -> Result<Empty> {
    if !server {
        return Ok(Empty { store: file(world, name), database: None });
    }
    let database = Database::new()?.context("no server")?;
    Ok(Empty { store: database.store()?, database: Some(Arc::new(database)) })
}

async fn start(server: bool) -> Result<World> {
    let database = match server {
        false => None,
        true => {
            let database = Database::new()?.context("no server")?;
            let store = database.store()?;
            Some((database, store))
        }
    };
    World::start_on(database, Arc::new(System)).await
}

/// A resource with three versions and one that is deleted; their ids.
async fn past(gesp: &Caller, system: &Caller, patient: &str) -> Result<[String; 2]> {
    let observation = json!({
        "resourceType": "Observation", "status": "final", "effectiveDateTime": "2026-10-01",
        "subject": { "reference": format!("Patient/{patient}") },
        "code": { "coding": [{ "system": "http://loinc.org", "code": "19868-9" }] },
        "valueQuantity": { "value": 3.10, "unit": "L", "system": "http://unitsofmeasure.org", "code": "L" },
    });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let made = gesp.post("Observation", &observation).await?;
        ensure!(made.status == 201, "{}", made.text());
        let mut changed = made.json();
        let id = changed["id"].as_str().context("id")?.to_owned();
        for text in ["een", "twee"] {
            changed["note"] = json!([{ "text": text }]);
            ensure!(gesp.put(&format!("Observation/{id}"), &changed).await?.status == 200);
        }
        ids.push(id);
    }
    let deleted = system.delete(&format!("Observation/{}", ids[1])).await?;
    ensure!(deleted.status.is_success(), "{}", deleted.text());
    ids.try_into().ok().context("two")
}

/// What the region looks like from outside.
async fn seen(gesp: &Caller, patient: &str, [kept, gone]: &[String; 2]) -> Result<Vec<Value>> {
    let mut seen = Vec::new();
    for path in [
        "Patient?_sort=birthdate&_count=200&_total=accurate".to_owned(),
        format!("Observation?patient={patient}&_sort=-date&_count=200&_total=accurate"),
        "Observation?value-quantity=gt3000|http://unitsofmeasure.org|mL&_summary=count".to_owned(),
        format!("Condition?patient={patient}&_include=Condition:subject&_sort=_id"),
        "Patient?name=proef&_has:Observation:patient:code=19868-9&_sort=_id".to_owned(),
        format!("Observation/{kept}"),
        format!("Observation/{kept}/_history/1"),
        format!("Observation/{kept}/_history"),
        format!("Observation/{gone}/_history"),
        "Consent?_summary=count".to_owned(),
    ] {
        let mut answer = gesp.ok(&path).await?;
        // Of the moment it was asked.
        for name in ["meta", "id", "timestamp"] {
            if answer["resourceType"] == "Bundle" {
                answer.as_object_mut().context("no object")?.remove(name);
            }
        }
        seen.push(answer);
    }
    let deleted = gesp.get(&format!("Observation/{gone}")).await?;
    ensure!(deleted.status == 410, "{}", deleted.status);
    Ok(seen)
}

fn quiet(_: &str, _: u64, _: u64) {}

/// Takes a backup of a serving gateway that is written to meanwhile, restores it, and looks at everything.
async fn there_and_back(from_server: bool, to_server: bool, spread: bool) -> Result<()> {
    let world = start(from_server).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let system = world.caller("gesp-midden-epd", Context::system()).await?;
    let ids = past(&gesp, &system, &patient).await?;
    let before = seen(&gesp, &patient, &ids).await?;
    let first = gesp.ok(&format!("Observation?patient={patient}&_count=1")).await?;
    let next = link(&first, "next").context("one page only")?.to_owned();
    let second = matches(&gesp.ok(&next).await?).into_iter().cloned().collect::<Vec<_>>();

    // Records of another type go in while it is made; none of those looked at below.
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (umc, stop) = (world.caller("umc-epd", Context::system()).await?, Arc::clone(&stop));
        tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::SeqCst) {
                let body = json!({ "resourceType": "Basic", "code": { "text": "tijdens" } });
                let answer = umc.post("Basic", &body).await?;
                ensure!(answer.status == 201 || answer.status == 403, "{}", answer.text());
                written += 1;
            }
            Ok(written)
        })
    };
    let backup = world.folder().join("backup.sluis");
    let (settings, path) = (world.settings().to_owned(), backup.clone());
    let made = tokio::task::spawn_blocking(move || archive::backup(&settings, &path, &mut quiet)).await??;
    stop.store(true, Ordering::SeqCst);
    ensure!(writing.await?? > 0, "nothing was written meanwhile");
    ensure!(
        rows(&made, "resource") > 100 && rows(&made, "version") >= 4 && rows(&made, "audit") > 100,
        "{made:?}"
    );

    // It is overwritten by nobody.
    let again = archive::backup(world.settings(), &backup, &mut quiet).err().context("overwritten")?;
    ensure!(again.to_string().contains("not overwritten"), "{again}");
    let onto = archive::restore(world.settings(), &backup, &mut quiet).err().context("overwritten")?;
    ensure!(
        ["not empty", "not overwritten"].iter().any(|text| format!("{onto:#}").contains(text)),
        "{onto:#}"
    );

    let target = empty(&world, "restored.db", to_server)?;
    let settings = world.settings_on(target.store)?;
    if let (true, Some(database)) = (spread, &target.database) {
        // As operations.md has it: a gateway makes the tables, then they are spread.
        drop(PostgresStore::open(Settings::at(database.connection(), "https://sluis.example/fhir"))?);
        database.batch(include_str!("../../gateway/migrations/postgres/by_patient.sql"))?;
    }
    let into = settings.clone();
    let path = backup.clone();
    let (copied, report) =
        tokio::task::spawn_blocking(move || archive::restore(&into, &path, &mut quiet)).await??;
    ensure!(report.faults.is_empty() && report.records == rows(&made, "audit"), "{report:?}");
    ensure!(copied == made, "{copied:?}\n{made:?}");

    let restored = world.open_with(settings, target.database).await?;
    // Tokens and page links hold: the secrets came along.
    let there = gesp.at(&restored);
    let after = seen(&there, &patient, &ids).await?;
    for (one, other) in before.iter().zip(&after) {
        ensure!(one == other, "{one}\n{other}");
    }
    ensure!(matches(&there.ok(&next).await?).into_iter().eq(second.iter()), "the page went on elsewhere");
    // Numbers go on where they were, and what is written is found.
    let [_, gone] = past(&there, &system.at(&restored), &patient).await?;
    ensure!(there.get(&format!("Observation/{gone}")).await?.status == 410);
    let report = sluis::run::verify_audit(restored.settings())?;
    ensure!(report.faults.is_empty() && report.records > rows(&made, "audit"), "{report:?}");
    Ok(())
}

fn rows(copied: &[Copied], table: &str) -> u64 {
    copied.iter().find(|copied| copied.table == table).map_or(0, |copied| copied.rows)
}

fn server() -> bool {
    std::env::var("SLUIS_TEST_POSTGRES").is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_file_is_restored_whole() -> Result<()> {
    there_and_back(false, false, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_server_is_restored_whole_on_tables_spread_by_patient() -> Result<()> {
    if Database::new()?.is_some() { there_and_back(true, true, true).await } else { Ok(()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_file_is_restored_on_a_server_and_the_other_way_round() -> Result<()> {
    if Database::new()?.is_some() {
        there_and_back(false, true, false).await?;
        there_and_back(true, false, false).await?;
    }
    Ok(())
}

/// A backup that was cut off or changed at any place is refused, and nothing of it stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_leaves_nothing() -> Result<()> {
    let mut world = start(false).await?;
    world.stop().await;
    let backup = world.folder().join("backup.sluis");
    archive::backup(world.settings(), &backup, &mut quiet)?;
    let whole = std::fs::read(&backup)?;
    let broken = world.folder().join("broken.sluis");
    let settings = world.settings_on(file(&world, "restored.db"))?;
    let refused = |bytes: &[u8], case: &str| -> Result<()> {
        std::fs::write(&broken, bytes)?;
        let error = archive::restore(&settings, &broken, &mut quiet).err();
        let error = format!("{:#}", error.with_context(|| format!("{case}: restored"))?);
        ensure!(error.contains("broken.sluis"), "{case}: {error}");
        let left: Vec<PathBuf> = std::fs::read_dir(world.folder())?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("restored"))
            .collect();
        ensure!(left.is_empty(), "{case}: {left:?}");
        Ok(())
    };
    for part in 0..8 {
        refused(&whole[..whole.len() * part / 8], &format!("cut at {part}/8"))?;
    }
    refused(&whole[..whole.len() - 1], "the last byte is missing")?;
    for at in (0..16).map(|n| whole.len() * n / 16 + 12).filter(|at| *at < whole.len()) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("a bit of byte {at} is turned"))?;
    }
    let (copied, report) = archive::restore(&settings, &backup, &mut quiet)?;
    ensure!(report.faults.is_empty() && rows(&copied, "resource") > 100, "{report:?}");
    Ok(())
}

/// From a file to a server: whole, once, and again when it was interrupted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_moves_to_a_server() -> Result<()> {
    if !server() {
        return Database::new().map(|_| ());
    }
    let mut world = start(false).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let system = world.caller("gesp-midden-epd", Context::system()).await?;
    let ids = past(&gesp, &system, &patient).await?;
    let before = seen(&gesp, &patient, &ids).await?;
    world.stop().await;
    let target = empty(&world, "", true)?;
    let to = world.settings_on(target.store)?;
    let from = world.settings().to_owned();

    // The line is cut in the middle of it.
    let database = Arc::clone(target.database.as_ref().context("server")?);
    let mut told = 0;
    let interrupted = archive::transfer(&from, &to, &mut |what, _, _| {
        told += usize::from(what == "search index");
        if told == 1 {
            // A failure shows as a move that was not interrupted.
            let _ = database.cut();
        }
    });
    ensure!(interrupted.is_err(), "it was not interrupted");

    let (copied, report) = archive::transfer(&from, &to, &mut quiet)?;
    ensure!(report.faults.is_empty() && report.records == rows(&copied, "audit"), "{report:?}");
    let twice = archive::transfer(&from, &to, &mut quiet).err().context("moved twice")?;
    ensure!(format!("{twice:#}").contains("not empty"), "{twice:#}");
    let moved = world.open_with(to, target.database).await?;
    let there = gesp.at(&moved);
    ensure!(seen(&there, &patient, &ids).await? == before, "the region looks otherwise");
    past(&there, &system.at(&moved), &patient).await?;
    Ok(())
}

/// Another gateway's records are refused: its references and its log are of its address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_another_address_is_refused() -> Result<()> {
    let mut world = start(false).await?;
    world.stop().await;
    let backup = world.folder().join("backup.sluis");
    archive::backup(world.settings(), &backup, &mut quiet)?;
    let settings = world.settings_on(file(&world, "restored.db"))?;
    let mut other = config::Config::read(&settings)?;
    other.base = "https://elders.example/fhir".to_owned();
    std::fs::write(&settings, toml::to_string(&other)?)?;
    let error = archive::restore(&settings, &backup, &mut quiet).err().context("restored")?;
    ensure!(format!("{error:#}").contains("elders.example"), "{error:#}");
    Ok(())
}
