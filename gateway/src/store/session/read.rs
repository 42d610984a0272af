//! Rows by their name: current version, versions, identifiers, a whole compartment.

use std::collections::HashMap;
use std::sync::OnceLock;

use sluis_conformance::definitions::{self, SearchKind};

use super::base::Value;
use super::{COLUMNS, Session};
use crate::ids::{PatientKey, ResourceId, ResourceType};
use crate::search::sql::{Names, Sql};
use crate::store::visible::Visible;
use crate::store::{StoreError, Stored};

/// Columns of `version` (alias `v`) under those of its `resource` (alias `r`).
pub(super) const VERSION_COLUMNS: &str = "r.key, r.kind, r.id, v.version, v.updated, v.deleted, v.method, v.patient, \
                               v.category, v.labels, v.confidentiality, v.day, v.author, v.body";

/// Texts of the statement that reads a current version, by dialect and shape of the predicate. They depend on nothing else,
/// and writing one takes longer than finding its row.
static CURRENT: [[OnceLock<String>; Visible::SHAPES]; 2] =
    [const { [const { OnceLock::new() }; Visible::SHAPES] }; 2];

impl Session<'_> {
    pub(super) fn read_current(
        &mut self,
        kind: ResourceType,
        id: &ResourceId,
    ) -> Result<Option<Stored>, StoreError> {
        let dialect = self.base.dialect();
        let visible = Visible::probed(self.filter);
        let write = |mut sql: Sql| {
            sql.push("SELECT ").push(COLUMNS);
            sql.push(" FROM resource r").pin("resource_id");
            sql.then().push("body b ON b.key = r.key").beside("b", "r");
            sql.push(" WHERE r.kind = ").bind(self.names.kind(kind));
            sql.push(" AND r.id = ").bind(id.as_str()).push(" AND ");
            visible.write(&mut sql, "r");
            sql
        };
        let place = visible.shape().and_then(|shape| CURRENT.get(dialect as usize)?.get(shape));
        let Some(place) = place else { return self.one(&write(Sql::new(dialect))) };
        let text = place.get_or_init(|| write(Sql::new(dialect)).text);
        let sql = write(Sql::of_values(dialect));
        self.first(text, &sql.bound())
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
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT ").push(VERSION_COLUMNS);
        sql.push(" FROM resource r")
            .then()
            .push("version v ON v.key = r.key WHERE r.key = ")
            .bind(current.key);
        sql.push(" AND v.version = ").bind(i64::from(version)).push(" AND ");
        Visible::probed(self.filter).write(&mut sql, "v");
        self.one(&sql)
    }

    pub(super) fn read_patient_by_identifier(
        &mut self,
        system: &str,
        value: &str,
    ) -> Result<Option<(PatientKey, ResourceId)>, StoreError> {
        let Some(patient) = definitions::r4().resource_type("Patient") else { return Ok(None) };
        let Some(facet) = self.identifier_facet(patient) else { return Ok(None) };
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT DISTINCT r.key, r.id FROM index_token d").pin("index_token_value");
        sql.then().push("resource r ON r.key = d.row").beside("r", "d");
        sql.push(" WHERE d.part = 0 AND d.facet = ").bind(facet).push(" AND d.code = ").bind(value);
        sql.push(" AND d.system = (SELECT key FROM symbol WHERE text = ").bind(system);
        sql.push(") AND r.deleted = 0 LIMIT 2");
        let found = self.base.all(&sql.text, &sql.bound(), |row| Ok((row.integer(0)?, row.text(1)?)))?;
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
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT ").push(COLUMNS).push(" FROM index_token d").pin("index_token_value");
        sql.then().push("resource r ON r.key = d.row").beside("r", "d");
        sql.then().push("body b ON b.key = r.key").beside("b", "r").push(" WHERE d.part = 0 AND d.facet = ");
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
        let sql = self.compartment(patient, kind);
        self.all(&sql.text, &sql.bound())
    }

    /// As [`Session::read_compartment`], without judging the rows by the filter: the compiler of grants must see every
    /// Consent, whoever wrote the one that changes.
    pub(super) fn read_whole_compartment(
        &mut self,
        patient: PatientKey,
        kind: ResourceType,
    ) -> Result<Vec<Stored>, StoreError> {
        let sql = self.compartment(patient, kind);
        self.base.all(&sql.text, &sql.bound(), |row| self.stored(row))
    }

    fn compartment(&self, patient: PatientKey, kind: ResourceType) -> Sql {
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT ").push(COLUMNS).push(" FROM resource r").pin("resource_patient");
        sql.then()
            .push("body b ON b.key = r.key")
            .beside("b", "r")
            .push(" WHERE r.patient = ")
            .bind(patient.0);
        sql.push(" AND r.kind = ").bind(self.names.kind(kind)).push(" AND r.deleted = 0 ORDER BY r.key");
        sql
    }

    /// The rows of keys that a search has found, in the same snapshot and in the order of the keys: one statement,
    /// however many they are.
    pub(super) fn read_keys(&mut self, keys: Vec<i64>) -> Result<Vec<Stored>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Neither database promises the order of rows.
        let places: HashMap<i64, usize> = keys.iter().copied().zip(0..).collect();
        let mut sql = Sql::new(self.base.dialect());
        sql.push("SELECT ").push(COLUMNS).push(" FROM ").each(keys);
        sql.then().push("resource r ON r.key = m.value");
        sql.then().push("body b ON b.key = r.key").beside("b", "r");
        let mut rows = self.all(&sql.text, &sql.bound())?;
        rows.sort_by_key(|row| places.get(&row.key).copied());
        Ok(rows)
    }

    fn identifier_facet(&self, kind: ResourceType) -> Option<i64> {
        let parameter = definitions::r4().search_parameter(kind, "identifier")?;
        (parameter.kind == SearchKind::Token).then(|| self.names.facet(kind, parameter.id, None))
    }

    fn one(&mut self, sql: &Sql) -> Result<Option<Stored>, StoreError> {
        self.first(&sql.text, &sql.bound())
    }

    fn first(&mut self, text: &str, values: &[Value<'_>]) -> Result<Option<Stored>, StoreError> {
        match self.base.one(text, values, |row| self.stored(row))? {
            None => Ok(None),
            Some(stored) => self.admit(stored),
        }
    }

    pub(super) fn all(&mut self, text: &str, values: &[Value<'_>]) -> Result<Vec<Stored>, StoreError> {
        let rows = self.base.all(text, values, |row| self.stored(row))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in rows {
            all.extend(self.admit(row)?);
        }
        Ok(all)
    }
}
