//! This gateway's writer: a thread that takes what waits, applies each work in a savepoint of its own, commits them as one
//! and answers all once that is on disk. What a commit costs is its round trips to the server: a turn is taken in one,
//! records of the log go in one, the commit is one. A connection is taken for each commit, so that a database that was gone and is
//! back is written to again without anybody's help.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::Settings;
use super::base::Line;
use super::pool::{Lent, Lines};
use crate::audit::entry::AuditRecord;
use crate::decision::filter::Filter;
use crate::store::session::base::{Base, impossible, values};
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

/// Applies one group of jobs and answers them. Records of the log are gathered and appended as one, at its end.
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
    let Turn { mut lent, transaction, mut sequence, head } = match begin(lines) {
        Ok(begun) => begun,
        Err(error) => {
            tracing::error!(error = %error, "no transaction could be opened");
            (first.answer)(Err(error.within(limit)));
            return;
        }
    };
    // Another gateway may have appended since.
    hand.log_head = Some(head);
    let started = Instant::now();
    let span = Duration::from_millis(settings.group_ms_max);
    let before = sequence;
    let mut answers: Vec<(Answer, Result<(), StoreError>)> = Vec::new();
    let mut records: Vec<(AuditRecord, Answer)> = Vec::new();
    let mut next = Some(first);
    let mut outcome = Ok(());
    while let Some(Job { filter, task, answer }) = next.take() {
        match task {
            Task::Record(record) => records.push((record, answer)),
            Task::Work(work) => {
                // Pages of a search are told apart by it, and a record of the log is on none.
                sequence += 1;
                let pen = Pen { sequence, hand: &mut *hand };
                let desk = Desk { lent: &lent, names, settings, limit };
                let result = desk.apply(&filter, pen, work, &mut outcome);
                if result.is_err() {
                    // What the undone work interned is gone from the database.
                    hand.clear();
                }
                answers.push((answer, result));
            }
        }
        let taken = answers.len() + records.len();
        if outcome.is_ok() && taken < settings.group_max && started.elapsed() < span {
            next = jobs.try_recv().ok();
        }
    }
    let desk = Desk { lent: &lent, names, settings, limit };
    answers.extend(desk.append(records, sequence, hand, &mut outcome));
    *tail = tail.saturating_add(std::mem::take(&mut hand.records));
    if outcome.is_ok() && *tail >= settings.audit_tail_max {
        *tail = lent.line(limit).and_then(|line| index_log(&line, settings)).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the audit log's index waits; a search of the log walks further");
            0
        });
    }
    let last = (sequence > before).then_some(sequence);
    let outcome = outcome.and_then(|()| finish(lines, &mut lent, &transaction, last));
    if let Err(error) = &outcome {
        hand.clear();
        tracing::error!(works = answers.len(), error = %error, "a commit failed; its works are undone");
    }
    settle(&outcome, answers);
}

/// What the tasks of one commit are applied with.
struct Desk<'d> {
    lent: &'d Lent,
    names: &'d NameTable,
    settings: &'d Settings,
    limit: u64,
}

impl Desk<'_> {
    /// Applies a work in a savepoint. A connection that is lost meanwhile is the outcome of all.
    fn apply(
        &self,
        filter: &Filter,
        pen: Pen<'_>,
        work: WriteWork,
        outcome: &mut Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let applied = self.lent.line(self.limit).and_then(|line| {
            let session = Session::new(&line, self.names, self.settings.bounds(), filter, Some(pen));
            let result = apply(&line, session, work);
            if line.broken() {
                *outcome = Err(StoreError::Database("the connection was lost".to_owned()));
            }
            result
        });
        applied.map_err(|error| error.within(self.limit))
    }

    /// Appends records as one; when that fails, each alone, so that only what cannot be written is refused.
    fn append(
        &self,
        records: Vec<(AuditRecord, Answer)>,
        sequence: i64,
        hand: &mut Hand,
        outcome: &mut Result<(), StoreError>,
    ) -> Vec<(Answer, Result<(), StoreError>)> {
        if records.is_empty() {
            return Vec::new();
        }
        let (records, answers): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        if outcome.is_err() {
            return answers.into_iter().map(|answer| (answer, Ok(()))).collect();
        }
        let whole = self.lent.line(self.limit).and_then(|line| {
            let head = match hand.log_head {
                Some(head) => head,
                None => log::audit_head(&line)?,
            };
            let appended = line.append(head, &records);
            if line.broken() {
                *outcome = Err(StoreError::Database("the connection was lost".to_owned()));
            } else if appended.is_err() {
                line.batch("ROLLBACK TO SAVEPOINT records; RELEASE SAVEPOINT records")?;
            }
            appended
        });
        match whole {
            Ok(head) => {
                hand.log_head = Some(head);
                hand.records += records.len() as u64;
                answers.into_iter().map(|answer| (answer, Ok(()))).collect()
            }
            Err(_) if outcome.is_err() => answers.into_iter().map(|answer| (answer, Ok(()))).collect(),
            Err(_) => {
                hand.clear();
                let mut settled = Vec::with_capacity(answers.len());
                for (record, answer) in records.into_iter().zip(answers) {
                    let pen = Pen { sequence, hand: &mut *hand };
                    let work: WriteWork = Box::new(move |writer| writer.append_audit(&record).map(|_| ()));
                    let result = self.apply(&Filter::own_work(), pen, work, outcome);
                    if result.is_err() {
                        hand.clear();
                    }
                    settled.push((answer, result));
                }
                settled
            }
        }
    }
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

/// This gateway's turn to write.
struct Turn {
    lent: Lent,
    /// Number of the transaction.
    transaction: String,
    /// Sequence of the last work applied by any gateway.
    sequence: i64,
    /// Number and hash of the log's last record.
    head: (u64, [u8; 32]),
}

/// All in one flight. READ COMMITTED: after waiting for another gateway's commit, the statements behind see it.
const BEGIN: &str = "BEGIN; SELECT value FROM counter WHERE name = 'commit' FOR UPDATE; \
    SELECT pg_current_xact_id()::text, coalesce(a.sequence, 0), coalesce(encode(a.hash, 'hex'), repeat('0', 64)) \
    FROM (SELECT 1) one LEFT JOIN (SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1) a ON TRUE";

/// Opens the transaction and takes this gateway's turn.
fn begin(lines: &Lines) -> Result<Turn, StoreError> {
    let (lent, (sequence, transaction, head)) = lines.opened(|line| {
        let said = line.told(BEGIN)?;
        let [turn, state] = said.as_slice() else { return Err(impossible("a turn of other rows")) };
        let number = |text: &str| text.parse::<i64>().map_err(|_| impossible("a number that is none"));
        match (turn.as_slice(), state.as_slice()) {
            ([sequence], [transaction, last, hash]) => {
                let head = (u64::try_from(number(last)?).unwrap_or(0), digest(hash)?);
                Ok((number(sequence)?, transaction.clone(), head))
            }
            _ => Err(impossible("a turn of other columns")),
        }
    })?;
    Ok(Turn { lent, transaction, sequence, head })
}

/// A hash in hexadecimal.
fn digest(text: &str) -> Result<[u8; 32], StoreError> {
    let wrong = || impossible("a chain hash that is not 32 bytes");
    let mut hash = [0; 32];
    if text.len() != 64 {
        return Err(wrong());
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        let pair = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

/// Commits, with the sequence of the last work if there was one. When the connection is lost meanwhile, the server is
/// asked what became of the transaction, so that no write that stands is answered as failed.
fn finish(lines: &Lines, lent: &mut Lent, transaction: &str, last: Option<i64>) -> Result<(), StoreError> {
    // A transaction that had failed would be undone by its COMMIT, and that be called a success: the statement before it
    // fails then.
    let text = match last {
        Some(last) => format!("UPDATE counter SET value = {last} WHERE name = 'commit'; COMMIT"),
        None => "SELECT 1; COMMIT".to_owned(),
    };
    match lent.line(lines.ms_max()).and_then(|line| line.batch(&text)) {
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

/// Applies one work in a savepoint; undoes it alone when it fails or panics.
fn apply(line: &Line<'_>, mut session: Session<'_>, work: WriteWork) -> Result<(), StoreError> {
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
