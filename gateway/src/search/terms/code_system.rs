//! A code system as codes with what stands above and below each.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sluis_conformance::json::Node;

use super::CONCEPTS_MAX;

/// The concepts of a CodeSystem resource.
#[derive(Debug, Default)]
pub struct Hierarchy {
    concepts: BTreeMap<String, Concept>,
    children: HashMap<String, Vec<String>>,
    /// Why nothing can be said of above and below, though the codes are known.
    flat: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Concept {
    parents: Vec<String>,
    /// `property` entries: code and value as text.
    properties: Vec<(String, String)>,
}

impl Hierarchy {
    /// Reads a CodeSystem.
    ///
    /// Errors: why its content says nothing about all of its codes, as the end of a sentence.
    /// Source: FHIR R4 codesystem.html, valueset-codesystem-content-mode.html, valueset-codesystem-hierarchy-meaning.html
    pub fn read(root: Node<'_>) -> Result<Hierarchy, String> {
        let content = text(root, "content").unwrap_or_default();
        if content != "complete" {
            return Err(format!("is not loaded whole: its content is {content:?}."));
        }
        let mut hierarchy = Hierarchy {
            flat: match text(root, "hierarchyMeaning").as_deref() {
                None | Some("is-a") => None,
                Some(_) => Some("has a hierarchy that does not mean is-a."),
            },
            ..Hierarchy::default()
        };
        let mut open: Vec<(Node<'_>, Option<String>)> = Vec::new();
        open.extend(root.get("concept").into_iter().flat_map(Node::items).map(|node| (node, None)));
        while let Some((node, parent)) = open.pop() {
            let Some(code) = text(node, "code") else { continue };
            if hierarchy.concepts.len() >= CONCEPTS_MAX && !hierarchy.concepts.contains_key(&code) {
                return Err(format!("has more than {CONCEPTS_MAX} concepts."));
            }
            let concept = hierarchy.concepts.entry(code.clone()).or_default();
            concept.parents.extend(parent);
            let mut children = Vec::new();
            for property in node.get("property").into_iter().flat_map(Node::items) {
                let Some(name) = text(property, "code") else { continue };
                let Some(value) = value(property) else { continue };
                match name.as_str() {
                    "parent" | "subsumedBy" => concept.parents.push(value.clone()),
                    "child" => children.push(value.clone()),
                    _ => {}
                }
                concept.properties.push((name, value));
            }
            for child in children {
                hierarchy.concepts.entry(child).or_default().parents.push(code.clone());
            }
            open.extend(
                node.get("concept").into_iter().flat_map(Node::items).map(|node| (node, Some(code.clone()))),
            );
        }
        for (code, concept) in &hierarchy.concepts {
            for parent in &concept.parents {
                hierarchy.children.entry(parent.clone()).or_default().push(code.clone());
            }
        }
        Ok(hierarchy)
    }

    /// Why nothing can be said of above and below.
    pub fn flat(&self) -> Option<&'static str> {
        self.flat
    }

    /// Whether it has the code.
    pub fn has(&self, code: &str) -> bool {
        self.concepts.contains_key(code)
    }

    /// Every code.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.concepts.keys().map(String::as_str)
    }

    /// Codes below one, itself aside. A circle ends where it closes.
    pub fn below(&self, code: &str) -> BTreeSet<String> {
        self.walk(code, |code| self.children.get(code).map_or(&[][..], Vec::as_slice))
    }

    /// Codes above one, itself aside.
    pub fn above(&self, code: &str) -> BTreeSet<String> {
        self.walk(code, |code| self.concepts.get(code).map_or(&[][..], |concept| concept.parents.as_slice()))
    }

    /// Codes with a property of this value.
    pub fn with(&self, property: &str, value: &str) -> BTreeSet<String> {
        let has = |concept: &Concept| concept.properties.iter().any(|(p, v)| p == property && v == value);
        self.concepts.iter().filter(|(_, concept)| has(concept)).map(|(code, _)| code.clone()).collect()
    }

    fn walk<'h>(&'h self, from: &'h str, next: impl Fn(&str) -> &'h [String]) -> BTreeSet<String> {
        let mut seen: HashSet<&str> = HashSet::from([from]);
        let mut open = vec![from];
        while let Some(code) = open.pop() {
            open.extend(next(code).iter().map(String::as_str).filter(|code| seen.insert(code)));
        }
        seen.remove(from);
        seen.into_iter().map(str::to_owned).collect()
    }
}

/// A text of a node.
pub(super) fn text(node: Node<'_>, name: &str) -> Option<String> {
    node.get(name).and_then(Node::as_str).map(|text| text.into_owned())
}

/// `value[x]` of a concept's property: a code, text, number, moment or boolean as it is written, a Coding by its code.
fn value(property: Node<'_>) -> Option<String> {
    let (_, value) = property.members().find(|(name, _)| name.starts_with("value"))?;
    if let Some(code) = text(value, "code") {
        return Some(code);
    }
    value.as_str().map(|text| text.into_owned()).or_else(|| Some(value.raw().to_owned()))
}
