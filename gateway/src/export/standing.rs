//! Whether a patient's consent stands for this recipient and purpose now, and what it was when her lines were written.
//!
//! There is no second logic: an arm stands when [`Filter::admits`] lets it open a row inside it.

use serde::{Deserialize, Serialize};

use crate::decision::filter::{Arm, Derived, Filter};
use crate::ids::PartyKey;

/// A filter that looks at consent alone: what the own organisation authored is no ground for an export.
pub(super) fn by_consent(filter: &Filter) -> Filter {
    Filter { own: false, system: false, self_patient: None, open_categories: 0, ..filter.clone() }
}

/// The arms that open anything to this filter now. None: nothing of this patient may leave.
pub(super) fn standing<'a>(filter: &Filter, arms: &'a [Arm]) -> Vec<&'a Arm> {
    let filter = by_consent(filter);
    arms.iter().filter(|arm| opens(&filter, arm)).collect()
}

/// Puts a row into the arm's middle and asks the filter.
fn opens(filter: &Filter, arm: &Arm) -> bool {
    let shared = arm.categories & filter.categories;
    let row = Derived {
        patient: Some(arm.patient),
        // The lowest category both know; none: no row can pass.
        category: shared & shared.wrapping_neg(),
        labels: 0,
        confidentiality: 0,
        day: arm.day_from,
        author: arm.author.unwrap_or(PartyKey(0)),
    };
    filter.admits(&row, std::slice::from_ref(arm), &[]).is_some()
}

/// Whether an arm for this recipient and purpose ran out of time.
pub(super) fn has_expired(filter: &Filter, arms: &[Arm]) -> bool {
    arms.iter().any(|arm| {
        let then = Filter { now: arm.valid_from, ..by_consent(filter) };
        arm.valid_to <= filter.now && opens(&then, arm)
    })
}

/// The part of an arm that says what it opened, kept beside a patient's lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Opened {
    recipient: i64,
    categories: u64,
    deny_labels: u64,
    confidentiality_max: u8,
    day_from: i32,
    day_to: i32,
    author: Option<i64>,
    /// `Consent/[id]/_history/[version]`
    pub(super) consent: Box<str>,
}

impl Opened {
    pub(super) fn of(arm: &Arm, filter: &Filter) -> Opened {
        Opened {
            recipient: arm.recipient.0,
            // What role and consent opened together: a policy that opens less later counts as a change too.
            categories: arm.categories & filter.categories,
            deny_labels: arm.deny_labels | filter.deny_labels,
            confidentiality_max: arm.confidentiality_max.min(filter.confidentiality_max),
            day_from: arm.day_from,
            day_to: arm.day_to,
            author: arm.author.map(|author| author.0),
            consent: arm.consent.clone(),
        }
    }

    /// Whether everything that was open then is open by `now`.
    fn is_within(&self, now: &Opened) -> bool {
        self.categories & !now.categories == 0
            && now.deny_labels & !self.deny_labels == 0
            && self.confidentiality_max <= now.confidentiality_max
            && now.day_from <= self.day_from
            && self.day_to <= now.day_to
            && (now.author.is_none() || now.author == self.author)
    }
}

/// Whether all that was opened then is still open. An arm split in two since counts as changed: the safe side.
pub(super) fn still_holds(then: &[Opened], filter: &Filter, arms: &[Arm]) -> bool {
    let now: Vec<Opened> = standing(filter, arms).into_iter().map(|arm| Opened::of(arm, filter)).collect();
    !then.is_empty() && then.iter().all(|old| now.iter().any(|new| old.is_within(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::PatientKey;

    fn filter() -> Filter {
        Filter {
            now: Timestamp(100),
            purpose: 2,
            organisation: PartyKey(1),
            own: true,
            recipients: vec![PartyKey(1), PartyKey(9)],
            care_relation: false,
            self_patient: None,
            categories: 0b0110,
            open_categories: 0,
            deny_labels: 0b1,
            confidentiality_max: 3,
            system: false,
        }
    }

    fn arm() -> Arm {
        Arm {
            recipient: PartyKey(9),
            purpose: 2,
            patient: PatientKey(5),
            categories: 0b1110,
            deny_labels: 0,
            confidentiality_max: 4,
            day_from: i32::MIN,
            day_to: i32::MAX,
            author: None,
            valid_from: Timestamp(0),
            valid_to: Timestamp(200),
            consent: "Consent/c/_history/1".into(),
        }
    }

    #[test]
    fn an_arm_stands_for_its_purpose_recipient_time_and_categories_only() {
        let stands = |arm: Arm| !standing(&filter(), &[arm]).is_empty();
        assert!(stands(arm()));
        assert!(!stands(Arm { purpose: 3, ..arm() }));
        assert!(!stands(Arm { recipient: PartyKey(8), ..arm() }));
        assert!(!stands(Arm { valid_to: Timestamp(100), ..arm() }));
        assert!(!stands(Arm { categories: 0b1000, ..arm() }));
        // Own data of the exporting organisation is no ground without consent.
        assert!(!stands(Arm { author: Some(PartyKey(1)), purpose: 3, ..arm() }));
        assert!(has_expired(&filter(), &[Arm { valid_to: Timestamp(100), ..arm() }]));
        assert!(!has_expired(&filter(), &[arm()]));
    }

    #[test]
    fn less_opened_is_a_change_and_more_is_none() {
        let then = [Opened::of(&arm(), &filter())];
        let holds = |arm: Arm| still_holds(&then, &filter(), &[arm]);
        assert!(holds(arm()));
        assert!(holds(Arm { categories: 0b1111, consent: "Consent/c/_history/2".into(), ..arm() }));
        assert!(!holds(Arm { categories: 0b0100, ..arm() }));
        assert!(!holds(Arm { deny_labels: 0b10, ..arm() }));
        assert!(!holds(Arm { day_from: 0, ..arm() }));
        assert!(!holds(Arm { author: Some(PartyKey(4)), ..arm() }));
        assert!(!still_holds(&then, &filter(), &[]));
    }
}
