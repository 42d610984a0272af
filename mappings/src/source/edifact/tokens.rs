//! Bytes -> segments with the place of every component. Source: ISO 9735:1988, 6 and annex.

use crate::source::{Span, charset::Charset};

/// The service characters: those of UNA, else the usual ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Separators {
    pub(super) component: u8,
    pub(super) element: u8,
    pub(super) release: Option<u8>,
    pub(super) terminator: u8,
}

/// One segment: its tag and elements. Element 0 holds the components straight after the tag.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) span: Span,
    pub(super) elements: Vec<Element>,
    /// Ended by a terminator.
    pub(super) terminated: bool,
    tag: Span,
}

/// One data element with its components, in order; empty ones included.
#[derive(Debug, Clone)]
pub(super) struct Element {
    pub(super) span: Span,
    pub(super) components: Vec<Span>,
}

impl Segment {
    pub(super) fn tag<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.tag.start as usize..self.tag.end as usize).unwrap_or_default()
    }
}

/// The separators of a document and where its segments begin. UNA is nine bytes: `UNA` and six service characters.
///
/// Errors: why they cannot be used.
pub(super) fn separators(bytes: &[u8]) -> (Result<Separators, &'static str>, usize) {
    let usual = Separators { component: b':', element: b'+', release: Some(b'?'), terminator: b'\'' };
    let start = bytes.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(bytes.len());
    let Some(advice) = bytes.get(start..start + 9).filter(|advice| advice.starts_with(b"UNA")) else {
        return (Ok(usual), 0);
    };
    let &[_, _, _, component, element, _decimal, release, _reserved, terminator] = advice else {
        return (Ok(usual), 0);
    };
    let release = Some(release).filter(|release| *release != b' ');
    let all = [Some(component), Some(element), release, Some(terminator)];
    let same = all.iter().enumerate().any(|(i, a)| a.is_some() && all.iter().skip(i + 1).any(|b| a == b));
    let plain = |b: &u8| b.is_ascii_alphanumeric() || !b.is_ascii() || *b == b' ';
    if same || [component, element, terminator].iter().any(plain) || release.is_some_and(|r| plain(&r)) {
        return (Err("UNA does not give usable separators."), start + 9);
    }
    (Ok(Separators { component, element, release, terminator }), start + 9)
}

/// Segments of a document, one after the other. White space between them does not count.
pub(super) struct Segments<'b> {
    bytes: &'b [u8],
    at: usize,
    separators: Separators,
}

impl<'b> Segments<'b> {
    pub(super) fn new(bytes: &'b [u8], start: usize, separators: Separators) -> Segments<'b> {
        Segments { bytes, at: start, separators }
    }
}

impl Iterator for Segments<'_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        let rest = self.bytes.get(self.at..)?;
        let skipped = rest.iter().position(|b| !b.is_ascii_whitespace() && *b != 0x1A)?;
        let start = self.at + skipped;
        let mut elements: Vec<Element> = Vec::new();
        let mut components: Vec<Span> = Vec::new();
        let (mut from, mut element_from) = (start, start);
        let mut tag = None;
        let mut at = start;
        let mut terminated = false;
        let Separators { component, element, release, terminator } = self.separators;
        while let Some(&byte) = self.bytes.get(at) {
            if Some(byte) == release {
                at += 2;
                continue;
            }
            let ends_segment = byte == terminator;
            if byte != component && byte != element && !ends_segment {
                at += 1;
                continue;
            }
            let part = Span { start: from as u32, end: at as u32 };
            match tag {
                None => {
                    tag = Some(part);
                    element_from = at + 1;
                }
                Some(_) => components.push(part),
            }
            if byte == element || ends_segment {
                let span = Span { start: element_from.min(at) as u32, end: at as u32 };
                elements.push(Element { span, components: std::mem::take(&mut components) });
                element_from = at + 1;
            }
            at += 1;
            from = at;
            if ends_segment {
                terminated = true;
                break;
            }
        }
        let end = at.min(self.bytes.len());
        self.at = end;
        let tag = tag.unwrap_or(Span { start: start as u32, end: end as u32 });
        Some(Segment { span: Span { start: start as u32, end: end as u32 }, elements, terminated, tag })
    }
}

/// Text of a component: release characters taken away, bytes decoded.
pub(super) fn text(bytes: &[u8], span: Span, separators: &Separators, charset: Charset) -> String {
    let raw = bytes.get(span.start as usize..span.end as usize).unwrap_or_default();
    let Some(release) = separators.release.filter(|release| raw.contains(release)) else {
        return charset.decode(raw).into_owned();
    };
    let mut out = Vec::with_capacity(raw.len());
    let mut released = false;
    for &byte in raw {
        if byte == release && !released {
            released = true;
            continue;
        }
        released = false;
        out.push(byte);
    }
    charset.decode(&out).into_owned()
}
