//! The invariants that have code, because it is faster or says better what to do; `judged.rs` evaluates the others. Words
//! and severity come from the table. Those about contained resources are in
//! `local.rs`, those about narrative in `narrative.rs`.

use crate::definitions::Structure;
use crate::fhirpath::Item;
use crate::json::Node;
use crate::path::FhirDateTime;

use super::Severity;
use super::walk::Walk;

/// One invariant: where it holds, its key, whether an object keeps it, what to do when not.
struct Rule {
    path: &'static str,
    key: &'static str,
    keeps: fn(Node<'_>) -> bool,
    remedy: &'static str,
}

/// Sorted by path. A structure is judged by the rules of its own path and of the types it specialises.
const RULES: &[Rule] = &[
    Rule {
        path: "Attachment",
        key: "att-1",
        keeps: |n| !has(n, "data") || has(n, "contentType"),
        remedy: "add contentType",
    },
    Rule {
        path: "Bundle",
        key: "bdl-3",
        keeps: bundle_requests,
        remedy: "add request to every entry, or to none",
    },
    Rule {
        path: "Bundle",
        key: "bdl-7",
        keeps: bundle_full_urls,
        remedy: "give every entry its own fullUrl",
    },
    Rule {
        path: "Bundle.entry",
        key: "bdl-5",
        keeps: |n| has(n, "resource") || has(n, "request") || has(n, "response"),
        remedy: "add the resource",
    },
    Rule {
        path: "Bundle.entry",
        key: "bdl-8",
        keeps: |n| !text(n, "fullUrl").is_some_and(|url| url.contains("/_history/")),
        remedy: "leave the version out of fullUrl",
    },
    Rule {
        path: "CarePlan.activity",
        key: "cpl-3",
        keeps: |n| !has(n, "detail") || !has(n, "reference"),
        remedy: "keep detail or reference",
    },
    Rule {
        path: "Condition",
        key: "con-4",
        keeps: condition_abated,
        remedy: "set clinicalStatus to resolved, remission or inactive",
    },
    Rule {
        path: "Condition",
        key: "con-5",
        keeps: |n| {
            !has_code(n, "verificationStatus", VERIFICATION, &["entered-in-error"])
                || !has(n, "clinicalStatus")
        },
        remedy: "leave clinicalStatus out",
    },
    Rule {
        path: "ContactPoint",
        key: "cpt-2",
        keeps: |n| !has(n, "value") || has(n, "system"),
        remedy: "add system, such as phone or email",
    },
    Rule {
        path: "Extension",
        key: "ext-1",
        keeps: |n| has(n, "extension") != n.members().any(|(name, _)| is_choice(&name, "value")),
        remedy: "give the extension a value or extensions, and not both",
    },
    Rule {
        path: "Observation",
        key: "obs-6",
        keeps: |n| !has(n, "dataAbsentReason") || !n.members().any(|(name, _)| is_choice(&name, "value")),
        remedy: "keep the value or the reason that there is none",
    },
    Rule {
        path: "Observation.referenceRange",
        key: "obs-3",
        keeps: |n| has(n, "low") || has(n, "high") || has(n, "text"),
        remedy: "add low, high or text",
    },
    Rule {
        path: "Organization",
        key: "org-1",
        keeps: |n| has(n, "identifier") || has(n, "name"),
        remedy: "add an identifier or a name",
    },
    Rule {
        path: "Patient.contact",
        key: "pat-1",
        keeps: |n| ["name", "telecom", "address", "organization"].iter().any(|name| has(n, name)),
        remedy: "add a name, telecom, address or organization",
    },
    Rule {
        path: "Period",
        key: "per-1",
        keeps: period_in_order,
        remedy: "let the period end after it starts",
    },
    Rule {
        path: "Quantity",
        key: "qty-3",
        keeps: |n| !has(n, "code") || has(n, "system"),
        remedy: "add the system of the code, for UCUM http://unitsofmeasure.org",
    },
];

pub(super) fn judge<'d>(walk: &mut Walk<'d>, structure: &'d Structure, node: Node<'d>) {
    let own = structure;
    let mut at = Some(structure);
    while let Some(structure) = at {
        let from = RULES.partition_point(|rule| rule.path < structure.path);
        let rules = RULES.get(from..).unwrap_or_default();
        for rule in rules.iter().take_while(|rule| rule.path == structure.path) {
            if !(rule.keeps)(node) {
                walk.broken(rule.key, node, rule.remedy);
            }
        }
        walk.judge_at(structure.path, Some(Item::object(own, node)));
        at = structure.base.map(|base| walk.definitions.structure_at(base));
    }
}

/// Invariants with code in `walk.rs`, `local.rs` and `narrative.rs`.
const ELSEWHERE: &[&str] = &["ele-1", "ref-1", "dom-2", "dom-3", "dom-4", "dom-5", "txt-1", "txt-2"];

/// Whether a row of the table has code of its own.
pub(super) fn is_coded(path: &str, key: &str) -> bool {
    ELSEWHERE.contains(&key) || RULES.iter().any(|rule| rule.path == path && rule.key == key)
}

impl Walk<'_> {
    /// Notes that an invariant of the table does not hold.
    pub(super) fn broken(&mut self, key: &str, at: Node<'_>, remedy: &str) {
        let known = self.definitions.invariant(key);
        let is_warning = known.is_some_and(|invariant| invariant.severity == "warning");
        let severity = if is_warning { Severity::Warning } else { Severity::Error };
        let text = format!("{key}: {}", known.map_or("the rule does not hold", |invariant| invariant.human));
        self.issue(severity, "invariant", at, text, remedy);
    }
}

const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";

/// Whether a property is there, be it as extension only.
fn has(node: Node<'_>, name: &str) -> bool {
    node.get(name).is_some() || node.get(&format!("_{name}")).is_some()
}

/// Whether a property is the choice of that name in some type.
fn is_choice(property: &str, name: &str) -> bool {
    let property = property.strip_prefix('_').unwrap_or(property);
    property.strip_prefix(name).is_some_and(|type_| type_.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn text<'d>(node: Node<'d>, name: &str) -> Option<std::borrow::Cow<'d, str>> {
    node.get(name).and_then(Node::as_str)
}

fn has_code(node: Node<'_>, name: &str, system: &str, codes: &[&str]) -> bool {
    let mut codings =
        node.get(name).and_then(|concept| concept.get("coding")).into_iter().flat_map(Node::items);
    codings.any(|coding| {
        text(coding, "system").is_some_and(|s| s == system)
            && text(coding, "code").is_some_and(|code| codes.contains(&code.as_ref()))
    })
}

fn condition_abated(node: Node<'_>) -> bool {
    let is_abated = node.members().any(|(name, _)| is_choice(&name, "abatement"));
    !is_abated || has_code(node, "clinicalStatus", CLINICAL, &["resolved", "remission", "inactive"])
}

/// Only a start after the whole of the end breaks the rule: 2020-05 to 2020 may be in order.
fn period_in_order(node: Node<'_>) -> bool {
    let read = |name| FhirDateTime::parse(&text(node, name)?).ok();
    match (read("start"), read("end")) {
        (Some(start), Some(end)) => start.low_us < end.high_us,
        _ => true,
    }
}

fn entries(bundle: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    bundle.get("entry").into_iter().flat_map(Node::items)
}

fn bundle_requests(bundle: Node<'_>) -> bool {
    let needs = matches!(text(bundle, "type").as_deref(), Some("batch" | "transaction" | "history"));
    entries(bundle).all(|entry| has(entry, "request") == needs)
}

/// fullUrl is unique, or with the same fullUrl the versions differ.
fn bundle_full_urls(bundle: Node<'_>) -> bool {
    let version = |entry: Node<'_>| {
        let meta = entry.get("resource").and_then(|resource| resource.get("meta"))?;
        text(meta, "versionId").map(std::borrow::Cow::into_owned)
    };
    let mut seen: Vec<_> =
        entries(bundle).filter_map(|entry| Some((text(entry, "fullUrl")?, version(entry)))).collect();
    seen.sort_unstable();
    seen.windows(2).all(|pair| match pair {
        [a, b] => a != b,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definitions::r4;

    #[test]
    fn every_rule_is_in_the_table_where_it_says() {
        assert!(RULES.is_sorted_by_key(|rule| rule.path));
        for rule in RULES {
            assert!(r4().structure(rule.path).is_some(), "{}", rule.path);
            assert!(r4().invariant(rule.key).is_some_and(|known| known.path == rule.path), "{}", rule.key);
        }
        for key in ELSEWHERE {
            assert!(r4().invariant(key).is_some(), "{key}");
        }
    }
}
