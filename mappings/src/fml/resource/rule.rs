//! `StructureMap.group.rule` -> [`Rule`].

use super::Reader;
use crate::fml::map::{Call, Expression, Kind, ListMode, Rule, Source, Target, TargetMode, Transform};
use crate::fml::print::is_plain_name;
use crate::source::NodeId;

/// Name the publishing tools give both sides of `src.a -> tgt.b;`, which names neither.
const UNNAMED: &str = "vvv";

impl Reader<'_> {
    pub(super) fn rule(&mut self, node: NodeId) -> Rule {
        let mut sources: Vec<Source> = self.all(node, "source").into_iter().map(|n| self.source(n)).collect();
        let mut targets: Vec<Target> = self.all(node, "target").into_iter().map(|n| self.target(n)).collect();
        let calls: Vec<Call> = self.all(node, "dependent").into_iter().map(|n| self.dependent(n)).collect();
        let rules: Vec<Rule> = self.all(node, "rule").into_iter().map(|n| self.rule(n)).collect();
        // `create` of nothing in particular, with nothing that fills it, is the short form of taking an element over.
        if let ([source], [target], true, true) =
            (sources.as_mut_slice(), targets.as_mut_slice(), calls.is_empty(), rules.is_empty())
            && matches!(&target.transform, Some(Transform::Call(call)) if call.name == "create" && call.arguments.is_empty())
            && source.variable.is_some()
        {
            target.transform = None;
            target.variable = None;
            source.variable = source.variable.take().filter(|name| name != UNNAMED);
        }
        for target in &mut targets {
            if matches!(&target.transform, Some(Transform::Call(call)) if call.name == "create" && call.arguments.is_empty())
            {
                target.transform = None;
            }
        }
        Rule {
            name: self.text(node, "name").map(str::to_owned),
            sources,
            targets,
            batch: Vec::new(),
            calls,
            rules,
            place: self.place(node),
        }
    }

    fn source(&mut self, node: NodeId) -> Source {
        let context = self.wanted(node, "context");
        let list_mode = match self.text(node, "listMode") {
            None => ListMode::All,
            Some("first") => ListMode::First,
            Some("not_first") => ListMode::NotFirst,
            Some("last") => ListMode::Last,
            Some("not_last") => ListMode::NotLast,
            Some("only_one") => ListMode::OnlyOne,
            Some(other) => {
                let text = format!("list mode `{other}`");
                self.error(
                    "list-mode-unsupported",
                    node,
                    text,
                    "first, not_first, last, not_last or only_one",
                );
                ListMode::All
            }
        };
        let cardinality = match (self.text(node, "min"), self.text(node, "max")) {
            (None, None) => None,
            (min, max) => Some((
                min.and_then(|min| min.parse().ok()).unwrap_or(0),
                max.and_then(|max| max.parse().ok()),
            )),
        };
        let mut part = |name: &str| {
            let child = self.tree.named(node, name).next()?;
            self.expression(child)
        };
        let (condition, check, log) = (part("condition"), part("check"), part("logMessage"));
        Source {
            path: path(context, self.text(node, "element")),
            type_name: self.text(node, "type").map(str::to_owned),
            cardinality,
            default: self.default(node),
            list_mode,
            variable: self.text(node, "variable").map(str::to_owned),
            condition,
            check,
            log,
            place: self.place(node),
        }
    }

    /// R4: `defaultValue[x]`, a value; R5: `defaultValue`, an expression.
    fn default(&mut self, node: NodeId) -> Option<Expression> {
        let tree = self.tree;
        let child = tree.children(node).find(|child| tree.name(*child).starts_with("defaultValue"))?;
        let text = tree.text(child);
        let (name, Some(text)) = (tree.name(child), text) else {
            self.error(
                "default-unsupported",
                child,
                "a default of several parts",
                "create it in a rule of its own",
            );
            return None;
        };
        let kind = match name {
            "defaultValue" => return self.expression(child),
            "defaultValueBoolean" => Kind::Boolean(text == "true"),
            "defaultValueInteger"
            | "defaultValueDecimal"
            | "defaultValuePositiveInt"
            | "defaultValueUnsignedInt" => Kind::Number(text.to_owned()),
            _ => Kind::Text(text.to_owned()),
        };
        Some(Expression { kind, place: self.place(child) })
    }

    fn target(&mut self, node: NodeId) -> Target {
        let context = self.text(node, "context").map(str::to_owned);
        let rule_id = self.text(node, "listRuleId").map(str::to_owned);
        let list_mode = match (self.text(node, "listMode"), rule_id) {
            (None, _) => TargetMode::New,
            (Some("share"), Some(name)) => TargetMode::Share(name),
            (Some("first"), _) => TargetMode::First,
            (Some("last"), _) => TargetMode::Last,
            (Some("single"), _) => TargetMode::Single,
            (Some(other), _) => {
                let text = format!("list mode `{other}`");
                self.error(
                    "list-mode-unsupported",
                    node,
                    text,
                    "first, last, single, or share with listRuleId",
                );
                TargetMode::New
            }
        };
        let name = self.text(node, "transform").map(str::to_owned);
        let mut transform = name.and_then(|name| self.transform(node, name));
        if context.is_none() && self.text(node, "variable").is_some() {
            // `(f(x)) as name` binds a value; without a name it is a statement.
            transform = transform.map(|transform| match transform {
                Transform::Call(call) if call.name != "create" => {
                    let place = call.place;
                    Transform::Value(Expression { kind: Kind::Function(None, call), place })
                }
                other => other,
            });
        }
        Target {
            path: context.map(|context| path(context, self.text(node, "element"))).unwrap_or_default(),
            transform,
            variable: self.text(node, "variable").map(str::to_owned),
            list_mode,
            place: self.place(node),
        }
    }

    fn transform(&mut self, node: NodeId, name: String) -> Option<Transform> {
        // It stands before `(` when it is printed.
        if !is_plain_name(&name) {
            let text = format!("`{name}` names no transform");
            let help = "use a code of FHIR R4 valueset-map-transform.html, or the name of a function";
            self.error("transform-unknown", node, text, help);
            return None;
        }
        let parameters = self.all(node, "parameter");
        let place = self.place(node);
        match (name.as_str(), parameters.as_slice()) {
            ("copy", [only]) => self.value(*only).map(Transform::Value),
            ("evaluate", [only]) => {
                let expression = self.inner(*only)?;
                Some(match expression.kind {
                    // A function on its own: a statement of the map, or a transform that FHIR has no code for.
                    Kind::Function(None, call) => Transform::Call(call),
                    _ => Transform::Value(expression),
                })
            }
            ("evaluate", [context, inner]) => {
                let arguments = vec![self.value(*context)?, self.inner(*inner)?];
                Some(Transform::Call(Call { name, arguments, place }))
            }
            _ => {
                let arguments =
                    parameters.into_iter().filter_map(|parameter| self.value(parameter)).collect();
                Some(Transform::Call(Call { name, arguments, place }))
            }
        }
    }

    /// The expression a parameter of `evaluate` holds as text.
    fn inner(&mut self, parameter: NodeId) -> Option<Expression> {
        match self.tree.named(parameter, "valueString").next() {
            Some(text) => self.expression(text),
            None => self.value(parameter),
        }
    }

    fn dependent(&mut self, node: NodeId) -> Call {
        let mut arguments = Vec::new();
        for variable in self.all(node, "variable") {
            // R4 has names only; tools put literals there too, which are told by their quotes.
            let text = self.tree.text(variable).unwrap_or_default();
            let place = self.place(variable);
            match text.strip_prefix(['\'', '"']).and_then(|text| text.strip_suffix(['\'', '"'])) {
                Some(text) => arguments.push(Expression { kind: Kind::Text(text.to_owned()), place }),
                None => arguments.extend(self.expression(variable)),
            }
        }
        for parameter in self.all(node, "parameter") {
            arguments.extend(self.value(parameter));
        }
        Call { name: self.wanted(node, "name"), arguments, place: self.place(node) }
    }
}

fn path(context: String, element: Option<&str>) -> Vec<String> {
    let mut path = vec![context];
    path.extend(element.into_iter().flat_map(|element| element.split('.')).map(str::to_owned));
    path
}
