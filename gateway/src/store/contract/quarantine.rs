//! What waits for mending: in order of arrival, by cause, in pages, and set aside and back.

use bytes::Bytes;

use super::world::*;
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::store::Store;
use crate::store::quarantine::{QuarantineQuery, QuarantineRow};

const ONE: PartyKey = PartyKey(7);
const OTHER: PartyKey = PartyKey(8);

fn row(sha256: &str, label: &str, cause: &str, first_try: i64) -> QuarantineRow {
    QuarantineRow {
        sha256: sha256.to_owned(),
        label: label.to_owned(),
        ordinal: 0,
        cause: cause.to_owned(),
        map: "lab|1.0.0".to_owned(),
        first_try: Timestamp(first_try),
        last_try: Timestamp(first_try + 5),
        size: 10,
        document: Bytes::from(format!("{label} of {sha256}")),
        discard: None,
    }
}

fn filled(store: &dyn Store) {
    write(store, |w| {
        for (sha256, label, cause, first_try) in
            [("c", "x", "slow", 1), ("a", "x", "often", 2), ("a", "y", "often", 2), ("b", "", "often", 3)]
        {
            w.quarantine_put(ONE, &row(sha256, label, cause, first_try))?;
        }
        w.quarantine_put(OTHER, &row("a", "x", "often", 1))
    })
    .unwrap();
}

fn query(cause: Option<&str>) -> QuarantineQuery<'_> {
    QuarantineQuery { sender: ONE, discarded: false, cause }
}

/// Documents come as they arrived, page after page, with how many are left; of a cause its own.
pub fn what_waits_is_paged_in_order_of_arrival(store: &dyn Store) {
    filled(store);
    let page = |cause: Option<&str>, after: Option<(Timestamp, &str)>, limit| {
        let (found, left) =
            read(store, &system(), |r| r.quarantine_documents(query(cause), after, limit)).unwrap();
        let found: Vec<_> = found.into_iter().map(|d| (d.first_try.0, d.sha256, d.units)).collect();
        (found, left)
    };
    let of = |at: i64, sha256: &str, units| (at, sha256.to_owned(), units);
    assert_eq!(page(None, None, 2), (vec![of(1, "c", 1), of(2, "a", 2)], 1));
    assert_eq!(page(None, Some((Timestamp(2), "a")), 2), (vec![of(3, "b", 1)], 0));
    assert_eq!(page(Some("often"), None, 1), (vec![of(2, "a", 2)], 1));
    assert_eq!(page(Some("never"), None, 1), (vec![], 0));
}

/// Causes come with their counts, the most frequent first.
pub fn what_waits_is_counted_by_cause(store: &dyn Store) {
    filled(store);
    let causes = |after: Option<(u64, &str)>, limit| {
        read(store, &system(), |r| r.quarantine_causes(query(None), after, limit)).unwrap()
    };
    let first = causes(None, 1);
    let one = first.first().unwrap();
    assert_eq!(
        (&*one.cause, one.units, one.documents, one.first_try.0, one.last_try.0),
        ("often", 3, 2, 2, 8)
    );
    let rest = causes(Some((3, "often")), 5);
    assert_eq!(rest.iter().map(|cause| &*cause.cause).collect::<Vec<_>>(), ["slow"]);
    let depth = read(store, &system(), |r| r.quarantine_depth(query(None))).unwrap();
    assert_eq!((depth.units, depth.causes, depth.oldest), (4, 2, Some(Timestamp(1))));
    assert_eq!(read(store, &system(), |r| r.quarantine_bytes(query(None))).unwrap(), 30);
    let maps = read(store, &system(), |r| r.quarantine_maps(query(Some("often")), 5)).unwrap();
    assert_eq!(maps, ["lab|1.0.0"]);
    let example = read(store, &system(), |r| r.quarantine_example(query(Some("often")))).unwrap().unwrap();
    assert_eq!((&*example.sha256, &*example.label), ("a", "x"));
}

/// What is set aside waits no more, keeps who and why, is not overwritten, and waits again when it is taken back.
pub fn what_waits_is_set_aside_and_taken_back(store: &dyn Store) {
    filled(store);
    let units = || read(store, &system(), |r| r.quarantine_units(ONE, "a")).unwrap();
    let aside = |label: Option<&'static str>, cause: Option<&'static str>, why: Option<&'static str>| {
        write(store, move |w| w.quarantine_discard(ONE, "a", cause, label, why)).unwrap()
    };
    assert_eq!(aside(Some("y"), None, Some("a test")), 1);
    assert_eq!(aside(Some("y"), None, Some("again")), 0);
    let marks: Vec<_> = units().into_iter().map(|row| (row.label, row.discard)).collect();
    assert_eq!(marks, [("x".to_owned(), None), ("y".to_owned(), Some("a test".to_owned()))]);
    assert!(!write(store, |w| w.quarantine_remove(ONE, "a", "y", 0)).unwrap(), "it is not taken off");
    write(store, |w| w.quarantine_put(ONE, &row("a", "y", "other", 9))).unwrap();
    assert_eq!(units().get(1).map(|row| &*row.cause), Some("often"));
    let discarded = QuarantineQuery { discarded: true, ..query(None) };
    assert_eq!(read(store, &system(), |r| r.quarantine_depth(discarded)).unwrap().units, 1);
    assert_eq!(read(store, &system(), |r| r.quarantine_depth(query(None))).unwrap().units, 3);

    assert_eq!(aside(None, Some("slow"), None), 0, "of another cause");
    assert_eq!(aside(None, None, None), 1);
    assert!(write(store, |w| w.quarantine_remove(ONE, "a", "y", 0)).unwrap());
    assert_eq!(units().len(), 1);
    let other = read(store, &system(), |r| r.quarantine_units(OTHER, "a")).unwrap();
    assert_eq!(other.len(), 1, "each sender has its own");
}
