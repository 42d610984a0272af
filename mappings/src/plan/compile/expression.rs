//! Expressions -> [`Code`]; what lies outside the subset is refused here, never at run time.

use std::sync::Arc;

use crate::fml::{Call, Expression, Kind, Place, nearest};
use crate::plan::code::{Code, Conversion, Extension, Function, Literal, Operator, Step};
use crate::plan::decimal::Cut;
use crate::plan::moment;
use crate::plan::pattern::Pattern;

use super::{Compiler, Holds, capital};

/// FHIRPath functions without lazily evaluated arguments: name, function, least and most arguments.
const FUNCTIONS: [(&str, Function, usize, usize); 63] = [
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
    ("toDate", Function::ToDate, 0, 0),
    ("toDateTime", Function::ToDateTime, 0, 0),
    ("toTime", Function::ToTime, 0, 0),
    ("convertsToString", Function::Converts(Conversion::Text), 0, 0),
    ("convertsToInteger", Function::Converts(Conversion::Integer), 0, 0),
    ("convertsToDecimal", Function::Converts(Conversion::Decimal), 0, 0),
    ("convertsToBoolean", Function::Converts(Conversion::Boolean), 0, 0),
    ("convertsToDate", Function::Converts(Conversion::Date), 0, 0),
    ("convertsToDateTime", Function::Converts(Conversion::DateTime), 0, 0),
    ("convertsToTime", Function::Converts(Conversion::Time), 0, 0),
    ("escape", Function::Escape, 1, 1),
    ("unescape", Function::Unescape, 1, 1),
    ("encode", Function::Encode, 1, 1),
    ("decode", Function::Decode, 1, 1),
    ("toChars", Function::ToChars, 0, 0),
    ("lastIndexOf", Function::LastIndexOf, 1, 1),
    ("abs", Function::Absolute, 0, 0),
    ("truncate", Function::Cut(Cut::Truncate), 0, 0),
    ("floor", Function::Cut(Cut::Floor), 0, 0),
    ("ceiling", Function::Cut(Cut::Ceiling), 0, 0),
    ("round", Function::Cut(Cut::Round), 0, 1),
    ("power", Function::Power, 1, 1),
    ("isDistinct", Function::IsDistinct, 0, 0),
    ("allTrue", Function::Every(true), 0, 0),
    ("allFalse", Function::Every(false), 0, 0),
    ("anyTrue", Function::Any(true), 0, 0),
    ("anyFalse", Function::Any(false), 0, 0),
    ("union", Function::Union, 1, 1),
    ("intersect", Function::Intersect, 1, 1),
    ("exclude", Function::Exclude, 1, 1),
    ("subsetOf", Function::SubsetOf, 1, 1),
    ("supersetOf", Function::SupersetOf, 1, 1),
];

/// Our own functions: name, function, least and most arguments.
pub(super) const EXTENSIONS: [(&str, Extension, usize, usize); 12] = [
    ("hl7DateTime", Extension::Hl7DateTime, 2, 2),
    ("nlDate", Extension::NlDate, 2, 3),
    ("decimalComma", Extension::DecimalComma, 1, 1),
    ("bsn", Extension::Bsn, 1, 1),
    ("oidOrUri", Extension::OidOrUri, 1, 1),
    ("stable", Extension::Stable, 2, 16),
    ("append", Extension::Append, 1, 64),
    ("truncate", Extension::Truncate, 2, 2),
    ("reference", Extension::Pointer, 1, 1),
    ("pointer", Extension::Pointer, 1, 1),
    ("ordinal", Extension::Ordinal, 1, 1),
    ("lookup", Extension::Lookup, 3, 4),
];

/// Functions that ask whether something is there.
const PRESENCE: [&str; 4] = ["exists", "empty", "count", "hasValue"];

/// Functions that would make the output depend on more than the input.
const IMPURE: [&str; 6] = ["uuid", "now", "today", "timeOfDay", "resolve", "trace"];

impl<'p> Compiler<'p> {
    /// `focus`: what `$this` is, whose elements bare names are; a variable of that name goes first, as the guide has it.
    pub(super) fn expression(&mut self, expression: &'p Expression, focus: Option<Holds>) -> Code {
        let place = expression.place;
        match &expression.kind {
            Kind::Empty => Code::Empty,
            Kind::Text(text) => Code::Literal(Literal::Text(text.as_str().into())),
            Kind::Number(number) => Code::Literal(Literal::Number(number.as_str().into())),
            Kind::Boolean(value) => Code::Literal(Literal::Boolean(*value)),
            Kind::Moment(moment) => Code::Literal(Literal::Text(moment.trim_start_matches('T').into())),
            Kind::Quantity(..) => {
                let help = "add it to or take it from a date: `(%date + 5 days)`";
                self.error("expression-unsupported", place, "a quantity on its own", help);
                Code::Empty
            }
            Kind::This if focus.is_some() => Code::This,
            Kind::This => {
                self.error("focus-missing", place, "`$this` has no meaning here", "name a variable");
                Code::Empty
            }
            Kind::Place if focus.is_some() => Code::Place,
            Kind::Total if self.aggregates > 0 => Code::Total,
            Kind::Place | Kind::Total => {
                let help = "`$index` stands in where() and the like, `$total` in aggregate()";
                self.error("focus-missing", place, "this has no meaning here", help);
                Code::Empty
            }
            Kind::Name(name) => match focus {
                Some(focus) if !self.is_variable(name, focus, place) => {
                    if self.is_type_itself(focus, name) || self.is_selected(focus, name) {
                        return Code::This;
                    }
                    self.member(Code::This, focus, name, place)
                }
                _ => self.named(name, place),
            },
            Kind::Variable(name) => self.named(name, place),
            Kind::Member(base, name) => {
                let of = self.typing(base, focus);
                let base = self.expression(base, focus);
                self.member(base, of, name, place)
            }
            Kind::Index(base, index) => {
                Code::Index(Box::new(self.expression(base, focus)), Box::new(self.expression(index, focus)))
            }
            Kind::Negative(base) => match &base.kind {
                Kind::Number(number) => Code::Literal(Literal::Number(format!("-{number}").into())),
                _ => {
                    let zero = Box::new(Code::Literal(Literal::Number("0".into())));
                    Code::Binary(Operator::Subtract, zero, Box::new(self.expression(base, focus)))
                }
            },
            Kind::Binary(left, operator, right) => self.binary(left, operator, right, focus, place),
            Kind::Type(base, operator, name) => self.of_type(base, name, operator == "is", focus),
            Kind::Function(base, call) => self.function(base.as_deref(), call, focus),
        }
    }

    /// Elements `name` of what `base` yields, which `of` describes.
    fn member(&mut self, base: Code, of: Holds, name: &str, place: Place) -> Code {
        self.reads_targets |= !matches!(of, Holds::Source(_));
        let step = match of {
            Holds::Source(of) => self.step(of, name, None, place).0,
            // Elements being written are found by element name, whatever their type.
            Holds::Target(of) if self.shapes.is_primitive(of) && name == "value" => Step::Own,
            Holds::Target(of) if !self.shapes.is_any_resource(of) && !self.has_element(of, name) => {
                self.step(Some(of), name, None, place).0
            }
            Holds::Target(_) | Holds::Value => Step::Name(self.name(name)),
        };
        let absent = match of {
            Holds::Source(Some(of)) => self.shapes.find(of, name),
            _ => None,
        };
        match absent.and_then(|field| self.shapes.field(field).default.as_ref()) {
            Some(absent) => Code::MemberOr(Box::new(base), step, Literal::from(absent)),
            None => base.member(step),
        }
    }

    /// Whether a bare name means a variable. In a sender's map a name that may be either is refused: which was meant decides
    /// about data.
    fn is_variable(&mut self, name: &str, focus: Holds, place: Place) -> bool {
        let Some(variable) = self.variable(name) else { return false };
        let element = match focus {
            Holds::Source(Some(of)) | Holds::Target(of) => self.has_element(of, name),
            Holds::Source(None) | Holds::Value => true,
        };
        // The item itself under its own name is no doubt.
        let itself = self.scope.last().is_some_and(|last| last.slot == variable.slot);
        if element && !itself && self.is_narrow() {
            let text = format!("`{name}` is a variable, and may be an element of what is tested");
            self.error("name-ambiguous", place, text, format!("write `%{name}` or `$this.{name}`"));
        }
        true
    }

    /// FHIRPath lets a path begin with the type it starts from: `Patient.name` (FHIRPath 2.0.0, 3.2).
    fn is_type_itself(&self, focus: Holds, name: &str) -> bool {
        let (Holds::Source(Some(of)) | Holds::Target(of)) = focus else { return false };
        !self.has_element(of, name) && self.shapes.is_a(of, name)
    }

    /// The tutorial of R4 calls the item a rule selects by the name of its element: `src.a2 as a where a2.length() <= 20`
    /// (FHIR R4 mapping-tutorial.html, step 3). An element of the item goes before it.
    fn is_selected(&self, focus: Holds, name: &str) -> bool {
        let Some((selected, item)) = &self.selected else { return false };
        let (Holds::Source(Some(of)) | Holds::Target(of)) = focus else { return false };
        *item == focus && *selected == name && !self.is_narrow() && !self.has_element(of, name)
    }

    /// `is`, `as`, `ofType`: of a choice the element of that type, else a test of each item.
    fn of_type(&mut self, base: &'p Expression, name: &str, test: bool, focus: Option<Holds>) -> Code {
        let name = name.rsplit('.').next().unwrap_or(name);
        if let Some((Holds::Source(Some(of)), last)) = self.last_step(base, focus)
            && let Some(field) = self.shapes.find(of, &format!("{last}{}", capital(name)))
            && !self.shapes.choices(of, last).is_empty()
        {
            let json = self.shapes.field(field).name.clone();
            let before = match &base.kind {
                Kind::Member(before, _) => self.expression(before, focus),
                _ => Code::This,
            };
            let chosen = self.member(before, Holds::Source(Some(of)), &json, base.place);
            return if test { Code::Exists(Box::new(chosen), None) } else { chosen };
        }
        Code::OfType(Box::new(self.expression(base, focus)), Arc::from(name), test)
    }

    fn named(&mut self, name: &str, place: Place) -> Code {
        if let Some(variable) = self.variable(name) {
            return Code::Slot(variable.slot);
        }
        let constant =
            self.program.maps.iter().flat_map(|map| &map.constants).find(|(constant, _)| constant == name);
        if let Some((_, expression)) = constant {
            // A constant is what it says, wherever it is used; those it names stand before it.
            let earlier = self.program.maps.iter().flat_map(|map| &map.constants);
            let earlier = earlier.take_while(|(constant, _)| constant != name);
            let scope = std::mem::take(&mut self.scope);
            let code = match circular(expression, &earlier.map(|(name, _)| name.as_str()).collect::<Vec<_>>())
            {
                None => self.expression(expression, None),
                Some(other) => {
                    let text =
                        format!("the constant `{name}` uses `{other}`, which is not declared before it");
                    self.error("constant-order", expression.place, text, "declare constants in order");
                    Code::Empty
                }
            };
            self.scope = scope;
            return code;
        }
        if let Some(value) = self.options.constants.get(name) {
            return Code::Literal(Literal::Text(value.as_str().into()));
        }
        self.variable_unknown(name, place);
        Code::Empty
    }

    fn binary(
        &mut self,
        left: &'p Expression,
        operator: &str,
        right: &'p Expression,
        focus: Option<Holds>,
        place: Place,
    ) -> Code {
        if let (Kind::Quantity(value, unit), "+" | "-") = (&right.kind, operator) {
            return self.moved(left, (value, unit), operator == "-", focus, place);
        }
        let operator = match operator {
            "=" | "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "~" => Operator::Equivalent,
            "!~" => Operator::NotEquivalent,
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
            "+" => Operator::Add,
            "-" => Operator::Subtract,
            "*" => Operator::Multiply,
            "/" => Operator::Divide,
            "div" => Operator::Quotient,
            "mod" => Operator::Remainder,
            _ => {
                let help =
                    "supported: = != ~ !~ < <= > >= and or xor implies in contains & | + - * / div mod";
                self.error("operator-unsupported", place, format!("operator `{operator}`"), help);
                return Code::Empty;
            }
        };
        let (left, right) = (self.expression(left, focus), self.expression(right, focus));
        match operator {
            Operator::Or => left.or(right),
            operator => Code::Binary(operator, Box::new(left), Box::new(right)),
        }
    }

    /// `date + 5 days`.
    fn moved(
        &mut self,
        date: &'p Expression,
        (value, unit): (&str, &str),
        back: bool,
        focus: Option<Holds>,
        place: Place,
    ) -> Code {
        let count = value.parse::<i64>().ok().map(|count| if back { -count } else { count });
        match count.and_then(|count| moment::Shift::new(count, unit)) {
            Some(shift) => Code::Moved(Box::new(self.expression(date, focus)), shift),
            None => {
                let help = "write whole years, months, weeks, days, hours, minutes or seconds";
                self.error("quantity-unit", place, format!("`{value} {unit}` is no duration"), help);
                Code::Empty
            }
        }
    }

    pub(super) fn function(
        &mut self,
        base: Option<&'p Expression>,
        call: &'p Call,
        focus: Option<Holds>,
    ) -> Code {
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
            None if focus.is_some() => Code::This,
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
        let of = Box::new(match of {
            // Whether it is there is a question about the document, whatever the model says of its absence.
            Code::MemberOr(of, step, _) if PRESENCE.contains(&name) => Code::Member(of, step),
            of => of,
        });
        let inside = base.map_or(focus, |base| Some(self.typing(base, focus)));
        let only = |this: &mut Self, least: usize| {
            let inner = call.arguments.first().map(|inner| Box::new(this.expression(inner, inside)));
            if this.arity(call, least, 1) { inner } else { None }
        };
        match name {
            "where" => only(self, 1).map_or(Code::Empty, |inner| Code::Where(of, inner)),
            "select" => only(self, 1).map_or(Code::Empty, |inner| Code::Select(of, inner)),
            "repeat" => only(self, 1).map_or(Code::Empty, |inner| Code::Repeat(of, inner)),
            "aggregate" => {
                if !self.arity(call, 1, 2) {
                    return Code::Empty;
                }
                let start = call.arguments.get(1).map_or(Code::Empty, |start| self.expression(start, focus));
                self.aggregates += 1;
                let inner = call.arguments.first().map(|inner| self.expression(inner, inside));
                self.aggregates -= 1;
                Code::Aggregate(of, Box::new(inner.unwrap_or(Code::Empty)), Box::new(start))
            }
            "all" => only(self, 1).map_or(Code::Empty, |inner| Code::All(of, inner)),
            "exists" => {
                let inner = only(self, 0);
                Code::Exists(of, inner)
            }
            "ofType" | "as" | "is" => match call.arguments.first().map(|argument| &argument.kind) {
                Some(Kind::Name(type_name) | Kind::Text(type_name)) => match base {
                    Some(base) => self.of_type(base, type_name, name == "is", focus),
                    None => Code::OfType(of, Arc::from(type_name.as_str()), name == "is"),
                },
                // `FHIR.Patient`, `System.String`.
                Some(Kind::Member(_, type_name)) => match base {
                    Some(base) => self.of_type(base, type_name, name == "is", focus),
                    None => Code::OfType(of, Arc::from(type_name.as_str()), name == "is"),
                },
                _ => {
                    self.error("type-expected", call.place, format!("`{name}()` takes a type name"), "");
                    Code::Empty
                }
            },
            "conformsTo" => match call.arguments.first().map(|argument| &argument.kind) {
                Some(Kind::Text(url)) if self.core_resource(url).is_some() => {
                    let name = self.core_resource(url).unwrap_or_default();
                    Code::OfType(of, Arc::from(name), true)
                }
                _ => {
                    let help = "only the resource types of FHIR itself can be told here: \
                                `conformsTo('http://hl7.org/fhir/StructureDefinition/Patient')`";
                    self.error("function-unsupported", call.place, "profiles are not known to a map", help);
                    Code::Empty
                }
            },
            "matches" | "matchesFull" => match call.arguments.first().map(|argument| &argument.kind) {
                Some(Kind::Text(text)) => match Pattern::new(&whole(text, name == "matchesFull")) {
                    Ok(pattern) => Code::Matches(of, Arc::new(pattern)),
                    Err(why) => {
                        self.error("pattern-unsupported", call.place, format!("in this pattern: {why}"), "");
                        Code::Empty
                    }
                },
                _ => {
                    self.error(
                        "pattern-unsupported",
                        call.place,
                        format!("{name}() takes a literal pattern"),
                        "",
                    );
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

    /// Name of the FHIR resource type a canonical stands for.
    fn core_resource(&self, url: &str) -> Option<&'p str> {
        let shapes = self.shapes;
        let known = shapes.by_url(url).filter(|id| shapes.is_resource(*id));
        known.map(|id| shapes.type_name(id))
    }
}

/// A pattern, for a text that it matches from the first to the last letter.
fn whole(pattern: &str, whole: bool) -> String {
    if whole { format!("^({pattern})$") } else { pattern.to_owned() }
}

/// A name a constant uses that is no constant before it.
fn circular<'e>(expression: &'e Expression, earlier: &[&str]) -> Option<&'e str> {
    let any = |parts: &[&'e Expression]| parts.iter().find_map(|part| circular(part, earlier));
    match &expression.kind {
        Kind::Name(name) | Kind::Variable(name) => Some(name.as_str()).filter(|name| !earlier.contains(name)),
        Kind::Member(base, _) | Kind::Negative(base) | Kind::Type(base, ..) => any(&[base]),
        Kind::Index(base, index) => any(&[base, index]),
        Kind::Binary(left, _, right) => any(&[left, right]),
        Kind::Function(base, call) => {
            let base = base.iter().map(|base| &**base);
            any(&base.chain(&call.arguments).collect::<Vec<_>>())
        }
        _ => None,
    }
}
