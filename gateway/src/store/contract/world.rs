//! Small verbs for the checks: a cast of parties and patients, writing resources from their text, searching by query.

use std::sync::{Arc, Mutex};

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::path;

use crate::clock::Timestamp;
use crate::decision::filter::{Arm, Derived, Filter};
use crate::decision::{Action, Permit};
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType};
use crate::search::criterion::{SearchRequest, Test};
use crate::search::parameter::{SearchContext, SearchLimits, parse};
use crate::search::plan::{Found, Plan, plan};
use crate::store::history::{HistoryOf, HistoryPlace, HistoryQuery};
use crate::store::{Method, Reader, Record, Store, StoreError, Stored, Writer};

/// Base address of the stores under test.
pub const BASE: &str = "https://sluis.example/fhir";
/// The moment of all checks: 2026-01-01T00:00:00Z.
pub const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// A type by name.
pub fn kind(name: &str) -> ResourceType {
    definitions::r4().resource_type(name).unwrap()
}

/// An id.
pub fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

/// A filter that sees everything.
pub fn system() -> Filter {
    Filter { system: true, ..nobody() }
}

/// A filter that sees nothing.
pub fn nobody() -> Filter {
    Filter {
        now: NOW,
        purpose: 1,
        organisation: PartyKey(999_999),
        own: false,
        recipients: Vec::new(),
        care_relation: false,
        self_patient: None,
        categories: 0,
        open_categories: 0,
        deny_labels: 0,
        confidentiality_max: 5,
        system: false,
    }
}

/// A clinician of `organisation`: own rows, and by grant every category.
pub fn clinician(organisation: PartyKey) -> Filter {
    Filter { organisation, own: true, recipients: vec![organisation], categories: u64::MAX, ..nobody() }
}

/// A grant of everything of `patient` to `recipient`.
pub fn arm(patient: PatientKey, recipient: PartyKey) -> Arm {
    Arm {
        recipient,
        purpose: 1,
        patient,
        categories: u64::MAX,
        deny_labels: 0,
        confidentiality_max: 5,
        day_from: i32::MIN,
        day_to: i32::MAX,
        author: None,
        valid_from: Timestamp::MIN,
        valid_to: Timestamp::MAX,
        consent: "Consent/c1/_history/1".into(),
    }
}

/// Derived columns of a normal clinical row.
pub fn derived(patient: Option<PatientKey>, author: PartyKey) -> Derived {
    Derived { patient, category: 1, labels: 0, confidentiality: 3, day: 20_000, author }
}

/// A permit for a filter.
pub fn permit(filter: &Filter) -> Permit {
    Permit::for_test(filter.clone(), None, if filter.system { Action::System } else { Action::Search })
}

/// Waits for a write.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Writes under a system permit and gives back what the work made.
pub fn write<T: Send + 'static>(
    store: &dyn Store,
    work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    write_as(store, &system(), work)
}

/// As [`write`], under a filter.
pub fn write_as<T: Send + 'static>(
    store: &dyn Store,
    filter: &Filter,
    work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let made = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&made);
    wait(store.write(
        permit(filter),
        Box::new(move |writer| {
            *slot.lock().unwrap() = Some(work(writer)?);
            Ok(())
        }),
    ))?;
    let value = made.lock().unwrap().take();
    Ok(value.unwrap())
}

/// Reads under a filter.
pub fn read<T>(
    store: &dyn Store,
    filter: &Filter,
    mut work: impl FnMut(&mut dyn Reader) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let mut made = None;
    store.read(&permit(filter), &mut |reader| {
        made = Some(work(reader)?);
        Ok(())
    })?;
    Ok(made.unwrap())
}

/// Puts the next version of the resource `text` is; the row key.
pub fn put(writer: &mut dyn Writer, text: &str, derived: Derived, method: Method) -> Result<i64, StoreError> {
    let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
    let root = doc.root();
    let kind = kind(&root.get("resourceType").unwrap().as_str().unwrap());
    let id = id(&root.get("id").unwrap().as_str().unwrap());
    let version = writer.current(kind, &id)?.map_or(0, |stored| stored.version) + 1;
    let entries =
        if method == Method::Delete { Vec::new() } else { path::extract(definitions::r4(), kind, root) };
    writer.put(&Record {
        kind,
        id: &id,
        version,
        updated: Timestamp(NOW.0 + i64::from(version) * 1_000_000),
        method,
        derived,
        body: if method == Method::Delete { &[] } else { text.as_bytes() },
        entries: &entries,
        root: Some(root).filter(|_| method != Method::Delete),
    })
}

/// Stores one resource.
pub fn create(store: &dyn Store, text: &str, derived: Derived) -> i64 {
    let text = text.to_owned();
    write(store, move |writer| put(writer, &text, derived, Method::Post)).unwrap()
}

/// Stores a Patient; her key.
pub fn patient(store: &dyn Store, id: &str, author: PartyKey) -> PatientKey {
    let text = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
    PatientKey(create(store, &text, derived(None, author)))
}

/// Replaces a patient's grants.
pub fn grant(store: &dyn Store, patient: PatientKey, arms: Vec<Arm>) {
    write(store, move |writer| writer.replace_arms(patient, &arms)).unwrap();
}

/// Plans `Type?name=value&...` (values as they are, nothing is percent-decoded).
pub fn planned(query: &str, filter: &Filter) -> Plan {
    plan(&parsed(query), filter)
}

fn parsed(query: &str) -> SearchRequest {
    let (name, query) = query.split_once('?').unwrap();
    let pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let context = SearchContext { base: BASE, now: NOW, lenient: false };
    parse(kind(name), &pairs, &SearchLimits { content: true, ..SearchLimits::default() }, &context).unwrap()
}

/// Plans as [`planned`], with every value set and place of a hierarchy standing for these tests.
pub fn settled(query: &str, filter: &Filter, stand: &[Test]) -> Plan {
    let mut request = parsed(query);
    let settle = &mut |tests: &mut Vec<Test>| {
        if tests.iter().any(|test| matches!(test, Test::Terms(_))) {
            *tests = stand.to_vec();
        }
        Ok::<(), StoreError>(())
    };
    request.each_tests(settle).unwrap();
    plan(&request, filter)
}

/// Runs a search.
pub fn search(store: &dyn Store, filter: &Filter, query: &str) -> Found {
    let plan = planned(query, filter);
    read(store, filter, |reader| reader.search(&plan)).unwrap()
}

/// Ids a search finds, in order.
pub fn found(store: &dyn Store, filter: &Filter, query: &str) -> Vec<String> {
    ids(&search(store, filter, query).matches)
}

/// Ids a search finds whose order is the store's, sorted.
pub fn found_sorted(store: &dyn Store, filter: &Filter, query: &str) -> Vec<String> {
    let mut all = found(store, filter, query);
    all.sort_unstable();
    all
}

/// Ids of rows, in order.
pub fn ids(rows: &[Stored]) -> Vec<String> {
    rows.iter().map(|row| row.id.to_string()).collect()
}

/// Versions of one resource newest first, after `after`, with the visible total; none when the current one is hidden.
pub fn history(
    store: &dyn Store,
    filter: &Filter,
    kind: ResourceType,
    id: &ResourceId,
    after: Option<&Stored>,
    limit: u32,
) -> (Vec<Stored>, u64) {
    read(store, filter, |reader| {
        let Some(current) = reader.current(kind, id)? else { return Ok((Vec::new(), 0)) };
        reader.changes(&HistoryQuery {
            of: HistoryOf::Row(current.key),
            since: None,
            at: None,
            until: Timestamp::MAX,
            after: after.map(|row| HistoryPlace { updated: row.updated, key: row.key, version: row.version }),
            oldest_first: false,
            limit,
        })
    })
    .unwrap()
}
