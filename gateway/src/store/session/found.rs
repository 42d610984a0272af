//! Runs a plan: keys of one page, their rows, their includes and the total, all in one snapshot under one predicate.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Session;
use super::base::Value;
use crate::ids::{PatientKey, ResourceType};
use crate::response::refusal::{Reason, Refusal};
use crate::search::plan::{Cursor, Found, Plan, Segment, SortValue};
use crate::search::sql::Writer;
use crate::store::visible::Visible;
use crate::store::{StoreError, Stored};

/// Rounds of iterated includes after the first.
const ROUNDS_MAX: u32 = 16;

/// A row of a page before it is read: where it stands.
struct Place {
    segment: Segment,
    key: i64,
    values: Vec<SortValue>,
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
            if let Some(Place { segment, key, values }) = places.last() {
                let mark = match earlier {
                    Some(mark) => mark,
                    None => self.mark()?,
                };
                let cursor = Cursor { mark, segment: *segment, key: *key, values: values.clone() };
                next = Some(cursor.write(asked).into());
            }
        }
        let matches = self.read_keys(places.iter().map(|place| place.key).collect())?;
        let read: HashSet<i64> = matches.iter().map(|stored| stored.key).collect();
        let standing = places
            .into_iter()
            .filter(|place| read.contains(&place.key))
            .map(|Place { segment, key, values }| Cursor {
                mark: earlier.unwrap_or_default(),
                segment,
                values,
                key,
            })
            .collect();
        let includes = self.includes(&writer, &matches)?;
        let mut seen = HashSet::new();
        let patients: Vec<PatientKey> = matches
            .iter()
            .chain(&includes)
            .filter_map(|stored| stored.derived.patient)
            .filter(|patient| seen.insert(*patient))
            .collect();
        Ok(Found { matches, places: standing, includes, total, next, patients })
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
            let sql = writer.page(segment, earlier, missing);
            // A key-ordered part gives keys alone.
            let sorted = segment == Segment::Sorted && !plan.order.is_empty();
            let width = if sorted { plan.order.len() } else { 0 };
            self.base.query(&sql.text, &sql.bound(), &mut |row| {
                let values = (1..=width).map(|at| row.value(at).map(sort_value)).collect::<Result<_, _>>()?;
                places.push(Place { segment, key: row.integer(0)?, values });
                Ok(())
            })?;
        }
        Ok(places)
    }

    /// What the includes bring to the page's matches, by rounds: of the matches, then, for those that iterate, of what
    /// the round before brought. In a round by include and creation. A cycle ends where a round brings nothing new.
    ///
    /// Errors: `TooCostly` past the limits, since a list cut short looks like one whose rest is hidden.
    fn includes(&mut self, writer: &Writer<'_>, matches: &[Stored]) -> Result<Vec<Stored>, StoreError> {
        let plan = writer.plan;
        let max = self.bounds.includes_max;
        let visible = Visible::probed(self.filter);
        let writer = Writer { visible: &visible, ..*writer };
        let mut seen: HashSet<i64> = matches.iter().map(|stored| stored.key).collect();
        let mut included: Vec<Stored> = Vec::new();
        let mut fresh: Vec<(i64, ResourceType)> =
            matches.iter().map(|stored| (stored.key, stored.kind)).collect();
        for round in 0.. {
            let mut keys = Vec::new();
            for include in plan.includes.iter().filter(|include| round == 0 || include.iterate) {
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
