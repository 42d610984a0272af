//! Element names as numbers, so that walking a tree compares numbers.
//!
//! The names of HL7 version 2 are numbered once, before any document ([`hl7v2`]): segment, field and component names are the same in
//! every message, and the field `n` of a segment lies `n` behind it. Whatever else a document brings is numbered behind those,
//! for that document alone.

use std::sync::LazyLock;

use foldhash::fast::RandomState;
use indexmap::IndexSet;

use super::Symbol;

/// Fields of a segment that are numbered before any document. Longer segments (IN2 has 72) go on in the document's own names.
const FIELDS_KNOWN: u32 = 50;
const COMPONENTS_KNOWN: u32 = 32;
const SUBCOMPONENTS_KNOWN: u32 = 16;

/// Names by number and numbers by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(IndexSet<Box<str>, RandomState>);

impl Names {
    pub(super) fn len(&self) -> u32 {
        self.0.len() as u32
    }

    pub(super) fn get(&self, name: &str) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get_index_of(name).map(|at| at as u32)
    }

    pub(super) fn name(&self, at: u32) -> &str {
        self.0.get_index(at as usize).map_or("", |name| name)
    }

    pub(super) fn intern(&mut self, name: &str) -> u32 {
        match self.0.get_index_of(name) {
            Some(at) => at as u32,
            None => self.0.insert_full(name.into()).0 as u32,
        }
    }
}

/// The names of HL7 version 2: components, subcomponents, and every segment of the structures with its fields behind it.
pub(super) fn hl7v2() -> &'static Names {
    &HL7V2.0
}

/// The names, and the symbol of the first segment: only segments and their fields come behind it.
static HL7V2: LazyLock<(Names, u32)> = LazyLock::new(|| {
    let mut names = Names::default();
    for part in (1..=COMPONENTS_KNOWN).map(|n| format!("C{n}")) {
        names.intern(&part);
    }
    for part in (1..=SUBCOMPONENTS_KNOWN).map(|n| format!("S{n}")) {
        names.intern(&part);
    }
    for name in ["message", "other"].into_iter().chain(super::hl7v2::group_names()) {
        names.intern(name);
    }
    let first = names.len();
    for segment in super::hl7v2::segment_names() {
        if names.get(segment).is_none() {
            names.intern(segment);
            for field in (1..=FIELDS_KNOWN).map(|n| format!("{segment}_{n}")) {
                names.intern(&field);
            }
        }
    }
    (names, first)
});

/// `OBX_5` for `OBX` and 5, where the segment is one of the structures'.
pub(super) fn field(segment: Symbol, number: u32) -> Option<Symbol> {
    let (names, first) = &*HL7V2;
    let place = segment.0.checked_sub(*first)?;
    let is_segment = segment.0 < names.len() && place.is_multiple_of(FIELDS_KNOWN + 1);
    (is_segment && (1..=FIELDS_KNOWN).contains(&number)).then(|| Symbol(segment.0 + number))
}

/// `C1`, `C2`, ... (`level` 0) or `S1`, `S2`, ..., as far as they are known.
pub(super) fn part(level: u8, number: u32) -> Option<Symbol> {
    let (first, known) =
        if level == 0 { (0, COMPONENTS_KNOWN) } else { (COMPONENTS_KNOWN, SUBCOMPONENTS_KNOWN) };
    (1..=known).contains(&number).then(|| Symbol(first + number - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_behind_their_segment_and_parts_in_order() {
        let names = hl7v2();
        let symbol = |name: &str| names.get(name).map(Symbol);
        for (segment, number) in [("OBX", 5), ("PID", 3), ("MSH", 18), ("NTE", 3), ("OBX", 50)] {
            let found = symbol(segment).and_then(|segment| field(segment, number));
            assert!(found.is_some());
            assert_eq!(found, symbol(&format!("{segment}_{number}")));
        }
        // Legal names of segments, and of parts: they have no fields that are known.
        for name in ["C10", "S10", "OBX_5"] {
            assert_eq!(symbol(name).and_then(|name| field(name, 1)), None, "{name}");
        }
        assert_eq!(symbol("OBX").and_then(|obx| field(obx, 51)), None);
        for (name, part) in
            [("C1", part(0, 1)), ("C32", part(0, 32)), ("S1", part(1, 1)), ("S16", part(1, 16))]
        {
            assert_eq!(symbol(name), part, "{name}");
        }
        assert_eq!((part(0, 33), part(1, 17), part(0, 0)), (None, None, None));
    }
}
