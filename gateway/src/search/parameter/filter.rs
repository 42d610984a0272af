//! `_filter`: an expression over search parameters, read to criteria joined by and, or and not.
//!
//! Names, chains and values are those of other parameters, so what they cost and may look at is counted and judged as
//! theirs. Source: FHIR R4 search_filter.html

use sluis_conformance::definitions::{SearchKind, SearchParameter};

use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Condition, Criterion, DateTest, Link, Prefix, Test};
use crate::search::text::normalise;

use super::chain::{Asked, TYPES_MAX, targets};
use super::value::{self, Reader};
use super::{escape_values, find, invalid, no_modifier, parameter_of, range, too_costly};

/// Parentheses, brackets and nots inside one another.
const DEPTH_MAX: usize = 32;

/// Reads a filter on resources of a type.
///
/// Errors: `ParameterInvalid` with the place in the text, `ParameterUnknown` for names and operators that are not
/// offered, `TooCostly` past a limit.
pub(super) fn read(asked: &Asked<'_>, kind: ResourceType) -> Result<Criterion, Refusal> {
    let mut parser = Parser { asked, at: 0, inside: 0, comparisons: 0 };
    let criterion = parser.either(kind, 0)?;
    parser.space();
    if parser.at < asked.text.len() {
        return Err(parser.wrong("an operator `and` or `or`, or the end, is due"));
    }
    Ok(criterion)
}

struct Parser<'p> {
    asked: &'p Asked<'p>,
    /// Bytes read.
    at: usize,
    /// Open parentheses, brackets and nots.
    inside: usize,
    /// Comparisons read.
    comparisons: usize,
}

impl<'p> Parser<'p> {
    /// `a or b or ...`: `and` binds tighter.
    fn either(&mut self, kind: ResourceType, depth: usize) -> Result<Criterion, Refusal> {
        let mut some = vec![self.all(kind, depth)?];
        while self.word("or") {
            some.push(self.all(kind, depth)?);
        }
        Ok(if some.len() > 1 { Criterion::AnyOf(some) } else { one(some) })
    }

    /// `a and b and ...`
    fn all(&mut self, kind: ResourceType, depth: usize) -> Result<Criterion, Refusal> {
        let mut all = vec![self.term(kind, depth)?];
        while self.word("and") {
            all.push(self.term(kind, depth)?);
        }
        Ok(if all.len() > 1 { Criterion::All(all) } else { one(all) })
    }

    /// `not (...)`, `(...)` or a comparison.
    fn term(&mut self, kind: ResourceType, depth: usize) -> Result<Criterion, Refusal> {
        let before = self.at;
        if self.word("not") {
            if self.sign('(') {
                let inside = self.parenthesised(kind, depth, ')')?;
                return Ok(Criterion::Not(Box::new(inside)));
            }
            self.at = before;
        }
        if self.sign('(') {
            return self.parenthesised(kind, depth, ')');
        }
        self.path(kind, depth)
    }

    /// What follows an opening sign, up to its closing one.
    fn parenthesised(&mut self, kind: ResourceType, depth: usize, close: char) -> Result<Criterion, Refusal> {
        self.inside += 1;
        if self.inside > DEPTH_MAX {
            let text = format!("A filter is at most {DEPTH_MAX} deep.");
            return Err(too_costly(self.asked.name, text));
        }
        let criterion = self.either(kind, depth)?;
        if !self.sign(close) {
            return Err(self.wrong(&format!("`{close}` is due")));
        }
        self.inside -= 1;
        Ok(criterion)
    }

    /// `name op value`, `reference.rest` or `reference[filter].rest`.
    fn path(&mut self, kind: ResourceType, depth: usize) -> Result<Criterion, Refusal> {
        self.space();
        let code = self.name()?;
        match self.rest().chars().next() {
            Some('.' | '[') => self.beyond(kind, code, depth),
            Some(' ') => self.comparison(kind, code),
            _ => Err(self.wrong("a space and an operator are due")),
        }
    }

    /// What must hold past a reference. The text behind it is read for every type it may lead to, as in a chain.
    fn beyond(&mut self, kind: ResourceType, code: &'p str, depth: usize) -> Result<Criterion, Refusal> {
        let definition = self.asked.reference(kind, code)?;
        let kinds = targets(definition);
        if kinds.is_empty() || kinds.len() > TYPES_MAX {
            let text = format!("{code} may refer to any type, and a filter names none; use a chain.");
            return Err(invalid(self.asked.name, text));
        }
        let (from, mut to) = (self.at, None);
        let (mut links, mut refused) = (Vec::new(), None);
        for target in kinds {
            self.at = from;
            self.asked.follow(depth)?;
            let inside = self.inside;
            match self.target(target, depth + 1) {
                Ok(criterion) => {
                    to = Some(self.at);
                    links.push(Link { kind: target, criterion: Box::new(criterion) });
                }
                Err(refusal)
                    if matches!(refusal.reason, Reason::ParameterUnknown | Reason::ModifierUnknown) =>
                {
                    refused.get_or_insert(refusal);
                }
                Err(refusal) => return Err(refusal),
            }
            self.inside = inside;
        }
        match (to, refused) {
            (Some(to), _) => {
                self.at = to;
                Ok(Criterion::Chain(parameter_of(kind, definition), links))
            }
            (None, Some(refusal)) => Err(refusal),
            (None, None) => Err(self.wrong("a reference that leads somewhere is due")),
        }
    }

    /// `.rest` or `[filter].rest`, of the type referred to: both hold of one resource.
    fn target(&mut self, kind: ResourceType, depth: usize) -> Result<Criterion, Refusal> {
        let mut all = Vec::new();
        if self.sign('[') {
            all.push(self.parenthesised(kind, depth, ']')?);
        }
        if !self.rest().starts_with('.') {
            return Err(self.wrong("`.` and a name are due"));
        }
        self.at += 1;
        all.push(self.path(kind, depth)?);
        Ok(if all.len() > 1 { Criterion::All(all) } else { one(all) })
    }

    fn comparison(&mut self, kind: ResourceType, code: &'p str) -> Result<Criterion, Refusal> {
        self.comparisons += 1;
        let max = self.asked.limits.values_max;
        if self.comparisons > max {
            return Err(too_costly(self.asked.name, format!("At most {max} comparisons in a filter.")));
        }
        self.space();
        let operator = self.until(|c| !c.is_ascii_alphabetic());
        self.space();
        let value = self.value()?;
        let definition = find(kind, code, self.asked.name)?;
        Comparison { asked: self.asked, definition, operator, value: &value }.criterion(kind)
    }

    /// A JSON string, or what stands up to a space or a closing sign.
    fn value(&mut self) -> Result<String, Refusal> {
        if !self.rest().starts_with('"') {
            let token = self.until(|c| c.is_whitespace() || matches!(c, ')' | ']'));
            if token.is_empty() {
                return Err(self.wrong("a value is due"));
            }
            return Ok(token.to_owned());
        }
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<String>();
        match values.next() {
            Some(Ok(text)) => {
                self.at += values.byte_offset();
                Ok(text)
            }
            _ => Err(self.wrong("the text in quotes does not end, or has an escape that JSON does not know")),
        }
    }

    /// A parameter's name.
    fn name(&mut self) -> Result<&'p str, Refusal> {
        let name = self.until(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
        if name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Ok(name);
        }
        Err(self.wrong("the name of a search parameter is due"))
    }

    fn rest(&self) -> &'p str {
        self.asked.text.get(self.at..).unwrap_or("")
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'p str {
        let rest = self.rest();
        let taken = rest.get(..rest.find(end).unwrap_or(rest.len())).unwrap_or("");
        self.at += taken.len();
        taken
    }

    fn space(&mut self) {
        self.until(|c| !c.is_whitespace());
    }

    /// Takes a word, if it is next and ends there.
    fn word(&mut self, word: &str) -> bool {
        let before = self.at;
        self.space();
        if self.until(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) == word {
            return true;
        }
        self.at = before;
        false
    }

    /// Takes a sign, if it is next.
    fn sign(&mut self, sign: char) -> bool {
        let before = self.at;
        self.space();
        if self.rest().starts_with(sign) {
            self.at += sign.len_utf8();
            return true;
        }
        self.at = before;
        false
    }

    fn wrong(&self, what: &str) -> Refusal {
        let place = self.asked.text.get(..self.at).map_or(0, |read| read.chars().count()) + 1;
        invalid(self.asked.name, format!("At character {place}: {what}."))
    }
}

/// The only one.
fn one(mut of: Vec<Criterion>) -> Criterion {
    of.pop().unwrap_or(Criterion::All(Vec::new()))
}

/// One comparison.
struct Comparison<'c> {
    asked: &'c Asked<'c>,
    definition: &'static SearchParameter,
    operator: &'c str,
    value: &'c str,
}

impl Comparison<'_> {
    fn criterion(&self, kind: ResourceType) -> Result<Criterion, Refusal> {
        let parameter = parameter_of(kind, self.definition);
        let any = |test| Criterion::Index(parameter, Condition::Any(vec![test]));
        let unlike = |test: Test| Test::Unlike(Box::new(test));
        match (self.definition.code, self.operator) {
            ("_id", "eq") => return Ok(Criterion::Id(vec![value::id(self.asked.name, self.value)?])),
            ("_id", "ne") => {
                let id = value::id(self.asked.name, self.value)?;
                return Ok(Criterion::Not(Box::new(Criterion::Id(vec![id]))));
            }
            ("_lastUpdated", "po") => return Ok(Criterion::Updated(vec![self.overlap()?])),
            ("_lastUpdated", operator) if is_prefix(operator) => {
                return Ok(Criterion::Updated(vec![self.date()?]));
            }
            ("_id" | "_lastUpdated", _) => return Err(self.no_operator()),
            (_, "pr") => {
                let present = match self.value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(invalid(self.asked.name, "`pr` takes true or false.".to_owned())),
                };
                return Ok(Criterion::Index(parameter, Condition::Missing(!present)));
            }
            _ => {}
        }
        Ok(match (parameter.kind, self.operator) {
            (SearchKind::String, "eq") => any(Test::Equals(self.text()?)),
            (SearchKind::String, "ne") => any(unlike(Test::Equals(self.text()?))),
            (SearchKind::String, "co") => any(Test::Contains(self.text()?)),
            (SearchKind::String, "sw") => any(Test::Starts(self.text()?)),
            (SearchKind::String, "ew") => any(Test::Ends(self.text()?)),
            (SearchKind::Token | SearchKind::Reference | SearchKind::Uri, "eq") => any(self.test(None)?),
            (SearchKind::Reference, "re") => any(self.test(None)?),
            (SearchKind::Token | SearchKind::Reference | SearchKind::Uri, "ne") => {
                any(unlike(self.test(None)?))
            }
            (SearchKind::Token, "ss") => any(self.test(Some("below"))?),
            (SearchKind::Token, "sb") => any(self.test(Some("above"))?),
            (SearchKind::Token, "in") => any(self.test(Some("in"))?),
            (SearchKind::Token, "ni") => {
                Criterion::Index(parameter, Condition::NotAny(vec![self.test(Some("in"))?]))
            }
            (SearchKind::Uri, "sw") => any(Test::UriBelow(self.value.to_owned())),
            (SearchKind::Date, "po") => any(Test::Date(self.overlap()?)),
            (SearchKind::Date | SearchKind::Number | SearchKind::Quantity, operator)
                if is_prefix(operator) =>
            {
                let written = format!("{operator}{}", self.value);
                any(self.reader().read(parameter.kind, None, &escape_values(&written))?)
            }
            _ => return Err(self.no_operator()),
        })
    }

    fn reader(&self) -> Reader<'_> {
        Reader { name: self.asked.name, definition: self.definition, context: self.asked.context }
    }

    fn test(&self, modifier: Option<&str>) -> Result<Test, Refusal> {
        self.reader().read(self.definition.kind, modifier, &escape_values(self.value))
    }

    fn text(&self) -> Result<String, Refusal> {
        let text = normalise(self.value);
        if text.is_empty() {
            return Err(invalid(self.asked.name, "It has no letter to search for.".to_owned()));
        }
        Ok(text)
    }

    fn date(&self) -> Result<DateTest, Refusal> {
        range::date(self.asked.name, &format!("{}{}", self.operator, self.value), self.asked.context.now)
    }

    /// `po`: the periods overlap, as `ap` has it, with the width that is written.
    fn overlap(&self) -> Result<DateTest, Refusal> {
        let exact = range::date(self.asked.name, &format!("eq{}", self.value), self.asked.context.now)?;
        Ok(DateTest { prefix: Prefix::Ap, ..exact })
    }

    fn no_operator(&self) -> Refusal {
        let offered = match (self.definition.code, self.definition.kind) {
            ("_id", _) => "eq and ne",
            ("_lastUpdated", _) => "eq, ne, gt, lt, ge, le, sa, eb, ap and po",
            (_, SearchKind::String) => "eq, ne, co, sw, ew and pr",
            (_, SearchKind::Token) => "eq, ne, ss, sb, in, ni and pr",
            (_, SearchKind::Reference) => "eq, ne, re and pr",
            (_, SearchKind::Uri) => "eq, ne, sw and pr",
            (_, SearchKind::Date) => "eq, ne, gt, lt, ge, le, sa, eb, ap, po and pr",
            (_, SearchKind::Number | SearchKind::Quantity) => "eq, ne, gt, lt, ge, le, sa, eb, ap and pr",
            (_, SearchKind::Composite | SearchKind::Special) => "pr",
        };
        let text = format!("{} takes the operators {offered}.", self.definition.code);
        no_modifier(self.asked.name, &text)
    }
}

fn is_prefix(operator: &str) -> bool {
    matches!(operator, "eq" | "ne" | "gt" | "lt" | "ge" | "le" | "sa" | "eb" | "ap")
}
