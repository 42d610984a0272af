//! A shadow runs beside the mapping in force, is compared, and makes nothing.

use serde_json::Value;

use super::scene::{GESP, Scene, UMC, oru};

const SNIP: &str = "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500";
const FVC: &str = "OBX|1|NM|FVC^FVC^99ALS||2.10|L|||||F|||20260310093000";

fn part(report: &str, name: &str) -> Option<Value> {
    let report: Value = serde_json::from_str(report).unwrap();
    let parts = report["parameter"][0]["part"].as_array().cloned().unwrap_or_default();
    parts.into_iter().find(|part| part["name"] == name)
}

#[test]
fn a_shadow_is_compared_on_each_document_and_stores_nothing() {
    let plain = Scene::new();
    let scene = Scene::new();
    scene.shadow_of("umc-lab", "codes/tests.csv", |table| {
        let kept: Vec<&str> = table.lines().filter(|line| !line.contains(",SNIP,")).collect();
        kept.join("\n") + "\n"
    });
    for (at, line) in (1001..).zip([SNIP, FVC]) {
        let [one, other] =
            [&plain, &scene].map(|scene| scene.ingest(UMC, "application/hl7-v2", &oru(at, &[line])));
        assert_eq!((one.status, one.facts.counts), (other.status, other.facts.counts));
    }
    // Everything kept is what it is without a shadow.
    assert_eq!((plain.state().len(), plain.audited()), (scene.state().len(), scene.audited()));
    let report = scene.shadow_report(UMC);
    assert_eq!(
        part(&report, "active").unwrap()["valueString"],
        part(&report, "shadow").unwrap()["valueString"]
    );
    for name in ["equal", "different"] {
        assert_eq!(part(&report, name).unwrap()["valueInteger"], 1, "{report}");
    }
    assert!(!scene.shadow_report(GESP).contains("umc-lab"), "each sender has its own");
}

#[test]
fn a_difference_is_told_by_element_with_the_last_document() {
    let scene = Scene::new();
    scene.shadow_of("umc-lab", "map.fml", |map| map.replace("'procedure', 'Procedure')", "'exam', 'Exam')"));
    let answer = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    assert!(
        scene.one(UMC, &answer, "Observation/").contains("procedure"),
        "the one in force makes what is stored"
    );
    let report = scene.shadow_report(UMC);
    assert_eq!(part(&report, "different").unwrap()["valueInteger"], 1, "{report}");
    assert!(report.contains("Observation.category.coding.code"), "{report}");
    assert!(report.contains(&format!("urn:sha256:{}", answer.facts.sha256)), "{report}");
    assert!(
        !report.contains("999911120") && !report.contains("\"exam\""),
        "no value of a document: {report}"
    );
    assert!(scene.intake.shadow_exposition().contains(r#"{mapping="umc-lab",result="different"} 1"#));
    // A resend is looked at again, and a replay of nothing is not.
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    assert_eq!(part(&scene.shadow_report(UMC), "different").unwrap()["valueInteger"], 2);
    // With another version its count begins anew; without a shadow there is none.
    scene.shadow_of("umc-lab", "map.fml", |map| {
        map.replace("'procedure', 'Procedure')", "'imaging', 'Imaging')")
    });
    scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[SNIP]));
    assert_eq!(part(&scene.shadow_report(UMC), "different").unwrap()["valueInteger"], 1);
    scene.mend("umc-lab", "mapping.toml", |text| text.replace("title = \"", "title = \"Nieuw "));
    assert!(!scene.shadow_report(UMC).contains("umc-lab"));
}

#[test]
fn what_does_not_fit_the_queue_is_counted_and_its_answer_is_the_same() {
    let scene = Scene::new();
    scene.shadow_of("umc-lab", "map.fml", |map| map.replace("'procedure', 'Procedure')", "'exam', 'Exam')"));
    scene.intake.shadows.fill();
    let answer = scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[SNIP]));
    assert!(answer.status.is_success() && answer.body.contains("1 created"), "{}", answer.body);
    assert!(scene.intake.shadow_exposition().contains(r#"result="skipped"} 1"#));
}
