//! `$validate` (FHIR R4 resource-operation-validate.html): what a write would say of a resource, without writing it.
//!
//! It judges what [`write::check`] judges, and tells warnings too. For an update or a deletion it looks at the resource that is
//! there, under the permit of that change; nothing is written but the record of the look.

use std::sync::Arc;

use http::StatusCode;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::Doc;
use sluis_conformance::validate::{Severity, validate};
use sluis_mappings::directive;

use super::{Facts, Outcome, found_body, shape};
use crate::connection::request::{Format, Validation};
use crate::decision::{Permit, may_write};
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::refusal::{Issue, Reason, Refusal, outcome};
use crate::store::{Reader, StoreError};

/// What would be done with the resource (FHIR R4 valueset-resource-validation-mode.html).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing named: the resource alone is judged.
    Alone,
    /// create
    Create,
    /// update
    Update,
    /// delete
    Delete,
}

impl Mode {
    /// Of a request; validation against a profile is refused by name.
    ///
    /// Errors: `ParameterInvalid`, `ParameterUnknown`.
    pub fn of(asked: &Validation) -> Result<Mode, Refusal> {
        let no_profile = "Resources are validated against R4, not against profiles.";
        if asked.profile.is_some() {
            return Err(Refusal::new(Reason::ParameterUnknown, no_profile).at("profile"));
        }
        match asked.mode.as_deref() {
            None => Ok(Mode::Alone),
            Some("create") => Ok(Mode::Create),
            Some("update") => Ok(Mode::Update),
            Some("delete") => Ok(Mode::Delete),
            Some("profile") => Err(Refusal::new(Reason::ParameterUnknown, no_profile).at("mode")),
            Some(_) => {
                Err(Refusal::new(Reason::ParameterInvalid, "mode is create, update or delete.").at("mode"))
            }
        }
    }
}

/// A validation, ready to run.
pub struct Prepared<'i> {
    kind: ResourceType,
    id: Option<&'i ResourceId>,
    mode: Mode,
    doc: Option<&'i Arc<Doc>>,
}

/// Checks what is asked.
///
/// Errors: those of [`Mode::of`]; `ParameterInvalid` without a resource to judge, or for a deletion of none.
pub fn prepare<'i>(
    kind: ResourceType,
    id: Option<&'i ResourceId>,
    asked: &'i Validation,
) -> Result<Prepared<'i>, Refusal> {
    let invalid = |at: &str, text: &str| Err(Refusal::new(Reason::ParameterInvalid, text).at(at));
    let mode = Mode::of(asked)?;
    match (mode, &asked.resource, id) {
        (Mode::Delete, Some(_), _) => {
            return invalid("resource", "What is deleted is named by its id alone.");
        }
        (Mode::Delete, None, None) => return invalid("mode", "A deletion is of [type]/[id]/$validate."),
        (Mode::Alone | Mode::Create | Mode::Update, None, _) => {
            return invalid("resource", "The resource to be judged is due.");
        }
        (Mode::Create, _, Some(_)) => return invalid("mode", "A create is of [type]/$validate."),
        _ => {}
    }
    Ok(Prepared { kind, id, mode, doc: asked.resource.as_ref() })
}

impl Prepared<'_> {
    /// Judges, in a snapshot where the present resource matters.
    ///
    /// Errors: `NotFound` for a resource that is not there or not visible, not told apart.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let mut issues = self.doc.map(|doc| found(doc)).unwrap_or_default();
        let mut facts = Facts::default();
        if let Some(doc) = self.doc
            && matches!(self.mode, Mode::Create | Mode::Update)
            && shape::is_part(doc)
        {
            issues.push(error("business-rule", "It is a part of a resource (tagged SUBSETTED).", "meta.tag"));
        }
        let named = self.doc.and_then(|doc| doc.root().get("id")).and_then(|node| node.as_str());
        let id = match (self.id, self.mode) {
            (Some(id), _) => {
                if self.doc.is_some() && named.as_deref() != Some(id.as_str()) {
                    issues.push(error("invalid", "The id of the resource is not that of the address.", "id"));
                }
                Some(id.clone())
            }
            (None, Mode::Update) => {
                let id = named.as_deref().and_then(ResourceId::parse);
                if id.is_none() {
                    issues.push(error("required", "An update needs the id of the resource.", "id"));
                }
                id
            }
            (None, _) => None,
        };
        if let Some(id) = id {
            let there = reader.current(self.kind, &id)?;
            let there = there.ok_or_else(|| StoreError::Refused(Box::new(Refusal::not_found())))?;
            facts = Facts::of(std::slice::from_ref(&there));
            if matches!(self.mode, Mode::Update | Mode::Delete)
                && let Err(refusal) = may_write(permit, self.kind, Some(&there.derived), &there.derived)
            {
                issues.push(error(refusal.reason.row().code, &refusal.details, r4().type_name(self.kind)));
            }
        }
        if issues.is_empty() {
            issues.push(Issue {
                severity: "information",
                code: "informational",
                diagnostics: "Nothing was found wrong.".to_owned(),
                expression: Vec::new(),
            });
        }
        // "the operation returns 200 ... whether or not the resource is valid" (resource-operation-validate.html)
        let body = found_body(outcome(issues.iter()).into(), format);
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
    }
}

/// Everything found in a resource: structure, and treatment directives that say two things or none.
fn found(doc: &Doc) -> Vec<Issue> {
    let mut issues: Vec<Issue> = validate(r4(), doc.root())
        .into_iter()
        .map(|issue| Issue {
            severity: match issue.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Information => "information",
            },
            code: issue.code,
            diagnostics: format!("{} {}", issue.text, issue.remedy),
            expression: vec![issue.expression],
        })
        .collect();
    if issues.iter().all(|issue| issue.severity != "error") {
        let findings = directive::check(doc.root());
        issues.extend(findings.into_iter().map(|finding| {
            error("business-rule", &format!("{} {}", finding.text, finding.remedy), &finding.path)
        }));
    }
    issues
}

fn error(code: &'static str, diagnostics: &str, at: &str) -> Issue {
    Issue { severity: "error", code, diagnostics: diagnostics.to_owned(), expression: vec![at.to_owned()] }
}
