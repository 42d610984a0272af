//! The contract on a PostgreSQL server: `SLUIS_TEST_POSTGRES` names it, as a connection that may make databases.
//! `./test` starts one; without one these tests say that they did not run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::contract;
use crate::store::contract::world::*;
use crate::store::{Method, Shelf};

const AUTHOR: PartyKey = PartyKey(7);
const READER: PartyKey = PartyKey(8);

/// A database of its own, dropped at the end.
struct Database {
    server: String,
    name: String,
}

impl Database {
    fn new() -> Option<Database> {
        let Ok(server) = std::env::var("SLUIS_TEST_POSTGRES") else {
            // Not by `eprintln!`, which the test runner keeps to itself when a test passes.
            let text =
                "SKIPPED: SLUIS_TEST_POSTGRES names no server, so PostgreSQL was NOT tested; run ./test\n";
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        };
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluis_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let database = Database { server, name };
        database.ask(&format!("CREATE DATABASE {}", database.name));
        Some(database)
    }

    fn ask(&self, text: &str) {
        let lines = Lines::new(&Settings::at(format!("{} dbname=postgres", self.server), BASE)).unwrap();
        let lent = pool::Lent(Some(lines.take().unwrap()));
        lent.line(30_000).unwrap().batch(text).unwrap();
    }

    fn settings(&self) -> Settings {
        // Time is not what these tests are about, and the machine may be busy.
        let at = Settings::at(format!("{} dbname={}", self.server, self.name), BASE);
        Settings { readers: 3, query_ms_max: 60_000, ..at }
    }

    fn open(&self) -> PostgresStore {
        PostgresStore::open(self.settings()).unwrap()
    }

    /// Ends all connections of this database from the server's side.
    fn cut(&self) {
        let name = &self.name;
        self.ask(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        ));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.ask(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// Whether a check of the contract holds on a database of its own.
fn holds(check: &contract::Check, database: &Database) -> bool {
    let store = database.open();
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)(&store))).is_ok()
}

#[test]
fn keeps_the_contract() {
    let mut broken = Vec::new();
    for check in contract::ALL {
        let Some(database) = Database::new() else { return };
        if !holds(check, &database) {
            broken.push(check.name);
        }
    }
    assert!(broken.is_empty(), "the contract broke at: {broken:?}");
}

/// The whole contract once more with the tables spread over partitions by patient, as an operator may have them.
#[test]
fn keeps_the_contract_on_tables_spread_by_patient() {
    let Some(spread) = Database::new() else { return };
    drop(spread.open());
    let script = include_str!("../../../migrations/postgres/by_patient.sql").replace(":= 16", ":= 2");
    assert!(script.contains(":= 2"));
    {
        let lines = Lines::new(&spread.settings()).unwrap();
        let lent = pool::Lent(Some(lines.take().unwrap()));
        lent.line(60_000).unwrap().batch(&script).unwrap();
    }
    let mut broken = Vec::new();
    for (number, check) in contract::ALL.iter().enumerate() {
        let name = format!("{}_{number}", spread.name);
        spread.cut();
        spread.ask(&format!("CREATE DATABASE {name} TEMPLATE {}", spread.name));
        let database = Database { server: spread.server.clone(), name };
        if !holds(check, &database) {
            broken.push(check.name);
        }
    }
    assert!(broken.is_empty(), "the contract broke at: {broken:?}");
}

/// A work of so many rows that its tables are copied finds them all, and leaves none when it fails afterwards.
#[test]
fn rows_of_a_large_work_are_copied_or_not_there() {
    let Some(database) = Database::new() else { return };
    let settings = Settings { query_ms_max: 60_000, ..database.settings() };
    let store = PostgresStore::open(settings).unwrap();
    let patient = patient(&store, "p1", PartyKey(7));
    let observation = |id: &str| {
        format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"urn:c","code":"c"}}],"text":"a\tb"}},
            "subject":{{"reference":"Patient/p1"}},"effectiveDateTime":"2025-01-02","valueQuantity":{{"value":1.5,"unit":"L"}}}}"#
        )
    };
    let all = |name: &'static str, ends: bool| {
        write(&store, move |w| {
            for n in 0..400 {
                put(
                    w,
                    &observation(&format!("{name}{n}")),
                    derived(Some(patient), PartyKey(7)),
                    Method::Post,
                )?;
            }
            // Asks for what was added, so that it is sent before it fails.
            w.own_by_identifier(kind("Observation"), "urn:x", "y")?;
            if ends { Ok(()) } else { Err(StoreError::Busy) }
        })
    };
    all("a", false).unwrap_err();
    all("b", true).unwrap();
    for asked in
        ["", "patient=p1&", "code=urn:c|c&", "date=2025-01-02&", "value-quantity=1.5&", "code:text=a&"]
    {
        let query = format!("Observation?{asked}_total=accurate&_count=1");
        assert_eq!(search(&store, &system(), &query).total, Some(400), "{query}");
    }
}

/// What waited on the shelf waits in its table once the gateway has started on the database.
#[test]
fn what_waited_on_the_shelf_waits_in_its_table() {
    let Some(database) = Database::new() else { return };
    drop(database.open());
    {
        let lines = Lines::new(&database.settings()).unwrap();
        let lent = pool::Lent(Some(lines.take().unwrap()));
        let entry = r#"{"sha256":"ab","label":"row[2]","ordinal":1,"cause":"code-unmapped:|é","notes":[],"map":"x|1.0.0","first_try":4,"last_try":12}"#;
        let before = format!(
            "DROP TABLE quarantine; DELETE FROM migration WHERE name = '0005_quarantine'; \
             INSERT INTO shelf (shelf, owner, key, document) VALUES (3, 7, '', '1'), \
             (3, 7, 'ab/row[2]#1', convert_to('{entry}', 'UTF8')), (2, 7, 'ab', '12345')"
        );
        lent.line(30_000).unwrap().batch(&before).unwrap();
    }
    let store = database.open();
    let rows = read(&store, &system(), |r| r.quarantine_units(AUTHOR, "ab")).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (&*row.label, row.ordinal, &*row.cause, &*row.map, row.first_try.0, row.last_try.0, row.size)
        })
        .collect();
    assert_eq!(told, [("row[2]", 1, "code-unmapped:|é", "x|1.0.0", 4, 12, 5)]);
}

/// A record that cannot be written is refused alone, whatever was gathered with it, and the chain has no gap.
#[test]
fn a_record_that_cannot_be_written_is_refused_alone() {
    let Some(database) = Database::new() else { return };
    let store = Arc::new(database.open());
    // Organisation 13 cannot be written.
    let lines = Lines::new(&database.settings()).unwrap();
    let lent = pool::Lent(Some(lines.take().unwrap()));
    let refuse = "ALTER TABLE audit ADD CONSTRAINT unlucky CHECK (organisation <> 13)";
    lent.line(30_000).unwrap().batch(refuse).unwrap();
    let record = |n: u8| AuditRecord {
        at: NOW,
        organisation: PartyKey(if n.is_multiple_of(5) { 13 } else { 7 }),
        patients: (0..n % 3).map(|patient| PatientKey(i64::from(patient) + 1)).collect(),
        body: vec![n],
    };
    let receipts: Vec<_> = (1..=40).map(|n| (n, store.append(&permit(&system()), record(n)))).collect();
    for (n, receipt) in receipts {
        assert_eq!(wait(receipt).is_err(), n.is_multiple_of(5), "{n}");
    }
    let rows = read(&*store, &system(), |r| r.audit_chain(1, 100)).unwrap();
    assert_eq!(rows.len(), 32);
    let mut previous = [0; 32];
    for (row, sequence) in rows.iter().zip(1u64..) {
        assert_eq!(
            (row.sequence, row.hash),
            (sequence, crate::audit::chain::link(&previous, sequence, &row.body))
        );
        previous = row.hash;
    }
    let of = |patient| crate::store::AuditQuery {
        patient: Some(PatientKey(patient)),
        limit: 100,
        ..Default::default()
    };
    let (_, first) = read(&*store, &system(), |r| r.audit(&of(1))).unwrap();
    let (_, second) = read(&*store, &system(), |r| r.audit(&of(2))).unwrap();
    let due = |least: u8| (1..=40u8).filter(|n| !n.is_multiple_of(5) && n % 3 >= least).count() as u64;
    assert_eq!((first, second), (due(1), due(2)));
}

/// The contract of the log once more with index entries that are made after every record.
#[test]
fn keeps_the_contract_of_the_log_when_its_index_is_made_at_once() {
    for check in contract::ALL.iter().filter(|check| check.name.contains("audit")) {
        let Some(database) = Database::new() else { return };
        let settings = Settings { audit_tail_max: 1, ..database.settings() };
        (check.run)(&PostgresStore::open(settings).unwrap());
    }
}

/// Two gateways on one database: a withdrawal on one hides at once on the other, an assertion has one winner, versions
/// and the audit chain have one order.
#[test]
fn two_gateways_agree() {
    let Some(database) = Database::new() else { return };
    let (one, two) = std::thread::scope(|scope| {
        // Both make the tables at once.
        let one = scope.spawn(|| database.open());
        (database.open(), one.join().unwrap())
    });
    let patient = patient(&one, "p1", AUTHOR);
    let text = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"}}"#;
    create(&two, text, derived(Some(patient), AUTHOR));
    let reader = clinician(READER);
    for _ in 0..50 {
        grant(&one, patient, vec![arm(patient, READER)]);
        assert_eq!(found(&two, &reader, "Observation?patient=p1"), ["o1"]);
        grant(&one, patient, vec![]);
        assert!(found(&two, &reader, "Observation?patient=p1").is_empty());
    }
    let claimed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|n| {
                let store = if n % 2 == 0 { &one } else { &two };
                scope.spawn(move || {
                    // A conditional create: whoever finds nothing writes.
                    write(store, move |w| {
                        w.append_audit(&crate::audit::entry::AuditRecord {
                            at: NOW,
                            organisation: AUTHOR,
                            patients: vec![],
                            body: vec![n],
                        })?;
                        if w.current(kind("Basic"), &id("once"))?.is_none() {
                            let text = r#"{"resourceType":"Basic","id":"once","code":{"text":"x"}}"#;
                            put(w, text, derived(None, AUTHOR), Method::Post)?;
                        }
                        w.claim_jti("client", "j1", NOW.plus_seconds(300))
                    })
                    .unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
    });
    assert_eq!(claimed, 1);
    let stored = read(&one, &system(), |r| r.current(kind("Basic"), &id("once"))).unwrap().unwrap();
    assert_eq!(stored.version, 1);
    let rows = read(&two, &system(), |r| r.audit_chain(1, 100)).unwrap();
    let mut previous = [0; 32];
    for (row, sequence) in rows.iter().zip(1u64..) {
        assert_eq!(row.hash, crate::audit::chain::link(&previous, sequence, &row.body));
        previous = row.hash;
    }
    assert_eq!(rows.len(), 20);
}

/// A connection cut between and inside transactions: what was answered stands, what was not is whole or not there, and
/// the store goes on by itself.
#[test]
fn a_cut_connection_undoes_its_work_and_is_made_anew() {
    let Some(database) = Database::new() else { return };
    let store = database.open();
    write(&store, |w| w.shelf_put(Shelf::Original, AUTHOR, "a", b"x")).unwrap();
    database.cut();
    write(&store, |w| w.shelf_put(Shelf::Original, AUTHOR, "b", b"x")).unwrap();
    database.cut();
    let keys = || -> Vec<String> {
        let list = read(&store, &system(), |r| r.shelf_list(Shelf::Original, Some(AUTHOR), "", 9)).unwrap();
        list.into_iter().map(|(_, key, _)| key).collect()
    };
    assert_eq!(keys(), ["a", "b"]);
    let (server, name) = (database.server.clone(), database.name.clone());
    let error = write(&store, move |w| {
        w.shelf_put(Shelf::Original, AUTHOR, "half", b"x")?;
        std::mem::ManuallyDrop::new(Database { server, name }).cut();
        w.shelf_put(Shelf::Original, AUTHOR, "other half", b"x")
    })
    .unwrap_err();
    assert!(matches!(error, StoreError::Database(_)), "{error}");
    assert_eq!(keys(), ["a", "b"]);
    write(&store, |w| w.shelf_put(Shelf::Original, AUTHOR, "c", b"x")).unwrap();
    assert_eq!(keys(), ["a", "b", "c"]);
}

/// A slow query is stopped at its limit and its connection serves on; a panic inside a read gives its connection up.
#[test]
fn a_long_query_is_stopped() {
    let Some(database) = Database::new() else { return };
    let store =
        PostgresStore::open(Settings { query_ms_max: 300, readers: 1, ..database.settings() }).unwrap();
    for _ in 0..2 {
        let error = store
            .snapshot(&Filter::own_work(), |session| session.base().number("SELECT 1 FROM pg_sleep(5)", &[]))
            .unwrap_err();
        assert!(matches!(error, StoreError::Timeout(300)), "{error}");
        assert!(found(&store, &system(), "Basic?").is_empty());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = store.read(&permit(&system()), &mut |_| panic!("a reader may panic"));
        }));
        assert!(panicked.is_err());
    }
    assert!(found(&store, &system(), "Basic?").is_empty());
}

/// Texts longer than an index entry are kept and found by their beginning.
#[test]
fn a_long_text_is_stored_and_found() {
    let Some(database) = Database::new() else { return };
    let store = database.open();
    let long = "é".repeat(900);
    let text = format!(
        r#"{{"resourceType":"Patient","id":"p","name":[{{"family":"{long}"}}],"identifier":[{{"system":"urn:{long}","value":"{long}"}}]}}"#
    );
    create(&store, &text, derived(None, AUTHOR));
    assert_eq!(found(&store, &system(), &format!("Patient?family:exact={long}")), ["p"]);
    assert_eq!(found(&store, &system(), &format!("Patient?identifier=urn:{long}|{long}")), ["p"]);
    assert!(found(&store, &system(), "Patient?family:contains=a\u{0}").is_empty());
}

/// A connection that does not hold is refused, saying what to do, and no message holds the password.
#[test]
fn a_bad_connection_is_refused_with_what_to_do_and_without_the_password() {
    for (connection, said) in [
        ("host=/tmp password=geheim nonsense=1 =", "dbname="),
        ("dbname=sluis password=geheim", "names no host"),
        ("host=db.example password=geheim sslmode=disable", "a setting of its own"),
        ("host=db.example password=geheim", "needs authorities"),
    ] {
        let error = PostgresStore::open(Settings::at(connection, BASE)).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("geheim"), "{error}");
    }
}
