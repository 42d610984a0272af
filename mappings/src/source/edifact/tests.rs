#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::*;

const LAB: &str = "UNB+UNOC:1+500000101+500000201+260831:0930+R1'\r\nUNH+M1+MEDLAB:1'\r\nPID+1961:04:18+V+Hek:van ?'t++BSN999911120'\r\nBEP:1:1:2+0+CRP+7.4++mg/l++4+10+CRP'\r\nUNT+4+M1'\r\nUNZ+1+R1'\r\n";

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), None, Limits::default())
}

fn leaves(parsed: &Parsed) -> Vec<(String, String)> {
    let tree = &parsed.tree;
    tree.leaves().map(|leaf| (tree.path(leaf), tree.text(leaf).unwrap_or("-").to_owned())).collect()
}

fn codes(text: &str) -> Vec<&'static str> {
    read(text).findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn segments_elements_and_components_have_names_and_places() {
    let parsed = read(LAB);
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    let leaves = leaves(&parsed);
    let has = |path: &str, text: &str| {
        assert!(leaves.contains(&(path.to_owned(), text.to_owned())), "{path}: {leaves:?}")
    };
    has("PID[1].PID_1.C1", "1961");
    has("PID[1].PID_3.C2", "van 't");
    has("PID[1].PID_5", "BSN999911120");
    has("BEP[1].BEP_0.C3", "2");
    has("BEP[1].BEP_3", "7.4");
    assert_eq!(parsed.facts.message_type.as_deref(), Some("MEDLAB:1"));
    assert_eq!(parsed.facts.control_id.as_deref(), Some("R1/M1"));
    for leaf in parsed.tree.leaves() {
        let span = parsed.tree.node(leaf).span;
        let raw = &LAB[span.start as usize..span.end as usize];
        assert_eq!(raw.replace("?'", "'"), parsed.tree.text(leaf).unwrap());
    }
}

#[test]
fn una_gives_other_separators_and_its_own_release() {
    let text = "UNA;*.! ~UNH*1*MEDLAB;1~BEP;1*a!*b;c~UNT*3*1~";
    let parsed = read(text);
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    let leaves = leaves(&parsed);
    assert!(leaves.contains(&("BEP[1].BEP_1.C1".to_owned(), "a*b".to_owned())), "{leaves:?}");
    assert!(leaves.contains(&("BEP[1].BEP_0".to_owned(), "1".to_owned())), "{leaves:?}");
    assert_eq!(codes("UNA++.? 'UNH+1+X'UNT+2+1'"), ["separators-unusable"]);
}

#[test]
fn what_is_cut_off_is_refused_and_sloppy_references_are_named() {
    assert_eq!(codes(&LAB.replace("UNT+4+M1'", "UNT+5+M1'")), ["count-differs"]);
    assert_eq!(codes(&LAB.replace("UNZ+1", "UNZ+2")), ["count-differs"]);
    assert_eq!(codes(&LAB.replace("UNT+4+M1'\r\n", "")), ["message-truncated"]);
    assert_eq!(codes(LAB.trim_end().trim_end_matches('\'')), ["segment-truncated"]);
    assert_eq!(codes(&LAB.replace("UNZ+1+R1'\r\n", "")), ["message-truncated"]);
    assert_eq!(codes(&LAB.replace("UNT+4+M1'", "UNT+4+X'")), ["reference-differs"]);
    assert_eq!(codes(&LAB.replace("UNB+", "ABC+1'UNB+")), ["segment-outside"]);
    assert_eq!(codes(""), ["message-missing"]);
    // A message without an envelope is whole by its own count.
    assert_eq!(codes("UNH+1+MEDVRI:1'TXT:1+Beste collega'UNT+3+1'"), [] as [&str; 0]);
    assert_eq!(codes("UNH+1+MEDVRI:1'TXT+a'UNH+2+MEDVRI:1'UNT+2+2'"), ["message-truncated"]);
}

#[test]
fn letters_beyond_the_syntax_are_refused_unless_agreed_on() {
    let latin: Vec<u8> =
        LAB.replace("UNOC", "UNOA").replace("Hek", "H\u{eb}k").chars().map(|c| c as u8).collect();
    let refused = parse(&latin, None, Limits::default());
    assert_eq!(refused.findings.iter().map(|f| f.code).collect::<Vec<_>>(), ["charset-contradicted"]);
    let agreed = parse(&latin, Some(Charset::Latin1), Limits::default());
    assert!(agreed.findings.is_empty() && leaves(&agreed).iter().any(|(_, text)| text == "H\u{eb}k"));
}

#[test]
fn limits_refuse_the_document() {
    let limits = Limits { nodes_max: 8, ..Limits::default() };
    let parsed = parse(LAB.as_bytes(), None, limits);
    assert!(parsed.is_fatal() && parsed.findings[0].code == "document-too-large");
    let limits = Limits { bytes_max: 8, ..Limits::default() };
    assert!(parse(LAB.as_bytes(), None, limits).is_fatal());
}

proptest! {
    #[test]
    fn whatever_the_bytes_are_they_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = parse(&bytes, None, Limits::default());
        for leaf in parsed.tree.leaves() {
            let span = parsed.tree.node(leaf).span;
            prop_assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
        facts(&bytes);
    }
}
