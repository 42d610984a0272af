//! `$unmapped`: the codes and units of a sender no table has a row for, counted, and the same as rows to be filled in.
//!
//! Counted in the transaction of the document they came in, so that a document that was not taken counts for nothing. No
//! personal data: what could be a citizen service number is counted and not kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluis_mappings::codes::fill::{Blank, blank};
use sluis_mappings::finding::Untranslated;

use super::Intake;
use super::digest::sha256_hex;
use super::pages::{self, Pages, Place};
use crate::audit::entry::without_bsn;
use crate::clock::Timestamp;
use crate::connection::request::Parameters;
use crate::decision::Permit;
use crate::ids::PartyKey;
use crate::interaction::write;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Reader, Shelf, Store, StoreError, Writer, document};

/// Codes of one sender that are kept; further ones are counted together.
pub const CODES_MAX: u64 = 10_000;
/// Characters of a code, system or name that are kept; a longer one is no code and counts as withheld.
const TEXT_CHARS_MAX: usize = 200;
/// Codes on one page, and without `_count`.
const PAGE: u32 = 1_000;
/// Rows read from the shelf at once.
const ROWS: u32 = 1_000;
/// Key of the totals; a listing begins after it.
const TOTALS: &str = "";

/// One code, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// Id of the mapping.
    map: String,
    table: String,
    system: String,
    code: String,
    display: String,
    /// Times it came.
    count: u64,
    /// Microseconds since 1970.
    first: i64,
    last: i64,
}

/// Totals of a sender.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Totals {
    /// Codes kept.
    codes: u64,
    /// Times a code came that is not kept for what it may tell of a person.
    withheld: u64,
    /// Times a code came past [`CODES_MAX`].
    beyond: u64,
}

/// Counts what one document had no rows for. `map` is `id|version`.
///
/// Errors: the store's own.
pub(super) fn count<'u>(
    writer: &mut dyn Writer,
    sender: PartyKey,
    map: &str,
    now: Timestamp,
    untranslated: impl Iterator<Item = &'u Untranslated>,
) -> Result<(), StoreError> {
    let map = map.split('|').next().unwrap_or_default();
    let (mut found, mut withheld) = (BTreeMap::<String, Seen>::new(), 0);
    for code in untranslated {
        if !is_code(code) {
            withheld += 1;
            continue;
        }
        let display = Some(&code.display).filter(|text| is_plain(text) && without_bsn(text) == **text);
        let name = sha256_hex(format!("{}|{}", code.system, code.code).as_bytes());
        let seen = found.entry(format!("{map}/{}/{name}", code.table)).or_insert_with(|| Seen {
            map: map.to_owned(),
            table: code.table.clone(),
            system: code.system.clone(),
            code: code.code.clone(),
            display: display.cloned().unwrap_or_default(),
            count: 0,
            first: now.0,
            last: now.0,
        });
        seen.count += 1;
    }
    if found.is_empty() && withheld == 0 {
        return Ok(());
    }
    let mut totals = totals(writer, sender)?;
    let before = (totals.codes, totals.beyond);
    totals.withheld = totals.withheld.saturating_add(withheld);
    for (key, mut seen) in found {
        match document::get::<Seen>(writer, Shelf::Unmapped, sender, &key)? {
            Some(earlier) => {
                seen.count = seen.count.saturating_add(earlier.count);
                seen.first = earlier.first;
            }
            None if totals.codes >= CODES_MAX => {
                totals.beyond = totals.beyond.saturating_add(seen.count);
                continue;
            }
            None => totals.codes += 1,
        }
        document::put(writer, Shelf::Unmapped, sender, &key, &seen)?;
    }
    if withheld > 0 || before != (totals.codes, totals.beyond) {
        document::put(writer, Shelf::Unmapped, sender, TOTALS, &totals)?;
    }
    Ok(())
}

/// Whether it has the form of a code. One without a system may be anything somebody typed: what could be a BSN is none.
fn is_code(code: &Untranslated) -> bool {
    let texts = [&code.system, &code.code];
    let typed = code.system.is_empty() && without_bsn(&code.code) != code.code;
    texts.into_iter().all(|text| is_plain(text)) && !code.code.is_empty() && !typed
}

fn is_plain(text: &str) -> bool {
    text.chars().count() <= TEXT_CHARS_MAX && !text.contains(char::is_control)
}

fn totals(reader: &mut dyn Reader, sender: PartyKey) -> Result<Totals, StoreError> {
    Ok(document::get(reader, Shelf::Unmapped, sender, TOTALS)?.unwrap_or_default())
}

/// What `$unmapped` is asked.
struct Asked {
    map: Option<String>,
    table: Option<String>,
    count: u32,
    after: Option<String>,
}

impl Asked {
    fn parse(parameters: &Parameters) -> Result<Asked, Refusal> {
        let mut asked = Asked { map: None, table: None, count: PAGE, after: None };
        for (name, value) in parameters.pairs.iter() {
            match name.as_str() {
                "map" => asked.map = Some(value.clone()),
                "table" => asked.table = Some(value.clone()),
                "_count" => asked.count = pages::count(value, PAGE, "codes on a page")?,
                "after" => asked.after = Some(value.clone()),
                "_format" | "_pretty" => {}
                other => {
                    let text = "Known here: map, table, _count, after.";
                    return Err(Refusal::new(Reason::ParameterUnknown, text).at(other));
                }
            }
        }
        if asked.table.is_some() && asked.map.is_none() {
            let text = "A table is one of a mapping; name that as well (map).";
            return Err(Refusal::new(Reason::ParameterInvalid, text).at("table"));
        }
        Ok(asked)
    }

    fn question(&self) -> [(&str, &str); 3] {
        [
            ("$unmapped", ""),
            ("map", self.map.as_deref().unwrap_or_default()),
            ("table", self.table.as_deref().unwrap_or_default()),
        ]
    }

    /// Keys of what is asked begin so.
    fn prefix(&self) -> String {
        let table = self.table.as_ref().map(|table| format!("{table}/"));
        let map = self.map.as_ref().map(|map| format!("{map}/{}", table.unwrap_or_default()));
        map.unwrap_or_default()
    }
}

impl Intake {
    /// `$unmapped`: the codes of the own organisation no table has a row for, with counts; those the mappings in force have
    /// one for by now are left out. Parameters, JSON text.
    ///
    /// Errors: `ParameterUnknown`, `ParameterInvalid`; the store's failures.
    pub fn unmapped(
        &self,
        store: &dyn Store,
        permit: &Permit,
        pages: &Pages<'_>,
        parameters: &Parameters,
    ) -> Result<String, Refusal> {
        let asked = Asked::parse(parameters)?;
        let question = asked.question();
        let place = asked.after.as_ref().map(|text| pages.open(text, &question)).transpose()?;
        let after = place.map_or_else(|| asked.prefix(), |place| place.1);
        let count = asked.count as usize;
        let (mut rows, mut known) = (Vec::new(), Totals::default());
        let sender = permit.filter().organisation;
        store
            .read(permit, &mut |reader| {
                known = totals(reader, sender)?;
                rows = self.rows(reader, sender, &asked.prefix(), after.clone(), count + 1)?;
                Ok(())
            })
            .map_err(write::refusal)?;
        let more = rows.len() > count;
        rows.truncate(count);
        let next =
            rows.last().filter(|_| more).and_then(|(key, _)| pages.after(&question, &Place(0, key.clone())));
        Ok(to_parameters(&rows, known, next))
    }

    /// The codes of one table as rows to be filled in: CSV in the form of that code table.
    ///
    /// Errors: `NotFound` for a name that is none of a mapping and table; the store's failures.
    pub fn unmapped_file(&self, store: &dyn Store, permit: &Permit, file: &str) -> Result<String, Refusal> {
        let name = file.strip_suffix(".csv").and_then(|name| name.split_once('.'));
        let (map, table) = name.ok_or_else(Refusal::not_found)?;
        let (prefix, sender) = (format!("{map}/{table}/"), permit.filter().organisation);
        let mut rows = Vec::new();
        store
            .read(permit, &mut |reader| {
                let most = usize::try_from(CODES_MAX).unwrap_or(usize::MAX);
                rows = self.rows(reader, sender, &prefix, prefix.clone(), most)?;
                Ok(())
            })
            .map_err(write::refusal)?;
        let day = |at: i64| Timestamp(at).to_instant().get(..10).unwrap_or_default().to_owned();
        let comments: Vec<String> = rows
            .iter()
            .map(|(_, seen)| format!("{} times, {} to {}", seen.count, day(seen.first), day(seen.last)))
            .collect();
        Ok(blank(rows.iter().zip(&comments).map(|((_, seen), comment)| Blank {
            system: &seen.system,
            code: &seen.code,
            display: &seen.display,
            comment,
        })))
    }

    /// Rows whose key begins so, in order of key, at most `most`: those no table in force answers.
    fn rows(
        &self,
        reader: &mut dyn Reader,
        sender: PartyKey,
        prefix: &str,
        mut after: String,
        most: usize,
    ) -> Result<Vec<(String, Seen)>, StoreError> {
        let maps = self.maps();
        let mut rows = Vec::new();
        loop {
            let page = reader.shelf_list(Shelf::Unmapped, Some(sender), &after, ROWS)?;
            let Some((_, last, _)) = page.last() else { return Ok(rows) };
            after.clone_from(last);
            for (_, key, kept) in page {
                if rows.len() >= most || !key.starts_with(prefix) {
                    return Ok(rows);
                }
                let seen: Seen = document::decode(Shelf::Unmapped, &kept)?;
                if !maps.answers(&seen.map, &seen.table, &seen.system, &seen.code) {
                    rows.push((key, seen));
                }
            }
        }
    }
}

fn to_parameters(rows: &[(String, Seen)], totals: Totals, next: Option<String>) -> String {
    let mut told = Vec::new();
    for (name, count) in [("withheld", totals.withheld), ("notKept", totals.beyond)] {
        if count > 0 {
            told.push(json!({ "name": name, "valueInteger": i32::try_from(count).unwrap_or(i32::MAX) }));
        }
    }
    let mut tables: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (_, seen) in rows {
        *tables.entry((&seen.map, &seen.table)).or_default() += 1;
    }
    for ((map, table), codes) in tables {
        let mut part = vec![
            json!({ "name": "map", "valueString": map }),
            json!({ "name": "table", "valueString": table }),
            json!({ "name": "codes", "valueInteger": codes }),
        ];
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if table.chars().all(plain) {
            part.push(json!({ "name": "file", "valueUri": format!("$unmapped/{map}.{table}.csv") }));
        }
        told.push(json!({ "name": "table", "part": part }));
    }
    told.extend(rows.iter().map(|(_, seen)| to_part(seen)));
    told.extend(next.map(|link| json!({ "name": "next", "valueString": link })));
    to_resource(told)
}

/// A Parameters resource. One without any is valid, an empty list is not (FHIR R4 json.html).
pub(super) fn to_resource(told: Vec<Value>) -> String {
    match told.is_empty() {
        true => json!({ "resourceType": "Parameters" }).to_string(),
        false => json!({ "resourceType": "Parameters", "parameter": told }).to_string(),
    }
}

fn to_part(seen: &Seen) -> Value {
    let said = [
        ("map", &seen.map),
        ("table", &seen.table),
        ("system", &seen.system),
        ("code", &seen.code),
        ("display", &seen.display),
    ];
    let said = said.into_iter().filter(|(_, text)| !text.trim().is_empty());
    let mut part: Vec<Value> =
        said.map(|(name, text)| json!({ "name": name, "valueString": text })).collect();
    part.push(json!({ "name": "count", "valueInteger": i32::try_from(seen.count).unwrap_or(i32::MAX) }));
    part.push(json!({ "name": "firstSeen", "valueInstant": Timestamp(seen.first).to_instant() }));
    part.push(json!({ "name": "lastSeen", "valueInstant": Timestamp(seen.last).to_instant() }));
    json!({ "name": "code", "part": part })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(system: &str, code: &str) -> Untranslated {
        let [table, system, code, display] = ["t", system, code, ""].map(str::to_owned);
        Untranslated { table, system, code, display }
    }

    #[test]
    fn what_could_be_a_number_of_a_person_is_no_code_unless_a_system_says_so() {
        assert!(is_code(&code("", "SNIF")) && is_code(&code("http://snomed.info/sct", "999911120")));
        assert!(!is_code(&code("", "999911120")) && !is_code(&code("", "pat 999911120")));
        assert!(!is_code(&code("", &"x".repeat(TEXT_CHARS_MAX + 1))) && !is_code(&code("", "a\u{0}")));
    }
}
