//! The CapabilityStatement, made from the route table and the definitions: what is not in those is not claimed.
//!
//! Source: FHIR R4 capabilitystatement.html, SMART App Launch 2.2 conformance.html#declaring-support-for-oauth2-endpoints

use serde_json::{Value, json};
use sluis_conformance::definitions::{self, SearchKind, SearchParameter};

use super::route::{self, COMPARTMENTS, Kind, Offer};
use crate::ids::ResourceType;

/// What the statement says that the tables do not know.
pub struct Statement<'s> {
    /// Public base URL without trailing slash.
    pub base: &'s str,
    /// Version of the gateway.
    pub version: &'s str,
    /// Date of this statement (FHIR `dateTime`): that of the release or of the last change of settings.
    pub date: &'s str,
    /// Canonical addresses of the implementation guides followed.
    pub guides: &'s [&'s str],
    /// Whether words of texts are searched by (`_text`, `_content`).
    pub content: bool,
    /// Whether a search by this parameter is offered.
    pub searchable: &'s dyn Fn(ResourceType, &SearchParameter) -> bool,
}

impl Statement<'_> {
    /// The statement as JSON text.
    pub fn to_json(&self) -> String {
        json!({
            "resourceType": "CapabilityStatement",
            "url": format!("{}/metadata", self.base),
            "version": self.version,
            "name": "Sluis",
            "title": "Sluis, FHIR R4 gateway between care lines",
            "status": "active",
            "date": self.date,
            "kind": "instance",
            "software": { "name": "Sluis", "version": self.version },
            "implementation": { "description": "Sluis", "url": self.base },
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
            "patchFormat": ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"],
            "implementationGuide": self.guides,
            "rest": [self.rest()],
        })
        .to_string()
    }

    fn rest(&self) -> Value {
        let r4 = definitions::r4();
        let resources: Vec<Value> = r4.resource_types().filter_map(|kind| self.resource(kind)).collect();
        json!({
            "mode": "server",
            "documentation": "What a caller may not see does not exist for it: it is not found, not listed and not counted.",
            "security": self.security(),
            "resource": resources,
            "interaction": [{ "code": "transaction" }, { "code": "batch" }, { "code": "history-system" }, { "code": "search-system" }],
            "compartment": COMPARTMENTS.map(compartment),
            "operation": OPERATIONS.map(operation),
        })
    }

    fn security(&self) -> Value {
        json!({
            "extension": [{
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{ "url": "token", "valueUri": crate::identity::oauth::url(self.base) }],
            }],
            "cors": false,
            "service": [{
                "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                    "code": "SMART-on-FHIR",
                }],
            }],
            "description": "SMART Backend Services with asymmetric client authentication; see .well-known/smart-configuration.",
        })
    }

    /// `None` for a type that offers nothing.
    fn resource(&self, kind: ResourceType) -> Option<Value> {
        let r4 = definitions::r4();
        let name = r4.type_name(kind);
        let offered = |wanted: Kind| {
            route::TABLE.iter().any(|row| row.kind == wanted && route::offer(row, kind) == Offer::Yes)
        };
        let interactions: Vec<Value> = INTERACTIONS
            .iter()
            .filter(|(row, _)| offered(*row))
            .map(|(_, code)| json!({ "code": code }))
            .collect();
        if interactions.is_empty() {
            return None;
        }
        let mut resource = json!({
            "type": name,
            "profile": format!("http://hl7.org/fhir/StructureDefinition/{name}"),
            "interaction": interactions,
            "versioning": "versioned",
            "readHistory": offered(Kind::Vread),
            // Ids of the sender's own namespace (docs/interactions/update.md).
            "updateCreate": offered(Kind::Update),
            "conditionalCreate": offered(Kind::Create),
            "conditionalRead": "full-support",
            "conditionalUpdate": offered(Kind::UpdateWhere),
            "conditionalDelete": if offered(Kind::DeleteWhere) { "single" } else { "not-supported" },
            "referencePolicy": ["literal", "logical"],
        });
        if offered(Kind::Search) {
            let parameters: Vec<&SearchParameter> = r4
                .search_parameters(kind)
                .iter()
                .copied()
                .filter(|parameter| (self.searchable)(kind, parameter))
                .collect();
            let includes: Vec<String> = parameters
                .iter()
                // The log includes nothing: its search is not the store's.
                .filter(|parameter| parameter.kind == SearchKind::Reference && name != "AuditEvent")
                .map(|parameter| format!("{name}:{}", parameter.code))
                .collect();
            if !includes.is_empty() {
                resource["searchInclude"] = includes.into();
            }
            if name != "AuditEvent" {
                // Whatever reference parameter may lead to the type: every one of them, of every type.
                resource["searchRevInclude"] = json!(["*"]);
            }
            let mut listed: Vec<Value> = parameters.into_iter().map(search_parameter).collect();
            if self.content && name != "AuditEvent" {
                listed.extend(texts(kind));
            }
            resource["searchParam"] = listed.into();
        }
        Some(resource)
    }
}

/// Operations of the rows: name, definition, where.
const OPERATIONS: [(&str, &str, &str); 10] = [
    ("export", "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/group-export", "Group/[id]/$export"),
    (
        "everything",
        "http://hl7.org/fhir/OperationDefinition/Patient-everything",
        "Patient/[id]/$everything, Patient/$everything",
    ),
    ("lastn", "http://hl7.org/fhir/OperationDefinition/Observation-lastn", "Observation/$lastn"),
    ("match", "http://hl7.org/fhir/OperationDefinition/Patient-match", "Patient/$match, by BSN"),
    (
        "transform",
        "http://hl7.org/fhir/OperationDefinition/StructureMap-transform",
        "StructureMap/$transform, with the maps of the mapping folders",
    ),
    (
        "validate",
        "http://hl7.org/fhir/OperationDefinition/Resource-validate",
        "[type]/$validate, [type]/[id]/$validate",
    ),
    (
        "meta",
        "http://hl7.org/fhir/OperationDefinition/Resource-meta",
        "[type]/[id]/$meta, [type]/$meta, $meta",
    ),
    ("meta-add", "http://hl7.org/fhir/OperationDefinition/Resource-meta-add", "[type]/[id]/$meta-add"),
    (
        "meta-delete",
        "http://hl7.org/fhir/OperationDefinition/Resource-meta-delete",
        "[type]/[id]/$meta-delete, labels excepted",
    ),
    ("versions", "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions", "$versions"),
];

fn operation((name, definition, place): (&str, &str, &str)) -> Value {
    json!({ "name": name, "definition": definition, "documentation": place })
}

fn compartment(name: &str) -> String {
    format!("http://hl7.org/fhir/CompartmentDefinition/{}", name.to_ascii_lowercase())
}

/// Rows of the table that are an interaction of a type, and FHIR's code for it (valueset-type-restful-interaction.html).
const INTERACTIONS: [(Kind, &str); 9] = [
    (Kind::Read, "read"),
    (Kind::Vread, "vread"),
    (Kind::Update, "update"),
    (Kind::Patch, "patch"),
    (Kind::Delete, "delete"),
    (Kind::History, "history-instance"),
    (Kind::HistoryType, "history-type"),
    (Kind::Create, "create"),
    (Kind::Search, "search-type"),
];

fn search_parameter(parameter: &SearchParameter) -> Value {
    json!({
        "name": parameter.code,
        "definition": parameter.url,
        "type": parameter.kind.code(),
        "documentation": parameter.expression,
    })
}

/// `_text` and `_content`, which have no expression (FHIR R4 search.html#all).
fn texts(kind: ResourceType) -> Vec<Value> {
    let of = |code: &str, base: &str| {
        json!({
            "name": code,
            "definition": format!("http://hl7.org/fhir/SearchParameter/{base}-{}", code.trim_start_matches('_')),
            "type": "string",
        })
    };
    let mut texts = vec![of("_content", "Resource")];
    if definitions::r4().has_narrative(kind) {
        texts.push(of("_text", "DomainResource"));
    }
    texts
}

#[cfg(test)]
mod tests;
