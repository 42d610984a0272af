//! Which organisations take part, and of which kind they are: a registry file, read at start, never code. How many
//! teams, levels or regions there are is the region's own matter.
//!
//! Which client system acts for which organisation is `identity`'s registry, not this one.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::policy::{Policy, PolicyError, Source};
use crate::ids::Ura;

/// The organisations of a region, by URA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Organisations {
    rows: BTreeMap<Ura, Row>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    organisation: Vec<FileRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRow {
    ura: Spanned<String>,
    name: String,
    kind: Spanned<String>,
}

impl Organisations {
    /// The empty registry compiled in: nobody takes part until a region says who.
    pub fn included(policy: &Policy) -> Result<Organisations, PolicyError> {
        Organisations::parse(policy, "orgs.toml", include_str!("../../policy/orgs.toml"))
    }

    /// The registry of a file's text. Errors name file and line: no URA, an unknown kind, a URA twice.
    pub fn parse(policy: &Policy, file: &str, text: &str) -> Result<Organisations, PolicyError> {
        let source = Source { file, text };
        let mut rows = BTreeMap::new();
        for row in source.parse::<File>()?.organisation {
            let Some(ura) = Ura::parse(row.ura.get_ref()) else {
                return Err(source.wrong(&row.ura, "is not a URA (8 digits)"));
            };
            if !policy.knows_kind(row.kind.get_ref()) {
                return Err(source.wrong(&row.kind, "is not an organisation kind of policy.toml"));
            }
            if rows.contains_key(&ura) {
                return Err(source.wrong(&row.ura, "stands twice"));
            }
            rows.insert(ura, Row { name: row.name, kind: row.kind.into_inner() });
        }
        Ok(Organisations { rows })
    }

    /// Kind of an organisation; `None`: it does not take part.
    pub fn kind(&self, ura: &Ura) -> Option<&str> {
        self.rows.get(ura).map(|row| row.kind.as_str())
    }

    /// Name of an organisation.
    pub fn name(&self, ura: &Ura) -> Option<&str> {
        self.rows.get(ura).map(|row| row.name.as_str())
    }

    /// All of them, in order of URA, with their kind.
    pub fn iter(&self) -> impl Iterator<Item = (&Ura, &str)> {
        self.rows.iter().map(|(ura, row)| (ura, row.kind.as_str()))
    }
}

/// Party name of an organisation, as `store.party` interns it.
pub fn party_of(ura: &Ura) -> String {
    format!("ura:{ura}")
}

/// Party name of an organisation kind.
pub fn party_of_kind(kind: &str) -> String {
    format!("kind:{kind}")
}

/// Party name of everyone.
pub const PARTY_ANY: &str = "any";
