//! The trace as the FHIR Mapping Language's guide proposes it for `$transform` with `debug=true`.

use super::positions::Positions;
use super::{made, outcome, path};
use crate::finding::Severity;
use crate::output::Output;
use crate::plan::{EVENTS_MAX, Moment, Record};
use crate::run::CompiledFolder;
use crate::source::Tree;
use sluis_conformance::json::write_string;

/// FHIR `Parameters`: `return`, `traceStatus` (`complete`, `truncated`, `stopped`), a `trace` per event, `outcome`.
///
/// A `trace` has the parts `source` (file of the map), `startRow`, `startColumn`, `endRow`, `endColumn` (from 0), `expressionPosition` (in the
/// StructureMap), `phase` (`enter`, `step`, `exit`), `depth`, `variable` (the source item: its name, path and value) and, on a step that wrote
/// something, `message`. Holds the document's values.
/// Source: mapping-language-ig 0.1.0 debug.html; the text positions as `fml-engine` 0.2 writes them.
pub fn trace_parameters(record: &Record, compiled: &CompiledFolder, tree: &Tree, output: &Output) -> String {
    let files = compiled.plan().files();
    let positions = Positions::of(compiled);
    let refused = output.findings.iter().any(|finding| finding.severity == Severity::Fatal);
    let status = match (refused, record.events.len() < EVENTS_MAX) {
        (true, _) => "stopped",
        (false, false) => "truncated",
        (false, true) => "complete",
    };
    let mut json = String::from("{\"resourceType\":\"Parameters\",\"parameter\":[");
    json += &format!(
        "{{\"name\":\"return\",\"resource\":{}}},{{\"name\":\"traceStatus\",\"valueCode\":\"{status}\"}}",
        made(output)
    );
    for event in &record.events {
        let place = event.place;
        let end = files.place(place.file, place.end as usize, place.end as usize);
        json += ",{\"name\":\"trace\",\"part\":[";
        text("source", files.name(place.file), &mut json);
        for (name, number) in [
            ("startRow", place.line.saturating_sub(1)),
            ("startColumn", place.column.saturating_sub(1)),
            ("endRow", end.line.saturating_sub(1)),
            ("endColumn", end.column.saturating_sub(1)),
            ("depth", event.depth),
        ] {
            json += &format!(",{{\"name\":\"{name}\",\"valueInteger\":{number}}}");
        }
        let phase = match event.moment {
            Moment::Enter => "enter",
            Moment::Step => "step",
            Moment::Exit => "exit",
        };
        json += &format!(",{{\"name\":\"phase\",\"valueCode\":\"{phase}\"}},");
        let found = positions.find(place);
        if let Some((position, _)) = found {
            text("expressionPosition", position, &mut json);
            json.push(',');
        }
        json += "{\"name\":\"variable\",\"part\":[";
        text("name", found.map_or("source", |(_, variable)| variable), &mut json);
        json.push(',');
        text("contextType", "input", &mut json);
        json.push(',');
        text("path", &path(tree, event), &mut json);
        if let Some(value) = tree.text(event.node) {
            json.push(',');
            text("value", value, &mut json);
        }
        json += "]}";
        if event.moment == Moment::Step {
            json += ",{\"name\":\"message\",\"part\":[";
            let value = event.value.as_deref().map(|value| format!(" = {value}")).unwrap_or_default();
            text("text", &format!("{}{value}", event.name), &mut json);
            json += "]}";
        }
        json += "]}";
    }
    json + &format!(",{{\"name\":\"outcome\",\"resource\":{}}}]}}", outcome(output))
}

fn text(name: &str, value: &str, json: &mut String) {
    *json += &format!("{{\"name\":\"{name}\",\"valueString\":");
    write_string(value, json);
    json.push('}');
}
