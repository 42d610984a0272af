//! Runs a plan: keys of one page, their rows, their includes and the total, all in one snapshot under one predicate.

use std::borrow::Cow;
use std::collections::HashSet;

use super::base::Value;
use super::{COLUMNS, Session};
use crate::ids::{PatientKey, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::Include;
use crate::search::plan::{Cursor, Driver, Found, Plan, Segment, SortValue};
use crate::search::sql::{self, Sql, Writer};
use crate::store::visible::Visible;
use crate::store::{StoreError, Stored};

/// Rows judged one by one before what is left is found by value.
const STRETCHES: &[u32] = if cfg!(test) { &[2, 3] } else { &[256, 1_024] };

/// How far a page came by rows judged one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Not at all: the rows are few, or come in an order of their own.
    Not,
    /// It is full, or the type has no further rows.
    Full,
    /// The matches up to this row are on it, and so few that the rest is better found by value.
    Until(i64),
}

/// Rounds of iterated includes after the first.
const ROUNDS_MAX: u32 = 16;

/// A row of a page: where it stands, and itself where it came with that.
struct Place {
    segment: Segment,
    key: i64,
    values: Vec<SortValue>,
    stored: Option<Stored>,
}

impl Session<'_> {
    pub(super) fn find(&mut self, asked: &Plan) -> Result<Found, StoreError> {
        // Which patient is a fact of the snapshot, not of the plan.
        let (plan, patient) = match &asked.patient {
            None => (Cow::Borrowed(asked), None),
            Some(id) => match self.patient_key(id)? {
                Some(key) => (Cow::Borrowed(asked), Some(key)),
                None => (Cow::Owned(asked.across_patients()), None),
            },
        };
        let filter = self.filter;
        let grants;
        let visible = match patient {
            None => Visible::probed(filter),
            Some(key) => {
                grants = self.grants(key)?;
                Visible::granted(filter, key, &grants.arms, &grants.relations)
            }
        };
        if visible.nothing() {
            let total = asked.total.then_some(0);
            return Ok(Found {
                matches: Vec::new(),
                places: Vec::new(),
                includes: Vec::new(),
                total,
                next: None,
                patients: Vec::new(),
            });
        }
        let writer = Writer {
            plan: &plan,
            names: self.names,
            dialect: self.base.dialect(),
            visible: &visible,
            patient,
            beside: COLUMNS,
        };
        let earlier = plan.after.as_ref().map(|cursor| cursor.mark).or(plan.as_of);
        let total = match asked.total {
            true => Some(self.count(&writer, earlier)?),
            false => None,
        };
        let mut places = Vec::new();
        if !asked.count_only {
            places = self.page(&writer, earlier)?;
        }
        let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
        let mut next = None;
        if places.len() > count {
            places.truncate(count);
            if let Some(Place { segment, key, values, .. }) = places.last() {
                let mark = match earlier {
                    Some(mark) => mark,
                    None => self.mark()?,
                };
                let cursor = Cursor { mark, segment: *segment, key: *key, values: values.clone() };
                next = Some(cursor.write(asked).into());
            }
        }
        let (matches, standing) = self.matches(places, earlier.unwrap_or_default())?;
        let includes = self.bring(&plan.includes, &matches.iter().collect::<Vec<_>>())?;
        let mut seen = HashSet::new();
        let patients: Vec<PatientKey> = matches
            .iter()
            .chain(&includes)
            .filter_map(|stored| stored.derived.patient)
            .filter(|patient| seen.insert(*patient))
            .collect();
        Ok(Found { matches, places: standing, includes, total, next, patients })
    }

    /// The rows of the places and where each stands: those that did not come with their place are read by key, and each
    /// is judged once more.
    fn matches(&mut self, places: Vec<Place>, mark: i64) -> Result<(Vec<Stored>, Vec<Cursor>), StoreError> {
        let missing: Vec<i64> =
            places.iter().filter(|place| place.stored.is_none()).map(|place| place.key).collect();
        let mut read = self.read_keys(missing)?.into_iter().peekable();
        let (mut matches, mut standing) =
            (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
        for Place { segment, key, values, stored } in places {
            let stored = match stored {
                Some(stored) => self.admit(stored)?,
                // They come in the order of the keys, without what was withheld.
                None => read.next_if(|stored| stored.key == key),
            };
            if let Some(stored) = stored {
                matches.push(stored);
                standing.push(Cursor { mark, segment, values, key });
            }
        }
        Ok((matches, standing))
    }

    /// One more place than the page holds, if there is one: it tells that there is a next page.
    fn page(&mut self, writer: &Writer<'_>, earlier: Option<i64>) -> Result<Vec<Place>, StoreError> {
        let plan = writer.plan;
        let wanted = plan.count.saturating_add(1);
        let start = plan.after.as_ref().map_or(Segment::Sorted, |cursor| cursor.segment);
        let mut places: Vec<Place> = Vec::new();
        for &segment in writer.segments() {
            let missing = wanted.saturating_sub(u32::try_from(places.len()).unwrap_or(u32::MAX));
            let nothing_changed = segment == Segment::Changed && earlier.is_none();
            if segment < start || missing == 0 || nothing_changed {
                continue;
            }
            if segment == Segment::Sorted && writer.walked() > 0 {
                self.walk(writer, earlier, &mut places)?;
                continue;
            }
            let judged = match segment {
                Segment::Sorted => self.judge(writer, earlier, &mut places)?,
                Segment::Missing | Segment::Changed => Judged::Not,
            };
            if judged == Judged::Full {
                continue;
            }
            if let Judged::Until(key) = judged {
                // What is left of the type is found by value.
                let cursor = Cursor { mark: earlier.unwrap_or_default(), segment, values: Vec::new(), key };
                let rest = Plan { after: Some(cursor), ..plan.clone() };
                let missing = wanted.saturating_sub(u32::try_from(places.len()).unwrap_or(u32::MAX));
                let sql = Writer { plan: &rest, ..*writer }.page(segment, earlier, missing);
                self.keys(&sql, segment, &mut places)?;
                continue;
            }
            let sql = writer.page(segment, earlier, missing);
            // A key-ordered part gives keys alone.
            let sorted = segment == Segment::Sorted && !plan.order.is_empty();
            let width = if sorted { plan.order.len() } else { 0 };
            let whole = writer.comes_whole(segment);
            self.base.query(&sql.text, &sql.bound(), &mut |row| {
                let values = (1..=width).map(|at| row.value(at).map(sort_value)).collect::<Result<_, _>>()?;
                let stored = if whole { Some(self.stored_at(row, width + 1)?) } else { None };
                places.push(Place { segment, key: row.integer(0)?, values, stored });
                Ok(())
            })?;
        }
        Ok(places)
    }

    /// Rows of the type judged one by one in the order of creation, where the driving criterion has too many candidates
    /// to be collected for a page: by stretches, each longer than the one before, until the page is full.
    fn judge(
        &self,
        writer: &Writer<'_>,
        earlier: Option<i64>,
        places: &mut Vec<Place>,
    ) -> Result<Judged, StoreError> {
        let plan = writer.plan;
        if !plan.order.is_empty() || writer.patient.is_some() {
            return Ok(Judged::Not);
        }
        if !matches!(plan.driver, Driver::Criterion(_)) {
            return Ok(Judged::Not);
        }
        let few = self.few()?;
        let Some(candidates) = writer.candidates(few) else { return Ok(Judged::Not) };
        if self.base.number(&candidates.text, &candidates.bound())? < i64::from(few) {
            return Ok(Judged::Not);
        }
        let mut by_row = Plan { driver: Driver::Kind, ..plan.clone() };
        let wanted = plan.count.saturating_add(1);
        for rows in STRETCHES {
            let writer = Writer { plan: &by_row, ..*writer };
            let missing = wanted.saturating_sub(u32::try_from(places.len()).unwrap_or(u32::MAX));
            let end = writer.stretch(*rows);
            let end = self.base.one(&end.text, &end.bound(), |row| row.integer(0))?;
            let sql = match end {
                Some(end) => writer.page_until(earlier, missing, end),
                None => writer.page(Segment::Sorted, earlier, missing),
            };
            self.keys(&sql, Segment::Sorted, places)?;
            let full = places.len() >= usize::try_from(wanted).unwrap_or(usize::MAX);
            let Some(key) = end.filter(|_| !full) else { return Ok(Judged::Full) };
            let mark = earlier.unwrap_or_default();
            by_row.after = Some(Cursor { mark, segment: Segment::Sorted, values: Vec::new(), key });
        }
        Ok(by_row.after.map_or(Judged::Not, |cursor| Judged::Until(cursor.key)))
    }

    /// Candidates of a criterion that are collected whatever the page needs of them. Of C candidates among N rows a page
    /// of twenty has N * 20 / C rows judged, each at about three times what a candidate costs: the two meet where C is
    /// some root of N.
    fn few(&self) -> Result<u32, StoreError> {
        if cfg!(test) {
            return Ok(4);
        }
        let rows = self.base.number("SELECT coalesce(max(key), 0) FROM resource", &[])?;
        Ok(u32::try_from(rows.max(0).saturating_mul(32).isqrt()).unwrap_or(u32::MAX))
    }

    /// The places of rows in the order of their keys.
    fn keys(&self, sql: &Sql, segment: Segment, places: &mut Vec<Place>) -> Result<(), StoreError> {
        self.base.query(&sql.text, &sql.bound(), &mut |row| {
            places.push(Place { segment, key: row.integer(0)?, values: Vec::new(), stored: None });
            Ok(())
        })
    }

    /// The places of rows in the order of an index, test by test.
    fn walk(
        &self,
        writer: &Writer<'_>,
        earlier: Option<i64>,
        places: &mut Vec<Place>,
    ) -> Result<(), StoreError> {
        let wanted = usize::try_from(writer.plan.count.saturating_add(1)).unwrap_or(usize::MAX);
        let mut after = writer.plan.after.clone();
        let first = after.as_ref().map_or(0, |cursor| sql::number(&cursor.values));
        for (number, said) in (first..writer.walked()).zip(first as i64..) {
            loop {
                let missing = u32::try_from(wanted.saturating_sub(places.len())).unwrap_or(u32::MAX);
                let statement = writer.values(number, after.as_ref(), earlier, missing);
                let Some((sql, width)) = statement.filter(|_| missing > 0) else { return Ok(()) };
                let mut found = 0;
                self.base.query(&sql.text, &sql.bound(), &mut |row| {
                    found += 1;
                    let columns = (1..=width).map(|at| row.value(at).map(sort_value));
                    let values = std::iter::once(Ok(SortValue::Integer(said))).chain(columns);
                    let place = Place {
                        segment: Segment::Sorted,
                        key: row.integer(0)?,
                        values: values.collect::<Result<_, _>>()?,
                        stored: Some(self.stored_at(row, width + 1)?),
                    };
                    // Entries of one row that differ in nothing the order knows.
                    if places.last().is_none_or(|last| last.key != place.key || last.values != place.values) {
                        places.push(place);
                    }
                    Ok(())
                })?;
                if found < missing {
                    break;
                }
                after = places.last().map(|last| Cursor {
                    mark: earlier.unwrap_or_default(),
                    segment: Segment::Sorted,
                    values: last.values.clone(),
                    key: last.key,
                });
            }
            after = None;
        }
        Ok(())
    }

    /// What the includes bring to the page's matches, by rounds: of the matches, then, for those that iterate, of what
    /// the round before brought. In a round by include and creation. A cycle ends where a round brings nothing new.
    ///
    /// Errors: `TooCostly` past the limits, since a list cut short looks like one whose rest is hidden.
    pub(super) fn bring(
        &mut self,
        includes: &[Include],
        matches: &[&Stored],
    ) -> Result<Vec<Stored>, StoreError> {
        let (Some(first), false) = (matches.first(), includes.is_empty()) else { return Ok(Vec::new()) };
        let max = self.bounds.includes_max;
        let visible = Visible::probed(self.filter);
        let plan = Plan::of_all(first.kind);
        let writer = Writer {
            plan: &plan,
            names: self.names,
            dialect: self.base.dialect(),
            visible: &visible,
            patient: None,
            beside: "",
        };
        let mut seen: HashSet<i64> = matches.iter().map(|stored| stored.key).collect();
        let mut included: Vec<Stored> = Vec::new();
        let mut fresh: Vec<(i64, ResourceType)> =
            matches.iter().map(|stored| (stored.key, stored.kind)).collect();
        for round in 0.. {
            let mut keys = Vec::new();
            for include in includes.iter().filter(|include| round == 0 || include.iterate) {
                let of = if include.reverse { include.target } else { include.source };
                let rows = fresh.iter().filter(|(_, kind)| of.is_none_or(|of| of == *kind));
                let rows: Vec<i64> = rows.map(|(key, _)| *key).collect();
                if rows.is_empty() {
                    continue;
                }
                let sql = writer.include(include, &rows, max.saturating_add(1));
                let mut found = self.base.all(&sql.text, &sql.bound(), |row| row.integer(0))?;
                found.sort_unstable();
                keys.extend(found.into_iter().filter(|key| seen.insert(*key)));
            }
            if keys.is_empty() {
                break;
            }
            let refused = if included.len() + keys.len() > usize::try_from(max).unwrap_or(usize::MAX) {
                Some(format!("A page includes at most {max} resources; ask for fewer matches with _count."))
            } else if round >= ROUNDS_MAX {
                Some(format!("Includes of includes are followed at most {ROUNDS_MAX} times."))
            } else {
                None
            };
            if let Some(text) = refused {
                let refusal = Refusal::new(Reason::TooCostly, text).at("_include");
                return Err(StoreError::Refused(Box::new(refusal)));
            }
            let from = included.len();
            included.extend(self.read_keys(keys)?);
            fresh = included.iter().skip(from).map(|stored| (stored.key, stored.kind)).collect();
        }
        Ok(included)
    }

    fn count(&self, writer: &Writer<'_>, earlier: Option<i64>) -> Result<u64, StoreError> {
        let sql = writer.total(earlier);
        let count = self.base.number(&sql.text, &sql.bound())?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

fn sort_value(value: Value<'_>) -> SortValue {
    match value {
        Value::Integer(integer) => SortValue::Integer(integer),
        Value::Real(real) => SortValue::Real(real),
        Value::Text(text) => SortValue::Text(text.to_owned()),
        // No sort key is of bytes or a list.
        Value::Null | Value::Blob(_) | Value::Keys(_) | Value::Texts(_) => SortValue::Null,
    }
}
