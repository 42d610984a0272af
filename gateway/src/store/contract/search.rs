//! What a search finds, by kind of parameter.

use super::world::*;
use crate::decision::filter::Filter;
use crate::ids::PartyKey;
use crate::search::criterion::Test;
use crate::store::{Method, Record, Store, StoreError};

const AUTHOR: PartyKey = PartyKey(7);

/// A patient, another, and observations about the first that differ in one thing each.
fn cast(store: &dyn Store) -> Filter {
    let p1 = r#"{"resourceType":"Patient","id":"p1","active":true,"birthDate":"1961-02-03","gender":"female",
        "name":[{"family":"de Vriës","given":["Åsa","100%_b"]}],"identifier":[{"system":"urn:a","value":"x,1|$\\"},
        {"type":{"coding":[{"system":"urn:types","code":"MR"}],"text":"Dossiernummer"},"value":"4|4"}]}"#;
    let p2 = r#"{"resourceType":"Patient","id":"p2","active":false,"birthDate":"1961-03","name":[{"family":"Vries"}]}"#;
    let key = crate::ids::PatientKey(create(store, p1, derived(None, AUTHOR)));
    create(store, p2, derived(None, AUTHOR));
    let observation = |id: &str, rest: &str| {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","subject":{{"reference":"Patient/p1"}},{rest}}}"#
        );
        create(store, &text, derived(Some(key), AUTHOR));
    };
    observation(
        "o1",
        r#""code":{"coding":[{"system":"http://loinc.org","code":"19935-6"},{"code":"fvc"}],"text":"FVC"},
        "effectiveDateTime":"2025-06-01T10:00:00Z","issued":"2025-06-01T10:00:00.000Z",
        "valueQuantity":{"value":2.10,"system":"http://unitsofmeasure.org","code":"L","unit":"litre"},
        "performer":[{"reference":"https://sluis.example/fhir/Organization/org1"}],
        "meta":{"tag":[{"system":"urn:t","code":"t1"}],"profile":["http://example.org/P|1.0"]}"#,
    );
    observation(
        "o2",
        r#""code":{"coding":[{"system":"http://loinc.org","code":"8867-4","display":"Hartfrequentie"}]},"effectiveDateTime":"2025-06",
        "valueQuantity":{"value":72,"unit":"/min"},
        "performer":[{"identifier":{"system":"http://fhir.nl/fhir/NamingSystem/ura","value":"90000382"}}]"#,
    );
    observation(
        "o3",
        r#""code":{"text":"free"},"effectivePeriod":{"start":"2025-07-01","end":"2025-07-10"},"valueString":"Ja hoor",
        "performer":[{"reference":"https://elsewhere.example/fhir/Organization/org1"}]"#,
    );
    observation(
        "o4",
        r#""code":{"coding":[{"system":"http://loinc.org","code":"35094-2"}]},
        "valueQuantity":{"value":5,"comparator":"<","system":"http://unitsofmeasure.org","code":"L"},
        "component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"unit":"mmHg"}},
        {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"unit":"mmHg"}}]"#,
    );
    let risk = r#"{"resourceType":"RiskAssessment","id":"r1","status":"final","subject":{"reference":"Patient/p1"},
        "prediction":[{"probabilityDecimal":0.25}]}"#;
    create(store, risk, derived(Some(key), AUTHOR));
    let list = r#"{"resourceType":"List","id":"l1","status":"current","mode":"working","entry":[
        {"item":{"reference":"Observation/o3"}},{"item":{"reference":"https://sluis.example/fhir/Observation/o1"}},
        {"item":{"reference":"Patient/p2"}}]}"#;
    create(store, list, derived(None, AUTHOR));
    // Problems: on a list by LOINC, on one by its use, on one that is no longer current, on one of allergies, on none.
    for id in ["c1", "c2", "c3", "c4", "c5"] {
        let text =
            format!(r#"{{"resourceType":"Condition","id":"{id}","subject":{{"reference":"Patient/p1"}}}}"#);
        create(store, &text, derived(Some(key), AUTHOR));
    }
    for (id, status, system, code, item) in [
        ("l2", "current", "http://loinc.org", "46105-3", "c1"),
        ("l3", "current", "http://terminology.hl7.org/CodeSystem/list-example-use-codes", "problems", "c2"),
        ("l4", "retired", "http://loinc.org", "46105-3", "c3"),
        ("l5", "current", "http://loinc.org", "52472-8", "c4"),
    ] {
        let text = format!(
            r#"{{"resourceType":"List","id":"{id}","status":"{status}","mode":"working","code":{{"coding":[{{"system":"{system}",
            "code":"{code}"}}]}},"subject":{{"reference":"Patient/p1"}},"entry":[{{"item":{{"reference":"Condition/{item}"}}}}]}}"#
        );
        create(store, &text, derived(Some(key), AUTHOR));
    }
    clinician(AUTHOR)
}

/// One table of searches and what each finds (ids joined by a space, in order of creation).
pub fn every_kind_of_parameter_finds_its_rows(store: &dyn Store) {
    let filter = cast(store);
    for (id, version) in [("cp1", "|1.2"), ("cp2", "|10"), ("cp3", "")] {
        let text = format!(
            r#"{{"resourceType":"CarePlan","id":"{id}","status":"active","intent":"plan","subject":{{"reference":"Patient/p1"}},
            "instantiatesCanonical":["http://example.org/PlanDefinition/als{version}"]}}"#
        );
        create(store, &text, derived(None, AUTHOR));
    }
    let table: &[(&str, &str)] = &[
        // string: search.html#string
        ("Patient?family=de vries", "p1"),
        ("Patient?family=VRI", "p2"),
        ("Patient?name:contains=vri", "p1 p2"),
        ("Patient?family:exact=Vries", "p2"),
        ("Patient?family:exact=vries", ""),
        ("Patient?given=asa,nobody", "p1"),
        ("Patient?given=100%", "p1"),
        ("Patient?given=100a", ""),
        ("Patient?given:contains=_b", "p1"),
        ("Patient?given:contains=%b", ""),
        ("Patient?given=100%\0", ""),
        ("Patient?given:missing=true", "p2"),
        ("Patient?given:missing=false", "p1"),
        // token: search.html#token
        ("Observation?code=http://loinc.org|19935-6", "o1"),
        ("Observation?code=19935-6,8867-4", "o1 o2"),
        ("Observation?code=|fvc", "o1"),
        ("Observation?code=|19935-6", ""),
        ("Observation?code=http://loinc.org|", "o1 o2 o4"),
        ("Observation?code=LOINC|19935-6", ""),
        ("Observation?code:not=http://loinc.org|19935-6", "o2 o3 o4"),
        ("Observation?code:missing=true", ""),
        ("Patient?active=true", "p1"),
        ("Patient?gender:missing=true", "p2"),
        (r"Patient?identifier=urn:a|x\,1\|\$\\", "p1"),
        ("Observation?code=19935-6&code=fvc", "o1"),
        ("Observation?code=19935-6&code=8867-4", ""),
        ("Observation?code:text=fvc", "o1"),
        ("Observation?code:text=HARTFR", "o2"),
        ("Observation?code:text=frequentie", ""),
        ("Observation?code:text=free,hart", "o2 o3"),
        ("Observation?category:text=fvc", ""),
        ("Patient?identifier:text=dossier", "p1"),
        (r"Patient?identifier:of-type=urn:types|MR|4\|4", "p1"),
        (r"Patient?identifier:of-type=urn:types|MR|4", ""),
        (r"Patient?identifier:of-type=urn:types|PPN|4\|4", ""),
        (r"Patient?identifier:of-type=urn:other|MR|4\|4", ""),
        (r"Patient?identifier:of-type=urn:types|PPN|1,urn:types|MR|4\|4", "p1"),
        (r"Patient?identifier=4\|4", "p1"),
        ("Patient?identifier=MR", ""),
        // date: search.html#date
        ("Observation?date=2025-06-01", "o1"),
        ("Observation?date=2025-06", "o1 o2"),
        ("Observation?date=ne2025-06", "o3"),
        ("Observation?date=gt2025-06-01", "o2 o3"),
        ("Observation?date=ge2025-06-01", "o1 o2 o3"),
        ("Observation?date=lt2025-06-01", ""),
        ("Observation?date=le2025-06-01", "o1"),
        ("Observation?date=sa2025-06", "o3"),
        ("Observation?date=eb2025-07", "o1 o2"),
        ("Observation?date=ap2025-06-15", "o1 o2 o3"),
        ("Observation?date=2025-07-01,2025-06-01T10:00:00Z", "o1"),
        ("Observation?date=ge2025-06-02&date=lt2025-07-01", "o2"),
        ("Observation?date:missing=true", "o4"),
        ("Patient?birthdate=1961", "p1 p2"),
        // number: search.html#number
        ("RiskAssessment?probability=0.25", "r1"),
        ("RiskAssessment?probability=0.3", "r1"),
        ("RiskAssessment?probability=0.30", ""),
        ("RiskAssessment?probability=gt0.25", ""),
        ("RiskAssessment?probability=ge0.25", "r1"),
        ("RiskAssessment?probability=ap0.27", "r1"),
        ("RiskAssessment?probability=ne0.25", ""),
        // quantity: search.html#quantity
        ("Observation?value-quantity=2.1", "o1"),
        ("Observation?value-quantity=2.1|http://unitsofmeasure.org|L", "o1"),
        ("Observation?value-quantity=2.1|http://unitsofmeasure.org|mL", ""),
        ("Observation?value-quantity=2100|http://unitsofmeasure.org|mL", "o1"),
        ("Observation?value-quantity=2.1|http://unitsofmeasure.org|kg", ""),
        ("Observation?value-quantity=2.1|http://unitsofmeasure.org|litre", ""),
        ("Observation?value-quantity=lt3000|http://unitsofmeasure.org|mL", "o1 o4"),
        ("Observation?value-quantity=ge2100|http://unitsofmeasure.org|mL", "o1 o4"),
        ("Observation?value-quantity=ne2100|http://unitsofmeasure.org|mL", "o4"),
        ("Observation?value-quantity=ap2000|http://unitsofmeasure.org|mL,72", "o1 o2 o4"),
        ("Observation?code-value-quantity=19935-6$gt2000|http://unitsofmeasure.org|mL", "o1"),
        ("Observation?code-value-quantity=19935-6$gt2200|http://unitsofmeasure.org|mL", ""),
        ("Observation?value-quantity=2.1||L", "o1"),
        ("Observation?value-quantity=2.1||litre", "o1"),
        ("Observation?value-quantity=72||/min", "o2"),
        ("Observation?value-quantity=lt3", "o1 o4"),
        ("Observation?value-quantity=gt4", "o2 o4"),
        ("Observation?value-quantity=4", ""),
        // reference: search.html#reference
        ("Observation?subject=Patient/p1", "o1 o2 o3 o4"),
        ("Observation?subject=p1&code=8867-4", "o2"),
        ("Observation?subject:Patient=p1&code=8867-4", "o2"),
        ("Observation?subject=https://sluis.example/fhir/Patient/p1&code=8867-4", "o2"),
        ("Observation?patient=p2", ""),
        ("Observation?patient=p9", ""),
        ("Observation?patient=p1,p2&code=8867-4", "o2"),
        ("Observation?subject:Group=p1", ""),
        ("Observation?performer=Organization/org1", "o1"),
        ("Observation?performer=https://elsewhere.example/fhir/Organization/org1", "o3"),
        ("Observation?performer:identifier=http://fhir.nl/fhir/NamingSystem/ura|90000382", "o2"),
        ("Observation?performer:missing=true", "o4"),
        // canonical references and their versions: search.html#versions
        ("CarePlan?instantiates-canonical=http://example.org/PlanDefinition/als", "cp1 cp2 cp3"),
        ("CarePlan?instantiates-canonical=http://example.org/PlanDefinition/als|1.2", "cp1"),
        ("CarePlan?instantiates-canonical=http://example.org/PlanDefinition/als|1", ""),
        ("CarePlan?instantiates-canonical:below=http://example.org/PlanDefinition/als|1", "cp1"),
        ("CarePlan?instantiates-canonical:below=http://example.org/PlanDefinition/als|1.2", "cp1"),
        ("CarePlan?instantiates-canonical:below=http://example.org/PlanDefinition/als|10", "cp2"),
        ("CarePlan?instantiates-canonical:below=http://example.org/PlanDefinition/als", "cp1 cp2 cp3"),
        ("CarePlan?instantiates-canonical:below=http://example.org/PlanDefinition/other|1", ""),
        // uri and the parameters of every type
        ("Observation?_profile=http://example.org/P", "o1"),
        ("Observation?_profile=http://example.org/P|1.0", "o1"),
        ("Observation?_profile=http://example.org/p", ""),
        ("Observation?_profile:below=http://example.org/", "o1"),
        ("Observation?_profile:below=http://example.com/", ""),
        ("Observation?_profile:above=http://example.org/P/x/y", "o1"),
        ("Observation?_profile:above=http://example.org/Px/y", ""),
        ("Observation?_tag=urn:t|t1", "o1"),
        ("Observation?_id=o1,o3,x", "o1 o3"),
        ("Observation?_id=o1&_id=o3", ""),
        ("Observation?_lastUpdated=ge2026", "o1 o2 o3 o4"),
        ("Observation?_lastUpdated=lt2026", ""),
        ("Observation?_lastUpdated=2026-01-01T00:00:01Z", "o1 o2 o3 o4"),
        // _filter: search_filter.html
        ("Patient?_filter=family eq \"DE VRIES\"", "p1"),
        ("Patient?_filter=family eq vries", "p2"),
        ("Patient?_filter=family ne vries", "p1"),
        ("Patient?_filter=family ew ries", "p1 p2"),
        ("Patient?_filter=family ew de", ""),
        ("Patient?_filter=family ew \"xxxxxxxxxxde vries\"", ""),
        ("Patient?_filter=name sw de or birthdate eq 1961-03", "p1 p2"),
        ("Patient?_filter=name co \"vri\" and active eq true", "p1"),
        ("Patient?_filter=not (active eq true)", "p2"),
        ("Patient?_filter=given pr false or gender eq female and active eq false", "p2"),
        ("Patient?_filter=(given pr false or gender eq female) and active eq false", "p2"),
        ("Patient?_filter=_id ne p1", "p2"),
        ("Observation?_filter=code eq http://loinc.org|19935-6", "o1"),
        ("Observation?_filter=code eq 19935-6 or code eq 8867-4", "o1 o2"),
        ("Observation?_filter=code ne 8867-4 and code pr true", "o1 o3 o4"),
        ("Observation?_filter=not (code eq 19935-6 or code eq 8867-4)", "o3 o4"),
        ("Observation?_filter=date po 2025-06-15", "o2"),
        ("Observation?_filter=date ge 2025-06-02 and date lt 2025-07-01", "o2"),
        ("Observation?_filter=value-quantity gt 2000|http://unitsofmeasure.org|mL", "o1 o4"),
        ("Observation?_filter=value-quantity lt 3 and not (code eq 35094-2)", "o1"),
        ("Observation?_filter=subject eq Patient/p1 and (code eq fvc or code eq 8867-4)", "o1 o2"),
        ("Observation?_filter=subject re Patient/p2", ""),
        ("Observation?_filter=_profile sw http://example.org/", "o1"),
        ("Observation?_filter=_lastUpdated ge 2026 and _id eq o2", "o2"),
        ("Observation?_filter=patient.family sw de and code eq fvc", "o1"),
        ("Observation?_filter=patient[gender eq female].active eq true and code eq fvc", "o1"),
        ("Observation?_filter=patient[gender eq male].active eq true", ""),
        // _list: search.html#list
        ("Observation?_list=l1", "o1 o3"),
        ("Observation?_list=l1&code=fvc", "o1"),
        ("Patient?_list=l1", "p2"),
        ("Observation?_list=none", ""),
        ("Patient?_has:Observation:patient:_list=l1", "p1"),
        // Functional lists: lifecycle.html#lists
        ("Condition?_list=$current-problems", "c1 c2"),
        ("Condition?patient=p1&_list=$current-problems", "c1 c2"),
        ("Condition?patient=p2&_list=$current-problems", ""),
        ("MedicationStatement?_list=$current-medications", ""),
        ("AllergyIntolerance?_list=$current-allergies", ""),
        // composite: search.html#combining
        ("Observation?code-value-quantity=http://loinc.org|19935-6$gt2", "o1"),
        ("Observation?code-value-quantity=http://loinc.org|19935-6$gt3", ""),
        ("Observation?component-code-value-quantity=http://loinc.org|8480-6$gt100", "o4"),
        ("Observation?component-code-value-quantity=http://loinc.org|8462-4$gt100", ""),
        ("Observation?combo-code-value-quantity=http://loinc.org|8462-4$80", "o4"),
        ("Observation?component-code-value-quantity:missing=true", "o1 o2 o3"),
        ("Observation?code-value-date=19935-6$2025", ""),
    ];
    for (query, expected) in table {
        assert_eq!(found_sorted(store, &filter, query).join(" "), *expected, "{query}");
        // The same rows across patients and within one, by another driver and another predicate.
        if let Some(rest) = query.strip_prefix("Observation?").filter(|rest| !rest.contains("patient=p2")) {
            let rows = found(store, &filter, &format!("Observation?patient=Patient/p1&{rest}")).join(" ");
            let expected = if rest.contains("patient=p9") { "" } else { expected };
            assert_eq!(rows, *expected, "patient and {query}");
            let mut rows = found(store, &filter, &format!("Observation?{rest}&_sort=-date"));
            rows.sort();
            assert_eq!(rows.join(" "), *expected, "sorted {query}");
        }
        let total = search(store, &filter, &format!("{query}&_total=accurate")).total;
        assert_eq!(total, u64::try_from(expected.split_whitespace().count()).ok(), "{query}");
        assert!(found(store, &nobody(), query).is_empty(), "{query} as nobody");
    }
}

/// Every prefix against stored dates of every precision, with and without zones and ends; what is due is worked out from
/// the sentences of search.html#prefix on moments written down beside each date.
pub fn dates_compare_as_the_specification_says(store: &dyn Store) {
    let filter = clinician(AUTHOR);
    let us = |text: &str| match text {
        "start" => i64::MIN,
        "end" => i64::MAX,
        text => text.parse::<jiff::Timestamp>().unwrap().as_microsecond(),
    };
    // A date or start/end of a period, and the moments it stands for: from, and before.
    let stored = [
        ("2025", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2025-06", "2025-06-01T00:00:00Z", "2025-07-01T00:00:00Z"),
        ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2025-06-15", "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z"),
        ("2025-06-15T10:20:30Z", "2025-06-15T10:20:30Z", "2025-06-15T10:20:31Z"),
        ("2025-06-15T10:20:30.5Z", "2025-06-15T10:20:30.5Z", "2025-06-15T10:20:30.6Z"),
        ("2025-06-15T12:20:30+02:00", "2025-06-15T10:20:30Z", "2025-06-15T10:20:31Z"),
        ("2025-06-16T00:30:00+02:00", "2025-06-15T22:30:00Z", "2025-06-15T22:30:01Z"),
        ("2025-06-14T20:00:00-05:00", "2025-06-15T01:00:00Z", "2025-06-15T01:00:01Z"),
        ("2025-06-10/2025-06-20", "2025-06-10T00:00:00Z", "2025-06-21T00:00:00Z"),
        ("2025-06-15T23:00:00+01:00/2025-06-16", "2025-06-15T22:00:00Z", "2025-06-17T00:00:00Z"),
        ("/2025-06-15", "start", "2025-06-16T00:00:00Z"),
        ("2025-06-15/", "2025-06-15T00:00:00Z", "end"),
        ("9998-12-31", "9998-12-31T00:00:00Z", "9999-01-01T00:00:00Z"),
    ];
    for (at, (date, ..)) in stored.iter().enumerate() {
        let effective = match date.split_once('/') {
            None => format!(r#""effectiveDateTime":"{date}""#),
            Some((start, "")) => format!(r#""effectivePeriod":{{"start":"{start}"}}"#),
            Some(("", end)) => format!(r#""effectivePeriod":{{"end":"{end}"}}"#),
            Some((start, end)) => format!(r#""effectivePeriod":{{"start":"{start}","end":"{end}"}}"#),
        };
        let text = format!(
            r#"{{"resourceType":"Observation","id":"d{at}","status":"final","code":{{"text":"x"}},{effective}}}"#
        );
        create(store, &text, derived(None, AUTHOR));
    }
    let asked = [
        ("2025", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2025-06", "2025-06-01T00:00:00Z", "2025-07-01T00:00:00Z"),
        ("2025-06-15", "2025-06-15T00:00:00Z", "2025-06-16T00:00:00Z"),
        ("2025-06-15T10:20Z", "2025-06-15T10:20:00Z", "2025-06-15T10:21:00Z"),
        ("2025-06-15T12:20+02:00", "2025-06-15T10:20:00Z", "2025-06-15T10:21:00Z"),
        ("2025-06-15T10:20:30Z", "2025-06-15T10:20:30Z", "2025-06-15T10:20:31Z"),
        ("2025-06-15T12:20:30.5+02:00", "2025-06-15T10:20:30.5Z", "2025-06-15T10:20:30.6Z"),
        ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("1900", "1900-01-01T00:00:00Z", "1901-01-01T00:00:00Z"),
    ];
    for (text, from, before) in asked {
        let (low, end) = (us(from), us(before));
        // The moment of these checks is after all that is asked.
        let gap = (NOW.0 - low) / 10;
        for prefix in ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"] {
            let due = stored.iter().enumerate().filter(|(_, (_, t_from, t_before))| {
                let (t_low, t_end) = (us(t_from), us(t_before));
                let contains = low <= t_low && t_end <= end;
                match prefix {
                    "" | "eq" => contains,
                    "ne" => !contains,
                    "gt" => t_end > end,
                    "lt" => t_low < low,
                    "ge" => t_end > end || contains,
                    "le" => t_low < low || contains,
                    "sa" => t_low >= end,
                    "eb" => t_end <= low,
                    _ => t_low < end + gap && t_end > low - gap,
                }
            });
            let mut due: Vec<String> = due.map(|(at, _)| format!("d{at}")).collect();
            due.sort_unstable();
            let query = format!("Observation?date={prefix}{text}");
            assert_eq!(found_sorted(store, &filter, &query).join(" "), due.join(" "), "{query}");
        }
    }
}

/// 16 kPa is 120 mm[Hg], as a value of its own and in one repetition with its code; what is no UCUM is compared as given.
pub fn units_of_one_dimension_are_compared(store: &dyn Store) {
    let filter = clinician(AUTHOR);
    let value = |value: &str, system: &str, code: &str| {
        format!(r#""valueQuantity":{{"value":{value},"system":"{system}","code":"{code}"}}"#)
    };
    let ucum = "http://unitsofmeasure.org";
    let rows = [
        ("mmhg", value("120", ucum, "mm[Hg]")),
        ("kpa", value("16.0", ucum, "kPa")),
        ("cel", value("37.5", ucum, "Cel")),
        ("score", value("5", ucum, "{score}")),
        ("ph", value("7.4", ucum, "[pH]")),
        ("local", value("120", "urn:local", "mm[Hg]")),
    ];
    for (id, value) in rows {
        let text = format!(
            r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"text":"x"}},{value},
            "component":[{{"code":{{"coding":[{{"code":"own"}}]}},{value}}},
            {{"code":{{"coding":[{{"code":"other"}}]}},"valueQuantity":{{"value":1,"system":"{ucum}","code":"kPa"}}}}]}}"#
        );
        create(store, &text, derived(None, AUTHOR));
    }
    for (asked, expected) in [
        ("16|http://unitsofmeasure.org|kPa", "mmhg kpa"),
        ("16.0|http://unitsofmeasure.org|kPa", "mmhg kpa"),
        ("16.00|http://unitsofmeasure.org|kPa", "mmhg kpa"),
        ("16.000|http://unitsofmeasure.org|kPa", "kpa"),
        ("120|http://unitsofmeasure.org|mm[Hg]", "mmhg kpa"),
        ("gt15.999|http://unitsofmeasure.org|kPa", "kpa"),
        ("99.5|http://unitsofmeasure.org|[degF]", "cel"),
        ("ge310.65|http://unitsofmeasure.org|K", "cel"),
        ("5|http://unitsofmeasure.org|{score}", "score"),
        ("5|http://unitsofmeasure.org|1", ""),
        ("7.4|http://unitsofmeasure.org|[pH]", "ph"),
        ("120|urn:local|mm[Hg]", "local"),
        ("120||mm[Hg]", "mmhg local"),
    ] {
        assert_eq!(
            found(store, &filter, &format!("Observation?value-quantity={asked}")).join(" "),
            expected,
            "{asked}"
        );
        let component = format!("Observation?component-code-value-quantity=own${asked}");
        assert_eq!(found(store, &filter, &component).join(" "), expected, "{component}");
        let other = format!("Observation?component-code-value-quantity=other${asked}");
        assert_eq!(found(store, &filter, &other).join(" "), "", "{other}");
    }
    let all =
        "Observation?component-code-value-quantity=other$1000|http://unitsofmeasure.org|Pa&_summary=count";
    assert_eq!(search(store, &filter, all).total, Some(6));
    let text = format!(
        r#"{{"resourceType":"Observation","id":"kpa","status":"final","code":{{"text":"x"}},{}}}"#,
        value("17", ucum, "kPa")
    );
    write(store, move |w| put(w, &text, derived(None, AUTHOR), Method::Put)).unwrap();
    assert_eq!(
        found(store, &filter, "Observation?value-quantity=16|http://unitsofmeasure.org|kPa"),
        ["mmhg"]
    );
}

/// Lists of codes that value sets and hierarchies stand for: short, long, of several systems and empty.
pub fn codes_of_a_list_find_their_rows(store: &dyn Store) {
    let filter = cast(store);
    let codes = |system: &str, codes: &[&str]| Test::Codes {
        system: system.to_owned(),
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    };
    let loinc = "http://loinc.org";
    let long: Vec<String> = (0..5000).map(|n| format!("c{n}")).chain(["35094-2".to_owned()]).collect();
    let long = Test::Codes { system: loinc.to_owned(), codes: long };
    let table: &[(&[Test], &str, &str)] = &[
        (&[codes(loinc, &["19935-6", "8867-4", "none"])], "o1 o2", "o3 o4"),
        (&[codes("urn:other", &["19935-6"])], "", "o1 o2 o3 o4"),
        (
            &[codes(loinc, &["35094-2"]), codes("urn:other", &["x"]), codes(loinc, &["8867-4"])],
            "o2 o4",
            "o1 o3",
        ),
        (std::slice::from_ref(&long), "o4", "o1 o2 o3"),
        (&[codes("", &[])], "", "o1 o2 o3 o4"),
    ];
    for (tests, inside, outside) in table {
        for patient in ["", "patient=p1&"] {
            for sort in ["", "&_sort=_id", "&_sort=-date"] {
                for (modifier, expected) in [("in", inside), ("not-in", outside)] {
                    let query = format!("Observation?{patient}code:{modifier}=urn:vs{sort}&_total=accurate");
                    let plan = settled(&query, &filter, tests);
                    let found = read(store, &filter, |reader| reader.search(&plan)).unwrap();
                    let mut rows = ids(&found.matches);
                    rows.sort();
                    assert_eq!(rows.join(" "), *expected, "{query} {tests:?}");
                    assert_eq!(found.total, Some(rows.len() as u64), "{query}");
                }
            }
        }
        let plan = settled("Patient?_has:Observation:patient:code:in=urn:vs", &filter, tests);
        let found = read(store, &filter, |reader| reader.search(&plan)).unwrap();
        assert_eq!(found.matches.len(), usize::from(!inside.is_empty()), "{tests:?}");
    }
}

/// Rows without their entries get them from their bodies, batch by batch; a second pass changes nothing.
pub fn a_reindex_mends_what_is_missing(store: &dyn Store) {
    let filter = cast(store);
    write(store, |writer| {
        let text = r#"{"resourceType":"Basic","id":"bare","code":{"coding":[{"code":"mended"}]}}"#;
        writer.put(&Record {
            kind: kind("Basic"),
            id: &id("bare"),
            version: 1,
            updated: NOW,
            method: Method::Post,
            derived: derived(None, AUTHOR),
            body: text.as_bytes(),
            entries: &[],
            root: None,
        })
    })
    .unwrap();
    assert!(found(store, &filter, "Basic?code=mended").is_empty());
    let pass = || {
        let (mut after, mut batches, mut changed) = (0, 0, 0);
        loop {
            let done = write(store, move |writer| writer.reindex(after, 3)).unwrap();
            let Some(last) = done.last else { return (batches, changed) };
            assert!(last > after && last <= done.of, "{done:?}");
            (after, batches, changed) = (last, batches + 1, changed + done.changed);
        }
    };
    assert_eq!(pass(), (6, 1));
    assert_eq!(found(store, &filter, "Basic?code=mended"), ["bare"]);
    assert_eq!(found(store, &filter, "Observation?code=19935-6"), ["o1"]);
    assert_eq!(pass(), (6, 0));
    let refused = write_as(store, &filter, |writer| writer.reindex(0, 3));
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
}

/// The entries of the former version find nothing any more.
pub fn an_update_replaces_the_index_entries(store: &dyn Store) {
    let filter = clinician(AUTHOR);
    let basic = |code: &str| {
        format!(r#"{{"resourceType":"Basic","id":"b","code":{{"coding":[{{"code":"{code}"}}]}}}}"#)
    };
    create(store, &basic("old"), derived(None, AUTHOR));
    let text = basic("new");
    write(store, move |w| put(w, &text, derived(None, AUTHOR), Method::Put)).unwrap();
    assert!(found(store, &filter, "Basic?code=old").is_empty());
    assert_eq!(found(store, &filter, "Basic?code=new"), ["b"]);
}

/// Targets of several matches are included once, matches not at all, and a page past the limit is refused.
pub fn includes_come_once_and_have_a_limit(store: &dyn Store) {
    let filter = cast(store);
    let page =
        search(store, &filter, "Observation?_include=Observation:subject&_include=Observation:performer");
    assert_eq!(ids(&page.matches), ["o1", "o2", "o3", "o4"]);
    assert_eq!(ids(&page.includes), ["p1"]);
    assert_eq!(page.patients.len(), 1);
    assert!(search(store, &filter, "Observation?_include=Observation:subject:Group").includes.is_empty());

    let link = |n: usize| format!(r#"{{"type":"seealso","other":{{"reference":"Patient/l{n}"}}}}"#);
    let text = format!(
        r#"{{"resourceType":"Patient","id":"hub","link":[{}]}}"#,
        (0..1001).map(link).collect::<Vec<_>>().join(",")
    );
    write(store, move |w| {
        put(w, &text, derived(None, AUTHOR), Method::Post)?;
        for n in 0..1001 {
            let text = format!(r#"{{"resourceType":"Patient","id":"l{n}"}}"#);
            put(w, &text, derived(None, AUTHOR), Method::Post)?;
        }
        Ok(())
    })
    .unwrap();
    let plan = planned("Patient?_id=hub&_include=Patient:link", &filter);
    let refused = read(store, &filter, |reader| reader.search(&plan)).unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
}

/// Rising or falling, rows without a value come last; ties go by creation.
pub fn absent_values_sort_last(store: &dyn Store) {
    let filter = cast(store);
    for patient in ["", "patient=p1&"] {
        let sorted =
            |sort: &str| found(store, &filter, &format!("Observation?{patient}_sort={sort}")).join(" ");
        assert_eq!(sorted("date"), "o2 o1 o3 o4", "{patient}");
        assert_eq!(sorted("-date"), "o3 o1 o2 o4", "{patient}");
        assert_eq!(sorted("value-quantity"), "o1 o4 o2 o3", "{patient}");
        assert_eq!(sorted("-value-quantity"), "o2 o4 o1 o3", "{patient}");
        assert_eq!(sorted("-_id"), "o4 o3 o2 o1", "{patient}");
        assert_eq!(sorted("status,-date"), "o3 o1 o2 o4", "{patient}");
        assert_eq!(sorted("_lastUpdated"), "o1 o2 o3 o4", "{patient}");
        assert_eq!(sorted("-_lastUpdated"), "o4 o3 o2 o1", "{patient}");
    }
    // Of several dates, the earliest counts rising and the latest falling, and the row comes once.
    let days = |id: &str, days: &[&str]| {
        let activity = |day: &&str| {
            format!(
                r#"{{"detail":{{"status":"scheduled","scheduledPeriod":{{"start":"{day}","end":"{day}"}}}}}}"#
            )
        };
        let text = format!(
            r#"{{"resourceType":"CarePlan","id":"{id}","subject":{{"reference":"Patient/p1"}},"activity":[{}]}}"#,
            days.iter().map(activity).collect::<Vec<_>>().join(",")
        );
        let key = store.patient_key(&super::world::id("p1")).unwrap();
        create(store, &text, derived(key, AUTHOR));
    };
    days("wide", &["2025-05-05", "2025-01-01", "2025-09-09", "2025-05-05"]);
    days("early", &["2025-02-02"]);
    days("late", &["2025-08-08", "2025-08-09"]);
    for patient in ["", "patient=p1&", "status:missing=true&"] {
        let sorted = |sort: &str| found(store, &filter, &format!("CarePlan?{patient}_sort={sort}")).join(" ");
        assert_eq!(sorted("activity-date"), "wide early late", "{patient}");
        assert_eq!(sorted("-activity-date"), "wide late early", "{patient}");
        assert_eq!(sorted("activity-date,_id"), "wide early late", "{patient}");
        assert_eq!(sorted("-activity-date,_id"), "wide late early", "{patient}");
    }
    assert_eq!(found(store, &filter, "Patient?_sort=family"), ["p1", "p2"]);
    assert_eq!(found(store, &filter, "Patient?_sort=-birthdate"), ["p2", "p1"]);
    assert_eq!(found(store, &filter, "Patient?_sort=given,-family"), ["p1", "p2"]);
}

/// A search as large as the limits of its text allow runs, whatever its values are.
pub fn the_largest_search_runs(store: &dyn Store) {
    let filter = cast(store);
    let list = |value: &dyn Fn(usize) -> String| (0..200).map(value).collect::<Vec<_>>().join(",");
    let queries = [
        format!("Observation?code={}", list(&|n| format!("urn:s|{n}"))),
        format!("Observation?performer={}", list(&|n| format!("urn:x:{n}"))),
        format!("Observation?code:not={}", list(&|n| format!("c{n}"))),
        format!("Observation?date={}", list(&|n| format!("ne{}", 1900 + n))),
        format!("Observation?_id={}", list(&|n| format!("x{n}"))),
        format!("Observation?value-string:contains={}", list(&|n| format!("x{n}"))),
        format!("Observation?code-value-quantity={}", list(&|n| format!("c{n}$gt{n}"))),
        format!(
            "Observation?{}",
            vec![format!("date={}", list(&|n| format!("ge{}", 1900 + n))); 5].join("&")
        ),
        format!("Observation?_filter={}", vec!["code ne x"; 200].join(" or ")),
        format!("Observation?_filter={}status eq final{}", "not (".repeat(31), ")".repeat(31)),
        format!("Observation?_list={}", list(&|n| format!("x{n}"))),
        format!("Observation?{}", ["status=final"; 64].join("&")),
        format!("Observation?patient=p1&_sort=-date&{}", ["code:missing=false"; 62].join("&")),
        format!("Observation?{}", ["subject:Patient.general-practitioner:Practitioner.name=x"; 32].join("&")),
        format!("Patient?{}", ["_has:Observation:patient:code=x"; 64].join("&")),
        format!("Patient?{}", ["_has:Observation:patient:_has:Observation:derived-from:_has:Observation:has-member:_has:DiagnosticReport:result:code=x"; 16].join("&")),
        format!("Observation?derived-from.derived-from:Observation.performer.name={}", list(&|n| format!("x{n}"))),
        format!("Observation?{}", vec![format!("code:not={}", list(&|n| format!("c{n}"))); 5].join("&")),
    ];
    for query in queries {
        let name = query.get(..40).unwrap().to_owned();
        let plan = planned(&query, &filter);
        let result = read(store, &filter, |reader| reader.search(&plan));
        assert!(result.is_ok(), "{name}: {:?}", result.err());
    }
}
