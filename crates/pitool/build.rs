//! Tells the linker what the program as it is shipped does without.

#![expect(clippy::disallowed_methods, reason = "cargo tells a build script all it knows by variables")]

use std::path::Path;
use std::{env, fs};

const SCRIPT: &str = "no-unwind-tables.ld";

fn main() {
    println!("cargo::rerun-if-changed={SCRIPT}");
    // Other profiles unwind: a test that panics fails alone.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        // A copy: what this program prints is kept, also for a build in another checkout.
        let copy = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join(SCRIPT);
        fs::copy(SCRIPT, &copy).expect("the script lies beside this file");
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}", copy.display());
    }
}
