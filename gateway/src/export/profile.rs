//! What may leave, as a table: an allow-list of elements per type, and the rule each passes through.
//!
//! Works on the stored bytes: what leaves is written from slices of them, so decimals keep their digits. What it cannot
//! make pseudonymous without changing its meaning it withholds, and the job counts that. Who may have it at all was
//! decided before, by consent and role.
//!
//! The table is `gateway/policy/export-research.toml`; its head explains the rules.

mod emit;
mod guard;
mod table;

pub use emit::{Subject, Withheld};
pub use guard::Identity;
pub use table::{Profile, ProfileError};

pub(crate) mod date;
pub(crate) mod form;
