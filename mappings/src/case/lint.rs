//! What compiles and is still wrong. Unknown elements and types, impure functions and missing identities never compile;
//! this looks for what can only be suspected: a finding here is for a person to judge.

mod exclusive;
mod tables;
mod ucum;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::excerpt::{self, Excerpt};
use super::walk::{Statement, Walk, walk};
use super::{Proof, personal_data, prove, proved::unchanged};
use crate::fml::{self, Files, MapError, Place, Program, nearest};
use crate::run::{CompiledFolder, LIBRARY};
use crate::source::{Format, NodeId};

pub use ucum::is_ucum;

/// One remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// `error` or `warning`.
    pub level: &'static str,
    /// The remark with its line.
    pub excerpt: Excerpt,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.excerpt.fmt(f)
    }
}

/// Everything suspicious in a folder. `files` are its files, `root` how messages call the folder.
pub fn lint(compiled: &CompiledFolder, files: &BTreeMap<String, Vec<u8>>, root: &str) -> Vec<Lint> {
    let folder = compiled.folder();
    let mut lints = Vec::new();
    let name = format!("{root}/{}", folder.map_file);
    if let Ok(program) = fml::load(&name, &folder.map, &folder.importable(&LIBRARY)) {
        let read = walk(&program);
        let mut said = Said { files: &program.files, lints: &mut lints };
        twice(&read, &mut said);
        unreachable(&program, &read, &mut said);
        names(compiled, &read, &mut said);
        tables::v2_values(compiled, &read, &mut said);
    }
    let proofs: Vec<Proof> = prove(compiled);
    let diagnostics =
        folder.cases.iter().flat_map(personal_data).map(|found| ("personal-data", "error", found));
    let units = tables::units(folder).into_iter().map(|found| ("unit-not-ucum", "error", found));
    let versions =
        unchanged(folder, &proofs, files).into_iter().map(|found| ("version-unchanged", "error", found));
    for (code, level, found) in diagnostics.chain(units).chain(versions) {
        let excerpt = Excerpt { level, code: code.to_owned(), ..excerpt::of_diagnostic(&found, files, root) };
        lints.push(Lint { level, excerpt });
    }
    lints
}

struct Said<'l> {
    files: &'l Files,
    lints: &'l mut Vec<Lint>,
}

impl Said<'_> {
    fn say(&mut self, level: &'static str, code: &'static str, place: Place, text: String, help: String) {
        let error = MapError::new(self.files, code, place, text, help);
        let excerpt = Excerpt {
            level,
            code: code.to_owned(),
            text: error.text,
            file: error.file,
            line: error.line,
            column: error.column,
            width: error.width,
            excerpt: Some(error.excerpt),
            notes: vec![("help", error.help)],
        };
        let lint = Lint { level, excerpt };
        if !self.lints.contains(&lint) {
            self.lints.push(lint);
        }
    }
}

/// Two rules that both write an element there is room for once, and whose conditions do not exclude each other; and two
/// types of one choice. Where the conditions are beyond this reading, nothing is said.
fn twice(read: &Walk<'_>, said: &mut Said<'_>) {
    let writes: Vec<&Statement> =
        read.statements.iter().filter(|statement| statement.once && statement.writes).collect();
    for (at, one) in writes.iter().enumerate() {
        for other in writes.iter().skip(at + 1) {
            let parent = |statement: &Statement| {
                statement.target.rsplit_once('.').map(|(parent, _)| parent.to_owned())
            };
            let same = one.target == other.target;
            let choice = one.choice.is_some() && one.choice == other.choice && parent(one) == parent(other);
            if (!same && !choice) || one.place == other.place || exclusive::exclude(one, other) {
                continue;
            }
            let element = plain(&one.target);
            let (code, text) = match same {
                true => {
                    ("target-overlap", format!("`{element}` is written here too, and may be there once only"))
                }
                false => (
                    "choice-twice",
                    format!("`{}` beside `{element}`: one type of the choice only", plain(&other.target)),
                ),
            };
            let help = format!(
                "the other rule is at {}; let their conditions exclude each other",
                said.files.show(one.place)
            );
            said.say("warning", code, other.place, text, help);
        }
    }
}

/// Rules that can never fire, and groups nobody calls.
fn unreachable(program: &Program, read: &Walk<'_>, said: &mut Said<'_>) {
    // A group called from several places is reached if one of them reaches it.
    let live: Vec<Place> =
        read.statements.iter().filter(|s| !exclusive::never(s)).map(|statement| statement.rule).collect();
    // Of a library map a sender may use a part: what its own conditions keep away is no fault of either.
    let own_file = program.maps.first().map(|map| map.file);
    for statement in &read.statements {
        if Some(statement.rule.file) == own_file && !live.contains(&statement.rule) {
            let text =
                "this is never carried out: the conditions on the way contradict each other".to_owned();
            said.say("warning", "rule-unreachable", statement.rule, text, "mend the condition".to_owned());
        }
    }
    let own = program.maps.first().map(|map| map.groups.as_slice()).unwrap_or_default();
    for group in own.iter().filter(|group| !read.reached.contains(&group.place)) {
        let text = format!("group `{}` is called by no rule", group.name);
        let help =
            nearest(&group.name, own.iter().filter(|g| g.place != group.place).map(|g| g.name.as_str()));
        said.say("warning", "group-unused", group.place, text, help);
    }
}

/// Source names the notation does not have: CSV columns that are not agreed on, HL7v2 parts that cannot be.
fn names(compiled: &CompiledFolder, read: &Walk<'_>, said: &mut Said<'_>) {
    let columns = &compiled.folder().manifest.matches.columns;
    let seen = seen(compiled);
    for (_, step, place) in &read.steps {
        match compiled.folder().format() {
            Format::Csv
                if !columns.is_empty()
                    && !columns.contains(step)
                    && !matches!(step.as_str(), "group" | "row") =>
            {
                let help = nearest(step, columns.iter().map(String::as_str).chain(["group", "row"]));
                said.say(
                    "error",
                    "source-unknown",
                    *place,
                    format!("`{step}` is no column of [match]"),
                    help,
                );
            }
            Format::Hl7v2 if !is_v2_name(step) => {
                let help = "write a group (PATIENT), a segment (OBX), a field (OBX_5), C1 or S1".to_owned();
                said.say(
                    "error",
                    "source-unknown",
                    *place,
                    format!("`{step}` is no part of an HL7v2 message"),
                    help,
                );
            }
            // A vendor's own documents have no model: what they hold is what the cases show.
            Format::Json | Format::Xml if !seen.is_empty() && !seen.contains(step) => {
                let near = nearest(step, seen.iter().map(String::as_str));
                if !near.is_empty() {
                    let text = format!("no case has a field `{step}`");
                    said.say("warning", "source-unseen", *place, text, near);
                }
            }
            _ => {}
        }
    }
}

/// Names of everything in the cases of a vendor's own JSON or XML; empty for FHIR, whose library maps name every element of the
/// standard, and where there is no case.
fn seen(compiled: &CompiledFolder) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for case in &compiled.folder().cases {
        let tree = compiled.parse(&case.input).tree;
        let ids = (0..tree.len()).filter_map(|at| u32::try_from(at).ok()).map(NodeId);
        seen.extend(ids.map(|id| tree.name(id).to_owned()));
    }
    if seen.contains("resourceType") { BTreeSet::new() } else { seen }
}

/// Segment, group, field, component or subcomponent, as this reading of HL7v2 names them.
fn is_v2_name(name: &str) -> bool {
    let upper = name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    let number = |text: &str| !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    let part = name.strip_prefix(['C', 'S']).is_some_and(number);
    let field = name
        .split_once('_')
        .filter(|(segment, _)| segment.len() == 3)
        .is_none_or(|(_, rest)| number(rest) || rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
    name == "other" || part || (upper && field && name.len() >= 3)
}

/// A path without the marks that tell elements apart.
pub(super) fn plain(path: &str) -> String {
    path.split('.').map(|step| step.split('#').next().unwrap_or(step)).collect::<Vec<_>>().join(".")
}
