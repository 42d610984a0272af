//! Documents of the shared corpora, sent three times: the first answer again, byte for byte, and the same store. On both stores,
//! which answer alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use sluis::clock::System;
use sluis::demo::Context;
use sluis_tests::database::{Database, Tables};
use sluis_tests::world::World;

/// A document: its file, its media type.
type Document = (PathBuf, &'static str);

/// Who sends which documents.
const CORPORA: [(&str, &str, &str, &str); 4] = [
    ("umc-epd", "hl7v2-messages", "hl7", "application/hl7-v2"),
    ("umc-epd", "dutch/hl7v2-edifact", "hl7", "application/hl7-v2"),
    ("gp-brug-his", "dutch/zorgviewer/examples", "json", "application/fhir+json; fhirVersion=3.0"),
    ("gesp-midden-epd", "r4-examples", "json", "application/fhir+json"),
];

/// Documents of one corpus at most: every so many are left out of a larger one.
const DOCUMENTS_MAX: usize = 90;

fn shared(sub: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SLUIS_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    Some(root.join(sub)).filter(|folder| folder.is_dir())
}

fn documents(folder: &Path, extension: &str, media: &'static str) -> Result<Vec<Document>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    let each = found.len().div_ceil(DOCUMENTS_MAX).max(1);
    Ok(found.into_iter().step_by(each).map(|path| (path, media)).collect())
}

/// Every version of every resource, and what waits: what a resend must not change.
fn kept(tables: &Tables) -> Result<[Vec<(i64, String)>; 2]> {
    Ok([
        tables.named("SELECT version, id FROM resource ORDER BY id, version")?,
        tables
            .named("SELECT ordinal, sha256 || '/' || label || '/' || cause FROM quarantine ORDER BY 2, 1")?,
    ])
}

/// Three times each: in order, from the last to the first, and from the middle outwards. What was answered, without the ids
/// that a gateway draws.
async fn thrice(world: &World) -> Result<Vec<(String, u16)>> {
    let mut told = Vec::new();
    for (client, sub, extension, media) in CORPORA {
        let folder = shared(sub).context("a folder that was there")?;
        let documents = documents(&folder, extension, media)?;
        ensure!(!documents.is_empty(), "{sub} is empty");
        let caller = world.caller(client, Context::system()).await?;
        let mut first = Vec::new();
        for (path, media) in &documents {
            let answer = caller.ingest(media, std::fs::read(path)?).await?;
            let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
            let status = answer.status.as_u16();
            ensure!(matches!(status, 200 | 422), "{name}: {status} {}", answer.text());
            told.push((name, status));
            first.push((status, answer.text()));
        }
        let before = kept(&world.tables())?;
        let count = documents.len();
        let outwards = (0..count).map(|n| if n % 2 == 0 { (count + n) / 2 } else { (count - n - 1) / 2 });
        for at in (0..count).rev().chain(outwards) {
            let (path, media) = documents.get(at).with_context(|| format!("{at} of {count}"))?;
            let answer = caller.ingest(media, std::fs::read(path)?).await?;
            let again = (answer.status.as_u16(), answer.text());
            ensure!(first.get(at) == Some(&again), "{}: {again:?} after {:?}", path.display(), first.get(at));
        }
        ensure!(kept(&world.tables())? == before, "{sub}: a resend changed what is kept");
    }
    Ok(told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_sent_three_times_in_any_order_leave_one_store_on_either_database() -> Result<()> {
    if CORPORA.iter().any(|(_, sub, ..)| shared(sub).is_none()) {
        let text =
            "SKIPPED: the shared data is not here (set SLUIS_SHARED), so its documents were NOT sent\n";
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
        return Ok(());
    }
    let embedded = World::start_on(None, Arc::new(System)).await?;
    let told = thrice(&embedded).await?;
    let Some(database) = Database::new()? else { return Ok(()) };
    let store = database.store()?;
    let server = World::start_on(Some((database, store)), Arc::new(System)).await?;
    ensure!(thrice(&server).await? == told, "the two stores answer otherwise");
    let count = |world: &World, text: &str| world.tables().number(text);
    for text in ["SELECT count(*) FROM resource", "SELECT count(*) FROM quarantine"] {
        ensure!(count(&embedded, text)? == count(&server, text)?, "{text}");
    }
    Ok(())
}
