//! What one record says: the facts of one interaction as the decision really took them, in canonical JSON.
//!
//! Patients are row keys, never BSN or name; nothing clinical; a query is kept raw but for BSNs.

use serde::{Deserialize, Serialize};
use sluis_mappings::bsn::Bsn;

use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType};
use crate::response::refusal::Reason;

/// A record ready to be chained and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Organisation of the actor.
    pub organisation: PartyKey,
    /// Patients whose data was touched: one AuditEvent each when read (IHE BALP PatientQuery).
    pub patients: Vec<PatientKey>,
    /// Canonical JSON of all facts, as hashed. No BSN, no names of patients, no clinical content.
    pub body: Vec<u8>,
}

/// The facts. Canonical form: the fields in this order, absent ones left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, microseconds since 1970-01-01.
    pub at_us: i64,
    /// What was done.
    pub interaction: Done,
    /// How it ended.
    pub outcome: Outcome,
    /// Row of the refusal table, when it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `X-Request-Id`.
    pub request: String,
    /// Peer address.
    pub address: String,
    /// Who asked; absent for a caller who could not be identified and for the gateway's own work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorFacts>,
    /// Rule that decided (NEN 7513 autorisatieprotocol): policy version and role cell, or `system` and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// Consents relied on (NEN 7513 toestemmingsprofiel): `Consent/[id]/_history/[version]`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<String>,
    /// Row keys of the patients touched, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patients: Vec<i64>,
    /// Type asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Resource touched: `[type]/[id]`, with `/_history/[version]` when one version is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Resources returned or written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Query or form as sent, BSNs replaced by `[bsn]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Data categories returned, as bits of the policy named in `basis`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub categories: u64,
    /// The emergency procedure was used. Not part of this version: always false, and always said.
    pub break_glass: bool,
    /// Besides: `claim-ignored` (a sender's labels were not followed) and the like, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What was done, in the words of FHIR's restful-interaction codes where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// read
    Read,
    /// vread
    Vread,
    /// instance history
    HistoryInstance,
    /// history of a type
    HistoryType,
    /// history of everything in scope
    HistorySystem,
    /// search
    SearchType,
    /// search of several types
    SearchSystem,
    /// create
    Create,
    /// update
    Update,
    /// patch
    Patch,
    /// delete
    Delete,
    /// a batch as a whole; its entries have records of their own
    Batch,
    /// a transaction as a whole; its entries have records of their own
    Transaction,
    /// a document in a local format
    Ingest,
    /// a look at what waits for mending, its replay, or its setting aside
    Quarantine,
    /// an operation that changes nothing
    Operation,
    /// where the values of a resource come from, with the bytes of its document
    Trace,
    /// bulk export, kick-off to file
    Export,
    /// a token was issued or refused
    Token,
    /// something of the gateway's own
    System,
}

/// How it ended (AuditEvent.outcome).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// 0
    Success,
    /// 4: the caller's mistake, or a refusal of permission
    MinorFailure,
    /// 8: the gateway could not
    SeriousFailure,
    /// 12: the gateway cannot any more
    MajorFailure,
}

/// The asking side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActorFacts {
    /// Registered client.
    pub client: String,
    /// URA.
    pub organisation: String,
    /// Role of the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// UZI role code of the professional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_code: Option<String>,
    /// Number of the professional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Naming system of that number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_system: Option<String>,
    /// Id of the Patient who asks herself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// Purpose of use.
    pub purpose: String,
    /// `jti` of the access token.
    pub token: String,
}

impl Entry {
    /// A successful interaction under a permit; the caller adds what it touched.
    pub fn new(done: Done, at: Timestamp, request: &str, address: std::net::IpAddr) -> Entry {
        Entry {
            at_us: at.0,
            interaction: done,
            outcome: Outcome::Success,
            reason: None,
            request: request.to_owned(),
            address: address.to_string(),
            actor: None,
            basis: None,
            consents: Vec::new(),
            patients: Vec::new(),
            kind: None,
            resource: None,
            count: None,
            query: None,
            categories: 0,
            break_glass: false,
            notes: Vec::new(),
        }
    }

    /// Adds who asked (before a decision, or when none was given).
    #[must_use]
    pub fn by(mut self, actor: &crate::identity::actor::Actor) -> Entry {
        self.actor = Some(ActorFacts {
            client: actor.client.to_string(),
            organisation: actor.organisation.to_string(),
            role: None,
            role_code: actor.user.as_ref().map(|user| user.role_code.to_string()),
            user: actor.user.as_ref().map(|user| user.identifier.to_string()),
            user_system: actor.user.as_ref().map(|user| user.system.to_string()),
            patient: actor.patient.as_ref().map(ResourceId::to_string),
            purpose: actor.purpose.to_string(),
            token: actor.token_id.to_string(),
        });
        self
    }

    /// Adds who asked and by which rule, from the permit.
    #[must_use]
    pub fn under(mut self, permit: &Permit) -> Entry {
        if let Some(actor) = permit.actor() {
            self = self.by(actor);
        }
        if let (Some(facts), Some(role)) = (&mut self.actor, permit.role()) {
            facts.role = Some(role.name.clone());
        }
        self.basis = Some(permit.basis().to_owned());
        self
    }

    /// Names the type, and the resource when there is one.
    #[must_use]
    pub fn about(mut self, kind: ResourceType, id: Option<&ResourceId>, version: Option<u32>) -> Entry {
        let name = sluis_conformance::definitions::r4().type_name(kind);
        self.kind = Some(name.to_owned());
        self.resource = id.map(|id| match version {
            Some(version) => format!("{name}/{id}/_history/{version}"),
            None => format!("{name}/{id}"),
        });
        self
    }

    /// Adds what came back: patients, Consents that opened something, categories and number.
    #[must_use]
    pub fn touching<'s>(mut self, rows: impl IntoIterator<Item = &'s crate::store::Stored>) -> Entry {
        let mut count = 0;
        for row in rows {
            count += 1;
            self.patients.extend(row.derived.patient.map(|patient| patient.0));
            self.consents.extend(row.consent.as_deref().map(str::to_owned));
            self.categories |= row.derived.category;
        }
        self.count = Some(self.count.unwrap_or(0) + count);
        self
    }

    /// Adds the query as sent, but for BSNs.
    #[must_use]
    pub fn asking(mut self, raw: &str) -> Entry {
        self.query = (!raw.is_empty()).then(|| without_bsn(raw));
        self
    }

    /// Marks it as not done.
    #[must_use]
    pub fn refused(mut self, reason: Reason) -> Entry {
        self.outcome = match reason.row().status.as_u16() {
            500.. => Outcome::SeriousFailure,
            _ => Outcome::MinorFailure,
        };
        self.reason = Some(format!("{reason:?}"));
        self
    }

    /// The record: lists sorted, canonical bytes.
    pub fn record(mut self, organisation: PartyKey) -> AuditRecord {
        self.patients.sort_unstable();
        self.patients.dedup();
        for list in [&mut self.consents, &mut self.notes] {
            list.sort_unstable();
            list.dedup();
        }
        AuditRecord {
            at: Timestamp(self.at_us),
            organisation,
            patients: self.patients.iter().copied().map(PatientKey).collect(),
            // Strings, numbers and lists of them: nothing here can fail to become JSON.
            body: serde_json::to_vec(&self).unwrap_or_default(),
        }
    }

    /// The facts of stored bytes. `None`: they are not a record of this form.
    pub fn parse(body: &[u8]) -> Option<Entry> {
        serde_json::from_slice(body).ok()
    }
}

/// A query without citizen service numbers: every run of 8 or 9 digits that passes the eleven test, written plainly or
/// percent-encoded, becomes `[bsn]`.
pub fn without_bsn(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while !rest.is_empty() {
        let (digits, length) = digit_run(rest);
        if length == 0 {
            let next = rest.chars().next().map_or(rest.len(), char::len_utf8);
            let (head, tail) = rest.split_at(next);
            out.push_str(head);
            rest = tail;
            continue;
        }
        let (head, tail) = rest.split_at(length);
        out.push_str(if matches!(digits.len(), 8 | 9) && Bsn::parse(&digits).is_ok() {
            "[bsn]"
        } else {
            head
        });
        rest = tail;
    }
    out
}

/// Digits at the start of `text` and the bytes they take; `%31` is a digit too.
fn digit_run(text: &str) -> (String, usize) {
    let bytes = text.as_bytes();
    let (mut digits, mut at) = (String::new(), 0);
    loop {
        match (bytes.get(at), bytes.get(at + 1), bytes.get(at + 2)) {
            (Some(digit @ b'0'..=b'9'), ..) => {
                digits.push(char::from(*digit));
                at += 1;
            }
            (Some(b'%'), Some(b'3'), Some(digit @ b'0'..=b'9')) => {
                digits.push(char::from(*digit));
                at += 3;
            }
            _ => return (digits, at),
        }
    }
}

fn is_zero(mask: &u64) -> bool {
    *mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bsn_in_a_query_is_not_kept_however_it_is_written() {
        let kept =
            without_bsn("identifier=http%3A%2F%2Ffhir.nl%2Ffhir%2FNamingSystem%2Fbsn%7C999911120&_count=20");
        assert!(kept.ends_with("bsn%7C[bsn]&_count=20"), "{kept}");
        assert_eq!(without_bsn("x=%39%39%399%31112%30&y=2"), "x=[bsn]&y=2");
        // Not a BSN: fails the eleven test, or a date.
        assert_eq!(without_bsn("x=123456789&date=ge2026-01-01"), "x=123456789&date=ge2026-01-01");
        assert_eq!(without_bsn("name=Zoë"), "name=Zoë");
    }

    #[test]
    fn a_record_reads_back_as_it_was_and_its_bytes_are_stable() {
        let mut entry =
            Entry::new(Done::SearchType, Timestamp(7), "r-1", std::net::Ipv4Addr::LOCALHOST.into());
        entry.patients = vec![9, 3, 9];
        entry.notes = vec!["b".into(), "a".into()];
        let record = entry.asking("patient=1").refused(Reason::Forbidden).record(PartyKey(1));
        assert_eq!(
            String::from_utf8_lossy(&record.body),
            r#"{"at_us":7,"interaction":"search-type","outcome":"minor-failure","reason":"Forbidden","request":"r-1","address":"127.0.0.1","patients":[3,9],"query":"patient=1","break_glass":false,"notes":["a","b"]}"#
        );
        assert_eq!(record.patients, [PatientKey(3), PatientKey(9)]);
        let read = Entry::parse(&record.body).map(|entry| entry.record(PartyKey(1)));
        assert_eq!(read, Some(record));
        assert_eq!(Entry::parse(b"{\"at_us\":7}"), None);
    }
}
