//! The account of a document: every leaf was read, is left out on purpose, or is reported as dropped.

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
    let mut account = Account::default();
    for leaf in tree.leaves() {
        if coverage.is_marked(leaf) {
            account.read += 1;
            continue;
        }
        let shape = tree.shape(leaf);
        match ignore.iter().position(|i| covers(&i.path, &shape)) {
            Some(entry) => account.ignored.push((leaf, entry)),
            None => account.dropped.push(leaf),
        }
    }
    account
}

/// A `leaf-dropped` finding for every leaf that was neither read nor ignored, grouped by cause per field: a warning, and below
/// a path of `complete` an error, which keeps the unit. Line and column are filled in by [`crate::output::Output::locate`].
pub fn coverage_findings(
    tree: &Tree,
    coverage: &Coverage,
    ignore: &[Ignore],
    complete: &[String],
) -> Vec<Finding> {
    account(tree, coverage, ignore)
        .dropped
        .into_iter()
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

fn glob(pattern: &str, text: &str) -> bool {
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
        let leaf =
            |tree: &mut Tree, name: &str| tree.push(row, name, Value::Text("x".into()), Span::default());
        let (code, _note, _other) =
            (leaf(&mut tree, "code"), leaf(&mut tree, "note"), leaf(&mut tree, "other"));
        let mut coverage = Coverage::default();
        coverage.mark(row);
        coverage.mark(code);
        let account = account(&tree, &coverage, &[ignore("row.note")]);
        assert_eq!((account.read, account.ignored.len(), account.dropped.len()), (1, 1, 1));
        let findings = coverage_findings(&tree, &coverage, &[ignore("row.note")], &["row.not".to_owned()]);
        assert_eq!(findings.first().map(|f| f.severity), Some(Severity::Warning));
        let kept = coverage_findings(&tree, &coverage, &[], &["row".to_owned()]);
        assert!(kept.len() == 2 && kept.iter().all(|f| f.severity == Severity::Error), "{kept:?}");
        let said: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.cause.as_deref())).collect();
        assert_eq!(said, [("row[7].other", Some("leaf-dropped:row.other"))]);
    }
}
