//! Branches to paths: walked along the definitions, so that each path is a chain of JSON names that ends in one known
//! type.

use thiserror::Error;

use crate::definitions::{Definitions, Strength, Structure, TypeId};

use super::read::{Operation, read};
use super::step::Step;

/// Why an expression cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PathError {
    /// The text leaves the subset of FHIRPath that search parameters use.
    #[error(
        "cannot read '{rest}'; use paths, as, ofType, where(a='b'), where(resolve() is T), extension('url')"
    )]
    Unreadable {
        /// Where reading stopped.
        rest: String,
    },
    /// No such element.
    #[error("{path} has no element '{name}'")]
    UnknownElement {
        /// The structure.
        path: &'static str,
        /// The name asked of it.
        name: String,
    },
    /// No branch of the expression can give anything for the type.
    #[error("nothing in '{expression}' starts at {type_}")]
    NothingForType {
        /// The expression.
        expression: String,
        /// The type.
        type_: &'static str,
    },
}

/// One chain of steps from a resource (or a composite's node) to values of one type.
#[derive(Debug, Clone)]
pub struct Path {
    /// Begins at the resource, wherever the composite's node is (`%resource`).
    pub(super) from_resource: bool,
    pub(super) steps: Vec<Step>,
    /// Type at the end: `CodeableConcept`, `code`, `Resource`; for a nested element its path.
    pub(super) type_: &'static str,
    /// Code system of a `code` whose required value set has just one.
    pub(super) system: Option<&'static str>,
}

impl Path {
    /// Type of the values at the end: `CodeableConcept`, `dateTime`, `Observation.component`.
    pub fn type_name(&self) -> &'static str {
        self.type_
    }
}

/// Compiles the branches of an expression that start at a type or at what it specialises.
///
/// Errors: the first fault found; branches of other types (`Patient.name | Practitioner.name`) are passed over.
/// Source: FHIR R4 search.html, FHIRPath N1 (the subset in this module's tests).
pub fn compile(definitions: &Definitions, type_: TypeId, expression: &str) -> Result<Vec<Path>, PathError> {
    let start = definitions.resource_structure(type_);
    let paths = compile_at(definitions, start, expression)?;
    if paths.is_empty() {
        let expression = expression.to_owned();
        return Err(PathError::NothingForType { expression, type_: definitions.type_name(type_) });
    }
    Ok(paths)
}

/// As [`compile`], from any structure: names that are no type are children of `start`.
pub(super) fn compile_at(
    definitions: &Definitions,
    start: &Structure,
    expression: &str,
) -> Result<Vec<Path>, PathError> {
    let mut paths = Vec::new();
    for branch in read(expression)? {
        paths.extend(walk(definitions, start, &branch)?);
    }
    Ok(paths)
}

/// A path under construction.
#[derive(Clone)]
struct State<'a> {
    steps: Vec<Step>,
    structure: &'a Structure,
    system: Option<&'static str>,
}

/// Follows one branch along the definitions; a choice splits it into one path for each type.
fn walk(definitions: &Definitions, start: &Structure, branch: &[Operation]) -> Result<Vec<Path>, PathError> {
    let mut operations = branch.iter().peekable();
    if let Some(Operation::Name(first)) = operations.peek()
        && first.starts_with(|c: char| c.is_ascii_uppercase())
    {
        if !definitions.is_a(start, first) {
            return Ok(Vec::new());
        }
        operations.next();
    }
    let operations: Vec<&Operation> = operations.collect();
    refuse_out_of_place(&operations)?;
    let mut from_resource = false;
    let mut states = vec![State { steps: Vec::new(), structure: start, system: None }];
    for operation in operations {
        match operation {
            Operation::Resource => {
                from_resource = true;
                let resource = start.path.split('.').next().and_then(|type_| definitions.structure(type_));
                let structure = resource.unwrap_or(start);
                states = vec![State { steps: Vec::new(), structure, system: None }];
            }
            Operation::Name(name) => {
                let mut next = Vec::new();
                let mut fault = None;
                for state in &states {
                    match state.structure.element_named(name) {
                        Some(_) => children(definitions, state, name, &mut next),
                        None => {
                            let path = state.structure.path;
                            fault = fault.or(Some(PathError::UnknownElement { path, name: name.clone() }));
                        }
                    }
                }
                // Of a choice's types, those without the element give nothing; when none has it the name is wrong.
                if let Some(fault) = fault.filter(|_| next.is_empty()) {
                    return Err(fault);
                }
                states = next;
            }
            Operation::As(type_) => states.retain(|state| definitions.is_a(state.structure, type_)),
            Operation::Index(index) => push_step(&mut states, &Step::Index(*index)),
            Operation::Step(step) => push_step(&mut states, step),
        }
    }
    let path = |state: State<'_>| Path {
        from_resource,
        steps: state.steps,
        type_: state.structure.path,
        system: state.system,
    };
    Ok(states.into_iter().map(path).collect())
}

/// An index counts over all that the path before it gives, so it is run only where that is one property's items; a
/// question is an answer, so nothing comes after it.
fn refuse_out_of_place(operations: &[&Operation]) -> Result<(), PathError> {
    for (at, operation) in operations.iter().enumerate() {
        let in_place = match operation {
            Operation::Index(_) => at == 1 && matches!(operations.first(), Some(Operation::Name(_))),
            Operation::Step(Step::Exists) => at + 1 == operations.len(),
            Operation::Resource => at == 0,
            _ => true,
        };
        if !in_place {
            return Err(PathError::Unreadable {
                rest: "an index or exists() in the middle of a path".to_owned(),
            });
        }
    }
    Ok(())
}

fn push_step(states: &mut [State<'_>], step: &Step) {
    for state in states {
        state.steps.push(step.clone());
    }
}

fn children<'a>(definitions: &'a Definitions, state: &State<'a>, name: &str, next: &mut Vec<State<'a>>) {
    let Some(element) = state.structure.element_named(name) else { return };
    for type_ in &element.types {
        let structure = definitions.structure_at(type_.structure);
        let mut steps = state.steps.clone();
        steps.push(Step::Name(element.json_name(type_)));
        let binding = element.binding.filter(|b| b.strength == Strength::Required && type_.code == "code");
        let system = binding.and_then(|b| definitions.value_set(b.value_set)).and_then(|set| {
            match set.systems.as_slice() {
                [(system, _)] => Some(*system),
                _ => None,
            }
        });
        next.push(State { steps, structure, system });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::definitions::r4;

    fn shape(type_: &str, expression: &str) -> String {
        let paths = compile(r4(), r4().resource_type(type_).unwrap(), expression).unwrap();
        let shown = |path: &Path| {
            let steps: Vec<String> = path.steps.iter().map(ToString::to_string).collect();
            format!("{}:{}", steps.join("."), path.type_)
        };
        paths.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn expressions_become_chains_of_json_names() {
        assert_eq!(shape("Patient", "Practitioner.name | Patient.name.given"), "name.given:string");
        assert_eq!(
            shape(
                "Observation",
                "(Observation.value as Quantity) | (Observation.component.value as Quantity)"
            ),
            "valueQuantity:Quantity component.valueQuantity:Quantity"
        );
        assert_eq!(shape("Condition", "Condition.onset.as(Age)"), "onsetAge:Age");
        assert_eq!(
            shape("Condition", "Condition.subject.where(resolve() is Patient)"),
            "subject.where(resolve() is Patient):Reference"
        );
        assert_eq!(
            shape("Patient", "Patient.telecom.where(system='phone').value"),
            "telecom.where(system='phone').value:string"
        );
        assert_eq!(shape("Bundle", "Bundle.entry[0].resource"), "entry.[0].resource:Resource");
        assert_eq!(shape("Patient", "Resource.meta.tag"), "meta.tag:Coding");
        assert_eq!(shape("Observation", "Observation"), ":Observation");
    }

    #[test]
    fn what_cannot_run_is_refused_with_a_reason() {
        let patient = r4().resource_type("Patient").unwrap();
        let fault = |expression| compile(r4(), patient, expression).unwrap_err();
        assert!(matches!(fault("Patient.nam"), PathError::UnknownElement { path: "Patient", .. }));
        assert!(matches!(fault("Observation.code"), PathError::NothingForType { .. }));
        for unreadable in [
            "Patient.name.first()",
            "Patient.",
            "(Patient.name",
            "Patient.name)",
            "",
            "Patient.name and true",
            "Patient.name[9999999999]",
            "Patient.name.given[0]",
            "Patient.deceased.exists()",
            "Patient.deceased.exists() and Patient.active != false",
        ] {
            assert!(matches!(fault(unreadable), PathError::Unreadable { .. }), "{unreadable}");
        }
        assert!(matches!(fault(&"(".repeat(100_000)), PathError::Unreadable { .. }));
    }
}
