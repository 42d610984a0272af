//! Rows by their name: current version, versions, history, identifiers, a whole compartment.

use rusqlite::{OptionalExtension, params, params_from_iter};
use sluis_conformance::definitions::{self, SearchKind};

use super::session::{COLUMNS, Session};
use crate::ids::{PatientKey, ResourceId, ResourceType};
use crate::search::sql::{Dialect, Names, Sql};
use crate::store::visible::Visible;
use crate::store::{StoreError, Stored};

/// Columns of `version` (alias `v`) under those of its `resource` (alias `r`).
const VERSION_COLUMNS: &str = "r.key, r.kind, r.id, v.version, v.updated, v.deleted, v.method, v.patient, \
                               v.category, v.labels, v.confidentiality, v.day, v.author, v.body";

impl Session<'_> {
    pub(super) fn read_current(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
    ) -> Result<Option<Stored>, StoreError> {
        let mut sql = Sql::new(Dialect::Sqlite);
        sql.push("SELECT ").push(COLUMNS);
        sql.push(
            " FROM resource r INDEXED BY resource_id CROSS JOIN body b ON b.key = r.key WHERE r.kind = ",
        );
        sql.bind(self.names.kind(kind)).push(" AND r.id = ").bind(id.as_str().to_owned()).push(" AND ");
        Visible::probed(self.filter).write(&mut sql, "r");
        self.one(&sql)
    }

    /// The current version must be visible too: a label added later hides the past (FHIR R4 http.html#vread leaves
    /// access to the server; access.md attack 21).
    pub(super) fn read_version(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        version: u32,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(current) = self.read_current(kind, id)? else { return Ok(None) };
        if current.version == version {
            return Ok(Some(current));
        }
        let mut sql = Sql::new(Dialect::Sqlite);
        sql.push("SELECT ").push(VERSION_COLUMNS);
        sql.push(" FROM resource r CROSS JOIN version v ON v.key = r.key WHERE r.key = ").bind(current.key);
        sql.push(" AND v.version = ").bind(i64::from(version)).push(" AND ");
        Visible::probed(self.filter).write(&mut sql, "v");
        self.one(&sql)
    }

    pub(super) fn read_history(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<(Vec<Stored>, u64), StoreError> {
        let Some(current) = self.read_current(kind, id)? else { return Ok((Vec::new(), 0)) };
        let visible = Visible::probed(self.filter);
        let mut sql = Sql::new(Dialect::Sqlite);
        sql.push("SELECT count(*) FROM version v WHERE v.key = ").bind(current.key).push(" AND ");
        visible.write(&mut sql, "v");
        let past: i64 = self
            .connection
            .prepare_cached(&sql.text)?
            .query_row(params_from_iter(&sql.values), |row| row.get(0))?;
        let total = 1 + u64::try_from(past).unwrap_or(0);

        let mut sql = Sql::new(Dialect::Sqlite);
        sql.push("SELECT ").push(VERSION_COLUMNS);
        sql.push(" FROM resource r CROSS JOIN version v ON v.key = r.key WHERE r.key = ").bind(current.key);
        sql.push(" AND v.version < ").bind(before.map_or(i64::MAX, i64::from)).push(" AND ");
        visible.write(&mut sql, "v");
        sql.push(" ORDER BY v.version DESC LIMIT ").bind(i64::from(limit));
        let mut versions = Vec::new();
        if before.is_none_or(|before| current.version < before) {
            versions.push(current);
        }
        versions.extend(self.all(&sql.text, params_from_iter(&sql.values))?);
        versions.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok((versions, total))
    }

    pub(super) fn read_patient_by_identifier(
        &mut self,
        system: &str,
        value: &str,
    ) -> Result<Option<(PatientKey, ResourceId)>, StoreError> {
        let Some(patient) = definitions::r4().resource_type("Patient") else { return Ok(None) };
        let Some(facet) = self.identifier_facet(patient) else { return Ok(None) };
        let mut statement = self.connection.prepare_cached(
            "SELECT DISTINCT r.key, r.id FROM index_token d INDEXED BY index_token_value \
             CROSS JOIN resource r ON r.key = d.row WHERE d.part = 0 AND d.facet = ? AND d.code = ? \
             AND d.system = (SELECT key FROM symbol WHERE text = ?) AND r.deleted = 0 LIMIT 2",
        )?;
        let found: Vec<(i64, String)> = statement
            .query_map(params![facet, value, system], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        match found.as_slice() {
            [] => Ok(None),
            [(key, id)] => Ok(ResourceId::parse(id).map(|id| (PatientKey(*key), id))),
            _ => Err(StoreError::Ambiguous),
        }
    }

    pub(super) fn read_own_by_identifier(
        &mut self,
        kind: ResourceType,
        system: &str,
        value: &str,
    ) -> Result<Option<Stored>, StoreError> {
        let Some(facet) = self.identifier_facet(kind) else { return Ok(None) };
        let mut sql = Sql::new(Dialect::Sqlite);
        sql.push("SELECT ").push(COLUMNS).push(
            " FROM index_token d INDEXED BY index_token_value CROSS JOIN resource r ON r.key = d.row \
             CROSS JOIN body b ON b.key = r.key WHERE d.part = 0 AND d.facet = ",
        );
        sql.bind(facet).push(" AND d.code = ").bind(value.to_owned());
        sql.push(" AND d.system = (SELECT key FROM symbol WHERE text = ").bind(system.to_owned());
        sql.push(") AND r.deleted = 0 AND r.author = ").bind(self.filter.organisation.0).push(" AND ");
        Visible::probed(self.filter).write(&mut sql, "r");
        sql.push(" ORDER BY r.key LIMIT 1");
        self.one(&sql)
    }

    pub(super) fn read_compartment(
        &mut self,
        patient: PatientKey,
        kind: ResourceType,
    ) -> Result<Vec<Stored>, StoreError> {
        let text = Self::compartment_text();
        self.all(&text, params![patient.0, self.names.kind(kind)])
    }

    /// As [`Session::read_compartment`], without judging the rows by the filter: the compiler of grants must see every
    /// Consent, whoever wrote the one that changes.
    pub(super) fn read_whole_compartment(
        &mut self,
        patient: PatientKey,
        kind: ResourceType,
    ) -> Result<Vec<Stored>, StoreError> {
        let mut statement = self.connection.prepare_cached(&Self::compartment_text())?;
        let params = params![patient.0, self.names.kind(kind)];
        let rows: Vec<Result<Stored, StoreError>> =
            statement.query_map(params, |row| Ok(self.stored(row)))?.collect::<Result<_, _>>()?;
        rows.into_iter().collect()
    }

    fn compartment_text() -> String {
        format!(
            "SELECT {COLUMNS} FROM resource r INDEXED BY resource_patient CROSS JOIN body b ON b.key = r.key \
             WHERE r.patient = ? AND r.kind = ? AND r.deleted = 0 ORDER BY r.key"
        )
    }

    /// The row of a key that a search has found, in the same snapshot.
    pub(super) fn read_key(&mut self, key: i64) -> Result<Option<Stored>, StoreError> {
        let text =
            format!("SELECT {COLUMNS} FROM resource r CROSS JOIN body b ON b.key = r.key WHERE r.key = ?");
        Ok(self.all(&text, params![key])?.pop())
    }

    fn identifier_facet(&self, kind: ResourceType) -> Option<i64> {
        let parameter = definitions::r4().search_parameter(kind, "identifier")?;
        (parameter.kind == SearchKind::Token).then(|| self.names.facet(kind, parameter.id, None))
    }

    fn one(&mut self, sql: &Sql) -> Result<Option<Stored>, StoreError> {
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let row =
            statement.query_row(params_from_iter(&sql.values), |row| Ok(self.stored(row))).optional()?;
        match row {
            None => Ok(None),
            Some(stored) => self.admit(stored?),
        }
    }

    fn all<P: rusqlite::Params>(&mut self, text: &str, params: P) -> Result<Vec<Stored>, StoreError> {
        let mut statement = self.connection.prepare_cached(text)?;
        let rows: Vec<Result<Stored, StoreError>> =
            statement.query_map(params, |row| Ok(self.stored(row)))?.collect::<Result<_, _>>()?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            all.extend(self.admit(row?)?);
        }
        Ok(all)
    }
}
