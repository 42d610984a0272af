//! Includes as statements: what the given rows refer to, and what refers to them.

use sluis_conformance::definitions::{self, SearchKind};

use crate::search::criterion::Include;

use super::{Sql, Writer, test};

impl Writer<'_> {
    /// Row keys of the visible resources of an include, at most `limit`, for the rows of these keys.
    ///
    /// The predicate is judged before the limit: hidden candidates take no place.
    pub fn include(&self, include: &Include, rows: &[i64], limit: u32) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT DISTINCT r.key FROM ").each(rows.to_vec());
        if include.reverse {
            self.referring(&mut sql, include)
        } else {
            self.referred(&mut sql, include)
        }
        if !include.reach.is_empty() {
            sql.push(" AND r.kind IN (");
            sql.join(&include.reach, ", ", |sql, kind| {
                sql.bind(self.names.kind(*kind));
            });
            sql.push(")");
        }
        sql.push(" AND d.part = 0 AND r.deleted = 0 AND ");
        self.visible.write(&mut sql, "r");
        sql.push(" LIMIT ").bind(i64::from(limit));
        sql
    }

    /// What the rows refer to.
    fn referred(&self, sql: &mut Sql, include: &Include) {
        sql.then()
            .push("index_reference d")
            .pin(&test::by_row("index_reference"))
            .push(" ON d.row = m.value");
        sql.then().push("resource r").pin("resource_id").push(" ON r.kind = d.kind AND r.id = d.id WHERE ");
        match include.target {
            Some(target) => sql.push("d.kind = ").bind(self.names.kind(target)),
            // 0 is an address elsewhere.
            None => sql.push("d.kind > 0"),
        };
        // Without a parameter: every reference of the row.
        if let (Some(source), Some(parameter)) = (include.source, include.parameter) {
            sql.push(" AND d.facet = ").bind(self.names.facet(source, parameter.id, None));
        }
    }

    /// What refers to the rows.
    fn referring(&self, sql: &mut Sql, include: &Include) {
        sql.then().push("resource s ON s.key = m.value");
        sql.then().push("index_reference d").pin("index_reference_value");
        sql.push(" ON d.id = s.id AND d.kind = s.kind");
        sql.then().push("resource r ON r.key = d.row").beside("r", "d").push(" WHERE d.facet IN (");
        sql.join(self.facets(include), ", ", |sql, facet| {
            sql.bind(facet);
        });
        sql.push(")");
        if let Some(target) = include.target {
            sql.push(" AND d.kind = ").bind(self.names.kind(target));
        }
    }

    /// Facets of the references a reverse include looks at: the one named, else every one that may lead to the type.
    fn facets(&self, include: &Include) -> Vec<i64> {
        let definitions = definitions::r4();
        if let (Some(source), Some(parameter)) = (include.source, include.parameter) {
            return vec![self.names.facet(source, parameter.id, None)];
        }
        let to = include.target.unwrap_or(self.plan.kind);
        let leads = |targets: &[_]| include.iterate || targets.is_empty() || targets.contains(&to);
        definitions
            .resource_types()
            .filter(|kind| include.source.is_none_or(|source| source == *kind))
            .flat_map(|kind| {
                definitions.search_parameters(kind).iter().map(move |parameter| (kind, parameter))
            })
            .filter(|(_, parameter)| parameter.kind == SearchKind::Reference && leads(&parameter.targets))
            .map(|(kind, parameter)| self.names.facet(kind, parameter.id, None))
            .collect()
    }
}
