//! The queue before a store's single writer, and its thread: who asks is answered once the commit is on disk. How works
//! become a commit is each store's own.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::audit::entry::AuditRecord;
use crate::decision::filter::Filter;
use crate::store::{StoreError, WriteReceipt, WriteWork, Writer};

/// A task and whom to answer.
pub(super) struct Job {
    /// What the task may see.
    pub(super) filter: Filter,
    /// The task.
    pub(super) task: Task,
    /// Told once the task is durable, or undone.
    pub(super) answer: Answer,
}

/// What the writer is asked to do.
pub(super) enum Task {
    /// Any changes, as one.
    Work(WriteWork),
    /// One record for the audit log: what every read waits for.
    Record(AuditRecord),
}

/// Takes the outcome of one task.
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The writer's queue and thread; dropping it lets what waits be written first.
pub(super) struct WriterThread {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    /// Starts the thread. `run` ends when no job can come any more; `queue_max` jobs may wait for it.
    pub(super) fn start(
        queue_max: usize,
        run: impl FnOnce(Receiver<Job>) + Send + 'static,
    ) -> Result<WriterThread, StoreError> {
        let (queue, jobs) = sync_channel(queue_max);
        let thread = std::thread::Builder::new()
            .name("sluis-writer".to_owned())
            .spawn(move || run(jobs))
            .map_err(|error| StoreError::Database(format!("the writer's thread did not start: {error}")))?;
        Ok(WriterThread { queue: Some(queue), thread: Some(thread) })
    }

    /// Queues a task; resolves once it is durable or undone. A full queue answers `Busy` at once.
    pub(super) fn queue(&self, filter: Filter, task: Task) -> WriteReceipt {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.submit(Job {
            filter,
            task,
            answer: Box::new(move |result| {
                // The caller may have gone (a closed connection); the write stands all the same.
                let _ = answer.send(result);
            }),
        });
        Box::pin(async move {
            match answered.await {
                Ok(result) => result,
                Err(_) => Err(stopped()),
            }
        })
    }

    /// Runs `work` on the writer and waits for the commit. For the gateway's own small numbers, not on a hot path.
    pub(super) fn write_now<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Writer) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = std::sync::mpsc::channel();
        let (value, values) = std::sync::mpsc::channel();
        self.submit(Job {
            filter: Filter::own_work(),
            task: Task::Work(Box::new(move |writer| {
                // The receiver waits below for as long as the job lives.
                let _ = value.send(work(writer)?);
                Ok(())
            })),
            answer: Box::new(move |result| {
                let _ = answer.send(result);
            }),
        });
        answered.recv().map_err(|_| stopped())??;
        values.recv().map_err(|_| stopped())
    }

    fn submit(&self, job: Job) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => (job.answer)(Err(StoreError::Busy)),
            Err(TrySendError::Disconnected(job)) => (job.answer)(Err(stopped())),
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the tasks of one commit: each its own failure, else what became of the commit.
pub(super) fn settle(outcome: &Result<(), StoreError>, answers: Vec<(Answer, Result<(), StoreError>)>) {
    for (answer, result) in answers {
        answer(match (outcome, result) {
            (_, Err(error)) => Err(error),
            (Ok(()), Ok(())) => Ok(()),
            (Err(error), Ok(())) => Err(error.again()),
        });
    }
}

fn stopped() -> StoreError {
    StoreError::Database("the writer has stopped".to_owned())
}
