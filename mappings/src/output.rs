//! What one document becomes: units to write or to keep in quarantine, and what is said about them.
//!
//! Made by the plan, consumed by the gateway's ingest. Knows no store and no transport.

mod coverage;

use std::fmt;

pub use coverage::Coverage;

use crate::{
    finding::{Finding, Severity},
    source::{Format, Parsed, Span, locate::Lines},
};

/// Everything that came of one document.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// In source order; each is written, or kept, on its own.
    pub units: Vec<Unit>,
    /// Findings about the document as a whole. A `Fatal` one means `units` is empty.
    pub findings: Vec<Finding>,
    /// Which source leaves were read.
    pub coverage: Coverage,
}

/// One root resource and where it came from.
#[derive(Debug, Clone, Default)]
pub struct Unit {
    /// Path of the source node it hangs on: `OBX[4]`, `row[7]`, `Consent`.
    pub label: String,
    /// Source bytes it was made of.
    pub spans: Vec<Span>,
    /// FHIR R4 JSON, deterministic, decimals as sent; `None` when nothing could be built.
    pub resource: Option<String>,
    /// The same in XML, where it is no FHIR resource but an instance of a logical model that has a namespace (CDA).
    pub xml: Option<String>,
    /// Business identifier (system, value) and key of the conditional update; holds something patient-bound.
    pub identity: Option<(String, String)>,
    /// Whose data it is, as the source said.
    pub subject: Option<Subject>,
    /// What concerns this unit alone.
    pub findings: Vec<Finding>,
    /// FHIR `dateTime` the source gives its statement; an older one never overwrites a newer.
    pub source_time: Option<String>,
    /// Elements the document says nothing of (`telecom`, `period.start`): what the sender said of them before stays. In
    /// HL7v2 a field left out is not changed, and `""` takes its value away (v2.5.1 chapter 2.5.3, "Field status").
    pub left: Vec<String>,
    /// Of a Patient: the patient that takes the place of this one.
    pub replaced_by: Option<Subject>,
    /// Whether it may be written.
    pub state: UnitState,
}

/// Whether a unit may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UnitState {
    /// May be written.
    #[default]
    Ready,
    /// Kept with its findings until table, map or document is mended.
    Quarantined,
}

/// The patient as the source names them. Prints redacted.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// Nine digits that pass the eleven-test ([`crate::bsn`]).
    pub bsn: Option<String>,
    /// Other patient identifiers: (system, value).
    pub local: Vec<(String, String)>,
    /// Reference as the source said it, e.g. `Patient/40bb`.
    pub reference: Option<String>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Subject {{ bsn: {}, local: {}, reference: {} }}",
            if self.bsn.is_some() { "redacted" } else { "none" },
            self.local.len(),
            if self.reference.is_some() { "redacted" } else { "none" },
        )
    }
}

impl Unit {
    /// Adds a finding; from `Error` up the unit is quarantined.
    pub fn add(&mut self, finding: Finding) {
        if finding.severity >= Severity::Error {
            self.state = UnitState::Quarantined;
        }
        self.findings.push(finding);
    }

    fn overlaps(&self, span: Span) -> bool {
        // An empty span (a value that is missing) touches what surrounds it.
        self.spans.iter().any(|s| s.start < span.end.max(span.start.saturating_add(1)) && span.start < s.end)
    }
}

impl Output {
    /// The output of a document that is refused as a whole.
    pub fn refused(parsed: Parsed) -> Output {
        Output { units: Vec::new(), findings: parsed.findings, coverage: parsed.coverage }
    }

    /// Takes the parser's findings and coverage in.
    ///
    /// An `Error` goes to every unit whose bytes it touches; where it touches none (a row too ragged to be in the tree)
    /// it becomes a quarantined unit of its own, so that it can be mended and replayed. A `Fatal` empties `units`.
    /// Others go to the first unit they touch, else to the document.
    pub fn absorb(&mut self, findings: Vec<Finding>, coverage: &Coverage) {
        self.coverage.merge(coverage);
        for finding in findings {
            match finding.severity {
                Severity::Fatal => {
                    self.units.clear();
                    self.findings.push(finding);
                }
                Severity::Error => self.absorb_error(finding),
                Severity::Warning | Severity::Information => {
                    match self.units.iter_mut().find(|u| u.overlaps(finding.span)) {
                        Some(unit) => unit.add(finding),
                        None => self.findings.push(finding),
                    }
                }
            }
        }
        if self.findings.iter().any(|f| f.severity == Severity::Fatal) {
            self.units.clear();
        }
    }

    /// Fills in line and column of findings that have a span only (those of the plan and of coverage).
    pub fn locate(&mut self, format: Format, bytes: &[u8]) {
        let mut lines = None;
        for finding in self.findings.iter_mut().chain(self.units.iter_mut().flat_map(|u| &mut u.findings)) {
            if finding.line == 0 && finding.span != Span::default() {
                let lines = lines.get_or_insert_with(|| Lines::new(format, bytes));
                (finding.line, finding.column) = lines.locate(finding.span);
            }
        }
    }

    fn absorb_error(&mut self, finding: Finding) {
        let mut touched = false;
        for unit in self.units.iter_mut().filter(|u| u.overlaps(finding.span)) {
            unit.add(finding.clone());
            touched = true;
        }
        if !touched {
            let label = finding.path.split('.').next().unwrap_or_default().to_owned();
            let mut unit = Unit { label, spans: vec![finding.span], ..Unit::default() };
            unit.add(finding);
            self.units.push(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity, start: u32, end: u32) -> Finding {
        Finding::new(severity, "test", "text", "remedy").at("row[2].code", Span { start, end }, 3, 1)
    }

    fn unit(start: u32, end: u32) -> Unit {
        Unit { label: "row[1]".into(), spans: vec![Span { start, end }], ..Unit::default() }
    }

    #[test]
    fn an_error_quarantines_the_units_it_touches_and_no_other() {
        let mut output = Output { units: vec![unit(0, 10), unit(10, 20)], ..Output::default() };
        output.absorb(vec![finding(Severity::Error, 12, 15)], &Coverage::default());
        let states: Vec<_> = output.units.iter().map(|u| u.state).collect();
        assert_eq!(states, [UnitState::Ready, UnitState::Quarantined]);
    }

    #[test]
    fn an_error_outside_every_unit_is_kept_as_a_unit_of_its_own() {
        let mut output = Output { units: vec![unit(0, 10)], ..Output::default() };
        output.absorb(vec![finding(Severity::Error, 12, 15)], &Coverage::default());
        let last = output.units.last().map(|u| (u.label.as_str(), u.state));
        assert_eq!(last, Some(("row[2]", UnitState::Quarantined)));
    }

    #[test]
    fn a_fatal_finding_leaves_nothing_to_write() {
        let mut output = Output { units: vec![unit(0, 10)], ..Output::default() };
        output.absorb(vec![finding(Severity::Fatal, 0, 0)], &Coverage::default());
        assert!(output.units.is_empty());
        assert_eq!(output.findings.len(), 1);
    }

    #[test]
    fn a_subject_prints_no_identifier() {
        let subject = Subject {
            bsn: Some("999911120".into()),
            local: vec![("urn:oid:1".into(), "40bb".into())],
            reference: Some("Patient/40bb".into()),
        };
        let printed = format!("{subject:?}");
        assert!(!printed.contains("9999") && !printed.contains("40bb"), "{printed}");
    }
}
