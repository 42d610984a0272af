//! One search by each parameter, of all kinds, with values at random; and the proof that none is ignored.

use anyhow::{Context as _, Result, ensure};

use super::Scene;
use crate::care::{CONDITIONS, FAMILIES, GIVEN, MEASURES, MEDICATION, NUMBERS, STAFF, TOWNS};
use crate::client::{Line, Who};
use crate::draw::Rng;

/// Ids of other types than Patient.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// `Encounter/[id]`
    pub(crate) encounters: Vec<String>,
    /// `Practitioner/[id]`
    pub(crate) practitioners: Vec<String>,
}

impl Known {
    /// Some of each, from a server.
    pub(crate) async fn of(line: &mut Line) -> Result<Known> {
        Ok(Known {
            encounters: some(line, "Encounter").await?,
            practitioners: some(line, "Practitioner").await?,
        })
    }
}

async fn some(line: &mut Line, kind: &str) -> Result<Vec<String>> {
    let bundle = line.get(Who::Reader, &format!("/fhir/{kind}?_count=20&_elements=id")).await?.json()?;
    let entries = bundle["entry"].as_array().context("no entries to ask about")?;
    let ids = entries.iter().filter_map(|entry| entry["resource"]["id"].as_str());
    Ok(ids.map(|id| format!("{kind}/{id}")).collect())
}

/// Makes a value of a parameter.
type Make = fn(&Scene, &mut Rng) -> String;

/// A parameter: its type and name, a value that nothing has, and how values are drawn.
const PARAMETERS: &[(&str, &str, &str, Make)] = &[
    // string
    ("Patient", "name", "NON-EXISTS", |_, rng| rng.of(GIVEN).to_owned()),
    ("Patient", "name:contains", "NON-EXISTS", |_, rng| rng.of(FAMILIES)[1..4].to_owned()),
    ("Patient", "family", "NON-EXISTS", |_, rng| rng.of(FAMILIES).to_owned()),
    ("Patient", "address", "NON-EXISTS", |_, rng| rng.of(TOWNS).to_owned()),
    ("Organization", "name", "NON-EXISTS", |_, rng| format!("Zorggroep {}%5C,", rng.of(TOWNS))),
    // date
    ("Patient", "birthdate", "2070", |_, rng| format!("{}{}", prefix(rng), 1935 + rng.below(60))),
    ("Observation", "date", "2070", |_, rng| {
        format!("{}{}-{:02}-01", prefix(rng), 2021 + rng.below(4), 1 + rng.below(12))
    }),
    ("Encounter", "date", "2070", |_, rng| {
        format!("{}{}-{:02}-01", prefix(rng), 2021 + rng.below(4), 1 + rng.below(12))
    }),
    // token
    ("Observation", "category", "none", |_, rng| {
        rng.of(&["laboratory", "vital-signs", "survey", "procedure,survey", "vital-signs,none"]).to_owned()
    }),
    ("Observation", "code", "none", |_, rng| {
        let one = MEASURES[rng.below(MEASURES.len())].0;
        let other = MEASURES[rng.below(MEASURES.len())].0;
        [one.to_owned(), format!("http://loinc.org|{one}"), format!("{one},{other}")][rng.below(3)].clone()
    }),
    ("Encounter", "status", "cancelled", |_, rng| {
        rng.of(&["finished", "in-progress", "planned", "planned,in-progress"]).to_owned()
    }),
    ("Encounter", "class", "EMER", |_, rng| {
        let class = rng.of(&["AMB", "HH", "IMP"]);
        [class.to_owned(), format!("http://terminology.hl7.org/CodeSystem/v3-ActCode|{class}")][rng.below(2)]
            .clone()
    }),
    ("Condition", "code", "none", |_, rng| format!("http://snomed.info/sct|{}", rng.of(CONDITIONS))),
    ("MedicationRequest", "code", "none", |_, rng| rng.of(MEDICATION).to_owned()),
    ("Patient", "identifier", "none", |scene, rng| {
        format!("{NUMBERS}|p-{}-{}", scene.seed, rng.below(scene.ids.len()))
    }),
    // quantity, number
    ("Observation", "value-quantity", "99999", |_, rng| {
        format!("{}{}", prefix_of_number(rng), 20 + rng.below(150))
    }),
    ("Observation", "component-value-quantity", "99999", |_, rng| {
        format!("{}{}", prefix_of_number(rng), 60 + rng.below(110))
    }),
    ("Observation", "combo-value-quantity", "99999", |_, rng| {
        format!("{}{}", prefix_of_number(rng), 20 + rng.below(150))
    }),
    ("RiskAssessment", "probability", "77", |_, rng| format!("{}0.{}", prefix_of_number(rng), rng.below(10))),
    // composite
    ("Observation", "code-value-quantity", "8867-4$gt99999", |_, rng| {
        rng.of(&["8867-4$gt100", "http://loinc.org|29463-7$gt80", "9279-1$le16", "72514-3$ge8"]).to_owned()
    }),
    ("Observation", "component-code-value-quantity", "8480-6$gt99999", |_, rng| {
        rng.of(&["8480-6$gt140", "http://loinc.org|8462-4$lt60", "8480-6$le110"]).to_owned()
    }),
    ("Observation", "combo-code-value-quantity", "8480-6$gt99999", |_, rng| {
        rng.of(&["8480-6$gt140", "8867-4$gt100", "http://loinc.org|8462-4$lt60"]).to_owned()
    }),
    // reference
    ("Observation", "subject", "Patient/none", |scene, rng| {
        let mut one = || format!("Patient/{}", scene.ids[rng.below(scene.ids.len())]);
        [one(), one()].join(",")
    }),
    ("Observation", "encounter", "Encounter/none", |scene, rng| of(rng, &scene.known.encounters)),
    ("Observation", "performer", "Practitioner/none", |scene, rng| of(rng, &scene.known.practitioners)),
    ("Encounter", "subject", "Patient/none", |scene, rng| {
        format!("Patient/{}", scene.ids[rng.below(scene.ids.len())])
    }),
    ("Encounter", "participant", "Practitioner/none", |scene, rng| of(rng, &scene.known.practitioners)),
    ("MedicationRequest", "encounter", "Encounter/none", |scene, rng| of(rng, &scene.known.encounters)),
    ("MedicationRequest", "requester", "Practitioner/none", |scene, rng| of(rng, &scene.known.practitioners)),
    // uri
    ("CarePlan", "instantiates-uri", "https://sluis.care/load/none", |_, rng| {
        format!("https://sluis.care/load/pathway/{}", rng.below(5))
    }),
    // along a reference
    ("Observation", "subject:Patient.name", "NON-EXISTS", |_, rng| rng.of(GIVEN).to_owned()),
    ("Patient", "_has:Observation:patient:code", "none", |_, rng| {
        MEASURES[rng.below(MEASURES.len())].0.to_owned()
    }),
    ("MedicationRequest", "requester:Practitioner.identifier", "none", |_, rng| {
        format!("{NUMBERS}|s-{}", rng.below(STAFF))
    }),
];

fn of(rng: &mut Rng, these: &[String]) -> String {
    these[rng.below(these.len())].clone()
}

fn prefix(rng: &mut Rng) -> &'static str {
    ["", "eq", "lt", "gt", "ge", "le", "sa", "eb"][rng.below(8)]
}

fn prefix_of_number(rng: &mut Rng) -> &'static str {
    ["", "eq", "lt", "gt", "ge", "le"][rng.below(6)]
}

/// One query by each parameter, in order.
pub(super) async fn each(line: &mut Line, scene: &Scene, rng: &mut Rng) -> Result<u64> {
    for at in 0..PARAMETERS.len() {
        one(line, at, scene, rng).await?;
    }
    Ok(PARAMETERS.len() as u64)
}

/// The parameters one iteration asks by.
pub(crate) fn parameters() -> impl Iterator<Item = String> {
    PARAMETERS.iter().map(|(kind, name, ..)| format!("{kind}.{name}"))
}

/// One query by one parameter.
pub(crate) async fn one(line: &mut Line, at: usize, scene: &Scene, rng: &mut Rng) -> Result<u64> {
    let (kind, name, _, make) = PARAMETERS[at % PARAMETERS.len()];
    let value = make(scene, rng).replace('|', "%7C").replace(' ', "%20");
    let path = format!("/fhir/{kind}?{name}={value}&_count=20");
    line.get(Who::Reader, &path).await?;
    Ok(1)
}

/// Asks every parameter with a value that nothing has: a total above nought means that the parameter was ignored.
pub(super) async fn prove(line: &mut Line) -> Result<()> {
    for (kind, name, nothing, _) in PARAMETERS {
        let whole = total(line, &format!("/fhir/{kind}?_summary=count")).await?;
        ensure!(whole > 0, "there is no {kind} to search");
        let path = format!("/fhir/{kind}?{name}={}&_summary=count", nothing.replace('|', "%7C"));
        let found = total(line, &path).await?;
        ensure!(found == 0, "{kind}?{name} is ignored: {found} of {whole} match what nothing has");
    }
    Ok(())
}

async fn total(line: &mut Line, path: &str) -> Result<u64> {
    let bundle = line.get(Who::Reader, path).await?.json()?;
    bundle["total"].as_u64().with_context(|| format!("{path} gives no total"))
}
