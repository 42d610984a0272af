//! The rows of a criterion in the order of its index, test by test.

use crate::search::criterion::{Condition, Criterion, Test};
use crate::search::plan::walk::{Column, walk};
use crate::search::plan::{Cursor, Driver, SortValue};

use super::{Sql, Writer, sort_value, test};

impl Writer<'_> {
    /// Tests that are walked one after the other; 0 for a plan that finds its rows in another way.
    pub fn walked(&self) -> usize {
        self.plan.walked().len()
    }

    /// Rows of the test `number` that no test before it finds, from the cursor on: `key`, then the columns they are ordered
    /// by, as many as are told beside; at most `limit`. A row with several entries that pass comes at the first of them;
    /// the same columns may come twice in a row.
    ///
    /// `None`: the plan has no such test.
    pub fn values(
        &self,
        number: usize,
        after: Option<&Cursor>,
        mark: Option<i64>,
        limit: u32,
    ) -> Option<(Sql, usize)> {
        let Driver::Values(at) = self.plan.driver else { return None };
        let Criterion::Index(parameter, Condition::Any(tests)) = self.plan.criteria.get(at)? else {
            return None;
        };
        let (this, before) = (tests.get(number)?, tests.get(..number)?);
        let way = walk(this)?;
        let (facet, part) = (self.facet(parameter), test::part(this));
        let (table, index) = test::by_value(this);
        let places = |alias: &str| -> String {
            way.columns.iter().map(|column| format!("{alias}.{}, ", column.name())).collect()
        };
        let mut sql = Sql::new(self.dialect);
        sql.push("SELECT d.row");
        way.columns.iter().for_each(|column| {
            sql.push(", d.").push(column.name());
        });
        self.columns(&mut sql);
        sql.push(&format!(" FROM {table} d")).pin(index);
        sql.then().push("resource r ON r.key = d.row").beside("r", "d");
        self.bodies(&mut sql);
        sql.push(" WHERE d.facet = ").bind(facet);
        sql.push(&format!(" AND d.part = {part} AND "));
        if index == "index_token_system" {
            sql.push("d.system > 0 AND ");
        }
        test::below(&mut sql, "d", this);
        test::values(&mut sql, self.names, "d", table, this);
        if let Some(cursor) = after {
            sql.push(&format!(" AND ({}d.row)", places("d"))).push(if way.falling { " < (" } else { " > (" });
            for value in cursor.values.iter().skip(1) {
                sql.bind(sort_value(value)).push(", ");
            }
            sql.bind(cursor.key).push(")");
        }
        self.unchanged(&mut sql, mark);
        self.conditions(&mut sql);
        if !matches!(way.columns, [] | [Column::Patient]) {
            // Several entries of one row: the first that passes stands for it.
            sql.push(" AND NOT ");
            test::probe(&mut sql, "r", table, facet).push(&format!(" AND t.part = {part} AND "));
            let columns = |alias: &str| places(alias).trim_end_matches(", ").to_owned();
            let sign = if way.falling { '>' } else { '<' };
            sql.push(&format!("({}) {sign} ({}) AND ", columns("t"), columns("d")));
            test::values(&mut sql, self.names, "t", table, this);
            sql.push(")");
        }
        if !before.is_empty() {
            sql.push(" AND NOT (");
            test::entries(&mut sql, self.names, "r", facet, &before.iter().collect::<Vec<&Test>>());
            sql.push(")");
        }
        let direction = if way.falling { " DESC" } else { "" };
        sql.push(" ORDER BY ");
        for column in way.columns {
            sql.push("d.").push(column.name()).push(direction).push(", ");
        }
        sql.push("d.row").push(direction).push(" LIMIT ").bind(i64::from(limit));
        Some((sql, way.columns.len()))
    }
}

/// Number of the test at whose rows a place stands.
pub(crate) fn number(values: &[SortValue]) -> usize {
    match values.first() {
        Some(SortValue::Integer(number)) => usize::try_from(*number).unwrap_or(usize::MAX),
        _ => 0,
    }
}
