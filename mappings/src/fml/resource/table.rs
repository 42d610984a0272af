//! A ConceptMap contained in a StructureMap -> [`ConceptMap`].

use super::Reader;
use crate::fml::map::{ConceptMap, ConceptRow};
use crate::source::NodeId;

impl Reader<'_> {
    /// `None` for any other contained resource, which a map has no use for.
    pub(super) fn table(&mut self, node: NodeId) -> Option<ConceptMap> {
        if self.text(node, "resourceType") != Some("ConceptMap") {
            return None;
        }
        let url = format!("#{}", self.wanted(node, "id"));
        let mut rows = Vec::new();
        for group in self.all(node, "group") {
            let system = |name: &str| self.text(group, name).unwrap_or_default().to_owned();
            let (source, target) = (system("source"), system("target"));
            for element in self.all(group, "element") {
                let code = self.wanted(element, "code");
                let targets = self.all(element, "target");
                if targets.is_empty() {
                    let none = ConceptRow {
                        source: (source.clone(), code),
                        relation: "!=".to_owned(),
                        target: None,
                    };
                    rows.push(none);
                    continue;
                }
                for to in targets {
                    let how = self.text(to, "equivalence").or_else(|| self.text(to, "relationship"));
                    let Some(relation) = how.map(relation).unwrap_or(Some("-")) else {
                        let text = format!("relation `{}`", how.unwrap_or_default());
                        let help = "equal, equivalent, wider, or unmatched for no equivalent";
                        self.error("relation-unsupported", to, text, help);
                        continue;
                    };
                    let target = (relation != "!=")
                        .then(|| (target.clone(), self.text(to, "code").unwrap_or_default().to_owned()));
                    rows.push(ConceptRow {
                        source: (source.clone(), code.clone()),
                        relation: relation.to_owned(),
                        target,
                    });
                }
            }
        }
        Some(ConceptMap { url, rows, place: self.place(node) })
    }
}

/// R4 `equivalence` (valueset-concept-map-equivalence.html) and R5 `relationship` as map text writes them.
fn relation(word: &str) -> Option<&'static str> {
    Some(match word {
        "equal" => "=",
        "equivalent" => "==",
        "wider" | "subsumes" | "source-is-narrower-than-target" => "<=",
        "unmatched" | "disjoint" | "not-related-to" => "!=",
        _ => return None,
    })
}
