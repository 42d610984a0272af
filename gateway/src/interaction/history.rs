//! Instance history (FHIR R4 http.html#history): newest first, page by page.

use http::StatusCode;

use super::{Facts, Outcome, Scene, found_body, obligation};
use crate::connection::request::{Format, Parameters};
use crate::decision::Permit;
use crate::ids::{ResourceId, ResourceType};
use crate::response::Answer;
use crate::response::bundle::{BundleWriter, HistoryEntry};
use crate::response::refusal::{Reason, Refusal};
use crate::store::{Method, Reader, StoreError};

/// Versions of one resource.
///
/// Parameters: `_count` (1 to the limit) and `_before` (a version number, from the `next` link); others are refused.
/// Errors: `NotFound` when the resource is not visible.
pub fn history(
    reader: &mut dyn Reader,
    permit: &Permit,
    scene: &Scene<'_>,
    kind: ResourceType,
    id: &ResourceId,
    parameters: &Parameters,
    format: Format,
) -> Result<Outcome, StoreError> {
    let page = Page::parse(parameters, scene.count_max)?;
    let (mut versions, total) = reader.history(kind, id, page.before, page.count)?;
    for version in &mut versions {
        obligation::apply(permit, version)?;
    }
    if total == 0 {
        return Err(StoreError::Refused(Box::new(Refusal::not_found())));
    }
    let name = scene.type_name(kind);
    let url = format!("{name}/{id}");
    let full_url = format!("{}/{url}", scene.base);
    let here = format!("{full_url}/_history");
    let mut links = vec![("self", format!("{here}?_count={}", page.count))];
    if let Some(last) = versions.last().filter(|v| v.version > 1 && versions.len() == page.count as usize) {
        links.push(("next", format!("{here}?_count={}&_before={}", page.count, last.version)));
    }
    let updated = scene.now.to_instant();
    let mut bundle = BundleWriter::new(&scene.bundle_id, "history", &updated, Some(total), &links);
    for version in &versions {
        let text = std::str::from_utf8(&version.body).unwrap_or("null");
        bundle.history_entry(&HistoryEntry {
            full_url: &full_url,
            resource: (!version.deleted).then_some(text),
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
    }
    let facts = Facts::of(&versions);
    let body = found_body(bundle.finish().into(), format);
    Ok(Outcome { answer: Answer::fhir(StatusCode::OK, body), facts })
}

struct Page {
    count: u32,
    before: Option<u32>,
}

impl Page {
    fn parse(parameters: &Parameters, count_max: u32) -> Result<Page, StoreError> {
        let refused = |refusal: Refusal| StoreError::Refused(Box::new(refusal));
        let mut page = Page { count: 20.min(count_max), before: None };
        for (name, value) in parameters.pairs.iter() {
            let number = || {
                value.parse::<u32>().ok().filter(|n| *n > 0).ok_or_else(|| {
                    refused(
                        Refusal::new(Reason::ParameterInvalid, "A whole number above 0 is needed.").at(name),
                    )
                })
            };
            match name.as_str() {
                "_count" => page.count = number()?.min(count_max),
                "_before" => page.before = Some(number()?),
                _ => {
                    let text = "A history knows _count (and _since, _at in a later version).";
                    return Err(refused(Refusal::new(Reason::ParameterUnknown, text).at(name)));
                }
            }
        }
        Ok(page)
    }
}
