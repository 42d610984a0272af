//! Steps 4 to 6 and 8: what each care line sees of one patient, and how she decides about it.

use anyhow::{Context as _, Result, ensure};
use fhir_sdk::TryStreamExt;
use fhir_sdk::client::SearchParameters;
use fhir_sdk::r4b::codes::ConsentState;
use fhir_sdk::r4b::resources::{
    AuditEvent, CarePlan, Condition, Consent, Observation, ObservationEffective, ObservationValue, Patient,
};

use crate::access::{Fhir, Region};
use crate::{ACN, CTB, PATIENT_BSN, tell};

const URA: &str = "http://fhir.nl/fhir/NamingSystem/ura";
const FVC: &str = "http://loinc.org|19868-9";

/// Id of the story's patient. By POST: a BSN belongs in no URL, because URLs end up in logs.
pub(crate) async fn find(region: &Region, client: &Fhir) -> Result<String> {
    let url = region.url("Patient/_search");
    let form = [("identifier", format!("http://fhir.nl/fhir/NamingSystem/bsn|{PATIENT_BSN}"))];
    let found = client.search_custom::<Patient, _>(|http| http.post(url).form(&form)).await?;
    let patient = found.matches().next().context("the patient is not found")?;
    patient.id.clone().context("a patient without id")
}

/// A search for what is about the patient.
fn of(patient: &str) -> SearchParameters {
    SearchParameters::empty().and_raw("patient", patient)
}

/// All her observations a client may see.
async fn observations(client: &Fhir, patient: &str) -> Result<Vec<Observation>> {
    let page = client.search::<Observation>(of(patient).and_raw("_count", 100)).await?;
    Ok(page.all_matches().try_collect().await?)
}

/// Step 4: measurements page by page with their source, diagnosis, care plan, directive.
pub(crate) async fn open(gesp: &Fhir, patient: &str) -> Result<()> {
    let parameters = of(patient).and_raw("code", FVC).and_raw("_sort", "-date").and_raw("_count", 2);
    let page = gesp.search::<Observation>(parameters).await?;
    let total = page.total().context("no total")?;
    let measured: Vec<Observation> = page.all_matches().try_collect().await?;
    ensure!(measured.len() == total as usize, "{} of {total}", measured.len());
    tell(&format!("FVC, {total} measurements, two on a page; the latest and the first:"));
    for observation in [measured.first(), measured.last()].into_iter().flatten() {
        tell(&format!("  {}", line(observation)?));
    }
    let conditions: Vec<Condition> = gesp.search(of(patient)).await?.all_matches().try_collect().await?;
    let plans: Vec<CarePlan> = gesp.search(of(patient)).await?.all_matches().try_collect().await?;
    let consents: Vec<Consent> =
        gesp.search(of(patient).and_raw("scope", "treatment")).await?.all_matches().try_collect().await?;
    let tasks: usize = plans.iter().map(|plan| plan.activity.len()).sum();
    ensure!(!conditions.is_empty() && tasks > 1 && !consents.is_empty());
    tell(&format!(
        "{} conditions, {tasks} care tasks, {} treatment directive",
        conditions.len(),
        consents.len()
    ));
    Ok(())
}

fn line(observation: &Observation) -> Result<String> {
    let Some(ObservationValue::Quantity(quantity)) = &observation.value else {
        anyhow::bail!("no quantity in {:?}", observation.id)
    };
    let Some(ObservationEffective::DateTime(when)) = &observation.effective else {
        anyhow::bail!("no moment in {:?}", observation.id)
    };
    let source = observation.meta.as_ref().and_then(|meta| meta.source.as_deref()).context("no source")?;
    let unit = quantity.unit.as_deref().unwrap_or_default();
    let when = serde_json::to_value(when)?;
    let value = quantity.value.context("no value")?;
    Ok(format!("{} {value} {unit} from {source}", when.as_str().unwrap_or_default()))
}

/// Step 5: three clients, three views.
pub(crate) async fn compare(gesp: &Fhir, ctb: &Fhir, elders: &Fhir, patient: &str) -> Result<()> {
    let has = |seen: &[Observation], wanted: &str| {
        let codings = seen.iter().flat_map(|one| one.code.coding.iter().flatten());
        codings.filter_map(|coding| coding.code.as_deref()).any(|code| code == wanted)
    };
    let (whole, part) = (observations(gesp, patient).await?, observations(ctb, patient).await?);
    ensure!(has(&whole, "psychosocial") && has(&whole, "19868-9"));
    ensure!(!has(&part, "psychosocial") && has(&part, "19868-9"));
    tell(&format!("GeSp: {} observations; CTB: {} of them, none psychosocial", whole.len(), part.len()));
    ensure!(observations(elders, patient).await?.is_empty(), "a GP elsewhere saw something");
    ensure!(elders.read::<Patient>(patient).await?.is_none(), "a GP elsewhere reads her Patient");
    tell("the other GP: none, and no such Patient");
    Ok(())
}

/// Her consent for a recipient and purpose, of this status.
async fn consent(me: &Fhir, patient: &str, to: (&str, &str), status: &str) -> Result<Option<Consent>> {
    let parameters = of(patient)
        .and_raw("status", status)
        .and_raw("purpose", to.1)
        .and_raw("actor:identifier", format!("{URA}|{}", to.0));
    Ok(me.search::<Consent>(parameters).await?.matches().next().cloned())
}

/// Gives again what an earlier run of the story withdrew.
pub(crate) async fn give_again(me: &Fhir, patient: &str) -> Result<()> {
    for to in [(CTB, "TREAT"), (ACN, "HRESCH")] {
        if let Some(mut consent) = consent(me, patient, to, "inactive").await? {
            consent.status = ConsentState::Active;
            me.update(&consent, true).await?;
            tell(&format!("(an earlier run withdrew her consent for {}; she gives it again)", to.0));
        }
    }
    Ok(())
}

/// Step 6: an update with If-Match; from then on CTB sees nothing, and GeSp notices nothing.
pub(crate) async fn withdraw(me: &Fhir, gesp: &Fhir, ctb: &Fhir, patient: &str) -> Result<()> {
    let before = observations(gesp, patient).await?.len();
    let open = ctb.search::<Observation>(of(patient).and_raw("_count", 1)).await?;
    let mut consent = consent(me, patient, (CTB, "TREAT"), "active").await?.context("no consent for CTB")?;
    consent.status = ConsentState::Inactive;
    let (created, version) = me.update(&consent, true).await?;
    ensure!(!created);
    let next = open.next_page().await.context("CTB had one page only")??;
    ensure!(next.entries().next().is_none(), "CTB's next page still shows something");
    ensure!(observations(ctb, patient).await?.is_empty(), "CTB still sees observations");
    ensure!(ctb.read::<Patient>(patient).await?.is_none(), "CTB still reads her Patient");
    ensure!(observations(gesp, patient).await?.len() == before, "GeSp noticed");
    tell(&format!(
        "Consent version {version} is inactive: CTB sees nothing any more, GeSp the same {before}"
    ));
    Ok(())
}

/// Withdraws her consent for research, as a transaction: the other way to write.
pub(crate) async fn withdraw_research(me: &Fhir, patient: &str) -> Result<()> {
    let mut consent =
        consent(me, patient, (ACN, "HRESCH"), "active").await?.context("no consent for research")?;
    consent.status = ConsentState::Inactive;
    let mut transaction = me.transaction();
    transaction.update(consent, true)?;
    let answer = transaction.send().await?;
    ensure!(answer.entry.iter().flatten().count() == 1, "{answer:?}");
    Ok(())
}

/// Step 8: her audit events.
pub(crate) async fn who_looked(me: &Fhir, patient: &str) -> Result<()> {
    let log = me.search::<AuditEvent>(of(patient).and_raw("_count", 100)).await?;
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let mut by_consent = 0;
    for event in log.matches() {
        let organisation =
            event.agent.iter().flatten().filter_map(|agent| agent.who.as_ref()).find(|who| {
                who.identifier.as_ref().is_some_and(|number| number.system.as_deref() == Some(URA))
            });
        let name = organisation.and_then(|who| who.display.clone()).unwrap_or("she herself".to_owned());
        *seen.entry(name).or_default() += 1;
        let entities = event.entity.iter().flatten().filter_map(|entity| entity.what.as_ref());
        let consents = entities.filter_map(|what| what.reference.as_deref());
        by_consent += usize::from(consents.into_iter().any(|reference| reference.contains("Consent/")));
    }
    ensure!(seen.keys().any(|name| name.contains("Thuisbeademing")), "CTB looked: {seen:?}");
    ensure!(by_consent > 0, "no event names the consent");
    for (name, times) in seen {
        tell(&format!("{name}: {times} times"));
    }
    tell(&format!("{by_consent} of them name the consent that allowed it"));
    Ok(())
}
