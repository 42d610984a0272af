//! `Observation/$lastn` (FHIR R4 observation-operation-lastn.html): the latest observations of each code.
//!
//! Two observations are of one code when they share a coding, or, without any, the text. The rows are those of a search, newest
//! first by `date`; every match has to be looked at to know the codes, so their number is bounded.

use std::borrow::Cow;
use std::collections::HashMap;

use http::StatusCode;
use sluis_conformance::definitions::r4;
use sluis_conformance::json::{Doc, JsonLimits, Node};

use super::search::{self, self_link};
use super::{Facts, Outcome, Scene, found_body, obligation, shape, terms};
use crate::connection::request::{Format, Parameters};
use crate::decision::Permit;
use crate::decision::policy::known_kind;
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, SearchMode};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Include, Order, OrderKey, SearchRequest, Total};
use crate::search::parameter::parameter_of;
use crate::search::plan;
use crate::store::{Reader, StoreError, Stored};

/// Observations of one code at most.
const OF_ONE_CODE_MAX: u32 = 1_000;

/// What is asked, ready to run.
pub struct Prepared {
    request: SearchRequest,
    includes: Vec<Include>,
    max: u32,
    applied: Vec<(String, String)>,
}

/// Reads the parameters: `max` (1 when absent) and those of a search, a patient or subject and a code or category among them.
///
/// Errors: `ParameterInvalid` without these, or for one that orders or cuts the answer; those of a search.
pub fn prepare(scene: &Scene<'_>, parameters: &Parameters) -> Result<Prepared, Refusal> {
    let invalid = |name: &str, text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
    let (mut max, mut pairs) = (None, Vec::new());
    for (name, value) in &*parameters.pairs {
        match name.as_str() {
            "max" => {
                let count = value.parse().ok().filter(|count| (1..=OF_ONE_CODE_MAX).contains(count));
                let text = format!("It is a whole number from 1 to {OF_ONE_CODE_MAX}, once.");
                if count.is_none() || max.replace(count.unwrap_or(1)).is_some() {
                    return Err(invalid("max", &text));
                }
            }
            "_sort" | "_count" | "_total" | "_cursor" => {
                return Err(invalid(name, "The latest of each code come whole, newest first."));
            }
            _ => pairs.push((name.clone(), value.clone())),
        }
    }
    let asked = |codes: [&str; 2]| {
        pairs.iter().any(|(name, _)| codes.contains(&name.split([':', '.']).next().unwrap_or_default()))
    };
    // "SHALL: subject or patient; category or code" (observation-operation-lastn.html)
    if !asked(["patient", "subject"]) || !asked(["category", "code"]) {
        return Err(invalid("patient", "A patient (or subject) and a code or category are due."));
    }
    let observation = known_kind("Observation");
    let mut request = search::understand(scene, observation, &pairs)?;
    if request.count_only {
        return Err(invalid("_summary", "The latest of each code are shown, not counted."));
    }
    // Of the latest alone: what is passed over brings nothing.
    let includes = std::mem::take(&mut request.includes);
    let date = r4().search_parameter(observation, "date");
    let by = |definition| Order {
        key: OrderKey::Parameter(parameter_of(observation, definition)),
        descending: true,
    };
    request.order = date.map(by).into_iter().collect();
    request.count = scene.count_max.min(scene.lastn_max);
    request.total = Total::None;
    let mut applied = request.applied.clone();
    applied.extend(max.map(|max| ("max".to_owned(), max.to_string())));
    Ok(Prepared { request, includes, max: max.unwrap_or(1), applied })
}

impl Prepared {
    /// Runs it in a snapshot.
    ///
    /// Errors: `TooCostly` when more observations match than are looked at for one answer, or too many would be included.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let refused = |refusal| StoreError::Refused(Box::new(refusal));
        let mut request = Cow::Borrowed(&self.request);
        if request.names_terms() {
            terms::settle(reader, permit, scene, request.to_mut())?;
        }
        let first = plan::plan(&request, permit.filter());
        let mut next: Option<bytes::Bytes> = None;
        let (mut kept, mut groups, mut seen) = (Vec::new(), Groups::default(), 0usize);
        let looked_at_max = scene.lastn_max as usize;
        loop {
            let plan = match &next {
                None => first.clone(),
                Some(bytes) => first.clone().starting_after(bytes).map_err(refused)?,
            };
            let found = reader.search(&plan)?;
            seen += found.matches.len();
            for stored in found.matches {
                if groups.take(&stored).map_err(refused)? <= self.max {
                    kept.push(stored);
                }
            }
            next = found.next;
            if next.is_none() {
                break;
            }
            if seen >= looked_at_max {
                let text = format!("More than {looked_at_max} observations match; name codes, or dates.");
                return Err(refused(Refusal::new(Reason::TooCostly, text)));
            }
        }
        let mut included = reader.included(&self.includes, &kept.iter().collect::<Vec<_>>())?;
        for stored in kept.iter_mut().chain(&mut included) {
            obligation::apply(permit, stored)?;
        }
        let links = [("self", self_link(scene, "Observation/$lastn", &self.applied))];
        let (updated, total) = (scene.now.to_instant(), kept.len() as u64);
        let mut bundle = BundleWriter::new(&scene.bundle_id(), "searchset", &updated, Some(total), &links);
        for stored in &kept {
            let full_url = format!("{}/Observation/{}", scene.base, stored.id);
            bundle.search_entry(&full_url, &shape::cut(stored, &self.request.shape)?, SearchMode::Match);
        }
        for stored in &included {
            let full_url = format!("{}/{}/{}", scene.base, scene.type_name(stored.kind), stored.id);
            let wanted = self.request.shape.of_included();
            bundle.search_entry(&full_url, &shape::cut(stored, wanted)?, SearchMode::Include);
        }
        search::tell_left_out(&mut bundle, &self.request.ignored);
        let body = found_body(bundle.finish().into(), format);
        let mut facts = Facts::of(&kept);
        facts.add(&included);
        facts.settle();
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
    }
}

/// Codes met so far, and how many observations of each.
#[derive(Debug, Default)]
struct Groups {
    by_name: HashMap<String, usize>,
    counts: Vec<u32>,
}

impl Groups {
    /// Counts an observation under its code; which of that code it is, from 1.
    fn take(&mut self, stored: &Stored) -> Result<u32, Refusal> {
        let doc = Doc::parse(stored.body.to_vec(), JsonLimits::default()).map_err(|error| {
            Refusal::new(Reason::Internal, "").because(format!("stored Observation: {error}"))
        })?;
        Ok(self.count(doc.root()))
    }

    fn count(&mut self, root: Node<'_>) -> u32 {
        let text = |node: Node<'_>, name: &str| {
            node.get(name).and_then(Node::as_str).unwrap_or_default().into_owned()
        };
        let code = root.get("code");
        let codings = code.and_then(|code| code.get("coding")).into_iter().flat_map(Node::items);
        let mut names: Vec<String> =
            codings.map(|coding| format!("{}|{}", text(coding, "system"), text(coding, "code"))).collect();
        if names.is_empty() {
            names.push(code.map(|code| text(code, "text")).unwrap_or_default());
        }
        let known = names.iter().find_map(|name| self.by_name.get(name).copied());
        let at = known.unwrap_or_else(|| {
            self.counts.push(0);
            self.counts.len() - 1
        });
        for name in names {
            self.by_name.entry(name).or_insert(at);
        }
        match self.counts.get_mut(at) {
            Some(count) => {
                *count += 1;
                *count
            }
            None => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn one_code_is_a_coding_in_common_or_the_text() {
        let mut groups = Groups::default();
        let mut count = |code: &str| {
            let doc =
                Doc::parse(format!(r#"{{"code":{code}}}"#).into_bytes(), JsonLimits::default()).unwrap();
            groups.count(doc.root())
        };
        let a = r#"{"coding":[{"system":"s","code":"a"}]}"#;
        assert_eq!(count(a), 1);
        assert_eq!(
            count(r#"{"coding":[{"system":"t","code":"b"},{"system":"s","code":"a"}],"text":"x"}"#),
            2
        );
        assert_eq!(count(r#"{"coding":[{"system":"t","code":"b"}]}"#), 3);
        assert_eq!(count(r#"{"coding":[{"system":"t","code":"a"}]}"#), 1);
        assert_eq!(count(r#"{"text":"x"}"#), 1);
        assert_eq!(count(r#"{"text":"x"}"#), 2);
    }
}
