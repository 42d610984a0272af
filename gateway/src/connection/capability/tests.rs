#![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::collections::HashSet;

use super::*;

fn statement() -> Value {
    let text = Statement {
        base: "https://sluis.example/fhir",
        version: "0.1.0",
        date: "2026-11-23",
        guides: &["http://hl7.org/fhir/smart-app-launch/ImplementationGuide/hl7.fhir.uv.smart-app-launch"],
        content: true,
        searchable: &|_, parameter| parameter.kind != SearchKind::Special,
    }
    .to_json();
    serde_json::from_str(&text).unwrap()
}

fn resource<'s>(statement: &'s Value, name: &str) -> Option<&'s Value> {
    statement["rest"][0]["resource"].as_array().unwrap().iter().find(|resource| resource["type"] == name)
}

#[test]
fn head_of_the_statement_is_as_it_should_be() {
    let mut found = statement();
    found["rest"] = Value::Null;
    let expected = serde_json::json!({
        "resourceType": "CapabilityStatement",
        "url": "https://sluis.example/fhir/metadata",
        "version": "0.1.0",
        "name": "Sluis",
        "title": "Sluis, FHIR R4 gateway between care lines",
        "status": "active",
        "date": "2026-11-23",
        "kind": "instance",
        "software": { "name": "Sluis", "version": "0.1.0" },
        "implementation": { "description": "Sluis", "url": "https://sluis.example/fhir" },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"],
        "implementationGuide": [
            "http://hl7.org/fhir/smart-app-launch/ImplementationGuide/hl7.fhir.uv.smart-app-launch"
        ],
        "rest": null,
    });
    assert_eq!(found, expected);
}

#[test]
fn types_claim_what_the_table_offers_and_no_more() {
    let statement = statement();
    let codes = |name: &str| -> Vec<String> {
        let interactions = resource(&statement, name).unwrap()["interaction"].as_array().unwrap();
        interactions.iter().map(|interaction| interaction["code"].as_str().unwrap().to_owned()).collect()
    };
    let all = [
        "read",
        "vread",
        "update",
        "patch",
        "delete",
        "history-instance",
        "history-type",
        "create",
        "search-type",
    ];
    assert_eq!(codes("Observation"), all);
    assert_eq!(codes("AuditEvent"), ["read", "search-type"]);
    assert_eq!(resource(&statement, "AuditEvent").unwrap()["readHistory"], false);
    assert!(resource(&statement, "Parameters").is_none());
}

#[test]
fn search_parameters_are_those_of_the_definitions() {
    let statement = statement();
    let observation = resource(&statement, "Observation").unwrap();
    let parameters = observation["searchParam"].as_array().unwrap();
    let code = parameters.iter().find(|parameter| parameter["name"] == "code").unwrap();
    assert_eq!(code["type"], "token");
    assert_eq!(code["definition"], "http://hl7.org/fhir/SearchParameter/clinical-code");
    assert!(parameters.iter().any(|parameter| parameter["name"] == "_lastUpdated"));
    let includes = observation["searchInclude"].as_array().unwrap();
    assert!(includes.contains(&"Observation:subject".into()));
    // cpb-12: the names of search parameters are unique in one resource.
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let mut names = HashSet::new();
        for parameter in resource["searchParam"].as_array().into_iter().flatten() {
            assert!(names.insert(parameter["name"].as_str().unwrap()), "{}", resource["type"]);
        }
    }
}

#[test]
fn statement_is_valid_by_its_own_definitions() {
    use sluis_conformance::json::Doc;
    let text = statement().to_string();
    let doc = Doc::parse(text.into_bytes(), Default::default()).unwrap();
    let mut faults: Vec<String> = Vec::new();
    for (name, _) in doc.root().members() {
        if name != "resourceType" && definitions::r4().element("CapabilityStatement", &name).is_none() {
            faults.push(name.into_owned());
        }
    }
    for resource in doc.root().get("rest").unwrap().items().next().unwrap().get("resource").unwrap().items() {
        for (name, _) in resource.members() {
            if definitions::r4().element("CapabilityStatement.rest.resource", &name).is_none() {
                faults.push(name.into_owned());
            }
        }
    }
    assert!(faults.is_empty(), "{faults:?}");
}
