//! Small documents by shelf, owner and key.

use super::Session;
use super::base::values;
use crate::ids::PartyKey;
use crate::store::{Shelf, StoreError};
use bytes::Bytes;

impl Session<'_> {
    pub(super) fn read_shelf(
        &mut self,
        shelf: Shelf,
        owner: PartyKey,
        key: &str,
    ) -> Result<Option<Bytes>, StoreError> {
        let text = "SELECT document FROM shelf WHERE shelf = $1 AND owner = $2 AND key = $3";
        let document = self.base.one(text, values![number(shelf), owner.0, key], |row| row.blob(0))?;
        Ok(document.map(Bytes::from))
    }

    pub(super) fn read_shelf_list(
        &mut self,
        shelf: Shelf,
        owner: Option<PartyKey>,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(PartyKey, String, Bytes)>, StoreError> {
        let text = match owner {
            Some(_) => {
                "SELECT owner, key, document FROM shelf WHERE shelf = $1 AND owner = $2 AND key > $3 \
                 ORDER BY key LIMIT $4"
            }
            None => {
                self.system_only()?;
                "SELECT owner, key, document FROM shelf WHERE shelf = $1 AND $2 = 0 AND key > $3 \
                 ORDER BY key, owner LIMIT $4"
            }
        };
        let owner = owner.map_or(0, |owner| owner.0);
        self.base.all(text, values![number(shelf), owner, after, limit], |row| {
            Ok((PartyKey(row.integer(0)?), row.text(1)?, Bytes::from(row.blob(2)?)))
        })
    }

    pub(super) fn write_shelf(
        &mut self,
        shelf: Shelf,
        owner: PartyKey,
        key: &str,
        document: &[u8],
    ) -> Result<(), StoreError> {
        self.pen()?;
        self.base.execute(
            "INSERT INTO shelf (shelf, owner, key, document) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (shelf, owner, key) DO UPDATE SET document = $4",
            values![number(shelf), owner.0, key, document],
        )?;
        Ok(())
    }

    pub(super) fn erase_shelf(
        &mut self,
        shelf: Shelf,
        owner: PartyKey,
        key: &str,
    ) -> Result<bool, StoreError> {
        self.pen()?;
        let erased = self.base.execute(
            "DELETE FROM shelf WHERE shelf = $1 AND owner = $2 AND key = $3",
            values![number(shelf), owner.0, key],
        )?;
        Ok(erased > 0)
    }
}

/// Number of a shelf in the database; never reused for another.
fn number(shelf: Shelf) -> i64 {
    match shelf {
        Shelf::Receipt => 1,
        Shelf::Original => 2,
        // 3 was that of what waits for mending, which has a table of its own.
        Shelf::ExportJob => 4,
        Shelf::ExportFile => 5,
        Shelf::Delivered => 6,
        Shelf::Secret => 7,
        Shelf::Statement => 8,
        Shelf::PatientLink => 9,
        Shelf::Idempotency => 10,
        Shelf::Unmapped => 11,
        Shelf::Order => 12,
        Shelf::AsyncJob => 13,
        Shelf::AsyncFile => 14,
    }
}
