//! Plan -> SQLite's SQL and its values.
//!
//! Values are bound, never written into the text, so the text depends on the shape of a search alone and its statement
//! is found prepared. The order of every join and the index of every alias are pinned: a planner left free has taken
//! the grants as its outer loop, twenty-four times slower on a cohort page. Each alias of `resource` carries the
//! permit's predicate.

mod test;

use rusqlite::types::Value;
use sluis_conformance::definitions::{ParamId, SearchKind};

use crate::ids::{PatientKey, ResourceType};
use crate::search::criterion::{Condition, Criterion, Include, Order, OrderKey, Parameter, Test};
use crate::search::plan::{Cursor, Driver, Plan, Segment, SortValue};
use crate::store::sqlite::visible::Visible;

/// Numbers the database has given to names.
pub trait Names {
    /// Number of a type.
    fn kind(&self, kind: ResourceType) -> i64;
    /// Number of a search parameter of a type, or of its `component` (from 0) when it is a composite.
    fn facet(&self, kind: ResourceType, parameter: ParamId, component: Option<usize>) -> i64;
}

/// A statement and its values, in step.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Sql {
    /// Text with `?` for each value.
    pub text: String,
    /// Values in order of their `?`.
    pub values: Vec<Value>,
}

impl Sql {
    /// Appends text. It never holds anything a client wrote.
    pub fn push(&mut self, text: &str) -> &mut Sql {
        self.text.push_str(text);
        self
    }

    /// Appends a bound value.
    pub fn bind(&mut self, value: impl Into<Value>) -> &mut Sql {
        self.text.push('?');
        self.values.push(value.into());
        self
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

/// Writes the statements of one plan.
pub struct Writer<'w> {
    /// The plan.
    pub plan: &'w Plan,
    /// Numbers of names.
    pub names: &'w dyn Names,
    /// The permit's predicate.
    pub visible: &'w Visible<'w>,
    /// Row key of the plan's patient; `None` for a plan across patients.
    pub patient: Option<PatientKey>,
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
            _ => self.by_key(segment, after, mark, limit),
        }
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
        let mut sql = Sql::default();
        sql.push("SELECT count(*) FROM ");
        self.rows(&mut sql);
        if let Some(mark) = mark {
            sql.push(" AND r.created <= ").bind(mark);
        }
        sql
    }

    /// Row keys of the visible targets of an include, at most `limit`, for the matches listed in a JSON array.
    pub fn include(&self, include: &Include, matches: &str, limit: u32) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT DISTINCT r.key FROM json_each(").bind(matches.to_owned()).push(
            ") m CROSS JOIN index_reference d INDEXED BY sqlite_autoindex_index_reference_1 ON d.row = m.value CROSS JOIN resource r INDEXED BY resource_id \
             ON r.kind = d.kind AND r.id = d.id WHERE d.facet = ",
        );
        sql.bind(self.facet(&include.parameter)).push(" AND d.part = 0 AND r.deleted = 0");
        if let Some(target) = include.target {
            sql.push(" AND d.kind = ").bind(self.names.kind(target));
        }
        sql.push(" AND ");
        self.visible.write(&mut sql, "r");
        sql.push(" LIMIT ").bind(i64::from(limit));
        sql
    }

    /// In the order of the index that holds the sort values: stops as soon as the page is full.
    fn walk(&self, after: Option<&Cursor>, mark: Option<i64>, limit: u32) -> Sql {
        let falling = self.plan.falling();
        let mut sql = Sql::default();
        let value = match (self.plan.driver, self.patient) {
            (Driver::Changes, _) => {
                sql.push(
                    "SELECT r.key, r.updated FROM resource r INDEXED BY resource_updated WHERE r.kind = ",
                );
                sql.bind(self.names.kind(self.plan.kind));
                "r.updated"
            }
            (_, patient) => {
                sql.push("SELECT d.row, d.low FROM index_date d INDEXED BY ");
                sql.push(if patient.is_some() { "index_date_patient" } else { "index_date_value" });
                sql.push(" CROSS JOIN resource r ON r.key = d.row WHERE d.part = 0");
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
            let place = cursor.values.first().map_or(Value::Null, sort_value);
            sql.bind(place).push(", ").bind(cursor.key).push(")");
        }
        self.unchanged(&mut sql, mark);
        self.conditions(&mut sql);
        let direction = if falling { " DESC" } else { "" };
        sql.push(" ORDER BY ").push(value).push(direction).push(", ").push(key).push(direction);
        sql.push(" LIMIT ").bind(i64::from(limit));
        sql
    }

    /// All rows, sorted by values looked up for each.
    fn sorted(&self, after: Option<&Cursor>, mark: Option<i64>, limit: u32) -> Sql {
        let order = &self.plan.order;
        let mut sql = Sql::default();
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
            for (at, (order, value)) in order.iter().zip(&cursor.values).enumerate() {
                let (value, sign) = (sort_value(value), if order.descending { '<' } else { '>' });
                // After this value: beyond it, or without one while it has one; else as the next key says.
                sql.push(&format!("(s{at} {sign} ")).bind(value.clone());
                sql.push(&format!(" OR (s{at} IS NULL AND ")).bind(value.clone());
                sql.push(&format!(" IS NOT NULL) OR (s{at} IS ")).bind(value).push(" AND ");
            }
            sql.push(if self.plan.falling() { "key < " } else { "key > " }).bind(cursor.key);
            sql.push(&"))".repeat(cursor.values.len()));
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
    fn by_key(&self, segment: Segment, after: Option<&Cursor>, mark: Option<i64>, limit: u32) -> Sql {
        let mut sql = Sql::default();
        sql.push("SELECT r.key FROM ");
        self.rows(&mut sql);
        match (segment, mark) {
            (Segment::Changed, Some(mark)) => {
                sql.push(" AND r.created <= ").bind(mark).push(" AND r.changed > ").bind(mark);
            }
            (Segment::Changed, None) => {
                sql.push(" AND 0");
            }
            (Segment::Missing, mark) => {
                if let Some(Order { key: OrderKey::Parameter(parameter), .. }) = self.plan.order.first() {
                    sql.push(" AND NOT EXISTS (SELECT 1 FROM index_date t ")
                        .push(&test::by_row("index_date"));
                    sql.push(" WHERE t.row = r.key AND t.facet = ");
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
                sql.push("resource r INDEXED BY resource_id WHERE r.kind = ")
                    .bind(kind)
                    .push(" AND r.id IN (");
                if let Some(Criterion::Id(ids)) = self.plan.criteria.get(at) {
                    sql.join(ids, ", ", |sql, id| {
                        sql.bind(id.as_str().to_owned());
                    });
                }
                sql.push(")");
            }
            (Driver::Criterion(at), _) => {
                sql.push("resource r NOT INDEXED WHERE r.key IN (");
                if let Some(Criterion::Index(parameter, Condition::Any(tests))) = self.plan.criteria.get(at) {
                    let facet = self.facet(parameter);
                    sql.join(tests, " UNION ALL ", |sql, test| {
                        test::rows(sql, self.names, facet, self.patient, test)
                    });
                }
                sql.push(")");
            }
            (Driver::Compartment | Driver::Dates, Some(PatientKey(patient))) => {
                sql.push("resource r INDEXED BY resource_patient WHERE r.patient = ").bind(patient);
                sql.push(" AND r.kind = ").bind(kind);
            }
            _ => {
                sql.push("resource r INDEXED BY resource_kind WHERE r.kind = ").bind(kind);
            }
        }
        self.conditions(sql);
    }

    /// What is judged of each row: alive, visible, of the patient, and every criterion the driver has not settled.
    fn conditions(&self, sql: &mut Sql) {
        sql.push(" AND r.deleted = 0");
        if let Some(PatientKey(patient)) = self.patient {
            sql.push(" AND r.patient = ").bind(patient);
        }
        sql.push(" AND ");
        self.visible.write(sql, "r");
        for (at, criterion) in self.plan.criteria.iter().enumerate() {
            if matches!(self.plan.driver, Driver::Ids(by) | Driver::Criterion(by) if by == at) {
                continue;
            }
            sql.push(" AND ");
            self.criterion(sql, criterion);
        }
    }

    fn criterion(&self, sql: &mut Sql, criterion: &Criterion) {
        match criterion {
            Criterion::Id(ids) => {
                sql.push("r.id IN (");
                sql.join(ids, ", ", |sql, id| {
                    sql.bind(id.as_str().to_owned());
                });
                sql.push(")");
            }
            Criterion::Updated(tests) => {
                sql.push("(");
                sql.join(tests, " OR ", |sql, test| test::date(sql, UPDATED, test));
                sql.push(")");
            }
            Criterion::Index(parameter, Condition::Missing(missing)) => {
                sql.push(if *missing { "NOT (" } else { "(" });
                self.present(sql, parameter);
                sql.push(")");
            }
            Criterion::Index(parameter, Condition::Any(tests)) => self.any(sql, parameter, tests),
            Criterion::Index(parameter, Condition::NotAny(tests)) => {
                sql.push("NOT ");
                self.any(sql, parameter, tests);
            }
        }
    }

    /// Whether the row has any entry of the parameter.
    fn present(&self, sql: &mut Sql, parameter: &Parameter) {
        let tables = test::tables(parameter.kind);
        if parameter.kind == SearchKind::Composite {
            // A repetition enters all of its components or none, so the first stands for the whole.
            let facet = self.names.facet(self.plan.kind, parameter.id, Some(0));
            let all = [SearchKind::Token, SearchKind::Reference, SearchKind::String, SearchKind::Quantity];
            let tables =
                all.iter().flat_map(|kind| test::tables(*kind)).chain(&["index_date", "index_number"]);
            sql.join(tables, " OR ", |sql, table| {
                sql.push(&format!(
                    "EXISTS (SELECT 1 FROM {table} t {} WHERE t.row = r.key AND t.facet = ",
                    test::by_row(table)
                ));
                sql.bind(facet).push(")");
            });
            return;
        }
        let facet = self.facet(parameter);
        sql.join(tables, " OR ", |sql, table| {
            sql.push(&format!(
                "EXISTS (SELECT 1 FROM {table} t {} WHERE t.row = r.key AND t.facet = ",
                test::by_row(table)
            ));
            sql.bind(facet).push(" AND t.part = 0)");
        });
    }

    /// Whether an entry of the row passes one of the tests.
    fn any(&self, sql: &mut Sql, parameter: &Parameter, tests: &[Test]) {
        let facet = self.facet(parameter);
        sql.push("(");
        let single: Vec<&Test> = tests.iter().filter(|test| !matches!(test, Test::Composite(_))).collect();
        if single.is_empty() {
            sql.join(tests, " OR ", |sql, test| {
                if let Test::Composite(parts) = test {
                    let facets =
                        (0..parts.len()).map(|at| self.names.facet(self.plan.kind, parameter.id, Some(at)));
                    test::composite(sql, self.names, &facets.collect::<Vec<_>>(), parts);
                }
            });
        } else {
            test::entries(sql, self.names, facet, &single);
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
        sql.push(&format!(
            "(SELECT {edge}(t.{column}) FROM {table} t {} WHERE t.row = r.key AND t.facet = ",
            test::by_row(table)
        ));
        sql.bind(self.facet(&parameter)).push(" AND t.part = 0)");
    }

    fn facet(&self, parameter: &Parameter) -> i64 {
        self.names.facet(self.plan.kind, parameter.id, None)
    }
}

/// `meta.lastUpdated` as it is written into the body: a millisecond wide.
const UPDATED: (&str, &str) = ("(r.updated - r.updated % 1000)", "(r.updated - r.updated % 1000 + 1000)");

fn sort_value(value: &SortValue) -> Value {
    match value {
        SortValue::Null => Value::Null,
        SortValue::Integer(integer) => Value::Integer(*integer),
        SortValue::Real(real) => Value::Real(*real),
        SortValue::Text(text) => Value::Text(text.clone()),
    }
}
