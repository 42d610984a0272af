//! For how many records one sync of the journal is worth waiting.
//!
//! Who was just answered asks again soon, and who asks while a sync is under way waits for the next. Left to themselves the
//! askers fall into two halves that take turns, and each sync serves one of them: twice as many syncs as there need be, each
//! dearer than a read. So the next batch waits for those whom the last one answered as well, but never for longer than
//! half of what a sync takes, and not at all for somebody who asks alone.

use std::time::Duration;

/// Askers from which on they are taken to be many. Two may meet by chance.
const MANY: usize = 3;
/// The longest wait, whatever a sync takes.
const PATIENCE_MAX: Duration = Duration::from_micros(500);

/// Who asked lately.
#[derive(Debug, Default)]
pub(super) struct Company {
    askers: usize,
    /// How long the last sync took.
    sync: Duration,
}

impl Company {
    /// A batch of so many records was synced, and so many came meanwhile.
    pub(super) fn met(&mut self, answered: usize, waiting: usize, sync: Duration) {
        self.askers = answered + waiting;
        self.sync = sync;
    }

    /// Records the next batch waits for, at least 1.
    pub(super) fn wanted(&self) -> usize {
        if self.askers < MANY { 1 } else { self.askers }
    }

    /// How long it waits for them.
    pub(super) fn patience(&self) -> Duration {
        (self.sync / 2).min(PATIENCE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    #[test]
    fn one_alone_is_not_kept_waiting_and_two_halves_become_one() {
        let mut company = Company::default();
        assert_eq!((company.wanted(), company.patience()), (1, Duration::ZERO));
        company.met(1, 1, 300 * US);
        assert_eq!(company.wanted(), 1);
        company.met(8, 8, 300 * US);
        assert_eq!((company.wanted(), company.patience()), (16, 150 * US));
        // All of them came, and there is nobody else to wait for.
        company.met(16, 0, 40_000 * US);
        assert_eq!((company.wanted(), company.patience()), (16, PATIENCE_MAX));
        // They have gone.
        company.met(1, 0, 300 * US);
        assert_eq!(company.wanted(), 1);
    }
}
