#![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use super::*;

fn ask(method: &str, path: &str) -> Result<(Kind, Captures), Refusal> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    find(&method, path).map(|(route, captures)| (route.kind, captures))
}

fn kind(method: &str, path: &str) -> Kind {
    ask(method, path).unwrap().0
}

fn refusal(method: &str, path: &str) -> Refusal {
    ask(method, path).unwrap_err()
}

fn allowed(method: &str, path: &str) -> String {
    let refusal = refusal(method, path);
    assert_eq!(refusal.reason, Reason::MethodNotAllowed, "{method} {path}");
    let (_, value) = refusal.headers.iter().find(|(name, _)| *name == header::ALLOW).unwrap();
    value.to_str().unwrap().to_owned()
}

#[test]
fn every_row_answers_its_own_shape() {
    for row in TABLE {
        let path: String = row
            .shape
            .iter()
            .map(|segment| match segment {
                Segment::Text(text) => format!("/{text}"),
                Segment::Type => "/Observation".to_owned(),
                Segment::Id => "/a-1".to_owned(),
                Segment::Version => "/3".to_owned(),
                Segment::File => "/Patient.1.ndjson".to_owned(),
            })
            .collect();
        let answer = find(&row.method, &path);
        match row.offer {
            Offer::Yes => assert_eq!(answer.unwrap().0.kind, row.kind, "{} {path}", row.method),
            Offer::Later => assert_eq!(answer.unwrap_err().reason, Reason::NotImplemented, "{path}"),
            Offer::Never(_) => assert_eq!(answer.unwrap_err().reason, Reason::MethodNotAllowed, "{path}"),
        }
    }
}

#[test]
fn paths_of_fhir_find_their_interaction() {
    let cases = [
        ("GET", "/fhir/Patient/p1", Kind::Read),
        ("HEAD", "/fhir/Patient/p1", Kind::Read),
        ("GET", "/fhir/Patient/p1/_history", Kind::History),
        ("GET", "/fhir/Patient/_history", Kind::HistoryType),
        ("GET", "/fhir/_history", Kind::HistorySystem),
        ("GET", "/fhir/Patient/p1/_history/2", Kind::Vread),
        ("PUT", "/fhir/Patient/p1", Kind::Update),
        ("DELETE", "/fhir/Patient/p1", Kind::Delete),
        ("GET", "/fhir/Patient", Kind::Search),
        ("GET", "/fhir", Kind::SearchSystem),
        ("POST", "/fhir/_search", Kind::SearchSystemByForm),
        ("GET", "/fhir/Patient/p1/Observation", Kind::SearchCompartment),
        ("GET", "/fhir/Patient/p1/*", Kind::SearchCompartment),
        ("GET", "/fhir/Patient/p1/$everything", Kind::Everything),
        ("POST", "/fhir/Patient/$everything", Kind::EverythingByBody),
        ("GET", "/fhir/$meta", Kind::MetaOf),
        ("GET", "/fhir/Patient/$meta", Kind::MetaOf),
        ("POST", "/fhir/Observation/$lastn", Kind::LastNByBody),
        ("POST", "/fhir/Patient/$match", Kind::Match),
        ("POST", "/fhir/StructureMap/$transform", Kind::Transform),
        ("GET", "/fhir/$versions", Kind::Versions),
        ("POST", "/fhir/Patient", Kind::Create),
        ("POST", "/fhir/Patient/_search", Kind::SearchByForm),
        ("POST", "/fhir", Kind::Bundle),
        ("POST", "/fhir/", Kind::Bundle),
        ("GET", "/fhir/metadata", Kind::Capabilities),
        ("GET", "/fhir/.well-known/smart-configuration", Kind::SmartConfiguration),
        ("GET", "/fhir/Group/g1/$export", Kind::ExportStart),
        ("GET", "/fhir/export/j1/Patient.ndjson", Kind::ExportFile),
        ("GET", "/fhir/async/j1", Kind::AsyncStatus),
        ("DELETE", "/fhir/async/j1", Kind::AsyncCancel),
        ("GET", "/fhir/async/j1/page-1", Kind::AsyncFile),
        ("GET", "/health/ready", Kind::Ready),
        ("GET", "/fhir/Patient/%61", Kind::Read),
    ];
    for (method, path, expected) in cases {
        assert_eq!(kind(method, path), expected, "{method} {path}");
    }
}

#[test]
fn what_a_path_says_is_kept() {
    let (_, captures) = ask("GET", "/fhir/Patient/p%2D1/_history/2").unwrap();
    assert_eq!(captures.id().unwrap().as_str(), "p-1");
    assert_eq!(captures.version(), Some(2));
    for odd in ["abc", "+2", "02", "99999999999"] {
        assert_eq!(
            ask("GET", &format!("/fhir/Patient/p1/_history/{odd}")).unwrap().1.version(),
            None,
            "{odd}"
        );
    }
}

#[test]
fn method_not_offered_is_405_with_the_ones_that_are() {
    assert_eq!(allowed("POST", "/fhir/Patient/p1"), "GET, HEAD, PUT, PATCH, DELETE");
    assert_eq!(allowed("DELETE", "/fhir"), "POST, GET, HEAD");
    assert_eq!(allowed("TRACE", "/fhir/Patient"), "GET, HEAD, POST, PUT, PATCH, DELETE");
    assert_eq!(allowed("POST", "/fhir/metadata"), "GET, HEAD");
    assert_eq!(allowed("GET", "/fhir/oauth/token"), "POST");
    assert_eq!(allowed("TRACE", "/fhir/Patient/p1"), "GET, HEAD, PUT, PATCH, DELETE");
    assert_eq!(allowed("OPTIONS", "/fhir/Patient"), "GET, HEAD, POST, PUT, PATCH, DELETE");
}

#[test]
fn the_log_cannot_be_written_by_callers() {
    assert_eq!(allowed("POST", "/fhir/AuditEvent"), "GET, HEAD");
    assert_eq!(allowed("PUT", "/fhir/AuditEvent/a1"), "GET, HEAD");
    assert_eq!(allowed("DELETE", "/fhir/AuditEvent/a1"), "GET, HEAD");
    assert_eq!(allowed("GET", "/fhir/AuditEvent/a1/_history"), "");
    assert_eq!(kind("GET", "/fhir/AuditEvent"), Kind::Search);
    assert_eq!(allowed("GET", "/fhir/Parameters/p1"), "");
}

#[test]
fn place_of_fhir_that_is_not_built_says_so() {
    for (method, path) in [("GET", "/fhir/Patient/$export"), ("POST", "/fhir/$export")] {
        let refusal = refusal(method, path);
        assert_eq!(refusal.reason, Reason::NotImplemented, "{method} {path}");
        assert!(!refusal.details.is_empty());
    }
}

#[test]
fn nothing_and_no_type_are_told_apart() {
    for path in [
        "/",
        "/other",
        "/fhir/$frobnicate",
        "/fhir/Patient/p1/$x",
        "/fhir/Patient/p1/_other",
        "/fhir/Patient/",
    ] {
        assert_eq!(refusal("GET", path).reason, Reason::UnknownPath, "{path}");
    }
    for path in ["/fhir/Foo", "/fhir/Foo/1", "/fhir/patient/1", "/fhir/Resource/1", "/fhir/Subscriptiontopic"]
    {
        assert_eq!(refusal("GET", path).reason, Reason::UnknownType, "{path}");
    }
    assert_eq!(refusal("GET", "/fhir/patient/1").details, "The type is written Patient.");
}

#[test]
fn path_that_steps_outside_itself_is_refused() {
    for path in [
        "/fhir/Patient/..",
        "/fhir/Patient/../../etc/passwd",
        "/fhir/Patient/%2e%2e",
        "/fhir/Patient/..%2F..%2Fetc%2Fpasswd",
        "/fhir/Patient/a%5Cb",
        "/fhir/Patient/a%00",
        "/fhir/Patient/%",
        "/fhir/Patient/%ff",
        "fhir",
        "*",
    ] {
        assert_eq!(refusal("GET", path).reason, Reason::Malformed, "{path}");
    }
}

#[test]
fn id_no_resource_can_have_is_not_found_like_any_other() {
    let long = "a".repeat(65);
    for id in ["a_b", "a%20b", "...", &long] {
        let (route, captures) = find(&Method::GET, &format!("/fhir/Patient/{id}")).unwrap();
        let refusal = build(route.kind, captures, Parameters::default()).unwrap_err();
        assert_eq!(refusal, Refusal::not_found(), "{id}");
    }
}

#[test]
fn export_file_name_cannot_leave_its_folder() {
    for name in [".hidden", "a%20b", "a:b"] {
        let (route, captures) = find(&Method::GET, &format!("/fhir/export/j1/{name}")).unwrap();
        assert!(build(route.kind, captures, Parameters::default()).is_err(), "{name}");
    }
}

fn doc(text: &str) -> Option<Doc> {
    Some(Doc::parse(text.as_bytes().to_vec(), Default::default()).unwrap())
}

#[test]
fn entry_of_a_bundle_reads_like_a_request() {
    let asked = |method, url, body| entry(method, url, body).unwrap();
    assert_eq!(asked("GET", "Patient/p1", None).name(), "read");
    assert_eq!(asked("POST", "Patient", doc(r#"{"resourceType":"Patient"}"#)).name(), "create");
    assert_eq!(asked("PUT", "Patient/p1", doc(r#"{"resourceType":"Patient","id":"p1"}"#)).name(), "update");
    assert_eq!(asked("DELETE", "Patient?identifier=x", None).name(), "delete");
    let binary = r#"{"resourceType":"Binary","contentType":"application/json-patch+json","data":"W10="}"#;
    assert_eq!(asked("PATCH", "Patient/p1", doc(binary)).name(), "patch");
    assert_eq!(asked("PATCH", "Patient?identifier=x", doc(binary)).name(), "patch");
    let Interaction::Search(_, parameters) = asked("GET", "Observation?code=a%7Cb&_format=json", None) else {
        unreachable!("a search was asked")
    };
    assert_eq!(*parameters.pairs, [("code".to_owned(), "a|b".to_owned())]);
}

#[test]
fn entry_that_is_no_interaction_with_a_resource_is_refused() {
    let bundle = || doc(r#"{"resourceType":"Bundle","type":"batch"}"#);
    let cases = [
        ("POST", "", bundle(), Reason::BusinessRule),
        ("GET", "metadata", None, Reason::BusinessRule),
        ("POST", "oauth/token", None, Reason::BusinessRule),
        ("GET", "Group/g/$export", None, Reason::BusinessRule),
        ("GET", "../health/live", None, Reason::Malformed),
        ("GET", "https://elsewhere.example/Patient/1", None, Reason::Malformed),
        ("GET", "/Patient/1", None, Reason::Malformed),
        ("G T", "Patient/1", None, Reason::Malformed),
        ("POST", "Patient", None, Reason::Malformed),
        ("GET", "Patient/1?_summary=count", None, Reason::ParameterInvalid),
        ("GET", "Patient/1?_summary=true&_elements=id", None, Reason::ParameterInvalid),
        ("GET", "Patient/1?_count=1", None, Reason::ParameterUnknown),
        ("GET", "Patient/1", doc("{}"), Reason::Malformed),
        ("PATCH", "Patient/1", None, Reason::Malformed),
        (
            "PATCH",
            "Patient/1",
            doc(r#"{"resourceType":"Binary","contentType":"text/csv","data":"W10="}"#),
            Reason::Malformed,
        ),
        ("DELETE", "Patient?name=x", doc("{}"), Reason::Malformed),
        ("GET", "Foo/1", None, Reason::UnknownType),
    ];
    for (method, url, body, reason) in cases {
        assert_eq!(entry(method, url, body).unwrap_err().reason, reason, "{method} {url}");
    }
}
