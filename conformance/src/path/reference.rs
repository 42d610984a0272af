//! The text of a reference, taken apart. Source: FHIR R4 references.html#literal

use std::borrow::Cow;

use crate::definitions::{Definitions, TypeId};

/// What a reference points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceTarget<'d> {
    /// `Patient/1` or `Patient/1/_history/2`, on this server.
    Relative {
        /// The type.
        type_: TypeId,
        /// The logical id.
        id: Cow<'d, str>,
        /// The version, when the reference is to one.
        version: Option<Cow<'d, str>>,
    },
    /// A whole address (`https://...`, `urn:uuid:...`); when it ends like a relative reference, those parts too. Whether
    /// its base is this server's own is for the gateway to say.
    Absolute {
        /// The address.
        url: Cow<'d, str>,
        /// Type, id and version at its end.
        tail: Option<Tail<'d>>,
    },
    /// A logical reference: `Reference.identifier`.
    Identifier {
        /// Namespace.
        system: Option<Cow<'d, str>>,
        /// Value.
        value: Cow<'d, str>,
    },
}

/// Type, id and version a reference ends in.
pub type Tail<'d> = (TypeId, Cow<'d, str>, Option<Cow<'d, str>>);

/// Reads the text of `Reference.reference`.
///
/// `None`: a fragment (`#x` is inside the same resource), an empty text, or a text that is neither `[type]/[id]` of a known
/// type nor an address with a scheme.
pub fn parse_reference<'d>(definitions: &Definitions, text: Cow<'d, str>) -> Option<ReferenceTarget<'d>> {
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let tail = tail(definitions, &text).map(|tail| {
        let part = |range: std::ops::Range<usize>| match &text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
            Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_owned()),
        };
        (tail.starts_at, (tail.type_, part(tail.id), tail.version.map(part)))
    });
    if has_scheme(&text) {
        let tail = tail.map(|(_, tail)| tail);
        return Some(ReferenceTarget::Absolute { url: text, tail });
    }
    match tail {
        Some((0, (type_, id, version))) => Some(ReferenceTarget::Relative { type_, id, version }),
        _ => None,
    }
}

/// Whether a text begins with a URI scheme (RFC 3986 section 3.1).
pub(crate) fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

/// Whether a text is a FHIR id: 1 to 64 letters, digits, `-` and `.`. Source: FHIR R4 datatypes.html#id
pub(crate) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

struct Place {
    starts_at: usize,
    type_: TypeId,
    id: std::ops::Range<usize>,
    version: Option<std::ops::Range<usize>>,
}

/// `[type]/[id]` or `[type]/[id]/_history/[version]` at the end of a text; a fragment behind it is left off.
fn tail(definitions: &Definitions, text: &str) -> Option<Place> {
    let text = text.split('#').next().unwrap_or(text);
    let (resource, version) = match text.split_once("/_history/") {
        Some((resource, version)) => (resource, Some(version).filter(|version| is_id(version))?.into()),
        None => (text, None::<&str>),
    };
    let (before, id) = resource.rsplit_once('/')?;
    let starts_at = before.rfind('/').map_or(0, |at| at + 1);
    let type_ = definitions.resource_type(before.get(starts_at..)?)?;
    if !is_id(id) {
        return None;
    }
    let version = version.map(|version| text.len() - version.len()..text.len());
    Some(Place { starts_at, type_, id: resource.len() - id.len()..resource.len(), version })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::definitions::r4;

    fn parse(text: &str) -> Option<ReferenceTarget<'_>> {
        parse_reference(r4(), Cow::Borrowed(text))
    }

    #[test]
    fn references_come_apart() {
        let patient = r4().resource_type("Patient").unwrap();
        let one = |version: Option<&'static str>| (patient, Cow::from("1"), version.map(Cow::from));
        let relative = |(type_, id, version)| Some(ReferenceTarget::Relative { type_, id, version });
        assert_eq!(parse("Patient/1"), relative(one(None)));
        assert_eq!(parse("Patient/1/_history/2"), relative(one(Some("2"))));
        for (text, tail) in [
            ("https://x.nl/fhir/Patient/1", Some(one(None))),
            ("https://x.nl/fhir/Patient/1/_history/a#b", Some(one(Some("a")))),
            ("urn:uuid:0f3c8d3e-5f0e-4c7e-9d52-6a8ed8f26b3a", None),
            ("https://x.nl/Patient", None),
        ] {
            assert_eq!(parse(text), Some(ReferenceTarget::Absolute { url: text.into(), tail }));
        }
    }

    #[test]
    fn what_is_no_reference_gives_none() {
        let long = format!("Patient/{}", "a".repeat(65));
        for text in [
            "",
            "#a",
            "Patient",
            "Foo/1",
            "Patient/1/x",
            "x/Patient/1",
            "Patient/a b",
            "/Patient/1",
            "Patient/1/_history/",
            &long,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
