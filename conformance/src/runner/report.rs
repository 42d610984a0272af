//! What held and what did not.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::script::{Claim, Script};

/// Collects results.
#[derive(Debug, Default)]
pub(crate) struct Report {
    out: String,
    results: HashMap<String, bool>,
    passed: usize,
    failed: usize,
}

impl Report {
    /// Adds a script's result.
    pub(crate) fn add(&mut self, script: &Script, result: Result<usize, String>) {
        self.results.insert(script.name.clone(), result.is_ok());
        // Writing to a String cannot fail.
        let _ = match result {
            Ok(steps) => {
                self.passed += 1;
                writeln!(self.out, "ok      {:<28} {steps:>3} steps  {}", script.name, script.proves)
            }
            Err(error) => {
                self.failed += 1;
                writeln!(
                    self.out,
                    "FAILED  {:<28} {} [{}]\n        {error}",
                    script.name, script.proves, script.source
                )
            }
        };
    }

    /// Checks that every claim has its proof.
    pub(crate) fn claims(&mut self, claims: &[Claim]) {
        for claim in claims {
            let proved = !claim.scripts.is_empty()
                && claim.scripts.iter().all(|name| self.results.get(name) == Some(&true));
            let _ = match (&claim.not_claimed, proved) {
                (Some(why), _) => writeln!(self.out, "not claimed: {} ({why})", claim.sentence),
                (None, true) => writeln!(self.out, "proved:      {}", claim.sentence),
                (None, false) => {
                    self.failed += 1;
                    writeln!(
                        self.out,
                        "UNPROVED:    {} (scripts: {})",
                        claim.sentence,
                        claim.scripts.join(", ")
                    )
                }
            };
        }
    }

    /// Adds what the statement and the claims disagree on.
    pub(crate) fn faults(&mut self, faults: &[String]) {
        for fault in faults {
            self.failed += 1;
            // Writing to a String cannot fail.
            let _ = writeln!(self.out, "FAILED  {fault}");
        }
    }

    /// Whether all held.
    pub(crate) fn passed(&self) -> bool {
        self.failed == 0
    }

    /// The report, ending in a line `N passed, N failed`.
    pub(crate) fn text(&self) -> String {
        format!("{}{} passed, {} failed\n", self.out, self.passed, self.failed)
    }
}
