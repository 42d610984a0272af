//! Mapping folders under a serving gateway: read at the start, and again after each change.
//!
//! A change is seen by size and time of the files, asked every second: that works on every file system and container mount. It is taken
//! once nothing changed for a whole second, so that a folder being copied is not read half. Reading, compiling and proving happen off the
//! threads that serve; the set is exchanged as a whole (`ingest::Intake::renew`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::gateway::Gateway;
use crate::ingest::Intake;
use crate::ingest::map::Maps;

/// How often the files are asked whether they changed; also how long they must have been at rest.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files looked at below the folder of mappings; one with more is not followed, and read again at SIGHUP only.
const FILES_MAX: usize = 20_000;

/// Reads the mappings again, one reading at a time: an older one never replaces a newer.
#[derive(Clone)]
pub(super) struct Reader {
    gateway: Gateway,
    mappings: Option<PathBuf>,
    turn: Arc<Mutex<()>>,
}

impl Reader {
    pub(super) fn new(gateway: Gateway, mappings: Option<PathBuf>) -> Reader {
        Reader { gateway, mappings, turn: Arc::default() }
    }

    /// Reads the folders, runs their cases and puts them in force as a whole.
    ///
    /// Errors: what of which folder does not load or prove its cases, one line each; those keep their last good version.
    pub(super) async fn read(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        let mappings = self.mappings.clone();
        let intake = &self.gateway.parts().intake;
        let before = intake.maps();
        // Compiling takes the CPU for a while: not on a thread that serves.
        let read = tokio::task::spawn_blocking(move || before.reread(mappings.as_deref())).await?;
        let bad = intake.renew(read).map_err(|errors| anyhow!("mappings:\n{}", errors.join("\n")))?;
        tracing::info!(mappings = intake.maps().ids().count(), "mappings read again");
        if bad.is_empty() {
            return Ok(());
        }
        let errors: Vec<String> = bad.into_iter().flat_map(|bad| bad.errors).collect();
        Err(anyhow!("mappings that keep their last good version:\n{}", errors.join("\n")))
    }

    /// Follows the folder of the settings until the task is aborted; the mappings built in do not change.
    pub(super) fn follow(&self) -> JoinHandle<()> {
        let reader = self.clone();
        tokio::spawn(async move {
            let Some(root) = reader.mappings.clone() else { return };
            let mut settled = None;
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let place = root.clone();
                let Ok(Some(now)) = tokio::task::spawn_blocking(move || stamp(&place)).await else {
                    continue;
                };
                let at = settled.get_or_insert_with(|| Settled::new(now.clone()));
                if at.look(now)
                    && let Err(error) = reader.read().await
                {
                    tracing::error!(cause = %error, "a changed mapping is not in force");
                }
            }
        })
    }
}

/// Mappings at the start: the operator's folder, or those built in. A folder that is bad leaves its sender's documents waiting
/// (they are kept, to be replayed) and readiness degraded; it does not keep the others from being served.
///
/// Errors: a folder that cannot be read, none in it that is good, or two that could match one document.
pub(super) fn intake(root: Option<&Path>) -> Result<Intake> {
    let failed = |errors: Vec<String>| anyhow!("mappings:\n{}", errors.join("\n"));
    let Some(root) = root else { return Ok(Intake::new(Maps::shipped().map_err(failed)?)) };
    let none = Maps::new(std::collections::BTreeMap::new()).map_err(failed)?;
    let (maps, bad) = none.reread(Some(root)).map_err(failed)?;
    if maps.ids().next().is_none() && !bad.is_empty() {
        return Err(failed(bad.into_iter().flat_map(|bad| bad.errors).collect()));
    }
    for bad in &bad {
        tracing::error!(folder = bad.folder, cause = bad.errors.join("; "), "a mapping is not in force");
    }
    let intake = Intake::new(Maps::new(std::collections::BTreeMap::new()).map_err(failed)?);
    intake.renew(Ok((maps, bad))).map_err(failed)?;
    Ok(intake)
}

/// Path, size and time of every file of a folder.
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// `None` for a folder that cannot be read just now, or holds more than [`FILES_MAX`].
fn stamp(root: &Path) -> Option<Stamp> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).ok()? {
            let entry = entry.ok()?;
            let data = entry.metadata().ok()?;
            match data.is_dir() {
                true => folders.push(entry.path()),
                false => found.push((entry.path(), data.len(), data.modified().ok())),
            }
            if found.len() + folders.len() > FILES_MAX {
                return None;
            }
        }
    }
    found.sort();
    Some(found)
}

/// Tells a change that has come to rest from one under way.
struct Settled {
    known: Stamp,
    last: Stamp,
}

impl Settled {
    fn new(now: Stamp) -> Settled {
        Settled { known: now.clone(), last: now }
    }

    /// Whether there is a change since the last one taken, and nothing changed since the look before.
    fn look(&mut self, now: Stamp) -> bool {
        let settled = now == self.last && now != self.known;
        if settled {
            self.known.clone_from(&now);
        }
        self.last = now;
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(length: u64) -> Stamp {
        vec![(PathBuf::from("map.fml"), length, None)]
    }

    #[test]
    fn a_change_is_taken_once_and_only_when_it_has_come_to_rest() {
        let mut settled = Settled::new(at(1));
        let looks = [at(1), at(2), at(3), at(3), at(3), at(1), at(1)].map(|now| settled.look(now));
        assert_eq!(looks, [false, false, false, true, false, false, true]);
    }

    #[test]
    fn a_bad_folder_does_not_keep_the_others_from_starting() {
        let root = std::env::temp_dir().join(format!("sluis-start-{}", std::process::id()));
        crate::ingest::map::write_shipped(&root).unwrap();
        let first = stamp(&root).unwrap();
        std::fs::write(root.join("gesp-export/map.fml"), "no map").unwrap();
        assert_ne!(stamp(&root).unwrap(), first);
        let intake = intake(Some(&root)).unwrap();
        let ids: Vec<String> = intake.maps().ids().map(str::to_owned).collect();
        assert!(ids.contains(&"umc-lab".to_owned()) && !ids.contains(&"gesp-export".to_owned()), "{ids:?}");
        assert_eq!(intake.outdated(), ["gesp-export"]);
        // None that is good: the settings are wrong, and nothing serves.
        for entry in std::fs::read_dir(&root).unwrap() {
            let _ = std::fs::write(entry.unwrap().path().join("mapping.toml"), "no = manifest");
        }
        let refused = super::intake(Some(&root)).unwrap_err().to_string();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(refused.contains("umc-lab/mapping.toml"), "{refused}");
        assert!(super::intake(Some(Path::new("/nowhere/at/all"))).is_err());
        assert!(super::intake(None).is_ok());
    }
}
