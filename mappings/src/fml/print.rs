//! Expressions as FHIRPath text, for resources that hold them as such. What is printed reads back as the same expression.

use super::map::{Call, Expression, Kind};

/// Words of FHIRPath and of the map language that are no bare names.
const RESERVED: [&str; 14] = [
    "and", "or", "xor", "implies", "in", "contains", "is", "as", "div", "mod", "true", "false", "where",
    "check",
];

/// An expression as text.
pub(super) fn expression(expression: &Expression) -> String {
    match &expression.kind {
        Kind::Text(text) => quoted(text),
        Kind::Number(number) => number.clone(),
        Kind::Moment(moment) => format!("@{moment}"),
        Kind::Quantity(value, unit) if unit.chars().all(char::is_alphabetic) => format!("{value} {unit}"),
        Kind::Quantity(value, unit) => format!("{value} {}", quoted(unit)),
        Kind::Boolean(value) => value.to_string(),
        Kind::Empty => "{}".to_owned(),
        Kind::This => "$this".to_owned(),
        Kind::Total => "$total".to_owned(),
        Kind::Place => "$index".to_owned(),
        Kind::Variable(name) => format!("%{}", named(name)),
        Kind::Name(name) => named(name),
        Kind::Member(base, name) => format!("{}.{}", self::expression(base), named(name)),
        Kind::Function(None, call) => self::call(call),
        Kind::Function(Some(base), call) => format!("{}.{}", self::expression(base), self::call(call)),
        Kind::Index(base, index) => format!("{}[{}]", self::expression(base), self::expression(index)),
        // Brackets everywhere: precedence need not be known to read it.
        Kind::Binary(left, operator, right) => {
            format!("({} {operator} {})", self::expression(left), self::expression(right))
        }
        Kind::Type(base, operator, name) => format!("({} {operator} {name})", self::expression(base)),
        Kind::Negative(base) => format!("(-{})", self::expression(base)),
    }
}

/// A call as text.
pub(super) fn call(call: &Call) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(expression).collect();
    format!("{}({})", call.name, arguments.join(", "))
}

fn quoted(text: &str) -> String {
    fml_syntax::quote_fhirpath_string(text)
}

/// Whether a name is one as it stands, without quotes around it (FHIRPath 2.0.0, identifier).
pub(super) fn is_plain_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn named(name: &str) -> String {
    if is_plain_name(name) && !RESERVED.contains(&name) {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('`', "\\`"))
    }
}
