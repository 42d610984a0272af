//! Where a stored value comes from.

use super::scene::{GESP, GP, Scene, UMC, oru};
use crate::ids::ResourceId;

fn observation(answer: &crate::ingest::Ingested) -> ResourceId {
    let reference = answer.facts.resources.iter().find(|r| r.starts_with("Observation/")).unwrap();
    ResourceId::parse(reference.split('/').nth(1).unwrap()).unwrap()
}

/// The parts of the element of this path, `name=value`.
fn element(body: &str, path: &str) -> Vec<String> {
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    let parts = |element: &serde_json::Value| -> Vec<String> {
        let parts = element["part"].as_array().unwrap().iter();
        parts
            .map(|part| {
                let value =
                    part.as_object().unwrap().iter().find(|(name, _)| name.starts_with("value")).unwrap().1;
                format!(
                    "{}={}",
                    part["name"].as_str().unwrap(),
                    value.as_str().map_or(value.to_string(), str::to_owned)
                )
            })
            .collect()
    };
    let elements = value["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "element");
    elements.map(parts).find(|parts| parts.contains(&format!("path={path}"))).unwrap_or_default()
}

#[test]
fn each_value_leads_to_its_rule_and_its_bytes() {
    let scene = Scene::new();
    let bytes = oru(
        1001,
        &[
            "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500",
            "OBX|2|NM|FVC^FVC^99ALS||2.10|L|||||F|||20260310094500",
        ],
    );
    let answer = scene.ingest(UMC, "application/hl7-v2", &bytes);
    let snip = observation(&answer);
    let body = scene.trace(UMC, "Observation", &snip).unwrap();
    let value = element(&body, "Observation.valueQuantity.value");
    // The rule stands on the segment; the value is in one field of it.
    assert!(value.contains(&"source=OBX[1].OBX_5".to_owned()), "{value:?} {body}");
    assert!(value.contains(&"text=45".to_owned()), "{value:?}");
    assert!(value.iter().any(|part| part.starts_with("rule=lib/v2/result.fml:")), "{value:?}");
    let start: usize = value.iter().find_map(|part| part.strip_prefix("start=")).unwrap().parse().unwrap();
    assert_eq!(&bytes[start..start + 3], b"45|");
    assert!(body.contains("umc-lab|") && body.contains(&answer.facts.sha256));
    // The code came through a table, of the test's own field.
    assert!(
        element(&body, "Observation.code.coding[1].code").contains(&"source=OBX[1].OBX_3".to_owned()),
        "{body}"
    );
}

#[test]
fn a_later_mapping_does_not_change_what_is_told_of_an_earlier_version() {
    let scene = Scene::new();
    let bytes = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
    let snip = observation(&scene.ingest(UMC, "application/hl7-v2", &bytes));
    let before = scene.trace(UMC, "Observation", &snip).unwrap();
    scene.mend("umc-lab", "map.fml", |text| {
        format!("// One line more.\n{text}").replace("'survey', 'Survey'", "'exam', 'Exam'")
    });
    assert_eq!(scene.trace(UMC, "Observation", &snip).unwrap(), before);
    // The next version is told with the new one.
    scene.ingest(
        UMC,
        "application/hl7-v2",
        &oru(1002, &["OBX|1|NM|SNIP^SNIP^99ALS||46|cmH2O|||||C|||20260310094500"]),
    );
    let after = scene.trace(UMC, "Observation", &snip).unwrap();
    assert!(
        after.contains(r#"{"name":"version","valueString":"2"}"#) && after.contains(r#""valueString":"46""#)
    );
    assert_ne!(after, before);
}

#[test]
fn only_the_sender_is_told_and_others_cannot_tell_it_from_nothing() {
    let scene = Scene::new();
    let bytes = oru(1001, &["OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500"]);
    let snip = observation(&scene.ingest(UMC, "application/hl7-v2", &bytes));
    let nothing = scene.trace(GP, "Observation", &ResourceId::parse("nothing").unwrap()).unwrap_err();
    assert_eq!(scene.trace(GP, "Observation", &snip).unwrap_err(), nothing);
    assert_eq!(scene.trace(GESP, "Observation", &snip).unwrap_err(), nothing);
}

#[test]
fn fhir_is_told_to_be_as_sent() {
    let scene = Scene::new();
    let weight = r#"{"resourceType":"Observation","identifier":[{"system":"urn:x","value":"w1"}],"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"29463-7"}]},"subject":{"identifier":{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"999911120"}},"valueQuantity":{"value":70.0,"unit":"kg","system":"http://unitsofmeasure.org","code":"kg"}}"#;
    let id = observation(&scene.ingest(GP, "application/fhir+json", weight.as_bytes()));
    let body = scene.trace(GP, "Observation", &id).unwrap();
    assert!(body.contains("taken as sent") && !body.contains("\"element\""), "{body}");
}
