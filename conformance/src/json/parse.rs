//! Bytes to cells, in one pass and without recursion.

use std::borrow::Cow;

use super::error::{JsonError, JsonErrorKind as K};
use super::node::{Cell, Kind};
use super::text::{line_column, unescape};
use super::{Doc, JsonLimits};

/// Bytes of a property name that an error repeats.
const NAME_BYTES_MAX: usize = 64;

/// Up to this many names are compared pair by pair; more are sorted.
const PAIRWISE_MAX: usize = 24;

pub(super) fn parse(text: Vec<u8>, limits: JsonLimits) -> Result<Doc, JsonError> {
    if u32::try_from(text.len()).is_err() {
        return Err(at_start(K::TooLong));
    }
    if [&b"\xEF\xBB\xBF"[..], b"\xFE\xFF", b"\xFF\xFE"].iter().any(|bom| text.starts_with(bom)) {
        return Err(at_start(K::Bom));
    }
    let text = String::from_utf8(text).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let valid =
            std::str::from_utf8(error.as_bytes().get(..offset).unwrap_or_default()).unwrap_or_default();
        let (line, column) = line_column(valid, offset);
        JsonError { kind: K::NotUtf8, offset, line, column, path: String::new() }
    })?;
    // A FHIR resource has about one cell for every 16 bytes; a page of text has fewer.
    let cells = Vec::with_capacity((text.len() / 16 + 8).min(limits.nodes_max as usize));
    let mut parser = Parser {
        text: &text,
        bytes: text.as_bytes(),
        at: 0,
        cells,
        open: Vec::new(),
        limits,
        names: Vec::new(),
    };
    match parser.document() {
        Ok(()) => {
            let cells = parser.cells;
            Ok(Doc { text, cells, is_converted: false })
        }
        Err(Fault { kind, offset }) => {
            let (line, column) = line_column(&text, offset);
            let path = parser.path();
            Err(JsonError { kind, offset, line, column, path })
        }
    }
}

fn at_start(kind: K) -> JsonError {
    JsonError { kind, offset: 0, line: 1, column: 1, path: String::new() }
}

pub(super) struct Fault {
    pub(super) kind: K,
    pub(super) offset: usize,
}

/// An array or object that is not closed yet.
struct Open {
    cell: u32,
    is_object: bool,
    /// Children begun so far.
    count: u32,
    /// Cell of the property name read last.
    key: u32,
}

pub(super) struct Parser<'t> {
    text: &'t str,
    pub(super) bytes: &'t [u8],
    pub(super) at: usize,
    cells: Vec<Cell>,
    open: Vec<Open>,
    limits: JsonLimits,
    /// Names of the object being closed; kept to reuse its memory.
    names: Vec<Cell>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        self.space();
        loop {
            let closed = self.value()?;
            if closed && self.after_value()? {
                break;
            }
        }
        self.space();
        if self.at < self.bytes.len() { Err(self.fault(K::TrailingContent)) } else { Ok(()) }
    }

    /// Reads one value's opening; true when the value is complete (a scalar or an empty container).
    fn value(&mut self) -> Result<bool, Fault> {
        let start = self.at;
        match self.bytes.get(start) {
            Some(b'"') => {
                let escaped = self.string()?;
                self.push_string(start, escaped)?;
                Ok(true)
            }
            Some(b'{') => self.begin(Kind::Object),
            Some(b'[') => self.begin(Kind::Array),
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.push(Kind::Number, start)?;
                Ok(true)
            }
            Some(b't') => self.word("true", Kind::Bool),
            Some(b'f') => self.word("false", Kind::Bool),
            Some(b'n') => self.word("null", Kind::Null),
            Some(_) => Err(self.unexpected("a value")),
            None => Err(self.fault(K::Truncated)),
        }
    }

    fn begin(&mut self, kind: Kind) -> Result<bool, Fault> {
        if self.open.len() >= self.limits.depth_max as usize {
            return Err(self.fault(K::TooDeep { depth_max: self.limits.depth_max }));
        }
        let cell = self.push(kind, self.at)?;
        self.at += 1;
        self.space();
        let is_object = kind == Kind::Object;
        self.open.push(Open { cell, is_object, count: 0, key: cell });
        match self.bytes.get(self.at) {
            Some(b'}') if is_object => self.close()?,
            Some(b']') if !is_object => self.close()?,
            _ if is_object => return self.name().map(|()| false),
            _ => {
                if let Some(open) = self.open.last_mut() {
                    open.count = 1;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// After a complete value: comma or closing brackets. True when the document's value is complete.
    fn after_value(&mut self) -> Result<bool, Fault> {
        loop {
            let Some(open) = self.open.last_mut() else { return Ok(true) };
            let is_object = open.is_object;
            self.space();
            match self.bytes.get(self.at) {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                    if is_object {
                        self.name()?;
                    } else if let Some(open) = self.open.last_mut() {
                        open.count += 1;
                    }
                    return Ok(false);
                }
                Some(b'}') if is_object => self.close()?,
                Some(b']') if !is_object => self.close()?,
                Some(_) if is_object => return Err(self.unexpected("',' or '}'")),
                Some(_) => return Err(self.unexpected("',' or ']'")),
                None => return Err(self.fault(K::Truncated)),
            }
        }
    }

    fn name(&mut self) -> Result<(), Fault> {
        let start = self.at;
        match self.bytes.get(start) {
            Some(b'"') => {}
            Some(_) => return Err(self.unexpected("a property name in double quotes")),
            None => return Err(self.fault(K::Truncated)),
        }
        let escaped = self.string()?;
        let cell = self.push_string(start, escaped)?;
        if let Some(open) = self.open.last_mut() {
            open.key = cell;
            open.count += 1;
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.unexpected("':'")),
            None => return Err(self.fault(K::Truncated)),
        }
        self.space();
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.last() else { return Ok(()) };
        let (cell, count) = (open.cell, open.count);
        if open.is_object && count > 1 {
            self.refuse_duplicates(cell + 1)?;
        }
        self.open.pop();
        self.at += 1;
        let (end, next) = (position(self.at), position(self.cells.len()));
        if let Some(cell) = self.cells.get_mut(cell as usize) {
            cell.close(end, next, count);
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str, kind: Kind) -> Result<bool, Fault> {
        let start = self.at;
        for expected in word.bytes() {
            match self.bytes.get(self.at) {
                Some(&byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.unexpected("true, false or null")),
                None => return Err(self.fault(K::Truncated)),
            }
        }
        self.push(kind, start)?;
        Ok(true)
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn push(&mut self, kind: Kind, start: usize) -> Result<u32, Fault> {
        let next = position(self.cells.len() + 1);
        self.push_cell(Cell::new(kind, position(start), position(self.at), next), start)
    }

    fn push_string(&mut self, start: usize, escaped: bool) -> Result<u32, Fault> {
        let next = position(self.cells.len() + 1);
        self.push_cell(Cell::string(position(start), position(self.at), next, escaped), start)
    }

    fn push_cell(&mut self, cell: Cell, offset: usize) -> Result<u32, Fault> {
        let nodes_max = self.limits.nodes_max.min(super::node::COUNT_MAX);
        if self.cells.len() >= nodes_max as usize {
            return Err(Fault { kind: K::TooManyNodes { nodes_max }, offset });
        }
        self.cells.push(cell);
        Ok(position(self.cells.len() - 1))
    }

    /// Refuses an object whose names, the first of them in cell `first`, are not all different.
    fn refuse_duplicates(&mut self, first: u32) -> Result<(), Fault> {
        let mut names = std::mem::take(&mut self.names);
        names.clear();
        names.extend(Keys { cells: &self.cells, at: first });
        let duplicate = if names.len() <= PAIRWISE_MAX && !names.iter().any(|name| name.is_escaped()) {
            self.duplicate_of_few(&names)
        } else {
            self.duplicate_of_many(&names)
        };
        self.names = names;
        match duplicate {
            Some(key) => {
                Err(Fault { kind: K::DuplicateKey(short(&self.key(key))), offset: key.start as usize })
            }
            None => Ok(()),
        }
    }

    /// Compares each name with those before it; names are unescaped, so lengths in the source tell most apart.
    fn duplicate_of_few(&self, names: &[Cell]) -> Option<Cell> {
        for (nth, name) in names.iter().enumerate().skip(1) {
            let length = name.end - name.start;
            for other in &names[..nth] {
                if other.end - other.start == length && self.source(*other) == self.source(*name) {
                    return Some(*name);
                }
            }
        }
        None
    }

    /// Sorts the names once. Equal ones stay in source order, so the second of the earliest pair is found.
    fn duplicate_of_many(&self, names: &[Cell]) -> Option<Cell> {
        let mut sorted: Vec<(Cow<'_, str>, Cell)> =
            names.iter().map(|&cell| (self.key(cell), cell)).collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs = sorted.windows(2).filter_map(|pair| match pair {
            [a, b] if a.0 == b.0 => Some(b.1),
            _ => None,
        });
        pairs.min_by_key(|cell| cell.start)
    }

    fn source(&self, cell: Cell) -> &[u8] {
        self.bytes.get(cell.start as usize..cell.end as usize).unwrap_or_default()
    }

    fn key(&self, cell: Cell) -> Cow<'_, str> {
        let inner = self.text.get(cell.start as usize + 1..cell.end as usize - 1).unwrap_or_default();
        if cell.is_escaped() { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) }
    }

    /// Where the parser stands, outermost first.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            if open.count == 0 {
                break;
            }
            if open.is_object {
                let name = self.cells.get(open.key as usize).map(|&cell| short(&self.key(cell)));
                path.push_str(if path.is_empty() { "" } else { "." });
                path.push_str(&name.unwrap_or_default());
            } else {
                path.push_str(&format!("[{}]", open.count - 1));
            }
        }
        path
    }

    fn unexpected(&self, expected: &'static str) -> Fault {
        match self.bytes.get(self.at) {
            Some(&byte) => self.fault(K::Unexpected { byte, expected }),
            None => self.fault(K::Truncated),
        }
    }

    pub(super) fn fault(&self, kind: K) -> Fault {
        Fault { kind, offset: self.at }
    }
}

/// The property names of the object whose first name is at `at`, up to the end of the cells.
#[derive(Clone)]
struct Keys<'c> {
    cells: &'c [Cell],
    at: u32,
}

impl Iterator for Keys<'_> {
    type Item = Cell;

    fn next(&mut self) -> Option<Cell> {
        let key = *self.cells.get(self.at as usize)?;
        self.at = self.cells.get(self.at as usize + 1)?.next;
        Some(key)
    }
}

fn short(name: &str) -> String {
    let end = name.floor_char_boundary(NAME_BYTES_MAX);
    name[..end].to_owned()
}

/// Positions fit: the text was measured before the first one is made, and there are no more cells than bytes.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn fault(text: impl AsRef<[u8]>) -> JsonError {
        Doc::parse(text.as_ref().to_vec(), JsonLimits::default()).unwrap_err()
    }

    #[test]
    fn a_tree_keeps_the_source_of_every_value() {
        let text = r#" { "a" : [1.10, -0e+5 , true,null,"x\u00e9\ud83e\udde0\n"], "b":{"c":{},"d":[]} } "#;
        let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let a = doc.root().get("a").unwrap();
        let raws: Vec<_> = a.items().map(|n| n.raw()).collect();
        assert_eq!(raws, ["1.10", "-0e+5", "true", "null", r#""x\u00e9\ud83e\udde0\n""#]);
        assert_eq!(a.items().last().unwrap().as_str().unwrap(), "xé🧠\n");
        assert_eq!(a.len(), 5);
        let b = doc.root().get("b").unwrap();
        assert_eq!(b.raw(), r#"{"c":{},"d":[]}"#);
        assert_eq!(
            b.members().map(|(name, node)| format!("{name}{:?}", node.kind())).collect::<String>(),
            "cObjectdArray"
        );
        assert!(b.get("c").unwrap().is_empty() && b.get("e").is_none() && a.get("a").is_none());
        assert_eq!(b.line_column(), (1, text.find(r#"{"c""#).unwrap() as u32 + 1));
        assert_eq!(doc.text(), text);
    }

    #[test]
    fn faults_are_named_with_place_and_path() {
        for (text, kind, offset, path) in [
            (r#"{"a":1,"a":2}"#, K::DuplicateKey("a".into()), 7, "a"),
            (r#"{"x":[{"a":1,"\u0061":2}]}"#, K::DuplicateKey("a".into()), 13, "x[0].a"),
            ("{a:1}", K::Unexpected { byte: b'a', expected: "a property name in double quotes" }, 1, ""),
            ("[1,/*c*/2]", K::Unexpected { byte: b'/', expected: "a value" }, 3, "[1]"),
            ("[1,]", K::Unexpected { byte: b']', expected: "a value" }, 3, "[1]"),
            ("[NaN]", K::Unexpected { byte: b'N', expected: "a value" }, 1, "[0]"),
            ("[0x10]", K::BadNumber, 1, "[0]"),
            ("[01]", K::BadNumber, 1, "[0]"),
            ("[1.]", K::BadNumber, 1, "[0]"),
            ("-", K::Truncated, 1, ""),
            (r#"{"a":"\ud83e"}"#, K::LoneSurrogate, 6, "a"),
            (r#"{"a":"\x"}"#, K::BadEscape, 6, "a"),
            ("{\"a\":\"\u{1}\"}", K::ControlCharacter(1), 6, "a"),
            ("{} {}", K::TrailingContent, 3, ""),
            ("", K::Truncated, 0, ""),
            ("{\"a\"", K::Truncated, 4, "a"),
            ("\u{feff}{}", K::Bom, 0, ""),
        ] {
            let error = fault(text);
            assert_eq!((error.kind, error.offset, error.path.as_str()), (kind, offset, path), "{text}");
        }
        assert_eq!(fault(b"{\"a\":\"\xC0\xAF\"}").kind, K::NotUtf8);
        let error = fault("{\n \"a\": 1,\n \"a\": 2}");
        assert_eq!(
            error.to_string(),
            "the property 'a' stands twice in one object; keep one of them (line 3, column 2, at a)"
        );
    }

    #[test]
    fn a_duplicate_among_many_names_is_the_first_in_reading_order() {
        let names: Vec<String> = (0..200).chain([7, 3]).map(|n| format!("\"n{n}\":{n}")).collect();
        assert_eq!(fault(format!("{{{}}}", names.join(","))).kind, K::DuplicateKey("n7".into()));
    }

    #[test]
    fn depth_and_size_end_in_an_error_instead_of_a_crash() {
        assert_eq!(fault("[".repeat(100_000)).kind, K::TooDeep { depth_max: 64 });
        assert_eq!(fault("{\"a\":".repeat(20_000)).kind, K::TooDeep { depth_max: 64 });
        let limits = JsonLimits { depth_max: u32::MAX, nodes_max: 1_000_000 };
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let doc = Doc::parse(deep.into_bytes(), limits).unwrap();
        assert_eq!(doc.root().len(), 1);
        let small = JsonLimits { depth_max: 8, nodes_max: 3 };
        assert_eq!(Doc::parse(b"[1,2]".to_vec(), small).unwrap().root().len(), 2);
        assert_eq!(
            Doc::parse(b"[1,2,3]".to_vec(), small).unwrap_err().kind,
            K::TooManyNodes { nodes_max: 3 }
        );
    }
}
