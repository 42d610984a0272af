//! Truth of expressions, without a collection being made on the way where none is needed.
//!
//! Most of what a map evaluates is a condition on one field of a segment: `OBX_2 = 'NM'`. Such a path is walked to its node, and
//! the text compared where it lies. What is not of that form is evaluated in general ([`Machine::evaluate`]) and means the same.
//! Rules followed: FHIRPath 2.0.0, 4.5 singleton evaluation, 6.5 three-valued logic; what was not looked at is not counted as read.

use std::cmp::Ordering;

use crate::source::{NodeId, Value};

use super::code::{Code, Function, Literal, NameId, Operator, Path, Slot};
use super::decimal;
use super::execute::Machine;
use super::item::{Item, Items, Values};
use super::problem::Problem;

impl Operator {
    /// Whether it gives a truth value or nothing.
    pub(crate) fn is_logical(self) -> bool {
        use Operator::{Add, Concatenate, Divide, Multiply, Quotient, Remainder, Subtract, Union};
        !matches!(self, Concatenate | Union | Add | Subtract | Multiply | Divide | Quotient | Remainder)
    }
}

impl Function {
    /// Whether it gives a truth value or nothing, and is evaluated here.
    pub(crate) fn is_logical(self) -> bool {
        matches!(self, Function::Empty | Function::Not | Function::HasValue | Function::StartsWith)
    }
}

/// Where a plain path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Node(NodeId),
}

impl From<Reach> for Items<'_> {
    fn from(reach: Reach) -> Self {
        match reach {
            Reach::Nothing => Items::Empty,
            Reach::Node(node) => Items::One(Item::Node(node)),
        }
    }
}

/// Fields looked up last, by node and name: the conditions of a map ask for the same few fields of a segment again and again.
#[derive(Debug)]
pub(crate) struct Met([(u64, Reach); MET]);

/// A power of two: what a segment of thirty fields and the few it is looked at with need.
const MET: usize = 256;

impl Default for Met {
    fn default() -> Met {
        Met([(u64::MAX, Reach::Nothing); MET])
    }
}

impl Met {
    fn key(node: NodeId, name: NameId) -> u64 {
        u64::from(node.0) << 16 | u64::from(name)
    }

    fn place(node: NodeId, name: NameId) -> usize {
        (node.0 as usize).wrapping_mul(31).wrapping_add(usize::from(name)) % MET
    }

    fn get(&self, node: NodeId, name: NameId) -> Option<Reach> {
        let (known, reach) = *self.0.get(Met::place(node, name))?;
        (known == Met::key(node, name)).then_some(reach)
    }

    fn put(&mut self, node: NodeId, name: NameId, reach: Reach) {
        if let Some(place) = self.0.get_mut(Met::place(node, name)) {
            *place = (Met::key(node, name), reach);
        }
    }
}

impl<'t> Machine<'t> {
    /// Whether an expression is true; `None` when it gives nothing.
    ///
    /// Errors: those of [`Machine::evaluate`], and several values where a truth value is due.
    pub(crate) fn truth_of(
        &mut self,
        code: &'t Code,
        focus: Option<Item<'t>>,
    ) -> Result<Option<bool>, Problem> {
        match code {
            Code::Binary(operator, left, right) if operator.is_logical() => {
                self.spend()?;
                self.compare(*operator, left, right, focus)
            }
            Code::OneOf(path, texts) => {
                self.spend()?;
                Ok(self.is_one_of(path, texts, focus))
            }
            Code::Exists(base, condition) => {
                self.spend()?;
                self.exists(base, condition.as_deref(), focus).map(Some)
            }
            Code::All(base, condition) => {
                self.spend()?;
                let base = self.evaluate(base, focus)?;
                let (mut all, at) = (true, self.place);
                for (place, &item) in base.as_slice().iter().enumerate() {
                    self.place = place;
                    all = all && self.holds(condition, Some(item))?;
                }
                self.place = at;
                Ok(Some(all))
            }
            Code::Matches(base, pattern) => {
                self.spend()?;
                let base = self.evaluate(base, focus)?;
                Ok(self.single_text(&base)?.map(|text| pattern.is_match(text)))
            }
            Code::Call(Function::Not, base, _) if is_logical(base) => {
                self.spend()?;
                Ok(self.truth_of(base, focus)?.map(|value| !value))
            }
            Code::Call(function, base, arguments) if function.is_logical() => {
                self.spend()?;
                self.question(*function, base, arguments, focus)
            }
            _ => {
                let items = self.evaluate(code, focus)?;
                self.truth(&items)
            }
        }
    }

    fn compare(
        &mut self,
        operator: Operator,
        left: &'t Code,
        right: &'t Code,
        focus: Option<Item<'t>>,
    ) -> Result<Option<bool>, Problem> {
        // The right side is evaluated only where it can matter; what was not looked at is not counted as read.
        Ok(match operator {
            Operator::And => match self.truth_of(left, focus)? {
                Some(false) => Some(false),
                left => match (left, self.truth_of(right, focus)?) {
                    (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
            },
            Operator::Or => match self.truth_of(left, focus)? {
                Some(true) => Some(true),
                left => match (left, self.truth_of(right, focus)?) {
                    (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            },
            Operator::Xor => {
                let left = self.truth_of(left, focus)?;
                let right = self.truth_of(right, focus)?;
                left.zip(right).map(|(a, b)| a != b)
            }
            Operator::Implies => match self.truth_of(left, focus)? {
                Some(false) => Some(true),
                left => match (left, self.truth_of(right, focus)?) {
                    (_, Some(true)) => Some(true),
                    (Some(true), right) => right,
                    _ => None,
                },
            },
            Operator::Equal | Operator::NotEqual => {
                let is = operator == Operator::Equal;
                self.are_equal(left, right, focus)?.map(|equal| equal == is)
            }
            operator => {
                let left = self.evaluate(left, focus)?;
                let right = self.evaluate(right, focus)?;
                match operator {
                    Operator::Less => self.order(&left, &right)?.map(|o| o == Ordering::Less),
                    Operator::LessOrEqual => self.order(&left, &right)?.map(|o| o != Ordering::Greater),
                    Operator::Greater => self.order(&left, &right)?.map(|o| o == Ordering::Greater),
                    Operator::GreaterOrEqual => self.order(&left, &right)?.map(|o| o != Ordering::Less),
                    Operator::Equivalent => Some(self.equivalent(&left, &right)),
                    Operator::NotEquivalent => Some(!self.equivalent(&left, &right)),
                    Operator::In => self.is_in(&left, &right),
                    Operator::Contains => self.is_in(&right, &left),
                    _ => None,
                }
            }
        })
    }

    fn are_equal(
        &mut self,
        left: &'t Code,
        right: &'t Code,
        focus: Option<Item<'t>>,
    ) -> Result<Option<bool>, Problem> {
        if let Code::Literal(literal @ (Literal::Text(_) | Literal::Number(_))) = right {
            match self.reach(left, focus) {
                Some(Reach::Nothing) => return Ok(None),
                Some(Reach::Node(node)) => return Ok(Some(self.is_text(node, literal))),
                None => {}
            }
        }
        let left = self.evaluate(left, focus)?;
        let right = self.evaluate(right, focus)?;
        Ok(self.equal(&left, &right))
    }

    /// As [`Machine::item_equal`], of a node and a literal.
    fn is_text(&mut self, node: NodeId, literal: &Literal) -> bool {
        match literal {
            Literal::Text(wanted) => self.is_any(node, std::slice::from_ref(wanted), false),
            Literal::Number(wanted) => self.is_any(node, std::slice::from_ref(wanted), true),
            Literal::Boolean(_) => false,
        }
    }

    /// Whether the text of a node is one of these; as numbers where either is one.
    fn is_any(&mut self, node: NodeId, wanted: &[Box<str>], numeric: bool) -> bool {
        let leaf = self.tree.text_node(node);
        self.mark(leaf);
        let Some(text) = self.tree.own_text(leaf) else { return false };
        let numeric = numeric || matches!(self.tree.node(node).value, Value::Number(_));
        wanted.iter().any(|wanted| match numeric.then(|| decimal::compare(text, wanted)).flatten() {
            Some(order) => order == Ordering::Equal,
            None => *text == **wanted,
        })
    }

    /// `path = 'A' or path = 'B' ...`: nothing where the path leads to nothing.
    fn is_one_of(&mut self, path: &Path, texts: &'t [Box<str>], focus: Option<Item<'t>>) -> Option<bool> {
        match self.along(path.from, &path.names, focus) {
            Some(Reach::Nothing) => None,
            Some(Reach::Node(node)) => Some(self.is_any(node, texts, false)),
            None => {
                let found = self.follow(path, focus);
                let mut is = None;
                for text in texts {
                    let equal = self.equal(&found, &Items::text(text));
                    is = if equal == Some(true) { equal } else { is.or(equal) };
                }
                is
            }
        }
    }

    fn exists(
        &mut self,
        base: &'t Code,
        condition: Option<&'t Code>,
        focus: Option<Item<'t>>,
    ) -> Result<bool, Problem> {
        if condition.is_none() {
            match self.reach(base, focus) {
                Some(Reach::Nothing) => return Ok(false),
                Some(Reach::Node(node)) => {
                    self.mark(node);
                    return Ok(true);
                }
                None => {}
            }
        }
        let base = self.evaluate(base, focus)?;
        let (mut found, at) = (false, self.place);
        for (place, &item) in base.as_slice().iter().enumerate() {
            self.tested(item);
            self.place = place;
            found |= match condition {
                Some(condition) => self.holds(condition, Some(item))?,
                None => true,
            };
        }
        self.place = at;
        Ok(found)
    }

    fn question(
        &mut self,
        function: Function,
        base: &'t Code,
        arguments: &'t [Code],
        focus: Option<Item<'t>>,
    ) -> Result<Option<bool>, Problem> {
        match (function, self.reach(base, focus)) {
            (Function::Empty, Some(Reach::Nothing)) => return Ok(Some(true)),
            (Function::Empty, Some(Reach::Node(node))) => {
                self.mark(node);
                return Ok(Some(false));
            }
            (Function::HasValue, Some(Reach::Nothing)) => return Ok(Some(false)),
            (Function::HasValue, Some(Reach::Node(node))) => {
                return Ok(Some(self.text(Item::Node(node)).is_some()));
            }
            (Function::StartsWith, Some(Reach::Node(node))) => {
                let Some(text) = self.text(Item::Node(node)) else { return Ok(None) };
                if let [Code::Literal(Literal::Text(wanted))] = arguments {
                    return Ok(Some(text.starts_with(&**wanted)));
                }
            }
            _ => {}
        }
        let base = self.evaluate(base, focus)?;
        let mut values = Values::new();
        for argument in arguments {
            values.push(self.evaluate(argument, focus)?);
        }
        let items = self.function(function, base, &values)?;
        Ok(match items.first() {
            Some(Item::Boolean(value)) => Some(value),
            _ => None,
        })
    }

    /// Where an expression leads that is a path of names from one node, and passes one at each step; `None` for anything else, which
    /// is then evaluated in general.
    fn reach(&mut self, code: &'t Code, focus: Option<Item<'t>>) -> Option<Reach> {
        match code {
            Code::This => self.along(None, &[], focus),
            Code::Slot(slot) => self.along(Some(*slot), &[], focus),
            Code::Path(path) => self.along(path.from, &path.names, focus),
            _ => None,
        }
    }

    /// As [`Machine::reach`], of a path.
    pub(super) fn along(
        &mut self,
        from: Option<Slot>,
        names: &[NameId],
        focus: Option<Item<'t>>,
    ) -> Option<Reach> {
        let mut at = match from {
            Some(slot) => match self.slot(slot) {
                Items::Empty => return Some(Reach::Nothing),
                Items::One(Item::Node(node)) => *node,
                _ => return None,
            },
            None => match focus {
                Some(Item::Node(node)) => node,
                _ => return None,
            },
        };
        for name in names {
            match self.only(at, *name)? {
                Reach::Nothing => return Some(Reach::Nothing),
                Reach::Node(node) => at = node,
            }
        }
        Some(Reach::Node(at))
    }

    /// The child of that name; `None` when there are several. As [`Machine::step`].
    fn only(&mut self, node: NodeId, name: NameId) -> Option<Reach> {
        // A record notes how each value is read, every time.
        if self.record.is_none()
            && let Some(reach) = self.met.get(node, name)
        {
            return Some(reach);
        }
        let tree = self.tree;
        let is_own = self.is_own(node, name);
        let mut found = is_own.then_some(node);
        let wanted = self.symbols.get(usize::from(name)).copied().flatten();
        let mut next = wanted.and(tree.node(node).first_child);
        while let Some(child) = next {
            let data = tree.node(child);
            next = data.next_sibling;
            if Some(data.name) != wanted {
                continue;
            }
            if data.value == Value::Null {
                // Explicitly empty selects nothing, and is thereby read.
                self.mark(child);
            } else if found.replace(child).is_some() {
                return None;
            }
        }
        let reach = found.map_or(Reach::Nothing, Reach::Node);
        self.met.put(node, name, reach);
        Some(reach)
    }
}

fn is_logical(code: &Code) -> bool {
    match code {
        Code::Binary(operator, ..) => operator.is_logical(),
        Code::OneOf(..) | Code::Exists(..) | Code::All(..) | Code::Matches(..) => true,
        Code::Call(function, ..) => function.is_logical(),
        _ => false,
    }
}
