//! The official FHIRPath tests for R4, as the measure of how much of the language is here. What is not known is refused when
//! compiling (dates, quantities as literals, aggregate, boundaries); the number that pass must not fall.
//!
//! They are found at `SLUIS_SHARED` or `../shared/data` beside the workspace; without them the test says so and ends.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::collections::HashMap;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;
use sluis_conformance::definitions::r4;
use sluis_conformance::fhirpath::{Compiled, Context, Item, Value};
use sluis_conformance::json::{Doc, JsonLimits};

/// Tests that passed when this was written.
const PASSING_MIN: usize = 556;

#[derive(Default)]
struct Case {
    name: String,
    input: String,
    expression: String,
    is_invalid: bool,
    is_predicate: bool,
    outputs: Vec<(String, String)>,
}

fn cases(text: &str) -> Vec<Case> {
    let mut reader = Reader::from_str(text);
    let (mut cases, mut at): (Vec<Case>, String) = (Vec::new(), String::new());
    loop {
        let event = reader.read_event().unwrap();
        let is_open = matches!(event, Event::Start(_));
        match event {
            Event::Start(tag) | Event::Empty(tag) => {
                let value = |name: &str| {
                    let found = tag.attributes().flatten().find(|attribute| attribute.key.0 == name);
                    found.map(|attribute| attribute.value.into_owned()).unwrap_or_default()
                };
                match tag.name().0 {
                    "test" => cases.push(Case {
                        name: value("name"),
                        input: value("inputfile").replace(".xml", ".json"),
                        is_predicate: value("predicate") == "true",
                        ..Case::default()
                    }),
                    "expression" => cases.last_mut().unwrap().is_invalid = !value("invalid").is_empty(),
                    "output" => cases.last_mut().unwrap().outputs.push((value("type"), String::new())),
                    _ => {}
                }
                at = if is_open { tag.name().0.to_owned() } else { String::new() };
            }
            Event::End(_) => at.clear(),
            Event::Eof => return cases,
            Event::Text(_) | Event::GeneralRef(_) | Event::CData(_) => {
                let text = match event {
                    Event::Text(text) => text.to_string(),
                    Event::CData(text) => text.to_string(),
                    Event::GeneralRef(name) => match name.resolve_char_ref() {
                        Ok(Some(c)) => c.to_string(),
                        _ => quick_xml::escape::unescape(&format!("&{};", &*name)).unwrap().into_owned(),
                    },
                    _ => String::new(),
                };
                match at.as_str() {
                    "expression" => cases.last_mut().unwrap().expression.push_str(&text),
                    "output" => cases.last_mut().unwrap().outputs.last_mut().unwrap().1.push_str(&text),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

fn passes(case: &Case, doc: &Doc) -> bool {
    let Some(item) = Item::resource(r4(), doc.root()) else { return false };
    let context = Context { definitions: r4(), resource: item, root: item };
    let found = Compiled::new(&case.expression).and_then(|compiled| compiled.evaluate(&context, item));
    let Ok(values) = found else { return case.is_invalid };
    let show = |value: &Value<'_>| match value {
        Value::Element(item) => {
            let text =
                item.node().map(|node| node.as_str().map_or(node.raw().to_owned(), |text| text.into_owned()));
            (item.type_code().to_owned(), text.unwrap_or_default())
        }
        Value::Bool(value) => ("boolean".to_owned(), value.to_string()),
        Value::Integer(value) => ("integer".to_owned(), value.to_string()),
        Value::Decimal(value) => ("decimal".to_owned(), value.to_string()),
        Value::Text(text) => ("string".to_owned(), text.to_string()),
    };
    let values: Vec<_> = if case.is_predicate {
        vec![("boolean".to_owned(), (!values.is_empty()).to_string())]
    } else {
        values.iter().map(show).collect()
    };
    let same = |(found, due): (&(String, String), &(String, String))| {
        let value = due.1.trim_start_matches('@');
        let is_same = found.1 == value || found.1.parse::<f64>().is_ok_and(|n| value.parse() == Ok(n));
        (due.0.is_empty() || due.0.eq_ignore_ascii_case(&found.0)) && (is_same || due.1.is_empty())
    };
    !case.is_invalid && values.len() == case.outputs.len() && values.iter().zip(&case.outputs).all(same)
}

#[test]
fn no_fewer_official_tests_pass_than_did() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("SLUIS_SHARED").map_or(beside, Into::into).join("fhir-test-cases");
    let Ok(text) = std::fs::read_to_string(folder.join("tests-fhir-r4.xml")) else {
        eprintln!("SKIPPED: no FHIRPath tests at SLUIS_SHARED or ../shared/data");
        return;
    };
    let mut inputs = HashMap::new();
    for file in std::fs::read_dir(folder.join("fhirpath-input")).unwrap().map(|file| file.unwrap().path()) {
        let doc = Doc::parse(std::fs::read(&file).unwrap(), JsonLimits::default()).unwrap();
        inputs.insert(file.file_name().unwrap().to_string_lossy().into_owned(), doc);
    }
    let cases = cases(&text);
    let any = inputs.get("patient-example.json").unwrap();
    let (good, bad): (Vec<_>, Vec<_>) =
        cases.iter().partition(|case| passes(case, inputs.get(&case.input).unwrap_or(any)));
    eprintln!("FHIRPath: {} of {} official tests pass", good.len(), cases.len());
    assert!(cases.len() >= 930, "{}", cases.len());
    let names: Vec<_> = bad.iter().map(|case| case.name.as_str()).collect();
    assert!(good.len() >= PASSING_MIN, "{} pass, {PASSING_MIN} did; failing: {names:?}", good.len());
}
