//! The JSON schema of `mainstay.toml` for editors (draft 2020-12), from the description of the keys.

use super::key::{Kind, Presence, Section};
use super::keys;
use serde_json::{Map, Value, json};

/// The JSON schema of a configuration.
pub fn schema() -> Value {
    let mut root = table(&keys::FILE);
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("mainstay.toml");
    root
}

fn table(section: &Section) -> Value {
    let mut properties = Map::new();
    for key in section.keys {
        let mut schema = kind(&key.kind);
        schema["description"] = json!(key.doc);
        if let Presence::Default(text) = key.presence {
            schema["default"] = default(text);
        }
        properties.insert(key.name.to_owned(), schema);
    }
    let required = section.keys.iter().filter(|key| matches!(key.presence, Presence::Required));
    let required: Vec<&str> = required.map(|key| key.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn kind(kind_of: &Kind) -> Value {
    match kind_of {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Kind::Text(format) if format.pattern.is_empty() => json!({ "type": "string" }),
        Kind::Text(format) => json!({ "type": "string", "pattern": format.pattern }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::List(item) => json!({ "type": "array", "items": kind(item) }),
        Kind::OneOf(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
        Kind::Table(section) => table(section),
        Kind::Named(name, value) => {
            let names = if name.pattern.is_empty() { json!(true) } else { json!({ "pattern": name.pattern }) };
            json!({ "type": "object", "propertyNames": names, "additionalProperties": kind(value) })
        }
    }
}

/// A default as JSON: TOML knows how to give its values to any serializer.
fn default(text: &str) -> Value {
    let parsed = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    parsed.and_then(|table| serde_json::to_value(&table["value"]).ok()).unwrap_or_default()
}
