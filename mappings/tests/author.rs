//! The authoring loop: a folder made of a sample, its cases explained, its fields accounted for, what is suspicious in it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use sluis_mappings::case::{self, excerpt};
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
        PID|1||999911120^^^NLMINBIZA^NNNLD||Test\rOBR|1||5|FVC\r\
        OBX|1|NM|FVC^FVC^99X||2.10|L|||||F|||20260310\rOBX|2|ST|OPM^Opmerking^99X||goed||||||F|||20260310\r";
    let files = case::scaffold("lab-nieuw", "*", "hl7", message.as_bytes()).unwrap();
    let folder = compiled(&files);
    let output = folder.run(&folder.folder().cases[0].input);
    assert_eq!(output.units.len(), 2, "{output:#?}\n{}", map(&files));
    let findings: Vec<_> =
        output.findings.iter().chain(output.units.iter().flat_map(|u| &u.findings)).collect();
    assert!(findings.is_empty(), "{findings:#?}\n{}", map(&files));

    let flag = br#"{"resourceType":"Flag","id":"f1","status":"active","code":{"text":"MRSA"},"subject":{"reference":"Patient/1"},"category":{"text":"x"}}"#;
    let files = case::scaffold("flag-nieuw", "*", "json", flag).unwrap();
    let output = compiled(&files).run(flag);
    assert!(output.units[0].resource.as_ref().unwrap().contains("MRSA"), "{output:#?}");

    let flag = br#"<Flag xmlns="http://hl7.org/fhir"><id value="f1"/><status value="active"/><code><text value="MRSA"/></code><subject><reference value="Patient/1"/></subject></Flag>"#;
    let output = compiled(&case::scaffold("flag-xml", "*", "xml", flag).unwrap()).run(flag);
    assert!(output.units[0].resource.as_ref().unwrap().contains("MRSA"), "{output:#?}");
    let cda = b"<ClinicalDocument xmlns=\"urn:hl7-org:v3\"><id root=\"1.2.3\"/><title>Brief</title></ClinicalDocument>";
    let output = compiled(&case::scaffold("brief", "*", "xml", cda).unwrap()).run(cda);
    assert_eq!(output.units[0].findings[0].code, "map-refused", "{output:#?}");

    let vendor = br#"{"soort":"meting","waarde":3,"deel":{"x":[1,2]}}"#;
    let output = compiled(&case::scaffold("eigen", "*", "json", vendor).unwrap()).run(vendor);
    assert_eq!(output.units[0].findings[0].code, "map-refused", "unfinished maps never apply: {output:#?}");
    assert_eq!(output.units[0].findings.len(), 1, "{output:#?}");
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
    let json = case::trace_parameters(&record, &folder, &parsed.tree, &case::render_units(&output));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let trace = json["parameter"].as_array().unwrap().iter().find(|p| p["name"] == "trace").unwrap();
    assert_eq!(trace["part"].as_array().unwrap().len(), record.events.len());
    assert_eq!(trace["part"][0]["extension"][0]["url"], "http://fhirpath-lab.com/StructureDefinition/Cursor");
}

#[test]
fn the_shipped_folders_show_account_and_lint_clean() {
    for name in ["gp-stu3", "gesp-export", "umc-lab", "als-visit", "als-plan", "ctb-settings"] {
        let compiled = CompiledFolder::new(folder(name)).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let shown = case::show(&compiled);
        assert!(shown.contains("## Signed off") && shown.lines().count() > 30, "{name}: {shown}");
        let report = case::report(&compiled);
        assert!(!report.failed(), "{name}: {report}");
        let found = case::lint(&compiled, &BTreeMap::new(), name);
        let errors: Vec<String> =
            found.iter().filter(|lint| lint.level == "error").map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{name}:\n{}", errors.join("\n\n"));
    }
}
