//! The audit log: appended with its chain, read by patient or organisation, walked for verification.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::failure::impossible;
use super::session::Session;
use crate::audit::chain;
use crate::audit::entry::AuditRecord;
use crate::search::sql::{Dialect, Sql};
use crate::store::{AuditQuery, AuditRow, Checkpoint, StoreError};

/// Records whose index entries are not made yet.
const TAIL: &str = "sequence > (SELECT value FROM counter WHERE name = 'audit_indexed')";

/// Records that wait for their index entries.
pub(super) fn audit_waiting(connection: &Connection) -> Result<u64, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT coalesce((SELECT max(sequence) FROM audit), 0) - value FROM counter WHERE name = 'audit_indexed'",
    )?;
    let waiting: i64 = statement.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(waiting).unwrap_or(0))
}

/// Makes the index entries of all records that wait for them, in one transaction of its own; sorted, so that a page of
/// the index is written once for all its entries.
///
/// Errors: the database's; then the records wait on and are found by the walk.
pub(super) fn index_audit(connection: &Connection) -> Result<(), StoreError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let made = [
        format!(
            "INSERT OR IGNORE INTO audit_patient (patient, sequence) \
             SELECT patient, sequence FROM audit WHERE {TAIL} AND patient > 0 ORDER BY patient, sequence"
        ),
        format!(
            "INSERT OR IGNORE INTO audit_party (party, sequence) \
             SELECT organisation, sequence FROM audit WHERE {TAIL} ORDER BY organisation, sequence"
        ),
        "UPDATE counter SET value = coalesce((SELECT max(sequence) FROM audit), 0) WHERE name = 'audit_indexed'"
            .to_owned(),
        "COMMIT".to_owned(),
    ]
    .iter()
    .try_for_each(|text| connection.prepare_cached(text)?.execute([]).map(|_| ()));
    if made.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(made?)
}

impl Session<'_> {
    pub(super) fn write_audit(&mut self, record: &AuditRecord) -> Result<u64, StoreError> {
        let (last, previous) = match self.pen()?.hand.log_head {
            Some(head) => head,
            None => self.read_audit_head()?,
        };
        let sequence = last + 1;
        let hash = chain::link(&previous, sequence, &record.body);
        let (at, organisation) = (record.at.0, record.organisation.0);
        // A row at the end of one table. Entries in two indexes besides, each on a page of its own, would make most of
        // what a commit writes; `index_audit` makes them for many records at once.
        let patient = match record.patients.as_slice() {
            [one] => one.0,
            _ => 0,
        };
        self.connection
            .prepare_cached(
                "INSERT INTO audit (sequence, at, organisation, body, hash, patient) VALUES (?,?,?,?,?,?)",
            )?
            .execute(params![number(sequence), at, organisation, record.body, hash, patient])?;
        if let [_, _, ..] = record.patients.as_slice() {
            let mut statement = self
                .connection
                .prepare_cached("INSERT OR IGNORE INTO audit_patient (patient, sequence) VALUES (?,?)")?;
            for patient in &record.patients {
                statement.execute(params![patient.0, number(sequence)])?;
            }
        }
        let hand = &mut self.pen()?.hand;
        hand.log_head = Some((sequence, hash));
        hand.records += 1;
        Ok(sequence)
    }

    /// Rows the filter's holder may see: all for the gateway's own work; else those about the patient who asks, or of
    /// the own organisation.
    pub(super) fn read_audit(&mut self, query: &AuditQuery) -> Result<(Vec<AuditRow>, u64), StoreError> {
        let mut rows = Sql::new(Dialect::Sqlite);
        match (query.patient, query.organisation) {
            (Some(patient), _) => {
                rows.push("(SELECT sequence FROM audit_patient WHERE patient = ").bind(patient.0);
                rows.push(" UNION ALL SELECT sequence FROM audit WHERE ").push(TAIL);
                // Key 0 stands for "none, or several" in the column.
                rows.push(" AND patient > 0 AND patient = ").bind(patient.0);
                rows.push(") p CROSS JOIN audit a ON a.sequence = p.sequence WHERE 1");
            }
            (None, Some(party)) => {
                rows.push("(SELECT sequence FROM audit_party WHERE party = ").bind(party.0);
                rows.push(" UNION ALL SELECT sequence FROM audit WHERE ").push(TAIL);
                rows.push(" AND organisation = ").bind(party.0);
                rows.push(") p CROSS JOIN audit a ON a.sequence = p.sequence WHERE 1");
            }
            (None, None) => {
                rows.push("audit a WHERE 1");
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
        let total: i64 = self
            .connection
            .prepare_cached(&format!("SELECT count(*) FROM {}", rows.text))?
            .query_row(params_from_iter(&rows.values), |row| row.get(0))?;
        if let Some(before) = query.before {
            rows.push(" AND a.sequence < ").bind(number(before));
        }
        rows.push(" ORDER BY a.sequence DESC LIMIT ").bind(i64::from(query.limit));
        let mut statement = self
            .connection
            .prepare_cached(&format!("SELECT a.sequence, a.body, a.hash FROM {}", rows.text))?;
        let found = statement.query_map(params_from_iter(&rows.values), |row| Ok(audit_row(row)))?;
        let found = found.map(|row| row?).collect::<Result<Vec<_>, StoreError>>()?;
        Ok((found, u64::try_from(total).unwrap_or(0)))
    }

    pub(super) fn read_audit_chain(&mut self, from: u64, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, body, hash FROM audit WHERE sequence >= ? ORDER BY sequence LIMIT ?",
        )?;
        let rows = statement.query_map(params![number(from), limit], |row| Ok(audit_row(row)))?;
        rows.map(|row| row?).collect()
    }

    pub(super) fn read_audit_head(&mut self) -> Result<(u64, [u8; 32]), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")?;
        let head: Option<(i64, [u8; 32])> =
            statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (sequence, hash) = head.unwrap_or((0, [0; 32]));
        let sequence =
            u64::try_from(sequence).map_err(|_| impossible("an audit record numbered below zero"))?;
        Ok((sequence, hash))
    }

    pub(super) fn write_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        self.pen()?;
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO checkpoint (sequence, note) VALUES (?,?)")?
            .execute(params![number(checkpoint.sequence), checkpoint.note])?;
        Ok(())
    }

    pub(super) fn read_checkpoints(&mut self) -> Result<Vec<Checkpoint>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT sequence, note FROM checkpoint ORDER BY sequence, note")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))?;
        rows.map(|row| {
            let (sequence, note) = row?;
            Ok(Checkpoint { sequence: unsigned(sequence)?, note })
        })
        .collect()
    }
}

fn audit_row(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    let hash: Vec<u8> = row.get(2)?;
    Ok(AuditRow {
        sequence: unsigned(row.get(0)?)?,
        body: Bytes::from(row.get::<_, Vec<u8>>(1)?),
        hash: hash.try_into().map_err(|_| impossible("a chain hash that is not 32 bytes"))?,
    })
}

fn number(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| impossible("a negative sequence number"))
}
