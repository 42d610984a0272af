//! ADT: what a field left out means, what `""` means, and two numbers that are one patient.

use super::scene::{GP, Scene, UMC, kind_of, oru};
use crate::ids::ResourceId;
use crate::ingest::Ingested;

/// An ADT message sent `minute` minutes after noon.
fn adt(event: &str, minute: u32, segments: &[&str]) -> Vec<u8> {
    let head = format!(
        "MSH|^~\\&|ZIS|UMC|SLUIS|REGIO|2026080112{minute:02}00||ADT^{event}|ADT-{event}-{minute}|P|2.5|||||NLD|8859/1"
    );
    let mut text =
        [head.as_str(), "EVN||202608011200"].iter().chain(segments).copied().collect::<Vec<_>>().join("\r");
    text.push('\r');
    text.into_bytes()
}

fn send(scene: &Scene, event: &str, minute: u32, segments: &[&str]) -> Ingested {
    scene.ingest(UMC, "application/hl7-v2", &adt(event, minute, segments))
}

const ANNA: &str = "999911120^^^NLMINBIZA^NNNLD~0612345^^^UMC&2.999.90000101.1&ISO^PI";
const VISIT: &str = "PV1|1|I|4N^12^2^UMC||||||||||||||||V1001";

fn patient(scene: &Scene, bsn: &str) -> String {
    let id = scene.patient(UMC, bsn).unwrap();
    text(scene, &id)
}

fn text(scene: &Scene, id: &ResourceId) -> String {
    let stored = scene.read(UMC, |reader| reader.current(kind_of("Patient"), id)).unwrap();
    String::from_utf8(stored.body.to_vec()).unwrap()
}

#[test]
fn a_field_left_out_changes_nothing_and_two_quotes_take_it_away() {
    let scene = Scene::new();
    let whole = format!(
        "PID|1||{ANNA}||Testpatient^Anna^^^^^L||19610418|F|||Dorpsweg 16^^Teststad||0201234567^PRN^PH"
    );
    let first = send(&scene, "A01", 1, &[&whole, VISIT, "PV2|||BEAD^Beademing^99UMC"]);
    assert_eq!(first.status.as_u16(), 200, "{}", first.body);

    let moved = format!("PID|1||{ANNA}||Testpatient^Anna^^^^^L||||||Nieuwe Kade 3^^Teststad");
    let second = send(&scene, "A08", 2, &[&moved, VISIT]);
    assert!(second.body.contains("2 updated") || second.body.contains("1 updated"), "{}", second.body);
    let now = patient(&scene, "999911120");
    for kept in ["0201234567", r#""gender":"female""#, r#""birthDate":"1961-04-18""#, "Nieuwe Kade 3"] {
        assert!(now.contains(kept), "{kept} in {now}");
    }
    assert!(!now.contains("Dorpsweg"), "{now}");

    // The reason of the visit (PV2-3) was not said again, and stays.
    let visit = first.facts.resources.iter().find(|r| r.starts_with("Encounter/")).unwrap();
    let visit = scene.current(UMC, "Encounter", visit.split('/').nth(1).unwrap()).unwrap();
    assert!(String::from_utf8_lossy(&visit.body).contains("Beademing"));

    let without = format!("PID|1||{ANNA}||Testpatient^Anna^^^^^L||||||||\"\"");
    send(&scene, "A08", 3, &[&without, VISIT]);
    let now = patient(&scene, "999911120");
    assert!(!now.contains("telecom") && now.contains("Nieuwe Kade 3"), "{now}");

    // Sent again it says nothing new, and an older message does not bring the number back.
    let again = send(&scene, "A08", 4, &[&without, VISIT]);
    assert!(again.body.contains("2 unchanged"), "{}", again.body);
    let old = send(&scene, "A04", 0, &[&whole, VISIT]);
    assert!(old.body.contains("stale"), "{}", old.body);
    assert!(!patient(&scene, "999911120").contains("0201234567"));
}

#[test]
fn two_numbers_that_are_one_patient_are_linked_and_later_documents_follow() {
    let scene = Scene::new();
    let old = "PID|1||0699999^^^UMC&2.999.90000101.1&ISO^PI||Onbekend^^^^^^L||19610418|F";
    let first = send(&scene, "A04", 1, &[old, VISIT]);
    let prior = first.facts.resources.iter().find(|r| r.starts_with("Patient/")).unwrap().clone();
    let prior = ResourceId::parse(prior.split('/').nth(1).unwrap()).unwrap();
    let result = "OBX|1|NM|SNIP^SNIP^99ALS||45|cmH2O|||||F|||20260310094500";
    let by_old_number = |number| {
        let text = String::from_utf8(oru(number, &[result])).unwrap();
        let text = text.replace("40112^^^UMCTEST&2.999.90000101.1", "0699999^^^UMC&2.999.90000101.1");
        text.replace("~999911120^^^NLMINBIZA^NNNLD", "").replace("F-2026", &format!("F{number}-2026"))
    };
    let before = scene.ingest(UMC, "application/hl7-v2", by_old_number(1001).as_bytes());
    assert!(scene.one(UMC, &before, "Observation/").contains(&format!("Patient/{prior}")));

    let stays = format!("PID|1||{ANNA}||Testpatient^Anna^^^^^L||19610418|F");
    let mrg = "MRG|0699999^^^UMC&2.999.90000101.1&ISO^PI";
    let merged = send(&scene, "A40", 2, &[&stays, mrg]);
    assert_eq!(merged.status.as_u16(), 200, "{}", merged.body);
    let anna = scene.patient(UMC, "999911120").unwrap();
    let linked = text(&scene, &prior);
    assert!(
        linked.contains(r#""active":false"#)
            && linked
                .contains(&format!(r#"{{"other":{{"reference":"Patient/{anna}"}},"type":"replaced-by"}}"#))
            && linked.contains("Onbekend"),
        "{linked}"
    );
    // What was said of the old number stays where it was; what is said of it from now on is hers.
    assert!(scene.one(UMC, &before, "Observation/").contains(&format!("Patient/{prior}")));
    let after = scene.ingest(UMC, "application/hl7-v2", by_old_number(1002).as_bytes());
    assert!(scene.one(UMC, &after, "Observation/").contains(&format!("Patient/{anna}")), "{}", after.body);

    // Again, and as A34: nothing more happens. A later A08 of the patient that stays keeps no link of its own.
    let again = send(&scene, "A34", 3, &[&stays, mrg]);
    assert!(again.body.contains("0 created, 0 updated, 2 unchanged"), "{}", again.body);
    assert_eq!(text(&scene, &prior), linked);
}

#[test]
fn a_patient_of_another_organisation_is_not_changed_by_a_merge() {
    let scene = Scene::new();
    let theirs = r#"{"resourceType":"Patient","identifier":[{"system":"http://fhir.nl/fhir/NamingSystem/bsn","value":"111222333"}],"name":[{"family":"Huisarts"}]}"#;
    scene.ingest(GP, "application/fhir+json", theirs.as_bytes());
    let old =
        "PID|1||111222333^^^NLMINBIZA^NNNLD~0677777^^^UMC&2.999.90000101.1&ISO^PI||X^^^^^^L||19610418|F";
    send(&scene, "A04", 1, &[old, VISIT]);
    let id = scene.patient(GP, "111222333").unwrap();
    let kept =
        || String::from_utf8(scene.current(GP, "Patient", id.as_str()).unwrap().body.to_vec()).unwrap();
    let before = kept();
    let stays = format!("PID|1||{ANNA}||Testpatient^Anna^^^^^L||19610418|F");
    let merged = send(&scene, "A40", 2, &[&stays, "MRG|0677777^^^UMC&2.999.90000101.1&ISO^PI"]);
    assert!(merged.body.contains("patient-of-another"), "{}", merged.body);
    assert_eq!(kept(), before);
}

#[test]
fn a_merge_into_nobody_waits() {
    let scene = Scene::new();
    let merged = send(&scene, "A40", 2, &["PID|1||||X", "MRG|0677777^^^UMC&2.999.90000101.1&ISO^PI"]);
    assert_eq!(merged.status.as_u16(), 422, "{}", merged.body);
}
