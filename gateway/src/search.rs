//! Text of a search -> typed criteria -> plan -> SQL of one dialect.
//!
//! `parameter` reads what a client wrote and refuses what it does not understand, `plan` chooses how the rows are found,
//! `sql` writes that down for the store's database. None of them does I/O; the store runs the result inside its snapshot and adds the
//! permit's filter to every alias.

pub mod criterion;

pub mod parameter;

pub mod terms;

pub mod plan;

pub mod sql;

pub mod indexing;

pub mod text;

pub mod words;

pub mod unit;
