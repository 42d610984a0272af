//! Search parameters an operator adds to those of R4, before the definitions are first used.
//!
//! They are compiled and judged as R4's own are, and from then on nothing tells them apart but [`Definitions::is_own`].

use thiserror::Error;

use super::{Definitions, R4, SearchKind, load};
use crate::path::{self, PathError};

/// Search parameters an operator may add.
const OWN_MAX: usize = 200;
/// Where FHIR's own parameters live: no operator's.
const FHIR: &str = "http://hl7.org/fhir/SearchParameter/";

/// A search parameter of the operator (FHIR R4 searchparameter.html).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnParameter {
    /// Canonical address.
    pub url: String,
    /// The name in a query.
    pub code: String,
    /// How values are compared; not `special`.
    pub kind: SearchKind,
    /// Resource types it is for.
    pub bases: Vec<String>,
    /// Resource types a reference may lead to; empty: any.
    pub targets: Vec<String>,
    /// FHIRPath of all its bases.
    pub expression: String,
    /// Of a composite: address of each part's parameter, and its FHIRPath.
    pub components: Vec<(String, String)>,
}

/// Why a parameter is not added; none is then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OwnError {
    /// The definitions are in use without it.
    #[error("search parameters are added before the definitions are first used")]
    TooLate,
    /// There are too many.
    #[error("at most {OWN_MAX} search parameters are added to those of R4")]
    TooMany,
    /// Its description does not hold.
    #[error("search parameter {url}: {what}")]
    Wrong {
        /// The parameter.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// Its expression is outside of what is indexed.
    #[error("search parameter {url}: {cause}")]
    Expression {
        /// The parameter.
        url: String,
        /// Why it does not compile.
        cause: PathError,
    },
}

/// Adds search parameters to the definitions of this process. Adding the same ones again changes nothing.
///
/// Errors: [`OwnError`]; the definitions are then still to be made, or as they were.
pub fn extend(own: Vec<OwnParameter>) -> Result<(), OwnError> {
    if let Some(definitions) = R4.get() {
        return if definitions.own == own { Ok(()) } else { Err(OwnError::TooLate) };
    }
    if own.len() > OWN_MAX {
        return Err(OwnError::TooMany);
    }
    own.iter().try_for_each(form)?;
    let definitions = load::r4(own);
    check(&definitions)?;
    // Another thread may have made them meanwhile; of the same parameters they are the same.
    R4.set(definitions).or_else(|mine| match R4.get() {
        Some(there) if there.own == mine.own => Ok(()),
        _ => Err(OwnError::TooLate),
    })
}

/// What a description says of itself.
fn form(own: &OwnParameter) -> Result<(), OwnError> {
    let wrong = |what: &str| Err(OwnError::Wrong { url: own.url.clone(), what: what.to_owned() });
    let code = !own.code.is_empty()
        && own.code.len() <= 64
        && own.code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if own.url.is_empty() || own.url.starts_with(FHIR) {
        return wrong("its address is none of an operator's own");
    }
    // A name that begins so is one of a result parameter, or may become one.
    if !code || own.code.starts_with('_') {
        return wrong("its code is 1 to 64 letters, digits and hyphens");
    }
    if own.kind == SearchKind::Special {
        return wrong("the type special says nothing that could be indexed");
    }
    if (own.kind == SearchKind::Composite) == own.components.is_empty() {
        return wrong("a composite has components, and nothing else has");
    }
    if own.bases.is_empty() {
        return wrong("it names no base");
    }
    Ok(())
}

/// What the definitions make of them.
fn check(definitions: &Definitions) -> Result<(), OwnError> {
    let wrong = |url: &str, what: String| Err(OwnError::Wrong { url: url.to_owned(), what });
    for own in &definitions.own {
        for name in own.bases.iter().chain(&own.targets) {
            if definitions.resource_type(name).is_none() {
                return wrong(&own.url, format!("{name} is no resource type of R4"));
            }
        }
        let made = definitions.parameters().iter().filter(|parameter| parameter.url == own.url);
        let made: Vec<_> = made.collect();
        let [one] = made.as_slice() else { return wrong(&own.url, "it is there more than once".to_owned()) };
        if one.components.len() != own.components.len() {
            return wrong(&own.url, "a component names no known search parameter".to_owned());
        }
    }
    for type_ in definitions.resource_types() {
        for pair in definitions.search_parameters(type_).windows(2) {
            if let [one, other] = pair
                && one.code == other.code
            {
                let own = if definitions.is_own(one.id) { one } else { other };
                let name = definitions.type_name(type_);
                return wrong(&own.url, format!("{name} has a search parameter {} already", own.code));
            }
        }
    }
    for (id, cause) in path::uncompiled(definitions) {
        if let Some(own) = definitions.parameter(*id).filter(|_| definitions.is_own(*id)) {
            return Err(OwnError::Expression { url: own.url.clone(), cause: cause.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::json::{Doc, JsonLimits};

    fn own(code: &str, kind: SearchKind, base: &str, expression: &str) -> OwnParameter {
        OwnParameter {
            url: format!("http://example.org/SearchParameter/{code}"),
            code: code.to_owned(),
            kind,
            bases: vec![base.to_owned()],
            targets: Vec::new(),
            expression: expression.to_owned(),
            components: Vec::new(),
        }
    }

    /// As [`extend`], without making the definitions those of the process.
    fn made(own: Vec<OwnParameter>) -> Result<Definitions, OwnError> {
        own.iter().try_for_each(form)?;
        let definitions = load::r4(own);
        check(&definitions)?;
        Ok(definitions)
    }

    #[test]
    fn an_own_parameter_indexes_like_another() {
        let definitions = made(vec![
            own("onset-note", SearchKind::String, "Condition", "Condition.note.text"),
            OwnParameter {
                components: vec![
                    ("http://hl7.org/fhir/SearchParameter/clinical-code".to_owned(), "code".to_owned()),
                    ("http://example.org/SearchParameter/onset-note".to_owned(), "note.text".to_owned()),
                ],
                ..own("code-note", SearchKind::Composite, "Condition", "Condition")
            },
        ])
        .unwrap();
        let type_ = definitions.resource_type("Condition").unwrap();
        let parameter = definitions.search_parameter(type_, "onset-note").unwrap();
        assert!(definitions.is_own(parameter.id));
        assert!(!definitions.is_own(definitions.search_parameter(type_, "code").unwrap().id));
        let condition = r#"{"resourceType":"Condition","code":{"coding":[{"code":"c"}]},"note":[{"text":"Begon links"}]}"#;
        let doc = Doc::parse(condition.as_bytes().to_vec(), JsonLimits::default()).unwrap();
        let entries = path::extract(&definitions, type_, doc.root());
        assert_eq!(entries.iter().filter(|entry| definitions.is_own(entry.parameter)).count(), 2);
    }

    #[test]
    fn what_cannot_be_indexed_is_refused_by_name() {
        let string = SearchKind::String;
        let table = [
            (own("x", string, "Condition", "Condition.nonsense"), "no element 'nonsense'"),
            (own("x", string, "Condition", "Condition.note.text.replace('a', 'b')"), "cannot read"),
            (own("x", string, "Condition", "Patient.name"), "nothing in"),
            (own("x", string, "Conditio", "Condition.note.text"), "no resource type"),
            (own("code", string, "Condition", "Condition.note.text"), "has a search parameter code already"),
            (own("_x", string, "Condition", "Condition.note.text"), "its code"),
            (own("a b", string, "Condition", "Condition.note.text"), "its code"),
            (own("x", SearchKind::Special, "Condition", "Condition.note.text"), "special"),
            (own("x", SearchKind::Composite, "Condition", "Condition"), "components"),
            (OwnParameter { bases: Vec::new(), ..own("x", string, "", "") }, "no base"),
            (OwnParameter { url: format!("{FHIR}x"), ..own("x", string, "Condition", "") }, "address"),
            (
                OwnParameter {
                    components: vec![("urn:none".to_owned(), "code".to_owned())],
                    ..own("x", SearchKind::Composite, "Condition", "Condition")
                },
                "component",
            ),
        ];
        for (own, words) in table {
            let said = made(vec![own.clone()]).unwrap_err().to_string();
            assert!(said.contains(words), "{own:?}: {said}");
        }
        let twice = own("x", string, "Condition", "Condition.note.text");
        assert!(made(vec![twice.clone(), twice]).is_err());
        let many = vec![own("x", string, "Condition", "Condition.note.text"); OWN_MAX + 1];
        assert!(matches!(extend(many), Err(OwnError::TooMany | OwnError::TooLate)));
    }
}
