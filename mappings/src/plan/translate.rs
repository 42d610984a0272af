//! Codes and units through the sender's tables, with the policy for what no table knows.
//!
//! Both codings are kept: translated first, the original with `userSelected` (mapping.md 7c). What has no translation
//! keeps its original and is counted; a `code` that changes meaning is not guessed but quarantines its unit.

use smallvec::SmallVec;

use crate::codes::Lookup;
use crate::source::{NodeId, Symbol, Tree, Value};

use super::execute::Machine;
use super::item::{Item, trimmed};
use super::problem::Problem;
use super::shape::{FieldId, TypeId};
use super::target::TargetId;

/// Addresses of code systems by the names senders have for them (HL7 table 0396): a table of the folder, or the library's.
const SYSTEMS: &str = "v2-0396";
/// UCUM (FHIR R4 terminologies-systems.html).
const UCUM: &str = "http://unitsofmeasure.org";

/// What a coded value is made of, in FHIR and in HL7 version 2 (CWE); [`NAMES`] in the same order.
#[derive(Debug, Clone, Copy)]
enum Part {
    Coding,
    Text,
    Code,
    System,
    Display,
    UserSelected,
    C1,
    C2,
    C3,
    C4,
    C5,
    C6,
    C9,
}

const NAMES: [&str; 13] =
    ["coding", "text", "code", "system", "display", "userSelected", "C1", "C2", "C3", "C4", "C5", "C6", "C9"];

/// The symbols of [`NAMES`] in one document.
#[derive(Debug)]
pub(crate) struct Parts([Option<Symbol>; NAMES.len()]);

impl Parts {
    pub(crate) fn new(tree: &Tree) -> Parts {
        Parts(NAMES.map(|name| tree.symbol(name)))
    }
}

/// A coding as the source has it.
#[derive(Debug, Clone, Copy)]
struct Original<'t> {
    system: &'t str,
    code: &'t str,
    display: Option<&'t str>,
}

/// The codings of an item, and the text beside them.
type Originals<'t> = (SmallVec<[Original<'t>; 2]>, Option<&'t str>);

impl<'t> Machine<'t> {
    pub(crate) fn translate(
        &mut self,
        parent: TargetId,
        (field, type_id): (FieldId, TypeId),
        item: Item<'t>,
        table: &'t str,
        quarantine: bool,
        system: Option<&'t str>,
    ) -> Result<Option<TargetId>, Problem> {
        let (mut originals, text) = self.originals(item, system);
        if originals.is_empty() && text.is_none() {
            return Ok(None);
        }
        let mut mapped = None;
        let mut no_map = false;
        for (at, original) in originals.iter().enumerate() {
            match self.lookup(table, original.system, original.code) {
                Lookup::Mapped(row) => {
                    let text = |value: &'t str| Some(value).filter(|value| !value.is_empty());
                    let display = text(&row.target_display);
                    mapped = Some((at, text(&row.target_system), text(&row.target_code), display));
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
            if let Some(first) = originals.first() {
                let display = first.display.unwrap_or_default();
                problem = problem.about(table, first.system, first.code, display);
            }
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
            self.set(target, code)?;
            return Ok(Some(target));
        }
        if mapped.is_none() || type_name != "Coding" {
            for original in &mut originals {
                original.system = self.canonical(original.system, item);
            }
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
            let same =
                originals.get(at).is_some_and(|o| Some(o.code) == code && o.system == system.unwrap_or(""));
            if !same {
                let coding = self.child(target, "coding")?;
                self.fill_coding(coding, system, code, display)?;
            }
        }
        for (at, original) in originals.iter().enumerate() {
            let coding = self.child(target, "coding")?;
            self.fill_original(coding, original, translated == Some(at))?;
        }
        let text = text.or_else(|| originals.iter().find_map(|original| original.display));
        self.put(target, "text", text)?;
        Ok(Some(target))
    }

    /// The address of a code system that has a local name (`SCT`, `I10`, `L`): from the table [`SYSTEMS`], else none and a warning. Two
    /// senders' `L` are two systems, and `Coding.system` is a uri (FHIR R4 datatypes.html#Coding).
    fn canonical(&mut self, system: &'t str, item: Item<'t>) -> &'t str {
        if system.is_empty() || system.contains(':') {
            return system;
        }
        if let Lookup::Mapped(row) = self.lookup(SYSTEMS, "", system) {
            return &row.target_code;
        }
        let problem = Problem::new(
            "code-system-local",
            format!(
                "the code system `{system}` has a local name and no address; the code is kept without it"
            ),
            format!("name its uri in the map, or add a row to a table {SYSTEMS} (codes/{SYSTEMS}.csv)"),
        );
        self.report(problem.on(item).because(system.to_string()).warning());
        ""
    }

    fn fill_coding(
        &mut self,
        coding: TargetId,
        system: Option<&'t str>,
        code: Option<&'t str>,
        display: Option<&'t str>,
    ) -> Result<(), Problem> {
        self.put(coding, "system", system)?;
        self.put(coding, "code", code)?;
        self.put(coding, "display", display)
    }

    fn fill_original(
        &mut self,
        coding: TargetId,
        original: &Original<'t>,
        selected: bool,
    ) -> Result<(), Problem> {
        let Original { system, code, display } = *original;
        self.fill_coding(coding, Some(system), Some(code), display)?;
        self.put(coding, "userSelected", selected.then_some("true"))
    }

    /// The codings of a CodeableConcept, Coding, HL7v2 CWE/CE or plain code, and the text beside them. `given` is the
    /// system the map names for codes that come without one, or under a local name only.
    fn originals(&mut self, item: Item<'t>, given: Option<&'t str>) -> Originals<'t> {
        let Item::Node(node) = item else {
            let code = self.text(item).filter(|code| !code.is_empty());
            let system = given.unwrap_or("");
            return (code.map(|code| Original { system, code, display: None }).into_iter().collect(), None);
        };
        let tree = self.tree;
        if tree.node(node).value != Value::None {
            let code = tree.text(node).unwrap_or("").trim();
            self.mark(node);
            let original = Original { system: given.unwrap_or(""), code, display: None };
            return (Some(original).filter(|_| !code.is_empty()).into_iter().collect(), None);
        }
        if self.child_named(node, Part::Coding).or_else(|| self.child_named(node, Part::Text)).is_some() {
            let codings = tree.named(node, "coding");
            let originals = codings.filter_map(|coding| self.fhir_coding(coding, given)).collect();
            return (originals, self.part(node, Part::Text));
        }
        if self.child_named(node, Part::Code).is_some() {
            return (self.fhir_coding(node, given).into_iter().collect(), None);
        }
        let mut originals: SmallVec<[Original<'t>; 2]> = SmallVec::new();
        for [code, display, system] in [[Part::C1, Part::C2, Part::C3], [Part::C4, Part::C5, Part::C6]] {
            let code = self.part(node, code);
            let display = self.part(node, display);
            let local = self.part(node, system);
            if let Some(code) = code {
                let given = given.filter(|_| originals.is_empty());
                let system = given.or(local).unwrap_or("");
                originals.push(Original { system, code, display });
            }
        }
        (originals, self.part(node, Part::C9))
    }

    fn fhir_coding(&mut self, coding: NodeId, given: Option<&'t str>) -> Option<Original<'t>> {
        let system = self.part(coding, Part::System).or(given).unwrap_or("");
        let display = self.part(coding, Part::Display);
        // Whether a person picked it is decided anew: the original of a translation is what the user selected.
        let _read = self.part(coding, Part::UserSelected);
        Some(Original { system, code: self.part(coding, Part::Code)?, display })
    }

    /// The first child called that, of a node that has no value itself.
    fn child_named(&self, node: NodeId, part: Part) -> Option<NodeId> {
        let symbol = self.parts.0.get(part as usize).copied().flatten()?;
        self.tree.children(node).find(|child| self.tree.node(*child).name == symbol)
    }

    fn part(&mut self, node: NodeId, part: Part) -> Option<&'t str> {
        let child = self.child_named(node, part)?;
        self.text(Item::Node(child)).and_then(trimmed)
    }

    /// Unit text, and its UCUM code where the table has one; else the text alone, for humans, with a finding.
    pub(crate) fn unit(
        &mut self,
        quantity: TargetId,
        unit: Option<(&'t str, Option<Item<'t>>)>,
        table: &'t str,
    ) -> Result<(), Problem> {
        let Some((unit, item)) = unit else { return Ok(()) };
        match self.lookup(table, "", unit.trim()) {
            Lookup::Mapped(row) => {
                let text = |value: &'t str| Some(value).filter(|value| !value.is_empty());
                let (code, display) = (text(&row.target_code), text(&row.target_display));
                self.put(quantity, "unit", display.or(Some(unit)))?;
                self.put(quantity, "system", code.is_some().then_some(UCUM))?;
                self.put(quantity, "code", code)
            }
            Lookup::NoMap => self.put(quantity, "unit", Some(unit)),
            Lookup::Unmapped => {
                let problem = Problem::new(
                    "unit-unmapped",
                    format!("table `{table}` has no UCUM code for the unit `{unit}`"),
                    format!("add a row to codes/{table}.csv; until then the value cannot be compared"),
                );
                let problem = problem.warning().because(unit.to_string()).about(table, "", unit.trim(), "");
                self.report(match item {
                    Some(item) => problem.on(item),
                    None => problem,
                });
                self.put(quantity, "unit", Some(unit))
            }
        }
    }
}
