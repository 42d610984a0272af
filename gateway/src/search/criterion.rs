//! Typed criteria: what a search asks, once its text is understood.
//!
//! Values are in the units of the index (microseconds, normalised text), so that nothing after this looks at the
//! client's text again. Sources: FHIR R4 search.html.

use sluis_conformance::definitions::{self, ParamId, SearchKind};

use crate::connection::request::Shape;
use crate::ids::{ResourceId, ResourceType};
use crate::response::refusal::Refusal;
use crate::search::words::TextTest;

/// A search, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// Type searched.
    pub kind: ResourceType,
    /// All must hold (FHIR R4 search.html#combining: repeats are AND).
    pub criteria: Vec<Criterion>,
    /// Sort keys, most significant first; empty: by row key, that is in order of creation.
    pub order: Vec<Order>,
    /// Matches on a page, 0 to `count_max`.
    pub count: u32,
    /// `_total`, or what stands for it when absent.
    pub total: Total,
    /// `_summary=count` or `_count=0`: the total alone.
    pub count_only: bool,
    /// References to follow.
    pub includes: Vec<Include>,
    /// `_summary`, `_elements`: how much of each resource is wanted.
    pub shape: Shape,
    /// Parameters as applied, for the `self` link (FHIR R4 search.html#conformance).
    pub applied: Vec<(String, String)>,
    /// What was not understood and left out, where the client asked for that (FHIR R4 search.html#errors).
    pub ignored: Vec<Refusal>,
}

impl SearchRequest {
    /// Every parameter that criteria, order and includes look at, those at the far ends of references included.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut all = Vec::new();
        self.criteria.iter().for_each(|criterion| criterion.parameters(&mut all));
        all.extend(self.order.iter().filter_map(|order| match order.key {
            OrderKey::Parameter(parameter) => Some(parameter),
            OrderKey::Updated | OrderKey::Id => None,
        }));
        all.extend(self.includes.iter().filter_map(|include| include.parameter));
        all
    }

    /// The parameter of words of texts that a criterion asks, at the far ends of references too.
    pub fn text_parameter(&self) -> Option<&'static str> {
        self.criteria.iter().find_map(Criterion::text_parameter)
    }

    /// Whether a criterion names a value set or a place in a hierarchy, to be settled before a plan is made.
    pub fn names_terms(&self) -> bool {
        !self.terms().is_empty()
    }

    /// What the criteria name of terminologies and hierarchies, those at the far ends of references included.
    pub fn terms(&self) -> Vec<&Terms> {
        let mut terms = Vec::new();
        self.criteria.iter().for_each(|criterion| criterion.terms(&mut terms));
        terms
    }

    /// Calls `visit` with the tests of every criterion, those at the far ends of references included.
    ///
    /// Errors: the first of `visit`.
    pub fn each_tests<E>(&mut self, visit: &mut dyn FnMut(&mut Vec<Test>) -> Result<(), E>) -> Result<(), E> {
        self.criteria.iter_mut().try_for_each(|criterion| criterion.each_tests(visit))
    }
}

/// One condition on the rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Criterion {
    /// `_id`: any of these.
    Id(Vec<ResourceId>),
    /// `_lastUpdated`: any of these.
    Updated(Vec<DateTest>),
    /// A parameter of the index.
    Index(Parameter, Condition),
    /// Any of these (a compartment: FHIR R4 compartmentdefinition.html; `_filter`, `or`).
    AnyOf(Vec<Criterion>),
    /// `reference.rest`, `reference:Type.rest`: the parameter refers to a visible resource as one of the links says
    /// (FHIR R4 search.html#chaining). Never empty.
    Chain(Parameter, Vec<Link>),
    /// `_has:Type:reference:rest`: a visible resource as the link says refers here by the parameter, which is one of the
    /// link's type (FHIR R4 search.html#has).
    Has(Parameter, Link),
    /// Each of these holds (`_filter`, `and`).
    All(Vec<Criterion>),
    /// This does not hold (`not`).
    Not(Box<Criterion>),
    /// `_text`, `_content`: words of the resource's texts.
    Text(TextTest),
}

/// A resource at the other end of a reference, and what must hold of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Its type.
    pub kind: ResourceType,
    /// The condition on it.
    pub criterion: Box<Criterion>,
}

impl Criterion {
    fn parameters(&self, all: &mut Vec<Parameter>) {
        match self {
            Criterion::Index(parameter, _) => all.push(*parameter),
            Criterion::Id(_) | Criterion::Updated(_) | Criterion::Text(_) => {}
            Criterion::Chain(parameter, links) => {
                all.push(*parameter);
                links.iter().for_each(|link| link.criterion.parameters(all));
            }
            Criterion::Has(parameter, link) => {
                all.push(*parameter);
                link.criterion.parameters(all);
            }
            Criterion::All(some) | Criterion::AnyOf(some) => some.iter().for_each(|one| one.parameters(all)),
            Criterion::Not(one) => one.parameters(all),
        }
    }

    fn text_parameter(&self) -> Option<&'static str> {
        match self {
            Criterion::Text(test) => Some(if test.narrative { "_text" } else { "_content" }),
            Criterion::Id(_) | Criterion::Updated(_) | Criterion::Index(..) => None,
            Criterion::All(some) | Criterion::AnyOf(some) => some.iter().find_map(Criterion::text_parameter),
            Criterion::Chain(_, links) => links.iter().find_map(|link| link.criterion.text_parameter()),
            Criterion::Has(_, link) => link.criterion.text_parameter(),
            Criterion::Not(one) => one.text_parameter(),
        }
    }

    fn terms<'c>(&'c self, terms: &mut Vec<&'c Terms>) {
        match self {
            Criterion::Index(_, Condition::Any(tests) | Condition::NotAny(tests)) => {
                terms.extend(tests.iter().filter_map(|test| match test {
                    Test::Terms(named) => Some(named),
                    _ => None,
                }));
            }
            Criterion::Id(_) | Criterion::Updated(_) | Criterion::Index(..) | Criterion::Text(_) => {}
            Criterion::AnyOf(each) => each.iter().for_each(|criterion| criterion.terms(terms)),
            Criterion::Chain(_, links) => links.iter().for_each(|link| link.criterion.terms(terms)),
            Criterion::Has(_, link) => link.criterion.terms(terms),
            Criterion::All(some) => some.iter().for_each(|one| one.terms(terms)),
            Criterion::Not(one) => one.terms(terms),
        }
    }

    fn each_tests<E>(&mut self, visit: &mut dyn FnMut(&mut Vec<Test>) -> Result<(), E>) -> Result<(), E> {
        match self {
            Criterion::Index(_, Condition::Any(tests) | Condition::NotAny(tests)) => visit(tests),
            Criterion::Id(_) | Criterion::Updated(_) | Criterion::Index(..) | Criterion::Text(_) => Ok(()),
            Criterion::AnyOf(each) => each.iter_mut().try_for_each(|criterion| criterion.each_tests(visit)),
            Criterion::Chain(_, links) => {
                links.iter_mut().try_for_each(|link| link.criterion.each_tests(visit))
            }
            Criterion::Has(_, link) => link.criterion.each_tests(visit),
            Criterion::All(some) => some.iter_mut().try_for_each(|one| one.each_tests(visit)),
            Criterion::Not(one) => one.each_tests(visit),
        }
    }

    /// Leaves out the ends of references, at any depth, that `reach` refuses.
    ///
    /// Errors: the refusal of the first, where none is left: a chain of which nothing may be followed.
    pub fn prune<E>(&mut self, reach: &dyn Fn(ResourceType) -> Result<(), E>) -> Result<(), E> {
        match self {
            Criterion::Id(_) | Criterion::Updated(_) | Criterion::Index(..) | Criterion::Text(_) => Ok(()),
            Criterion::AnyOf(each) => each.iter_mut().try_for_each(|criterion| criterion.prune(reach)),
            Criterion::All(some) => some.iter_mut().try_for_each(|one| one.prune(reach)),
            Criterion::Not(one) => one.prune(reach),
            Criterion::Has(_, link) => {
                reach(link.kind)?;
                link.criterion.prune(reach)
            }
            Criterion::Chain(_, links) => {
                let mut refused = None;
                links.retain_mut(|link| match reach(link.kind).and_then(|()| link.criterion.prune(reach)) {
                    Ok(()) => true,
                    Err(refusal) => {
                        refused.get_or_insert(refusal);
                        false
                    }
                });
                match refused {
                    Some(refusal) if links.is_empty() => Err(refusal),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A search parameter, as far as plans need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its number in the definitions.
    pub id: ParamId,
    /// Its name in a URL.
    pub code: &'static str,
    /// How it is searched.
    pub kind: SearchKind,
    /// Whether a value of it that names a Patient puts the resource in that Patient's compartment.
    pub compartment: bool,
}

/// What a parameter must or must not have.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// `:missing`: `true` for no value at all.
    Missing(bool),
    /// At least one value passes one of the tests.
    Any(Vec<Test>),
    /// No value passes any of the tests (`:not`; rows without a value pass).
    NotAny(Vec<Test>),
}

/// A test of one index entry.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Normalised text starts with this normalised text.
    Starts(String),
    /// Normalised text contains this normalised text.
    Contains(String),
    /// Normalised text is this normalised text.
    Equals(String),
    /// Normalised text ends with this normalised text.
    Ends(String),
    /// Text is exactly this.
    Exact(String),
    /// A value that does not pass.
    Unlike(Box<Test>),
    /// A token, or the identifier of a reference.
    Token(TokenTest),
    /// A moment or period.
    Date(DateTest),
    /// A number.
    Number(NumberTest),
    /// A number with its unit.
    Quantity(NumberTest, UnitTest),
    /// A reference to a resource of this gateway; without a type: of whichever type.
    Reference(Option<ResourceType>, ResourceId),
    /// A reference to an absolute address elsewhere, or to a canonical one.
    Address(String),
    /// `:below` of a canonical address with its version: that version, and those within it (`|1` has `|1.1`).
    Versions(String),
    /// A URI, letter by letter.
    Uri(String),
    /// `:below`: a URI that starts with this one.
    UriBelow(String),
    /// `:above`: one of these URIs, each the start of the one given.
    UriAbove(Vec<String>),
    /// `:of-type`: an identifier of a type with this value.
    OfType {
        /// Code system of the type.
        system: String,
        /// Code of the type.
        code: String,
        /// The identifier's value.
        value: String,
    },
    /// A token of a system with one of these codes.
    Codes {
        /// The system.
        system: String,
        /// The codes, in order.
        codes: Vec<String>,
    },
    /// What a value set or a hierarchy holds: `interaction::terms` puts what it stands for in its place before a plan is
    /// made.
    Terms(Terms),
    /// One test for each component, all on the same repetition; components by position.
    Composite(Vec<(SearchKind, Test)>),
}

/// A place in a terminology or among resources, by the name of the parameter that asks (for refusals).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Terms {
    /// `:in`, `:not-in`: codes of a value set.
    In {
        /// The parameter as written.
        name: String,
        /// Canonical address, or `ValueSet/[id]`.
        address: String,
    },
    /// `:below`, `:above` of a token: itself and what it subsumes, or what subsumes it.
    Kin {
        /// The parameter as written.
        name: String,
        /// Code system.
        system: String,
        /// The code.
        code: String,
        /// Below, rather than above.
        below: bool,
    },
    /// `:below`, `:above` of a reference to what is part of a whole: itself and its parts, or its wholes.
    Places {
        /// The parameter as written.
        name: String,
        /// Type of the resource.
        kind: ResourceType,
        /// Its id.
        id: ResourceId,
        /// Below, rather than above.
        below: bool,
    },
}

impl Terms {
    /// The parameter as written.
    pub fn name(&self) -> &str {
        match self {
            Terms::In { name, .. } | Terms::Kin { name, .. } | Terms::Places { name, .. } => name,
        }
    }
}

/// `code`, `system|code`, `|code`, `system|` (FHIR R4 search.html#token).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenTest {
    /// Which system.
    pub system: SystemTest,
    /// Which code; `None` for every code of the system.
    pub code: Option<String>,
}

/// The system part of a token or quantity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SystemTest {
    /// Not said.
    Any,
    /// `|code`: has none.
    None,
    /// This one.
    Is(String),
}

/// The unit part of a quantity (FHIR R4 search.html#quantity).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitTest {
    /// Not said.
    Any,
    /// `system|code`, compared as sent.
    Coded(SystemTest, String),
    /// `system|code` of a unit that has a canonical one, to which the number is converted.
    Canonical(String),
    /// `||unit`: code or human unit.
    Named(String),
}

/// A date with its prefix: the searched range [low, high) in microseconds UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateTest {
    /// How to compare.
    pub prefix: Prefix,
    /// Start, inclusive.
    pub low: i64,
    /// End, exclusive.
    pub high: i64,
}

/// A number with its prefix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberTest {
    /// How to compare.
    pub prefix: Prefix,
    /// The value itself: what ordering prefixes compare with.
    pub value: f64,
    /// Start of its implicit precision (or of `ap`), inclusive: what equality compares with.
    pub low: f64,
    /// End of it, exclusive.
    pub high: f64,
}

/// Comparison prefixes (FHIR R4 search.html#prefix).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// equal
    Eq,
    /// not equal
    Ne,
    /// greater
    Gt,
    /// less
    Lt,
    /// greater or equal
    Ge,
    /// less or equal
    Le,
    /// starts after
    Sa,
    /// ends before
    Eb,
    /// approximately
    Ap,
}

/// One sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub key: OrderKey,
    /// Largest first. Rows without a value come last either way.
    pub descending: bool,
}

/// What to sort by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKey {
    /// `_lastUpdated`
    Updated,
    /// `_id`
    Id,
    /// The smallest (descending: largest) entry of a parameter: start of a date, normalised text, code, value, id.
    Parameter(Parameter),
}

/// Whether the number of all matches is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// Not said: counted where it is cheap, in one patient's data.
    Unsaid,
    /// `none`
    None,
    /// `accurate`, and `estimate`, since an exact number is the best estimate.
    Accurate,
}

/// `_include` or `_revinclude` `=Type:parameter[:Target]` (FHIR R4 search.html#revinclude).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Whether what refers to the matches is included, rather than what they refer to.
    pub reverse: bool,
    /// `:iterate`: of what was included as well as of the matches.
    pub iterate: bool,
    /// Type of the resources that hold the reference; `None`: of any (`*`).
    pub source: Option<ResourceType>,
    /// The reference parameter; `None`: every one of the type (`*`).
    pub parameter: Option<Parameter>,
    /// Only references to this type.
    pub target: Option<ResourceType>,
    /// Types that may be included; empty: any.
    pub reach: Vec<ResourceType>,
}

impl Include {
    /// Leaves out the types that `reach` refuses.
    ///
    /// Errors: the refusal, when nothing could be included then.
    pub fn prune<E>(&mut self, reach: &dyn Fn(ResourceType) -> Result<(), E>) -> Result<(), E> {
        let definitions = definitions::r4();
        let far = if self.reverse { self.source } else { self.target };
        if let Some(kind) = far {
            return reach(kind);
        }
        let named = self.parameter.and_then(|parameter| definitions.parameter(parameter.id));
        let mut kinds: Vec<ResourceType> = match named {
            Some(definition) if !self.reverse => definition.targets.clone(),
            _ => Vec::new(),
        };
        if kinds.is_empty() {
            kinds = definitions.resource_types().collect();
        }
        let mut refused = None;
        kinds.retain(|kind| reach(*kind).map_err(|refusal| refused.get_or_insert(refusal)).is_ok());
        match refused {
            Some(refusal) if kinds.is_empty() => return Err(refusal),
            Some(_) => self.reach = kinds,
            None => {}
        }
        Ok(())
    }
}

impl Prefix {
    /// The two letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Prefix::Eq => "eq",
            Prefix::Ne => "ne",
            Prefix::Gt => "gt",
            Prefix::Lt => "lt",
            Prefix::Ge => "ge",
            Prefix::Le => "le",
            Prefix::Sa => "sa",
            Prefix::Eb => "eb",
            Prefix::Ap => "ap",
        }
    }

    /// The prefix that starts `text`, and the rest; no letters: `eq`.
    pub fn split(text: &str) -> (Prefix, &str) {
        let prefix = match text.get(..2) {
            Some("eq") => Prefix::Eq,
            Some("ne") => Prefix::Ne,
            Some("gt") => Prefix::Gt,
            Some("lt") => Prefix::Lt,
            Some("ge") => Prefix::Ge,
            Some("le") => Prefix::Le,
            Some("sa") => Prefix::Sa,
            Some("eb") => Prefix::Eb,
            Some("ap") => Prefix::Ap,
            _ => return (Prefix::Eq, text),
        };
        (prefix, text.get(2..).unwrap_or(""))
    }
}
