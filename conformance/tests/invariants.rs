//! The invariants of R4: how many are judged, and that each kind of rule refuses what breaks it.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use sluis_conformance::definitions::r4;
use sluis_conformance::fhirpath::{Compiled, Context, FhirPathError, Item, Value};
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate::{Severity, judged, validate};

fn doc(text: &str) -> Doc {
    Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
}

#[test]
fn every_invariant_is_judged_but_the_named() {
    let all = judged(r4());
    eprintln!(
        "invariants of R4: {} by their expression, {} by code, {} not judged: {:?}",
        all.evaluated.len(),
        all.coded.len(),
        all.left_out.len(),
        all.left_out
    );
    assert_eq!(all.evaluated.len() + all.coded.len() + all.left_out.len(), r4().invariants().len());
    let left_out: Vec<_> = all.left_out.iter().map(|(_, key, _)| *key).collect();
    assert_eq!(left_out, ["dom-6"]);
}

/// Keys of the invariants a resource breaks.
fn broken(text: &str) -> Vec<String> {
    let doc = doc(text);
    let issues = validate(r4(), doc.root()).into_iter().filter(|issue| issue.code == "invariant");
    issues
        .map(|issue| format!("{} {}", issue.expression, issue.text.split(':').next().unwrap_or_default()))
        .collect()
}

#[test]
fn what_breaks_a_rule_is_named_and_what_keeps_it_is_not() {
    let none: [&str; 0] = [];
    for (text, keys) in [
        (
            r#"{"resourceType":"Appointment","status":"proposed","start":"2020-01-01T00:00:00Z","participant":[{"status":"accepted"}]}"#,
            &["Appointment.participant[0] app-1", "Appointment app-2"][..],
        ),
        (
            r#"{"resourceType":"Appointment","status":"booked","participant":[{"type":[{"text":"x"}],"status":"accepted"}]}"#,
            &["Appointment app-3"],
        ),
        (
            r#"{"resourceType":"Appointment","status":"proposed","participant":[{"type":[{"text":"x"}],"status":"accepted"}]}"#,
            &none,
        ),
        (
            r#"{"resourceType":"Organization","name":"x","telecom":[{"system":"phone","value":"1","use":"home"}]}"#,
            &["Organization.telecom[0] org-3"],
        ),
        (
            r#"{"resourceType":"Questionnaire","status":"draft","item":[{"linkId":"a","type":"group"},{"linkId":"a","type":"display","text":"x"}]}"#,
            &["Questionnaire.item[0] que-1", "Questionnaire que-2"],
        ),
        (
            r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"a"}]},"valueInteger":1,
            "component":[{"code":{"coding":[{"code":"a"}]}}]}"#,
            &["Observation obs-7"],
        ),
        (
            r#"{"resourceType":"MedicationDispense","status":"completed","medicationReference":{"display":"x"},
            "whenPrepared":"2020-02-01","whenHandedOver":"2020-01-01"}"#,
            &["MedicationDispense mdd-1"],
        ),
        // January may lie after the first of January: nothing is refused.
        (
            r#"{"resourceType":"MedicationDispense","status":"completed","medicationReference":{"display":"x"},
            "whenPrepared":"2020-01-01","whenHandedOver":"2020-01"}"#,
            &none,
        ),
        (r#"{"resourceType":"Bundle","type":"collection","total":1}"#, &["Bundle bdl-1"]),
        (
            r#"{"resourceType":"Bundle","type":"document","identifier":{"system":"urn:x","value":"1"},"timestamp":"2020-01-01T00:00:00Z",
            "entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient"}}]}"#,
            &["Bundle bdl-11"],
        ),
        (
            r#"{"resourceType":"RiskAssessment","status":"final","subject":{"display":"x"},"prediction":[{"probabilityDecimal":101}]}"#,
            &["RiskAssessment.prediction[0] ras-2"],
        ),
        (
            r#"{"resourceType":"Task","status":"draft","intent":"order","authoredOn":"2020-02-01","lastModified":"2020-01-01"}"#,
            &["Task inv-1"],
        ),
        (r#"{"resourceType":"Parameters","parameter":[{"name":"a"}]}"#, &["Parameters.parameter[0] inv-1"]),
        (
            r#"{"resourceType":"Consent","status":"active","scope":{"text":"x"},"category":[{"text":"x"}]}"#,
            &["Consent ppc-1"],
        ),
    ] {
        let mut found = broken(text);
        found.retain(|key| !key.ends_with("dom-6"));
        found.sort();
        let mut due: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        due.sort();
        assert_eq!(found, due, "{text}");
    }
}

#[test]
fn a_warning_of_the_table_stays_a_warning() {
    let doc = doc(r#"{"resourceType":"ValueSet","name":"no name","status":"draft"}"#);
    let issues = validate(r4(), doc.root());
    assert!(
        issues.iter().any(|issue| issue.text.starts_with("vsd-0") && issue.severity == Severity::Warning),
        "{issues:?}"
    );
    assert!(issues.iter().all(|issue| !issue.is_error()));
}

const PATIENT: &str = r#"{"resourceType":"Patient","active":true,"name":[{"use":"official","family":"Vries","given":["Anna","B"]},
    {"use":"nickname","given":["An"]}],"birthDate":"1970-05","_gender":{"extension":[{"url":"urn:x","valueCode":"y"}]},"multipleBirthInteger":2}"#;

fn shown(expression: &str) -> Result<String, FhirPathError> {
    let doc = doc(PATIENT);
    let item = Item::resource(r4(), doc.root()).unwrap();
    let context = Context { definitions: r4(), resource: item, root: item };
    let values = Compiled::new(expression)?.evaluate(&context, item)?;
    let show = |value: &Value<'_>| match value {
        Value::Element(item) => item.node().map_or("-".to_owned(), |node| node.raw().to_owned()),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Decimal(value) => value.to_string(),
        Value::Text(text) => text.to_string(),
    };
    Ok(values.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn operators_and_functions_are_those_of_the_specification() {
    for (expression, value) in [
        ("Patient.name.given", r#""Anna" "B" "An""#),
        ("name.where(use = 'official').given[1]", r#""B""#),
        ("name.given.count() + 2 * 3", "9"),
        ("(1 | 2 | 1).count() = 2 and true", "true"),
        ("true or {}", "true"),
        ("({} and true).empty()", "true"),
        ("false implies {}", "true"),
        ("{} = 1", ""),
        ("multipleBirth + 1", "3"),
        ("multipleBirth is integer", "true"),
        ("gender.exists() and gender.hasValue().not()", "true"),
        ("gender.extension('urn:x').value", r#""y""#),
        ("gender.extension.value = 'y'", "true"),
        ("'abc'.substring(1, 1) & {} & 'x'", "bx"),
        ("'a.b'.replaceMatches('\\\\..*', '')", "a"),
        ("'abc'.matches('^[a-c]+$')", "true"),
        ("'official' in name.use", "true"),
        ("name.use contains 'x'", "false"),
        ("name.select(given.first() & use).isDistinct()", "true"),
        ("name.exists(use = 'nickname')", "true"),
        ("iif(active, 'yes', 'no')", "yes"),
        ("7 div 2 /* whole */ = 3 // and no more", "true"),
        ("-7 mod 4", "-3"),
        ("name.first().children().count()", "4"),
        ("descendants().where($this = 'B').count()", "1"),
        ("%resource.name.all(given.exists())", "true"),
        ("name.given.tail().first()", r#""B""#),
        ("`active`", "true"),
    ] {
        assert_eq!(shown(expression).as_deref(), Ok(value), "{expression}");
    }
    for expression in
        ["", "2 + 2 /", "name.", "(", "name.nothing()", "%what", "'open", "name.where()", "1 /* open"]
    {
        assert!(Compiled::new(expression).is_err(), "{expression}");
    }
    assert_eq!(Compiled::new(&"(".repeat(100_000)).err(), Some(FhirPathError::TooDeep));
    assert_eq!(shown("name.given & 'x'"), Err(FhirPathError::Operand));
    assert_eq!(shown("'a'.matches('(')"), Err(FhirPathError::Regex));
}
