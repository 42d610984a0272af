#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), Limits::default())
}

/// Path and value of each leaf, and that its span holds what it says.
fn leaves(parsed: &Parsed) -> Vec<(String, String)> {
    let tree = &parsed.tree;
    tree.leaves().map(|leaf| (tree.path(leaf), tree.text(leaf).unwrap_or("-").to_owned())).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn elements_attributes_and_text_each_have_their_place() {
    let text = "<a><b x=\"1\">tekst</b><b/><c>een <i>twee</i> drie</c></a>";
    let parsed = read(text);
    assert_eq!(
        leaves(&parsed),
        pairs(&[
            ("b[1]", "tekst"),
            ("b[1].x", "1"),
            ("b[2]", "-"),
            ("c.xmlText[1]", "een "),
            ("c.i", "twee"),
            ("c.xmlText[2]", " drie"),
        ])
    );
    let spans: Vec<&str> = parsed
        .tree
        .leaves()
        .map(|leaf| parsed.tree.node(leaf).span)
        .map(|span| &text[span.start as usize..span.end as usize])
        .collect();
    assert_eq!(spans, ["<b x=\"1\">tekst</b>", "1", "<b/>", "een ", "twee", " drie"]);
    let b = parsed.tree.named(parsed.tree.root(), "b").next().unwrap();
    assert_eq!(parsed.tree.named(b, "xmlText").collect::<Vec<_>>(), [b]);
}

#[test]
fn cda_names_are_plain_and_foreign_names_are_not_taken_for_them() {
    let parsed = read(
        "<ClinicalDocument xmlns=\"urn:hl7-org:v3\" xmlns:sdtc=\"urn:hl7-org:sdtc\" xmlns:v=\"urn:vendor\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"urn:hl7-org:v3 CDA.xsd\">\
         <id root=\"2.999.1\" extension=\"7\"/><effectiveTime value=\"20260102\"/>\
         <sdtc:deceasedInd value=\"false\"/><v:id>x</v:id><value xsi:type=\"PQ\" value=\"2.10\"/></ClinicalDocument>",
    );
    assert_eq!(parsed.facts.message_type.as_deref(), Some("ClinicalDocument"));
    assert_eq!(parsed.facts.control_id.as_deref(), Some("2.999.1^7"));
    assert_eq!(parsed.facts.source_time.as_deref(), Some("20260102"));
    assert_eq!(
        leaves(&parsed),
        pairs(&[
            ("xsi_schemaLocation", "urn:hl7-org:v3 CDA.xsd"),
            ("id.root", "2.999.1"),
            ("id.extension", "7"),
            ("effectiveTime.value", "20260102"),
            ("sdtcDeceasedInd.value", "false"),
            ("other_id", "x"),
            ("other_id.xmlns", "urn:vendor"),
            ("value.xsi_type", "PQ"),
            ("value.value", "2.10"),
        ])
    );
}

#[test]
fn fhir_in_xml_gives_the_tree_of_its_json() {
    let xml = read(
        "<Observation xmlns=\"http://hl7.org/fhir\"><id value=\"f\"/><meta><lastUpdated value=\"2026-01-02\"/></meta>\
         <text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\">FVC <b>2.1</b></div></text>\
         <contained><Patient><active value=\"true\"/></Patient></contained>\
         <extension url=\"urn:x\"><valueDecimal value=\"1.10\"/></extension>\
         <status><extension url=\"urn:absent\"><valueCode value=\"unknown\"/></extension></status>\
         <effectiveDateTime value=\"2026\" id=\"e\"/><valueQuantity><value value=\"2.10\"/></valueQuantity></Observation>",
    );
    let json = crate::source::json::parse(
        br#"{"resourceType":"Observation","id":"f","meta":{"lastUpdated":"2026-01-02"},
        "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">FVC <b>2.1</b></div>"},
        "contained":[{"resourceType":"Patient","active":true}],"extension":[{"url":"urn:x","valueDecimal":1.10}],
        "_status":{"extension":[{"url":"urn:absent","valueCode":"unknown"}]},
        "effectiveDateTime":"2026","_effectiveDateTime":{"id":"e"},"valueQuantity":{"value":2.10}}"#,
        Limits::default(),
    );
    assert_eq!(leaves(&xml), leaves(&json));
    let values = |parsed: &Parsed| {
        let tree = &parsed.tree;
        let value =
            |leaf| (std::mem::discriminant(&tree.node(leaf).value), tree.text(leaf).map(str::to_owned));
        tree.leaves().map(value).collect::<Vec<_>>()
    };
    assert_eq!(values(&xml), values(&json));
    assert_eq!(xml.facts.source_time, json.facts.source_time);
    assert_eq!(xml.coverage.count(), 1);
}

#[test]
fn what_is_no_xml_is_refused_with_its_place() {
    for (text, code, line) in [
        ("<a>\n<b></a>", "xml-malformed", 2),
        ("<a>\n<b>", "message-truncated", 2),
        ("", "message-truncated", 1),
        ("<!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>", "xml-dtd", 1),
        ("<a>&nbsp;</a>", "xml-malformed", 1),
        ("<?xml version=\"1.0\" encoding=\"EBCDIC\"?><a/>", "charset-unsupported", 1),
        ("<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<a>Zoë</a>", "charset-contradicted", 2),
    ] {
        let parsed = read(text);
        let finding = parsed.findings.first().unwrap();
        assert_eq!((finding.code, finding.line, parsed.is_fatal()), (code, line, true), "{text}");
    }
    assert_eq!(parse(b"\xFF\xFE<\0a\0/\0>\0", Limits::default()).findings[0].code, "charset-unsupported");
}

#[test]
fn spans_count_the_bytes_received_in_any_set() {
    let bytes = b"<?xml version='1.0' encoding='ISO-8859-1'?><a><b>Zo\xEB</b><c>x</c></a>";
    let parsed = parse(bytes, Limits::default());
    let c = parsed.tree.leaves().nth(1).unwrap();
    let span = parsed.tree.node(c).span;
    assert_eq!(&bytes[span.start as usize..span.end as usize], b"x");
    assert_eq!(parsed.facts.charset.as_deref(), Some("iso-8859-1"));
    let text = "\u{feff}<a>x</a>";
    let parsed = read(text);
    assert_eq!(parsed.tree.text(parsed.tree.root()), Some("x"));
}

#[test]
fn limits_refuse_the_document() {
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    assert_eq!(read(&deep).findings.first().unwrap().code, "document-too-large");
    let very_deep = "<a>".repeat(200_000);
    assert!(read(&very_deep).is_fatal());
    let small = Limits { nodes_max: 3, ..Limits::default() };
    for text in ["<a><b/><b/><b/><b/></a>", "<a b='1' c='2' d='3' e='4'><f/></a>"] {
        assert_eq!(
            parse(text.as_bytes(), small).findings.first().unwrap().code,
            "document-too-large",
            "{text}"
        );
    }
    let short = Limits { bytes_max: 3, ..Limits::default() };
    assert_eq!(parse(b"<aa/>", short).findings.first().unwrap().code, "document-too-large");
}

proptest! {
    #[test]
    fn any_bytes_parse_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let parsed = parse(&bytes, Limits::default());
        for leaf in parsed.tree.leaves() {
            let span = parsed.tree.node(leaf).span;
            prop_assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
    }

    #[test]
    fn any_markup_parses_without_panic(parts in proptest::collection::vec(
        proptest::sample::select(vec!["<a>", "</a>", "<b x='é'/>", "é", "<a xmlns='http://hl7.org/fhir'>", "<![CDATA[x]]>",
            "<!-- -->", "&#233;", "&amp;", " ", "<p:q xmlns:p='urn:p'>", "</p:q>", "<Patient xmlns='http://hl7.org/fhir'>",
            "</Patient>", "<id value='1'/>", "<?x y?>"]), 0..30)) {
        let text = parts.concat();
        let parsed = parse(text.as_bytes(), Limits::default());
        for leaf in parsed.tree.leaves() {
            let span = parsed.tree.node(leaf).span;
            prop_assert!(text.get(span.start as usize..span.end as usize).is_some());
        }
    }
}
