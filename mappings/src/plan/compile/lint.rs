//! Every root resource says which business identifier it has and whose it is; a map that cannot is refused.
//!
//! Without identity a resend makes a duplicate; without subject nobody can be asked for consent (mapping.md 7d).

use crate::fml::{Group, Place, Rule, Transform};
use crate::plan::shape::TypeId;

use super::Compiler;

impl<'p> Compiler<'p> {
    /// Checks what the rule making a root resource leads to.
    pub(super) fn lint_rule_root(&mut self, rule: &'p Rule, place: Place, type_id: TypeId) {
        self.lint_root(std::iter::once(rule), &[], place, type_id);
    }

    pub(super) fn lint_root(
        &mut self,
        rules: impl Iterator<Item = &'p Rule>,
        groups: &[Group],
        place: Place,
        type_id: TypeId,
    ) {
        if !self.is_strict() {
            return;
        }
        let mut said: Vec<&str> = Vec::new();
        let mut seen: Vec<Place> = Vec::new();
        let mut queue: Vec<&'p Rule> = rules.collect();
        for group in groups {
            if let Some((name, _)) = &group.extends
                && let Some(base) = self.program.inherited(name, group)
            {
                queue.extend(&base.rules);
            }
        }
        while let Some(rule) = queue.pop() {
            if seen.contains(&rule.place) {
                continue;
            }
            seen.push(rule.place);
            for target in rule.targets.iter().filter(|target| target.path.is_empty()) {
                if let Some(Transform::Call(call)) = &target.transform {
                    said.push(&call.name);
                }
            }
            queue.extend(&rule.rules);
            for call in &rule.calls {
                let mut next = self.program.group(&call.name, call.place.file);
                while let Some(group) = next {
                    if group.rules.first().is_some_and(|first| seen.contains(&first.place)) {
                        break;
                    }
                    queue.extend(&group.rules);
                    next = group.extends.as_ref().and_then(|(name, _)| self.program.inherited(name, group));
                }
            }
        }
        let name = self.shapes.type_name(type_id);
        if !said.contains(&"identity") {
            let help = "add `src -> identity('system', patient-bound parts...)`";
            self.error("identity-missing", place, format!("this {name} never gets an identity"), help);
        }
        if !said.iter().any(|call| call.starts_with("subject")) {
            let help = "add subjectBsn(v), subjectLocal(system, v), subjectReference(v), or subjectNone()";
            self.error("subject-missing", place, format!("this {name} never says whose it is"), help);
        }
    }
}
