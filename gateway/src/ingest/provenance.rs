//! Where every value came from: the original kept by content address, and a Provenance that leads from each version to its
//! bytes.
//!
//! One Provenance for each patient and sensitivity of a transaction, so that it lies in the same dossier and is as visible as
//! what it is about, no more.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};
use sluis_conformance::json::{Doc, JsonLimits};

use super::source::Notation;
use super::statement::moment;
use crate::clock::Timestamp;
use crate::decision::filter::Derived;
use crate::ids::{PartyKey, PatientKey, ResourceId, SYSTEM_URA, Ura};
use crate::interaction::splice::CANONICAL;
use crate::store::{Reader, Shelf, StoreError, Writer};

/// R5's `Provenance.patient` in an R4 resource (FHIR R5 versions.html#extensions): the dossier it lies in.
const PATIENT: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Provenance.patient";
/// Participation types of agents (FHIR R4 valueset-provenance-agent-type.html).
const AGENT_TYPE: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";

/// A version and the bytes it was made of.
#[derive(Debug, Clone)]
pub struct Target {
    /// `Type/id/_history/version`.
    pub reference: String,
    /// `OBX[4]`.
    pub label: String,
    /// Start and end bytes.
    pub spans: Vec<(u32, u32)>,
    /// Columns of the version.
    pub derived: Derived,
    /// Its patient.
    pub patient: Option<ResourceId>,
    /// FHIR `dateTime` of the statement.
    pub source_time: Option<String>,
}

/// What all Provenances of a transaction say alike.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// Sending organisation.
    pub sender: &'o Ura,
    /// Notation of the original.
    pub notation: Notation,
    /// Content address of the original.
    pub sha256: &'o str,
    /// `id|version` of the map; empty for R4.
    pub map: &'o str,
    /// Content hash of the mapping; empty for R4.
    pub mapping: &'o str,
    /// When it was stored.
    pub recorded: Timestamp,
}

/// Provenance resources of a transaction, JSON text, in a stable order.
pub fn resources(targets: &[Target], origin: Origin<'_>) -> Vec<String> {
    type Group = (Option<PatientKey>, u64, u64, u8);
    let mut groups: BTreeMap<Group, Vec<&Target>> = BTreeMap::new();
    for target in targets {
        let derived = &target.derived;
        let group = (derived.patient, derived.category, derived.labels, derived.confidentiality);
        groups.entry(group).or_default().push(target);
    }
    groups.values().map(|targets| resource(targets, origin)).collect()
}

fn resource(targets: &[&Target], origin: Origin<'_>) -> String {
    let mut out = json!({
        "resourceType": "Provenance",
        "target": targets.iter().map(|target| reference(target)).collect::<Vec<_>>(),
        "recorded": origin.recorded.to_instant(),
        "activity": { "text": activity(origin) },
        "agent": [
            {
                "type": { "coding": [{ "system": AGENT_TYPE, "code": "author" }] },
                "who": { "identifier": { "system": SYSTEM_URA, "value": origin.sender.as_str() } },
            },
            {
                "type": { "coding": [{ "system": AGENT_TYPE, "code": "assembler" }] },
                "who": { "type": "Device", "display": "Sluis gateway" },
            },
        ],
        "entity": [{
            "role": "source",
            "what": {
                "identifier": { "system": "urn:ietf:rfc:3986", "value": format!("urn:sha256:{}", origin.sha256) },
                "display": format!("original document, {}", origin.notation.as_str()),
            },
        }],
    });
    if let Some(patient) = targets.iter().find_map(|target| target.patient.as_ref()) {
        out["extension"] = json!([{
            "url": PATIENT, "valueReference": { "reference": format!("Patient/{patient}") },
        }]);
    }
    let times = targets.iter().filter_map(|target| target.source_time.as_deref());
    if let Some(time) = times.max_by_key(|time| moment(Some(time))) {
        out["occurredDateTime"] = Value::from(time);
    }
    out.to_string()
}

fn activity(origin: Origin<'_>) -> String {
    if origin.map.is_empty() {
        return "FHIR R4, taken as sent".to_owned();
    }
    format!("map {} sha256:{}", origin.map, origin.mapping)
}

fn reference(target: &Target) -> Value {
    let spans: Vec<Value> = target
        .spans
        .iter()
        .map(|(start, end)| {
            json!({
                "url": format!("{CANONICAL}/StructureDefinition/source-span"),
                "extension": [
                    { "url": "label", "valueString": target.label },
                    { "url": "start", "valueUnsignedInt": start },
                    { "url": "end", "valueUnsignedInt": end },
                ],
            })
        })
        .collect();
    let mut out = json!({ "reference": target.reference });
    if !spans.is_empty() {
        out["extension"] = spans.into();
    }
    out
}

/// Keeps the bytes as received, under their content address.
pub fn keep_original(
    writer: &mut dyn Writer,
    sender: PartyKey,
    sha256: &str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    if original(writer, sender, sha256)?.is_some() {
        return Ok(());
    }
    writer.shelf_put(Shelf::Original, sender, sha256, bytes)
}

/// The bytes as received, of the sender's own documents.
pub fn original(
    reader: &mut dyn Reader,
    sender: PartyKey,
    sha256: &str,
) -> Result<Option<Bytes>, StoreError> {
    reader.shelf_get(Shelf::Original, sender, sha256)
}

/// A Provenance as a document.
pub(super) fn parse(text: String) -> Result<Doc, StoreError> {
    Doc::parse(text.into_bytes(), JsonLimits::default())
        .map_err(|error| StoreError::Database(format!("a Provenance does not parse: {error}")))
}

#[cfg(test)]
mod tests {
    use sluis_mappings::source::Format;

    use super::*;
    use crate::interaction::write;

    fn target(patient: i64, category: u64, label: &str) -> Target {
        Target {
            reference: format!("Observation/{label}/_history/1"),
            label: label.to_owned(),
            spans: vec![(812, 930)],
            derived: Derived {
                patient: Some(PatientKey(patient)),
                category,
                labels: 0,
                confidentiality: 3,
                day: 0,
                author: PartyKey(1),
            },
            patient: ResourceId::parse(&format!("p{patient}")),
            source_time: Some("2026-05-01".to_owned()),
        }
    }

    #[test]
    fn each_dossier_and_category_has_its_own_and_it_is_valid() {
        let sender = Ura::parse("12345678").unwrap();
        let origin = Origin {
            sender: &sender,
            notation: Notation::Mapped(Format::Hl7v2),
            sha256: &"0".repeat(64),
            map: "lab|1.0.0",
            mapping: "ab",
            recorded: Timestamp(0),
        };
        let targets = [target(1, 1, "a"), target(1, 2, "b"), target(2, 1, "c"), target(1, 1, "d")];
        let texts = resources(&targets, origin);
        assert_eq!(texts.len(), 3);
        assert_eq!(texts.iter().filter(|t| t.contains("Patient/p1")).count(), 2);
        for text in texts {
            let doc = parse(text).unwrap();
            assert_eq!(write::check(&doc), Ok(()));
            assert!(doc.text().contains(r#""valueUnsignedInt":812"#));
            assert!(doc.text().contains("map lab|1.0.0 sha256:ab"));
        }
    }
}
