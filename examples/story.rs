//! The story of one patient and four care lines, on the fhir-sdk client.
use fhir_sdk::client::{Client, RequestSettings, SearchParameters};
use fhir_sdk::r4b::resources::{Observation, Patient};
use fhir_sdk::version::FhirR4B;
use fhir_sdk::{TryStreamExt, header};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let settings = RequestSettings::default().header(header::AUTHORIZATION, "Bearer x".parse()?);
    let client: Client<FhirR4B> = Client::<FhirR4B>::builder()
        .base_url("https://localhost:8443/fhir/".parse()?)
        .request_settings(settings)
        .build()?;
    let patient: Option<Patient> = client.read("x").await?;
    let all: Vec<Observation> = client
        .search(SearchParameters::empty().and_raw("patient", "x"))
        .await?
        .all_matches()
        .try_collect()
        .await?;
    let _ = (patient, all);
    Ok(())
}
