//! What an expression gives, told from nothing but which elements of an object are present.
//!
//! Most invariants are about presence: "a code needs a system". For those the answer lies in the bits of what stands, and neither
//! values nor a tree are looked at. What presence does not settle is not guessed: the answer is then that it is not certain.

use crate::definitions::Structure;

use super::{Compiled, Expr, Function, Operator};

/// A question about the elements present in an object, a bit each by their place in its structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Certain whatever is present.
    Always,
    /// Never certain.
    Never,
    /// Certain when that element is present.
    Has(u8),
    /// Certain when that element is absent.
    Lacks(u8),
    /// Certain when all are.
    All(Vec<Presence>),
    /// Certain when one is.
    Any(Vec<Presence>),
}

impl Presence {
    /// Whether it is certain, with these elements present.
    pub(crate) fn holds(&self, present: u128) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Has(at) => present >> at & 1 == 1,
            Self::Lacks(at) => present >> at & 1 == 0,
            Self::All(parts) => parts.iter().all(|part| part.holds(present)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(present)),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Always, other) | (other, Self::Always) => other,
            (one, other) => Self::All(vec![one, other]),
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Always, _) | (_, Self::Always) => Self::Always,
            (Self::Never, other) | (other, Self::Never) => other,
            (one, other) => Self::Any(vec![one, other]),
        }
    }
}

impl Compiled {
    /// When the expression surely does not give `false`, evaluated on an object of that structure.
    pub(crate) fn keeps(&self, structure: &Structure) -> Presence {
        let certain = of(&self.0, structure);
        certain.yes.or(certain.empty)
    }
}

/// When an expression surely gives true, false, nothing, and something.
struct Certain {
    yes: Presence,
    no: Presence,
    empty: Presence,
    some: Presence,
}

const UNKNOWN: Certain =
    Certain { yes: Presence::Never, no: Presence::Never, empty: Presence::Never, some: Presence::Never };

fn of(expr: &Expr, structure: &Structure) -> Certain {
    match expr {
        Expr::Bool(true) => Certain { yes: Presence::Always, ..UNKNOWN },
        Expr::Bool(false) => Certain { no: Presence::Always, ..UNKNOWN },
        Expr::Start(name) => child(name, structure),
        Expr::Child(base, name) if matches!(**base, Expr::This) => child(name, structure),
        Expr::Child(base, _) | Expr::Index(base, _) | Expr::OfType(base, _) => {
            Certain { empty: of(base, structure).empty, ..UNKNOWN }
        }
        Expr::Call(base, function, arguments) => {
            let base = of(base, structure);
            match (function, arguments.as_slice()) {
                (Function::Exists, []) => Certain { yes: base.some, no: base.empty, ..UNKNOWN },
                (Function::Exists, _) => Certain { no: base.empty, ..UNKNOWN },
                (Function::Empty, _) => Certain { yes: base.empty, no: base.some, ..UNKNOWN },
                (Function::Not, _) => Certain { yes: base.no, no: base.yes, ..UNKNOWN },
                (Function::HasValue, _) => Certain { no: base.empty, ..UNKNOWN },
                (Function::All, _) => Certain { yes: base.empty, ..UNKNOWN },
                (Function::Trace, _) => base,
                (Function::Where | Function::Select | Function::First | Function::Last, _) => {
                    Certain { empty: base.empty, ..UNKNOWN }
                }
                _ => UNKNOWN,
            }
        }
        Expr::Binary(operator, left, right) => {
            let (left, right) = (of(left, structure), of(right, structure));
            let (yes, no) = match operator {
                Operator::Or => (left.yes.or(right.yes), left.no.and(right.no)),
                Operator::And => (left.yes.and(right.yes), left.no.or(right.no)),
                Operator::Implies => (left.no.or(right.yes), left.yes.and(right.no)),
                Operator::Xor | Operator::NotEqual => {
                    let differ =
                        left.yes.clone().and(right.no.clone()).or(left.no.clone().and(right.yes.clone()));
                    (differ, left.yes.and(right.yes).or(left.no.and(right.no)))
                }
                _ => (Presence::Never, Presence::Never),
            };
            Certain { yes, no, ..UNKNOWN }
        }
        _ => UNKNOWN,
    }
}

fn child(name: &str, structure: &Structure) -> Certain {
    let at = structure.elements.iter().position(|element| element.name == name);
    match at.and_then(|at| u8::try_from(at).ok()) {
        Some(at) => Certain { empty: Presence::Lacks(at), some: Presence::Has(at), ..UNKNOWN },
        // The name of the type itself, or a name nobody knows.
        None => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "the expressions compile")]
    use super::*;
    use crate::definitions::r4;

    fn keeps(path: &str, expression: &str, present: &[&str]) -> bool {
        let structure = r4().structure(path).unwrap();
        let at = |name: &&str| structure.elements.iter().position(|element| element.name == *name).unwrap();
        let bits = present.iter().map(at).fold(0_u128, |bits, at| bits | 1 << at);
        Compiled::new(expression).unwrap().keeps(structure).holds(bits)
    }

    #[test]
    fn presence_settles_what_is_about_presence() {
        let unit = "code.empty() or system.exists()";
        assert!(keeps("Quantity", unit, &["value"]) && keeps("Quantity", unit, &["code", "system"]));
        assert!(!keeps("Quantity", unit, &["code"]));
        let extension = "extension.exists() != value.exists()";
        assert!(keeps("Extension", extension, &["value"]) && keeps("Extension", extension, &["extension"]));
        assert!(
            !keeps("Extension", extension, &[]) && !keeps("Extension", extension, &["extension", "value"])
        );
        let period = "start.hasValue().not() or end.hasValue().not() or (start <= end)";
        assert!(keeps("Period", period, &["start"]) && !keeps("Period", period, &["start", "end"]));
        let components = "value.empty() or component.code.where(coding.exists()).empty()";
        assert!(
            keeps("Observation", components, &["value"]) && keeps("Observation", components, &["component"])
        );
        assert!(!keeps("Observation", components, &["value", "component"]));
    }

    #[test]
    fn what_presence_does_not_settle_is_not_certain() {
        for expression in ["name.matches('x')", "value > 3", "%resource.code.exists()", "Quantity.exists()"] {
            assert!(!keeps("Quantity", expression, &[]), "{expression}");
        }
        assert!(!keeps("Quantity", "value.exists() or nobody.empty()", &[]));
    }
}
