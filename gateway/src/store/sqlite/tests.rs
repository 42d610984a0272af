//! The contract, and what only this store has: plans, crashes, a full disk.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it did not expect")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::decision::filter::Arm;
use crate::search::plan::Segment;
use crate::search::sql;
use crate::store::contract;
use crate::store::contract::world::*;
use crate::store::visible::Visible;
use crate::store::{AuditQuery, Method, Shelf};

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluis-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn settings(&self) -> Settings {
        Settings { readers: 2, ..Settings::at(self.0.join("sluis.db"), BASE) }
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.settings()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn keeps_the_contract() {
    let mut broken = Vec::new();
    for check in contract::ALL {
        let folder = Folder::new();
        let store = folder.open();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (check.run)(&store)));
        if result.is_err() {
            broken.push(check.name);
        }
    }
    assert!(broken.is_empty(), "the contract broke at: {broken:?}");
}

const AUTHOR: PartyKey = PartyKey(7);
const READER: PartyKey = PartyKey(8);

/// The whole contract once more with a log whose index entries are made after every commit.
#[test]
fn keeps_the_contract_of_the_log_when_its_index_is_made_at_once() {
    for check in contract::ALL.iter().filter(|check| check.name.contains("audit")) {
        let folder = Folder::new();
        let store = SqliteStore::open(Settings { audit_tail_max: 1, ..folder.settings() }).unwrap();
        (check.run)(&store);
    }
}

#[test]
fn the_log_reads_alike_before_and_after_its_index_is_made() {
    let folder = Folder::new();
    let touched = |n: i64| match n % 4 {
        0 => vec![],
        1 => vec![PatientKey(1)],
        2 => vec![PatientKey(1), PatientKey(2)],
        _ => vec![PatientKey(2)],
    };
    let organisation = |n: i64| if n % 3 == 0 { AUTHOR } else { READER };
    let agrees = |store: &SqliteStore, last: i64| {
        let expected =
            |wanted: &dyn Fn(i64) -> bool| (1..=last).rev().filter(|n| wanted(*n)).collect::<Vec<_>>();
        let rows = |filter: Filter, query: AuditQuery| {
            let query = AuditQuery { limit: 100, ..query };
            let (rows, total) = read(store, &filter, |r| r.audit(&query)).unwrap();
            assert_eq!(rows.len() as u64, total);
            rows.iter().map(|row| i64::try_from(row.sequence).unwrap()).collect::<Vec<_>>()
        };
        for patient in [PatientKey(1), PatientKey(2)] {
            let of = AuditQuery { patient: Some(patient), ..AuditQuery::default() };
            let touches = expected(&|n| touched(n).contains(&patient));
            assert_eq!(rows(system(), of.clone()), touches);
            assert_eq!(rows(Filter { self_patient: Some(patient), ..nobody() }, of), touches);
        }
        assert_eq!(
            rows(system(), AuditQuery { patient: Some(PatientKey(0)), ..AuditQuery::default() }),
            [0; 0]
        );
        let of = AuditQuery { organisation: Some(AUTHOR), ..AuditQuery::default() };
        assert_eq!(rows(clinician(AUTHOR), of), expected(&|n| organisation(n) == AUTHOR));
    };
    let indexed = |store: &SqliteStore| -> i64 {
        let text = "SELECT value FROM counter WHERE name = 'audit_indexed'";
        store.readers.with(|line| Ok(line.connection.query_row(text, [], |row| row.get(0))?)).unwrap()
    };
    let append = |store: &SqliteStore, n: i64| {
        let record = AuditRecord {
            at: NOW,
            organisation: organisation(n),
            patients: touched(n),
            body: vec![u8::try_from(n).unwrap()],
        };
        wait(store.append(&permit(&system()), record)).unwrap();
    };
    let (mut first, mut last) = (i64::MAX, 0);
    {
        let store = SqliteStore::open(Settings { audit_tail_max: 5, ..folder.settings() }).unwrap();
        for n in 1..=13 {
            append(&store, n);
            agrees(&store, n);
            (first, last) = (first.min(indexed(&store)), indexed(&store));
        }
        assert_eq!((first, last / 5), (0, 2), "the entries were made in between");
    }
    // What an earlier run left waiting is counted at the first commit.
    let store = SqliteStore::open(Settings { audit_tail_max: 2, ..folder.settings() }).unwrap();
    agrees(&store, 13);
    append(&store, 14);
    // The first moves it out of the journal, and the second comes after the entries that are then made.
    store.check().unwrap();
    store.check().unwrap();
    assert_eq!(indexed(&store), 14);
    agrees(&store, 14);
}

/// What SQLite says it will do, one step a line.
fn explained(
    store: &SqliteStore,
    filter: &Filter,
    query: &str,
    segment: Segment,
    arms: &[Arm],
) -> Vec<String> {
    let plan = planned(query, filter);
    let patient = plan.patient.as_ref().map(|_| PatientKey(1));
    let visible = match patient {
        Some(patient) => Visible::granted(filter, patient, arms, &[]),
        None => Visible::probed(filter),
    };
    let writer = sql::Writer {
        plan: &plan,
        names: &*store.names,
        dialect: sql::Dialect::Sqlite,
        visible: &visible,
        patient,
        beside: session::COLUMNS,
    };
    let page = match writer.values(0, None, None, 21) {
        Some((walked, _)) if segment == Segment::Sorted => walked,
        _ => writer.page(segment, None, 21),
    };
    store
        .readers
        .with(|line| {
            let mut statement = line.connection.prepare(&format!("EXPLAIN QUERY PLAN {}", page.text))?;
            let steps = statement
                .query_map(rusqlite::params_from_iter(page.bound()), |row| row.get::<_, String>(3))?
                .collect::<Result<Vec<_>, _>>()?;
            // SQLite may run an EXISTS as a loop that stops at its first row: the same seek.
            Ok(steps.into_iter().map(|step| step.replace(" EXISTS USING", " USING")).collect())
        })
        .unwrap()
}

/// The join order and the index of every search shape care asks for; whatever the statistics say.
#[test]
fn plans_are_pinned() {
    let folder = Folder::new();
    let store = folder.open();
    let table: &[(&str, Segment, &[&str])] = &[
        (
            "Observation?patient=p1&code=urn:c|c&_sort=-date&_count=20",
            Segment::Sorted,
            &[
                "MATERIALIZE m",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "LIST SUBQUERY",
                "SEARCH d USING COVERING INDEX index_token_value (facet=? AND code=? AND patient=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=?",
                "SCAN m",
                "USE TEMP B-TREE FOR ORDER BY",
            ],
        ),
        (
            "Observation?patient=p1&_sort=-date&_count=20",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_date_patient (patient=? AND facet=?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=?",
            ],
        ),
        (
            "Observation?patient=p1&_sort=-date&_count=20",
            Segment::Missing,
            &[
                "SEARCH r USING INDEX resource_patient (patient=? AND kind=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=?",
            ],
        ),
        (
            "Observation?_sort=-date&_count=20",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_date_value (facet=?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH g USING PRIMARY KEY (patient=? AND purpose=? AND recipient=?)",
            ],
        ),
        (
            "Observation?code=urn:c|c&_count=20",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_token_value (facet=? AND code=?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH g USING PRIMARY KEY (patient=? AND purpose=? AND recipient=?)",
            ],
        ),
        (
            "Observation?date=eq2025-03",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_date_value (facet=? AND low>? AND low<?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=?",
            ],
        ),
        (
            "Observation?date=ge2025-03",
            Segment::Sorted,
            &["SEARCH d USING COVERING INDEX index_date_value (facet=?)"],
        ),
        (
            "Observation?value-quantity=lt5",
            Segment::Sorted,
            &["SEARCH d USING COVERING INDEX index_quantity_value (facet=? AND low<?)"],
        ),
        (
            "Observation?category=urn:c|",
            Segment::Sorted,
            &["SEARCH d USING COVERING INDEX index_token_system (facet=? AND system=?)"],
        ),
        (
            "Observation?value-quantity=2100|http://unitsofmeasure.org|mL",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_quantity_canonical (facet=? AND code=? AND low>? AND low<?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH g USING PRIMARY KEY (patient=? AND purpose=? AND recipient=?)",
            ],
        ),
        (
            "Observation?_count=20",
            Segment::Sorted,
            &[
                "SEARCH r USING INDEX resource_kind (kind=?)",
                "SEARCH g USING PRIMARY KEY (patient=? AND purpose=? AND recipient=?)",
            ],
        ),
        (
            "Patient?family=jan",
            Segment::Sorted,
            &[
                "SEARCH d USING COVERING INDEX index_string_value (facet=? AND value>? AND value<?)",
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH g USING PRIMARY KEY",
            ],
        ),
        (
            "Observation?patient.identifier=urn:m|1",
            Segment::Sorted,
            &[
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH r1 USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH d USING COVERING INDEX index_token_value (facet=? AND code=?)",
                "SEARCH e1 USING COVERING INDEX index_reference_value (facet=? AND id=? AND kind=?)",
            ],
        ),
        (
            "Observation?patient.gender=female",
            Segment::Sorted,
            &[
                "SEARCH r USING INDEX resource_kind (kind=?)",
                "SEARCH e1 USING PRIMARY KEY (row=? AND facet=? AND part=?)",
                "SEARCH r1 USING INDEX resource_id (kind=? AND id=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=? AND code=?)",
            ],
        ),
        (
            "Patient?_has:Observation:patient:code=urn:c|c",
            Segment::Sorted,
            &[
                "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH r1 USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH d USING COVERING INDEX index_token_value (facet=? AND code=?)",
                "SEARCH e1 USING PRIMARY KEY (row=? AND facet=? AND part=?)",
                "SEARCH f1 USING COVERING INDEX resource_id (kind=? AND id=?)",
            ],
        ),
        (
            "Patient?_id=p1&_has:Observation:patient:code=urn:c|c",
            Segment::Sorted,
            &[
                "SEARCH r USING INDEX resource_id (kind=? AND id=?)",
                "SEARCH e1 USING COVERING INDEX index_reference_value (facet=? AND id=? AND kind=?)",
                "SEARCH r1 USING INTEGER PRIMARY KEY (rowid=?)",
                "SEARCH t USING PRIMARY KEY (row=? AND facet=? AND part=? AND code=?",
            ],
        ),
        (
            "Observation?_sort=-_lastUpdated",
            Segment::Sorted,
            &["SEARCH r USING INDEX resource_updated (kind=?)", "SEARCH g USING PRIMARY KEY"],
        ),
    ];
    let filter = clinician(READER);
    let arms = [arm(PatientKey(1), READER)];
    let check = |when: &str| {
        for (query, segment, expected) in table {
            let steps = explained(&store, &filter, query, *segment, &arms);
            let mut rest = steps.iter();
            for wanted in *expected {
                assert!(rest.any(|step| step.contains(wanted)), "{when} {query}: no {wanted} in {steps:#?}");
            }
            let scans: Vec<_> = steps.iter().filter(|s| s.starts_with("SCAN") && *s != "SCAN m").collect();
            assert!(scans.is_empty(), "{when} {query}: {scans:?}");
            // An order that an index gives is not sorted again.
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            assert_eq!(
                sorts,
                expected.iter().any(|step| step.contains("TEMP B-TREE")),
                "{when} {query}: {steps:#?}"
            );
        }
    };
    check("empty");
    // Statistics that invite the wrong order: many rows, one grant.
    let patient = patient(&store, "p1", AUTHOR);
    write(&store, move |w| {
        w.replace_arms(patient, &[arm(patient, READER)])?;
        for n in 0..500 {
            let text = format!(
                r#"{{"resourceType":"Observation","id":"o{n}","effectiveDateTime":"2025","code":{{"coding":[{{"system":"urn:c","code":"c"}}]}},"subject":{{"reference":"Patient/p1"}}}}"#
            );
            put(w, &text, derived(Some(patient), AUTHOR), Method::Post)?;
        }
        Ok(())
    })
    .unwrap();
    let line = Line::open(&folder.settings(), true).unwrap();
    line.connection.execute_batch("ANALYZE").unwrap();
    drop(store);
    let store = folder.open();
    let check_again = |query: &str, segment, expected: &[&str]| {
        let steps = explained(&store, &filter, query, segment, &arms);
        let mut rest = steps.iter();
        expected.iter().all(|wanted| rest.any(|step| step.contains(wanted)))
    };
    for (query, segment, expected) in table {
        assert!(check_again(query, *segment, expected), "with statistics: {query}");
    }
}

/// A search nobody has a grant for reads no resource: it answers from the grants alone.
#[test]
fn nothing_granted_and_nothing_own_touches_no_row() {
    let granted = Filter { own: false, ..clinician(READER) };
    let other = [arm(PatientKey(1), PartyKey(55)), Arm { purpose: 9, ..arm(PatientKey(1), READER) }];
    assert!(Visible::granted(&granted, PatientKey(1), &other, &[]).nothing());
    assert!(!Visible::granted(&granted, PatientKey(1), &[arm(PatientKey(1), READER)], &[]).nothing());
    assert!(!Visible::granted(&clinician(READER), PatientKey(1), &[], &[]).nothing());
}

/// Every write answered before a `kill -9` is there afterwards, whole.
#[test]
fn acknowledged_writes_survive_a_kill() {
    const FOLDER: &str = "SLUIS_TEST_CRASH_FOLDER";
    let basic =
        |n: u32| format!(r#"{{"resourceType":"Basic","id":"b{n}","code":{{"coding":[{{"code":"c{n}"}}]}}}}"#);
    if let Some(path) = std::env::var_os(FOLDER) {
        // The child: writes until it is killed, noting each answer.
        let folder = std::mem::ManuallyDrop::new(Folder(path.into()));
        let store = folder.open();
        let mut notes = std::fs::File::create(folder.0.join("answered")).unwrap();
        for n in 0.. {
            let text = basic(n);
            write(&store, move |w| {
                put(w, &text, derived(None, AUTHOR), Method::Post)?;
                w.append_audit(&crate::audit::entry::AuditRecord {
                    at: NOW,
                    organisation: AUTHOR,
                    patients: vec![],
                    body: n.to_be_bytes().to_vec(),
                })
            })
            .unwrap();
            std::io::Write::write_all(&mut notes, &n.to_be_bytes()).unwrap();
        }
    }
    for round in 0..3u32 {
        let folder = Folder::new();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::acknowledged_writes_survive_a_kill"])
            .env(FOLDER, &folder.0)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let answered = || std::fs::read(folder.0.join("answered")).unwrap_or_default().len() / 4;
        let wanted = 40 + usize::try_from(round).unwrap() * 37;
        while answered() < wanted {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let answered = u32::try_from(answered()).unwrap();
        let store = folder.open();
        for n in 0..answered {
            let kept = read(&store, &system(), |r| r.current(kind("Basic"), &id(&format!("b{n}"))))
                .unwrap()
                .unwrap();
            assert_eq!(&*kept.body, basic(n).as_bytes());
            assert_eq!(found(&store, &system(), &format!("Basic?code=c{n}")), [format!("b{n}")]);
        }
        // One write may have been durable and not yet answered; it is whole too, with its record.
        let (records, _) = read(&store, &system(), |r| r.audit_head()).unwrap();
        let rows = search(&store, &system(), "Basic?_summary=count").total.unwrap();
        assert_eq!(records, rows);
        assert!(rows == u64::from(answered) || rows == u64::from(answered) + 1, "{rows} of {answered}");
        let sound: String = Line::open(&folder.settings(), false)
            .unwrap()
            .connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
    }
}

/// A store whose writing connection was prepared by the test.
fn with_writer(folder: &Folder, prepare: impl FnOnce(&Line)) -> SqliteStore {
    drop(folder.open());
    let settings = Arc::new(folder.settings());
    let mut line = Line::open(&settings, true).unwrap();
    let names = Arc::new(line.names().unwrap());
    let readers = Pool::open(&settings).unwrap();
    prepare(&line);
    let writer = Arc::new(pen::start(line, Arc::clone(&names), Arc::clone(&settings), None).unwrap());
    SqliteStore { journal: None, writer, readers, names, settings, parties: Parties::default() }
}

/// A full disk refuses writes as such, undoes them whole, and reads go on.
#[test]
fn a_full_disk_refuses_writes_and_reads_go_on() {
    let folder = Folder::new();
    let store = with_writer(&folder, |line| {
        let pages: i64 = line.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        line.connection
            .query_row(&format!("PRAGMA max_page_count = {}", pages + 20), [], |_| Ok(()))
            .unwrap();
    });
    write(&store, |w| w.shelf_put(Shelf::Original, AUTHOR, "small", b"x")).unwrap();
    let large = |key: &'static str| {
        write(&store, move |w| {
            w.shelf_put(Shelf::Original, AUTHOR, "before", b"x")?;
            w.shelf_put(Shelf::Original, AUTHOR, key, &vec![7; 1_000_000])
        })
    };
    for _ in 0..2 {
        let error = large("large").unwrap_err();
        assert!(matches!(error, StoreError::DiskFull(_)), "{error}");
        let keys = read(&store, &system(), |r| r.shelf_list(Shelf::Original, Some(AUTHOR), "", 9)).unwrap();
        assert_eq!(keys.iter().map(|(_, key, _)| key.as_str()).collect::<Vec<_>>(), ["small"]);
    }
    write(&store, |w| w.shelf_put(Shelf::Original, AUTHOR, "after", b"x")).unwrap();
}

/// A database that cannot be written says so at the readiness check.
#[test]
fn a_read_only_database_fails_its_check_and_reads_go_on() {
    let folder = Folder::new();
    let store = with_writer(&folder, |line| line.connection.pragma_update(None, "query_only", true).unwrap());
    let error = store.check().unwrap_err();
    assert!(matches!(error, StoreError::DiskFull(_)), "{error}");
    assert!(found(&store, &system(), "Basic?").is_empty());
}

/// A query past its limit is stopped, its connection serves on.
#[test]
fn a_long_query_is_stopped() {
    let folder = Folder::new();
    let store = SqliteStore::open(Settings { query_ms_max: 50, readers: 1, ..folder.settings() }).unwrap();
    let endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    let error =
        store.snapshot(&Filter::own_work(), |session| session.base().number(endless, &[])).unwrap_err();
    assert!(matches!(error, StoreError::Timeout(50)), "{error}");
    assert!(found(&store, &system(), "Basic?").is_empty());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = store.read(&permit(&system()), &mut |_| panic!("a reader may panic"));
    }));
    assert!(panicked.is_err());
    assert!(found(&store, &system(), "Basic?").is_empty(), "the only connection came back");
}

/// Readers that wait for the only connection each get it, and none sleeps on.
#[test]
fn who_waits_for_a_connection_is_woken() {
    let folder = Folder::new();
    let store = SqliteStore::open(Settings { readers: 1, ..folder.settings() }).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    store
                        .snapshot(&Filter::own_work(), |session| {
                            // Long enough for the others to come and wait.
                            std::thread::yield_now();
                            session.mark()
                        })
                        .unwrap();
                }
            });
        }
    });
}

/// More waiting writes than the queue holds are answered at once.
#[test]
fn a_full_queue_is_busy() {
    let folder = Folder::new();
    let store = SqliteStore::open(Settings { queue_max: 1, group_max: 1, ..folder.settings() }).unwrap();
    let (go, wait_for) = std::sync::mpsc::channel::<()>();
    let (entered, inside) = std::sync::mpsc::channel::<()>();
    let first = store.write(
        permit(&system()),
        Box::new(move |_| {
            entered.send(()).unwrap();
            wait_for.recv().unwrap();
            Ok(())
        }),
    );
    inside.recv().unwrap();
    let second = store.write(permit(&system()), Box::new(|_| Ok(())));
    let third = store.write(permit(&system()), Box::new(|_| Ok(())));
    assert!(matches!(wait(third), Err(StoreError::Busy)));
    go.send(()).unwrap();
    wait(first).unwrap();
    wait(second).unwrap();
}

/// While a grant comes and goes, no read that starts after the answer sees the state before it.
#[test]
fn no_read_after_a_withdrawal_sees_the_row() {
    use std::sync::atomic::AtomicBool;
    let folder = Folder::new();
    let store = folder.open();
    let patient = patient(&store, "p1", AUTHOR);
    let text = r#"{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"}}"#;
    create(&store, text, derived(Some(patient), AUTHOR));
    // Even: granted. Odd: withdrawn, and answered so. Bumped before a grant is asked and after a withdrawal is answered.
    let epoch = AtomicU32::new(1);
    let done = AtomicBool::new(false);
    let reader = clinician(READER);
    let (mut reads, mut stale) = (0u32, 0u32);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..150 {
                epoch.fetch_add(1, Ordering::SeqCst);
                grant(&store, patient, vec![arm(patient, READER)]);
                grant(&store, patient, vec![]);
                epoch.fetch_add(1, Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let before = epoch.load(Ordering::SeqCst);
            let seen = !found(&store, &reader, "Observation?patient=p1").is_empty();
            let after = epoch.load(Ordering::SeqCst);
            reads += 1;
            stale += u32::from(seen && before == after && before % 2 == 1);
        }
    });
    assert!(reads > 0);
    assert_eq!(stale, 0, "of {reads} reads");
}
