//! What a server's CapabilityStatement lists, as items that claims speak for.
//!
//! Items: `format.xml`, `Observation.read` (interaction of a type), `Group.$export` (operation of a type), `system.batch` (interaction
//! of the whole), `system.$export` (operation of the whole), `search.token` (kind of a search parameter),
//! `search._include`, `search._revinclude`, `conditional.read` and the like. A claim covers `*.read` for every type.

use std::collections::BTreeSet;

use serde_json::Value;

use super::http::Server;
use super::script::Claim;

/// Asks the server for its statement and takes the items out.
///
/// Errors: no answer, or no CapabilityStatement.
/// Source: FHIR R4 capabilitystatement.html
pub(crate) async fn items(server: &Server) -> Result<BTreeSet<String>, String> {
    let answer = server.send("GET", "metadata", &[], Vec::new()).await?;
    let statement: Value =
        serde_json::from_slice(&answer.body).map_err(|e| format!("metadata: {}: {e}", answer.status))?;
    if statement["resourceType"] != "CapabilityStatement" {
        return Err(format!("metadata: {} and no CapabilityStatement", answer.status));
    }
    Ok(of(&statement))
}

fn of(statement: &Value) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    items.extend(
        list(&statement["format"]).iter().filter_map(Value::as_str).map(|name| format!("format.{name}")),
    );
    for rest in list(&statement["rest"]) {
        items.extend(texts(rest, "interaction", "code").map(|code| format!("system.{code}")));
        items.extend(texts(rest, "operation", "name").map(|name| format!("system.${name}")));
        items.extend(texts(rest, "searchParam", "type").map(|kind| format!("search.{kind}")));
        for resource in list(&rest["resource"]) {
            let kind = resource["type"].as_str().unwrap_or("?");
            items.extend(texts(resource, "interaction", "code").map(|code| format!("{kind}.{code}")));
            items.extend(texts(resource, "operation", "name").map(|name| format!("{kind}.${name}")));
            items.extend(texts(resource, "searchParam", "type").map(|kind| format!("search.{kind}")));
            for (member, item) in INCLUDES {
                if !list(&resource[member]).is_empty() {
                    items.insert((*item).to_owned());
                }
            }
            for (member, item) in CONDITIONAL {
                let offered = match &resource[member] {
                    Value::Bool(offered) => *offered,
                    Value::String(code) => code != "not-supported",
                    _ => false,
                };
                if offered {
                    items.insert((*item).to_owned());
                }
            }
        }
    }
    items
}

const INCLUDES: &[(&str, &str)] =
    &[("searchInclude", "search._include"), ("searchRevInclude", "search._revinclude")];

const CONDITIONAL: &[(&str, &str)] = &[
    ("conditionalCreate", "conditional.create"),
    ("conditionalRead", "conditional.read"),
    ("conditionalUpdate", "conditional.update"),
    ("conditionalDelete", "conditional.delete"),
    ("updateCreate", "update.create"),
];

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts<'v>(of: &'v Value, member: &str, name: &'v str) -> impl Iterator<Item = &'v str> {
    list(&of[member]).iter().filter_map(move |entry| entry[name].as_str())
}

/// Items no claim speaks for, and claims' items the statement does not list: each is a fault.
///
/// An item of a claim marked as not claimed is spoken for as well; `*.patch` of such a claim need not be listed.
pub(crate) fn faults(items: &BTreeSet<String>, claims: &[Claim]) -> Vec<String> {
    let mut faults = Vec::new();
    for item in items {
        if !claims.iter().flat_map(|claim| &claim.covers).any(|cover| covers(cover, item)) {
            faults.push(format!("the CapabilityStatement lists {item}, and no claim speaks for it"));
        }
    }
    for claim in claims.iter().filter(|claim| claim.not_claimed.is_none()) {
        for cover in &claim.covers {
            if !items.iter().any(|item| covers(cover, item)) {
                faults.push(format!(
                    "claimed and not listed in the CapabilityStatement: {cover} ({})",
                    claim.sentence
                ));
            }
        }
    }
    faults
}

/// `*.read` covers `Observation.read`; types are written with a capital, the other groups are not types.
fn covers(cover: &str, item: &str) -> bool {
    let typed = item.starts_with(|first: char| first.is_ascii_uppercase());
    match (cover.strip_prefix("*."), item.split_once('.')) {
        (Some(wanted), Some((_, rest))) => typed && wanted == rest,
        _ => cover == item,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

    use serde_json::json;

    use super::*;

    fn claim(covers: &[&str], not_claimed: Option<&str>) -> Claim {
        Claim {
            sentence: "x".to_owned(),
            covers: covers.iter().map(|c| (*c).to_owned()).collect(),
            scripts: Vec::new(),
            not_claimed: not_claimed.map(str::to_owned),
        }
    }

    #[test]
    fn listed_and_not_claimed_is_a_fault_and_so_is_claimed_and_not_listed() {
        let items = of(&json!({ "format": ["xml"], "rest": [{
            "interaction": [{ "code": "batch" }],
            "resource": [{ "type": "Patient", "interaction": [{ "code": "read" }],
                "searchParam": [{ "name": "name", "type": "string" }], "conditionalRead": "full-support" }],
        }] }));
        let all = ["Patient.read", "conditional.read", "format.xml", "search.string", "system.batch"];
        assert!(items.iter().map(String::as_str).eq(all));
        let enough = [
            claim(&["*.read", "conditional.read", "format.xml", "search.string"], None),
            claim(&["system.batch"], Some("later")),
        ];
        assert!(faults(&items, &enough).is_empty());
        assert_eq!(faults(&items, &enough[1..]).len(), 4);
        let more = [claim(&all, None), claim(&["*.patch"], None), claim(&["*.batch"], Some("not a type's"))];
        assert_eq!(faults(&items, &more).len(), 1);
    }
}
