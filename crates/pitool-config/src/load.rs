//! From fragments to settings.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::check;
use crate::diagnostic::{Diagnostic, Severity};
use crate::found::Found;
use crate::fragment::Fragment;
use crate::read::Reader;
use crate::reference::Keys;
use crate::settings::Settings;
use crate::tree::{self, Node, Origin, Path, Step};

/// Settings, and what the person should know about them.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Warnings, in the order of the files.
    pub warnings: Vec<Diagnostic>,
}

/// The sections that come with their roles in a later version.
pub(crate) const LATER: [&str; 1] = ["fleet"];

/// Merges fragments, of which later ones win key by key, and reads the result.
///
/// Tables merge; lists and everything else replace. No fragment at all is valid and means the defaults.
///
/// # Errors
/// Every problem that was found, in the order of the files, with warnings among them.
pub fn load(fragments: &[Fragment]) -> Result<Loaded, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let mut unreadable = Vec::new();
    let mut root = Node::empty();
    for (file, fragment) in fragments.iter().enumerate() {
        let parsed = tree::parse(file, fragment);
        root.merge(parsed.root);
        problems.extend(parsed.problems);
        unreadable.extend(parsed.unreadable);
    }

    let mut found = Found::new(fragments);
    let settings = read(root.clone(), &mut found);
    check::check(&settings, &root, &mut found);

    // What stands beside an error of syntax was guessed by the parser.
    let guessed = |at: &Origin| {
        unreadable.iter().any(|bad| bad.file == at.file && bad.end > at.start && bad.start <= at.start)
    };
    problems.extend(found.problems().into_iter().filter(|(at, _)| !guessed(at)));
    problems.sort_by(|(a, _), (b, _)| a.cmp(b));
    let problems: Vec<Diagnostic> = problems.into_iter().map(|(_, problem)| problem).collect();
    match problems.iter().any(|problem| problem.severity == Severity::Error) {
        true => Err(problems),
        false => Ok(Loaded { settings, warnings: problems }),
    }
}

/// Reads the tree; wherever it cannot, it says so, takes that value out and reads again.
fn read(mut root: Node, found: &mut Found<'_>) -> Settings {
    let mut unknown_at = BTreeSet::new();
    // The tables from which something was taken out; that they lack it is no news.
    let mut incomplete = BTreeSet::new();
    loop {
        let unknown = RefCell::new(Vec::new());
        let result = Settings::deserialize(Reader::new(&root, &unknown));
        for path in unknown.into_inner() {
            let Some(key) = root.get(&path).and_then(|node| node.key.clone()) else { continue };
            if unknown_at.insert(key.clone()) {
                let (message, hint) = unknown_key(&path);
                found.add(Severity::Error, &key, message, hint);
            }
        }
        let error = match result {
            Ok(settings) => return settings,
            Err(error) => error,
        };
        let path = error.path.clone().unwrap_or_default();
        let lacks_what_was_removed = error.missing && incomplete.contains(&path);
        let Some(node) = root.remove(&path) else {
            // Every table but a list's element can be empty, so an error at the root cannot be.
            found.add(Severity::Error, &root.at, error.message, error.hint);
            return Settings::default();
        };
        if let Some((Step::Key(_), table)) = path.0.split_last() {
            incomplete.insert(Path(table.to_vec()));
        }
        if matches!(path.0.last(), Some(Step::Index(_))) {
            // The elements after this one move up.
            incomplete.clear();
        }
        if lacks_what_was_removed {
            continue;
        }
        let at = if error.on_key { node.key.as_ref().unwrap_or(&node.at) } else { node.place() };
        let hint = error.hint.or_else(|| hint_for(&path));
        found.add(Severity::Error, at, error.message, hint);
        // A list with an element missing is still a list of which not all is known.
        let listed = path.0.iter().position(|step| matches!(step, Step::Index(_))).unwrap_or(path.0.len());
        found.remove(Path(path.0[..listed].to_vec()));
    }
}

/// Says what may stand in the table that should be at a path, where it should be one.
fn hint_for(path: &Path) -> Option<String> {
    let keys = Keys::new().at(path);
    (path.0.len() == 1 && !keys.is_empty()).then(|| format!("a section starts with [{path}]"))
}

/// Says what is wrong with a key that nothing reads, and which one was probably meant.
fn unknown_key(path: &Path) -> (String, Option<String>) {
    let Some((Step::Key(key), parents)) = path.0.split_last() else {
        return ("unknown key".to_owned(), None);
    };
    let parent = Path(parents.to_vec());
    let keys = Keys::new();
    let known = keys.at(&parent);
    let what = if parents.is_empty() { "section or key" } else { "key" };
    let message = format!("unknown {what} `{key}`");
    if parents.is_empty() && LATER.contains(&key.as_str()) {
        return (message, Some(format!("[{key}] comes with a later version of pitool")));
    }
    if let Some(near) = crate::values::nearest(key, known.iter().map(String::as_str)) {
        return (message, Some(format!("did you mean `{near}`?")));
    }
    let elsewhere = keys.sections_with(key);
    if !elsewhere.is_empty() {
        return (message, Some(format!("`{key}` belongs in {}", elsewhere.join(" or "))));
    }
    (message, Some(format!("known here: {}", known.join(", "))))
}
