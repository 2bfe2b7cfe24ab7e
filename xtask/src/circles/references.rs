//! Which files of a crate refer to which, by `use` and by paths.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, Field, ImplItem, Item, ItemMod, ItemUse, LitStr, Local, Macro, Meta, Path, Stmt,
    TraitItem, Variant, Visibility,
};

use super::modules::{Modules, Target, attributes, is_test, is_tests_attribute, member_attributes};

/// One place where a file names something that another file of the crate defines.
pub(super) struct Reference {
    /// Files in [`Modules::files`].
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) line: usize,
    pub(super) path: String,
}

/// All references between the files of a crate, file by file in the order of the text.
pub(super) fn references(crate_: &Modules) -> Vec<Reference> {
    let mut found = Vec::new();
    for (at, module) in crate_.modules.iter().enumerate() {
        let mut paths = Paths { crate_, at, counted: BTreeSet::new(), found: &mut found };
        for one in &module.uses {
            // What a parent hands on it does not use.
            let added = paths.add(&one.path, one.line, |to| !(one.exported && crate_.is_below(to, at)));
            paths.counted.extend(one.name.as_deref().filter(|_| added));
        }
        for item in &module.items {
            paths.visit_item(item);
        }
    }
    found.sort_by_key(|one| (one.from, one.line));
    found
}

/// Gathers the paths in the code of one module.
struct Paths<'a> {
    crate_: &'a Modules,
    at: usize,
    /// Names whose `use` is a reference already, and leads to items only.
    counted: BTreeSet<&'a str>,
    found: &'a mut Vec<Reference>,
}

impl Paths<'_> {
    /// Adds the items of other files that `path` leads to, as far as `counts` accepts their module. Tells whether it leads
    /// to such items only.
    fn add(&mut self, path: &[String], line: usize, counts: impl Fn(usize) -> bool) -> bool {
        let modules = &self.crate_.modules;
        let from = modules[self.at].file;
        let targets = self.crate_.resolve(self.at, path);
        let mut only = !targets.is_empty();
        for target in targets {
            match target {
                Target::Item(module) if modules[module].file != from && counts(module) => {
                    let to = modules[module].file;
                    self.found.push(Reference { from, to, line, path: path.join("::") });
                }
                // A module alone is only the way to something.
                Target::Item(_) | Target::Module(_) => only = false,
            }
        }
        only
    }

    fn path(&mut self, path: &[&Ident]) {
        if let Some(first) = path.first().filter(|first| !self.counted.contains(first.to_string().as_str())) {
            let line = first.span().start().line;
            let path: Vec<String> = path.iter().map(|segment| segment.to_string()).collect();
            self.add(&path, line, |_| true);
        }
    }

    /// Paths in tokens that are not Rust yet: a macro's arguments or its definition, the arguments of an attribute.
    fn tokens(&mut self, tokens: TokenStream, single: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |at: usize, what: char, spacing: Option<Spacing>| {
            matches!(tokens.get(at), Some(TokenTree::Punct(punct))
                if punct.as_char() == what && spacing.is_none_or(|spacing| spacing == punct.spacing()))
        };
        let colons = |at: usize| is(at, ':', Some(Spacing::Joint)) && is(at + 1, ':', None);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream(), single),
                TokenTree::Ident(first) => {
                    let before = |back: usize| at.checked_sub(back);
                    let member = before(1)
                        .is_some_and(|before| is(before, '.', None) || is(before, '\'', None))
                        && !before(2).is_some_and(|before| is(before, '.', Some(Spacing::Joint)));
                    let external = before(2).is_some_and(colons);
                    let mut path = vec![first];
                    while let (true, Some(TokenTree::Ident(next))) = (colons(at + 1), tokens.get(at + 3)) {
                        path.push(next);
                        at += 3;
                    }
                    let alone = path.len() == 1;
                    let called = is(at + 1, '!', None)
                        || matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))
                        || first.to_string().starts_with(char::is_uppercase);
                    if !member && !external && (!alone || single && called) {
                        self.path(&path);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
    /// An attribute's arguments; a text among them can be a path, as in `#[serde(with = "super::seconds")]`.
    fn attribute(&mut self, tokens: TokenStream) {
        self.tokens(tokens.clone(), false);
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.attribute(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let text = syn::parse_str::<LitStr>(&literal.to_string()).ok();
                    let path = text.and_then(|text| syn::parse_str::<Path>(&text.value()).ok());
                    if let Some(path) = path.filter(|path| path.leading_colon.is_none()) {
                        let path: Vec<String> =
                            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                        self.add(&path, line, |_| path.len() > 1);
                    }
                }
                _ => {}
            }
        }
    }
    /// A macro whose name is in scope because a parent defines it above its `mod` lines.
    fn textual_macro(&mut self, name: &Ident) {
        let modules = &self.crate_.modules;
        if !self.crate_.knows(self.at, &name.to_string()) {
            if let Some(module) = self.crate_.textual_macro(self.at, &name.to_string()) {
                let (from, to) = (modules[self.at].file, modules[module].file);
                if from != to {
                    let line = name.span().start().line;
                    self.found.push(Reference { from, to, line, path: format!("{name}!") });
                }
            }
        }
    }
}

impl Visit<'_> for Paths<'_> {
    fn visit_item(&mut self, item: &Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        if !is_test(member_attributes(item)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &TraitItem) {
        let attributes: &[Attribute] = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !is_test(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &Stmt) {
        if !matches!(statement, Stmt::Macro(statement) if is_test(&statement.attrs)) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_local(&mut self, local: &Local) {
        if !is_test(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_field(&mut self, field: &Field) {
        if !is_test(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &Variant) {
        if !is_test(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_arm(&mut self, arm: &Arm) {
        if !is_test(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    // Modules and their `use` are looked at one by one.
    fn visit_item_mod(&mut self, _: &ItemMod) {}
    fn visit_item_use(&mut self, _: &ItemUse) {}

    // `pub(in path)` names who may look, not what is needed.
    fn visit_visibility(&mut self, _: &Visibility) {}

    fn visit_path(&mut self, path: &Path) {
        if path.leading_colon.is_none() {
            self.path(&path.segments.iter().map(|segment| &segment.ident).collect::<Vec<_>>());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &Macro) {
        self.visit_path(&called.path);
        if let Some(name) = called.path.get_ident() {
            self.textual_macro(name);
        }
        self.tokens(called.tokens.clone(), true);
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        match &attribute.meta {
            Meta::List(list) if !list.path.is_ident("cfg") && !is_tests_attribute(attribute) => {
                self.attribute(list.tokens.clone())
            }
            _ => {}
        }
    }
}
