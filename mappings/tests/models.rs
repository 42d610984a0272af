//! Folders that bring models and maps of others, and documents that are no FHIR: what comes out in XML, and what must be in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::io::Write as _;

use sluis_mappings::codes::CodeTables;
use sluis_mappings::fml::Profile;
use sluis_mappings::folder::Folder;
use sluis_mappings::model::Models;
use sluis_mappings::output::{Output, UnitState};
use sluis_mappings::plan::{Limits, Options, Plan};
use sluis_mappings::run::CompiledFolder;
use sluis_mappings::source::{self, json, xml};

const VISIT: &str = r#"{"resourceType":"StructureDefinition","url":"http://x/Visit","kind":"logical","type":"Visit","differential":{"element":[
  {"path":"Visit"},{"path":"Visit.number","min":1,"max":"1","type":[{"code":"string"}]},{"path":"Visit.bsn","max":"1","type":[{"code":"string"}]},
  {"path":"Visit.family","max":"1","type":[{"code":"string"}]},{"path":"Visit.born","max":"1","type":[{"code":"date"}]}]}}"#;

/// As others publish it: untyped groups, no identity.
const NAMES: &str = r#"{"resourceType":"StructureMap","url":"http://x/map/names","name":"names","status":"active",
  "structure":[{"url":"http://x/Visit","mode":"source","alias":"Visit"},{"url":"http://hl7.org/fhir/StructureDefinition/Patient","mode":"target","alias":"Patient"}],
  "group":[{"name":"Names","typeMode":"none","input":[{"name":"src","mode":"source"},{"name":"tgt","mode":"target"}],"rule":[
    {"name":"family","source":[{"context":"src","element":"family","variable":"f","condition":"family.exists()"}],
     "target":[{"context":"tgt","contextType":"variable","element":"name","variable":"n"},{"context":"n","contextType":"variable","element":"family","transform":"copy","parameter":[{"valueId":"f"}]}]}]}]}"#;

const MAP: &str = "map \"http://x/map/visit\" = \"visit\"
uses \"http://x/Visit\" alias Visit as source
uses \"http://hl7.org/fhir/StructureDefinition/Patient\" alias Patient as target
imports \"http://x/map/names\"
group Main(source src : Visit, target tgt : Patient) {
  src.number as n -> identity('http://x/id', n), subjectLocal('http://x/id', n);
  src.bsn as b -> subjectBsn(b);
  src.born -> tgt.birthDate;
  src then Names(src, tgt);
}
";

const MANIFEST: &str = r#"id = "visit"
version = "1.0.0"
title = "Visits"
format = "json"
maps = ["maps/names.json"]
models = ["model/visit.json"]

[match]
senders = ["00000001"]
resource_types = ["Visit"]

[identity]
namespace = "urn:oid:2.999.1"
"#;

fn files(manifest: &str) -> BTreeMap<String, Vec<u8>> {
    [("mapping.toml", manifest), ("map.fml", MAP), ("maps/names.json", NAMES), ("model/visit.json", VISIT)]
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .collect()
}

const DOCUMENT: &[u8] =
    br#"{"resourceType":"Visit","number":"12","bsn":"999911120","family":"De Wit","born":"1960-01-02"}"#;
const PATIENT: &str = r#"{"resourceType":"Patient","name":[{"family":"De Wit"}],"birthDate":"1960-01-02"}"#;

fn run(files: &BTreeMap<String, Vec<u8>>) -> Output {
    let folder = Folder::load(files).unwrap_or_else(|errors| panic!("{errors:#?}"));
    CompiledFolder::new(folder).unwrap_or_else(|errors| panic!("{errors:#?}")).run(DOCUMENT)
}

#[test]
fn a_folder_brings_its_models_and_the_maps_of_others() {
    let output = run(&files(MANIFEST));
    assert_eq!(output.units[0].resource.as_deref(), Some(PATIENT), "{output:#?}");
    assert_eq!(output.units[0].state, UnitState::Ready, "{output:#?}");
    // A path the model does not have is refused where it stands.
    let mut wrong = files(MANIFEST);
    wrong.insert("map.fml".to_owned(), MAP.replace("src.born", "src.birth").into_bytes());
    let errors = CompiledFolder::new(Folder::load(&wrong).unwrap()).unwrap_err();
    assert_eq!((errors[0].code, errors[0].line), ("element-unknown", 8), "{errors:#?}");
}

#[test]
fn models_come_from_files_patterns_and_packages() {
    let mut below = files(&MANIFEST.replace("model/visit.json", "model/*"));
    below.insert("model/readme.json".to_owned(), b"{}".to_vec());
    assert_eq!(run(&below).units[0].resource.as_deref(), Some(PATIENT));

    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, text) in [("package/package.json", "{}"), ("package/StructureDefinition-Visit.json", VISIT)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_cksum();
        archive.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let mut packed = files(&MANIFEST.replace("model/visit.json", "model/visits.tgz"));
    packed.remove("model/visit.json");
    packed.insert("model/visits.tgz".to_owned(), archive.into_inner().unwrap().finish().unwrap());
    assert_eq!(run(&packed).units[0].resource.as_deref(), Some(PATIENT));

    packed.insert("model/visits.tgz".to_owned(), b"no archive".to_vec());
    let errors = Folder::load(&packed).unwrap_err();
    assert_eq!(errors[0].message, "the package does not unpack");
}

#[test]
fn a_package_that_unpacks_to_too_much_is_refused() {
    let mut zeros = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("package/a.json").unwrap();
    header.set_size(300 << 20);
    header.set_cksum();
    zeros.write_all(header.as_bytes()).unwrap();
    let mut files = files(&MANIFEST.replace("model/visit.json", "model/bomb.tgz"));
    files.remove("model/visit.json");
    files.insert("model/bomb.tgz".to_owned(), zeros.finish().unwrap());
    let errors = Folder::load(&files).unwrap_err();
    assert!(errors[0].message.contains("the package has more than"), "{errors:?}");
}

#[test]
fn models_and_maps_nobody_names_or_that_are_not_there_are_errors() {
    let mut odd = files(MANIFEST);
    odd.insert("model/old.json".to_owned(), VISIT.as_bytes().to_vec());
    odd.insert("maps/old.fml".to_owned(), Vec::new());
    let found: Vec<String> = Folder::load(&odd).unwrap_err().into_iter().map(|error| error.file).collect();
    assert_eq!(found, ["model/old.json", "maps/old.fml"]);
    let gone = files(
        &MANIFEST.replace("model/visit.json", "model/vist.json").replace("maps/names.json", "maps/name.json"),
    );
    let found: Vec<String> =
        Folder::load(&gone).unwrap_err().into_iter().map(|error| error.message).collect();
    assert!(found.iter().any(|message| message.contains("model/vist.json")), "{found:?}");
}

/// A document in the ways HL7's CDA models have: attributes, text, a type told in the instance, an element of another namespace.
const NOTE: [&str; 4] = [
    r#"{"resourceType":"StructureDefinition","url":"http://x/Note","kind":"logical","type":"Note",
      "extension":[{"url":"http://hl7.org/fhir/tools/StructureDefinition/xml-namespace","valueUri":"urn:x"}],"differential":{"element":[
      {"path":"Note"},{"path":"Note.class","representation":["xmlAttr"],"max":"1","type":[{"code":"code"}]},
      {"path":"Note.value","representation":["typeAttr"],"max":"*","type":[{"code":"http://x/ANY"}]},
      {"path":"Note.title","min":1,"max":"1","type":[{"code":"http://x/ST"}]},
      {"path":"Note.count","max":"1","type":[{"code":"integer"}]},
      {"path":"Note.sdtcDead","max":"1","type":[{"code":"http://x/ST"}],"extension":[
        {"url":"http://hl7.org/fhir/tools/StructureDefinition/xml-namespace","valueUri":"urn:hl7-org:sdtc"},
        {"url":"http://hl7.org/fhir/tools/StructureDefinition/xml-name","valueString":"dead"}]}]}}"#,
    r#"{"resourceType":"StructureDefinition","url":"http://x/ANY","kind":"logical","type":"ANY","differential":{"element":[{"path":"ANY"}]}}"#,
    r#"{"resourceType":"StructureDefinition","url":"http://x/ST","kind":"logical","type":"ST","baseDefinition":"http://x/ANY","differential":{"element":[
      {"path":"ST"},{"path":"ST.xmlText","representation":["xmlText"],"max":"1","type":[{"code":"string"}]}]}}"#,
    r#"{"resourceType":"StructureDefinition","url":"http://x/PQ","kind":"logical","type":"PQ","baseDefinition":"http://x/ANY","differential":{"element":[
      {"path":"PQ"},{"path":"PQ.value","representation":["xmlAttr"],"max":"1","type":[{"code":"decimal"}]},
      {"path":"PQ.unit","representation":["xmlAttr"],"min":1,"max":"1","type":[{"code":"string"}]}]}}"#,
];

fn note(rules: &str, document: &[u8]) -> Output {
    let files: Vec<(&str, &[u8])> = NOTE.iter().map(|text| ("model.json", text.as_bytes())).collect();
    let options =
        Options { models: Models::read(&files).unwrap(), profile: Profile::Open, ..Options::default() };
    let map = format!(
        "map \"http://x/m\" = \"m\"\nuses \"http://x/Note\" alias Note as source\nuses \"http://x/Note\" alias Made as target
uses \"http://x/PQ\" alias PQ as target\nuses \"http://x/ST\" alias ST as target
group Main(source src : Note, target tgt : Made) {{ {rules} }}"
    );
    let plan = Plan::load("map.fml", &map, &[], &options).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let limits = source::Limits::default();
    let parsed = if xml::looks_like_xml(document) {
        xml::parse(document, limits)
    } else {
        json::parse(document, limits)
    };
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    plan.run(&parsed.tree, &CodeTables::new(), Limits::default())
}

const RULES: &str = "src -> tgt.class = 'NOTE', tgt.count = 3, tgt.title as t, t.xmlText = 'a < b & \"c\"',
  tgt.value = create('PQ') as q, q.value = '1.50', q.unit = 'mm[Hg]', tgt.value = create('ST') as s, s.xmlText = 'x', tgt.sdtcDead as d, d.xmlText = 'no';";

#[test]
fn a_logical_document_is_written_in_the_xml_of_its_model() {
    let output = note(RULES, b"{}");
    assert_eq!(output.units[0].state, UnitState::Ready, "{output:#?}");
    let expected = "<Note xmlns=\"urn:x\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:sdtc=\"urn:hl7-org:sdtc\" class=\"NOTE\">\
        <value xsi:type=\"PQ\" value=\"1.50\" unit=\"mm[Hg]\"/><value xsi:type=\"ST\">x</value><title>a &lt; b &amp; \"c\"</title>\
        <count value=\"3\"/><sdtc:dead>no</sdtc:dead></Note>";
    assert_eq!(output.units[0].xml.as_deref(), Some(expected));
}

#[test]
fn what_is_written_in_xml_reads_back() {
    let written = note(RULES, b"{}").units.remove(0).xml.unwrap();
    let rules = "src.class -> tgt.class; src.title as a -> tgt.title as t then { a.xmlText -> t.xmlText; };
      src.value : PQ as v -> tgt.value = create('PQ') as q then { v.value -> q.value; v.unit -> q.unit; };
      src.value : ST as v -> tgt.value = create('ST') as s then { v.xmlText -> s.xmlText; };
      src.count as c -> tgt.count = (c.value); src.sdtcDead as a -> tgt.sdtcDead as d then { a.xmlText -> d.xmlText; };";
    let again = note(rules, written.as_bytes());
    assert_eq!(again.units[0].xml.as_deref(), Some(&*written), "{again:#?}");
}

#[test]
fn a_value_whose_type_nothing_tells_is_a_finding_and_not_passed_over() {
    let rules = "src -> tgt.title as t, t.xmlText = 'x'; src.value : PQ as v -> tgt.count = 1;";
    let told = note(rules, b"<Note xmlns=\"urn:x\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><value xsi:type=\"ST\">x</value></Note>");
    assert!(told.units[0].findings.is_empty(), "{told:#?}");
    let untold = note(rules, b"<Note xmlns=\"urn:x\"><value unit=\"l\" value=\"1\"/></Note>");
    assert_eq!(untold.units[0].findings[0].code, "source-type", "{untold:#?}");
    assert_eq!(untold.units[0].findings[0].path, "value");
}

#[test]
fn what_a_model_requires_is_missed_with_its_path() {
    let output = note("src -> tgt.value = create('PQ') as q, q.value = '1';", b"{}");
    let missed: Vec<&str> =
        output.units[0].findings.iter().map(|f| f.cause.as_deref().unwrap_or("")).collect();
    assert_eq!(
        missed,
        ["resource-invalid:required:Note.title", "resource-invalid:required:Note.value.unit"],
        "{output:#?}"
    );
    assert_eq!(output.units[0].state, UnitState::Quarantined);
}

#[test]
fn a_character_xml_cannot_hold_keeps_the_unit() {
    let output = note("src.class as c -> tgt.title as t, t.xmlText = c;", b"{\"class\":\"a\\u0001b\"}");
    assert!(output.units[0].findings.iter().any(|f| f.code == "xml-character"), "{output:#?}");
    assert_eq!(output.units[0].xml, None);
}
