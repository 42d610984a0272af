//! The search index of rows that are there already, made from their bodies: after a restore or a move, and when what is
//! indexed has changed.

use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::{definitions, path};

use super::Session;
use super::base::{impossible, values};
use crate::search::sql::Dialect;
use crate::store::{Reindexed, StoreError};

/// A row to be indexed.
struct Bare {
    key: i64,
    kind: i64,
    patient: i64,
    body: Vec<u8>,
}

impl Session<'_> {
    /// Writes the index entries of the next live resources after row `after`, at most `limit`, that have none yet. The last
    /// row and how many; `None`: there are no more.
    pub(crate) fn index_anew(&mut self, after: i64, limit: i64) -> Result<Option<(i64, u64)>, StoreError> {
        self.pen()?;
        let rows = self.bare(after, limit)?;
        let Some(last) = rows.last() else { return Ok(None) };
        let (last, count) = (last.key, rows.len() as u64);
        rows.into_iter().try_for_each(|row| self.index_row(row))?;
        Ok(Some((last, count)))
    }

    /// As [`Self::index_anew`], of rows that may have entries: these are replaced.
    pub(super) fn rewrite_entries(&mut self, after: i64, limit: u32) -> Result<Reindexed, StoreError> {
        self.system_only()?;
        let rows = self.bare(after, limit.into())?;
        let of = self.base.number("SELECT coalesce(max(key), 0) FROM resource", &[])?;
        let mut done = Reindexed { last: rows.last().map(|row| row.key), changed: 0, of };
        for row in rows {
            let key = row.key;
            let before = self.count_entries(key)?;
            self.erase_entries(key)?;
            self.index_row(row)?;
            done.changed += u32::from(before != self.count_entries(key)?);
        }
        Ok(done)
    }

    /// Live rows after a key, in order of their keys.
    fn bare(&self, after: i64, limit: i64) -> Result<Vec<Bare>, StoreError> {
        let text = "SELECT r.key, r.kind, r.patient, b.body FROM resource r JOIN body b ON b.key = r.key \
                    WHERE r.deleted = 0 AND r.key > $1 ORDER BY r.key LIMIT $2";
        self.base.all(text, values![after, limit], |row| {
            let (key, kind, patient) = (row.integer(0)?, row.integer(1)?, row.integer(2)?);
            Ok(Bare { key, kind, patient, body: row.blob(3)? })
        })
    }

    fn index_row(&mut self, row: Bare) -> Result<(), StoreError> {
        let Bare { key, kind, patient, body } = row;
        let kind = self.names.kind_of(kind).ok_or_else(|| impossible("a row of an unknown type"))?;
        let doc =
            Doc::parse(body, JsonLimits::default()).map_err(|_| impossible("a body that is no JSON"))?;
        let entries = path::extract(definitions::r4(), kind, doc.root());
        self.write_entries(kind, key, patient, &entries)?;
        self.write_words(key, patient, doc.root())
    }

    /// Index entries of a row.
    fn count_entries(&self, row: i64) -> Result<i64, StoreError> {
        let words = match self.base.dialect() {
            Dialect::Sqlite => "SELECT count(*) FROM index_text WHERE rowid = $1",
            Dialect::Postgres => "SELECT count(*) FROM index_text WHERE row = $1",
        };
        let words = self.base.number(words, values![row])?;
        let text = "SELECT (SELECT count(*) FROM index_token WHERE row = $1) \
                    + (SELECT count(*) FROM index_string WHERE row = $1) \
                    + (SELECT count(*) FROM index_date WHERE row = $1) \
                    + (SELECT count(*) FROM index_number WHERE row = $1) \
                    + (SELECT count(*) FROM index_quantity WHERE row = $1) \
                    + (SELECT count(*) FROM index_reference WHERE row = $1) \
                    + (SELECT count(*) FROM index_uri WHERE row = $1)";
        Ok(words + self.base.number(text, values![row])?)
    }
}
