//! The properties of the fuzz targets, over what they begin with and a bounded number of changes to it.
#![allow(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sluis_tests::properties::{Door, PURE};

/// Pieces that mean something somewhere.
const PIECES: [&str; 24] = [
    "\"",
    "\\",
    "%",
    "%00",
    "\u{0}",
    ":",
    "|",
    ",",
    "$",
    "&",
    "=",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "&#x0;",
    "\r",
    "-1",
    "99999999999999999999",
    "\u{feff}",
    "é",
    "''",
];

/// One change of a seed.
fn change() -> impl Strategy<Value = (u16, u16, Vec<u8>)> {
    let piece = prop_oneof![
        2 => prop::sample::select(&PIECES[..]).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..6),
        1 => Just(Vec::new()),
    ];
    (any::<u16>(), 0..12_u16, piece)
}

/// A seed with some bytes gone, others in their place.
fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds), prop::collection::vec(change(), 0..6)).prop_map(|(mut bytes, changes)| {
        for (at, gone, piece) in changes {
            let start = usize::from(at) % (bytes.len() + 1);
            let end = (start + usize::from(gone)).min(bytes.len());
            bytes.splice(start..end, piece);
        }
        bytes
    })
}

/// What a target begins with, in the order of the file names; the first is read.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn hold(name: &str, cases: u32, mut property: impl FnMut(&[u8]) -> bool) {
    for seed in seeds(name) {
        property(&seed);
    }
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let property = std::cell::RefCell::new(&mut property);
    let held = runner.run(&changed(seeds(name)), |bytes| {
        (property.borrow_mut())(&bytes);
        Ok(())
    });
    if let Err(error) = held {
        panic!("{name}: {error}");
    }
}

#[test]
fn any_bytes_at_any_parser_are_read_or_refused() {
    for (name, property) in PURE {
        hold(name, 300, property);
    }
}

#[test]
fn what_is_right_is_read() {
    for (name, property) in PURE {
        assert!(property(&seeds(name)[0]), "{name}: its first seed is not read");
    }
}

#[test]
fn any_request_to_the_gateway_is_answered() {
    let mut door = Door::open().unwrap();
    hold("door_search", 200, |data| door.search(data));
    hold("door_patch", 60, |data| door.patch(data));
    hold("door_path_patch", 60, |data| door.path_patch(data));
    hold("door_bundle", 60, |data| door.bundle(data));
}
