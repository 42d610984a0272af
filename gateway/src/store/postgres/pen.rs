//! This gateway's writer: a thread that takes what waits, applies each work in a savepoint of its own, commits them as one
//! and answers all once that is on disk. A connection is taken for each commit, so that a database that was gone and is
//! back is written to again without anybody's help.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Settings;
use super::base::Line;
use super::pool::{Lent, Lines};
use crate::store::session::base::{Base, values};
use crate::store::session::names::NameTable;
use crate::store::session::{Hand, Pen, Session, log};
use crate::store::writer::{Answer, Job, Task, WriterThread, settle};
use crate::store::{StoreError, WriteWork};

/// Starts the writer.
pub(super) fn start(
    lines: Arc<Lines>,
    names: Arc<NameTable>,
    settings: Arc<Settings>,
) -> Result<WriterThread, StoreError> {
    WriterThread::start(settings.queue_max, move |jobs| {
        let mut hand = Hand::default();
        // Records since the log's index entries were last made; others' are counted when it is time.
        let mut tail = settings.audit_tail_max;
        // Ends when the store is dropped and the queue is empty.
        while let Ok(first) = jobs.recv() {
            group(&lines, &names, &settings, &jobs, first, &mut hand, &mut tail);
        }
    })
}

/// Applies one group of jobs and answers them.
fn group(
    lines: &Lines,
    names: &NameTable,
    settings: &Settings,
    jobs: &Receiver<Job>,
    first: Job,
    hand: &mut Hand,
    tail: &mut u64,
) {
    let limit = lines.ms_max();
    let (mut lent, transaction, mut sequence) = match begin(lines) {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!(error = %error, "no transaction could be opened");
            (first.answer)(Err(error.within(limit)));
            return;
        }
    };
    // Another gateway may have appended since.
    hand.log_head = None;
    let started = Instant::now();
    let span = Duration::from_millis(settings.group_ms_max);
    let mut answers: Vec<(Answer, Result<(), StoreError>)> = Vec::new();
    let mut next = Some(first);
    let mut outcome = Ok(());
    while let Some(Job { filter, task, answer }) = next.take() {
        sequence += 1;
        let result = lent.line(limit).and_then(|line| {
            let pen = Pen { sequence, hand: &mut *hand };
            let session = Session::new(&line, names, settings.bounds(), &filter, Some(pen));
            let result = apply(&line, session, task);
            match line.broken() {
                true => Err((StoreError::Database("the connection was lost".to_owned()), result)),
                false => Ok(result),
            }
            .or_else(|(lost, result)| {
                outcome = Err(lost);
                Ok(result)
            })
        });
        let result = result.and_then(|result| result);
        if result.is_err() {
            // What the undone work interned is gone from the database.
            hand.clear();
        }
        answers.push((answer, result.map_err(|error| error.within(limit))));
        if outcome.is_ok() && answers.len() < settings.group_max && started.elapsed() < span {
            next = jobs.try_recv().ok();
        }
    }
    *tail = tail.saturating_add(std::mem::take(&mut hand.records));
    if outcome.is_ok() && *tail >= settings.audit_tail_max {
        *tail = lent.line(limit).and_then(|line| index_log(&line, settings)).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the audit log's index waits; a search of the log walks further");
            0
        });
    }
    let outcome = outcome.and_then(|()| finish(lines, &mut lent, &transaction, sequence));
    if let Err(error) = &outcome {
        hand.clear();
        tracing::error!(works = answers.len(), error = %error, "a commit failed; its works are undone");
    }
    settle(&outcome, answers);
}

/// Makes index entries of the log when enough records wait for them; how many wait afterwards. When it fails, what was
/// written before it stands.
fn index_log(line: &Line<'_>, settings: &Settings) -> Result<u64, StoreError> {
    line.batch("SAVEPOINT log")?;
    let made = log::audit_waiting(line).and_then(|waiting| match waiting < settings.audit_tail_max {
        true => Ok(waiting),
        false => log::index_audit(line).map(|()| 0),
    });
    if made.is_err() {
        line.batch("ROLLBACK TO SAVEPOINT log")?;
    }
    line.batch("RELEASE SAVEPOINT log")?;
    made
}

/// Opens the transaction and takes this gateway's turn: its connection, its number, and the sequence of the last work
/// applied by any gateway.
fn begin(lines: &Lines) -> Result<(Lent, String, i64), StoreError> {
    let open = |lent: &Lent| {
        let line = lent.line(lines.ms_max())?;
        line.batch("BEGIN")?;
        let base: &dyn Base = &line;
        // READ COMMITTED: after waiting for another gateway's commit, this and all later statements see it.
        let sequence = base.number("SELECT value FROM counter WHERE name = 'commit' FOR UPDATE", &[])?;
        let transaction = base.one("SELECT pg_current_xact_id()::text", &[], |row| row.text(0))?;
        Ok((transaction.unwrap_or_default(), sequence))
    };
    let lent = Lent(Some(lines.take()?));
    match open(&lent) {
        Ok((transaction, sequence)) => Ok((lent, transaction, sequence)),
        // A connection that the server has closed since is not a database that is gone.
        Err(StoreError::Database(_)) => {
            drop(lent);
            let lent = Lent(Some(lines.take()?));
            let (transaction, sequence) = open(&lent)?;
            Ok((lent, transaction, sequence))
        }
        Err(error) => Err(error),
    }
}

/// Commits. When the connection is lost meanwhile, the server is asked what became of the transaction, so that no write
/// that stands is answered as failed.
fn finish(lines: &Lines, lent: &mut Lent, transaction: &str, sequence: i64) -> Result<(), StoreError> {
    let result = lent.line(lines.ms_max()).and_then(|line| {
        let base: &dyn Base = &line;
        base.execute("UPDATE counter SET value = $1 WHERE name = 'commit'", values![sequence])?;
        line.batch("COMMIT")
    });
    match result {
        Ok(()) => {
            lent.keep();
            Ok(())
        }
        Err(error) => {
            drop(lent.0.take().map(deadpool_postgres::Object::take));
            match fate(lines, transaction) {
                Some(true) => Ok(()),
                _ => Err(error),
            }
        }
    }
}

/// Whether a transaction was committed; `None` when the server cannot be asked.
fn fate(lines: &Lines, transaction: &str) -> Option<bool> {
    for _ in 0..20 {
        let known = lines.read(|line| {
            let base: &dyn Base = line;
            base.one("SELECT pg_xact_status($1::text::xid8)", values![transaction], |row| row.text(0))
        });
        match known.ok()?.as_deref() {
            Some("committed") => return Some(true),
            // The old connection's end has not been noticed yet.
            Some("in progress") => std::thread::park_timeout(Duration::from_millis(50)),
            _ => return Some(false),
        }
    }
    None
}

/// Applies one task in a savepoint; undoes it alone when it fails or panics.
fn apply(line: &Line<'_>, mut session: Session<'_>, task: Task) -> Result<(), StoreError> {
    let work: WriteWork = match task {
        Task::Work(work) => work,
        Task::Record(record) => Box::new(move |writer| writer.append_audit(&record).map(|_| ())),
    };
    line.batch("SAVEPOINT work")?;
    // The session is dropped right after, and the database is put back by the savepoint: no broken state survives.
    let result = match catch_unwind(AssertUnwindSafe(|| work(&mut session))) {
        Ok(result) => result,
        Err(_) => Err(StoreError::Database("a work panicked".to_owned())),
    };
    let result = result.and_then(|()| line.flush());
    match result {
        Ok(()) => line.batch("RELEASE SAVEPOINT work"),
        Err(error) => {
            line.forget();
            line.batch("ROLLBACK TO SAVEPOINT work; RELEASE SAVEPOINT work")?;
            Err(error)
        }
    }
}
