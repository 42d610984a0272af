//! Regular expressions of `matches()`: compiled when the map loads, run in time linear in the text.
//!
//! Supports literals, `.`, classes, `\d \w \s` and their negations, groups, `|`, `* + ? {m,n}`, `^` and `$`.
//! As in FHIRPath R4, a pattern matches anywhere unless anchored (FHIRPath 2.0.0 `matches`).

/// States a pattern may compile to; `{m,n}` multiplies.
const STATES_MAX: usize = 4_000;
/// Nesting of groups.
const DEPTH_MAX: u32 = 32;

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    states: Vec<State>,
}

#[derive(Debug, Clone)]
enum State {
    One(Set, usize),
    Split(usize, usize),
    Start(usize),
    End(usize),
    Done,
}

#[derive(Debug, Clone, Default)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|&(low, high)| low <= c && c <= high) != self.negated
    }
}

#[derive(Debug, Clone)]
enum Part {
    Empty,
    One(Set),
    Start,
    End,
    All(Vec<Part>),
    Any(Vec<Part>),
    Repeat(Box<Part>, u32, Option<u32>),
}

impl Pattern {
    /// Compiles; `Err` says what is not supported.
    pub(crate) fn new(text: &str) -> Result<Pattern, String> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { chars: &chars, at: 0 };
        let part = reader.alternatives(0)?;
        if reader.at < chars.len() {
            return Err(format!("`{}` without its opening bracket", reader.peek().unwrap_or(' ')));
        }
        let mut pattern = Pattern { states: vec![State::Done] };
        let start = pattern.emit(&part, 0)?;
        // The entry is the last state, so that `is_match` need not remember it.
        pattern.states.push(State::Split(start, start));
        Ok(pattern)
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        let mut current = Vec::new();
        let mut seen = vec![usize::MAX; self.states.len()];
        let entry = self.states.len() - 1;
        let mut chars = text.chars();
        let mut position = 0;
        loop {
            let next_char = chars.next();
            self.reach(entry, position, next_char.is_none(), position, &mut seen, &mut current);
            if current.iter().any(|&state| matches!(self.states.get(state), Some(State::Done))) {
                return true;
            }
            let Some(c) = next_char else { return false };
            position += 1;
            let last = chars.as_str().is_empty();
            let mut next = Vec::new();
            for state in current.drain(..) {
                if let Some(State::One(set, to)) = self.states.get(state)
                    && set.has(c)
                {
                    self.reach(*to, position, last, position, &mut seen, &mut next);
                }
            }
            current = next;
        }
    }

    /// Follows empty steps from `state` into `out`, each state once per position.
    fn reach(
        &self,
        state: usize,
        at: usize,
        end: bool,
        mark: usize,
        seen: &mut [usize],
        out: &mut Vec<usize>,
    ) {
        let mut stack = vec![state];
        while let Some(state) = stack.pop() {
            match seen.get_mut(state) {
                Some(seen) if *seen != mark => *seen = mark,
                _ => continue,
            }
            match self.states.get(state) {
                Some(State::Split(a, b)) => stack.extend([*b, *a]),
                Some(State::Start(to)) if at == 0 => stack.push(*to),
                Some(State::End(to)) if end => stack.push(*to),
                Some(State::One(..) | State::Done) => out.push(state),
                _ => {}
            }
        }
    }

    fn add(&mut self, state: State) -> Result<usize, String> {
        if self.states.len() >= STATES_MAX {
            return Err("the pattern is too large".to_owned());
        }
        self.states.push(state);
        Ok(self.states.len() - 1)
    }

    /// States for `part` that go on to `next`; returns where to enter.
    fn emit(&mut self, part: &Part, next: usize) -> Result<usize, String> {
        match part {
            Part::Empty => Ok(next),
            Part::One(set) => self.add(State::One(set.clone(), next)),
            Part::Start => self.add(State::Start(next)),
            Part::End => self.add(State::End(next)),
            Part::All(parts) => parts.iter().rev().try_fold(next, |next, part| self.emit(part, next)),
            Part::Any(parts) => {
                let mut entry = None;
                for part in parts.iter().rev() {
                    let this = self.emit(part, next)?;
                    entry = Some(match entry {
                        None => this,
                        Some(other) => self.add(State::Split(this, other))?,
                    });
                }
                Ok(entry.unwrap_or(next))
            }
            Part::Repeat(part, least, most) => {
                let mut to = next;
                match most {
                    None => {
                        let again = self.add(State::Split(next, next))?;
                        let body = self.emit(part, again)?;
                        if let Some(state) = self.states.get_mut(again) {
                            *state = State::Split(body, next);
                        }
                        to = again;
                    }
                    Some(most) => {
                        for _ in *least..*most {
                            let body = self.emit(part, to)?;
                            to = self.add(State::Split(body, next))?;
                        }
                    }
                }
                for _ in 0..*least {
                    to = self.emit(part, to)?;
                }
                Ok(to)
            }
        }
    }
}

struct Reader<'c> {
    chars: &'c [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn alternatives(&mut self, depth: u32) -> Result<Part, String> {
        if depth > DEPTH_MAX {
            return Err("groups nest too deep".to_owned());
        }
        let mut branches = vec![self.sequence(depth)?];
        while self.take('|') {
            branches.push(self.sequence(depth)?);
        }
        Ok(Part::Any(branches))
    }

    fn sequence(&mut self, depth: u32) -> Result<Part, String> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            self.at += 1;
            let part = match c {
                '(' => {
                    if self.take('?') && !self.take(':') {
                        return Err("look-around and flags".to_owned());
                    }
                    let inner = self.alternatives(depth + 1)?;
                    if !self.take(')') {
                        return Err("`(` without `)`".to_owned());
                    }
                    inner
                }
                '[' => Part::One(self.class()?),
                '.' => Part::One(Set { negated: true, ranges: vec![('\n', '\n')] }),
                '^' => Part::Start,
                '$' => Part::End,
                '\\' => Part::One(self.escape()?),
                '*' | '+' | '?' | '{' => return Err(format!("`{c}` with nothing to repeat")),
                _ => Part::One(Set { negated: false, ranges: vec![(c, c)] }),
            };
            parts.push(self.repeated(part)?);
        }
        Ok(if parts.is_empty() { Part::Empty } else { Part::All(parts) })
    }

    fn repeated(&mut self, part: Part) -> Result<Part, String> {
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                self.at += 1;
                let least = self.number().ok_or("`{` needs a number")?;
                let most = if self.take(',') { self.number() } else { Some(least) };
                if self.peek() != Some('}') || most.is_some_and(|most| most < least) || least > 1_000 {
                    return Err("a malformed `{m,n}`".to_owned());
                }
                (least, most)
            }
            _ => return Ok(part),
        };
        self.at += 1;
        self.take('?');
        Ok(Part::Repeat(Box::new(part), least, most))
    }

    fn number(&mut self) -> Option<u32> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars.get(start..self.at)?.iter().collect::<String>().parse().ok()
    }

    fn class(&mut self) -> Result<Set, String> {
        let mut set = Set { negated: self.take('^'), ranges: Vec::new() };
        loop {
            let Some(c) = self.peek() else { return Err("`[` without `]`".to_owned()) };
            self.at += 1;
            match c {
                ']' if !set.ranges.is_empty() => return Ok(set),
                '\\' => {
                    let escaped = self.escape()?;
                    if escaped.negated {
                        return Err("a negated class inside a class".to_owned());
                    }
                    set.ranges.extend(escaped.ranges);
                }
                _ => {
                    let high = match (self.peek(), self.chars.get(self.at + 1)) {
                        (Some('-'), Some(&high)) if high != ']' => {
                            self.at += 2;
                            high
                        }
                        _ => c,
                    };
                    set.ranges.push((c, high));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<Set, String> {
        let Some(c) = self.peek() else { return Err("a lone `\\`".to_owned()) };
        self.at += 1;
        let ranges = match c.to_ascii_lowercase() {
            'd' => vec![('0', '9')],
            'w' => vec![('0', '9'), ('A', 'Z'), ('a', 'z'), ('_', '_')],
            's' => vec![(' ', ' '), ('\t', '\r')],
            'n' if c == 'n' => vec![('\n', '\n')],
            't' if c == 't' => vec![('\t', '\t')],
            'r' if c == 'r' => vec![('\r', '\r')],
            _ if c.is_alphanumeric() => return Err(format!("`\\{c}`")),
            _ => vec![(c, c)],
        };
        Ok(Set { negated: matches!(c, 'D' | 'W' | 'S'), ranges })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a pattern of a test compiles")]
    use super::*;

    #[test]
    fn patterns_match_as_expected() {
        for (pattern, text, expected) in [
            ("^[0-9]{9}$", "999911120", true),
            ("^[0-9]{9}$", "99991112", false),
            ("^(JA|NEE)$", "JA", true),
            ("^(JA|NEE)$", "JA_MAAR", false),
            ("a.c", "xxabcxx", true),
            ("^\\d+(\\.\\d+)?$", "1.10", true),
            ("^\\d+(\\.\\d+)?$", "1,10", false),
            ("^[^,]*$", "a,b", false),
            ("", "", true),
            ("^$", "", true),
            ("x{2,3}y", "xxxxy", true),
            ("^x{2,3}y", "xxxxy", false),
            ("(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn unsupported_patterns_are_refused() {
        for pattern in ["(?=a)", "(a", "a)", "[a", "*a", "\\p", "((a{1000}){1000}){9}"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
