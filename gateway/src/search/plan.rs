//! A search, planned: criteria, driver, order and includes, without a word of SQL. Printable, so that plans can be
//! reviewed.
//!
//! Planning looks at no data. Which way the rows are found is chosen by rule, not by statistics, so one search text
//! has one plan on every node and in every test:
//!
//! 1. `_id` names the rows: take them.
//! 2. One patient's data: walk the patient's dates when sorted by a date and no code is asked for, else take the rows
//!    of the code, else the patient's rows of the type.
//! 3. Across patients: walk the dates or the changes when sorted by them and nothing narrower than a range is asked,
//!    else take the rows of the narrowest criterion, else the rows of the type. Unsorted, the rows of the criterion are
//!    walked in the order of its index where that gives one.
//!
//! The permit's filter is no part of the plan: the store puts it into every alias of what the plan becomes.

mod cursor;
mod print;
pub(crate) mod walk;

use bytes::Bytes;
use sluis_conformance::definitions::{self, SearchKind};

use crate::decision::filter::Filter;
use crate::ids::{PatientKey, ResourceId, ResourceType};
use crate::response::refusal::Refusal;
use crate::search::criterion::{
    Condition, Criterion, Include, Order, OrderKey, Prefix, SearchRequest, SystemTest, Test, Total,
};
use crate::store::Stored;

pub use cursor::{Cursor, Segment, SortValue};

/// A planned search.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Type searched.
    pub kind: ResourceType,
    /// The one patient whose data is searched, when the criteria say so.
    pub patient: Option<ResourceId>,
    /// How rows are found.
    pub driver: Driver,
    /// All must hold of a row.
    pub criteria: Vec<Criterion>,
    /// Sort keys; the row key, in the direction of the first, breaks ties.
    pub order: Vec<Order>,
    /// Matches on a page.
    pub count: u32,
    /// Whether all visible matches are counted.
    pub total: bool,
    /// Only the total is wanted.
    pub count_only: bool,
    /// References followed from the page's matches.
    pub includes: Vec<Include>,
    /// Where the page starts; `None`: at the beginning.
    pub after: Option<Cursor>,
    /// The state of page 1, where a later page of a search of several types begins with this type.
    pub as_of: Option<i64>,
}

/// How rows are found; everything else is judged row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// By the ids of this criterion (its place in `criteria`).
    Ids(usize),
    /// By value, from the index of this criterion.
    Criterion(usize),
    /// In the order of the index of this criterion, test by test (`plan/walk.rs`).
    Values(usize),
    /// The patient's rows of the type.
    Compartment,
    /// All rows of the type.
    Kind,
    /// In the order asked for: the dates of the sort parameter, of the patient or of all.
    Dates,
    /// In the order asked for: the moments of change.
    Changes,
}

/// What a search found: one page.
///
/// Pages of one search see one snapshot, in this sense: the first page's cursor marks the state of the store, and no
/// row created later appears on any later page. A row unchanged since appears on exactly one page. A row changed since
/// is shown as it is now: at its place when the order is that of creation or of `_id`; when the order depends on
/// content (as that of an unsorted search does where an index is walked), on the last pages, after all unchanged rows, so that it is never lost, though its former state may have
/// been on an earlier page. A row deleted, or hidden by a withdrawn consent, since then is on no later page.
#[derive(Debug, Clone)]
pub struct Found {
    /// Matches in order.
    pub matches: Vec<Stored>,
    /// Where each match stands in the order; its mark is that of the plan's cursor, or 0.
    pub places: Vec<Cursor>,
    /// Included resources, none twice, none that is a match.
    pub includes: Vec<Stored>,
    /// Exact number of visible matches over all pages, when asked for.
    pub total: Option<u64>,
    /// Where the next page starts, when there is one: opaque to everyone but the store; goes into a signed cursor.
    /// It holds the last row's sort values, which may be personal (a family name): seal it, do not merely sign it.
    pub next: Option<Bytes>,
    /// Patients touched (for the audit record), without repetition.
    pub patients: Vec<PatientKey>,
}

/// Plans a search for a permit's filter.
pub fn plan(request: &SearchRequest, filter: &Filter) -> Plan {
    let patient = patient_of(request);
    // Unasked totals are a courtesy to people at a screen, not to the gateway's own work.
    let counted = match request.total {
        Total::Accurate => true,
        Total::None => false,
        Total::Unsaid => patient.is_some() && !filter.system,
    };
    Plan {
        kind: request.kind,
        driver: driver(&request.criteria, &request.order, patient.is_some()),
        patient,
        criteria: request.criteria.clone(),
        order: request.order.clone(),
        count: request.count,
        total: counted || request.count_only,
        count_only: request.count_only,
        includes: request.includes.clone(),
        after: None,
        as_of: None,
    }
}

impl Plan {
    /// All rows of a type.
    pub(crate) fn of_all(kind: ResourceType) -> Plan {
        Plan {
            kind,
            patient: None,
            driver: Driver::Kind,
            criteria: Vec::new(),
            order: Vec::new(),
            count: 0,
            total: false,
            count_only: false,
            includes: Vec::new(),
            after: None,
            as_of: None,
        }
    }

    /// The plan of a later page; `bytes` are those of [`Found::next`].
    ///
    /// Errors: `ParameterInvalid` when they are not of this search.
    pub fn starting_after(mut self, bytes: &[u8]) -> Result<Plan, Refusal> {
        self.after = Some(Cursor::read(&self, bytes)?);
        Ok(self)
    }

    /// The same search across patients: for when the named patient is not known to the store.
    pub(crate) fn across_patients(&self) -> Plan {
        Plan { patient: None, driver: driver(&self.criteria, &self.order, false), ..self.clone() }
    }

    /// Whether a change of a row can move it in the order.
    pub(crate) fn order_moves(&self) -> bool {
        self.order.iter().any(|order| order.key != OrderKey::Id) || matches!(self.driver, Driver::Values(_))
    }

    /// Tests whose rows are walked one after the other.
    pub(crate) fn walked(&self) -> &[Test] {
        match self.driver {
            Driver::Values(at) => self.criteria.get(at).map_or(&[][..], walk::tests),
            _ => &[],
        }
    }

    /// Whether ties, and rows without sort value, go by falling row key.
    pub(crate) fn falling(&self) -> bool {
        self.order.first().is_some_and(|order| order.descending)
    }
}

/// The one patient whose compartment holds every match, if the criteria name one.
fn patient_of(request: &SearchRequest) -> Option<ResourceId> {
    let patient_type = definitions::r4().resource_type("Patient")?;
    request.criteria.iter().find_map(|criterion| match criterion {
        Criterion::Id(ids) if request.kind == patient_type => match ids.as_slice() {
            [id] => Some(id.clone()),
            _ => None,
        },
        Criterion::Index(parameter, Condition::Any(tests)) if parameter.compartment => match tests.as_slice()
        {
            [Test::Reference(Some(kind), id)] if *kind == patient_type => Some(id.clone()),
            _ => None,
        },
        _ => None,
    })
}

/// Chooses by the rules of the module's head.
fn driver(criteria: &[Criterion], order: &[Order], one_patient: bool) -> Driver {
    if let Some(at) = criteria.iter().position(|c| matches!(c, Criterion::Id(_))) {
        return Driver::Ids(at);
    }
    let walk = match order {
        [Order { key: OrderKey::Parameter(parameter), .. }] if parameter.kind == SearchKind::Date => {
            Some(Driver::Dates)
        }
        [Order { key: OrderKey::Updated, .. }] if !one_patient => Some(Driver::Changes),
        _ => None,
    };
    let best = criteria
        .iter()
        .enumerate()
        .filter_map(|(at, criterion)| Some((width(criterion)?, at)))
        .filter(|(width, _)| !one_patient || *width == Width::Code)
        .min();
    let ordered = |at: usize| criteria.get(at).is_some_and(|criterion| !walk::tests(criterion).is_empty());
    match (best, walk) {
        (Some((_, at)), _) if order.is_empty() && !one_patient && ordered(at) => Driver::Values(at),
        (Some((width, at)), _) if width <= Width::Text => Driver::Criterion(at),
        (_, Some(walk)) => walk,
        (Some((_, at)), None) => Driver::Criterion(at),
        (None, None) if one_patient => Driver::Compartment,
        (None, None) => Driver::Kind,
    }
}

/// Codes of a list that leave few rows.
const CODES_NARROW: usize = 100;

/// How many rows a criterion leaves, guessed from its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Width {
    /// References to one thing, one address.
    Target,
    /// One code or identifier.
    Code,
    /// Texts that start so.
    Text,
    /// A range of values.
    Range,
    /// A whole system, texts that contain something.
    Wide,
}

/// `None`: the criterion can only be judged row by row.
fn width(criterion: &Criterion) -> Option<Width> {
    let tests = match criterion {
        Criterion::Index(_, Condition::Any(tests)) => tests,
        // Worth starting from, when the far end is one that a name or number tells apart: one patient, one practitioner.
        // A status or gender of the far end is judged row by row.
        Criterion::Chain(_, links) => {
            let widths = links.iter().map(|link| far_width(&link.criterion));
            return widths
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .max()
                .filter(|width| *width <= Width::Text);
        }
        // The widest of them.
        Criterion::AnyOf(each) => {
            let widths = each.iter().map(|criterion| match criterion {
                Criterion::Id(_) => Some(Width::Target),
                criterion => width(criterion),
            });
            return widths.collect::<Option<Vec<_>>>()?.into_iter().max();
        }
        // Few refer to few; of a code there may be many, still fewer than rows to be asked.
        Criterion::Has(_, link) => {
            return match far_width(&link.criterion)? {
                Width::Wide => None,
                width => Some(width.max(Width::Text)),
            };
        }
        Criterion::Text(_) => return Some(Width::Text),
        Criterion::Id(_) | Criterion::Updated(_) | Criterion::Index(..) => return None,
        Criterion::All(_) | Criterion::Not(_) => return None,
    };
    let mut widest = Width::Target;
    for test in tests {
        let width = match test {
            Test::Reference(..) | Test::Address(_) | Test::Versions(_) | Test::Uri(_) => Width::Target,
            Test::Token(token) => match (&token.code, &token.system) {
                (Some(_), _) => Width::Code,
                (None, SystemTest::Is(_)) => Width::Wide,
                (None, _) => return None,
            },
            Test::Codes { codes, .. } if codes.len() <= CODES_NARROW => Width::Code,
            Test::Codes { .. } => Width::Wide,
            Test::Starts(text) if text.is_empty() => Width::Wide,
            Test::Unlike(_) => return None,
            Test::Ends(_) => Width::Wide,
            Test::Equals(_) | Test::Starts(_) | Test::Exact(_) | Test::UriBelow(_) => Width::Text,
            Test::UriAbove(_) => Width::Target,
            Test::Contains(_) => Width::Wide,
            Test::Date(date) if date.prefix == Prefix::Ne => return None,
            Test::Number(number) | Test::Quantity(number, _) if number.prefix == Prefix::Ne => return None,
            Test::Date(_) | Test::Number(_) | Test::Quantity(..) => Width::Range,
            Test::Composite(_) | Test::OfType { .. } | Test::Terms(_) => return None,
        };
        widest = widest.max(width);
    }
    Some(widest)
}

/// As [`width`], of the far end of a reference.
fn far_width(criterion: &Criterion) -> Option<Width> {
    match criterion {
        Criterion::Id(_) => Some(Width::Target),
        Criterion::Index(parameter, _) => match width(criterion)? {
            Width::Code if parameter.code == "identifier" => Some(Width::Target),
            Width::Code => Some(Width::Range),
            width => Some(width),
        },
        _ => width(criterion),
    }
}

#[cfg(test)]
mod tests;
