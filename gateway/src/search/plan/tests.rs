#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use crate::store::contract::world::{nobody, planned};

/// The plans of the searches care asks for, as reviewed.
#[test]
fn plans_read_as_expected() {
    let table: &[(&str, &str)] = &[
        (
            "Observation?patient=p1&code=http://loinc.org|8867-4&_sort=-date&_count=20",
            "search Observation of Patient/p1
  by the index of code
  where patient Patient/p1
  where code http://loinc.org|8867-4
  order date falling, missing last
  page of 20, counted
",
        ),
        (
            "Observation?patient=p1&_sort=-date",
            "search Observation of Patient/p1
  by the patient's dates, in order
  where patient Patient/p1
  order date falling, missing last
  page of 50, counted
",
        ),
        (
            "CarePlan?subject=Patient/p1&status=active&_include=CarePlan:care-team:CareTeam",
            "search CarePlan of Patient/p1
  by the index of status
  where subject Patient/p1
  where status active
  include care-team of CareTeam
  page of 50, counted
",
        ),
        (
            "MedicationRequest?patient=p1",
            "search MedicationRequest of Patient/p1
  by the patient's rows of the type
  where patient Patient/p1
  page of 50, counted
",
        ),
        (
            "Patient?identifier=http://fhir.nl/fhir/NamingSystem/bsn|999911120",
            "search Patient across patients
  by the index of identifier, in its order
  where identifier http://fhir.nl/fhir/NamingSystem/bsn|999911120
  page of 50
",
        ),
        (
            "Patient?_id=p1",
            "search Patient of Patient/p1
  by the ids
  where _id p1
  page of 50, counted
",
        ),
        (
            "Observation?patient=p1,p2&code=a,b",
            "search Observation across patients
  by the index of patient, in its order
  where patient Patient/p1 or Patient/p2
  where code a or b
  page of 50
",
        ),
        (
            "Observation?date=ge2025&_sort=-date&_count=100",
            "search Observation across patients
  by all dates, in order
  where date ge [2025-01-01T00:00:00.000Z, 2026-01-01T00:00:00.000Z)
  order date falling, missing last
  page of 100
",
        ),
        (
            "Observation?_sort=-_lastUpdated",
            "search Observation across patients
  by the changes, in order
  order _lastUpdated falling, missing last
  page of 50
",
        ),
        (
            "Group?member=Patient/p1",
            "search Group across patients
  by the index of member, in its order
  where member Patient/p1
  page of 50
",
        ),
        (
            "Observation?code:not=a&value-quantity:missing=false&_summary=count",
            "search Observation across patients
  by all rows of the type
  where code not a
  where value-quantity is present
  count only
",
        ),
        (
            "Observation?component-code-value-quantity=urn:s|a$gt5",
            "search Observation across patients
  by all rows of the type
  where component-code-value-quantity [urn:s|a with gt 5 [4.5, 5.5)]
  page of 50
",
        ),
        (
            "Observation?value-quantity=gt2100|http://unitsofmeasure.org|mL",
            "search Observation across patients
  by the index of value-quantity, in its order
  where value-quantity gt 0.0021 [0.0020995, 0.0021005) in m3
  page of 50
",
        ),
        (
            "Observation?_filter=patient eq Patient/p1 and code eq c",
            "search Observation of Patient/p1
  by the index of code
  where patient Patient/p1
  where code c
  page of 50, counted
",
        ),
        (
            "Observation?_filter=not (code eq a or date po 2025) and status ne final and \
             patient[gender eq male].name ew \"sen\"",
            "search Observation across patients
  by all rows of the type
  where not (code a or date ap [2025-01-01T00:00:00.000Z, 2026-01-01T00:00:00.000Z))
  where status unlike final
  where patient to Patient where (gender male and name ends \"sen\")
  page of 50
",
        ),
        (
            "Observation?_list=l1",
            "search Observation across patients
  by the List that refer here
  where item from List where _id l1
  page of 50
",
        ),
        (
            "Observation?subject:Patient.identifier=urn:a|1&code=c",
            "search Observation across patients
  by the far ends of subject
  where subject to Patient where identifier urn:a|1
  where code c
  page of 50
",
        ),
        (
            "Observation?patient.organization.name=de",
            "search Observation across patients
  by the far ends of patient
  where patient to Patient where organization to Organization where name starts \"de\"
  page of 50
",
        ),
        (
            "Observation?patient.gender=female&_sort=-date",
            "search Observation across patients
  by all dates, in order
  where patient to Patient where gender female
  order date falling, missing last
  page of 50
",
        ),
        (
            "Observation?patient=p1&encounter.location.name=a",
            "search Observation of Patient/p1
  by the patient's rows of the type
  where patient Patient/p1
  where encounter to Encounter where location to Location where name starts \"a\"
  page of 50, counted
",
        ),
        (
            "Patient?_has:Observation:patient:_has:DiagnosticReport:result:code=c",
            "search Patient across patients
  by the Observation that refer here
  where patient from Observation where result from DiagnosticReport where code c
  page of 50
",
        ),
        (
            "Patient?_id=p1&_include=*&_include:iterate=PractitionerRole:practitioner&_revinclude=Observation:subject\
             &_revinclude:iterate=Provenance:target:Observation",
            "search Patient of Patient/p1
  by the ids
  where _id p1
  include *
  include PractitionerRole:practitioner, again and again
  include what refers by Observation:subject
  include what refers by Provenance:target of Observation, again and again
  page of 50, counted
",
        ),
    ];
    for (query, expected) in table {
        let plan = planned(query, &nobody()).to_string();
        assert_eq!(plan, *expected, "{query}");
    }
}

/// What goes into a log names no patient and no value.
#[test]
fn the_shape_has_no_values() {
    let plan =
        planned("Patient?_id=p1&family=jansen&birthdate=1961-02-03&identifier=urn:a|999911120", &nobody());
    let shape = plan.shape();
    for secret in ["p1", "jansen", "1961", "999911120"] {
        assert!(!shape.contains(secret), "{shape}");
    }
    assert!(shape.contains("family") && shape.contains("birthdate"), "{shape}");
}
