//! A request to a whole gateway: the kind this target is named after.
#![no_main]

use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use sluis_tests::properties::Door;

static DOOR: LazyLock<Mutex<Door>> = LazyLock::new(|| Mutex::new(Door::open().expect("a gateway starts")));

fuzz_target!(|data: &[u8]| {
    let mut door = DOOR.lock().expect("one at a time");
    match env!("CARGO_BIN_NAME") {
        "door_search" => door.search(data),
        "door_patch" => door.patch(data),
        "door_path_patch" => door.path_patch(data),
        _ => door.bundle(data),
    };
});
