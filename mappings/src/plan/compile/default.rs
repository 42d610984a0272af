//! Default groups: `<<types>>` and `<<type+>>`, which map a pair of types wherever a rule says nothing else.
//!
//! Source: mapping-language-ig fml.html, "Default mapping groups".

use std::collections::HashMap;

use crate::fml::{DefaultFor, Group, Place};
use crate::plan::shape::TypeId;

use super::Compiler;

/// Default groups by target type: source type, where it is known, and the group.
pub(super) type Defaults<'p> = HashMap<TypeId, Vec<(Option<TypeId>, &'p Group)>>;

impl<'p> Compiler<'p> {
    /// The group that maps `source` to `target` by default: for exactly these types, else for what the source specialises.
    ///
    /// Where the source type is not known, the only group for the target; several are an error at `place`.
    pub(super) fn default_group(
        &mut self,
        source: Option<TypeId>,
        target: TypeId,
        place: Place,
    ) -> Option<&'p Group> {
        if self.defaults.is_none() {
            self.defaults = Some(self.all_defaults());
        }
        let groups = self.defaults.as_ref().and_then(|all| all.get(&target))?.clone();
        let Some(source) = source else {
            if groups.len() > 1 {
                let names: Vec<&str> = groups.iter().map(|(_, group)| group.name.as_str()).collect();
                let text = format!("several groups map to {} here", self.shapes.type_name(target));
                self.error("default-ambiguous", place, text, format!("call one: {}", names.join(", ")));
            }
            return groups.first().map(|(_, group)| *group);
        };
        let exact = groups.iter().find(|(of, _)| *of == Some(source));
        let general = || groups.iter().find(|(of, _)| of.is_some_and(|of| self.specialises(source, of)));
        exact.or_else(general).map(|(_, group)| *group)
    }

    /// For a choice: the type among `targets` that a `<<type+>>` group makes of the source.
    pub(super) fn default_target(
        &mut self,
        source: TypeId,
        targets: &[TypeId],
        place: Place,
    ) -> Option<TypeId> {
        targets.iter().copied().find(|target| {
            let group = self.default_group(Some(source), *target, place);
            group.is_some_and(|group| group.default_for == DefaultFor::SourceAndTypes)
        })
    }

    fn all_defaults(&self) -> Defaults<'p> {
        let mut all = Defaults::new();
        for group in self.program.maps.iter().flat_map(|map| &map.groups) {
            let [source, target] = group.parameters.as_slice() else { continue };
            if group.default_for == DefaultFor::Nothing || (source.target, target.target) != (false, true) {
                continue;
            }
            let Some(type_id) = self.type_named(&target.type_name, group.place, true) else { continue };
            let source = self.type_named(&source.type_name, group.place, false);
            all.entry(type_id).or_default().push((source, group));
        }
        all
    }

    fn specialises(&self, type_id: TypeId, of: TypeId) -> bool {
        self.shapes.is_r4(type_id) == self.shapes.is_r4(of)
            && self.shapes.is_a(type_id, self.shapes.type_name(of))
    }
}
