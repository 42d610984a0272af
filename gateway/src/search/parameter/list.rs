//! `_list`: what a List refers to, by its id or, of functional lists, by what it is for.
//!
//! Whether a record is current is not told by its status: a curator says so by referring to it from the list (FHIR R4
//! lifecycle.html#current). So a functional list here is every List the caller may see that is current and bears the code R4
//! names for it; none is worked out from the records. Source: FHIR R4 search.html#list, lifecycle.html#lists

use sluis_conformance::definitions;

use crate::ids::ResourceType;
use crate::response::refusal::Refusal;
use crate::search::criterion::{Condition, Criterion, Link, SystemTest, Test, TokenTest};

use super::chain::Asked;
use super::{find, invalid, no_modifier, parameter_of, split_values, unescape, unsupported, value};

/// A functional list: its name, the types it is of, and the codes of Lists that are it.
struct Functional {
    name: &'static str,
    kinds: &'static [&'static str],
    /// Of LOINC.
    loinc: &'static [&'static str],
    /// Of `list-example-use-codes`, the codes R4 gives List.code for example.
    usage: &'static str,
}

/// FHIR R4 lifecycle.html#lists; valueset-list-example-codes.html
const FUNCTIONAL: [Functional; 3] = [
    Functional { name: "$current-problems", kinds: &["Condition"], loinc: &["46105-3"], usage: "problems" },
    Functional {
        name: "$current-medications",
        kinds: &["MedicationStatement", "MedicationRequest"],
        loinc: &["57828-6", "10160-0"],
        usage: "medications",
    },
    Functional {
        name: "$current-allergies",
        kinds: &["AllergyIntolerance"],
        loinc: &["18716-1", "52472-8", "48765-2"],
        usage: "allergies",
    },
];
const USAGE: &str = "http://terminology.hl7.org/CodeSystem/list-example-use-codes";

/// Reads the criterion of `_list` on resources of a type.
///
/// Errors: `ParameterInvalid` for what is no id or no list of this type, `ParameterUnknown` for a functional list that is not
/// offered.
pub(super) fn read(
    asked: &Asked<'_>,
    kind: ResourceType,
    modifier: Option<&str>,
) -> Result<Criterion, Refusal> {
    let Asked { name, text, .. } = *asked;
    if modifier.is_some() {
        return Err(no_modifier(name, "This parameter takes no modifier."));
    }
    let Some(list) = definitions::r4().resource_type("List") else { return Err(unsupported(name, "")) };
    asked.follow(0)?;
    let criterion = if text.starts_with('$') {
        functional(asked, kind, list)?
    } else {
        let ids = split_values(text, ',').into_iter().map(|text| {
            let text = unescape(text);
            value::id(name, text.strip_prefix("List/").unwrap_or(&text))
        });
        Criterion::Id(ids.collect::<Result<_, _>>()?)
    };
    let item = parameter_of(list, find(list, "item", name)?);
    Ok(Criterion::Has(item, Link { kind: list, criterion: Box::new(criterion) }))
}

/// What a List is that stands for a functional one.
fn functional(asked: &Asked<'_>, kind: ResourceType, list: ResourceType) -> Result<Criterion, Refusal> {
    let Asked { name, text, .. } = *asked;
    if text == "$current-drug-allergies" {
        let reason =
            "R4 names no code that tells a list of drug allergies from one of all; use $current-allergies.";
        return Err(unsupported(name, reason));
    }
    let Some(functional) = FUNCTIONAL.iter().find(|functional| functional.name == text) else {
        let names: Vec<&str> = FUNCTIONAL.iter().map(|functional| functional.name).collect();
        return Err(unsupported(name, &format!("It takes the id of a List, or {}.", names.join(", "))));
    };
    if !functional.kinds.contains(&definitions::r4().type_name(kind)) {
        let text = format!("{} is a list of {}.", functional.name, functional.kinds.join(" and "));
        return Err(invalid(name, text));
    }
    let test = |code: &str, tests: Vec<Test>| {
        Ok(Criterion::Index(parameter_of(list, find(list, code, name)?), Condition::Any(tests)))
    };
    let current = TokenTest { system: SystemTest::Any, code: Some("current".to_owned()) };
    let codes = |system: &str, codes: &[&str]| Test::Codes {
        system: system.to_owned(),
        codes: codes.iter().map(|code| (*code).to_owned()).collect(),
    };
    Ok(Criterion::All(vec![
        test("code", vec![codes("http://loinc.org", functional.loinc), codes(USAGE, &[functional.usage])])?,
        test("status", vec![Test::Token(current)])?,
    ]))
}
