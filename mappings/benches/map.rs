//! What one document costs: ORU^R01 of 1.9 kB with ten results, and a CDA document of 300 kB; and what it costs to compile the maps.
//!
//! `cargo bench -p sluis-mappings` prints a table. Rows of one run are comparable, numbers of different machines are not.
//! "map" is everything a document meets before the store: parse, map, serialise, validate, and the account of every
//! field. "reload" is what a change of folders costs: read from disk, load, compile, and prove by their cases. "hand-written" makes the same resources with string building and no account; it is the floor, and the run stops
//! when the two differ. `SLUIS_BENCH_SECONDS` is the time of each row,
//! `SLUIS_BENCH_ONLY` part of the name of the rows wanted.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops at the first surprise"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sluis_mappings::case::{Proof, prove};
use sluis_mappings::folder::Folder;
use sluis_mappings::output::UnitState;
use sluis_mappings::run::CompiledFolder;
use sluis_mappings::source::{Limits, hl7v2, xml};

fn main() {
    let seconds = std::env::var("SLUIS_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2.0);
    let time = Duration::from_secs_f64(seconds);
    let message = oru();
    let folder = CompiledFolder::new(self::folder("umc-lab")).unwrap();
    let output = folder.run(message.as_bytes());
    assert_eq!(output.units.len(), 10);
    for unit in &output.units {
        assert_eq!((unit.state, &unit.findings.len()), (UnitState::Ready, &0), "{unit:#?}");
    }
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mapped = output.units.iter().map(|unit| parsed(unit.resource.as_deref().unwrap()));
    assert_eq!(mapped.collect::<Vec<_>>(), by_hand(&message).iter().map(|t| parsed(t)).collect::<Vec<_>>());
    let cda = cda();
    assert!(!xml::parse(cda.as_bytes(), Limits::default()).is_fatal());
    let weights = CompiledFolder::new(cda_folder()).unwrap();
    let output = weights.run(cda.as_bytes());
    assert!(output.units.len() > 1000 && output.findings.is_empty());
    assert!(output.units.iter().all(|unit| unit.state == UnitState::Ready && unit.findings.is_empty()));
    let folders: Vec<Folder> = FOLDERS.iter().map(|name| self::folder(name)).collect();

    println!("ORU^R01: {} bytes, 10 OBX; CDA: {} bytes\n", message.len(), cda.len());
    println!("| row | us | per second |\n|---|---:|---:|");
    row("ORU: parse alone", time, || {
        drop(black_box(hl7v2::parse(message.as_bytes(), None, Limits::default())))
    });
    row("ORU: hand-written", time, || drop(black_box(by_hand(&message))));
    row("ORU: map", time, || drop(black_box(folder.run(message.as_bytes()))));
    row("CDA: parse alone", time, || drop(black_box(xml::parse(cda.as_bytes(), Limits::default()))));
    row("CDA: map", time, || drop(black_box(weights.run(cda.as_bytes()))));
    let lab = self::folder("umc-lab");
    row("compile: umc-lab", time, || drop(black_box(CompiledFolder::new(lab.clone()))));
    let all = format!("compile: {} folders", folders.len());
    row(&all, time, || {
        for folder in &folders {
            black_box(CompiledFolder::new(folder.clone()).unwrap());
        }
    });
    row("reload: umc-lab changed", time, || reload(&["umc-lab"]));
    row(&format!("reload: {} folders changed", FOLDERS.len()), time, || reload(&FOLDERS));
}

/// What the gateway does with folders that changed: read, load, compile, and prove by their cases.
fn reload(names: &[&str]) {
    for name in names {
        let compiled = CompiledFolder::new(folder(name)).unwrap();
        assert!(black_box(prove(&compiled)).iter().all(Proof::passed));
    }
}

/// The folders of this crate.
const FOLDERS: [&str; 11] = [
    "als-plan",
    "als-visit",
    "ctb-settings",
    "gesp-export",
    "gp-stu3",
    "regio-lab",
    "streeklab-medlab",
    "umc-adt",
    "umc-lab",
    "umc-orders",
    "umc-problems",
];

fn row(name: &str, time: Duration, mut work: impl FnMut()) {
    if std::env::var("SLUIS_BENCH_ONLY").is_ok_and(|only| !name.contains(&only)) {
        return;
    }
    let warm = Instant::now();
    while warm.elapsed() < time / 4 {
        work();
    }
    let (begun, on_cpu) = (Instant::now(), cpu());
    let mut count = 0u32;
    while begun.elapsed() < time {
        work();
        count += 1;
    }
    let spent = on_cpu.zip(cpu()).map_or(begun.elapsed(), |(from, to)| to.saturating_sub(from));
    let us = spent.as_secs_f64() * 1e6 / f64::from(count);
    println!("| {name} | {us:.1} | {:.0} |", 1e6 / us);
}

/// Time this thread was on a CPU, where the system tells (Linux): others on the machine then do not count.
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// Ten forced vital capacities in litres, with what laboratories send around them.
fn oru() -> String {
    let mut text = "MSH|^~\\&|LONGFUNCTIE|UMCTEST|SLUIS|GESP|20260310113000||ORU^R01^ORU_R01|M-2001|P|2.5|||AL|NE|NLD|8859/1\r\
        PID|1||40112^^^UMCTEST&2.999.90000101.1&ISO^PI~999911120^^^NLMINBIZA^NNNLD||van Testpatient&van&Testpatient^Zoe^^^^^L||19600101|F|||Dorpsweg 16&Dorpsweg&16^^Teststad^^1234AB^NLD\r\
        PV1|1|O|LONGFUNCTIE^^^UMCTEST||||||||||||||||V-77\r\
        ORC|RE|P-1|F-2026-0400^UMCTEST\r\
        OBR|1|P-1|F-2026-0400^UMCTEST|SPIRO^Spirometrie^99ALS|||20260310110000||||||||||||||||||F\r"
        .to_owned();
    for at in 1..=10 {
        write!(
            text,
            "OBX|{at}|NM|FVC_ZIT^Geforceerde vitale capaciteit, zittend, beste van drie pogingen^99ALS|{at}|{}.{at:02}|L^liter^UCUM|2.80-4.60|L|||F|||2026031011{:02}00|\r",
            1 + at % 3,
            at
        )
        .unwrap();
    }
    text
}

/// What the map makes of [`oru`], without a tree, an account, places, tables or checks: for this message alone.
fn by_hand(message: &str) -> Vec<String> {
    let (mut number, mut order) = ("", "");
    let mut made = Vec::new();
    for line in message.split('\r') {
        let fields: Vec<&str> = line.split('|').collect();
        let part = |field: usize, at: usize| fields[field].split('^').nth(at).unwrap_or("");
        match fields[0] {
            "PID" => number = fields[3].split('~').find_map(|id| id.split('^').next()).unwrap_or(""),
            "OBR" => order = part(3, 0),
            "OBX" => {
                let (code, name, unit, flag) = (part(3, 0), part(3, 1), part(6, 0), fields[8]);
                let mut key = String::with_capacity(128);
                for part in ["urn:oid:2.999.90000101.7", number, order, code, fields[4], fields[14]] {
                    write!(key, "{}:{part}", part.len()).unwrap();
                }
                let key = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, key.as_bytes());
                let t = fields[14];
                let mut out = String::with_capacity(1024);
                write!(
                    out,
                    r#"{{"resourceType":"Observation","identifier":[{{"system":"urn:oid:2.999.90000101.7","value":"{key}"}}],"status":"final","category":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"procedure","display":"Procedure"}}]}}],"code":{{"coding":[{{"system":"http://loinc.org","code":"19868-9","display":"Forced vital capacity [Volume] Respiratory system by Spirometry"}},{{"system":"urn:oid:2.999.90000101.5","code":"{code}","display":"{name}","userSelected":true}}],"text":"{name}"}},"effectiveDateTime":"{}-{}-{}T{}:{}:00+01:00","valueQuantity":{{"value":{},"unit":"{unit}","system":"http://unitsofmeasure.org","code":"{unit}"}},"interpretation":[{{"coding":[{{"system":"http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation","code":"{flag}","display":"Low"}},{{"system":"http://terminology.hl7.org/CodeSystem/v2-0078","code":"{flag}","userSelected":true}}]}}],"referenceRange":[{{"text":"{}"}}]}}"#,
                    &t[..4], &t[4..6], &t[6..8], &t[8..10], &t[10..12], fields[5], fields[7]
                )
                .unwrap();
                made.push(out);
            }
            _ => {}
        }
    }
    made
}

/// A section of narrative and entries, until 300 kB are full.
fn cda() -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ClinicalDocument xmlns=\"urn:hl7-org:v3\" \
        xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><id root=\"2.999.5.1\" extension=\"77\"/>\
        <recordTarget><patientRole><id root=\"2.16.840.1.113883.2.4.6.3\" extension=\"999911120\"/></patientRole></recordTarget>\
        <component><section>\n"
        .to_owned();
    let mut at = 0;
    while text.len() < 300_000 {
        at += 1;
        writeln!(
            text,
            "<entry><observation classCode=\"OBS\" moodCode=\"EVN\"><id root=\"2.999.5.2\" extension=\"w{at}\"/>\
             <code code=\"G\" codeSystem=\"2.999\" displayName=\"Gewicht\"/><statusCode code=\"completed\"/>\
             <effectiveTime value=\"20260102\"/><value xsi:type=\"PQ\" value=\"61.50\" unit=\"kg\"/></observation></entry>"
        )
        .unwrap();
    }
    text + "</section></component></ClinicalDocument>\n"
}

/// Weights from CDA: an Observation for each entry.
fn cda_folder() -> Folder {
    const MANIFEST: &str = "id = \"cda\"\nversion = \"1.0.0\"\ntitle = \"Weights\"\nformat = \"xml\"\n\
        [match]\nsenders = [\"*\"]\n[identity]\nnamespace = \"urn:oid:2.999.5\"\n";
    const MAP: &str = r#"
map "http://x/StructureMap/cda" = "Cda"
uses "urn:hl7-org:v3" alias ClinicalDocument as source
uses "http://hl7.org/fhir/StructureDefinition/Observation" alias Observation as target

group Document(source doc : ClinicalDocument) {
  doc.component as c then {
    c.section as section then {
      section.entry as entry then {
        entry.observation as o then Weight(doc, o) "observation";
      } "entry";
    } "section";
  } "component";
}

group Weight(source doc : ClinicalDocument, source o : ClinicalDocument) {
  o -> create('Observation') as tgt then {
    o -> use(o.classCode, o.moodCode) "kind";
    doc.recordTarget as target -> subjectBsn(target.patientRole.id.where(root = '2.16.840.1.113883.2.4.6.3').extension), use(target.patientRole.id.root) "subject";
    doc.id as id -> identity(%namespace, id.root, (%o.id.extension)), use(id.extension, o.id.root) "identity";
    o.statusCode as s where (code = 'completed') -> tgt.status = 'final' "status";
    o.code as c -> tgt.code = cc((%c.displayName)), use(c.code, c.codeSystem) "code";
    o.value as v where (xsi_type = 'PQ') -> tgt.value = qty((%v.value), (%v.unit), 'http://unitsofmeasure.org', (%v.unit)) "value";
    o.effectiveTime as t -> tgt.effective = cast(hl7DateTime((%t.value), 'Europe/Amsterdam'), 'dateTime') "time";
  } "make";
}
"#;
    let file = |text: &str| text.as_bytes().to_vec();
    let files =
        [("mapping.toml", MANIFEST), ("map.fml", MAP)].map(|(name, text)| (name.to_owned(), file(text)));
    Folder::load(&BTreeMap::from(files)).unwrap()
}

fn folder(name: &str) -> Folder {
    fn files(at: &Path, root: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                files(&path, root, into);
            } else {
                let inside = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                into.insert(inside, std::fs::read(&path).unwrap());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut all = BTreeMap::new();
    files(&root, &root, &mut all);
    Folder::load(&all).unwrap()
}
