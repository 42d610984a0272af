//! Documents of a form on the shelves: JSON, read back as what was kept.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Reader, Shelf, StoreError, Writer};
use crate::ids::PartyKey;

/// What is kept under a key.
///
/// Errors: `Database` for a document of another form; the store's.
pub(crate) fn get<T: DeserializeOwned>(
    reader: &mut dyn Reader,
    shelf: Shelf,
    owner: PartyKey,
    key: &str,
) -> Result<Option<T>, StoreError> {
    reader.shelf_get(shelf, owner, key)?.map(|bytes| decode(shelf, &bytes)).transpose()
}

/// Keeps a document under a key, in place of what was there.
///
/// Errors: the store's.
pub(crate) fn put<T: Serialize>(
    writer: &mut dyn Writer,
    shelf: Shelf,
    owner: PartyKey,
    key: &str,
    value: &T,
) -> Result<(), StoreError> {
    writer.shelf_put(shelf, owner, key, &encode(shelf, value)?)
}

/// The bytes of a document.
pub(crate) fn encode<T: Serialize>(shelf: Shelf, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Database(format!("a document of {shelf:?} cannot be written: {error}")))
}

/// The document of these bytes.
pub(crate) fn decode<T: DeserializeOwned>(shelf: Shelf, bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes)
        .map_err(|error| StoreError::Database(format!("a document of {shelf:?} cannot be read: {error}")))
}
