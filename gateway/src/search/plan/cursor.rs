//! Where a page starts: the last row's place in the order, and the state of the store at page 1.

use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::OrderKey;

use super::walk::walk;
use super::{Driver, Plan};

/// A place between two pages.
#[derive(Debug, Clone, PartialEq)]
pub struct Cursor {
    /// Sequence of the last work applied when page 1 was read; rows created later are on no page.
    pub mark: i64,
    /// Which part of the result the last row was in.
    pub segment: Segment,
    /// Its sort values, one for each sort key; where an index is walked, the number of the test and the columns of its
    /// index; empty outside `Sorted`.
    pub values: Vec<SortValue>,
    /// Its row key.
    pub key: i64,
}

/// Parts of a result, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Rows in the order asked for.
    Sorted,
    /// Rows without a value to sort by, where the walk over the values leaves them out; by row key.
    Missing,
    /// Rows changed since page 1, where the order depends on content; by row key.
    Changed,
}

/// A sort value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// It has none: last.
    Null,
    /// Microseconds.
    Integer(i64),
    /// A number.
    Real(f64),
    /// Normalised text, code or id.
    Text(String),
}

const FORM: u8 = 1;

impl Cursor {
    /// The bytes of this place in this search.
    pub fn write(&self, plan: &Plan) -> Vec<u8> {
        let mut bytes = vec![FORM, self.segment as u8];
        bytes.extend(plan.fingerprint());
        bytes.extend(self.mark.to_be_bytes());
        bytes.extend(self.key.to_be_bytes());
        for value in &self.values {
            match value {
                SortValue::Null => bytes.push(0),
                SortValue::Integer(integer) => {
                    bytes.push(1);
                    bytes.extend(integer.to_be_bytes());
                }
                SortValue::Real(real) => {
                    bytes.push(2);
                    bytes.extend(real.to_be_bytes());
                }
                SortValue::Text(text) => {
                    bytes.push(3);
                    // A text longer than u32 cannot be: a body is smaller.
                    bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
            }
        }
        bytes
    }

    /// Reads the place back.
    ///
    /// Errors: `ParameterInvalid` for bytes of another search, or of none.
    pub(super) fn read(plan: &Plan, bytes: &[u8]) -> Result<Cursor, Refusal> {
        Self::parse(plan, bytes)
            .ok_or_else(|| Refusal::new(Reason::ParameterInvalid, "The page link is not of this search."))
    }

    fn parse(plan: &Plan, mut bytes: &[u8]) -> Option<Cursor> {
        let [form, segment] = take(&mut bytes)?;
        let segment = match segment {
            0 => Segment::Sorted,
            1 => Segment::Missing,
            2 => Segment::Changed,
            _ => return None,
        };
        if form != FORM || take::<8>(&mut bytes)? != plan.fingerprint() {
            return None;
        }
        let mark = i64::from_be_bytes(take(&mut bytes)?);
        let key = i64::from_be_bytes(take(&mut bytes)?);
        let mut values = Vec::new();
        if segment == Segment::Sorted {
            for order in &plan.order {
                let value = sort_value(&mut bytes)?;
                if order.key == OrderKey::Updated && !matches!(value, SortValue::Integer(_)) {
                    return None;
                }
                values.push(value);
            }
            if matches!(plan.driver, Driver::Values(_)) {
                let number = sort_value(&mut bytes)?;
                let SortValue::Integer(at) = number else { return None };
                values.push(number);
                for column in walk(plan.walked().get(usize::try_from(at).ok()?)?)?.columns {
                    values.push(sort_value(&mut bytes).filter(|value| column.holds(value))?);
                }
            }
        }
        bytes.is_empty().then_some(Cursor { mark, segment, values, key })
    }
}

fn sort_value(bytes: &mut &[u8]) -> Option<SortValue> {
    Some(match take::<1>(bytes)? {
        [0] => SortValue::Null,
        [1] => SortValue::Integer(i64::from_be_bytes(take(bytes)?)),
        [2] => SortValue::Real(f64::from_be_bytes(take(bytes)?)),
        [3] => {
            let length = usize::try_from(u32::from_be_bytes(take(bytes)?)).ok()?;
            let (text, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            SortValue::Text(std::str::from_utf8(text).ok()?.to_owned())
        }
        _ => return None,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
