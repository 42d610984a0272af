//! How two databases spell the same statement, and the values bound into it.

use std::fmt::Write as _;

/// The database a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The embedded one. Indexes and the order of joins are pinned by name.
    Sqlite,
    /// The server. Joins keep the order they are written in (`join_collapse_limit = 1`); the planner chooses indexes
    /// from statistics. Text is compared by its bytes (`COLLATE "C"` on every column), as SQLite does.
    Postgres,
}

impl Dialect {
    /// Appends the placeholder of the value at `place` (from 1).
    ///
    /// PostgreSQL infers types of parameters from their surroundings, which differ with the column compared; the cast
    /// states them once.
    pub(super) fn placeholder(self, text: &mut String, place: usize, value: &Bind) {
        match self {
            Dialect::Sqlite => text.push('?'),
            Dialect::Postgres => {
                let cast = match value {
                    // Nothing is of every type.
                    Bind::Null => "",
                    Bind::Text(_) => {
                        // As index entries are kept, so that a longer text still finds them.
                        let _ = write!(text, "left(${place}::text, {INDEXED_CHARS_MAX})");
                        return;
                    }
                    Bind::Integer(_) => "::bigint",
                    Bind::Real(_) => "::double precision",
                    Bind::Blob(_) => "::bytea",
                    Bind::Keys(_) => "::bigint[]",
                    Bind::Texts(_) => "::text[]",
                    Bind::Words(_) => "::text::tsquery",
                };
                // Writing into a String cannot fail.
                let _ = write!(text, "${place}{cast}");
            }
        }
    }
}

/// Characters of a text that an index of the server holds: a B-tree's entry has room for 2,700 bytes.
const INDEXED_CHARS_MAX: usize = 600;

/// The part of a text that the server's index holds.
pub(crate) fn indexed(text: &str) -> &str {
    match text.char_indices().nth(INDEXED_CHARS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// A value bound into a statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Bind {
    /// None.
    Null,
    /// A key, mask, number of a name, or moment.
    Integer(i64),
    /// A number of a resource.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
    /// A list of row keys: an array where the database has them, else JSON.
    Keys(Vec<i64>),
    /// A list of texts: as a list of keys.
    Texts(Vec<String>),
    /// An expression for the index of words, as the database spells it.
    Words(String),
}

impl From<i64> for Bind {
    fn from(value: i64) -> Bind {
        Bind::Integer(value)
    }
}

impl From<f64> for Bind {
    fn from(value: f64) -> Bind {
        Bind::Real(value)
    }
}

impl From<String> for Bind {
    fn from(value: String) -> Bind {
        Bind::Text(value)
    }
}

impl From<&str> for Bind {
    fn from(value: &str) -> Bind {
        Bind::Text(value.to_owned())
    }
}

impl From<Vec<u8>> for Bind {
    fn from(value: Vec<u8>) -> Bind {
        Bind::Blob(value)
    }
}

impl From<Vec<String>> for Bind {
    fn from(value: Vec<String>) -> Bind {
        Bind::Texts(value)
    }
}

impl From<Vec<i64>> for Bind {
    fn from(value: Vec<i64>) -> Bind {
        Bind::Keys(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

    use sluis_conformance::definitions::ParamId;

    use super::*;
    use crate::ids::{PartyKey, PatientKey, ResourceType};
    use crate::search::plan::{Cursor, Segment, SortValue};
    use crate::search::sql::{Names, Writer};
    use crate::store::contract::world::{clinician, planned};
    use crate::store::visible::Visible;

    /// Every name has the number 5.
    struct Five;

    impl Names for Five {
        fn kind(&self, _: ResourceType) -> i64 {
            5
        }

        fn facet(&self, _: ResourceType, _: ParamId, _: Option<usize>) -> i64 {
            5
        }
    }

    fn written(query: &str, dialect: Dialect, after: Option<Vec<SortValue>>) -> String {
        let filter = clinician(PartyKey(8));
        let mut plan = planned(query, &filter);
        plan.after = after.map(|values| Cursor { mark: 1, segment: Segment::Sorted, values, key: 2 });
        let patient = plan.patient.as_ref().map(|_| PatientKey(1));
        let visible = Visible::probed(&filter);
        let writer = Writer { plan: &plan, names: &Five, dialect, visible: &visible, patient, beside: "" };
        let mut text = writer.page(Segment::Sorted, None, 21).text;
        for number in 0..writer.walked() {
            let (_, columns) = writer.values(number, None, None, 21).unwrap();
            let values = vec![SortValue::Integer(1); 1 + columns];
            let place = Cursor { mark: 1, segment: Segment::Sorted, values, key: 2 };
            text.push_str(&writer.values(number, Some(&place), Some(1), 21).unwrap().0.text);
        }
        text.push_str(&writer.total(None).text);
        for include in &plan.includes {
            text.push_str(&writer.include(include, &[1, 2], 9).text);
        }
        text
    }

    const SEARCHES: &[&str] = &[
        "Observation?patient=p1&code=urn:c|c&_sort=-date",
        "Observation?_sort=-date&value-quantity=gt5",
        "Observation?_sort=-_lastUpdated&date=2025",
        "Patient?family:contains=an&_sort=family",
        "Patient?name=jan,piet&family:exact=Jansen",
        "Observation?date=ge2025,lt2024&code=a",
        "Patient?_id=p1,p2",
        "Observation?code-value-quantity=urn:c|c$gt5",
        "CarePlan?subject=Patient/p1&_include=CarePlan:care-team:CareTeam",
        "Condition?subject:missing=true",
        "Patient?_id=p1&_revinclude=Observation:*&_revinclude=*&_include=*&_include:iterate=Observation:performer",
        "Observation?patient.identifier=urn:m|1&encounter.location.name=a",
        "Observation?_text=a (b or \"c d\")&_content=not e*&_content=not f g&patient.organization._content=h&_sort=-code",
        "Patient?_has:Observation:patient:code=c&_has:Observation:patient:value-quantity:missing=true",
    ];

    /// What only one database understands is in no statement of the other; every placeholder has its number.
    #[test]
    fn each_dialect_keeps_to_its_words() {
        for query in SEARCHES {
            let server = written(query, Dialect::Postgres, None);
            for foreign in ["INDEXED", "json_each", "instr(", "sqlite_", "MATCH", "rowid", "?"] {
                assert!(!server.contains(foreign), "{foreign} in {server}");
            }
            assert!(server.contains("$1::bigint"), "{server}");
            let embedded = written(query, Dialect::Sqlite, None);
            for foreign in ["unnest", "strpos", "@@", "::", "$"] {
                assert!(!embedded.contains(foreign), "{foreign} in {embedded}");
            }
        }
    }

    /// On the server every probe names the patient, so that tables spread by patient are joined part by part.
    #[test]
    fn probes_of_the_server_carry_the_patient() {
        let server = written(SEARCHES.first().unwrap(), Dialect::Postgres, None);
        assert!(server.contains("t.patient = r.patient"), "{server}");
        assert!(server.contains("d.patient = $"), "{server}");
    }

    /// After a row without a value only rows without one can come, and no type of nothing has to be guessed.
    #[test]
    fn a_place_without_a_value_binds_none() {
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let text = written("Patient?_sort=family", dialect, Some(vec![SortValue::Null]));
            assert!(text.contains("WHERE (s0 IS NULL AND key > "), "{text}");
            let text = written("Patient?_sort=family", dialect, Some(vec![SortValue::Text("a".to_owned())]));
            assert!(text.contains("OR s0 IS NULL OR (s0 = "), "{text}");
        }
    }
}
