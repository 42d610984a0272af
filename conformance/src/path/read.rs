//! The text of an expression into branches of operations; the subset of FHIRPath that search parameters use.

use super::compile::PathError;
use super::step::Step;

/// What the text asks, before types are known.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// `%resource`, only at the start.
    Resource,
    Name(String),
    As(String),
    Index(u32),
    Step(Step),
}

pub(super) type Branch = Vec<Operation>;

/// Parentheses inside each other. Nothing in R4 nests more than twice; an operator's text cannot exhaust the stack.
const DEPTH_MAX: u32 = 8;

/// Reads a whole expression into its branches.
///
/// Errors: `Unreadable`, from where reading stopped.
pub(super) fn read(text: &str) -> Result<Vec<Branch>, PathError> {
    Reader { rest: text.trim() }.whole()
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn whole(mut self) -> Result<Vec<Branch>, PathError> {
        let branches = self.union(0)?;
        if self.rest.is_empty() { Ok(branches) } else { Err(self.unreadable()) }
    }

    fn union(&mut self, depth: u32) -> Result<Vec<Branch>, PathError> {
        let mut branches = self.term(depth)?;
        while self.take("|") {
            branches.extend(self.term(depth)?);
        }
        Ok(branches)
    }

    fn term(&mut self, depth: u32) -> Result<Vec<Branch>, PathError> {
        let mut branches = if self.take("(") {
            if depth >= DEPTH_MAX {
                return Err(self.unreadable());
            }
            let inner = self.union(depth + 1)?;
            self.expect(")")?;
            inner
        } else if self.take("%resource") {
            vec![vec![Operation::Resource]]
        } else {
            let name = self.name()?;
            self.name_or_call(name, vec![vec![]])?
        };
        loop {
            if self.take(".") {
                let name = self.name()?;
                branches = self.name_or_call(name, branches)?;
            } else if self.take("[") {
                let digits = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
                let (number, rest) = self.rest.split_at(digits);
                let index = number.parse().map_err(|_| self.unreadable())?;
                self.rest = rest;
                self.expect("]")?;
                push(&mut branches, &Operation::Index(index));
            } else if self.take_word("as") {
                let type_ = self.name()?;
                push(&mut branches, &Operation::As(type_));
            } else {
                break;
            }
        }
        self.exists_and_not_false(branches, depth)
    }

    /// `Patient.deceased.exists() and Patient.deceased != false`, the one boolean expression among R4's parameters.
    fn exists_and_not_false(&mut self, branches: Vec<Branch>, depth: u32) -> Result<Vec<Branch>, PathError> {
        let ends = matches!(branches.first().and_then(|b| b.last()), Some(Operation::Step(Step::Exists)));
        if !ends {
            return Ok(branches);
        }
        if branches.len() != 1 || depth >= DEPTH_MAX || !self.take_word("and") {
            return Err(self.unreadable());
        }
        let again = self.term(depth + 1)?;
        let same = |a: &[Operation], b: &[Operation]| {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|pair| matches!(pair, (Operation::Name(a), Operation::Name(b)) if a == b))
        };
        let asked =
            branches.first().and_then(|b| b.split_last()).map(|(_, before)| before).unwrap_or_default();
        if !again.first().is_some_and(|again| same(asked, again))
            || !self.take("!=")
            || !self.take_word("false")
        {
            return Err(self.unreadable());
        }
        Ok(branches)
    }

    fn name_or_call(&mut self, name: String, mut branches: Vec<Branch>) -> Result<Vec<Branch>, PathError> {
        if !self.take("(") {
            push(&mut branches, &Operation::Name(name));
            return Ok(branches);
        }
        match name.as_str() {
            "as" | "ofType" => {
                let type_ = self.name()?;
                push(&mut branches, &Operation::As(type_));
            }
            "extension" => {
                let url = self.literal()?;
                push(&mut branches, &Operation::Name("extension".to_owned()));
                push(
                    &mut branches,
                    &Operation::Step(Step::WhereEquals { name: "url".to_owned(), value: url }),
                );
            }
            "exists" => push(&mut branches, &Operation::Step(Step::Exists)),
            "where" => {
                let step = self.condition()?;
                push(&mut branches, &Operation::Step(step));
            }
            _ => return Err(self.unreadable()),
        }
        self.expect(")")?;
        Ok(branches)
    }

    fn condition(&mut self) -> Result<Step, PathError> {
        let name = self.name()?;
        if name == "resolve" && self.take("(") {
            self.expect(")")?;
            if !self.take_word("is") {
                return Err(self.unreadable());
            }
            return Ok(Step::WhereRefersTo { type_: self.name()? });
        }
        if name == "hasExtension" && self.take("(") {
            let url = self.literal()?;
            self.expect(")")?;
            return Ok(Step::WhereExtension { url });
        }
        self.expect("=")?;
        Ok(Step::WhereEquals { name, value: self.literal()? })
    }

    fn name(&mut self) -> Result<String, PathError> {
        self.skip_space();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(self.unreadable());
        }
        self.rest = rest;
        Ok(name.to_owned())
    }

    fn literal(&mut self) -> Result<String, PathError> {
        self.expect("'")?;
        let (text, rest) = self.rest.split_once('\'').ok_or_else(|| self.unreadable())?;
        if text.contains('\\') {
            return Err(self.unreadable());
        }
        self.rest = rest;
        Ok(text.to_owned())
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, mark: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(mark) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(word) {
            Some(rest) if !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '(') => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, mark: &str) -> Result<(), PathError> {
        if self.take(mark) { Ok(()) } else { Err(self.unreadable()) }
    }

    fn unreadable(&self) -> PathError {
        PathError::Unreadable { rest: self.rest.chars().take(80).collect() }
    }
}

fn push(branches: &mut [Branch], operation: &Operation) {
    for branch in branches {
        branch.push(operation.clone());
    }
}
