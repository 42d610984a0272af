//! Resources that R4 forbids, one fault each: refused, at the place of the fault, with a remedy.
#![allow(clippy::unwrap_used, reason = "tests")]

use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonErrorKind, JsonLimits};
use sluis_conformance::validate::{ISSUES_MAX, Issue, Severity, validate};

fn issues(text: &str) -> Vec<Issue> {
    let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap();
    validate(r4(), doc.root())
}

/// The errors as `expression [code]`.
fn errors(text: &str) -> Vec<String> {
    let errors = issues(text).into_iter().filter(Issue::is_error);
    errors
        .inspect(|issue| assert!(!issue.text.is_empty() && !issue.remedy.is_empty(), "{issue:?}"))
        .map(|issue| format!("{} [{}]", issue.expression, issue.code))
        .collect()
}

/// A patient with more properties.
fn patient(properties: &str) -> Vec<String> {
    errors(&format!("{{\"resourceType\":\"Patient\",{properties}}}"))
}

fn observation(properties: &str) -> Vec<String> {
    errors(&format!(
        "{{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{{\"text\":\"x\"}},{properties}}}"
    ))
}

const NONE: [&str; 0] = [];

#[test]
fn duplicate_properties_are_refused_while_reading() {
    for text in [
        r#"{"resourceType":"Patient","resourceType":"Patient"}"#,
        r#"{"resourceType":"Patient","birthDate":"1980-01-01","birthDate":"1981-01-01"}"#,
    ] {
        let error = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap_err();
        assert!(matches!(error.kind, JsonErrorKind::DuplicateKey(_)), "{error}");
    }
}

#[test]
fn a_sound_resource_has_no_issue() {
    let text = r##"{"resourceType":"Patient","id":"p-1","text":{"status":"generated",
        "div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},
        "contained":[{"resourceType":"Organization","id":"o","name":"x"}],"managingOrganization":{"reference":"#o"},
        "extension":[{"url":"http://example.org/a","valueBoolean":true}],"birthDate":"1970","_birthDate":{"id":"b"},
        "name":[{"given":["A",null,"C"],"_given":[null,{"extension":[{"url":"http://example.org/b","valueCode":"x"}]},null]}],
        "gender":"female","multipleBirthInteger":2,"generalPractitioner":[{"reference":"Practitioner/1"}],
        "link":[{"other":{"reference":"Patient/2"},"type":"seealso"}]}"##;
    assert_eq!(issues(text), []);
}

#[test]
fn the_type_must_be_there_and_known() {
    assert_eq!(errors("null"), ["Resource [structure]"]);
    assert_eq!(errors("[]"), ["Resource [structure]"]);
    assert_eq!(errors(r#"{"birthDate":"1980"}"#), ["Resource [structure]"]);
    let unknown = issues(r#"{"resourceType":"Patiënt"}"#);
    assert_eq!(unknown[0].remedy, "did you mean 'Patient'?");
    assert_eq!(errors(r#"{"resourceType":"DomainResource"}"#), ["Resource [structure]"]);
    assert_eq!(errors(r#"{"resourceType":7}"#), ["Resource [structure]"]);
}

#[test]
fn unknown_elements_are_refused_with_the_nearest_name() {
    assert_eq!(patient(r#""foo":1"#), ["Patient.foo [structure]"]);
    let issue = &issues("{\"resourceType\":\"Patient\",\n  \"birthdate\":\"1980\"}")[0];
    assert_eq!((issue.remedy.as_str(), issue.line, issue.column), ("did you mean 'birthDate'?", 2, 15));
    assert_eq!(patient(r#""name":[{"surname":"x"}]"#), ["Patient.name[0].surname [structure]"]);
    assert_eq!(patient(r#""_name":[{"id":"x"}]"#), ["Patient._name [structure]"]);
    // A name that does not look like one is not repeated: it may be about a person.
    assert_eq!(patient(r#""de Vries, Anna":1"#), ["Patient.? [structure]"]);
}

#[test]
fn shapes_are_those_of_json_html() {
    assert_eq!(patient(r#""birthDate":"""#), ["Patient.birthDate [value]"]);
    assert_eq!(patient(r#""birthDate":null"#), ["Patient.birthDate [structure]"]);
    assert_eq!(patient(r#""active":"true""#), ["Patient.active [structure]"]);
    assert_eq!(patient(r#""multipleBirthInteger":"2""#), ["Patient.multipleBirthInteger [structure]"]);
    assert_eq!(patient(r#""name":{"family":"x"}"#), ["Patient.name [structure]"]);
    assert_eq!(patient(r#""gender":["male"]"#), ["Patient.gender [structure]"]);
    assert_eq!(patient(r#""name":[]"#), ["Patient.name [structure]"]);
    assert_eq!(patient(r#""name":[{}]"#), ["Patient.name[0] [structure]"]);
    assert_eq!(patient(r#""name":[null]"#), ["Patient.name[0] [structure]"]);
    assert_eq!(patient(r#""name":["x"]"#), ["Patient.name[0] [structure]"]);
    assert_eq!(patient(r#""maritalStatus":"x""#), ["Patient.maritalStatus [structure]"]);
    assert_eq!(patient(r#""name":[{"given":["A",null]}]"#), ["Patient.name[0].given[1] [structure]"]);
    assert_eq!(
        patient(r#""name":[{"given":["A","B"],"_given":[{"id":"x"}]}]"#),
        ["Patient.name[0].given [structure]"]
    );
    assert_eq!(patient(r#""_birthDate":{}"#), ["Patient.birthDate [structure]"]);
    assert_eq!(patient(r#""_birthDate":{"value":"x"}"#), ["Patient.birthDate.value [structure]"]);
}

#[test]
fn codes_dates_and_other_primitives_have_their_form() {
    assert_eq!(patient(r#""gender":"F""#), ["Patient.gender [code-invalid]"]);
    assert_eq!(patient(r#""birthDate":"2021-13-01""#), ["Patient.birthDate [value]"]);
    assert_eq!(patient(r#""birthDate":"1980-02-30""#), ["Patient.birthDate [value]"]);
    assert_eq!(
        patient(r#""meta":{"lastUpdated":"2020-01-01T10:00:00"}"#),
        ["Patient.meta.lastUpdated [value]"]
    );
    assert_eq!(patient(r#""id":"a b""#), ["Patient.id [value]"]);
    assert_eq!(patient(r#""implicitRules":"http://a b""#), ["Patient.implicitRules [value]"]);
    assert_eq!(
        observation(r#""effectiveDateTime":"2020-01-01T10:00:00""#),
        ["Observation.effectiveDateTime [value]"]
    );
    assert_eq!(
        observation(r#""valueQuantity":{"value":"7.1"}"#),
        ["Observation.valueQuantity.value [structure]"]
    );
    assert_eq!(
        observation(r#""valueQuantity":{"value":7.10,"comparator":"~"}"#),
        ["Observation.valueQuantity.comparator [code-invalid]"]
    );
    assert_eq!(observation(r#""valueInteger":1.0"#), ["Observation.valueInteger [value]"]);
    let condition = r#"{"resourceType":"Condition","subject":{"reference":"Patient/1"},
        "clinicalStatus":{"coding":[{"system":"http://example.org","code":"active"}]}}"#;
    assert_eq!(errors(condition), ["Condition.clinicalStatus [code-invalid]"]);
}

#[test]
fn a_choice_has_one_allowed_type() {
    assert_eq!(
        patient(r#""deceasedBoolean":true,"deceasedDateTime":"2020""#),
        ["Patient.deceasedDateTime [structure]"]
    );
    assert_eq!(patient(r#""deceasedString":"x""#), ["Patient.deceasedString [structure]"]);
    assert_eq!(patient(r#""deceased":true"#), ["Patient.deceased [structure]"]);
    assert_eq!(
        observation(r#""_valueString":{"extension":[{"url":"http://x","valueCode":"x"}]},"valueInteger":1"#),
        ["Observation.valueInteger [structure]"]
    );
}

#[test]
fn required_elements_are_asked_for() {
    assert_eq!(
        patient(r#""link":[{"other":{"reference":"Patient/2"}}]"#),
        ["Patient.link[0].type [required]"]
    );
    assert_eq!(
        errors(r#"{"resourceType":"Observation","id":"x"}"#),
        ["Observation.status [required]", "Observation.code [required]"]
    );
    // An id alone is nothing (ele-1).
    assert_eq!(patient(r#""name":[{"id":"x"}]"#), ["Patient.name[0] [invariant]"]);
    assert_eq!(patient(r#""_birthDate":{"id":"x"}"#), ["Patient.birthDate [invariant]"]);
    // A primitive that is there as an extension only is there.
    let absent = r#"{"resourceType":"Observation","_status":{"extension":[{"url":"http://x","valueCode":"unknown"}]},
        "code":{"text":"x"}}"#;
    assert_eq!(errors(absent), NONE);
}

#[test]
fn invariants_hold() {
    assert_eq!(patient(r#""contact":[{"gender":"male"}]"#), ["Patient.contact[0] [invariant]"]);
    assert_eq!(
        patient(
            r#""text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\" onclick=\"x()\">x</div>"}"#
        ),
        ["Patient.text.div [invariant]"]
    );
    assert_eq!(patient(r#""extension":[{"url":"http://x"}]"#), ["Patient.extension[0] [invariant]"]);
    assert_eq!(
        observation(r#""valueQuantity":{"value":1,"code":"L"}"#),
        ["Observation.valueQuantity [invariant]"]
    );
    assert_eq!(
        observation(r#""effectivePeriod":{"start":"2021","end":"2020"}"#),
        ["Observation.effectivePeriod [invariant]"]
    );
    assert_eq!(observation(r#""effectivePeriod":{"start":"2020-05","end":"2020"}"#), NONE);
    let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[{"resource":{"resourceType":"Patient","gender":"F"}}]}"#;
    assert_eq!(errors(bundle), ["Bundle.entry[0].resource.gender [code-invalid]", "Bundle [invariant]"]);
}

#[test]
fn contained_resources_and_references_to_them_agree() {
    assert_eq!(
        patient(r##""managingOrganization":{"reference":"#o"}"##),
        ["Patient.managingOrganization.reference [invariant]"]
    );
    let organization = r#"{"resourceType":"Organization","id":"o","name":"x"}"#;
    assert_eq!(patient(&format!(r#""contained":[{organization}]"#)), ["Patient.contained[0] [invariant]"]);
    // It may refer to its container instead.
    let part = r##"{"resourceType":"Observation","id":"v","status":"final","code":{"text":"x"},"subject":{"reference":"#"}}"##;
    assert_eq!(patient(&format!(r#""contained":[{part}]"#)), NONE);
    let nested = format!(
        r##""contained":[{{"resourceType":"Organization","id":"o","name":"x","meta":{{"versionId":"1"}},"contained":[{organization}]}}],
        "managingOrganization":{{"reference":"#o"}}"##
    );
    assert_eq!(
        patient(&nested),
        ["Patient.contained[0].contained [invariant]", "Patient.contained[0].meta [invariant]"]
    );
    // Each entry of a Bundle is a container of its own.
    let bundle = format!(
        r##"{{"resourceType":"Bundle","type":"collection","entry":[
        {{"resource":{{"resourceType":"Patient","contained":[{organization}],"managingOrganization":{{"reference":"#o"}}}}}},
        {{"resource":{{"resourceType":"Patient","managingOrganization":{{"reference":"#o"}}}}}}]}}"##
    );
    assert_eq!(errors(&bundle), ["Bundle.entry[1].resource.managingOrganization.reference [invariant]"]);
}

#[test]
fn references_are_to_the_types_of_the_element() {
    assert_eq!(
        observation(r#""subject":{"reference":"Practitioner/1"}"#),
        ["Observation.subject.reference [value]"]
    );
    assert_eq!(
        observation(r#""subject":{"reference":"urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}"#),
        NONE
    );
    assert_eq!(observation(r#""focus":[{"reference":"Practitioner/1"}]"#), NONE);
    let issues = issues(r#"{"resourceType":"Patient","managingOrganization":{"reference":"Foo/1"}}"#);
    assert_eq!(issues.iter().map(|issue| issue.severity).collect::<Vec<_>>(), [Severity::Warning]);
}

#[test]
fn a_flood_of_faults_ends_at_the_limit() {
    let names: Vec<String> = (0..5_000).map(|n| format!("\"x{n}\":1")).collect();
    let issues = issues(&format!("{{\"resourceType\":\"Patient\",{}}}", names.join(",")));
    assert_eq!(issues.len(), ISSUES_MAX + 1);
    assert_eq!(issues.last().unwrap().code, "incomplete");
}

#[test]
fn depth_beyond_the_readers_limit_is_an_issue_and_no_crash() {
    let deep = 20_000;
    let text = format!(
        "{{\"resourceType\":\"Patient\",{}\"url\":\"x\"{}}}",
        "\"extension\":[{".repeat(deep),
        "}]".repeat(deep)
    );
    let limits = JsonLimits { depth_max: u32::MAX, nodes_max: u32::MAX };
    let doc = Doc::parse(text.into_bytes(), limits).unwrap();
    assert!(validate(r4(), doc.root()).iter().any(|issue| issue.code == "too-long"));
}

#[test]
fn many_contained_resources_are_judged_in_time() {
    let one = r##"{"resourceType":"Basic","id":"ID","code":{"text":"x"},"subject":{"reference":"#"}}"##;
    let all: Vec<String> = (0..20_000).map(|n| one.replace("ID", &format!("b{n}"))).collect();
    assert_eq!(patient(&format!("\"contained\":[{}]", all.join(","))), NONE);
}
