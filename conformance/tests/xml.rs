//! FHIR XML: what is read comes back, what is written reads as it was, and what has no place in FHIR is refused.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "tests")]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Kind, Node, write_string};
use sluis_conformance::validate::validate;
use sluis_conformance::xml::{self, XmlErrorKind as K, XmlWriteErrorKind};

fn json(text: &str) -> Doc {
    Doc::parse(text.as_bytes().to_vec(), JsonLimits::default()).unwrap()
}

/// The tree with its digits as written, its texts unescaped and its properties sorted. Line ends of markup are line feeds.
#[derive(Debug, PartialEq)]
enum Tree {
    Digits(String),
    Text(String),
    List(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
}

fn tree(node: Node<'_>) -> Tree {
    match node.kind() {
        Kind::Array => Tree::List(node.items().map(tree).collect()),
        Kind::Object => {
            Tree::Named(node.members().map(|(name, value)| (name.into_owned(), tree(value))).collect())
        }
        Kind::String => {
            let text = node.as_str().unwrap().into_owned();
            Tree::Text(if text.starts_with("<div") { text.replace("\r\n", "\n") } else { text })
        }
        _ => Tree::Digits(node.raw().to_owned()),
    }
}

fn read(text: &str) -> Doc {
    xml::read(r4(), text.as_bytes(), JsonLimits::default()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refused(text: &str) -> K {
    xml::read(r4(), text.as_bytes(), JsonLimits::default()).unwrap_err().kind
}

/// Content of a Patient.
fn patient(content: &str) -> String {
    format!("<Patient xmlns=\"http://hl7.org/fhir\">{content}</Patient>")
}

fn comes_back(doc: &Doc) {
    for pretty in [false, true] {
        let text = xml::write(r4(), doc.root(), pretty).unwrap();
        let again = read(&text);
        assert_eq!(tree(again.root()), tree(doc.root()), "{text}");
        assert_eq!(xml::write(r4(), again.root(), pretty).unwrap(), text);
    }
}

const OBSERVATION: &str = r##"{"resourceType":"Observation","id":"o1","_id":{"extension":[{"url":"urn:x","valueCode":"c"}]},
    "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">a &amp; <b class=\"x\">b</b> &#xA0;<br/></div>"},
    "contained":[{"resourceType":"Practitioner","id":"p","name":[{"given":["A",null,"C"],"_given":[null,{"id":"g","extension":
    [{"url":"urn:y","valueBoolean":false}]},null]}]}],"status":"final","code":{"id":"k","coding":[{"code":"x"}],"text":"a\tb\r\nc <&>\" é 🧠"},
    "_effectiveDateTime":{"extension":[{"url":"urn:absent","valueCode":"unknown"}]},"performer":[{"reference":"#p"}],
    "valueQuantity":{"value":1.10},"component":[{"code":{"text":"n"},"valueInteger":-7},{"code":{"text":"d"},
    "valueQuantity":{"value":1.00E-3}},{"code":{"text":"t"},"valueDateTime":"2020-01-01T00:00:00.000+01:00"}]}"##;

#[test]
fn digits_dates_texts_and_extensions_come_back() {
    let doc = json(OBSERVATION);
    assert!(validate(r4(), doc.root()).iter().all(|issue| !issue.is_error()));
    comes_back(&doc);
    comes_back(&json(
        r#"{"resourceType":"Bundle","type":"transaction","entry":[{"fullUrl":"urn:uuid:x","resource":{"resourceType":"Patient",
        "active":true,"birthDate":"1970-01"},"request":{"method":"POST","url":"Patient"}},{"request":{"method":"DELETE","url":"Patient/1"}}]}"#,
    ));
    comes_back(&json(
        r#"{"resourceType":"Parameters","parameter":[{"name":"a","valueDecimal":0.0},{"name":"b","part":[{"name":"c",
        "resource":{"resourceType":"Binary","contentType":"text/plain","data":"eA=="}}]}]}"#,
    ));
}

#[test]
fn elements_are_written_in_the_order_of_the_definition() {
    let doc = json(
        r#"{"resourceType":"Patient","birthDate":"1970","name":[{"family":"x","use":"usual"}],"id":"1","active":true}"#,
    );
    assert_eq!(
        xml::write(r4(), doc.root(), false).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Patient xmlns=\"http://hl7.org/fhir\"><id value=\"1\"/><active value=\"true\"/>\
         <name><use value=\"usual\"/><family value=\"x\"/></name><birthDate value=\"1970\"/></Patient>"
    );
}

#[test]
fn prefixes_comments_and_instructions_carry_nothing() {
    let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><?x y?><!-- a --><f:Patient xmlns:f='http://hl7.org/fhir' \
        xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='http://hl7.org/fhir x.xsd'>\n\
        <!-- b --><f:text><f:status value='generated'/><div xmlns='http://www.w3.org/1999/xhtml'>x<!-- c --></div></f:text>\
        <f:gender value='&#102;emale'></f:gender></f:Patient>\n";
    let text_of = "<div xmlns='http://www.w3.org/1999/xhtml'>x<!-- c --></div>";
    let mut expected = "{\"resourceType\":\"Patient\",\"text\":{\"status\":\"generated\",\"div\":".to_owned();
    write_string(text_of, &mut expected);
    expected.push_str("},\"gender\":\"female\"}");
    assert_eq!(read(text).text(), expected);
}

#[test]
fn line_ends_in_attributes_are_spaces_and_references_are_not() {
    let doc = read(&patient("<name><text value='a\nb&#10;c'/></name>"));
    assert_eq!(doc.text(), "{\"resourceType\":\"Patient\",\"name\":[{\"text\":\"a b\\nc\"}]}");
}

#[test]
fn what_has_no_place_in_fhir_is_refused_with_its_reason() {
    let billion = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>".to_owned()
        + &patient("<gender value='&b;'/>");
    let external = "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>".to_owned() + &patient("<active value='true'/>");
    assert_eq!([refused(&billion), refused(&external)], [K::DocType, K::DocType]);
    for (content, kind) in [
        ("<gender value='&nbsp;'/>", K::Entity),
        ("<gender value='&#0;'/>", K::Entity),
        ("<gender value='&#1;'/>", K::Character),
        ("<active value='yes'/>", K::Value("true or false")),
        ("<multipleBirthInteger value='01'/>", K::Value("a number such as 1 or -1.10")),
        ("<birthDate value='1970'/><gender value='male'/>", K::Order),
        ("<gender value='male'/><gender value='male'/>", K::Repeated),
        ("<deceasedBoolean value='true'/><deceasedDateTime value='2020'/>", K::Repeated),
        ("<name><text value='a'/></name><gender value='male'/><name><text value='b'/></name>", K::Order),
        ("<gender>male</gender>", K::Text),
        ("<gender><![CDATA[male]]></gender>", K::Text),
        ("<gender/>", K::Empty),
        ("<name/>", K::Empty),
        ("<gender code='male'/>", K::Attribute),
        ("<name value='x'/>", K::Attribute),
        ("<name url='x'/>", K::Attribute),
        ("<name><id value='x'/></name>", K::IsAttribute),
        ("<gender xmlns='urn:other' value='male'/>", K::Namespace),
        ("<contained/>", K::OneResource),
        ("<contained><Group/><Group/></contained>", K::Empty),
        ("<contained><Nothing/></contained>", K::Resource),
        ("<birthdate value='1970'/>", K::Unknown { remedy: "did you mean 'birthDate'?".to_owned() }),
    ] {
        let found = refused(&patient(content));
        // A resource without elements is a Group without its content: no JSON object is empty either.
        let group = content.contains("Group") && matches!(found, K::OneResource | K::Empty);
        assert!(found == kind || group, "{content}: {found:?}");
    }
    for text in [
        "",
        "<Patient",
        "<Patient xmlns='http://hl7.org/fhir'>",
        "<Patient xmlns='http://hl7.org/fhir'></Person>",
        "<?xml version='1.1'?><a/>",
    ] {
        assert!(!refused(text).is_content(), "{text}: {:?}", refused(text));
    }
    assert!(matches!(refused(&(patient("<active value='true'/>") + "<x/>")), K::Syntax(_)));
    assert_eq!(refused("<?xml version='1.0' encoding='ISO-8859-1'?><a/>"), K::NotUtf8);
    assert_eq!(refused("<Patient><active value='true'/></Patient>"), K::Namespace);
    assert!(xml::read(r4(), b"\xff\xfe<\0", JsonLimits::default()).is_err());
    let places = xml::read(
        r4(),
        patient("\n <name>\n  <use value='a' b='c'/></name>").as_bytes(),
        JsonLimits::default(),
    );
    let error = places.unwrap_err();
    assert_eq!((error.line, error.column, error.path.as_str()), (3, 3, "Patient.name[0]"));
}

#[test]
fn a_narrative_is_kept_or_refused() {
    let div = |inner: &str| patient(&format!("<text><status value='generated'/>{inner}</text>"));
    for (inner, is_good) in [
        ("<div xmlns='http://www.w3.org/1999/xhtml'><p>a &lt; b &#xe9;</p></div>", true),
        ("<div><p>x</p></div>", false),
        ("<h:div xmlns:h='http://www.w3.org/1999/xhtml'><h:p>x</h:p></h:div>", false),
        ("<div xmlns='http://www.w3.org/1999/xhtml'>&nbsp;</div>", false),
        ("<div xmlns='http://www.w3.org/1999/xhtml'><p>x</div>", false),
        ("<div xmlns='http://www.w3.org/1999/xhtml'><p a=b>x</p></div>", false),
        (
            "<div xmlns='http://www.w3.org/1999/xhtml'>x</div><div xmlns='http://www.w3.org/1999/xhtml'>y</div>",
            false,
        ),
    ] {
        let found = xml::read(r4(), div(inner).as_bytes(), JsonLimits::default());
        assert_eq!(found.is_ok(), is_good, "{inner}: {:?}", found.err());
    }
}

#[test]
fn depth_and_size_end_in_an_error() {
    let deep = patient(&"<extension url='x'>".repeat(200_000));
    assert_eq!(refused(&deep), K::TooDeep { depth_max: 64 });
    let deep = format!(
        "<text><div xmlns='http://www.w3.org/1999/xhtml'>{}{}</div></text>",
        "<b>".repeat(9_000),
        "</b>".repeat(9_000)
    );
    assert!(matches!(refused(&patient(&deep)), K::Narrative(_)));
    let small = JsonLimits { depth_max: 8, nodes_max: 9 };
    let many = patient(&"<name id='a'/>".repeat(5));
    assert_eq!(xml::read(r4(), many.as_bytes(), small).unwrap_err().kind, K::TooManyNodes { nodes_max: 9 });
}

#[test]
fn what_xml_cannot_carry_is_not_written() {
    for (text, kind, path) in [
        (
            r#"{"resourceType":"Patient","name":[{"text":"a\u0001"}]}"#,
            XmlWriteErrorKind::Character,
            "Patient.name[0].text",
        ),
        (r#"{"resourceType":"Patient","foo":1}"#, XmlWriteErrorKind::Structure, "Patient"),
        (r#"{"resourceType":"Patient","active":"true"}"#, XmlWriteErrorKind::Structure, "Patient.active"),
        (r#"{"resourceType":"Patient","name":[null]}"#, XmlWriteErrorKind::Structure, "Patient.name[0]"),
        (
            r#"{"resourceType":"Patient","text":{"div":"<div>"}}"#,
            XmlWriteErrorKind::Narrative,
            "Patient.text.div",
        ),
    ] {
        let error = xml::write(r4(), json(text).root(), false).unwrap_err();
        assert_eq!((error.kind, error.path.as_str()), (kind, path), "{text}");
    }
}

#[test]
fn official_and_dutch_examples_come_back() {
    for folder in ["r4-examples", "dutch/nl-core/examples"] {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
        let root = std::env::var_os("SLUIS_SHARED").map_or(beside, Into::into);
        let Ok(files) = std::fs::read_dir(root.join(folder)) else {
            eprintln!("SKIPPED: no example resources at SLUIS_SHARED or ../shared/data");
            return;
        };
        let (mut done, mut wrong) = (0, String::new());
        for path in files
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
        {
            let doc = json(&std::fs::read_to_string(&path).unwrap());
            // Those that are not R4 (numbers in quotes, empty objects) are `tests/examples.rs`'s to name.
            if validate(r4(), doc.root()).iter().any(|issue| issue.is_error() && issue.code == "structure") {
                continue;
            }
            done += 1;
            match xml::write(r4(), doc.root(), false) {
                Err(error) => wrong.push_str(&format!("{}: {error}\n", path.display())),
                Ok(text) => match xml::read(r4(), text.as_bytes(), JsonLimits::default()) {
                    Err(error) => wrong.push_str(&format!("{}: {error}\n", path.display())),
                    Ok(again) if tree(again.root()) == tree(doc.root()) => {}
                    Ok(_) => wrong.push_str(&format!("{}: differs\n", path.display())),
                },
            }
        }
        assert!(wrong.is_empty() && done > 90, "{done} read, {wrong}");
    }
}

fn value() -> impl Strategy<Value = String> {
    "\\PC{1,12}|[ a-z<>&\"'\\t\\r\\n]{1,8}"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = xml::read(r4(), &bytes, JsonLimits::default());
    }

    #[test]
    fn any_markup_is_read_or_refused(text in "(<|</|/>|>|Patient|name|text|div|value|id| |=|'|\"|&|;|#x0|xmlns|:|http://hl7.org/fhir|!DOCTYPE|\\?|--|\\[CDATA\\[){0,40}") {
        let _ = xml::read(r4(), text.as_bytes(), JsonLimits::default());
        if let Ok(doc) = xml::read(r4(), patient(&text).as_bytes(), JsonLimits::default()) {
            prop_assert!(xml::write(r4(), doc.root(), false).is_ok());
        }
    }

    #[test]
    fn any_text_and_number_comes_back(family in value(), given in prop::collection::vec(prop::option::of(value()), 1..5),
        number in "-?(0|[1-9][0-9]{0,9})(\\.[0-9]{1,9})?(e-?[0-9]{1,2})?") {
        let texts: Vec<String> = given.iter().map(|text| {
            let mut out = String::new();
            write_string(text.as_deref().unwrap_or_default(), &mut out);
            if text.is_some() { out } else { "null".to_owned() }
        }).collect();
        let beside: Vec<&str> = given.iter().map(|text| if text.is_some() { "null" } else { "{\"id\":\"x\"}" }).collect();
        let mut text = "{\"resourceType\":\"Patient\",\"extension\":[{\"url\":\"urn:n\",\"valueDecimal\":".to_owned();
        text.push_str(&format!("{number}}}],\"name\":[{{\"family\":"));
        write_string(&family, &mut text);
        if given.iter().any(Option::is_some) {
            text.push_str(&format!(",\"given\":[{}]", texts.join(",")));
        }
        if given.iter().any(Option::is_none) {
            text.push_str(&format!(",\"_given\":[{}]", beside.join(",")));
        }
        text.push_str("}]}");
        let doc = json(&text);
        // `\PC` leaves out control characters but not the two non-characters XML has not.
        prop_assume!(!text.contains(['\u{FFFE}', '\u{FFFF}']));
        let written = xml::write(r4(), doc.root(), false).unwrap();
        let again = xml::read(r4(), written.as_bytes(), JsonLimits::default());
        prop_assert!(again.is_ok(), "{} {:?}", written, again.err());
        prop_assert_eq!(tree(again.unwrap().root()), tree(doc.root()));
    }
}
