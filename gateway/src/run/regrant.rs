//! When policy or registry have changed since the last start, every patient's grants are compiled anew before the
//! gateway serves: a grant to a kind of organisation reaches who joined it, and a Consent under terms that are no longer
//! known closes.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use aws_lc_rs::digest::{SHA256, digest};

use crate::clock::Timestamp;
use crate::decision::organisation::Organisations;
use crate::decision::policy::Policy;
use crate::decision::{self, Permit};
use crate::ids::{PartyKey, PatientKey};
use crate::interaction::write::{commit, compile_patient, kinds};
use crate::search::parameter::{self, SearchContext, SearchLimits};
use crate::search::plan;
use crate::store::{Shelf, Store};

/// Where the fingerprint of the policy in force is kept.
const KEY: &str = "grants-compiled-by";

/// Compiles all grants anew if need be. Returns how many patients were.
///
/// Errors: the store's; grants compiled so far stand, and the next start begins again.
pub(super) async fn regrant(
    store: &Arc<dyn Store>,
    policy: &Arc<Policy>,
    organisations: &Arc<Organisations>,
    registry: &str,
    base: &str,
    now: Timestamp,
) -> Result<usize> {
    let permit = decision::system(policy, now, "regrant");
    let mut text = policy.sha256.clone();
    text.push_str(registry);
    let fingerprint = digest(&SHA256, text.as_bytes());
    let owner = PartyKey(0);
    let mut kept = None;
    store.read(&permit, &mut |reader| {
        kept = reader.shelf_get(Shelf::Secret, owner, KEY)?;
        Ok(())
    })?;
    if kept.is_some_and(|kept| *kept == *fingerprint.as_ref()) {
        return Ok(0);
    }
    let patients = patients(store, &permit, base, now)?;
    for &patient in &patients {
        let (policy, organisations) = (Arc::clone(policy), Arc::clone(organisations));
        commit(&**store, &permit, move |writer| compile_patient(writer, &policy, &organisations, patient))
            .await
            .map_err(|refusal| anyhow!("grants could not be compiled: {:?}", refusal.reason))?;
    }
    commit(&**store, &permit, move |writer| {
        writer.shelf_put(Shelf::Secret, owner, KEY, fingerprint.as_ref())
    })
    .await
    .map_err(|refusal| anyhow!("the policy's fingerprint could not be kept: {:?}", refusal.reason))?;
    Ok(patients.len())
}

/// Row keys of all patients.
fn patients(store: &Arc<dyn Store>, permit: &Permit, base: &str, now: Timestamp) -> Result<Vec<PatientKey>> {
    let limits = SearchLimits { count_default: 1000, ..SearchLimits::default() };
    let request =
        parameter::parse(kinds().patient, &[], &limits, &SearchContext { base, now, lenient: false })
            .map_err(|refusal| anyhow!("{:?}", refusal.reason))?;
    let mut all = Vec::new();
    let mut position: Option<Vec<u8>> = None;
    loop {
        let mut plan = plan::plan(&request, permit.filter());
        if let Some(position) = &position {
            plan = plan.starting_after(position).map_err(|refusal| anyhow!("{:?}", refusal.reason))?;
        }
        let mut next = None;
        store.read(permit, &mut |reader| {
            let found = reader.search(&plan)?;
            all.extend(found.matches.iter().map(|patient| PatientKey(patient.key)));
            next = found.next;
            Ok(())
        })?;
        match next {
            Some(next) => position = Some(next.to_vec()),
            None => return Ok(all),
        }
    }
}
