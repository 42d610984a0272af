//! The right side of a rule: target paths resolved to R4 fields, transforms to fills.

use crate::fml::{
    Call, DefaultFor, Expression, Group, Kind, Place, Rule, Target, TargetMode, Transform, nearest,
};
use crate::folder::Unmapped;
use crate::plan::code::{Code, Effect, Extension, Fill, Literal, Pick, TargetPlan};
use crate::plan::shape::{FieldId, TypeId};

use super::{Compiler, Holds, capital};

/// Name of an element a default group fills. Not writable in FML.
const FILLED: &str = "$filled";

/// Statements about the unit being built, least and most arguments.
pub(super) const EFFECTS: [(&str, Effect, usize, usize); 12] = [
    ("identity", Effect::Identity, 2, 12),
    ("subjectBsn", Effect::SubjectBsn, 1, 1),
    ("subjectLocal", Effect::SubjectLocal, 2, 2),
    ("subjectReference", Effect::SubjectReference, 1, 1),
    ("subjectNone", Effect::SubjectNone, 0, 0),
    ("sourceTime", Effect::SourceTime, 1, 1),
    ("leave", Effect::Leave, 1, 12),
    ("replacedByBsn", Effect::ReplacedByBsn, 1, 1),
    ("replacedByLocal", Effect::ReplacedByLocal, 2, 2),
    ("refuse", Effect::Refuse, 1, 2),
    ("warn", Effect::Warn, 1, 2),
    ("use", Effect::Use, 1, 64),
];

/// A group to call beside a rule's targets, with its arguments.
type Calls = Vec<(usize, Vec<Code>)>;

impl<'p> Compiler<'p> {
    /// The targets of a rule; default groups that fill them go into `calls`.
    pub(super) fn targets(&mut self, rule: &'p Rule, calls: &mut Calls) -> Vec<(u32, TargetPlan)> {
        let mut targets = Vec::new();
        for target in &rule.targets {
            let at = self.place(target.place);
            if rule.batch.is_empty() {
                targets.extend(self.target(rule, target, calls).map(|target| (at, target)));
            } else {
                targets.extend(self.batch(rule, target).into_iter().map(|target| (at, target)));
            }
        }
        targets
    }

    /// `src -> tgt: a, b;` copies same-named elements (mapping-language-ig, batch identity).
    fn batch(&mut self, rule: &'p Rule, target: &'p Target) -> Vec<TargetPlan> {
        let source = rule.sources.first().and_then(|source| source.path.split_first());
        let (Some((from, steps)), Some((to, target_steps))) = (source, target.path.split_first()) else {
            return Vec::new();
        };
        let (Some(from), Some(to)) = (self.variable(from), self.variable(to)) else { return Vec::new() };
        let (Holds::Target(type_id), true) = (to.holds, steps.is_empty() && target_steps.is_empty()) else {
            self.error("batch-form", target.place, "`src -> tgt: a, b` takes two variables", "");
            return Vec::new();
        };
        let mut plans = Vec::new();
        for element in &rule.batch {
            let of = match from.holds {
                Holds::Source(of) => of,
                Holds::Target(of) => Some(of),
                Holds::Value => None,
            };
            let (step, is) = self.step(of, element, None, target.place);
            let code = Code::Slot(from.slot).member(step);
            let choice = self.shapes.choices(type_id, element);
            let (field, fill) = if self.shapes.find(type_id, element).is_none() && !choice.is_empty() {
                (choice.first().copied(), Fill::CopyAny(code, choice.into()))
            } else {
                (self.field(type_id, element, target.place), Fill::Copy(code, is.is_some()))
            };
            let Some(field) = field else { continue };
            plans.push(TargetPlan::Write {
                slot_from: to.slot,
                steps: Vec::new(),
                field,
                type_id: self.shapes.field(field).type_id,
                fill,
                pick: Pick::New,
                slot: None,
            });
        }
        plans
    }

    fn target(&mut self, rule: &'p Rule, target: &'p Target, calls: &mut Calls) -> Option<TargetPlan> {
        let Some((first, steps)) = target.path.split_first() else {
            return self.statement(rule, target);
        };
        let Some(variable) = self.variable(first) else {
            if self.unbound.contains(&first.as_str()) {
                return Some(self.nowhere(first));
            }
            self.variable_unknown(first, target.place);
            return None;
        };
        let Holds::Target(mut type_id) = variable.holds else {
            self.error(
                "target-source",
                target.place,
                format!("`{first}` is not a target"),
                "write a target variable",
            );
            return None;
        };
        let Some((last, on_the_way)) = steps.split_last() else {
            return self.whole(target, variable.slot, type_id);
        };
        let mut fields = Vec::new();
        for step in on_the_way {
            let field = self.field(type_id, step, target.place)?;
            type_id = self.shapes.field(field).type_id;
            fields.push(field);
        }
        if self.shapes.is_primitive(type_id) && last == "value" && fields.is_empty() {
            let code = self.own_value(rule, target)?;
            return Some(TargetPlan::Own(variable.slot, code));
        }
        self.write(rule, target, variable.slot, fields, type_id, last, calls)
    }

    /// What a rule of an extended group writes where the extending group has no such target: refused when there is something.
    fn nowhere(&self, name: &str) -> TargetPlan {
        let said = format!("the group that extends this one has no `{name}` to write this to");
        let remedy = "name the parameter as the extended group does";
        let text = |text: &str| Code::Literal(Literal::Text(text.into()));
        TargetPlan::Effect(Effect::Refuse, vec![text(&said), text(remedy)])
    }

    /// `tgt as name` gives the target another name; `tgt = value` is the value of a primitive.
    fn whole(&mut self, target: &'p Target, slot: u16, type_id: TypeId) -> Option<TargetPlan> {
        if let (None, Some(_)) = (&target.transform, &target.variable) {
            let to = self.bind(target, Holds::Target(type_id))?;
            return Some(TargetPlan::Bind(Code::Slot(slot), to));
        }
        match &target.transform {
            Some(Transform::Value(expression)) if self.shapes.is_primitive(type_id) => {
                Some(TargetPlan::Own(slot, self.expression(expression, None)))
            }
            // `-> tgt then Group(x, tgt)` says only where the group writes.
            None if !self.is_narrow() => None,
            _ => {
                let help = "write `variable.element = ...`";
                self.error("target-element", target.place, "no element is named", help);
                None
            }
        }
    }

    /// What `vt.value = ...` on a primitive writes.
    fn own_value(&mut self, rule: &'p Rule, target: &'p Target) -> Option<Code> {
        let fill = match &target.transform {
            None => self.simple(rule, target.place).map(|(slot, _)| Code::Slot(slot)),
            Some(Transform::Value(expression)) => Some(self.expression(expression, None)),
            Some(Transform::Call(call)) => match self.fill(call)?.0 {
                Fill::Copy(code, _) => Some(code),
                _ => None,
            },
        };
        if fill.is_none() && target.transform.is_some() {
            let help = "write the transform where the element is made";
            self.error("target-value", target.place, "this transform makes no simple value", help);
        }
        fill
    }

    #[expect(clippy::too_many_arguments, reason = "a write is all of this")]
    fn write(
        &mut self,
        rule: &'p Rule,
        target: &'p Target,
        slot_from: u16,
        steps: Vec<FieldId>,
        parent: TypeId,
        last: &str,
        calls: &mut Calls,
    ) -> Option<TargetPlan> {
        let shapes = self.shapes;
        // What is taken over whole: the source item, or the variable named on the right.
        let mut taken: Option<(u16, Holds)> = None;
        let (mut fill, mut made) = match &target.transform {
            None if target.variable.is_some() || !rule.calls.is_empty() || !rule.rules.is_empty() => {
                (Fill::Open, None)
            }
            None => {
                let (slot, holds) = self.simple(rule, target.place)?;
                taken = Some((slot, holds));
                (Fill::Copy(Code::Slot(slot), matches!(holds, Holds::Source(Some(_)))), None)
            }
            Some(Transform::Value(expression)) => {
                let holds = self.typing(expression, None);
                if let Kind::Variable(name) | Kind::Name(name) = &expression.kind {
                    taken = self.variable(name).map(|variable| (variable.slot, variable.holds));
                }
                let code = self.expression(expression, None);
                (Fill::Copy(code, matches!(holds, Holds::Source(Some(_)))), self.value_type(expression))
            }
            Some(Transform::Call(call)) => self.fill(call)?,
        };
        let is = match (&target.transform, taken) {
            (_, Some((_, Holds::Source(Some(is)) | Holds::Target(is)))) => Some(is),
            (Some(Transform::Value(expression)), None) => match self.typing(expression, None) {
                Holds::Source(Some(is)) | Holds::Target(is) => Some(is),
                _ => None,
            },
            _ => None,
        };
        let choice = shapes.choices(parent, last);
        let is_open = shapes.find(parent, last).is_none() && !choice.is_empty();
        let named = |made: &str| format!("{}{}", last.trim_end_matches("[x]"), capital(made));
        if is_open
            && made.is_none()
            && let Some(is) = is
        {
            let types: Vec<TypeId> = choice.iter().map(|field| shapes.field(*field).type_id).collect();
            let same = shapes.type_name(is).to_owned();
            made = if shapes.find(parent, &named(&same)).is_some() {
                Some(same)
            } else {
                let default = self.default_target(is, &types, target.place);
                default.map(|id| shapes.type_name(id).to_owned())
            };
        }
        if is_open && made.is_none() && matches!(fill, Fill::Open) {
            made = self.called_for(rule, target);
        }
        let field = match (is_open, &made) {
            (true, Some(made)) => self.field(parent, &named(made), target.place)?,
            (true, None) => match fill {
                // Which type it is shows in the document: the name of its element ends in it.
                Fill::Copy(code, _) if self.fhir => {
                    fill = Fill::CopyAny(code, choice.clone().into());
                    choice.first().copied()?
                }
                _ => {
                    let names: Vec<&str> =
                        choice.iter().map(|field| shapes.field(*field).name.as_str()).collect();
                    let help = format!("name the type: {}", names.join(", "));
                    self.error("choice-open", target.place, format!("which type of `{last}[x]`?"), help);
                    return None;
                }
            },
            (false, _) => self.field(parent, last, target.place)?,
        };
        let mut type_id = shapes.field(field).type_id;
        if shapes.is_any_resource(type_id) {
            if let (None, Some((slot, Holds::Source(source))), Fill::Copy(..)) = (&made, taken, &fill)
                && !self.is_narrow()
            {
                let table = self.dispatch(source, type_id, target.place);
                return Some(TargetPlan::Dispatch { slot_from, field, source: slot, table });
            }
            if let (None, Some((_, Holds::Target(_))), false) = (&made, taken, self.is_narrow()) {
                let slot = self.bind(target, Holds::Target(type_id));
                return Some(TargetPlan::Write {
                    slot_from,
                    steps,
                    field,
                    type_id,
                    fill,
                    pick: Pick::New,
                    slot,
                });
            }
            let Some(resource) = made.as_deref().and_then(|made| self.resource(made, target.place)) else {
                let help = "write `= create('Type')`";
                self.error("resource-type", target.place, "which resource type?", help);
                return None;
            };
            type_id = resource;
            if shapes.type_name(parent) == "Bundle.entry" && self.is_strict() {
                // Entries of the Bundle are units of their own; the Bundle itself is not output.
                self.lint_rule_root(rule, target.place, resource);
                let slot = self.bind(target, Holds::Target(resource));
                return Some(TargetPlan::Root(resource, slot));
            }
        } else if let (Some(made), Fill::Create) = (made.as_deref(), &fill) {
            let named = self.type_named(made, target.place, true);
            let made_name = named.map_or(made, |id| shapes.type_name(id));
            // `create('BackboneElement')` stands for whatever the element is; a logical model may leave it open (`Base`).
            let is_base = shapes.names(type_id).next().is_none() && !shapes.is_primitive(type_id);
            if is_base && let Some(named) = named {
                type_id = named;
            } else if let Some(special) = named.filter(|id| shapes.is_a(*id, shapes.type_name(type_id))) {
                type_id = special;
            } else if !shapes.is_a(type_id, made_name) && made != "BackboneElement" {
                let text = format!("`{last}` is a {}, not a {made}", shapes.type_name(type_id));
                self.error("type-mismatch", target.place, text, "create what the element takes");
            }
        } else if let Some(made) = made.as_deref()
            && !matches!(
                fill,
                Fill::Copy(..) | Fill::CopyAny(..) | Fill::Translate { .. } | Fill::Reference(_)
            )
            && made != shapes.type_name(type_id)
        {
            let text = format!("`{last}` is a {}, the transform makes a {made}", shapes.type_name(type_id));
            self.error("type-mismatch", target.place, text, "");
        }
        fill = match fill {
            Fill::Translate { value, table, system, .. } => {
                let element = shapes.field(field).element.to_string();
                let quarantine = self.quarantine(target, parent, &element, type_id);
                Fill::Translate { value, table, quarantine, system }
            }
            // `reference.reference = reference(src)`: the text itself.
            Fill::Reference(mut codes) if codes.len() == 1 && shapes.is_primitive(type_id) => {
                Fill::Copy(codes.pop()?, false)
            }
            fill => fill,
        };
        let pick = match &target.list_mode {
            TargetMode::New => Pick::New,
            TargetMode::First => Pick::First,
            TargetMode::Last => Pick::Last,
            TargetMode::Single => Pick::Single,
            TargetMode::Share(name) => {
                let next = self.shares.len() as u16;
                Pick::Share(*self.shares.entry(name.clone()).or_insert(next))
            }
        };
        let mut slot = self.bind(target, Holds::Target(type_id));
        if let (Some((from, Holds::Source(source))), Fill::Copy(..)) = (taken, &fill)
            && let Some(group) = self.default_for_copy(source, type_id, target)
        {
            // The default group for these types fills the element (mapping-language-ig fml.html).
            fill = Fill::Create;
            let to = slot.unwrap_or_else(|| self.declare(FILLED, Holds::Target(type_id)));
            slot = Some(to);
            let declared = group.parameters.first().map_or("", |parameter| &parameter.type_name);
            let source = source.or_else(|| self.type_named(declared, group.place, false));
            let holds = [Holds::Source(source), Holds::Target(type_id)];
            let group = self.group(group, &holds);
            calls.push((group, vec![Code::Slot(from), Code::Slot(to)]));
        }
        Some(TargetPlan::Write { slot_from, steps, field, type_id, fill, pick, slot })
    }

    /// The type that the group a rule calls wants of the element the target makes.
    fn called_for(&self, rule: &Rule, target: &Target) -> Option<String> {
        let name = target.variable.as_deref()?;
        rule.calls.iter().find_map(|call| {
            let is_it = |argument: &Expression| {
                matches!(&argument.kind, Kind::Name(given) | Kind::Variable(given) if given == name)
            };
            let at = call.arguments.iter().position(is_it)?;
            let group = self.program.group(&call.name, call.place.file)?;
            let parameter = group.parameters.get(at).filter(|parameter| parameter.target)?;
            let wanted = self.type_named(&parameter.type_name, group.place, true)?;
            Some(self.shapes.type_name(wanted).to_owned())
        })
    }

    /// The default group that stands in for taking an item over: always for `src.a -> tgt.b`; for `tgt.b = a` where the two are
    /// different complex types, which cannot be copied as they are.
    fn default_for_copy(
        &mut self,
        source: Option<TypeId>,
        type_id: TypeId,
        target: &Target,
    ) -> Option<&'p Group> {
        let shapes = self.shapes;
        if target.transform.is_some()
            && (source.is_none() || source == Some(type_id) || shapes.is_primitive(type_id))
        {
            return None;
        }
        let group = self.default_group(source, type_id, target.place);
        if group.is_none()
            && let Some(source) = source
            && !shapes.is_primitive(type_id)
            && shapes.type_name(source) != shapes.type_name(type_id)
            && !shapes.is_a(source, shapes.type_name(type_id))
        {
            let text = format!(
                "nothing says how a {} becomes a {}",
                shapes.type_name(source),
                shapes.type_name(type_id)
            );
            let help = "write a group for it, marked `<<types>>`, or map its parts in this rule";
            self.error("default-missing", target.place, text, help);
        }
        group
    }

    /// The groups that map resources of the source's model to those of the target's, by type name.
    fn dispatch(
        &mut self,
        source: Option<TypeId>,
        target: TypeId,
        place: Place,
    ) -> std::collections::HashMap<String, (TypeId, usize)> {
        let shapes = self.shapes;
        let mut table = std::collections::HashMap::new();
        let resources: Vec<&'p Group> = self
            .program
            .maps
            .iter()
            .flat_map(|map| &map.groups)
            .filter(|group| group.default_for != DefaultFor::Nothing)
            .collect();
        for group in resources {
            let [from, to] = group.parameters.as_slice() else { continue };
            let from = self.type_named(&from.type_name, group.place, false);
            let Some(to) = self.type_named(&to.type_name, group.place, true) else { continue };
            let Some(from) =
                from.filter(|_| shapes.is_resource(to) && shapes.is_r4(to) == shapes.is_r4(target))
            else {
                continue;
            };
            if source.is_none_or(|source| shapes.is_r4(source) == shapes.is_r4(from)) {
                let name = shapes.type_name(from).to_owned();
                let index = self.group(group, &[Holds::Source(Some(from)), Holds::Target(to)]);
                table.insert(name, (to, index));
            }
        }
        if table.is_empty() {
            let help = "write a `<<type+>>` group for each resource type, or `= create('Type')`";
            self.error("resource-type", place, "which resource type?", help);
        }
        table
    }

    /// The item that the only source of `src.a -> tgt.b;` selects.
    fn simple(&mut self, rule: &'p Rule, place: Place) -> Option<(u16, Holds)> {
        let source = rule.sources.first().filter(|_| rule.sources.len() == 1);
        let name = source.map(|source| source.variable.as_deref().unwrap_or(super::UNNAMED));
        let Some(variable) = name.and_then(|name| self.variable(name)) else {
            self.error("target-value", place, "nothing is written", "write `src.a as a -> tgt.b = a`");
            return None;
        };
        Some((variable.slot, variable.holds))
    }

    fn bind(&mut self, target: &Target, holds: Holds) -> Option<u16> {
        target.variable.as_ref().map(|name| self.declare(name, holds))
    }

    pub(super) fn field(&mut self, parent: TypeId, name: &str, place: Place) -> Option<FieldId> {
        let found = self.shapes.find(parent, name);
        // What an extended group writes into types that have more is left out for those that have not; what it read of the source is
        // then nowhere, and the account of what was read says so.
        if found.is_none() && !self.inherited {
            let help = nearest(name, self.shapes.names(parent));
            let model = if self.shapes.is_r4(parent) { " in R4" } else { "" };
            let text = format!("`{name}` is no element of {}{model}", self.shapes.type_name(parent));
            self.error("element-unknown", place, text, help);
        }
        found
    }

    fn statement(&mut self, rule: &'p Rule, target: &'p Target) -> Option<TargetPlan> {
        match target.transform.as_ref()? {
            Transform::Value(expression) => {
                let code = self.expression(expression, None);
                let slot = self.bind(target, self.typing(expression, None));
                if slot.is_none() {
                    self.error("target-value", target.place, "the value is not used", "add `as name`");
                }
                Some(TargetPlan::Bind(code, slot?))
            }
            Transform::Call(call) => {
                if let Some((_, effect, least, most)) = EFFECTS.iter().find(|(name, ..)| *name == call.name) {
                    if !self.arity(call, *least, *most) {
                        return None;
                    }
                    let arguments = call.arguments.iter().map(|a| self.expression(a, None)).collect();
                    return Some(TargetPlan::Effect(*effect, arguments));
                }
                if call.name == "create" {
                    let made = self.literal_type(call)?;
                    let type_id = self.resource(&made, call.place)?;
                    self.lint_rule_root(rule, target.place, type_id);
                    let slot = self.bind(target, Holds::Target(type_id));
                    return Some(TargetPlan::Root(type_id, slot));
                }
                let known = EFFECTS.iter().map(|(name, ..)| *name).chain(["create"]);
                let help = nearest(&call.name, known);
                let text = format!("`{}()` needs an element to fill", call.name);
                self.error("statement-unknown", call.place, text, help);
                None
            }
        }
    }

    /// A transform as fill, and the type it makes where that is known.
    fn fill(&mut self, call: &'p Call) -> Option<(Fill, Option<String>)> {
        let made = |name: &str| Some(name.to_owned());
        let arguments = call.arguments.as_slice();
        let mut codes = |least: usize, most: usize| -> Option<Vec<Code>> {
            self.arity(call, least, most)
                .then(|| arguments.iter().map(|a| self.expression(a, None)).collect())
        };
        Some(match call.name.as_str() {
            "create" => (Fill::Create, Some(self.literal_type(call)?)),
            "copy" => (Fill::Copy(codes(1, 1)?.pop()?, true), None),
            "cast" => {
                self.arity(call, 2, 2);
                let made = self.literal_at(call, 1)?;
                (Fill::Copy(self.expression(arguments.first()?, None), false), Some(made))
            }
            "evaluate" => {
                self.arity(call, 2, 2);
                let (base, inner) = (arguments.first()?, arguments.get(1)?);
                let focus = self.typing(base, None);
                let made = self.value_type(inner);
                let base = self.expression(base, None);
                let inner = self.expression(inner, Some(focus));
                (Fill::Copy(Code::Select(Box::new(base), Box::new(inner)), false), made)
            }
            "cc" => (Fill::Concept(codes(1, 3)?), made("CodeableConcept")),
            "c" => (Fill::Coding(codes(2, 3)?), made("Coding")),
            "qty" => (Fill::Quantity(codes(1, 4)?), made("Quantity")),
            "id" => (Fill::Identifier(codes(2, 3)?), made("Identifier")),
            "cp" => (Fill::Contact(codes(1, 2)?), made("ContactPoint")),
            "reference" | "pointer" => {
                let code = Code::Extension(Extension::Pointer, codes(1, 1)?);
                (Fill::Reference(vec![code]), made("Reference"))
            }
            "ref" => (Fill::Reference(codes(3, 3)?), made("Reference")),
            "ucum" => {
                self.arity(call, 3, 3);
                let table = self.table(call, 2)?;
                let value = self.expression(arguments.first()?, None);
                let unit = self.expression(arguments.get(1)?, None);
                (Fill::Ucum { value, unit, table }, made("Quantity"))
            }
            "translate" => {
                if !self.arity(call, 2, 5) {
                    return None;
                }
                let table = self.table(call, 1)?;
                let made = if arguments.len() > 2 { self.literal_at(call, 2) } else { None };
                if let Some(made) = &made
                    && !matches!(made.as_str(), "code" | "Coding" | "CodeableConcept" | "string" | "uri")
                {
                    let help = "write 'code', 'Coding' or 'CodeableConcept'";
                    self.error("translate-output", call.place, format!("translate to `{made}`"), help);
                }
                let system = arguments.get(4).map(|system| self.expression(system, None));
                let value = self.expression(arguments.first()?, None);
                (Fill::Translate { value, table, quarantine: false, system }, made)
            }
            "dateOp" | "escape" => {
                let text = format!("transform `{}` is not supported", call.name);
                let help = match call.name.as_str() {
                    "escape" => "texts are escaped as their notation asks; there is nothing to do",
                    _ => "use hl7DateTime() or nlDate()",
                };
                self.error("transform-unsupported", call.place, text, help);
                return None;
            }
            _ => {
                let expression = Expression { kind: Kind::Function(None, call.clone()), place: call.place };
                let made = self.value_type(&expression);
                let code = self.function(None, call, None);
                (Fill::Copy(code, false), made)
            }
        })
    }

    fn literal_type(&mut self, call: &Call) -> Option<String> {
        if !self.arity(call, 1, 1) {
            return None;
        }
        self.literal_at(call, 0)
    }

    fn literal_at(&mut self, call: &Call, at: usize) -> Option<String> {
        match call.arguments.get(at).map(|argument| &argument.kind) {
            Some(Kind::Text(text)) => Some(text.clone()),
            _ => {
                self.error("literal-expected", call.place, format!("argument {} is a literal", at + 1), "");
                None
            }
        }
    }

    /// What is unmapped quarantines where the map or mapping.toml says so, else where the target is a `code` or an
    /// element whose meaning hangs on it (mapping.md 7c).
    fn quarantine(&mut self, target: &Target, parent: TypeId, element: &str, type_id: TypeId) -> bool {
        let Some(Transform::Call(call)) = &target.transform else { return false };
        match call.arguments.get(3).map(|argument| &argument.kind) {
            Some(Kind::Text(policy)) if policy == "keep" => false,
            Some(Kind::Text(policy)) if policy == "quarantine" => true,
            None | Some(Kind::Empty) => {
                let path = format!("{}.{element}", self.shapes.type_name(parent));
                let declared = self.options.manifest.map(|manifest| manifest.unmapped(&path));
                declared == Some(Unmapped::Quarantine) || self.shapes.is_primitive(type_id)
            }
            Some(_) => {
                self.error(
                    "policy-unknown",
                    call.place,
                    "unknown policy",
                    "write 'keep', 'quarantine' or {}",
                );
                false
            }
        }
    }
}
