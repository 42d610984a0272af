//! Sluis mappings: bytes of a local EPD format in, FHIR R4 resources and findings out.
//!
//! `source` (bytes -> tree) -> `fml` (map text -> rules) -> `plan` (rules compiled and run) with `codes` tables;
//! `case` proves maps by file pairs. Invariant: no I/O, no clock, no randomness, no network; output is a function of
//! the input.

pub mod source;

pub mod finding;
