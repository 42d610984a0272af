//! What words of narratives and other texts find, alike in every store.

use super::world::*;
use crate::ids::{PartyKey, PatientKey};
use crate::store::{Method, Store};

const AUTHOR: PartyKey = PartyKey(7);
const READER: PartyKey = PartyKey(8);

fn observation(id: &str, patient: &str, div: &str, rest: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","text":{{"status":"generated","div":"<div>{div}</div>"}},"status":"final",
        "code":{{"coding":[{{"system":"http://loinc.org","code":"19868-9"}}],"text":"FVC"}},"effectiveDateTime":"2025-01-01",
        "subject":{{"reference":"Patient/{patient}"}},"note":[{{"text":"{rest}"}}]}}"#
    )
}

fn cast(store: &dyn Store) -> PatientKey {
    let patient = patient(store, "p1", AUTHOR);
    for (id, div, rest) in [
        ("o1", "<p>Longfunctie laag</p><p>ademt zwaar</p>", "Rustig in bed, Åsa kijkt mee"),
        ("o2", "<p>Long<b>functie</b> goed</p>", "ademt niet zwaar"),
        ("o3", "de ", "laag zwaar in rust"),
        ("o4", "", "\u{5d0}\u{5d1} 3,1 L c'est"),
    ] {
        let div = if id == "o3" { div.repeat(400) } else { div.to_owned() };
        create(store, &observation(id, "p1", &div, rest), derived(Some(patient), AUTHOR));
    }
    let condition = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"note":[{"text":"Longfunctie laag"}]}"#;
    create(store, condition, derived(Some(patient), AUTHOR));
    patient
}

/// One table of expressions and what each finds: across patients, within one, sorted and counted, here and at the far end of
/// a reference; to whoever may see nothing, nothing.
pub fn words_and_phrases_find_their_rows(store: &dyn Store) {
    cast(store);
    let filter = clinician(AUTHOR);
    let table: &[(&str, &str)] = &[
        ("_text=longfunctie", "o1 o2"),
        ("_text=LongFunctie", "o1 o2"),
        ("_text=long", ""),
        ("_text=long*", "o1 o2"),
        ("_text=rustig", ""),
        ("_content=rustig", "o1"),
        ("_content=longfunctie", "o1 o2"),
        ("_content=asa", "o1"),
        ("_content=Åsa", "o1"),
        ("_content=fvc", "o1 o2 o3 o4"),
        ("_content=19868-9", "o1 o2 o3 o4"),
        ("_content=19868", "o1 o2 o3 o4"),
        ("_content=loinc", ""),
        ("_content=2025", ""),
        ("_content=p1", ""),
        ("_content=generated", "o1 o2 o3 o4"),
        ("_content=\u{5d0}\u{5d1}", "o4"),
        ("_content=3,1", "o4"),
        ("_content=\"3,1 L\"", "o4"),
        ("_content=\"l c'est\"", "o4"),
        ("_content=c'est", "o4"),
        // What stands side by side is all there; and, or, not and parentheses.
        ("_content=laag zwaar", "o1 o3"),
        ("_content=laag AND zwaar", "o1 o3"),
        ("_content=laag or goed", "o1 o2 o3"),
        ("_content=goed,rustig", "o1 o2"),
        ("_content=goed\\,rustig", ""),
        ("_content=(laag OR goed) and ademt", "o1 o2"),
        ("_content=laag ademt OR goed", "o1 o2"),
        ("_content=zwaar NOT laag", "o2"),
        ("_content=zwaar not (laag or goed)", ""),
        ("_content=zwaar not laag not goed", ""),
        ("_content=NOT zwaar", "o4"),
        ("_content=not not zwaar", "o1 o2 o3"),
        ("_content=not zwaar or goed", "o2 o4"),
        ("_content=not zwaar not laag", "o4"),
        ("_content=fvc (not zwaar or goed)", "o2 o4"),
        ("_content=laag (not ademt)", "o3"),
        ("_text=NOT longfunctie", "o3 o4"),
        ("_text=laag&_content=rustig", "o1"),
        // Words in a row, within one text.
        ("_content=\"ademt zwaar\"", "o1"),
        ("_content=\"ademt niet zwaar\"", "o2"),
        ("_text=\"ademt niet zwaar\"", ""),
        ("_content=\"laag zwaar\"", "o3"),
        ("_content=\"zwaar rustig\"", ""),
        ("_content=\"zwaar generated\"", ""),
        ("_text=\"laag ademt\"", "o1"),
        ("_content=\"not\"", ""),
        ("_content=\"ademt niet\" zwaar", "o2"),
        ("_content=zwa* not \"laag zwaar\"", "o1 o2"),
        // A word past its places is found, a phrase there is not.
        ("_text=de", "o3"),
        ("_text=\"de de\"", "o3"),
        ("_text=\"de xyz\"", ""),
    ];
    for (query, expected) in table {
        for shape in [
            "",
            "&patient=p1",
            "&_sort=-date",
            "&patient=p1&_sort=date",
            "&_sort=_lastUpdated",
            "&code=19868-9",
        ] {
            let query = format!("Observation?{query}{shape}&_total=accurate");
            let page = search(store, &filter, &query);
            let mut rows = ids(&page.matches);
            rows.sort();
            assert_eq!(rows.join(" "), *expected, "{query}");
            assert_eq!(page.total, Some(rows.len() as u64), "{query}");
            assert!(found(store, &nobody(), &query).is_empty(), "{query} as nobody");
        }
        let far = format!("Patient?_has:Observation:patient:{}", query.split('&').next().unwrap());
        let due = if expected.is_empty() { "" } else { "p1" };
        assert_eq!(found(store, &filter, &far).join(" "), due, "{far}");
    }
    assert_eq!(found(store, &filter, "Condition?_content=longfunctie"), ["c1"], "a type's own");
    assert_eq!(found(store, &filter, "Patient?_content=fvc"), Vec::<String>::new());
    assert_eq!(found(store, &filter, "Observation?patient._content=fvc"), Vec::<String>::new());
}

/// An update replaces the words, a deletion takes them away, a reindex makes them again and changes nothing that is right.
pub fn words_go_with_their_row(store: &dyn Store) {
    let patient = cast(store);
    let filter = clinician(AUTHOR);
    let changed = observation("o1", "p1", "nieuw", "anders");
    write(store, move |w| put(w, &changed, derived(Some(patient), AUTHOR), Method::Put)).unwrap();
    for _ in 0..2 {
        assert_eq!(found(store, &filter, "Observation?_content=rustig"), Vec::<String>::new());
        assert_eq!(found(store, &filter, "Observation?_text=nieuw&_content=anders"), ["o1"]);
        let done = write(store, |writer| writer.reindex(0, 100)).unwrap();
        assert_eq!(done.changed, 0);
    }
    let gone = observation("o1", "p1", "", "");
    write(store, move |w| put(w, &gone, derived(Some(patient), AUTHOR), Method::Delete)).unwrap();
    assert_eq!(found(store, &filter, "Observation?_content=anders or fvc"), ["o2", "o3", "o4"]);
    // What a failed work wrote is not there.
    let lost = observation("o9", "p1", "verloren", "");
    let failed = write(store, move |w| {
        put(w, &lost, derived(Some(patient), AUTHOR), Method::Post)?;
        Err::<(), _>(crate::store::StoreError::Database("on purpose".to_owned()))
    });
    assert!(failed.is_err());
    assert_eq!(found(store, &filter, "Observation?_content=verloren"), Vec::<String>::new());
    // A work sees its own.
    let own = observation("o8", "p1", "eigen", "");
    let seen = write(store, move |w| {
        put(w, &own, derived(Some(patient), AUTHOR), Method::Post)?;
        Ok(ids(&w.search(&planned("Observation?_text=eigen", &system()))?.matches))
    });
    assert_eq!(seen.unwrap(), ["o8"]);
}

/// A word of a hidden row finds nothing, is not counted and opens nothing at the other end of a reference; once it may be
/// seen, it does.
pub fn words_of_hidden_rows_find_nothing(store: &dyn Store) {
    let patient = cast(store);
    let stranger = clinician(READER);
    let asked = [
        "Observation?_content=zwaar",
        "Observation?_content=not zwaar",
        "Observation?_content=zwaar&patient=p1&_sort=-date",
        "Patient?_has:Observation:patient:_content=zwaar",
        "Observation?patient._has:Condition:patient:_content=laag",
    ];
    for query in asked {
        let page = search(store, &stranger, &format!("{query}&_total=accurate"));
        assert_eq!((page.matches.len(), page.total), (0, Some(0)), "{query}");
    }
    grant(store, patient, vec![arm(patient, READER)]);
    for query in asked {
        assert!(!found(store, &stranger, query).is_empty(), "{query}");
    }
}
