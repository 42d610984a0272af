//! Expressions, conditions, elements and systems of a map in the words of somebody who does not read FML.

use super::Language;
pub(super) use super::names::{element, system, type_name};
use crate::case::walk::{self, Logic, Test};
use crate::fml::{Expression, Kind};

/// Longest piece of a map shown as it is; what is longer is named by its rule.
const RAW_MAX: usize = 160;

/// A source field as its sender names it: the column, `OBX-5.1`, the path inside the document.
pub(super) fn field(path: &str) -> String {
    let steps: Vec<&str> = path.split('.').collect();
    let numbered =
        |step: &str| step.rsplit_once('_').is_some_and(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()));
    let upper =
        |step: &str| step.len() == 3 && step.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if let Some(at) =
        steps.iter().position(|step| numbered(step) && upper(step.split('_').next().unwrap_or_default()))
    {
        let mut name = steps.get(at).map(|step| step.replacen('_', "-", 1)).unwrap_or_default();
        for step in steps.iter().skip(at + 1) {
            let number = step.trim_start_matches(['C', 'S']);
            name += &format!(".{}", if number.is_empty() { step } else { number });
        }
        return name;
    }
    if let Some(at) = steps.iter().position(|step| upper(step)) {
        return steps.get(at..).unwrap_or_default().join(".");
    }
    let inside = steps.get(1..).unwrap_or_default();
    let inside = if inside.first() == Some(&"row") { &inside[1..] } else { inside };
    if inside.is_empty() { path.to_owned() } else { inside.join(".") }
}

/// Source fields an expression reads, each once.
pub(super) fn fields(expression: &Expression, into: &mut Vec<String>) {
    let mut add = |path: &str| {
        let name = format!("`{}`", field(path));
        if !into.contains(&name) {
            into.push(name);
        }
    };
    match &expression.kind {
        Kind::Name(path) if !path.starts_with('\'') => add(path),
        Kind::Member(base, _) | Kind::Type(base, ..) | Kind::Negative(base) => fields(base, into),
        Kind::Function(base, call) => {
            if let Some(base) = base {
                fields(base, into);
            }
            call.arguments.iter().for_each(|argument| fields(argument, into));
        }
        Kind::Index(left, right) | Kind::Binary(left, _, right) => {
            fields(left, into);
            fields(right, into);
        }
        _ => {}
    }
}

/// What is written, in words.
pub(super) fn value(expression: &Expression, language: Language) -> String {
    let go = |inner: &Expression| value(inner, language);
    match &expression.kind {
        Kind::Text(text) => format!("“{text}”"),
        Kind::Name(path) if path.starts_with('\'') => format!("“{}”", path.trim_matches('\'')),
        Kind::Name(path) => format!("`{}`", field(path)),
        Kind::Number(_) | Kind::Moment(_) | Kind::Boolean(_) | Kind::Quantity(..) => walk::text(expression),
        Kind::Binary(left, operator, right) if operator == "&" => {
            format!("{} {} {}", go(left), language.of("then", "gevolgd door"), go(right))
        }
        Kind::Function(base, call) => {
            let arguments = call.arguments.as_slice();
            let literal = |at: usize| match arguments.get(at).map(|argument| &argument.kind) {
                Some(Kind::Text(text)) => Some(text.as_str()),
                _ => None,
            };
            match (call.name.as_str(), arguments) {
                ("cc" | "c", [text]) => go(text),
                ("cc" | "c", [_, code, rest @ ..]) => {
                    let list = literal(0).map(system).unwrap_or_default();
                    let list = list.trim();
                    match (rest.first(), literal(1)) {
                        (Some(shown), Some(code)) => {
                            format!("{} ({list} `{code}`)", go(shown).trim_matches(['“', '”']))
                        }
                        _ => format!("{} ({list})", go(code)),
                    }
                }
                ("qty", [number, ..]) => match literal(1) {
                    Some(unit) => format!("{}, {} {unit}", go(number), language.of("in", "in")),
                    None => match arguments.get(1) {
                        Some(unit) => format!("{}, {} {}", go(number), language.of("in", "in"), go(unit)),
                        None => go(number),
                    },
                },
                ("ucum", [number, unit, ..]) => format!(
                    "{}, {} {} {}",
                    go(number),
                    language.of("in", "in"),
                    go(unit),
                    language.of("by the table of units", "volgens de eenhedentabel")
                ),
                ("id", _) => {
                    let mut read = Vec::new();
                    arguments.iter().for_each(|argument| fields(argument, &mut read));
                    format!(
                        "{} {}",
                        language.of("the sender's own, of", "van de afzender zelf, uit"),
                        read.join(", ")
                    )
                }
                ("ref", [_, _, who]) => {
                    let list = literal(1).map(system).unwrap_or_default();
                    format!("{} {list} {}", literal(0).unwrap_or_default(), go(who)).replace("  ", " ")
                }
                // A number made of others: which those are says more than how.
                ("stable", _) => {
                    let mut read = Vec::new();
                    arguments.iter().for_each(|argument| fields(argument, &mut read));
                    read.join(", ")
                }
                ("translate" | "lookup", [from, ..]) => format!(
                    "{} {} `{}`",
                    go(from),
                    language.of("by code table", "volgens codetabel"),
                    literal(1).unwrap_or_default()
                ),
                ("nlDate" | "hl7DateTime", [from, ..]) => {
                    format!("{} {}", language.of("the date", "de datum"), go(from))
                }
                (
                    "cast" | "copy" | "decimalComma" | "bsn" | "reference" | "truncate" | "oidOrUri",
                    [from, ..],
                ) => go(from),
                ("iif", [when, yes, rest @ ..]) => {
                    let otherwise = rest.first().filter(|no| !matches!(no.kind, Kind::Empty));
                    let mut text =
                        format!("{}, {} {}", go(yes), language.of("if", "als"), raw(&walk::text(when)));
                    if let Some(no) = otherwise {
                        text += &format!(", {} {}", language.of("else", "anders"), go(no));
                    }
                    text
                }
                ("lower" | "upper" | "trim" | "first" | "toString" | "single" | "toDecimal", []) => {
                    base.as_ref().map_or_else(String::new, |base| go(base))
                }
                _ => raw(&walk::text(expression)),
            }
        }
        _ => raw(&walk::text(expression)),
    }
}

/// A piece of the map as it is, with its fields as the sender names them.
fn raw(text: &str) -> String {
    let mut shown = String::new();
    let mut token = String::new();
    let mut inside = false;
    for c in text.chars().chain([' ']) {
        if c == '\'' {
            inside = !inside;
        }
        if !inside && (c.is_alphanumeric() || ['.', '_'].contains(&c)) {
            token.push(c);
            continue;
        }
        if token.contains('.') && token.starts_with(|c: char| c.is_alphabetic()) {
            shown += &field(&token);
        } else {
            shown += &token;
        }
        token.clear();
        shown.push(c);
    }
    let shown = shown.trim_end();
    match shown.char_indices().nth(RAW_MAX) {
        Some((at, _)) => format!("`{}…`", shown.get(..at).unwrap_or(shown).replace('`', "")),
        None => format!("`{}`", shown.replace('`', "")),
    }
}

/// A condition in words; empty where it goes without saying.
pub(super) fn condition(logic: &Logic, language: Language) -> String {
    // Of what a group was called with, the outcome is known: it says nothing.
    let list = |parts: &[Logic], settled: bool| -> Vec<String> {
        let open = parts.iter().filter(|part| known(part) != Some(settled));
        open.map(|part| condition(part, language)).filter(|words| !words.is_empty()).collect()
    };
    let name = |path: &str| match path.contains('(') {
        true => raw(path),
        false => format!("`{}`", field(path)),
    };
    match logic {
        Logic::All(parts) => list(parts, true).join(language.of(" and ", " en ")),
        Logic::Any(parts) => match list(parts, false).as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            words => format!("({})", words.join(language.of(" or ", " of "))),
        },
        Logic::Is(Test::True, true) => String::new(),
        Logic::Is(Test::True, false) => language.of("never", "nooit").to_owned(),
        Logic::Is(Test::Exists(path), true) => format!("{} {}", name(path), language.of("is there", "is er")),
        Logic::Is(Test::Exists(path), false) => {
            format!("{} {}", name(path), language.of("is empty", "is leeg"))
        }
        Logic::Is(Test::OneOf(path, values), holds) => {
            let values: Vec<String> = values.iter().map(|value| format!("“{value}”")).collect();
            let is = if *holds { language.of("is", "is") } else { language.of("is not", "is niet") };
            format!("{} {is} {}", name(path), values.join(language.of(" or ", " of ")))
        }
        Logic::Is(Test::Starts(path, head), true) => {
            format!("{} {} “{head}”", name(path), language.of("starts with", "begint met"))
        }
        Logic::Is(Test::Starts(path, head), false) => {
            format!("{} {} “{head}”", name(path), language.of("does not start with", "begint niet met"))
        }
        Logic::Is(Test::Other(text), true) => raw(text),
        Logic::Is(Test::Other(text), false) => format!("{} {}", language.of("not", "niet"), raw(text)),
    }
}

/// What is known of a condition before any document: a group that was called with a word tests that word. `None`: it depends.
pub(super) fn known(logic: &Logic) -> Option<bool> {
    let literal =
        |path: &str| path.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')).map(str::to_owned);
    match logic {
        Logic::Is(Test::True, holds) => Some(*holds),
        Logic::Is(Test::Exists(path), holds) => literal(path).map(|_| *holds),
        Logic::Is(Test::OneOf(path, values), holds) => {
            literal(path).map(|text| values.contains(&text) == *holds)
        }
        Logic::Is(Test::Starts(path, head), holds) => {
            literal(path).map(|text| text.starts_with(head) == *holds)
        }
        Logic::Is(Test::Other(_), _) => None,
        Logic::All(parts) => decided(parts, false),
        Logic::Any(parts) => decided(parts, true),
    }
}

/// One part that is `by` decides; else all parts together do, where each is known.
fn decided(parts: &[Logic], by: bool) -> Option<bool> {
    let parts: Vec<_> = parts.iter().map(known).collect();
    match parts.contains(&Some(by)) {
        true => Some(by),
        false => parts.iter().all(Option::is_some).then_some(!by),
    }
}
