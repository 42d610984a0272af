//! delete (FHIR R4 http.html#delete): a version that says so; history stays readable.

use http::StatusCode;

use super::write::{self, Desk, Written};
use super::{Facts, Outcome};
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::store::{StoreError, Writer};

/// Marks a resource deleted. Deleting what is deleted is done already: no new version.
///
/// Errors (nothing changes): `NotFound`, `Forbidden`, `VersionConflict`.
pub fn delete(
    writer: &mut dyn Writer,
    desk: &Desk,
    kind: ResourceType,
    id: &ResourceId,
    if_match: Option<u32>,
) -> Result<Written, StoreError> {
    write::put_deletion(writer, desk, kind, id, if_match)
}

/// 204 with the version of the deletion.
pub fn answer(written: &Written) -> Outcome {
    Outcome {
        answer: Answer::empty(StatusCode::NO_CONTENT).versioned(written.version, written.updated),
        facts: Facts::written(written),
    }
}
