//! Runs kept documents again, with the mappings in force now, and applies the units that waited.
//!
//! Idempotent: an applied unit leaves the quarantine, and what is applied again says nothing new. Documents go in the order
//! they came in.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Did, UnitReport};
use super::apply::{self, Done, DryRun, Job};
use super::difference::{self, Change};
use super::note::Note;
use super::pages::{self, Pages, Place};
use super::provenance;
use super::quarantine::{self, Entry};
use super::source::Notation;
use super::{Audit, IngestFacts, Ingested, Intake};
use crate::clock::Timestamp;
use crate::connection::request::Parameters;
use crate::decision::Permit;
use crate::interaction::write::{self, Desk};
use crate::response::refusal::{Reason, Refusal};
use crate::store::quarantine::{QuarantineDocument, QuarantineQuery};
use crate::store::{Store, StoreError};

/// Documents run again in one request when it names no number, and at most.
const DOCUMENTS: u32 = 1_000;
/// Units named in one answer. A document that goes past it is the last of its answer.
const UNITS_MAX: usize = 1_000;
/// Elements told in one answer of a dry run; likewise.
const ELEMENTS_MAX: usize = 10_000;

/// What `$replay` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Only entries of this cause.
    pub cause: Option<String>,
    /// Tell only.
    pub dry_run: bool,
    /// Documents in this request.
    pub count: u32,
    /// A link an earlier answer gave.
    pub after: Option<String>,
}

impl Asked {
    /// Reads the parameters. Errors: `ParameterUnknown`, `ParameterInvalid`.
    pub fn parse(parameters: &Parameters) -> Result<Asked, Refusal> {
        let mut asked = Asked { cause: None, dry_run: false, count: DOCUMENTS, after: None };
        for (name, value) in parameters.pairs.iter() {
            match name.as_str() {
                "cause" => asked.cause = Some(value.clone()),
                "dryrun" => {
                    asked.dry_run = value.parse().map_err(|_| {
                        Refusal::new(Reason::ParameterInvalid, "dryrun is true or false.").at("dryrun")
                    })?;
                }
                "_count" => asked.count = pages::count(value, DOCUMENTS, "documents")?,
                "after" => asked.after = Some(value.clone()),
                "_format" | "_pretty" => {}
                other => {
                    let text = "Known here: cause, dryrun, _count, after.";
                    return Err(Refusal::new(Reason::ParameterUnknown, text).at(other));
                }
            }
        }
        Ok(asked)
    }

    /// What a page link of this question is bound to. A dry run and the replay after it go by the same pages.
    fn question(&self) -> [(&str, &str); 2] {
        [("$replay", ""), ("cause", self.cause.as_deref().unwrap_or_default())]
    }
}

/// Replays what is asked for, a page of documents at most.
pub(super) async fn replay(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    look: Option<Permit>,
    pages: &Pages<'_>,
    asked: &Asked,
    audit: &Audit,
) -> Result<Ingested, Refusal> {
    let dry_run = asked.dry_run.then_some(DryRun { look });
    let cause = asked.cause.as_deref();
    let after = asked.after.as_ref().map(|text| pages.open(text, &asked.question())).transpose()?;
    let (documents, later) = page(store, &desk.permit, asked, after.as_ref())?;
    let mut facts =
        IngestFacts { dry_run: asked.dry_run, status: StatusCode::OK.as_u16(), ..IngestFacts::default() };
    let mut told: Vec<Told> = Vec::new();
    let mut last = None;
    let mut unblocked = Vec::new();
    let mut documents = documents.into_iter();
    while told.len() < UNITS_MAX && elements(&told) < ELEMENTS_MAX {
        let Some(place) = documents.next() else { break };
        last = Some(Place(place.first_try.0, place.sha256.clone()));
        let done = document(intake, store, desk, &place.sha256, cause, dry_run.clone(), audit).await?;
        let Some((group, done)) = done else { continue };
        unblocked.extend(done.unblocked);
        merge(&mut facts, &done.facts);
        let units = done.report.as_ref().map_or(&[][..], |report| &report.units);
        let notes = done.report.as_ref().map_or(&[][..], |report| &report.notes);
        told.extend(reports(&group, units, notes));
    }
    let left = later + documents.len() as u64;
    if !asked.dry_run {
        withdrawals(intake, store, desk, unblocked, audit).await?;
    }
    if asked.dry_run || told.is_empty() {
        // What was done is in the log with the transaction that did it; a look without effect is recorded here.
        let (audit, record) = (audit.clone(), facts.clone());
        write::commit(store, &desk.permit, move |writer| writer.append_audit(&audit(&record)).map(|_| ()))
            .await?;
    }
    let next = last.filter(|_| left > 0).and_then(|place| pages.after(&asked.question(), &place));
    let body = to_parameters(asked, &told, next.map(|next| (next, left)));
    Ok(Ingested { status: StatusCode::OK, body, facts })
}

/// The next documents in order of arrival, and how many come after them.
fn page(
    store: &dyn Store,
    permit: &Permit,
    asked: &Asked,
    after: Option<&Place>,
) -> Result<(Vec<QuarantineDocument>, u64), Refusal> {
    let sender = permit.filter().organisation;
    let query = QuarantineQuery { sender, discarded: false, cause: asked.cause.as_deref() };
    let after = after.map(|place| (Timestamp(place.0), place.1.as_str()));
    let mut found = (Vec::new(), 0);
    store
        .read(permit, &mut |reader| {
            found = reader.quarantine_documents(query, after, asked.count)?;
            Ok(())
        })
        .map_err(write::refusal)?;
    Ok(found)
}

/// Applies the withdrawals that waited in these documents for a resource that is there now, in the order they came.
pub(super) async fn withdrawals(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    unblocked: Vec<String>,
    audit: &Audit,
) -> Result<(), Refusal> {
    let sender = desk.permit.filter().organisation;
    let mut places: BTreeSet<(Timestamp, String)> = BTreeSet::new();
    for sha256 in unblocked {
        store
            .read(&desk.permit, &mut |reader| {
                let rows = reader.quarantine_units(sender, &sha256)?;
                places.extend(rows.first().map(|row| (row.first_try, sha256.clone())));
                Ok(())
            })
            .map_err(write::refusal)?;
    }
    for (_, sha256) in places {
        document(intake, store, desk, &sha256, Some(quarantine::CORRECTION), None, audit).await?;
    }
    Ok(())
}

/// One document's waiting units, of one cause where it is named; `None` when none waits any more, or its original is not
/// there.
async fn document(
    intake: &Intake,
    store: &dyn Store,
    desk: &Desk,
    sha256: &str,
    cause: Option<&str>,
    dry_run: Option<DryRun>,
    audit: &Audit,
) -> Result<Option<(Vec<Entry>, Done)>, Refusal> {
    let sender = desk.permit.filter().organisation;
    let (mut group, mut original) = (Vec::new(), None);
    store
        .read(&desk.permit, &mut |reader| {
            let rows = reader.quarantine_units(sender, sha256)?;
            let waits = rows.iter().filter(|row| row.discard.is_none());
            let asked = waits.filter(|row| cause.is_none_or(|cause| cause == row.cause));
            group = asked.map(Entry::of).collect::<Result<_, _>>()?;
            original = provenance::original(reader, sender, sha256)?;
            Ok(())
        })
        .map_err(write::refusal)?;
    let Some(first) = group.first() else { return Ok(None) };
    let notation = Notation::parse(&first.notation).ok_or_else(|| {
        write::refusal(StoreError::Database("a quarantine entry names no notation".to_owned()))
    })?;
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
        limits: intake.limits.waiting,
        audit: audit.clone(),
    };
    let done = apply::apply(store, Arc::new(job)).await?;
    Ok(Some((group, done)))
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
fn to_parameters(asked: &Asked, told: &[Told], next: Option<(String, u64)>) -> String {
    let mut parameters = vec![json!({ "name": "dryrun", "valueBoolean": asked.dry_run })];
    for did in [Did::Created, Did::Updated, Did::Unchanged, Did::Stale, Did::Kept] {
        let count = told.iter().filter(|told| told.report.did == did).count();
        parameters.push(json!({ "name": did.as_str(), "valueInteger": count }));
    }
    if let Some((link, documents)) = next {
        parameters.push(json!({ "name": "next", "valueString": link }));
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
        let reason = |pairs: &[(&str, &str)]| Asked::parse(&parameters(pairs)).err().map(|r| r.reason);
        assert_eq!(reason(&[("cause", "x"), ("dryrun", "true"), ("_count", "1000")]), None);
        assert_eq!(reason(&[("dryrun", "1")]), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("_count", "0")]), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("_count", "1001")]), Some(Reason::ParameterInvalid));
        assert_eq!(reason(&[("cuase", "x")]), Some(Reason::ParameterUnknown));
    }
}
