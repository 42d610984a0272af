//! The left side of a rule: what it takes of the document, and under which conditions.

use std::sync::Arc;

use crate::fml::{Expression, ListMode, Source};
use crate::plan::code::{Literal, SourcePlan, Step};
use crate::plan::shape::TypeId;

use super::{Compiler, Holds, UNNAMED};

impl<'p> Compiler<'p> {
    pub(super) fn source(&mut self, source: &'p Source, simple: bool) -> Option<SourcePlan> {
        let (first, names) = source.path.split_first()?;
        let Some(variable) = self.variable(first) else {
            self.variable_unknown(first, source.place);
            return None;
        };
        self.reads_targets |= !matches!(variable.holds, Holds::Source(_)) && !names.is_empty();
        let mut of = match variable.holds {
            Holds::Source(of) => of,
            Holds::Target(of) => Some(of),
            Holds::Value => None,
        };
        let mut steps: Vec<Step> = Vec::new();
        let mut type_name = None;
        let mut absent = None;
        for (at, name) in names.iter().enumerate() {
            let field = of.and_then(|of| self.shapes.find(of, name));
            absent = field.and_then(|field| self.shapes.field(field).default.as_ref()).map(Literal::from);
            let wanted = source.type_name.as_deref().filter(|_| at + 1 == names.len());
            let (step, to, filter) = match wanted {
                Some(wanted) => self.typed_step(of, name, wanted, source),
                None => {
                    let (step, to) = self.step(of, name, None, source.place);
                    (step, to, None)
                }
            };
            of = to;
            type_name = filter;
            steps.push(step);
        }
        if let (Some(wanted), []) = (source.type_name.as_deref(), names) {
            // `src : Patient as p`: the item itself, to be tested where its type is not known already.
            let named = self.type_named(wanted, source.place, false);
            let known =
                named.zip(of).is_some_and(|(named, of)| self.shapes.is_a(of, self.shapes.type_name(named)));
            type_name = (!known).then(|| Arc::from(wanted));
            of = named.or(of);
        }
        let holds = match variable.holds {
            Holds::Target(_) => of.map_or(Holds::Value, Holds::Target),
            Holds::Source(_) | Holds::Value => Holds::Source(of),
        };
        let slot = match &source.variable {
            Some(name) => Some(self.declare(name, holds)),
            None => simple.then(|| self.declare(UNNAMED, holds)),
        };
        let selected = names.last().map(|name| (name.clone(), holds));
        let outer = std::mem::replace(&mut self.selected, selected);
        let mut compiled = |expression: &'p Option<Expression>, focus: Option<Holds>| {
            expression.as_ref().map(|expression| self.expression(expression, focus))
        };
        let condition = compiled(&source.condition, Some(holds));
        let check = compiled(&source.check, Some(holds));
        let log = compiled(&source.log, Some(holds));
        let default = compiled(&source.default, None);
        self.selected = outer;
        let takes_one =
            matches!(source.list_mode, ListMode::All | ListMode::First | ListMode::Last | ListMode::OnlyOne);
        let is_plain = takes_one
            && default.is_none()
            && source.cardinality.is_none()
            && type_name.is_none()
            && check.is_none()
            && log.is_none();
        Some(SourcePlan {
            slot_from: variable.slot,
            steps: steps.into(),
            type_name,
            path: names.join(".").into(),
            default,
            absent,
            list_mode: source.list_mode,
            cardinality: source.cardinality,
            slot,
            condition,
            check,
            log,
            is_plain,
        })
    }

    /// `src.name : Type`: the choice of that type, or the elements that have it. A type that nothing can test is refused rather
    /// than passed over: a rule that never fires loses what it was written for.
    fn typed_step(
        &mut self,
        of: Option<TypeId>,
        name: &str,
        wanted: &str,
        source: &'p Source,
    ) -> (Step, Option<TypeId>, Option<Arc<str>>) {
        let place = source.place;
        let named = self.type_named(wanted, place, false);
        let Some(type_id) = of else {
            // Of which version of FHIR, only a declared model says.
            let named = self.url_of(wanted, place, false).and_then(|url| self.shapes.by_url(&url));
            if self.fhir && self.is_data_type(wanted) {
                let (step, _) = self.step(None, name, Some(wanted), place);
                return (step, named, None);
            }
            let (step, _) = self.step(None, name, None, place);
            let is_resource =
                named.or_else(|| self.shapes.type_id(wanted)).is_some_and(|id| self.shapes.is_resource(id));
            if self.fhir && is_resource {
                return (step, named, Some(Arc::from(wanted)));
            }
            let text = format!("nothing here tells whether `{name}` is a {wanted}");
            let help = "test what the document says with `where`, or declare the source's logical model";
            self.error("source-type", place, text, help);
            return (step, None, None);
        };
        if !self.shapes.choices(type_id, name).is_empty() {
            let (step, to) = self.step(of, name, Some(wanted), place);
            return (step, to, None);
        }
        let (step, to) = self.step(of, name, None, place);
        let Some(is) = to else { return (step, named, Some(Arc::from(wanted))) };
        let type_name = named.map_or(wanted, |id| self.shapes.type_name(id)).to_owned();
        if self.shapes.is_a(is, &type_name) {
            return (step, to, None);
        }
        let narrows = self.shapes.is_any_resource(is)
            || named.is_some_and(|id| self.shapes.is_a(id, self.shapes.type_name(is)));
        if narrows {
            let beside = self.shapes.resource_beside(is, &type_name);
            return (step, beside.or(named), Some(Arc::from(type_name)));
        }
        let text = format!("`{name}` is a {}, never a {type_name}", self.shapes.type_name(is));
        self.error("source-type", place, text, "take the type away, or name the element that has it");
        (step, to, None)
    }
}
