//! What an expression or a step yields, as far as the models tell: types of source and target elements.

use crate::fml::{Expression, Kind, Place, nearest};
use crate::plan::code::Step;
use crate::plan::shape::{FHIR, TypeId};

use super::{Compiler, Holds, capital};

/// FHIRPath functions that give some of what they are called on.
const NARROWING: [&str; 10] =
    ["first", "last", "tail", "skip", "take", "single", "where", "distinct", "trace", "exclude"];

impl<'p> Compiler<'p> {
    /// The canonical a name in a map stands for: an alias of the map itself, else of any map that declares it.
    pub(super) fn url_of(&self, name: &str, place: Place, target: bool) -> Option<String> {
        let own = self.program.map_of(place).into_iter();
        let maps = own
            .chain(self.program.maps.iter().map(|map| &**map))
            .flat_map(|map| &map.uses)
            .filter(|uses| uses.name == name);
        let side = maps.clone().find(|uses| uses.target == target);
        side.or_else(|| maps.clone().next()).map(|uses| uses.url.clone())
    }

    /// The type a name in a map stands for; `None` when its model is not at hand.
    pub(super) fn type_named(&self, name: &str, place: Place, target: bool) -> Option<TypeId> {
        if name.is_empty() {
            return None;
        }
        match self.url_of(name, place, target) {
            Some(url) => self.shapes.by_url(&url),
            // What a sender's documents are, only its map's `uses` says: an undeclared name is no model.
            None if !target && self.is_strict() => None,
            None => self.shapes.type_id(name).or_else(|| {
                let own = self.program.map_of(place).into_iter().flat_map(|map| &map.uses);
                // The other types of a logical model are known by name where the map uses one beside them.
                own.filter(|uses| uses.target == target)
                    .filter_map(|uses| uses.url.rsplit_once('/'))
                    .find_map(|(base, _)| self.shapes.by_url(&format!("{base}/{name}")))
            }),
        }
    }

    /// The step called `name` from an element of type `of`, and what it leads to. `wanted` is the type of a choice.
    ///
    /// Errors: the type is known and has no such element.
    pub(super) fn step(
        &mut self,
        of: Option<TypeId>,
        name: &str,
        wanted: Option<&str>,
        place: Place,
    ) -> (Step, Option<TypeId>) {
        let Some(type_id) = of else {
            // `src.onset : Period` is the JSON element `onsetPeriod` (FHIR json.html, choice of types).
            let name = match wanted {
                Some(wanted) => format!("{name}{}", capital(wanted)),
                None => name.to_owned(),
            };
            return (Step::Name(self.name(&name)), None);
        };
        let shapes = self.shapes;
        if shapes.is_primitive(type_id) {
            if name == "value" {
                return (Step::Own, of);
            }
            if let Some(field) = shapes.find(type_id, name) {
                return (Step::Beside(self.name(name)), Some(shapes.field(field).type_id));
            }
        }
        let choice = shapes.choices(type_id, name);
        if let Some(wanted) = wanted.filter(|_| !choice.is_empty()) {
            let json = format!("{}{}", name.trim_end_matches("[x]"), capital(wanted));
            return match shapes.find(type_id, &json) {
                Some(field) => self.named_step(&json, Some(shapes.field(field).type_id)),
                None => {
                    let names = choice.iter().map(|field| shapes.field(*field).name.as_str());
                    let text = format!("`{name}` of {} is never a {wanted}", shapes.type_name(type_id));
                    self.error("source-type", place, text, nearest(&json, names));
                    (Step::Own, None)
                }
            };
        }
        if let Some(field) = shapes.find(type_id, name) {
            return self.named_step(name, Some(shapes.field(field).type_id));
        }
        match choice.as_slice() {
            [only] => {
                let field = shapes.field(*only);
                self.named_step(&field.name, Some(field.type_id))
            }
            [_, ..] => {
                let names = choice.iter().map(|field| self.name(&shapes.field(*field).name)).collect();
                (Step::Choice(names), None)
            }
            // A type without elements of its own stands for any (`Base`, an abstract resource). What an extended group says of
            // elements this type does not have never fires.
            [] if self.inherited
                || shapes.is_any_resource(type_id)
                || shapes.names(type_id).next().is_none() =>
            {
                (Step::Name(self.name(name)), None)
            }
            [] => {
                let text = format!("`{name}` is no element of {}", shapes.type_name(type_id));
                self.error("element-unknown", place, text, nearest(name, shapes.names(type_id)));
                (Step::Own, None)
            }
        }
    }

    fn named_step(&mut self, json: &str, type_id: Option<TypeId>) -> (Step, Option<TypeId>) {
        let name = self.name(json);
        if type_id.is_some_and(|id| self.shapes.is_primitive(id)) {
            return (Step::Primitive(name, self.name(&format!("_{json}"))), type_id);
        }
        (Step::Name(name), type_id)
    }

    /// Whether a type has an element of that name, choices included.
    pub(super) fn has_element(&self, type_id: TypeId, name: &str) -> bool {
        self.shapes.find(type_id, name).is_some() || !self.shapes.choices(type_id, name).is_empty()
    }

    /// Type of the element `name` of a type, `None` where there are several.
    fn element_type(&self, type_id: TypeId, name: &str) -> Option<TypeId> {
        if self.shapes.is_primitive(type_id) && name == "value" {
            return Some(type_id);
        }
        let field = self.shapes.find(type_id, name).or_else(|| {
            let choice = self.shapes.choices(type_id, name);
            choice.first().copied().filter(|_| choice.len() == 1)
        });
        field.map(|field| self.shapes.field(field).type_id)
    }

    /// What an expression yields; `focus` is what `$this` is.
    pub(super) fn typing(&self, expression: &Expression, focus: Option<Holds>) -> Holds {
        let below = |of: Holds, name: &str| match of {
            Holds::Source(of) => Holds::Source(of.and_then(|of| self.element_type(of, name))),
            Holds::Target(of) => self.element_type(of, name).map_or(Holds::Value, Holds::Target),
            Holds::Value => Holds::Value,
        };
        match &expression.kind {
            Kind::This => focus.unwrap_or(Holds::Value),
            Kind::Variable(name) => self.variable(name).map_or(Holds::Value, |variable| variable.holds),
            Kind::Name(name) => match (self.variable(name), focus) {
                (Some(variable), _) => variable.holds,
                (None, Some(focus)) => below(focus, name),
                (None, None) => Holds::Value,
            },
            Kind::Member(base, name) => below(self.typing(base, focus), name),
            Kind::Index(base, _) => self.typing(base, focus),
            Kind::Type(base, operator, wanted) if operator == "as" => self.narrowed(base, wanted, focus),
            Kind::Function(Some(base), call) => match call.name.as_str() {
                name if NARROWING.contains(&name) => self.typing(base, focus),
                "as" | "ofType" => match call.arguments.first().map(|argument| &argument.kind) {
                    Some(Kind::Name(wanted)) => self.narrowed(base, wanted, focus),
                    _ => Holds::Value,
                },
                _ => Holds::Value,
            },
            _ => Holds::Value,
        }
    }

    /// `value as Quantity`: the type of that choice.
    fn narrowed(&self, base: &Expression, wanted: &str, focus: Option<Holds>) -> Holds {
        let wanted = wanted.rsplit('.').next().unwrap_or(wanted);
        if let Some((of, name)) = self.last_step(base, focus)
            && let Holds::Source(Some(of)) = of
            && let Some(field) = self.shapes.find(of, &format!("{name}{}", capital(wanted)))
        {
            return Holds::Source(Some(self.shapes.field(field).type_id));
        }
        match self.typing(base, focus) {
            Holds::Source(Some(of)) => Holds::Source(self.shapes.resource_beside(of, wanted).or(Some(of))),
            other => other,
        }
    }

    /// The element an expression ends with, and what it is an element of.
    pub(super) fn last_step<'e>(
        &self,
        expression: &'e Expression,
        focus: Option<Holds>,
    ) -> Option<(Holds, &'e str)> {
        match &expression.kind {
            Kind::Member(base, name) => Some((self.typing(base, focus), name)),
            Kind::Name(name) if self.variable(name).is_none() => Some((focus?, name)),
            _ => None,
        }
    }

    /// What an argument of a group holds.
    pub(super) fn holds(&self, expression: &Expression) -> Holds {
        self.typing(expression, None)
    }

    /// Name of the type a made value has, for a choice that does not say: `value = 'text'` is valueString.
    pub(super) fn value_type(&self, expression: &Expression) -> Option<String> {
        let name = match &expression.kind {
            Kind::Text(_) => "string",
            Kind::Boolean(_) => "boolean",
            Kind::Number(number) if number.contains('.') => "decimal",
            Kind::Number(_) => "integer",
            Kind::Moment(moment) if moment.starts_with('T') => "time",
            Kind::Moment(moment) if moment.contains('T') => "dateTime",
            Kind::Moment(_) => "date",
            Kind::Binary(_, operator, _) => match operator.as_str() {
                "&" => "string",
                "=" | "!=" | "~" | "!~" | "<" | "<=" | ">" | ">=" | "and" | "or" | "xor" | "implies"
                | "in" | "contains" => "boolean",
                _ => return None,
            },
            Kind::Function(_, call) => match call.name.as_str() {
                "join" | "toString" | "substring" | "replace" | "upper" | "lower" | "trim" | "append"
                | "lookup" | "stable" | "reference" | "pointer" | "escape" | "unescape" | "encode"
                | "decode" => "string",
                // `truncate(text, n)` cuts a text, `number.truncate()` a number.
                "truncate" if call.arguments.is_empty() => "integer",
                "truncate" => "string",
                "exists" | "empty" | "not" | "all" | "startsWith" | "endsWith" | "contains" | "matches"
                | "hasValue" | "toBoolean" | "is" => "boolean",
                "isDistinct" | "allTrue" | "allFalse" | "anyTrue" | "anyFalse" | "subsetOf"
                | "supersetOf" | "matchesFull" => "boolean",
                name if name.starts_with("convertsTo") => "boolean",
                "count" | "length" | "indexOf" | "lastIndexOf" | "toInteger" | "floor" | "ceiling" => {
                    "integer"
                }
                "toDecimal" | "decimalComma" | "round" => "decimal",
                "hl7DateTime" | "toDateTime" => "dateTime",
                "toDate" => "date",
                "toTime" => "time",
                _ => return None,
            },
            _ => return None,
        };
        Some(name.to_owned())
    }

    /// Whether a name is a FHIR data type, as a choice's element may end in.
    pub(super) fn is_data_type(&self, name: &str) -> bool {
        let known = self.shapes.type_id(name).or_else(|| {
            self.shapes.urls().find(|url| url.starts_with(FHIR) && url.ends_with(&format!("/{name}")))?;
            self.shapes.type_id("Element")
        });
        known.is_some_and(|id| !self.shapes.is_resource(id)) && !name.contains('.')
    }
}
