//! First stage: which notation a document is in, by its media type and its first bytes. Reads nothing more of it.

use sluis_mappings::source::Format;

use crate::connection::header;
use crate::connection::request::Document;
use crate::response::refusal::{Reason, Refusal};

/// How a document is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// By the mapping folder of the sender.
    Mapped(Format),
    /// FHIR R4 JSON: no map, the resources are taken as they are.
    R4,
    /// FHIR R4 XML, likewise.
    R4Xml,
}

/// Media types of `$ingest`, as a refusal and the documentation name them.
pub const ACCEPTED: &[&str] = &[
    "application/hl7-v2",
    "x-application/hl7-v2+er7",
    "text/csv",
    "application/edifact",
    "application/fhir+json; fhirVersion=3.0",
    "application/fhir+json; fhirVersion=4.0",
    "application/json",
    "application/xml",
    "text/xml",
    "application/hl7-cda",
    "application/fhir+xml; fhirVersion=3.0",
    "application/fhir+xml; fhirVersion=4.0",
];

impl Notation {
    /// The notation of a document.
    ///
    /// `application/fhir+json` without `fhirVersion` is R4, the version this gateway speaks (FHIR R4
    /// http.html#version-parameter).
    /// Errors: `MediaType` naming what is accepted; `Malformed` for an empty body, XML where something else is due or the
    /// other way round.
    pub fn of(document: &Document) -> Result<Notation, Refusal> {
        let notation = match &*document.media {
            "application/hl7-v2" | "application/hl7-v2+er7" | "x-application/hl7-v2+er7" => {
                Notation::Mapped(Format::Hl7v2)
            }
            "text/csv" => Notation::Mapped(Format::Csv),
            // RFC 1767; media types are compared in lower case.
            "application/edifact" => Notation::Mapped(Format::Edifact),
            "application/json" => Notation::Mapped(Format::Json),
            "application/fhir+json" => fhir_version(document)?,
            // RFC 7303: application/xml and text/xml are one; HL7 has no registered type for CDA.
            "application/xml" | "text/xml" | "application/hl7-cda" | "application/hl7-cda+xml" => {
                Notation::Mapped(Format::Xml)
            }
            "application/fhir+xml" => match fhir_version(document)? {
                Notation::R4 | Notation::R4Xml => Notation::R4Xml,
                Notation::Mapped(_) => Notation::Mapped(Format::Xml),
            },
            "application/hl7-v2+xml" => return Err(refused("HL7v2 is read in bars and hats, not as XML.")),
            _ => return Err(refused("")),
        };
        let bytes = document.bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&document.bytes);
        match bytes.iter().find(|b| !b.is_ascii_whitespace()) {
            None => Err(Refusal::new(Reason::Malformed, "The body is empty.")),
            Some(b'<') if !notation.is_xml() => {
                let text = format!("The body is XML, but its content type is {}.", document.media);
                Err(Refusal::new(Reason::Malformed, text))
            }
            Some(first) if *first != b'<' && notation.is_xml() => {
                let text = format!("The content type is {}, but the body is no XML.", document.media);
                Err(Refusal::new(Reason::Malformed, text))
            }
            Some(_) => Ok(notation),
        }
    }

    /// Whether it is FHIR R4, taken without a map.
    pub fn is_r4(self) -> bool {
        matches!(self, Notation::R4 | Notation::R4Xml)
    }

    fn is_xml(self) -> bool {
        matches!(self, Notation::R4Xml | Notation::Mapped(Format::Xml))
    }

    /// Short name, for receipts, quarantine entries and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Notation::Mapped(format) => format.as_str(),
            Notation::R4 => "r4",
            Notation::R4Xml => "r4-xml",
        }
    }

    /// The notation of a short name.
    pub fn parse(text: &str) -> Option<Notation> {
        [Format::Hl7v2, Format::Csv, Format::Edifact, Format::Json, Format::Xml]
            .map(Notation::Mapped)
            .into_iter()
            .chain([Notation::R4, Notation::R4Xml])
            .find(|notation| notation.as_str() == text)
    }
}

fn fhir_version(document: &Document) -> Result<Notation, Refusal> {
    let version = document.media_parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case("fhirversion"));
    match version.map(|(_, value)| value.as_ref()) {
        None => Ok(Notation::R4),
        Some(version) if header::is_r4(version) => Ok(Notation::R4),
        Some("3.0" | "3.0.1" | "3.0.2") => Ok(Notation::Mapped(Format::Json)),
        Some(_) => Err(refused("Of FHIR, versions 3.0 and 4.0 are read.")),
    }
}

fn refused(why: &str) -> Refusal {
    let list = ACCEPTED.join(", ");
    let gap = if why.is_empty() { "" } else { " " };
    Refusal::new(Reason::MediaType, format!("{why}{gap}$ingest takes: {list}."))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn document(media: &str, version: Option<&str>, bytes: &'static [u8]) -> Document {
        Document {
            media: media.into(),
            media_parameters: version.map(|v| ("fhirVersion".into(), v.into())).into_iter().collect(),
            bytes: Bytes::from_static(bytes),
            idempotency_key: None,
        }
    }

    #[test]
    fn the_media_type_chooses_the_notation() {
        let of = |media, version| Notation::of(&document(media, version, b"x")).ok();
        let xml = |media, version| Notation::of(&document(media, version, b" <x/>")).ok();
        assert_eq!(xml("application/xml", None), Some(Notation::Mapped(Format::Xml)));
        assert_eq!(xml("application/hl7-cda", None), Some(Notation::Mapped(Format::Xml)));
        assert_eq!(xml("application/fhir+xml", Some("3.0")), Some(Notation::Mapped(Format::Xml)));
        assert_eq!(xml("application/fhir+xml", None), Some(Notation::R4Xml));
        assert_eq!(xml("application/fhir+xml", Some("4.0")), Some(Notation::R4Xml));
        assert_eq!(of("application/fhir+xml", None), None);
        assert_eq!(of("x-application/hl7-v2+er7", None), Some(Notation::Mapped(Format::Hl7v2)));
        assert_eq!(of("text/csv", None), Some(Notation::Mapped(Format::Csv)));
        assert_eq!(of("application/json", None), Some(Notation::Mapped(Format::Json)));
        assert_eq!(of("application/fhir+json", Some("3.0")), Some(Notation::Mapped(Format::Json)));
        assert_eq!(of("application/fhir+json", Some("4.0")), Some(Notation::R4));
        assert_eq!(of("application/fhir+json", Some("4.3")), Some(Notation::R4));
        assert_eq!(of("application/fhir+json", None), Some(Notation::R4));
    }

    #[test]
    fn what_is_not_read_is_refused_with_what_is() {
        for (media, version) in [
            ("application/pdf", None),
            ("application/hl7-v2+xml", None),
            ("application/fhir+json", Some("5.0")),
        ] {
            let refusal = Notation::of(&document(media, version, b"x")).err();
            assert_eq!(refusal.as_ref().map(|r| r.reason), Some(Reason::MediaType), "{media}");
            assert!(refusal.is_some_and(|r| r.details.contains("text/csv")));
        }
    }

    #[test]
    fn xml_and_nothing_at_all_are_not_well_formed() {
        for bytes in [&b"  <Bundle/>"[..], b"\xEF\xBB\xBF<a/>", b"", b"\r\n"] {
            let document =
                Document { bytes: Bytes::from_static(bytes), ..document("application/json", None, b"") };
            assert_eq!(Notation::of(&document).err().map(|r| r.reason), Some(Reason::Malformed));
        }
        let document = document("application/xml", None, b"{}");
        assert_eq!(Notation::of(&document).err().map(|r| r.reason), Some(Reason::Malformed));
    }

    #[test]
    fn short_names_are_read_back() {
        for format in [Format::Hl7v2, Format::Csv, Format::Edifact, Format::Json, Format::Xml] {
            let notation = Notation::Mapped(format);
            assert_eq!(Notation::parse(notation.as_str()), Some(notation));
        }
        assert_eq!(Notation::parse("r4"), Some(Notation::R4));
        assert_eq!(Notation::parse("r4-xml"), Some(Notation::R4Xml));
    }
}
