//! Parameters that shape the answer rather than choose rows (FHIR R4 search.html#Summary).

use crate::connection::request::Shape;
use crate::response::refusal::Refusal;
use crate::search::criterion::{SearchRequest, Total};

use super::{SearchLimits, include, invalid, orders, unsupported};

/// Reads a result parameter into `request`; `false` when `name` is none.
///
/// `single` gathers the names that may stand once: two `_count` contradict each other, and choosing one would answer
/// another question than was asked.
pub(super) fn read(
    request: &mut SearchRequest,
    name: &str,
    text: &str,
    single: &mut Vec<&'static str>,
    limits: &SearchLimits,
) -> Result<bool, Refusal> {
    let known = ["_count", "_sort", "_total", "_summary", "_elements"].into_iter().find(|k| *k == name);
    if let Some(known) = known {
        if single.contains(&known) {
            return Err(invalid(name, "It is given more than once.".to_owned()));
        }
        single.push(known);
    }
    match name {
        "_count" => {
            let count: u32 =
                text.parse().map_err(|_| invalid(name, "It is a whole number, 0 or more.".to_owned()))?;
            // `_count=0` is `_summary=count` (search.html#count).
            request.count_only |= count == 0;
            request.count = count.min(limits.count_max);
        }
        "_sort" => request.order = orders(request.kind, text, limits)?,
        "_total" => {
            request.total = match text {
                "none" => Total::None,
                "estimate" | "accurate" => Total::Accurate,
                _ => return Err(invalid(name, "It is none, estimate or accurate.".to_owned())),
            };
        }
        "_summary" | "_elements" => {
            request.shape.read(name, text)?;
            request.count_only |= request.shape == Shape::Count;
        }
        "_format" | "_pretty" => return Ok(true),
        _ if ["_contained", "_containedType", "_score", "_maxresults"].contains(&name) => {
            return Err(unsupported(name, "It is not offered."));
        }
        _ => match include::read(request.kind, name, text)? {
            None => return Ok(false),
            Some(include) if !request.includes.contains(&include) => request.includes.push(include),
            Some(_) => {}
        },
    }
    request.applied.push((name.to_owned(), text.to_owned()));
    Ok(true)
}
