//! The audit log: appended with its chain, read by patient or organisation, walked for verification.

use bytes::Bytes;

use super::Session;
use super::base::{Base, Row, impossible, values};
use crate::audit::chain;
use crate::audit::entry::AuditRecord;
use crate::search::sql::Sql;
use crate::store::{AuditQuery, AuditRow, Checkpoint, StoreError};

/// Records whose index entries are not made yet.
const TAIL: &str = "sequence > (SELECT value FROM counter WHERE name = 'audit_indexed')";

/// Records that wait for their index entries.
pub(crate) fn audit_waiting(base: &dyn Base) -> Result<u64, StoreError> {
    let text = "SELECT coalesce((SELECT max(sequence) FROM audit), 0) - value FROM counter WHERE name = 'audit_indexed'";
    Ok(u64::try_from(base.number(text, &[])?).unwrap_or(0))
}

/// Makes the index entries of all records that wait for them; sorted, so that a page of the index is written once for
/// all its entries. The caller gives it a transaction of its own.
///
/// Errors: the database's; the transaction undone, the records wait on and are found by the walk.
pub(crate) fn index_audit(base: &dyn Base) -> Result<(), StoreError> {
    let patients = format!(
        "INSERT INTO audit_patient (patient, sequence) SELECT patient, sequence FROM audit \
         WHERE {TAIL} AND patient > 0 ORDER BY patient, sequence ON CONFLICT DO NOTHING"
    );
    let parties = format!(
        "INSERT INTO audit_party (party, sequence) SELECT organisation, sequence FROM audit \
         WHERE {TAIL} ORDER BY organisation, sequence ON CONFLICT DO NOTHING"
    );
    let mark = "UPDATE counter SET value = coalesce((SELECT max(sequence) FROM audit), 0) WHERE name = 'audit_indexed'";
    [&*patients, &*parties, mark].iter().try_for_each(|text| base.execute(text, &[]).map(|_| ()))
}

/// Number and hash of the last record; zeroes for an empty log.
pub(crate) fn audit_head(base: &dyn Base) -> Result<(u64, [u8; 32]), StoreError> {
    let text = "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1";
    let head = base.one(text, &[], |row| Ok((unsigned(row.integer(0)?)?, hash(row.blob(1)?)?)))?;
    Ok(head.unwrap_or((0, [0; 32])))
}

impl Session<'_> {
    pub(crate) fn write_audit(&mut self, record: &AuditRecord) -> Result<u64, StoreError> {
        let (last, previous) = match self.pen()?.hand.log_head {
            Some(head) => head,
            None => self.read_audit_head()?,
        };
        let sequence = last + 1;
        let hash = chain::link(&previous, sequence, &record.body);
        // A row at the end of one table. Entries in two indexes besides, each on a page of its own, would make most of
        // what a commit writes; `index_audit` makes them for many records at once.
        let patient = match record.patients.as_slice() {
            [one] => one.0,
            _ => 0,
        };
        self.base.execute(
            "INSERT INTO audit (sequence, at, organisation, body, hash, patient) VALUES ($1,$2,$3,$4,$5,$6)",
            values![number(sequence), record.at.0, record.organisation.0, &*record.body, &hash[..], patient],
        )?;
        if let [_, _, ..] = record.patients.as_slice() {
            for patient in &record.patients {
                self.base.execute(
                    "INSERT INTO audit_patient (patient, sequence) VALUES ($1,$2) ON CONFLICT DO NOTHING",
                    values![patient.0, number(sequence)],
                )?;
            }
        }
        let hand = &mut self.pen()?.hand;
        hand.log_head = Some((sequence, hash));
        hand.records += 1;
        Ok(sequence)
    }

    /// What was answered before is in the log: a writing session's transaction began with it.
    fn settle_log(&self) -> Result<(), StoreError> {
        self.settle.map_or(Ok(()), |settle| settle())
    }

    /// Rows the filter's holder may see: all for the gateway's own work; else those about the patient who asks, or of
    /// the own organisation.
    pub(super) fn read_audit(&mut self, query: &AuditQuery) -> Result<(Vec<AuditRow>, u64), StoreError> {
        self.settle_log()?;
        let mut rows = Sql::new(self.base.dialect());
        match (query.patient, query.organisation) {
            (Some(patient), _) => {
                rows.push("(SELECT sequence FROM audit_patient WHERE patient = ").bind(patient.0);
                rows.push(" UNION ALL SELECT sequence FROM audit WHERE ").push(TAIL);
                // Key 0 stands for "none, or several" in the column.
                rows.push(" AND patient > 0 AND patient = ").bind(patient.0);
                rows.push(") p").then().push("audit a ON a.sequence = p.sequence WHERE TRUE");
            }
            (None, Some(party)) => {
                rows.push("(SELECT sequence FROM audit_party WHERE party = ").bind(party.0);
                rows.push(" UNION ALL SELECT sequence FROM audit WHERE ").push(TAIL);
                rows.push(" AND organisation = ").bind(party.0);
                rows.push(") p").then().push("audit a ON a.sequence = p.sequence WHERE TRUE");
            }
            (None, None) => {
                rows.push("audit a WHERE TRUE");
            }
        }
        if let (Some(_), Some(party)) = (query.patient, query.organisation) {
            rows.push(" AND a.organisation = ").bind(party.0);
        }
        if let Some(from) = query.from {
            rows.push(" AND a.at >= ").bind(from.0);
        }
        if let Some(to) = query.to {
            rows.push(" AND a.at < ").bind(to.0);
        }
        if !self.filter.system {
            rows.push(" AND (a.organisation = ").bind(self.filter.organisation.0);
            if let Some(patient) = self.filter.self_patient {
                rows.push(" OR EXISTS (SELECT 1 FROM audit_patient s WHERE s.patient = ").bind(patient.0);
                rows.push(" AND s.sequence = a.sequence)");
                rows.push(" OR (a.patient > 0 AND a.patient = ").bind(patient.0).push(")");
            }
            rows.push(")");
        }
        let total = self.base.number(&format!("SELECT count(*) FROM {}", rows.text), &rows.bound())?;
        if let Some(before) = query.before {
            rows.push(" AND a.sequence < ").bind(number(before));
        }
        rows.push(" ORDER BY a.sequence DESC LIMIT ").bind(i64::from(query.limit));
        let text = format!("SELECT a.sequence, a.body, a.hash FROM {}", rows.text);
        let found = self.base.all(&text, &rows.bound(), audit_row)?;
        Ok((found, u64::try_from(total).unwrap_or(0)))
    }

    pub(super) fn read_audit_chain(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        self.settle_log()?;
        let text = "SELECT sequence, body, hash FROM audit WHERE sequence >= $1 ORDER BY sequence LIMIT $2";
        self.base.all(text, values![number(from), limit], audit_row)
    }

    pub(super) fn read_audit_head(&mut self) -> Result<(u64, [u8; 32]), StoreError> {
        self.settle_log()?;
        audit_head(self.base)
    }

    pub(super) fn write_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.pen()?;
        self.base.execute(
            "INSERT INTO checkpoint (sequence, note) VALUES ($1,$2) ON CONFLICT DO NOTHING",
            values![number(checkpoint.sequence), &*checkpoint.note],
        )?;
        Ok(())
    }

    pub(super) fn read_checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        self.base.all("SELECT sequence, note FROM checkpoint ORDER BY sequence, note", &[], |row| {
            Ok(Checkpoint { sequence: unsigned(row.integer(0)?)?, note: row.text(1)? })
        })
    }
}

fn audit_row(row: &dyn Row) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        sequence: unsigned(row.integer(0)?)?,
        body: Bytes::from(row.blob(1)?),
        hash: hash(row.blob(2)?)?,
    })
}

fn hash(bytes: Vec<u8>) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| impossible("a chain hash that is not 32 bytes"))
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| impossible("a negative sequence number"))
}
