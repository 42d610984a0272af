//! The journal's file: of one size from the beginning, written over from its start once all in it is in the log.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::batch;
use crate::audit::entry::AuditRecord;
use crate::store::StoreError;

/// A journal's file, locked against other programs.
pub(crate) struct JournalFile {
    file: File,
    /// The database it belongs to.
    database: u64,
    buffer: Vec<u8>,
}

/// What a file holds when it is opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Records that are not in the log yet.
    pub(crate) waiting: Vec<AuditRecord>,
    /// Number of the last record there was.
    pub(crate) last: u64,
    /// Where the next batch goes.
    pub(crate) end: usize,
    /// The file's size, bytes.
    pub(crate) room: usize,
}

impl JournalFile {
    /// Opens the file of a database, making it if need be. `folded`: number of the last record that is in its log.
    ///
    /// `None`: another program has it, which then keeps the records.
    /// Errors: the file cannot be made, read or locked.
    pub(crate) fn open(
        path: &Path,
        database: u64,
        folded: u64,
        bytes: usize,
    ) -> io::Result<Option<(JournalFile, Contents)>> {
        let Some(mut file) = lock(path)? else { return Ok(None) };
        let mut held = Vec::new();
        file.read_to_end(&mut held)?;
        if batch::read(&held).is_some_and(|batch| batch.database != database) {
            // Another database was put in the place of this journal's: its records are nobody's to throw away.
            let aside = aside(path);
            std::fs::rename(path, &aside)?;
            tracing::error!(file = %aside.display(), "the journal of looks is of another database: kept aside");
            drop(file);
            file = match lock(path)? {
                Some(file) => file,
                None => return Ok(None),
            };
            held.clear();
        }
        if held.len() < bytes {
            fill(&file, path, held.len(), bytes)?;
        }
        let mut contents = scan(&held, database, folded);
        contents.room = held.len().max(bytes);
        Ok(Some((JournalFile { file, database, buffer: Vec::new() }, contents)))
    }

    /// Writes a batch at `place` and waits until it is durable; where it ends.
    ///
    /// Errors: `DiskFull` or `Database`; whether the batch is there is not known.
    pub(crate) fn append<'r>(
        &mut self,
        place: usize,
        first: u64,
        records: impl Iterator<Item = &'r AuditRecord>,
    ) -> Result<usize, StoreError> {
        batch::write(&mut self.buffer, self.database, first, records);
        let written = self.file.write_all_at(&self.buffer, place as u64).and_then(|()| self.file.sync_data());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::DiskFull(error.to_string())
            }
            _ => StoreError::Database(format!("journal: {error}")),
        })?;
        Ok(place + self.buffer.len())
    }
}

/// Path of the journal of a database. Not `-journal`: that is SQLite's own.
pub(crate) fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-audit");
    name.into()
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".other");
    name.into()
}

/// The file, if no other program has it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    // Who looked is nobody else's to read.
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Gives the file its size, in written pages: a sync has then nothing to record but the bytes themselves.
fn fill(mut file: &File, path: &Path, from: usize, to: usize) -> io::Result<()> {
    let zeroes = [0; 64 * 1024];
    let mut left = to - from;
    while left > 0 {
        let part = left.min(zeroes.len());
        file.write_all(zeroes.get(..part).unwrap_or(&zeroes))?;
        left -= part;
    }
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// Batches from the beginning for as long as each carries on where the one before ended. What comes after that is of an
/// earlier round, or was cut while it was written and so never answered.
fn scan(bytes: &[u8], database: u64, folded: u64) -> Contents {
    let mut contents = Contents { last: folded, ..Contents::default() };
    let mut expected = None;
    let mut end = 0;
    while let Some(batch) = bytes.get(end..).and_then(batch::read) {
        if batch.database != database || expected.is_some_and(|number| number != batch.first) {
            break;
        }
        let next = batch.first + batch.records.len() as u64;
        for (number, record) in (batch.first..).zip(batch.records) {
            if number > folded {
                contents.waiting.push(record);
            }
        }
        end += batch.bytes;
        expected = Some(next);
    }
    if let (Some(next), false) = (expected, contents.waiting.is_empty()) {
        contents.last = next - 1;
        contents.end = end;
    }
    contents
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::PartyKey;

    fn record(n: u8) -> AuditRecord {
        AuditRecord { at: Timestamp(0), organisation: PartyKey(1), patients: vec![], body: vec![n; 30] }
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let path = std::env::temp_dir().join(format!("sluis-journal-{}-{name}", std::process::id()));
            let _ = std::fs::remove_file(&path);
            Place(path)
        }

        fn open(&self, folded: u64) -> (JournalFile, Contents) {
            JournalFile::open(&self.0, 5, folded, 4096).unwrap().unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
            let _ = std::fs::remove_file(aside(&self.0));
        }
    }

    /// Wherever the writing of the last batch stops, all before it is read back, and nothing of it but the whole.
    #[test]
    fn a_batch_cut_at_any_byte_leaves_those_before_it() {
        let place = Place::new("cut");
        let (mut file, contents) = place.open(0);
        assert_eq!((contents.waiting.len(), contents.end, contents.room), (0, 0, 4096));
        let middle = file.append(0, 1, [record(1), record(2)].iter()).unwrap();
        let whole_before = std::fs::read(&place.0).unwrap();
        let end = file.append(middle, 3, [record(3)].iter()).unwrap();
        let whole = std::fs::read(&place.0).unwrap();
        drop(file);
        for cut in middle..=end {
            let mut bytes = whole_before.clone();
            bytes[middle..cut].copy_from_slice(&whole[middle..cut]);
            std::fs::write(&place.0, &bytes).unwrap();
            let (_, contents) = place.open(0);
            let expected: Vec<AuditRecord> = (1..=if cut == end { 3 } else { 2 }).map(record).collect();
            assert_eq!(contents.waiting, expected, "cut at {cut}");
            assert_eq!(contents.last, expected.len() as u64);
        }
    }

    #[test]
    fn what_is_in_the_log_is_not_read_again_and_earlier_rounds_are_no_part_of_this_one() {
        let place = Place::new("rounds");
        let (mut file, _) = place.open(0);
        let middle = file.append(0, 1, [record(1)].iter()).unwrap();
        file.append(middle, 2, [record(2)].iter()).unwrap();
        drop(file);
        let (_, contents) = place.open(1);
        assert_eq!((contents.waiting, contents.last), (vec![record(2)], 2));
        let (mut file, contents) = place.open(2);
        assert_eq!((contents.waiting.len(), contents.last, contents.end), (0, 2, 0));
        // Written over from the beginning: what stood behind it is as whole as before, and of an earlier round.
        file.append(0, 3, [record(3)].iter()).unwrap();
        drop(file);
        let (_, contents) = place.open(2);
        assert_eq!((contents.waiting, contents.last, contents.end), (vec![record(3)], 3, middle));
    }

    #[test]
    fn another_program_or_another_database_leaves_it_alone() {
        let place = Place::new("other");
        let (mut file, _) = place.open(0);
        assert!(JournalFile::open(&place.0, 5, 0, 4096).unwrap().is_none(), "locked");
        file.append(0, 1, [record(1)].iter()).unwrap();
        drop(file);
        let (_, contents) = JournalFile::open(&place.0, 6, 0, 4096).unwrap().unwrap();
        assert_eq!(contents.waiting, []);
        let kept = std::fs::read(aside(&place.0)).unwrap();
        assert_eq!(batch::read(&kept).unwrap().records, [record(1)]);
    }
}
