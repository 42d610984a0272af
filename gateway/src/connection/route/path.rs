//! A path, segment by segment: split first, decoded after, so that an encoded slash never makes two segments of one.

use percent_encoding::percent_decode_str;

use super::table::RESERVED;
use super::{Segment, id, resource_type};
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};

/// What a path says besides which row it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    /// Resource type.
    pub kind: Option<ResourceType>,
    /// Second resource type: what is searched in a compartment.
    pub inner: Option<ResourceType>,
    id: Option<Box<str>>,
    version: Option<Box<str>>,
    file: Option<Box<str>>,
}

impl Captures {
    /// The type; a row that has none in its shape is a fault of the table.
    pub(super) fn resource_type(&self) -> Result<ResourceType, Refusal> {
        self.kind.ok_or_else(|| Refusal::new(Reason::Internal, "").because("a row without a type"))
    }

    /// The id. One that no resource can have is not found, like any other that is not there.
    pub(super) fn id(&self) -> Result<ResourceId, Refusal> {
        id(self.id.as_deref().unwrap_or_default())
    }

    /// Whether the shape has an id.
    pub(super) fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// The id, when it has the form of one.
    pub(super) fn id_if_valid(&self) -> Option<ResourceId> {
        ResourceId::parse(self.id.as_deref()?)
    }

    /// The version; `None` for one this gateway never gives out.
    pub(super) fn version(&self) -> Option<u32> {
        let text = self.version.as_deref()?;
        // The one spelling a version has: `+3` and `03` name none.
        text.parse().ok().filter(|version: &u32| version.to_string() == text)
    }

    /// Name of a file, of a form that cannot leave a folder.
    pub(super) fn file(&self) -> Result<Box<str>, Refusal> {
        let name = self.file.as_deref().unwrap_or_default();
        let form = (1..=128).contains(&name.len())
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if form { Ok(name.into()) } else { Err(Refusal::not_found()) }
    }
}

/// The decoded segments of a path; none for `/`.
///
/// Errors: `Malformed` for broken percent-encoding, for control characters, and for what other programs read as a step
/// out of a folder (`..`, an encoded slash or backslash).
pub(super) fn segments(path: &str) -> Result<Vec<String>, Refusal> {
    let malformed = |text: &str| Refusal::new(Reason::Malformed, text);
    let rest = path.strip_prefix('/').ok_or_else(|| malformed("The path does not begin with a slash."))?;
    // The base has two spellings, with and without a slash at its end (FHIR R4 http.html#general).
    let rest = rest.strip_suffix('/').filter(|base| *base == "fhir").unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    rest.split('/')
        .map(|raw| {
            if !crate::connection::query::is_percent_encoded(raw) {
                return Err(malformed("The percent-encoding of the path is broken."));
            }
            let text =
                percent_decode_str(raw).decode_utf8().map_err(|_| malformed("The path is not UTF-8."))?;
            if text == "." || text == ".." || text.contains(['/', '\\']) || text.contains(char::is_control) {
                return Err(malformed("The path may not step outside itself."));
            }
            Ok(text.into_owned())
        })
        .collect()
}

/// What the path says, if it has this shape.
///
/// Errors: `UnknownType` when only the type is not one of R4.
pub(super) fn matches(shape: &[Segment], segments: &[String]) -> Result<Option<Captures>, Refusal> {
    if shape.len() != segments.len() || !shape.iter().zip(segments).all(|(part, text)| fits(*part, text)) {
        return Ok(None);
    }
    let mut captures = Captures::default();
    for (part, text) in shape.iter().zip(segments) {
        let slot = match part {
            Segment::Text(_) => continue,
            Segment::Type => {
                let kind = resource_type(text)?;
                match captures.kind {
                    None => captures.kind = Some(kind),
                    // The second is what a compartment is searched for; the first is the one that counts.
                    Some(_) => captures.inner = Some(kind),
                }
                continue;
            }
            Segment::Id => &mut captures.id,
            Segment::Version => &mut captures.version,
            Segment::File => &mut captures.file,
        };
        *slot = Some(text.as_str().into());
    }
    Ok(Some(captures))
}

fn fits(part: Segment, text: &str) -> bool {
    match part {
        Segment::Text(expected) => text == expected,
        // `_history`, `$export` and `.well-known` are never a type or an id.
        Segment::Type => !text.starts_with(['_', '$', '.']) && !text.is_empty() && !RESERVED.contains(&text),
        Segment::Id | Segment::Version | Segment::File => !text.starts_with(['_', '$']) && !text.is_empty(),
    }
}
