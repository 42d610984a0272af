//! The searches by which the Dutch basic dataset (Basisgegevensset Zorg) of one patient is fetched, as its
//! implementation guide writes them (nl-core, BgZ 2017, https://informatiestandaarden.nictiz.nl/wiki/MedMij:V2020.01/FHIR_BGZ_2017).

use anyhow::Result;
use bytes::Bytes;
use http::Method;

use super::{Missing, Scene};
use crate::client::{FHIR, Line, Who};

/// `{p}` stands for the patient's id.
const SET: &[&str] = &[
    "Patient?_id={p}&_include=Patient:general-practitioner",
    "Coverage?patient={p}&_include=Coverage:payor:Patient&_include=Coverage:payor:Organization",
    "Consent?patient={p}&category=http://snomed.info/sct%7C11291000146105",
    "Consent?patient={p}&category=http://snomed.info/sct%7C11341000146107",
    "Observation/$lastn?patient={p}&category=http://snomed.info/sct%7C118228005,http://snomed.info/sct%7C384821006",
    "Condition?patient={p}",
    "Observation/$lastn?patient={p}&code=http://snomed.info/sct%7C365508006",
    "Observation?patient={p}&code=http://snomed.info/sct%7C228366006",
    "Observation?patient={p}&code=http://snomed.info/sct%7C228273003",
    "Observation?patient={p}&code=http://snomed.info/sct%7C365980008",
    "NutritionOrder?patient={p}",
    "Flag?patient={p}",
    "AllergyIntolerance?patient={p}",
    "MedicationStatement?patient={p}&category=urn:oid:2.16.840.1.113883.2.4.3.11.60.20.77.5.3%7C6&_include=MedicationStatement:medication",
    "MedicationRequest?patient={p}&category=http://snomed.info/sct%7C16076005&_include=MedicationRequest:medication",
    "MedicationDispense?patient={p}&category=http://snomed.info/sct%7C422037009&_include=MedicationDispense:medication",
    "DeviceUseStatement?patient={p}&_include=DeviceUseStatement:device",
    "Immunization?patient={p}&status=completed",
    "Observation/$lastn?patient={p}&code=http://loinc.org%7C85354-9",
    "Observation/$lastn?patient={p}&code=http://loinc.org%7C29463-7",
    "Observation/$lastn?patient={p}&code=http://loinc.org%7C8302-2,http://loinc.org%7C8306-3,http://loinc.org%7C8308-9",
    "Observation/$lastn?patient={p}&category=http://snomed.info/sct%7C275711006&_include=Observation:related-target&_include=Observation:specimen",
    "Procedure?patient={p}&category=http://snomed.info/sct%7C387713003",
    "Encounter?patient={p}&class=IMP,ACUTE,NONAC",
    "ServiceRequest?patient={p}&status=active",
    "Appointment?patient={p}&status=booked,pending,proposed",
    "DeviceRequest?patient={p}&status=active&_include=DeviceRequest:device",
    "ImmunizationRecommendation?patient={p}",
];

/// The searches that the server answers, asked for one patient.
pub(super) async fn set(line: &mut Line, patient: &str, searches: &[&str]) -> Result<u64> {
    for search in searches {
        line.get(Who::Reader, &format!("/fhir/{}", search.replace("{p}", patient))).await?;
    }
    Ok(searches.len() as u64)
}

/// Finds out which of the set the server answers; those it does not are named.
pub(super) async fn prove(line: &mut Line, scene: &mut Scene) -> Result<Option<Missing>> {
    let mut refused = Vec::new();
    scene.bgz.clear();
    for search in SET {
        let path = format!("/fhir/{}", search.replace("{p}", &scene.ids[0]));
        let reply = line.ask(Who::Reader, Method::GET, &path, FHIR, Bytes::new()).await?;
        match reply.status {
            200 => scene.bgz.push(search),
            status => refused.push(format!("{} ({status})", search.split('&').next().unwrap_or(search))),
        }
    }
    Ok(match scene.bgz.is_empty() {
        true => Some(Missing(format!("none of {} searches is answered", SET.len()))),
        false if refused.is_empty() => None,
        false => {
            eprint(&format!(
                "bgz: {} of {} searches are asked; not answered: {}",
                scene.bgz.len(),
                SET.len(),
                refused.join(", ")
            ));
            None
        }
    })
}

#[expect(clippy::print_stderr, reason = "what is left out of a row must be seen")]
fn eprint(text: &str) {
    eprintln!("{text}");
}
