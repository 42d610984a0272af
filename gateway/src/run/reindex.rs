//! Writes the index of all rows anew, in the background, when what is indexed has changed since it was last whole: the
//! operator's search parameters, whether words of texts are, or what this program keeps of a value.
//!
//! Rows are taken in order of their keys, a batch in a transaction with the place reached, so a restart goes on there and
//! writes go on between batches; what is written meanwhile is indexed as it is written. A pass that finds nothing to
//! change is the proof of the one before; only then are the operator's parameters and the words of texts searched by.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use sluis_conformance::definitions;
use tokio::sync::watch;

use crate::decision::Permit;
use crate::ids::PartyKey;
use crate::interaction::write::commit;
use crate::search::indexing::Indexing;
use crate::store::{INDEX_STATE, Shelf, Store, StoreError, Writer};

/// Number of the form in which values are indexed: raised when the same definitions index more than before.
const FORM: u32 = 2;
/// Rows of a batch.
const BATCH: u32 = 100;
/// Time between batches, for the writes of others.
const PAUSE: Duration = Duration::from_millis(20);
/// Passes after which rows that still change are a fault.
const PASSES_MAX: u32 = 5;
/// How far the index of this fingerprint has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct State {
    fingerprint: String,
    /// Rows up to this key are done in this pass.
    after: i64,
    /// Rows this pass has changed.
    changed: u64,
    /// Number of this pass, from 1.
    pass: u32,
    /// A pass has changed nothing.
    whole: bool,
}

/// Looks up what is to be done; a store without rows is done at once.
///
/// Errors: the store's.
pub(super) async fn begin(store: &Arc<dyn Store>, permit: &Permit, indexing: &Indexing) -> Result<()> {
    indexing.begin();
    let state = step(store, permit, indexing, 1).await?;
    if state.whole {
        indexing.finish();
    } else {
        tracing::info!("rows are to be indexed anew");
    }
    Ok(())
}

/// Goes on until the index is whole, or the gateway stops.
pub(super) async fn run(
    store: Arc<dyn Store>,
    permit: Permit,
    indexing: Arc<Indexing>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut told = 0;
    while !indexing.is_whole() {
        tokio::select! {
            // A dropped sender stops as well.
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        match step(&store, &permit, &indexing, BATCH).await {
            Ok(state) if state.whole => {
                indexing.finish();
                tracing::info!(passes = state.pass, "the index is whole");
            }
            Ok(state) if state.pass > PASSES_MAX => {
                tracing::error!(
                    rows = state.changed,
                    "rows change each time they are indexed: the index is not trusted"
                );
                return;
            }
            Ok(state) => {
                let percent = indexing.percent();
                if percent / 10 != told {
                    told = percent / 10;
                    tracing::info!(pass = state.pass, percent, "indexing");
                }
            }
            // A full disk or a lost connection: the same batch again, later.
            Err(error) => {
                tracing::warn!(cause = %error, "a batch of rows could not be indexed");
                tokio::time::sleep(PAUSE * 50).await;
            }
        }
    }
}

/// One batch, with the place reached, in one transaction.
async fn step(store: &Arc<dyn Store>, permit: &Permit, indexing: &Indexing, rows: u32) -> Result<State> {
    let fingerprint = fingerprint(indexing.has_content());
    let (state, of) = commit(&**store, permit, move |writer| {
        let mut state = read(writer, &fingerprint)?;
        if state.whole {
            return Ok((state, 0));
        }
        let batch = writer.reindex(state.after, rows)?;
        state.changed += u64::from(batch.changed);
        match batch.last {
            Some(last) => state.after = last,
            None if state.changed == 0 => state.whole = true,
            None => (state.after, state.changed, state.pass) = (0, 0, state.pass + 1),
        }
        let text = serde_json::to_vec(&state).map_err(|error| StoreError::Database(error.to_string()))?;
        writer.shelf_put(Shelf::Secret, PartyKey(0), INDEX_STATE, &text)?;
        Ok((state, batch.of))
    })
    .await
    .map_err(|refusal| anyhow!("index: {:?} {:?}", refusal.reason, refusal.cause))?;
    indexing.reach(state.after, of);
    Ok(state)
}

/// The state that is kept, or a new one when what is indexed has changed.
fn read(writer: &mut dyn Writer, fingerprint: &str) -> Result<State, StoreError> {
    let kept = writer.shelf_get(Shelf::Secret, PartyKey(0), INDEX_STATE)?;
    let kept = kept.and_then(|kept| serde_json::from_slice::<State>(&kept).ok());
    Ok(kept.filter(|kept| kept.fingerprint == fingerprint).unwrap_or_else(|| State {
        fingerprint: fingerprint.to_owned(),
        pass: 1,
        ..State::default()
    }))
}

/// What is indexed, in short: the program's form of it, whether words of texts are, and the operator's parameters.
fn fingerprint(content: bool) -> String {
    let mut text = format!("{FORM}");
    if content {
        text.push_str("\ncontent");
    }
    for own in definitions::r4().own_parameters() {
        text.push_str(&format!("\n{own:?}"));
    }
    let digest = digest(&SHA256, text.as_bytes());
    digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
