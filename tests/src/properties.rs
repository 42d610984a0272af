//! What must hold for any bytes at every door where strangers' bytes come in. The fuzz targets (`tests/fuzz`) and the
//! bounded tests (`tests/tests/properties.rs`) call the same functions.
//!
//! A function panics when its property does not hold; it gives whether the input was read (`true`) or refused.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a property that does not hold ends the run")]

mod door;

use sluis::clock::{System, Timestamp};
use sluis::connection::request::Interaction;
use sluis::connection::route;
use sluis::identity::actor::Actor;
use sluis::ids::Ura;
use sluis::interaction::cursor::{Cursor, CursorSeal};
use sluis::search::parameter::{self, SearchContext, SearchLimits};
use sluis_conformance::definitions::r4;
use sluis_conformance::fhirpath::{Compiled, Context, Item};
use sluis_conformance::json::{Doc, JsonLimits, Node};
use sluis_conformance::{path, validate, xml};
use sluis_mappings::fml::{self, Profile};
use sluis_mappings::source::csv::Options;
use sluis_mappings::source::{self, Limits, Parsed};

pub use door::Door;

/// A property over bytes.
pub type Property = fn(&[u8]) -> bool;

/// Every property that needs no gateway, by the name of its fuzz target.
pub const PURE: [(&str, Property); 11] = [
    ("json", json),
    ("xml", xml),
    ("fhirpath", fhirpath),
    ("query", query),
    ("cursor", cursor),
    ("source_hl7v2", source_hl7v2),
    ("source_csv", source_csv),
    ("source_json", source_json),
    ("source_xml", source_xml),
    ("fml", fml),
    ("structure_map", structure_map),
];

/// JSON is read or refused; what is read comes back byte for byte, can be judged and indexed, and where XML can carry it,
/// goes there and back without a change of value.
pub fn json(data: &[u8]) -> bool {
    let Ok(doc) = Doc::parse(data.to_vec(), JsonLimits::default()) else { return false };
    assert_eq!(doc.text().as_bytes(), data, "a document is its own text");
    let issues = validate::validate(r4(), doc.root());
    index(doc.root());
    if !issues.iter().any(validate::Issue::is_error) {
        there_and_back(doc.root());
    }
    true
}

/// XML is read or refused; what is read is JSON that reads, and goes to XML and back to the same.
pub fn xml(data: &[u8]) -> bool {
    let Ok(doc) = xml::read(r4(), data, JsonLimits::default()) else { return false };
    Doc::parse(doc.text().as_bytes().to_vec(), JsonLimits::default()).expect("what XML gives is JSON");
    validate::validate(r4(), doc.root());
    index(doc.root());
    there_and_back(doc.root());
    true
}

fn index(root: Node<'_>) {
    let kind = root.get("resourceType").and_then(|name| r4().resource_type(&name.as_str()?));
    if let Some(kind) = kind {
        path::extract(r4(), kind, root);
    }
}

fn there_and_back(root: Node<'_>) {
    let Ok(text) = xml::write(r4(), root, false) else { return };
    let back = xml::read(r4(), text.as_bytes(), JsonLimits::default())
        .unwrap_or_else(|error| panic!("XML of our own does not read: {error}"));
    let again =
        xml::write(r4(), back.root(), false).unwrap_or_else(|error| panic!("not written again: {error}"));
    assert_eq!(again, text, "XML is a fixed point");
}

/// An expression compiles or is refused, and ends when evaluated.
pub fn fhirpath(data: &[u8]) -> bool {
    const PATIENT: &str = r##"{"resourceType":"Patient","id":"p","active":true,"name":[{"family":"de Vries","given":["A","B"]},{"text":"x"}],"birthDate":"1960-05","contained":[{"resourceType":"Organization","id":"o","name":"O"}],"managingOrganization":{"reference":"#o"},"extension":[{"url":"urn:x","valueDecimal":3.10}]}"##;
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(compiled) = Compiled::new(text) else { return false };
    let doc = Doc::parse(PATIENT.as_bytes().to_vec(), JsonLimits::default()).unwrap();
    let item = Item::resource(r4(), doc.root()).unwrap();
    let context = Context { definitions: r4(), resource: item, root: item };
    compiled.evaluate(&context, item).is_ok()
}

/// A query is understood or refused with a reason, whatever the type; the first byte chooses the type.
pub fn query(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let kinds: Vec<&str> = r4().resource_types().map(|kind| r4().type_name(kind)).collect();
    let kind = kinds[usize::from(*first) % kinds.len()];
    let Ok(text) = std::str::from_utf8(rest) else { return false };
    let Ok(Interaction::Search(kind, pairs)) = route::entry("GET", &format!("{kind}?{text}"), None) else {
        return false;
    };
    let context =
        SearchContext { base: "https://sluis.example/fhir", now: Timestamp(0), lenient: first % 2 == 1 };
    let limits = SearchLimits { content: true, ..SearchLimits::default() };
    match parameter::parse(kind, &pairs.pairs, &limits, &context) {
        Ok(request) => {
            assert_eq!(request.applied.len() + request.ignored.len() > 0, !pairs.pairs.is_empty());
            true
        }
        Err(refusal) => {
            assert!(!refusal.details.is_empty(), "a refusal says what is wrong: {:?}", refusal.reason);
            false
        }
    }
}

/// No bytes open as a page link but those the gateway sealed, for who asked; what it sealed comes back.
pub fn cursor(data: &[u8]) -> bool {
    let seal = CursorSeal::new(&[7; 32]).unwrap();
    let actor = |client: &str| Actor {
        client: client.into(),
        organisation: Ura::parse("90000101").unwrap(),
        user: None,
        patient: None,
        purpose: "TREAT".into(),
        scopes: Vec::new(),
        token_id: "t".into(),
        token_expires: Timestamp(0),
    };
    let text = String::from_utf8_lossy(data);
    let (mine, another) = (actor("a"), actor("b"));
    assert!(seal.open(&text, &mine, Timestamp(0)).is_err(), "a forged page link opens");
    let pairs =
        text.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned()));
    let sealed = Cursor { pairs: pairs.collect(), position: data.to_vec(), expires: Timestamp(1) };
    let link = seal.seal(&sealed, &mine, &System).unwrap();
    assert_eq!(seal.open(&link, &mine, Timestamp(0)).ok(), Some(sealed), "a page link comes back");
    assert!(seal.open(&link, &another, Timestamp(0)).is_err(), "another's page link opens");
    assert!(seal.open(&link, &mine, Timestamp(2)).is_err(), "an expired page link opens");
    true
}

/// An HL7v2 message.
pub fn source_hl7v2(data: &[u8]) -> bool {
    tree(data, &source::hl7v2::parse(data, None, limits()))
}

/// A CSV file.
pub fn source_csv(data: &[u8]) -> bool {
    let grouped =
        Options { group_by: vec!["a".to_owned()], numbers: vec!["b".to_owned()], ..Options::default() };
    tree(data, &source::csv::parse(data, &grouped, limits()));
    tree(data, &source::csv::parse(data, &Options::default(), limits()))
}

/// A JSON document of a sender.
pub fn source_json(data: &[u8]) -> bool {
    tree(data, &source::json::parse(data, limits()))
}

/// An XML document of a sender.
pub fn source_xml(data: &[u8]) -> bool {
    tree(data, &source::xml::parse(data, limits()))
}

fn limits() -> Limits {
    Limits { bytes_max: 1 << 20, nodes_max: 20_000 }
}

/// Any bytes give a tree or a reason; every node has its bytes, and no tree outgrows its limit.
fn tree(data: &[u8], parsed: &Parsed) -> bool {
    assert!(parsed.tree.len() <= limits().nodes_max as usize + 1, "{} nodes", parsed.tree.len());
    for leaf in parsed.tree.leaves() {
        let span = parsed.tree.node(leaf).span;
        assert!(span.start <= span.end && span.end as usize <= data.len(), "{span:?} of {}", data.len());
        assert!(leaf == parsed.tree.root() || !parsed.tree.path(leaf).is_empty());
    }
    for finding in &parsed.findings {
        assert!(!finding.text.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
    }
    !parsed.is_fatal()
}

/// A map loads, or every error says where.
pub fn fml(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    loaded(fml::load("map.fml", text, &[])).is_some()
}

/// A StructureMap, as JSON or XML, loads, or every error says where; built again, and read back, it is the same map.
pub fn structure_map(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Some(program) = loaded(fml::load_as(Profile::Open, "map.json", text, &[])) else { return false };
    // What R4 has no room for is not built.
    if let Ok(built) = fml::structure_map(&program.files, &program.maps[0]) {
        let again = fml::load_as(Profile::Open, "built.json", &built, &[]);
        let again =
            again.unwrap_or_else(|errors| panic!("what was built does not load: {errors:?}\n{built}"));
        let twice = fml::structure_map(&again.files, &again.maps[0]);
        assert_eq!(twice.ok().as_deref(), Some(built.as_str()), "a built map is a fixed point");
    }
    true
}

fn loaded(map: Result<fml::Program, Vec<fml::MapError>>) -> Option<fml::Program> {
    let errors = match map {
        Ok(program) => return Some(program),
        Err(errors) => errors,
    };
    assert!(!errors.is_empty(), "refused without a reason");
    for error in errors {
        assert!(error.line > 0 && error.column > 0 && !error.text.is_empty(), "{error:?}");
    }
    None
}
