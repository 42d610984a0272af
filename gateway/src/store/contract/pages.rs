//! Pages: every row once, one state of the store, exact totals.

use super::world::*;
use crate::decision::filter::Filter;
use crate::ids::{PartyKey, PatientKey};
use crate::search::plan::Found;
use crate::store::{Method, Store};

const AUTHOR: PartyKey = PartyKey(7);
const ORDERS: &[&str] = &[
    "",
    "_sort=date",
    "_sort=-date",
    "_sort=-_id",
    "_sort=value-string,-date",
    "_sort=-value-string",
    "_sort=-_lastUpdated",
];
const SCOPES: &[&str] = &["", "patient=p1&", "code=c&", "patient=p1&code=c&"];

fn observation(id: usize, date: Option<usize>, text: &str) -> String {
    let date = date.map_or(String::new(), |day| format!(r#","effectiveDateTime":"2025-01-{:02}""#, day + 1));
    format!(
        r#"{{"resourceType":"Observation","id":"o{id:03}","status":"final","code":{{"coding":[{{"code":"c"}}]}},
        "subject":{{"reference":"Patient/p1"}},"valueString":"{text}"{date}}}"#
    )
}

/// Fifty rows with many equal dates and texts, and some without a date.
fn fill(store: &dyn Store) -> (Filter, PatientKey) {
    let patient = patient(store, "p1", AUTHOR);
    write(store, move |w| {
        for n in 0..50 {
            let text = ["b", "a", "C"].get(n % 3).copied().unwrap();
            let date = if n % 5 == 4 { None } else { Some(n * 7 % 10) };
            put(w, &observation(n, date, text), derived(Some(patient), AUTHOR), Method::Post)?;
        }
        Ok(())
    })
    .unwrap();
    (clinician(AUTHOR), patient)
}

fn next_page(store: &dyn Store, filter: &Filter, query: &str, page: &Found) -> Option<Found> {
    let plan = planned(query, filter).starting_after(page.next.as_ref()?).unwrap();
    Some(read(store, filter, |reader| reader.search(&plan)).unwrap())
}

/// Ids over all pages, from `page` on.
fn rest(store: &dyn Store, filter: &Filter, query: &str, page: Found) -> Vec<String> {
    let mut all = ids(&page.matches);
    let mut page = page;
    while let Some(next) = next_page(store, filter, query, &page) {
        assert!(!next.matches.is_empty(), "a next page is there because it has rows: {query}");
        all.extend(ids(&next.matches));
        page = next;
    }
    all
}

/// Whatever the order and the way to the rows, the pages together are the one large page.
pub fn pages_hold_every_row_once(store: &dyn Store) {
    let (filter, _) = fill(store);
    for order in ORDERS {
        for scope in SCOPES {
            let whole = found(store, &filter, &format!("Observation?{scope}{order}&_count=1000"));
            assert_eq!(whole.len(), 50, "{scope}{order}");
            for count in [1, 7, 10, 49, 50] {
                let query = format!("Observation?{scope}{order}&_count={count}");
                let first = search(store, &filter, &query);
                assert_eq!(rest(store, &filter, &query, first), whole, "{query}");
            }
        }
    }
}

/// Patients with several names and CarePlans with several dates, and what asks for them by values of which a row has
/// several, by several tests, and by comparisons from either end.
const WALKS: &[&str] = &[
    "Patient?name=a",
    "Patient?name=b,a",
    "Patient?name:contains=b",
    "Patient?name:exact=Aa,ab",
    "Patient?name=a,b,zz&gender=female",
    "Patient?gender=female,male",
    "Patient?gender=http://hl7.org/fhir/administrative-gender|",
    "CarePlan?activity-date=ge2025-01-04",
    "CarePlan?activity-date=gt2025-01-04,lt2025-01-03",
    "CarePlan?activity-date=le2025-01-04",
    "CarePlan?activity-date=eq2025-01,2025-02",
    "CarePlan?activity-date=sa2025-01-02",
    "CarePlan?activity-date=eb2025-01-06",
    "CarePlan?activity-date=ap2025-01-05",
    "CarePlan?subject=Patient/p1,Patient/p2",
    "CarePlan?subject=p3",
    "CarePlan?instantiates-uri=urn:a",
    "CarePlan?instantiates-uri:below=http://x/a/1,http://x/",
    "Observation?component-value-quantity=gt3",
    "Observation?component-value-quantity=lt4,ge8",
    "Observation?component-value-quantity=le4|urn:u|x",
    "Observation?component-value-quantity=5,6",
    "Observation?component-value-quantity=sa2",
    "Observation?component-value-quantity=eb7",
];

/// What is asked by criteria that no index gives an order of: of few rows, and of most.
const JUDGED: &[&str] = &[
    "Observation?subject:Patient.name=a",
    "Observation?subject:Patient.name:contains=a",
    "Observation?subject:Patient.gender=female",
    "Observation?subject:Patient.name=c&component-value-quantity=gt2",
    "Observation?patient.name=b",
    "Patient?_has:Observation:patient:status=final",
    "Patient?_has:CarePlan:patient:activity-date=ge2025-01-06",
    "Patient?_has:CarePlan:patient:instantiates-uri=http://x/a/11",
];

fn fill_walks(store: &dyn Store) -> Filter {
    write(store, |w| {
        for n in 0..12 {
            let name = |at: usize| ["Aa", "ab", "B", "bA", "c"].get((n + at * n / 2) % 5).copied().unwrap();
            let gender = ["female", "male", "other"].get(n % 3).copied().unwrap();
            let text = format!(
                r#"{{"resourceType":"Patient","id":"p{n}","gender":"{gender}","name":[{{"family":"{}","given":["{}","{}"]}}]}}"#,
                name(0),
                name(1),
                name(2)
            );
            let patient = PatientKey(put(w, &text, derived(None, AUTHOR), Method::Post)?);
            let day = |at: usize| 1 + (n * at + n) % 7;
            let text = format!(
                r#"{{"resourceType":"CarePlan","id":"c{n}","status":"active","intent":"plan","subject":{{"reference":"Patient/p{n}"}},
                "instantiatesUri":["urn:a","http://x/a/{n}","http://x/a"],"activity":[{{"detail":{{"status":"completed",
                "scheduledTiming":{{"event":["2025-01-0{}","2025-01-0{}"]}}}}}},{{"detail":{{"status":"completed","scheduledTiming":{{"event":["2025-01-0{}","2025-01"]}}}}}}]}}"#,
                day(0),
                day(1),
                day(3)
            );
            put(w, &text, derived(Some(patient), AUTHOR), Method::Post)?;
            let value = |at: usize| 1 + (n * at + at) % 9;
            let component = |at: usize| {
                format!(r#"{{"code":{{"text":"a"}},"valueQuantity":{{"value":{},"system":"urn:u","code":"x"}}}}"#, value(at))
            };
            let text = format!(
                r#"{{"resourceType":"Observation","id":"o{n}","status":"final","code":{{"text":"a"}},
                "subject":{{"reference":"Patient/p{n}"}},"component":[{},{},{}]}}"#,
                component(1),
                component(2),
                component(2)
            );
            put(w, &text, derived(Some(patient), AUTHOR), Method::Post)?;
        }
        Ok(())
    })
    .unwrap();
    clinician(AUTHOR)
}

/// The pages of an index walked in its own order hold each row once, and the rows that every other way finds.
pub fn a_walked_index_gives_every_row_once(store: &dyn Store) {
    let filter = fill_walks(store);
    for query in WALKS {
        let mut expected = found(store, &filter, &format!("{query}&_sort=_id&_count=1000"));
        assert!(!expected.is_empty(), "{query}");
        expected.sort_unstable();
        assert!(!planned(query, &filter).walked().is_empty(), "{query} is not walked");
        let whole = found(store, &filter, &format!("{query}&_count=1000"));
        for count in [1, 2, 5, 1000] {
            let query = format!("{query}&_count={count}");
            let first = search(store, &filter, &query);
            let all = rest(store, &filter, &query, first);
            assert_eq!(all, whole, "{query}");
        }
        let mut whole = whole;
        whole.sort_unstable();
        assert_eq!(whole, expected, "{query}");
        assert_eq!(found(store, &nobody(), query), Vec::<String>::new(), "{query}");
    }
}

/// Rows judged one by one, rows collected, and first the one and then the other give the same pages.
pub fn rows_judged_one_by_one_are_those_found_by_value(store: &dyn Store) {
    let filter = fill_walks(store);
    for query in JUDGED {
        let mut expected = found(store, &filter, &format!("{query}&_sort=_id&_count=1000"));
        assert!(!expected.is_empty(), "{query}");
        for count in [1, 2, 5, 1000] {
            let query = format!("{query}&_count={count}");
            let first = search(store, &filter, &query);
            let mut all = rest(store, &filter, &query, first);
            all.sort_unstable();
            expected.sort_unstable();
            assert_eq!(all, expected, "{query}");
        }
        assert_eq!(found(store, &nobody(), query), Vec::<String>::new(), "{query}");
    }
}

/// After page 1: new rows are on no page, deleted ones on none, changed ones are not lost, and unchanged ones come once.
pub fn later_pages_see_the_state_of_the_first(store: &dyn Store) {
    let (filter, patient) = fill(store);
    let mut round = 0;
    for order in ORDERS {
        for scope in SCOPES {
            round += 1;
            let query = format!("Observation?{scope}{order}&_count=10&_total=accurate");
            let before = found(store, &filter, &format!("Observation?{scope}{order}&_count=1000"));
            let first = search(store, &filter, &query);
            let total = first.total.unwrap();
            // One row that page 1 has shown and one it has not move to the front of their order; one goes; one comes.
            let (shown, unseen, gone) =
                (before.get(3).unwrap(), before.get(30).unwrap(), before.get(40).unwrap());
            let number = |id: &String| id.trim_start_matches('o').parse::<usize>().unwrap();
            let (shown_at, unseen_at, gone_at) = (number(shown), number(unseen), number(gone));
            write(store, move |w| {
                let of = derived(Some(patient), AUTHOR);
                put(w, &observation(shown_at, Some(round % 28), "A"), of, Method::Put)?;
                put(w, &observation(unseen_at, Some((round + 9) % 28), "A"), of, Method::Put)?;
                put(w, &observation(gone_at, None, ""), of, Method::Delete)?;
                put(w, &observation(100 + round, Some(27), "A"), of, Method::Post)?;
                Ok(())
            })
            .unwrap();
            let second = next_page(store, &filter, &query, &first).unwrap();
            assert_eq!(
                second.total,
                Some(total - 1),
                "{query}: the new row is not counted, the deleted one no more"
            );
            let mut later = rest(store, &filter, &query, second);
            let all = rest(store, &filter, &query, first);
            later.sort_unstable();
            assert!(
                later.windows(2).all(|pair| pair.first() != pair.last()),
                "{query}: twice on the later pages"
            );
            assert!(!all.contains(&format!("o{}", 100 + round)), "{query}: a new row appeared");
            let times = |id: &String| all.iter().filter(|other| *other == id).count();
            assert_eq!(times(gone), 0, "{query}: a deleted row stayed");
            assert!(times(unseen) >= 1, "{query}: a changed row was lost");
            for id in before.iter().filter(|id| ![shown, unseen, gone].contains(id)) {
                assert_eq!(times(id), 1, "{query}: {id}");
            }
            // Put the deleted one back for the next round.
            write(store, move |w| {
                put(w, &observation(gone_at, Some(1), "b"), derived(Some(patient), AUTHOR), Method::Put)?;
                put(w, &observation(100 + round, None, ""), derived(None, AUTHOR), Method::Delete)
            })
            .unwrap();
        }
    }
}

/// Bytes of another search, cut bytes and made-up bytes are refused, and never anything worse.
pub fn a_tampered_place_is_refused(store: &dyn Store) {
    let (filter, _) = fill(store);
    let query = "Observation?_sort=-value-string,date&_count=10";
    let next = search(store, &filter, query).next.unwrap();
    let plan = planned(query, &filter);
    assert!(plan.clone().starting_after(&next).is_ok());
    for length in 0..next.len() {
        assert!(plan.clone().starting_after(next.get(..length).unwrap()).is_err(), "cut at {length}");
    }
    assert!(planned("Observation?_sort=value-string,date&_count=10", &filter).starting_after(&next).is_err());
    assert!(planned("Basic?_count=10", &filter).starting_after(&next).is_err());
    for at in 0..next.len() {
        let mut bytes = next.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x83;
        }
        // A changed place may read as a place; searching from it is a page or an empty one.
        if let Ok(plan) = plan.clone().starting_after(&bytes) {
            read(store, &filter, |reader| reader.search(&plan)).unwrap();
        }
    }
}

/// Counted where asked, and unasked in one patient's data; a count alone gives no rows.
pub fn totals_count_what_is_visible(store: &dyn Store) {
    let (filter, _) = fill(store);
    let total = |query: &str| search(store, &filter, query).total;
    assert_eq!(total("Observation?"), None);
    assert_eq!(total("Observation?_total=accurate&_count=3"), Some(50));
    assert_eq!(total("Observation?_total=estimate"), Some(50));
    assert_eq!(total("Observation?patient=p1&_count=3"), Some(50));
    assert_eq!(total("Observation?patient=p1&_total=none"), None);
    assert_eq!(total("Observation?date:missing=true&_total=accurate"), Some(10));
    for query in ["Observation?_summary=count", "Observation?_count=0"] {
        let page = search(store, &filter, query);
        assert_eq!((page.total, page.matches.len(), page.next.is_none()), (Some(50), 0, true), "{query}");
    }
    assert_eq!(search(store, &nobody(), "Observation?_summary=count").total, Some(0));
}
