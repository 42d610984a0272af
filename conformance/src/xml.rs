//! FHIR XML to the lossless JSON tree and back, driven by the element table.
//!
//! One codec for every body: what comes in as `application/fhir+xml` is read to the same [`Doc`] a JSON body gives, and
//! answers in XML are written from that tree. The table says what XML leaves unsaid (which elements repeat, which values
//! are numbers) and what JSON leaves unsaid (the order of elements, which ones are attributes). Digits, dates and text
//! come through as they are written; the narrative is kept as its own markup.
//!
//! XML that has no place in FHIR is refused: document types (so there are no entities to expand), mixed text, elements
//! out of order. Comments, processing instructions and `xsi:schemaLocation` carry no content and are left out on reading.
//! Neither direction judges a resource: that is for `validate`, in whichever notation it came.
//! Source: FHIR R4 xml.html, json.html

mod error;
mod narrative;
mod read;
mod write;

pub use error::{XmlError, XmlErrorKind, XmlWriteError, XmlWriteErrorKind};

use crate::definitions::{Definitions, Element, Structure, StructureKind};
use crate::json::{Doc, JsonLimits, Node};

/// Namespace of FHIR resources.
pub const FHIR: &str = "http://hl7.org/fhir";

const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// Elements inside each other that are read or written; the limits may say less. A tree within `validate`'s own bound fits.
const DEPTH_MAX: usize = 256;

/// Reads a resource in XML as the tree its JSON would give. Properties stand in the order of the document, `resourceType`
/// first; the text of the tree is that JSON, so places in it are not places in the XML.
///
/// `limits` count elements inside each other, and elements plus attributes.
/// Errors: [`XmlError`] with the first fault in reading order.
/// Source: FHIR R4 xml.html
pub fn read(definitions: &Definitions, text: &[u8], limits: JsonLimits) -> Result<Doc, XmlError> {
    read::read(definitions, text, limits)
}

/// Writes a resource as XML; `pretty` indents, and leaves the narrative as it is.
///
/// Errors: [`XmlWriteError`] for a tree that is not of R4's structure, and for text that XML 1.0 cannot carry.
/// Source: FHIR R4 xml.html
pub fn write(definitions: &Definitions, root: Node<'_>, pretty: bool) -> Result<String, XmlWriteError> {
    write::write(definitions, root, pretty)
}

/// Whether XML writes the element as an attribute: `Element.id` and `Extension.url`, nothing else in R4.
/// Source: FHIR R4 xml.html, ElementDefinition.representation of the two
fn is_attribute(structure: &Structure, element: &Element) -> bool {
    structure.kind != StructureKind::Resource && matches!(element.path, "Element.id" | "Extension.url")
}

/// Whether XML 1.0 can carry the character. Source: XML 1.0 section 2.2
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
