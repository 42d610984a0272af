//! The table, read and compiled once: per type a tree of elements, each with its rule.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::form::{Form, System};

/// The export profile, compiled.
#[derive(Debug)]
pub struct Profile {
    /// Version, for the manifest and the audit record.
    pub version: Box<str>,
    purposes: Vec<Box<str>>,
    cohort_min_purposes: Vec<Box<str>>,
    pub(super) age_years_max: i16,
    pub(super) units: BTreeSet<Box<str>>,
    pub(super) systems: BTreeMap<Box<str>, System>,
    types: BTreeMap<Box<str>, Shape>,
}

/// The elements of a type, or of a nested element, that may leave.
#[derive(Debug, Default)]
pub(super) struct Shape {
    pub(super) fields: BTreeMap<Box<str>, Field>,
    /// Must be in what leaves.
    pub(super) needs: Vec<Box<str>>,
    /// Must be in what leaves when it is in the source (a choice by its name without type).
    pub(super) whole: Vec<Box<str>>,
}

/// One element.
#[derive(Debug)]
pub(super) enum Field {
    /// A value that passes through a rule.
    Rule(Rule),
    /// An element with children of its own.
    Nested(Shape),
}

/// What happens to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    Code,
    Boolean,
    Integer,
    Decimal,
    Concept,
    Coding,
    Quantity,
    Date,
    Day,
    Period,
    BirthYear,
    #[serde(rename = "postcode2")]
    Postcode2,
    Patient,
    Reference,
}

/// Why a table is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not as the file has to be; the text says where.
    #[error("export profile: {0}")]
    Unreadable(#[from] toml::de::Error),
    /// A type or element that R4 does not have.
    #[error("export profile: {0} is no element of R4")]
    Unknown(String),
    /// A code system with neither form nor codes nor prefixes, or with more than one of them.
    #[error("export profile: system {0} needs one of form, codes, prefixes")]
    System(String),
    /// An element both with a rule and with children.
    #[error("export profile: {0} stands twice")]
    Twice(String),
}

impl Profile {
    /// The profile built in.
    ///
    /// Errors: none for the file as shipped (a test reads it); the type stays so that an operator's file can be read
    /// the same way.
    pub fn built_in() -> Result<Profile, ProfileError> {
        Profile::read(include_str!("../../../policy/export-research.toml"))
    }

    /// Reads a profile and checks every element in it against the definitions of R4.
    pub fn read(text: &str) -> Result<Profile, ProfileError> {
        let file: File = toml::from_str(text)?;
        let systems = file
            .systems
            .into_iter()
            .map(|(url, row)| match row.compile() {
                Some(system) => Ok((url, system)),
                None => Err(ProfileError::System(url.into())),
            })
            .collect::<Result<_, _>>()?;
        let types = file
            .types
            .into_iter()
            .map(|(kind, row)| Ok((kind.clone(), row.compile(&kind)?)))
            .collect::<Result<_, ProfileError>>()?;
        Ok(Profile {
            version: file.version,
            purposes: file.purposes,
            cohort_min_purposes: file.cohort_min_purposes,
            age_years_max: file.age_years_max,
            units: file.units,
            systems,
            types,
        })
    }

    /// Types that may leave, in alphabetical order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(AsRef::as_ref)
    }

    /// Whether exports for this purpose of use go by this profile.
    pub fn serves(&self, purpose: &str) -> bool {
        self.purposes.iter().any(|p| p.as_ref() == purpose)
    }

    /// Whether a smallest cohort holds for this purpose of use.
    pub fn has_cohort_min(&self, purpose: &str) -> bool {
        self.cohort_min_purposes.iter().any(|p| p.as_ref() == purpose)
    }

    pub(super) fn shape(&self, kind: &str) -> Option<&Shape> {
        self.types.get(kind)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: Box<str>,
    purposes: Vec<Box<str>>,
    cohort_min_purposes: Vec<Box<str>>,
    age_years_max: i16,
    units: BTreeSet<Box<str>>,
    systems: BTreeMap<Box<str>, SystemRow>,
    types: BTreeMap<Box<str>, TypeRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SystemRow {
    form: Option<Form>,
    codes: Option<BTreeSet<Box<str>>>,
    prefixes: Option<Vec<Box<str>>>,
}

impl SystemRow {
    fn compile(self) -> Option<System> {
        match (self.form, self.codes, self.prefixes) {
            (Some(form), None, None) => Some(System::Form(form)),
            (None, Some(codes), None) => Some(System::Codes(codes)),
            (None, None, Some(prefixes)) => Some(System::Prefixes(prefixes)),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeRow {
    #[serde(default)]
    needs: Vec<Box<str>>,
    #[serde(default)]
    whole: Vec<Box<str>>,
    elements: BTreeMap<Box<str>, Rule>,
}

impl TypeRow {
    fn compile(self, kind: &str) -> Result<Shape, ProfileError> {
        let mut shape = Shape::default();
        for (path, rule) in self.elements {
            known(kind, &path)?;
            let (parent, name) =
                shape.at(&path).ok_or_else(|| ProfileError::Twice(format!("{kind}.{path}")))?;
            if parent.fields.insert(name.into(), Field::Rule(rule)).is_some() {
                return Err(ProfileError::Twice(format!("{kind}.{path}")));
            }
        }
        for path in self.needs {
            let (parent, name) =
                shape.at(&path).ok_or_else(|| ProfileError::Unknown(format!("{kind}.{path}")))?;
            parent.needs.push(name.into());
        }
        for path in self.whole {
            let (parent, name) =
                shape.at(&path).ok_or_else(|| ProfileError::Unknown(format!("{kind}.{path}")))?;
            parent.whole.push(name.into());
        }
        Ok(shape)
    }
}

impl Shape {
    /// The shape a dotted path's last part stands in, made on the way; `None` when a value stands in the way.
    fn at<'p>(&mut self, path: &'p str) -> Option<(&mut Shape, &'p str)> {
        let Some((head, rest)) = path.split_once('.') else { return Some((self, path)) };
        let field = self.fields.entry(head.into()).or_insert_with(|| Field::Nested(Shape::default()));
        match field {
            Field::Nested(shape) => shape.at(rest),
            Field::Rule(_) => None,
        }
    }
}

/// Refuses a path that R4 does not have: a misspelt element would silently never leave.
fn known(kind: &str, path: &str) -> Result<(), ProfileError> {
    let unknown = || ProfileError::Unknown(format!("{kind}.{path}"));
    let definitions = sluis_conformance::definitions::r4();
    let type_ = definitions.resource_type(kind).ok_or_else(unknown)?;
    let mut structure = definitions.resource_structure(type_);
    for name in path.split('.') {
        let found = structure.element(name).ok_or_else(unknown)?;
        structure = definitions.structure_at(found.type_.structure);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profile_is_read_and_names_elements_of_r4_only() {
        let profile = Profile::built_in().unwrap();
        assert!(profile.serves("HRESCH") && !profile.serves("TREAT"));
        assert!(profile.kinds().any(|kind| kind == "Observation"));
    }

    #[test]
    fn a_misspelt_element_or_an_ambiguous_system_is_refused() {
        let head = "version='1'\npurposes=[]\ncohort_min_purposes=[]\nage_years_max=90\nunits=[]\n";
        let wrong = |body: &str| Profile::read(&format!("{head}{body}")).unwrap_err().to_string();
        assert!(
            wrong("[systems]\n[types.Patient.elements]\nbirthdate='birth-year'")
                .contains("Patient.birthdate")
        );
        assert!(wrong("[types]\n[systems.'urn:x']\nform='loinc'\ncodes=['a']").contains("urn:x"));
        assert!(wrong("[systems]\n[types.Patient.elements]\ngender='plain'").contains("plain"));
    }
}
