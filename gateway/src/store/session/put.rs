//! A new version: the row, what it supersedes, its body and its index entries, in the writer's transaction.

use super::Session;
use super::base::{Value, impossible, values};
use crate::response::refusal::{Reason, Refusal};
use crate::search::sql::{Dialect, Names};
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
        let previous = self.base.one(
            "SELECT key, version, patient, category, labels, confidentiality, day, author \
                 FROM resource WHERE kind = $1 AND id = $2",
            values![kind, record.id.as_str()],
            |row| {
                Ok(Previous {
                    key: row.integer(0)?,
                    version: row.integer(1)?,
                    patient: row.integer(2)?,
                    category: row.integer(3)?,
                    labels: row.integer(4)?,
                    confidentiality: row.small(5)?,
                    day: row.small(6)?,
                    author: row.integer(7)?,
                })
            },
        )?;
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
            // A Patient is in its own compartment, under a key that only the insertion gives.
            None if kind == self.names.patient => {
                let key = self.insert(record, kind, &columns, sequence)?;
                columns.patient = key;
                key
            }
            None => self.insert(record, kind, &columns, sequence)?,
            Some(previous) => {
                if kind == self.names.patient {
                    columns.patient = previous.key;
                }
                self.supersede(record, previous, &columns, sequence)?;
                previous.key
            }
        };
        let patient = columns.patient;
        if previous.is_some() {
            self.erase_entries(key)?;
        }
        if !deletes {
            self.write_entries(record.kind, key, patient, record.entries)?;
            if let Some(root) = record.root {
                self.write_words(key, patient, root)?;
            }
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
        let key = self.base.insert(
            "INSERT INTO resource (kind, id, version, updated, deleted, method, patient, category, labels, \
             confidentiality, day, author, created, changed) \
             VALUES ($1,$2,$3,$4,0,$5,$6,$7,$8,$9,$10,$11,$12,$12)",
            values![
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
            ],
        )?;
        let mut patient = columns.patient;
        if kind == self.names.patient {
            patient = key;
            self.base.execute("UPDATE resource SET patient = $1 WHERE key = $1", values![key])?;
        }
        self.write_body(key, patient, record.body)?;
        Ok(key)
    }

    fn supersede(
        &self,
        record: &Record<'_>,
        previous: &Previous,
        columns: &Previous,
        sequence: i64,
    ) -> Result<(), StoreError> {
        let key = previous.key;
        self.base.execute(
            "INSERT INTO version (key, version, updated, deleted, method, patient, category, labels, \
             confidentiality, day, author, body, kind) SELECT r.key, r.version, r.updated, r.deleted, r.method, \
             r.patient, r.category, r.labels, r.confidentiality, r.day, r.author, b.body, r.kind \
             FROM resource r JOIN body b ON b.key = r.key WHERE r.key = $1",
            values![key],
        )?;
        let deletes = record.method == Method::Delete;
        let changed = self.base.execute(
            "UPDATE resource SET version = $1, updated = $2, deleted = $3, method = $4, patient = $5, \
             category = $6, labels = $7, confidentiality = $8, day = $9, author = $10, changed = $11 WHERE key = $12",
            values![
                columns.version,
                record.updated.0,
                i64::from(deletes),
                method(record.method),
                columns.patient,
                columns.category,
                columns.labels,
                columns.confidentiality,
                columns.day,
                columns.author,
                sequence,
                key,
            ],
        )?;
        if changed != 1 {
            return Err(impossible("the superseded row is gone"));
        }
        let body: &[u8] = if deletes { &[] } else { record.body };
        match self.base.dialect() {
            Dialect::Sqlite => {
                self.base.execute("UPDATE body SET body = $1 WHERE key = $2", values![body, key])?
            }
            Dialect::Postgres => self.base.execute(
                "UPDATE body SET body = $1, patient = $2 WHERE key = $3",
                values![body, columns.patient, key],
            )?,
        };
        Ok(())
    }

    fn write_body(&self, key: i64, patient: i64, body: &[u8]) -> Result<(), StoreError> {
        let values: &[Value<'_>] = values![key, body, patient];
        match self.base.dialect() {
            Dialect::Sqlite => self.base.execute(
                "INSERT INTO body (key, body) VALUES ($1, $2)",
                &[Value::Integer(key), Value::Blob(body)],
            )?,
            Dialect::Postgres => {
                self.base.execute("INSERT INTO body (key, body, patient) VALUES ($1, $2, $3)", values)?
            }
        };
        Ok(())
    }
}

fn method(method: Method) -> i64 {
    match method {
        Method::Post => 0,
        Method::Put => 1,
        Method::Delete => 2,
    }
}
