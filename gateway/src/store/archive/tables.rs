//! Which tables a store has, as its database tells, and how one is read, cleared and counted on.

use crate::search::sql::Dialect;
use crate::store::StoreError;
use crate::store::session::base::{Base, Row};

/// Rows fetched at once from a server.
const FETCH_ROWS: u32 = 2_000;

/// A table that holds something of its own.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

/// A column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// The database's name of its type.
    kind: String,
    /// It counts on by itself.
    counts: bool,
    /// It is not there, and is put together when it is read.
    pub(super) made: bool,
}

impl Column {
    pub(super) fn spelt(&self) -> (&str, &str) {
        (&self.name, &self.kind)
    }
}

/// An index that is no part of its table.
pub(super) struct Index {
    name: String,
    pub(super) definition: String,
}

/// What of `counter` belongs to the records; the rest belongs to a database.
const COUNTERS: &str = "name IN ('commit', 'audit_indexed')";

/// All tables but those of migrations and of the search index (`index_...`), which is made anew.
pub(super) fn of(base: &dyn Base) -> Result<Vec<Table>, StoreError> {
    let text = match base.dialect() {
        Dialect::Sqlite => {
            "SELECT l.name, p.name, lower(p.type), 0 FROM pragma_table_list l, pragma_table_info(l.name) p \
             WHERE l.schema = 'main' AND l.type = 'table' AND l.name NOT LIKE 'sqlite%' ORDER BY l.name, p.cid"
        }
        Dialect::Postgres => {
            "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), \
             (pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS NOT NULL)::int FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
             WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') \
             AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
             ORDER BY c.relname::text COLLATE \"C\", a.attnum"
        }
    };
    let rows = base.all(text, &[], |row| {
        Ok((
            row.text(0)?,
            Column { name: row.text(1)?, kind: row.text(2)?, counts: row.integer(3)? != 0, made: false },
        ))
    })?;
    let mut tables: Vec<Table> = Vec::new();
    for (name, column) in rows {
        match tables.last_mut().filter(|table| table.name == name) {
            Some(table) => table.columns.push(column),
            None => tables.push(Table { name, columns: vec![column] }),
        }
    }
    tables.retain(|table| table.name != "migration" && !table.name.starts_with("index_"));
    for table in tables.iter_mut().filter(|table| table.name == "body") {
        if table.columns.iter().all(|column| column.name != "patient") {
            let kind = "integer".to_owned();
            table.columns.push(Column { name: "patient".to_owned(), kind, counts: false, made: true });
        }
    }
    Ok(tables)
}

impl Table {
    /// Whether a new store has rows of it.
    pub(super) fn seeded(&self) -> bool {
        matches!(&*self.name, "kind" | "facet" | "counter")
    }

    fn rows(&self) -> String {
        match &*self.name {
            "counter" => format!("counter WHERE {COUNTERS}"),
            name => name.to_owned(),
        }
    }

    pub(super) fn count(&self, base: &dyn Base) -> Result<i64, StoreError> {
        base.number(&format!("SELECT count(*) FROM {}", self.rows()), &[])
    }

    pub(super) fn clear(&self, base: &dyn Base) -> Result<(), StoreError> {
        base.execute(&format!("DELETE FROM {}", self.rows()), &[]).map(|_| ())
    }

    /// Hands every row to `each`, its columns in order.
    pub(super) fn scan(
        &self,
        base: &dyn Base,
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| match column.made {
                true => "(SELECT r.patient FROM resource r WHERE r.key = body.key)".to_owned(),
                false => format!("\"{}\"", column.name),
            })
            .collect();
        let select = format!("SELECT {} FROM {}", columns.join(", "), self.rows());
        if base.dialect() == Dialect::Sqlite {
            return base.query(&select, &[], each);
        }
        // A server sends a whole answer at once, and a table need not fit into memory.
        let cursor = format!("scan_{}", self.name);
        base.execute(&format!("DECLARE {cursor} NO SCROLL CURSOR FOR {select}"), &[])?;
        let fetch = format!("FETCH {FETCH_ROWS} FROM {cursor}");
        loop {
            let mut rows = 0;
            base.query(&fetch, &[], &mut |row| {
                rows += 1;
                each(row)
            })?;
            if rows < FETCH_ROWS {
                return base.execute(&format!("CLOSE {cursor}"), &[]).map(|_| ());
            }
        }
    }

    /// Lets a column that counts by itself go on after the largest number there is.
    pub(super) fn count_on(&self, base: &dyn Base) -> Result<(), StoreError> {
        for column in self.columns.iter().filter(|column| column.counts) {
            let (table, column) = (&self.name, &column.name);
            let text = format!(
                "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false) \
                 FROM {table}"
            );
            base.number(&text, &[])?;
        }
        Ok(())
    }
}

/// Drops the indexes that are no part of a table, to be made again from their definitions.
pub(super) fn drop_indexes(base: &dyn Base) -> Result<Vec<Index>, StoreError> {
    let text = match base.dialect() {
        Dialect::Sqlite => {
            "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
        }
        Dialect::Postgres => {
            "SELECT c.relname::text, pg_get_indexdef(c.oid) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid \
             WHERE c.relnamespace = current_schema()::regnamespace AND NOT c.relispartition \
             AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = c.oid) ORDER BY c.relname"
        }
    };
    let indexes = base.all(text, &[], |row| {
        // Told of a partitioned table, it is told without its partitions.
        Ok(Index { name: row.text(0)?, definition: row.text(1)?.replacen(" ON ONLY ", " ON ", 1) })
    })?;
    for index in &indexes {
        base.execute(&format!("DROP INDEX {}", index.name), &[])?;
    }
    Ok(indexes)
}
