//! The right side of a rule: target paths resolved to R4 fields, transforms to fills.

use crate::fml::{Call, Expression, Kind, Place, Rule, Target, Transform, nearest};
use crate::folder::Unmapped;
use crate::plan::code::{Code, Effect, Fill, TargetPlan};
use crate::plan::shape::{FieldId, TypeId, shapes};

use super::{Compiler, Holds, capital};

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

impl<'p> Compiler<'p> {
    pub(super) fn targets(&mut self, rule: &'p Rule) -> Vec<(u32, TargetPlan)> {
        let mut targets = Vec::new();
        for target in &rule.targets {
            let at = self.place(target.place);
            if rule.batch.is_empty() {
                targets.extend(self.target(rule, target).map(|target| (at, target)));
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
            let Some(field) = self.field(type_id, element, target.place) else { continue };
            let code = Code::Member(Box::new(Code::Slot(from.slot)), self.name(element));
            plans.push(TargetPlan::Write {
                slot_from: to.slot,
                steps: Vec::new(),
                field,
                type_id: shapes().field(field).type_id,
                fill: Fill::Copy(code),
                share: None,
                slot: None,
            });
        }
        plans
    }

    fn target(&mut self, rule: &'p Rule, target: &'p Target) -> Option<TargetPlan> {
        let Some((first, steps)) = target.path.split_first() else {
            return self.statement(rule, target);
        };
        let Some(variable) = self.variable(first) else {
            let names: Vec<String> = self.scope.iter().map(|v| v.name.clone()).collect();
            let help = nearest(first, names.iter().map(String::as_str));
            self.error("variable-unknown", target.place, format!("no variable `{first}`"), help);
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
            self.error(
                "target-element",
                target.place,
                "no element is named",
                "write `variable.element = ...`",
            );
            return None;
        };
        let mut fields = Vec::new();
        for step in on_the_way {
            let field = self.field(type_id, step, target.place)?;
            type_id = shapes().field(field).type_id;
            fields.push(field);
        }
        self.write(rule, target, variable.slot, fields, type_id, last)
    }

    fn write(
        &mut self,
        rule: &'p Rule,
        target: &'p Target,
        slot_from: u16,
        steps: Vec<FieldId>,
        parent: TypeId,
        last: &str,
    ) -> Option<TargetPlan> {
        let (fill, made) = match &target.transform {
            None if target.variable.is_some() || !rule.calls.is_empty() || !rule.rules.is_empty() => {
                (Fill::Open, None)
            }
            None => (self.simple(rule, target.place)?, None),
            Some(Transform::Value(expression)) => {
                (Fill::Copy(self.expression(expression, false)), literal(expression))
            }
            Some(Transform::Call(call)) => self.fill(call)?,
        };
        let choice = shapes().choices(parent, last);
        let field = if shapes().find(parent, last).is_none() && !choice.is_empty() {
            let Some(made) = &made else {
                let names: Vec<&str> =
                    choice.iter().map(|field| shapes().field(*field).name.as_str()).collect();
                let help = format!("name the type: {}", names.join(", "));
                self.error("choice-open", target.place, format!("which type of `{last}[x]`?"), help);
                return None;
            };
            self.field(parent, &format!("{}{}", last.trim_end_matches("[x]"), capital(made)), target.place)?
        } else {
            self.field(parent, last, target.place)?
        };
        let shape = shapes().field(field);
        let mut type_id = shape.type_id;
        if shapes().type_name(type_id) == "Resource" {
            let Some(resource) = made.as_deref().and_then(|made| self.resource(made, target.place)) else {
                let help = "write `= create('Type')`";
                self.error("resource-type", target.place, "which resource type?", help);
                return None;
            };
            type_id = resource;
            if shapes().type_name(parent) == "Bundle.entry" {
                // Entries of the Bundle are units of their own; the Bundle itself is not output.
                self.lint_rule_root(rule, target.place, resource);
                let slot = self.bind(target, Holds::Target(resource));
                return Some(TargetPlan::Root(resource, slot));
            }
        } else if let Some(made) = made.as_deref().filter(|_| matches!(fill, Fill::Create)) {
            // `create('BackboneElement')` stands for whatever the element is.
            if !shapes().is_a(type_id, made) && made != "BackboneElement" {
                let text = format!("`{last}` is a {}, not a {made}", shapes().type_name(type_id));
                self.error("type-mismatch", target.place, text, "create what the element takes");
            }
        } else if let Some(made) = made.as_deref()
            && !matches!(fill, Fill::Copy(_) | Fill::Translate { .. })
            && made != shapes().type_name(type_id)
        {
            let text = format!("`{last}` is a {}, the transform makes a {made}", shapes().type_name(type_id));
            self.error("type-mismatch", target.place, text, "");
        }
        let fill = match fill {
            Fill::Translate { value, table, system, .. } => {
                let quarantine = self.quarantine(target, parent, shapes().field(field).element, type_id);
                Fill::Translate { value, table, quarantine, system }
            }
            fill => fill,
        };
        let share = target.share.as_ref().map(|name| {
            let next = self.shares.len() as u16;
            *self.shares.entry(name.clone()).or_insert(next)
        });
        let slot = self.bind(target, Holds::Target(type_id));
        Some(TargetPlan::Write { slot_from, steps, field, type_id, fill, share, slot })
    }

    /// `src.a -> tgt.b;` copies each item the rule's only source selects.
    fn simple(&mut self, rule: &'p Rule, place: Place) -> Option<Fill> {
        let source = rule.sources.first().filter(|_| rule.sources.len() == 1);
        let name = source.map(|source| source.variable.as_deref().unwrap_or(super::UNNAMED));
        let Some(variable) = name.and_then(|name| self.variable(name)) else {
            self.error("target-value", place, "nothing is written", "write `src.a as a -> tgt.b = a`");
            return None;
        };
        Some(Fill::Copy(Code::Slot(variable.slot)))
    }

    fn bind(&mut self, target: &Target, holds: Holds) -> Option<u16> {
        target.variable.as_ref().map(|name| self.declare(name, holds))
    }

    pub(super) fn field(&mut self, parent: TypeId, name: &str, place: Place) -> Option<FieldId> {
        let found = shapes().find(parent, name);
        if found.is_none() {
            let help = nearest(name, shapes().names(parent));
            let text = format!("`{name}` is no element of {} in R4", shapes().type_name(parent));
            self.error("element-unknown", place, text, help);
        }
        found
    }

    fn statement(&mut self, rule: &'p Rule, target: &'p Target) -> Option<TargetPlan> {
        match target.transform.as_ref()? {
            Transform::Value(expression) => {
                let code = self.expression(expression, false);
                let slot = self.bind(target, Holds::Value);
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
                    let arguments = call.arguments.iter().map(|a| self.expression(a, false)).collect();
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
                .then(|| arguments.iter().map(|a| self.expression(a, false)).collect())
        };
        Some(match call.name.as_str() {
            "create" => (Fill::Create, Some(self.literal_type(call)?)),
            "copy" => (Fill::Copy(codes(1, 1)?.pop()?), None),
            "cast" => {
                self.arity(call, 2, 2);
                let made = self.literal_at(call, 1)?;
                (Fill::Copy(self.expression(arguments.first()?, false)), Some(made))
            }
            "evaluate" => {
                self.arity(call, 2, 2);
                let (base, inner) = (arguments.first()?, arguments.get(1)?);
                let base = self.expression(base, false);
                let inner = self.expression(inner, true);
                (Fill::Copy(Code::Select(Box::new(base), Box::new(inner))), None)
            }
            "cc" => (Fill::Concept(codes(1, 3)?), made("CodeableConcept")),
            "c" => (Fill::Coding(codes(2, 3)?), made("Coding")),
            "qty" => (Fill::Quantity(codes(1, 4)?), made("Quantity")),
            "id" => (Fill::Identifier(codes(2, 3)?), made("Identifier")),
            "cp" => (Fill::Contact(codes(1, 2)?), made("ContactPoint")),
            "reference" => (Fill::Reference(codes(1, 1)?), made("Reference")),
            "ref" => (Fill::Reference(codes(3, 3)?), made("Reference")),
            "ucum" => {
                self.arity(call, 3, 3);
                let table = self.table(call, 2)?;
                let value = self.expression(arguments.first()?, false);
                let unit = self.expression(arguments.get(1)?, false);
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
                let system = arguments.get(4).map(|system| self.expression(system, false));
                let value = self.expression(arguments.first()?, false);
                (Fill::Translate { value, table, quarantine: false, system }, made)
            }
            "pointer" | "dateOp" | "escape" | "uuid" | "now" => {
                let text = format!("transform `{}` is not supported", call.name);
                let help = match call.name.as_str() {
                    "uuid" | "now" => "output is a function of the document; use stable(system, parts...)",
                    "pointer" => "use reference() or ref()",
                    _ => "use hl7DateTime() or nlDate()",
                };
                self.error("transform-unsupported", call.place, text, help);
                return None;
            }
            _ => {
                let code = self.function(None, call, false);
                (Fill::Copy(code), None)
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
                let path = format!("{}.{element}", shapes().type_name(parent));
                let declared = self.options.manifest.map(|manifest| manifest.unmapped(&path));
                declared == Some(Unmapped::Quarantine) || shapes().is_primitive(type_id)
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

/// Type of a literal, for choices: `value = 'text'` is valueString.
fn literal(expression: &Expression) -> Option<String> {
    match &expression.kind {
        Kind::Text(_) => Some("string".to_owned()),
        Kind::Boolean(_) => Some("boolean".to_owned()),
        Kind::Number(number) => Some(if number.contains('.') { "decimal" } else { "integer" }.to_owned()),
        _ => None,
    }
}
