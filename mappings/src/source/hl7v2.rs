//! HL7 version 2 messages in ER7 ("bars and hats") notation.
//!
//! Bytes of one message -> [`Tree`]: root `message`, segments by their name (`PID`, Z segments too), fields `PID_3` (one
//! node per repetition), components `C1`, `C2`, ..., subcomponents `S1`, `S2`, ... Empty ones have no node. A simple value
//! where a composite is expected answers for its first component and the other way round ([`Tree::text`],
//! [`Tree::named`]). `""` is [`Value::Null`]: the sender asks for removal, which is not the same as saying nothing.
//! Segments of ADT, ORU^R01, ORM^O01, OML^O21, PPR, PGL and MDM stand in the groups of the standard ([`group`]); other
//! messages are flat. Lines that are no segment are kept under `other`, so that nothing disappears.
//!
//! Does not know tables, data types or required fields: that is the map's business. Several messages in one document
//! are for [`split`] first.
//!
//! Source: HL7 v2.5.1 chapter 2 (2.5 message construction rules, 2.7 escape sequences, 2.10.3 batch), table 0211.

mod delimiters;
mod escape;
mod group;
mod read;
mod split;

pub(super) use group::{group_names, segment_names};
pub use split::{Split, split};

use self::{delimiters::Delimiters, read::Reader};
use super::{Facts, Format, Limits, Parsed, Span, Tree, charset::Charset, names};
use crate::{
    finding::{Finding, Severity},
    output::Coverage,
};

/// Reads one message. `charset` is what the sender agreed to use where MSH-18 is empty; without it that means ASCII.
///
/// Total: any bytes give a tree. `Fatal` findings: no MSH, delimiters not usable, message type missing, frame cut off,
/// character set unknown or contradicted by the bytes, several messages, limits.
pub fn parse(bytes: &[u8], charset: Option<Charset>, limits: Limits) -> Parsed {
    let mut parsed = Parsed {
        tree: Tree::with_names(Some(names::hl7v2()), "message", bytes.len()),
        findings: Vec::new(),
        facts: Facts::new(Format::Hl7v2),
        coverage: Coverage::default(),
    };
    parsed.tree.set_components();
    if let Some(refusal) = limits.refuse_length(bytes) {
        parsed.findings.push(refusal);
        return parsed;
    }
    parsed.findings.extend(split::frame_finding(bytes));
    let lines: Vec<Line> = split::lines(bytes).collect();
    let Some((number, header)) = lines.iter().enumerate().find(|(_, l)| l.name(bytes) == b"MSH") else {
        parsed.findings.push(
            Finding::new(
                Severity::Fatal,
                "segment-msh-missing",
                "The document has no MSH segment.",
                "Send the message from its first segment, MSH, on.",
            )
            .at("", Span::default(), 1, 1),
        );
        return parsed;
    };
    let number = number as u32 + 1;
    if let Some(second) = lines.iter().skip(number as usize).position(|l| l.name(bytes) == b"MSH") {
        let line = number + second as u32 + 1;
        parsed.findings.push(
            Finding::new(
                Severity::Fatal,
                "batch-unsplit",
                "The document holds more than one message.",
                "Split the batch; each message is received on its own.",
            )
            .at("MSH[2]", header.span(), line, 1),
        );
    }
    let delimiters = match Delimiters::read(bytes, header) {
        Ok(delimiters) => delimiters,
        Err(finding) => {
            parsed.findings.push(finding.at("MSH[1].MSH_2", header.span(), number, 4));
            return parsed;
        }
    };
    let charset = declared_charset(bytes, header, number, &delimiters, charset, &mut parsed.findings);
    parsed.facts.charset = Some(charset.label().to_owned());

    let mut reader = Reader::new(bytes, delimiters, charset, parsed, limits);
    reader.read(&lines);
    reader.finish()
}

/// What the header of a message says, without reading the rest. Empty where there is no usable header.
pub fn facts(bytes: &[u8]) -> Facts {
    let header = split::lines(bytes).find(|l| l.name(bytes) == b"MSH");
    let header = header.and_then(|l| bytes.get(l.start..l.end)).unwrap_or_default();
    parse(header, None, Limits::default()).facts
}

/// One segment's bytes, without its terminator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    start: usize,
    end: usize,
    /// Whether a terminator follows.
    terminated: bool,
}

impl Line {
    fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.start..self.end.min(self.start + 3)).unwrap_or_default()
    }

    fn span(&self) -> Span {
        span(self.start, self.end)
    }
}

/// Lengths were checked against [`Limits::bytes_max`], which is a `u32`.
fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}

/// The character set of MSH-18, or what its absence means; contradictions become `Fatal` findings.
fn declared_charset(
    bytes: &[u8],
    header: &Line,
    number: u32,
    delimiters: &Delimiters,
    agreed: Option<Charset>,
    findings: &mut Vec<Finding>,
) -> Charset {
    let at = field_of_header(bytes, header, delimiters, 18);
    let raw = bytes.get(at.start as usize..at.end as usize).unwrap_or_default();
    let mut names = raw.split(|&b| b == delimiters.repetition).map(String::from_utf8_lossy);
    let first = names.next().unwrap_or_default().into_owned();
    // Further sets are switched to by escape sequences (HL7 v2.5.1 2.15.9.18): each must be one that can be read.
    let further: Vec<Option<Charset>> =
        names.filter(|name| !name.trim().is_empty()).map(|name| Charset::from_hl7(&name)).collect();
    let place =
        |finding: Finding| finding.at("MSH[1].MSH_18", at, number, at.start - header.start as u32 + 1);
    let charset = match (first.trim().is_empty() || first == "\"\"", Charset::from_hl7(&first)) {
        (true, _) => agreed.unwrap_or(Charset::Ascii),
        (false, Some(charset)) if !further.contains(&None) => charset,
        (false, _) => {
            findings.push(place(Finding::new(
                Severity::Fatal,
                "charset-unknown",
                "MSH-18 names a character set that is not supported.",
                "Send ASCII, 8859/1, 8859/15 or UNICODE UTF-8, and say which in MSH-18.",
            )));
            return Charset::Ascii;
        }
    };
    // With further sets, what one of them can say is no contradiction of the message; values are read in the set in force.
    let can_be = further.iter().flatten().any(|other| other.check(bytes).is_ok());
    if let Err(contradiction) = charset.check(bytes)
        && !can_be
    {
        let whence =
            if first.trim().is_empty() { "taken because MSH-18 is empty" } else { "named by MSH-18" };
        findings.push(place(Finding::new(
            Severity::Fatal,
            "charset-contradicted",
            format!(
                "Byte {} contradicts the character set {}, {whence}: {}.",
                contradiction.at,
                charset.label(),
                contradiction.why
            ),
            "Put the set the bytes are really in into MSH-18, or convert the message to the set named there.",
        )));
    }
    charset
}

/// Bytes of MSH-n; MSH-1 is the separator itself, so field n follows the (n-1)th separator.
fn field_of_header(bytes: &[u8], header: &Line, delimiters: &Delimiters, n: usize) -> Span {
    let line = bytes.get(header.start..header.end).unwrap_or_default();
    let mut start = header.start;
    for (i, field) in line.split(|&b| b == delimiters.field).enumerate() {
        if i + 1 == n {
            return span(start, start + field.len());
        }
        start += field.len() + 1;
    }
    span(header.end, header.end)
}

#[cfg(test)]
mod tests;
