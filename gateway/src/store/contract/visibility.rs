//! What a permit's holder sees: the filter in every alias, in the snapshot of the rows.

use std::cell::RefCell;

use super::world::*;
use crate::audit::entry::AuditRecord;
use crate::clock::Timestamp;
use crate::decision::filter::{Arm, CareRelation, Derived, Filter};
use crate::ids::{PartyKey, PatientKey};
use crate::store::{AuditQuery, Method, Shelf, Store, StoreError};

const AUTHOR: PartyKey = PartyKey(7);
const READER: PartyKey = PartyKey(8);

fn observation(id: &str, patient: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","status":"final","code":{{"coding":[{{"system":"urn:c","code":"c"}}]}},
        "subject":{{"reference":"Patient/{patient}"}},"effectiveDateTime":"2025-01-01"}}"#
    )
}

/// Without a grant nothing is there, whichever way it is asked for.
pub fn what_is_hidden_does_not_exist(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    create(store, &observation("o1", "p1"), derived(Some(patient), AUTHOR));
    let stranger = clinician(READER);
    let (kind, id) = (kind("Observation"), id("o1"));
    assert!(read(store, &stranger, |r| r.current(kind, &id)).unwrap().is_none());
    assert!(read(store, &stranger, |r| r.version(kind, &id, 1)).unwrap().is_none());
    assert_eq!(history(store, &stranger, kind, &id, None, 9).1, 0);
    for query in ["_id=o1", "patient=p1", "code=c", "_sort=date", "patient=p1&_sort=-date", "date=2025", ""] {
        let page = search(store, &stranger, &format!("Observation?{query}&_total=accurate"));
        assert!(page.matches.is_empty(), "{query}");
        assert_eq!((page.total, page.next.is_none(), page.patients.len()), (Some(0), true, 0), "{query}");
    }
    assert_eq!(found(store, &clinician(AUTHOR), "Observation?patient=p1"), ["o1"]);
    // The patient herself sees all of her own, and an open category needs no patient.
    let herself = Filter { self_patient: Some(patient), ..nobody() };
    assert_eq!(found(store, &herself, "Observation?"), ["o1"]);
    assert_eq!(found(store, &herself, "Patient?"), ["p1"], "a Patient is in her own compartment");
    create(
        store,
        r#"{"resourceType":"Organization","id":"org"}"#,
        Derived { category: 2, ..derived(None, AUTHOR) },
    );
    assert!(found(store, &nobody(), "Organization?").is_empty());
    assert_eq!(found(store, &Filter { open_categories: 2, ..nobody() }, "Organization?"), ["org"]);
    assert!(
        found(store, &Filter { self_patient: Some(PatientKey(0)), ..nobody() }, "Organization?").is_empty()
    );
}

/// A grant opens by its validity to the microsecond, and a read after its withdrawal sees nothing.
pub fn a_withdrawn_grant_hides_at_once(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    create(store, &observation("o1", "p1"), derived(Some(patient), AUTHOR));
    let reader = clinician(READER);
    let sees = |filter: &Filter| {
        let scoped = found(store, filter, "Observation?patient=p1");
        assert_eq!(scoped, found(store, filter, "Observation?code=c"), "both shapes agree");
        !scoped.is_empty()
    };
    for _ in 0..20 {
        grant(store, patient, vec![arm(patient, READER)]);
        assert!(sees(&reader));
        grant(store, patient, vec![]);
        assert!(!sees(&reader));
    }
    grant(store, patient, vec![Arm { valid_to: Timestamp(NOW.0 + 1), ..arm(patient, READER) }]);
    assert!(sees(&reader));
    assert!(!sees(&Filter { now: Timestamp(NOW.0 + 1), ..reader.clone() }), "the end is exclusive");
    assert!(!sees(&Filter { purpose: 2, ..reader.clone() }), "purposes are not inherited");

    let careful = Filter { care_relation: true, ..reader };
    assert!(!sees(&careful));
    let relation = CareRelation {
        patient,
        party: READER,
        valid_from: NOW,
        valid_to: Timestamp::MAX,
        source: "CareTeam/1".into(),
    };
    write(store, move |w| w.replace_relations(patient, &[relation])).unwrap();
    assert!(sees(&careful));
    assert!(!sees(&Filter { now: Timestamp(NOW.0 - 1), ..careful }));
    assert!(read(store, &system(), |r| r.arms(patient)).unwrap().len() == 1);
    let other = arm(PatientKey(patient.0 + 1), READER);
    assert!(
        write(store, move |w| w.replace_arms(patient, &[other])).is_err(),
        "a grant names its own patient"
    );
}

/// A label added later hides the past; a past label hides its own version.
pub fn a_past_version_needs_the_current_one(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    grant(store, patient, vec![Arm { deny_labels: 4, ..arm(patient, READER) }]);
    let labelled = |id: &'static str, labels: [u64; 2]| {
        for (label, method) in labels.into_iter().zip([Method::Post, Method::Put]) {
            let derived = Derived { labels: label, ..derived(Some(patient), AUTHOR) };
            write(store, move |w| put(w, &observation(id, "p1"), derived, method)).unwrap();
        }
    };
    labelled("later", [0, 4]);
    labelled("former", [4, 0]);
    let reader = clinician(READER);
    let version =
        |name, version| read(store, &reader, |r| r.version(kind("Observation"), &id(name), version)).unwrap();
    assert!(version("later", 1).is_none() && version("later", 2).is_none());
    assert!(version("former", 1).is_none() && version("former", 2).is_some());
    let history = |name| history(store, &reader, kind("Observation"), &id(name), None, 9);
    assert_eq!(history("later").1, 0);
    let (versions, total) = history("former");
    assert_eq!((versions.len(), total), (1, 1));
}

/// The audit record can say which consent opened what was read.
pub fn the_grant_that_opened_a_row_is_named(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    create(store, &observation("o1", "p1"), derived(Some(patient), AUTHOR));
    grant(store, patient, vec![arm(patient, READER)]);
    let consent = |filter: &Filter| {
        let scoped = search(store, filter, "Observation?patient=p1").matches.pop().unwrap().consent;
        let cohort = search(store, filter, "Observation?").matches.pop().unwrap().consent;
        assert_eq!(scoped, cohort);
        scoped
    };
    assert_eq!(consent(&clinician(READER)).as_deref(), Some("Consent/c1/_history/1"));
    assert_eq!(consent(&clinician(AUTHOR)), None);
}

/// The target of a visible reference is judged by itself, before any limit.
pub fn hidden_targets_are_not_included(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    write(store, move |w| {
        for n in 0..40 {
            put(
                w,
                &observation(&format!("o{n}"), "p1"),
                Derived { category: 2, ..derived(Some(patient), AUTHOR) },
                Method::Post,
            )?;
        }
        Ok(())
    })
    .unwrap();
    // Category 1 holds the Patient, category 2 the observations.
    let only = |categories| grant(store, patient, vec![Arm { categories, ..arm(patient, READER) }]);
    let page = || search(store, &clinician(READER), "Observation?patient=p1&_include=Observation:subject");
    only(2);
    let hidden = page();
    assert_eq!((hidden.matches.len(), hidden.includes.len(), hidden.total), (40, 0, Some(40)));
    only(3);
    assert_eq!(ids(&page().includes), ["p1"]);

    // Hidden targets do not count towards the limit either: passing it would tell that they exist.
    let performers: Vec<String> =
        (0..1001).map(|n| format!(r#"{{"reference":"Organization/h{n}"}}"#)).collect();
    let text = format!(
        r#"{{"resourceType":"Observation","id":"many","subject":{{"reference":"Patient/p1"}},"performer":[{}]}}"#,
        performers.join(",")
    );
    write(store, move |w| {
        put(w, &text, derived(Some(patient), AUTHOR), Method::Post)?;
        for n in 0..1001 {
            let text = format!(r#"{{"resourceType":"Organization","id":"h{n}"}}"#);
            put(w, &text, derived(None, AUTHOR), Method::Post)?;
        }
        Ok(())
    })
    .unwrap();
    let many = search(store, &clinician(READER), "Observation?_id=many&_include=Observation:performer");
    assert_eq!((many.matches.len(), many.includes.len()), (1, 0));
}

/// A patient sees who looked at her, an organisation what it did itself.
pub fn audit_rows_are_seen_by_their_organisation_and_patient(store: &dyn Store) {
    for (organisation, patients) in
        [(AUTHOR, vec![PatientKey(1)]), (READER, vec![PatientKey(1), PatientKey(2)]), (READER, vec![])]
    {
        let record = AuditRecord { at: NOW, organisation, patients, body: vec![0] };
        write(store, move |w| w.append_audit(&record)).unwrap();
    }
    let rows = |filter: Filter, query: AuditQuery| {
        let query = AuditQuery { limit: 10, ..query };
        let (rows, total) = read(store, &filter, |r| r.audit(&query)).unwrap();
        assert_eq!(rows.len(), usize::try_from(total).unwrap());
        rows.iter().map(|row| row.sequence).collect::<Vec<_>>()
    };
    let of = |patient| AuditQuery { patient: Some(PatientKey(patient)), ..AuditQuery::default() };
    let all = AuditQuery::default;
    assert_eq!(rows(system(), all()), [3, 2, 1]);
    assert_eq!(rows(system(), of(1)), [2, 1]);
    assert_eq!(rows(clinician(AUTHOR), all()), [1]);
    assert_eq!(rows(clinician(AUTHOR), of(2)), [0; 0]);
    assert_eq!(rows(clinician(READER), AuditQuery { organisation: Some(AUTHOR), ..all() }), [0; 0]);
    assert_eq!(rows(Filter { self_patient: Some(PatientKey(1)), ..nobody() }, of(1)), [2, 1]);
    assert_eq!(rows(Filter { self_patient: Some(PatientKey(2)), ..nobody() }, of(1)), [2]);
    assert_eq!(rows(nobody(), of(1)), [0; 0]);
    assert_eq!(rows(system(), AuditQuery { to: Some(NOW), ..all() }), [0; 0]);
    let page = AuditQuery { before: Some(3), limit: 1, ..all() };
    let (page, total) = read(store, &system(), |r| r.audit(&page)).unwrap();
    assert_eq!((page.len(), page.first().unwrap().sequence, total), (1, 2, 3));
}

/// Whole compartments and everyone's shelves are for the gateway's own work.
pub fn system_queries_need_a_system_permit(store: &dyn Store) {
    let patient = patient(store, "p1", AUTHOR);
    create(store, &observation("o1", "p1"), derived(Some(patient), AUTHOR));
    let compartment = |filter: &Filter| read(store, filter, |r| r.compartment(patient, kind("Observation")));
    assert_eq!(ids(&compartment(&system()).unwrap()), ["o1"]);
    assert!(matches!(compartment(&clinician(AUTHOR)), Err(StoreError::Refused(_))));
    let shelves = |filter: &Filter| read(store, filter, |r| r.shelf_list(Shelf::Receipt, None, "", 9));
    assert!(shelves(&system()).is_ok());
    assert!(matches!(shelves(&clinician(AUTHOR)), Err(StoreError::Refused(_))));
}

/// The rule is written twice, as SQL and as `Filter::admits`: over random rows, grants and filters, the number the
/// query counts and the rows it gives are those that memory admits.
pub fn query_and_memory_judge_alike(store: &dyn Store) {
    let model = RefCell::new(Model::default());
    let config = proptest::test_runner::Config {
        cases: 48,
        failure_persistence: None,
        // A case adds to the store, so one that fails cannot be run again from the start.
        max_shrink_iters: 0,
        ..Default::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&random::case(), |case| {
        let mut model = model.borrow_mut();
        model.add(store, &case);
        for filter in &case.filters {
            model.compare(store, filter);
        }
        Ok(())
    });
    result.unwrap();
    let model = model.borrow();
    assert!(model.granted > 50 && model.hidden > 500, "{} by grant, {} hidden", model.granted, model.hidden);
}

/// What the store holds, as lists.
#[derive(Default)]
struct Model {
    rows: Vec<(String, Derived)>,
    arms: Vec<Arm>,
    relations: Vec<CareRelation>,
    patients: Vec<(String, PatientKey)>,
    /// Rows that a grant opened, and rows hidden, in searches of one patient: the cases must show both.
    granted: usize,
    hidden: usize,
}

impl Model {
    fn add(&mut self, store: &dyn Store, case: &random::Case) {
        let name = format!("p{}", self.patients.len());
        // Patients themselves are of a party that no filter names.
        let key = patient(store, &name, PartyKey(99));
        self.patients.push((name.clone(), key));
        let arms: Vec<Arm> = case.arms.iter().map(|arm| Arm { patient: key, ..arm.clone() }).collect();
        let relations: Vec<CareRelation> =
            case.relations.iter().map(|relation| CareRelation { patient: key, ..relation.clone() }).collect();
        let mut rows = Vec::new();
        for (at, (row, has_patient)) in case.rows.iter().enumerate() {
            let id = format!("{name}-{at}");
            let row = Derived { patient: has_patient.then_some(key), ..*row };
            let subject = if *has_patient { name.clone() } else { "nobody".to_owned() };
            rows.push((id, subject, row));
        }
        self.rows.extend(rows.iter().map(|(id, _, row)| (id.clone(), *row)));
        self.arms.extend(arms.clone());
        self.relations.extend(relations.clone());
        write(store, move |w| {
            w.replace_arms(key, &arms)?;
            w.replace_relations(key, &relations)?;
            for (id, subject, row) in &rows {
                put(w, &observation(id, subject), *row, Method::Post)?;
            }
            Ok(())
        })
        .unwrap();
    }

    fn compare(&mut self, store: &dyn Store, filter: &Filter) {
        let admitted = |of: Option<PatientKey>| -> Vec<&str> {
            self.rows
                .iter()
                .filter(|(_, row)| of.is_none() || row.patient == of)
                .filter(|(_, row)| filter.admits(row, &self.arms, &self.relations).is_some())
                .map(|(id, _)| id.as_str())
                .collect()
        };
        let check = |query: &str, mut expected: Vec<&str>| {
            expected.sort_unstable();
            let page = search(store, filter, query);
            // Counted by the predicate alone; the rows have passed both.
            assert_eq!(page.total, u64::try_from(expected.len()).ok(), "{query} {filter:?}");
            let mut rows = ids(&page.matches);
            rows.sort_unstable();
            assert_eq!(rows, expected, "{query} {filter:?}");
        };
        check("Observation?_total=accurate&_count=1000", admitted(None));
        check("Observation?code=urn:c|c&_total=accurate&_count=1000", admitted(None));
        let (mut granted, mut hidden) = (0, 0);
        for (name, key) in self.patients.iter().rev().take(8) {
            let query = format!("Observation?patient={name}&_total=accurate&_count=1000");
            check(&query, admitted(Some(*key)));
            check(&format!("{query}&_sort=date"), admitted(Some(*key)));
            for (_, row) in self.rows.iter().filter(|(_, row)| row.patient == Some(*key)) {
                match filter.admits(row, &self.arms, &self.relations) {
                    Some(Some(_)) => granted += 1,
                    Some(None) => {}
                    None => hidden += 1,
                }
            }
        }
        self.granted += granted;
        self.hidden += hidden;
        for (id_text, row) in self.rows.iter().rev().take(6) {
            let seen = read(store, filter, |r| r.current(kind("Observation"), &id(id_text))).unwrap();
            let expected = filter.admits(row, &self.arms, &self.relations);
            assert_eq!(seen.is_some(), expected.is_some());
            let consent = expected.flatten().map(|arm| arm.consent.to_string());
            assert_eq!(seen.and_then(|s| s.consent).is_some(), consent.is_some());
        }
    }
}

/// Random cases over small domains, so that masks meet often.
mod random {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use crate::clock::Timestamp;
    use crate::decision::filter::{Arm, CareRelation, Derived, Filter};
    use crate::ids::{PartyKey, PatientKey};

    use super::NOW;

    #[derive(Debug, Clone)]
    pub(super) struct Case {
        pub(super) rows: Vec<(Derived, bool)>,
        pub(super) arms: Vec<Arm>,
        pub(super) relations: Vec<CareRelation>,
        pub(super) filters: Vec<Filter>,
    }

    fn party() -> impl Strategy<Value = PartyKey> {
        (1i64..4).prop_map(PartyKey)
    }

    /// Bits at both ends, where a signed column could go wrong.
    fn mask() -> impl Strategy<Value = u64> {
        prop_oneof![
            1 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(1 << 63), 1 => Just(1 | 1 << 63), 4 => Just(u64::MAX),
            1 => any::<u64>()
        ]
    }

    fn bit() -> impl Strategy<Value = u64> {
        prop_oneof![Just(1), Just(2), Just(1 << 63)]
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        (-1i64..2).prop_map(|offset| Timestamp(NOW.0 + offset))
    }

    /// Mostly under way, sometimes about to begin or to end.
    fn validity() -> impl Strategy<Value = (Timestamp, Timestamp)> {
        let from = prop_oneof![4 => Just(Timestamp::MIN), 1 => moment()];
        let to = prop_oneof![4 => Just(Timestamp::MAX), 1 => moment()];
        (from, to)
    }

    fn purpose() -> impl Strategy<Value = u8> {
        prop_oneof![4 => Just(1), 1 => Just(2)]
    }

    fn row() -> impl Strategy<Value = (Derived, bool)> {
        let labels = prop_oneof![3 => Just(0), 1 => mask()];
        (bit(), labels, 0u8..6, 19_999..20_002, party(), prop::bool::weighted(0.8)).prop_map(
            |(category, labels, confidentiality, day, author, has_patient)| {
                (Derived { patient: None, category, labels, confidentiality, day, author }, has_patient)
            },
        )
    }

    fn arm() -> impl Strategy<Value = Arm> {
        let from = prop_oneof![2 => Just(i32::MIN), 1 => 19_999..20_002];
        let to = prop_oneof![2 => Just(i32::MAX), 1 => 19_999..20_002];
        let window = (from, to);
        let author = prop_oneof![3 => Just(None), 1 => party().prop_map(Some)];
        let labels = prop_oneof![2 => Just(0), 1 => mask()];
        (party(), purpose(), mask(), labels, 1u8..6, window, author, validity()).prop_map(
            |(
                recipient,
                purpose,
                categories,
                deny_labels,
                confidentiality_max,
                window,
                author,
                (from, to),
            )| {
                Arm {
                    recipient,
                    purpose,
                    patient: PatientKey(0),
                    categories,
                    deny_labels,
                    confidentiality_max,
                    day_from: window.0,
                    day_to: window.1,
                    author,
                    valid_from: from,
                    valid_to: to,
                    consent: "Consent/c/_history/1".into(),
                }
            },
        )
    }

    fn relation() -> impl Strategy<Value = CareRelation> {
        (party(), validity()).prop_map(|(party, (valid_from, valid_to))| CareRelation {
            patient: PatientKey(0),
            party,
            valid_from,
            valid_to,
            source: "CareTeam/1/_history/1".into(),
        })
    }

    fn filter() -> impl Strategy<Value = Filter> {
        let herself = prop_oneof![3 => Just(None), 1 => (0i64..30).prop_map(|key| Some(PatientKey(key)))];
        let masks = (mask(), mask(), prop_oneof![2 => Just(0), 1 => mask()]);
        let flags = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.05));
        (party(), purpose(), vec(party(), 0..4), herself, masks, 1u8..6, flags, moment()).prop_map(
            |(organisation, purpose, recipients, self_patient, masks, confidentiality_max, flags, now)| {
                Filter {
                    now,
                    purpose,
                    organisation,
                    own: flags.0,
                    recipients,
                    care_relation: flags.1,
                    self_patient,
                    categories: masks.0,
                    open_categories: masks.1,
                    deny_labels: masks.2,
                    confidentiality_max,
                    system: flags.2,
                }
            },
        )
    }

    pub(super) fn case() -> impl Strategy<Value = Case> {
        (vec(row(), 1..8), vec(arm(), 0..6), vec(relation(), 0..3), vec(filter(), 6))
            .prop_map(|(rows, arms, relations, filters)| Case { rows, arms, relations, filters })
    }
}
