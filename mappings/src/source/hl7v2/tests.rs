#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use proptest::prelude::*;

use super::*;
use crate::source::{NodeId, Value};

const MSH: &str = r"MSH|^~\&|LAB|UMCX|SLUIS|GESP|20260310101500||ORU^R01^ORU_R01|M-1|P|2.5||||||8859/1";

fn read(text: &str) -> Parsed {
    parse(text.as_bytes(), None, Limits::default())
}

fn oru(rest: &str) -> Parsed {
    read(&format!("{MSH}\r{rest}\r"))
}

/// Text of the leaf at a path; `""` where it is explicitly empty.
fn at<'t>(parsed: &'t Parsed, path: &str) -> Option<&'t str> {
    let tree = &parsed.tree;
    let found = tree.leaves().find(|&l| tree.path(l) == path)?;
    tree.text(found).or_else(|| (tree.node(found).value == Value::Null).then_some(""))
}

fn codes(parsed: &Parsed) -> Vec<&str> {
    parsed.findings.iter().map(|f| f.code).collect()
}

#[test]
fn fields_repetitions_components_and_subcomponents_have_their_own_nodes() {
    let parsed = oru("PID|1||123^^^A&1.2&ISO^PI~456^^^NLMINBIZA^NNNLD||van Dijk&van&Dijk^A");
    assert_eq!(at(&parsed, "PID[1].PID_3[1].C4.S2"), Some("1.2"));
    assert_eq!(at(&parsed, "PID[1].PID_3[2].C5"), Some("NNNLD"));
    assert_eq!(at(&parsed, "PID[1].PID_5.C1.S3"), Some("Dijk"));
    let tree = &parsed.tree;
    let pid5 = (0..tree.len() as u32).map(NodeId).find(|&n| tree.name(n) == "PID_5").unwrap();
    assert_eq!(tree.text(pid5), Some("van Dijk"));
    let span = tree.node(tree.text_node(pid5)).span;
    let message = format!("{MSH}\rPID|1||123^^^A&1.2&ISO^PI~456^^^NLMINBIZA^NNNLD||van Dijk&van&Dijk^A\r");
    assert_eq!(&message[span.start as usize..span.end as usize], "van Dijk");
}

#[test]
fn a_simple_value_is_its_own_first_component() {
    let parsed = oru("PID|1||123");
    let tree = &parsed.tree;
    let pid3 = tree.leaves().find(|&l| tree.name(l) == "PID_3").unwrap();
    assert_eq!(tree.named(pid3, "C1").next(), Some(pid3));
    assert_eq!(tree.named(pid3, "C2").next(), None);
}

#[test]
fn an_empty_first_component_does_not_answer_with_the_second() {
    let parsed = oru("PID|1||^^^X");
    let tree = &parsed.tree;
    let pid3 = (0..tree.len() as u32).map(NodeId).find(|&n| tree.name(n) == "PID_3").unwrap();
    assert_eq!(tree.text(pid3), None);
}

#[test]
fn two_quotes_mean_removal_and_nothing_means_nothing() {
    let parsed = oru("PID|1||123||\"\"||");
    assert_eq!(at(&parsed, "PID[1].PID_5"), Some(""));
    assert_eq!(at(&parsed, "PID[1].PID_6"), None);
}

#[test]
fn escapes_become_the_text_they_stand_for() {
    let parsed = oru(r"NTE|1||a\F\b\S\c\T\d\R\e\E\f\.br\g\H\h\N\i\XEB\j\.sp2\k");
    assert_eq!(at(&parsed, "NTE[1].NTE_3"), Some("a|b^c&d~e\\f\nghi\u{EB}j\n\nk"));
    // Of the message around it, PID and OBR are missing.
    assert_eq!(codes(&parsed), ["segment-missing", "segment-missing", "result-missing"]);
}

#[test]
fn escapes_nobody_knows_stay_as_sent_and_are_reported() {
    let parsed = oru(r"NTE|1||see \\server\share~C:\dir~\Xzz\~\M2442\");
    assert_eq!(at(&parsed, "NTE[1].NTE_3[2]"), Some(r"C:\dir"));
    let found: Vec<_> = parsed.findings.iter().map(|f| (f.code, f.path.as_str())).collect();
    for code in ["escape-unknown", "escape-unclosed", "escape-undecodable", "escape-charset-switch"] {
        assert!(found.contains(&(code, "NTE[1]")), "{code} in {found:?}");
    }
}

#[test]
fn every_segment_separator_and_frame_is_taken() {
    for text in [
        format!("{MSH}\rOBX|1|ST|x\r"),
        format!("{MSH}\nOBX|1|ST|x\n"),
        format!("{MSH}\r\nOBX|1|ST|x\r\n"),
        format!("\x0b{MSH}\rOBX|1|ST|x\r\x1c\r"),
        format!("\n\n{MSH}\r\r\nOBX|1|ST|x\r"),
    ] {
        let parsed = read(&text);
        assert!(!parsed.is_fatal(), "{:?}", parsed.findings);
        assert_eq!(at(&parsed, "OBX[1].OBX_3"), Some("x"));
    }
}

#[test]
fn facts_say_what_the_header_says() {
    let facts = facts(format!("{MSH}\rPID|").as_bytes());
    assert_eq!(facts.message_type.as_deref(), Some("ORU^R01"));
    assert_eq!(facts.control_id.as_deref(), Some("M-1"));
    assert_eq!(facts.version.as_deref(), Some("2.5"));
    assert_eq!(facts.source_time.as_deref(), Some("20260310101500"));
    assert_eq!(facts.charset.as_deref(), Some("iso-8859-1"));
}

#[test]
fn results_stand_in_the_groups_of_the_standard() {
    let parsed = oru(
        "PID|1\rPV1|1\rORC|RE\rOBR|1\rNTE|1||order\rOBX|1\rNTE|1||result\rOBX|2\rZAL|own\rOBR|2\rOBX|1\rSPM|1",
    );
    let tree = &parsed.tree;
    let places: Vec<String> = tree
        .leaves()
        .map(|leaf| {
            let mut names = Vec::new();
            let mut at = tree.node(leaf).parent;
            while let Some(id) = at.filter(|&id| id != tree.root()) {
                names.push(format!("{}:{}", tree.name(id), tree.node(id).ordinal));
                at = tree.node(id).parent;
            }
            names.reverse();
            names.join(">")
        })
        .filter(|p| !p.starts_with("MSH"))
        .collect();
    let order = |n: u32| format!("PATIENT_RESULT:1>ORDER_OBSERVATION:{n}");
    let mut expected = vec![
        "PATIENT_RESULT:1>PATIENT:1>PID:1".to_owned(),
        "PATIENT_RESULT:1>PATIENT:1>VISIT:1>PV1:1".to_owned(),
        format!("{}>ORC:1", order(1)),
        format!("{}>OBR:1", order(1)),
        format!("{}>NTE:1", order(1)),
        format!("{}>NTE:1", order(1)),
        format!("{}>OBSERVATION:1>OBX:1", order(1)),
        format!("{}>OBSERVATION:1>NTE:1", order(1)),
        format!("{}>OBSERVATION:1>NTE:1", order(1)),
        format!("{}>OBSERVATION:2>OBX:1", order(1)),
        format!("{}>OBSERVATION:2>ZAL:1", order(1)),
        format!("{}>OBR:1", order(2)),
        format!("{}>OBSERVATION:1>OBX:1", order(2)),
        format!("{}>SPECIMEN:1>SPM:1", order(2)),
    ];
    expected.sort();
    let mut places = places;
    places.sort();
    assert_eq!(places, expected);
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    assert_eq!(at(&parsed, "OBX[3].OBX_1"), Some("1"));
}

#[test]
fn segments_missing_or_out_of_place_are_findings_and_keep_their_place() {
    let parsed = oru("OBX|1|ST|x\rPV1|1");
    let found: Vec<_> = parsed.findings.iter().map(|f| (f.code, f.path.as_str(), f.line)).collect();
    assert_eq!(
        found,
        [
            ("segment-misplaced", "PV1[1]", 3),
            // OBR and PID.
            ("segment-missing", "OBX[1]", 2),
            ("segment-missing", "OBX[1]", 2),
        ]
    );
    assert_eq!(at(&parsed, "OBX[1].OBX_3"), Some("x"));
}

#[test]
fn a_document_without_a_usable_header_is_refused() {
    for (message, code) in [
        ("", "segment-msh-missing"),
        ("PID|1", "segment-msh-missing"),
        ("MSH", "delimiters-unusable"),
        ("MSH|", "delimiters-unusable"),
        (r"MSH|^~\\&|A", "delimiters-unusable"),
        ("MSH|^^\\&|A", "delimiters-unusable"),
        (r"MSHA^~\&A", "delimiters-unusable"),
        (r"MSH|^~\&|A|B", "message-type-missing"),
    ] {
        let parsed = read(message);
        let fatal: Vec<_> =
            parsed.findings.iter().filter(|f| f.severity == Severity::Fatal).map(|f| f.code).collect();
        assert_eq!(fatal, [code], "{message}");
    }
}

#[test]
fn other_delimiters_are_taken_from_the_header() {
    let parsed = read("MSH$*+!%$A$B$$$20260101$$ORU*R01$1$P$2.5\rOBX$1$ST$a*b%c$$x!S!y\r");
    assert_eq!(at(&parsed, "OBX[1].OBX_3.C2.S2"), Some("c"));
    assert_eq!(at(&parsed, "OBX[1].OBX_5"), Some("x*y"));
    assert_eq!(parsed.facts.message_type.as_deref(), Some("ORU^R01"));
}

fn with_charset(charset: &str, value: &[u8]) -> Parsed {
    let header = format!(r"MSH|^~\&|A|B|||1||ADT^A08|1|P|2.5||||||{charset}");
    let bytes = [header.as_bytes(), b"\rPID|1||||", value, b"\r"].concat();
    parse(&bytes, None, Limits::default())
}

#[test]
fn text_is_read_in_the_declared_character_set() {
    for (charset, bytes) in
        [("8859/1", &b"Zo\xEB"[..]), ("8859/15", b"Zo\xEB"), ("UNICODE UTF-8", "Zoë".as_bytes())]
    {
        let parsed = with_charset(charset, bytes);
        assert!(!parsed.is_fatal(), "{charset}: {:?}", parsed.findings);
        assert_eq!(at(&parsed, "PID[1].PID_5"), Some("Zoë"));
    }
}

#[test]
fn a_character_set_that_cannot_be_is_refused_naming_msh_18() {
    for (charset, bytes, code) in [
        ("", &b"Zo\xEB"[..], "charset-contradicted"),
        ("ASCII", b"Zo\xEB", "charset-contradicted"),
        ("8859/1", "Zoë".as_bytes(), "charset-contradicted"),
        ("8859/1", b"\x80 1,50", "charset-contradicted"),
        ("UNICODE UTF-8", b"Zo\xEB", "charset-contradicted"),
        ("ISO IR87", b"Zoe", "charset-unknown"),
    ] {
        let parsed = with_charset(charset, bytes);
        let fatal = parsed.findings.iter().find(|f| f.severity == Severity::Fatal).unwrap();
        assert_eq!((fatal.code, fatal.path.as_str()), (code, "MSH[1].MSH_18"), "{charset}");
        assert!(fatal.remedy.contains("MSH-18"));
        // The answer to the sender needs the control id even so.
        assert_eq!(parsed.facts.control_id.as_deref(), Some("1"));
    }
}

#[test]
fn an_agreed_character_set_serves_where_the_header_is_silent() {
    let bytes = b"MSH|^~\\&|A|B|||1||ADT^A08|1|P|2.5\rPID|1||||Zo\xEB\r";
    let parsed = parse(bytes, Some(Charset::Windows1252), Limits::default());
    assert_eq!(at(&parsed, "PID[1].PID_5"), Some("Zoë"));
}

#[test]
fn a_cut_message_says_where_and_what_to_do() {
    for (message, code, severity) in [
        (format!("{MSH}\rOB"), "segment-truncated", Severity::Error),
        (format!("{MSH}\rPID|1\rOBX"), "segment-truncated", Severity::Error),
        (format!("{MSH}\rPID|1\rOBX|1|NM|a"), "segment-truncated", Severity::Error),
        (format!("\x0b{MSH}\rPID|1\rOBX|1|NM|a"), "message-truncated", Severity::Fatal),
    ] {
        let parsed = read(&message);
        let finding = parsed.findings.iter().find(|f| f.code == code).unwrap();
        assert_eq!(finding.severity, severity, "{code}");
        assert!(finding.line > 1 && !finding.remedy.is_empty());
    }
}

#[test]
fn a_lost_segment_terminator_or_raw_line_break_is_found() {
    let parsed = oru("PID|1\rOBR|1\rOBX|1|TX|a||line one\nline two");
    let finding = parsed.findings.iter().find(|f| f.code == "segment-unnamed").unwrap();
    assert_eq!((finding.severity, finding.line, finding.column), (Severity::Error, 5, 1));
    assert_eq!(at(&parsed, "other[1]"), Some("line two"));
}

/// Names and ordinals of the groups around each segment: `PATIENT:1>PID`.
fn groups(parsed: &Parsed) -> Vec<String> {
    let tree = &parsed.tree;
    let mut seen = Vec::new();
    for id in (0..tree.len() as u32).map(NodeId).filter(|&id| tree.name(id).len() == 3) {
        let mut names = vec![tree.name(id).to_owned()];
        let mut at = tree.node(id).parent;
        while let Some(up) = at.filter(|&up| up != tree.root()) {
            names.push(format!("{}:{}", tree.name(up), tree.node(up).ordinal));
            at = tree.node(up).parent;
        }
        names.reverse();
        seen.push(names.join(">"));
    }
    seen.sort();
    seen
}

fn of(kind: &str, rest: &str) -> Parsed {
    read(&format!("MSH|^~\\&|A|B|||1||{kind}|1|P|2.6||||||8859/1\r{rest}\r"))
}

#[test]
fn problems_with_their_goals_and_pathways_stand_in_their_groups() {
    let parsed = of(
        "PPR^PC1^PPR_PC1",
        "PID|1\rPV1|1\rPRB|AD\rNTE|1\rROL|1\rPTH|AD\rOBX|1\rNTE|1\rGOL|AD\rNTE|1\rOBX|1\rPRB|AD\rZXX|1",
    );
    let p = "PROBLEM:1";
    let mut expected = vec![
        "MSH".to_owned(),
        "PID".to_owned(),
        "PATIENT_VISIT:1>PV1".to_owned(),
        format!("{p}>PRB"),
        format!("{p}>NTE"),
        format!("{p}>PROBLEM_ROLE:1>ROL"),
        format!("{p}>PATHWAY:1>PTH"),
        format!("{p}>PROBLEM_OBSERVATION:1>OBX"),
        format!("{p}>PROBLEM_OBSERVATION:1>NTE"),
        format!("{p}>GOAL:1>GOL"),
        format!("{p}>GOAL:1>NTE"),
        format!("{p}>GOAL:1>GOAL_OBSERVATION:1>OBX"),
        "PROBLEM:2>PRB".to_owned(),
        "PROBLEM:2>ZXX".to_owned(),
    ];
    expected.sort();
    assert_eq!(groups(&parsed), expected);
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
}

#[test]
fn a_merge_of_two_patients_keeps_each_with_its_own_prior_number() {
    let parsed = of("ADT^A40^ADT_A39", "EVN|A40\rPID|1\rMRG|1\rPID|2\rPD1|1\rMRG|2\rPV1|1");
    assert_eq!(
        groups(&parsed),
        [
            "EVN",
            "MSH",
            "PATIENT:1>MRG",
            "PATIENT:1>PID",
            "PATIENT:2>MRG",
            "PATIENT:2>PD1",
            "PATIENT:2>PID",
            "PATIENT:2>PV1"
        ]
    );
    let without = of("ADT^A40", "EVN|A40\rPID|1\rPID|2\rMRG|2");
    let found: Vec<_> =
        without.findings.iter().map(|f| (f.code, f.path.as_str(), f.cause.as_deref())).collect();
    assert_eq!(found, [("segment-missing", "PID[1]", Some("segment-missing:MRG"))]);
}

#[test]
fn orders_and_documents_stand_in_their_groups() {
    let order = of(
        "OML^O21^OML_O21",
        "PID|1\rPV1|1\rIN1|1\rORC|NW\rTQ1|1\rOBR|1\rOBX|1\rSPM|1\rSAC|1\rORC|NW\rOBR|2",
    );
    assert!(groups(&order).contains(&"ORDER:1>OBSERVATION_REQUEST:1>SPECIMEN:1>CONTAINER:1>SAC".to_owned()));
    assert!(groups(&order).contains(&"ORDER:2>OBSERVATION_REQUEST:1>OBR".to_owned()));
    assert!(groups(&order).contains(&"PATIENT:1>INSURANCE:1>IN1".to_owned()));
    assert!(order.findings.is_empty(), "{:?}", order.findings);
    let old = of("ORM^O01", "PID|1\rORC|NW\rOBR|1\rNTE|1\rDG1|1\rOBX|1\rORC|NW\rOBR|2");
    assert!(groups(&old).contains(&"ORDER:1>ORDER_DETAIL:1>OBSERVATION:1>OBX".to_owned()));
    let document = of("MDM^T02^MDM_T02", "EVN|T02\rPID|1\rPV1|1\rTXA|1\rOBX|1\rOBX|2");
    assert!(groups(&document).contains(&"OBSERVATION:2>OBX".to_owned()));
    let goals = of("PGL^PC6", "PID|1\rGOL|AD\rPTH|AD\rOBX|1\rPRB|AD\rROL|1\rGOL|AD");
    assert!(groups(&goals).contains(&"GOAL:1>PROBLEM:1>PROBLEM_ROLE:1>ROL".to_owned()));
}

#[test]
fn a_value_may_switch_between_single_byte_sets_and_back() {
    let header = "MSH|^~\\&|A|B|||1||ADT^A08|1|P|2.5||||||ASCII~8859/1~8859/15";
    let bytes = [header.as_bytes(), b"\rEVN|A08\rPID|1||||\\C2D41\\Zo\xEB \\C2D62\\\xA4\\C2842\\ x\rPV1|1\r"]
        .concat();
    let parsed = parse(&bytes, None, Limits::default());
    assert!(parsed.findings.is_empty(), "{:?}", parsed.findings);
    assert_eq!(at(&parsed, "PID[1].PID_5"), Some("Zo\u{EB} \u{20AC} x"));
}

#[test]
fn a_line_outside_every_message_of_a_batch_is_said() {
    let split = split(format!("BHS|^~\\&\rPID|1\r{MSH}\rOBX|1\rBTS|1\r").as_bytes());
    assert_eq!(split.messages.len(), 1);
    assert_eq!(split.findings.iter().map(|f| (f.code, f.line)).collect::<Vec<_>>(), [("batch-stray", 2)]);
}

#[test]
fn a_batch_is_split_into_its_messages() {
    let batch = format!("FHS|^~\\&\rBHS|^~\\&\r{MSH}\rOBX|1\r{MSH}\rOBX|2\rBTS|2\rFTS|1\r");
    let split = split(batch.as_bytes());
    assert!(split.findings.is_empty(), "{:?}", split.findings);
    let messages: Vec<&str> =
        split.messages.iter().map(|s| &batch[s.start as usize..s.end as usize]).collect();
    assert_eq!(messages, [format!("{MSH}\rOBX|1\r"), format!("{MSH}\rOBX|2\r")]);
    assert!(codes(&read(&batch)).contains(&"batch-unsplit"));
}

#[test]
fn a_batch_cut_short_is_an_error_and_its_messages_stand() {
    let split_of = |text: String| split(text.as_bytes());
    let cut = split_of(format!("FHS|^~\\&\rBHS|^~\\&\r{MSH}\rOBX|1\r"));
    assert_eq!(cut.messages.len(), 1);
    assert_eq!(
        cut.findings.iter().map(|f| f.code).collect::<Vec<_>>(),
        ["batch-truncated", "batch-truncated"]
    );
    let short = split_of(format!("BHS|^~\\&\r{MSH}\rOBX|1\rBTS|3\r"));
    assert_eq!(short.findings.iter().map(|f| f.code).collect::<Vec<_>>(), ["batch-count"]);
}

#[test]
fn one_message_is_its_own_split() {
    let message = format!("\x0b{MSH}\rOBX|1\r\x1c\r");
    let split = split(message.as_bytes());
    assert_eq!(split.messages, [Span { start: 0, end: message.len() as u32 }]);
    assert!(split.findings.is_empty());
}

#[test]
fn limits_refuse_instead_of_growing() {
    let limits = Limits { bytes_max: 1000, nodes_max: 50 };
    let long = format!("{MSH}\rNTE|{}\r", "x".repeat(1000));
    assert_eq!(codes(&parse(long.as_bytes(), None, limits)), ["document-too-large"]);
    let wide = format!("{MSH}\rNTE|{}\rNTE|1\r", "x|".repeat(300));
    assert!(codes(&parse(wide.as_bytes(), None, limits)).contains(&"document-too-large"));
}

/// Texts made of the characters that matter to the parser.
fn message_like() -> impl Strategy<Value = String> {
    proptest::string::string_regex(r#"([A-Z]{3}\|)?[A-Z0-9|^~\\&"\r\n.]{0,60}"#)
        .unwrap()
        .prop_map(|tail| format!("{MSH}\rPID|1||7^^^A&B~8\r{tail}"))
}

proptest! {
    #[test]
    fn any_bytes_parse_without_panic_and_spans_stay_inside(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = parse(&bytes, None, Limits::default());
        for id in (0..parsed.tree.len() as u32).map(NodeId) {
            let span = parsed.tree.node(id).span;
            prop_assert!(span.start <= span.end && span.end as usize <= bytes.len());
        }
        for finding in &parsed.findings {
            prop_assert!(finding.span.end as usize <= bytes.len());
        }
        split(&bytes);
    }

    #[test]
    fn every_byte_that_is_no_delimiter_lies_in_a_leaf(message in message_like()) {
        let bytes = message.as_bytes();
        let parsed = parse(bytes, None, Limits::default());
        if parsed.findings.iter().any(|f| f.code == "batch-unsplit") {
            return Ok(());
        }
        let tree = &parsed.tree;
        let mut covered = vec![false; bytes.len()];
        let mut cover = |span: Span| covered[span.start as usize..span.end as usize].fill(true);
        for leaf in tree.leaves() {
            cover(tree.node(leaf).span);
        }
        // A segment's name is the name of its node.
        for id in (0..tree.len() as u32).map(NodeId).filter(|&id| tree.name(id).len() == 3) {
            let start = tree.node(id).span.start;
            cover(Span { start, end: start + 3 });
        }
        for (at, byte) in bytes.iter().enumerate() {
            prop_assert!(covered[at] || b"|^~&\r\n".contains(byte), "byte {at} of {message:?}");
        }
    }

    #[test]
    fn segments_in_any_order_all_stand_somewhere(
        kind in prop::sample::select(vec!["ADT^A01", "ADT^A40", "ADT^A17", "ORU^R01", "ORM^O01", "OML^O21", "PPR^PC1", "PGL^PC6", "MDM^T02"]),
        names in proptest::collection::vec(
            prop::sample::select(vec!["PID", "PD1", "PV1", "EVN", "ORC", "OBR", "OBX", "NTE", "SPM", "PRB", "GOL", "PTH", "ROL", "MRG", "TXA", "IN1", "PR1", "AL1", "DG1", "ZAB", "MSA"]), 0..30),
    ) {
        let lines: String = names.iter().enumerate().map(|(i, name)| format!("{name}|{i}\r")).collect();
        let parsed = read(&format!("MSH|^~\\&|A|B|||1||{kind}|1|P|2.5\r{lines}"));
        let tree = &parsed.tree;
        let segments = |name: &str| (0..tree.len() as u32).filter(|&id| tree.name(NodeId(id)) == name).count();
        for name in &names {
            prop_assert_eq!(segments(name), names.iter().filter(|other| other == &name).count());
        }
        for id in (0..tree.len() as u32).map(NodeId) {
            let span = tree.node(id).span;
            prop_assert!(span.start <= span.end);
        }
    }

    #[test]
    fn reading_twice_gives_the_same(message in message_like()) {
        let (one, two) = (read(&message), read(&message));
        prop_assert_eq!(&one.findings, &two.findings);
        prop_assert_eq!(&one.facts, &two.facts);
        let paths = |p: &Parsed| p.tree.leaves().map(|l| p.tree.path(l)).collect::<Vec<_>>();
        prop_assert_eq!(paths(&one), paths(&two));
    }
}
