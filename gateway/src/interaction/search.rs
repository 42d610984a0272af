//! Search of a type (FHIR R4 search.html, http.html#search).

use std::borrow::Cow;

use http::StatusCode;
use sluis_conformance::definitions;

use super::cursor::{self, Cursor};
use super::{Facts, Outcome, Scene, compartment, found_body, obligation, shape, terms};
use crate::connection::request::{Format, Parameters};
use crate::decision::{self, Action, Need, Permit};
use crate::ids::{ResourceId, ResourceType, SYSTEM_BSN};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, SearchMode};
use crate::response::refusal::{self, Issue, Reason, Refusal};
use crate::search::criterion::{Parameter, SearchRequest, Total};
use crate::search::parameter::{self, SearchContext};
use crate::search::plan;
use crate::store::{Reader, StoreError};

/// A search, ready to run: parsed from the request, or from the cursor of an earlier page.
pub struct Prepared {
    /// Below the base: `Observation`, `Patient/1/Observation`.
    path: String,
    /// Whether it is within a compartment.
    within: bool,
    request: SearchRequest,
    position: Option<Vec<u8>>,
}

/// Parses a search. A `_cursor` stands alone: it carries the whole question.
///
/// Errors: those of [`parameter::parse`].
pub fn prepare(
    scene: &Scene<'_>,
    kind: ResourceType,
    within: Option<(ResourceType, &ResourceId)>,
    parameters: &Parameters,
) -> Result<Prepared, Refusal> {
    let name = scene.type_name(kind);
    let path = match within {
        Some((owner, id)) => format!("{}/{id}/{name}", scene.type_name(owner)),
        None => name.to_owned(),
    };
    let (mut pairs, position) = match parameters.pairs.iter().find(|(name, _)| name == "_cursor") {
        None => (parameters.pairs.to_vec(), None),
        Some((_, text)) => {
            if parameters.pairs.len() > 1 {
                let text = "A page link is used as it was given, without further parameters.";
                return Err(Refusal::new(Reason::ParameterInvalid, text).at("_cursor"));
            }
            let actor = scene.actor.ok_or_else(Refusal::not_found)?;
            let cursor = scene.seal.open(text, actor, scene.now)?;
            (cursor.pairs, Some(cursor.position))
        }
    };
    if within.is_some() && position.is_some() && pairs.pop() != Some((PLACE.to_owned(), path.clone())) {
        let text = "This page link belongs to another address.";
        return Err(Refusal::new(Reason::ParameterInvalid, text).at("_cursor"));
    }
    let mut request = understand(scene, kind, &pairs)?;
    if let Some((owner, id)) = within {
        request.criteria.push(compartment::criterion(owner, id, kind)?);
    }
    Ok(Prepared { path, within: within.is_some(), request, position })
}

/// The question a search's pairs ask, without what its asker has no scope to look at.
///
/// Errors: those of [`prepare`], `Forbidden`.
pub(super) fn understand(
    scene: &Scene<'_>,
    kind: ResourceType,
    pairs: &[(String, String)],
) -> Result<SearchRequest, Refusal> {
    let context = SearchContext { base: scene.base, now: scene.now, lenient: scene.lenient };
    let mut request = parameter::parse(kind, pairs, scene.search_limits, &context)?;
    indexed(scene, &request)?;
    if let Some(actor) = scene.actor {
        // What a search looks at past a reference is searched too, and needs the scope of its type
        // (SMART App Launch 2.2, scopes-and-launch-context.html#scopes-for-requesting-fhir-resources).
        let reach = |kind| decision::in_scope(actor, &Need::new(Action::Search, kind));
        request.criteria.iter_mut().try_for_each(|criterion| criterion.prune(&reach))?;
        request.includes.iter_mut().try_for_each(|include| include.prune(&reach))?;
    }
    terms::in_scope(scene, &request)?;
    Ok(request)
}

/// Refuses to search by an operator's parameter, or by words of texts, before every row is indexed: it would find less
/// than there is.
fn indexed(scene: &Scene<'_>, request: &SearchRequest) -> Result<(), Refusal> {
    if scene.indexing.is_whole() {
        return Ok(());
    }
    let own = |parameter: &&Parameter| definitions::r4().is_own(parameter.id);
    let own = request.parameters().iter().find(own).map(|parameter| parameter.code);
    match own.or_else(|| request.text_parameter()) {
        None => Ok(()),
        Some(code) => {
            let text = format!("It has come to {} percent.", scene.indexing.percent());
            Err(Refusal::new(Reason::Indexing, text).at(code))
        }
    }
}

impl Prepared {
    /// Runs the search in a snapshot and writes its page.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let mut request = Cow::Borrowed(&self.request);
        if request.names_terms() {
            terms::settle(reader, permit, scene, request.to_mut())?;
        }
        let mut plan = plan::plan(&request, permit.filter());
        if let Some(position) = &self.position {
            plan = plan.starting_after(position).map_err(|refusal| StoreError::Refused(Box::new(refusal)))?;
        }
        let mut found = reader.search(&plan)?;
        for stored in found.matches.iter_mut().chain(&mut found.includes) {
            obligation::apply(permit, stored)?;
        }
        let mut links = vec![("self", self_link(scene, &self.path, &self.request.applied))];
        if let Some(position) = &found.next
            && let Some(actor) = scene.actor
        {
            // What was left out is not asked again, so that a later page needs no leniency.
            let mut pairs = self.request.applied.clone();
            if self.within {
                pairs.push((PLACE.to_owned(), self.path.clone()));
            }
            let cursor = Cursor {
                pairs,
                position: position.to_vec(),
                expires: scene.now.plus_seconds(cursor::LIFE_SECONDS),
            };
            if let Some(text) = scene.seal.seal(&cursor, actor, scene.clock) {
                links.push(("next", format!("{}/{}?_cursor={text}", scene.base, self.path)));
            }
        }
        // A first page without a next one is the whole answer: its number is known for nothing.
        let whole = self.position.is_none() && found.next.is_none() && self.request.total != Total::None;
        let total = found.total.or_else(|| whole.then_some(found.matches.len() as u64));
        let updated = scene.now.to_instant();
        let mut bundle = BundleWriter::new(&scene.bundle_id(), "searchset", &updated, total, &links);
        for (stored, mode) in found
            .matches
            .iter()
            .map(|m| (m, SearchMode::Match))
            .chain(found.includes.iter().map(|i| (i, SearchMode::Include)))
        {
            let full_url = format!("{}/{}/{}", scene.base, scene.type_name(stored.kind), stored.id);
            let wanted = match mode {
                SearchMode::Match => &self.request.shape,
                SearchMode::Include => self.request.shape.of_included(),
            };
            bundle.search_entry(&full_url, &shape::cut(stored, wanted)?, mode);
        }
        tell_left_out(&mut bundle, &self.request.ignored);
        let mut facts = Facts::of(&found.matches);
        facts.add(&found.includes);
        // A count tells about patients too: those of the question are named by their key.
        facts.patients.extend(found.patients.iter().copied());
        facts.settle();
        let body = found_body(bundle.finish().into(), format);
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
    }
}

/// The question as understood (FHIR R4 search.html#conformance). A BSN is never echoed.
pub(super) fn self_link(scene: &Scene<'_>, path: &str, applied: &[(String, String)]) -> String {
    let mut out = address(scene, path);
    for (at, (name, value)) in applied.iter().enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        let value = if value.contains(SYSTEM_BSN) { format!("{SYSTEM_BSN}|***") } else { value.clone() };
        for (text, end) in [(name.as_str(), "="), (value.as_str(), "")] {
            out.extend(percent_encoding::utf8_percent_encode(text, QUERY));
            out.push_str(end);
        }
    }
    out
}

/// An address below the base, or the base itself.
pub(super) fn address(scene: &Scene<'_>, path: &str) -> String {
    if path.is_empty() { scene.base.to_owned() } else { format!("{}/{path}", scene.base) }
}

/// Name under which a cursor keeps the address it belongs to, where that is not the type's.
pub(super) const PLACE: &str = "_of";

/// A parameter that was left out, as an issue of the answer: the search was done, and found more than was asked for.
fn left_out(refusal: &Refusal) -> Issue {
    let diagnostics = format!("This parameter was left out. {}", refusal.details);
    Issue {
        severity: "warning",
        code: refusal.reason.row().code,
        diagnostics,
        expression: refusal.expression.clone(),
    }
}

/// Adds the entry that names the parameters that were left out, when any was.
pub(super) fn tell_left_out(bundle: &mut BundleWriter, ignored: &[Refusal]) {
    if !ignored.is_empty() {
        let issues: Vec<_> = ignored.iter().map(left_out).collect();
        bundle.outcome_entry(&refusal::outcome(issues.iter()));
    }
}

/// What must be escaped in a query value (RFC 3986 section 3.4), keeping `/:|,$` readable.
pub(super) const QUERY: &percent_encoding::AsciiSet = &percent_encoding::CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'=')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');
