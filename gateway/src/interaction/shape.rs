//! A resource cut down to what is wanted of it (FHIR R4 search.html#summary, #elements), from its stored bytes.
//!
//! Whatever the shape, `id`, `meta` (with its security labels), what must be there, and what changes the meaning of the
//! rest (`modifierExtension`, `doNotPerform`) stay; and `meta.tag` says SUBSETTED, so that nobody takes the part for the
//! whole. A part is no base for an update: [`is_part`] tells it.

use std::borrow::Cow;

use sluis_conformance::definitions::{Element, Structure, StructureKind, r4};
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};

use super::splice;
use crate::connection::request::Shape;
use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Stored};

/// The text of a stored resource in a shape; borrowed where the whole is wanted.
///
/// Errors: `Internal` when stored bytes cannot be read; nothing of them leaves then.
pub fn cut<'s>(stored: &'s Stored, shape: &Shape) -> Result<Cow<'s, str>, StoreError> {
    let failed = |cause: String| {
        StoreError::Refused(Box::new(Refusal::new(Reason::Internal, "").because(format!("stored: {cause}"))))
    };
    if matches!(shape, Shape::Whole) {
        return std::str::from_utf8(&stored.body)
            .map(Cow::Borrowed)
            .map_err(|error| failed(error.to_string()));
    }
    let doc =
        Doc::parse(stored.body.to_vec(), JsonLimits::default()).map_err(|error| failed(error.to_string()))?;
    Ok(Cow::Owned(shaped(&doc, stored.kind, shape)))
}

/// A resource in a shape.
pub fn shaped(doc: &Doc, kind: ResourceType, shape: &Shape) -> String {
    let structure = r4().resource_structure(kind);
    let keep = |element: &Element, member: &str| {
        let wanted = match shape {
            Shape::Whole => true,
            Shape::Summary => element.is_summary,
            Shape::Text => element.name == "text" && element.path == "DomainResource.text",
            Shape::Data => element.path != "DomainResource.text",
            Shape::Count => false,
            Shape::Elements(names) => names.iter().any(|name| name == element.name || name == member),
        };
        wanted || must_stay(element) || matches!(element.path, "Resource.id" | "Resource.meta")
    };
    let mut out = String::with_capacity(doc.text().len() / 2);
    out.push('{');
    for (name, value) in doc.root().members() {
        let plain = name.strip_prefix('_').unwrap_or(&name);
        let element = structure.element(plain);
        let kept = plain == "resourceType" || element.is_some_and(|found| keep(found.element, plain));
        if !kept {
            continue;
        }
        let deep = matches!(shape, Shape::Summary);
        let inner = match element {
            _ if name == "meta" => Some(splice::subsetted(doc, value)),
            Some(found) if deep && !name.starts_with('_') => {
                summary(value, r4().structure_at(found.type_.structure), found.element)
            }
            _ => Some(value.raw().to_owned()),
        };
        if let Some(inner) = inner {
            member(&mut out, &name, &inner);
        }
    }
    out.push('}');
    out
}

/// What is in every shape: a resource without it would say something else, or be none.
fn must_stay(element: &Element) -> bool {
    element.min > 0 || element.is_modifier
}

/// The summary of a value inside a resource; `None` when nothing of it is one. Types and nested elements mark their own
/// elements; an extension is whole or not there, and an element's own id stays.
fn summary(value: Node<'_>, structure: &Structure, of: &Element) -> Option<String> {
    let whole = matches!(structure.path, "Extension" | "Narrative" | "Meta")
        || !matches!(structure.kind, StructureKind::Complex | StructureKind::Backbone);
    if whole {
        return Some(value.raw().to_owned());
    }
    let text = match value.kind() {
        Kind::Array => {
            let items: Vec<String> = value.items().filter_map(|item| object(item, structure)).collect();
            (!items.is_empty()).then(|| format!("[{}]", items.join(",")))
        }
        _ => object(value, structure),
    };
    // What must be there and has nothing for a summary is sent as it is: the subset stays valid.
    text.or_else(|| (of.min > 0).then(|| value.raw().to_owned()))
}

fn object(value: Node<'_>, structure: &Structure) -> Option<String> {
    let mut out = String::from("{");
    for (name, inner) in value.members() {
        let plain = name.strip_prefix('_').unwrap_or(&name);
        let Some(found) = structure.element(plain) else { continue };
        if !(found.element.is_summary || must_stay(found.element) || found.element.path == "Element.id") {
            continue;
        }
        let text = if name.starts_with('_') {
            Some(inner.raw().to_owned())
        } else {
            summary(inner, r4().structure_at(found.type_.structure), found.element)
        };
        if let Some(text) = text {
            member(&mut out, &name, &text);
        }
    }
    out.push('}');
    (out.len() > 2).then_some(out)
}

fn member(out: &mut String, name: &str, value: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    write_string(name, out);
    out.push(':');
    out.push_str(value);
}

/// Whether a resource says of itself that it is a part of one (FHIR R4 search.html#summary: SUBSETTED is there "to ensure
/// that the incomplete resource is not accidentally used to overwrite a complete resource").
pub fn is_part(doc: &Doc) -> bool {
    let tags = doc.root().get("meta").and_then(|meta| meta.get("tag"));
    tags.is_some_and(|tags| tags.items().any(splice::is_subsetted))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use sluis_conformance::validate;

    use super::*;

    fn doc(text: &str) -> Doc {
        Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
    }

    fn of(text: &str, shape: &Shape) -> String {
        let doc = doc(text);
        let name = doc.root().get("resourceType").unwrap().as_str().unwrap();
        shaped(&doc, r4().resource_type(&name).unwrap(), shape)
    }

    const REQUEST: &str = r##"{"resourceType":"MedicationRequest","id":"a","meta":{"versionId":"1","security":[{"code":"R"}]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"contained":[{"resourceType":"Medication","id":"m"}],"extension":[{"url":"e","valueDecimal":1.10}],"modifierExtension":[{"url":"f","valueBoolean":true}],"status":"active","intent":"order","doNotPerform":true,"medicationReference":{"reference":"#m"},"subject":{"reference":"Patient/p","identifier":{"value":"1","extension":[{"url":"e","valueCode":"x"}]}},"note":[{"text":"n"}],"dosageInstruction":[{"text":"d"}]}"##;

    #[test]
    fn each_shape_keeps_its_elements_and_what_must_stay() {
        let always = [
            "meta",
            "modifierExtension",
            "status",
            "intent",
            "doNotPerform",
            "medicationReference",
            "subject",
        ];
        for (shape, more) in [
            (Shape::Summary, &[][..]),
            (Shape::Text, &["text"][..]),
            (Shape::Data, &["contained", "extension", "note", "dosageInstruction"][..]),
            (
                Shape::Elements(vec!["note".into(), "extension".into(), "nonsense".into()]),
                &["extension", "note"][..],
            ),
        ] {
            let text = of(REQUEST, &shape);
            let cut = doc(&text);
            let mut names: Vec<String> = cut.root().members().map(|(name, _)| name.into_owned()).collect();
            let mut due: Vec<String> =
                always.iter().chain(more).chain(&["resourceType", "id"]).map(|n| (*n).to_owned()).collect();
            names.sort_unstable();
            due.sort_unstable();
            assert_eq!(names, due, "{shape:?}");
            assert!(is_part(&cut) && text.contains(r#""security":[{"code":"R"}]"#), "{text}");
            assert!(
                !text.contains("extension") || shape != Shape::Summary || !text.contains("valueCode"),
                "{text}"
            );
        }
        let data = of(REQUEST, &Shape::Data);
        assert!(data.contains("\"valueDecimal\":1.10") && !is_part(&doc(REQUEST)));
    }

    #[test]
    fn a_choice_is_named_without_or_with_its_type_and_a_tag_is_set_once() {
        let observation = r#"{"resourceType":"Observation","id":"a","meta":{"tag":[{"code":"t"}]},"status":"final","_status":{"id":"s"},"code":{"text":"c"},"valueQuantity":{"value":1.10}}"#;
        for name in ["value", "valueQuantity"] {
            let text = of(observation, &Shape::Elements(vec![name.into()]));
            assert!(text.contains("\"value\":1.10") && text.contains("\"_status\""), "{text}");
            let again = of(&text, &Shape::Summary);
            assert_eq!(again.matches("SUBSETTED").count(), 1, "{again}");
        }
        let text = of(observation, &Shape::Elements(vec!["valueString".into()]));
        assert!(!text.contains("valueQuantity"), "{text}");
    }

    #[test]
    fn every_summary_of_an_example_is_valid() {
        let folder = std::env::var_os("SLUIS_SHARED").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
            Into::into,
        );
        let Ok(files) = std::fs::read_dir(folder.join("data/r4-examples")) else {
            #[expect(clippy::print_stdout, reason = "a skipped test says so")]
            {
                println!("SKIPPED: r4-examples is not here (set SLUIS_SHARED)");
            }
            return;
        };
        let errors = |doc: &Doc| {
            let found = validate::validate(r4(), doc.root());
            // Structure: what invariants ask of the whole, a part need not hold.
            let structure = found.into_iter().filter(|i| i.is_error() && i.code != "invariant");
            structure.map(|issue| issue.text).collect::<Vec<_>>()
        };
        let mut ran = 0;
        for file in
            files.filter_map(Result::ok).filter(|file| file.path().extension().is_some_and(|e| e == "json"))
        {
            let Ok(whole) = Doc::parse(std::fs::read(file.path()).unwrap(), JsonLimits::default()) else {
                continue;
            };
            let name =
                whole.root().get("resourceType").and_then(Node::as_str).unwrap_or_default().into_owned();
            let Some(kind) = r4().resource_type(&name) else { continue };
            if !errors(&whole).is_empty() {
                continue;
            }
            for shape in [Shape::Summary, Shape::Text] {
                let cut = doc(&shaped(&whole, kind, &shape));
                assert_eq!(errors(&cut), Vec::<String>::new(), "{:?} {shape:?}", file.path());
            }
            ran += 1;
        }
        assert!(ran > 100, "{ran} examples");
    }
}
