//! update (FHIR R4 http.html#update). There is no update-as-create: ids are the gateway's, so that nobody can probe for
//! those of another organisation.

use std::collections::HashMap;

use super::write::{self, Desk, Draft, Expect, Written};
use crate::store::{StoreError, Writer};

/// Stores a new version of a resource the permit may change.
///
/// Errors (nothing is stored): `NotFound` when never stored or not visible, `Forbidden` when visible and not the
/// sender's own, `VersionConflict` when `if_match` is not the current version, and those of a create.
pub fn update(
    writer: &mut dyn Writer,
    desk: &Desk,
    draft: &Draft,
    if_match: Option<u32>,
    entries: &HashMap<String, String>,
) -> Result<Written, StoreError> {
    write::put_draft(writer, desk, draft, Expect::Existing(if_match), entries)
}
