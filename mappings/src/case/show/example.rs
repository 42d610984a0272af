//! What became of the cases, a line per resource.

use super::sheet::Section;
use super::{Language, head, words};
use crate::case::prove;
use crate::finding::Severity;
use crate::output::{Unit, UnitState};
use crate::run::CompiledFolder;
use sluis_conformance::json::{Doc, JsonLimits, Node};

/// Cases shown as an example, and resources of each.
const EXAMPLES_MAX: usize = 3;
const EXAMPLE_ROWS_MAX: usize = 40;

pub(super) fn examples(compiled: &CompiledFolder, language: Language) -> Vec<Section> {
    let proofs = prove(compiled);
    let mut sections = Vec::new();
    for case in compiled.folder().cases.iter().take(EXAMPLES_MAX) {
        let green = proofs.iter().any(|proof| proof.name == case.name && proof.passed());
        let output = compiled.run(&case.input);
        let rows: Vec<Vec<String>> =
            output.units.iter().take(EXAMPLE_ROWS_MAX).map(|unit| example(unit, language)).collect();
        let more = output.units.len().saturating_sub(rows.len());
        let mut lines = Vec::new();
        if !green {
            lines.push(
                language
                    .of("What is expected of it is not settled.", "Wat ervan verwacht wordt staat niet vast.")
                    .to_owned(),
            );
        }
        if more > 0 {
            lines.push(format!(
                "{more} {}",
                language.of("more are in the case.", "meer staan in het voorbeeld.")
            ));
        }
        sections.push(Section {
            heading: format!("{} `{}`", language.of("Example", "Voorbeeld"), case.name),
            lines,
            head: head(
                language,
                &[
                    ("Source", "Bron"),
                    ("What it is", "Wat het is"),
                    ("Value", "Waarde"),
                    ("Date", "Datum"),
                    ("Status", "Status"),
                ],
            ),
            rows,
        });
    }
    sections
}

/// A resource in a line: where it came from, what it is, its value, date and status; or why it waits.
fn example(unit: &Unit, language: Language) -> Vec<String> {
    let label = format!("`{}`", unit.label);
    let waits: Vec<&str> =
        unit.findings.iter().filter(|f| f.severity >= Severity::Error).map(|f| f.text.as_str()).collect();
    let doc = unit
        .resource
        .as_ref()
        .and_then(|text| Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).ok());
    let Some(doc) = doc.filter(|_| unit.state == UnitState::Ready) else {
        let why = format!("{} {}", language.of("waits:", "wacht:"), waits.join(" "));
        return vec![label, why, String::new(), String::new(), String::new()];
    };
    let root = doc.root();
    let text = |node: Node<'_>| {
        node.as_str().map(std::borrow::Cow::into_owned).unwrap_or_else(|| node.raw().to_owned())
    };
    let concept = |node: Node<'_>| -> String {
        let shown = node.get("text").or_else(|| {
            let coding = node.get("coding")?.items().next()?;
            coding.get("display").or_else(|| coding.get("code"))
        });
        shown.map(text).unwrap_or_default()
    };
    let first = |names: &[&str]| names.iter().find_map(|name| root.get(name));
    let type_name = root.get("resourceType").map(text).unwrap_or_default();
    let code = first(&["code", "vaccineCode", "medicationCodeableConcept", "type", "category"])
        .map(|node| concept(node.items().next().unwrap_or(node)))
        .filter(|text| !text.is_empty());
    let what = code.unwrap_or_else(|| words::type_name(&type_name, language));
    let value = match first(&[
        "valueQuantity",
        "valueCodeableConcept",
        "valueString",
        "valueInteger",
        "valueDateTime",
        "valueBoolean",
    ]) {
        Some(node) if node.get("value").is_some() => {
            let number = node.get("value").map(text).unwrap_or_default();
            format!("{number} {}", node.get("unit").map(text).unwrap_or_default()).trim_end().to_owned()
        }
        Some(node) if node.get("coding").is_some() || node.get("text").is_some() => concept(node),
        Some(node) => text(node),
        None => directive(root, language).unwrap_or_default(),
    };
    let date = first(&[
        "effectiveDateTime",
        "dateTime",
        "onsetDateTime",
        "recordedDate",
        "authoredOn",
        "performedDateTime",
        "created",
        "date",
    ])
    .or_else(|| first(&["effectivePeriod", "period", "executionPeriod", "performedPeriod"])?.get("start"));
    let status = first(&["status", "clinicalStatus"])
        .map(|node| if node.get("coding").is_some() { concept(node) } else { text(node) });
    vec![label, what, value, date.map(text).unwrap_or_default(), status.unwrap_or_default()]
}

/// What a directive decides, which no sheet may leave unsaid.
fn directive(root: Node<'_>, language: Language) -> Option<String> {
    let kind = root.get("provision")?.get("type")?.as_str()?.into_owned();
    Some(match kind.as_str() {
        "deny" => language.of("do not perform", "niet uitvoeren").to_owned(),
        "permit" => language.of("perform", "wel uitvoeren").to_owned(),
        other => other.to_owned(),
    })
}
