//! The account of a document: every leaf was read, is left out on purpose, or is reported as dropped.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::{
    finding::{Finding, Severity},
    folder::Ignore,
    output::Coverage,
    source::{NodeId, Tree},
};

/// What became of the leaves of one document. The three parts add up to all leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Leaves mapped or tested in a condition.
    pub read: usize,
    /// Leaves left out on purpose, each with the index of its `ignore` entry.
    pub ignored: Vec<(NodeId, usize)>,
    /// Leaves nobody looked at.
    pub dropped: Vec<NodeId>,
}

/// Accounts for every leaf. A leaf that was read counts as read even where a pattern covers it.
pub fn account(tree: &Tree, coverage: &Coverage, ignore: &[Ignore]) -> Account {
    let patterns = Patterns::new(ignore);
    let mut account = Account::default();
    let mut siblings = None;
    for leaf in tree.leaves() {
        if coverage.is_marked(leaf) {
            account.read += 1;
            continue;
        }
        match patterns.entry(tree, leaf, &mut siblings) {
            Some(entry) => account.ignored.push((leaf, entry)),
            None => account.dropped.push(leaf),
        }
    }
    account
}

/// A `leaf-dropped` finding for every leaf that was neither read nor ignored, grouped by cause per field: a warning, and below
/// a path of `complete` an error, which keeps the unit. Line and column are filled in by [`crate::output::Output::locate`].
pub(crate) fn coverage_findings(
    tree: &Tree,
    coverage: &Coverage,
    ignore: &Patterns,
    complete: &[String],
) -> Vec<Finding> {
    let mut siblings = None;
    tree.leaves()
        .filter(|&leaf| !coverage.is_marked(leaf))
        .filter(|&leaf| ignore.entry(tree, leaf, &mut siblings).is_none())
        .map(|leaf| {
            let shape = tree.shape(leaf);
            let whole = complete.iter().any(|path| covers(path, &shape));
            Finding::new(
                if whole { Severity::Error } else { Severity::Warning },
                "leaf-dropped",
                format!("The map does not read {shape}; its value is not in the result."),
                "Map the field, or list it under [[ignore]] in mapping.toml with the reason.",
            )
            .at(tree.path(leaf), tree.node(leaf).span, 0, 0)
            .because(shape)
        })
        .collect()
}

/// Whether a pattern covers a path without ordinals. Steps match one to one from the start, `*` stands for any text
/// inside a step; what lies below the last step is covered too.
fn covers(pattern: &str, shape: &str) -> bool {
    let mut steps = shape.split('.');
    pattern.split('.').all(|wanted| steps.next().is_some_and(|step| glob(wanted, step)))
}

/// The paths of `ignore` as a tree of steps, to be matched on the way down a document; they cover what [`covers`] says.
#[derive(Debug, Clone)]
pub(crate) struct Patterns(Vec<Step>);

/// Where patterns stand after some steps; the first is where all begin.
#[derive(Debug, Clone, Default)]
struct Step {
    /// The first pattern that ends here, and so covers all from here on.
    entry: Option<usize>,
    /// By the whole next name.
    names: HashMap<Box<str>, usize, RandomState>,
    /// By names with `*` in them.
    globs: Vec<(Box<str>, usize)>,
}

/// How far the patterns fit a path.
#[derive(Debug, Clone)]
struct Fit {
    /// Steps that may go on.
    alive: SmallVec<[usize; 4]>,
    /// The first pattern that covers it.
    covered: Option<usize>,
}

impl Patterns {
    /// As `mapping.toml` lists them.
    pub(crate) fn new(ignore: &[Ignore]) -> Patterns {
        let mut patterns = Patterns(vec![Step::default()]);
        for (entry, ignore) in ignore.iter().enumerate() {
            let at = ignore.path.split('.').fold(0, |at, name| patterns.step(at, name));
            if let Some(step) = patterns.0.get_mut(at) {
                step.entry.get_or_insert(entry);
            }
        }
        patterns
    }

    /// The step behind `at` for a name of a pattern, made where it is not there.
    fn step(&mut self, at: usize, name: &str) -> usize {
        let next = self.0.len();
        let Some(step) = self.0.get_mut(at) else { return at };
        let there = match name.contains('*') {
            true => step.globs.iter().find(|(glob, _)| **glob == *name).map(|(_, to)| *to),
            false => step.names.get(name).copied(),
        };
        if let Some(there) = there {
            return there;
        }
        match name.contains('*') {
            true => step.globs.push((name.into(), next)),
            false => drop(step.names.insert(name.into(), next)),
        }
        self.0.push(Step::default());
        next
    }

    /// The first pattern that covers a leaf. `siblings`: the parent of the leaf before, and how the patterns fit its path.
    fn entry(&self, tree: &Tree, leaf: NodeId, siblings: &mut Option<(NodeId, Fit)>) -> Option<usize> {
        let parent = tree.node(leaf).parent.filter(|_| tree.anchor_name(leaf).is_none());
        let Some(parent) = parent else { return self.fit(tree, leaf).covered };
        let fit = match siblings {
            Some((known, fit)) if *known == parent => fit,
            _ => &mut siblings.insert((parent, self.fit(tree, parent))).1,
        };
        match fit.alive.is_empty() {
            true => fit.covered,
            false => self.further(fit, tree.name(leaf)).covered,
        }
    }

    fn fit(&self, tree: &Tree, node: NodeId) -> Fit {
        let all = || Fit { alive: SmallVec::from_slice(&[0]), covered: None };
        match (tree.anchor_name(node), tree.node(node).parent) {
            (Some(name), _) => self.further(&all(), name),
            (None, Some(parent)) => {
                let above = self.fit(tree, parent);
                if above.alive.is_empty() { above } else { self.further(&above, tree.name(node)) }
            }
            (None, None) => all(),
        }
    }

    /// The same one name further down. A name with points in it is as many steps.
    fn further(&self, fit: &Fit, name: &str) -> Fit {
        let mut found = Fit { alive: SmallVec::new(), covered: fit.covered };
        // Names rarely hold a point, and are short: looking for the byte is cheaper than setting up a search.
        let pointed = name.as_bytes().contains(&b'.').then(|| name.split_once('.')).flatten();
        let (first, rest) = pointed.map_or((name, None), |(first, rest)| (first, Some(rest)));
        for step in fit.alive.iter().filter_map(|&at| self.0.get(at)) {
            let globs = step.globs.iter().filter(|(pattern, _)| glob(pattern, first)).map(|(_, to)| *to);
            for next in step.names.get(first).copied().into_iter().chain(globs) {
                let Some(step) = self.0.get(next) else { continue };
                if let Some(entry) = step.entry {
                    found.covered = Some(found.covered.map_or(entry, |before| before.min(entry)));
                }
                if !step.names.is_empty() || !step.globs.is_empty() {
                    found.alive.push(next);
                }
            }
        }
        match rest {
            Some(rest) => self.further(&found, rest),
            None => found,
        }
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    if !pattern.as_bytes().contains(&b'*') {
        return pattern == text;
    }
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = text.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Span, Value};

    fn ignore(path: &str) -> Ignore {
        Ignore { path: path.to_owned(), reason: "test".to_owned() }
    }

    /// As [`super::covers`], on the way down a tree.
    fn covers(pattern: &str, path: &str) -> bool {
        let mut tree = Tree::new("document", 0);
        let mut at = tree.root();
        for step in path.split('.') {
            at = tree.push(at, step, Value::None, Span::default());
        }
        let ignore = [ignore(pattern)];
        let found = Patterns::new(&ignore).entry(&tree, at, &mut None).is_some();
        assert_eq!(found, super::covers(pattern, path));
        found
    }

    #[test]
    fn the_first_of_several_patterns_is_told_and_a_point_in_a_name_parts_it() {
        let mut tree = Tree::new("document", 0);
        let root = tree.root();
        let value = Value::Text(tree.keep("x"));
        let row = tree.push(root, "row", Value::None, Span::default());
        let leaf = tree.push(row, "gewicht.kg", value, Span::default());
        let all = [ignore("other"), ignore("row.gewicht.kg"), ignore("row.*"), ignore("row")];
        assert_eq!(Patterns::new(&all).entry(&tree, leaf, &mut None), Some(1));
        assert_eq!(Patterns::new(&all[2..]).entry(&tree, leaf, &mut None), Some(0));
        assert_eq!(Patterns::new(&all[..1]).entry(&tree, leaf, &mut None), None);
        assert_eq!(Patterns::new(&[ignore("row.gewicht")]).entry(&tree, leaf, &mut None), Some(0));
    }

    #[test]
    fn a_pattern_covers_what_lies_below_it_and_nothing_beside() {
        assert!(covers("PV1", "PV1.PV1_3.C1"));
        assert!(covers("PID.PID_1*", "PID.PID_11"));
        assert!(covers("OBX.*.C3", "OBX.OBX_3.C3"));
        assert!(!covers("PV1", "PV12.PV1_3"));
        assert!(!covers("PID.PID_5", "PID.PID_50"));
        assert!(!covers("PID.PID_5.C1", "PID.PID_5"));
        assert!(glob("*a*b", "xxaxxb") && !glob("*a*b", "xxaxx"));
    }

    #[test]
    fn every_leaf_is_read_ignored_or_dropped() {
        let mut tree = Tree::new("file", 30);
        let root = tree.root();
        let row = tree.push(root, "row", Value::None, Span { start: 0, end: 30 });
        tree.set_anchor(row, "row", 7);
        let leaf = |tree: &mut Tree, name: &str| {
            let value = Value::Text(tree.keep("x"));
            tree.push(row, name, value, Span::default())
        };
        let (code, _note, _other) =
            (leaf(&mut tree, "code"), leaf(&mut tree, "note"), leaf(&mut tree, "other"));
        let mut coverage = Coverage::default();
        coverage.mark(row);
        coverage.mark(code);
        let account = account(&tree, &coverage, &[ignore("row.note")]);
        assert_eq!((account.read, account.ignored.len(), account.dropped.len()), (1, 1, 1));
        let findings = coverage_findings(
            &tree,
            &coverage,
            &Patterns::new(&[ignore("row.note")]),
            &["row.not".to_owned()],
        );
        assert_eq!(findings.first().map(|f| f.severity), Some(Severity::Warning));
        let kept = coverage_findings(&tree, &coverage, &Patterns::new(&[]), &["row".to_owned()]);
        assert!(kept.len() == 2 && kept.iter().all(|f| f.severity == Severity::Error), "{kept:?}");
        let said: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.cause.as_deref())).collect();
        assert_eq!(said, [("row[7].other", Some("leaf-dropped:row.other"))]);
    }
}
