//! Whether what a map made is what a suite expects.

use serde_json::Value;
use sluis_mappings::output::Output;
use sluis_mappings::source::{self, json, xml};

use super::Failure;

/// The tree of a document, JSON or XML.
pub(crate) fn tree(bytes: &[u8]) -> source::Tree {
    let limits = source::Limits::default();
    if xml::looks_like_xml(bytes) { xml::parse(bytes, limits).tree } else { json::parse(bytes, limits).tree }
}

/// Compares the only unit with an expected JSON document.
pub(crate) fn same(output: &Output, expected: &str) -> Result<(), Failure> {
    let made = made(output)?;
    let expected: Value = serde_json::from_str(expected).unwrap();
    difference("", &expected, &made).map_or(Ok(()), |detail| Err(Failure::new("different", detail)))
}

/// Compares the XML of the only unit with an expected XML document: the same values under the same names.
pub(crate) fn same_xml(output: &Output, expected: &str) -> Result<(), Failure> {
    let values = |text: &str| {
        let tree = tree(text.as_bytes());
        let leaves = tree.leaves();
        let mut values: Vec<(String, String)> =
            leaves.map(|leaf| (tree.shape(leaf), tree.text(leaf).unwrap_or_default().to_owned())).collect();
        values.sort();
        values
    };
    made(output)?;
    let found = output.units.first().and_then(|unit| unit.xml.as_deref());
    let Some(found) = found else { return Err(Failure::new("no XML", "")) };
    match values(expected) == values(found) {
        true => Ok(()),
        false => Err(Failure::new("different", format!("expected {expected}, made {found}"))),
    }
}

/// The resource of the only unit, whether or not R4 would take it: suites leave out what R4 requires.
pub(crate) fn made(output: &Output) -> Result<Value, Failure> {
    if let Some(finding) = output.findings.iter().find(|finding| finding.rule.is_some()) {
        return Err(Failure::new(finding.code, format!("{finding:?}")));
    }
    let [unit] = output.units.as_slice() else {
        return Err(Failure::new("units", format!("{} units", output.units.len())));
    };
    if let Some(finding) = unit.findings.iter().find(|f| f.code != "resource-invalid") {
        return Err(Failure::new(finding.code, format!("{finding:?}")));
    }
    Ok(serde_json::from_str(unit.resource.as_deref().unwrap_or("null")).unwrap())
}

fn difference(path: &str, expected: &Value, made: &Value) -> Option<String> {
    match (expected, made) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| {
                let (a, b) = (a.get(name), b.get(name));
                difference(&format!("{path}.{name}"), a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            // Where no order is asked for none is compared.
            let (mut a, mut b) = (a.clone(), b.clone());
            a.sort_by_key(ToString::to_string);
            b.sort_by_key(ToString::to_string);
            a.iter().zip(&b).enumerate().find_map(|(at, (a, b))| difference(&format!("{path}[{at}]"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some(format!("{path}: expected {a}, made {b}")),
    }
}
