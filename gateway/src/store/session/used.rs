//! Which values of a token or uri parameter the visible resources of a type have.

use sluis_conformance::definitions::SearchKind;

use super::Session;
use super::base::values;
use crate::ids::ResourceType;
use crate::search::criterion::Parameter;
use crate::search::sql::{Names, Sql};
use crate::store::StoreError;
use crate::store::visible::Visible;

impl Session<'_> {
    /// Values step by step through the index, each kept when a visible row has it: as many steps as there are values, and
    /// for each the rows up to the first that is visible.
    pub(super) fn read_used(
        &mut self,
        parameter: &Parameter,
        kind: ResourceType,
        limit: usize,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let facet = self.names.facet(kind, parameter.id, None);
        let (table, column) = match parameter.kind {
            SearchKind::Uri | SearchKind::Reference => ("index_uri", "value"),
            _ => ("index_token", "code"),
        };
        let is_token = table == "index_token";
        let next = format!(
            "SELECT t.{column} FROM {table} t WHERE t.facet = $1 AND t.part = 0 AND t.{column} > $2 \
             ORDER BY t.{column} LIMIT 1"
        );
        let mut found = Vec::new();
        // No code and no address is empty.
        let mut value = String::new();
        while let Some(code) = self.base.one(&next, values![facet, value.as_str()], |row| row.text(0))? {
            let systems = match is_token {
                true => self.base.all(
                    "SELECT DISTINCT t.system FROM index_token t WHERE t.facet = $1 AND t.part = 0 AND t.code = $2",
                    values![facet, code.as_str()],
                    |row| row.integer(0),
                )?,
                false => vec![0],
            };
            for system in systems {
                if !self.is_used((table, column), facet, &code, is_token.then_some(system))? {
                    continue;
                }
                let text = "SELECT s.text FROM symbol s WHERE s.key = $1";
                let name = self.base.one(text, values![system], |row| row.text(0))?;
                found.push((name.unwrap_or_default(), code.clone()));
                if found.len() >= limit {
                    return Ok(found);
                }
            }
            value = code;
        }
        Ok(found)
    }

    fn is_used(
        &self,
        (table, column): (&str, &str),
        facet: i64,
        code: &str,
        system: Option<i64>,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new(self.base.dialect());
        sql.push(&format!("SELECT 1 FROM {table} t")).pin(&format!("{table}_value"));
        sql.then().push("resource r ON r.key = t.row").beside("r", "t");
        sql.push(" WHERE t.facet = ").bind(facet).push(&format!(" AND t.part = 0 AND t.{column} = "));
        sql.bind(code.to_owned());
        if let Some(system) = system {
            sql.push(" AND t.system = ").bind(system);
        }
        sql.push(" AND r.deleted = 0 AND ");
        Visible::probed(self.filter).write(&mut sql, "r");
        sql.push(" LIMIT 1");
        Ok(self.base.one(&sql.text, &sql.bound(), |_| Ok(()))?.is_some())
    }
}
