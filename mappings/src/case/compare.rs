//! Two JSON texts by element path.

use std::fmt;

use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};

/// One place where expected and found differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `out.json` or `findings.json`.
    pub file: &'static str,
    /// Element path, e.g. `units[0].resource.valueQuantity.value`; empty for the whole file.
    pub path: String,
    /// JSON text expected; `None` where nothing was.
    pub expected: Option<String>,
    /// JSON text found; `None` where there is nothing.
    pub found: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &Option<String>| side.as_deref().unwrap_or("nothing").to_owned();
        write!(
            f,
            "{} {}: expected {}, found {}",
            self.file,
            self.path,
            side(&self.expected),
            side(&self.found)
        )
    }
}

/// Where two JSON texts differ. A text that is no JSON differs as a whole.
pub fn compare(file: &'static str, expected: &str, found: &str) -> Vec<Difference> {
    let read = |text: &str| Doc::parse(text.as_bytes().to_vec(), JsonLimits::default());
    let mut differences = Vec::new();
    match (read(expected), read(found)) {
        (Ok(expected), Ok(found)) => nodes(file, "", expected.root(), found.root(), &mut differences),
        (expected, found) => {
            let whole = |side: Result<Doc, _>| {
                Some(side.map_or_else(
                    |e: sluis_conformance::json::JsonError| e.to_string(),
                    |_| "JSON".to_owned(),
                ))
            };
            differences.push(Difference {
                file,
                path: String::new(),
                expected: whole(expected),
                found: whole(found),
            });
        }
    }
    differences
}

fn nodes(file: &'static str, path: &str, expected: Node<'_>, found: Node<'_>, to: &mut Vec<Difference>) {
    let mut differ = |path: String, expected: Option<Node<'_>>, found: Option<Node<'_>>| {
        let text = |node: Option<Node<'_>>| node.map(|n| n.raw().to_owned());
        to.push(Difference { file, path, expected: text(expected), found: text(found) });
    };
    match (expected.kind(), found.kind()) {
        (Kind::Object, Kind::Object) => {
            for (name, value) in expected.members() {
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                match found.get(&name) {
                    Some(other) => nodes(file, &path, value, other, to),
                    None => to.push(Difference {
                        file,
                        path,
                        expected: Some(value.raw().to_owned()),
                        found: None,
                    }),
                }
            }
            for (name, value) in found.members().filter(|(name, _)| expected.get(name).is_none()) {
                let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
                to.push(Difference { file, path, expected: None, found: Some(value.raw().to_owned()) });
            }
        }
        (Kind::Array, Kind::Array) => {
            let (mut left, mut right) = (expected.items(), found.items());
            for i in 0.. {
                let path = format!("{path}[{i}]");
                match (left.next(), right.next()) {
                    (Some(one), Some(other)) => nodes(file, &path, one, other, to),
                    (None, None) => break,
                    (one, other) => {
                        let text = |node: Option<Node<'_>>| node.map(|n| n.raw().to_owned());
                        to.push(Difference { file, path, expected: text(one), found: text(other) });
                    }
                }
            }
        }
        (Kind::String, Kind::String) if expected.as_str() == found.as_str() => {}
        (one, other) if one == other && one != Kind::String && expected.raw() == found.raw() => {}
        _ => differ(path.to_owned(), Some(expected), Some(found)),
    }
}
