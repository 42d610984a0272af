//! The trace as the FHIRPath Lab's debuggers replay it: its page, and the extension "FHIR Mapping Language Tools" of VS Code.

use std::collections::BTreeMap;

use super::positions::Positions;
use super::{made, outcome, path};
use crate::fml::{Files, Place};
use crate::output::Output;
use crate::plan::{Moment, Record};
use crate::run::CompiledFolder;
use crate::source::Tree;
use sluis_conformance::json::write_string;

const LAB: &str = "http://fhirpath-lab.com/StructureDefinition";
const JSON_VALUE: &str = "http://fhir.forms-lab.com/StructureDefinition/json-value";

/// FHIR `Parameters`: `outcome`, `result` (JSON text), `parameters` (the evaluator) and one `trace` with a part `debug` per event. Its text
/// tells the depth by its indent and a rule by the word `rule`; extensions tell its place in the map (`start - end`, UTF-16 units), the file,
/// its phase and the source item. Holds the document's values.
/// Source: the FML Debugger API of the FHIRPath Lab, "Response".
pub fn lab_parameters(record: &Record, compiled: &CompiledFolder, tree: &Tree, output: &Output) -> String {
    let files = compiled.plan().files();
    let positions = Positions::of(compiled);
    let mut units = Units { files, before: BTreeMap::new() };
    let mut json = String::from("{\"resourceType\":\"Parameters\",\"parameter\":[");
    json += &format!("{{\"name\":\"outcome\",\"resource\":{}}},", outcome(output));
    json += "{\"name\":\"result\",\"valueString\":";
    write_string(&made(output), &mut json);
    json += "},{\"name\":\"parameters\",\"part\":[{\"name\":\"evaluator\",\"valueString\":\"Sluis ";
    json += env!("CARGO_PKG_VERSION");
    json += "\"}]},{\"name\":\"trace\",\"part\":[";
    for (at, event) in record.events.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        let place = event.place;
        let (start, end) = units.range(place);
        let phase = match event.moment {
            Moment::Enter => "Enter",
            Moment::Step => "Step",
            Moment::Exit => "Exit",
        };
        json +=
            &format!("{{\"extension\":[{{\"url\":\"{LAB}/Cursor\",\"valueString\":\"{start} - {end}\"}},");
        json += "{\"url\":\"http://hl7.org/fhir/StructureDefinition/operationoutcome-file\",\"valueString\":";
        write_string(files.name(place.file), &mut json);
        json += &format!("}},{{\"url\":\"{LAB}/TracePhase\",\"valueString\":\"{phase}\"}}");
        json += &format!(",{{\"url\":\"{LAB}/TraceDepth\",\"valueInteger\":{}}}", event.depth);
        json += &format!(
            ",{{\"url\":\"{LAB}/Variable\",\"extension\":[{{\"url\":\"name-INPUT\",\"valueString\":"
        );
        write_string(positions.find(place).map_or("source", |(_, variable)| variable), &mut json);
        json += "},{\"url\":\"path\",\"valueString\":";
        write_string(&path(tree, event), &mut json);
        json.push('}');
        if let Some(value) = tree.text(event.node) {
            let mut quoted = String::new();
            write_string(value, &mut quoted);
            json += &format!(",{{\"url\":\"{JSON_VALUE}\",\"valueString\":");
            write_string(&quoted, &mut json);
            json.push('}');
        }
        json += "]}],\"name\":\"debug\",\"valueString\":";
        let indent = "  ".repeat(event.depth.saturating_sub(1) as usize);
        let name = if event.name.is_empty() { files.show(place) } else { event.name.clone() };
        let value = event.value.as_deref().map(|value| format!(" = {value}")).unwrap_or_default();
        let text = match event.moment {
            Moment::Enter => format!("{indent}rule : {name}"),
            Moment::Step => format!("{indent}  {name}{value}"),
            Moment::Exit => format!("{indent}end : {name}"),
        };
        write_string(&text, &mut json);
        json.push('}');
    }
    json + "]}]}"
}

/// Places in UTF-16 units. A map is read from its start once per place that is asked for.
struct Units<'f> {
    files: &'f Files,
    before: BTreeMap<(u16, u32), u32>,
}

impl Units<'_> {
    fn range(&mut self, place: Place) -> (u32, u32) {
        (self.at(place.file, place.start), self.at(place.file, place.end))
    }

    fn at(&mut self, file: u16, byte: u32) -> u32 {
        let text = self.files.text(file);
        *self.before.entry((file, byte)).or_insert_with(|| {
            let before = text.get(..byte as usize).unwrap_or(text);
            u32::try_from(before.encode_utf16().count()).unwrap_or(u32::MAX)
        })
    }
}
