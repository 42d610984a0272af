//! Content addresses: of documents as received, and of what a resource says whatever its spelling.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use sluis_conformance::json::{Kind, Node};

/// SHA-256 of bytes, 64 lower-case hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, bytes).as_ref())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// SHA-256 over what a resource says: member order and white space do not count, digits of decimals, the order of lists
/// and the narrative do. `id` and `meta` of the root are left out: they are the gateway's.
pub fn content_hash(root: Node<'_>) -> String {
    let mut context = Context::new(&SHA256);
    // What is left to do, last first; JSON depth is bounded by the parser, this stack by its nodes.
    let mut stack = vec![Step::Value(root, true)];
    while let Some(step) = stack.pop() {
        match step {
            Step::Name(name) => part(&mut context, b'n', name.as_bytes()),
            Step::Value(node, is_root) => match node.kind() {
                Kind::String => part(&mut context, b's', node.as_str().unwrap_or_default().as_bytes()),
                Kind::Null | Kind::Bool | Kind::Number => part(&mut context, b'v', node.raw().as_bytes()),
                Kind::Array => {
                    let items: Vec<_> = node.items().collect();
                    part(&mut context, b'a', &items.len().to_be_bytes());
                    stack.extend(items.into_iter().rev().map(|item| Step::Value(item, false)));
                }
                Kind::Object => {
                    let mut members: Vec<_> = node
                        .members()
                        .filter(|(name, _)| !is_root || !matches!(name.as_ref(), "id" | "meta"))
                        .collect();
                    members.sort_by(|(a, _), (b, _)| a.cmp(b));
                    part(&mut context, b'o', &members.len().to_be_bytes());
                    for (name, value) in members.into_iter().rev() {
                        stack.push(Step::Value(value, false));
                        stack.push(Step::Name(name.into_owned()));
                    }
                }
            },
        }
    }
    hex(context.finish().as_ref())
}

enum Step<'d> {
    Name(String),
    Value(Node<'d>, bool),
}

/// One part with its kind and length in front, so that no two contents give the same bytes.
fn part(context: &mut Context, kind: u8, bytes: &[u8]) {
    context.update(&[kind]);
    context.update(&(bytes.len() as u64).to_be_bytes());
    context.update(bytes);
}

#[cfg(test)]
mod tests {
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::*;

    fn hash(text: &str) -> String {
        content_hash(Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap().root())
    }

    #[test]
    fn spelling_does_not_count_and_content_does() {
        let one = hash(r#"{"a":1.10,"b":{"c":"x","d":[1,2]},"meta":{"versionId":"1"},"id":"p"}"#);
        assert_eq!(one, hash(r#"{ "b":{"d":[1,2],"c":"\u0078"}, "a":1.10, "id":"q" }"#));
        for other in [
            r#"{"a":1.1,"b":{"c":"x","d":[1,2]}}"#,
            r#"{"a":1.10,"b":{"c":"x","d":[2,1]}}"#,
            r#"{"a":1.10,"b":{"c":"x","d":[1,2],"id":"in"}}"#,
            r#"{"a":1.10,"b":{"c":"x"},"d":[1,2]}"#,
            r#"{"a":"1.10","b":{"c":"x","d":[1,2]}}"#,
        ] {
            assert_ne!(one, hash(other), "{other}");
        }
    }

    #[test]
    fn the_address_of_nothing_is_the_published_one() {
        assert_eq!(sha256_hex(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
