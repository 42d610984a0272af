//! An expression over a collection. Source: FHIRPath N1 sections 4.5 (singletons), 5 (functions), 6 (operations)

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use regex_lite::{Regex, RegexBuilder};

use super::item::{Item, Plain, Value};
use super::text as shared;
use super::{Expr, FhirPathError as Error, Function as F, Operator as O};
use crate::definitions::Definitions;

/// Items one collection may hold: a document of the largest size has fewer elements that an invariant asks for.
const ITEMS_MAX: usize = 1_000_000;

type Items<'d> = Vec<Value<'d>>;

/// What an expression may ask besides what it stands on.
#[derive(Debug, Clone, Copy)]
pub struct Context<'d> {
    /// The definitions of the tree.
    pub definitions: &'d Definitions,
    /// `%resource`: the resource the element is in.
    pub resource: Item<'d>,
    /// `%rootResource`: the one that contains it, or itself.
    pub root: Item<'d>,
}

pub(super) fn evaluate<'d>(
    expr: &Expr,
    context: &Context<'d>,
    this: Item<'d>,
    work: &mut u64,
) -> Result<Items<'d>, Error> {
    let this = Value::Element(this);
    let run = Run { context, start: &this, work: Cell::new(*work) };
    let found = run.eval(expr, std::slice::from_ref(&this));
    *work = run.work.get();
    found
}

/// What a collection means as a condition: one item that is no boolean is true (FHIRPath 4.5).
pub(super) fn truth(items: &[Value<'_>]) -> Result<Option<bool>, Error> {
    match items {
        [] => Ok(None),
        [one] => Ok(Some(match one.plain() {
            Some(Plain::Bool(value)) => value,
            _ => true,
        })),
        _ => Err(Error::Operand),
    }
}

struct Run<'r, 'd> {
    context: &'r Context<'d>,
    /// `%context`
    start: &'r Value<'d>,
    /// What is left of the work it may take.
    work: Cell<u64>,
}

/// About how many properties a node is looked up among for its children.
const CHILDREN_WORK: usize = 32;

impl<'d> Run<'_, 'd> {
    /// Takes from the work that is left.
    fn charge(&self, work: usize) -> Result<(), Error> {
        let left = self.work.get().checked_sub(work as u64).ok_or(Error::TooCostly)?;
        self.work.set(left);
        Ok(())
    }

    fn eval(&self, expr: &Expr, this: &[Value<'d>]) -> Result<Items<'d>, Error> {
        self.charge(1 + this.len())?;
        let out = self.step(expr, this)?;
        self.charge(out.len())?;
        Ok(out)
    }

    fn step(&self, expr: &Expr, this: &[Value<'d>]) -> Result<Items<'d>, Error> {
        Ok(match expr {
            Expr::This => this.to_vec(),
            Expr::Empty => Vec::new(),
            Expr::Bool(value) => vec![Value::Bool(*value)],
            Expr::Text(text) => vec![Value::Text(Cow::Owned(text.clone()))],
            Expr::Number(number) => vec![match number.parse() {
                Ok(whole) => Value::Integer(whole),
                Err(_) => Value::Decimal(number.parse().map_err(|_| Error::Operand)?),
            }],
            Expr::Variable(name) => vec![match name.as_str() {
                "resource" => Value::Element(self.context.resource),
                "rootResource" => Value::Element(self.context.root),
                "context" => self.start.clone(),
                "sct" => Value::Text(Cow::Borrowed("http://snomed.info/sct")),
                "loinc" => Value::Text(Cow::Borrowed("http://loinc.org")),
                _ => Value::Text(Cow::Borrowed("http://unitsofmeasure.org")),
            }],
            Expr::Start(name) => {
                let named = |item: &Value<'d>| match item {
                    Value::Element(item) => item.is(self.context.definitions, name),
                    _ => false,
                };
                if name.starts_with(|c: char| c.is_ascii_uppercase()) && this.iter().all(named) {
                    this.to_vec()
                } else {
                    self.children(this, Some(name))?
                }
            }
            Expr::Child(of, name) => self.children(&self.eval(of, this)?, Some(name))?,
            Expr::Index(of, index) => {
                let items = self.eval(of, this)?;
                match self.integer(index, this)? {
                    Some(at) => {
                        usize::try_from(at).ok().and_then(|at| items.get(at).cloned()).into_iter().collect()
                    }
                    None => Vec::new(),
                }
            }
            Expr::Type(operator, of, name) => {
                let items = self.eval(of, this)?;
                match (operator, items.as_slice()) {
                    (_, []) => Vec::new(),
                    (O::Is, [one]) => vec![Value::Bool(self.is(one, name))],
                    (O::Is, _) => return Err(Error::Operand),
                    // `as` filters here as `ofType` does: R4's invariants apply it to collections.
                    _ => items.into_iter().filter(|item| self.is(item, name)).collect(),
                }
            }
            Expr::OfType(of, name) => {
                self.eval(of, this)?.into_iter().filter(|item| self.is(item, name)).collect()
            }
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right, this)?,
            Expr::Call(of, function, arguments) => {
                let input = self.eval(of, this)?;
                let out = self.call(input, *function, arguments, this)?;
                if out.len() > ITEMS_MAX {
                    return Err(Error::TooCostly);
                }
                out
            }
        })
    }

    fn is(&self, value: &Value<'d>, name: &str) -> bool {
        match value {
            Value::Element(item) => item.is(self.context.definitions, name),
            Value::Bool(_) => name == "Boolean",
            Value::Integer(_) => name == "Integer",
            Value::Decimal(_) => name == "Decimal",
            Value::Text(_) => name == "String",
        }
    }

    fn children(&self, of: &[Value<'d>], name: Option<&str>) -> Result<Items<'d>, Error> {
        self.charge(of.len().saturating_mul(CHILDREN_WORK))?;
        let mut out = Vec::new();
        for item in of {
            if let Value::Element(item) = item {
                item.children(self.context.definitions, name, &mut out);
            }
        }
        Ok(out)
    }

    /// Takes the work of comparing every item of one collection with every one of another.
    fn charge_pairs(&self, left: &[Value<'d>], right: &[Value<'d>]) -> Result<(), Error> {
        let weight = |items: &[Value<'d>]| items.iter().map(weight).sum::<usize>();
        let (a, b) = (weight(left), weight(right));
        self.charge(a.saturating_mul(right.len()).saturating_add(b.saturating_mul(left.len())))
    }

    fn descendants(&self, of: &[Value<'d>]) -> Result<Items<'d>, Error> {
        let mut out = self.children(of, None)?;
        let mut from = 0;
        while from < out.len() {
            let next = self.children(out.get(from..).unwrap_or_default(), None)?;
            from = out.len();
            out.extend(next);
            if out.len() > ITEMS_MAX {
                return Err(Error::TooCostly);
            }
        }
        Ok(out)
    }

    fn condition(&self, expr: &Expr, this: &[Value<'d>]) -> Result<Option<bool>, Error> {
        truth(&self.eval(expr, this)?)
    }

    fn integer(&self, expr: &Expr, this: &[Value<'d>]) -> Result<Option<i64>, Error> {
        match single(&self.eval(expr, this)?)? {
            None => Ok(None),
            Some(Plain::Integer(value)) => Ok(Some(value)),
            Some(_) => Err(Error::Operand),
        }
    }

    fn text(&self, expr: Option<&Expr>, this: &[Value<'d>]) -> Result<Option<Cow<'d, str>>, Error> {
        let Some(expr) = expr else { return Ok(None) };
        text(&self.eval(expr, this)?)
    }

    fn binary(&self, operator: O, left: &Expr, right: &Expr, this: &[Value<'d>]) -> Result<Items<'d>, Error> {
        if matches!(operator, O::And | O::Or | O::Xor | O::Implies) {
            let left = self.condition(left, this)?;
            // What decides alone leaves the other side unread.
            let known = match (operator, left) {
                (O::And, Some(false)) => Some(false),
                (O::Or, Some(true)) | (O::Implies, Some(false)) => Some(true),
                _ => None,
            };
            if let Some(known) = known {
                return Ok(vec![Value::Bool(known)]);
            }
            return Ok(bools(logic(operator, left, self.condition(right, this)?)));
        }
        let (left, right) = (self.eval(left, this)?, self.eval(right, this)?);
        match operator {
            O::Union => self.charge_distinct(left.iter().chain(&right))?,
            O::In | O::Contains => self.charge_pairs(&left, &right)?,
            _ => self.charge(left.iter().chain(&right).map(weight).sum())?,
        }
        Ok(match operator {
            O::Equal => bools(equal(&left, &right)),
            O::NotEqual => bools(equal(&left, &right).map(|equal| !equal)),
            O::Less | O::Greater | O::LessOrEqual | O::GreaterOrEqual => {
                bools(self.order(&left, &right)?.map(|order| match operator {
                    O::Less => order == Ordering::Less,
                    O::Greater => order == Ordering::Greater,
                    O::LessOrEqual => order != Ordering::Greater,
                    _ => order != Ordering::Less,
                }))
            }
            O::Union => distinct(left.into_iter().chain(right).collect()),
            O::In => membership(&left, &right)?,
            O::Contains => membership(&right, &left)?,
            O::Concatenate => {
                let (a, b) = (text(&left)?.unwrap_or_default(), text(&right)?.unwrap_or_default());
                vec![Value::Text(Cow::Owned(format!("{a}{b}")))]
            }
            _ => arithmetic(operator, single(&left)?, single(&right)?)?,
        })
    }

    /// `None` where the order is not known: nothing on one side, dates that overlap, quantities of different units.
    fn order(&self, left: &[Value<'d>], right: &[Value<'d>]) -> Result<Option<Ordering>, Error> {
        let ([a], [b]) = (left, right) else {
            return if left.len() > 1 || right.len() > 1 { Err(Error::Operand) } else { Ok(None) };
        };
        if let (Value::Element(a), Value::Element(b)) = (a, b) {
            if let (Some(a), Some(b)) = (a.time(), b.time()) {
                return Ok(if a == b {
                    Some(Ordering::Equal)
                } else if a.high_us <= b.low_us {
                    Some(Ordering::Less)
                } else if b.high_us <= a.low_us {
                    Some(Ordering::Greater)
                } else {
                    None
                });
            }
            let definitions = self.context.definitions;
            if let (Some((a, in_a)), Some((b, in_b))) = (a.quantity(definitions), b.quantity(definitions)) {
                return Ok(if in_a == in_b { a.partial_cmp(&b) } else { None });
            }
        }
        match (a.plain(), b.plain()) {
            (Some(Plain::Text(a)), Some(Plain::Text(b))) => Ok(Some(a.cmp(&b))),
            (Some(a), Some(b)) => match (number(&a), number(&b)) {
                (Some(a), Some(b)) => Ok(a.partial_cmp(&b)),
                _ => Err(Error::Operand),
            },
            _ => Ok(None),
        }
    }

    fn call(
        &self,
        input: Items<'d>,
        function: F,
        arguments: &[Expr],
        this: &[Value<'d>],
    ) -> Result<Items<'d>, Error> {
        let first = arguments.first();
        let each = |item: &Value<'d>| match first {
            Some(criterion) => self.condition(criterion, std::slice::from_ref(item)),
            None => Ok(Some(true)),
        };
        let other = || first.map_or(Ok(Vec::new()), |expr| self.eval(expr, this));
        Ok(match function {
            F::Empty => vec![Value::Bool(input.is_empty())],
            F::Exists => {
                let mut found = false;
                for item in &input {
                    found |= each(item)? == Some(true);
                }
                vec![Value::Bool(found)]
            }
            F::Not => bools(truth(&input)?.map(|value| !value)),
            F::All => {
                let mut all = true;
                for item in &input {
                    all &= each(item)? == Some(true);
                }
                vec![Value::Bool(all)]
            }
            F::AllTrue => vec![Value::Bool(input.iter().all(|item| item.plain() == Some(Plain::Bool(true))))],
            F::AnyTrue => vec![Value::Bool(input.iter().any(|item| item.plain() == Some(Plain::Bool(true))))],
            F::AllFalse => {
                vec![Value::Bool(input.iter().all(|item| item.plain() == Some(Plain::Bool(false))))]
            }
            F::AnyFalse => {
                vec![Value::Bool(input.iter().any(|item| item.plain() == Some(Plain::Bool(false))))]
            }
            F::Count => vec![Value::Integer(i64::try_from(input.len()).unwrap_or(i64::MAX))],
            F::Distinct => {
                self.charge_distinct(input.iter())?;
                distinct(input)
            }
            F::IsDistinct => {
                self.charge_distinct(input.iter())?;
                let count = input.len();
                vec![Value::Bool(distinct(input).len() == count)]
            }
            F::Where => {
                let mut out = Vec::new();
                for item in input {
                    if each(&item)? == Some(true) {
                        out.push(item);
                    }
                }
                out
            }
            F::Select => {
                let mut out = Vec::new();
                for item in &input {
                    if let Some(expr) = first {
                        out.extend(self.eval(expr, std::slice::from_ref(item))?);
                    }
                }
                out
            }
            F::First => input.into_iter().take(1).collect(),
            F::Last => input.into_iter().next_back().into_iter().collect(),
            F::Tail => input.into_iter().skip(1).collect(),
            F::Skip | F::Take => {
                let count = first.map_or(Ok(None), |expr| self.integer(expr, this))?.unwrap_or(0);
                let count = usize::try_from(count).unwrap_or(0);
                if function == F::Skip {
                    input.into_iter().skip(count).collect()
                } else {
                    input.into_iter().take(count).collect()
                }
            }
            F::Single => {
                if input.len() > 1 {
                    return Err(Error::Operand);
                } else {
                    input
                }
            }
            F::Intersect => {
                let other = other()?;
                self.charge_pairs(&input, &other)?;
                self.charge_distinct(input.iter())?;
                distinct(input.into_iter().filter(|item| has(&other, item)).collect())
            }
            F::Exclude => {
                let other = other()?;
                self.charge_pairs(&input, &other)?;
                input.into_iter().filter(|item| !has(&other, item)).collect()
            }
            F::Combine => input.into_iter().chain(other()?).collect(),
            F::Union => {
                let all: Items<'d> = input.into_iter().chain(other()?).collect();
                self.charge_distinct(all.iter())?;
                distinct(all)
            }
            F::Iif => {
                let chosen =
                    first.map_or(Ok(None), |criterion| self.condition(criterion, &input))? == Some(true);
                match arguments.get(if chosen { 1 } else { 2 }) {
                    Some(expr) => self.eval(expr, &input)?,
                    None => Vec::new(),
                }
            }
            F::Children => self.children(&input, None)?,
            F::Descendants => self.descendants(&input)?,
            F::HasValue => {
                vec![Value::Bool(input.len() == 1 && input.iter().all(|item| item.plain().is_some()))]
            }
            F::Extension => {
                let url = self.text(first, this)?;
                let mut found = Vec::new();
                for item in self.children(&input, Some("extension"))? {
                    let known = self.children(std::slice::from_ref(&item), Some("url"))?;
                    if text(&known).is_ok_and(|known| known == url) {
                        found.push(item);
                    }
                }
                found
            }
            F::Resolve => self.resolve(&input)?,
            F::Trace => input,
            F::SubsetOf | F::SupersetOf => {
                let other = other()?;
                self.charge_pairs(&input, &other)?;
                let (part, whole) = if function == F::SubsetOf { (&input, &other) } else { (&other, &input) };
                vec![Value::Bool(part.iter().all(|item| has(whole, item)))]
            }
            F::Join => {
                let separator = self.text(first, this)?.unwrap_or_default();
                let texts: Vec<Cow<'_, str>> = input.iter().filter_map(|item| text_of(item)).collect();
                self.charge(texts.iter().map(|text| text.len() + separator.len()).sum())?;
                if texts.is_empty() {
                    Vec::new()
                } else {
                    vec![Value::Text(Cow::Owned(texts.join(&*separator)))]
                }
            }
            F::ToInteger => single(&input)?.and_then(|plain| to_integer(&plain)).into_iter().collect(),
            F::ToDecimal => single(&input)?.and_then(|plain| to_decimal(&plain)).into_iter().collect(),
            F::ToBoolean => single(&input)?.and_then(|plain| to_boolean(&plain)).into_iter().collect(),
            F::ConvertsToInteger => converts(&input, to_integer)?,
            F::ConvertsToDecimal => converts(&input, to_decimal)?,
            F::ConvertsToBoolean => converts(&input, to_boolean)?,
            F::ConvertsToText => {
                single(&input)?;
                input.iter().map(|item| Value::Bool(item.plain().is_some())).collect()
            }
            F::Absolute | F::Ceiling | F::Floor | F::Truncate => match single(&input)? {
                None => Vec::new(),
                Some(Plain::Integer(value)) if function == F::Absolute => {
                    value.checked_abs().map(Value::Integer).into_iter().collect()
                }
                Some(Plain::Integer(value)) => vec![Value::Integer(value)],
                Some(Plain::Decimal(value)) if function == F::Absolute => vec![Value::Decimal(value.abs())],
                Some(Plain::Decimal(value)) => {
                    let whole = match function {
                        F::Ceiling => value.ceil(),
                        F::Floor => value.floor(),
                        _ => value.trunc(),
                    };
                    // Beyond that a double is no whole number one can count with.
                    let fits = whole.abs() < 9.0e15;
                    if fits { vec![Value::Integer(whole as i64)] } else { Vec::new() }
                }
                Some(_) => return Err(Error::Operand),
            },
            F::ToText => match (single(&input)?, input.first()) {
                // The digits as they are written.
                (
                    Some(Plain::Integer(_) | Plain::Decimal(_)),
                    Some(Value::Element(Item { node: Some(node), .. })),
                ) => {
                    vec![Value::Text(Cow::Borrowed(node.raw()))]
                }
                (Some(Plain::Bool(value)), _) => vec![Value::Text(Cow::Owned(value.to_string()))],
                (Some(Plain::Integer(value)), _) => vec![Value::Text(Cow::Owned(value.to_string()))],
                (Some(Plain::Decimal(value)), _) => vec![Value::Text(Cow::Owned(value.to_string()))],
                (Some(Plain::Text(text)), _) => vec![Value::Text(text)],
                (None, _) => Vec::new(),
            },
            _ => self.of_text(&input, function, arguments, this)?,
        })
    }

    /// Functions of one text.
    fn of_text(
        &self,
        input: &[Value<'d>],
        function: F,
        arguments: &[Expr],
        this: &[Value<'d>],
    ) -> Result<Items<'d>, Error> {
        let Some(of) = text(input)? else { return Ok(Vec::new()) };
        self.charge(of.len())?;
        let owned = |text: String| vec![Value::Text(Cow::Owned(text))];
        match function {
            F::Length => {
                return Ok(vec![Value::Integer(i64::try_from(of.chars().count()).unwrap_or(i64::MAX))]);
            }
            F::Trim => return Ok(owned(of.trim().to_owned())),
            F::ToChars => {
                return Ok(of.chars().map(|letter| Value::Text(Cow::Owned(letter.to_string()))).collect());
            }
            F::Upper => return Ok(owned(of.to_uppercase())),
            F::Lower => return Ok(owned(of.to_lowercase())),
            F::Substring => {
                let start = arguments.first().map_or(Ok(None), |expr| self.integer(expr, this))?;
                let length = arguments.get(1).map_or(Ok(None), |expr| self.integer(expr, this))?;
                let Some(start) = start.and_then(|start| usize::try_from(start).ok()) else {
                    return Ok(Vec::new());
                };
                if start >= of.chars().count() {
                    return Ok(Vec::new());
                }
                let length = length.map_or(usize::MAX, |length| usize::try_from(length).unwrap_or(0));
                return Ok(owned(of.chars().skip(start).take(length).collect()));
            }
            _ => {}
        }
        let Some(first) = self.text(arguments.first(), this)? else { return Ok(Vec::new()) };
        if matches!(function, F::Matches | F::ReplaceMatches) {
            // Matching takes as long as text times pattern at most: the engine does not backtrack.
            self.charge((of.len() + REGEX_WORK).saturating_mul(first.len() * STATES_PER_BYTE))?;
        }
        Ok(match function {
            F::StartsWith => vec![Value::Bool(of.starts_with(first.as_ref()))],
            F::EndsWith => vec![Value::Bool(of.ends_with(first.as_ref()))],
            F::Contains => vec![Value::Bool(of.contains(first.as_ref()))],
            F::LastIndexOf => {
                let at = of.rfind(first.as_ref()).map(|at| of.get(..at).unwrap_or_default().chars().count());
                vec![Value::Integer(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))]
            }
            F::Split if first.is_empty() => owned(of.into_owned()),
            F::Split => {
                of.split(first.as_ref()).map(|part| Value::Text(Cow::Owned(part.to_owned()))).collect()
            }
            // What it is not, gives nothing.
            F::Escape => shared::escape(&of, &first).map(owned).unwrap_or_default(),
            F::Unescape => shared::unescape(&of, &first).map(owned).unwrap_or_default(),
            F::Encode => shared::encode(&of, &first).map(owned).unwrap_or_default(),
            F::Decode => shared::decode(&of, &first).map(owned).unwrap_or_default(),
            F::IndexOf => {
                let at = of.find(first.as_ref()).map(|at| of.get(..at).unwrap_or_default().chars().count());
                vec![Value::Integer(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))]
            }
            F::Matches => vec![Value::Bool(regex(&first)?.is_match(&of))],
            F::Replace | F::ReplaceMatches => match self.text(arguments.get(1), this)? {
                None => Vec::new(),
                // An empty pattern stands before and after every character.
                Some(with) if self.charge((of.len() + 1).saturating_mul(with.len() + 1)).is_err() => {
                    return Err(Error::TooCostly);
                }
                Some(with) if function == F::Replace => owned(of.replace(first.as_ref(), &with)),
                Some(with) => owned(regex(&first)?.replace_all(&of, with.as_ref()).into_owned()),
            },
            _ => return Err(Error::Operand),
        })
    }

    /// Resources inside the root that references lead to; what is elsewhere is not looked up.
    fn resolve(&self, input: &[Value<'d>]) -> Result<Items<'d>, Error> {
        let mut out = Vec::new();
        for item in input {
            let of = self.children(std::slice::from_ref(item), Some("reference"))?;
            let reference = text(if of.is_empty() { std::slice::from_ref(item) } else { &of });
            let Ok(Some(reference)) = reference else { continue };
            let Some(id) = reference.strip_prefix('#') else { continue };
            let root = [Value::Element(self.context.root)];
            for inner in self.children(&root, Some("contained"))? {
                let known = self.children(std::slice::from_ref(&inner), Some("id"))?;
                if matches!(text(&known), Ok(Some(known)) if known == id) {
                    out.push(inner);
                }
            }
        }
        Ok(out)
    }

    /// Takes the work of finding each item once: those that are no text are compared pair by pair.
    fn charge_distinct<'v>(&self, items: impl Iterator<Item = &'v Value<'d>>) -> Result<(), Error>
    where
        'd: 'v,
    {
        let (mut count, mut sum) = (0_usize, 0_usize);
        for item in items {
            let pairwise = !matches!(item.plain(), Some(Plain::Text(_)));
            count += usize::from(pairwise);
            sum += weight(item);
        }
        self.charge(sum.saturating_mul(count.max(1)))
    }
}

/// What making a regular expression takes, in characters it is matched against.
const REGEX_WORK: usize = 64;

/// Work of one character for each byte of a pattern, counted repetitions unrolled; [`REGEX_BYTES_MAX`] bounds those.
const STATES_PER_BYTE: usize = 8;

/// Memory of one regular expression: `(a{0,99}){0,99}` unrolls to more.
const REGEX_BYTES_MAX: usize = 128 * 1024;

/// What comparing a value takes.
fn weight(value: &Value<'_>) -> usize {
    match value {
        Value::Element(item) => 1 + item.node().map_or(0, |node| node.span().len() / 16),
        Value::Text(text) => 1 + text.len() / 16,
        _ => 1,
    }
}

fn bools<'d>(value: Option<bool>) -> Items<'d> {
    value.map(Value::Bool).into_iter().collect()
}

/// Source: FHIRPath 6.5
fn logic(operator: O, left: Option<bool>, right: Option<bool>) -> Option<bool> {
    match operator {
        O::And => match (left, right) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
        O::Or => match (left, right) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        O::Xor => Some(left? != right?),
        _ => match (left, right) {
            (Some(false), _) | (_, Some(true)) => Some(true),
            (Some(true), right) => right,
            _ => None,
        },
    }
}

fn single<'d>(items: &[Value<'d>]) -> Result<Option<Plain<'d>>, Error> {
    match items {
        [] => Ok(None),
        [one] => Ok(one.plain()),
        _ => Err(Error::Operand),
    }
}

fn text<'d>(items: &[Value<'d>]) -> Result<Option<Cow<'d, str>>, Error> {
    match single(items)? {
        None => Ok(None),
        Some(Plain::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Error::Operand),
    }
}

/// A value as `join()` takes it.
fn text_of<'d>(value: &Value<'d>) -> Option<Cow<'d, str>> {
    match value.plain()? {
        Plain::Text(text) => Some(text),
        Plain::Bool(value) => Some(Cow::Owned(value.to_string())),
        Plain::Integer(value) => Some(Cow::Owned(value.to_string())),
        Plain::Decimal(value) => Some(Cow::Owned(value.to_string())),
    }
}

/// Whether a conversion gives something; nothing of nothing (FHIRPath 5.5).
fn converts<'d>(input: &[Value<'d>], to: fn(&Plain<'d>) -> Option<Value<'d>>) -> Result<Items<'d>, Error> {
    single(input)?;
    Ok(input.iter().map(|item| Value::Bool(item.plain().is_some_and(|plain| to(&plain).is_some()))).collect())
}

fn to_integer<'d>(plain: &Plain<'d>) -> Option<Value<'d>> {
    match plain {
        Plain::Integer(value) => Some(Value::Integer(*value)),
        Plain::Bool(value) => Some(Value::Integer(i64::from(*value))),
        Plain::Text(text) => text.parse().ok().map(Value::Integer),
        Plain::Decimal(_) => None,
    }
}

fn to_decimal<'d>(plain: &Plain<'d>) -> Option<Value<'d>> {
    match plain {
        Plain::Integer(value) => Some(Value::Decimal(*value as f64)),
        Plain::Decimal(value) => Some(Value::Decimal(*value)),
        Plain::Bool(value) => Some(Value::Decimal(if *value { 1.0 } else { 0.0 })),
        // Rust reads `inf` and `1.` as numbers, FHIRPath does not.
        Plain::Text(text) => {
            let is_digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
            let ends = text.ends_with(|c: char| c.is_ascii_digit());
            text.parse().ok().filter(|_| is_digits && ends).map(Value::Decimal)
        }
    }
}

fn to_boolean<'d>(plain: &Plain<'d>) -> Option<Value<'d>> {
    let value = match plain {
        Plain::Bool(value) => *value,
        Plain::Integer(1) => true,
        Plain::Integer(0) => false,
        Plain::Decimal(value) if *value == 1.0 => true,
        Plain::Decimal(value) if *value == 0.0 => false,
        Plain::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "1" | "1.0" => true,
            "false" | "f" | "no" | "n" | "0" | "0.0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Value::Bool(value))
}

fn number(plain: &Plain<'_>) -> Option<f64> {
    match plain {
        Plain::Integer(value) => Some(*value as f64),
        Plain::Decimal(value) => Some(*value),
        _ => None,
    }
}

fn equal(left: &[Value<'_>], right: &[Value<'_>]) -> Option<bool> {
    if left.is_empty() || right.is_empty() {
        return None;
    }
    Some(left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.equals(b)))
}

fn has<'d>(items: &[Value<'d>], item: &Value<'d>) -> bool {
    items.iter().any(|other| other.equals(item))
}

fn membership<'d>(item: &[Value<'d>], items: &[Value<'d>]) -> Result<Items<'d>, Error> {
    match item {
        [] => Ok(Vec::new()),
        [one] => Ok(vec![Value::Bool(has(items, one))]),
        _ => Err(Error::Operand),
    }
}

/// Each once, in order. Texts are compared by a set: `isDistinct` stands over all elements of a StructureDefinition.
fn distinct(items: Items<'_>) -> Items<'_> {
    let mut texts = std::collections::HashSet::new();
    let mut others: Items<'_> = Vec::new();
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        let is_new = match item.plain() {
            Some(Plain::Text(text)) => texts.insert(text.into_owned()),
            _ if has(&others, &item) => false,
            _ => {
                others.push(item.clone());
                true
            }
        };
        if is_new {
            out.push(item);
        }
    }
    out
}

fn arithmetic<'d>(
    operator: O,
    left: Option<Plain<'d>>,
    right: Option<Plain<'d>>,
) -> Result<Items<'d>, Error> {
    let (Some(left), Some(right)) = (left, right) else { return Ok(Vec::new()) };
    if let (O::Plus, Plain::Text(a), Plain::Text(b)) = (operator, &left, &right) {
        return Ok(vec![Value::Text(Cow::Owned(format!("{a}{b}")))]);
    }
    if let (Plain::Integer(a), Plain::Integer(b)) = (&left, &right) {
        let whole = match operator {
            O::Plus => a.checked_add(*b),
            O::Minus => a.checked_sub(*b),
            O::Times => a.checked_mul(*b),
            O::Div => a.checked_div(*b),
            O::Mod => a.checked_rem(*b),
            _ => return Ok((*b != 0).then(|| Value::Decimal(*a as f64 / *b as f64)).into_iter().collect()),
        };
        return Ok(whole.map(Value::Integer).into_iter().collect());
    }
    let (Some(a), Some(b)) = (number(&left), number(&right)) else { return Err(Error::Operand) };
    let value = match operator {
        O::Plus => a + b,
        O::Minus => a - b,
        O::Times => a * b,
        O::Div => (a / b).trunc(),
        O::Mod => a % b,
        _ => a / b,
    };
    Ok(value.is_finite().then_some(Value::Decimal(value)).into_iter().collect())
}

fn regex(text: &str) -> Result<Regex, Error> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build().map_err(|_| Error::Regex)
}
