//! Whether a resource is R4 by structure: names, shapes, cardinality, primitive forms, choices, required codes, reference
//! targets, narrative, and the invariants of R4.
//!
//! A body meets this after parsing and before a decision about storing it; a mapping's result meets it before it leaves
//! the engine. It judges one resource with everything nested in it and looks nothing up elsewhere. Profiles and extensible
//! bindings are not judged here; which invariants are is what [`judged`] tells. Texts name places and rules and never repeat a value, so that an
//! outcome or a log line carries nothing about a patient.

mod binding;
mod invariant;
mod judged;
mod local;
mod narrative;
mod near;
mod primitive;
mod sure;
mod walk;

pub use judged::{Judged, judged};
pub(crate) use near::remedy as nearest;
pub use sure::{Sure, SureStructure, SureType, sure};

use crate::definitions::Definitions;
use crate::json::Node;

/// Issues told about one resource; after that one more says that the list is not complete.
pub const ISSUES_MAX: usize = 100;

/// How bad an issue is. Source: FHIR R4 valueset-issue-severity.html
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The resource is not valid.
    Error,
    /// The resource is valid and something is doubtful.
    Warning,
    /// Said for completeness.
    Information,
}

impl Severity {
    /// The code in `OperationOutcome.issue.severity`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// One fault and how to mend it; becomes one `OperationOutcome.issue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// How bad it is.
    pub severity: Severity,
    /// A code of FHIR's issue types: `structure`, `required`, `value`, `code-invalid`, `invariant`, `not-supported`,
    /// `too-long`, `incomplete`.
    pub code: &'static str,
    /// FHIRPath to the element: `Observation.component[1].valueQuantity.value`. Choices carry their JSON name.
    pub expression: String,
    /// What is wrong; never repeats a value.
    pub text: String,
    /// What to do about it.
    pub remedy: String,
    /// Line of the element in the source, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Issue {
    /// Whether it makes the resource invalid.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Judges a resource; empty means nothing was found.
///
/// Issues stand in reading order, within one object unknown and misshapen properties before missing ones and those
/// before invariants; invariants about contained resources come after all the rest of their container.
/// Source: FHIR R4 json.html, datatypes.html, validation.html#structure, #cardinality, #values, #bindings
pub fn validate(definitions: &Definitions, root: Node<'_>) -> Vec<Issue> {
    walk::resource(definitions, root)
}
