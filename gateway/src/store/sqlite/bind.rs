//! SQLite as a session's base: prepared statements kept, rows added at once.

use std::cell::RefCell;

use rusqlite::types::{ToSqlOutput, Value as Owned, ValueRef};
use rusqlite::{CachedStatement, Connection, ToSql, params_from_iter};

use crate::search::sql::Dialect;
use crate::store::StoreError;
use crate::store::session::base::{Base, Row, Table, Value, impossible};

impl Base for Connection {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn query(
        &self,
        text: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.prepare_cached(text)?;
        let mut rows = statement.query(params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            each(row)?;
        }
        Ok(())
    }

    fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Ok(u64::try_from(self.prepare_cached(text)?.execute(params_from_iter(values))?).unwrap_or(0))
    }

    // Not by RETURNING: SQLite then keeps a journal of the statement, and walks all that the work's savepoint holds to
    // cut it off again.
    fn insert(&self, text: &str, values: &[Value<'_>]) -> Result<i64, StoreError> {
        Base::execute(self, text, values)?;
        Ok(self.last_insert_rowid())
    }

    fn add(&self, table: &'static Table, values: &[Value<'_>]) -> Result<(), StoreError> {
        let values = values.get(..table.sqlite_columns).unwrap_or(values);
        Base::execute(self, table.sqlite, values)?;
        Ok(())
    }

    fn fill(&self, table: &str, columns: &[(&str, &str)], rows: &[Vec<Value<'_>>]) -> Result<(), StoreError> {
        let names: Vec<String> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let places = vec!["?"; columns.len()].join(", ");
        let text = format!("INSERT INTO {table} ({}) VALUES ({places})", names.join(", "));
        let mut statement = self.prepare_cached(&text)?;
        for row in rows {
            statement.execute(params_from_iter(row))?;
        }
        Ok(())
    }
}

/// The writer's connection within one transaction: the statements that add rows, of which a resource has dozens, are not
/// looked up for each.
pub(super) struct Adding<'c> {
    connection: &'c Connection,
    statements: RefCell<Vec<(&'static str, CachedStatement<'c>)>>,
}

impl<'c> Adding<'c> {
    pub(super) fn to(connection: &'c Connection) -> Adding<'c> {
        Adding { connection, statements: RefCell::default() }
    }
}

impl Base for Adding<'_> {
    fn dialect(&self) -> Dialect {
        Base::dialect(self.connection)
    }

    fn query(
        &self,
        text: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        Base::query(self.connection, text, values, each)
    }

    fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Base::execute(self.connection, text, values)
    }

    fn insert(&self, text: &str, values: &[Value<'_>]) -> Result<i64, StoreError> {
        Base::insert(self.connection, text, values)
    }

    fn add(&self, table: &'static Table, values: &[Value<'_>]) -> Result<(), StoreError> {
        let values = values.get(..table.sqlite_columns).unwrap_or(values);
        let mut statements = self.statements.borrow_mut();
        let at = match statements.iter().position(|(name, _)| *name == table.name) {
            Some(at) => at,
            None => {
                statements.push((table.name, self.connection.prepare_cached(table.sqlite)?));
                statements.len() - 1
            }
        };
        if let Some((_, statement)) = statements.get_mut(at) {
            statement.execute(params_from_iter(values))?;
        }
        Ok(())
    }

    fn fill(&self, table: &str, columns: &[(&str, &str)], rows: &[Vec<Value<'_>>]) -> Result<(), StoreError> {
        Base::fill(self.connection, table, columns, rows)
    }
}

impl Row for rusqlite::Row<'_> {
    fn value(&self, at: usize) -> Result<Value<'_>, StoreError> {
        Ok(match self.get_ref(at)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(integer) => Value::Integer(integer),
            ValueRef::Real(real) => Value::Real(real),
            ValueRef::Text(text) => {
                Value::Text(std::str::from_utf8(text).map_err(|_| impossible("text that is not UTF-8"))?)
            }
            ValueRef::Blob(bytes) => Value::Blob(bytes),
        })
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let borrowed = match self {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Real(real) => ValueRef::Real(*real),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
            // SQLite has no arrays: `json_each` reads them.
            Value::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
                return Ok(ToSqlOutput::Owned(Owned::Text(format!("[{}]", keys.join(",")))));
            }
            Value::Texts(texts) => {
                let texts = serde_json::to_string(texts)
                    .map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
                return Ok(ToSqlOutput::Owned(Owned::Text(texts)));
            }
        };
        Ok(ToSqlOutput::Borrowed(borrowed))
    }
}
