//! What a version says otherwise than the one before it, element by element: for a dry run, which is read before anything is
//! replayed. Works on the stored bytes of both; decides nothing.

use bytes::Bytes;
use serde_json::{Value, json};
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};

/// Elements told of one resource.
const ELEMENTS_MAX: usize = 200;
/// Characters of a value that are told; a longer one is cut.
const VALUE_CHARS_MAX: usize = 200;

/// A resource as it stands and as it would, both as far as the asking permit may read them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The version that stands; `None`: there is none.
    pub before: Option<Bytes>,
    /// The version that would follow it.
    pub after: Bytes,
}

/// An element that differs, as its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `Observation.component[1].valueQuantity.value`; the index is that of the later version, of the earlier one for what
    /// is taken away.
    pub path: String,
    /// Value that stands.
    pub before: Option<String>,
    /// Value that would stand.
    pub after: Option<String>,
}

impl Pair {
    /// What differs, in the order of the later version, then what is taken away; `None` when stored bytes do not parse. The
    /// gateway's own marks (`id`, `meta.versionId`, `meta.lastUpdated`) are left out.
    pub fn changes(&self) -> Option<Vec<Change>> {
        let parse = |bytes: &Bytes| Doc::parse(bytes.to_vec(), JsonLimits::default()).ok();
        let after = parse(&self.after)?;
        let before = match &self.before {
            None => None,
            Some(bytes) => Some(parse(bytes)?),
        };
        let name = after.root().get("resourceType").and_then(|name| name.as_str())?.into_owned();
        let mut found = Vec::new();
        walk(&name, before.as_ref().map(Doc::root), Some(after.root()), &mut found);
        let own = ["id", "meta.versionId", "meta.lastUpdated"].map(|mark| format!("{name}.{mark}"));
        found.retain(|change| !own.contains(&change.path));
        Some(found)
    }
}

/// Number of elements of `changes` that [`to_parts`] tells.
pub fn told(changes: &[Change]) -> usize {
    changes.len().min(ELEMENTS_MAX)
}

/// As parts of a Parameters resource: an `element` each, and how many are not shown.
pub fn to_parts(changes: &[Change]) -> Vec<Value> {
    let mut parts: Vec<Value> = changes.iter().take(ELEMENTS_MAX).map(to_part).collect();
    if changes.len() > ELEMENTS_MAX {
        parts.push(json!({ "name": "elementsNotShown", "valueInteger": changes.len() - ELEMENTS_MAX }));
    }
    parts
}

fn to_part(change: &Change) -> Value {
    let mut part = vec![json!({ "name": "path", "valueString": change.path })];
    for (name, value) in [("before", &change.before), ("after", &change.after)] {
        // An empty string is no FHIR string (R4 datatypes.html#string).
        if let Some(value) = value.as_ref().filter(|value| !value.trim().is_empty()) {
            part.push(json!({ "name": name, "valueString": value }));
        }
    }
    json!({ "name": "element", "part": part })
}

/// Goes down both sides at once; depth is that of the parsed documents, which their parser bounds.
fn walk(path: &str, before: Option<Node<'_>>, after: Option<Node<'_>>, found: &mut Vec<Change>) {
    if let (Some(before), Some(after)) = (before, after)
        && same(before, after)
    {
        return;
    }
    let is = |kind: Kind| move |node: &Node<'_>| node.kind() == kind;
    let sides = [before, after];
    let whole = |kind: Kind| sides.iter().flatten().all(is(kind));
    if whole(Kind::Object) {
        for (name, value) in after.into_iter().flat_map(|after| after.members()) {
            walk(&format!("{path}.{name}"), before.and_then(|before| before.get(&name)), Some(value), found);
        }
        for (name, value) in before.into_iter().flat_map(|before| before.members()) {
            if after.is_none_or(|after| after.get(&name).is_none()) {
                walk(&format!("{path}.{name}"), Some(value), None, found);
            }
        }
    } else if whole(Kind::Array) {
        lists(path, before, after, found);
    } else if let (Some(earlier), Some(later)) = (before, after)
        && sides.iter().flatten().any(|node| matches!(node.kind(), Kind::Object | Kind::Array))
    {
        // Another kind of value altogether: the one goes, the other comes.
        walk(path, None, Some(later), found);
        walk(path, Some(earlier), None, found);
    } else {
        found.push(Change { path: path.to_owned(), before: before.map(text), after: after.map(text) });
    }
}

/// Two lists: what they share at their ends is passed over, so that one more item is one change; the rest goes pair by pair.
fn lists(path: &str, before: Option<Node<'_>>, after: Option<Node<'_>>, found: &mut Vec<Change>) {
    let (before, after) = (items(before), items(after));
    let equal = |(a, b): &(&Node<'_>, &Node<'_>)| same(**a, **b);
    let first = before.iter().zip(&after).take_while(equal).count();
    let (before, after) = (before.get(first..).unwrap_or_default(), after.get(first..).unwrap_or_default());
    let last = before.iter().rev().zip(after.iter().rev()).take_while(equal).count();
    let (olds, news) = (before.len() - last, after.len() - last);
    for at in 0..olds.max(news) {
        let old = before.get(..olds).and_then(|olds| olds.get(at)).copied();
        let new = after.get(..news).and_then(|news| news.get(at)).copied();
        walk(&format!("{path}[{}]", first + at), old, new, found);
    }
}

fn items(list: Option<Node<'_>>) -> Vec<Node<'_>> {
    list.into_iter().flat_map(|list| list.items()).collect()
}

/// Whether two values say the same: order of members and escapes do not count, digits of decimals do.
fn same(a: Node<'_>, b: Node<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::Object, Kind::Object) => {
            a.len() == b.len()
                && a.members().all(|(name, value)| b.get(&name).is_some_and(|other| same(value, other)))
        }
        (Kind::Array, Kind::Array) => a.len() == b.len() && a.items().zip(b.items()).all(|(a, b)| same(a, b)),
        (Kind::String, Kind::String) => a.as_str() == b.as_str(),
        (one, other) => one == other && a.raw() == b.raw(),
    }
}

fn text(leaf: Node<'_>) -> String {
    let whole = leaf.as_str().map_or_else(|| leaf.raw().to_owned(), |text| text.into_owned());
    match whole.char_indices().nth(VALUE_CHARS_MAX) {
        None => whole,
        Some((cut, _)) => format!("{}…", whole.get(..cut).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(before: Option<&str>, after: &str) -> Pair {
        let bytes = |text: &str| Bytes::from(text.to_owned());
        Pair { before: before.map(bytes), after: bytes(after) }
    }

    fn lines(before: Option<&str>, after: &str) -> Vec<String> {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let changes = pair(before, after).changes().unwrap();
        changes.iter().map(|c| format!("{} {} {}", c.path, or(&c.before), or(&c.after))).collect()
    }

    const BEFORE: &str = r#"{"resourceType":"Observation","id":"a","meta":{"versionId":"1","source":"s"},"status":"final","code":{"coding":[{"code":"x"},{"code":"y"}]},"valueQuantity":{"value":2.1,"unit":"L"},"note":[{"text":"n"}]}"#;

    #[test]
    fn only_what_differs_is_told_and_digits_count() {
        let after = r#"{"resourceType":"Observation","meta":{"source":"s","versionId":"2"},"id":"a","status":"corrected","code":{"coding":[{"code":"w"},{"code":"x"},{"code":"y"}]},"valueQuantity":{"value":2.10,"unit":"L"}}"#;
        assert_eq!(
            lines(Some(BEFORE), after),
            [
                "Observation.status final corrected",
                "Observation.code.coding[0].code - w",
                "Observation.valueQuantity.value 2.1 2.10",
                "Observation.note[0].text n -",
            ]
        );
        assert!(
            lines(Some(BEFORE), &BEFORE.replace("\"versionId\":\"1\"", "\"versionId\":\"9\"")).is_empty()
        );
    }

    #[test]
    fn a_new_resource_is_told_as_a_whole() {
        assert_eq!(
            lines(None, r#"{"resourceType":"Basic","id":"a","code":{"text":"t"},"extension":[{"url":"u"}]}"#),
            ["Basic.resourceType - Basic", "Basic.code.text - t", "Basic.extension[0].url - u"]
        );
    }

    #[test]
    fn another_kind_of_value_is_one_gone_and_one_come() {
        let told = lines(
            Some(r#"{"resourceType":"Basic","extension":[1,{"a":"b"}]}"#),
            r#"{"resourceType":"Basic","extension":[{"c":true},"d"]}"#,
        );
        assert_eq!(
            told,
            [
                "Basic.extension[0].c - true",
                "Basic.extension[0] 1 -",
                "Basic.extension[1] - d",
                "Basic.extension[1].a b -",
            ]
        );
    }

    #[test]
    fn long_lists_and_long_values_are_cut_and_say_so() {
        let many: Vec<String> = (0..ELEMENTS_MAX + 5).map(|n| format!("\"e{n}\":{n}")).collect();
        let after = format!(r#"{{"resourceType":"Basic","long":"{}",{}}}"#, "é".repeat(300), many.join(","));
        let changes = pair(None, &after).changes().unwrap();
        assert_eq!(changes[1].after.as_ref().unwrap().chars().count(), VALUE_CHARS_MAX + 1);
        let parts = to_parts(&changes);
        assert_eq!((parts.len(), told(&changes)), (ELEMENTS_MAX + 1, ELEMENTS_MAX));
        assert_eq!(parts[ELEMENTS_MAX]["valueInteger"], 7);
    }
}
