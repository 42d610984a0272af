//! A ConceptMap resource, of R4 or R5, in JSON or XML -> [`CodeTable`].
//!
//! Source: FHIR R4 conceptmap.html, valueset-concept-map-equivalence.html (seen from the source: `wider` says the target is).

use std::sync::Arc;

use super::{CodeTable, Relationship, Row};
use crate::folder::Diagnostic;
use crate::source::{self, NodeId, Tree, json, xml};

impl CodeTable {
    /// Reads a ConceptMap; `file` and `allowed` as for [`CodeTable::load`].
    ///
    /// A code that has several targets of the same strength translates to none of them (`inexact`): choosing would be a guess.
    /// Errors: what is no ConceptMap, a relationship FHIR does not have.
    pub fn from_concept_map(
        name: &str,
        file: &str,
        bytes: &[u8],
        allowed: &[Relationship],
    ) -> Result<CodeTable, Vec<Diagnostic>> {
        let limits = source::Limits::default();
        let parsed =
            if xml::looks_like_xml(bytes) { xml::parse(bytes, limits) } else { json::parse(bytes, limits) };
        let wrong: Vec<Diagnostic> = parsed
            .findings
            .iter()
            .filter(|finding| finding.severity >= crate::finding::Severity::Error)
            .map(|finding| Diagnostic::new(file, finding.line, finding.text.clone(), finding.remedy.clone()))
            .collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let (tree, root) = (&parsed.tree, parsed.tree.root());
        let type_name = text(tree, root, "resourceType");
        let type_name = if type_name.is_empty() { tree.name(root) } else { type_name };
        if type_name != "ConceptMap" {
            let message = format!("{type_name} is no ConceptMap");
            return Err(vec![Diagnostic::new(file, 1, message, "give a ConceptMap, or a table as CSV")]);
        }
        let mut table = CodeTable {
            name: name.to_owned(),
            allowed: allowed.to_vec(),
            any_system: true,
            ..CodeTable::default()
        };
        let mut errors = Vec::new();
        let line = |node: NodeId| {
            let before = bytes.get(..tree.node(node).span.start as usize).unwrap_or_default();
            1 + before.iter().filter(|byte| **byte == b'\n').count() as u32
        };
        for group in tree.named(root, "group") {
            for element in tree.named(group, "element") {
                let mut rows: Vec<Row> = Vec::new();
                let row = |relationship, target: Option<NodeId>| Row {
                    system: text(tree, group, "source").to_owned(),
                    code: text(tree, element, "code").to_owned(),
                    display: text(tree, element, "display").to_owned(),
                    target_system: target.map_or("", |_| text(tree, group, "target")).to_owned(),
                    target_code: target.map_or("", |target| text(tree, target, "code")).to_owned(),
                    target_display: target.map_or("", |target| text(tree, target, "display")).to_owned(),
                    relationship,
                    comment: target.map_or("", |target| text(tree, target, "comment")).to_owned(),
                    line: line(element),
                };
                for target in tree.named(element, "target") {
                    let word = match text(tree, target, "equivalence") {
                        "" => text(tree, target, "relationship"),
                        word => word,
                    };
                    match relationship(word) {
                        Some(Relationship::NoMap) => rows.push(row(Relationship::NoMap, None)),
                        Some(how) => rows.push(row(how, Some(target))),
                        None => errors.push(Diagnostic::new(
                            file,
                            line(target),
                            format!("`{word}` is no relationship of a ConceptMap"),
                            "write equal, equivalent, wider, narrower, inexact or unmatched",
                        )),
                    }
                }
                if rows.is_empty() {
                    rows.push(row(Relationship::NoMap, None));
                }
                if let Some(row) = best(rows) {
                    table.put(row);
                }
            }
        }
        if errors.is_empty() { Ok(table) } else { Err(errors) }
    }

    /// The first statement about a code stands.
    fn put(&mut self, row: Row) {
        let codes = Arc::make_mut(&mut self.by_code).entry(row.system.clone()).or_default();
        if !row.code.is_empty() && !codes.contains_key(&row.code) {
            codes.insert(row.code.clone(), self.rows.len());
            Arc::make_mut(&mut self.rows).push(row);
        }
    }
}

/// The strongest of the statements about one code.
fn best(mut rows: Vec<Row>) -> Option<Row> {
    let rank = |row: &Row| match row.relationship {
        Relationship::Equal => 0,
        Relationship::Equivalent => 1,
        Relationship::Wider => 2,
        Relationship::Narrower => 3,
        Relationship::Inexact => 4,
        Relationship::NoMap => 5,
    };
    rows.sort_by_key(rank);
    let mut rows = rows.into_iter();
    let mut first = rows.next()?;
    let rival = rows.any(|row| rank(&row) == rank(&first) && row.target_code != first.target_code);
    if rival && first.relationship != Relationship::NoMap {
        first.relationship = Relationship::Inexact;
    }
    Some(first)
}

fn relationship(word: &str) -> Option<Relationship> {
    Some(match word {
        "equal" => Relationship::Equal,
        "equivalent" => Relationship::Equivalent,
        "wider" | "subsumes" | "source-is-narrower-than-target" => Relationship::Wider,
        "narrower" | "specializes" | "source-is-broader-than-target" => Relationship::Narrower,
        "inexact" | "relatedto" | "related-to" => Relationship::Inexact,
        "unmatched" | "disjoint" | "not-related-to" => Relationship::NoMap,
        _ => return None,
    })
}

fn text<'t>(tree: &'t Tree, node: NodeId, name: &str) -> &'t str {
    tree.named(node, name).next().and_then(|child| tree.text(child)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::codes::Lookup;

    #[test]
    fn a_concept_map_of_either_version_is_a_table() {
        let map = r#"{"resourceType":"ConceptMap","status":"draft","group":[{"source":"s","target":"t","element":[
            {"code":"a","target":[{"code":"A","equivalence":"equivalent"},{"code":"B","equivalence":"wider"}]},
            {"code":"b","target":[{"code":"B1","relationship":"equivalent"},{"code":"B2","relationship":"equivalent"}]},
            {"code":"c","target":[{"equivalence":"unmatched"}]},{"code":"d","noMap":true},
            {"code":"e","target":[{"code":"E","relationship":"source-is-broader-than-target"}]}]}]}"#;
        let table = CodeTable::from_concept_map("m", "m.json", map.as_bytes(), &[]).unwrap();
        // A `code` element has no system: the table's own is meant where there is one.
        assert!(matches!(table.lookup("", "a"), Lookup::Mapped(row) if row.target_code == "A"));
        assert_eq!(table.lookup("other", "a"), Lookup::Unmapped);
        assert!(
            matches!(table.lookup("s", "a"), Lookup::Mapped(row) if row.target_code == "A" && row.target_system == "t")
        );
        for (code, expected) in
            [("b", Lookup::Unmapped), ("c", Lookup::NoMap), ("d", Lookup::NoMap), ("e", Lookup::Unmapped)]
        {
            assert_eq!(table.lookup("s", code), expected, "{code}");
        }
    }

    #[test]
    fn what_is_no_relationship_is_named_with_its_line() {
        let map = "{\"resourceType\":\"ConceptMap\",\"group\":[{\"element\":[\n{\"code\":\"a\",\"target\":[{\"code\":\"A\",\"equivalence\":\"same\"}]}]}]}";
        let errors = CodeTable::from_concept_map("m", "codes/m.json", map.as_bytes(), &[]).unwrap_err();
        assert_eq!((errors[0].file.as_str(), errors[0].line), ("codes/m.json", 2));
        assert!(CodeTable::from_concept_map("m", "m.json", b"{\"resourceType\":\"Patient\"}", &[]).is_err());
    }
}
