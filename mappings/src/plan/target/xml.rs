//! A logical model written out in the XML its definition gives it: CDA above all.
//!
//! Where a value goes, `ElementDefinition.representation` says (FHIR R4 valueset-property-representation.html): an attribute, the text
//! of its element, or, for simple values of models that say neither, an attribute `value` as FHIR's own XML has it (xml.html).
//! The type an element really has is told in `xsi:type` where the model asks for it. What is written reads back as it was
//! ([`crate::source::xml`]).

use std::fmt::Write as _;

use super::{Arena, TargetId};
use crate::model::{Form, XmlName};

/// Why there is no XML of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum XmlError {
    /// Longer than allowed.
    TooLong,
    /// A character XML 1.0 has no way to write (section 2.2), in the element of that name.
    Character(String),
}

struct Writer<'a> {
    out: String,
    bytes_max: usize,
    home: &'a str,
    /// Namespaces besides the home's, in the order they are met; their prefixes follow from that.
    others: Vec<&'a str>,
    typed: bool,
}

impl Arena<'_> {
    /// XML text of a root whose model has a namespace. `None`: it has none, so no XML is due.
    pub(crate) fn xml(&self, root: TargetId, bytes_max: usize) -> Option<Result<String, XmlError>> {
        let home = self.shapes.namespace(self.get(root)?.type_id)?;
        let mut writer = Writer { out: String::new(), bytes_max, home, others: Vec::new(), typed: false };
        let name = self.type_name(root);
        Some(self.xml_element(root, name, false, &mut writer).map(|()| {
            let mut open = format!("<{name} xmlns=\"");
            escape(home, true, &mut open);
            open.push('"');
            if writer.typed {
                open.push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
            }
            for (at, namespace) in writer.others.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(open, " xmlns:{}=\"", prefix(at, namespace));
                escape(namespace, true, &mut open);
                open.push('"');
            }
            format!("{open}{}", writer.out.get(name.len() + 1..).unwrap_or_default())
        }))
    }

    fn xml_element<'a>(
        &'a self,
        id: TargetId,
        name: &str,
        typed: bool,
        writer: &mut Writer<'a>,
    ) -> Result<(), XmlError> {
        let Some(node) = self.get(id) else { return Ok(()) };
        if writer.out.len() > writer.bytes_max {
            return Err(XmlError::TooLong);
        }
        writer.out.push('<');
        writer.out.push_str(name);
        if typed {
            writer.typed = true;
            let _ = write!(writer.out, " xsi:type=\"{}\"", self.type_name(id));
        }
        if let Some(value) = node.value {
            writer.attribute("value", value.text())?;
        }
        let (mut inner, mut said): (Vec<TargetId>, Option<TargetId>) = (Vec::new(), None);
        for (child, node) in self.children(id) {
            let Some(field) = node.field else { continue };
            match self.shapes.field(field).xml.form {
                Form::Attribute => {
                    let (name, text) = (self.qualified(child, writer), self.text(child));
                    if let Some(text) = text {
                        writer.attribute(&name, text)?;
                    }
                }
                Form::Text => said = Some(child),
                Form::Element => inner.push(child),
            }
        }
        let text = said.and_then(|said| self.text(said));
        if inner.is_empty() && text.is_none() {
            writer.out.push_str("/>");
            return Ok(());
        }
        writer.out.push('>');
        if let Some(text) = text {
            writer.text(name, text)?;
        }
        for child in inner {
            let name = self.qualified(child, writer);
            let typed = self
                .get(child)
                .and_then(|child| child.field)
                .is_some_and(|field| self.shapes.field(field).xml.typed);
            self.xml_element(child, &name, typed, writer)?;
        }
        let _ = write!(writer.out, "</{name}>");
        Ok(())
    }

    /// An element's or attribute's name in XML, with the prefix of its namespace where it is not the document's.
    fn qualified<'a>(&'a self, id: TargetId, writer: &mut Writer<'a>) -> String {
        let Some(field) = self.get(id).and_then(|node| node.field) else { return String::new() };
        let field = self.shapes.field(field);
        let XmlName { name, namespace } = &field.xml.name;
        let name = name.as_deref().unwrap_or(&field.name);
        match namespace.as_deref().filter(|namespace| *namespace != writer.home) {
            None => name.to_owned(),
            Some(namespace) => {
                let known = writer.others.iter().position(|other| *other == namespace);
                let at = known.unwrap_or_else(|| {
                    writer.others.push(namespace);
                    writer.others.len() - 1
                });
                format!("{}:{name}", prefix(at, namespace))
            }
        }
    }
}

impl Writer<'_> {
    fn attribute(&mut self, name: &str, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(is_xml) {
            return Err(XmlError::Character(name.to_owned()));
        }
        let _ = write!(self.out, " {name}=\"");
        escape(text, true, &mut self.out);
        self.out.push('"');
        Ok(())
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(is_xml) {
            return Err(XmlError::Character(name.to_owned()));
        }
        escape(text, false, &mut self.out);
        Ok(())
    }
}

/// The prefix HL7 gives the namespace of its extensions, else one by number.
fn prefix(at: usize, namespace: &str) -> String {
    match namespace {
        "urn:hl7-org:sdtc" => "sdtc".to_owned(),
        _ => format!("n{at}"),
    }
}

/// XML 1.0, section 2.2.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

/// White space in attributes as references, or a reader makes spaces of it (XML 1.0, 3.3.3); `\r` everywhere (2.11).
fn escape(text: &str, attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' if attribute => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            '\n' if attribute => out.push_str("&#10;"),
            '\t' if attribute => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
}
