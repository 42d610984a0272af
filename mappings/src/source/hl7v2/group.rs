//! Segment groups of ORU^R01, rebuilt from the flat segments.
//!
//! `PATIENT_RESULT` > `PATIENT` (PID, PD1, NK1, NTE, `VISIT` > PV1, PV2), `ORDER_OBSERVATION` (ORC, OBR, NTE, TQ1, ...,
//! `OBSERVATION` > OBX, NTE; `SPECIMEN` > SPM, OBX). Tolerant: a segment missing or out of place is a finding, and the
//! segment stands where it belongs. Segments unknown here (Z segments) stay in the innermost open group.
//!
//! Source: HL7 v2.5.1 7.3.1 (ORU^R01).

use std::collections::HashMap;

use crate::{
    finding::{Finding, Severity},
    source::{NodeId, Span, Tree, Value},
};

/// Where a segment goes.
pub(super) struct Placed {
    pub(super) parent: NodeId,
    /// 1-based among segments of its name under that parent.
    pub(super) ordinal: u32,
    pub(super) finding: Option<Finding>,
}

/// The groups open at this point of the message.
pub(super) struct Grouper {
    root: NodeId,
    result: Option<NodeId>,
    patient: Option<NodeId>,
    visit: Option<NodeId>,
    order: Option<NodeId>,
    order_has_obr: bool,
    specimen: Option<NodeId>,
    observation: Option<NodeId>,
    counts: HashMap<(NodeId, String), u32>,
    results: u32,
}

impl Grouper {
    /// A grouper for message types with groups known here; others stay flat.
    pub(super) fn for_message(message_type: Option<&str>, root: NodeId) -> Option<Grouper> {
        (message_type == Some("ORU^R01")).then(|| Grouper {
            root,
            result: None,
            patient: None,
            visit: None,
            order: None,
            order_has_obr: false,
            specimen: None,
            observation: None,
            counts: HashMap::new(),
            results: 0,
        })
    }

    /// Chooses, and where needed opens, the group for the next segment.
    pub(super) fn place(&mut self, tree: &mut Tree, name: &str, number: u32, span: Span) -> Placed {
        let mut finding = None;
        let parent = match name {
            "FHS" | "BHS" | "BTS" | "FTS" | "SFT" | "UAC" | "DSC" | "MSH" => self.root,
            "PID" => {
                self.close_result();
                let result = self.result(tree, span);
                self.patient(tree, result, span)
            }
            "PD1" | "NK1" | "ARV" | "PV1" | "PV2" => {
                if self.order.is_some() {
                    finding = Some(misplaced(name, "PID, before the first ORC or OBR"));
                } else if self.patient.is_none() {
                    finding = Some(misplaced(name, "PID"));
                }
                let result = self.result(tree, span);
                let patient = match self.patient {
                    Some(patient) => patient,
                    None => self.patient(tree, result, span),
                };
                if name.starts_with("PV") { self.visit(tree, patient, span) } else { patient }
            }
            "ORC" => self.open_order(tree, name, number, span, &mut finding),
            "OBR" => {
                let order = match self.order {
                    Some(order) if !self.order_has_obr && self.observation.is_none() => order,
                    _ => self.open_order(tree, name, number, span, &mut finding),
                };
                self.order_has_obr = true;
                order
            }
            "OBX" => {
                self.results += 1;
                match (self.order, self.specimen) {
                    (Some(_), Some(specimen)) => specimen,
                    (order, _) => {
                        if !self.order_has_obr {
                            finding = Some(misplaced(name, "an OBR"));
                        }
                        let order = match order {
                            Some(order) => order,
                            None => self.open_order(tree, name, number, span, &mut finding),
                        };
                        let group = self.open(tree, order, "OBSERVATION", span);
                        tree.set_anchor(group, name, number);
                        self.observation = Some(group);
                        group
                    }
                }
            }
            "SPM" => {
                self.observation = None;
                let order = match self.order {
                    Some(order) => order,
                    None => {
                        finding = Some(misplaced(name, "an OBR"));
                        self.open_order(tree, name, number, span, &mut finding)
                    }
                };
                let group = self.open(tree, order, "SPECIMEN", span);
                self.specimen = Some(group);
                group
            }
            "TQ1" | "TQ2" | "CTD" | "FT1" | "CTI" => {
                // These close the observations of an order: an NTE after them is about the order.
                self.observation = None;
                self.order.unwrap_or(self.root)
            }
            _ => self.innermost(),
        };
        self.extend(tree, parent, span);
        let ordinal = self.count(parent, name);
        Placed { parent, ordinal, finding }
    }

    /// What is missing at the end of the message.
    pub(super) fn finish(self) -> Option<Finding> {
        (self.results == 0).then(|| {
            Finding::new(
                Severity::Warning,
                "result-missing",
                "The result message has no OBX: it carries no result, or was cut off.",
                "Send the results, or an order message when there are none yet.",
            )
        })
    }

    fn innermost(&self) -> NodeId {
        [self.observation, self.specimen, self.order, self.visit, self.patient, self.result]
            .into_iter()
            .flatten()
            .next()
            .unwrap_or(self.root)
    }

    fn close_result(&mut self) {
        (self.result, self.patient, self.visit) = (None, None, None);
        self.close_order();
    }

    fn close_order(&mut self) {
        (self.order, self.observation, self.specimen) = (None, None, None);
        self.order_has_obr = false;
    }

    fn result(&mut self, tree: &mut Tree, span: Span) -> NodeId {
        match self.result {
            Some(result) => result,
            None => {
                let result = self.open(tree, self.root, "PATIENT_RESULT", span);
                self.result = Some(result);
                result
            }
        }
    }

    fn patient(&mut self, tree: &mut Tree, result: NodeId, span: Span) -> NodeId {
        let patient = self.open(tree, result, "PATIENT", span);
        self.patient = Some(patient);
        patient
    }

    fn visit(&mut self, tree: &mut Tree, patient: NodeId, span: Span) -> NodeId {
        match self.visit {
            Some(visit) => visit,
            None => {
                let visit = self.open(tree, patient, "VISIT", span);
                self.visit = Some(visit);
                visit
            }
        }
    }

    fn open_order(
        &mut self,
        tree: &mut Tree,
        name: &str,
        number: u32,
        span: Span,
        finding: &mut Option<Finding>,
    ) -> NodeId {
        if self.patient.is_none() {
            *finding = Some(
                Finding::new(
                    Severity::Warning,
                    "segment-missing",
                    "The result message has no PID: it does not say whose results these are.",
                    "Send PID before the first ORC or OBR.",
                )
                .because("PID"),
            );
        }
        self.close_order();
        let result = self.result(tree, span);
        let order = self.open(tree, result, "ORDER_OBSERVATION", span);
        tree.set_anchor(order, name, number);
        self.order = Some(order);
        order
    }

    fn open(&mut self, tree: &mut Tree, parent: NodeId, name: &str, span: Span) -> NodeId {
        let symbol = tree.intern(name);
        let ordinal = self.count(parent, name);
        tree.push_ordinal(parent, symbol, Value::None, span, ordinal)
    }

    /// Groups reach to the end of their last segment. One that takes a misplaced segment in is not stretched over what
    /// stands between.
    fn extend(&self, tree: &mut Tree, group: NodeId, span: Span) {
        let mut at = Some(group);
        while let Some(id) = at.filter(|&id| id != self.root) {
            let last = [self.observation, self.specimen, self.order, self.result].contains(&Some(id));
            if (last || self.order.is_none()) && tree.node(id).span.end < span.end {
                tree.set_end(id, span.end);
            }
            at = tree.node(id).parent;
        }
    }

    fn count(&mut self, parent: NodeId, name: &str) -> u32 {
        let count = self.counts.entry((parent, name.to_owned())).or_insert(0);
        *count += 1;
        *count
    }
}

fn misplaced(name: &str, after: &str) -> Finding {
    Finding::new(
        Severity::Warning,
        "segment-misplaced",
        format!("{name} does not follow {after}."),
        "Send the segments in the order of ORU^R01 (HL7 v2.5.1 7.3.1).",
    )
    .because(name)
}
