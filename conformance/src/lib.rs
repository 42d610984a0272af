//! What FHIR R4 says, as data and as checks: the first thing a body meets and the last thing a mapping's result meets.
//!
//! `json` reads bytes into a tree that keeps every digit, `xml` reads FHIR XML into that tree and writes it again,
//! `definitions` knows the elements and search parameters of R4 4.0.1, `path` finds what a search indexes, `fhirpath`
//! evaluates invariants, `validate` refuses what R4 forbids. Nothing here does I/O, reads a clock or draws a random number (the `sluis-definitions` tool,
//! behind the feature `tools`, is the one exception).

pub mod json;

pub mod xml;

pub mod definitions;

pub mod path;

pub mod fhirpath;

pub mod validate;
