//! What a gateway does when its database fails beneath it: the right status, nothing half written, and on by itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluis::clock::System;
use sluis::config::Store;
use sluis::demo::Context;
use sluis_tests::client::Answer;
use sluis_tests::database::{self, Database, Tables};
use sluis_tests::relay::{Mode, Relay};
use sluis_tests::world::{Caller, World, observation};

/// How many resources bear a number that begins so, past the gateway.
fn stored(tables: &Tables, begin: &str) -> Result<i64> {
    tables.number(&format!(
        "SELECT count(DISTINCT r.key) FROM index_token i JOIN resource r ON r.key = i.row WHERE i.code LIKE '{begin}%'"
    ))
}

/// A refusal that says it passes, and what to do.
fn passing(case: &str, answer: &Answer) -> Result<()> {
    ensure!(answer.status == 503, "{case}: {} {}", answer.status, answer.text());
    ensure!(answer.header("retry-after").parse::<u32>().is_ok(), "{case}: no Retry-After");
    let issue = &answer.json()["issue"][0];
    ensure!(
        issue["severity"] == "error" && issue["diagnostics"].as_str().is_some_and(|text| text.len() > 10),
        "{case}: {}",
        answer.text()
    );
    Ok(())
}

fn unbroken(world: &World) -> Result<()> {
    let report = sluis::run::verify_audit(world.settings())?;
    ensure!(report.faults.is_empty() && report.records > 0, "{report:?}");
    Ok(())
}

/// A world whose line to the server goes through a relay.
async fn relayed() -> Result<Option<(World, Relay)>> {
    let Some(database) = Database::new()? else { return Ok(None) };
    let relay = Relay::start(None).await?;
    let mut store = database::store(&database.connection_by("127.0.0.1", relay.address.port())?)?;
    if let Store::Postgres(settings) = &mut store {
        // Short, though not for a busy machine.
        (settings.query_ms, settings.connect_ms) = (4_000, 2_000);
    }
    let world = World::start_on(Some((database, store)), Arc::new(System)).await?;
    Ok(Some((world, relay)))
}

/// The line is cut at the first message of a transaction, at the second, and so on to its end: what is answered 200 is
/// there whole, what is answered 503 is not there at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_cut_at_any_message_is_whole_or_not_there_as_answered() -> Result<()> {
    let Some((world, relay)) = relayed().await? else { return Ok(()) };
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let tables = world.tables();
    let (mut refused, mut stood) = (0, 0);
    for at in 0.. {
        ensure!(at < 400, "a transaction of more than 400 messages");
        let entry = |n: u32| {
            let resource = observation(&patient, &format!("cut-{at}-{n}"));
            json!({ "resource": resource, "request": { "method": "POST", "url": "Observation" } })
        };
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry(0), entry(1), entry(2)] });
        relay.cut_after(at);
        let answer = gesp.post("", &bundle).await?;
        let whole = relay.cut_waits();
        relay.cut_after(-1);
        let there = stored(&tables, &format!("cut-{at}-"))?;
        match answer.status.as_u16() {
            200 => ensure!(there == 3, "cut at {at}: answered 200, and {there} of 3 are there"),
            _ => {
                passing(&format!("cut at {at}"), &answer)?;
                ensure!(there == 0, "cut at {at}: answered 503, and {there} of 3 are there");
                refused += 1;
            }
        }
        if whole {
            break;
        }
        stood += usize::from(answer.status == 200);
    }
    // Cut before it has begun, and after its commit, it stands; in between it does not.
    ensure!(refused > 5 && stood > 0, "{refused} refused, {stood} stood");
    unbroken(&world)
}

/// A document with one measurement under a code nobody knows yet, and a text that does not shrink when it is packed.
fn unknown_measurement(number: u32, text: &str) -> String {
    let (day, month) = (number % 28 + 1, number / 28 + 1);
    format!(
        "bsn;bezoekdatum;soort;code;omschrijving;waarde;eenheid;taak;categorie;eigenaar_ura;uitvoerder_ura;status\r\n\
         999911132;{day:02}-{month:02}-2019;meting;SNIF;{text};46;cmH2O;;;;;definitief"
    )
}

/// Sends so many documents that wait, then gives their code its row in the table.
async fn waiting(world: &World, feed: &Caller, count: u32, text: &str) -> Result<()> {
    for number in 0..count {
        let answer = feed.ingest("text/csv", unknown_measurement(number, text)).await?;
        ensure!(answer.status == 422, "{} {}", answer.status, answer.text());
    }
    let table = world.folder().join("mappings/gesp-export/codes/tests.csv");
    let mut rows = std::fs::read_to_string(&table)?;
    rows.push_str("urn:oid:2.999.90000201.5,SNIF,SNIP,https://sluis.care/fhir/CodeSystem/als-observation,snip,Sniff nasal inspiratory pressure,equivalent,typed so\n");
    std::fs::write(&table, &rows)?;
    world.running()?.reload_mappings().await
}

/// How many of them are applied, each counted as often as it is there, and how many wait.
async fn applied(feed: &Caller) -> Result<(i64, i64)> {
    let found = answered(feed, "Observation?date=2019&_summary=count").await?;
    let waits = answered(feed, "$quarantine").await?;
    let number = |value: &Value| value.as_i64().context("a number");
    Ok((number(&found["total"])?, number(&waits["parameter"][0]["valueInteger"])?))
}

/// An answer, once the gateway is connected again.
async fn answered(caller: &Caller, path: &str) -> Result<Value> {
    for _ in 0..50 {
        let answer = caller.get(path).await?;
        if answer.status == 200 {
            return Ok(answer.json());
        }
        passing(path, &answer)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{path} is not answered any more")
}

/// A replay whose line to the database is cut at any message leaves each document applied or waiting, and the next goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_cut_at_any_message_applies_each_document_once() -> Result<()> {
    let Some((world, relay)) = relayed().await? else { return Ok(()) };
    let feed = world.caller("gesp-midden-epd", Context::system()).await?;
    let (count, before) = (24, applied(&feed).await?);
    ensure!(before.1 == 0, "{before:?}");
    waiting(&world, &feed, count, "SNIP").await?;
    let mut refused = 0;
    for at in (0..).step_by(9) {
        ensure!(at < 3_000, "the replay does not come to its end");
        relay.cut_after(at);
        let answer = feed.post("$replay?_count=2", &json!({ "resourceType": "Parameters" })).await?;
        relay.cut_after(-1);
        if answer.status != 200 {
            passing(&format!("cut at {at}"), &answer)?;
            refused += 1;
        }
        let (now, waits) = applied(&feed).await?;
        ensure!(now - before.0 + waits == i64::from(count), "cut at {at}: {now} applied, {waits} wait");
        if waits == 0 {
            break;
        }
    }
    ensure!(refused > 2, "{refused} refused");
    ensure!(applied(&feed).await? == (before.0 + i64::from(count), 0));
    unbroken(&world)
}

/// The server ends connections at random moments while four write: what was acknowledged is there, nothing is there in
/// part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_backends_lose_nothing_that_was_acknowledged() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let store = database.store()?;
    let world = World::start_on(Some((database, store)), Arc::new(System)).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (gesp, patient, stop) = (gesp.clone(), patient.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut acknowledged, mut refused) = (Vec::new(), 0);
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let name = format!("kill-{writer}-{number}.");
                    let answer = gesp.post("Observation", &observation(&patient, &name)).await?;
                    match answer.status.as_u16() {
                        201 => acknowledged.push(name),
                        _ => {
                            passing(&name, &answer)?;
                            refused += 1;
                        }
                    }
                }
                Ok::<_, anyhow::Error>((acknowledged, refused))
            })
        })
        .collect();
    let Tables::Server(server) = world.tables() else { anyhow::bail!("no server") };
    for turn in 0..25u64 {
        tokio::time::sleep(Duration::from_millis(60 + turn * 37 % 120)).await;
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.cut()).await??;
    }
    stop.store(true, Ordering::SeqCst);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for writer in writers {
        let (names, count) = writer.await??;
        acknowledged.extend(names);
        refused += count;
    }
    ensure!(acknowledged.len() > 20 && refused > 0, "{} acknowledged, {refused} refused", acknowledged.len());
    let tables = world.tables();
    for name in &acknowledged {
        ensure!(stored(&tables, name)? == 1, "{name} was acknowledged");
    }
    // Each that is there has its body and its record of a create.
    ensure!(
        tables.number(
            "SELECT count(*) FROM resource r LEFT JOIN body b ON b.key = r.key WHERE b.key IS NULL"
        )? == 0
    );
    let written = stored(&tables, "kill-")?;
    let records = tables.bytes("SELECT body FROM audit")?;
    let creates = records
        .iter()
        .filter(|body| {
            serde_json::from_slice::<Value>(body).is_ok_and(|record| record["interaction"] == "create")
        })
        .count();
    ensure!(i64::try_from(creates)? >= written, "{creates} records of {written} resources");
    ensure!(gesp.post("Observation", &observation(&patient, "after")).await?.status == 201);
    unbroken(&world)
}

/// Gone, silent and slow: refused in time with what to do, what needs no database answers on, and all is well once it
/// is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_silent_or_slow_is_waited_for_in_bounds() -> Result<()> {
    let Some((world, relay)) = relayed().await? else { return Ok(()) };
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let path = format!("Patient/{patient}");
    for (round, mode) in [Mode::Gone, Mode::Silent, Mode::Gone, Mode::Silent].into_iter().enumerate() {
        relay.set(mode);
        let case = format!("{mode:?} {round}");
        let (write, search) = (observation(&patient, &case), format!("Observation?patient={patient}"));
        // More than there are threads, so that one that waits does not stop another.
        let asked =
            futures_util::future::try_join_all((0..6).map(|n| gesp.get(if n < 3 { &path } else { &search })));
        let (asked, written, live) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(90), asked),
            tokio::time::timeout(Duration::from_secs(90), gesp.post("Observation", &write)),
            tokio::time::timeout(Duration::from_secs(10), world.health("live")),
        );
        for answer in asked.with_context(|| format!("{case}: a read has no end"))?? {
            passing(&case, &answer)?;
        }
        passing(&case, &written.with_context(|| format!("{case}: a write has no end"))??)?;
        ensure!(live.with_context(|| format!("{case}: it looks dead"))?? == 200);
        ensure!(world.health("ready").await? == 503, "{case}: it says that it is ready");
        relay.set(Mode::Open);
        let mut back = 0;
        for _ in 0..50 {
            back = world.health("ready").await?;
            if back == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        ensure!(back == 200, "{case}: it does not come back");
        ensure!(gesp.get(&path).await?.status == 200, "{case}");
        let after = gesp.post("Observation", &observation(&patient, &format!("after-{round}"))).await?;
        ensure!(after.status == 201, "{case}: {}", after.text());
    }
    relay.set(Mode::Slow(Duration::from_millis(4)));
    ensure!(gesp.get(&path).await?.status == 200);
    let slow = gesp.post("Observation", &observation(&patient, "slow")).await?;
    ensure!(slow.status == 201, "{}", slow.text());
    relay.set(Mode::Open);
    ensure!(stored(&world.tables(), "after-")? == 4);
    unbroken(&world)
}

/// Another program holds the file: writes are refused once their time is over, and go on when it lets go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_another_program_holds_is_waited_for_in_bounds() -> Result<()> {
    let world = World::start_on(None, Arc::new(System)).await?;
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let other = rusqlite::Connection::open(world.folder().join("sluis.db"))?;
    other.execute_batch("BEGIN IMMEDIATE")?;
    passing("held", &gesp.post("Observation", &observation(&patient, "held")).await?)?;
    ensure!(world.health("live").await? == 200);
    other.execute_batch("ROLLBACK")?;
    let after = gesp.post("Observation", &observation(&patient, "after")).await?;
    ensure!(after.status == 201, "{}", after.text());
    ensure!(stored(&world.tables(), "held")? == 0);
    unbroken(&world)
}

/// A small disk of its own, taken away at the end; `None`, said aloud, where none can be made.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(name: &str, mebibytes: u32) -> Result<Option<SmallDisk>> {
        let folder = std::env::temp_dir().join(format!("sluis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let size = format!("size={mebibytes}m,mode=0777");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Ok(Some(SmallDisk(folder)));
        }
        std::fs::remove_dir_all(&folder)?;
        let text = "SKIPPED: no small disk can be mounted (it takes root), so a full disk was NOT tested\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
        Ok(None)
    }

    /// Takes up all but `kibibytes` of what is free.
    fn ballast(&self, kibibytes: u64) -> Result<PathBuf> {
        let path = self.0.join("ballast");
        let free = Command::new("df").args(["--output=avail", "-k"]).arg(&self.0).output()?;
        let free: u64 =
            String::from_utf8(free.stdout)?.lines().nth(1).context("df")?.trim().parse().context("df")?;
        std::fs::write(&path, vec![1; usize::try_from(free.saturating_sub(kibibytes) * 1024)?])?;
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What cannot be taken away stays in the temporary folder; a test does not fail for it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// A text that does not shrink when it is packed.
fn noise(letters: usize) -> String {
    let mut state = 7u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from(state >> 59).unwrap_or(0) % 26)
    };
    (0..letters).map(letter).collect()
}

/// Writes until the disk is full, looks at what is refused and what is not, makes room, and goes on.
async fn fill_up(world: &World, disk: &SmallDisk) -> Result<()> {
    let gesp = world.caller("gesp-midden-epd", Context::role("01.042")).await?;
    let patient = gesp.first_patient().await?;
    let ballast = disk.ballast(1_500)?;
    let noise = noise(60_000);
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0..200 {
        let name = format!("full-{number}.");
        let mut body = observation(&patient, &name);
        body["note"] = json!([{ "text": noise }]);
        let answer = gesp.post("Observation", &body).await?;
        match answer.status.as_u16() {
            201 => acknowledged.push(name),
            _ => {
                passing(&name, &answer)?;
                ensure!(stored(&world.tables(), &name)? == 0, "{name} was refused, and it is there");
                refused += 1;
            }
        }
        if refused == 5 {
            break;
        }
    }
    ensure!(refused == 5 && !acknowledged.is_empty(), "{} written, {refused} refused", acknowledged.len());
    ensure!(world.health("live").await? == 200);
    std::fs::remove_file(&ballast)?;
    let mut back = None;
    for _ in 0..50 {
        let answer = gesp.post("Observation", &observation(&patient, "after")).await?;
        if answer.status == 201 {
            back = Some(answer);
            break;
        }
        passing("after", &answer)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    back.context("it does not go on when there is room")?;
    ensure!(world.health("ready").await? == 200);
    for name in &acknowledged {
        ensure!(stored(&world.tables(), name)? == 1, "{name} was acknowledged");
    }
    unbroken(world)
}

/// A full disk beneath the file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_whole_and_goes_on_when_there_is_room() -> Result<()> {
    let Some(disk) = SmallDisk::new("full", 64)? else { return Ok(()) };
    let world = World::start_in(&disk.0, None, Arc::new(System)).await?;
    fill_up(&world, &disk).await?;
    let sound = rusqlite::Connection::open(world.folder().join("sluis.db"))?.query_row(
        "PRAGMA integrity_check",
        [],
        |row| row.get::<_, String>(0),
    )?;
    ensure!(sound == "ok", "{sound}");
    Ok(())
}

/// The disk is full in the middle of a replay: what is done stays done, the rest waits, and goes through when there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_on_a_full_disk_loses_nothing_and_goes_on_when_there_is_room() -> Result<()> {
    let Some(disk) = SmallDisk::new("full-replay", 96)? else { return Ok(()) };
    let world = World::start_in(&disk.0, None, Arc::new(System)).await?;
    let feed = world.caller("gesp-midden-epd", Context::system()).await?;
    let (count, before) = (30, applied(&feed).await?);
    ensure!(before.1 == 0, "{before:?}");
    waiting(&world, &feed, count, &noise(60_000)).await?;
    let ballast = disk.ballast(1_000)?;
    let replay = json!({ "resourceType": "Parameters" });
    let full = feed.post("$replay", &replay).await?;
    passing("full", &full)?;
    std::fs::remove_file(&ballast)?;
    let mut done = None;
    for _ in 0..50 {
        let answer = feed.post("$replay", &replay).await?;
        if answer.status == 200 {
            done = Some(answer);
            break;
        }
        passing("after", &answer)?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    done.context("it does not go on when there is room")?;
    ensure!(applied(&feed).await? == (before.0 + i64::from(count), 0));
    let idle = feed.post("$replay", &replay).await?.json();
    ensure!(idle["parameter"][1]["valueInteger"] == 0, "{idle}");
    unbroken(&world)
}

/// A full disk beneath the server's largest table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_the_server_refuses_writes_whole_and_goes_on_when_there_is_room() -> Result<()> {
    let Some(database) = Database::new()? else { return Ok(()) };
    let Some(disk) = SmallDisk::new("full-server", 32)? else { return Ok(()) };
    let store = database.store()?;
    let world = World::start_on(Some((database, store)), Arc::new(System)).await?;
    let space = Tablespace::new(&disk.0, world.tables())?;
    fill_up(&world, &disk).await?;
    drop(space);
    Ok(())
}

/// A place of the server's on a disk, with the table of bodies in it.
struct Tablespace(Tables);

impl Tablespace {
    fn new(disk: &Path, tables: Tables) -> Result<Tablespace> {
        let folder = disk.join("space");
        std::fs::create_dir(&folder)?;
        // The server has a user of its own.
        let owner = tables.named("SELECT CAST(1 AS BIGINT), current_setting('data_directory')")?;
        let (_, data) = owner.first().context("no data directory")?;
        ensure!(Command::new("chown").arg("--reference").arg(data).arg(&folder).status()?.success(), "chown");
        let name = format!("sluis_small_{}", std::process::id());
        tables.change(&format!("CREATE TABLESPACE {name} LOCATION '{}'", folder.display()))?;
        let space = Tablespace(tables);
        space.0.change(&format!("ALTER TABLE body SET TABLESPACE {name}"))?;
        Ok(space)
    }
}

impl Drop for Tablespace {
    fn drop(&mut self) {
        // What cannot be dropped stays on a server of tests.
        let _ = self.0.change("ALTER TABLE body SET TABLESPACE pg_default");
        let _ = self.0.change(&format!("DROP TABLESPACE sluis_small_{}", std::process::id()));
    }
}
