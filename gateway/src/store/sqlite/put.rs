//! A new version: the row, what it supersedes, its body and its index entries, in the writer's transaction.

use rusqlite::{OptionalExtension, params};

use super::failure::impossible;
use super::session::Session;
use crate::response::refusal::{Reason, Refusal};
use crate::search::sql::Names;
use crate::store::visible::bits;
use crate::store::{Method, Record, StoreError};

/// The current row that a new version supersedes.
struct Previous {
    key: i64,
    version: i64,
    patient: i64,
    category: i64,
    labels: i64,
    confidentiality: u8,
    day: i32,
    author: i64,
}

impl Session<'_> {
    pub(super) fn write_record(&mut self, record: &Record<'_>) -> Result<i64, StoreError> {
        let sequence = self.pen()?.sequence;
        let kind = self.names.kind(record.kind);
        let previous = self
            .connection
            .prepare_cached(
                "SELECT key, version, patient, category, labels, confidentiality, day, author \
                 FROM resource WHERE kind = ? AND id = ?",
            )?
            .query_row(params![kind, record.id.as_str()], |row| {
                Ok(Previous {
                    key: row.get(0)?,
                    version: row.get(1)?,
                    patient: row.get(2)?,
                    category: row.get(3)?,
                    labels: row.get(4)?,
                    confidentiality: row.get(5)?,
                    day: row.get(6)?,
                    author: row.get(7)?,
                })
            })
            .optional()?;
        let deletes = record.method == Method::Delete;
        let expected = previous.as_ref().map_or(0, |previous| previous.version) + 1;
        if i64::from(record.version) != expected || (deletes && previous.is_none()) {
            // The caller judged the version through this same writer, so only a fault above gets here.
            let refusal = Refusal::new(Reason::Conflict, "The resource has another version.");
            return Err(StoreError::Refused(Box::new(refusal)));
        }
        let mut columns = Previous {
            key: 0,
            version: expected,
            patient: record.derived.patient.map_or(0, |patient| patient.0),
            category: bits(record.derived.category),
            labels: bits(record.derived.labels),
            confidentiality: record.derived.confidentiality,
            day: record.derived.day,
            author: record.derived.author.0,
        };
        if let (true, Some(previous)) = (deletes, &previous) {
            // A deletion mark is seen by whoever could see what it deleted.
            columns = Previous { version: expected, key: previous.key, ..*previous };
        }
        let key = match &previous {
            None => self.insert(record, kind, &columns, sequence)?,
            Some(previous) => self.supersede(record, previous.key, &columns, sequence)?,
        };
        let mut patient = columns.patient;
        if kind == self.names.patient && patient != key {
            // A Patient is in its own compartment, and its key is known only now.
            patient = key;
            self.connection
                .prepare_cached("UPDATE resource SET patient = ?1 WHERE key = ?1")?
                .execute([key])?;
        }
        if previous.is_some() {
            self.erase_entries(key)?;
        }
        if !deletes {
            self.write_entries(record.kind, key, patient, record.entries)?;
        }
        Ok(key)
    }

    fn insert(
        &self,
        record: &Record<'_>,
        kind: i64,
        columns: &Previous,
        sequence: i64,
    ) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO resource (kind, id, version, updated, deleted, method, patient, category, labels, \
                 confidentiality, day, author, created, changed) VALUES (?1,?2,?3,?4,0,?5,?6,?7,?8,?9,?10,?11,?12,?12)",
            )?
            .execute(params![
                kind,
                record.id.as_str(),
                columns.version,
                record.updated.0,
                method(record.method),
                columns.patient,
                columns.category,
                columns.labels,
                columns.confidentiality,
                columns.day,
                columns.author,
                sequence,
            ])?;
        let key = self.connection.last_insert_rowid();
        self.connection
            .prepare_cached("INSERT INTO body (key, body) VALUES (?, ?)")?
            .execute(params![key, record.body])?;
        Ok(key)
    }

    fn supersede(
        &self,
        record: &Record<'_>,
        key: i64,
        columns: &Previous,
        sequence: i64,
    ) -> Result<i64, StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO version (key, version, updated, deleted, method, patient, category, labels, \
                 confidentiality, day, author, body) SELECT r.key, r.version, r.updated, r.deleted, r.method, \
                 r.patient, r.category, r.labels, r.confidentiality, r.day, r.author, b.body \
                 FROM resource r CROSS JOIN body b ON b.key = r.key WHERE r.key = ?",
            )?
            .execute([key])?;
        let deletes = record.method == Method::Delete;
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE resource SET version = ?, updated = ?, deleted = ?, method = ?, patient = ?, category = ?, \
                 labels = ?, confidentiality = ?, day = ?, author = ?, changed = ? WHERE key = ?",
            )?
            .execute(params![
                columns.version,
                record.updated.0,
                deletes,
                method(record.method),
                columns.patient,
                columns.category,
                columns.labels,
                columns.confidentiality,
                columns.day,
                columns.author,
                sequence,
                key,
            ])?;
        if changed != 1 {
            return Err(impossible("the superseded row is gone"));
        }
        let body: &[u8] = if deletes { &[] } else { record.body };
        self.connection
            .prepare_cached("UPDATE body SET body = ? WHERE key = ?")?
            .execute(params![body, key])?;
        Ok(key)
    }
}

fn method(method: Method) -> i64 {
    match method {
        Method::Post => 0,
        Method::Put => 1,
        Method::Delete => 2,
    }
}
