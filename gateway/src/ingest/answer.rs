//! What the sender is told: an OperationOutcome with the counts, what every unit became, and each finding with its place
//! in the source.
//!
//! The text is a function of what happened, so that a resend is answered byte for byte from the receipt.

use http::StatusCode;
use serde_json::{Value, json};

use super::difference::Pair;
use super::note::Note;
use crate::interaction::splice::CANONICAL;
use crate::response::refusal::Reason;

/// Issues in one answer; the rest is in the quarantine list and in the Provenance.
const ISSUES_MAX: usize = 1_000;

/// What became of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Did {
    /// A new resource.
    Created,
    /// A new version.
    Updated,
    /// The stored version says the same.
    Unchanged,
    /// The stored version comes from a later statement of the same source.
    Stale,
    /// Kept for mending.
    Kept,
    /// Set aside on purpose, and not applied.
    Discarded,
}

impl Did {
    /// As in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Did::Created => "created",
            Did::Updated => "updated",
            Did::Unchanged => "unchanged",
            Did::Stale => "stale",
            Did::Kept => "quarantined",
            Did::Discarded => "discarded",
        }
    }
}

/// What is told of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitReport {
    /// `OBX[4]`, `row[7]`.
    pub label: String,
    /// What became of it.
    pub did: Did,
    /// `Type/id/_history/version`, when it is in the store.
    pub reference: Option<String>,
    /// In a dry run: what stands and what would, where the asker may read it.
    pub pair: Option<Pair>,
    /// Findings.
    pub notes: Vec<Note>,
}

/// What is told of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Content address of the document.
    pub sha256: String,
    /// `id|version` of the map; empty for R4.
    pub map: String,
    /// Units in source order.
    pub units: Vec<UnitReport>,
    /// Findings about the whole.
    pub notes: Vec<Note>,
    /// The document could not be read, and was set aside as a whole.
    pub discarded: bool,
}

impl Report {
    /// Number of units that ended so.
    pub fn count(&self, did: Did) -> usize {
        self.units.iter().filter(|unit| unit.did == did).count()
    }

    /// 200 when something of the document is in the store, 422 when it is kept as a whole.
    pub fn status(&self) -> StatusCode {
        if self.units.iter().any(|unit| !matches!(unit.did, Did::Kept | Did::Discarded)) {
            StatusCode::OK
        } else {
            Reason::Quarantined.row().status
        }
    }

    /// The outcomes of a document: `applied`, `applied-with-findings`, `quarantined`, and `discarded` where nothing of it waits
    /// and nothing was applied.
    pub fn outcome(&self) -> &'static str {
        let findings = self.units.iter().flat_map(|u| &u.notes).chain(&self.notes);
        if self.status() != StatusCode::OK {
            let is_discarded = self.discarded || self.count(Did::Discarded) > 0;
            if is_discarded && self.count(Did::Kept) == 0 { "discarded" } else { "quarantined" }
        } else if self.count(Did::Kept) > 0 || findings.into_iter().any(|n| n.severity != "information") {
            "applied-with-findings"
        } else {
            "applied"
        }
    }

    /// The OperationOutcome, JSON text (FHIR R4 operationoutcome.html).
    pub fn to_outcome(&self) -> String {
        let mut issues = vec![self.summary()];
        issues.extend(self.notes.iter().map(issue));
        for unit in &self.units {
            issues.push(unit_issue(unit));
            issues.extend(unit.notes.iter().map(issue));
        }
        if issues.len() > ISSUES_MAX {
            let more = issues.len() - (ISSUES_MAX - 1);
            issues.truncate(ISSUES_MAX - 1);
            issues.push(json!({
                "severity": "information", "code": "too-long",
                "diagnostics": format!("{more} more issues are not shown; what waits for mending is in $quarantine."),
            }));
        }
        json!({ "resourceType": "OperationOutcome", "issue": issues }).to_string()
    }

    /// The findings about the whole alone, as OperationOutcome.
    pub fn to_findings(&self) -> String {
        let issues: Vec<Value> = self.notes.iter().take(ISSUES_MAX).map(issue).collect();
        json!({ "resourceType": "OperationOutcome", "issue": issues }).to_string()
    }

    fn summary(&self) -> Value {
        let outcome = self.outcome();
        let counts = [Did::Created, Did::Updated, Did::Unchanged, Did::Stale, Did::Kept]
            .map(|did| format!("{} {}", self.count(did), did.as_str()))
            .join(", ");
        let discarded = match self.count(Did::Discarded) {
            0 => String::new(),
            count => format!(", {count} {}", Did::Discarded.as_str()),
        };
        let map = if self.map.is_empty() { String::new() } else { format!(" Map {}.", self.map) };
        let mut diagnostics = format!("{counts}{discarded}. Document urn:sha256:{}.{map}", self.sha256);
        let (severity, code) = match outcome {
            "applied" => ("information", "informational"),
            "applied-with-findings" => ("warning", "processing"),
            "discarded" => ("error", "processing"),
            _ => {
                let row = Reason::Quarantined.row();
                diagnostics = format!("{} {diagnostics} {}", row.text, row.remedy);
                ("error", row.code)
            }
        };
        json!({
            "severity": severity, "code": code, "details": coded("ingest-outcome", outcome), "diagnostics": diagnostics,
        })
    }
}

fn unit_issue(unit: &UnitReport) -> Value {
    let severity = if matches!(unit.did, Did::Kept | Did::Discarded) { "warning" } else { "information" };
    let target = unit.reference.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
    let mut issue = json!({
        "severity": severity, "code": "informational", "details": coded("ingest-outcome", unit.did.as_str()),
        "diagnostics": format!("{} {}{target}", unit.label, unit.did.as_str()),
    });
    if let Some(reference) = &unit.reference {
        issue["extension"] = json!([{
            "url": format!("{CANONICAL}/StructureDefinition/written-resource"),
            "valueReference": { "reference": reference },
        }]);
    }
    place(&mut issue, &unit.label);
    issue
}

fn issue(note: &Note) -> Value {
    let mut diagnostics = format!("{} {}", note.text, note.remedy);
    let mut at = Vec::new();
    if note.line > 0 {
        at.push(format!("line {}", note.line));
    }
    if note.column > 0 {
        at.push(format!("column {}", note.column));
    }
    if note.end > note.start {
        at.push(format!("bytes {}-{}", note.start, note.end));
    }
    at.extend(note.rule.clone());
    if !at.is_empty() {
        diagnostics = format!("{} ({})", diagnostics.trim_end(), at.join(", "));
    }
    let code = match note.code.as_str() {
        _ if note.severity == "information" => "informational",
        "code-unmapped" => "code-invalid",
        "patient-unknown" | "correction-without-original" | "reference-unresolved" => "not-found",
        "patient-ambiguous" => "multiple-matches",
        "stale" | "message-key-reused" => "conflict",
        _ if note.severity == "fatal" => "structure",
        _ => "processing",
    };
    let mut issue = json!({
        "severity": note.severity, "code": code, "details": coded("ingest-finding", &note.code),
        "diagnostics": diagnostics.trim_end(),
    });
    place(&mut issue, &note.path);
    issue
}

fn coded(system: &str, code: &str) -> Value {
    json!({ "coding": [{ "system": format!("{CANONICAL}/CodeSystem/{system}"), "code": code }] })
}

/// Place in the source document. Its paths (`OBX[4].OBX_5`) have the form of FHIRPath, over the source tree.
fn place(issue: &mut Value, path: &str) {
    if !path.is_empty() {
        issue["expression"] = json!([path]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(label: &str, did: Did, notes: Vec<Note>) -> UnitReport {
        UnitReport { label: label.to_owned(), did, reference: None, pair: None, notes }
    }

    fn report(units: Vec<UnitReport>) -> Report {
        Report {
            sha256: "0".repeat(64),
            map: "lab|1.0.0".to_owned(),
            units,
            notes: Vec::new(),
            discarded: false,
        }
    }

    #[test]
    fn a_document_with_one_bad_unit_is_applied_with_findings() {
        let mut note = Note::new("error", "code-unmapped", "No translation.", "Add a row.");
        note.path = "OBX[2].OBX_3".to_owned();
        (note.start, note.end, note.line) = (10, 20, 4);
        let report =
            report(vec![unit("OBX[1]", Did::Created, vec![]), unit("OBX[2]", Did::Kept, vec![note])]);
        assert_eq!((report.status(), report.outcome()), (StatusCode::OK, "applied-with-findings"));
        let text = report.to_outcome();
        assert!(text.contains("1 created, 0 updated, 0 unchanged, 0 stale, 1 quarantined"), "{text}");
        assert!(
            text.contains("(line 4, bytes 10-20)") && text.contains(r#""expression":["OBX[2].OBX_3"]"#),
            "{text}"
        );
        assert!(text.contains("code-invalid"));
    }

    #[test]
    fn a_document_of_which_nothing_is_stored_is_unprocessable() {
        let report = report(vec![unit("", Did::Kept, vec![])]);
        assert_eq!((report.status().as_u16(), report.outcome()), (422, "quarantined"));
    }

    #[test]
    fn a_long_answer_says_what_it_leaves_out() {
        let report = report((0..3_000).map(|n| unit(&format!("row[{n}]"), Did::Created, vec![])).collect());
        let value: Value = serde_json::from_str(&report.to_outcome()).unwrap_or_default();
        assert_eq!(value["issue"].as_array().map(Vec::len), Some(ISSUES_MAX));
        assert_eq!(value["issue"][ISSUES_MAX - 1]["code"], "too-long");
    }
}
