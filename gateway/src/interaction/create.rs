//! create (FHIR R4 http.html#create). The gateway gives the id; an id in the body is ignored.

use http::{StatusCode, header};

use super::reference::Links;
use super::write::{self, Desk, Draft, Expect, Written};
use super::{Facts, Outcome, Scene, found_body};
use crate::connection::request::{Format, ReturnPreference};
use crate::response::Answer;
use crate::response::refusal::{Issue, outcome};
use crate::store::{StoreError, Writer};

/// Stores a new resource.
///
/// Errors (nothing is stored): `Invalid`, `ReferenceUnresolved`, `BusinessRule`, `Forbidden`, `Conflict`.
pub fn create(
    writer: &mut dyn Writer,
    desk: &Desk,
    draft: &Draft,
    links: &Links<'_>,
) -> Result<Written, StoreError> {
    write::put_draft(writer, desk, draft, Expect::New, links)
}

/// The answer to a create or update, as `Prefer: return=` wants it (FHIR R4 http.html#ops).
pub fn answer(written: &Written, scene: &Scene<'_>, prefer: ReturnPreference, format: Format) -> Outcome {
    let status = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let path = format!("{}/{}", scene.type_name(written.kind), written.id);
    let answer = match prefer {
        ReturnPreference::Representation => Answer::fhir(status, found_body(written.body.clone(), format)),
        ReturnPreference::Minimal => Answer::empty(status),
        ReturnPreference::OperationOutcome => {
            let done = if written.created { "Created" } else { "Updated" };
            said(status, format!("{done} {path}, version {}.", written.version))
        }
    };
    let location = format!("{}/{path}/_history/{}", scene.base, written.version);
    let answer = answer.versioned(written.version, written.updated).with(header::LOCATION, &location);
    Outcome { answer, facts: Facts::written(written) }
}

/// What was done, as an OperationOutcome.
pub(super) fn said(status: StatusCode, diagnostics: String) -> Answer {
    let issue = Issue { severity: "information", code: "informational", diagnostics, expression: Vec::new() };
    Answer::fhir(status, outcome(std::iter::once(&issue)))
}
