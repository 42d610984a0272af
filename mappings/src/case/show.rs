//! A map as a table of source and target: for people who do not read FML, to read and to sign.

use super::lint::plain;
use super::walk::{Logic, Statement, Test, walk};
use crate::fml;
use crate::run::{CompiledFolder, LIBRARY};

/// Markdown: a table per resource made, the code tables it relies on, what is left out and why, and room to sign.
pub fn show(compiled: &CompiledFolder) -> String {
    let folder = compiled.folder();
    let manifest = &folder.manifest;
    let mut text = format!("# {} ({} {})\n", manifest.title, manifest.id, manifest.version);
    let mut shown: Vec<String> = Vec::new();
    if let Ok(program) = fml::load(&folder.map_file, &folder.map, &folder.importable(&LIBRARY)) {
        let read = walk(&program);
        let mut last = String::new();
        for statement in &read.statements {
            let root = statement.target.split('.').next().unwrap_or_default();
            if statement.target.is_empty() || !statement.writes {
                continue;
            }
            let heading = plain(root);
            if heading != last {
                text += &format!("\n## {heading}\n\n| from | when | becomes | rule |\n|---|---|---|---|\n");
                last = heading;
            }
            let row = row(statement);
            if !shown.contains(&row) {
                text += &row;
                shown.push(row);
            }
        }
    }
    for (name, table) in &folder.codes {
        text += &format!(
            "\n## Code table {name}\n\n| code | name | becomes | name | how |\n|---|---|---|---|---|\n"
        );
        for row in table.rows() {
            let how = format!("{:?}", row.relationship).to_lowercase();
            let target = if row.target_code.is_empty() {
                "—".to_owned()
            } else {
                format!("{} `{}`", row.target_system, row.target_code)
            };
            text += &format!(
                "| `{}` | {} | {} | {} | {how} |\n",
                cell(&row.code),
                cell(&row.display),
                cell(&target),
                cell(&row.target_display)
            );
        }
    }
    if !manifest.ignore.is_empty() {
        text += "\n## Left out\n\n| field | why |\n|---|---|\n";
        for entry in &manifest.ignore {
            text += &format!("| `{}` | {} |\n", cell(&entry.path), cell(&entry.reason));
        }
    }
    text + &format!(
        "\n## Signed off\n\nVersion {} of this mapping, read and found right:\n\n| name | role | date | signature |\n\
         |---|---|---|---|\n| | | | |\n",
        manifest.version
    )
}

fn row(statement: &Statement) -> String {
    let source = statement.sources.last().map(String::as_str).unwrap_or_default();
    let conditions: Vec<String> =
        statement.conditions.iter().filter(|logic| !is_presence(logic)).map(words).collect();
    let (_, element) = statement.target.split_once('.').unwrap_or(("", &statement.target));
    let value = match statement.text.as_str() {
        "" => plain(element),
        text if text == source => plain(element),
        text => format!("{} = {}", plain(element), plain(text)),
    };
    format!(
        "| `{}` | {} | `{}` | {}:{} {} |\n",
        cell(source),
        cell(&conditions.join(" and ")),
        cell(&value),
        statement.rule.line,
        statement.rule.column,
        cell(&statement.name)
    )
}

/// That a field is there goes without saying.
fn is_presence(logic: &Logic) -> bool {
    matches!(logic, Logic::Is(Test::Exists(_), true) | Logic::Is(Test::True, true))
}

fn words(logic: &Logic) -> String {
    let list = |parts: &[Logic], with: &str| parts.iter().map(words).collect::<Vec<_>>().join(with);
    match logic {
        Logic::All(parts) => list(parts, " and "),
        Logic::Any(parts) => format!("({})", list(parts, " or ")),
        Logic::Is(Test::True, holds) => if *holds { "always" } else { "never" }.to_owned(),
        Logic::Is(Test::Exists(path), true) => format!("{path} is there"),
        Logic::Is(Test::Exists(path), false) => format!("{path} is absent"),
        Logic::Is(Test::OneOf(path, values), holds) => {
            format!("{path} is {}{}", if *holds { "" } else { "not " }, values.join(" or "))
        }
        Logic::Is(Test::Starts(path, head), holds) => {
            format!("{path} {} with {head}", if *holds { "starts" } else { "does not start" })
        }
        Logic::Is(Test::Other(text), true) => text.clone(),
        Logic::Is(Test::Other(text), false) => format!("not ({text})"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
