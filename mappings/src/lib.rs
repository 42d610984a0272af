//! Sluis mappings: bytes of a local EPD format in, FHIR R4 resources and findings out.
//!
//! `source` (bytes -> tree) -> `fml` (map text -> rules) -> `plan` (rules compiled and run) with `codes` tables;
//! `model` knows types besides R4; `folder` holds what one sender needs, `run` puts them together, `output` is what the gateway gets; `case` proves
//! maps by file pairs. Invariant: no I/O, no clock, no randomness, no network; output is a function of the input.

pub mod source;

pub mod folder;

pub mod model;

pub mod fml;

pub mod plan;

pub mod run;

pub mod codes;

pub mod directive;

pub mod output;

pub mod bsn;

pub mod finding;

pub mod case;
