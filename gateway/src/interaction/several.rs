//! Search of several types in one answer: of the system, by `_type` or all, and of a whole compartment
//! (FHIR R4 http.html#search, search.html#_type).
//!
//! Each type is searched by its own plan, all in one snapshot, and the pages are put together here: type by type and in
//! order of creation, or merged by `_lastUpdated` or `_id`. A page link holds one place in that common order, from which
//! the place in each type follows, and the state of the store at page 1.

use std::borrow::Cow;
use std::cmp::Ordering;

use http::StatusCode;
use sluis_conformance::definitions::r4;

use super::cursor::{self, Cursor};
use super::search::{self, PLACE, address, self_link};
use super::write::kinds;
use super::{Facts, Outcome, Scene, compartment, found_body, obligation, shape, terms};
use crate::connection::request::{Format, Parameters, Shape};
use crate::decision::{self, Action, Need, Permit};
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, SearchMode};
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{Criterion, Include, OrderKey, SearchRequest, Total};
use crate::search::plan::{self, Plan, Segment, SortValue};
use crate::store::{Reader, StoreError, Stored};

/// Rows on a page that is merged of several types: of each type as many are read. A larger `_count` gets this many.
const MERGED_MAX: u32 = 100;

/// A search of several types, ready to run.
pub struct Prepared {
    /// Below the base: empty, or `Patient/1/*`.
    path: String,
    /// The question for each type, in alphabetical order of the types. Never empty.
    each: Vec<SearchRequest>,
    /// What comes with the matches of a page.
    pub(super) includes: Vec<Include>,
    /// What was asked, as applied.
    pub(super) applied: Vec<(String, String)>,
    ignored: Vec<Refusal>,
    place: Option<Vec<u8>>,
}

/// Types that `_type` names; `None` when it does not stand.
///
/// Errors: `ParameterInvalid` for a name that is none of R4, or when it stands twice.
pub fn named(parameters: &Parameters) -> Result<Option<Vec<ResourceType>>, Refusal> {
    types_of(&parameters.pairs)
}

pub(super) fn types_of(pairs: &[(String, String)]) -> Result<Option<Vec<ResourceType>>, Refusal> {
    let invalid = |text: String| Refusal::new(Reason::ParameterInvalid, text).at("_type");
    let mut asked = pairs.iter().filter(|(name, _)| name == "_type");
    let Some((_, list)) = asked.next() else { return Ok(None) };
    if asked.next().is_some() {
        return Err(invalid("It stands once, with its types separated by commas.".to_owned()));
    }
    let mut kinds = Vec::new();
    for name in list.split(',') {
        let shown: String = name.chars().take(64).collect();
        let kind = r4().resource_type(name).ok_or_else(|| invalid(format!("{shown} is no type of R4.")))?;
        kinds.push(kind);
    }
    kinds.sort_unstable();
    kinds.dedup();
    Ok(Some(kinds))
}

/// Parses a search of several types, those of a compartment when `within` names its owner. A `_cursor` stands alone.
///
/// Errors: those of a search for each type; `Forbidden` for a type that is named and not in the token's scopes, or when
/// none is; `ParameterInvalid` for an order that types do not have in common.
pub fn prepare(
    scene: &Scene<'_>,
    permit: &Permit,
    within: Option<(ResourceType, &ResourceId)>,
    parameters: &Parameters,
) -> Result<Prepared, Refusal> {
    let path = within.map_or(String::new(), |(owner, id)| format!("{}/{id}/*", scene.type_name(owner)));
    let (pairs, place) = opened(scene, &path, parameters)?;
    let kinds = searched(scene, permit, within.map(|(owner, _)| owner), types_of(&pairs)?)?;
    let criteria = |kind| {
        let own = within.map(|(owner, id)| compartment::criterion(owner, id, kind)).transpose()?;
        Ok(own.into_iter().collect())
    };
    understood(scene, path, &kinds, &pairs, place, &criteria)
}

/// A question, and the place it goes on at when it came with a page link.
pub(super) type Opened = (Vec<(String, String)>, Option<Vec<u8>>);

/// The question of a request or of its page link, and the place the link holds.
///
/// Errors: `ParameterInvalid` for a link with further parameters, of another address, or not valid any more.
pub(super) fn opened(scene: &Scene<'_>, path: &str, parameters: &Parameters) -> Result<Opened, Refusal> {
    let Some((_, text)) = parameters.pairs.iter().find(|(name, _)| name == "_cursor") else {
        return Ok((parameters.pairs.to_vec(), None));
    };
    let refused = |text: &str| Refusal::new(Reason::ParameterInvalid, text).at("_cursor");
    if parameters.pairs.len() > 1 {
        return Err(refused("A page link is used as it was given, without further parameters."));
    }
    let actor = scene.actor.ok_or_else(Refusal::not_found)?;
    let mut cursor = scene.seal.open(text, actor, scene.now)?;
    if cursor.pairs.pop() != Some((PLACE.to_owned(), path.to_owned())) {
        return Err(refused("This page link belongs to another address."));
    }
    Ok((cursor.pairs, Some(cursor.position)))
}

/// Types to search: those named, else every one there is that the token's scopes cover. The log is no stored resource.
pub(super) fn searched(
    scene: &Scene<'_>,
    permit: &Permit,
    within: Option<ResourceType>,
    named: Option<Vec<ResourceType>>,
) -> Result<Vec<ResourceType>, Refusal> {
    let covered = |kind: ResourceType| {
        scene.actor.map_or(Ok(()), |actor| decision::in_scope(actor, &Need::new(Action::Search, kind)))
    };
    if let Some(named) = named {
        named.iter().try_for_each(|kind| covered(*kind))?;
        if within.is_some() {
            named.iter().try_for_each(|kind| obligation::check_within(permit, *kind))?;
        }
        if named.contains(&kinds().audit_event) {
            let text = "The log is searched alone: [base]/AuditEvent?patient=...";
            return Err(Refusal::new(Reason::ParameterInvalid, text).at("_type"));
        }
        return Ok(named);
    }
    let all: Vec<ResourceType> = match within {
        Some(owner) => {
            let seen = |kind: &ResourceType| obligation::check_within(permit, *kind).is_ok();
            compartment::types(owner).filter(seen).collect()
        }
        None => r4().resource_types().filter(|kind| *kind != kinds().audit_event).collect(),
    };
    let mut refused = None;
    let kept: Vec<ResourceType> = all
        .into_iter()
        .filter(|kind| covered(*kind).map_err(|no| refused.get_or_insert(no).clone()).is_ok())
        .collect();
    match (kept.is_empty(), refused) {
        (true, Some(refusal)) => Err(refusal),
        _ => Ok(kept),
    }
}

/// Reads the question for each type; what one of them does not know is known to none.
pub(super) fn understood(
    scene: &Scene<'_>,
    path: String,
    kinds: &[ResourceType],
    pairs: &[(String, String)],
    place: Option<Vec<u8>>,
    criteria: &dyn Fn(ResourceType) -> Result<Vec<Criterion>, Refusal>,
) -> Result<Prepared, Refusal> {
    let (included, mut asked): (Vec<_>, Vec<_>) =
        pairs.iter().filter(|(name, _)| name != "_type").cloned().partition(|(name, _)| is_include(name));
    let mut ignored: Vec<Refusal> = Vec::new();
    let mut each: Vec<SearchRequest> = Vec::with_capacity(kinds.len());
    while each.len() < kinds.len() {
        let Some(kind) = kinds.get(each.len()) else { break };
        let mut request = search::understand(scene, *kind, &asked)?;
        if !request.ignored.is_empty() {
            // Left out for one type, it is left out for all, or the answer would be of several questions.
            let names: Vec<String> = request.ignored.iter().flat_map(|r| r.expression.clone()).collect();
            asked.retain(|(name, _)| !names.contains(name));
            ignored.append(&mut request.ignored);
            each.clear();
            continue;
        }
        let common = |key| matches!(key, OrderKey::Updated | OrderKey::Id);
        let in_common = request.order.len() <= 1 && request.order.iter().all(|order| common(order.key));
        if kinds.len() > 1 && !in_common {
            let text = "Several types are sorted by _lastUpdated or by _id, or come type by type.";
            return Err(Refusal::new(Reason::ParameterInvalid, text).at("_sort"));
        }
        request.criteria.extend(criteria(*kind)?);
        each.push(request);
    }
    let mut applied: Vec<(String, String)> =
        pairs.iter().filter(|(name, _)| name == "_type").cloned().collect();
    applied.extend(each.first().map(|request| request.applied.clone()).unwrap_or_default());
    let mut includes = Vec::new();
    for pair in included {
        match brought(scene, kinds, &pair)? {
            Ok(found) => {
                includes.extend(found.into_iter().filter(|one| !includes.contains(one)).collect::<Vec<_>>());
                applied.push(pair);
            }
            Err(left_out) => ignored.push(left_out),
        }
    }
    let text_alone = each.first().is_some_and(|request| request.shape == Shape::Text);
    if text_alone && !includes.is_empty() {
        let text = "_summary=text and includes do not go together.";
        return Err(Refusal::new(Reason::ParameterInvalid, text).at("_summary"));
    }
    Ok(Prepared { path, each, includes, applied, ignored, place })
}

fn is_include(name: &str) -> bool {
    matches!(name.split(':').next(), Some("_include" | "_revinclude"))
}

/// What an include means for the types searched: of each what it means for a search of that type, as far as it means
/// something there. The inner error is a parameter that is left out.
///
/// Errors: those of a search of one of the types, when it means something for none.
/// Source: FHIR R4 search.html#revinclude
fn brought(
    scene: &Scene<'_>,
    kinds: &[ResourceType],
    pair: &(String, String),
) -> Result<Result<Vec<Include>, Refusal>, Refusal> {
    let mut found: Vec<Include> = Vec::new();
    let (mut ignored, mut refused): (Option<Refusal>, Option<Refusal>) = (None, None);
    for kind in kinds {
        match search::understand(scene, *kind, std::slice::from_ref(pair)) {
            Ok(mut request) => {
                ignored = ignored.or_else(|| request.ignored.pop());
                for mut include in request.includes {
                    if include.reverse && !include.iterate {
                        // What refers to the matches of this type.
                        include.target = Some(*kind);
                    }
                    if !found.contains(&include) {
                        found.push(include);
                    }
                }
            }
            // A scope that is missing is told before a type that does not fit.
            Err(refusal) if refused.is_none() || refusal.reason == Reason::Forbidden => {
                refused = Some(refusal);
            }
            Err(_) => {}
        }
    }
    match (found.is_empty(), refused, ignored) {
        (false, ..) => Ok(Ok(found)),
        (true, _, Some(left_out)) => Ok(Err(left_out)),
        (true, Some(refusal), None) => Err(refusal),
        (true, None, None) => Ok(Ok(Vec::new())),
    }
}

/// A match and where it stands.
struct Row {
    stored: Stored,
    place: plan::Cursor,
}

/// Where a page starts: after this match of this type.
struct Start {
    kind: ResourceType,
    after: plan::Cursor,
}

impl Prepared {
    /// Runs it in a snapshot and writes its page.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let mut plans: Vec<Plan> = Vec::with_capacity(self.each.len());
        for request in &self.each {
            let mut request = Cow::Borrowed(request);
            if request.names_terms() {
                terms::settle(reader, permit, scene, request.to_mut())?;
            }
            plans.push(plan::plan(&request, permit.filter()));
        }
        let start = match &self.place {
            None => None,
            Some(bytes) => {
                Some(start(&plans, bytes).map_err(|refusal| StoreError::Refused(Box::new(refusal)))?)
            }
        };
        let mark = match &start {
            None => reader.mark()?,
            Some(start) => start.after.mark,
        };
        let Page { mut rows, more, total } = self.page(reader, &plans, start.as_ref())?;
        let mut included =
            reader.included(&self.includes, &rows.iter().map(|row| &row.stored).collect::<Vec<_>>())?;
        for stored in rows.iter_mut().map(|row| &mut row.stored).chain(&mut included) {
            obligation::apply(permit, stored)?;
        }
        let mut links = vec![("self", self_link(scene, &self.path, &self.applied))];
        if more && let Some(last) = rows.last() {
            links.extend(self.next(scene, &plans, mark, last).map(|url| ("next", url)));
        }
        let updated = scene.now.to_instant();
        let mut bundle = BundleWriter::new(&scene.bundle_id(), "searchset", &updated, total, &links);
        let wanted = self.each.first().map_or(&Shape::Whole, |request| &request.shape);
        for row in &rows {
            let Stored { kind, id, .. } = &row.stored;
            let full_url = format!("{}/{}/{id}", scene.base, scene.type_name(*kind));
            let text = shape::cut(&row.stored, wanted)?;
            bundle.search_entry(&full_url, &text, SearchMode::Match);
        }
        for stored in &included {
            let full_url = format!("{}/{}/{}", scene.base, scene.type_name(stored.kind), stored.id);
            bundle.search_entry(&full_url, &shape::cut(stored, wanted.of_included())?, SearchMode::Include);
        }
        search::tell_left_out(&mut bundle, &self.ignored);
        let stored: Vec<Stored> = rows.into_iter().map(|row| row.stored).collect();
        let mut facts = Facts::of(&stored);
        facts.add(&included);
        facts.settle();
        let body = found_body(bundle.finish().into(), format);
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
    }

    fn page(
        &self,
        reader: &mut dyn Reader,
        plans: &[Plan],
        start: Option<&Start>,
    ) -> Result<Page, StoreError> {
        let (Some(first), Some(asked)) = (plans.first(), self.each.first()) else {
            return Ok(Page { rows: Vec::new(), more: false, total: Some(0) });
        };
        let merged = !first.order.is_empty() && plans.len() > 1;
        let limit = if merged { first.count.min(MERGED_MAX) } else { first.count };
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let counted = asked.total == Total::Accurate || first.count_only;
        let (mut rows, mut more, mut total): (Vec<Row>, bool, u64) = (Vec::new(), false, 0);
        let searched: Vec<ResourceType> = plans.iter().map(|plan| plan.kind).collect();
        let stored = reader.stored_kinds(&searched)?;
        for plan in plans.iter().filter(|plan| stored.contains(&plan.kind)) {
            let full = !merged && rows.len() >= wanted;
            let (mut plan, over) = begun(plan, start);
            plan.total = counted;
            if over || (full && more) {
                // Nothing of it is on this page: at most it is counted.
                if !counted {
                    continue;
                }
                plan.count_only = true;
            }
            let missing = u32::try_from(wanted.saturating_sub(rows.len())).unwrap_or(u32::MAX);
            // Past a full page, one row tells whether another page follows.
            plan.count = if merged { limit } else { missing.max(1) };
            let found = reader.search(&plan)?;
            total += found.total.unwrap_or(0);
            if full {
                more |= !found.matches.is_empty();
                continue;
            }
            more |= found.next.is_some();
            let places = found.places.into_iter();
            rows.extend(found.matches.into_iter().zip(places).map(|(stored, place)| Row { stored, place }));
        }
        if merged {
            rows.sort_by(|a, b| order(first, a, b));
            more |= rows.len() > wanted;
            rows.truncate(wanted);
        }
        let whole = start.is_none() && !more && asked.total != Total::None && !first.count_only;
        let total = if counted { Some(total) } else { whole.then_some(rows.len() as u64) };
        Ok(Page { rows, more, total })
    }

    fn next(&self, scene: &Scene<'_>, plans: &[Plan], mark: i64, last: &Row) -> Option<String> {
        let plan = plans.iter().find(|plan| plan.kind == last.stored.kind)?;
        let mut position = u16::try_from(last.stored.kind.index()).ok()?.to_be_bytes().to_vec();
        position.extend(plan::Cursor { mark, ..last.place.clone() }.write(plan));
        let mut pairs = self.applied.clone();
        pairs.push((PLACE.to_owned(), self.path.clone()));
        let cursor = Cursor { pairs, position, expires: scene.now.plus_seconds(cursor::LIFE_SECONDS) };
        let text = scene.seal.seal(&cursor, scene.actor?, scene.clock)?;
        Some(format!("{}?_cursor={text}", address(scene, &self.path)))
    }
}

struct Page {
    rows: Vec<Row>,
    more: bool,
    total: Option<u64>,
}

/// Reads a place back; one of a type that is not searched (any more) is none.
fn start(plans: &[Plan], bytes: &[u8]) -> Result<Start, Refusal> {
    let refused =
        || Refusal::new(Reason::ParameterInvalid, "The page link is not of this search.").at("_cursor");
    let (index, rest) = bytes.split_first_chunk::<2>().ok_or_else(refused)?;
    let index = usize::from(u16::from_be_bytes(*index));
    let plan = plans.iter().find(|plan| plan.kind.index() == index).ok_or_else(refused)?;
    let after = plan.clone().starting_after(rest)?.after.ok_or_else(refused)?;
    Ok(Start { kind: plan.kind, after })
}

/// A type's plan from the common place on, and whether everything of it stands before that.
fn begun(plan: &Plan, start: Option<&Start>) -> (Plan, bool) {
    let mut plan = plan.clone();
    let Some(start) = start else { return (plan, false) };
    plan.as_of = Some(start.after.mark);
    let before = plan.kind.cmp(&start.kind);
    if plan.order.is_empty() {
        if before == Ordering::Equal {
            plan.after = Some(start.after.clone());
        }
        return (plan, before == Ordering::Less);
    }
    // Rows of equal value go by type: of the types before, they are past; of those after, still to come.
    let falling = plan.falling() && start.after.segment == Segment::Sorted;
    let key = match (before, falling) {
        (Ordering::Equal, _) => start.after.key,
        (Ordering::Less, false) | (Ordering::Greater, true) => i64::MAX,
        (Ordering::Less, true) | (Ordering::Greater, false) => i64::MIN,
    };
    plan.after = Some(plan::Cursor { key, ..start.after.clone() });
    (plan, false)
}

/// The common order: unchanged rows by value, type and key, then those changed since page 1 by type and key.
fn order(plan: &Plan, a: &Row, b: &Row) -> Ordering {
    let falling = plan.falling() && a.place.segment == Segment::Sorted;
    let turned = |order: Ordering| if falling { order.reverse() } else { order };
    let value = |row: &Row| row.place.values.first().cloned();
    let values = match (value(a), value(b)) {
        (Some(SortValue::Integer(a)), Some(SortValue::Integer(b))) => a.cmp(&b),
        (Some(SortValue::Text(a)), Some(SortValue::Text(b))) => a.cmp(&b),
        _ => Ordering::Equal,
    };
    a.place
        .segment
        .cmp(&b.place.segment)
        .then(turned(values))
        .then(a.stored.kind.cmp(&b.stored.kind))
        .then(turned(a.place.key.cmp(&b.place.key)))
}
