//! update (FHIR R4 http.html#update), and update as create within the sender's own namespace: elsewhere ids are the
//! gateway's, so that nobody can probe for those of another organisation (docs/decisions/0011).

use super::change::Guard;
use super::reference::Links;
use super::write::{self, Desk, Draft, Expect, Written};
use crate::store::{StoreError, Writer};

/// Stores a new version of a resource the permit may change, or the first of one whose id its holder may choose.
///
/// Errors (nothing is stored): `NotFound` when never stored or not visible and the id is not of the own namespace,
/// `Forbidden` when visible and not the sender's own, `VersionConflict` when the guard does not hold, and those of a
/// create.
pub fn update(
    writer: &mut dyn Writer,
    desk: &Desk,
    draft: &Draft,
    guard: Guard,
    links: &Links<'_>,
) -> Result<Written, StoreError> {
    write::put_draft(writer, desk, draft, Expect::ExistingOrOwn(guard), links)
}
