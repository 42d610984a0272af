//! What holds for any input: reading never panics, and what reads comes back by its slices.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use serde_json::Value;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};
use sluis_conformance::path::{FhirDateTime, Precise, extract};
use sluis_conformance::validate::validate;

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(".*", inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A resource of a known type with properties that exist and values that mostly do not fit.
fn resource() -> impl Strategy<Value = Value> {
    let types: Vec<&str> = r4().resource_types().map(|type_| r4().type_name(type_)).collect();
    (prop::sample::select(types), prop::collection::vec((any::<prop::sample::Index>(), json()), 0..12))
        .prop_map(|(type_, properties)| {
            let names: Vec<&str> = r4().structure(type_).unwrap().property_names().collect();
            let mut map = serde_json::Map::new();
            for (index, value) in properties {
                map.insert(names[index.index(names.len())].to_owned(), value);
            }
            map.insert("resourceType".to_owned(), type_.into());
            Value::Object(map)
        })
}

/// Writes a tree again from its raw scalars and unescaped names.
fn rebuild(node: Node<'_>, out: &mut String) {
    match node.kind() {
        Kind::Array => {
            out.push('[');
            for (nth, item) in node.items().enumerate() {
                out.push_str(if nth == 0 { "" } else { "," });
                rebuild(item, out);
            }
            out.push(']');
        }
        Kind::Object => {
            out.push('{');
            for (nth, (name, value)) in node.members().enumerate() {
                out.push_str(if nth == 0 { "" } else { "," });
                write_string(&name, out);
                out.push(':');
                rebuild(value, out);
                assert_eq!(node.get(&name).map(Node::span), Some(value.span()));
            }
            out.push('}');
        }
        _ => out.push_str(node.raw()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Doc::parse(bytes, JsonLimits::default());
    }

    #[test]
    fn any_json_like_text_is_read_exactly_when_it_is_json(text in "[\\[\\]{}\",:0-9eE.+\\-tfnalsru\\\\ ]{0,24}") {
        let doc = Doc::parse(text.clone().into_bytes(), JsonLimits::default());
        let oracle = serde_json::from_str::<Box<serde_json::value::RawValue>>(&text);
        // serde_json lets a name stand twice, and is no oracle for that.
        let duplicate = matches!(&doc, Err(e) if matches!(e.kind, sluis_conformance::json::JsonErrorKind::DuplicateKey(_)));
        prop_assert!(duplicate || doc.is_ok() == oracle.is_ok(), "{text:?}: {:?}", doc.err());
    }

    #[test]
    fn generated_json_comes_back_by_its_slices(value in json()) {
        let text = value.to_string();
        let doc = Doc::parse(text.clone().into_bytes(), JsonLimits::default()).unwrap();
        let mut out = String::new();
        rebuild(doc.root(), &mut out);
        prop_assert_eq!(&out, &text);
        prop_assert_eq!(doc.root().raw(), text.as_str());
    }

    #[test]
    fn any_resource_is_judged_and_indexed(value in resource()) {
        let doc = Doc::parse(value.to_string().into_bytes(), JsonLimits::default()).unwrap();
        let type_ = r4().resource_type(value["resourceType"].as_str().unwrap()).unwrap();
        let entries = extract(r4(), type_, doc.root());
        prop_assert_eq!(&entries, &extract(r4(), type_, doc.root()));
        let issues = validate(r4(), doc.root());
        prop_assert!(issues.iter().all(|issue| issue.expression.starts_with(r4().type_name(type_))));
    }

    #[test]
    fn any_narrative_is_judged(inner in "(<|>|/|div|p|img|a|src|href|style|=|\"|'|&|;|#|x41|:|data|url\\(|!--|-->|é| ){0,24}") {
        let div = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{inner}</div>");
        for div in [div, inner] {
            let mut text = "{\"resourceType\":\"Patient\",\"text\":{\"status\":\"generated\",\"div\":".to_owned();
            write_string(&div, &mut text);
            text.push_str("}}");
            let doc = Doc::parse(text.into_bytes(), JsonLimits::default()).unwrap();
            let issues = validate(r4(), doc.root());
            prop_assert!(issues.iter().all(|issue| issue.expression == "Patient.text.div"));
        }
    }

    #[test]
    fn any_text_is_a_date_or_is_not(text in "[0-9TZ:.+\\- ]{0,30}|\\PC{0,12}") {
        if let Ok(range) = FhirDateTime::parse(&text) {
            prop_assert!(range.low_us < range.high_us);
        }
        let _ = FhirDateTime::parse_query(&text, 60);
        if let Some(number) = Precise::parse(&text) {
            prop_assert!(number.low <= number.value && number.value <= number.high);
        }
    }
}
