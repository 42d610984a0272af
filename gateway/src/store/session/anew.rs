//! The search index of rows that are there already, made from their bodies: after a restore or a move.

use sluis_conformance::json::{Doc, JsonLimits};
use sluis_conformance::{definitions, path};

use super::Session;
use super::base::{impossible, values};
use crate::store::StoreError;

impl Session<'_> {
    /// Writes the index entries of the next live resources after row `after`, at most `limit`, that have none yet. The last
    /// row and how many; `None`: there are no more.
    pub(crate) fn index_anew(&mut self, after: i64, limit: i64) -> Result<Option<(i64, u64)>, StoreError> {
        self.pen()?;
        let text = "SELECT r.key, r.kind, r.patient, b.body FROM resource r JOIN body b ON b.key = r.key \
                    WHERE r.deleted = 0 AND r.key > $1 ORDER BY r.key LIMIT $2";
        let rows = self.base.all(text, values![after, limit], |row| {
            Ok((row.integer(0)?, row.integer(1)?, row.integer(2)?, row.blob(3)?))
        })?;
        let Some((last, ..)) = rows.last() else { return Ok(None) };
        let (last, count) = (*last, rows.len() as u64);
        for (key, kind, patient, body) in rows {
            let kind = self.names.kind_of(kind).ok_or_else(|| impossible("a row of an unknown type"))?;
            let doc =
                Doc::parse(body, JsonLimits::default()).map_err(|_| impossible("a body that is no JSON"))?;
            let entries = path::extract(definitions::r4(), kind, doc.root());
            self.write_entries(kind, key, patient, &entries)?;
        }
        Ok(Some((last, count)))
    }
}
