//! CareTeam -> care relations. Membership is context, not an authorisation (Koppeltaal TOP-KT-027): a relation opens
//! nothing by itself; roles that need one see nothing through a grant without it.

use sluis_conformance::json::Node;

use super::consent::{ends, starts};
use super::filter::CareRelation;
use super::label::text;
use super::organisation::party_of;
use crate::clock::Timestamp;
use crate::ids::{PartyKey, PatientKey, SYSTEM_URA, Ura};
use crate::store::StoreError;

/// Organisations that take part in the patient's care by this CareTeam: participants whose `member` or `onBehalfOf`
/// names an organisation by URA, within the participant's and the team's period. Only an `active` team counts.
///
/// A period that cannot be read gives no relation. Source: FHIR R4 careteam.html. Errors: those of `party`.
pub fn relations(
    patient: PatientKey,
    root: Node<'_>,
    reference: &str,
    party: &mut dyn FnMut(&str) -> Result<PartyKey, StoreError>,
) -> Result<Vec<CareRelation>, StoreError> {
    let mut found: Vec<CareRelation> = Vec::new();
    if text(root, "status").as_deref() != Some("active") {
        return Ok(found);
    }
    let Some(team) = period(root.get("period")) else { return Ok(found) };
    for participant in root.get("participant").into_iter().flat_map(|participants| participants.items()) {
        let Some(own) = period(participant.get("period")) else { continue };
        let (valid_from, valid_to) = (team.0.max(own.0), team.1.min(own.1));
        if valid_from >= valid_to {
            continue;
        }
        for element in ["member", "onBehalfOf"] {
            let Some(ura) = participant.get(element).and_then(organisation) else { continue };
            let party = party(&party_of(&ura))?;
            let relation = CareRelation { patient, party, valid_from, valid_to, source: reference.into() };
            if !found.contains(&relation) {
                found.push(relation);
            }
        }
    }
    Ok(found)
}

fn organisation(reference: Node<'_>) -> Option<Ura> {
    let identifier = reference.get("identifier")?;
    let ura = text(identifier, "system").as_deref() == Some(SYSTEM_URA);
    ura.then(|| Ura::parse(&text(identifier, "value")?))?
}

/// `None`: a bound that is no date.
fn period(node: Option<Node<'_>>) -> Option<(Timestamp, Timestamp)> {
    let Some(node) = node else { return Some((Timestamp::MIN, Timestamp::MAX)) };
    let from = node.get("start").map_or(Some(Timestamp::MIN), |start| starts(&start.as_str()?))?;
    let to = node.get("end").map_or(Some(Timestamp::MAX), |end| ends(&end.as_str()?))?;
    Some((from, to))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing unwrap is a failing test")]
    use serde_json::{Value, json};
    use sluis_conformance::json::{Doc, JsonLimits};

    use super::*;

    fn read(team: &Value) -> Vec<(i64, String, String)> {
        let doc = Doc::parse(team.to_string().into_bytes(), JsonLimits::default()).unwrap();
        let mut party = |name: &str| Ok(PartyKey(name.trim_start_matches("ura:").parse().unwrap()));
        relations(PatientKey(1), doc.root(), "CareTeam/t/_history/1", &mut party)
            .unwrap()
            .into_iter()
            .map(|r| (r.party.0, bound(r.valid_from), bound(r.valid_to)))
            .collect()
    }

    fn bound(at: Timestamp) -> String {
        if at == Timestamp::MIN || at == Timestamp::MAX { "open".into() } else { at.to_instant() }
    }

    fn organisation(ura: &str) -> Value {
        json!({ "identifier": { "system": SYSTEM_URA, "value": ura } })
    }

    #[test]
    fn organisations_take_part_within_their_own_and_the_teams_period() {
        let mut team = json!({
            "resourceType": "CareTeam", "status": "active", "period": { "start": "2026-01-01" },
            "participant": [
                { "member": organisation("00000001"), "period": { "end": "2026-06-30" } },
                { "member": { "reference": "Practitioner/x" }, "onBehalfOf": organisation("00000002") },
                { "member": organisation("00000003"), "period": { "end": "2025-12-31" } },
                { "member": organisation("00000004"), "period": { "end": "some day" } },
                { "member": { "reference": "Organization/5" } },
            ],
        });
        let start = "2025-12-31T23:00:00.000Z".to_owned();
        assert_eq!(
            read(&team),
            [(1, start.clone(), "2026-06-30T22:00:00.000Z".to_owned()), (2, start, "open".to_owned())]
        );
        team["status"] = "inactive".into();
        assert_eq!(read(&team), []);
    }
}
