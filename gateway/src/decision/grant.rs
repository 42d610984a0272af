//! All grants and care relations of one patient from what is stored of her: the step every write of a Consent or
//! CareTeam ends with, inside its transaction, and every change of policy or registry repeats for everyone.

use sluis_conformance::json::{Doc, JsonLimits};

use super::consent::{ConsentFact, compile, parse};
use super::filter::{Arm, CareRelation};
use super::organisation::Organisations;
use super::policy::{Policy, known_kind};
use super::{careteam, consent};
use crate::ids::{PartyKey, PatientKey};
use crate::store::{StoreError, Stored};

/// What replaces a patient's rows of `grant_arm` and `care_relation`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// For `replace_arms`.
    pub arms: Vec<Arm>,
    /// For `replace_relations`.
    pub relations: Vec<CareRelation>,
    /// Stored Consents or CareTeams that are no longer understood (the policy changed under them), for the log. While
    /// there is such a Consent, nothing is granted: it may be the one that denies.
    pub unreadable: Vec<String>,
}

/// The grants of a patient. `stored`: the current versions of her Consents and CareTeams; deleted ones and other types
/// count for nothing. Errors: those of `party`; then nothing may be replaced.
pub fn grants(
    policy: &Policy,
    organisations: &Organisations,
    patient: PatientKey,
    stored: &[Stored],
    party: &mut dyn FnMut(&str) -> Result<PartyKey, StoreError>,
) -> Result<Grants, StoreError> {
    let mut grants = Grants::default();
    let mut facts: Vec<ConsentFact> = Vec::new();
    let mut closed = false;
    for row in stored.iter().filter(|row| !row.deleted) {
        let is_consent = row.kind == known_kind("Consent");
        if !is_consent && row.kind != known_kind("CareTeam") {
            continue;
        }
        let name = if is_consent { "Consent" } else { "CareTeam" };
        let reference = format!("{name}/{}/_history/{}", row.id, row.version);
        let doc = Doc::parse(row.body.to_vec(), JsonLimits::default()).ok();
        match &doc {
            Some(doc) if !is_consent => {
                grants.relations.extend(careteam::relations(patient, doc.root(), &reference, party)?);
                continue;
            }
            Some(doc) => {
                if let Ok(fact) = parse(policy, doc.root(), &reference) {
                    facts.push(fact);
                    continue;
                }
            }
            None => {}
        }
        closed |= is_consent;
        grants.unreadable.push(reference);
    }
    facts.sort_by(|a, b| a.reference.cmp(&b.reference));
    facts.retain(|fact| fact.scope == consent::Scope::Access);
    if !closed {
        grants.arms = compile(policy, organisations, patient, &facts, party)?;
    }
    Ok(grants)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use serde_json::{Value, json};

    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::filter::Derived;
    use crate::ids::ResourceId;
    use crate::store::Method;

    fn stored(id: &str, body: &Value) -> Stored {
        let kind = if body["resourceType"] == "Consent" { "Consent" } else { "CareTeam" };
        Stored {
            kind: known_kind(kind),
            id: ResourceId::parse(id).unwrap(),
            version: 1,
            updated: Timestamp(0),
            deleted: false,
            method: Method::Post,
            derived: Derived {
                patient: Some(PatientKey(1)),
                category: 0,
                labels: 0,
                confidentiality: 3,
                day: 0,
                author: PartyKey(1),
            },
            body: body.to_string().into_bytes().into(),
            key: 1,
            consent: None,
        }
    }

    fn consent(policy_uri: &str) -> Value {
        json!({
            "resourceType": "Consent", "status": "active",
            "scope": { "coding": [
                { "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" },
            ] },
            "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
            "patient": { "reference": "Patient/a" }, "dateTime": "2026-01-01",
            "performer": [{ "reference": "Patient/a" }],
            "organization": [{ "identifier": {
                "system": "https://sluis.care/fhir/CodeSystem/organization-kind", "value": "any" } }],
            "sourceAttachment": { "title": "form" }, "policy": [{ "uri": policy_uri }],
            "provision": { "type": "permit", "purpose": [
                { "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" },
            ] },
        })
    }

    fn found(rows: &[Stored]) -> Grants {
        let policy = Policy::included().unwrap();
        let organisations = Organisations::included(&policy).unwrap();
        grants(&policy, &organisations, PatientKey(1), rows, &mut |_| Ok(PartyKey(5))).unwrap()
    }

    #[test]
    fn a_stored_consent_no_longer_understood_closes_everything_and_is_named() {
        let good = stored("a", &consent("https://sluis.care/policy/consent/1"));
        let stale = stored("b", &consent("https://sluis.care/policy/consent/0"));
        let one = found(std::slice::from_ref(&good));
        assert_eq!(one.arms.len(), 1);
        assert_eq!(one.arms.first().map(|arm| &*arm.consent), Some("Consent/a/_history/1"));
        let both = found(&[good.clone(), stale.clone()]);
        assert_eq!((both.arms.len(), both.unreadable), (0, vec!["Consent/b/_history/1".to_owned()]));
        // Deleted ones neither permit nor close.
        let gone = |row: &Stored| Stored { deleted: true, body: bytes::Bytes::new(), ..row.clone() };
        assert_eq!(found(&[good.clone(), gone(&stale)]).arms.len(), 1);
        assert_eq!(found(&[gone(&good)]), Grants::default());
    }

    #[test]
    fn a_care_team_gives_relations_and_no_grants() {
        let team = json!({ "resourceType": "CareTeam", "status": "active", "participant": [
            { "member": { "identifier": { "system": crate::ids::SYSTEM_URA, "value": "00000001" } } },
        ] });
        let found = found(&[stored("t", &team)]);
        assert_eq!((found.arms.len(), found.relations.len()), (0, 1));
        assert_eq!(found.relations.first().map(|r| &*r.source), Some("CareTeam/t/_history/1"));
    }
}
