//! patch (FHIR R4 http.html#patch): a resource changed in part, judged and stored like an update.
//!
//! What no operation touches keeps its digits and its order: the patched text is spliced from the stored one.

mod json;
mod path;
mod tree;

use std::sync::Arc;

use sluis_conformance::json::{Doc, JsonLimits};

use super::change::Guard;
use super::reference::Links;
use super::write::{self, Desk, Draft, Expect, Written};
use crate::connection::limits::Limits;
use crate::connection::request::Patch;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Writer};

/// How far a patch may go: lines of the table of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Operations in one patch.
    pub operations_max: u64,
    /// Values a patched resource may hold: copies of copies grow fast.
    pub nodes_max: u64,
    /// Steps that finding the places of a FHIRPath Patch may take; the writer waits for them.
    pub steps_max: u64,
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Bounds {
        Bounds {
            operations_max: limits.patch_operations_max,
            nodes_max: limits.patch_nodes_max,
            steps_max: limits.patch_steps_max,
        }
    }
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds::from(&Limits::default())
    }
}

/// A patch whose form is checked.
#[derive(Debug, Clone)]
pub struct Checked {
    patch: Arc<Patch>,
    bounds: Bounds,
}

/// Checks a patch's form, without looking at stored data.
///
/// Errors: `Malformed` names the operation, `TooCostly` the limit passed, `Invalid` what is wrong with a Parameters resource.
pub fn check(patch: &Arc<Patch>, bounds: Bounds) -> Result<Checked, Refusal> {
    match &**patch {
        Patch::Json(doc) => json::operations(doc, bounds.operations_max).map(|_| ())?,
        Patch::Path(doc) => {
            path::operations(doc, bounds.operations_max)?;
            write::check(doc)?;
        }
    }
    Ok(Checked { patch: Arc::clone(patch), bounds })
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
    patch: &Checked,
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
    let text = match &*patch.patch {
        Patch::Json(doc) => json::apply(&stored, doc, &patch.bounds).map_err(refused)?,
        Patch::Path(doc) => path::apply(&stored, doc, &patch.bounds).map_err(refused)?,
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
