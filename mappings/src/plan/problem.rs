//! What goes wrong while a map runs, before it has its place.

use std::ops::{Deref, DerefMut};

use crate::finding::{Severity, Untranslated};
use crate::source::NodeId;

use super::item::Item;
use super::target::WriteError;

/// What went wrong at a rule; becomes a finding. Boxed: every value of an expression is returned beside it.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Said>);

#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub severity: Severity,
    pub code: &'static str,
    pub text: String,
    pub remedy: String,
    pub node: Option<NodeId>,
    pub cause: Option<String>,
    pub untranslated: Option<Box<Untranslated>>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Problem {
        let (text, remedy) = (text.into(), remedy.into());
        Problem(Box::new(Said {
            severity: Severity::Error,
            code,
            text,
            remedy,
            node: None,
            cause: None,
            untranslated: None,
        }))
    }

    /// What is to be told.
    pub(crate) fn into_said(self) -> Said {
        *self.0
    }

    /// The same problem, placed on a source item.
    pub(crate) fn on(mut self, item: Item<'_>) -> Problem {
        if let Item::Node(node) = item {
            self.node = Some(node);
        }
        self
    }

    pub(crate) fn warning(mut self) -> Problem {
        self.severity = Severity::Warning;
        self
    }

    /// The code or unit that a table does not have.
    pub(crate) fn about(mut self, table: &str, system: &str, code: &str, display: &str) -> Problem {
        let [table, system, code, display] = [table, system, code, display].map(str::to_owned);
        self.untranslated = Some(Box::new(Untranslated { table, system, code, display }));
        self
    }

    /// What groups equal problems in the quarantine; never personal data.
    pub(crate) fn because(mut self, cause: String) -> Problem {
        self.cause = Some(cause);
        self
    }
}

impl Deref for Problem {
    type Target = Said;
    fn deref(&self) -> &Said {
        &self.0
    }
}

impl DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Said {
        &mut self.0
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Problem {
        match error {
            WriteError::Second(element) => Problem::new(
                "target-second",
                format!("`{element}` can be there once only and would get a second value"),
                "choose one source value in the map (first, where), or mend the document",
            )
            .because(element),
            WriteError::Choice(element, there) => Problem::new(
                "target-choice",
                format!("`{element}` cannot stand beside `{there}`: one type of the choice only"),
                "let exactly one rule fire for this choice",
            )
            .because(element),
            WriteError::Value(wanted, type_name) => Problem::new(
                "value-type",
                format!("{wanted} is expected for an element of type {type_name}"),
                "mend the value, or convert it in the map",
            )
            .because(type_name),
            WriteError::Place(element) => Problem::new(
                "target-place",
                format!("two rules put theirs first, or last, in `{element}`"),
                "let one rule do so",
            )
            .because(element),
            WriteError::Attached => Problem::new(
                "target-attached",
                "a resource can be put in one place only, and not into itself",
                "create another one in the map",
            ),
            WriteError::Nodes => Problem::new(
                "limit-nodes",
                "the map makes too many elements of this document",
                "split the document",
            ),
        }
    }
}
