//! Search parameters as FHIR defines them, before they are compiled.

use super::TypeId;

/// A search parameter's place in the table, sorted by its FHIR id. Stable within one version of the definitions; a store
/// keeps the parameter's address, not this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) u16);

impl ParamId {
    /// Position among all parameters, from 0 without gaps.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How a parameter's values are compared. Source: FHIR R4 search.html#ptypes
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum SearchKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

impl SearchKind {
    /// The code in `SearchParameter.type`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::String => "string",
            Self::Token => "token",
            Self::Reference => "reference",
            Self::Composite => "composite",
            Self::Quantity => "quantity",
            Self::Uri => "uri",
            Self::Special => "special",
        }
    }

    /// The kind of a `SearchParameter.type`; `None` for a code R4 does not know.
    pub fn from_code(code: &str) -> Option<Self> {
        use SearchKind as K;
        let all = [
            K::Number,
            K::Date,
            K::String,
            K::Token,
            K::Reference,
            K::Composite,
            K::Quantity,
            K::Uri,
            K::Special,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// One search parameter.
#[derive(Debug)]
pub struct SearchParameter {
    /// Its place in the table.
    pub id: ParamId,
    /// `SearchParameter.id`, such as `clinical-patient`.
    pub name: &'static str,
    /// The name in a query: `patient`.
    pub code: &'static str,
    /// How values are compared.
    pub kind: SearchKind,
    /// Canonical address.
    pub url: String,
    /// Types it is defined for; `Resource` and `DomainResource` stand for all that specialise them.
    pub bases: Vec<&'static str>,
    /// FHIRPath of all its bases.
    pub expression: &'static str,
    /// Resource types a reference parameter may point to, sorted; empty means any.
    pub targets: Vec<TypeId>,
    /// Parts of a composite, in order; empty for other kinds.
    pub components: Vec<Component>,
}

/// One part of a composite parameter.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// `SearchParameter.id` of the parameter that says how the part is compared.
    pub definition: &'static str,
    /// How the part is compared.
    pub kind: SearchKind,
    /// FHIRPath from the composite's node.
    pub expression: &'static str,
}
