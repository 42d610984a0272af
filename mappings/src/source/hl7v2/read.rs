//! Segments, fields, components: the walk over one message whose delimiters and character set are known.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    Line,
    delimiters::Delimiters,
    escape,
    group::{Grouper, Missing},
    span,
};
use crate::{
    finding::{Finding, Severity},
    source::{Facts, Format, Limits, NodeId, Parsed, Span, Symbol, Tree, Value, charset::Charset, names},
};

/// Fills the tree of one message.
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    delimiters: Delimiters,
    charset: Charset,
    limits: Limits,
    parsed: Parsed,
    /// What each byte may begin or end, by its value.
    marks: [u8; 256],
    /// The delimiters of the segment being read; its room serves every segment.
    cuts: Vec<Cut>,
    /// Whether the tree keeps the whole message, so that a value as sent is its place.
    is_kept: bool,
    /// Segments met so far, by name, over the whole message.
    met: HashMap<Symbol, u32, RandomState>,
    line: u32,
    line_start: usize,
    /// The segment being read: name and number in the message.
    anchor: (&'b str, u32),
}

/// A byte that begins or ends something: where it stands and what it may be.
#[derive(Clone, Copy)]
struct Cut {
    at: usize,
    mark: u8,
}

/// Takes from `cuts` those before the first with the mark `stop`, and that one; gives where it stands (else `end`) and those before it.
fn until<'c>(cuts: &mut &'c [Cut], stop: u8, end: usize) -> (usize, &'c [Cut]) {
    let all = *cuts;
    match all.iter().position(|cut| cut.mark & stop != 0) {
        Some(place) => {
            *cuts = all.get(place + 1..).unwrap_or_default();
            (all.get(place).map_or(end, |cut| cut.at), all.get(..place).unwrap_or_default())
        }
        None => {
            *cuts = &[];
            (end, all)
        }
    }
}

/// Whether one of them has the mark.
fn has(cuts: &[Cut], mark: u8) -> bool {
    cuts.iter().any(|cut| cut.mark & mark != 0)
}

/// Bits of [`Reader::marks`].
const FIELD: u8 = 1;
const REPETITION: u8 = 2;
const COMPONENT: u8 = 4;
const SUBCOMPONENT: u8 = 8;
const ESCAPE: u8 = 16;

impl<'b> Reader<'b> {
    pub(super) fn new(
        bytes: &'b [u8],
        delimiters: Delimiters,
        charset: Charset,
        mut parsed: Parsed,
        limits: Limits,
    ) -> Self {
        let mut marks = [0; 256];
        // A message that is UTF-8 as it stands, and read as such, is kept as one.
        let text = std::str::from_utf8(bytes).ok();
        let text = text.filter(|_| matches!(charset, Charset::Ascii | Charset::Utf8) || bytes.is_ascii());
        let delimiter = |byte: Option<u8>, bit| byte.map(|byte| (usize::from(byte), bit));
        for (byte, bit) in [
            delimiter(Some(delimiters.field), FIELD),
            delimiter(Some(delimiters.repetition), REPETITION),
            delimiter(Some(delimiters.component), COMPONENT),
            delimiter(delimiters.subcomponent, SUBCOMPONENT),
            delimiter(delimiters.escape, ESCAPE),
        ]
        .into_iter()
        .flatten()
        {
            if let Some(mark) = marks.get_mut(byte) {
                *mark |= bit;
            }
        }
        if let Some(text) = text {
            parsed.tree.keep_document(text);
        }
        Reader {
            bytes,
            delimiters,
            charset,
            limits,
            parsed,
            marks,
            cuts: Vec::new(),
            is_kept: text.is_some(),
            met: HashMap::default(),
            line: 0,
            line_start: 0,
            anchor: ("", 0),
        }
    }

    pub(super) fn read(&mut self, lines: &[Line]) {
        let mut grouper: Option<Grouper<'_>> = None;
        for (i, line) in lines.iter().enumerate() {
            if self.parsed.tree.len() >= self.limits.nodes_max as usize {
                self.parsed.findings.push(self.limits.refuse_nodes());
                return;
            }
            self.line = i as u32 + 1;
            self.line_start = line.start;
            let cut = i + 1 == lines.len() && !line.terminated;
            let Some(name) = self.segment_name(line) else {
                self.unnamed(line, cut);
                continue;
            };
            let symbol = self.parsed.tree.intern(name);
            let met = self.met.entry(symbol).or_insert(0);
            *met += 1;
            let number = *met;
            self.anchor = (name, number);
            let node = match &mut grouper {
                Some(grouper) => {
                    let placed =
                        grouper.place(&mut self.parsed.tree, (name, symbol), number, self.line, line.span());
                    if let Some(finding) = placed.finding {
                        self.find(finding, line.span());
                    }
                    self.parsed.tree.push_ordinal(
                        placed.parent,
                        symbol,
                        Value::None,
                        line.span(),
                        placed.ordinal,
                    )
                }
                None => {
                    let root = self.parsed.tree.root();
                    self.parsed.tree.push_ordinal(root, symbol, Value::None, line.span(), number)
                }
            };
            self.parsed.tree.set_anchor(node, name, number);
            self.segment(node, symbol, name, line);
            if name == "MSH" && number == 1 {
                self.header(node);
                let kind = self.kind(node);
                let [code, event, said] = kind.each_ref().map(Option::as_deref);
                let root = self.parsed.tree.root();
                grouper = code.and_then(|code| Grouper::for_message((code, event, said), root));
            }
            if cut {
                self.unterminated(line);
            }
        }
        let Some((missing, finding)) = grouper.map(Grouper::finish) else { return };
        for Missing { finding, opened_by } in missing {
            let (span, line) = (opened_by.span, opened_by.line);
            self.parsed.findings.push(finding.at(opened_by.path(), span, line, u32::from(line > 0)));
        }
        self.parsed.findings.extend(finding);
    }

    /// MSH-9.1 to 9.3: code, trigger event, structure.
    fn kind(&self, header: NodeId) -> [Option<String>; 3] {
        let tree = &self.parsed.tree;
        let field = tree.named(header, "MSH_9").next();
        ["C1", "C2", "C3"].map(|part| {
            let text = field.and_then(|field| tree.text(tree.named(field, part).next()?));
            text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        })
    }

    pub(super) fn finish(self) -> Parsed {
        self.parsed
    }

    /// A legal name (a capital, then two capitals or digits) that ends the line or is followed by the separator.
    fn segment_name(&self, line: &Line) -> Option<&'b str> {
        let bytes = self.bytes.get(line.start..line.end)?;
        let (name, rest) = bytes.split_at_checked(3)?;
        let legal = name.first().is_some_and(u8::is_ascii_uppercase)
            && name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let ends = rest.first().is_none_or(|&b| b == self.delimiters.field);
        if legal && ends { std::str::from_utf8(name).ok() } else { None }
    }

    fn unnamed(&mut self, line: &Line, cut: bool) {
        let (code, text, remedy) = if cut && line.end - line.start < 4 {
            (
                "segment-truncated",
                "The last segment is cut off in its name.",
                "Send the message again, whole.",
            )
        } else {
            (
                "segment-unnamed",
                "A line does not start with a segment name and a field separator.",
                "Check for a line break inside a field (send it as \\.br\\) and for a lost segment terminator.",
            )
        };
        let root = self.parsed.tree.root();
        let other = self.parsed.tree.intern("other");
        let met = self.met.entry(other).or_insert(0);
        *met += 1;
        let number = *met;
        let value = self.text(line.start, line.end);
        let node = self.parsed.tree.push_ordinal(root, other, value, line.span(), number);
        self.parsed.tree.set_anchor(node, "other", number);
        self.anchor = ("other", number);
        self.find(Finding::new(Severity::Error, code, text, remedy), line.span());
    }

    /// The last segment has no terminator. What was cut off cannot be seen: a remark may have lost its "unless".
    fn unterminated(&mut self, line: &Line) {
        let finding = Finding::new(
            Severity::Error,
            "segment-truncated",
            "The last segment has no terminator, so it cannot be told whether it is whole.",
            "Send the message again, whole, every segment ended by a carriage return (HL7 v2.5.1 2.5.1).",
        );
        self.find(finding, line.span());
    }

    fn segment(&mut self, node: NodeId, symbol: Symbol, name: &str, line: &Line) {
        let mut start = line.start + 4;
        let mut number = 1;
        if matches!(name, "MSH" | "BHS" | "FHS") {
            // The separator is field 1 and the encoding characters are field 2, to be taken literally.
            let encoding = self.field_end(start, line.end);
            for (number, from, to) in [(1, line.start + 3, start), (2, start, encoding)] {
                if from < to && to <= self.bytes.len() {
                    let field = self.field_symbol(symbol, name, number);
                    let value = self.text(from, to);
                    let leaf = self.parsed.tree.push_ordinal(node, field, value, span(from, to), 1);
                    self.parsed.coverage.mark(leaf);
                }
            }
            start = encoding + 1;
            number = 3;
        }
        let cuts = self.cut(start, line.end);
        let mut rest = cuts.as_slice();
        while start <= line.end {
            let (end, inside) = until(&mut rest, FIELD, line.end);
            if end > start {
                let field = self.field_symbol(symbol, name, number);
                if has(inside, REPETITION | COMPONENT | SUBCOMPONENT) {
                    self.field(node, field, (start, end, inside));
                } else {
                    let value = self.value(start, end, inside);
                    self.parsed.tree.push_ordinal(node, field, value, span(start, end), 1);
                }
            }
            if self.parsed.tree.len() >= self.limits.nodes_max as usize {
                break;
            }
            start = end + 1;
            number += 1;
        }
        self.cuts = cuts;
    }

    fn field(&mut self, segment: NodeId, field: Symbol, (start, end, cuts): (usize, usize, &[Cut])) {
        let (mut start, mut rest) = (start, cuts);
        let mut repetition = 1;
        while start <= end {
            let (stop, inside) = until(&mut rest, REPETITION, end);
            self.composite(segment, (field, repetition), (start, stop, inside), 0);
            start = stop + 1;
            repetition += 1;
        }
    }

    /// A field (`level` 0), component (1) or subcomponent (2): a leaf, or a node with parts where the next delimiter occurs.
    /// `cuts`: those within it.
    fn composite(
        &mut self,
        parent: NodeId,
        (name, ordinal): (Symbol, u32),
        (start, end, cuts): (usize, usize, &[Cut]),
        level: u8,
    ) {
        let parts = match level {
            0 => COMPONENT | SUBCOMPONENT,
            1 => SUBCOMPONENT,
            _ => 0,
        };
        let parting = cuts.iter().filter(|cut| cut.mark & parts != 0).count();
        if parting == 0 {
            if end > start {
                let value = self.value(start, end, cuts);
                self.parsed.tree.push_ordinal(parent, name, value, span(start, end), ordinal);
            }
            return;
        }
        // Nothing but delimiters.
        if parting == end - start {
            return;
        }
        let node = self.parsed.tree.push_ordinal(parent, name, Value::None, span(start, end), ordinal);
        // A component exists even where only subcomponents separate: `a&b` is C1 with S1 and S2.
        let delimiter = if level == 0 { COMPONENT } else { SUBCOMPONENT };
        let (mut from, mut rest) = (start, cuts);
        let mut number = 1;
        while from <= end {
            let (to, inside) = until(&mut rest, delimiter, end);
            if to > from {
                let part = self.part_symbol(level, number);
                self.composite(node, (part, 1), (from, to, inside), level + 1);
            }
            from = to + 1;
            number += 1;
        }
    }

    /// `cuts`: those within it.
    fn value(&mut self, start: usize, end: usize, cuts: &[Cut]) -> Value {
        let raw = self.bytes.get(start..end).unwrap_or_default();
        if raw == b"\"\"" {
            return Value::Null;
        }
        match self.delimiters.escape {
            Some(_) if has(cuts, ESCAPE) => {
                let (text, finding) = escape::unescape(raw, &self.delimiters, self.charset);
                if let Some((at, finding)) = finding {
                    self.find(finding, span(start + at, end));
                }
                Value::Text(self.parsed.tree.keep(&text))
            }
            _ => self.text(start, end),
        }
    }

    /// The bytes as text, escapes and all.
    fn text(&mut self, start: usize, end: usize) -> Value {
        if self.is_kept {
            return Value::Text(Tree::kept_at(span(start, end)));
        }
        let raw = self.bytes.get(start..end).unwrap_or_default();
        Value::Text(self.parsed.tree.keep(&self.charset.decode(raw)))
    }

    /// Adds a finding about the segment being read, at the start of `at`.
    fn find(&mut self, finding: Finding, at: Span) {
        let before = self.bytes.get(self.line_start..at.start as usize).unwrap_or_default();
        let column = self.charset.decode(before).chars().count() as u32 + 1;
        let (name, number) = self.anchor;
        self.parsed.findings.push(finding.at(format!("{name}[{number}]"), at, self.line, column));
    }

    /// What MSH says about the message; those leaves are read by the gateway itself.
    fn header(&mut self, header: NodeId) {
        let tree = &self.parsed.tree;
        let field = |name: &str| tree.named(header, name).next();
        let text = |node: Option<NodeId>| node.and_then(|n| tree.text(n)).map(str::to_owned);
        let part = |node: Option<NodeId>, name: &str| node.and_then(|n| text(tree.named(n, name).next()));
        let kind = field("MSH_9");
        let message_type = match (part(kind, "C1"), part(kind, "C2")) {
            (Some(code), Some(event)) => Some(format!("{code}^{event}")),
            (code, _) => code,
        };
        let facts = Facts {
            format: Format::Hl7v2,
            message_type,
            control_id: text(field("MSH_10")),
            version: text(field("MSH_12")),
            source_time: text(field("MSH_7")),
            charset: self.parsed.facts.charset.take(),
            columns: Vec::new(),
            namespace: None,
        };
        let read = ["MSH_7", "MSH_9", "MSH_10", "MSH_12", "MSH_18"];
        let mut seen: Vec<NodeId> = read.iter().flat_map(|name| tree.named(header, name)).collect();
        while let Some(node) = seen.pop() {
            self.parsed.coverage.mark(node);
            seen.extend(self.parsed.tree.children(node));
        }
        if facts.message_type.is_none() {
            self.find(
                Finding::new(
                    Severity::Fatal,
                    "message-type-missing",
                    "MSH-9 is empty: the message does not say what it is.",
                    "Fill MSH-9, e.g. ORU^R01^ORU_R01; the message may have been cut off in its header.",
                ),
                self.parsed.tree.node(header).span,
            );
        }
        if facts.control_id.is_none() {
            self.find(
                Finding::new(
                    Severity::Warning,
                    "control-id-missing",
                    "MSH-10 is empty: a resend can only be recognised by equal bytes.",
                    "Give each message its own control id in MSH-10.",
                ),
                self.parsed.tree.node(header).span,
            );
        }
        self.parsed.facts = facts;
    }

    fn mark(&self, byte: u8) -> u8 {
        self.marks.get(usize::from(byte)).copied().unwrap_or_default()
    }

    /// The delimiters from `start` to `end`, found in one pass; everything after asks these. The room is to be given back.
    fn cut(&mut self, start: usize, end: usize) -> Vec<Cut> {
        let mut cuts = std::mem::take(&mut self.cuts);
        cuts.clear();
        for (at, &byte) in self.bytes.get(start..end).unwrap_or_default().iter().enumerate() {
            let mark = self.mark(byte);
            if mark != 0 {
                cuts.push(Cut { at: start + at, mark });
            }
        }
        cuts
    }

    /// Up to the first separator of fields, or `end`.
    fn field_end(&self, start: usize, end: usize) -> usize {
        let bytes = self.bytes.get(start..end).unwrap_or_default();
        bytes.iter().position(|&byte| self.mark(byte) & FIELD != 0).map_or(end, |at| start + at)
    }

    /// `OBX_5` of `OBX`: behind the segment's own name where that is known, else a name of this document.
    fn field_symbol(&mut self, segment: Symbol, name: &str, number: u32) -> Symbol {
        names::field(segment, number).unwrap_or_else(|| self.parsed.tree.intern(&format!("{name}_{number}")))
    }

    fn part_symbol(&mut self, level: u8, number: u32) -> Symbol {
        names::part(level, number).unwrap_or_else(|| {
            let letter = if level == 0 { 'C' } else { 'S' };
            self.parsed.tree.intern(&format!("{letter}{number}"))
        })
    }
}
