//! The mnemosyne binary.
fn main() {}
