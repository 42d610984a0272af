//! Numbers drawn from a seed: every run asks for the same things in the same order.

/// SplitMix64: small, fast, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// A sequence of its own for each `seed` and `stream`.
    pub(crate) fn new(seed: u64, stream: u64) -> Rng {
        Rng(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is at least 1.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `these`.
    pub(crate) fn of<'t, T: ?Sized>(&mut self, these: &[&'t T]) -> &'t T {
        these[self.below(these.len())]
    }

    /// Seconds until the next of arrivals that come `rate` a second, at random (exponential).
    pub(crate) fn pause(&mut self, rate: f64) -> f64 {
        -(1.0 - self.share()).ln() / rate
    }
}

/// Which of many patients a request is about.
#[derive(Debug, Clone)]
pub(crate) enum Spread {
    /// Each as often as any other.
    Uniform(usize),
    /// By Zipf's law: the k-th most asked for is asked for 1/k^s as often, here with s = 0.99 (as in YCSB).
    Zipf(Vec<f64>),
}

impl Spread {
    /// Over `count` of them.
    pub(crate) fn new(zipf: bool, count: usize) -> Spread {
        if !zipf {
            return Spread::Uniform(count);
        }
        let mut sum = 0.0;
        let mut sums: Vec<f64> = (1..=count.max(1))
            .map(|rank| {
                sum += (rank as f64).powf(-0.99);
                sum
            })
            .collect();
        for at in &mut sums {
            *at /= sum;
        }
        Spread::Zipf(sums)
    }

    /// The next one. Ranks are scattered, so that those asked for often do not lie beside each other.
    pub(crate) fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Spread::Uniform(count) => rng.below(*count),
            Spread::Zipf(sums) => {
                let share = rng.share();
                let rank = sums.partition_point(|sum| *sum < share).min(sums.len() - 1);
                (rank * 7_919) % sums.len()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_asks_for_few_often_and_uniform_for_all_alike() {
        let often = |zipf| {
            let (spread, mut rng) = (Spread::new(zipf, 1_000), Rng::new(1, 0));
            let mut counts = vec![0; 1_000];
            for _ in 0..100_000 {
                counts[spread.draw(&mut rng)] += 1;
            }
            counts.sort_unstable();
            counts.iter().rev().take(10).sum::<u32>()
        };
        assert!(often(true) > 30_000, "{}", often(true));
        assert!(often(false) < 2_000, "{}", often(false));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |stream| {
            let mut rng = Rng::new(7, stream);
            [rng.next(), rng.next()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
