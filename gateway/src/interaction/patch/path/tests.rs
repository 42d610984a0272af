#![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use serde_json::{Value as Json, json};
use sluis_conformance::xml;

use super::*;

fn doc(text: &str) -> Doc {
    Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
}

/// A part of an operation: `type`, `path` and the like by their own types, anything else as given.
fn operation(parts: Json) -> Json {
    let part = |(name, value): (&String, &Json)| {
        let mut part = json!({ "name": name });
        match name.as_str() {
            "type" => part["valueCode"] = value.clone(),
            "path" | "name" => part["valueString"] = value.clone(),
            "index" | "source" | "destination" => part["valueInteger"] = value.clone(),
            _ => part.as_object_mut().unwrap().extend(value.as_object().unwrap().clone()),
        }
        part
    };
    let parts: Vec<Json> = parts.as_object().unwrap().iter().map(part).collect();
    json!({ "name": "operation", "part": parts })
}

fn patched(stored: &str, operations: &[Json]) -> Result<String, Refusal> {
    let operations: Vec<Json> = operations.iter().cloned().map(operation).collect();
    let patch = json!({ "resourceType": "Parameters", "parameter": operations }).to_string();
    apply(&doc(stored), &doc(&patch), &Bounds::default())
}

const STORED: &str = r#"{"resourceType":"Patient","id":"p", "name":[ {"given":["a","b"],"_given":[null,{"id":"x"}]}],
"extension":[{"url":"u","valueDecimal":1.10}],"birthDate":"1950-01-01","deceasedBoolean":false,"contact":[{"name":{"text":"\u00e9"}}]}"#;

#[test]
fn every_operation_changes_its_place_and_nothing_else() {
    let kept = |name: &str| {
        [
            r#""extension":[{"url":"u","valueDecimal":1.10}]"#,
            r#""birthDate":"1950-01-01""#,
            r#""contact":[{"name":{"text":"\u00e9"}}]"#,
        ]
        .into_iter()
        .filter(|text| !text.starts_with(&format!("\"{name}")))
        .collect::<Vec<_>>()
    };
    let add = |path: &str, name: &str, value: Json| json!({ "type": "add", "path": path, "name": name, "value": value });
    for (touched, operation, due) in [
        (
            "name",
            add("Patient.name", "given", json!({ "valueString": "c" })),
            r#""given":["a","b","c"],"_given":[null,{"id":"x"},null]"#,
        ),
        (
            "name",
            json!({ "type": "insert", "path": "Patient.name.given", "index": 0, "value": { "valueString": "c" } }),
            r#""given":["c","a","b"],"_given":[null,null,{"id":"x"}]"#,
        ),
        (
            "name",
            json!({ "type": "move", "path": "Patient.name.given", "source": 1, "destination": 0 }),
            r#""given":["b","a"],"_given":[{"id":"x"},null]"#,
        ),
        ("name", json!({ "type": "delete", "path": "Patient.name.given[1]" }), r#"{"given":["a"]}"#),
        (
            "name",
            json!({ "type": "replace", "path": "Patient.name.given.where($this = 'b')", "value": { "valueString": "c", "_valueString": { "id": "y" } } }),
            r#""given":["a","c"],"_given":[null,{"id":"y"}]"#,
        ),
        (
            "extension",
            json!({ "type": "replace", "path": "Patient.extension.where(url = 'u').value", "value": { "valueDecimal": 2.50 } }),
            r#"{"url":"u","valueDecimal":2.5}"#,
        ),
        // Of a choice another type.
        (
            "",
            json!({ "type": "replace", "path": "Patient.deceased", "value": { "valueDateTime": "2026-01" } }),
            r#""deceasedDateTime":"2026-01""#,
        ),
        (
            "",
            json!({ "type": "delete", "path": "Patient.deceased" }),
            r#""birthDate":"1950-01-01","contact""#,
        ),
        // An extension of a primitive that has none yet, and of one in a list.
        (
            "",
            add(
                "Patient.birthDate",
                "extension",
                json!({ "part": [{ "name": "url", "valueUri": "v" }, { "name": "value", "valueCode": "c" }] }),
            ),
            r#""_birthDate":{"extension":[{"url":"v","valueCode":"c"}]}"#,
        ),
        (
            "name",
            add("Patient.name.given[0]", "id", json!({ "valueString": "z" })),
            r#""given":["a","b"],"_given":[{"id":"z"},{"id":"x"}]"#,
        ),
        // A list that is not there yet, by path alone; parts make an object without a named type.
        (
            "",
            json!({ "type": "insert", "path": "Patient.telecom", "index": 0, "value": { "valueContactPoint": { "value": "1" } } }),
            r#""telecom":[{"value":"1"}]"#,
        ),
        (
            "contact",
            add("Patient", "contact", json!({ "part": [{ "name": "gender", "valueCode": "male" }] })),
            r#"{"text":"\u00e9"}},{"gender":"male"}]"#,
        ),
        (
            "",
            add("Patient", "contained", json!({ "resource": { "resourceType": "Organization", "id": "o" } })),
            r#""contained":[{"resourceType":"Organization","id":"o"}]"#,
        ),
        // The last thing in an object takes the object with it, and the list.
        (
            "contact",
            json!({ "type": "delete", "path": "Patient.contact.name.text" }),
            r#""deceasedBoolean":false}"#,
        ),
        // Nothing found is nothing to delete.
        ("", json!({ "type": "delete", "path": "Patient.gender" }), STORED),
    ] {
        let text = patched(STORED, std::slice::from_ref(&operation)).unwrap();
        assert!(text.contains(due), "{operation}\n{text}");
        for kept in kept(touched) {
            assert!(text.contains(kept), "{operation}\n{text}");
        }
    }
}

#[test]
fn what_does_not_apply_is_named_and_what_is_no_operation_is_malformed() {
    let value = json!({ "valueString": "x" });
    let failing = [
        json!({ "type": "add", "path": "Patient.address", "name": "city", "value": value }),
        json!({ "type": "add", "path": "Patient", "name": "nonsense", "value": value }),
        json!({ "type": "add", "path": "Patient", "name": "birthDate", "value": { "valueDate": "1950" } }),
        json!({ "type": "add", "path": "Patient", "name": "deceased", "value": { "valueDateTime": "1950" } }),
        json!({ "type": "add", "path": "Patient", "name": "gender", "value": { "valueBoolean": true } }),
        json!({ "type": "add", "path": "Patient", "name": "contact", "value": { "part": [{ "name": "x", "valueCode": "male" }] } }),
        json!({ "type": "add", "path": "Patient", "name": "contained", "value": value }),
        json!({ "type": "replace", "path": "Patient", "value": value }),
        json!({ "type": "replace", "path": "Patient.name.given", "value": value }),
        json!({ "type": "replace", "path": "Patient.gender", "value": { "valueCode": "male" } }),
        json!({ "type": "replace", "path": "'x'", "value": value }),
        json!({ "type": "replace", "path": "Patient.birthDate.toString()", "value": value }),
        json!({ "type": "delete", "path": "Patient.name.given" }),
        json!({ "type": "delete", "path": "Patient" }),
        json!({ "type": "insert", "path": "Patient.name.given", "index": 3, "value": value }),
        json!({ "type": "insert", "path": "Patient.name.given.where($this = 'a')", "index": 0, "value": value }),
        json!({ "type": "insert", "path": "Patient.birthDate", "index": 0, "value": { "valueDate": "1950" } }),
        json!({ "type": "insert", "path": "Patient.gender", "index": 0, "value": { "valueCode": "male" } }),
        json!({ "type": "move", "path": "Patient.name.given", "source": 0, "destination": 2 }),
        json!({ "type": "move", "path": "Patient.telecom", "source": 0, "destination": 0 }),
        json!({ "type": "delete", "path": "Patient.managingOrganization.resolve().name | 'x'" }),
    ];
    for operation in failing {
        let refusal = patched(STORED, std::slice::from_ref(&operation)).unwrap_err();
        assert_eq!(refusal.reason, Reason::PatchFailed, "{operation}");
        assert_eq!(refusal.expression, ["Parameters.parameter[0]"], "{operation}");
    }
    let malformed = [
        json!({ "type": "spam", "path": "Patient" }),
        json!({ "path": "Patient" }),
        json!({ "type": "delete" }),
        json!({ "type": "delete", "path": "Patient.(" }),
        json!({ "type": "delete", "path": "Patient.nonsense()" }),
        json!({ "type": "delete", "path": "x".repeat(5_000) }),
        json!({ "type": "delete", "path": "Patient", "other": value }),
        json!({ "type": "add", "path": "Patient", "value": value }),
        json!({ "type": "add", "path": "Patient", "name": "gender" }),
        json!({ "type": "insert", "path": "Patient.name", "index": -1, "value": value }),
        json!({ "type": "move", "path": "Patient.name", "source": 0 }),
    ];
    for operation in malformed {
        assert_eq!(
            patched(STORED, std::slice::from_ref(&operation)).unwrap_err().reason,
            Reason::Malformed,
            "{operation}"
        );
    }
    let other = |text: &str| operations(&doc(text), 1).unwrap_err().reason;
    assert_eq!(other(r#"{"resourceType":"Patient"}"#), Reason::Malformed);
    assert_eq!(other(r#"{"resourceType":"Parameters","parameter":[{"name":"x"}]}"#), Reason::Malformed);
}

#[test]
fn long_patches_growing_resources_and_costly_paths_end_at_their_limit() {
    let delete = json!({ "type": "delete", "path": "Patient.gender" });
    let too_many = vec![delete; usize::try_from(Bounds::default().operations_max).unwrap() + 1];
    assert_eq!(patched(STORED, &too_many).unwrap_err().reason, Reason::TooCostly);

    let entries = vec![r#"{"given":["x"]}"#; 3_000].join(",");
    let stored = format!(r#"{{"resourceType":"Patient","name":[{entries}]}}"#);
    let costly = json!({ "type": "delete", "path": "Patient.name.where(%resource.descendants().where(%resource.descendants().exists()).exists())" });
    assert_eq!(patched(&stored, &[costly]).unwrap_err().reason, Reason::TooCostly);

    let long = json!({ "type": "add", "path": "Patient", "name": "name", "value": { "valueHumanName": { "text": "y".repeat(900_000) } } });
    assert_eq!(patched(&stored, &[long.clone(), long]).unwrap_err().reason, Reason::TooCostly);
}

/// What stands between the first two of these, after `from`.
fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inside, _)| inside.trim())
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn the_published_cases_hold() {
    let folder = std::env::var_os("SLUIS_SHARED")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), Into::into);
    let Ok(text) = std::fs::read_to_string(folder.join("data/fhir-test-cases/fhir-patch-tests.xml")) else {
        println!("SKIPPED: fhir-patch-tests.xml is not here (set SLUIS_SHARED)");
        return;
    };
    let read = |text: &str| xml::read(r4(), text.as_bytes(), JsonLimits::default()).unwrap();
    // White space and the spelling of quotes are the file's own.
    let spaces = |text: String| text.replace("&quot;", "\"").split_whitespace().collect::<String>();
    let mut ran = 0;
    for case in text.split("<case ").skip(1) {
        let name = between(case, "name=\"", "\"").unwrap();
        let part = |open: &str, close: &str| read(between(case, open, close).unwrap());
        let (stored, patch) = (part("<input>", "</input>"), part("<diff>", "</diff>"));
        crate::interaction::write::check(&patch)
            .unwrap_or_else(|refusal| unreachable!("{name}: {refusal:?}"));
        let result = apply(&stored, &patch, &Bounds::default());
        ran += 1;
        if case.contains("<error ") {
            assert_eq!(result.unwrap_err().reason, Reason::PatchFailed, "{name}");
            continue;
        }
        let found = doc(&result.unwrap_or_else(|refusal| unreachable!("{name}: {refusal:?}")));
        let write = |doc: &Doc| spaces(xml::write(r4(), doc.root(), false).unwrap());
        assert_eq!(write(&found), write(&part("<output>", "</output>")), "{name}");
    }
    assert_eq!(ran, 33, "cases of the file");
}
