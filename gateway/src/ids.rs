//! Identifiers as types, so that an organisation's number is never taken for a patient's.

use std::fmt;

pub use sluis_conformance::definitions::TypeId as ResourceType;

/// Logical id of a resource: 1 to 64 of `A-Z a-z 0-9 - .` (FHIR R4 datatypes.html#id).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(Box<str>);

impl ResourceId {
    /// The id, if `text` has its form.
    pub fn parse(text: &str) -> Option<ResourceId> {
        let form = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        // `.` and `..` are ids by the letter of the rule and path traversal by every proxy's reading.
        (form && text.bytes().any(|b| b != b'.')).then(|| ResourceId(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<uuid::Uuid> for ResourceId {
    fn from(id: uuid::Uuid) -> ResourceId {
        ResourceId(id.hyphenated().to_string().into())
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a care organisation in the Dutch UZI register (URA): 8 digits, system
/// `http://fhir.nl/fhir/NamingSystem/ura`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ura(Box<str>);

impl Ura {
    /// The number, if `text` is 8 digits.
    pub fn parse(text: &str) -> Option<Ura> {
        (text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit())).then(|| Ura(text.into()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ura {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Row key of a Patient resource inside this store; `0` never names a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatientKey(pub i64);

/// Interned key of a recipient or author inside this store: an organisation's URA, an organisation kind, or anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartyKey(pub i64);

/// Dutch naming system of the citizen service number (BSN).
pub const SYSTEM_BSN: &str = "http://fhir.nl/fhir/NamingSystem/bsn";
/// Dutch naming system of the URA.
pub const SYSTEM_URA: &str = "http://fhir.nl/fhir/NamingSystem/ura";
/// Dutch code system of UZI role codes.
pub const SYSTEM_UZI_ROLE: &str = "http://fhir.nl/fhir/NamingSystem/uzi-rolcode";
