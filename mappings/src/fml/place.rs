//! Where something stands in a map text, and how an error about it is shown.

use std::fmt;
use std::sync::Arc;

/// A range of one map file: 0-based bytes and the 1-based line and column (characters) of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Index into [`Files`].
    pub file: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
}

impl Place {
    /// File and first byte: what tells one rule from another.
    pub fn start_of(&self) -> (u16, u32) {
        (self.file, self.start)
    }
}

/// The texts a program was read from: the sender's map first, then the library it imports from. Cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: Vec<Arc<File>>,
}

#[derive(Debug, Default)]
struct File {
    name: String,
    text: String,
    /// First byte of each line but the first.
    lines: Vec<u32>,
}

impl File {
    fn new(name: &str, text: &str) -> File {
        let lines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        File { name: name.to_owned(), text: text.to_owned(), lines: lines.collect() }
    }
}

impl Files {
    /// Adds a file; the index goes into every [`Place`] of it.
    pub fn add(&mut self, name: &str, text: &str) -> u16 {
        self.files.push(Arc::new(File::new(name, text)));
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    /// The same files with another first one, whose index is 0.
    pub(crate) fn led_by(&self, name: &str, text: &str) -> Files {
        let rest = self.files.iter().skip(1).cloned();
        Files { files: std::iter::once(Arc::new(File::new(name, text))).chain(rest).collect() }
    }

    /// Name of a file; empty for an index that is not there.
    pub fn name(&self, file: u16) -> &str {
        self.files.get(usize::from(file)).map_or("", |file| &file.name)
    }

    /// Text of a file.
    pub fn text(&self, file: u16) -> &str {
        self.files.get(usize::from(file)).map_or("", |file| &file.text)
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether no file was added.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The place of bytes `start..end` of a file.
    pub fn place(&self, file: u16, start: usize, end: usize) -> Place {
        let text = self.text(file);
        let start = start.min(text.len());
        let lines = self.files.get(usize::from(file)).map_or(&[][..], |file| &file.lines);
        let line = lines.partition_point(|begins| *begins as usize <= start);
        let begins =
            line.checked_sub(1).and_then(|line| lines.get(line)).map_or(0, |begins| *begins as usize);
        Place {
            file,
            start: start as u32,
            end: end as u32,
            line: 1 + line as u32,
            column: 1 + text.get(begins..start).unwrap_or("").chars().count() as u32,
        }
    }

    /// `map.fml:31:5`, the form findings and traces carry.
    pub fn show(&self, place: Place) -> String {
        format!("{}:{}:{}", self.name(place.file), place.line, place.column)
    }
}

/// Why a map does not load: what, where, and what would be right. Shown like rustc's errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapError {
    /// Stable code, e.g. `map-syntax`, `element-unknown`, `function-unsupported`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub text: String,
    /// What to write instead; empty when the text says it.
    pub help: String,
    /// File name.
    pub file: String,
    /// 1-based line.
    pub line: u32,
    /// 1-based column, in characters.
    pub column: u32,
    /// The line it concerns.
    pub excerpt: String,
    /// How many characters the carets cover, at least 1.
    pub width: u32,
}

impl MapError {
    /// An error at a place of `files`.
    pub fn new(files: &Files, code: &'static str, place: Place, text: String, help: String) -> MapError {
        let excerpt = files
            .text(place.file)
            .lines()
            .nth(place.line.saturating_sub(1) as usize)
            .unwrap_or("")
            .to_owned();
        let rest = excerpt.chars().count() as u32 + 1 - place.column.min(excerpt.chars().count() as u32 + 1);
        MapError {
            code,
            text,
            help,
            file: files.name(place.file).to_owned(),
            line: place.line,
            column: place.column,
            excerpt,
            width: place.end.saturating_sub(place.start).clamp(1, rest.max(1)),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        writeln!(f, "error[{}]: {}", self.code, self.text)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {}", self.excerpt)?;
        let indent = " ".repeat(self.column.saturating_sub(1) as usize);
        write!(f, "{gutter} | {indent}{}", "^".repeat(self.width as usize))?;
        if !self.help.is_empty() {
            write!(f, "\n{gutter} = help: {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for MapError {}

/// `did you mean ...` for a misspelt name, or the whole list when it is short; empty when nothing is near.
pub fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let mut ranked: Vec<(usize, &str)> =
        names.into_iter().map(|name| (distance(wrong, name), name)).collect();
    ranked.sort();
    ranked.dedup();
    let near: Vec<String> = ranked
        .iter()
        .filter(|(far, name)| *far <= 1 + name.len().max(wrong.len()) / 3)
        .take(3)
        .map(|(_, name)| format!("`{name}`"))
        .collect();
    if !near.is_empty() {
        return format!("did you mean {}?", near.join(" or "));
    }
    if ranked.is_empty() || ranked.len() > 24 {
        return String::new();
    }
    let all: Vec<&str> = ranked.iter().map(|(_, name)| *name).collect();
    format!("known here: {}", all.join(", "))
}

/// Edit distance without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let best = (corner + usize::from(x != *y)).min(left + 1).min(*cell + 1);
            corner = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_shows_line_and_caret() {
        let mut files = Files::default();
        let file = files.add("map.fml", "group A {\n  src.x -> tgt.onsett;\n}\n");
        let place = files.place(file, 25, 31);
        let error =
            MapError::new(&files, "element-unknown", place, "no `onsett`".into(), "write `onset`".into());
        assert_eq!(
            error.to_string(),
            "error[element-unknown]: no `onsett`\n --> map.fml:2:16\n  |\n2 |   src.x -> tgt.onsett;\n  \
             |                ^^^^^^\n  = help: write `onset`"
        );
    }

    #[test]
    fn nearest_name_is_proposed() {
        assert_eq!(nearest("onsett", ["onset", "code", "subject"]), "did you mean `onset`?");
        assert_eq!(nearest("zzzzzzz", ["a", "b"]), "known here: a, b");
    }
}
