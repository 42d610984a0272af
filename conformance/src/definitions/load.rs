//! Tables to definitions, once per process.
//!
//! The tables are part of the program, so a row that does not read is a fault of the build: such a row is left out here
//! and the tests count that none is.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use super::element::{Binding, Element, ElementType, Strength, Structure, StructureId, StructureKind};
use super::own::OwnParameter;
use super::search::{Component, ParamId, SearchKind, SearchParameter};
use super::value_set::{Invariant, ValueSet};
use super::{Definitions, Resource, TypeId};

const TYPES: &str = include_str!("../../r4/types.tsv");
const ELEMENTS: &str = include_str!("../../r4/elements.tsv");
const PARAMETERS: &str = include_str!("../../r4/search-parameters.tsv");
const COMPARTMENTS: &str = include_str!("../../r4/compartments.tsv");
const VALUE_SETS: &str = include_str!("../../r4/value-sets.tsv");
const INVARIANTS: &str = include_str!("../../r4/invariants.tsv");

pub(super) fn r4(own: Vec<OwnParameter>) -> Definitions {
    let mut structures = Structures::default();
    structures.declare_types();
    let resource_names = structures.resource_names();
    structures.declare_nested();
    structures.fill(&resource_names);

    let mut resources: Vec<Resource> = resource_names
        .iter()
        .map(|&name| Resource {
            name,
            structure: structures.by_path.get(name).copied().unwrap_or(StructureId(0)),
            parameters: Vec::new(),
            patient_compartment: Vec::new(),
            compartments: Vec::new(),
        })
        .collect();
    // Leaked on purpose: definitions live as long as the process, and callers keep `&'static SearchParameter`s.
    let parameters: &'static [SearchParameter] = Vec::leak(parameters(&resource_names, &own));
    let is_domain = |resource: &Resource| {
        let base =
            structures.get(resource.structure).and_then(|s| s.base).and_then(|base| structures.get(base));
        base.is_some_and(|base| base.path == "DomainResource")
    };
    let domain: Vec<bool> = resources.iter().map(is_domain).collect();
    for parameter in parameters {
        for base in &parameter.bases {
            if let Ok(at) = resource_names.binary_search(base) {
                resources.get_mut(at).into_iter().for_each(|resource| resource.parameters.push(parameter));
                continue;
            }
            let all = resources.iter_mut().zip(&domain);
            let of_base = all.filter(|(_, is_domain)| *base == "Resource" || **is_domain);
            of_base.for_each(|(resource, _)| resource.parameters.push(parameter));
        }
    }
    for resource in &mut resources {
        resource.parameters.sort_by_key(|parameter| parameter.code);
    }
    compartments(&mut resources);
    Definitions {
        resources,
        structures_by_path: structures.by_path,
        structures: structures.all,
        parameters,
        own,
        value_sets: value_sets(),
        invariants: invariants(),
        invariant_rows: invariant_rows().collect(),
        judged: OnceLock::new(),
        plans: OnceLock::new(),
    }
}

/// Rows of a table as `N` cells; missing cells at the end are empty.
fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = [""; N];
        for (cell, text) in cells.iter_mut().zip(line.split('\t')) {
            *cell = text;
        }
        cells
    })
}

#[derive(Default)]
struct Structures {
    all: Vec<Structure>,
    by_path: HashMap<&'static str, StructureId>,
}

impl Structures {
    fn get(&self, id: StructureId) -> Option<&Structure> {
        self.all.get(usize::from(id.0))
    }

    fn declare(&mut self, path: &'static str, kind: StructureKind) -> StructureId {
        let id = StructureId(u16::try_from(self.all.len()).unwrap_or(u16::MAX));
        self.all.push(Structure { id, path, kind, base: None, elements: Vec::new(), names: Vec::new() });
        self.by_path.insert(path, id);
        id
    }

    fn declare_types(&mut self) {
        for [name, kind, _, abstract_] in rows(TYPES) {
            let kind = match (kind, abstract_) {
                ("resource", "") => StructureKind::Resource,
                ("resource", _) => StructureKind::AbstractResource,
                ("primitive-type", _) => StructureKind::Primitive,
                _ => StructureKind::Complex,
            };
            self.declare(name, kind);
        }
        for [name, _, base, _] in rows(TYPES) {
            let base = self.by_path.get(base).copied();
            if let Some(structure) = self.by_path.get(name).and_then(|id| self.all.get_mut(usize::from(id.0)))
            {
                structure.base = base;
            }
        }
    }

    fn resource_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> =
            self.all.iter().filter(|s| s.kind == StructureKind::Resource).map(|s| s.path).collect();
        names.sort_unstable();
        names
    }

    fn declare_nested(&mut self) {
        for [path, _, _, types, ..] in rows::<7>(ELEMENTS) {
            if matches!(types, "BackboneElement" | "Element") {
                let base = self.by_path.get(types).copied();
                let id = self.declare(path, StructureKind::Backbone);
                if let Some(structure) = self.all.get_mut(usize::from(id.0)) {
                    structure.base = base;
                }
            }
        }
    }

    /// Gives every structure its own elements, then those of its bases in front.
    fn fill(&mut self, resource_names: &[&'static str]) {
        let mut own: HashMap<&'static str, Vec<Element>> = HashMap::new();
        for row in rows::<7>(ELEMENTS) {
            if let Some((parent, _)) = row[0].rsplit_once('.')
                && let Some(element) = self.element(row, resource_names)
            {
                own.entry(parent).or_default().push(element);
            }
        }
        for at in 0..self.all.len() {
            let mut lineage = Vec::new();
            let mut next = self.all.get(at);
            while let Some(structure) = next {
                lineage.push(structure.path);
                next = structure.base.and_then(|base| self.get(base));
            }
            let inherited = lineage.iter().rev().filter_map(|path| own.get(path));
            let elements: Vec<Element> = inherited.flatten().cloned().collect();
            if let Some(structure) = self.all.get_mut(at) {
                structure.names = names(&elements);
                structure.elements = elements;
            }
        }
    }

    fn element(&self, row: [&'static str; 7], resource_names: &[&'static str]) -> Option<Element> {
        let [path, min, max, types, flags, binding, content] = row;
        let last = path.rsplit('.').next()?;
        let name = last.strip_suffix("[x]").unwrap_or(last);
        let types = match (content, types) {
            ("", "BackboneElement" | "Element") => {
                vec![self.element_type(types, path, "", resource_names)?]
            }
            // resource.html#Resource: `id` is of type id. The package says string, a fault of its publication that R5 mends.
            ("", _) if path == "Resource.id" => vec![self.element_type("id", "id", "", resource_names)?],
            ("", _) => types
                .split('|')
                .map(|cell| {
                    let (code, targets) = cell.trim_end_matches(')').split_once('(').unwrap_or((cell, ""));
                    self.element_type(code, code, targets, resource_names)
                })
                .collect::<Option<Vec<_>>>()?,
            _ => vec![self.element_type("BackboneElement", content, "", resource_names)?],
        };
        let binding = binding.split_once(' ').and_then(|(strength, value_set)| {
            let strength = match strength {
                "required" => Strength::Required,
                "extensible" => Strength::Extensible,
                "preferred" => Strength::Preferred,
                "example" => Strength::Example,
                _ => return None,
            };
            Some(Binding { strength, value_set })
        });
        Some(Element {
            path,
            name,
            is_choice: last.len() != name.len(),
            min: min.parse().ok()?,
            max: if max == "*" { None } else { Some(max.parse().ok()?) },
            types,
            binding,
            is_summary: flags.contains('S'),
            is_modifier: flags.contains('M'),
        })
    }

    fn element_type(
        &self,
        code: &'static str,
        path: &str,
        targets: &str,
        resource_names: &[&'static str],
    ) -> Option<ElementType> {
        let structure = self.by_path.get(path).copied()?;
        Some(ElementType { code, structure, targets: type_ids(targets, resource_names) })
    }
}

fn names(elements: &[Element]) -> Vec<(Box<str>, u16, u16)> {
    let mut names = Vec::new();
    for (at, element) in (0..).zip(elements) {
        for (nth, type_) in (0..).zip(&element.types) {
            names.push((element.json_name(type_).into_boxed_str(), at, nth));
        }
    }
    names.sort();
    names
}

/// Ids of the listed types; empty when any is allowed (`Resource` is among them, or nothing is listed).
fn type_ids(list: &str, resource_names: &[&'static str]) -> Vec<TypeId> {
    let ids = list.split(',').map(|name| resource_names.binary_search(&name).ok());
    let ids: Option<Vec<TypeId>> =
        ids.map(|at| at.and_then(|at| u16::try_from(at).ok()).map(TypeId)).collect();
    ids.unwrap_or_default()
}

fn parameters(resource_names: &[&'static str], own: &[OwnParameter]) -> Vec<SearchParameter> {
    let kinds: HashMap<&str, SearchKind> = rows::<7>(PARAMETERS)
        .filter_map(|[name, _, kind, ..]| Some((name, SearchKind::from_code(kind)?)))
        .collect();
    let components = |cell: &'static str| {
        let parts = cell.split(';').filter_map(|part| part.split_once('='));
        parts.filter_map(|(definition, expression)| {
            Some(Component { definition, kind: *kinds.get(definition)?, expression })
        })
    };
    let official = rows::<7>(PARAMETERS).enumerate().filter_map(
        |(at, [name, code, kind, bases, targets, expression, parts])| {
            Some(SearchParameter {
                id: ParamId(u16::try_from(at).ok()?),
                name,
                code,
                kind: SearchKind::from_code(kind)?,
                url: format!("http://hl7.org/fhir/SearchParameter/{name}"),
                bases: bases.split(',').collect(),
                expression,
                targets: type_ids(targets, resource_names),
                components: components(parts).collect(),
            })
        },
    );
    let mut all: Vec<SearchParameter> = official.collect();
    let known: HashMap<String, (&'static str, SearchKind)> = all
        .iter()
        .map(|parameter| (parameter.url.clone(), (parameter.name, parameter.kind)))
        .chain(own.iter().map(|own| (own.url.clone(), (leak(&own.url), own.kind))))
        .collect();
    for own in own {
        let components = own.components.iter().filter_map(|(url, expression)| {
            let (definition, kind) = *known.get(url)?;
            Some(Component { definition, kind, expression: leak(expression) })
        });
        all.push(SearchParameter {
            id: ParamId(u16::try_from(all.len()).unwrap_or(u16::MAX)),
            name: known.get(&own.url).map_or("", |(name, _)| name),
            code: leak(&own.code),
            kind: own.kind,
            url: own.url.clone(),
            bases: own.bases.iter().map(|base| leak(base)).collect(),
            expression: leak(&own.expression),
            targets: own.targets.iter().flat_map(|target| type_ids(leak(target), resource_names)).collect(),
            components: components.collect(),
        });
    }
    all
}

/// Text that lives as long as the definitions do: as long as the process.
fn leak(text: &str) -> &'static str {
    String::leak(text.to_owned())
}

fn compartments(resources: &mut [Resource]) {
    for [compartment, type_, parameters] in rows(COMPARTMENTS) {
        if let Ok(at) = resources.binary_search_by(|resource| resource.name.cmp(type_))
            && let Some(resource) = resources.get_mut(at)
        {
            let parameters: Vec<&'static str> = parameters.split(',').collect();
            if compartment == "Patient" {
                resource.patient_compartment.clone_from(&parameters);
            }
            resource.compartments.push((compartment, parameters));
        }
    }
}

/// By key; one that two elements declare (inv-1) stands for the first of them.
fn invariants() -> HashMap<&'static str, Invariant> {
    let mut invariants = HashMap::new();
    for invariant in invariant_rows() {
        invariants.entry(invariant.key).or_insert(invariant);
    }
    invariants
}

fn invariant_rows() -> impl Iterator<Item = Invariant> {
    rows(INVARIANTS).map(|[path, key, severity, human, expression]| Invariant {
        path,
        key,
        severity,
        human,
        expression,
    })
}

fn value_sets() -> HashMap<&'static str, ValueSet> {
    let mut sets: BTreeMap<&'static str, ValueSet> = BTreeMap::new();
    for line in VALUE_SETS.lines().filter(|line| !line.starts_with('#')) {
        let mut cells = line.split('\t');
        if let (Some(name), Some(system)) = (cells.next(), cells.next()) {
            let set = sets.entry(name).or_insert_with(|| ValueSet { name, systems: Vec::new() });
            set.systems.push((system, cells.collect()));
        }
    }
    sets.into_iter().collect()
}
