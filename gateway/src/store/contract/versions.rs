//! Versions, deletions, transactions, and the small tables beside the resources.

use std::sync::Barrier;

use super::world::*;
use crate::audit::chain;
use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::store::{Checkpoint, Method, Shelf, Store, StoreError};

const AUTHOR: PartyKey = PartyKey(7);

fn basic(id: &str, text: &str) -> String {
    format!(r#"{{"resourceType":"Basic","id":"{id}","code":{{"text":"{text}"}}}}"#)
}

/// Each put is one more version; the latest is current, the others read by number.
pub fn versions_count_up_and_history_reads_newest_first(store: &dyn Store) {
    for text in ["one", "two", "three"] {
        let body = basic("b", text);
        let method = if text == "one" { Method::Post } else { Method::Put };
        write(store, move |writer| put(writer, &body, derived(None, AUTHOR), method)).unwrap();
    }
    let (kind, id) = (kind("Basic"), id("b"));
    let current = read(store, &system(), |r| r.current(kind, &id)).unwrap().unwrap();
    assert_eq!((current.version, current.method), (3, Method::Put));
    assert_eq!(&*current.body, basic("b", "three").as_bytes());
    let first = read(store, &system(), |r| r.version(kind, &id, 1)).unwrap().unwrap();
    assert_eq!((&*first.body, first.method), (basic("b", "one").as_bytes(), Method::Post));
    assert!(read(store, &system(), |r| r.version(kind, &id, 4)).unwrap().is_none());

    let (page, total) = history(store, &system(), kind, &id, None, 2);
    assert_eq!((page.iter().map(|v| v.version).collect::<Vec<_>>(), total), (vec![3, 2], 3));
    let (page, total) = history(store, &system(), kind, &id, page.last(), 2);
    assert_eq!((page.iter().map(|v| v.version).collect::<Vec<_>>(), total), (vec![1], 3));
}

/// A deleted resource is a version without body; it is in no search, and comes back with a further version.
pub fn a_deletion_leaves_a_mark_and_its_past(store: &dyn Store) {
    let author = clinician(AUTHOR);
    create(store, &basic("b", "one"), derived(None, AUTHOR));
    assert_eq!(found(store, &author, "Basic?"), ["b"]);
    let wrong = derived(None, PartyKey(8));
    write(store, move |writer| put(writer, &basic("b", ""), wrong, Method::Delete)).unwrap();

    let (kind, id) = (kind("Basic"), id("b"));
    let mark = read(store, &author, |r| r.current(kind, &id)).unwrap().unwrap();
    assert!(mark.deleted && mark.body.is_empty() && mark.version == 2);
    assert_eq!(mark.derived.author, AUTHOR, "a mark is seen by whoever saw what it deleted");
    assert!(found(store, &author, "Basic?").is_empty());
    assert!(found(store, &author, "Basic?_id=b").is_empty());
    assert_eq!(search(store, &author, "Basic?_summary=count").total, Some(0));
    assert!(!read(store, &author, |r| r.version(kind, &id, 1)).unwrap().unwrap().deleted);
    assert!(read(store, &nobody(), |r| r.current(kind, &id)).unwrap().is_none());

    write(store, move |writer| put(writer, &basic("b", "again"), derived(None, AUTHOR), Method::Put))
        .unwrap();
    assert_eq!(found(store, &author, "Basic?"), ["b"]);
    assert_eq!(history(store, &author, kind, &id, None, 9).1, 3);
}

/// A put must be exactly one version further.
pub fn a_version_out_of_turn_is_refused(store: &dyn Store) {
    let record = |version, method| {
        write(store, move |writer| {
            writer.put(&crate::store::Record {
                kind: kind("Basic"),
                id: &id("b"),
                version,
                updated: NOW,
                method,
                derived: derived(None, AUTHOR),
                body: b"{}",
                entries: &[],
                root: None,
            })
        })
    };
    assert!(matches!(record(2, Method::Put), Err(StoreError::Refused(_))));
    assert!(matches!(record(1, Method::Delete), Err(StoreError::Refused(_))), "nothing to delete");
    record(1, Method::Post).unwrap();
    assert!(matches!(record(1, Method::Post), Err(StoreError::Refused(_))));
    record(2, Method::Put).unwrap();
}

/// Works that share a commit stand or fall each on its own.
pub fn a_failing_or_panicking_work_is_undone_alone(store: &dyn Store) {
    let results: Vec<Result<(), StoreError>> = wait(async {
        let receipts: Vec<_> = (0..30)
            .map(|n| {
                store.write(
                    permit(&system()),
                    Box::new(move |writer| {
                        let text = format!(
                            r#"{{"resourceType":"Basic","id":"b{n}","code":{{"coding":[{{"system":"urn:s{n}","code":"c"}}]}}}}"#
                        );
                        put(writer, &text, derived(None, AUTHOR), Method::Post)?;
                        match n % 3 {
                            0 => Ok(()),
                            1 => Err(StoreError::Ambiguous),
                            _ => panic!("a work may panic"),
                        }
                    }),
                )
            })
            .collect();
        let mut results = Vec::new();
        for receipt in receipts {
            results.push(receipt.await);
        }
        results
    });
    for (n, result) in results.iter().enumerate() {
        match n % 3 {
            0 => assert!(result.is_ok(), "{n}: {result:?}"),
            1 => assert!(matches!(result, Err(StoreError::Ambiguous)), "{n}: {result:?}"),
            _ => assert!(matches!(result, Err(StoreError::Database(_))), "{n}: {result:?}"),
        }
        let kept = read(store, &system(), |r| r.current(kind("Basic"), &id(&format!("b{n}")))).unwrap();
        assert_eq!(kept.is_some(), n % 3 == 0, "{n}");
    }
    // What undone works interned is not taken for known afterwards.
    create(
        store,
        r#"{"resourceType":"Basic","id":"z","code":{"coding":[{"system":"urn:s1","code":"c"}]}}"#,
        derived(None, AUTHOR),
    );
    assert_eq!(found(store, &system(), "Basic?code=urn:s1|c"), ["z"]);
    assert_eq!(found(store, &system(), "Basic?code=urn:s3|c"), ["b3"]);
}

/// RFC 7523 section 3: an assertion is good once, however many try at once.
pub fn an_assertion_id_has_one_winner_among_fifty(store: &dyn Store) {
    let claim = |issuer: &'static str, expires: Timestamp| {
        write(store, move |writer| writer.claim_jti(issuer, "j1", expires)).unwrap()
    };
    let barrier = Barrier::new(50);
    let winners = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    claim("client", NOW.plus_seconds(300))
                })
            })
            .collect();
        threads.into_iter().filter(|_| true).map(|thread| u32::from(thread.join().unwrap())).sum::<u32>()
    });
    assert_eq!(winners, 1);
    assert!(!claim("client", NOW.plus_seconds(600)));
    assert!(claim("other", NOW), "another issuer's number is another");
    assert!(claim("other", NOW.plus_seconds(1)), "an expired one is free");
    assert!(!claim("other", NOW.plus_seconds(1)));
}

/// Sequence numbers from 1, each hash over its predecessor; a work undone leaves no number behind.
pub fn the_audit_chain_has_no_gap(store: &dyn Store) {
    let record = |n: u8| AuditRecord {
        at: Timestamp(NOW.0 + i64::from(n)),
        organisation: AUTHOR,
        patients: vec![crate::ids::PatientKey(1), crate::ids::PatientKey(1)],
        body: vec![n; 3],
    };
    assert_eq!(read(store, &system(), |r| r.audit_head()).unwrap(), (0, [0; 32]));
    for n in 1..=5 {
        let record = record(n);
        assert_eq!(write(store, move |w| w.append_audit(&record)).unwrap(), u64::from(n));
        let undone: Result<(), _> = write(store, move |w| {
            w.append_audit(&AuditRecord { at: NOW, organisation: AUTHOR, patients: vec![], body: vec![9] })?;
            Err(StoreError::Ambiguous)
        });
        assert!(undone.is_err());
    }
    let rows = read(store, &system(), |r| r.audit_chain(1, 100)).unwrap();
    let mut previous = [0; 32];
    for (row, sequence) in rows.iter().zip(1u64..) {
        assert_eq!(row.sequence, sequence);
        assert_eq!(row.hash, chain::link(&previous, sequence, &row.body));
        previous = row.hash;
    }
    assert_eq!(rows.len(), 5);
    assert_eq!(read(store, &system(), |r| r.audit_head()).unwrap(), (5, previous));
    assert_eq!(read(store, &system(), |r| r.audit_chain(4, 1)).unwrap().first().unwrap().sequence, 4);

    let note = Checkpoint { sequence: 5, note: "sluis.example\n5\n".to_owned() };
    let kept = note.clone();
    write(store, move |w| w.append_checkpoint(&kept)).unwrap();
    assert_eq!(read(store, &system(), |r| r.checkpoints()).unwrap(), [note]);
}

/// A shelf is a map of owner and key; listing goes by key.
pub fn shelves_keep_by_owner_and_key(store: &dyn Store) {
    let (one, two) = (PartyKey(1), PartyKey(2));
    write(store, move |w| {
        w.shelf_put(Shelf::Receipt, one, "b", b"first")?;
        w.shelf_put(Shelf::Receipt, one, "b", b"second")?;
        w.shelf_put(Shelf::Receipt, one, "a", b"")?;
        w.shelf_put(Shelf::Receipt, two, "c", b"other")?;
        w.shelf_put(Shelf::Secret, one, "b", b"elsewhere")
    })
    .unwrap();
    let get = |owner, key| read(store, &system(), |r| r.shelf_get(Shelf::Receipt, owner, key)).unwrap();
    assert_eq!(get(one, "b").as_deref(), Some(&b"second"[..]));
    assert_eq!(get(two, "b"), None);
    let keys = |owner, after, limit| -> Vec<String> {
        let list = read(store, &system(), |r| r.shelf_list(Shelf::Receipt, owner, after, limit)).unwrap();
        list.into_iter().map(|(_, key, _)| key).collect()
    };
    assert_eq!(keys(Some(one), "", 10), ["a", "b"]);
    assert_eq!(keys(Some(one), "a", 10), ["b"]);
    assert_eq!(keys(None, "", 2), ["a", "b"]);
    assert!(write(store, move |w| w.shelf_remove(Shelf::Receipt, one, "b")).unwrap());
    assert!(!write(store, move |w| w.shelf_remove(Shelf::Receipt, one, "b")).unwrap());
    assert_eq!(get(one, "b"), None);
}

/// A BSN leads to its patient; two patients with one BSN to nobody.
pub fn an_identifier_finds_its_patient_or_is_ambiguous(store: &dyn Store) {
    let bsn = crate::ids::SYSTEM_BSN;
    let person = |id: &str, number: &str| {
        format!(
            r#"{{"resourceType":"Patient","id":"{id}","identifier":[{{"system":"{bsn}","value":"{number}"}},{{"value":"9"}}]}}"#
        )
    };
    let key = create(store, &person("p1", "999911120"), derived(None, AUTHOR));
    let find = |number: &str| read(store, &system(), |r| r.patient_by_identifier(bsn, number));
    assert_eq!(
        find("999911120").unwrap().map(|(key, id)| (key.0, id.to_string())),
        Some((key, "p1".to_owned()))
    );
    assert_eq!(find("999911132").unwrap(), None);
    assert_eq!(find("9").unwrap(), None, "a number without a system is not of this one");
    create(store, &person("p2", "999911120"), derived(None, AUTHOR));
    assert!(matches!(find("999911120"), Err(StoreError::Ambiguous)));

    assert_eq!(store.patient_key(&id("p1")).unwrap().map(|key| key.0), Some(key));
    assert_eq!(store.patient_key(&id("p9")).unwrap(), None);
    assert_eq!(
        read(store, &system(), |r| r.patient_id(crate::ids::PatientKey(key))).unwrap(),
        Some(id("p1"))
    );
    let own =
        |filter| read(store, &filter, |r| r.own_by_identifier(kind("Patient"), bsn, "999911120")).unwrap();
    assert_eq!(own(clinician(AUTHOR)).unwrap().id, id("p1"));
    assert!(own(clinician(PartyKey(8))).is_none());
    assert!(own(system()).is_none(), "visible is not own");
}

/// A party's key is given once.
pub fn the_store_answers_its_readiness_check(store: &dyn Store) {
    store.check().unwrap();
    let key = store.party("ura:90000382").unwrap();
    assert_ne!(key, store.party("kind:gp").unwrap());
    assert_eq!(key, store.party("ura:90000382").unwrap());
    assert_eq!(key, write(store, |w| w.party("ura:90000382")).unwrap());
    assert!(key.0 > 0, "0 names no party");
}
