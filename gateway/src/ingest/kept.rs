//! The mapping a document was read with, kept with it: its files and the library of that time, by content hash. Without them
//! nobody could say, after the next change of a map, by which rule a stored value came about.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use sluis_mappings::folder::Folder;
use sluis_mappings::run::{CompiledFolder, LIBRARY, LIBRARY_TABLES, library_tables};

use super::digest::sha256_hex;
use super::map::Files;
use crate::ids::PartyKey;
use crate::store::{Reader, Shelf, StoreError, Writer, document};

/// Longest mapping that is kept, bytes; a longer one is run and cannot be traced later.
pub const MAPPING_BYTES_MAX: usize = 4 << 20;

/// Files of a mapping folder, and the library it was compiled with.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    library: String,
    files: BTreeMap<String, String>,
}

/// The library of this binary as it is kept, with its content address.
static LIBRARY_KEPT: LazyLock<(String, Vec<u8>)> = LazyLock::new(|| {
    let texts = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    // Text by text: nothing here fails to serialise.
    let bytes = serde_json::to_vec(&(texts(&LIBRARY), texts(&LIBRARY_TABLES))).unwrap_or_default();
    (sha256_hex(&bytes), bytes)
});

/// A folder as it is kept; `None` past [`MAPPING_BYTES_MAX`], or where a file is no text.
pub fn package(files: &Files) -> Option<Vec<u8>> {
    let own = files.iter().filter(|(path, _)| !path.starts_with("cases/") && !path.ends_with(".md"));
    let files = own
        .map(|(path, bytes)| Some((path.clone(), String::from_utf8(bytes.clone()).ok()?)))
        .collect::<Option<_>>()?;
    let bytes = serde_json::to_vec(&Kept { library: LIBRARY_KEPT.0.clone(), files }).ok()?;
    (bytes.len() <= MAPPING_BYTES_MAX).then_some(bytes)
}

/// Keeps a mapping under its content hash, once for each sender.
pub fn keep(
    writer: &mut dyn Writer,
    sender: PartyKey,
    mapping: &str,
    package: &[u8],
) -> Result<(), StoreError> {
    // A mark of one byte is looked for; what it marks is long.
    let mark = format!("mapping:{mapping}");
    if writer.shelf_get(Shelf::Original, sender, &mark)?.is_some() {
        return Ok(());
    }
    writer.shelf_put(Shelf::Original, sender, &format!("mapping-files:{mapping}"), package)?;
    let (library, bytes) = &*LIBRARY_KEPT;
    let there = format!("library:{library}");
    if writer.shelf_get(Shelf::Original, sender, &there)?.is_none() {
        writer.shelf_put(Shelf::Original, sender, &format!("library-files:{library}"), bytes)?;
        writer.shelf_put(Shelf::Original, sender, &there, b"1")?;
    }
    writer.shelf_put(Shelf::Original, sender, &mark, b"1")
}

/// A kept mapping and its library, as their bytes.
#[derive(Debug)]
pub struct Packed {
    own: Vec<u8>,
    library: Vec<u8>,
}

/// Files of a kept mapping and of its library; `None` when it was not kept.
pub fn files(reader: &mut dyn Reader, sender: PartyKey, mapping: &str) -> Result<Option<Packed>, StoreError> {
    let Some(own) = reader.shelf_get(Shelf::Original, sender, &format!("mapping-files:{mapping}"))? else {
        return Ok(None);
    };
    let kept: Kept = document::decode(Shelf::Original, &own)?;
    let library = reader.shelf_get(Shelf::Original, sender, &format!("library-files:{}", kept.library))?;
    Ok(library.map(|library| Packed { own: own.to_vec(), library: library.to_vec() }))
}

/// A kept mapping, compiled. `None`: this engine does not take it any more.
pub fn compile(packed: &Packed) -> Option<CompiledFolder> {
    let kept: Kept = serde_json::from_slice(&packed.own).ok()?;
    let (maps, tables): (BTreeMap<String, String>, BTreeMap<String, String>) =
        serde_json::from_slice(&packed.library).ok()?;
    let maps: Vec<(&str, &str)> = maps.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let tables: Vec<(&str, &str)> =
        tables.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let files: Files = kept.files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    CompiledFolder::with_library_and_tables(Folder::load(&files).ok()?, &maps, &library_tables(&tables)).ok()
}
