#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::*;
use crate::source::{NodeId, Value};

fn options() -> Options {
    Options { numbers: vec!["waarde".to_owned()], ..Options::default() }
}

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), &options(), Limits::default())
}

fn leaves(parsed: &Parsed) -> Vec<(String, String)> {
    let tree = &parsed.tree;
    tree.leaves().map(|l| (tree.path(l), tree.text(l).unwrap_or("-").to_owned())).collect()
}

fn found(parsed: &Parsed) -> Vec<(&str, &str, u32)> {
    parsed.findings.iter().map(|f| (f.code, f.path.as_str(), f.line)).collect()
}

fn pair(path: &str, value: &str) -> (String, String) {
    (path.to_owned(), value.to_owned())
}

#[test]
fn each_row_has_a_leaf_per_filled_column() {
    let parsed = read("code;waarde\r\nFVC;2,10\r\nSNIP;\r\n");
    assert_eq!(
        leaves(&parsed),
        [pair("row[1].code", "FVC"), pair("row[1].waarde", "2.10"), pair("row[2].code", "SNIP")]
    );
    assert!(parsed.findings.is_empty());
    assert_eq!(parsed.facts.columns, ["code", "waarde"]);
}

#[test]
fn quotes_hold_separators_line_breaks_and_quotes() {
    let text = "code;waarde\n\"a;b\nc \"\"d\"\"\";1\ne;2\n";
    let parsed = read(text);
    assert_eq!(leaves(&parsed).first().unwrap(), &pair("row[1].code", "a;b\nc \"d\""));
    let span = parsed.tree.node(parsed.tree.leaves().next().unwrap()).span;
    assert_eq!(&text[span.start as usize..span.end as usize], "\"a;b\nc \"\"d\"\"\"");
    assert_eq!(leaves(&parsed).len(), 4);
}

#[test]
fn a_ragged_row_is_an_error_for_that_row_only() {
    let parsed = read("code;waarde\nFVC;1\nFVC\nFVC;2;3\nFVC;4\n\n");
    assert_eq!(found(&parsed), [("row-ragged", "row[2]", 3), ("row-ragged", "row[3]", 4)]);
    assert!(parsed.findings.iter().all(|f| f.severity == Severity::Error));
    let paths: Vec<_> = leaves(&parsed).into_iter().map(|(p, _)| p).collect();
    assert_eq!(paths, ["row[1].code", "row[1].waarde", "row[4].code", "row[4].waarde"]);
}

#[test]
fn numbers_take_the_agreed_decimal_sign_and_no_other() {
    let parsed = read("code;waarde\na;0,50\nb;-007,5\nc;1.5\nd;1.234,5\ne;1e3\nf;,5\ng;12\n");
    let values: Vec<_> = parsed
        .tree
        .leaves()
        .filter(|&l| parsed.tree.name(l) == "waarde")
        .map(|l| (matches!(parsed.tree.node(l).value, Value::Number(_)), parsed.tree.text(l)))
        .collect();
    assert_eq!(values[0], (true, Some("0.50")));
    assert_eq!(values[1], (true, Some("-7.5")));
    assert_eq!(values[6], (true, Some("12")));
    let paths: Vec<_> = parsed.findings.iter().map(|f| (f.code, f.path.as_str(), f.line, f.column)).collect();
    assert_eq!(
        paths,
        ["3", "4", "5", "6"].map(|n| n.parse::<u32>().unwrap()).map(|n| {
            (
                "number-invalid",
                ["row[3].waarde", "row[4].waarde", "row[5].waarde", "row[6].waarde"][n as usize - 3],
                n + 1,
                3,
            )
        })
    );
}

#[test]
fn the_header_must_be_whole() {
    for (text, code) in [
        ("", "header-missing"),
        ("code;code\n", "column-duplicate"),
        ("code; code\n", "column-duplicate"),
        ("code;;waarde\n", "column-unnamed"),
        ("code;eenheid\n", "column-missing"),
        ("code;waarde\n\"a;1\nb;2\n", "quote-unclosed"),
    ] {
        let parsed = read(text);
        assert!(parsed.is_fatal());
        assert_eq!(found(&parsed).first().unwrap().0, code, "{text}");
    }
}

#[test]
fn encodings_are_read_or_refused_never_guessed() {
    let windows = Options { encoding: "windows-1252".to_owned(), ..options() };
    let parsed = parse(b"code;waarde\nZo\xEB \x80;1\n", &windows, Limits::default());
    assert_eq!(leaves(&parsed).first().unwrap(), &pair("row[1].code", "Zoë €"));
    let parsed = parse("code;waarde\nx;1\nZoë;1\n".as_bytes(), &windows, Limits::default());
    assert_eq!(found(&parsed), [("charset-contradicted", "", 3)]);
    let parsed = parse(b"code;waarde\nZo\xEB;1\n", &options(), Limits::default());
    assert_eq!(found(&parsed), [("charset-contradicted", "", 2)]);
    let parsed = read("\u{feff}code;waarde\nZoë;1\n");
    assert_eq!(parsed.facts.columns, ["code", "waarde"]);
    assert!(parsed.findings.is_empty());
}

#[test]
fn damaged_rows_are_errors() {
    let parsed = read("code;waarde\na\0;1\n\"a\"b;1\nc;3\n");
    assert_eq!(found(&parsed), [("nul-byte", "row[1]", 2), ("quote-misplaced", "row[2]", 3)]);
    assert_eq!(leaves(&parsed).len(), 2);
}

#[test]
fn rows_of_one_visit_stand_together_wherever_they_are() {
    let options = Options { group_by: vec!["bsn".to_owned(), "datum".to_owned()], ..Options::default() };
    let text = "bsn;datum;code\n1;d;a\n1;d;b\n2;d;c\n1;d;e\n";
    let parsed = parse(text.as_bytes(), &options, Limits::default());
    let tree = &parsed.tree;
    let groups: Vec<Vec<String>> = tree
        .named(tree.root(), "group")
        .map(|g| tree.named(g, "row").map(|r| tree.path(r)).collect())
        .collect();
    assert_eq!(groups, [vec!["row[1]", "row[2]", "row[4]"], vec!["row[3]"]]);
    let span = tree.node(tree.named(tree.root(), "group").next().unwrap()).span;
    assert_eq!(&text[span.start as usize..span.end as usize], "1;d;a\n1;d;b");
}

#[test]
fn lines_of_separators_at_the_end_are_no_rows() {
    let parsed = read("code;waarde\nFVC;1\n;\n;\n");
    assert_eq!(leaves(&parsed).len(), 2);
    assert!(parsed.findings.is_empty());
}

#[test]
fn columns_are_known_before_the_options_are() {
    for text in ["code;waarde\n1;2,5\n", "\u{feff}code,waarde\n", "code\twaarde\r\n", "\"code\";\"waarde\"\n"]
    {
        assert_eq!(facts(text.as_bytes()).columns, ["code", "waarde"], "{text}");
    }
}

proptest! {
    #[test]
    fn any_bytes_parse_without_panic_and_spans_stay_inside(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [b"code;waarde\n".as_slice(), &bytes].concat();
        let options = Options { encoding: "iso-8859-1".to_owned(), ..options() };
        let parsed = parse(&bytes, &options, Limits::default());
        facts(&bytes);
        for id in (0..parsed.tree.len() as u32).map(NodeId) {
            let span = parsed.tree.node(id).span;
            prop_assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
    }

    #[test]
    fn every_row_is_in_the_tree_or_in_a_finding(text in "([a-z0-9,.;\"\n]{0,12}\n){0,12}") {
        let text = format!("code;waarde\n{text}");
        let parsed = read(&text);
        if parsed.is_fatal() {
            return Ok(());
        }
        let mut covered = vec![false; text.len()];
        covered["code;waarde\n".len() - 12.."code;waarde\n".len()].fill(true);
        let spans = parsed.tree.leaves().map(|l| parsed.tree.node(l).span).chain(parsed.findings.iter().map(|f| f.span));
        for span in spans {
            covered[span.start as usize..span.end as usize].fill(true);
        }
        for (at, byte) in text.bytes().enumerate() {
            prop_assert!(covered[at] || b";\n\"".contains(&byte), "byte {at} of {text:?}");
        }
    }
}

#[test]
fn a_header_that_is_an_alias_is_the_column_it_stands_for() {
    let aliases = [("waarde".to_owned(), vec!["Uitslag".to_owned(), "resultaat (getal)".to_owned()])].into();
    let options = Options { aliases, ..options() };
    let read = |text: &str| parse(text.as_bytes(), &options, Limits::default());
    let parsed = read("code;UITSLAG\nFVC;2,10\n");
    assert_eq!(leaves(&parsed), [pair("row[1].code", "FVC"), pair("row[1].waarde", "2.10")]);
    assert_eq!(parsed.facts.columns, ["code", "waarde"]);
    assert!(read("code; Resultaat (getal) \nFVC;2,10\n").findings.is_empty());
    assert_eq!(found(&read("waarde;Uitslag\n1;2\n")).first().unwrap().0, "column-duplicate");
}
