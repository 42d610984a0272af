//! Who is asking: the facts a verified token (and certificate) established, nothing a caller can merely claim.

use crate::clock::Timestamp;
use crate::ids::{ResourceId, Ura};

/// A verified caller. Made by `identity` only from a token whose signature, audience, time, client and (when bound)
/// certificate were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Registered client (an EPD system, portal or data platform).
    pub client: Box<str>,
    /// The organisation the client acts for.
    pub organisation: Ura,
    /// Professional at the keys, when the token carries one.
    pub user: Option<User>,
    /// The patient herself (or her representative), when she is the one asking.
    pub patient: Option<ResourceId>,
    /// Purpose of use: v3-PurposeOfUse code (`TREAT`, `ETREAT`, `HRESCH`, `HQUALIMP`, `PATRQT`, `HOPERAT`).
    pub purpose: Box<str>,
    /// SMART scopes granted in the token, e.g. `system/Observation.rs`.
    pub scopes: Vec<Scope>,
    /// `jti` of the access token, for the audit record.
    pub token_id: Box<str>,
    /// When the token ends.
    pub token_expires: Timestamp,
}

/// A professional: identifier and UZI role code.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Number in its naming system (UZI, Dezi or AGB).
    pub identifier: Box<str>,
    /// The naming system.
    pub system: Box<str>,
    /// UZI role code, e.g. `01.042` (revalidatiearts).
    pub role_code: Box<str>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("role_code", &self.role_code).finish_non_exhaustive()
    }
}

/// One SMART scope: level, type and permissions (SMART App Launch 2.2, scopes-and-launch-context.html).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// `patient`, `user` or `system`.
    pub level: ScopeLevel,
    /// Resource type name; `None` is `*`.
    pub kind: Option<Box<str>>,
    /// Permission letters.
    pub permissions: Permissions,
}

/// First part of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeLevel {
    /// Data of the one patient in context.
    Patient,
    /// What the user may see.
    User,
    /// What the client may see.
    System,
}

/// `cruds`, as flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// `c`
    pub create: bool,
    /// `r`: read, vread, instance history
    pub read: bool,
    /// `u`
    pub update: bool,
    /// `d`
    pub delete: bool,
    /// `s`: search, type and system history
    pub search: bool,
}
