//! Counters and histograms as atomics, and their text for a scraper.
//!
//! Labels are short fixed words (interaction names, status classes): a label from a request would let its sender grow the
//! registry, so names and labels are `'static` here.
//! Source: Prometheus text exposition format 0.0.4

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

/// Labels of one series, in the order they are printed.
type Labels = Vec<(&'static str, &'static str)>;

/// All series of one gateway.
#[derive(Debug, Default)]
pub struct Metrics {
    families: RwLock<BTreeMap<&'static str, Family>>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    series: BTreeMap<Labels, Series>,
}

#[derive(Debug, Clone)]
enum Series {
    Counter(Arc<Counter>),
    Histogram(Arc<Histogram>),
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Its value.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets in microseconds: 0.1 ms to 30 s.
const BOUNDS_US: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Durations, counted by size.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some((_, bucket)) = BOUNDS_US.iter().zip(&self.buckets).find(|(bound, _)| us <= **bound) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }
}

impl Metrics {
    /// The counter of that name and labels, made on first use. Keep it where it is used often.
    pub fn counter(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
    ) -> Arc<Counter> {
        match self.series(name, help, labels, || Series::Counter(Arc::default())) {
            Series::Counter(counter) => counter,
            // One name, two kinds: a fault here must not stop a request, so it counts into nothing.
            Series::Histogram(_) => Arc::default(),
        }
    }

    /// The histogram of that name and labels, made on first use.
    pub fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
    ) -> Arc<Histogram> {
        match self.series(name, help, labels, || Series::Histogram(Arc::default())) {
            Series::Histogram(histogram) => histogram,
            Series::Counter(_) => Arc::default(),
        }
    }

    fn series(
        &self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &'static str)],
        make: impl FnOnce() -> Series,
    ) -> Series {
        // A poisoned lock guards maps that are only ever added to.
        let families = self.families.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(series) = families.get(name).and_then(|family| family.series.get(labels)) {
            return series.clone();
        }
        drop(families);
        let mut families = self.families.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let family = families.entry(name).or_insert_with(|| Family { help, series: BTreeMap::new() });
        family.series.entry(labels.to_vec()).or_insert_with(make).clone()
    }

    /// Everything, as a scraper reads it (`text/plain; version=0.0.4`).
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        let families = self.families.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        for (name, family) in families.iter() {
            let kind = match family.series.values().next() {
                Some(Series::Histogram(_)) => "histogram",
                _ => "counter",
            };
            // Writing into a String does not fail.
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", family.help);
            for (labels, series) in &family.series {
                match series {
                    Series::Counter(counter) => {
                        let _ = writeln!(text, "{name}{} {}", written(labels, None), counter.value());
                    }
                    Series::Histogram(histogram) => write_histogram(&mut text, name, labels, histogram),
                }
            }
        }
        text
    }
}

fn write_histogram(text: &mut String, name: &str, labels: &Labels, histogram: &Histogram) {
    let mut below = 0;
    for (bound, bucket) in BOUNDS_US.iter().zip(&histogram.buckets) {
        below += bucket.load(Ordering::Relaxed);
        let bound = (*bound as f64 / 1e6).to_string();
        let _ = writeln!(text, "{name}_bucket{} {below}", written(labels, Some(&bound)));
    }
    let count = histogram.count.load(Ordering::Relaxed);
    let sum = histogram.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
    let _ = writeln!(text, "{name}_bucket{} {count}", written(labels, Some("+Inf")));
    let _ = writeln!(text, "{name}_sum{} {sum}", written(labels, None));
    let _ = writeln!(text, "{name}_count{} {count}", written(labels, None));
}

fn written(labels: &Labels, bound: Option<&str>) -> String {
    let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
    let parts: Vec<String> = all.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_into_every_bucket_above() {
        let metrics = Metrics::default();
        let histogram = metrics.histogram("h_seconds", "h", &[]);
        for us in [50, 300, 40_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let text = metrics.exposition();
        for line in [
            "# TYPE h_seconds histogram",
            "h_seconds_bucket{le=\"0.0001\"} 1",
            "h_seconds_bucket{le=\"0.0005\"} 2",
            "h_seconds_bucket{le=\"30\"} 2",
            "h_seconds_bucket{le=\"+Inf\"} 3",
            "h_seconds_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn one_name_is_one_series() {
        let metrics = Metrics::default();
        metrics.counter("c", "c", &[("a", "x")]).add(1);
        metrics.counter("c", "c", &[("a", "x")]).add(2);
        metrics.counter("c", "c", &[("a", "y")]).add(5);
        assert!(metrics.exposition().ends_with("c{a=\"x\"} 3\nc{a=\"y\"} 5\n"));
    }
}
