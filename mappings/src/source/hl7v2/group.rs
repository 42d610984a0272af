//! Segment groups of a message, rebuilt from its flat segments after the table of [`structure`].
//!
//! Tolerant: a segment is put where the standard has it, whatever came before; one missing or out of place is a finding and
//! never a loss. Segments the structure does not know (Z segments) stay in the innermost open group. Messages of a
//! structure that is not in the table are flat.

mod structure;

use std::collections::HashMap;

use foldhash::fast::RandomState;

use self::structure::{Element, Group, Part, Structure, structure, structures};
use crate::{
    finding::{Finding, Severity},
    source::{NodeId, Span, Symbol, Tree, Value},
};

/// Where a segment goes.
pub(super) struct Placed {
    pub(super) parent: NodeId,
    /// 1-based among segments of its name under that parent.
    pub(super) ordinal: u32,
    pub(super) finding: Option<Finding>,
}

/// A segment that was due in a group and did not come.
pub(super) struct Missing<'b> {
    pub(super) finding: Finding,
    /// The segment that opened the group.
    pub(super) opened_by: Opener<'b>,
}

/// The segment that opened a group: its name and number in the message, bytes, and line; the whole message has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Opener<'b> {
    pub(super) name: &'b str,
    pub(super) number: u32,
    pub(super) span: Span,
    pub(super) line: u32,
}

impl Opener<'_> {
    /// `OBR[2]`; empty for the whole message.
    pub(super) fn path(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!("{}[{}]", self.name, self.number) }
    }
}

/// Every segment of the structures, some of them often.
pub(in crate::source) fn segment_names() -> impl Iterator<Item = &'static str> {
    structures().iter().flat_map(|structure| structure.root.inside.iter().copied())
}

/// Every group of the structures, some of them often.
pub(in crate::source) fn group_names() -> Vec<&'static str> {
    fn below(group: &'static Group, names: &mut Vec<&'static str>) {
        for element in &group.elements {
            if let Part::Group(inner) = &element.part {
                names.push(inner.name);
                below(inner, names);
            }
        }
    }
    let mut names = Vec::new();
    structures().iter().for_each(|structure| below(&structure.root, &mut names));
    names
}

/// A group open at this point of the message.
struct Open<'b> {
    group: &'static Group,
    node: NodeId,
    /// Index of the element the last segment stood at.
    at: usize,
    /// Elements met, one bit each: no group of the table has more than 64.
    met: u64,
    opened_by: Opener<'b>,
}

/// The groups open at this point of the message, outermost first.
pub(super) struct Grouper<'b> {
    structure: &'static Structure,
    open: Vec<Open<'b>>,
    /// Groups by parent and element, the latest of each: where late segments go.
    latest: HashMap<(NodeId, usize), NodeId, RandomState>,
    counts: HashMap<(NodeId, Symbol), u32, RandomState>,
    results: u32,
    missing: Vec<Missing<'b>>,
}

impl<'b> Grouper<'b> {
    /// A grouper for a message of this code, event and structure (MSH-9.1 to 9.3); `None` for those not in the table.
    pub(super) fn for_message(
        (code, event, said): (&str, Option<&str>, Option<&str>),
        root: NodeId,
    ) -> Option<Grouper<'b>> {
        let structure = structure(code, event, said)?;
        // MSH was read to know the structure: it is the first element of each.
        let open = Open { group: &structure.root, node: root, at: 0, met: 1, opened_by: Opener::default() };
        Some(Grouper {
            structure,
            open: vec![open],
            latest: HashMap::default(),
            counts: HashMap::default(),
            results: 0,
            missing: Vec::new(),
        })
    }

    /// Chooses, and where needed opens, the group for the next segment.
    pub(super) fn place(
        &mut self,
        tree: &mut Tree,
        (name, symbol): (&'b str, Symbol),
        number: u32,
        line: u32,
        span: Span,
    ) -> Placed {
        self.results += u32::from(name == "OBX");
        let opener = Opener { name, number, span, line };
        let mut finding = None;
        let parent = if let Some((level, at)) = self.next(name) {
            self.close(level + 1);
            self.enter(tree, name, at, &opener)
        } else if let Some((level, at)) = self.somewhere(name) {
            let standing = self.open.get(level).map(|open| (open.at, open.node, open.group.elements.get(at)));
            match standing {
                // It comes late, for a group that is closed already: put there, what is open stays open.
                Some((before, node, Some(Element { part: Part::Group(group), .. }))) if at < before => {
                    finding = Some(self.misplaced(name));
                    match self.latest.get(&(node, at)) {
                        Some(&group_node) => self.within(group_node, group, name),
                        None => self.lone(tree, node, group, at, name, &opener),
                    }
                }
                Some((before, node, Some(Element { part: Part::Segment(_), .. }))) if at <= before => {
                    finding = Some(self.misplaced(name));
                    self.close(level + 1);
                    node
                }
                // It opens a group whose first segment is missing; closing that group tells.
                Some(_) => {
                    self.close(level + 1);
                    self.enter(tree, name, at, &opener)
                }
                None => tree.root(),
            }
        } else {
            self.open.last().map_or(tree.root(), |open| open.node)
        };
        for open in self.open.iter().skip(1) {
            if tree.node(open.node).span.end < span.end && self.reaches(tree, parent, open.node) {
                tree.set_end(open.node, span.end);
            }
        }
        Placed { parent, ordinal: self.count(parent, symbol), finding }
    }

    /// What is missing, once the message is over.
    pub(super) fn finish(mut self) -> (Vec<Missing<'b>>, Option<Finding>) {
        self.close(0);
        let none = self.structure.name == "ORU_R01" && self.results == 0;
        let finding = none.then(|| {
            Finding::new(
                Severity::Warning,
                "result-missing",
                "The result message has no OBX: it carries no result, or was cut off.",
                "Send the results, or an order message when there are none yet.",
            )
        });
        (self.missing, finding)
    }

    /// The place of a segment that comes in order: the innermost open group that goes on with it.
    fn next(&self, name: &str) -> Option<(usize, usize)> {
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let goes_on = |(at, element): &(usize, &Element)| {
                element.opens_with(name) && (*at > open.at || (*at == open.at && element.repeats))
            };
            open.group.elements.iter().enumerate().skip(open.at).find(goes_on).map(|(at, _)| (level, at))
        })
    }

    /// The place of a segment out of order: the innermost open group that knows it anywhere, ahead before behind.
    fn somewhere(&self, name: &str) -> Option<(usize, usize)> {
        self.open.iter().enumerate().rev().find_map(|(level, open)| {
            let holding =
                || open.group.elements.iter().enumerate().filter(|(_, element)| element.holds(name));
            let ahead = holding().find(|(at, element)| *at > open.at || (*at == open.at && element.repeats));
            // What lies in an earlier group goes there rather than into a new group of a repeating one.
            let behind = holding().rfind(|(at, _)| *at < open.at);
            let here = holding().find(|(at, _)| *at == open.at);
            behind.filter(|_| level > 0).or(ahead).or(behind).or(here).map(|(at, _)| (level, at))
        })
    }

    /// Goes down from the innermost open group to the segment, opening what stands between.
    fn enter(&mut self, tree: &mut Tree, name: &str, at: usize, opener: &Opener<'b>) -> NodeId {
        let mut at = at;
        loop {
            let Some(open) = self.open.last_mut() else { return tree.root() };
            open.at = at;
            open.met |= 1_u64.checked_shl(at as u32).unwrap_or(0);
            let (node, group) = (open.node, open.group);
            let Some(Element { part: Part::Group(inner), .. }) = group.elements.get(at) else { return node };
            let inner_node = self.make(tree, node, inner, at, opener);
            let next = inner.elements.iter().position(|element| element.opens_with(name));
            let next = next.or_else(|| inner.elements.iter().position(|element| element.holds(name)));
            self.open.push(Open { group: inner, node: inner_node, at: 0, met: 0, opened_by: *opener });
            at = next.unwrap_or(0);
        }
    }

    /// A group node under `parent`.
    fn make(
        &mut self,
        tree: &mut Tree,
        parent: NodeId,
        group: &Group,
        at: usize,
        opener: &Opener<'b>,
    ) -> NodeId {
        let symbol = tree.intern(group.name);
        let ordinal = self.count(parent, symbol);
        let node = tree.push_ordinal(parent, symbol, Value::None, opener.span, ordinal);
        if !opener.name.is_empty() {
            tree.set_anchor(node, opener.name, opener.number);
        }
        self.latest.insert((parent, at), node);
        node
    }

    /// The node inside a closed group where a late segment belongs.
    fn within(&self, node: NodeId, group: &Group, name: &str) -> NodeId {
        let inner = group.elements.iter().enumerate().find_map(|(at, element)| match &element.part {
            Part::Group(inner) if element.holds(name) => Some((self.latest.get(&(node, at))?, inner)),
            _ => None,
        });
        match inner {
            Some((&node, inner))
                if !group.elements.iter().any(|e| matches!(&e.part, Part::Segment(s) if *s == name)) =>
            {
                self.within(node, inner, name)
            }
            _ => node,
        }
    }

    /// A closed group made for one late segment.
    fn lone(
        &mut self,
        tree: &mut Tree,
        parent: NodeId,
        group: &Group,
        at: usize,
        name: &str,
        opener: &Opener<'b>,
    ) -> NodeId {
        let node = self.make(tree, parent, group, at, opener);
        let inner = group.elements.iter().enumerate().find_map(|(at, element)| match &element.part {
            Part::Group(inner) if element.holds(name) => Some((at, inner)),
            _ => None,
        });
        match inner {
            Some((at, inner)) => self.lone(tree, node, inner, at, name, opener),
            None => node,
        }
    }

    /// Closes open groups down to `level` of them, noting what is missing in each.
    fn close(&mut self, level: usize) {
        while self.open.len() > level {
            let Some(open) = self.open.pop() else { return };
            for (at, element) in open.group.elements.iter().enumerate() {
                if !element.required || open.met >> at & 1 == 1 {
                    continue;
                }
                let name = match &element.part {
                    Part::Segment(name) => *name,
                    // The openers of a group end with the one it cannot be without.
                    Part::Group(group) => group.first.last().copied().unwrap_or(group.name),
                };
                let finding = Finding::new(
                    Severity::Warning,
                    "segment-missing",
                    format!(
                        "{} has no {name} where {} needs one.",
                        self.within_words(&open),
                        self.structure.name
                    ),
                    format!("Send {name} (HL7 v2.5.1 {}).", self.structure.section),
                );
                self.missing.push(Missing { finding: finding.because(name), opened_by: open.opened_by });
            }
        }
    }

    fn within_words(&self, open: &Open<'b>) -> String {
        match open.group.name {
            "message" => "The message".to_owned(),
            name => format!("The group {name}"),
        }
    }

    fn misplaced(&self, name: &str) -> Finding {
        let Structure { name: structure, section, .. } = self.structure;
        Finding::new(
            Severity::Warning,
            "segment-misplaced",
            format!("{name} stands out of order, or once too often."),
            format!("Send the segments in the order of {structure} (HL7 v2.5.1 {section})."),
        )
        .because(name)
    }

    /// Whether `group` is `node` or one of the groups around it.
    fn reaches(&self, tree: &Tree, node: NodeId, group: NodeId) -> bool {
        let mut at = Some(node);
        while let Some(id) = at {
            if id == group {
                // A late segment lies inside a closed group of an open one: that one is not stretched for it.
                return self.open.iter().any(|open| open.node == node);
            }
            at = tree.node(id).parent;
        }
        false
    }

    fn count(&mut self, parent: NodeId, name: Symbol) -> u32 {
        let count = self.counts.entry((parent, name)).or_insert(0);
        *count += 1;
        *count
    }
}
