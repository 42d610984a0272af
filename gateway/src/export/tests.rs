//! Exports over a real store: jobs driven block by block, permits from the real policy, grants as the compiler would
//! store them.

mod cohort;
mod hostile;
mod jobs;
mod world;
