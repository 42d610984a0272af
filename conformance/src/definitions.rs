//! What R4 4.0.1 defines, as tables read once: types, elements, search parameters, compartments, value sets, invariants.
//!
//! `path` compiles the search parameters, `validate` walks the structures, mappings build targets in their element
//! order, the gateway makes its CapabilityStatement from them. The tables in `r4/` are derived from the official package
//! (their first line says which) by `sluis-definitions`; nothing in them is written by hand. Profiles are not here.

mod element;
mod load;
mod own;
mod search;
mod value_set;

#[cfg(feature = "tools")]
pub mod distil;

use std::collections::HashMap;
use std::sync::OnceLock;

pub use element::{Binding, Element, ElementType, Found, Strength, Structure, StructureId, StructureKind};
pub use own::{OwnError, OwnParameter, extend};
pub use search::{Component, ParamId, SearchKind, SearchParameter};
pub use value_set::{Invariant, ValueSet};

use crate::path::Plans;

/// Those of this process, once they are used or [`extend`]ed.
static R4: OnceLock<Definitions> = OnceLock::new();

/// The definitions of R4 4.0.1, with what [`extend`] added, read on first use (a few milliseconds).
pub fn r4() -> &'static Definitions {
    R4.get_or_init(|| load::r4(Vec::new()))
}

/// A concrete resource type: its place among the names in alphabetical order, so the same in every process of one
/// version of the definitions. A store keeps the name, not this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub(crate) u16);

impl TypeId {
    /// Position among the resource types, from 0 without gaps: an index for arrays by type.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Everything FHIR defines that the gateway acts on.
#[derive(Debug)]
pub struct Definitions {
    /// Concrete resource types by name; a `TypeId` is an index here.
    resources: Vec<Resource>,
    /// Every type and nested element that has child elements, and the primitives.
    structures: Vec<Structure>,
    structures_by_path: HashMap<&'static str, StructureId>,
    parameters: &'static [SearchParameter],
    /// What an operator added to them; these stand last among the parameters.
    own: Vec<OwnParameter>,
    value_sets: HashMap<&'static str, ValueSet>,
    invariants: HashMap<&'static str, Invariant>,
    invariant_rows: Vec<Invariant>,
    /// Made on first validation.
    pub(crate) judged: OnceLock<crate::validate::Judged>,
    /// Made on first extraction.
    pub(crate) plans: OnceLock<Plans>,
}

/// One concrete resource type.
#[derive(Debug)]
struct Resource {
    name: &'static str,
    structure: StructureId,
    /// By code.
    parameters: Vec<&'static SearchParameter>,
    patient_compartment: Vec<&'static str>,
    compartments: Vec<(&'static str, Vec<&'static str>)>,
}

impl Definitions {
    /// The concrete resource type of that name (146 in R4; `Resource` and `DomainResource` are abstract).
    pub fn resource_type(&self, name: &str) -> Option<TypeId> {
        let at = self.resources.binary_search_by(|resource| resource.name.cmp(name)).ok()?;
        u16::try_from(at).ok().map(TypeId)
    }

    /// All concrete resource types in alphabetical order.
    pub fn resource_types(&self) -> impl Iterator<Item = TypeId> + use<> {
        (0..u16::try_from(self.resources.len()).unwrap_or(u16::MAX)).map(TypeId)
    }

    /// Name of a resource type.
    pub fn type_name(&self, type_: TypeId) -> &'static str {
        self.resources.get(type_.index()).map_or("", |resource| resource.name)
    }

    /// Search parameter `code` of a type, those of `Resource` and `DomainResource` included.
    pub fn search_parameter(&self, type_: TypeId, code: &str) -> Option<&'static SearchParameter> {
        let parameters = self.search_parameters(type_);
        parameters.binary_search_by(|p| p.code.cmp(code)).ok().and_then(|at| parameters.get(at)).copied()
    }

    /// Search parameters of a type by code, those of `Resource` (`_id`, `_lastUpdated`, ...) included.
    ///
    /// Parameters that index nothing (`_text`, `_content`, `_filter`, result parameters) are not in the tables.
    pub fn search_parameters(&self, type_: TypeId) -> &[&'static SearchParameter] {
        self.resources.get(type_.index()).map_or(&[], |resource| &resource.parameters)
    }

    /// All search parameters; a [`ParamId`] is an index here.
    pub fn parameters(&self) -> &'static [SearchParameter] {
        self.parameters
    }

    /// A search parameter by its id.
    pub fn parameter(&self, id: ParamId) -> Option<&'static SearchParameter> {
        self.parameters.get(id.index())
    }

    /// Whether a search parameter is an operator's.
    pub fn is_own(&self, id: ParamId) -> bool {
        id.index() >= self.parameters.len().saturating_sub(self.own.len())
    }

    /// Search parameters an operator added.
    pub fn own_parameters(&self) -> &[OwnParameter] {
        &self.own
    }

    /// Codes of the parameters that put a resource of this type in a patient's compartment; empty when it is in none.
    ///
    /// A `Patient` is in its own compartment by being that patient: its only parameter is `link`.
    /// Source: FHIR R4 compartmentdefinition-patient.html
    pub fn patient_compartment(&self, type_: TypeId) -> &[&'static str] {
        self.resources.get(type_.index()).map_or(&[], |resource| &resource.patient_compartment)
    }

    /// As [`Self::patient_compartment`], for any of `Device`, `Encounter`, `Patient`, `Practitioner`, `RelatedPerson`.
    pub fn compartment(&self, compartment: &str, type_: TypeId) -> &[&'static str] {
        let all = self.resources.get(type_.index()).map_or(&[][..], |resource| &resource.compartments);
        all.iter().find(|(name, _)| *name == compartment).map_or(&[], |(_, parameters)| parameters)
    }

    /// The structure of a type or nested element: `Observation`, `Observation.component`, `Quantity`, `code`.
    pub fn structure(&self, path: &str) -> Option<&Structure> {
        self.structures_by_path.get(path).map(|&id| self.structure_at(id))
    }

    /// The structure behind an id, as [`ElementType::structure`] gives it.
    pub fn structure_at(&self, id: StructureId) -> &Structure {
        // Ids are made only for structures of the same definitions; a foreign one gets the first structure.
        self.structures.get(usize::from(id.0)).unwrap_or(&self.structures[0])
    }

    /// Every structure; a [`StructureId`] is an index here.
    pub fn structures(&self) -> &[Structure] {
        &self.structures
    }

    /// The structure of a resource type.
    pub fn resource_structure(&self, type_: TypeId) -> &Structure {
        self.structure_at(
            self.resources.get(type_.index()).map_or(StructureId(0), |resource| resource.structure),
        )
    }

    /// The element a JSON property of a structure is, with its type when it is a choice: `("Observation.component",
    /// "valueQuantity")`. Names with `_` in front are not elements of their own.
    pub fn element(&self, path: &str, name: &str) -> Option<Found<'_>> {
        self.structure(path)?.element(name)
    }

    /// A value set that some element requires and that can be listed, by address (`http://hl7.org/fhir/ValueSet/x`) or,
    /// for those of FHIR itself, by `x`. A version after `|` is disregarded.
    pub fn value_set(&self, url: &str) -> Option<&ValueSet> {
        let url = url.split('|').next().unwrap_or(url);
        self.value_sets.get(url.strip_prefix(value_set::FHIR_VALUE_SET).unwrap_or(url))
    }

    /// An invariant by its key, such as `dom-3`.
    pub fn invariant(&self, key: &str) -> Option<&Invariant> {
        self.invariants.get(key)
    }

    /// Every invariant of the table, with where it is declared.
    pub fn invariants(&self) -> &[Invariant] {
        &self.invariant_rows
    }

    /// Whether a resource of the type may have a narrative: it is a DomainResource (FHIR R4 domainresource.html).
    pub fn has_narrative(&self, type_: TypeId) -> bool {
        self.is_a(self.resource_structure(type_), "DomainResource")
    }

    /// Whether a structure is, or specialises, the type of that name.
    pub fn is_a(&self, structure: &Structure, type_name: &str) -> bool {
        let mut at = Some(structure);
        while let Some(structure) = at {
            if structure.path == type_name {
                return true;
            }
            at = structure.base.map(|base| self.structure_at(base));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn type_(name: &str) -> TypeId {
        r4().resource_type(name).unwrap()
    }

    #[test]
    fn every_row_of_the_tables_is_read() {
        let rows = |table: &str| table.lines().filter(|line| !line.starts_with('#')).count();
        let own: usize = r4()
            .structures
            .iter()
            .map(|s| {
                let own =
                    s.elements.iter().filter(|e| e.path.rsplit_once('.').is_some_and(|(p, _)| p == s.path));
                own.count()
            })
            .sum();
        assert_eq!(own, rows(include_str!("../r4/elements.tsv")));
        assert_eq!(r4().parameters.len(), rows(include_str!("../r4/search-parameters.tsv")));
        assert_eq!(r4().parameters.len(), 1381);
        let systems: usize = r4().value_sets.values().map(|set| set.systems.len()).sum();
        assert_eq!(systems, rows(include_str!("../r4/value-sets.tsv")));
        let compartments: usize = r4().resources.iter().map(|r| r.compartments.len()).sum();
        assert_eq!(compartments, rows(include_str!("../r4/compartments.tsv")));
        // `validate` notes what is present in the bits of a u128.
        assert!(r4().structures.iter().all(|s| s.elements.len() < 128));
        assert!(r4().parameters.iter().all(|p| (p.kind == SearchKind::Composite) != p.components.is_empty()));
    }

    #[test]
    fn resource_types_are_those_of_r4_by_name() {
        let names: Vec<_> = r4().resource_types().map(|type_| r4().type_name(type_)).collect();
        assert_eq!(names.len(), 146);
        assert!(
            names.is_sorted() && ["Binary", "Bundle", "Parameters"].iter().all(|name| names.contains(name))
        );
        assert!(
            r4().resource_type("Resource").is_none() && r4().resource_type("SubscriptionTopic").is_none()
        );
    }

    #[test]
    fn elements_stand_in_order_with_their_types() {
        let component = r4().structure("Observation.component").unwrap();
        let names: Vec<_> = component.elements.iter().map(|element| element.name).collect();
        assert_eq!(
            names,
            [
                "id",
                "extension",
                "modifierExtension",
                "code",
                "value",
                "dataAbsentReason",
                "interpretation",
                "referenceRange"
            ]
        );
        let found = r4().element("Observation.component", "valueQuantity").unwrap();
        assert_eq!(
            (found.type_.code, found.element.is_choice, found.element.max),
            ("Quantity", true, Some(1))
        );
        assert!(r4().element("Observation.component", "value").is_none());
        let part = r4().element("Parameters.parameter", "part").unwrap();
        assert_eq!(r4().structure_at(part.type_.structure).path, "Parameters.parameter");
        let subject = r4().element("Observation", "subject").unwrap();
        let targets: Vec<_> = subject.type_.targets.iter().map(|t| r4().type_name(*t)).collect();
        assert_eq!(targets, ["Device", "Group", "Location", "Patient"]);
        assert!(r4().element("Observation", "focus").unwrap().type_.targets.is_empty());
        assert_eq!(r4().element("Patient", "id").unwrap().type_.code, "id");
    }

    #[test]
    fn parameters_of_a_type_include_those_of_every_resource() {
        for code in [
            "_id",
            "_lastUpdated",
            "_profile",
            "_security",
            "_source",
            "_tag",
            "patient",
            "code-value-quantity",
        ] {
            assert!(r4().search_parameter(type_("Observation"), code).is_some(), "{code}");
        }
        assert!(r4().search_parameter(type_("Observation"), "_text").is_none());
        let patient = r4().search_parameter(type_("CarePlan"), "patient").unwrap();
        assert_eq!(
            (patient.kind, patient.url.as_str()),
            (SearchKind::Reference, "http://hl7.org/fhir/SearchParameter/clinical-patient")
        );
        let codes: Vec<_> = r4().search_parameters(type_("Patient")).iter().map(|p| p.code).collect();
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
        assert_eq!(r4().patient_compartment(type_("CarePlan")), ["patient", "performer"]);
        assert!(r4().patient_compartment(type_("Organization")).is_empty());
        assert_eq!(r4().compartment("Practitioner", type_("CarePlan")), ["performer"]);
    }

    #[test]
    fn value_sets_and_invariants_are_found() {
        let gender = r4().value_set("http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1").unwrap();
        assert!(gender.contains(None, "female") && !gender.contains(None, "F"));
        assert!(!gender.contains(Some("http://example.org"), "female"));
        assert!(r4().value_set("ucum-units").is_none());
        assert_eq!(r4().invariant("pat-1").unwrap().path, "Patient.contact");
    }
}
