//! Where an element stands in its resource, so that who found it can change it.
//!
//! FHIR's element is up to two JSON properties (`given` and `_given`); a place names it once, by the plain name.
//! Source: FHIR R4 json.html#primitive

use super::item::Item;
use crate::definitions::{Definitions, Structure, StructureKind};
use crate::json::{Kind, Node};

/// One step down a JSON tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into an object.
    Member(String),
    /// Into an array, from 0.
    Index(usize),
}

/// The place of an element that is not the resource itself.
#[derive(Debug, Clone)]
pub struct Place<'d> {
    /// To the JSON object it is a property of. Of an extension or id of a primitive that is the object under `_name`.
    pub parent: Vec<Step>,
    /// What that object is.
    pub structure: &'d Structure,
    /// Its property there, without `_`: `valueQuantity`, `given`.
    pub name: String,
    /// Which of its list; `None` when it does not repeat.
    pub index: Option<usize>,
}

impl<'d> Place<'d> {
    /// The place of an item found in the resource at `root`; `None` for `root` itself and for what is not inside it.
    pub fn of(definitions: &'d Definitions, root: Node<'d>, item: &Item<'d>) -> Option<Place<'d>> {
        let target = item.node.or(item.beside)?.span();
        let mut at = root;
        let mut structure = resource_structure(definitions, root)?;
        let mut steps = Vec::new();
        // An array belongs to the property that holds it: the steps since the last object name one element.
        let mut last: Option<(Vec<Step>, &'d Structure, String, Option<usize>)> = None;
        while at.span() != target {
            let inside = |node: &Node<'d>| node.span().start <= target.start && target.end <= node.span().end;
            match at.kind() {
                Kind::Object => {
                    if let Some((_, parent, name, _)) = &last {
                        structure = descend(definitions, parent, name, at)?;
                    }
                    let (name, value) = at.members().find(|(_, value)| inside(value))?;
                    last = Some((steps.clone(), structure, name.clone().into_owned(), None));
                    steps.push(Step::Member(name.into_owned()));
                    at = value;
                }
                Kind::Array => {
                    let (index, value) = at.items().enumerate().find(|(_, value)| inside(value))?;
                    last.as_mut()?.3 = Some(index);
                    steps.push(Step::Index(index));
                    at = value;
                }
                _ => return None,
            }
        }
        let (parent, structure, name, index) = last?;
        let plain = name.strip_prefix('_').unwrap_or(&name).to_owned();
        Some(Place { parent, structure, name: plain, index })
    }

    /// To the JSON object an item's own children are properties of: the item, or for a primitive what stands beside it.
    pub fn children(definitions: &'d Definitions, root: Node<'d>, item: &Item<'d>) -> Option<Vec<Step>> {
        let Some(place) = Place::of(definitions, root, item) else {
            let is_root = item.node.is_some_and(|node| node.span() == root.span());
            return is_root.then(Vec::new);
        };
        let name = if item.is_primitive() { format!("_{}", place.name) } else { place.name };
        let mut steps = place.parent;
        steps.push(Step::Member(name));
        steps.extend(place.index.map(Step::Index));
        Some(steps)
    }
}

/// What the object under a property is.
fn descend<'d>(
    definitions: &'d Definitions,
    parent: &'d Structure,
    name: &str,
    object: Node<'d>,
) -> Option<&'d Structure> {
    if name.starts_with('_') {
        return definitions.structure("Element");
    }
    let structure = definitions.structure_at(parent.element(name)?.type_.structure);
    match structure.kind {
        StructureKind::AbstractResource => resource_structure(definitions, object),
        _ => Some(structure),
    }
}

fn resource_structure<'d>(definitions: &'d Definitions, node: Node<'d>) -> Option<&'d Structure> {
    let type_ = definitions.resource_type(&node.get("resourceType")?.as_str()?)?;
    Some(definitions.resource_structure(type_))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::{Compiled, Context, FhirPathError, Value};
    use super::*;
    use crate::definitions::r4;
    use crate::json::{Doc, JsonLimits};

    const PATIENT: &str = r##"{"resourceType":"Patient","name":[{"given":["a","b"],"_given":[null,{"id":"x"}]}],
        "_birthDate":{"extension":[{"url":"u","valueString":"s"}]},"deceasedBoolean":true,
        "contained":[{"resourceType":"Organization","id":"o","name":"n"}],"managingOrganization":{"reference":"#o"}}"##;

    fn show(steps: &[Step]) -> String {
        let one = |step: &Step| match step {
            Step::Member(name) => format!("/{name}"),
            Step::Index(index) => format!("/{index}"),
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn every_element_found_has_its_place() {
        let doc = Doc::parse(PATIENT.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let root = Item::resource(r4(), doc.root()).unwrap();
        let context = Context { definitions: r4(), resource: root, root };
        let place = |path: &str| {
            let found = Compiled::new(path).unwrap().evaluate(&context, root).unwrap();
            let [Value::Element(item)] = found.as_slice() else { unreachable!("{path}: {found:?}") };
            let children = show(&Place::children(r4(), doc.root(), item).unwrap());
            let place = Place::of(r4(), doc.root(), item)
                .map(|p| format!("{}|{}|{:?}|{}", show(&p.parent), p.name, p.index, p.structure.path));
            (place.unwrap_or_default(), children)
        };
        for (path, expected, children) in [
            ("Patient", "", ""),
            ("Patient.name[0]", "|name|Some(0)|Patient", "/name/0"),
            ("name.given.where($this = 'b')", "/name/0|given|Some(1)|HumanName", "/name/0/_given/1"),
            ("Patient.birthDate", "|birthDate|None|Patient", "/_birthDate"),
            ("birthDate.extension", "/_birthDate|extension|Some(0)|Element", "/_birthDate/extension/0"),
            (
                "birthDate.extension.value",
                "/_birthDate/extension/0|valueString|None|Extension",
                "/_birthDate/extension/0/_valueString",
            ),
            ("Patient.deceased", "|deceasedBoolean|None|Patient", "/_deceasedBoolean"),
            (
                "managingOrganization.resolve().name",
                "/contained/0|name|None|Organization",
                "/contained/0/_name",
            ),
        ] {
            assert_eq!(place(path), (expected.to_owned(), children.to_owned()), "{path}");
        }
        let (parent, name) = Compiled::new("Patient.contact.telecom")
            .map(|c| {
                let (parent, name) = c.last_child().unwrap();
                (parent.evaluate(&context, root).unwrap().len(), name.to_owned())
            })
            .unwrap();
        assert_eq!((parent, name.as_str()), (0, "telecom"));
    }

    #[test]
    fn a_strangers_expression_ends_at_its_limits() {
        let entries = vec![r#"{"given":["x"],"text":"yyyyyyyyyyyyyyyyyyyyyyyy"}"#; 2_000].join(",");
        let text = format!(r#"{{"resourceType":"Patient","name":[{entries}]}}"#);
        let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).unwrap();
        let root = Item::resource(r4(), doc.root()).unwrap();
        let context = Context { definitions: r4(), resource: root, root };
        let grow = format!("'a'{}", ".replace('','aaaaaaaaaaaa')".repeat(60));
        for path in [
            "descendants().where(%resource.descendants().where(%resource.descendants().exists()).exists())",
            "name.distinct().count()",
            "name | name",
            "name.select(%resource.name.select(%resource.name))",
            "name.where(text.matches('(y{0,9}){0,9}z')).count()",
            &grow,
        ] {
            let mut work = 1_000_000;
            let found = Compiled::new(path).unwrap().evaluate_within(&context, root, &mut work);
            assert_eq!(found.err(), Some(FhirPathError::TooCostly), "{path}");
        }
        let mut work = 1_000_000;
        let found = Compiled::new("name.where(given = 'x').count()").unwrap();
        assert!(found.evaluate_within(&context, root, &mut work).is_ok() && work < 1_000_000);
        let unrolled = Compiled::new("'a'.matches('((((y{0,9}){0,9}){0,9}){0,9}){0,9}z')").unwrap();
        assert_eq!(unrolled.evaluate(&context, root).err(), Some(FhirPathError::Regex));
        for path in ["a".to_owned() + &".a".repeat(300), "1".to_owned() + &"+1".repeat(300)] {
            assert_eq!(Compiled::new(&path).err(), Some(FhirPathError::TooDeep));
        }
        // The longest that is taken stays within the stack of a thread.
        let long = "a".to_owned() + &".where(true)".repeat(255);
        assert!(Compiled::new(&long).unwrap().evaluate(&context, root).is_ok());
    }
}
