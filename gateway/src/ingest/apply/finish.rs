//! Everything beside the resources of a document, in the same transaction: quarantine, original, Provenance, receipt, audit.

use std::sync::Arc;

use sluis_conformance::definitions;

use super::{Done, Job, Turn, Undone};
use crate::ingest::answer::{Did, Report};
use crate::ingest::kept;
use crate::ingest::note::Note;
use crate::ingest::provenance::{self, Origin};
use crate::ingest::quarantine::{Discard, Entry};
use crate::ingest::receipt::Receipt;
use crate::ingest::unmapped;
use crate::interaction::reference::Links;
use crate::interaction::write::{self, Draft, Expect};
use crate::store::{StoreError, Writer};

impl Job {
    /// Ends a turn.
    pub(super) fn finish(
        &self,
        writer: &mut dyn Writer,
        mut turn: Turn,
        mut notes: Vec<Note>,
    ) -> Result<Result<Done, Undone>, StoreError> {
        let discarded = turn.held.discarded("", 0).filter(|_| self.units.is_empty());
        notes.extend(discarded.as_ref().map(Discard::note));
        self.settle_quarantine(writer, &turn)?;
        provenance::keep_original(writer, self.party(), &self.sha256, &self.original)?;
        if let Some(package) = self.package.as_ref().filter(|_| !turn.targets.is_empty()) {
            kept::keep(writer, self.party(), &self.mapping, package)?;
        }
        self.provenance(writer, &mut turn)?;
        self.count_unmapped(writer)?;

        turn.reports.sort_by_key(|(at, _)| *at);
        let report = Report {
            sha256: self.sha256.clone(),
            map: self.map.clone(),
            units: turn.reports.into_iter().map(|(_, report)| report).collect(),
            notes,
            discarded: discarded.is_some(),
        };
        let (status, body) = (report.status(), report.to_outcome());
        let waiting = report.count(Did::Kept) > 0 || self.whole();
        // What was set aside may be taken back: that answer is for now, and not for whoever sends it again.
        if let Some(key) = self.key.as_ref().filter(|_| !turn.held.any_discarded()) {
            key.keep(writer, &Receipt::new(status, body.clone(), &self.mapping, waiting))?;
        }
        let mut facts = turn.facts;
        facts.settle(self, &report);
        writer.append_audit(&(self.audit)(&facts))?;
        let done = Done { status, body, report: Some(report), facts, unblocked: turn.unblocked };
        Ok(if self.dry_run.is_some() { Err(Undone::DryRun(Box::new(done))) } else { Ok(done) })
    }

    /// Kept units onto the shelf, applied ones off it.
    fn settle_quarantine(&self, writer: &mut dyn Writer, turn: &Turn) -> Result<(), StoreError> {
        let entry = |label: &str, ordinal: usize, notes: &[Note]| {
            Entry::new(&self.sha256, self.notation, label, ordinal, notes.to_vec(), &self.map, self.desk.now)
        };
        let mut kept = Vec::new();
        if self.whole() {
            let waits = turn.held.discarded("", 0).is_none();
            kept.extend(waits.then(|| entry("", 0, &self.notes)));
        } else {
            turn.held.release(writer, self.party(), "", 0)?;
            for (at, report) in &turn.reports {
                let ordinal = self.units.get(*at).map_or(0, |unit| unit.ordinal);
                match report.did {
                    Did::Kept => kept.push(entry(&report.label, ordinal, &report.notes)),
                    Did::Discarded => {}
                    _ => turn.held.release(writer, self.party(), &report.label, ordinal)?,
                }
            }
        }
        // A replay of what waits is no new load, even where one document waits in parts afterwards.
        let limits = self.only.is_none().then_some(self.limits);
        turn.held.keep(writer, self.party(), kept, self.original.len() as u64, limits)
    }

    /// What the tables have no rows for, of a document that came in; a replay of it says nothing new.
    fn count_unmapped(&self, writer: &mut dyn Writer) -> Result<(), StoreError> {
        if self.key.is_none() {
            return Ok(());
        }
        let notes = self.units.iter().flat_map(|unit| &unit.notes).chain(&self.notes);
        let codes = notes.filter_map(|note| note.untranslated.as_deref());
        unmapped::count(writer, self.party(), &self.map, self.desk.now, codes)
    }

    fn provenance(&self, writer: &mut dyn Writer, turn: &mut Turn) -> Result<(), StoreError> {
        let origin = Origin {
            sender: &self.sender,
            notation: self.notation,
            sha256: &self.sha256,
            map: &self.map,
            mapping: &self.mapping,
            recorded: self.desk.now,
        };
        let kind = definitions::r4()
            .resource_type("Provenance")
            .ok_or_else(|| StoreError::Database("the definitions know no Provenance".to_owned()))?;
        for text in provenance::resources(&turn.targets, origin) {
            let draft = Draft { kind, id: None, doc: Arc::new(provenance::parse(text)?) };
            let written =
                write::put_draft(writer, &self.desk, &draft, Expect::New, &Links::of(&turn.entries))?;
            turn.facts.touch(
                written.derived,
                Some(&format!("Provenance/{}/_history/{}", written.id, written.version)),
            );
        }
        Ok(())
    }
}
