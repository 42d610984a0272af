//! patch (FHIR R4 http.html#patch): a resource changed in part, judged and stored like an update.
//!
//! What no operation touches keeps its digits and its order: the patched text is spliced from the stored one.

mod json;
mod tree;

use std::sync::Arc;

use sluis_conformance::json::{Doc, JsonLimits};

use super::change::Guard;
use super::reference::Links;
use super::write::{self, Desk, Draft, Expect, Written};
use crate::connection::request::Patch;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Writer};

/// Operations in one patch.
pub const OPERATIONS_MAX: usize = 1_000;
/// Values a patched resource may hold: copies of copies grow fast.
pub const NODES_MAX: usize = 200_000;

/// Checks a patch's form, without looking at stored data.
///
/// Errors: `Malformed` names the operation, `TooCostly` the limit passed.
pub fn check(patch: &Patch) -> Result<(), Refusal> {
    match patch {
        Patch::Json(doc) => json::operations(doc).map(|_| ()),
        Patch::Path(_) => Err(Refusal::new(
            Reason::NotImplemented,
            "FHIRPath Patch: send a JSON Patch (application/json-patch+json).",
        )),
    }
}

/// Stores the patched resource as a new version.
///
/// Errors (nothing is stored): `NotFound`, `Gone`, `Forbidden`, `VersionConflict`; `PatchFailed` for an operation that
/// does not apply or a `test` that does not hold; `Invalid` when what comes of it is not valid R4.
pub fn patch(
    writer: &mut dyn Writer,
    desk: &Desk,
    kind: ResourceType,
    id: &ResourceId,
    patch: &Patch,
    guard: Guard,
    links: &Links<'_>,
) -> Result<Written, StoreError> {
    let old = writer.current(kind, id)?.ok_or_else(|| refused(Refusal::not_found()))?;
    write::match_version(&old, guard.if_match)?;
    if old.deleted {
        return Err(refused(Refusal::new(Reason::Gone, "")));
    }
    let stored = Doc::parse(old.body.to_vec(), JsonLimits::default()).map_err(|error| {
        refused(
            Refusal::new(Reason::Internal, "").because(format!("stored resource does not parse: {error}")),
        )
    })?;
    let text = match patch {
        Patch::Json(doc) => json::apply(&stored, doc).map_err(refused)?,
        Patch::Path(_) => return Err(refused(Refusal::new(Reason::NotImplemented, "FHIRPath Patch."))),
    };
    let doc = Doc::parse(text.into_bytes(), JsonLimits::default())
        .map_err(|error| refused(Refusal::new(Reason::TooCostly, error.to_string())))?;
    for name in ["resourceType", "id"] {
        let raw = |doc: &Doc| doc.root().get(name).map(|node| node.raw().to_owned());
        if raw(&doc) != raw(&stored) {
            let text = format!("A patch does not change {name}.");
            return Err(refused(Refusal::new(Reason::PatchFailed, text).at(name)));
        }
    }
    write::check(&doc).map_err(refused)?;
    let draft = Draft { kind, id: Some(id.clone()), doc: Arc::new(doc) };
    write::put_draft(writer, desk, &draft, Expect::Existing(guard.if_match), links)
}

fn refused(refusal: Refusal) -> StoreError {
    StoreError::Refused(Box::new(refusal))
}
