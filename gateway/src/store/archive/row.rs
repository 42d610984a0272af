//! A row as bytes, and the sum of a table's rows.

use aws_lc_rs::digest::{SHA256, digest};

use super::Copied;
use crate::store::StoreError;
use crate::store::session::base::{Row, Value, impossible};

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// Appends the first `columns` values of a row.
pub(super) fn encode(row: &dyn Row, columns: usize, out: &mut Vec<u8>) -> Result<(), StoreError> {
    (0..columns).try_for_each(|at| put(row.value(at)?, out))
}

/// Appends a value: its kind, then eight bytes of a number or a length of four and that many bytes, low bytes first.
pub(super) fn put(value: Value<'_>, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut long = |kind, bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).map_err(|_| impossible("a value of more than 4 GiB"))?;
        out.push(kind);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(bytes);
        Ok(())
    };
    match value {
        Value::Text(text) => return long(TEXT, text.as_bytes()),
        Value::Blob(bytes) => return long(BLOB, bytes),
        Value::Keys(_) | Value::Texts(_) => return Err(impossible("a column of several values")),
        Value::Null => out.push(NULL),
        Value::Integer(integer) => {
            out.push(INTEGER);
            out.extend_from_slice(&integer.to_le_bytes());
        }
        Value::Real(real) => {
            out.push(REAL);
            out.extend_from_slice(&real.to_bits().to_le_bytes());
        }
    }
    Ok(())
}

/// The values of an encoded row. Errors: what is wrong with it.
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<Value<'_>>, String> {
    fn cut<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], String> {
        let (head, rest) = bytes.split_first_chunk::<N>().ok_or("a row is cut off")?;
        *bytes = rest;
        Ok(*head)
    }
    fn long<'b>(bytes: &mut &'b [u8]) -> Result<&'b [u8], String> {
        let length = usize::try_from(u32::from_le_bytes(cut(bytes)?)).map_err(|_| "a row is too long")?;
        let (head, rest) = bytes.split_at_checked(length).ok_or("a row is cut off")?;
        *bytes = rest;
        Ok(head)
    }
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let [kind] = cut(&mut bytes)?;
        values.push(match kind {
            NULL => Value::Null,
            INTEGER => Value::Integer(i64::from_le_bytes(cut(&mut bytes)?)),
            REAL => Value::Real(f64::from_bits(u64::from_le_bytes(cut(&mut bytes)?))),
            TEXT => Value::Text(std::str::from_utf8(long(&mut bytes)?).map_err(|_| "a text is not UTF-8")?),
            BLOB => Value::Blob(long(&mut bytes)?),
            other => return Err(format!("a value of unknown kind {other}")),
        });
    }
    Ok(values)
}

/// How many rows, and the sum of their SHA-256 in four words: it does not depend on their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    sum: [u64; 4],
}

impl Tally {
    pub(super) fn add(&mut self, row: &[u8]) {
        self.rows += 1;
        let hash = digest(&SHA256, row);
        let (words, _) = hash.as_ref().as_chunks::<8>();
        for (sum, word) in self.sum.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*word));
        }
    }

    pub(super) fn of(&self, table: &str) -> Copied {
        let sum = self.sum.iter().map(|word| format!("{word:016x}")).collect();
        Copied { table: table.to_owned(), rows: self.rows, sum }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
    use super::*;

    #[test]
    fn a_row_comes_back_as_it_was_and_a_cut_one_is_refused() {
        let values = [
            Value::Null,
            Value::Integer(-5),
            Value::Real(1.10),
            Value::Text("é"),
            Value::Blob(&[0, 255]),
            Value::Text(""),
        ];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| put(*value, &mut bytes).unwrap());
        assert_eq!(decode(&bytes).unwrap(), values);
        for end in 1..bytes.len() {
            // Cut between two values it is a shorter row, which its table's sum tells.
            let whole = decode(&bytes[..end]).is_ok_and(|cut| cut.len() < values.len());
            assert!(whole || decode(&bytes[..end]).is_err(), "{end}");
        }
        assert!(decode(&[9]).is_err());
    }

    #[test]
    fn a_sum_knows_each_row_and_not_their_order() {
        let sum = |rows: &[&[u8]]| {
            let mut tally = Tally::default();
            rows.iter().for_each(|row| tally.add(row));
            tally
        };
        assert_eq!(sum(&[b"a", b"b"]), sum(&[b"b", b"a"]));
        assert_ne!(sum(&[b"a", b"a"]), sum(&[b"b", b"b"]));
        assert_ne!(sum(&[b"a"]), sum(&[b"a", b"a"]));
    }
}
