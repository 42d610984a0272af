//! What waits for mending: one table, read in order of arrival and by cause.

use bytes::Bytes;

use super::Session;
use super::base::{Row, Value, impossible, values};
use crate::clock::Timestamp;
use crate::ids::PartyKey;
use crate::store::StoreError;
use crate::store::quarantine::{
    QuarantineCause, QuarantineDepth, QuarantineDocument, QuarantineQuery, QuarantineReader, QuarantineRow,
    QuarantineWriter,
};

/// Columns that make a [`QuarantineRow`].
const COLUMNS: &str =
    "sha256, label, ordinal, cause, map, first_try, last_try, size, document, discarded, discard";

/// The units a query asks for, and its values `$1` to `$3`.
fn asked<'q>(query: &QuarantineQuery<'q>) -> (&'static str, [Value<'q>; 3]) {
    let text = match query.cause {
        Some(_) => "owner = $1 AND discarded = $2 AND cause = $3",
        None => "owner = $1 AND discarded = $2 AND $3 = ''",
    };
    let cause = query.cause.unwrap_or_default();
    (text, [Value::Integer(query.sender.0), Value::Integer(query.discarded.into()), Value::Text(cause)])
}

fn unit(row: &dyn Row) -> Result<QuarantineRow, StoreError> {
    Ok(QuarantineRow {
        sha256: row.text(0)?,
        label: row.text(1)?,
        ordinal: row.small(2)?,
        cause: row.text(3)?,
        map: row.text(4)?,
        first_try: Timestamp(row.integer(5)?),
        last_try: Timestamp(row.integer(6)?),
        size: row.small(7)?,
        document: Bytes::from(row.blob(8)?),
        discard: match row.integer(9)? {
            0 => None,
            _ => Some(row.text(10)?),
        },
    })
}

fn signed(number: u64) -> Result<i64, StoreError> {
    i64::try_from(number).map_err(|_| impossible("a number out of its range"))
}

impl QuarantineReader for Session<'_> {
    fn quarantine_units(&mut self, sender: PartyKey, sha256: &str) -> Result<Vec<QuarantineRow>, StoreError> {
        let text = format!(
            "SELECT {COLUMNS} FROM quarantine WHERE owner = $1 AND sha256 = $2 ORDER BY label, ordinal"
        );
        self.base.all(&text, values![sender.0, sha256], unit)
    }

    fn quarantine_example(
        &mut self,
        query: QuarantineQuery<'_>,
    ) -> Result<Option<QuarantineRow>, StoreError> {
        let (which, values) = asked(&query);
        let text = format!(
            "SELECT {COLUMNS} FROM quarantine WHERE {which} ORDER BY first_try, sha256, label, ordinal LIMIT 1"
        );
        self.base.one(&text, &values, unit)
    }

    fn quarantine_documents(
        &mut self,
        query: QuarantineQuery<'_>,
        after: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<(Vec<QuarantineDocument>, u64), StoreError> {
        let (which, values) = asked(&query);
        let behind = format!("{which} AND (first_try, sha256) > ($4, $5) GROUP BY first_try, sha256");
        let (at, sha256) = after.map_or((i64::MIN, ""), |(at, sha256)| (at.0, sha256));
        let text = format!(
            "SELECT first_try, sha256, count(*) FROM quarantine WHERE {behind} ORDER BY first_try, sha256 LIMIT $6"
        );
        let place = [Value::Integer(at), Value::Text(sha256), Value::Integer(limit.into())];
        let found = self.base.all(&text, &[&values[..], &place].concat(), |row| {
            Ok(QuarantineDocument {
                first_try: Timestamp(row.integer(0)?),
                sha256: row.text(1)?,
                units: row.small(2)?,
            })
        })?;
        let Some(last) = found.last().filter(|_| found.len() as u64 >= u64::from(limit)) else {
            return Ok((found, 0));
        };
        let text = format!("SELECT count(*) FROM (SELECT first_try FROM quarantine WHERE {behind}) later");
        let place = [Value::Integer(last.first_try.0), Value::Text(&last.sha256)];
        let left = self.base.number(&text, &[&values[..], &place].concat())?.unsigned_abs();
        Ok((found, left))
    }

    fn quarantine_causes(
        &mut self,
        query: QuarantineQuery<'_>,
        after: Option<(u64, &str)>,
        limit: u32,
    ) -> Result<Vec<QuarantineCause>, StoreError> {
        let (which, values) = asked(&query);
        let (units, cause) = match after {
            Some((units, cause)) => (signed(units)?, cause),
            None => (i64::MAX, ""),
        };
        let text = format!(
            "SELECT cause, count(*), count(DISTINCT sha256), min(first_try), max(last_try) FROM quarantine \
             WHERE {which} GROUP BY cause HAVING count(*) < $4 OR (count(*) = $4 AND cause > $5) \
             ORDER BY count(*) DESC, cause LIMIT $6"
        );
        let place = [Value::Integer(units), Value::Text(cause), Value::Integer(limit.into())];
        self.base.all(&text, &[&values[..], &place].concat(), |row| {
            Ok(QuarantineCause {
                cause: row.text(0)?,
                units: row.small(1)?,
                documents: row.small(2)?,
                first_try: Timestamp(row.integer(3)?),
                last_try: Timestamp(row.integer(4)?),
            })
        })
    }

    fn quarantine_maps(&mut self, query: QuarantineQuery<'_>, limit: u32) -> Result<Vec<String>, StoreError> {
        let (which, values) = asked(&query);
        let text =
            format!("SELECT DISTINCT map FROM quarantine WHERE {which} AND map <> '' ORDER BY map LIMIT $4");
        self.base.all(&text, &[&values[..], &[Value::Integer(limit.into())]].concat(), |row| row.text(0))
    }

    fn quarantine_depth(&mut self, query: QuarantineQuery<'_>) -> Result<QuarantineDepth, StoreError> {
        let (which, values) = asked(&query);
        let text = format!(
            "SELECT count(*), count(DISTINCT cause), coalesce(min(first_try), 0) FROM quarantine WHERE {which}"
        );
        let depth = self.base.one(&text, &values, |row| {
            let units = row.small(0)?;
            let oldest = Timestamp(row.integer(2)?);
            Ok(QuarantineDepth { units, causes: row.small(1)?, oldest: (units > 0).then_some(oldest) })
        })?;
        Ok(depth.unwrap_or_default())
    }

    fn quarantine_bytes(&mut self, query: QuarantineQuery<'_>) -> Result<u64, StoreError> {
        let (which, values) = asked(&query);
        let text = format!(
            "SELECT CAST(coalesce(sum(size), 0) AS BIGINT) FROM (SELECT max(size) AS size FROM quarantine \
             WHERE {which} GROUP BY sha256) each_once"
        );
        Ok(self.base.number(&text, &values)?.unsigned_abs())
    }
}

impl QuarantineWriter for Session<'_> {
    fn quarantine_put(&mut self, sender: PartyKey, row: &QuarantineRow) -> Result<(), StoreError> {
        self.pen()?;
        let text = "INSERT INTO quarantine (owner, sha256, label, ordinal, cause, map, first_try, last_try, size, document, \
                    discarded, discard) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '') \
                    ON CONFLICT (owner, sha256, label, ordinal) DO UPDATE SET cause = $5, map = $6, last_try = $8, \
                    document = $10 WHERE quarantine.discarded = 0";
        let values: &[Value<'_>] = values![
            sender.0,
            &*row.sha256,
            &*row.label,
            row.ordinal,
            &*row.cause,
            &*row.map,
            row.first_try.0,
            row.last_try.0,
            signed(row.size)?,
            &row.document[..],
        ];
        self.base.execute(text, values).map(|_| ())
    }

    fn quarantine_remove(
        &mut self,
        sender: PartyKey,
        sha256: &str,
        label: &str,
        ordinal: u32,
    ) -> Result<bool, StoreError> {
        self.pen()?;
        let text = "DELETE FROM quarantine WHERE owner = $1 AND sha256 = $2 AND label = $3 AND ordinal = $4 \
                    AND discarded = 0";
        Ok(self.base.execute(text, values![sender.0, sha256, label, ordinal])? > 0)
    }

    fn quarantine_discard(
        &mut self,
        sender: PartyKey,
        sha256: &str,
        cause: Option<&str>,
        label: Option<&str>,
        discard: Option<&str>,
    ) -> Result<u64, StoreError> {
        self.pen()?;
        // Where no label is named, every label is: the whole document has an empty one, so that cannot say it.
        let text = "UPDATE quarantine SET discarded = $1, discard = $2 WHERE owner = $3 AND sha256 = $4 \
                    AND discarded = $5 AND (cause = $6 OR $6 = '') AND (label = $7 OR $8 = 1)";
        let set = i64::from(discard.is_some());
        let values: &[Value<'_>] = values![
            set,
            discard.unwrap_or_default(),
            sender.0,
            sha256,
            1 - set,
            cause.unwrap_or_default(),
            label.unwrap_or_default(),
            i64::from(label.is_none()),
        ];
        self.base.execute(text, values)
    }
}
