//! What is valid beyond doubt, asked while a resource is being built and before there is a text of it.
//!
//! A mapping fills elements whose places and types are known, so most of what [`super::validate`] looks for cannot be wrong; what
//! can is asked here of presence and single values. The answer is one-sided: `true` means that the walk would find nothing,
//! `false` that only the walk can tell, and find the words. Nothing here makes an issue.

use std::sync::LazyLock;

use crate::definitions::{
    self, Definitions, Element, ElementType, Strength, Structure, StructureId, StructureKind, ValueSet,
};
use crate::fhirpath::Presence;
use crate::path::{ReferenceTarget, has_scheme, parse_reference};

use super::{judged::left_out, primitive::Form};

/// Every structure of R4, by its id.
#[derive(Debug)]
pub struct Sure {
    structures: Vec<SureStructure>,
}

/// What an object of one structure must satisfy.
#[derive(Debug)]
pub struct SureStructure {
    /// Elements that must be present.
    required: u128,
    /// The element `id`: alone it is no content (ele-1).
    id: u128,
    /// Elements only the walk can judge.
    walked: u128,
    /// Elements whose number is bounded, other than by one.
    counted: u128,
    rules: Vec<Presence>,
    elements: Vec<SureElement>,
}

#[derive(Debug)]
struct SureElement {
    count: (u32, Option<u32>),
    types: Vec<SureType>,
}

/// What a value of one element in one of its types must satisfy.
#[derive(Debug)]
pub struct SureType {
    structure: StructureId,
    type_: &'static ElementType,
    form: Form,
    is_reference: bool,
    bound: Option<&'static ValueSet>,
    /// Rules declared at the element, over the object in it.
    rules: Vec<Presence>,
}

/// The answers for R4, made on first use.
pub fn sure() -> &'static Sure {
    static SURE: LazyLock<Sure> = LazyLock::new(|| Sure::new(definitions::r4()));
    &SURE
}

impl Sure {
    fn new(definitions: &'static Definitions) -> Sure {
        let structures = definitions.structures().iter();
        Sure { structures: structures.map(|structure| SureStructure::new(definitions, structure)).collect() }
    }

    /// What is known of a structure of the same definitions.
    pub fn structure(&self, id: StructureId) -> Option<&SureStructure> {
        self.structures.get(id.index())
    }
}

impl SureStructure {
    fn new(definitions: &'static Definitions, structure: &'static Structure) -> SureStructure {
        let bits = |wanted: &dyn Fn(&Element) -> bool| {
            let places = structure.elements.iter().enumerate().filter(|(_, element)| wanted(element));
            places.fold(0_u128, |bits, (at, _)| bits | 1 << at)
        };
        let mut rules = Vec::new();
        let mut at = Some(structure);
        while let Some(here) = at {
            rules.extend(declared(definitions, here.path, structure));
            at = here.base.map(|base| definitions.structure_at(base));
        }
        rules.retain(|rule| *rule != Presence::Always);
        let elements = structure.elements.iter().map(|element| SureElement {
            count: (element.min, element.max),
            types: element.types.iter().map(|type_| SureType::new(definitions, element, type_)).collect(),
        });
        SureStructure {
            required: bits(&|element| element.min > 0),
            id: bits(&|element| element.name == "id"),
            walked: bits(&|element| element.name == "contained"),
            counted: bits(&|element| element.min > 1 || element.max.is_some_and(|max| max > 1)),
            rules,
            elements: elements.collect(),
        }
    }

    /// Whether an object is valid with these elements present, a bit each by place, and each of them valid in itself.
    pub fn object(&self, present: u128) -> bool {
        present & self.required == self.required
            && present & self.walked == 0
            && present & !self.id != 0
            && self.rules.iter().all(|rule| rule.holds(present))
    }

    /// Elements for which [`Self::count`] is to be asked, a bit each; those that stand once at most need no question.
    pub fn counted(&self) -> u128 {
        self.counted
    }

    /// Whether the element at a place may stand so many times.
    pub fn count(&self, place: usize, count: u32) -> bool {
        let count_of = |element: &SureElement| {
            let (min, max) = element.count;
            count >= min && max.is_none_or(|max| count <= max)
        };
        self.elements.get(place).is_some_and(count_of)
    }

    /// The element at a place, in the type that is of that structure.
    pub fn element(&self, place: usize, structure: StructureId) -> Option<&SureType> {
        self.elements.get(place)?.types.iter().find(|type_| type_.structure == structure)
    }
}

impl SureType {
    fn new(
        definitions: &'static Definitions,
        element: &'static Element,
        type_: &'static ElementType,
    ) -> SureType {
        let structure = definitions.structure_at(type_.structure);
        let bound = element.binding.filter(|binding| binding.strength == Strength::Required);
        let mut rules = Vec::new();
        if structure.path != element.path {
            rules = declared(definitions, element.path, structure);
        }
        if matches!(structure.kind, StructureKind::Resource | StructureKind::AbstractResource) {
            rules.push(Presence::Never);
        }
        rules.retain(|rule| *rule != Presence::Always);
        let bound = bound.and_then(|bound| definitions.value_set(bound.value_set));
        let (form, is_reference) = (Form::of(type_.code), type_.code == "Reference");
        SureType { structure: type_.structure, type_, form, is_reference, bound, rules }
    }

    /// Whether a primitive is valid: `text` is its string, number lexeme or truth value, of the JSON kind its type has.
    pub fn primitive(&self, text: &str) -> bool {
        self.rules.is_empty()
            && self.form.is_sure(text)
            && self.bound.is_none_or(|set| match self.type_.code {
                "code" | "string" | "uri" => set.contains(None, text),
                _ => true,
            })
    }

    /// Whether the object in it is valid with these elements present, as far as the element asks.
    pub fn object(&self, present: u128) -> bool {
        self.rules.iter().all(|rule| rule.holds(present))
    }

    /// The value set that one coding of the element must be of, for a Coding or CodeableConcept.
    pub fn bound(&self) -> Option<&'static ValueSet> {
        self.bound.filter(|_| matches!(self.type_.code, "Coding" | "CodeableConcept"))
    }

    /// Whether the element is a Reference.
    pub fn is_reference(&self) -> bool {
        self.is_reference
    }

    /// Whether the text of `Reference.reference` may stand in this element.
    pub fn reference(&self, text: &str) -> bool {
        match parse_reference(definitions::r4(), text.into()) {
            Some(ReferenceTarget::Relative { type_, .. }) => {
                self.type_.targets.is_empty() || self.type_.targets.binary_search(&type_).is_ok()
            }
            Some(_) => true,
            None => !text.starts_with('#') && !text.is_empty() && (text.contains('?') || has_scheme(text)),
        }
    }
}

/// The rules declared at a path, over an object of `structure`. Those about what is contained, narrative and bare ids are asked
/// elsewhere, and so is that of references.
fn declared(definitions: &'static Definitions, path: &str, structure: &'static Structure) -> Vec<Presence> {
    const ELSEWHERE: [&str; 6] = ["ele-1", "ref-1", "dom-2", "dom-3", "dom-4", "dom-5"];
    let rows = definitions.invariants().iter().filter(|row| row.path == path);
    let rows = rows.filter(|row| !ELSEWHERE.contains(&row.key) && left_out(row.key).is_none());
    let compiled = rows.map(|row| match crate::fhirpath::Compiled::new(row.expression) {
        Ok(expression) => expression.keeps(structure),
        // Judged by code of its own, or by nobody.
        Err(_) => Presence::Never,
    });
    compiled.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "the structures are there")]
    use super::*;
    use crate::json::{Doc, JsonLimits, Kind, Node};

    /// Whether a resource is valid beyond doubt, asked as a mapping asks.
    fn is_sure(structure: StructureId, node: Node<'_>) -> bool {
        let r4 = definitions::r4();
        let known = sure().structure(structure).unwrap();
        let mut present = 0_u128;
        for (name, value) in node.members().filter(|(name, _)| name != "resourceType") {
            let Some(found) = r4.structure_at(structure).element(&name) else { return false };
            present |= 1 << found.index;
            let items: Vec<Node<'_>> =
                if value.kind() == Kind::Array { value.items().collect() } else { vec![value] };
            if !known.count(found.index, items.len() as u32) {
                return false;
            }
            let element = known.element(found.index, found.type_.structure).unwrap();
            for item in items {
                let valid = match item.kind() {
                    Kind::Object => {
                        let within = |node: Node<'_>| -> u128 {
                            let inner = r4.structure_at(found.type_.structure);
                            node.members()
                                .filter_map(|(name, _)| inner.element(&name))
                                .fold(0, |b, f| b | 1 << f.index)
                        };
                        let reference = item.get("reference").and_then(Node::as_str);
                        let concept = item.get("coding").into_iter().flat_map(Node::items).chain([item]);
                        let coded = element.bound().is_none_or(|set| {
                            concept.clone().any(|coding| {
                                let text = |name| coding.get(name).and_then(Node::as_str).unwrap_or_default();
                                set.contains(Some(&text("system")), &text("code"))
                            })
                        });
                        is_sure(found.type_.structure, item)
                            && element.object(within(item))
                            && coded
                            && (found.type_.code != "Reference"
                                || reference.is_none_or(|text| element.reference(&text)))
                    }
                    _ => element.primitive(&item.as_str().unwrap_or_else(|| item.raw().into())),
                };
                if !valid {
                    return false;
                }
            }
        }
        known.object(present)
    }

    fn check(text: &str) -> bool {
        let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let type_ = doc.root().get("resourceType").and_then(Node::as_str).unwrap();
        let structure =
            definitions::r4().resource_structure(definitions::r4().resource_type(&type_).unwrap());
        let sure = is_sure(structure.id, doc.root());
        let issues = super::super::validate(definitions::r4(), doc.root());
        assert!(!sure || issues.is_empty(), "{text}: {issues:?}");
        sure
    }

    #[test]
    fn an_ordinary_result_is_valid_beyond_doubt() {
        assert!(check(
            r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"19868-9"}],"text":"FVC"},
            "subject":{"reference":"Patient/1"},"effectiveDateTime":"2026-03-10T11:01:00+01:00",
            "valueQuantity":{"value":2.10,"unit":"L","system":"http://unitsofmeasure.org","code":"L"},"referenceRange":[{"text":"2.8-4.6"}]}"#
        ));
        assert!(check(
            r#"{"resourceType":"Condition","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]},
            "subject":{"reference":"Patient/1"},"recordedDate":"2026-03-10"}"#
        ));
    }

    #[test]
    fn what_is_wrong_or_doubtful_is_left_to_the_walk() {
        let result =
            |rest: &str| check(&format!(r#"{{"resourceType":"Observation","code":{{"text":"x"}}{rest}}}"#));
        assert!(result(r#","status":"final""#));
        for rest in [
            "",
            r#","status":"unknown-code""#,
            r#","status":"final","subject":{"reference":"Organization/1"}"#,
            r##","status":"final","subject":{"reference":"#p"}"##,
            r#","status":"final","subject":{"id":"a"}"#,
            r#","status":"final","effectiveDateTime":"2026-02-30""#,
            r#","status":"final","valueQuantity":{"value":1,"code":"kg"}"#,
            r#","status":"final","valueString":"a","dataAbsentReason":{"text":"b"}"#,
            r#","status":"final","valueString":" \u0001""#,
            r#","status":"final","referenceRange":[{"type":{"text":"x"}}]"#,
            r#","status":"final","identifier":[{"system":"a b","value":"1"}]"#,
            r#","status":"final","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"}"#,
            r#","status":"final","contained":[{"resourceType":"Patient","id":"p"}]"#,
            r#","status":"final","valueString":"a","component":[{"code":{"text":"x"}}]"#,
        ] {
            assert!(!result(rest), "{rest}");
        }
    }
}
