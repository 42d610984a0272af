//! Numbers that the database gave to names, read once at the start: types and facets.
//!
//! The definitions number types and parameters by their place in an alphabet, which shifts when the tables change; the
//! database keeps its own numbers by name, so that its rows outlive such a change.

use std::collections::HashMap;

use rusqlite::{Connection, TransactionBehavior, params};
use sluis_conformance::definitions::{self, ParamId, SearchKind};

use crate::ids::ResourceType;
use crate::search::sql::Names;
use crate::store::StoreError;

/// The table of names.
#[derive(Debug)]
pub(super) struct NameTable {
    kinds: Vec<i64>,
    types: HashMap<i64, ResourceType>,
    facets: HashMap<(usize, usize, usize), i64>,
    /// The number of `Patient`.
    pub(super) patient: i64,
}

impl NameTable {
    /// Reads the numbers and gives new ones to names the database does not have yet.
    pub(super) fn open(connection: &mut Connection) -> Result<NameTable, StoreError> {
        let definitions = definitions::r4();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut table =
            NameTable { kinds: Vec::new(), types: HashMap::new(), facets: HashMap::new(), patient: 0 };
        {
            let mut add_kind = transaction.prepare("INSERT OR IGNORE INTO kind (name) VALUES (?)")?;
            let mut get_kind = transaction.prepare("SELECT key FROM kind WHERE name = ?")?;
            let mut add_facet = transaction.prepare("INSERT INTO facet (kind, parameter) VALUES (?, ?)")?;
            let mut known: HashMap<(i64, String), i64> = transaction
                .prepare("SELECT kind, parameter, key FROM facet")?
                .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
                .collect::<Result<_, _>>()?;
            for kind in definitions.resource_types() {
                let name = definitions.type_name(kind);
                add_kind.execute([name])?;
                let key: i64 = get_kind.query_row([name], |row| row.get(0))?;
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
                                add_facet.execute(params![key, text])?;
                                let facet = transaction.last_insert_rowid();
                                known.insert((key, text), facet);
                                facet
                            }
                        };
                        table.facets.insert((kind.index(), parameter.id.index(), part), facet);
                    }
                }
            }
        }
        transaction.commit()?;
        Ok(table)
    }

    /// The type of a number.
    pub(super) fn kind_of(&self, key: i64) -> Option<ResourceType> {
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
