//! Map text (FHIR Mapping Language) -> [`Program`]: the sender's map and the library maps it imports.
//!
//! Syntax is read by `fml-syntax`; this module turns it into our own form and refuses what the *strict* profile
//! leaves out: untyped groups, undeclared models, `uuid()` and the present time (a map is a function of its input).
//! Every refusal has file, line, column and a caret. What elements and functions mean is `plan`'s business.
//! Source: HL7 FHIR Mapping Language, <https://build.fhir.org/ig/HL7/mapping-language-ig/>.

mod expression;
mod map;
mod place;
mod read;

pub use map::{
    Call, ConceptMap, ConceptRow, Expression, Group, Kind, ListMode, Map, Parameter, Rule, Source, Target,
    Transform, Uses,
};
pub use place::{Files, MapError, Place, nearest};

/// A map with everything it imports, read and indexed; index 0 is the sender's own map.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Texts, for places.
    pub files: Files,
    /// Maps in import order, the sender's first.
    pub maps: Vec<Map>,
}

impl Program {
    /// The group called `name`; the sender's own map comes before the library, so that it may override.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.maps.iter().flat_map(|map| &map.groups).find(|group| group.name == name)
    }

    /// The library's group of that name, for `group X extends X` in the sender's map.
    pub fn inherited(&self, name: &str, below: &Group) -> Option<&Group> {
        let mut groups = self.maps.iter().flat_map(|map| &map.groups).filter(|group| group.name == name);
        if name == below.name {
            groups.find(|group| {
                (group.place.file, group.place.start) == (below.place.file, below.place.start)
            })?;
        }
        groups.next()
    }
}

/// Reads `text` (shown as `name` in errors) and, transitively, what it imports from `library` (name, text).
///
/// Library maps are found by the url they declare; `imports "x/*"` takes every map whose url starts with `x/`.
/// Errors: every problem of every file, in file order.
pub fn load(name: &str, text: &str, library: &[(&str, &str)]) -> Result<Program, Vec<MapError>> {
    let mut program = Program::default();
    let mut errors = Vec::new();
    let file = program.files.add(name, text);
    match read::read(&program.files, file) {
        Ok(map) => program.maps.push(map),
        Err(found) => return Err(found),
    }
    let mut taken = vec![false; library.len()];
    let mut at = 0;
    while let Some(map) = program.maps.get(at) {
        at += 1;
        for (url, place) in map.imports.clone() {
            let mut found = false;
            for ((library_name, library_text), taken) in library.iter().zip(&mut taken) {
                if !matches(&url, declared_url(library_text)) {
                    continue;
                }
                found = true;
                if std::mem::replace(taken, true) {
                    continue;
                }
                let file = program.files.add(library_name, library_text);
                match read::read(&program.files, file) {
                    Ok(map) => program.maps.push(map),
                    Err(found) => errors.extend(found),
                }
            }
            if !found {
                let help = nearest(&url, library.iter().map(|(_, text)| declared_url(text)));
                let text = format!("no library map has the url `{url}`");
                errors.push(MapError::new(&program.files, "import-unknown", place, text, help));
            }
        }
    }
    for group in program.maps.iter().flat_map(|map| &map.groups) {
        let same = |other: &&Group| other.name == group.name && other.place.file == group.place.file;
        if program.maps.iter().flat_map(|map| &map.groups).filter(same).count() > 1 {
            let text = format!("group `{}` is there twice", group.name);
            errors.push(MapError::new(
                &program.files,
                "group-twice",
                group.place,
                text,
                "rename one".to_owned(),
            ));
        }
    }
    if errors.is_empty() { Ok(program) } else { Err(errors) }
}

fn matches(wanted: &str, url: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => url.starts_with(prefix),
        None => wanted == url,
    }
}

/// The url between the first quotes after `map`; library maps always declare theirs this way.
fn declared_url(text: &str) -> &str {
    text.lines()
        .find_map(|line| line.trim_start().strip_prefix("map "))
        .and_then(|rest| rest.split(['"', '\'']).nth(1))
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot read its own map should stop")]
    use super::*;

    const HEAD: &str = "map \"http://x/m\" = \"m\"\nuses \"http://x/A\" alias A as source\n";

    #[test]
    fn syntax_errors_have_file_line_and_column() {
        let text = format!("{HEAD}group G(source a : A) {{\n  a.x -> a.y = \n}}\n");
        let errors = load("map.fml", &text, &[]).unwrap_err();
        assert_eq!((errors[0].file.as_str(), errors[0].line), ("map.fml", 4));
        assert!(errors[0].text.starts_with("expected a transform"), "{}", errors[0].text);
    }

    #[test]
    fn untyped_parameter_is_refused() {
        let errors = load("map.fml", &format!("{HEAD}group G(source a) {{ }}\n"), &[]).unwrap_err();
        assert_eq!((errors[0].code, errors[0].line, errors[0].column), ("parameter-untyped", 3, 9));
    }

    #[test]
    fn imports_are_found_by_url_and_unknown_ones_name_the_nearest() {
        let library = [(
            "lib/a.fml",
            "map \"http://x/lib/a\" = \"a\"\nuses \"http://x/A\" as source\ngroup L(source a : A) { }\n",
        )];
        let text =
            format!("{HEAD}imports \"http://x/lib/*\"\ngroup G(source a : A) {{ a.x as x then L(x); }}\n");
        assert!(load("map.fml", &text, &library).unwrap().group("L").is_some());
        let text = text.replace("lib/*", "lib/b");
        let errors = load("map.fml", &text, &library).unwrap_err();
        assert_eq!((errors[0].code, errors[0].line), ("import-unknown", 3));
        assert!(errors[0].help.contains("http://x/lib/a"));
    }

    #[test]
    fn deep_nesting_is_refused_before_parsing() {
        let text = format!("{HEAD}group G(source a : A) {{ a where ({}true", "(".repeat(100_000));
        assert_eq!(load("map.fml", &text, &[]).unwrap_err()[0].code, "map-too-large");
    }
}
