//! EDIFACT (ISO 9735), and the Dutch ZorgMail messages that are written in its syntax without being UN messages (`MEDLAB:1`,
//! `MEDVRI:1`).
//!
//! Bytes -> [`Tree`]: root `interchange`, one `message` from UNH to UNT, in it segments by tag (`BEP`), in those their elements
//! `BEP_1` with components `C1`; a simple value is its own `C1`. Components straight after the tag (`BEP:1:1:3+...`, a
//! Dutch habit) are those of `BEP_0`. UNB and UNZ stand beside the messages, and may be missing both.
//!
//! Only the syntax is known here. What segments mean is a matter of the message and its map; of the Dutch medical messages no
//! specification is public.

#![expect(clippy::result_large_err, reason = "made once per document, on the way to its refusal")]

mod tokens;

use std::collections::HashMap;

use self::tokens::{Element, Segment, Separators};
use super::{Facts, Format, Limits, NodeId, Parsed, Span, Symbol, Tree, Value, charset::Charset};
use crate::finding::{Finding, Severity};
use crate::output::Coverage;

/// Reads one interchange, or one message without an envelope.
///
/// `agreed` is the character set of `mapping.toml`; without it UNOC and UNOD are read as ISO 8859-1 and -2's place is
/// not guessed at: other syntaxes hold ASCII (ISO 9735 annex A).
///
/// Total: any bytes give a tree. `Fatal`: no segment, separators unusable, bytes that are not of the character set, a
/// segment or message cut off, a count that does not fit, limits. `Warning`: references that do not agree.
pub fn parse(bytes: &[u8], agreed: Option<Charset>, limits: Limits) -> Parsed {
    let mut tree = Tree::new("interchange", bytes.len());
    tree.set_components();
    let mut parsed = Parsed {
        tree,
        findings: Vec::new(),
        facts: Facts::new(Format::Edifact),
        coverage: Coverage::default(),
    };
    let refusal = match limits.refuse_length(bytes) {
        Some(refusal) => Some(refusal),
        None => Reader::new(bytes, &mut parsed, limits).and_then(|mut reader| reader.read(agreed)).err(),
    };
    parsed.findings.extend(refusal);
    parsed
}

/// What an interchange says about itself: type (`MEDLAB:1`) and references of its first message.
pub fn facts(bytes: &[u8]) -> Facts {
    let mut facts = Facts::new(Format::Edifact);
    let (separators, start) = tokens::separators(bytes);
    let Ok(separators) = separators else { return facts };
    let text = |segment: &Segment, element: usize| {
        let parts = segment.elements.get(element)?.components.iter();
        let parts: Vec<String> =
            parts.map(|span| tokens::text(bytes, *span, &separators, Charset::Latin1)).collect();
        Some(parts.join(":")).filter(|text| !text.is_empty())
    };
    let mut interchange = None;
    // The header is in the first two segments of any interchange; a long preamble is none.
    for segment in tokens::Segments::new(bytes, start, separators).take(4) {
        match segment.tag(bytes) {
            b"UNB" => interchange = text(&segment, 5),
            b"UNH" => {
                facts.message_type = text(&segment, 2);
                let message = text(&segment, 1);
                facts.control_id = match (interchange, message) {
                    (Some(interchange), Some(message)) => Some(format!("{interchange}/{message}")),
                    (one, other) => one.or(other),
                };
                break;
            }
            _ => {}
        }
    }
    facts
}

struct Reader<'b, 'p> {
    bytes: &'b [u8],
    parsed: &'p mut Parsed,
    limits: Limits,
    separators: Separators,
    start: usize,
    charset: Charset,
    /// Segments of each tag, in the whole document.
    numbers: HashMap<Symbol, u32>,
    line: u32,
}

/// A message being read.
struct Message {
    node: NodeId,
    reference: String,
    segments: u32,
    /// Siblings of each tag.
    ordinals: HashMap<Symbol, u32>,
}

impl<'b, 'p> Reader<'b, 'p> {
    fn new(bytes: &'b [u8], parsed: &'p mut Parsed, limits: Limits) -> Result<Reader<'b, 'p>, Finding> {
        let (separators, start) = tokens::separators(bytes);
        let separators = separators.map_err(|why| {
            fatal("separators-unusable", why, "Send UNA with six different characters, or none.").at(
                "UNA[1]",
                Span { start: 0, end: start as u32 },
                1,
                1,
            )
        })?;
        let numbers = HashMap::new();
        Ok(Reader { bytes, parsed, limits, separators, start, charset: Charset::Ascii, numbers, line: 0 })
    }

    fn read(&mut self, agreed: Option<Charset>) -> Result<(), Finding> {
        if self.start > 0 {
            let name = self.parsed.tree.intern("UNA");
            let kept = self.parsed.tree.keep("UNA");
            let span = Span { start: 0, end: self.start as u32 };
            let root = self.parsed.tree.root();
            let node = self.parsed.tree.push_ordinal(root, name, Value::Text(kept), span, 1);
            self.parsed.coverage.mark(node);
        }
        let mut facts = facts(self.bytes);
        std::mem::swap(&mut self.parsed.facts, &mut facts);
        let mut open: Option<Message> = None;
        let mut outside: HashMap<Symbol, u32> = HashMap::new();
        let mut messages = 0;
        let mut header: Option<String> = None;
        let mut trailer: Option<Segment> = None;
        for segment in tokens::Segments::new(self.bytes, self.start, self.separators) {
            self.line += 1;
            if !segment.terminated {
                return Err(self.refuse(
                    &segment,
                    "segment-truncated",
                    "The last segment has no terminator, so it cannot be told whether it is whole."
                        .to_owned(),
                    "Send the interchange again, whole.",
                ));
            }
            if self.line == 1 {
                self.choose_charset(&segment, agreed)?;
            }
            match (segment.tag(self.bytes), &mut open) {
                (b"UNH", None) => open = Some(self.begin(&segment)),
                (b"UNH", Some(_)) => {
                    return Err(self.refuse(
                        &segment,
                        "message-truncated",
                        "A message begins before the one before it ended.".to_owned(),
                        "Send the interchange again, every message with its UNT.",
                    ));
                }
                (b"UNT", Some(_)) => {
                    if let Some(message) = open.take() {
                        self.end(message, &segment)?;
                        messages += 1;
                    }
                }
                (_, Some(message)) => {
                    message.segments += 1;
                    let node = message.node;
                    self.segment(&segment, node, &mut message.ordinals, &[]);
                }
                (tag, None) => {
                    let used: &[usize] = match tag {
                        b"UNB" => &[1, 5],
                        b"UNZ" => &[1, 2],
                        _ => &[],
                    };
                    match tag {
                        b"UNB" => header = self.text(&segment, 5, 0),
                        b"UNZ" => trailer = Some(segment.clone()),
                        _ => {
                            let text = "A segment stands outside every message.".to_owned();
                            let remedy = "Send it between UNH and UNT.";
                            let finding = self.placed(
                                Finding::new(Severity::Error, "segment-outside", text, remedy),
                                &segment,
                            );
                            self.parsed.findings.push(finding);
                        }
                    }
                    let root = self.parsed.tree.root();
                    self.segment(&segment, root, &mut outside, used);
                }
            }
            if self.parsed.tree.len() > self.limits.nodes_max as usize {
                return Err(self.limits.refuse_nodes());
            }
        }
        if let Some(message) = open {
            let span = Span { start: self.bytes.len() as u32, end: self.bytes.len() as u32 };
            self.parsed.tree.set_end(message.node, span.end);
            return Err(fatal(
                "message-truncated",
                "The last message has no UNT, so it cannot be told whether it is whole.",
                "Send the interchange again, whole.",
            )
            .at("UNT[1]", span, self.line, 1));
        }
        if messages == 0 {
            return Err(fatal(
                "message-missing",
                "The document holds no message (UNH to UNT).",
                "Send an EDIFACT message.",
            )
            .at("", Span::default(), 1, 1));
        }
        self.envelope(header, trailer, messages)
    }

    /// UNZ says how many messages there are; where it is missing under a UNB, some may be, too.
    fn envelope(
        &mut self,
        header: Option<String>,
        trailer: Option<Segment>,
        messages: u32,
    ) -> Result<(), Finding> {
        let Some(trailer) = trailer else {
            if header.is_none() {
                return Ok(());
            }
            let end = self.bytes.len() as u32;
            return Err(fatal(
                "message-truncated",
                "The interchange has no UNZ, so it cannot be told whether it is whole.",
                "Send the interchange again, whole.",
            )
            .at("UNZ[1]", Span { start: end, end }, self.line, 1));
        };
        let counted = self.text(&trailer, 1, 0).unwrap_or_default();
        if counted.parse::<u32>() != Ok(messages) {
            let text = format!("UNZ says that there are {counted} messages; there are {messages}.");
            return Err(self.refuse(&trailer, "count-differs", text, "Send the interchange again, whole."));
        }
        if header.is_some() && self.text(&trailer, 2, 0) != header {
            self.differ(&trailer, "UNZ and UNB bear different references.");
        }
        Ok(())
    }

    fn begin(&mut self, segment: &Segment) -> Message {
        let root = self.parsed.tree.root();
        let node = self.parsed.tree.push(root, "message", Value::None, segment.span);
        let reference = self.text(segment, 1, 0).unwrap_or_default();
        let mut ordinals = HashMap::new();
        self.segment(segment, node, &mut ordinals, &[1, 2]);
        Message { node, reference, segments: 1, ordinals }
    }

    /// UNT: number of segments with itself, and the reference of UNH (ISO 9735, 7.4).
    fn end(&mut self, mut message: Message, segment: &Segment) -> Result<(), Finding> {
        let node = message.node;
        self.segment(segment, node, &mut message.ordinals, &[1, 2]);
        self.parsed.tree.set_end(node, segment.span.end);
        let counted = self.text(segment, 1, 0).unwrap_or_default();
        let segments = message.segments + 1;
        if counted.parse::<u32>() != Ok(segments) {
            let text = format!("UNT says that the message has {counted} segments; it has {segments}.");
            return Err(self.refuse(segment, "count-differs", text, "Send the message again, whole."));
        }
        if self.text(segment, 2, 0).unwrap_or_default() != message.reference {
            self.differ(segment, "UNT and UNH bear different references.");
        }
        Ok(())
    }

    fn differ(&mut self, segment: &Segment, text: &str) {
        let finding =
            Finding::new(Severity::Warning, "reference-differs", text, "Give both the same reference.");
        let finding = self.placed(finding, segment);
        self.parsed.findings.push(finding);
    }

    fn choose_charset(&mut self, first: &Segment, agreed: Option<Charset>) -> Result<(), Finding> {
        let syntax = self.text(first, 1, 0).filter(|_| first.tag(self.bytes) == b"UNB").unwrap_or_default();
        self.charset = match (agreed, syntax.as_str()) {
            (Some(agreed), _) => agreed,
            (None, "UNOC") => Charset::Latin1,
            (None, "UNOY" | "UNOW") => Charset::Utf8,
            (None, _) => Charset::Ascii,
        };
        self.parsed.facts.charset = Some(self.charset.label().to_owned());
        self.charset.check(self.bytes).map_err(|contradiction| {
            let at = contradiction.at as u32;
            let text = format!("Byte {at} contradicts the character set {}: {}.", self.charset.label(), contradiction.why);
            fatal("charset-contradicted", text, "Send UNB with the syntax of the characters in use (UNOC for Latin letters), or agree on `charset` in mapping.toml.")
                .at("", Span { start: at, end: at + 1 }, 1, 1)
        })
    }

    /// A segment with its elements; elements in `used` were read here.
    fn segment(
        &mut self,
        segment: &Segment,
        parent: NodeId,
        ordinals: &mut HashMap<Symbol, u32>,
        used: &[usize],
    ) {
        // A tag is three letters or digits by the tokenizer.
        let tag = String::from_utf8_lossy(segment.tag(self.bytes)).into_owned();
        let name = self.parsed.tree.intern(&tag);
        let ordinal = ordinals.entry(name).or_default();
        *ordinal += 1;
        let ordinal = *ordinal;
        let number = self.numbers.entry(name).or_default();
        *number += 1;
        let number = *number;
        let node = self.parsed.tree.push_ordinal(parent, name, Value::None, segment.span, ordinal);
        self.parsed.tree.set_anchor(node, &tag, number);
        for (at, element) in segment.elements.iter().enumerate() {
            self.element(element, &format!("{tag}_{at}"), node, used.contains(&at));
        }
    }

    fn element(&mut self, element: &Element, name: &str, parent: NodeId, used: bool) {
        let filled = |span: &&Span| span.end > span.start;
        if element.components.iter().filter(filled).count() == 0 {
            return;
        }
        let name = self.parsed.tree.intern(name);
        if let [only] = element.components.as_slice() {
            let value = self.value(*only);
            let node = self.parsed.tree.push_ordinal(parent, name, value, *only, 1);
            if used {
                self.parsed.coverage.mark(node);
            }
            return;
        }
        let node = self.parsed.tree.push_ordinal(parent, name, Value::None, element.span, 1);
        for (at, component) in element.components.iter().enumerate().filter(|(_, span)| span.end > span.start)
        {
            let name = self.parsed.tree.intern(&format!("C{}", at + 1));
            let value = self.value(*component);
            let node = self.parsed.tree.push_ordinal(node, name, value, *component, 1);
            if used {
                self.parsed.coverage.mark(node);
            }
        }
    }

    fn value(&mut self, span: Span) -> Value {
        let text = tokens::text(self.bytes, span, &self.separators, self.charset);
        Value::Text(self.parsed.tree.keep(&text))
    }

    fn text(&self, segment: &Segment, element: usize, component: usize) -> Option<String> {
        let span = segment.elements.get(element)?.components.get(component)?;
        Some(tokens::text(self.bytes, *span, &self.separators, Charset::Latin1))
            .filter(|text| !text.is_empty())
    }

    fn refuse(&self, segment: &Segment, code: &'static str, text: String, remedy: &str) -> Finding {
        self.placed(fatal(code, text, remedy), segment)
    }

    fn placed(&self, finding: Finding, segment: &Segment) -> Finding {
        let tag = String::from_utf8_lossy(segment.tag(self.bytes)).into_owned();
        finding.at(tag, segment.span, self.line, 1)
    }
}

fn fatal(code: &'static str, text: impl Into<String>, remedy: &str) -> Finding {
    Finding::new(Severity::Fatal, code, text, remedy)
}

#[cfg(test)]
mod tests;
