//! Text of a search -> typed criteria: every parameter R4 defines for a type, by its kind, with no type's name in code.
//!
//! What is not understood is refused with what would be (FHIR R4 search.html#errors leaves the choice; here an ignored
//! parameter would return more than was asked for). Looks at no data.

mod chain;
mod filter;
mod fulltext;
mod include;
mod list;
mod nearest;
mod range;
mod result;
mod value;

use sluis_conformance::definitions::{self, SearchKind, SearchParameter};

use crate::clock::Timestamp;
use crate::connection::request::Shape;
use crate::ids::ResourceType;
use crate::response::refusal::{Reason, Refusal};
use crate::search::criterion::{
    Condition, Criterion, Order, OrderKey, Parameter, SearchRequest, SystemTest, Test, TokenTest, Total,
};

/// Bounds on one search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchLimits {
    /// Parameters, result parameters included.
    pub parameters_max: usize,
    /// Values of one OR list.
    pub values_max: usize,
    /// Values of all criteria together.
    pub values_total_max: usize,
    /// Bytes of one parameter's value.
    pub text_bytes_max: usize,
    /// References one parameter follows in a row (`subject.organization.name`: two).
    pub chain_max: usize,
    /// References followed by all parameters together, each possible type of a target counted.
    pub links_max: usize,
    /// Sort keys.
    pub sorts_max: usize,
    /// Whether words of texts are indexed, and so searched by `_text` and `_content`.
    pub content: bool,
    /// Matches on a page when `_count` is absent.
    pub count_default: u32,
    /// Matches on a page at most; a larger `_count` gets this many (FHIR R4 search.html#count allows fewer).
    pub count_max: u32,
}

impl Default for SearchLimits {
    fn default() -> Self {
        SearchLimits {
            parameters_max: 64,
            // An address takes two arms of a compound SELECT, which SQLite limits to 500.
            values_max: 200,
            // A value binds three variables at most, of which SQLite allows 32,766.
            values_total_max: 1000,
            text_bytes_max: 4096,
            chain_max: 4,
            // Each is an alias with a permit's predicate of its own: some thirty variables.
            links_max: 64,
            sorts_max: 4,
            content: false,
            count_default: 50,
            count_max: 1000,
        }
    }
}

/// What reading a search needs besides its text.
#[derive(Debug, Clone, Copy)]
pub struct SearchContext<'c> {
    /// This gateway's base address without a slash at its end; references that start with it are relative ones.
    pub base: &'c str,
    /// The present, for `ap` on dates.
    pub now: Timestamp,
    /// `Prefer: handling=lenient`: parameters not known are left out and listed.
    pub lenient: bool,
}

/// Reads the decoded pairs of a query string and form.
///
/// Errors: `ParameterUnknown` names the nearest known name, `ModifierUnknown` the modifiers offered, `ParameterInvalid`
/// what is wrong with a value, `TooCostly` the limit passed; all name the parameter as their expression.
/// Source: FHIR R4 search.html
pub fn parse(
    kind: ResourceType,
    pairs: &[(String, String)],
    limits: &SearchLimits,
    context: &SearchContext<'_>,
) -> Result<SearchRequest, Refusal> {
    if pairs.len() > limits.parameters_max {
        return Err(too_costly("", format!("At most {} parameters.", limits.parameters_max)));
    }
    let mut request = SearchRequest {
        kind,
        criteria: Vec::new(),
        order: Vec::new(),
        count: limits.count_default,
        total: Total::Unsaid,
        count_only: false,
        includes: Vec::new(),
        shape: Shape::Whole,
        applied: Vec::new(),
        ignored: Vec::new(),
    };
    let mut single = Vec::new();
    let mut values = 0;
    let links = std::cell::Cell::new(0);
    for (name, text) in pairs {
        if text.len() > limits.text_bytes_max {
            return Err(too_costly(name, format!("At most {} bytes a value.", limits.text_bytes_max)));
        }
        if text.is_empty() {
            return Err(invalid(name, "It has no value.".to_owned()));
        }
        let mut one = || {
            if result::read(&mut request, name, text, &mut single, limits)? {
                return Ok(());
            }
            values += split_values(text, ',').len();
            if values > limits.values_total_max {
                return Err(too_costly(name, format!("At most {} values in all.", limits.values_total_max)));
            }
            let asked = chain::Asked { name, text, limits, context, links: &links };
            if name == "_filter" {
                match filter::read(&asked, kind)? {
                    // What all must hold is as if it stood in parameters of its own.
                    Criterion::All(all) => request.criteria.extend(all),
                    criterion => request.criteria.push(criterion),
                }
                request.applied.push((name.clone(), text.clone()));
                return Ok(());
            }
            match asked.criterion(kind, name, 0)? {
                Criterion::All(all) => request.criteria.extend(all),
                criterion => {
                    request.criteria.extend(narrowed(&criterion));
                    request.criteria.push(criterion);
                }
            }
            request.applied.push((name.clone(), text.clone()));
            Ok(())
        };
        match one() {
            // What is known and written wrong, or too much, is refused all the same.
            Err(refusal) if context.lenient && refusal.reason == Reason::ParameterUnknown => {
                request.ignored.push(Refusal { expression: vec![name.clone()], ..refusal });
            }
            other => other?,
        }
    }
    // FHIR R4 search.html#summary
    if request.shape == Shape::Text && !request.includes.is_empty() {
        return Err(invalid("_summary", "_summary=text and includes do not go together.".to_owned()));
    }
    Ok(request)
}

/// What follows from a criterion and finds rows faster than it: of a typed identifier, its value.
fn narrowed(criterion: &Criterion) -> Option<Criterion> {
    let Criterion::Index(parameter, Condition::Any(tests)) = criterion else { return None };
    let values = tests.iter().map(|test| match test {
        Test::OfType { value, .. } => {
            Some(Test::Token(TokenTest { system: SystemTest::Any, code: Some(value.clone()) }))
        }
        _ => None,
    });
    Some(Criterion::Index(*parameter, Condition::Any(values.collect::<Option<_>>()?)))
}

/// Reads one criterion on the rows themselves: `code` as it ends the parameter's name.
fn criterion(kind: ResourceType, end: &str, asked: &chain::Asked<'_>) -> Result<Criterion, Refusal> {
    let chain::Asked { name, text, limits, context, .. } = *asked;
    let (code, modifier) = match end.split_once(':') {
        Some((code, modifier)) => (code, Some(modifier)),
        None => (end, None),
    };
    if let Some(what) = not_offered(code) {
        return Err(unsupported(name, what));
    }
    if code == "_list" {
        return list::read(asked, kind, modifier);
    }
    if matches!(code, "_text" | "_content") {
        return fulltext::read(asked, kind, code, modifier);
    }
    let definition = find(kind, code, name)?;
    let parameter = parameter_of(kind, definition);
    let values = split_values(text, ',');
    if values.len() > limits.values_max {
        return Err(too_costly(name, format!("At most {} values in a list.", limits.values_max)));
    }
    if values.iter().any(|v| v.is_empty()) {
        return Err(invalid(name, "A value of the list is empty.".to_owned()));
    }
    if modifier == Some("missing") {
        let missing = match text {
            "true" => true,
            "false" => false,
            _ => return Err(invalid(name, "`:missing` takes true or false.".to_owned())),
        };
        if matches!(code, "_id" | "_lastUpdated") {
            return Err(no_modifier(name, "Every resource has one; `:missing` says nothing here."));
        }
        return Ok(Criterion::Index(parameter, Condition::Missing(missing)));
    }
    if let (true, Some(_)) = (matches!(code, "_id" | "_lastUpdated"), modifier) {
        return Err(no_modifier(name, "This parameter takes no modifier."));
    }
    match (code, modifier) {
        ("_id", None) => {
            let ids = values.iter().map(|v| value::id(name, &unescape(v))).collect::<Result<_, _>>()?;
            return Ok(Criterion::Id(ids));
        }
        ("_lastUpdated", None) => {
            let tests = values
                .iter()
                .map(|v| range::date(name, &unescape(v), context.now))
                .collect::<Result<_, _>>()?;
            return Ok(Criterion::Updated(tests));
        }
        _ => {}
    }
    let (not, modifier) = match (parameter.kind, modifier) {
        (SearchKind::Token, Some("not")) => (true, None),
        (SearchKind::Token, Some("not-in")) => (true, Some("in")),
        (_, modifier) => (false, modifier),
    };
    let reader = value::Reader { name, definition, context };
    let tests: Vec<Test> =
        values.iter().map(|v| reader.read(parameter.kind, modifier, v)).collect::<Result<_, _>>()?;
    Ok(Criterion::Index(parameter, if not { Condition::NotAny(tests) } else { Condition::Any(tests) }))
}

/// Parameters of R4 that are known and not offered, and what to do instead.
fn not_offered(code: &str) -> Option<&'static str> {
    Some(match code {
        "_filter" => "A filter stands alone as `_filter`, and is about the type searched.",
        "_query" => "Named queries are not offered; use the parameters of the type.",
        "_type" => "One type is searched at a time: [base]/[type]?...",
        _ => return None,
    })
}

/// The definition of a parameter; `name` is as written, for the refusal.
fn find(kind: ResourceType, code: &str, name: &str) -> Result<&'static SearchParameter, Refusal> {
    let definitions = definitions::r4();
    let definition = definitions.search_parameter(kind, code).filter(|d| d.kind != SearchKind::Special);
    definition.ok_or_else(|| {
        let known = definitions
            .search_parameters(kind)
            .iter()
            .filter(|d| d.kind != SearchKind::Special)
            .map(|d| d.code);
        let mut text = format!("{} has no search parameter of this name.", definitions.type_name(kind));
        if let Some(nearest) = nearest::nearest(code, known) {
            text.push_str(&format!(" Perhaps {nearest} is meant."));
        }
        unsupported(name, &text)
    })
}

/// A definition as plans use it.
pub fn parameter_of(kind: ResourceType, definition: &'static SearchParameter) -> Parameter {
    let code = definition.code;
    // Where a resource is filed under its `patient` or `subject`, a value of these that names a Patient says which
    // compartment it is in. Other parameters of the compartment (`actor`, `member`, `link`) may name several patients, of
    // whom a resource is filed under one at most, so they choose none.
    let named = definitions::r4().patient_compartment(kind);
    let filed = named.iter().any(|code| matches!(*code, "patient" | "subject"));
    let compartment =
        definition.kind == SearchKind::Reference && filed && matches!(code, "patient" | "subject");
    Parameter { id: definition.id, code, kind: definition.kind, compartment }
}

/// Components of a composite parameter, each as the definition that says how it is compared.
fn components(
    definition: &'static SearchParameter,
) -> impl Iterator<Item = (SearchKind, &'static SearchParameter)> {
    definition.components.iter().map(move |component| {
        let by_name = definitions::r4().parameters().iter().find(|p| p.name == component.definition);
        (component.kind, by_name.unwrap_or(definition))
    })
}

/// Reads `_sort`: keys separated by commas, `-` for descending (FHIR R4 search.html#sort).
fn orders(kind: ResourceType, text: &str, limits: &SearchLimits) -> Result<Vec<Order>, Refusal> {
    let keys: Vec<&str> = text.split(',').collect();
    if keys.len() > limits.sorts_max {
        return Err(too_costly("_sort", format!("At most {} sort keys.", limits.sorts_max)));
    }
    keys.into_iter()
        .map(|written| {
            let (code, descending) = match written.strip_prefix('-') {
                Some(code) => (code, true),
                None => (written, false),
            };
            let key = match code {
                "_lastUpdated" => OrderKey::Updated,
                "_id" => OrderKey::Id,
                _ => {
                    let definition = find(kind, code, "_sort")?;
                    if definition.kind == SearchKind::Composite {
                        return Err(unsupported("_sort", "A composite parameter gives no order."));
                    }
                    OrderKey::Parameter(parameter_of(kind, definition))
                }
            };
            Ok(Order { key, descending })
        })
        .collect()
}

/// Splits at an unescaped `separator`; escapes stay for the next level (FHIR R4 search.html#escaping).
fn split_values(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if character == '\\' {
            escaped = true;
        } else if character == separator {
            parts.push(text.get(start..at).unwrap_or(""));
            start = at + separator.len_utf8();
        }
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

/// The reference by which a resource is part of a larger one of its type, one at most: a strict hierarchy (FHIR R4
/// search.html#reference).
pub fn part_of(kind: ResourceType) -> Option<Parameter> {
    let definitions = definitions::r4();
    let code = match definitions.type_name(kind) {
        "Location" | "Organization" => "partof",
        "Encounter" => "part-of",
        _ => return None,
    };
    definitions.search_parameter(kind, code).map(|definition| parameter_of(kind, definition))
}

/// Puts escapes where a value has what would separate it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, ',' | '|' | '$' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

/// As [`escape`], of a value whose bars part system and code.
fn escape_values(text: &str) -> String {
    escape(text).replace("\\|", "|")
}

/// Takes the escapes `\,` `\|` `\$` `\\` away.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some(next @ (',' | '|' | '$' | '\\')) => out.push(next),
            Some(next) => out.extend(['\\', next]),
            None => out.push('\\'),
        }
    }
    out
}

/// A type that a parameter names. The log is searched by itself: its records are no rows that refer to others.
fn kind_named(parameter: &str, name: &str) -> Result<ResourceType, Refusal> {
    match definitions::r4().resource_type(name) {
        Some(_) if name == "AuditEvent" => {
            Err(unsupported(parameter, "The log is searched as AuditEvent?... alone."))
        }
        Some(kind) => Ok(kind),
        None => Err(invalid(parameter, "It names no resource type where one is due.".to_owned())),
    }
}

fn unsupported(name: &str, text: &str) -> Refusal {
    Refusal::new(Reason::ParameterUnknown, text).at(name)
}

fn no_modifier(name: &str, text: &str) -> Refusal {
    Refusal::new(Reason::ModifierUnknown, text).at(name)
}

fn invalid(name: &str, text: String) -> Refusal {
    Refusal::new(Reason::ParameterInvalid, text).at(name)
}

fn too_costly(name: &str, text: String) -> Refusal {
    let refusal = Refusal::new(Reason::TooCostly, text);
    if name.is_empty() { refusal } else { refusal.at(name) }
}

#[cfg(test)]
mod tests;
