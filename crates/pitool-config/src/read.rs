//! A serde deserializer over the tree, whose errors speak of the file instead of Rust's types.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::tree::{Node, Path, Step, Value};
use crate::values::nearest;

/// Why a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// Where it is wrong.
    pub(crate) path: Option<Path>,
    /// Whether the key is wrong, rather than its value.
    pub(crate) on_key: bool,
    /// Whether the table there is good but for a key that it lacks.
    pub(crate) missing: bool,
}

impl Error {
    fn new(message: String, hint: Option<String>) -> Self {
        Self { message, hint, path: None, on_key: false, missing: false }
    }

    fn at(mut self, path: &Path, on_key: bool) -> Self {
        if self.path.is_none() {
            self.path = Some(path.clone());
            self.on_key = on_key;
        }
        self
    }
}

impl de::Error for Error {
    /// Takes a message whose second line, if any, is the hint.
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once('\n') {
            Some((message, hint)) => Self::new(message.to_owned(), Some(hint.to_owned())),
            None => Self::new(text, None),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = plain(&expected.to_string());
        let hint = match found {
            Unexpected::Other(_) => Some("put it in quotes".to_owned()),
            Unexpected::Str(text) if expected == "true or false" && matches!(text, "true" | "false") => {
                Some("without quotes".to_owned())
            }
            Unexpected::Str(text)
                if expected.starts_with("a whole number") && text.parse::<i64>().is_ok() =>
            {
                Some("without quotes".to_owned())
            }
            Unexpected::Str(text) if expected == "a list" => Some(format!("write [{text:?}]")),
            _ => None,
        };
        Self::new(format!("expected {expected}, found {}", describe(found)), hint)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = plain(&expected.to_string());
        Self::new(format!("expected {expected}, found {}", describe(found)), None)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let listed: Vec<String> = known.iter().map(|name| format!("\"{name}\"")).collect();
        let hint = nearest(variant, known.iter().copied()).map(|name| format!("did you mean \"{name}\"?"));
        Self::new(format!("\"{variant}\" is not one of {}", listed.join(", ")), hint)
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: true, ..Self::new(format!("`{field}` is missing"), None) }
    }
}

/// Says what serde expected in the words of the file.
fn plain(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "i64" => "a whole number".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// Says what was found in the words of the file.
fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("{value}"),
        Unexpected::Unsigned(value) => format!("{value}"),
        Unexpected::Signed(value) => format!("{value}"),
        Unexpected::Float(value) => format!("{value}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Reads one node.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    node: &'a Node,
    path: Path,
    unknown: &'a RefCell<Vec<Path>>,
}

impl<'a> Reader<'a> {
    /// Starts at the root; the paths of keys that nothing reads are added to `unknown`.
    pub(crate) fn new(root: &'a Node, unknown: &'a RefCell<Vec<Path>>) -> Self {
        Self { node: root, path: Path::default(), unknown }
    }

    fn child(&self, node: &'a Node, step: Step) -> Self {
        Self { node, path: self.path.join(step), unknown: self.unknown }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.node.value {
            Value::Text(text) => Unexpected::Str(text),
            Value::Integer(number) => Unexpected::Signed(*number),
            Value::Float(number) => Unexpected::Float(*number),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Moment(words) => Unexpected::Other(words),
            Value::List(_) => Unexpected::Seq,
            Value::Table(_) => Unexpected::Map,
        }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path.clone();
        let result = match &self.node.value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Moment(_) => Err(de::Error::invalid_type(self.unexpected(), &visitor)),
            Value::List(items) => visitor.visit_seq(Items { reader: self.clone(), items, next: 0 }),
            Value::Table(entries) => {
                visitor.visit_map(Entries { reader: self.clone(), entries: entries.iter(), value: None })
            }
        };
        result.map_err(|error| error.at(&path, false))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads a table; the code that serde derives would take a list for one.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Table(_) => self.deserialize_any(visitor),
            _ => {
                let error: Error = de::Error::invalid_type(self.unexpected(), &visitor);
                Err(error.at(&self.path, false))
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let result = match &self.node.value {
            Value::Text(text) => {
                let text: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(text)
            }
            other => {
                let listed: Vec<String> = variants.iter().map(|name| format!("\"{name}\"")).collect();
                let word = match other {
                    Value::Bool(true) => "yes",
                    Value::Bool(false) => "no",
                    _ => "",
                };
                let hint = variants.contains(&word).then(|| format!("write \"{word}\""));
                let found = describe(self.unexpected());
                Err(Error::new(format!("expected one of {}, found {found}", listed.join(", ")), hint))
            }
        };
        result.map_err(|error| error.at(&self.path, false))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.unknown.borrow_mut().push(self.path);
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier
    }
}

/// The elements of a list.
struct Items<'a> {
    reader: Reader<'a>,
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let reader = self.reader.child(node, Step::Index(self.next));
        self.next += 1;
        let path = reader.path.clone();
        seed.deserialize(reader).map(Some).map_err(|error| error.at(&path, false))
    }
}

/// The entries of a table.
struct Entries<'a> {
    reader: Reader<'a>,
    entries: std::collections::btree_map::Iter<'a, String, Node>,
    value: Option<Reader<'a>>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        let reader = self.reader.child(node, Step::Key(key.clone()));
        let path = reader.path.clone();
        self.value = Some(reader);
        let key: StrDeserializer<'_, Error> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|error| error.at(&path, true))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(reader) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let path = reader.path.clone();
        seed.deserialize(reader).map_err(|error| error.at(&path, false))
    }
}
