//! Offline inspection.
fn main() {}
