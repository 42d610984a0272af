//! Whether two statements can both be carried out: a small reading of their conditions. Says "exclude" only where that
//! follows; says "may meet" otherwise, except for conditions it does not take apart, which are given the benefit.

use crate::case::walk::{Logic, Statement, Test};

/// Alternatives a condition is spread into; beyond them nothing is concluded.
const ALTERNATIVES_MAX: usize = 256;

/// Whether they cannot both happen, or that cannot be told.
pub(super) fn exclude(one: &Statement, other: &Statement) -> bool {
    // FHIR sources: `onsetDateTime` and `onsetAge` are one choice, of which a document holds one.
    if let (Some(choice), Some(a), Some(b)) = (one.choice, one.sources.last(), other.sources.last()) {
        let of = |path: &String| {
            path.rsplit('.').next().is_some_and(|step| step.trim_start_matches('_').starts_with(choice))
        };
        if a != b && of(a) && of(b) {
            return true;
        }
    }
    let both = Logic::All(one.conditions.iter().chain(&other.conditions).cloned().collect());
    let Some(alternatives) = spread(&both) else { return true };
    alternatives.iter().all(|tests| contradict(tests) || unknown(one, other))
}

/// Whether a statement's own conditions contradict each other in every alternative.
pub(super) fn never(statement: &Statement) -> bool {
    let all = Logic::All(statement.conditions.clone());
    spread(&all).is_some_and(|alternatives| alternatives.iter().all(|tests| contradict(tests)))
}

/// Whether one of them stands under a condition that is not taken apart and the other does not share.
fn unknown(one: &Statement, other: &Statement) -> bool {
    let opaque = |statement: &Statement| {
        let mut found = Vec::new();
        statement.conditions.iter().for_each(|logic| others(logic, &mut found));
        found
    };
    let (a, b) = (opaque(one), opaque(other));
    a.iter().any(|text| !b.contains(text)) || b.iter().any(|text| !a.contains(text))
}

fn others(logic: &Logic, into: &mut Vec<String>) {
    match logic {
        Logic::Is(Test::Other(text), holds) => into.push(format!("{holds}{text}")),
        Logic::Is(..) => {}
        Logic::All(parts) | Logic::Any(parts) => parts.iter().for_each(|part| others(part, into)),
    }
}

/// As alternatives of tests that hold together; `None` when there are too many.
fn spread(logic: &Logic) -> Option<Vec<Vec<(&Test, bool)>>> {
    match logic {
        Logic::Is(test, holds) => Some(vec![vec![(test, *holds)]]),
        Logic::Any(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(spread(part)?);
            }
            (all.len() <= ALTERNATIVES_MAX).then_some(all)
        }
        Logic::All(parts) => {
            let mut all: Vec<Vec<(&Test, bool)>> = vec![Vec::new()];
            for part in parts {
                let next = spread(part)?;
                if all.len() * next.len() > ALTERNATIVES_MAX {
                    return None;
                }
                all = all
                    .iter()
                    .flat_map(|tests| {
                        next.iter().map(move |more| [tests.as_slice(), more.as_slice()].concat())
                    })
                    .collect();
            }
            Some(all)
        }
    }
}

fn contradict(tests: &[(&Test, bool)]) -> bool {
    tests.iter().enumerate().any(|(at, (one, holds))| {
        (**one == Test::True && !holds)
            || tests
                .iter()
                .skip(at + 1)
                .any(|(other, also)| opposed(one, *holds, other, *also) || opposed(other, *also, one, *holds))
    })
}

fn opposed(one: &Test, holds: bool, other: &Test, also: bool) -> bool {
    if one == other {
        return holds != also;
    }
    match (one, holds, other, also) {
        (Test::OneOf(a, values), true, Test::OneOf(b, more), true) => {
            a == b && !values.iter().any(|v| more.contains(v))
        }
        (Test::OneOf(a, values), true, Test::OneOf(b, more), false) => {
            a == b && values.iter().all(|v| more.contains(v))
        }
        (Test::OneOf(a, values), true, Test::Starts(b, head), also) => {
            a == b && values.iter().all(|v| v.starts_with(head.as_str()) != also)
        }
        (Test::Starts(a, head), true, Test::Starts(b, more), true) => {
            a == b && !head.starts_with(more.as_str()) && !more.starts_with(head.as_str())
        }
        // What is absent has no value and no parts.
        (Test::Exists(a), false, Test::OneOf(b, _) | Test::Exists(b) | Test::Starts(b, _), true) => {
            a == b || b.strip_prefix(a.as_str()).is_some_and(|rest| rest.starts_with('.'))
        }
        _ => false,
    }
}
