//! Index entries of one resource as rows.
//!
//! References are brought to one spelling, so that every way to write one is found by equality; systems are interned;
//! text is normalised. A component of a composite stands in the table of its kind under a facet of its own, the
//! repetition it belongs to in `part`. Words of texts are in a table of their own, where the settings want them.

use std::collections::HashMap;
use std::sync::Arc;

use sluis_conformance::definitions;
use sluis_conformance::json::Node;
use sluis_conformance::path::{self, Entry, IndexValue, Precise, ReferenceTarget};

use super::Session;
use super::base::{Kind, Table, values};
use crate::ids::ResourceType;
use crate::search::sql::{Dialect, Names, indexed, mirrored, typed};
use crate::search::text::normalise;
use crate::search::unit::{Canonical, UCUM};
use crate::search::words::Indexed;
use crate::store::StoreError;

/// Interned systems kept at hand; there are few, unless senders make them up.
const SYMBOLS_MAX: usize = 10_000;

/// Units kept at hand.
const UNITS_MAX: usize = 1_000;

/// Where an entry goes.
#[derive(Clone, Copy)]
struct Place {
    row: i64,
    facet: i64,
    part: i64,
    patient: i64,
}

static TOKEN: Table = Table {
    name: "index_token",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("code", Kind::Text),
        ("system", Kind::Integer),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_token (row, facet, part, code, system, patient) VALUES (?,?,?,?,?,?)",
    sqlite_columns: 6,
};
static STRING: Table = Table {
    name: "index_string",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("value", Kind::Text),
        ("exact", Kind::Text),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_string (row, facet, part, value, exact) VALUES (?,?,?,?,?)",
    sqlite_columns: 5,
};
static DATE: Table = Table {
    name: "index_date",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("low", Kind::Integer),
        ("high", Kind::Integer),
        ("edge", Kind::Small),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_date (row, facet, part, low, high, edge, patient) VALUES (?,?,?,?,?,?,?)",
    sqlite_columns: 7,
};
static NUMBER: Table = Table {
    name: "index_number",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("value", Kind::Real),
        ("low", Kind::Real),
        ("high", Kind::Real),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_number (row, facet, part, value, low, high) VALUES (?,?,?,?,?,?)",
    sqlite_columns: 6,
};
static QUANTITY: Table = Table {
    name: "index_quantity",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("value", Kind::Real),
        ("low", Kind::Real),
        ("high", Kind::Real),
        ("system", Kind::Integer),
        ("code", Kind::Text),
        ("unit", Kind::Text),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_quantity (row, facet, part, value, low, high, system, code, unit) VALUES (?,?,?,?,?,?,?,?,?)",
    sqlite_columns: 9,
};
static REFERENCE: Table = Table {
    name: "index_reference",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("id", Kind::Text),
        ("kind", Kind::Small),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_reference (row, facet, part, id, kind) VALUES (?,?,?,?,?)",
    sqlite_columns: 5,
};
static URI: Table = Table {
    name: "index_uri",
    columns: &[
        ("row", Kind::Integer),
        ("facet", Kind::Small),
        ("part", Kind::Small),
        ("value", Kind::Text),
        ("patient", Kind::Integer),
    ],
    sqlite: "INSERT OR IGNORE INTO index_uri (row, facet, part, value) VALUES (?,?,?,?)",
    sqlite_columns: 4,
};

/// Words of texts. In the embedded database the table is one of FTS5, which has no further columns.
static TEXT: Table = Table {
    name: "index_text",
    columns: &[("row", Kind::Integer), ("words", Kind::Words), ("patient", Kind::Integer)],
    sqlite: "INSERT INTO index_text (rowid, narrative, rest) VALUES (?,?,?)",
    sqlite_columns: 3,
};

const ERASE: [&str; 7] = [
    "DELETE FROM index_token WHERE row = $1",
    "DELETE FROM index_string WHERE row = $1",
    "DELETE FROM index_date WHERE row = $1",
    "DELETE FROM index_number WHERE row = $1",
    "DELETE FROM index_quantity WHERE row = $1",
    "DELETE FROM index_reference WHERE row = $1",
    "DELETE FROM index_uri WHERE row = $1",
];

impl Session<'_> {
    /// Removes all entries of a row.
    pub(super) fn erase_entries(&self, row: i64) -> Result<(), StoreError> {
        for statement in ERASE {
            self.base.execute(statement, values![row])?;
        }
        self.base.execute(
            match self.base.dialect() {
                Dialect::Sqlite => "DELETE FROM index_text WHERE rowid = $1",
                Dialect::Postgres => "DELETE FROM index_text WHERE row = $1",
            },
            values![row],
        )?;
        Ok(())
    }

    /// Writes the words of a row's texts, where the settings have them indexed.
    pub(super) fn write_words(&self, row: i64, patient: i64, root: Node<'_>) -> Result<(), StoreError> {
        if !self.bounds.content {
            return Ok(());
        }
        let words = Indexed::of(&path::texts(definitions::r4(), root));
        if words.is_empty() {
            return Ok(());
        }
        match self.base.dialect() {
            Dialect::Sqlite => self.base.add(&TEXT, values![row, &*words.narrative, &*words.rest]),
            Dialect::Postgres => self.base.add(&TEXT, values![row, &*words.vector(), patient]),
        }
    }

    /// Writes the entries of a row.
    pub(super) fn write_entries(
        &mut self,
        kind: ResourceType,
        row: i64,
        patient: i64,
        entries: &[Entry<'_>],
    ) -> Result<(), StoreError> {
        let mut repetitions: HashMap<_, i64> = HashMap::new();
        let mut dates: Vec<(i64, i64, i64)> = Vec::new();
        for entry in entries {
            match &entry.value {
                IndexValue::Composite(parts) => {
                    let part = repetitions.entry(entry.parameter).or_insert(0);
                    *part += 1;
                    for (at, value) in parts.iter().enumerate() {
                        let facet = self.names.facet(kind, entry.parameter, Some(at));
                        self.write_entry(Place { row, facet, part: *part, patient }, value)?;
                    }
                }
                value => {
                    let facet = self.names.facet(kind, entry.parameter, None);
                    match value {
                        IndexValue::Date { low_us, high_us } => dates.push((facet, *low_us, *high_us)),
                        value => self.write_entry(Place { row, facet, part: 0, patient }, value)?,
                    }
                }
            }
        }
        dates.sort_unstable();
        dates.dedup();
        for (at, (facet, low, high)) in dates.iter().enumerate() {
            let other = |at: Option<usize>| at.and_then(|at| dates.get(at)).is_none_or(|d| d.0 != *facet);
            let edge = i64::from(other(at.checked_sub(1))) + 2 * i64::from(other(Some(at + 1)));
            self.write_date(Place { row, facet: *facet, part: 0, patient }, *low, *high, edge)?;
        }
        Ok(())
    }

    fn write_entry(&mut self, place: Place, value: &IndexValue<'_>) -> Result<(), StoreError> {
        let Place { row, facet, part, patient } = place;
        // Facet 0: `_id`, `_lastUpdated` and what has no index.
        if facet == 0 {
            return Ok(());
        }
        match value {
            IndexValue::String(text) => self.write_string(place, text)?,
            IndexValue::Token { system, code, text } => {
                self.write_token(place, system.as_deref(), code.as_deref().unwrap_or(""))?;
                // `:text` is a search of strings under the token's own facet (FHIR R4 search.html#token).
                if let Some(text) = text.as_deref().filter(|_| part == 0) {
                    self.write_string(place, text)?;
                }
            }
            IndexValue::Typed { system, code, value } => {
                let place = Place { part: 1, ..place };
                self.write_token(place, system.as_deref(), &typed(code, value))?;
            }
            IndexValue::Date { low_us, high_us } => self.write_date(place, *low_us, *high_us, 0)?,
            IndexValue::Number(number) => {
                let Some((value, low, high)) = span(number) else { return Ok(()) };
                self.base.add(&NUMBER, values![row, facet, part, value, low, high, patient])?;
            }
            IndexValue::Quantity { value, system: of, code, unit } => {
                let Some((value, low, high)) = span(value) else { return Ok(()) };
                let of = of.as_deref();
                let system = self.symbol(of)?;
                let (code, unit) = (code.as_deref().unwrap_or(""), unit.as_deref().unwrap_or(""));
                let given = values![row, facet, part, value, low, high, system, code, unit, patient];
                self.base.add(&QUANTITY, given)?;
                if let Some(canonical) = self.canonical(of, code)?
                    && let (Some(value), Some(low), Some(high)) =
                        (canonical.convert(value), canonical.convert(low), canonical.convert(high))
                {
                    let (part, code) = (mirrored(part), &*canonical.unit);
                    let row = values![row, facet, part, value, low, high, system, code, "", patient];
                    self.base.add(&QUANTITY, row)?;
                }
            }
            IndexValue::Reference(ReferenceTarget::Relative { type_, id, .. }) => {
                self.write_reference(place, self.names.kind(*type_), id)?;
            }
            IndexValue::Reference(ReferenceTarget::Absolute { url, tail }) => {
                let own = url.strip_prefix(self.bounds.address).is_some_and(|rest| rest.starts_with('/'));
                match tail {
                    Some((type_, id, _)) if own => {
                        self.write_reference(place, self.names.kind(*type_), id)?
                    }
                    _ => self.write_reference(place, 0, url)?,
                }
            }
            IndexValue::Reference(ReferenceTarget::Identifier { system, value }) => {
                self.write_token(place, system.as_deref(), value)?;
            }
            IndexValue::Uri(uri) => {
                self.base.add(&URI, values![row, facet, part, &**uri, patient])?;
                // A canonical address is found with and without its version (FHIR R4 references.html#canonical).
                if let Some((address, _)) = uri.split_once('|') {
                    self.base.add(&URI, values![row, facet, part, address, patient])?;
                }
            }
            // A composite has no composite among its components.
            IndexValue::Composite(_) => {}
        }
        Ok(())
    }

    fn write_string(&mut self, place: Place, text: &str) -> Result<(), StoreError> {
        let Place { row, facet, part, patient } = place;
        let normal = normalise(text);
        self.base.add(&STRING, values![row, facet, part, &*normal, text, patient])
    }

    fn write_token(&mut self, place: Place, system: Option<&str>, code: &str) -> Result<(), StoreError> {
        let system = self.symbol(system.filter(|_| !code.is_empty()))?;
        let Place { row, facet, part, patient } = place;
        self.base.add(&TOKEN, values![row, facet, part, code, system, patient])
    }

    fn write_date(&self, place: Place, low: i64, high: i64, edge: i64) -> Result<(), StoreError> {
        if place.facet == 0 {
            return Ok(());
        }
        let Place { row, facet, part, patient } = place;
        self.base.add(&DATE, values![row, facet, part, low, high, edge, patient])
    }

    fn write_reference(&self, place: Place, kind: i64, id: &str) -> Result<(), StoreError> {
        let Place { row, facet, part, patient } = place;
        self.base.add(&REFERENCE, values![row, facet, part, id, kind, patient])
    }

    /// The canonical unit of a unit, if it has one.
    fn canonical(&mut self, system: Option<&str>, code: &str) -> Result<Option<Arc<Canonical>>, StoreError> {
        if system != Some(UCUM) {
            return Ok(None);
        }
        let units = &mut self.pen()?.hand.units;
        if let Some(known) = units.get(code) {
            return Ok(known.clone());
        }
        let canonical = Canonical::of(system, code).map(Arc::new);
        if units.len() >= UNITS_MAX {
            units.clear();
        }
        units.insert(code.to_owned(), canonical.clone());
        Ok(canonical)
    }

    /// Number of a system, given on first use; 0 for none.
    fn symbol(&mut self, text: Option<&str>) -> Result<i64, StoreError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(0) };
        let base = self.base;
        let text = match base.dialect() {
            Dialect::Sqlite => text,
            Dialect::Postgres => indexed(text),
        };
        let symbols = &mut self.pen()?.hand.symbols;
        if let Some(key) = symbols.get(text) {
            return Ok(*key);
        }
        let known =
            base.one("SELECT key FROM symbol WHERE text = $1", values![text], |row| row.integer(0))?;
        let key = match known {
            Some(key) => key,
            None => base.insert("INSERT INTO symbol (text) VALUES ($1)", values![text])?,
        };
        if symbols.len() >= SYMBOLS_MAX {
            symbols.clear();
        }
        symbols.insert(text.to_owned(), key);
        Ok(key)
    }
}

/// Value, low and high of a number: a point, unless a comparator or a Range opens a side.
///
/// What the digits leave open does not count on the stored side (FHIR R4 search.html#number). `None`: not a finite one.
fn span(number: &Precise<'_>) -> Option<(f64, f64, f64)> {
    let Precise { value, low, high, .. } = *number;
    if !value.is_finite() || low.is_nan() || high.is_nan() {
        return None;
    }
    let below = value - low;
    let above = high - value;
    let point = (above - below).abs() <= 1e-6 * above.abs().max(below.abs());
    Some(match (low.is_infinite(), high.is_infinite()) {
        (true, true) => (value, low, high),
        (true, false) => (value, low, value),
        (false, true) => (value, value, high),
        (false, false) if point => (value, value, value),
        (false, false) => (value, value, high),
    })
}
