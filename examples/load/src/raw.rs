//! The other floor: the database alone doing what the gateway does, in statements written by hand, on one thread, on a copy
//! of the same data with the same settings.
//!
//! What it writes are the very rows the gateway wrote, under new keys: the resource, its body and all its index entries.
//! It forms no filter, keeps no record and never moves pages out of the log.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::client::Measured;
use crate::workload::Workload;

/// The tables a new resource has rows in, and the column that holds its key.
const TABLES: &[(&str, &str)] = &[
    ("resource", "key"),
    ("body", "key"),
    ("index_token", "row"),
    ("index_string", "row"),
    ("index_date", "row"),
    ("index_number", "row"),
    ("index_quantity", "row"),
    ("index_reference", "row"),
    ("index_uri", "row"),
];

/// One row for a table, with its columns of keys and of ids.
struct Row {
    table: usize,
    values: Vec<Value>,
    keys: Vec<usize>,
    id: Option<usize>,
}

/// The database of a copied region.
pub(crate) struct Raw {
    connection: Connection,
    /// Added to keys, so that nothing written twice is the same row.
    offset: i64,
}

/// What the floor did: the load's measures, and microseconds of CPU for each of its requests.
pub(crate) type Floor = (Measured, f64);

impl Raw {
    /// Opens the database of a folder with the settings the gateway uses.
    pub(crate) fn open(folder: &Path) -> Result<Raw> {
        let connection = Connection::open(folder.join("sluis.db"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "cache_size", -16 * 1024)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(Raw { connection, offset: 0 })
    }

    /// The same work as a workload's, if the database alone can do it. `group`: how many works share a commit.
    pub(crate) fn run(
        &mut self,
        workload: Workload,
        ids: &[String],
        group: usize,
        time: Duration,
    ) -> Result<Option<Floor>> {
        match workload {
            Workload::Read => self.read(ids, time).map(Some),
            Workload::Page => self.page(ids, time).map(Some),
            Workload::Create => self
                .write("r.kind = (SELECT key FROM kind WHERE name = 'Observation')", false, group, time)
                .map(Some),
            Workload::Import => self.write("r.patient > 0", true, group, time).map(Some),
            _ => Ok(None),
        }
    }

    fn read(&self, ids: &[String], time: Duration) -> Result<Floor> {
        let text = "SELECT b.body FROM resource r INDEXED BY resource_id CROSS JOIN body b ON b.key = r.key \
                    WHERE r.kind = (SELECT key FROM kind WHERE name = 'Patient') AND r.id = ?";
        let mut statement = self.connection.prepare(text)?;
        timed(time, |at| {
            let body: Vec<u8> = statement.query_row([&ids[at % ids.len()]], |row| row.get(0))?;
            ensure!(!body.is_empty(), "an empty body");
            Ok(1)
        })
    }

    fn page(&self, ids: &[String], time: Duration) -> Result<Floor> {
        let observation: i64 =
            self.connection
                .query_row("SELECT key FROM kind WHERE name = 'Observation'", [], |row| row.get(0))?;
        let facet: i64 = self.connection.query_row(
            "SELECT key FROM facet WHERE kind = ? AND parameter = 'http://hl7.org/fhir/SearchParameter/clinical-date'",
            [observation],
            |row| row.get(0),
        )?;
        let mut key = self.connection.prepare(
            "SELECT key FROM resource WHERE kind = (SELECT key FROM kind WHERE name = 'Patient') AND id = ?",
        )?;
        let mut page = self.connection.prepare(
            "SELECT b.body FROM index_date d INDEXED BY index_date_patient CROSS JOIN resource r ON r.key = d.row \
             CROSS JOIN body b ON b.key = r.key WHERE d.patient = ? AND d.facet = ? AND d.part = 0 AND d.patient > 0 \
             AND r.deleted = 0 ORDER BY d.low DESC LIMIT 20",
        )?;
        let mut count = self.connection.prepare(
            "SELECT count(*) FROM resource INDEXED BY resource_patient WHERE patient = ? AND kind = ? AND deleted = 0",
        )?;
        timed(time, |at| {
            let patient: i64 = key.query_row([&ids[at % ids.len()]], |row| row.get(0))?;
            let mut rows = page.query([patient, facet])?;
            let mut found: i64 = 0;
            while let Some(row) = rows.next()? {
                let body: Vec<u8> = row.get(0)?;
                ensure!(!body.is_empty(), "an empty body");
                found += 1;
            }
            let total: i64 = count.query_row([patient, observation], |row| row.get(0))?;
            ensure!(found == 20 && total >= found, "a page of {found} of {total}");
            Ok(1)
        })
    }

    /// Writes again what is there: resources one by one, or whole patients.
    fn write(&mut self, which: &str, whole: bool, group: usize, time: Duration) -> Result<Floor> {
        let by = if whole { "r.patient" } else { "r.key" };
        let text = format!(
            "SELECT DISTINCT {by} FROM resource r WHERE {which} AND r.deleted = 0 ORDER BY {by} LIMIT 200"
        );
        let works: Vec<i64> =
            self.connection.prepare(&text)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let works = works.iter().map(|work| self.rows(by, *work)).collect::<Result<Vec<_>>>()?;
        ensure!(!works.is_empty(), "nothing to write again");
        let inserts: Vec<String> =
            TABLES.iter().map(|(table, _)| self.insert(table)).collect::<Result<_>>()?;
        let (mut offset, connection) = (self.offset, &self.connection);
        let measured = timed(time, |at| {
            let mut written = 0;
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            for number in 0..group {
                offset += 10_000_000;
                for row in &works[(at * group + number) % works.len()] {
                    let mut values = row.values.clone();
                    for &key in &row.keys {
                        if let Value::Integer(value) = &mut values[key] {
                            *value += if *value > 0 { offset } else { 0 };
                        }
                    }
                    if let Some(Value::Text(id)) = row.id.map(|id| &mut values[id]) {
                        id.push_str(&format!("-{offset}"));
                    }
                    written += u64::from(row.table == 0);
                    connection.prepare_cached(&inserts[row.table])?.execute(params_from_iter(values))?;
                }
            }
            connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(written)
        });
        self.offset = offset;
        measured
    }

    fn insert(&self, table: &str) -> Result<String> {
        let statement = self.connection.prepare(&format!("SELECT * FROM {table}"))?;
        let places = vec!["?"; statement.column_count()].join(",");
        Ok(format!("INSERT INTO {table} VALUES ({places})"))
    }

    /// All rows of the resources whose `by` is this.
    fn rows(&self, by: &str, work: i64) -> Result<Vec<Row>> {
        let mut all = Vec::new();
        for (table, (name, key)) in TABLES.iter().enumerate() {
            let text = format!(
                "SELECT t.* FROM resource r JOIN {name} t ON t.{key} = r.key WHERE {by} = ? ORDER BY t.{key}"
            );
            let mut statement = self.connection.prepare(&text)?;
            let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
            let place = |wanted: &[&str]| -> Vec<usize> {
                (0..names.len()).filter(|at| wanted.contains(&names[*at].as_str())).collect()
            };
            let id = match *name {
                "resource" => Some(place(&["id"]).first().copied().context("resource.id")?),
                _ => None,
            };
            let mut rows = statement.query([work])?;
            while let Some(row) = rows.next()? {
                let values = (0..names.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
                all.push(Row { table, values, keys: place(&["key", "row", "patient"]), id });
            }
        }
        Ok(all)
    }
}

/// Runs `work` for some time on this thread.
fn timed(time: Duration, mut work: impl FnMut(usize) -> Result<u64>) -> Result<Floor> {
    let mut measured = Measured::default();
    let (began, cpu) = (Instant::now(), thread_cpu_us()?);
    while began.elapsed() < time {
        let at = Instant::now();
        measured.units += work(measured.took_us.len())?;
        measured.took_us.push(at.elapsed().as_micros() as u64);
    }
    measured.seconds = began.elapsed().as_secs_f64();
    let cpu = (thread_cpu_us()? - cpu) / measured.units as f64;
    Ok((measured, cpu))
}

/// CPU time of this thread, microseconds (Linux).
fn thread_cpu_us() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split_whitespace().next().context("schedstat")?.parse()?;
    Ok(nanoseconds / 1e3)
}
