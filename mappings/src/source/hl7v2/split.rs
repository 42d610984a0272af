//! From received bytes to segments and messages: terminators, MLLP frame bytes, batch envelopes.

use super::Line;
use crate::{
    finding::{Finding, Severity},
    source::Span,
};

const START_BLOCK: u8 = 0x0B;
const END_BLOCK: u8 = 0x1C;

/// The messages in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Each from its MSH up to the next message or the end of the batch; at least one, the whole document.
    pub messages: Vec<Span>,
    /// What is wrong about the envelope: a batch not closed, a count that does not fit.
    pub findings: Vec<Finding>,
}

/// Finds the messages in a document: one as a rule, more in a batch (FHS/BHS ... BTS/FTS) or a plain concatenation.
///
/// The envelope itself belongs to no message. An unclosed batch is an `Error` finding: the messages that are there are
/// whole, what is missing must be sent. Source: HL7 v2.5.1 2.10.3.
pub fn split(bytes: &[u8]) -> Split {
    let mut messages: Vec<Span> = Vec::new();
    let mut findings = Vec::new();
    let mut open: [Option<(u32, Span)>; 2] = [None, None];
    let mut in_batch = 0_usize;
    let mut inside = false;
    for (i, line) in lines(bytes).enumerate() {
        let number = i as u32 + 1;
        match line.name(bytes) {
            b"MSH" => {
                messages.push(line.span());
                in_batch += 1;
                inside = true;
            }
            b"FHS" => (open[0], inside) = (Some((number, line.span())), false),
            b"BHS" => (open[1], in_batch, inside) = (Some((number, line.span())), 0, false),
            b"BTS" => {
                findings.extend(count_finding(bytes, &line, number, in_batch));
                (open[1], inside) = (None, false);
            }
            b"FTS" => (open[0], inside) = (None, false),
            _ if inside => {
                if let Some(message) = messages.last_mut() {
                    message.end = line.end as u32;
                }
            }
            // Before the first message, or between a header and it: no message has it, so it is said here.
            _ if !messages.is_empty() || open.iter().any(Option::is_some) => {
                findings.push(
                    Finding::new(
                        Severity::Error,
                        "batch-stray",
                        "A line of the batch belongs to no message.",
                        "Send each message from its MSH on; only FHS, BHS, BTS and FTS stand outside.",
                    )
                    .at("", line.span(), number, 1),
                );
            }
            _ => {}
        }
        if let (true, Some(message)) = (inside, messages.last_mut()) {
            // The terminator belongs to the message: the parser tells a cut segment by it.
            message.end = line.end as u32 + u32::from(line.terminated);
        }
    }
    for (header, trailer, open) in [("FHS", "FTS", open[0]), ("BHS", "BTS", open[1])] {
        if let Some((number, at)) = open {
            findings.push(
                Finding::new(
                    Severity::Error,
                    "batch-truncated",
                    format!("{header} is not closed by {trailer}: the batch may be cut off."),
                    "Send the rest of the batch; messages already received are recognised by MSH-10.",
                )
                .at(format!("{header}[1]"), at, number, 1),
            );
        }
    }
    if messages.len() < 2 && findings.is_empty() && !bytes.starts_with(b"FHS") && !bytes.starts_with(b"BHS") {
        messages = vec![Span { start: 0, end: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }];
    }
    Split { messages, findings }
}

/// BTS-1 says how many messages the batch holds.
fn count_finding(bytes: &[u8], line: &Line, number: u32, in_batch: usize) -> Option<Finding> {
    let rest = bytes.get(line.start + 4..line.end)?;
    let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).collect();
    let said: usize = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    (said != in_batch).then(|| {
        Finding::new(
            Severity::Error,
            "batch-count",
            format!("BTS-1 counts {said} messages, the batch holds {in_batch}."),
            "Send the batch again, whole.",
        )
        .at("BTS[1].BTS_1", line.span(), number, 5)
    })
}

/// Segments with their terminators (`\r`, `\n`, `\r\n`) and MLLP frame bytes taken off; empty lines are none.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = Line> + '_ {
    let mut at = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    std::iter::from_fn(move || {
        while bytes.get(at).is_some_and(|&b| is_terminator(b)) {
            at += 1;
        }
        let rest = bytes.get(at..).filter(|r| !r.is_empty())?;
        let length = rest.iter().position(|&b| is_terminator(b));
        let line = Line { start: at, end: at + length.unwrap_or(rest.len()), terminated: length.is_some() };
        at = line.end;
        Some(line)
    })
}

fn is_terminator(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | START_BLOCK | END_BLOCK)
}

/// A frame that was opened and not closed: the connection broke. Source: HL7 MLLP release 1, block format.
pub(super) fn frame_finding(bytes: &[u8]) -> Option<Finding> {
    (bytes.first() == Some(&START_BLOCK) && !bytes.contains(&END_BLOCK)).then(|| {
        let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let segments = lines(bytes).count() as u32;
        Finding::new(
            Severity::Fatal,
            "message-truncated",
            format!("The MLLP frame is not closed: the message ends in segment {segments}."),
            "Send the message again, whole.",
        )
        .at("", Span { start: end, end }, segments, 0)
    })
}
