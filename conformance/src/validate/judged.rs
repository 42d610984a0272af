//! The invariants of the table as FHIRPath: each is judged by its own expression, unless it has code of its own.
//!
//! Only an expression that gives `false` breaks the rule. One that gives nothing (a date that may lie on either side, a
//! quantity in another unit) or cannot be evaluated on what is there refuses nobody.

use std::collections::HashMap;

use crate::definitions::{Definitions, Invariant};
use crate::fhirpath::{Compiled, Context, Item};

use super::{Severity, invariant, walk::Walk};

/// Every row of the table of invariants, by how it is judged.
#[derive(Debug)]
pub struct Judged {
    by_path: HashMap<&'static str, Vec<(Invariant, Compiled)>>,
    /// Rows with code of their own: path and key.
    pub coded: Vec<(&'static str, &'static str)>,
    /// Rows judged by their expression: path and key.
    pub evaluated: Vec<(&'static str, &'static str)>,
    /// Rows not judged: path, key and why.
    pub left_out: Vec<(&'static str, &'static str, String)>,
}

/// How each invariant of the definitions is judged; compiled on first use.
pub fn judged(definitions: &Definitions) -> &Judged {
    definitions.judged.get_or_init(|| compile(definitions))
}

/// Rows that are not judged, and why.
const LEFT_OUT: &[(&str, &str)] =
    &[("dom-6", "a narrative is good practice and not a rule (domainresource.html)")];

/// Why a row is not judged, when it is not.
pub(super) fn left_out(key: &str) -> Option<&'static str> {
    LEFT_OUT.iter().find(|(known, _)| *known == key).map(|(_, why)| *why)
}

fn compile(definitions: &Definitions) -> Judged {
    let mut judged =
        Judged { by_path: HashMap::new(), coded: Vec::new(), evaluated: Vec::new(), left_out: Vec::new() };
    for row in definitions.invariants() {
        if invariant::is_coded(row.path, row.key) {
            judged.coded.push((row.path, row.key));
            continue;
        }
        if let Some(why) = left_out(row.key) {
            judged.left_out.push((row.path, row.key, why.to_owned()));
            continue;
        }
        match Compiled::new(row.expression) {
            Ok(expression) => {
                judged.by_path.entry(row.path).or_default().push((*row, expression));
                judged.evaluated.push((row.path, row.key));
            }
            Err(error) => judged.left_out.push((row.path, row.key, error.to_string())),
        }
    }
    judged
}

impl<'d> Walk<'d> {
    /// Judges an element by the rules declared at a path.
    pub(super) fn judge_at(&mut self, path: &str, item: Option<Item<'d>>) {
        let definitions = self.definitions;
        let Some(rules) = judged(definitions).by_path.get(path) else { return };
        let (Some(item), Some((resource, root))) = (item, self.resources.last()) else { return };
        let context = Context { definitions, resource: *resource, root: *root };
        for (row, expression) in rules {
            let broken = expression.holds(&context, item) == Ok(Some(false));
            if broken && let Some(at) = item.node() {
                let severity = if row.severity == "warning" { Severity::Warning } else { Severity::Error };
                let text = format!("{}: {}", row.key, row.human);
                self.issue(severity, "invariant", at, text, "mend what the rule names");
            }
        }
    }
}
