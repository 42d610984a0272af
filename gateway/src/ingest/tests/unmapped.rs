//! Codes no table has a row for: counted, told, filled in, and gone from the report.

use serde_json::Value;
use sluis_mappings::codes::fill::fill;

use super::scene::{GESP, Scene, UMC, oru};
use crate::ingest::unmapped::CODES_MAX;
use crate::response::refusal::Reason;
use crate::store::Shelf;

fn codes(scene: &Scene, ura: &str) -> Vec<(String, i64)> {
    let told: Value = serde_json::from_str(&scene.unmapped(ura, &[]).unwrap()).unwrap();
    let codes = told["parameter"].as_array().into_iter().flatten().filter(|p| p["name"] == "code");
    let of = |code: &Value, name: &str| {
        code["part"].as_array().unwrap().iter().find(|part| part["name"] == name).cloned().unwrap_or_default()
    };
    codes
        .map(|code| {
            let [system, name] = ["system", "code"].map(|part| of(code, part)["valueString"].clone());
            let shown = format!("{}|{}", system.as_str().unwrap_or_default(), name.as_str().unwrap());
            (shown, of(code, "count")["valueInteger"].as_i64().unwrap())
        })
        .collect()
}

#[test]
fn what_no_table_has_is_counted_filled_in_and_reported_no_more() {
    let scene = Scene::new();
    let obx = |code: &str, unit: &str| {
        format!("OBX|1|NM|{code}^{code} test^99ALS||45|{unit}|||||F|||20260310094500")
    };
    for number in [1001, 1002] {
        scene.ingest(UMC, "application/hl7-v2", &oru(number, &[&obx("SNIF", "cmH2O")]));
    }
    scene.ingest(UMC, "application/hl7-v2", &oru(1003, &[&obx("MIP_X", "ellen")]));
    // The same message again says nothing new.
    scene.ingest(UMC, "application/hl7-v2", &oru(1003, &[&obx("MIP_X", "ellen")]));
    let system = "urn:oid:2.999.90000101.5";
    let mut told = codes(&scene, UMC);
    told.sort();
    let expected = [(format!("{system}|MIP_X"), 1), (format!("{system}|SNIF"), 2), ("|ellen".to_owned(), 1)];
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(told, expected);
    assert!(codes(&scene, GESP).is_empty(), "each sender has its own");

    // The file of a table is a table to be filled in: one row is, and goes into the folder.
    let file = scene.unmapped_file(UMC, "umc-lab.tests.csv").unwrap();
    assert!(file.contains("SNIF test") && file.contains("2 times, 2026-03-"), "{file}");
    assert!(!file.contains("ellen"), "of this table alone: {file}");
    let filled: String = file
        .lines()
        .map(|line| match line.contains("SNIF") {
            true => line.replace("SNIF test,,,,", "SNIF test,http://loinc.org,19868-9,FVC,wider") + "\r\n",
            false => format!("{line}\r\n"),
        })
        .collect();
    scene.mend("umc-lab", "codes/tests.csv", |table| {
        let done = fill("codes/tests.csv", table.as_bytes(), "in.csv", filled.as_bytes(), &[]).unwrap();
        assert_eq!((done.added, done.open), (1, 1));
        String::from_utf8(done.table).unwrap()
    });
    let left: Vec<String> = codes(&scene, UMC).into_iter().map(|(code, _)| code).collect();
    assert!(left.len() == 2 && !left.iter().any(|code| code.ends_with("|SNIF")), "{left:?}");
    let answer = scene.ingest(UMC, "application/hl7-v2", &oru(1004, &[&obx("SNIF", "cmH2O")]));
    assert!(!answer.body.contains("code-unmapped"), "{}", answer.body);
}

#[test]
fn a_report_comes_in_pages_and_a_file_that_is_none_is_not_there() {
    let scene = Scene::new();
    let obx = |code: &str| format!("OBX|1|NM|{code}^x^99ALS||45|cmH2O|||||F|||20260310094500");
    for (number, code) in (1001..).zip(["A1", "A2", "A3"]) {
        scene.ingest(UMC, "application/hl7-v2", &oru(number, &[&obx(code)]));
    }
    let ask = |pairs: &[(&str, &str)]| -> Value {
        serde_json::from_str(&scene.unmapped(UMC, pairs).unwrap()).unwrap()
    };
    let count =
        |page: &Value| page["parameter"].as_array().unwrap().iter().filter(|p| p["name"] == "code").count();
    let asked = [("map", "umc-lab"), ("table", "tests"), ("_count", "2")];
    let first = ask(&asked);
    let next = first["parameter"].as_array().unwrap().iter().find(|p| p["name"] == "next").unwrap();
    let link = next["valueString"].as_str().unwrap();
    let second = ask(&[&asked[..], &[("after", link)]].concat());
    assert_eq!((count(&first), count(&second)), (2, 1));
    assert_eq!(scene.unmapped(UMC, &[("after", link)]).unwrap_err().reason, Reason::ParameterInvalid);
    assert_eq!(scene.unmapped(UMC, &[("table", "tests")]).unwrap_err().reason, Reason::ParameterInvalid);
    assert_eq!(scene.unmapped_file(UMC, "tests.csv").unwrap_err().reason, Reason::NotFound);
    assert_eq!(scene.unmapped_file(UMC, "umc-lab.nergens.csv").unwrap().lines().count(), 1);
}

#[test]
fn past_its_limit_a_code_is_counted_and_not_kept() {
    let scene = Scene::new();
    let obx = |code: &str| format!("OBX|1|NM|{code}^x^99ALS||45|cmH2O|||||F|||20260310094500");
    scene.ingest(UMC, "application/hl7-v2", &oru(1001, &[&obx("A1")]));
    scene.put(UMC, Shelf::Unmapped, "", format!(r#"{{"codes":{CODES_MAX},"withheld":0,"beyond":0}}"#));
    scene.ingest(UMC, "application/hl7-v2", &oru(1002, &[&obx("A1")]));
    scene.ingest(UMC, "application/hl7-v2", &oru(1003, &[&obx("A2")]));
    assert_eq!(codes(&scene, UMC), [("urn:oid:2.999.90000101.5|A1".to_owned(), 2)]);
    assert!(scene.unmapped(UMC, &[]).unwrap().contains(r#"{"name":"notKept","valueInteger":1}"#));
}
