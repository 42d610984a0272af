//! Plan -> SQL of a store's dialect, and its values.
//!
//! Values are bound, never written into the text, so the text depends on the shape of a search alone and its statement
//! is found prepared. The order of every join and the index of every alias are pinned: a planner left free has taken
//! the grants as its outer loop, twenty-four times slower on a cohort page. Each alias of `resource` carries the
//! permit's predicate.

mod dialect;
mod include;
mod link;
mod test;
mod values;

use sluis_conformance::definitions::{ParamId, SearchKind};

use crate::ids::{PatientKey, ResourceType};
use crate::search::criterion::{Condition, Criterion, Order, OrderKey, Parameter, Test};
use crate::search::plan::{Cursor, Driver, Plan, Segment, SortValue};
use crate::store::visible::Visible;

pub(crate) use dialect::indexed;
pub use dialect::{Bind, Dialect};
pub(crate) use test::{mirrored, typed};
pub(crate) use values::number;

/// Numbers the database has given to names.
pub trait Names {
    /// Number of a type.
    fn kind(&self, kind: ResourceType) -> i64;
    /// Number of a search parameter of a type, or of its `component` (from 0) when it is a composite.
    fn facet(&self, kind: ResourceType, parameter: ParamId, component: Option<usize>) -> i64;
}

/// A statement and its values, in step.
#[derive(Debug, Clone, PartialEq)]
pub struct Sql {
    /// Text with a placeholder for each value.
    pub text: String,
    /// Values in order of their placeholders.
    pub values: Vec<Bind>,
    /// How the text is spelt.
    pub dialect: Dialect,
    /// The text is known already: only the values are kept.
    silent: bool,
}

impl Sql {
    /// An empty statement.
    pub fn new(dialect: Dialect) -> Sql {
        Sql { text: String::new(), values: Vec::new(), dialect, silent: false }
    }

    /// A statement whose text is known from an earlier one: what is pushed is left away, what is bound is kept.
    pub fn of_values(dialect: Dialect) -> Sql {
        Sql { values: Vec::with_capacity(32), silent: true, ..Sql::new(dialect) }
    }

    /// Appends text. It never holds anything a client wrote.
    pub fn push(&mut self, text: &str) -> &mut Sql {
        if !self.silent {
            self.text.push_str(text);
        }
        self
    }

    /// Appends a bound value.
    pub fn bind(&mut self, value: impl Into<Bind>) -> &mut Sql {
        let value = value.into();
        if !self.silent {
            self.dialect.placeholder(&mut self.text, self.values.len() + 1, &value);
        }
        self.values.push(value);
        self
    }

    /// Pins the table just named to an index, where the dialect can.
    pub fn pin(&mut self, index: &str) -> &mut Sql {
        match self.dialect {
            Dialect::Sqlite => self.push(" INDEXED BY ").push(index),
            Dialect::Postgres => self,
        }
    }

    /// Joins the next table as the inner loop: both dialects keep the order that is written.
    pub fn then(&mut self) -> &mut Sql {
        self.push(match self.dialect {
            Dialect::Sqlite => " CROSS JOIN ",
            Dialect::Postgres => " JOIN ",
        })
    }

    /// After a join on the row key: where the tables are spread by patient, the row is in the same part.
    pub fn beside(&mut self, inner: &str, outer: &str) -> &mut Sql {
        match self.dialect {
            Dialect::Sqlite => self,
            Dialect::Postgres => self.push(&format!(" AND {inner}.patient = {outer}.patient")),
        }
    }

    /// Appends keys as a table `m` of one column, `value`.
    pub fn each(&mut self, keys: Vec<i64>) -> &mut Sql {
        let (before, after) = match self.dialect {
            Dialect::Sqlite => ("json_each(", ") m"),
            Dialect::Postgres => ("unnest(", ") AS m(value)"),
        };
        self.push(before).bind(keys).push(after)
    }

    /// Appends `items` between `separator`s.
    pub fn join<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut one: impl FnMut(&mut Sql, T),
    ) -> &mut Sql {
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                self.push(separator);
            }
            one(self, item);
        }
        self
    }
}

/// An alias of `resource` of which criteria are judged.
#[derive(Debug, Clone)]
struct Site {
    /// Type of its rows.
    kind: ResourceType,
    /// Its name in the statement: `r`, and `r1`, `r2`, ... at the ends of references.
    alias: String,
    /// References between it and the rows searched.
    depth: usize,
}

/// Writes the statements of one plan.
pub struct Writer<'w> {
    /// The plan.
    pub plan: &'w Plan,
    /// Numbers of names.
    pub names: &'w dyn Names,
    /// How the statements are spelt.
    pub dialect: Dialect,
    /// The permit's predicate.
    pub visible: &'w Visible<'w>,
    /// Row key of the plan's patient; `None` for a plan across patients.
    pub patient: Option<PatientKey>,
    /// Columns of `resource r` and `body b` that come with the rows of a page, behind their sort values, where the rows
    /// are not sorted first.
    pub beside: &'static str,
}

impl Writer<'_> {
    /// Rows of one segment from the cursor on: `key, sort value 1, sort value 2, ...`, at most `limit`.
    ///
    /// `mark` is the state of page 1 on later pages, `None` on the first, whose snapshot is that state.
    pub fn page(&self, segment: Segment, mark: Option<i64>, limit: u32) -> Sql {
        let after = self.plan.after.as_ref().filter(|cursor| cursor.segment == segment);
        match (segment, self.plan.driver) {
            (Segment::Sorted, Driver::Dates | Driver::Changes) => self.walk(after, mark, limit),
            (Segment::Sorted, _) if !self.plan.order.is_empty() => self.sorted(after, mark, limit),
            _ => self.by_key(segment, after, mark, limit, None),
        }
    }

    /// As [`Writer::page`], of the rows up to this key, which is that of [`Writer::stretch`].
    pub fn page_until(&self, mark: Option<i64>, limit: u32, last: i64) -> Sql {
        self.by_key(Segment::Sorted, self.plan.after.as_ref(), mark, limit, Some(last))
    }

    /// Key of the row that many rows of the type further on; no row: there are not that many.
    pub fn stretch(&self, rows: u32) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT r.key FROM resource r").pin("resource_kind").push(" WHERE r.kind = ");
        sql.bind(self.names.kind(self.plan.kind)).push(" AND r.deleted = 0");
        if let Some(cursor) = &self.plan.after {
            sql.push(" AND r.key > ").bind(cursor.key);
        }
        sql.push(" ORDER BY r.key LIMIT 1 OFFSET ").bind(i64::from(rows));
        sql
    }

    /// How many candidates the driving criterion has, counted up to `limit`.
    pub fn candidates(&self, limit: u32) -> Option<Sql> {
        let Driver::Criterion(at) = self.plan.driver else { return None };
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT count(*) FROM (SELECT * FROM (");
        self.found(&mut sql, &self.root(), self.patient, self.plan.criteria.get(at)?);
        sql.push(") c LIMIT ").bind(i64::from(limit)).push(") c");
        Some(sql)
    }

    /// Segments of the plan, in order. The first page has no changed rows: its snapshot is the mark.
    pub fn segments(&self) -> &'static [Segment] {
        match (self.plan.driver, self.plan.order_moves()) {
            (Driver::Dates, _) => &[Segment::Sorted, Segment::Missing, Segment::Changed],
            (_, true) => &[Segment::Sorted, Segment::Changed],
            (_, false) => &[Segment::Sorted],
        }
    }

    /// Number of all visible matches.
    pub fn total(&self, mark: Option<i64>) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT count(*) FROM ");
        match self.subject() {
            Some((at, parameter, test)) => {
                // What refers to the patient is few beside a probe of each row of hers, and no row refers twice.
                sql.push("index_reference d").pin("index_reference_value");
                sql.then().push("resource r ON r.key = d.row WHERE d.facet = ").bind(self.facet(parameter));
                sql.push(" AND d.part = 0 AND ");
                test::values(&mut sql, self.names, "d", "index_reference", test);
                self.conditions_but(&mut sql, Some(at));
            }
            None => self.rows(&mut sql),
        }
        if let Some(mark) = mark {
            sql.push(" AND r.created <= ").bind(mark);
        }
        sql
    }

    /// The criterion that names the patient by a reference, where the embedded database is to count by it: its table of
    /// references holds none twice.
    fn subject(&self) -> Option<(usize, &Parameter, &Test)> {
        let by_rows = matches!(self.plan.driver, Driver::Compartment | Driver::Dates);
        if self.dialect != Dialect::Sqlite || self.patient.is_none() || !by_rows {
            return None;
        }
        self.plan.criteria.iter().enumerate().find_map(|(at, criterion)| match criterion {
            Criterion::Index(parameter, Condition::Any(tests)) if parameter.compartment => match &**tests {
                [test @ Test::Reference(Some(_), id)] if Some(id) == self.plan.patient.as_ref() => {
                    Some((at, parameter, test))
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// In the order of the index that holds the sort values: stops as soon as the page is full.
    fn walk(&self, after: Option<&Cursor>, mark: Option<i64>, limit: u32) -> Sql {
        let falling = self.plan.falling();
        let mut sql = Sql::new(self.dialect);
        let value = match (self.plan.driver, self.patient) {
            (Driver::Changes, _) => {
                sql.push("SELECT r.key, r.updated");
                self.columns(&mut sql);
                sql.push(" FROM resource r").pin("resource_updated");
                self.bodies(&mut sql);
                sql.push(" WHERE r.kind = ").bind(self.names.kind(self.plan.kind));
                "r.updated"
            }
            (_, patient) => {
                sql.push("SELECT d.row, d.low");
                self.columns(&mut sql);
                sql.push(" FROM index_date d");
                sql.pin(if patient.is_some() { "index_date_patient" } else { "index_date_value" });
                sql.then().push("resource r ON r.key = d.row").beside("r", "d");
                self.bodies(&mut sql);
                sql.push(" WHERE d.part = 0");
                if let Some(PatientKey(patient)) = patient {
                    sql.push(" AND d.patient > 0 AND d.patient = ").bind(patient);
                }
                if let Some(Order { key: OrderKey::Parameter(parameter), .. }) = self.plan.order.first() {
                    sql.push(" AND d.facet = ").bind(self.facet(parameter));
                }
                // Of a row's several dates, the one it is sorted by.
                sql.push(if falling { " AND d.edge >= 2" } else { " AND d.edge & 1 = 1" });
                "d.low"
            }
        };
        let key = if value == "d.low" { "d.row" } else { "r.key" };
        if let Some(cursor) = after {
            sql.push(" AND (").push(value).push(", ").push(key).push(")");
            sql.push(if falling { " < (" } else { " > (" });
            let place = cursor.values.first().map_or(Bind::Null, sort_value);
            sql.bind(place).push(", ").bind(cursor.key).push(")");
        }
        self.unchanged(&mut sql, mark);
        self.conditions(&mut sql);
        let direction = if falling { " DESC" } else { "" };
        sql.push(" ORDER BY ").push(value).push(direction).push(", ").push(key).push(direction);
        sql.push(" LIMIT ").bind(i64::from(limit));
        sql
    }

    /// The columns that come with the rows of a page.
    fn columns(&self, sql: &mut Sql) {
        if !self.beside.is_empty() {
            sql.push(", ").push(self.beside);
        }
    }

    /// Joins the bodies of the rows, where they come with them.
    fn bodies(&self, sql: &mut Sql) {
        if !self.beside.is_empty() {
            sql.then().push("body b ON b.key = r.key").beside("b", "r");
        }
    }

    /// Whether the rows of a segment come with their columns.
    pub fn comes_whole(&self, segment: Segment) -> bool {
        let walked = matches!(self.plan.driver, Driver::Dates | Driver::Changes | Driver::Values(_));
        !self.beside.is_empty() && segment == Segment::Sorted && walked
    }

    /// All rows, sorted by values looked up for each.
    fn sorted(&self, after: Option<&Cursor>, mark: Option<i64>, limit: u32) -> Sql {
        let order = &self.plan.order;
        let mut sql = Sql::new(self.dialect);
        sql.push("WITH m AS MATERIALIZED (SELECT r.key AS key");
        for (at, order) in order.iter().enumerate() {
            sql.push(", ");
            self.sort_key(&mut sql, order);
            sql.push(&format!(" AS s{at}"));
        }
        sql.push(" FROM ");
        self.rows(&mut sql);
        self.unchanged(&mut sql, mark);
        sql.push(") SELECT key");
        for at in 0..order.len() {
            sql.push(&format!(", s{at}"));
        }
        sql.push(" FROM m");
        if let Some(cursor) = after {
            sql.push(" WHERE ");
            let mut open = 0;
            for (at, (order, value)) in order.iter().zip(&cursor.values).enumerate() {
                // After this value: beyond it, or without one while it has one; else as the next key says.
                match value {
                    SortValue::Null => {
                        sql.push(&format!("(s{at} IS NULL AND "));
                        open += 1;
                    }
                    value => {
                        let (value, sign) = (sort_value(value), if order.descending { '<' } else { '>' });
                        sql.push(&format!("(s{at} {sign} ")).bind(value.clone());
                        sql.push(&format!(" OR s{at} IS NULL OR (s{at} = ")).bind(value).push(" AND ");
                        open += 2;
                    }
                }
            }
            sql.push(if self.plan.falling() { "key < " } else { "key > " }).bind(cursor.key);
            sql.push(&")".repeat(open));
        }
        sql.push(" ORDER BY ");
        for (at, order) in order.iter().enumerate() {
            let direction = if order.descending { " DESC" } else { "" };
            sql.push(&format!("s{at} IS NULL, s{at}{direction}, "));
        }
        sql.push(if self.plan.falling() { "key DESC" } else { "key" });
        sql.push(" LIMIT ").bind(i64::from(limit));
        sql
    }

    /// By row key: an unsorted search, the rows a walk leaves out, and the rows changed since page 1.
    fn by_key(
        &self,
        segment: Segment,
        after: Option<&Cursor>,
        mark: Option<i64>,
        limit: u32,
        last: Option<i64>,
    ) -> Sql {
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT r.key FROM ");
        self.rows(&mut sql);
        match (segment, mark) {
            (Segment::Changed, Some(mark)) => {
                sql.push(" AND r.created <= ").bind(mark).push(" AND r.changed > ").bind(mark);
            }
            (Segment::Changed, None) => {
                sql.push(" AND FALSE");
            }
            (Segment::Missing, mark) => {
                if let Some(Order { key: OrderKey::Parameter(parameter), .. }) = self.plan.order.first() {
                    sql.push(" AND NOT EXISTS (SELECT 1 FROM index_date t").pin(&test::by_row("index_date"));
                    sql.push(" WHERE t.row = r.key").beside("t", "r").push(" AND t.facet = ");
                    sql.bind(self.facet(parameter)).push(" AND t.part = 0)");
                }
                self.unchanged(&mut sql, mark);
            }
            (Segment::Sorted, Some(mark)) => {
                sql.push(" AND r.created <= ").bind(mark);
            }
            (Segment::Sorted, None) => {}
        }
        if let Some(cursor) = after {
            sql.push(" AND r.key > ").bind(cursor.key);
        }
        if let Some(last) = last {
            sql.push(" AND r.key <= ").bind(last);
        }
        sql.push(" ORDER BY r.key LIMIT ").bind(i64::from(limit));
        sql
    }

    /// On later pages of an order that depends on content: rows as page 1 knew them.
    fn unchanged(&self, sql: &mut Sql, mark: Option<i64>) {
        if let Some(mark) = mark {
            sql.push(if self.plan.order_moves() { " AND r.changed <= " } else { " AND r.created <= " });
            sql.bind(mark);
        }
    }

    /// `resource r ... WHERE ...` with every condition.
    fn rows(&self, sql: &mut Sql) {
        let kind = self.names.kind(self.plan.kind);
        match (self.plan.driver, self.patient) {
            (Driver::Ids(at), _) => {
                sql.push("resource r").pin("resource_id").push(" WHERE r.kind = ").bind(kind);
                sql.push(" AND r.id IN (");
                if let Some(Criterion::Id(ids)) = self.plan.criteria.get(at) {
                    sql.join(ids, ", ", |sql, id| {
                        sql.bind(id.as_str().to_owned());
                    });
                }
                sql.push(")");
            }
            (Driver::Criterion(at) | Driver::Values(at), _) => {
                sql.push("resource r");
                if self.dialect == Dialect::Sqlite {
                    sql.push(" NOT INDEXED");
                }
                sql.push(" WHERE r.key IN (");
                if let Some(criterion) = self.plan.criteria.get(at) {
                    self.found(sql, &self.root(), self.patient, criterion);
                }
                sql.push(")");
            }
            (Driver::Compartment | Driver::Dates, Some(PatientKey(patient))) => {
                sql.push("resource r").pin("resource_patient").push(" WHERE r.patient = ").bind(patient);
                sql.push(" AND r.kind = ").bind(kind);
            }
            _ => {
                sql.push("resource r").pin("resource_kind").push(" WHERE r.kind = ").bind(kind);
            }
        }
        self.conditions(sql);
    }

    /// What is judged of each row: alive, visible, of the patient, and every criterion the driver has not settled.
    fn conditions(&self, sql: &mut Sql) {
        let settled = match self.plan.driver {
            Driver::Ids(at) | Driver::Criterion(at) | Driver::Values(at) => Some(at),
            _ => None,
        };
        self.conditions_but(sql, settled);
    }

    fn conditions_but(&self, sql: &mut Sql, settled: Option<usize>) {
        sql.push(" AND r.deleted = 0");
        if let Some(PatientKey(patient)) = self.patient {
            sql.push(" AND r.patient = ").bind(patient);
        }
        sql.push(" AND ");
        self.visible.write(sql, "r");
        let root = self.root();
        for (at, criterion) in self.plan.criteria.iter().enumerate() {
            if settled == Some(at) {
                continue;
            }
            sql.push(" AND ");
            self.criterion(sql, &root, criterion);
        }
    }

    /// The rows searched.
    fn root(&self) -> Site {
        Site { kind: self.plan.kind, alias: "r".to_owned(), depth: 0 }
    }

    fn criterion(&self, sql: &mut Sql, site: &Site, criterion: &Criterion) {
        let r = &*site.alias;
        match criterion {
            Criterion::Id(ids) => {
                sql.push(&format!("{r}.id IN ("));
                sql.join(ids, ", ", |sql, id| {
                    sql.bind(id.as_str().to_owned());
                });
                sql.push(")");
            }
            Criterion::Updated(tests) => {
                // `meta.lastUpdated` as it is written into the body: a millisecond wide.
                let low = format!("({r}.updated - {r}.updated % 1000)");
                let high = format!("({r}.updated - {r}.updated % 1000 + 1000)");
                sql.push("(");
                sql.join(tests, " OR ", |sql, test| test::date(sql, (&low, &high), test));
                sql.push(")");
            }
            Criterion::Index(parameter, Condition::Missing(missing)) => {
                sql.push(if *missing { "NOT (" } else { "(" });
                self.present(sql, site, parameter);
                sql.push(")");
            }
            Criterion::Index(parameter, Condition::Any(tests)) => self.any(sql, site, parameter, tests),
            Criterion::Index(parameter, Condition::NotAny(tests)) => {
                sql.push("NOT ");
                self.any(sql, site, parameter, tests);
            }
            Criterion::Text(test) => test::text(sql, r, test),
            Criterion::Chain(parameter, links) => self.chain(sql, site, parameter, links),
            Criterion::Has(parameter, link) => self.has(sql, site, parameter, link),
            Criterion::All(some) => self.joined(sql, site, some, " AND "),
            Criterion::AnyOf(some) => self.joined(sql, site, some, " OR "),
            Criterion::Not(one) => {
                sql.push("NOT (");
                self.criterion(sql, site, one);
                sql.push(")");
            }
        }
    }

    fn joined(&self, sql: &mut Sql, site: &Site, some: &[Criterion], word: &str) {
        sql.push("(");
        sql.join(some, word, |sql, one| self.criterion(sql, site, one));
        sql.push(")");
    }

    /// Whether the row has any entry of the parameter.
    fn present(&self, sql: &mut Sql, site: &Site, parameter: &Parameter) {
        let tables = test::tables(parameter.kind);
        if parameter.kind == SearchKind::Composite {
            // A repetition enters all of its components or none, so the first stands for the whole.
            let facet = self.names.facet(site.kind, parameter.id, Some(0));
            let all = [SearchKind::Token, SearchKind::Reference, SearchKind::String, SearchKind::Quantity];
            let tables =
                all.iter().flat_map(|kind| test::tables(*kind)).chain(&["index_date", "index_number"]);
            sql.join(tables, " OR ", |sql, table| {
                test::probe(sql, &site.alias, table, facet).push(")");
            });
            return;
        }
        let facet = self.names.facet(site.kind, parameter.id, None);
        sql.join(tables, " OR ", |sql, table| {
            test::probe(sql, &site.alias, table, facet).push(" AND t.part = 0)");
        });
    }

    /// Whether an entry of the row passes one of the tests.
    fn any(&self, sql: &mut Sql, site: &Site, parameter: &Parameter, tests: &[Test]) {
        let facet = self.names.facet(site.kind, parameter.id, None);
        let apart = |test: &&Test| matches!(test, Test::Composite(_) | Test::OfType { .. });
        let (apart, single): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(apart);
        sql.push("(");
        sql.join(&apart, " OR ", |sql, test| match test {
            Test::Composite(parts) => {
                let facets = (0..parts.len()).map(|at| self.names.facet(site.kind, parameter.id, Some(at)));
                test::composite(sql, self.names, &site.alias, &facets.collect::<Vec<_>>(), parts);
            }
            Test::OfType { system, code, value } => {
                test::of_type(sql, &site.alias, facet, (system, code), value);
            }
            _ => {}
        });
        if !single.is_empty() {
            if !apart.is_empty() {
                sql.push(" OR ");
            }
            test::entries(sql, self.names, &site.alias, facet, &single);
        }
        sql.push(")");
    }

    /// The value a row is sorted by; null without one.
    fn sort_key(&self, sql: &mut Sql, order: &Order) {
        let parameter = match order.key {
            OrderKey::Updated => {
                sql.push("r.updated");
                return;
            }
            OrderKey::Id => {
                sql.push("r.id");
                return;
            }
            OrderKey::Parameter(parameter) => parameter,
        };
        let (table, column) = match parameter.kind {
            SearchKind::Date => ("index_date", "low"),
            SearchKind::Number => ("index_number", "value"),
            SearchKind::Quantity => ("index_quantity", "value"),
            SearchKind::String => ("index_string", "value"),
            SearchKind::Reference => ("index_reference", "id"),
            SearchKind::Uri => ("index_uri", "value"),
            SearchKind::Token | SearchKind::Composite | SearchKind::Special => ("index_token", "code"),
        };
        let edge = if order.descending { "max" } else { "min" };
        sql.push(&format!("(SELECT {edge}(t.{column}) FROM {table} t")).pin(&test::by_row(table));
        sql.push(" WHERE t.row = r.key").beside("t", "r").push(" AND t.facet = ");
        sql.bind(self.facet(&parameter)).push(" AND t.part = 0)");
    }

    fn facet(&self, parameter: &Parameter) -> i64 {
        self.names.facet(self.plan.kind, parameter.id, None)
    }
}

fn sort_value(value: &SortValue) -> Bind {
    match value {
        SortValue::Null => Bind::Null,
        SortValue::Integer(integer) => Bind::Integer(*integer),
        SortValue::Real(real) => Bind::Real(*real),
        SortValue::Text(text) => Bind::Text(text.clone()),
    }
}
