//! `StructureMap/$transform` (FHIR R4 structuremap-operation-transform.html): a map of this gateway run on what is sent, nothing stored.
//!
//! `source` names a map in force by its canonical, `content` is what it reads. The answer holds nothing but what was sent, turned. What
//! would wait in quarantine is refused here, with every finding and its place.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use sluis_conformance::json::{Doc, Kind, Node};
use sluis_mappings::finding::{Finding, Severity};
use sluis_mappings::output::UnitState;

use super::Facts;
use super::found_body;
use super::perform::{Aside, append, blocking, record};
use crate::connection::request::Interaction;
use crate::decision::Permit;
use crate::gateway::Gateway;
use crate::ingest::map::NotTransformed;
use crate::response::Answer;
use crate::response::refusal::{Issue, Reason, Refusal};

/// What is asked.
struct Asked<'d> {
    source: String,
    content: Node<'d>,
}

/// Runs it. Errors: those of the Parameters; `ParameterInvalid` for a map that is not in force; `Invalid` for what the map cannot make
/// R4 of. Nothing is stored whatever happens.
pub async fn transform(
    gateway: &Gateway,
    permit: &Permit,
    doc: &Arc<Doc>,
    interaction: &Interaction,
    aside: &Aside,
) -> Result<Answer, Refusal> {
    let asked = asked(doc)?;
    let maps = gateway.parts().intake.maps();
    let made = blocking(|| maps.transform(&asked.source, asked.content.raw().as_bytes()));
    let output = made.map_err(|why| match why {
        NotTransformed::Unknown => {
            let text = "No map in force has this canonical; StructureMap/$transform takes those of the mapping folders.";
            Refusal::new(Reason::ParameterInvalid, text).at("source")
        }
        NotTransformed::Format(format) => {
            let text = format!("This map reads {format}, which no resource is; send the document to $ingest.");
            Refusal::new(Reason::ParameterInvalid, text).at("source")
        }
    })?;
    let findings: Vec<&Finding> =
        output.findings.iter().chain(output.units.iter().flat_map(|unit| &unit.findings)).collect();
    let is_whole = output.units.iter().all(|unit| unit.state == UnitState::Ready);
    let resources: Vec<&str> = output.units.iter().filter_map(|unit| unit.resource.as_deref()).collect();
    if !is_whole || resources.is_empty() || findings.iter().any(|finding| finding.severity >= Severity::Error)
    {
        let issues: Vec<Issue> = findings.iter().map(|finding| issue(finding)).collect();
        let refusal = Refusal::new(Reason::Invalid, "The map makes no valid R4 of this content.");
        return Err(if issues.is_empty() { refusal } else { refusal.with_issues(issues) });
    }
    let answer = match resources.as_slice() {
        [one] => (*one).to_owned(),
        several => {
            let entries: Vec<String> =
                several.iter().map(|resource| format!("{{\"resource\":{resource}}}")).collect();
            format!(
                "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{}]}}",
                entries.join(",")
            )
        }
    };
    let told: Vec<serde_json::Value> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Warning)
        .map(|finding| {
            let issue = issue(finding);
            json!({"severity": issue.severity, "code": issue.code, "diagnostics": issue.diagnostics, "expression": issue.expression})
        })
        .collect();
    let body = match told.is_empty() {
        true => answer,
        // What the map could not take along is told beside what it made, never left out.
        false => {
            let outcome = json!({"resourceType": "OperationOutcome", "issue": told});
            format!(
                "{{\"resourceType\":\"Parameters\",\"parameter\":[{{\"name\":\"return\",\"resource\":{answer}}},{{\"name\":\"outcome\",\"resource\":{outcome}}}]}}"
            )
        }
    };
    append(gateway, permit, record(aside, permit, interaction, &Facts::default())).await?;
    Ok(Answer::fhir(StatusCode::OK, found_body(body.into(), aside.format)))
}

/// Reads the Parameters: `source` (uri or canonical) and `content` (a resource, or what a logical model calls one).
///
/// Errors: `Malformed`, `ParameterUnknown`, `ParameterInvalid`.
fn asked(doc: &Doc) -> Result<Asked<'_>, Refusal> {
    let invalid = |at: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(at);
    let (mut source, mut content) = (None, None);
    for part in doc.root().get("parameter").into_iter().flat_map(Node::items) {
        let name = part.get("name").and_then(Node::as_str).unwrap_or_default();
        let value = |name: &str| part.get(name);
        match &*name {
            "source" if source.is_some() => return Err(invalid("source", "It stands once.")),
            "source" => {
                let named = value("valueUri").or_else(|| value("valueCanonical")).and_then(Node::as_str);
                source = Some(named.ok_or_else(|| invalid("source", "It is a uri."))?.into_owned());
            }
            "content" if content.is_some() => return Err(invalid("content", "It stands once.")),
            "content" => content = value("resource").filter(|node| node.kind() == Kind::Object),
            other => {
                let shown: String = other.chars().take(64).collect();
                return Err(Refusal::new(Reason::ParameterUnknown, "It takes source and content.").at(shown));
            }
        }
    }
    let source = source.ok_or_else(|| invalid("source", "The canonical of a map is due."))?;
    let content = content.ok_or_else(|| invalid("content", "The resource to be transformed is due."))?;
    Ok(Asked { source, content })
}

fn issue(finding: &Finding) -> Issue {
    let severity = match finding.severity {
        Severity::Fatal => "fatal",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Information => "information",
    };
    let rule = finding.rule.as_deref().map(|rule| format!(" (rule {rule})")).unwrap_or_default();
    let expression = if finding.path.is_empty() { Vec::new() } else { vec![finding.path.clone()] };
    let diagnostics = format!("{}: {} {}{rule}", finding.code, finding.text, finding.remedy);
    Issue { severity, code: "processing", diagnostics, expression }
}
