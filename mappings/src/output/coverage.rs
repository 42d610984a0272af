//! Which nodes of a source tree somebody looked at.

use crate::source::NodeId;

/// A bit per node. Marking is cheap enough to be always on (`mapping.md` 5: 10 % of a run).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    words: Vec<u64>,
}

impl Coverage {
    /// Nothing read, room for `nodes` nodes.
    pub fn new(nodes: usize) -> Coverage {
        Coverage { words: vec![0; nodes.div_ceil(64)] }
    }

    /// Notes that a value was mapped or tested. Reading an ancestor does not count its leaves.
    pub fn mark(&mut self, node: NodeId) {
        let word = node.0 as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= 1 << (node.0 % 64);
        }
    }

    /// Whether the node was marked.
    pub fn is_marked(&self, node: NodeId) -> bool {
        self.words.get(node.0 as usize / 64).is_some_and(|bits| bits >> (node.0 % 64) & 1 == 1)
    }

    /// Takes over the marks of another coverage of the same tree.
    pub fn merge(&mut self, other: &Coverage) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// Number of marked nodes.
    pub fn count(&self) -> usize {
        self.words.iter().map(|w| w.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_beyond_the_room_is_kept() {
        let mut coverage = Coverage::new(1);
        coverage.mark(NodeId(0));
        coverage.mark(NodeId(200));
        assert!(coverage.is_marked(NodeId(200)) && !coverage.is_marked(NodeId(199)));
        assert_eq!(coverage.count(), 2);
    }
}
