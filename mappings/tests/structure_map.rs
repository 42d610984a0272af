//! Maps as StructureMap resources: what is built is valid R4, and read back it maps as the text does. Resources of R4 and R5 written
//! by hand load like text, with the place of what is wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate::{Severity, validate};
use sluis_mappings::codes::CodeTables;
use sluis_mappings::fml::{self, MapError, Profile};
use sluis_mappings::plan::{Limits, Options, Plan};
use sluis_mappings::run::{CompiledFolder, LIBRARY};
use sluis_mappings::source::{self, json};

mod common;
use common::folder;

/// Every map of a program as resource, under the name it has as text.
fn built(name: &str, text: &str) -> Vec<(String, String)> {
    let program = fml::load(name, text, &LIBRARY).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let build = |map: &fml::Map| {
        let resource = fml::structure_map(&program.files, map);
        let resource = resource.unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>())
        });
        (program.files.name(map.file).to_owned(), resource)
    };
    program.maps.iter().map(|map| build(map)).collect()
}

/// Builds a folder's map and library, checks the resources, and runs the cases with them.
fn round_trip(name: &str) {
    let folder = folder(name);
    let maps = built(&folder.map_file, &folder.map);
    for (file, resource) in &maps {
        let doc = Doc::parse(resource.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let wrong = validate(definitions::r4(), doc.root());
        let wrong: Vec<_> = wrong.iter().filter(|issue| issue.severity == Severity::Error).collect();
        assert!(wrong.is_empty(), "{name}/{file}: {wrong:#?}");
    }
    let library: Vec<(&str, &str)> = maps.iter().skip(1).map(|(name, text)| (&**name, &**text)).collect();
    let mut from_resource = folder.clone();
    from_resource.map.clone_from(&maps[0].1);
    let read = CompiledFolder::with_library(from_resource, &library);
    let read = read.unwrap_or_else(|errors| {
        panic!("{name}: {}", errors.iter().map(|e| format!("{e}\n")).collect::<String>())
    });
    let written = CompiledFolder::new(folder.clone()).unwrap();
    for case in &folder.cases {
        let (a, b) = (written.run(&case.input), read.run(&case.input));
        let parts = |output: &sluis_mappings::output::Output| -> Vec<_> {
            let units = output.units.iter();
            units.map(|unit| (unit.resource.clone(), unit.identity.clone(), unit.state)).collect()
        };
        assert_eq!(parts(&a), parts(&b), "{name}/{}", case.name);
    }
}

#[test]
fn umc_lab_maps_alike_from_its_structure_map() {
    round_trip("umc-lab");
}

#[test]
fn gp_stu3_maps_alike_from_its_structure_map() {
    round_trip("gp-stu3");
}

#[test]
fn gesp_export_maps_alike_from_its_structure_map() {
    round_trip("gesp-export");
}

#[test]
fn als_visit_maps_alike_from_its_structure_map() {
    round_trip("als-visit");
}

fn load(text: &str) -> Result<Plan, Vec<MapError>> {
    let options = Options { profile: Profile::Open, ..Options::default() };
    Plan::load("map.json", text, &[], &options)
}

fn gender(map: &str) -> Option<String> {
    let plan = load(map).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let tree = json::parse(
        br#"{"resourceType":"Patient","gender":"male","active":true}"#,
        source::Limits::default(),
    )
    .tree;
    plan.run(&tree, &CodeTables::new(), Limits::default()).units[0].resource.clone()
}

const R4: &str = r##"{"resourceType":"StructureMap","url":"http://x/m","name":"m","status":"draft",
"contained":[{"resourceType":"ConceptMap","id":"g","status":"draft","group":[{"source":"s","target":"t","element":[
  {"code":"male","target":[{"code":"female","equivalence":"equivalent"}]}]}]}],
"structure":[{"url":"http://hl7.org/fhir/StructureDefinition/Patient","mode":"source","alias":"Patient"},
 {"url":"http://hl7.org/fhir/StructureDefinition/Patient","mode":"target","alias":"Out"}],
"group":[{"name":"main","typeMode":"none","input":[{"name":"src","type":"Patient","mode":"source"},{"name":"tgt","type":"Out","mode":"target"}],
 "rule":[{"name":"a","source":[{"context":"src","element":"active","variable":"vvv"}],
   "target":[{"context":"tgt","contextType":"variable","element":"active","variable":"vvv","transform":"create"}]},
  {"name":"b","source":[{"context":"src","element":"gender","variable":"g","condition":"$this = 'male'"}],
   "target":[{"context":"tgt","contextType":"variable","element":"gender","transform":"translate","parameter":[
     {"valueId":"g"},{"valueString":"#g"},{"valueString":"code"}]}]}]}]}"##;

#[test]
fn resources_of_both_versions_load_in_both_notations() {
    let expected = r#"{"resourceType":"Patient","active":true,"gender":"female"}"#;
    assert_eq!(gender(R4).as_deref(), Some(expected));
    let r5 = R4
        .replace("\"equivalence\":\"equivalent\"", "\"relationship\":\"equivalent\"")
        .replace("\"typeMode\":\"none\",", "");
    assert_eq!(gender(&r5).as_deref(), Some(expected));
    let xml = r##"<StructureMap xmlns="http://hl7.org/fhir"><url value="http://x/m"/>
<structure><url value="http://hl7.org/fhir/StructureDefinition/Patient"/><mode value="source"/><alias value="Patient"/></structure>
<structure><url value="http://hl7.org/fhir/StructureDefinition/Patient"/><mode value="target"/><alias value="Out"/></structure>
<group><name value="main"/><input><name value="src"/><type value="Patient"/><mode value="source"/></input>
<input><name value="tgt"/><type value="Out"/><mode value="target"/></input>
<rule><name value="a"/><source><context value="src"/><element value="active"/><variable value="a"/></source>
<target><context value="tgt"/><element value="active"/><transform value="copy"/><parameter><valueId value="a"/></parameter></target></rule>
<rule><name value="b"/><source><context value="src"/></source>
<target><context value="tgt"/><element value="gender"/><transform value="evaluate"/><parameter><valueString value="iif(src.active, 'female', 'male')"/></parameter></target></rule>
</group></StructureMap>"##;
    assert_eq!(gender(xml).as_deref(), Some(expected));
}

#[test]
fn what_is_wrong_in_a_resource_has_its_place_there() {
    for (good, bad, code, line) in [
        (
            "\"element\":\"active\",\"variable\":\"vvv\"}]",
            "\"element\":\"activ\",\"variable\":\"vvv\"}]",
            "element-unknown",
            7,
        ),
        ("$this = 'male'", "$this = ", "map-syntax", 9),
        ("$this = 'male'", "uuid() = 'x'", "function-impure", 9),
        ("\"mode\":\"source\",\"alias\"", "\"mode\":\"read\",\"alias\"", "uses-mode", 4),
        ("\"url\":\"http://x/m\",", "", "map-element", 1),
        ("equivalent", "narrower", "relation-unsupported", 3),
        ("\"transform\":\"translate\"", "\"transform\":\"trans%late\"", "transform-unknown", 10),
        ("{\"valueString\":\"#g\"}", "{\"valueDecimal\":\"1e\"}", "value-invalid", 11),
        ("{\"valueString\":\"#g\"}", "{\"valueDate\":\"today\"}", "value-invalid", 11),
        ("{\"resourceType\":\"StructureMap\"", "{\"resourceType\":\"Patient\"", "map-element", 1),
    ] {
        assert!(R4.contains(good), "{good}");
        let errors = load(&R4.replacen(good, bad, 1)).unwrap_err();
        let found = errors.iter().find(|error| error.code == code);
        let found = found.unwrap_or_else(|| panic!("{bad}: {errors:#?}"));
        assert_eq!((found.line, found.file.as_str()), (line, "map.json"), "{bad}: {found}");
    }
}

#[test]
fn what_r4_has_no_room_for_is_refused_where_it_stands() {
    let map = "map \"http://x/m\" = \"m\"
uses \"http://x/A\" alias A as source
let c = 'x';
group G(source a_b : A) { a_b.x as x then H(x); }
group H(source x : A) { }
";
    let program = fml::load("map.fml", map, &[]).unwrap();
    let errors = fml::structure_map(&program.files, &program.maps[0]).unwrap_err();
    let codes: Vec<(&str, u32)> = errors.iter().map(|error| (error.code, error.line)).collect();
    assert_eq!(codes, [("constant-unsupported", 3), ("name-id", 4), ("name-id", 4)]);
}
