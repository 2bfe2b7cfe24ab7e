//! What each role wants, as a person would read it: config × facts. One file for each role.
//!
//! `cargo insta review` (or INSTA_UPDATE=always) takes in a change that is meant.

#![expect(clippy::unwrap_used, reason = "helpers of tests; clippy.toml sees only the tests themselves")]

mod docker;
mod security;
mod ssl;

use std::fmt::Write;

use pitool_config::Settings;
use pitool_engine::{Proof, Resource, Risk};
use pitool_host::{Digest, Facts};
use pitool_kinds::Kind;
use pitool_roles::Wishes;
use serde_json::Value;

/// Settings from the keys that differ from their defaults.
pub(crate) fn settings(json: Value) -> Settings {
    serde_json::from_value(json).unwrap()
}

/// A machine of its own with this system.
pub(crate) fn machine(os: &str, release: u32, arch: &str) -> Facts {
    Facts {
        os: os.into(),
        release,
        codename: if release == 12 { "bookworm" } else { "trixie" }.into(),
        arch: arch.into(),
        kernel_arch: if arch == "amd64" { "x86_64" } else { "aarch64" }.into(),
        kernel_modules: true,
        page_size: 4096,
        memory: 4 << 30,
        cpus: 4,
        systemd: true,
        live: true,
        ..Facts::default()
    }
}

/// Raspberry Pi OS on a board.
pub(crate) fn pi(os: &str, release: u32, arch: &str) -> Facts {
    Facts {
        model: "Raspberry Pi 4 Model B Rev 1.4".into(),
        firmware: Some("/boot/firmware".into()),
        raspberrypi_archive: true,
        ..machine(os, release, arch)
    }
}

/// A readable rendering: notes, then each resource with what makes it special and its text, then the questions.
pub(crate) fn rendered(wishes: &Wishes) -> String {
    let mut text = String::new();
    for note in &wishes.notes {
        writeln!(text, "note: {note}").unwrap();
    }
    for kind in &wishes.resources {
        resource(&mut text, kind);
    }
    for proof in &wishes.proofs {
        writeln!(text, "{}", proof.id()).unwrap();
    }
    text
}

fn resource(text: &mut String, kind: &Kind) {
    let stage = format!("{:?}", kind.stage()).to_lowercase();
    let risk = if kind.risk() == Risk::Lockout { " (lockout)" } else { "" };
    writeln!(text, "{stage} {}{risk}", kind.id()).unwrap();
    let Value::Object(tagged) = serde_json::to_value(kind).unwrap() else { return };
    for (key, value) in tagged.values().filter_map(Value::as_object).flatten() {
        if let Some(hex) = value.get("$content").and_then(Value::as_str) {
            content(text, hex);
        } else if !said(key) && !empty(value) {
            writeln!(text, "    {key}: {value}").unwrap();
        }
    }
}

/// What the id, the stage and the risk already say.
fn said(key: &str) -> bool {
    ["path", "name", "key", "stage", "risk", "owner", "group", "create", "only_opens"].contains(&key)
}

/// What is so unless somebody says otherwise.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        // Mode 0644.
        Value::Number(number) => number.as_u64() == Some(0o644),
        Value::Bool(true) | Value::Object(_) => false,
    }
}

fn content(text: &mut String, hex: &str) {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect();
    let content = String::from_utf8_lossy(&bytes);
    if content.starts_with("-----BEGIN PGP") {
        writeln!(text, "    | a key, {}", Digest::of(&bytes).short()).unwrap();
        return;
    }
    for line in content.lines() {
        writeln!(text, "{}", format!("    | {line}").trim_end()).unwrap();
    }
}
