//! JSON Patch (RFC 6902) on a resource's bytes: all six operations, all or none.

use std::borrow::Cow;

use sluis_conformance::json::{Doc, Kind, Node};

use super::Bounds;
use super::tree::Tree;
use crate::response::refusal::{Reason, Refusal};

/// One operation, its form checked.
#[derive(Debug)]
pub(super) struct Operation<'p> {
    at: usize,
    path: Vec<String>,
    what: What<'p>,
}

#[derive(Debug)]
enum What<'p> {
    Add(Node<'p>),
    Remove,
    Replace(Node<'p>),
    Move(Vec<String>),
    Copy(Vec<String>),
    Test(Node<'p>),
}

/// Reads the operations.
///
/// Errors: `Malformed`, `TooCostly`. Source: RFC 6902 sections 3 and 4, RFC 6901
pub(super) fn operations(doc: &Doc, operations_max: u64) -> Result<Vec<Operation<'_>>, Refusal> {
    let root = doc.root();
    if root.kind() != Kind::Array {
        return Err(Refusal::new(Reason::Malformed, "A JSON Patch is a list of operations."));
    }
    if root.len() as u64 > operations_max {
        let text = format!("{} operations; at most {operations_max} are taken.", root.len());
        return Err(Refusal::new(Reason::TooCostly, text));
    }
    root.items().enumerate().map(|(at, node)| operation(at, node)).collect()
}

fn operation(at: usize, node: Node<'_>) -> Result<Operation<'_>, Refusal> {
    let malformed =
        |text: &str| Refusal::new(Reason::Malformed, format!("Operation {at}: {text}")).at(format!("[{at}]"));
    let text = |name: &str| node.get(name).and_then(|n| n.as_str());
    let pointer = |name: &str| {
        let text = text(name).ok_or_else(|| malformed(&format!("it has no {name}.")))?;
        parse(&text).ok_or_else(|| malformed(&format!("{name} is no JSON Pointer (RFC 6901).")))
    };
    let value = || node.get("value").ok_or_else(|| malformed("it has no value."));
    let op = text("op").ok_or_else(|| malformed("it has no op."))?;
    let what = match &*op {
        "add" => What::Add(value()?),
        "remove" => What::Remove,
        "replace" => What::Replace(value()?),
        "move" => What::Move(pointer("from")?),
        "copy" => What::Copy(pointer("from")?),
        "test" => What::Test(value()?),
        _ => return Err(malformed("op is add, remove, replace, move, copy or test.")),
    };
    let path = pointer("path")?;
    if let What::Move(from) = &what
        && path.len() > from.len()
        && path.starts_with(from)
    {
        return Err(malformed("a value does not move into itself."));
    }
    Ok(Operation { at, path, what })
}

/// The parts of a JSON Pointer.
fn parse(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.strip_prefix('/')?
        .split('/')
        .map(|part| {
            let mut escapes = part.split('~').skip(1);
            escapes
                .all(|rest| rest.starts_with(['0', '1']))
                .then(|| part.replace("~1", "/").replace("~0", "~"))
        })
        .collect()
}

/// The text of the patched resource.
///
/// Errors: those of [`operations`]; `PatchFailed` names the operation; `TooCostly` when copies outgrow their limit.
pub(super) fn apply(stored: &Doc, patch: &Doc, bounds: &Bounds) -> Result<String, Refusal> {
    let operations = operations(patch, bounds.operations_max)?;
    let mut tree = Tree::Kept(stored.root());
    let mut weight = tree.weight();
    for operation in &operations {
        let failed = |text: &str| {
            let at = operation.at;
            Refusal::new(Reason::PatchFailed, format!("Operation {at}: {text}")).at(format!("[{at}]"))
        };
        let nowhere = || failed("its place is not there.");
        match &operation.what {
            What::Add(value) => {
                weight += Tree::Kept(*value).weight();
                add(&mut tree, &operation.path, Tree::Kept(*value)).ok_or_else(nowhere)?;
            }
            What::Remove => {
                remove(&mut tree, &operation.path).ok_or_else(nowhere)?;
            }
            What::Replace(value) => {
                weight += Tree::Kept(*value).weight();
                *find(&mut tree, &operation.path).ok_or_else(nowhere)? = Tree::Kept(*value);
            }
            What::Move(from) if *from == operation.path => {
                find(&mut tree, from).ok_or_else(nowhere)?;
            }
            What::Move(from) => {
                let value = remove(&mut tree, from).ok_or_else(nowhere)?;
                add(&mut tree, &operation.path, value).ok_or_else(nowhere)?;
            }
            What::Copy(from) => {
                let value = find(&mut tree, from).ok_or_else(nowhere)?;
                weight += value.weight();
                if weight as u64 > bounds.nodes_max {
                    return Err(Refusal::new(Reason::TooCostly, "The copies of this patch grow too large."));
                }
                let value = value.clone();
                add(&mut tree, &operation.path, value).ok_or_else(nowhere)?;
            }
            What::Test(value) => {
                let found = find(&mut tree, &operation.path).ok_or_else(nowhere)?;
                if !equal(found, &Tree::Kept(*value)) {
                    return Err(failed("the test does not hold."));
                }
            }
        }
        if weight as u64 > bounds.nodes_max {
            return Err(Refusal::new(Reason::TooCostly, "The patched resource grows too large."));
        }
    }
    let mut out = String::with_capacity(stored.text().len() + 256);
    tree.write(&mut out);
    Ok(out)
}

/// The value at a place.
fn find<'t, 'd>(tree: &'t mut Tree<'d>, path: &[String]) -> Option<&'t mut Tree<'d>> {
    let mut at = tree;
    for part in path {
        at = match at.open() {
            Tree::Object(members) => {
                members.iter_mut().find(|(name, _)| name == part).map(|(_, value)| value)?
            }
            Tree::Array(items) => items.get_mut(index(part)?)?,
            Tree::Kept(_) | Tree::Null => return None,
        };
    }
    Some(at)
}

fn add<'d>(tree: &mut Tree<'d>, path: &[String], value: Tree<'d>) -> Option<()> {
    let Some((last, parent)) = path.split_last() else {
        *tree = value;
        return Some(());
    };
    match find(tree, parent)?.open() {
        Tree::Object(members) => match members.iter_mut().find(|(name, _)| name == last) {
            Some((_, there)) => *there = value,
            None => members.push((Cow::Owned(last.clone()), value)),
        },
        Tree::Array(items) if last == "-" => items.push(value),
        Tree::Array(items) => {
            let at = index(last).filter(|at| *at <= items.len())?;
            items.insert(at, value);
        }
        Tree::Kept(_) | Tree::Null => return None,
    }
    Some(())
}

fn remove<'d>(tree: &mut Tree<'d>, path: &[String]) -> Option<Tree<'d>> {
    // The resource itself is deleted by DELETE.
    let (last, parent) = path.split_last()?;
    match find(tree, parent)?.open() {
        Tree::Object(members) => {
            let at = members.iter().position(|(name, _)| name == last)?;
            Some(members.remove(at).1)
        }
        Tree::Array(items) => {
            let at = index(last).filter(|at| *at < items.len())?;
            Some(items.remove(at))
        }
        Tree::Kept(_) | Tree::Null => None,
    }
}

/// An index as RFC 6901 writes it: no sign, no leading zero.
fn index(text: &str) -> Option<usize> {
    let form = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    if form { text.parse().ok() } else { None }
}

/// RFC 6902 section 4.6: numbers by value, objects without order.
fn equal(a: &Tree<'_>, b: &Tree<'_>) -> bool {
    let (mut a, mut b) = (a.clone(), b.clone());
    match (a.open(), b.open()) {
        (Tree::Object(a), Tree::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, value)| {
                    b.iter().find(|(other, _)| other == name).is_some_and(|(_, other)| equal(value, other))
                })
        }
        (Tree::Array(a), Tree::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        (Tree::Kept(a), Tree::Kept(b)) => match (a.kind(), b.kind()) {
            (Kind::Number, Kind::Number) => digits(a.raw()) == digits(b.raw()),
            (Kind::String, Kind::String) => a.as_str() == b.as_str(),
            (x, y) => x == y && a.raw() == b.raw(),
        },
        _ => false,
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the last: equal for equal numbers. `None` for zero.
fn digits(raw: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or(i64::from(i32::MAX));
    let negative = mantissa.starts_with('-');
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa.trim_start_matches('-'), ""));
    let all = format!("{whole}{fraction}");
    let trimmed = all.trim_end_matches('0');
    let zeros = i64::try_from(all.len() - trimmed.len()).unwrap_or(0);
    let trimmed = trimmed.trim_start_matches('0');
    if trimmed.is_empty() {
        return None;
    }
    let scale = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(0)).saturating_add(zeros);
    Some((negative, trimmed.to_owned(), scale))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;
    use sluis_conformance::json::JsonLimits;

    fn doc(text: &str) -> Doc {
        Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
    }

    fn patched(stored: &str, patch: &str) -> Result<String, Reason> {
        apply(&doc(stored), &doc(patch), &Bounds::default()).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn every_operation_changes_its_place_and_nothing_else() {
        let stored = r#"{"b":1.10, "a":[ 1,2.50 ],"c":{"x":"\u00e9"}}"#;
        let cases = [
            (
                r#"[{"op":"add","path":"/d","value":0.30}]"#,
                r#"{"b":1.10,"a":[ 1,2.50 ],"c":{"x":"\u00e9"},"d":0.30}"#,
            ),
            (r#"[{"op":"add","path":"/a/0","value":7}]"#, r#"{"b":1.10,"a":[7,1,2.50],"c":{"x":"\u00e9"}}"#),
            (r#"[{"op":"add","path":"/a/-","value":7}]"#, r#"{"b":1.10,"a":[1,2.50,7],"c":{"x":"\u00e9"}}"#),
            (r#"[{"op":"remove","path":"/a/0"}]"#, r#"{"b":1.10,"a":[2.50],"c":{"x":"\u00e9"}}"#),
            (r#"[{"op":"replace","path":"/b","value":2}]"#, r#"{"b":2,"a":[ 1,2.50 ],"c":{"x":"\u00e9"}}"#),
            (
                r#"[{"op":"move","from":"/a/1","path":"/c/y"}]"#,
                r#"{"b":1.10,"a":[1],"c":{"x":"\u00e9","y":2.50}}"#,
            ),
            (
                r#"[{"op":"copy","from":"/b","path":"/c/y"}]"#,
                r#"{"b":1.10,"a":[ 1,2.50 ],"c":{"x":"\u00e9","y":1.10}}"#,
            ),
            (
                r#"[{"op":"test","path":"/a","value":[1.0,2.5]},{"op":"remove","path":"/c"}]"#,
                r#"{"b":1.10,"a":[ 1,2.50 ]}"#,
            ),
        ];
        for (patch, expected) in cases {
            assert_eq!(patched(stored, patch).as_deref(), Ok(expected), "{patch}");
        }
    }

    #[test]
    fn an_operation_that_does_not_apply_is_named_and_a_form_that_is_none_is_malformed() {
        let stored = r#"{"a":[1],"b":{"c":1}}"#;
        let failing = [
            r#"[{"op":"remove","path":"/x"}]"#,
            r#"[{"op":"replace","path":"/a/1","value":1}]"#,
            r#"[{"op":"add","path":"/a/2","value":1}]"#,
            r#"[{"op":"add","path":"/a/01","value":1}]"#,
            r#"[{"op":"add","path":"/a/0/x","value":1}]"#,
            r#"[{"op":"test","path":"/b/c","value":"1"}]"#,
            r#"[{"op":"remove","path":""}]"#,
            r#"[{"op":"move","from":"/x","path":"/y"}]"#,
        ];
        for patch in failing {
            assert_eq!(patched(stored, patch), Err(Reason::PatchFailed), "{patch}");
        }
        let malformed = [
            "{}",
            r#"[{"op":"spam","path":"/a"}]"#,
            r#"[{"path":"/a"}]"#,
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"op":"add","path":"a","value":1}]"#,
            r#"[{"op":"add","path":"/~2","value":1}]"#,
            r#"[{"op":"move","path":"/b/c","from":"/b"}]"#,
            "[1]",
        ];
        for patch in malformed {
            assert_eq!(patched(stored, patch), Err(Reason::Malformed), "{patch}");
        }
    }

    #[test]
    fn copies_of_copies_and_long_patches_end_at_their_limit() {
        let step = r#"{"op":"copy","from":"","path":"/a/-"}"#;
        let patch = format!("[{}]", vec![step; 64].join(","));
        assert_eq!(patched(r#"{"a":[]}"#, &patch), Err(Reason::TooCostly));
        let patch = format!(
            "[{}]",
            vec![r#"{"op":"test","path":"","value":{}}"#; Bounds::default().operations_max as usize + 1]
                .join(",")
        );
        assert_eq!(patched("{}", &patch), Err(Reason::TooCostly));
    }

    #[test]
    fn numbers_are_equal_by_value() {
        for (a, b, same) in [
            ("1.10", "1.1", true),
            ("100", "1e2", true),
            ("0", "-0.0", true),
            ("1", "10", false),
            ("-1", "1", false),
        ] {
            assert_eq!(digits(a) == digits(b), same, "{a} {b}");
        }
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn the_published_cases_hold() {
        let folder = std::env::var_os("SLUIS_SHARED").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
            Into::into,
        );
        let path = folder.join("data/fhir-test-cases/json-patch-tests.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            println!("SKIPPED: json-patch-tests.json is not here (set SLUIS_SHARED)");
            return;
        };
        let cases = doc(&text);
        let mut ran = 0;
        for case in cases.root().items().filter(|case| case.get("patch").is_some()) {
            let (stored, patch) =
                (doc(case.get("doc").unwrap().raw()), doc(case.get("patch").unwrap().raw()));
            let result = apply(&stored, &patch, &Bounds::default());
            ran += 1;
            match case.get("expected") {
                Some(expected) => {
                    let result =
                        doc(&result.unwrap_or_else(|refusal| unreachable!("{refusal:?}: {}", case.raw())));
                    let expected = doc(expected.raw());
                    assert!(
                        equal(&Tree::Kept(result.root()), &Tree::Kept(expected.root())),
                        "{}",
                        case.raw()
                    );
                }
                None => assert!(result.is_err(), "{}", case.raw()),
            }
        }
        assert!(ran > 0, "no case was found in the file");
    }
}
