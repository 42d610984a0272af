//! Whole-gateway tests: a [`world::World`] is a real gateway on loopback with TLS, tokens, database, consent and audit.

pub mod client;

pub mod properties;

pub mod world;
