#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set up fails")]

use super::*;
use crate::clock::Fixed;
use crate::connection::request::Syntax;
use http::StatusCode;

struct Ask {
    request: http::request::Builder,
    body: Vec<u8>,
    address: &'static str,
}

fn ask(method: &str, uri: &str) -> Ask {
    Ask {
        request: http::Request::builder().method(method).uri(uri),
        body: Vec::new(),
        address: "192.0.2.1:4711",
    }
}

fn json(method: &str, uri: &str, body: &str) -> Ask {
    ask(method, uri).header("content-type", "application/fhir+json").body(body)
}

fn form(uri: &str, body: &str) -> Ask {
    ask("POST", uri).header("content-type", "application/x-www-form-urlencoded").body(body)
}

impl Ask {
    fn header(mut self, name: &str, value: &str) -> Ask {
        self.request = self.request.header(name, value);
        self
    }

    fn body(mut self, body: &str) -> Ask {
        self.body = body.as_bytes().to_vec();
        self
    }

    fn parse_within(self, limits: &Limits) -> Result<Request, Refusal> {
        let (parts, ()) = self.request.body(()).unwrap().into_parts();
        let peer = Peer { address: self.address.parse().unwrap(), certificate: None };
        let clock = Fixed::at(Timestamp(1_795_470_300_000_000));
        parse(parts, self.body, &peer, limits, &clock)
    }

    fn parse(self) -> Result<Request, Refusal> {
        self.parse_within(&Limits::default())
    }

    fn reason(self) -> Reason {
        self.parse().unwrap_err().reason
    }

    fn status(self) -> StatusCode {
        self.reason().row().status
    }
}

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1"}"#;

#[test]
fn bad_input_of_the_rest_group_gets_an_allowed_status() {
    // Numbers are rows of the shared table of bad input.
    let long = format!("/fhir/Patient?name={}", "a".repeat(60_000));
    let many = format!("/fhir/Patient?{}", "a=b&".repeat(8_000));
    let cases = [
        (28, ask("GET", "/fhir/Frobnicate/1"), 404),
        (29, ask("GET", "/fhir/Patient/..%2F..%2Fetc"), 400),
        (30, ask("DELETE", "/fhir"), 405),
        (31, ask("DELETE", "/fhir/Patient"), 400),
        (32, ask("GET", "/fhir/Patient/p1").header("accept", "image/png"), 406),
        (33, ask("GET", "/fhir/Patient/p1?_format=banana"), 406),
        (34, json("PUT", "/fhir/Patient/p1", PATIENT).header("if-match", "banana"), 400),
        (36, ask("GET", &long), 414),
        (37, ask("GET", &many), 414),
        (54, ask("GET", "/fhir/Patient?name=%zz"), 400),
        (55, ask("GET", "/fhir/Patient?name=a%00b"), 400),
        (
            60,
            ask("POST", "/fhir/Patient").header("content-type", "application/fhir+xml").body("<Patient/>"),
            422,
        ),
    ];
    let table = shared_table();
    for (row, ask, status) in cases {
        assert_eq!(ask.status().as_u16(), status, "row {row}");
        if let Some(table) = &table {
            let line = table.lines().find(|line| line.starts_with(&format!("| {row} |"))).unwrap();
            assert!(line.contains(&status.to_string()), "{status} is not allowed: {line}");
        }
    }
}

/// The shared table of bad input, when this machine has it.
#[expect(clippy::print_stderr, reason = "what was not compared is said aloud")]
fn shared_table() -> Option<String> {
    let folder = std::env::var("SLUIS_SHARED")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
    let table = std::fs::read_to_string(format!("{folder}/bad-input/table.md")).ok();
    if table.is_none() {
        eprintln!(
            "SKIPPED: no shared data (set SLUIS_SHARED), statuses are not compared with the table of bad input"
        );
    }
    table
}

proptest::proptest! {
    #[test]
    fn any_request_is_parsed_or_refused(
        method in "[A-Z]{1,7}|GET|POST|PUT",
        path in "(/fhir)?(/(Patient|Group|export|[$_]?[a-z]{1,8}|%[0-9a-f]{2}|[.]{1,3}|[A-Za-z0-9%$_./-]{0,12})){0,5}",
        query in "[a-z_=&%+0-9A-F:|.]{0,40}",
        name in "accept|if-match|if-none-match|if-modified-since|prefer|content-type|authorization|x-request-id",
        value in "[ -~]{0,40}",
        body in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..64),
    ) {
        let uri = format!("{path}?{query}");
        if let Ok(request) = http::Request::builder().method(&*method).uri(uri).header(&*name, value).body(()) {
            let (parts, ()) = request.into_parts();
            let peer = Peer { address: "192.0.2.1:1".parse().unwrap(), certificate: None };
            // That it answers at all, and an error is a row of the table with its text.
            if let Err(refusal) = parse(parts, body, &peer, &Limits::default(), &Fixed::at(Timestamp(0))) {
                proptest::prop_assert!(refusal.reason != Reason::Internal);
                proptest::prop_assert!(refusal.to_outcome().contains("OperationOutcome"));
            }
        }
    }

    #[test]
    fn any_text_is_redacted_without_losing_the_rest(text in "[a-z 0-9é.:/-]{0,60}") {
        let clean = crate::telemetry::redact(&text);
        proptest::prop_assert_eq!(crate::telemetry::redact(&clean), clean.clone());
        let kept: String = clean.replace("[number removed]", "");
        proptest::prop_assert!(kept.len() <= text.len());
    }
}

#[test]
fn bad_input_of_the_json_and_resource_group_is_malformed_with_its_place() {
    let deep_arrays = "[".repeat(100_000);
    let deep_objects = "{\"a\":".repeat(20_000);
    let cases = [
        (1, "{resourceType:\"Patient\"}", Reason::Malformed),
        (2, "{\"resourceType\":\"Patient\"/* x */}", Reason::Malformed),
        (3, "{\"resourceType\":\"Patient\",\"a\":NaN}", Reason::Malformed),
        (4, "{\"resourceType\":\"Patient\",\"a\":0x1}", Reason::Malformed),
        (6, "null", Reason::Malformed),
        (7, "{\"resourceType\":\"Patient\",\"resourceType\":\"Patient\"}", Reason::Malformed),
        (8, "{\"resourceType\":\"Patient\",\"birthDate\":\"1\",\"birthDate\":\"2\"}", Reason::Malformed),
        (9, &deep_arrays, Reason::TooCostly),
        (10, &deep_objects, Reason::TooCostly),
        (11, "{\"id\":\"p1\"}", Reason::Malformed),
        (12, "{\"resourceType\":\"Observation\"}", Reason::Malformed),
    ];
    for (row, body, reason) in cases {
        let refusal = json("POST", "/fhir/Patient", body).parse().unwrap_err();
        assert_eq!(refusal.reason, reason, "row {row}");
        assert!(!refusal.details.is_empty(), "row {row}");
    }
    let mut overlong = json("POST", "/fhir/Patient", "");
    overlong.body = b"{\"resourceType\":\"Patient\",\"a\":\"\xC0\xAF\"}".to_vec();
    assert_eq!(overlong.reason(), Reason::Malformed);
}

#[test]
fn bad_credentials_are_kept_apart_from_none() {
    let credentials = |value: &str| {
        ask("GET", "/fhir/Patient/p1").header("authorization", value).parse().unwrap().credentials
    };
    assert_eq!(credentials("Bearer garbage").bearer.as_deref(), Some("garbage"));
    let basic = credentials("Basic dTpw");
    assert!(basic.bearer.is_none() && basic.other_scheme);
    let none = ask("GET", "/fhir/Patient/p1").parse().unwrap().credentials;
    assert!(none.bearer.is_none() && !none.other_scheme);
    let long = format!("Bearer {}", "a".repeat(20_000));
    assert_eq!(
        ask("GET", "/fhir/Patient/p1").header("authorization", &long).reason(),
        Reason::HeadersTooLarge
    );
}

#[test]
fn token_prints_redacted() {
    let request =
        ask("GET", "/fhir/Patient/p1").header("authorization", "Bearer secret.token").parse().unwrap();
    assert!(!format!("{request:?}").contains("secret"));
}

#[test]
fn certificate_in_a_header_is_no_certificate() {
    let request = ask("GET", "/fhir/Patient/p1")
        .header("client-cert", ":MIIB:")
        .header("x-forwarded-client-cert", "Hash=abc")
        .parse()
        .unwrap();
    assert!(request.credentials.certificate.is_none());
}

#[test]
fn search_by_url_and_form_is_one_list() {
    let request =
        form("/fhir/Observation/_search?patient=p1&_format=json", "code=a%7Cb&_pretty=true&_count=5")
            .parse()
            .unwrap();
    let Interaction::Search(_, parameters) = &request.interaction else { panic!("a search was asked") };
    let pairs = [("patient", "p1"), ("code", "a|b"), ("_count", "5")];
    assert_eq!(*parameters.pairs, pairs.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(&*parameters.raw, "patient=p1&_format=json&code=a%7Cb&_pretty=true&_count=5");
    assert!(request.format.pretty);
    // The parameters may all stand in the URL, with no body and no type.
    assert!(ask("POST", "/fhir/Observation/_search?patient=p1").parse().is_ok());
    let xml = |ask: Ask| ask.parse().unwrap().format.syntax == Syntax::Xml;
    assert!(xml(form("/fhir/Observation/_search", "_format=xml").header("accept", "image/png")));
    assert!(xml(form("/fhir/Observation/_search?_format=xml", "").header("accept", "application/fhir+json")));
    assert!(!xml(form("/fhir/Observation/_search", "_format=json").header("accept", "application/fhir+xml")));
    let neither = form("/fhir/Observation/_search", "code=x").header("accept", "image/png");
    assert_eq!(neither.reason(), Reason::NotAcceptable);
    assert_eq!(form("/fhir/Observation/_search", "_format=ttl").reason(), Reason::NotAcceptable);
}

#[test]
fn number_of_parameters_is_limited_over_url_and_form() {
    let limits = Limits { search_parameters_max: 3, ..Limits::default() };
    let refused = |ask: Ask| ask.parse_within(&limits).unwrap_err().reason;
    assert!(form("/fhir/Patient/_search?a=1", "b=2&c=3").parse_within(&limits).is_ok());
    assert_eq!(refused(form("/fhir/Patient/_search?a=1", "b=2&c=3&d=4")), Reason::TooCostly);
    assert_eq!(refused(ask("GET", "/fhir/Patient?a=1&b=2&c=3&d=4")), Reason::TooCostly);
}

#[test]
fn parameter_without_a_meaning_is_refused() {
    assert_eq!(ask("GET", "/fhir/Patient/p1?foo=bar").reason(), Reason::ParameterUnknown);
    assert_eq!(ask("GET", "/fhir/metadata?mode=full").reason(), Reason::ParameterUnknown);
    assert_eq!(ask("GET", "/fhir/Patient/p1?_pretty=yes").reason(), Reason::ParameterInvalid);
    assert!(ask("GET", "/fhir/Patient/p1?_pretty=true&_format=json").parse().unwrap().format.pretty);
}

#[test]
fn content_type_decides_what_is_read() {
    let post = |value: &str| {
        ask("POST", "/fhir/Patient").header("content-type", value).body(PATIENT).parse().map(|_| ())
    };
    for good in [
        "application/fhir+json",
        "application/json; charset=UTF-8",
        "application/fhir+json; fhirVersion=4.0",
        "application/fhir+json; fhirVersion=4.3",
    ] {
        assert_eq!(post(good), Ok(()), "{good}");
    }
    for bad in [
        "text/plain",
        "application/fhir+turtle",
        "application/fhir+xml; charset=utf-16",
        "application/fhir+json; charset=iso-8859-1",
        "application/fhir+json; fhirVersion=3.0",
        "application/json-patch+json",
        "",
    ] {
        assert_eq!(post(bad).unwrap_err().reason, Reason::MediaType, "{bad}");
    }
    let in_xml = |body: &str| {
        ask("POST", "/fhir/Patient").header("content-type", "application/fhir+xml").body(body).parse()
    };
    let request =
        in_xml("<Patient xmlns=\"http://hl7.org/fhir\"><active value=\"true\"/></Patient>").unwrap();
    assert_eq!(request.format.syntax, Syntax::Xml);
    let document = ask("POST", "/fhir/$ingest").header("content-type", "application/xml").body("<x/>");
    assert_eq!(document.parse().unwrap().format.syntax, Syntax::Json);
    let Interaction::Create(_, doc) = &request.interaction else { panic!("a create was asked") };
    assert_eq!(doc.text(), r#"{"resourceType":"Patient","active":true}"#);
    let deep = "<extension url=\"x\">".repeat(100);
    for (body, reason, place) in [
        ("<Patient", Reason::Malformed, None),
        (PATIENT, Reason::Malformed, None),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><Patient/>", Reason::Malformed, None),
        (
            "<Patient xmlns=\"http://hl7.org/fhir\"><actve value=\"true\"/></Patient>",
            Reason::Invalid,
            Some("Patient"),
        ),
        (&format!("<Patient xmlns=\"http://hl7.org/fhir\">{deep}"), Reason::TooCostly, None),
    ] {
        let refusal = in_xml(body).unwrap_err();
        assert_eq!(refusal.reason, reason, "{body}");
        assert!(place.is_none() || refusal.expression.first().map(String::as_str) == place, "{refusal:?}");
    }
    assert_eq!(ask("POST", "/fhir/Patient").body(PATIENT).reason(), Reason::MediaType);
    for coding in ["gzip", "br", "deflate", "identity, gzip"] {
        let packed = json("POST", "/fhir/Patient", PATIENT).header("content-encoding", coding);
        assert_eq!(packed.reason(), Reason::MediaType, "{coding}");
    }
    assert!(json("POST", "/fhir/Patient", PATIENT).header("content-encoding", "identity").parse().is_ok());
    let twice = json("POST", "/fhir/Patient", PATIENT).header("content-type", "text/plain");
    assert_eq!(twice.reason(), Reason::Malformed);
}

#[test]
fn id_of_body_and_address_agree() {
    assert!(json("PUT", "/fhir/Patient/p1", PATIENT).parse().is_ok());
    for (uri, body) in [
        ("/fhir/Patient/p2", PATIENT),
        ("/fhir/Patient/p1", r#"{"resourceType":"Patient"}"#),
        ("/fhir/Patient/a_b", r#"{"resourceType":"Patient","id":"a_b"}"#),
    ] {
        let refusal = json("PUT", uri, body).parse().unwrap_err();
        assert_eq!((refusal.reason, refusal.expression), (Reason::Malformed, vec!["id".to_owned()]), "{uri}");
    }
}

#[test]
fn base_takes_a_batch_or_transaction_within_its_limit() {
    let bundle = |kind: &str, entries: usize| {
        let entries = vec!["{}"; entries].join(",");
        json("POST", "/fhir", &format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{entries}]}}"#))
    };
    let limits = Limits { bundle_entries_max: 3, ..Limits::default() };
    assert!(bundle("batch", 3).parse_within(&limits).is_ok());
    assert_eq!(bundle("transaction", 4).parse_within(&limits).unwrap_err().reason, Reason::TooCostly);
    assert_eq!(bundle("collection", 1).reason(), Reason::Invalid);
    assert_eq!(json("POST", "/fhir", PATIENT).reason(), Reason::Malformed);
    assert_eq!(bundle("batch", 20_000).reason(), Reason::TooCostly);
}

#[test]
fn body_where_none_belongs_is_refused() {
    assert_eq!(ask("GET", "/fhir/Patient/p1").header("content-length", "5").reason(), Reason::Malformed);
    assert_eq!(
        ask("DELETE", "/fhir/Patient/p1").header("transfer-encoding", "chunked").reason(),
        Reason::Malformed
    );
    assert!(ask("DELETE", "/fhir/Patient/p1").header("content-length", "0").parse().is_ok());
}

#[test]
fn announced_length_over_the_limit_is_refused_before_reading() {
    let post = json("POST", "/fhir/Patient", "").header("content-length", "67108865");
    assert_eq!(post.reason(), Reason::TooLarge);
    let token = form("/fhir/oauth/token", "").header("content-length", "300000");
    assert_eq!(token.reason(), Reason::TooLarge);
}

#[test]
fn headers_over_the_limits_are_refused() {
    let mut many = ask("GET", "/fhir/Patient/p1");
    for at in 0..101 {
        many = many.header(&format!("x-{at}"), "y");
    }
    assert_eq!(many.reason(), Reason::HeadersTooLarge);
    let large = ask("GET", "/fhir/Patient/p1").header("x", &"y".repeat(70_000));
    assert_eq!(large.reason(), Reason::HeadersTooLarge);
}

#[test]
fn metrics_are_for_the_machine_itself() {
    for (address, open) in [
        ("127.0.0.1:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("192.0.2.1:1", false),
        ("[2001:db8::1]:1", false),
    ] {
        let result = Ask { address, ..ask("GET", "/metrics") }.parse();
        assert_eq!(result.is_ok(), open, "{address}");
    }
}

#[test]
fn smart_configuration_is_json_whatever_is_accepted() {
    assert!(
        ask("GET", "/fhir/.well-known/smart-configuration").header("accept", "image/png").parse().is_ok()
    );
}

#[test]
fn document_keeps_its_media_type_and_key() {
    let request = ask("POST", "/fhir/$ingest")
        .header("content-type", "X-Application/HL7-v2+er7; charset=\"windows-1252\"")
        .header("idempotency-key", "k-1")
        .body("MSH|^~\\&|")
        .parse()
        .unwrap();
    let Interaction::Ingest(document) = request.interaction else { panic!("an ingest was asked") };
    assert_eq!(&*document.media, "x-application/hl7-v2+er7");
    assert_eq!(document.media_parameters, [("charset".into(), "windows-1252".into())]);
    assert_eq!(document.idempotency_key.as_deref(), Some("k-1"));
    assert_eq!(&document.bytes[..], b"MSH|^~\\&|");
    assert_eq!(ask("POST", "/fhir/$ingest").header("content-type", "text/csv").reason(), Reason::Malformed);
}

#[test]
fn operation_takes_form_and_parameters_alike() {
    let names = |ask: Ask| match ask.parse().unwrap().interaction {
        Interaction::ExportStart(_, parameters) => parameters.pairs.to_vec(),
        other => panic!("{}", other.name()),
    };
    let body = r#"{"resourceType":"Parameters","parameter":[
        {"name":"_type","valueString":"Patient"},{"name":"_since","valueInstant":"2026-01-01T00:00:00Z"}]}"#;
    let by_body = names(json("POST", "/fhir/Group/g1/$export", body));
    let by_url = names(ask("GET", "/fhir/Group/g1/$export?_type=Patient&_since=2026-01-01T00:00:00Z"));
    assert_eq!(by_body, by_url);
    let nested = r#"{"resourceType":"Parameters","parameter":[{"name":"x","part":[]}]}"#;
    assert_eq!(json("POST", "/fhir/Group/g1/$export", nested).reason(), Reason::ParameterUnknown);
    assert_eq!(json("POST", "/fhir/Group/g1/$export", PATIENT).reason(), Reason::Malformed);
    assert!(ask("POST", "/fhir/$replay?cause=x").parse().is_ok());
}

#[test]
fn token_form_is_read_as_it_is() {
    let request =
        form("/fhir/oauth/token", "grant_type=client_credentials&scope=system%2F*.rs+a").parse().unwrap();
    let Interaction::Token(pairs) = request.interaction else { panic!("a token was asked") };
    assert_eq!(pairs[1], ("scope".to_owned(), "system/*.rs a".to_owned()));
    let many = "a=b&".repeat(33);
    assert_eq!(form("/fhir/oauth/token", &many).reason(), Reason::TooCostly);
    assert_eq!(json("POST", "/fhir/oauth/token", "{}").reason(), Reason::MediaType);
}

#[test]
fn request_id_is_taken_over_or_made() {
    let id = |value: &str| ask("GET", "/fhir/metadata").header("x-request-id", value).parse().unwrap().id;
    assert_eq!(&*id("abc-1"), "abc-1");
    assert_eq!(id("<script>").len(), 36);
}

/// A clock whose first identifier has nine digits in a row that pass the eleven test.
struct LikeABsn(std::sync::atomic::AtomicU32);

impl Clock for LikeABsn {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
    fn random(&self, bytes: &mut [u8]) {
        let drawn = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let tail: &[u8] = if drawn == 0 { &[0x99, 0x99, 0x11, 0x12, 0x0a, 0xbc] } else { &[0xab; 6] };
        bytes.fill(0);
        bytes.iter_mut().rev().zip(tail.iter().rev()).for_each(|(byte, given)| *byte = *given);
    }
}

#[test]
fn a_request_id_that_is_made_is_read_back_the_same() {
    let clock = LikeABsn(0.into());
    assert!(clock.uuid().to_string().ends_with("-999911120abc"), "the case itself");
    let clock = LikeABsn(0.into());
    let made = request_id(&http::HeaderMap::new(), &clock);
    let headers = http::HeaderMap::from_iter([(REQUEST_ID, http::HeaderValue::from_str(&made).unwrap())]);
    assert_eq!(request_id(&headers, &clock), made, "the answer and its record would bear different ids");
}

#[test]
fn preferences_are_kept() {
    let request = json("PUT", "/fhir/Patient/p1", PATIENT)
        .header("prefer", "return=minimal, respond-async")
        .header("if-match", "W/\"3\"")
        .header("if-none-exist", "identifier=x")
        .parse()
        .unwrap();
    assert_eq!(request.prefer_return, request::ReturnPreference::Minimal);
    assert!(request.respond_async && request.preconditions.if_none_exist.is_some());
    assert_eq!(request.preconditions.if_match, Some(3));
    for (prefer, lenient) in [
        ("handling=lenient", true),
        ("respond-async; handling = \"lenient\"", true),
        ("handling=strict, handling=lenient", false),
        ("handling=loose", false),
    ] {
        let request = json("POST", "/fhir/Patient", PATIENT).header("prefer", prefer).parse().unwrap();
        assert_eq!(request.lenient, lenient, "{prefer}");
    }
}

/// A body that comes in the frames given, and then never ends.
struct Stuck(std::collections::VecDeque<bytes::Bytes>, bool);

impl hyper::body::Body for Stuck {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        match self.0.pop_front() {
            Some(bytes) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(bytes)))),
            None if self.1 => std::task::Poll::Ready(None),
            None => std::task::Poll::Pending,
        }
    }
}

fn receive(body: Stuck, limits: &Limits) -> Result<Request, Refusal> {
    let request = http::Request::builder().method("POST").uri("/fhir/Patient");
    let (parts, ()) = request.header("content-type", "application/json").body(()).unwrap().into_parts();
    let peer = Peer { address: "192.0.2.1:1".parse().unwrap(), certificate: None };
    let head = Head::read(parts, "r1".into(), &peer, limits, &Fixed::at(Timestamp(0))).unwrap();
    assert!(head.needs_token());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(head.receive(body, limits))
}

#[test]
fn body_is_joined_of_its_frames() {
    let frames =
        ["{\"resource", "Type\":\"Pat", "ient\"}"].map(|t| bytes::Bytes::from_static(t.as_bytes())).into();
    let request = receive(Stuck(frames, true), &Limits::default()).unwrap();
    assert_eq!(request.interaction.name(), "create");
}

#[test]
fn body_over_the_limit_is_cut_off_though_no_length_was_announced() {
    let limits = Limits { body_bytes_max: 1024, ..Limits::default() };
    let frames = vec![bytes::Bytes::from(vec![b' '; 600]); 2].into();
    assert_eq!(receive(Stuck(frames, false), &limits).unwrap_err().reason, Reason::TooLarge);
}

#[test]
fn body_that_does_not_come_is_waited_for_no_longer_than_the_limit() {
    let limits = Limits { body_read_ms: 100, ..Limits::default() };
    let frames = vec![bytes::Bytes::from_static(b"{")].into();
    assert_eq!(receive(Stuck(frames, false), &limits).unwrap_err().reason, Reason::SlowBody);
}
