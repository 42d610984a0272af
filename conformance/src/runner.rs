//! Parts of the runner: scripts, requests, checks, report.

pub(crate) mod http;

pub(crate) mod script;

pub(crate) mod play;

pub(crate) mod report;

pub(crate) mod statement;
