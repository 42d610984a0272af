//! One snapshot or transaction under one filter: what [`Reader`] and [`Writer`] are made of, whichever database it is in.

mod anew;
pub(crate) mod base;
mod changes;
mod found;
mod index;
pub(crate) mod log;
pub(crate) mod names;
pub(crate) mod parties;
mod put;
mod quarantine;
mod read;
mod shelf;
mod used;

use std::collections::HashMap;
use std::sync::Arc;

use base::{Base, Row, Value, impossible, values};
use bytes::Bytes;
use names::NameTable;

use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::decision::Permit;
use crate::decision::filter::{Arm, CareRelation, Derived, Filter};
use crate::ids::{PartyKey, PatientKey, ResourceId, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Include, Parameter};
use crate::search::plan::{Found, Plan};
use crate::search::unit::Canonical;
use crate::store::history::HistoryQuery;
use crate::store::visible::{bits, mask};
use crate::store::{
    AuditQuery, AuditRow, Checkpoint, Method, Reader, Record, Reindexed, Shelf, StoreError, Stored, Writer,
};

/// A snapshot (or the open transaction of the writer) seen through a filter.
pub(crate) struct Session<'s> {
    pub(super) base: &'s dyn Base,
    pub(super) names: &'s NameTable,
    pub(super) bounds: Bounds<'s>,
    pub(super) filter: &'s Filter,
    /// Grants by patient, as far as this snapshot has been asked for them.
    grants: HashMap<i64, Arc<Grants>>,
    /// What a writing session has besides.
    pub(super) pen: Option<Pen<'s>>,
    /// Brings into the log what was answered and is not in it yet, before a reading session asks for the log.
    pub(super) settle: Option<&'s dyn Fn() -> Result<(), StoreError>>,
}

/// What of the settings a session needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'s> {
    /// Base address of this gateway without a slash at its end: references under it are its own.
    pub(crate) address: &'s str,
    /// Included resources on a page at most.
    pub(crate) includes_max: u32,
    /// Words of texts are indexed.
    pub(crate) content: bool,
}

/// What it takes to write.
pub(crate) struct Pen<'s> {
    /// Sequence number of this work, greater than that of every work before it.
    pub(crate) sequence: i64,
    /// What the writer keeps at hand.
    pub(crate) hand: &'s mut Hand,
}

/// What the writer keeps at hand of its open transaction: true as long as nothing in it is undone.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    /// Interned systems. They stay in the database, so they are kept from one transaction to the next.
    pub(crate) symbols: HashMap<String, i64>,
    /// Canonical units by unit, with those that have none. True of any transaction.
    pub(crate) units: HashMap<String, Option<Arc<Canonical>>>,
    /// Number and hash of the log's last record, once it has been looked up. Another process may append between two
    /// transactions, so each looks it up anew.
    pub(crate) log_head: Option<(u64, [u8; 32])>,
    /// Records appended since the count was last taken, undone ones among them.
    pub(crate) records: u64,
}

impl Hand {
    /// Something was undone.
    pub(crate) fn clear(&mut self) {
        self.symbols.clear();
        self.log_head = None;
    }
}

/// Grants of one patient for the filter's purpose, and her care relations.
#[derive(Debug, Default)]
pub(super) struct Grants {
    pub(super) arms: Vec<Arm>,
    pub(super) relations: Vec<CareRelation>,
}

/// Columns of `grant_arm` that make an [`Arm`].
macro_rules! arms {
    () => {
        "SELECT recipient, purpose, categories, deny_labels, confidentiality_max, day_from, day_to, author, \
         valid_from, valid_to, consent FROM grant_arm"
    };
}

/// Columns of `resource` (alias `r`) that make a [`Stored`], and the body.
pub(in crate::store) const COLUMNS: &str = "r.key, r.kind, r.id, r.version, r.updated, r.deleted, r.method, r.patient, \
                                  r.category, r.labels, r.confidentiality, r.day, r.author, b.body";

impl<'s> Session<'s> {
    pub(crate) fn new(
        base: &'s dyn Base,
        names: &'s NameTable,
        bounds: Bounds<'s>,
        filter: &'s Filter,
        pen: Option<Pen<'s>>,
    ) -> Session<'s> {
        Session { base, names, bounds, filter, grants: HashMap::new(), pen, settle: None }
    }

    /// The connection.
    pub(crate) fn base(&self) -> &'s dyn Base {
        self.base
    }

    /// Sequence of the last work this snapshot contains.
    pub(crate) fn mark(&self) -> Result<i64, StoreError> {
        if let Some(pen) = &self.pen {
            return Ok(pen.sequence);
        }
        self.base.number("SELECT value FROM counter WHERE name = 'commit'", &[])
    }

    /// Grants and care relations of a patient in this snapshot.
    pub(super) fn grants(&mut self, patient: PatientKey) -> Result<Arc<Grants>, StoreError> {
        if let Some(grants) = self.grants.get(&patient.0) {
            return Ok(Arc::clone(grants));
        }
        let mut grants = Grants { arms: self.arms_for(patient)?, relations: Vec::new() };
        if self.filter.care_relation {
            grants.relations = self.relations_to(patient, self.filter.organisation)?;
        }
        let grants = Arc::new(grants);
        self.grants.insert(patient.0, Arc::clone(&grants));
        Ok(grants)
    }

    /// Forgets a patient's grants: they were replaced in this transaction.
    pub(super) fn forget(&mut self, patient: PatientKey) {
        self.grants.remove(&patient.0);
    }

    /// The patient's grants that can open anything to the filter's holder: of the filter's purpose, to one of its
    /// recipients. Every read asks for them, and a patient has many to others.
    fn arms_for(&self, patient: PatientKey) -> Result<Vec<Arm>, StoreError> {
        let Some(last) = self.filter.recipients.last() else { return Ok(Vec::new()) };
        let text = concat!(
            arms!(),
            // `IN` would make a table of its list for each read; the sign keeps SQLite from making that of this. What is
            // passed over are the patient's grants of this purpose.
            " WHERE patient = $1 AND purpose = $2 AND (+recipient = $3 OR +recipient = $4 OR +recipient = $5",
            " OR +recipient = $6) ORDER BY recipient, arm"
        );
        let mut arms = Vec::new();
        // Four at a time, the last repeated, so that all filters share the statement.
        for four in self.filter.recipients.chunks(4) {
            let key = |at: usize| four.get(at).unwrap_or(last).0;
            let values = values![patient.0, self.filter.purpose, key(0), key(1), key(2), key(3)];
            arms.extend(self.base.all(text, values, |row| arm(patient, row))?);
        }
        Ok(arms)
    }

    /// All grants of a patient.
    fn arms_of(&self, patient: PatientKey) -> Result<Vec<Arm>, StoreError> {
        let text = concat!(arms!(), " WHERE patient = $1 ORDER BY purpose, recipient, arm");
        self.base.all(text, values![patient.0], |row| arm(patient, row))
    }

    /// Those of an organisation: no other opens anything to the filter's holder.
    fn relations_to(&self, patient: PatientKey, party: PartyKey) -> Result<Vec<CareRelation>, StoreError> {
        let text = "SELECT party, valid_from, valid_to, source FROM care_relation WHERE patient = $1 \
                    AND party = $2 ORDER BY ordinal";
        self.base.all(text, values![patient.0, party.0], |row| {
            Ok(CareRelation {
                patient,
                party: PartyKey(row.integer(0)?),
                valid_from: Timestamp(row.integer(1)?),
                valid_to: Timestamp(row.integer(2)?),
                source: row.text(3)?.into(),
            })
        })
    }

    /// Judges a row that the predicate let through once more, in memory, and says which grant opened it.
    ///
    /// `None`: the two disagree. That is a fault of this program, so it is reported, and the row withheld.
    pub(super) fn admit(&mut self, mut stored: Stored) -> Result<Option<Stored>, StoreError> {
        // Own rows, the patient's own and open ones are seen without a grant, so none is looked up.
        if self.filter.admits(&stored.derived, &[], &[]).is_some() {
            return Ok(Some(stored));
        }
        let grants = match stored.derived.patient {
            Some(patient) if !self.filter.system => self.grants(patient)?,
            _ => Arc::default(),
        };
        match self.filter.admits(&stored.derived, &grants.arms, &grants.relations) {
            Some(arm) => {
                stored.consent = arm.map(|arm| Arc::from(&*arm.consent));
                Ok(Some(stored))
            }
            None => {
                tracing::error!(row = stored.key, "a row passed the predicate and not the filter: withheld");
                debug_assert!(self.filter.system, "predicate and filter disagree");
                Ok(None)
            }
        }
    }

    /// Makes a [`Stored`] of a row of [`COLUMNS`].
    pub(super) fn stored(&self, row: &dyn Row) -> Result<Stored, StoreError> {
        self.stored_at(row, 0)
    }

    /// As [`Session::stored`], of a row that has other columns before them.
    pub(super) fn stored_at(&self, row: &dyn Row, from: usize) -> Result<Stored, StoreError> {
        let kind = row.integer(from + 1)?;
        let Value::Text(id) = row.value(from + 2)? else {
            return Err(impossible("a row whose id is no text"));
        };
        let patient = row.integer(from + 7)?;
        let method = row.integer(from + 6)?;
        Ok(Stored {
            key: row.integer(from)?,
            kind: self.names.kind_of(kind).ok_or_else(|| impossible("a row of an unknown type"))?,
            id: ResourceId::parse(id).ok_or_else(|| impossible("a row whose id is none"))?,
            version: row.small(from + 3)?,
            updated: Timestamp(row.integer(from + 4)?),
            deleted: row.integer(from + 5)? != 0,
            method: match method {
                0 => Method::Post,
                1 => Method::Put,
                2 => Method::Delete,
                _ => return Err(impossible("a version made by no known interaction")),
            },
            derived: Derived {
                patient: (patient > 0).then_some(PatientKey(patient)),
                category: mask(row.integer(from + 8)?),
                labels: mask(row.integer(from + 9)?),
                confidentiality: row.small(from + 10)?,
                day: row.small(from + 11)?,
                author: PartyKey(row.integer(from + 12)?),
            },
            body: Bytes::from(row.blob(from + 13)?),
            consent: None,
        })
    }

    /// Row key of a Patient, whatever its visibility.
    pub(crate) fn patient_key(&self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError> {
        let text = "SELECT key FROM resource WHERE kind = $1 AND id = $2";
        self.base.one(text, values![self.names.patient, id.as_str()], |row| row.integer(0).map(PatientKey))
    }

    /// Refuses what only the gateway's own work may do.
    pub(super) fn system_only(&self) -> Result<(), StoreError> {
        if self.filter.system {
            return Ok(());
        }
        let refusal =
            Refusal::new(Reason::Internal, "").because("a system query was asked with another permit");
        Err(StoreError::Refused(Box::new(refusal)))
    }

    /// The pen, for writing.
    pub(super) fn pen(&mut self) -> Result<&mut Pen<'s>, StoreError> {
        self.pen
            .as_mut()
            .ok_or_else(|| StoreError::Database("a reading session was asked to write".to_owned()))
    }
}

impl Reader for Session<'_> {
    fn current(&mut self, kind: ResourceType, id: &ResourceId) -> Result<Option<Stored>, StoreError> {
        self.read_current(kind, id)
    }

    fn version(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        version: u32,
    ) -> Result<Option<Stored>, StoreError> {
        self.read_version(kind, id, version)
    }

    fn changes(&mut self, query: &HistoryQuery) -> Result<(Vec<Stored>, u64), StoreError> {
        self.read_changes(query)
    }

    fn stored_kinds(&mut self, kinds: &[ResourceType]) -> Result<Vec<ResourceType>, StoreError> {
        // From each kind to the next by the index: as many steps as there are kinds, however many rows.
        let text = "WITH RECURSIVE k (kind) AS (SELECT min(r.kind) FROM resource r WHERE r.deleted = 0 UNION ALL \
                    SELECT (SELECT min(r.kind) FROM resource r WHERE r.deleted = 0 AND r.kind > k.kind) FROM k \
                    WHERE k.kind IS NOT NULL) SELECT kind FROM k WHERE kind IS NOT NULL";
        let there = self.base.all(text, &[], |row| Ok(self.names.kind_of(row.integer(0)?)))?;
        Ok(kinds.iter().copied().filter(|kind| there.contains(&Some(*kind))).collect())
    }

    fn mark(&mut self) -> Result<i64, StoreError> {
        Session::mark(self)
    }

    fn search(&mut self, plan: &Plan) -> Result<Found, StoreError> {
        self.find(plan)
    }

    fn used(
        &mut self,
        parameter: &Parameter,
        kind: ResourceType,
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.read_used(parameter, kind, limit)
    }

    fn included(&mut self, includes: &[Include], matches: &[&Stored]) -> Result<Vec<Stored>, StoreError> {
        self.bring(includes, matches)
    }

    fn under(
        &mut self,
        permit: &Permit,
        work: &mut dyn FnMut(&mut dyn Reader) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // Grants are read anew: another permit may be for another purpose.
        let mut other = Session::new(self.base, self.names, self.bounds, permit.filter(), None);
        work(&mut other)
    }

    fn patient_by_identifier(
        &mut self,
        system: &str,
        value: &str,
    ) -> Result<Option<(PatientKey, ResourceId)>, StoreError> {
        self.read_patient_by_identifier(system, value)
    }

    fn own_by_identifier(
        &mut self,
        kind: ResourceType,
        system: &str,
        value: &str,
    ) -> Result<Option<Stored>, StoreError> {
        self.read_own_by_identifier(kind, system, value)
    }

    fn arms(&mut self, patient: PatientKey) -> Result<Vec<Arm>, StoreError> {
        self.arms_of(patient)
    }

    fn compartment(&mut self, patient: PatientKey, kind: ResourceType) -> Result<Vec<Stored>, StoreError> {
        self.system_only()?;
        self.read_compartment(patient, kind)
    }

    fn patient_id(&mut self, patient: PatientKey) -> Result<Option<ResourceId>, StoreError> {
        let text = "SELECT id FROM resource WHERE key = $1 AND kind = $2";
        let id = self.base.one(text, values![patient.0, self.names.patient], |row| row.text(0))?;
        Ok(id.as_deref().and_then(ResourceId::parse))
    }

    fn audit(&mut self, query: &AuditQuery) -> Result<(Vec<AuditRow>, u64), StoreError> {
        self.read_audit(query)
    }

    fn audit_chain(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.read_audit_chain(from, limit)
    }

    fn audit_head(&mut self) -> Result<(u64, [u8; 32]), StoreError> {
        self.read_audit_head()
    }

    fn checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        self.read_checkpoints()
    }

    fn shelf_get(&mut self, shelf: Shelf, owner: PartyKey, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.read_shelf(shelf, owner, key)
    }

    fn shelf_list(
        &mut self,
        shelf: Shelf,
        owner: Option<PartyKey>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(PartyKey, String, Bytes)>, StoreError> {
        self.read_shelf_list(shelf, owner, after, limit)
    }
}

impl Writer for Session<'_> {
    fn put(&mut self, record: &Record<'_>) -> Result<i64, StoreError> {
        self.write_record(record)
    }

    fn whole_compartment(
        &mut self,
        patient: PatientKey,
        kind: ResourceType,
    ) -> Result<Vec<Stored>, StoreError> {
        self.read_whole_compartment(patient, kind)
    }

    fn patient_key(&mut self, id: &ResourceId) -> Result<Option<PatientKey>, StoreError> {
        Session::patient_key(self, id)
    }

    fn replace_arms(&mut self, patient: PatientKey, arms: &[Arm]) -> Result<(), StoreError> {
        self.pen()?;
        if patient.0 <= 0 || arms.iter().any(|arm| arm.patient != patient) {
            return Err(impossible("a grant of another patient than named"));
        }
        self.forget(patient);
        self.base.execute("DELETE FROM grant_arm WHERE patient = $1", values![patient.0])?;
        let text = "INSERT INTO grant_arm (patient, purpose, recipient, arm, categories, deny_labels, confidentiality_max, \
             day_from, day_to, author, valid_from, valid_to, consent) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)";
        for (ordinal, arm) in (0i64..).zip(arms) {
            let row: &[Value<'_>] = values![
                patient.0,
                arm.purpose,
                arm.recipient.0,
                ordinal,
                bits(arm.categories),
                bits(arm.deny_labels),
                arm.confidentiality_max,
                arm.day_from,
                arm.day_to,
                arm.author.map_or(0, |author| author.0),
                arm.valid_from.0,
                arm.valid_to.0,
                &*arm.consent,
            ];
            self.base.execute(text, row)?;
        }
        Ok(())
    }

    fn replace_relations(
        &mut self,
        patient: PatientKey,
        relations: &[CareRelation],
    ) -> Result<(), StoreError> {
        self.pen()?;
        if patient.0 <= 0 || relations.iter().any(|relation| relation.patient != patient) {
            return Err(impossible("a care relation of another patient than named"));
        }
        self.forget(patient);
        self.base.execute("DELETE FROM care_relation WHERE patient = $1", values![patient.0])?;
        let text = "INSERT INTO care_relation (patient, party, ordinal, valid_from, valid_to, source) \
                    VALUES ($1,$2,$3,$4,$5,$6)";
        for (ordinal, relation) in (0i64..).zip(relations) {
            let row: &[Value<'_>] = values![
                patient.0,
                relation.party.0,
                ordinal,
                relation.valid_from.0,
                relation.valid_to.0,
                &*relation.source,
            ];
            self.base.execute(text, row)?;
        }
        Ok(())
    }

    fn append_audit(&mut self, record: &AuditRecord) -> Result<u64, StoreError> {
        self.write_audit(record)
    }

    fn append_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.write_checkpoint(checkpoint)
    }

    fn shelf_put(
        &mut self,
        shelf: Shelf,
        owner: PartyKey,
        key: &str,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.write_shelf(shelf, owner, key, document)
    }

    fn shelf_remove(&mut self, shelf: Shelf, owner: PartyKey, key: &str) -> Result<bool, StoreError> {
        self.erase_shelf(shelf, owner, key)
    }

    fn claim_jti(&mut self, issuer: &str, jti: &str, expires: Timestamp) -> Result<bool, StoreError> {
        self.pen()?;
        // What has expired is refused for its age by whoever reads the token, so it need not be kept for its number.
        let now = self.filter.now.0;
        let text = "DELETE FROM jti WHERE (issuer, jti) IN \
                    (SELECT issuer, jti FROM jti WHERE expires <= $1 ORDER BY expires LIMIT 100)";
        self.base.execute(text, values![now])?;
        let text = "INSERT INTO jti (issuer, jti, expires) VALUES ($1, $2, $3) \
                    ON CONFLICT (issuer, jti) DO UPDATE SET expires = $3 WHERE jti.expires <= $4";
        let taken = self.base.execute(text, values![issuer, jti, expires.0, now])?;
        Ok(taken == 1)
    }

    fn party(&mut self, name: &str) -> Result<PartyKey, StoreError> {
        self.pen()?;
        intern_party(self.base, name)
    }

    fn reindex(&mut self, after: i64, limit: u32) -> Result<Reindexed, StoreError> {
        self.rewrite_entries(after, limit)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        self.pen()?;
        self.base.execute("UPDATE counter SET value = value + 1 WHERE name = 'probe'", &[])?;
        Ok(())
    }
}

/// Makes an [`Arm`] of a row of `arms!`.
fn arm(patient: PatientKey, row: &dyn Row) -> Result<Arm, StoreError> {
    let author = row.integer(7)?;
    Ok(Arm {
        recipient: PartyKey(row.integer(0)?),
        purpose: row.small(1)?,
        patient,
        categories: mask(row.integer(2)?),
        deny_labels: mask(row.integer(3)?),
        confidentiality_max: row.small(4)?,
        day_from: row.small(5)?,
        day_to: row.small(6)?,
        author: (author > 0).then_some(PartyKey(author)),
        valid_from: Timestamp(row.integer(8)?),
        valid_to: Timestamp(row.integer(9)?),
        consent: row.text(10)?.into(),
    })
}

/// Key of a party, given on first use.
fn intern_party(base: &dyn Base, name: &str) -> Result<PartyKey, StoreError> {
    if let Some(key) = find_party(base, name)? {
        return Ok(key);
    }
    base.insert("INSERT INTO party (name) VALUES ($1)", values![name]).map(PartyKey)
}

/// Key of a party already known.
pub(crate) fn find_party(base: &dyn Base, name: &str) -> Result<Option<PartyKey>, StoreError> {
    base.one("SELECT key FROM party WHERE name = $1", values![name], |row| row.integer(0).map(PartyKey))
}
