//! Segments, fields, components: the walk over one message whose delimiters and character set are known.

use std::collections::HashMap;

use super::{
    Line,
    delimiters::Delimiters,
    escape,
    group::{Grouper, Missing, Opener},
    span,
};
use crate::{
    finding::{Finding, Severity},
    source::{Facts, Format, Limits, NodeId, Parsed, Span, Symbol, Value, charset::Charset},
};

/// Fills the tree of one message.
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    delimiters: Delimiters,
    charset: Charset,
    limits: Limits,
    parsed: Parsed,
    /// `PID_1`, `PID_2`, ... of each segment name met.
    fields: HashMap<Symbol, Vec<Symbol>>,
    components: Vec<Symbol>,
    subcomponents: Vec<Symbol>,
    /// Segments met so far, by name, over the whole message.
    met: HashMap<Symbol, u32>,
    line: u32,
    line_start: usize,
    anchor: String,
}

impl<'b> Reader<'b> {
    pub(super) fn new(
        bytes: &'b [u8],
        delimiters: Delimiters,
        charset: Charset,
        mut parsed: Parsed,
        limits: Limits,
    ) -> Self {
        // Interned even when unused: a simple value answers to both names.
        let components = vec![parsed.tree.intern("C1")];
        let subcomponents = vec![parsed.tree.intern("S1")];
        Reader {
            bytes,
            delimiters,
            charset,
            limits,
            parsed,
            fields: HashMap::new(),
            components,
            subcomponents,
            met: HashMap::new(),
            line: 0,
            line_start: 0,
            anchor: String::new(),
        }
    }

    pub(super) fn read(&mut self, lines: &[Line]) {
        let mut grouper: Option<Grouper> = None;
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
            self.anchor = format!("{name}[{number}]");
            let node = match &mut grouper {
                Some(grouper) => {
                    let placed = grouper.place(&mut self.parsed.tree, name, number, self.line, line.span());
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
            let Opener { path, span, line } = opened_by;
            self.parsed.findings.push(finding.at(path, span, line, u32::from(line > 0)));
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
        let value = Value::Text(self.charset.decode(&self.bytes[line.start..line.end]).into());
        let node = self.parsed.tree.push_ordinal(root, other, value, line.span(), number);
        self.parsed.tree.set_anchor(node, "other", number);
        self.anchor = format!("other[{number}]");
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
            let encoding = self.until(start, line.end, self.delimiters.field);
            for (number, from, to) in [(1, line.start + 3, start), (2, start, encoding)] {
                if let Some(text) = self.bytes.get(from..to).filter(|t| !t.is_empty()) {
                    let field = self.field_symbol(symbol, name, number);
                    let value = Value::Text(self.charset.decode(text).into());
                    let leaf = self.parsed.tree.push_ordinal(node, field, value, span(from, to), 1);
                    self.parsed.coverage.mark(leaf);
                }
            }
            start = encoding + 1;
            number = 3;
        }
        while start <= line.end {
            let end = self.until(start, line.end, self.delimiters.field);
            if end > start {
                let field = self.field_symbol(symbol, name, number);
                self.field(node, field, start, end);
            }
            if self.parsed.tree.len() >= self.limits.nodes_max as usize {
                return;
            }
            start = end + 1;
            number += 1;
        }
    }

    fn field(&mut self, segment: NodeId, field: Symbol, start: usize, end: usize) {
        let mut start = start;
        let mut repetition = 1;
        while start <= end {
            let stop = self.until(start, end, self.delimiters.repetition);
            self.composite(segment, field, repetition, start, stop, 0);
            start = stop + 1;
            repetition += 1;
        }
    }

    /// A field (`level` 0) or component (1): a leaf, or a node with parts where the next delimiter occurs.
    fn composite(&mut self, parent: NodeId, name: Symbol, ordinal: u32, start: usize, end: usize, level: u8) {
        let text = self.bytes.get(start..end).unwrap_or_default();
        let component = self.delimiters.component;
        let sub = self.delimiters.subcomponent;
        let is_part = |b: &u8| (level == 0 && *b == component) || (level <= 1 && Some(*b) == sub);
        if text.iter().all(is_part) {
            return;
        }
        if !text.iter().any(is_part) {
            let value = self.value(start, end);
            self.parsed.tree.push_ordinal(parent, name, value, span(start, end), ordinal);
            return;
        }
        let node = self.parsed.tree.push_ordinal(parent, name, Value::None, span(start, end), ordinal);
        // A component exists even where only subcomponents separate: `a&b` is C1 with S1 and S2.
        let delimiter = if level == 0 { component } else { sub.unwrap_or(component) };
        let mut from = start;
        let mut number = 1;
        while from <= end {
            let to = self.until(from, end, delimiter);
            if to > from {
                let part = self.part_symbol(level, number);
                self.composite(node, part, 1, from, to, level + 1);
            }
            from = to + 1;
            number += 1;
        }
    }

    fn value(&mut self, start: usize, end: usize) -> Value {
        let raw = self.bytes.get(start..end).unwrap_or_default();
        if raw == b"\"\"" {
            return Value::Null;
        }
        match self.delimiters.escape {
            Some(escape) if raw.contains(&escape) => {
                let (text, finding) = escape::unescape(raw, &self.delimiters, self.charset);
                if let Some((at, finding)) = finding {
                    self.find(finding, span(start + at, end));
                }
                Value::Text(text.into())
            }
            _ => Value::Text(self.charset.decode(raw).into()),
        }
    }

    /// Adds a finding about the segment being read, at the start of `at`.
    fn find(&mut self, finding: Finding, at: Span) {
        let before = self.bytes.get(self.line_start..at.start as usize).unwrap_or_default();
        let column = self.charset.decode(before).chars().count() as u32 + 1;
        self.parsed.findings.push(finding.at(self.anchor.clone(), at, self.line, column));
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

    fn until(&self, start: usize, end: usize, delimiter: u8) -> usize {
        let rest = self.bytes.get(start..end).unwrap_or_default();
        rest.iter().position(|&b| b == delimiter).map_or(end, |at| start + at)
    }

    fn field_symbol(&mut self, segment: Symbol, name: &str, number: usize) -> Symbol {
        let known = self.fields.entry(segment).or_default();
        while known.len() < number {
            known.push(self.parsed.tree.intern(&format!("{name}_{}", known.len() + 1)));
        }
        known[number - 1]
    }

    fn part_symbol(&mut self, level: u8, number: usize) -> Symbol {
        let (known, letter) =
            if level == 0 { (&mut self.components, 'C') } else { (&mut self.subcomponents, 'S') };
        while known.len() < number {
            known.push(self.parsed.tree.intern(&format!("{letter}{}", known.len() + 1)));
        }
        known[number - 1]
    }
}
