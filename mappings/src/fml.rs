//! Map text (FHIR Mapping Language) -> [`Program`]: the sender's map and the library maps it imports.
//!
//! Syntax is read by `fml-syntax`; this module turns it into our own form and refuses what the *strict* profile of senders' maps
//! leaves out: untyped groups and undeclared models. `uuid()` and the present time no profile has: a map is a function of its input.
//! StructureMap resources are another front end ([`load`] takes either), and what a map is built to ([`structure_map`]).
//! Every refusal has file, line, column and a caret. What elements and functions mean is `plan`'s business.
//! Source: HL7 FHIR Mapping Language, <https://build.fhir.org/ig/HL7/mapping-language-ig/>.

mod build;
mod expression;
mod map;
mod place;
mod print;
mod read;
mod resource;

use std::sync::{Arc, OnceLock};

pub use build::structure_map;

pub use map::{
    Call, ConceptMap, ConceptRow, DefaultFor, Expression, Group, Kind, ListMode, Map, Parameter, Rule,
    Source, Target, TargetMode, Transform, Uses,
};
pub use place::{Files, MapError, Place, nearest};

/// A map with everything it imports, read and indexed; index 0 is the sender's own map.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Texts, for places.
    pub files: Files,
    /// Maps in import order, the sender's first; those of a library are shared with its other programs.
    pub maps: Vec<Arc<Map>>,
}

/// How much of the language a map may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// What a sender's own map is held to: typed parameters, declared models, and for each resource an identity and a subject.
    #[default]
    Strict,
    /// The language as its guide has it; still no clock, no randomness and no I/O.
    Open,
}

impl Program {
    /// The group a call in file `from` means: one of the sender's that extends the group of that name, else the file's own, else
    /// the sender's, else an imported one (mapping-language-ig fml.html: names are those of the map and its imports).
    pub fn group(&self, name: &str, from: u16) -> Option<&Group> {
        let named = |map: &'_ Map| map.groups.iter().position(|group| group.name == name);
        let own = self.maps.first();
        let overriding = own.and_then(|map| {
            map.groups
                .iter()
                .find(|g| g.name == name && g.extends.as_ref().is_some_and(|(base, _)| base == name))
        });
        overriding.or_else(|| {
            let here = self.maps.iter().filter(|map| map.file == from);
            let map = here.chain(&self.maps).find(|map| named(map).is_some())?;
            map.groups.get(named(map)?)
        })
    }

    /// The group `below` extends: for `group X extends X` the next of that name, in the library.
    pub fn inherited(&self, name: &str, below: &Group) -> Option<&Group> {
        if name != below.name {
            return self.group(name, below.place.file);
        }
        let mut groups = self.maps.iter().flat_map(|map| &map.groups).filter(|group| group.name == name);
        groups
            .find(|group| (group.place.file, group.place.start) == (below.place.file, below.place.start))?;
        groups.next()
    }

    /// The map a place is in.
    pub fn map_of(&self, place: Place) -> Option<&Map> {
        self.maps.iter().find(|map| map.file == place.file).map(|map| &**map)
    }
}

/// Reads `text` (shown as `name` in errors) and, transitively, what it imports from `library` (name, text).
///
/// The sender's map is held to the strict profile; what it imports may use the language as it is.
/// Library maps are found by the url they declare; `imports "x/*y"` takes every map whose url starts with `x/` and ends in `y`.
/// Errors: every problem of every file, in file order.
pub fn load(name: &str, text: &str, library: &[(&str, &str)]) -> Result<Program, Vec<MapError>> {
    load_as(Profile::Strict, name, text, library)
}

/// As [`load`], the map itself in a profile of choice.
pub fn load_as(
    profile: Profile,
    name: &str,
    text: &str,
    library: &[(&str, &str)],
) -> Result<Program, Vec<MapError>> {
    load_from(profile, name, text, &Library::new(library))
}

/// As [`load_as`], from a library that many maps import from.
pub fn load_from(
    profile: Profile,
    name: &str,
    text: &str,
    library: &Library,
) -> Result<Program, Vec<MapError>> {
    let mut program = Program { files: library.files.led_by(name, text), maps: Vec::new() };
    let mut errors = Vec::new();
    program.maps.push(Arc::new(read::read(&program.files, 0, profile)?));
    let mut taken: Vec<bool> = vec![false; library.maps.len()];
    let own = declared_url(text);
    if let Some(itself) = library.maps.iter().position(|map| !own.is_empty() && *map.url == *own) {
        // A wildcard may reach the map itself; it is read already.
        taken[itself] = true;
    }
    let mut at = 0;
    while let Some(map) = program.maps.get(at).cloned() {
        at += 1;
        for (url, place) in &map.imports {
            let mut found = matches(url, own);
            for (shelved, taken) in library.maps.iter().zip(&mut taken) {
                if !matches(url, &shelved.url) {
                    continue;
                }
                found = true;
                if std::mem::replace(taken, true) {
                    continue;
                }
                match library.read(shelved) {
                    Ok(map) => program.maps.push(Arc::clone(map)),
                    Err(found) => errors.extend(found.iter().cloned()),
                }
            }
            if !found {
                let help = nearest(url, library.maps.iter().map(|map| &*map.url));
                let text = format!("no library map has the url `{url}`");
                errors.push(MapError::new(&program.files, "import-unknown", *place, text, help));
            }
        }
    }
    for map in &program.maps {
        for (at, group) in map.groups.iter().enumerate() {
            if map.groups.iter().take(at).any(|other| other.name == group.name) {
                let text = format!("group `{}` is there twice", group.name);
                let help = "rename one".to_owned();
                errors.push(MapError::new(&program.files, "group-twice", group.place, text, help));
            }
        }
    }
    if errors.is_empty() { Ok(program) } else { Err(errors) }
}

/// Maps to import from, each read when the first map imports it, and then shared by all that do.
#[derive(Debug, Default)]
pub struct Library {
    /// The maps from index 1 on; index 0 is the place of whichever map imports.
    files: Files,
    maps: Vec<Arc<Shelved>>,
}

/// A map of a library: which file it is, the url it declares, and the map once it was read.
#[derive(Debug)]
struct Shelved {
    file: u16,
    url: Box<str>,
    read: OnceLock<Result<Arc<Map>, Vec<MapError>>>,
}

impl Library {
    /// A library of maps (name, text or StructureMap resource). What is wrong with one is said where it is imported.
    pub fn new(maps: &[(&str, &str)]) -> Library {
        let mut library = Library::default();
        library.files.add("", "");
        library.beside(maps.iter().copied())
    }

    /// The same library with other maps before it. What was read of it is read for both.
    #[must_use]
    pub fn beside<'m>(&self, maps: impl Iterator<Item = (&'m str, &'m str)>) -> Library {
        let mut files = self.files.clone();
        let shelved = maps.map(|(name, text)| {
            let file = files.add(name, text);
            Arc::new(Shelved { file, url: declared_url(text).into(), read: OnceLock::new() })
        });
        let maps = shelved.collect::<Vec<_>>().into_iter().chain(self.maps.iter().cloned()).collect();
        Library { files, maps }
    }

    fn read<'l>(&self, shelved: &'l Shelved) -> &'l Result<Arc<Map>, Vec<MapError>> {
        shelved.read.get_or_init(|| read::read(&self.files, shelved.file, Profile::Open).map(Arc::new))
    }
}

/// Reads maps that belong together, each import met by one of them. Errors: as [`load`].
pub fn load_all(profile: Profile, maps: &[(&str, &str)]) -> Result<Program, Vec<MapError>> {
    let mut program = Program::default();
    let mut errors = Vec::new();
    for (name, text) in maps {
        let file = program.files.add(name, text);
        match read::read(&program.files, file, profile) {
            Ok(map) => program.maps.push(Arc::new(map)),
            Err(found) => errors.extend(found),
        }
    }
    for (url, place) in program.maps.iter().flat_map(|map| &map.imports) {
        if !maps.iter().any(|(_, text)| matches(url, declared_url(text))) {
            let help = nearest(url, maps.iter().map(|(_, text)| declared_url(text)));
            let text = format!("no map here has the url `{url}`");
            errors.push(MapError::new(&program.files, "import-unknown", *place, text, help));
        }
    }
    if errors.is_empty() { Ok(program) } else { Err(errors) }
}

/// `src.a -> tgt.b;` and the like: one source, one target, nothing said about either.
pub(crate) fn is_simple(rule: &Rule) -> bool {
    match rule.targets.as_slice() {
        [target] => {
            target.transform.is_none()
                && target.variable.is_none()
                && rule.calls.is_empty()
                && rule.rules.is_empty()
                && rule.batch.is_empty()
        }
        _ => false,
    }
}

fn matches(wanted: &str, url: &str) -> bool {
    match wanted.split_once('*') {
        Some((prefix, suffix)) => {
            url.len() >= prefix.len() + suffix.len() && url.starts_with(prefix) && url.ends_with(suffix)
        }
        None => wanted == url,
    }
}

/// The url a map declares, `map "url" = "name"` or `/// url = "url"`, without reading the whole; empty when there is none.
pub fn declared_url(text: &str) -> &str {
    if resource::is_resource(text) {
        return resource::declared_url(text).unwrap_or("");
    }
    text.lines()
        .find_map(|line| {
            let line = line.trim_start();
            let metadata = line.strip_prefix("///").map(str::trim_start);
            metadata.and_then(|rest| rest.strip_prefix("url")).or_else(|| line.strip_prefix("map "))
        })
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
        assert!(load("map.fml", &text, &library).unwrap().group("L", 0).is_some());
        let text = text.replace("lib/*", "lib/b");
        let errors = load("map.fml", &text, &library).unwrap_err();
        assert_eq!((errors[0].code, errors[0].line), ("import-unknown", 3));
        assert!(errors[0].help.contains("http://x/lib/a"));
    }

    #[test]
    fn a_resource_declares_its_own_url() {
        let json = r#"{"resourceType":"StructureMap","extension":[{"url":"http://x/e"}],"a":"\"url\"","url" : "http://x/m"}"#;
        assert_eq!(declared_url(json), "http://x/m");
        let xml = r#"<StructureMap xmlns="http://hl7.org/fhir"><extension url="http://x/e"/><url value="http://x/m"/></StructureMap>"#;
        assert_eq!(declared_url(xml), "http://x/m");
        assert_eq!((declared_url("{"), declared_url("{\"url\":\"a")), ("", ""));
    }

    #[test]
    fn deep_nesting_is_refused_before_parsing() {
        let text = format!("{HEAD}group G(source a : A) {{ a where ({}true", "(".repeat(100_000));
        assert_eq!(load("map.fml", &text, &[]).unwrap_err()[0].code, "map-too-large");
    }
}
