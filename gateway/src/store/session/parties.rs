//! Keys of parties a store has met. A party never changes its key, so this is no permission and never stale.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::ids::PartyKey;
use crate::store::StoreError;

/// Names remembered at most.
const PARTIES_MAX: usize = 10_000;

/// Names met and their keys.
#[derive(Debug, Default)]
pub(crate) struct Parties(RwLock<HashMap<String, PartyKey>>);

impl Parties {
    /// Key of a party: remembered, else found in the database, else interned there.
    ///
    /// Errors: those of `find` and `intern`; nothing is remembered then.
    pub(crate) fn key(
        &self,
        name: &str,
        find: impl FnOnce() -> Result<Option<PartyKey>, StoreError>,
        intern: impl FnOnce() -> Result<PartyKey, StoreError>,
    ) -> Result<PartyKey, StoreError> {
        if let Some(key) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(*key);
        }
        let key = match find()? {
            Some(key) => key,
            None => intern()?,
        };
        let mut parties = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if parties.len() >= PARTIES_MAX {
            parties.clear();
        }
        parties.insert(name.to_owned(), key);
        Ok(key)
    }
}
