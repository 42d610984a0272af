//! Subject -> Patient: by citizen service number (BSN), else by what the same sender said before of its own numbers.
//!
//! Never by name or birth date, and never by a guess: what is ambiguous is kept for mending.

use sluis_conformance::json::{Doc, JsonLimits};
use sluis_mappings::bsn::Bsn;
use sluis_mappings::output::Subject;

use super::apply::before::leads_to;
use super::digest::sha256_hex;
use super::note::Note;
use crate::ids::{PartyKey, ResourceId, SYSTEM_BSN};
use crate::interaction::write::{self, Desk};
use crate::store::{Shelf, StoreError, Writer};

/// Links followed from one Patient to the one that took its place; a longer chain ends where it is.
const LINKS_MAX: usize = 8;

/// What a link row holds when one local number was said of two patients.
const AMBIGUOUS: &str = "ambiguous";

/// The patient a subject is; `Err` inside: why there is none.
///
/// A BSN nobody sent before makes a Patient of the sender that holds nothing but the BSN, so that an answer does not tell
/// whether she was known. What a subject with a BSN says besides (local numbers, a reference of the sender's own
/// system) is remembered for later documents of the same sender.
pub fn patient(
    writer: &mut dyn Writer,
    desk: &Desk,
    subject: &Subject,
) -> Result<Result<ResourceId, Note>, StoreError> {
    let found = match known(writer, desk, subject)? {
        Ok(found) => found,
        Err(note) => return Ok(Err(note)),
    };
    match (found, &subject.bsn) {
        (Some(id), None) => Ok(Ok(id)),
        (None, None) => Ok(Err(Note::new(
            "error",
            "patient-unknown",
            "The document names its patient by numbers that were never sent together with a citizen service number (BSN).",
            "Send the BSN with the document, or send the Patient with its BSN first, then replay.",
        ))),
        (found, Some(bsn)) => {
            let id = match found {
                Some(id) => id,
                None => write::patient_by_bsn(writer, desk, bsn)?.1,
            };
            learn(writer, desk, subject, &id)?;
            Ok(Ok(id))
        }
    }
}

/// The patient a subject is, if anyone sent her before: a BSN goes before all else; without one, the sender's own numbers.
pub fn known(
    writer: &mut dyn Writer,
    desk: &Desk,
    subject: &Subject,
) -> Result<Result<Option<ResourceId>, Note>, StoreError> {
    let Some(bsn) = &subject.bsn else { return by_local(writer, desk, subject) };
    let Ok(bsn) = Bsn::parse(bsn) else {
        return Ok(Err(Note::new(
            "error",
            "bsn-invalid",
            "The citizen service number (BSN) fails the eleven-test.",
            "Correct it at the source and send the document again.",
        )));
    };
    match writer.patient_by_identifier(SYSTEM_BSN, bsn.as_str()) {
        Err(StoreError::Ambiguous) => Ok(Err(ambiguous("citizen service number (BSN)"))),
        found => Ok(Ok(found?.map(|(_, id)| id))),
    }
}

/// By the sender's own numbers, which the sender earlier gave together with a BSN or on a Patient of its own.
fn by_local(
    writer: &mut dyn Writer,
    desk: &Desk,
    subject: &Subject,
) -> Result<Result<Option<ResourceId>, Note>, StoreError> {
    let mut candidates = Vec::new();
    for row in rows(desk, subject) {
        let known = writer.shelf_get(Shelf::PatientLink, sender(desk), &row)?;
        if let Some(bytes) = known {
            candidates.push(last_of(writer, String::from_utf8_lossy(&bytes).into_owned())?);
        }
    }
    for (system, value) in &subject.local {
        let own = match writer.own_by_identifier(write::kinds().patient, system, value) {
            Err(StoreError::Ambiguous) => Some(AMBIGUOUS.to_owned()),
            own => own?.map(|stored| stored.id.as_str().to_owned()),
        };
        if let Some(own) = own {
            candidates.push(last_of(writer, own)?);
        }
    }
    candidates.sort_unstable();
    candidates.dedup();
    match candidates.as_slice() {
        [] => Ok(Ok(None)),
        [one] if one != AMBIGUOUS => Ok(Ok(ResourceId::parse(one))),
        _ => Ok(Err(ambiguous("local patient number"))),
    }
}

/// The patient an id leads to by its `replaced-by` links, which a sender's merges make (FHIR R4 patient.html#links).
fn last_of(writer: &mut dyn Writer, id: String) -> Result<String, StoreError> {
    let mut at = id;
    for _ in 0..LINKS_MAX {
        let Some(id) = ResourceId::parse(&at).filter(|_| at != AMBIGUOUS) else { return Ok(at) };
        let Some(stored) = writer.current(write::kinds().patient, &id)?.filter(|stored| !stored.deleted)
        else {
            return Ok(at);
        };
        let doc = Doc::parse(stored.body.to_vec(), JsonLimits::default())
            .map_err(|error| StoreError::Database(format!("a stored Patient does not parse: {error}")))?;
        let mut links = doc.root().get("link").into_iter().flat_map(|links| links.items());
        let Some(next) = links.find_map(leads_to) else { return Ok(at) };
        at = next.trim_start_matches("Patient/").to_owned();
    }
    Ok(at)
}

/// Lets the local numbers of a subject mean another patient from now on: a merge of the sender's says so.
pub fn repoint(
    writer: &mut dyn Writer,
    desk: &Desk,
    subject: &Subject,
    patient: &ResourceId,
) -> Result<(), StoreError> {
    for row in rows(desk, subject) {
        writer.shelf_put(Shelf::PatientLink, sender(desk), &row, patient.as_str().as_bytes())?;
    }
    Ok(())
}

/// Remembers what else a subject is called; a number said of two patients means none from then on.
pub fn learn(
    writer: &mut dyn Writer,
    desk: &Desk,
    subject: &Subject,
    patient: &ResourceId,
) -> Result<(), StoreError> {
    for row in rows(desk, subject) {
        let known = writer.shelf_get(Shelf::PatientLink, sender(desk), &row)?;
        let said = match known.as_deref() {
            Some(known) if known == patient.as_str().as_bytes() || known == AMBIGUOUS.as_bytes() => continue,
            Some(_) => AMBIGUOUS,
            None => patient.as_str(),
        };
        writer.shelf_put(Shelf::PatientLink, sender(desk), &row, said.as_bytes())?;
    }
    Ok(())
}

/// Shelf keys of what a subject says besides its BSN. Hashes, for they are patient numbers; a bare reference means
/// something only within one system of the sender, so the client is part of it.
fn rows(desk: &Desk, subject: &Subject) -> Vec<String> {
    let client = desk.permit.actor().map_or("", |actor| &actor.client);
    let local = subject.local.iter().map(|(system, value)| format!("identifier|{system}|{value}"));
    let reference = subject.reference.iter().map(|reference| format!("reference|{client}|{reference}"));
    local.chain(reference).map(|row| sha256_hex(row.as_bytes())).collect()
}

fn sender(desk: &Desk) -> PartyKey {
    desk.permit.filter().organisation
}

fn ambiguous(what: &str) -> Note {
    Note::new(
        "error",
        "patient-ambiguous",
        format!("The {what} leads to more than one patient."),
        "Have the double registration mended at the source, then replay.",
    )
}
