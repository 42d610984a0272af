//! A property that needs no gateway: the one this target is named after.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluis_tests::properties::{PURE, Property};

static PROPERTY: LazyLock<Property> = LazyLock::new(|| {
    let name = env!("CARGO_BIN_NAME");
    PURE.iter().find(|(one, _)| *one == name).map(|(_, property)| *property).expect("a property of this name")
});

fuzz_target!(|data: &[u8]| {
    PROPERTY(data);
});
