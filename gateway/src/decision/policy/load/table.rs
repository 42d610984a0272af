//! The files as they are written: types for reading only.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::decision::policy::Named;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) version: String,
    pub(super) canonical: String,
    pub(super) default: Spanned<String>,
    pub(super) confidentiality_unless_named: Spanned<String>,
    pub(super) consent_policies: Vec<String>,
    pub(super) organisation_kinds: Vec<NamedRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedRow {
    code: String,
    display: String,
}

impl From<NamedRow> for Named {
    fn from(row: NamedRow) -> Named {
        Named { code: row.code, display: row.display }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposesFile {
    pub(super) purpose: Vec<PurposeRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposeRow {
    pub(super) code: Spanned<String>,
    pub(super) display: String,
    pub(super) consent: Spanned<String>,
    pub(super) ground: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoriesFile {
    pub(super) category: Vec<CategoryRow>,
    pub(super) types: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
    pub(super) rule: Vec<RuleRow>,
    pub(super) day: DayRow,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoryRow {
    pub(super) code: Spanned<String>,
    pub(super) display: String,
    pub(super) open: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleRow {
    pub(super) category: Spanned<String>,
    pub(super) types: Vec<Spanned<String>>,
    pub(super) element: String,
    pub(super) system: String,
    #[serde(default)]
    pub(super) codes: Vec<String>,
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DayRow {
    pub(super) elements: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelsFile {
    pub(super) label: Vec<LabelRow>,
    pub(super) confidentiality: ConfidentialityRow,
    #[serde(default)]
    pub(super) raise: Vec<RaiseRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelRow {
    pub(super) code: Spanned<String>,
    pub(super) display: String,
    pub(super) explicit: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfidentialityRow {
    pub(super) order: Vec<String>,
    pub(super) unless_stated: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RaiseRow {
    pub(super) label: Spanned<String>,
    #[serde(default)]
    pub(super) types: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) systems: Vec<String>,
    #[serde(default)]
    pub(super) codes: Vec<String>,
    #[serde(default)]
    pub(super) prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    pub(super) role: Vec<RoleRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRow {
    pub(super) name: Spanned<String>,
    pub(super) kinds: Vec<Spanned<String>>,
    pub(super) users: Spanned<UsersRow>,
    pub(super) purposes: Vec<Spanned<String>>,
    pub(super) care_relation: bool,
    pub(super) own: bool,
    pub(super) records_consent: bool,
    pub(super) discards: bool,
    pub(super) labels_denied: Vec<Spanned<String>>,
    pub(super) confidentiality_max: Spanned<String>,
    pub(super) kinds_written: Spanned<KindsRow>,
    pub(super) cells: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum UsersRow {
    Codes(Vec<String>),
    Word(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum KindsRow {
    List(Vec<String>),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObligationsFile {
    pub(super) obligation: Vec<ObligationRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObligationRow {
    pub(super) role: Spanned<String>,
    pub(super) pseudonymise: bool,
}
