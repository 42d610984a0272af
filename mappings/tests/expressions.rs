//! FHIRPath in maps: what each operator and function gives, what the model says of what is left out, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use serde_json::{Value, json};
use sluis_mappings::codes::CodeTables;
use sluis_mappings::fml::{MapError, Profile};
use sluis_mappings::model::Models;
use sluis_mappings::output::Output;
use sluis_mappings::plan::{Limits, Options, Plan};
use sluis_mappings::source::{self, json};

/// `Left` says what it means by leaving `done` or `kind` out; `Right` must have a `kind`.
const MODELS: [&str; 2] = [
    r##"{"resourceType":"StructureDefinition","url":"http://x/Left","kind":"logical","type":"Left","differential":{"element":[
      {"path":"Left"},{"path":"Left.name","max":"1","type":[{"code":"string"}]},{"path":"Left.n","max":"*","type":[{"code":"decimal"}]},
      {"path":"Left.done","max":"1","type":[{"code":"boolean"}],"defaultValueBoolean":false},
      {"path":"Left.kind","max":"1","type":[{"code":"code"}],"defaultValueCode":"usual"},
      {"path":"Left.part","max":"*","type":[{"code":"BackboneElement"}]},{"path":"Left.part.code","max":"1","type":[{"code":"code"}]},
      {"path":"Left.part.part","max":"*","contentReference":"#Left.part"}]}}"##,
    r#"{"resourceType":"StructureDefinition","url":"http://x/Right","kind":"logical","type":"Right","differential":{"element":[
      {"path":"Right"},{"path":"Right.title","max":"1","type":[{"code":"string"}]},{"path":"Right.tags","max":"*","type":[{"code":"string"}]},
      {"path":"Right.kind","min":1,"max":"1","type":[{"code":"code"}]},{"path":"Right.maybe","max":"1","type":[{"code":"code"}]}]}}"#,
];

const HEAD: &str = "map \"http://x/m\" = \"m\"
uses \"http://x/Left\" alias Left as source
uses \"http://x/Right\" alias Right as target
";

fn load(groups: &str) -> Result<Plan, Vec<MapError>> {
    let files: Vec<(&str, &[u8])> = MODELS.iter().map(|text| ("model.json", text.as_bytes())).collect();
    let options =
        Options { models: Models::read(&files).unwrap(), profile: Profile::Open, ..Options::default() };
    Plan::load("map.fml", &format!("{HEAD}{groups}"), &[], &options)
}

fn run(groups: &str, document: &str) -> Output {
    let plan = load(groups).unwrap_or_else(|errors| panic!("{groups}: {errors:#?}"));
    let tree = json::parse(document.as_bytes(), source::Limits::default()).tree;
    plan.run(&tree, &CodeTables::new(), Limits::default())
}

fn main(rules: &str) -> String {
    format!("group Main(source src : Left, target tgt : Right) {{ {rules} }}")
}

/// What the rules make, whether or not it is all that `Right` asks for.
fn made(rules: &str, document: &str) -> Value {
    let output = run(&main(rules), document);
    serde_json::from_str(output.units[0].resource.as_deref().unwrap()).unwrap()
}

const DOCUMENT: &str = r#"{"name":" De Wit ","n":[7,2.50,-1],"part":[{"code":"a","part":[{"code":"b","part":[{"code":"a"}]}]},{"code":"c"}]}"#;

/// What an expression gives, as texts.
fn given(expression: &str) -> Vec<String> {
    let made = made(&format!("src -> tgt.tags = ({expression});"), DOCUMENT);
    let texts = made["tags"].as_array().into_iter().flatten();
    texts.map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn numbers_divide_and_round() {
    for (expression, expected) in [
        ("7 / 2", "3.5"),
        ("1 / 3", "0.3333333333333333333333333333"),
        ("7 div 2", "3"),
        ("-7 div 2", "-3"),
        ("7 mod 2", "1"),
        ("5.5 mod 0.7", "0.6"),
        ("1 + 6 / 4", "2.5"),
        ("src.n.first() / src.n.skip(1).first()", "2.8"),
        ("(2.5).round()", "3"),
        ("(3.14159).round(3)", "3.142"),
        ("(-1.9).truncate()", "-1"),
        ("(-1.1).floor()", "-2"),
        ("(1.01).ceiling()", "2"),
        ("(-1.5).abs()", "1.5"),
        ("(1.1).power(2)", "1.21"),
        ("-(src.n.first())", "-7"),
    ] {
        assert_eq!(given(expression), [expected], "{expression}");
    }
    for nothing in ["1 / 0", "1 div 0", "1.0 mod 0", "src.nothing / 2", "1 / {}"] {
        let document = "{}";
        let found = made(&format!("src -> tgt.tags = ({});", nothing.replace("nothing", "name")), document);
        assert_eq!(found.get("tags"), None, "{nothing}");
    }
    let output = run(&main("src -> tgt.tags = (src.name / 2);"), DOCUMENT);
    assert_eq!(output.units[0].findings[0].code, "number-invalid");
}

#[test]
fn texts_are_converted_and_encoded() {
    for (expression, expected) in [
        ("'2024-02-29T10:11:12+01:00'.toDate()", "2024-02-29"),
        ("'2024-02'.toDateTime()", "2024-02"),
        ("'10:30'.toTime()", "10:30"),
        ("'2024-13-01'.convertsToDate()", "false"),
        ("'2024-02-30'.convertsToDateTime()", "false"),
        ("'25:00'.convertsToTime()", "false"),
        ("'7:00'.convertsToTime()", "false"),
        ("'1.10'.convertsToInteger()", "false"),
        ("'1.10'.convertsToDecimal()", "true"),
        ("'yes'.convertsToBoolean()", "true"),
        ("'a<b'.escape('html')", "a&lt;b"),
        ("'a&lt;b'.unescape('html')", "a<b"),
        ("'test'.encode('base64')", "dGVzdA=="),
        ("'74657374'.decode('hex')", "test"),
        ("'abcabc'.lastIndexOf('b')", "4"),
        ("'abc'.matchesFull('a.')", "false"),
        ("'abc'.matchesFull('a..|x')", "true"),
        ("src.name.trim().upper()", "DE WIT"),
    ] {
        assert_eq!(given(expression), [expected], "{expression}");
    }
    assert_eq!(given("'abc'.toChars()"), ["a", "b", "c"]);
    assert_eq!(given("'x'.toDate()"), [""; 0]);
    let output = run(&main("src.name as n -> tgt.tags = (n.encode('rot13'));"), DOCUMENT);
    assert_eq!(output.units[0].findings[0].code, "value-invalid");
}

#[test]
fn collections_are_gone_through_and_compared() {
    for (expression, expected) in [
        ("src.n.aggregate($total + $this, 0)", vec!["8.50"]),
        ("src.n.aggregate(iif($total.empty() or $this > $total, $this, $total))", vec!["7"]),
        ("src.n.where($index = 1)", vec!["2.50"]),
        ("src.n.select($index)", vec!["0", "1", "2"]),
        ("src.part.select(part.code | ($index + 10))", vec!["b", "10", "11"]),
        ("src.n.exists($index = 2 and $this < 0)", vec!["true"]),
        ("src.repeat(part).code", vec!["a", "c", "b", "a"]),
        ("src.n.isDistinct()", vec!["true"]),
        ("('a' | 'b').union('b' | 'c')", vec!["a", "b", "c"]),
        ("('a' | 'b').intersect('b' | 'c')", vec!["b"]),
        ("('a' | 'b').exclude('b')", vec!["a"]),
        ("('a').subsetOf('a' | 'b')", vec!["true"]),
        ("('a').supersetOf('a' | 'b')", vec!["false"]),
        ("(true | false).allTrue()", vec!["false"]),
        ("(true | false).anyFalse()", vec!["true"]),
        ("src.name ~ 'de  wit'", vec!["true"]),
        ("src.name = 'de wit'", vec!["false"]),
        ("('a' | 'b') ~ ('b' | 'a')", vec!["true"]),
        ("1.23 ~ 1.2", vec!["true"]),
        ("1.29 !~ 1.2", vec!["true"]),
        ("{} ~ {}", vec!["true"]),
    ] {
        let mut found = given(expression);
        let mut expected = expected;
        if expression.contains("repeat") {
            // Which comes first is not said.
            found.sort();
            expected.sort();
        }
        assert_eq!(found, expected, "{expression}");
    }
}

#[test]
fn what_lies_outside_is_refused_where_it_stands() {
    for (expression, code) in [
        ("$total", "focus-missing"),
        ("$index", "focus-missing"),
        ("src.n.select($total)", "focus-missing"),
        ("src.n.sqrt()", "function-unsupported"),
        ("src.name.replaceMatches('a', 'b')", "function-unsupported"),
        ("5 'mg'", "expression-unsupported"),
        ("src.n.aggregate()", "function-arguments"),
        ("now()", "function-impure"),
    ] {
        let errors = load(&main(&format!("src -> tgt.tags = ({expression});"))).unwrap_err();
        assert_eq!((errors[0].code, errors[0].line), (code, 4), "{expression}: {errors:?}");
    }
}

#[test]
fn a_run_that_goes_round_ends_at_its_limit() {
    let many: Vec<String> = (0..2_000).map(|n| format!(r#"{{"code":"c{n}"}}"#)).collect();
    let document = format!(r#"{{"part":[{}]}}"#, many.join(","));
    let plan = load(&main("src.part as p -> tgt.tags = (src.repeat(%src.part).count());")).unwrap();
    let tree = json::parse(document.as_bytes(), source::Limits::default()).tree;
    let output = plan.run(&tree, &CodeTables::new(), Limits { steps_max: 100_000, ..Limits::default() });
    assert_eq!(output.findings[0].code, "limit-steps");
}

#[test]
fn a_condition_reads_what_the_model_says_of_an_element_left_out() {
    let rule = "src.name as n where ((src.done = true).not()) -> tgt.title = n;";
    assert_eq!(made(rule, r#"{"name":"a"}"#)["title"], json!("a"));
    assert_eq!(made(rule, r#"{"name":"a","done":true}"#).get("title"), None);
    // Whether it is there is asked of the document.
    let asked = "src -> tgt.tags = (src.done.exists()), tgt.tags = (src.done.empty()), tgt.tags = (src.kind.count());";
    assert_eq!(made(asked, "{}")["tags"], json!(["false", "true", "0"]));
}

#[test]
fn only_a_required_element_gets_what_the_model_says_of_one_left_out() {
    let rules = "src.kind -> tgt.kind; src.kind -> tgt.maybe;";
    assert_eq!(made(rules, "{}"), json!({"resourceType":"Right","kind":"usual"}));
    assert_eq!(made(rules, r#"{"kind":"odd"}"#), json!({"resourceType":"Right","kind":"odd","maybe":"odd"}));
    let named = "src.kind as k -> tgt.kind = k, tgt.title = k;";
    assert_eq!(made(named, "{}").get("kind"), None, "half a rule is no statement of the model");
}

#[test]
fn an_extended_group_that_has_nowhere_to_write_is_told_when_it_would() {
    let groups = "group Main(source src : Left, target tgt : Right) { src -> tgt then Two(src, tgt, tgt); }
group Two(source src : Left, target left : Right, target right : Right) extends One { src.kind -> left.kind; }
group One(source src : Left, target tgt : Right) { src.name -> tgt.title; }
";
    let silent = run(groups, r#"{"kind":"k"}"#);
    assert!(silent.units[0].findings.is_empty(), "{silent:?}");
    let told = run(groups, r#"{"kind":"k","name":"n"}"#);
    assert_eq!(told.units[0].findings[0].code, "map-refused", "{told:?}");
    assert_eq!(told.units[0].findings[0].path, "name");
}

#[test]
fn a_condition_may_call_the_item_by_the_name_of_its_element() {
    let rule = "src.name as n where (name.length() <= 3) -> tgt.title = n;";
    assert_eq!(made(rule, r#"{"name":"abc"}"#)["title"], json!("abc"));
    assert_eq!(made(rule, r#"{"name":"abcd"}"#).get("title"), None);
    assert_eq!(
        load(&main("src.name as n where (kind.exists()) -> tgt.title = n;")).unwrap_err()[0].code,
        "element-unknown"
    );
}
