//! The single writer: a thread that takes what waits, applies each work in a savepoint of its own, commits them as one
//! and answers all once that is on disk.
//!
//! One commit for many works is worth more than any choice of engine: a commit copies a dozen index pages and waits for
//! the disk, whether it holds one resource or fifty. What waits is taken at once and nothing is waited for, so a lone
//! write is not slowed; the batch forms while the previous commit is under way.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

use super::bind::Adding;
use super::journal::Shared;
use super::pool::Line;
use super::{Settings, checkpoint};
use crate::audit::entry::AuditRecord;
use crate::decision::filter::Filter;
use crate::store::session::names::NameTable;
use crate::store::session::{Hand, Pen, Session, log};
use crate::store::writer::{Answer, Job, Task, WriterThread, settle};
use crate::store::{StoreError, WriteWork};

/// Starts the writer on its own connection, and the thread that moves what it commits into the file.
pub(super) fn start(
    mut line: Line,
    names: Arc<NameTable>,
    settings: Arc<Settings>,
    journal: Option<Arc<Shared>>,
) -> Result<WriterThread, StoreError> {
    let (committed, commits) = channel();
    let pages = Arc::new(AtomicI64::new(0));
    let there = Arc::clone(&pages);
    line.connection.wal_hook(Some(move |_: &mut Wal, pages: i32| {
        there.store(pages.into(), Ordering::Relaxed);
        Ok(())
    }))?;
    let keeper = match settings.checkpoint_external {
        true => None,
        false => Some(checkpoint::start(Arc::clone(&settings), commits)?),
    };
    WriterThread::start(settings.queue_max, move |jobs| {
        let tell = || {
            let _ = committed.send(pages.load(Ordering::Relaxed));
        };
        run(&line, &names, &settings, journal.as_deref(), &jobs, &tell);
        // The checkpointer ends when nobody can tell it of a commit any more.
        drop(committed);
        if let Some(keeper) = keeper {
            let _ = keeper.join();
        }
    })
}

fn run(
    line: &Line,
    names: &NameTable,
    settings: &Settings,
    journal: Option<&Shared>,
    jobs: &Receiver<Job>,
    committed: &dyn Fn(),
) {
    let mut hand = Hand::default();
    // Records since the log's index entries were last made; those of an earlier run are counted at the first commit.
    let mut tail = settings.audit_tail_max;
    // Ends when the store is dropped and the queue is empty.
    while let Ok(first) = jobs.recv() {
        group(line, names, settings, journal, jobs, first, &mut hand);
        committed();
        tail = tail.saturating_add(std::mem::take(&mut hand.records));
        if tail >= settings.audit_tail_max {
            tail = index_log(line, settings).unwrap_or_else(|error| {
                tracing::error!(error = %error, "the audit log's index waits; a search of the log walks further");
                0
            });
        }
    }
}

/// Makes index entries of the log when enough records wait for them; how many wait afterwards.
fn index_log(line: &Line, settings: &Settings) -> Result<u64, StoreError> {
    let waiting = log::audit_waiting(&line.connection)?;
    if waiting < settings.audit_tail_max {
        return Ok(waiting);
    }
    let connection = &line.connection;
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let made = log::index_audit(connection)
        .and_then(|()| Ok(connection.prepare_cached("COMMIT")?.execute([]).map(|_| ())?));
    if made.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    made.map(|()| 0)
}

/// Applies one group of jobs and answers them.
fn group(
    line: &Line,
    names: &NameTable,
    settings: &Settings,
    journal: Option<&Shared>,
    jobs: &Receiver<Job>,
    first: Job,
    hand: &mut Hand,
) {
    let mut answers: Vec<(Answer, Result<(), StoreError>)> = Vec::new();
    let span = Duration::from_millis(settings.group_ms_max);
    let sequence = match begin(line) {
        Ok(sequence) => sequence,
        Err(error) => {
            tracing::error!(error = %error, "no transaction could be opened");
            (first.answer)(Err(error));
            return;
        }
    };
    hand.log_head = None;
    let moved = journal.and_then(|journal| Some((journal, journal.take()?)));
    let fold = moved.as_ref().map(|(_, (records, last))| fold(line, names, settings, records, *last, hand));
    let started = Instant::now();
    let adding = Adding::to(&line.connection);
    let apply_all = |before: i64| -> Result<(), StoreError> {
        let mut sequence = before;
        let mut next = Some(first);
        while let Some(Job { filter, task, answer }) = next.take() {
            // Pages of a search are told apart by it, and a record of the log is on none.
            if let Task::Work(_) = task {
                sequence += 1;
            }
            let pen = Pen { sequence, hand: &mut *hand };
            let session = Session::new(&adding, names, settings.bounds(), &filter, Some(pen));
            line.start(settings.query_ms_max);
            let result = apply(&line.connection, session, task);
            line.stop();
            if result.is_err() {
                // What the undone work interned is gone from the database.
                hand.clear();
            }
            answers.push((answer, result.map_err(|error| error.within(settings.query_ms_max))));
            // A full disk makes SQLite undo the whole transaction, with the works applied before.
            if line.connection.is_autocommit() {
                return Err(StoreError::DiskFull("the transaction was undone".to_owned()));
            }
            if answers.len() < settings.group_max && started.elapsed() < span {
                next = jobs.try_recv().ok();
            }
        }
        if sequence > before {
            let mut statement =
                line.connection.prepare_cached("UPDATE counter SET value = ? WHERE name = 'commit'")?;
            statement.execute([sequence])?;
        }
        line.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    };
    let outcome = apply_all(sequence);
    if let Err(error) = &outcome {
        hand.clear();
        tracing::error!(works = answers.len(), error = %error, "a commit failed; its works are undone");
        if !line.connection.is_autocommit() && line.connection.execute_batch("ROLLBACK").is_err() {
            tracing::error!("the writer could not undo its transaction");
        }
    }
    if let Some((journal, (records, _))) = moved {
        // Told before any answer, so that whoever waits for an answer finds it done.
        match (&outcome, fold) {
            (Ok(()), Some(Ok(()))) => journal.folded(),
            (_, failed) => {
                if let Some(Err(error)) = failed {
                    tracing::error!(error = %error, "the audit log takes no records of looks; they wait in the journal");
                }
                journal.kept(records);
            }
        }
    }
    settle(&outcome, answers);
}

/// Moves records from the journal into the log, with the number of the last; undone alone when it fails.
fn fold(
    line: &Line,
    names: &NameTable,
    settings: &Settings,
    records: &VecDeque<AuditRecord>,
    last: u64,
    hand: &mut Hand,
) -> Result<(), StoreError> {
    let filter = Filter::own_work();
    // No page of a search is told apart by a record of the log.
    let pen = Pen { sequence: 0, hand: &mut *hand };
    let session = Session::new(&line.connection, names, settings.bounds(), &filter, Some(pen));
    let result = undoable(&line.connection, session, |session| {
        for record in records {
            session.write_audit(record)?;
        }
        let mut mark =
            line.connection.prepare_cached("UPDATE counter SET value = ? WHERE name = 'journal'")?;
        mark.execute([i64::try_from(last).unwrap_or(i64::MAX)])?;
        Ok(())
    });
    if result.is_err() {
        hand.clear();
    }
    result
}

/// Opens the transaction; the sequence number of the last work applied.
fn begin(line: &Line) -> Result<i64, StoreError> {
    line.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut statement = line.connection.prepare_cached("SELECT value FROM counter WHERE name = 'commit'")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// Applies one task; undoes it alone when it fails or panics.
fn apply(connection: &Connection, session: Session<'_>, task: Task) -> Result<(), StoreError> {
    match task {
        // One statement undoes itself when it fails, and needs no savepoint.
        Task::Record(record) if record.patients.len() <= 1 => {
            caught(session, |session| session.write_audit(&record).map(|_| ()))
        }
        Task::Record(record) => {
            apply_work(connection, session, Box::new(move |writer| writer.append_audit(&record).map(|_| ())))
        }
        Task::Work(work) => apply_work(connection, session, work),
    }
}

fn apply_work(connection: &Connection, session: Session<'_>, work: WriteWork) -> Result<(), StoreError> {
    undoable(connection, session, |session| work(session))
}

/// Runs `work` in a savepoint of its own.
fn undoable(
    connection: &Connection,
    session: Session<'_>,
    work: impl FnOnce(&mut Session<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    connection.prepare_cached("SAVEPOINT work")?.execute([])?;
    let result = caught(session, work);
    if !connection.is_autocommit() {
        if result.is_err() {
            connection.prepare_cached("ROLLBACK TO work")?.execute([])?;
        }
        connection.prepare_cached("RELEASE work")?.execute([])?;
    }
    result
}

/// Runs `work`; an error when it panics.
fn caught(
    mut session: Session<'_>,
    work: impl FnOnce(&mut Session<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    // The session is dropped right after, and the database is put back by savepoint or statement: no broken state
    // survives.
    match catch_unwind(AssertUnwindSafe(|| work(&mut session))) {
        Ok(result) => result,
        Err(_) => Err(StoreError::Database("a work panicked".to_owned())),
    }
}
