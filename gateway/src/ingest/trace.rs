//! Where each value of a stored resource comes from: the kept original is run once more, with the mapping that was in force
//! then, and every element is told with its rule and its bytes.
//!
//! Nothing is logged for this while documents are taken in: a map's output is a function of document and mapping, and both are
//! kept. The original is the sender's: only who sent it, in a role with a dossier of its own, is told of it.

use http::StatusCode;
use serde_json::{Value, json};
use sluis_conformance::definitions;
use sluis_mappings::run::CompiledFolder;

use super::source::Notation;
use super::statement::{Made, Statement};
use super::{Intake, kept, provenance};
use crate::decision::Permit;
use crate::ids::{ResourceId, ResourceType};
use crate::interaction::{Facts, write};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Store, StoreError};

/// Values told of one resource.
const VALUES_MAX: usize = 5_000;
/// Bytes of the source shown with one value; a longer one is cut.
const EXCERPT_BYTES_MAX: usize = 200;

/// What one snapshot holds of a resource and its document.
struct Found {
    facts: Facts,
    made: Made,
    original: Vec<u8>,
    mapping: Option<kept::Packed>,
}

impl Intake {
    /// `$trace` of a resource: Parameters, JSON text, and what was touched.
    ///
    /// Errors: `NotFound` for what is not visible, another sender's, or not made of a document, not told apart.
    pub async fn trace(
        &self,
        store: &dyn Store,
        permit: &Permit,
        kind: ResourceType,
        id: &ResourceId,
    ) -> Result<(StatusCode, String, Facts), Refusal> {
        let mut found = None;
        store
            .read(permit, &mut |reader| {
                let name = format!("{}/{id}", definitions::r4().type_name(kind));
                let sender = permit.filter().organisation;
                let absent = || StoreError::Refused(Box::new(Refusal::not_found()));
                let stored = reader
                    .current(kind, id)?
                    .filter(|stored| {
                        permit.filter().own && stored.derived.author == sender && !stored.deleted
                    })
                    .ok_or_else(absent)?;
                let made = Statement::get(reader, sender, &name)?.made.ok_or_else(absent)?;
                let original = provenance::original(reader, sender, &made.sha256)?.ok_or_else(absent)?;
                found = Some(Found {
                    facts: Facts::of(std::slice::from_ref(&stored)),
                    mapping: kept::files(reader, sender, &made.mapping)?,
                    original: original.to_vec(),
                    made,
                });
                Ok(())
            })
            .map_err(write::refusal)?;
        let found = found.ok_or_else(|| Refusal::new(Reason::Internal, "").because("a read gave nothing"))?;
        let facts = found.facts.clone();
        let body = tokio::task::spawn_blocking(move || told(&found)).await.map_err(|error| {
            Refusal::new(Reason::Internal, "").because(format!("a trace failed: {error}"))
        })?;
        Ok((StatusCode::OK, body, facts))
    }
}

fn told(found: &Found) -> String {
    let made = &found.made;
    let mut parameters = vec![
        json!({ "name": "version", "valueString": made.version.to_string() }),
        json!({ "name": "document", "valueUri": format!("urn:sha256:{}", made.sha256) }),
        json!({ "name": "notation", "valueString": made.notation }),
        json!({ "name": "part", "valueString": made.label }),
    ];
    if !made.map.is_empty() {
        parameters.push(json!({ "name": "map", "valueString": made.map }));
        parameters.push(json!({ "name": "mapping", "valueUri": format!("urn:sha256:{}", made.mapping) }));
    }
    let note = |text: &str| json!({ "name": "note", "valueString": text });
    let mapped = Notation::parse(&made.notation).is_some_and(|notation| !notation.is_r4());
    match found.mapping.as_ref().map(kept::compile) {
        _ if !mapped => parameters.push(note("FHIR R4, taken as sent: every element is the document's own.")),
        None => parameters.push(note("The mapping was not kept; only the document is known.")),
        Some(None) => {
            parameters.push(note("This version of the gateway does not take that mapping any more."))
        }
        Some(Some(folder)) => parameters.extend(elements(&folder, found)),
    }
    json!({ "resourceType": "Parameters", "parameter": parameters }).to_string()
}

/// A parameter for each value of the unit the resource was made of.
fn elements(folder: &CompiledFolder, found: &Found) -> Vec<Value> {
    let (bytes, made) = (found.original.as_slice(), &found.made);
    let parsed = folder.parse(bytes);
    let (output, trace, _) = folder.run_recorded(bytes, &parsed);
    let mut of_label = output.units.iter().enumerate().filter(|(_, unit)| unit.label == made.label);
    let Some((at, _)) = of_label.nth(made.ordinal) else {
        return vec![
            json!({ "name": "note", "valueString": "The mapping makes nothing of that part any more." }),
        ];
    };
    let values: Vec<_> = trace.values.iter().filter(|value| value.unit == at).collect();
    let mut told: Vec<Value> = values
        .iter()
        .take(VALUES_MAX)
        .map(|value| {
            let node = parsed.tree.node(value.source);
            let (start, end) = (node.span.start as usize, node.span.end as usize);
            let shown = end.min(start.saturating_add(EXCERPT_BYTES_MAX));
            let text = String::from_utf8_lossy(bytes.get(start..shown).unwrap_or_default()).into_owned();
            let mut part = vec![
                json!({ "name": "path", "valueString": value.path }),
                json!({ "name": "rule", "valueString": value.rule }),
            ];
            let place = parsed.tree.path(value.source);
            if !place.is_empty() {
                part.push(json!({ "name": "source", "valueString": place }));
            }
            part.push(json!({ "name": "start", "valueUnsignedInt": start }));
            part.push(json!({ "name": "end", "valueUnsignedInt": end }));
            if !text.trim().is_empty() {
                part.push(json!({ "name": "text", "valueString": text }));
            }
            json!({ "name": "element", "part": part })
        })
        .collect();
    if values.len() > VALUES_MAX {
        told.push(json!({ "name": "notShown", "valueInteger": values.len() - VALUES_MAX }));
    }
    told
}
