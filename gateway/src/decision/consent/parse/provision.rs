//! Provisions -> rules, with what they inherit.

use sluis_conformance::json::Node;

use super::recipient::{actors, organization, organizations};
use super::{cannot, only};
use crate::clock::Timestamp;
use crate::decision::consent::limits::{HOLDERS_MAX, PROVISIONS_MAX};
use crate::decision::consent::{Effect, Recipient, Rule, period};
use crate::decision::label::text;
use crate::decision::policy::{
    ConsentKind, Policy, SYSTEM_ACT_CODE, SYSTEM_ACT_REASON, SYSTEM_CATEGORY, SYSTEM_CONFIDENTIALITY,
};
use crate::response::refusal::Refusal;

const ELEMENTS: [&str; 10] = [
    "id",
    "extension",
    "type",
    "period",
    "actor",
    "purpose",
    "securityLabel",
    "dataPeriod",
    "data",
    "provision",
];

/// What the Consent around the provisions says.
pub(super) struct Reading<'p> {
    pub(super) policy: &'p Policy,
    /// Scope research, or category RESEARCH.
    pub(super) research: bool,
    /// Scope research.
    pub(super) research_scope: bool,
}

impl Reading<'_> {
    /// Rules of the root provision and its exceptions.
    pub(super) fn rules(&self, root: Node<'_>, provision: Node<'_>) -> Result<Vec<Rule>, Refusal> {
        let at = "Consent.provision";
        let holders = organizations(root.get("organization"), "Consent.organization")?;
        let Some(holders) = holders else {
            return Err(cannot(
                "Consent.organization",
                "it is missing; name the data holders, or the kind `any`",
            ));
        };
        let everything = Rule {
            effect: Effect::Deny,
            recipients: Vec::new(),
            purposes: 0,
            categories: 0,
            labels: 0,
            confidentiality: (0, u8::MAX),
            confidentiality_named: false,
            days: None,
            authors: holders,
            valid: (Timestamp::MIN, Timestamp::MAX),
        };
        let roots = self.provision(provision, at, &everything)?;
        let permits = roots.iter().any(|rule| rule.effect == Effect::Permit);
        let labelled = roots.iter().any(|rule| rule.labels != 0);
        if permits && labelled {
            return Err(cannot(
                format!("{at}.securityLabel"),
                "a permit of labelled data alone cannot be enforced; permit the data, and the label in a sub-provision",
            ));
        }
        let mut rules = roots.clone();
        let subs: Vec<_> = provision.get("provision").into_iter().flat_map(|p| p.items()).collect();
        if subs.len() > PROVISIONS_MAX {
            return Err(cannot(format!("{at}.provision"), format!("more than {PROVISIONS_MAX}")));
        }
        for (index, sub) in subs.into_iter().enumerate() {
            let at = format!("{at}.provision[{index}]");
            if sub.get("provision").is_some() {
                return Err(cannot(format!("{at}.provision"), "IHE PCF allows one level of exceptions"));
            }
            let mut made = Vec::new();
            for root in &roots {
                made.extend(self.provision(sub, &at, root)?);
            }
            self.judge_exception(&at, &roots, permits, &made)?;
            rules.extend(made);
        }
        Ok(rules)
    }

    /// An exception that could never apply says something else than its author meant.
    fn judge_exception(&self, at: &str, roots: &[Rule], permits: bool, made: &[Rule]) -> Result<(), Refusal> {
        let Some(first) = made.first() else {
            return Err(cannot(at, "nothing is left of it within the root provision"));
        };
        if first.effect == Effect::Permit && first.labels != 0 && !permits {
            return Err(cannot(
                format!("{at}.securityLabel"),
                "a permit of labelled data alone cannot be enforced; the root has to permit the data itself",
            ));
        }
        let stronger = |rule: &Rule| roots.iter().any(|root| rule.specificity() > root.specificity());
        if first.effect == Effect::Permit && !permits && !made.iter().any(stronger) {
            return Err(cannot(
                at,
                "it is not more specific than the denial it is an exception to, so the denial wins",
            ));
        }
        Ok(())
    }

    /// Rules of one provision under what it inherits: one for each combination of actors.
    fn provision(&self, node: Node<'_>, at: &str, inherited: &Rule) -> Result<Vec<Rule>, Refusal> {
        only(node, &ELEMENTS, at)?;
        let effect = match text(node, "type").as_deref() {
            Some("permit") => Effect::Permit,
            Some("deny") => Effect::Deny,
            _ => return Err(cannot(format!("{at}.type"), "it is missing: permit or deny")),
        };
        let mut rule = Rule { effect, ..inherited.clone() };
        self.purposes(node, at, &mut rule)?;
        self.labels(node, at, inherited, &mut rule)?;
        rule.valid = valid(node, at, inherited.valid)?;
        rule.days = days(node, at, inherited.days)?;
        let empty_days = rule.days.is_some_and(|(first, last)| first > last);
        self.authors(node, at, &mut rule)?;
        if rule.valid.0 >= rule.valid.1 || empty_days {
            return Err(cannot(at, "its period is empty within the root provision"));
        }
        let actors = actors(self.policy, node, at)?;
        if actors.is_empty() {
            return Ok(vec![rule]);
        }
        let mut rules = Vec::new();
        for actor in actors {
            let mut recipients = inherited.recipients.clone();
            let clash = recipients.iter().any(|other| match (other, &actor) {
                (Recipient::Organisation(a), Recipient::Organisation(b)) => a != b,
                (Recipient::Kind(a), Recipient::Kind(b)) => a != b,
                _ => false,
            });
            if clash {
                continue;
            }
            recipients.push(actor);
            recipients.sort();
            recipients.dedup();
            rules.push(Rule { recipients, ..rule.clone() });
        }
        Ok(rules)
    }

    fn purposes(&self, node: Node<'_>, at: &str, rule: &mut Rule) -> Result<(), Refusal> {
        let mut stated = 0u64;
        for (index, coding) in node.get("purpose").into_iter().flat_map(|p| p.items()).enumerate() {
            let at = format!("{at}.purpose[{index}]");
            let code = text(coding, "code").unwrap_or_default();
            let system = text(coding, "system");
            let known = self.policy.purpose(&code).filter(|_| system.as_deref() == Some(SYSTEM_ACT_REASON));
            let Some(key) = known else {
                return Err(cannot(at, "the purpose is not one of this gateway's policy (v3-ActReason)"));
            };
            let kind = self.policy.purposes.get(usize::from(key)).map(|purpose| purpose.consent);
            match kind {
                Some(ConsentKind::Privacy) if !self.research_scope => {}
                Some(ConsentKind::Research) if self.research || rule.effect == Effect::Deny => {}
                Some(ConsentKind::Research) => {
                    return Err(cannot(
                        at,
                        "research needs a Consent of scope research or category RESEARCH",
                    ));
                }
                Some(ConsentKind::Privacy) => {
                    return Err(cannot(at, "a Consent of scope research is about HRESCH only"));
                }
                _ => return Err(cannot(at, "no Consent opens or closes this purpose here")),
            }
            stated |= 1 << key;
        }
        match (stated, rule.purposes) {
            (0, 0) if rule.effect == Effect::Permit => {
                return Err(cannot(format!("{at}.purpose"), "a permit states its purposes"));
            }
            (0, _) => {}
            (_, 0) => rule.purposes = stated,
            (_, inherited) if stated & inherited == 0 => {
                return Err(cannot(
                    format!("{at}.purpose"),
                    "none of them is a purpose of the root provision",
                ));
            }
            (_, inherited) => rule.purposes = stated & inherited,
        }
        Ok(())
    }

    /// `securityLabel`: data categories, sensitivity labels and confidentiality.
    fn labels(&self, node: Node<'_>, at: &str, inherited: &Rule, rule: &mut Rule) -> Result<(), Refusal> {
        let (mut categories, mut labels, mut named) = (0u64, 0u64, None::<(u8, u8)>);
        for (index, coding) in node.get("securityLabel").into_iter().flat_map(|l| l.items()).enumerate() {
            let at = || format!("{at}.securityLabel[{index}]");
            let code = text(coding, "code").unwrap_or_default();
            let unknown = || cannot(at(), "the label is not one of this gateway's policy");
            match text(coding, "system").as_deref() {
                Some(SYSTEM_CATEGORY) => categories |= self.policy.category(&code).ok_or_else(unknown)?,
                Some(SYSTEM_ACT_CODE) => labels |= self.policy.label(&code).ok_or_else(unknown)?,
                Some(SYSTEM_CONFIDENTIALITY) => {
                    let level = self.policy.confidentiality(&code).ok_or_else(unknown)?;
                    named =
                        Some(named.map_or((level, level), |(low, high)| (low.min(level), high.max(level))));
                }
                _ => return Err(unknown()),
            }
        }
        if categories != 0 && inherited.categories != 0 && categories & inherited.categories == 0 {
            return Err(cannot(
                format!("{at}.securityLabel"),
                "none of its categories is one of the root provision",
            ));
        }
        rule.categories = match (categories, inherited.categories) {
            (0, all) | (all, 0) => all,
            (own, root) => own & root,
        };
        rule.labels |= labels;
        rule.confidentiality_named |= named.is_some();
        let (low, high) = inherited.confidentiality;
        rule.confidentiality = match (rule.effect, named) {
            // FHIR R4 consent.provision.securityLabel: a confidentiality means itself and lower.
            (Effect::Permit, Some((_, top))) if top > high => {
                return Err(cannot(
                    format!("{at}.securityLabel"),
                    "its confidentiality is above the root provision's; send a Consent of its own for it",
                ));
            }
            (Effect::Permit, Some((_, top))) if top < low => {
                return Err(cannot(
                    format!("{at}.securityLabel"),
                    "its confidentiality is below the root provision's",
                ));
            }
            (Effect::Permit, Some((_, top))) => (low, top),
            (Effect::Permit, None) if high == u8::MAX => {
                (low, self.policy.confidentiality_unless_named.max(low))
            }
            // IHE PCF, "normal, not restricted": a denied confidentiality means itself and higher.
            (Effect::Deny, Some((bottom, _))) => (bottom.max(low), high),
            (_, None) => (low, high),
        };
        Ok(())
    }

    fn authors(&self, node: Node<'_>, at: &str, rule: &mut Rule) -> Result<(), Refusal> {
        let mut authors = Vec::new();
        for (index, data) in node.get("data").into_iter().flat_map(|data| data.items()).enumerate() {
            let at = format!("{at}.data[{index}]");
            only(data, &["id", "extension", "meaning", "reference"], &at)?;
            if text(data, "meaning").as_deref() != Some("authoredby") {
                return Err(cannot(
                    format!("{at}.meaning"),
                    "single resources cannot be granted or denied exactly; use categories, labels, dataPeriod or authoredby",
                ));
            }
            match organization(data.get("reference"), &format!("{at}.reference"))? {
                Some(ura) => authors.push(ura),
                None => return Err(cannot(format!("{at}.reference"), "name one organisation by its URA")),
            }
        }
        if authors.len() > HOLDERS_MAX {
            return Err(cannot(format!("{at}.data"), format!("more than {HOLDERS_MAX}")));
        }
        if authors.is_empty() {
            return Ok(());
        }
        if !rule.authors.is_empty() {
            authors.retain(|author| rule.authors.contains(author));
        }
        if authors.is_empty() {
            return Err(cannot(format!("{at}.data"), "none of the authors is a data holder of this Consent"));
        }
        authors.sort();
        authors.dedup();
        rule.authors = authors;
        Ok(())
    }
}

fn valid(
    node: Node<'_>,
    at: &str,
    inherited: (Timestamp, Timestamp),
) -> Result<(Timestamp, Timestamp), Refusal> {
    let Some(node) = node.get("period") else { return Ok(inherited) };
    let at = format!("{at}.period");
    only(node, &["id", "extension", "start", "end"], &at)?;
    let bound = |name: &str, read: fn(&str) -> Option<Timestamp>, open: Timestamp| match node.get(name) {
        None => Ok(open),
        Some(value) => value
            .as_str()
            .and_then(|written| read(&written))
            .ok_or_else(|| cannot(format!("{at}.{name}"), "it is not a date or dateTime")),
    };
    let from = bound("start", period::starts, Timestamp::MIN)?.max(inherited.0);
    Ok((from, bound("end", period::ends, Timestamp::MAX)?.min(inherited.1)))
}

fn days(node: Node<'_>, at: &str, inherited: Option<(i32, i32)>) -> Result<Option<(i32, i32)>, Refusal> {
    let Some(node) = node.get("dataPeriod") else { return Ok(inherited) };
    let at = format!("{at}.dataPeriod");
    only(node, &["id", "extension", "start", "end"], &at)?;
    let bound = |name: &str, read: fn(&str) -> Option<i32>, open: i32| match node.get(name) {
        None => Ok(open),
        Some(value) => value
            .as_str()
            .and_then(|written| read(&written))
            .ok_or_else(|| cannot(format!("{at}.{name}"), "it is not a date; data is judged by whole days")),
    };
    let (low, high) = inherited.unwrap_or((i32::MIN, i32::MAX));
    let first = bound("start", period::first, i32::MIN)?.max(low);
    Ok(Some((first, bound("end", period::last, i32::MAX)?.min(high))))
}
