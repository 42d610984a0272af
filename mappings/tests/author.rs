//! The authoring loop: a folder made of a sample, its cases explained, its fields accounted for, what is suspicious in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sluis_mappings::case::{self, Language, SheetForm, excerpt};
use sluis_mappings::folder::Folder;
use sluis_mappings::run::CompiledFolder;

mod common;
use common::folder;

type Files = BTreeMap<String, Vec<u8>>;

fn compiled(files: &Files) -> CompiledFolder {
    let folder = Folder::load(files).unwrap_or_else(|errors| panic!("{errors:#?}\n{}", map(files)));
    CompiledFolder::new(folder).unwrap_or_else(|errors| {
        panic!("{}\n{}", errors.iter().map(|e| format!("{e}\n\n")).collect::<String>(), map(files))
    })
}

fn map(files: &Files) -> String {
    String::from_utf8_lossy(files.get("map.fml").map(Vec::as_slice).unwrap_or_default()).into_owned()
}

fn edit(files: &mut Files, file: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[file].clone()).unwrap();
    assert!(text.contains(from), "{file} holds no {from}:\n{text}");
    files.insert(file.to_owned(), text.replacen(from, to, 1).into_bytes());
}

/// Headers as people write them: accents, units in brackets, a unit beside its value, a time beside its day.
#[test]
fn a_folder_made_of_a_sheet_with_headings_for_people_takes_each_column_for_what_it_is() {
    let sheet = "Patiëntnummer;BSN;Datum meting;Tijd;Behandelaar AGB;FVC zittend (L);FVC % voorspeld;PCF (L/min);SNIP [cmH2O];pCO2;pCO2 eenheid\n\
        100045;999911120;2026-11-03;09:15;03022222;2,87;71;285;54;5,9;kPa\n100046;999911132;2026-11-04;;03022222;;;240;;46;mmHg\n";
    let files = case::scaffold("longpoli", "*", "csv", sheet.as_bytes()).unwrap();
    let folder = compiled(&files);
    let output = folder.run(&folder.folder().cases[0].input);
    let labels: Vec<&str> = output.units.iter().map(|unit| unit.label.as_str()).collect();
    assert_eq!(
        labels,
        [
            "row[1].FVC zittend (L)",
            "row[1].FVC % voorspeld",
            "row[1].PCF (L/min)",
            "row[1].SNIP [cmH2O]",
            "row[1].pCO2",
            "row[2].PCF (L/min)",
            "row[2].pCO2"
        ],
        "{}",
        map(&files)
    );
    let resources: String = output.units.iter().filter_map(|unit| unit.resource.clone()).collect();
    for part in [
        "\"code\":\"cm[H2O]\"",
        "\"code\":\"L/min\"",
        "\"code\":\"%\"",
        "\"unit\":\"mmHg\"",
        "\"unit\":\"kPa\"",
    ] {
        assert!(resources.contains(part), "{part}: {resources}");
    }
    assert!(!resources.contains("100045") && !resources.contains("03022222"), "{resources}");
    assert!(map(&files).contains("LungFunction(value, 'fvc', o)"), "{}", map(&files));
    assert!(!files.contains_key("codes/tijd.csv") && !files.contains_key("codes/pco2-eenheid.csv"));
}

const TWENTY: &str = "bsn;naam;bezoekdatum;gewicht_kg;lengte_cm;fvc_l;fvc_pct;snip_cmh2o;pcf_lmin;pco2_kpa;alsfrs_totaal;houding;niv;\
niv_uur;opmerking;FVC (liggend);volgende_afspraak;geslacht;arts;leeg\n\
999911120;Test, P.;10-03-2026;71,5;178;2,10;62;48;310;5,3;34;zittend;ja;8;Slaapt slecht. Heeft hulp nodig.;1,80;09-06-2026;V;RA;\n\
999911132;Test, Q.;11-03-2026;80;181;3,4;88;70;450;4,9;41;liggend;nee;;Gaat goed. Geen vragen.;;10-06-2026;M;RA;\n";

#[test]
fn a_folder_made_of_a_csv_sample_loads_runs_and_drops_nothing() {
    let mut files = case::scaffold("gesp-nieuw", "90000201", "csv", TWENTY.as_bytes()).unwrap();
    let folder = compiled(&files);
    let output = folder.run(&folder.folder().cases[0].input);
    let findings: Vec<_> =
        output.findings.iter().chain(output.units.iter().flat_map(|u| &u.findings)).collect();
    assert!(findings.is_empty(), "{findings:#?}\n{}", map(&files));
    assert!(output.units.len() > 20, "{}", output.units.len());
    let resources: String = output.units.iter().filter_map(|unit| unit.resource.clone()).collect();
    assert!(
        resources.contains("\"value\":71.5,\"unit\":\"kg\"") && resources.contains("2026-03-10"),
        "{resources}"
    );
    assert!(!resources.contains("Test, P."), "a name was taken over");
    // Blessed, it is green; a change shows its rule and source.
    let proof = &case::prove(&folder)[0];
    files.insert("cases/first/out.json".to_owned(), proof.out.clone().into_bytes());
    assert!(case::prove(&compiled(&files))[0].passed());
    edit(&mut files, "cases/first/out.json", "71.5", "71.50");
    let shown = case::prove(&compiled(&files))[0].differences[0].to_string();
    assert!(shown.contains("expected 71.50, found 71.5"), "{shown}");
    assert!(
        shown.contains("rule   gesp-nieuw/map.fml:") && shown.contains("row[1].gewicht_kg at 2:31"),
        "{shown}"
    );
}

#[test]
fn a_folder_made_of_a_message_or_a_resource_loads_and_runs() {
    let message = "MSH|^~\\&|L|UMC|S|S|20260310093000||ORU^R01|1|P|2.5|||||NLD|UNICODE UTF-8\r\
        PID|1||999911120^^^NLMINBIZA^NNNLD||Test\rOBR|1||5^L|FVC^Longfunctie^99X|||20260310||||||||||||||||||F\r\
        OBX|1|NM|FVC^FVC^99X||2.10|L|||||F|||20260310\rOBX|2|SN|TROP^Troponine T^99X||<^14|ng/L|||||F|||20260310\r";
    let files = case::scaffold("lab-nieuw", "*", "hl7", message.as_bytes()).unwrap();
    let folder = compiled(&files);
    let output = folder.run(&folder.folder().cases[0].input);
    assert_eq!(output.units.len(), 3, "{output:#?}\n{}", map(&files));
    let findings: Vec<_> =
        output.findings.iter().chain(output.units.iter().flat_map(|u| &u.findings)).collect();
    assert!(findings.is_empty(), "{findings:#?}\n{}", map(&files));
    let resources: String = output.units.iter().filter_map(|unit| unit.resource.clone()).collect();
    // A comparator is part of a result; the sender's own code keeps its own system.
    assert!(
        resources.contains("\"comparator\":\"<\"") && resources.contains("NamingSystem/lab-nieuw-code"),
        "{resources}"
    );
    assert!(!map(&files).contains("2.999") && !map(&files).contains("regio-lab\""), "{}", map(&files));
    assert!(case::lint(&folder, &files, "m").is_empty(), "{:#?}", case::lint(&folder, &files, "m"));

    let flag = br#"{"resourceType":"Flag","id":"f1","status":"active","code":{"text":"MRSA"},"subject":{"reference":"Patient/1"},"category":{"text":"x"}}"#;
    let files = case::scaffold("flag-nieuw", "*", "json", flag).unwrap();
    let output = compiled(&files).run(flag);
    assert!(output.units[0].resource.as_ref().unwrap().contains("MRSA"), "{output:#?}");

    let flag = br#"<Flag xmlns="http://hl7.org/fhir"><id value="f1"/><status value="active"/><code><text value="MRSA"/></code><subject><reference value="Patient/1"/></subject></Flag>"#;
    let output = compiled(&case::scaffold("flag-xml", "*", "xml", flag).unwrap()).run(flag);
    assert!(output.units[0].resource.as_ref().unwrap().contains("MRSA"), "{output:#?}");

    let vendor = br#"{"soort":"meting","waarde":3,"deel":{"x":[1,2]}}"#;
    let output = compiled(&case::scaffold("eigen", "*", "json", vendor).unwrap()).run(vendor);
    assert_eq!(output.units[0].findings[0].code, "map-refused", "unfinished maps never apply: {output:#?}");
    assert_eq!(output.units[0].findings.len(), 1, "{output:#?}");
}

const LETTER: &str = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="2.999.1" extension="brief-1"/>
<code code="11488-4" codeSystem="2.16.840.1.113883.6.1" displayName="Consult note"/><title>Brief</title><effectiveTime value="20260310093000+0100"/>
<recordTarget><patientRole><id root="2.16.840.1.113883.2.4.6.3" extension="999911120"/></patientRole></recordTarget>
<component><structuredBody><component><section><title>Anamnese</title><text>Slaapt <b>slecht</b>.</text></section></component></structuredBody></component>
</ClinicalDocument>"#;

#[test]
fn a_folder_made_of_a_cda_document_reads_its_header_and_waits_for_its_body() {
    let mut files = case::scaffold("brief", "*", "xml", LETTER.as_bytes()).unwrap();
    let output = compiled(&files).run(LETTER.as_bytes());
    let unit = &output.units[0];
    assert!(
        unit.findings.len() == 1 && unit.findings[0].code == "map-refused",
        "{output:#?}\n{}",
        map(&files)
    );
    assert!(output.findings.is_empty(), "{output:#?}\n{}", map(&files));
    let refusal = map(&files).lines().find(|line| line.contains("refuse(")).unwrap().to_owned();
    edit(&mut files, "map.fml", &refusal, "");
    let output = compiled(&files).run(LETTER.as_bytes());
    let unit = &output.units[0];
    assert_eq!(unit.subject.as_ref().unwrap().bsn.as_deref(), Some("999911120"));
    let resource = unit.resource.as_deref().unwrap();
    assert!(
        resource.contains("urn:oid:2.999.1") && resource.contains("2026-03-10T09:30:00+01:00"),
        "{resource}"
    );
    assert!(unit.findings.is_empty(), "{output:#?}");
}

#[test]
fn a_folder_made_of_an_edifact_message_loads_and_waits() {
    let message = "UNB+UNOA:1+500000101+500000201+260831:0930+R1'UNH+M1+MEDLAB:1'PID+1961:04:18+V+Jans:::A.++BSN999911120'\
        BEP:1:1:1+0+Quet/BMI+23.1++kg/m2++10+50+QUET'BEP:1:1:2+0+Hb+8.1++mmol/l'UNT+5+M1'UNZ+1+R1'";
    for (sample, agreed) in [(message.to_owned(), false), (message.replace("Jans", "Jans\u{1}"), true)] {
        // A letter of ISO 8859-1 under a syntax of ASCII.
        let sample: Vec<u8> = sample.bytes().map(|byte| if byte == 1 { 0xEB } else { byte }).collect();
        let files = case::scaffold("medlab", "*", "edi", &sample).unwrap();
        let folder = compiled(&files);
        assert_eq!(folder.folder().manifest.charset.is_some(), agreed);
        let output = folder.run(&sample);
        let [unit] = output.units.as_slice() else { panic!("{output:#?}\n{}", map(&files)) };
        assert_eq!(unit.subject.as_ref().unwrap().bsn.as_deref(), Some("999911120"), "{output:#?}");
        assert!(unit.findings.len() == 1 && unit.findings[0].code == "map-refused", "{output:#?}");
        assert!(output.findings.is_empty(), "{output:#?}\n{}", map(&files));
    }
    assert!(case::scaffold("x", "*", "edi", b"PID+1'").unwrap_err().contains("UNH"));
}

#[test]
fn a_sample_with_a_real_number_or_of_no_kind_is_refused() {
    let why = case::scaffold("x", "*", "csv", b"bsn;x\n111111110;1\n").unwrap_err();
    assert!(why.contains("line 2") && !why.contains("111111110"), "{why}");
    assert!(case::scaffold("x", "*", "xlsx", b"").unwrap_err().contains("csv"));
    assert!(case::scaffold("X y", "*", "csv", b"a\n1\n").unwrap_err().contains("no id"));
    assert!(case::scaffold("x", "*", "csv", b"a;b\n").unwrap_err().contains("no row"));
    assert!(case::scaffold("x", "*", "json", b"{").is_err());
    assert!(case::scaffold("x", "*", "hl7", b"PID|1").is_err());
}

#[test]
fn a_faulty_folder_is_shown_with_line_caret_and_nearest_name() {
    let mut files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    edit(&mut files, "mapping.toml", "separator", "seperator");
    let found = Folder::load(&files).unwrap_err();
    let shown = excerpt::of_diagnostic(&found[0], &files, "m/x").to_string();
    assert!(shown.contains("seperator = \";\"\n") && shown.contains("| ^^^^^^^^^\n"), "{shown}");
    assert!(shown.contains("did you mean `separator`?"), "{shown}");

    let mut files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    edit(&mut files, "codes/houding.csv", ",noMap,", ",nomapp,");
    let found = Folder::load(&files).unwrap_err();
    let shown = excerpt::of_diagnostic(&found[0], &files, "m/x").to_string();
    assert!(
        shown.contains("m/x/codes/houding.csv:2:21") && shown.contains("did you mean `noMap`?"),
        "{shown}"
    );
}

fn lints(files: &Files) -> Vec<String> {
    let found = case::lint(&compiled(files), files, "m");
    found.iter().map(|lint| lint.excerpt.code.clone()).collect()
}

#[test]
fn lint_finds_what_compiles_and_is_wrong() {
    let fresh = || case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    assert!(lints(&fresh()).is_empty(), "{:?}", case::lint(&compiled(&fresh()), &fresh(), "m"));
    for (from, to, code) in [
        ("row.houding", "row.houdingg", "source-unknown"),
        (
            "  row -> o.status = 'final' \"status\";",
            "  row -> o.status = 'final' \"a\";\n  row -> o.status = 'amended' \"b\";",
            "target-overlap",
        ),
        (
            "  row -> o.status = 'final' \"status\";",
            "  row -> o.status = 'final' \"a\";\n  row where niv = 'ja' and niv = 'nee' -> o.bodySite = cc('x') \"b\";",
            "rule-unreachable",
        ),
        (
            "  row -> o.status = 'final' \"status\";",
            "  row -> o.status = 'final' \"a\";\n  row -> o.value = cc('x') \"b\";\n  row -> o.value = qty('1') \"c\";",
            "choice-twice",
        ),
        ("group Common(", "group Unused(source row : Row) { }\n\ngroup Common(", "group-unused"),
    ] {
        let mut files = fresh();
        edit(&mut files, "map.fml", from, to);
        assert!(lints(&files).contains(&code.to_owned()), "{code}: {:?}", lints(&files));
    }
    // Conditions that exclude each other are no overlap.
    for pair in [
        ("niv = 'ja'", "niv != 'ja'"),
        ("niv = 'ja'", "niv = 'nee'"),
        ("niv.exists()", "niv.empty()"),
        ("niv in ('a' | 'b')", "(niv in ('a' | 'b')).not()"),
        ("niv.startsWith('a')", "niv.startsWith('b')"),
    ] {
        let mut files = fresh();
        let rules = format!(
            "  row where {} -> o.status = 'final' \"a\";\n  row where {} -> o.status = 'amended' \"b\";",
            pair.0, pair.1
        );
        edit(&mut files, "map.fml", "  row -> o.status = 'final' \"status\";", &rules);
        assert!(lints(&files).is_empty(), "{pair:?}: {:?}", lints(&files));
    }
    let mut files = fresh();
    edit(&mut files, "codes/houding.csv", ",,,,noMap,", ",http://unitsofmeasure.org,mmHg,,equivalent,");
    assert!(lints(&files).contains(&"unit-not-ucum".to_owned()), "{:?}", lints(&files));
}

#[test]
fn lint_knows_a_vendors_fields_by_its_cases() {
    let vendor = br#"{"soort":"meting","waarde":3,"deel":{"eenheid":"kg"}}"#;
    let mut files = case::scaffold("eigen", "*", "json", vendor).unwrap();
    assert!(!lints(&files).contains(&"source-unseen".to_owned()), "{}", map(&files));
    edit(&mut files, "map.fml", "waarde", "waarrde");
    let found = case::lint(&compiled(&files), &files, "m");
    let said = found.iter().find(|lint| lint.excerpt.code == "source-unseen").unwrap().to_string();
    assert!(said.contains("waarrde") && said.contains("did you mean `waarde`?"), "{said}");
}

#[test]
fn diff_tells_what_a_new_version_changes_and_nothing_else() {
    let mut files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    let old = compiled(&files);
    let input = old.folder().cases[0].input.clone();
    assert!(case::compare_outputs(&old.run(&input), &compiled(&files).run(&input)).is_empty());
    edit(&mut files, "map.fml", "'final'", "'amended'");
    let found = case::compare_outputs(&old.run(&input), &compiled(&files).run(&input));
    let units = old.run(&input).units.len();
    assert!(found.len() == units && units > 20, "{} of {units}", found.len());
    for difference in found {
        let shown = difference.to_string();
        assert!(shown.contains(".status: expected \"final\", found \"amended\""), "{shown}");
    }
}

#[test]
fn a_changed_output_asks_for_a_new_version() {
    let mut files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    edit(&mut files, "mapping.toml", "0.1.0", "1.0.0");
    let bless = |files: &mut Files| {
        let folder = compiled(files);
        let proofs = case::prove(&folder);
        files.insert("cases/first/out.json".to_owned(), proofs[0].out.clone().into_bytes());
        let before = files.get("cases/proved.toml").map(|bytes| String::from_utf8(bytes.clone()).unwrap());
        let text = case::proved(folder.folder(), &proofs, before.as_deref());
        files.insert("cases/proved.toml".to_owned(), text.into_bytes());
    };
    bless(&mut files);
    assert!(lints(&files).is_empty());
    edit(&mut files, "map.fml", "'final'", "'amended'");
    bless(&mut files);
    assert_eq!(lints(&files), ["version-unchanged"]);
    edit(&mut files, "mapping.toml", "1.0.0", "1.0.1");
    bless(&mut files);
    assert!(lints(&files).is_empty());
}

#[test]
fn coverage_tells_every_field_and_fails_on_a_dropped_one() {
    let mut files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    let report = case::report(&compiled(&files));
    assert!(!report.failed() && report.never_set.is_empty(), "{report}");
    assert_eq!(report.fields["row.houding"].read, [0, 2, 2, 0], "{report}");
    assert_eq!(report.fields["row.naam"].read, [0, 0, 0, 2], "{report}");
    assert!(report.fields["row.bsn"].read[0] == 2 && report.never_run.len() < report.rules, "{report}");
    edit(&mut files, "map.fml", "  row.naam as value -> use(value) \"naam\";", "");
    let report = case::report(&compiled(&files));
    assert!(report.failed(), "{report}");
    assert_eq!(report.fields["row.naam"].unexpected, Some(("first".to_owned(), "row[1].naam".to_owned())));
    edit(
        &mut files,
        "mapping.toml",
        "[csv]",
        "[[ignore]]\npath = \"row.naam\"\nreason = \"follows from the number\"\n\n[csv]",
    );
    let report = case::report(&compiled(&files));
    assert!(!report.failed() && report.to_string().contains("follows from the number"), "{report}");
}

#[test]
fn a_trace_has_every_step_in_text_and_as_parameters() {
    let files = case::scaffold("x", "*", "csv", TWENTY.as_bytes()).unwrap();
    let folder = compiled(&files);
    let input = &folder.folder().cases[0].input;
    let parsed = folder.parse(input);
    let (output, _, record) = folder.run_recorded(input, &parsed);
    let text = case::render_trace(&record, &folder, &parsed.tree);
    assert!(
        text.contains("\"gewicht_kg\" on row[1].gewicht_kg [") && text.contains(". Observation\n"),
        "{text}"
    );
    let enters = text.lines().filter(|line| line.trim_start().starts_with("> ")).count();
    let exits = text.lines().filter(|line| line.trim_start().starts_with("< ")).count();
    assert!(enters == exits && enters > 50, "{enters} {exits}");
    assert!(!output.units.is_empty());
}

/// The shape the guide's page on debug traces gives, as other engines and its debuggers have it.
#[test]
fn a_trace_is_the_parameters_of_the_guide() {
    for (name, imported) in [("als-visit", "lib/als/respiration.fml"), ("umc-lab", "lib/v2/result.fml")] {
        let (folder, input) = first_case(name);
        let parsed = folder.parse(&input);
        let (output, _, record) = folder.run_recorded(&input, &parsed);
        let json = case::trace_parameters(&record, &folder, &parsed.tree, &output);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["resourceType"], "Parameters");
        let all = json["parameter"].as_array().unwrap();
        let named = |name: &str| all.iter().filter(|p| p["name"] == name).collect::<Vec<_>>();
        assert_eq!(named("return")[0]["resource"]["resourceType"], "Bundle", "{name}");
        assert_eq!(named("traceStatus")[0]["valueCode"], "complete", "{name}");
        assert_eq!(named("outcome")[0]["resource"]["resourceType"], "OperationOutcome", "{name}");
        let trace = named("trace");
        assert_eq!(trace.len(), record.events.len());
        let (mut open, mut sources, mut values) = (0, BTreeSet::new(), 0);
        for event in trace {
            let parts = event["part"].as_array().unwrap();
            let part = |name: &str| parts.iter().find(|part| part["name"] == name);
            let number = |name: &str| part(name).unwrap()["valueInteger"].as_u64().unwrap();
            let phase = part("phase").unwrap()["valueCode"].as_str().unwrap();
            open += match phase {
                "enter" => 1,
                "exit" => -1,
                "step" => 0,
                other => panic!("{other} is no phase"),
            };
            assert!(open >= 0, "{name}: an exit without its enter");
            let (from, to) =
                ((number("startRow"), number("startColumn")), (number("endRow"), number("endColumn")));
            assert!(from < to && number("depth") < 64, "{event}");
            let position = part("expressionPosition").unwrap_or_else(|| panic!("{event}"));
            let position = position["valueString"].as_str().unwrap();
            assert!(position.starts_with("StructureMap.group[") && position.contains(".rule["), "{event}");
            assert_eq!(position.contains(".target["), phase == "step", "{event}");
            assert_eq!(part("message").is_some(), phase == "step", "{event}");
            let variable = part("variable").unwrap()["part"].as_array().unwrap();
            let of = |name: &str| variable.iter().find(|p| p["name"] == name).map(|p| &p["valueString"]);
            assert!(of("name").is_some() && of("path").is_some() && of("contextType").unwrap() == "input");
            values += usize::from(of("value").is_some());
            sources.insert(part("source").unwrap()["valueString"].as_str().unwrap().to_owned());
        }
        assert_eq!(open, 0, "{name}");
        assert!(values > 50 && sources.contains(imported), "{name}: {values} {sources:?}");
    }
}

/// What the FHIRPath Lab's own parser reads of an answer, read the same way.
#[test]
fn a_trace_is_what_the_lab_replays() {
    let (folder, input) = first_case("als-visit");
    let parsed = folder.parse(&input);
    let (output, _, record) = folder.run_recorded(&input, &parsed);
    let json: Value =
        serde_json::from_str(&case::lab_parameters(&record, &folder, &parsed.tree, &output)).unwrap();
    let all = json["parameter"].as_array().unwrap();
    let named = |name: &str| all.iter().find(|p| p["name"] == name).unwrap();
    let result: Value = serde_json::from_str(named("result")["valueString"].as_str().unwrap()).unwrap();
    assert_eq!(result["entry"].as_array().unwrap().len(), output.units.len());
    assert!(named("parameters")["part"][0]["valueString"].as_str().unwrap().starts_with("Sluis "));
    let parts = named("trace")["part"].as_array().unwrap();
    assert_eq!(parts.len(), record.events.len());
    let mut depth = 0;
    for part in parts {
        assert_eq!(part["name"], "debug");
        let of = |url: &str| {
            let all = part["extension"].as_array().unwrap();
            all.iter().find(|e| e["url"].as_str().unwrap().ends_with(url)).unwrap()
        };
        let message = part["valueString"].as_str().unwrap();
        let indent = message.len() - message.trim_start().len();
        let file = of("operationoutcome-file")["valueString"].as_str().unwrap();
        let (start, end) = of("Cursor")["valueString"].as_str().unwrap().split_once(" - ").unwrap();
        let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
        if file == "als-visit/map.fml" && message.trim_start().starts_with("rule : visit") {
            let units: Vec<u16> = folder.folder().map.encode_utf16().collect();
            let text = String::from_utf16(&units[start..end]).unwrap();
            assert!(text.starts_with("file.row as row"), "{text}");
        }
        if of("TracePhase")["valueString"] == "Enter" {
            let now = indent / 2 + 1;
            assert!(message.trim_start().starts_with("rule : ") && now <= depth + 2, "{message}");
            depth = now;
        }
        let variable = of("Variable")["extension"].as_array().unwrap();
        assert!(variable[0]["url"] == "name-INPUT" && variable[1]["url"] == "path");
        if let Some(value) = variable.get(2) {
            let value = value["valueString"].as_str().unwrap();
            assert!(serde_json::from_str::<Value>(value).unwrap().is_string(), "{value} is no JSON");
        }
    }
}

fn first_case(name: &str) -> (CompiledFolder, Vec<u8>) {
    let folder = CompiledFolder::new(folder(name)).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let input = folder.folder().cases[0].input.clone();
    (folder, input)
}

#[test]
fn a_sheet_says_in_words_what_each_field_becomes() {
    let (folder, _) = first_case("als-visit");
    let sheet = case::show(&folder, Language::Dutch, SheetForm::Markdown);
    for line in [
        "## Meting of bevinding (Observation)",
        "| `alsfrs_1` | Speech (Sluis als-observation `als-1`) | `alsfrs_1`, in score |",
        "| `snip_cmh2o` | Sniff nasal inspiratory pressure (Sluis als-observation `snip`) | `snip_cmh2o`, in cmH2O |",
        "| patiënt | Patient BSN `bsn` |",
        "| status | `status` volgens codetabel `status` |",
        "| `bsn` is leeg | Column bsn is empty. | Fill in the BSN. |",
    ] {
        assert!(sheet.contains(line), "{line}\n{sheet}");
    }
    // What a group was called with is settled: no line of another measure stands at this one.
    let snip = sheet.lines().find(|line| line.starts_with("| `snip_cmh2o`")).unwrap();
    assert!(!snip.contains("Forced") && !snip.contains("als `"), "{snip}");
    let page = case::show(&folder, Language::English, SheetForm::Html);
    assert!(page.contains("<html lang=\"en\">") && page.contains("<td><code>alsfrs_1</code></td>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("href="));
    // A directive is shown with its decision.
    let (plan, _) = first_case("als-plan");
    let sheet = case::show(&plan, Language::Dutch, SheetForm::Markdown);
    assert!(sheet.contains("niet uitvoeren"), "{sheet}");
}

#[test]
fn the_shipped_folders_show_account_and_lint_clean() {
    for name in ["gp-stu3", "gesp-export", "umc-lab", "als-visit", "als-plan", "ctb-settings"] {
        let compiled = CompiledFolder::new(folder(name)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        for (language, signed) in [(Language::Dutch, "## Voor akkoord"), (Language::English, "## Signed off")]
        {
            let shown = case::show(&compiled, language, SheetForm::Markdown);
            assert!(shown.contains(signed) && shown.lines().count() > 30, "{name}: {shown}");
            // Nobody signs a line that does not end.
            let longest = shown.lines().map(|line| line.chars().count()).max().unwrap();
            let line = shown.lines().find(|line| line.chars().count() == longest).unwrap();
            assert!(longest < 4_000, "{name}: {longest}: {line}");
        }
        let report = case::report(&compiled);
        assert!(!report.failed(), "{name}: {report}");
        let found = case::lint(&compiled, &BTreeMap::new(), name);
        let errors: Vec<String> =
            found.iter().filter(|lint| lint.level == "error").map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n\n"));
    }
}
