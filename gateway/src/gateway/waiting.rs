//! What waits for mending, by organisation, in the words of a scraper.
//!
//! Asked of the store at each scrape, so that every gateway on one database says the same and a restart forgets nothing.
//! Source: Prometheus text exposition format 0.0.4

use std::fmt::Write as _;

use super::Gateway;
use crate::clock::Timestamp;
use crate::decision::{self, organisation};
use crate::store::StoreError;
use crate::store::quarantine::{QuarantineDepth as Depth, QuarantineQuery};

impl Gateway {
    /// Lines of the two gauges, for every organisation that takes part.
    ///
    /// Errors: the store's own.
    pub(super) fn waiting(&self, now: Timestamp) -> Result<String, StoreError> {
        let parts = self.parts();
        let permit = decision::system(&parts.policy, now, "metrics");
        let mut senders = Vec::new();
        for (ura, _) in parts.organisations.iter() {
            senders.push((ura.as_str(), parts.store.party(&organisation::party_of(ura))?));
        }
        let mut found = Vec::new();
        parts.store.read(&permit, &mut |reader| {
            found.clear();
            for (organisation, sender) in &senders {
                let query = QuarantineQuery { sender: *sender, discarded: false, cause: None };
                found.push((*organisation, reader.quarantine_depth(query)?));
            }
            Ok(())
        })?;
        Ok(written(&found, now))
    }
}

fn written(found: &[(&str, Depth)], now: Timestamp) -> String {
    let age = |depth: &Depth| depth.oldest.map_or(0, |oldest| (now.0 - oldest.0).max(0) / 1_000_000);
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Depth) -> u64| {
        // Writing into a String does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (organisation, depth) in found {
            let _ = writeln!(text, "{name}{{organisation=\"{organisation}\"}} {}", value(depth));
        }
    };
    gauge("sluis_quarantine_units", "Units of an organisation that wait for mending.", &|depth| depth.units);
    gauge(
        "sluis_quarantine_oldest_seconds",
        "Seconds since the first try of the one that waits longest; 0 when nothing waits.",
        &|depth| age(depth).unsigned_abs(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_age_stand_beside_each_other() {
        let second = 1_000_000;
        let found = [
            ("90000101", Depth { units: 3, causes: 1, oldest: Some(Timestamp(40 * second)) }),
            ("90000201", Depth::default()),
        ];
        let text = written(&found, Timestamp(100 * second + 1));
        for line in [
            "# TYPE sluis_quarantine_units gauge",
            "sluis_quarantine_units{organisation=\"90000101\"} 3",
            "sluis_quarantine_units{organisation=\"90000201\"} 0",
            "sluis_quarantine_oldest_seconds{organisation=\"90000101\"} 60",
            "sluis_quarantine_oldest_seconds{organisation=\"90000201\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
