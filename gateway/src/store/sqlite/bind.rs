//! Values of a statement as SQLite takes them.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

use crate::search::sql::Bind;

impl ToSql for Bind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let borrowed = match self {
            Bind::Null => ValueRef::Null,
            Bind::Integer(integer) => ValueRef::Integer(*integer),
            Bind::Real(real) => ValueRef::Real(*real),
            Bind::Text(text) => ValueRef::Text(text.as_bytes()),
            Bind::Blob(bytes) => ValueRef::Blob(bytes),
            // SQLite has no arrays: `json_each` reads them.
            Bind::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(i64::to_string).collect();
                return Ok(ToSqlOutput::Owned(Value::Text(format!("[{}]", keys.join(",")))));
            }
        };
        Ok(ToSqlOutput::Borrowed(borrowed))
    }
}
