//! Documents of jobs on their shelves.

use super::Settings;
use crate::clock::Clock;
use crate::ids::PartyKey;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, Shelf, StoreError, Writer};

/// What is kept under keys that begin with `prefix`, after `after` (which begins with it too, or is it).
pub(crate) fn list(
    reader: &mut dyn Reader,
    shelf: Shelf,
    owner: PartyKey,
    prefix: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<(String, bytes::Bytes)>, StoreError> {
    let rows = reader.shelf_list(shelf, Some(owner), after, limit)?;
    Ok(rows
        .into_iter()
        .map(|(_, key, document)| (key, document))
        .take_while(|(key, _)| key.starts_with(prefix))
        .collect())
}

/// Takes up to `limit` documents off a shelf; how many there were.
pub(crate) fn remove(
    writer: &mut dyn Writer,
    shelf: Shelf,
    owner: PartyKey,
    prefix: &str,
    limit: u32,
) -> Result<usize, StoreError> {
    let rows = list(writer, shelf, owner, prefix, prefix, limit)?;
    for (key, _) in &rows {
        writer.shelf_remove(shelf, owner, key)?;
    }
    Ok(rows.len())
}

/// Tells of a document whether it is a job of the client that is kept, and whether it runs.
pub(crate) type Counts<'c> = dyn Fn(&[u8]) -> Result<(bool, bool), StoreError> + 'c;

impl Settings {
    /// Counts an owner's jobs.
    ///
    /// Errors: `Throttled`, when the client runs or keeps too many (Bulk Data Access IG v2: 429 with `Retry-After`).
    pub(crate) fn check_room(
        self,
        writer: &mut dyn Writer,
        shelf: Shelf,
        owner: PartyKey,
        counts: &Counts<'_>,
    ) -> Result<(), StoreError> {
        let Settings { running_max, kept_max, .. } = self;
        let (mut running, mut kept) = (0, 0);
        let mut after = String::new();
        loop {
            let rows = list(writer, shelf, owner, "", &after, 100)?;
            let Some((last, _)) = rows.last() else { break };
            after.clone_from(last);
            for (_, document) in &rows {
                let (is_kept, runs) = counts(document)?;
                kept += u32::from(is_kept);
                running += u32::from(is_kept && runs);
            }
        }
        let refused =
            |details: String| Err(StoreError::Refused(Box::new(Refusal::new(Reason::Throttled, details))));
        if running >= running_max {
            return refused(format!("At most {running_max} jobs at once; wait for one to finish."));
        }
        if kept >= kept_max {
            return refused(format!("At most {kept_max} jobs are kept; DELETE one whose files are fetched."));
        }
        Ok(())
    }
}

/// 128 random bits: a job's address cannot be guessed (and would not help: it is bound to who asked).
pub(crate) fn fresh_id(clock: &dyn Clock) -> String {
    let mut bytes = [0; 16];
    clock.random(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
