//! A gateway killed in the middle of a replay.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::quarantine::{csv, with_snif};
use super::scene::{GESP, Scene};
use crate::store::Shelf;

const DOCUMENTS: usize = 28;
/// Documents a child replays at most: three of them leave some.
const AT_ONCE: usize = 8;
/// Ids a process draws at most.
const IDS: usize = 1_000;

/// Observations of the sender, as it last spoke of them, with the version each has.
fn applied(scene: &Scene) -> Vec<(String, u32)> {
    let party = scene.permit(GESP).filter().organisation;
    let rows =
        scene.read(GESP, |reader| reader.shelf_list(Shelf::Statement, Some(party), "Observation/", 10_000));
    let ids = rows.into_iter().filter_map(|(_, key, _)| Some(key.strip_prefix("Observation/")?.to_owned()));
    ids.map(|id| (id.clone(), scene.current(GESP, "Observation", &id).unwrap().version)).collect()
}

#[test]
fn a_replay_that_is_killed_leaves_each_document_applied_or_waiting_and_the_next_goes_on() {
    const FOLDER: &str = "SLUIS_TEST_REPLAY_FOLDER";
    const ROUND: &str = "SLUIS_TEST_REPLAY_ROUND";
    const NAME: &str = "ingest::tests::crash::a_replay_that_is_killed_leaves_each_document_applied_or_waiting_and_the_next_goes_on";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The child: replays, noting each answer, until it is killed; what it is not killed at in time stays for the next.
        let mut notes = std::fs::File::create(std::path::Path::new(&folder).join("answered")).unwrap();
        let scene = Scene::at(folder.into());
        scene.draw(std::env::var(ROUND).unwrap().parse::<usize>().unwrap() * IDS);
        scene.mend("gesp-export", "codes/tests.csv", with_snif);
        for _ in 0..AT_ONCE {
            let body = scene.replay(GESP, &[("_count", "1")]).body;
            let done = body.contains(r#""name":"created","valueInteger":1"#);
            assert!(done, "{body}");
            notes.write_all(b"+").unwrap();
        }
        loop {
            std::thread::park();
        }
    }
    let scene = Scene::new();
    for day in 1..=DOCUMENTS {
        let row = format!("999911132;{day:02}-02-2026;meting;SNIF;SNIP;46;cmH2O;;;;;definitief");
        scene.ingest(GESP, "text/csv", &csv(&[&row]));
    }
    assert_eq!((applied(&scene).len(), scene.kept(GESP).len()), (0, DOCUMENTS));
    let mut folder = scene.close();
    for (round, wanted) in (1..).zip([3, 5, 4]) {
        std::fs::remove_file(folder.join("answered")).ok();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", NAME])
            .env(FOLDER, &folder)
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answered = || std::fs::read(folder.join("answered")).unwrap_or_default().len();
        while answered() < wanted {
            assert!(child.try_wait().unwrap().is_none(), "the child ended by itself");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let scene = Scene::at(folder);
        let (done, waits) = (applied(&scene), scene.kept(GESP).len());
        assert_eq!(done.len() + waits, DOCUMENTS, "each is applied or waits");
        assert!(done.len() >= wanted && done.iter().all(|(_, version)| *version == 1), "{done:?}");
        folder = scene.close();
    }
    let scene = Scene::at(folder);
    scene.draw(9 * IDS);
    scene.mend("gesp-export", "codes/tests.csv", with_snif);
    scene.replay(GESP, &[]);
    let done = applied(&scene);
    assert!(done.len() == DOCUMENTS && done.iter().all(|(_, version)| *version == 1), "{done:?}");
    assert!(scene.kept(GESP).is_empty());
}
