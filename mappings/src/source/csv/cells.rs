//! Records and cells with their bytes. Works on bytes: every supported encoding keeps ASCII where it is.

use std::borrow::Cow;

use crate::source::{Span, charset::Charset};

/// One cell; `span` is its bytes as sent, with its quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) span: Span,
    quoted: bool,
}

impl Cell {
    /// The cell's text: quotes taken off, doubled quotes single.
    pub(super) fn text<'b>(&self, bytes: &'b [u8], charset: Charset) -> Cow<'b, str> {
        let raw = bytes.get(self.span.start as usize..self.span.end as usize).unwrap_or_default();
        if !self.quoted {
            return charset.decode(raw);
        }
        let inner = raw.strip_prefix(b"\"").unwrap_or(raw);
        let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
        match charset.decode(inner) {
            text if text.contains("\"\"") => text.replace("\"\"", "\"").into(),
            text => text,
        }
    }
}

/// Why a record cannot be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) text: &'static str,
    pub(super) remedy: &'static str,
    /// Nothing after this record can be told apart.
    pub(super) ends_file: bool,
}

/// One line of cells, over several physical lines when a quoted cell holds line breaks.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) cells: Vec<Cell>,
    pub(super) span: Span,
    /// 1-based physical line the record starts on.
    pub(super) line: u32,
    pub(super) fault: Option<Fault>,
}

/// Iterates over records; lines without a character are skipped.
pub(super) struct Records<'b> {
    bytes: &'b [u8],
    separator: u8,
    at: usize,
    line: u32,
}

impl<'b> Records<'b> {
    pub(super) fn new(bytes: &'b [u8], separator: u8) -> Records<'b> {
        let at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        Records { bytes, separator, at, line: 1 }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over `\n`, `\r\n` or a lone `\r`.
    fn line_end(&mut self) -> bool {
        let length = match (self.peek(), self.bytes.get(self.at + 1)) {
            (Some(b'\r'), Some(b'\n')) => 2,
            (Some(b'\r' | b'\n'), _) => 1,
            _ => return false,
        };
        self.at += length;
        self.line += 1;
        true
    }

    /// Reads one cell; the position is left on a separator, a line end or the end.
    fn cell(&mut self, fault: &mut Option<Fault>) -> Cell {
        let start = self.at;
        let quoted = self.peek() == Some(b'"');
        if quoted {
            self.at += 1;
            loop {
                match self.peek() {
                    None => {
                        *fault = Some(UNCLOSED);
                        break;
                    }
                    Some(b'"') if self.bytes.get(self.at + 1) == Some(&b'"') => self.at += 2,
                    Some(b'"') => {
                        self.at += 1;
                        break;
                    }
                    Some(_) if self.line_end() => {}
                    Some(byte) => {
                        if byte == 0 {
                            fault.get_or_insert(NUL);
                        }
                        self.at += 1;
                    }
                }
            }
        }
        let close = self.at;
        while let Some(byte) = self.peek().filter(|&b| b != self.separator && b != b'\r' && b != b'\n') {
            if byte == 0 {
                fault.get_or_insert(NUL);
            }
            self.at += 1;
        }
        if quoted && self.at > close {
            fault.get_or_insert(AFTER_QUOTE);
        }
        Cell { span: Span { start: start as u32, end: self.at as u32 }, quoted }
    }
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while self.line_end() {}
        self.peek()?;
        let (start, line) = (self.at, self.line);
        let mut record = Record { cells: Vec::new(), span: Span::default(), line, fault: None };
        loop {
            let cell = self.cell(&mut record.fault);
            record.cells.push(cell);
            if self.peek() != Some(self.separator) {
                break;
            }
            self.at += 1;
        }
        record.span = Span { start: start as u32, end: self.at as u32 };
        self.line_end();
        Some(record)
    }
}

const UNCLOSED: Fault = Fault {
    code: "quote-unclosed",
    text: "A quoted cell is not closed: the rest of the file cannot be told apart.",
    remedy: "Close the cell with a double quote; write a quote inside a cell twice.",
    ends_file: true,
};

const NUL: Fault = Fault {
    code: "nul-byte",
    text: "The row holds a NUL byte: the file is damaged or in another encoding.",
    remedy: "Export the file again in the agreed encoding.",
    ends_file: false,
};

const AFTER_QUOTE: Fault = Fault {
    code: "quote-misplaced",
    text: "Text follows the closing quote of a cell.",
    remedy: "Write a quote inside a quoted cell twice.",
    ends_file: false,
};
