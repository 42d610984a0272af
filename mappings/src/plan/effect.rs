//! Statements about the unit being built: its identity, whose it is, when it was said, and refusals.

use smallvec::SmallVec;

use crate::source::NodeId;

use super::code::Effect;
use super::execute::Machine;
use super::item::{Item, Items, trimmed};
use super::problem::Problem;
use super::shape::shapes;

impl<'t> Machine<'t> {
    pub(crate) fn effect(&mut self, effect: Effect, values: &[Items<'t>]) -> Result<(), Problem> {
        if effect == Effect::Use {
            for item in values.iter().flat_map(Items::as_slice) {
                if let Item::Node(node) = item {
                    self.use_all(*node);
                }
            }
            return Ok(());
        }
        let mut texts: SmallVec<[Option<&'t str>; 4]> = SmallVec::new();
        for value in values {
            texts.push(self.single_text(value)?.and_then(trimmed));
        }
        let on_value = values.last().and_then(Items::first);
        let text = |at: usize| texts.get(at).copied().flatten().map(str::to_owned);
        let placed = |problem: Problem| match on_value {
            Some(item) => problem.on(item),
            None => problem,
        };
        match effect {
            Effect::Refuse | Effect::Warn => {
                let said = text(0).unwrap_or_else(|| "refused by the map".to_owned());
                let problem = Problem::new(
                    if effect == Effect::Refuse { "map-refused" } else { "map-warning" },
                    said.clone(),
                    text(1).unwrap_or_else(|| "mend the document".to_owned()),
                )
                .because(said);
                return Err(if effect == Effect::Warn { problem.warning() } else { problem });
            }
            _ => {}
        }
        if effect == Effect::Leave {
            return self.leave(texts.iter().flatten().map(|text| (*text).to_owned()).collect());
        }
        let Some(unit) = self.unit.and_then(|at| self.units.get_mut(at)) else {
            return Err(Problem::new(
                "map-unit",
                "there is no resource yet to say this of",
                "create it first",
            ));
        };
        match effect {
            Effect::Identity => {
                let complete = texts.iter().skip(1).all(Option::is_some);
                let (Some(system), true) = (text(0), complete) else {
                    return Err(placed(Problem::new(
                        "identity-incomplete",
                        "a part of the business identifier is missing",
                        "send the identifying fields; without them a correction cannot find its original",
                    )));
                };
                // Length-free joining would let ("a|b","c") meet ("a","b|c"): the bar inside a part is doubled.
                let mut value = String::new();
                for (at, part) in texts.iter().skip(1).flatten().enumerate() {
                    value.push_str(if at > 0 { "|" } else { "" });
                    match part.contains('|') {
                        true => value.push_str(&part.replace('|', "||")),
                        false => value.push_str(part),
                    }
                }
                if unit.identity.replace((system, value)).is_some() {
                    return Err(Problem::new(
                        "identity-second",
                        "the identity is set twice",
                        "set it in one rule",
                    ));
                }
            }
            Effect::SubjectNone => unit.subject_none = true,
            Effect::SourceTime => unit.source_time = text(0).or(unit.source_time.take()),
            Effect::SubjectBsn | Effect::ReplacedByBsn => {
                let subject =
                    if effect == Effect::SubjectBsn { &mut unit.subject } else { &mut unit.replaced_by };
                let Some(text) = text(0) else { return Ok(()) };
                let bsn = crate::bsn::Bsn::parse(&text).map_err(|why| {
                    placed(Problem::new(
                        "bsn-invalid",
                        why.to_string(),
                        "send the BSN as verified, nine digits",
                    ))
                })?;
                let bsn = bsn.as_str().to_owned();
                if subject.bsn.as_ref().is_some_and(|other| *other != bsn) {
                    return Err(placed(Problem::new(
                        "subject-ambiguous",
                        "two different BSNs for one resource",
                        "send one patient per resource",
                    )));
                }
                subject.bsn = Some(bsn);
            }
            Effect::SubjectLocal | Effect::ReplacedByLocal => {
                let subject =
                    if effect == Effect::SubjectLocal { &mut unit.subject } else { &mut unit.replaced_by };
                if let (Some(system), Some(value)) = (text(0), text(1)) {
                    let local = (system, value);
                    if !subject.local.contains(&local) {
                        subject.local.push(local);
                    }
                }
            }
            Effect::SubjectReference => {
                let Some(reference) = text(0) else { return Ok(()) };
                if unit.subject.reference.as_ref().is_some_and(|other| *other != reference) {
                    return Err(placed(Problem::new(
                        "subject-ambiguous",
                        "two different patient references for one resource",
                        "send one patient per resource",
                    )));
                }
                unit.subject.reference = Some(reference);
            }
            Effect::Leave | Effect::Refuse | Effect::Warn | Effect::Use => {}
        }
        Ok(())
    }

    /// Notes elements the document says nothing of: names of the resource's own elements, or of one below.
    fn leave(&mut self, names: Vec<String>) -> Result<(), Problem> {
        let root = self.unit.and_then(|at| self.units.get(at)).map(|unit| unit.root);
        let type_id = root.and_then(|root| self.target.get(root)).map(|node| node.type_id);
        let Some(type_id) = type_id else {
            let text = "there is no resource yet to say this of";
            return Err(Problem::new("map-unit", text, "create it first"));
        };
        for name in &names {
            let (head, tail) = name.split_once('.').map_or((name.as_str(), None), |(h, t)| (h, Some(t)));
            let field = shapes().find(type_id, head);
            let below = |tail| field.and_then(|field| shapes().find(shapes().field(field).type_id, tail));
            if field.is_none() || tail.is_some_and(|tail| below(tail).is_none()) {
                let text = format!("`{name}` is no element of {} in R4", shapes().type_name(type_id));
                return Err(Problem::new("element-unknown", text, "name an element as JSON has it"));
            }
        }
        if let Some(unit) = self.unit.and_then(|at| self.units.get_mut(at)) {
            unit.left.extend(names);
            unit.left.sort_unstable();
            unit.left.dedup();
        }
        Ok(())
    }

    /// Marks everything below a node as read: the map says it looked and needs none of it.
    fn use_all(&mut self, node: NodeId) {
        let tree = self.tree;
        let mut queue = vec![node];
        while let Some(node) = queue.pop() {
            self.mark(node);
            queue.extend(tree.children(node));
        }
    }
}
