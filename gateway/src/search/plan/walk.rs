//! Tests whose rows can be found one by one, in the order of the index that holds their values: a page of a broad search
//! then costs what a page holds, not what matches.

use crate::search::criterion::{Condition, Criterion, NumberTest, Prefix, SystemTest, Test};

use super::SortValue;

/// In which order the rows of a test come: by these columns of its index, then by row key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Columns behind those that the test settles.
    pub(crate) columns: &'static [Column],
    /// From the largest down: what is greater than a bound is at the end.
    pub(crate) falling: bool,
}

/// A column of an index by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Key of the patient.
    Patient,
    /// Number of the type referred to.
    Kind,
    /// Text.
    Value,
    /// First moment of a period.
    Moment,
    /// Lower end of a number.
    Low,
    /// Upper end of a number.
    High,
}

impl Column {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Patient => "patient",
            Column::Kind => "kind",
            Column::Value => "value",
            Column::Moment | Column::Low => "low",
            Column::High => "high",
        }
    }

    /// Whether it can hold this.
    pub(crate) fn holds(self, value: &SortValue) -> bool {
        match self {
            Column::Patient | Column::Kind | Column::Moment => matches!(value, SortValue::Integer(_)),
            Column::Value => matches!(value, SortValue::Text(_)),
            Column::Low | Column::High => matches!(value, SortValue::Real(_)),
        }
    }
}

/// Tests walked one after the other; each is a statement that names those before it.
const TESTS_MAX: usize = 16;

/// The tests of a criterion when all of them can be walked and they are few; none otherwise.
pub(crate) fn tests(criterion: &Criterion) -> &[Test] {
    match criterion {
        Criterion::Index(_, Condition::Any(tests))
            if tests.len() <= TESTS_MAX && tests.iter().all(|test| walk(test).is_some()) =>
        {
            tests
        }
        _ => &[],
    }
}

/// The order of a test's rows; `None` when no single index gives one.
pub(crate) fn walk(test: &Test) -> Option<Walk> {
    let rising = |columns| Some(Walk { columns, falling: false });
    match test {
        Test::Token(token) => match (&token.code, &token.system) {
            (None, SystemTest::Any | SystemTest::None) => None,
            _ => rising(&[Column::Patient]),
        },
        Test::Starts(_) | Test::Contains(_) | Test::Ends(_) | Test::UriBelow(_) => rising(&[Column::Value]),
        // Equality leaves the row key.
        Test::Equals(_) | Test::Exact(_) | Test::Uri(_) | Test::Reference(Some(_), _) => rising(&[]),
        Test::Reference(None, _) => rising(&[Column::Kind]),
        Test::Date(date) => way(date.prefix).map(|falling| Walk { columns: &[Column::Moment], falling }),
        Test::Number(NumberTest { prefix, .. }) | Test::Quantity(NumberTest { prefix, .. }, _) => {
            way(*prefix).map(|falling| Walk { columns: &[Column::Low, Column::High], falling })
        }
        Test::Unlike(_) | Test::Address(_) | Test::Versions(_) | Test::UriAbove(_) | Test::Codes { .. } => {
            None
        }
        Test::OfType { .. } | Test::Terms(_) | Test::Composite(_) => None,
    }
}

/// Whether the matches of a comparison are at the end of the order.
fn way(prefix: Prefix) -> Option<bool> {
    match prefix {
        Prefix::Gt | Prefix::Ge | Prefix::Ap => Some(true),
        Prefix::Eq | Prefix::Lt | Prefix::Le | Prefix::Sa | Prefix::Eb => Some(false),
        Prefix::Ne => None,
    }
}
