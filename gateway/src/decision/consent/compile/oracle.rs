//! The semantics once more, slowly and row by row, to hold the compiler against: nothing here is shared with it.

#![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::decision::filter::{Derived, Filter};

const LABELS: u64 = 0b111;

/// Visible or not, by the words of the rules 1 to 6 in `consent.rs`.
fn visible(policy: &Policy, consents: &[ConsentFact], asks: &Asks, row: &Derived, author: &Ura) -> bool {
    let subsets = (0..=LABELS).filter(|set| set & row.labels == *set);
    subsets.into_iter().all(|labels| {
        (0..=row.confidentiality).all(|level| winner(policy, consents, asks, row, author, labels, level))
    })
}

fn winner(
    policy: &Policy,
    consents: &[ConsentFact],
    asks: &Asks,
    row: &Derived,
    author: &Ura,
    labels: u64,
    level: u8,
) -> bool {
    let mut permits = Vec::new();
    let mut denials = Vec::new();
    for rule in consents.iter().flat_map(|consent| &consent.rules) {
        let recipient = rule.recipients.iter().all(|recipient| match recipient {
            Recipient::Kind(kind) => **kind == asks.kind,
            Recipient::Organisation(ura) => *ura == asks.ura,
        });
        let purpose = rule.purposes == 0 || rule.purposes & (1 << asks.purpose) != 0;
        let category = rule.categories == 0 || rule.categories & row.category != 0;
        let day = match rule.days {
            None => true,
            Some((first, last)) => first <= row.day && row.day <= last,
        };
        let by = rule.authors.is_empty() || rule.authors.contains(author);
        let now = rule.valid.0 <= asks.now && asks.now < rule.valid.1;
        let level = rule.confidentiality.0 <= level && level <= rule.confidentiality.1;
        let labelled = rule.labels & !labels == 0;
        let cleared = rule.effect == Effect::Deny || labels & !rule.labels & policy.labels_explicit() == 0;
        if recipient && purpose && category && day && by && now && level && labelled && cleared {
            match rule.effect {
                Effect::Permit => permits.push(rule.specificity()),
                Effect::Deny => denials.push(rule.specificity()),
            }
        }
    }
    match (permits.iter().max(), denials.iter().max()) {
        (Some(permit), Some(denial)) => permit > denial,
        (permit, _) => permit.is_some(),
    }
}

struct Asks {
    ura: Ura,
    kind: String,
    purpose: u8,
    now: Timestamp,
}

/// Six organisations of three kinds; the seventh number is in no registry.
fn registry(policy: &Policy) -> Organisations {
    let rows = [("gesp", 1), ("gesp", 2), ("gp", 3), ("gp", 4), ("ctb", 5), ("ctb", 6)];
    let text: String = rows
        .iter()
        .map(|(kind, at)| {
            format!("[[organisation]]\nura = \"0000000{at}\"\nname = \"\"\nkind = \"{kind}\"\n")
        })
        .collect();
    Organisations::parse(policy, "orgs.toml", &text).unwrap()
}

fn number(at: u8) -> Ura {
    Ura::parse(&format!("0000000{at}")).unwrap()
}

fn recipient() -> impl Strategy<Value = Vec<Recipient>> {
    let kind = prop::sample::select(vec!["gesp", "gp", "ctb"]).prop_map(|kind| Recipient::Kind(kind.into()));
    let organisation = (1u8..=7).prop_map(|at| Recipient::Organisation(number(at)));
    prop_oneof![
        2 => Just(Vec::new()),
        2 => kind.clone().prop_map(|kind| vec![kind]),
        3 => organisation.clone().prop_map(|organisation| vec![organisation]),
        1 => (kind, organisation).prop_map(|(kind, organisation)| vec![kind, organisation]),
    ]
}

fn span(low: i64, high: i64) -> impl Strategy<Value = (i64, i64)> {
    (low..high).prop_flat_map(move |from| (Just(from), from + 1..=high))
}

fn rule() -> impl Strategy<Value = Rule> {
    let authors = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::btree_set(1u8..=6, 1..3).prop_map(|set| set.into_iter().map(number).collect()),
    ];
    let days = prop::option::weighted(0.3, span(0, 6));
    let level = prop_oneof![3 => Just(None), 1 => (2u8..=5).prop_map(Some)];
    let valid = prop_oneof![2 => Just((i64::MIN, i64::MAX)), 1 => span(0, 4)];
    (
        prop_oneof![3 => Just(Effect::Permit), 2 => Just(Effect::Deny)],
        recipient(),
        prop_oneof![1 => Just(0u64), 3 => Just(1u64), 1 => Just(0b1001)],
        prop_oneof![2 => Just(0u64), 1 => 1u64..8],
        prop_oneof![3 => Just(0u64), 1 => 1u64..=LABELS],
        level,
        days,
        authors,
        valid,
    )
        .prop_map(|(effect, recipients, purposes, categories, labels, level, days, authors, valid)| {
            Rule {
                effect,
                recipients,
                purposes,
                categories,
                labels,
                confidentiality: match (effect, level) {
                    // A permit beneath a denial of R starts at R.
                    (Effect::Permit, Some(5)) => (4, 5),
                    (Effect::Permit, level) => (0, level.unwrap_or(3)),
                    (Effect::Deny, level) => (level.unwrap_or(0), u8::MAX),
                },
                confidentiality_named: level.is_some(),
                days: days.map(|(from, to)| (from as i32, to as i32 - 1)),
                authors,
                valid: (Timestamp(valid.0), Timestamp(valid.1)),
            }
        })
}

fn consents() -> impl Strategy<Value = Vec<ConsentFact>> {
    prop::collection::vec(prop::collection::vec(rule(), 1..4), 0..4).prop_map(|consents| {
        let fact = |(at, rules)| ConsentFact {
            reference: format!("Consent/{at}/_history/1").into(),
            scope: super::super::Scope::Access,
            performers: Vec::new(),
            rules,
        };
        consents.into_iter().enumerate().map(fact).collect()
    })
}

fn interned() -> impl FnMut(&str) -> Result<PartyKey, StoreError> {
    let mut known = BTreeMap::new();
    move |name: &str| {
        let next = known.len() as i64 + 1;
        Ok(PartyKey(*known.entry(name.to_owned()).or_insert(next)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// For every organisation, purpose, moment, author, category, day, label set and confidentiality in reach: the
    /// grants and the filter say what the rules say.
    #[test]
    fn grants_open_exactly_what_the_rules_open(consents in consents()) {
        let policy = Policy::included().unwrap();
        let organisations = registry(&policy);
        let mut party = interned();
        let patient = PatientKey(1);
        let arms = compile(&policy, &organisations, patient, &consents, &mut party).unwrap();
        for at in 1..=6u8 {
            let ura = number(at);
            let kind = organisations.kind(&ura).unwrap().to_owned();
            let recipients = [party_of(&ura), party_of_kind(&kind), PARTY_ANY.to_owned()]
                .iter().map(|name| party(name).unwrap()).collect::<Vec<_>>();
            for (purpose, now) in [(0u8, -1i64), (0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (3, 2), (2, 2)] {
                let asks = Asks { ura: ura.clone(), kind: kind.clone(), purpose, now: Timestamp(now) };
                let filter = Filter {
                    now: asks.now, purpose, organisation: PartyKey(99), own: false, recipients: recipients.clone(),
                    care_relation: false, self_patient: None, categories: u64::MAX, open_categories: 0,
                    deny_labels: 0, confidentiality_max: 5, system: false,
                };
                let live: Vec<Arm> = arms.iter().filter(|arm| {
                    arm.purpose == purpose && recipients.contains(&arm.recipient)
                        && arm.valid_from <= asks.now && asks.now < arm.valid_to
                }).cloned().collect();
                for author in [1u8, 3, 6] {
                    let author = number(author);
                    let key = party(&party_of(&author)).unwrap();
                    for (category, day) in [(1u64, -1), (1, 2), (2, 5), (4, 6), (8, 0)] {
                        for labels in 0..=LABELS {
                            for confidentiality in [0u8, 3, 4, 5] {
                                let row = Derived {
                                    patient: Some(patient), category, labels, confidentiality, day, author: key,
                                };
                                let expected = visible(&policy, &consents, &asks, &row, &author);
                                let found = filter.admits(&row, &live, &[]).is_some();
                                prop_assert_eq!(found, expected, "{} {:?}", ura, row);
                            }
                        }
                    }
                }
            }
        }
    }
}
