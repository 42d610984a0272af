//! Records as bytes of the journal file: batches that are there whole or not at all.
//!
//! A batch is what one append makes durable: a head of fixed size, then its records one after another. Numbers are
//! little-endian.
//!
//! ```text
//! magic 4 | records 4 | bytes after the head 8 | database 8 | number of the first record 8 | SHA-256 of all else 32
//! at 8 | organisation 8 | patients 4 | each patient 8 | bytes of the body 4 | body
//! ```

use aws_lc_rs::digest::{Context, SHA256};

use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::ids::{PartyKey, PatientKey};

const MAGIC: [u8; 4] = *b"SLJ1";
const HEAD: usize = 64;
/// What of the head the digest covers; the digest is the rest of it.
const COVERED: usize = 32;

/// A batch read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The database it belongs to.
    pub(super) database: u64,
    /// Number of its first record.
    pub(super) first: u64,
    /// Its records.
    pub(super) records: Vec<AuditRecord>,
    /// Bytes it takes in the file.
    pub(super) bytes: usize,
}

/// Bytes a record takes.
pub(super) fn size(record: &AuditRecord) -> usize {
    24 + 8 * record.patients.len() + record.body.len()
}

/// Bytes a batch of records of this size takes.
pub(super) fn whole(records: usize) -> usize {
    HEAD + records
}

/// Writes a batch to `out`, which is emptied first.
pub(super) fn write<'r>(
    out: &mut Vec<u8>,
    database: u64,
    first: u64,
    records: impl Iterator<Item = &'r AuditRecord>,
) {
    out.clear();
    out.resize(HEAD, 0);
    let mut count = 0u32;
    for record in records {
        count += 1;
        out.extend_from_slice(&record.at.0.to_le_bytes());
        out.extend_from_slice(&record.organisation.0.to_le_bytes());
        out.extend_from_slice(&length(record.patients.len()));
        for patient in &record.patients {
            out.extend_from_slice(&patient.0.to_le_bytes());
        }
        out.extend_from_slice(&length(record.body.len()));
        out.extend_from_slice(&record.body);
    }
    let bytes = (out.len() - HEAD) as u64;
    let (head, body) = out.split_at_mut(HEAD);
    let (covered, digest) = head.split_at_mut(COVERED);
    let parts: [&[u8]; 5] =
        [&MAGIC, &count.to_le_bytes(), &bytes.to_le_bytes(), &database.to_le_bytes(), &first.to_le_bytes()];
    let mut at = 0;
    for part in parts {
        if let Some(place) = covered.get_mut(at..at + part.len()) {
            place.copy_from_slice(part);
        }
        at += part.len();
    }
    digest.copy_from_slice(&sha256(covered, body));
}

/// The batch at the beginning of `bytes`. `None`: there is no whole one.
pub(super) fn read(bytes: &[u8]) -> Option<Batch> {
    let mut head = Cursor(bytes);
    if head.take(4)? != MAGIC {
        return None;
    }
    let count = head.four()?;
    let length = usize::try_from(head.eight()?).ok()?;
    let (database, first) = (head.eight()?, head.eight()?);
    let digest = head.take(HEAD - COVERED)?;
    let body = head.take(length)?;
    if sha256(bytes.get(..COVERED)?, body) != digest {
        return None;
    }
    let mut rest = Cursor(body);
    let mut records = Vec::new();
    for _ in 0..count {
        let at = Timestamp(signed(rest.eight()?));
        let organisation = PartyKey(signed(rest.eight()?));
        let patients = (0..rest.four()?)
            .map(|_| rest.eight().map(|key| PatientKey(signed(key))))
            .collect::<Option<Vec<_>>>()?;
        let length = usize::try_from(rest.four()?).ok()?;
        records.push(AuditRecord { at, organisation, patients, body: rest.take(length)?.to_vec() });
    }
    rest.0.is_empty().then_some(Batch { database, first, records, bytes: HEAD + length })
}

fn sha256(covered: &[u8], body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(covered);
    context.update(body);
    let mut digest = [0; 32];
    // SHA-256 gives 32 bytes, so both sides have the same length.
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// A record is far smaller than 4 GiB; were it not, its batch would not read back, and nothing else would suffer.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn signed(number: u64) -> i64 {
    i64::from_le_bytes(number.to_le_bytes())
}

struct Cursor<'b>(&'b [u8]);

impl<'b> Cursor<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn four(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn eight(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
    use super::*;

    fn records() -> Vec<AuditRecord> {
        (0..3u8)
            .map(|n| AuditRecord {
                at: Timestamp(-i64::from(n)),
                organisation: PartyKey(7),
                patients: vec![PatientKey(5); usize::from(n)],
                body: vec![n; 10 * usize::from(n)],
            })
            .collect()
    }

    #[test]
    fn a_batch_reads_back_and_no_part_of_one_does() {
        let mut bytes = vec![1, 2, 3];
        write(&mut bytes, 9, 4, records().iter());
        assert_eq!(bytes.len(), whole(records().iter().map(size).sum()));
        let length = bytes.len();
        bytes.extend_from_slice(&[0xff; 100]);
        let batch = Batch { database: 9, first: 4, records: records(), bytes: length };
        assert_eq!(read(&bytes), Some(batch));
        for cut in 0..length {
            assert_eq!(read(&bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..length {
            let mut torn = bytes.clone();
            torn[at] ^= 0x10;
            assert_eq!(read(&torn), None, "torn at {at}");
        }
        assert_eq!(read(&[0; 4096]), None);
    }
}
