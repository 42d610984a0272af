//! One unit, inside the writer's turn: whose it is, whether it says something new, and its version.

use sluis_conformance::definitions;
use sluis_mappings::source::Format;

use super::{Job, Turn, before, order};
use crate::ids::ResourceId;
use crate::ingest::answer::{Did, UnitReport};
use crate::ingest::difference::Pair;
use crate::ingest::digest::content_hash;
use crate::ingest::link;
use crate::ingest::note::Note;
use crate::ingest::prepare::{Prepared, Ready};
use crate::ingest::provenance::Target;
use crate::ingest::quarantine;
use crate::ingest::source::Notation;
use crate::ingest::statement::{Made, Order, Statement};
use crate::interaction::write::{self, Draft, Expect};
use crate::store::{StoreError, Writer};

/// What became of one unit, inside a turn.
pub(super) enum Unit {
    /// It is in the store (or was).
    There { did: Did, reference: String, note: Option<Note>, pair: Option<Pair> },
    /// It cannot be applied; nothing was written for it.
    Kept(Note),
    /// The writer refused it after something was written.
    Refused(Vec<Note>),
}

impl Job {
    /// What becomes of a unit; one the writer refuses after something was written goes into `turn.refused`.
    pub(super) fn unit(
        &self,
        writer: &mut dyn Writer,
        unit: &Prepared,
        refused: Option<&Vec<Note>>,
        at: usize,
        turn: &mut Turn,
    ) -> Result<UnitReport, StoreError> {
        let mut report = UnitReport {
            label: unit.label.clone(),
            did: Did::Kept,
            reference: None,
            pair: None,
            notes: unit.notes.clone(),
        };
        let span = unit.spans.first().copied();
        if let Some(found) = refused {
            report.notes.extend(found.iter().map(|note| note.clone().of_unit(&unit.label, span)));
            return Ok(report);
        }
        if let Some(discard) = turn.held.discarded(&unit.label, unit.ordinal) {
            report.did = Did::Discarded;
            report.notes.push(discard.note().of_unit(&unit.label, span));
            return Ok(report);
        }
        let Some(ready) = &unit.ready else { return Ok(report) };
        if turn.without_original.contains(&unit.label) {
            report.notes.push(without_original().of_unit(&unit.label, span));
            return Ok(report);
        }
        let outcome = match self.write(writer, unit, ready, turn) {
            Ok(outcome) => outcome,
            Err(StoreError::Ambiguous) => Unit::Refused(vec![Note::new(
                "error",
                "patient-ambiguous",
                "An identifier leads to more than one patient.",
                "Have the double registration mended, then replay.",
            )]),
            // A refusal of the content keeps the unit; a failure of the gateway or the store ends the work.
            Err(StoreError::Refused(refusal)) if refusal.reason.row().status.is_client_error() => {
                Unit::Refused(Note::of_refusal(&refusal))
            }
            Err(error) => return Err(error),
        };
        match outcome {
            Unit::There { did, reference, note, pair } => {
                report.did = did;
                report.reference = Some(reference);
                report.pair = pair;
                report.notes.extend(note.map(|note| note.of_unit(&unit.label, span)));
            }
            Unit::Kept(note) if note.code == quarantine::CORRECTION => {
                turn.without_original.insert(unit.label.clone());
                report.notes.push(note.of_unit(&unit.label, span));
            }
            Unit::Kept(note) => report.notes.push(note.of_unit(&unit.label, span)),
            Unit::Refused(notes) => {
                turn.refused.insert(at, notes);
            }
        }
        Ok(report)
    }

    fn write(
        &self,
        writer: &mut dyn Writer,
        unit: &Prepared,
        ready: &Ready,
        turn: &mut Turn,
    ) -> Result<Unit, StoreError> {
        let Some(own) = &ready.id else { return self.patient(writer, unit, ready, turn) };
        let type_name = definitions::r4().type_name(ready.kind);
        let is_order = type_name == "ServiceRequest" && self.notation == Notation::Mapped(Format::Hl7v2);
        let ends = is_order && order::ends_only(ready.doc.root());
        let id = &match ends.then(|| order::find(writer, self.party(), ready.doc.root())).transpose()? {
            Some(Err(note)) => return Ok(Unit::Kept(note)),
            Some(Ok(Some(id))) => id,
            Some(Ok(None)) | None => own.clone(),
        };
        let name = format!("{type_name}/{id}");
        let mut statement = Statement::get(writer, self.party(), &name)?;
        let current = writer.current(ready.kind, id)?;
        if ends && current.is_none() {
            order::wait(writer, self.party(), ready.doc.root(), &self.sha256)?;
            self.withdrawn_early(writer, statement, &name)?;
            return Ok(Unit::Kept(order::not_received()));
        }
        if ready.withdrawn && current.is_none() {
            return self.withdrawn_early(writer, statement, &name).map(Unit::Kept);
        }
        let patient = match self.linked(writer, ready, turn)? {
            Ok(patient) => patient,
            Err(note) => return Ok(Unit::Kept(note)),
        };
        let Some(doc) = ready.about(patient.as_ref()) else {
            return Err(StoreError::Database("a resource with its patient does not parse".to_owned()));
        };
        let mut doc = before::with_left(&doc, current.as_ref(), &ready.left)?;
        if let Some(current) = current.as_ref().filter(|_| ends) {
            let whose = current.derived.patient.map(|key| writer.patient_id(key)).transpose()?.flatten();
            if whose != patient {
                return Ok(Unit::Kept(order::of_another()));
            }
            doc = before::ended(current, &doc)?;
        }
        let content = content_hash(doc.root());
        let time = ready.source_time.as_deref();
        if let Some(current) = &current {
            let reference = format!("{name}/_history/{}", current.version);
            match statement.order(time, &content) {
                Order::Apply => {}
                Order::Unchanged(later) => {
                    if later {
                        statement.source_time = ready.source_time.clone();
                        statement.put(writer, self.party(), &name)?;
                    }
                    turn.facts.touch(current.derived, None);
                    return Ok(Unit::There { did: Did::Unchanged, reference, note: None, pair: None });
                }
                Order::Stale => {
                    turn.facts.touch(current.derived, None);
                    return Ok(Unit::There { did: Did::Stale, reference, note: Some(stale()), pair: None });
                }
            }
        }
        let draft = Draft { kind: ready.kind, id: Some(id.clone()), doc };
        let (written, pair) = self.put(writer, &draft, Expect::Either, turn)?;
        turn.unblocked.append(&mut statement.waiting);
        if is_order && !ends {
            let waited = order::remember(writer, self.party(), draft.doc.root(), id)?;
            turn.unblocked.extend(waited);
        }
        statement.source_time = ready.source_time.clone().or(statement.source_time);
        statement.content = Some(content);
        statement.made = Some(self.made(unit, &written));
        statement.put(writer, self.party(), &name)?;
        let did = if written.created { Did::Created } else { Did::Updated };
        let reference = format!("{name}/_history/{}", written.version);
        self.target(writer, turn, unit, ready, &written, &reference)?;
        Ok(Unit::There { did, reference, note: None, pair })
    }

    /// A withdrawal that came before what it withdraws: remembered beside the resource, so that it is applied as soon as
    /// that arrives.
    fn withdrawn_early(
        &self,
        writer: &mut dyn Writer,
        mut statement: Statement,
        name: &str,
    ) -> Result<Note, StoreError> {
        if !statement.waiting.contains(&self.sha256) {
            statement.waiting.push(self.sha256.clone());
            statement.put(writer, self.party(), name)?;
        }
        Ok(without_original())
    }

    /// The patient of a unit: `Ok(None)` for one that names none.
    fn linked(
        &self,
        writer: &mut dyn Writer,
        ready: &Ready,
        turn: &mut Turn,
    ) -> Result<Result<Option<ResourceId>, Note>, StoreError> {
        let Some(subject) = &ready.subject else { return Ok(Ok(None)) };
        // In R4 a reference may lead to a Patient of this document, or of the gateway; put_draft judges both.
        if self.notation.is_r4() {
            let Some(reference) = &subject.reference else { return Ok(Ok(None)) };
            if turn.entries.contains_key(reference) {
                return Ok(Ok(None));
            }
            if let Ok(id) = link::patient(writer, &self.desk, subject)? {
                turn.know(&id);
                turn.entries.insert(reference.clone(), format!("Patient/{id}"));
            }
            return Ok(Ok(None));
        }
        let linked = link::patient(writer, &self.desk, subject)?;
        if let Ok(id) = &linked {
            turn.know(id);
        }
        Ok(linked.map(Some))
    }

    /// A Patient: linked by BSN or own number. One that another organisation made known stays theirs.
    fn patient(
        &self,
        writer: &mut dyn Writer,
        unit: &Prepared,
        ready: &Ready,
        turn: &mut Turn,
    ) -> Result<Unit, StoreError> {
        let Some(subject) = &ready.subject else {
            return Ok(Unit::Kept(Note::new(
                "error",
                "identity-missing",
                "The Patient has no identifier.",
                "Send its citizen service number (BSN) or the sender's own number.",
            )));
        };
        let id = match link::known(writer, &self.desk, subject)? {
            Err(note) => return Ok(Unit::Kept(note)),
            Ok(id) => id,
        };
        let current = match &id {
            None => None,
            Some(id) => match writer.current(ready.kind, id)?.filter(|p| p.derived.author == self.party()) {
                Some(current) => Some(current),
                None => {
                    if let Some(by) = &ready.replaced_by {
                        return self.replace(
                            writer,
                            unit,
                            ready,
                            (subject, by),
                            None,
                            Some(id.clone()),
                            turn,
                        );
                    }
                    link::learn(writer, &self.desk, subject, id)?;
                    self.spell_patient(ready, id, turn);
                    return Ok(Unit::There {
                        did: Did::Unchanged,
                        reference: format!("Patient/{id}"),
                        note: Some(known_elsewhere()),
                        pair: None,
                    });
                }
            },
        };
        if let Some(by) = &ready.replaced_by {
            return self.replace(writer, unit, ready, (subject, by), current.as_ref(), id, turn);
        }
        let doc = before::with_left(&ready.doc, current.as_ref(), &ready.left)?;
        let content = content_hash(doc.root());
        let mut statement = Statement::default();
        if let (Some(id), Some(current)) = (&id, &current) {
            statement = Statement::get(writer, self.party(), &format!("Patient/{id}"))?;
            self.spell_patient(ready, id, turn);
            link::learn(writer, &self.desk, subject, id)?;
            let reference = format!("Patient/{id}/_history/{}", current.version);
            match statement.order(ready.source_time.as_deref(), &content) {
                Order::Apply => {}
                Order::Unchanged(_) => {
                    turn.facts.touch(current.derived, None);
                    return Ok(Unit::There { did: Did::Unchanged, reference, note: None, pair: None });
                }
                Order::Stale => {
                    turn.facts.touch(current.derived, None);
                    return Ok(Unit::There { did: Did::Stale, reference, note: Some(stale()), pair: None });
                }
            }
        }
        let expect = if id.is_some() { Expect::Either } else { Expect::New };
        let draft = Draft { kind: ready.kind, id, doc };
        let (written, pair) = self.put(writer, &draft, expect, turn)?;
        link::learn(writer, &self.desk, subject, &written.id)?;
        self.spell_patient(ready, &written.id, turn);
        statement.source_time = ready.source_time.clone().or(statement.source_time);
        statement.content = Some(content);
        statement.made = Some(self.made(unit, &written));
        statement.put(writer, self.party(), &format!("Patient/{}", written.id))?;
        let did = if written.created { Did::Created } else { Did::Updated };
        let reference = format!("Patient/{}/_history/{}", written.id, written.version);
        self.target(writer, turn, unit, ready, &written, &reference)?;
        Ok(Unit::There { did, reference, note: None, pair })
    }

    fn made(&self, unit: &Prepared, written: &write::Written) -> Made {
        Made {
            version: written.version,
            sha256: self.sha256.clone(),
            notation: self.notation.as_str().to_owned(),
            label: unit.label.clone(),
            ordinal: unit.ordinal,
            map: self.map.clone(),
            mapping: self.mapping.clone(),
        }
    }

    fn spell_patient(&self, ready: &Ready, id: &ResourceId, turn: &mut Turn) {
        turn.know(id);
        let plain = format!("Patient/{id}");
        turn.entries.extend(ready.spellings.iter().map(|spelling| (spelling.clone(), plain.clone())));
    }

    pub(super) fn target(
        &self,
        writer: &mut dyn Writer,
        turn: &mut Turn,
        unit: &Prepared,
        ready: &Ready,
        written: &write::Written,
        reference: &str,
    ) -> Result<(), StoreError> {
        let patient = match written.derived.patient {
            Some(key) => writer.patient_id(key)?,
            None => None,
        };
        if let Some(id) = &patient {
            turn.know(id);
        }
        turn.facts.touch(written.derived, Some(reference));
        turn.targets.push(Target {
            reference: reference.to_owned(),
            label: unit.label.clone(),
            spans: unit.spans.clone(),
            derived: written.derived,
            patient,
            source_time: ready.source_time.clone(),
        });
        Ok(())
    }
}

fn without_original() -> Note {
    Note::new(
        "error",
        quarantine::CORRECTION,
        "The document withdraws a result that was never received.",
        "Nothing to do when the original is on its way: the withdrawal is applied when it arrives.",
    )
}

fn stale() -> Note {
    Note::new(
        "warning",
        "stale",
        "The sender said something later about this already; this older statement does not replace it.",
        "Nothing to do: documents may arrive in any order.",
    )
}

fn known_elsewhere() -> Note {
    Note::new(
        "warning",
        "patient-known",
        "Another organisation keeps this Patient; the demographics of this document are kept with the original only.",
        "Nothing to do: the document's other resources are linked to that Patient.",
    )
}
