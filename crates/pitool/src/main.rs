//! The `pitool` program.
fn main() {}
