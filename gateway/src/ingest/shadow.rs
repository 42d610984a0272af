//! Shadow mappings: a version that runs beside the one in force on each document that was taken, to see what it would make
//! otherwise. Nothing of it is stored.
//!
//! Documents go through a bounded queue to one thread of their own, after their answer: a shadow neither slows nor fails
//! one. What does not fit the queue is counted as skipped. The report is in memory, of this process, since the shadow's
//! present version was put in force.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use sluis_mappings::output::{Output, Unit, UnitState};
use sluis_mappings::source::Format;

use super::difference::Pair;
use super::digest::sha256_hex;
use super::map::{Compiled, Maps};
use super::note::without_indexes;
use super::unmapped::to_resource;
use crate::clock::Timestamp;
use crate::ids::Ura;

/// Documents that wait at once.
const QUEUE: usize = 256;
/// Bytes of documents that wait at once.
const QUEUE_BYTES: usize = 64 << 20;
/// Elements counted of one shadow and sender; further ones are counted together.
const PATHS_MAX: usize = 500;

/// One document, on its way to the shadow.
struct Task {
    maps: Arc<Maps>,
    sender: Ura,
    format: Format,
    bytes: Bytes,
    at: Timestamp,
}

/// How one shadow has done on the documents of one sender.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    /// `id|version` of the mapping in force.
    active: String,
    /// `id|version` of the shadow.
    shadow: String,
    /// Content hash of the shadow.
    hash: String,
    /// Documents both make the same of.
    equal: u64,
    /// Documents they do not.
    different: u64,
    /// Documents the shadow did not run on: too much waited.
    skipped: u64,
    /// Documents it came to no end with.
    failed: u64,
    /// What differs, by element without indexes: in how many resources.
    paths: BTreeMap<String, u64>,
    /// Differences of elements past [`PATHS_MAX`].
    beyond: u64,
    /// Last document that differs, and when.
    last: Option<(String, Timestamp)>,
}

/// By sender and id of the shadow.
type Tallies = HashMap<(Ura, String), Tally>;

/// The queue, its thread and what they found.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    found: Arc<Mutex<Tallies>>,
    waiting: Arc<AtomicUsize>,
    queue: OnceLock<Option<SyncSender<Task>>>,
}

impl Shadows {
    /// Hands a document to the shadow there may be for it. Never waits.
    pub(super) fn look(&self, maps: Arc<Maps>, sender: &Ura, format: Format, bytes: &Bytes, at: Timestamp) {
        if !maps.has_shadows() {
            return;
        }
        let size = bytes.len();
        if self.waiting.fetch_add(size, Ordering::Relaxed).saturating_add(size) > QUEUE_BYTES {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            return self.skip(&maps, sender, format, bytes);
        }
        let task = Task { maps, sender: sender.clone(), format, bytes: bytes.clone(), at };
        let queue = self.queue.get_or_init(|| start(Arc::clone(&self.found), Arc::clone(&self.waiting)));
        let refused = match queue {
            Some(queue) => queue.try_send(task).err().map(|error| match error {
                std::sync::mpsc::TrySendError::Full(task)
                | std::sync::mpsc::TrySendError::Disconnected(task) => task,
            }),
            None => Some(task),
        };
        if let Some(task) = refused {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            self.skip(&task.maps, sender, format, bytes);
        }
    }

    /// Counts a document as skipped, by the shadow its head names.
    fn skip(&self, maps: &Maps, sender: &Ura, format: Format, bytes: &[u8]) {
        if let Some((active, shadow)) = maps.shadowed(sender, format, bytes) {
            tally(&mut lock(&self.found), sender, active, shadow).skipped += 1;
        }
    }

    /// What was found of the documents of one sender by the shadows in force: Parameters, JSON text. No value of a document
    /// is in it.
    pub(super) fn report(&self, maps: &Maps, sender: &Ura) -> String {
        let found = lock(&self.found);
        let mut told: Vec<(&String, &Tally)> = found
            .iter()
            .filter(|((of, id), tally)| of == sender && maps.is_shadow(id, &tally.hash))
            .map(|((_, id), tally)| (id, tally))
            .collect();
        told.sort_by_key(|(id, _)| *id);
        let parameters: Vec<Value> = told.into_iter().map(|(_, tally)| to_parameter(tally)).collect();
        to_resource(parameters)
    }

    /// Counts of all senders for a scraper, by shadow.
    /// Source: Prometheus text exposition format 0.0.4
    pub(super) fn exposition(&self) -> String {
        let mut sums: BTreeMap<String, [u64; 4]> = BTreeMap::new();
        for ((_, id), tally) in lock(&self.found).iter() {
            let sum = sums.entry(id.clone()).or_default();
            let counts = [tally.equal, tally.different, tally.skipped, tally.failed];
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        let mut text = String::new();
        if !sums.is_empty() {
            text.push_str("# HELP sluis_shadow_documents_total Documents a shadow mapping was to run on.\n");
            text.push_str("# TYPE sluis_shadow_documents_total counter\n");
        }
        for (id, counts) in sums {
            for (result, count) in ["equal", "different", "skipped", "failed"].iter().zip(counts) {
                // Writing into a String does not fail; an id is of small letters, digits and dashes.
                let _ = writeln!(
                    text,
                    "sluis_shadow_documents_total{{mapping=\"{id}\",result=\"{result}\"}} {count}"
                );
            }
        }
        text
    }

    /// As if as many bytes waited as may.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.waiting.store(QUEUE_BYTES, Ordering::Release);
    }

    /// Waits until everything handed over was looked at.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        while self.waiting.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
    }
}

/// The thread; it ends with the queue. `None`: the system has none to give.
fn start(found: Arc<Mutex<Tallies>>, waiting: Arc<AtomicUsize>) -> Option<SyncSender<Task>> {
    let (sender, receiver) = sync_channel(QUEUE);
    let work = move || run(&receiver, &found, &waiting);
    match std::thread::Builder::new().name("shadow".to_owned()).spawn(work) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::error!(cause = %error, "shadow mappings do not run");
            None
        }
    }
}

fn run(tasks: &Receiver<Task>, found: &Mutex<Tallies>, waiting: &AtomicUsize) {
    while let Ok(task) = tasks.recv() {
        if let Some((active, shadow)) = task.maps.shadowed(&task.sender, task.format, &task.bytes) {
            // A map that panics is a fault of the engine; it must not end the looking at others.
            let outputs = catch_unwind(AssertUnwindSafe(|| {
                changes(&active.folder.run(&task.bytes), &shadow.folder.run(&task.bytes))
            }));
            let mut tallies = lock(found);
            let tally = tally(&mut tallies, &task.sender, active, shadow);
            match outputs {
                Ok(changes) => tally.add(changes, &task),
                Err(_) => tally.failed += 1,
            }
        }
        waiting.fetch_sub(task.bytes.len(), Ordering::Release);
    }
}

fn lock(found: &Mutex<Tallies>) -> std::sync::MutexGuard<'_, Tallies> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tally of a shadow; a new one when another version of it, or of the mapping it follows, was put in force.
fn tally<'t>(tallies: &'t mut Tallies, sender: &Ura, active: &Compiled, shadow: &Compiled) -> &'t mut Tally {
    let name = |compiled: &Compiled| {
        let manifest = &compiled.folder.folder().manifest;
        format!("{}|{}", manifest.id, manifest.version)
    };
    let id = shadow.folder.folder().manifest.id.clone();
    let tally = tallies.entry((sender.clone(), id)).or_default();
    if tally.hash != shadow.hash || tally.active != name(active) {
        *tally = Tally {
            active: name(active),
            shadow: name(shadow),
            hash: shadow.hash.clone(),
            ..Tally::default()
        };
    }
    tally
}

impl Tally {
    fn add(&mut self, changes: Vec<String>, task: &Task) {
        if changes.is_empty() {
            self.equal += 1;
            return;
        }
        self.different += 1;
        self.last = Some((sha256_hex(&task.bytes), task.at));
        for path in changes {
            if self.paths.len() < PATHS_MAX || self.paths.contains_key(&path) {
                *self.paths.entry(path).or_default() += 1;
            } else {
                self.beyond += 1;
            }
        }
    }
}

/// What two mappings make otherwise of one document: the elements, each once for a resource; a resource that only one makes
/// or lets through is told as its type.
fn changes(active: &Output, shadow: &Output) -> Vec<String> {
    let mut left: HashMap<Key, &Unit> = keyed(shadow);
    let mut found = Vec::new();
    for (key, one) in keyed(active) {
        match left.remove(&key) {
            None => found.push(format!("{} only in force", type_of(one))),
            Some(other) => found.extend(unit_changes(one, other)),
        }
    }
    found.extend(left.into_values().map(|unit| format!("{} only in the shadow", type_of(unit))));
    found
}

/// What makes two units the same: their identity, else where they stand.
type Key = (String, String, String, usize);

fn keyed(output: &Output) -> HashMap<Key, &Unit> {
    let mut seen: HashMap<(String, String, String), usize> = HashMap::new();
    let each = output.units.iter().map(|unit| {
        let (system, value) = unit.identity.clone().unwrap_or_else(|| (String::new(), unit.label.clone()));
        let place = (type_of(unit), system, value);
        let count = seen.entry(place.clone()).or_default();
        *count += 1;
        ((place.0, place.1, place.2, *count), unit)
    });
    each.collect()
}

fn type_of(unit: &Unit) -> String {
    let text = unit.resource.as_deref().unwrap_or_default();
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["resourceType"].as_str().unwrap_or("Resource").to_owned()
}

fn unit_changes(active: &Unit, shadow: &Unit) -> Vec<String> {
    let mut found = Vec::new();
    if active.state != shadow.state {
        let how = match shadow.state {
            UnitState::Ready => "no longer quarantined",
            UnitState::Quarantined => "quarantined by the shadow",
        };
        found.push(format!("{} {how}", type_of(shadow)));
    }
    if active.resource != shadow.resource {
        let bytes = |unit: &Unit| unit.resource.clone().map(Bytes::from);
        let pair = bytes(shadow).map(|after| Pair { before: bytes(active), after });
        match pair.and_then(|pair| pair.changes()) {
            None => found.push(type_of(active)),
            Some(changes) => found.extend(changes.into_iter().map(|change| without_indexes(&change.path))),
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn to_parameter(tally: &Tally) -> Value {
    let count = |name: &str, count: u64| json!({ "name": name, "valueInteger": i32::try_from(count).unwrap_or(i32::MAX) });
    let mut part = vec![
        json!({ "name": "active", "valueString": tally.active }),
        json!({ "name": "shadow", "valueString": tally.shadow }),
        count("equal", tally.equal),
        count("different", tally.different),
        count("skipped", tally.skipped),
        count("failed", tally.failed),
    ];
    if let Some((sha256, at)) = &tally.last {
        let last = [
            json!({ "name": "document", "valueUri": format!("urn:sha256:{sha256}") }),
            json!({ "name": "at", "valueInstant": at.to_instant() }),
        ];
        part.push(json!({ "name": "lastDifferent", "part": last }));
    }
    let mut paths: Vec<(&String, &u64)> = tally.paths.iter().collect();
    paths.sort_by_key(|(path, count)| (std::cmp::Reverse(**count), *path));
    part.extend(paths.into_iter().map(|(path, resources)| {
        let said = [json!({ "name": "path", "valueString": path }), count("resources", *resources)];
        json!({ "name": "element", "part": said })
    }));
    if tally.beyond > 0 {
        part.push(count("notShown", tally.beyond));
    }
    json!({ "name": "shadow", "part": part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(value: &str, resource: &str) -> Unit {
        Unit {
            label: format!("row[{value}]"),
            identity: Some(("s".to_owned(), value.to_owned())),
            resource: Some(resource.to_owned()),
            ..Unit::default()
        }
    }

    #[test]
    fn resources_are_compared_by_identity_wherever_they_stand() {
        let one = r#"{"resourceType":"Basic","code":{"text":"a"}}"#;
        let output = |units: Vec<Unit>| Output { units, ..Output::default() };
        let active = output(vec![unit("1", one), unit("2", one), unit("3", one)]);
        assert!(changes(&active, &output(vec![unit("3", one), unit("1", one), unit("2", one)])).is_empty());
        let kept = Unit { state: UnitState::Quarantined, ..unit("3", one) };
        let shadow = output(vec![unit("1", &one.replace("\"a\"", "\"b\"")), kept, unit("4", one)]);
        let mut told = changes(&active, &shadow);
        told.sort();
        assert_eq!(
            told,
            [
                "Basic only in force",
                "Basic only in the shadow",
                "Basic quarantined by the shadow",
                "Basic.code.text"
            ]
        );
    }
}
