//! A recorded run as text for a terminal, and as the `Parameters` that debuggers of the FHIR Mapping Language replay: in the form of the
//! language's guide, and in that of the FHIRPath Lab and its VS Code extension.

mod guide;
mod lab;
mod positions;

pub use guide::trace_parameters;
pub use lab::lab_parameters;

use crate::finding::Finding;
use crate::output::{Output, UnitState};
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

fn path(tree: &Tree, event: &Event) -> String {
    let path = tree.path(event.node);
    if path.is_empty() { tree.name(event.node).to_owned() } else { path }
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" \"{name}\"") }
}

/// What came of the document as one resource: the only one there is, else a Bundle of all.
fn made(output: &Output) -> String {
    let ready = output.units.iter().filter(|unit| unit.state == UnitState::Ready);
    let resources: Vec<&str> = ready.filter_map(|unit| unit.resource.as_deref()).collect();
    if let [one] = resources.as_slice() {
        return (*one).to_owned();
    }
    let entries: Vec<String> =
        resources.iter().map(|resource| format!("{{\"resource\":{resource}}}")).collect();
    match entries.as_slice() {
        [] => "{\"resourceType\":\"Bundle\",\"type\":\"collection\"}".to_owned(),
        entries => format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{}]}}",
            entries.join(",")
        ),
    }
}

/// What the run has to say, as an OperationOutcome: an issue per finding, its place in the map in the extensions FHIR has for it
/// (operationoutcome-file, -issue-line, -issue-col), its place in the document in `expression`.
fn outcome(output: &Output) -> String {
    let all: Vec<&Finding> =
        output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings)).collect();
    let mut json = String::from("{\"resourceType\":\"OperationOutcome\",\"issue\":[");
    if all.is_empty() {
        json += "{\"severity\":\"information\",\"code\":\"informational\"}";
    }
    for (at, finding) in all.into_iter().enumerate() {
        json += if at > 0 { ",{" } else { "{" };
        let mut rule = finding.rule.as_deref().unwrap_or_default().rsplitn(3, ':');
        if let (Some(column), Some(line), Some(file)) = (rule.next(), rule.next(), rule.next()) {
            const AT: &str = "http://hl7.org/fhir/StructureDefinition/operationoutcome";
            json += &format!("\"extension\":[{{\"url\":\"{AT}-file\",\"valueString\":");
            write_string(file, &mut json);
            json += &format!(
                "}},{{\"url\":\"{AT}-issue-line\",\"valueInteger\":{line}}},\
                 {{\"url\":\"{AT}-issue-col\",\"valueInteger\":{column}}}],"
            );
        }
        json += &format!(
            "\"severity\":\"{}\",\"code\":\"processing\",\"details\":{{\"text\":",
            finding.severity.as_str()
        );
        write_string(format!("{} {}", finding.text, finding.remedy).trim(), &mut json);
        json += "},\"diagnostics\":";
        write_string(finding.code, &mut json);
        if !finding.path.is_empty() {
            json += ",\"expression\":[";
            write_string(&finding.path, &mut json);
            json.push(']');
        }
        json.push('}');
    }
    json + "]}"
}
