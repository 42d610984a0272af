//! Compiled expressions over the source tree and the resources being built.
//!
//! Every source leaf whose value or presence decided something is marked in the coverage. FHIRPath rules followed here:
//! empty propagates, a single non-boolean item is true where a boolean is asked (FHIRPath 2.0.0, 4.5 singleton
//! evaluation), `and`/`or` are three-valued. Local formats are untyped, so `'5' = 5` compares by value.

use std::cmp::Ordering;

use crate::source::{NodeId, Value};

use super::code::{Code, Operator, Path, Slot, Step};
use super::decimal;
use super::execute::Machine;
use super::item::{Item, Items, Values};
use super::problem::Problem;

impl<'t> Machine<'t> {
    /// Value of an expression; `focus` is `$this`.
    pub(crate) fn evaluate(&mut self, code: &'t Code, focus: Option<Item<'t>>) -> Result<Items<'t>, Problem> {
        self.spend()?;
        Ok(match code {
            Code::Empty => Items::Empty,
            Code::Literal(literal) => Items::One(literal.item()),
            Code::This => focus.into(),
            Code::Slot(slot) => self.slot(*slot).clone(),
            Code::Member(base, name) => {
                let base = self.evaluate(base, focus)?;
                let mut out = Items::Empty;
                for &item in base.as_slice() {
                    self.step(item, name, &mut out);
                }
                out
            }
            Code::MemberOr(base, name, absent) => {
                let base = self.evaluate(base, focus)?;
                let mut out = Items::Empty;
                for &item in base.as_slice() {
                    let before = out.len();
                    self.step(item, name, &mut out);
                    if out.len() == before {
                        out.push(absent.item());
                    }
                }
                out
            }
            Code::Path(path) => self.follow(path, focus),
            Code::Index(base, index) => {
                let base = self.evaluate(base, focus)?;
                let index = self.evaluate(index, focus)?;
                let at = index.first().and_then(|i| self.text(i)).and_then(|t| t.parse::<usize>().ok());
                at.and_then(|at| base.as_slice().get(at)).copied().into()
            }
            Code::Binary(operator, left, right) if !operator.is_logical() => {
                let left = self.evaluate(left, focus)?;
                let right = self.evaluate(right, focus)?;
                self.binary(*operator, left, right)?
            }
            Code::Binary(..) | Code::OneOf(..) | Code::Exists(..) | Code::All(..) | Code::Matches(..) => {
                self.truth_of(code, focus)?.map_or(Items::Empty, Items::boolean)
            }
            Code::Call(function, ..) if function.is_logical() => {
                self.truth_of(code, focus)?.map_or(Items::Empty, Items::boolean)
            }
            Code::OfType(base, type_name, test) => {
                let base = self.evaluate(base, focus)?;
                let fits: Vec<bool> =
                    base.as_slice().iter().map(|&item| self.is_type(item, type_name)).collect();
                if *test {
                    fits.first().map_or(Items::Empty, |fits| Items::boolean(*fits))
                } else {
                    base.as_slice()
                        .iter()
                        .zip(fits)
                        .filter(|(_, fits)| *fits)
                        .map(|(item, _)| *item)
                        .collect()
                }
            }
            Code::Where(base, condition) => {
                let base = self.evaluate(base, focus)?;
                let (mut out, at) = (Items::Empty, self.place);
                for (place, &item) in base.as_slice().iter().enumerate() {
                    self.place = place;
                    if self.holds(condition, Some(item))? {
                        out.push(item);
                    }
                }
                self.place = at;
                out
            }
            Code::Select(base, inner) => {
                let base = self.evaluate(base, focus)?;
                let (mut out, at) = (Items::Empty, self.place);
                for (place, &item) in base.as_slice().iter().enumerate() {
                    self.place = place;
                    out.extend(self.evaluate(inner, Some(item))?);
                }
                self.place = at;
                out
            }
            Code::Total => self.total.clone(),
            Code::Place => Items::One(Item::Number(self.texts.keep(&self.place.to_string())?)),
            Code::Aggregate(base, inner, start) => {
                let base = self.evaluate(base, focus)?;
                let start = self.evaluate(start, focus)?;
                let (outer, at) = (std::mem::replace(&mut self.total, start), self.place);
                for (place, &item) in base.as_slice().iter().enumerate() {
                    self.place = place;
                    self.total = self.evaluate(inner, Some(item))?;
                }
                self.place = at;
                std::mem::replace(&mut self.total, outer)
            }
            Code::Repeat(base, inner) => self.repeat(base, inner, focus)?,
            Code::If(condition, yes, no) => {
                let branch = if self.holds(condition, focus)? { yes } else { no };
                self.evaluate(branch, focus)?
            }
            Code::Moved(base, shift) => {
                let base = self.evaluate(base, focus)?;
                match self.single_text(&base)? {
                    Some(text) => match shift.apply(text) {
                        Ok(moved) => Items::text(self.texts.keep(&moved)?),
                        Err(why) => {
                            let problem = Problem::new("date-invalid", why, "send a full date or dateTime");
                            return Err(base.first().map_or(problem.clone(), |item| problem.on(item)));
                        }
                    },
                    None => Items::Empty,
                }
            }
            Code::Call(function, base, arguments) => {
                let base = self.evaluate(base, focus)?;
                let mut values = Values::new();
                for argument in arguments {
                    values.push(self.evaluate(argument, focus)?);
                }
                self.function(*function, base, &values)?
            }
            Code::Extension(function, arguments) => {
                let mut values = Values::new();
                for argument in arguments {
                    values.push(self.evaluate(argument, focus)?);
                }
                self.extension(*function, &values)?
            }
        })
    }

    /// What an expression gives, and what it gives of that, each item once (FHIRPath 2.0.0, 5.2.3).
    fn repeat(
        &mut self,
        base: &'t Code,
        inner: &'t Code,
        focus: Option<Item<'t>>,
    ) -> Result<Items<'t>, Problem> {
        let mut found: Vec<Item<'t>> = Vec::new();
        let mut queue: Vec<Item<'t>> = self.evaluate(base, focus)?.as_slice().to_vec();
        while let Some(item) = queue.pop() {
            for &item in self.evaluate(inner, Some(item))?.as_slice() {
                let mut known = false;
                for &other in &found {
                    self.spend()?;
                    known = known || self.item_equal(item, other);
                }
                if !known {
                    found.push(item);
                    queue.push(item);
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    /// What lies at the end of a path.
    pub(super) fn follow(&mut self, path: &Path, focus: Option<Item<'t>>) -> Items<'t> {
        if let Some(reached) = self.along(path.from, &path.names, focus) {
            return reached.into();
        }
        let mut items = match path.from {
            Some(slot) => self.slot(slot).clone(),
            None => focus.into(),
        };
        for name in &path.names {
            let mut next = Items::Empty;
            for &item in items.as_slice() {
                self.step(item, &Step::Name(*name), &mut next);
            }
            items = next;
        }
        items
    }

    /// Whether a condition is true; empty is not.
    pub(crate) fn holds(&mut self, code: &'t Code, focus: Option<Item<'t>>) -> Result<bool, Problem> {
        Ok(self.truth_of(code, focus)?.unwrap_or(false))
    }

    pub(super) fn truth(&mut self, items: &Items<'t>) -> Result<Option<bool>, Problem> {
        match items.as_slice() {
            [] => Ok(None),
            [Item::Boolean(value)] => Ok(Some(*value)),
            &[item] => {
                self.tested(item);
                match item {
                    Item::Node(node) => match self.tree.node(node).value {
                        Value::Boolean(value) => Ok(Some(value)),
                        _ => Ok(Some(true)),
                    },
                    _ => Ok(Some(true)),
                }
            }
            _ => Err(Problem::new(
                "condition-many",
                "a condition has several values",
                "narrow it with exists() or first()",
            )),
        }
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: Items<'t>,
        right: Items<'t>,
    ) -> Result<Items<'t>, Problem> {
        Ok(match operator {
            Operator::Concatenate => {
                let left = self.single_text(&left)?;
                let right = self.single_text(&right)?;
                let joined = [left.unwrap_or(""), right.unwrap_or("")].concat();
                Items::text(self.texts.keep(&joined)?)
            }
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Quotient
            | Operator::Remainder => self.arithmetic(operator, &left, &right)?,
            Operator::Union => {
                let mut all = left;
                all.extend(right);
                self.distinct(all)
            }
            // The others are logical.
            _ => Items::Empty,
        })
    }

    /// Exact, on decimal lexemes; `+` also joins texts (FHIRPath 2.0.0, 6.6). Empty where either side is.
    fn arithmetic(
        &mut self,
        operator: Operator,
        left: &Items<'t>,
        right: &Items<'t>,
    ) -> Result<Items<'t>, Problem> {
        let texts = operator == Operator::Add
            && [left, right].iter().all(|side| side.first().is_some_and(|item| !self.is_number(item)));
        let (Some(a), Some(b)) = (self.single_text(left)?, self.single_text(right)?) else {
            return Ok(Items::Empty);
        };
        if texts {
            return Ok(Items::text(self.texts.keep(&[a, b].concat())?));
        }
        let whole =
            |part: fn((String, String)) -> String| decimal::divide_whole(a, b).map(|parts| parts.map(part));
        let result = match operator {
            Operator::Add => decimal::add(a, b).map(Some),
            Operator::Subtract => decimal::subtract(a, b).map(Some),
            Operator::Divide => decimal::divide(a, b),
            Operator::Quotient => whole(|(quotient, _)| quotient),
            Operator::Remainder => whole(|(_, rest)| rest),
            _ => decimal::multiply(a, b).map(Some),
        };
        match result {
            // By zero there is nothing (FHIRPath 2.0.0, 6.6.2).
            Some(None) => Ok(Items::Empty),
            Some(Some(number)) => Ok(Items::One(Item::Number(self.texts.keep(&number)?))),
            None => {
                let problem =
                    Problem::new("number-invalid", "not numbers one can reckon with", "send numbers");
                Err(left.first().map_or(problem.clone(), |item| problem.on(item)))
            }
        }
    }

    /// `~` (FHIRPath 2.0.0, 6.1.2): nothing is equivalent to nothing, order is of no matter.
    pub(super) fn equivalent(&mut self, left: &Items<'t>, right: &Items<'t>) -> bool {
        let mut rest: Vec<Item<'t>> = right.as_slice().to_vec();
        let mut same = left.len() == right.len();
        for &item in left.as_slice() {
            let at = rest.iter().position(|other| self.item_equivalent(item, *other));
            same &= at.map(|at| rest.swap_remove(at)).is_some();
        }
        same
    }

    fn item_equivalent(&mut self, a: Item<'t>, b: Item<'t>) -> bool {
        if self.item_equal(a, b) {
            return true;
        }
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        match (self.is_number(a) || self.is_number(b), self.text(a), self.text(b)) {
            (true, Some(a), Some(b)) => {
                // To the digits of the less precise.
                let digits =
                    |text: &str| text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as u32);
                let digits = digits(a).min(digits(b));
                let rounded = |text: &str| decimal::cut(text, decimal::Cut::Round, digits);
                match (rounded(a), rounded(b)) {
                    (Some(a), Some(b)) => decimal::compare(&a, &b) == Some(Ordering::Equal),
                    _ => false,
                }
            }
            (false, Some(a), Some(b)) => words(a) == words(b),
            _ => false,
        }
    }

    pub(super) fn is_in(&mut self, needle: &Items<'t>, hay: &Items<'t>) -> Option<bool> {
        let needle = needle.first()?;
        let mut found = false;
        for &item in hay.as_slice() {
            found |= self.item_equal(needle, item);
        }
        Some(found)
    }

    pub(super) fn equal(&mut self, left: &Items<'t>, right: &Items<'t>) -> Option<bool> {
        if left.is_empty() || right.is_empty() {
            left.as_slice().iter().chain(right.as_slice()).for_each(|&item| self.tested(item));
            return None;
        }
        let mut equal = left.len() == right.len();
        for (&a, &b) in left.as_slice().iter().zip(right.as_slice()) {
            equal &= self.item_equal(a, b);
        }
        Some(equal)
    }

    pub(crate) fn item_equal(&mut self, a: Item<'t>, b: Item<'t>) -> bool {
        let numeric = self.is_number(a) || self.is_number(b);
        match (self.text(a), self.text(b)) {
            (Some(a), Some(b)) if numeric => match decimal::compare(a, b) {
                Some(order) => order == Ordering::Equal,
                None => a == b,
            },
            (Some(a), Some(b)) => a == b,
            _ => match (a, b) {
                (Item::Node(a), Item::Node(b)) => a == b,
                (Item::Target(a), Item::Target(b)) => a == b,
                _ => false,
            },
        }
    }

    pub(super) fn order(&mut self, left: &Items<'t>, right: &Items<'t>) -> Result<Option<Ordering>, Problem> {
        let (Some(a), Some(b)) = (self.single_text(left)?, self.single_text(right)?) else { return Ok(None) };
        Ok(decimal::compare(a, b).or_else(|| Some(a.cmp(b))))
    }

    pub(crate) fn distinct(&mut self, items: Items<'t>) -> Items<'t> {
        let mut out: Vec<Item<'t>> = Vec::new();
        for &item in items.as_slice() {
            let mut known = false;
            for &other in &out {
                known = known || self.item_equal(item, other);
            }
            if !known {
                out.push(item);
            }
        }
        out.into_iter().collect()
    }

    /// One step down from `item`. A simple HL7v2 value answers for its own first component.
    pub(crate) fn step(&mut self, item: Item<'t>, step: &Step, out: &mut Items<'t>) {
        match (step, item) {
            (Step::Own, _) => out.push(item),
            (Step::Name(name) | Step::Primitive(name, _) | Step::Beside(name), Item::Target(target)) => {
                let name = self.plan.names.get(usize::from(*name)).map_or("", |n| n);
                for child in self.target.children_named(target, name) {
                    out.push(Item::Target(child));
                }
            }
            (Step::Choice(names), Item::Target(_)) => {
                names.iter().for_each(|name| self.step(item, &Step::Name(*name), out));
            }
            (Step::Name(name), Item::Node(node)) => {
                self.children(node, *name, out);
                if self.is_own(node, *name) {
                    out.push(item);
                }
            }
            (Step::Primitive(name, beside), Item::Node(node)) => {
                let before = out.len();
                self.children(node, *name, out);
                let tree = self.tree;
                self.valued(before, out);
                // The text of an XML element is its `xmlText`, as HL7's CDA models call it.
                if out.len() == before && self.is_own(node, *name) {
                    out.push(item);
                }
                let symbol = |name: &u16| self.symbols.get(usize::from(*name)).copied().flatten();
                let (name, Some(beside)) = (symbol(name), symbol(beside)) else { return };
                let has_value = |ordinal: u32| {
                    tree.children(node).map(|child| tree.node(child)).any(|data| {
                        Some(data.name) == name && data.ordinal == ordinal && data.value != Value::Null
                    })
                };
                for child in tree.children(node).filter(|child| tree.node(*child).name == beside) {
                    let data = tree.node(child);
                    if data.value == Value::None && !has_value(data.ordinal) {
                        out.push(Item::Node(child));
                    }
                }
            }
            (Step::Choice(names), Item::Node(node)) => {
                names.iter().for_each(|name| self.children(node, *name, out));
            }
            (Step::Beside(name), Item::Node(node)) => {
                if let Some(of) = self.beside(node) {
                    self.children(of, *name, out);
                }
            }
            _ => {}
        }
    }

    /// Models other than FHIR's may be written in XML as FHIR is: the value of a primitive is an attribute `value`.
    fn valued(&self, from: usize, out: &mut Items<'t>) {
        let tree = self.tree;
        let value = |item: &Item<'t>| match item {
            Item::Node(node) if tree.node(*node).value == Value::None => {
                tree.named(*node, "value").find(|value| tree.node(*value).value != Value::None)
            }
            _ => None,
        };
        if out.as_slice().iter().skip(from).any(|item| value(item).is_some()) {
            let items = out.as_slice().iter().enumerate();
            *out = items
                .map(|(at, item)| if at < from { *item } else { value(item).map_or(*item, Item::Node) })
                .collect();
        }
    }

    fn children(&mut self, node: NodeId, name: u16, out: &mut Items<'t>) {
        let Some(wanted) = self.symbols.get(usize::from(name)).copied().flatten() else { return };
        let tree = self.tree;
        for child in tree.children(node) {
            let data = tree.node(child);
            if data.name != wanted {
                continue;
            }
            if data.value == Value::Null {
                // Explicitly empty (HL7v2 `""`, JSON null) selects nothing, and is thereby read.
                self.mark(child);
            } else {
                out.push(Item::Node(child));
            }
        }
    }

    /// Where JSON keeps `id` and `extension` of a primitive: `_name` of the same ordinal; a primitive without value is that itself.
    pub(crate) fn beside(&self, node: NodeId) -> Option<NodeId> {
        let tree = self.tree;
        let data = tree.node(node);
        if data.value == Value::None {
            return Some(node);
        }
        let name = tree.symbol(&format!("_{}", tree.name(node)))?;
        let of = |child: &NodeId| {
            let other = tree.node(*child);
            other.name == name && other.ordinal == data.ordinal && other.value == Value::None
        };
        tree.children(data.parent?).find(of)
    }

    /// Whether a simple value answers to that name itself.
    pub(super) fn is_own(&self, node: NodeId, name: u16) -> bool {
        self.tree.node(node).value != Value::None
            && self.plan.names.get(usize::from(name)).is_some_and(|name| self.tree.is_own(node, name))
    }

    /// Text of an item, marking the leaf it came from; `None` for composites and explicit emptiness.
    pub(crate) fn text(&mut self, item: Item<'t>) -> Option<&'t str> {
        match item {
            Item::Node(node) => {
                let leaf = self.tree.text_node(node);
                self.mark(leaf);
                self.tree.own_text(leaf)
            }
            Item::Target(target) => self.target.text(target),
            Item::Text(text) | Item::Number(text) => Some(text),
            Item::Boolean(value) => Some(if value { "true" } else { "false" }),
        }
    }

    /// Text of a collection of at most one; several are an error, since picking one would be a guess.
    pub(crate) fn single_text(&mut self, items: &Items<'t>) -> Result<Option<&'t str>, Problem> {
        match items.as_slice() {
            [] => Ok(None),
            &[item] => Ok(self.text(item)),
            &[first, ..] => {
                let problem = Problem::new(
                    "value-many",
                    "one value is expected, several are there",
                    "choose one in the map with first(), last() or where()",
                );
                Err(problem.on(first))
            }
        }
    }

    /// Marks what an existence test looked at: the leaf itself, or nothing of a composite's content.
    pub(crate) fn tested(&mut self, item: Item<'_>) {
        if let Item::Node(node) = item {
            self.mark(node);
        }
    }

    fn is_number(&self, item: Item<'_>) -> bool {
        match item {
            Item::Number(_) => true,
            Item::Node(node) => matches!(self.tree.node(node).value, Value::Number(_)),
            _ => false,
        }
    }

    pub(crate) fn is_type(&mut self, item: Item<'t>, name: &str) -> bool {
        self.tested(item);
        if let Item::Target(target) = item {
            return self.target.type_name(target) == name;
        }
        let kind = match item {
            Item::Node(node) => match &self.tree.node(node).value {
                Value::Text(_) => "string",
                Value::Number(_) => "decimal",
                Value::Boolean(_) => "boolean",
                Value::None => return self.resource_type(item) == Some(name),
                Value::Null => "",
            },
            Item::Text(_) => "string",
            Item::Number(_) => "decimal",
            Item::Boolean(_) => "boolean",
            Item::Target(_) => "",
        };
        match name.to_ascii_lowercase().as_str() {
            "integer" => kind == "decimal" && self.text(item).is_some_and(|t| t.parse::<i64>().is_ok()),
            wanted => wanted == kind,
        }
    }

    /// Whether a rule's typed source takes an item; `None` where nothing tells: the name of its element would, `resourceType`, or in XML
    /// `xsi:type`, as CDA has it.
    pub(crate) fn is_of_type(&mut self, item: Item<'t>, wanted: &str) -> Option<bool> {
        if let Item::Node(node) = item {
            if let Some(typed) = self.tree.named(node, "xsi_type").next() {
                let named = self.text(Item::Node(typed))?;
                let name = named.rsplit(':').next().unwrap_or(named);
                let special = self.shapes.logical(name).is_some_and(|id| self.shapes.is_a(id, wanted));
                return Some(name == wanted || special);
            }
            if self.tree.node(node).value == Value::None {
                return self.resource_type(item).map(|is| is == wanted);
            }
            let told = ["string", "decimal", "integer", "boolean"];
            if !told.iter().any(|told| wanted.eq_ignore_ascii_case(told)) {
                return None;
            }
        }
        Some(self.is_type(item, wanted))
    }

    /// What `resourceType` says; the root of an XML document is named after its type.
    pub(crate) fn resource_type(&mut self, item: Item<'t>) -> Option<&'t str> {
        let Item::Node(node) = item else { return None };
        let Some(child) = self.tree.named(node, "resourceType").next() else {
            return (node == self.tree.root()).then(|| self.tree.name(node));
        };
        self.text(Item::Node(child))
    }

    pub(crate) fn slot(&self, slot: Slot) -> &Items<'t> {
        self.slots.get(self.base + usize::from(slot)).unwrap_or(&Items::Empty)
    }
}
