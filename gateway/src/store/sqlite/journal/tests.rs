//! The journal in its store: what was answered is in the log, once, whatever happened in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::audit::chain;
use crate::ids::{PartyKey, PatientKey};
use crate::store::contract::world::*;
use crate::store::sqlite::{Settings, SqliteStore};
use crate::store::{AuditQuery, AuditRow, Store as _};

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluis-looks-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn open_with(&self, journal_bytes: usize) -> SqliteStore {
        let settings = Settings { readers: 2, journal_bytes, ..Settings::at(self.0.join("sluis.db"), BASE) };
        SqliteStore::open(settings).unwrap()
    }

    fn open(&self) -> SqliteStore {
        self.open_with(1 << 20)
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.0.join("sluis.db")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn look(n: u32, bytes: usize) -> AuditRecord {
    let mut body = n.to_be_bytes().to_vec();
    body.resize(bytes.max(4), 0);
    AuditRecord { at: NOW, organisation: PartyKey(7), patients: vec![PatientKey(1)], body }
}

fn append(store: &SqliteStore, n: u32) -> Result<(), StoreError> {
    wait(store.append(&permit(&system()), look(n, 4)))
}

/// The log, its chain checked; the numbers in its records.
fn log(store: &SqliteStore) -> Vec<u32> {
    let rows: Vec<AuditRow> = read(store, &system(), |r| r.audit_chain(1, 1_000_000)).unwrap();
    let mut previous = [0; 32];
    for (row, sequence) in rows.iter().zip(1u64..) {
        assert_eq!((row.sequence, row.hash), (sequence, chain::link(&previous, sequence, &row.body)));
        previous = row.hash;
    }
    rows.iter().map(|row| u32::from_be_bytes(row.body[..4].try_into().unwrap())).collect()
}

/// Records in the database, without asking the store to bring any there.
fn moved(folder: &Folder) -> i64 {
    folder.database().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
}

#[test]
fn who_reads_the_log_finds_every_look_that_was_answered() {
    let folder = Folder::new();
    let store = folder.open();
    for n in 0..10 {
        append(&store, n).unwrap();
    }
    assert_eq!(moved(&folder), 0, "a look has no commit of its own");
    let of = AuditQuery { patient: Some(PatientKey(1)), limit: 100, ..AuditQuery::default() };
    assert_eq!(read(&store, &system(), |r| r.audit(&of)).unwrap().1, 10);
    append(&store, 10).unwrap();
    assert_eq!(read(&store, &system(), |r| r.audit_head()).unwrap().0, 11);
    append(&store, 11).unwrap();
    assert_eq!(log(&store), (0..12).collect::<Vec<_>>());
    // A write's own record comes after those of the looks before it.
    append(&store, 12).unwrap();
    assert_eq!(write(&store, |w| w.append_audit(&look(13, 4))).unwrap(), 14);
    append(&store, 14).unwrap();
    drop(store);
    assert_eq!(moved(&folder), 15, "closing moves the rest");
    assert_eq!(log(&folder.open()), (0..15).collect::<Vec<_>>());
}

/// Every look answered before a `kill -9` is in the log afterwards, once.
#[test]
fn answered_looks_survive_a_kill() {
    const FOLDER: &str = "SLUIS_TEST_LOOKS_FOLDER";
    if let Some(path) = std::env::var_os(FOLDER) {
        // The child: looks, and now and then a write, until it is killed, noting each answer.
        let folder = std::mem::ManuallyDrop::new(Folder(path.into()));
        let store = folder.open_with(4_096);
        let mut notes = std::fs::File::create(folder.0.join("answered")).unwrap();
        for n in 0.. {
            if n % 50 == 49 {
                write(&store, move |w| w.append_audit(&look(n, 4))).unwrap();
            } else {
                append(&store, n).unwrap();
            }
            std::io::Write::write_all(&mut notes, &n.to_be_bytes()).unwrap();
        }
    }
    for round in 0..4usize {
        let folder = Folder::new();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::journal::tests::answered_looks_survive_a_kill"])
            .env(FOLDER, &folder.0)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let answered = || std::fs::read(folder.0.join("answered")).unwrap_or_default().len() / 4;
        while answered() < 30 + round * 61 {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let answered = u32::try_from(answered()).unwrap();
        let kept = log(&folder.open());
        // One look may have been durable and not yet answered.
        assert!(kept.len() as u32 == answered || kept.len() as u32 == answered + 1, "{answered}");
        assert_eq!(kept, (0..kept.len() as u32).collect::<Vec<_>>());
        assert_eq!(log(&folder.open()), kept, "once more opened, nothing is moved twice");
    }
}

/// A copy of a database whose gateway was killed holds its last looks; one that is being served is left alone.
#[test]
fn a_copy_takes_what_a_killed_gateway_left() {
    let folder = Folder::new();
    let settings = Settings { journal_bytes: 1 << 20, ..Settings::at(folder.0.join("sluis.db"), BASE) };
    let store = SqliteStore::open(settings.clone()).unwrap();
    append(&store, 0).unwrap();
    let left = std::fs::read(folder.0.join("sluis.db-audit")).unwrap();
    super::super::settle_left_over(&settings).unwrap();
    assert_eq!(moved(&folder), 0);
    drop(store);
    // As a kill leaves it: the record in the journal, and not in the log.
    std::fs::write(folder.0.join("sluis.db-audit"), left).unwrap();
    folder
        .database()
        .execute_batch("DELETE FROM audit; UPDATE counter SET value = 0 WHERE name = 'journal'")
        .unwrap();
    super::super::settle_left_over(&settings).unwrap();
    assert_eq!(moved(&folder), 1);
    assert_eq!(log(&folder.open()), [0]);
}

/// Past the journal's size records go to the writer, and all are in the log.
#[test]
fn a_full_journal_is_gone_round() {
    let folder = Folder::new();
    let store = folder.open_with(4_096);
    let receipts: Vec<_> = (0..200).map(|n| store.append(&permit(&system()), look(n, 600))).collect();
    for receipt in receipts {
        wait(receipt).unwrap();
    }
    // One record larger than the whole file.
    wait(store.append(&permit(&system()), look(200, 10_000))).unwrap();
    let mut kept = log(&store);
    kept.sort_unstable();
    assert_eq!(kept, (0..=200).collect::<Vec<_>>());
    assert_eq!(std::fs::metadata(folder.0.join("sluis.db-audit")).unwrap().len(), 4_096);
}

/// What comes while a batch is on its way to the disk is not promised the room of that batch.
#[test]
fn the_room_of_a_batch_being_written_is_not_given_twice() {
    let shared = Shared::new(Contents { room: 4_096, ..Contents::default() }, 1_000);
    let fill = || {
        (0..100).map(|n| shared.append(look(n, 600))).take_while(Result::is_ok).flatten().collect::<Vec<_>>()
    };
    let first = fill();
    let (place, taken) = shared.state().begin();
    assert_eq!((place, taken.len()), (0, first.len()));
    let behind = fill();
    let state = shared.state();
    let end = state.place + if behind.is_empty() { 0 } else { batch::whole(state.queued) };
    assert!(
        first.len() > 3 && end <= state.room,
        "{} and {} records to byte {end}",
        first.len(),
        behind.len()
    );
}

#[test]
fn looks_that_wait_past_their_limit_are_busy() {
    let contents = Contents { room: 1 << 20, ..Contents::default() };
    // No thread takes what waits.
    let shared = Shared::new(contents, 2);
    let first = shared.append(look(0, 4)).unwrap();
    let second = shared.append(look(1, 4)).unwrap();
    assert!(matches!(wait(shared.append(look(2, 4)).unwrap()), Err(StoreError::Busy)));
    drop((first, second));
}

/// No log, no data: as soon as the log takes no records none are taken here, and none that were are lost.
#[test]
fn a_log_that_takes_no_records_stops_the_journal_and_loses_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    append(&store, 0).unwrap();
    assert_eq!(log(&store), [0]);
    folder
        .database()
        .execute_batch("CREATE TRIGGER no_record BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    append(&store, 1).unwrap();
    assert!(read(&store, &system(), |r| r.audit_head()).is_err(), "a log with a gap is not shown");
    for n in 2..4 {
        assert!(append(&store, n).is_err(), "{n}");
    }
    // Other writes go on.
    write(&store, |w| w.probe()).unwrap();
    folder.database().execute_batch("DROP TRIGGER no_record").unwrap();
    append(&store, 4).unwrap();
    append(&store, 5).unwrap();
    assert_eq!(log(&store), [0, 1, 4, 5]);
}

/// A file that fails is not written again: what was on its way is refused, the rest goes to the writer.
#[test]
fn a_journal_that_fails_is_gone_round() {
    let folder = Folder::new();
    let store = folder.open();
    let broken = || store.journal.as_ref().unwrap().shared.state().broken;
    append(&store, 0).unwrap();
    store.journal.as_ref().unwrap().shared.state().broken = true;
    append(&store, 1).unwrap();
    assert!(broken());
    assert_eq!(log(&store), [0, 1]);
}

/// A second program on the same database leaves the journal to the first.
#[test]
fn a_second_store_on_the_database_appends_by_its_writer() {
    let folder = Folder::new();
    let (one, two) = (folder.open(), folder.open());
    assert!(one.journal.is_some() && two.journal.is_none());
    append(&one, 0).unwrap();
    append(&two, 1).unwrap();
    append(&one, 2).unwrap();
    assert_eq!(log(&one), [1, 0, 2]);
    assert_eq!(log(&two), [1, 0, 2]);
}
