//! Rows for a code table that somebody fills in: written without a target, read back with one.
//!
//! The form is that of a code table, so that a filled row is a row. What was not filled in stays out and is counted; what a
//! spreadsheet makes of the file (semicolons, a byte order mark, windows-1252) is taken as it comes.

use super::{CodeTable, HEADER, Relationship, row};
use crate::folder::Diagnostic;

/// A code without a translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blank<'b> {
    /// Code system as the source names it.
    pub system: &'b str,
    /// Code as the source sends it.
    pub code: &'b str,
    /// What the source calls it.
    pub display: &'b str,
    /// For whoever fills it in.
    pub comment: &'b str,
}

/// Rows to be filled in, with their header: CSV, UTF-8 with a byte order mark, by which spreadsheets know it.
pub fn blank<'b>(rows: impl IntoIterator<Item = Blank<'b>>) -> String {
    let mut writer = csv::Writer::from_writer(b"\xEF\xBB\xBF".to_vec());
    // Writing to memory does not fail.
    let _ = writer.write_record(HEADER);
    for row in rows {
        let _ = writer.write_record([row.system, row.code, row.display, "", "", "", "", row.comment]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// A table with what was filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The table file: its bytes as they were, and the new rows behind them.
    pub table: Vec<u8>,
    /// Rows that are new.
    pub added: usize,
    /// Rows the table has already, with the same target.
    pub known: usize,
    /// Rows without a target: not filled in yet.
    pub open: usize,
}

/// Takes filled rows into a table. `file` and `filled_file` are their paths, for messages.
///
/// Errors: what is wrong with either, line by line; a code the table translates otherwise; nothing is taken then.
pub fn fill(
    file: &str,
    table: &[u8],
    filled_file: &str,
    filled: &[u8],
    allowed: &[Relationship],
) -> Result<Filled, Vec<Diagnostic>> {
    let before = CodeTable::load("", file, table, allowed)?;
    let text = decoded(filled);
    let separator = separator(&text);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(text.as_bytes());
    match reader.headers() {
        Ok(header) if header.iter().eq(HEADER) => {}
        _ => {
            let remedy = format!("keep the header `{}`", HEADER.join(","));
            return Err(vec![Diagnostic::new(
                filled_file,
                1,
                "the header is not that of a code table",
                remedy,
            )]);
        }
    }
    let (mut errors, mut added, mut known, mut open) = (Vec::new(), Vec::new(), 0, 0);
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                errors.push(super::unreadable(filled_file, &error));
                continue;
            }
        };
        let line = record.position().map_or(0, |p| u32::try_from(p.line()).unwrap_or(u32::MAX));
        if record.iter().skip(3).take(4).all(|cell| cell.trim().is_empty()) {
            open += 1;
            continue;
        }
        match row(&record, line) {
            Err((_, message, remedy)) => errors.push(Diagnostic::new(filled_file, line, message, remedy)),
            Ok(row) => {
                match before.rows().iter().find(|r| (&r.system, &r.code) == (&row.system, &row.code)) {
                    None => added.push(row),
                    Some(there)
                        if (&there.target_system, &there.target_code, there.relationship)
                            == (&row.target_system, &row.target_code, row.relationship) =>
                    {
                        known += 1
                    }
                    Some(there) => errors.push(Diagnostic::new(
                        filled_file,
                        line,
                        format!(
                            "code `{}` of system `{}` is translated otherwise in {file}:{}",
                            row.code, row.system, there.line
                        ),
                        "mend the row there, or take this one out",
                    )),
                }
            }
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let count = added.len();
    let mut whole = table.to_vec();
    if !whole.ends_with(b"\n") {
        whole.push(b'\n');
    }
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(whole);
    for row in added {
        let cells = [
            &row.system,
            &row.code,
            &row.display,
            &row.target_system,
            &row.target_code,
            &row.target_display,
            row.relationship.as_str(),
            &row.comment,
        ];
        // Writing to memory does not fail.
        let _ = writer.write_record(cells);
    }
    let whole = writer.into_inner().unwrap_or_default();
    // A code twice among the filled rows shows here, with both lines.
    CodeTable::load("", file, &whole, allowed)?;
    Ok(Filled { table: whole, added: count, known, open })
}

/// UTF-8, else what Dutch spreadsheets save.
fn decoded(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// A spreadsheet in Dutch writes semicolons between cells.
fn separator(text: &str) -> u8 {
    let header = text.lines().next().unwrap_or_default();
    if header.matches(';').count() > header.matches(',').count() { b';' } else { b',' }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use super::*;
    use crate::codes::Lookup;

    const TABLE: &str = "system,code,display,target_system,target_code,target_display,relationship,comment\n\
        99ALS,FVC,FVC,http://loinc.org,19868-9,Forced vital capacity,equivalent,";

    fn blanks() -> String {
        let of = |code, display| Blank { system: "99ALS", code, display, comment: "3 times" };
        blank([of("SNIF", "Sniff, \"neus\""), of("MIP", "MIP é"), of("TEKST", "")])
    }

    fn filled(text: &str) -> Result<Filled, Vec<Diagnostic>> {
        fill("codes/tests.csv", TABLE.as_bytes(), "in.csv", text.as_bytes(), &[])
    }

    #[test]
    fn what_was_filled_in_stands_in_the_table_and_the_rest_waits() {
        let text = blanks()
            .replace(
                "\"Sniff, \"\"neus\"\"\",,,,",
                "\"Sniff, \"\"neus\"\"\",http://loinc.org,1-1,SNIP,equivalent",
            )
            .replace("TEKST,,,,,", "TEKST,,,,,noMap");
        let done = filled(&text).unwrap();
        assert_eq!((done.added, done.known, done.open), (2, 0, 1));
        let table = CodeTable::load("tests", "codes/tests.csv", &done.table, &[]).unwrap();
        let snif = table.rows().iter().find(|row| row.code == "SNIF").unwrap();
        assert_eq!(
            (&*snif.display, &*snif.target_code, &*snif.comment),
            ("Sniff, \"neus\"", "1-1", "3 times")
        );
        assert_eq!(table.lookup("99ALS", "TEKST"), Lookup::NoMap);
        assert_eq!(table.lookup("99ALS", "MIP"), Lookup::Unmapped);
        assert!(done.table.starts_with(TABLE.as_bytes()), "what was there is as it was");
        // The same file once more changes nothing.
        let again = fill("codes/tests.csv", &done.table, "in.csv", text.as_bytes(), &[]).unwrap();
        assert_eq!((again.added, again.known, again.open), (0, 2, 1));
        assert_eq!(again.table, done.table);
    }

    #[test]
    fn a_spreadsheet_may_write_semicolons_and_its_own_character_set() {
        let text = blanks().trim_start_matches('\u{FEFF}').replace("\"Sniff, \"\"neus\"\"\"", "Sniff");
        let text = text.replace(',', ";").replace("MIP é;;;;", "MIP é;http://loinc.org;2-2;MIP;wider");
        let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
        let done = fill("codes/tests.csv", TABLE.as_bytes(), "in.csv", &latin, &[]).unwrap();
        assert_eq!((done.added, done.open), (1, 2));
        assert!(String::from_utf8(done.table).unwrap().contains("MIP é,http://loinc.org,2-2"));
    }

    #[test]
    fn half_filled_and_contradicting_rows_are_refused_with_their_line() {
        for (from, to, says) in [
            ("MIP é,,,,", "MIP é,http://loinc.org,2-2,,", "relationship"),
            ("MIP é,,,,", "MIP é,http://loinc.org,,,equal", "without target code"),
            ("SNIF", "FVC", "translated otherwise"),
        ] {
            let mut text = blanks().replace(from, to);
            text = text.replace("FVC,\"Sniff, \"\"neus\"\"\",,,,", "FVC,x,http://loinc.org,9-9,,equal");
            let errors = filled(&text).unwrap_err();
            assert!(errors.iter().any(|e| e.line > 1 && e.message.contains(says)), "{says}: {errors:?}");
        }
        assert_eq!(filled("code;naam\nx;y\n").unwrap_err().first().unwrap().line, 1);
    }
}
