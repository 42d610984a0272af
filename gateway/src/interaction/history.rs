//! History of a resource, of a type, of the system (FHIR R4 http.html#history), page by page.

use http::StatusCode;
use sluis_conformance::definitions;
use sluis_conformance::path::FhirDateTime;

use super::cursor::{self, Cursor};
use super::search::QUERY;
use super::{Facts, Outcome, Scene, found_body, obligation, shape};
use crate::clock::Timestamp;
use crate::connection::request::{Format, Parameters, Shape};
use crate::decision::{self, Action, Need, Permit};
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, HistoryEntry};
use crate::response::refusal::{Reason, Refusal};
use crate::store::history::{HistoryOf, HistoryPlace, HistoryQuery};
use crate::store::{Method, Reader, StoreError, Stored};

/// Whose history.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'i> {
    /// `[type]/[id]/_history`
    Instance(ResourceType, &'i ResourceId),
    /// `[type]/_history`
    Type(ResourceType),
    /// `_history`
    System,
}

/// A history, ready to run: parsed from the request, or from the cursor of an earlier page.
pub struct Prepared<'i> {
    scope: Scope<'i>,
    /// Below the base: `Observation/1/_history`.
    path: String,
    pairs: Vec<(String, String)>,
    query: HistoryQuery,
    shape: Shape,
}

/// Name under which a cursor keeps the address it belongs to.
const PLACE: &str = "_of";

/// Parses a history: `_count` (1 to the limit), `_since`, `_at`, `_sort` by `_lastUpdated`, `_summary`, `_elements`. A `_cursor` stands alone.
///
/// Errors: `ParameterUnknown`, `ParameterInvalid`.
pub fn prepare<'i>(
    scene: &Scene<'_>,
    scope: Scope<'i>,
    parameters: &Parameters,
) -> Result<Prepared<'i>, Refusal> {
    let path = match scope {
        Scope::Instance(kind, id) => format!("{}/{id}/_history", scene.type_name(kind)),
        Scope::Type(kind) => format!("{}/_history", scene.type_name(kind)),
        Scope::System => "_history".to_owned(),
    };
    let (pairs, position) = match parameters.pairs.iter().find(|(name, _)| name == "_cursor") {
        None => (parameters.pairs.to_vec(), None),
        Some((_, text)) => {
            let refused = |text: &str| Refusal::new(Reason::ParameterInvalid, text).at("_cursor");
            if parameters.pairs.len() > 1 {
                return Err(refused("A page link is used as it was given, without further parameters."));
            }
            let actor = scene.actor.ok_or_else(Refusal::not_found)?;
            let mut cursor = scene.seal.open(text, actor, scene.now)?;
            let of = cursor.pairs.pop();
            let position = place(&cursor.position);
            if of != Some((PLACE.to_owned(), path.clone())) || position.is_none() {
                return Err(refused("This page link belongs to another address."));
            }
            (cursor.pairs, position)
        }
    };
    let of = match scope {
        // The row is looked up in the snapshot.
        Scope::Instance(..) => HistoryOf::Row(0),
        Scope::Type(kind) => HistoryOf::Kind(kind),
        Scope::System => HistoryOf::Kinds(in_scope(scene)),
    };
    let mut query = HistoryQuery {
        of,
        since: None,
        at: None,
        until: position.map_or(scene.now, |(until, _)| until),
        after: position.map(|(_, after)| after),
        oldest_first: false,
        limit: 20.min(scene.count_max),
    };
    let mut shape = Shape::Whole;
    for (name, value) in &pairs {
        if shape.read(name, value)? {
            continue;
        }
        understand(&mut query, name, value, scene.count_max)?;
    }
    Ok(Prepared { scope, path, pairs, query, shape })
}

/// Types the token's scopes let be searched; `None`: all.
fn in_scope(scene: &Scene<'_>) -> Option<Vec<ResourceType>> {
    let actor = scene.actor?;
    let all = definitions::r4().resource_types();
    let (named, other): (Vec<_>, Vec<_>) =
        all.partition(|kind| decision::in_scope(actor, &Need::new(Action::Search, *kind)).is_ok());
    (!other.is_empty()).then_some(named)
}

fn understand(query: &mut HistoryQuery, name: &str, value: &str, count_max: u32) -> Result<(), Refusal> {
    let invalid = |text: &str| Refusal::new(Reason::ParameterInvalid, text).at(name);
    let range = || {
        let text = "A moment is YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset; a `+` is written \
                    %2B in an address.";
        let range = FhirDateTime::read(value, None).map_err(|_| invalid(text))?.range;
        Ok::<_, Refusal>((Timestamp(range.low_us), Timestamp(range.high_us)))
    };
    match name {
        "_count" => {
            let count = value.parse::<u64>().ok().filter(|count| *count > 0);
            let count = count.ok_or_else(|| invalid("A whole number above 0 is needed."))?;
            query.limit = u32::try_from(count).unwrap_or(u32::MAX).min(count_max);
        }
        "_since" => query.since = Some(range()?.0),
        "_at" => query.at = Some(range()?),
        "_sort" => {
            query.oldest_first = match value {
                "-_lastUpdated" => false,
                "_lastUpdated" => true,
                _ => return Err(invalid("A history is sorted by _lastUpdated or -_lastUpdated.")),
            }
        }
        _ => {
            let text = "A history knows _count, _since, _at, _sort, _summary and _elements.";
            return Err(Refusal::new(Reason::ParameterUnknown, text).at(name));
        }
    }
    Ok(())
}

impl Prepared<'_> {
    /// Runs it in a snapshot and writes its page.
    ///
    /// Errors: `NotFound` when the resource of an instance's history is not visible.
    pub fn run(
        &self,
        reader: &mut dyn Reader,
        permit: &Permit,
        scene: &Scene<'_>,
        format: Format,
    ) -> Result<Outcome, StoreError> {
        let mut query = self.query.clone();
        if let Scope::Instance(kind, id) = self.scope {
            let current = reader.current(kind, id)?;
            let current = current.ok_or_else(|| StoreError::Refused(Box::new(Refusal::not_found())))?;
            query.of = HistoryOf::Row(current.key);
        }
        // One more tells whether a page follows.
        query.limit = query.limit.saturating_add(1);
        let (mut versions, total) = reader.changes(&query)?;

        let more = versions.len() > self.query.limit as usize;
        versions.truncate(self.query.limit as usize);
        for version in &mut versions {
            obligation::apply(permit, version)?;
        }
        let mut facts = Facts::of(&versions);
        if self.shape == Shape::Count {
            // A number tells about patients too, and shows no resource.
            versions.clear();
            facts.resources.clear();
        }
        let mut links = vec![("self", self.self_link(scene))];
        if more && let Some(last) = versions.last() {
            links.extend(self.next(scene, last).map(|url| ("next", url)));
        }
        let updated = scene.now.to_instant();
        let mut bundle = BundleWriter::new(&scene.bundle_id(), "history", &updated, Some(total), &links);
        for version in &versions {
            write(&mut bundle, scene, version, &self.shape)?;
        }
        let body = found_body(bundle.finish().into(), format);
        Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
    }

    fn next(&self, scene: &Scene<'_>, last: &Stored) -> Option<String> {
        let mut position = self.query.until.0.to_be_bytes().to_vec();
        position.extend_from_slice(&last.updated.0.to_be_bytes());
        position.extend_from_slice(&last.key.to_be_bytes());
        position.extend_from_slice(&last.version.to_be_bytes());
        let mut pairs = self.pairs.clone();
        pairs.push((PLACE.to_owned(), self.path.clone()));
        let cursor = Cursor { pairs, position, expires: scene.now.plus_seconds(cursor::LIFE_SECONDS) };
        let text = scene.seal.seal(&cursor, scene.actor?, scene.clock)?;
        Some(format!("{}/{}?_cursor={text}", scene.base, self.path))
    }

    fn self_link(&self, scene: &Scene<'_>) -> String {
        let mut out = format!("{}/{}?_count={}", scene.base, self.path, self.query.limit);
        for (name, value) in self.pairs.iter().filter(|(name, _)| name != "_count") {
            out.push_str(&format!("&{name}="));
            out.extend(percent_encoding::utf8_percent_encode(value, QUERY));
        }
        out
    }
}

/// Moment of the first page, and the place the last one ended at.
fn place(bytes: &[u8]) -> Option<(Timestamp, HistoryPlace)> {
    let (until, rest) = bytes.split_first_chunk::<8>()?;
    let (updated, rest) = rest.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<8>()?;
    let place = HistoryPlace {
        updated: Timestamp(i64::from_be_bytes(*updated)),
        key: i64::from_be_bytes(*key),
        version: u32::from_be_bytes(rest.try_into().ok()?),
    };
    Some((Timestamp(i64::from_be_bytes(*until)), place))
}

fn write(
    bundle: &mut BundleWriter,
    scene: &Scene<'_>,
    version: &Stored,
    wanted: &Shape,
) -> Result<(), StoreError> {
    let name = scene.type_name(version.kind);
    let url = format!("{name}/{}", version.id);
    let text = if version.deleted { "".into() } else { shape::cut(version, wanted)? };
    bundle.history_entry(&HistoryEntry {
        full_url: &format!("{}/{url}", scene.base),
        resource: (!version.deleted).then_some(&*text),
        method: match version.method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        },
        url: if version.method == Method::Post { name } else { &url },
        status: match version.method {
            Method::Post => "201",
            // The first version of an update as create.
            Method::Put if version.version == 1 => "201",
            Method::Put => "200",
            Method::Delete => "204",
        },
        version: version.version,
        updated: &version.updated.to_instant(),
    });
    Ok(())
}
