//! What a permit lets its holder see, as masks that SQL and memory both understand.
//!
//! The same rule is written twice, here in [`Filter::admits`] and in the store's SQL; a property test holds them equal.

use crate::clock::Timestamp;
use crate::ids::{PartyKey, PatientKey};

/// The filter of one permit. Plain data: holding a `Filter` opens nothing, holding a `Permit` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The moment permissions are judged at (validity of consents, exact to the microsecond).
    pub now: Timestamp,
    /// Purpose key: index of the purpose in the policy.
    pub purpose: u8,
    /// Own organisation, whose authored rows are visible when `own` is set.
    pub organisation: PartyKey,
    /// Rows authored by the own organisation are visible whatever consent says (its own dossier).
    pub own: bool,
    /// Recipients this actor may be meant by in a grant: own organisation, its kind, anyone. At most 4.
    pub recipients: Vec<PartyKey>,
    /// Whether a grant also needs a current care relation (CareTeam) of the own organisation with the patient.
    pub care_relation: bool,
    /// The patient herself: everything in her compartment is visible.
    pub self_patient: Option<PatientKey>,
    /// Data categories the role may read, by consent.
    pub categories: u64,
    /// Categories of rows that belong to no patient (organisations, professionals) and are visible to this role.
    pub open_categories: u64,
    /// Sensitivity labels the role may never see through a grant.
    pub deny_labels: u64,
    /// Highest confidentiality the role may see (0 U .. 5 V).
    pub confidentiality_max: u8,
    /// System work (migration, consent compiler, verification): sees everything. Every use has an audit reason.
    pub system: bool,
}

/// Server-derived columns of a stored resource. No client can set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Derived {
    /// Patient whose compartment it is in; `None` for directory and administrative resources.
    pub patient: Option<PatientKey>,
    /// Data category: exactly one bit.
    pub category: u64,
    /// Sensitivity labels, one bit each.
    pub labels: u64,
    /// Confidentiality: 0 U, 1 L, 2 M, 3 N, 4 R, 5 V.
    pub confidentiality: u8,
    /// Clinically relevant day (days since 1970-01-01), for consent windows.
    pub day: i32,
    /// Organisation that authored it.
    pub author: PartyKey,
}

/// One compiled permission of a patient: a row of `grant_arm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arm {
    /// Who may see.
    pub recipient: PartyKey,
    /// For which purpose (key as in [`Filter::purpose`]).
    pub purpose: u8,
    /// Whose data.
    pub patient: PatientKey,
    /// Categories opened.
    pub categories: u64,
    /// Rows bearing any of these labels stay hidden.
    pub deny_labels: u64,
    /// Highest confidentiality opened.
    pub confidentiality_max: u8,
    /// First day of data opened (inclusive).
    pub day_from: i32,
    /// Last day of data opened (inclusive).
    pub day_to: i32,
    /// Only data of this author; `None` for every author.
    pub author: Option<PartyKey>,
    /// Valid from (inclusive).
    pub valid_from: Timestamp,
    /// Valid to (exclusive).
    pub valid_to: Timestamp,
    /// The Consent that opened it: `Consent/[id]/_history/[version]`, for the audit record.
    pub consent: Box<str>,
}

/// A row of `care_relation`: organisation `party` takes part in the patient's care for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CareRelation {
    /// Whose care.
    pub patient: PatientKey,
    /// Organisation.
    pub party: PartyKey,
    /// From (inclusive).
    pub valid_from: Timestamp,
    /// To (exclusive).
    pub valid_to: Timestamp,
    /// The CareTeam that says so: `CareTeam/[id]/_history/[version]`.
    pub source: Box<str>,
}

impl Filter {
    /// The filter of work that touches no resource: interning a party, the readiness probe.
    pub(crate) fn own_work() -> Filter {
        Filter {
            now: Timestamp::MIN,
            purpose: 0,
            organisation: PartyKey(0),
            own: false,
            recipients: Vec::new(),
            care_relation: false,
            self_patient: None,
            categories: 0,
            open_categories: 0,
            deny_labels: 0,
            confidentiality_max: 0,
            system: false,
        }
    }

    /// Whether a row is visible, given the patient's arms and care relations from the same snapshot.
    /// Returns the arm that opened it (`None` inside: visible without one).
    pub fn admits<'a>(
        &self,
        row: &Derived,
        arms: &'a [Arm],
        relations: &[CareRelation],
    ) -> Option<Option<&'a Arm>> {
        if self.system || (self.own && row.author == self.organisation) {
            return Some(None);
        }
        let Some(patient) = row.patient else {
            return (row.category & self.open_categories != 0).then_some(None);
        };
        if self.self_patient == Some(patient) {
            return Some(None);
        }
        if self.care_relation
            && !relations.iter().any(|r| {
                r.patient == patient
                    && r.party == self.organisation
                    && r.valid_from <= self.now
                    && self.now < r.valid_to
            })
        {
            return None;
        }
        arms.iter()
            .find(|arm| {
                arm.patient == patient
                    && arm.purpose == self.purpose
                    && self.recipients.contains(&arm.recipient)
                    && arm.valid_from <= self.now
                    && self.now < arm.valid_to
                    && row.category & arm.categories & self.categories != 0
                    && row.labels & (arm.deny_labels | self.deny_labels) == 0
                    && row.confidentiality <= arm.confidentiality_max.min(self.confidentiality_max)
                    && (arm.day_from..=arm.day_to).contains(&row.day)
                    && arm.author.is_none_or(|author| author == row.author)
            })
            .map(Some)
    }
}
