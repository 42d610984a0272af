//! Runs kept documents again, with the mappings in force now, and applies the units that waited.
//!
//! Idempotent: an applied unit leaves the quarantine, and what is applied again says nothing new. Documents go in the order
//! they came in.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Did, UnitReport};
use super::apply::{self, Done, DryRun, Job};
use super::difference::{self, Change};
use super::note::Note;
use super::provenance;
use super::quarantine::{self, Entry};
use super::source::Notation;
use super::{Audit, IngestFacts, Ingested, Intake};
use crate::connection::request::Parameters;
use crate::decision::Permit;
use crate::interaction::write::{self, Desk};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError};

/// Documents run again in one request when it names no number, and at most.
const DOCUMENTS: usize = 1_000;
/// Units named in one answer. A document that goes past it is the last of its answer.
const UNITS_MAX: usize = 1_000;
/// Elements told in one answer of a dry run; likewise.
const ELEMENTS_MAX: usize = 10_000;

/// What `$quarantine` and `$replay` are asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asked {
    /// Only entries of this cause.
    pub cause: Option<String>,
    /// Tell only.
    pub dry_run: bool,
    /// Documents in this request; the default where it is not said.
    pub count: Option<usize>,
    /// Go on behind this one.
    pub after: Option<Place>,
}

/// Where a document stands in the order of arrival: its first try, and its content address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(i64, String);

impl Place {
    fn parse(text: &str) -> Option<Place> {
        let (first_try, sha256) = text.split_once('.')?;
        let hex = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Place(first_try.parse().ok()?, sha256.to_owned())).filter(|_| hex)
    }

    /// As `after` takes it.
    fn text(&self) -> String {
        format!("{}.{}", self.0, self.1)
    }

    fn of(group: &[Entry]) -> Place {
        let first_try = group.iter().map(|entry| entry.first_try).min().unwrap_or_default();
        Place(first_try, group.first().map(|entry| entry.sha256.clone()).unwrap_or_default())
    }
}

impl Asked {
    /// Reads the parameters. Errors: `ParameterUnknown`, `ParameterInvalid`.
    pub fn parse(parameters: &Parameters, may_replay: bool) -> Result<Asked, Refusal> {
        let mut asked = Asked::default();
        for (name, value) in parameters.pairs.iter() {
            match name.as_str() {
                "cause" => asked.cause = Some(value.clone()),
                "dryrun" if may_replay => {
                    asked.dry_run = value.parse().map_err(|_| {
                        Refusal::new(Reason::ParameterInvalid, "dryrun is true or false.").at("dryrun")
                    })?;
                }
                "_count" if may_replay => {
                    let number =
                        value.parse::<usize>().ok().filter(|number| (1..=DOCUMENTS).contains(number));
                    asked.count = Some(number.ok_or_else(|| {
                        let text = format!("_count is the number of documents, 1 to {DOCUMENTS}.");
                        Refusal::new(Reason::ParameterInvalid, text).at("_count")
                    })?);
                }
                "after" if may_replay => {
                    asked.after = Some(Place::parse(value).ok_or_else(|| {
                        let text = "after is what an earlier answer gave as next.";
                        Refusal::new(Reason::ParameterInvalid, text).at("after")
                    })?);
                }
                "_format" | "_pretty" => {}
                other => {
                    let known = if may_replay { "cause, dryrun, _count, after" } else { "cause" };
                    let text = format!("Known here: {known}.");
                    return Err(Refusal::new(Reason::ParameterUnknown, text).at(other));
                }
            }
        }
        Ok(asked)
    }
}

/// What waits, of the permit's own organisation.
pub(super) fn waiting(
    store: &dyn Store,
    permit: &Permit,
    cause: Option<&str>,
) -> Result<Vec<Entry>, Refusal> {
    let mut found = Vec::new();
    store
        .read(permit, &mut |reader| {
            found = quarantine::entries(reader, permit.filter().organisation, cause)?;
            Ok(())
        })
        .map_err(write::refusal)?;
    Ok(found)
}

/// Replays everything asked for.
pub(super) async fn replay(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    look: Option<Permit>,
    asked: &Asked,
    audit: &Audit,
) -> Result<Ingested, Refusal> {
    let dry_run = asked.dry_run.then_some(DryRun { look });
    let entries = waiting(store, &desk.permit, asked.cause.as_deref())?;
    let mut facts =
        IngestFacts { dry_run: asked.dry_run, status: StatusCode::OK.as_u16(), ..IngestFacts::default() };
    let mut told: Vec<Told> = Vec::new();
    let mut last = None;
    let mut unblocked = Vec::new();
    let mut groups = by_document(entries);
    groups.retain(|group| asked.after.as_ref().is_none_or(|after| Place::of(group) > *after));
    let later = groups.split_off(groups.len().min(asked.count.unwrap_or(DOCUMENTS)));
    while told.len() < UNITS_MAX && elements(&told) < ELEMENTS_MAX {
        let Some(group) = groups.pop_front() else { break };
        last = Some(Place::of(&group));
        let Some(done) = document(intake, store, desk, &group, dry_run.clone(), audit).await? else {
            continue;
        };
        unblocked.extend(done.unblocked);
        merge(&mut facts, &done.facts);
        let units = done.report.as_ref().map_or(&[][..], |report| &report.units);
        let notes = done.report.as_ref().map_or(&[][..], |report| &report.notes);
        told.extend(reports(&group, units, notes));
    }
    let left = groups.len() + later.len();
    if !asked.dry_run {
        withdrawals(intake, store, desk, unblocked, audit).await?;
    }
    if asked.dry_run || told.is_empty() {
        // What was done is in the log with the transaction that did it; a look without effect is recorded here.
        let (audit, record) = (audit.clone(), facts.clone());
        write::commit(store, &desk.permit, move |writer| writer.append_audit(&audit(&record)).map(|_| ()))
            .await?;
    }
    Ok(Ingested {
        status: StatusCode::OK,
        body: to_parameters(asked, &told, last.filter(|_| left > 0).map(|place| (place, left))),
        facts,
    })
}

/// Applies the withdrawals that waited in these documents for a resource that is there now.
pub(super) async fn withdrawals(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    unblocked: Vec<String>,
    audit: &Audit,
) -> Result<(), Refusal> {
    if unblocked.is_empty() {
        return Ok(());
    }
    let entries = waiting(store, &desk.permit, Some(quarantine::CORRECTION))?;
    for group in
        by_document(entries).into_iter().filter(|g| g.first().is_some_and(|e| unblocked.contains(&e.sha256)))
    {
        document(intake, store, desk, &group, None, audit).await?;
    }
    Ok(())
}

/// One document's waiting units; `None` when its original is not there.
async fn document(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    group: &[Entry],
    dry_run: Option<DryRun>,
    audit: &Audit,
) -> Result<Option<Done>, Refusal> {
    let Some(first) = group.first() else { return Ok(None) };
    let notation = Notation::parse(&first.notation).ok_or_else(|| {
        write::refusal(StoreError::Database("a quarantine entry names no notation".to_owned()))
    })?;
    let mut original = None;
    store
        .read(&desk.permit, &mut |reader| {
            original = provenance::original(reader, desk.permit.filter().organisation, &first.sha256)?;
            Ok(())
        })
        .map_err(write::refusal)?;
    let Some(original) = original else {
        tracing::error!(document = %first.sha256, "the original of a quarantine entry is missing");
        return Ok(None);
    };
    let sender = super::sender(&desk.permit)?;
    let read = intake.read(sender.clone(), notation, original.clone()).await?;
    let job = Job {
        desk: desk.clone(),
        sender,
        notation,
        original,
        sha256: read.sha256,
        map: read.map,
        mapping: read.mapping,
        package: read.package,
        units: read.units,
        notes: read.notes,
        key: None,
        only: Some(group.iter().map(|entry| (entry.label.clone(), entry.ordinal)).collect()),
        dry_run,
        audit: audit.clone(),
    };
    apply::apply(store, Arc::new(job)).await.map(Some)
}

/// Entries by document, documents in order of arrival.
fn by_document(entries: Vec<Entry>) -> VecDeque<Vec<Entry>> {
    let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        groups.entry(entry.sha256.clone()).or_default().push(entry);
    }
    let mut groups: Vec<Vec<Entry>> = groups.into_values().collect();
    groups.sort_by_cached_key(|group| Place::of(group));
    groups.into()
}

/// What is told of one unit.
struct Told {
    /// Content address of its document.
    sha256: String,
    report: UnitReport,
    /// In a dry run: what it would change.
    changes: Vec<Change>,
}

impl Told {
    fn new(sha256: &str, mut report: UnitReport) -> Told {
        let changes = report.pair.take().and_then(|pair| pair.changes()).unwrap_or_default();
        Told { sha256: sha256.to_owned(), report, changes }
    }
}

fn elements(told: &[Told]) -> usize {
    told.iter().map(|told| difference::told(&told.changes)).sum()
}

/// What is told of a document: its units, and the entries its map makes nothing of any more, which go on waiting.
fn reports(group: &[Entry], units: &[UnitReport], notes: &[Note]) -> Vec<Told> {
    let Some(sha256) = group.first().map(|entry| entry.sha256.clone()) else { return Vec::new() };
    let made: HashSet<&str> = units.iter().map(|unit| unit.label.as_str()).collect();
    let lost = group.iter().filter(|entry| {
        if entry.label.is_empty() { units.is_empty() } else { !made.contains(entry.label.as_str()) }
    });
    let lost = lost.map(|entry| UnitReport {
        label: entry.label.clone(),
        did: Did::Kept,
        reference: None,
        pair: None,
        notes: if notes.is_empty() { entry.notes.clone() } else { notes.to_vec() },
    });
    units.iter().cloned().chain(lost).map(|report| Told::new(&sha256, report)).collect()
}

/// Adds what one document touched to what several did.
pub(super) fn merge(all: &mut IngestFacts, one: &IngestFacts) {
    all.patients.extend(&one.patients);
    all.patients.sort_unstable();
    all.patients.dedup();
    all.resources.extend(one.resources.iter().cloned());
    all.categories |= one.categories;
    for (sum, count) in all.counts.iter_mut().zip(one.counts) {
        *sum += count;
    }
}

/// The answer as a Parameters resource: counts, then what became (or would become) of each unit.
fn to_parameters(asked: &Asked, told: &[Told], next: Option<(Place, usize)>) -> String {
    let mut parameters = vec![json!({ "name": "dryrun", "valueBoolean": asked.dry_run })];
    for did in [Did::Created, Did::Updated, Did::Unchanged, Did::Stale, Did::Kept] {
        let count = told.iter().filter(|told| told.report.did == did).count();
        parameters.push(json!({ "name": did.as_str(), "valueInteger": count }));
    }
    if let Some((place, documents)) = next {
        parameters.push(json!({ "name": "next", "valueString": place.text() }));
        parameters.push(json!({ "name": "documentsLeft", "valueInteger": documents }));
    }
    parameters.extend(told.iter().take(UNITS_MAX).map(unit_parameter));
    if told.len() > UNITS_MAX {
        parameters.push(json!({ "name": "notShown", "valueInteger": told.len() - UNITS_MAX }));
    }
    json!({ "resourceType": "Parameters", "parameter": parameters }).to_string()
}

fn unit_parameter(told: &Told) -> Value {
    let report = &told.report;
    let mut part = vec![json!({ "name": "document", "valueUri": format!("urn:sha256:{}", told.sha256) })];
    let mut text = |name: &str, value: &str| {
        if !value.is_empty() {
            part.push(json!({ "name": name, "valueString": value }));
        }
    };
    text("label", &report.label);
    text("outcome", report.did.as_str());
    if report.did == Did::Kept
        && let Some(note) = report.notes.iter().find(|note| note.is_error())
    {
        text("cause", note.cause());
        text("text", &note.text);
        text("remedy", &note.remedy);
    }
    if let Some(reference) = &report.reference {
        part.push(json!({ "name": "resource", "valueReference": { "reference": reference } }));
    }
    part.extend(difference::to_parts(&told.changes));
    json!({ "name": "unit", "part": part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let pairs: Vec<_> = pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        Parameters { pairs: pairs.into(), raw: "".into() }
    }

    #[test]
    fn unknown_and_bad_parameters_are_refused() {
        let reason =
            |pairs: &[(&str, &str)], may| Asked::parse(&parameters(pairs), may).err().map(|r| r.reason);
        assert_eq!(reason(&[("cause", "x"), ("dryrun", "true")], true), None);
        assert_eq!(reason(&[("dryrun", "1")], true), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("dryrun", "true")], false), Some(Reason::ParameterUnknown));
        assert_eq!(reason(&[("_count", "0")], true), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("_count", "1001")], true), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("after", "1")], true), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("_count", "1")], false), Some(Reason::ParameterUnknown));
        assert_eq!(reason(&[("cuase", "x")], true), Some(Reason::ParameterUnknown));
    }
}
