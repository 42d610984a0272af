//! The access policy as tables: roles, purposes, data categories, sensitivity labels. Read once at start from the files
//! of `gateway/policy/` (compiled in) or from an operator's folder with the same names.
//!
//! The language has no conditions and no code: every policy that loads can become bit masks and so a WHERE clause.
//! What a file does not say is refused at load, never filled in.

mod load;

pub mod matrix;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::ResourceType;

pub use load::PolicyError;
pub(in crate::decision) use load::Source;

/// Own code system of data categories, used as security labels in a Consent.
pub const SYSTEM_CATEGORY: &str = "https://sluis.care/fhir/CodeSystem/data-category";
/// Own code system of organisation kinds, used as identifier system of an actor in a Consent.
pub const SYSTEM_ORGANISATION_KIND: &str = "https://sluis.care/fhir/CodeSystem/organization-kind";
/// HL7 sensitivity labels.
pub const SYSTEM_ACT_CODE: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
/// HL7 confidentiality codes.
pub const SYSTEM_CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";
/// HL7 purposes of use.
pub const SYSTEM_ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";

/// The loaded policy. Immutable for the life of the process.
#[derive(Debug)]
pub struct Policy {
    /// Version as the files state it.
    pub version: String,
    /// SHA-256 over all files, lower-case hex: two gateways with the same one decide alike.
    pub sha256: String,
    /// Highest confidentiality a permit opens that does not name one.
    pub confidentiality_unless_named: u8,
    /// Confidentiality of a resource that states none.
    pub confidentiality_unless_stated: u8,
    /// Values of `Consent.policy.uri` whose terms are known.
    pub consent_policies: Vec<String>,
    /// Kinds of organisation, code and display.
    pub kinds: Vec<Named>,
    /// Purposes of use; the position is the key in `Filter::purpose` and `Arm::purpose`.
    pub purposes: Vec<Purpose>,
    /// Data categories; the position is the bit.
    pub categories: Vec<Category>,
    /// Sensitivity labels; the position is the bit.
    pub labels: Vec<Label>,
    /// Confidentiality codes, lowest first; the position is the number stored.
    pub confidentialities: Vec<String>,
    /// Roles, in file order.
    pub roles: Vec<Arc<Role>>,
    basis: Arc<str>,
    pub(super) kind_categories: BTreeMap<ResourceType, u8>,
    pub(super) category_rules: Vec<CategoryRule>,
    pub(super) day_elements: Vec<Vec<String>>,
    pub(super) raises: Vec<Raise>,
}

/// A code with its display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Code.
    pub code: String,
    /// Dutch display.
    pub display: String,
}

/// A purpose of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// v3-ActReason code.
    pub code: String,
    /// Dutch display.
    pub display: String,
    /// Which Consents can open it.
    pub consent: ConsentKind,
    /// Legal ground, for printing.
    pub ground: String,
}

/// Which kind of Consent can permit a purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentKind {
    /// Scope patient-privacy.
    Privacy,
    /// Scope research, or category RESEARCH.
    Research,
    /// None: the purpose is not opened by grants.
    None,
}

/// A data category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Code in [`SYSTEM_CATEGORY`].
    pub code: String,
    /// Dutch display.
    pub display: String,
    /// Rows of it belong to no patient and need no grant.
    pub open: bool,
}

/// A sensitivity label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// Code in [`SYSTEM_ACT_CODE`].
    pub code: String,
    /// Dutch display.
    pub display: String,
    /// A permit must name it to open rows bearing it.
    pub explicit: bool,
}

/// Who is at the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Users {
    /// Professionals with one of these UZI role codes.
    Professionals(Vec<String>),
    /// Nobody: a system on behalf of its organisation.
    Client,
    /// The patient.
    Patient,
}

/// One role: who it is for and its row of cells, as masks of category bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Name, part of the permit's basis.
    pub name: String,
    /// Organisation kinds.
    pub kinds: Vec<String>,
    /// Who is at the keys.
    pub users: Users,
    /// Purposes, as codes.
    pub purposes: Vec<String>,
    /// A grant counts only with a current care relation.
    pub care_relation: bool,
    /// The own organisation's rows are visible whatever consent says.
    pub own: bool,
    /// May write Consents that open or close access.
    pub records_consent: bool,
    /// May set aside what waits for mending and is never to be applied.
    pub discards: bool,
    /// Labels no grant opens to it.
    pub labels_denied: u64,
    /// Highest confidentiality a grant opens to it.
    pub confidentiality_max: u8,
    /// Types it may write; `None`: every type its cells allow.
    pub kinds_written: Option<Vec<ResourceType>>,
    /// Data leaves to it pseudonymised only.
    pub pseudonymise: bool,
    /// Categories by action.
    pub cells: Cells,
}

/// Category masks, one per action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cells {
    /// `c`
    pub create: u64,
    /// `r`
    pub read: u64,
    /// `u`
    pub update: u64,
    /// `d`
    pub delete: u64,
    /// `s`
    pub search: u64,
    /// `x`
    pub export: u64,
}

#[derive(Debug, Clone)]
pub(super) struct CategoryRule {
    pub(super) category: u8,
    pub(super) kinds: Vec<ResourceType>,
    pub(super) element: String,
    pub(super) system: String,
    pub(super) codes: Vec<String>,
    pub(super) prefixes: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Raise {
    pub(super) label: u64,
    pub(super) kinds: Vec<ResourceType>,
    pub(super) systems: Vec<String>,
    pub(super) codes: Vec<String>,
    pub(super) prefixes: Vec<String>,
}

impl Policy {
    /// The policy compiled into this program. Errors: a file of `gateway/policy/` is faulty (a test holds that none is).
    pub fn included() -> Result<Policy, PolicyError> {
        load::load(&load::INCLUDED.map(|(file, text)| (file, text.to_owned())))
    }

    /// The policy of an operator's folder: `policy.toml`, `purposes.toml`, `categories.toml`, `labels.toml`,
    /// `roles.toml`, `obligations.toml`, all of them. Errors name file and line; nothing is half loaded.
    pub fn from_folder(folder: &std::path::Path) -> Result<Policy, PolicyError> {
        load::load(&load::read_folder(folder)?)
    }

    /// What goes into audit records and metadata: `urn:sluis:policy:2026.1`.
    pub fn basis(&self) -> &Arc<str> {
        &self.basis
    }

    /// Key of a purpose; `None`: unknown here.
    pub fn purpose(&self, code: &str) -> Option<u8> {
        position(self.purposes.iter().map(|p| &p.code), code)
    }

    /// Bit of a data category.
    pub fn category(&self, code: &str) -> Option<u64> {
        position(self.categories.iter().map(|c| &c.code), code).map(|at| 1 << at)
    }

    /// Bit of a sensitivity label.
    pub fn label(&self, code: &str) -> Option<u64> {
        position(self.labels.iter().map(|l| &l.code), code).map(|at| 1 << at)
    }

    /// Number of a confidentiality code.
    pub fn confidentiality(&self, code: &str) -> Option<u8> {
        position(self.confidentialities.iter(), code)
    }

    /// Whether this kind of organisation is known.
    pub fn knows_kind(&self, code: &str) -> bool {
        self.kinds.iter().any(|kind| kind.code == code)
    }

    /// All category bits.
    pub fn categories_all(&self) -> u64 {
        ones(self.categories.len())
    }

    /// Labels a permit must name.
    pub fn labels_explicit(&self) -> u64 {
        mask(self.labels.iter().map(|label| label.explicit))
    }

    /// Categories whose rows belong to no patient.
    pub fn categories_open(&self) -> u64 {
        mask(self.categories.iter().map(|category| category.open))
    }

    /// Codes of the categories in a mask, in bit order.
    pub fn category_codes(&self, mask: u64) -> Vec<&str> {
        names(self.categories.iter().map(|c| c.code.as_str()), mask)
    }

    /// Codes of the labels in a mask, in bit order.
    pub fn label_codes(&self, mask: u64) -> Vec<&str> {
        names(self.labels.iter().map(|l| l.code.as_str()), mask)
    }

    /// Categories a resource of this type can have, by type and rules.
    pub fn categories_possible(&self, kind: ResourceType) -> u64 {
        if kind == known_kind("Provenance") {
            return self.categories_all();
        }
        let by_type = self.kind_categories.get(&kind).map_or(0, |at| 1 << at);
        let by_rule = self.category_rules.iter().filter(|rule| rule.kinds.contains(&kind));
        by_rule.fold(by_type, |mask, rule| mask | 1 << rule.category)
    }

    /// The role of (organisation kind, who is at the keys, purpose). `role_code`: of the professional, if there is one.
    pub fn role(
        &self,
        kind: &str,
        role_code: Option<&str>,
        patient: bool,
        purpose: &str,
    ) -> Option<&Arc<Role>> {
        self.roles.iter().find(|role| {
            let user = match (&role.users, role_code, patient) {
                (Users::Professionals(codes), Some(code), false) => codes.iter().any(|c| c == code),
                (Users::Client, None, false) | (Users::Patient, None, true) => true,
                _ => false,
            };
            user && role.kinds.iter().any(|k| k == kind) && role.purposes.iter().any(|p| p == purpose)
        })
    }
}

/// A type of R4 by a name written in this program.
pub(crate) fn known_kind(name: &'static str) -> ResourceType {
    #[expect(clippy::expect_used, reason = "called with literal names of R4 types only; a test calls each")]
    sluis_conformance::definitions::r4().resource_type(name).expect("a type of FHIR R4")
}

fn position<'a>(codes: impl Iterator<Item = &'a String>, code: &str) -> Option<u8> {
    codes.zip(0u8..).find(|(c, _)| *c == code).map(|(_, at)| at)
}

fn ones(count: usize) -> u64 {
    (0..count.min(64)).fold(0, |mask, at| mask | 1 << at)
}

fn mask(flags: impl Iterator<Item = bool>) -> u64 {
    flags.take(64).enumerate().fold(0, |mask, (at, set)| mask | u64::from(set) << at)
}

fn names<'a>(codes: impl Iterator<Item = &'a str>, mask: u64) -> Vec<&'a str> {
    codes.take(64).enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, code)| code).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failing unwrap is a failing test")]
    use super::*;

    /// The included files with one replacement in one of them.
    fn changed(file: &str, from: &str, to: &str) -> Result<Policy, PolicyError> {
        let files = load::INCLUDED.map(|(name, text)| {
            assert!(name != file || text.contains(from), "{from} is not in {file}");
            (name, if name == file { text.replacen(from, to, 1) } else { text.to_owned() })
        });
        load::load(&files)
    }

    #[test]
    fn the_included_policy_loads_and_says_which_it_is() {
        let policy = Policy::included().unwrap();
        assert_eq!(&**policy.basis(), "urn:sluis:policy:2026.1");
        assert_eq!(policy.sha256.len(), 64);
        assert_eq!(policy.sha256, Policy::included().unwrap().sha256);
        assert_ne!(policy.sha256, changed("roles.toml", "# General practice", "#").unwrap().sha256);
        assert_eq!(policy.categories_possible(known_kind("Consent")).count_ones(), 2);
        assert_eq!(policy.category_codes(policy.categories_open()), ["directory", "definition", "cohort"]);
    }

    #[test]
    fn what_a_file_does_not_say_or_says_wrong_is_refused_with_its_line() {
        let refused = |file: &str, from: &str, to: &str, text: &str| {
            let error = changed(file, from, to).map(|_| ()).unwrap_err();
            assert_eq!(error.file, file);
            assert!(error.text.contains(text), "{error}");
            error.line
        };
        assert!(refused("roles.toml", "meds = \"crus\"\n", "", "does not say what holds for: meds") > 1);
        refused("roles.toml", "meds = \"crus\"", "meds = \"cz\"", "letters");
        refused("roles.toml", "meds = \"crus\"", "meds = \"sr\"", "order");
        refused("roles.toml", "meds = \"crus\"", "medz = \"crus\"", "not a category");
        refused("roles.toml", "purposes = [\"TREAT\"]", "purposes = [\"TREATT\"]", "not a purpose");
        refused("roles.toml", "kinds = [\"gp\"]", "kinds = [\"gpp\"]", "not an organisation kind");
        refused("roles.toml", "labels_denied = []", "labels_denied = [\"NOPE\"]", "not a label");
        refused("roles.toml", "\"01.015\", ", "\"01.015\", \"01.015\", ", "two roles");
        refused("roles.toml", "own = true", "owner = true", "unknown field");
        refused("policy.toml", "default = \"deny\"", "default = \"basic-normal\"", "not a default");
        refused("categories.toml", "\"AdverseEvent\", ", "", "`AdverseEvent` has no category");
        refused("categories.toml", "\"AdverseEvent\"", "\"AdverseEvents\"", "not a type of FHIR R4");
        refused(
            "categories.toml",
            "careteam = [\"CareTeam\"]",
            "careteam = [\"CareTeam\", \"Task\"]",
            "two categories",
        );
        refused("labels.toml", "label = \"PSY\"", "label = \"PSYCH\"", "not a label");
        refused("obligations.toml", "role = \"acn-quality\"", "role = \"gp\"", "only bulk export");
        refused("purposes.toml", "code = \"ETREAT\"", "code = \"TREAT\"", "stands twice");
        let line =
            refused("purposes.toml", "consent = \"research\"", "consent = \"some\"", "none of privacy");
        assert_eq!(line, 21);
    }

    #[test]
    fn an_operator_s_folder_is_read_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("sluis-policy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for (file, text) in load::INCLUDED {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let read = Policy::from_folder(&folder).unwrap();
        assert_eq!(read.sha256, Policy::included().unwrap().sha256);
        std::fs::remove_file(folder.join("labels.toml")).unwrap();
        let error = Policy::from_folder(&folder).map(|_| ()).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!((&*error.file, error.line), ("labels.toml", 0));
    }

    #[test]
    fn one_bit_more_than_sixty_four_is_refused() {
        let mut more = String::new();
        for at in 0..42 {
            more.push_str(&format!("[[category]]\ncode = \"x{at}\"\ndisplay = \"\"\nopen = false\n\n"));
        }
        let files = load::INCLUDED.map(|(name, text)| match name {
            "categories.toml" => (name, text.replacen("[types]", &format!("{more}[types]"), 1)),
            _ => (name, text.to_owned()),
        });
        let error = load::load(&files).map(|_| ()).unwrap_err();
        assert!(error.text.contains("65 rows, at most 64"), "{error}");
    }

    #[test]
    fn the_matrix_in_the_documentation_is_the_policy_in_force() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/access-matrix.txt");
        let printed = matrix::matrix(&Policy::included().unwrap());
        if std::env::var_os("SLUIS_BLESS").is_some() {
            std::fs::write(path, &printed).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap();
        assert!(
            committed == printed,
            "docs/access-matrix.txt is not what the policy says; run this test with SLUIS_BLESS=1 and review the diff"
        );
    }
}
