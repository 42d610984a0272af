//! Code tables of the library: what the tables of HL7v2 become in FHIR, the same for every sender.
//!
//! A folder that declares a table of the same name goes before it, row by row: what the sender says of a code counts, and
//! the library answers for the rest. No I/O; the texts are built in.

use std::sync::LazyLock;

use crate::codes::{CodeTable, CodeTables};

/// Tables every sender's map may use: (name, text). Named after the HL7 table, and after the element where one table
/// becomes two.
pub const LIBRARY_TABLES: [(&str, &str); 37] = [
    ("units", include_str!("../../lib/v2/codes/units.csv")),
    ("v2-0001", include_str!("../../lib/v2/codes/v2-0001.csv")),
    ("v2-0002", include_str!("../../lib/v2/codes/v2-0002.csv")),
    ("v2-0004-class", include_str!("../../lib/v2/codes/v2-0004-class.csv")),
    ("v2-0004-status", include_str!("../../lib/v2/codes/v2-0004-status.csv")),
    ("v2-0007", include_str!("../../lib/v2/codes/v2-0007.csv")),
    ("v2-0009", include_str!("../../lib/v2/codes/v2-0009.csv")),
    ("v2-0038", include_str!("../../lib/v2/codes/v2-0038.csv")),
    ("v2-0052", include_str!("../../lib/v2/codes/v2-0052.csv")),
    ("v2-0063", include_str!("../../lib/v2/codes/v2-0063.csv")),
    ("v2-0074", include_str!("../../lib/v2/codes/v2-0074.csv")),
    ("v2-0078", include_str!("../../lib/v2/codes/v2-0078.csv")),
    ("v2-0080", include_str!("../../lib/v2/codes/v2-0080.csv")),
    ("v2-0085", include_str!("../../lib/v2/codes/v2-0085.csv")),
    ("v2-0119", include_str!("../../lib/v2/codes/v2-0119.csv")),
    ("v2-0123", include_str!("../../lib/v2/codes/v2-0123.csv")),
    ("v2-0127-category", include_str!("../../lib/v2/codes/v2-0127-category.csv")),
    ("v2-0127-type", include_str!("../../lib/v2/codes/v2-0127-type.csv")),
    ("v2-0128-criticality", include_str!("../../lib/v2/codes/v2-0128-criticality.csv")),
    ("v2-0128-severity", include_str!("../../lib/v2/codes/v2-0128-severity.csv")),
    ("v2-0131", include_str!("../../lib/v2/codes/v2-0131.csv")),
    ("v2-0136", include_str!("../../lib/v2/codes/v2-0136.csv")),
    ("v2-0136-specimen", include_str!("../../lib/v2/codes/v2-0136-specimen.csv")),
    ("v2-0190-type", include_str!("../../lib/v2/codes/v2-0190-type.csv")),
    ("v2-0190-use", include_str!("../../lib/v2/codes/v2-0190-use.csv")),
    ("v2-0200", include_str!("../../lib/v2/codes/v2-0200.csv")),
    ("v2-0201", include_str!("../../lib/v2/codes/v2-0201.csv")),
    ("v2-0202", include_str!("../../lib/v2/codes/v2-0202.csv")),
    ("v2-0217", include_str!("../../lib/v2/codes/v2-0217.csv")),
    ("v2-0271", include_str!("../../lib/v2/codes/v2-0271.csv")),
    ("v2-0272", include_str!("../../lib/v2/codes/v2-0272.csv")),
    ("v2-0273", include_str!("../../lib/v2/codes/v2-0273.csv")),
    ("v2-0291", include_str!("../../lib/v2/codes/v2-0291.csv")),
    ("v2-0363", include_str!("../../lib/v2/codes/v2-0363.csv")),
    ("v2-0396", include_str!("../../lib/v2/codes/v2-0396.csv")),
    ("v2-0485", include_str!("../../lib/v2/codes/v2-0485.csv")),
    ("v2-0493", include_str!("../../lib/v2/codes/v2-0493.csv")),
];

static TABLES: LazyLock<CodeTables> = LazyLock::new(|| library_tables(&LIBRARY_TABLES));

/// Tables of a library, given as name and text. One that does not load is left out: those built in are read by a test.
pub fn library_tables(texts: &[(&str, &str)]) -> CodeTables {
    let load = |(name, text): &(&str, &str)| {
        let table = CodeTable::load(name, &format!("lib/v2/codes/{name}.csv"), text.as_bytes(), &[]).ok()?;
        Some(((*name).to_owned(), table))
    };
    texts.iter().filter_map(load).collect()
}

/// The tables built in.
pub(super) fn library() -> &'static CodeTables {
    &TABLES
}

/// Adds to a folder's tables what the library knows and they do not.
pub(super) fn complete(codes: &mut CodeTables, library: &CodeTables) {
    for (name, table) in library {
        codes.entry(name.clone()).and_modify(|own| own.extend(table)).or_insert_with(|| table.clone());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::codes::{HEADER, Lookup};

    #[test]
    fn every_table_of_the_library_loads() {
        for (name, text) in LIBRARY_TABLES {
            CodeTable::load(name, name, text.as_bytes(), &[]).unwrap();
        }
        assert_eq!(TABLES.len(), LIBRARY_TABLES.len());
    }

    #[test]
    fn what_a_sender_says_of_a_code_goes_before_the_library() {
        let own = format!(
            "{}\n,liter,,http://unitsofmeasure.org,L,L,equivalent,\n,kg,,,,,noMap,\n",
            HEADER.join(",")
        );
        let own = CodeTable::load("units", "codes/units.csv", own.as_bytes(), &[]).unwrap();
        let mut codes = CodeTables::from([("units".to_owned(), own)]);
        complete(&mut codes, library());
        let code = |unit: &str| match codes["units"].lookup("", unit) {
            Lookup::Mapped(row) => row.target_code.clone(),
            Lookup::NoMap => "none".to_owned(),
            Lookup::Unmapped => "?".to_owned(),
        };
        assert_eq!(["liter", "kg", "mmHg", "ell"].map(code), ["L", "none", "mm[Hg]", "?"]);
        assert!(codes.contains_key("v2-0085"));
    }
}
