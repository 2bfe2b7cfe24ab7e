//! Tells the linker what the program as it is shipped does without.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script all it knows by variables")]

use std::env;
use std::path::Path;

fn main() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("no-unwind-tables.ld");
    println!("cargo::rerun-if-changed={}", script.display());
    // Other profiles unwind: a test that panics fails alone.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
