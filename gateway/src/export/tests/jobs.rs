//! The life of a job: who sees it, what a stop or a withdrawal in the midst of it does.

use super::world::{World, actor, header, id, researcher, wait};
use crate::export::Settings;
use crate::jobs;
use crate::jobs::{resume_all, run};
use crate::response::Answer;
use crate::response::refusal::Reason;

/// Six consenting patients, read two to a block.
fn six(settings: Settings) -> World {
    let world = World::with(Settings { settle_seconds: 0, cohort_min: 3, ..settings });
    let names: Vec<String> = (0..6).map(|n| format!("patient-{n}")).collect();
    for name in &names {
        world.patient(name, &["HRESCH"]);
    }
    world.group("cohort", &names.iter().map(String::as_str).collect::<Vec<_>>());
    world
}

fn small_blocks() -> Settings {
    Settings { block_patients_max: 2, file_bytes_max: 1500, ..Settings::default() }
}

#[test]
fn a_restart_between_any_two_blocks_loses_and_doubles_no_line() {
    let whole = {
        let world = six(small_blocks());
        world.export(&researcher(), "cohort", &[]).1
    };
    for stop in 0..5 {
        let mut world = six(small_blocks());
        let job = world.start(&researcher(), "cohort", &[]).unwrap();
        for _ in 0..stop {
            world.step(&job);
        }
        world.restart();
        let left = resume_all(&*world.context).unwrap();
        assert_eq!(left, usize::from(world.status(&researcher(), &job).unwrap().status == 202));
        world.finish(&job);
        // Pseudonyms hang on the key, and the key on the test's counted randomness: the same in every world.
        assert_eq!(world.fetch(&researcher(), &job), whole, "stopped after {stop} steps");
    }
}

#[test]
fn many_small_blocks_of_one_resource_give_the_same_lines() {
    let whole = six(Settings::default()).export(&researcher(), "cohort", &[]).1;
    let world = six(Settings { block_resources_max: 1, ..small_blocks() });
    assert_eq!(world.export(&researcher(), "cohort", &[]).1, whole);
}

#[test]
fn two_processes_on_one_job_write_each_line_once() {
    let world = six(small_blocks());
    let job = world.start(&researcher(), "cohort", &[]).unwrap();
    let owner = world.party(super::world::ACN);
    wait(async {
        let other = || super::super::run::step(&world.context, owner, &job);
        for _ in 0..6 {
            let (one, two) = tokio::join!(other(), other());
            one.unwrap();
            two.unwrap();
        }
    });
    let lines = world.fetch(&researcher(), &job);
    assert_eq!((lines["Patient"].len(), lines["Observation"].len()), (6, 12));
}

#[test]
fn a_withdrawal_in_the_midst_takes_back_what_was_read_and_hides_the_rest() {
    for (leaver, blocks) in [("patient-0", 1), ("patient-5", 1), ("patient-3", 2), ("patient-0", 3)] {
        let world = six(small_blocks());
        let job = world.start(&researcher(), "cohort", &[]).unwrap();
        for _ in 0..blocks {
            world.step(&job);
        }
        let key = world.context.store.patient_key(&id(leaver)).unwrap().unwrap();
        world.consent(key, &[]);
        world.finish(&job);
        let lines = world.fetch(&researcher(), &job);
        assert_eq!((lines["Patient"].len(), lines["Observation"].len()), (5, 10), "{leaver} after {blocks}");
        let counts = world.counts(&researcher(), &job);
        assert_eq!((counts["exported"].as_u64(), counts["withheld"].as_u64()), (Some(5), Some(1)));
    }
}

#[test]
fn a_withdrawal_within_one_patients_blocks_leaves_no_half_of_her() {
    let world = six(Settings { block_resources_max: 1, ..Settings::default() });
    let job = world.start(&researcher(), "cohort", &[]).unwrap();
    world.step(&job);
    let key = world.context.store.patient_key(&id("patient-0")).unwrap().unwrap();
    world.consent(key, &[]);
    world.finish(&job);
    let counts = world.counts(&researcher(), &job);
    assert_eq!(counts["withheldBy"], serde_json::json!({"withdrawn": 1}));
    assert_eq!(world.fetch(&researcher(), &job)["Observation"].len(), 10);
}

#[test]
fn a_finished_file_is_gone_once_a_consent_behind_it_is() {
    let world = six(small_blocks());
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    let key = world.context.store.patient_key(&id("patient-0")).unwrap().unwrap();
    world.consent(key, &["HRESCH", "HQUALIMP"]);
    assert!(world.file(&researcher(), &job, "Patient.1.ndjson").is_ok());
    world.consent(key, &["HQUALIMP"]);
    let refusal = world.file(&researcher(), &job, "Patient.1.ndjson").unwrap_err();
    assert_eq!(refusal.reason, Reason::ExportStale);
    // The job is stale as a whole: the files of others went with it, the manifest too.
    assert_eq!(world.file(&researcher(), &job, "Patient.2.ndjson").unwrap_err().reason, Reason::ExportStale);
    assert_eq!(world.status(&researcher(), &job).unwrap_err().reason, Reason::ExportStale);
}

#[test]
fn what_is_not_yours_is_not_there() {
    let world = six(small_blocks());
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    let mut blind = researcher();
    blind.scopes[0].kind = Some("Patient".into());
    for other in [actor("other-client", "HRESCH"), actor("acn-platform", "HQUALIMP")] {
        let here = world.status(&other, &job).unwrap_err();
        let nowhere = world.status(&other, "0123456789abcdef").unwrap_err();
        assert_eq!(Answer::refused(&here).body, Answer::refused(&nowhere).body);
        assert_eq!(Answer::refused(&here).status, 404);
        assert_eq!(world.file(&other, &job, "Patient.1.ndjson").unwrap_err(), nowhere);
        assert_eq!(world.cancel(&other, &job).unwrap_err(), nowhere);
    }
    for name in ["../x", "Patient.1", "Patient.1.ndjson/", "", "..", "outcome.ndjson\0", "Patient.99.ndjson"]
    {
        assert_eq!(world.file(&researcher(), &job, name).unwrap_err().reason, Reason::NotFound);
    }
    let permit = world.context.permits.export(&std::sync::Arc::new(researcher())).unwrap();
    let asked = wait(super::super::status(&world.context, &permit, &blind, &id(&job)));
    assert_eq!(asked.unwrap_err().reason, Reason::NotFound);
}

#[test]
fn polling_tells_progress_and_too_fast_is_told_to_wait() {
    let world = six(small_blocks());
    let job = world.start(&researcher(), "cohort", &[]).unwrap();
    world.step(&job);
    let answer = world.status(&researcher(), &job).unwrap();
    assert_eq!(answer.status, 202);
    assert_eq!(header(&answer, "x-progress").unwrap(), "2 of 6 members read");
    assert!(header(&answer, "retry-after").is_some());
    let refusal = world.status(&researcher(), &job).unwrap_err();
    assert_eq!(refusal.reason, Reason::Throttled);
    assert!(header(&Answer::refused(&refusal), "retry-after").is_some());
    world.clock.advance_seconds(2);
    assert_eq!(world.status(&researcher(), &job).unwrap().status, 202);
}

#[test]
fn a_client_runs_a_bounded_number_of_jobs_and_an_ended_one_makes_room() {
    let world = six(Settings::default());
    let first = world.start(&researcher(), "cohort", &[]).unwrap();
    world.start(&researcher(), "cohort", &[]).unwrap();
    assert_eq!(world.start(&researcher(), "cohort", &[]).unwrap_err().reason, Reason::Throttled);
    assert!(world.start(&actor("other-client", "HRESCH"), "cohort", &[]).is_ok());
    assert_eq!(world.cancel(&researcher(), &first).unwrap().status, 202);
    assert_eq!(world.status(&researcher(), &first).unwrap_err().reason, Reason::NotFound);
    assert_eq!(world.cancel(&researcher(), &first).unwrap_err().reason, Reason::NotFound);
    assert!(!world.step(&first));
    assert!(world.start(&researcher(), "cohort", &[]).is_ok());
}

#[test]
fn every_block_and_every_delivery_has_its_record() {
    let world = six(small_blocks());
    let (_, _) = world.export(&researcher(), "cohort", &[("_type", "Patient")]);
    let audit = world.audit();
    assert_eq!(audit.iter().filter(|body| body.starts_with("BlockRead")).count(), 3);
    assert_eq!(
        audit.iter().filter(|body| body.starts_with("FileDelivered Patient.")).count(),
        audit.len() - 3
    );
}

#[test]
fn the_runner_takes_up_what_it_finds_clears_what_ended_and_stops_when_told() {
    let world = six(small_blocks());
    let job = world.start(&researcher(), "cohort", &[]).unwrap();
    let ended = world.start(&researcher(), "cohort", &[]).unwrap();
    world.step(&ended);
    world.cancel(&researcher(), &ended).unwrap();
    wait(async {
        let (tell, told) = tokio::sync::watch::channel(false);
        let runner = tokio::spawn(run(std::sync::Arc::clone(&world.context), told));
        let done = async {
            while !matches!(world.state_of(&job), Some(super::super::job::JobState::Done))
                || world.files_of(&ended) > 0
            {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), done).await.unwrap();
        tell.send(true).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(20), runner).await.unwrap().unwrap();
    });
    assert_eq!(world.fetch(&researcher(), &job)["Patient"].len(), 6);
    assert_eq!(world.state_of(&ended), None);
}

/// A gateway that stops in the middle of a job: another on the same database carries it on, though nobody rings it, and
/// lines are neither lost nor doubled.
#[test]
fn a_job_that_stands_still_is_carried_on_by_another_gateway() {
    let world = six(Settings {
        jobs: jobs::Settings { takeover_ms: 1_000, ..jobs::Settings::default() },
        ..small_blocks()
    });
    let other = world.another();
    let (tell, told) = tokio::sync::watch::channel(false);
    let runner = std::thread::spawn(move || wait(run(other, told)));
    let pause = || std::thread::sleep(std::time::Duration::from_millis(100));
    // Its first look finds nothing: what it finds then it would take at once.
    pause();
    let job = world.start(&researcher(), "cohort", &[]).unwrap();
    assert!(world.step(&job));
    let done = (0..300).any(|_| {
        pause();
        world.state_of(&job) == Some(super::super::job::JobState::Done)
    });
    tell.send(true).unwrap();
    runner.join().unwrap();
    assert!(done);
    assert_eq!(world.fetch(&researcher(), &job)["Patient"].len(), 6);
}

#[test]
fn a_finished_job_is_gone_after_its_time() {
    let world = six(Settings {
        jobs: jobs::Settings { kept_seconds: 100, ..jobs::Settings::default() },
        ..small_blocks()
    });
    let (job, _) = world.export(&researcher(), "cohort", &[]);
    world.clock.advance_seconds(101);
    assert_eq!(world.status(&researcher(), &job).unwrap_err().reason, Reason::NotFound);
}
