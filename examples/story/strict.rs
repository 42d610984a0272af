//! An independent check of what the mappings make: fhir-sdk's types refuse a code outside a required value set, a missing
//! required element and a date that is none.

use anyhow::{Context as _, Result, ensure};
use fhir_sdk::TryStreamExt;
use fhir_sdk::client::SearchParameters;
use fhir_sdk::r4b::resources::{CarePlan, CareTeam, Condition, Consent, Observation, Patient, Provenance};

use crate::access::Fhir;

/// Reads everything a client may see of these types, page by page; says how much that was.
///
/// Errors: the first page that holds something else than R4B knows; nothing at all.
pub(crate) async fn read_all(client: &Fhir) -> Result<String> {
    let mut told = Vec::new();
    let mut all = 0;
    macro_rules! read {
        ($($kind:ident)*) => {$(
            let page = client.search::<$kind>(SearchParameters::empty().and_raw("_count", 200)).await;
            let found: Vec<$kind> = page
                .context(stringify!($kind))?
                .all_matches()
                .try_collect()
                .await
                .context(stringify!($kind))?;
            all += found.len();
            told.push(format!("{} {}", found.len(), stringify!($kind)));
        )*};
    }
    read!(Patient Observation Condition CarePlan CareTeam Consent Provenance);
    ensure!(all > 0, "nothing to read");
    Ok(told.join(", "))
}
