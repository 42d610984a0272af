//! The map language as its guide has it, on small maps and models written in the test: default groups, logical models, list modes,
//! choices, references, reckoning.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sluis_mappings::codes::CodeTables;
use sluis_mappings::fml::{MapError, Profile};
use sluis_mappings::model::Models;
use sluis_mappings::output::Output;
use sluis_mappings::plan::{Limits, Options, Plan};
use sluis_mappings::source::{self, json};

/// A model `Left` with text, a choice and a list of `Part`s; `Right` takes them as others do.
fn models() -> Models {
    let model = |name: &str, elements: &str| {
        format!(
            r#"{{"resourceType":"StructureDefinition","url":"http://x/{name}","kind":"logical","type":"{name}",
            "differential":{{"element":[{{"path":"{name}"}},{elements}]}}}}"#
        )
    };
    let element = |path: &str, max: &str, types: &str| {
        let types: Vec<String> = types.split(' ').map(|code| format!(r#"{{"code":"{code}"}}"#)).collect();
        format!(r#"{{"path":"{path}","max":"{max}","type":[{}]}}"#, types.join(","))
    };
    let left = [
        element("Left.name", "1", "string"),
        element("Left.v[x]", "1", "Quantity string"),
        element("Left.part", "*", "http://x/LeftPart"),
    ];
    let right = [
        element("Right.title", "1", "string"),
        element("Right.tags", "*", "string"),
        element("Right.v[x]", "1", "Quantity string"),
        element("Right.piece", "*", "http://x/RightPart"),
    ];
    let files = [
        model("Left", &left.join(",")),
        model("Right", &right.join(",")),
        model("LeftPart", &element("LeftPart.code", "1", "code")),
        model(
            "RightPart",
            &[element("RightPart.label", "1", "string"), element("RightPart.n", "1", "string")].join(","),
        ),
    ];
    let files: Vec<(&str, &[u8])> = files.iter().map(|text| ("model.json", text.as_bytes())).collect();
    Models::read(&files).unwrap()
}

const HEAD: &str = "map \"http://x/m\" = \"m\"
uses \"http://x/Left\" alias Left as source
uses \"http://x/LeftPart\" alias LeftPart as source
uses \"http://x/Right\" alias Right as target
uses \"http://x/RightPart\" alias RightPart as target
";

fn load(map: &str) -> Result<Plan, Vec<MapError>> {
    let options = Options { models: models(), profile: Profile::Open, ..Options::default() };
    Plan::load("map.fml", map, &[], &options)
}

fn run(map: &str, document: &str) -> Output {
    let plan = load(map).unwrap_or_else(|errors| panic!("{errors:#?}"));
    plan.run(
        &json::parse(document.as_bytes(), source::Limits::default()).tree,
        &CodeTables::new(),
        Limits::default(),
    )
}

/// What the rules of one group make of a `Left`.
fn right(rules: &str, document: &str) -> Value {
    made(&run(
        &format!("{HEAD}group Main(source src : Left, target tgt : Right) {{\n{rules}\n}}\n"),
        document,
    ))
}

fn made(output: &Output) -> Value {
    let unit = output.units.first().unwrap();
    assert!(
        unit.findings.is_empty() && output.findings.is_empty(),
        "{:?} {:?}",
        unit.findings,
        output.findings
    );
    serde_json::from_str(unit.resource.as_deref().unwrap()).unwrap()
}

fn refused(rules: &str) -> (&'static str, u32, u32) {
    let map = format!("{HEAD}group Main(source src : Left, target tgt : Right) {{\n{rules}\n}}\n");
    let errors = load(&map).unwrap_err();
    (errors[0].code, errors[0].line, errors[0].column)
}

#[test]
fn a_default_group_maps_its_types_wherever_nothing_else_is_said() {
    let groups = "group Main(source src : Left, target tgt : Right) {
  src.name -> tgt.title;
  src.part -> tgt.piece;
}
group Part(source src : LeftPart, target tgt : RightPart) <<types>> {
  src.code -> tgt.label;
}
group code2string(source src : code, target tgt : string) <<types>> {
  src.value as v -> tgt.value = (v.upper());
}
";
    let document = r#"{"name":"n","part":[{"code":"a"},{"code":"b"}]}"#;
    let expected = json!({"resourceType":"Right","title":"n","piece":[{"label":"A"},{"label":"B"}]});
    assert_eq!(made(&run(&format!("{HEAD}{groups}"), document)), expected);
    // Called for by a variable too, since the types differ.
    let groups = groups.replace("src.part -> tgt.piece;", "src.part as p -> tgt.piece = p;");
    assert_eq!(made(&run(&format!("{HEAD}{groups}"), document)), expected);
}

#[test]
fn types_that_nothing_maps_are_refused() {
    assert_eq!(refused("  src.part -> tgt.piece;"), ("default-missing", 7, 15));
    assert_eq!(refused("  src.nme -> tgt.title;"), ("element-unknown", 7, 3));
    assert_eq!(refused("  src.name -> tgt.titel;"), ("element-unknown", 7, 15));
    assert_eq!(refused("  src.name as n where (n.code = 'a') -> tgt.title = n;").0, "element-unknown");
    assert_eq!(refused("  src.v : Period as v -> tgt.vString = v;"), ("source-type", 7, 3));
    assert_eq!(refused("  src.name : Quantity as v -> tgt.title = v;"), ("source-type", 7, 3));
}

#[test]
fn a_choice_goes_to_the_same_choice() {
    for rule in ["src.v -> tgt.v;", "src.v as v -> tgt.v = v;", "src -> tgt.v = (src.v);"] {
        let quantity = r#"{"vQuantity":{"value":1.10,"unit":"l"}}"#;
        let expected = r#"{"resourceType":"Right","vQuantity":{"value":1.10,"unit":"l"}}"#;
        let map = format!("{HEAD}group Main(source src : Left, target tgt : Right) {{ {rule} }}");
        assert_eq!(run(&map, quantity).units[0].resource.as_deref(), Some(expected), "{rule}");
        assert_eq!(
            right(rule, r#"{"vString":"x"}"#),
            json!({"resourceType":"Right","vString":"x"}),
            "{rule}"
        );
    }
    let only = "src.v : Quantity as v -> tgt.vString = (v.unit);";
    assert_eq!(right(only, r#"{"vString":"x"}"#), json!({"resourceType":"Right"}));
    assert_eq!(right(only, r#"{"vQuantity":{"unit":"l"}}"#), json!({"resourceType":"Right","vString":"l"}));
    let asked = "src where (v is Quantity) -> tgt.title = (src.v.ofType(Quantity).unit);";
    assert_eq!(right(asked, r#"{"vQuantity":{"unit":"l"}}"#), json!({"resourceType":"Right","title":"l"}));
}

#[test]
fn target_list_modes_order_what_rules_make() {
    let two = "src.part as p -> tgt.piece as t then { p.code as c -> t.label = c; };\n";
    let document = r#"{"name":"n","part":[{"code":"a"},{"code":"b"}]}"#;
    let pieces = |before: &str, mode: &str, after: &str| {
        let named = format!("src.name as n -> tgt.piece as t {mode}, t.n = n;");
        right(&format!("{before}{named}{after}"), document)["piece"].clone()
    };
    assert_eq!(pieces(two, "first", ""), json!([{"n":"n"},{"label":"a"},{"label":"b"}]));
    assert_eq!(pieces("", "last", two), json!([{"label":"a"},{"label":"b"},{"n":"n"}]));
    assert_eq!(pieces(two, "", ""), json!([{"label":"a"},{"label":"b"},{"n":"n"}]));
    let code = |rules: &str| {
        let map = format!("{HEAD}group Main(source src : Left, target tgt : Right) {{ {rules} }}");
        run(&map, document).units[0].findings[0].code
    };
    assert_eq!(code(&format!("{two} src.name as n -> tgt.piece as t single, t.n = n;")), "target-second");
    let first = "src.name as n -> tgt.piece as t first, t.n = n;";
    assert_eq!(code(&format!("{first} {first}")), "target-place");
}

#[test]
fn a_check_may_name_the_item_it_checks() {
    let rule = "src.name as n check (n.length() <= 3) -> tgt.title = n;";
    assert_eq!(right(rule, r#"{"name":"abc"}"#), json!({"resourceType":"Right","title":"abc"}));
    let map = format!("{HEAD}group Main(source src : Left, target tgt : Right) {{ {rule} }}");
    assert_eq!(run(&map, r#"{"name":"abcd"}"#).units[0].findings[0].code, "check-failed");
}

#[test]
fn what_is_extended_may_be_more_general() {
    let groups = "group Main(source src : Left, source other, target tgt : Right) extends Top {
  src.name -> tgt.title;
}
group Top(source src : Left, target tgt : Right) {
  src.nowhere -> tgt.tags;
}
group Start(source src : Left, target tgt : Right) { src -> tgt then Main(src, src, tgt); }
";
    let starts = groups.rsplit_once("group Start").unwrap();
    let map = format!("{HEAD}group Start{}{}", starts.1, starts.0);
    assert_eq!(made(&run(&map, r#"{"name":"n"}"#)), json!({"resourceType":"Right","title":"n"}));
}

#[test]
fn constants_and_reckoning_are_exact() {
    let map = |rule: &str| {
        let lets = "let base = 'a/';\nlet both = (base & 'b');\n";
        let map = format!(
            "{HEAD}{lets}group Main(source src : Left, target tgt : Right) {{ src -> tgt.title = ({rule}); }}"
        );
        made(&run(&map, r#"{"name":"2024-02-28","vQuantity":{"value":0.10}}"#))["title"].clone()
    };
    for (rule, expected) in [
        ("both", "a/b"),
        ("'x' + 'y'", "xy"),
        ("src.v.value + 0.2", "0.30"),
        ("src.v.value * 3", "0.30"),
        ("1 - 1.5", "-0.5"),
        ("%src.name + 2 days", "2024-03-01"),
        ("@2024-03-31 - 1 month", "2024-02-29"),
        ("@2024-03-01T00:30:00+01:00 - 1 hour", "2024-02-29T23:30:00+01:00"),
    ] {
        assert_eq!(map(rule), json!(expected), "{rule}");
    }
    let odd = format!(
        "{HEAD}let a = (b);\nlet b = 'x';\ngroup Main(source src : Left, target tgt : Right) {{ src -> tgt.title = (a); }}"
    );
    assert_eq!(load(&odd).unwrap_err()[0].code, "constant-order");
}

const PATIENT: &str = "map \"http://x/p\" = \"p\"
uses \"http://hl7.org/fhir/StructureDefinition/Patient\" alias Patient as source
uses \"http://hl7.org/fhir/StructureDefinition/Patient\" alias PatientOut as target
uses \"http://hl7.org/fhir/StructureDefinition/Bundle\" alias Bundle as target
uses \"http://hl7.org/fhir/StructureDefinition/Encounter\" alias Encounter as target
";

#[test]
fn id_and_extension_go_with_a_primitive() {
    let map = format!(
        "{PATIENT}group Main(source src : Patient, target tgt : PatientOut) {{ src.birthDate -> tgt.birthDate; src.name as n -> tgt.name as t then {{ n.given -> t.given; }}; }}"
    );
    let document = r#"{"resourceType":"Patient","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]},"name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"http://x","valueString":"B"}]}]}]}"#;
    assert_eq!(made(&run(&map, document)), serde_json::from_str::<Value>(document).unwrap());
}

#[test]
fn a_resource_made_on_its_own_can_be_put_into_another_once() {
    let map = format!(
        "{PATIENT}group Main(source src : Patient, target tgt : Bundle) {{
  src -> tgt.type = 'collection', create('Encounter') as e, tgt.entry as entry then {{
    src -> e.id = 'e', e.status = 'planned', e.class = c('http://x', 'a'), e.subject = reference(src), entry.resource = e;
  }};
}}"
    );
    let bundle = made(&run(&map, r#"{"resourceType":"Patient","id":"p1"}"#));
    let encounter = &bundle["entry"][0]["resource"];
    assert_eq!(
        (&encounter["resourceType"], &encounter["subject"]["reference"]),
        (&json!("Encounter"), &json!("Patient/p1"))
    );
    let without = run(&map, r#"{"resourceType":"Patient"}"#);
    assert!(
        without.units[0].findings.iter().any(|f| f.code == "reference-id"),
        "{:?}",
        without.units[0].findings
    );
    let twice =
        map.replace("entry.resource = e;", "entry.resource = e, tgt.entry as more, more.resource = e;");
    let output = run(&twice, r#"{"resourceType":"Patient","id":"p1"}"#);
    assert!(
        output.units[0].findings.iter().any(|f| f.code == "target-attached"),
        "{:?}",
        output.units[0].findings
    );
}

#[test]
fn composite_transforms_take_their_arguments_in_the_order_of_the_guide() {
    let map = |rules: &str| {
        format!("{PATIENT}group Main(source src : Patient, target tgt : PatientOut) {{ {rules} }}")
    };
    let output = run(
        &map(
            "src -> tgt.telecom = cp('phone', '555'), tgt.telecom = cp('a@b.nl'), tgt.identifier = id('http://x', '1', 'MR');",
        ),
        r#"{"resourceType":"Patient"}"#,
    );
    let expected = json!({"resourceType":"Patient","identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"http://x","value":"1"}],
        "telecom":[{"system":"phone","value":"555"},{"system":"email","value":"a@b.nl"}]});
    assert_eq!(made(&output), expected);
}

#[test]
fn a_library_runs_from_any_of_its_typed_groups() {
    let parts =
        "group Part(source src : LeftPart, target tgt : RightPart) <<types>> { src.code -> tgt.label; }\n";
    let maps = [
        (
            "a.fml",
            format!(
                "{HEAD}imports \"http://x/*rts\"\ngroup Main(source src : Left, target tgt : Right) {{ src.part -> tgt.piece; }}"
            ),
        ),
        ("b.fml", format!("{}{parts}", HEAD.replace("http://x/m", "http://x/parts"))),
    ];
    let maps: Vec<(&str, &str)> = maps.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let options = Options { models: models(), profile: Profile::Open, ..Options::default() };
    let plan = Plan::library(&maps, &options).unwrap();
    assert_eq!(plan.entries().collect::<Vec<_>>(), ["Main", "Part"]);
    let tree = json::parse(br#"{"code":"a"}"#, source::Limits::default()).tree;
    let output = plan.run_group("Part", &tree, &BTreeMap::new(), Limits::default()).unwrap();
    assert_eq!(made(&output), json!({"resourceType":"RightPart","label":"a"}));
    assert!(plan.run_group("None", &tree, &BTreeMap::new(), Limits::default()).is_none());
}
