//! `Patient/$match` (FHIR R4 patient-operation-match.html): the Patient with the BSN of the one that was sent.
//!
//! A BSN that passes its test and is borne by one Patient is a certain match; nothing else here is one, so names and dates of
//! birth match nobody. Who is not visible does not match.

use http::StatusCode;
use sluis_conformance::json::{Doc, Kind, Node};
use sluis_mappings::bsn::Bsn;

use super::write::kinds;
use super::{Facts, Outcome, Scene, found_body, obligation, search};
use crate::connection::request::Format;
use crate::decision::Permit;
use crate::ids::SYSTEM_BSN;
use crate::response::Answer;
use crate::response::bundle::BundleWriter;
use crate::response::refusal::{Issue, Reason, Refusal, outcome};
use crate::search::criterion::SearchRequest;
use crate::search::plan;
use crate::store::{Reader, StoreError};

/// What is asked, ready to run.
pub struct Prepared {
    /// `None`: the Patient that was sent has no BSN.
    request: Option<SearchRequest>,
}

/// Reads the Parameters: `resource` (a Patient), `onlyCertainMatches`, `count`. Every match here is certain, and there is one
/// at most, so the last two change nothing but have to be right.
///
/// Errors: `Malformed` without a Patient; `ParameterUnknown`; `ParameterInvalid`, for a BSN that fails its test, too.
pub fn prepare(scene: &Scene<'_>, doc: &Doc) -> Result<Prepared, Refusal> {
    let invalid = |at: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(at);
    let mut sent = None;
    for part in doc.root().get("parameter").into_iter().flat_map(Node::items) {
        let name = part.get("name").and_then(Node::as_str).unwrap_or_default();
        let value = |name: &str| part.get(name);
        match &*name {
            "resource" if sent.is_some() => return Err(invalid("resource", "It stands once.")),
            "resource" => sent = value("resource").filter(|node| node.kind() == Kind::Object),
            "onlyCertainMatches" if value("valueBoolean").and_then(Node::as_bool).is_some() => {}
            "onlyCertainMatches" => return Err(invalid("onlyCertainMatches", "It is a boolean.")),
            "count" => {
                let count = value("valueInteger").and_then(Node::number).and_then(|n| n.parse::<u32>().ok());
                count
                    .filter(|count| *count > 0)
                    .ok_or_else(|| invalid("count", "It is a whole number above 0."))?;
            }
            other => {
                let shown: String = other.chars().take(64).collect();
                let text = "It takes resource, onlyCertainMatches and count.";
                return Err(Refusal::new(Reason::ParameterUnknown, text).at(shown));
            }
        }
    }
    let is_patient = |node: &Node<'_>| {
        node.get("resourceType").and_then(Node::as_str).is_some_and(|name| name == "Patient")
    };
    let patient = sent.filter(is_patient).ok_or_else(|| {
        Refusal::new(Reason::Malformed, "Parameters with a Patient as `resource` are due.").at("resource")
    })?;
    let mut numbers: Vec<String> = Vec::new();
    for identifier in patient.get("identifier").into_iter().flat_map(Node::items) {
        let text = |name: &str| identifier.get(name).and_then(Node::as_str).unwrap_or_default();
        if text("system") != SYSTEM_BSN {
            continue;
        }
        let number = Bsn::parse(&text("value")).map_err(|_| {
            invalid("Patient.identifier", "A citizen service number (BSN) fails the eleven-test.")
        })?;
        if !numbers.iter().any(|known| known == number.as_str()) {
            numbers.push(number.as_str().to_owned());
        }
    }
    let request = match numbers.as_slice() {
        [] => None,
        [number] => {
            let pairs = [("identifier".to_owned(), format!("{SYSTEM_BSN}|{number}"))];
            Some(search::understand(scene, kinds().patient, &pairs)?)
        }
        _ => return Err(invalid("Patient.identifier", "A person has one BSN; here are several.")),
    };
    Ok(Prepared { request })
}

impl Prepared {
    /// Runs it in a snapshot.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let mut matches = match &self.request {
            None => Vec::new(),
            Some(request) => reader.search(&plan::plan(request, permit.filter()))?.matches,
        };
        for stored in &mut matches {
            obligation::apply(permit, stored)?;
        }
        let (updated, total) = (scene.now.to_instant(), matches.len() as u64);
        let mut bundle = BundleWriter::new(&scene.bundle_id(), "searchset", &updated, Some(total), &[]);
        for stored in &matches {
            let full_url = format!("{}/Patient/{}", scene.base, stored.id);
            let text = std::str::from_utf8(&stored.body).unwrap_or("null");
            bundle.certain_match(&full_url, text);
        }
        if self.request.is_none() {
            let issue = Issue {
                severity: "information",
                code: "incomplete",
                diagnostics: format!("Patients are matched by BSN ({SYSTEM_BSN}) only, and none was sent."),
                expression: vec!["Patient.identifier".to_owned()],
            };
            bundle.outcome_entry(&outcome(std::iter::once(&issue)));
        }
        let body = found_body(bundle.finish().into(), format);
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts: Facts::of(&matches) })
    }
}
