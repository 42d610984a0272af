//! Where a recorded place is in the StructureMap a map is: `StructureMap.group[0].rule[2].target[1]`, and the variable its source has.

use std::collections::BTreeMap;

use crate::fml::{self, Place, Rule};
use crate::run::{CompiledFolder, LIBRARY};

/// Of every rule and target of a map and what it imports: where it is in its StructureMap, and the name of its rule's source item.
pub(super) struct Positions(BTreeMap<(u16, u32, u32), (String, String)>);

impl Positions {
    pub(super) fn of(compiled: &CompiledFolder) -> Positions {
        let folder = compiled.folder();
        let mut positions = Positions(BTreeMap::new());
        if let Ok(program) = fml::load(&folder.map_file, &folder.map, &folder.importable(&LIBRARY)) {
            for map in &program.maps {
                for (at, group) in map.groups.iter().enumerate() {
                    positions.rules(&format!("StructureMap.group[{at}]"), &group.rules);
                }
            }
        }
        positions
    }

    /// Position in the StructureMap, and the variable; `None` for a place that is no rule or target of its own.
    pub(super) fn find(&self, place: Place) -> Option<(&str, &str)> {
        self.0.get(&key(place)).map(|(position, variable)| (position.as_str(), variable.as_str()))
    }

    fn rules(&mut self, at: &str, rules: &[Rule]) {
        for (number, rule) in rules.iter().enumerate() {
            let position = format!("{at}.rule[{number}]");
            let variable = rule.sources.last().and_then(|source| {
                source.variable.as_ref().or_else(|| source.path.last()).map(String::as_str)
            });
            let variable = variable.unwrap_or("source").to_owned();
            for (number, target) in rule.targets.iter().enumerate() {
                let position = format!("{position}.target[{number}]");
                self.0.entry(key(target.place)).or_insert((position, variable.clone()));
            }
            self.rules(&position, &rule.rules);
            self.0.insert(key(rule.place), (position, variable));
        }
    }
}

fn key(place: Place) -> (u16, u32, u32) {
    (place.file, place.start, place.end)
}
