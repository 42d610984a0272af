//! Sluis: a FHIR R4 gateway between care lines.
//!
//! The modules below stand in the order a request meets them; `docs/architecture.md` walks a read, an ingest and an
//! export through them. [`Gateway::handle`] is the whole request on one page.

pub mod config;

pub mod clock;

pub mod ids;

pub mod connection;

pub mod identity;

pub mod decision;

pub mod interaction;

pub mod search;

pub mod library;

pub mod store;

pub mod response;

pub mod audit;

pub mod ingest;

pub mod jobs;

pub mod export;

pub mod telemetry;

pub mod gateway;

pub mod run;

pub mod demo;

pub use gateway::Gateway;
