//! Documents through the whole stage, with the shipped mappings and the embedded store.

mod administration;
mod als;
mod batch;
mod bulk;
mod corrections;
mod crash;
mod linking;
mod measurement;
mod order;
mod orders;
mod quarantine;
mod resend;
mod scene;
mod shadow;
mod trace;
mod unmapped;

use scene::{GESP, Scene, UMC, oru};
use sluis_conformance::json::{Doc, JsonLimits};

#[test]
fn a_first_result_is_stored_with_unit_date_source_and_its_bytes() {
    let scene = Scene::new();
    let bytes = oru(1001, &["OBX|1|NM|FVC_ZIT^FVC zittend^99ALS||2.10|L|||||F|||20260310093000"]);
    let answer = scene.ingest(UMC, "x-application/hl7-v2+er7", &bytes);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert!(
        answer.body.contains("1 created, 0 updated, 0 unchanged, 0 stale, 0 quarantined"),
        "{}",
        answer.body
    );
    assert_eq!(answer.facts.patients.len(), 1);

    let observation = scene.one(UMC, &answer, "Observation/");
    assert!(
        observation.contains(r#""value":2.10"#) && observation.contains(r#""code":"L""#),
        "{observation}"
    );
    assert!(observation.contains("2026-03-10T09:30:00+01:00"));
    assert!(observation.contains(UMC), "the source is in meta: {observation}");
    assert!(!observation.contains("999911120"), "the number stays on the Patient: {observation}");

    let provenance = scene.one(UMC, &answer, "Provenance/");
    let doc = Doc::parse(provenance.clone().into_bytes(), JsonLimits::default()).unwrap();
    let target = doc.root().get("target").unwrap().items().next().unwrap();
    let reference = target.get("reference").unwrap().as_str().unwrap().into_owned();
    assert!(answer.facts.resources.contains(&reference), "{reference}");
    let span: Vec<_> =
        target.get("extension").unwrap().items().next().unwrap().get("extension").unwrap().items().collect();
    assert_eq!(span[0].get("valueString").unwrap().as_str().unwrap(), "OBX[1]");
    let at = |n: usize| span[n].get("valueUnsignedInt").unwrap().number().unwrap().parse::<usize>().unwrap();
    let original = scene.original(UMC, &answer.facts.sha256);
    assert_eq!(original, bytes, "the original is kept as received");
    let cut = &original[at(1)..at(2)];
    assert!(
        cut.starts_with(b"OBX|1|NM|FVC_ZIT") && !cut.contains(&b'\r'),
        "{}",
        String::from_utf8_lossy(cut)
    );
    assert!(provenance.contains(&format!("urn:sha256:{}", answer.facts.sha256)));
    assert!(provenance.contains("umc-lab|"));
}

#[test]
fn what_the_writer_would_not_take_leaves_nothing_behind() {
    let scene = Scene::new();
    // An EPD system records no privacy consents; its patient is named for the first time by this very document.
    let consent = r#"{"resourceType":"Consent","identifier":[{"system":"urn:x","value":"c1"}],"status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"identifier":{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"111222333"}},"policyRule":{"text":"x"}}"#;
    let weight = r#"{"resourceType":"Observation","identifier":[{"system":"urn:x","value":"w1"}],"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"identifier":{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911132"}},"valueQuantity":{"value":70,"system":"http://unitsofmeasure.org","code":"kg"}}"#;
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{consent}}},{{"resource":{weight}}}]}}"#
    );
    let answer = scene.ingest(GESP, "application/fhir+json", bundle.as_bytes());
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.body);
    assert!(
        answer.body.contains("1 created, 0 updated, 0 unchanged, 0 stale, 1 quarantined"),
        "{}",
        answer.body
    );
    assert_eq!(scene.patient(GESP, "111222333"), None, "no Patient is left of the refused unit");
    assert!(scene.patient(GESP, "999911132").is_some());
    assert_eq!(scene.audited(), 1);
}

#[test]
fn a_failure_before_the_commit_leaves_nothing_and_the_resend_is_a_first() {
    let scene = Scene::new();
    let bytes = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
    let before = scene.state();
    assert!(scene.ingest_and_pull_the_plug(UMC, "application/hl7-v2", &bytes).is_err());
    assert_eq!(scene.state(), before);
    let answer = scene.ingest(UMC, "application/hl7-v2", &bytes);
    assert!(answer.body.contains("1 created"), "{}", answer.body);
    assert_eq!(scene.audited(), 1);
}
