//! Searches past a reference: chains, `_has`, and both in one another.

use super::world::*;
use crate::decision::filter::{Arm, Filter};
use crate::ids::{PartyKey, PatientKey};
use crate::store::{Method, Store, StoreError};

const AUTHOR: PartyKey = PartyKey(7);
const READER: PartyKey = PartyKey(8);

/// Two patients with their practitioner and organisation, observations of both, a report about one observation.
fn cast(store: &dyn Store) -> [PatientKey; 2] {
    let open = || derived(None, AUTHOR);
    create(store, r#"{"resourceType":"Organization","id":"org1","name":"De Brug"}"#, open());
    create(
        store,
        r#"{"resourceType":"Practitioner","id":"dr1","identifier":[{"system":"urn:big","value":"19"}]}"#,
        open(),
    );
    create(
        store,
        r#"{"resourceType":"PractitionerRole","id":"role1","practitioner":{"reference":"Practitioner/dr1"},
        "organization":{"reference":"Organization/org1"}}"#,
        open(),
    );
    let patient = |n: u32, gender: &str| {
        let text = format!(
            r#"{{"resourceType":"Patient","id":"p{n}","gender":"{gender}","name":[{{"family":"Proef{n}"}}],
            "birthDate":"196{n}-02-03","identifier":[{{"system":"urn:mrn","value":"{n}"}}],
            "generalPractitioner":[{{"reference":"Practitioner/dr1"}}],
            "managingOrganization":{{"reference":"Organization/org1"}}}}"#
        );
        PatientKey(create(store, &text, derived(None, AUTHOR)))
    };
    let keys = [patient(1, "female"), patient(2, "male")];
    for (id, of, code, value) in
        [("a1", 0, "fvc", 2.5), ("a2", 0, "snip", 50.0), ("b1", 1, "fvc", 3.5), ("b2", 1, "pcf", 270.0)]
    {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/p{}"}},
            "effectiveDateTime":"2025-06-01","code":{{"coding":[{{"system":"urn:c","code":"{code}"}}]}},
            "valueQuantity":{{"value":{value}}},"performer":[{{"reference":"PractitionerRole/role1"}}]}}"#,
            of + 1
        );
        create(store, &text, derived(Some(keys[of]), AUTHOR));
    }
    create(
        store,
        r#"{"resourceType":"DiagnosticReport","id":"d1","subject":{"reference":"Patient/p2"},
        "code":{"text":"x"},"status":"final","result":[{"reference":"Observation/b1"},{"reference":"Observation/b2"}]}"#,
        derived(Some(keys[1]), AUTHOR),
    );
    keys
}

/// Searches and what each finds, in order of creation.
const TABLE: &[(&str, &str)] = &[
    // One reference, with every way to compare behind it (search.html#chaining).
    ("Observation?subject:Patient.identifier=urn:mrn|1", "a1 a2"),
    ("Observation?subject.identifier=urn:mrn|1", "a1 a2"),
    ("Observation?patient.family=proef", "a1 a2 b1 b2"),
    ("Observation?patient.family:exact=Proef2", "b1 b2"),
    ("Observation?patient.gender=female,other", "a1 a2"),
    ("Observation?patient.gender:not=female", "b1 b2"),
    ("Observation?patient.birthdate=lt1962", "a1 a2"),
    ("Observation?patient.birthdate:missing=true", ""),
    ("Observation?patient.death-date:missing=true", "a1 a2 b1 b2"),
    ("Observation?patient._id=p2", "b1 b2"),
    ("Observation?subject:Patient.general-practitioner=Practitioner/dr1", "a1 a2 b1 b2"),
    ("Observation?subject:Group.identifier=urn:mrn|1", ""),
    ("Observation?subject:Patient._lastUpdated=ge2026", "a1 a2 b1 b2"),
    // Repeats are AND, each on its own.
    ("Observation?patient.gender=female&patient.gender=male", ""),
    ("Observation?patient.gender=male&code=fvc", "b1"),
    ("Observation?subject:Patient.identifier=urn:mrn|2&code=pcf", "b2"),
    // Several references in a row.
    ("Observation?patient.organization.name=de", "a1 a2 b1 b2"),
    ("Observation?performer:PractitionerRole.practitioner.identifier=urn:big|19&code=snip", "a2"),
    ("Observation?patient.general-practitioner:Practitioner.identifier=urn:big|20", ""),
    ("DiagnosticReport?result.subject:Patient.gender=male", "d1"),
    ("DiagnosticReport?result.subject:Patient.gender=female", ""),
    // The other way (search.html#has).
    ("Patient?_has:Observation:patient:code=urn:c|snip", "p1"),
    ("Patient?_has:Observation:patient:code=fvc", "p1 p2"),
    ("Patient?_has:Observation:patient:code:not=fvc", "p1 p2"),
    ("Patient?_has:Observation:subject:code-value-quantity=urn:c|fvc$gt3", "p2"),
    ("Patient?_has:Observation:patient:_id=a1,b1", "p1 p2"),
    ("Patient?_has:Observation:patient:code=pcf&_has:Observation:patient:code=snip", ""),
    ("Practitioner?_has:Patient:general-practitioner:family=proef1", "dr1"),
    // In one another.
    ("Patient?_has:Observation:patient:_has:DiagnosticReport:result:status=final", "p2"),
    ("Patient?_has:Observation:patient:performer:PractitionerRole.organization.name=de brug", "p1 p2"),
    ("Observation?patient._has:DiagnosticReport:patient:status=final", "b1 b2"),
    ("Observation?_has:DiagnosticReport:result:patient.gender=male", "b1 b2"),
    ("Organization?_has:Patient:organization:_has:Observation:patient:code=snip", "org1"),
];

/// What holds across patients holds in one patient's data, sorted or not, and counts are of the same rows.
pub fn chains_and_reverse_chains_find_their_rows(store: &dyn Store) {
    cast(store);
    let filter = clinician(AUTHOR);
    for (query, expected) in TABLE {
        assert_eq!(found(store, &filter, query).join(" "), *expected, "{query}");
        let sorted = found(store, &filter, &format!("{query}&_sort=_id")).join(" ");
        assert_eq!(sorted, *expected, "sorted {query}");
        let mut latest = found(store, &filter, &format!("{query}&_sort=-_lastUpdated"));
        latest.sort();
        assert_eq!(latest.join(" "), *expected, "latest {query}");
        let total = search(store, &filter, &format!("{query}&_summary=count")).total;
        assert_eq!(total, u64::try_from(expected.split_whitespace().count()).ok(), "{query}");
        if let Some(rest) = query.strip_prefix("Observation?") {
            for (patient, prefix) in [("p1", 'a'), ("p2", 'b')] {
                let of: Vec<&str> = expected.split_whitespace().filter(|id| id.starts_with(prefix)).collect();
                for sort in ["", "&_sort=date"] {
                    let query = format!("Observation?patient=Patient/{patient}&{rest}{sort}");
                    assert_eq!(found(store, &filter, &query), of, "{query}");
                }
            }
        }
        assert!(found(store, &nobody(), query).is_empty(), "{query} as nobody");
    }
}

/// A reader of observations alone learns nothing of patients by chains, and one of patients nothing of observations.
pub fn hidden_far_ends_do_not_exist(store: &dyn Store) {
    let keys = cast(store);
    // The first patient opened everything; of the second, observations are seen and the Patient is not.
    let filter = Filter { own: false, open_categories: 1, ..clinician(READER) };
    grant(store, keys[0], vec![arm(keys[0], READER)]);
    let id = id("p2");
    write(store, move |w| {
        let hidden = crate::decision::filter::Derived { category: 2, ..derived(Some(keys[1]), AUTHOR) };
        let body = w.current(kind("Patient"), &id)?.unwrap().body;
        put(w, std::str::from_utf8(&body).unwrap(), hidden, Method::Put)
    })
    .unwrap();
    grant(store, keys[1], vec![Arm { categories: 1, ..arm(keys[1], READER) }]);
    assert_eq!(found(store, &filter, "Observation?"), ["a1", "a2", "b1", "b2"]);
    assert_eq!(found(store, &filter, "Patient?"), ["p1"]);
    for (query, expected) in TABLE {
        let rows = found(store, &filter, query).join(" ");
        let through_patient = ["patient.", "subject.", "subject:", "result.subject", ":patient."]
            .iter()
            .any(|way| query.contains(way));
        // What is found past the second Patient, or is she, is not there.
        let left: Vec<&str> = expected
            .split_whitespace()
            .filter(|id| *id != "p2" && !(through_patient && (id.starts_with('b') || *id == "d1")))
            .collect();
        assert_eq!(rows, left.join(" "), "{query}");
        let total = search(store, &filter, &format!("{query}&_total=accurate")).total;
        assert_eq!(total, u64::try_from(left.len()).ok(), "{query}");
    }
    // Without a grant on observations, a Patient is not told by what is said of her.
    write(store, move |w| w.replace_arms(keys[1], &[Arm { categories: 2, ..arm(keys[1], READER) }])).unwrap();
    assert_eq!(found(store, &filter, "Patient?"), ["p1", "p2"]);
    assert_eq!(found(store, &filter, "Patient?_has:Observation:patient:code=fvc"), ["p1"]);
    assert_eq!(found(store, &filter, "Patient?_has:Observation:patient:code:missing=false"), ["p1"]);
    assert!(found(store, &filter, "Patient?_has:DiagnosticReport:patient:status=final").is_empty());
    assert!(
        found(store, &filter, "Patient?_has:Observation:patient:_has:DiagnosticReport:result:status=final")
            .is_empty()
    );
}

/// A deleted far end is none, a withdrawn grant closes it at once, whichever side the search starts from.
pub fn the_far_end_is_judged_in_every_way_of_finding_it(store: &dyn Store) {
    let keys = cast(store);
    let filter = Filter { own: false, open_categories: 1, ..clinician(READER) };
    let ways = [
        "Observation?patient.identifier=urn:mrn|1",
        "Observation?patient.gender=female",
        "Observation?patient.identifier=urn:mrn|1&_sort=-date",
        "Observation?_id=a1,a2&patient.gender=female",
        "Patient?_has:Observation:patient:_id=a1",
        "Patient?_id=p1&_has:Observation:patient:code=fvc",
        "Patient?_has:Observation:patient:value-quantity:missing=false",
    ];
    for _ in 0..2 {
        grant(store, keys[0], vec![arm(keys[0], READER)]);
        for query in ways {
            assert!(!found(store, &filter, query).is_empty(), "{query}");
        }
        grant(store, keys[0], Vec::new());
        for query in ways {
            assert!(found(store, &filter, query).is_empty(), "{query}");
        }
    }
    let own = clinician(AUTHOR);
    write(store, move |w| {
        let text = r#"{"resourceType":"Patient","id":"p1"}"#;
        put(w, text, derived(Some(keys[0]), AUTHOR), Method::Delete)
    })
    .unwrap();
    for query in ways.iter().filter(|query| query.starts_with("Observation")) {
        assert!(found(store, &own, query).is_empty(), "{query}");
    }
    assert_eq!(found(store, &own, "Observation?patient.identifier=urn:mrn|2"), ["b1", "b2"]);
}

/// Searches and what each includes, in order.
const INCLUDES: &[(&str, &str)] = &[
    ("Patient?_id=p1&_revinclude=Observation:subject", "a1 a2"),
    ("Patient?_id=p1&_revinclude=Observation:subject:Patient", "a1 a2"),
    ("Patient?_id=p1&_revinclude=Observation:performer", ""),
    ("Patient?_id=p2&_revinclude=Observation:*", "b1 b2"),
    ("Patient?_id=p2&_revinclude=*", "b1 b2 d1"),
    (
        "Patient?_id=p1,p2&_revinclude=Observation:patient&_revinclude=DiagnosticReport:patient",
        "a1 a2 b1 b2 d1",
    ),
    ("Patient?_id=p1&_include=*", "org1 dr1"),
    ("Patient?_id=p1&_include=Patient:*", "org1 dr1"),
    ("Patient?_id=p1&_include=Patient:general-practitioner", "dr1"),
    ("Patient?_id=p1&_include=Patient:general-practitioner:Organization", ""),
    ("Observation?_id=a1&_include=*", "role1 p1"),
    // Iterated: of what was included (search.html#revinclude).
    (
        "Observation?_id=a1&_include=Observation:performer&_include:iterate=PractitionerRole:practitioner",
        "role1 dr1",
    ),
    ("Observation?_id=a1&_include:iterate=PractitionerRole:practitioner", ""),
    ("Observation?_id=a1&_include=Observation:subject&_include:iterate=Patient:*", "p1 org1 dr1"),
    ("Observation?_id=a1&_include:iterate=*", "role1 p1 org1 dr1"),
    (
        "DiagnosticReport?_id=d1&_include=DiagnosticReport:result&_include:iterate=Observation:subject",
        "b1 b2 p2",
    ),
    (
        "Practitioner?_id=dr1&_revinclude=Patient:general-practitioner&_revinclude:iterate=Observation:subject",
        "p1 p2 a1 a2 b1 b2",
    ),
    (
        "Practitioner?_id=dr1&_revinclude=PractitionerRole:practitioner&_include:iterate=PractitionerRole:organization",
        "role1 org1",
    ),
    (
        "Patient?_id=p2&_revinclude=Observation:subject&_revinclude:iterate=DiagnosticReport:result",
        "b1 b2 d1",
    ),
];

/// Everything once, no match among them, whatever way it was come by.
pub fn includes_follow_references_both_ways_and_again(store: &dyn Store) {
    cast(store);
    let filter = clinician(AUTHOR);
    for (query, expected) in INCLUDES {
        assert_eq!(ids(&search(store, &filter, query).includes).join(" "), *expected, "{query}");
        assert!(search(store, &nobody(), query).includes.is_empty(), "{query} as nobody");
    }
}

/// What is hidden is not included, and what is only reached through it is not either.
pub fn hidden_resources_are_included_by_no_way(store: &dyn Store) {
    let keys = cast(store);
    let filter = Filter { own: false, open_categories: 1, ..clinician(READER) };
    grant(store, keys[0], vec![arm(keys[0], READER)]);
    for (query, expected) in INCLUDES {
        let visible = !query.contains("_id=p2") && !query.contains("_id=d1");
        let left: Vec<&str> = expected
            .split_whitespace()
            .filter(|id| visible && !id.starts_with('b') && !matches!(*id, "p2" | "d1"))
            .collect();
        assert_eq!(ids(&search(store, &filter, query).includes), left, "{query}");
    }
    // Hidden candidates take no place under the limit: a thousand of another patient, one of her own.
    write(store, move |w| {
        for n in 0..1001 {
            let text = format!(
                r#"{{"resourceType":"Basic","id":"h{n}","author":{{"reference":"Practitioner/dr1"}}}}"#
            );
            put(w, &text, derived(Some(keys[1]), AUTHOR), Method::Post)?;
        }
        let text = r#"{"resourceType":"Basic","id":"seen","author":{"reference":"Practitioner/dr1"}}"#;
        put(w, text, derived(Some(keys[0]), AUTHOR), Method::Post)
    })
    .unwrap();
    let page = search(store, &filter, "Practitioner?_id=dr1&_revinclude=Basic:author");
    assert_eq!(ids(&page.includes), ["seen"]);
    let plan = planned("Practitioner?_id=dr1&_revinclude=Basic:author", &clinician(AUTHOR));
    let refused = read(store, &clinician(AUTHOR), |reader| reader.search(&plan)).unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
}

/// A circle brings each of its members once; a row longer than the limit is refused, not cut.
pub fn circles_and_long_rows_of_includes_end(store: &dyn Store) {
    let filter = clinician(AUTHOR);
    write(store, move |w| {
        for n in 0..30 {
            let (circle, row) = ((n + 1) % 5, n + 1);
            let mut texts = vec![format!(
                r#"{{"resourceType":"Observation","id":"l{n}","derivedFrom":[{{"reference":"Observation/l{row}"}}]}}"#
            )];
            if n < 5 {
                texts.push(format!(
                    r#"{{"resourceType":"Observation","id":"c{n}","derivedFrom":[{{"reference":"Observation/c{circle}"}}]}}"#
                ));
            }
            for text in texts {
                put(w, &text, derived(None, AUTHOR), Method::Post)?;
            }
        }
        Ok(())
    })
    .unwrap();
    for way in ["_include", "_revinclude"] {
        let circle = format!("Observation?_id=c0&{way}:iterate=Observation:derived-from");
        let mut found = ids(&search(store, &filter, &circle).includes);
        found.sort();
        assert_eq!(found, ["c1", "c2", "c3", "c4"], "{way}");
        let start = if way == "_include" { "l0" } else { "l29" };
        let plan =
            planned(&format!("Observation?_id={start}&{way}:iterate=Observation:derived-from"), &filter);
        let refused = read(store, &filter, |reader| reader.search(&plan)).unwrap_err();
        assert!(matches!(&refused, StoreError::Refused(r) if r.details.contains("16 times")), "{refused}");
    }
}
