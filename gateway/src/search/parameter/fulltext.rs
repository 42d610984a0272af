//! `_text` and `_content`: words, phrases and what joins them.
//!
//! FHIR R4 search.html#text leaves the language to the server and shows `(bone OR liver) and metastases`. Here, as in OData's
//! `$search` that it points to: words that stand side by side must all be there, `AND` binds tighter than `OR`, `NOT` is before
//! what must not be there, quotes are around words in a row, parentheses group; besides, a comma between is `OR` as in every
//! parameter, and `*` ends the start of a word. The three words may be written small; between quotes they are words.
//! Source: OData Version 4.01 Part 2, section 5.1.8

use sluis_conformance::definitions;

use crate::ids::ResourceType;
use crate::response::refusal::Refusal;
use crate::search::criterion::Criterion;
use crate::search::words::{TextTest, Words, words};

use super::chain::Asked;
use super::{invalid, no_modifier, too_costly, unsupported};

/// Parentheses and nots inside one another.
const DEPTH_MAX: usize = 16;
/// Words of one expression.
const WORDS_MAX: usize = 64;

/// Reads the criterion of `_text` or `_content`.
///
/// Errors: `ParameterUnknown` where no words are indexed or there is no narrative, `ParameterInvalid` with the place in the text, `TooCostly` past a
/// limit.
pub(super) fn read(
    asked: &Asked<'_>,
    kind: ResourceType,
    code: &str,
    modifier: Option<&str>,
) -> Result<Criterion, Refusal> {
    if code == "_text" && !definitions::r4().has_narrative(kind) {
        return Err(unsupported(asked.name, "A resource of this type has no narrative; use _content."));
    }
    if !asked.limits.content {
        let text = "Words of texts are not indexed here (setting search.content); use the string parameters of the type.";
        return Err(unsupported(asked.name, text));
    }
    if modifier.is_some() {
        return Err(no_modifier(asked.name, "This parameter takes no modifier."));
    }
    // A comma with a backslash is none between values (FHIR R4 search.html#escaping), and parts words as any sign does.
    let text = asked.text.replace("\\,", "  ");
    let mut parser = Parser { asked, text: &text, at: 0, inside: 0, words: 0 };
    let expression = parser.either()?;
    if parser.next().is_some() {
        return Err(parser.wrong("a word is due, or the end"));
    }
    Ok(expression.criterion(code == "_text"))
}

/// An expression as written.
enum Expression {
    Phrase(Vec<String>),
    Prefix(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
}

impl Expression {
    /// As one criterion that the index of words answers, or as several, joined.
    fn criterion(self, narrative: bool) -> Criterion {
        if let Some(words) = self.words() {
            return Criterion::Text(TextTest { narrative, words });
        }
        let each = |some: Vec<Expression>| some.into_iter().map(|one| one.criterion(narrative)).collect();
        match self {
            Expression::All(some) => Criterion::All(each(some)),
            Expression::Any(some) => Criterion::AnyOf(each(some)),
            Expression::Not(one) => Criterion::Not(Box::new(one.criterion(narrative))),
            // These are words, and above.
            Expression::Phrase(words) => Criterion::Text(TextTest { narrative, words: Words::Phrase(words) }),
            Expression::Prefix(word) => Criterion::Text(TextTest { narrative, words: Words::Prefix(word) }),
        }
    }

    /// `None` where something is only absent: an index of words finds what is there.
    fn words(&self) -> Option<Words> {
        Some(match self {
            Expression::Phrase(words) => Words::Phrase(words.clone()),
            Expression::Prefix(word) => Words::Prefix(word.clone()),
            Expression::Any(some) => Words::Any(some.iter().map(Expression::words).collect::<Option<_>>()?),
            Expression::Not(one) => match &**one {
                Expression::Not(one) => one.words()?,
                _ => return None,
            },
            Expression::All(some) => {
                let (mut there, mut absent) = (Vec::new(), Vec::new());
                for one in some {
                    match (one.words(), one) {
                        (Some(words), _) => there.push(words),
                        (None, Expression::Not(one)) => absent.push(one.words()?),
                        (None, _) => return None,
                    }
                }
                let there = match there.len() {
                    0 => return None,
                    1 => there.pop()?,
                    _ => Words::All(there),
                };
                match absent.len() {
                    0 => there,
                    1 => Words::Except(Box::new(there), Box::new(absent.pop()?)),
                    _ => Words::Except(Box::new(there), Box::new(Words::Any(absent))),
                }
            }
        })
    }
}

struct Parser<'p> {
    asked: &'p Asked<'p>,
    text: &'p str,
    /// Bytes read.
    at: usize,
    /// Open parentheses and nots.
    inside: usize,
    /// Words read.
    words: usize,
}

impl<'p> Parser<'p> {
    fn either(&mut self) -> Result<Expression, Refusal> {
        let mut some = vec![self.all()?];
        while self.sign(',') || self.operator("or") {
            some.push(self.all()?);
        }
        Ok(if some.len() > 1 { Expression::Any(some) } else { some.remove(0) })
    }

    fn all(&mut self) -> Result<Expression, Refusal> {
        let mut all = vec![self.term()?];
        loop {
            let joined = self.operator("and");
            let here = self.at;
            let ends = self.operator("or") || matches!(self.next(), None | Some(',' | ')'));
            self.at = here;
            if ends && !joined {
                break;
            }
            all.push(self.term()?);
        }
        Ok(if all.len() > 1 { Expression::All(all) } else { all.remove(0) })
    }

    fn term(&mut self) -> Result<Expression, Refusal> {
        if self.operator("not") {
            self.enter()?;
            let one = self.term()?;
            self.inside -= 1;
            return Ok(Expression::Not(Box::new(one)));
        }
        if self.sign('(') {
            self.enter()?;
            let inside = self.either()?;
            if !self.sign(')') {
                return Err(self.wrong("`)` is due"));
            }
            self.inside -= 1;
            return Ok(inside);
        }
        if self.sign('"') {
            let Some((phrase, _)) = self.rest().split_once('"') else {
                return Err(self.wrong("the words in quotes do not end"));
            };
            let found = self.found(phrase)?;
            self.at += phrase.len() + 1;
            return Ok(Expression::Phrase(found));
        }
        if self.operator("and") || self.operator("or") {
            return Err(self.wrong("a word is due before the operator; between quotes it is a word itself"));
        }
        self.word()
    }

    /// What stands up to a space or sign: a word, or several in a row where it is written with hyphens or points.
    fn word(&mut self) -> Result<Expression, Refusal> {
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '(' | ')' | ',' | '*'));
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or("");
        let mut found = self.found(text)?;
        self.at += text.len();
        if !self.rest().starts_with('*') {
            return Ok(Expression::Phrase(found));
        }
        self.at += 1;
        match (found.len(), found.pop()) {
            (1, Some(word)) => Ok(Expression::Prefix(word)),
            _ => Err(self.wrong("before `*` the start of one word is due, in letters and digits")),
        }
    }

    /// The words of a text, one at least.
    fn found(&mut self, text: &str) -> Result<Vec<String>, Refusal> {
        let found = words(text);
        if found.is_empty() {
            return Err(self.wrong("a word is due, of letters or digits"));
        }
        self.words += found.len();
        if self.words > WORDS_MAX {
            return Err(too_costly(self.asked.name, format!("At most {WORDS_MAX} words.")));
        }
        Ok(found)
    }

    fn enter(&mut self) -> Result<(), Refusal> {
        self.inside += 1;
        if self.inside > DEPTH_MAX {
            return Err(too_costly(self.asked.name, format!("It is at most {DEPTH_MAX} deep.")));
        }
        Ok(())
    }

    fn rest(&self) -> &'p str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn next(&mut self) -> Option<char> {
        self.space();
        self.rest().chars().next()
    }

    fn sign(&mut self, sign: char) -> bool {
        let is = self.next() == Some(sign);
        if is {
            self.at += sign.len_utf8();
        }
        is
    }

    /// Reads an operator, in whatever case, if it stands alone here.
    fn operator(&mut self, operator: &str) -> bool {
        self.space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        let is = rest.get(..end).is_some_and(|word| word.eq_ignore_ascii_case(operator))
            && !rest.get(end..).unwrap_or("").starts_with(['-', '.', '*', '\'']);
        if is {
            self.at += end;
        }
        is
    }

    fn wrong(&self, what: &str) -> Refusal {
        let place = self.text.get(..self.at).unwrap_or("").chars().count() + 1;
        invalid(self.asked.name, format!("At character {place} of the text, {what}."))
    }
}
