//! What a session asks of a database: statements on one connection, inside its snapshot or transaction.
//!
//! Statements number their values `$1, $2, ...` in order of first use, which both databases read. Everything else that
//! differs is behind [`Base`] or [`Dialect`].

use crate::search::sql::{Bind, Dialect, Sql};
use crate::store::StoreError;

/// One connection inside its snapshot or transaction.
pub(crate) trait Base {
    /// How statements are spelt.
    fn dialect(&self) -> Dialect;

    /// Runs a statement and hands each of its rows to `each`, to the last one.
    fn query(
        &self,
        text: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Runs a statement without rows; how many it changed.
    fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<u64, StoreError>;

    /// Runs an INSERT of one row into a table whose column `key` counts by itself; the row's key.
    fn insert(&self, text: &str, values: &[Value<'_>]) -> Result<i64, StoreError>;

    /// Adds a row to a table, unless it is there. It may be sent later, but before any statement that names the table.
    fn add(&self, table: &'static Table, values: &[Value<'_>]) -> Result<(), StoreError>;

    /// Adds rows to a table, many at once: its columns by name and the database's name of their type.
    fn fill(&self, table: &str, columns: &[(&str, &str)], rows: &[Vec<Value<'_>>]) -> Result<(), StoreError>;
}

/// A row of an answer.
pub(crate) trait Row {
    /// The value of the column at `at`, from 0.
    fn value(&self, at: usize) -> Result<Value<'_>, StoreError>;
}

/// A value in a statement or an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'v> {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// Text.
    Text(&'v str),
    /// Bytes.
    Blob(&'v [u8]),
    /// Row keys.
    Keys(&'v [i64]),
    /// Texts.
    Texts(&'v [String]),
}

/// A table that rows are added to many at a time. The last column is the patient's key.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its columns with their kinds.
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// The embedded database's statement, whose tables carry the patient only where an index begins with her.
    pub(crate) sqlite: &'static str,
    /// How many of the columns that statement takes.
    pub(crate) sqlite_columns: usize,
}

/// Kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Integer,
    /// A whole number that a server keeps in four bytes.
    Small,
    /// Another number.
    Real,
    /// Text.
    Text,
    /// Words in their places, as text.
    Words,
}

impl dyn Base + '_ {
    /// All rows, each made into a `T`.
    pub(crate) fn all<T>(
        &self,
        text: &str,
        values: &[Value<'_>],
        mut make: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut made = Vec::new();
        self.query(text, values, &mut |row| {
            made.push(make(row)?);
            Ok(())
        })?;
        Ok(made)
    }

    /// The first row, if there is one.
    pub(crate) fn one<T>(
        &self,
        text: &str,
        values: &[Value<'_>],
        mut make: impl FnMut(&dyn Row) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut made = None;
        self.query(text, values, &mut |row| {
            if made.is_none() {
                made = Some(make(row)?);
            }
            Ok(())
        })?;
        Ok(made)
    }

    /// The number of the single row of a statement.
    pub(crate) fn number(&self, text: &str, values: &[Value<'_>]) -> Result<i64, StoreError> {
        self.one(text, values, |row| row.integer(0))?
            .ok_or_else(|| impossible("a statement of one row gave none"))
    }
}

impl dyn Row + '_ {
    /// A whole number.
    pub(crate) fn integer(&self, at: usize) -> Result<i64, StoreError> {
        match self.value(at)? {
            Value::Integer(integer) => Ok(integer),
            _ => Err(impossible("a column that is no whole number")),
        }
    }

    /// A whole number of a narrower type.
    pub(crate) fn small<T: TryFrom<i64>>(&self, at: usize) -> Result<T, StoreError> {
        T::try_from(self.integer(at)?).map_err(|_| impossible("a number out of its range"))
    }

    /// Text.
    pub(crate) fn text(&self, at: usize) -> Result<String, StoreError> {
        match self.value(at)? {
            Value::Text(text) => Ok(text.to_owned()),
            _ => Err(impossible("a column that is no text")),
        }
    }

    /// Bytes.
    pub(crate) fn blob(&self, at: usize) -> Result<Vec<u8>, StoreError> {
        match self.value(at)? {
            Value::Blob(bytes) => Ok(bytes.to_vec()),
            _ => Err(impossible("a column that holds no bytes")),
        }
    }
}

impl Sql {
    /// The values, as a [`Base`] takes them.
    pub(crate) fn bound(&self) -> Vec<Value<'_>> {
        let value = |bind| match bind {
            &Bind::Null => Value::Null,
            &Bind::Integer(integer) => Value::Integer(integer),
            &Bind::Real(real) => Value::Real(real),
            Bind::Text(text) | Bind::Words(text) => Value::Text(text),
            Bind::Blob(bytes) => Value::Blob(bytes),
            Bind::Keys(keys) => Value::Keys(keys),
            Bind::Texts(texts) => Value::Texts(texts),
        };
        self.values.iter().map(value).collect()
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<u8> for Value<'_> {
    fn from(value: u8) -> Self {
        Value::Integer(value.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Value::Integer(value.into())
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Value::Text(value)
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Value::Blob(value)
    }
}

/// `&[Value]` of what is listed.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::session::base::Value::from($value)),*] };
}
pub(crate) use values;

/// A state that the tables rule out.
pub(crate) fn impossible(what: &str) -> StoreError {
    StoreError::Database(format!("the database contradicts itself: {what}"))
}
