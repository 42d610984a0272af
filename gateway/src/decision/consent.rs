//! Consent as rules, and rules as grants. A Consent is read strictly (profile `als-consent`, a child of IHE PCF
//! Advanced): an active one with anything that cannot be enforced exactly is refused, never stored and half-enforced.
//!
//! Pure: no clock (expiry is in the grants and judged by SQL at query time), no store. `compile` is run inside the
//! transaction of every write of a Consent, so a grant and its Consent are never of different moments.
//!
//! Semantics (deterministic, total), in the order they are applied:
//! 1. Only active Consents make rules; the root provision makes one, each sub-provision one more. What the root
//!    restricts (purpose, recipient, holder, category, period) restricts its sub-provisions too.
//! 2. A rule covers a row when recipient, purpose, author, category, day, labels and confidentiality all match.
//!    Several categories mean any of them (a row has one); several labels mean all of them.
//! 3. Of the rules that cover a row, the most specific win: (label or category > data period > none), then
//!    (organisation > kind > anyone), then (holder named > any), then (purpose stated > not). Equal: deny wins.
//! 4. No rule covers it: nothing is granted.
//! 5. A permit is a clearance: it covers confidentiality up to the one it names (up to the policy's default when it
//!    names none), and a row with an explicit label only when it names that label. A deny that names a confidentiality
//!    covers that one and higher.
//! 6. A label or a higher confidentiality never opens a row that would be closed without it.

mod compile;
mod parse;
mod period;

use super::policy::Policy;
use crate::clock::Timestamp;
use crate::ids::Ura;

pub use compile::compile;
pub use parse::parse;
pub(super) use period::{ends, starts};

/// Limits of one Consent; past one, the Consent is refused whole.
pub mod limits {
    /// Sub-provisions of the root provision.
    pub const PROVISIONS_MAX: usize = 64;
    /// Actors of one provision.
    pub const ACTORS_MAX: usize = 64;
    /// Data holders (`Consent.organization`) or authors of one provision.
    pub const HOLDERS_MAX: usize = 64;
}

/// What the gateway understood of one Consent version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentFact {
    /// `Consent/[id]/_history/[version]`.
    pub reference: Box<str>,
    /// What it is about.
    pub scope: Scope,
    /// Who gave it, as literal references (`Patient/…`, `RelatedPerson/…`). Empty for a directive.
    pub performers: Vec<Box<str>>,
    /// Rules it makes: none unless it is an active access Consent.
    pub rules: Vec<Rule>,
}

/// What a Consent is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Who may see data: scope patient-privacy or research.
    Access,
    /// Clinical content (treatment or advance directive): scope treatment or adr. Grants nothing.
    Directive,
}

/// One provision with what it inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Opens or closes.
    pub effect: Effect,
    /// Recipients: all must match (the root's and the sub-provision's own). Empty: anyone.
    pub recipients: Vec<Recipient>,
    /// Purpose bits by purpose key; 0: not stated, every purpose.
    pub purposes: u64,
    /// Category bits; 0: every category.
    pub categories: u64,
    /// Sensitivity labels, all of them.
    pub labels: u64,
    /// Confidentialities covered, lowest and highest.
    pub confidentiality: (u8, u8),
    /// A confidentiality was named.
    pub confidentiality_named: bool,
    /// First and last day of data.
    pub days: Option<(i32, i32)>,
    /// Authors of the data; empty: any.
    pub authors: Vec<Ura>,
    /// In force from (inclusive) to (exclusive).
    pub valid: (Timestamp, Timestamp),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Opens.
    Permit,
    /// Closes.
    Deny,
}

/// Who a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// Organisations of a kind.
    Kind(Box<str>),
    /// One organisation.
    Organisation(Ura),
}

impl Rule {
    /// How specific the rule is, compared from left to right (rule 3).
    pub fn specificity(&self) -> [u8; 4] {
        let data = match (self.categories | self.labels != 0 || self.confidentiality_named, self.days) {
            (true, _) => 2,
            (false, Some(_)) => 1,
            (false, None) => 0,
        };
        let recipient = |recipient: &Recipient| match recipient {
            Recipient::Kind(_) => 1,
            Recipient::Organisation(_) => 3,
        };
        let recipient = self.recipients.iter().map(recipient).max().unwrap_or(0);
        [data, recipient, u8::from(!self.authors.is_empty()), u8::from(self.purposes != 0)]
    }

    /// Whether labels and confidentiality of a row are covered (rules 2 and 5).
    fn covers_sensitivity(&self, policy: &Policy, labels: u64, confidentiality: u8) -> bool {
        let cleared = self.effect == Effect::Deny || labels & policy.labels_explicit() & !self.labels == 0;
        let (low, high) = self.confidentiality;
        labels & self.labels == self.labels && cleared && (low..=high).contains(&confidentiality)
    }
}
