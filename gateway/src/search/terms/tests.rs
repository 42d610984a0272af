#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::collections::HashMap;

use serde_json::{Value, json};
use sluis_conformance::json::JsonLimits;

use super::*;

/// Definitions by address.
#[derive(Default)]
struct Few(HashMap<String, Arc<Doc>>);

impl Few {
    fn with(mut self, address: &str, definition: &Value) -> Few {
        let doc = Doc::parse(definition.to_string().into_bytes(), JsonLimits::default()).unwrap();
        self.0.insert(address.to_owned(), Arc::new(doc));
        self
    }
}

impl Catalogue for Few {
    fn value_set(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError> {
        Ok(self.0.get(address).cloned())
    }

    fn code_system(&mut self, address: &str) -> Result<Option<Arc<Doc>>, StoreError> {
        Ok(self.0.get(address).cloned())
    }
}

/// Motor neurone diseases: a tree by nesting, a second parent by property.
fn diseases() -> Value {
    json!({ "resourceType": "CodeSystem", "url": "urn:d", "content": "complete", "hierarchyMeaning": "is-a", "concept": [
        { "code": "mnd", "concept": [
            { "code": "als", "concept": [
                { "code": "bulbar", "property": [{ "code": "onset", "valueCode": "bulbar" }] },
                { "code": "spinal", "property": [{ "code": "onset", "valueString": "spinal" }] },
            ] },
            { "code": "pls" },
        ] },
        { "code": "inherited" },
        { "code": "fals", "property": [{ "code": "parent", "valueCode": "als" }, { "code": "parent", "valueCode": "inherited" }] },
    ] })
}

fn set(compose: &Value) -> Value {
    json!({ "resourceType": "ValueSet", "compose": compose })
}

/// `system: code code; system: *`, or the reason and words of the refusal.
fn expanded(catalogue: &mut dyn Catalogue, address: &str) -> String {
    match expand(catalogue, address) {
        Ok(codes) => {
            let one = |(system, of): (&String, &Of)| match of {
                Of::All => format!("{system}: *"),
                Of::These(codes) => {
                    format!("{system}: {}", codes.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
                }
            };
            codes.iter().map(one).collect::<Vec<_>>().join("; ")
        }
        Err(StoreError::Refused(refusal)) => format!("{:?}: {}", refusal.reason, refusal.details),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_composition_is_evaluated_as_the_specification_says() {
    let filter = |property: &str, op: &str, value: &str| json!({ "system": "urn:d", "filter": [{ "property": property, "op": op, "value": value }] });
    let table = [
        (
            json!({ "include": [{ "system": "urn:x", "concept": [{ "code": "b" }, { "code": "a" }] }] }),
            "urn:x: a b",
        ),
        (json!({ "include": [{ "system": "urn:x" }] }), "urn:x: *"),
        (json!({ "include": [filter("concept", "is-a", "als")] }), "urn:d: als bulbar fals spinal"),
        (json!({ "include": [filter("concept", "descendent-of", "als")] }), "urn:d: bulbar fals spinal"),
        (json!({ "include": [filter("concept", "is-not-a", "mnd")] }), "urn:d: inherited"),
        (json!({ "include": [filter("concept", "generalizes", "bulbar")] }), "urn:d: als bulbar mnd"),
        (json!({ "include": [filter("concept", "in", "als, none,pls")] }), "urn:d: als pls"),
        (
            json!({ "include": [filter("concept", "not-in", "als,pls,mnd")] }),
            "urn:d: bulbar fals inherited spinal",
        ),
        (json!({ "include": [filter("onset", "=", "spinal")] }), "urn:d: spinal"),
        (json!({ "include": [filter("onset", "in", "spinal,bulbar")] }), "urn:d: bulbar spinal"),
        (json!({ "include": [filter("concept", "is-a", "nothing")] }), "urn:d: "),
        // Filters of one include all hold, includes are united, excludes come last.
        (
            json!({ "include": [{ "system": "urn:d", "filter": [
                { "property": "concept", "op": "is-a", "value": "mnd" },
                { "property": "concept", "op": "is-a", "value": "inherited" },
            ] }, { "system": "urn:x", "concept": [{ "code": "a" }] }] }),
            "urn:d: fals; urn:x: a",
        ),
        (
            json!({ "include": [filter("concept", "is-a", "mnd")], "exclude": [filter("concept", "is-a", "als")] }),
            "urn:d: mnd pls",
        ),
        (
            json!({ "include": [{ "system": "urn:d" }], "exclude": [{ "system": "urn:d", "concept": [{ "code": "als" }] }] }),
            "urn:d: bulbar fals inherited mnd pls spinal",
        ),
        (json!({ "include": [{ "valueSet": ["urn:vs:inner"] }] }), "urn:d: als bulbar fals spinal"),
        (
            json!({ "include": [{ "system": "urn:d", "valueSet": ["urn:vs:inner", "urn:vs:few"] }] }),
            "urn:d: als",
        ),
        (json!({ "include": [{ "system": "urn:x", "valueSet": ["urn:vs:inner"] }] }), ""),
        (
            json!({ "include": [{ "valueSet": ["http://hl7.org/fhir/ValueSet/administrative-gender"] }] }),
            "http://hl7.org/fhir/administrative-gender: female male other unknown",
        ),
        (json!({ "include": [] }), ""),
    ];
    for (compose, expected) in table {
        let mut few = Few::default()
            .with("urn:d", &diseases())
            .with("urn:vs:inner", &set(&json!({ "include": [filter("concept", "is-a", "als")] })))
            .with("urn:vs:few", &set(&json!({ "include": [{ "system": "urn:d", "concept": [{ "code": "als" }, { "code": "pls" }] }] })))
            .with("urn:vs", &set(&compose));
        assert_eq!(expanded(&mut few, "urn:vs"), expected, "{compose}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() {
    let snomed = "http://snomed.info/sct";
    let is_a = |system: &str, op: &str| json!({ "include": [{ "system": system, "filter": [{ "property": "concept", "op": op, "value": "x" }] }] });
    let fragment =
        json!({ "resourceType": "CodeSystem", "content": "fragment", "concept": [{ "code": "x" }] });
    let parts = json!({ "resourceType": "CodeSystem", "content": "complete", "hierarchyMeaning": "part-of", "concept": [{ "code": "x" }] });
    let table = [
        (is_a(snomed, "is-a"), "http://snomed.info/sct is not loaded"),
        (is_a("urn:d", "regex"), "\"regex\" on \"concept\""),
        (is_a("urn:fragment", "is-a"), "its content is \"fragment\""),
        (is_a("urn:parts", "is-a"), "does not mean is-a"),
        (json!({ "include": [{ "valueSet": ["urn:absent"] }] }), "urn:absent is not there"),
        (json!({ "include": [{ "valueSet": ["urn:vs"] }] }), "made of itself"),
        (
            json!({ "include": [{ "system": snomed }], "exclude": [{ "system": snomed, "concept": [{ "code": "1" }] }] }),
            "not loaded",
        ),
    ];
    for (compose, words) in table {
        let mut few = Few::default()
            .with("urn:d", &diseases())
            .with("urn:fragment", &fragment)
            .with("urn:parts", &parts)
            .with("urn:vs", &set(&compose));
        let said = expanded(&mut few, "urn:vs");
        assert!(said.starts_with("TerminologyMissing") && said.contains(words), "{compose}: {said}");
    }
    let said = expanded(&mut Few::default().with("urn:vs", &json!({ "resourceType": "ValueSet" })), "urn:vs");
    assert!(said.contains("neither"), "{said}");
}

#[test]
fn an_expansion_counts_when_it_is_all_of_the_set() {
    let contains = json!([
        { "system": "urn:x", "code": "a", "contains": [{ "system": "urn:x", "code": "b" }] },
        { "system": "urn:x", "abstract": true, "code": "group", "contains": [{ "system": "urn:y", "code": "c" }] },
    ]);
    let compose = json!({ "include": [{ "system": "urn:z", "concept": [{ "code": "z" }] }] });
    for (expansion, expected) in [
        (json!({ "contains": contains }), "urn:x: a b; urn:y: c"),
        (json!({ "contains": contains, "total": 4 }), "urn:x: a b; urn:y: c"),
        (json!({ "contains": contains, "total": 400 }), "urn:z: z"),
        (json!({ "contains": contains, "offset": 10 }), "urn:z: z"),
    ] {
        let definition = json!({ "resourceType": "ValueSet", "compose": compose, "expansion": expansion });
        assert_eq!(expanded(&mut Few::default().with("urn:vs", &definition), "urn:vs"), expected);
    }
}

#[test]
fn kin_are_a_code_and_those_above_or_below() {
    let mut few = Few::default().with("urn:d", &diseases());
    let mut kin_of = |code: &str, below: bool| {
        kin(&mut few, "urn:d", code, below).map(|codes| codes.into_iter().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(kin_of("als", true).unwrap(), "als bulbar fals spinal");
    assert_eq!(kin_of("fals", false).unwrap(), "als fals inherited mnd");
    assert_eq!(kin_of("pls", true).unwrap(), "pls");
    assert!(
        matches!(kin_of("none", true), Err(StoreError::Refused(r)) if r.reason == Reason::ParameterInvalid)
    );
}

/// Circles, wide sets and long rows of sets end, within their limits.
#[test]
fn what_grows_has_an_end() {
    let circle = json!({ "resourceType": "CodeSystem", "content": "complete", "concept": [
        { "code": "a", "property": [{ "code": "parent", "valueCode": "b" }] },
        { "code": "b", "property": [{ "code": "parent", "valueCode": "a" }] },
    ] });
    let mut few = Few::default().with("urn:circle", &circle);
    assert_eq!(kin(&mut few, "urn:circle", "a", true).unwrap().len(), 2);

    let concepts: Vec<Value> = (0..=CODES_MAX).map(|n| json!({ "code": format!("c{n}") })).collect();
    let wide = set(&json!({ "include": [{ "system": "urn:x", "concept": concepts }] }));
    let half =
        |from: usize, to: usize| json!({ "system": format!("urn:{from}"), "concept": concepts[from..to] });
    let both = set(&json!({ "include": [half(0, CODES_MAX / 2 + 1), half(CODES_MAX / 2, CODES_MAX)] }));
    let contains: Vec<Value> =
        (0..=CODES_MAX).map(|n| json!({ "system": "urn:x", "code": format!("c{n}") })).collect();
    let given = json!({ "resourceType": "ValueSet", "expansion": { "contains": contains } });
    for definition in [wide, both, given] {
        let said = expanded(&mut Few::default().with("urn:vs", &definition), "urn:vs");
        assert!(said.starts_with("TooCostly"), "{said}");
    }

    let mut row = Few::default();
    for n in 0..100 {
        row = row.with(
            &format!("urn:{n}"),
            &set(&json!({ "include": [{ "valueSet": [format!("urn:{}", n + 1)] }] })),
        );
    }
    assert!(expanded(&mut row, "urn:0").starts_with("TooCostly"));
    let many: Vec<String> = (0..100).map(|n| format!("urn:{n}")).collect();
    let mut bush = Few::default().with("urn:vs", &set(&json!({ "include": [{ "valueSet": many }] })));
    for n in 0..100 {
        bush = bush.with(&format!("urn:{n}"), &set(&json!({ "include": [{ "system": "urn:x" }] })));
    }
    assert!(expanded(&mut bush, "urn:vs").starts_with("TooCostly"));
}
