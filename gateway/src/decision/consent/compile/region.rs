//! What one recipient may see, cell by cell: (author, stretch of days, category, confidentiality, set of labels).

use std::collections::BTreeMap;

use super::{Sourced, meant};
use crate::decision::consent::Effect;
use crate::decision::policy::Policy;
use crate::ids::Ura;

/// Confidentiality levels U to V.
const LEVELS: u8 = 6;

/// The rules in force in one window, with the axes their cells are cut along.
pub(super) struct Space<'c> {
    policy: &'c Policy,
    rules: Vec<Sourced<'c>>,
    /// Stretches of days in which the same rules hold, first and last day.
    days: Vec<(i32, i32)>,
    /// Labels some rule names, one bit each; a subset of them is an index into a cell's sets.
    labels: Vec<u64>,
    authors: Vec<&'c Ura>,
}

/// Visible cells of one recipient, by author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    others: Cells,
    named: Vec<(Ura, Cells)>,
}

/// Per (day, category, confidentiality, labels): 1 + index of the rule that opens it, 0 when closed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cells {
    openers: Vec<u16>,
}

/// One grant's extent in the data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rectangle {
    pub(super) day_from: i32,
    pub(super) day_to: i32,
    pub(super) deny_labels: u64,
    pub(super) confidentiality_max: u8,
    pub(super) consent: Box<str>,
    pub(super) categories: u64,
}

impl<'c> Space<'c> {
    pub(super) fn of(policy: &'c Policy, rules: &[Sourced<'c>]) -> Space<'c> {
        let mut cuts = vec![i64::from(i32::MIN), i64::from(i32::MAX) + 1];
        for (first, last) in rules.iter().filter_map(|s| s.rule.days) {
            cuts.extend([i64::from(first), i64::from(last) + 1]);
        }
        cuts.sort_unstable();
        cuts.dedup();
        let day = |at: i64| i32::try_from(at).unwrap_or(i32::MAX);
        let days =
            cuts.iter().zip(cuts.iter().skip(1)).map(|(from, next)| (day(*from), day(next - 1))).collect();
        let named = rules.iter().fold(0, |labels, s| labels | s.rule.labels);
        let labels = (0..64).map(|at| 1 << at).filter(|bit| named & bit != 0).collect();
        let mut authors: Vec<&Ura> = rules.iter().flat_map(|s| &s.rule.authors).collect();
        authors.sort_unstable();
        authors.dedup();
        Space { policy, rules: rules.to_vec(), days, labels, authors }
    }

    /// Organisations a rule names as recipient.
    pub(super) fn recipients_named(&self) -> Vec<&'c Ura> {
        let mut named: Vec<&Ura> = self
            .rules
            .iter()
            .flat_map(|s| &s.rule.recipients)
            .filter_map(|recipient| match recipient {
                super::Recipient::Organisation(ura) => Some(ura),
                super::Recipient::Kind(_) => None,
            })
            .collect();
        named.sort_unstable();
        named.dedup();
        named
    }

    /// What a recipient of this kind and number may see; neither: what everyone may see.
    pub(super) fn region(&self, kind: Option<&str>, ura: Option<&Ura>) -> Region {
        let meant: Vec<u16> =
            (0u16..).zip(&self.rules).filter(|(_, s)| meant(s.rule, kind, ura)).map(|(at, _)| at).collect();
        let cells = |author: Option<&Ura>| {
            let rules = meant.iter().copied().filter(|at| {
                self.rule(*at).is_some_and(|s| {
                    s.rule.authors.is_empty() || author.is_some_and(|author| s.rule.authors.contains(author))
                })
            });
            self.cells(&rules.collect::<Vec<_>>())
        };
        let named = self.authors.iter().map(|author| ((*author).clone(), cells(Some(author)))).collect();
        Region { others: cells(None), named }
    }

    fn rule(&self, at: u16) -> Option<&Sourced<'c>> {
        self.rules.get(usize::from(at))
    }

    fn cells(&self, rules: &[u16]) -> Cells {
        let mut openers = Vec::new();
        let mut known: BTreeMap<Vec<u16>, Vec<u16>> = BTreeMap::new();
        for (first, _) in &self.days {
            for category in 0..self.policy.categories.len() {
                let here: Vec<u16> = rules
                    .iter()
                    .copied()
                    .filter(|at| {
                        self.rule(*at).is_some_and(|s| {
                            (s.rule.categories == 0 || s.rule.categories >> category & 1 == 1)
                                && s.rule.days.is_none_or(|(from, to)| (from..=to).contains(first))
                        })
                    })
                    .collect();
                let block = known.entry(here).or_insert_with_key(|here| self.block(here));
                openers.extend_from_slice(block);
            }
        }
        Cells { openers }
    }

    /// Openers of one (day, category): index = confidentiality * sets + set of labels.
    fn block(&self, rules: &[u16]) -> Vec<u16> {
        let sets = self.sets();
        let mut block = vec![0u16; usize::from(LEVELS) * sets];
        for level in 0..LEVELS {
            for set in 0..sets {
                let opener = self.opener(rules, self.bits(set), level);
                // A label or a higher confidentiality never opens what is closed without it (rule 6).
                let at = |level: u8, set: usize| {
                    block.get(usize::from(level) * sets + set).is_some_and(|o| *o != 0)
                };
                let below = level == 0 || at(level - 1, set);
                let without = (0..self.labels.len()).filter(|bit| set >> bit & 1 == 1);
                let open = below && without.into_iter().all(|bit| at(level, set & !(1 << bit)));
                if let (true, Some(cell)) = (open, block.get_mut(usize::from(level) * sets + set)) {
                    *cell = opener;
                }
            }
        }
        block
    }

    /// 1 + index of the permit that wins for a row with these labels, 0 when a denial or nothing does.
    fn opener(&self, rules: &[u16], labels: u64, level: u8) -> u16 {
        let mut best: Option<([u8; 4], Effect, u16)> = None;
        for at in rules {
            let Some(s) = self.rule(*at) else { continue };
            if !s.rule.covers_sensitivity(self.policy, labels, level) {
                continue;
            }
            let specificity = s.rule.specificity();
            let wins = best.is_none_or(|(other, effect, _)| {
                specificity > other
                    || (specificity == other && s.rule.effect == Effect::Deny && effect == Effect::Permit)
            });
            if wins {
                best = Some((specificity, s.rule.effect, *at));
            }
        }
        match best {
            Some((_, Effect::Permit, at)) => at.saturating_add(1),
            _ => 0,
        }
    }

    fn sets(&self) -> usize {
        1 << self.labels.len()
    }

    /// Label bits of a subset index.
    fn bits(&self, set: usize) -> u64 {
        self.labels
            .iter()
            .enumerate()
            .filter(|(at, _)| set >> at & 1 == 1)
            .fold(0, |bits, (_, bit)| bits | bit)
    }

    /// The cells as few rectangles, each with the Consent that opens it; those with the fewest labels first, so that
    /// a plain row is laid to the Consent that opened plain rows.
    pub(super) fn rectangles(&self, cells: &Cells) -> Vec<Rectangle> {
        let size = usize::from(LEVELS) * self.sets();
        let categories = self.policy.categories.len();
        let mut merged: BTreeMap<Rectangle, u64> = BTreeMap::new();
        for category in 0..categories {
            let mut open: Vec<Rectangle> = Vec::new();
            for (index, (day_from, day_to)) in self.days.iter().enumerate() {
                let start = (index * categories + category) * size;
                let block = cells.openers.get(start..start + size).unwrap_or_default();
                let mut next = Vec::new();
                for (deny_labels, confidentiality_max, consent) in self.corners(block) {
                    let mut rectangle = Rectangle {
                        day_from: *day_from,
                        day_to: *day_to,
                        deny_labels,
                        confidentiality_max,
                        consent: consent.into(),
                        categories: 0,
                    };
                    let same = |other: &Rectangle| {
                        other.deny_labels == deny_labels
                            && other.confidentiality_max == confidentiality_max
                            && other.consent == rectangle.consent
                    };
                    if let Some(at) = open.iter().position(same) {
                        rectangle.day_from = open.swap_remove(at).day_from;
                    }
                    next.push(rectangle);
                }
                for done in std::mem::replace(&mut open, next) {
                    *merged.entry(done).or_default() |= 1 << category;
                }
            }
            for done in open {
                *merged.entry(done).or_default() |= 1 << category;
            }
        }
        let mut rectangles: Vec<Rectangle> =
            merged.into_iter().map(|(rectangle, categories)| Rectangle { categories, ..rectangle }).collect();
        rectangles.sort_by_key(|r| (std::cmp::Reverse(r.deny_labels.count_ones()), r.confidentiality_max));
        rectangles
    }

    /// Per Consent, the highest (labels, confidentiality) of a block it opens: everything below is open too (rule 6).
    fn corners(&self, block: &[u16]) -> Vec<(u64, u8, &'c str)> {
        let sets = self.sets();
        let mut found: BTreeMap<&str, Vec<(usize, u8)>> = BTreeMap::new();
        for level in (0..LEVELS).rev() {
            for set in (0..sets).rev() {
                let opener = block.get(usize::from(level) * sets + set).copied().unwrap_or(0);
                let Some(source) = opener.checked_sub(1).and_then(|at| self.rule(at)) else { continue };
                let corners = found.entry(source.consent).or_default();
                if !corners.iter().any(|(above, top)| set & above == set && level <= *top) {
                    corners.push((set, level));
                }
            }
        }
        let named = self.labels.iter().fold(0, |bits, bit| bits | bit);
        let closed = |set: usize| (named & !self.bits(set)) | (self.policy.labels_explicit() & !named);
        found
            .into_iter()
            .flat_map(|(consent, corners)| corners.into_iter().map(move |corner| (consent, corner)))
            .map(|(consent, (set, level))| (closed(set), level, consent))
            .collect()
    }
}

impl Region {
    pub(super) fn of_others(&self) -> &Cells {
        &self.others
    }

    pub(super) fn of_named(&self) -> impl Iterator<Item = (&Ura, &Cells)> {
        self.named.iter().map(|(ura, cells)| (ura, cells))
    }

    /// Whether everything visible in `other` is visible here. Regions of one space only.
    pub(super) fn covers(&self, other: &Region) -> bool {
        self.others.covers(&other.others)
            && self.named.iter().zip(&other.named).all(|((_, mine), (_, theirs))| mine.covers(theirs))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.others.is_empty() && self.named.iter().all(|(_, cells)| cells.is_empty())
    }
}

impl Cells {
    pub(super) fn covers(&self, other: &Cells) -> bool {
        self.openers.iter().zip(&other.openers).all(|(mine, theirs)| *theirs == 0 || *mine != 0)
    }

    fn is_empty(&self) -> bool {
        self.openers.iter().all(|opener| *opener == 0)
    }
}
