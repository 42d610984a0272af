//! Prepared units -> stored versions: one transaction for a document, with its Provenance, quarantine entries, receipt and
//! audit record.
//!
//! A unit the writer refuses half-way must leave nothing behind, and the writer undoes a whole work only. So a work in which
//! a unit was refused is undone and done again without that unit; the refused set only grows, so this ends, and the
//! common document takes one turn.

pub(in crate::ingest) mod before;
mod finish;
mod order;
mod replace;
mod unit;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;

use super::answer::{Report, UnitReport};
use super::difference::Pair;
use super::note::Note;
use super::prepare::Prepared;
use super::provenance::Target;
use super::quarantine::{Held, WaitingLimits};
use super::receipt::{MessageKey, Receipt, Seen};
use super::source::Notation;
use super::{Audit, IngestFacts};
use crate::decision::Permit;
use crate::ids::{PartyKey, ResourceId, ResourceType, Ura};
use crate::interaction::obligation;
use crate::interaction::reference::Links;
use crate::interaction::write::{self, Desk, Draft, Expect, Written};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError, Stored, Writer};
use sluis_conformance::definitions;

/// One document on its way into the store.
pub struct Job {
    /// Leave, rules and moment.
    pub desk: Desk,
    /// Sending organisation.
    pub sender: Ura,
    /// How the document is written.
    pub notation: Notation,
    /// The bytes as received.
    pub original: Bytes,
    /// Their content address.
    pub sha256: String,
    /// `id|version` of the map; empty for R4 or when none fits.
    pub map: String,
    /// Content hash of the mapping; empty likewise.
    pub mapping: String,
    /// The mapping as it is kept with the document; `None` for R4, when none fits, or past its limit.
    pub package: Option<Arc<[u8]>>,
    /// Units in source order.
    pub units: Vec<Prepared>,
    /// Findings about the whole; an error among them keeps the document as a whole.
    pub notes: Vec<Note>,
    /// Receipt to check and to write; `None` in a replay.
    pub key: Option<MessageKey>,
    /// In a replay: the waiting units (label, ordinal). Others are left alone.
    pub only: Option<HashSet<(String, usize)>>,
    /// Do everything, then undo it; `None`: do it.
    pub dry_run: Option<DryRun>,
    /// What of the sender may wait.
    pub limits: WaitingLimits,
    /// Makes the audit record of what was done.
    pub audit: Audit,
}

/// How to do without doing.
#[derive(Clone)]
pub struct DryRun {
    /// Leave to read: what stands and what would is told as far as it goes. Without it only the outcome is.
    pub look: Option<Permit>,
}

/// How a document ended.
#[derive(Debug, Clone)]
pub struct Done {
    /// HTTP status of its answer.
    pub status: StatusCode,
    /// OperationOutcome, JSON text.
    pub body: String,
    /// What became of each unit; `None` when an earlier answer was given again.
    pub report: Option<Report>,
    /// For the audit record.
    pub facts: IngestFacts,
    /// Documents with a withdrawal that waited for what this one created.
    pub unblocked: Vec<String>,
}

/// Why a work was undone on purpose.
enum Undone {
    /// These units were refused: do it again without them.
    Refused(HashMap<usize, Vec<Note>>),
    /// It was a dry run.
    DryRun(Box<Done>),
}

/// Applies a document.
///
/// Errors: the store's own failures, and refusals that concern no single unit; nothing is stored then.
pub async fn apply(store: &dyn Store, job: Arc<Job>) -> Result<Done, Refusal> {
    let mut refused: HashMap<usize, Vec<Note>> = HashMap::new();
    loop {
        let undone = Arc::new(Mutex::new(None));
        let (slot, work, known) = (undone.clone(), job.clone(), refused.clone());
        let outcome =
            write::commit(store, &job.desk.permit, move |writer| match work.run(writer, &known)? {
                Ok(done) => Ok(done),
                Err(reason) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                    Err(refuse(
                        Refusal::new(Reason::Internal, "").because("an ingest work undone on purpose"),
                    ))
                }
            })
            .await;
        let reason = undone.lock().unwrap_or_else(PoisonError::into_inner).take();
        match reason {
            None => return outcome,
            Some(Undone::DryRun(done)) => return Ok(*done),
            Some(Undone::Refused(more)) => refused.extend(more),
        }
    }
}

/// What one turn has gathered.
#[derive(Default)]
struct Turn {
    reports: Vec<(usize, UnitReport)>,
    refused: HashMap<usize, Vec<Note>>,
    targets: Vec<Target>,
    facts: IngestFacts,
    unblocked: Vec<String>,
    /// Labels of withdrawals that wait for their original: what else is made of the same place waits with them.
    without_original: HashSet<String>,
    /// What is kept of the document from before.
    held: Held,
    /// Spellings of this document's resources -> `Type/id`.
    entries: HashMap<String, String>,
}

impl Turn {
    /// Lets the document refer to a patient it was linked to, whoever keeps her Patient: who sends a BSN knows the patient
    /// (docs/decisions/0002).
    fn know(&mut self, patient: &ResourceId) {
        let plain = format!("Patient/{patient}");
        self.entries.insert(plain.clone(), plain);
    }
}

impl Job {
    fn run(
        &self,
        writer: &mut dyn Writer,
        refused: &HashMap<usize, Vec<Note>>,
    ) -> Result<Result<Done, Undone>, StoreError> {
        let mut notes = self.notes.clone();
        let held = Held::of(writer, self.party(), &self.sha256)?;
        if let Some(key) = &self.key {
            match key.seen(writer, &self.mapping)? {
                Seen::New => {}
                // The answer of the day does not know what was set aside since.
                Seen::Same(_) if held.any_discarded() => {}
                Seen::Same(receipt) => return self.again(writer, receipt).map(Ok),
                Seen::Changed(earlier) => {
                    notes.push(reused());
                    self.supersede(writer, &earlier)?;
                }
            }
        }
        let mut turn = Turn { held, ..Turn::default() };
        self.spell(refused, &mut turn);
        for at in self.order() {
            let Some(unit) = self.units.get(at) else { continue };
            if !self.wanted(unit) {
                continue;
            }
            let report = self.unit(writer, unit, refused.get(&at), at, &mut turn)?;
            turn.reports.push((at, report));
        }
        if !turn.refused.is_empty() {
            return Ok(Err(Undone::Refused(turn.refused)));
        }
        self.finish(writer, turn, notes)
    }

    /// Stores a version of a resource of the document; in a dry run with what it would change.
    fn put(
        &self,
        writer: &mut dyn Writer,
        draft: &Draft,
        expect: Expect,
        turn: &Turn,
    ) -> Result<(Written, Option<Pair>), StoreError> {
        let before = match &draft.id {
            Some(id) => self.shown(writer, draft.kind, id)?,
            None => None,
        };
        let written = write::put_draft(writer, &self.desk, draft, expect, &Links::of(&turn.entries))?;
        let after = self.shown(writer, draft.kind, &written.id)?;
        let pair = after.map(|after| Pair { before: before.map(|before| before.body), after: after.body });
        Ok((written, pair))
    }

    /// A resource as it stands inside this turn, as far as a dry run may tell of it.
    fn shown(
        &self,
        writer: &mut dyn Writer,
        kind: ResourceType,
        id: &ResourceId,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(look) = self.dry_run.as_ref().and_then(|dry_run| dry_run.look.as_ref()) else {
            return Ok(None);
        };
        let mut found = None;
        writer.under(look, &mut |reader| {
            found = reader.current(kind, id)?.filter(|stored| !stored.deleted);
            if let Some(stored) = &mut found {
                obligation::apply(look, stored)?;
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// A document under an earlier one's control number takes the place of what waits of that: the units of the same
    /// place, and the whole of a document that could not be read. The originals stay.
    fn supersede(&self, writer: &mut dyn Writer, earlier: &[String]) -> Result<(), StoreError> {
        if self.whole() {
            return Ok(());
        }
        for sha256 in earlier {
            let held = Held::of(writer, self.party(), sha256)?;
            held.release(writer, self.party(), "", 0)?;
            for unit in &self.units {
                held.release(writer, self.party(), &unit.label, unit.ordinal)?;
            }
        }
        Ok(())
    }

    /// The same document again: the earlier answer, an audit record, nothing else.
    fn again(&self, writer: &mut dyn Writer, receipt: Receipt) -> Result<Done, StoreError> {
        let (status, body) = receipt.answer();
        let facts = IngestFacts {
            repeated: true,
            status: status.as_u16(),
            sha256: self.sha256.clone(),
            ..IngestFacts::default()
        };
        writer.append_audit(&(self.audit)(&facts))?;
        Ok(Done { status, body, report: None, facts, unblocked: Vec::new() })
    }

    /// Patients first, so that the others find their dossier.
    fn order(&self) -> Vec<usize> {
        let is_patient = |at: &usize| {
            let ready = self.units.get(*at).and_then(|unit| unit.ready.as_ref());
            ready.is_some_and(|ready| ready.kind == write::kinds().patient)
        };
        let (mut order, others): (Vec<usize>, Vec<usize>) = (0..self.units.len()).partition(is_patient);
        order.extend(others);
        order
    }

    fn wanted(&self, unit: &Prepared) -> bool {
        let Some(only) = &self.only else { return true };
        // A document kept as a whole waits with all its units.
        only.contains(&(String::new(), 0)) || only.contains(&(unit.label.clone(), unit.ordinal))
    }

    /// How units of this document may refer to each other.
    fn spell(&self, refused: &HashMap<usize, Vec<Note>>, turn: &mut Turn) {
        for (at, unit) in self.units.iter().enumerate() {
            let Some(ready) = unit.ready.as_ref().filter(|_| !refused.contains_key(&at)) else { continue };
            let Some(id) = &ready.id else { continue };
            let plain = format!("{}/{id}", definitions::r4().type_name(ready.kind));
            turn.entries.extend(ready.spellings.iter().map(|spelling| (spelling.clone(), plain.clone())));
        }
    }

    /// Whether the document is kept as a whole.
    fn whole(&self) -> bool {
        self.notes.iter().any(Note::is_error)
    }

    fn party(&self) -> PartyKey {
        self.desk.permit.filter().organisation
    }
}

fn refuse(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}

fn reused() -> Note {
    Note::new(
        "warning",
        "message-key-reused",
        "Another document came under the same control number before; this one is taken as its correction.",
        "Give every document a control number of its own.",
    )
}
