//! A map as a sheet for the people who answer for its content and do not read FML: what each field becomes, with its code and name, what is
//! held back and why, what is not taken over, what the checks remark, an example of each case; and room to sign. In Dutch or English.

mod account;
mod example;
mod names;
mod resources;
mod sheet;
mod words;

use super::lint::plain;
use super::walk::{Logic, Statement, Test, walk};
use crate::fml::{self, Expression, Kind};
use crate::run::{CompiledFolder, LIBRARY};
use sheet::{Section, Sheet};

pub use sheet::SheetForm;

/// Language of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Dutch.
    Dutch,
    /// English.
    English,
}

impl Language {
    fn of(self, english: &'static str, dutch: &'static str) -> &'static str {
        match self {
            Language::Dutch => dutch,
            Language::English => english,
        }
    }
}

/// Longest condition shown whole, in characters.
const CONDITION_MAX: usize = 300;

/// The sheet of a folder. Holds values of its cases, which hold no real person.
pub fn show(compiled: &CompiledFolder, language: Language, form: SheetForm) -> String {
    let folder = compiled.folder();
    let manifest = &folder.manifest;
    let mut sections = vec![about(compiled, language)];
    if let Ok(program) = fml::load(&folder.map_file, &folder.map, &folder.importable(&LIBRARY)) {
        let place = |statement: &Statement| program.files.show(statement.rule);
        let statements: Vec<Said> = walk(&program)
            .statements
            .into_iter()
            .filter_map(|statement| Said::new(place(&statement), statement))
            .collect();
        sections.extend(resources::resources(&statements, language));
        sections.extend(account::held_back(&statements, language));
        sections.extend(account::code_tables(compiled, language));
        sections.extend(account::left_out(compiled, &statements, language));
    }
    sections.extend(account::remarks(compiled, language));
    sections.extend(example::examples(compiled, language));
    sections.push(signed(&manifest.version, language));
    let code = language.of("en", "nl");
    Sheet {
        language: code,
        title: format!("{} ({} {})", manifest.title, manifest.id, manifest.version),
        sections,
    }
    .write(form)
}

/// A statement that can be carried out: without the conditions that always hold, and none where one never does.
struct Said {
    /// Of its rule: where to read on.
    place: String,
    statement: Statement,
    conditions: Vec<Logic>,
}

impl Said {
    fn new(place: String, statement: Statement) -> Option<Said> {
        if statement.conditions.iter().any(|logic| words::known(logic) == Some(false)) {
            return None;
        }
        let goes_without_saying = |logic: &Logic| {
            words::known(logic) == Some(true) || matches!(logic, Logic::Is(Test::Exists(_), true))
        };
        let conditions =
            statement.conditions.iter().filter(|logic| !goes_without_saying(logic)).cloned().collect();
        Some(Said { place, statement, conditions })
    }

    /// The resource it is about, as the walk numbers it, and the element in it.
    fn target(&self) -> (&str, String) {
        let (root, element) = self.statement.target.split_once('.').unwrap_or((&self.statement.target, ""));
        (root, plain(element))
    }

    fn call(&self, name: &str) -> Option<&[Expression]> {
        match self.statement.value.as_ref().map(|value| &value.kind) {
            Some(Kind::Function(None, call)) if call.name == name => Some(&call.arguments),
            _ => None,
        }
    }

    fn when(&self, beyond: &[Logic], language: Language) -> String {
        let mut said: Vec<String> = Vec::new();
        for logic in self.conditions.iter().filter(|logic| !beyond.contains(logic)) {
            let words = words::condition(logic, language);
            if !words.is_empty() && !said.contains(&words) {
                said.push(words);
            }
        }
        let said = said.join(language.of(" and ", " en "));
        match said.char_indices().nth(CONDITION_MAX) {
            Some((at, _)) => {
                let shown = said.get(..at).unwrap_or(&said).replace('`', "");
                format!("{shown}… ({} {})", language.of("whole in", "volledig in"), self.place)
            }
            None => said,
        }
    }
}

fn about(compiled: &CompiledFolder, language: Language) -> Section {
    let manifest = &compiled.folder().manifest;
    let senders = match manifest.matches.senders.join(", ") {
        all if all == "*" => language.of("any sender", "elke afzender").to_owned(),
        some => format!("URA {some}"),
    };
    Section {
        lines: vec![format!(
            "{} {}. {}: {senders}. {}",
            language.of("Documents written as", "Documenten geschreven als"),
            manifest.format.as_str(),
            language.of("From", "Van"),
            language.of(
                "This sheet is drawn from the map itself, version by version; nothing else decides what a document becomes.",
                "Dit blad is getekend uit de mapping zelf, per versie; niets anders bepaalt wat er van een document wordt."
            )
        )],
        ..Section::default()
    }
}

fn signed(version: &str, language: Language) -> Section {
    Section {
        heading: language.of("Signed off", "Voor akkoord").to_owned(),
        lines: vec![format!(
            "{} {version} {}",
            language.of("Version", "Versie"),
            language
                .of("of this mapping, read and found right:", "van deze mapping, gelezen en juist bevonden:")
        )],
        head: head(
            language,
            &[("Name", "Naam"), ("Role", "Rol"), ("Date", "Datum"), ("Signature", "Handtekening")],
        ),
        rows: vec![vec![String::new(); 4]; 2],
    }
}

fn head(language: Language, names: &[(&'static str, &'static str)]) -> Vec<String> {
    names.iter().map(|(english, dutch)| language.of(english, dutch).to_owned()).collect()
}
