//! A document beside what becomes of it: the pieces of its text, the elements made, and which piece is behind which
//! element. Data for the page of `sluis map watch`; any other viewer can use it too.

use std::collections::BTreeSet;

use super::excerpt::decode;
use crate::finding::{Finding, Severity};
use crate::output::UnitState;
use crate::plan::Reading;
use crate::run::CompiledFolder;
use crate::source::{NodeId, Span, Tree};
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};

/// Pieces, elements and findings shown of one document; what lies past them is counted.
pub const PAGE_ITEMS_MAX: usize = 20_000;

/// A piece of the document: its text, and the field it is where it is one.
struct Piece {
    span: Span,
    leaf: Option<NodeId>,
}

/// JSON text: `{name, pieces, units, findings, left_out}`.
///
/// - `pieces`: in document order, together the whole document: `{text}` between fields, `{text, path, state}` for a field; `state` is
///   `copied`, `translated`, `tested`, `waived`, `read` (by the parser), `ignored` or `dropped`.
/// - `units`: `{label, state, elements, findings}`; an element is `{path, value, rule, pieces}`, `pieces` the numbers of those its rule
///   stood on.
/// - `findings`: of the document and of each unit: `{severity, code, text, remedy, rule, pieces}`.
///
/// Holds the document: for its author's own screen.
pub fn page(compiled: &CompiledFolder, name: &str, bytes: &[u8]) -> String {
    let parsed = compiled.parse(bytes);
    let (output, trace, record) = compiled.run_recorded(bytes, &parsed);
    let tree = &parsed.tree;
    let pieces = pieces(tree, bytes);
    let account = super::account(tree, &output.coverage, &compiled.folder().manifest.ignore);
    let dropped: BTreeSet<u32> = account.dropped.iter().map(|leaf| leaf.0).collect();
    let ignored: BTreeSet<u32> = account.ignored.iter().map(|(leaf, _)| leaf.0).collect();
    let state = |leaf: NodeId| {
        let words = ["copied", "translated", "tested", "waived"];
        let used = Reading::ALL.iter().zip(words).find(|(reading, _)| record.used(leaf, **reading));
        match used {
            Some((_, word)) => word,
            None if dropped.contains(&leaf.0) => "dropped",
            None if ignored.contains(&leaf.0) => "ignored",
            None => "read",
        }
    };
    let mut left_out = 0;
    let mut json = String::from("{\"name\":");
    write_string(name, &mut json);
    json += ",\"pieces\":";
    list(&mut json, &pieces, &mut left_out, |piece, json| {
        let text = bytes.get(piece.span.start as usize..piece.span.end as usize).unwrap_or_default();
        member("text", &decode(text), json);
        if let Some(leaf) = piece.leaf {
            json.push(',');
            member("path", &tree.path(leaf), json);
            json.push(',');
            member("state", state(leaf), json);
        }
    });
    json += ",\"units\":[";
    for (at, unit) in output.units.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push('{');
        member("label", &unit.label, &mut json);
        json.push(',');
        let ready = unit.state == UnitState::Ready;
        member("state", if ready { "ready" } else { "quarantined" }, &mut json);
        json += ",\"elements\":";
        let mut values = Vec::new();
        if let Some(text) = &unit.resource
            && let Ok(doc) = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default())
        {
            let root = doc.root().get("resourceType").and_then(Node::as_str).unwrap_or_default().into_owned();
            flatten(doc.root(), &root, &mut values);
        }
        let traced: Vec<_> = trace.values.iter().filter(|value| value.unit == at).collect();
        list(&mut json, &values, &mut left_out, |(path, value), json| {
            member("path", path, json);
            json.push(',');
            member("value", value, json);
            // The value itself was traced, or the nearest element around it was copied whole.
            let behind = traced.iter().filter(|t| covers(&t.path, path)).max_by_key(|t| t.path.len());
            if let Some(behind) = behind {
                json.push(',');
                member("rule", &behind.rule, json);
                *json += ",\"pieces\":";
                numbers(json, &pieces, tree.node(behind.source).span);
            }
        });
        json += ",\"findings\":";
        list(&mut json, &unit.findings, &mut left_out, |finding, json| of_finding(finding, &pieces, json));
        json.push('}');
    }
    json += "],\"findings\":";
    list(&mut json, &output.findings, &mut left_out, |finding, json| of_finding(finding, &pieces, json));
    json + &format!(",\"left_out\":{left_out}}}")
}

/// The document cut at its fields. Fields that lie over each other (a simple value and its only component) are one piece.
fn pieces(tree: &Tree, bytes: &[u8]) -> Vec<Piece> {
    let mut leaves: Vec<(Span, NodeId)> = tree
        .leaves()
        .map(|leaf| (tree.node(leaf).span, leaf))
        .filter(|(span, _)| span.start < span.end && span.end as usize <= bytes.len())
        .collect();
    leaves.sort_by_key(|(span, leaf)| (span.start, std::cmp::Reverse(span.end), leaf.0));
    let mut pieces = Vec::new();
    let mut at = 0;
    for (span, leaf) in leaves {
        if span.start < at {
            continue;
        }
        if span.start > at {
            pieces.push(Piece { span: Span { start: at, end: span.start }, leaf: None });
        }
        pieces.push(Piece { span, leaf: Some(leaf) });
        at = span.end;
    }
    let end = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if at < end {
        pieces.push(Piece { span: Span { start: at, end }, leaf: None });
    }
    pieces
}

/// Every value of a resource with its path, as the trace writes it.
fn flatten(node: Node<'_>, path: &str, into: &mut Vec<(String, String)>) {
    match node.kind() {
        Kind::Object => {
            node.members().for_each(|(name, value)| flatten(value, &format!("{path}.{name}"), into));
        }
        Kind::Array => {
            node.items().enumerate().for_each(|(at, item)| flatten(item, &format!("{path}[{at}]"), into));
        }
        Kind::String => into.push((path.to_owned(), node.as_str().unwrap_or_default().into_owned())),
        _ => into.push((path.to_owned(), node.raw().to_owned())),
    }
}

/// Whether a traced path is that of a value or of an element around it. The trace leaves out `[0]` of what is there once.
fn covers(traced: &str, path: &str) -> bool {
    let plain = |text: &str| text.replace("[0]", "");
    let (traced, path) = (plain(traced), plain(path));
    path.strip_prefix(&traced).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn of_finding(finding: &Finding, pieces: &[Piece], json: &mut String) {
    let severity = match finding.severity {
        Severity::Fatal => "fatal",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Information => "information",
    };
    for (name, text) in [
        ("severity", severity),
        ("code", finding.code),
        ("text", &finding.text),
        ("remedy", &finding.remedy),
        ("rule", finding.rule.as_deref().unwrap_or_default()),
    ] {
        member(name, text, json);
        json.push(',');
    }
    *json += "\"pieces\":";
    numbers(json, pieces, finding.span);
}

/// Numbers of the fields inside a span.
fn numbers(json: &mut String, pieces: &[Piece], span: Span) {
    let found: Vec<String> = pieces
        .iter()
        .enumerate()
        .filter(|(_, piece)| {
            piece.leaf.is_some() && piece.span.start >= span.start && piece.span.end <= span.end
        })
        .map(|(at, _)| at.to_string())
        .collect();
    *json += &format!("[{}]", found.join(","));
}

fn list<T>(json: &mut String, items: &[T], left_out: &mut usize, mut write: impl FnMut(&T, &mut String)) {
    json.push('[');
    for (at, item) in items.iter().take(PAGE_ITEMS_MAX).enumerate() {
        if at > 0 {
            json.push(',');
        }
        json.push('{');
        write(item, json);
        json.push('}');
    }
    json.push(']');
    *left_out += items.len().saturating_sub(PAGE_ITEMS_MAX);
}

fn member(name: &str, text: &str, json: &mut String) {
    write_string(name, json);
    json.push(':');
    write_string(text, json);
}
