//! Rules -> grants. Grants only open and are read as a union, so what a denial carves out is spelled out as what is
//! left: time is cut where a rule begins or ends, days likewise, recipients and authors are listed one by one where a
//! denial singles one out.

#[cfg(test)]
mod oracle;
mod region;

use std::collections::BTreeMap;

use super::{ConsentFact, Effect, Recipient, Rule};
use crate::clock::Timestamp;
use crate::decision::filter::Arm;
use crate::decision::organisation::{Organisations, PARTY_ANY, party_of, party_of_kind};
use crate::decision::policy::{ConsentKind, Policy};
use crate::ids::{PartyKey, PatientKey, Ura};
use crate::store::StoreError;
use region::{Rectangle, Region, Space};

/// All grants of one patient, from all her Consents, in stable order. Replaces what was compiled before.
///
/// `party` interns names: `ura:12345678`, `kind:ctb`, `any`. Where a denial names an organisation, the grants of its
/// kind are listed for the registry's other organisations: who joins the registry later is granted nothing until the
/// next compilation (never too much). Errors: those of `party`.
pub fn compile(
    policy: &Policy,
    organisations: &Organisations,
    patient: PatientKey,
    consents: &[ConsentFact],
    party: &mut dyn FnMut(&str) -> Result<PartyKey, StoreError>,
) -> Result<Vec<Arm>, StoreError> {
    let all: Vec<Sourced<'_>> = consents
        .iter()
        .flat_map(|consent| consent.rules.iter().map(|rule| Sourced { rule, consent: &consent.reference }))
        .collect();
    let mut grants: BTreeMap<Grant, Vec<(Timestamp, Timestamp)>> = BTreeMap::new();
    for (purpose, row) in (0u8..).zip(&policy.purposes) {
        if row.consent == ConsentKind::None {
            continue;
        }
        let rules: Vec<_> = all.iter().copied().filter(|s| about(s.rule, purpose)).collect();
        for (from, to) in windows(&rules) {
            let live: Vec<_> = rules.iter().copied().filter(|s| lasts(s.rule, from, to)).collect();
            if !live.iter().any(|s| s.rule.effect == Effect::Permit) {
                continue;
            }
            let space = Space::of(policy, &live);
            for (recipient, region) in audiences(policy, organisations, &space) {
                for (author, rectangle) in authors(organisations, &space, &region) {
                    let grant = Grant { recipient: recipient.clone(), purpose, author, rectangle };
                    join(grants.entry(grant).or_default(), (from, to));
                }
            }
        }
    }
    let mut arms = Vec::new();
    for (grant, windows) in grants {
        let recipient = party(&grant.recipient)?;
        let author = grant.author.as_ref().map(|ura| party(&party_of(ura))).transpose()?;
        for (valid_from, valid_to) in windows {
            arms.push(Arm {
                recipient,
                purpose: grant.purpose,
                patient,
                categories: grant.rectangle.categories,
                deny_labels: grant.rectangle.deny_labels,
                confidentiality_max: grant.rectangle.confidentiality_max,
                day_from: grant.rectangle.day_from,
                day_to: grant.rectangle.day_to,
                author,
                valid_from,
                valid_to,
                consent: grant.rectangle.consent.clone(),
            });
        }
    }
    Ok(arms)
}

/// A rule and the Consent version it comes from.
#[derive(Debug, Clone, Copy)]
struct Sourced<'c> {
    rule: &'c Rule,
    consent: &'c str,
}

/// A grant but for its validity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Grant {
    recipient: String,
    purpose: u8,
    author: Option<Ura>,
    rectangle: Rectangle,
}

fn about(rule: &Rule, purpose: u8) -> bool {
    rule.purposes == 0 || rule.purposes >> purpose & 1 == 1
}

fn lasts(rule: &Rule, from: Timestamp, to: Timestamp) -> bool {
    rule.valid.0 <= from && to <= rule.valid.1
}

/// Stretches of time in which the same rules are in force.
fn windows(rules: &[Sourced<'_>]) -> Vec<(Timestamp, Timestamp)> {
    let mut cuts: Vec<_> = rules.iter().flat_map(|s| [s.rule.valid.0, s.rule.valid.1]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    cuts.iter().copied().zip(cuts.iter().copied().skip(1)).collect()
}

/// Adds a window, joined to the last one where they touch. Windows come in order of time.
fn join(windows: &mut Vec<(Timestamp, Timestamp)>, next: (Timestamp, Timestamp)) {
    match windows.last_mut() {
        Some(last) if last.1 == next.0 => last.1 = next.1,
        _ => windows.push(next),
    }
}

/// Recipients with what each may see. A wider recipient is used only where nobody it covers may see less.
fn audiences(policy: &Policy, organisations: &Organisations, space: &Space<'_>) -> Vec<(String, Region)> {
    let anyone = space.region(None, None);
    let named: Vec<(&Ura, Option<&str>)> =
        space.recipients_named().into_iter().map(|ura| (ura, organisations.kind(ura))).collect();
    let kinds: Vec<(&str, Region)> =
        policy.kinds.iter().map(|kind| (&*kind.code, space.region(Some(&kind.code), None))).collect();
    // An organisation the registry does not know yet could turn out to be of any kind.
    let least = |kind: &str, floor: &Region| {
        named
            .iter()
            .filter(|(_, of)| of.is_none_or(|of| of == kind))
            .all(|(ura, _)| space.region(Some(kind), Some(ura)).covers(floor))
    };
    let mut found = Vec::new();
    let any_holds = kinds.iter().all(|(kind, region)| region.covers(&anyone) && least(kind, &anyone));
    if any_holds && !anyone.is_empty() {
        found.push((PARTY_ANY.to_owned(), anyone.clone()));
    }
    for (kind, region) in &kinds {
        let kind_holds = least(kind, region);
        if kind_holds && !(any_holds && *region == anyone) {
            found.push((party_of_kind(kind), region.clone()));
        }
        if !kind_holds {
            let others = organisations.iter().filter(|(_, of)| of == kind).map(|(ura, _)| ura);
            let others = others.filter(|ura| !named.iter().any(|(n, _)| n == ura));
            found.extend(others.map(|ura| (party_of(ura), region.clone())));
        }
    }
    // An unknown one has no role, so nothing is granted to it under a guessed kind.
    found.extend(named.iter().map(|(ura, kind)| (party_of(ura), space.region(*kind, Some(ura)))));
    found.retain(|(_, region)| !region.is_empty());
    found
}

/// Authors with the rectangles of their rows; `None`: every author, used only where no named one may be seen less.
fn authors(
    organisations: &Organisations,
    space: &Space<'_>,
    region: &Region,
) -> Vec<(Option<Ura>, Rectangle)> {
    let others = region.of_others();
    let every = region.of_named().all(|(_, cells)| cells.covers(others));
    let mut found: Vec<(Option<Ura>, Rectangle)> = Vec::new();
    let rectangles = space.rectangles(others);
    if every {
        found.extend(rectangles.into_iter().map(|rectangle| (None, rectangle)));
    } else {
        let unnamed = organisations.iter().map(|(ura, _)| ura);
        for ura in unnamed.filter(|ura| !region.of_named().any(|(named, _)| named == *ura)) {
            found.extend(rectangles.iter().map(|rectangle| (Some(ura.clone()), rectangle.clone())));
        }
    }
    for (ura, cells) in region.of_named() {
        if !(every && cells == others) {
            let rectangles = space.rectangles(cells).into_iter();
            found.extend(rectangles.map(|rectangle| (Some(ura.clone()), rectangle)));
        }
    }
    found
}

/// Whether a recipient of this kind and number is meant by the rule.
fn meant(rule: &Rule, kind: Option<&str>, ura: Option<&Ura>) -> bool {
    rule.recipients.iter().all(|recipient| match recipient {
        Recipient::Kind(of) => kind == Some(of),
        Recipient::Organisation(of) => ura == Some(of),
    })
}
