//! A map read as statements: what is written where, from which source paths, under which conditions. For `lint` and
//! `show`; nothing is run.

use crate::fml::{Call, Expression, Kind, Place, Program, Rule, Source, Target, Transform};
use crate::plan::shape::{TypeId, shapes};

/// Groups inside groups followed; a map that calls itself is read that often.
const DEPTH_MAX: usize = 24;
/// Statements read of one map.
const STATEMENTS_MAX: usize = 20_000;

/// One write, or statement about a unit.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    /// Where the target stands.
    pub place: Place,
    /// Where its rule stands.
    pub rule: Place,
    /// `Observation.code`; elements made by different declarations differ by `#n`. Empty for a statement without target.
    pub target: String,
    /// Whether the element may be there once only, and nothing on the way to it repeats.
    pub once: bool,
    /// Element name without its type, where it is one of a choice.
    pub choice: Option<&'static str>,
    /// Source items the rule stands on, nearest last.
    pub sources: Vec<String>,
    /// Conditions on the way, each in canonical form.
    pub conditions: Vec<Logic>,
    /// What is written, its variables as source paths.
    pub value: Option<Expression>,
    /// Whether something is written, rather than an element opened for others to fill.
    pub writes: bool,
    /// `translate`: source path and table.
    pub translates: Option<(String, String)>,
}

/// A condition: leaves in canonical text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Logic {
    /// A test that is not taken apart, and whether it must hold.
    Is(Test, bool),
    All(Vec<Logic>),
    Any(Vec<Logic>),
}

/// A test on one source path.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// Its value is one of these.
    OneOf(String, Vec<String>),
    /// It is there.
    Exists(String),
    /// Its value starts so.
    Starts(String, String),
    /// Anything else.
    Other(String),
    /// Always.
    True,
}

#[derive(Debug, Clone)]
enum Bound {
    Source(String),
    Target { path: String, type_id: TypeId, once: bool },
    Value(Expression),
}

pub(super) struct Walk<'p> {
    program: &'p Program,
    pub statements: Vec<Statement>,
    /// Every source path step with its place and the path it belongs to.
    pub steps: Vec<(String, String, Place)>,
    /// Places of groups reached.
    pub reached: Vec<Place>,
    scope: Vec<(String, Bound)>,
    conditions: Vec<Logic>,
    sources: Vec<String>,
    made: u32,
    depth: usize,
}

/// Reads a program from its entry group.
pub(super) fn walk(program: &Program) -> Walk<'_> {
    let mut walk = Walk {
        program,
        statements: Vec::new(),
        steps: Vec::new(),
        reached: Vec::new(),
        scope: Vec::new(),
        conditions: Vec::new(),
        sources: Vec::new(),
        made: 0,
        depth: 0,
    };
    let Some(group) = program.maps.first().and_then(|map| map.groups.first()) else { return walk };
    let bound = group.parameters.iter().map(|parameter| {
        let type_id = shapes().type_id(&parameter.type_name).unwrap_or_default();
        match parameter.target {
            false => Bound::Source(parameter.name.clone()),
            true => Bound::Target { path: parameter.type_name.clone(), type_id, once: true },
        }
    });
    walk.group(group, bound.collect());
    walk
}

impl<'p> Walk<'p> {
    fn group(&mut self, group: &'p crate::fml::Group, arguments: Vec<Bound>) {
        if self.depth >= DEPTH_MAX || self.statements.len() >= STATEMENTS_MAX {
            return;
        }
        self.depth += 1;
        if !self.reached.contains(&group.place) {
            self.reached.push(group.place);
        }
        let outer = std::mem::take(&mut self.scope);
        if let Some((name, _)) = &group.extends
            && let Some(base) = self.program.inherited(name, group)
            && base.place != group.place
        {
            self.group(base, arguments.clone());
        }
        for (parameter, argument) in group.parameters.iter().zip(arguments) {
            self.scope.push((parameter.name.clone(), argument));
        }
        group.rules.iter().for_each(|rule| self.rule(rule));
        self.scope = outer;
        self.depth -= 1;
    }

    fn rule(&mut self, rule: &'p Rule) {
        let before = (self.scope.len(), self.conditions.len(), self.sources.len());
        for source in &rule.sources {
            self.source(source);
        }
        for target in &rule.targets {
            self.target(rule, target);
        }
        for call in &rule.calls {
            self.call(call);
        }
        rule.rules.iter().for_each(|rule| self.rule(rule));
        self.scope.truncate(before.0);
        self.conditions.truncate(before.1);
        self.sources.truncate(before.2);
    }

    fn source(&mut self, source: &'p Source) {
        let Some((first, steps)) = source.path.split_first() else { return };
        let mut path = match self.bound(first) {
            Some(Bound::Source(path)) => path,
            Some(Bound::Target { path, .. }) => path,
            Some(Bound::Value(value)) => text(&value),
            None => first.clone(),
        };
        for step in steps {
            self.steps.push((path.clone(), step.clone(), source.place));
            path = format!("{path}.{step}");
        }
        if let (Some(type_name), false) = (&source.type_name, steps.is_empty()) {
            path = format!("{path}:{type_name}");
        }
        if !steps.is_empty() {
            self.conditions.push(Logic::Is(Test::Exists(path.clone()), true));
        }
        if let Some(name) = &source.variable {
            self.scope.push((name.clone(), Bound::Source(path.clone())));
        }
        if let Some(condition) = &source.condition {
            let logic = self.logic(condition, &path, true);
            self.conditions.push(logic);
        }
        self.sources.push(path);
    }

    fn target(&mut self, rule: &'p Rule, target: &'p Target) {
        let mut value = match &target.transform {
            None => None,
            Some(Transform::Value(value)) => Some(self.resolved(value, "")),
            Some(Transform::Call(call)) => {
                let kind = Kind::Function(None, self.resolved_call(call, ""));
                Some(Expression { kind, place: call.place })
            }
        };
        let translates = match &target.transform {
            Some(Transform::Call(call)) if call.name == "translate" => {
                call.arguments.first().zip(call.arguments.get(1)).and_then(|(value, table)| {
                    match &table.kind {
                        Kind::Text(table) => Some((self.canonical(value, ""), table.clone())),
                        _ => None,
                    }
                })
            }
            _ => None,
        };
        let (path, type_id, once, choice) = match target.path.split_first() {
            None => {
                let made = match &target.transform {
                    Some(Transform::Call(call)) if call.name == "create" => literal(call),
                    _ => None,
                };
                match made {
                    Some(name) => {
                        self.made += 1;
                        let type_id = shapes().type_id(&name).unwrap_or_default();
                        (format!("{name}#{}", self.made), Some(type_id), true, None)
                    }
                    None => (String::new(), None, false, None),
                }
            }
            Some((first, steps)) => match self.bound(first) {
                Some(Bound::Target { path, type_id, once }) => {
                    self.resolve(path, type_id, once, steps, target)
                }
                _ => (target.path.join("."), None, false, None),
            },
        };
        let is_simple = target.transform.is_none()
            && target.variable.is_none()
            && rule.calls.is_empty()
            && rule.rules.is_empty();
        if is_simple {
            value = self.sources.last().map(|path| name(path.clone(), target.place));
        }
        let fills = match &target.transform {
            Some(Transform::Call(call)) => call.name != "create",
            Some(Transform::Value(_)) => true,
            None => is_simple,
        };
        // What is created for others to fill is counted by what they write; making it twice is still a second value.
        let creates = matches!(&target.transform, Some(Transform::Call(call)) if call.name == "create");
        if self.statements.len() < STATEMENTS_MAX {
            self.statements.push(Statement {
                place: target.place,
                rule: rule.place,
                target: path.clone(),
                once,
                choice,
                sources: self.sources.clone(),
                conditions: self.conditions.clone(),
                value: value.clone(),
                writes: fills || (creates && !target.path.is_empty()),
                translates,
            });
        }
        if let Some(name) = &target.variable {
            let bound = match type_id {
                Some(type_id) => {
                    self.made += u32::from(!once);
                    let path = if once { path } else { format!("{path}#{}", self.made) };
                    Bound::Target { path, type_id, once: true }
                }
                None => Bound::Value(value.unwrap_or(Expression { kind: Kind::Empty, place: target.place })),
            };
            self.scope.push((name.clone(), bound));
        }
    }

    /// The element a target path names: its path, type, whether it is there once, and its choice.
    fn resolve(
        &mut self,
        mut path: String,
        mut type_id: TypeId,
        mut once: bool,
        steps: &[String],
        target: &Target,
    ) -> (String, Option<TypeId>, bool, Option<&'static str>) {
        let mut choice = None;
        for step in steps {
            let made = match &target.transform {
                Some(Transform::Call(call)) => made_type(call),
                Some(Transform::Value(Expression { kind: Kind::Text(_), .. })) => Some("String".to_owned()),
                _ => None,
            };
            let field = shapes().find(type_id, step).or_else(|| {
                let name = format!("{}{}", step, made.as_deref().map(capital).unwrap_or_default());
                shapes().find(type_id, &name)
            });
            let Some(field) = field else { return (format!("{path}.{step}"), None, false, None) };
            let shape = shapes().field(field);
            path = format!("{path}.{}", shape.name);
            once &= !shape.many;
            choice = shape.choice.then_some(&*shape.element);
            type_id = shape.type_id;
        }
        (path, Some(type_id), once, choice)
    }

    fn call(&mut self, call: &'p Call) {
        let Some(group) = self.program.group(&call.name, call.place.file) else { return };
        let arguments = call.arguments.iter().map(|argument| match &argument.kind {
            Kind::Name(name) | Kind::Variable(name) => {
                self.bound(name).unwrap_or_else(|| Bound::Source(name.clone()))
            }
            _ => Bound::Value(self.resolved(argument, "")),
        });
        let arguments = arguments.collect();
        self.group(group, arguments);
    }

    fn bound(&self, name: &str) -> Option<Bound> {
        self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, bound)| bound.clone())
    }

    /// A condition taken apart; `holds` is false inside a `not()`.
    fn logic(&self, expression: &Expression, focus: &str, holds: bool) -> Logic {
        let path = |inner: &Expression| self.canonical(inner, focus);
        match &expression.kind {
            Kind::Boolean(value) => Logic::Is(Test::True, *value == holds),
            Kind::Binary(left, operator, right) => {
                let both = || vec![self.logic(left, focus, holds), self.logic(right, focus, holds)];
                let value = |side: &Expression| match &side.kind {
                    Kind::Text(text) | Kind::Number(text) => Some(text.clone()),
                    Kind::Boolean(value) => Some(value.to_string()),
                    _ => None,
                };
                match (operator.as_str(), holds) {
                    ("and", true) | ("or", false) => Logic::All(both()),
                    ("or", true) | ("and", false) => Logic::Any(both()),
                    ("=" | "!=", _) => match (value(left), value(right)) {
                        (None, Some(text)) => {
                            Logic::Is(Test::OneOf(path(left), vec![text]), holds == (operator == "="))
                        }
                        (Some(text), None) => {
                            Logic::Is(Test::OneOf(path(right), vec![text]), holds == (operator == "="))
                        }
                        _ => Logic::Is(
                            Test::Other(format!("{} = {}", path(left), path(right))),
                            holds == (operator == "="),
                        ),
                    },
                    ("in", _) => match union(right) {
                        Some(values) => Logic::Is(Test::OneOf(path(left), values), holds),
                        None => Logic::Is(Test::Other(path(expression)), holds),
                    },
                    _ => Logic::Is(Test::Other(path(expression)), holds),
                }
            }
            Kind::Function(base, call) => {
                let of = base.as_ref().map_or(focus.to_owned(), |base| path(base));
                match (call.name.as_str(), call.arguments.as_slice()) {
                    ("not", []) => match base {
                        Some(base) => self.logic(base, focus, !holds),
                        None => Logic::Is(Test::Other(path(expression)), holds),
                    },
                    ("exists" | "hasValue", []) => Logic::Is(Test::Exists(of), holds),
                    ("empty", []) => Logic::Is(Test::Exists(of), !holds),
                    ("startsWith", [Expression { kind: Kind::Text(text), .. }]) => {
                        Logic::Is(Test::Starts(of, text.clone()), holds)
                    }
                    _ => Logic::Is(Test::Other(path(expression)), holds),
                }
            }
            _ => Logic::Is(Test::Other(path(expression)), holds),
        }
    }

    fn canonical(&self, expression: &Expression, focus: &str) -> String {
        text(&self.resolved(expression, focus))
    }

    /// An expression with its variables as source paths; a path is one name, however many steps it has.
    fn resolved(&self, expression: &Expression, focus: &str) -> Expression {
        let go = |inner: &Expression| Box::new(self.resolved(inner, focus));
        let kind = match &expression.kind {
            Kind::This => Kind::Name(focus.to_owned()),
            Kind::Name(name) if !focus.is_empty() => Kind::Name(format!("{focus}.{name}")),
            Kind::Name(name) | Kind::Variable(name) => match self.bound(name) {
                Some(Bound::Source(path) | Bound::Target { path, .. }) => Kind::Name(path),
                Some(Bound::Value(value)) => return value,
                None => Kind::Variable(name.clone()),
            },
            Kind::Member(base, name) => match *go(base) {
                Expression { kind: Kind::Name(path), .. } => Kind::Name(format!("{path}.{name}")),
                base => Kind::Member(Box::new(base), name.clone()),
            },
            Kind::Function(base, call) => {
                let base = base.as_ref().map(|base| go(base));
                // What stands inside `where` and its like is said of the items before it (FHIRPath 5.2).
                let of_each = ["where", "select", "all", "exists", "repeat"].contains(&call.name.as_str());
                let inner = match &base {
                    Some(base) if of_each => text(base),
                    _ => focus.to_owned(),
                };
                Kind::Function(base, self.resolved_call(call, &inner))
            }
            Kind::Index(base, index) => Kind::Index(go(base), go(index)),
            Kind::Binary(left, operator, right) => Kind::Binary(go(left), operator.clone(), go(right)),
            Kind::Type(base, operator, name) => Kind::Type(go(base), operator.clone(), name.clone()),
            Kind::Negative(base) => Kind::Negative(go(base)),
            kind @ (Kind::Text(_)
            | Kind::Number(_)
            | Kind::Moment(_)
            | Kind::Quantity(..)
            | Kind::Boolean(_)
            | Kind::Total
            | Kind::Place
            | Kind::Empty) => kind.clone(),
        };
        Expression { kind, place: expression.place }
    }

    fn resolved_call(&self, call: &Call, focus: &str) -> Call {
        let arguments = call.arguments.iter().map(|argument| self.resolved(argument, focus)).collect();
        Call { name: call.name.clone(), arguments, place: call.place }
    }
}

fn name(path: String, place: Place) -> Expression {
    Expression { kind: Kind::Name(path), place }
}

/// A resolved expression as text: the same for the same meaning, so that two can be compared.
pub(super) fn text(expression: &Expression) -> String {
    match &expression.kind {
        Kind::Empty => "{}".to_owned(),
        Kind::Text(text) => format!("'{text}'"),
        Kind::Number(number) => number.clone(),
        Kind::Moment(moment) => format!("@{moment}"),
        Kind::Quantity(value, unit) => format!("{value} '{unit}'"),
        Kind::Boolean(value) => value.to_string(),
        Kind::This => "$this".to_owned(),
        Kind::Total => "$total".to_owned(),
        Kind::Place => "$index".to_owned(),
        Kind::Name(name) => name.clone(),
        Kind::Variable(name) => format!("%{name}"),
        Kind::Member(base, name) => format!("{}.{name}", text(base)),
        Kind::Function(base, call) => {
            let before = base.as_ref().map(|base| text(base) + ".").unwrap_or_default();
            let arguments: Vec<String> = call.arguments.iter().map(text).collect();
            format!("{before}{}({})", call.name, arguments.join(", "))
        }
        Kind::Index(base, index) => format!("{}[{}]", text(base), text(index)),
        Kind::Binary(left, operator, right) => format!("{} {operator} {}", text(left), text(right)),
        Kind::Type(base, operator, name) => format!("{} {operator} {name}", text(base)),
        Kind::Negative(base) => format!("-{}", text(base)),
    }
}

/// The literals of `('a' | 'b' | 'c')`.
fn union(expression: &Expression) -> Option<Vec<String>> {
    match &expression.kind {
        Kind::Text(text) => Some(vec![text.clone()]),
        Kind::Binary(left, operator, right) if operator == "|" => {
            let mut values = union(left)?;
            values.extend(union(right)?);
            Some(values)
        }
        _ => None,
    }
}

fn literal(call: &Call) -> Option<String> {
    match &call.arguments.first()?.kind {
        Kind::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The type a transform makes, as far as its name tells.
fn made_type(call: &Call) -> Option<String> {
    let at = |at: usize| match &call.arguments.get(at)?.kind {
        Kind::Text(text) => Some(text.clone()),
        _ => None,
    };
    match call.name.as_str() {
        "create" => at(0),
        "cast" => at(1),
        "translate" => at(2),
        "qty" | "ucum" => Some("Quantity".to_owned()),
        "cc" => Some("CodeableConcept".to_owned()),
        "c" => Some("Coding".to_owned()),
        "id" => Some("Identifier".to_owned()),
        "reference" | "ref" => Some("Reference".to_owned()),
        _ => None,
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
