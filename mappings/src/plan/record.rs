//! What a run did, rule by rule, and how each source value was used: for the author's tools. Off unless asked for; a
//! run that serves keeps only coverage.

use crate::fml::Place;
use crate::source::NodeId;

/// How a source value was used. A value may be used in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reading {
    /// Looked at in a condition, or its presence was.
    #[default]
    Tested,
    /// Put into a resource, an identity or a variable.
    Copied,
    /// Put into a resource through a code table.
    Translated,
    /// Named by `use(...)`: looked at, and not needed.
    Waived,
}

impl Reading {
    /// Every way, in the order reports list them.
    pub const ALL: [Reading; 4] = [Reading::Copied, Reading::Translated, Reading::Tested, Reading::Waived];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// What happened at a point of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A rule fires on a source item.
    Enter,
    /// A target of the rule was carried out.
    Step,
    /// The rule is done with that item.
    Exit,
}

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub moment: Moment,
    /// Rules and groups around it, from 0.
    pub depth: u32,
    /// Where the rule or target stands in the map.
    pub place: Place,
    /// The rule's name; the element or statement of a step.
    pub name: String,
    /// The source node the rule stands on.
    pub node: NodeId,
    /// What a step made, as text; `None` where that is an element with parts, or nothing. May hold personal data.
    pub value: Option<String>,
}

/// A run, recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// In the order they happened; past [`EVENTS_MAX`] no more are kept.
    pub events: Vec<Event>,
    uses: Vec<u8>,
    /// Nodes whose text the target being carried out has read.
    pub(crate) reads: Vec<NodeId>,
}

/// Events kept of one run.
pub const EVENTS_MAX: usize = 200_000;

impl Record {
    pub(crate) fn new(nodes: usize) -> Record {
        Record { events: Vec::new(), uses: vec![0; nodes], reads: Vec::new() }
    }

    pub(crate) fn mark(&mut self, node: NodeId, reading: Reading) {
        if let Some(bits) = self.uses.get_mut(node.0 as usize) {
            *bits |= reading.bit();
        }
        self.reads.push(node);
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event);
        }
    }

    /// Whether a source node was used in that way.
    pub fn used(&self, node: NodeId, reading: Reading) -> bool {
        self.uses.get(node.0 as usize).is_some_and(|bits| bits & reading.bit() != 0)
    }
}
