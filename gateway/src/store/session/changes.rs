//! Versions of one resource, of a type, of the system, by the moment they were made.
//!
//! Current and superseded versions stand in two tables. Each part is walked by an index in the order asked and cut to
//! the page; the page is what is first of all parts.

use super::read::VERSION_COLUMNS;
use super::{COLUMNS, Session};
use crate::search::sql::{Names, Sql};
use crate::store::history::{HistoryOf, HistoryPlace, HistoryQuery};
use crate::store::visible::Visible;
use crate::store::{StoreError, Stored};

/// A part of the rows, walked on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Current versions, marks of deletion among them.
    Current,
    /// Current versions of a type that are not deleted.
    Live,
    /// Marks of deletion that are current, of a type.
    Deleted,
    /// Superseded versions.
    Past,
}

impl Session<'_> {
    /// One page, and the number of all versions asked for. A superseded version counts if both it and the current one
    /// are visible, as in [`Session::read_version`].
    pub(super) fn read_changes(&mut self, query: &HistoryQuery) -> Result<(Vec<Stored>, u64), StoreError> {
        let parts: &[Part] = match query.of {
            HistoryOf::Kind(_) => &[Part::Live, Part::Deleted, Part::Past],
            _ => &[Part::Current, Part::Past],
        };
        let (mut page, mut total) = (Vec::new(), 0);
        for &part in parts {
            let sql = self.changes(query, part, true);
            let count = self.base.number(&sql.text, &sql.bound())?;
            total += u64::try_from(count).unwrap_or(0);
            let sql = self.changes(query, part, false);
            page.extend(self.all(&sql.text, &sql.bound())?);
        }
        page.sort_by_key(|stored| HistoryPlace {
            updated: stored.updated,
            key: stored.key,
            version: stored.version,
        });
        if !query.oldest_first {
            page.reverse();
        }
        page.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
        Ok((page, total))
    }

    /// The statement of one part: its count, or its page.
    fn changes(&self, query: &HistoryQuery, part: Part, count: bool) -> Sql {
        let past = part == Part::Past;
        let alias = if past { "v" } else { "r" };
        let visible = Visible::probed(self.filter);
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT ").push(match (count, past) {
            (true, _) => "count(*)",
            (false, true) => VERSION_COLUMNS,
            (false, false) => COLUMNS,
        });
        match (&query.of, part) {
            (HistoryOf::Row(_), Part::Past) => sql.push(" FROM version v").pin("version_of"),
            (HistoryOf::Kind(_), Part::Past) => sql.push(" FROM version v").pin("version_kind"),
            (HistoryOf::Kinds(_), Part::Past) => sql.push(" FROM version v").pin("version_moment"),
            (_, Part::Live) => sql.push(" FROM resource r").pin("resource_updated"),
            (_, Part::Deleted) => sql.push(" FROM resource r").pin("resource_deleted"),
            (HistoryOf::Row(_), Part::Current) => sql.push(" FROM resource r"),
            (_, Part::Current) => sql.push(" FROM resource r").pin("resource_moment"),
        };
        if past {
            sql.then().push("resource r ON r.key = v.key");
        } else if !count {
            sql.then().push("body b ON b.key = r.key").beside("b", "r");
        }
        sql.push(&format!(" WHERE {alias}.updated <= ")).bind(query.until.0);
        match &query.of {
            HistoryOf::Row(key) => {
                sql.push(&format!(" AND {alias}.key = ")).bind(*key);
            }
            HistoryOf::Kind(kind) => {
                sql.push(&format!(" AND {alias}.kind = ")).bind(self.names.kind(*kind));
            }
            HistoryOf::Kinds(None) => {}
            HistoryOf::Kinds(Some(kinds)) => {
                sql.push(" AND r.kind IN (0");
                for kind in kinds {
                    sql.push(", ").bind(self.names.kind(*kind));
                }
                sql.push(")");
            }
        }
        match part {
            Part::Live => sql.push(" AND r.deleted = 0"),
            Part::Deleted => sql.push(" AND r.deleted = 1"),
            Part::Current | Part::Past => &mut sql,
        };
        if let Some(since) = query.since {
            sql.push(&format!(" AND {alias}.updated >= ")).bind(since.0);
        }
        if let Some((low, high)) = query.at {
            sql.push(&format!(" AND {alias}.updated < ")).bind(high.0);
            if past {
                // It was current until the next one was made that the asker may see: a hidden one moves nothing.
                sql.push(" AND COALESCE((SELECT n.updated FROM version n WHERE n.key = v.key");
                sql.push(" AND n.version > v.version AND ");
                visible.write(&mut sql, "n");
                sql.push(" ORDER BY n.version LIMIT 1), r.updated) > ");
                sql.bind(low.0);
            }
        }
        sql.push(" AND ");
        visible.write(&mut sql, "r");
        if past {
            sql.push(" AND ");
            visible.write(&mut sql, "v");
        }
        if count {
            return sql;
        }
        if let Some(after) = &query.after {
            let sign = if query.oldest_first { ">" } else { "<" };
            sql.push(&format!(" AND ({alias}.updated, {alias}.key, {alias}.version) {sign} ("));
            sql.bind(after.updated.0).push(", ").bind(after.key).push(", ").bind(i64::from(after.version));
            sql.push(")");
        }
        let way = if query.oldest_first { "ASC" } else { "DESC" };
        sql.push(&format!(" ORDER BY {alias}.updated {way}, {alias}.key {way}"));
        if past {
            sql.push(&format!(", v.version {way}"));
        }
        sql.push(" LIMIT ").bind(i64::from(query.limit));
        sql
    }
}
