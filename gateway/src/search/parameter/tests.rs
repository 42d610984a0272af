#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use super::*;
use crate::search::criterion::{SystemTest, TokenTest};

const CONTEXT: SearchContext<'_> =
    SearchContext { base: "https://sluis.example/fhir", now: Timestamp(0), lenient: false };

fn read(kind: &str, pairs: &[(&str, &str)]) -> Result<SearchRequest, Refusal> {
    let kind = definitions::r4().resource_type(kind).unwrap();
    let pairs: Vec<(String, String)> =
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    parse(kind, &pairs, &SearchLimits::default(), &CONTEXT)
}

/// `Prefer: handling=lenient` leaves out what is not known; what is known and wrong stays wrong.
#[test]
fn leniency_leaves_out_what_is_not_known_alone() {
    let lenient = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let kind = definitions::r4().resource_type("Observation").unwrap();
        parse(kind, &pairs, &SearchLimits::default(), &SearchContext { lenient: true, ..CONTEXT })
    };
    let request =
        lenient(&[("cod", "x"), ("code", "c"), ("patient.nam", "y"), ("_sort", "nonsense"), ("_score", "1")]);
    let request = request.unwrap();
    let names: Vec<_> = request.ignored.iter().flat_map(|refusal| &refusal.expression).collect();
    assert_eq!(names, ["cod", "patient.nam", "_sort", "_score"]);
    assert_eq!(request.applied, [("code".to_owned(), "c".to_owned())]);
    assert_eq!((request.criteria.len(), request.order.len()), (1, 0));
    for (pair, reason) in [
        (("code:nonsense", "x"), Reason::ModifierUnknown),
        (("patient.name:nonsense", "x"), Reason::ModifierUnknown),
        (("date", "yesterday"), Reason::ParameterInvalid),
        (("_total", "many"), Reason::ParameterInvalid),
    ] {
        assert_eq!(lenient(&[pair]).unwrap_err().reason, reason, "{pair:?}");
    }
    let many = vec![("nonsense", "x"); 500];
    assert_eq!(lenient(&many).unwrap_err().reason, Reason::TooCostly);
}

/// Words of texts: what is wrong is said with its place, what is too much is refused.
#[test]
fn expressions_of_words_are_read_or_refused_with_their_place() {
    let limits = SearchLimits { content: true, ..SearchLimits::default() };
    let ask = |kind: &str, name: &str, text: &str| {
        let kind = definitions::r4().resource_type(kind).unwrap();
        parse(kind, &[(name.to_owned(), text.to_owned())], &limits, &CONTEXT)
    };
    for text in
        ["a", "or*", "\"or\"", "and-or", "a\\b", "(a)", "not(a)", "a,b", "A'B", "a (b)", "a\"b\"c", "\\a"]
    {
        assert!(ask("Observation", "_content", text).is_ok(), "{text}");
    }
    for (text, place) in [
        ("!", "character 1 "),
        ("a or", "character 5 "),
        ("or a", "character 3 "),
        ("a and or b", "character 9 "),
        ("a (b", "character 5 "),
        ("a) b", "character 2 "),
        ("é \"b", "character 4 "),
        ("a-b*", "character 5 "),
        ("*", "character 1 "),
        ("a,", "character 3 "),
        ("a *", "character 3 "),
        ("not", "character 4 "),
        ("\"--\"", "character 2 "),
    ] {
        let refusal = ask("Observation", "_content", text).unwrap_err();
        assert_eq!(refusal.reason, Reason::ParameterInvalid, "{text}");
        assert!(refusal.details.contains(place), "{text}: {}", refusal.details);
    }
    for text in ["a ".repeat(65), "(".repeat(17) + "a", "not ".repeat(17) + "a", "\"a b c\" ".repeat(22)] {
        assert_eq!(ask("Observation", "_content", &text).unwrap_err().reason, Reason::TooCostly, "{text}");
    }
    assert_eq!(ask("Observation", "_content:exact", "a").unwrap_err().reason, Reason::ModifierUnknown);
    assert_eq!(ask("Binary", "_text", "a").unwrap_err().reason, Reason::ParameterUnknown);
    assert!(ask("Binary", "_content", "a").is_ok());
    assert_eq!(ask("Observation", "_sort", "_content").unwrap_err().reason, Reason::ParameterUnknown);
}

/// Filters without end are refused before they are read to it.
#[test]
fn filters_have_limits() {
    let reason =
        |filter: String| read("Observation", &[("_filter", &filter)]).map_err(|refusal| refusal.reason);
    let deep = |n: usize| format!("{}code eq a{}", "(".repeat(n), ")".repeat(n));
    assert!(reason(deep(32)).is_ok());
    assert_eq!(reason(deep(33)).unwrap_err(), Reason::TooCostly);
    assert_eq!(reason(format!("{}code eq a", "not (".repeat(500))).unwrap_err(), Reason::TooCostly);
    let wide = |n: usize| vec!["code eq a"; n].join(" or ");
    assert!(reason(wide(200)).is_ok());
    assert_eq!(reason(wide(201)).unwrap_err(), Reason::TooCostly);
    let chained = vec!["performer.name eq a"; 30].join(" or ");
    assert_eq!(reason(chained).unwrap_err(), Reason::TooCostly);
    let brackets = format!("{}code eq a", "derived-from[".repeat(40));
    assert_eq!(reason(brackets).unwrap_err(), Reason::TooCostly);
}

/// Parameter, value -> reason and a word of the text.
#[test]
fn what_is_not_understood_is_refused_with_what_would_be() {
    let table: &[(&str, &str, Reason, &str)] = &[
        ("cod", "x", Reason::ParameterUnknown, "Perhaps code is meant"),
        ("zzzzzzzzzz", "x", Reason::ParameterUnknown, "no search parameter"),
        ("subject:Patient.nam", "x", Reason::ParameterUnknown, "Perhaps name is meant"),
        ("subject:Encounter.status", "x", Reason::ParameterInvalid, "does not refer"),
        ("subject:Nobody.name", "x", Reason::ParameterInvalid, "no resource type"),
        ("patient.nam", "x", Reason::ParameterUnknown, "Patient has no search parameter"),
        ("patient.birthdate", "x", Reason::ParameterInvalid, "YYYY"),
        ("code.name", "x", Reason::ParameterInvalid, "no reference parameter"),
        ("focus.name", "x", Reason::ParameterInvalid, "any type"),
        ("patient.general-practitioner.name.x", "x", Reason::ParameterInvalid, "no reference parameter"),
        ("patient..name", "x", Reason::ParameterUnknown, "no search parameter"),
        ("patient.", "x", Reason::ParameterUnknown, "no search parameter"),
        (
            "derived-from:Observation.derived-from:Observation.derived-from:Observation.derived-from:Observation.\
          derived-from:Observation.code",
            "x",
            Reason::TooCostly,
            "in a row",
        ),
        ("_has", "x", Reason::ParameterInvalid, "_has:Type:reference"),
        ("_has:Observation:patient", "x", Reason::ParameterInvalid, "_has:Type:reference"),
        ("_has:Observation:patient:code", "x", Reason::ParameterInvalid, "does not refer to Observation"),
        ("_has:Observation:code:code", "x", Reason::ParameterInvalid, "no reference parameter"),
        ("_has:Nonsense:patient:code", "x", Reason::ParameterInvalid, "no resource type"),
        ("_has:AuditEvent:entity:type", "x", Reason::ParameterUnknown, "log"),
        ("_has:Observation:derived-from:nonsense", "x", Reason::ParameterUnknown, "no search parameter"),
        ("_revinclude", "Provenance", Reason::ParameterInvalid, "Type:parameter"),
        ("_revinclude", "Provenance:nonsense", Reason::ParameterUnknown, "no search parameter"),
        ("_revinclude", "Nonsense:target", Reason::ParameterInvalid, "no resource type"),
        ("_revinclude", "Condition:subject", Reason::ParameterInvalid, "does not refer to Observation"),
        ("_revinclude", "Provenance:target:Patient", Reason::ParameterInvalid, "_revinclude:iterate"),
        ("_revinclude", "AuditEvent:entity", Reason::ParameterUnknown, "log"),
        ("_revinclude:iterate", "*", Reason::ParameterInvalid, "Name the type"),
        ("_revinclude:recurse", "Provenance:target", Reason::ModifierUnknown, ":iterate"),
        ("_filter", "x", Reason::ParameterInvalid, "At character 2: a space and an operator"),
        ("_filter", "code eq a b", Reason::ParameterInvalid, "At character 11: an operator `and` or `or`"),
        ("_filter", "(code eq a", Reason::ParameterInvalid, "`)` is due"),
        ("_filter", "code eq ", Reason::ParameterInvalid, "a value is due"),
        ("_filter", "code eq \"a", Reason::ParameterInvalid, "in quotes"),
        ("_filter", "cod eq a", Reason::ParameterUnknown, "Perhaps code is meant"),
        ("_filter", "code co a", Reason::ModifierUnknown, "eq, ne, ss"),
        ("_filter", "date eq yesterday", Reason::ParameterInvalid, "YYYY"),
        ("_filter", "code pr maybe", Reason::ParameterInvalid, "true or false"),
        ("_filter", "code.name eq x", Reason::ParameterInvalid, "no reference parameter"),
        ("_filter", "focus.name eq x", Reason::ParameterInvalid, "any type"),
        ("_filter", "patient[gender eq male] eq x", Reason::ParameterInvalid, "`.` and a name"),
        ("_filter", "not(not(", Reason::ParameterInvalid, "name of a search parameter"),
        ("_filter:not", "code eq a", Reason::ParameterUnknown, "stands alone"),
        ("patient._filter", "code eq a", Reason::ParameterUnknown, "stands alone"),
        ("_text", "x", Reason::ParameterUnknown, "search.content"),
        ("_content", "x", Reason::ParameterUnknown, "search.content"),
        ("_list", "$current-problems", Reason::ParameterInvalid, "is a list of Condition"),
        ("_list", "$current-drug-allergies", Reason::ParameterUnknown, "R4 names no code"),
        ("_list", "$current", Reason::ParameterUnknown, "the id of a List, or $current-problems"),
        ("_list", "a b", Reason::ParameterInvalid, "An id is"),
        ("_list:not", "x", Reason::ModifierUnknown, "no modifier"),
        ("code:below", "x", Reason::ParameterInvalid, "system|code"),
        ("code:above", "|x", Reason::ParameterInvalid, "system|code"),
        ("subject:below", "Patient/1", Reason::ModifierUnknown, "Location"),
        ("encounter:below", "http://elsewhere/Encounter/1", Reason::ModifierUnknown, "Location"),
        ("performer:below", "1", Reason::ParameterInvalid, "Name the type"),
        ("value-string:in", "x", Reason::ModifierUnknown, ":exact"),
        ("_id:not", "x", Reason::ModifierUnknown, "no modifier"),
        ("_lastUpdated:exact", "2020", Reason::ModifierUnknown, "no modifier"),
        ("code:text", "  ", Reason::ParameterInvalid, "no letter"),
        ("identifier:of-type", "a|b", Reason::ParameterInvalid, "system|code|value"),
        ("identifier:of-type", "|b|c", Reason::ParameterInvalid, "system|code|value"),
        ("identifier:of-type", "a|b|c|d", Reason::ParameterInvalid, "system|code|value"),
        ("_profile:below", "urn:uuid:x", Reason::ParameterInvalid, "URN"),
        ("_profile:above", "http://a/////////////////////////////////////x", Reason::ParameterInvalid, "32"),
        ("_profile:contains", "http://a", Reason::ModifierUnknown, ":below"),
        ("code:nonsense", "x", Reason::ModifierUnknown, "not known"),
        ("value-string:not", "x", Reason::ModifierUnknown, ":exact"),
        ("subject:Nonsense", "x", Reason::ModifierUnknown, ":identifier"),
        ("date:exact", "2020", Reason::ModifierUnknown, ":missing"),
        ("date", "abc", Reason::ParameterInvalid, "YYYY"),
        ("date", "2021-13-01", Reason::ParameterInvalid, "YYYY"),
        ("date", "xx2021", Reason::ParameterInvalid, "prefix"),
        ("date", "2021-01-01T10:00", Reason::ParameterInvalid, "offset"),
        ("date", "2021-01-01T10:00:00 02:00", Reason::ParameterInvalid, "%2B"),
        ("value-quantity", "abc", Reason::ParameterInvalid, "decimal"),
        ("value-quantity", "5|mg", Reason::ParameterInvalid, "number|system|code"),
        ("value-quantity", "5|http://unitsofmeasure.org|", Reason::ParameterInvalid, "unit"),
        ("code", "", Reason::ParameterInvalid, "no value"),
        ("code", "a,,b", Reason::ParameterInvalid, "empty"),
        ("code", "|", Reason::ParameterInvalid, "neither"),
        ("code", "a|b|c", Reason::ParameterInvalid, "system|code"),
        ("code:missing", "yes", Reason::ParameterInvalid, "true or false"),
        ("value-string", "  ", Reason::ParameterInvalid, "no letter"),
        ("subject", "Patient/../x", Reason::ParameterInvalid, "reference"),
        ("subject", "Nonsense/1", Reason::ParameterInvalid, "reference"),
        ("subject:Patient", "Group/1", Reason::ParameterInvalid, "another type"),
        ("_id", "a/b", Reason::ParameterInvalid, "id"),
        ("_id:missing", "true", Reason::ModifierUnknown, "Every resource"),
        ("code-value-quantity", "a", Reason::ParameterInvalid, "2 values"),
        ("code-value-quantity", "a$", Reason::ParameterInvalid, "no value"),
        ("_count", "-1", Reason::ParameterInvalid, "whole number"),
        ("_count", "many", Reason::ParameterInvalid, "whole number"),
        ("_total", "most", Reason::ParameterInvalid, "accurate"),
        ("_summary", "maybe", Reason::ParameterInvalid, "count or false"),
        ("_elements", "code,,x", Reason::ParameterInvalid, "top-level"),
        ("_sort", "nonsense", Reason::ParameterUnknown, "no search parameter"),
        ("_sort", "code-value-quantity", Reason::ParameterUnknown, "order"),
        ("_sort", "a,b,c,d,e", Reason::TooCostly, "4"),
        ("_include", "", Reason::ParameterInvalid, "no value"),
        ("_include", "Observation", Reason::ParameterInvalid, "Type:parameter"),
        ("_include", "a:b:c:d", Reason::ParameterInvalid, "Type:parameter"),
        (
            "_include",
            "Observation:subject:Encounter",
            Reason::ParameterInvalid,
            "does not refer to Encounter",
        ),
        ("_include", "Patient:link", Reason::ParameterInvalid, "Observation"),
        ("_include", "Observation:code", Reason::ParameterInvalid, "no reference"),
        ("_include", "Observation:subject:Nonsense", Reason::ParameterInvalid, "type"),
        ("_include:iterate", "Observation:code", Reason::ParameterInvalid, "no reference"),
        ("_score", "x", Reason::ParameterUnknown, "not offered"),
    ];
    for (name, value, reason, word) in table {
        let refusal = read("Observation", &[(name, value)]).unwrap_err();
        assert_eq!(refusal.reason, *reason, "{name}={value}: {}", refusal.details);
        assert!(refusal.details.contains(word), "{name}={value}: {}", refusal.details);
        assert!(!refusal.expression.is_empty(), "{name}={value}");
        assert!(refusal.because("").details.len() < 300, "a refusal does not repeat the value");
    }
}

#[test]
fn limits_hold() {
    let many: Vec<(&str, &str)> = vec![("code", "x"); 65];
    assert_eq!(read("Observation", &many).unwrap_err().reason, Reason::TooCostly);
    let list = vec!["x"; 201].join(",");
    assert_eq!(read("Observation", &[("code", &list)]).unwrap_err().reason, Reason::TooCostly);
    let all = vec!["x"; 200].join(",");
    assert!(read("Observation", &[("code", &*all); 5]).is_ok());
    assert_eq!(read("Observation", &[("code", &*all); 6]).unwrap_err().reason, Reason::TooCostly);
    let long = "x".repeat(4097);
    assert_eq!(read("Observation", &[("code", &long)]).unwrap_err().reason, Reason::TooCostly);
    let digits = format!("2020{}", "0".repeat(4000));
    assert_eq!(read("Observation", &[("date", &digits)]).unwrap_err().reason, Reason::ParameterInvalid);
    assert_eq!(read("Observation", &[("_count", "1000000")]).unwrap().count, 1000);
    assert_eq!(
        read("Observation", &[("_count", "1"), ("_count", "2")]).unwrap_err().reason,
        Reason::ParameterInvalid
    );
}

/// References are counted over the whole search, so that no list of them grows a statement without bound.
#[test]
fn references_followed_have_a_limit() {
    let chains = |n: usize| vec![("subject:Patient.general-practitioner:Practitioner.name", "x"); n];
    assert!(read("Observation", &chains(32)).is_ok());
    assert_eq!(read("Observation", &chains(33)).unwrap_err().reason, Reason::TooCostly);
    // What each type of target may be multiplies.
    let wide = ("derived-from.derived-from:Observation.performer.name", "x");
    assert!(read("Observation", &[wide; 1]).is_ok());
    assert_eq!(read("Observation", &[wide; 40]).unwrap_err().reason, Reason::TooCostly);
}

/// A far end out of reach is not looked at; a chain of which nothing is left is refused.
#[test]
fn far_ends_out_of_reach_are_left_out() {
    let patient = definitions::r4().resource_type("Patient").unwrap();
    let only = |kind| if kind == patient { Ok(()) } else { Err(kind) };
    let pruned = |name: &str| {
        let mut request = read("Observation", &[(name, "x")]).unwrap();
        request.criteria[0].prune(&only).map(|()| request.criteria)
    };
    match pruned("subject.identifier").unwrap().as_slice() {
        [Criterion::Chain(_, links)] => assert!(links.iter().all(|link| link.kind == patient), "{links:?}"),
        other => unreachable!("{other:?}"),
    }
    assert!(pruned("patient.organization.name").is_err());
    assert!(pruned("subject:Group.identifier").is_err());
    assert!(pruned("_has:DiagnosticReport:result:code").is_err());
    assert!(pruned("patient._has:Condition:patient:code").is_err());
    assert!(pruned("patient.name").is_ok());
}

/// Includes bring no type outside the token's scopes, and are refused when they could bring nothing.
#[test]
fn includes_out_of_reach_are_left_out() {
    let patient = definitions::r4().resource_type("Patient").unwrap();
    let only = |kind| if kind == patient { Ok(()) } else { Err(kind) };
    let pruned = |name: &str, text: &str| {
        let mut request = read("Observation", &[(name, text)]).unwrap();
        request.includes[0].prune(&only).map(|()| request.includes.remove(0).reach)
    };
    assert_eq!(pruned("_include", "Observation:subject"), Ok(vec![patient]));
    assert_eq!(pruned("_include", "Observation:subject:Patient"), Ok(Vec::new()));
    assert_eq!(pruned("_include", "*"), Ok(vec![patient]));
    assert_eq!(pruned("_include:iterate", "*"), Ok(vec![patient]));
    assert_eq!(pruned("_revinclude", "*"), Ok(vec![patient]));
    assert!(pruned("_include", "Observation:encounter").is_err());
    assert!(pruned("_include", "Observation:subject:Group").is_err());
    assert!(pruned("_revinclude", "DiagnosticReport:result").is_err());
    assert!(pruned("_revinclude:iterate", "Condition:subject").is_err());
}

#[test]
fn escapes_keep_separators() {
    assert_eq!(split_values(r"a\,b,c", ','), [r"a\,b", "c"]);
    assert_eq!(unescape(r"a\,b\|c\$d\\e\f"), r"a,b|c$d\e\f");
    let request = read("Observation", &[("code", r"urn:a\|b|c\,d")]).unwrap();
    let token = TokenTest { system: SystemTest::Is("urn:a|b".to_owned()), code: Some("c,d".to_owned()) };
    match request.criteria.as_slice() {
        [Criterion::Index(_, Condition::Any(tests))] => assert_eq!(*tests, [Test::Token(token)]),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn what_was_applied_is_kept_for_the_self_link() {
    let pairs =
        [("code", "a,b"), ("_sort", "-date"), ("_format", "json"), ("_pretty", "true"), ("_count", "5")];
    let applied = read("Observation", &pairs).unwrap().applied;
    let names: Vec<&str> = applied.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "_sort", "_count"]);
}

/// Every parameter of every type reads a value of its kind, so none needs code of its own.
#[test]
fn every_parameter_of_r4_reads() {
    let definitions = definitions::r4();
    let value = |kind: SearchKind| match kind {
        SearchKind::Number => "1.5",
        SearchKind::Date => "2020",
        SearchKind::String => "x",
        SearchKind::Token => "urn:s|c",
        SearchKind::Quantity => "1||mg",
        SearchKind::Uri => "urn:x",
        SearchKind::Reference => "a1",
        SearchKind::Composite | SearchKind::Special => "",
    };
    let mut count = 0;
    for kind in definitions.resource_types() {
        for definition in definitions.search_parameters(kind) {
            let parts = definition.components.iter().map(|component| value(component.kind));
            let text = match definition.kind {
                SearchKind::Special => continue,
                _ if definition.code == "_id" => "a1".to_owned(),
                SearchKind::Composite => parts.collect::<Vec<_>>().join("$"),
                kind => value(kind).to_owned(),
            };
            let pairs = [(definition.code.to_owned(), text)];
            let read = parse(kind, &pairs, &SearchLimits::default(), &CONTEXT);
            assert!(read.is_ok(), "{} {}: {read:?}", definitions.type_name(kind), definition.code);
            count += 1;
        }
    }
    assert!(count > 1300, "{count}");
}

mod random {
    use proptest::prelude::*;

    use super::read;

    proptest! {
        /// Whatever is written, the answer is a request or a refusal.
        #[test]
        fn any_text_is_read_or_refused(name in "\\PC{0,12}", value in any::<String>()) {
            let _ = read("Observation", &[(&name, &value)]);
        }

        #[test]
        fn any_value_of_a_known_parameter_is_read_or_refused(
            name in prop::sample::select(vec![
                "code", "date", "value-quantity", "subject", "code-value-quantity", "value-string", "_id",
                "patient.name", "subject.birthdate", "_has:DiagnosticReport:result:date",
                "_lastUpdated", "_sort", "_include", "_count", "_elements", "subject:identifier", "derived-from",
            ]),
            value in "[a-z0-9\\\\,|$:/.+e \\-]{0,24}",
        ) {
            let _ = read("Observation", &[(name, &value)]);
        }
    }
}
