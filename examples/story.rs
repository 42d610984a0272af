//! Story.
fn main() {}
