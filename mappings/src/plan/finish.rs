//! Units closed: modifier extensions accounted for, resources written out and validated, states decided.

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::validate;

use crate::directive;
use crate::finding::{Finding, Severity};
use crate::output::{Output, Subject, Unit, UnitState};
use crate::source::{NodeId, Value};

use super::execute::{Building, Machine};
use super::problem::Problem;
use super::target::{Json, TargetId, Written, XmlError};
use super::{Trace, TraceValue};

/// FHIR elements a reader must understand or refuse the whole (FHIR R4 extensibility.html#modifierExtension,
/// resource-definitions.html#Resource.implicitRules).
const MODIFIERS: [&str; 2] = ["modifierExtension", "implicitRules"];

impl Machine<'_> {
    /// `traced`: whether the rule behind every value is wanted; a serving run does without.
    pub(crate) fn finish(mut self, traced: bool) -> (Output, Trace) {
        let mut output = Output::default();
        let mut trace = Trace::default();
        if !self.stopped {
            self.modifiers();
            for building in std::mem::take(&mut self.units) {
                self.rule = building.rule;
                let root = building.root;
                let unit = self.unit_of(building);
                let at = output.units.len();
                let values = if traced && unit.resource.is_some() { self.written(root) } else { Vec::new() };
                trace.values.extend(values.into_iter().map(|(path, origin)| TraceValue {
                    unit: at,
                    path,
                    rule: self.show(origin.rule),
                    source: origin.node,
                }));
                output.units.push(unit);
            }
        }
        trace.logs =
            std::mem::take(&mut self.logs).into_iter().map(|(rule, text)| (self.show(rule), text)).collect();
        output.findings = self.findings;
        output.coverage = self.coverage;
        (output, trace)
    }

    fn show(&self, rule: u32) -> String {
        self.plan.places.get(rule as usize).map(|place| self.plan.files.show(*place)).unwrap_or_default()
    }

    /// A modifier the map did not read quarantines every unit made of what it modifies, with its url.
    fn modifiers(&mut self) {
        let wanted: Vec<_> = MODIFIERS.iter().filter_map(|name| self.tree.symbol(name)).collect();
        if wanted.is_empty() {
            return;
        }
        let unread: Vec<NodeId> = (0..self.tree.len() as u32)
            .map(NodeId)
            .filter(|&node| wanted.contains(&self.tree.node(node).name) && !self.understood(node))
            .collect();
        for node in unread {
            let url = self.tree.named(node, "url").next().and_then(|url| self.tree.text(url)).unwrap_or("");
            let name = self.tree.name(node).to_owned();
            let text = if url.is_empty() {
                format!("`{name}` changes the meaning of what it is in, and the map does not read it")
            } else {
                format!(
                    "modifier extension {url} changes the meaning of what it is in, and the map does not read it"
                )
            };
            let cause = if url.is_empty() { name } else { url.to_owned() };
            let problem = Problem::new(
                "modifier-unknown",
                text,
                "extend the map so that it understands this, or send it without",
            )
            .because(cause);
            self.rule = u32::MAX;
            let finding = self.finding(problem, node);
            let inside = |unit: &Building| self.within(node, unit.anchor) || self.within(unit.anchor, node);
            let near: Vec<bool> = self.units.iter().map(inside).collect();
            let none = !near.contains(&true);
            for (unit, near) in self.units.iter_mut().zip(near) {
                if near || none {
                    unit.findings.push(finding.clone());
                }
            }
            if self.units.is_empty() {
                self.findings.push(finding);
            }
        }
    }

    /// Taken by a rule (its url matched) and every leaf of it read.
    fn understood(&self, node: NodeId) -> bool {
        let mut queue = vec![node];
        let mut read = true;
        while let Some(at) = queue.pop() {
            let before = queue.len();
            queue.extend(self.tree.children(at));
            if queue.len() == before || self.tree.node(at).value != Value::None {
                read &= self.coverage.is_marked(at);
            }
        }
        read && self.taken.is_marked(node)
    }

    fn within(&self, node: NodeId, ancestor: NodeId) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node == ancestor {
                return true;
            }
            at = self.tree.node(node).parent;
        }
        false
    }

    fn unit_of(&mut self, building: Building) -> Unit {
        let type_name = self.target.type_name(building.root);
        let label = Some(self.tree.path(building.anchor)).filter(|path| !path.is_empty());
        let named = |subject: &Subject| {
            subject.bsn.is_some() || subject.reference.is_some() || !subject.local.is_empty()
        };
        let has_subject = named(&building.subject);
        let mut unit = Unit {
            label: label.unwrap_or_else(|| type_name.to_owned()),
            spans: vec![self.tree.node(building.anchor).span],
            resource: None,
            xml: None,
            identity: building.identity,
            subject: has_subject.then_some(building.subject),
            findings: Vec::new(),
            source_time: building.source_time,
            left: building.left,
            replaced_by: Some(building.replaced_by).filter(named),
            state: UnitState::Ready,
        };
        building.findings.into_iter().for_each(|finding| unit.add(finding));
        let failed = |unit: &Unit| unit.findings.iter().any(|finding| finding.severity >= Severity::Error);
        if unit.identity.is_none() && !self.plan.open && !failed(&unit) {
            let problem = Problem::new(
                "identity-missing",
                format!("no business identifier came out for this {type_name}"),
                "send the identifying fields; without them a correction cannot find its original",
            );
            unit.add(self.finding(problem, building.anchor));
        }
        if unit.subject.is_none() && !building.subject_none && !self.plan.open && !failed(&unit) {
            let problem = Problem::new(
                "subject-missing",
                format!("nothing says whose {type_name} this is"),
                "send the patient's BSN, number or reference",
            );
            unit.add(self.finding(problem, building.anchor));
        }
        match self.target.json(building.root, self.limits.output_bytes_max as usize, None) {
            None => {
                let problem = Problem::new("limit-output", "the resource is too long", "split the document");
                unit.add(self.finding(problem, building.anchor));
            }
            Some(Json { text, is_sure }) => {
                let refused = failed(&unit);
                let type_id = self.target.get(building.root).map(|node| node.type_id).unwrap_or_default();
                // Of other models types, choices and repetition were checked while building; presence is left.
                let judged = self.shapes.is_r4(type_id) && self.shapes.is_resource(type_id);
                let findings = match judged {
                    true => self.validated((&text, is_sure), building.root, building.anchor, refused),
                    false if self.shapes.is_r4(type_id) || refused => Vec::new(),
                    false => self.missing(building.root),
                };
                match self.target.xml(building.root, self.limits.output_bytes_max as usize) {
                    None => {}
                    Some(Ok(xml)) => unit.xml = Some(xml),
                    Some(Err(error)) => unit.add(self.finding(not_xml(&error), building.anchor)),
                }
                for finding in findings {
                    unit.add(finding);
                }
                unit.resource = Some(text);
            }
        }
        unit
    }

    /// What the model of a root other than R4's requires and nobody wrote.
    fn missing(&self, root: TargetId) -> Vec<Finding> {
        let most = self.limits.findings_max as usize;
        let missing = self.target.missing(root).into_iter().take(most);
        let findings = missing.map(|(parent, path, element)| {
            let problem = Problem::new(
                "resource-invalid",
                format!("{path}.{element}: {element} is required"),
                "send it, or let the map write it",
            )
            .because(format!("required:{path}.{element}"));
            let origin = self.target.get(parent).map(|node| node.origin);
            let mut finding = self.finding(problem, origin.map_or(self.tree.root(), |origin| origin.node));
            finding.rule = origin.map(|origin| self.show(origin.rule));
            finding
        });
        findings.collect()
    }

    /// Path and origin of every primitive of a resource.
    fn written(&self, root: TargetId) -> Vec<Written> {
        let mut written = Vec::new();
        let text = self.target.json(root, self.limits.output_bytes_max as usize, Some(&mut written));
        debug_assert!(text.is_some(), "asked for resources that were written out before");
        written
    }

    /// What R4 and the treatment directive rules say of a resource, placed on the rule that wrote the element; nothing more where it is
    /// sure to be valid.
    ///
    /// In a unit that was `refused` already, what is missing (and the invariants that miss it) is what could not be
    /// written: only the cause is told. Once that is mended the unit is judged anew.
    fn validated(
        &self,
        (text, is_sure): (&str, bool),
        root: TargetId,
        anchor: NodeId,
        refused: bool,
    ) -> Vec<Finding> {
        // Consents are looked at once more below.
        if is_sure && self.target.type_name(root) != "Consent" {
            debug_assert!(is_valid(text), "certain, and the validator has something to say");
            return Vec::new();
        }
        let doc = match Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()) {
            Ok(doc) => doc,
            Err(error) => {
                let problem =
                    Problem::new("resource-invalid", error.to_string(), "shorten or flatten the resource");
                return vec![self.finding(problem, anchor)];
            }
        };
        let mut findings = Vec::new();
        let issues = validate::validate(definitions::r4(), doc.root());
        let written = if issues.is_empty() { Vec::new() } else { self.written(root) };
        for issue in
            issues.into_iter().filter(|issue| !(refused && matches!(issue.code, "required" | "invariant")))
        {
            let severity = match issue.severity {
                validate::Severity::Error => Severity::Error,
                validate::Severity::Warning => Severity::Warning,
                validate::Severity::Information => Severity::Information,
            };
            // What is missing nobody wrote: then the first value beside it, or what the resource hangs on.
            let beside =
                |path: &str| path.starts_with(&issue.expression) || issue.expression.starts_with(path);
            let origin = written.iter().find(|(path, _)| beside(path)).map(|(_, origin)| *origin);
            let mut problem = Problem::new(
                "resource-invalid",
                format!("{}: {}", issue.expression, issue.text),
                issue.remedy,
            )
            .because(format!("{}:{}", issue.code, without_indexes(&issue.expression)));
            problem.severity = severity;
            let mut finding = self.finding(problem, origin.map_or(anchor, |origin| origin.node));
            if let Some(origin) = origin {
                finding.rule = Some(self.show(origin.rule));
            }
            findings.push(finding);
        }
        let unclear = directive::check(doc.root());
        for mut finding in unclear.into_iter().filter(|f| !(refused && f.code == "directive-undecided")) {
            finding.text = format!("{}: {}", finding.path, finding.text);
            let placed = self.finding(Problem::new(finding.code, "", ""), anchor);
            findings.push(Finding { path: placed.path, span: placed.span, rule: placed.rule, ..finding });
        }
        findings
    }
}

fn not_xml(error: &XmlError) -> Problem {
    match error {
        XmlError::TooLong => {
            Problem::new("limit-output", "the document is too long in XML", "split the document")
        }
        XmlError::Character(name) => Problem::new(
            "xml-character",
            format!("`{name}` holds a character that XML has no way to write"),
            "take control characters out of it",
        ),
    }
}

fn is_valid(text: &str) -> bool {
    let doc = Doc::parse(text.as_bytes().to_vec(), JsonLimits::default());
    doc.is_ok_and(|doc| validate::validate(definitions::r4(), doc.root()).is_empty())
}

fn without_indexes(path: &str) -> String {
    path.split('[').enumerate().fold(String::new(), |path, (at, part)| match at {
        0 => part.to_owned(),
        _ => path + part.split_once(']').map_or("", |(_, rest)| rest),
    })
}
