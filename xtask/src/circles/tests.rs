use std::collections::BTreeMap;
use std::path::Path;

use super::modules::Modules;
use super::references::references;
use super::report;

/// Reads a crate of these files.
fn tree(files: &[(&str, &str)]) -> Modules {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    let read = |path: &Path| files.get(path.to_str().unwrap()).map(|text| (*text).to_owned());
    Modules::read(Path::new("lib.rs"), &read).unwrap()
}

/// Who refers to whom, as `from to path`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let read = tree(files);
    let name = |file: usize| read.files[file].display().to_string();
    references(&read).iter().map(|one| format!("{} {} {}", name(one.from), name(one.to), one.path)).collect()
}

#[test]
fn a_circle_is_named_with_the_references_that_close_it() {
    let read = tree(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
        ("a.rs", "use crate::b::B;\npub struct A(B, crate::d::D);"),
        ("b.rs", "use crate::c;\npub struct B(c::C);"),
        ("c.rs", "\nuse super::a::A;\npub struct C(Box<A>);"),
        ("d.rs", "pub struct D;"),
    ]);
    assert_eq!(
        report(&read),
        "circle of 3: a.rs, b.rs, c.rs\n  \
         a.rs -> b.rs: crate::b::B (line 1)\n  \
         b.rs -> c.rs: c::C (line 2)\n  \
         c.rs -> a.rs: super::a::A (line 2)\n"
    );
}

#[test]
fn one_way_is_no_circle() {
    let read = tree(&[
        ("lib.rs", "mod a;\nmod b;\npub use a::A;\npub fn f() { b::g() }"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::A;\npub fn g() -> A { A }"),
    ]);
    assert_eq!(report(&read), "");
}

#[test]
fn two_circles_are_two() {
    let read = tree(&[
        ("lib.rs", "mod a;\nmod b;\nmod c;\nmod d;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::a::A;\nuse crate::c::C;\npub struct B;"),
        ("c.rs", "use crate::d::D;\npub struct C;"),
        ("d.rs", "use crate::c::C;\npub struct D;"),
    ]);
    assert_eq!(report(&read).matches("circle of 2").count(), 2);
}

#[test]
fn a_parents_mod_and_pub_use_do_not_count_but_what_it_uses_does() {
    let parent = [("a.rs", "pub struct A;\npub struct B;"), ("c.rs", "pub struct C;")];
    let with = |lib| edges(&[&[("lib.rs", lib)], &parent[..]].concat());
    assert!(with("mod a;\npub use a::A;\npub(crate) use crate::a::{A as X, B};").is_empty());
    assert_eq!(with("mod a;\nuse a::A;"), ["lib.rs a.rs a::A"]);
    assert_eq!(with("mod a;\npub use a::A;\nfn f(_: A) {}"), ["lib.rs a.rs A"]);
    assert_eq!(with("mod a;\nfn f() { a::g() }"), ["lib.rs a.rs a::g"]);
    assert_eq!(
        edges(&[("lib.rs", "mod a;\nmod c;"), parent[1], ("a.rs", "pub use super::c::C;")]),
        ["a.rs c.rs super::c::C"]
    );
}

#[test]
fn what_is_handed_on_leads_to_its_definition() {
    let files = |user| {
        edges(&[
            ("lib.rs", "mod a;\nmod b;\npub use a::inner::Deep;"),
            ("a/mod.rs", "pub mod inner;\npub use inner::{Deep as Other, make};\nuse inner::*;"),
            ("a/inner.rs", "pub struct Deep;\npub fn make() {}"),
            ("b.rs", user),
        ])
    };
    assert_eq!(files("use crate::Deep;"), ["b.rs a/inner.rs crate::Deep"]);
    assert_eq!(files("use crate::a::Other;"), ["b.rs a/inner.rs crate::a::Other"]);
    assert_eq!(files("use super::a;\nfn f() { a::make() }"), ["b.rs a/inner.rs a::make"]);
    assert_eq!(files("use crate::a::Deep as D;\ntype T = D;"), ["b.rs a/inner.rs crate::a::Deep"]);
}

#[test]
fn paths_are_resolved_as_the_compiler_does() {
    let files = |user| {
        edges(&[
            ("lib.rs", "mod a;\nmod b;\nmod serde;"),
            ("a/mod.rs", "mod child;\npub enum Kind { One }\n"),
            ("a/child.rs", user),
            ("b.rs", "pub mod inline { pub fn f() {} }\npub trait Speak {}\npub const LIMIT: u8 = 1;"),
            ("serde.rs", ""),
        ])
    };
    assert_eq!(
        files("fn f() -> crate::a::Kind { super::Kind::One }"),
        ["a/child.rs a/mod.rs crate::a::Kind", "a/child.rs a/mod.rs super::Kind::One"]
    );
    assert_eq!(files("use super::super::b::inline;\nfn f() { inline::f() }"), ["a/child.rs b.rs inline::f"]);
    assert_eq!(files("impl crate::b::Speak for () {}"), ["a/child.rs b.rs crate::b::Speak"]);
    assert_eq!(files("fn f<T: crate::b::Speak>(_: [u8; crate::b::LIMIT as usize]) {}").len(), 2);
    assert_eq!(
        files("fn f() { use crate::b::{self as other, Speak as _}; other::inline::f() }"),
        ["a/child.rs b.rs crate::b::Speak", "a/child.rs b.rs other::inline::f"]
    );
    assert_eq!(
        files("mod within { pub fn f() -> super::super::Kind { self::g() } fn g() {} }"),
        ["a/child.rs a/mod.rs super::super::Kind"]
    );
    // Another crate, although a module at the root has the same name; this module itself.
    assert!(
        files("use serde::Serialize;\nuse ::b::Speak;\nuse std::fmt;\nfn f() { self::g() }\nfn g() {}")
            .is_empty()
    );
}

#[test]
fn a_name_that_is_a_module_and_a_function_is_either() {
    let files = |user| {
        edges(&[
            ("lib.rs", "mod save;\nmod user;\npub use save::save;"),
            ("save.rs", "pub mod work;\npub fn save() {}"),
            ("save/work.rs", "pub struct Work;"),
            ("user.rs", user),
        ])
    };
    assert_eq!(files("fn f() { crate::save() }"), ["user.rs save.rs crate::save"]);
    assert_eq!(
        files("fn f() -> crate::save::work::Work {}"),
        ["user.rs save/work.rs crate::save::work::Work"]
    );
}

#[test]
fn globs_lead_to_the_names_that_are_used() {
    let files = |user| {
        edges(&[
            ("lib.rs", "mod a;\nmod b;\nmod user;"),
            ("a.rs", "pub use crate::b::B;\npub struct A;"),
            ("b.rs", "pub struct B;"),
            ("user.rs", user),
        ])
    };
    let handed_on = "a.rs b.rs crate::b::B";
    assert_eq!(
        files("use crate::a::*;\nfn f(_: B) -> Vec<A> {}"),
        [handed_on, "user.rs b.rs B", "user.rs a.rs A"]
    );
    assert_eq!(files("use crate::a::*;\nfn f(_: String) {}"), [handed_on]);
}

#[test]
fn items_that_a_macro_makes_are_its_files() {
    let text = "macro_rules! text { ($name:ident) => { pub struct $name; impl $crate::b::B {} } }";
    let lib = format!("{text}\nmod a;\nmod b;\npub use a::Made;\npub(crate) use text as texts;");
    assert_eq!(
        edges(&[
            ("lib.rs", &lib),
            ("a.rs", "use crate::texts;\ntexts!(Made);"),
            ("b.rs", "use super::Made;\ntext!(Own);\npub struct B;"),
        ]),
        ["lib.rs b.rs crate::b::B", "a.rs lib.rs crate::texts", "b.rs a.rs super::Made", "b.rs lib.rs text!"]
    );
}

#[test]
fn paths_in_macros_and_attributes_count() {
    let files =
        |user| edges(&[("lib.rs", "mod a;\nmod user;"), ("a.rs", "pub mod text {}"), ("user.rs", user)]);
    assert_eq!(files("fn f() { println!(\"{}\", crate::a::X) }"), ["user.rs a.rs crate::a::X"]);
    assert_eq!(files("fn f() { vec![(1, [super::a::x()])]; }"), ["user.rs a.rs super::a::x"]);
    assert_eq!(
        files("struct S { #[serde(with = \"crate::a::text\", default = \"super::a::new\")] s: u8 }"),
        ["user.rs a.rs super::a::new"]
    );
    assert_eq!(
        files("struct S { #[arg(value_parser = crate::a::parse)] s: u8 }"),
        ["user.rs a.rs crate::a::parse"]
    );
    assert!(
        files("/// See [`crate::a::X`].\nfn f() { println!(\"crate::a::X\", ::a::X, it.a::<u8>()) }")
            .is_empty()
    );
}

#[test]
fn tests_do_not_count() {
    let files = |user| {
        edges(&[
            ("lib.rs", "mod a;\nmod user;"),
            ("a.rs", "pub struct A;"),
            ("user/tests.rs", "("),
            ("user.rs", user),
        ])
    };
    for user in [
        "#[cfg(test)] mod tests;",
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "#[cfg(all(test, unix))] use crate::a::A;",
        "#[cfg(test)] fn f(_: crate::a::A) {}",
        "#[test] fn f() { crate::a::f() }",
        "struct S; impl S { #[cfg(test)] fn f(_: crate::a::A) {} }",
        "fn f() { #[cfg(test)] let x = crate::a::A; }",
        "struct S { #[cfg(test)] s: crate::a::A }",
        "struct S; impl S { #[cfg(test)] fn f() { use crate::a::A; } }",
        "#[cfg_attr(test, derive(crate::a::A))] struct S;",
    ] {
        assert!(files(user).is_empty(), "{user}");
    }
    for user in ["#[cfg(not(test))] use crate::a::A;", "#[cfg(any(test, feature = \"x\"))] use crate::a::A;"]
    {
        assert_eq!(files(user).len(), 1, "{user}");
    }
}

#[test]
fn modules_are_found_where_the_compiler_finds_them() {
    let read = tree(&[
        ("lib.rs", "mod a;\nmod b { pub mod c; }\n#[path = \"else/where.rs\"] mod d;"),
        ("a/mod.rs", "mod x;"),
        ("a/x.rs", ""),
        ("b/c.rs", "mod y;"),
        ("b/c/y.rs", ""),
        ("else/where.rs", "mod z;"),
        ("else/z.rs", ""),
    ]);
    let files: Vec<_> = read.files.iter().map(|file| file.to_str().unwrap()).collect();
    assert_eq!(files, ["lib.rs", "a/mod.rs", "a/x.rs", "b/c.rs", "b/c/y.rs", "else/where.rs", "else/z.rs"]);
}
