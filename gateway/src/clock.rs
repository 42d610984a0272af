//! Time and randomness, handed in: production reads the machine, tests hand in fixed ones.
//!
//! Nothing else in the gateway reads a clock or draws a random number.

use std::cell::RefCell;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Before everything the gateway can hold.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// After everything the gateway can hold.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// Whole seconds since the epoch (JWT `iat`, `exp`).
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment plus `seconds`.
    pub fn plus_seconds(self, seconds: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Days since the epoch (the `day` column of a resource).
    pub fn day(self) -> i32 {
        i32::try_from(self.0.div_euclid(86_400_000_000)).unwrap_or(i32::MAX)
    }

    /// FHIR `instant` with milliseconds, UTC: `2026-11-23T21:45:00.000Z` (FHIR R4 datatypes.html#instant).
    pub fn to_instant(self) -> String {
        let timestamp = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        timestamp.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

/// Where the gateway gets time and randomness from.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with unpredictable ones.
    fn random(&self, bytes: &mut [u8]);

    /// A fresh identifier: a UUID in its lower-case hyphened form, ordered by time.
    fn uuid(&self) -> uuid::Uuid {
        let mut random = [0; ID_RANDOM_BYTES];
        self.random(&mut random);
        id_at(self.now(), random)
    }
}

/// Random bytes in an id (RFC 9562 section 5.7).
const ID_RANDOM_BYTES: usize = 10;

fn id_at(now: Timestamp, random: [u8; ID_RANDOM_BYTES]) -> uuid::Uuid {
    let millis = u64::try_from(now.0 / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The machine's clock and random source.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }

    fn random(&self, bytes: &mut [u8]) {
        // aws-lc aborts a process whose random source fails, so an error here means a broken build, not a state to
        // serve in; zero bytes would make ids guessable, hence the stop.
        if aws_lc_rs::rand::fill(bytes).is_err() {
            std::process::abort();
        }
    }

    fn uuid(&self) -> uuid::Uuid {
        let random = AHEAD.with_borrow_mut(|ahead| ahead.next(self));
        id_at(self.now(), random)
    }
}

/// Random bytes drawn for several ids at once: each draw begins by seeding the generator anew, which takes longer than
/// all else about an id. For ids alone: what must stay secret is drawn when it is needed.
struct Ahead {
    drawn: [u8; 32 * ID_RANDOM_BYTES],
    used: usize,
}

thread_local! {
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead { drawn: [0; 32 * ID_RANDOM_BYTES], used: usize::MAX }) };
}

impl Ahead {
    fn next(&mut self, clock: &System) -> [u8; ID_RANDOM_BYTES] {
        if self.used >= self.drawn.len() {
            clock.random(&mut self.drawn);
            self.used = 0;
        }
        let mut bytes = [0; ID_RANDOM_BYTES];
        if let Some(drawn) = self.drawn.get_mut(self.used..self.used + ID_RANDOM_BYTES) {
            // None is given out twice, and none is left behind.
            bytes.swap_with_slice(drawn);
        }
        self.used += ID_RANDOM_BYTES;
        bytes
    }
}

/// A clock that stands still until told, with a counted, repeatable "randomness". For tests and the demo region.
#[derive(Debug)]
pub struct Fixed {
    now: AtomicI64,
    drawn: AtomicU64,
}

impl Fixed {
    /// Stands at `now`.
    pub fn at(now: Timestamp) -> Fixed {
        Fixed { now: AtomicI64::new(now.0), drawn: AtomicU64::new(0) }
    }

    /// Moves the hands forward by `seconds`.
    pub fn advance_seconds(&self, seconds: i64) {
        self.now.fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn random(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let draw = self.drawn.fetch_add(1, Ordering::SeqCst);
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &draw.to_be_bytes());
            let (head, _) = digest.as_ref().split_at(chunk.len());
            chunk.copy_from_slice(head);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_drawn_ahead_are_all_different() {
        let ids: HashSet<_> = (0..100).map(|_| System.uuid()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        // The random part too, whatever the moment.
        let random: HashSet<_> = ids.iter().map(|id| id.as_bytes()[9..].to_vec()).collect();
        assert_eq!(random.len(), 100);
    }
}
