//! The record of every look (NEN 7513, IHE BALP). It is durable before the body leaves; a write and its record share a
//! transaction.
//!
//! One interaction makes one record ([`entry`]), however many patients it touched; read back, it becomes one AuditEvent
//! for each patient ([`event`]). Records are chained ([`chain`]) and the chain's head is signed now and then
//! ([`checkpoint`]), so that a later change shows ([`trail`]).

pub mod chain;

pub mod entry;

pub mod checkpoint;

pub mod event;

pub mod trail;
