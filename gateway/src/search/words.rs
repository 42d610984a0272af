//! Words of texts: what `_text` and `_content` are indexed and searched by, alike in both databases.
//!
//! A word is a run of letters and digits of [`normalise`]d text. The databases are handed words alone, each in its place,
//! and expressions over words alone: neither divides a text itself, knows a language or leaves a word out, so that both
//! find the same. Source: FHIR R4 search.html#text, which leaves the details to the server.

use std::collections::HashMap;
use std::fmt::Write as _;

use sluis_conformance::path::Texts;

use super::sql::Dialect;
use super::text::normalise;

/// Characters of a word that count, where it is indexed and where it is searched.
const WORD_CHARS_MAX: usize = 64;
/// Places for words in a resource; those after it are not indexed. A `tsvector` has 16,383.
pub(crate) const PLACES_MAX: usize = 16_000;
/// Places of one word; a `tsvector` keeps 255 of a lexeme. It is found all the same, phrases at its later places are not.
const PLACES_OF_WORD_MAX: u16 = 250;
/// Stands where a text ends, so that no phrase goes on into the next, and for a word that has no more places. No word is
/// spelt so.
const GAP: &str = "\u{fffd}";

/// The words of a text, in order.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = normalise(text);
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().take(WORD_CHARS_MAX).collect()).collect()
}

/// The words of a resource as they are indexed: separated by one space, in their places.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// Of its narrative.
    pub(crate) narrative: String,
    /// Of every other text.
    pub(crate) rest: String,
}

impl Indexed {
    /// The words of these texts, up to their limits.
    pub(crate) fn of(texts: &Texts<'_>) -> Indexed {
        let mut indexed = Indexed::default();
        let mut places = Places::default();
        places.add(&texts.narrative, &mut indexed.narrative);
        texts.rest.iter().for_each(|text| places.add(text, &mut indexed.rest));
        indexed
    }

    /// Nothing to index.
    pub(crate) fn is_empty(&self) -> bool {
        self.narrative.is_empty() && self.rest.is_empty()
    }

    /// As text of a `tsvector`: each word with its place, those of the narrative of weight A.
    pub(crate) fn vector(&self) -> String {
        let mut out = String::with_capacity(2 * (self.narrative.len() + self.rest.len()));
        let narrative = self.narrative.split(' ').map(|word| (word, "A"));
        let rest = self.rest.split(' ').map(|word| (word, ""));
        for (at, (word, weight)) in narrative.chain(rest).enumerate() {
            if !word.is_empty() && word != GAP {
                // Writing into a String cannot fail.
                let _ = write!(out, "'{word}':{}{weight} ", at + 1);
            }
        }
        out
    }
}

/// Places given so far.
#[derive(Default)]
struct Places {
    all: usize,
    of_word: HashMap<String, u16>,
}

impl Places {
    fn add(&mut self, text: &str, out: &mut String) {
        let before = out.len();
        for word in words(text) {
            if self.all + 1 >= PLACES_MAX {
                return;
            }
            self.all += 1;
            let times = self.of_word.entry(word.clone()).or_insert(0);
            *times += 1;
            push(out, if *times > PLACES_OF_WORD_MAX { GAP } else { &word });
        }
        if out.len() > before {
            self.all += 1;
            push(out, GAP);
        }
    }
}

fn push(out: &mut String, word: &str) {
    if !out.is_empty() {
        out.push(' ');
    }
    out.push_str(word);
}

/// What the words of a resource must be, in a form that an index of words answers: nothing is only absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// These words in a row within one text; one at least.
    Phrase(Vec<String>),
    /// A word that starts so.
    Prefix(String),
    /// Each of these.
    All(Vec<Words>),
    /// One of these.
    Any(Vec<Words>),
    /// The first and not the second.
    Except(Box<Words>, Box<Words>),
}

/// What `_text` or `_content` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTest {
    /// Of the narrative alone.
    pub narrative: bool,
    /// What its words must be.
    pub words: Words,
}

impl TextTest {
    /// The expression as a database's index of words takes it: FTS5's, or the text of a `tsquery`. Words have no character
    /// that either takes for its own.
    pub(crate) fn spelt(&self, dialect: Dialect) -> String {
        let mut out = String::new();
        match dialect {
            Dialect::Sqlite => {
                if self.narrative {
                    out.push_str("narrative : ");
                }
                fts(&self.words, &mut out);
            }
            Dialect::Postgres => query(&self.words, if self.narrative { "A" } else { "" }, &mut out),
        }
        out
    }
}

/// FTS5: https://www.sqlite.org/fts5.html#full_text_query_syntax
fn fts(words: &Words, out: &mut String) {
    match words {
        Words::Phrase(words) => {
            let _ = write!(out, "(\"{}\")", words.join(" "));
        }
        Words::Prefix(word) => {
            let _ = write!(out, "(\"{word}\" *)");
        }
        Words::All(some) => joined(some, " AND ", out, &fts),
        Words::Any(some) => joined(some, " OR ", out, &fts),
        Words::Except(one, other) => {
            out.push('(');
            fts(one, out);
            out.push_str(" NOT ");
            fts(other, out);
            out.push(')');
        }
    }
}

/// tsquery: https://www.postgresql.org/docs/14/datatype-textsearch.html#DATATYPE-TSQUERY
fn query(words: &Words, weight: &str, out: &mut String) {
    let mark = if weight.is_empty() { String::new() } else { format!(":{weight}") };
    match words {
        Words::Phrase(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("'{word}'{mark}")).collect();
            let _ = write!(out, "({})", words.join(" <-> "));
        }
        Words::Prefix(word) => {
            let _ = write!(out, "('{word}':*{weight})");
        }
        Words::All(some) => joined(some, " & ", out, &|one, out| query(one, weight, out)),
        Words::Any(some) => joined(some, " | ", out, &|one, out| query(one, weight, out)),
        Words::Except(one, other) => {
            out.push('(');
            query(one, weight, out);
            out.push_str(" & !");
            query(other, weight, out);
            out.push(')');
        }
    }
}

fn joined(some: &[Words], word: &str, out: &mut String, one: &dyn Fn(&Words, &mut String)) {
    out.push('(');
    for (at, words) in some.iter().enumerate() {
        out.push_str(if at == 0 { "" } else { word });
        one(words, out);
    }
    out.push(')');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn indexed(narrative: &str, rest: &[&str]) -> Indexed {
        let rest = rest.iter().map(|text| (*text).into()).collect();
        Indexed::of(&Texts { narrative: narrative.to_owned(), rest })
    }

    #[test]
    fn words_are_runs_of_letters_and_digits() {
        assert_eq!(
            words("De \u{201c}FVC\u{201d}-waarde: 3,1 L (Åsa's)"),
            ["de", "fvc", "waarde", "3", "1", "l", "asa", "s"]
        );
        assert_eq!(words(" -_'\"\0\u{fffd}* "), Vec::<String>::new());
        assert_eq!(words(&"x".repeat(100)).first().unwrap().len(), WORD_CHARS_MAX);
    }

    #[test]
    fn both_databases_get_the_same_words_in_the_same_places() {
        let indexed = indexed("Longfunctie laag", &["final", "", "FVC laag", "--"]);
        assert_eq!(indexed.narrative, "longfunctie laag \u{fffd}");
        assert_eq!(indexed.rest, "final \u{fffd} fvc laag \u{fffd}");
        assert_eq!(indexed.vector(), "'longfunctie':1A 'laag':2A 'final':4 'fvc':6 'laag':7 ");
        assert!(Indexed::default().is_empty());
        assert_eq!(Indexed::default().vector(), "");
    }

    #[test]
    fn places_are_bounded() {
        let many = "a b ".repeat(PLACES_MAX);
        let places = indexed(&many, &["c"]).narrative;
        assert_eq!(places.split(' ').count(), PLACES_MAX - 1);
        assert_eq!(places.split(' ').filter(|word| *word == "a").count(), usize::from(PLACES_OF_WORD_MAX));
        assert!(!indexed(&many, &["c"]).vector().contains("'c'"));
    }
}
