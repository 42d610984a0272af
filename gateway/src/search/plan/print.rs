//! A plan in words, one line each, for reviews, logs of slow searches and golden tests.
//!
//! [`Plan::shape`] leaves every value out, since values are personal; `Display` shows them and is for tests and
//! explanations to the caller, not for logs.

use std::fmt;

use sluis_conformance::definitions;

use crate::clock::Timestamp;
use crate::search::criterion::{
    Condition, Criterion, DateTest, NumberTest, OrderKey, SystemTest, Test, TokenTest, UnitTest,
};

use super::{Driver, Plan};
use crate::search::sql::Dialect;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, true)
    }
}

impl Plan {
    /// The plan without any value of the search: for logs.
    pub fn shape(&self) -> String {
        struct Shape<'p>(&'p Plan);
        impl fmt::Display for Shape<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.print(f, false)
            }
        }
        Shape(self).to_string()
    }

    /// Eight bytes that tell searches of another shape apart, so that a place in one is not taken for a place in
    /// another. Without values: `ap` on a date moves with the present.
    pub(super) fn fingerprint(&self) -> [u8; 8] {
        let shape = Plan { after: None, ..self.clone() }.shape();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, shape.as_bytes());
        digest.as_ref().first_chunk().copied().unwrap_or_default()
    }

    fn print(&self, f: &mut fmt::Formatter<'_>, values: bool) -> fmt::Result {
        let definitions = definitions::r4();
        write!(f, "search {}", definitions.type_name(self.kind))?;
        match &self.patient {
            Some(patient) if values => writeln!(f, " of Patient/{patient}")?,
            Some(_) => writeln!(f, " of one patient")?,
            None => writeln!(f, " across patients")?,
        }
        let driver = match self.driver {
            Driver::Ids(_) => "the ids".to_owned(),
            Driver::Criterion(at) => match self.criteria.get(at) {
                Some(Criterion::Index(parameter, _)) => format!("the index of {}", parameter.code),
                Some(Criterion::Chain(parameter, _)) => format!("the far ends of {}", parameter.code),
                Some(Criterion::Has(_, link)) => {
                    format!("the {} that refer here", definitions.type_name(link.kind))
                }
                Some(Criterion::Text(_)) => "the index of words".to_owned(),
                Some(Criterion::AnyOf(_)) => "the indexes of each".to_owned(),
                _ => "the index".to_owned(),
            },
            Driver::Values(at) => match self.criteria.get(at) {
                Some(Criterion::Index(parameter, _)) => {
                    format!("the index of {}, in its order", parameter.code)
                }
                _ => "an index, in its order".to_owned(),
            },
            Driver::Compartment => "the patient's rows of the type".to_owned(),
            Driver::Kind => "all rows of the type".to_owned(),
            Driver::Dates if self.patient.is_some() => "the patient's dates, in order".to_owned(),
            Driver::Dates => "all dates, in order".to_owned(),
            Driver::Changes => "the changes, in order".to_owned(),
        };
        writeln!(f, "  by {driver}")?;
        for criterion in &self.criteria {
            f.write_str("  where ")?;
            print_criterion(f, criterion, values)?;
            f.write_str("\n")?;
        }
        for order in &self.order {
            let key = match order.key {
                OrderKey::Updated => "_lastUpdated",
                OrderKey::Id => "_id",
                OrderKey::Parameter(parameter) => parameter.code,
            };
            let direction = if order.descending { "falling" } else { "rising" };
            writeln!(f, "  order {key} {direction}, missing last")?;
        }
        for include in &self.includes {
            let name = |kind: Option<_>| kind.map_or("any", |kind| definitions.type_name(kind));
            f.write_str(if include.reverse { "  include what refers by " } else { "  include " })?;
            if include.reverse || include.iterate {
                write!(f, "{}:", name(include.source))?;
            }
            f.write_str(include.parameter.map_or("*", |parameter| parameter.code))?;
            if include.target.is_some() {
                write!(f, " of {}", name(include.target))?;
            }
            if !include.reach.is_empty() {
                write!(f, ", {} types", include.reach.len())?;
            }
            writeln!(f, "{}", if include.iterate { ", again and again" } else { "" })?;
        }
        let total = if self.total { ", counted" } else { "" };
        match self.count_only {
            true => writeln!(f, "  count only"),
            false => writeln!(
                f,
                "  page of {}{total}{}",
                self.count,
                if self.after.is_some() { ", later" } else { "" }
            ),
        }
    }
}

fn print_criterion(f: &mut fmt::Formatter<'_>, criterion: &Criterion, values: bool) -> fmt::Result {
    match criterion {
        Criterion::Chain(parameter, links) => {
            for (at, link) in links.iter().enumerate() {
                let kind = definitions::r4().type_name(link.kind);
                write!(f, "{}{} to {kind} where ", if at == 0 { "" } else { " or " }, parameter.code)?;
                print_criterion(f, &link.criterion, values)?;
            }
            Ok(())
        }
        Criterion::Has(parameter, link) => {
            write!(f, "{} from {} where ", parameter.code, definitions::r4().type_name(link.kind))?;
            print_criterion(f, &link.criterion, values)
        }
        Criterion::All(some) | Criterion::AnyOf(some) => {
            let word = if matches!(criterion, Criterion::All(_)) { " and " } else { " or " };
            f.write_str("(")?;
            for (at, one) in some.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { word })?;
                print_criterion(f, one, values)?;
            }
            f.write_str(")")
        }
        Criterion::Not(one) => {
            f.write_str("not ")?;
            print_criterion(f, one, values)
        }
        Criterion::Text(test) => {
            f.write_str(if test.narrative { "_text" } else { "_content" })?;
            match values {
                true => write!(f, " {}", test.spelt(Dialect::Sqlite)),
                false => Ok(()),
            }
        }
        Criterion::Id(ids) => {
            write!(f, "_id")?;
            print_list(f, ids, values, |f, id| write!(f, "{id}"))
        }
        Criterion::Updated(tests) => {
            write!(f, "_lastUpdated")?;
            print_list(f, tests, values, print_date)
        }
        Criterion::Index(parameter, condition) => {
            f.write_str(parameter.code)?;
            match condition {
                Condition::Missing(true) => f.write_str(" is missing"),
                Condition::Missing(false) => f.write_str(" is present"),
                Condition::Any(tests) => print_list(f, tests, values, print_test),
                Condition::NotAny(tests) => {
                    f.write_str(" not")?;
                    print_list(f, tests, values, print_test)
                }
            }
        }
    }
}

fn print_list<T>(
    f: &mut fmt::Formatter<'_>,
    list: &[T],
    values: bool,
    one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    if !values {
        return write!(f, " ({})", list.len());
    }
    for (at, item) in list.iter().enumerate() {
        f.write_str(if at == 0 { " " } else { " or " })?;
        one(f, item)?;
    }
    Ok(())
}

fn print_test(f: &mut fmt::Formatter<'_>, test: &Test) -> fmt::Result {
    match test {
        Test::Starts(text) => write!(f, "starts {text:?}"),
        Test::Contains(text) => write!(f, "contains {text:?}"),
        Test::Equals(text) => write!(f, "equals {text:?}"),
        Test::Ends(text) => write!(f, "ends {text:?}"),
        Test::Unlike(test) => {
            f.write_str("unlike ")?;
            print_test(f, test)
        }
        Test::Exact(text) => write!(f, "exactly {text:?}"),
        Test::Token(token) => print_token(f, token),
        Test::Date(date) => print_date(f, date),
        Test::Number(number) => print_number(f, number),
        Test::Quantity(number, unit) => {
            print_number(f, number)?;
            match unit {
                UnitTest::Any => Ok(()),
                UnitTest::Coded(system, code) => {
                    f.write_str(" ")?;
                    print_token(f, &TokenTest { system: system.clone(), code: Some(code.clone()) })
                }
                UnitTest::Named(unit) => write!(f, " {unit:?}"),
                UnitTest::Canonical(unit) => write!(f, " in {unit}"),
            }
        }
        Test::Reference(kind, id) => {
            let name = kind.map_or("*", |kind| definitions::r4().type_name(kind));
            write!(f, "{name}/{id}")
        }
        Test::Address(address) | Test::Uri(address) => write!(f, "{address:?}"),
        Test::Versions(address) => write!(f, "versions of {address:?}"),
        Test::UriBelow(address) => write!(f, "below {address:?}"),
        Test::UriAbove(addresses) => write!(f, "one of {addresses:?}"),
        Test::OfType { system, code, value } => write!(f, "{value} of type {system}|{code}"),
        Test::Codes { system, codes } => write!(f, "one of {} codes of {system}", codes.len()),
        Test::Terms(terms) => write!(f, "what {} stands for", terms.name()),
        Test::Composite(parts) => {
            for (at, (_, part)) in parts.iter().enumerate() {
                f.write_str(if at == 0 { "[" } else { " with " })?;
                print_test(f, part)?;
            }
            f.write_str("]")
        }
    }
}

fn print_token(f: &mut fmt::Formatter<'_>, token: &TokenTest) -> fmt::Result {
    match &token.system {
        SystemTest::Any => {}
        SystemTest::None => f.write_str("|")?,
        SystemTest::Is(system) => write!(f, "{system}|")?,
    }
    f.write_str(token.code.as_deref().unwrap_or("*"))
}

fn print_date(f: &mut fmt::Formatter<'_>, date: &DateTest) -> fmt::Result {
    let (low, high) = (Timestamp(date.low).to_instant(), Timestamp(date.high).to_instant());
    write!(f, "{} [{low}, {high})", date.prefix.as_str())
}

fn print_number(f: &mut fmt::Formatter<'_>, number: &NumberTest) -> fmt::Result {
    write!(f, "{} {} [{}, {})", number.prefix.as_str(), number.value, number.low, number.high)
}
