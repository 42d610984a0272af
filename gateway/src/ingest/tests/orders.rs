//! Orders and what ends them, in whatever order and by whichever number.

use super::scene::{Scene, UMC};

/// An ORM^O01 about a patient, sent `minute` minutes after nine: its ORC-1 to 3, with or without the OBR.
fn orm(minute: u32, bsn: &str, orc: &str, detail: bool) -> Vec<u8> {
    let mut lines = vec![
        format!(
            "MSH|^~\\&|ZIS|UMC|SLUIS|REGIO|202607010{}00||ORM^O01|O-{minute}|P|2.5|||||NLD|8859/1",
            900 + minute
        ),
        format!("PID|1||{bsn}^^^NLMINBIZA^NNNLD"),
        format!("ORC|{orc}"),
    ];
    if detail {
        let numbers: Vec<&str> = orc.split('|').skip(1).collect();
        lines.push(format!("OBR|1|{}|SPIRO^Spirometrie^99UMC||20260710090000", numbers.join("|")));
    }
    (lines.join("\r") + "\r").into_bytes()
}

const ANNA: &str = "999911120";

/// The orders kept: their text without what a moment or an id makes of it.
fn orders(scene: &Scene, messages: &[&Vec<u8>]) -> Vec<String> {
    let mut ids = Vec::new();
    for message in messages {
        let answer = scene.ingest(UMC, "application/hl7-v2", message);
        ids.extend(
            answer.facts.resources.iter().filter_map(|r| Some(r.strip_prefix("ServiceRequest/")?.to_owned())),
        );
    }
    let mut ids: Vec<String> = ids.iter().map(|id| id.split('/').next().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    let anna = scene.patient(UMC, ANNA).map(|id| id.to_string()).unwrap_or_default();
    ids.iter()
        .map(|id| {
            let stored = scene.current(UMC, "ServiceRequest", id).unwrap();
            let text = String::from_utf8(stored.body.to_vec()).unwrap();
            let text = text.split("\"identifier\"").nth(1).unwrap();
            format!("{id} {} {}", stored.version, text.replace(&anna, "anna"))
        })
        .collect()
}

#[test]
fn what_ends_an_order_finds_it_by_either_number_and_in_any_order() {
    let order = orm(1, ANNA, "NW|P1^HIX|F1^LAB", true);
    for ending in [
        orm(2, ANNA, "OC||F1^LAB", true),
        orm(2, ANNA, "OC||F1^LAB", false),
        orm(2, ANNA, "CA|P1^HIX", false),
        orm(2, ANNA, "DC|P1^HIX|F1^LAB", false),
    ] {
        let [first, second] = [Scene::new(), Scene::new()];
        let kept = orders(&first, &[&order, &ending]);
        assert_eq!(kept.len(), 1, "{kept:?}");
        for part in [r#""status":"revoked""#, "SPIRO", r#""value":"P1""#, r#""value":"F1""#] {
            assert!(kept[0].contains(part), "{part}: {kept:?}");
        }
        let early = second.ingest(UMC, "application/hl7-v2", &ending);
        assert!(early.body.contains("correction-without-original"), "{}", early.body);
        assert_eq!(second.patient(UMC, ANNA), None, "what ends nothing makes nobody known");
        assert_eq!(orders(&second, &[&order, &ending]), kept);
        assert!(second.kept(UMC).is_empty());
        // Sent again, all of it, it is the same.
        assert_eq!(orders(&second, &[&ending, &order]), Vec::<String>::new());
    }
}

#[test]
fn an_order_is_not_ended_by_the_number_of_another_patient() {
    let scene = Scene::new();
    let kept = orders(&scene, &[&orm(1, ANNA, "NW|P1^HIX|F1^LAB", true)]);
    let answer = scene.ingest(UMC, "application/hl7-v2", &orm(2, "999911132", "OC||F1^LAB", false));
    assert!(answer.body.contains("order-of-another"), "{}", answer.body);
    assert!(kept[0].contains(r#""status":"active""#), "{kept:?}");
    // A number two orders bear ends neither.
    orders(&scene, &[&orm(3, ANNA, "NW|P2^HIX|F1^LAB", true)]);
    let answer = scene.ingest(UMC, "application/hl7-v2", &orm(4, ANNA, "OC||F1^LAB", false));
    assert!(answer.body.contains("order-ambiguous"), "{}", answer.body);
}
