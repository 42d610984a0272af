//! The narrative's markup, taken over as it is. Source: FHIR R4 narrative.html, xml.html

use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};

use super::XHTML;

const PREFIX: &str = "the narrative uses a namespace prefix or another namespace than XHTML; write <div \
                      xmlns=\"http://www.w3.org/1999/xhtml\"> and its elements without prefix";
const MARKUP: &str = "the narrative is not well-formed; close every element and quote every attribute";
const ENTITY: &str = "the narrative uses an entity that XML does not have; write the character itself";

/// Whether a `div` can stand in XML as it is: one well-formed element of XHTML, without prefixes, entities and
/// declarations. What the elements are is for `validate`.
pub(super) fn check(div: &str, depth_max: usize) -> Result<(), &'static str> {
    let mut reader = NsReader::from_str(div);
    reader.config_mut().check_comments = true;
    let (mut depth, mut roots) = (0_usize, 0_usize);
    loop {
        match reader.read_event().map_err(|_| MARKUP)? {
            Event::Start(tag) => {
                roots += usize::from(depth == 0);
                depth += 1;
                if depth > depth_max {
                    return Err("the narrative is nested too deep; flatten it");
                }
                element(&reader, &tag)?;
            }
            Event::Empty(tag) => {
                roots += usize::from(depth == 0);
                element(&reader, &tag)?;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::GeneralRef(reference) if depth > 0 => {
                let known = match reference.resolve_char_ref() {
                    Ok(Some(c)) => super::is_xml(c),
                    Ok(None) => matches!(&*reference, "lt" | "gt" | "amp" | "quot" | "apos"),
                    Err(_) => false,
                };
                if !known {
                    return Err(ENTITY);
                }
            }
            Event::Text(text) if depth > 0 || text.trim().is_empty() => {}
            Event::Comment(_) => {}
            Event::CData(_) if depth > 0 => {}
            Event::Eof => break,
            _ => return Err("the narrative holds more than one div; send elements and text only"),
        }
    }
    if roots == 1 && depth == 0 { Ok(()) } else { Err("the narrative is one div; put everything into it") }
}

fn element(reader: &NsReader<&[u8]>, tag: &quick_xml::events::BytesStart<'_>) -> Result<(), &'static str> {
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| MARKUP)?;
        let prefix = attribute.key.prefix();
        if prefix.is_some_and(|prefix| prefix.as_ref() != "xml") {
            return Err(PREFIX);
        }
        if attribute.value.contains('<') {
            return Err(MARKUP);
        }
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| ENTITY)?;
        if !value.chars().all(super::is_xml) {
            return Err(ENTITY);
        }
    }
    match reader.resolver().resolve_element(tag.name()).0 {
        ResolveResult::Bound(Namespace(space)) if space == XHTML && tag.name().prefix().is_none() => Ok(()),
        _ => Err(PREFIX),
    }
}
