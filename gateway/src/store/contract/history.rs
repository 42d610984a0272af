//! Histories of a type and of the system: what they show, in which order, to whom.

use super::world::*;
use crate::clock::Timestamp;
use crate::decision::filter::{Derived, Filter};
use crate::ids::PartyKey;
use crate::store::history::{HistoryOf, HistoryPlace, HistoryQuery};
use crate::store::{Method, Store, Stored};

const AUTHOR: PartyKey = PartyKey(7);
const OTHER: PartyKey = PartyKey(8);

fn basic(id: &str, text: &str) -> String {
    format!(r#"{{"resourceType":"Basic","id":"{id}","code":{{"text":"{text}"}}}}"#)
}

fn next(store: &dyn Store, id: &str, derived: Derived, method: Method) {
    let text = basic(id, "x");
    write(store, move |writer| put(writer, &text, derived, method)).unwrap();
}

/// Moment of a version: [`put`] makes version n at NOW + n s.
fn second(n: i64) -> Timestamp {
    Timestamp(NOW.0 + n * 1_000_000)
}

fn all(of: HistoryOf) -> HistoryQuery {
    let until = Timestamp::MAX;
    HistoryQuery { of, since: None, at: None, until, after: None, oldest_first: false, limit: 100 }
}

fn ask(store: &dyn Store, filter: &Filter, query: &HistoryQuery) -> (Vec<String>, u64) {
    let (rows, total) = read(store, filter, |reader| reader.changes(query)).unwrap();
    (rows.iter().map(named).collect(), total)
}

fn named(row: &Stored) -> String {
    format!("{}/{}{}", row.id, row.version, if row.deleted { " deleted" } else { "" })
}

/// a: versions 1 to 3, the last a deletion; b: versions 1 and 2; c: one version, another author's.
fn world(store: &dyn Store) -> HistoryQuery {
    let own = || derived(None, AUTHOR);
    next(store, "a", own(), Method::Post);
    next(store, "b", own(), Method::Post);
    next(store, "c", derived(None, OTHER), Method::Post);
    next(store, "a", own(), Method::Put);
    next(store, "b", own(), Method::Put);
    next(store, "a", own(), Method::Delete);
    all(HistoryOf::Kind(kind("Basic")))
}

/// Newest first, deletions shown, both ways, of a type, of types, of all.
pub fn a_history_of_a_type_shows_every_version_in_order(store: &dyn Store) {
    let query = world(store);
    let newest = ["a/3 deleted", "b/2", "a/2", "c/1", "b/1", "a/1"].map(str::to_owned).to_vec();
    assert_eq!(ask(store, &system(), &query), (newest.clone(), 6));
    let oldest = HistoryQuery { oldest_first: true, ..query.clone() };
    assert_eq!(ask(store, &system(), &oldest), (newest.iter().rev().cloned().collect(), 6));
    assert_eq!(ask(store, &system(), &all(HistoryOf::Kinds(None))), (newest.clone(), 6));
    assert_eq!(ask(store, &system(), &all(HistoryOf::Kinds(Some(vec![kind("Basic")])))), (newest, 6));
    let none = (Vec::new(), 0);
    assert_eq!(ask(store, &system(), &all(HistoryOf::Kinds(Some(vec![kind("Patient")])))), none);
    assert_eq!(ask(store, &system(), &all(HistoryOf::Kinds(Some(Vec::new())))), none);
    assert_eq!(ask(store, &system(), &all(HistoryOf::Kind(kind("Patient")))), none);
}

/// Versions of another type, whatever their moments, are no part of a type's history, nor of its pages.
pub fn a_history_of_a_type_passes_over_other_types(store: &dyn Store) {
    let query = world(store);
    let patient = |method| {
        write(store, move |writer| {
            put(writer, r#"{"resourceType":"Patient","id":"a"}"#, derived(None, AUTHOR), method)
        })
        .unwrap();
    };
    patient(Method::Post);
    (0..4).for_each(|_| patient(Method::Put));
    let of_basics = ask(store, &system(), &query);
    assert_eq!(of_basics.0, ["a/3 deleted", "b/2", "a/2", "c/1", "b/1", "a/1"]);
    assert_eq!(of_basics.1, 6);
    let of_patients = all(HistoryOf::Kind(kind("Patient")));
    assert_eq!(
        ask(store, &system(), &of_patients),
        (["a/5", "a/4", "a/3", "a/2", "a/1"].map(str::to_owned).to_vec(), 5)
    );
    let since = HistoryQuery { since: Some(second(2)), limit: 2, oldest_first: true, ..of_patients };
    assert_eq!(ask(store, &system(), &since), (["a/2", "a/3"].map(str::to_owned).to_vec(), 4));
}

/// `_since` takes the moment itself in; `_at` takes what was current in it.
pub fn a_history_keeps_to_its_moments(store: &dyn Store) {
    let query = world(store);
    let since = |moment| HistoryQuery { since: Some(moment), ..query.clone() };
    assert_eq!(ask(store, &system(), &since(second(2))).0, ["a/3 deleted", "b/2", "a/2"]);
    assert_eq!(ask(store, &system(), &since(Timestamp(second(2).0 + 1))).0, ["a/3 deleted"]);
    assert_eq!(ask(store, &system(), &since(second(4))), (Vec::new(), 0));
    let at = |low, high| HistoryQuery { at: Some((low, high)), ..query.clone() };
    let inside = at(Timestamp(second(2).0 + 1), Timestamp(second(2).0 + 2));
    assert_eq!(ask(store, &system(), &inside).0, ["b/2", "a/2", "c/1"]);
    assert_eq!(ask(store, &system(), &at(second(0), second(1))), (Vec::new(), 0));
    assert_eq!(ask(store, &system(), &at(second(1), second(2))).0, ["c/1", "b/1", "a/1"]);
}

/// What is hidden is in no history: a past version needs the current one too.
pub fn a_history_shows_what_is_visible_now(store: &dyn Store) {
    let query = world(store);
    let own = clinician(AUTHOR);
    assert_eq!(
        ask(store, &own, &query),
        (["a/3 deleted", "b/2", "a/2", "b/1", "a/1"].map(str::to_owned).to_vec(), 5)
    );
    assert_eq!(ask(store, &nobody(), &query), (Vec::new(), 0));
    // The current version of b becomes another author's: its past goes with it.
    next(store, "b", derived(None, OTHER), Method::Put);
    assert_eq!(ask(store, &own, &query).0, ["a/3 deleted", "a/2", "a/1"]);
    assert_eq!(ask(store, &clinician(OTHER), &query), (vec!["b/3".to_owned(), "c/1".to_owned()], 2));
}

/// Pages hold every version once while others write and versions move to the past.
pub fn pages_of_a_history_hold_every_version_once(store: &dyn Store) {
    let mut query = world(store);
    (query.limit, query.until) = (2, second(3));
    let mut seen = Vec::new();
    for turn in 0..4 {
        let (rows, total) = read(store, &system(), |reader| reader.changes(&query)).unwrap();
        assert_eq!(total, 6);
        seen.extend(rows.iter().map(named));
        query.after =
            rows.last().map(|row| HistoryPlace { updated: row.updated, key: row.key, version: row.version });
        if turn == 0 {
            // A version that comes after the first page belongs to none of its pages.
            next(store, "a", derived(None, AUTHOR), Method::Put);
        }
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a/3 deleted", "b/2", "a/2", "c/1", "b/1", "a/1"]);
}
