//! FHIR (STU3, R4) and vendors' own JSON.
//!
//! Bytes -> [`Tree`]: the root is named after `resourceType` (`document` where there is none); members are children of
//! their own name; the elements of an array are repeated children of the array's name (of `item` for arrays in arrays
//! and for a top-level array); numbers keep their digits; `null` is [`Value::Null`] and keeps its place in the count.
//! Spans run over the value with its quotes. Knows no FHIR beyond `resourceType` and `meta.lastUpdated`.

use sluis_conformance::json::{Doc, JsonError, JsonErrorKind, JsonLimits, Kind, Node};

use super::{Facts, Format, Limits, NodeId, Parsed, Span, Tree, Value};
use crate::{
    finding::{Finding, Severity},
    output::Coverage,
};

/// Reads one document. `Fatal` when it is no JSON (or breaks a limit): there is then nothing but the root.
pub fn parse(bytes: &[u8], limits: Limits) -> Parsed {
    let mut parsed = Parsed {
        tree: Tree::new("document", bytes.len()),
        findings: Vec::new(),
        facts: Facts::new(Format::Json),
        coverage: Coverage::default(),
    };
    if let Some(refusal) = limits.refuse_length(bytes) {
        parsed.findings.push(refusal);
        return parsed;
    }
    // A byte order mark is no JSON, and some exports open with one. Spans count from the first byte received.
    let shift = if bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let json_limits = JsonLimits { nodes_max: limits.nodes_max, ..JsonLimits::default() };
    let doc = match Doc::parse(bytes.get(shift..).unwrap_or_default().to_vec(), json_limits) {
        Ok(doc) => doc,
        Err(error) => {
            parsed.findings.push(refused(&error, shift, bytes.len()));
            return parsed;
        }
    };
    let root = doc.root();
    let text = |node: Option<Node<'_>>| node.and_then(|n| n.as_str()).map(|t| t.into_owned());
    parsed.facts.charset = Some("utf-8".to_owned());
    parsed.facts.message_type = text(root.get("resourceType"));
    parsed.facts.source_time = text(root.get("meta").and_then(|m| m.get("lastUpdated")));
    parsed.tree = Tree::new(parsed.facts.message_type.as_deref().unwrap_or("document"), bytes.len());
    let at = parsed.tree.root();
    fill(&mut parsed.tree, at, root, "item", shift);
    let read = parsed.tree.named(at, "resourceType").next();
    if let Some(read) = read {
        parsed.coverage.mark(read);
    }
    parsed
}

/// What a document says about itself.
pub fn facts(bytes: &[u8]) -> Facts {
    parse(bytes, Limits::default()).facts
}

/// Puts the content of `value` into the node made for it. Depth is bounded by [`JsonLimits::depth_max`].
fn fill(tree: &mut Tree, node: NodeId, value: Node<'_>, name: &str, shift: usize) {
    match value.kind() {
        Kind::Object => {
            for (name, member) in value.members() {
                add(tree, node, &name, member, shift);
            }
        }
        Kind::Array => add(tree, node, name, value, shift),
        _ => {
            let leaf = leaf(tree, value);
            tree.set_value(node, leaf);
        }
    }
}

fn add(tree: &mut Tree, parent: NodeId, name: &str, value: Node<'_>, shift: usize) {
    let symbol = tree.intern(name);
    let mut one = |value: Node<'_>, ordinal: u32| {
        let range = value.span();
        let span = Span { start: (range.start + shift) as u32, end: (range.end + shift) as u32 };
        let node = tree.push_ordinal(parent, symbol, Value::None, span, ordinal);
        fill(tree, node, value, "item", shift);
    };
    if value.kind() == Kind::Array {
        for (i, item) in value.items().enumerate() {
            one(item, i as u32 + 1);
        }
    } else {
        one(value, 1);
    }
}

fn leaf(tree: &mut Tree, value: Node<'_>) -> Value {
    match value.kind() {
        Kind::Bool => Value::Boolean(value.as_bool() == Some(true)),
        Kind::Number => Value::Number(tree.keep(value.number().unwrap_or_default())),
        Kind::String => Value::Text(tree.keep(&value.as_str().unwrap_or_default())),
        Kind::Null => Value::Null,
        Kind::Array | Kind::Object => Value::None,
    }
}

fn refused(error: &JsonError, shift: usize, bytes_len: usize) -> Finding {
    let at = (error.offset + shift).min(bytes_len) as u32;
    let end = (at + 1).min(bytes_len as u32);
    let (code, remedy) = match error.kind {
        JsonErrorKind::NotUtf8 => ("charset-contradicted", "Send the document in UTF-8 (RFC 8259 8.1)."),
        JsonErrorKind::Truncated => ("message-truncated", "Send the document again, whole."),
        JsonErrorKind::TooDeep { .. } | JsonErrorKind::TooManyNodes { .. } | JsonErrorKind::TooLong => {
            ("document-too-large", "Send it in smaller parts.")
        }
        _ => ("json-malformed", "Send one well-formed JSON document (RFC 8259)."),
    };
    // A duplicate property's name is the sender's text; what it is called is not repeated here.
    let text = match &error.kind {
        JsonErrorKind::DuplicateKey(_) => "a property stands twice in one object".to_owned(),
        _ => error.to_string(),
    };
    Finding::new(Severity::Fatal, code, text, remedy).at(
        error.path.clone(),
        Span { start: at, end },
        error.line,
        error.column,
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Parsed {
        parse(text.as_bytes(), Limits::default())
    }

    #[test]
    fn array_elements_are_repeated_children_and_numbers_keep_their_digits() {
        let text = r#"{"resourceType":"Consent","meta":{"lastUpdated":"2026-01-02"},"except":[{"v":1.10},{"v":true}]}"#;
        let parsed = read(text);
        let tree = &parsed.tree;
        assert_eq!(tree.name(tree.root()), "Consent");
        let values: Vec<_> = tree
            .named(tree.root(), "except")
            .flat_map(|e| tree.named(e, "v"))
            .map(|v| tree.path(v))
            .collect();
        assert_eq!(values, ["except[1].v", "except[2].v"]);
        let first = tree.leaves().find(|&l| tree.path(l) == "except[1].v").unwrap();
        assert!(matches!(tree.node(first).value, Value::Number(_)));
        assert_eq!(tree.text(first), Some("1.10"));
        let span = tree.node(first).span;
        assert_eq!(&text[span.start as usize..span.end as usize], "1.10");
        assert_eq!(parsed.facts.message_type.as_deref(), Some("Consent"));
        assert_eq!(parsed.facts.source_time.as_deref(), Some("2026-01-02"));
    }

    #[test]
    fn null_is_explicit_and_arrays_in_arrays_keep_their_values() {
        let parsed = read(r#"{"given":[null,"A"],"m":[[1,2],[3]]}"#);
        let tree = &parsed.tree;
        let paths: Vec<_> = tree.leaves().map(|l| tree.path(l)).collect();
        assert_eq!(paths, ["given[1]", "given[2]", "m[1].item[1]", "m[1].item[2]", "m[2].item"]);
        assert_eq!(tree.node(tree.leaves().next().unwrap()).value, Value::Null);
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for (text, code, line) in [
            ("{\"a\":\n1,}", "json-malformed", 2),
            ("{\"a\":\n", "message-truncated", 2),
            ("", "message-truncated", 1),
            ("{\"a\":1,\"a\":2}", "json-malformed", 1),
        ] {
            let parsed = read(text);
            let finding = parsed.findings.first().unwrap();
            assert_eq!((finding.code, finding.line, parsed.is_fatal()), (code, line, true), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_shifts_spans_and_breaks_nothing() {
        let parsed = read("\u{feff}{\"a\":7}");
        let leaf = parsed.tree.leaves().next().unwrap();
        assert_eq!(parsed.tree.node(leaf).span, Span { start: 8, end: 9 });
    }

    proptest! {
        #[test]
        fn any_bytes_parse_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let parsed = parse(&bytes, Limits::default());
            for leaf in parsed.tree.leaves() {
                let span = parsed.tree.node(leaf).span;
                prop_assert!(span.start <= span.end && span.end as usize <= bytes.len());
            }
        }
    }
}
