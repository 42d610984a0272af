//! How far the index of the rows has come: what tells a search whether a parameter of the operator can be asked yet.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Progress of a reindex, shared by the work and those who ask.
#[derive(Debug)]
pub struct Indexing {
    whole: AtomicBool,
    done: AtomicI64,
    of: AtomicI64,
    content: bool,
}

impl Default for Indexing {
    /// Nothing to do.
    fn default() -> Indexing {
        Indexing {
            whole: AtomicBool::new(true),
            done: AtomicI64::new(0),
            of: AtomicI64::new(0),
            content: false,
        }
    }
}

impl Indexing {
    /// Nothing to do; `content`: words of texts are indexed.
    pub fn of(content: bool) -> Indexing {
        Indexing { content, ..Indexing::default() }
    }

    /// Whether words of texts are indexed.
    pub fn has_content(&self) -> bool {
        self.content
    }

    /// Not all rows are known to be indexed.
    pub fn begin(&self) {
        self.whole.store(false, Ordering::Release);
    }

    /// Rows up to this key, of keys up to `of`, are indexed.
    pub fn reach(&self, done: i64, of: i64) {
        self.done.store(done, Ordering::Relaxed);
        self.of.store(of, Ordering::Relaxed);
    }

    /// All rows are indexed, and looked at once more.
    pub fn finish(&self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Whether every row is indexed.
    pub fn is_whole(&self) -> bool {
        self.whole.load(Ordering::Acquire)
    }

    /// How far this pass has come, 0 to 100.
    pub fn percent(&self) -> i64 {
        let of = self.of.load(Ordering::Relaxed).max(1);
        (self.done.load(Ordering::Relaxed).saturating_mul(100) / of).clamp(0, 100)
    }
}
