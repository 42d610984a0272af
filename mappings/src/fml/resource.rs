//! StructureMap resources, of R4 and R5, in JSON and XML -> [`Map`]: another front end to the same form.
//!
//! The two versions differ in names only: `dependent.variable` or `dependent.parameter`, a default that is a value or an expression,
//! `relationship` or `equivalence` of a contained ConceptMap. Every place is that of the element in the resource.
//! Source: FHIR R4 structuremap.html; mapping-language-ig StructureMap.

mod rule;
mod table;

use super::Profile;
use super::map::{DefaultFor, Expression, Group, Kind, Map, Parameter, Uses};
use super::place::{Files, MapError, Place};
use super::read;
use crate::finding::Severity;
use crate::source::{self, NodeId, Tree, json, xml};

/// Whether a text is a resource rather than map text.
pub(super) fn is_resource(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '<'])
}

/// The canonical of a StructureMap: its own, not that of something in it.
pub(super) fn declared_url(text: &str) -> Option<&str> {
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        let tree = xml::parse(text.as_bytes(), source::Limits::default()).tree;
        let url = tree.named(tree.root(), "url").next()?;
        let found = tree.text(url)?.to_owned();
        return text.find(&found).and_then(|at| text.get(at..at + found.len()));
    }
    let (mut depth, mut key) = (0_u32, "");
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}', '[', ']', '"', ',']) {
        let sign = rest.as_bytes().get(at).copied();
        rest = rest.get(at + 1..).unwrap_or("");
        match sign {
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => depth = depth.saturating_sub(1),
            Some(b'"') => {
                let mut end = 0;
                while let Some(next) = rest.get(end..).and_then(|rest| rest.find(['"', '\\'])) {
                    end += next;
                    if rest.as_bytes().get(end) == Some(&b'"') {
                        break;
                    }
                    end += 2;
                }
                let string = rest.get(..end)?;
                rest = rest.get(end + 1..).unwrap_or("");
                if depth == 1 && key == "url" {
                    return Some(string);
                }
                key = if rest.trim_start().starts_with(':') { string } else { "" };
            }
            _ => key = "",
        }
    }
    None
}

/// Reads file `file` of `files`. Errors: every one found.
pub(super) fn read(files: &Files, file: u16, profile: Profile) -> Result<Map, Vec<MapError>> {
    let bytes = files.text(file).as_bytes();
    let limits = source::Limits::default();
    let parsed =
        if xml::looks_like_xml(bytes) { xml::parse(bytes, limits) } else { json::parse(bytes, limits) };
    let mut reader = Reader { files, file, profile, tree: &parsed.tree, errors: Vec::new() };
    if let Some(finding) = parsed.findings.iter().find(|finding| finding.severity >= Severity::Error) {
        let place = files.place(file, finding.span.start as usize, finding.span.end as usize);
        return Err(vec![MapError::new(
            files,
            "map-syntax",
            place,
            finding.text.clone(),
            finding.remedy.clone(),
        )]);
    }
    let map = reader.map();
    if reader.errors.is_empty() { Ok(map) } else { Err(reader.errors) }
}

struct Reader<'f> {
    files: &'f Files,
    file: u16,
    profile: Profile,
    tree: &'f Tree,
    errors: Vec<MapError>,
}

impl<'f> Reader<'f> {
    fn place(&self, node: NodeId) -> Place {
        let span = self.tree.node(node).span;
        self.files.place(self.file, span.start as usize, span.end as usize)
    }

    fn error(&mut self, code: &'static str, node: NodeId, text: impl Into<String>, help: &str) {
        let place = self.place(node);
        self.errors.push(MapError::new(self.files, code, place, text.into(), help.to_owned()));
    }

    fn all(&self, node: NodeId, name: &str) -> Vec<NodeId> {
        self.tree.named(node, name).collect()
    }

    fn text(&self, node: NodeId, name: &str) -> Option<&'f str> {
        let tree = self.tree;
        tree.named(node, name).next().and_then(|child| tree.text(child))
    }

    /// A text that must be there; empty after an error.
    fn wanted(&mut self, node: NodeId, name: &str) -> String {
        match self.text(node, name) {
            Some(text) => text.to_owned(),
            None => {
                self.error("map-element", node, format!("`{name}` is missing"), "a StructureMap has it here");
                String::new()
            }
        }
    }

    fn map(&mut self) -> Map {
        let root = self.tree.root();
        let type_name = self.text(root, "resourceType").unwrap_or_else(|| self.tree.name(root)).to_owned();
        if type_name != "StructureMap" {
            self.error("map-element", root, format!("{type_name} is no StructureMap"), "give a StructureMap");
            return Map::default();
        }
        let metadata = ["name", "title", "status", "version", "description"];
        let metadata = metadata
            .iter()
            .filter_map(|key| self.text(root, key).map(|value| ((*key).to_owned(), value.to_owned())));
        let metadata = metadata.collect();
        let uses = self.all(root, "structure").into_iter().map(|node| self.uses(node)).collect();
        let imports = self.all(root, "import").into_iter();
        let imports =
            imports.filter_map(|node| Some((self.tree.text(node)?.to_owned(), self.place(node)))).collect();
        let constants = self.all(root, "const").into_iter();
        let constants: Vec<(String, Expression)> = constants
            .filter_map(|node| {
                let value = self.tree.named(node, "value").next()?;
                Some((self.wanted(node, "name"), self.expression(value)?))
            })
            .collect();
        let concept_maps =
            self.all(root, "contained").into_iter().filter_map(|node| self.table(node)).collect();
        let groups: Vec<Group> = self.all(root, "group").into_iter().map(|node| self.group(node)).collect();
        Map {
            url: self.wanted(root, "url"),
            metadata,
            file: self.file,
            uses,
            imports,
            constants,
            concept_maps,
            groups,
        }
    }

    fn uses(&mut self, node: NodeId) -> Uses {
        let url = self.wanted(node, "url");
        let alias = self.text(node, "alias").map(str::to_owned);
        let name = alias.unwrap_or_else(|| url.rsplit('/').next().unwrap_or("").to_owned());
        let target = match self.text(node, "mode") {
            Some("source" | "queried") => false,
            Some("target" | "produced") => true,
            _ => {
                self.error("uses-mode", node, "no mode", "say source, queried, target or produced");
                false
            }
        };
        Uses { url, name, target, place: self.place(node) }
    }

    fn group(&mut self, node: NodeId) -> Group {
        let mut parameters = Vec::new();
        for input in self.all(node, "input") {
            let name = self.wanted(input, "name");
            let type_name = self.text(input, "type").unwrap_or_default().to_owned();
            if type_name.is_empty() && self.profile == Profile::Strict {
                let text = format!("parameter `{name}` has no type");
                self.error("parameter-untyped", input, text, "strict profile: give `input.type`");
            }
            let target = self.text(input, "mode") == Some("target");
            parameters.push(Parameter { name, target, type_name, place: self.place(input) });
        }
        let extends = self.tree.named(node, "extends").next();
        let extends = extends.and_then(|of| Some((self.tree.text(of)?.to_owned(), self.place(of))));
        let default_for = match self.text(node, "typeMode") {
            Some("types") => DefaultFor::Types,
            Some("type-and-types") => DefaultFor::SourceAndTypes,
            _ => DefaultFor::Nothing,
        };
        let rules = self.all(node, "rule").into_iter().map(|rule| self.rule(rule)).collect();
        Group {
            name: self.wanted(node, "name"),
            parameters,
            extends,
            default_for,
            rules,
            place: self.place(node),
        }
    }

    /// The FHIRPath an element holds.
    fn expression(&mut self, node: NodeId) -> Option<Expression> {
        let text = self.tree.text(node)?;
        match read::expression_of(text, self.profile) {
            Ok(mut expression) => {
                let place = self.place(node);
                relocate(&mut expression, place);
                Some(expression)
            }
            Err(error) => {
                self.error(error.code, node, format!("in `{text}`: {}", error.text), &error.help);
                None
            }
        }
    }

    /// `value[x]` of a parameter: a variable for `valueId`, else a literal.
    fn value(&mut self, node: NodeId) -> Option<Expression> {
        let tree = self.tree;
        let child = tree.children(node).find(|child| tree.name(*child).starts_with("value"))?;
        let text = tree.text(child).unwrap_or_default().to_owned();
        let kind = match tree.name(child) {
            "valueId" => Kind::Variable(text),
            "valueBoolean" => Kind::Boolean(text == "true"),
            "valueInteger" | "valueDecimal" => Kind::Number(text),
            "valueDate" | "valueDateTime" => Kind::Moment(text),
            "valueTime" => Kind::Moment(format!("T{text}")),
            _ => Kind::Text(text),
        };
        let (is_good, wanted) = match &kind {
            // In XML any text can stand there (FHIR R4 datatypes.html#primitive).
            Kind::Number(number) => (is_number(number), "a number"),
            Kind::Moment(moment) => {
                let is_part = |byte: u8| {
                    byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T' | b'.' | b'+' | b'Z')
                };
                (
                    moment.bytes().all(is_part) && moment.bytes().any(|byte| byte.is_ascii_digit()),
                    "a date or time",
                )
            }
            _ => (true, ""),
        };
        if !is_good {
            self.error("value-invalid", child, format!("this is not {wanted}"), "correct the value");
            return None;
        }
        Some(Expression { kind, place: self.place(child) })
    }
}

/// An integer or decimal as FHIR writes it (FHIR R4 datatypes.html#decimal), without an exponent, which the map language lacks.
fn is_number(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = text.strip_prefix('-').unwrap_or(text);
    match plain.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(plain),
    }
}

/// Gives an expression read from a text of its own the place of the element that holds it.
fn relocate(expression: &mut Expression, place: Place) {
    expression.place = place;
    match &mut expression.kind {
        Kind::Member(base, _) | Kind::Negative(base) | Kind::Type(base, ..) => relocate(base, place),
        Kind::Index(left, right) | Kind::Binary(left, _, right) => {
            relocate(left, place);
            relocate(right, place);
        }
        Kind::Function(base, call) => {
            base.iter_mut().for_each(|base| relocate(base, place));
            call.place = place;
            call.arguments.iter_mut().for_each(|argument| relocate(argument, place));
        }
        _ => {}
    }
}
