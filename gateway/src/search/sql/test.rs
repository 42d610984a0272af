//! One test of index entries as SQL: as a probe for one row, and as a way to the rows.

use sluis_conformance::definitions::SearchKind;

use crate::ids::PatientKey;
use crate::search::criterion::{DateTest, NumberTest, Prefix, SystemTest, Test, TokenTest, UnitTest};
use crate::search::text::{after_prefix, normalise};
use crate::search::words::TextTest;

use super::{Bind, Dialect, Names, Sql};

/// Tables that may hold entries of a parameter of this kind.
pub(super) fn tables(kind: SearchKind) -> &'static [&'static str] {
    match kind {
        SearchKind::Number => &["index_number"],
        SearchKind::Date => &["index_date"],
        SearchKind::String => &["index_string"],
        SearchKind::Token | SearchKind::Special | SearchKind::Composite => &["index_token"],
        SearchKind::Reference => &["index_reference", "index_uri", "index_token"],
        SearchKind::Quantity => &["index_quantity"],
        SearchKind::Uri => &["index_uri"],
    }
}

/// Pins an alias of an index table to the entries of one row: its primary key, under the name SQLite gives it.
pub(super) fn by_row(table: &str) -> String {
    format!("sqlite_autoindex_{table}_1")
}

/// Opens a probe of the row of alias `r` for an entry of the facet: `EXISTS (SELECT 1 FROM table t ... t.facet = ?`.
pub(super) fn probe<'q>(sql: &'q mut Sql, r: &str, table: &str, facet: i64) -> &'q mut Sql {
    sql.push(&format!("EXISTS (SELECT 1 FROM {table} t")).pin(&by_row(table));
    sql.push(&format!(" WHERE t.row = {r}.key")).beside("t", r).push(" AND t.facet = ").bind(facet)
}

/// Whether the row of alias `r` has an entry of the facet that passes one of the tests: one probe for each table concerned.
pub(super) fn entries(sql: &mut Sql, names: &dyn Names, r: &str, facet: i64, tests: &[&Test]) {
    let places = |test: &&Test| homes(test).iter().map(|table| (*table, part(test))).collect::<Vec<_>>();
    let mut tables: Vec<(&str, i64)> = tests.iter().flat_map(places).collect();
    tables.sort_unstable();
    tables.dedup();
    sql.join(tables, " OR ", |sql, (table, at)| {
        probe(sql, r, table, facet).push(&format!(" AND t.part = {at} AND ("));
        let here = tests.iter().filter(|test| part(test) == at && homes(test).contains(&table));
        sql.join(here, " OR ", |sql, test| values(sql, names, "t", table, test));
        sql.push("))");
    });
}

/// Where entries that pass this test stand within their facet, outside of composites: the values as given, or the
/// canonical ones.
pub(super) fn part(test: &Test) -> i64 {
    if is_canonical(test) { mirrored(0) } else { 0 }
}

fn is_canonical(test: &Test) -> bool {
    matches!(test, Test::Quantity(_, UnitTest::Canonical(_)))
}

/// The part under which the canonical value of a quantity stands whose given value is under `part`.
pub(crate) fn mirrored(part: i64) -> i64 {
    -1 - part
}

/// Whether the row of alias `r` has an identifier of a type with a value.
pub(super) fn of_type(sql: &mut Sql, r: &str, facet: i64, type_: (&str, &str), value: &str) {
    probe(sql, r, "index_token", facet).push(" AND t.part = 1 AND t.code = ").bind(typed(type_.1, value));
    system(sql, "t", &SystemTest::Is(type_.0.to_owned()));
    sql.push(")");
}

/// What stands for an identifier of a type in the index of tokens, under part 1 of the facet; its system is the type's.
///
/// No code has a `|` in it that a value could be mistaken for part of: codes are without white space, and the first `|`
/// ends it (FHIR R4 datatypes.html#code leaves `|` possible; such a code finds what is spelt alike).
pub(crate) fn typed(code: &str, value: &str) -> String {
    format!("{code}|{value}")
}

/// Whether the words of the row of alias `r` are as asked.
pub(super) fn text(sql: &mut Sql, r: &str, test: &TextTest) {
    let (row, matches) = match sql.dialect {
        Dialect::Sqlite => ("rowid", "t.index_text MATCH "),
        Dialect::Postgres => ("row", "t.words @@ "),
    };
    sql.push(&format!("EXISTS (SELECT 1 FROM index_text t WHERE t.{row} = {r}.key")).beside("t", r);
    let spelt = Bind::Words(test.spelt(sql.dialect));
    sql.push(" AND ").push(matches).bind(spelt).push(")");
}

/// Row keys of a type whose words are as asked, through the index of words, which holds those of every type.
pub(super) fn text_rows(sql: &mut Sql, kind: i64, test: &TextTest) {
    let spelt = Bind::Words(test.spelt(sql.dialect));
    sql.push("SELECT f.key FROM index_text d").then();
    match sql.dialect {
        Dialect::Sqlite => sql.push("resource f NOT INDEXED ON f.key = d.rowid WHERE d.index_text MATCH "),
        Dialect::Postgres => {
            sql.push("resource f ON f.key = d.row").beside("f", "d").push(" WHERE d.words @@ ")
        }
    };
    sql.bind(spelt).push(" AND f.kind = ").bind(kind);
}

/// Whether one repetition of the row of alias `r` passes all parts.
pub(super) fn composite(
    sql: &mut Sql,
    names: &dyn Names,
    r: &str,
    facets: &[i64],
    parts: &[(SearchKind, Test)],
) {
    let alias = |at: usize| format!("t{at}");
    sql.push("EXISTS (SELECT 1 FROM ");
    // No join condition stands between the two, and each dialect keeps their order.
    sql.join(parts.iter().enumerate(), " CROSS JOIN ", |sql, (at, (_, test))| {
        // A composite's address part is never canonical: the first home is where it is.
        let home = homes(test).first().copied().unwrap_or("index_token");
        sql.push(&format!("{home} {}", alias(at))).pin(&by_row(home));
    });
    sql.push(" WHERE ");
    sql.join(parts.iter().zip(facets).enumerate(), " AND ", |sql, (at, ((_, test), facet))| {
        let t = alias(at);
        sql.push(&format!("{t}.row = {r}.key")).beside(&t, r);
        sql.push(&format!(" AND {t}.facet = ")).bind(*facet);
        // A repetition's canonical values stand under its mirrored number (see `mirrored`).
        let first = parts.first().is_some_and(|(_, test)| is_canonical(test));
        match (at, is_canonical(test)) {
            (0, false) => sql.push(&format!(" AND {t}.part > 0 AND ")),
            (0, true) => sql.push(&format!(" AND {t}.part < -1 AND ")),
            (_, this) if this == first => sql.push(&format!(" AND {t}.part = t0.part AND ")),
            _ => sql.push(&format!(" AND {t}.part = -1 - t0.part AND ")),
        };
        let home = homes(test).first().copied().unwrap_or("index_token");
        values(sql, names, &t, home, test);
    });
    sql.push(")");
}

/// Row keys of all entries of the facet that pass, through the index by value.
pub(super) fn rows(sql: &mut Sql, names: &dyn Names, facet: i64, patient: Option<PatientKey>, test: &Test) {
    let one = |sql: &mut Sql, table: &str| {
        let index = index(table, test);
        sql.push(&format!("SELECT d.row FROM {table} d")).pin(index).push(" WHERE d.facet = ").bind(facet);
        sql.push(&format!(" AND d.part = {} AND ", part(test)));
        if index == "index_token_system" {
            sql.push("d.system > 0 AND ");
        }
        // SQLite's index by value leads with the patient for tokens alone; elsewhere every table carries her key.
        let carries = table == "index_token" || sql.dialect == Dialect::Postgres;
        if let (true, Some(PatientKey(patient))) = (carries, patient) {
            sql.push("d.patient = ").bind(patient).push(" AND ");
        }
        // A range the index can seek in; the test itself is exact.
        let start = match test {
            Test::Starts(text) | Test::UriBelow(text) => Some((text.clone(), after_prefix(text))),
            _ => None,
        };
        match start {
            Some((from, to)) => {
                sql.push("d.value >= ").bind(from);
                if let Some(to) = to {
                    sql.push(" AND d.value < ").bind(to);
                }
            }
            None => {
                below(sql, "d", test);
                values(sql, names, "d", table, test);
            }
        }
    };
    sql.join(homes(test), " UNION ALL ", |sql, table| one(sql, table));
}

/// The index by value of a table of entries, for a test.
fn index(table: &str, test: &Test) -> &'static str {
    match (table, test) {
        ("index_token", Test::Token(TokenTest { code: None, .. })) => "index_token_system",
        ("index_token", _) => "index_token_value",
        ("index_string", _) => "index_string_value",
        ("index_date", _) => "index_date_value",
        ("index_number", _) => "index_number_value",
        ("index_quantity", test) if is_canonical(test) => "index_quantity_canonical",
        ("index_quantity", _) => "index_quantity_value",
        ("index_reference", _) => "index_reference_value",
        _ => "index_uri_value",
    }
}

/// The first table in which entries that pass stand, and its index by value.
pub(super) fn by_value(test: &Test) -> (&'static str, &'static str) {
    let table = homes(test).first().copied().unwrap_or("index_token");
    (table, index(table, test))
}

/// The upper end of a range that a test does not name by itself: an index by the lower end stops there. Follows from the
/// test, as no entry's lower end is above its upper one.
pub(super) fn below(sql: &mut Sql, t: &str, test: &Test) {
    match test {
        Test::Date(DateTest { prefix: Prefix::Eq | Prefix::Le, high: end, .. })
        | Test::Date(DateTest { prefix: Prefix::Eb, low: end, .. }) => {
            sql.push(&format!("{t}.low < ")).bind(*end).push(" AND ");
        }
        Test::Number(number) | Test::Quantity(number, _) => {
            let end = match number.prefix {
                Prefix::Eq => number.high,
                Prefix::Eb => number.value,
                _ => return,
            };
            sql.push(&format!("{t}.low < ")).bind(end).push(" AND ");
        }
        _ => {}
    }
}

/// Tables in which entries that pass this test stand.
fn homes(test: &Test) -> &'static [&'static str] {
    match test {
        Test::Starts(_) | Test::Contains(_) | Test::Exact(_) | Test::Equals(_) | Test::Ends(_) => {
            &["index_string"]
        }
        Test::Unlike(test) => homes(test),
        Test::Token(_) | Test::Codes { .. } | Test::Composite(_) | Test::OfType { .. } | Test::Terms(_) => {
            &["index_token"]
        }
        Test::Date(_) => &["index_date"],
        Test::Number(_) => &["index_number"],
        Test::Quantity(..) => &["index_quantity"],
        Test::Reference(..) => &["index_reference"],
        Test::Address(_) | Test::Versions(_) => &["index_reference", "index_uri"],
        Test::Uri(_) | Test::UriBelow(_) | Test::UriAbove(_) => &["index_uri"],
    }
}

/// The test on the columns of alias `t`.
pub(super) fn values(sql: &mut Sql, names: &dyn Names, t: &str, table: &str, test: &Test) {
    match test {
        Test::Starts(text) | Test::UriBelow(text) => {
            sql.push(&format!("({t}.value >= ")).bind(text.clone());
            if let Some(to) = after_prefix(text) {
                sql.push(&format!(" AND {t}.value < ")).bind(to);
            }
            sql.push(")");
        }
        Test::Contains(text) => {
            let position = match sql.dialect {
                Dialect::Sqlite => "instr",
                Dialect::Postgres => "strpos",
            };
            sql.push(&format!("{position}({t}.value, ")).bind(text.clone()).push(") > 0");
        }
        Test::Equals(text) => {
            sql.push(&format!("{t}.value = ")).bind(text.clone());
        }
        Test::Ends(text) => {
            match sql.dialect {
                Dialect::Sqlite => {
                    sql.push(&format!("substr({t}.value, -length(")).bind(text.clone()).push("))")
                }
                Dialect::Postgres => {
                    sql.push(&format!("right({t}.value, length(")).bind(text.clone()).push("))")
                }
            };
            sql.push(" = ").bind(text.clone());
        }
        Test::Unlike(test) => {
            sql.push("NOT (");
            values(sql, names, t, table, test);
            sql.push(")");
        }
        Test::Exact(text) => {
            sql.push(&format!("({t}.value = ")).bind(normalise(text));
            sql.push(&format!(" AND {t}.exact = ")).bind(text.clone()).push(")");
        }
        Test::Token(token) => {
            sql.push("(");
            match &token.code {
                // An entry with text alone has the empty code, and is of no system.
                None => sql.push(&format!("{t}.system > 0")),
                Some(code) => sql.push(&format!("{t}.code = ")).bind(code.clone()),
            };
            system(sql, t, &token.system);
            sql.push(")");
        }
        Test::Date(test) => date(sql, (&format!("{t}.low"), &format!("{t}.high")), test),
        Test::Number(test) => number(sql, t, test),
        Test::Quantity(test, unit) => {
            sql.push("(");
            number(sql, t, test);
            match unit {
                UnitTest::Any => {}
                UnitTest::Coded(of, code) => {
                    sql.push(&format!(" AND {t}.code = ")).bind(code.clone());
                    system(sql, t, of);
                }
                UnitTest::Canonical(unit) => {
                    sql.push(&format!(" AND {t}.code = ")).bind(unit.clone());
                }
                UnitTest::Named(unit) => {
                    sql.push(&format!(" AND ({t}.code = ")).bind(unit.clone());
                    sql.push(&format!(" OR {t}.unit = ")).bind(unit.clone()).push(")");
                }
            }
            sql.push(")");
        }
        Test::Reference(kind, id) => {
            sql.push(&format!("({t}.id = ")).bind(id.as_str().to_owned());
            match kind {
                Some(kind) => sql.push(&format!(" AND {t}.kind = ")).bind(names.kind(*kind)).push(")"),
                None => sql.push(&format!(" AND {t}.kind > 0)")),
            };
        }
        Test::Address(address) | Test::Versions(address) if table == "index_reference" => {
            sql.push(&format!("({t}.id = ")).bind(address.clone()).push(&format!(" AND {t}.kind = 0)"));
        }
        Test::Address(text) | Test::Uri(text) => {
            sql.push(&format!("{t}.value = ")).bind(text.clone());
        }
        Test::Versions(address) => {
            sql.push(&format!("({t}.value = ")).bind(address.clone());
            let within = format!("{address}.");
            sql.push(&format!(" OR ({t}.value >= ")).bind(within.clone());
            if let Some(to) = after_prefix(&within) {
                sql.push(&format!(" AND {t}.value < ")).bind(to);
            }
            sql.push("))");
        }
        Test::UriAbove(addresses) => {
            sql.push(&format!("{t}.value IN ("));
            sql.join(addresses, ", ", |sql, address| {
                sql.bind(address.clone());
            });
            sql.push(")");
        }
        Test::Codes { system: of, codes } => {
            sql.push(&format!("({t}.code "));
            match sql.dialect {
                Dialect::Sqlite => {
                    sql.push("IN (SELECT value FROM json_each(").bind(codes.clone()).push("))")
                }
                Dialect::Postgres => sql.push("= ANY(").bind(codes.clone()).push(")"),
            };
            system(sql, t, &SystemTest::Is(of.clone()));
            sql.push(")");
        }
        // Settled before a plan is made; what is not passes nothing.
        Test::Terms(_) => {
            sql.push("FALSE");
        }
        // Written by `of_type`; no part of a composite has modifiers.
        Test::OfType { .. } => {
            sql.push("FALSE");
        }
        // Components of a composite are never composites (FHIR R4 searchparameter.html, spd-1 and its use).
        Test::Composite(_) => {
            sql.push("FALSE");
        }
    }
}

fn system(sql: &mut Sql, t: &str, test: &SystemTest) {
    match test {
        SystemTest::Any => {}
        SystemTest::None => {
            sql.push(&format!(" AND {t}.system = 0"));
        }
        SystemTest::Is(system) => {
            sql.push(&format!(" AND {t}.system = (SELECT key FROM symbol WHERE text = "));
            sql.bind(system.clone()).push(")");
        }
    }
}

/// The test of a period [low, high), given its two expressions. Source: FHIR R4 search.html#prefix
pub(super) fn date(sql: &mut Sql, (low, high): (&str, &str), test: &DateTest) {
    let inside = |sql: &mut Sql| {
        sql.push(&format!("({low} >= "))
            .bind(test.low)
            .push(&format!(" AND {high} <= "))
            .bind(test.high)
            .push(")");
    };
    match test.prefix {
        Prefix::Eq => inside(sql),
        Prefix::Ne => {
            sql.push("NOT ");
            inside(sql);
        }
        Prefix::Gt => {
            sql.push(&format!("{high} > ")).bind(test.high);
        }
        Prefix::Lt => {
            sql.push(&format!("{low} < ")).bind(test.low);
        }
        Prefix::Ge => {
            sql.push(&format!("({high} > ")).bind(test.high).push(" OR ");
            inside(sql);
            sql.push(")");
        }
        Prefix::Le => {
            sql.push(&format!("({low} < ")).bind(test.low).push(" OR ");
            inside(sql);
            sql.push(")");
        }
        Prefix::Sa => {
            sql.push(&format!("{low} >= ")).bind(test.high);
        }
        Prefix::Eb => {
            sql.push(&format!("{high} <= ")).bind(test.low);
        }
        Prefix::Ap => {
            sql.push(&format!("({low} < "))
                .bind(test.high)
                .push(&format!(" AND {high} > "))
                .bind(test.low)
                .push(")");
        }
    }
}

/// The test of a number. Equality is by the precision searched with, order by the value itself; the precision a stored
/// value was written with plays no part (FHIR R4 search.html#number).
fn number(sql: &mut Sql, t: &str, test: &NumberTest) {
    let inside = |sql: &mut Sql| {
        sql.push(&format!("({t}.low >= "))
            .bind(test.low)
            .push(&format!(" AND {t}.high < "))
            .bind(test.high)
            .push(")");
    };
    let (column, sign) = match test.prefix {
        Prefix::Eq => return inside(sql),
        Prefix::Ne => {
            sql.push("NOT ");
            return inside(sql);
        }
        Prefix::Ap => {
            sql.push(&format!("({t}.low <= ")).bind(test.high).push(&format!(" AND {t}.high >= "));
            sql.bind(test.low).push(")");
            return;
        }
        Prefix::Gt => ("high", ">"),
        Prefix::Ge => ("high", ">="),
        Prefix::Lt => ("low", "<"),
        Prefix::Le => ("low", "<="),
        Prefix::Sa => ("low", ">"),
        Prefix::Eb => ("high", "<"),
    };
    sql.push(&format!("{t}.{column} {sign} ")).bind(test.value);
}
