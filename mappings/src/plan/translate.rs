//! Codes and units through the sender's tables, with the policy for what no table knows.
//!
//! Both codings are kept: translated first, the original with `userSelected` (mapping.md 7c). What has no translation
//! keeps its original and is counted; a `code` that changes meaning is not guessed but quarantines its unit.

use crate::codes::Lookup;
use crate::source::{NodeId, Value};

use super::execute::Machine;
use super::item::Item;
use super::problem::Problem;
use super::shape::{FieldId, TypeId};
use super::target::TargetId;

/// UCUM (FHIR R4 terminologies-systems.html).
const UCUM: &str = "http://unitsofmeasure.org";

/// A coding as the source has it.
#[derive(Debug, Clone, Default)]
struct Original {
    system: String,
    code: String,
    display: Option<String>,
}

impl Machine<'_> {
    pub(crate) fn translate(
        &mut self,
        parent: TargetId,
        (field, type_id): (FieldId, TypeId),
        item: &Item,
        table: &str,
        quarantine: bool,
        system: Option<&str>,
    ) -> Result<Option<TargetId>, Problem> {
        let (originals, text) = self.originals(item, system);
        if originals.is_empty() && text.is_none() {
            return Ok(None);
        }
        let mut mapped = None;
        let mut no_map = false;
        for (at, original) in originals.iter().enumerate() {
            match self.lookup(table, &original.system, &original.code) {
                Lookup::Mapped(row) => {
                    let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
                    mapped = Some((
                        at,
                        text(&row.target_system),
                        text(&row.target_code),
                        text(&row.target_display),
                    ));
                    break;
                }
                Lookup::NoMap => no_map = true,
                Lookup::Unmapped => {}
            }
        }
        if mapped.is_none() && !no_map {
            let named = originals.first().map(|o| format!("{}|{}", o.system, o.code));
            let shown = named.clone().unwrap_or_else(|| "a text without a code".to_owned());
            let mut problem = Problem::new(
                "code-unmapped",
                format!("table `{table}` has no row for {shown}"),
                format!("add a row to codes/{table}.csv, or `noMap` when there is no equivalent"),
            )
            .on(item);
            problem.cause = named;
            if quarantine {
                return Err(problem);
            }
            self.report(problem.warning());
        }
        let origin = self.origin();
        let type_name = self.shapes.type_name(type_id);
        if self.shapes.is_primitive(type_id) {
            let Some(code) = mapped.and_then(|(_, _, code, _)| code) else { return Ok(None) };
            let target = self.target.add(parent, field, type_id, origin)?;
            self.target.set(target, &code)?;
            return Ok(Some(target));
        }
        if type_name == "Coding" {
            let target = self.target.add(parent, field, type_id, origin)?;
            match (mapped, originals.first()) {
                (Some((_, system, code, display)), _) => self.fill_coding(target, system, code, display)?,
                (None, Some(original)) => self.fill_original(target, original, false)?,
                (None, None) => {}
            }
            return Ok(Some(target));
        }
        let target = self.target.add(parent, field, type_id, origin)?;
        let translated = mapped.as_ref().map(|(at, ..)| *at);
        if let Some((at, system, code, display)) = mapped {
            let same = originals.get(at).is_some_and(|o| {
                Some(&o.code) == code.as_ref() && Some(&o.system) == system.as_ref().or(Some(&String::new()))
            });
            if !same {
                let coding = self.child(target, "coding")?;
                self.fill_coding(coding, system, code, display)?;
            }
        }
        for (at, original) in originals.iter().enumerate() {
            let coding = self.child(target, "coding")?;
            self.fill_original(coding, original, translated == Some(at))?;
        }
        let text = text.or_else(|| originals.iter().find_map(|original| original.display.clone()));
        self.put(target, "text", text)?;
        Ok(Some(target))
    }

    fn fill_coding(
        &mut self,
        coding: TargetId,
        system: Option<String>,
        code: Option<String>,
        display: Option<String>,
    ) -> Result<(), Problem> {
        self.put(coding, "system", system)?;
        self.put(coding, "code", code)?;
        self.put(coding, "display", display)
    }

    fn fill_original(
        &mut self,
        coding: TargetId,
        original: &Original,
        selected: bool,
    ) -> Result<(), Problem> {
        let Original { system, code, display } = original.clone();
        self.fill_coding(coding, Some(system), Some(code), display)?;
        self.put(coding, "userSelected", selected.then(|| "true".to_owned()))
    }

    /// The codings of a CodeableConcept, Coding, HL7v2 CWE/CE or plain code, and the text beside them. `given` is the
    /// system the map names for codes that come without one, or under a local name only.
    fn originals(&mut self, item: &Item, given: Option<&str>) -> (Vec<Original>, Option<String>) {
        let Item::Node(node) = *item else {
            let code = self.text(item).map(|text| text.to_string()).unwrap_or_default();
            let system = given.unwrap_or("").to_owned();
            return if code.is_empty() {
                (Vec::new(), None)
            } else {
                (vec![Original { system, code, display: None }], None)
            };
        };
        let tree = self.tree;
        if tree.node(node).value != Value::None {
            let code = tree.text(node).unwrap_or("").trim().to_owned();
            self.mark(node);
            let system = given.unwrap_or("").to_owned();
            let original = Original { system, code, display: None };
            return (if original.code.is_empty() { Vec::new() } else { vec![original] }, None);
        }
        let codings: Vec<NodeId> = tree.named(node, "coding").collect();
        if !codings.is_empty() || tree.named(node, "text").next().is_some() {
            let originals =
                codings.into_iter().filter_map(|coding| self.fhir_coding(coding, given)).collect();
            return (originals, self.part(node, "text"));
        }
        if tree.named(node, "code").next().is_some() {
            return (self.fhir_coding(node, given).into_iter().collect(), None);
        }
        let mut originals = Vec::new();
        for [code, display, system] in [["C1", "C2", "C3"], ["C4", "C5", "C6"]] {
            let code = self.part(node, code);
            let display = self.part(node, display);
            let local = self.part(node, system);
            if let Some(code) = code {
                let first = originals.is_empty();
                let system = given.map(str::to_owned).filter(|_| first).or(local).unwrap_or_default();
                originals.push(Original { system, code, display });
            }
        }
        (originals, self.part(node, "C9"))
    }

    fn fhir_coding(&mut self, coding: NodeId, given: Option<&str>) -> Option<Original> {
        let system = self.part(coding, "system").or_else(|| given.map(str::to_owned)).unwrap_or_default();
        let display = self.part(coding, "display");
        // Whether a person picked it is decided anew: the original of a translation is what the user selected.
        let _read = self.part(coding, "userSelected");
        Some(Original { system, code: self.part(coding, "code")?, display })
    }

    fn part(&mut self, node: NodeId, name: &str) -> Option<String> {
        let child = self.tree.named(node, name).next()?;
        self.text(&Item::Node(child)).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Unit text, and its UCUM code where the table has one; else the text alone, for humans, with a finding.
    pub(crate) fn unit(
        &mut self,
        quantity: TargetId,
        unit: Option<(String, Option<Item>)>,
        table: &str,
    ) -> Result<(), Problem> {
        let Some((unit, item)) = unit else { return Ok(()) };
        match self.lookup(table, "", unit.trim()) {
            Lookup::Mapped(row) => {
                let text = |value: &String| Some(value.clone()).filter(|value| !value.is_empty());
                let (code, display) = (text(&row.target_code), text(&row.target_display));
                self.put(quantity, "unit", display.or(Some(unit)))?;
                self.put(quantity, "system", code.is_some().then(|| UCUM.to_owned()))?;
                self.put(quantity, "code", code)
            }
            Lookup::NoMap => self.put(quantity, "unit", Some(unit)),
            Lookup::Unmapped => {
                let problem = Problem::new(
                    "unit-unmapped",
                    format!("table `{table}` has no UCUM code for the unit `{unit}`"),
                    format!("add a row to codes/{table}.csv; until then the value cannot be compared"),
                );
                let problem = problem.warning().because(unit.clone());
                self.report(match &item {
                    Some(item) => problem.on(item),
                    None => problem,
                });
                self.put(quantity, "unit", Some(unit))
            }
        }
    }
}
