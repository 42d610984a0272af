//! Time and randomness, handed in: production reads the machine, tests hand in fixed ones.
//!
//! Nothing else in the gateway reads a clock or draws a random number.

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
        let mut random = [0; 10];
        self.random(&mut random);
        let millis = u64::try_from(self.now().0 / 1000).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
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
