//! The journal: records of looks, made durable by one append to a file beside the database, and moved into the log in it
//! later, many at once.
//!
//! A look changes nothing in the database, and a commit for its record alone makes every reading connection forget its
//! pages besides. So one thread writes what waits to the end of a file that has its full size already, syncs it once
//! and answers all; where many ask at once, it waits a moment for them ([`company`]). The writer moves what is durable into the log at the start of each of its commits, with the number of
//! the last record moved in the same transaction: after a crash each record is moved once, whatever was cut.
//!
//! Whatever cannot be taken here (no room, a file that failed, a log that takes no records) is given back, and the
//! writer appends it itself: refused there, nothing is told to the caller. docs/decisions/0014.

mod batch;
mod company;
mod file;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::audit::entry::AuditRecord;
use crate::decision::filter::Filter;
use crate::store::writer::{Task, WriterThread};
use crate::store::{StoreError, WriteReceipt};

use company::Company;
pub(super) use file::{Contents, JournalFile, beside};

/// Records that wait before the writer is asked to move them.
const FOLD_RECORDS: usize = 2_048;
/// How long a record waits for the writer to come by, until it is asked.
const FOLD_AFTER: Duration = Duration::from_millis(500);

/// The journal of one store; dropping it moves what it holds into the log.
pub(super) struct Journal {
    shared: Arc<Shared>,
    writer: Arc<WriterThread>,
    thread: Option<JoinHandle<()>>,
}

/// What the journal, its thread and the writer share.
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    queue_max: usize,
}

/// Records to be written, with whom to answer.
type Batch = Vec<(AuditRecord, oneshot::Sender<Result<(), StoreError>>)>;

struct State {
    queue: Batch,
    /// Bytes they take.
    queued: usize,
    /// How many of them the journal's thread waits for before it writes; it is woken for the first and for this one.
    wanted: usize,
    /// Durable records that are not in the log; the last has the number `written`.
    durable: VecDeque<AuditRecord>,
    /// Number of the last durable record.
    written: u64,
    /// Records are on their way to the disk, or into the log.
    appending: bool,
    folding: bool,
    /// Where the next batch goes, and the file's size.
    place: usize,
    room: usize,
    /// The file failed, or the log took no record: the writer appends.
    broken: bool,
    stuck: bool,
    /// The writer has been asked to come by.
    asked: bool,
    closing: bool,
}

impl State {
    /// Where the next batch goes: at the beginning as soon as all before it is in the log.
    fn start(&self) -> usize {
        let empty = self.durable.is_empty() && !self.appending && !self.folding;
        if empty { 0 } else { self.place }
    }

    /// Takes what waits as one batch, to be written at the place that is given back. Its room is taken at once: what is
    /// queued while it is written comes behind it.
    fn begin(&mut self) -> (usize, Batch) {
        let place = self.start();
        self.place = place + batch::whole(self.queued);
        self.queued = 0;
        self.appending = true;
        (place, std::mem::take(&mut self.queue))
    }
}

impl Shared {
    /// Of a file with what it still holds.
    pub(super) fn new(contents: Contents, queue_max: usize) -> Shared {
        let state = State {
            queue: Vec::new(),
            queued: 0,
            wanted: 1,
            durable: contents.waiting.into(),
            written: contents.last,
            appending: false,
            folding: false,
            place: contents.end,
            room: contents.room,
            broken: false,
            stuck: false,
            asked: false,
            closing: false,
        };
        Shared { state: Mutex::new(state), wake: Condvar::new(), queue_max }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether durable records wait for the log.
    pub(super) fn holds(&self) -> bool {
        !self.state().durable.is_empty()
    }

    /// Durable records for the log and the number of the last; whoever takes them says what became of them
    /// ([`Shared::folded`], [`Shared::kept`]). `None`: there are none.
    pub(super) fn take(&self) -> Option<(VecDeque<AuditRecord>, u64)> {
        let mut state = self.state();
        if state.durable.is_empty() || state.folding {
            return None;
        }
        state.folding = true;
        state.asked = false;
        Some((std::mem::take(&mut state.durable), state.written))
    }

    /// What was taken is in the log, durably.
    pub(super) fn folded(&self) {
        let mut state = self.state();
        state.folding = false;
        state.stuck = false;
    }

    /// What was taken is not in the log: it waits on, and the writer appends what comes until the log takes records again.
    pub(super) fn kept(&self, mut records: VecDeque<AuditRecord>) {
        let mut state = self.state();
        records.append(&mut state.durable);
        state.durable = records;
        state.folding = false;
        state.stuck = true;
    }

    /// Takes a record, or gives it back for the writer.
    fn append(&self, record: AuditRecord) -> Result<WriteReceipt, AuditRecord> {
        let mut state = self.state();
        let bytes = batch::size(&record);
        let end = state.start() + batch::whole(state.queued + bytes);
        if state.broken || state.stuck || state.closing || end > state.room {
            return Err(record);
        }
        if state.queue.len() >= self.queue_max {
            return Ok(Box::pin(std::future::ready(Err(StoreError::Busy))));
        }
        let (answer, answered) = oneshot::channel();
        state.queued += bytes;
        state.queue.push((record, answer));
        let waiting = state.queue.len();
        let wakes = waiting == 1 || waiting == state.wanted;
        drop(state);
        if wakes {
            self.wake.notify_one();
        }
        Ok(Box::pin(async move {
            let stopped = || StoreError::Database("the journal has stopped".to_owned());
            answered.await.unwrap_or_else(|_| Err(stopped()))
        }))
    }
}

impl Journal {
    /// Starts the journal's thread; `writer` moves what becomes durable.
    ///
    /// Errors: `Database` when there is no thread to be had.
    pub(super) fn start(
        file: JournalFile,
        shared: Arc<Shared>,
        writer: Arc<WriterThread>,
    ) -> Result<Journal, StoreError> {
        let (there, asks) = (Arc::clone(&shared), Arc::clone(&writer));
        let thread = std::thread::Builder::new()
            .name("sluis-journal".to_owned())
            .spawn(move || run(file, &there, &asks))
            .map_err(|error| StoreError::Database(format!("the journal's thread did not start: {error}")))?;
        Ok(Journal { shared, writer, thread: Some(thread) })
    }

    /// Takes a record and resolves once it is durable, or gives it back for the writer.
    ///
    /// Errors (of the receipt): `Busy` when too many wait, `DiskFull` or `Database` when the file failed.
    pub(super) fn append(&self, record: AuditRecord) -> Result<WriteReceipt, AuditRecord> {
        self.shared.append(record)
    }

    /// Moves everything that is durable now into the log, and waits until it is there.
    ///
    /// Errors: `Database` when the log takes no records; those of a commit.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        let waits = |state: MutexGuard<'_, State>| !state.durable.is_empty() || state.folding;
        if !waits(self.shared.state()) {
            return Ok(());
        }
        self.writer.write_now(|_| Ok(()))?;
        match self.shared.state().stuck {
            true => Err(StoreError::Database("records wait that the log does not take".to_owned())),
            false => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if let Err(error) = self.settle() {
            tracing::error!(error = %error, "records of looks stay in the journal until the next start");
        }
    }
}

fn run(mut file: JournalFile, shared: &Shared, writer: &WriterThread) {
    // Nobody waits for the answer: the writer takes what is here at the start of any commit.
    let ask = || drop(writer.queue(Filter::own_work(), Task::Work(Box::new(|_| Ok(())))));
    let mut company = Company::default();
    loop {
        let mut state = shared.state();
        while state.queue.is_empty() {
            if state.closing {
                return;
            }
            if state.durable.is_empty() || state.asked {
                state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (back, waited) =
                shared.wake.wait_timeout(state, FOLD_AFTER).unwrap_or_else(PoisonError::into_inner);
            state = back;
            if waited.timed_out() && !state.durable.is_empty() && !state.asked {
                state.asked = true;
                drop(state);
                ask();
                state = shared.state();
            }
        }
        state.wanted = company.wanted();
        let alone = |state: &mut State| state.queue.len() < state.wanted && !state.closing;
        let gathered = shared.wake.wait_timeout_while(state, company.patience(), alone);
        let (mut state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
        let (place, taken) = state.begin();
        let first = state.written + 1;
        drop(state);

        let began = Instant::now();
        let done = file.append(place, first, taken.iter().map(|(record, _)| record));
        let took = began.elapsed();
        let mut answers = Vec::with_capacity(taken.len());
        let mut state = shared.state();
        state.appending = false;
        company.met(taken.len(), state.queue.len(), took);
        let failed = match done {
            Ok(end) => {
                state.place = end;
                state.written += taken.len() as u64;
                for (record, answer) in taken {
                    state.durable.push_back(record);
                    answers.push(answer);
                }
                None
            }
            Err(error) => {
                // What reached the disk is not known, and a file that failed once is not written again.
                state.broken = true;
                answers.extend(taken.into_iter().map(|(_, answer)| answer));
                tracing::error!(error = %error, "the journal of looks failed; records go to the log directly");
                Some(error)
            }
        };
        let full = state.durable.len() >= FOLD_RECORDS && !state.asked;
        state.asked |= full;
        drop(state);
        for answer in answers {
            // The caller may have gone; its record stands all the same.
            let _ = answer.send(failed.as_ref().map_or(Ok(()), |error| Err(error.again())));
        }
        if full {
            ask();
        }
    }
}

#[cfg(test)]
mod tests;
