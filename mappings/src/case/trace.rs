//! A recorded run as text for a terminal, and as the `Parameters` that debuggers of the FHIR Mapping Language replay.

use crate::plan::{Event, Moment, Record};
use crate::run::CompiledFolder;
use crate::source::{Span, Tree};
use sluis_conformance::json::write_string;

/// What a run did, indented: a line as a rule starts on a source item, a line per target with its value, a line as it ends.
pub fn render_trace(record: &Record, compiled: &CompiledFolder, tree: &Tree) -> String {
    let files = compiled.plan().files();
    let mut text = String::new();
    for event in &record.events {
        let indent = "  ".repeat(event.depth.saturating_sub(1) as usize);
        let Span { start, end } = tree.node(event.node).span;
        let name = quoted(&event.name);
        let line = match event.moment {
            Moment::Enter => format!(
                "{indent}> {}{name} on {} [{start}-{end}]{}",
                files.show(event.place),
                path(tree, event),
                tree.text(event.node).map(|value| format!(" = {value}")).unwrap_or_default()
            ),
            Moment::Step => match &event.value {
                Some(value) => format!("{indent}  . {} = {value}", event.name),
                None => format!("{indent}  . {}", event.name),
            },
            Moment::Exit => format!("{indent}< {}{name}", files.show(event.place)),
        };
        text += &line;
        text.push('\n');
    }
    text
}

/// The same as FHIR `Parameters`: `outcome`, `result`, `parameters` (the evaluator) and `trace`, a part `debug` per event
/// with its place in the map (`start - length`, bytes) and the source item as input variable.
/// Source: the response to `StructureMap/$transform?debug=true` that the FHIR Mapping Lab and the FML debugger of VS Code
/// read.
pub fn trace_parameters(record: &Record, compiled: &CompiledFolder, tree: &Tree, result: &str) -> String {
    const LAB: &str = "http://fhirpath-lab.com/StructureDefinition";
    let files = compiled.plan().files();
    let mut json = String::from(
        "{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"outcome\",\"resource\":{\"resourceType\":\
         \"OperationOutcome\",\"issue\":[{\"severity\":\"information\",\"code\":\"informational\"}]}},\
         {\"name\":\"result\",\"valueString\":",
    );
    write_string(result, &mut json);
    json += "},{\"name\":\"parameters\",\"part\":[{\"name\":\"evaluator\",\"valueString\":\"Sluis ";
    json += env!("CARGO_PKG_VERSION");
    json += "\"}]},{\"name\":\"trace\",\"part\":[";
    for (at, event) in record.events.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        let place = event.place;
        json += &format!(
            "{{\"extension\":[{{\"url\":\"{LAB}/Cursor\",\"valueString\":\"{} - {}\"}},",
            place.start, place.end
        );
        json += "{\"url\":\"http://hl7.org/fhir/StructureDefinition/operationoutcome-file\",\"valueString\":";
        write_string(files.name(place.file), &mut json);
        json += &format!(
            "}},{{\"url\":\"{LAB}/Variable\",\"extension\":[{{\"url\":\"name-INPUT\",\"valueString\":\"source\"}},\
             {{\"url\":\"path\",\"valueString\":"
        );
        write_string(&path(tree, event), &mut json);
        json.push('}');
        if let Some(value) = tree.text(event.node) {
            json += ",{\"url\":\"value\",\"valueString\":";
            write_string(value, &mut json);
            json.push('}');
        }
        json += "]}],\"name\":\"debug\",\"valueString\":";
        let indent = "  ".repeat(event.depth.saturating_sub(1) as usize);
        let what = match event.moment {
            Moment::Enter => "enter : ",
            Moment::Step => "step : ",
            Moment::Exit => "exit : ",
        };
        let value = event.value.as_deref().map(|value| format!(" = {value}")).unwrap_or_default();
        let name = if event.name.is_empty() { files.show(place) } else { event.name.clone() };
        write_string(&format!("{indent}{what}{name}{value}"), &mut json);
        json.push('}');
    }
    json + "]}]}"
}

fn path(tree: &Tree, event: &Event) -> String {
    let path = tree.path(event.node);
    if path.is_empty() { tree.name(event.node).to_owned() } else { path }
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" \"{name}\"") }
}
