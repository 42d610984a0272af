//! Required bindings against value sets that can be listed. Source: FHIR R4 terminologies.html#required

use crate::definitions::ValueSet;
use crate::json::Node;

use super::walk::Walk;

/// Codes an issue lists before it says "and more".
const CODES_SHOWN_MAX: usize = 12;

/// A set that cannot be listed (UCUM, MIME types, currencies) is not judged.
pub(super) fn judge<'d>(walk: &mut Walk<'d>, value_set: &str, type_: &str, value: Node<'d>) {
    let Some(set) = walk.definitions.value_set(value_set) else { return };
    let is_in = |coding: Node<'_>| {
        let (system, code) =
            (coding.get("system").and_then(Node::as_str), coding.get("code").and_then(Node::as_str));
        code.is_some_and(|code| set.contains(Some(system.as_deref().unwrap_or_default()), &code))
    };
    let (is_good, text) = match type_ {
        "code" | "string" | "uri" => {
            // What is no string has been told already.
            let Some(code) = value.as_str() else { return };
            (set.contains(None, &code), "not a code of the required value set")
        }
        "Coding" => (is_in(value), "not a coding of the required value set"),
        "CodeableConcept" => {
            let mut codings = value.get("coding").into_iter().flat_map(Node::items);
            (codings.any(is_in), "no coding of the required value set")
        }
        _ => return,
    };
    if !is_good {
        walk.error("code-invalid", value, format!("{text} {}", set.name), remedy(set));
    }
}

fn remedy(set: &ValueSet) -> String {
    let codes: Vec<&str> = set.codes().take(CODES_SHOWN_MAX).collect();
    let more = if set.codes().count() > CODES_SHOWN_MAX { ", ..." } else { "" };
    format!("use one of {}{more}", codes.join(", "))
}
