//! What people wrote in a resource: its narrative, and the texts of its elements. Source: FHIR R4 search.html#text
//!
//! Texts are values of type `string`, `markdown`, `code` and `xhtml`, at any depth, contained resources and extensions
//! included. Addresses, ids, dates, numbers and data in base64 are no texts. An element the definitions do not know gives none.

use std::borrow::Cow;

use crate::definitions::{Definitions, Structure, StructureKind};
use crate::json::{Kind, Node};

/// The texts of a resource, in the order they stand in. One that was there just before (a display said again) is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts<'d> {
    /// Text of `Resource.text.div`, without its markup; empty without one.
    pub narrative: String,
    /// Every other text.
    pub rest: Vec<Cow<'d, str>>,
}

/// The texts of a resource. Whether it is valid is not asked, as in [`super::extract`].
pub fn texts<'d>(definitions: &Definitions, root: Node<'d>) -> Texts<'d> {
    let mut texts = Texts::default();
    let div = root.get("text").and_then(|text| text.get("div"));
    if let Some(div) = div.and_then(Node::as_str) {
        texts.narrative = plain(&div);
    }
    let mut walk = Walk { definitions, narrative: div.map(Node::span), texts: &mut texts };
    walk.resource(root);
    texts
}

/// Texts looked back at for one that says the same.
const REPEATS_WITHIN: usize = 8;

struct Walk<'w, 'd> {
    definitions: &'w Definitions,
    /// Where the narrative stands, which is read already.
    narrative: Option<std::ops::Range<usize>>,
    texts: &'w mut Texts<'d>,
}

impl<'d> Walk<'_, 'd> {
    fn repeats(&self, text: &str) -> bool {
        self.texts.rest.iter().rev().take(REPEATS_WITHIN).any(|said| said == text)
    }

    fn resource(&mut self, node: Node<'d>) {
        let definitions = self.definitions;
        let kind = node.get("resourceType").and_then(|name| definitions.resource_type(&name.as_str()?));
        if let Some(kind) = kind {
            self.members(node, definitions.resource_structure(kind));
        }
    }

    fn members(&mut self, node: Node<'d>, structure: &Structure) {
        let definitions = self.definitions;
        for (name, value) in node.members() {
            // Ids and references are of type string as well (FHIR R4 element.html, references.html#Reference).
            if name == "id" || (structure.path == "Reference" && name == "reference") {
                continue;
            }
            if name.starts_with('_') {
                // Beside a primitive value stand its extensions (FHIR R4 json.html#primitive).
                if let Some(element) = definitions.structure("Element") {
                    each(value, &mut |node| self.members(node, element));
                }
            } else if let Some(found) = structure.element(&name) {
                let inner = definitions.structure_at(found.type_.structure);
                each(value, &mut |node| self.value(node, found.type_.code, inner));
            }
        }
    }

    fn value(&mut self, node: Node<'d>, code: &str, structure: &Structure) {
        match structure.kind {
            StructureKind::Resource | StructureKind::AbstractResource => self.resource(node),
            StructureKind::Complex | StructureKind::Backbone => self.members(node, structure),
            StructureKind::Primitive => {
                let text = match code {
                    "string" | "markdown" | "code" => node.as_str(),
                    "xhtml" if self.narrative.as_ref() != Some(&node.span()) => {
                        node.as_str().map(|markup| Cow::Owned(plain(&markup)))
                    }
                    _ => None,
                };
                if let Some(text) = text.filter(|text| !text.is_empty() && !self.repeats(text)) {
                    self.texts.rest.push(text);
                }
            }
        }
    }
}

/// The items of an array, or the value itself.
fn each<'d>(value: Node<'d>, one: &mut dyn FnMut(Node<'d>)) {
    match value.kind() {
        Kind::Array => value.items().for_each(one),
        Kind::Null => {}
        _ => one(value),
    }
}

/// Elements within a line: what stands on both sides of their tags may be one word.
const INLINE: [&str; 24] = [
    "a", "abbr", "acronym", "b", "bdo", "big", "cite", "code", "dfn", "em", "font", "i", "kbd", "q", "s",
    "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u",
];

/// Text of an XHTML fragment: tags and comments taken away, those that end a line as a space, entities of XML read.
///
/// Of a fragment that is not well formed, what is not in a tag. Source: FHIR R4 narrative.html#xhtml
fn plain(markup: &str) -> String {
    let mut out = String::with_capacity(markup.len() / 2);
    let mut rest = markup;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(comment) = from.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
        } else if let Some(tag) = from.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').unwrap_or((tag, ""));
            let name = tag.trim_start_matches('/');
            let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
            if !INLINE.contains(&name) {
                out.push(' ');
            }
            rest = after;
        } else {
            let entity = from.get(1..).and_then(|text| text.split_once(';'));
            match entity.and_then(|(name, after)| Some((character(name)?, after))) {
                Some((character, after)) => {
                    out.push(character);
                    rest = after;
                }
                None => {
                    out.push('&');
                    rest = from.get(1..).unwrap_or("");
                }
            }
        }
    }
    out.push_str(rest);
    out
}

/// The character an entity of XML stands for.
fn character(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::definitions::r4;
    use crate::json::{Doc, JsonLimits};

    fn of(resource: &str) -> (String, Vec<String>) {
        let doc = Doc::parse(resource.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let texts = texts(r4(), doc.root());
        (texts.narrative, texts.rest.iter().map(|text| text.to_string()).collect())
    }

    #[test]
    fn what_people_wrote_is_text_and_nothing_else() {
        let (narrative, rest) = of(
            r##"{"resourceType":"Observation","id":"o1","meta":{"profile":["http://x/p"],"tag":[{"system":"urn:t","code":"t1"}]},
            "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>Long<b>functie</b></p><p>laag &amp; dalend</p></div>"},
            "contained":[{"resourceType":"Organization","id":"c","name":"Huis"}],
            "extension":[{"url":"urn:x","valueMarkdown":"*let op*"},{"url":"urn:y","valueUri":"urn:no"}],
            "_effectiveDateTime":{"extension":[{"url":"urn:z","valueString":"ongeveer"}]},"effectiveDateTime":"2025",
            "status":"final","code":{"coding":[{"system":"http://loinc.org","code":"1-8","display":"FVC"}],"text":"FVC"},
            "subject":{"reference":"Patient/p1","display":"Mw. Test"},"note":[{"text":"ademt zwaar"}],
            "valueAttachment":{"data":"QUJD","title":"niet hier"},"unknown":"nothing"}"##,
        );
        assert_eq!(narrative.split_whitespace().collect::<Vec<_>>(), ["Longfunctie", "laag", "&", "dalend"]);
        let due = [
            "t1",
            "generated",
            "Huis",
            "*let op*",
            "ongeveer",
            "final",
            "1-8",
            "FVC",
            "Mw. Test",
            "ademt zwaar",
        ];
        assert_eq!(rest, due);
    }

    #[test]
    fn a_narrative_of_a_part_is_content_and_markup_never_is() {
        let (narrative, rest) = of(
            r#"{"resourceType":"Composition","section":[{"title":"T","text":{"status":"generated","div":"<div><!-- no <b>no</b> -->een<br/>twee &#x33; &nbsp; &#xD800; a<</div>"}}]}"#,
        );
        assert_eq!((narrative.as_str(), rest.len()), ("", 3));
        let words: Vec<&str> = rest.last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["een", "twee", "3", "&nbsp;", "&#xD800;", "a"]);
    }
}
