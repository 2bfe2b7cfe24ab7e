//! What was written, as a tree in which every value knows its place.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::{Diagnostic, Fragment, Severity};

/// The table whose keys are names with dots; nested tables in it mean dotted names.
const DOTTED: [&str; 2] = ["common", "sysctl"];

/// The place of a key or a value: a fragment and a range of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The index of the fragment.
    pub(crate) file: usize,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where its key stands, unless it is an element of a list.
    pub(crate) key: Option<Origin>,
    /// Where the value stands.
    pub(crate) at: Origin,
    /// The value.
    pub(crate) value: Value,
}

/// A value as TOML has them.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction, or infinity, or not a number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A date, a time or both, in words, since no key takes one.
    Moment(String),
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(BTreeMap<String, Node>),
}

/// One step from a table or a list to what is in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Into the entry of a table.
    Key(String),
    /// Into the element of a list.
    Index(usize),
}

/// The steps from the root to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<Step>);

impl Path {
    /// Walks these keys.
    pub(crate) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    /// Goes one step further.
    pub(crate) fn join(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Tells whether this leads to the other place or to something in it.
    pub(crate) fn starts_with(&self, other: &Path) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if number == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl Node {
    /// An empty table that stands nowhere: what no fragment at all means.
    pub(crate) fn empty() -> Self {
        let at = Origin { file: 0, start: 0, end: 0 };
        Self { key: None, at, value: Value::Table(BTreeMap::new()) }
    }

    /// Where a message about this value as a whole points: the key of a table, otherwise the value.
    pub(crate) fn place(&self) -> &Origin {
        match (&self.value, &self.key) {
            (Value::Table(_), Some(key)) => key,
            _ => &self.at,
        }
    }

    /// Finds the value at a path.
    pub(crate) fn get(&self, path: &Path) -> Option<&Node> {
        path.0.iter().try_fold(self, |node, step| match (&node.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get(key),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        })
    }

    /// Takes away the value at a path; the root stays.
    pub(crate) fn remove(&mut self, path: &Path) -> Option<Node> {
        let (last, parents) = path.0.split_last()?;
        let mut node = self;
        for step in parents {
            node = match (&mut node.value, step) {
                (Value::Table(entries), Step::Key(key)) => entries.get_mut(key)?,
                (Value::List(items), Step::Index(index)) => items.get_mut(*index)?,
                _ => return None,
            };
        }
        match (&mut node.value, last) {
            (Value::Table(entries), Step::Key(key)) => entries.remove(key),
            (Value::List(items), Step::Index(index)) if *index < items.len() => Some(items.remove(*index)),
            _ => None,
        }
    }

    /// Lays a later fragment over this: tables key by key, anything else replaces.
    pub(crate) fn merge(&mut self, later: Node) {
        match (&mut self.value, later.value) {
            (Value::Table(entries), Value::Table(over)) => {
                for (key, node) in over {
                    match entries.get_mut(&key) {
                        Some(below) => below.merge(node),
                        None => {
                            entries.insert(key, node);
                        }
                    }
                }
                self.key = later.key.or_else(|| self.key.take());
            }
            (value, over) => {
                *value = over;
                self.key = later.key;
            }
        }
        self.at = later.at;
    }
}

/// What could be read of one fragment.
pub(crate) struct Parsed {
    /// Its values.
    pub(crate) root: Node,
    /// What is wrong with its syntax.
    pub(crate) problems: Vec<(Origin, Diagnostic)>,
    /// The parts of it where values are a guess.
    pub(crate) unreadable: Vec<Origin>,
}

/// Reads one fragment as far as it can be read.
pub(crate) fn parse(file: usize, fragment: &Fragment) -> Parsed {
    let bytes = fragment.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&fragment.bytes);
    let skipped = fragment.bytes.len() - bytes.len();
    let mut builder = Builder { file, skipped, fragment, problems: Vec::new() };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = builder.origin(error.valid_up_to()..error.valid_up_to() + 1);
            let hint = Some("save the file as UTF-8".to_owned());
            builder.problem(&at, format!("byte {} is not UTF-8", at.start), hint);
            return Parsed { root: Node::empty(), problems: builder.problems, unreadable: Vec::new() };
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    let unreadable = builder.syntax(text, errors);
    let at = builder.origin(table.span());
    let value = builder.table(table.into_inner());
    let mut root = Node { key: None, at, value };
    builder.flatten_dotted(&mut root);
    Parsed { root, problems: builder.problems, unreadable }
}

/// Says in plain words what the parser said of the text that starts here, and what to do about it.
fn plain(message: String, text: &str, open: bool) -> (String, Option<String>) {
    let word = text.split(|c: char| c.is_whitespace() || ",]}#\"'".contains(c)).next().unwrap_or_default();
    // The parser takes `none` for a number that begins like `nan`, and `two` for a `true` that goes wrong.
    let bare = ["string values must be quoted", "invalid float", "invalid boolean"];
    if message.starts_with("duplicate key") {
        let key = text.split(|c: char| c.is_whitespace() || "=].".contains(c)).next().unwrap_or_default();
        return (format!("duplicate key `{key}`"), None);
    }
    if open {
        return (message, Some("is a `]`, a `}` or a quote missing before this?".to_owned()));
    }
    if bare.iter().any(|start| message.starts_with(start)) && word.starts_with(char::is_alphabetic) {
        let lower = word.to_lowercase();
        return match lower.as_str() {
            "true" | "false" => (format!("{word} is not true or false"), Some(format!("write {lower}"))),
            _ => ("a text must stand in quotes".to_owned(), Some(format!("write \"{word}\""))),
        };
    }
    (message, None)
}

/// Turns what the parser gives into nodes.
struct Builder<'a> {
    file: usize,
    skipped: usize,
    fragment: &'a Fragment,
    problems: Vec<(Origin, Diagnostic)>,
}

impl Builder<'_> {
    fn origin(&self, span: Range<usize>) -> Origin {
        Origin { file: self.file, start: span.start + self.skipped, end: span.end + self.skipped }
    }

    fn problem(&mut self, at: &Origin, message: String, hint: Option<String>) {
        let problem = Diagnostic::new(Severity::Error, self.fragment, at.start..at.end, message, hint);
        self.problems.push((at.clone(), problem));
    }

    /// Takes over the parser's errors, without those that only follow from an earlier one; gives what it could not
    /// read.
    fn syntax(&mut self, text: &str, errors: Vec<toml::de::Error>) -> Vec<Origin> {
        let mut errors: Vec<(Range<usize>, String)> = errors
            .into_iter()
            .map(|error| (error.span().unwrap_or_default(), error.message().replace('\n', ", ")))
            .collect();
        errors.sort_by_key(|(span, _)| span.start);
        // Whatever comes after an open bracket or quote is read as a part of the list or the text.
        let open = errors.iter().any(|(_, message)| message.contains("unclosed"));
        let mut unreadable: Vec<Origin> = Vec::new();
        for (span, message) in errors {
            if unreadable.last().is_some_and(|last| span.start + self.skipped < last.end) {
                continue;
            }
            let line = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
            let end = text[span.start..].find('\n').map_or(text.len(), |at| span.start + at);
            let (message, hint) = plain(message, &text[span.start..end], open);
            let at = self.origin(span);
            self.problem(&at, message, hint);
            unreadable.push(self.origin(line..if open { text.len() + 1 } else { end + 1 }));
        }
        unreadable
    }

    fn table(&mut self, table: DeTable<'_>) -> Value {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let origin = self.origin(key.span());
            if let Some(mut node) = self.value(value) {
                node.key = Some(origin);
                entries.insert(key.into_inner().into_owned(), node);
            }
        }
        Value::Table(entries)
    }

    fn value(&mut self, value: toml::Spanned<DeValue<'_>>) -> Option<Node> {
        let at = self.origin(value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(moment) => Value::Moment(format!("the date or time {moment}")),
            DeValue::Array(items) => {
                Value::List(items.into_iter().filter_map(|item| self.value(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.problem(&at, "this number is too large".to_owned(), None);
                    return None;
                }
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => {
                    self.problem(&at, "this is not a number".to_owned(), None);
                    return None;
                }
            },
        };
        Some(Node { key: None, at, value })
    }

    /// Joins the names in nested tables, because `vm.swappiness = 10` without quotes means a table in TOML.
    fn flatten_dotted(&mut self, root: &mut Node) {
        let mut node = root;
        for key in DOTTED {
            let Value::Table(entries) = &mut node.value else { return };
            let Some(next) = entries.get_mut(key) else { return };
            node = next;
        }
        let Value::Table(entries) = &mut node.value else { return };
        let mut flat = BTreeMap::new();
        let mut open: Vec<(String, Node)> = std::mem::take(entries).into_iter().collect();
        while let Some((name, node)) = open.pop() {
            match node.value {
                Value::Table(inner) => {
                    open.extend(inner.into_iter().map(|(key, node)| (format!("{name}.{key}"), node)));
                }
                _ => {
                    if flat.contains_key(&name) {
                        let at = node.key.clone().unwrap_or_else(|| node.at.clone());
                        self.problem(&at, format!("duplicate key `{name}`"), None);
                    }
                    flat.insert(name, node);
                }
            }
        }
        *entries = flat;
    }
}
