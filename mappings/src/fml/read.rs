//! Syntax tree of `fml-syntax` -> [`Map`]; refuses what its profile does not take.

use fml_syntax::{AstNode, SyntaxKind, SyntaxNode, ast};

use super::Profile;
use super::map::{
    Call, ConceptMap, ConceptRow, DefaultFor, Expression, Group, ListMode, Map, Parameter, Rule, Source,
    Target, TargetMode, Transform, Uses,
};
use super::place::{Files, MapError, Place};

/// Nested brackets a map may have: the parser recurses on them.
const NESTING_MAX: u32 = 64;
/// Longest map text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads file `file` of `files`; every error found is in the list, not only the first.
pub(super) fn read(files: &Files, file: u16, profile: Profile) -> Result<Map, Vec<MapError>> {
    let text = files.text(file);
    if super::resource::is_resource(text) && text.len() <= TEXT_BYTES_MAX {
        return super::resource::read(files, file, profile);
    }
    if let Some(at) = too_deep(text) {
        let place = files.place(file, at, at + 1);
        let text = format!("more than {NESTING_MAX} nested brackets, or more than {TEXT_BYTES_MAX} bytes");
        return Err(vec![MapError::new(files, "map-too-large", place, text, "split the map".to_owned())]);
    }
    let parse = fml_syntax::parse(text);
    let errors: Vec<MapError> = parse
        .diagnostics()
        .iter()
        .filter(|d| d.severity == fml_syntax::Severity::Error)
        .map(|d| {
            let place = files.place(file, usize::from(d.range.start()), usize::from(d.range.end()));
            MapError::new(files, "map-syntax", place, d.message.clone(), String::new())
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut reader = Reader { files, file, profile, errors: Vec::new() };
    let map = reader.map(&parse.tree());
    if reader.errors.is_empty() { Ok(map) } else { Err(reader.errors) }
}

/// Reads a FHIRPath expression that stands on its own, as resources hold them; its places mean nothing.
pub(super) fn expression_of(text: &str, profile: Profile) -> Result<Expression, Box<MapError>> {
    let mut files = Files::default();
    // A newline ends what a comment in the expression would hide.
    let file = files.add("expression", &format!("group g(source s, target t) {{ s where ({text}\n); }}"));
    let wrong =
        |text: String| Box::new(MapError::new(&files, "map-syntax", Place::default(), text, String::new()));
    if too_deep(files.text(file)).is_some() {
        return Err(wrong(format!("more than {NESTING_MAX} nested brackets")));
    }
    let parse = fml_syntax::parse(files.text(file));
    if let Some(error) = parse.diagnostics().iter().find(|d| d.severity == fml_syntax::Severity::Error) {
        return Err(wrong(error.message.clone()));
    }
    let rules: Vec<ast::Rule> =
        parse.tree().groups().flat_map(|group| group.rules().collect::<Vec<_>>()).collect();
    let clauses: Vec<ast::Source> =
        rules.iter().flat_map(|rule| rule.sources().collect::<Vec<_>>()).collect();
    let [clause] = clauses.as_slice() else { return Err(wrong("one expression is expected".to_owned())) };
    let Some(condition) = clause.where_clause() else {
        return Err(wrong("an expression is expected".to_owned()));
    };
    let mut reader = Reader { files: &files, file, profile, errors: Vec::new() };
    let expression = reader.expression(condition.syntax());
    match reader.errors.pop() {
        Some(error) => Err(Box::new(error)),
        None => Ok(expression),
    }
}

pub(super) struct Reader<'f> {
    files: &'f Files,
    file: u16,
    profile: Profile,
    errors: Vec<MapError>,
}

impl Reader<'_> {
    pub(super) fn place(&self, node: &SyntaxNode) -> Place {
        let range = node.text_range();
        self.files.place(self.file, usize::from(range.start()), usize::from(range.end()))
    }

    pub(super) fn error(&mut self, code: &'static str, node: &SyntaxNode, text: String, help: &str) {
        let place = self.place(node);
        self.errors.push(MapError::new(self.files, code, place, text, help.to_owned()));
    }

    fn map(&mut self, file: &ast::SourceFile) -> Map {
        let declared = file.map_declaration().and_then(|m| m.url()).and_then(|url| url.value());
        let mut metadata: Vec<(String, String)> =
            file.metadata().filter_map(|m| Some((m.key()?.text(), m.value()?.value()?))).collect();
        let stated = metadata.iter().find(|(key, _)| key == "url").map(|(_, url)| url.clone());
        if let Some(name) = file.map_declaration().and_then(|m| m.name()).and_then(|name| name.value()) {
            metadata.push(("name".to_owned(), name));
        }
        let url = declared.or(stated).unwrap_or_default();
        if url.is_empty() {
            self.error(
                "map-url",
                file.syntax(),
                "the map has no url".into(),
                "start with `map \"url\" = \"name\"`",
            );
        }
        let uses: Vec<Uses> = file.uses().map(|u| self.uses(&u)).collect();
        if uses.is_empty() && self.profile == Profile::Strict {
            let help = "declare every model: `uses \"http://...\" alias Name as source`";
            self.error("uses-missing", file.syntax(), "the map declares no models".into(), help);
        }
        let imports = file
            .imports()
            .map(|i| (i.url().and_then(|url| url.value()).unwrap_or_default(), self.place(i.syntax())))
            .collect();
        let constants = file
            .constants()
            .filter_map(|c| Some((c.name()?, self.expression(c.expression()?.syntax()))))
            .collect();
        Map {
            url,
            metadata,
            file: self.file,
            uses,
            imports,
            constants,
            concept_maps: file.concept_maps().map(|c| self.concept_map(&c)).collect(),
            groups: file.groups().map(|g| self.group(&g)).collect(),
        }
    }

    fn uses(&mut self, uses: &ast::UsesDeclaration) -> Uses {
        let url = uses.url().and_then(|url| url.value()).unwrap_or_default();
        let name = uses.alias().unwrap_or_else(|| url.rsplit('/').next().unwrap_or("").to_owned());
        let mode = uses.mode();
        if mode.is_none() {
            self.error("uses-mode", uses.syntax(), "no mode".into(), "end with `as source` or `as target`");
        }
        let target = matches!(mode, Some(ast::ModelMode::Target | ast::ModelMode::Produced));
        Uses { url, name, target, place: self.place(uses.syntax()) }
    }

    fn concept_map(&mut self, map: &ast::ConceptMap) -> ConceptMap {
        let prefixes: Vec<(String, String)> =
            map.prefixes().filter_map(|p| Some((p.name()?, p.url()?.value()?))).collect();
        let mut rows = Vec::new();
        for entry in map.entries() {
            let mut resolve = |code: Option<ast::ConceptMapCode>| -> Option<(String, String)> {
                let code = code?;
                let prefix = code.prefix().unwrap_or_default();
                let Some((_, system)) = prefixes.iter().find(|(name, _)| *name == prefix) else {
                    let help = super::place::nearest(&prefix, prefixes.iter().map(|(name, _)| name.as_str()));
                    self.error("prefix-unknown", code.syntax(), format!("no prefix `{prefix}`"), &help);
                    return None;
                };
                Some((system.clone(), code.code()?))
            };
            let (source, target) = (resolve(entry.source()), resolve(entry.target()));
            if let Some(source) = source {
                rows.push(ConceptRow { source, relation: entry.relation().unwrap_or_default(), target });
            }
        }
        let url = map.url().and_then(|url| url.value()).unwrap_or_default();
        ConceptMap { url, rows, place: self.place(map.syntax()) }
    }

    fn group(&mut self, group: &ast::Group) -> Group {
        let parameters = group
            .parameters()
            .map(|p| {
                let type_name = p.type_annotation().and_then(|t| t.type_name()).unwrap_or_default();
                if type_name.is_empty() && self.profile == Profile::Strict {
                    let name = p.name().unwrap_or_default();
                    let help = "strict profile: write `source name : Type`";
                    self.error(
                        "parameter-untyped",
                        p.syntax(),
                        format!("parameter `{name}` has no type"),
                        help,
                    );
                }
                Parameter {
                    name: p.name().unwrap_or_default(),
                    target: p.mode() == Some(ast::ParameterMode::Target),
                    type_name,
                    place: self.place(p.syntax()),
                }
            })
            .collect();
        let extends = group.extends().map(|name| {
            let clause = group.syntax().children().find(|n| n.kind() == SyntaxKind::ExtendsClause);
            (name, self.place(clause.as_ref().unwrap_or(group.syntax())))
        });
        let rules = group.rules().map(|r| self.rule(&r)).collect();
        let default_for = match group.type_mode() {
            None => DefaultFor::Nothing,
            Some(ast::GroupTypeMode::Types) => DefaultFor::Types,
            Some(ast::GroupTypeMode::TypeAndTypes) => DefaultFor::SourceAndTypes,
        };
        let place = self.place(group.syntax());
        Group { name: group.name().unwrap_or_default(), parameters, extends, default_for, rules, place }
    }

    fn rule(&mut self, rule: &ast::Rule) -> Rule {
        let dependent = rule.dependent();
        let calls = dependent.iter().flat_map(|d| d.invocations().collect::<Vec<_>>()).collect::<Vec<_>>();
        let nested = dependent.and_then(|d| d.rules());
        Rule {
            name: rule.name(),
            sources: rule.sources().map(|s| self.source(&s)).collect(),
            targets: rule.targets().map(|t| self.target(&t)).collect(),
            batch: rule.identity_fields(),
            calls: calls.iter().map(|c| self.invocation(c)).collect(),
            rules: nested.map(|block| block.rules().map(|r| self.rule(&r)).collect()).unwrap_or_default(),
            place: self.place(rule.syntax()),
        }
    }

    fn source(&mut self, source: &ast::Source) -> Source {
        let list_mode = match source.list_mode() {
            None => ListMode::All,
            Some(ast::ListMode::First) => ListMode::First,
            Some(ast::ListMode::NotFirst) => ListMode::NotFirst,
            Some(ast::ListMode::Last) => ListMode::Last,
            Some(ast::ListMode::NotLast) => ListMode::NotLast,
            Some(_) => ListMode::OnlyOne,
        };
        let cardinality = source.cardinality().map(|(min, max)| (min.parse().unwrap_or(0), max.parse().ok()));
        Source {
            path: source.path().map(|p| p.segments()).unwrap_or_default(),
            type_name: source.type_annotation().and_then(|t| t.type_name()),
            cardinality,
            default: source.default_value().and_then(|d| d.expression()).map(|e| self.expression(e.syntax())),
            list_mode,
            variable: source.alias(),
            condition: source.where_clause().map(|e| self.expression(e.syntax())),
            check: source.check_clause().map(|e| self.expression(e.syntax())),
            log: source.log_clause().map(|e| self.expression(e.syntax())),
            place: self.place(source.syntax()),
        }
    }

    fn target(&mut self, target: &ast::Target) -> Target {
        let list_mode = match target.list_mode() {
            None => TargetMode::New,
            Some(ast::ListMode::Share(name)) => TargetMode::Share(name),
            Some(ast::ListMode::First) => TargetMode::First,
            Some(ast::ListMode::Last) => TargetMode::Last,
            Some(ast::ListMode::Single) => TargetMode::Single,
            Some(_) => {
                let help = "write `first`, `last`, `single` or `share name`";
                self.error("list-mode-unsupported", target.syntax(), "target list mode".into(), help);
                TargetMode::New
            }
        };
        let transform = target.transform().map(|transform| match transform {
            ast::TransformValue::Invocation(call) => Transform::Call(self.invocation(&call)),
            ast::TransformValue::Name(name) => Transform::Value(self.name(&name)),
            ast::TransformValue::Literal(literal) => Transform::Value(self.expression(literal.syntax())),
            ast::TransformValue::Expression(expression) => {
                Transform::Value(self.expression(expression.syntax()))
            }
        });
        Target {
            path: target.path().map(|p| p.segments()).unwrap_or_default(),
            transform,
            variable: target.alias(),
            list_mode,
            place: self.place(target.syntax()),
        }
    }

    /// `a.b.c` on the right of `=`: a variable and element steps.
    fn name(&mut self, name: &ast::QualifiedName) -> super::map::Expression {
        use super::map::{Expression, Kind};
        let place = self.place(name.syntax());
        let mut segments = name.segments().into_iter();
        let first = Expression { kind: Kind::Variable(segments.next().unwrap_or_default()), place };
        segments
            .fold(first, |base, segment| Expression { kind: Kind::Member(Box::new(base), segment), place })
    }

    fn invocation(&mut self, call: &ast::Invocation) -> Call {
        let arguments = call.arguments().map(|a| self.expression(a.syntax())).collect();
        Call { name: call.name().unwrap_or_default(), arguments, place: self.place(call.syntax()) }
    }
}

/// First byte where brackets nest too deep or the text is too long; strings and comments do not count.
fn too_deep(text: &str) -> Option<usize> {
    if text.len() > TEXT_BYTES_MAX {
        return Some(TEXT_BYTES_MAX);
    }
    let bytes = text.as_bytes();
    let (mut depth, mut signs, mut at) = (0u32, 0u32, 0usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'(' | b'{' | b'[' => depth += 1,
            b')' | b'}' | b']' => depth = depth.saturating_sub(1),
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes.get(at..).unwrap_or(&[]).iter().take_while(|&&b| b != b'\n').count();
            }
            b'\'' | b'"' => {
                at += 1;
                while let Some(&inner) = bytes.get(at) {
                    match inner {
                        b'\\' => at += 1,
                        b'\n' => break,
                        _ if inner == byte => break,
                        _ => {}
                    }
                    at += 1;
                }
            }
            _ => {}
        }
        signs = match byte {
            b'-' | b'+' => signs + 1,
            b' ' | b'\n' | b'\t' | b'\r' => signs,
            _ => 0,
        };
        if depth > NESTING_MAX || signs > NESTING_MAX {
            return Some(at);
        }
        at += 1;
    }
    None
}
