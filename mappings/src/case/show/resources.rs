//! What a map makes: per type of resource, what each field becomes.

use std::collections::BTreeMap;

use super::sheet::Section;
use super::{Language, Said, head, words};
use crate::case::walk::Logic;

/// From how many resources of a type on they share a table, a line each.
const TABLE_FROM: usize = 3;
/// Elements beyond code and value that fit on such a line; resources that mostly have more get a table each.
const LINE_MAX: usize = 16;

/// One resource the map makes: what makes it, and what is written in it.
struct Made<'s> {
    conditions: &'s [Logic],
    when: String,
    from: String,
    /// Element, value, condition.
    rows: Vec<(String, String, String)>,
}

pub(super) fn resources(statements: &[Said], language: Language) -> Vec<Section> {
    let mut order: Vec<&str> = Vec::new();
    let mut by_root: BTreeMap<&str, Made> = BTreeMap::new();
    for said in statements {
        let (root, element) = said.target();
        if root.is_empty() {
            continue;
        }
        let made = by_root.entry(root).or_insert_with(|| {
            order.push(root);
            let from = said.statement.sources.last().map(|path| words::field(path)).unwrap_or_default();
            Made { conditions: &said.conditions, when: said.when(&[], language), from, rows: Vec::new() }
        });
        let value = match (&said.statement.value, said.call("create")) {
            (Some(value), None) if said.statement.writes && !element.is_empty() => {
                words::value(value, language)
            }
            _ => continue,
        };
        let row = (words::element(&element, language), value, said.when(made.conditions, language));
        if !made.rows.contains(&row) {
            made.rows.push(row);
        }
    }
    let mut types: Vec<&str> = Vec::new();
    for root in &order {
        let name = root.split('#').next().unwrap_or(root);
        if !types.contains(&name) {
            types.push(name);
        }
    }
    let mut sections = Vec::new();
    for name in types {
        let all: Vec<&Made> = order
            .iter()
            .filter(|root| root.split('#').next() == Some(name))
            .filter_map(|root| by_root.get(root))
            .filter(|made| !made.rows.is_empty())
            .collect();
        let title = words::type_name(name, language);
        let short = all.iter().filter(|made| made.rows.len() <= LINE_MAX).count();
        if all.len() >= TABLE_FROM && 2 * short > all.len() {
            sections.extend(table(&all, &title, language));
            continue;
        }
        for made in all {
            sections.push(detail(made, &title, language));
        }
    }
    sections
}

/// Resources of one type as lines of a table, what they have in common before it.
fn table(all: &[&Made], title: &str, language: Language) -> Vec<Section> {
    let common: Vec<&(String, String, String)> = all
        .first()
        .map(|first| first.rows.iter().filter(|row| all.iter().all(|made| made.rows.contains(row))).collect())
        .unwrap_or_default();
    let code = words::element("code", language);
    let value = words::element("value", language);
    let mut rows = Vec::new();
    for made in all {
        let own: Vec<_> = made.rows.iter().filter(|row| !common.contains(row)).collect();
        let of = |name: &str| -> String {
            let found: Vec<String> = own
                .iter()
                .filter(|(element, ..)| element == name)
                .map(|(_, value, when)| conditional(value, when, language))
                .collect();
            found.join("; ")
        };
        let rest: Vec<String> = own
            .iter()
            .filter(|(element, ..)| *element != code && *element != value)
            .map(|(element, value, when)| format!("{element} = {}", conditional(value, when, language)))
            .collect();
        let from = conditional(&format!("`{}`", made.from), &made.when, language);
        rows.push(vec![from, of(&code), of(&value), rest.join("; ")]);
    }
    let mut sections = vec![Section {
        heading: title.to_owned(),
        head: head(
            language,
            &[("Field", "Veld"), ("What it is", "Wat het is"), ("Value", "Waarde"), ("And", "En verder")],
        ),
        rows,
        ..Section::default()
    }];
    if !common.is_empty() {
        sections.push(Section {
            heading: format!("{title}: {}", language.of("what all of them have", "wat ze alle hebben")),
            head: head(
                language,
                &[("Element", "Onderdeel"), ("Becomes", "Wordt"), ("Only if", "Alleen als")],
            ),
            rows: common.into_iter().map(|(a, b, c)| vec![a.clone(), b.clone(), c.clone()]).collect(),
            ..Section::default()
        });
    }
    sections
}

fn conditional(value: &str, when: &str, language: Language) -> String {
    match when {
        "" => value.to_owned(),
        when => format!("{value} ({} {when})", language.of("if", "als")),
    }
}

fn detail(made: &Made, title: &str, language: Language) -> Section {
    let from = conditional(&format!("`{}`", made.from), &made.when, language);
    Section {
        heading: title.to_owned(),
        lines: vec![format!("{} {from}.", language.of("One for each", "Eén voor elke"))],
        head: head(language, &[("Element", "Onderdeel"), ("Becomes", "Wordt"), ("Only if", "Alleen als")]),
        rows: made.rows.iter().map(|(a, b, c)| vec![a.clone(), b.clone(), c.clone()]).collect(),
    }
}
