//! A map as StructureMap resource of R4: the build product others can load. Read back it is the same map.
//!
//! Transforms that FHIR has no code for (`hl7DateTime`, `identity`...) are carried as `evaluate` of their text.
//! Source: FHIR R4 structuremap.html, valueset-map-transform.html.

mod json;

use super::map::{
    Call, ConceptMap, DefaultFor, Expression, Group, Kind, ListMode, Map, Rule, Source, Target, TargetMode,
    Transform,
};
use super::place::{Files, MapError, Place};
use super::print;
use json::Value;

/// Transforms with a code of their own (FHIR R4 valueset-map-transform.html).
const TRANSFORMS: [&str; 15] = [
    "create",
    "copy",
    "truncate",
    "escape",
    "cast",
    "append",
    "translate",
    "reference",
    "dateOp",
    "pointer",
    "cc",
    "c",
    "qty",
    "id",
    "cp",
];
/// Extension that refers to each contained ConceptMap.
const CONTAINED_TABLE: &str = "https://sluis.care/fhir/StructureDefinition/contained-code-table";
/// Longest `id` (FHIR R4 datatypes.html#id).
const ID_MAX: usize = 64;

/// The StructureMap of one map, as JSON.
///
/// Errors: what R4 has no room for: names that are no FHIR ids, constants, defaults that are expressions.
pub fn structure_map(files: &Files, map: &Map) -> Result<String, Vec<MapError>> {
    let mut builder = Builder { files, errors: Vec::new() };
    let value = builder.map(map);
    if builder.errors.is_empty() { Ok(value.to_text()) } else { Err(builder.errors) }
}

struct Builder<'f> {
    files: &'f Files,
    errors: Vec<MapError>,
}

impl Builder<'_> {
    fn error(&mut self, code: &'static str, place: Place, text: String, help: &str) {
        self.errors.push(MapError::new(self.files, code, place, text, help.to_owned()));
    }

    /// A name where R4 wants an id.
    fn id(&mut self, name: &str, place: Place) -> Value {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
        if name.is_empty() || name.len() > ID_MAX || !name.chars().all(fits) {
            let text = format!("`{name}` is no FHIR id, as names in a StructureMap are");
            self.error("name-id", place, text, "use letters and digits, at most 64");
        }
        Value::text(name)
    }

    fn map(&mut self, map: &Map) -> Value {
        let metadata =
            |key: &str| map.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str());
        if let Some((name, expression)) = map.constants.first() {
            let text = format!("the constant `{name}` has no place in a StructureMap of R4");
            self.error("constant-unsupported", expression.place, text, "write its value where it is used");
        }
        let contained = map.concept_maps.iter().map(|table| self.table(table)).collect();
        let mut members = vec![("resourceType", Value::text("StructureMap"))];
        members.push(("contained", Value::List(contained)));
        // Rules name a table in a string; R4 wants what is contained to be referred to (domainresource.html, dom-3).
        let tables = map.concept_maps.iter().map(|table| {
            let id = format!("#{}", table.url.trim_start_matches('#'));
            Value::object(vec![("url", Value::text(CONTAINED_TABLE)), ("valueCanonical", Value::text(&id))])
        });
        members.push(("extension", Value::List(tables.collect())));
        members.push(("url", Value::text(&map.url)));
        let name = metadata("name").unwrap_or_else(|| map.url.rsplit('/').next().unwrap_or("map"));
        members.extend(metadata("version").map(|version| ("version", Value::text(version))));
        members.push(("name", Value::text(name)));
        members.extend(metadata("title").map(|title| ("title", Value::text(title))));
        members.push(("status", Value::text(metadata("status").unwrap_or("draft"))));
        members.extend(metadata("description").map(|text| ("description", Value::text(text))));
        let structures = map.uses.iter().map(|uses| {
            let mode = if uses.target { "target" } else { "source" };
            Value::object(vec![
                ("url", Value::text(&uses.url)),
                ("mode", Value::text(mode)),
                ("alias", Value::text(&uses.name)),
            ])
        });
        members.push(("structure", Value::List(structures.collect())));
        members.push(("import", Value::List(map.imports.iter().map(|(url, _)| Value::text(url)).collect())));
        members.push(("group", Value::List(map.groups.iter().map(|group| self.group(group)).collect())));
        Value::object(members)
    }

    fn table(&mut self, table: &ConceptMap) -> Value {
        let id = table.url.trim_start_matches('#');
        let mut groups: Vec<(&str, &str, Vec<Value>)> = Vec::new();
        for row in &table.rows {
            let (target_system, target_code) =
                row.target.as_ref().map_or(("", ""), |(system, code)| (system, code));
            let equivalence = match row.relation.as_str() {
                "=" => "equal",
                "<=" => "wider",
                "!=" => "unmatched",
                _ => "equivalent",
            };
            let mut target = Vec::new();
            if !target_code.is_empty() {
                target.push(("code", Value::text(target_code)));
            }
            target.push(("equivalence", Value::text(equivalence)));
            let element = Value::object(vec![
                ("code", Value::text(&row.source.1)),
                ("target", Value::List(vec![Value::object(target)])),
            ]);
            match groups.iter_mut().find(|(from, to, _)| *from == row.source.0 && *to == target_system) {
                Some((.., elements)) => elements.push(element),
                None => groups.push((&row.source.0, target_system, vec![element])),
            }
        }
        let groups = groups.into_iter().map(|(source, target, elements)| {
            let mut members = Vec::new();
            for (name, system) in [("source", source), ("target", target)] {
                if !system.is_empty() {
                    members.push((name, Value::text(system)));
                }
            }
            members.push(("element", Value::List(elements)));
            Value::object(members)
        });
        let groups = groups.collect();
        Value::object(vec![
            ("resourceType", Value::text("ConceptMap")),
            ("id", self.id(id, table.place)),
            ("status", Value::text("draft")),
            ("group", Value::List(groups)),
        ])
    }

    fn group(&mut self, group: &Group) -> Value {
        let mut members = vec![("name", self.id(&group.name, group.place))];
        if let Some((base, place)) = &group.extends {
            members.push(("extends", self.id(base, *place)));
        }
        let mode = match group.default_for {
            DefaultFor::Nothing => "none",
            DefaultFor::Types => "types",
            DefaultFor::SourceAndTypes => "type-and-types",
        };
        members.push(("typeMode", Value::text(mode)));
        let inputs = group.parameters.iter().map(|parameter| {
            let mut input = vec![("name", self.id(&parameter.name, parameter.place))];
            if !parameter.type_name.is_empty() {
                input.push(("type", Value::text(&parameter.type_name)));
            }
            input.push(("mode", Value::text(if parameter.target { "target" } else { "source" })));
            Value::object(input)
        });
        members.push(("input", Value::List(inputs.collect())));
        members.push(("rule", Value::List(self.rules(&group.rules))));
        Value::object(members)
    }

    fn rules(&mut self, rules: &[Rule]) -> Vec<Value> {
        let mut values = Vec::new();
        for rule in rules {
            if rule.batch.is_empty() {
                values.push(self.rule(rule));
            }
            // `src -> tgt: a, b;` is a rule for each.
            for element in &rule.batch {
                let mut one = rule.clone();
                one.batch.clear();
                one.sources.iter_mut().for_each(|source| source.path.push(element.clone()));
                one.targets.iter_mut().for_each(|target| target.path.push(element.clone()));
                one.name = Some(format!("{}-{element}", rule.name.as_deref().unwrap_or("copy")));
                values.push(self.rule(&one));
            }
        }
        values
    }

    fn rule(&mut self, rule: &Rule) -> Value {
        let simple = super::is_simple(rule);
        let mut members = vec![("name", Value::text(&rule_name(rule)))];
        let sources = rule.sources.iter().map(|source| self.source(source, simple)).collect();
        members.push(("source", Value::List(sources)));
        let targets = rule.targets.iter().map(|target| self.target(target, simple)).collect();
        members.push(("target", Value::List(targets)));
        members.push(("rule", Value::List(self.rules(&rule.rules))));
        let calls = rule.calls.iter().map(|call| {
            let arguments = call.arguments.iter().map(|argument| match &argument.kind {
                Kind::Name(name) | Kind::Variable(name) => Value::text(name),
                _ => Value::text(&print::expression(argument)),
            });
            let arguments = arguments.collect();
            Value::object(vec![
                ("name", self.id(&call.name, call.place)),
                ("variable", Value::List(arguments)),
            ])
        });
        let calls = calls.collect();
        members.push(("dependent", Value::List(calls)));
        Value::object(members)
    }

    fn source(&mut self, source: &Source, simple: bool) -> Value {
        let mut members = Vec::new();
        if let Some((context, steps)) = source.path.split_first() {
            members.push(("context", self.id(context, source.place)));
            if let Some((min, max)) = source.cardinality {
                members.push(("min", Value::Number(min.to_string())));
                members
                    .push(("max", Value::text(&max.map_or_else(|| "*".to_owned(), |max| max.to_string()))));
            }
            members.extend(source.type_name.as_ref().map(|name| ("type", Value::text(name))));
            if let Some(default) = &source.default {
                members.extend(self.default(default));
            }
            if !steps.is_empty() {
                members.push(("element", Value::text(&steps.join("."))));
            }
        }
        let mode = match source.list_mode {
            ListMode::All => None,
            ListMode::First => Some("first"),
            ListMode::NotFirst => Some("not_first"),
            ListMode::Last => Some("last"),
            ListMode::NotLast => Some("not_last"),
            ListMode::OnlyOne => Some("only_one"),
        };
        members.extend(mode.map(|mode| ("listMode", Value::text(mode))));
        match &source.variable {
            Some(name) => members.push(("variable", self.id(name, source.place))),
            None if simple => members.push(("variable", Value::text("vvv"))),
            None => {}
        }
        let mut part = |name: &'static str, expression: &Option<Expression>| {
            members.extend(expression.as_ref().map(|e| (name, Value::text(&print::expression(e)))));
        };
        part("condition", &source.condition);
        part("check", &source.check);
        part("logMessage", &source.log);
        Value::object(members)
    }

    fn default(&mut self, default: &Expression) -> Option<(&'static str, Value)> {
        Some(match &default.kind {
            Kind::Text(text) => ("defaultValueString", Value::text(text)),
            Kind::Boolean(value) => ("defaultValueBoolean", Value::Boolean(*value)),
            Kind::Number(number) if number.contains('.') => {
                ("defaultValueDecimal", Value::Number(number.clone()))
            }
            Kind::Number(number) => ("defaultValueInteger", Value::Number(number.clone())),
            _ => {
                let text = "a default in a StructureMap of R4 is a value, not an expression".to_owned();
                self.error("default-unsupported", default.place, text, "write a literal");
                return None;
            }
        })
    }

    fn target(&mut self, target: &Target, simple: bool) -> Value {
        let mut members = Vec::new();
        if let Some((context, steps)) = target.path.split_first() {
            members.push(("context", self.id(context, target.place)));
            members.push(("contextType", Value::text("variable")));
            if !steps.is_empty() {
                members.push(("element", Value::text(&steps.join("."))));
            }
        }
        match &target.variable {
            Some(name) => members.push(("variable", self.id(name, target.place))),
            None if simple => members.push(("variable", Value::text("vvv"))),
            None => {}
        }
        let (mode, rule_id) = match &target.list_mode {
            TargetMode::New => (None, None),
            TargetMode::Share(name) => (Some("share"), Some(name)),
            TargetMode::First => (Some("first"), None),
            TargetMode::Last => (Some("last"), None),
            TargetMode::Single => (Some("single"), None),
        };
        members.extend(mode.map(|mode| ("listMode", Value::List(vec![Value::text(mode)]))));
        if let Some(name) = rule_id {
            members.push(("listRuleId", self.id(name, target.place)));
        }
        match &target.transform {
            None if simple => members.push(("transform", Value::text("create"))),
            None => {}
            Some(transform) => {
                let (name, parameters) = self.transform(transform, target.place);
                members.push(("transform", Value::text(name)));
                members.push(("parameter", Value::List(parameters)));
            }
        }
        Value::object(members)
    }

    fn transform(&mut self, transform: &Transform, place: Place) -> (&'static str, Vec<Value>) {
        let evaluated =
            |text: String| ("evaluate", vec![Value::object(vec![("valueString", Value::text(&text))])]);
        match transform {
            Transform::Value(expression) => match self.parameter(expression) {
                Some(value) => ("copy", vec![value]),
                None => evaluated(print::expression(expression)),
            },
            Transform::Call(Call { name, arguments, .. }) if name == "evaluate" => match arguments.as_slice()
            {
                [context, inner] if matches!(context.kind, Kind::Name(_) | Kind::Variable(_)) => {
                    let context = self.parameter(context);
                    let inner = Value::object(vec![("valueString", Value::text(&print::expression(inner)))]);
                    ("evaluate", context.into_iter().chain([inner]).collect())
                }
                _ => {
                    let text = "`evaluate` of anything but a variable".to_owned();
                    self.error("transform-unsupported", place, text, "bind the context to a variable first");
                    ("evaluate", Vec::new())
                }
            },
            Transform::Call(call) => {
                let known = TRANSFORMS.iter().find(|known| **known == call.name);
                let parameters: Option<Vec<Value>> =
                    call.arguments.iter().map(|a| self.parameter(a)).collect();
                match (known, parameters) {
                    (Some(name), Some(parameters)) => (name, parameters),
                    _ => evaluated(print::call(call)),
                }
            }
        }
    }

    /// A variable or literal as parameter; `None` for what only text can carry.
    fn parameter(&mut self, expression: &Expression) -> Option<Value> {
        let (name, value) = match &expression.kind {
            Kind::Name(name) | Kind::Variable(name) => ("valueId", self.id(name, expression.place)),
            Kind::Text(text) if !text.is_empty() => ("valueString", Value::text(text)),
            Kind::Boolean(value) => ("valueBoolean", Value::Boolean(*value)),
            Kind::Number(number) if number.contains('.') => ("valueDecimal", Value::Number(number.clone())),
            Kind::Number(number) => ("valueInteger", Value::Number(number.clone())),
            _ => return None,
        };
        Some(Value::object(vec![(name, value)]))
    }
}

/// A rule's name as FHIR id; one without gets its place.
fn rule_name(rule: &Rule) -> String {
    let name: String = match &rule.name {
        Some(name) => name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
            .take(ID_MAX)
            .collect(),
        None => String::new(),
    };
    if name.is_empty() { format!("rule-{}-{}", rule.place.line, rule.place.column) } else { name }
}
