//! The engine on small maps written in the test: each transform, each kind of load error, list modes, limits, traces.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluis_mappings::codes::{CodeTable, CodeTables};
use sluis_mappings::finding::Severity;
use sluis_mappings::fml::MapError;
use sluis_mappings::output::{Output, UnitState};
use sluis_mappings::plan::{Limits, Options, Plan};
use sluis_mappings::source::{self, json};

const HEAD: &str = "map \"http://x/m\" = \"m\"
uses \"http://x/Doc\" alias Doc as source
uses \"http://hl7.org/fhir/StructureDefinition/Observation\" alias Observation as target
";

/// Rules inside one Observation that already has what R4 requires.
fn observation(rules: &str) -> String {
    format!(
        "{HEAD}group Main(source src : Doc, target tgt : Observation) {{
  src -> tgt.status = 'final', tgt.code = cc('text'), identity('http://x', 'p', '1'), subjectLocal('http://p', '1') \"base\";
  {rules}
}}
"
    )
}

fn tables() -> CodeTables {
    let header = "system,code,display,target_system,target_code,target_display,relationship,comment\n";
    let rows = format!(
        "{header},FVC,FVC zittend,http://loinc.org,19868-9,Forced vital capacity,equivalent,\n,TEKST,,,,,noMap,\n\
         ,L,,http://unitsofmeasure.org,L,liter,equal,\n,F,,,final,,equal,\n"
    );
    BTreeMap::from([("t".to_owned(), CodeTable::load("t", "codes/t.csv", rows.as_bytes(), &[]).unwrap())])
}

fn load(map: &str) -> Result<Plan, Vec<MapError>> {
    let options = Options { tables: ["t".to_owned()].into(), ..Options::default() };
    Plan::load("map.fml", map, &[], &options)
}

fn run_with(map: &str, document: &str, limits: Limits) -> Output {
    let plan = load(map).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(|error| format!("{error}\n\n")).collect::<String>());
    });
    plan.run(&json::parse(document.as_bytes(), source::Limits::default()).tree, &tables(), limits)
}

fn run(rules: &str, document: &str) -> Output {
    run_with(&observation(rules), document, Limits::default())
}

fn codes(output: &Output) -> Vec<&'static str> {
    let units = output.units.iter().flat_map(|unit| &unit.findings);
    output.findings.iter().chain(units).map(|finding| finding.code).collect()
}

#[test]
fn each_transform_makes_its_element() {
    for (rules, document, expected) in [
        ("src.v as v -> tgt.valueString = v;", r#"{"v":"a"}"#, r#""valueString":"a""#),
        ("src.v -> tgt.valueString;", r#"{"v":"a"}"#, r#""valueString":"a""#),
        ("src.v as v -> tgt.valueString = copy(v);", r#"{"v":"a"}"#, r#""valueString":"a""#),
        ("src -> tgt.value = 'x';", "{}", r#""valueString":"x""#),
        ("src -> tgt.value = true;", "{}", r#""valueBoolean":true"#),
        ("src.v as v -> tgt.value = cast(v, 'integer');", r#"{"v":"7"}"#, r#""valueInteger":7"#),
        ("src.v as v -> tgt.value = cc(v);", r#"{"v":"a"}"#, r#""valueCodeableConcept":{"text":"a"}"#),
        (
            "src.v as v -> tgt.value = cc('http://s', v, 'D');",
            r#"{"v":"a"}"#,
            r#""valueCodeableConcept":{"coding":[{"system":"http://s","code":"a","display":"D"}]}"#,
        ),
        (
            "src.v as v -> tgt.value = qty(v, 'L', 'http://unitsofmeasure.org', 'L');",
            r#"{"v":1.10}"#,
            r#""valueQuantity":{"value":1.10,"unit":"L","system":"http://unitsofmeasure.org","code":"L"}"#,
        ),
        (
            "src.v as v -> tgt.value = ucum(v, 'L', 't');",
            r#"{"v":"2.50"}"#,
            r#""valueQuantity":{"value":2.50,"unit":"liter","system":"http://unitsofmeasure.org","code":"L"}"#,
        ),
        (
            "src.v as v -> tgt.identifier = id('http://i', v);",
            r#"{"v":"7"}"#,
            r#""identifier":[{"system":"http://i","value":"7"}]"#,
        ),
        (
            "src.v as v -> tgt.subject = reference(v);",
            r#"{"v":"Patient/1"}"#,
            r#""subject":{"reference":"Patient/1"}"#,
        ),
        (
            "src.v as v -> tgt.subject = ref('Patient', 'http://p', v);",
            r#"{"v":"1"}"#,
            r#""subject":{"type":"Patient","identifier":{"system":"http://p","value":"1"}}"#,
        ),
        ("src.v as v -> tgt.valueString = append(v, '-', v);", r#"{"v":"a"}"#, r#""valueString":"a-a""#),
        ("src.v as v -> tgt.valueString = truncate(v, 2);", r#"{"v":"abc"}"#, r#""valueString":"ab""#),
        (
            "src.v as v -> tgt.valueString = evaluate(v, $this & '!');",
            r#"{"v":"a"}"#,
            r#""valueString":"a!""#,
        ),
        (
            "src.v as v -> tgt.valueString = (iif(%v = 'a', 'one', 'other'));",
            r#"{"v":"a"}"#,
            r#""valueString":"one""#,
        ),
        (
            "src.v as v -> tgt.effective = cast((hl7DateTime(%v, 'Europe/Amsterdam')), 'dateTime');",
            r#"{"v":"202607140915"}"#,
            r#""effectiveDateTime":"2026-07-14T09:15:00+02:00""#,
        ),
        (
            "src.v as v -> tgt.effectiveDateTime = nlDate(v, 'dd-MM-yyyy');",
            r#"{"v":"14-07-2026"}"#,
            r#""effectiveDateTime":"2026-07-14""#,
        ),
        (
            "src.v as v -> tgt.valueQuantity as q, q.value = decimalComma(v);",
            r#"{"v":"1.234,50"}"#,
            r#""valueQuantity":{"value":1234.50}"#,
        ),
        (
            "src.v as v -> tgt.identifier as i, i.system = oidOrUri(v);",
            r#"{"v":"2.16.840.1"}"#,
            r#""identifier":[{"system":"urn:oid:2.16.840.1"}]"#,
        ),
        (
            "src.v as v -> tgt.component as c, c.code = cc('x'), c.value = qty(v);",
            r#"{"v":[1,2]}"#,
            r#""component":[{"code":{"text":"x"},"valueQuantity":{"value":1}},{"code":{"text":"x"},"valueQuantity":{"value":2}}]"#,
        ),
        (
            "src.v as v -> tgt.valueCodeableConcept = v;",
            r#"{"v":{"coding":[{"code":"a","_display":{"extension":[{"url":"u","valueString":"w"}]}}]}}"#,
            r#""valueCodeableConcept":{"coding":[{"code":"a","_display":{"extension":[{"url":"u","valueString":"w"}]}}]}"#,
        ),
        (
            "src -> tgt: issued, valueString;",
            r#"{"issued":"2026-01-01T00:00:00Z","valueString":"b"}"#,
            r#""issued":"2026-01-01T00:00:00Z","valueString":"b""#,
        ),
        ("src.v as v -> tgt.note as n share one, n.text = v;", r#"{"v":["a"]}"#, r#""note":[{"text":"a"}]"#),
    ] {
        let output = run(rules, document);
        let text = output.units.first().unwrap().resource.clone().unwrap();
        assert!(text.contains(expected), "{rules}\n{text}\n{:?}", codes(&output));
        assert_eq!(output.units.first().unwrap().state, UnitState::Ready, "{rules} {:?}", codes(&output));
    }
}

#[test]
fn translate_keeps_both_codings_and_counts_the_unmapped() {
    let rules = "src.v as v -> tgt.value = translate(v, 't', 'CodeableConcept');";
    let output =
        run(rules, r#"{"v":{"coding":[{"system":"","code":"FVC","display":"FVC zittend"}],"text":"FVC"}}"#);
    let text = output.units[0].resource.clone().unwrap();
    let expected = r#""valueCodeableConcept":{"coding":[{"system":"http://loinc.org","code":"19868-9","display":"Forced vital capacity"},{"code":"FVC","display":"FVC zittend","userSelected":true}],"text":"FVC"}"#;
    assert!(text.contains(expected), "{text}");
    assert!(codes(&output).is_empty());

    let output = run(rules, r#"{"v":"SNIP"}"#);
    assert!(output.units[0].resource.clone().unwrap().contains(r#""coding":[{"code":"SNIP"}]"#));
    assert_eq!(codes(&output), ["code-unmapped"]);
    assert_eq!(output.units[0].state, UnitState::Ready);
    assert_eq!(output.units[0].findings[0].cause.as_deref(), Some("code-unmapped:|SNIP"));

    assert!(codes(&run(rules, r#"{"v":"TEKST"}"#)).is_empty());
    let output = run(
        "src.v as v -> tgt.value = translate(v, 't', 'CodeableConcept', 'quarantine');",
        r#"{"v":"SNIP"}"#,
    );
    assert_eq!(output.units[0].state, UnitState::Quarantined);
}

#[test]
fn an_unmapped_code_that_changes_meaning_quarantines() {
    let map = observation("").replace("tgt.status = 'final'", "tgt.status = translate(src.s, 't', 'code')");
    let output = run_with(&map, r#"{"s":"F"}"#, Limits::default());
    assert!(output.units[0].resource.clone().unwrap().contains(r#""status":"final""#));
    let output = run_with(&map, r#"{"s":"Q"}"#, Limits::default());
    assert_eq!(output.units[0].state, UnitState::Quarantined);
    assert!(codes(&output).contains(&"code-unmapped"));
}

#[test]
fn contained_concept_maps_translate() {
    let map = observation("src.v as v -> tgt.value = translate(v, '#c', 'Coding');").replace(
        "uses \"http://x/Doc\"",
        "conceptmap \"#c\" {\n  prefix s = \"http://s\"\n  prefix t = \"http://t\"\n  s:a - t:b\n}\nuses \"http://x/Doc\"",
    );
    let map = map.replace(
        "tgt.value = translate(v, '#c', 'Coding')",
        "tgt.meta as m, m.tag = translate(v, '#c', 'Coding')",
    );
    let text = run_with(&map, r#"{"v":"a"}"#, Limits::default()).units[0].resource.clone().unwrap();
    assert!(text.contains(r#""tag":[{"system":"http://t","code":"b"}]"#), "{text}");
}

#[test]
fn list_modes_choose_items() {
    let document = r#"{"v":["a","b","c"]}"#;
    for (mode, expected) in
        [("first", "a"), ("last", "c"), ("not_first", "b,c"), ("not_last", "a,b"), ("", "a,b,c")]
    {
        let output = run(&format!("src.v {mode} as v -> tgt.note as n, n.text = v;"), document);
        let json: serde_json::Value =
            serde_json::from_str(output.units[0].resource.as_deref().unwrap()).unwrap();
        let texts: Vec<&str> =
            json["note"].as_array().unwrap().iter().map(|n| n["text"].as_str().unwrap()).collect();
        assert_eq!(texts.join(","), expected, "{mode}");
    }
    assert_eq!(codes(&run("src.v only_one as v -> tgt.note as n, n.text = v;", document)), ["source-many"]);
    assert_eq!(
        codes(&run("src.v 0..2 as v -> tgt.note as n, n.text = v;", document)),
        ["source-cardinality"]
    );
}

#[test]
fn defaults_checks_and_two_sources() {
    let text = |output: Output| output.units[0].resource.clone().unwrap();
    assert!(
        text(run("src.v default ('d') as v -> tgt.valueString = v;", "{}")).contains(r#""valueString":"d""#)
    );
    let rule = "src.v as v check ($this.matches('^[0-9]+$')) -> tgt.valueString = v \"digits only\";";
    assert!(codes(&run(rule, r#"{"v":"12"}"#)).is_empty());
    let output = run(rule, r#"{"v":"x"}"#);
    assert_eq!(output.units[0].findings[0].text, "digits only");
    assert_eq!(output.units[0].findings[0].path, "v");
    let pairs =
        run("src.a as a, src.b as b -> tgt.note as n, n.text = (%a & %b);", r#"{"a":["1","2"],"b":["x"]}"#);
    assert!(text(pairs).contains(r#""note":[{"text":"1x"},{"text":"2x"}]"#));
}

#[test]
fn a_second_value_is_an_error_at_its_rule() {
    let rules = "src.v as v -> tgt.valueString = v;";
    let output = run(rules, r#"{"v":["a","b"]}"#);
    assert_eq!(codes(&output), ["target-second"]);
    let finding = &output.units[0].findings[0];
    assert_eq!((finding.severity, finding.path.as_str()), (Severity::Error, "v[2]"));
    assert_eq!(finding.rule.as_deref(), Some("map.fml:6:17"));
    let output = run("src -> tgt.value = 'a', tgt.value = true;", "{}");
    assert_eq!(codes(&output), ["target-choice"]);
    assert_eq!(output.units[0].state, UnitState::Quarantined);
}

#[test]
fn root_resources_are_units_of_their_own() {
    let map = format!(
        "{HEAD}group Main(source src : Doc) {{
  src.row as row -> create('Observation') as o then {{
    row -> o.status = 'final', o.code = cc(row.c), identity('http://x', row.p, row.n), subjectBsn(row.p) \"o\";
  }} \"row\";
}}
"
    );
    let document =
        r#"{"row":[{"c":"a","p":"999911120","n":"1"},{"c":"b","p":"123456789","n":"2"},{"c":"c","n":"3"}]}"#;
    let output = run_with(&map, document, Limits::default());
    let states: Vec<UnitState> = output.units.iter().map(|unit| unit.state).collect();
    assert_eq!(states, [UnitState::Ready, UnitState::Quarantined, UnitState::Quarantined]);
    let labels: Vec<&str> = output.units.iter().map(|unit| unit.label.as_str()).collect();
    assert_eq!(labels, ["row[1]", "row[2]", "row[3]"]);
    assert_eq!(codes(&output), ["bsn-invalid", "identity-incomplete"]);
    assert!(!format!("{:?}", output.units[1].findings).contains("123456789"));
    assert_eq!(output.units[0].identity.clone().unwrap().1, "999911120|1");
    assert_eq!(output.units[0].subject.clone().unwrap().bsn.as_deref(), Some("999911120"));
}

#[test]
fn groups_extend_and_take_target_elements() {
    let map = format!(
        "{HEAD}group Main(source src : Doc, target tgt : Observation) extends Base {{
  src.v as v -> tgt.component as c then Part(v, c) \"part\";
}}
group Base(source a : Doc, target b : Observation) {{
  a -> b.status = 'final', b.code = cc('x'), identity('http://x', 'p', '1'), subjectNone() \"base\";
}}
group Part(source p : Doc, target c : BackboneElement) {{
  p -> c.code = cc(p.k), c.valueString = p.t \"fill\";
}}
"
    );
    let output = run_with(&map, r#"{"v":[{"k":"a","t":"1"}]}"#, Limits::default());
    let text = output.units[0].resource.clone().unwrap();
    assert!(text.ends_with(r#""component":[{"code":{"text":"a"},"valueString":"1"}]}"#), "{text}");
    assert_eq!(output.units[0].state, UnitState::Ready, "{:?}", codes(&output));
}

#[test]
fn limits_refuse_the_document() {
    let endless =
        observation("src as s then Again(s);") + "group Again(source a : Doc) { a as b then Again(b); }\n";
    let output = run_with(&endless, "{}", Limits::default());
    assert_eq!((codes(&output), output.units.len()), (vec!["limit-depth"], 0));
    let many = format!(r#"{{"v":[{}1]}}"#, "1,".repeat(500));
    let few = Limits { rules_max: 100, ..Limits::default() };
    let output = run_with(&observation("src.v as v -> tgt.note as n, n.text = v;"), &many, few);
    assert_eq!(output.findings[0].severity, Severity::Fatal);
    let few = Limits { nodes_max: 100, ..Limits::default() };
    let output = run_with(&observation("src.v as v -> tgt.note as n, n.text = v;"), &many, few);
    assert_eq!(output.findings[0].code, "limit-nodes");
    let few = Limits { steps_max: 10_000, ..Limits::default() };
    let rule = "src.v as a, src.v as b, src.v as c where (%a = 'x') -> tgt.note as n, n.text = a;";
    let output = run_with(&observation(rule), &many, few);
    assert_eq!((output.findings[0].code, output.units.len()), ("limit-steps", 0));
    let few = Limits { made_bytes_max: 10_000, ..Limits::default() };
    let rule = "src.v as v -> tgt.note as n, n.text = (%v & ' of what is made anew for each value');";
    let output = run_with(&observation(rule), &many, few);
    assert_eq!((output.findings[0].code, output.units.len()), ("limit-made", 0));
}

#[test]
fn coverage_counts_what_was_mapped_or_tested_and_no_more() {
    let document = r#"{"mapped":"a","tested":"b","whole":{"part":"c","other":"d"},"unseen":"e"}"#;
    let tree = json::parse(document.as_bytes(), source::Limits::default()).tree;
    let map = observation(
        "src.mapped as v where (%src.tested = 'b') -> tgt.valueString = v; src.whole as w then { w.part as p -> tgt.note as n, n.text = p; };",
    );
    let output = load(&map).unwrap().run(&tree, &tables(), Limits::default());
    let read: Vec<String> =
        tree.leaves().filter(|leaf| output.coverage.is_marked(*leaf)).map(|leaf| tree.path(leaf)).collect();
    assert_eq!(read, ["mapped", "tested", "whole.part"]);
}

#[test]
fn what_is_the_same_in_every_resource_can_be_written_into_and_is_traced() {
    let rules = "src.v -> tgt.method = cc('http://x/s', 'a', 'A'); \
        src.v as v -> tgt.method.text = v; src.v -> tgt.interpretation = cc('http://x/s', 'b'), tgt.interpretation = cc('only text');";
    let output = run(rules, r#"{"v":"said"}"#);
    let text = output.units[0].resource.clone().unwrap();
    for part in [
        r#""method":{"coding":[{"system":"http://x/s","code":"a","display":"A"}],"text":"said"}"#,
        r#""interpretation":[{"coding":[{"system":"http://x/s","code":"b"}]},{"text":"only text"}]"#,
    ] {
        assert!(text.contains(part), "{text}");
    }
    let tree = json::parse(br#"{"v":"said"}"#, source::Limits::default()).tree;
    let (_, trace) = load(&observation(rules)).unwrap().run_traced(&tree, &tables(), Limits::default());
    let paths: Vec<&str> = trace.values.iter().map(|value| value.path.as_str()).collect();
    for path in [
        "Observation.method.coding[0].code",
        "Observation.method.text",
        "Observation.interpretation[0].coding[0].code",
        "Observation.interpretation[1].text",
    ] {
        assert!(paths.contains(&path), "{path} of {paths:?}");
    }
}

#[test]
fn the_trace_names_rule_and_source_of_each_value() {
    let tree = json::parse(br#"{"v":"a"}"#, source::Limits::default()).tree;
    let plan = load(&observation("src.v as v log ('seen ' & $this) -> tgt.valueString = v;")).unwrap();
    let (_, trace) = plan.run_traced(&tree, &tables(), Limits::default());
    let value = trace.values.iter().find(|value| value.path == "Observation.valueString").unwrap();
    assert_eq!((value.rule.as_str(), tree.path(value.source).as_str()), ("map.fml:6:39", "v"));
    assert_eq!(trace.logs, [("map.fml:6:3".to_owned(), "seen a".to_owned())]);
}

#[test]
fn load_errors_have_a_place_and_name_what_is_near() {
    for (rules, code, column, help) in [
        ("src.v as v -> tgt.valueStrin = v;", "element-unknown", 17, "`valueString`"),
        ("src.v as v -> tgt.value = v;", "choice-open", 17, "valueQuantity"),
        ("src.v as v -> tgt.valueString = w;", "variable-unknown", 35, "`v`"),
        ("src.v as v -> target.valueString = v;", "variable-unknown", 17, "`tgt`"),
        ("src.v as v -> tgt.valueString = uuid();", "function-impure", 35, "stable"),
        ("src.v as v -> tgt.valueString = (now().toString());", "function-impure", 36, "stable"),
        ("src.v as v -> tgt.valueString = (%v.substrin(1));", "function-unsupported", 39, "`substring`"),
        ("src.v as v where ($this.sqrt() = 2) -> tgt.valueString = v;", "function-unsupported", 27, ""),
        ("src.v as v -> tgt.value = translate(v, 'tt', 'Coding');", "table-unknown", 42, "`t`"),
        ("src.v as v then Nothing(v);", "group-unknown", 19, ""),
        ("src.v as v where ($this.matches('(?=a)')) -> tgt.valueString = v;", "pattern-unsupported", 27, ""),
        (
            "src.v as v -> tgt.valueString = hl7DateTime(v, 'Europe/Amsterdm');",
            "zone-unknown",
            50,
            "Amsterdam",
        ),
        ("src.v as v -> tgt.valueQuantity = cc(v);", "type-mismatch", 17, ""),
        ("src.v as v -> tgt.component collate;", "list-mode-unsupported", 17, "share"),
        ("src.v as v -> create('Patient') as p;", "type-undeclared", 17, "uses"),
        ("src.v as v -> create('Observation') as p;", "identity-missing", 17, "identity"),
        ("src.v as v -> identity('x');", "function-arguments", 17, ""),
        (
            "src.v as v -> tgt.valueString = escape(v, 'html', 'xml');",
            "transform-unsupported",
            35,
            "notation",
        ),
        ("src.v : CWE as v -> tgt.valueString = v;", "source-type", 3, "where"),
        (
            "src.v as v then { src.w as w where (v = 'a') -> tgt.valueString = w; };",
            "name-ambiguous",
            39,
            "`%v`",
        ),
    ] {
        let errors = load(&observation(rules)).unwrap_err();
        let error = errors.iter().find(|error| error.code == code);
        let error = error.unwrap_or_else(|| panic!("{rules}: {errors:#?}"));
        assert_eq!((error.file.as_str(), error.line), ("map.fml", 6), "{rules}");
        assert_eq!(error.column, column, "{error}");
        assert!(error.help.contains(help), "{error}");
    }
}

#[test]
fn functions_of_the_subset() {
    let document =
        r#"{"t":"Longfunctie","n":"07","list":[{"k":"a","v":1},{"k":"b","v":2}],"yes":true,"d":1.10}"#;
    for (expression, expected) in [
        ("%src.list.where(k = 'b').v", "2"),
        ("%src.list[1].k", "b"),
        ("%src.list.first().k & %src.list.last().k", "ab"),
        ("%src.list.count()", "2"),
        ("%src.list.k.join('/')", "a/b"),
        ("%src.list.select(k & v).join(' ')", "a1 b2"),
        ("%src.list.exists(v > 1)", "true"),
        ("%src.list.all(v > 1)", "false"),
        ("%src.nothing.exists()", "false"),
        ("%src.nothing.empty()", "true"),
        ("%src.yes.not()", "false"),
        ("'a' in %src.list.k", "true"),
        ("%src.list.k contains 'c'", "false"),
        ("%src.t.substring(4, 7)", "functie"),
        ("%src.t.indexOf('f')", "4"),
        ("%src.t.replace('Long', 'Hart')", "Hartfunctie"),
        ("%src.t.startsWith('Long') and %src.t.endsWith('tie')", "true"),
        ("%src.t.contains('func') xor true", "false"),
        ("%src.t.upper() & %src.t.lower()", "LONGFUNCTIElongfunctie"),
        ("%src.t.length()", "11"),
        ("' x '.trim()", "x"),
        ("%src.n.toInteger()", "7"),
        ("%src.n.toDecimal() = 7.0", "true"),
        ("%src.d = 1.1", "true"),
        ("%src.d", "1.10"),
        ("%src.nothing.exists() implies false", "true"),
        ("iif(%src.n > 6, 'more', 'less')", "more"),
        ("('a' | 'b' | 'a').count()", "2"),
        ("%src.d is decimal", "true"),
        ("%src.list.k.ofType(string).first()", "a"),
        ("'a,b'.split(',').last()", "b"),
        ("%src.list.skip(1).k", "b"),
        ("%src.list.take(1).k", "a"),
        ("%src.list.tail().k.single()", "b"),
        ("stable('x', 'y') = stable('x', 'y')", "true"),
        ("stable('x', 'y') = stable('xy', '')", "false"),
        ("lookup('FVC', 't', 'display')", "Forced vital capacity"),
    ] {
        let output = run(&format!("src -> tgt.valueString = ({expression});"), document);
        let json: serde_json::Value =
            serde_json::from_str(output.units[0].resource.as_deref().unwrap()).unwrap();
        assert_eq!(json["valueString"].as_str(), Some(expected), "{expression}: {:?}", codes(&output));
    }
}

proptest! {
    /// Whatever a map says, loading answers; what loads runs.
    #[test]
    fn no_map_text_panics(text in "[a-z(){}\\[\\]'\";:.,%$\\-> =&|\n]{0,200}") {
        let map = observation(&text);
        if let Ok(plan) = load(&map) {
            let tree = json::parse(br#"{"v":["a",1,null,{"k":true}]}"#, source::Limits::default()).tree;
            plan.run(&tree, &tables(), Limits::default());
        }
        let _refused = load(&text);
    }
}

#[test]
fn what_r4_forbids_quarantines_at_the_rule_that_wrote_it() {
    let map = observation("src.v as v -> tgt.issued = v;").replace("'final'", "'finished'");
    let output = run_with(&map, r#"{"v":"2026-13-01"}"#, Limits::default());
    assert_eq!(output.units[0].state, UnitState::Quarantined);
    let found: Vec<(&str, &str)> = output.units[0]
        .findings
        .iter()
        .map(|finding| (finding.path.as_str(), finding.rule.as_deref().unwrap_or("")))
        .collect();
    assert_eq!(found, [("", "map.fml:5:10"), ("v", "map.fml:6:17")], "{:#?}", output.units[0].findings);
    assert!(codes(&output).iter().all(|code| *code == "resource-invalid"));
}
