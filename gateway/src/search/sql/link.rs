//! References followed within a statement: chains and `_has`, as probes of one row and as a way to the rows.
//!
//! Every resource at the other end of a reference is an alias of its own and carries the permit's predicate: what the
//! caller may not see makes no difference to what is found. Grants are probed there, also in a plan of one patient's data,
//! since the other end may be another patient's or nobody's.

use crate::ids::PatientKey;
use crate::search::criterion::{Condition, Criterion, Link, Parameter};

use super::{Dialect, Site, Sql, Writer, test};

impl Site {
    /// The alias at the other end of a reference from or to this one, and the reference's own alias.
    fn beyond(&self, link: &Link) -> (Site, String) {
        let depth = self.depth + 1;
        (Site { kind: link.kind, alias: format!("r{depth}"), depth }, format!("e{depth}"))
    }
}

impl Writer<'_> {
    /// Whether the row refers to a visible resource as one of the links says (FHIR R4 search.html#chaining).
    pub(super) fn chain(&self, sql: &mut Sql, site: &Site, parameter: &Parameter, links: &[Link]) {
        let facet = self.names.facet(site.kind, parameter.id, None);
        sql.push("(");
        sql.join(links, " OR ", |sql, link| {
            let (to, e) = site.beyond(link);
            let (r, from) = (&*to.alias, &*site.alias);
            sql.push(&format!("EXISTS (SELECT 1 FROM index_reference {e}"))
                .pin(&test::by_row("index_reference"));
            sql.then().push(&format!("resource {r}")).pin("resource_id");
            sql.push(&format!(" ON {r}.kind = {e}.kind AND {r}.id = {e}.id WHERE {e}.row = {from}.key"));
            sql.beside(&e, from).push(&format!(" AND {e}.facet = ")).bind(facet);
            sql.push(&format!(" AND {e}.part = 0 AND {e}.kind = ")).bind(self.names.kind(link.kind));
            self.there(sql, &to);
            sql.push(" AND ");
            self.criterion(sql, &to, &link.criterion);
            sql.push(")");
        });
        sql.push(")");
    }

    /// Whether a visible resource as the link says refers to the row (FHIR R4 search.html#has).
    pub(super) fn has(&self, sql: &mut Sql, site: &Site, parameter: &Parameter, link: &Link) {
        let (to, e) = site.beyond(link);
        let (r, from) = (&*to.alias, &*site.alias);
        sql.push(&format!("EXISTS (SELECT 1 FROM index_reference {e}")).pin("index_reference_value");
        sql.then().push(&format!("resource {r} ON {r}.key = {e}.row")).beside(r, &e);
        sql.push(&format!(" WHERE {e}.facet = ")).bind(self.names.facet(link.kind, parameter.id, None));
        sql.push(&format!(" AND {e}.id = {from}.id AND {e}.kind = ")).bind(self.names.kind(site.kind));
        sql.push(&format!(" AND {e}.part = 0"));
        self.there(sql, &to);
        sql.push(" AND ");
        self.criterion(sql, &to, &link.criterion);
        sql.push(")");
    }

    /// Keys of the rows of the site's type that pass a criterion, found by value. The rows themselves are not judged;
    /// those at the other ends of references are.
    pub(super) fn found(
        &self,
        sql: &mut Sql,
        site: &Site,
        patient: Option<PatientKey>,
        criterion: &Criterion,
    ) {
        match criterion {
            Criterion::Index(parameter, Condition::Any(tests)) => {
                let facet = self.names.facet(site.kind, parameter.id, None);
                sql.join(tests, " UNION ALL ", |sql, test| {
                    test::rows(sql, self.names, facet, patient, test);
                });
            }
            Criterion::Id(ids) => {
                sql.push("SELECT f.key FROM resource f").pin("resource_id").push(" WHERE f.kind = ");
                sql.bind(self.names.kind(site.kind)).push(" AND f.id IN (");
                sql.join(ids, ", ", |sql, id| {
                    sql.bind(id.as_str().to_owned());
                });
                sql.push(")");
            }
            Criterion::AnyOf(each) => {
                sql.join(each, " UNION ALL ", |sql, criterion| self.found(sql, site, patient, criterion));
            }
            Criterion::Chain(parameter, links) => {
                let facet = self.names.facet(site.kind, parameter.id, None);
                sql.join(links, " UNION ALL ", |sql, link| {
                    let (to, e) = site.beyond(link);
                    let r = &*to.alias;
                    sql.push(&format!("SELECT {e}.row FROM "));
                    self.far(sql, &to);
                    sql.then().push(&format!("index_reference {e}")).pin("index_reference_value");
                    sql.push(&format!(" ON {e}.id = {r}.id AND {e}.kind = {r}.kind WHERE {e}.facet = "));
                    sql.bind(facet).push(&format!(" AND {e}.part = 0 AND {r}.key IN ("));
                    self.found(sql, &to, None, &link.criterion);
                    sql.push(")");
                    self.there(sql, &to);
                });
            }
            Criterion::Has(parameter, link) => {
                let (to, e) = site.beyond(link);
                let (r, f) = (&*to.alias, format!("f{}", to.depth));
                sql.push(&format!("SELECT {f}.key FROM "));
                self.far(sql, &to);
                sql.then().push(&format!("index_reference {e}")).pin(&test::by_row("index_reference"));
                sql.push(&format!(" ON {e}.row = {r}.key")).beside(&e, r);
                sql.then().push(&format!("resource {f}")).pin("resource_id");
                sql.push(&format!(" ON {f}.kind = {e}.kind AND {f}.id = {e}.id WHERE {e}.facet = "));
                sql.bind(self.names.facet(link.kind, parameter.id, None));
                sql.push(&format!(" AND {e}.part = 0 AND {e}.kind = ")).bind(self.names.kind(site.kind));
                sql.push(&format!(" AND {r}.key IN ("));
                self.found(sql, &to, None, &link.criterion);
                sql.push(")");
                self.there(sql, &to);
            }
            Criterion::Text(test) => test::text_rows(sql, self.names.kind(site.kind), test),
            // These are judged row by row: no plan is driven by them.
            Criterion::Updated(_) | Criterion::Index(..) | Criterion::All(_) | Criterion::Not(_) => {
                sql.push("SELECT f.key FROM resource f WHERE f.kind = ").bind(self.names.kind(site.kind));
                let here = Site { alias: "f".to_owned(), ..site.clone() };
                sql.push(" AND ");
                self.criterion(sql, &here, criterion);
            }
        }
    }

    /// The far end's table, taken by row key.
    fn far(&self, sql: &mut Sql, to: &Site) {
        sql.push(&format!("resource {}", to.alias));
        if self.dialect == Dialect::Sqlite {
            sql.push(" NOT INDEXED");
        }
    }

    /// The far end is there for the permit's holder.
    fn there(&self, sql: &mut Sql, to: &Site) {
        sql.push(&format!(" AND {}.deleted = 0 AND ", to.alias));
        self.visible.probing().write(sql, &to.alias);
    }
}
