//! From an HL7v2 sample with results (`ORU^R01`): the worked folder `regio-lab` under another name, so that report, specimen, order,
//! corrections and every type of value are read by the library from the first day; the sample's own codes and units in tables to fill in.

use std::collections::BTreeMap;

use super::{Files, codes_header, quoted, rename};
use crate::case::lint::is_ucum;
use crate::codes::Lookup;
use crate::run::{LIBRARY_TABLES, library_tables};
use crate::source::{NodeId, Tree};

const MAP: &str = include_str!("../../../regio-lab/map.fml");
const MANIFEST: &str = include_str!("../../../regio-lab/mapping.toml");
/// Namespaces of the worked folder: of its resources, and of its own codes.
const RESOURCES: &str = "urn:oid:2.999.90000901.1";
const CODES: &str = "urn:oid:2.999.90000901.2";

/// Files of the folder but its case. Errors: an id that is none.
pub(super) fn folder(id: &str, sender: &str, charset: &str, tree: &Tree) -> Result<Files, String> {
    let sample = Sample::of(tree);
    let own = format!("https://sluis.care/fhir/NamingSystem/{id}-code");
    let resources = format!("https://sluis.care/fhir/NamingSystem/{id}");
    let locals: Vec<String> =
        sample.systems.iter().map(|name| format!("C3 = {}", super::literal(name))).collect();
    let locals = if locals.is_empty() { "C3 = 'L'".to_owned() } else { locals.join(" or ") };
    let title: String = id.split('-').map(super::capital).collect();
    let map = MAP
        .replace("StructureMap/regio-lab\" = \"RegioLab\"", &format!("StructureMap/{id}\" = \"{title}\""))
        .replace(CODES, &own)
        .replace("C3 = 'L'", &locals);
    let map = map.split_once('\n').map_or(map.as_str(), |(_, rest)| rest);
    let map = format!(
        "/// TODO: one sentence on whose results these are. Begun as regio-lab, which lib/v2/result.fml explains.\n{map}"
    );
    let mut manifest = rename(id, sender, MANIFEST)?
        .replace(RESOURCES, &resources)
        .replace("[policies]", &format!("patient = \"{resources}-patient\"\n\n[policies]"))
        .replace("format = \"hl7v2\"\n", &format!("format = \"hl7v2\"\n{charset}"));
    // Its first line and title are about the worked folder.
    manifest = manifest
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            if line.starts_with("title") {
                format!("title = \"{id}\" # TODO: for people")
            } else {
                line.to_owned()
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
        + "\n";
    manifest = manifest.replace(
        "[identity]\n",
        "[identity]\n# TODO: a namespace of the sender's own, an OID or a URL it controls\n",
    );
    let mut tests = codes_header();
    for (code, name) in &sample.codes {
        tests += &format!(
            "{own},{},{},,,,noMap,TODO: find its LOINC code or leave it\n",
            quoted(code),
            quoted(name)
        );
    }
    let mut systems = codes_header();
    for name in if sample.systems.is_empty() { vec!["L".to_owned()] } else { sample.systems.clone() } {
        systems += &format!(",{},Own codes of the sender,,{own},,equal,\n", quoted(&name));
    }
    let mut files = Files::from([
        ("map.fml".to_owned(), map.into_bytes()),
        ("codes/tests.csv".to_owned(), tests.into_bytes()),
        ("codes/v2-0396.csv".to_owned(), systems.into_bytes()),
    ]);
    if !sample.units.is_empty() {
        let mut units = codes_header();
        for unit in &sample.units {
            let unit = quoted(unit);
            units += &if is_ucum(&unit) {
                format!(
                    ",{unit},,http://unitsofmeasure.org,{unit},{unit},equivalent,TODO: is it this unit of UCUM?\n"
                )
            } else {
                format!(",{unit},,,,,noMap,TODO: find its unit in UCUM\n")
            };
        }
        files.insert("codes/units.csv".to_owned(), units.into_bytes());
        manifest = manifest
            .replace("[codes.v2-0396]", "[codes.units]\nfile = \"codes/units.csv\"\n\n[codes.v2-0396]");
    }
    files.insert("mapping.toml".to_owned(), manifest.into_bytes());
    Ok(files)
}

/// What a sample has that the library does not know.
#[derive(Default)]
struct Sample {
    /// Names of code systems in OBX-3.3.
    systems: Vec<String>,
    /// Codes of those, with their names.
    codes: BTreeMap<String, String>,
    units: Vec<String>,
}

impl Sample {
    fn of(tree: &Tree) -> Sample {
        let tables = library_tables(&LIBRARY_TABLES);
        let known = |table: &str, code: &str| {
            tables.get(table).is_some_and(|table| matches!(table.lookup("", code), Lookup::Mapped(_)))
        };
        let mut sample = Sample::default();
        let mut queue: Vec<NodeId> = vec![tree.root()];
        let mut results = Vec::new();
        while let Some(node) = queue.pop() {
            for child in tree.children(node) {
                match tree.name(child) {
                    "OBX" => results.push(child),
                    // Groups have longer names than segments, which hold no segment.
                    name if name.len() > 3 => queue.push(child),
                    _ => {}
                }
            }
        }
        results.sort_by_key(|node| node.0);
        let part = |of: NodeId, name: &str| tree.named(of, name).next();
        let text =
            |node: Option<NodeId>| node.and_then(|node| tree.text(node)).unwrap_or_default().to_owned();
        for obx in results {
            if let Some(code) = part(obx, "OBX_3") {
                let system = text(part(code, "C3"));
                if !system.is_empty() && !known("v2-0396", &system) {
                    if !sample.systems.contains(&system) {
                        sample.systems.push(system);
                    }
                    sample.codes.insert(text(part(code, "C1")), text(part(code, "C2")));
                }
            }
            let unit =
                part(obx, "OBX_6").map(|unit| text(part(unit, "C1").or(Some(unit)))).unwrap_or_default();
            if !unit.is_empty() && !known("units", &unit) && !sample.units.contains(&unit) {
                sample.units.push(unit);
            }
        }
        sample
    }
}
