//! The modules of a crate outside its tests, and which module a path leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ImplItem, Item, ItemMod, ItemUse, Lit, Meta, Token, UseTree, Visibility};

/// All modules that are reached from one root file without a test's configuration.
pub(super) struct Modules {
    /// Source files as `read` was asked for them; the root is first.
    pub(super) files: Vec<PathBuf>,
    /// The root is first; a module stands behind its parent.
    pub(super) modules: Vec<Module>,
}

/// One module, in a file of its own or inline.
pub(super) struct Module {
    /// Its file in [`Modules::files`].
    pub(super) file: usize,
    parent: Option<usize>,
    /// What it contains; nested modules stand for themselves.
    pub(super) items: Vec<Item>,
    pub(super) uses: Vec<Use>,
    names: BTreeMap<String, Vec<Meaning>>,
}

/// One name that a `use` brings in.
pub(super) struct Use {
    /// None for `*` and `_`.
    pub(super) name: Option<String>,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// `pub use` and `pub(…) use`: others can reach the name here.
    pub(super) exported: bool,
    glob: bool,
}

enum Meaning {
    Module(usize),
    /// An item that can stand before `::`.
    Type,
    /// A function, constant or static.
    Value,
    Macro,
    /// An index into [`Module::uses`].
    Use(usize),
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Module(usize),
    /// An item of this module.
    Item(usize),
}

impl Modules {
    /// Reads the crate whose root is `root`. `read` gives the text of a file, or nothing if there is no such file.
    pub(super) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Result<Modules> {
        let mut all = Modules { files: Vec::new(), modules: Vec::new() };
        let folder = root.parent().unwrap_or(Path::new("")).to_owned();
        let items = all.file(root.to_owned(), read)?;
        all.add(0, None, items, &folder, read)?;
        Ok(all)
    }

    fn file(&mut self, path: PathBuf, read: &dyn Fn(&Path) -> Option<String>) -> Result<Vec<Item>> {
        let text = read(&path).ok_or_else(|| anyhow!("{}: no such file", path.display()))?;
        let items =
            syn::parse_file(&text).with_context(|| format!("{}: not a Rust file", path.display()))?.items;
        self.files.push(path);
        Ok(items)
    }

    /// Adds a module and those within it. `folder` is where files of its children are.
    fn add(
        &mut self,
        file: usize,
        parent: Option<usize>,
        items: Vec<Item>,
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let index = self.modules.len();
        let mut names = BTreeMap::<String, Vec<Meaning>>::new();
        let mut uses = Uses::default();
        for item in &items {
            uses.visit_item(item);
            if let Some((name, meaning)) = declared(item) {
                names.entry(name).or_default().push(meaning);
            }
        }
        for (number, found) in uses.found.iter().enumerate() {
            if let Some(name) = &found.name {
                names.entry(name.clone()).or_default().push(Meaning::Use(number));
            }
        }
        let (children, items) = items.into_iter().partition(|item| matches!(item, Item::Mod(_)));
        self.modules.push(Module { file, parent, items, uses: uses.found, names });
        for child in children {
            let Item::Mod(child) = child else { continue };
            if !is_test(&child.attrs) {
                let name = child.ident.to_string();
                let child = self.child(index, child, folder, read)?;
                self.modules[index].names.entry(name).or_default().push(Meaning::Module(child));
            }
        }
        Ok(index)
    }

    fn child(
        &mut self,
        parent: usize,
        module: ItemMod,
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<usize> {
        let name = module.ident.to_string();
        let beneath = folder.join(&name);
        if let Some((_, items)) = module.content {
            return self.add(self.modules[parent].file, Some(parent), items, &beneath, read);
        }
        let (path, beneath) = if let Some(written) = path_attribute(&module.attrs) {
            let path = self.files[self.modules[parent].file].with_file_name(written);
            let beneath = path.parent().unwrap_or(Path::new("")).to_owned();
            (path, beneath)
        } else {
            let alone = folder.join(format!("{name}.rs"));
            let path = if read(&alone).is_some() { alone } else { beneath.join("mod.rs") };
            (path, beneath)
        };
        let file = self.files.len();
        let items = self.file(path, read)?;
        self.add(file, Some(parent), items, &beneath, read)
    }

    /// What `path`, written in the module `at`, leads to within this crate: nothing for a path into another crate, more
    /// than one target for a name that is a module and a function.
    ///
    /// An item of a module that does not declare it, for example one that a macro makes, is an item of that module.
    pub(super) fn resolve(&self, at: usize, path: &[String]) -> BTreeSet<Target> {
        self.follow(at, path, false, &mut Vec::new())
    }

    /// `prefix` says that more segments follow. `open` are the `use` declarations that are being resolved.
    fn follow(
        &self,
        at: usize,
        path: &[String],
        prefix: bool,
        open: &mut Vec<(usize, usize)>,
    ) -> BTreeSet<Target> {
        let Some((first, rest)) = path.split_first() else { return BTreeSet::new() };
        let mut targets = match first.as_str() {
            "crate" => BTreeSet::from([Target::Module(0)]),
            _ => self.segment(at, first, prefix || !rest.is_empty(), open).unwrap_or_default(),
        };
        for (number, segment) in rest.iter().enumerate() {
            let prefix = prefix || number + 1 < rest.len();
            let mut next = BTreeSet::new();
            for target in targets {
                match target {
                    Target::Item(_) => next.extend([target]),
                    Target::Module(module) => next.extend(
                        self.segment(module, segment, prefix, open)
                            .unwrap_or_else(|| BTreeSet::from([Target::Item(module)])),
                    ),
                }
            }
            targets = next;
        }
        targets
    }

    /// One segment of a path in the module `at`. Nothing: the module does not know the name.
    fn segment(
        &self,
        at: usize,
        name: &str,
        prefix: bool,
        open: &mut Vec<(usize, usize)>,
    ) -> Option<BTreeSet<Target>> {
        let module = &self.modules[at];
        match name {
            "self" => return Some(BTreeSet::from([Target::Module(at)])),
            "super" => return Some(module.parent.map(Target::Module).into_iter().collect()),
            _ => {}
        }
        if let Some(meanings) = module.names.get(name) {
            let mut targets = BTreeSet::new();
            for meaning in meanings {
                match meaning {
                    Meaning::Module(child) => targets.extend([Target::Module(*child)]),
                    Meaning::Type => targets.extend([Target::Item(at)]),
                    Meaning::Value | Meaning::Macro if prefix => {}
                    Meaning::Value | Meaning::Macro => targets.extend([Target::Item(at)]),
                    Meaning::Use(number) => {
                        targets.extend(self.through(at, *number, prefix, open));
                    }
                }
            }
            return Some(targets);
        }
        let globs = module.uses.iter().enumerate().filter(|(_, found)| found.glob);
        globs.into_iter().find_map(|(number, _)| {
            let modules = self.through(at, number, true, open).into_iter();
            modules
                .filter_map(|target| match target {
                    Target::Module(module) if module != at => self.segment(module, name, prefix, open),
                    _ => None,
                })
                .next()
        })
    }

    /// What the `use` with this number leads to.
    fn through(
        &self,
        at: usize,
        number: usize,
        prefix: bool,
        open: &mut Vec<(usize, usize)>,
    ) -> BTreeSet<Target> {
        if open.contains(&(at, number)) {
            return BTreeSet::new();
        }
        open.push((at, number));
        let targets = self.follow(at, &self.modules[at].uses[number].path, prefix, open);
        open.pop();
        targets
    }

    /// Whether the module `at` has this name.
    pub(super) fn knows(&self, at: usize, name: &str) -> bool {
        self.segment(at, name, false, &mut Vec::new()).is_some()
    }

    /// The module whose `macro_rules!` of this name is in scope at `at` by its place in the text.
    pub(super) fn textual_macro(&self, at: usize, name: &str) -> Option<usize> {
        let mut parent = self.modules[at].parent;
        while let Some(index) = parent {
            let module = &self.modules[index];
            if module.names.get(name).is_some_and(|all| all.iter().any(|one| matches!(one, Meaning::Macro))) {
                return Some(index);
            }
            parent = module.parent;
        }
        None
    }

    /// Whether the module `below` is within the module `above`.
    pub(super) fn is_below(&self, below: usize, above: usize) -> bool {
        let mut parent = self.modules[below].parent;
        while let Some(index) = parent {
            if index == above {
                return true;
            }
            parent = self.modules[index].parent;
        }
        false
    }
}

/// The name that an item declares in its module; `use` and `mod` are looked at elsewhere.
fn declared(item: &Item) -> Option<(String, Meaning)> {
    let (attributes, ident, meaning) = match item {
        Item::Enum(item) => (&item.attrs, &item.ident, Meaning::Type),
        Item::Struct(item) => (&item.attrs, &item.ident, Meaning::Type),
        Item::Trait(item) => (&item.attrs, &item.ident, Meaning::Type),
        Item::Type(item) => (&item.attrs, &item.ident, Meaning::Type),
        Item::Union(item) => (&item.attrs, &item.ident, Meaning::Type),
        Item::Const(item) => (&item.attrs, &item.ident, Meaning::Value),
        Item::Static(item) => (&item.attrs, &item.ident, Meaning::Value),
        Item::Fn(item) => (&item.attrs, &item.sig.ident, Meaning::Value),
        Item::Macro(item) => (&item.attrs, item.ident.as_ref()?, Meaning::Macro),
        _ => return None,
    };
    (!is_test(attributes)).then(|| (ident.to_string(), meaning))
}

/// Gathers every `use` of a module, those within functions too.
#[derive(Default)]
struct Uses {
    found: Vec<Use>,
}

impl Visit<'_> for Uses {
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

    fn visit_item_mod(&mut self, _: &ItemMod) {}

    fn visit_item_use(&mut self, item: &ItemUse) {
        if item.leading_colon.is_none() {
            self.tree(&item.tree, &mut Vec::new(), !matches!(item.vis, Visibility::Inherited));
        }
    }
}

impl Uses {
    fn tree(&mut self, tree: &UseTree, prefix: &mut Vec<String>, exported: bool) {
        let (ident, name) = match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix, exported);
                prefix.pop();
                return;
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(tree, prefix, exported);
                }
                return;
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.found.push(Use { name: None, path: prefix.clone(), line, exported, glob: true });
                return;
            }
            UseTree::Name(name) if name.ident == "self" => (&name.ident, prefix.last().cloned()),
            UseTree::Name(name) => (&name.ident, Some(name.ident.to_string())),
            UseTree::Rename(name) => (&name.ident, (name.rename != "_").then(|| name.rename.to_string())),
        };
        let mut path = prefix.clone();
        if ident != "self" {
            path.push(ident.to_string());
        }
        self.found.push(Use { name, path, line: ident.span().start().line, exported, glob: false });
    }
}

/// Whether an attribute of another one holds for tests only: `#[cfg_attr(test, …)]`.
pub(super) fn is_tests_attribute(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg_attr")
        && attribute
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|list| list.first().is_some_and(needs_test))
}

/// Whether a configuration lets something be compiled for tests only.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
    })
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|all| all.iter().any(needs_test)),
        _ => false,
    }
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// The attributes of any item.
pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The attributes of a member of an `impl`.
pub(super) fn member_attributes(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Const(item) => &item.attrs,
        ImplItem::Fn(item) => &item.attrs,
        ImplItem::Type(item) => &item.attrs,
        ImplItem::Macro(item) => &item.attrs,
        _ => &[],
    }
}
