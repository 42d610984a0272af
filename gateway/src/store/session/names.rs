//! Numbers that the database gave to names, read once at the start: types and facets.
//!
//! The definitions number types and parameters by their place in an alphabet, which shifts when the tables change; the
//! database keeps its own numbers by name, so that its rows outlive such a change.

use std::collections::HashMap;

use sluis_conformance::definitions::{self, ParamId, SearchKind};

use super::base::{Base, values};
use crate::ids::ResourceType;
use crate::search::sql::Names;
use crate::store::StoreError;

/// The table of names.
#[derive(Debug)]
pub(crate) struct NameTable {
    kinds: Vec<i64>,
    types: HashMap<i64, ResourceType>,
    facets: HashMap<(usize, usize, usize), i64>,
    /// The number of `Patient`.
    pub(crate) patient: i64,
}

impl NameTable {
    /// Reads the numbers and gives new ones to names the database does not have yet, inside a transaction of the
    /// caller that no other program shares.
    pub(crate) fn open(base: &dyn Base) -> Result<NameTable, StoreError> {
        let definitions = definitions::r4();
        let mut table =
            NameTable { kinds: Vec::new(), types: HashMap::new(), facets: HashMap::new(), patient: 0 };
        {
            let mut kinds: HashMap<String, i64> = base
                .all("SELECT name, key FROM kind", &[], |row| Ok((row.text(0)?, row.integer(1)?)))?
                .into_iter()
                .collect();
            let mut known: HashMap<(i64, String), i64> = base
                .all("SELECT kind, parameter, key FROM facet", &[], |row| {
                    Ok(((row.integer(0)?, row.text(1)?), row.integer(2)?))
                })?
                .into_iter()
                .collect();
            for kind in definitions.resource_types() {
                let name = definitions.type_name(kind);
                let key = match kinds.remove(name) {
                    Some(key) => key,
                    None => {
                        base.number("INSERT INTO kind (name) VALUES ($1) RETURNING key", values![name])?
                    }
                };
                table.kinds.push(key);
                table.types.insert(key, kind);
                if name == "Patient" {
                    table.patient = key;
                }
                for parameter in definitions.search_parameters(kind) {
                    // These two are columns of `resource`.
                    if matches!(parameter.code, "_id" | "_lastUpdated")
                        || parameter.kind == SearchKind::Special
                    {
                        continue;
                    }
                    for part in 0..=parameter.components.len() {
                        let text = match part {
                            0 => parameter.url.clone(),
                            part => format!("{}#{part}", parameter.url),
                        };
                        let facet = match known.get(&(key, text.clone())) {
                            Some(facet) => *facet,
                            None => {
                                let insert =
                                    "INSERT INTO facet (kind, parameter) VALUES ($1, $2) RETURNING key";
                                let facet = base.number(insert, values![key, &*text])?;
                                known.insert((key, text), facet);
                                facet
                            }
                        };
                        table.facets.insert((kind.index(), parameter.id.index(), part), facet);
                    }
                }
            }
        }
        Ok(table)
    }

    /// The type of a number.
    pub(crate) fn kind_of(&self, key: i64) -> Option<ResourceType> {
        self.types.get(&key).copied()
    }
}

impl Names for NameTable {
    fn kind(&self, kind: ResourceType) -> i64 {
        self.kinds.get(kind.index()).copied().unwrap_or(0)
    }

    fn facet(&self, kind: ResourceType, parameter: ParamId, component: Option<usize>) -> i64 {
        let part = component.map_or(0, |component| component + 1);
        // 0 is the number of no facet: nothing is indexed under it and nothing found.
        self.facets.get(&(kind.index(), parameter.index(), part)).copied().unwrap_or(0)
    }
}
