//! The folders shipped: they load, hold no real person, and their tables leave no status open.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::{collections::BTreeMap, path::Path};

use sluis_mappings::{
    case::{lint, personal_data, prove, proved},
    codes::{CodeTable, Lookup},
    folder::{Folder, Library, facts},
    run::{CompiledFolder, LIBRARY_TABLES},
    source::{Format, Limits},
};

const SHIPPED: [&str; 12] = [
    "umc-adt",
    "umc-lab",
    "umc-orders",
    "umc-documents",
    "umc-problems",
    "regio-lab",
    "streeklab-medlab",
    "gesp-export",
    "gp-stu3",
    "als-visit",
    "als-plan",
    "ctb-settings",
];

const VENDORS: [&str; 7] = [
    "vendors/cgm-stu3",
    "vendors/chipsoft-stu3",
    "vendors/epic-stu3",
    "vendors/nedap-stu3",
    "vendors/nexus-stu3",
    "vendors/sanday-stu3",
    "vendors/topicus-stu3",
];

fn load(name: &str) -> Folder {
    Folder::load(&files(name)).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"))
}

fn files(name: &str) -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut files = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
                files.insert(inside, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Every folder there is, is held to everything here.
#[test]
fn no_folder_is_left_out() {
    let below = |at: &str| -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(at);
        let mut names: Vec<String> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.join("mapping.toml").is_file())
            .map(|path| format!("{at}{}", path.file_name().unwrap().to_string_lossy()))
            .collect();
        names.sort();
        names
    };
    let mut shipped = SHIPPED;
    shipped.sort_unstable();
    assert_eq!(below(""), shipped);
    assert_eq!(below("vendors/"), VENDORS);
}

/// `cases/proved.toml` holds what the present engine makes of every case under the present version: an output that changed asks for
/// `sluis map test --bless`, and from 1.0.0 on for a new version, which Provenance names.
#[test]
fn every_folder_is_proved_with_this_engine() {
    for name in SHIPPED.iter().chain(&VENDORS) {
        let files = files(name);
        let folder = CompiledFolder::new(load(name)).unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
        let proofs = prove(&folder);
        let failed: Vec<&str> = proofs.iter().filter(|p| !p.passed()).map(|p| p.name.as_str()).collect();
        assert!(failed.is_empty() && !proofs.is_empty(), "{name}: {failed:?}");
        let before = files.get("cases/proved.toml").unwrap_or_else(|| panic!("{name} has no proved.toml"));
        let before = String::from_utf8(before.clone()).unwrap();
        assert_eq!(proved(folder.folder(), &proofs, None), before, "{name}");
        let remarks = lint(&folder, &files, name);
        assert!(remarks.is_empty(), "{}", remarks.iter().map(|lint| format!("{lint}\n")).collect::<String>());
    }
}

#[test]
fn shipped_folders_load_together() {
    let library = Library::new(SHIPPED.map(load).into()).unwrap();
    let case = |id: &str, name: &str| {
        let folder = library.folders().iter().find(|f| f.manifest.id == id).unwrap();
        folder.cases.iter().find(|c| c.name == name).unwrap().input.clone()
    };
    let select = |sender: &str, format: Format, bytes: &[u8]| {
        library
            .select(sender, format, &facts(format, bytes))
            .map(|f| f.manifest.id.clone())
            .map_err(|e| e.to_string())
    };
    let oru = case("umc-lab", "fvc-snip-final");
    assert_eq!(select("90000101", Format::Hl7v2, &oru).unwrap(), "umc-lab");
    assert!(select("90000201", Format::Hl7v2, &oru).is_err());
    assert_eq!(select("90000201", Format::Csv, &case("gesp-export", "visit")).unwrap(), "gesp-export");
    assert_eq!(
        select("90000201", Format::Csv, &case("gesp-export", "other-headers")).unwrap(),
        "gesp-export"
    );
    let results = case("streeklab-medlab", "results-with-remarks");
    assert_eq!(select("90000902", Format::Edifact, &results).unwrap(), "streeklab-medlab");
}

#[test]
fn no_case_holds_a_number_that_could_be_somebodys() {
    for folder in SHIPPED.map(load) {
        for case in &folder.cases {
            assert_eq!(personal_data(case), [], "{}", folder.manifest.id);
        }
    }
}

/// What the closed tables of HL7v2 become is never `unknown` where that would change what a resource means.
#[test]
fn no_status_of_the_library_is_unknown() {
    for (name, text) in LIBRARY_TABLES
        .iter()
        .filter(|(name, _)| ["v2-0085", "v2-0119", "v2-0123", "v2-0038", "v2-0271", "v2-0273"].contains(name))
    {
        let table = CodeTable::load(name, name, text.as_bytes(), &[]).unwrap();
        assert!(table.rows().iter().all(|row| row.target_code != "unknown"), "{name}");
    }
}

/// HL7 table 0085. `O` gives no Observation; every other code must say what it becomes, or a result is lost.
#[test]
fn every_result_status_of_hl7_has_its_observation_status() {
    let folder = CompiledFolder::new(load("umc-lab")).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let table = folder.folder().codes.get("v2-0085").unwrap();
    let status = |code: &str| match table.lookup("http://terminology.hl7.org/CodeSystem/v2-0085", code) {
        Lookup::Mapped(row) => row.target_code.clone(),
        Lookup::NoMap | Lookup::Unmapped => "-".to_owned(),
    };
    let found: Vec<String> =
        ["A", "B", "C", "D", "F", "I", "N", "O", "P", "R", "S", "U", "V", "W", "X"].map(status).to_vec();
    let expected = [
        "amended",
        "amended",
        "corrected",
        "entered-in-error",
        "final",
        "registered",
        "final",
        "-",
        "preliminary",
        "preliminary",
        "preliminary",
        "final",
        "final",
        "entered-in-error",
        "cancelled",
    ];
    assert_eq!(found, expected);
}

#[test]
fn case_inputs_are_written_in_the_character_set_of_their_sender() {
    for folder in SHIPPED.map(load) {
        for case in &folder.cases {
            let parsed = folder.parse(&case.input, Limits::default());
            let contradicted = parsed.findings.iter().any(|f| f.code == "charset-contradicted");
            assert_eq!(contradicted, case.name == "charset-contradicted", "{}", case.name);
        }
    }
}
