//! read and vread (FHIR R4 http.html#read, #vread).

use bytes::Bytes;
use http::StatusCode;

use super::perform::Aside;
use super::{Facts, Outcome, found_body, obligation, shape};
use crate::connection::request::Shape;
use crate::decision::Permit;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, StoreError, Stored};

/// Current version of a resource, as far as the reader's permit may see it.
///
/// Errors: `NotFound` when never stored or not visible, not told apart; `Gone` when deleted and visible.
pub fn read(
    reader: &mut dyn Reader,
    permit: &Permit,
    kind: ResourceType,
    id: &ResourceId,
    aside: &Aside,
) -> Result<Outcome, StoreError> {
    let mut stored = reader.current(kind, id)?.ok_or_else(|| refused(Refusal::not_found()))?;
    if stored.deleted {
        return Err(refused(Refusal::new(Reason::Gone, "")));
    }
    obligation::apply(permit, &mut stored)?;
    answer(&stored, aside)
}

/// One version, if it and the current one may be seen.
///
/// Errors: `NotFound`; `Gone` for a version that is a deletion.
pub fn vread(
    reader: &mut dyn Reader,
    permit: &Permit,
    kind: ResourceType,
    id: &ResourceId,
    version: Option<u32>,
    aside: &Aside,
) -> Result<Outcome, StoreError> {
    let version = version.ok_or_else(|| refused(Refusal::not_found()))?;
    let mut stored = reader.version(kind, id, version)?.ok_or_else(|| refused(Refusal::not_found()))?;
    if stored.deleted {
        return Err(refused(Refusal::new(Reason::Gone, "")));
    }
    obligation::apply(permit, &mut stored)?;
    answer(&stored, aside)
}

fn answer(stored: &Stored, aside: &Aside) -> Result<Outcome, StoreError> {
    let facts = Facts::of(std::slice::from_ref(stored));
    let preconditions = &aside.preconditions;
    // FHIR R4 http.html#cread: If-None-Match wins over If-Modified-Since.
    let unchanged = match preconditions.if_none_match {
        Some(etag) => etag.is_none_or(|version| version == stored.version),
        None => {
            preconditions.if_modified_since.is_some_and(|since| stored.updated.seconds() <= since.seconds())
        }
    };
    let answer = if unchanged {
        Answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let body = match aside.shape {
            Shape::Whole => stored.body.clone(),
            _ => Bytes::from(shape::cut(stored, &aside.shape)?.into_owned()),
        };
        Answer::fhir(StatusCode::OK, found_body(body, aside.format))
    };
    Ok(Outcome { answer: answer.versioned(stored.version, stored.updated), facts })
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}
