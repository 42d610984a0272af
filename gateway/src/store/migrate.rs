//! Brings a database to the tables this program knows: numbered files, each applied once, in one transaction, with its
//! checksum kept. A file that has changed since it was applied, or a database from a later program, stops the start:
//! going on would be guessing at someone's health data.

use rusqlite::{Connection, TransactionBehavior, params};

use crate::store::StoreError;

/// One numbered file.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, from 1 without gaps.
    pub number: i64,
    /// Its name, for messages.
    pub name: &'static str,
    /// Its statements.
    pub sql: &'static str,
}

/// The files of the embedded store, in order.
pub const SQLITE: &[Migration] = &[
    Migration { number: 1, name: "0001_start", sql: include_str!("../../migrations/sqlite/0001_start.sql") },
    Migration {
        number: 2,
        name: "0002_audit_tail",
        sql: include_str!("../../migrations/sqlite/0002_audit_tail.sql"),
    },
    Migration {
        number: 3,
        name: "0003_history",
        sql: include_str!("../../migrations/sqlite/0003_history.sql"),
    },
    Migration {
        number: 4,
        name: "0004_canonical_quantity",
        sql: include_str!("../../migrations/sqlite/0004_canonical_quantity.sql"),
    },
    Migration {
        number: 5,
        name: "0005_journal",
        sql: include_str!("../../migrations/sqlite/0005_journal.sql"),
    },
    Migration {
        number: 6,
        name: "0006_version_kind",
        sql: include_str!("../../migrations/sqlite/0006_version_kind.sql"),
    },
    Migration {
        number: 7,
        name: "0007_quarantine",
        sql: include_str!("../../migrations/sqlite/0007_quarantine.sql"),
    },
    Migration { number: 8, name: "0008_text", sql: include_str!("../../migrations/sqlite/0008_text.sql") },
];

/// The files of the PostgreSQL store, in order.
pub const POSTGRES: &[Migration] = &[
    Migration {
        number: 1,
        name: "0001_start",
        sql: include_str!("../../migrations/postgres/0001_start.sql"),
    },
    Migration {
        number: 2,
        name: "0002_history",
        sql: include_str!("../../migrations/postgres/0002_history.sql"),
    },
    Migration {
        number: 3,
        name: "0003_canonical_quantity",
        sql: include_str!("../../migrations/postgres/0003_canonical_quantity.sql"),
    },
    Migration {
        number: 4,
        name: "0004_version_kind",
        sql: include_str!("../../migrations/postgres/0004_version_kind.sql"),
    },
    Migration {
        number: 5,
        name: "0005_quarantine",
        sql: include_str!("../../migrations/postgres/0005_quarantine.sql"),
    },
    Migration { number: 6, name: "0006_text", sql: include_str!("../../migrations/postgres/0006_text.sql") },
];

/// Applies what is missing; returns how many files that was.
///
/// Errors: `Database` names the file whose checksum differs, or the database's number when it is from a later program;
/// the database is as before.
pub fn migrate(connection: &mut Connection, migrations: &[Migration]) -> Result<usize, StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
            number   INTEGER PRIMARY KEY,
            name     TEXT NOT NULL,
            checksum BLOB NOT NULL
        ) STRICT",
    )?;
    let applied: Vec<(i64, Vec<u8>)> = transaction
        .prepare("SELECT number, checksum FROM migration ORDER BY number")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let missing = compare(&applied, migrations)?;
    for migration in &missing {
        transaction.execute_batch(migration.sql)?;
        transaction.execute(
            "INSERT INTO migration (number, name, checksum) VALUES (?, ?, ?)",
            params![migration.number, migration.name, checksum_of(migration)],
        )?;
    }
    let count = missing.len();
    transaction.commit()?;
    Ok(count)
}

/// What is missing of `migrations`, given the numbers and checksums of those applied.
///
/// Errors: `Database`, naming the file whose checksum differs or the number this program does not know.
pub(crate) fn compare<'m>(
    applied: &[(i64, Vec<u8>)],
    migrations: &'m [Migration],
) -> Result<Vec<&'m Migration>, StoreError> {
    for (number, checksum) in applied {
        match migrations.iter().find(|m| m.number == *number) {
            None => {
                return Err(StoreError::Database(format!(
                    "the database has migration {number}, which this program does not know; start a later program"
                )));
            }
            Some(migration) if checksum_of(migration) != *checksum => {
                return Err(StoreError::Database(format!(
                    "migration {} differs from the one this database was made with",
                    migration.name
                )));
            }
            Some(_) => {}
        }
    }
    Ok(migrations.iter().filter(|m| !applied.iter().any(|(number, _)| *number == m.number)).collect())
}

/// Refuses a database that this program's files would change: what is copied from it would be of another form.
pub(crate) fn current(applied: &[(i64, Vec<u8>)], migrations: &[Migration]) -> Result<(), StoreError> {
    match compare(applied, migrations)?.first() {
        None => Ok(()),
        Some(migration) => Err(StoreError::Database(format!(
            "the database lacks migration {}: let the gateway start on it once, or use the program it belongs to",
            migration.name
        ))),
    }
}

/// SHA-256 of the text, line ends as in the repository whatever the checkout made of them.
pub(crate) fn checksum_of(migration: &Migration) -> Vec<u8> {
    let text = migration.sql.replace("\r\n", "\n");
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

    use super::*;

    #[test]
    fn each_file_is_applied_once() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(migrate(&mut connection, SQLITE).unwrap(), SQLITE.len());
        assert_eq!(migrate(&mut connection, SQLITE).unwrap(), 0);
    }

    #[test]
    fn a_changed_file_stops_the_start() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, SQLITE).unwrap();
        let changed = Migration { sql: "CREATE TABLE other (a INTEGER)", ..*SQLITE.first().unwrap() };
        let error = migrate(&mut connection, &[changed]).unwrap_err();
        assert!(error.to_string().contains("0001_start"), "{error}");
    }

    #[test]
    fn a_database_of_a_later_program_stops_the_start() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, SQLITE).unwrap();
        let error = migrate(&mut connection, &[]).unwrap_err();
        assert!(error.to_string().contains("does not know"), "{error}");
    }

    /// What waited on the shelf waits in its table, a document's units since one moment.
    #[test]
    fn what_waited_on_the_shelf_waits_in_its_table() {
        let mut connection = Connection::open_in_memory().unwrap();
        let at = SQLITE.iter().position(|migration| migration.name.ends_with("_quarantine")).unwrap();
        migrate(&mut connection, SQLITE.get(..at).unwrap()).unwrap();
        let put = "INSERT INTO shelf (shelf, owner, key, document) VALUES (?, 7, ?, CAST(? AS BLOB))";
        for (label, first) in [("", 9), ("row[2]", 4)] {
            let entry = format!(
                r#"{{"sha256":"ab","notation":"csv","label":"{label}","ordinal":0,"cause":"code-unmapped:|é","notes":[],"map":"x|1.0.0","first_try":{first},"last_try":12,"tries":2,"state":"waiting"}}"#
            );
            connection.execute(put, params![3, format!("ab/{label}#0"), entry]).unwrap();
        }
        connection.execute(put, params![3, "", "2"]).unwrap();
        connection.execute(put, params![2, "ab", "12345"]).unwrap();
        migrate(&mut connection, SQLITE).unwrap();
        let text = "SELECT group_concat(label || ':' || ordinal || ':' || cause || ':' || map || ':' || first_try || ':' || last_try                     || ':' || size || ':' || discarded, ' / ') FROM (SELECT * FROM quarantine ORDER BY label)";
        let rows: String = connection.query_row(text, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, ":0:code-unmapped:|é:x|1.0.0:4:12:5:0 / row[2]:0:code-unmapped:|é:x|1.0.0:4:12:5:0");
        let left: i64 =
            connection.query_row("SELECT count(*) FROM shelf WHERE shelf = 3", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_failing_file_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let half = Migration { number: 1, name: "half", sql: "CREATE TABLE a (b INTEGER); SELECT nonsense" };
        assert!(migrate(&mut connection, &[half]).is_err());
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 0);
    }

    /// A database with superseded versions from before their type stood beside them.
    #[test]
    fn versions_that_are_there_get_their_type() {
        let mut connection = Connection::open_in_memory().unwrap();
        let at = SQLITE.iter().position(|migration| migration.name.ends_with("_version_kind")).unwrap();
        migrate(&mut connection, SQLITE.get(..at).unwrap()).unwrap();
        let rows = "INSERT INTO resource VALUES (1, 7, 'a', 2, 0, 0, 1, 0, 1, 0, 3, 0, 1, 1, 2), \
                    (2, 8, 'a', 2, 0, 0, 1, 0, 1, 0, 3, 0, 1, 1, 2); \
                    INSERT INTO version (key, version, updated, deleted, method, patient, category, labels, \
                    confidentiality, day, author, body) VALUES (1, 1, 0, 0, 0, 0, 1, 0, 3, 0, 1, x'7b7d'), \
                    (2, 1, 0, 0, 0, 0, 1, 0, 3, 0, 1, x'7b7d')";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection, SQLITE).unwrap();
        let mut kinds = connection.prepare("SELECT kind FROM version ORDER BY key").unwrap();
        let kinds: Vec<i64> =
            kinds.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(kinds, [7, 8]);
    }
}
