//! The account of a whole folder: every source field of its cases and what becomes of it, every rule and whether it ever
//! ran, every element R4 requires and whether it is ever set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sluis_conformance::definitions;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node};

use super::coverage::account;
use crate::plan::{Moment, Reading};
use crate::run::CompiledFolder;

/// What becomes of one source field, over all cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// Leaves copied, translated, tested, waived: as [`Reading::ALL`]. One leaf may count in several.
    pub read: [usize; 4],
    /// Leaves the parser itself made use of, and no rule.
    pub parsed: usize,
    /// Leaves left out on purpose, and why.
    pub ignored: Option<(usize, String)>,
    /// Leaves no rule read.
    pub dropped: usize,
    /// Of those, leaves no case expects to be dropped, with the first case and place.
    pub unexpected: Option<(String, String)>,
}

/// The account of a folder.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By path without ordinals.
    pub fields: BTreeMap<String, Field>,
    /// Rules of the folder's own map that no case runs: place and name.
    pub never_run: Vec<(String, String)>,
    /// Rules of the folder's own map.
    pub rules: usize,
    /// Elements R4 requires of the resources made, that no case sets: `Observation.status`.
    pub never_set: Vec<String>,
    /// `ignore` entries that cover nothing in any case.
    pub idle: Vec<String>,
}

impl Report {
    /// Whether a field is dropped that no case expects to be.
    pub fn failed(&self) -> bool {
        self.fields.values().any(|field| field.unexpected.is_some())
    }
}

/// Accounts for every case of a folder. A dropped leaf is expected where the case's `findings.json` says so.
pub fn report(compiled: &CompiledFolder) -> Report {
    let mut report = Report::default();
    let mut fired = BTreeSet::new();
    let mut set: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let ignore = &compiled.folder().manifest.ignore;
    let mut idle: BTreeSet<usize> = (0..ignore.len()).collect();
    for case in &compiled.folder().cases {
        let parsed = compiled.parse(&case.input);
        let (output, _, record) = compiled.run_recorded(&case.input, &parsed);
        fired.extend(
            record
                .events
                .iter()
                .filter(|event| event.moment == Moment::Enter)
                .map(|event| event.place.start_of()),
        );
        if parsed.is_fatal() {
            continue;
        }
        let tree = &parsed.tree;
        let found = account(tree, &output.coverage, ignore);
        let expected = expected_drops(case.findings.as_deref().unwrap_or("[]"));
        for leaf in tree.leaves() {
            let field = report.fields.entry(tree.shape(leaf)).or_default();
            let mut read = false;
            for (count, reading) in field.read.iter_mut().zip(Reading::ALL) {
                if record.used(leaf, reading) {
                    *count += 1;
                    read = true;
                }
            }
            if !read && output.coverage.is_marked(leaf) {
                field.parsed += 1;
            }
        }
        for (leaf, entry) in found.ignored {
            idle.remove(&entry);
            let field = report.fields.entry(tree.shape(leaf)).or_default();
            let reason = ignore.get(entry).map(|entry| entry.reason.clone()).unwrap_or_default();
            field.ignored.get_or_insert((0, reason)).0 += 1;
        }
        for leaf in found.dropped {
            let field = report.fields.entry(tree.shape(leaf)).or_default();
            field.dropped += 1;
            let path = tree.path(leaf);
            if !expected.contains(&path) && field.unexpected.is_none() {
                field.unexpected = Some((case.name.clone(), path));
            }
        }
        for resource in output.units.iter().filter_map(|unit| unit.resource.as_ref()) {
            if let Ok(doc) = Doc::parse(resource.as_bytes().to_vec(), JsonLimits::default()) {
                let type_name = doc.root().get("resourceType").and_then(Node::as_str).unwrap_or_default();
                let names = doc.root().members().map(|(name, _)| name.trim_start_matches('_').to_owned());
                set.entry(type_name.into_owned()).or_default().extend(names);
            }
        }
    }
    let files = compiled.plan().files();
    for (place, name) in compiled.plan().rules().into_iter().filter(|(place, _)| place.file == 0) {
        report.rules += 1;
        if !fired.contains(&place.start_of()) {
            report.never_run.push((files.show(place), name.unwrap_or_default().to_owned()));
        }
    }
    report.never_set = never_set(&set);
    report.idle = idle.into_iter().filter_map(|at| ignore.get(at)).map(|entry| entry.path.clone()).collect();
    report
}

/// Paths a case's expected findings name as dropped.
fn expected_drops(findings: &str) -> BTreeSet<String> {
    let Ok(doc) = Doc::parse(findings.as_bytes().to_vec(), JsonLimits::default()) else {
        return BTreeSet::new();
    };
    let text =
        |node: Node<'_>, name: &str| node.get(name).and_then(Node::as_str).unwrap_or_default().into_owned();
    let items = doc.root().items().filter(|item| item.kind() == Kind::Object);
    items.filter(|item| text(*item, "code") == "leaf-dropped").map(|item| text(item, "path")).collect()
}

fn never_set(set: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let defs = definitions::r4();
    let mut missing = Vec::new();
    for (type_name, names) in set {
        let Some(structure) = defs.structure(type_name) else { continue };
        for element in structure.elements.iter().filter(|element| element.min > 0) {
            let is_set = element.types.iter().any(|type_| names.contains(&element.json_name(type_)));
            if !is_set {
                missing.push(format!("{type_name}.{}", element.name));
            }
        }
    }
    missing
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.fields.keys().map(|path| path.chars().count()).max().unwrap_or(0).clamp(6, 60);
        writeln!(
            f,
            "{:<width$} {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7}",
            "source", "copied", "transl", "tested", "waived", "parser", "ignored", "DROPPED"
        )?;
        for (path, field) in &self.fields {
            let [copied, translated, tested, waived] = field.read.map(number);
            let ignored = number(field.ignored.as_ref().map_or(0, |(count, _)| *count));
            write!(
                f,
                "{path:<width$} {copied:>6} {translated:>6} {tested:>6} {waived:>6} {:>6} {ignored:>7} {:>7}",
                number(field.parsed),
                number(field.dropped)
            )?;
            match (&field.unexpected, &field.ignored) {
                (Some((case, place)), _) => writeln!(f, "  <- {place} in case {case}")?,
                (None, Some((_, reason))) => writeln!(f, "  {reason}")?,
                (None, None) => writeln!(f)?,
            }
        }
        if !self.never_set.is_empty() {
            writeln!(f, "\nrequired by R4 and set by no case: {}", self.never_set.join(", "))?;
        }
        if !self.never_run.is_empty() {
            writeln!(f, "\n{} of {} rules run in no case:", self.never_run.len(), self.rules)?;
            for (place, name) in &self.never_run {
                writeln!(f, "  {place} {name}")?;
            }
        }
        if !self.idle.is_empty() {
            writeln!(f, "\nignored, and in no case: {}", self.idle.join(", "))?;
        }
        Ok(())
    }
}

fn number(count: usize) -> String {
    if count == 0 { "·".to_owned() } else { count.to_string() }
}
