//! Whole-gateway tests: a [`world::World`] is a real gateway on loopback with TLS, tokens, database, consent and audit.
//! With `SLUIS_TEST_STORE=postgres` every world is on the server that `SLUIS_TEST_POSTGRES` names.

pub mod client;

pub mod database;

pub mod properties;

pub mod relay;

pub mod world;
