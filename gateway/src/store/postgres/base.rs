//! One PostgreSQL connection as a session's base. The calling thread waits; the connection itself is driven by the
//! store's own runtime.
//!
//! Added rows are gathered by table and sent before any statement that names one of these tables and at the end of the
//! work: as arrays, all tables in one flight; by COPY, a table that has many.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use deadpool_postgres::ClientWrapper;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::failure;
use crate::audit::chain;
use crate::audit::entry::AuditRecord;
use crate::search::sql::{Dialect, indexed};
use crate::store::StoreError;
use crate::store::session::base::{Base, Kind, Row, Table, Value, impossible};

/// Statements kept prepared on one connection; past it they are prepared anew.
const STATEMENTS_MAX: usize = 512;
/// Rows gathered before they are sent.
const ROWS_MAX: usize = 20_000;
/// Rows of one table from which a COPY costs less than arrays, though it has a flight of its own.
const COPY_ROWS_MIN: usize = 1_000;

/// A connection in use, inside its transaction.
pub(super) struct Line<'l> {
    client: &'l ClientWrapper,
    until: Instant,
    gathered: RefCell<Gathered>,
    broken: Cell<bool>,
}

#[derive(Default)]
struct Gathered {
    tables: BTreeMap<&'static str, (&'static Table, Vec<Column>)>,
    rows: usize,
}

/// Values of one column, row by row.
enum Column {
    Integers(Vec<i64>),
    Reals(Vec<f64>),
    Texts(Vec<String>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Column::Integers(values) => values.len(),
            Column::Reals(values) => values.len(),
            Column::Texts(values) => values.len(),
        }
    }

    fn value(&self, at: usize) -> Value<'_> {
        let value = match self {
            Column::Integers(values) => values.get(at).copied().map(Value::Integer),
            Column::Reals(values) => values.get(at).copied().map(Value::Real),
            Column::Texts(values) => values.get(at).map(|text| Value::Text(text)),
        };
        // Columns of one table are of one length.
        value.unwrap_or(Value::Null)
    }
}

impl<'l> Line<'l> {
    /// Statements of this line have to be answered within `ms` milliseconds from now, together.
    pub(super) fn new(client: &'l ClientWrapper, ms: u64) -> Line<'l> {
        Line {
            client,
            until: Instant::now() + Duration::from_millis(ms),
            gathered: RefCell::default(),
            broken: Cell::new(false),
        }
    }

    /// Whether the connection can no longer be trusted: it closed, or an answer did not come in time.
    pub(super) fn broken(&self) -> bool {
        self.broken.get() || self.client.is_closed()
    }

    /// Runs statements without values or rows.
    pub(super) fn batch(&self, text: &str) -> Result<(), StoreError> {
        self.wait(self.client.batch_execute(text))
    }

    /// Runs statements without values in one flight; their rows as text.
    pub(super) fn told(&self, text: &str) -> Result<Vec<Vec<String>>, StoreError> {
        let messages = self.wait(self.client.simple_query(text))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Appends records to the log behind `head` in the savepoint `records`, all in one flight; the new head.
    ///
    /// Errors: the savepoint is to be undone.
    pub(super) fn append(
        &self,
        head: (u64, [u8; 32]),
        records: &[AuditRecord],
    ) -> Result<(u64, [u8; 32]), StoreError> {
        let (mut sequence, mut hash) = head;
        let mut rows = LogRows::default();
        for record in records {
            sequence += 1;
            hash = chain::link(&hash, sequence, &record.body);
            rows.push(i64::try_from(sequence).unwrap_or(i64::MAX), record, hash.to_vec());
        }
        self.wait(async {
            let client = self.client;
            let log = client.prepare_cached(LOG).await?;
            let patients = client.prepare_cached(LOG_PATIENTS).await?;
            let several: &[&(dyn ToSql + Sync)] = &[&rows.patients, &rows.patients_of];
            let several = async {
                match rows.patients.is_empty() {
                    true => Ok(0),
                    false => client.execute(&patients, several).await,
                }
            };
            let values: &[&(dyn ToSql + Sync)] =
                &[&rows.sequences, &rows.moments, &rows.organisations, &rows.bodies, &rows.hashes, &rows.of];
            // Sent in this order, and not waited for one by one.
            futures_util::future::try_join4(
                client.batch_execute("SAVEPOINT records"),
                client.execute(&log, values),
                several,
                client.batch_execute("RELEASE SAVEPOINT records"),
            )
            .await
        })?;
        Ok((sequence, hash))
    }

    /// Sends what was gathered.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let Gathered { tables, .. } = self.gathered.take();
        if tables.is_empty() {
            return Ok(());
        }
        let (many, few): (Vec<_>, Vec<_>) = tables.into_values().partition(|(table, columns)| {
            copies(table) && columns.first().is_some_and(|column| column.len() >= COPY_ROWS_MIN)
        });
        let sends = few.into_iter().map(|(table, columns)| async move {
            let statement = self.client.prepare_cached(&insertion(table)).await?;
            let values: Vec<&(dyn ToSql + Sync)> = columns
                .iter()
                .map(|column| match column {
                    Column::Integers(values) => values as &(dyn ToSql + Sync),
                    Column::Reals(values) => values,
                    Column::Texts(values) => values,
                })
                .collect();
            self.client.execute(&statement, &values).await
        });
        self.wait(futures_util::future::try_join_all(sends))?;
        many.iter().try_for_each(|(table, columns)| self.copy(table, columns))
    }

    /// Sends the rows of one table by COPY.
    fn copy(&self, table: &Table, columns: &[Column]) -> Result<(), StoreError> {
        let kind = |(_, kind): &(&str, Kind)| match kind {
            Kind::Integer => Type::INT8,
            Kind::Small => Type::INT4,
            Kind::Real => Type::FLOAT8,
            Kind::Text | Kind::Words => Type::TEXT,
        };
        let types: Vec<Type> = table.columns.iter().map(kind).collect();
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
        let rows = columns.first().map_or(0, Column::len);
        let rows = (0..rows).map(|row| columns.iter().map(move |column| column.value(row)));
        self.copied(table.name, &names, &types, rows)
    }

    /// Sends rows of a table's columns by COPY.
    fn copied<'v, R>(
        &self,
        table: &str,
        names: &[&str],
        types: &[Type],
        rows: impl Iterator<Item = R>,
    ) -> Result<(), StoreError>
    where
        R: IntoIterator<Item = Value<'v>>,
        R::IntoIter: ExactSizeIterator,
    {
        let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let text = format!("COPY {table} ({}) FROM STDIN BINARY", names.join(", "));
        self.wait(async {
            let statement = self.client.prepare_cached(&text).await?;
            let mut writer = pin!(BinaryCopyInWriter::new(self.client.copy_in(&statement).await?, types));
            for row in rows {
                writer.as_mut().write_raw(row).await?;
            }
            writer.finish().await
        })
        .map(|_| ())
    }

    /// Forgets what was gathered: its work is undone.
    pub(super) fn forget(&self) {
        self.gathered.take();
    }

    fn named(&self, text: &str) -> bool {
        self.gathered.borrow().tables.keys().any(|table| text.contains(table))
    }

    fn ready(&self, text: &str) -> Result<(), StoreError> {
        if self.named(text) {
            self.flush()?;
        }
        if self.client.statement_cache.size() > STATEMENTS_MAX {
            self.client.statement_cache.clear();
        }
        Ok(())
    }

    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match wait(answer, self.until) {
            Some(answer) => answer.map_err(|error| failure::store_error(&error)),
            None => {
                // Its answer may still come, so nothing else can be asked on it.
                self.broken.set(true);
                Err(StoreError::Timeout(0))
            }
        }
    }
}

const LOG: &str = "INSERT INTO audit (sequence, at, organisation, body, hash, patient) SELECT * FROM \
                   unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[])";
const LOG_PATIENTS: &str = "INSERT INTO audit_patient (patient, sequence) \
                            SELECT * FROM unnest($1::bigint[], $2::bigint[]) ON CONFLICT DO NOTHING";

/// Records of the log, column by column.
#[derive(Default)]
struct LogRows<'r> {
    sequences: Vec<i64>,
    moments: Vec<i64>,
    organisations: Vec<i64>,
    bodies: Vec<&'r [u8]>,
    hashes: Vec<Vec<u8>>,
    of: Vec<i64>,
    patients: Vec<i64>,
    patients_of: Vec<i64>,
}

impl<'r> LogRows<'r> {
    fn push(&mut self, sequence: i64, record: &'r AuditRecord, hash: Vec<u8>) {
        self.sequences.push(sequence);
        self.moments.push(record.at.0);
        self.organisations.push(record.organisation.0);
        self.bodies.push(&record.body);
        self.hashes.push(hash);
        // As `write_audit` has it: the one patient in the row, several in entries of their own.
        match record.patients.as_slice() {
            [one] => self.of.push(one.0),
            several => {
                self.of.push(0);
                self.patients.extend(several.iter().map(|patient| patient.0));
                self.patients_of.extend(several.iter().map(|_| sequence));
            }
        }
    }
}

/// Whether rows of a table may be sent by COPY: words go as text, which only a statement makes a `tsvector` of.
fn copies(table: &Table) -> bool {
    table.columns.iter().all(|(_, kind)| *kind != Kind::Words)
}

fn insertion(table: &Table) -> String {
    let mut names = String::new();
    let mut arrays = String::new();
    for (at, (name, kind)) in table.columns.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        let array = match kind {
            Kind::Integer | Kind::Small => "bigint[]",
            Kind::Real => "double precision[]",
            Kind::Text => "text[]",
            Kind::Words => "text[]::tsvector[]",
        };
        // Writing into a String cannot fail.
        let _ = write!(names, "{comma}{name}");
        let _ = write!(arrays, "{comma}${}::{array}", at + 1);
    }
    format!("INSERT INTO {} ({names}) SELECT * FROM unnest({arrays})", table.name)
}

impl Base for Line<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn query(
        &self,
        text: &str,
        values: &[Value<'_>],
        each: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.ready(text)?;
        let rows = self.wait(async {
            let statement = self.client.prepare_cached(text).await?;
            let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            self.client.query(&statement, &values).await
        })?;
        for row in &rows {
            each(row)?;
        }
        Ok(())
    }

    fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        self.ready(text)?;
        self.wait(async {
            let statement = self.client.prepare_cached(text).await?;
            let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            self.client.execute(&statement, &values).await
        })
    }

    fn insert(&self, text: &str, values: &[Value<'_>]) -> Result<i64, StoreError> {
        let base: &dyn Base = self;
        base.number(&format!("{text} RETURNING key"), values)
    }

    fn add(&self, table: &'static Table, values: &[Value<'_>]) -> Result<(), StoreError> {
        let full = {
            let mut gathered = self.gathered.borrow_mut();
            gathered.rows += 1;
            let (_, columns) = gathered.tables.entry(table.name).or_insert_with(|| {
                let column = |(_, kind): &(&str, Kind)| match kind {
                    Kind::Integer | Kind::Small => Column::Integers(Vec::new()),
                    Kind::Real => Column::Reals(Vec::new()),
                    Kind::Text | Kind::Words => Column::Texts(Vec::new()),
                };
                (table, table.columns.iter().map(column).collect())
            });
            for ((column, value), (_, kind)) in columns.iter_mut().zip(values).zip(table.columns) {
                match (column, value) {
                    (Column::Texts(values), Value::Text(value)) if *kind == Kind::Words => {
                        values.push((*value).to_owned())
                    }
                    (Column::Integers(values), Value::Integer(value)) => values.push(*value),
                    (Column::Reals(values), Value::Real(value)) => values.push(*value),
                    (Column::Texts(values), Value::Text(value)) => {
                        values.push(sayable(indexed(value)).into_owned())
                    }
                    _ => return Err(impossible("a value of another kind than its column")),
                }
            }
            gathered.rows >= ROWS_MAX
        };
        if full { self.flush() } else { Ok(()) }
    }

    fn fill(&self, table: &str, columns: &[(&str, &str)], rows: &[Vec<Value<'_>>]) -> Result<(), StoreError> {
        let types = columns.iter().map(|(_, kind)| type_named(kind)).collect::<Result<Vec<_>, _>>()?;
        self.ready(table)?;
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        self.copied(table, &names, &types, rows.iter().map(|row| row.iter().copied()))
    }
}

/// A type of the tables' columns by its name.
fn type_named(name: &str) -> Result<Type, StoreError> {
    [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT8, Type::TEXT, Type::BYTEA]
        .into_iter()
        .find(|kind| {
            kind.name() == name
                || matches!(
                    (kind, name),
                    (&Type::INT2, "smallint")
                        | (&Type::INT4, "integer")
                        | (&Type::INT8, "bigint")
                        | (&Type::FLOAT8, "double precision")
                )
        })
        .ok_or_else(|| impossible("a column of an unknown type"))
}

impl Row for tokio_postgres::Row {
    fn value(&self, at: usize) -> Result<Value<'_>, StoreError> {
        self.try_get::<_, Value<'_>>(at).map_err(|error| failure::store_error(&error))
    }
}

impl<'v> FromSql<'v> for Value<'v> {
    fn from_sql(kind: &Type, raw: &'v [u8]) -> Result<Value<'v>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(match *kind {
            Type::INT2 => Value::Integer(i16::from_sql(kind, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(kind, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(kind, raw)?),
            Type::FLOAT8 => Value::Real(f64::from_sql(kind, raw)?),
            Type::BYTEA => Value::Blob(raw),
            _ => Value::Text(<&str>::from_sql(kind, raw)?),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Value<'v>, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Value::Null)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(
            *kind,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT8 | Type::BYTEA | Type::TEXT | Type::VARCHAR
        )
    }
}

impl ToSql for Value<'_> {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match (*self, kind) {
            (Value::Null, _) => Ok(IsNull::Yes),
            (Value::Integer(value), &Type::INT2) => i16::try_from(value)?.to_sql(kind, out),
            (Value::Integer(value), &Type::INT4) => i32::try_from(value)?.to_sql(kind, out),
            (Value::Integer(value), &Type::INT8) => value.to_sql(kind, out),
            (Value::Real(value), &Type::FLOAT8) => value.to_sql(kind, out),
            (Value::Text(value), _) => sayable(value).as_ref().to_sql(kind, out),
            (Value::Blob(value), &Type::BYTEA) => value.to_sql(kind, out),
            (Value::Keys(value), &Type::INT8_ARRAY) => value.to_sql(kind, out),
            (Value::Texts(texts), &Type::TEXT_ARRAY) => {
                // As index entries are kept.
                let texts: Vec<_> = texts.iter().map(|text| sayable(indexed(text))).collect();
                texts.to_sql(kind, out)
            }
            _ => Err(format!("a value that is no {kind}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// PostgreSQL's text holds no U+0000. FHIR's strings hold none either (FHIR R4 datatypes.html#string), so only what is
/// searched for can; it is asked as U+FFFD and finds nothing.
fn sayable(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Wakes the thread that waits.
struct Parked(std::thread::Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread for a future that another runtime drives; `None` when it is not ready by `until`.
pub(super) fn wait<F: Future>(future: F, until: Instant) -> Option<F::Output> {
    // The caller may be a task: its budget of polls is not to make a ready answer look pending.
    let mut future = pin!(tokio::task::unconstrained(future));
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        std::thread::park_timeout(left);
    }
}
