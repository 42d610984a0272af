//! Expressions -> [`Code`]; what lies outside the subset is refused here, never at run time.

use std::sync::Arc;

use crate::fml::{Call, Expression, Kind, Place, nearest};
use crate::plan::code::{Code, Extension, Function, Operator};
use crate::plan::item::Item;
use crate::plan::moment;
use crate::plan::pattern::Pattern;

use super::{Compiler, Holds};

/// FHIRPath functions without lazily evaluated arguments: name, function, least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 31] = [
    ("first", Function::First, 0, 0),
    ("last", Function::Last, 0, 0),
    ("tail", Function::Tail, 0, 0),
    ("skip", Function::Skip, 1, 1),
    ("take", Function::Take, 1, 1),
    ("single", Function::Single, 0, 0),
    ("empty", Function::Empty, 0, 0),
    ("not", Function::Not, 0, 0),
    ("count", Function::Count, 0, 0),
    ("sum", Function::Sum, 0, 0),
    ("combine", Function::Combine, 1, 1),
    ("distinct", Function::Distinct, 0, 0),
    ("hasValue", Function::HasValue, 0, 0),
    ("substring", Function::Substring, 1, 2),
    ("indexOf", Function::IndexOf, 1, 1),
    ("replace", Function::Replace, 2, 2),
    ("toString", Function::ToText, 0, 0),
    ("toInteger", Function::ToInteger, 0, 0),
    ("toDecimal", Function::ToDecimal, 0, 0),
    ("toBoolean", Function::ToBoolean, 0, 0),
    ("startsWith", Function::StartsWith, 1, 1),
    ("endsWith", Function::EndsWith, 1, 1),
    ("contains", Function::ContainsText, 1, 1),
    ("length", Function::Length, 0, 0),
    ("upper", Function::Upper, 0, 0),
    ("lower", Function::Lower, 0, 0),
    ("trim", Function::Trim, 0, 0),
    ("join", Function::Join, 0, 1),
    ("split", Function::Split, 1, 1),
    ("extension", Function::FhirExtension, 1, 1),
    ("said", Function::Said, 1, 12),
];

/// Our own functions: name, function, least and most arguments.
pub(super) const EXTENSIONS: [(&str, Extension, usize, usize); 10] = [
    ("hl7DateTime", Extension::Hl7DateTime, 2, 2),
    ("nlDate", Extension::NlDate, 2, 3),
    ("decimalComma", Extension::DecimalComma, 1, 1),
    ("bsn", Extension::Bsn, 1, 1),
    ("oidOrUri", Extension::OidOrUri, 1, 1),
    ("stable", Extension::Stable, 2, 16),
    ("append", Extension::Append, 1, 64),
    ("truncate", Extension::Truncate, 2, 2),
    ("ordinal", Extension::Ordinal, 1, 1),
    ("lookup", Extension::Lookup, 3, 4),
];

/// Functions that would make the output depend on more than the input.
const IMPURE: [&str; 6] = ["uuid", "now", "today", "timeOfDay", "resolve", "trace"];

impl<'p> Compiler<'p> {
    /// `focus`: whether there is a `$this` that bare names are elements of.
    pub(super) fn expression(&mut self, expression: &'p Expression, focus: bool) -> Code {
        let place = expression.place;
        match &expression.kind {
            Kind::Empty => Code::Empty,
            Kind::Text(text) => Code::Literal(Item::Text(Arc::from(text.as_str()))),
            Kind::Number(number) => Code::Literal(Item::Number(Arc::from(number.as_str()))),
            Kind::Boolean(value) => Code::Literal(Item::Boolean(*value)),
            Kind::This if focus => Code::This,
            Kind::This => {
                self.error("focus-missing", place, "`$this` has no meaning here", "name a variable");
                Code::Empty
            }
            Kind::Name(name) if focus => Code::Member(Box::new(Code::This), self.name(name)),
            Kind::Name(name) | Kind::Variable(name) => self.named(name, place),
            Kind::Member(base, name) => {
                let base = self.expression(base, focus);
                Code::Member(Box::new(base), self.name(name))
            }
            Kind::Index(base, index) => {
                Code::Index(Box::new(self.expression(base, focus)), Box::new(self.expression(index, focus)))
            }
            Kind::Negative(base) => match &base.kind {
                Kind::Number(number) => Code::Literal(Item::Number(Arc::from(format!("-{number}")))),
                _ => {
                    self.error("operator-unsupported", place, "`-` before anything but a number", "");
                    Code::Empty
                }
            },
            Kind::Binary(left, operator, right) => self.binary(left, operator, right, focus, place),
            Kind::Type(base, operator, name) => {
                let name = name.rsplit('.').next().unwrap_or(name);
                Code::OfType(Box::new(self.expression(base, focus)), Arc::from(name), operator == "is")
            }
            Kind::Function(base, call) => self.function(base.as_deref(), call, focus),
        }
    }

    fn named(&mut self, name: &str, place: Place) -> Code {
        if let Some(variable) = self.variable(name) {
            return Code::Slot(variable.slot);
        }
        let constant =
            self.program.maps.iter().flat_map(|map| &map.constants).find(|(constant, _)| constant == name);
        if let Some((_, expression)) = constant {
            if matches!(expression.kind, Kind::Text(_) | Kind::Number(_) | Kind::Boolean(_)) {
                return self.expression(expression, false);
            }
            self.error("constant-unsupported", place, "a constant is a literal", "");
            return Code::Empty;
        }
        if let Some(value) = self.options.constants.get(name) {
            return Code::Literal(Item::Text(Arc::from(value.as_str())));
        }
        let names: Vec<String> = self.scope.iter().map(|variable| variable.name.clone()).collect();
        let help = nearest(name, names.iter().map(String::as_str));
        self.error("variable-unknown", place, format!("no variable `{name}`"), help);
        Code::Empty
    }

    fn binary(
        &mut self,
        left: &'p Expression,
        operator: &str,
        right: &'p Expression,
        focus: bool,
        place: Place,
    ) -> Code {
        let operator = match operator {
            "=" | "==" | "~" => Operator::Equal,
            "!=" | "!~" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            "and" => Operator::And,
            "or" => Operator::Or,
            "xor" => Operator::Xor,
            "implies" => Operator::Implies,
            "in" => Operator::In,
            "contains" => Operator::Contains,
            "&" => Operator::Concatenate,
            "|" => Operator::Union,
            _ => {
                let help = "arithmetic belongs in the source system or after storing; supported: = != < <= > >= and or \
                            xor implies in contains & |";
                self.error("operator-unsupported", place, format!("operator `{operator}`"), help);
                return Code::Empty;
            }
        };
        Code::Binary(
            operator,
            Box::new(self.expression(left, focus)),
            Box::new(self.expression(right, focus)),
        )
    }

    pub(super) fn function(&mut self, base: Option<&'p Expression>, call: &'p Call, focus: bool) -> Code {
        let name = call.name.as_str();
        if IMPURE.contains(&name) {
            let help = "output is a function of the document; use stable(system, parts...) for an id";
            self.error("function-impure", call.place, format!("`{name}()` is not allowed in a map"), help);
            return Code::Empty;
        }
        if base.is_none()
            && let Some((_, function, least, most)) = EXTENSIONS.iter().find(|(known, ..)| *known == name)
        {
            if !self.arity(call, *least, *most) {
                return Code::Empty;
            }
            self.zone(*function, call);
            if *function == Extension::Lookup {
                self.table(call, 1);
            }
            return Code::Extension(
                *function,
                call.arguments.iter().map(|a| self.expression(a, focus)).collect(),
            );
        }
        if name == "iif" {
            let [condition, yes, rest @ ..] = call.arguments.as_slice() else {
                self.arity(call, 2, 3);
                return Code::Empty;
            };
            let no = rest.first().map_or(Code::Empty, |no| self.expression(no, focus));
            return Code::If(
                Box::new(self.expression(condition, focus)),
                Box::new(self.expression(yes, focus)),
                Box::new(no),
            );
        }
        let of = match base {
            Some(base) => self.expression(base, focus),
            None if focus => Code::This,
            None => {
                self.error(
                    "focus-missing",
                    call.place,
                    format!("`{name}()` has nothing before it"),
                    "write x.f()",
                );
                return Code::Empty;
            }
        };
        let of = Box::new(of);
        let only = |this: &mut Self, least: usize| {
            let inner = call.arguments.first().map(|inner| Box::new(this.expression(inner, true)));
            if this.arity(call, least, 1) { inner } else { None }
        };
        match name {
            "where" => only(self, 1).map_or(Code::Empty, |inner| Code::Where(of, inner)),
            "select" => only(self, 1).map_or(Code::Empty, |inner| Code::Select(of, inner)),
            "all" => only(self, 1).map_or(Code::Empty, |inner| Code::All(of, inner)),
            "exists" => {
                let inner = only(self, 0);
                Code::Exists(of, inner)
            }
            "ofType" | "as" | "is" => match call.arguments.first().map(|argument| &argument.kind) {
                Some(Kind::Name(type_name)) => Code::OfType(of, Arc::from(type_name.as_str()), name == "is"),
                _ => {
                    self.error("type-expected", call.place, format!("`{name}()` takes a type name"), "");
                    Code::Empty
                }
            },
            "matches" => match call.arguments.first().map(|argument| &argument.kind) {
                Some(Kind::Text(text)) => match Pattern::new(text) {
                    Ok(pattern) => Code::Matches(of, Arc::new(pattern)),
                    Err(why) => {
                        self.error("pattern-unsupported", call.place, format!("in this pattern: {why}"), "");
                        Code::Empty
                    }
                },
                _ => {
                    self.error("pattern-unsupported", call.place, "matches() takes a literal pattern", "");
                    Code::Empty
                }
            },
            _ => {
                let Some((_, function, least, most)) = FUNCTIONS.iter().find(|(known, ..)| *known == name)
                else {
                    let known = FUNCTIONS.iter().map(|(known, ..)| *known);
                    let known = known.chain(EXTENSIONS.iter().map(|(known, ..)| *known));
                    let help =
                        nearest(name, known.chain(["where", "exists", "iif", "matches", "select", "all"]));
                    self.error(
                        "function-unsupported",
                        call.place,
                        format!("no function `{name}()` here"),
                        help,
                    );
                    return Code::Empty;
                };
                if !self.arity(call, *least, *most) {
                    return Code::Empty;
                }
                Code::Call(*function, of, call.arguments.iter().map(|a| self.expression(a, focus)).collect())
            }
        }
    }

    pub(super) fn arity(&mut self, call: &Call, least: usize, most: usize) -> bool {
        let given = call.arguments.len();
        let fits = (least..=most).contains(&given);
        if !fits {
            let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
            self.error(
                "function-arguments",
                call.place,
                format!("`{}()` takes {wanted} arguments", call.name),
                "",
            );
        }
        fits
    }

    /// A literal zone is looked up now, so that a misspelt one never meets a document.
    fn zone(&mut self, function: Extension, call: &Call) {
        let at = match function {
            Extension::Hl7DateTime => 1,
            Extension::NlDate => 2,
            _ => return,
        };
        if let Some(Expression { kind: Kind::Text(zone), place }) = call.arguments.get(at)
            && !moment::is_zone(zone)
        {
            self.error(
                "zone-unknown",
                *place,
                format!("`{zone}` is no time zone"),
                "write `Europe/Amsterdam`",
            );
        }
    }

    /// The name of a code table in argument `at`: a literal naming a table that is there.
    pub(super) fn table(&mut self, call: &Call, at: usize) -> Option<Arc<str>> {
        let argument = call.arguments.get(at)?;
        let Kind::Text(name) = &argument.kind else {
            self.error("table-literal", argument.place, "a table name is a literal", "");
            return None;
        };
        let inline = self.plan.tables.contains_key(name);
        if !inline && !self.options.tables.contains(name) {
            let known: Vec<String> =
                self.options.tables.iter().cloned().chain(self.plan.tables.keys().cloned()).collect();
            let help = nearest(name, known.iter().map(String::as_str));
            self.error("table-unknown", argument.place, format!("no code table `{name}`"), help);
        }
        Some(Arc::from(name.as_str()))
    }

    /// What an expression yields, as far as needed to type variables and group arguments.
    pub(super) fn holds(&self, expression: &Expression) -> Holds {
        match &expression.kind {
            Kind::Name(name) | Kind::Variable(name) => {
                self.variable(name).map_or(Holds::Value, |variable| variable.holds)
            }
            Kind::Member(base, _) if self.holds(base) == Holds::Source => Holds::Source,
            _ => Holds::Value,
        }
    }
}
