//! Two numbers of a sender that are one patient (HL7v2 A34, A40): the Patient of the number given up is linked to the one that
//! stays, and what the sender says of that number from now on is said of her.
//!
//! Nothing is merged. What was written about the Patient of the old number stays hers, whoever wrote it, and a Patient
//! that another organisation keeps is not changed at all.

use sluis_mappings::output::Subject;

use super::unit::Unit;
use super::{Job, Turn, before};
use crate::ids::ResourceId;
use crate::ingest::answer::Did;
use crate::ingest::link;
use crate::ingest::note::Note;
use crate::ingest::prepare::{Prepared, Ready};
use crate::interaction::write::{Draft, Expect};
use crate::store::{StoreError, Stored, Writer};

impl Job {
    /// `who` is the number given up and the patient that stays; `own` the sender's own Patient of that number, `known` any.
    #[expect(clippy::too_many_arguments, reason = "the parts of one unit, gathered by its caller")]
    pub(super) fn replace(
        &self,
        writer: &mut dyn Writer,
        unit: &Prepared,
        ready: &Ready,
        (subject, by): (&Subject, &Subject),
        own: Option<&Stored>,
        known: Option<ResourceId>,
        turn: &mut Turn,
    ) -> Result<Unit, StoreError> {
        let stays = match link::known(writer, &self.desk, by)? {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(Unit::Kept(unknown())),
            Err(note) => return Ok(Unit::Kept(note)),
        };
        link::repoint(writer, &self.desk, subject, &stays)?;
        turn.know(&stays);
        let there = |id: &ResourceId, note| Unit::There {
            did: Did::Unchanged,
            reference: format!("Patient/{id}"),
            note,
            pair: None,
        };
        let Some(known) = known else { return Ok(there(&stays, None)) };
        if known == stays {
            return Ok(there(&stays, None));
        }
        let Some(own) = own else { return Ok(there(&known, Some(kept_elsewhere()))) };
        turn.know(&known);
        let Some(doc) = before::replaced(own, &stays)? else {
            turn.facts.touch(own.derived, None);
            return Ok(there(&known, None));
        };
        let draft = Draft { kind: ready.kind, id: Some(known), doc };
        let (written, pair) = self.put(writer, &draft, Expect::Either, turn)?;
        let reference = format!("Patient/{}/_history/{}", written.id, written.version);
        self.target(writer, turn, unit, ready, &written, &reference)?;
        Ok(Unit::There { did: Did::Updated, reference, note: None, pair })
    }
}

fn unknown() -> Note {
    Note::new(
        "error",
        "patient-unknown",
        "The patient that is to take the place of another is not known.",
        "Send the message with her citizen service number (BSN) or a number that was sent with it, then replay.",
    )
}

fn kept_elsewhere() -> Note {
    Note::new(
        "warning",
        "patient-of-another",
        "Another organisation keeps the Patient of the number given up; it is not changed. The number means the other patient from now on.",
        "Tell that organisation when its registration is double.",
    )
}
