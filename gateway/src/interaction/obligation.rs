//! What must be done to a resource before it leaves to a role (`policy/obligations.toml`).
//!
//! A role whose data is pseudonymised sees a cohort's Group without its members: their ids are those of the source. Nor with
//! its narrative and what is contained in it, where they may stand in words (FHIR R4 narrative.html).

use bytes::Bytes;
use sluis_conformance::json::{Doc, JsonLimits};

use super::splice;
use super::write::kinds;
use crate::connection::request::Parameters;
use crate::decision::Permit;
use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::store::{StoreError, Stored};

fn hides_members(permit: &Permit, kind: ResourceType) -> bool {
    kind == kinds().group && permit.role().is_some_and(|role| role.pseudonymise)
}

/// Takes out of `stored` what its reader's role may not have.
///
/// Errors: `Internal` when stored bytes cannot be read; nothing of them leaves then.
pub fn apply(permit: &Permit, stored: &mut Stored) -> Result<(), StoreError> {
    if stored.deleted || !hides_members(permit, stored.kind) {
        return Ok(());
    }
    let doc = Doc::parse(stored.body.to_vec(), JsonLimits::default()).map_err(|error| {
        let refusal = Refusal::new(Reason::Internal, "").because(format!("stored Group: {error}"));
        StoreError::Refused(Box::new(refusal))
    })?;
    stored.body = Bytes::from(without_members(&doc));
    Ok(())
}

/// A Group that names nobody in it.
fn without_members(group: &Doc) -> String {
    splice::without(group, &["member", "_member", "text", "contained"])
}

/// Refuses to change in part what the role does not see whole: a patch's tests and places would tell of the rest.
///
/// Errors: `Forbidden`, from the request alone.
pub fn whole(permit: &Permit, kind: ResourceType) -> Result<(), Refusal> {
    if hides_members(permit, kind) {
        let text = "A role that does not see this type whole does not patch it.";
        return Err(Refusal::new(Reason::Forbidden, text));
    }
    Ok(())
}

/// Refuses to look for a type in a compartment whose role does not see by what it would be there: a Group is in the compartment
/// of its members. With the words for an unknown parameter.
pub fn check_within(permit: &Permit, kind: ResourceType) -> Result<(), Refusal> {
    if hides_members(permit, kind) {
        return Err(Refusal::new(Reason::ParameterUnknown, "").at("member"));
    }
    Ok(())
}

/// The parameter of free text that a name asks, itself or past a reference.
fn text_parameter(name: &str) -> Option<&str> {
    name.split([':', '.']).find(|part| matches!(*part, "_text" | "_content"))
}

/// Refuses to search by what the role may not see, with the words for an unknown parameter: a mask that can be searched
/// by can be bisected. At the far end of a reference (`_has:Group:member:...`) as in the type itself. Free text is never
/// pseudonymised, so such a role searches none.
pub fn check_search(permit: &Permit, parameters: &Parameters) -> Result<(), Refusal> {
    let named = |name: &str| name.split([':', '.']).any(|part| part == "member");
    let asks = parameters.pairs.iter().any(|(name, value)| {
        named(name)
            || (name == "_filter"
                && value.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == "member"))
            || (name == "_sort" && value.split(',').any(|key| named(key.trim_start_matches('-'))))
            || (name.starts_with("_include") || name.starts_with("_revinclude"))
                && value.split(':').any(|part| matches!(part, "member" | "*"))
    });
    let asks = asks.then_some("member");
    let asked = asks.or_else(|| parameters.pairs.iter().find_map(|(name, _)| text_parameter(name)));
    if let Some(asked) = asked.filter(|_| permit.role().is_some_and(|role| role.pseudonymise)) {
        return Err(Refusal::new(Reason::ParameterUnknown, "").at(asked));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set up fails")]
    use super::*;

    #[test]
    fn a_masked_group_names_no_member_anywhere() {
        let group = r#"{"resourceType":"Group","id":"g","text":{"status":"generated","div":"<div>p1</div>"},
            "contained":[{"resourceType":"Patient","id":"p1"}],"type":"person","actual":true,"name":"cohort","quantity":1,
            "member":[{"entity":{"reference":"Patient/p1"}}],"_member":[null]}"#;
        let doc = Doc::parse(group.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let masked = without_members(&doc);
        assert!(!masked.contains("p1") && !masked.contains("member"), "{masked}");
        assert!(masked.contains("\"name\":\"cohort\"") && masked.contains("\"quantity\":1"), "{masked}");
    }
}
